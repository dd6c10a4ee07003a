"""Seeded generators of the book's synthetic tasks: each returns inputs and targets, and needs a torch.Generator."""

import torch

from dynattn._checks import require_positive_int


def routing(kind: str, n: int) -> torch.Tensor:
    """The permutation matrix of a fixed routing over n tokens (chapter 1).

    Args:
        kind: "shift" (token i takes the token before it, the first takes the last) or "reverse".
        n: number of tokens.

    Returns:
        P (n, n) with one 1 a row: output token i is input token j where ``P[i, j] == 1``.

    Raises:
        ValueError: another kind, or n below 1.
    """
    require_positive_int("n", n)
    if kind == "shift":
        return torch.eye(n).roll(1, dims=1).T.contiguous()
    if kind == "reverse":
        return torch.eye(n).flip(0)
    raise ValueError(f"kind: got {kind!r}, expected 'shift' or 'reverse'")


def routed(P: torch.Tensor, samples: int, d: int, generator: torch.Generator):
    """Random sentences, and the same sentences routed by the fixed matrix P (chapter 1).

    Returns:
        (x, y): x (samples, n, d) standard normal, y = P x.
    """
    x = torch.randn(samples, P.shape[1], d, generator=generator)
    return x, P @ x


def switched(P: torch.Tensor, Q: torch.Tensor, samples: int, d: int, generator: torch.Generator):
    """A routing that depends on the content: P where the first token's first feature is positive, else Q (chapter 1).

    Returns:
        (x, y): x (samples, n, d) standard normal, y = P x or Q x.
    """
    x = torch.randn(samples, P.shape[1], d, generator=generator)
    choose_p = (x[:, 0, 0] > 0)[:, None, None]
    return x, torch.where(choose_p, P @ x, Q @ x)
