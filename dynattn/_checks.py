"""Checks of arguments. Each error names the argument, what came and what was expected."""

import hashlib
import math
import numbers
import sys
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.utils.parametrize import type_before_parametrizations

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
NUMPY_FLOATS = (np.float64, np.float32, np.float16)


def shape_of(array) -> tuple:
    return tuple(array.shape)


def require_tensor(name: str, x, like=None) -> None:
    """Refuse anything that is not a floating-point tensor, or has another dtype or device than ``like``."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{name}: got {type(x).__name__}, expected a torch.Tensor")
    if x.dtype not in FLOATS:
        raise TypeError(f"{name}: got dtype {x.dtype}, expected a floating-point dtype such as torch.float32")
    if x.layout is not torch.strided:
        raise TypeError(f"{name}: got layout {x.layout}, expected a dense tensor")
    # Under autocast torch itself brings the operands of a product to one dtype.
    if like is not None and x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"{name}: got dtype {x.dtype}, expected {like.dtype}")
    if like is not None and x.device != like.device:
        raise ValueError(f"{name}: got a tensor on {x.device}, expected one on {like.device}")


def require_tokens(name: str, x, width: int | None = None, n: int | None = None, like=None) -> None:
    """Refuse anything that is not a batch of token rows (..., n, width)."""
    require_tensor(name, x, like)
    expected = f"(..., {'n' if n is None else n}, {'d' if width is None else width})"
    wrong = (
        x.dim() < 2 or (width is not None and x.shape[-1] != width) or (n is not None and x.shape[-2] != n)
    )
    if wrong or 0 in x.shape[-2:]:
        raise ValueError(f"{name}: got shape {shape_of(x)}, expected {expected} with at least one token")


def require_matrices(name: str, A, values, heads: int | None = None) -> None:
    """Refuse weights A (..., n_q, n), or (..., heads, n_q, n), that do not fit ``values`` (..., n, d)."""
    require_tensor(name, A, like=values)
    n, tail = values.shape[-2], 2 if heads is None else 3
    fits = A.dim() >= tail and A.shape[-1] == n and (heads is None or A.shape[-3] == heads)
    if not fits or broadcast(A.shape[:-tail], values.shape[:-2]) is None:
        expected = f"(..., n_q, {n})" if heads is None else f"(..., {heads}, n_q, {n})"
        raise ValueError(
            f"{name}: got shape {shape_of(A)}, expected {expected} for tokens {shape_of(values)}"
        )


def broadcast(*shapes) -> tuple | None:
    """The shape to which the shapes broadcast, or None if they don't."""
    if all(shape == shapes[0] for shape in shapes):  # torch takes its time even then
        return tuple(shapes[0])
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        return None


def hidden(x) -> bool:
    """Whether nobody can look at the values of x now: while torch compiles or exports, under vmap, on meta.

    There the checks of values are left out; those of kinds and shapes stay.
    """
    if isinstance(x, np.ndarray):
        return False
    if torch.compiler.is_compiling() or x.is_meta:
        return True
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        if torch._C._functorch.is_batchedtensor(x):
            return True
        x = torch._C._functorch.get_unwrapped(x)
    return False


def all_finite(x) -> bool:
    """Whether no number is NaN or infinite, as far as can be seen. One sum tells, unless it overflows."""
    if isinstance(x, np.ndarray):
        return bool(np.isfinite(x).all())
    if hidden(x):
        return True
    return math.isfinite(x.detach().sum()) or bool(torch.isfinite(x).all())


def require_finite(**inputs) -> None:
    """Refuse a tensor that holds NaN or an infinite number."""
    for name, x in inputs.items():
        if not all_finite(x):
            raise ValueError(f"{name}: got a number that is not finite (NaN or inf), expected finite numbers")


def require_finite_result(result, **inputs) -> None:
    """Refuse a result that is not finite, and name the input that is to blame."""
    if not all_finite(result):
        require_finite(**inputs)
        names = ", ".join(inputs)
        raise ValueError(
            f"{names}: the result is not finite though {names} {'is' if len(inputs) == 1 else 'are'}, "
            "expected numbers that do not overflow and learned parameters that are finite"
        )


