"""The lookup: small facts, one for each token, and a question. The first page's figure, and chapters 1, 3 and 4.

*Anna drinks tea. Ben drinks coffee. Cleo drinks milk. What does Ben drink?* And, in chapter 4, about two people at once.
``python -m dynattn.facts`` trains the layers of the live figures, and writes ``dynattn/live/facts.json``.
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
from dynattn.attention import MultiHeadAttention, SingleHeadAttention, attention
from dynattn.static import TokenMixer
from dynattn.training import fit

NAMES = ("Anna", "Ben", "Cleo", "Dan", "Ella", "Finn", "Gia", "Hugo")
DRINKS = ("tea", "coffee", "milk", "water", "juice", "cocoa", "soda", "cider")
WIDTH = 2 * len(NAMES) + len(DRINKS)  # a fact's name and its drink, and the name that a question asks about
FACTS = 3
FILE = Path(__file__).parent / "live" / "facts.json"
SHA256 = "c30043b344b43f0fcb4c89f9479f0b19257261530110ee9ecd152f1b540a89b2"


def tokens(names: torch.Tensor, drinks: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """The features of facts and a question: one-hot name and drink of a fact, one-hot name that a question asks about.

    What a token doesn't have is zero: a question has no drink and is no fact about the name in it.

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
    x = torch.zeros(len(names), names.shape[1] + 1, WIDTH)
    name, drink, about = x.split([len(NAMES), len(DRINKS), len(NAMES)], dim=-1)
    name[:, :-1], drink[:, :-1] = F.one_hot(names.long(), len(NAMES)), F.one_hot(drinks.long(), len(DRINKS))
    about[:, -1] = F.one_hot(asked.long(), len(NAMES))
    return x


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


def two_questions(samples: int, generator: torch.Generator, facts: int = len(NAMES)):
    """Random facts in random order, and a question about two of the people, whose drinks are wanted in that order.

    No name comes twice; a drink may.

    Returns:
        ((question, facts), answers, asked): question (samples, 1, 16), the two names one-hot, side by side; facts (samples,
        facts, 16), each a name and a drink; answers (samples, 2, 8), the two drinks one-hot; asked (samples, 2), the
        places of the two facts.

    Raises:
        TypeError, ValueError: samples is not an int of at least 1, facts not one from 2 to 8, or no generator.
    """
    check.require_sizes(samples=samples)
    check.require_int("facts", facts, at_least=2, at_most=len(NAMES))
    check.require_generator("generator", generator)
    names = torch.rand(samples, len(NAMES), generator=generator).argsort(-1)[:, :facts]
    drinks = torch.randint(len(DRINKS), (samples, facts), generator=generator)
    asked = torch.rand(samples, facts, generator=generator).argsort(-1)[:, :2]
    who, what = F.one_hot(names, len(NAMES)).float(), F.one_hot(drinks, len(DRINKS)).float()
    sample = torch.arange(samples)[:, None]
    question = who[sample, asked].flatten(1)[:, None]
    return (question, torch.cat([who, what], dim=-1)), what[sample, asked], asked


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


def train(kind: str, seed: int, watch=None) -> Reader:
    """Attention ("attention") or static mixing ("static"), trained on random questions, 600 steps of 128.

    Args:
        watch: a function of the step and the layer, called before the first step (as 0) and after each; or None.

    Raises:
        TypeError, ValueError: another kind, a seed that is not an int, or a watch that is no function.
    """
    check.require_choice("kind", kind, ("attention", "static"))
    check.require_int("seed", seed, at_least=-(2**62), at_most=2**62)
    if watch is not None:
        check.require_callable("watch", watch)
    torch.manual_seed(seed)
    mixer = SingleHeadAttention(WIDTH, 8, len(DRINKS)) if kind == "attention" else TokenMixer(FACTS + 1)
    model = Reader(mixer)
    if watch is not None:
        watch(0, model)
    after = None if watch is None else lambda step: watch(step, model)
    batches, label = lambda g: questions(128, g), f"facts, {kind}"
    fit(model, batches, F.cross_entropy, steps=600, lr=0.02, seed=seed, watch=after, label=label)
    return model


class TwoAnswers(nn.Module):
    """Heads that read the facts for a question about two people, and give every drink two scores.

    Queries come from the question, keys from the names in the facts, and values from the facts. So the weights don't depend
    on the drinks, which the floor of one head presupposes.

    Args:
        n_heads, d_head: as in :class:`~dynattn.attention.MultiHeadAttention`, which has 16 features and no biases here.
        readout: a module from 16 numbers to 16, after the heads; none if None, so that all after A is linear.

    Raises:
        TypeError, ValueError: a size that is not an int of at least 1, or a readout that is no module.
    """

    def __init__(self, n_heads: int, d_head: int, readout: nn.Module | None = None):
        super().__init__()
        self.heads = MultiHeadAttention(2 * len(NAMES), n_heads, d_head, bias=False)
        if readout is not None:
            check.require_kind("readout", readout, nn.Module, "a module")
        self.readout = readout or nn.Identity()

    def forward(self, inputs) -> torch.Tensor:
        """(question, facts) -> scores (samples, 2, number of drinks)."""
        return self.answer(self.weights(inputs), inputs)

    def weights(self, inputs) -> torch.Tensor:
        """(question, facts) -> A (samples, n_heads, 1, number of facts)."""
        question, facts = _pair(inputs)
        return self.heads.weights(question, _without_drinks(facts))

    def answer(self, A: torch.Tensor, inputs) -> torch.Tensor:
        """The scores (samples, 2, number of drinks) that come of these weights A."""
        return self.readout(self.heads.mix(A, _pair(inputs)[1])).reshape(-1, 2, len(DRINKS))


