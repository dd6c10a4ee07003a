"""The exercises of chapter 10."""

import torch

from dynattn.exercises._judging import Exercise, Hard, Variants, normal, parts

# --------------------------------------------------------------------------------- 10.1, weights within a word


def _own_text(columns, line):
    return {
        (
            "own",
            "row",
        ): "Given weights `A` of shape (..., n, n), return the weights within the tokens from `start` up to, but not "
        "including, `stop`: their rows and columns, each row divided by its sum.",
        (
            "before",
            "row",
        ): "Given weights `A` of shape (..., n, n), return the weights that the tokens from `start` up to, but not "
        "including, `stop` give to all tokens *before* them: their rows, the columns before `start`, each row divided by its sum.",
        (
            "own",
            "column",
        ): "Given weights `A` of shape (..., n, n), return the weights within the tokens from `start` up to, but not "
        "including, `stop`: their rows and columns, each *column* divided by its sum.",
    }[columns, line]


_LINES = {"row": -1, "column": -2}


def _own(columns, line):
    def cut(A, start, stop, columns=columns):
        return A[..., start:stop, start:stop] if columns == "own" else A[..., start:stop, :start]

    def own(
        columns=columns,
        divide=lambda block: block / block.sum(_LINES[line], keepdim=True),
        last=lambda block: block,
    ):
        """A block of the weights, with other columns, divided by something else, or changed in the end."""
        return lambda A, start, stop: last(divide(cut(A, start, stop, columns)))

    other_line, other_columns = ("row", "column")[line == "row"], ("own", "before")[columns == "own"]
    wanted = "those of the word itself" if columns == "own" else "those before the word"
    changes = {
        f"the {line}s are not divided by their sums: each must add up to 1.": {"divide": lambda block: block},
        f"divided by the sums of the {other_line}s; divide each {line} by its own sum.": {
            "divide": lambda block: block / block.sum(_LINES[other_line], keepdim=True)
        },
        f"divided by the sum of the whole block; divide each {line} by its own sum.": {
            "divide": lambda block: block / block.sum((-1, -2), keepdim=True)
        },
        # jacobgil/vit-explain#16
        f"the sums have lost an axis, so that numbers are divided by the sum of another {line}: sum with keepdim=True.": {
            "divide": lambda block: block / block.sum(_LINES[line])
        },
        "there is a softmax on top of the weights: they are weights already, so divide by the sum.": {
            "divide": lambda block: block.softmax(_LINES[line])
        },
        "divided by what the rows give to everything else; divide by the sum of the part itself.": {
            "divide": lambda block: block / (1 - block.sum(_LINES[line], keepdim=True))
        },
        "the block is transposed: rows read, columns are read.": {"last": lambda block: block.mT},
        f"these are other columns: {wanted} are asked for.": {"columns": other_columns},
    }

    def cases(generator):
        def drawn(*shape):
            return normal(generator, *shape, shape[-1]).softmax(-1)

        # In the plain cases as many tokens stand before the word as are in it, so that other columns make no other shape.
        plain = [(drawn(6), 2, 4), (drawn(3, 7), 3, 6), (drawn(5), 1, 2)]
        hard = [
            Hard("right, but only where as many tokens stand before the word as are in it.", drawn(8), 2, 7),
            Hard(
                "right, but not with two axes in front: the dots in (..., n, n) stand for any number of axes.",
                drawn(2, 4, 5),
                2,
                4,
            ),
        ]
        if columns == "own":
            hard.append(Hard("right, except for a word at the beginning.", drawn(4), 0, 3))
            hard.append(Hard("right, except for a text of one token.", drawn(1), 0, 1))
        return plain + hard

    return Exercise(own(), cases, parts(own, changes))


# --------------------------------------------------------------------------------- 10.2, what groups explain


def _share_text(corrected):
    how = "*without* the correction for chance: one minus the squares within groups over all squares, added up over the D columns"
    if corrected:
        how = (
            "*with* a correction for chance: one minus the variance within groups over the whole variance. The one is the squares "
            "within groups, divided by N less the number of groups; the other all squares, divided by N - 1; both are added up "
            "over the D columns"
        )
    return (
        "Given numbers `x` of shape (N, D) and a tensor `group` of N labels, which are any integers, return the fraction of the variance between the "
        f"groups, {how}. The groups may differ in size."
    )


