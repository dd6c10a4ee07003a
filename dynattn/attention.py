"""Chapters 2 to 4: a linear layer over tokens whose weight matrix A is computed from the input.

In the order of the book: the formula, then layers that use it, with more and more to learn. Every layer has two methods,
``weights`` (which A?) and ``mix`` (apply an A), and its ``forward`` is one after the other. Where nobody asks for A, the
layers with learned parameters take the fast way at the end of this file: the same output from torch's own kernel.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dynattn import _checks as check

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
    check.require_qkv(q, k, v, mask, scale)
    with check.silent(q):
        A = _weights(q, k, mask, scale)
        output = A @ v
    check.require_rows(A, q=q, k=k)
    check.require_finite_result(output, v=v)
    return output, A


def _weights(q, k, mask=None, scale=None):
    """A = softmax(scale * q k^T + mask), row by row."""
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else float(scale)
    logits = (q * scale) @ k.mT
    if mask is not None:
        added = _for_logits(mask, logits.dtype)
        if check.hidden(added):  # under vmap nothing can be changed in place
            logits = logits + added
        else:
            logits += added
    if isinstance(logits, torch.Tensor):
        return logits.softmax(-1)
    exp = np.exp(logits - logits.max(-1, keepdims=True))  # less the largest, so that none overflows
    return exp / exp.sum(-1, keepdims=True)


def _for_logits(mask, dtype):
    """What a mask adds to the logits: 0 where a query may look and -inf where not, or the mask itself."""
    if isinstance(mask, np.ndarray):
        return (np.where(mask, 0, -np.inf) if mask.dtype == np.bool_ else mask).astype(dtype)
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)
    return mask.to(dtype)


class PlainAttention(nn.Module):
    """Self-attention with no learned parameter: the tokens are queries, keys and values (chapter 2).

    The input is (..., n, d) for any n and d. ``weights(x)`` is A (..., n, n), ``mix(A, v)`` is ``A v``.
    Errors are those of :func:`attention`.
    """

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """The computed weights A (..., n, n) for tokens x (..., n, d)."""
        check.require_tokens("x", x)
        A = _weights(x, x)
        check.require_rows(A, x=x)
        return A

    def mix(self, A: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Apply given weights A (..., n_q, n) to tokens x (..., n, d)."""
        check.require_tokens("x", x)
        check.require_matrices("A", A, x)
        y = A @ x
        check.require_finite_result(y, A=A, x=x)
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., n, d) -> A(x) x (..., n, d)."""
        return self.mix(self.weights(x), x)


# ------------------------------------------------------------------------------- chapter 3: the learned rule


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
        check.require_sizes(d_model=d_model, d_head=d_head, d_out=d_out)
        self.d_model, self.causal, self.positions, self._heads = d_model, False, None, ()
        self.W_Q = nn.Linear(d_model, d_head, bias=False)
        self.W_K = nn.Linear(d_model, d_head, bias=False)
        self.W_V = nn.Linear(d_model, d_out, bias=False)

    def forward(self, x, context=None, mask=None, return_weights: bool = False):
        """x (..., n_q, d_model) -> output (..., n_q, d_out), or (output, A), as in MultiHeadAttention."""
        check.require_bool("return_weights", return_weights)
        context = x if context is None else context
        if not return_weights:
            return _without_weights(self, x, context, mask)
        A = self.weights(x, context, mask)
        return self.mix(A, context), A

    def weights(self, x, context=None, mask=None):
        """The computed weights A (..., n_q, n_k)."""
        context = x if context is None else context
        check.require_layer_input(self, x, context, mask)
        q, k = self.W_Q(x), self.W_K(context)
        A = _weights(q, k, mask)
        check.require_rows(A, x=x, context=context, q=q, k=k)
        return A

    def mix(self, A, context):
        """Apply given weights A (..., n_q, n_k) to the values of context (..., n_k, d_model)."""
        check.require_layer_weights(self, A, context)
        y = A @ self.W_V(context)
        check.require_finite_result(y, A=A, context=context)
        return y

    # For the fast way, which knows only of several heads: one of them.
    def _queries(self, y):
        return y.unsqueeze(-3)

    _keys = _values = _queries

    def _join(self, heads):
        return heads.squeeze(-3)

    def _full_mask(self, x, context, mask):
        return mask if mask is None or mask.dim() == 2 else mask.unsqueeze(-3)


# ------------------------------------------------------------------------------------ chapter 4: several heads


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
        n_kv_heads: number of heads of keys and values, a divisor of n_heads; n_heads / n_kv_heads heads of queries
            share one of them. W_K and W_V are then (n_kv_heads * d_head, d_model). ``n_heads`` if None.
        positions: what A knows of the places of the tokens, counted from 0 in x and in the context. None: nothing.
            "rotary": queries and keys are turned by angles that grow with the place (d_head must be even).
            "alibi": the logit of two tokens in head h = 1, 2, ... loses 2^(-8 h / n_heads) times their distance.

    Raises:
        TypeError, ValueError: a size that is not a positive int, a switch that is not a bool, ``d_model`` not
            divisible by ``n_heads`` when d_head is None, ``n_heads`` not by ``n_kv_heads``, a kind of positions that
            is none of these, or an input that does not fit (see :meth:`forward`).

    Source: Vaswani et al. 2017, section 3.2.2; Ainslie et al. 2023, section 2.2 (n_kv_heads); Su et al. 2021,
    section 3.2.2 (rotary); Press et al. 2022, section 3 (alibi).
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_head: int | None = None,
        bias: bool = True,
        causal: bool = False,
        *,
        n_kv_heads: int | None = None,
        positions: str | None = None,
    ):
        super().__init__()
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        check.require_sizes(d_model=d_model, n_heads=n_heads, n_kv_heads=n_kv_heads)
        if d_head is None:
            check.require_divisor("n_heads", n_heads, d_model=d_model, otherwise="give d_head")
            d_head = d_model // n_heads
        check.require_sizes(d_head=d_head)
        check.require_divisor("n_kv_heads", n_kv_heads, n_heads=n_heads)
        check.require_bool("bias", bias)
        check.require_bool("causal", causal)
        check.require_positions(positions, d_head)
        self.d_model, self.n_heads, self.n_kv_heads, self.d_head = d_model, n_heads, n_kv_heads, d_head
        self.causal, self.positions, self._heads = causal, positions, (n_heads,)
        self.W_Q = nn.Linear(d_model, n_heads * d_head, bias=bias)
        self.W_K = nn.Linear(d_model, n_kv_heads * d_head, bias=bias)
        self.W_V = nn.Linear(d_model, n_kv_heads * d_head, bias=bias)
        self.W_O = nn.Linear(n_heads * d_head, d_model, bias=bias)

    def forward(self, x, context=None, mask=None, return_weights: bool = False, edit=None):
        """Mix the tokens of ``context`` (of x itself if None) for each token of x.

        Args:
            x: (..., n_q, d_model).
            context: (..., n_k, d_model), or None for self-attention.
            mask: as in :func:`attention`: (n_q, n_k), or with every dimension of A (..., n_heads, n_q, n_k);
                one for each sentence, (batch, n_q, n_k), needs a head axis: ``mask[:, None]``.
            return_weights: also return the computed weights. Without it, and without edit, torch's fused kernel
                is used, which need not store them.
            edit: a function of the computed weights A that returns the weights to use in their place.

        Returns:
            The output (..., n_q, d_model), or (output, A) with the A that was used, (..., n_heads, n_q, n_k).

        Raises:
            TypeError, ValueError: as in :func:`attention`; a width other than d_model; edit is not a function, or
                returns weights that do not fit (the message names A).
        """
        check.require_bool("return_weights", return_weights)
        context = x if context is None else context
        if edit is None and not return_weights:
            return _without_weights(self, x, context, mask)
        A = self.weights(x, context, mask)
        if edit is not None:
            check.require_callable("edit", edit, "a function of the computed weights A")
            A = edit(A)
        y = self.mix(A, context)
        return (y, A) if return_weights else y

    def weights(self, x, context=None, mask=None):
        """The computed weights A (..., n_heads, n_q, n_k); arguments and errors as in :meth:`forward`."""
        context = x if context is None else context
        check.require_layer_input(self, x, context, mask)
        q, k = self._queries(self.W_Q(x)), self._keys(self.W_K(context))
        A = _weights(q, self._shared(k), self._full_mask(x, context, mask))
        check.require_rows(A, x=x, context=context, q=q, k=k)
        return A

    def mix(self, A, context):
        """Apply given weights A (..., n_heads, n_q, n_k) to the values of context (..., n_k, d_model)."""
        check.require_layer_weights(self, A, context)
        v = self._values(self.W_V(context))
        y = self._join(A @ self._shared(v))
        check.require_finite_result(y, A=A, context=context)
        return y

    def _cut(self, y, n_heads):
        """(..., n, n_heads * d_head) -> (..., n_heads, n, d_head): heads are cut from the projections."""
        return y.unflatten(-1, (n_heads, self.d_head)).transpose(-2, -3)

    def _turned(self, y):
        return _rotated(y) if self.positions == "rotary" else y

    def _queries(self, y):
        return self._turned(self._cut(y, self.n_heads))

    def _keys(self, y):
        return self._turned(self._cut(y, self.n_kv_heads))

    def _values(self, y):
        return self._cut(y, self.n_kv_heads)

    def _join(self, heads):
        return self.W_O(heads.transpose(-2, -3).flatten(-2))

    def _shared(self, y):
        """Keys or values (..., n_kv_heads, n, d_head), each repeated for the heads of queries that share it."""
        share = self.n_heads // self.n_kv_heads
        return y if share == 1 else y.repeat_interleave(share, dim=-3)

    def _full_mask(self, x, context, mask):
        """The mask, joined with alibi's bias and with what a causal layer may not look at: boolean, or to be added."""
        if self.positions == "alibi":
            bias = _alibi(self.n_heads, x, context)
            mask = bias if mask is None else bias + _for_logits(mask, bias.dtype)
        if not self.causal:
            return mask
        n = x.shape[-2]
        causal = torch.ones(n, n, dtype=torch.bool, device=x.device).tril()
        if mask is None:
            return causal
        return mask & causal if mask.dtype == torch.bool else mask.masked_fill(~causal, -torch.inf)

    @classmethod
    def from_torch(cls, source: nn.MultiheadAttention) -> "MultiHeadAttention":
        """The same layer, with the learned parameters of a ``torch.nn.MultiheadAttention`` copied into it.

        torch packs W_Q, W_K, W_V one below the other into ``in_proj_weight`` (3 d_model, d_model), in the
        same (out, in) orientation as here. Its boolean masks say the opposite: True = may NOT look, so pass
        ``~mask`` there.

        Raises:
            TypeError: source is not an ``nn.MultiheadAttention``.
            ValueError: it has key or value widths of its own, extra bias tokens (add_bias_kv, add_zero_attn),
                or dropout, none of which this layer has; or a parameter that is not finite.
        """
        check.require_torch_attention(source)
        bias = source.in_proj_bias is not None
        layer = cls(source.embed_dim, source.num_heads, bias=bias).to(source.in_proj_weight)
        projections = layer.W_Q, layer.W_K, layer.W_V
        with torch.no_grad():
            for W, part in zip(projections, source.in_proj_weight.chunk(3), strict=True):
                W.weight.copy_(part)
            layer.W_O.weight.copy_(source.out_proj.weight)
            if bias:
                for W, part in zip(projections, source.in_proj_bias.chunk(3), strict=True):
                    W.bias.copy_(part)
                layer.W_O.bias.copy_(source.out_proj.bias)
        return layer.train(source.training)

    def to_torch(self) -> nn.MultiheadAttention:
        """The same layer as a ``torch.nn.MultiheadAttention`` (batch first); see :meth:`from_torch`.

        Causality is not part of that layer: give it ``attn_mask``.

        Raises:
            TypeError: a projection that is not a plain ``nn.Linear``, whose weight does not say what it does.
            ValueError: n_heads * d_head is not d_model; or n_kv_heads or positions, which torch's layer has not.
        """
        check.require_plain(W_Q=self.W_Q, W_K=self.W_K, W_V=self.W_V, W_O=self.W_O)
        check.require_first_form(self)
        if self.n_heads * self.d_head != self.d_model:
            width = self.n_heads * self.d_head
            raise ValueError(f"d_head: got n_heads * d_head = {width}, expected d_model = {self.d_model}")
        weights, biases = _packed(self.W_Q, self.W_K, self.W_V)
        bias = biases is not None or self.W_O.bias is not None
        layer = nn.MultiheadAttention(self.d_model, self.n_heads, bias=bias, batch_first=True).to(weights)
        with torch.no_grad():
            layer.in_proj_weight.copy_(weights)
            layer.out_proj.weight.copy_(self.W_O.weight)
            if biases is not None:  # torch's start at 0
                layer.in_proj_bias.copy_(biases)
            if self.W_O.bias is not None:
                layer.out_proj.bias.copy_(self.W_O.bias)
        return layer.train(self.training)


