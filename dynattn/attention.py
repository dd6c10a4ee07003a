"""Chapters 2 to 4: a linear layer over tokens whose weight matrix A is computed from the input."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dynattn._checks import require_positive_int, require_tokens, shape_of

# --------------------------------------------------------------------------- chapter 2: the computed weights


def attention(q, k, v, mask=None, scale=None):
    """Scaled dot-product attention: compute the weight matrix A, then apply it to the values.

    ``A = softmax(scale * q k^T + mask)`` row by row, ``output = A v``. Takes NumPy arrays or torch tensors and
    returns what it was given.

    Args:
        q: queries (..., n_q, d_k), floating point.
        k: keys (..., n_k, d_k), of the same dtype.
        v: values (..., n_k, d_v), of the same dtype.
        mask: None; or boolean, True = may look; or floating point, added to the logits (-inf = may not look).
            Broadcast to (..., n_q, n_k).
        scale: factor of the logits; 1/sqrt(d_k) if None.

    Returns:
        (output, A): output (..., n_q, d_v) and the computed weights A (..., n_q, n_k), whose rows are
        non-negative and sum to 1.

    Raises:
        TypeError: mixed NumPy and torch, a dtype that is not floating point (complex and integers included),
            dtypes that differ, a mask that is neither boolean nor floating point.
        ValueError: shapes that do not fit, a scale or a number that is not finite, or a query that may look at
            no key (the message names its row).

    Source: Vaswani et al. 2017, eq. 1.
    """
    _check(q, k, v, mask, scale)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    if isinstance(q, np.ndarray):
        logits = _masked_numpy(q @ np.swapaxes(k, -1, -2) * scale, mask)
        _check_rows(np.isfinite(logits.max(-1)), logits.max(-1) == -np.inf)
        exp = np.exp(logits - logits.max(-1, keepdims=True))
        A = exp / exp.sum(-1, keepdims=True)
    else:
        logits = _masked_torch(q @ k.transpose(-1, -2) * scale, mask)
        _check_rows(torch.isfinite(logits.amax(-1)), logits.amax(-1) == -torch.inf)
        A = logits.softmax(dim=-1)
    return A @ v, A


class PlainAttention(nn.Module):
    """Self-attention with no learned parameter: queries, keys and values are the tokens themselves (chapter 2).

    The input is (..., n, d) for any n and d. ``weights(x)`` is A (..., n, n), ``mix(A, v)`` is ``A v``.
    Errors are those of :func:`attention`.
    """

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """The computed weights A (..., n, n) for tokens x (..., n, d)."""
        return attention(x, x, x)[1]

    def mix(self, A: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Apply given weights A (..., n_q, n) to tokens x (..., n, d)."""
        return A @ x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., n, d) -> A(x) x (..., n, d)."""
        return self.mix(self.weights(x), x)


# ------------------------------------------------------------------- chapters 3 and 4: the learned rule


class MultiHeadAttention(nn.Module):
    """Multi-head attention: ``n_heads`` computed weight matrices, side by side.

    Head h has ``A_h(x) = softmax(Q_h K_h^T / sqrt(d_head))`` with Q = x W_Q^T, K = c W_K^T, V = c W_V^T, where c is
    the context (x itself for self-attention); the output is the concatenation of all ``A_h V_h``, times W_O^T.
    The learned parameters are W_Q, W_K, W_V (n_heads * d_head, d_model) and W_O (d_model, n_heads * d_head), as
    ``nn.Linear`` stores them: (out, in). Heads are cut from the projections, not from the input.

    Args:
        d_model: width of a token.
        n_heads: number of heads.
        d_head: width of a head; ``d_model // n_heads`` if None, which then must divide evenly.
        bias: whether the four projections have a bias.
        causal: whether token i may look only at tokens 0..i (of itself and those before it).

    Raises:
        TypeError, ValueError: a size that is not a positive int, ``d_model`` not divisible by ``n_heads`` when
            d_head is None, or an input that does not fit (see :meth:`forward`).

    Source: Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(self, d_model: int, n_heads: int, d_head: int | None = None, bias: bool = True, causal: bool = False):
        super().__init__()
        require_positive_int("d_model", d_model)
        require_positive_int("n_heads", n_heads)
        if d_head is None:
            if d_model % n_heads:
                raise ValueError(f"n_heads: got {n_heads}, expected a divisor of d_model = {d_model} (or give d_head)")
            d_head = d_model // n_heads
        require_positive_int("d_head", d_head)
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
            mask: as in :func:`attention`, broadcast to (..., n_heads, n_q, n_k); one without a head axis, such as
                (batch, n_q, n_k), needs that axis: ``mask[:, None]``.
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
        q, k, v = self._queries(x), self._keys(context), self._values(context)
        _check(q, k, v, mask, None)
        if mask is None:
            heads = F.scaled_dot_product_attention(q, k, v, is_causal=self._causal_over(q, k))
        else:
            mask = self._with_causal(mask, q, k)
            _check_mask_rows(mask)
            heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self._join(heads)

    def weights(self, x, context=None, mask=None):
        """The computed weights A (..., n_heads, n_q, n_k); arguments and errors as in :meth:`forward`."""
        context = x if context is None else context
        q, k = self._queries(x), self._keys(context)
        return attention(q, k, k, self._with_causal(mask, q, k))[1]

    def mix(self, A, context):
        """Apply given weights A (..., n_heads, n_q, n_k) to the values of context (..., n_k, d_model)."""
        v = self._values(context)
        if A.shape[-3] != self.n_heads or A.shape[-1] != v.shape[-2]:
            raise ValueError(f"A: got shape {shape_of(A)}, expected (..., {self.n_heads}, n_q, {v.shape[-2]})")
        return self._join(A @ v)

    # (..., n, d_model) -> (..., n_heads, n, d_head): first project, then cut into heads.
    def _queries(self, x):
        require_tokens("x", x, width=self.d_model)
        return self._cut(self.W_Q(x))

    def _keys(self, context):
        require_tokens("context", context, width=self.d_model)
        return self._cut(self.W_K(context))

    def _values(self, context):
        require_tokens("context", context, width=self.d_model)
        return self._cut(self.W_V(context))

    def _cut(self, y):
        return y.unflatten(-1, (self.n_heads, self.d_head)).transpose(-2, -3)

    def _join(self, heads):
        return self.W_O(heads.transpose(-2, -3).flatten(-2))

    def _causal_over(self, q, k):
        if self.causal and q.shape[-2] != k.shape[-2]:
            raise ValueError(
                f"context: got {k.shape[-2]} tokens, expected {q.shape[-2]}, as many as x: this layer is causal"
            )
        return self.causal

    def _with_causal(self, mask, q, k):
        if not self._causal_over(q, k):
            return mask
        causal = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
        if mask is None:
            return causal
        return mask & causal if mask.dtype == torch.bool else mask.masked_fill(~causal, -torch.inf)

    @classmethod
    def from_torch(cls, source: nn.MultiheadAttention) -> "MultiHeadAttention":
        """The same layer, with the weights of a ``torch.nn.MultiheadAttention`` copied into it.

        torch packs W_Q, W_K, W_V one below the other into ``in_proj_weight`` (3 d_model, d_model), in the same
        (out, in) orientation as here. Its boolean masks say the opposite: True = may NOT look, so pass ``~mask``
        there.

        Raises:
            TypeError: source is not an ``nn.MultiheadAttention``.
            ValueError: it has key or value widths of its own, extra bias tokens (add_bias_kv, add_zero_attn),
                or dropout, none of which this layer has.
        """
        if not isinstance(source, nn.MultiheadAttention):
            raise TypeError(f"source: got {type(source).__name__}, expected torch.nn.MultiheadAttention")
        if source.in_proj_weight is None or source.bias_k is not None or source.add_zero_attn or source.dropout:
            raise ValueError("source: got kdim, vdim, add_bias_kv, add_zero_attn or dropout, expected none of them")
        bias = source.in_proj_bias is not None
        layer = cls(source.embed_dim, source.num_heads, bias=bias).to(source.in_proj_weight)
        with torch.no_grad():
            for part, W in zip(source.in_proj_weight.chunk(3), (layer.W_Q, layer.W_K, layer.W_V)):
                W.weight.copy_(part)
            layer.W_O.weight.copy_(source.out_proj.weight)
            if bias:
                for part, W in zip(source.in_proj_bias.chunk(3), (layer.W_Q, layer.W_K, layer.W_V)):
                    W.bias.copy_(part)
                layer.W_O.bias.copy_(source.out_proj.bias)
        return layer

    def to_torch(self) -> nn.MultiheadAttention:
        """The same layer as a ``torch.nn.MultiheadAttention`` (batch first); see :meth:`from_torch`.

        Causality is not part of that layer: give it ``attn_mask``. Raises ValueError unless
        n_heads * d_head equals d_model.
        """
        if self.n_heads * self.d_head != self.d_model:
            raise ValueError(
                f"d_head: got n_heads * d_head = {self.n_heads * self.d_head}, expected d_model = {self.d_model}"
            )
        bias = self.W_Q.bias is not None
        layer = nn.MultiheadAttention(self.d_model, self.n_heads, bias=bias, batch_first=True).to(self.W_Q.weight)
        projections = (self.W_Q, self.W_K, self.W_V)
        with torch.no_grad():
            layer.in_proj_weight.copy_(torch.cat([W.weight for W in projections]))
            layer.out_proj.weight.copy_(self.W_O.weight)
            if bias:
                layer.in_proj_bias.copy_(torch.cat([W.bias for W in projections]))
                layer.out_proj.bias.copy_(self.W_O.bias)
        return layer


