"""Chapters 9 to 11: the Transformer, blocks of a computed half, attention, and a static half, the MLP."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from dynattn._checks import (
    all_finite,
    broadcast,
    first_parameter,
    hidden,
    require_bool,
    require_callable,
    require_choice,
    require_finite_result,
    require_first_form,
    require_generator,
    require_indices,
    require_kind,
    require_number,
    require_plain,
    require_sizes,
    require_squares,
    require_tensor,
    require_tokens,
    shape_of,
)
from dynattn.attention import MultiHeadAttention


class Block(nn.Module):
    """One layer of a Transformer: attention mixes the tokens, then an MLP works on each token by itself.

    Each half adds to its input (a residual connection) and has a LayerNorm: before it, as in GPT-2,
    ``x + half(norm(x))``, or after the sum, as in the first Transformer and in BERT, ``norm(x + half(x))``.
    The MLP is static: d_model -> d_mlp -> d_model, with a GELU between, the same for every token and input.

    Args:
        d_model: width of a token.
        n_heads: number of heads, a divisor of d_model.
        d_mlp: width of the MLP's hidden layer; ``4 * d_model`` if None.
        causal: whether token i may look only at tokens 0..i.
        norm_first: LayerNorm before each half (True) or after each sum (False).
        eps: what LayerNorm adds to the variance.
        n_kv_heads, positions: as in :class:`~dynattn.attention.MultiHeadAttention`.

    Raises:
        TypeError, ValueError: as :class:`~dynattn.attention.MultiHeadAttention`; eps is not a finite number above 0.

    Source: Vaswani et al. 2017, section 3.1; Radford et al. 2019, section 2.3 (the norm first).
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_mlp: int | None = None,
        *,
        causal: bool = False,
        norm_first: bool = True,
        eps: float = 1e-5,
        n_kv_heads: int | None = None,
        positions: str | None = None,
    ):
        super().__init__()
        require_bool("norm_first", norm_first)
        self.norm_first = norm_first
        self.attention = MultiHeadAttention(
            d_model, n_heads, causal=causal, n_kv_heads=n_kv_heads, positions=positions
        )
        d_mlp = 4 * d_model if d_mlp is None else d_mlp
        require_sizes(d_mlp=d_mlp)
        require_number("eps", eps, above=0)
        self.mlp = nn.Sequential(nn.Linear(d_model, d_mlp), nn.GELU(), nn.Linear(d_mlp, d_model))
        self.norm_attention = nn.LayerNorm(d_model, eps=eps)
        self.norm_mlp = nn.LayerNorm(d_model, eps=eps)

    def forward(self, x, mask=None, edit=None):
        """x (..., n, d_model) -> (..., n, d_model).

        Args:
            x: tokens (..., n, d_model).
            mask: as in :class:`~dynattn.attention.MultiHeadAttention`.
            edit: a function of the computed weights A (..., n_heads, n, n) that returns the weights to use.

        Raises:
            TypeError, ValueError: as :class:`~dynattn.attention.MultiHeadAttention`.
        """
        require_tokens("x", x, width=self.attention.d_model, like=first_parameter(self))
        require_squares(x, x=x)
        y = self._halves(x, mask, edit)
        require_finite_result(y, x=x)
        return y

    def _halves(self, x, mask, edit):
        if self.norm_first:
            x = x + self._mixed(self.norm_attention(x), mask, edit)
            return x + self.mlp(self.norm_mlp(x))
        x = self.norm_attention(x + self._mixed(x, mask, edit))
        return self.norm_mlp(x + self.mlp(x))

    def _mixed(self, x, mask, edit):  # what stands in attention's place need not know of edits
        return self.attention(x, mask=mask) if edit is None else self.attention(x, mask=mask, edit=edit)