def require_divisor(name: str, value: int, *, otherwise: str = "", **of: int) -> None:
    """Refuse a value that does not divide the one number given by its name."""
    ((whole, number),) = of.items()
    if number % value:
        hint = f" (or {otherwise})" if otherwise else ""
        raise ValueError(f"{name}: got {value}, expected a divisor of {whole} = {number}{hint}")


def require_bool(name: str, value) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: got {type(value).__name__}, expected True or False")


def require_kind(name: str, value, kind, expected: str) -> None:
    """Refuse what is not an instance of ``kind``, a class or several."""
    if not isinstance(value, kind):
        got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise TypeError(f"{name}: got {got}, expected {expected}")


def require_encodable(name: str, text: str) -> None:
    """Refuse text with half of a surrogate pair, which no file and no tokenizer can hold."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{name}: got half of a surrogate pair, expected text that can be written in UTF-8")


def require_callable(name: str, value, expected: str = "a function") -> None:
    if not callable(value):
        raise TypeError(f"{name}: got {type(value).__name__}, expected {expected}")


def require_choice(name: str, value, choices) -> None:
    """Refuse what is not one of the given words."""
    require_kind(name, value, str, "a str")
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(map(repr, choices))}")


def require_int(name: str, value, at_least: int, at_most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: got {type(value).__name__}, expected an int")
    if value < at_least or (at_most is not None and value > at_most):
        upper = "" if at_most is None else f" and at most {at_most}"
        raise ValueError(f"{name}: got {value}, expected at least {at_least}{upper}")


def require_sizes(**sizes) -> None:
    """Refuse a size that is not an int of at least 1."""
    for name, value in sizes.items():
        require_int(name, value, at_least=1)


def require_number(name: str, value, above=None, at_least=None, below=None, at_most=None) -> None:
    """Refuse what is not a finite number within the bounds."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: got {type(value).__name__}, expected a number")
    inside = (
        abs(value) <= sys.float_info.max  # NaN is not, either
        and (above is None or value > above)
        and (at_least is None or value >= at_least)
        and (below is None or value < below)
        and (at_most is None or value <= at_most)
    )
    if not inside:
        bounds = {"above": above, "at least": at_least, "below": below, "at most": at_most}
        said = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
        raise ValueError(f"{name}: got {value!r}, expected a finite number {said}".rstrip())


def require_generator(name: str, value, device: str = "cpu") -> None:
    require_kind(name, value, torch.Generator, "a torch.Generator")
    if value.device.type != device:
        raise ValueError(f"{name}: got a generator on {value.device}, expected one on {device}")


def require_indices(name: str, ids, below: int, shape: tuple | None = None, of: str = "") -> None:
    """Refuse anything that is not a tensor of integers from 0 to ``below`` - 1, of the given shape."""
    require_kind(name, ids, torch.Tensor, "a torch.Tensor")
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name}: got dtype {ids.dtype}, expected torch.int64")
    if shape is not None and shape_of(ids) != tuple(shape):
        raise ValueError(f"{name}: got shape {shape_of(ids)}, expected {tuple(shape)}")
    if ids.numel() and not hidden(ids):
        low, high = ids.aminmax()
        if low < 0 or high >= below:
            raise ValueError(f"{name}: got numbers from {low} to {high}, expected 0 to {below - 1}{of}")


def require_squares(numbers, /, **inputs) -> None:
    """Refuse numbers whose squares overflow: LayerNorm would make zeros of them without a word."""
    if hidden(numbers):
        return
    wide = torch.promote_types(numbers.dtype, torch.float32)
    if not math.isfinite(torch.linalg.vector_norm(numbers.detach(), dtype=wide)):
        require_finite(**inputs)
        names = ", ".join(inputs)
        raise ValueError(f"{names}: got numbers whose squares overflow, expected smaller numbers")


# ---- the learned parts of a layer: modules, which may be replaced, hooked into or pruned


