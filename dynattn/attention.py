"""Chapters 2 to 4: a linear layer over tokens whose weight matrix A is computed from the input."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dynattn._checks import (
    broadcast,
    first_parameter,
    first_true,
    is_plain,
    require_bool,
    require_context,
    require_finite,
    require_finite_result,
    require_mask,
    require_mask_rows,
    require_matrices,
    require_plain,
    require_positive_int,
    require_qkv,
    require_tokens,
)

# --------------------------------------------------------------------------- chapter 2: the computed weights


def attention(q, k, v, mask=None, scale=None):
    """Scaled dot-product attention: compute the weight matrix A, then apply it to the values.

    ``A = softmax(scale * q k^T + mask)`` row by row, ``output = A v``. Takes NumPy arrays or torch tensors
    and returns what it was given.

    Args:
        q: queries (..., n_q, d_k), floating point.
        k: keys (..., n_k, d_k), of the same dtype.
        v: values (..., n_k, d_v), of the same dtype.
        mask: None; or boolean, True = may look; or floating point, added to the logits (-inf = may not look).
            Either (n_q, n_k), the same for all, or with every dimension of A; dimensions of size 1 broadcast.
        scale: factor of the logits, a finite number; 1/sqrt(d_k) if None.

    Returns:
        (output, A): output (..., n_q, d_v) and the computed weights A (..., n_q, n_k), whose rows are
        non-negative and sum to 1.

    Raises:
        TypeError: mixed NumPy and torch, a dtype that is not floating point (complex and integers included),
            dtypes that differ, a mask neither boolean nor floating point, a scale that is not a number.
        ValueError: shapes or devices that do not fit, a scale or a number that is not finite, or a query that
            may look at no key (the message names its row).

    Source: Vaswani et al. 2017, eq. 1.
    """
    require_qkv(q, k, v, mask, scale)
    A = _weights(q, k, mask, scale)
    output = A @ v
    require_finite_result(output, v=v)
    return output, A


def _weights(q, k, mask, scale=None, /, **sources):
    """The computed weights alone; ``sources``, then q and k, are to blame if they are not finite."""
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else float(scale)
    if isinstance(q, np.ndarray):
        with np.errstate(invalid="ignore", over="ignore"):  # found below
            logits = (q * scale) @ np.swapaxes(k, -1, -2)
            if mask is not None:
                logits += np.where(mask, 0, -np.inf) if mask.dtype == np.bool_ else mask
            exp = np.exp(logits - logits.max(-1, keepdims=True))
            A = exp / exp.sum(-1, keepdims=True)
    else:
        logits = (q * scale) @ k.transpose(-1, -2)
        if mask is not None:
            logits += _additive(mask, q.dtype)
        A = logits.softmax(dim=-1)
    # A row of a softmax is NaN as a whole or nowhere, so one column tells; NaN is not equal to itself.
    lost = A[..., 0] != A[..., 0]
    if lost.any():
        require_finite(**sources, q=q, k=k)
        raise ValueError(
            f"q, k: the logits of query row {first_true(lost)} overflow, expected smaller numbers"
        )
    return A


def _additive(mask, dtype):
    """What a mask adds to the logits: 0 where it may look and -inf where not, or the mask itself."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def _require_finite_logits(layer, x, context, q, k):
    """Refuse logits that are not finite: the fused kernel would make zeros of them without a word.

    The norms of x and of the few learned parameters tell it soonest. No query is longer than |W_Q| |x| + |b_Q|,
    no key longer than the same of W_K, and no logit is larger than the product of the two. Of a projection that is
    not plain its weight tells nothing: there it takes the norm of q or k.
    """

    def norm(t):
        return 0.0 if t is None else float(torch.linalg.vector_norm(t.detach()))

    def longest(W, x_norm, y):
        return norm(W.weight) * x_norm + norm(W.bias) if is_plain(W) else norm(y)

    x_norm = norm(x)
    context_norm = x_norm if context is x else norm(context)
    longest_q = longest(layer.W_Q, x_norm, q)
    longest_k = longest(layer.W_K, context_norm, k)
    largest = torch.finfo(torch.promote_types(q.dtype, torch.float32)).max
    if not longest_q * longest_k <= largest:  # or NaN; then look at the queries and keys themselves
        require_finite(x=x, context=context, q=q, k=k)
        if q.detach().double().norm() * k.detach().double().norm() > largest:
            raise ValueError("q, k: the logits overflow, expected smaller numbers")


