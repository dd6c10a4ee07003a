"""Seeded generators of the book's synthetic tasks: each returns inputs and targets, and needs a torch.Generator.

What does not fit is refused by name: TypeError for another kind of argument (sizes are ints, the generator is a
torch.Generator on the CPU), ValueError for another value (sizes are at least 1).
"""

import torch
import torch.nn.functional as F

from dynattn._checks import (
    require_choice,
    require_finite,
    require_finite_result,
    require_generator,
    require_indices,
    require_int,
    require_number,
    require_sizes,
    require_tensor,
    require_tokens,
    shape_of,
)


def routing(kind: str, n: int) -> torch.Tensor:
    """The permutation matrix of a fixed routing over n tokens (chapter 1).

    Args:
        kind: "shift" (token i takes the token before it, the first takes the last) or "reverse".
        n: number of tokens.

    Returns:
        P (n, n) with one 1 a row: output token i is input token j where ``P[i, j] == 1``.

    Raises:
        TypeError: n is not an int, or kind not a str.
        ValueError: another kind, or n below 1.
    """
    require_choice("kind", kind, ("shift", "reverse"))
    require_sizes(n=n)
    if kind == "shift":
        return torch.eye(n).roll(1, dims=1).T.contiguous()
    return torch.eye(n).flip(0)


def routed(P: torch.Tensor, samples: int, d: int, generator: torch.Generator):
    """Random sentences, and the same sentences routed by the fixed matrix P (chapter 1).

    Returns:
        (x, y): x (samples, n, d) standard normal in the dtype of P, y = P x.

    Raises:
        TypeError, ValueError: P is not a finite floating-point matrix (n_out, n); a size below 1.
    """
    require_sizes(samples=samples, d=d)
    require_generator("generator", generator)
    _require_matrix("P", P)
    x = torch.randn(samples, P.shape[1], d, generator=generator).to(P)
    y = P @ x
    require_finite_result(y, P=P)
    return x, y


def switched(P: torch.Tensor, Q: torch.Tensor, samples: int, d: int, generator: torch.Generator):
    """A routing that depends on the content: P where the first two features of the first token have the same sign,
    else Q (chapter 1). Needs d of at least 2. Given the choice, each entry of x still has mean 0 and variance 1, and tokens stay uncorrelated within
    each feature: that is why the mean of P and Q is the best static W.

    Returns:
        (x, y): x (samples, n, d) standard normal in the dtype of P, y = P x or Q x.

    Raises:
        TypeError, ValueError: P and Q are not finite floating-point matrices of one shape and dtype; d below 2, or
            samples below 1.
    """
    require_sizes(samples=samples)
    require_int("d", d, at_least=2)
    require_generator("generator", generator)
    _require_matrix("P", P)
    _require_matrix("Q", Q, like=P)
    x = torch.randn(samples, P.shape[1], d, generator=generator).to(P)
    choose_p = (x[:, 0, 0] * x[:, 0, 1] > 0)[:, None, None]
    y = torch.where(choose_p, P @ x, Q @ x)
    require_finite_result(y, P=P, Q=Q)
    return x, y


def _require_matrix(name, P, like=None):
    require_tensor(name, P, like)
    if P.dim() != 2 or P.numel() == 0 or (like is not None and P.shape != like.shape):
        expected = "a matrix (n_out, n)" if like is None else f"{shape_of(like)}, as P"
        raise ValueError(f"{name}: got shape {shape_of(P)}, expected {expected}")
    require_finite(**{name: P})


# ---- chapter 3


