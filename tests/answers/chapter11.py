"""Right and wrong answers to the exercises of chapter 11, written as readers write them."""

import numpy as np
import torch
import torch.nn.functional as F

# --------------------------------------------------------------------------------- 11.1, a vector for a text


def vectors(
    count=lambda present: present, divide=lambda present: present.sum(), length=True, token=lambda x: x
):
    """Text by text, token by token."""

    def answer(features, present):
        rows = []
        for x, there in zip(features, present):
            total = sum(token(x[i]) for i in range(len(x)) if count(there)[i])
            rows.append(total / divide(there))
        rows = torch.stack(rows)
        return rows / rows.norm(dim=1)[:, None] if length else rows

    return answer


def every(present):
    return torch.ones_like(present)


def by_numpy(features, present):
    x = np.where(present.numpy()[:, :, None], features.numpy(), 0).sum(1)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def tokens_in_front(features, present):
    return torch.stack([F.normalize(x[: there.sum()].mean(0), dim=0) for x, there in zip(features, present)])


def last_token(features, present):
    return torch.stack([F.normalize(x[there][-1], dim=0) for x, there in zip(features, present)])


def largest_of_tokens(features, present):
    return torch.stack([F.normalize(x[there].amax(0), dim=0) for x, there in zip(features, present)])


def over_texts(features, present):
    mean = vectors(length=False)(features, present)
    return mean / mean.norm(dim=0)


# ------------------------------------------------------------------------ 11.2, a published matrix into heads


def queries(rows=lambda h, size, heads: slice(h * size, (h + 1) * size), W=lambda W: W, b=lambda b: b):
    """Head by head, with the rows of W that it owns."""

    def answer(x, weight, bias, n_heads):
        size = len(weight) // n_heads
        own = [rows(h, size, n_heads) for h in range(n_heads)]
        return torch.stack([x @ W(weight)[mine].T + b(bias)[mine] for mine in own])

    return answer


def block_by_block(x, W, b, n_heads):
    out = [
        part_x @ W.chunk(n_heads)[h].chunk(n_heads, 1)[h].T for h, part_x in enumerate(x.chunk(n_heads, 1))
    ]
    return torch.stack(out) + b.reshape(n_heads, 1, -1)


# ------------------------------------------------------------------------------------ 11.3, freeze one head


def edit(
    here=lambda at, layer: at == layer,
    put=lambda A, head, M: (A[:, head].copy_(M), A)[1],
    copy=True,
    other=lambda A: A,
):
    def answer(layer, head, M):
        def change(at, A):
            if not here(at, layer):
                return other(A)
            return put(A.clone() if copy else A, head, M)

        return change

    return answer


def by_where(layer, head, M):
    def change(at, A):
        chosen = (torch.arange(A.shape[1]) == head) & (at == layer)
        return torch.where(chosen[:, None, None], M, A)

    return change


def others_zero(A, head, M):
    A = torch.zeros_like(A)
    A[:, head] = M
    return A


def add(A, head, M):
    A[:, head] += M
    return A


def to_text(A, head, M):
    A[head] = M
    return A


def put_others(A, head, M):
    return torch.where((torch.arange(A.shape[1]) == head)[:, None, None], A, M)


def set_head(A, head, M):
    A[:, head] = M
    return A


# ---------------------------------------------------------------------------- 11.4, the mean of the other half


def means(chosen, total=lambda found, A: found.sum(0) / len(found)):
    """Text by text; chosen(i, half) are the numbers of the texts to average."""

    def answer(A, half):
        half = half.tolist()
        return torch.stack([total(A[chosen(i, half)], A) for i in range(len(A))])

    return answer


def the_others(i, half):
    return [j for j in range(len(half)) if half[j] != half[i]]


# ------------------------------------------------------------------- 11.5, the interval of a paired difference


def interval(ends=(0.025, 0.975), middle=lambda a, b: a - b, draws=3000, finish=lambda x: x):
    def answer(a, b):
        x = middle(a, b)
        means = x[torch.randint(len(x), (draws, len(x)))].mean(1)
        return finish(means.quantile(torch.tensor(ends, dtype=torch.float64)))

    return answer


