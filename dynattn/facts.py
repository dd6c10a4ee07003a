"""The lookup: small facts, one for each token, and a question. The first page's figure, and chapters 1, 3 and 4.

*Anna drinks tea. Ben drinks coffee. Cleo drinks milk. What does Ben drink?* ``python -m dynattn.facts`` trains the attention
head and the static layer of the live figure, and writes ``dynattn/live/facts.json``.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dynattn import _checks as check
from dynattn import figures, live
from dynattn.attention import SingleHeadAttention, attention
from dynattn.static import TokenMixer
from dynattn.training import fit

NAMES = ("Anna", "Ben", "Cleo", "Dan", "Ella", "Finn", "Gia", "Hugo")
DRINKS = ("tea", "coffee", "milk", "water", "juice", "cocoa", "soda", "cider")
WIDTH = len(NAMES) + len(DRINKS) + 1  # who, what, and whether it is a question
FACTS = 3
FILE = Path(__file__).parent / "live" / "facts.json"
SHA256 = "5afc4cc644ac644e994db93c012045e40bd371370afa68399164f8eccd383c74"


def tokens(names: torch.Tensor, drinks: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """The features of facts and a question: one-hot who, one-hot what, and 1 in a question, whose drink is blank.

    Args:
        names, drinks: (samples, facts), numbers of ``NAMES`` and of ``DRINKS``.
        asked: (samples,), the number of the name in the question.

    Returns:
        (samples, facts + 1, WIDTH), the question last.

    Raises:
        TypeError, ValueError: numbers that are not integers of the lists, or shapes that do not fit.
    """
    check.require_indices("names", names, below=len(NAMES))
    if names.dim() != 2 or 0 in names.shape:
        raise ValueError(f"names: got shape {check.shape_of(names)}, expected (samples, facts)")
    check.require_indices("drinks", drinks, below=len(DRINKS), shape=names.shape)
    check.require_indices("asked", asked, below=len(NAMES), shape=names.shape[:1])
    who, what = F.one_hot(names.long(), len(NAMES)), F.one_hot(drinks.long(), len(DRINKS))
    facts = torch.cat([who, what, torch.zeros_like(who[..., :1])], dim=-1)
    question = torch.cat(
        [F.one_hot(asked.long(), len(NAMES)), torch.zeros_like(what[:, 0]), torch.ones_like(asked[:, None])],
        -1,
    )
    return torch.cat([facts, question[:, None]], dim=1).float()


def questions(samples: int, generator: torch.Generator, facts: int = FACTS):
    """Random facts in random order, no name and no drink twice, and a question about one of them.

    Returns:
        (x, y): the features (samples, facts + 1, WIDTH), the question last; the number of the right drink (samples,).

    Raises:
        TypeError, ValueError: samples is not an int of at least 1, facts not one from 1 to 8, or no generator.
    """
    check.require_sizes(samples=samples)
    check.require_int("facts", facts, at_least=1, at_most=min(len(NAMES), len(DRINKS)))
    check.require_generator("generator", generator)
    names, drinks = (
        torch.rand(samples, len(words), generator=generator).argsort(-1)[:, :facts]
        for words in (NAMES, DRINKS)
    )
    which = torch.randint(facts, (samples, 1), generator=generator)
    return tokens(names, drinks, names.gather(1, which)[:, 0]), drinks.gather(1, which)[:, 0]


class Reader(nn.Module):
    """A layer over the tokens, and what arrives at the question as a score for each drink.

    Args:
        mixer: :class:`~dynattn.attention.SingleHeadAttention` from WIDTH to a score for each drink, or a
            :class:`~dynattn.static.TokenMixer`, which gets a learned map W_V of each token beside it.

    Raises:
        TypeError: a mixer of another kind.
    """

    def __init__(self, mixer: nn.Module):
        super().__init__()
        kinds = SingleHeadAttention, TokenMixer
        check.require_kind("mixer", mixer, kinds, "SingleHeadAttention or TokenMixer")
        self.mixer = mixer
        static = isinstance(mixer, TokenMixer)  # attention has a W_V of its own
        self.W_V = nn.Linear(WIDTH, len(DRINKS), bias=False) if static else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (samples, n, WIDTH) -> scores (samples, number of drinks), read at the last token."""
        return self.mixer(self.W_V(x))[:, -1]


def train(kind: str, seed: int) -> Reader:
    """Attention ("attention") or static mixing ("static"), trained on random questions.

    Raises:
        TypeError, ValueError: another kind, or a seed that is not an int.
    """
    check.require_choice("kind", kind, ("attention", "static"))
    check.require_int("seed", seed, at_least=-(2**62), at_most=2**62)
    torch.manual_seed(seed)
    mixer = SingleHeadAttention(WIDTH, 8, len(DRINKS)) if kind == "attention" else TokenMixer(FACTS + 1)
    model = Reader(mixer)
    batches, label = lambda g: questions(128, g), f"facts, {kind}"
    fit(model, batches, F.cross_entropy, steps=600, lr=0.02, seed=seed, label=label)
    return model


def export(head: Reader, static: Reader) -> str:
    """What the live figure needs, as JSON: names, drinks, and the learned matrices of both layers.

    Raises:
        TypeError, ValueError: head or static is no :class:`Reader` of that kind, or holds a number that is not finite.
    """
    for name, model, kind in (("head", head, SingleHeadAttention), ("static", static, TokenMixer)):
        check.require_kind(name, model, Reader, f"a Reader of {kind.__name__}")
        check.require_kind(name, model.mixer, kind, f"a Reader of {kind.__name__}")
        if not all(map(check.all_finite, model.parameters())):
            raise ValueError(f"{name}: got a parameter that is not finite, expected finite numbers")
    matrices = {
        "W_Q": head.mixer.W_Q.weight,
        "W_K": head.mixer.W_K.weight,
        "W_V": head.mixer.W_V.weight,
        "W": static.mixer.W,
        "V": static.W_V.weight,
    }
    return json.dumps({"names": NAMES, "drinks": DRINKS, **live.rounded(matrices)}, separators=(",", ":"))


