"""The exercises of chapter 9."""

import torch

from dynattn.exercises._judging import (
    DIFFERENTIABLE,
    CheckFailed,
    Exercise,
    Hard,
    Variants,
    call,
    normal,
    parts,
    unlike,
)

# ------------------------------------------------------------------------------------------------ 9.1, a norm

_NORMS = {
    "LayerNorm": "return the normed tokens",
    "RMSNorm": "return the tokens as RMSNorm has them: *without* taking off the mean, divided by the root of the mean square, "
    "then scaled and shifted",
    "one more": "return the normed tokens, but multiplied by *one more* than `scale`, as some models do it, so that a scale of "
    "0 leaves them as they are",
}


def _norm_text(kind):
    return (
        "Given tokens `x` of shape (n, d), learned `scale` and `shift` of shape (d,), and the tiny number `eps`, "
        f"{_NORMS[kind]}. {DIFFERENTIABLE}"
    )


def _mean_taken_off(x):
    return x - x.mean(-1, keepdim=True)


def _root(c, eps):
    return (c.square().mean(-1, keepdim=True) + eps).sqrt()


def _norm(kind):
    more = int(kind == "one more")
    middle = (lambda x: x) if kind == "RMSNorm" else _mean_taken_off

    def norm(centre=middle, size=_root, last=lambda y, scale, shift: (scale + more) * y + shift):
        """A norm made of parts: what is taken off, what is divided by, and what is done last."""

        def answer(x, scale, shift, eps):
            c = centre(x)
            return last(c / size(c, eps), scale, shift)

        return answer

    changes = {
        "divided by d - 1 inside the root, as torch's std and var do unless told otherwise: here it is the mean of the squares, "
        "over d.": {
            "size": lambda c, eps: (c.square().sum(-1, keepdim=True) / (c.shape[-1] - 1) + eps).sqrt()
        },
        "divided by the standard deviation plus eps, and that over d - 1: eps belongs under the root, and the mean is over d.": {
            "size": lambda c, eps: (c.square().sum(-1, keepdim=True) / (c.shape[-1] - 1)).sqrt() + eps
        },
        "eps is added after the root; it belongs under it.": {"size": lambda c, eps: _root(c, 0) + eps},
        "eps is missing.": {"size": lambda c, eps: _root(c, 0)},
        # huggingface/transformers#20699
        "eps isn't used: 1e-5, with which torch's own norm works unless told otherwise, stands in its place.": {
            "size": lambda c, eps: _root(c, 1e-5)
        },
        "the root is missing: divide by the root of the mean square.": {
            "size": lambda c, eps: _root(c, eps) ** 2
        },
        "divided by the length of the token: the mean of the squares is wanted, not their sum.": {
            "size": lambda c, eps: (c.square().sum(-1, keepdim=True) + eps).sqrt()
        },
        "scale and shift are missing.": {"last": lambda y, scale, shift: y},
        "shift is missing.": {"last": lambda y, scale, shift: (scale + more) * y},
        "scale is missing.": {"last": lambda y, scale, shift: y + shift},
        "shifted first and scaled afterwards: scale first.": {
            "last": lambda y, scale, shift: (scale + more) * (y + shift)
        },
        "scale and shift have changed places.": {"last": lambda y, scale, shift: (shift + more) * y + scale},
        # vllm-project/vllm#29810: the norms of some models multiply by one more than what is stored
        "multiplied by scale, where it should be one more."
        if more
        else "multiplied by one more than scale.": {
            "last": lambda y, scale, shift: (scale + 1 - more) * y + shift
        },
    }
    if kind == "RMSNorm":
        changes["the mean is taken off, as in LayerNorm: this norm divides, and no more."] = {
            "centre": _mean_taken_off
        }
    else:
        changes["the mean isn't taken off: this divides by the root of the mean square alone."] = {
            "centre": lambda x: x
        }
    others = {
        "the mean over tokens, for each feature: this norm takes it over the features, for each token.": norm(
            lambda x: middle(x.T).T, lambda c, eps: (c.square().mean(0) + eps).sqrt()
        ),
        "one mean for all tokens together: each token is normed by itself.": norm(
            lambda x: middle(x.flatten()).reshape(x.shape), lambda c, eps: (c.square().mean() + eps).sqrt()
        ),
    }

    def cases(generator):
        def drawn(n, d, eps, times=1.0):  # eps is large enough for its place to be seen
            return times * (3 * normal(generator, n, d) + 1), normal(generator, d), normal(generator, d), eps

        equal = torch.ones(2, 4, dtype=torch.float64), *drawn(2, 4, 0.125)[1:]
        return [
            drawn(*sizes) for sizes in ((5, 4, 0.125), (3, 6, 0.5), (2, 8, 2**-6, 2**-7), (1, 3, 0.25))
        ] + [
            Hard(
                "right, except for tokens whose features are all equal: then only eps is left to divide by.",
                *equal,
            ),
            Hard(
                "right, except for tokens of a single feature: over d - 1, that would be a division by zero.",
                *drawn(3, 1, 0.125),
            ),
        ]

    return Exercise(norm(), cases, parts(norm, changes, others), gradient=True)


