"""Right and wrong answers to the exercises of chapters 1 to 4.

They are written as readers write them (loops, NumPy, one-liners), not with the judges' tools.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F


def softmax(logits, axis=-1):
    e = np.exp(logits - logits.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def shifted(by, n=5):
    return np.array([[1.0 if (i - by) % n == j else 0.0 for j in range(n)] for i in range(n)])


# ---------------------------------------------------------------------------------- right, in many styles


def least_squares(x, y):
    """The sums over sentences and features written out, and a linear solve in place of an inverse."""
    samples, n, d = x.shape
    xx, yx = np.zeros((n, n)), np.zeros((y.shape[1], n))
    for s in range(samples):
        for feature in range(d):
            xx += np.outer(x[s, :, feature], x[s, :, feature])
            yx += np.outer(y[s, :, feature], x[s, :, feature])
    return np.linalg.solve(xx.T, yx.T).T


def floor(P):
    total = 0.0
    mean = sum(P) / len(P)
    for one in P:
        total += ((one - mean) ** 2).sum()
    return float(total / len(P) / P.shape[1])


def linear(f):
    x, y = torch.randn(5, 5, dtype=torch.float64), torch.randn(5, 5, dtype=torch.float64)
    return np.bool_(torch.allclose(f(2 * x + 3 * y), 2 * f(x) + 3 * f(y)))


def attend_in_loops(q, k, v):
    rows = []
    for i in range(len(q)):
        logits = torch.stack([(q[i] * k[j]).sum() / math.sqrt(q.shape[1]) for j in range(len(k))])
        e = logits.exp()
        rows.append(sum(e[j] / e.sum() * v[j] for j in range(len(k))))
    return torch.stack(rows)


def points(n, length=None, by=1):
    length = 2 * n**2 if length is None else length
    angle = 2 * np.pi * np.arange(n) / n
    keys = np.stack([np.cos(angle), np.sin(angle)], 1)
    return torch.tensor(length * np.roll(keys, by, axis=0)), torch.tensor(keys)


def asked(strength=20.0, keys=slice(8, 16), queries=slice(0, 8)):
    W = np.zeros((2, 8, 20))
    W[0, :, queries] = W[1, :, keys] = np.eye(8) * abs(strength) ** 0.5
    return W[0] * np.sign(strength), W[1]


def ring(ties):
    """A symmetric table in which token i is tied to the one before it by ties[i]."""
    S = np.zeros((5, 5))
    for i, tie in enumerate(ties):
        S[i, i - 1] = S[i - 1, i] = tie
    return S


def heads_in_loops(
    x, W_Q, W_K, W_V, W_O, n_heads, mask, width=None, hidden=lambda mask: ~mask, gone=-torch.inf
):
    """Head by head with slices; the output projection added up from the columns of each head."""
    d = x.shape[1] // n_heads
    output = 0
    for h in range(n_heads):
        own = slice(h * d, h * d + d)
        logits = (x @ W_Q[own].T) @ (x @ W_K[own].T).T / (width or d) ** 0.5
        A = torch.where(hidden(mask), torch.tensor(gone).to(x), logits).softmax(1)
        output = output + A @ (x @ W_V[own].T) @ W_O[:, own].T
    return output


def multi_head_by_torch(x, W_Q, W_K, W_V, W_O, n_heads, mask):
    """torch's own function for the whole layer, whose masks say the opposite."""
    D = x.shape[1]
    return F.multi_head_attention_forward(
        x, x, x, D, n_heads, torch.cat([W_Q, W_K, W_V]), None, None, None, False, 0.0, W_O, None,
        attn_mask=~mask, need_weights=False,
    )[0]  # fmt: skip


def numpy_heads(cut, join, W_O_of=lambda W_O: W_O.T):
    """The layer in NumPy, with its own way to cut and to join."""

    def answer(x, W_Q, W_K, W_V, W_O, n_heads, mask):
        x, W_Q, W_K, W_V, W_O, mask = (t.detach().numpy() for t in (x, W_Q, W_K, W_V, W_O, mask))
        q, k, v = (cut(x @ W.T, n_heads) for W in (W_Q, W_K, W_V))
        A = softmax(hide(q @ k.transpose(0, 2, 1) / q.shape[-1] ** 0.5, mask))
        return join(A @ v) @ W_O_of(W_O)

    return answer


