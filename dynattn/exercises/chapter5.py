"""Judges of the exercises of chapter 5."""

import itertools

import torch

from dynattn.exercises._judging import call, close, normal, run, same_as, tensor, unlike


def _directions(widest=lambda n: n, count=lambda n, r: r * (2 * n - r)):
    """The dimension of tables of logits, with one part replaced."""
    return lambda n, d_k: torch.tensor(count(n, min(d_k, widest(n))))


def _pair(answer, A, names):
    """The two tensors that an answer returns for its own copy of A."""
    given = A.clone()
    result = run(answer, (given,))
    if not torch.equal(A, given):
        return None, "your code changes its input in place; work on a copy."
    if not (isinstance(result, tuple | list) and len(result) == 2):
        return None, f"return two tensors, {names}."
    return tuple(map(tensor, result)), None


def _judge_superposition(answer):
    """Fixed hard routings, the identity first, and the coefficients with which they add up to A."""
    generator, before = torch.Generator().manual_seed(0), {}
    for n in (3, 4, 3):
        A = normal(generator, n, n).softmax(1)
        found, diagnosis = _pair(answer, A, "c and W")
        if diagnosis:
            return diagnosis
        c, W = found
        K = n * (n - 1) + 1
        if c.shape == (K, n, n) and W.shape == (K,):
            return "c and W have changed places: return the coefficients first."
        if c.shape != (K,) or W.shape != (K, n, n):
            return f"for {n} tokens c has shape {tuple(c.shape)} and W {tuple(W.shape)}; expected ({K},) and ({K}, {n}, {n})."
        if not (torch.isfinite(c).all() and torch.isfinite(W).all()):
            return "the result holds a number that is not finite (inf or NaN)."
        if n in before and not torch.equal(before[n], W):
            return "your networks change with A; they must be stored before A is known, and only c may depend on it."
        before[n] = W
        routing = ((W == 0) | (W == 1)).all() and (W.sum(2) == 1).all()
        if (diagnosis := unlike(W[0], torch.eye(n))) is not None or not torch.equal(
            W[0], torch.eye(n).double()
        ):
            if routing and (W[0].sum(0) == n).any():
                return (
                    "W[0] lets all tokens read from the same one, as in the chapter; here it is the identity."
                )
            return diagnosis or "W[0] must be the identity: every token reads from itself."
        if not routing:
            return "a network holds something else than one 1 in each row and zeros: differences of networks are no networks."
        total = torch.einsum("k,kij->ij", c, W)
        if not close(total, A):
            if not close(c.sum(), 1):
                return f"the coefficients add up to {c.sum():.3g}, not 1, so the rows of the sum don't: what is left for W[0]?"
            off = ~torch.eye(n, dtype=torch.bool)
            if close(total[off], A.T[off]):
                return "off the diagonal the sum is the transpose of A: row i says from where token i reads."
            return f"the sum differs from A by up to {(total - A).abs().max():.3g}."
    return None


def _judge_mixture(answer):
    """Few hard routings with shares that are not negative."""
    generator = torch.Generator().manual_seed(0)
    soft = [normal(generator, n, n).softmax(1) for n in (3, 5)]
    sparse = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75]], dtype=torch.float64)
    for A in [*soft, torch.eye(4, dtype=torch.float64), sparse]:
        found, diagnosis = _pair(answer, A, "shares and routings")
        if diagnosis:
            return diagnosis
        shares, routings = found
        n, most = len(A), len(A) * (len(A) - 1) + 1
        if shares.dim() != 1 or routings.shape != (len(shares), n) or len(shares) == 0:
            return f"got shapes {tuple(shares.shape)} and {tuple(routings.shape)}; expected (R,) and (R, {n}), with R at least 1."
        if not torch.isfinite(shares).all():
            return "the result holds a number that is not finite (inf or NaN)."
        if not (torch.isfinite(routings).all() and (routings == routings.round()).all()
                and (routings >= 0).all() and (routings < n).all()):  # fmt: skip
            return f"a routing holds something else than places from 0 to {n - 1}."
        if not close(shares.min().clamp(max=0), 0):
            return f"one share is {shares.min():.3g}: in a mixture none is negative."
        if len(shares) > most:
            if len(shares) == n**n:
                return f"these are all {n**n} routings, as in claim 5.10; at most {most} are allowed."
            return f"{len(shares)} routings for {n} tokens; at most {most} are allowed."
        if not close(shares.sum(), 1):
            return f"the shares add up to {shares.sum():.3g}, not 1."
        table = torch.nn.functional.one_hot(routings.long(), n).double()
        total = torch.einsum("r,rij->ij", shares, table)
        if not close(total, A):
            return f"the mixture differs from A by up to {(total - A).abs().max():.3g}."
    return None


def _judge_bank(answer):
    """Six matrices for the 24 orders of four tokens, better than the chapter's construction."""
    bank = call(answer, ())
    if (diagnosis := unlike(bank, torch.zeros(6, 4, 4))) is not None:
        return diagnosis
    orders = list(itertools.permutations(range(4)))
    P = torch.eye(4, dtype=torch.float64)[torch.tensor(orders)].flatten(1)
    distance = torch.cdist(P, bank.flatten(1)).square()
    missed = (distance.min(1).values.mean() / 3).item()  # one matrix, the mean, misses 4 (1 - 1/4) = 3
    if missed < 0.6:
        return None
    served = len(set(distance.argmin(1).tolist()))
    if served < 6:
        return f"this bank misses {missed:.3f}; only {served} of its six matrices are ever the nearest one."
    if ((bank == 0) | (bank == 1)).all():
        return f"this bank misses {missed:.3f}: each of its matrices is right for one order; let each serve several, as their mean."
    groups = distance.argmin(1)
    means = torch.stack([P[groups == k].mean(0) for k in range(6)])
    if not close(means, bank.flatten(1)):
        return f"this bank misses {missed:.3f}: a matrix is not the mean of the orders that it serves, which would be better."
    return f"this bank misses {missed:.3f}; less than 0.6 is possible."


JUDGES = {
    "5.1": same_as(
        _directions(),
        lambda generator: [(3, 1), (6, 2), (6, 5), (6, 6), (4, 9)],
        {
            "this is the chapter's D, after the softmax; here the constants of the rows count, too.": _directions(
                lambda n: n - 1, lambda n, r: r * (2 * n - 1 - r)
            ),
            "right for narrow heads only: no table of n columns has a rank above n.": lambda n, d_k: (
                torch.tensor(d_k * (2 * n - d_k))
            ),
            "these are the numbers in queries and keys; many of them give the same logits.": lambda n, d_k: (
                torch.tensor(2 * n * d_k)
            ),
            "all n * n logits, as if the width didn't limit them.": lambda n, d_k: torch.tensor(n * n),
            "the limit is n, not n - 1: the rows of logits need not add up to 0 here.": _directions(
                lambda n: n - 1
            ),
        },
    ),
    "5.2": _judge_superposition,
    "5.3": _judge_mixture,
    "5.4": _judge_bank,
}
