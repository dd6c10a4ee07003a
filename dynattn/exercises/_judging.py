"""What the judges of the exercises share."""

from collections.abc import Callable

import torch


class CheckFailed(AssertionError):
    """An answer was tried and is not right; the message is the diagnosis."""


class NotAttempted(Exception):
    pass


def same_as(
    reference: Callable, cases: Callable, mistakes: dict[str, Callable], gradient: bool = False
) -> Callable:
    """A judge that wants the reference's result on every case, and its gradient too if asked to.

    ``cases(generator)`` gives tuples of arguments; ``mistakes`` maps a diagnosis to the wrong function it describes.
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
            for diagnosis, wrong in mistakes.items():
                if all(close(got, wrong(*arguments)) for got, arguments in zip(results, inputs)):
                    return diagnosis
            error = max(
                (got - reference(*arguments)).abs().max().item() for got, arguments in zip(results, inputs)
            )
            return f"the numbers differ from the reference by up to {error:.3g}, in no way that this check knows."
        if gradient:
            for arguments in inputs:
                if not close(gradient_of(answer, arguments), gradient_of(reference, arguments)):
                    return "the output is right but its gradient is not: something cuts the result off from its inputs."
        return None

    return judge


def misjudges(answer, cases, times: int = 1) -> str | None:
    """The diagnosis of the first case that an answer which is itself a test gets wrong, or None.

    ``cases`` are (what it is given, whether it should say yes, diagnosis); each is tried so many times, since a test
    may draw at random.
    """
    for case, yes, diagnosis in cases:
        for _ in range(times):
            said = call(answer, (case,))
            if said.numel() != 1:
                return f"return True or False, not a tensor of shape {tuple(said.shape)}."
            if bool(said) != yes:
                return diagnosis
    return None


def call(answer, arguments):
    """Run an answer on copies of the arguments, and make a float64 tensor of what it returns."""
    copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in arguments]
    result = run(answer, copies)
    for before, after in zip(arguments, copies):
        if isinstance(before, torch.Tensor) and not torch.equal(before, after):
            raise CheckFailed("your code changes its input in place; work on a copy.")
    return tensor(result)


def tensor(result):
    """A float64 tensor of what an answer returned."""
    try:
        result = torch.as_tensor(result).detach()
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(
            f"your code returns a {type(result).__name__}; expected a tensor or a number."
        ) from None
    if result.is_complex():
        raise CheckFailed("your code returns complex numbers; expected real ones.")
    return result.double()


def run(answer, arguments=()):
    """What an answer returns; it may also be the thing itself, instead of a function."""
    try:
        result = answer(*arguments) if callable(answer) else answer
    except NotImplementedError:
        raise NotAttempted from None
    except Exception as error:
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
    return got.shape == want.shape and torch.allclose(got, want, rtol=1e-5, atol=1e-6)


def gradient_of(f, arguments):
    """The gradient of a fixed weighted sum of the outputs, over all floating-point arguments, as one vector."""
    leaves = [
        a.clone().requires_grad_() if torch.is_tensor(a) and a.is_floating_point() else a for a in arguments
    ]
    result = f(*leaves)
    inputs = [leaf for leaf in leaves if torch.is_tensor(leaf) and leaf.requires_grad]
    if not (torch.is_tensor(result) and result.requires_grad):
        return torch.zeros(sum(leaf.numel() for leaf in inputs))
    weights = torch.arange(1.0, result.numel() + 1, dtype=result.dtype).reshape(result.shape).sin()
    found = torch.autograd.grad((result * weights).sum(), inputs, allow_unused=True)
    return torch.cat([(torch.zeros_like(x) if g is None else g).flatten() for g, x in zip(found, inputs)])


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


NO_SCALE = "no scale: the logits q k^T must be divided by sqrt(d_k)."
OVER_QUERIES = (
    "softmax over the queries (columns); each query's row must sum to 1, so normalise over the keys."
)
