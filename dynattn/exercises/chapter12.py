"""The exercises of chapter 12."""

import math
import weakref

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dynattn.exercises._judging import (
    DIFFERENTIABLE,
    NO_SCALE,
    CheckFailed,
    Exercise,
    Hard,
    Variants,
    Watched,
    as_given,
    call,
    normal,
    parts,
    run,
    tensor,
    unlike,
)

# ---------------------------------------------------------------------------------- 12.1, a share of a block


def _share_text(mlp, shared=1, masked=False):
    matrices = "*three* matrices (two from $d$ to $h$ numbers, one from $h$ to $d$)"
    if mlp == 2:
        matrices = "*two* matrices (one from $d$ to $h$ numbers, one from $h$ to $d$)"
    heads, count = "", "Count all $n^2$ weights, masked or not."
    if shared > 1:
        heads = f" Every {shared} heads *share* their keys and values, so that $W_K$ and $W_V$ lead from $d$ to $d/{shared}$ numbers."
    if masked:
        count = "Count only the $n(n+1)/2$ weights that a causal mask leaves, *not* the others."
    return (
        f"A block has the four projections, attention, and an MLP of {matrices}.{heads} Return the share of a whole block's "
        "multiplications that goes into writing computed weights and using them, for `n` tokens of width `d` with `h` hidden "
        f"units. {count}"
    )


def _share(mlp, shared=1, masked=False):
    def share(weights=2, projections=2 + 2 / shared, mlp=mlp, tokens=lambda n: n, masked=masked,
              of=lambda part, rest: part / (part + rest), hidden=lambda d, h: h):  # fmt: skip
        """The share, with other numbers of products."""

        def answer(n, d, h):
            part = weights * (n * (n + 1) / 2 if masked else n * n) * d
            return of(part, tokens(n) * (projections * d * d + mlp * d * hidden(d, h)))

        return answer

    three, two = ("three", "two") if mlp == 3 else ("two", "three")
    changes = {
        "only one of the two products with A's shape is counted: weights are written, and used.": {
            "weights": 1
        },
        f"this MLP has {three} matrices, not {two}.": {"mlp": 5 - mlp},
        f"of the MLP only one matrix is counted; it has {three}.": {"mlp": 1},
        "the MLP is missing.": {"mlp": 0},
        "the projections are missing.": {"projections": 0},
        "there are four projections: W_O as well.": {"projections": 1 + 2 / shared},
        "projections and MLP are counted for one token only; they are applied to each of the n.": {
            "tokens": lambda n: 1
        },
        "this is the ratio of weights to the rest; the share is their part of the whole.": {
            "of": lambda part, rest: part / rest
        },
        "this is the share of all else.": {"of": lambda part, rest: rest / (part + rest)},
        "of the two products with A's shape, one is missing above the line: weights are written, and used.": {
            "of": lambda part, rest: part / 2 / (part + rest)
        },
        "this is in percent: a share is at most 1.": {"of": lambda part, rest: 100 * part / (part + rest)},
        "this is 0 for all sizes: a share lies between 0 and 1, and `//` rounds it down.": {
            "of": lambda part, rest: part // (part + rest)
        },
    }
    if masked:
        changes["the weights that the mask hides are counted, too; leave them out."] = {"masked": False}
    else:
        changes["half of the weights are left out; count all, masked or not."] = {"masked": True}
    if shared == 1:
        changes["the projections to keys and values are smaller here; all four are from d to d numbers."] = {
            "projections": 2.5
        }
    else:
        changes |= {
            "all four projections are from d to d numbers here; W_K and W_V are smaller.": {"projections": 4},
            "sharing keys and values saves no weights: each head still writes its own.": {
                "weights": 2 / shared
            },
        }
    block = share(projections=4, mlp=2, masked=False, hidden=lambda d, h: 4 * d)
    others = {
        "this is the share of the chapter's block, whose MLP has 4d hidden units and two matrices.": block
    }
    sizes = [(16, 8, 32), (1000, 64, 200), (5, 4, 7), (1, 4, 1)]
    return Exercise(share(), lambda generator: sizes, parts(share, changes, others))


# ------------------------------------------------------------------------------------------ 12.2, one pass


class _Made(TorchDispatchMode):
    """The tensors of one or more values that are made, so that copies of what was read are seen, too."""

    def __init__(self):
        super().__init__()
        self.alive = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.shape[-1:] == (3,):
            self.alive.append(weakref.ref(result))
        return result


