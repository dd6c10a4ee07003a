"""Judges of the exercises of chapter 12."""

import math
import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dynattn.exercises._judging import NO_SCALE, CheckFailed, as_given, attempt, normal, run, same_as

# ---------------------------------------------------------------------------------- 12.1, a share of a block


def _share(weights=2, projections=4, mlp=3, tokens=lambda n: n):
    """The share, with other numbers of products."""

    def answer(n, d, h):
        part = weights * n * n * d
        return part / (part + tokens(n) * (projections * d * d + mlp * d * h))

    return answer


# ------------------------------------------------------------------------------------------ 12.2, one pass


class _Made(TorchDispatchMode):
    """The tensors of a value's size that are made, so that copies of what was read are seen, too."""

    def __init__(self):
        super().__init__()
        self.alive = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.shape == (3,):
            self.alive.append(weakref.ref(result))
        return result


class _Stream:
    """Pairs that can be read once; it knows how many vectors like those already read are still held by somebody."""

    def __init__(self, logits, values):
        self.left, self.given, self.made = list(zip(logits.tolist(), values)), [], None
        self.held, self.again = 0, False

    def __iter__(self):
        self.again |= not self.left
        return self

    def __next__(self):
        seen = {
            id(value())
            for value in self.given + (self.made.alive if self.made else [])
            if value() is not None
        }
        self.held = max(self.held, len(seen))
        if not self.left:
            raise StopIteration
        logit, value = self.left.pop(0)
        value = value.clone()
        self.given.append(weakref.ref(value))
        return logit, value


def _pass(sum_factor=lambda keep: keep, output_factor=lambda keep: keep, divide=True):
    """A pass over the pairs that rescales otherwise, or doesn't divide."""

    def answer(logits, values):
        largest, total, output = -math.inf, 0.0, torch.zeros_like(values[0])
        for logit, value in zip(logits.tolist(), values):
            new = max(largest, logit)
            keep, weight = math.exp(largest - new), math.exp(logit - new)
            total = (sum_factor(keep) if total else 0) * total + weight
            output = output_factor(keep) * output + weight * value
            largest = new
        return output / total if divide else output

    return answer


def _inverse(keep):
    return 1 / keep if keep else 0.0


def _judge_stream(answer):
    watched = []

    def from_pairs(logits, values):
        watched.append(_Stream(torch.as_tensor(logits), values))
        with _Made() as watched[-1].made:
            return answer(watched[-1])

    def cases(change=lambda row: row):
        def draw(generator):
            rows = [torch.tensor([1.0, 3, 2, 4, 0, 4.5]), torch.tensor([2.0, -1, 2.5, 2.4]).repeat(5)]
            return [(change(row.double()), normal(generator, len(row), 3)) for row in rows]

        return draw

    given = from_pairs if callable(answer) else answer
    reference = _pass()
    found = same_as(
        reference,
        cases(),
        {
            "when the largest logit changes, the sum so far must be rescaled as well; only the output is.": _pass(
                sum_factor=lambda keep: 1
            ),
            "when the largest logit changes, the output so far must be rescaled as well; only the sum is.": _pass(
                output_factor=lambda keep: 1
            ),
            "nothing is rescaled when the largest logit changes: early and late weights are relative to different numbers.": _pass(
                lambda keep: 1, lambda keep: 1
            ),
            "rescaled the wrong way: multiply by exp(old - new), which is at most 1.": _pass(
                _inverse, _inverse
            ),
            "the output isn't divided by the sum of the exponentials.": _pass(divide=False),
            "this is the plain mean; weight the values by the softmax of the logits.": lambda logits, values: (
                values.mean(0)
            ),
            "this is the value with the largest logit; the softmax gives every value a share.": lambda logits, values: (
                values[logits.argmax()]
            ),
        },
    )(given)
    if any(stream.again for stream in watched):
        return "the stream is read a second time, when nothing is left in it: one pass must do."
    if found:
        return found

    def fails(change):
        try:
            return same_as(reference, cases(change), {})(given) is not None
        except CheckFailed:  # an overflow, too, may be raised
            return True

    if fails(lambda row: row + 1000):
        return "right, until logits are about 1000: exponentials overflow, unless they are relative to the largest so far."
    if fails(lambda row: 400 * row):
        return "right, until a later logit is about 1000 larger than the first: exponentials must be relative to the largest so far."
    if fails(lambda row: row - 1000):
        return "right, until all logits are about -1000: then every exponential is zero. Start with the largest at -inf, not at 0."
    most = max((stream.held for stream in watched), default=0)
    if most > 5:
        return f"the result is right, but {most} values that had been read were still held: use each and forget it."
    return None