# ------------------------------------------------------------------------------------------------ 9.2, a block


def _before(x, attention, mlp, norm_1, norm_2):
    x = x + attention(norm_1(x))
    return x + mlp(norm_2(x))


def _after(x, attention, mlp, norm_1, norm_2):
    x = norm_1(x + attention(x))
    return norm_2(x + mlp(x))


def _beside(x, attention, mlp, norm_1, norm_2):
    return x + attention(norm_1(x)) + mlp(norm_2(x))


def _on_answers(block):
    return lambda x, a, m, one, two: block(
        x, lambda t: one(a(t)), lambda t: two(m(t)), lambda t: t, lambda t: t
    )


def _on_sum(x, a, m, one, two):
    return two(one(x + a(x)) + m(x))


def _normed_residuals(x, a, m, one, two):
    x = one(x)
    x = two(x + a(x))
    return x + m(x)


# Of each kind of block: itself, its wording, where its norms are, and the mistakes that belong to it alone.
_BLOCKS = {
    "before": (
        _before,
        "a block of this chapter makes of `x`, with the norm *before* each half",
        ("on what attention reads", "on what the MLP reads"),
        {
            "the norms come after the sums, as in the first Transformer; here each half reads normed tokens and adds to those "
            "that are not normed.": _after,
            "both residuals are missing: each half adds to its input.": lambda x, a, m, one, two: m(
                two(a(one(x)))
            ),
            "the first residual is missing: what attention says must be added to x.": lambda x, a, m, one, two: (
                a(one(x)) + m(two(a(one(x))))
            ),
            "the second residual is missing: what the MLP says must be added to what it read from, before the norm.": (
                lambda x, a, m, one, two: m(two(x + a(one(x))))
            ),
            "this adds to the normed tokens: the residual goes around the norm.": _normed_residuals,
            "the MLP reads x from before attention: the second half must read what the first has added.": _beside,
            "in the end the MLP's answer is added to the block's input: what attention said is lost on the way.": (
                lambda x, a, m, one, two: x + m(two(x + a(one(x))))
            ),
            "the halves have changed places: attention comes first.": lambda x, a, m, one, two: _before(
                x, m, a, one, two
            ),
            "the norms are on what the halves say, not on what they read.": _on_answers(_before),
            "the MLP is missing: this is the first half alone.": lambda x, a, m, one, two: x + a(one(x)),
            "attention is missing: this is the second half alone.": lambda x, a, m, one, two: x + m(two(x)),
            "the MLP reads what attention says alone; it should read the sum of that and x.": (
                lambda x, a, m, one, two: x + a(one(x)) + m(two(a(one(x))))
            ),
            "the MLP reads what attention says alone, and its answer is added to x: each half adds to its own input.": (
                lambda x, a, m, one, two: x + m(two(a(one(x))))
            ),
        },
    ),
    "after": (
        _after,
        "a block of the first Transformer makes of `x`, with the norm *after* each sum",
        ("after the first sum", "after the second sum"),
        {
            "the norms come before the halves, as in this chapter; here each is of a sum, and the next half reads it.": _before,
            "both residuals are missing: each half adds to its input.": lambda x, a, m, one, two: two(
                m(one(a(x)))
            ),
            "the first residual is missing: what attention says must be added to x.": lambda x, a, m, one, two: (
                two(one(a(x)) + m(one(a(x))))
            ),
            "the second residual is missing: what the MLP says must be added to what it read.": lambda x, a, m, one, two: (
                two(m(one(x + a(x))))
            ),
            "the MLP's answer is added to the sum from before the norm; add it to what the MLP read.": (
                lambda x, a, m, one, two: two(x + a(x) + m(one(x + a(x))))
            ),
            "the MLP reads x from before attention: the second half must read what the first has made.": _on_sum,
            "the halves have changed places: attention comes first.": lambda x, a, m, one, two: _after(
                x, m, a, one, two
            ),
            "the norms are on what the halves say, not on the sums.": _on_answers(_before),
            "the MLP is missing: this is the first half alone.": lambda x, a, m, one, two: one(x + a(x)),
            "attention is missing: this is the second half alone.": lambda x, a, m, one, two: two(x + m(x)),
            "the MLP reads what attention says alone; it should read the normed sum of that and x.": (
                lambda x, a, m, one, two: two(one(x + a(x)) + m(a(x)))
            ),
            "the halves stand side by side, with norms before them; here one comes after the other, and norms after the sums.": (
                _beside
            ),
        },
    ),
    "beside": (
        _beside,
        "a block makes of `x` whose halves stand *side by side*: each reads `x` through its own norm, and both add to it",
        ("on what attention reads", "on what the MLP reads"),
        {
            "the MLP reads what attention has added; here both halves read x.": _before,
            "the norms come after the sums, as in the first Transformer; here the halves read normed tokens.": _after,
            "the residual is missing: both halves add to x.": lambda x, *parts: _beside(x, *parts) - x,
            "x is added twice: the halves are added to it together.": lambda x, *parts: (
                _beside(x, *parts) + x
            ),
            "the norms are on what the halves say, not on what they read.": _on_answers(_beside),
            "the MLP is missing.": lambda x, a, m, one, two: x + a(one(x)),
            "attention is missing.": lambda x, a, m, one, two: x + m(two(x)),
            "the MLP reads what attention says; here both halves read x.": lambda x, a, m, one, two: (
                x + a(one(x)) + m(two(a(one(x))))
            ),
        },
    ),
}


