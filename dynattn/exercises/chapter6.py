"""The exercises of chapter 6."""

import torch

from dynattn import mixers
from dynattn.exercises._judging import (
    ONE_TOKEN,
    CheckFailed,
    Exercise,
    Hard,
    Variants,
    normal,
    run,
    several,
    tensor,
)
from dynattn.tasks import content_or_place

# --------------------------------------------------------------------------------- 6.1, the best static answer


def _static_text(itself):
    looks = "any token, itself included" if itself else "any *other* token, not for itself"
    return (
        "Given the `values` of one sentence, a list of whole numbers, and `p`, return the accuracy, averaged over its tokens, of "
        f"the best answer that doesn't know who looks. (Token 0 comes after the last one. A token that looks may look for {looks}.)"
    )


def _static(itself):
    def any_token(v, i, c):
        return v.count(c) / len(v)

    def another(v, i, c):
        return (v.count(c) - (v[i] == c)) / (len(v) - 1)

    right, other = (any_token, another) if itself else (another, any_token)

    def mean(found):
        return sum(found) / len(found)

    def best(before=lambda v, i: v[i - 1], share=right, fixed=lambda p: 1 - p, total=mean):
        """The share of right answers without knowing who looks, with one part replaced."""

        def chances(v, p, i):
            return [fixed(p) * (before(v, i) == c) + (1 - fixed(p)) * share(v, i, c) for c in set(v)]

        return lambda v, p: torch.tensor(total([max(chances(v, p, i)) for i in range(len(v))]))

    def always(choose):
        """The share of right answers of a layer that answers with choose(values, i)."""

        def one(v, p, i):
            return (1 - p) * (v[i - 1] == choose(v, i)) + p * right(v, i, choose(v, i))

        return lambda v, p: torch.tensor(mean([one(v, p, i) for i in range(len(v))]))

    def cases(generator):
        sizes = ((5, 3, 0.3), (6, 2, 0.5), (8, 3, 0.9), (7, 4, 0.95), (9, 3, 1.0), (4, 2, 0.0))
        cases = [(torch.randint(c, (n,), generator=generator).tolist(), p) for n, c, p in sizes]
        return cases + [Hard(ONE_TOKEN, [3], 0.5)] * itself  # who is alone can look for nobody else

    about_itself = (
        "a token may look for itself too: it looks for any of the n."
        if itself
        else "a token doesn't look for itself: it looks for one of the n - 1 others."
    )
    return Exercise(
        best(),
        cases,
        {
            "this layer sees who looks; yours may not, and must give one answer for both cases.": lambda v, p: (
                torch.tensor(mean([1 - p + p * max(right(v, i, c) for c in v) for i in range(len(v))]))
            ),
            "this always answers with the token before; for large p another value can be likelier.": always(
                lambda v, i: v[i - 1]
            ),
            "this always answers with the most frequent value; for small p the token before is likelier.": always(
                lambda v, i: max(dict.fromkeys(v), key=v.count)
            ),
            about_itself: best(share=other),
            "token 0 comes after the last one; here nothing comes before it.": best(
                before=lambda v, i: v[i - 1] if i else None
            ),
            "p is the share of tokens that LOOK; here it is that of the others.": best(fixed=lambda p: p),
            "this is the better of two chances; one answer can be right for tokens that look and for those that don't: they add up.": (
                lambda v, p: torch.tensor(
                    mean([max(1 - p, p * max(right(v, i, c) for c in v)) for i in range(len(v))])
                )
            ),
            "this is the sum over the tokens; their mean was asked for.": best(total=sum),
        },
    )


# -------------------------------------------------------------------------------------- 6.2, who writes a row?