# --------------------------------------------------------- positions in A itself: what a layer's ``positions`` does


def _rotated(y):
    """Queries or keys (..., n, d), turned: numbers i and i + d/2 of token t, as a point of a plane, by t / 10000^(2i/d).

    The product of two that were turned depends on the difference of their places alone. Su et al. turn pairs of
    neighbours; these pairs, as Llama has them, differ by the order of the numbers only.
    """
    n, d = y.shape[-2:]
    wide = {"device": y.device, "dtype": torch.promote_types(y.dtype, torch.float32)}
    angles = torch.arange(n, **wide)[:, None] / 10_000 ** (torch.arange(0, d, 2, **wide) / d)
    cos, sin = angles.cos(), angles.sin()
    first, second = y.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1).to(y.dtype)


def _alibi(n_heads, x, context):
    """A bias for the logits (n_heads, n_q, n_k): the distance between two tokens, times each head's own slope, negative."""
    wide = {"device": x.device, "dtype": torch.promote_types(x.dtype, torch.float32)}
    slopes = 2 ** (-8 / n_heads * torch.arange(1, n_heads + 1, **wide))
    here, there = torch.arange(x.shape[-2], **wide), torch.arange(context.shape[-2], **wide)
    return -slopes[:, None, None] * (here[:, None] - there).abs()


