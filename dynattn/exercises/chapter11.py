"""The exercises of chapter 11."""

import torch
import torch.nn.functional as F

from dynattn.exercises._judging import (
    CheckFailed,
    Exercise,
    Hard,
    NotAttempted,
    Variants,
    attempt,
    call,
    normal,
    parts,
    run,
    tensor,
    unlike,
)

# --------------------------------------------------------------------------------- 11.1, a vector for a text

_VECTORS = {
    "mean": "the mean over the tokens that are there, with length 1",
    "plain": "the mean over the tokens that are there",
    "last": "the features of the last token that is there, with length 1",
}


def _vectors_text(kind):
    return (
        "Given features (texts, n, d) and `present` (texts, n), True where there is a token, return the texts' vectors (texts, "
        f"d): {_VECTORS[kind]}."
    )


def _vectors(kind):
    def mean(x, there):
        return (x * there[..., None]).sum(1) / there.sum(1, keepdim=True)

    def last(x, there):
        return x[torch.arange(len(x)), torch.where(there, torch.arange(x.shape[1]), -1).amax(1)]

    def length_1(pool, dim=-1):
        return lambda x, there: F.normalize(pool(x, there), dim=dim)

    def over_places(x, there):
        return (x * there[..., None]).mean(1)

    def total(x, there):
        return (x * there[..., None]).sum(1)

    pool = last if kind == "last" else mean
    finish = (lambda pool: pool) if kind == "plain" else length_1
    asked = f"take {_VECTORS[kind]}."
    mistakes = {
        "the places where there is no token are counted: multiply them by 0, or leave them out.": finish(
            lambda x, there: x.mean(1)
        ),
        f"this is the first token alone; {asked}": finish(lambda x, there: x[:, 0]),
        # TIGER-AI-Lab/VLM2Vec#18, huggingface/trl#2778
        f"this is the last place alone, where there may be no token; {asked}": finish(
            lambda x, there: x[:, -1]
        ),
        f"this is the largest number of each feature; {asked}": finish(
            lambda x, there: x.masked_fill(~there[..., None], -torch.inf).amax(1)
        ),
        f"each token is brought to length 1 before the mean; {asked}": finish(
            lambda x, there: mean(F.normalize(x, dim=-1), there)
        ),
        "the length is taken over the texts instead of over the features.": length_1(pool, dim=0),
    }
    if kind == "plain":
        mistakes |= {
            "its length is 1 here; return the mean as it is.": length_1(mean),
            "this is the last token that is there, with length 1; take the mean over all that are.": length_1(
                last
            ),
            "this divides by the number of places, not of tokens.": over_places,
            "this is the sum over the tokens that are there; divide by their number.": total,
        }
    else:
        mistakes |= {
            "the places where there is no token are counted, and the length isn't 1.": lambda x, there: (
                x.mean(1)
            ),
            "this is the mean over the tokens that are there, but its length isn't 1.": mean,
            "this divides by the number of places, not of tokens; and the length isn't 1.": over_places,
            "this is the sum over the tokens that are there; its length isn't 1.": total,
        }
    if kind == "last":
        mistakes["this is the mean over the tokens that are there; take the last of them."] = length_1(mean)
        mistakes["this is the last token that is there, but its length isn't 1."] = last
    else:
        mistakes["this is the last token that is there; take the mean over all that are."] = finish(last)

    def cases(generator):
        def drawn(present, d):
            return normal(generator, *present.shape, d) + 1, present

        def first(*lengths):
            return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]

        anywhere = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 0, 1, 0], [1, 1, 0, 0, 0]]).bool()
        return [drawn(first(5, 3, 1), 4), drawn(first(2, 6, 4, 3), 3), drawn(first(1), 2)] + [
            # huggingface/sentence-transformers#3208: texts that are filled up on the left
            Hard(
                "right, as long as all tokens stand in front: `present` says where they are.",
                *drawn(anywhere, 3),
            )
        ]

    return Exercise(finish(pool), cases, mistakes)


# ------------------------------------------------------------------------ 11.2, a published matrix into heads


def _queries_text(turned, owns):
    owned = {
        "blocks": "the $h$-th block of d_head neighbouring numbers of the result",
        "every": "every n_heads-th number of the result, from the $h$-th on",
    }[owns]
    return (
        "A file holds `W` (d_model, d_model) and `b` (d_model,), with which all heads' queries are made: "
        f"`x @ W{'' if turned else '.T'} + b`. Head $h$ owns {owned}. Given features `x` (n, d_model), return the queries of all "
        "heads, (n_heads, n, d_head)."
    )