def load() -> dict:
    """The exported layers: ``names``, ``drinks``, and each matrix as a list of rows.

    Raises:
        ValueError: the file is not the one that this version of the package was made with.
    """
    data = FILE.read_bytes()
    check.require_digest(FILE.name, data, SHA256)
    return json.loads(data)


# What the live figure offers: three facts about the same people, and a question about any of them.
OFFERED = (
    (("Anna", "tea"), ("Ben", "coffee"), ("Cleo", "milk")),
    (("Cleo", "water"), ("Anna", "cocoa"), ("Ben", "juice")),
    (("Ben", "cider"), ("Cleo", "coffee"), ("Anna", "soda")),
)


def read(layers: dict, facts, asked: str) -> dict[str, np.ndarray]:
    """What both exported layers make of facts and a question.

    Args:
        layers: what :func:`load` returns.
        facts: (name, drink) for each fact, three of them.
        asked: the name in the question.

    Returns:
        ``A`` and ``W``, how much the question reads from each fact and from itself (facts + 1,), by attention and by the
        static layer; ``attention`` and ``static``, the chance that each gives every drink (number of drinks,).

    Raises:
        TypeError, ValueError: layers are none, not three facts, or a name or drink that the layers don't know.
    """
    check.require_kind("layers", layers, dict, "what load() returns")
    check.require_kind("facts", facts, (tuple, list), "pairs (name, drink)")
    check.require_choice("asked", asked, NAMES)
    if len(facts) != FACTS or not all(isinstance(fact, (tuple, list)) and len(fact) == 2 for fact in facts):
        raise ValueError(f"facts: got {facts!r}, expected {FACTS} pairs (name, drink)")
    for name, drink in facts:
        check.require_choice("facts", name, NAMES)
        check.require_choice("facts", drink, DRINKS)
    who, what = (
        torch.tensor([[words.index(fact[i]) for fact in facts]]) for i, words in enumerate((NAMES, DRINKS))
    )
    x = tokens(who, what, torch.tensor([NAMES.index(asked)]))[0].double()
    try:
        W_Q, W_K, W_V, W, V = (
            torch.tensor(layers[name]).double() for name in ("W_Q", "W_K", "W_V", "W", "V")
        )
        mixed, A = attention(x[-1:] @ W_Q.T, x @ W_K.T, x @ W_V.T)
        fixed = W[-1] @ (x @ V.T)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError):
        raise ValueError("layers: got other entries, expected those that load() returns") from None
    found = {"A": A[0], "W": W[-1], "attention": mixed[0].softmax(-1), "static": fixed.softmax(-1)}
    return {name: numbers.numpy() for name, numbers in found.items()}


def drawing(layers: dict, facts, asked: str, axes) -> None:
    """Draw how the question reads, by attention and by the static layer, and what each answers, on two axes.

    Raises:
        TypeError, ValueError: as :func:`read`; axes are not two.
    """
    found = read(layers, facts, asked)
    check.require_kind("axes", axes, (tuple, list, np.ndarray), "two axes")
    if len(axes) != 2:
        raise ValueError(f"axes: got {len(axes)}, expected two")
    inputs = [*(f"{name} drinks {drink}" for name, drink in facts), f"What does {asked} drink?"]
    for axis, kind, chances in zip(axes, "AW", (found["attention"], found["static"])):
        best = chances.argsort()[::-1][: 1 if kind == "A" else FACTS]
        answer = "\n".join(f"{DRINKS[i]} {chances[i]:.0%}" for i in best)
        limit = np.abs(found[kind]).max()
        figures.network(axis, found[kind][None], kind, inputs, [answer], limit=limit)
        axis.set_xlim(-1.6, 1.6)


def figure() -> live.Live:
    """The live figure: ask about one of three people, and see which fact the question reads from."""
    layers = load()
    still, axes = figures.subplots(2, width=8.0, height=2.4)
    drawing(layers, OFFERED[0], "Ben", axes)
    found = read(layers, OFFERED[0], "Ben")
    rows = [*(f"{name} drinks {drink}" for name, drink in OFFERED[0]), "What does Ben drink?"]
    guess = ", ".join(
        f"{DRINKS[i]} {found['static'][i]:.0%}" for i in found["static"].argsort()[::-1][:FACTS]
    )
    return live.Live(
        "lookup", {"layers": layers, "sets": OFFERED},
        caption="Two layers trained on the same questions. Change the name, and attention reads from a different fact. The "
        "static layer reads from all three alike, whomever you ask about. (A dashed line is a negative weight.)",
        alt=f"Asked what Ben drinks, attention reads {found['A'][1]:.2f} from 'Ben drinks coffee' and answers "
        f"{DRINKS[found['attention'].argmax()]}. The static layer guesses: {guess}.",
        still=still, table=(["reads from", "attention", "static"],
                            [[row, f"{a:.2f}", f"{w:.2f}"] for row, a, w in zip(rows, found["A"], found["W"])]),
    )  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(export(train("attention", 0), train("static", 0)), encoding="utf-8")
    print(f'SHA256 = "{hashlib.sha256(FILE.read_bytes()).hexdigest()}"')
