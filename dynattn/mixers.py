"""Chapter 6: what could stand in the place of attention, with one signature.

Every mixer is made as ``Kind(n, d_model, d_out)`` for sentences of n tokens, maps tokens (..., n, d_model) to
(..., n, d_out), and has the two verbs of this book: ``weights(x)`` is its matrix between tokens, ``mix(A, x)`` is
``A (x W_V^T)`` for any matrix A. They all learn W_V in the same way and differ in where the matrix comes from.
Each refuses by name what does not fit: a size that is not an int of at least 1; tokens or a matrix of another kind,
dtype (TypeError) or shape, or with numbers that are not finite (ValueError).

=====================  ==============================  ========  =========  ========
mixer                  its matrix                      learned   computed   compares
=====================  ==============================  ========  =========  ========
NoMixing               the identity                    no        no         no
UniformMixing          1/n everywhere                  no        no         no
RandomMixing           drawn once, then kept           no        no         no
StaticMixing           a parameter, or its softmax     yes       no         no
DynamicConvolution     row i from token i: a filter    yes       yes        no
DenseSynthesizer       row i from token i              yes       yes        no
Attention              from queries and keys           yes       yes        yes
=====================  ==============================  ========  =========  ========

:class:`MLPMixer` has the same signature, but mixes through a hidden layer: no single matrix says what it does.
"""

import math

import torch
from torch import nn

from dynattn._checks import (
    first_parameter,
    require_choice,
    require_finite_result,
    require_matrices,
    require_sizes,
    require_squares,
    require_tokens,
)


