"""An interval covers what it should, and no more."""

import torch
from helpers import refuses

from dynattn.statistics import interval, said


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


def test_bad_input():
    refuses(lambda: interval([1.0, 2.0], 0), TypeError, "values")
    refuses(lambda: interval(torch.rand(1), 0), ValueError, "values")
    refuses(lambda: interval(torch.rand(2, 2), 0), ValueError, "values")
    refuses(lambda: interval(torch.tensor([1.0, torch.nan]), 0), ValueError, "values")
    refuses(lambda: interval(torch.rand(5), -1), ValueError, "seed")