# ---------------------------------------------------------------------------------------- 12.3, two machines


def _merge(sums=(True, True), outputs=(True, True), factor=lambda m, top: (m - top).exp(), divide=True):
    """The union of two parts, with only some of the four things rescaled."""

    def answer(m1, s1, o1, m2, s2, o2):
        top = torch.maximum(m1, m2)
        f1, f2 = factor(m1, top), factor(m2, top)
        s = (f1 if sums[0] else 1) * s1 + (f2 if sums[1] else 1) * s2
        o = (f1[:, None] if outputs[0] else 1) * o1 + (f2[:, None] if outputs[1] else 1) * o2
        return o / s[:, None] if divide else o

    return answer


def _parts(q, k, v):
    logits = q @ k.T
    m = logits.amax(-1)
    weights = (logits - m[:, None]).exp()
    return m, weights.sum(-1), weights @ v


def _judge_merge(answer):
    def cases(change=lambda first, second: (*first, *second)):
        def draw(generator):
            q, v = normal(generator, 6, 4), normal(generator, 9, 3)
            k = normal(generator, 9, 4)
            return [change(_parts(q, k[:cut], v[:cut]), _parts(q, k[cut:], v[cut:])) for cut in (2, 5)]

        return draw

    def large(first, second):
        return first[0] + 1000, *first[1:], second[0] + 1000, *second[1:]

    def hidden(first, second):
        gone = torch.zeros(len(first[0]), dtype=torch.bool)
        gone[::2] = True
        m, s, o = first
        first = m.masked_fill(gone, -torch.inf), s.masked_fill(gone, 0), o.masked_fill(gone[:, None], 0)
        return *first, *second

    given = answer
    if callable(answer):

        def given(m1, s1, o1, m2, s2, o2):
            return answer((m1, s1, o1), (m2, s2, o2))

    reference = _merge()
    if found := same_as(
        reference,
        cases(),
        {
            "added without rescaling: the two machines' exponentials are relative to different logits.": _merge(
                (False, False), (False, False)
            ),
            "the outputs are rescaled, but the sums are not.": _merge(sums=(False, False)),
            "the sums are rescaled, but the outputs are not.": _merge(outputs=(False, False)),
            "only the second machine's part is rescaled; the first may be the one with the smaller logit.": _merge(
                (False, True), (False, True)
            ),
            "only the first machine's part is rescaled; the second may be the one with the smaller logit.": _merge(
                (True, False), (True, False)
            ),
            "this is the mean of both outputs; a machine with more weight must count for more.": lambda m1, s1, o1, m2, s2, o2: (
                (o1 / s1[:, None] + o2 / s2[:, None]) / 2
            ),
            "rescaled the wrong way: multiply by exp(own - larger), which is at most 1.": _merge(
                factor=lambda m, top: (top - m).exp()
            ),
            "the output isn't divided by the sum.": _merge(divide=False),
        },
    )(given):
        return found
    if same_as(reference, cases(large), {})(given):
        return "right, until logits are about 1000: then exp(m) overflows. Take exponentials of differences only."
    if same_as(reference, cases(hidden), {})(given):
        return "right, except where all keys of a machine are hidden, with m = -inf: its part should count for nothing."
    return None


# ------------------------------------------------------------------------------------------ 12.4, the next token


def _steps(looks=lambda i, j: j <= i, scale=lambda d: d**-0.5, **projected):
    """All outputs of one causal head, with another mask, scale or projection."""

    def answer(X, W_Q, W_K, W_V):
        q = projected.get("q", lambda X, W: X @ W.T)(X, W_Q)
        k = projected.get("k", lambda X, W, other: X @ W.T)(X, W_K, W_Q)
        v = projected.get("v", lambda X, W: X @ W.T)(X, W_V)
        i = torch.arange(len(X))
        seen = looks(i[:, None], i)
        seen[0, 0] = True  # the first token has nobody but itself
        return (q @ k.T * scale(X.shape[1])).masked_fill(~seen, -torch.inf).softmax(-1) @ v

    return answer