def cut_blocks(y, n_heads):
    return np.stack(np.split(y, n_heads, axis=1))


def cut_interleaved(y, n_heads):
    return np.stack([y[:, h::n_heads] for h in range(n_heads)])


def cut_without_transpose(y, n_heads):
    return y.reshape(n_heads, len(y), -1)


def join_blocks(heads):
    return np.concatenate(list(heads), axis=1)


def contributions(A, x, W_V, W_O):
    """What the output loses without the head."""

    def layer(A):
        v = torch.stack((x @ W_V.T).split(W_V.shape[0] // len(A), dim=1))
        return torch.cat(list(A @ v), dim=1) @ W_O.T

    whole = layer(A)
    return torch.stack([whole - layer(A * (torch.arange(len(A)) != h)[:, None, None]) for h in range(len(A))])


def two_heads(sharp=200.0, ask=(0, 1), write=(0, 1), bring=1):
    """Head h asks for key ask[h] and writes answer write[h]; bring is the half of a token it brings."""
    W_Q, W_K, W_V, W_O = np.zeros((4, 16, 16))
    for h in range(2):
        for i in range(8):
            W_Q[8 * h + i, 8 * ask[h] + i] = sharp
            W_K[8 * h + i, i] = 1
            W_V[8 * h + i, 8 * bring + i] = 1
            W_O[8 * write[h] + i, 8 * h + i] = 1
    return W_Q, W_K, W_V, W_O


def radon(K, smaller=True):
    c = np.linalg.svd(np.vstack([K.numpy().T, np.ones(5)]))[2][-1]
    c = c if ((c > 0).sum() <= 2) == smaller else -c
    return [int(place) for place in np.argsort(-c)[:2]]


RIGHT = {
    "1.1, array": ("1.1", shifted(2)),
    "1.1, float32": ("1.1", torch.eye(5)[[3, 4, 0, 1, 2]]),
    "1.1, list": ("1.1", shifted(2).tolist()),
    "1.1, function": ("1.1", lambda: torch.roll(torch.eye(5), 2, 0)),
    "1.2, loops": ("1.2", lambda x, y: torch.tensor(least_squares(x.numpy(), y.numpy()))),
    "1.2, NumPy": ("1.2", lambda x, y: least_squares(x.numpy(), y.numpy())),
    "1.2, lstsq": (
        "1.2",
        lambda x, y: (
            torch.linalg.lstsq(x.transpose(1, 2).flatten(0, 1), y.transpose(1, 2).flatten(0, 1)).solution.T
        ),
    ),
    "1.3, loops": ("1.3", floor),
    "1.3, variance": ("1.3", lambda P: P.var(0, unbiased=False).sum() / P.shape[-1]),
    "1.4": ("1.4", linear),
    "2.1, loops": ("2.1", attend_in_loops),
    "2.1, library": ("2.1", F.scaled_dot_product_attention),
    "2.1, einsum": (
        "2.1",
        lambda q, k, v: torch.einsum(
            "ij,jd->id", F.softmax(torch.einsum("id,jd->ij", q, k) / q.size(1) ** 0.5, 1), v
        ),
    ),
    "2.2, library": ("2.2", lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, attn_mask=mask)),
    "2.2, where": (
        "2.2",
        lambda q, k, v, mask: torch.where(mask, q @ k.T / q.shape[1] ** 0.5, -1e30).softmax(1) @ v,
    ),
    "2.2, after the softmax, and divided again": (
        "2.2",
        lambda q, k, v, mask: F.normalize((q @ k.T / q.shape[1] ** 0.5).softmax(1) * mask, p=1, dim=1) @ v,
    ),
    "2.3": ("2.3", points),
    "2.3, float32": ("2.3", lambda n: tuple(t.float() for t in points(n))),
    "2.4, loops": (
        "2.4",
        lambda a: torch.tensor(
            [[a[i] * (float(i == j) - a[j]) for j in range(len(a))] for i in range(len(a))],
            dtype=torch.float64,
        ),
    ),
    "2.4, autograd": (
        "2.4",
        lambda a: torch.autograd.functional.jacobian(lambda s: s.softmax(0), a.log()),
    ),
    "3.1, library": (
        "3.1",
        lambda x, W_Q, W_K: F.scaled_dot_product_attention(x @ W_Q.mT, x @ W_K.mT, torch.eye(len(x)).to(x)),
    ),
    "3.2, formula": ("3.2", lambda D, d, out: math.floor(math.sqrt(D * (2 * d + out))) + 1),
    "3.3": ("3.3", asked),
    "3.4, outer products": (
        "3.4",
        lambda W_Q, W_K: (
            sum(torch.outer(k, q) for q, k in zip(W_Q, W_K, strict=True)) / (len(W_Q) / W_Q.shape[1]) ** 0.5
        ),
    ),
    "3.5": ("3.5", ring([40, 30, 20, 10, 0])),
    "4.1, array": ("4.1", lambda D, H, d, n: np.array([4 * H * d * D, n**2 * H])),
    "4.2, loops": ("4.2", heads_in_loops),
    "4.2, torch": ("4.2", multi_head_by_torch),
    "4.3, differences": ("4.3", contributions),
    "4.4": ("4.4", two_heads),
    "4.5": ("4.5", radon),
}


def affine(f):
    """Finds out whether f is linear plus a constant, as x + 1 is."""
    x, y = torch.randn(2, 5, 5, dtype=torch.float64)
    return torch.allclose(f(2 * x - y), 2 * f(x) - f(y))


def attend(
    scale=lambda q, k: 1 / np.sqrt(q.shape[1]), axis=1, after=lambda A, mask: A, before=lambda s, mask: s
):
    """Attention in NumPy, with one mistake in it."""

    def answer(q, k, v, mask=None):
        q, k, v = (t.detach().numpy() for t in (q, k, v))
        mask = None if mask is None else mask.numpy()
        with np.errstate(all="ignore"):
            A = softmax(before(q @ k.T * scale(q, k), mask), axis)
        return np.nan_to_num(after(A, mask)) @ v

    return answer


def hide(s, mask):
    return np.where(mask, s, -np.inf)


WRONG = {
    "1.1, transposed": ("1.1", shifted(-2), "transposed"),
    "1.1, by one": ("1.1", shifted(1), "by one place"),
    "1.1, a column short": ("1.1", shifted(2)[:, :4], "shape"),
    "1.1, tokens that fall off": ("1.1", np.eye(5, k=-2), "read nothing"),
    "1.2, transposed": ("1.2", lambda x, y: least_squares(x.numpy(), y.numpy()).T, "transposed"),
    "1.2, inverse of the wrong side": (
        "1.2",
        lambda x, y: np.linalg.pinv((y @ x.mT).sum(0).numpy()) @ (x @ x.mT).sum(0).numpy(),
        "differ",
    ),
    "1.2, one solution a sentence": (
        "1.2",
        lambda x, y: np.mean([b @ np.linalg.pinv(a) for a, b in zip(x.numpy(), y.numpy(), strict=True)], 0),
        "one solution a sentence",
    ),
    "1.2, first feature": (
        "1.2",
        lambda x, y: least_squares(x.numpy()[:, :, :1], y.numpy()[:, :, :1]),
        "first feature",
    ),
    "1.3, not relative": ("1.3", lambda P: floor(P) * P.shape[1], "relative"),
    "1.3, first routing": (
        "1.3",
        lambda P: sum(((p - P[0]) ** 2).sum() for p in P) / len(P) / P.shape[1],
        "first",
    ),
    "1.3, no square": (
        "1.3",
        lambda P: np.mean([np.linalg.norm(p - P.numpy().mean(0)) for p in P.numpy()]) / P.shape[1],
        "square",
    ),
    "1.3, unbiased variance": ("1.3", lambda P: P.var(0).sum() / P.shape[1], "differ"),
    "1.4, always": ("1.4", lambda f: True, "bias"),
    "1.4, factors that sum to 1": ("1.4", affine, "bias"),
    "1.4, never": ("1.4", lambda f: False, "is linear"),
    "1.4, scaling alone": (
        "1.4",
        lambda f: all(
            torch.allclose(f(c * torch.eye(5, dtype=torch.float64)), c * f(torch.eye(5, dtype=torch.float64)))
            for c in (0, 2)
        ),
        "changes its sign",
    ),
    "1.4, sign alone": (
        "1.4",
        lambda f: torch.allclose(
            f(-torch.ones(5, 5, dtype=torch.float64)), -f(torch.ones(5, 5, dtype=torch.float64))
        ),
        "f(-x) = -f(x)",
    ),
    "2.1, no scale": ("2.1", attend(scale=lambda q, k: 1), "no scale"),
    "2.1, no root": ("2.1", attend(scale=lambda q, k: 1 / q.shape[1]), "square root"),
    "2.1, root of the number of keys": (
        "2.1",
        attend(scale=lambda q, k: 1 / np.sqrt(len(k))),
        "number of keys",
    ),
    "2.1, the values' width": (
        "2.1",
        lambda q, k, v: (q @ k.T / v.shape[1] ** 0.5).softmax(1) @ v,
        "values' width",
    ),
    "2.1, times the root": ("2.1", attend(scale=lambda q, k: np.sqrt(q.shape[1])), "multiplied"),
    "2.1, over queries": ("2.1", attend(axis=0), "over the queries"),
    "2.1, no softmax": ("2.1", lambda q, k, v: q @ k.T / q.shape[1] ** 0.5 @ v, "no softmax"),
    "2.1, over everything": (
        "2.1",
        lambda q, k, v: softmax((q @ k.T / q.shape[1] ** 0.5).numpy(), None).reshape(len(q), -1) @ v.numpy(),
        "whole matrix",
    ),
    "2.1, plain mean": ("2.1", lambda q, k, v: v.mean(0).repeat(len(q), 1), "plain mean"),
    "2.1, exp without sum": (
        "2.1",
        lambda q, k, v: (q @ k.T / q.shape[1] ** 0.5).exp() @ v,
        "divided by their sum",
    ),
    "2.1, transposed result": ("2.1", lambda q, k, v: F.scaled_dot_product_attention(q, k, v).T, "shape"),
    "2.1, detached": ("2.1", lambda q, k, v: F.scaled_dot_product_attention(q, k, v).detach(), "gradient"),
    "2.1, values detached": (
        "2.1",
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v.detach()),
        "gradient",
    ),
    "2.2, after softmax": ("2.2", attend(after=lambda A, mask: A * mask), "mask after softmax"),
    "2.2, inverted": ("2.2", attend(before=lambda s, mask: hide(s, ~mask)), "inverted"),
    "2.2, logits to zero": ("2.2", attend(before=lambda s, mask: s * mask), "set to 0"),
    "2.2, not used": ("2.2", attend(), "not used"),
    "2.2, 1e-9": ("2.2", attend(before=lambda s, mask: np.where(mask, s, 1e-9)), "set to 0"),
    "2.2, added": ("2.2", attend(before=lambda s, mask: s + mask), "added as it is"),
    "2.2, a number that seemed small": (
        "2.2",
        attend(before=lambda s, mask: np.where(mask, s, -50.0)),
        "fixed number",
    ),
    "2.2, no scale": ("2.2", attend(scale=lambda q, k: 1, before=hide), "no scale"),
    "2.2, over queries": ("2.2", attend(axis=0, before=hide), "over the queries"),
    "2.2, NaN": ("2.2", lambda q, k, v, mask: v.new_full((len(q), v.shape[1]), math.nan), "not finite"),
    "2.3, changed places": ("2.3", lambda n: points(n)[::-1], "AFTER"),
    "2.3, itself": ("2.3", lambda n: points(n, by=0), "itself"),
    "2.3, short": ("2.3", lambda n: points(n, length=2.0), "longer"),
    "2.3, two places back": ("2.3", lambda n: points(n, by=2), "the one two places before it"),
    "2.3, for six tokens only": ("2.3", lambda n: points(6), "expected (3, 2)"),
    "2.3, the same length for all": ("2.3", lambda n: points(n, length=40.0), "for 25 tokens less than"),
    "2.3, infinite": ("2.3", lambda n: points(n, length=math.inf), "not finite"),
    "2.3, far too long": ("2.3", lambda n: tuple(1e200 * t for t in points(n)), "shorter"),
    "2.3, one tensor": ("2.3", lambda n: points(n)[0], "two tensors"),
    "2.3, transposed": ("2.3", lambda n: tuple(t.T for t in points(n)), "shapes"),
    "2.4, diagonal alone": ("2.4", lambda a: torch.diag(a - a**2), "OTHER weights"),
    "2.4, no outer product": ("2.4", lambda a: a * torch.eye(len(a)), "outer product"),
    "2.4, one everywhere": ("2.4", lambda a: a[:, None] * (1 - a), "everywhere"),
    "2.4, sign": ("2.4", lambda a: a[:, None] * a - a.diag(), "sign"),
    "2.4, a vector": ("2.4", lambda a: a * (1 - a), "shape"),
    "3.1, no scale": ("3.1", lambda x, W_Q, W_K: ((x @ W_Q.T) @ (x @ W_K.T).T).softmax(1), "no scale"),
    "3.1, width of a token": (
        "3.1",
        lambda x, W_Q, W_K: ((x @ W_Q.T) @ (x @ W_K.T).T / x.shape[1] ** 0.5).softmax(1),
        "width of a token",
    ),
    "3.1, no root": (
        "3.1",
        lambda x, W_Q, W_K: ((x @ W_Q.T) @ (x @ W_K.T).T / len(W_Q)).softmax(1),
        "square root",
    ),
    "3.1, over queries": (
        "3.1",
        lambda x, W_Q, W_K: ((x @ W_Q.T) @ (x @ W_K.T).T / len(W_Q) ** 0.5).softmax(0),
        "over the queries",
    ),
    "3.1, roles": (
        "3.1",
        lambda x, W_Q, W_K: ((x @ W_K.T) @ (x @ W_Q.T).T / len(W_Q) ** 0.5).softmax(1),
        "changed places",
    ),
    "3.1, scaled late": (
        "3.1",
        lambda x, W_Q, W_K: ((x @ W_Q.T) @ (x @ W_K.T).T).softmax(1) / len(W_Q) ** 0.5,
        "after the softmax",
    ),
    "3.1, times the root": (
        "3.1",
        lambda x, W_Q, W_K: ((x @ W_Q.T) @ (x @ W_K.T).T * len(W_Q) ** 0.5).softmax(1),
        "multiplied",
    ),
    "3.1, logits": ("3.1", lambda x, W_Q, W_K: (x @ W_Q.T) @ (x @ W_K.T).T / len(W_Q) ** 0.5, "softmax"),
    "3.2, equal": ("3.2", lambda D, d, out: math.ceil((D * (2 * d + out)) ** 0.5), "MORE"),
    "3.2, one too many": ("3.2", lambda D, d, out: math.floor((D * (2 * d + out)) ** 0.5) + 2, "too many"),
    "3.2, no W_V": ("3.2", lambda D, d, out: math.floor((D * 2 * d) ** 0.5) + 1, "W_V is missing"),
    "3.2, n": ("3.2", lambda D, d, out: D * (2 * d + out) + 1, "n * n"),
    "3.3, as in the chapter": ("3.3", lambda: asked()[::-1], "IT looks for"),
    "3.3, itself": ("3.3", lambda: asked(keys=slice(0, 8)), "itself"),
    "3.3, weak": ("3.3", lambda: asked(strength=4.0), "larger"),
    "3.3, sign": ("3.3", lambda: asked(strength=-20.0), "sign"),
    "3.3, transposed": ("3.3", lambda: tuple(W.T for W in asked()), "shapes"),
    "3.4, scale": ("3.4", lambda W_Q, W_K: W_K.T @ W_Q, "the scale"),
    "3.4, scale turned over": (
        "3.4",
        lambda W_Q, W_K: W_K.T @ W_Q * (len(W_Q) / W_Q.shape[1]) ** 0.5,
        "turned over",
    ),
    "3.4, transposed": (
        "3.4",
        lambda W_Q, W_K: (W_Q.T @ W_K) * (W_Q.shape[1] / len(W_Q)) ** 0.5,
        "transposed: attention",
    ),
    "3.4, between features of the head": ("3.4", lambda W_Q, W_K: W_K @ W_Q.T, "shape"),
    "3.5, all alike": ("3.5", ring([9] * 5), "more are possible"),
    "3.5, not symmetric": ("3.5", 9 * shifted(1), "symmetric"),
    "3.5, other way round": ("3.5", ring([0, 10, 20, 30, 40]), "AFTER"),
    "3.5, itself": ("3.5", 9 * np.eye(5), "itself"),
    "4.1, no W_O": ("4.1", lambda D, H, d, n: (3 * D * H * d, H * n * n), "W_O is missing"),
    "4.1, squares": ("4.1", lambda D, H, d, n: (4 * D**2, H * n * n), "square"),
    "4.1, one head": ("4.1", lambda D, H, d, n: (4 * D * d, H * n * n), "one head only"),
    "4.1, one matrix": ("4.1", lambda D, H, d, n: (4 * D * H * d, n * n), "one for all"),
    "4.1, whole matrices for each": (
        "4.1",
        lambda D, H, d, n: (4 * H * D * D, H * n * n),
        "as wide as the token",
    ),
    "4.1, exchanged": ("4.1", lambda D, H, d, n: (H * n * n, 4 * D * H * d), "changed places"),
    "4.2, input cut": (
        "4.2",
        lambda x, W_Q, W_K, W_V, W_O, n_heads, mask: (
            torch.cat(
                [
                    F.scaled_dot_product_attention(
                        *(x[:, own] @ W[own, own].T for W in (W_Q, W_K, W_V)), attn_mask=mask
                    )
                    for own in (
                        slice(i, i + x.shape[1] // n_heads)
                        for i in range(0, x.shape[1], x.shape[1] // n_heads)
                    )
                ],
                dim=1,
            )
            @ W_O.T
        ),
        "cut from the input",
    ),
    "4.2, interleaved": ("4.2", numpy_heads(cut_interleaved, join_blocks), "interleaved packing: "),
    "4.2, interleaved, joined alike": (
        "4.2",
        numpy_heads(cut_interleaved, lambda heads: heads.transpose(1, 2, 0).reshape(heads.shape[1], -1)),
        "interleaved packing, in",
    ),
    "4.2, no transpose": (
        "4.2",
        numpy_heads(cut_without_transpose, join_blocks),
        "reshape without transpose: ",
    ),
    "4.2, joined without transpose": (
        "4.2",
        numpy_heads(cut_blocks, lambda heads: heads.reshape(heads.shape[1], -1)),
        "joined without swapping",
    ),
    "4.2, scaled by d_model": (
        "4.2",
        lambda x, *rest: heads_in_loops(x, *rest, width=x.shape[1]),
        "scaled by d_model",
    ),
    "4.2, no scale": ("4.2", lambda *arguments: heads_in_loops(*arguments, width=1), "no scale"),
    "4.2, inverted": (
        "4.2",
        lambda *arguments: heads_in_loops(*arguments, hidden=lambda m: m),
        "inverted mask",
    ),
    "4.2, mask not used": (
        "4.2",
        lambda *arguments: heads_in_loops(*arguments, hidden=torch.zeros_like),
        "not used",
    ),
    "4.2, no W_O": (
        "4.2",
        numpy_heads(cut_blocks, join_blocks, lambda W_O: np.eye(len(W_O))),
        "no output projection",
    ),
    "4.2, W_O transposed": (
        "4.2",
        numpy_heads(cut_blocks, join_blocks, lambda W_O: W_O),
        "W_O is transposed",
    ),
    "4.2, a number that seemed small": (
        "4.2",
        lambda *arguments: heads_in_loops(*arguments, gone=-50.0),
        "fixed number",
    ),
    "4.2, one head": ("4.2", lambda *a: multi_head_by_torch(*a[:5], 1, a[6]), "one head of full width"),
    "4.2, all transposed": (
        "4.2",
        lambda x, *rest: heads_in_loops(x, *(W.T for W in rest[:4]), *rest[4:]),
        "all learned matrices are transposed",
    ),
    "4.3, A transposed": ("4.3", lambda A, *rest: contributions(A.mT, *rest), "A is transposed"),
    "4.3, divided": (
        "4.3",
        lambda *arguments: contributions(*arguments).mean(0).repeat(len(arguments[0]), 1, 1),
        "divided among the heads",
    ),
    "4.3, matrices transposed": (
        "4.3",
        lambda A, x, W_V, W_O: contributions(A, x, W_V.T, W_O.T),
        "learned matrices are transposed",
    ),
    "4.3, all of V": (
        "4.3",
        lambda A, x, W_V, W_O: torch.stack([a @ x @ W_V.T @ W_O.T for a in A]),
        "mixes all of V",
    ),
    "4.3, the sum": ("4.3", lambda *arguments: contributions(*arguments).sum(0), "shape"),
    "4.4, same key": ("4.4", lambda: two_heads(ask=(0, 0)), "same token"),
    "4.4, answers exchanged": ("4.4", lambda: two_heads(write=(1, 0)), "changed places"),
    "4.4, soft": ("4.4", lambda: two_heads(sharp=2.0), "longer queries"),
    "4.4, brings the key": ("4.4", lambda: two_heads(bring=0), "W_V and W_O"),
    "4.4, asks for nothing": ("4.4", lambda: two_heads(sharp=0.0), "does not find"),
    "4.4, one matrix short": ("4.4", lambda: two_heads()[:3], "four matrices"),
    "4.4, one head": ("4.4", lambda: tuple(W[:8] for W in two_heads()), "shape"),
    "4.5, nearest": (
        "4.5",
        lambda K: divmod(int((torch.cdist(K, K) + 99 * torch.eye(5)).argmin()), 5),
        "nearest",
    ),
    "4.5, farthest": ("4.5", lambda K: divmod(int(torch.cdist(K, K).argmax()), 5), "farthest"),
    "4.5, larger group": ("4.5", lambda K: radon(K, smaller=False), "larger of the two groups"),
    "4.5, the same key twice": ("4.5", lambda K: (2, 2), "two different"),
    "4.5, three keys": ("4.5", lambda K: (0, 1, 2), "shape"),
}


# Kinds of answers that are the same mistake.
SAME = {
    "2.2, logits to zero",
    "2.2, 1e-9",
    *("2.3, short", "2.3, the same length for all"),
    *("2.3, transposed", "2.3, for six tokens only"),
    *("1.4, always", "1.4, factors that sum to 1"),
    *("2.1, detached", "2.1, values detached"),
}
RIGHT |= {
    "2.1, in NumPy": ("2.1", attend()),
    "4.2, in NumPy": ("4.2", numpy_heads(cut_blocks, join_blocks)),
}


def linear_in_float32(f):
    x, y = torch.randn(5), torch.randn(5)
    return torch.allclose(f(2 * x - 3 * y), 2 * f(x) - 3 * f(y), atol=1e-4)


def linear_in_numpy(f):
    x, y = np.random.default_rng(0).normal(size=(2, 5))
    return np.allclose(f(2 * x - 3 * y), 2 * f(x) - 3 * f(y))


RIGHT |= {"1.4, in float32": ("1.4", linear_in_float32), "1.4, in NumPy": ("1.4", linear_in_numpy)}
