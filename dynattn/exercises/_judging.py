"""What the judges of the exercises share."""

import dis
import inspect
import itertools
from collections.abc import Callable
from contextlib import contextmanager, suppress
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


class Exercise:
    """What is asked: a right answer, the cases on which answers are tried, and the mistakes that people make.

    Called with an answer, it returns a diagnosis, or None if the answer is right.

    Args:
        reference: a right answer.
        cases: from a generator, tuples of arguments, and :class:`Hard` ones. Several sizes, small ones among them.
        mistakes: diagnosis -> the wrong answer that it describes; or :func:`parts`, which can name two at once.
        outcome: what counts of an answer, a tensor, given the answer and a case's arguments: by default what it returns. Where
            many answers are right, it does with them what the exercise says, and raises :class:`CheckFailed` where an answer
            isn't of the form that was asked for.
        gradient: whether the outcome's gradient must be right, too.
        otherwise: the diagnosis if no mistake fits.
    """

    def __init__(self, reference, cases, mistakes=None, *, outcome=None, gradient=False, otherwise=None):
        self.reference, self.cases, self.mistakes = reference, cases, mistakes or {}
        self.outcome, self.gradient, self.otherwise = outcome or call, gradient, otherwise

    def __call__(self, answer) -> str | None:
        cases = self.cases(torch.Generator().manual_seed(0))
        plain = [case for case in cases if not isinstance(case, Hard)]
        wanted = [self._own(self.reference, case) for case in plain]
        results, odd = [], None
        for case, want in zip(plain, wanted):
            try:
                results.append(got := self.outcome(answer, case))
            except (CheckFailed, NotAttempted):
                if odd:
                    return odd
                raise
            odd = odd or unlike(got, want)
        if odd:
            return self._known(results, plain) or odd
        if not all(map(close, results, wanted)):
            return self._known(results, plain) or self._unknown(results, wanted)
        if self.gradient and _style.get() != "NumPy":
            for case in plain:
                found = gradient_of(answer, list(map(as_given, case)))
                if found is not None and not close(found, gradient_of(self.reference, case)):
                    return CUT_OFF if found.isfinite().all() else NO_GRADIENT
        for case in cases:
            if isinstance(case, Hard) and (diagnosis := self._falls(answer, case, alone=not plain)):
                return diagnosis
        return None

    def _own(self, answer, case):
        """The outcome of a reference or a mistake, which are written for float64, whatever the reader's answer is given."""
        with given("float64"):
            return self.outcome(answer, case)

    def _known(self, results, plain) -> str | None:
        """The mistake that gives the same results, of whatever shape they are, and where they are not finite, too."""
        for diagnosis, wrong in [*self.mistakes.items(), *getattr(self.mistakes, "pairs", ())]:
            with suppress(CheckFailed):
                if all(close(got, self._own(wrong, case), True) for got, case in zip(results, plain)):
                    return diagnosis
        return None

    def _unknown(self, results, wanted) -> str:
        if self.otherwise:
            return self.otherwise
        error = max((got - want).abs().max().item() for got, want in zip(results, wanted) if got.numel())
        return f"the numbers differ from the reference by up to {error:.3g}, in no way that this check knows."

    def _falls(self, answer, case, alone) -> str | None:
        """What is wrong with an answer in a hard case. Where there are plain ones, an error there is a wrong answer, too."""
        try:
            got, want = self.outcome(answer, case), self._own(self.reference, case)
        except CheckFailed:
            if alone or isinstance(case, Watched):
                raise
            return case.diagnosis
        if close(got, want):
            return None
        if (
            case.nearly
            and got.shape == want.shape
            and torch.allclose(got.to(want), want, rtol=0.05, atol=0.05)
        ):
            return case.nearly
        return case.diagnosis


class Hard(tuple):
    """A case that has a diagnosis of its own, for answers that are right in the plain cases and not in this one."""

    def __new__(cls, diagnosis: str, *arguments, nearly: str | None = None):
        """``nearly`` is the diagnosis of results that are right but for a few percent."""
        case = super().__new__(cls, arguments)
        case.diagnosis, case.nearly = diagnosis, nearly
        return case


class Watched(Hard):
    """A hard case in which the outcome itself refuses some answers, and says why; its own diagnosis is of wrong results."""


class Variants:
    """An exercise whose numbers, or a word of its rule, can change. The first variant is the book's.

    Args:
        text: from the numbers, the exercise in Markdown, as it stands in the notebook.
        make: from the numbers, the :class:`Exercise`.
        numbers: of each variant, by their names.
    """

    def __init__(self, text: Callable, make: Callable, *numbers: dict):
        self.texts = [text(**these) for these in numbers]
        self.exercises = [make(**these) for these in numbers]


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


def says(answer, arguments):
    """The outcome of an answer that is itself a test of a function: True or False, as 1 or 0.

    What the test asks in float32 or in NumPy is answered in it. It may draw at random, and must be right three times.
    """
    (f,) = arguments

    def in_kind(x):
        y = f(torch.as_tensor(x).double())
        return y.numpy() if isinstance(x, np.ndarray) else y.to(x.dtype)

    said = [call(answer, (in_kind,)) for _ in range(3)]
    if said[0].numel() != 1:
        raise CheckFailed(f"return True or False, not a tensor of shape {tuple(said[0].shape)}.")
    return torch.stack([one.reshape(()).bool().double() for one in said])