def first_parameter(layer):
    """A parameter of the layer, whose dtype and device its inputs must have; None if it has none.

    Of no particular name: what stands in for an nn.Linear need not have a weight, and a pruned one's is no parameter.
    """
    return next((p for p in layer.parameters() if p.dtype in FLOATS), None)


def is_plain(W, kind=type) -> bool:
    """Whether W(x) is ``F.linear(x, W.weight, W.bias)`` and nothing else, so that its weight may be read instead."""
    return (
        kind(W) is nn.Linear
        and "forward" not in vars(W)
        and not (W._forward_hooks or W._forward_pre_hooks or W._backward_hooks or W._backward_pre_hooks)
        and not _has_any_global_hook()
    )


def require_plain(kind=type_before_parametrizations, /, **modules):
    """Refuse a module whose weight does not say what it does.

    A parametrized one's does, computed anew whenever it is read. A pruned one's is computed when it is called, and so
    out of date after a step of training.
    """
    for name, W in modules.items():
        if not is_plain(W, kind):
            changed = " with a hook or a forward of its own" if kind(W) is nn.Linear else ""
            raise TypeError(f"{name}: got {type(W).__name__}{changed}, expected a plain nn.Linear")


# ---- the arguments of attention


def require_layer_input(layer, x, context, mask):
    like = first_parameter(layer)
    require_tokens("x", x, width=layer.d_model, like=like)
    require_tokens("context", context, width=layer.d_model, like=like)
    lead = broadcast(x.shape[:-2], context.shape[:-2])
    if lead is None:
        raise ValueError(
            f"context: got shape {shape_of(context)}, expected leading dimensions as x {shape_of(x)}"
        )
    n_q, n_k = x.shape[-2], context.shape[-2]
    if layer.causal and n_q != n_k:
        raise ValueError(f"context: got {n_k} tokens, expected {n_q} as in x, for a causal layer")
    if mask is not None:
        require_mask(mask, torch.Tensor, x, (*lead, *layer._heads, n_q, n_k))
        # A causal layer hides more. One without heads has rows without their number.
        require_mask_rows(layer._full_mask(x, context, mask) if layer._heads else mask, x.dtype)


def require_layer_weights(layer, A, context):
    require_tokens("context", context, width=layer.d_model, like=first_parameter(layer))
    require_matrices("A", A, context, *layer._heads)


def require_rows(A, **inputs):
    """Refuse weights with a row that is lost, and name the input that is to blame.

    A row of a softmax is NaN as a whole or nowhere, so one column tells; NaN is not equal to itself.
    """
    lost = A[..., 0] != A[..., 0]
    if not hidden(A) and lost.any():
        require_finite(**inputs)
        raise ValueError(
            f"q, k: the logits of query row {first_true(lost)} overflow, expected smaller numbers"
        )


def require_finite_logits(layer, x, context, q, k):
    """Refuse logits that are not finite.

    The norms of x and of the few learned parameters tell it soonest, and nearly always. No query is longer than |W_Q| |x| + |b_Q|,
    no key longer than the same of W_K, and no logit is larger than the product of the two. Of a projection that is
    not plain its weight tells nothing: there it takes the norm of q or k.
    """
    if hidden(x) or hidden(q):
        return

    def norm(t):
        return 0.0 if t is None else float(torch.linalg.vector_norm(t.detach()))

    def longest(W, x_norm, y):
        return norm(W.weight) * x_norm + norm(W.bias) if is_plain(W) else norm(y)

    x_norm = norm(x)
    context_norm = x_norm if context is x else norm(context)
    longest_q = longest(layer.W_Q, x_norm, q)
    longest_k = longest(layer.W_K, context_norm, k)
    largest = torch.finfo(q.dtype).max
    if not longest_q * longest_k <= largest:  # or NaN; then look at each query and key
        require_finite(x=x, context=context, q=q, k=k)
        q, k = q.detach(), k.detach()
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], dim=-3)
        wide = torch.promote_types(q.dtype, torch.float32)
        longest_q, longest_k = (torch.linalg.vector_norm(t, dim=-1, dtype=wide).amax(-1) for t in (q, k))
        if not (longest_q * longest_k <= largest).all():  # and at the logits themselves, by the formula
            if not all_finite((q / math.sqrt(q.shape[-1])) @ k.mT):
                raise ValueError("q, k: the logits overflow, expected smaller numbers")