# -------------------------------------------------------------- the fast way: the same output from torch's kernel


def _without_weights(layer, x, context, mask):
    """A layer's output by torch's fused kernel."""
    check.require_layer_input(layer, x, context, mask)
    q, k, v = _projected(layer, x, context)
    q, k, v = layer._queries(q), layer._keys(k), layer._values(v)
    # Where a logit is not finite, the kernel would make zeros, without a word.
    check.require_finite_logits(layer, x, context, q, k)
    causal = layer.causal and mask is None and layer.positions != "alibi"
    y = layer._join(_fused(q, k, v, None if causal else layer._full_mask(x, context, mask), causal))
    check.require_finite_result(y, x=x, context=context)
    return y


def _projected(layer, x, context):
    """Queries, keys and values; where it pays, by one product in place of three, which reads x once.

    It doesn't where queries and keys are turned or shared: the product's result would be kept beside theirs. And a hook, or a module put in the place of a plain projection, does its work only where the module is called.
    """
    projections = layer.W_Q, layer.W_K, layer.W_V
    pays = layer._heads and layer.positions is None and layer.n_kv_heads == layer.n_heads
    if pays and context is x and all(map(check.is_plain, projections)):
        return F.linear(x, *_packed(*projections)).split([len(W.weight) for W in projections], -1)
    return layer.W_Q(x), layer.W_K(context), layer.W_V(context)