def _share(corrected):
    def squares(x, middle):
        return (x - middle).square().sum()

    def means(x, group):
        """The mean of its group, for each row."""
        return torch.stack([x[group == g].mean(0) for g in group])

    def group_means(x, group):
        return torch.stack([x[group == g].mean(0) for g in group.unique()])

    def plain(x, group, middle=lambda x, group: x.mean(0)):
        return 1 - squares(x, means(x, group)) / squares(x, middle(x, group))

    def chance(x, group, share):
        return 1 - (1 - share) * (len(x) - 1) / (len(x) - len(group.unique()))

    def share(x, group, middle=lambda x, group: x.mean(0)):
        found = plain(x, group, middle)
        return chance(x, group, found) if corrected else found

    def by_variances(x, group):
        return 1 - sum(
            len(rows) * rows.var(0).sum() for rows in map(lambda g: x[group == g], group.unique())
        ) / (len(x) * x.var(0).sum())

    def averaged(x, group, correction):
        """The groups' variances, each group counted once, over the whole variance."""
        inside = [x[group == g].var(0, correction=correction).sum() for g in group.unique()]
        return 1 - torch.stack(inside).mean() / x.var(0, correction=correction).sum()

    def of_last(x, group):
        last = x[group == group.max()]
        return 1 - squares(last, last.mean(0)) / squares(x, x.mean(0))

    mistakes = {
        "this is the share WITHIN the groups; the share between them is one minus it.": lambda x, g: (
            1 - share(x, g)
        ),
        "the sizes of the groups are forgotten: a group's squared distance counts once for each of its rows.": lambda x, g: (
            squares(group_means(x, g), x.mean(0)) / squares(x, x.mean(0))
        ),
        "this is the variance of the group means over the variance of all: a large group must count for more.": lambda x, g: (
            group_means(x, g).var(0, correction=0).sum() / x.var(0, correction=0).sum()
        ),
        "this is the variance of the group means over the variance of all, each over one less than their number, as torch's var is "
        "unless told otherwise: a large group must count for more.": lambda x, g: (
            group_means(x, g).var(0).sum() / x.var(0).sum()
        ),
        "the variances within groups are averaged with the same weight for each group: a large group must count for more.": (
            lambda x, g: averaged(x, g, 0)
        ),
        "the variances within groups, over one less than their rows, are averaged with the same weight for each group: a large group "
        "must count for more.": lambda x, g: averaged(x, g, 1),
        "only the last group's squares are taken off: add up those within all groups.": of_last,
        "this is in percent; a fraction is asked for.": lambda x, g: 100 * share(x, g),
        "distances are taken from the mean of the group means; take them from the mean of all rows.": lambda x, g: (
            share(x, g, lambda x, g: group_means(x, g).mean(0))
        ),
        "nothing is subtracted in the sum below: squares are taken from the mean, not from zero.": lambda x, g: (
            share(x, g, lambda x, g: 0)
        ),
        "between over within; the sum below must be that of all squares.": lambda x, g: (
            plain(x, g) / (1 - plain(x, g))
        ),
        "this is the mean of the columns' shares; first add up the squares over all columns.": lambda x, g: (
            torch.stack([share(column[:, None], g) for column in x.T]).mean()
        ),
        "this is the sum of the columns' shares; first add up the squares over all columns.": lambda x, g: (
            torch.stack([share(column[:, None], g) for column in x.T]).sum()
        ),
        # docs.pytorch.org/docs/stable/generated/torch.var.html: the correction is 1 unless told otherwise
        "the variances within groups are over one less than their rows, as torch's var is unless told otherwise, and are then "
        "multiplied by the number of rows.": by_variances,
        "there is a square root in it.": lambda x, g: share(x, g).sqrt(),
    }
    if corrected:
        mistakes["this is the plain share; the exercise asks for the correction for chance."] = plain
    else:
        mistakes[
            "this is corrected for chance (degrees of freedom); the exercise asks for the plain share."
        ] = lambda x, g: chance(x, g, plain(x, g))

    def cases(generator):
        def drawn(sizes, d, numbers=None):
            group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
            order = torch.randperm(len(group), generator=generator)
            scale = 1 + 3 * torch.arange(d, dtype=torch.float64)
            x = (normal(generator, len(sizes), d)[group] + normal(generator, len(group), d) + 2) * scale
            return x[order], (group if numbers is None else torch.tensor(numbers)[group])[order]

        hard = [
            Hard("right, until a group has one row only: it has no variance within.", *drawn((6, 1), 2)),
            Hard(
                "right, as long as the groups are called 0, 1, 2, ...: they are any integers.",
                *drawn((3, 2), 3, [7, -2]),
            ),
            Hard(
                "right, except where all rows are of one group: then groups explain nothing.", *drawn((4,), 2)
            ),
        ]
        if not corrected:  # else nothing is left to divide by
            hard.append(
                Hard(
                    "right, except where each row is a group: then groups explain everything.",
                    *drawn((1, 1, 1), 2),
                )
            )
        return [drawn(*these) for these in (((2, 5, 3), 4), ((4, 2), 2), ((3, 3, 9, 2), 1))] + hard

    return Exercise(share, cases, mistakes)