def _block_text(norms):
    return (
        "You are given tokens `x` and four functions from tokens to tokens: `attention`, `mlp`, `norm_1` and `norm_2`. Return "
        f"what {_BLOCKS[norms][1]}."
    )


def _block(norms):
    block, _, (first, second), mistakes = _BLOCKS[norms]

    def same(t):
        return t

    mistakes = mistakes | {
        "there are no norms.": lambda x, a, m, one, two: block(x, a, m, same, same),
        f"the first norm is missing, {first}.": lambda x, a, m, one, two: block(x, a, m, same, two),
        f"the second norm is missing, {second}.": lambda x, a, m, one, two: block(x, a, m, one, same),
        "norm_1 is used twice: the second half has a norm of its own.": lambda x, a, m, one, two: block(
            x, a, m, one, one
        ),
        "the norms have changed places.": lambda x, a, m, one, two: block(x, a, m, two, one),
    }
    return Exercise(block, _block_cases, mistakes)


def _block_cases(generator):
    layer_norm = _norm("LayerNorm").reference

    def parts(n, d):
        W_A, W_M, A = normal(generator, d, d), normal(generator, d, d), normal(generator, n, n).softmax(-1)
        a, b = normal(generator, d), normal(generator, d)
        return (
            lambda x: A @ x @ W_A,
            lambda x: (x @ W_M).relu(),
            lambda x: layer_norm(x, 1 + a, a, 1e-5),
            lambda x: layer_norm(x, 1 + b, b, 1e-5),
        )

    return [(normal(generator, n, d), *parts(n, d)) for n, d in ((4, 6), (3, 5), (1, 4))]


# ------------------------------------------------------------------------------------------ 9.3, the parameters


def _count_text(tied, biases):
    differs = [] if tied else ["with a readout of its own, which is *not* tied"]
    differs += [] if biases else ["*without* biases in attention and MLP"]
    but = f", but {' and '.join(differs)}" if differs else ""
    return (
        "The makers of a model publish, as usual, only some of its sizes: the vocabulary, the context, the width `d_model`, the "
        "number of layers, and the width of the MLP's hidden layer. Return the number of parameters of the chapter's GPT with "
        f"these sizes{but}. Why is the number of heads not needed?"
    )