def _queries(turned, owns):
    def blocks(y, n_heads):
        return y.reshape(len(y), n_heads, -1).transpose(0, 1)

    def every(y, n_heads):
        return y.reshape(len(y), -1, n_heads).permute(2, 0, 1)

    def queries(turned=turned, bias=1, split=blocks if owns == "blocks" else every):
        return lambda x, W, b, n_heads: split(x @ (W if turned else W.T) + bias * b, n_heads)

    def of_inputs(x, W, b, n_heads):
        own = (blocks if owns == "blocks" else every)(torch.arange(len(W))[None], n_heads)[:, 0]
        W = W.T if turned else W
        return torch.stack([x[:, part] @ W[part][:, part].T + b[part] for part in own])

    changes = {
        f"W is used the other way round: x @ W{'' if turned else '.T'}.": {"turned": not turned},
        "the bias b is missing.": {"bias": 0},
        "reshaped without exchanging the axes, so that a head gets numbers of several heads and tokens.": {
            "split": lambda y, n_heads: y.reshape(n_heads, len(y), -1)
        },
    }
    if owns == "blocks":
        changes[
            "the heads are interleaved: head h should own neighbouring numbers, not every n_heads-th."
        ] = {"split": every}
    else:
        changes["the heads are neighbouring blocks: head h should own every n_heads-th number."] = {
            "split": blocks
        }
    others = {
        "the heads are cut from the input as well: every head should see all features of a token.": of_inputs
    }

    def cases(generator):
        sizes = ((5, 6, 2), (3, 12, 4), (1, 6, 3), (4, 3, 3), (2, 4, 1))
        return [
            (normal(generator, n, d), normal(generator, d, d), normal(generator, d), heads)
            for n, d, heads in sizes
        ]

    return Exercise(queries(), cases, parts(queries, changes, others))


# ------------------------------------------------------------------------------------ 11.3, freeze one head

# What uses M: its wording, what that is, and which layers and heads these are, by how far they are from those that were named.
_FROZEN = {
    "one": (
        "In layer `layer`, head `head`",
        "one head of one layer",
        lambda layers, heads: (layers == 0) & (heads == 0),
    ),
    "others": (
        "In layer `layer`, all heads *except* `head`",
        "all other heads of the layer",
        lambda layers, heads: (layers == 0) & (heads != 0),
    ),
    "later": (
        "In layer `layer` and *all layers after it*, head `head`",
        "the head in this layer and all after it",
        lambda layers, heads: (layers >= 0) & (heads == 0),
    ),
}


def _edit_text(frozen):
    return (
        "Write a function that returns an `edit` for the book's Encoder: `edit(at, A)` gets the number of a layer and its computed "
        f"weights (texts, n_heads, n, n), and returns the weights to use. {_FROZEN[frozen][0]} shall use the matrix `M` (n, n) for every "
        "text; all else stays as it is computed. `A` itself must not be changed."
    )


def _edited(answer, case):
    """The weights that come from an edit, of all layers."""
    layer, head, M, layers = case
    edit, weights = run(answer, (layer, head, M)), []
    if not callable(edit):
        raise CheckFailed(
            f"my_edit returns a {type(edit).__name__}; it should return a function, edit(at, A)."
        )
    for at, A in enumerate(layers):
        copy = A.clone()
        nothing = f"edit returns nothing for layer {at}; it must return the weights of every layer."
        try:
            result = tensor(attempt(edit, (at, copy), nothing))
        except NotAttempted:
            raise CheckFailed(nothing) from None
        if not torch.equal(copy, A):
            raise CheckFailed("edit changes A itself; work on a copy.")
        if result.shape != A.shape:
            raise CheckFailed(
                f"edit returns weights of shape {tuple(result.shape)}, expected {tuple(A.shape)}, those of A."
            )
        weights.append(result)
    return torch.stack(weights)


