"""Whatever it is given, a public function answers with finite numbers or says by name which argument is wrong.

``CALLS`` holds one valid call of each function. What is put in the place of an argument follows from the kind of the
valid one: other kinds, other dtypes and shapes, NaN, inf, numbers that overflow, nothing at all. Sizes beyond the
machine's memory are left out. With the environment variable THOROUGH, many more combinations are tried.
"""

import copy
import dataclasses
import importlib
import inspect
import json
import math
import os
import pkgutil
import random
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from helpers import close, normal
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from torch import nn

import dynattn
from dynattn import (
    anatomy,
    corpora,
    counting,
    facts,
    figures,
    live,
    mixers,
    plays,
    pretrained,
    static,
    statistics,
    tasks,
    training,
    transformer,
    words,
)
from dynattn.attention import MultiHeadAttention, PlainAttention, SingleHeadAttention, attention
from dynattn.experiments import chapter2, chapter6, chapter8, chapter9, chapter10, chapter11, chapter12

THOROUGH = bool(os.environ.get("THOROUGH"))
fuzz = settings(
    derandomize=True, deadline=None, max_examples=500 if THOROUGH else 12,
    phases=(Phase.explicit, Phase.generate), database=None,
)  # fmt: skip

# ---------------------------------------------------------------------------------------------- valid arguments

N, D, LETTERS = 5, 6, "abcdefghijk"
X, Y = normal(2, N, D, dtype=torch.float32), normal(2, N, D, seed=1, dtype=torch.float32)
ONE, OTHER = normal(N, D), normal(N, D, seed=1)  # one sentence, in float64
P = torch.eye(N).flip(0)
A = normal(2, N, N, dtype=torch.float32).softmax(-1)
A_HEADS = normal(2, 3, N, N, dtype=torch.float32).softmax(-1)
MASK = torch.ones(N, N, dtype=torch.bool).tril()
IDS = torch.arange(16).reshape(2, 8) % len(LETTERS)
PRESENT = torch.ones(2, 8, dtype=torch.bool)
POOLS = {"en": ["german", "french", "english"], "de": ["deutsch", "englisch"]}
CHARACTERS = corpora.Characters(name for pool in POOLS.values() for name in pool)
HEAD = words.load()
MIXERS = ("NoMixing", "UniformMixing", "RandomMixing", "StaticMixing", "DynamicConvolution", "DenseSynthesizer",
          "Attention")  # fmt: skip


class New:
    """An argument that is made anew for each call."""

    def __init__(self, make):
        self.make = make


def generator():
    return torch.Generator().manual_seed(0)


def seeded(make):
    torch.manual_seed(0)
    return make()


def keep(layer, A):
    return A


def word_model(layer):
    return seeded(lambda: words.WordMixer(layer))


def tokenizer():
    made = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    made.enable_padding()
    return made


def axes():
    return figures.subplots(width=1.0, height=1.0)[1]


def read(function, folder):
    """Without the data package and without a network, so that only a folder can help."""
    with mock.patch.object(pretrained, "_from_package", lambda name: Path("/nowhere") / name):
        return function(folder)


def training_skipped(function, **arguments):
    with mock.patch.object(words, "fit", lambda *args, **options: [0.0]):
        return function(**arguments)


def facts_skipped(function, **arguments):
    with mock.patch.object(facts, "fit", lambda *args, **options: [0.0]):
        return function(**arguments)


def reader(mixer):
    return seeded(lambda: facts.Reader(mixer()))


PAIR_ = facts.two_questions(3, torch.Generator().manual_seed(0), 3)
DIAL = chapter6.sentences(0.5, 3, 0, 0)
ABC = torch.arange(16).reshape(2, 8) % 3  # two texts in three letters
NAMES_ = chapter9.Names(
    POOLS, POOLS, CHARACTERS, CHARACTERS.encode("germanfr").view(2, 4), torch.zeros(2), ABC[:, :4]
)
PIECES = plays.learn_pieces(["To be, or not to be"])
SHORT = {name: "ANNE\nTo be.\n\n" for names in plays.HELD_OUT.values() for name in names} | {
    "hamlet": "BEN\nTo be.\n"
}
PAIRS_ = [corpora.Pair("news", "a b", "b a", None)] * 4
TINY = chapter11.Texts(  # four pairs and a trap, in a small encoder
    None, None, PAIRS_, ["a"] * 9, torch.arange(45).view(9, 5) % 7, torch.arange(9) % 4, torch.tensor([0]),
    ["news"], torch.zeros(9, dtype=torch.long), torch.tensor([0, 1, 0, 1]))  # fmt: skip


def tiny():
    torch.manual_seed(0)
    return dataclasses.replace(TINY, encoder=transformer.Encoder(7, 5, 12, 3, 2).requires_grad_(False))


def plays_skipped(**arguments):
    with (
        mock.patch.object(plays, "fit", lambda *args, **options: [0.0]),
        mock.patch.object(plays, "CONTEXT", 4),
    ):
        return plays.train(**arguments)


def few_tables(**arguments):
    with (
        mock.patch.object(chapter9, "ORDERS", (2,)),
        mock.patch.object(chapter9, "split", lambda pools, g: (POOLS, POOLS)),
    ):
        return chapter9.best_table(**arguments)


def names_skipped(**arguments):
    with mock.patch.object(chapter9, "fit", lambda *args, **options: [0.0]):
        return chapter9.train(**arguments)


def small_gpt_of(vocabulary=7, context=9):
    torch.manual_seed(0)
    return transformer.GPT(vocabulary, context, 12, 3, 2, positions="rotary").requires_grad_(False)


CASES_ = torch.arange(4 * 50).view(4, 50) % 7
FIVE = chapter10.Names(
    POOLS, POOLS, CHARACTERS, ["german", "french"], CHARACTERS.encode("germanfrench").repeat(6)[:64][None].repeat(20, 1),
    torch.zeros(5, 2, 40, dtype=torch.long), ["a", "b"],
    dict.fromkeys(("own", "same", "other", "foreign", "elsewhere"), CASES_ % len(CHARACTERS)))  # fmt: skip
