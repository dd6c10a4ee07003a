"""The exercises of chapter 2."""

import math

import torch

from dynattn.attention import attention
from dynattn.exercises._judging import (
    CAUSAL,
    DIFFERENTIABLE,
    MULTIPLIED,
    NO_SCALE,
    NOT_HIDDEN,
    ONE_TOKEN,
    OVER_QUERIES,
    SCALED_AFTER,
    ZERO,
    CheckFailed,
    Exercise,
    Hard,
    Variants,
    normal,
    parts,
    run,
    several,
)

# ----------------------------------------------------------------------------- 2.1 and 2.2, attention, with a mask


def _qkv_cases(generator):
    sizes = ((4, 6, 3, 5), (5, 5, 2, 2), (3, 3, 3, 3), (1, 1, 1, 1))
    return [
        (normal(generator, nq, d), normal(generator, nk, d), normal(generator, nk, dv))
        for nq, nk, d, dv in sizes
    ]


def _attend(q, k, v):
    return attention(q, k, v)[0]


WEIGHTS = "these are the weights; the output is what they bring, a mixture of the values."


def _with(scale=lambda q, k, v: q.shape[-1] ** -0.5, weights_of=lambda s: s.softmax(-1)):
    """Attention with parts replaced: the factor, or how logits become weights."""
    return lambda q, k, v: weights_of(q @ k.T * scale(q, k, v)) @ v


def _logits(q, k):
    return q @ k.T / math.sqrt(q.shape[-1])


def _mask_across(q, k, v, mask):
    """The mask read by columns; where it isn't square, what remains of it."""
    across = torch.ones_like(mask)
    n = min(mask.shape)
    across[:n, :n] = mask[:n, :n].T
    return attention(q, k, v, across)[0]


def _masked_text(true):
    return f"The same with a mask of shape (n_q, n_k), in which True means *{true}*. {DIFFERENTIABLE}"


def _masked(true):
    """True means "may read" or "may not read"; inside, masks are of the first kind."""

    def turned(f):
        return f if true == "may read" else lambda q, k, v, mask: f(q, k, v, ~mask)

    def cases(generator):
        def given(mask):
            return mask if true == "may read" else ~mask

        def some(nq, nk):
            """Every row holds both True and False, so that the opposite mask hides no row; and it isn't the causal one."""
            return (torch.arange(nq)[:, None] - torch.arange(nk)) % nk < nk - nk // 3

        *plain, one = _qkv_cases(generator)
        cases = [(q, k, v, given(some(len(q), len(k)))) for q, k, v in plain]
        q, k, v, mask = cases[1]
        ahead = torch.tensor([1.0, 0.0], dtype=torch.float64)
        # All logits are near -80, whose exponential float32 still holds; and then one in each row is 0.
        return [
            *cases,
            Hard(NOT_HIDDEN, 0.1 * q + 7.5, 0.1 * k - 7.5, v, mask),
            Hard(ZERO, 1 + q.abs(), torch.cat([0 * k[:1], k[1:] + ahead]), v, given(torch.ones(5, 5).tril().bool())),
            Hard(ONE_TOKEN, *one, given(torch.ones(1, 1).bool())),
        ]  # fmt: skip

    def hidden(s, mask):
        return s.masked_fill(~mask, -torch.inf)

    mistakes = {
        "mask after softmax: the rows no longer sum to 1. Set the logits to -inf before it.": lambda q, k, v, mask: (
            (_logits(q, k).softmax(-1) * mask) @ v
        ),
        f"inverted mask: True means {true.upper()}, and this takes it the other way round.": lambda q, k, v, mask: (
            hidden(_logits(q, k), ~mask).softmax(-1).nan_to_num() @ v
        ),
        # awslabs/gluonts #1401, Shujun-He/RibonanzaNet #5: 1e-9 in the place of -1e9
        "the masked logits are set to 0, which is a logit like any other; set them to -inf.": lambda q, k, v, mask: (
            (_logits(q, k) * mask).softmax(-1) @ v
        ),
        "the mask is added as it is, as 0 and 1; a key that is hidden needs a logit of -inf.": lambda q, k, v, mask: (
            (_logits(q, k) + mask.to(q)).softmax(-1) @ v
        ),
        "the mask is not used.": lambda q, k, v, mask: _attend(q, k, v),
        CAUSAL: lambda q, k, v, mask: attention(q, k, v, torch.ones_like(mask).tril())[0],
        WEIGHTS: lambda q, k, v, mask: attention(q, k, v, mask)[1],
        NO_SCALE: lambda q, k, v, mask: hidden(q @ k.T, mask).softmax(-1) @ v,
        SCALED_AFTER: lambda q, k, v, mask: hidden(q @ k.T, mask).softmax(-1) / math.sqrt(q.shape[-1]) @ v,
        "the mask is applied across: its rows are queries, its columns keys.": _mask_across,
        OVER_QUERIES: lambda q, k, v, mask: hidden(_logits(q, k), mask).softmax(-2).nan_to_num() @ v,
    }
    mistakes = {diagnosis: turned(wrong) for diagnosis, wrong in mistakes.items()}
    return Exercise(turned(lambda q, k, v, mask: attention(q, k, v, mask)[0]), cases, mistakes, gradient=True)


