"""Judges of the exercises of chapter 3."""

import math

import torch

from dynattn.attention import attention
from dynattn.exercises._judging import NO_SCALE, OVER_QUERIES, close, normal, run, same_as, tensor, unlike
from dynattn.tasks import lookup


def _rule_cases(generator):
    sizes = ((5, 6, 3), (4, 4, 4), (6, 8, 2))  # n, d_model, d_head; the second is square
    return [(normal(generator, n, D), normal(generator, d, D), normal(generator, d, D)) for n, D, d in sizes]


def _rule(scale=lambda d_head, d_model: d_head**-0.5, axis=-1):
    """The weights from x, W_Q and W_K, with another scale, or the softmax over another axis."""
    return lambda x, W_Q, W_K: ((x @ W_Q.T) @ (x @ W_K.T).T * scale(*W_Q.shape)).softmax(axis)


def _crossing(stored=lambda D, d, out: 2 * d * D + out * D, more=1):
    return lambda D, d, out: math.isqrt(stored(D, d, out) - 1 + more) + 1


def _judge_asked(answer):
    """Any W_Q and W_K will do with which each token reads the one that looks for it."""
    result = run(answer)
    if not (isinstance(result, tuple | list) and len(result) == 2):
        return "return two matrices, W_Q and W_K."
    W_Q, W_K = map(tensor, result)
    if W_Q.shape != (8, 20) or W_K.shape != (8, 20):
        return f"got shapes {tuple(W_Q.shape)} and {tuple(W_K.shape)}; expected (8, 20) for both."
    generator = torch.Generator().manual_seed(0)
    n, samples = 6, 500
    places = torch.arange(n)
    order = torch.rand(samples, n, generator=generator).argsort(1)
    wants = torch.empty_like(order).scatter_(1, order, order.roll(1, 1))  # one ring: nobody looks for himself
    x, _ = lookup(normal(generator, samples, n, 4), wants, generator)
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
    return [(normal(generator, d, D), normal(generator, d, D)) for d, D in ((3, 6), (2, 8), (5, 5))]


def _judge_ring(answer):
    """A symmetric table whose rows settle all but one token of a ring of five; all five are impossible."""
    S = tensor(run(answer))
    if (diagnosis := unlike(S, torch.zeros(5, 5))) is not None:
        return diagnosis
    if not close(S, S.T):
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


JUDGES = {
    "3.1": same_as(
        _rule(),
        _rule_cases,
        {
            NO_SCALE: _rule(scale=lambda d_head, d_model: 1),
            "scaled by the width of a token; the factor is sqrt(d_head), the width of a query.": _rule(
                scale=lambda d_head, d_model: d_model**-0.5
            ),
            "scaled by d_head; the factor is its square root.": _rule(
                scale=lambda d_head, d_model: 1 / d_head
            ),
            OVER_QUERIES: _rule(axis=-2),
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
    "3.2": same_as(
        lambda *sizes: torch.tensor(_crossing()(*sizes)),
        lambda generator: [
            (20, 8, 4),
            (8, 2, 4),
            (64, 16, 64),
            (10, 3, 5),
        ],  # n * n meets the first two; biases tell in the last
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
    "3.4": same_as(
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
}
