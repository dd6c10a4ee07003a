"""Judges of the exercises of chapter 8."""

import math

import torch
import torch.nn.functional as F

from dynattn.exercises._judging import call, normal, run, same_as, tensor
from dynattn.tasks import regressions

# ------------------------------------------------------------------------------------------ 8.1, a fading store


def _fading(faded=lambda age, place: age, keep=torch.tril, dot=lambda q, k: q @ k.T):
    """The matrix of a fading store, with another number of fadings, another part kept, or other products."""

    def answer(q, k, f):
        place = torch.arange(len(q), dtype=q.dtype)
        age = place[:, None] - place
        return keep(dot(q, k) * f ** faded(age, place))

    return answer


def _fading_cases(generator):
    return [
        (normal(generator, n, d), normal(generator, n, d), f)
        for n, d, f in ((5, 3, 0.5), (4, 4, 0.9), (3, 2, 1.0))
    ]


# ----------------------------------------------------------------------------------------------- 8.2, Bayes


def _guess(
    followers=lambda text: text[1:][text[:-1] == text[-1]], more=lambda count: 1, parts=lambda count: count
):
    """Probabilities from the counts of some letters, with something added to each count."""

    def answer(text, count):
        counts = torch.bincount(followers(text), minlength=count).double()
        return (counts + more(count)) / (counts.sum() + more(count) * parts(count)).clamp_min(1e-9)

    return answer


def _with_itself(text):
    """Counts the last letter as if it had followed itself."""
    return torch.cat([text[1:][text[:-1] == text[-1]], text[-1:]])


def _guess_cases(generator):
    texts = [torch.tensor(letters) for letters in ([0, 1, 0, 1, 0], [2, 2, 1, 0, 2, 1, 2], [0, 1, 2, 3])]
    return list(zip(texts, (3, 3, 5)))


# --------------------------------------------------------------------------------- 8.3, one gradient step


def _judge_step(answer):
    """Any B and W_V will do with which the head takes the step."""
    generator = torch.Generator().manual_seed(0)
    for d, eta in ((5, 0.1), (3, 0.04)):
        result = run(answer, (d, eta))
        if not (isinstance(result, tuple | list) and len(result) == 2):
            return "return two things, B and W_V."
        B, W_V = map(tensor, result)
        if B.shape != (d + 1, d + 1) or W_V.shape != (d + 1,):
            return (
                f"got shapes {tuple(B.shape)} and {tuple(W_V.shape)} for d = {d}; expected {(d + 1, d + 1)} and "
                f"{(d + 1,)}."
            )
        (examples, asking), _ = regressions(200, 7, d, generator)
        examples, asking = examples.double(), asking.double()
        got = ((examples @ (asking @ B)[..., None])[..., 0] * (examples @ W_V)).sum(-1)
        if not torch.isfinite(got).all():
            return "the answers hold a number that is not finite (inf or NaN)."
        x, y = examples[..., :d], examples[..., d]
        step = ((y[..., None] * x).sum(1) * asking[:, :d]).sum(-1)
        brings_x = ((x @ asking[:, :d, None])[..., 0][..., None] * x).sum((1, 2))
        if torch.allclose(got, eta * step, rtol=1e-4, atol=1e-6):
            continue
        for diagnosis, wrong in {
            "this is the step with size 1: eta is missing.": step,
            "eta is in both, so the step has size eta squared: put it into one of them.": eta**2 * step,
            "the step goes uphill: the sign is turned.": -eta * step,
            "divided by the number of examples, which the head can't know: the step sums over them.": eta
            * step
            / 7,
            "W_V brings the x of the examples; it should bring their y.": eta * brings_x,
            "W_V brings x and y together; it should bring y alone.": eta * (brings_x + step),
            "the answer is 0: B compares nothing, or W_V brings nothing.": 0 * step,
        }.items():
            if torch.allclose(got, wrong, rtol=1e-4, atol=1e-6):
                return diagnosis
        return "these matrices don't take the step: B should compare the two x, number by number, and W_V bring y."
    return None


# ------------------------------------------------------------------------------------- 8.4, two letters before


def _longer(match, hide=lambda i, j: j > i):
    """Rows that share their weight among the tokens that match; token 0 where there is none."""

    def answer(text):
        n = len(text)
        A = torch.zeros(n, n)
        for i in range(n):
            for j in range(n):
                A[i, j] = float(not hide(i, j) and match(text, i, j))
            if not A[i].any():
                A[i, 0] = 1
        return A / A.sum(1, keepdim=True)

    return answer


def _came_after(text, i, j):
    return i >= 1 and j >= 2 and text[j - 1] == text[i] and text[j - 2] == text[i - 1]


def _longer_cases(generator):
    texts = [torch.randint(count, (n,), generator=generator) for n, count in ((14, 2), (12, 2), (24, 3))]
    return [(text,) for text in texts]


# -------------------------------------------------------------------------------------- 8.5, room for 32 keys


