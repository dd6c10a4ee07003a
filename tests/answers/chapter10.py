"""Right and wrong answers to the exercises of chapter 10, written as readers write them."""

import numpy as np
import torch
import torch.nn.functional as F

# ------------------------------------------------------------------------------- 10.1, weights within a word


def by_logs(A, start, stop):
    """The block as a softmax of logarithms, which needs no division."""
    return A.log()[..., start:stop, start:stop].softmax(-1)


def by_index(A, start, stop):
    places = torch.arange(start, stop)
    return F.normalize(A.index_select(-1, places).index_select(-2, places), p=1, dim=-1)


def word(A, start, stop, total=lambda block: block.sum(-1, keepdim=True), more=0):
    block = A[..., start : stop + more, start : stop + more]
    return block / total(block)


def one_axis_in_front(A, start, stop):
    """For one matrix, or for a list of them."""
    if A.dim() == 2:
        return word(A, start, stop)
    return torch.stack([word(matrix, start, stop) for matrix in A]).reshape(
        len(A), stop - start, stop - start
    )


# ------------------------------------------------------------------------------ 10.2, what the groups explain


def sums_of_squares(x, group):
    """In numpy and loops: squares within, squares between, all squares."""
    x, group = np.asarray(x), np.asarray(group)
    within = between = 0.0
    for g in set(group.tolist()):
        rows = x[group == g]
        within += ((rows - rows.mean(0)) ** 2).sum()
        between += len(rows) * ((rows.mean(0) - x.mean(0)) ** 2).sum()
    return within, between, ((x - x.mean(0)) ** 2).sum()


def by_variances(x, group):
    total = x.var(0, correction=0).sum() * len(x)
    parts = [x[group == g] for g in group.unique()]
    return 1 - sum(len(p) * p.var(0, correction=0).sum() for p in parts) / total


def share_by_torch(x, group):
    inside = sum((group == g).sum() * x[group == g].var(0).sum() for g in group.unique())
    return 1 - inside / (len(x) * x.var(0).sum())


def groups_from_0(x, group):
    """Counts the groups from 0 on; what has another number is in none."""
    within = 0.0
    for g in range(int(group.max()) + 1):
        if len(rows := x[group == g]):
            within += (rows - rows.mean(0)).square().sum()
    return 1 - within / (x - x.mean(0)).square().sum()


def means_of(x, group):
    return np.stack([np.asarray(x)[np.asarray(group) == g].mean(0) for g in np.unique(group)])


def share(make):
    return lambda x, group: float(make(*sums_of_squares(x, group), x.numpy(), group.numpy()))


# ------------------------------------------------------------------------------------------- 10.3, p value


def counted(better, above=1, below=1):
    return lambda measured, shuffled: (
        (above + sum(better(s, measured) for s in shuffled.tolist())) / (below + len(shuffled))
    )


def both_sides(measured, shuffled):
    middle = shuffled.mean()
    return (1 + sum(abs(s - middle) >= abs(measured - middle) for s in shuffled)) / (1 + len(shuffled))


# ------------------------------------------------------------------------------------- 10.4, nearest centroid


def nearest(
    learn=lambda test: ~test,
    ask=lambda test: test,
    centre=np.mean,
    score=None,
    end=lambda hits: np.mean(hits),
):
    """In numpy: centroids of some rows, asked about some rows."""
    score = score or (lambda row, middle: -((row - middle) ** 2).sum())

    def answer(x, group, test):
        x, group, test = x.numpy(), group.numpy(), test.numpy()
        groups = sorted(set(group.tolist()))
        middles = [centre(x[(group == g) & learn(test)], axis=0) for g in groups]
        hits = []
        for row, g in zip(x[ask(test)], group[ask(test)]):
            hits.append(groups[int(np.argmax([score(row, middle) for middle in middles]))] == g)
        return end(hits)

    return answer


