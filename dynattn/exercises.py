"""``check``: runs a reader's answer to an exercise and says which mistake it sees.

Each exercise has a judge: a function that takes the answer and returns a diagnosis, or None when it is right.
Most judges compare the answer with a reference on several inputs and, where it differs, with the mistakes that
people make, so that the diagnosis can name the one that was made.
"""

import math
from collections.abc import Callable

import torch

from dynattn.attention import attention
from dynattn.static import best_static_weights


class CheckFailed(AssertionError):
    """An answer was tried and is not right; the message is the diagnosis."""


class _NotAttempted(Exception):
    pass


def check(number: str, answer) -> None:
    """Check the answer to an exercise of the book.

    Args:
        number: chapter and exercise, such as "2.1".
        answer: the function, matrix or number that the exercise asks for. A function that is still a skeleton
            (it returns None or ``...``) counts as not attempted, and nothing is raised.

    Raises:
        CheckFailed: the answer is wrong; the message says which mistake was seen.
        KeyError: there is no such exercise.
    """
    if number not in _JUDGES:
        raise KeyError(f"number: got {number!r}, expected one of {', '.join(_JUDGES)}")
    try:
        diagnosis = "" if _blank(answer) else _JUDGES[number](answer)
    except _NotAttempted:
        diagnosis = ""
    if diagnosis == "":
        print(f"Exercise {number}: not attempted yet.")
    elif diagnosis:
        raise CheckFailed(f"exercise {number}: {diagnosis}")
    else:
        print(f"Exercise {number}: right.")


# ----------------------------------------------------------------------------------------------- judges


def _same_as(reference: Callable, cases: Callable, mistakes: dict[str, Callable], gradient: bool = False) -> Callable:
    """A judge that wants the reference's result on every case, and its gradient too if asked to.

    ``cases(generator)`` gives tuples of arguments; ``mistakes`` maps a diagnosis to the wrong function it describes.
    """

    def judge(answer):
        inputs = cases(torch.Generator().manual_seed(0))
        results = []
        for arguments in inputs:
            want = reference(*arguments)
            results.append(got := _call(answer, arguments))
            if diagnosis := _unlike(got, want):
                return diagnosis
        if not all(_close(got, reference(*arguments)) for got, arguments in zip(results, inputs)):
            for diagnosis, wrong in mistakes.items():
                if all(_close(got, wrong(*arguments)) for got, arguments in zip(results, inputs)):
                    return diagnosis
            error = max((got - reference(*arguments)).abs().max().item() for got, arguments in zip(results, inputs))
            return f"the numbers differ from the reference by up to {error:.3g}, in no way that this check knows."
        if gradient:
            for arguments in inputs:
                if not _close(_gradient(answer, arguments), _gradient(reference, arguments)):
                    return "the output is right but its gradient is not: something cuts the result off from its inputs."
        return None

    return judge


def _call(answer, arguments):
    """Run an answer on copies of the arguments, and make a float64 tensor of what it returns."""
    copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in arguments]
    try:
        result = answer(*copies) if callable(answer) else answer
    except NotImplementedError:
        raise _NotAttempted from None
    except Exception as error:
        raise CheckFailed(f"your code raised {type(error).__name__}: {error}") from error
    if _blank(result):
        raise _NotAttempted
    for before, after in zip(arguments, copies):
        if isinstance(before, torch.Tensor) and not torch.equal(before, after):
            raise CheckFailed("your code changes its input in place; work on a copy.")
    try:
        return torch.as_tensor(result).detach().double()
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(f"your code returns a {type(result).__name__}; expected a tensor or a number.") from None


def _blank(result) -> bool:
    return result is None or result is ...


def _unlike(got, want) -> str | None:
    want = torch.as_tensor(want)
    if got.shape != want.shape:
        return f"the result has shape {tuple(got.shape)}; expected {tuple(want.shape)}."
    if not torch.isfinite(got).all():
        return "the result holds a number that is not finite (inf or NaN)."
    return None


def _close(got, want) -> bool:
    got, want = torch.as_tensor(got).double(), torch.as_tensor(want).double()
    return got.shape == want.shape and torch.allclose(got, want, rtol=1e-5, atol=1e-6)


def _gradient(f, arguments):
    """The gradient of a fixed weighted sum of the outputs, over all floating-point arguments, as one vector."""
    leaves = [a.clone().requires_grad_() if torch.is_tensor(a) and a.is_floating_point() else a for a in arguments]
    result = f(*leaves)
    inputs = [leaf for leaf in leaves if torch.is_tensor(leaf) and leaf.requires_grad]
    if not (torch.is_tensor(result) and result.requires_grad):
        return torch.zeros(sum(leaf.numel() for leaf in inputs))
    weights = torch.arange(1.0, result.numel() + 1, dtype=result.dtype).reshape(result.shape).sin()
    found = torch.autograd.grad((result * weights).sum(), inputs, allow_unused=True)
    return torch.cat([(torch.zeros_like(x) if g is None else g).flatten() for g, x in zip(found, inputs)])