class _Mixer(nn.Module):
    def __init__(self, n: int, d_model: int, d_out: int):
        super().__init__()
        require_sizes(n=n, d_model=d_model, d_out=d_out)
        self.n, self.d_model = n, d_model
        self.W_V = nn.Linear(d_model, d_out, bias=False)

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """The matrix for tokens x (..., n, d_model): (n, n) if it is the same for every x, else (..., n, n)."""
        require_tokens("x", x, n=self.n, width=self.d_model, like=first_parameter(self))
        A = self._matrix(x)
        require_finite_result(A, x=x)
        return A

    def mix(self, A: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Apply a given matrix A (..., n_out, n) to the values of x (..., n, d_model)."""
        require_tokens("x", x, width=self.d_model, like=first_parameter(self))
        require_matrices("A", A, x)
        y = A @ self.W_V(x)
        require_finite_result(y, A=A, x=x)
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., n, d_model) -> (..., n, d_out)."""
        return self.mix(self.weights(x), x)


# ---------------------------------------------------------------------------- the same matrix for every input


class _GivenMatrix(_Mixer):
    def __init__(self, n: int, d_model: int, d_out: int, A: torch.Tensor):
        super().__init__(n, d_model, d_out)
        self.register_buffer("A", A)

    def _matrix(self, x):
        return self.A


class NoMixing(_GivenMatrix):
    """Every token keeps to itself: the matrix is the identity. Learned: W_V (d_out, d_model)."""

    def __init__(self, n: int, d_model: int, d_out: int):
        require_sizes(n=n)
        super().__init__(n, d_model, d_out, torch.eye(n))


class UniformMixing(_GivenMatrix):
    """Every token takes the mean of all: the matrix is 1/n everywhere. Learned: W_V (d_out, d_model)."""

    def __init__(self, n: int, d_model: int, d_out: int):
        require_sizes(n=n)
        super().__init__(n, d_model, d_out, torch.full((n, n), 1 / n))


class RandomMixing(_GivenMatrix):
    """A matrix of softmax rows drawn once, by torch's global generator. Learned: W_V (d_out, d_model).

    Source: the fixed Random Synthesizer, Tay et al. 2021.
    """

    def __init__(self, n: int, d_model: int, d_out: int):
        require_sizes(n=n)
        super().__init__(n, d_model, d_out, (2 * torch.randn(n, n)).softmax(-1))


class StaticMixing(_Mixer):
    """A learned matrix W (n, n), the same for every input: chapter 1's layer, with W_V.

    Args:
        n, d_model, d_out: as for every mixer.
        rows: "free", W as it is, of any numbers; or "softmax", the softmax of each row of W, which is what is left of
            attention when nothing is compared.

    Raises:
        TypeError, ValueError: other rows; and as every mixer.

    Source: the token mixing of Tolstikhin et al. 2021 (MLP-Mixer) without its hidden layer; with softmax rows, the
    Random Synthesizer of Tay et al. 2021.
    """

    def __init__(self, n: int, d_model: int, d_out: int, rows: str = "free"):
        super().__init__(n, d_model, d_out)
        require_choice("rows", rows, ("free", "softmax"))
        self.rows = rows
        self.W = nn.Parameter(torch.randn(n, n) / n**0.5)

    def _matrix(self, x):
        return self.W.softmax(-1) if self.rows == "softmax" else self.W


# -------------------------------------------------------------------------------- rows from one's own token


class DynamicConvolution(_Mixer):
    """Token i computes, from itself alone, a filter over the places around it: offsets -reach to reach.

    Row i is a softmax over those of its places that exist. Learned: W_V, and ``kernel`` (2 reach + 1, d_model) with a
    bias, the same for every token.

    Args:
        n, d_model, d_out: as for every mixer.
        reach: the farthest offset; n - 1, every place, if None.

    Source: Wu et al. 2019 (Dynamic Convolutions), with one head.
    """

    def __init__(self, n: int, d_model: int, d_out: int, reach: int | None = None):
        super().__init__(n, d_model, d_out)
        reach = max(1, n - 1) if reach is None else reach
        require_sizes(reach=reach)
        self.kernel = nn.Linear(d_model, 2 * reach + 1)
        offset = (
            torch.arange(n) - torch.arange(n)[:, None] + reach
        )  # which entry of the filter row i uses for place j
        self.register_buffer("outside", (offset < 0) | (offset > 2 * reach))
        self.register_buffer("offset", offset.clamp(0, 2 * reach))

    def _matrix(self, x):
        logits = self.kernel(x).gather(-1, self.offset.expand(*x.shape[:-2], -1, -1))
        return logits.masked_fill(self.outside, -torch.inf).softmax(-1)


class DenseSynthesizer(_Mixer):
    """Token i computes its row of logits, from itself and its place alone, by a hidden layer.

    ``A_i = softmax(W_2 relu(W_1 (x_i + place_i)))``. Learned: W_V; the places' features (n, d_model); W_1
    (width, d_model) and W_2 (n, width) with biases, the same for every token.

    Args:
        n, d_model, d_out: as for every mixer.
        width: size of the hidden layer.

    Source: the Dense Synthesizer, Tay et al. 2021.
    """

    def __init__(self, n: int, d_model: int, d_out: int, width: int = 32):
        super().__init__(n, d_model, d_out)
        require_sizes(width=width)
        self.W_places = nn.Parameter(torch.randn(n, d_model) / d_model**0.5)
        self.rows = nn.Sequential(nn.Linear(d_model, width), nn.ReLU(), nn.Linear(width, n))

    def _matrix(self, x):
        return self.rows(x + self.W_places).softmax(-1)


# ------------------------------------------------------------------------------- from comparing two tokens


class Attention(_Mixer):
    """One head, A(x) = softmax(Q K^T / sqrt(d_head) + what it knows of places).

    Args:
        n, d_model, d_out: as for every mixer.
        d_head: width of queries and keys.
        places: what the head knows of places. "none": nothing. "beside": W_Q and W_K see n more features, of which the
            one of the token's place is 1. "features": each place has learned features (n, d_model), added to the
            token before W_Q and W_K. "bias": a learned matrix W_places (n, n) is added to the logits, so that static
            weights and computed ones meet in one softmax.

    Raises:
        TypeError, ValueError: other places; and as every mixer.

    Source: Vaswani et al. 2017, eq. 1; "bias" is the Random + Vanilla Synthesizer of Tay et al. 2021.
    """

    def __init__(self, n: int, d_model: int, d_out: int, d_head: int = 8, places: str = "none"):
        super().__init__(n, d_model, d_out)
        require_sizes(d_head=d_head)
        require_choice("places", places, ("none", "beside", "features", "bias"))
        self.d_head, self.places = d_head, places
        width = d_model + n if places == "beside" else d_model
        self.W_Q = nn.Linear(width, d_head, bias=False)
        self.W_K = nn.Linear(width, d_head, bias=False)
        if places == "features":
            self.W_places = nn.Parameter(torch.randn(n, d_model) / d_model**0.5)
        if places == "bias":
            self.W_places = nn.Parameter(torch.zeros(n, n))

    def _matrix(self, x):
        placed = x
        if self.places == "features":
            placed = x + self.W_places
        if self.places == "beside":
            places = torch.eye(self.n, dtype=x.dtype, device=x.device)
            placed = torch.cat([x, places.expand(*x.shape[:-1], self.n)], dim=-1)
        logits = self.W_Q(placed) @ self.W_K(placed).mT / math.sqrt(self.d_head)
        return (logits + self.W_places if self.places == "bias" else logits).softmax(-1)


# ---------------------------------------------------------------------- static matrices and something between


class MLPMixer(nn.Module):
    """Blocks that mix tokens, then features, each through a hidden layer: every weight is static.

    It maps tokens (..., n, d_model) to (..., n, d_out) as the other mixers do, but has no single matrix between tokens
    and so neither ``weights`` nor ``mix``.

    Args:
        n, d_model, d_out: as for every mixer.
        width: features inside, and size of every hidden layer.
        blocks: how many.

    Raises:
        TypeError, ValueError: a size that is not a positive int, or an input that does not fit.

    Source: Tolstikhin et al. 2021, eq. 1; the block that chapter 3 builds.
    """

    def __init__(self, n: int, d_model: int, d_out: int, width: int = 32, blocks: int = 2):
        super().__init__()
        require_sizes(n=n, d_model=d_model, d_out=d_out, width=width, blocks=blocks)
        self.n, self.d_model = n, d_model
        self.enter = nn.Linear(d_model, width)
        self.blocks = nn.Sequential(*(_MixerBlock(n, width) for _ in range(blocks)))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, d_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., n, d_model) -> (..., n, d_out)."""
        require_tokens("x", x, n=self.n, width=self.d_model, like=first_parameter(self))
        features = self.enter(x)
        require_squares(features, x=x)
        y = self.leave(self.blocks(features))
        require_finite_result(y, x=x)
        return y


class _MixerBlock(nn.Module):
    def __init__(self, n, width):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix_tokens = nn.Sequential(nn.Linear(n, width), nn.GELU(), nn.Linear(width, n))
        self.mix_features = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x):
        x = x + self.mix_tokens(self.norm_1(x).mT).mT
        return x + self.mix_features(self.norm_2(x))
