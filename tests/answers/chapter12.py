"""Right and wrong answers to the exercises of chapter 12, written as readers write them."""

import math

import numpy as np
import torch
import torch.nn.functional as F

# ---------------------------------------------------------------------------------- 12.1, a share of a block


def share(write=1, use=1, projections=4, mlp=3, of=lambda part, rest: part / (part + rest)):
    def answer(n, d, h):
        part = (write + use) * n**2 * d
        return of(part, projections * n * d**2 + mlp * n * d * h)

    return answer


# ------------------------------------------------------------------------------------------ 12.2, one pass


def one_pass(total_too=True, output_too=True, start=-math.inf, sign=1, keep_all=None):
    def answer(stream):
        top, total, output = start, 0.0, np.zeros(3)
        for logit, value in stream:
            if logit > top:
                factor = math.exp(sign * (top - logit)) if total else 0.0
                total *= factor if total_too else 1
                output = output * (factor if output_too else 1)
                top = logit
            weight = math.exp(logit - top)
            total += weight
            output = output + weight * value.numpy()
            if keep_all is not None:
                keep_all.append(value)
        return output / total

    return answer


def by_logarithm(stream):
    """Keeps the logarithm of the sum, and the mean itself."""
    logarithm, mean = torch.tensor(-math.inf, dtype=torch.float64), 0.0
    for logit, value in stream:
        new = torch.logaddexp(logarithm, torch.tensor(logit, dtype=torch.float64))
        mean = (logarithm - new).exp() * mean + (logit - new).exp() * value
        logarithm = new
    return mean


def pass_relative_to_the_last(stream):
    last, total, output = -np.inf, 0.0, 0.0
    for logit, value in stream:
        factor = np.exp(np.float64(last - logit))
        total, output, last = factor * total + 1, factor * output + value.numpy(), logit
    return output / total


def all_at_once(stream):
    logits, values = zip(*stream)
    return torch.tensor(logits, dtype=torch.float64).softmax(0) @ torch.stack(values)


def without_largest(stream):
    total, output = 0.0, 0.0
    for logit, value in stream:
        weight = np.exp(np.float64(logit))
        total, output = total + weight, output + weight * value
    return output / total


def two_passes(stream):
    top = max(logit for logit, _ in stream)
    total, output = 0.0, torch.zeros(3)
    for logit, value in stream:
        total, output = total + math.exp(logit - top), output + math.exp(logit - top) * value
    return output / max(total, 1e-9)


def undivided(stream):
    top, output = -math.inf, 0.0
    for logit, value in stream:
        new = max(top, logit)
        output, top = math.exp(top - new) * output + math.exp(logit - new) * value, new
    return output


def plain_mean(stream):
    count, output = 0, 0.0
    for _, value in stream:
        count, output = count + 1, output + value
    return output / count


def winner(stream):
    return max(stream, key=lambda pair: pair[0])[1]


# ---------------------------------------------------------------------------------------- 12.3, two machines


def merge_numpy(first, second):
    (m1, s1, o1), (m2, s2, o2) = ([t.numpy() for t in part] for part in (first, second))
    m = np.maximum(m1, m2)
    a, b = np.exp(m1 - m), np.exp(m2 - m)
    return (a[:, None] * o1 + b[:, None] * o2) / (a * s1 + b * s2)[:, None]


def merge_by_logarithms(first, second):
    (m1, s1, o1), (m2, s2, o2) = first, second
    a, b = m1 + s1.log(), m2 + s2.log()
    a, b = torch.stack([a, b]).softmax(0)
    o1, o2 = (o / s.clamp(min=1e-300)[:, None] for o, s in ((o1, s1), (o2, s2)))
    return a[:, None] * o1 + b[:, None] * o2


def merge(
    f=lambda m1, m2: (torch.exp(m1 - torch.maximum(m1, m2)), torch.exp(m2 - torch.maximum(m1, m2))),
    sums=True,
    outputs=True,
):
    def answer(first, second):
        (m1, s1, o1), (m2, s2, o2) = first, second
        a, b = f(m1, m2)
        s = a * s1 + b * s2 if sums else s1 + s2
        o = a.unsqueeze(1) * o1 + b.unsqueeze(1) * o2 if outputs else o1 + o2
        return o / s.unsqueeze(1)

    return answer


