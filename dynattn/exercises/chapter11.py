"""Judges of the exercises of chapter 11."""

import math

import torch
import torch.nn.functional as F

from dynattn.exercises._judging import CheckFailed, call, normal, run, same_as, tensor

# --------------------------------------------------------------------------------- 11.1, a vector for a text


def _vectors(features, present):
    return F.normalize((features * present[..., None]).sum(1), dim=-1)


def _vectors_cases(generator):
    cases = []
    for lengths, d in (((5, 3, 1), 4), ((2, 6, 4, 3), 3)):
        n = max(lengths)
        present = torch.arange(n) < torch.tensor(lengths)[:, None]
        cases.append((normal(generator, len(lengths), n, d) + 1, present))
    return cases


# ------------------------------------------------------------------------ 11.2, a published matrix into heads


def _queries(x, W, b, n_heads):
    return (x @ W.T + b).reshape(len(x), n_heads, -1).transpose(0, 1)


def _queries_cases(generator):
    return [
        (normal(generator, n, d), normal(generator, d, d), normal(generator, d), heads)
        for n, d, heads in ((5, 6, 2), (3, 12, 4))
    ]


def _heads_of_inputs(x, W, b, n_heads):
    d_head = len(W) // n_heads
    parts = [slice(h * d_head, (h + 1) * d_head) for h in range(n_heads)]
    return torch.stack([x[:, part] @ W[part, part].T + b[part] for part in parts])


# ------------------------------------------------------------------------------------ 11.3, freeze one head


def _edited(at, A, layer, head, M):
    A = A.clone()
    if at == layer:
        A[:, head] = M
    return A


def _every_layer(at, A, layer, head, M):
    return _edited(layer, A, layer, head, M)


def _every_head(at, A, layer, head, M):
    return M.expand_as(A) if at == layer else A


def _text_for_head(at, A, layer, head, M):
    A = A.clone()
    if at == layer:
        A[head] = M
    return A


_EDIT_MISTAKES = {
    "nothing is changed in the layer.": lambda at, A, layer, head, M: A,
    "this freezes the head in every layer; look at the number of the layer.": _every_layer,
    "this freezes all heads of the layer; only one is asked for.": _every_head,
    "this freezes every head of every layer.": lambda at, A, layer, head, M: M.expand_as(A),
    "this freezes all heads of one text; A is (texts, n_heads, n, n), so the head is on the second axis.": _text_for_head,
    "layers count from 0 here, and this takes layer 1 to be the first.": lambda at, A, layer, head, M: (
        _edited(at + 1, A, layer, head, M)
    ),
    "heads count from 0 here, and this takes head 1 to be the first.": lambda at, A, layer, head, M: _edited(
        at, A, layer, head - 1, M
    ),
    "M is transposed: rows read, columns are read.": lambda at, A, layer, head, M: _edited(
        at, A, layer, head, M.T
    ),
    "M is added to the computed weights; it should take their place.": lambda at, A, layer, head, M: _edited(
        at, A, layer, head, A[:, head] + M
    ),
    "the other heads of the layer are set to 0; they should stay as they are computed.": lambda at, A, layer, head, M: (
        _edited(at, 0 * A, layer, head, M) if at == layer else A
    ),
}


def _judge_edit(answer):
    """The edit is called for each layer of a small encoder with random weights."""
    generator = torch.Generator().manual_seed(0)
    layer, head = 1, 2
    M = normal(generator, 5, 5).softmax(-1)
    edit = run(answer, (layer, head, M.clone()))
    if not callable(edit):
        return f"my_edit returns a {type(edit).__name__}; it should return a function, edit(at, A)."
    results, inputs = [], [normal(generator, 3, 4, 5, 5).softmax(-1) for _ in range(3)]
    for at, A in enumerate(inputs):
        copy = A.clone()
        try:
            result = edit(at, copy)
        except Exception as error:
            raise CheckFailed(f"your code raised {type(error).__name__}: {error}") from error
        if result is None:
            return f"edit returns nothing for layer {at}; it must return the weights of every layer."
        if not torch.equal(copy, A):
            return "edit changes A itself; work on a copy."
        result = tensor(result)
        if result.shape != A.shape:
            return (
                f"edit returns weights of shape {tuple(result.shape)}, expected {tuple(A.shape)}, those of A."
            )
        results.append(result)

    def like(wrong):
        return all(
            torch.allclose(result, wrong(at, A, layer, head, M).double(), rtol=1e-6, atol=1e-9)
            for at, (A, result) in enumerate(zip(inputs, results))
        )

    if like(_edited):
        return None
    for diagnosis, wrong in _EDIT_MISTAKES.items():
        if like(wrong):
            return diagnosis
    return "the weights differ from what is asked for, in no way that this check knows."