class SingleHeadAttention(nn.Module):
    """One head, with the learned rule that writes its weights: A(x) = softmax((x W_Q^T)(c W_K^T)^T / sqrt(d_head)).

    Output ``A(x) c W_V^T``, where c is the context (x itself for self-attention). There is no W_O: one head needs
    none, since W_V can end in any width. Learned: W_Q, W_K (d_head, d_model) and W_V (d_out, d_model), no bias.

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
        self.W_Q = nn.Linear(d_model, d_head, bias=False)
        self.W_K = nn.Linear(d_model, d_head, bias=False)
        self.W_V = nn.Linear(d_model, d_out, bias=False)

    def forward(self, x, context=None, mask=None, return_weights: bool = False):
        """x (..., n_q, d_model) -> output (..., n_q, d_out), or (output, A); see MultiHeadAttention.forward."""
        context = x if context is None else context
        if return_weights:
            A = self.weights(x, context, mask)
            return self.mix(A, context), A
        self._check_widths(x, context)
        q, k, v = self.W_Q(x), self.W_K(context), self.W_V(context)
        _check(q, k, v, mask, None)
        _check_mask_rows(mask)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    def weights(self, x, context=None, mask=None):
        """The computed weights A (..., n_q, n_k)."""
        context = x if context is None else context
        self._check_widths(x, context)
        k = self.W_K(context)
        return attention(self.W_Q(x), k, k, mask)[1]

    def mix(self, A, context):
        """Apply given weights A (..., n_q, n_k) to the values of context (..., n_k, d_model)."""
        require_tokens("context", context, width=self.W_V.in_features, n=A.shape[-1])
        return A @ self.W_V(context)

    def _check_widths(self, x, context):
        require_tokens("x", x, width=self.W_Q.in_features)
        require_tokens("context", context, width=self.W_K.in_features)


# ------------------------------------------------------------------------------------------ bad input


def _check(q, k, v, mask, scale):
    arrays = {"q": q, "k": k, "v": v}
    kind = np.ndarray if isinstance(q, np.ndarray) else torch.Tensor
    for name, x in arrays.items():
        if not isinstance(x, kind):
            raise TypeError(f"{name}: got {type(x).__name__}, expected {kind.__name__}, as q")
        floating = np.issubdtype(x.dtype, np.floating) if kind is np.ndarray else x.is_floating_point()
        if not floating or x.dtype != q.dtype:
            raise TypeError(f"{name}: got dtype {x.dtype}, expected one floating-point dtype for q, k and v")
        if len(x.shape) < 2 or 0 in x.shape[-2:]:
            raise ValueError(f"{name}: got shape {shape_of(x)}, expected (..., n, d) with n and d at least 1")
    if k.shape[-1] != q.shape[-1]:
        raise ValueError(f"k: got shape {shape_of(k)}, expected (..., n_k, {q.shape[-1]}): as wide as q {shape_of(q)}")
    if v.shape[-2] != k.shape[-2]:
        raise ValueError(f"v: got shape {shape_of(v)}, expected (..., {k.shape[-2]}, d_v): one value for each key")
    try:
        leading = np.broadcast_shapes(*(x.shape[:-2] for x in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {shape_of(x)}" for name, x in arrays.items())
        raise ValueError(f"q, k, v: got shapes {shapes}, expected leading dimensions that broadcast") from None
    if mask is not None:
        _check_mask(mask, kind, (*leading, q.shape[-2], k.shape[-2]))
    if scale is not None and not (isinstance(scale, (int, float)) and math.isfinite(scale)):
        raise ValueError(f"scale: got {scale!r}, expected a finite number or None for 1/sqrt(d_k)")


def _check_mask(mask, kind, shape):
    if not isinstance(mask, kind):
        raise TypeError(f"mask: got {type(mask).__name__}, expected {kind.__name__}, as q")
    if kind is np.ndarray:
        allowed = mask.dtype == np.bool_ or np.issubdtype(mask.dtype, np.floating)
    else:
        allowed = mask.dtype == torch.bool or mask.is_floating_point()
    if not allowed:
        raise TypeError(f"mask: got dtype {mask.dtype}, expected bool (True = may look) or a floating-point dtype")
    try:
        fits = np.broadcast_shapes(shape_of(mask), shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"mask: got shape {shape_of(mask)}, expected one that broadcasts to {shape}")


def _masked_numpy(logits, mask):
    if mask is None:
        return logits
    return np.where(mask, logits, -np.inf) if mask.dtype == np.bool_ else logits + mask.astype(logits.dtype)


def _masked_torch(logits, mask):
    if mask is None:
        return logits
    return logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask.to(logits.dtype)


def _check_rows(finite, empty):
    """``finite`` and ``empty`` (..., n_q): whether the largest logit of a row is finite, or -inf."""
    if finite.all():
        return
    bad = ~finite
    row = tuple(int(i) for i in torch.as_tensor(bad).nonzero()[0])
    if empty[row]:
        raise ValueError(f"mask: query row {row} may look at no key, expected at least one key for every query")
    raise ValueError(f"q, k: the logits of query row {row} are not finite, expected finite numbers in q, k and mask")


def _check_mask_rows(mask):
    """The fused kernel never shows its logits, so look for empty rows in the mask itself."""
    if mask is None:
        return
    largest = mask.any(-1) if mask.dtype == torch.bool else mask.amax(-1)
    finite = largest if mask.dtype == torch.bool else torch.isfinite(largest)
    _check_rows(finite, ~largest if mask.dtype == torch.bool else largest == -torch.inf)