def _pair(inputs):
    if not isinstance(inputs, (tuple, list)) or len(inputs) != 2:
        raise TypeError(f"inputs: got {type(inputs).__name__}, expected a pair (question, facts)")
    for name, part in zip(("question", "facts"), inputs):
        check.require_tokens(name, part, width=2 * len(NAMES))
    return inputs


def _without_drinks(facts):
    return facts * (torch.arange(facts.shape[-1], device=facts.device) < len(NAMES))


def squared_error(scores: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """The squared error of the scores, where giving every drink the score 1/8 counts as 1.

    Raises:
        TypeError, ValueError: scores or answers are not floating-point (samples, 2, number of drinks).
    """
    for name, tensor in (("scores", scores), ("answers", answers)):
        check.require_tensor(name, tensor)
        if tensor.dim() != 3 or tensor.shape[1:] != (2, len(DRINKS)) or not len(tensor):
            raise ValueError(
                f"{name}: got shape {check.shape_of(tensor)}, expected (samples, 2, {len(DRINKS)})"
            )
    if len(scores) != len(answers):
        raise ValueError(f"answers: got {len(answers)} samples, expected {len(scores)}, as in scores")
    error = (scores - answers).square().sum(-1).mean() / (1 - 1 / len(DRINKS))
    check.require_finite_result(error, scores=scores, answers=answers)
    return error


def train_two(
    n_heads: int, d_head: int, seed: int, facts: int = len(NAMES), readout: nn.Module | None = None
) -> TwoAnswers:
    """Heads trained on questions about two people, 400 steps of 128.

    Raises:
        TypeError, ValueError: as :class:`TwoAnswers` and :func:`two_questions`; a seed that is not an int.
    """
    check.require_int("facts", facts, at_least=2, at_most=len(NAMES))
    check.require_int("seed", seed, at_least=-(2**62), at_most=2**62)
    torch.manual_seed(seed)
    model, label = TwoAnswers(n_heads, d_head, readout), f"two questions, {n_heads} heads"
    fit(
        model, lambda g: two_questions(128, g, facts)[:2], squared_error, steps=400, lr=0.02, seed=seed, label=label
    )  # fmt: skip
    return model


def export(head: Reader, static: Reader, one: TwoAnswers, two: TwoAnswers) -> str:
    """What the live figures need, as JSON: names, drinks, and the learned matrices of all four layers.

    Raises:
        TypeError, ValueError: head or static is no :class:`Reader` of that kind, one or two no :class:`TwoAnswers`
            without a read-out, or one of them holds a number that is not finite.
    """
    for name, model, kind in (("head", head, SingleHeadAttention), ("static", static, TokenMixer)):
        check.require_kind(name, model, Reader, f"a Reader of {kind.__name__}")
        check.require_kind(name, model.mixer, kind, f"a Reader of {kind.__name__}")
    for name, model in (("one", one), ("two", two)):
        check.require_kind(name, model, TwoAnswers, "a TwoAnswers")
        check.require_kind(name, model.readout, nn.Identity, "a TwoAnswers without a read-out")
    for name, model in (("head", head), ("static", static), ("one", one), ("two", two)):
        if not all(map(check.all_finite, model.parameters())):
            raise ValueError(f"{name}: got a parameter that is not finite, expected finite numbers")
    matrices = {
        "W_Q": head.mixer.W_Q.weight,
        "W_K": head.mixer.W_K.weight,
        "W_V": head.mixer.W_V.weight,
        "W": static.mixer.W,
        "V": static.W_V.weight,
    }
    found = {"names": NAMES, "drinks": DRINKS, **live.rounded(matrices)}
    for name, model in (("one", one), ("two", two)):
        parts = {f"W_{part}": getattr(model.heads, f"W_{part}").weight for part in "QKVO"}
        found[name] = {"heads": model.heads.n_heads, **live.rounded(parts)}
    return json.dumps(found, separators=(",", ":"))


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
    names, drinks = _numbers(facts)
    check.require_choice("asked", asked, NAMES)
    x = tokens(names[None], drinks[None], torch.tensor([NAMES.index(asked)]))[0].double()
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


def read_two(layers: dict, facts, asked) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What the exported layers of one head and of two heads make of a question about two people.

    Args:
        layers, facts: as in :func:`read`.
        asked: the two names in the question.

    Returns:
        For ``one`` and for ``two``: (A, scores), how much each head reads from each fact (heads, facts), and the two scores
        of every drink (2, number of drinks).

    Raises:
        TypeError, ValueError: as :func:`read`; not two names.
    """
    check.require_kind("layers", layers, dict, "what load() returns")
    names, drinks = _numbers(facts)
    check.require_kind("asked", asked, (tuple, list), "two names")
    if len(asked) != 2:
        raise ValueError(f"asked: got {asked!r}, expected two names")
    for name in asked:
        check.require_choice("asked", name, NAMES)
    who, what = F.one_hot(names, len(NAMES)), F.one_hot(drinks, len(DRINKS))
    x = torch.cat([who, what], dim=-1).double()
    question = F.one_hot(torch.tensor([NAMES.index(name) for name in asked]), len(NAMES)).flatten().double()
    found = {}
    for kind in ("one", "two"):
        try:
            layer = layers[kind]
            W_Q, W_K, W_V, W_O = (torch.tensor(layer[f"W_{part}"]).double() for part in "QKVO")
            projected = question @ W_Q.T, _without_drinks(x) @ W_K.T, x @ W_V.T
            q, k, v = (y.unflatten(-1, (layer["heads"], -1)) for y in projected)
            mixed, A = attention(q[:, None], k.transpose(0, 1), v.transpose(0, 1))
            scores = (mixed.flatten() @ W_O.T).reshape(2, len(DRINKS))
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError):
            raise ValueError("layers: got other entries, expected those that load() returns") from None
        found[kind] = A[:, 0].numpy(), scores.numpy()
    return found


def _numbers(facts) -> tuple[torch.Tensor, torch.Tensor]:
    """Three pairs (name, drink) as numbers of ``NAMES`` and of ``DRINKS``."""
    check.require_kind("facts", facts, (tuple, list), "pairs (name, drink)")
    if len(facts) != FACTS or not all(isinstance(fact, (tuple, list)) and len(fact) == 2 for fact in facts):
        raise ValueError(f"facts: got {facts!r}, expected {FACTS} pairs (name, drink)")
    for name, drink in facts:
        check.require_choice("facts", name, NAMES)
        check.require_choice("facts", drink, DRINKS)
    return tuple(
        torch.tensor([words.index(fact[i]) for fact in facts]) for i, words in enumerate((NAMES, DRINKS))
    )


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
        "lookup", {"layers": {name: part for name, part in layers.items() if name not in ("one", "two")}, "sets": OFFERED},
        caption="Two layers trained on the same questions. Change the name, and attention reads from a different fact. The "
        "static layer reads from all three alike, whomever you ask about.",
        alt=f"Asked what Ben drinks, attention reads {found['A'][1]:.2f} from 'Ben drinks coffee' and answers "
        f"{DRINKS[found['attention'].argmax()]}. The static layer guesses: {guess}.",
        still=still, table=(["reads from", "attention", "static"],
                            [[row, f"{a:.2f}", f"{w:.2f}"] for row, a, w in zip(rows, found["A"], found["W"])]),
    )  # fmt: skip


def two_figure() -> live.Live:
    """The live figure of chapter 4: ask about two people, and see what one head and what two heads read."""
    layers, asked = load(), ("Anna", "Ben")
    still, axes = figures.subplots(2, width=8.0, height=2.2)
    facts, found = OFFERED[0], read_two(layers, OFFERED[0], asked)
    inputs = [f"{name} drinks {drink}" for name, drink in facts]
    for axis, kind in zip(axes, found):
        A, scores = found[kind]
        outputs = [f"head {h + 1}" for h in range(len(A))]
        figures.network(axis, A, "A", inputs, outputs, title="one head" if kind == "one" else "two heads")
        said = [f"{name}: {DRINKS[row.argmax()]} {row.max():.2f}" for name, row in zip(asked, scores)]
        axis.set_xlabel(" · ".join(said))
    rows = [
        [f"{'one head' if kind == 'one' else f'two heads, head {h + 1}'}", *(f"{w:.2f}" for w in row)]
        for kind, (A, _) in found.items()
        for h, row in enumerate(A)
    ]
    one, two = found["one"][0][0], found["two"][0]
    return live.Live(
        "pairs", {"layers": {name: layers[name] for name in ("names", "drinks", "one", "two")}, "sets": OFFERED},
        caption="Two layers with the same number of parameters, trained on questions about two people. Beneath each: the drinks "
        "with the highest scores, for each person. A score of 1 would be sure.",
        alt=f"Asked about Anna and Ben, one head reads {one[0]:.2f} from Anna's fact and {one[1]:.2f} from Ben's. With two heads, "
        + " and ".join(f"head {h + 1} reads {row.max():.2f} from {facts[row.argmax()][0]}'s" for h, row in enumerate(two)) + ".",
        still=still, table=(["", *inputs], rows),
    )  # fmt: skip


if __name__ == "__main__":
    trained = train("attention", 0), train("static", 0), train_two(1, 16, 0, FACTS), train_two(2, 8, 0, FACTS)
    FILE.write_text(export(*trained), encoding="utf-8")
    print(f'SHA256 = "{hashlib.sha256(FILE.read_bytes()).hexdigest()}"')
