"""The exercises of chapter 4."""

import itertools
import math

import torch

from dynattn.attention import attention
from dynattn.exercises._judging import (
    CAUSAL,
    MULTIPLIED,
    NO_SCALE,
    NOT_HIDDEN,
    ONE_TOKEN,
    OVER_QUERIES,
    SCALED_AFTER,
    ZERO,
    CheckFailed,
    Exercise,
    Hard,
    Variants,
    call,
    normal,
    parts,
    run,
    several,
)
from dynattn.tasks import two_lookups

# ----------------------------------------------------------------------------------------------- 4.1, count


def _count_text(biases, causal):
    return (
        f"A layer {'whose four matrices have a bias each' if biases else 'without biases'} has `n_heads` heads of width `d_head` on "
        "tokens of width `d_model`. Return two numbers: how many numbers it has learned, and how many computed weights it makes "
        f"for a sentence of `n` tokens{', if each token may read only itself and the tokens before it' if causal else ''}."
    )


def _count(biases, causal):
    def learned(D, H, d, n, rows=lambda H, d: 3 * H * d, biases=biases):
        """Of queries, keys and values, so many rows; and of the output, whose matrix is the other way round."""
        return rows(H, d) * (D + biases) + D * (H * d + biases)

    def computed(D, H, d, n, causal=causal):
        return H * (n * (n + 1) // 2 if causal else n * n)

    def both(first, second=computed):
        return lambda *sizes: torch.tensor([first(*sizes), second(*sizes)])

    mistakes = {
        "W_O is missing: a layer has four learned matrices.": both(
            lambda D, H, d, n: 3 * H * d * (D + biases)
        ),
        "the learned matrices are (n_heads * d_head) x d_model, which need not be square.": both(
            lambda D, H, d, n: 4 * D * (D + biases)
        ),
        "the learned numbers of one head only; every head has its own slice of each matrix.": both(
            lambda D, H, d, n: learned(D, 1, d, n)
        ),
        "W_O is counted as d_model x d_model; it leads from n_heads * d_head numbers to d_model.": both(
            lambda D, H, d, n: 3 * H * d * (D + biases) + D * (D + biases)
        ),
        # phlippe/uvadlc_notebooks #64
        "every head is counted with matrices as wide as the token; a head has d_head rows of each.": both(
            lambda D, H, d, n: 4 * H * D * (D + biases)
        ),
        "every head makes an n x n matrix of its own; this counts one for all.": both(
            learned, lambda D, H, d, n: computed(D, 1, d, n)
        ),
        "learned and computed have changed places.": both(computed, learned),
    }
    if biases:
        mistakes["the biases are missing."] = both(lambda *sizes: learned(*sizes, biases=False))
        mistakes["of the biases, one is missing: W_O has d_model of them."] = both(
            lambda D, *rest: learned(D, *rest) - D
        )
    else:
        mistakes["biases are counted, which this layer doesn't have."] = both(
            lambda *sizes: learned(*sizes, biases=True)
        )
    if causal:
        mistakes["all n x n weights are counted; those for later tokens are not made."] = both(
            learned, lambda *sizes: computed(*sizes, causal=False)
        )
    return Exercise(
        both(learned), lambda generator: [(12, 3, 4, 5), (8, 2, 4, 7), (16, 4, 8, 10), (6, 1, 5, 1)], mistakes
    )


# ------------------------------------------------------------------------------------- 4.2, multi-head attention


def _heads_cases(generator):
    """x, W_Q, W_K, W_V, W_O, n_heads and a mask, with d_model = n_heads * d_head."""
    cases = []
    for n, d_model, n_heads in ((5, 8, 2), (4, 12, 3), (6, 8, 4), (4, 5, 1), (1, 3, 3)):
        matrices = [normal(generator, d_model, d_model) / math.sqrt(d_model) for _ in range(4)]
        places = torch.arange(n)
        mask = (places[:, None] - places) % n < 3  # every row and every column holds both True and False
        cases.append((normal(generator, n, d_model), *matrices, n_heads, mask))
    *cases, one = cases
    x, W_Q, _, *others = cases[0]
    # Keys are queries turned round, so that the logits of tokens that are nearly alike are all very negative.
    alike = 15 * x[:1] / (x[:1] @ W_Q.T).norm() + 0.01 * x
    empty = torch.cat([0 * x[:1], x[1:]])  # all logits of the first token, and those to it, are 0
    return [
        *cases,
        Hard(NOT_HIDDEN, alike, W_Q, -W_Q, *others),
        Hard(ZERO, empty, *cases[0][1:]),
        Hard(ONE_TOKEN, *one),
    ]


def _cut(y, n_heads):
    return y.unflatten(-1, (n_heads, -1)).transpose(0, 1)


def _cut_interleaved(y, n_heads):
    return y.unflatten(-1, (-1, n_heads)).permute(2, 0, 1)


def _cut_without_transpose(y, n_heads):
    return y.reshape(n_heads, len(y), -1)


def _join(heads):
    return heads.transpose(0, 1).flatten(1)


def _join_interleaved(heads):
    return heads.permute(1, 2, 0).flatten(1)


def _join_without_transpose(heads):
    return heads.reshape(heads.shape[1], -1)


def _masked_rows(logits, mask):
    return logits.masked_fill(~mask, -torch.inf).softmax(-1)


def _multi_head(
    cut=_cut,
    join=_join,
    scale=lambda d_head, d_model: d_head**-0.5,
    rows=_masked_rows,
    after=lambda A, d_head: A,
    matrices=lambda *W: W,
):
    """Multi-head attention with parts replaced: cut, join, scale, how logits become weights, or the learned matrices."""

    def layer(x, W_Q, W_K, W_V, W_O, n_heads, mask):
        *projections, W_O = matrices(W_Q, W_K, W_V, W_O)
        q, k, v = (cut(x @ W.T, n_heads) for W in projections)
        A = rows(q @ k.transpose(-1, -2) * scale(q.shape[-1], x.shape[-1]), mask)
        return join(after(A, q.shape[-1]) @ v) @ W_O.T

    return layer


def _input_cut(x, W_Q, W_K, W_V, W_O, n_heads, mask):
    """Each head is given a piece of every token, so that only diagonal blocks of the projections count."""
    blocks = torch.block_diag(*[torch.ones(x.shape[-1] // n_heads, x.shape[-1] // n_heads)] * n_heads).to(x)
    return _multi_head()(x, W_Q * blocks, W_K * blocks, W_V * blocks, W_O, n_heads, mask)


def _one_small_projection(x, W_Q, W_K, W_V, W_O, n_heads, mask):
    """The input is cut into heads, and all pieces go through the first head's square of each matrix."""
    d_head = x.shape[-1] // n_heads
    same = [torch.block_diag(*[W[:d_head, :d_head]] * n_heads) for W in (W_Q, W_K, W_V)]
    return _multi_head()(x, *same, W_O, n_heads, mask)


# ---------------------------------------------------------------------------------------- 4.3, who brought what?


def _contribution_cases(generator):
    cases = []
    for n, d_model, n_heads in ((5, 8, 2), (4, 12, 3), (6, 8, 4), (1, 3, 1)):
        A = normal(generator, n_heads, n, n).softmax(-1)
        cases.append((A, *(normal(generator, rows, d_model) for rows in (n, d_model, d_model))))
    return cases


def _contributions(A, x, W_V, W_O):
    W_h = zip(W_V.chunk(len(A), 0), W_O.chunk(len(A), 1), strict=True)
    return torch.stack([A_h @ x @ (W_O_h @ W_V_h).T for A_h, (W_V_h, W_O_h) in zip(A, W_h, strict=True)])


def _interleaved_contributions(A, x, W_V, W_O):
    H = len(A)
    return torch.stack([A[h] @ x @ (W_O[:, h::H] @ W_V[h::H]).T for h in range(H)])


def _row_contributions(A, x, W_V, W_O):
    """W_O cut by its rows, as W_V is: the pieces fill pieces of the output."""
    d_head = len(W_O) // len(A)
    pieces = [A_h @ x @ (W_O_h @ W_V).T for A_h, W_O_h in zip(A, W_O.chunk(len(A), 0), strict=True)]
    return torch.stack([torch.zeros_like(x).index_copy(1, torch.arange(h * d_head, (h + 1) * d_head), piece)
                        for h, piece in enumerate(pieces)])  # fmt: skip


# ------------------------------------------------------------------------------------ 4.4, two questions by hand


def _two_heads(write=(0, 1)):
    """Head 1 asks for the first name, head 2 for the second; each brings a drink to one half of the output."""

    def answer():
        one, zero = torch.eye(8, dtype=torch.float64), torch.zeros(8, 8, dtype=torch.float64)
        W_K, W_V = torch.cat([one, zero], 1).repeat(2, 1), torch.cat([zero, one], 1).repeat(2, 1)
        return (
            200 * torch.eye(16, dtype=torch.float64),
            W_K,
            W_V,
            torch.eye(16, dtype=torch.float64).view(2, 8, 16)[[*write]].view(16, 16),
        )

    return answer


def _pure(heads, W_O, answers) -> bool:
    """Whether the output is the drinks and nothing else, of whatever size, if each head reads one token alone."""
    output = (heads.transpose(1, 2).flatten(2) @ W_O.T).reshape(answers.shape)
    return torch.cosine_similarity(output, answers, dim=-1).median() > 0.999


def _named(answer, case):
    """Whether the two drinks are named in their order, and whether in the other one."""
    W_Q, W_K, W_V, W_O = several(run(answer), 4, "four matrices, W_Q, W_K, W_V and W_O")
    if shapes := [tuple(W.shape) for W in (W_Q, W_K, W_V, W_O) if W.shape != (16, 16)]:
        raise CheckFailed(f"got a matrix of shape {shapes[0]}; expected (16, 16) for all four.")
    (question, keys, values), answers, asked = two_lookups(500, torch.Generator().manual_seed(0))
    question, keys, values, answers = (part.double() for part in (question, keys, values, answers))
    memory = keys + values
    q, k, v = (
        (part @ W.T).unflatten(-1, (2, 8)).transpose(1, 2)
        for part, W in ((question, W_Q), (memory, W_K), (memory, W_V))
    )
    heads, A = attention(q, k, v)
    output = (heads.transpose(1, 2).flatten(2) @ W_O.T).reshape(-1, 2, 8)
    named, wanted = output.argmax(-1), answers.argmax(-1)
    right, turned = ((named == order).all(-1).double().mean() for order in (wanted, wanted.flip(-1)))
    if right > 0.99 and not _pure(torch.nn.functional.one_hot(A.argmax(-1), 8).to(v) @ v, W_O, answers):
        raise CheckFailed(
            "the drinks are named, but the output holds something else beside them: what does W_V take, and where does W_O write?"
        )
    if right > 0.99 or turned > 0.9:
        return torch.stack([right > 0.99, turned > 0.9]).double()
    top = A[:, :, 0].argmax(-1)  # (samples, heads): the token that gets the largest weight
    hits = (top[:, :, None] == asked[:, None]).double().mean(0)  # (heads, asked first or second)
    if hits.amax(-1).min() < 0.9:
        raise CheckFailed(
            "a head does not find a token that was asked for: compare queries with the right keys."
        )
    if hits.amax(-1).min() < 1:
        raise CheckFailed(
            "a head finds most of the tokens that were asked for, but not all: is every number of a name compared?"
        )
    if hits.argmax(-1).unique().numel() == 1:
        raise CheckFailed(
            "both heads read the same token: head 1 must ask for the first key, head 2 for the second."
        )
    if (share := A[:, :, 0].amax(-1).mean(0).min()) < 0.9:
        raise CheckFailed(
            f"the right tokens get only {share:.2f} of a row: longer queries make sharper rows."
        )
    raise CheckFailed(
        "the heads read the right tokens but don't bring the value to its place: look at W_V and W_O."
    )


# ------------------------------------------------------------------------------------ 4.5, the impossible pair


def _groups(K):
    """The two groups of keys that share a point, as lists of places, the smaller one first."""
    c = torch.linalg.svd(torch.cat([K.T, torch.ones(1, 5, dtype=K.dtype)])).Vh[-1]
    c = c if (c > 0).sum() <= 2 else -c
    return (c > 0).nonzero().flatten().tolist(), (c <= 0).nonzero().flatten().tolist()


def _by_distance(extreme):
    """The two keys whose distance is the smallest or the largest."""
    return lambda K: extreme(
        itertools.combinations(range(5), 2), key=lambda two: (K[two[0]] - K[two[1]]).norm()
    )


def _impossible(answer, case):
    """1 if the pair holds the smaller group; else, less by one, how many of its two keys are of that group."""
    got = call(answer, case)
    if got.shape != (2,):
        raise CheckFailed(
            f"the result has shape {tuple(got.shape)}; expected two numbers, the places of two keys."
        )
    pair = {int(place) for place in got.tolist()}
    if len(pair) != 2 or not pair <= set(range(5)) or not torch.equal(got, got.round()):
        raise CheckFailed(f"got {got.tolist()}; expected two different whole numbers from 0 to 4.")
    smaller = set(_groups(case[0])[0])
    return torch.tensor(1.0 if smaller <= pair else len(pair & smaller) - 1.0)


EXERCISES = {
    "4.1": Variants(
        _count_text,
        _count,
        {"biases": False, "causal": False},
        {"biases": True, "causal": False},
        {"biases": False, "causal": True},
    ),
    "4.2": Exercise(
        _multi_head(),
        _heads_cases,
        parts(
            _multi_head,
            {
                "interleaved packing: a head owns neighbouring columns, not every n_heads-th one.": {
                    "cut": _cut_interleaved
                },
                # reczoo/FuxiCTR #30
                "reshape without transpose: make it (n, n_heads, d_head), then swap the first two axes.": {
                    "cut": _cut_without_transpose
                },
                # jsbaan/transformer-from-scratch #6, ajhalthor/Transformer-Neural-Network #4
                "the heads are joined without swapping the axes back to (n, n_heads, d_head) first.": {
                    "join": _join_without_transpose
                },
                "the heads are joined feature by feature; they belong one behind the other.": {
                    "join": _join_interleaved
                },
                NO_SCALE: {"scale": lambda d_head, d_model: 1.0},  # mlc-ai/mlc-llm #3426
                MULTIPLIED: {"scale": lambda d_head, d_model: d_head**0.5},
                # omihub777/ViT-CIFAR #11, Graylab/DL4Proteins-notebooks #12
                "scaled by d_model: a logit is a sum of d_head products, so divide by sqrt(d_head).": {
                    "scale": lambda d_head, d_model: d_model**-0.5
                },
                # tenstorrent/tt-metal #56789
                "scaled by the root of the number of heads; the factor is the root of a head's width.": {
                    "scale": lambda d_head, d_model: (d_model // d_head) ** -0.5
                },
                "scaled by d_head; the factor is its square root.": {
                    "scale": lambda d_head, d_model: 1 / d_head
                },
                "scaled by d_head / 2: in Python d_head**1 / 2 is (d_head**1) / 2; write d_head**0.5.": {
                    "scale": lambda d_head, d_model: 2 / d_head
                },
                OVER_QUERIES: {"rows": lambda s, m: s.masked_fill(~m, -torch.inf).softmax(-2).nan_to_num()},
                "softmax over the heads; each head's rows must sum to 1 by themselves.": {
                    "rows": lambda s, m: s.masked_fill(~m, -torch.inf).softmax(0).nan_to_num()
                },
                "the masked logits are set to 0, which is a logit like any other; set them to -inf.": {
                    "rows": lambda s, m: (s * m).softmax(-1)
                },
                "mask after softmax: the rows no longer sum to 1. Set the logits to -inf before it.": {
                    "rows": lambda s, m: s.softmax(-1) * m
                },
                "inverted mask: True means MAY look, and this hides what may be seen.": {
                    "rows": lambda s, m: s.masked_fill(m, -torch.inf).softmax(-1).nan_to_num()
                },
                "the mask is transposed: row i says what token i may read.": {
                    "rows": lambda s, m: _masked_rows(s, m.T)
                },
                "the mask is not used.": {"rows": lambda s, m: s.softmax(-1)},
                CAUSAL: {"rows": lambda s, m: _masked_rows(s, torch.ones_like(m).tril())},
                "A is transposed: row i of A says from where output i takes.": {
                    "rows": lambda s, m: _masked_rows(s, m).transpose(-1, -2)
                },
                "all heads use the mean of their matrices; each must use its own.": {
                    "rows": lambda s, m: _masked_rows(s, m).mean(0, keepdim=True)
                },
                # jwallbridge/translob #4, Kyubyong/transformer #117
                "no output projection: multiply the joined heads by W_O^T.": {
                    "matrices": lambda W_Q, W_K, W_V, W_O: (W_Q, W_K, W_V, torch.eye(len(W_O)).to(W_O))
                },
                "W_O is transposed: it is stored (out, in), so multiply by W_O^T.": {
                    "matrices": lambda W_Q, W_K, W_V, W_O: (W_Q, W_K, W_V, W_O.T)
                },
                "W_Q, W_K and W_V are transposed: they are (out, in), so multiply by W^T.": {
                    "matrices": lambda W_Q, W_K, W_V, W_O: (W_Q.T, W_K.T, W_V.T, W_O)
                },
                "all learned matrices are transposed: they are (out, in), so multiply by W^T.": {
                    "matrices": lambda W_Q, W_K, W_V, W_O: (W_Q.T, W_K.T, W_V.T, W_O.T)
                },
                "W_Q and W_K have changed places: row i belongs to the query of token i.": {
                    "matrices": lambda W_Q, W_K, W_V, W_O: (W_K, W_Q, W_V, W_O)
                },
                "keys are made by W_Q: W_K is not used.": {
                    "matrices": lambda W_Q, W_K, W_V, W_O: (W_Q, W_Q, W_V, W_O)
                },
                # fchollet/deep-learning-with-python-notebooks #261
                "values are made by W_K: W_V is not used.": {
                    "matrices": lambda W_Q, W_K, W_V, W_O: (W_Q, W_K, W_K, W_O)
                },
            },
            {
                # MarcoMeter/episodic-transformer-memory-ppo #22
                "heads cut from the input: project whole tokens, then cut queries, keys and values.": _input_cut,
                "heads cut from the input, and one small projection for all: a head has its own rows of W_Q, W_K and W_V.": (
                    _one_small_projection
                ),
                "interleaved packing, in cut and join: a head owns neighbouring columns, not every n_heads-th.": (
                    _multi_head(_cut_interleaved, _join_interleaved)
                ),
                "reshape without transpose, twice: each head holds pieces of the wrong tokens.": _multi_head(
                    _cut_without_transpose, _join_without_transpose
                ),
                SCALED_AFTER: _multi_head(
                    scale=lambda d_head, d_model: 1.0,
                    after=lambda A, d_head: A * d_head**-0.5,
                ),
                "one head of full width: n_heads is not used.": lambda x, W_Q, W_K, W_V, W_O, n_heads, mask: (
                    _multi_head()(x, W_Q, W_K, W_V, W_O, 1, mask)
                ),
            },
        ),
        gradient=True,
    ),
    "4.3": Exercise(
        _contributions,
        _contribution_cases,
        {
            "W_O is cut by its rows; head h writes through the columns that read its values.": (
                _row_contributions
            ),
            "every head mixes all of V: give each its own rows of W_V and its own columns of W_O.": (
                lambda A, x, W_V, W_O: A @ x @ (W_O @ W_V).T
            ),
            "interleaved: a head owns neighbouring rows of W_V and columns of W_O, not every n_heads-th.": (
                _interleaved_contributions
            ),
            "A is transposed: row i of A says from where output i takes.": lambda A, x, W_V, W_O: (
                _contributions(A.transpose(1, 2), x, W_V, W_O)
            ),
            "the learned matrices are transposed: they are stored (out, in).": lambda A, x, W_V, W_O: (
                _contributions(A, x, W_V.T, W_O.T)
            ),
            "the output is divided among the heads; the heads ADD UP to it, each with its own part.": (
                lambda A, x, W_V, W_O: _contributions(A, x, W_V, W_O).sum(0).expand(len(A), -1, -1) / len(A)
            ),
        },
        gradient=True,
    ),
    "4.4": Exercise(
        _two_heads(),
        lambda generator: [()],
        {"the two answers have changed places.": _two_heads(write=(1, 0))},
        outcome=_named,
    ),
    "4.5": Exercise(
        lambda K: (_groups(K)[0] + _groups(K)[1])[:2],
        lambda generator: [(normal(generator, 5, 3),) for _ in range(40)],
        {
            "these are the nearest two keys, and a query can select them: nearness is not what matters.": _by_distance(
                min
            ),
            "these are the two keys farthest apart, and a query can select them: distance is not what matters.": (
                _by_distance(max)
            ),
            "both keys are of the larger of the two groups that share a point; take the smaller group.": lambda K: (
                _groups(K)[1][:2]
            ),
            "one key is of the smaller of the two groups that share a point, one of the larger; take the smaller.": lambda K: (
                _groups(K)[0][0],
                _groups(K)[1][0],
            ),
        },
        outcome=_impossible,
        otherwise="a query can select your pair for some of the sets of keys that were tried: which keys share a point?",
    ),
}