def mean_of_both(first, second):
    return (first[2] / first[1][:, None] + second[2] / second[1][:, None]) / 2


def merge_by_largest(first, second):
    a = torch.sigmoid(first[0] - second[0])[:, None]
    return a * first[2] / first[1][:, None] + (1 - a) * second[2] / second[1][:, None]


def merge_of_large(first, second):
    """Exponentials of what is above 0 only are taken off."""
    top = torch.maximum(first[0], second[0]).clamp(min=0)
    s, o = (
        sum((part[0] - top).exp().unsqueeze(-1) * part[i].reshape(len(top), -1) for part in (first, second))
        for i in (1, 2)
    )
    return o / s


def undivided_merge(first, second):
    top = torch.maximum(first[0], second[0])
    return sum((m - top).exp()[:, None] * o for m, _, o in (first, second))


def changes_first(first, second):
    first[2].mul_(2)
    return merge()(first, second)


# ------------------------------------------------------------------------------------------ 12.4, the next token


def step_lists(x, cache, W_Q, W_K, W_V):
    keys, values = cache or ([], [])
    keys.append(W_K @ x)
    values.append(W_V @ x)
    q = W_Q @ x
    logits = torch.stack([k @ q for k in keys]) / math.sqrt(len(x))
    return F.softmax(logits, dim=0) @ torch.stack(values), (keys, values)


def step(
    k=lambda x, W_Q, W_K: W_K @ x,
    v=lambda x, W_V: W_V @ x,
    q=lambda x, W_Q: W_Q @ x,
    scale=math.sqrt,
    late=False,
    keep=lambda rows: rows,
    times=1,
):
    """A cache in a dictionary, with one thing or another gone wrong."""

    def answer(x, cache, W_Q, W_K, W_V):
        cache = cache or {"K": [], "V": []}
        seen_k, seen_v = list(cache["K"]), list(cache["V"])
        new_k, new_v = [k(x, W_Q, W_K)] * times, [v(x, W_V)] * times
        if not late or not seen_k:
            seen_k, seen_v = seen_k + new_k, seen_v + new_v
        logits = torch.stack(seen_k) @ q(x, W_Q) / scale(len(x))
        y = logits.softmax(0) @ torch.stack(seen_v)
        return y, {"K": keep(cache["K"] + new_k), "V": keep(cache["V"] + new_v)}

    return answer


def step_all_again(x, cache, W_Q, W_K, W_V):
    tokens = x[None] if cache is None else torch.cat([cache, x[None]])
    logits = (tokens @ W_K.T) @ (W_Q @ x) / len(x) ** 0.5
    return logits.softmax(0) @ (tokens @ W_V.T), tokens


def step_by_torch(x, cache, W_Q, W_K, W_V):
    """One query, many keys: torch lays the causal mask at the upper left corner."""
    K, V = (
        torch.cat([old, (W @ x)[None]])
        for old, W in zip(cache or (x[:0].reshape(0, len(x)),) * 2, (W_K, W_V))
    )
    return F.scaled_dot_product_attention((W_Q @ x)[None], K, V, is_causal=True)[0], (K, V)


def step_query_again(x, cache, W_Q, W_K, W_V):
    K, V = cache or ([], [])
    K, V = [*K, W_K @ x], [*V, W_V @ x]
    A = torch.stack([k @ (W_Q @ x) for k in K]).div(len(x) ** 0.5).softmax(0)
    return A @ torch.stack(V), (K, V)


def step_newest_twice(x, cache, W_Q, W_K, W_V):
    K, V = cache or ([], [])
    K, V = [*K, W_K @ x], [*V, W_V @ x]
    logits = torch.stack([*K, K[-1]]) @ (W_Q @ x) / len(x) ** 0.5
    return logits.softmax(0) @ torch.stack([*V, V[-1]]), (K, V)


# ------------------------------------------------------------------------------------------------- 12.5, a band


def band_of_windows(q, k, v, w):
    """Each token's window as an axis of its own, with absent tokens hidden."""
    n, d = q.shape
    index = torch.arange(n)[:, None] - torch.arange(w)
    logits = (k[index.clamp(min=0)] @ q[:, :, None])[..., 0] / d**0.5
    A = logits.masked_fill(index < 0, -torch.inf).softmax(-1)
    return (A[:, None] @ v[index.clamp(min=0)])[:, 0]