# ---------------------------------------------------------------------------- 11.4, the mean of the other half


def _means(weigh):
    """For each text i a mean over texts j with weights weigh(half_i, half_j, i == j)."""

    def answer(A, half):
        same = half[:, None] == half
        itself = torch.eye(len(A), dtype=torch.bool)
        weights = weigh(same, itself).to(A.dtype)
        return torch.einsum("ij,jab->iab", weights, A)

    return answer


def _shared(chosen):
    return chosen / chosen.sum(1, keepdim=True)


def _means_cases(generator):
    halves = ([0, 1, 1, 0, 1, 0, 1], [1, 0, 0, 0, 1])
    return [(normal(generator, len(half), 3, 3).softmax(-1), torch.tensor(half)) for half in halves]


# ------------------------------------------------------------------- 11.5, the interval of a paired difference


def _judge_interval(answer):
    """Both ends, as the mean of five calls, since resamples are random; compared with the normal approximation."""
    cases = []
    generator = torch.Generator().manual_seed(0)
    for questions, sure in ((1000, 0.8), (700, 0.6)):
        easy = torch.rand(questions, generator=generator) < 0.6
        noise = torch.rand(2, questions, generator=generator) < sure
        a, b = (
            (easy & noise[0]) | (torch.rand(questions, generator=generator) < 0.2),
            (easy & noise[0] & noise[1]),
        )
        cases.append((a.double(), b.double()))
    got = []
    for case in cases:
        ends = torch.stack([_two(call(answer, case)) for _ in range(5)])
        if not torch.isfinite(ends).all():
            return "the interval holds a number that is not finite (inf or NaN)."
        if (ends[:, 0] > ends[:, 1]).any():
            return "the lower end is above the upper one."
        got.append(ends.mean(0))

    def like(middle, error, z=1.96):
        return all(
            (ends - torch.tensor([middle(a, b) - z * error(a, b), middle(a, b) + z * error(a, b)]))
            .abs()
            .max()
            < 0.2 * _paired(a, b)
            for ends, (a, b) in zip(got, cases)
        )

    if like(_difference, _paired):
        return None
    for diagnosis, middle, error, z in (
        ("the two models are resampled separately; draw questions, and take both answers to each.", _difference, _unpaired, 1.96),
        ("the sign is turned: it should be the share of a minus that of b.", lambda a, b: -_difference(a, b), _paired, 1.96),
        ("too narrow, this is the middle 90 of 100; take a fortieth off at each end.", _difference, _paired, 1.645),
        ("this is about the middle two thirds: one standard error to each side.", _difference, _paired, 1.0),
        ("too wide, this is the middle 99 of 100; take a fortieth off at each end.", _difference, _paired, 2.576),
        ("this is the middle half of the resamples; take a fortieth off at each end.", _difference, _paired, 0.674),
        ("this is the interval of a alone.", lambda a, b: a.mean(), lambda a, b: a.std() / len(a) ** 0.5, 1.96),
        ("this is the interval of b alone.", lambda a, b: b.mean(), lambda a, b: b.std() / len(b) ** 0.5, 1.96),
        ("the interval lies around 0; it should lie around the measured difference.", lambda a, b: 0.0, _paired, 1.96),
    ):  # fmt: skip
        if like(middle, error, z):
            return diagnosis
    if all(torch.equal(ends, (a - b).quantile(_ENDS)) for ends, (a, b) in zip(got, cases)):
        return "this is where most single questions lie; take the mean of each resample first."
    if all(ends[1] - ends[0] > 20 * _paired(a, b) for ends, (a, b) in zip(got, cases)):
        return "the interval is far too wide: is it one of sums? Take the mean of each resample."
    return "the ends differ from those of the bootstrap interval by more than chance explains."


