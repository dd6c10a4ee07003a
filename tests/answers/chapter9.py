"""Right and wrong answers to the exercises of chapter 9, written as readers write them."""

import math

import numpy as np
import torch
import torch.nn.functional as F

# ------------------------------------------------------------------------------------------------ 9.1


def norm_loop(x, scale, shift, eps):
    """Token by token."""
    rows = []
    for token in x:
        mean = token.sum() / len(token)
        variance = ((token - mean) ** 2).sum() / len(token)
        rows.append((token - mean) / torch.sqrt(variance + eps) * scale + shift)
    return torch.stack(rows)


def guarded_norm(x, scale, shift, eps):
    """A token that doesn't vary is left as it is."""
    return torch.where(x.var(-1, keepdim=True, unbiased=False) > 0, norm()(x, scale, shift, eps), x)


def norm(dim=-1, keep=True, take=True, n_minus_1=False, inside=True, root=True, mean=True, end=None):
    def answer(x, scale, shift, eps):
        dims = (0, 1) if dim is None else dim
        c = x - x.mean(dims, keepdim=True) if take else x
        count = c.numel() if dim is None else c.shape[dim]
        variance = c.pow(2).sum(dims, keepdim=True) / (1 if not mean else count - n_minus_1)
        size = variance + eps * inside
        if root:
            size = size.sqrt()
        y = c / (size)
        return (end or (lambda y, a, b: y * a + b))(y, scale, shift)

    return answer


# ------------------------------------------------------------------------------------------------ 9.2


def block(first=True, second=True, parallel=False, restart=False, after=False, normed=False, a=0, b=1):
    def answer(x, attention, mlp, norm_1, norm_2):
        norms = (norm_1, norm_2, lambda t: t)
        one, two = norms[a], norms[b]
        if after:
            x = norm_1(x + attention(x))
            return norm_2(x + mlp(x))
        if normed:
            u = norm_1(x)
            v = norm_2(u + attention(u))
            return v + mlp(v)
        u = attention(one(x)) + (x if first else 0)
        if parallel:
            return u + mlp(two(x))
        return mlp(two(u)) + (x if restart else u if second else 0)

    return answer


def on_answers(x, attention, mlp, norm_1, norm_2):
    x = x + norm_1(attention(x))
    return x + norm_2(mlp(x))


# ------------------------------------------------------------------------------------------------ 9.3


def by_model(V, n, d, L, m):
    """Builds it, on the device that holds no numbers."""
    from dynattn.transformer import GPT

    with torch.device("meta"):
        model = GPT(V, n, d, 1, L, m)
    return sum(p.numel() for p in model.parameters())


def count(
    bias=1, mlp_bias=1, projections=4, hidden=None, norms=2, last=2, tokens=1, places=1, ends=1, of_norm=2
):
    def answer(V, n, d, L, m):
        m = m if hidden is None else hidden * d
        block = projections * d * (d + bias) + 2 * d * m + mlp_bias * (m + d) + norms * of_norm * d
        return L * block + ends * (tokens * V * d + places * n * d + last * d)

    return answer


# ------------------------------------------------------------------------------------------------ 9.4


def chances_numpy(scores, temperature, k):
    """Powers of the probabilities, sorted in NumPy."""
    p = np.exp((scores - scores.max()).numpy())
    p = p ** (1 / temperature)
    p[np.argsort(p)[: len(p) - k]] = 0
    return p / p.sum()


def chances(heat=lambda s, T: s / T, cut=lambda s, k: -math.inf, number=lambda k: k, largest=True):
    def answer(scores, temperature, k):
        kept = torch.full_like(scores, cut(scores, k))
        best = scores.topk(number(k), largest=largest).indices
        kept[best] = heat(scores, temperature)[best]
        return kept.softmax(0)

    return answer


def chances_by_powers(scores, temperature, k):
    """Exponentials as they are, without taking off the largest score."""
    p = scores.exp() ** (1 / temperature)
    p[scores.argsort()[: len(p) - k]] = 0
    return p / p.sum()


def chances_from_the_kth(scores, temperature, k):
    scores = scores / temperature
    scores[scores < scores.topk(k).values[-1]] = -torch.inf
    return scores.softmax(-1)


def softmax_again(scores, temperature, k):
    best = (scores / temperature).softmax(0).topk(k)
    return torch.zeros_like(scores).scatter(0, best.indices, best.values.softmax(0))