def _hidden(generator):
    """Functions from tokens to matrices, and who writes their rows; what a wrong answer has overlooked is said of each."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        n, d = 5, 6
        layers = {
            kind: getattr(mixers, kind)(n, d, d).double()
            for kind in (
                "RandomMixing",
                "StaticMixing",
                "DynamicConvolution",
                "DenseSynthesizer",
                "Attention",
            )
        }
    u, base = normal(generator, d), normal(generator, n, n)

    def only(row, token):
        """Static, but for one row, which is made from one token."""
        return lambda x: (
            base + (torch.arange(n)[:, None] == row) * (x[token] @ u) * torch.arange(n)
        ).softmax(-1)

    def of_directions(x):
        x = x / x.norm(dim=1, keepdim=True)
        return (3 * x @ x.T).softmax(-1)

    hidden = [
        *((layers[kind].weights, "static", "a matrix that is stored") for kind in ("RandomMixing", "StaticMixing")),
        *((layers[kind].weights, "own", "rows made from the own token") for kind in ("DynamicConvolution", "DenseSynthesizer")),
        (only(n - 1, n - 1), "own", "a matrix of which the last row alone is computed, from its own token"),
        (only(0, 0), "own", "a matrix of which the first row alone is computed, from its own token"),
        (layers["Attention"].weights, "pairs", "attention"),
        (lambda x: (base + x @ u).softmax(-1), "pairs", "rows that depend on whom they ask, and not on who asks"),
        (only(n - 1, 0), "pairs", "a matrix of which the last row alone is computed, from another token"),
        (only(0, 2), "pairs", "a matrix of which the first row alone is computed, from another token"),
        (only(2, n - 1), "pairs", "a matrix of which one row alone, in the middle, is computed, from another token"),
        (lambda x: (base + x.mean(0) @ u * torch.arange(n)).softmax(-1), "pairs", "rows made from the mean of all tokens"),
        (of_directions, "pairs", "attention that looks at the directions of tokens only, not at their lengths"),
    ]  # fmt: skip
    return [
        Hard(f"for {what}{',' * (',' in what)} the right answer is {kind!r}.", weights, n, d)
        for weights, kind, what in hidden
    ]


_KINDS = ("static", "own", "pairs")


def _kind(weights, n, d):
    """One token at a time is exchanged: whose rows move?"""
    x, other = normal(torch.Generator().manual_seed(1), 2, n, d)
    before, moved = weights(x), torch.zeros(n, n)
    for j in range(n):
        changed = x.clone()
        changed[j] = other[j]
        moved[:, j] = (weights(changed) - before).abs().amax(1)
    return _KINDS[0 if not moved.any() else 2 if (moved - moved.diag().diag()).any() else 1]


def _said(answer, case):
    weights, n, d = case
    result = run(answer, (lambda x: _of_tokens(weights, x, n, d), n, d))
    if not (isinstance(result, str) and result in _KINDS):
        raise CheckFailed("return one of the three words 'static', 'own' and 'pairs'.")
    return torch.tensor(_KINDS.index(result))


def _of_tokens(weights, x, n, d):
    x = torch.as_tensor(x).detach()
    if x.shape != (n, d):
        raise CheckFailed(
            f"your code asks for the weights of a {tuple(x.shape)} tensor; expected ({n}, {d})."
        )
    return weights(x.double()).detach().clone()


# ---------------------------------------------------------------------------------------- 6.3, both, by hand


def _by_hand():
    W = torch.zeros(2, 8, 24, dtype=torch.float64)
    W[0, :, 8:16] = W[1, :, :8] = 20 * torch.eye(8)
    return W[0], W[1], 10 * torch.eye(12, dtype=torch.float64).roll(1, dims=0)


def _reads(answer, case):
    """Whether each token reads the one that it looks for, or else the one before."""
    W_Q, W_K, W_places = several(run(answer), 3, "three matrices, W_Q, W_K and W_places")
    shapes = [tuple(W.shape) for W in (W_Q, W_K, W_places)]
    if shapes != [(8, 24), (8, 24), (12, 12)]:
        raise CheckFailed(f"got shapes {', '.join(map(str, shapes))}; expected (8, 24), (8, 24), (12, 12).")
    generator = torch.Generator().manual_seed(0)
    x, _, sources = content_or_place(0.5, 100, 12, 8, generator)
    x = x.double()
    compared = (x @ W_Q.T) @ (x @ W_K.T).mT / 8**0.5
    A, places = (compared + W_places).softmax(-1), torch.arange(12)
    if not torch.isfinite(A).all():
        raise CheckFailed("the weights are not finite.")
    looks, asked = x[..., 8:16].abs().sum(-1) > 0, sources[..., None]

    def mostly(read, where, who=looks):
        return (read == where).double()[who].mean() > 0.5

    # By the comparison alone, where do the tokens that look read?
    if not mostly(read := compared.argmax(-1), sources):
        looks_for_me = (sources[:, None, :] == places[:, None]) & looks[:, None, :]
        if looks_for_me.gather(2, read[..., None])[looks & looks_for_me.any(-1)].double().mean() > 0.5:
            raise CheckFailed(
                "each token reads one that looks for IT; it should read the one that it looks for."
            )
        if mostly(read, places):
            raise CheckFailed(
                "the tokens that look read themselves: query and key are made from the same features."
            )
        raise CheckFailed(
            "the tokens that look don't find the one they look for: which features should be compared?"
        )
    weight, read = A.gather(2, asked)[..., 0], A.argmax(-1)
    if (found := weight[~looks].mean()) < 0.9:
        if mostly(read, places.roll(-1), ~looks):
            raise CheckFailed("the tokens that don't look read the one AFTER them: W_places is transposed.")
        if mostly(read, places, ~looks):
            raise CheckFailed(
                "the tokens that don't look read themselves: the bias has its largest numbers on the diagonal."
            )
        if mostly(read, sources, ~looks):
            raise CheckFailed(
                f"the tokens that don't look prefer the one before, but give it only {found:.2f}: make W_places larger."
            )
        raise CheckFailed("the tokens that don't look don't read the one before: what does the bias say?")
    by_place = torch.stack([weight[:, i][~looks[:, i]].mean() for i in places])
    if (found := by_place.min()) < 0.9:
        raise CheckFailed(
            f"the tokens that don't look read the one before, but at place {int(by_place.argmin())} they give it only {found:.2f}: "
            "has every row of W_places its largest number where it should?"
        )
    names = torch.cat([torch.eye(8), -torch.eye(8)]).double()[
        torch.rand(100, 16, generator=generator).argsort(1)[:, :12]
    ]
    wanted = names.gather(1, sources[..., None].expand(-1, -1, 8)) * looks[..., None]
    single = torch.cat([names, wanted, x[..., 16:]], -1)
    if (((single @ W_Q.T) @ (single @ W_K.T).mT).argmax(-1) != sources)[looks].any():
        raise CheckFailed(
            "the tokens that look find most names, but not those with a single number that isn't 0: is every number of a name "
            "compared?"
        )
    if (found := weight[looks].mean()) < 0.9:
        if mostly(read, places.roll(1)):
            raise CheckFailed(
                "the tokens that look read the one before too: the bias is stronger than the comparison."
            )
        raise CheckFailed(
            f"the tokens that look give the right one only {found:.2f}: make W_Q or W_K larger."
        )
    return torch.tensor(1.0)


# --------------------------------------------------------------------------- 6.4, the last word of any sentence


def _last(answer, case):
    """Whether every row of a static matrix names the value of the last token that isn't empty."""
    W = tensor(run(answer))
    if W.shape != (10, 10):
        raise CheckFailed(f"got shape {tuple(W.shape)}; expected (10, 10).")
    if not torch.isfinite(W).all():
        raise CheckFailed("the matrix holds a number that is not finite.")
    generator = torch.Generator().manual_seed(0)
    samples, lengths = 2000, torch.arange(2000) % 8 + 3
    values = torch.randint(8, (samples, 10), generator=generator)
    values[::2] = torch.where(torch.rand(1000, 10, generator=generator) < 0.8, values[::2, :1], values[::2])
    # In some, all tokens but the last have the same value, so that together they weigh as much as they can.
    places, alike = torch.arange(10), torch.arange(samples) // 8 % 4 == 1
    values[alike] = (values[alike, :1] + (places == lengths[alike, None] - 1)) % 8
    x = torch.eye(8, dtype=torch.float64)[values] * (torch.arange(10) < lengths[:, None])[..., None]
    last = values.gather(1, lengths[:, None] - 1)

    def names(W, wanted, which=slice(None)):
        scores = W @ x[which]
        own = scores.gather(2, wanted[which, :, None].expand(-1, 10, 1))
        return ((scores >= own - 1e-9 * own.abs()).sum(-1) == 1).double().mean().item()  # no ties

    if (found := names(W, last)) == 1:
        return torch.tensor(1.0)
    if names(W.T, last) == 1:
        raise CheckFailed("transposed: row i of W says how much output i takes from each place.")
    if names(W, values[:, :1]) == 1:
        raise CheckFailed("every row names the FIRST token.")
    if (W == W[:, :1]).all():
        raise CheckFailed("all places weigh the same, so the most frequent value wins.")
    if (W.diff(dim=1) > 0).all():
        raise CheckFailed(
            f"later places weigh more, but earlier ones can outvote the last together: {found:.0%} right."
        )
    if names(W, last, lengths == 10) == 1:
        raise CheckFailed("right for sentences of ten tokens, but in shorter ones the last place is empty.")
    raise CheckFailed(
        f"{found:.0%} of the rows name the last token's value, over sentences of three to ten tokens."
    )


EXERCISES = {
    "6.1": Variants(_static_text, _static, {"itself": True}, {"itself": False}),
    "6.2": Exercise(_kind, _hidden, outcome=_said),
    "6.3": Exercise(_by_hand, lambda generator: [()], outcome=_reads),
    "6.4": Exercise(
        lambda: 2.0 ** torch.arange(10, dtype=torch.float64).expand(10, 10),
        lambda generator: [()],
        outcome=_last,
    ),
}
