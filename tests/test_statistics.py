"""An interval covers what it should, and no more; groups that mean nothing explain nothing."""

import torch
from helpers import refuses

from dynattn.statistics import explained, interval, said


def test_an_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    middle, low, high = interval(values, 0)
    half = 1.96 * values.std() / 20
    assert middle == values.mean() and abs(middle - half - low) < 0.01 and abs(middle + half - high) < 0.01


def test_it_covers_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(1)
    covered = 0
    for seed in range(300):
        _, low, high = interval(torch.rand(60, generator=generator), seed)
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_the_seed_alone_decides():
    values = torch.rand(50, generator=torch.Generator().manual_seed(2))
    state = torch.random.get_rng_state()
    assert interval(values, 3) == interval(values, 3) != interval(values, 4)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_it_is_said_with_its_ends():
    values = torch.linspace(0, 1, 50)
    mean, low, high = interval(values, 0)
    assert said(values, 0) == f"{mean:.3f} (interval {low:.3f} to {high:.3f})"
    assert said(values * -1e-9, 0) == "0.000 (interval 0.000 to 0.000)", "no minus where nothing is left"


def test_bad_input():
    refuses(lambda: interval([1.0, 2.0], 0), TypeError, "values")
    refuses(lambda: interval(torch.rand(1), 0), ValueError, "values")
    refuses(lambda: interval(torch.rand(2, 2), 0), ValueError, "values")
    refuses(lambda: interval(torch.tensor([1.0, torch.nan]), 0), ValueError, "values")
    refuses(lambda: interval(torch.rand(5), -1), ValueError, "seed")


def groups_of(*labels):
    """Ways to group, from labels by row; -1 leaves a row out."""
    labels = torch.tensor(labels)
    return labels[:, None] == torch.arange(labels.max() + 1)[:, None]


def test_what_groups_explain_is_counted_by_hand():
    x = torch.tensor([[0.1], [0.3], [0.5], [0.7]])
    found = explained(x, groups_of([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]))
    torch.testing.assert_close(found[0], torch.tensor(0.7, dtype=torch.float64))  # 1 - (0.04 / 2) / (0.2 / 3)
    assert abs(found.mean()) < 1e-6  # over all ways to make two pairs


def test_groups_that_mean_nothing_explain_nothing_on_average():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=generator) * torch.tensor([1.0, 2.0, 3.0, 100.0]) + 1e4
    deals = [[row % 3 for row in torch.randperm(30, generator=generator).tolist()] for _ in range(400)]
    found = explained(x, groups_of(*deals))
    assert abs(found.mean()) < 4 * found.std() / 20


def test_a_row_may_be_left_out():
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(
        explained(x, groups_of([0, 0, -1, 1, 1, -1])), explained(x[[0, 1, 3, 4]], groups_of([0, 0, 1, 1]))
    )


def test_groups_that_are_none():
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    both = torch.ones(1, 2, 4, dtype=torch.bool)
    refuses(lambda: explained(x, both), ValueError, "groups")
    refuses(lambda: explained(x, groups_of([0, 1, 2, 3])), ValueError, "groups")
    refuses(lambda: explained(x, groups_of([0, 0, 2, 2])), ValueError, "groups")
    refuses(lambda: explained(x, both.int()), TypeError, "groups")
    refuses(lambda: explained(torch.ones(4, 2), groups_of([0, 0, 1, 1])), ValueError, "x")