def by_one_hot(x, group, test):
    members = F.one_hot(group[~test]).T.to(x.dtype)
    middles = members @ x[~test] / members.sum(1, keepdim=True)
    logits = x[test] @ middles.T - middles.square().sum(1) / 2
    return (logits.argmax(1) == group[test]).float().mean()


def neighbour(x, group, test):
    hits = 0
    for row, g in zip(x[test], group[test]):
        hits += bool(group[~test][(x[~test] - row).square().sum(1).argmin()] == g)
    return hits / int(test.sum())


def all_rows(test):
    return test | ~test


RIGHT = {
    "10.1 division": ("10.1", word),
    "10.1 logarithms": ("10.1", by_logs),
    "10.1 index": ("10.1", by_index),
    "10.2 within": ("10.2", share(lambda within, between, total, x, g: 1 - within / total)),
    "10.2 between": ("10.2", share(lambda within, between, total, x, g: between / total)),
    "10.2 variances": ("10.2", by_variances),
    "10.3 loop": ("10.3", counted(lambda s, m: s >= m)),
    "10.3 mean": ("10.3", lambda m, s: torch.cat([s, torch.tensor([m], dtype=s.dtype)]).ge(m).double().mean()),
    "10.4 loops": ("10.4", nearest()),
    "10.4 one-hot": ("10.4", by_one_hot),
}  # fmt: skip

