"""Right and wrong answers to the exercises of chapter 5, written as readers write them."""

import itertools

import numpy as np
import torch


def superposition(
    A, start=None, transposed=False, moving=False, first=None, differences=False, exchanged=False
):
    """The networks as an array, filled in place; with one thing turned wrong."""
    A = np.asarray(A)
    n = len(A)
    W = np.tile(np.eye(n) if start is None else start(n), (n * (n - 1) + 1, 1, 1))
    c, k = np.zeros(len(W)), 0
    for i, j in itertools.product(range(n), range(n)):
        if W[0, i, j] == 0:
            k += 1
            W[k, i] = np.eye(n)[j]
            c[k] = A[j, i] if transposed else A[i, j]
            if differences:
                W[k] -= W[0]
    c[0] = 1 - c[1:].sum() if first is None else first
    if moving:
        order = np.argsort(c[1:]) + 1
        W[1:], c[1:] = W[order], c[order]
    return (W, c) if exchanged else (c, W)


def mixture(A):
    """The same greedy mixture with plain lists, taking any place that has something left."""
    left = [[float(a) for a in row] for row in A]
    shares, routings = [], []
    while min(map(sum, left)) > 1e-7:  # float32 rows add up to one as nearly as that
        places = [next(j for j, a in enumerate(row) if a > 1e-12) for row in left]
        share = min(row[j] for row, j in zip(left, places))
        for row, j in zip(left, places):
            row[j] -= share
        shares.append(share)
        routings.append(places)
    return np.array(shares), np.array(routings)


def every_routing(A):
    n = len(A)
    routings = list(itertools.product(range(n), repeat=n))
    return torch.stack([torch.stack([A[i, j] for i, j in enumerate(r)]).prod() for r in routings]), routings


def spoiled(change):
    """The right mixture, with something done to it."""

    def answer(A):
        return change(*map(torch.tensor, mixture(A)))

    return answer


def by_columns(A):
    """The signed superposition, called a mixture."""
    n = len(A)
    shares, routings = [], []
    for i, j in itertools.product(range(n), range(n - 1)):
        routing = [n - 1] * n
        routing[i] = j
        shares.append(A[i, j])
        routings.append(routing)
    return torch.stack([1 - sum(shares), *shares]), torch.tensor([[n - 1] * n, *routings])


ORDERS = list(itertools.permutations(range(4)))


def bank(groups):
    """The mean of each group of orders."""
    return np.stack([np.mean([np.eye(4)[list(order)] for order in group], axis=0) for group in groups])


def split(first=3, pieces=(2, 1, 2, 1)):
    """Fix where token `first` reads from; split the groups of six, two and four."""
    groups = []
    for place, count in enumerate(pieces):
        group = [order for order in ORDERS if order[first] == place]
        if count == 1:
            groups.append(group)
        else:
            other = next(row for row in range(4) if row != first)
            apart = group[0][other]
            groups.append([order for order in group if order[other] == apart])
            groups.append([order for order in group if order[other] != apart])
    return groups


RIGHT = {
    "5.1, formula": ("5.1", lambda n, d_k: n * n - max(0, n - d_k) ** 2),
    "5.2, NumPy": ("5.2", superposition),
    "5.3, plain lists": ("5.3", mixture),
    "5.3, with nothing shares": (
        "5.3",
        spoiled(lambda s, r: (torch.cat([s, s[:0]]) + 0, r.tolist())),
    ),
    "5.4, other row, other groups": ("5.4", lambda: bank(split())),
    "5.4, one group in three": (
        "5.4",
        lambda: bank(
            split(first=0, pieces=(1, 1, 1, 1))[:3]
            + [[o for o in ORDERS if o[0] == 3 and o[1] == place] for place in (0, 1, 2)]
        ),
    ),
}

WRONG = {
    "5.1, chapter's D": ("5.1", lambda n, d_k: min(d_k, n - 1) * (2 * n - 1 - min(d_k, n - 1)), "chapter's D"),
    "5.1, no limit": ("5.1", lambda n, d_k: 2 * n * d_k - d_k**2, "narrow heads only"),
    "5.1, queries and keys": ("5.1", lambda n, d_k: 2 * n * d_k, "numbers in queries and keys"),
    "5.1, all": ("5.1", lambda n, d_k: n**2, "didn't limit"),
    "5.1, limit n - 1": ("5.1", lambda n, d_k: min(d_k, n - 1) * (2 * n - min(d_k, n - 1)), "not n - 1"),
    "5.2, all from the last": (
        "5.2",
        lambda A: superposition(A, start=lambda n: np.eye(n)[[n - 1] * n]),
        "as in the chapter",
    ),
    "5.2, shift first": ("5.2", lambda A: superposition(A, start=lambda n: np.roll(np.eye(n), 1, 0)), "must be the identity"),
    "5.2, transposed": ("5.2", lambda A: superposition(A, transposed=True), "transpose"),
    "5.2, networks from A": ("5.2", lambda A: superposition(A, moving=True), "change with A"),
    "5.2, first coefficient": ("5.2", lambda A: superposition(A, first=1.0), "add up to"),
    "5.2, differences": ("5.2", lambda A: superposition(A, differences=True, first=1.0), "differences of networks"),
    "5.2, exchanged": ("5.2", lambda A: superposition(A, exchanged=True), "changed places"),
    "5.2, one tensor": ("5.2", lambda A: superposition(A)[1], "two tensors"),
    "5.2, shapes": ("5.2", lambda A: (A.flatten(), torch.eye(len(A))), "shape"),
    "5.2, mixed up": ("5.2", lambda A: (np.roll(superposition(A)[0], 1), superposition(A)[1]), "differs from A"),
    "5.3, all routings": ("5.3", every_routing, "claim 5.10"),
    "5.3, twice as many": ("5.3", spoiled(lambda s, r: (torch.cat([s, s]) / 2, torch.cat([r, r]))), "at most"),
    "5.3, signed": ("5.3", by_columns, "none is negative"),
    "5.3, not 1": ("5.3", spoiled(lambda s, r: (2 * s, r)), "add up to"),
    "5.3, last left out": ("5.3", spoiled(lambda s, r: (s[:-1] / s[:-1].sum(), r[:-1])), "differs from A"),
    "5.3, places from 1": ("5.3", spoiled(lambda s, r: (s, r + 1)), "places from 0"),
    "5.3, transposed": ("5.3", lambda A: mixture(A.T / A.T.sum(1, keepdim=True)), "differs from A"),
    "5.3, matrices": (
        "5.3",
        spoiled(lambda s, r: (s, torch.eye(r.shape[1])[r])),
        "got shapes",
    ),
    "5.4, six orders": ("5.4", lambda: bank([[order] for order in ORDERS[:6]]), "right for one order"),
    "5.4, four and two idle": ("5.4", lambda: np.concatenate([bank(split(pieces=(1, 1, 1, 1))), bank([ORDERS, ORDERS])]), "ever the nearest"),
    "5.4, not the mean": ("5.4", lambda: 0.8 * bank(split()), "not the mean"),
    "5.4, in order": ("5.4", lambda: bank([ORDERS[i : i + 4] for i in range(0, 24, 4)]), "less than 0.6"),
    "5.4, five": ("5.4", lambda: bank(split(pieces=(2, 1, 1, 1))), "shape"),
}  # fmt: skip

SAME = {"5.3, last left out", "5.3, transposed"}