def loops(a, b):
    a, b, rng = a.numpy(), b.numpy(), np.random.default_rng()
    found = []
    for _ in range(2000):
        pick = rng.integers(0, len(a), len(a))
        found.append(a[pick].mean() - b[pick].mean())
    return tuple(np.percentile(found, [2.5, 97.5]))


def separately(a, b):
    one, two = (x[torch.randint(len(x), (3000, len(x)))].mean(1) for x in (a, b))
    return (one - two).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))


def of_sums(a, b):
    x = a - b
    return (
        x[torch.randint(len(x), (3000, len(x)))]
        .sum(1)
        .quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    )


RIGHT = {
    "11.1 loops": ("11.1", vectors()),
    "11.1 NumPy": ("11.1", by_numpy),
    "11.1 a product": ("11.1", lambda features, present: F.normalize(torch.einsum("tn,tnd->td", present.double(), features), dim=1)),
    "11.2 head by head": ("11.2", queries()),
    "11.2 chunks": ("11.2", lambda x, W, b, n_heads: torch.stack((x @ W.T + b).chunk(n_heads, dim=1))),
    "11.3 copy": ("11.3", edit()),
    "11.3 where": ("11.3", by_where),
    "11.4 loops": ("11.4", means(the_others)),
    "11.4 two means": ("11.4", lambda A, half: torch.stack([A[half == k].mean(0) for k in (1, 0)])[half]),
    "11.5 tensors": ("11.5", interval()),
    "11.5 NumPy": ("11.5", loops),
    "11.5 list": ("11.5", interval(finish=lambda x: x.tolist())),
}  # fmt: skip

