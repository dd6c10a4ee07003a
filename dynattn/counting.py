"""Chapters 9 and 11: tables of counts, the static rival of every language model."""

import torch

from dynattn import _checks as check


class NGram:
    """How often each token came after each context of up to order - 1 tokens, discounted and interpolated.

    Of every count a discount is taken off, and what was taken goes to the guess from the context that is one token shorter,
    down to equal chances for all. In contexts that are not the longest, what counts is after how many *different* longer contexts
    a token came.

    Args:
        ids: the text as tokens (n,), integers; n at least the order.
        vocabulary: the number of different tokens; vocabulary ** order must be below 2 ** 62.
        order: the longest context and the token after it, from 1 to 8.
        discount: from 0 to 1.

    Raises:
        TypeError, ValueError: an argument of another kind or out of its range.

    Source: Kneser and Ney 1995, with one discount; the interpolated form of Chen and Goodman 1999, section 3.
    """

    def __init__(self, ids: torch.Tensor, vocabulary: int, order: int, discount: float = 0.75):
        check.require_sizes(vocabulary=vocabulary)
        check.require_int("order", order, at_least=1, at_most=8)
        check.require_number("discount", discount, at_least=0, at_most=1)
        check.require_indices("ids", ids, below=vocabulary)
        if ids.dim() != 1 or len(ids) < order:
            raise ValueError(
                f"ids: got shape {check.shape_of(ids)}, expected (n,), n at least the order of {order}"
            )
        if int(vocabulary) ** int(order) >= 2**62:
            raise ValueError(
                f"order: got {order}, expected one for which {vocabulary} ** order is below 2 ** 62"
            )
        self.vocabulary, self.order, self.discount = int(vocabulary), int(order), float(discount)
        self.tables = []
        # Sequences of k tokens, each as one integer, whose last digit is the last token; shorter ones are counted once for each
        # different longer one that ends with them.
        sequences = _packed(ids.long(), self.order, self.vocabulary)
        for k in range(self.order, 0, -1):
            sequences, counts = (sequences % self.vocabulary**k).unique(return_counts=True)
            contexts, which = (sequences // self.vocabulary).unique(return_inverse=True)
            totals = torch.zeros(len(contexts), dtype=torch.long).index_add_(0, which, counts)
            kinds = torch.bincount(which, minlength=len(contexts))
            self.tables.insert(0, (sequences, counts, contexts, totals, kinds))

    def surprise(self, ids: torch.Tensor) -> torch.Tensor:
        """The surprise at each token but the first of each text, in nats.

        Args:
            ids: texts (texts, n), n at least 2.

        Returns:
            (texts, n - 1), in torch.float64.

        Raises:
            TypeError, ValueError: ids are not such tokens.
        """
        check.require_indices("ids", ids, below=self.vocabulary)
        if ids.dim() != 2 or len(ids) < 1 or ids.shape[1] < 2:
            raise ValueError(f"ids: got shape {check.shape_of(ids)}, expected (texts, n), n at least 2")
        ids = ids.long()
        p = torch.full(ids[:, 1:].shape, 1 / self.vocabulary, dtype=torch.float64)
        for k, (sequences, counts, contexts, totals, kinds) in enumerate(self.tables, start=1):
            some = p[:, max(0, k - 2) :]  # a view: the tokens before which there are k - 1 in their text
            if not some.numel():
                break
            wanted = torch.stack([_packed(row, k, self.vocabulary) for row in ids])[:, 1 if k == 1 else 0 :]
            count = _found(sequences, wanted, counts)
            total, different = (_found(contexts, wanted // self.vocabulary, x) for x in (totals, kinds))
            kept, given = (count - self.discount).clamp(min=0), self.discount * different * some
            guess = (kept + given) / total.clamp(min=1)
            some.copy_(torch.where(total > 0, guess, some))
        return -p.log()


def _packed(ids, k, vocabulary):
    """Every k neighbours as one integer: (n - k + 1,)."""
    return (ids.unfold(0, k, 1) * vocabulary ** torch.arange(k - 1, -1, -1)).sum(-1)


def _found(keys, wanted, values):
    """The values at the wanted keys, which are sorted; 0 where there is none."""
    at = torch.searchsorted(keys, wanted.contiguous()).clamp(max=len(keys) - 1)
    return torch.where(keys[at] == wanted, values[at], 0).double()
