"""Judges of the exercises of chapter 2."""

import math

import torch

from dynattn.attention import attention
from dynattn.exercises._judging import (
    NO_SCALE,
    OVER_QUERIES,
    SCALED_AFTER,
    normal,
    parts,
    run,
    same_as,
    tensor,
)


def _qkv_cases(generator):
    sizes = ((4, 6, 3, 5), (5, 5, 2, 2), (3, 3, 3, 3))
    return [
        (normal(generator, nq, d), normal(generator, nk, d), normal(generator, nk, dv))
        for nq, nk, d, dv in sizes
    ]


def _attend(q, k, v):
    return attention(q, k, v)[0]


def _variant(scale=lambda q, k: q.shape[-1] ** -0.5, weights_of=lambda s: s.softmax(-1)):
    """Attention with parts replaced: the factor, or how logits become weights."""
    return lambda q, k, v: weights_of(q @ k.T * scale(q, k)) @ v


def _masked_cases(generator):
    masks = (torch.ones(4, 6).tril(2).bool(), torch.ones(5, 5).tril().bool(), torch.ones(3, 3).tril().bool())
    return [(*qkv, mask) for qkv, mask in zip(_qkv_cases(generator), masks)]


def _attend_masked(q, k, v, mask):
    return attention(q, k, v, mask)[0]


def _logits(q, k):
    return q @ k.T / math.sqrt(q.shape[-1])


def _inverted_mask(q, k, v, mask):
    return _logits(q, k).masked_fill(mask, -torch.inf).softmax(-1).nan_to_num() @ v


def _mask_across(q, k, v, mask):
    """The mask read by columns; where it isn't square, what remains of it."""
    across = torch.ones_like(mask)
    n = min(mask.shape)
    across[:n, :n] = mask[:n, :n].T
    return _attend_masked(q, k, v, across)


def _judge_pointer(answer):
    """Any queries and keys in the plane will do, if the computed weights are the routing 'read the token before'."""
    for n in (6, 3, 25):  # the more tokens, the closer together they are
        if diagnosis := _judge_points(run(answer, (n,)), n):
            return diagnosis
    return None


def _judge_points(result, n):
    if not (isinstance(result, tuple) and len(result) == 2):
        return "return two tensors, the queries and the keys."
    q, k = map(tensor, result)
    if q.shape != (n, 2) or k.shape != (n, 2):
        return (
            f"got shapes {tuple(q.shape)} and {tuple(k.shape)}; expected ({n}, 2) for queries and for keys."
        )
    if not (q.isfinite().all() and k.isfinite().all()):
        return "the result holds a number that is not finite (inf or NaN)."
    logits = q @ k.T / math.sqrt(2)
    if not logits.isfinite().all():
        return "the logits overflow: make queries and keys shorter."
    A = logits.softmax(-1)
    want = torch.eye(n, dtype=torch.float64).roll(1, dims=1).T
    if (A - want).abs().max() < 0.01:
        return None
    read = A.argmax(-1)
    if torch.equal(read, want.T.argmax(-1)):
        return "each token reads the one AFTER it: queries and keys have changed places."
    if torch.equal(read, torch.arange(n)):
        return "each token reads itself: its query must point at the key of the token before."
    if torch.equal(read, want.argmax(-1)):
        return f"the right token has the largest weight, but for {n} tokens only {A.amax(-1).min():.2f} of 1: make queries or keys longer."
    return "at least one token does not give its largest weight to the token before it (the first one reads the last)."


def _softmax_jacobian(a):
    return torch.diag(a) - torch.outer(a, a)


def _row_cases(generator):
    return [(normal(generator, n).softmax(-1),) for n in (3, 5, 8)]


JUDGES = {
    "2.1": same_as(
        _attend,
        _qkv_cases,
        parts(
            _variant,
            {
                NO_SCALE: {"scale": lambda q, k: 1.0},
                "scaled by d_k; the factor is its square root.": {"scale": lambda q, k: 1 / q.shape[-1]},
                "scaled by d_k / 2: in Python d_k**1 / 2 is (d_k**1) / 2; write d_k**0.5.": {
                    "scale": lambda q, k: 2 / q.shape[-1]
                },
                "scaled by the number of keys; the factor is sqrt(d_k), the width of a query.": {
                    "scale": lambda q, k: len(k) ** -0.5
                },
                "multiplied by sqrt(d_k) where it must be divided.": {
                    "scale": lambda q, k: q.shape[-1] ** 0.5
                },
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
                SCALED_AFTER: lambda q, k, v: (q @ k.T).softmax(-1) / math.sqrt(q.shape[-1]) @ v,
                "this returns the values' plain mean: the weights don't depend on queries and keys.": _variant(
                    scale=lambda q, k: 0.0
                ),
            },
        ),
        gradient=True,
    ),
    "2.2": same_as(
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
            NO_SCALE: lambda q, k, v, mask: (q @ k.T).masked_fill(~mask, -torch.inf).softmax(-1) @ v,
            SCALED_AFTER: lambda q, k, v, mask: (
                (q @ k.T).masked_fill(~mask, -torch.inf).softmax(-1) / math.sqrt(q.shape[-1]) @ v
            ),
            "the mask is applied across: its rows are queries, its columns keys.": _mask_across,
            OVER_QUERIES: lambda q, k, v, mask: (
                _logits(q, k).masked_fill(~mask, -torch.inf).softmax(-2).nan_to_num() @ v
            ),
        },
        gradient=True,
    ),
    "2.3": _judge_pointer,
    "2.4": same_as(
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
}
