"""Wrong answers that were called right once, or told something that wasn't so: off by one at an end, a special value that marks
what is left out, names of which a number is not compared, a start that is not far enough away, and others that readers found."""

import math

import numpy as np
import torch


def rowwise(logits, mask, v):
    return logits.masked_fill(mask, -torch.inf).softmax(-1) @ v


def scaled(q, k):
    return q @ k.T / q.shape[1] ** 0.5


def marked(q, k, v, mask):
    """A logit of 0 marks what is hidden."""
    s = (q @ k.T) * mask
    s[s == 0] = -torch.inf
    return (s / q.shape[1] ** 0.5).softmax(1) @ v


def circle(by, around=lambda n: 2 * math.pi * torch.arange(n, dtype=torch.float64) / n):
    def answer(n):
        angle = around(n)
        k = torch.stack([angle.cos(), angle.sin()], 1)
        return 2 * n**2 * k.roll(by, 0), k

    return answer


def closed(n):
    return torch.linspace(0, 2 * math.pi, n, dtype=torch.float64)


def without_keepdim(x, W_Q, W_K):
    e = scaled(x @ W_Q.T, x @ W_K.T).exp()
    return e / e.sum(1)


def compared(numbers):
    def answer():
        W_Q, W_K = torch.zeros(8, 20), torch.zeros(8, 20)
        for i in numbers:
            W_Q[i, i] = W_K[i, 8 + i] = 10
        return W_Q, W_K

    return answer


