"""The exercises of chapter 8."""

import torch
import torch.nn.functional as F

from dynattn.exercises._judging import (
    DIFFERENTIABLE,
    CheckFailed,
    Exercise,
    Hard,
    Variants,
    call,
    normal,
    run,
    several,
    unlike,
)
from dynattn.tasks import regressions

# ------------------------------------------------------------------------------------------ 8.1, a fading store

# Of each order of the three steps: its wording, how much older a pair is than i - j, the first diagonal that is read, and
# what it means to count one fading too many or too few.
_ORDERS = {
    "fade, write, read": (
        "Before each write, the memory loses a part of itself: $S \\leftarrow f\\,S + v_i k_i^\\top$, with a number $f$ from 0 "
        "to 1, both included. Then read with $q_i$.",
        0, 0,
        "what token i writes itself is read before it fades.", "token i - 1 has faded once when token i reads.",
    ),
    "write, fade, read": (
        "After each write, the memory loses a part of itself, what has just been written included: $S \\leftarrow f\\,(S + v_i "
        "k_i^\\top)$, with a number $f$ from 0 to 1, both included. Then read with $q_i$.",
        1, 0,
        "what token i writes itself fades once before it is read.", "what token i writes itself fades, too, before it is read.",
    ),
    "read, fade, write": (
        "First read with $q_i$. Then the memory loses a part of itself and is written to: $S \\leftarrow f\\,S + v_i k_i^\\top$, "
        "with a number $f$ from 0 to 1, both included.",
        -1, -1,
        "what token i - 1 wrote hasn't faded yet when token i reads.", "what token i - 2 wrote has faded once when token i reads.",
    ),
}  # fmt: skip


def _fading_text(order):
    return (
        f"{_ORDERS[order][0]} Given queries and keys of shape (n, d), return the matrix $A$ with which `A @ v` gives the same "
        f"outputs. {DIFFERENTIABLE} (Such a fading memory is in [Ba et al. 2016](https://arxiv.org/abs/1610.06258).)"
    )