def _packed(*projections):
    """Their weights one below the other, and their biases, 0 where one has none; None if none has one."""
    weights, biases = zip(*((W.weight, W.bias) for W in projections))
    if all(b is None for b in biases):
        return torch.cat(weights), None
    zeros = (W.new_zeros(len(W)) if b is None else b for W, b in zip(weights, biases))
    return torch.cat(weights), torch.cat(tuple(zeros))


def _fused(q, k, v, mask=None, causal=False):
    """softmax(q k^T / sqrt(d_k) + mask) v for each head, (..., n_heads, n, d) each, or (..., n_kv_heads, n, d) k and v.

    The kernel wants exactly one dimension before the heads; with others torch falls back to a slower way that
    stores the weights.
    """
    lead = check.broadcast(q.shape[:-3], k.shape[:-3], v.shape[:-3])
    q, k, v = (t.expand(*lead, *t.shape[-3:]).flatten(0, -4) if lead else t[None] for t in (q, k, v))
    if mask is not None:
        mask = mask if mask.dtype == torch.bool else mask.to(q.dtype)
        if mask.dim() > 3:
            mask = mask.expand(*lead, *mask.shape[-3:]).flatten(0, -4)
        elif mask.dim() == 3:  # for each head, the same for all inputs
            mask = mask[None]
    grouped = k.shape[-3] != q.shape[-3]
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped)
    return y.reshape(*lead, *y.shape[1:])