_ENDS = torch.tensor([0.025, 0.975], dtype=torch.float64)


def _two(result):
    if result.shape != (2,):
        raise CheckFailed(f"the result has shape {tuple(result.shape)}; expected (2,), the two ends.")
    return result


def _difference(a, b):
    return (a - b).mean().item()


def _paired(a, b):
    return ((a - b).std() / math.sqrt(len(a))).item()


def _unpaired(a, b):
    return ((a.var() + b.var()) / len(a)).sqrt().item()


JUDGES = {
    "11.1": same_as(
        _vectors,
        _vectors_cases,
        {
            "the places where there is no token are counted: multiply them by 0, or leave them out.": lambda features, present: (
                F.normalize(features.sum(1), dim=-1)
            ),
            "the places where there is no token are counted, and the length isn't 1.": lambda features, present: (
                features.mean(1)
            ),
            "this is the mean over the tokens that are there, but its length isn't 1.": lambda features, present: (
                (features * present[..., None]).sum(1) / present.sum(1, keepdim=True)
            ),
            "this divides by the number of places, not of tokens; and the length isn't 1.": lambda features, present: (
                (features * present[..., None]).mean(1)
            ),
            "this is the sum over the tokens that are there; its length isn't 1.": lambda features, present: (
                features * present[..., None]
            ).sum(1),
            "this is the first token alone; take the mean over all that are there.": lambda features, present: (
                F.normalize(features[:, 0], dim=-1)
            ),
            "each token is brought to length 1 before the mean; only the mean should be.": lambda features, present: (
                F.normalize((F.normalize(features, dim=-1) * present[..., None]).sum(1), dim=-1)
            ),
            "the length is taken over the texts instead of over the features.": lambda features, present: (
                F.normalize((features * present[..., None]).sum(1) / present.sum(1, keepdim=True), dim=0)
            ),
        },
    ),
    "11.2": same_as(
        _queries,
        _queries_cases,
        {
            "W is used the other way round: x @ W.T + b.": lambda x, W, b, n_heads: _queries(
                x, W.T, b, n_heads
            ),
            "the bias b is missing.": lambda x, W, b, n_heads: _queries(x, W, 0 * b, n_heads),
            "the heads are interleaved: head h should own neighbouring numbers, not every n_heads-th.": lambda x, W, b, n_heads: (
                (x @ W.T + b).reshape(len(x), -1, n_heads).permute(2, 0, 1)
            ),
            "reshaped without exchanging the axes, so that a head gets numbers of several heads and tokens.": lambda x, W, b, n_heads: (
                (x @ W.T + b).reshape(n_heads, len(x), -1)
            ),
            "the heads are cut from the input as well: every head should see all features of a token.": _heads_of_inputs,
        },
    ),
    "11.3": _judge_edit,
    "11.4": same_as(
        _means(lambda same, itself: _shared(~same)),
        _means_cases,
        {
            "this is the mean over the text's own half, the text itself included.": _means(
                lambda same, itself: _shared(same)
            ),
            "this is the mean over all texts, the text itself included.": _means(
                lambda same, itself: _shared(same | ~same)
            ),
            "this leaves out only the text itself; its paraphrase would still be in the mean.": _means(
                lambda same, itself: _shared(~itself)
            ),
            "this is the mean over the rest of the text's own half; take the other half.": _means(
                lambda same, itself: _shared(same & ~itself)
            ),
            "the sum over the other half is divided by the number of all texts.": _means(
                lambda same, itself: ~same / len(same)
            ),
            "this is the sum over the other half; divide by their number.": _means(
                lambda same, itself: ~same
            ),
            "the mean is right, but row and column are exchanged.": lambda A, half: (
                _means(lambda same, itself: _shared(~same))(A, half).mT
            ),
        },
    ),
    "11.5": _judge_interval,
}