def require_digest(name: str, data: bytes, digest: str) -> None:
    """Refuse data that are not the ones that were pinned by their SHA-256."""
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise ValueError(f"{name}: got SHA-256 {found}, expected {digest}")


def require_positions(positions, d_head):
    if positions is not None:
        require_choice("positions", positions, ("rotary", "alibi"))
    if positions == "rotary" and d_head % 2:
        raise ValueError(f"d_head: got {d_head}, expected an even number for rotary positions")


def require_first_form(layer):
    """Refuse a layer that has more than Vaswani et al. 2017, where only that has a place."""
    if layer.n_kv_heads != layer.n_heads:
        raise ValueError(f"n_kv_heads: got {layer.n_kv_heads}, expected n_heads = {layer.n_heads}")
    if layer.positions is not None:
        raise ValueError(f"positions: got {layer.positions!r}, expected a layer without")


def require_torch_attention(source):
    if not isinstance(source, nn.MultiheadAttention):
        raise TypeError(f"source: got {type(source).__name__}, expected torch.nn.MultiheadAttention")
    if source.in_proj_weight is None or source.bias_k is not None or source.add_zero_attn or source.dropout:
        raise ValueError(
            "source: got kdim, vdim, add_bias_kv, add_zero_attn or dropout, expected none of them"
        )
    for name, parameter in source.named_parameters():
        if not all_finite(parameter):
            raise ValueError(f"source: got {name} that is not finite, expected finite numbers")


def silent(q):
    """NumPy warns of an overflow without saying whose. The checks of results say it, and refuse."""
    return np.errstate(over="ignore", invalid="ignore") if isinstance(q, np.ndarray) else nullcontext()


def require_qkv(q, k, v, mask, scale):
    arrays = {"q": q, "k": k, "v": v}
    kind = torch.Tensor if isinstance(q, torch.Tensor) else np.ndarray
    name_of_kind = f"{kind.__module__}.{kind.__name__}"
    for name, x in arrays.items():
        # Subclasses of ndarray mean other things by the same operators (matrix), or know of missing values.
        if not (isinstance(x, torch.Tensor) if kind is torch.Tensor else type(x) is np.ndarray):
            expected = "a numpy.ndarray or a torch.Tensor" if name == "q" else f"a {name_of_kind}, as q"
            raise TypeError(f"{name}: got {type(x).__name__}, expected {expected}")
        floating = x.dtype in (FLOATS if kind is torch.Tensor else NUMPY_FLOATS)
        if not floating or x.dtype != q.dtype:
            raise TypeError(f"{name}: got dtype {x.dtype}, expected one floating-point dtype for q, k and v")
        if len(x.shape) < 2 or 0 in x.shape[-2:]:
            raise ValueError(f"{name}: got shape {shape_of(x)}, expected (..., n, d) with n and d at least 1")
        if x.device != q.device:
            raise ValueError(f"{name}: got a tensor on {x.device}, expected one on {q.device}, as q")
    if k.shape[-1] != q.shape[-1]:
        raise ValueError(
            f"k: got shape {shape_of(k)}, expected (..., n_k, {q.shape[-1]}): as wide as q {shape_of(q)}"
        )
    if v.shape[-2] != k.shape[-2]:
        raise ValueError(
            f"v: got shape {shape_of(v)}, expected (..., {k.shape[-2]}, d_v): one value for each key"
        )
    if broadcast(*(x.shape[:-2] for x in arrays.values())) is None:
        shapes = ", ".join(f"{name} {shape_of(x)}" for name, x in arrays.items())
        raise ValueError(f"q, k, v: got shapes {shapes}, expected leading dimensions that broadcast")
    if mask is not None:
        require_mask(mask, kind, q, (*broadcast(q.shape[:-2], k.shape[:-2]), q.shape[-2], k.shape[-2]))
        require_mask_rows(mask, q.dtype)
    if scale is not None:
        if isinstance(scale, bool) or not isinstance(scale, numbers.Real):
            raise TypeError(f"scale: got {type(scale).__name__}, expected a number or None for 1/sqrt(d_k)")
        if not abs(scale if isinstance(scale, int) else float(scale)) <= sys.float_info.max:
            raise ValueError(f"scale: got {scale!r}, expected a finite number or None for 1/sqrt(d_k)")


