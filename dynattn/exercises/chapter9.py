"""Judges of the exercises of chapter 9."""

import torch

from dynattn.exercises._judging import call, normal, same_as

# --------------------------------------------------------------------------------------------- 9.1, LayerNorm


def _norm(
    centre=lambda x: x - x.mean(-1, keepdim=True),
    size=lambda c, eps: (c.square().mean(-1, keepdim=True) + eps).sqrt(),
    last=lambda y, scale, shift: scale * y + shift,
):
    """LayerNorm with one part replaced: what is taken off, what is divided by, or what is done last."""

    def answer(x, scale, shift, eps):
        c = centre(x)
        return last(c / size(c, eps), scale, shift)

    return answer


def _norm_cases(generator):
    # eps is large enough for its place to be seen
    return [
        (3 * normal(generator, n, d) + 1, normal(generator, d), normal(generator, d), eps)
        for n, d, eps in ((5, 4, 0.1), (3, 6, 0.5), (2, 8, 0.01))
    ]


_NORM_MISTAKES = {
    "the mean over tokens, for each feature: LayerNorm takes it over the features, for each token.": _norm(
        lambda x: x - x.mean(0), lambda c, eps: (c.square().mean(0) + eps).sqrt()
    ),
    "one mean for all tokens together: each token is normed by itself.": _norm(
        lambda x: x - x.mean(), lambda c, eps: (c.square().mean() + eps).sqrt()
    ),
    "the mean isn't taken off: this divides by the root of the mean square alone.": _norm(lambda x: x),
    "divided by d - 1 inside the root, as torch's std and var do unless told otherwise: here it is the mean of the squares, "
    "over d.": _norm(size=lambda c, eps: (c.square().sum(-1, keepdim=True) / (c.shape[-1] - 1) + eps).sqrt()),
    "divided by the standard deviation plus eps, and that over d - 1: eps belongs under the root, and the mean is over d.": _norm(
        size=lambda c, eps: c.std(-1, keepdim=True) + eps
    ),
    "eps is added after the root; it belongs under it.": _norm(
        size=lambda c, eps: c.square().mean(-1, keepdim=True).sqrt() + eps
    ),
    "eps is missing.": _norm(size=lambda c, eps: c.square().mean(-1, keepdim=True).sqrt()),
    "the root is missing: divide by the root of the mean square.": _norm(
        size=lambda c, eps: c.square().mean(-1, keepdim=True) + eps
    ),
    "divided by the length of the token: the mean of the squares is wanted, not their sum.": _norm(
        size=lambda c, eps: (c.square().sum(-1, keepdim=True) + eps).sqrt()
    ),
    "scale and shift are missing.": _norm(last=lambda y, scale, shift: y),
    "shift is missing.": _norm(last=lambda y, scale, shift: scale * y),
    "scale is missing.": _norm(last=lambda y, scale, shift: y + shift),
    "shifted first and scaled afterwards: scale first.": _norm(
        last=lambda y, scale, shift: scale * (y + shift)
    ),
    "scale and shift have changed places.": _norm(last=lambda y, scale, shift: shift * y + scale),
}

# ------------------------------------------------------------------------------------------------ 9.2, a block


def _block(x, attention, mlp, norm_1, norm_2):
    x = x + attention(norm_1(x))
    return x + mlp(norm_2(x))


def _block_cases(generator):
    cases = []
    for n, d in ((4, 6), (3, 5)):
        W_A, W_M = normal(generator, d, d), normal(generator, d, d)
        A = normal(generator, n, n).softmax(-1)
        a, b = normal(generator, d), normal(generator, d)
        parts = (
            lambda x, A=A, W=W_A: A @ x @ W,
            lambda x, W=W_M: (x @ W).relu(),
            lambda x, a=a: _norm()(x, 1 + a, a, 1e-5),
            lambda x, b=b: _norm()(x, 1 + b, b, 1e-5),
        )
        cases.append((normal(generator, n, d), *parts))
    return cases


def _parallel(x, attention, mlp, norm_1, norm_2):
    return x + attention(norm_1(x)) + mlp(norm_2(x))