def _twice(X, W_Q, W_K, W_V):
    """The newest key and value stand twice in the cache while they are used."""
    logits = (X @ W_Q.T) @ (X @ W_K.T).T / X.shape[1] ** 0.5
    i = torch.arange(len(X))
    weights = logits.exp().tril() * torch.where(i[:, None] == i, 2.0, 1.0)
    return weights / weights.sum(-1, keepdim=True) @ (X @ W_V.T)


class _Applied(TorchDispatchMode):
    """How many tokens have gone through these matrices: each product with one of them is looked at."""

    def __init__(self, *matrices):
        super().__init__()
        self.places, self.width, self.rows = (
            {W.untyped_storage().data_ptr() for W in matrices},
            len(matrices[0]),
            0,
        )

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket in _PRODUCTS and any(
            isinstance(a, torch.Tensor) and a.untyped_storage().data_ptr() in self.places for a in args
        ):
            self.rows += result.numel() // self.width
        return result


_PRODUCTS = {
    torch.ops.aten.mm,
    torch.ops.aten.mv,
    torch.ops.aten.bmm,
    torch.ops.aten.addmm,
    torch.ops.aten.addmv,
}


def _judge_step(answer):
    def draw(generator):
        sizes = ((6, 8), (24, 8), (5, 3))
        return [(normal(generator, n, d), *normal(generator, 3, d, d).unbind()) for n, d in sizes]

    given = answer
    if callable(answer):
        X, *W = draw(torch.Generator().manual_seed(0))[0]
        first = run(answer, (X[0], None, *W))
        if not (isinstance(first, tuple | list) and len(first) == 2):
            return "return two things, the output and the new cache."

        def given(X, *W):
            outputs, cache = [], None
            for x in X:
                y, cache = answer(x, cache, *W)
                outputs.append(torch.as_tensor(y))
            return torch.stack(outputs)

    if found := same_as(
        _steps(),
        draw,
        {
            NO_SCALE: _steps(scale=lambda d: 1.0),
            "only the token itself is seen: what the cache holds isn't used, or is lost.": _steps(
                lambda i, j: j == i
            ),
            "a token doesn't see itself: put its key and value into the cache before you read from it.": _steps(
                lambda i, j: j < i
            ),
            "only the token before is still in the cache; keep them all.": _steps(
                lambda i, j: (j <= i) & (j >= i - 1)
            ),
            "the values are the tokens themselves; W_V is not applied.": _steps(v=lambda X, W: X),
            "the keys are the tokens themselves; W_K is not applied.": _steps(k=lambda X, W, other: X),
            "the query is the token itself; W_Q is not applied.": _steps(q=lambda X, W: X),
            "the cache holds queries in the place of keys.": _steps(k=lambda X, W, other: X @ other.T),
            "the matrices are applied the wrong way round: W @ x, not x @ W.": _steps(
                q=lambda X, W: X @ W, k=lambda X, W, other: X @ W, v=lambda X, W: X @ W
            ),
            "the newest token counts twice: its key and value stand in the cache two times.": _twice,
        },
    )(given):
        return found
    X, W_Q, W_K, W_V = map(as_given, draw(torch.Generator().manual_seed(0))[1])
    n = len(X)
    if not isinstance(X, torch.Tensor):
        return None  # NumPy's products can't be counted
    with _Applied(W_K, W_V) as applied:
        attempt(given, (X, W_Q, W_K, W_V))
    if applied.rows > 3 * n:
        return (
            f"the outputs are right, but for {n} tokens {applied.rows} keys and values were computed, and {2 * n} are enough: "
            "keep them in the cache."
        )
    return None


# ------------------------------------------------------------------------------------------------- 12.5, a band


class _Largest(TorchDispatchMode):
    """How many entries the largest tensor has that is made."""

    most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else [result]:
            if isinstance(made, torch.Tensor):
                self.most = max(self.most, made.numel())
        return result


def _band(looks=lambda i, j, w: (j <= i) & (j > i - w), scale=lambda d: d**-0.5, after=None):
    """A band by the plain way, with other bounds, another scale, or a mask that comes after the softmax."""

    def answer(q, k, v, w):
        i = torch.arange(len(q))
        seen = looks(i[:, None], i, w)
        logits = q @ k.T * scale(q.shape[1])
        if after:
            return after(logits, seen) @ v
        return logits.masked_fill(~seen, -torch.inf).softmax(-1) @ v

    return answer


