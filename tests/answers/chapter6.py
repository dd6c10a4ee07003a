"""Right and wrong answers to the exercises of chapter 6, written as readers write them."""

from collections import Counter

import numpy as np
import torch

# ------------------------------------------------------------------------------------------ 6.1


def best_static(values, p):
    """By value, with counters and NumPy."""
    v, count = np.array(values), Counter(values)
    chances = np.array([[(1 - p) * (b == c) + p * count[c] / len(v) for c in count] for b in np.roll(v, 1)])
    return chances.max(1).mean()


def most(values):
    return Counter(values).most_common(1)[0][1] / len(values)


def loop(values, p, before=-1, others=False, wrap=True, looks=None, mean=True):
    looks = p if looks is None else looks
    total = 0.0
    for i in range(len(values)):
        rest = values[:i] + values[i + 1 :] if others else values
        best = 0.0
        for c in range(max(values) + 1):
            place = (i + before) % len(values) if wrap else i + before
            right = (1 - looks) * (place >= 0 and values[place] == c)
            best = max(best, right + looks * rest.count(c) / len(rest))
        total += best
    return total / len(values) if mean else total


def always(choose):
    """The share of right answers of a layer that answers choose(values, i)."""

    def answer(values, p):
        found = []
        for i in range(len(values)):
            c = choose(values, i)
            found.append((1 - p) * float(values[i - 1] == c) + p * values.count(c) / len(values))
        return np.mean(found)

    return answer


# ------------------------------------------------------------------------------------------ 6.2


