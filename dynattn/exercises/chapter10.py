"""Judges of the exercises of chapter 10."""

import torch

from dynattn.exercises._judging import normal, same_as

# --------------------------------------------------------------------------------- 10.1, weights within a word


def _own(
    rows=lambda n, start, stop: slice(start, stop),
    columns=lambda n, start, stop: slice(start, stop),
    divide=-1,
):
    """A block of the weights, cut elsewhere or divided by other sums."""

    def answer(A, start, stop):
        n = A.shape[-1]
        block = A[..., rows(n, start, stop), columns(n, start, stop)]
        return block if divide is None else block / block.sum(divide, keepdim=True).clamp_min(1e-9)

    return answer


def _own_cases(generator):
    return [
        (normal(generator, *shape, n, n).softmax(-1), start, stop)
        for shape, n, start, stop in (((), 6, 2, 5), ((3,), 7, 4, 7), ((2, 4), 5, 1, 4))
    ]


_OWN_MISTAKES = {
    "the rows are not divided by their sums: each must add up to 1 within the word.": _own(divide=None),
    "divided by the sums of the columns; divide each row by its own sum.": _own(divide=-2),
    "divided by the sum of the whole block; divide each row by its own sum.": _own(divide=(-1, -2)),
    "there is a softmax on top of the weights: they are weights already, so divide by the sum.": lambda A, start, stop: (
        A[..., start:stop, start:stop].softmax(-1)
    ),
    "divided by what the rows give to everything else; divide by what they give to the word itself.": lambda A, start, stop: (
        A[..., start:stop, start:stop] / (1 - A[..., start:stop, start:stop].sum(-1, keepdim=True))
    ),
    "the block is transposed: rows read, columns are read.": lambda A, start, stop: _own()(A, start, stop).mT,
}

# --------------------------------------------------------------------------------- 10.2, what groups explain


def _squares(x, middle):
    return (x - middle).square().sum()


def _parts(x, group):
    """Squares within the groups, and the mean of its group for each row."""
    means = torch.stack([x[group == g].mean(0) for g in group])
    return _squares(x, means), means


def _share(x, group):
    return 1 - _parts(x, group)[0] / _squares(x, x.mean(0))


def _group_means(x, group):
    return torch.stack([x[group == g].mean(0) for g in group.unique()])


def _share_cases(generator):
    cases = []
    for sizes, d in (((2, 5, 3), 4), ((6, 1), 2), ((3, 3, 9, 2), 1)):
        group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        order = torch.randperm(len(group), generator=generator)
        scale = 1 + 3 * torch.arange(d, dtype=torch.float64)
        x = (normal(generator, len(sizes), d)[group] + normal(generator, len(group), d) + 2) * scale
        cases.append((x[order], group[order]))
    return cases


_SHARE_MISTAKES = {
    "this is the share WITHIN the groups; the share between them is one minus it.": lambda x, g: (
        1 - _share(x, g)
    ),
    "the sizes of the groups are forgotten: a group's squared distance counts once for each of its rows.": lambda x, g: (
        _squares(_group_means(x, g), x.mean(0)) / _squares(x, x.mean(0))
    ),
    "this is the variance of the group means over the variance of all: a large group must count for more.": lambda x, g: (
        _group_means(x, g).var(0, correction=0).sum() / x.var(0, correction=0).sum()
    ),
    "distances are taken from the mean of the group means; take them from the mean of all rows.": lambda x, g: (
        1 - _parts(x, g)[0] / _squares(x, _group_means(x, g).mean(0))
    ),
    "nothing is subtracted in the sum below: squares are taken from the mean, not from zero.": lambda x, g: (
        1 - _parts(x, g)[0] / _squares(x, 0)
    ),
    "between over within; the sum below must be that of all squares.": lambda x, g: (
        _share(x, g) / (1 - _share(x, g))
    ),
    "this is the mean of the columns' shares; first add up the squares over all columns.": lambda x, g: (
        torch.stack([_share(column[:, None], g) for column in x.T]).mean()
    ),
    "this is corrected for chance (degrees of freedom); the exercise asks for the plain share.": lambda x, g: (
        1 - (1 - _share(x, g)) * (len(x) - 1) / (len(x) - len(g.unique()))
    ),
    "there is a square root in it.": lambda x, g: _share(x, g).sqrt(),
}