def _padded(q, k, v, w):
    """Tokens of zeros stand before the first, and take part in the softmax."""
    k, v = (torch.cat([t.new_zeros(w - 1, t.shape[1]), t]) for t in (k, v))
    i, j = torch.arange(len(q))[:, None], torch.arange(len(k))
    seen = (j >= i) & (j < i + w)
    return (q @ k.T / q.shape[1] ** 0.5).masked_fill(~seen, -torch.inf).softmax(-1) @ v


def _band_cases(generator):
    sizes = ((60, 3, 7), (9, 4, 2), (5, 2, 8))
    return [(*normal(generator, 3, n, d).unbind(), w) for n, d, w in sizes]


def _judge_band(answer):
    if found := same_as(
        _band(),
        _band_cases,
        {
            NO_SCALE: _band(scale=lambda d: 1.0),
            "one token too many: with the token itself they should be w.": _band(
                lambda i, j, w: (j <= i) & (j >= i - w)
            ),
            "one token too few: with the token itself they should be w.": _band(
                lambda i, j, w: (j <= i) & (j > i - w + 1)
            ),
            "there is no band: every earlier token is seen.": _band(lambda i, j, w: j <= i),
            "the band reaches to both sides: no later token may be seen.": _band(
                lambda i, j, w: (j - i).abs() < w
            ),
            "the band lies on the wrong side: it holds the token and those after it.": _band(
                lambda i, j, w: (j >= i) & (j < i + w)
            ),
            "these are blocks: a token sees those of its own block, not the last w.": _band(
                lambda i, j, w: (j <= i) & (j // w == i // w)
            ),
            "at the beginning, tokens of zeros take part in the softmax: absent tokens need a logit of -inf.": _padded,
            "the softmax is over all tokens, and what is outside of the band is removed after it: rows don't sum to 1.": _band(
                after=lambda logits, seen: logits.softmax(-1) * seen
            ),
            "the softmax is over all earlier tokens, and the band is cut out after it: rows don't sum to 1.": _band(
                after=lambda logits, seen: (
                    logits.masked_fill(torch.ones_like(logits).triu(1).bool(), -torch.inf).softmax(-1) * seen
                )
            ),
        },
        gradient=True,
    )(answer):
        return found
    q, k, v, w = _band_cases(torch.Generator().manual_seed(0))[0]
    with _Largest() as made:
        run(answer, (q, k, v, w))
    if made.most >= len(q) ** 2:
        return (
            f"the output is right, but for {len(q)} tokens a tensor with {made.most:,} entries was made: the band holds "
            f"only {len(q)} times {w} weights."
        )
    return None


JUDGES = {
    "12.1": same_as(
        _share(),
        lambda generator: [(16, 8, 32), (1000, 64, 200), (5, 3, 7)],
        {
            "only one of the two products with A's shape is counted: weights are written, and used.": _share(
                weights=1
            ),
            "this MLP has three matrices, not two.": _share(mlp=2),
            "of the MLP only one matrix is counted; it has three.": _share(mlp=1),
            "the MLP is missing.": _share(mlp=0),
            "the projections are missing.": _share(projections=0),
            "there are four projections: W_O as well.": _share(projections=3),
            "projections and MLP are counted for one token only; they are applied to each of the n.": _share(
                tokens=lambda n: 1
            ),
            "half of the weights are left out; count all, masked or not.": lambda n, d, h: (
                n * (n + 1) * d / (n * (n + 1) * d + n * (4 * d * d + 3 * d * h))
            ),
            "this is the ratio of weights to the rest; the share is their part of the whole.": lambda n, d, h: (
                2 * n / (4 * d + 3 * h)
            ),
            "this is the share of all else.": lambda n, d, h: 1 - _share()(n, d, h),
            "this is the share of the chapter's block, whose MLP has 4d hidden units and two matrices.": lambda n, d, h: (
                n / (6 * d + n)
            ),
        },
    ),
    "12.2": _judge_stream,
    "12.3": _judge_merge,
    "12.4": _judge_step,
    "12.5": _judge_band,
}
