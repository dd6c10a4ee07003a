"""Chapter 2: how far live attention is from linear, and how much each word reads from itself."""

import torch

from dynattn import _checks as check
from dynattn.anatomy import linearity_gap
from dynattn.attention import PlainAttention


def linearity_gaps(n: int, d: int, pairs: int, generator: torch.Generator) -> torch.Tensor:
    """The linearity gap of attention without parameters, for pairs of random sentences.

    Args:
        n, d: tokens of a sentence, features of a token; the numbers are independent and standard normal, float64.
        pairs: how many pairs of sentences.
        generator: of the random numbers.

    Returns:
        (pairs,): :func:`~dynattn.anatomy.linearity_gap` of each.

    Raises:
        TypeError, ValueError: a size that is not an int of at least 1, or no generator.
    """
    check.require_sizes(n=n, d=d, pairs=pairs)
    check.require_generator("generator", generator)
    layer = PlainAttention()
    sentences = torch.randn(pairs, 2, n, d, generator=generator, dtype=torch.float64)
    return torch.tensor([linearity_gap(layer, x, y) for x, y in sentences], dtype=torch.float64)


def self_weights(n: int, d: int, sentences: int, generator: torch.Generator) -> torch.Tensor:
    """How much each token reads from itself, in attention without parameters on random sentences.

    Args:
        n, d: tokens of a sentence, features of a token; the numbers are independent and standard normal, float64.
        sentences: how many.
        generator: of the random numbers.

    Returns:
        (sentences, n): A_ii of each token.

    Raises:
        TypeError, ValueError: a size that is not an int of at least 1, or no generator.
    """
    check.require_sizes(n=n, d=d, sentences=sentences)
    check.require_generator("generator", generator)
    x = torch.randn(sentences, n, d, generator=generator, dtype=torch.float64)
    return PlainAttention().weights(x).diagonal(dim1=-2, dim2=-1)