# ------------------------------------------------------------------------------------------- 10.3, p value

# Of each direction: the wording, whether a deal's number is as extreme as the measured one, and what should be counted.
_SIDES = {
    "large": ("at least as large as", lambda m, s: s >= m, "those at least as large"),
    "small": ("at most as large as", lambda m, s: s <= m, "those at most as large"),
    "both": (
        "at least as far from 0, to either side, as",
        lambda m, s: s.abs() >= abs(m),
        "those at least as far from 0",
    ),
}


def _p_text(side):
    return (
        "You have measured one fraction, and those of R random deals of the labels. The **p value** is the probability, if the "
        f"labels mean nothing, of a fraction {_SIDES[side][0]} the measured one. If they mean nothing, the true labels are just "
        "one more deal: count them in, above and below the line. Return the p value for a number `measured` and a tensor "
        "`shuffled` of R numbers. (To think about: what is the smallest p value that 200 deals can give?)"
    )


def _p(side):
    _, reached, asked = _SIDES[side]
    includes = {"large": "at least as large", "small": "at most as large", "both": "at least as far"}[side]

    def p(reached=reached, above=1, below=1):
        return lambda measured, shuffled: (
            (above + reached(measured, shuffled).sum().double()) / (below + len(shuffled))
        )

    def beyond(m, s):
        return reached(m, s) & (s.abs() != abs(m) if side == "both" else s != m)

    def short(m, s):
        return ~reached(m, s)

    mistakes = {
        "the measured one isn't counted in, so that 0 is possible: add 1 above and below the line.": p(
            above=0, below=0
        ),
        "1 is added above the line only.": p(below=0),
        "1 is added below the line only.": p(above=0),
        f"ties are left out: `{includes}` includes equal.": p(beyond),
        "this is one minus the p value.": lambda m, s: 1 - p()(m, s),
        "brackets are missing: a division comes before a sum, so that the number of deals is added here.": lambda m, s: (
            1 + reached(m, s).sum().double() / 1 + len(s)
        ),
        "brackets are missing above the line: a division comes before a sum.": lambda m, s: (
            1 + reached(m, s).sum().double() / (1 + len(s))
        ),
        "this is a number of deals, not divided by how many there are.": lambda m, s: (
            reached(m, s).sum().double()
        ),
        "this is a number of deals, the measured one among them, not divided by how many there are.": lambda m, s: (
            1 + reached(m, s).sum().double()
        ),
        "ties are left out, and the measured one isn't counted in.": p(beyond, 0, 0),
        f"this counts the shuffles that fall SHORT of the measured one: it should be {asked}.": p(short),
        "this counts the shuffles that fall short of the measured one, and doesn't count that one in.": p(
            short, 0, 0
        ),
        "this counts both sides of the shuffles' mean; " + f"only {asked} count.": p(
            lambda m, s: (s - s.mean()).abs() >= abs(m - s.mean())
        ),
    } | {
        f"this counts {its}; it should be {asked}.": p(other)
        for key, (_, other, its) in _SIDES.items()
        if key != side
    }

    def cases(generator):
        shuffled = (15 * torch.rand(41, generator=generator, dtype=torch.float64)).round() - 6
        some = [
            (6.0, shuffled),
            (11.0, shuffled),
            (-4.0, shuffled),
            (float(shuffled[0]), shuffled[:15]),
            (0.5, shuffled[:20]),
        ]
        return [*some, (2.0, torch.tensor([2.0]).double()), (1.0, torch.tensor([3.0]).double())]

    return Exercise(p(), cases, mistakes)


# ------------------------------------------------------------------------------------- 10.4, nearest centroid


def _told_text(nearest):
    take = {
        "centroid": "take the mean of each group over the rows that are not in the test, and return the fraction of the test rows "
        "that are nearest to the mean of their own group",
        "row": "find for each test row the nearest of the rows that are not in the test, and return the fraction of the test rows "
        "for which it is of their own group",
    }[nearest]
    return (
        f"A classifier simpler than ours: the **nearest {'centroid' if nearest == 'centroid' else 'neighbour'}**. Given `x` of "
        f"shape (N, D), integers `group` (N,) from 0 on, and a boolean tensor `test` (N,), {take}. Every group has rows on both "
        "sides."
    )