def heads(x, W_Q, W_K, W_V, W_O, n_heads, weigh):
    q, k, v = ((x @ W.T).unflatten(-1, (n_heads, -1)).transpose(0, 1) for W in (W_Q, W_K, W_V))
    A = weigh(q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    return (A @ v).transpose(0, 1).flatten(1) @ W_O.T


def marked_heads(*arguments):
    *arguments, mask = arguments
    return heads(*arguments, lambda s: (s * mask).masked_fill(s * mask == 0, -torch.inf))


def causal_heads(*arguments):
    *arguments, mask = arguments
    return heads(*arguments, lambda s: s.masked_fill(torch.ones_like(mask).triu(1), -torch.inf))


def seven_of_a_name():
    one, zero = torch.eye(8), torch.zeros(8, 8)
    one[7] = 0
    W_V = torch.cat([torch.cat([zero, torch.eye(8)], 1)] * 2)
    return 200 * torch.eye(16), torch.cat([torch.cat([one, zero], 1)] * 2), W_V, torch.eye(16)


def kind(rows, changed=lambda x, i: torch.randn_like(x), still=torch.randn_like):
    """Looks at some rows only, or makes less of a change."""

    def answer(weights, n, d):
        x = torch.randn(n, d, dtype=torch.float64)
        if torch.allclose(weights(x), weights(still(x))):
            return "static"
        for i in rows(n):
            other = changed(x, i)
            other[i] = x[i]
            if not torch.allclose(weights(other)[i], weights(x)[i]):
                return "pairs"
        return "own"

    return answer


def next_changed(x, i):
    other = x.clone()
    other[(i + 1) % len(x)] += 1
    return other


def others_reversed(x, i):
    others = [j for j in range(len(x)) if j != i]
    return x.index_copy(0, torch.tensor(others), x[others[::-1]])


def layer(numbers=range(8), places=range(12)):
    def answer():
        W_Q, W_K, W_places = torch.zeros(8, 24), torch.zeros(8, 24), torch.zeros(12, 12)
        for i in numbers:
            W_Q[i, 8 + i] = W_K[i, i] = 20
        for i in places:
            W_places[i, i - 1] = 8
        return W_Q, W_K, W_places

    return answer


def powers(place, weight):
    W = 2.0 ** torch.arange(10)
    W[place] = weight
    return W.expand(10, 10)


def blind_but(*kept):
    """Shuffles all tokens but these."""

    def answer(f):
        x, others = torch.randn(7, 3, dtype=torch.float64), [i for i in range(7) if i not in kept]
        for _ in range(20):
            order = torch.arange(7)
            order[others] = torch.tensor(others)[torch.randperm(len(others))]
            if not torch.allclose(f(x[order]), f(x)[order]):
                return False
        return True

    return answer


def floor_from_minus_one(T):
    low, high = torch.full_like(T[:, :1], -1.0), T.amax(1, keepdim=True)
    for _ in range(100):
        middle = (low + high) / 2
        over = (T - middle).clamp(min=0).sum(1, keepdim=True) > 1
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    return ((T - middle).clamp(min=0) - T).square().sum() / T.square().sum()


def age(q):
    return (torch.arange(len(q))[:, None] - torch.arange(len(q))).double()


def followers(text, count, until=1):
    """In a loop that ends so many places before the end."""
    counts = torch.zeros(count, dtype=torch.float64)
    for i in range(len(text) - until):
        if text[i] == text[-1]:
            counts[text[i + 1]] += 1
    return counts


def share_of(counts):
    return counts / counts.sum()


def marked_chances(scores, temperature, k):
    best = scores.topk(k)
    kept = torch.zeros_like(scores).scatter(0, best.indices, best.values / temperature)
    return kept.masked_fill(kept == 0, -torch.inf).softmax(0)


def of_each(x, group, correction):
    rows = [x[group == g] for g in group.unique()]
    return (
        1
        - sum(r.var(0, correction=correction).sum() for r in rows)
        / len(rows)
        / x.var(0, correction=correction).sum()
    )


def explained(x, group, add=lambda sum, one: sum + one):
    within = 0
    for g in group.unique():
        within = add(within, (x[group == g] - x[group == g].mean(0)).square().sum())
    return 1 - within / (x - x.mean(0)).square().sum()


def told_by_group(x, group, test):
    middles = torch.stack([x[(group == g) & ~test].mean(0) for g in group.unique()])
    hits = (torch.cdist(x[test], middles).argmin(1) == group[test]).double()
    return torch.stack([hits[group[test] == g].mean() for g in group.unique()]).mean()


def one_pass(start):
    def answer(stream):
        largest, total, output = start, 0.0, 0.0
        for logit, value in stream:
            new = max(largest, logit)
            keep, weight = math.exp(largest - new), math.exp(logit - new)
            total, output, largest = keep * total + weight, keep * output + weight * value, new
        return output / total

    return answer


def growing(stream):
    logits, values = [], torch.zeros(0, 3, dtype=torch.float64)
    for logit, value in stream:
        logits.append(logit)
        values = torch.cat([values, torch.as_tensor(value)[None]])
    return torch.tensor(logits, dtype=torch.float64).softmax(0) @ values


def one_largest(first, second):
    (m1, s1, o1), (m2, s2, o2) = first, second
    m = max(m1.max(), m2.max())
    f1, f2 = (m1 - m).exp(), (m2 - m).exp()
    return (f1[:, None] * o1 + f2[:, None] * o2) / (f1 * s1 + f2 * s2)[:, None]


def step(last):
    def answer(x, cache, W_Q, W_K, W_V):
        K, V = cache or (x.new_zeros(0, len(x)), x.new_zeros(0, len(x)))
        K, V = torch.cat([K, (W_K @ x)[None]])[-last:], torch.cat([V, (W_V @ x)[None]])[-last:]
        return (K @ (W_Q @ x) / len(x) ** 0.5).softmax(0) @ V, (K, V)

    return answer


def step_without_products(x, cache, W_Q, W_K, W_V):
    """All keys and values once more, entry by entry."""
    X = x[None] if cache is None else torch.cat([cache, x[None]])
    K, V = ((X[:, None] * W).sum(-1) for W in (W_K, W_V))
    return (K @ (W_Q @ x) / len(x) ** 0.5).softmax(0) @ V, X


def deals(make, reached=lambda s, m: s >= m):
    return lambda m, s: make(reached(s, m).sum().double(), len(s))


def going_on(stream):
    """Starts with `next`, and goes on with `for`, which finds nothing where there is one pair alone."""
    largest, output = next(stream)
    total = 1.0
    for logit, value in stream:
        new = max(largest, logit)
        total = total * math.exp(largest - new) + math.exp(logit - new)
        output = output * math.exp(largest - new) + value * math.exp(logit - new)
        largest = new
    return output / total


def twice_with_floats(stream):
    top = max(logit for logit, _ in stream)
    total, output = 0.0, 0.0
    for logit, value in stream:
        total, output = total + math.exp(logit - top), output + math.exp(logit - top) * value
    return output / total


def coarse(stream):
    """In float32, whose digits are too few for large logits."""
    whole, output = torch.tensor(-math.inf), 0.0
    for logit, value in stream:
        new = torch.logaddexp(whole, torch.tensor(logit, dtype=torch.float32))
        output = output * (whole - new).exp().double() + value * (logit - new).exp().double()
        whole = new
    return output


def by_hand(take=lambda W_V: W_V, write=lambda W_O: W_O, stack=tuple):
    """Two heads whose values or output are otherwise."""

    def answer():
        one, zero = torch.eye(8), torch.zeros(8, 8)
        W_K, W_V = torch.cat([torch.cat([one, zero], 1)] * 2), torch.cat([torch.cat([zero, one], 1)] * 2)
        return stack((200 * torch.eye(16), W_K, take(W_V), write(torch.eye(16))))

    return answer


def cached(
    twice=False,
    returned=lambda y, cache, old: (y, cache),
    weigh=lambda s: s.softmax(0),
    first=1,
    swapped=False,
):
    """A step of the next token; a cache of pairs that is used or handed on otherwise."""

    def answer(x, cache, W_Q, W_K, W_V):
        old = cache
        pair = (W_K @ (x if not twice else x + 0), W_V @ x)
        if twice:
            W_K @ x
        pairs = cache + [pair] if cache else [pair] * first
        K, V = (torch.stack(part) for part in zip(*pairs))
        if swapped:
            K, V = V, K
        if not cache and first > 1:
            return V[0], pairs
        return returned(weigh(K @ (W_Q @ x) / len(x) ** 0.5) @ V, pairs, old)

    return answer


def wrapped(text, count):
    counts = torch.ones(count, dtype=torch.float64)
    for i in range(len(text)):
        if text[i - 1] == text[-1]:
            counts[text[i]] += 1
    return share_of(counts)


def in_twos(text, count):
    return share_of(1 + 2 * followers(text, count))


def chances(keep, heat=lambda s, T: s / T, last=lambda p, T: p / p.sum()):
    return lambda scores, temperature, k: last(
        heat(scores, temperature).softmax(0) * keep(scores, k), temperature
    )


def best(scores, k):
    return torch.zeros_like(scores).index_fill(0, scores.topk(min(k, len(scores))).indices, 1.0)


def share(part=lambda n, d: 2 * n * n * d, of=lambda part, whole: part / whole):
    return lambda n, d, h: of(part(n, d), 2 * n * n * d + 4 * n * d * d + 3 * n * d * h)


def multi_head_transposed(*arguments):
    *arguments, mask = arguments
    return heads(*arguments, lambda s: s.masked_fill(~mask.T, -torch.inf))


def token_or_counts(values, p):
    m = max(map(values.count, values)) / len(values)
    return max(1 - p, p * m)


def reshaped(x, y):
    X, Y = (a.reshape(a.shape[1], -1) for a in (x, y))
    return Y @ X.T @ torch.linalg.inv(X @ X.T)


RIGHT = {
    "12.2 next, then for": ("12.2", going_on),
    "4.4 stacked": ("4.4", by_hand(stack=torch.stack)),
    "4.4 small": ("4.4", by_hand(write=lambda W_O: W_O / 100)),
    "4.4 large": ("4.4", by_hand(write=lambda W_O: W_O * 1000)),
    "6.4 nothing for places that are never the last": ("6.4", powers([0, 1], 0.0)),
    "10.3 mean of all": ("10.3", deals(lambda count, R: (count + 1) / (R + 1))),
    "12.2 in rows": ("12.2", lambda stream: one_pass(-math.inf)((g, value[None]) for g, value in stream)[0]),
}  # fmt: skip

WRONG = {
    "1.1 no wrap": ("1.1", np.eye(5, k=-2), "read nothing"),
    "1.1 ragged": ("1.1", [[0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [1]], "equally many"),
    "1.2 reshape alone": ("1.2", reshaped, "doesn't swap axes"),
    "1.2 no inverse": ("1.2", lambda x, y: torch.einsum("snd,smd->nm", y, x), "the inverse is missing"),
    "1.3 mean of all": ("1.3", lambda P: (P - P.mean(0)).square().mean(), "divided by n twice"),
    "1.3 of their number": ("1.3", lambda P: 1 - 1 / len(P), "no two routings"),
    "1.3 root": ("1.3", lambda P: ((P - P.mean(0)).square().sum((1, 2)).mean() / P.shape[-1]).sqrt(), "the root of the floor"),
    "4.1 square W_O": ("4.1", lambda D, H, d, n: (3 * D * H * d + D * D, H * n * n), "W_O is counted as"),
    "4.2 transposed mask": ("4.2", multi_head_transposed, "the mask is transposed"),
    "4.4 mixed": ("4.4", by_hand(write=lambda W_O: W_O + 0.9 * W_O.roll(8, 0)), "something else beside them"),
    "4.4 a little of the other": ("4.4", by_hand(write=lambda W_O: W_O + 0.2 * W_O.roll(8, 0)), "something else beside them"),
    "4.4 half the name": ("4.4", by_hand(take=lambda W_V: W_V + W_V.roll(8, 1) / 2), "something else beside them"),
    "6.1 the better of two": ("6.1", token_or_counts, "the better of two chances"),
    "8.2 around the end": ("8.2", wrapped, "as if it had followed the last one"),
    "8.2 in twos": ("8.2", in_twos, "or each letter counts twice"),
    "8.3 twice": ("8.3", lambda d, eta: (2 * eta * torch.eye(d + 1).index_fill(0, torch.tensor([d]), 0.0), torch.eye(d + 1)[d]), "twice as long"),
    "9.2 no MLP": ("9.2", lambda x, a, m, one, two: x + a(one(x)), "the MLP is missing"),
    "9.2 no attention": ("9.2", lambda x, a, m, one, two: x + m(two(x)), "attention is missing"),
    "9.2 MLP of the answer": ("9.2", lambda x, a, m, one, two: (y := a(one(x))) + x + m(two(y)), "should read the sum"),
    "9.2 MLP of the answer alone": ("9.2", lambda x, a, m, one, two: x + m(two(a(one(x)))), "its answer is added to x"),
    "9.4 too late": ("9.4", chances(best, lambda s, T: s, lambda p, T: p / T / (p / T).sum()), "or only after the softmax"),
    "9.4 one more": ("9.4", chances(lambda s, k: best(s, k + 1)), "one too many"),
    "12.1 one product of two": ("12.1", share(lambda n, d: n * n * d), "above the line"),
    "12.1 percent": ("12.1", share(of=lambda part, whole: 100 * part / whole), "in percent"),
    "12.1 rounded": ("12.1", share(of=lambda part, whole: part // whole), "rounds it down"),
    "12.2 twice": ("12.2", twice_with_floats, "a second time"),
    "12.2 float32": ("12.2", coarse, "digits are rounded off"),
    "12.4 twice in a step": ("12.4", cached(twice=True), "in one step"),
    "12.4 changed places": ("12.4", cached(returned=lambda y, cache, old: (cache, y)), "the output comes first"),
    "12.4 not updated": ("12.4", cached(returned=lambda y, cache, old: (y, old or cache)), "never more than the first one's"),
    "12.4 first twice": ("12.4", cached(first=2), "the first token counts twice"),
    "12.4 keys and values": ("12.4", cached(swapped=True), "keys and values have changed places"),
    "12.4 logits": ("12.4", cached(weigh=lambda s: s), "there is no softmax"),
    "12.4 exponentials": ("12.4", cached(weigh=torch.exp), "weights must add up to 1"),
    "1.3 each routing once": ("1.3", lambda P: (P.unique(dim=0) - P.unique(dim=0).mean(0)).square().sum((1, 2)).mean() / P.shape[-1], "is there twice"),
    "1.4 odd and homogeneous": ("1.4", lambda f: (x := torch.randn(5, dtype=torch.float64)) is not None and torch.allclose(f(-x), -f(x)) and torch.allclose(f(2 * x), 2 * f(x)), "cuts off what is larger"),
    "2.1 root of 2": ("2.1", lambda q, k, v: (q @ k.T / 2**0.5).softmax(1) @ v, "the root of 2, whatever the width"),
    "2.1 weights": ("2.1", lambda q, k, v: scaled(q, k).softmax(1), "these are the weights"),
    "2.2 weights": ("2.2", lambda q, k, v, mask: scaled(q, k).masked_fill(~mask, -torch.inf).softmax(1), "these are the weights"),
    "2.2 zero as a marker": ("2.2", marked, "may be read is 0"),
    "2.2 causal": ("2.2", lambda q, k, v, mask: rowwise(scaled(q, k), torch.ones_like(mask).triu(1), v), "a causal mask stands"),
    "2.2 inverted": ("2.2", lambda q, k, v, mask: rowwise(scaled(q, k), mask, v), "inverted mask"),
    "2.2 inverted, 1e9": ("2.2", lambda q, k, v, mask: scaled(q, k).masked_fill(mask, -1e9).softmax(1) @ v, "inverted mask"),
    "2.3 closed circle": ("2.3", circle(1, closed), "coincide"),
    "2.3 after": ("2.3", circle(-1), "reads the one AFTER it; it should"),
    "2.3 ties": ("2.3", lambda n: (circle(1)(n)[0] + circle(2)(n)[0], circle(1)(n)[1]), "share the largest weight"),
    "3.1 no keepdim": ("3.1", without_keepdim, "sum with keepdim=True"),
    "3.1 number of tokens": ("3.1", lambda x, W_Q, W_K: ((x @ W_Q.T) @ (x @ W_K.T).T / len(x)).softmax(1), "scaled by the number of tokens"),
    "3.1 root of their number": ("3.1", lambda x, W_Q, W_K: ((x @ W_Q.T) @ (x @ W_K.T).T / len(x) ** 0.5).softmax(1), "scaled by the root of the number"),
    "3.3 without the last": ("3.3", compared(range(7)), "is every number of a name compared"),
    "3.3 without the first": ("3.3", compared(range(1, 8)), "is every number of a name compared"),
    "3.3 five": ("3.3", compared(range(5)), "is every number of a name compared"),
    "3.3 four": ("3.3", compared(range(4)), "of the tokens read the one that wants them, and not all"),
    "4.2 zero as a marker": ("4.2", marked_heads, "may be read is 0"),
    "4.2 causal": ("4.2", causal_heads, "a causal mask stands"),
    "4.4 seven numbers": ("4.4", seven_of_a_name, "but not all: is every number"),
    "6.2 all rows but the first": ("6.2", kind(lambda n: range(1, n)), "first row alone is computed, from another token"),
    "6.2 all rows but the last": ("6.2", kind(lambda n: range(n - 1)), "last row alone is computed, from another token"),
    "6.2 the first and the last": ("6.2", kind(lambda n: (0, n - 1)), "in the middle"),
    "6.2 lengths": ("6.2", kind(range, lambda x, i: 2 * x, lambda x: 2 * x), "directions of tokens"),
    "6.2 the next token": ("6.2", kind(range, next_changed), "first row alone is computed, from another token"),
    "6.2 other orders": ("6.2", kind(range, others_reversed), "the mean of all tokens"),
    "6.3 seven numbers": ("6.3", layer(range(7)), "is every number of a name"),
    "6.3 the first from nowhere": ("6.3", layer(places=range(1, 12)), "at place 0 they give"),
    "6.4 a tie at the end": ("6.4", powers(9, 511.0), "outvote"),
    "6.4 not enough": ("6.4", powers(6, 60.0), "outvote"),
    "7.2 all but the first": ("7.2", blind_but(0), "adds the first token"),
    "7.2 all but the last": ("7.2", blind_but(6), "adds the last token"),
    "7.3 from -1": ("7.3", floor_from_minus_one, "far below zero"),
    "8.1 negative powers": ("8.1", lambda q, k, f: q @ k.T * f ** age(q), "with negative powers of f"),
    "8.1 no mask": ("8.1", lambda q, k, f: q @ k.T * f ** age(q).clamp(min=0), "as if these hadn't faded"),
    "8.1 products": ("8.1", lambda q, k, f: q @ k.T, "the products of all queries"),
    "8.1 what is lost": ("8.1", lambda q, k, f: (q @ k.T * (1 - f) ** age(q).clamp(min=0)).tril(), "the part f is kept"),
    "8.1 once": ("8.1", lambda q, k, f: (q @ k.T * torch.where(age(q) > 0, f, 1.0)).tril(), "again and again"),
    "8.1 all once": ("8.1", lambda q, k, f: (q @ k.T * f).tril(), "everything fades once"),
    "8.2 last pair": ("8.2", lambda text, count: share_of(followers(text, count, 2) + 1), "the same letter twice"),
    "8.2 last pair, in one line": ("8.2", lambda text, count: share_of(torch.bincount(text[1:-1][text[:-2] == text[-1]], minlength=count) + 1.0), "the same letter twice"),
    "8.2 frequencies": ("8.2", lambda text, count: share_of(torch.bincount(text, minlength=count).double()), "shares of all letters"),
    "8.2 counts alone": ("8.2", followers, "to each of which one"),
    "8.2 softmax": ("8.2", lambda text, count: followers(text, count).softmax(0), "a softmax of the counts"),
    "8.3 by chance": ("8.3", lambda d, eta: (torch.randn(d + 1, d + 1), torch.randn(d + 1)), "which numbers should be compared"),
    "9.4 zero as a marker": ("9.4", marked_chances, "may be drawn is 0"),
    "10.2 variances of each": ("10.2", lambda x, g: of_each(x, g, 0), "within groups are averaged with"),
    "10.2 torch's variances of each": ("10.2", lambda x, g: of_each(x, g, 1), "less than their rows, are averaged"),
    "10.2 torch's variance of means": ("10.2", lambda x, g: torch.stack([x[g == h].mean(0) for h in g.unique()]).var(0).sum() / x.var(0).sum(), "each over one less than their number"),
    "10.2 the last": ("10.2", lambda x, g: explained(x, g, lambda sum, one: one), "only the last group"),
    "10.2 percent": ("10.2", lambda x, g: 100 * explained(x, g), "in percent"),
    "10.2 columns": ("10.2", lambda x, g: sum(explained(column[:, None], g) for column in x.T), "the sum of the columns' shares"),
    "10.3 one minus it": ("10.3", deals(lambda count, R: 1 - (1 + count) / (1 + R)), "one minus the p value"),
    "10.3 no brackets": ("10.3", deals(lambda count, R: 1 + count / 1 + R), "the number of deals is added"),
    "10.3 no brackets above": ("10.3", deals(lambda count, R: 1 + count / (1 + R)), "brackets are missing above"),
    "10.3 a count": ("10.3", deals(lambda count, R: count), "a number of deals, not"),
    "10.3 a count, and itself": ("10.3", deals(lambda count, R: 1 + count), "the measured one among them"),
    "10.4 of each group": ("10.4", told_by_group, "the mean of the groups' shares"),
    "12.2 from -1000": ("12.2", one_pass(-1000.0), "about -1000000"),
    "12.2 grows": ("12.2", growing, "were still held"),
    "12.3 one for all queries": ("12.3", one_largest, "about 1000 apart"),
    "12.4 the last 16": ("12.4", step(16), "for short texts"),
    "12.4 without products": ("12.4", step_without_products, "again and again"),
}  # fmt: skip

SAME = {
    *("2.2 inverted", "2.2 inverted, 1e9", "2.2, inverted"),
    *("2.3 after", "2.3, changed places"),
    *("3.3 without the last", "3.3 without the first", "3.3 five"),
    *("6.2 the next token", "6.2 all rows but the first"),
    *("6.4 a tie at the end", "6.4 not enough", "6.4, too slow"),
    *("8.2 last pair", "8.2 last pair, in one line"),
    *("8.3 by chance", "8.3 ones"),
    *("1.1 no wrap", "1.1, tokens that fall off"),
    *("4.4 mixed", "4.4 a little of the other", "4.4 half the name"),
    *("8.2 a half", "8.2 in twos"),
    *("9.4 no temperature", "9.4 too late"),
    *("12.2 two passes", "12.2 twice"),
    *("12.2 grows", "12.2 kept", "12.2 kept beside", "12.2 copies kept"),
    *("12.4 without products", "12.4 all again"),
}