GROUPS = torch.eye(3, dtype=torch.bool).repeat_interleave(4, 1)[None].repeat(3, 1, 1)
TRACES = normal(2, 12, 3, 1, 2, 2, dtype=torch.float32).softmax(-1)


def five_skipped(**arguments):
    with mock.patch.object(chapter10, "fit", lambda *args, **options: [0.0]):
        return chapter10.train(**arguments)


def of_five():
    return small_gpt_of(len(CHARACTERS), 64)


IDS_ = torch.arange(36).view(4, 9) % 7
FACTS_ = torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.tensor([[2, 1, 0], [5, 4, 3]])


def fit(**arguments):
    with mock.patch.object(training, "tqdm", lambda steps, **options: steps):
        return training.fit(**arguments), arguments["model"]


def batch(g):
    return normal(4, 3, dtype=torch.float32), normal(4, 1, seed=1, dtype=torch.float32)


# What a call needs besides the arguments: a layer, made anew for each call.
LAYERS = {
    "attention.PlainAttention": PlainAttention,
    "attention.SingleHeadAttention": lambda: SingleHeadAttention(D, 3, 4),
    "attention.MultiHeadAttention": lambda: MultiHeadAttention(D, 3),
    "static.TokenMixer": lambda: static.TokenMixer(N),
    "transformer.Block": lambda: transformer.Block(D, 3),
    "transformer.GPT": lambda: transformer.GPT(len(LETTERS), 9, 12, 3, 2),
    "transformer.Encoder": lambda: transformer.Encoder(len(LETTERS), 9, 12, 3, 2),
    "facts.Reader": lambda: facts.Reader(SingleHeadAttention(facts.WIDTH, 8, 8)),
    "facts.TwoAnswers": lambda: facts.TwoAnswers(2, 3),
    "words.WordMixer": lambda: words.WordMixer(SingleHeadAttention(24, 12)),
    "experiments.chapter8.Mixing": lambda: chapter8.Mixing(D, 2),
    "experiments.chapter8.Predictor": lambda: chapter8.Predictor((chapter8.STATIC, (2, True)), 0, hidden=4),
    "experiments.chapter8.Recurrent": lambda: chapter8.Recurrent("gru", 4, 0),
    "experiments.chapter9.Twin": lambda: chapter9.Twin(MultiHeadAttention(D, 3), True),
    "experiments.chapter9.OwnToken": lambda: chapter9.OwnToken(MultiHeadAttention(D, 3)),
    "counting.NGram": lambda: counting.NGram(IDS[0], 11, 2),
    "corpora.Characters": lambda: CHARACTERS,
    "mixers.MLPMixer": lambda: mixers.MLPMixer(N, D, 3, 4, 1),
} | {f"mixers.{kind}": lambda kind=kind: getattr(mixers, kind)(N, D, 4) for kind in MIXERS}


def method(name):
    kind, _, verb = name.rpartition(".")
    return lambda **arguments: getattr(seeded(LAYERS[kind]), verb)(**arguments)


SIZES = {"n": N, "d_model": D, "d_out": 4}
QKV = {"x": X, "context": Y, "mask": MASK}