def _normal(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# -------------------------------------------------------------------------------------------- chapter 1


def _rotate(by: int) -> torch.Tensor:
    return torch.eye(5, dtype=torch.float64).roll(by, dims=0)


def _fit_cases(generator):
    sizes = ((40, 4, 3), (60, 5, 2), (30, 3, 4))
    return [(_normal(generator, s, n, d), _normal(generator, s, n, d)) for s, n, d in sizes]


def _transposed_fit(x, y):
    """W with y = x W per feature row, which is the transpose of the layer's W."""
    return best_static_weights(x, y).T


def _per_sample_fit(x, y):
    return torch.stack([a @ torch.linalg.pinv(b) for a, b in zip(y, x)]).mean(0)


def _floor_cases(generator):
    def some(k, n):
        return torch.stack([torch.eye(n, dtype=torch.float64)[torch.randperm(n, generator=generator)] for _ in range(k)])

    return [(some(2, 5),), (some(3, 4),), (some(7, 6),)]


def _floor(P):
    return (P - P.mean(0)).square().sum(dim=(1, 2)).mean() / P.shape[-1]


def _judge_linearity_test(answer):
    """The answer is itself a test; try it on functions that are linear, and on some that are not."""
    M = _normal(torch.Generator().manual_seed(0), 5, 5)
    functions = (
        (lambda x: M @ x, True, "a matrix product is linear, but your test says that it is not."),
        (lambda x: 0 * x, True, "the function that is always 0 is linear, but your test says that it is not."),
        (lambda x: M @ x + 1, False, "your test takes M x + 1 for linear: a bias breaks superposition."),
        (torch.abs, False, "your test takes |x| for linear: scaling by a positive number is not enough, try a sum."),
        (lambda x: x**3, False, "your test takes x**3 for linear: f(-x) = -f(x) is not enough, try a sum."),
        (lambda x: x.sort(dim=0).values, False, "your test takes sorting for linear: compare f(x + y) with f(x) + f(y)."),
    )
    for f, linear, diagnosis in functions:
        if bool(_call(answer, (f,))) != linear:
            return diagnosis
    return None


# -------------------------------------------------------------------------------------------- chapter 2


def _qkv_cases(generator):
    sizes = ((4, 6, 3, 5), (5, 5, 2, 2), (3, 3, 3, 3))
    return [(_normal(generator, nq, d), _normal(generator, nk, d), _normal(generator, nk, dv)) for nq, nk, d, dv in sizes]


def _attend(q, k, v):
    return attention(q, k, v)[0]


def _variant(logits_of=lambda q, k: q @ k.T / math.sqrt(q.shape[-1]), weights_of=lambda s: s.softmax(-1)):
    """Attention with one part replaced: how the logits are made, or how they become weights."""
    return lambda q, k, v: weights_of(logits_of(q, k)) @ v


def _masked_cases(generator):
    masks = (torch.ones(4, 6).tril(2).bool(), torch.ones(5, 5).tril().bool(), torch.ones(3, 3).tril().bool())
    return [(*qkv, mask) for qkv, mask in zip(_qkv_cases(generator), masks)]


def _attend_masked(q, k, v, mask):
    return attention(q, k, v, mask)[0]


def _logits(q, k):
    return q @ k.T / math.sqrt(q.shape[-1])


def _inverted_mask(q, k, v, mask):
    return _logits(q, k).masked_fill(mask, -torch.inf).softmax(-1).nan_to_num() @ v


def _judge_pointer(answer):
    """Any queries and keys in the plane will do, if the computed weights are the routing 'read the token before'."""
    n = 6
    result = answer(n) if callable(answer) else answer
    if _blank(result):
        raise _NotAttempted
    if not (isinstance(result, tuple) and len(result) == 2):
        return "return two tensors, the queries and the keys."
    q, k = (torch.as_tensor(part).double() for part in result)
    if q.shape != (n, 2) or k.shape != (n, 2):
        return f"got shapes {tuple(q.shape)} and {tuple(k.shape)}; expected ({n}, 2) for queries and for keys."
    A = attention(q, k, k)[1]
    want = torch.eye(n, dtype=torch.float64).roll(1, dims=1).T
    if (A - want).abs().max() < 0.01:
        return None
    read = A.argmax(-1)
    if torch.equal(read, want.T.argmax(-1)):
        return "each token reads the one AFTER it: queries and keys have changed places."
    if torch.equal(read, torch.arange(n)):
        return "each token reads itself: its query must point at the key of the token before."
    if torch.equal(read, want.argmax(-1)):
        return f"the right token has the largest weight, but only {A.amax(-1).min():.2f} of 1: make queries or keys longer."
    return "at least one token does not give its largest weight to the token before it (the first one reads the last)."


def _softmax_jacobian(a):
    return torch.diag(a) - torch.outer(a, a)


def _row_cases(generator):
    return [(_normal(generator, n).softmax(-1),) for n in (3, 5, 8)]


_NO_SCALE = "no scale: the logits q k^T must be divided by sqrt(d_k)."
_OVER_QUERIES = "softmax over the queries (columns); each query's row must sum to 1, so normalise over the keys."

_JUDGES: dict[str, Callable] = {
    "1.1": _same_as(
        lambda: _rotate(2),
        lambda generator: [()],
        {
            "transposed: row i of W belongs to output i, and this W moves tokens the other way.": lambda: _rotate(-2),
            "this W moves tokens by one place, not by two.": lambda: _rotate(1),
        },
    ),
    "1.2": _same_as(
        best_static_weights,
        _fit_cases,
        {
            "transposed: the layer is y = W x with W on the left of x.": _transposed_fit,
            "this averages one solution a sentence; the sums over sentences come first, then one inverse.": _per_sample_fit,
            "only the first feature is used; every feature is one more equation for the same W.": lambda x, y: (
                best_static_weights(x[..., :1], y[..., :1])
            ),
        },
    ),
    "1.3": _same_as(
        _floor,
        _floor_cases,
        {
            "relative to what? Divide by the expected size of the target, which is n for a permutation.": lambda P: (
                _floor(P) * P.shape[-1]
            ),
            "this takes the first routing as W; the best W is the mean of all.": lambda P: (
                (P - P[0]).square().sum(dim=(1, 2)).mean() / P.shape[-1]
            ),
            "the square is missing: the floor is a mean SQUARED error.": lambda P: (
                (P - P.mean(0)).square().sum(dim=(1, 2)).sqrt().mean() / P.shape[-1]
            ),
        },
    ),
    "1.4": _judge_linearity_test,
    "2.1": _same_as(
        _attend,
        _qkv_cases,
        {
            _NO_SCALE: _variant(logits_of=lambda q, k: q @ k.T),
            "scaled by d_k; the factor is its square root.": _variant(logits_of=lambda q, k: q @ k.T / q.shape[-1]),
            "scaled by the number of keys; the factor is sqrt(d_k), the width of a query.": _variant(
                logits_of=lambda q, k: q @ k.T / math.sqrt(len(k))
            ),
            "multiplied by sqrt(d_k) where it must be divided.": _variant(
                logits_of=lambda q, k: q @ k.T * math.sqrt(q.shape[-1])
            ),
            _OVER_QUERIES: _variant(weights_of=lambda s: s.softmax(-2)),
            "no softmax: the logits themselves are used as weights.": _variant(weights_of=lambda s: s),
            "normalised over the whole matrix; every row must sum to 1 on its own.": _variant(
                weights_of=lambda s: s.flatten().softmax(0).reshape(s.shape)
            ),
            "this returns the values' plain mean: the weights don't depend on queries and keys.": _variant(
                logits_of=lambda q, k: 0 * (q @ k.T)
            ),
        },
        gradient=True,
    ),
    "2.2": _same_as(
        _attend_masked,
        _masked_cases,
        {
            "mask after softmax: the rows no longer sum to 1. Set the logits to -inf before it.": lambda q, k, v, mask: (
                (_logits(q, k).softmax(-1) * mask) @ v
            ),
            "inverted mask: True means MAY look, and this hides what may be seen.": _inverted_mask,
            "the masked logits are set to 0, which is a logit like any other; set them to -inf.": lambda q, k, v, mask: (
                (_logits(q, k) * mask).softmax(-1) @ v
            ),
            "the mask is not used.": lambda q, k, v, mask: _attend(q, k, v),
            _NO_SCALE: lambda q, k, v, mask: (q @ k.T).masked_fill(~mask, -torch.inf).softmax(-1) @ v,
            _OVER_QUERIES: lambda q, k, v, mask: (
                _logits(q, k).masked_fill(~mask, -torch.inf).softmax(-2).nan_to_num() @ v
            ),
        },
        gradient=True,
    ),
    "2.3": _judge_pointer,
    "2.4": _same_as(
        _softmax_jacobian,
        _row_cases,
        {
            "only the diagonal term a_i (1 - a_i): raising one logit also lowers all OTHER weights.": lambda a: torch.diag(
                a * (1 - a)
            ),
            "the outer product is missing: the weights share a sum of 1.": torch.diag,
            "the sign is turned: a weight grows with its own logit.": lambda a: torch.outer(a, a) - torch.diag(a),
        },
    ),
}