def _fading(order):
    _, older, newest, too_many, too_few = _ORDERS[order]

    def fading(faded=lambda age, place: age + older, newest=newest, dot=lambda q, k: q @ k.T):
        """The matrix of a fading store, with another number of fadings, another part that is read, or other products."""

        def answer(q, k, f):
            place = torch.arange(len(q), dtype=q.dtype)
            times = faded(place[:, None] - place, place).clamp(
                min=0
            )  # a negative one would spoil the gradient
            return (dot(q, k) * f**times).tril(newest)

        return answer

    def softmaxed(q, k, f):
        later = torch.ones(len(q), len(q), dtype=torch.bool).triu(newest + 1)
        return fading()(q, k, f).masked_fill(later, -torch.inf).softmax(-1).nan_to_num()  # a row may be empty

    def divided(q, k, f):
        A = fading()(q, k, f)
        return (A / A.sum(1, keepdim=True)).nan_to_num()

    mistakes = {
        "nothing fades: f is not used.": fading(lambda age, place: 0 * age),
        "token i reads tokens after itself: what hasn't been written yet can't be read.": fading(
            lambda age, place: age.abs() + older, newest=10**6
        ),
        "token i reads tokens after itself, with negative powers of f: what hasn't been written yet can't be read.": (
            lambda q, k, f: (
                q @ k.T * f ** (torch.arange(len(q), dtype=q.dtype)[:, None] - torch.arange(len(q)) + older)
            )
        ),
        "token i reads tokens after itself, as if these hadn't faded: what hasn't been written yet can't be read.": fading(
            newest=10**6
        ),
        "nothing fades, and token i reads tokens after itself: these are the products of all queries with all keys.": (
            lambda q, k, f: q @ k.T
        ),
        "1 - f in the place of f: the part f is kept, not lost.": lambda q, k, f: fading()(q, k, 1 - f),
        "f is applied once to whatever has faded; a pair fades again and again.": fading(
            lambda age, place: (age + older).clamp(max=1)
        ),
        f"one fading too many: {too_many}": fading(lambda age, place: age + older + 1),
        f"one fading too few: {too_few}": fading(lambda age, place: age + older - 1),
        "this fades by the place of the token that is read; it should fade by how long ago that was.": fading(
            lambda age, place: place.expand_as(age)
        ),
        "this fades by the place of the token that reads; it should fade by how long ago the other one wrote.": fading(
            lambda age, place: place[:, None].expand_as(age)
        ),
        "queries and keys have changed places: row i belongs to the query of token i.": fading(
            dot=lambda q, k: k @ q.T
        ),
        "divided by the root of d: the memory knows no such scale.": fading(
            dot=lambda q, k: q @ k.T / q.shape[1] ** 0.5
        ),
        "there is a softmax in it: the memory only adds.": softmaxed,
        # microsoft/torchscale#81
        "the rows are divided by their sums: the memory only adds.": divided,
        "the matrix is transposed: rows read, columns are read.": lambda q, k, f: fading()(q, k, f).T,
    }
    if older < 1:  # else it is the same as above
        mistakes["everything fades once, no matter how long ago it was written."] = fading(
            lambda age, place: torch.ones_like(age)
        )
    if newest:
        mistakes["written before it is read: token i reads only what the tokens before it wrote."] = fading(
            newest=0
        )
    else:
        mistakes["read before written: token i also reads what it has just written itself."] = fading(
            newest=-1
        )
    for other, (_, its_older, its_newest, *_) in _ORDERS.items():
        if its_newest != newest:
            mistakes[f"this is the order {other}; here it is {order}."] = fading(
                lambda age, place, more=its_older: age + more, newest=its_newest
            )

    def cases(generator):
        sizes = ((5, 3, 0.5), (4, 4, 0.875), (3, 2, 1.0), (1, 3, 0.5))
        nothing_left = "right, except for f = 0: the power 0 of f is 1, and negative powers, which are infinite, must be left out."
        return [(normal(generator, n, d), normal(generator, n, d), f) for n, d, f in sizes] + [
            Hard(nothing_left, normal(generator, 4, 3), normal(generator, 4, 3), 0.0)
        ]

    return Exercise(fading(), cases, mistakes, gradient=True)


# ----------------------------------------------------------------------------------------------- 8.2, Bayes


_ADDED = {1: "one", 2: "two", 0.5: "a half"}


def _guess_text(more):
    asked = "the Bayes predictor's probabilities of the next letter, of shape (count,), as float"
    if more != 1:
        asked = (
            "probabilities of the next letter, of shape (count,), as float: those of a Bayes predictor with another prior, which "
            f"adds *{_ADDED[more]}* to every count in place of one"
        )
    return (
        f"Given one text as a tensor of letter numbers from 0 to `count - 1`, return {asked}. Write it with a loop, or with one "
        "line."
    )