WRONG = {
    "11.1 padding": ("11.1", vectors(every), "no token are counted: multiply"),
    "11.1 plain mean": ("11.1", vectors(every, len, length=False), "no token are counted, and the length"),
    "11.1 mean": ("11.1", vectors(length=False), "but its length isn't 1"),
    "11.1 by places": ("11.1", vectors(divide=len, length=False), "the number of places"),
    "11.1 sum": ("11.1", vectors(divide=lambda present: 1, length=False), "this is the sum"),
    "11.1 first token": ("11.1", lambda features, present: F.normalize(features[:, 0], dim=1), "first token alone"),
    "11.1 last place": ("11.1", lambda features, present: F.normalize(features[:, -1], dim=1), "last place alone"),
    "11.1 last token": ("11.1", last_token, "this is the last token that is there"),
    "11.1 tokens in front": ("11.1", tokens_in_front, "as long as all tokens stand in front"),
    "11.1 largest, length 1": ("11.1", largest_of_tokens, "the largest number of each feature"),
    "11.1 each token": ("11.1", vectors(token=lambda x: x / x.norm()), "before the mean"),
    "11.1 over texts": ("11.1", over_texts, "over the texts"),
    "11.1 one text": ("11.1", lambda features, present: vectors()(features, present)[0], "the result has shape"),
    "11.1 largest": ("11.1", lambda features, present: features.amax(1), "in no way that this check knows"),
    "11.2 other way": ("11.2", queries(W=lambda W: W.T), "the other way round"),
    "11.2 no bias": ("11.2", queries(b=torch.zeros_like), "bias b is missing"),
    "11.2 interleaved": ("11.2", queries(lambda h, size, heads: slice(h, None, heads)), "interleaved"),
    "11.2 only reshaped": ("11.2", lambda x, W, b, n_heads: (x @ W.T + b).view(n_heads, len(x), -1), "without exchanging"),
    "11.2 inputs cut": ("11.2", block_by_block, "cut from the input"),
    "11.2 heads second": ("11.2", lambda x, W, b, n_heads: (x @ W.T + b).unflatten(1, (n_heads, -1)), "the result has shape"),
    "11.2 scaled": ("11.2", lambda x, W, b, n_heads: queries()(x, W, b, n_heads) / 2, "in no way that this check knows"),
    "11.3 nothing": ("11.3", edit(put=lambda A, head, M: A), "nothing is changed"),
    "11.3 every layer": ("11.3", edit(lambda at, layer: True), "in every layer"),
    "11.3 every head": ("11.3", edit(put=lambda A, head, M: M.expand_as(A)), "all heads of the layer"),
    "11.3 everything": ("11.3", edit(lambda at, layer: True, lambda A, head, M: M.expand_as(A)), "every head of every layer"),
    "11.3 a text": ("11.3", edit(put=to_text), "on the second axis"),
    "11.3 layer from 1": ("11.3", edit(lambda at, layer: at + 1 == layer), "layers count from 0"),
    "11.3 head from 1": ("11.3", edit(put=lambda A, head, M: set_head(A, head - 1, M)), "heads count from 0"),
    "11.3 all but one": ("11.3", edit(put=put_others), "all other heads of the layer; it should be"),
    "11.3 layers after it": ("11.3", edit(lambda at, layer: at >= layer), "in this layer and all after it; it should be"),
    "11.3 transposed": ("11.3", edit(put=lambda A, head, M: set_head(A, head, M.T)), "M is transposed"),
    "11.3 added": ("11.3", edit(put=add), "M is added"),
    "11.3 others zero": ("11.3", edit(put=others_zero), "are set to 0"),
    "11.3 in place": ("11.3", edit(copy=False), "changes A itself"),
    "11.3 no return": ("11.3", edit(other=lambda A: None), "returns nothing for layer 0"),
    "11.3 only M": ("11.3", edit(put=lambda A, head, M: M), "returns weights of shape"),
    "11.3 not a function": ("11.3", lambda layer, head, M: M, "should return a function"),
    "11.3 breaks": ("11.3", edit(put=lambda A, head, M: set_head(A, 99, M)), "your code raised IndexError"),
    "11.3 twice": ("11.3", edit(put=lambda A, head, M: set_head(A, head, 2 * M)), "in no way that this check knows"),
    "11.4 own half": ("11.4", means(lambda i, half: [j for j in range(len(half)) if half[j] == half[i]]), "own half, the text itself included"),
    "11.4 all": ("11.4", lambda A, half: A.mean(0).expand_as(A), "over all texts"),
    "11.4 all but itself": ("11.4", means(lambda i, half: [j for j in range(len(half)) if j != i]), "leaves out only the text itself"),
    "11.4 rest of its half": ("11.4", means(lambda i, half: [j for j in range(len(half)) if j != i and half[j] == half[i]]), "the rest of the text's own half"),
    "11.4 by all": ("11.4", means(the_others, lambda found, A: found.sum(0) / len(A)), "divided by the number of all"),
    "11.4 sum": ("11.4", means(the_others, lambda found, A: found.sum(0)), "this is the sum"),
    "11.4 exchanged": ("11.4", means(the_others, lambda found, A: found.mean(0).T), "row and column"),
    "11.4 two": ("11.4", lambda A, half: torch.stack([A[half == k].mean(0) for k in (0, 1)]), "the result has shape"),
    "11.4 median": ("11.4", means(the_others, lambda found, A: found.median(0).values), "in no way that this check knows"),
    "11.5 separately": ("11.5", separately, "resampled separately"),
    "11.5 turned": ("11.5", interval(middle=lambda a, b: b - a), "the sign is turned"),
    "11.5 ninety": ("11.5", interval((0.05, 0.95)), "too narrow, this is the middle 90"),
    "11.5 ninety-nine": ("11.5", interval((0.005, 0.995)), "too wide, this is the middle 99"),
    "11.5 quartiles": ("11.5", interval((0.25, 0.75)), "too narrow, this is the middle half"),
    "11.5 standard error": ("11.5", interval((0.1587, 0.8413)), "one standard error"),
    "11.5 a alone": ("11.5", interval(middle=lambda a, b: a), "of a alone"),
    "11.5 b alone": ("11.5", interval(middle=lambda a, b: b), "of b alone"),
    "11.5 around 0": ("11.5", interval(middle=lambda a, b: a - b - (a - b).mean()), "lies around 0"),
    "11.5 single questions": ("11.5", lambda a, b: (a - b).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)), "single questions"),
    "11.5 sums": ("11.5", of_sums, "far too wide"),
    "11.5 upside down": ("11.5", interval((0.975, 0.025)), "the lower end is above"),
    "11.5 not finite": ("11.5", interval(finish=lambda x: x / 0), "not finite"),
    "11.5 three": ("11.5", interval((0.025, 0.5, 0.975)), "expected (2,)"),
    "11.5 half the difference": ("11.5", interval(middle=lambda a, b: (a - b) / 2), "by more than chance explains"),
}  # fmt: skip

SAME = set()
