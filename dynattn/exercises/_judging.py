"""What the judges of the exercises share."""

import itertools
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch


class CheckFailed(AssertionError):
    """An answer was tried and is not right; the message is the diagnosis."""


class NotAttempted(Exception):
    pass


# What an answer is given, the first that it can work with. The numbers are the same: `normal` draws what float32 can hold.
STYLES = {
    "float64": lambda x: x.clone(),
    "float32": lambda x: x.float() if x.is_floating_point() else x.clone(),
    "NumPy": lambda x: x.numpy().copy(),
}
_style = ContextVar("style", default="float64")


@contextmanager
def given(style: str):
    """Within it, answers are given tensors of this style."""
    token = _style.set(style)
    try:
        yield
    finally:
        _style.reset(token)


def as_given(argument):
    if isinstance(argument, torch.Tensor):
        return STYLES[_style.get()](argument)
    if type(argument) in (list, tuple):
        return type(argument)(map(as_given, argument))
    return argument


def _same(before, after) -> bool:
    """Whether an argument is what it was; what is no tensor is not looked at."""
    if isinstance(before, (torch.Tensor, np.ndarray)):
        return bool((torch.as_tensor(before) == torch.as_tensor(after)).all())
    if type(before) in (list, tuple):
        return len(before) == len(after) and all(map(_same, before, after))
    return True


def same_as(
    reference: Callable, cases: Callable, mistakes: dict[str, Callable], gradient: bool = False
) -> Callable:
    """A judge that wants the reference's result on every case, and its gradient too if asked to.

    ``cases(generator)`` gives tuples of arguments; ``mistakes`` maps a diagnosis to the wrong function it describes, or is
    what :func:`parts` returns, which can name two mistakes at once.
    """

    def judge(answer):
        inputs = cases(torch.Generator().manual_seed(0))
        results = []
        for arguments in inputs:
            want = reference(*arguments)
            results.append(got := call(answer, arguments))
            if diagnosis := unlike(got, want):
                return diagnosis
        if not all(close(got, reference(*arguments)) for got, arguments in zip(results, inputs)):
            for diagnosis, wrong in [*mistakes.items(), *getattr(mistakes, "pairs", ())]:
                if all(close(got, wrong(*arguments)) for got, arguments in zip(results, inputs)):
                    return diagnosis
            error = max(
                (got - reference(*arguments)).abs().max().item() for got, arguments in zip(results, inputs)
            )
            return f"the numbers differ from the reference by up to {error:.3g}, in no way that this check knows."
        if gradient and _style.get() != "NumPy":
            for arguments in inputs:
                found = gradient_of(answer, list(map(as_given, arguments)))
                if found is not None and not close(found, gradient_of(reference, arguments)):
                    return "the output is right but its gradient is not: something cuts the result off from its inputs."
        return None

    judge.reference, judge.cases, judge.mistakes = reference, cases, mistakes  # so that tests can try each
    return judge


class parts(dict):
    """Mistakes of an answer that is made of parts: each changes one part, and two can be made at once.

    ``build(**changes)`` is the answer with these parts changed; ``changes`` maps a diagnosis to {part: its wrong form}; ``more``
    are mistakes of other kinds.
    """

    def __init__(self, build: Callable, changes: dict[str, dict], more: dict[str, Callable] | None = None):
        super().__init__({diagnosis: build(**change) for diagnosis, change in changes.items()} | (more or {}))
        self.pairs = [
            (f"two things. First: {a} Second: {b}", build(**changes[a], **changes[b]))
            for a, b in itertools.combinations(changes, 2)
            if not changes[a].keys() & changes[b].keys()
        ]


def misjudges(answer, cases, times: int = 1) -> str | None:
    """The diagnosis of the first function that an answer which is itself a test gets wrong, or None.

    ``cases`` are (a function of a tensor, whether the test should say yes, diagnosis); each is tried so many times, since a
    test may draw at random. What the test asks in float32 or in NumPy is answered in it.
    """

    def answers_in_kind(f):
        def asked(x):
            y = f(torch.as_tensor(x).double())
            return y.numpy() if isinstance(x, np.ndarray) else y.to(x.dtype)

        return asked

    for case, yes, diagnosis in ((answers_in_kind(f), yes, diagnosis) for f, yes, diagnosis in cases):
        for _ in range(times):
            said = call(answer, (case,))
            if said.numel() != 1:
                return f"return True or False, not a tensor of shape {tuple(said.shape)}."
            if bool(said) != yes:
                return diagnosis
    return None