def _count(tied, biases):
    tables = 1 if tied else 2

    def count(projections=4, bias=biases, hidden=lambda d, m: m, mlp_bias=biases, norms=2, norm=2, tokens=tables, places=1,
              last=1, ends=1):  # fmt: skip
        """The number of parameters, with other numbers of some parts."""

        def answer(V, n, d, L, m):
            m = hidden(d, m)
            block = projections * (d * d + bias * d) + 2 * d * m + mlp_bias * (m + d) + norms * norm * d
            return torch.tensor(L * block + ends * (tokens * V * d + places * n * d + last * norm * d))

        return answer

    changes = {
        "this MLP has four times d_model hidden features, whatever d_mlp says.": {
            "hidden": lambda d, m: 4 * d
        },
        "attention has four projections, W_O among them.": {"projections": 3},
        "the norms are missing, in the blocks and at the end: each has scale and shift.": {
            "norms": 0,
            "last": 0,
        },
        "each block has two norms, not one.": {"norms": 1},
        "a norm has scale and shift, two numbers for each feature.": {"norm": 1},
        "the last norm is missing, the one before the readout.": {"last": 0},
        "the features of the places are missing.": {"places": 0},
        "this counts the blocks alone, without features of characters and places, the last norm and the readout.": {
            "ends": 0
        },
    }
    if tied:
        changes |= {
            "the readout is tied: it shares its matrix with the characters' features and has no parameters of its own.": {
                "tokens": 2
            },
            # pytorch/torchtitan#3225: what is shared was taken off once more
            "the features of the characters are missing; the readout is the same table.": {"tokens": 0},
        }
    else:
        # jranaraki/vllm-fit#27
        changes[
            "one table of characters is missing: the readout, which isn't tied, has a matrix of its own."
        ] = {"tokens": 1}
    if biases:
        changes |= {
            "the biases are missing, both attention's and the MLP's.": {"bias": 0, "mlp_bias": 0},
            "4 d_model numbers of each block are missing: attention's four biases, or scale and shift of its two norms.": {
                "bias": 0
            },
            "the MLP's biases are missing: d_mlp numbers and d_model numbers.": {"mlp_bias": 0},
        }
    else:
        changes |= {
            "there are no biases here, neither attention's nor the MLP's.": {"bias": 1, "mlp_bias": 1},
            "there are no biases here, and attention's four are counted.": {"bias": 1},
            "there are no biases here, and the MLP's are counted.": {"mlp_bias": 1},
        }

    # Small enough for an error of 1 to be seen, in the first ones; the chapter's own sizes; and the smallest.
    sizes = [(11, 7, 8, 2, 20), (5, 9, 3, 4, 7), (86, 64, 96, 3, 384), (1, 1, 1, 1, 1)]
    return Exercise(count(), lambda generator: sizes, parts(count, changes))


# ------------------------------------------------------------------------------------- 9.4, temperature and top k


def _chances_text(out):
    allowed = (
        "only the `k` likeliest characters may be drawn"
        if not out
        else "the `k` *unlikeliest* characters may *not* be drawn"
    )
    own = (
        "in the proportions they have among themselves"
        if not out
        else "the others in the proportions they have among themselves"
    )
    ties = "no more than `k` may be drawn" if not out else "no more than `k` may be left out"
    return (
        "The model above drew each character from its probabilities. Two knobs are usual. A **temperature** divides the scores "
        f"before the softmax. And often {allowed}, {own}. Where scores tie, still {ties}, no matter which. Return the probabilities with which each character is drawn, given "
        "`scores` of shape (vocabulary,), the temperature and `k`."
    )


def _by_score(answer, case):
    """What the characters of each score get together, and how many can be drawn: where scores tie, any may be left out."""
    p, scores = call(answer, case), case[0]
    if diagnosis := unlike(p, scores):
        raise CheckFailed(diagnosis)
    return torch.cat([(scores[:, None] == scores).double() @ p, (p > 0).sum()[None]])


