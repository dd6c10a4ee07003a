"""Tables of counts say what a slow count by hand says, and their probabilities add up to one."""

import math
from collections import Counter, defaultdict

import pytest
import torch
from helpers import refuses

from dynattn.counting import NGram


def by_hand(text, vocabulary, order, discount):
    """The same formula, with dictionaries: probability(context, token)."""
    tables = [defaultdict(Counter) for _ in range(order)]  # by the length of the context
    for i in range(order - 1, len(text)):
        tables[-1][tuple(text[i - order + 1 : i])][text[i]] += 1
    for k in range(order - 2, -1, -1):
        for context, found in tables[k + 1].items():
            tables[k][context[1:]].update(dict.fromkeys(found, 1))

    def probability(context, token):
        p = 1 / vocabulary
        for k, table in enumerate(tables[: len(context) + 1]):
            if found := table.get(tuple(context[len(context) - k :])):
                p = (max(found[token] - discount, 0) + discount * len(found) * p) / found.total()
        return p

    return probability


@pytest.mark.parametrize("order", range(1, 6))
@pytest.mark.parametrize("discount", (0.4, 0.9))
def test_as_a_slow_count(order, discount):
    ids = torch.randint(5, (400,), generator=torch.Generator().manual_seed(order)) ** 2 % 5
    texts = torch.randint(5, (6, 9), generator=torch.Generator().manual_seed(9))
    table, probability = NGram(ids, 5, order, discount), by_hand(ids.tolist(), 5, order, discount)
    found = table.surprise(texts)
    for text, row in zip(texts.tolist(), found.tolist()):
        for i in range(1, 9):
            context = text[max(0, i - order + 1) : i]
            assert row[i - 1] == pytest.approx(-math.log(probability(context, text[i])))


def test_probabilities_add_up_to_one():
    ids = torch.randint(4, (300,), generator=torch.Generator().manual_seed(0))
    before = torch.tensor([[0, 1, 3], [2, 2, 2]])
    table = NGram(ids, 4, 4)
    every = torch.stack(
        [table.surprise(torch.cat([before, torch.full((2, 1), k)], 1))[:, -1] for k in range(4)]
    )
    torch.testing.assert_close(every.neg().exp().sum(0), torch.ones(2, dtype=torch.float64))


def test_what_was_seen_is_expected():
    ids = torch.tensor([0, 1, 2, 3] * 50)
    seen, other = NGram(ids, 4, 3).surprise(torch.tensor([[0, 1, 2, 3], [0, 2, 1, 3]]))
    assert seen[1:].max() < 0.1 < 1 < other[1:].min()


def test_bad_input():
    ids = torch.tensor([0, 1, 2, 3])
    refuses(lambda: NGram(ids.float(), 4, 2), TypeError, "ids")
    refuses(lambda: NGram(ids, 3, 2), ValueError, "ids")
    refuses(lambda: NGram(ids, 4, 5), ValueError, "ids")
    refuses(lambda: NGram(ids, 4, 2, 1.5), ValueError, "discount")
    refuses(lambda: NGram(torch.arange(5000), 2**20, 4), ValueError, "order")
    refuses(lambda: NGram(ids, 4, 2).surprise(ids), ValueError, "ids")
    refuses(lambda: NGram(ids, 4, 2).surprise(ids[None] + 1), ValueError, "ids")