class _Stack(nn.Module):
    """What :class:`GPT` and :class:`Encoder` share: features for tokens and places, and blocks one on the other."""

    def __init__(self, vocabulary, context, d_model, n_heads, n_layers, d_mlp, positions="absolute", **block):
        super().__init__()
        require_sizes(vocabulary=vocabulary, context=context, d_model=d_model, n_layers=n_layers)
        require_choice("positions", positions, ("absolute", "rotary", "alibi"))
        self.vocabulary, self.context = vocabulary, context
        self.tokens = nn.Embedding(vocabulary, d_model)
        self.places = nn.Embedding(context, d_model) if positions == "absolute" else None
        block["positions"] = None if positions == "absolute" else positions
        self.blocks = nn.ModuleList(Block(d_model, n_heads, d_mlp, **block) for _ in range(n_layers))

    def weights(self, ids: torch.Tensor, **present) -> torch.Tensor:
        """The computed weights of every layer, A (..., n_layers, n_heads, n, n); arguments as in ``forward``."""
        found = []

        def keep(layer, A):
            found.append(A)
            return A

        self(ids, edit=keep, **present)
        return torch.stack(found, dim=-4)

    def mix(self, A: torch.Tensor, ids: torch.Tensor, **present) -> torch.Tensor:
        """The model's output with given weights A (..., n_layers, n_heads, n, n) in place of its own."""
        require_tensor("A", A)
        self._require_ids(ids)
        n = ids.shape[-1]
        expected = (len(self.blocks), self.blocks[0].attention.n_heads, n, n)
        if shape_of(A)[-4:] != expected:
            raise ValueError(f"A: got shape {shape_of(A)}, expected (..., {', '.join(map(str, expected))})")
        lead = shape_of(ids)[:-1]
        if present.get("present") is not None and broadcast(A.shape[:-4], lead) != lead:
            raise ValueError(f"A: got shape {shape_of(A)}, expected {(*lead, *expected)}, as ids")
        return self(ids, edit=lambda layer, own: A[..., layer, :, :, :], **present)

    def _require_ids(self, ids):
        require_indices("ids", ids, below=self.vocabulary, of=", the vocabulary")
        if ids.dim() < 1 or not 1 <= ids.shape[-1] <= self.context or ids.numel() == 0:
            expected = f"(..., n) with n from 1 to the context of {self.context}"
            raise ValueError(f"ids: got shape {shape_of(ids)}, expected {expected}")

    def _features(self, ids):
        self._require_ids(ids)
        x = self.tokens(ids)
        return x if self.places is None else x + self.places(torch.arange(ids.shape[-1], device=ids.device))

    def _through(self, x, mask, edit):
        if edit is not None:
            require_callable("edit", edit, "a function of a layer's number and its A")
        for layer, block in enumerate(self.blocks):
            x = block(x, mask, edit and (lambda A, layer=layer: edit(layer, A)))
        return x