def _chances(out):
    def stay(scores, k):
        return len(scores) - k if out else k

    def best(scores, number, largest=True):
        return torch.zeros(len(scores), dtype=torch.bool).index_fill(
            0, scores.topk(number, largest=largest).indices, True
        )

    def chances(
        heat=lambda s, T: s / T, keep=lambda p, s, k: p * best(s, stay(s, k)), again=lambda p: p / p.sum()
    ):
        """Probabilities, with another use of the temperature, another choice, or another end."""
        return lambda scores, temperature, k: again(keep(heat(scores, temperature).softmax(0), scores, k))

    mistakes = {
        "the temperature isn't used, or only after the softmax, where it changes nothing: divide the scores by it.": chances(
            lambda s, T: s
        ),
        "multiplied by the temperature: divide, so that a small one sharpens.": chances(lambda s, T: s * T),
        "the probabilities are divided by the temperature, after the softmax, which changes nothing once they add up to 1: "
        "divide the scores.": lambda s, T, k: chances(lambda s, T: s)(s, T, k) / T,
        "k isn't used: some characters may not be drawn.": chances(keep=lambda p, s, k: p),
        "the others are left out, but the chances of those that stay don't add up to 1 any more.": chances(
            again=lambda p: p
        ),
        "these are the k UNLIKELIEST.": chances(keep=lambda p, s, k: p * best(s, k, largest=False)),
        "those that stay are equally likely here; they keep their proportions.": chances(
            keep=lambda p, s, k: best(s, stay(s, k)).to(p)
        ),
        "one too many are kept.": chances(keep=lambda p, s, k: p * best(s, stay(s, k) + 1)),
        "one too few are kept.": chances(keep=lambda p, s, k: p * best(s, stay(s, k) - 1)),
        "the scores of the others are set to 0, whose exponential is 1: they need -inf.": lambda s, T, k: (
            s * best(s, stay(s, k)) / T
        ).softmax(0),
        # keras-team/keras#6897
        "there is a second softmax, of probabilities: those that stay are divided by their sum.": chances(
            keep=lambda p, s, k: p.masked_fill(~best(s, stay(s, k)), -torch.inf), again=lambda p: p.softmax(0)
        ),
    }
    if out:
        mistakes["k characters are kept here; k should be left out."] = chances(
            keep=lambda p, s, k: p * best(s, k)
        )
    else:
        mistakes["k characters are left out here; k should be kept."] = chances(
            keep=lambda p, s, k: p * best(s, len(s) - k)
        )

    def cases(generator):
        tied = torch.tensor([1.0, 3.0, 1.0, 0.0, 1.0, 2.0], dtype=torch.float64)
        spread = torch.tensor([0.0, 1.5, -1.0, 0.25, -2.0], dtype=torch.float64)
        rows = [(2 * normal(generator, V), T, k) for V, T, k in ((6, 0.5, 2), (9, 2.0, 4), (5, 1.5, 3))]
        return rows + [
            Hard("right, except where all characters may be drawn.", 2 * normal(generator, 4), 0.5, 0 if out else 4),
            Hard("right, except where only the likeliest may be drawn.", 2 * normal(generator, 4), 2.0, 3 if out else 1),
            Hard("right, except where there is one character only.", normal(generator, 1), 2.0, 0 if out else 1),
            Hard("right, until scores are 1000: exponentials overflow; use softmax, or take off the largest score first.",
                 spread + 1000, 0.5, 2),
            Hard("right, until all scores are -1000: then every exponential is zero. Use softmax, or take off the largest score.",
                 spread - 1000, 0.5, 2),
            Hard("right, except where the score of a character that may be drawn is 0: no score says of itself that it is left out.",
                 torch.tensor([0.0, -1.5, -1.0, 0.25, -2.0], dtype=torch.float64), 0.5, 2),
            # vllm-project/vllm#15478
            Hard("right, except where scores tie: the characters whose scores reach the k-th one may be more than k.",
                 tied, 0.5, 3),
        ]  # fmt: skip

    return Exercise(chances(), cases, mistakes, outcome=_by_score)


EXERCISES = {
    "9.1": Variants(_norm_text, _norm, *({"kind": kind} for kind in _NORMS)),
    "9.2": Variants(_block_text, _block, *({"norms": norms} for norms in _BLOCKS)),
    "9.3": Variants(
        _count_text,
        _count,
        {"tied": True, "biases": True},
        {"tied": False, "biases": True},
        {"tied": True, "biases": False},
    ),
    "9.4": Variants(_chances_text, _chances, {"out": False}, {"out": True}),
}