def call(answer, arguments):
    """A float64 tensor of what an answer returns for copies of the arguments, which it leaves as they are."""
    return tensor(kept(answer, arguments))


def several(result, count: int, names: str):
    """Float64 tensors of the things that an answer returned; ``names`` says which, such as "two matrices, W_Q and W_K".

    Matrices of one shape may also be stacked in one tensor.
    """
    if isinstance(result, torch.Tensor | np.ndarray) and result.ndim == 3:
        result = list(result)
    if not (isinstance(result, tuple | list) and len(result) == count):
        raise CheckFailed(f"return {names}.")
    return map(tensor, result)


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
        if isinstance(result, list | tuple) and result:
            raise CheckFailed(
                f"no tensor can be made of the {type(result).__name__} that your code returns: are all its rows numbers, and equally "
                "many?"
            ) from None
        raise CheckFailed(
            f"your code returns a {type(result).__name__}; expected a tensor or a number."
        ) from None
    if result.is_complex():
        raise CheckFailed("your code returns complex numbers; expected real ones.")
    return result.double()


def run(answer, arguments=()):
    """What an answer returns, given the arguments in the style of the day; it may also be the thing itself, not a function."""
    return attempt(answer, list(map(as_given, arguments)))


def kept(answer, arguments):
    """What an answer returns for copies of the arguments; an answer that changes them is refused."""
    before, given = ([as_given(argument) for argument in arguments] for _ in range(2))
    result = attempt(answer, given)
    if not all(map(_same, before, given)):
        raise CheckFailed("your code changes its input in place; work on a copy.")
    return result


def attempt(answer, arguments, nothing=None):
    """What an answer returns for these arguments; ``nothing`` is the diagnosis if it does something and returns nothing."""
    try:
        result = answer(*arguments) if callable(answer) else answer
    except (Exception, SystemExit) as error:
        if isinstance(error, NotImplementedError) and untouched(answer):
            raise NotAttempted from None
        raise CheckFailed(f"your code raised {type(error).__name__}: {error}") from error
    if blank(result):
        if untouched(answer):
            raise NotAttempted
        raise CheckFailed(nothing or (NOTHING if result is None else UNFINISHED))
    return result


def blank(result) -> bool:
    return result is None or result is ...


def untouched(answer) -> bool:
    """Whether an answer is still a skeleton: blank itself, or a function that uses no argument, no variable and no name, as one
    whose body is ``...``, ``pass``, a docstring or ``raise NotImplementedError``.

    It is the compiled code that is looked at, since there is no source where a notebook's cells are graded.
    """
    if blank(answer):
        return True
    code = getattr(inspect.unwrap(answer), "__code__", None)
    if code is None:
        return False
    used = any("_FAST" in instruction.opname for instruction in dis.get_instructions(code))
    return not (used or code.co_cellvars or code.co_freevars or {*code.co_names} - {"NotImplementedError"})


def unlike(got, want) -> str | None:
    want = torch.as_tensor(want)
    if got.shape != want.shape:
        return f"the result has shape {tuple(got.shape)}; expected {tuple(want.shape)}."
    if not torch.isfinite(got).all():
        return "the result holds a number that is not finite (inf or NaN)."
    return None


def close(got, want, equal_nan=False) -> bool:
    got, want = torch.as_tensor(got).double(), torch.as_tensor(want).double()
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if _style.get() == "float32" else {"rtol": 1e-5, "atol": 1e-6}
    return got.shape == want.shape and torch.allclose(got, want, **tolerance, equal_nan=equal_nan)


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


# What every exercise finds.
NOTHING = "your function returns nothing (None): its result must stand behind `return`."
UNFINISHED = "your function returns `...`, in whose place its result should stand."
CUT_OFF = (
    "the output is right but its gradient is not: something cuts the result off from its inputs. The usual causes are `.item()`, "
    "`torch.tensor(...)` and `.detach()`."
)
NO_GRADIENT = "the output is right but its gradient is not finite (inf or NaN)."

# What the texts say of exercises that compare gradients.
DIFFERENTIABLE = "In PyTorch, keep it differentiable: the check compares gradients, too."

# What several exercises find. Beside diagnoses, here and in the chapters, stand issues and pull requests of public repositories
# in which somebody had made the mistake.
NO_SCALE = "no scale: the logits q k^T must be divided by the square root of the queries' width."
OVER_QUERIES = (
    "softmax over the queries (columns); each query's row must sum to 1, so normalise over the keys."
)
ONE_TOKEN = "right, but not for a sentence of one token."
MULTIPLIED = "multiplied by the square root of the width where it must be divided."
# TransformerLensOrg/TransformerLens #319, huggingface/transformers #14859
NOT_HIDDEN = "right, until the other logits are very negative: a fixed number doesn't hide a key then. Set its logit to -inf."
ZERO = "right, except where the logit of a key that may be read is 0: only the mask says what is hidden, not the logit."
CAUSAL = "a causal mask stands in the place of the one that is given."
SCALED_AFTER = "scaled after the softmax: the rows no longer sum to 1. Divide the logits."