# ------------------------------------------------------------------------------ 2.3, arrows that spell a routing

_BEFORE = {
    1: "the token before it, and the first token to the last",
    2: "the token two places before it, and the first two tokens to the last two",
}


def _pointer_text(by):
    shift = "Chapter 1's shift" if by == 1 else "A shift like chapter 1's"
    return (
        f"{shift}, by attention: place `n` queries and `n` keys in the plane, each of shape (n, 2), so that each token gives nearly "
        f"all its weight, more than $0.99$ of it, to {_BEFORE[by]}. Arrows only: no mask, no parameters. Return the queries and the "
        "keys. (The check tries 3, 6 and 25 tokens.)"
    )


def _pointer(by):
    """Any queries and keys in the plane will do."""

    def points(by, length=lambda n: 2 * n**2):
        def answer(n):
            angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
            k = torch.stack([angle.cos(), angle.sin()], dim=1)
            return length(n) * k.roll(by, dims=0), k

        return answer

    def read(answer, case):
        """Which token each row gives most to, and, in the cases that ask for it, whether that is nearly all."""
        n, *sharp = case
        q, k = several(run(answer, (n,)), 2, "two tensors, the queries and the keys")
        if q.shape != (n, 2) or k.shape != (n, 2):
            raise CheckFailed(
                f"got shapes {tuple(q.shape)} and {tuple(k.shape)}; expected ({n}, 2) for queries and for keys."
            )
        if not (q.isfinite().all() and k.isfinite().all()):
            raise CheckFailed("the result holds a number that is not finite (inf or NaN).")
        between = torch.cdist(*[k / k.abs().max().clamp_min(1e-300)] * 2).fill_diagonal_(torch.inf)
        if between.min() <= 1e-5:
            first, second = sorted(divmod(int(between.argmin()), n))
            raise CheckFailed(
                f"for {n} tokens the keys of token {first} and token {second} coincide, so that every query gives both the same."
            )
        logits = q @ k.T / math.sqrt(2)
        if not logits.isfinite().all():
            raise CheckFailed("the logits overflow: make queries and keys shorter.")
        A, (most, next_most) = logits.softmax(-1), logits.topk(2).values.T
        if (tie := most - next_most <= 1e-6 * logits.abs().amax(1)).any():
            raise CheckFailed(
                f"for {n} tokens, two keys share the largest weight of token {int(tie.int().argmax())}: longer arrows would not help."
            )
        return torch.cat([A.argmax(-1).double(), *([(A.amax(-1) > 0.99).double()] if sharp else [])])

    def cases(generator):
        return [(6,), (3,), (25,)] + [  # the more tokens, the closer together they are
            Hard(
                f"the right token has the largest weight, but for {n} tokens less than 0.99 of 1: make queries or keys longer.",
                n, True,
            )
            for n in (3, 6, 25)
        ]  # fmt: skip

    after = "the one" if by == 1 else "the one two places"
    mistakes = {
        f"each token reads {after} AFTER it; it should read {after} before.": points(-by),
        "each token reads itself: its query must point at the key of the token before.": points(0),
    }
    if by > 1:
        mistakes["each token reads the one before it, not the one two places before."] = points(1)
        mistakes["each token reads the one after it, not the one two places before."] = points(-1)
    else:
        mistakes["each token reads the one two places before it, not the one before."] = points(2)
    otherwise = "at least one token does not give its largest weight to the right token (the first one reads from the end)."
    return Exercise(points(by), cases, mistakes, outcome=read, otherwise=otherwise)