def _edit(frozen):
    _, asked, which = _FROZEN[frozen]

    def edit(which=which, put=lambda A, M: M, rest=1):
        """The weights of chosen heads in chosen layers are put in place of the computed ones."""

        def answer(layer, head, M):
            def change(at, A):
                heads = (torch.arange(A.shape[1]) - head) % A.shape[1]
                chosen = which(torch.tensor(at - layer), heads)
                return torch.where(chosen[:, None, None], put(A, M), (rest if chosen.any() else 1) * A)

            return change

        return answer

    def of_one_text(layer, head, M):
        def change(at, A):
            if not which(torch.tensor(at - layer), torch.tensor([0, 1])).any():
                return A
            return torch.where((torch.arange(len(A)) == head)[:, None, None, None], M, A)

        return change

    mistakes = {
        "nothing is changed in the layer.": edit(lambda layers, heads: heads < 0),
        "this freezes in every layer; look at the number of the layer.": edit(
            lambda layers, heads: heads != 0 if frozen == "others" else heads == 0
        ),
        "this freezes all heads of the layer.": edit(lambda layers, heads: (layers == 0) & (heads >= 0)),
        "this freezes every head of every layer.": edit(lambda layers, heads: heads >= 0),
        "this freezes all heads of one text; A is (texts, n_heads, n, n), so the head is on the second axis.": of_one_text,
        "layers count from 0 here, and this takes layer 1 to be the first.": edit(
            lambda layers, heads: which(layers + 1, heads)
        ),
        "heads count from 0 here, and this takes head 1 to be the first.": edit(
            lambda layers, heads: which(layers, (heads + 1) % len(heads))
        ),
        "M is transposed: rows read, columns are read.": edit(put=lambda A, M: M.T),
        "M is added to the computed weights; it should take their place.": edit(put=lambda A, M: A + M),
        "the other heads of the layer are set to 0; they should stay as they are computed.": edit(rest=0),
    } | {
        f"this freezes {its}; it should be {asked}.": edit(other)
        for key, (_, its, other) in _FROZEN.items()
        if key != frozen
    }

    def cases(generator):
        # More texts than heads, so that a head's number taken for a text's is an error of the same kind everywhere.
        sizes = ((1, 2, 3, (4, 3, 5)), (0, 0, 2, (2, 2, 3)), (2, 1, 4, (3, 2, 2)), (1, 0, 2, (2, 1, 1)))
        return [
            (
                layer,
                head,
                normal(generator, n, n).softmax(-1),
                normal(generator, layers, texts, heads, n, n).softmax(-1),
            )
            for layer, head, layers, (texts, heads, n) in sizes
        ]

    return Exercise(edit(), cases, mistakes, outcome=_edited)


# ---------------------------------------------------------------------------- 11.4, the mean of the other half

# Over which texts the mean is taken: its wording, and whether they are in it, by whether they share the half and are the same.
_OVER = {
    "other": ("the texts of the *other* half", lambda same, itself: ~same),
    "rest": ("the *rest* of its own half, without the text itself", lambda same, itself: same & ~itself),
    "all": ("*all other* texts, of both halves", lambda same, itself: ~itself),
}


def _means_text(over):
    return (
        "To freeze fairly, a text's own matrices must not be in its mean. Given `A` (texts, n, n) and `half` (texts,), which is 0 or "
        f"1, return for each text the mean over {_OVER[over][0]}: (texts, n, n)."
    )


def _means(over):
    asked, chosen = _OVER[over]

    def means(chosen=chosen, divide=lambda chosen: chosen.sum(1, keepdim=True)):
        """For each text a mean over chosen ones."""

        def answer(A, half):
            among = chosen(half[:, None] == half, torch.eye(len(A), dtype=torch.bool)).to(A.dtype)
            return torch.einsum("ij,jab->iab", among / divide(among), A)

        return answer

    wanted = asked.replace("*", "")
    instead = {
        "other": "this is the mean over the other half",
        "rest": "this is the mean over the rest of the text's own half",
        "all": "this leaves out only the text itself, and its paraphrase is still in the mean",
    }
    mistakes = {
        f"this is the mean over the text's own half, the text itself included; take {wanted}.": means(
            lambda same, itself: same
        ),
        f"this is the mean over all texts, the text itself included; take {wanted}.": means(
            lambda same, itself: same | ~same
        ),
        "the sum is divided by the number of all texts.": means(divide=lambda chosen: len(chosen)),
        "this is the sum; divide by the number of texts in it.": means(divide=lambda chosen: 1),
        "the mean is right, but row and column are exchanged.": lambda A, half: means()(A, half).mT,
    } | {f"{instead[key]}; take {wanted}.": means(other) for key, (_, other) in _OVER.items() if key != over}

    def cases(generator):
        def drawn(half, n):
            return normal(generator, len(half), n, n).softmax(-1), torch.tensor(half)

        plain = [drawn([0, 1, 1, 0, 1, 0, 1], 3), drawn([1, 0, 0, 0, 1], 2), drawn([0, 1, 0, 1], 1)]
        if over == "other":
            plain.append(Hard("right, except where a half has one text only.", *drawn([0, 1, 1], 2)))
        if over == "all":
            plain.append(Hard("right, except where all texts are of one half.", *drawn([1, 1, 1], 2)))
        return plain

    return Exercise(means(), cases, mistakes)