def lookup(values: torch.Tensor, wants: torch.Tensor, generator: torch.Generator, d_name: int = 8):
    """Every token looks for another by name, and must answer with that one's value (chapter 3).

    Names are random unit vectors, new in every sentence, so that no name can be learned by heart. A token is
    its own name, the name that it looks for, and its value, side by side.

    Args:
        values: (samples, n, d_value), floating point.
        wants: (samples, n), integers: token i looks for token ``wants[:, i]``.
        generator: draws the names.
        d_name: width of a name.

    Returns:
        (x, y): x (samples, n, 2 * d_name + d_value), y (samples, n, d_value).

    Raises:
        TypeError, ValueError: values is not a finite batch of token rows, wants does not fit it or names a place
            outside the sentence, or d_name is below 1.
    """
    require_tokens("values", values)
    if values.dim() != 3 or len(values) == 0:
        raise ValueError(f"values: got shape {shape_of(values)}, expected (samples, n, d_value)")
    require_finite(values=values)
    require_indices(
        "wants", wants, below=values.shape[1], shape=values.shape[:2], of=", the sentence's places"
    )
    require_generator("generator", generator)
    require_sizes(d_name=d_name)
    names = _names(*wants.shape, d_name, generator).to(values)
    sentence = torch.arange(len(wants))[:, None]
    return torch.cat([names, names[sentence, wants], values], dim=-1), values[sentence, wants]


def rings(samples: int, generator: torch.Generator, count: int = 2) -> torch.Tensor:
    """For :func:`lookup`: tokens in rings of three, a looking for b, b for c, c for a (chapter 3).

    Returns:
        wants (samples, 3 * count): which token each one looks for; who is in which ring is random.

    Raises:
        TypeError, ValueError: samples or count is not an int of at least 1.
    """
    require_sizes(samples=samples, count=count)
    require_generator("generator", generator)
    order = torch.rand(samples, 3 * count, generator=generator).argsort(dim=1)
    following = order.unflatten(1, (count, 3)).roll(1, dims=2).flatten(1)
    return torch.empty_like(order).scatter_(1, order, following)


def question(samples: int, n: int, classes: int, generator: torch.Generator, d_name: int = 8):
    """One lookup a sentence: n tokens with a name and a value, and a last one that asks (chapter 3).

    The last token holds a name, in the same place as the others, and no value.

    Returns:
        (x, y): x (samples, n + 1, d_name + classes), the values one-hot; y (samples,), the class asked for.

    Raises:
        TypeError, ValueError: a size is not an int of at least 1.
    """
    require_sizes(samples=samples, n=n, classes=classes, d_name=d_name)
    require_generator("generator", generator)
    names = _names(samples, n, d_name, generator)
    values = torch.randint(classes, (samples, n), generator=generator)
    wants, sentence = torch.randint(n, (samples,), generator=generator), torch.arange(samples)
    told = torch.cat([names, F.one_hot(values, classes)], dim=-1)
    asked = torch.cat([names[sentence, wants], torch.zeros(samples, classes)], dim=-1)
    return torch.cat([told, asked[:, None]], dim=1), values[sentence, wants]


def _names(samples: int, n: int, d_name: int, generator: torch.Generator) -> torch.Tensor:
    return F.normalize(torch.randn(samples, n, d_name, generator=generator), dim=-1)


# ---- chapter 4


def two_lookups(samples: int, generator: torch.Generator):
    """A question names two keys; the answers are their two values, in the order of the question (chapter 4).

    Eight tokens hold a key each, a new random direction in 8 dimensions, and a value, one of eight. Tokens
    are 16 wide: the first half is for keys, the second for values. Keys and values come as separate tensors,
    so that a layer may compute its weights from the keys alone.

    Returns:
        ((question, keys, values), answers, asked): question (samples, 1, 16), the two keys side by side;
        keys (samples, 8, 16), zero in the second half; values (samples, 8, 16), zero in the first half and
        one-hot in the second; answers (samples, 2, 8), one-hot; asked (samples, 2), the places of the two.

    Raises:
        TypeError, ValueError: samples is not an int of at least 1.
    """
    require_sizes(samples=samples)
    require_generator("generator", generator)
    n = width = 8
    key = F.normalize(torch.randn(samples, n, width, generator=generator), dim=-1)
    value = torch.eye(width)[torch.randint(width, (samples, n), generator=generator)]
    asked = torch.rand(samples, n, generator=generator).argsort(dim=-1)[:, :2]
    sample = torch.arange(samples)[:, None]
    question = key[sample, asked].reshape(samples, 1, 2 * width)
    return (question, F.pad(key, (0, width)), F.pad(value, (width, 0))), value[sample, asked], asked


# ---- chapters 5 and 6


