"""``check``: runs a reader's answer to an exercise and says which mistake it sees.

Each exercise has a judge: a function that takes the answer and returns a diagnosis, or None when it is right.
Most judges compare the answer with a reference on several inputs and, where it differs, with the mistakes that
people make, so that the diagnosis can name the one that was made.
"""

import itertools
import math
from collections.abc import Callable

import torch

from dynattn.attention import attention
from dynattn.static import best_static_weights
from dynattn.tasks import lookup, two_lookups


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
        if _blank(answer):
            raise _NotAttempted
        if diagnosis := _JUDGES[number](answer):
            raise CheckFailed(diagnosis)
    except _NotAttempted:
        print(f"Exercise {number}: not attempted yet.")
    except CheckFailed as failed:
        raise CheckFailed(f"exercise {number}: {failed}") from failed.__cause__
    else:
        print(f"Exercise {number}: right.")


# ----------------------------------------------------------------------------------------------- judges


def _same_as(
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
            results.append(got := _call(answer, arguments))
            if diagnosis := _unlike(got, want):
                return diagnosis
        if not all(_close(got, reference(*arguments)) for got, arguments in zip(results, inputs)):
            for diagnosis, wrong in mistakes.items():
                if all(_close(got, wrong(*arguments)) for got, arguments in zip(results, inputs)):
                    return diagnosis
            error = max(
                (got - reference(*arguments)).abs().max().item() for got, arguments in zip(results, inputs)
            )
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
    result = _run(answer, copies)
    for before, after in zip(arguments, copies):
        if isinstance(before, torch.Tensor) and not torch.equal(before, after):
            raise CheckFailed("your code changes its input in place; work on a copy.")
    return _tensor(result)


def _tensor(result):
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


def _run(answer, arguments=()):
    """What an answer returns; it may also be the thing itself, instead of a function."""
    try:
        result = answer(*arguments) if callable(answer) else answer
    except NotImplementedError:
        raise _NotAttempted from None
    except Exception as error:
        raise CheckFailed(f"your code raised {type(error).__name__}: {error}") from error
    if _blank(result):
        raise _NotAttempted
    return result


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
        return torch.stack(
            [torch.eye(n, dtype=torch.float64)[torch.randperm(n, generator=generator)] for _ in range(k)]
        )

    return [(some(2, 5),), (some(3, 4),), (some(7, 6),)]


def _floor(P):
    return (P - P.mean(0)).square().sum(dim=(1, 2)).mean() / P.shape[-1]


def _judge_linearity_test(answer):
    """The answer is itself a test; try it on functions that are linear, and on some that are not."""
    M = _normal(torch.Generator().manual_seed(0), 5, 5)
    functions = (
        (lambda x: M @ x, True, "a matrix product is linear, but your test says that it is not."),
        (
            lambda x: 0 * x,
            True,
            "the function that is always 0 is linear, but your test says that it is not.",
        ),
        (lambda x: M @ x + 1, False, "your test takes M x + 1 for linear: a bias breaks superposition."),
        (
            torch.abs,
            False,
            "your test takes |x| for linear: scaling by a positive number is not enough, try a sum.",
        ),
        (lambda x: x**3, False, "your test takes x**3 for linear: f(-x) = -f(x) is not enough, try a sum."),
        (
            lambda x: x.sort(dim=0).values,
            False,
            "your test takes sorting for linear: compare f(x + y) with f(x) + f(y).",
        ),
    )
    for f, linear, diagnosis in functions:
        said = _call(answer, (f,))
        if said.numel() != 1:
            return f"return True or False, not a tensor of shape {tuple(said.shape)}."
        if bool(said) != linear:
            return diagnosis
    return None


# -------------------------------------------------------------------------------------------- chapter 2


def _qkv_cases(generator):
    sizes = ((4, 6, 3, 5), (5, 5, 2, 2), (3, 3, 3, 3))
    return [
        (_normal(generator, nq, d), _normal(generator, nk, d), _normal(generator, nk, dv))
        for nq, nk, d, dv in sizes
    ]


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
    result = _run(answer, (n,))
    if not (isinstance(result, tuple) and len(result) == 2):
        return "return two tensors, the queries and the keys."
    q, k = map(_tensor, result)
    if q.shape != (n, 2) or k.shape != (n, 2):
        return (
            f"got shapes {tuple(q.shape)} and {tuple(k.shape)}; expected ({n}, 2) for queries and for keys."
        )
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


# -------------------------------------------------------------------------------------------- chapter 3


def _rule_cases(generator):
    sizes = ((5, 6, 3), (4, 4, 4), (6, 8, 2))  # n, d_model, d_head; the second is square
    return [
        (_normal(generator, n, D), _normal(generator, d, D), _normal(generator, d, D)) for n, D, d in sizes
    ]


def _rule(scale=lambda d_head, d_model: d_head**-0.5, axis=-1):
    """The weights from x, W_Q and W_K, with another scale, or the softmax over another axis."""
    return lambda x, W_Q, W_K: ((x @ W_Q.T) @ (x @ W_K.T).T * scale(*W_Q.shape)).softmax(axis)


def _crossing(stored=lambda D, d, out: 2 * d * D + out * D, more=1):
    return lambda D, d, out: math.isqrt(stored(D, d, out) - 1 + more) + 1


def _judge_asked(answer):
    """Any W_Q and W_K will do with which each token reads the one that looks for it."""
    result = _run(answer)
    if not (isinstance(result, tuple | list) and len(result) == 2):
        return "return two matrices, W_Q and W_K."
    W_Q, W_K = map(_tensor, result)
    if W_Q.shape != (8, 20) or W_K.shape != (8, 20):
        return f"got shapes {tuple(W_Q.shape)} and {tuple(W_K.shape)}; expected (8, 20) for both."
    generator = torch.Generator().manual_seed(0)
    n, samples = 6, 500
    places = torch.arange(n)
    order = torch.rand(samples, n, generator=generator).argsort(1)
    wants = torch.empty_like(order).scatter_(1, order, order.roll(1, 1))  # one ring: nobody looks for himself
    x, _ = lookup(_normal(generator, samples, n, 4), wants, generator)
    k = x @ W_K.T
    A = attention(x @ W_Q.T, k, k)[1]
    asked_by = wants.argsort(1)
    weight = A.gather(2, asked_by[..., None]).mean().item()
    read = A.argmax(-1)
    if weight > 0.9:
        return None
    if (read == asked_by).float().mean() > 0.9:
        return f"the right token has the largest weight, but only {weight:.2f} of 1: make W_Q or W_K larger."
    if (read == wants).float().mean() > 0.5:
        return "each token reads the one that IT looks for, as in the chapter: exchange the roles of query and key."
    if (read == places).float().mean() > 0.5:
        return "each token reads itself: query and key are made from the same features."
    if (A.argmin(-1) == asked_by).float().mean() > 0.5:
        return "each token avoids the one that looks for it: the sign is turned."
    return "the weights follow neither names nor the names looked for: which features should be compared with which?"


def _merged_cases(generator):
    return [(_normal(generator, d, D), _normal(generator, d, D)) for d, D in ((3, 6), (2, 8), (5, 5))]


def _judge_ring(answer):
    """A symmetric table whose rows settle all but one token of a ring of five; all five are impossible."""
    S = _tensor(_run(answer))
    if (diagnosis := _unlike(S, torch.zeros(5, 5))) is not None:
        return diagnosis
    if not torch.allclose(S, S.T):
        return "this table isn't symmetric: S[i, j] must equal S[j, i]."
    places = torch.arange(5)
    A = S.softmax(-1)
    settled = int((A[places, places - 1] > 0.5).sum())
    if settled == 4:
        return None
    if int((A[places, (places + 1) % 5] > 0.5).sum()) == 4:
        return "your tokens read the one AFTER them: let the logits grow in the other direction."
    if (A.argmax(-1) == places).all():
        return "each token reads itself: its own logit is the largest of its row."
    return f"{settled} of the five tokens give more than half to the one before; more are possible."


# -------------------------------------------------------------------------------------------- chapter 4


def _count(d_model, n_heads, d_head, n):
    return torch.tensor([4 * d_model * n_heads * d_head, n_heads * n * n])


def _miscount(learned, computed):
    """The count with factors other than the right ones."""
    return lambda D, H, d, n: torch.tensor([learned(D, H, d, n), computed(D, H, d, n)])


def _heads_cases(generator):
    """x, W_Q, W_K, W_V, W_O, n_heads and a mask, with d_model = n_heads * d_head."""
    cases = []
    for n, d_model, n_heads in ((5, 8, 2), (4, 12, 3), (6, 8, 4)):
        matrices = [_normal(generator, d_model, d_model) / math.sqrt(d_model) for _ in range(4)]
        places = torch.arange(n)
        mask = (places[:, None] - places) % n < 3  # every row and every column holds both True and False
        cases.append((_normal(generator, n, d_model), *matrices, n_heads, mask))
    return cases


def _cut(y, n_heads):
    return y.unflatten(-1, (n_heads, -1)).transpose(0, 1)


def _cut_interleaved(y, n_heads):
    return y.unflatten(-1, (-1, n_heads)).permute(2, 0, 1)


def _cut_without_transpose(y, n_heads):
    return y.reshape(n_heads, len(y), -1)


def _join(heads):
    return heads.transpose(0, 1).flatten(1)


def _join_interleaved(heads):
    return heads.permute(1, 2, 0).flatten(1)


def _join_without_transpose(heads):
    return heads.reshape(heads.shape[1], -1)


def _masked_rows(logits, mask):
    return logits.masked_fill(~mask, -torch.inf).softmax(-1)


def _multi_head(cut=_cut, join=_join, scale=lambda d_head, d_model: d_head**-0.5, rows=_masked_rows):
    """Multi-head attention with one part replaced: cut, join, scale, or how logits become weights."""

    def layer(x, W_Q, W_K, W_V, W_O, n_heads, mask):
        q, k, v = (cut(x @ W.T, n_heads) for W in (W_Q, W_K, W_V))
        A = rows(q @ k.transpose(-1, -2) * scale(q.shape[-1], x.shape[-1]), mask)
        return join(A @ v) @ W_O.T

    return layer


def _input_cut(x, W_Q, W_K, W_V, W_O, n_heads, mask):
    """Each head is given a piece of every token, so that only diagonal blocks of the projections count."""
    blocks = torch.block_diag(*[torch.ones(x.shape[-1] // n_heads, x.shape[-1] // n_heads)] * n_heads).to(x)
    return _multi_head()(x, W_Q * blocks, W_K * blocks, W_V * blocks, W_O, n_heads, mask)


def _with_matrices(change):
    """The right layer, given other learned matrices: ``change`` maps (W_Q, W_K, W_V, W_O) to what is used."""
    return lambda x, W_Q, W_K, W_V, W_O, n_heads, mask: _multi_head()(
        x, *change(W_Q, W_K, W_V, W_O), n_heads, mask
    )


def _mean_matrix(x, W_Q, W_K, W_V, W_O, n_heads, mask):
    return _multi_head(rows=lambda s, m: _masked_rows(s, m).mean(0, keepdim=True))(
        x, W_Q, W_K, W_V, W_O, n_heads, mask
    )


def _contribution_cases(generator):
    cases = []
    for n, d_model, n_heads in ((5, 8, 2), (4, 12, 3), (6, 8, 4)):
        A = _normal(generator, n_heads, n, n).softmax(-1)
        cases.append((A, *(_normal(generator, rows, d_model) for rows in (n, d_model, d_model))))
    return cases


def _contributions(A, x, W_V, W_O):
    W_h = zip(W_V.chunk(len(A), 0), W_O.chunk(len(A), 1), strict=True)
    return torch.stack([A_h @ x @ (W_O_h @ W_V_h).T for A_h, (W_V_h, W_O_h) in zip(A, W_h, strict=True)])


def _interleaved_contributions(A, x, W_V, W_O):
    H = len(A)
    return torch.stack([A[h] @ x @ (W_O[:, h::H] @ W_V[h::H]).T for h in range(H)])


def _row_contributions(A, x, W_V, W_O):
    """W_O cut by its rows, as W_V is: the pieces fill pieces of the output."""
    d_head = len(W_O) // len(A)
    pieces = [A_h @ x @ (W_O_h @ W_V).T for A_h, W_O_h in zip(A, W_O.chunk(len(A), 0), strict=True)]
    return torch.stack([torch.zeros_like(x).index_copy(1, torch.arange(h * d_head, (h + 1) * d_head), piece)
                        for h, piece in enumerate(pieces)])  # fmt: skip


def _judge_two_heads(answer):
    """Any matrices will do that solve the task; where they don't, say what the heads read and write."""
    result = _run(answer)
    if not (isinstance(result, tuple | list) and len(result) == 4):
        return "return four matrices, W_Q, W_K, W_V and W_O."
    W_Q, W_K, W_V, W_O = map(_tensor, result)
    if shapes := [tuple(W.shape) for W in (W_Q, W_K, W_V, W_O) if W.shape != (16, 16)]:
        return f"got a matrix of shape {shapes[0]}; expected (16, 16) for all four."
    (question, keys, values), answers, asked = two_lookups(2000, torch.Generator().manual_seed(0))
    question, keys, values, answers = (part.double() for part in (question, keys, values, answers))
    memory = keys + values
    q, k, v = (
        (part @ W.T).unflatten(-1, (2, 8)).transpose(1, 2)
        for part, W in ((question, W_Q), (memory, W_K), (memory, W_V))
    )
    heads, A = attention(q, k, v)
    output = (heads.transpose(1, 2).flatten(2) @ W_O.T).reshape(-1, 2, 8)
    named, wanted = output.argmax(-1), answers.argmax(-1)
    if (named == wanted).all(-1).double().mean() > 0.95:
        return None
    top = A[:, :, 0].argmax(-1)  # (samples, heads): the token that gets the largest weight
    hits = (top[:, :, None] == asked[:, None]).double().mean(0)  # (heads, asked first or second)
    if (named == wanted.flip(-1)).all(-1).double().mean() > 0.9:
        return "the two answers have changed places."
    if hits.amax(-1).min() < 0.9:
        return "a head does not find a token that was asked for: compare queries with the right keys."
    if hits.argmax(-1).unique().numel() == 1:
        return "both heads read the same token: head 1 must ask for the first key, head 2 for the second."
    share = A[:, :, 0].amax(-1).mean(0).min()
    if share < 0.9:
        return f"the right tokens get only {share:.2f} of a row: longer queries make sharper rows."
    return "the heads read the right tokens but don't bring the value to its place: look at W_V and W_O."


def _judge_impossible_pair(answer):
    """A pair is impossible if it holds the smaller of the two groups of keys that share a point."""
    generator = torch.Generator().manual_seed(0)
    pairs = [set(two) for two in itertools.combinations(range(5), 2)]
    seen = []  # for each wrong pair, what is true of it
    for _ in range(40):
        K = _normal(generator, 5, 3)
        got = _call(answer, (K,))
        if got.shape != (2,):
            return f"the result has shape {tuple(got.shape)}; expected two numbers, the places of two keys."
        pair = {int(place) for place in got.tolist()}
        if len(pair) != 2 or not pair <= set(range(5)) or not torch.equal(got, got.round()):
            return f"got {got.tolist()}; expected two different whole numbers from 0 to 4."
        c = torch.linalg.svd(torch.cat([K.T, torch.ones(1, 5, dtype=K.dtype)])).Vh[-1]
        c = c if (c > 0).sum() <= 2 else -c
        smaller, distances = {place for place in range(5) if c[place] > 0}, torch.pdist(K)
        if not smaller <= pair:
            seen.append((pair == pairs[distances.argmin()], pair == pairs[distances.argmax()],
                         not smaller & pair, len(smaller & pair) == 1))  # fmt: skip
    diagnoses = (
        "these are the nearest two keys, and a query can select them: nearness is not what matters.",
        "these are the two keys farthest apart, and a query can select them: distance is not what matters.",
        "both keys are of the larger of the two groups that share a point; take the smaller group.",
        "one key is of the smaller of the two groups that share a point, one of the larger; take the smaller.",
    )
    for always, diagnosis in zip(zip(*seen, strict=True), diagnoses, strict=False):
        if all(always):
            return diagnosis
    if seen:
        return f"a query can select your pair for {len(seen)} of 40 sets of keys: which keys share a point?"
    return None


_NO_SCALE = "no scale: the logits q k^T must be divided by sqrt(d_k)."
_OVER_QUERIES = (
    "softmax over the queries (columns); each query's row must sum to 1, so normalise over the keys."
)

_JUDGES: dict[str, Callable] = {
    "1.1": _same_as(
        lambda: _rotate(2),
        lambda generator: [()],
        {
            "transposed: row i of W belongs to output i, and this W moves tokens the other way.": lambda: (
                _rotate(-2)
            ),
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
            "scaled by d_k; the factor is its square root.": _variant(
                logits_of=lambda q, k: q @ k.T / q.shape[-1]
            ),
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
            "only the diagonal term a_i (1 - a_i): raising one logit also lowers all OTHER weights.": lambda a: (
                torch.diag(a * (1 - a))
            ),
            "the outer product is missing: the weights share a sum of 1.": torch.diag,
            "the sign is turned: a weight grows with its own logit.": lambda a: (
                torch.outer(a, a) - torch.diag(a)
            ),
        },
    ),
    "3.1": _same_as(
        _rule(),
        _rule_cases,
        {
            _NO_SCALE: _rule(scale=lambda d_head, d_model: 1),
            "scaled by the width of a token; the factor is sqrt(d_head), the width of a query.": _rule(
                scale=lambda d_head, d_model: d_model**-0.5
            ),
            "scaled by d_head; the factor is its square root.": _rule(
                scale=lambda d_head, d_model: 1 / d_head
            ),
            _OVER_QUERIES: _rule(axis=-2),
            "queries and keys have changed places: row i belongs to the query of token i.": lambda x, W_Q, W_K: (
                _rule()(x, W_K, W_Q)
            ),
            "W_K is not used: queries and keys are made by the same matrix.": lambda x, W_Q, W_K: _rule()(
                x, W_Q, W_Q
            ),
            "W_Q is not used: queries and keys are made by the same matrix.": lambda x, W_Q, W_K: _rule()(
                x, W_K, W_K
            ),
            "W_Q and W_K are not used: this is the plain rule of chapter 2.": lambda x, W_Q, W_K: attention(
                x, x, x
            )[1],
            "these are the logits; the softmax over each row is missing.": lambda x, W_Q, W_K: (
                (x @ W_Q.T) @ (x @ W_K.T).T * len(W_Q) ** -0.5
            ),
        },
        gradient=True,
    ),
    "3.2": _same_as(
        lambda *sizes: torch.tensor(_crossing()(*sizes)),
        lambda generator: [(20, 8, 4), (8, 2, 4), (64, 16, 64)],  # in the first two, n * n meets it
        {
            "at this n the two numbers are equal; it must compute MORE than it stores.": _crossing(more=0),
            "this is one token too few: here the layer still stores at least as much.": lambda *sizes: (
                _crossing()(*sizes) - 1
            ),
            "this is one token too many.": lambda *sizes: _crossing()(*sizes) + 1,
            "this is where the lines cross; the answer is the first whole number above it.": lambda D, d, out: (
                math.sqrt(2 * d * D + out * D)
            ),
            "W_V is missing: d_out * d_model parameters.": _crossing(lambda D, d, out: 2 * d * D),
            "only one of W_Q and W_K is counted.": _crossing(lambda D, d, out: d * D + out * D),
            "W_V is counted as (d_head, d_model); it is (d_out, d_model).": _crossing(
                lambda D, d, out: 3 * d * D
            ),
            "this compares n, not n * n, with the number stored.": lambda D, d, out: 2 * d * D + out * D + 1,
            "biases are counted, which this head doesn't have.": _crossing(
                lambda D, d, out: 2 * d * D + out * D + 2 * d + out
            ),
        },
    ),
    "3.3": _judge_asked,
    "3.4": _same_as(
        lambda W_Q, W_K: W_K.T @ W_Q * math.sqrt(W_Q.shape[1] / W_Q.shape[0]),
        _merged_cases,
        {
            "the scale: attention divides by the root of the keys' width, which is d_model now.": lambda W_Q, W_K: (
                W_K.T @ W_Q
            ),
            "the scale is turned over: the logits must become larger, not smaller.": lambda W_Q, W_K: (
                W_K.T @ W_Q * math.sqrt(W_Q.shape[0] / W_Q.shape[1])
            ),
            "transposed: attention is given x @ W.T, so W is the transpose of B = W_Q^T W_K.": lambda W_Q, W_K: (
                W_Q.T @ W_K * math.sqrt(W_Q.shape[1] / W_Q.shape[0])
            ),
            "transposed, and the scale is that of the narrow head.": lambda W_Q, W_K: W_Q.T @ W_K,
            "the ratio of the widths; the factor is its square root.": lambda W_Q, W_K: (
                W_K.T @ W_Q * W_Q.shape[1] / W_Q.shape[0]
            ),
        },
    ),
    "3.5": _judge_ring,
    "4.1": _same_as(
        _count,
        lambda generator: [(12, 3, 4, 5), (8, 2, 4, 7), (16, 4, 8, 10)],
        {
            "W_O is missing: a layer has four learned matrices.": _miscount(
                lambda D, H, d, n: 3 * D * H * d, lambda D, H, d, n: H * n * n
            ),
            "the learned matrices are (n_heads * d_head) x d_model, which need not be square.": _miscount(
                lambda D, H, d, n: 4 * D * D, lambda D, H, d, n: H * n * n
            ),
            "the learned numbers of one head only; every head has its own slice of each matrix.": _miscount(
                lambda D, H, d, n: 4 * D * d, lambda D, H, d, n: H * n * n
            ),
            "every head makes an n x n matrix of its own; this counts one for all.": _miscount(
                lambda D, H, d, n: 4 * D * H * d, lambda D, H, d, n: n * n
            ),
            "learned and computed have changed places.": _miscount(
                lambda D, H, d, n: H * n * n, lambda D, H, d, n: 4 * D * H * d
            ),
        },
    ),
    "4.2": _same_as(
        _multi_head(),
        _heads_cases,
        {
            "heads cut from the input: project whole tokens, then cut queries, keys and values.": _input_cut,
            "interleaved packing: a head owns neighbouring columns, not every n_heads-th one.": (
                _multi_head(_cut_interleaved)
            ),
            "interleaved packing, in cut and join: a head owns neighbouring columns, not every n_heads-th.": (
                _multi_head(_cut_interleaved, _join_interleaved)
            ),
            "reshape without transpose: make it (n, n_heads, d_head), then swap the first two axes.": (
                _multi_head(_cut_without_transpose)
            ),
            "reshape without transpose, twice: each head holds pieces of the wrong tokens.": _multi_head(
                _cut_without_transpose, _join_without_transpose
            ),
            "the heads are joined without swapping the axes back to (n, n_heads, d_head) first.": (
                _multi_head(join=_join_without_transpose)
            ),
            "scaled by d_model: a logit is a sum of d_head products, so divide by sqrt(d_head).": _multi_head(
                scale=lambda d_head, d_model: d_model**-0.5
            ),
            _NO_SCALE: _multi_head(scale=lambda d_head, d_model: 1.0),
            _OVER_QUERIES: _multi_head(
                rows=lambda s, m: s.masked_fill(~m, -torch.inf).softmax(-2).nan_to_num()
            ),
            "scaled by d_head; the factor is its square root.": _multi_head(
                scale=lambda d_head, d_model: 1 / d_head
            ),
            "the masked logits are set to 0, which is a logit like any other; set them to -inf.": _multi_head(
                rows=lambda s, m: (s * m).softmax(-1)
            ),
            "mask after softmax: the rows no longer sum to 1. Set the logits to -inf before it.": _multi_head(
                rows=lambda s, m: s.softmax(-1) * m
            ),
            "inverted mask: True means MAY look, and this hides what may be seen.": _multi_head(
                rows=lambda s, m: s.masked_fill(m, -torch.inf).softmax(-1).nan_to_num()
            ),
            "the mask is not used.": _multi_head(rows=lambda s, m: s.softmax(-1)),
            "no output projection: multiply the joined heads by W_O^T.": _with_matrices(
                lambda W_Q, W_K, W_V, W_O: (W_Q, W_K, W_V, torch.eye(len(W_O)).to(W_O))
            ),
            "W_O is transposed: it is stored (out, in), so multiply by W_O^T.": _with_matrices(
                lambda W_Q, W_K, W_V, W_O: (W_Q, W_K, W_V, W_O.T)
            ),
            "W_Q, W_K and W_V are transposed: they are (out, in), so multiply by W^T.": _with_matrices(
                lambda W_Q, W_K, W_V, W_O: (W_Q.T, W_K.T, W_V.T, W_O)
            ),
            "all learned matrices are transposed: they are (out, in), so multiply by W^T.": _with_matrices(
                lambda W_Q, W_K, W_V, W_O: (W_Q.T, W_K.T, W_V.T, W_O.T)
            ),
            "one head of full width: n_heads is not used.": lambda x, W_Q, W_K, W_V, W_O, n_heads, mask: (
                _multi_head()(x, W_Q, W_K, W_V, W_O, 1, mask)
            ),
            "all heads use the mean of their matrices; each must use its own.": _mean_matrix,
        },
        gradient=True,
    ),
    "4.3": _same_as(
        _contributions,
        _contribution_cases,
        {
            "W_O is cut by its rows; head h writes through the columns that read its values.": (
                _row_contributions
            ),
            "every head mixes all of V: give each its own rows of W_V and its own columns of W_O.": (
                lambda A, x, W_V, W_O: A @ x @ (W_O @ W_V).T
            ),
            "interleaved: a head owns neighbouring rows of W_V and columns of W_O, not every n_heads-th.": (
                _interleaved_contributions
            ),
            "A is transposed: row i of A says from where output i takes.": lambda A, x, W_V, W_O: (
                _contributions(A.transpose(1, 2), x, W_V, W_O)
            ),
            "the learned matrices are transposed: they are stored (out, in).": lambda A, x, W_V, W_O: (
                _contributions(A, x, W_V.T, W_O.T)
            ),
            "the output is divided among the heads; the heads ADD UP to it, each with its own part.": (
                lambda A, x, W_V, W_O: _contributions(A, x, W_V, W_O).sum(0).expand(len(A), -1, -1) / len(A)
            ),
        },
        gradient=True,
    ),
    "4.4": _judge_two_heads,
    "4.5": _judge_impossible_pair,
}