def _after(x, attention, mlp, norm_1, norm_2):
    x = norm_1(x + attention(x))
    return norm_2(x + mlp(x))


def _no_residual(x, attention, mlp, norm_1, norm_2):
    return mlp(norm_2(attention(norm_1(x))))


def _no_first_residual(x, attention, mlp, norm_1, norm_2):
    x = attention(norm_1(x))
    return x + mlp(norm_2(x))


def _no_second_residual(x, attention, mlp, norm_1, norm_2):
    return mlp(norm_2(x + attention(norm_1(x))))


def _residual_normed(x, attention, mlp, norm_1, norm_2):
    x = norm_1(x)
    x = norm_2(x + attention(x))
    return x + mlp(x)


def _first_added_again(x, attention, mlp, norm_1, norm_2):
    return x + mlp(norm_2(x + attention(norm_1(x))))


_BLOCK_MISTAKES = {
    "the norms come after the sums, as in the first Transformer; here each half reads normed tokens and adds to those that "
    "are not normed.": _after,
    "both residuals are missing: each half adds to its input.": _no_residual,
    "the first residual is missing: what attention says must be added to x.": _no_first_residual,
    "the second residual is missing: what the MLP says must be added to what it read from, before the norm.": _no_second_residual,
    "this adds to the normed tokens: the residual goes around the norm.": _residual_normed,
    "the MLP reads x from before attention: the second half must read what the first has added.": _parallel,
    "in the end the MLP's answer is added to the block's input: what attention said is lost on the way.": _first_added_again,
    "no norms: each half reads normed tokens.": lambda x, attention, mlp, norm_1, norm_2: _block(
        x, attention, mlp, lambda t: t, lambda t: t
    ),
    "the first norm is missing, on what attention reads.": lambda x, attention, mlp, norm_1, norm_2: _block(
        x, attention, mlp, lambda t: t, norm_2
    ),
    "the second norm is missing, on what the MLP reads.": lambda x, attention, mlp, norm_1, norm_2: _block(
        x, attention, mlp, norm_1, lambda t: t
    ),
    "norm_1 is used twice: the second half has a norm of its own.": lambda x, attention, mlp, norm_1, norm_2: (
        _block(x, attention, mlp, norm_1, norm_1)
    ),
    "the norms have changed places.": lambda x, attention, mlp, norm_1, norm_2: _block(
        x, attention, mlp, norm_2, norm_1
    ),
    "the halves have changed places: attention comes first.": lambda x, attention, mlp, norm_1, norm_2: (
        _block(x, mlp, attention, norm_1, norm_2)
    ),
    "the norms are on what the halves say, not on what they read.": lambda x, attention, mlp, norm_1, norm_2: (
        _block(x, lambda t: norm_1(attention(t)), lambda t: norm_2(mlp(t)), lambda t: t, lambda t: t)
    ),
}

# ------------------------------------------------------------------------------------------ 9.3, the parameters


def _count(
    attention=lambda d: 4 * (d * d + d),
    mlp=lambda d, m: 2 * d * m + m + d,
    norms=lambda d: 4 * d,
    ends=lambda V, n, d: (V + n) * d + 2 * d,
):
    return lambda V, n, d, L, m: torch.tensor(L * (attention(d) + mlp(d, m) + norms(d)) + ends(V, n, d))


def _count_cases(generator):
    return [(86, 64, 96, 3, 384), (11, 7, 8, 2, 20), (50257, 2048, 12288, 96, 4 * 12288)]


