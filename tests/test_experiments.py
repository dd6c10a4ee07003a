"""What chapters and their deeper notebooks both measure is what they say it is."""

import torch
from helpers import close

from dynattn.anatomy import linearity_gap
from dynattn.attention import PlainAttention
from dynattn.experiments import chapter2


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_linearity_gaps_are_those_of_live_attention():
    x, y = torch.randn(2, 2, 5, 3, generator=generator(), dtype=torch.float64)[0]
    found = chapter2.linearity_gaps(5, 3, 2, generator())
    assert found.shape == (2,) and found[0] == linearity_gap(PlainAttention(), x, y)
    assert found.min() > 0


def test_self_weights_are_the_diagonal_of_a():
    x = torch.randn(4, 5, 3, generator=generator(), dtype=torch.float64)
    A = PlainAttention().weights(x)
    close(chapter2.self_weights(5, 3, 4, generator()), torch.stack([A[:, i, i] for i in range(5)], dim=1))


def test_many_features_bring_words_back_to_themselves():
    few, many = (chapter2.self_weights(16, d, 10, generator()).mean() for d in (2, 256))
    assert few < 0.5 < 0.999 < many