def content_or_place(
    p: float, samples: int, n: int, classes: int, generator: torch.Generator, d_name: int = 8
):
    """Each token must name a value: with probability p that of the token it looks for, else of the one before it.

    A token is its own name, the name that it looks for, and its value, side by side. Names are new in every sentence;
    a token that looks for none, and so must take the value of the token before it (the first one: of the last), has
    zeros there.

    Args:
        p: the share of tokens whose routing depends on the content, from 0 to 1.
        samples, n, classes: sentences, tokens in each, and number of values.
        generator: draws everything.
        d_name: width of a name.

    Returns:
        (x, y, sources): x (samples, n, 2 * d_name + classes), the values one-hot; y (samples, n), the value's number;
        sources (samples, n), the place from which each token must read.

    Raises:
        TypeError, ValueError: p is not a number from 0 to 1, or a size not an int of at least 1.
    """
    require_number("p", p, at_least=0, at_most=1)
    require_sizes(samples=samples, n=n, classes=classes, d_name=d_name)
    require_generator("generator", generator)
    names = _names(samples, n, d_name, generator)
    values = torch.randint(classes, (samples, n), generator=generator)
    wants = torch.randint(n, (samples, n), generator=generator)
    looks = torch.rand(samples, n, generator=generator) < p
    sources = torch.where(looks, wants, torch.arange(n).roll(1))
    sentence = torch.arange(samples)[:, None]
    wanted = names[sentence, wants] * looks[..., None]
    x = torch.cat([names, wanted, F.one_hot(values, classes)], dim=-1)
    return x, values[sentence, sources], sources


# ---- chapter 8


def regressions(samples: int, n: int, d: int, generator: torch.Generator, scale: float = 1.0):
    """Every sentence has an unknown vector u of its own and n examples of the rule y = u x (chapter 8).

    Entries of u are normal with variance 1/d, so that y has variance scale^2.

    Args:
        samples, n, d: sentences, examples in each, and the width of x.
        generator: draws everything.
        scale: standard deviation of the entries of x, from 1e-30 to 1e30: what float32 has room for.

    Returns:
        ((examples, asked), answers): examples (samples, n, d + 1), each an x with its y; asked (samples, d + 1), an x
        with 0 in the place of y; answers (samples,), its y.

    Raises:
        TypeError, ValueError: a size is not an int of at least 1, or scale not a number within its bounds.
    """
    require_sizes(samples=samples, n=n, d=d)
    require_generator("generator", generator)
    require_number("scale", scale, at_least=1e-30, at_most=1e30)
    x = float(scale) * torch.randn(samples, n + 1, d, generator=generator)
    u = torch.randn(samples, d, 1, generator=generator) / d**0.5
    tokens = torch.cat([x, x @ u], dim=-1)
    answers = tokens[:, -1, -1].clone()
    tokens[:, -1, -1] = 0
    return (tokens[:, :-1], tokens[:, -1]), answers


def languages(samples: int, n: int, letters: int, generator: torch.Generator):
    """Texts, each in a language of its own: a Markov chain over a few letters (chapter 8).

    Row a of a language's table holds the probability of each letter after letter a. Rows are drawn so that every row
    of probabilities is equally likely (a Dirichlet distribution with all parameters 1). The first letter is any.

    Returns:
        (texts, tables): texts (samples, n), the letters' numbers; tables (samples, letters, letters), rows sum to 1.

    Raises:
        TypeError, ValueError: a size is not an int of at least 1.
    """
    require_sizes(samples=samples, n=n, letters=letters)
    require_generator("generator", generator)
    luck = torch.rand(samples, letters, letters, generator=generator, dtype=torch.float64)
    waits = -luck.clamp_min(1e-300).log()  # exponential; divided by their sum, they are a Dirichlet row
    tables = (waits / waits.sum(-1, keepdim=True)).float()
    texts = torch.empty(samples, n, dtype=torch.long)
    texts[:, 0] = torch.randint(letters, (samples,), generator=generator)
    luck, text = torch.rand(samples, n, 1, generator=generator), torch.arange(samples)
    below = tables.cumsum(-1)[..., :-1]  # the letter is the number of these that the luck exceeds
    for i in range(1, n):
        texts[:, i] = (luck[:, i] > below[text, texts[:, i - 1]]).sum(-1)
    return texts, tables