def kind(weights, n, d):
    """By derivatives of each row, taken as differences, in NumPy."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    A = np.asarray(weights(torch.tensor(x)))
    moved = np.zeros((n, n), dtype=bool)
    for j in range(n):
        for _ in range(3):
            y = x.copy()
            y[j] = rng.normal(size=d)
            moved[:, j] |= np.abs(np.asarray(weights(torch.tensor(y))) - A).max(1) > 1e-9
    if not moved.any():
        return "static"
    return "pairs" if (moved & ~np.eye(n, dtype=bool)).any() else "own"


def one_token(weights, n, d):
    """Changes token 0, and looks whether other rows move: misses what only looks at others."""
    x = torch.randn(n, d, dtype=torch.float64)
    y = x.clone()
    y[-1] = torch.randn(d, dtype=torch.float64)
    A, B = weights(x), weights(y)
    if torch.equal(A, B):
        return "static"
    return "pairs" if (A[:-1] != B[:-1]).any() else "own"


def first_row(weights, n, d):
    """Looks at the first row alone."""
    x, other = torch.randn(2, n, d, dtype=torch.float64)
    if torch.equal(weights(x)[0], weights(other)[0]):
        return "static"
    other[0] = x[0]
    return "own" if torch.equal(weights(x)[0], weights(other)[0]) else "pairs"


def only_whether(weights, n, d):
    x, other = torch.randn(2, n, d)
    return "static" if torch.equal(weights(x), weights(other)) else "pairs"


def negative(weights, n, d):
    return "static" if (weights(torch.randn(n, d)) < 0).any() else "pairs"


# ------------------------------------------------------------------------------------------ 6.3


def layer(bias=10.0, query=8, key=0, sharp=20.0, shift=-1, numpy=True):
    W_Q, W_K = np.zeros((2, 8, 24))
    W_Q[:, query : query + 8] = sharp * np.eye(8)
    W_K[:, key : key + 8] = sharp * np.eye(8)
    places = bias * np.roll(np.eye(12), shift, axis=1)
    return (W_Q, W_K, places) if numpy else tuple(map(torch.tensor, (W_Q, W_K, places)))


# ------------------------------------------------------------------------------------------ 6.4


def rising(base):
    return np.tile(base ** np.arange(10.0), (10, 1))


RIGHT = {
    "6.1, NumPy": ("6.1", best_static),
    "6.1, loops": ("6.1", loop),
    "6.1, the one after, who is as often right": ("6.1", lambda v, p: loop(v, p, before=1)),
    "6.2, each token": ("6.2", kind),
    "6.3": ("6.3", layer),
    "6.3, tensors": ("6.3", lambda: layer(numpy=False)),
    "6.3, one sharp matrix": ("6.3", lambda: (layer(sharp=1)[0], 300 * layer(sharp=1)[1], layer()[2])),
    "6.4, tens": ("6.4", rising(10)),
    "6.4, the largest base that is needed": ("6.4", lambda: rising(2)),
    "6.4, a base a row": ("6.4", lambda: np.stack([(i + 2.0) ** np.arange(10) for i in range(10)])),
}

WRONG = {
    "6.1, sees who looks": ("6.1", lambda v, p: 1 - p + p * most(v), "sees who looks"),
    "6.1, always the one before": (
        "6.1",
        always(lambda v, i: v[i - 1]),
        "always answers with the token before",
    ),
    "6.1, always the majority": (
        "6.1",
        always(lambda v, i: Counter(v).most_common(1)[0][0]),
        "most frequent",
    ),
    "6.1, not itself": ("6.1", lambda v, p: loop(v, p, others=True), "itself"),
    "6.1, nothing before the first": ("6.1", lambda v, p: loop(v, p, wrap=False), "after the last"),
    "6.1, p turned over": ("6.1", lambda v, p: loop(v, p, looks=1 - p), "LOOK"),
    "6.1, sum": ("6.1", lambda v, p: loop(v, p, mean=False), "sum"),
    "6.1, no maximum": ("6.1", lambda v, p: 1 - p, "differ"),
    "6.1, a row": ("6.1", lambda v, p: torch.ones(len(v)), "shape"),
    "6.2, always static": ("6.2", lambda weights, n, d: "static", "made from the own token"),
    "6.2, always own": ("6.2", lambda weights, n, d: "own", "stored"),
    "6.2, pairs where it is not static": ("6.2", only_whether, "made from the own token"),
    "6.2, by the sign": ("6.2", negative, "stored"),
    "6.2, the first row": ("6.2", first_row, "last row alone is computed, from its own token"),
    "6.2, one token": ("6.2", one_token, "first row alone is computed, from its own token"),
    "6.2, another word": ("6.2", lambda weights, n, d: "dynamic", "three words"),
    "6.2, a batch": ("6.2", lambda weights, n, d: weights(torch.randn(2, n, d)), "asks for the weights of"),
    "6.3, no bias": ("6.3", lambda: layer(bias=0), "what does the bias say"),
    "6.3, weak bias": ("6.3", lambda: layer(bias=2), "make W_places larger"),
    "6.3, transposed bias": ("6.3", lambda: layer(shift=1), "transposed"),
    "6.3, own place": ("6.3", lambda: layer(shift=0), "read themselves"),
    "6.3, too strong a bias": ("6.3", lambda: layer(bias=1000), "stronger than the comparison"),
    "6.3, exchanged": ("6.3", lambda: layer(query=0, key=8), "one that looks for IT"),
    "6.3, names with names": ("6.3", lambda: layer(query=0, key=0), "query and key are made"),
    "6.3, weak comparison": ("6.3", lambda: layer(sharp=5, bias=5), "make W_Q or W_K larger"),
    "6.3, values": ("6.3", lambda: layer(key=16), "which features"),
    "6.3, two": ("6.3", lambda: layer()[:2], "three matrices"),
    "6.3, shapes": ("6.3", lambda: [W.T for W in layer()], "shapes"),
    "6.4, transposed": ("6.4", rising(2).T, "transposed"),
    "6.4, the first": ("6.4", rising(0.5), "FIRST"),
    "6.4, alike": ("6.4", np.ones((10, 10)), "most frequent"),
    "6.4, the last place": ("6.4", np.eye(10)[[9] * 10], "empty"),
    "6.4, too slow": ("6.4", rising(1.2), "outvote"),
    "6.4, the place before": ("6.4", np.eye(10, k=-1), "of the rows"),
    "6.4, one row": ("6.4", rising(2)[0], "shape"),
    "6.4, overflow": ("6.4", np.full((10, 10), np.inf), "finite"),
}

SAME = {
    "6.2, always static",
    "6.2, pairs where it is not static",
    "6.2, always own",
    "6.2, by the sign",
}