def band(first=lambda i, w: max(0, i - w + 1), last=lambda i, w, n: i + 1, scale=math.sqrt):
    def answer(q, k, v, w):
        n, d = q.shape
        rows = []
        for i in range(n):
            near = slice(first(i, w), last(i, w, n))
            rows.append(torch.softmax(q[i] @ k[near].T / scale(d), -1) @ v[near])
        return torch.stack(rows)

    return answer


def band_padded(q, k, v, w):
    k, v = F.pad(k, (0, 0, w - 1, 0)), F.pad(v, (0, 0, w - 1, 0))
    return torch.stack(
        [(k[i : i + w] @ q[i] / q.shape[1] ** 0.5).softmax(0) @ v[i : i + w] for i in range(len(q))]
    )


def band_in_full(q, k, v, w):
    n = len(q)
    seen = torch.ones(n, n, dtype=torch.bool).tril().triu(1 - w)
    return (q @ k.T / q.shape[1] ** 0.5).masked_fill(~seen, -torch.inf).softmax(-1) @ v


def band_multiplied(q, k, v, w):
    n = len(q)
    return (q @ k.T / q.shape[1] ** 0.5 * torch.ones(n, n).tril().triu(1 - w)).softmax(-1) @ v


def band_of_exponentials(q, k, v, w):
    rows = []
    for i in range(len(q)):
        near = slice(max(0, i - w + 1), i + 1)
        e = (k[near] @ q[i] / q.shape[1] ** 0.5).exp()
        rows.append(e @ v[near] / e.sum())
    return torch.stack(rows)


def band_cut_after(causal):
    def answer(q, k, v, w):
        logits = q @ k.T / q.shape[1] ** 0.5
        if causal:
            logits = logits + torch.full_like(logits, -torch.inf).triu(1)
        return logits.softmax(-1).tril().triu(1 - w) @ v

    return answer


RIGHT = {
    "12.1 formula": ("12.1", share()),
    "12.1 divided through": ("12.1", lambda n, d, h: 2 * n / (2 * n + 4 * d + 3 * h)),
    "12.2 NumPy": ("12.2", one_pass()),
    "12.2 logarithm": ("12.2", by_logarithm),
    "12.3 NumPy": ("12.3", merge_numpy),
    "12.3 softmax of two": ("12.3", merge_by_logarithms),
    "12.3 pairs of factors": ("12.3", merge()),
    "12.4 lists": ("12.4", step_lists),
    "12.4 dictionary": ("12.4", step()),
    "12.5 loop": ("12.5", band()),
    "12.5 windows": ("12.5", band_of_windows),
}  # fmt: skip