def _guess(more):
    number = _ADDED[more]

    def guess(
        followers=lambda text: text[1:][text[:-1] == text[-1]],
        more=more,
        parts=lambda count: count,
        shares=True,
    ):
        """Probabilities from the counts of some letters, with something added to each count."""

        def answer(text, count):
            counts, add = (
                torch.bincount(followers(text), minlength=count).double(),
                more(count) if callable(more) else more,
            )
            return (counts + add) / ((counts.sum() + add * parts(count)).clamp_min(1e-9) if shares else 1)

        return answer

    mistakes = {
        "this counts all letters, no matter after what; count those that followed the present letter.": guess(
            lambda text: text
        ),
        f"these are the shares of all letters, no matter after what they came; and {number} should be added to every count.": guess(
            lambda text: text, more=0
        ),
        f"these are the shares of the letters that followed; add {number} to every count.": guess(more=0),
        f"these are counts, to each of which {number} should be added; and shares are asked for.": guess(
            more=0, shares=False
        ),
        "there is a softmax of the counts: a share is a count over the sum of the counts.": (
            lambda text, count: guess(more=0, shares=False)(text, count).softmax(0)
        ),
        "this counts the letters BEFORE the present letter; count those after it.": guess(
            lambda text: text[:-1][text[1:] == text[-1]]
        ),
        "the last letter is counted as if it had followed itself; nothing has followed it yet.": guess(
            lambda text: torch.cat([text[1:][text[:-1] == text[-1]], text[-1:]])
        ),
        "the first letter is counted as if it had followed the last one: before text[0], text[i - 1] is the text's end.": guess(
            lambda text: torch.cat([text[1:][text[:-1] == text[-1]], text[:1]])
        ),
        f"{number} is added to every count, but not to their sum: the probabilities must add up to one.": guess(
            parts=lambda count: 0
        ),
        f"{number} is added to the sum only once: with as much more for every letter, the sum grows by their number.": guess(
            parts=lambda count: 1
        ),
        "1 / count is added to every count: that is the mean for another prior.": guess(
            more=lambda count: 1 / count
        ),
        "these are counts; divide by their sum.": guess(shares=False),
    } | {
        f"{word} is added to every count{', or each letter counts twice' * (other == more / 2)}; here {number} is added, and a letter "
        "counts once.": guess(more=other)
        for other, word in _ADDED.items()
        if other != more
    }

    def cases(generator):
        texts = [
            ([0, 1, 0, 1, 0], 3),
            ([2, 2, 1, 0, 2, 1, 2], 3),
            ([3, 0, 3, 3, 1, 3], 5),
            ([1, 0, 2, 0, 2, 1, 0], 3),
        ]
        new = "right, except where nothing has followed the last letter yet: then all letters are equally likely."
        twice = "right, except where a text ends in the same letter twice: then its last pair counts, too."
        hard = [
            *((twice, letters, count) for letters, count in (([2, 0, 1, 2, 0, 0], 3), ([1, 0, 0, 0], 2), ([1, 1], 2))),
            *((new, letters, count) for letters, count in (([0, 1, 2, 3], 5), ([1], 3), ([0], 1))),
        ]  # fmt: skip
        return [(torch.tensor(letters), count) for letters, count in texts] + [
            Hard(diagnosis, torch.tensor(letters), count) for diagnosis, letters, count in hard
        ]

    return Exercise(guess(), cases, mistakes)


# --------------------------------------------------------------------------------- 8.3, one gradient step


def _step_text(first):
    pair, asked = ("(x, y)", "(x, 0)") if first == "x" else ("(y, x)", "(0, x)")
    return (
        f"A head can also carry out a step of training. Tokens are examples `{pair}` with `d` numbers `x`, and the question is "
        f"`{asked}`. A head of linear attention answers with `sum_i (asking @ B @ example_i) * (example_i @ W_V)`. One step of "
        "gradient descent from zero, for answers $y_i = u \\cdot x_i$, goes to $\\eta \\sum_i y_i x_i$. Return `B` of shape "
        "(d + 1, d + 1) and `W_V` of shape (d + 1,) with which it takes one gradient step of size `eta`."
    )