# function -> a valid call: what to call, with which arguments
CALLS = {
    "attention.attention": (attention, {"q": X, "k": Y, "v": Y, "mask": MASK, "scale": 0.5}),
    "attention.PlainAttention": (PlainAttention, {}),
    "attention.PlainAttention.forward": {"x": X},
    "attention.PlainAttention.weights": {"x": X},
    "attention.PlainAttention.mix": {"A": A, "x": X},
    "attention.SingleHeadAttention": (SingleHeadAttention, {"d_model": D, "d_head": 3, "d_out": 4}),
    "attention.SingleHeadAttention.forward": QKV | {"return_weights": True},
    "attention.SingleHeadAttention.weights": QKV,
    "attention.SingleHeadAttention.mix": {"A": A, "context": X},
    "attention.MultiHeadAttention": (
        MultiHeadAttention, {
            "d_model": D, "n_heads": 4, "d_head": 2, "bias": True, "causal": False, "n_kv_heads": 2,
            "positions": "rotary"}),
    "attention.MultiHeadAttention.forward": QKV | {"return_weights": True, "edit": lambda A: A},
    "attention.MultiHeadAttention.weights": QKV,
    "attention.MultiHeadAttention.mix": {"A": A_HEADS, "context": X},
    "attention.MultiHeadAttention.from_torch": {"source": seeded(lambda: nn.MultiheadAttention(D, 3))},
    "attention.MultiHeadAttention.to_torch": {},
    "static.TokenMixer": (static.TokenMixer, {"n": N}),
    "static.TokenMixer.forward": {"x": X},
    "static.TokenMixer.weights": {"x": X},
    "static.TokenMixer.mix": {"W": P, "x": X},
    "static.best_static_weights": (static.best_static_weights, {"x": X, "y": Y}),
    "anatomy.frozen": (
        lambda layer, x: anatomy.frozen(layer, x)(Y), {"layer": seeded(lambda: MultiHeadAttention(D, 3)), "x": X}),
    "anatomy.transplant": (anatomy.transplant, {
        "layer": seeded(lambda: MultiHeadAttention(D, 3)), "weights_from": X, "values_from": Y}),
    "anatomy.linearity_gap": (anatomy.linearity_gap, {"f": torch.sin, "x": ONE, "y": OTHER}),
    "anatomy.jacobian_paths": (anatomy.jacobian_paths, {"layer": PlainAttention(), "x": ONE}),
    "anatomy.effective_matrix": (
        anatomy.effective_matrix, {"layer": seeded(lambda: MultiHeadAttention(D, 3).double()), "x": ONE}),
    "anatomy.head_maps": (anatomy.head_maps, {"layer": seeded(lambda: MultiHeadAttention(D, 3))}),
    "anatomy.kronecker_rank": (anatomy.kronecker_rank, {"M": normal(10, 15), "n": 5, "tolerance": 1e-6}),
    "anatomy.dynamic_fraction": (anatomy.dynamic_fraction, {"A": A}),
    "tasks.routing": (tasks.routing, {"kind": "shift", "n": 4}),
    "tasks.routed": (tasks.routed, {"P": P, "samples": 3, "d": 2, "generator": New(generator)}),
    "tasks.switched": (tasks.switched, {"P": P, "Q": P, "samples": 3, "d": 2, "generator": New(generator)}),
    "tasks.lookup": (tasks.lookup, {
        "values": X, "wants": torch.arange(10).reshape(2, 5) % 5, "generator": New(generator), "d_name": 3}),
    "tasks.rings": (tasks.rings, {"samples": 3, "generator": New(generator), "count": 2}),
    "tasks.question": (tasks.question, {
        "samples": 3, "n": 4, "classes": 5, "generator": New(generator), "d_name": 3}),
    "tasks.two_lookups": (tasks.two_lookups, {"samples": 3, "generator": New(generator)}),
    "tasks.content_or_place": (tasks.content_or_place, {
        "p": 0.5, "samples": 3, "n": 4, "classes": 5, "generator": New(generator), "d_name": 3}),
    "tasks.regressions": (tasks.regressions, {
        "samples": 3, "n": 4, "d": 2, "generator": New(generator), "scale": 1.5}),
    "tasks.languages": (tasks.languages, {"samples": 3, "n": 4, "letters": 3, "generator": New(generator)}),
    "facts.tokens": (facts.tokens, {"names": FACTS_[0], "drinks": FACTS_[1], "asked": FACTS_[0][:, 0]}),
    "facts.questions": (facts.questions, {"samples": 3, "generator": New(generator), "facts": 2}),
    "facts.Reader": (facts.Reader, {"mixer": seeded(lambda: SingleHeadAttention(facts.WIDTH, 8, 8))}),
    "facts.Reader.forward": {"x": facts.questions(3, generator())[0]},
    "facts.train": (lambda kind, seed, watch: facts_skipped(facts.train, kind=kind, seed=seed, watch=watch), {"kind": "static", "seed": 0, "watch": lambda step, model: None}),
    "facts.two_questions": (facts.two_questions, {"samples": 3, "generator": New(generator), "facts": 3}),
    "facts.TwoAnswers": (facts.TwoAnswers, {"n_heads": 2, "d_head": 3, "readout": New(lambda: nn.Linear(16, 16))}),
    "facts.TwoAnswers.forward": {"inputs": PAIR_[0]},
    "facts.TwoAnswers.weights": {"inputs": PAIR_[0]},
    "facts.TwoAnswers.answer": {"A": torch.full((3, 2, 1, 3), 1 / 3), "inputs": PAIR_[0]},
    "facts.squared_error": (facts.squared_error, {"scores": PAIR_[1] + 0.5, "answers": PAIR_[1]}),
    "facts.train_two": (lambda **arguments: facts_skipped(facts.train_two, **arguments), {
        "n_heads": 2, "d_head": 3, "seed": 0, "facts": 4, "readout": New(lambda: nn.Linear(16, 16))}),
    "facts.export": (lambda head, static, one, two: json.loads(facts.export(head, static, one, two)), {
        "head": reader(lambda: SingleHeadAttention(facts.WIDTH, 8, 8)), "static": reader(lambda: static.TokenMixer(4)),
        "one": seeded(lambda: facts.TwoAnswers(1, 4)), "two": seeded(lambda: facts.TwoAnswers(2, 2))}),
    "facts.read_two": (facts.read_two, {"layers": facts.load(), "facts": facts.OFFERED[0], "asked": ("Ben", "Anna")}),
    "facts.two_figure": (facts.two_figure, {}),
    "facts.load": (facts.load, {}),
    "facts.read": (facts.read, {"layers": facts.load(), "facts": facts.OFFERED[0], "asked": "Ben"}),
    "facts.drawing": (facts.drawing, {
        "layers": facts.load(), "facts": facts.OFFERED[0], "asked": "Ben", "axes": New(lambda: figures.subplots(2)[1])}),
    "facts.figure": (facts.figure, {}),
    "experiments.chapter2.linearity_gaps": (chapter2.linearity_gaps, {
        "n": 3, "d": 2, "pairs": 2, "generator": New(generator)}),
    "experiments.chapter2.self_weights": (chapter2.self_weights, {
        "n": 3, "d": 2, "sentences": 2, "generator": New(generator)}),
    "experiments.chapter6.sentences": (chapter6.sentences, {"p": 0.5, "samples": 3, "seed": 0, "stream": 1}),
    "experiments.chapter6.best_answers": (chapter6.best_answers, {"p": 0.5, "batch": DIAL}),
    "experiments.chapter6.make": (chapter6.make, {"kind": "dense synthesizer", "seed": 0, "n": 3, "width": 4}),
    "experiments.chapter6.train": (
        lambda lr, weight_decay, **others: chapter6.train(setting=(lr, weight_decay), **others),
        {"layer": "static", "data": DIAL, "seed": 0, "lr": 0.1, "weight_decay": 0.1, "steps": 2}),
    "experiments.chapter6.train_values": (chapter6.train_values, {
        "layer": New(lambda: chapter6.make("static", 0)), "data": DIAL, "validation": DIAL, "seed": 0, "steps": 2}),
    "experiments.chapter6.right": (chapter6.right, {"layer": chapter6.make("attention + bias", 0), "data": DIAL}),
    "experiments.chapter6.correct": (chapter6.correct, {"layer": chapter6.make("MLP-Mixer", 0), "data": DIAL}),
    "experiments.chapter6.attention_by_hand": (chapter6.attention_by_hand, {"seed": 0}),
    "experiments.chapter6.own_token_by_hand": (chapter6.own_token_by_hand, {}),
    "experiments.chapter8.texts": (chapter8.texts, {"samples": 3, "seed": 0, "stream": 501}),
    "experiments.chapter8.bayes": (chapter8.bayes, {"texts": ABC}),
    "experiments.chapter8.counting": (chapter8.counting, {"texts": ABC}),
    "experiments.chapter8.circuit": (chapter8.circuit, {"texts": ABC}),
    "experiments.chapter8.divergence": (chapter8.divergence, {"guess": chapter8.counting(ABC), "best": chapter8.bayes(ABC)}),
    "experiments.chapter8.Mixing": (chapter8.Mixing, {"width": 3, "heads": 2, "computed": False}),
    "experiments.chapter8.Mixing.weights": {"x": X},
    "experiments.chapter8.Mixing.forward": {"x": X},
    "experiments.chapter8.Predictor": (chapter8.Predictor, {"layers": ((1, True), (2, False)), "seed": 0, "hidden": 4}),
    "experiments.chapter8.Predictor.features": {"texts": ABC},
    "experiments.chapter8.Predictor.forward": {"texts": ABC},
    "experiments.chapter8.Recurrent": (chapter8.Recurrent, {"kind": "gru", "units": 4, "seed": 0}),
    "experiments.chapter8.Recurrent.forward": {"texts": ABC},
    "experiments.chapter8.read_out": (chapter8.read_out, {"width": 3, "hidden": 4, "seed": 0}),
    "experiments.chapter8.surprise": (chapter8.surprise, {"logits": normal(2, 8, 3, dtype=torch.float32), "texts": ABC}),
    "experiments.chapter8.train": (chapter8.train, {
        "network": New(lambda: chapter8.Predictor((chapter8.ATTENTION,), 0)), "texts": ABC, "seed": 0, "rate": 0.1,
        "decay": 0.1, "steps": 2, "watch": print, "label": "training"}),
    "experiments.chapter8.measured": (chapter8.measured, {
        "network": New(lambda: chapter8.Recurrent("plain", 4, 0)), "texts": ABC}),
    "experiments.chapter8.parameters": (chapter8.parameters, {"network": nn.Linear(3, 1)}),
    "training.fit": (fit, {
        "model": New(lambda: seeded(lambda: nn.Linear(3, 1))), "batches": batch, "loss": nn.functional.mse_loss, "steps": 3,
        "lr": 0.1, "seed": 0, "weight_decay": 0.1, "watch": print, "label": "training"}),
    "training.minibatches": (
        lambda inputs, targets, size: training.minibatches(inputs, targets, size)(generator()),
        {"inputs": X, "targets": Y, "size": 3}),
    "statistics.said": (statistics.said, {"values": ONE[:, 0], "seed": 0}),
    "statistics.interval": (statistics.interval, {"values": ONE[:, 0], "seed": 0}),
    "counting.NGram": (counting.NGram, {"ids": IDS[0], "vocabulary": 11, "order": 2, "discount": 0.5}),
    "counting.NGram.surprise": {"ids": IDS},
    "transformer.surprise": (transformer.surprise, {"model": New(small_gpt_of), "ids": IDS_, "edit": keep}),
    "plays.plays": (plays.plays, {}),
    "plays.load": (plays.load, {}),
    "plays.part": (plays.part, {"texts": SHORT, "which": "test"}),
    "plays.repeated": (plays.repeated, {"rows": IDS_, "generator": New(generator)}),
    "plays.learn_pieces": (plays.learn_pieces, {"texts": ["To be", "or not"]}),
    "plays.encode": (plays.encode, {"tokenizer": PIECES, "text": "not to be"}),
    "plays.train": (plays_skipped, {
        "ids": torch.arange(30), "seed": 0, "steps": 2, "watch": lambda step, model: None}),
    "experiments.chapter9.material": (chapter9.material, {"seed": 0}),
    "experiments.chapter9.table": (chapter9.table, {
        "pools": POOLS, "characters": CHARACTERS, "order": 2, "discount": 0.5, "seed": 0}),
    "experiments.chapter9.best_table": (few_tables, {"found": NAMES_, "seed": 0}),
    "experiments.chapter9.Twin": (chapter9.Twin, {"like": New(lambda: MultiHeadAttention(D, 3)), "computed": True}),
    "experiments.chapter9.Twin.forward": {"x": X, "mask": None},
    "experiments.chapter9.Twin.weights": {"x": X},
    "experiments.chapter9.Twin.mix": {"A": A_HEADS, "context": X},
    "experiments.chapter9.OwnToken": (chapter9.OwnToken, {"like": New(lambda: MultiHeadAttention(D, 3))}),
    "experiments.chapter9.OwnToken.forward": {"x": X, "mask": None},
    "experiments.chapter9.OwnToken.weights": {"x": X},
    "experiments.chapter9.OwnToken.mix": {"A": A_HEADS, "context": X},
    "experiments.chapter9.make": (chapter9.make, {"kind": "both", "characters": 7, "d_model": 8, "n_layers": 1, "seed": 0}),
    "experiments.chapter9.train": (names_skipped, {
        "model": New(small_gpt_of), "found": NAMES_, "seed": 0, "steps": 2, "rate": 0.1, "label": "names"}),
    "experiments.chapter10.material": (chapter10.material, {"seed": 0}),
    "experiments.chapter10.make": (chapter10.make, {"found": FIVE, "seed": 0, "positions": "rotary"}),
    "experiments.chapter10.train": (five_skipped, {"model": New(of_five), "found": FIVE, "seed": 0, "label": "names"}),
    "experiments.chapter10.inner": (chapter10.inner, {"A": A_HEADS, "p": 2}),
    "experiments.chapter10.queries": (chapter10.queries, {"model": New(small_gpt_of), "ids": IDS_}),
    **{f"experiments.chapter10.{name}": (getattr(chapter10, name), {
        "model": New(lambda: small_gpt_of(7, 64)), "ids": CASES_, "lender": CASES_.flip(0)}
        | ({"dose": 0.5} if name == "lend_queries" else {})
        | ({"first": 1} if name in ("lend_queries", "lend_inner", "ask_nonsense") else {}))
        for name in ("lend_rows", "lend_queries", "lend_inner", "lend_all", "ask_nonsense", "read", "read_evenly", "read_nothing_before")},
    "experiments.chapter10.losses": (
        lambda models, lend, ids, lender: chapter10.losses([of_five()] if models is of_five else models, lend, ids, lender),
        {"models": of_five, "lend": chapter10.lend_rows, "ids": CASES_ % len(CHARACTERS), "lender": CASES_.flip(0) % len(CHARACTERS)}),
    "experiments.chapter10.swap": (
        lambda models, found, lend: chapter10.swap([of_five()] if models is of_five else models, found, lend),
        {"models": of_five, "found": FIVE, "lend": chapter10.read}),
    "experiments.chapter10.with_probe": (chapter10.with_probe, {
        "found": FIVE, "contexts": FIVE.contexts[0], "probe": "german"}),
    "experiments.chapter10.traces": (chapter10.traces, {
        "model": New(of_five), "found": FIVE, "contexts": FIVE.contexts[0]}),
    "experiments.chapter10.scrambled": (chapter10.scrambled, {"contexts": FIVE.contexts[0], "seed": 0}),
    "experiments.chapter10.ways": (chapter10.ways, {"seed": 0, "count": 2}),
    "experiments.chapter10.fractions": (chapter10.fractions, {"A": TRACES, "groups": GROUPS}),
    "experiments.chapter10.over_words": (chapter10.over_words, {"found": normal(2, 2, 5), "seed": 0}),
    "experiments.chapter10.entering": (chapter10.entering, {"model": New(small_gpt_of), "ids": IDS_}),
    "experiments.chapter10.told": (chapter10.told, {"x": normal(12, 3), "language": torch.arange(12) % 2}),
    "experiments.chapter10.told_by_counts": (chapter10.told_by_counts, {
        "ids": CASES_, "language": torch.tensor([0, 0, 1, 1]), "vocabulary": 7}),
    "experiments.chapter12.tokens": (chapter12.tokens, {"count": 2, "n": 3, "seed": 0, "d": 4, "dtype": torch.float64}),
    "experiments.chapter12.seconds": (chapter12.seconds, {"ways": {"a": lambda: 1}, "rounds": 2}),
    "experiments.chapter12.chunked": (chapter12.chunked, {
        "q": ONE, "k": ONE, "v": ONE, "size": 2, "causal": True}),
    "statistics.explained": (statistics.explained, {"x": normal(12, 3), "groups": GROUPS}),
    "experiments.chapter9.longer": (chapter9.longer, {}),
    "experiments.chapter11.texts": (chapter11.texts, {"seed": 0}),
    "experiments.chapter11.vectors": (chapter11.vectors, {
        "material": New(tiny), "edit": lambda layer, A, which: A, "which": torch.tensor([0, 3])}),
    "experiments.chapter11.computed": (chapter11.computed, {"material": New(tiny)}),
    "experiments.chapter11.halves": (chapter11.halves, {"material": New(tiny), "values": normal(9, 2)}),
    "experiments.chapter11.mean_of_other_half": (chapter11.mean_of_other_half, {
        "material": New(tiny), "values": normal(9, 2)}),
    "experiments.chapter11.bags": (chapter11.bags, {"material": New(tiny)}),
    "experiments.chapter11.counts": (chapter11.counts, {"material": New(tiny)}),
    "experiments.chapter11.right_first": (chapter11.right_first, {"vectors": normal(6, 4), "n": 3}),
    "experiments.chapter11.lead": (chapter11.lead, {"vectors": normal(6, 4), "n": 3}),
    "experiments.chapter11.stretches": (chapter11.stretches, {"ids": torch.arange(20), "samples": 3, "n": 5}),
    "experiments.chapter11.replaced": (chapter11.replaced, {"model": New(small_gpt_of), "ids": IDS_}),
    "experiments.chapter11.frozen": (chapter11.frozen, {
        "model": New(small_gpt_of), "ids": IDS_, "heads": torch.ones(1, 2, 3, dtype=torch.bool)}),
    "experiments.chapter11.computed_by": (chapter11.computed_by, {"model": New(small_gpt_of), "ids": IDS_}),
    "experiments.chapter11.copies": (chapter11.copies, {
        "A": normal(2, 1, 2, 6, 6, dtype=torch.float32).softmax(-1), "distances": torch.tensor([2, 3])}),
    "corpora.names": (corpora.names, {"language": "de"}),
    "corpora.split": (corpora.split, {"pools": POOLS, "generator": New(generator), "share": 0.3}),
    "corpora.paraphrases": (corpora.paraphrases, {}),
    "corpora.Characters": (corpora.Characters, {"texts": ["ab", "c"]}),
    "corpora.Characters.encode": {"text": "german"},
    "corpora.Characters.decode": {"ids": CHARACTERS.encode("german")},
    "corpora.sequences": (corpora.sequences, {
        "pools": POOLS, "characters": CHARACTERS, "samples": 3, "n": 9, "generator": New(generator)}),
    "pretrained.minilm": (lambda folder: read(pretrained.minilm, folder), {"folder": "nowhere"}),
    "pretrained.tensors": (lambda folder: read(pretrained.tensors, folder), {"folder": Path("nowhere")}),
    "pretrained.tokenize": (pretrained.tokenize, {"tokenizer": New(tokenizer), "texts": ["a", "a a"]}),
    "pretrained.sentence_vectors": (pretrained.sentence_vectors, {
        "encoder": seeded(LAYERS["transformer.Encoder"]), "ids": IDS, "present": PRESENT, "edit": keep}),
    "transformer.Block": (transformer.Block, {
        "d_model": D, "n_heads": 3, "d_mlp": 4, "causal": False, "norm_first": True, "eps": 1e-5, "n_kv_heads": 1,
        "positions": "alibi"}),
    "transformer.Block.forward": {"x": X, "mask": MASK, "edit": lambda A: A},
    "transformer.GPT": (transformer.GPT, {
        "vocabulary": 5, "context": 4, "d_model": D, "n_heads": 3, "n_layers": 2, "d_mlp": 4, "positions": "alibi",
        "n_kv_heads": 1}),
    "transformer.GPT.forward": {"ids": IDS, "edit": keep},
    "transformer.GPT.weights": {"ids": IDS},
    "transformer.GPT.mix": {"A": normal(2, 2, 3, 8, 8, dtype=torch.float32).softmax(-1), "ids": IDS},
    "transformer.GPT.generate": {"ids": IDS, "steps": 3, "generator": New(generator), "temperature": 0.5},
    "transformer.Encoder": (transformer.Encoder, {
        "vocabulary": 5, "context": 4, "d_model": D, "n_heads": 3, "n_layers": 2, "d_mlp": 4, "eps": 1e-12}),
    "transformer.Encoder.forward": {"ids": IDS, "edit": keep, "present": PRESENT},
    "transformer.Encoder.weights": {"ids": IDS, "present": PRESENT},
    "transformer.Encoder.mix": {
        "A": normal(2, 2, 3, 8, 8, dtype=torch.float32).softmax(-1), "ids": IDS, "present": PRESENT},
    "transformer.export": (
        transformer.export, {"model": seeded(LAYERS["transformer.GPT"]), "vocabulary": LETTERS}),
    "words.sentence": (words.sentence, {"rng": New(lambda: random.Random(0))}),
    "words.sentences": (words.sentences, {"samples": 3, "generator": New(generator), "length": 5}),
    "words.WordMixer": (words.WordMixer, {"mixer": seeded(lambda: SingleHeadAttention(24, 12))}),
    "words.WordMixer.features": {"words": IDS},
    "words.WordMixer.forward": {"inputs": (IDS, PRESENT)},
    "words.loss": (words.loss, {
        "scores": normal(2, 8, len(words.VOCABULARY), dtype=torch.float32), "targets": IDS}),
    "words.right": (words.right, {
        "model": word_model(SingleHeadAttention(24, 12)), "inputs": (IDS, PRESENT), "targets": IDS}),
    "words.train_head": (
        lambda seed, tries: training_skipped(words.train_head, seed=seed, tries=tries), {"seed": 0, "tries": 2}),
    "words.train_static": (lambda seed, n: training_skipped(words.train_static, seed=seed, n=n), {"seed": 0, "n": 5}),
    "words.export": (lambda head, static: json.loads(words.export(head, static)), {
        "head": word_model(SingleHeadAttention(24, 12)), "static": word_model(static.TokenMixer(5))}),
    "words.load": (words.load, {}),
    "words.computed_weights": (words.computed_weights, {"head": HEAD, "tokens": ["I", "am", "a", "student", "."]}),
    "figures.subplots": (figures.subplots, {"columns": 1, "width": 2.0, "height": 1.5, "rows": 2}),
    "figures.show": (figures.show, {
        "figure": New(lambda: axes().figure), "caption": "A caption.", "alt": "What is seen."}),
    "figures.element": (figures.element, {
        "figure": New(lambda: axes().figure), "caption": "A caption.", "alt": "What is seen."}),
    "figures.matrix": (figures.matrix, {
        "axes": New(axes), "M": P, "kind": "A", "rows": "abcde", "columns": list("abcde"), "title": "a title",
        "numbers": True, "limit": 1.0}),
    "figures.table": (figures.table, {
        "M": P, "rows": "abcde", "columns": list("abcde"), "corner": "reads from", "decimals": 3}),
    "figures.network": (figures.network, {
        "axes": New(axes), "M": P, "kind": "W", "inputs": "abcde", "outputs": list("abcde"), "title": "a title",
        "limit": 1.0}),
    "figures.ledger": (figures.ledger, {"learned": {"W": 3}, "computed": {"A": 4}}),
    "live.rounded": (live.rounded, {"matrices": {"W": P}}),
    "live.Live": (live.Live, {
        "kind": "networks", "data": {"W": [[1.0]]}, "caption": "A caption.", "alt": "What is seen.",
        "still": New(lambda: axes().figure), "table": (["a", "b"], [["x", 0.5]]), "payload": None}),
    "live.Live.element": (lambda: live.Live(
        "networks", {}, caption="A caption.", alt="What is seen.", still=axes().figure, table=([], [])).element(), {}),
    "mixers.MLPMixer": (mixers.MLPMixer, SIZES | {"width": 4, "blocks": 1}),
    "mixers.MLPMixer.forward": {"x": X},
}  # fmt: skip
OWN_OPTIONS = {"StaticMixing": {"rows": "free"}, "DynamicConvolution": {"reach": 2}, "DenseSynthesizer": {"width": 4},
               "Attention": {"d_head": 3, "places": "beside"}}  # fmt: skip
