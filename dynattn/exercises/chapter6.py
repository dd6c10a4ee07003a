"""Judges of the exercises of chapter 6."""

import torch

from dynattn import mixers
from dynattn.exercises._judging import CheckFailed, normal, run, same_as, tensor
from dynattn.tasks import content_or_place


def _best_static(
    before=lambda v, i: v[i - 1],
    share=lambda v, i, c: v.count(c) / len(v),
    fixed=lambda p: 1 - p,
    total=lambda found: sum(found) / len(found),
):
    """The share of right answers without knowing who looks, with one part replaced."""

    def answer(values, p):
        found = []
        for i in range(len(values)):
            chances = [
                fixed(p) * (before(values, i) == c) + (1 - fixed(p)) * share(values, i, c)
                for c in dict.fromkeys(values)
            ]
            found.append(max(chances))
        return torch.tensor(total(found))

    return answer


def _majority(values):
    return max(map(values.count, values)) / len(values)


def _others(values, i, c):
    return (values.count(c) - (values[i] == c)) / (len(values) - 1)


def _best_static_cases(generator):
    sizes = ((5, 3, 0.3), (6, 2, 0.5), (8, 3, 0.9), (7, 4, 0.95), (9, 3, 1.0), (4, 2, 0.0))
    return [(torch.randint(c, (n,), generator=generator).tolist(), p) for n, c, p in sizes]


def _hidden(generator):
    """Functions from tokens to matrices, with who writes their rows, and what a wrong answer has overlooked."""
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
    last = torch.arange(n)[:, None] == n - 1

    def only_last(compared):
        """Static, but for the last row: made from the last token, or from the first."""
        return lambda x: (base + last * (x[0 if compared else -1] @ u) * torch.arange(n)).softmax(-1)

    return n, d, [
        *((layers[kind].weights, "static", "a matrix that is stored") for kind in ("RandomMixing", "StaticMixing")),
        *((layers[kind].weights, "own", "rows made from the own token") for kind in ("DynamicConvolution", "DenseSynthesizer")),
        (only_last(False), "own", "a matrix of which one row alone is computed, from its own token"),
        (layers["Attention"].weights, "pairs", "attention"),
        (lambda x: (base + x @ u).softmax(-1), "pairs", "rows that depend on whom they ask, and not on who asks"),
        (only_last(True), "pairs", "a matrix of which one row alone is computed, from another token"),
    ]  # fmt: skip


def _judge_kind(answer):
    n, d, hidden = _hidden(torch.Generator().manual_seed(0))
    for weights, kind, what in hidden:
        result = run(answer, (lambda x, weights=weights: _of_tokens(weights, x, n, d), n, d))
        if not (isinstance(result, str) and result in ("static", "own", "pairs")):
            return "return one of the three words 'static', 'own' and 'pairs'."
        if result != kind:
            return f"for {what} your answer is {str(result)!r}; it is {kind!r}."
    return None


def _of_tokens(weights, x, n, d):
    x = torch.as_tensor(x).detach()
    if x.shape != (n, d):
        raise CheckFailed(
            f"your code asks for the weights of a {tuple(x.shape)} tensor; expected ({n}, {d})."
        )
    return weights(x.double()).detach().clone()