# ------------------------------------------------------------------------------------ 2.4, how weights move


def _softmax_jacobian(a):
    return torch.diag(a) - torch.outer(a, a)


def _row_cases(generator):
    rows = [normal(generator, n).softmax(-1) for n in (3, 5, 8, 1)]
    return [(row,) for row in [*rows, torch.tensor([0.0, 1, 0]).double(), torch.tensor([0.5, 0.5]).double()]]


EXERCISES = {
    "2.1": Exercise(
        _attend,
        _qkv_cases,
        parts(
            _with,
            {
                NO_SCALE: {"scale": lambda q, k, v: 1.0},
                "scaled by d_k; the factor is its square root.": {"scale": lambda q, k, v: 1 / q.shape[-1]},
                "scaled by d_k / 2: in Python d_k**1 / 2 is (d_k**1) / 2; write d_k**0.5.": {
                    "scale": lambda q, k, v: 2 / q.shape[-1]
                },
                "scaled by the number of keys; the factor is sqrt(d_k), the width of a query.": {
                    "scale": lambda q, k, v: len(k) ** -0.5
                },
                "scaled by the root of 2, whatever the width: the factor is sqrt(d_k), the width of a query.": {
                    "scale": lambda q, k, v: 2**-0.5
                },
                # juho-lee/set_transformer #18
                "scaled by the values' width; the factor is sqrt(d_k), the width of a query.": {
                    "scale": lambda q, k, v: v.shape[-1] ** -0.5
                },
                # esceptico/perceiver-io #9, FoundationVision/OmniTokenizer #14
                MULTIPLIED: {"scale": lambda q, k, v: q.shape[-1] ** 0.5},
                # PetrochukM/PyTorch-NLP #2, nerminnuraydogan/vision-transformer #1
                OVER_QUERIES: {"weights_of": lambda s: s.softmax(-2)},
                "no softmax: the logits themselves are used as weights.": {"weights_of": lambda s: s},
                "normalised over the whole matrix; every row must sum to 1 on its own.": {
                    "weights_of": lambda s: s.flatten().softmax(0).reshape(s.shape)
                },
                "the exponentials aren't divided by their sum: every row must sum to 1.": {
                    "weights_of": lambda s: s.exp()
                },
                "divided by the sum of the logits, without the exponential: a softmax takes exponentials first.": {
                    "weights_of": lambda s: s / s.sum(-1, keepdim=True)
                },
            },
            {
                WEIGHTS: lambda q, k, v: attention(q, k, v)[1],
                SCALED_AFTER: lambda q, k, v: (q @ k.T).softmax(-1) / math.sqrt(q.shape[-1]) @ v,
                "this returns the values' plain mean: the weights don't depend on queries and keys.": _with(
                    scale=lambda q, k, v: 0.0
                ),
            },
        ),
        gradient=True,
    ),
    "2.2": Variants(_masked_text, _masked, {"true": "may read"}, {"true": "may not read"}),
    "2.3": Variants(_pointer_text, _pointer, {"by": 1}, {"by": 2}),
    "2.4": Exercise(
        _softmax_jacobian,
        _row_cases,
        {
            "only the diagonal term a_i (1 - a_i): raising one logit also lowers all OTHER weights.": lambda a: (
                torch.diag(a * (1 - a))
            ),
            "the outer product is missing: the weights share a sum of 1.": torch.diag,
            "a_i (1 - a_j) everywhere: the 1 belongs to the diagonal alone; elsewhere it is -a_i a_j.": lambda a: (
                torch.outer(a, 1 - a)
            ),
            "the sign is turned: a weight grows with its own logit.": lambda a: (
                torch.outer(a, a) - torch.diag(a)
            ),
        },
    ),
}
