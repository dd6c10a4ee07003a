"""The exercises of chapter 7."""

import math

import torch

from dynattn.attention import attention
from dynattn.exercises._judging import CheckFailed, Exercise, Hard, Variants, normal, run, says, several

# ----------------------------------------------------------------------------------------- 7.1, a lead in a row

# Who gets p: its wording, what the answer must see, and what the wanted tokens get together.
_WHOSE = {
    "together": ("they get the part `p` of the row together", "together they must get it", lambda n, m, p: p),
    "each": ("each of them gets the part `p` of the row", "each of them must get it", lambda n, m, p: m * p),
    "others": (
        "the part `p` of the row is left to the others together",
        "it must be left to the others",
        lambda n, m, p: 1 - p,
    ),
}


def _lead_text(whose):
    return (
        "In a sentence of `n` tokens, `m` are wanted. Their logits all lead those of the others by the same $\\Delta$. "
        f"Return the $\\Delta$ with which {_WHOSE[whose][0]}."
    )


def _lead(whose):
    _, asked, get = _WHOSE[whose]

    def lead(
        get=get, odds=lambda p: p / (1 - p), others=lambda n, m: n - m, wanted=lambda m: m, last=math.log
    ):
        """The lead of the logits, with one part replaced."""
        return lambda n, m, p: last(odds(get(n, m, p)) * others(n, m) / wanted(m))

    mistakes = {
        "n others are counted; m of the n tokens are wanted, so n - m are others.": lead(
            others=lambda n, m: n
        ),
        "the sign is lost: where most tokens are wanted and get little, they must lag.": lead(
            last=lambda x: abs(math.log(x))
        ),
        "n - 1 others are counted; m of the n tokens are wanted, so n - m are others.": lead(
            others=lambda n, m: n - 1
        ),
        "this gives ONE wanted token, beside n - m others, the share p; there are m of them.": lead(
            get if whose == "others" else lambda n, m, p: p, wanted=lambda m: 1
        ),
        "p / (1 - p), the share over what is left of the row, not p alone.": lead(odds=lambda p: p),
        "this is how many times more a wanted token counts; the lead is its logarithm.": lead(
            last=lambda x: x
        ),
        "the sign is turned: this is how far the others lead.": lead(last=lambda x: -math.log(x)),
        "a logarithm with base two; the softmax is made of powers of e.": lead(last=math.log2),
        "a logarithm with base ten; the softmax is made of powers of e.": lead(last=math.log10),
    } | {
        f"this is the lead with which {said.replace('`', '')}; {asked}.": lead(other)
        for key, (said, _, other) in _WHOSE.items()
        if key != whose
    }

    def cases(generator):
        # In (5, 4, 0.2) the wanted ones lag; m p is below 1 everywhere, so that each can get p. The shares are exact in float32.
        near = 2**-10
        return [
            (8, 1, 0.875),
            (64, 4, 0.125),
            (512, 2, 0.4375),
            (5, 4, 0.21875),
            (2, 1, 0.75),
            (9, 1, 1 - near),
            (7, 3, near),
        ]

    return Exercise(lead(), cases, mistakes)


# ------------------------------------------------------------------------------------------- 7.2, blind or not


def _is_blind(f):
    x = torch.randn(7, 3, dtype=torch.float64)
    return all(torch.allclose(f(x[order]), f(x)[order]) for order in (torch.randperm(7) for _ in range(20)))