def _judge_layer(answer):
    """Any W_Q, W_K and W_places with which each token reads the one that it looks for, or else the one before."""
    result = run(answer)
    if not (isinstance(result, tuple | list) and len(result) == 3):
        return "return three matrices, W_Q, W_K and W_places."
    W_Q, W_K, W_places = map(tensor, result)
    shapes = [tuple(W.shape) for W in (W_Q, W_K, W_places)]
    if shapes != [(8, 24), (8, 24), (12, 12)]:
        return f"got shapes {', '.join(map(str, shapes))}; expected (8, 24), (8, 24), (12, 12)."
    x, _, sources = content_or_place(0.5, 500, 12, 8, torch.Generator().manual_seed(0))
    x = x.double()
    compared = (x @ W_Q.T) @ (x @ W_K.T).mT / 8**0.5
    A, places = (compared + W_places).softmax(-1), torch.arange(12)
    if not torch.isfinite(A).all():
        return "the weights are not finite."
    looks, asked = x[..., 8:16].abs().sum(-1) > 0, sources[..., None]

    def mostly(read, where, who=looks):
        return (read == where).double()[who].mean() > 0.5

    # By the comparison alone, where do the tokens that look read?
    if not mostly(read := compared.argmax(-1), sources):
        looks_for_me = (sources[:, None, :] == places[:, None]) & looks[:, None, :]
        if looks_for_me.gather(2, read[..., None])[looks & looks_for_me.any(-1)].double().mean() > 0.5:
            return "each token reads one that looks for IT: exchange the roles of query and key."
        if mostly(read, places):
            return "the tokens that look read themselves: query and key are made from the same features."
        return "the tokens that look don't find the one they look for: which features should be compared?"
    weight, read = A.gather(2, asked)[..., 0], A.argmax(-1)
    if (found := weight[~looks].mean()) < 0.9:
        if mostly(read, places.roll(-1), ~looks):
            return "the tokens that don't look read the one AFTER them: W_places is transposed."
        if mostly(read, places, ~looks):
            return "the tokens that don't look read themselves: the bias has its largest numbers on the diagonal."
        if mostly(read, sources, ~looks):
            return f"the tokens that don't look prefer the one before, but give it only {found:.2f}: make W_places larger."
        return "the tokens that don't look don't read the one before: what does the bias say?"
    if (found := weight[looks].mean()) < 0.9:
        if mostly(read, places.roll(1)):
            return "the tokens that look read the one before too: the bias is stronger than the comparison."
        return f"the tokens that look give the right one only {found:.2f}: make W_Q or W_K larger."
    return None


def _judge_last(answer):
    """Any static matrix with which every row names the value of the last token that isn't empty."""
    W = tensor(run(answer))
    if W.shape != (10, 10):
        return f"got shape {tuple(W.shape)}; expected (10, 10)."
    if not torch.isfinite(W).all():
        return "the matrix holds a number that is not finite."
    generator = torch.Generator().manual_seed(0)
    samples, lengths = 2000, torch.arange(2000) % 8 + 3
    values = torch.randint(8, (samples, 10), generator=generator)
    values[::2] = torch.where(torch.rand(1000, 10, generator=generator) < 0.8, values[::2, :1], values[::2])
    x = torch.eye(8, dtype=torch.float64)[values] * (torch.arange(10) < lengths[:, None])[..., None]
    last = values.gather(1, lengths[:, None] - 1)

    def names(W, wanted, which=slice(None)):
        scores = W @ x[which]
        own = scores.gather(2, wanted[which, :, None].expand(-1, 10, 1))
        return ((scores >= own - 1e-9 * own.abs()).sum(-1) == 1).double().mean().item()  # no ties

    if (found := names(W, last)) == 1:
        return None
    if names(W.T, last) == 1:
        return "transposed: row i of W says how much output i takes from each place."
    if names(W, values[:, :1]) == 1:
        return "every row names the FIRST token."
    if (W == W[:, :1]).all():
        return "all places weigh the same, so the most frequent value wins."
    if names(W, last, lengths == 10) == 1:
        return "right for sentences of ten tokens, but in shorter ones the last place is empty."
    if (W.diff(dim=1) > 0).all():
        return f"later places weigh more, but earlier ones can outvote the last together: {found:.0%} right."
    return f"{found:.0%} of the rows name the last token's value, over sentences of three to ten tokens."


JUDGES = {
    "6.1": same_as(
        _best_static(),
        _best_static_cases,
        {
            "this layer sees who looks; yours may not, and must give one answer for both cases.": lambda v, p: (
                torch.tensor(1 - p + p * _majority(v))
            ),
            "this always answers with the token before; for large p another value can be likelier.": lambda v, p: (
                torch.tensor(sum(1 - p + p * v.count(before) / len(v) for before in v) / len(v))
            ),
            "this always answers with the most frequent value; for small p the token before is likelier.": lambda v, p: (
                torch.tensor(
                    sum(
                        (1 - p) * (v[i - 1] == (c := max(dict.fromkeys(v), key=v.count)))
                        + p * v.count(c) / len(v)
                        for i in range(len(v))
                    )
                    / len(v)
                )
            ),
            "a token may look for itself too: it looks for any of the n.": _best_static(share=_others),
            "token 0 comes after the last one; here nothing comes before it.": _best_static(
                before=lambda v, i: v[i - 1] if i else None
            ),
            "p is the share of tokens that LOOK; here it is that of the others.": _best_static(
                fixed=lambda p: p
            ),
            "this is the sum over the tokens; their mean was asked for.": _best_static(total=sum),
        },
    ),
    "6.2": _judge_kind,
    "6.3": _judge_layer,
    "6.4": _judge_last,
}