# ------------------------------------------------------------------- 11.5, the interval of a paired difference

# So many of 100: in words, and how many standard errors to each side hold them in a normal distribution.
_ERRORS = {
    50: ("half of the resamples", 0.674),
    68: ("two thirds of the resamples, one standard error to each side", 1.0),
    90: ("90 of 100", 1.645),
    95: ("95 of 100", 1.96),
    99: ("99 of 100", 2.576),
}


def _interval_text(level):
    return (
        "Two models answer the same questions: `a` and `b`, each (questions,), 1 for a right answer and 0 for a wrong one. Return "
        f"the bootstrap interval of the difference of their shares, `a` minus `b`, as two numbers: the middle {level} of 100 of at "
        "least 2000 resamples. What is the unit? Afterwards try it on two variants of this chapter, and compare with the interval "
        "that you get if you resample the two models separately."
    )


def _paired(a, b):
    return (a - b).std() / len(a) ** 0.5


def _ends(answer, case):
    """Both ends, as the mean of five calls, in standard errors from the difference.

    Resamples are random, so the steps are thirds of a standard error: the five levels lie near whole numbers of them.
    """
    a, b = case
    ends = torch.stack([call(answer, case) for _ in range(5)])
    if diagnosis := unlike(ends[0], torch.zeros(2)):
        raise CheckFailed(diagnosis)
    if (ends[:, 0] > ends[:, 1]).any():
        raise CheckFailed("the lower end is above the upper one.")
    return ((ends.mean(0) - (a - b).mean()) / (0.329 * _paired(a, b))).round().clamp(-999, 999)


def _interval(level):
    def ends(middle=lambda a, b: (a - b).mean(), error=_paired, level=level, times=lambda a: 1):
        """What a bootstrap comes to when there are many questions."""
        reach = torch.tensor([-1.0, 1.0], dtype=torch.float64) * _ERRORS[level][1]
        return lambda a, b: times(a) * (middle(a, b) + reach * error(a, b))

    cut = f"take {(100 - level) / 2:g} of 100 off at each end."
    mistakes = {
        f"too {'narrow' if other < level else 'wide'}, this is the middle {said}; {cut}": ends(level=other)
        for other, (said, _) in _ERRORS.items()
        if other != level
    } | {
        "the two models are resampled separately; draw questions, and take both answers to each.": ends(
            error=lambda a, b: ((a.var() + b.var()) / len(a)).sqrt()
        ),
        "the sign is turned: it should be the share of a minus that of b.": ends(lambda a, b: (b - a).mean()),
        "this is the interval of a alone.": ends(lambda a, b: a.mean(), lambda a, b: a.std() / len(a) ** 0.5),
        "this is the interval of b alone.": ends(lambda a, b: b.mean(), lambda a, b: b.std() / len(b) ** 0.5),
        "the interval lies around 0; it should lie around the measured difference.": ends(lambda a, b: 0.0),
        "this is where most single questions lie; take the mean of each resample first.": lambda a, b: (
            a - b
        ).quantile(torch.tensor([0.5 - level / 200, 0.5 + level / 200], dtype=torch.float64)),
        "the interval is far too wide: is it one of sums? Take the mean of each resample.": ends(times=len),
    }
    otherwise = "the ends differ from those of the bootstrap interval by more than chance explains."
    return Exercise(ends(), _interval_cases, mistakes, outcome=_ends, otherwise=otherwise)


def _interval_cases(generator):
    def answered(both, a_alone, b_alone, neither):
        a, b = torch.tensor([[1.0, 1], [1, 0], [0, 1], [0, 0]], dtype=torch.float64).T
        often = torch.tensor([both, a_alone, b_alone, neither])
        return a.repeat_interleave(often), b.repeat_interleave(often)

    # With these numbers no listed mistake lies near the middle between two steps.
    return [answered(238, 123, 65, 267), answered(271, 72, 27, 270)]


EXERCISES = {
    "11.1": Variants(_vectors_text, _vectors, *({"kind": kind} for kind in _VECTORS)),
    "11.2": Variants(
        _queries_text,
        _queries,
        {"turned": False, "owns": "blocks"},
        {"turned": True, "owns": "blocks"},
        {"turned": False, "owns": "every"},
    ),
    "11.3": Variants(_edit_text, _edit, *({"frozen": frozen} for frozen in _FROZEN)),
    "11.4": Variants(_means_text, _means, *({"over": over} for over in _OVER)),
    "11.5": Variants(_interval_text, _interval, {"level": 95}, {"level": 90}),
}
