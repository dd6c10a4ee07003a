"""The exercises of chapter 3."""

import math

import torch

from dynattn.attention import attention
from dynattn.exercises._judging import (
    MULTIPLIED,
    NO_SCALE,
    OVER_QUERIES,
    SCALED_AFTER,
    CheckFailed,
    Exercise,
    Hard,
    Variants,
    call,
    close,
    normal,
    run,
    several,
    unlike,
)
from dynattn.tasks import lookup

# ---------------------------------------------------------------------------------- 3.1, the rule applied


def _rule_cases(generator):
    sizes = ((5, 6, 3), (4, 4, 4), (6, 8, 2), (1, 1, 1))  # n, d_model, d_head; the second is square
    return [(normal(generator, n, D), normal(generator, d, D), normal(generator, d, D)) for n, D, d in sizes]


def _rule(scale=lambda d_head, d_model: d_head**-0.5, axis=-1):
    """The weights from x, W_Q and W_K, with another scale, or the softmax over another axis."""
    return lambda x, W_Q, W_K: ((x @ W_Q.T) @ (x @ W_K.T).T * scale(*W_Q.shape)).softmax(axis)


# ----------------------------------------------------------------------------- 3.2, where the lines cross


def _crossing_text(biases):
    return (
        f"A head has `W_Q`, `W_K` and `W_V`, {'each with a bias' if biases else 'without biases'}. Return the smallest number of "
        "tokens for which it computes more weights between tokens than it stores parameters."
    )


def _crossing(biases):
    def stored(rows=lambda d, out: 2 * d + out, biases=biases):
        """Parameters of matrices with so many rows together."""
        return lambda D, d, out: rows(d, out) * (D + biases)

    def first(count, more=1):
        return lambda *sizes: math.isqrt(count(*sizes) - 1 + more) + 1

    # In the first two of each n * n meets what is stored.
    cases = (
        [(3, 1, 2), (1, 3, 2), (64, 16, 64), (10, 3, 5)]
        if biases
        else [(20, 8, 4), (8, 2, 4), (64, 16, 64), (10, 3, 5)]
    )
    about_biases = (
        "the biases are missing: each of the three matrices has one."
        if biases
        else "biases are counted, which this head doesn't have."
    )
    return Exercise(
        first(stored()),
        lambda generator: [*cases, (1, 1, 1), (4096, 128, 128)],
        {
            "at this n the two numbers are equal; it must compute MORE than it stores.": first(
                stored(), more=0
            ),
            "this is one token too few: here the layer still stores at least as much.": lambda *sizes: (
                first(stored())(*sizes) - 1
            ),
            "this is one token too many.": lambda *sizes: first(stored())(*sizes) + 1,
            "this is where the lines cross; the answer is the first whole number above it.": lambda *sizes: (
                math.sqrt(stored()(*sizes))
            ),
            "W_V is missing: d_out rows.": first(stored(lambda d, out: 2 * d)),
            "only one of W_Q and W_K is counted.": first(stored(lambda d, out: d + out)),
            "W_V is counted with d_head rows; it has d_out.": first(stored(lambda d, out: 3 * d)),
            "this compares n, not n * n, with the number stored.": lambda *sizes: stored()(*sizes) + 1,
            about_biases: first(stored(biases=not biases)),
        },
    )


# ------------------------------------------------------------------------------------- 3.3, who wants me?

_NAME, _WANTED, _VALUE = "its name ({name})", "the name of a token that it wants ({name})", "a value (4)"


def _asked_text(name, value_first):
    order = [_VALUE, _NAME, _WANTED] if value_first else [_NAME, _WANTED, _VALUE]
    width = 2 * name + 4
    return (
        f"A token has {width} features: {order[0]}, {order[1]}, and {order[2]}. Write `W_Q` and `W_K`, each of shape "
        f"({name}, {width}), with which every token reads from the one that wants *it*. (In the test there are six tokens, and each "
        "is wanted by exactly one. This one should get at least $0.9$ of the weight: on average, where names are arrows of length 1 "
        "in random directions, and always, where a name is a single 1 among zeros.)"
    ).format(name=name)