class _Stream:
    """Pairs that can be read once; it knows how many vectors like those already read are still held by somebody."""

    def __init__(self, logits, values, made):
        self.left, self.given, self.made = list(zip(logits.tolist(), values)), [], made
        self.held, self.again, self.ended = 0, False, False

    def __iter__(self):
        self.again |= self.ended  # to go on where `next` has stopped is no second reading
        return self

    def __next__(self):
        alive = (one() for one in self.given + self.made.alive)
        seen = {
            id(one): one.size if isinstance(one, np.ndarray) else one.numel()
            for one in alive
            if one is not None
        }
        self.held = max(self.held, sum(seen.values()) // 3)
        if not self.left:
            self.ended = True
            raise StopIteration
        logit, value = self.left.pop(0)
        value = as_given(value)
        self.given.append(weakref.ref(value))
        return logit, value


_LONG = "right for short texts, but not for a long one."
_TWICE = "the stream is read a second time, when nothing is left in it: one pass must do."
_HELD = "the result is right, but values that had been read were still held: use each and forget it."


def _mean_of_stream(answer, case):
    """What is made of a stream, which is watched. A short one may be held."""
    logits, values = case
    with _Made() as made:
        stream = _Stream(logits, values, made)
        try:
            result = tensor(run(answer, (stream,)))
        except CheckFailed:
            if stream.again:
                raise CheckFailed(_TWICE) from None
            raise
    if stream.again:
        raise CheckFailed(_TWICE)
    if stream.held > 5 and len(logits) > 10:
        raise CheckFailed(_HELD)
    if diagnosis := unlike(result, values[0]):
        raise CheckFailed(diagnosis)
    return result


def _pass(sum_factor=lambda keep: keep, output_factor=lambda keep: keep, divide=True):
    """A pass over the pairs that rescales otherwise, or doesn't divide."""

    def answer(stream):
        largest, total, output = -math.inf, 0.0, 0.0
        for logit, value in stream:
            new = max(largest, logit)
            keep, weight = math.exp(largest - new), math.exp(logit - new)
            total = (sum_factor(keep) if total else 0) * total + weight
            output = (output_factor(keep) if largest > -math.inf else 0) * output + weight * value
            largest = new
        return output / total if divide else output

    return answer


def _plain_mean(stream):
    return torch.stack([value for _, value in stream]).mean(0)


def _of_largest(stream):
    return max(stream, key=lambda pair: pair[0])[1]


_COARSE = "right, until logits are about {}: nothing overflows, but their last digits are rounded off. Is something in float32?"


def _stream_cases(generator):
    def drawn(*logits):
        return torch.tensor(logits, dtype=torch.float64), normal(generator, len(logits), 3)

    rows = (1.0, 3.0, 2.0, 4.0, 0.0, 4.5), (2.0, -1.0, 2.5, 2.375), (3.0, 2.0, 2.0, -1.0), (0.5,)
    return [drawn(*row) for row in rows] + [
        Hard("right, until logits are about 1000: exponentials overflow, unless they are relative to the largest so far.",
             *drawn(1001.0, 1003.0, 1002.0), nearly=_COARSE.format("1000")),
        Hard("right, until a later logit is about 1000 larger than the first: exponentials must be relative to the largest so far.",
             *drawn(0.0, 500.0, 1000.0, 1600.0, 1601.0), nearly=_COARSE.format("1000")),
        Hard("right, until a later logit is about 1000 smaller than the one before: exponentials must be relative to the largest "
             "so far, not to the last.", *drawn(1600.0, 0.0, -1000.0, 1599.0)),
        Hard("right, until all logits are about -1000: then every exponential is zero. Start with the largest at -inf, not at 0.",
             *drawn(-1001.0, -1003.0, -1000.0), nearly=_COARSE.format("-1000")),
        Hard("right, until all logits are about -1000000: start with the largest at -inf, not at a number.",
             *drawn(-1000001.0, -1000003.0, -1000000.0), nearly=_COARSE.format("-1000000")),
        Watched(_LONG, *drawn(*[2.0, -1.0, 2.5, 2.375, 0.0] * 5)),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------- 12.3, two machines


def _merge(sums=(True, True), outputs=(True, True), factor=lambda m, top: (m - top).exp(), divide=True):
    """The union of two parts, with only some of the four things rescaled."""

    def answer(first, second):
        (m1, s1, o1), (m2, s2, o2) = first, second
        top = torch.maximum(m1, m2)
        f1, f2 = factor(m1, top), factor(m2, top)
        s = (f1 if sums[0] else 1) * s1 + (f2 if sums[1] else 1) * s2
        o = (f1[:, None] if outputs[0] else 1) * o1 + (f2[:, None] if outputs[1] else 1) * o2
        return o / s[:, None] if divide else o

    return answer


def _by_largest(first, second):
    """The two outputs, each weighted by the exponential of its largest logit alone."""
    (m1, s1, o1), (m2, s2, o2) = first, second
    a, b = torch.stack([m1, m2]).softmax(0)
    return a[:, None] * o1 / s1[:, None] + b[:, None] * o2 / s2[:, None]


def _merge_cases(generator):
    def part(q, k, v, hide=0):
        logits = (q @ k.T).masked_fill(torch.arange(len(q))[:, None] % 2 < hide, -torch.inf)
        m = logits.amax(-1)
        weights = (logits - m[:, None]).exp().nan_to_num()
        return m, weights.sum(-1), weights @ v

    apart = torch.tensor([-1000.0, 1000.0, 0.0, 2000.0, -2000.0], dtype=torch.float64)

    def drawn(n, d, cut, keys=9, width=4, more=0, hide=(0, 0)):
        q, k, v = normal(generator, n, width), normal(generator, keys, width), normal(generator, keys, d)
        parts = part(q, k[:cut], v[:cut], hide[0]), part(q, k[cut:], v[cut:], hide[1])
        return tuple((m + more, s, o) for m, s, o in parts)

    return [drawn(6, 3, 2), drawn(6, 3, 5), drawn(1, 1, 1, keys=2), drawn(4, 2, 6)] + [
        Hard("right, until logits are about 1000: then exp(m) overflows. Take exponentials of differences only.",
             *drawn(5, 2, 4, more=1000)),
        Hard("right, until logits are about -1000: then exp(m) is 0. Take exponentials of differences only.",
             *drawn(5, 2, 4, more=-1000)),
        Hard("right, until the logits of different queries are about 1000 apart: each query has a largest logit of its own.",
             *drawn(5, 2, 4, more=apart)),
        Hard("right, except where all keys of the first machine are hidden, with m = -inf: its part should count for nothing.",
             *drawn(6, 3, 4, hide=(1, 0))),
        Hard("right, except where all keys of the second machine are hidden, with m = -inf: its part should count for nothing.",
             *drawn(6, 3, 4, hide=(0, 1))),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------ 12.4, the next token


def _next_text(window):
    last = f" A token sees the last *{window}* tokens only, itself included." if window else ""
    return (
        "One head, token by token. Given a token `x` (d,), the `cache` that your function returned for the token before (None for "
        f"the first token), and the learned `W_Q`, `W_K`, `W_V` (out, in), here (d, d), return the output (d,) of causal attention for this token, "
        f"and the new cache. The logits are divided by the root of d.{last} What is in the cache is up to you, but no key or value "
        "should be computed twice; the check counts."
    )


class _Applied(TorchDispatchMode):
    """How many tokens have gone through these matrices: each product with one of them is looked at."""

    products = {
        torch.ops.aten.mm,
        torch.ops.aten.mv,
        torch.ops.aten.bmm,
        torch.ops.aten.addmm,
        torch.ops.aten.addmv,
    }

    def __init__(self, *matrices):
        super().__init__()
        self.places = {W.untyped_storage().data_ptr() for W in matrices if isinstance(W, torch.Tensor)}
        self.width, self.rows = len(matrices[0]), 0

    def _is_matrix(self, a):
        return isinstance(a, torch.Tensor) and a.untyped_storage().data_ptr() in self.places

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if any(map(self._is_matrix, args)):
            if function.overloadpacket in self.products:
                self.rows += result.numel() // self.width
            elif function.overloadpacket == torch.ops.aten.mul:  # the sum comes later
                self.rows += result.numel() // self.width**2
        return result


_TWO_TIMES = "the outputs are right, but in one step a key or a value is computed twice: compute it once, and use it twice."
_AGAIN = "the outputs are right, but keys and values are computed again and again: keep them in the cache."


def _is_output(result, case) -> bool:
    try:
        return tensor(result).shape == case[0][0].shape
    except CheckFailed:
        return False


def _outputs(answer, case):
    """The outputs for all tokens of a text. In a long one it is counted how often keys and values are computed."""
    first = run(answer, (case[0][0], None, *case[1:]))
    if not (isinstance(first, tuple | list) and len(first) == 2):
        raise CheckFailed("return two things, the output and the new cache.")
    if not _is_output(first[0], case) and _is_output(first[1], case):
        raise CheckFailed("the output and the cache have changed places: the output comes first.")
    rows = 0

    def step_by_step(X, W_Q, W_K, W_V):
        nonlocal rows
        outputs, cache = [], None
        with _Applied(W_K, W_V) as applied:
            for x in X:
                y, cache = answer(x, cache, W_Q, W_K, W_V)
                outputs.append(torch.as_tensor(y))
        rows = applied.rows
        return torch.stack(outputs)

    outputs = call(step_by_step, case)
    if rows > 2 * len(outputs) > 20:
        raise CheckFailed(_AGAIN if rows > 4 * len(outputs) else _TWO_TIMES)
    return outputs


def _next(window):
    def step(
        seen=lambda i, j: j > i - (window or i + 1),
        q=lambda x, W_Q: W_Q @ x,
        k=lambda x, W_Q, W_K: W_K @ x,
        v=lambda x, W_V: W_V @ x,
        scale=lambda d: d**-0.5,
        newest=1,
        first=1,
        weigh=lambda logits: logits.softmax(0),
        swapped=False,
    ):
        """A step that sees other tokens, projects or weighs in another way, or counts a token more than once."""

        def answer(x, cache, W_Q, W_K, W_V):
            K, V = cache or ([], [])
            K, V = [*K, k(x, W_Q, W_K)], [*V, v(x, W_V)]
            read, taken = (V, K) if swapped else (K, V)
            logits = torch.stack(read) @ q(x, W_Q) * scale(len(x))
            logits[-1] += math.log(newest)
            logits[0] += math.log(first)
            if len(K) > 1:  # the first token has nobody but itself
                logits[~seen(len(K) - 1, torch.arange(len(K)))] = -torch.inf
            return weigh(logits) @ torch.stack(taken), (K, V)

        return answer

    mistakes = {
        NO_SCALE: step(scale=lambda d: 1.0),
        "only the token itself is seen: what the cache holds isn't used, or is lost.": step(
            lambda i, j: j == i
        ),
        "a token doesn't see itself: put its key and value into the cache before you read from it.": step(
            lambda i, j: (j < i) & (j > i - (window or i + 1))
        ),
        "only the token before is still in the cache; keep more of them.": step(lambda i, j: j >= i - 1),
        # karpathy/nanochat#456: a causal mask for one query that is laid at the first key
        "only the first token is seen: the mask's one row belongs to the newest token, which sees all that came before.": step(
            lambda i, j: j == 0
        ),
        "the values are the tokens themselves; W_V is not applied.": step(v=lambda x, W_V: x),
        "the keys are the tokens themselves; W_K is not applied.": step(k=lambda x, W_Q, W_K: x),
        "the query is the token itself; W_Q is not applied.": step(q=lambda x, W_Q: x),
        "the cache holds queries in the place of keys.": step(k=lambda x, W_Q, W_K: W_Q @ x),
        "the matrices are applied the wrong way round: W @ x, not x @ W.": step(
            q=lambda x, W_Q: x @ W_Q, k=lambda x, W_Q, W_K: x @ W_K, v=lambda x, W_V: x @ W_V
        ),
        "the newest token counts twice: its key and value stand in the cache two times.": step(newest=2),
        "the first token counts twice: its key and value are put into the cache two times.": step(first=2),
        "a token sees only the first token and itself: the cache that is returned is never more than the first one's.": step(
            lambda i, j: (j == 0) | (j == i)
        ),
        "keys and values have changed places: queries are compared with keys, and values are added up.": step(
            swapped=True
        ),
        "there is no softmax: the values are weighted by the logits themselves.": step(
            weigh=lambda logits: logits.masked_fill(logits.isinf(), 0)
        ),
        "the exponentials aren't divided by their sum: weights must add up to 1.": step(weigh=torch.exp),
    }
    if window:
        mistakes |= {
            # karpathy/nanochat#452
            "every earlier token is seen: what the cache holds isn't cut to the window.": step(
                lambda i, j: j <= i
            ),
            # ml-explore/mlx-lm#390
            f"one token too many: with the token itself they should be {window}.": step(
                lambda i, j: j >= i - window
            ),
            f"one token too few: with the token itself they should be {window}.": step(
                lambda i, j: j > i - window + 1
            ),
        }
    else:
        mistakes["only the last four tokens are seen; keep them all."] = step(lambda i, j: j > i - 4)

    def cases(generator):
        def drawn(n, d, sharper=1):
            W_Q, W_K, W_V = normal(generator, 3, d, d)
            return normal(generator, n, d), sharper * W_Q, W_K, W_V

        return [drawn(*size) for size in ((6, 8), (1, 4), (7, 3), (6, 1))] + [
            Hard(
                "right, until logits are about 1000: exponentials overflow. Use softmax.", *drawn(6, 4, 512)
            ),
            Watched(_LONG, *drawn(24, 8, 0.25)),
        ]

    return Exercise(step(), cases, mistakes, outcome=_outputs)


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


_FULL = "the output is right, but a tensor with n times n entries was made: the band holds only n times w weights, or twice that."


def _narrow(answer, case):
    """The output. Where the text is long, no matrix of n times n may be made."""
    with _Largest() as made:
        output = call(answer, case)
    if made.most >= len(output) ** 2 >= 2500:
        raise CheckFailed(_FULL)
    return output


# Of each kind of layer: its wording, what else is asked, who is seen, and a short description.
_BANDS = {
    "last": (
        "In a *banded* layer, token $i$ looks at the last `w` tokens only, itself included: $j = i - w + 1, \\dots, i$ (fewer at the "
        "beginning).",
        "What must such a layer keep, to go on with a text? And how far can information travel through $L$ such layers?",
        lambda i, j, w: (j <= i) & (j > i - w),
        "the last w tokens",
    ),
    "sides": (
        "In a *banded* layer, token $i$ looks only at the tokens that are less than `w` places away, on *both* sides: $j = i - w + "
        "1, \\dots, i + w - 1$ (fewer at both ends).",
        "How far can information travel through $L$ such layers?",
        lambda i, j, w: (i - j).abs() < w,
        "the tokens less than w places away, on both sides",
    ),
    "blocks": (
        "In a layer of *blocks*, the first `w` tokens are a block, the next `w` another one, and so on (the last may be shorter). "
        "Token $i$ looks at the tokens of its own block, up to itself.",
        "What must such a layer keep, to go on with a text? And how far can information travel through $L$ such layers?",
        lambda i, j, w: (j <= i) & (j // w == i // w),
        "the tokens of its own block, up to itself",
    ),
}


def _band_text(kind):
    layer, more, *_ = _BANDS[kind]
    return (
        f"{layer} Given `q`, `k`, `v` (n, d) and `w`, return the output (n, d), without ever making a matrix of n × n. {more} "
        f"{DIFFERENTIABLE}"
    )


def _band(kind):
    _, _, right, asked = _BANDS[kind]

    def masked(logits, seen):
        return logits.masked_fill(~seen, -torch.inf).softmax(-1)

    def band(looks=right, scale=lambda d: d**-0.5, weigh=masked):
        """A band by the plain way, with other bounds, another scale, or another use of the mask."""

        def answer(q, k, v, w):
            i = torch.arange(len(q))
            return weigh(q @ k.T * scale(q.shape[1]), looks(i[:, None], i, w)) @ v

        return answer

    def narrow(q, k, v, w):
        """Token by token, without a matrix of n times n."""
        near = [right(i, torch.arange(len(q)), w) for i in range(len(q))]
        return torch.stack([(k[j] @ q[i] / q.shape[1] ** 0.5).softmax(0) @ v[j] for i, j in enumerate(near)])

    def padded(q, k, v, w):
        """Tokens of zeros stand before the first, and after the last, and take part in the softmax."""
        k, v = (torch.cat([t.new_zeros(w, t.shape[1]), t, t.new_zeros(w, t.shape[1])]) for t in (k, v))
        seen = right(torch.arange(len(q))[:, None], torch.arange(len(k)) - w, w)
        return masked(q @ k.T / q.shape[1] ** 0.5, seen) @ v

    mistakes = {
        NO_SCALE: band(scale=lambda d: 1.0),
        "the softmax is over all tokens, and what shouldn't be seen is removed after it: rows don't sum to 1.": band(
            weigh=lambda logits, seen: logits.softmax(-1) * seen
        ),
        # huggingface/transformers#542, georg-wolflein/good-features#1
        "the logits are multiplied by the mask, and a logit of 0 still counts: hidden tokens need a logit of -inf.": band(
            weigh=lambda logits, seen: (logits * seen).softmax(-1)
        ),
        f"the tokens from itself on are seen: it should be {asked}.": band(
            lambda i, j, w: (j >= i) & (j < i + w)
        ),
        f"all tokens are seen: it should be {asked}.": band(lambda i, j, w: i + j >= 0),
    } | {
        f"this looks at {its}; it should be {asked}.": band(other)
        for key, (_, _, other, its) in _BANDS.items()
        if key != kind
    }
    if kind != "sides":
        mistakes |= {
            f"every earlier token is seen: it should be {asked}.": band(lambda i, j, w: j <= i),
            "the softmax is over all earlier tokens, and what shouldn't be seen is cut out after it: rows don't sum to 1.": band(
                weigh=lambda logits, seen: masked(logits, torch.ones_like(seen).tril()) * seen
            ),
        }
    if kind == "blocks":
        mistakes["later tokens of the block are seen, too."] = band(lambda i, j, w: j // w == i // w)
        mistakes["the block before is seen, too."] = band(lambda i, j, w: (j <= i) & (j // w >= i // w - 1))
    else:
        mistakes |= {
            "at the ends, tokens of zeros take part in the softmax: absent tokens need a logit of -inf.": padded,
            # ml-explore/mlx-lm#390
            f"one token too many on a side: it should be {asked}.": band(lambda i, j, w: right(i, j, w + 1)),
            f"one token too few on a side: it should be {asked}.": band(lambda i, j, w: right(i, j, w - 1)),
        }

    def cases(generator):
        def drawn(n, d, w, sharper=1):
            q, k, v = normal(generator, 3, n, d)
            return sharper * q, k, v, w

        return [drawn(*sizes) for sizes in ((9, 4, 2), (12, 3, 5), (5, 2, 8), (1, 3, 2))] + [
            Hard("right, except for w = 1, where a token sees only itself.", *drawn(4, 3, 1)),
            Hard(
                "right, until logits are about 1000: exponentials overflow. Use softmax.",
                *drawn(7, 4, 3, 512),
            ),
            Watched(_LONG, *drawn(60, 3, 7)),
        ]

    return Exercise(narrow, cases, mistakes, outcome=_narrow, gradient=True)


EXERCISES = {
    "12.1": Variants(
        _share_text, _share, {"mlp": 3}, {"mlp": 2}, {"mlp": 3, "shared": 4}, {"mlp": 3, "masked": True}
    ),
    "12.2": Exercise(
        _pass(),
        _stream_cases,
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
                lambda keep: 1 / keep, lambda keep: 1 / keep
            ),
            "the output isn't divided by the sum of the exponentials.": _pass(divide=False),
            "this is the plain mean; weight the values by the softmax of the logits.": _plain_mean,
            "this is the value with the largest logit; the softmax gives every value a share.": _of_largest,
        },
        outcome=_mean_of_stream,
    ),
    "12.3": Exercise(
        _merge(),
        _merge_cases,
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
            "this is the mean of both outputs; a machine with more weight must count for more.": lambda first, second: (
                (first[2] / first[1][:, None] + second[2] / second[1][:, None]) / 2
            ),
            # Dao-AILab/flash-attention#404, zhuzilin/ring-flash-attention#20: which number of a part says how much it weighs
            "each machine's output is weighted by its largest logit alone; its sum counts, too.": _by_largest,
            "rescaled the wrong way: multiply by exp(own - larger), which is at most 1.": _merge(
                factor=lambda m, top: (top - m).exp()
            ),
            "the output isn't divided by the sum.": _merge(divide=False),
        },
    ),
    "12.4": Variants(_next_text, _next, {"window": None}, {"window": 4}),
    "12.5": Variants(_band_text, _band, *({"kind": kind} for kind in _BANDS)),
}