class GPT(_Stack):
    """A decoder-only Transformer: from the tokens so far, a score for each token that could come next.

    Learned features for the token, and for its place, are added; then ``n_layers`` causal blocks, a LayerNorm,
    and a readout that shares its matrix with the tokens' features.

    Args:
        vocabulary: number of different tokens.
        context: the most tokens that it can look at.
        d_model, n_heads, n_layers: its sizes; d_mlp is ``4 * d_model`` if None.
        positions: how it knows of places. "absolute": by learned features, one set for each place. "rotary" or
            "alibi": in each A itself, by differences of places, as in :class:`~dynattn.attention.MultiHeadAttention`;
            nothing is learned for them.
        n_kv_heads: as there.

    Raises:
        TypeError, ValueError: a size that is not a positive int, heads that don't divide d_model, or positions of
            another kind.

    The starting numbers are GPT-2's, 0.02 at its width of 768, times sqrt(768 / d_model): a sum of d_model random
    products grows with the root of d_model, so that logits and tokens start equally large at every width.

    Source: Radford et al. 2019 (GPT-2), with its scaling of the residual layers at the start, 1/sqrt(2 n_layers).
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        d_model: int,
        n_heads: int,
        n_layers: int,
        d_mlp: int | None = None,
        *,
        positions: str = "absolute",
        n_kv_heads: int | None = None,
    ):
        super().__init__(
            vocabulary,
            context,
            d_model,
            n_heads,
            n_layers,
            d_mlp,
            positions,
            n_kv_heads=n_kv_heads,
            causal=True,
        )
        self.norm = nn.LayerNorm(d_model)
        std = 0.02 * math.sqrt(768 / d_model)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=std)
                if isinstance(module, nn.Linear):
                    nn.init.zeros_(module.bias)
        for block in self.blocks:  # what each half adds to the tokens
            for last in (block.attention.W_O, block.mlp[-1]):
                nn.init.normal_(last.weight, std=std / math.sqrt(2 * n_layers))

    def forward(self, ids: torch.Tensor, edit=None) -> torch.Tensor:
        """Scores (logits) for the token after each token.

        Args:
            ids: tokens (..., n), integers below ``vocabulary``, n at most ``context``.
            edit: called as ``edit(layer, A)`` with each layer's computed weights A (..., n_heads, n, n), layers
                from 0; the layer uses what it returns. None: the weights are not even stored.

        Returns:
            (..., n, vocabulary).

        Raises:
            TypeError, ValueError: tokens that are not integers of the vocabulary, or too many of them.
        """
        x = self._through(self._features(ids), None, edit)
        scores = self.norm(x) @ self.tokens.weight.T
        require_finite_result(scores, ids=ids)
        return scores

    @torch.no_grad()
    def generate(
        self, ids: torch.Tensor, steps: int, generator: torch.Generator, temperature: float = 1.0
    ) -> torch.Tensor:
        """Continue each row of ids: draw the next token from softmax(logits / temperature), ``steps`` times.

        Args:
            ids: tokens (batch, n); of more than ``context`` it looks at the last.
            steps: how many tokens to add.
            generator: of the random draws, on the device of ids.
            temperature: a number above 0; below 1 it keeps to the likelier tokens.

        Returns:
            (batch, n + steps).

        Raises:
            TypeError, ValueError: steps is not an int of at least 1; a temperature that is not a finite number above 0,
                or is so near to it that the scores overflow; ids that are not integers (batch, n) of the vocabulary.
        """
        require_sizes(steps=steps)
        require_number("temperature", temperature, above=0)
        require_indices("ids", ids, below=self.vocabulary, of=", the vocabulary")
        if ids.dim() != 2 or ids.numel() == 0:
            raise ValueError(f"ids: got shape {shape_of(ids)}, expected (batch, n)")
        require_generator("generator", generator, ids.device.type)
        for _ in range(steps):
            logits = self(ids[:, -self.context :])[:, -1]
            probabilities = (logits / float(temperature)).softmax(-1)
            if not all_finite(probabilities):
                raise ValueError(
                    f"temperature: got {temperature}, expected one by which scores can be divided"
                )
            drawn = torch.multinomial(probabilities, 1, generator=generator)
            ids = torch.cat([ids, drawn], dim=1)
        return ids


def surprise(model: GPT, ids: torch.Tensor, edit=None) -> torch.Tensor:
    """The surprise at each token but the first, in nats: minus the logarithm of the probability that it was given.

    Args:
        model: a GPT.
        ids: texts (texts, n), n from 2 to one more than the model's context.
        edit: as in :meth:`GPT.forward`.

    Returns:
        (texts, n - 1).

    Raises:
        TypeError, ValueError: model is no :class:`GPT`, or ids are not such texts.
    """
    require_kind("model", model, GPT, "a GPT")
    require_indices("ids", ids, below=model.vocabulary, of=", the vocabulary")
    if ids.dim() != 2 or len(ids) < 1 or not 2 <= ids.shape[1] <= model.context + 1:
        expected = f"(texts, n), n from 2 to {model.context + 1}"
        raise ValueError(f"ids: got shape {shape_of(ids)}, expected {expected}")
    with torch.no_grad():
        logits = model(ids[:, :-1], edit)
    found = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten().long(), reduction="none")
    require_finite_result(found, ids=ids)
    return found.view(len(ids), -1)


def export(model: GPT, vocabulary: str) -> tuple[dict, bytes]:
    """A model's learned parameters as bytes, and how to read them: what the live figure ``gpt`` computes with.

    Args:
        model: its parameters may have any floating-point dtype; the readout is the tokens' features, stored once.
        vocabulary: the character of each token, in order.

    Returns:
        (layout, payload). layout holds ``n_layers``, ``n_heads``, ``context``, ``d_model``, ``vocabulary`` and
        ``parameters``, a list of [name, shape]: (vocabulary, d_model) for ``tokens.weight``, (out, in) for
        matrices, (out,) for biases and norms. payload holds these one after the other, row by row, as
        little-endian float16, 2 bytes a number.

    Raises:
        TypeError: a model that is not a GPT, or a vocabulary that is not a str; a layer of the blocks that is not a plain
            ``nn.Linear`` (the message names it).
        ValueError: a vocabulary that has not one different character for each token, or a parameter that float16
            cannot hold; or a model with n_kv_heads or with positions that are not absolute, which the figure has not.
    """
    require_kind("model", model, GPT, "a GPT")
    require_kind("vocabulary", vocabulary, str, "a str")
    if not len(vocabulary) == len(set(vocabulary)) == model.vocabulary:
        raise ValueError(
            f"vocabulary: got {len(vocabulary)} characters, {len(set(vocabulary))} of them different, "
            f"expected {model.vocabulary}, one for each token"
        )
    for layer, block in enumerate(model.blocks):
        require_first_form(block.attention)
        for name in ("attention.W_Q", "attention.W_K", "attention.W_V", "attention.W_O", "mlp.0", "mlp.2"):
            require_plain(type, **{f"blocks.{layer}.{name}": block.get_submodule(name)})
    parts = {name: parameter.detach().cpu().half() for name, parameter in model.named_parameters()}
    for name, part in parts.items():
        if not part.isfinite().all():
            raise ValueError(f"model: got {name} with a number beyond float16, expected at most 65504")
    layout = {
        "n_layers": len(model.blocks),
        "n_heads": model.blocks[0].attention.n_heads,
        "context": model.context,
        "d_model": model.tokens.embedding_dim,
        "vocabulary": vocabulary,
        "parameters": [[name, list(part.shape)] for name, part in parts.items()],
    }
    return layout, b"".join(part.numpy().astype("<f2").tobytes() for part in parts.values())


class Encoder(_Stack):
    """An encoder of BERT's kind: every token looks at every other; features for each token come out.

    Learned features for the token and for its place are added and normalised; then ``n_layers`` blocks with
    the norm after each sum. BERT's third feature, which of two texts a token belongs to, is the same for all
    tokens of one text, and can be kept in those of the places.

    Args:
        vocabulary, context, d_model, n_heads, n_layers, d_mlp: as in :class:`GPT`.
        eps: what LayerNorm adds to the variance; 1e-12 in BERT.

    Raises:
        TypeError, ValueError: as :class:`GPT`.

    Source: Devlin et al. 2019 (BERT), section 3.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        d_model: int,
        n_heads: int,
        n_layers: int,
        d_mlp: int | None = None,
        eps: float = 1e-12,
    ):
        super().__init__(vocabulary, context, d_model, n_heads, n_layers, d_mlp, norm_first=False, eps=eps)
        self.norm = nn.LayerNorm(d_model, eps=eps)

    def forward(self, ids: torch.Tensor, edit=None, present: torch.Tensor | None = None) -> torch.Tensor:
        """Features for each token.

        Args:
            ids: tokens (..., n).
            edit: as in :meth:`GPT.forward`.
            present: (..., n), True where there is a token and False where a shorter text is filled up; None if
                all are there.

        Returns:
            (..., n, d_model); those of filled places mean nothing.

        Raises:
            TypeError, ValueError: as :meth:`GPT.forward`; present is not boolean or not of the shape of ids; a
                text without tokens.
        """
        x = self.norm(self._features(ids))
        mask = None
        if present is not None:
            if not isinstance(present, torch.Tensor) or present.dtype != torch.bool:
                got = present.dtype if isinstance(present, torch.Tensor) else type(present).__name__
                raise TypeError(f"present: got {got}, expected a torch.Tensor of torch.bool")
            if present.shape != ids.shape:
                raise ValueError(f"present: got shape {shape_of(present)}, expected {shape_of(ids)}, as ids")
            if not hidden(present) and not present.any(-1).all():
                raise ValueError("present: got a text without tokens, expected at least one in each")
            mask = present[..., None, None, :]
        return self._through(x, mask, edit)