WRONG = {
    "10.1 not divided": ("10.1", lambda A, a, b: A[..., a:b, a:b], "not divided by their sums"),
    "10.1 columns": ("10.1", lambda A, a, b: word(A, a, b, lambda block: block.sum(-2, keepdim=True)), "sums of the columns"),
    "10.1 whole": ("10.1", lambda A, a, b: word(A, a, b, lambda block: block.sum((-1, -2), keepdim=True)), "whole block"),
    "10.1 one more": ("10.1", lambda A, a, b: word(A, a, b, more=1), "the result has shape"),
    "10.1 softmax": ("10.1", lambda A, a, b: A[..., a:b, a:b].softmax(-1), "a softmax on top"),
    "10.1 by the rest": ("10.1", lambda A, a, b: word(A, a, b, lambda block: 1 - block.sum(-1, keepdim=True)), "to everything else"),
    "10.1 no keepdim": ("10.1", lambda A, a, b: word(A, a, b, lambda block: block.sum(-1)), "sum with keepdim=True"),
    "10.1 columns before": ("10.1", lambda A, a, b: A[..., a:b, :a] / A[..., a:b, :a].sum(-1, keepdim=True), "other columns"),
    "10.1 one axis in front": ("10.1", one_axis_in_front, "any number of axes"),
    "10.1 transposed": ("10.1", lambda A, a, b: word(A, a, b).mT, "transposed"),
    "10.1 rows only": ("10.1", lambda A, a, b: A[..., a:b, :], "the result has shape"),
    "10.1 squares": ("10.1", lambda A, a, b: word(A**2, a, b), "in no way that this check knows"),
    "10.2 within only": ("10.2", share(lambda w, b, t, x, g: w / t), "share WITHIN"),
    "10.2 no sizes": ("10.2", share(lambda w, b, t, x, g: ((means_of(x, g) - x.mean(0)) ** 2).sum() / t), "sizes of the groups are forgotten"),
    "10.2 variance of means": ("10.2", share(lambda w, b, t, x, g: means_of(x, g).var(0).sum() / x.var(0).sum()), "a large group must count for more"),
    "10.2 mean of means": ("10.2", share(lambda w, b, t, x, g: 1 - w / ((x - means_of(x, g).mean(0)) ** 2).sum()), "mean of the group means"),
    "10.2 from zero": ("10.2", share(lambda w, b, t, x, g: 1 - w / (x**2).sum()), "not from zero"),
    "10.2 between over within": ("10.2", share(lambda w, b, t, x, g: b / w), "between over within"),
    "10.2 column by column": ("10.2", lambda x, g: torch.stack([by_variances(x[:, [c]], g) for c in range(x.shape[1])]).mean(), "mean of the columns' shares"),
    "10.2 corrected": ("10.2", share(lambda w, b, t, x, g: 1 - w / (len(x) - len(set(g.tolist()))) * (len(x) - 1) / t), "corrected for chance"),
    "10.2 torch's variances": ("10.2", share_by_torch, "as torch's var is"),
    "10.2 names of groups": ("10.2", groups_from_0, "they are any integers"),
    "10.2 root": ("10.2", share(lambda w, b, t, x, g: (b / t) ** 0.5), "square root"),
    "10.2 of each column": ("10.2", lambda x, g: torch.stack([by_variances(x[:, [c]], g) for c in range(x.shape[1])]), "the result has shape"),
    "10.2 not finite": ("10.2", lambda x, g: torch.tensor(float("nan")), "not finite"),
    "10.2 squares": ("10.2", share(lambda w, b, t, x, g: b), "in no way that this check knows"),
    "10.3 without itself": ("10.3", counted(lambda s, m: s >= m, 0, 0), "isn't counted in, so that 0"),
    "10.3 above": ("10.3", counted(lambda s, m: s >= m, 1, 0), "above the line only"),
    "10.3 below": ("10.3", counted(lambda s, m: s >= m, 0, 1), "below the line only"),
    "10.3 ties": ("10.3", counted(lambda s, m: s > m), "ties are left out: "),
    "10.3 ties, itself": ("10.3", counted(lambda s, m: s > m, 0, 0), "ties are left out, and"),
    "10.3 smaller": ("10.3", counted(lambda s, m: s < m), "fall SHORT of the measured one"),
    "10.3 smaller, itself": ("10.3", counted(lambda s, m: s < m, 0, 0), "doesn't count that one in"),
    "10.3 both sides": ("10.3", both_sides, "both sides"),
    "10.3 at most": ("10.3", counted(lambda s, m: s <= m), "this counts those at most as large"),
    "10.3 far from 0": ("10.3", counted(lambda s, m: abs(s) >= abs(m)), "this counts those at least as far from 0"),
    "10.3 a number of shuffles": ("10.3", counted(lambda s, m: s >= m, 1, 100), "in no way that this check knows"),
    "10.3 one each": ("10.3", lambda m, s: (s >= m).double(), "the result has shape"),
    "10.4 test rows in": ("10.4", nearest(all_rows), "counted into the centroids"),
    "10.4 own rows": ("10.4", nearest(ask=lambda test: ~test), "rows that made the centroids: test"),
    "10.4 all rows": ("10.4", nearest(all_rows, all_rows), "both use all rows"),
    "10.4 exchanged": ("10.4", nearest(lambda test: test, lambda test: ~test), "are exchanged"),
    "10.4 of the test": ("10.4", nearest(lambda test: test), "from the test rows themselves"),
    "10.4 asks all": ("10.4", nearest(ask=all_rows), "only test rows count"),
    "10.4 neighbour": ("10.4", neighbour, "nearest ROW"),
    "10.4 furthest": ("10.4", nearest(score=lambda row, middle: ((row - middle) ** 2).sum()), "FURTHEST"),
    "10.4 product": ("10.4", nearest(score=lambda row, middle: row @ middle), "not by the distance"),
    "10.4 errors": ("10.4", nearest(end=lambda hits: 1 - np.mean(hits)), "share of errors"),
    "10.4 number": ("10.4", nearest(end=np.sum), "number of rows"),
    "10.4 sums": ("10.4", nearest(centre=np.sum), "each centroid is a sum"),
    "10.4 which": ("10.4", nearest(end=lambda hits: np.array(hits)), "the result has shape"),
    "10.4 median": ("10.4", nearest(end=lambda hits: np.mean(hits) ** 2), "in no way that this check knows"),
}  # fmt: skip

SAME = {"10.1 one more", "10.1 rows only"}