# ------------------------------------------------------------------------------------------- 10.3, p value


def _p(reached=lambda measured, shuffled: shuffled >= measured, above=1, below=1):
    def answer(measured, shuffled):
        return (above + reached(measured, shuffled).sum().double()) / (below + len(shuffled))

    return answer


def _p_cases(generator):
    shuffled = (10 * torch.rand(40, generator=generator, dtype=torch.float64)).round()
    return [(6.0, shuffled), (11.0, shuffled), (float(shuffled[0]), shuffled[:15])]


_P_MISTAKES = {
    "the measured one isn't counted in, so that 0 is possible: add 1 above and below the line.": _p(
        above=0, below=0
    ),
    "1 is added above the line only.": _p(below=0),
    "1 is added below the line only.": _p(above=0),
    "ties are left out: `at least as large` includes equal.": _p(lambda m, s: s > m),
    "ties are left out, and the measured one isn't counted in.": _p(lambda m, s: s > m, 0, 0),
    "this counts the shuffles BELOW the measured one: it should be those at least as large.": _p(
        lambda m, s: s < m
    ),
    "this counts the shuffles below the measured one, and doesn't count that one in.": _p(
        lambda m, s: s < m, 0, 0
    ),
    "this counts both sides; only shares at least as large count.": _p(
        lambda m, s: (s - s.mean()).abs() >= abs(m - s.mean())
    ),
}

# ------------------------------------------------------------------------------------- 10.4, nearest centroid


def _told(
    from_rows=lambda test: ~test,
    of_rows=lambda test: test,
    measure=lambda x, c: torch.cdist(x, c),
    centre=lambda x: x.mean(0),
):
    def answer(x, group, test):
        at = from_rows(test)
        centroids = torch.stack([centre(x[(group == g) & at]) for g in range(int(group.max()) + 1)])
        rows = of_rows(test)
        return (measure(x[rows], centroids).argmin(1) == group[rows]).double().mean()

    return answer


def _nearest_row(x, group, test):
    near = torch.cdist(x[test], x[~test]).argmin(1)
    return (group[~test][near] == group[test]).double().mean()


def _told_cases(generator):
    cases = []
    for groups, size, d, apart in ((3, 40, 6, 0.5), (4, 30, 8, 0.4), (2, 60, 5, 0.4)):
        group = torch.arange(groups).repeat(size)
        x = normal(generator, len(group), d) + apart * normal(generator, groups, d)[group] + 1
        test = (torch.arange(len(group)) // groups) % 3 == 0
        cases.append((x, group, test))
    return cases


def _everywhere(test):
    return torch.ones_like(test)


_TOLD_MISTAKES = {
    "the test rows are counted into the centroids: compute these from the other rows alone.": _told(
        _everywhere
    ),
    "tested on the rows that made the centroids: test on the others.": _told(of_rows=lambda test: ~test),
    "centroids and test both use all rows: make the centroids from rows that aren't test rows.": _told(
        _everywhere, _everywhere
    ),
    "test and other rows are exchanged: centroids come from the rows where test is False.": _told(
        lambda test: test, lambda test: ~test
    ),
    "the centroids are computed from the test rows themselves.": _told(lambda test: test),
    "the rows are tested that made the centroids, and the others besides: only test rows count.": _told(
        of_rows=_everywhere
    ),
    "each row is given to the group of the nearest ROW; take the nearest mean of a group.": _nearest_row,
    "each row is given to the group whose centroid is FURTHEST.": _told(
        measure=lambda x, c: -torch.cdist(x, c)
    ),
    "compared by the product with the centroid, not by the distance: a long centroid wins.": _told(
        measure=lambda x, c: -(x @ c.T)
    ),
    "this is the share of errors; return the share of right ones.": lambda *case: 1 - _told()(*case),
    "this is a number of rows; divide by how many are tested.": lambda x, group, test: (
        _told()(x, group, test) * test.sum()
    ),
    "each centroid is a sum; divide by the number of its rows.": _told(centre=lambda x: x.sum(0)),
}

JUDGES = {
    "10.1": same_as(_own(), _own_cases, _OWN_MISTAKES),
    "10.2": same_as(_share, _share_cases, _SHARE_MISTAKES),
    "10.3": same_as(_p(), _p_cases, _P_MISTAKES),
    "10.4": same_as(_told(), _told_cases, _TOLD_MISTAKES),
}