def _told(nearest):
    def centroids(x, group, centre=lambda x: x.mean(0)):
        numbers = torch.arange(int(group.max()) + 1)
        return torch.stack([centre(x[group == g]) for g in numbers]), numbers

    def rows(x, group):
        return x, group

    def told(made=centroids if nearest == "centroid" else rows, of=lambda test: ~test, asked=lambda test: test,
             measure=torch.cdist, end=lambda hits: hits.mean()):  # fmt: skip
        """How many rows are nearest to something of their own group, which is made of some rows."""

        def answer(x, group, test):
            middles, numbers = made(x[of(test)], group[of(test)])
            found = numbers[measure(x[asked(test)], middles).argmin(1)]
            return end((found == group[asked(test)]).double())

        return answer

    def everywhere(test):
        return torch.ones_like(test)

    def by_group(x, group, test):
        own = [told()(x, group, test & (group == g)) for g in group.unique()] if nearest == "row" else [
            told(of=lambda asked: ~test)(x, group, test & (group == g)) for g in group.unique()]  # fmt: skip
        return torch.stack(own).mean()

    what = "centroids" if nearest == "centroid" else "neighbours"
    mistakes = {
        f"test and other rows are exchanged: {what} come from the rows where test is False.": told(
            of=lambda test: test, asked=lambda test: ~test
        ),
        f"the rows are tested that made the {what}, and the others besides: only test rows count.": told(
            asked=everywhere
        ),
        f"each row is given to the group of the {what[:-1]} that is FURTHEST.": told(
            measure=lambda x, c: -torch.cdist(x, c)
        ),
        f"compared by the product with the {what[:-1]}, not by the distance: a long one wins.": told(
            measure=lambda x, c: -(x @ c.T)
        ),
        "this is the share of errors; return the share of right ones.": told(
            end=lambda hits: 1 - hits.mean()
        ),
        "this is a number of rows; divide by how many are tested.": told(end=lambda hits: hits.sum()),
        "this is the mean of the groups' shares; take the share of all test rows, whatever their group.": by_group,
    }
    if nearest == "centroid":
        mistakes |= {
            "the test rows are counted into the centroids: compute these from the other rows alone.": told(
                of=everywhere
            ),
            "tested on the rows that made the centroids: test on the others.": told(asked=lambda test: ~test),
            "centroids and test both use all rows: make the centroids from rows that aren't test rows.": told(
                of=everywhere, asked=everywhere
            ),
            "the centroids are computed from the test rows themselves.": told(of=lambda test: test),
            "each row is given to the group of the nearest ROW; take the nearest mean of a group.": told(
                rows
            ),
            "each centroid is a sum; divide by the number of its rows.": told(
                lambda x, group: centroids(x, group, lambda x: x.sum(0))
            ),
        }
    else:
        mistakes |= {
            "each row is its own nearest neighbour: look for neighbours outside of the test.": told(
                of=everywhere
            ),
            "each row is given to the group of the nearest MEAN; take the nearest row.": told(centroids),
        }
    return Exercise(told(), _told_cases, mistakes)


def _told_cases(generator):
    def drawn(groups, size, d, apart, every=3):
        group = torch.arange(groups).repeat(size)
        x = normal(generator, len(group), d) + apart * normal(generator, groups, d)[group] + 1
        return x, group, (torch.arange(len(group)) // groups) % every == 0

    def uneven(x, group, test):
        """Of the last group only every fourth row is left, of which every other one is in the test."""
        place = torch.arange(len(x)) // (int(group.max()) + 1)
        left = (group < group.max()) | (place % 4 == 0)
        return x[left], group[left], torch.where(group == group.max(), place % 8 == 0, test)[left]

    return [
        drawn(*sizes)
        for sizes in ((3, 40, 6, 0.5), (4, 30, 8, 0.375), (2, 60, 5, 0.375), (3, 30, 1, 1.0), (1, 4, 2, 1.0))
    ] + [drawn(2, 2, 3, 1.0, every=2), uneven(*drawn(3, 40, 3, 0.75))]


EXERCISES = {
    "10.1": Variants(
        _own_text,
        _own,
        {"columns": "own", "line": "row"},
        {"columns": "before", "line": "row"},
        {"columns": "own", "line": "column"},
    ),
    "10.2": Variants(_share_text, _share, {"corrected": False}, {"corrected": True}),
    "10.3": Variants(_p_text, _p, *({"side": side} for side in _SIDES)),
    "10.4": Variants(_told_text, _told, {"nearest": "centroid"}, {"nearest": "row"}),
}