for kind in MIXERS:
    CALLS[f"mixers.{kind}"] = (getattr(mixers, kind), SIZES | OWN_OPTIONS.get(kind, {}))
    CALLS |= {f"mixers.{kind}.{verb}": {"x": X} for verb in ("forward", "weights")}
    CALLS[f"mixers.{kind}.mix"] = {"A": A, "x": X}
CALLS = {name: (method(name), call) if isinstance(call, dict) else call for name, call in CALLS.items()}

# Some functions pass on what a layer, or a function that they were given, says of its own arguments.
INNER = {
    "anatomy.": {"x", "context", "A", "q", "k", "W_V", "W_O"},
    "attention.": {"q", "k", "A"},
    "mixers.": set(),
    "pretrained.sentence_vectors": {"A", "x"},
    "transformer.": {"A", "q", "k", "x", "context"},
    "words.": {"words", "present", "x", "context"},
    "experiments.": {"x", "A", "model", "lr", "weight_decay", "q", "k", "ids", "text"},
    "plays.": {"x"},
    "facts.": {"x", "names", "drinks", "asked", "q", "k", "context", "A", "question", "facts"},
}
# KeyError is what Python itself raises for a word that a dictionary does not have.
KINDS = {"words.computed_weights": (TypeError, ValueError, KeyError)}
# Public, but no function that takes what a reader makes; or tested as hard elsewhere.
ELSEWHERE = (
    "claims.",
    "exercises.",
    "grade.",
    "seeding.",
    "corpora.Pair",
    "experiments.chapter9.Names",
    "experiments.chapter10.Names",
    "experiments.chapter11.Texts",
    "experiments.chapter12.Sizes",
    # What goes wrong in these is what goes wrong in the function that they are given.
    "experiments.chapter12.multiplications",
    "experiments.chapter12.peak",
    # What the twins of chapter 9 inherit, and don't use, is tried where it comes from.
    *(
        f"experiments.chapter9.{twin}.{name}"
        for twin in ("Twin", "OwnToken")
        for name in ("from_torch", "to_torch")
    ),
)