def _fused(q, k, v, mask=None, causal=False):
    """The same output by torch's fused kernel, which never stores the weights; (..., n_heads, n, d) each.

    The kernel wants exactly one dimension before the heads; with others torch falls back to a slower way that
    stores the weights.
    """
    lead = broadcast(q.shape[:-3], k.shape[:-3], v.shape[:-3])
    q, k, v = (t.expand(*lead, *t.shape[-3:]).flatten(0, -4) if lead else t[None] for t in (q, k, v))
    if mask is not None:
        mask = mask if mask.dtype == torch.bool else mask.to(q.dtype)
        if mask.dim() > 2:
            mask = mask.expand(*lead, *mask.shape[-3:]).flatten(0, -4) if lead else mask[None]
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    return y.reshape(*lead, *y.shape[1:])


class PlainAttention(nn.Module):
    """Self-attention with no learned parameter: the tokens are queries, keys and values (chapter 2).

    The input is (..., n, d) for any n and d. ``weights(x)`` is A (..., n, n), ``mix(A, v)`` is ``A v``.
    Errors are those of :func:`attention`.
    """

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """The computed weights A (..., n, n) for tokens x (..., n, d)."""
        require_tokens("x", x)
        return _weights(x, x, None, x=x)

    def mix(self, A: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Apply given weights A (..., n_q, n) to tokens x (..., n, d)."""
        require_tokens("x", x)
        require_matrices("A", A, x)
        y = A @ x
        require_finite_result(y, A=A, x=x)
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., n, d) -> A(x) x (..., n, d)."""
        return self.mix(self.weights(x), x)


# ------------------------------------------------------------------- chapters 3 and 4: the learned rule


class MultiHeadAttention(nn.Module):
    """Multi-head attention: ``n_heads`` computed weight matrices, side by side.

    Head h has ``A_h(x) = softmax(Q_h K_h^T / sqrt(d_head))`` with Q = x W_Q^T, K = c W_K^T, V = c W_V^T,
    where c is the context (x itself for self-attention); the output is the concatenation of all ``A_h V_h``,
    times W_O^T. The learned parameters are W_Q, W_K, W_V (n_heads * d_head, d_model) and W_O (d_model,
    n_heads * d_head), as ``nn.Linear`` stores them: (out, in). Heads are cut from the projections, not from
    the input.

    Args:
        d_model: width of a token.
        n_heads: number of heads.
        d_head: width of a head; ``d_model // n_heads`` if None, which then must divide evenly.
        bias: whether the four projections have a bias.
        causal: whether token i may look only at tokens 0..i (of itself and those before it).

    Raises:
        TypeError, ValueError: a size that is not a positive int, a switch that is not a bool, ``d_model`` not
            divisible by ``n_heads`` when d_head is None, or an input that does not fit (see :meth:`forward`).

    Source: Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(
        self, d_model: int, n_heads: int, d_head: int | None = None, bias: bool = True, causal: bool = False
    ):
        super().__init__()
        require_positive_int("d_model", d_model)
        require_positive_int("n_heads", n_heads)
        if d_head is None:
            if d_model % n_heads:
                raise ValueError(
                    f"n_heads: got {n_heads}, expected a divisor of d_model = {d_model} (or give d_head)"
                )
            d_head = d_model // n_heads
        require_positive_int("d_head", d_head)
        require_bool("bias", bias)
        require_bool("causal", causal)
        self.d_model, self.n_heads, self.d_head, self.causal = d_model, n_heads, d_head, causal
        self.W_Q = nn.Linear(d_model, n_heads * d_head, bias=bias)
        self.W_K = nn.Linear(d_model, n_heads * d_head, bias=bias)
        self.W_V = nn.Linear(d_model, n_heads * d_head, bias=bias)
        self.W_O = nn.Linear(n_heads * d_head, d_model, bias=bias)

    def forward(self, x, context=None, mask=None, return_weights: bool = False):
        """Mix the tokens of ``context`` (of x itself if None) for each token of x.

        Args:
            x: (..., n_q, d_model).
            context: (..., n_k, d_model), or None for self-attention.
            mask: as in :func:`attention`: (n_q, n_k), or with every dimension of A (..., n_heads, n_q, n_k);
                one for each sentence, (batch, n_q, n_k), needs a head axis: ``mask[:, None]``.
            return_weights: also return the computed weights. Without it the fused kernel of torch is used,
                which never stores them.

        Returns:
            The output (..., n_q, d_model), or (output, A) with A (..., n_heads, n_q, n_k).

        Raises:
            TypeError, ValueError: as in :func:`attention`; a width other than d_model.
        """
        context = x if context is None else context
        if return_weights:
            A = self.weights(x, context, mask)
            return self.mix(A, context), A
        mask = self._checked(x, context, mask)
        q, k, v = self._projected(x, context)
        causal = self.causal and mask is None
        _require_finite_logits(self, x, context, q, k)
        y = self._join(_fused(q, k, v, mask, causal))
        require_finite_result(y, x=x, context=context)
        return y

    def weights(self, x, context=None, mask=None):
        """The computed weights A (..., n_heads, n_q, n_k); arguments and errors as in :meth:`forward`."""
        context = x if context is None else context
        mask = self._checked(x, context, mask)
        q, k = self._cut(self.W_Q(x)), self._cut(self.W_K(context))
        if self.causal and mask is None:
            mask = self._causal_mask(x)
        return _weights(q, k, mask, x=x, context=context)

    def mix(self, A, context):
        """Apply given weights A (..., n_heads, n_q, n_k) to the values of context (..., n_k, d_model)."""
        require_tokens("context", context, width=self.d_model, like=first_parameter(self))
        require_matrices("A", A, context, heads=self.n_heads)
        y = self._join(A @ self._cut(self.W_V(context)))
        require_finite_result(y, A=A, context=context)
        return y

    def _checked(self, x, context, mask):
        """The mask, with the causal one if there are both; arguments that don't fit are refused."""
        require_context(x, context, self)
        n_q, n_k = x.shape[-2], context.shape[-2]
        if self.causal and n_q != n_k:
            raise ValueError(f"context: got {n_k} tokens, expected {n_q} as in x, for a causal layer")
        if mask is None:
            return None
        lead = broadcast(x.shape[:-2], context.shape[:-2])
        require_mask(mask, torch.Tensor, x, (*lead, self.n_heads, n_q, n_k))
        if self.causal:
            causal = self._causal_mask(x)
            mask = mask & causal if mask.dtype == torch.bool else mask.masked_fill(~causal, -torch.inf)
            require_mask_rows(mask, x.dtype)
        return mask

    def _projected(self, x, context):
        """Queries, keys and values (..., n_heads, n, d_head)."""
        learned = self.W_Q, self.W_K, self.W_V
        # One product in the place of three: the same numbers, and x is read once. But a hook, or a module put in the
        # place of a plain projection, does its work only where the module is called.
        if context is x and all(map(is_plain, learned)):
            parts = F.linear(x, *self._packed()).split([len(W.weight) for W in learned], -1)
        else:
            parts = self.W_Q(x), self.W_K(context), self.W_V(context)
        return [self._cut(part) for part in parts]

    def _packed(self):
        """W_Q, W_K, W_V one below the other (3 * n_heads * d_head, d_model), and their biases, or None."""
        weights, biases = zip(*((W.weight, W.bias) for W in (self.W_Q, self.W_K, self.W_V)))
        if all(b is None for b in biases):
            return torch.cat(weights), None
        biases = [W.new_zeros(len(W)) if b is None else b for W, b in zip(weights, biases)]
        return torch.cat(weights), torch.cat(biases)

    # (..., n, n_heads * d_head) -> (..., n_heads, n, d_head): heads are cut from the projections.
    def _cut(self, y):
        return y.unflatten(-1, (self.n_heads, self.d_head)).transpose(-2, -3)

    def _join(self, heads):
        return self.W_O(heads.transpose(-2, -3).flatten(-2))

    def _causal_mask(self, x):
        n = x.shape[-2]
        return torch.ones(n, n, dtype=torch.bool, device=x.device).tril()

    @classmethod
    def from_torch(cls, source: nn.MultiheadAttention) -> "MultiHeadAttention":
        """The same layer, with the learned parameters of a ``torch.nn.MultiheadAttention`` copied into it.

        torch packs W_Q, W_K, W_V one below the other into ``in_proj_weight`` (3 d_model, d_model), in the
        same (out, in) orientation as here. Its boolean masks say the opposite: True = may NOT look, so pass
        ``~mask`` there.

        Raises:
            TypeError: source is not an ``nn.MultiheadAttention``.
            ValueError: it has key or value widths of its own, extra bias tokens (add_bias_kv, add_zero_attn),
                or dropout, none of which this layer has.
        """
        if not isinstance(source, nn.MultiheadAttention):
            raise TypeError(f"source: got {type(source).__name__}, expected torch.nn.MultiheadAttention")
        if (
            source.in_proj_weight is None
            or source.bias_k is not None
            or source.add_zero_attn
            or source.dropout
        ):
            raise ValueError(
                "source: got kdim, vdim, add_bias_kv, add_zero_attn or dropout, expected none of them"
            )
        bias = source.in_proj_bias is not None
        layer = cls(source.embed_dim, source.num_heads, bias=bias).to(source.in_proj_weight)
        with torch.no_grad():
            for part, W in zip(
                source.in_proj_weight.chunk(3), (layer.W_Q, layer.W_K, layer.W_V), strict=True
            ):
                W.weight.copy_(part)
            layer.W_O.weight.copy_(source.out_proj.weight)
            if bias:
                for part, W in zip(
                    source.in_proj_bias.chunk(3), (layer.W_Q, layer.W_K, layer.W_V), strict=True
                ):
                    W.bias.copy_(part)
                layer.W_O.bias.copy_(source.out_proj.bias)
        return layer

    def to_torch(self) -> nn.MultiheadAttention:
        """The same layer as a ``torch.nn.MultiheadAttention`` (batch first); see :meth:`from_torch`.

        Causality is not part of that layer: give it ``attn_mask``.

        Raises:
            TypeError: a projection that is not a plain ``nn.Linear``, whose weight does not say what it does.
            ValueError: n_heads * d_head is not d_model.
        """
        require_plain(W_Q=self.W_Q, W_K=self.W_K, W_V=self.W_V, W_O=self.W_O)
        if self.n_heads * self.d_head != self.d_model:
            width = self.n_heads * self.d_head
            raise ValueError(f"d_head: got n_heads * d_head = {width}, expected d_model = {self.d_model}")
        weights, biases = self._packed()
        bias = biases is not None or self.W_O.bias is not None
        layer = nn.MultiheadAttention(self.d_model, self.n_heads, bias=bias, batch_first=True).to(weights)
        with torch.no_grad():
            layer.in_proj_weight.copy_(weights)
            layer.out_proj.weight.copy_(self.W_O.weight)
            if biases is not None:  # torch's start at 0
                layer.in_proj_bias.copy_(biases)
            if self.W_O.bias is not None:
                layer.out_proj.bias.copy_(self.W_O.bias)
        return layer


class SingleHeadAttention(nn.Module):
    """One head, with the learned rule that writes its weights.

    ``A(x) = softmax((x W_Q^T)(c W_K^T)^T / sqrt(d_head))`` and the output is ``A(x) c W_V^T``, where c is
    the context (x itself for self-attention). There is no W_O: one head needs none, since W_V can end in any
    width. Learned: W_Q, W_K (d_head, d_model) and W_V (d_out, d_model), no bias. torch's fused kernel wants
    values as wide as the keys: where d_out differs from d_head, torch computes the same in a slower way.

    Args:
        d_model: width of a token.
        d_head: width of queries and keys.
        d_out: width of the values and of the output; ``d_model`` if None.

    Raises:
        TypeError, ValueError: a size that is not a positive int, or an input that does not fit.

    Source: Vaswani et al. 2017, eq. 1, with the projections of section 3.2.2.
    """

    def __init__(self, d_model: int, d_head: int, d_out: int | None = None):
        super().__init__()
        d_out = d_model if d_out is None else d_out
        for name, value in (("d_model", d_model), ("d_head", d_head), ("d_out", d_out)):
            require_positive_int(name, value)
        self.d_model = d_model
        self.W_Q = nn.Linear(d_model, d_head, bias=False)
        self.W_K = nn.Linear(d_model, d_head, bias=False)
        self.W_V = nn.Linear(d_model, d_out, bias=False)

    def forward(self, x, context=None, mask=None, return_weights: bool = False):
        """x (..., n_q, d_model) -> output (..., n_q, d_out), or (output, A), as in MultiHeadAttention."""
        context = x if context is None else context
        if return_weights:
            A = self.weights(x, context, mask)
            return self.mix(A, context), A
        q, k = self._compare(x, context, mask)
        v = self.W_V(context)
        one_head = (t.unsqueeze(-3) for t in (q, k, v))
        mask = mask if mask is None or mask.dim() == 2 else mask.unsqueeze(-3)
        _require_finite_logits(self, x, context, q, k)
        y = _fused(*one_head, mask).squeeze(-3)
        require_finite_result(y, x=x, context=context)
        return y

    def weights(self, x, context=None, mask=None):
        """The computed weights A (..., n_q, n_k)."""
        context = x if context is None else context
        return _weights(*self._compare(x, context, mask), mask, x=x, context=context)

    def mix(self, A, context):
        """Apply given weights A (..., n_q, n_k) to the values of context (..., n_k, d_model)."""
        require_tokens("context", context, width=self.d_model, like=first_parameter(self))
        require_matrices("A", A, context)
        y = A @ self.W_V(context)
        require_finite_result(y, A=A, context=context)
        return y

    def _compare(self, x, context, mask):
        """Queries (..., n_q, d_head) and keys (..., n_k, d_head)."""
        require_context(x, context, self)
        q, k = self.W_Q(x), self.W_K(context)
        require_qkv(q, k, k, mask, None)
        return q, k