WRONG = {
    "12.1 written only": ("12.1", share(use=0), "only one of the two products"),
    "12.1 two matrices": ("12.1", share(mlp=2), "three matrices, not two"),
    "12.1 one matrix": ("12.1", share(mlp=1), "only one matrix is counted"),
    "12.1 no MLP": ("12.1", share(mlp=0), "the MLP is missing"),
    "12.1 no projections": ("12.1", share(projections=0), "the projections are missing"),
    "12.1 no W_O": ("12.1", share(projections=3), "W_O as well"),
    "12.1 one token": ("12.1", lambda n, d, h: 2 * n * n * d / (2 * n * n * d + 4 * d * d + 3 * d * h), "for one token only"),
    "12.1 halved": ("12.1", lambda n, d, h: (n + 1) / (n + 1 + 4 * d + 3 * h), "half of the weights"),
    "12.1 two things": ("12.1", share(mlp=2, projections=3), "two things"),
    "12.1 smaller keys and values": ("12.1", share(projections=2.5), "to keys and values are smaller"),
    "12.1 ratio": ("12.1", share(of=lambda part, rest: part / rest), "ratio of weights to the rest"),
    "12.1 the rest": ("12.1", share(of=lambda part, rest: rest / (part + rest)), "share of all else"),
    "12.1 the chapter's": ("12.1", lambda n, d, h: n / (n + 6 * d), "the chapter's block"),
    "12.1 operations": ("12.1", share(of=lambda part, rest: part), "in no way that this check knows"),
    "12.1 two numbers": ("12.1", lambda n, d, h: (2 * n * n * d, 3 * d * h), "the result has shape"),
    "12.2 sum forgotten": ("12.2", one_pass(total_too=False), "only the output is"),
    "12.2 output forgotten": ("12.2", one_pass(output_too=False), "only the sum is"),
    "12.2 nothing rescaled": ("12.2", one_pass(False, False), "nothing is rescaled"),
    "12.2 inverted": ("12.2", one_pass(sign=-1), "rescaled the wrong way"),
    "12.2 not divided": ("12.2", undivided, "divided by the sum"),
    "12.2 mean": ("12.2", plain_mean, "the plain mean"),
    "12.2 winner": ("12.2", winner, "with the largest logit"),
    "12.2 overflow": ("12.2", without_largest, "until logits are about 1000"),
    "12.2 starts at 0": ("12.2", one_pass(start=0.0), "at -inf, not at 0"),
    "12.2 relative to the last": ("12.2", pass_relative_to_the_last, "not to the last"),
    "12.2 kept": ("12.2", all_at_once, "still held"),
    "12.2 kept beside": ("12.2", one_pass(keep_all=[]), "still held"),
    "12.2 two passes": ("12.2", two_passes, "a second time"),
    "12.2 one number": ("12.2", lambda stream: one_pass()(stream).sum(), "the result has shape"),
    "12.2 twice as much": ("12.2", lambda stream: 2 * one_pass()(stream), "in no way that this check knows"),
    "12.3 added": ("12.3", lambda first, second: (first[2] + second[2]) / (first[1] + second[1])[:, None], "added without rescaling"),
    "12.3 sums not": ("12.3", merge(sums=False), "but the sums are not"),
    "12.3 outputs not": ("12.3", merge(outputs=False), "but the outputs are not"),
    "12.3 only the second": ("12.3", merge(lambda m1, m2: (torch.ones_like(m1), (m2 - torch.maximum(m1, m2)).exp())), "only the second machine's"),
    "12.3 only the first": ("12.3", merge(lambda m1, m2: ((m1 - torch.maximum(m1, m2)).exp(), torch.ones_like(m1))), "only the first machine's"),
    "12.3 mean": ("12.3", mean_of_both, "the mean of both"),
    "12.3 largest alone": ("12.3", merge_by_largest, "by its largest logit alone"),
    "12.3 underflow": ("12.3", merge_of_large, "until logits are about -1000"),
    "12.3 inverted": ("12.3", merge(lambda m1, m2: ((torch.maximum(m1, m2) - m1).exp(), (torch.maximum(m1, m2) - m2).exp())), "rescaled the wrong way"),
    "12.3 not divided": ("12.3", undivided_merge, "isn't divided"),
    "12.3 overflow": ("12.3", merge(lambda m1, m2: (m1.exp(), m2.exp())), "until logits are about 1000"),
    "12.3 hidden": ("12.3", merge(lambda m1, m2: (torch.ones_like(m1), (m2 - m1).exp())), "all keys of the first machine are hidden"),
    "12.3 in place": ("12.3", changes_first, "in place"),
    "12.3 no logits": ("12.3", lambda first, second: first[2] - second[2], "in no way that this check knows"),
    "12.3 a row": ("12.3", lambda first, second: merge()(first, second)[0], "the result has shape"),
    "12.4 no scale": ("12.4", step(scale=lambda d: 1), "no scale"),
    "12.4 cache unused": ("12.4", step(keep=lambda rows: []), "only the token itself is seen"),
    "12.4 appended late": ("12.4", step(late=True), "doesn't see itself"),
    "12.4 the last only": ("12.4", step(keep=lambda rows: rows[-1:]), "only the token before"),
    "12.4 torch's causal mask": ("12.4", step_by_torch, "only the first token is seen"),
    "12.4 the last four": ("12.4", step(keep=lambda rows: rows[-3:]), "only the last four"),
    "12.4 no W_V": ("12.4", step(v=lambda x, W_V: x), "W_V is not applied"),
    "12.4 no W_K": ("12.4", step(k=lambda x, W_Q, W_K: x), "W_K is not applied"),
    "12.4 no W_Q": ("12.4", step(q=lambda x, W_Q: x), "W_Q is not applied"),
    "12.4 queries kept": ("12.4", step(k=lambda x, W_Q, W_K: W_Q @ x), "queries in the place of keys"),
    "12.4 turned": ("12.4", step(lambda x, W_Q, W_K: x @ W_K, lambda x, W_V: x @ W_V, lambda x, W_Q: x @ W_Q), "the wrong way round"),
    "12.4 newest twice": ("12.4", step_newest_twice, "counts twice"),
    "12.4 all again": ("12.4", step_all_again, "again and again"),
    "12.4 output only": ("12.4", lambda *arguments: step()(*arguments)[0], "return two things"),
    "12.4 in place": ("12.4", lambda x, cache, *W: step()(x.mul_(2), cache, *W), "in place"),
    "12.4 no softmax": ("12.4", lambda x, cache, W_Q, W_K, W_V: (W_V @ x * 2, None), "in no way that this check knows"),
    "12.5 no scale": ("12.5", band(scale=lambda d: 1), "no scale"),
    "12.5 one more": ("12.5", band(lambda i, w: max(0, i - w)), "one token too many"),
    "12.5 one less": ("12.5", band(lambda i, w: max(0, i - w + 2)), "one token too few"),
    "12.5 no band": ("12.5", band(lambda i, w: 0), "every earlier token is seen"),
    "12.5 both sides": ("12.5", band(last=lambda i, w, n: min(n, i + w)), "on both sides"),
    "12.5 ahead": ("12.5", band(lambda i, w: i, lambda i, w, n: min(n, i + w)), "from itself on"),
    "12.5 blocks": ("12.5", band(lambda i, w: i // w * w), "the tokens of its own block"),
    "12.5 padded": ("12.5", band_padded, "tokens of zeros"),
    "12.5 cut after": ("12.5", band_cut_after(False), "over all tokens"),
    "12.5 cut after causal": ("12.5", band_cut_after(True), "over all earlier tokens"),
    "12.5 multiplied": ("12.5", band_multiplied, "multiplied by the mask"),
    "12.5 overflow": ("12.5", band_of_exponentials, "until logits are about 1000"),
    "12.5 in full": ("12.5", band_in_full, "was made"),
    "12.5 cut off": ("12.5", lambda q, k, v, w: band()(q, k, v, w).detach(), "gradient is not"),
    "12.5 the last row": ("12.5", lambda q, k, v, w: band()(q, k, v, w)[-1], "the result has shape"),
    "12.5 twice": ("12.5", lambda q, k, v, w: 2 * band()(q, k, v, w), "in no way that this check knows"),
}  # fmt: skip

SAME = {"12.2 kept", "12.2 kept beside"}


def step_in_a_buffer(x, cache, W_Q, W_K, W_V):
    """Room for many tokens from the start; what isn't filled yet gets a logit of -inf."""
    K, V, n = cache or (x.new_zeros(64, len(x)), x.new_zeros(64, len(x)), 0)
    K[n], V[n] = W_K @ x, W_V @ x
    logits = K @ (W_Q @ x) / len(x) ** 0.5
    logits[n + 1 :] = -torch.inf
    return logits.softmax(0) @ V, (K, V, n + 1)


RIGHT |= {
    "12.4 in a buffer": ("12.4", step_in_a_buffer),
    "12.4 query again": ("12.4", step_query_again),
    "12.4 all twice": ("12.4", step(times=2)),
}


def pass_relative_to_the_first(stream):
    base, total, output = None, 0.0, 0.0
    for logit, value in stream:
        base = logit if base is None else base
        weight = np.exp(np.float64(logit - base))
        total, output = total + weight, output + weight * value
    return output / total


def pass_with_copies(stream):
    pairs = [(logit, value + 0) for logit, value in stream]
    weights = torch.tensor([logit for logit, _ in pairs], dtype=torch.float64).softmax(0)
    return weights @ torch.stack([value for _, value in pairs])


WRONG |= {
    "12.2 relative to the first": ("12.2", pass_relative_to_the_first, "about 1000 larger than the first"),
    "12.2 copies kept": ("12.2", pass_with_copies, "were still held"),
}
SAME |= {"12.2 copies kept"}