def _asked(name, value_first):
    """Any W_Q and W_K will do with which each token reads the one that looks for it."""
    width, at = 2 * name + 4, 4 * value_first

    def head(query, key, strength=10.0):
        """Query and key made from one name each: 0 for the own, 1 for the one that is wanted."""

        def answer():
            W = torch.zeros(2, name, width, dtype=torch.float64)
            for which, start in enumerate((at + query * name, at + key * name)):
                W[which, :, start : start + name] = math.copysign(
                    abs(strength), strength if which else 1
                ) * torch.eye(name)
            return W[0], W[1]

        return answer

    def reads(answer, case):
        """Whether most tokens read one that wants them; one they want; themselves; whether they avoid who wants them.

        In the cases that have a name: whether all do where names are one-hot, and whether they give it enough weight.
        """
        W_Q, W_K = several(run(answer), 2, "two matrices, W_Q and W_K")
        if W_Q.shape != (name, width) or W_K.shape != (name, width):
            raise CheckFailed(
                f"got shapes {tuple(W_Q.shape)} and {tuple(W_K.shape)}; expected ({name}, {width}) for both."
            )
        generator = torch.Generator().manual_seed(0)
        n, samples = 6, 100
        order = torch.rand(samples, n, generator=generator).argsort(1)
        wants = torch.empty_like(order).scatter_(1, order, order.roll(1, 1))  # one ring: nobody wants himself
        values = normal(generator, samples, n, 4)
        arrows, _ = lookup(values, wants, generator, name)
        single = torch.eye(name).double()[torch.rand(samples, name, generator=generator).argsort(1)[:, :n]]
        single = torch.cat([single, single[torch.arange(samples)[:, None], wants], values], -1)

        def weights(x):
            x = x.roll(4, dims=-1) if value_first else x
            k = x @ W_K.T
            return attention(x @ W_Q.T, k, k)[1]

        asked_by, places, A = wants.argsort(1), torch.arange(n), weights(arrows)
        if case == ("all",):
            return (weights(single).argmax(-1) == asked_by).all().double()
        if case == ("enough",):
            enough = [
                of(weight.gather(2, asked_by[..., None]))
                for of, weight in ((torch.mean, A), (torch.min, weights(single)))
            ]
            return (torch.stack(enough) > 0.9).double()
        read = A.argmax(-1)
        if 0.5 < (share := (read == asked_by).double().mean()) <= 0.9:
            raise CheckFailed(
                f"{share:.0%} of the tokens read the one that wants them, and not all: is every number of a name compared?"
            )
        found = [(read == asked_by).double().mean() > 0.9, (read == wants).double().mean() > 0.5]
        found += [(read == places).double().mean() > 0.5, (A.argmin(-1) == asked_by).double().mean() > 0.5]
        return torch.stack(found).double()

    weak = "the right token has the largest weight, but less than 0.9 of 1: make W_Q or W_K larger."
    missed = "right for most names, but not where a name is a single 1 among zeros: is every number of a name compared?"
    return Exercise(
        head(0, 1),
        lambda generator: [(), Hard(missed, "all"), Hard(weak, "enough")],
        {
            "each token reads the one that IT looks for, as in the chapter; here it should read the one that looks for it.": head(
                1, 0
            ),
            "each token reads itself: query and key are made from the same features.": head(0, 0),
            "each token avoids the one that looks for it: the sign is turned.": head(0, 1, -10.0),
        },
        outcome=reads,
        otherwise="the weights follow neither names nor the names looked for: which features should be compared with which?",
    )


# ------------------------------------------------------------------------- 3.4, one matrix instead of two


def _merged_cases(generator):
    return [(normal(generator, d, D), normal(generator, d, D)) for d, D in ((3, 6), (2, 8), (5, 5), (1, 1))]


# ------------------------------------------------------------------------ 3.5, how far does symmetry go?


def _ring(*logits):
    """A symmetric table: logits[i] stands between token i and the one before it."""

    def answer():
        S = torch.zeros(5, 5, dtype=torch.float64)
        for i, logit in enumerate(logits):
            S[i, i - 1] = S[i - 1, i] = logit
        return S

    return answer


def _settled(answer, case):
    """Whether four of the five tokens give more than half to the one before; to the one after; and whether all read themselves.

    All five is impossible.
    """
    S = call(answer, ())
    if diagnosis := unlike(S, torch.zeros(5, 5)):
        raise CheckFailed(diagnosis)
    if not close(S, S.T):
        raise CheckFailed("this table isn't symmetric: S[i, j] must equal S[j, i].")
    places, A = torch.arange(5), S.softmax(-1)
    before, after = ((A[places, (places + by) % 5] > 0.5).sum() for by in (-1, 1))
    return torch.tensor([before == 4, after == 4 and before < 4, (A.argmax(-1) == places).all()]).double()


EXERCISES = {
    "3.1": Exercise(
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
            MULTIPLIED: _rule(scale=lambda d_head, d_model: d_head**0.5),
            "scaled by the root of the number of tokens; the factor is sqrt(d_head), the width of a query.": lambda x, W_Q, W_K: (
                _rule(scale=lambda d_head, d_model: len(x) ** -0.5)(x, W_Q, W_K)
            ),
            "scaled by the number of tokens; the factor is sqrt(d_head), the width of a query.": lambda x, W_Q, W_K: (
                _rule(scale=lambda d_head, d_model: 1 / len(x))(x, W_Q, W_K)
            ),
            # jacobgil/vit-explain#16
            "the sums have lost an axis, so that numbers are divided by the sum of another row: sum with keepdim=True.": (
                lambda x, W_Q, W_K: (e := ((x @ W_Q.T) @ (x @ W_K.T).T * len(W_Q) ** -0.5).exp()) / e.sum(1)
            ),
            SCALED_AFTER: lambda x, W_Q, W_K: (
                _rule(scale=lambda d_head, d_model: 1)(x, W_Q, W_K) * len(W_Q) ** -0.5
            ),
            OVER_QUERIES: _rule(axis=-2),
            "normalised over the whole matrix; every row must sum to 1 on its own.": lambda x, W_Q, W_K: (
                ((x @ W_Q.T) @ (x @ W_K.T).T * len(W_Q) ** -0.5).flatten().softmax(0).reshape(len(x), len(x))
            ),
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
    "3.2": Variants(_crossing_text, _crossing, {"biases": False}, {"biases": True}),
    "3.3": Variants(
        _asked_text,
        _asked,
        {"name": 8, "value_first": False},
        {"name": 6, "value_first": True},
        {"name": 10, "value_first": False},
    ),
    "3.4": Exercise(
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
    "3.5": Exercise(
        _ring(0, 20, 15, 10, 5),
        lambda generator: [()],
        {
            "your tokens read the one AFTER them: let the logits grow in the other direction.": _ring(
                0, 5, 10, 15, 20
            ),
            "each token reads itself: its own logit is the largest of its row.": 9 * torch.eye(5),
        },
        outcome=_settled,
        otherwise="fewer than four tokens give more than half to the one before; more are possible.",
    ),
}
