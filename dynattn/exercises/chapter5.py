"""The exercises of chapter 5."""

import itertools

import torch

from dynattn.exercises._judging import (
    ONE_TOKEN,
    CheckFailed,
    Exercise,
    Hard,
    Variants,
    call,
    close,
    kept,
    normal,
    several,
    unlike,
)


def _directions(widest=lambda n: n, count=lambda n, r: r * (2 * n - r)):
    """The dimension of tables of logits, with one part replaced."""
    return lambda n, d_k: torch.tensor(count(n, min(d_k, widest(n))))


# ------------------------------------------------------------------------------- 5.2, your own fixed networks

_READS = {0: "from **itself**", 1: "from **the token before it**, and the first token from the last"}


def _superposition_text(by):
    first = "the identity" if by == 0 else "this one"
    return (
        "The chapter's networks started from *all read from the last token*. Start from a different one, in which every token "
        f"reads {_READS[by]}. Given a matrix `A` of shape (n, n) whose rows add up to 1, return the coefficients `c`, of shape "
        f"(n(n-1)+1,), and the networks `W`, of shape (n(n-1)+1, n, n), with `W[0]` {first} and the sum of `c[k] * W[k]` equal to "
        "`A`. The networks must hold only zeros and ones, one 1 in each row, and must not depend on `A`."
    )


def _superposition(by):
    def start(n):
        return torch.eye(n, dtype=torch.float64).roll(by, dims=0)

    def added(A):
        """The coefficients of the networks in which one row of the first is another, and these networks."""
        n, one = len(A), torch.eye(len(A), dtype=A.dtype)
        places = [(i, j) for i in range(n) for j in range(n) if not start(n)[i, j]]
        W = [start(n), *(torch.where(torch.arange(n)[:, None] == i, one[j], start(n)) for i, j in places)]
        c = torch.tensor([A[i, j] for i, j in places], dtype=A.dtype)
        return torch.cat([1 - c.sum(keepdim=True, dim=0), c]), torch.stack(W)

    def sums(answer, case):
        """What two matrices of the same size become, of which both have the same networks."""
        found = [list(several(kept(answer, [A]), 2, "two tensors, c and W")) for A in case]
        for c, W in found:
            n = len(case[0])
            K = n * (n - 1) + 1
            if K > 1 and c.shape == (K, n, n) and W.shape == (K,):
                raise CheckFailed("c and W have changed places: return the coefficients first.")
            if c.shape != (K,) or W.shape != (K, n, n):
                raise CheckFailed(
                    f"for {n} tokens c has shape {tuple(c.shape)} and W {tuple(W.shape)}; expected ({K},) and ({K}, {n}, {n})."
                )
            if not (torch.isfinite(c).all() and torch.isfinite(W).all()):
                raise CheckFailed("the result holds a number that is not finite (inf or NaN).")
            routing = bool(((W == 0) | (W == 1)).all() and (W.sum(2) == 1).all())
            if not torch.equal(W[0], start(n)):
                if routing and (W[0].sum(0) == n).any():
                    raise CheckFailed(
                        f"W[0] lets all tokens read from the same one, as in the chapter; here every token reads {_READS[by]}."
                    )
                raise CheckFailed(
                    f"W[0] must be the {'identity' if by == 0 else 'shift'}: every token reads {_READS[by]}."
                )
            if not routing:
                raise CheckFailed(
                    "a network holds something else than one 1 in each row and zeros: differences of networks are no networks."
                )
            if not torch.equal(W, found[0][1]):
                raise CheckFailed(
                    "your networks change with A; they must be stored before A is known, and only c may depend on it."
                )
            if not close(c.sum(), 1):
                raise CheckFailed(
                    f"the coefficients add up to {c.sum():.3g}, not 1, so the rows of the sum don't: what is left for W[0]?"
                )
        return torch.stack([torch.einsum("k,kij->ij", c, W) for c, W in found])

    def transposed(A):
        """A's transpose where the first network has no 1, and whatever makes the rows add up there."""
        return added(torch.where(start(len(A)) == 0, A.T, A))

    return Exercise(
        added,
        lambda generator: [tuple(normal(generator, 2, n, n).softmax(2)) for n in (3, 4, 2)],
        {
            "the sum is the transpose of A, but for the places of W[0]: row i says from where token i reads.": transposed
        },
        outcome=sums,
        otherwise="the sum of c[k] * W[k] differs from A.",
    )


# ------------------------------------------------------------------------------------------ 5.3, a true mixture


def _greedy(A):
    """Takes, again and again, from every row as much as the largest entry of each allows."""
    left, shares, routings, rows = A.clone(), [], [], torch.arange(len(A))
    while not shares or left.max(1).values.min() > 1e-12:
        most, places = left.max(1)
        shares.append(most.min())
        routings.append(places)
        left[rows, places] -= most.min()
    return torch.stack(shares) / sum(shares), torch.stack(routings)