# ------------------------------------------------------------------------------------- what stands in their place

NUMBERS = [
    -1,
    0,
    1,
    2,
    3,
    -0.5,
    2.5,
    math.nan,
    math.inf,
    -math.inf,
    np.float64(2),
    np.int64(3),
    np.float64("nan"),
    True,
]
ANYTHING = [
    None,
    "",
    "word",
    b"bytes",
    [],
    {},
    (),
    ["a", 1],
    object(),
    np.ones((2, 3)),
    torch.ones(2, 3),
    torch.tensor(2),
    int,
]
BEYOND = [1e39, -1e39, 1e-39, 1e300, 1e-320, 10**400, -(10**400), 2**70]


class Other(nn.Module):
    """Not what it should be, perhaps, but a module with the two verbs."""

    def weights(self, x):
        return torch.eye(N)

    mix = forward = lambda self, *inputs: torch.eye(N)


def spoilt(layer, number):
    """A copy of the layer, with this number among its learned ones."""
    layer = copy.deepcopy(layer)
    with torch.no_grad():
        next(layer.parameters()).view(-1)[0] = number
    return layer


def with_one(t, number):
    t = t.clone()
    t.view(-1)[t.numel() // 2] = number
    return t


def instead_of_tensor(t):
    yield from (t.numpy(), t.tolist(), t.to(torch.complex64), t.bool(), t.int(), t.long())
    yield from (t.double(), t.float(), t.half(), t.bfloat16())
    yield from (t[0], t[None], t.flatten(), t[:0], t[..., :0], t[..., :-1], t.mT if t.dim() > 1 else t, t[:1])
    yield from (
        torch.cat([t, t], -1),
        torch.zeros_like(t),
        t.detach().clone().requires_grad_(t.is_floating_point()),
    )
    if t.is_floating_point():
        yield from (
            with_one(t, math.nan),
            with_one(t, math.inf),
            with_one(t, -math.inf),
            torch.full_like(t, math.nan),
        )
        yield from (
            t * 10.0**power for power in (-320, -200, -44, -30, -10, 5, 10, 18, 20, 30, 37, 38, 200, 300)
        )
        yield from (t.half() * 1e4, t.bfloat16() * 1e30)
    elif t.dtype != torch.bool:
        yield from (
            with_one(t, -1),
            with_one(t, 10**6),
            with_one(t, -100),
            t - 1,
            t + 1,
            t.to(torch.int16),
            t + 0.5,
        )
    else:
        yield from (
            ~t,
            torch.zeros_like(t),
            t.float(),
            torch.where(t, 0.0, math.nan),
            torch.where(t, 0.0, -math.inf),
        )


def instead_of_function(f):
    yield from (
        lambda *a: None,
        lambda *a: math.nan,
        lambda *a: torch.tensor(math.nan),
        lambda *a: torch.ones(3, 3),
        lambda *a: a,
    )
    yield from (lambda *a: a[-1] * math.nan if isinstance(a[-1], torch.Tensor) else a[-1],)
    yield from (lambda *a: torch.tensor([1.0, 2.0, 3.0], requires_grad=True), lambda *a: torch.tensor(1.0))


def instead(value):
    """What to put in the place of a valid argument. What is listed here as a function of nothing is made anew."""
    yield from (
        odd for odd in ANYTHING if not (odd is int and callable(value))
    )  # it says itself what it can't take
    yield from NUMBERS
    if isinstance(value, torch.Tensor):
        yield from instead_of_tensor(value)
    elif isinstance(value, bool):
        yield from (0, not value)
    elif isinstance(value, float):
        yield from BEYOND
    elif isinstance(value, str):
        yield from (
            "ä",
            "\x00",
            "\ud800",
            value.upper(),
            value + value,
            [value],
            value.encode(),
            "A",
            "B",
            "W",
            "\n ",
        )
    elif isinstance(value, Path):
        yield from ("", "\x00", "\ud800", ".", "/", "x" * 5000, Path(__file__), Path(__file__).parent, b".")
    elif isinstance(value, nn.Module):
        yield from () if type(value) is nn.Linear else (nn.Linear(D, D),)
        yield from (type(value), nn.Identity(), Other(), SimpleNamespace(weights=1, mix=2))
        yield from (spoilt(value, math.nan), spoilt(value, math.inf)) if list(value.parameters()) else ()
    elif isinstance(value, dict):
        yield from (
            {1: 2},
            {"a": None},
            {"a": []},
            {"a": [1]},
            {"a": "text"},
            {"a": math.nan},
            {"a": object()},
            {"a": -1},
        )
        yield from (dict.fromkeys(value), dict(list(value.items())[1:]))
    elif isinstance(value, list):
        yield from (
            [None],
            [[]],
            [*value, None],
            [*value, 3],
            value * 20,
            "".join(map(str, value)),
            [value],
            ["zebra"],
            ["\ud800"],
        )
    elif isinstance(value, tuple):
        yield from (
            value[:1],
            value[::-1],
            (*value, None),
            (value[0], None),
            (None, value[1]),
            (value[0][:1], value[1]),
        )
        yield from ((value[0], [[1]]), (value[0], [3]))
    elif callable(value):
        yield from instead_of_function(value)


def fresh(value):
    return value.make() if isinstance(value, New) else value


# ------------------------------------------------------------------------------------------------------- the tests


def finite(result) -> bool:
    if isinstance(result, torch.Tensor):
        return bool(result.isfinite().all())
    if isinstance(result, np.ndarray):
        return result.dtype == object or bool(np.isfinite(result).all())
    if isinstance(result, (float, complex)):
        return math.isfinite(abs(result))
    if isinstance(result, dict):
        return all(map(finite, result.values()))
    return all(map(finite, result)) if isinstance(result, (list, tuple)) else True


def answers_or_refuses(name, arguments):
    call, valid = CALLS[name]
    inner = next((names for start, names in INNER.items() if name.startswith(start)), set())
    try:
        with mock.patch.object(figures, "display", lambda *args, **options: None), np.errstate(all="ignore"):
            result = call(**arguments)
    except KINDS.get(name, (TypeError, ValueError, OSError)) as error:
        message = str(error.args[0]) if isinstance(error, KeyError) else str(error)
        named = set(message.partition(": ")[0].split(", "))
        assert "expected" in message and named <= set(valid) | inner, f"{type(error).__name__}: {message}"
        return False
    finally:
        plt.close("all")
    assert finite(result), "a result that is not finite, without a word"
    return True


each = pytest.mark.parametrize("name", CALLS)


def arguments_of(name, **changed):
    return {
        argument: changed[argument] if argument in changed else fresh(value)
        for argument, value in CALLS[name][1].items()
    }


@each
def test_the_valid_call_is_answered(name):
    assert answers_or_refuses(name, arguments_of(name)) != name.startswith(
        ("pretrained.minilm", "pretrained.tensors")
    )


def odd(name, argument):
    return list(instead(fresh(CALLS[name][1][argument])))


@each
@pytest.mark.filterwarnings("ignore")
def test_one_odd_argument(name):
    failed = []
    for argument in CALLS[name][1]:
        for place, wrong in enumerate(odd(name, argument)):
            try:
                answers_or_refuses(name, arguments_of(name, **{argument: wrong}))
            except Exception as error:
                failed.append(
                    f"{argument} = {str(wrong)[:80]!r} ({place}): {type(error).__name__}: {str(error)[:200]}"
                )
    assert not failed, "\n".join(failed)


@each
@pytest.mark.filterwarnings("ignore")
@fuzz
@given(data=st.data())
def test_several_odd_arguments(name, data):
    valid = CALLS[name][1]
    if not valid:
        return
    chosen = data.draw(st.lists(st.sampled_from(sorted(valid)), min_size=1, max_size=3, unique=True))
    changed = {argument: data.draw(st.sampled_from(odd(name, argument))) for argument in chosen}
    answers_or_refuses(name, arguments_of(name, **changed))


RIGHT = {
    "PlainAttention": lambda x: PlainAttention()(x),
    "SingleHeadAttention": lambda x: SingleHeadAttention(D, 3, 4).to(x)(x),
    "MultiHeadAttention": lambda x: MultiHeadAttention(D, 3).to(x)(x),
    "TokenMixer": lambda x: static.TokenMixer(N).to(x)(x),
    "best_static_weights": lambda x: static.best_static_weights(x, 3 * x.roll(1, 1)),
    "MLPMixer": lambda x: mixers.MLPMixer(N, D, 3, 4, 1).to(x)(x),
    "Block": lambda x: transformer.Block(D, 3).to(x)(x),
    "Block, norm last": lambda x: transformer.Block(D, 3, norm_first=False).to(x)(x),
    "dynamic_fraction": lambda x: torch.tensor(anatomy.dynamic_fraction(x), dtype=torch.float64),
    "linearity_gap": lambda x: torch.tensor(anatomy.linearity_gap(torch.relu, x[0], x[1]), dtype=torch.float64),
    "linearity_gap of a line": lambda x: torch.tensor(anatomy.linearity_gap(torch.neg, x[0], x[1]), dtype=torch.float64),
    "kronecker_rank": lambda x: torch.tensor(anatomy.kronecker_rank(x.flatten(0, 1), 2), dtype=torch.float64),
} | {kind: lambda x, kind=kind: getattr(mixers, kind)(N, D, 4).to(x)(x) for kind in MIXERS}  # fmt: skip


# The squares of 1e19 overflow in a sum, those of 1e20 each by itself.
POWERS = (-44, -40, -38, -30, -20, -10, 0, 8, 17, 18, 19, 20, 25, 37)


@pytest.mark.parametrize("name", RIGHT)
def test_numbers_of_every_size_are_refused_or_right(name):
    """In float32 from the smallest to the largest, compared with float64, which has room for the squares of both."""
    answered = 0
    for power in range(-44, 38) if THOROUGH else POWERS:
        x = X.double() * 10.0**power
        want = seeded(lambda x=x: RIGHT[name](x.float().double()))
        try:
            got = seeded(lambda x=x: RIGHT[name](x.float()))
        except ValueError as error:
            assert power > 8 or power < -36, f"1e{power}: {error}"
            continue
        answered += 1
        room = max(want.abs().max().item(), 1e-40)
        assert (got.double() - want).abs().max() <= 1e-2 * room, f"1e{power}: {got} {want}"
    assert answered


@pytest.mark.parametrize("power", [-300, -200, -160, 160, 200, 300])
@pytest.mark.parametrize(
    "name", [name for name in RIGHT if name.startswith(("dynamic", "linearity", "kronecker"))]
)
def test_instruments_have_no_unit(name, power):
    close(RIGHT[name](X.double() * 10.0**power), RIGHT[name](X.double()))


def public():
    """The public functions, classes and methods of the package: "module.name" or "module.Class.method"."""
    for found in pkgutil.walk_packages(dynattn.__path__, "dynattn."):
        if any(part.startswith("_") for part in found.name.split(".")):
            continue
        module = importlib.import_module(found.name)
        for name, member in vars(module).items():
            if (
                name.startswith("_")
                or getattr(member, "__module__", None) != found.name
                or not callable(member)
            ):
                continue
            path = f"{found.name.removeprefix('dynattn.')}.{name}"
            yield path
            for verb in dir(member) if inspect.isclass(member) else ():
                own = getattr(getattr(member, verb), "__module__", None) or ""
                if not verb.startswith("_") and own.startswith("dynattn."):
                    yield f"{path}.{verb}"


def test_no_public_function_is_missing():
    found = {name for name in public() if not name.startswith(ELSEWHERE)}
    assert found == set(CALLS), found ^ set(CALLS)