def _step(first):
    def head(compare=lambda eta: eta, bring=lambda eta: 1.0, of_x=0.0, first=first):
        """B compares the two x, with a factor; W_V brings y with another one, and x with a third."""

        def answer(d, eta):
            B, W_V = torch.eye(d + 1, dtype=torch.float64) * compare(eta), torch.full((d + 1,), of_x).double()
            y = d if first == "x" else 0
            B[y, y], W_V[y] = 0, bring(eta)
            return B, W_V

        return answer

    def answers(answer, case):
        """What the head says to many questions."""
        d, _ = case
        B, W_V = several(run(answer, case), 2, "two things, B and W_V")
        if B.shape != (d + 1, d + 1) or W_V.shape != (d + 1,):
            raise CheckFailed(
                f"got shapes {tuple(B.shape)} and {tuple(W_V.shape)} for d = {d}; expected {(d + 1, d + 1)} and {(d + 1,)}."
            )
        tokens, _ = regressions(200, 7, d, torch.Generator().manual_seed(0))
        examples, asking = (part.double().roll(0 if first == "x" else 1, -1) for part in tokens)
        return ((examples @ (asking @ B)[..., None])[..., 0] * (examples @ W_V)).sum(-1)

    layout = "(x, y)" if first == "x" else "(y, x)"
    mistakes = {
        "this is the step with size 1: eta is missing.": head(lambda eta: 1.0),
        "eta is in both, so the step has size eta squared: put it into one of them.": head(
            bring=lambda eta: eta
        ),
        "this step is twice as long: the text's step has the size eta, with no 2 from a square.": head(
            lambda eta: 2 * eta
        ),
        "the step goes uphill: the sign is turned.": head(bring=lambda eta: -1.0),
        "divided by the number of examples, which the head can't know: the step sums over them.": head(
            lambda eta: eta / 7
        ),
        "W_V brings the x of the examples; it should bring their y.": head(bring=lambda eta: 0.0, of_x=1.0),
        "W_V brings x and y together; it should bring y alone.": head(of_x=1.0),
        "the answer is 0: B compares nothing, or W_V brings nothing.": head(bring=lambda eta: 0.0),
        f"the other way round: the tokens are {layout} here.": head(first="y" if first == "x" else "x"),
    }
    otherwise = (
        "these matrices don't take the step: which numbers should be compared, and which should be brought?"
    )
    sizes = [(5, 0.125), (3, 0.0625), (1, 0.5), (2, 1.0)]
    return Exercise(head(), lambda generator: sizes, mistakes, outcome=answers, otherwise=otherwise)


# ------------------------------------------------------------------------------------- 8.4, two letters before


def _longer_text(left):
    rest = "token 0" if left == "token 0" else "token $i$ itself"
    return (
        "In a different kind of language the next letter depends on the last *two* letters. Return the matrix $A_2$ of shape "
        "(n, n) for such a text. Row $i$ shares its weight equally among the tokens $j \\le i$ for which the two letters before "
        "$j$ are token $i$'s own letter and the letter before it, in this order: the letter just before $j$ is token $i$'s own. "
        f"Where there is no such token (as for the first), {rest} gets all. What must the first layer tell each token, so that "
        "this can be computed by comparing?"
    )


def _longer(left):
    def longer(match, hide=lambda i, j: j > i, left=left):
        """Rows that share their weight among the tokens that match, and what a row gets where there is none."""

        def answer(text):
            n = len(text)
            A = torch.tensor(
                [[float(not hide(i, j) and match(text, i, j)) for j in range(n)] for i in range(n)]
            )
            for i in range(n):
                if not A[i].any():
                    A[i, {"token 0": 0, "itself": i, "all": slice(i + 1)}[left]] = 1
            return A / A.sum(1, keepdim=True)

        return answer

    def came_after(text, i, j):
        return i >= 1 and j >= 2 and text[j - 1] == text[i] and text[j - 2] == text[i - 1]

    gets_all = "token 0 gets all" if left == "token 0" else "token i itself gets all"
    mistakes = {
        "this matches one letter, as in the chapter; here the two letters before j must both match.": longer(
            lambda text, i, j: j >= 1 and text[j - 1] == text[i]
        ),
        "this looks at the earlier place of the two letters itself; look one token further, at what came after them.": longer(
            lambda text, i, j: 1 <= j < i and text[j] == text[i] and text[j - 1] == text[i - 1]
        ),
        "this looks at the place of the two letters itself, its own included; look at what came after them.": longer(
            lambda text, i, j: j >= 1 and text[j] == text[i] and text[j - 1] == text[i - 1]
        ),
        "the two letters are matched in the wrong order.": longer(
            lambda text, i, j: i >= 1 and j >= 2 and text[j - 1] == text[i - 1] and text[j - 2] == text[i]
        ),
        "one of the two letters is enough here; both must match.": longer(
            lambda text, i, j: i >= 1 and j >= 2 and (text[j - 1] == text[i] or text[j - 2] == text[i - 1])
        ),
        "only the older of the two letters is matched.": longer(
            lambda text, i, j: i >= 1 and j >= 2 and text[j - 2] == text[i - 1]
        ),
        "token i looks at tokens after itself: only j <= i may be seen.": longer(
            came_after, lambda i, j: False
        ),
        "token i doesn't look at itself, but its own letter may have come after the two: j = i counts.": longer(
            came_after, lambda i, j: j >= i
        ),
        # docs.pytorch.org/docs/stable/generated/torch.roll.html: what leaves at one end comes back at the other
        "the text is read as a circle: before its first letter comes its last one. There is none before the first.": longer(
            lambda text, i, j: text.roll(1)[j] == text[i] and text.roll(2)[j] == text.roll(1)[i]
        ),
        f"where no token matches, the row is shared among all tokens up to i; {gets_all}.": longer(
            came_after, left="all"
        ),
        f"the rest goes to another token: where none matches, {gets_all}.": longer(
            came_after, left="itself" if left == "token 0" else "token 0"
        ),
    }

    def cases(generator):
        def drawn(n, count):
            return torch.randint(count, (n,), generator=generator)

        sizes = ((14, 2), (12, 2), (24, 3), (2, 1), (5, 1))
        return [(drawn(*size),) for size in sizes] + [
            Hard("right, except for a text of one letter.", drawn(1, 2))
        ]

    return Exercise(longer(came_after), cases, mistakes)