def _mixed(answer, case):
    """The mixture of hard routings, few and with shares that are not negative."""
    (A,) = case
    shares, routings = several(kept(answer, case), 2, "two tensors, shares and routings")
    n, most = len(A), len(A) * (len(A) - 1) + 1
    if shares.dim() != 1 or routings.shape != (len(shares), n) or len(shares) == 0:
        raise CheckFailed(
            f"got shapes {tuple(shares.shape)} and {tuple(routings.shape)}; expected (R,) and (R, {n}), with R at least 1."
        )
    if not torch.isfinite(shares).all():
        raise CheckFailed("the result holds a number that is not finite (inf or NaN).")
    if not (torch.isfinite(routings).all() and (routings == routings.round()).all()
            and (routings >= 0).all() and (routings < n).all()):  # fmt: skip
        raise CheckFailed(f"a routing holds something else than places from 0 to {n - 1}.")
    if not close(shares.min().clamp(max=0), 0):
        raise CheckFailed(f"one share is {shares.min():.3g}: in a mixture none is negative.")
    if len(shares) > most:
        if len(shares) == n**n:
            raise CheckFailed(f"these are all {n**n} routings, as in claim 5.10; at most {most} are allowed.")
        raise CheckFailed(f"{len(shares)} routings for {n} tokens; at most {most} are allowed.")
    if not close(shares.sum(), 1):
        raise CheckFailed(f"the shares add up to {shares.sum():.3g}, not 1.")
    return torch.einsum("r,rij->ij", shares, torch.nn.functional.one_hot(routings.long(), n).double())


def _mixture_cases(generator):
    soft = [normal(generator, n, n).softmax(1) for n in (3, 5)]
    sparse = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75]], dtype=torch.float64)
    return [
        *((A,) for A in (*soft, sparse)),
        Hard(
            "right, but not for a matrix that is a hard routing already.", torch.eye(4, dtype=torch.float64)
        ),
        Hard(ONE_TOKEN, torch.ones(1, 1, dtype=torch.float64)),
    ]


# ------------------------------------------------------------------------------------------- 5.4, a bank of six


def _groups_of_orders():
    """Six groups of the 24 orders of four: by the first place, and for two of these by the second place as well."""
    groups = {}
    for order in itertools.permutations(range(4)):
        second = min(set(range(4)) - {order[0]}) == order[1] if order[0] < 2 else None
        groups.setdefault((order[0], second), []).append(torch.eye(4, dtype=torch.float64)[list(order)])
    return torch.stack([torch.stack(group).mean(0) for group in groups.values()])


def _missed(answer, case):
    """Whether six matrices for the 24 orders of four tokens miss less than the chapter's construction."""
    bank = call(answer, ())
    if diagnosis := unlike(bank, torch.zeros(6, 4, 4)):
        raise CheckFailed(diagnosis)
    orders = list(itertools.permutations(range(4)))
    P = torch.eye(4, dtype=torch.float64)[torch.tensor(orders)].flatten(1)
    distance = torch.cdist(P, bank.flatten(1)).square()
    missed = (distance.min(1).values.mean() / 3).item()  # one matrix, the mean, misses 4 (1 - 1/4) = 3
    if missed < 0.6:
        return torch.tensor(1.0)
    groups = distance.argmin(1)
    if (served := len(groups.unique())) < 6:
        raise CheckFailed(
            f"this bank misses {missed:.3f}; only {served} of its six matrices are ever the nearest one."
        )
    if ((bank == 0) | (bank == 1)).all():
        raise CheckFailed(
            f"this bank misses {missed:.3f}: each of its matrices is right for one order; let each serve several, as their mean."
        )
    if not close(torch.stack([P[groups == k].mean(0) for k in range(6)]), bank.flatten(1)):
        raise CheckFailed(
            f"this bank misses {missed:.3f}: a matrix is not the mean of the orders that it serves, which would be better."
        )
    raise CheckFailed(f"this bank misses {missed:.3f}; less than 0.6 is possible.")


EXERCISES = {
    "5.1": Exercise(
        _directions(),
        lambda generator: [(3, 1), (6, 2), (6, 5), (6, 6), (4, 9), (1, 1), (1, 64), (1000, 1)],
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
    "5.2": Variants(_superposition_text, _superposition, {"by": 0}, {"by": 1}),
    "5.3": Exercise(_greedy, _mixture_cases, outcome=_mixed, otherwise="the mixture differs from A."),
    "5.4": Exercise(_groups_of_orders, lambda generator: [()], outcome=_missed),
}