def call(answer, arguments):
    """Run an answer on copies of the arguments, and make a float64 tensor of what it returns."""
    before, given = ([as_given(argument) for argument in arguments] for _ in range(2))
    result = attempt(answer, given)
    if not all(map(_same, before, given)):
        raise CheckFailed("your code changes its input in place; work on a copy.")
    return tensor(result)


def tensor(result):
    """A float64 tensor of what an answer returned: a tensor, an array, a number, or a list of such."""
    try:
        if isinstance(result, (list, tuple)) and any(
            isinstance(part, (torch.Tensor, list, tuple)) for part in result
        ):
            result = torch.stack([tensor(part) for part in result])
        if not isinstance(result, torch.Tensor):
            result = torch.as_tensor(np.asarray(result))  # which makes float64 of Python's numbers
        result = result.detach()
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(
            f"your code returns a {type(result).__name__}; expected a tensor or a number."
        ) from None
    if result.is_complex():
        raise CheckFailed("your code returns complex numbers; expected real ones.")
    return result.double()


def run(answer, arguments=()):
    """What an answer returns, given the arguments in the style of the day; it may also be the thing itself, not a function."""
    return attempt(answer, list(map(as_given, arguments)))


def attempt(answer, arguments):
    try:
        result = answer(*arguments) if callable(answer) else answer
    except NotImplementedError:
        raise NotAttempted from None
    except (Exception, SystemExit) as error:
        raise CheckFailed(f"your code raised {type(error).__name__}: {error}") from error
    if blank(result):
        raise NotAttempted
    return result


def blank(result) -> bool:
    return result is None or result is ...


def unlike(got, want) -> str | None:
    want = torch.as_tensor(want)
    if got.shape != want.shape:
        return f"the result has shape {tuple(got.shape)}; expected {tuple(want.shape)}."
    if not torch.isfinite(got).all():
        return "the result holds a number that is not finite (inf or NaN)."
    return None


def close(got, want) -> bool:
    got, want = torch.as_tensor(got).double(), torch.as_tensor(want).double()
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if _style.get() == "float32" else {"rtol": 1e-5, "atol": 1e-6}
    return got.shape == want.shape and torch.allclose(got, want, **tolerance)


def gradient_of(f, arguments):
    """The gradient of a fixed weighted sum of the outputs, over all floating-point arguments, as one vector.

    None if f computes with NumPy, which knows no gradients.
    """
    leaves = [
        a.clone().requires_grad_() if torch.is_tensor(a) and a.is_floating_point() else a for a in arguments
    ]
    try:
        result = attempt(f, leaves)
    except CheckFailed as failed:
        if "numpy()" in str(failed) or "requires grad" in str(failed):
            return None
        raise
    inputs = [leaf for leaf in leaves if torch.is_tensor(leaf) and leaf.requires_grad]
    if not torch.is_tensor(result):
        return None
    if not result.requires_grad:
        return torch.zeros(sum(leaf.numel() for leaf in inputs))
    weights = torch.arange(1.0, result.numel() + 1, dtype=result.dtype).reshape(result.shape).sin()
    found = torch.autograd.grad((result * weights).sum(), inputs, allow_unused=True)
    return torch.cat([(torch.zeros_like(x) if g is None else g).flatten() for g, x in zip(found, inputs)])


def normal(generator, *shape):
    """Random numbers in float64 that float32 can hold, too: so that answers of every style are given the same."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64).float().double()


NO_SCALE = "no scale: the logits q k^T must be divided by sqrt(d_k)."
OVER_QUERIES = (
    "softmax over the queries (columns); each query's row must sum to 1, so normalise over the keys."
)
SCALED_AFTER = "scaled after the softmax: the rows no longer sum to 1. Divide the logits."