def require_mask(mask, kind, q, shape):
    if not isinstance(mask, kind):
        raise TypeError(f"mask: got {type(mask).__name__}, expected {kind.__module__}.{kind.__name__}, as q")
    allowed = (np.bool_, *NUMPY_FLOATS) if kind is np.ndarray else (torch.bool, *FLOATS)
    if mask.dtype not in allowed:
        raise TypeError(
            f"mask: got dtype {mask.dtype}, expected bool (True = may look) or a floating-point dtype"
        )
    if mask.device != q.device:
        raise ValueError(f"mask: got a tensor on {mask.device}, expected one on {q.device}, as q")
    # A mask that lacks some of the leading dimensions could be taken for another one, (batch, n_q, n_k) for
    # (n_heads, n_q, n_k). So it has all of them or none.
    if len(mask.shape) not in (2, len(shape)) or broadcast(mask.shape, shape) != shape:
        raise ValueError(
            f"mask: got shape {shape_of(mask)}, expected {shape[-2:]}, or every dimension of {shape}: "
            "of size 1 where it is the same for all; None inserts a missing one, as in mask[:, None]"
        )


def require_mask_rows(mask, dtype):
    """Each query may look at some key; what is added to its logits, in their dtype, is a number or -inf."""
    if hidden(mask):
        return
    if mask.dtype == (np.bool_ if isinstance(mask, np.ndarray) else torch.bool):
        largest = mask.any(-1)
        empty, wrong = ~largest, largest & ~largest
    else:
        added = mask.astype(dtype) if isinstance(mask, np.ndarray) else mask.detach().to(dtype)
        largest = added.max(-1) if isinstance(mask, np.ndarray) else added.amax(-1)
        empty, wrong = largest == -math.inf, (largest != largest) | (largest == math.inf)
    if empty.any():
        raise ValueError(
            f"mask: query row {first_true(empty)} may look at no key, expected at least one for every query"
        )
    if wrong.any():
        raise ValueError(
            f"mask: query row {first_true(wrong)} holds NaN or inf, expected numbers, or -inf to hide a key"
        )


def first_true(rows):
    """The index of the first True, as a number where one is enough."""
    index = np.argwhere(rows if isinstance(rows, np.ndarray) else rows.cpu().numpy())[0].tolist()
    return index[0] if len(index) == 1 else tuple(index)


# ---- what a training step is given, and what becomes of the model


def require_trainable(model):
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("model: got no parameter that can be trained, expected at least one")
    for name, parameter in model.named_parameters():
        if parameter.dtype not in FLOATS:
            raise TypeError(f"model: got {name} of dtype {parameter.dtype}, expected a floating-point dtype")
    require_finite_parameters(model, 0)


def require_finite_parameters(model, step):
    for name, parameter in model.named_parameters():
        if not all_finite(parameter):
            raise ValueError(
                f"model: got {name} that is not finite after step {step}, expected finite numbers"
            )


def require_pair(drawn):
    try:
        inputs, targets = drawn
    except (TypeError, ValueError):
        got = f"{len(drawn)} values" if isinstance(drawn, (tuple, list)) else type(drawn).__name__
        raise TypeError(f"batches: got {got}, expected (inputs, targets)") from None
    return inputs, targets


def require_loss(value, step):
    require_kind("loss", value, torch.Tensor, "a function that returns a torch.Tensor")
    if value.numel() != 1 or value.dtype not in FLOATS:
        raise ValueError(
            f"loss: got shape {shape_of(value)} of {value.dtype}, expected one floating-point number"
        )
    if not value.requires_grad:
        raise ValueError("loss: got a number without a gradient, expected one that depends on the model")
    if not torch.isfinite(value):
        raise ValueError(f"loss: got {value.item()} at step {step}, expected a finite number")