# -------------------------------------------------------------------------------------- 8.5, room for 32 keys


def _powers(p):
    def answer(k):
        f = k
        for _ in range(p - 1):
            f = (f[:, :, None] * k[:, None]).flatten(1)
        return f

    return answer


_ENOUGH = 0.1


def _read_error(answer, case):
    """The error with which a sum of 32 outer products reads; if it is small enough, no matter how small."""
    k, values = case
    f = call(answer, (k,))
    if f.dim() != 2 or len(f) != len(k):
        raise CheckFailed(
            f"for keys of shape {tuple(k.shape)} the result has shape {tuple(f.shape)}; expected ({len(k)}, features)."
        )
    if f.shape[1] > 5000:
        raise CheckFailed(f"{f.shape[1]:,} features; at most 5000 are allowed.")
    if diagnosis := unlike(f, f):
        raise CheckFailed(diagnosis)
    for m in (7, 1):
        part = call(answer, (k[:m],))
        if part.shape != (m, f.shape[1]) or not torch.allclose(part, f[:m], rtol=1e-4, atol=1e-6):
            raise CheckFailed(
                "a key's features depend on the other keys, or on chance; each key must be turned by itself."
            )
    own = f.square().sum(-1)
    if own.max() < 1e-12:
        raise CheckFailed("all features are zero.")
    products = f.unflatten(0, values.shape[:2]) @ f.unflatten(0, values.shape[:2]).mT
    error = (products @ values - values).square().sum() / values.square().sum()
    if error < _ENOUGH:
        return torch.tensor(_ENOUGH)
    if own.std() >= 1e-3 * own.mean() and (own - 1).abs().max() > 0.05:
        raise CheckFailed(
            "the product of a key's features with themselves should be 1 for every key, and is between "
            f"{own.min():.3g} and {own.max():.3g}."
        )
    if abs(own.mean() - 1) > 1e-2:
        raise CheckFailed(
            f"the product of a key's features with themselves is {own.mean():.3g}, and should be 1: divide the features by its "
            "root."
        )
    return error


EXERCISES = {
    "8.1": Variants(_fading_text, _fading, *({"order": order} for order in _ORDERS)),
    "8.2": Variants(_guess_text, _guess, {"more": 1}, {"more": 2}, {"more": 0.5}),
    "8.3": Variants(_step_text, _step, {"first": "x"}, {"first": "y"}),
    "8.4": Variants(_longer_text, _longer, {"left": "token 0"}, {"left": "itself"}),
    "8.5": Exercise(
        _powers(3),
        lambda generator: [
            (F.normalize(normal(generator, 8 * 32, 16), dim=-1), normal(generator, 8, 32, 16))
        ],
        {"as with the keys themselves: these features don't set different keys apart.": _powers(1)},
        outcome=_read_error,
        otherwise="the products of different keys' features are still too far from 0.",
    ),
}