def _blind_or_not(generator):
    def attend(mask=None):
        return lambda x: attention(x, x, x, mask)[0]

    def causal(x):
        return attend(torch.ones(len(x), len(x), dtype=torch.bool).tril())(x)

    def place(x):
        return torch.linspace(0.0, 1.0, len(x), dtype=x.dtype)[:, None]

    def last_two_apart(x):
        return torch.cat([x[:-2].mean(0, keepdim=True).expand(len(x) - 2, -1), x[-2:]])

    return [
        Hard("a layer that always answers zero is blind, but your test says that it is not.", lambda x: 0 * x),
        Hard("attention without a mask is blind, but your test says that it is not: compare f of the shuffled tokens with the "
             "SHUFFLED outputs.", attend()),
        Hard("a layer that changes each token by itself is blind, but your test says that it is not.", torch.tanh),
        Hard("the distance to the mean is blind to order, but your test says that it is not.", lambda x: x - x.mean(0)),
        Hard("your test takes a layer that adds its place to each token for blind.", lambda x: x + place(x)),
        Hard("your test takes attention under a causal mask for blind: the mask has a row for each place.", causal),
        Hard("your test takes the mean of a token and the one before it for blind: shifting all tokens is one shuffle, but not "
             "the only one.", lambda x: (x.roll(1, 0) + x) / 2),
        Hard("your test takes a layer for blind that respects only a reversal of the tokens: try other shuffles.",
             lambda x: x + place(x) * (1 - place(x))),
        Hard("your test takes the mean of both neighbours for blind: it respects shifts and a reversal, and nothing else, "
             "unless there are only three tokens.", lambda x: (x.roll(1, 0) + x.roll(-1, 0)) / 2),
        Hard("your test takes a layer for blind whose outputs tell only the places: the sum of the outputs stays, the outputs "
             "don't move along.", lambda x: x.sum(0, keepdim=True) + place(x)),
        Hard("your test takes a layer for blind in which only the last two tokens are treated in another way: shuffle all of "
             "them, and more than once.", last_two_apart),
        Hard("your test takes a layer for blind that adds the first token to all: shuffle that one, too.", lambda x: x + x[:1]),
        Hard("your test takes a layer for blind that adds the last token to all: shuffle that one, too.", lambda x: x + x[-1:]),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------- 7.3, the floor of any task


def _nearest_shares(T):
    """Each row's nearest point among the rows of shares (Euclidean projection on the simplex)."""
    ordered = T.sort(dim=1, descending=True).values
    over = (ordered.cumsum(1) - 1) / torch.arange(1, T.shape[1] + 1, dtype=T.dtype)
    last = (ordered > over).sum(1, keepdim=True) - 1
    return (T - over.gather(1, last)).clamp(min=0)


def _difference(n):
    """Each token less the one before it; the first has none."""
    T = torch.eye(n, dtype=torch.float64) - torch.eye(n, dtype=torch.float64).roll(1, dims=0)
    T[0] = torch.eye(n, dtype=torch.float64)[0]
    return T


def _floor_text(line):
    of = (
        "a matrix of percentages $A$ can have"
        if line == "row"
        else "a matrix $A$ with *columns* of percentages can have"
    )
    return (
        f"Given any target matrix `T` of shape (n, n), return the smallest relative error, $\\lVert A - T\\rVert^2 / \\lVert "
        f"T\\rVert^2$, that {of}. For the difference and $n = 8$ it is $7/15$. (A hint: in the nearest {line} of percentages, "
        f"the same number has been subtracted from all entries of the {line}, and what fell below zero has been set to zero. "
        f"Which number? The one that makes the {line} add up to one.)"
    )


def _floor(line):
    def turned(T):
        return T if line == "row" else T.T

    def missed(shares, relative=True):
        """The error of some way to make shares from each line of T."""
        return lambda T: (
            (shares(turned(T)) - turned(T)).square().sum() / (T.square().sum() if relative else 1)
        )

    def clipped(T):
        positive = T.clamp(min=0)
        return positive / positive.sum(1, keepdim=True).clamp(min=1e-12)

    def lowered(T):
        return T - (T.sum(1, keepdim=True) - 1) / T.shape[1]

    other = "column" if line == "row" else "row"
    mistakes = {
        "this is the squared distance; make it relative to the size of T.": missed(
            _nearest_shares, relative=False
        ),
        f"the softmax of T is a {line} of shares, but not the nearest.": missed(lambda T: T.softmax(1)),
        "negative entries set to zero and the rest divided by its sum: shares, but not the nearest.": missed(
            clipped
        ),
        f"negative entries set to zero: the {line}s no longer add up to one.": missed(
            lambda T: T.clamp(min=0)
        ),
        f"the {line}s add up to one, but have negative entries: after subtracting, what is below zero becomes zero.": missed(
            lowered
        ),
        f"subtracted once and then cut off at zero: the {line}s no longer add up to one, so subtract another number.": missed(
            lambda T: lowered(T).clamp(min=0)
        ),
        f"each {line} gives everything to its largest entry: shares, but not the nearest.": missed(
            lambda T: torch.zeros_like(T).scatter(1, T.argmax(1, keepdim=True), 1.0)
        ),
        f"{other}s in place of {line}s: each {line} of A must be shares.": missed(
            lambda T: _nearest_shares(T.T).T
        ),
        "a distance, not squared: square it, and the size of T too.": lambda T: missed(_nearest_shares)(
            T
        ).sqrt(),
    }

    def cases(generator):
        targets = [
            normal(generator, 6, 6),
            normal(generator, 5, 5) / 4,
            normal(generator, 1, 1),
            1000 * normal(generator, 2, 2),
        ]
        low = f"right, except where all numbers of a {line} are far below zero: then the number that is subtracted is, too."
        return [
            (T,)
            for T in [
                turned(_difference(8)),
                *targets,
                normal(generator, 3, 3).softmax(1),
                torch.ones(4, 4).double(),
            ]
        ] + [Hard(low, normal(generator, 3, 3) - 20)]

    return Exercise(missed(_nearest_shares), cases, mistakes)


# ----------------------------------------------------------------------------------- 7.4, two heads at their best


def _heads_text(n):
    reached = (
        "The third question above has the error that you can reach."
        if n == 8
        else (f"The error that you can reach is ${n - 1}/{n * n * (2 * n - 1)}$.")
    )
    return (
        "Two heads whose $W_V$ are plain factors multiply by $c_1 A_1 + c_2 A_2$. Return `A_1` and `A_2`, of shape "
        f"({n}, {n}), with rows of weights, and the numbers `c_1` and `c_2` that come as close to the difference as two such "
        f"heads can. {reached}"
    )


def _heads(n):
    T = _difference(n)

    def error(answer, case):
        """The relative error of c_1 A_1 + c_2 A_2."""
        A_1, A_2, c_1, c_2 = several(run(answer), 4, "four things: A_1, A_2, c_1 and c_2")
        for name, A in (("A_1", A_1), ("A_2", A_2)):
            if A.shape != (n, n):
                raise CheckFailed(f"{name} has shape {tuple(A.shape)}; expected {(n, n)}.")
            if not torch.isfinite(A).all():
                raise CheckFailed(f"{name} holds a number that is not finite.")
            if A.min() < -1e-6:
                raise CheckFailed(
                    f"{name} has a negative entry: its rows must be shares. The sign belongs into c_1 or c_2."
                )
            if (A.sum(1) - 1).abs().max() > 1e-5:
                raise CheckFailed(f"the rows of {name} don't all add up to one: a head cannot be silent.")
        if c_1.numel() != 1 or c_2.numel() != 1 or not torch.isfinite(c_1 + c_2).all():
            raise CheckFailed("c_1 and c_2 must be two finite numbers.")
        if c_1 >= 0 and c_2 >= 0:
            raise CheckFailed("both factors are positive: nothing is subtracted.")
        return (c_1 * A_1 + c_2 * A_2 - T).square().sum() / T.square().sum()

    def split(best):
        """Two heads for a matrix whose rows have the same sum."""
        plus, minus = best.clamp(min=0), (-best).clamp(min=0)
        c = minus.sum(1).max()
        more = (c - minus.sum(1, keepdim=True)) / n
        c_1 = (plus + more)[0].sum()
        return (plus + more) / c_1, (minus + more) / c, c_1, -c

    def with_sum(T, s=1 / n):
        return T + (s - T.sum(1, keepdim=True)) / n

    def plain(c_1, c_2):
        """The first head looks at the token itself, the second at the one before; the first token's row is even."""
        before = torch.eye(n, dtype=torch.float64).roll(1, dims=0)
        before[0] = 1 / n
        return torch.eye(n), before, torch.tensor(c_1), torch.tensor(c_2)

    A_1, A_2, c_1, c_2 = split(with_sum(T))
    mistakes = {
        "transposed: row i says from where output i takes, the token itself less the one BEFORE it.": split(with_sum(T.T)),
        "the signs have changed places: the token itself counts plus, the one before it minus.": (A_1, A_2, -c_1, -c_2),
        f"good, but c_1 + c_2 = 0 makes the first row miss 1/{n}; let all rows share the burden of its sum.": plain(1.0, -1.0),
        f"the sum, 1/{n}, is right, but it all went to the token before; spread what is missing evenly.": plain(
            1.0, 1 / n - 1
        ),
        f"the sum, 1/{n}, is right, but it all went to the token itself; spread what is missing evenly.": plain(
            1 + 1 / n, -1.0
        ),
    }  # fmt: skip
    reached = f"{n - 1}/{n * n * (2 * n - 1)} = {(n - 1) / (n * n * (2 * n - 1)):.5f}"
    otherwise = f"the error is too large, {reached} can be reached: which sum should all rows have?"
    return Exercise(
        (A_1, A_2, c_1, c_2), lambda generator: [()], mistakes, outcome=error, otherwise=otherwise
    )


EXERCISES = {
    "7.1": Variants(_lead_text, _lead, {"whose": "together"}, {"whose": "each"}, {"whose": "others"}),
    "7.2": Exercise(_is_blind, _blind_or_not, outcome=says),
    "7.3": Variants(_floor_text, _floor, {"line": "row"}, {"line": "column"}),
    "7.4": Variants(_heads_text, _heads, {"n": 8}, {"n": 6}),
}