def no_sum(scores, temperature, k):
    p = (scores / temperature).softmax(0)
    return torch.where(scores >= scores.sort().values[-k], p, 0)


def flat(scores, temperature, k):
    return (scores >= scores.sort().values[-k]).double() / k


RIGHT = {
    "9.1 loop": ("9.1", norm_loop),
    "9.1 torch": ("9.1", lambda x, scale, shift, eps: F.layer_norm(x, x.shape[-1:], scale, shift, eps)),
    "9.1 variance": ("9.1", lambda x, scale, shift, eps: (x - x.mean(1, True)) / (x.var(1, keepdim=True, unbiased=False) + eps) ** 0.5 * scale + shift),
    "9.2 two lines": ("9.2", block()),
    "9.3 formula": ("9.3", count()),
    "9.3 by building it": ("9.3", by_model),
    "9.4 NumPy": ("9.4", chances_numpy),
    "9.4 topk": ("9.4", chances()),
}  # fmt: skip

WRONG = {
    "9.1 over tokens": ("9.1", norm(dim=0), "over tokens, for each feature"),
    "9.1 all together": ("9.1", norm(dim=None), "one mean for all tokens"),
    "9.1 mean stays": ("9.1", norm(take=False), "the mean isn't taken off"),
    "9.1 d - 1": ("9.1", norm(n_minus_1=True), "divided by d - 1 inside the root"),
    "9.1 std": ("9.1", lambda x, scale, shift, eps: (x - x.mean(-1, True)) / (x.std(-1, keepdim=True) + eps) * scale + shift, "that over d - 1"),
    "9.1 eps after": ("9.1", lambda x, scale, shift, eps: (x - x.mean(-1, True)) / (x.std(-1, keepdim=True, unbiased=False) + eps) * scale + shift, "eps is added after the root"),
    "9.1 no eps": ("9.1", norm(inside=False), "eps is missing"),
    "9.1 no root": ("9.1", norm(root=False), "the root is missing"),
    "9.1 length": ("9.1", norm(mean=False), "divided by the length of the token"),
    "9.1 neither": ("9.1", norm(end=lambda y, a, b: y), "scale and shift are missing"),
    "9.1 no shift": ("9.1", norm(end=lambda y, a, b: y * a), "shift is missing"),
    "9.1 no scale": ("9.1", norm(end=lambda y, a, b: y + b), "scale is missing"),
    "9.1 shift first": ("9.1", norm(end=lambda y, a, b: (y + b) * a), "scale first"),
    "9.1 exchanged": ("9.1", norm(end=lambda y, a, b: y * b + a), "have changed places"),
    "9.1 torch's own eps": ("9.1", lambda x, scale, shift, eps: F.layer_norm(x, x.shape[-1:], scale, shift), "eps isn't used"),
    "9.1 one more": ("9.1", norm(end=lambda y, a, b: y * (1 + a) + b), "one more than scale"),
    "9.1 no mean, no shift": ("9.1", norm(take=False, end=lambda y, a, b: y * a), "two things"),
    "9.1 no eps where all is equal": ("9.1", guarded_norm, "features are all equal"),
    "9.1 cut off": ("9.1", lambda *given: norm()(*given).detach(), "gradient is not"),
    "9.1 one token": ("9.1", lambda *given: norm()(*given)[0], "the result has shape"),
    "9.1 twice": ("9.1", lambda *given: 2 * norm()(*given), "in no way that this check knows"),
    "9.2 after": ("9.2", block(after=True), "the norms come after the sums"),
    "9.2 no residuals": ("9.2", block(first=False, second=False), "both residuals are missing"),
    "9.2 no first": ("9.2", block(first=False), "the first residual is missing"),
    "9.2 no second": ("9.2", block(second=False), "the second residual is missing"),
    "9.2 adds to normed": ("9.2", block(normed=True), "the residual goes around the norm"),
    "9.2 parallel": ("9.2", block(parallel=True), "from before attention"),
    "9.2 starts again": ("9.2", block(restart=True), "is lost on the way"),
    "9.2 no norms": ("9.2", block(a=2, b=2), "no norms"),
    "9.2 no norm_1": ("9.2", block(a=2), "the first norm is missing"),
    "9.2 no norm_2": ("9.2", block(b=2), "the second norm is missing"),
    "9.2 norm_1 twice": ("9.2", block(b=0), "norm_1 is used twice"),
    "9.2 norms exchanged": ("9.2", block(a=1, b=0), "the norms have changed places"),
    "9.2 halves exchanged": ("9.2", lambda x, attention, mlp, *norms: block()(x, mlp, attention, *norms), "the halves have changed places"),
    "9.2 norms on answers": ("9.2", on_answers, "on what the halves say"),
    "9.2 the sum over tokens": ("9.2", lambda *given: block()(*given).sum(0), "the result has shape"),
    "9.3 untied": ("9.3", count(tokens=2), "the readout is tied"),
    "9.3 no biases": ("9.3", count(bias=0, mlp_bias=0), "the biases are missing"),
    "9.3 no biases in attention": ("9.3", count(bias=0), "attention's four biases, or"),
    "9.3 no biases in the MLP": ("9.3", count(mlp_bias=0), "the MLP's biases are missing"),
    "9.3 three projections": ("9.3", count(projections=3), "W_O among them"),
    "9.3 four times": ("9.3", count(hidden=4), "whatever d_mlp says"),
    "9.3 no norms": ("9.3", count(norms=0, last=0), "the norms are missing"),
    "9.3 no norms in blocks": ("9.3", count(norms=0), "attention's four biases, or"),
    "9.3 one norm": ("9.3", count(norms=1), "each block has two norms"),
    "9.3 only scale": ("9.3", count(of_norm=1, last=1), "a norm has scale and shift"),
    "9.3 no last norm": ("9.3", count(last=0), "the last norm is missing"),
    "9.3 no places": ("9.3", count(places=0), "the features of the places are missing"),
    "9.3 no tokens": ("9.3", count(tokens=0), "the features of the characters are missing"),
    "9.3 blocks alone": ("9.3", count(ends=0), "the blocks alone"),
    "9.3 one more": ("9.3", lambda *sizes: count()(*sizes) + 1, "by up to 1, in no way"),
    "9.3 one less": ("9.3", lambda *sizes: count()(*sizes) - 1, "by up to 1, in no way"),
    "9.3 a list": ("9.3", lambda *sizes: [count()(*sizes)], "the result has shape"),
    "9.3 not finite": ("9.3", lambda *sizes: math.nan, "not finite"),
    "9.4 no temperature": ("9.4", chances(lambda s, T: s), "isn't used"),
    "9.4 times": ("9.4", chances(lambda s, T: s * T), "multiplied by the temperature"),
    "9.4 after": ("9.4", lambda s, T, k: chances(lambda s, T: s)(s, T, k) / T, "after the softmax"),
    "9.4 no k": ("9.4", lambda s, T, k: (s / T).softmax(0), "k isn't used"),
    "9.4 no sum": ("9.4", no_sum, "don't add up to 1 any more"),
    "9.4 unlikeliest": ("9.4", chances(largest=False), "UNLIKELIEST"),
    "9.4 flat": ("9.4", flat, "equally likely here"),
    "9.4 one less": ("9.4", chances(number=lambda k: k - 1), "one too few"),
    "9.4 zeros": ("9.4", chances(cut=lambda s, k: 0.0), "they need -inf"),
    "9.4 ties": ("9.4", chances_from_the_kth, "may be more than k"),
    "9.4 softmax again": ("9.4", softmax_again, "a second softmax"),
    "9.4 overflow": ("9.4", chances_by_powers, "until scores are 1000"),
    "9.4 leaves k out": ("9.4", lambda s, T, k: chances()(s, T, len(s) - k), "k characters are left out"),
    "9.4 draws": ("9.4", lambda s, T, k: chances()(s, T, k).argmax(), "the result has shape"),
    "9.4 not finite": ("9.4", lambda s, T, k: s / 0, "not finite"),
    "9.4 odd": ("9.4", lambda s, T, k: chances()(s, T, k) ** 2, "in no way that this check knows"),
}  # fmt: skip

SAME = {"9.3 no biases in attention", "9.3 no norms in blocks", "9.3 one more", "9.3 one less"}


def count_in_floats(vocabulary, context, d_model, n_layers, d_mlp):
    block = 4.0 * (d_model**2 + d_model) + 2.0 * d_model * d_mlp + d_mlp + d_model + 4.0 * d_model
    return n_layers * block + (vocabulary + context) * d_model + 2 * d_model


RIGHT |= {"9.3 a float": ("9.3", count_in_floats)}