def _judge_features(answer):
    """Features of keys, each by itself, with which a sum of 32 outer products reads with an error below a tenth."""
    generator = torch.Generator().manual_seed(0)
    k = F.normalize(normal(generator, 20 * 32, 16), dim=-1)
    f = call(answer, (k,))
    if f.dim() != 2 or len(f) != len(k):
        return f"for keys of shape {tuple(k.shape)} the result has shape {tuple(f.shape)}; expected ({len(k)}, features)."
    if f.shape[1] > 5000:
        return f"{f.shape[1]:,} features; at most 5000 are allowed."
    if not torch.isfinite(f).all():
        return "the features hold a number that is not finite (inf or NaN)."
    part = call(answer, (k[:7],))
    if part.shape != (7, f.shape[1]) or not torch.allclose(part, f[:7], rtol=1e-4, atol=1e-6):
        return "a key's features depend on the other keys, or on chance; each key must be turned by itself."
    own = f.square().sum(-1)
    if own.max() < 1e-12:
        return "all features are zero."
    products = f.unflatten(0, (20, 32)) @ f.unflatten(0, (20, 32)).mT
    values = normal(generator, 20, 32, 16)
    error = ((products @ values - values).square().sum() / values.square().sum()).item()
    if error < 0.1:
        return None
    if own.std() < 1e-3 * own.mean() and abs(own.mean() - 1) > 1e-2:
        scaled = ((products / own.mean() @ values - values).square().sum() / values.square().sum()).item()
        return (
            f"the product of a key's features with themselves is {own.mean():.3g}, and should be 1: divide the features "
            f"by its root. Then the error would be {scaled:.3g}."
        )
    if own.std() >= 1e-3 * own.mean() and (own - 1).abs().max() > 0.05:
        return (
            f"the product of a key's features with themselves should be 1 for every key, and is between {own.min():.3g} "
            f"and {own.max():.3g}."
        )
    if math.isclose(error, 31 / 16, rel_tol=0.1):
        return f"the error is {error:.3g}, as with the keys themselves: these features don't set different keys apart."
    return f"the error is {error:.3g}: the products of different keys' features are still too far from 0."


_LONGER_MISTAKES = {
    "this matches one letter, as in the chapter; here the two letters before j must both match.": _longer(
        lambda text, i, j: j >= 1 and text[j - 1] == text[i]
    ),
    "this looks at the earlier place of the two letters itself; look one token further, at what came after them.": _longer(
        lambda text, i, j: 1 <= j < i and text[j] == text[i] and text[j - 1] == text[i - 1]
    ),
    "this looks at the place of the two letters itself, its own included; look at what came after them.": _longer(
        lambda text, i, j: j >= 1 and text[j] == text[i] and text[j - 1] == text[i - 1]
    ),
    "the two letters are matched in the wrong order.": _longer(
        lambda text, i, j: i >= 1 and j >= 2 and text[j - 1] == text[i - 1] and text[j - 2] == text[i]
    ),
    "one of the two letters is enough here; both must match.": _longer(
        lambda text, i, j: i >= 1 and j >= 2 and (text[j - 1] == text[i] or text[j - 2] == text[i - 1])
    ),
    "only the older of the two letters is matched.": _longer(
        lambda text, i, j: i >= 1 and j >= 2 and text[j - 2] == text[i - 1]
    ),
    "token i looks at tokens after itself: only j <= i may be seen.": _longer(
        _came_after, lambda i, j: False
    ),
    "token i doesn't look at itself, but its own letter may have come after the two: j = i counts.": _longer(
        _came_after, lambda i, j: j >= i
    ),
}

JUDGES = {
    "8.1": same_as(
        _fading(),
        _fading_cases,
        {
            "nothing fades: f is not used.": _fading(lambda age, place: 0 * age),
            "token i reads tokens after itself: what hasn't been written yet can't be read.": _fading(
                lambda age, place: age.abs(), keep=lambda A: A
            ),
            "one fading too many: what token i writes itself is read before it fades.": _fading(
                lambda age, place: age + 1
            ),
            "one fading too few: token i - 1 has faded once when token i reads.": _fading(
                lambda age, place: (age - 1).clamp(min=0)
            ),
            "read before written: token i also reads what it has just written itself.": _fading(
                keep=lambda A: A.tril(-1)
            ),
            "this fades by the place of the token that is read; it should fade by how long ago that was.": _fading(
                lambda age, place: place.expand_as(age)
            ),
            "this fades by the place of the token that reads; it should fade by how long ago the other one wrote.": _fading(
                lambda age, place: place[:, None].expand_as(age)
            ),
            "queries and keys have changed places: row i belongs to the query of token i.": _fading(
                dot=lambda q, k: k @ q.T
            ),
            "divided by the root of d: a store knows no such scale.": _fading(
                dot=lambda q, k: q @ k.T / q.shape[1] ** 0.5
            ),
            "there is a softmax in it: a store only adds.": lambda q, k, f: (
                _fading()(q, k, f)
                .masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), -torch.inf)
                .softmax(-1)
            ),
            "the matrix is transposed: rows read, columns are read.": lambda q, k, f: _fading()(q, k, f).T,
        },
        gradient=True,
    ),
    "8.2": same_as(
        _guess(),
        _guess_cases,
        {
            "this counts all letters, no matter after what; count those that followed the present letter.": _guess(
                lambda text: text
            ),
            "these are the shares of the letters that followed; add one to every count.": _guess(
                more=lambda count: 0
            ),
            "this counts the letters BEFORE the present letter; count those after it.": _guess(
                lambda text: text[:-1][text[1:] == text[-1]]
            ),
            "the last letter is counted as if it had followed itself; nothing has followed it yet.": _guess(
                _with_itself
            ),
            "one is added to every count, but not to their sum: the probabilities must add up to one.": _guess(
                parts=lambda count: 0
            ),
            "one is added to the sum only once: with one more for every letter, the sum grows by their number.": _guess(
                parts=lambda count: 1
            ),
            "less than one is added to every count (1 / count): that is the mean for another prior.": _guess(
                more=lambda count: 1 / count
            ),
            "these are counts; divide by their sum.": lambda text, count: (
                torch.bincount(text[1:][text[:-1] == text[-1]], minlength=count) + 1.0
            ),
        },
    ),
    "8.3": _judge_step,
    "8.4": same_as(_longer(_came_after), _longer_cases, _LONGER_MISTAKES),
    "8.5": _judge_features,
}