_COUNT_MISTAKES = {
    "the readout is tied: it shares its matrix with the characters' features and has no parameters of its own.": _count(
        ends=lambda V, n, d: (2 * V + n) * d + 2 * d
    ),
    "the biases are missing, both attention's and the MLP's.": _count(
        lambda d: 4 * d * d, lambda d, m: 2 * d * m
    ),
    "4 d_model numbers of each block are missing: attention's four biases, or scale and shift of its two norms.": _count(
        lambda d: 4 * d * d
    ),
    "the MLP's biases are missing: d_mlp numbers and d_model numbers.": _count(mlp=lambda d, m: 2 * d * m),
    "attention has four projections, W_O among them.": _count(lambda d: 3 * (d * d + d)),
    "this MLP has four times d_model hidden features, whatever d_mlp says.": _count(
        mlp=lambda d, m: 8 * d * d + 5 * d
    ),
    "the norms are missing, in the blocks and at the end: each has scale and shift.": _count(
        norms=lambda d: 0, ends=lambda V, n, d: (V + n) * d
    ),
    "each block has two norms, not one.": _count(norms=lambda d: 2 * d),
    "a norm has scale and shift, two numbers for each feature.": _count(
        norms=lambda d: 2 * d, ends=lambda V, n, d: (V + n) * d + d
    ),
    "the last norm is missing, the one before the readout.": _count(ends=lambda V, n, d: (V + n) * d),
    "the features of the places are missing.": _count(ends=lambda V, n, d: V * d + 2 * d),
    "the features of the characters are missing; the readout is the same table.": _count(
        ends=lambda V, n, d: n * d + 2 * d
    ),
    "this counts the blocks alone, without features of characters and places and the last norm.": _count(
        ends=lambda V, n, d: 0
    ),
}


def _judge_count(answer):
    """The same number, to the last one; float would do for the small models only."""
    cases = _count_cases(None)
    results = [call(answer, case) for case in cases]
    for got in results:
        if got.shape != ():
            return f"return one number, not a tensor of shape {tuple(got.shape)}."
        if not torch.isfinite(got):
            return "the result is not finite (inf or NaN)."
    for diagnosis, count in {None: _count(), **_COUNT_MISTAKES}.items():
        if all(got == count(*case) for got, case in zip(results, cases)):
            return diagnosis
    difference = (results[1] - _count()(*cases[1])).item()
    return f"for {cases[1]} this is {abs(difference):g} too {'many' if difference > 0 else 'few'}."


# ------------------------------------------------------------------------------------- 9.4, temperature and top k


def _chances(before=lambda s, T: s / T, keep=lambda p, s, k: p * (s >= s.topk(k).values[-1]), again=True):
    """Probabilities, with another use of the temperature, another choice, or without making them add up to 1."""

    def answer(scores, temperature, k):
        p = keep(before(scores, temperature).softmax(0), scores, k)
        return p / p.sum() if again else p

    return answer


def _chances_cases(generator):
    return [(2 * normal(generator, V), T, k) for V, T, k in ((6, 0.5, 3), (9, 2.0, 4), (5, 1.5, 5))]


_CHANCES_MISTAKES = {
    "the temperature isn't used.": _chances(lambda s, T: s),
    "multiplied by the temperature: divide, so that a small one sharpens.": _chances(lambda s, T: s * T),
    "the probabilities are divided by the temperature, after the softmax, which changes nothing once they add up to 1: divide "
    "the scores.": lambda s, T, k: _chances(lambda s, T: s)(s, T, k) / T,
    "k isn't used: only the k likeliest may be drawn.": _chances(keep=lambda p, s, k: p),
    "the others are left out, but the chances of those that stay don't add up to 1 any more.": _chances(
        again=False
    ),
    "these are the k UNLIKELIEST.": _chances(
        keep=lambda p, s, k: p * (s <= s.topk(k, largest=False).values[-1])
    ),
    "the k likeliest are equally likely here; they keep their proportions.": _chances(
        keep=lambda p, s, k: (s >= s.topk(k).values[-1]).to(s)
    ),
    "one too few are kept.": _chances(keep=lambda p, s, k: p * (s > s.topk(k).values[-1])),
    "the scores of the others are set to 0, whose exponential is 1: they need -inf.": lambda s, T, k: (
        torch.where(s >= s.topk(k).values[-1], s / T, torch.zeros(())).softmax(0)
    ),
}

JUDGES = {
    "9.1": same_as(_norm(), _norm_cases, _NORM_MISTAKES, gradient=True),
    "9.2": same_as(_block, _block_cases, _BLOCK_MISTAKES),
    "9.3": _judge_count,
    "9.4": same_as(_chances(), _chances_cases, _CHANCES_MISTAKES),
}
