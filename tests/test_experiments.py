"""What chapters and their deeper notebooks both measure is what they say it is."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from helpers import close

from dynattn import corpora, transformer
from dynattn.anatomy import linearity_gap
from dynattn.attention import PlainAttention, attention
from dynattn.experiments import chapter2, chapter6, chapter8, chapter9, chapter10, chapter11, chapter12
from dynattn.tasks import languages


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_linearity_gaps_are_those_of_live_attention():
    x, y = torch.randn(2, 2, 5, 3, generator=generator(), dtype=torch.float64)[0]
    found = chapter2.linearity_gaps(5, 3, 2, generator())
    assert found.shape == (2,) and found[0] == linearity_gap(PlainAttention(), x, y)
    assert found.min() > 0


def test_self_weights_are_the_diagonal_of_a():
    x = torch.randn(4, 5, 3, generator=generator(), dtype=torch.float64)
    A = PlainAttention().weights(x)
    close(chapter2.self_weights(5, 3, 4, generator()), torch.stack([A[:, i, i] for i in range(5)], dim=1))


def test_many_features_bring_words_back_to_themselves():
    few, many = (chapter2.self_weights(16, d, 10, generator()).mean() for d in (2, 256))
    assert few < 0.5 < 0.999 < many


def test_sentences_of_one_stream_differ_only_in_who_looks():
    batches = {p: chapter6.sentences(p, 50, 0, 2) for p in chapter6.SHARES}
    for x, y, sources in batches.values():
        assert x.shape == (50, 12, 24) and torch.equal(x[..., 16:].argmax(-1).gather(1, sources), y)
        for part in (slice(0, 8), slice(16, 24)):  # names and values
            assert torch.equal(x[..., part], batches[0.0][0][..., part])
    looking = [(x[..., 8:16] != 0).any(-1) for x, _, _ in batches.values()]
    assert not looking[0].any() and looking[-1].all() and (looking[1] <= looking[2]).all()


def answers_counted(p, values, sees):
    """The accuracy of the best answers to sentences of values, by going through all that can be looked for."""
    total, n = 0.0, len(values)
    for i in range(n):
        chances = {}  # what the layer sees of this token -> value -> how likely it is to be right
        for wanted in (None, *range(n)):
            chance, source = (1 - p, i - 1) if wanted is None else (p / n, wanted)
            seen = chances.setdefault(sees(i, wanted), {})
            seen[values[source]] = seen.get(values[source], 0.0) + chance
        total += sum(max(seen.values()) for seen in chances.values())
    return total / n


@pytest.mark.parametrize("p", (0.0, 0.3, 1.0))
def test_best_answers_are_those_that_counting_finds(p):
    batch = chapter6.sentences(p, 4, 0, 3)
    rows = batch[0][..., 16:].argmax(-1).tolist()
    sees = {
        "static": lambda i, wanted: None,
        "own token": lambda i, wanted: "none" if wanted is None else "itself" if wanted == i else "another",
    }
    found = chapter6.best_answers(p, batch)
    for name, what in sees.items():
        assert abs(found[name] - sum(answers_counted(p, row, what) for row in rows) / 4) < 1e-12, name
    majority = sum(max(map(row.count, row)) for row in rows) / 48
    assert abs(found["no routing"] - majority) < 1e-12
    if p == 1:
        assert found["content alone"] == 1 and abs(found["static"] - majority) < 1e-12


def test_a_synthesizer_set_by_hand_gives_the_best_answer_of_rows_from_the_token_itself():
    """Not merely about as often: it names the token before, itself, or the majority among the others."""
    x, _, sources = batch = chapter6.sentences(0.7, 2000, 0, 3)
    layer = chapter6.own_token_by_hand()
    named = layer(x).argmax(-1)
    values = x[..., 16:]
    looks, itself = (x[..., 8:16] != 0).any(-1), sources == torch.arange(12)
    before, own = values.roll(1, dims=1).argmax(-1), values.argmax(-1)
    others = values.sum(1, keepdim=True) - values
    assert torch.equal(named[~looks], before[~looks])
    assert torch.equal(named[looks & itself], own[looks & itself])
    votes = others.gather(2, named[..., None])[..., 0]
    assert torch.equal(votes[looks & ~itself], others.amax(-1)[looks & ~itself])
    assert abs(chapter6.right(layer, batch) - chapter6.best_answers(0.7, batch)["own token"]) < 0.01


def test_layers_are_made_and_trained_from_the_seed_alone():
    data = chapter6.sentences(0.5, 64, 0, 0)
    state = torch.random.get_rng_state()
    once, again = (chapter6.train("attention + bias", data, 3, steps=3) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for a, b in zip(once.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(once.W_V.weight, chapter6.make("attention + bias", 3).W_V.weight)
    assert list(chapter6.SETTINGS) == list(chapter6.KINDS)
    assert {rate for rate, _ in chapter6.SETTINGS.values()} <= set(chapter6.RATES)
    assert {decay for _, decay in chapter6.SETTINGS.values()} <= set(chapter6.DECAYS)
    assert chapter6.right(once, data) == chapter6.correct(once, data).float().mean().item()


def test_only_the_values_are_trained():
    data, layer = chapter6.sentences(1.0, 64, 0, 0), chapter6.attention_by_hand(0)
    trained = chapter6.train_values(layer, data, data, 0, steps=3)
    for (name, before), after in zip(layer.named_parameters(), trained.parameters(), strict=True):
        assert torch.equal(before, after) != name.startswith("W_V"), name
    A = layer.weights(data[0])
    assert A.gather(2, data[2][..., None]).mean() > 0.99


def test_bayes_adds_one_to_what_followed():
    text = chapter8.texts(1, 0)[0][:, :20]
    found = chapter8.bayes(text)
    for i in range(20):
        letters = text[0, : i + 1].tolist()
        followed = [after for before, after in zip(letters, letters[1:]) if before == letters[-1]]
        close(
            found[0, i], torch.tensor([(followed.count(c) + 1) / (len(followed) + 3) for c in range(3)]), 1e-6
        )
    close(chapter8.bayes(torch.tensor([[0, 1, 0, 1, 0]]))[0, -1], torch.tensor([1 / 5, 3 / 5, 1 / 5]), 1e-6)


def test_bayes_is_the_mean_of_all_tables_that_explain_the_text():
    rows = languages(200_000, 1, 3, generator())[1][:, 0]  # of one letter, in many languages
    explains = rows[:, 1] ** 2  # how probable each makes it that letter 1 followed twice
    close(
        explains @ rows / explains.sum(),
        chapter8.bayes(torch.tensor([[0, 1, 0, 1, 0]]))[0, -1],
        tolerance=0.01,
    )


def test_the_circuit_reads_how_often_each_letter_has_followed():
    text = torch.tensor([[0, 1, 0, 1, 0, 2, 0]])  # a b a b a c a
    W_1, A_2 = chapter8.circuit(text)
    own = torch.eye(3)[text[0]]
    close(W_1 @ own, torch.cat([torch.zeros(1, 3), own[:-1]]))
    close((A_2[0] @ own)[-1], torch.tensor([0, 2 / 3, 1 / 3]), 1e-6)
    close(A_2.sum(-1), torch.ones(1, 7), 1e-6)
    assert (A_2.triu(1) == 0).all()


def test_divergence_is_zero_only_from_itself_and_looks_at_the_second_half():
    text = chapter8.texts(5, 0)[0]
    best, guess = chapter8.bayes(text), chapter8.counting(text)
    assert chapter8.divergence(best, best) == 0 < chapter8.divergence(guess, best)
    first_half = torch.cat([guess[:, :24], best[:, 24:]], dim=1)
    assert chapter8.divergence(first_half, best) == 0
    p, q = torch.tensor([[[0.5, 0.5 - 1e-9, 1e-9]]]), torch.tensor([[[0.25, 0.75 - 1e-9, 1e-9]]])
    assert abs(chapter8.divergence(q, p) - torch.tensor(4 / 3).log().item() / 2) < 1e-6


def test_layers_of_predictors_are_causal_and_static_where_they_say():
    text = chapter8.texts(2, 0)[0]
    network = chapter8.Predictor((chapter8.STATIC, chapter8.ATTENTION), 0, hidden=4)
    changed = text.clone()
    changed[:, 30:] = (changed[:, 30:] + 1) % 3
    close(network(text)[:, :30], network(changed)[:, :30], 1e-5)
    assert not torch.allclose(network(text)[:, 30:], network(changed)[:, 30:])
    first, second = network.layers
    x = torch.eye(3)[text]
    assert first.weights(x).shape == (1, 1, 48, 48) and second.weights(first(x)).shape == (2, 1, 48, 48)
    assert network.features(text).shape == (2, 48, 12)


def test_networks_are_made_and_trained_from_the_seed_alone():
    text, state = chapter8.texts(64, 0)[0], torch.random.get_rng_state()
    for make in (
        lambda seed: chapter8.Predictor((chapter8.ATTENTION, chapter8.ATTENTION), seed),
        lambda seed: chapter8.Recurrent("gru", 5, seed),
    ):
        once, again = (chapter8.train(make(3), text, 3, steps=3) for _ in range(2))
        for a, b in zip(once.parameters(), again.parameters(), strict=True):
            assert torch.equal(a, b)
        assert chapter8.measured(once, text) != chapter8.measured(make(3), text)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert chapter8.parameters(make(0)) == 168
    assert chapter8.parameters(chapter8.Predictor((chapter8.ATTENTION, chapter8.ATTENTION), 0)) == 180


# --------------------------------------------------------------------------------------------------- chapter 9


@pytest.fixture(scope="module")
def found():
    return chapter9.material(0)


def test_held_out_names_are_in_no_training_text(found):
    known = set().union(*found.training.values())
    for row in found.test[:40]:
        names = found.characters.decode(row).split(";")[1:-1]  # the last is cut off
        assert names and not known & set(names)
    names = found.characters.decode(found.learned[0]).split(";")[1:-1]
    assert set(names) <= known


def test_the_table_is_chosen_without_the_held_out_names(found):
    table, loss = chapter9.best_table(found, 0)
    assert table.order == min(loss, key=loss.get) and set(loss) == set(chapter9.ORDERS)
    other = dataclasses.replace(found, test=found.test.flip(0), held_out=found.training)
    assert chapter9.best_table(other, 0)[1] == loss


def test_twins_start_alike_and_differ_in_their_matrices():
    made = {kind: chapter9.make(kind, 9, 16, 1, 3) for kind in chapter9.KINDS}
    for model in made.values():
        assert torch.equal(model.tokens.weight, made["computed"].tokens.weight)
        assert torch.equal(
            model.blocks[0].attention.W_V.weight, made["computed"].blocks[0].attention.W_V.weight
        )
    ids = torch.randint(9, (2, 12), generator=generator())
    other = ids.clone()
    other[:, 0] = (ids[:, 0] + 1) % 9
    for kind, model in made.items():
        moved = (model(other) - model(ids)).abs().amax((0, 2))
        assert moved[0] > 0 and (moved[1:].max() > 0) == (kind != "no mixing"), kind
        parameters = dict(model.named_parameters())
        assert ("blocks.0.attention.W_Q.weight" in parameters) == (kind not in ("static", "no mixing")), kind
        assert ("blocks.0.attention.W_distance" in parameters) == (kind in ("static", "both")), kind


def test_a_static_twin_has_one_number_for_each_distance():
    like = chapter9.make("static", 9, 16, 1, 3).blocks[0].attention
    x = torch.randn(2, 6, 16, generator=generator())
    with torch.no_grad():
        like.W_distance.copy_(torch.linspace(0, 0.2, chapter9.CONTEXT).expand(like.n_heads, -1))
        y = like(x)
    logits = 30 * torch.linspace(0, 0.2, chapter9.CONTEXT)
    A = torch.stack([torch.cat([logits[: i + 1].flip(0).softmax(0), torch.zeros(5 - i)]) for i in range(6)])
    close(y, like.W_O(A @ like.W_V(x)), 1e-5)


@pytest.mark.parametrize("kind", chapter9.KINDS)
def test_what_a_twin_shows_is_what_it_uses(kind):
    layer = chapter9.make(kind, 9, 16, 1, 3).blocks[0].attention
    x = torch.randn(2, 6, 16, generator=generator())
    with torch.no_grad():
        if hasattr(layer, "W_distance"):
            layer.W_distance.normal_(std=0.1, generator=generator(1))
        close(layer(x), layer.mix(layer.weights(x), x), 1e-5)


# -------------------------------------------------------------------------------------------------- chapter 11


def test_halves_hold_nothing_of_the_text_itself():
    material = chapter11.texts(1)
    n = len(material.pairs)
    assert material.ids.shape[1] == 16 and len(material.ids) == 2 * n + len(material.trapped)
    one_hot = torch.eye(n)[material.pair_of]
    shares = chapter11.mean_of_other_half(material, one_hot)
    assert (shares * one_hot).sum() == 0 and torch.allclose(shares.sum(1), torch.ones(len(shares)))
    for k in range(len(material.genres)):
        assert material.half[material.genre[:n] == k].float().mean() == 0.5


def test_edits_reach_the_encoder():
    material = chapter11.texts(0)
    which = torch.tensor([0, 300, 500])
    own = chapter11.vectors(material, None, which)
    close(chapter11.vectors(material, lambda layer, A, which: A, which), own, 1e-5)
    seen = []
    changed = chapter11.vectors(
        material,
        lambda layer, A, which: (seen.append((layer, which.tolist())), torch.eye(16).expand_as(A))[1],
        which,
    )
    assert seen == [(layer, which.tolist()) for layer in range(6)] and (changed - own).abs().max() > 0.1
    close(own.norm(dim=1), torch.ones(3), 1e-5)


def test_the_nearest_is_found_by_the_cosine():
    vectors = torch.tensor([[1.0, 0], [0, 1], [9, 1], [5, 4]])
    assert chapter11.right_first(vectors, 2).tolist() == [1, 1]
    assert chapter11.lead(vectors, 2)[0] == pytest.approx(9 / 82**0.5 - 5 / 41**0.5, abs=1e-6)
    assert chapter11.right_first(vectors[[0, 1, 3, 2]], 2).tolist() == [0, 0]


def test_the_records_of_longer_trainings_are_complete():
    found = chapter9.longer()
    runs = {(run["kind"], run["steps"], run["seed"]): run["loss"] for run in found["runs"]}
    want = {
        (kind, steps, seed) for kind in chapter9.KINDS for steps in (650, 2600, 5200) for seed in range(10)
    }
    assert set(runs) == want | {("counts", 0, seed) for seed in range(10)} and len(found["runs"]) == len(runs)
    assert all(1.5 < loss < 3 for loss in runs.values()) and set(found) == {
        "made",
        "machine",
        "torch",
        "runs",
    }


def test_a_record_is_what_the_page_measures(found):
    """Of the shortest: the table of counts."""
    record = next(run for run in chapter9.longer()["runs"] if run["kind"] == "counts" and run["seed"] == 0)
    assert abs(record["loss"] - chapter9.best_table(found, 0)[0].surprise(found.test).mean()) < 1e-3


# ---------------------------------------------------------------------------------------------------- chapter 10


@pytest.fixture(scope="module")
def five():
    return chapter10.material(0)


def test_contexts_are_names_of_one_language_without_the_probes(five):
    for code, rows in zip(chapter10.CODES, five.contexts, strict=True):
        for row in rows:
            text = five.characters.decode(row)
            assert text.endswith(corpora.END)
            others = {name for other in chapter10.CODES if other != code for name in five.pools[other]}
            assert set(text[:-1].split(corpora.END)) <= set(five.training[code]) - others


def test_cases_end_alike_and_their_names_are_new(five):
    cases = {which: [five.characters.decode(row) for row in rows] for which, rows in five.cases.items()}
    seen = {name for pool in five.training.values() for name in pool}
    assert not seen & set(five.probes[:4]) and not seen & set(five.names)
    assert not {name[:6] for name in seen} & {name[:6] for name in five.names}, "nor does one begin alike"
    for case, name in enumerate(five.names * chapter10.CASES):
        ends = {cases[which][case][40:] for which in ("own", "same", "other", "foreign")}
        assert ends == {cases["own"][case][40:48] + name[:6]}
        starts = {cases[which][case][:40] for which in ("own", "same", "other", "foreign")}
        assert len(starts) == 4, "four different contexts"
        assert all(cases["elsewhere"][case][i] != cases["own"][case][i] for i in (40, 48))


def small_reader(**sizes):
    torch.manual_seed(1)
    return transformer.GPT(7, 64, 12, 3, **{"n_layers": 2, "positions": "rotary"} | sizes).requires_grad_(
        False
    )


LENDS = (chapter10.lend_rows, chapter10.lend_queries, chapter10.lend_inner, chapter10.lend_all)


@pytest.mark.parametrize("lend", LENDS)
def test_a_text_lends_nothing_to_itself(lend):
    model, ids = small_reader(), torch.randint(7, (3, 50), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lend(model, ids, ids), model(ids))


@pytest.mark.parametrize("lend", LENDS[:3])
def test_what_is_lent_comes_after_the_context(lend):
    model, (ids, lender) = (
        small_reader(),
        torch.randint(7, (2, 3, 50), generator=torch.Generator().manual_seed(0)),
    )
    found, own = lend(model, ids, lender), model(ids)
    torch.testing.assert_close(found[:, :40], own[:, :40])
    assert ((found - own)[:, 41:].abs().amax(-1) > 1e-5).all()  # the first one's inner weight is 1
    assert not any(block.attention.W_Q._forward_hooks for block in model.blocks), "no hook stays behind"


def test_a_dose_of_nothing_changes_nothing():
    model, (ids, lender) = small_reader(), torch.randint(7, (2, 3, 50), generator=generator())
    torch.testing.assert_close(chapter10.lend_queries(model, ids, lender, dose=0), model(ids))


@pytest.mark.parametrize("lend", LENDS[1:3])
def test_layers_before_the_first_lend_nothing(lend):
    model, (ids, lender) = small_reader(), torch.randint(7, (2, 3, 50), generator=generator())
    torch.testing.assert_close(lend(model, ids, lender, first=2), model(ids))
    assert not torch.allclose(lend(model, ids, lender, first=1), lend(model, ids, lender))


def test_nonsense_is_asked_after_the_context_only():
    model, ids = small_reader(), torch.randint(7, (3, 50), generator=generator())
    asked, own = chapter10.ask_nonsense(model, ids, ids, first=1), model(ids)
    torch.testing.assert_close(asked[:, :40], own[:, :40])
    assert not torch.allclose(asked[:, 40:], own[:, 40:])
    torch.testing.assert_close(chapter10.ask_nonsense(model, ids, ids, first=2), own)


def test_where_nothing_before_is_read_the_context_makes_no_difference():
    model, (ids, other) = small_reader(), torch.randint(7, (2, 3, 50), generator=generator())
    other[:, 40:] = ids[:, 40:]
    found, again = (chapter10.read_nothing_before(model, rows, rows)[:, 40:] for rows in (ids, other))
    torch.testing.assert_close(found, again)
    assert not torch.allclose(*(chapter10.read_evenly(model, rows, rows)[:, 40:] for rows in (ids, other)))


def test_a_context_that_is_read_evenly_has_no_order():
    """In a single layer without positions, the order of what is read evenly makes no difference, and its sum is kept."""
    model = small_reader(n_layers=1)
    ids = torch.randint(7, (1, 50), generator=generator())
    A, seen = model.weights(ids)[:, 0], []
    block = model.blocks[0].attention
    hook = block.W_O.register_forward_pre_hook(lambda W_O, inputs: seen.append(inputs[0]))
    chapter10.read_evenly(model, ids, ids)
    hook.remove()
    V = block.W_V(model.blocks[0].norm_attention(model.tokens(ids)))[0].unflatten(-1, (3, 4)).transpose(0, 1)
    even = A[0, :, 49, :40].sum(-1, keepdim=True) * V[:, :40].mean(1) + (
        A[0, :, 49, 40:, None] * V[:, 40:]
    ).sum(1)
    torch.testing.assert_close(seen[0][0, 49], even.flatten())


def test_lent_queries_write_rows_for_the_text_that_is_read():
    """In a single layer of a single head, by hand."""
    torch.manual_seed(2)
    model = transformer.GPT(7, 64, 12, 1, 1, positions="absolute").requires_grad_(False)
    ids, lender = torch.randint(7, (2, 1, 50), generator=torch.Generator().manual_seed(3))
    block = model.blocks[0]
    x, y = (block.norm_attention(model.tokens(of) + model.places.weight[:50])[0] for of in (ids, lender))
    q = torch.cat([block.attention.W_Q(x)[:40], block.attention.W_Q(y)[40:]])
    k = block.attention.W_K(x)
    A = (q @ k.T / 12**0.5).masked_fill(torch.ones(50, 50).triu(1).bool(), -torch.inf).softmax(-1)
    torch.testing.assert_close(
        chapter10.lend_queries(model, ids, lender), model.mix(A[None, None, None], ids)
    )


def test_the_inner_weights_are_what_is_exchanged():
    """In a single layer, by hand."""
    model, (ids, lender) = small_reader(n_layers=1), torch.randint(7, (2, 1, 50), generator=generator())
    A, B = model.weights(ids), model.weights(lender)
    rows = chapter10.inner(B, 10) * A[..., 40:, 40:].sum(-1, keepdim=True)
    torch.testing.assert_close(chapter10.inner(B, 10).sum(-1), torch.ones(1, 1, 3, 10))
    mixed = torch.cat([A[..., :40, :], torch.cat([A[..., 40:, :40], rows], -1)], -2)
    torch.testing.assert_close(chapter10.lend_inner(model, ids, lender), model.mix(mixed, ids))


def test_ways_to_group_have_the_sizes_of_the_languages():
    ways = chapter10.ways(0, 5)
    assert ways.shape == (11, 5, 400) and (ways[:6].sum(-1) == 80).all() and (ways[6:].sum(-1) == 40).all()
    assert ways[0].int().argmax(0).tolist() == [row // 80 for row in range(400)]
    assert (
        (ways[:6].sum(1) == 1).all()
        and (ways[6:] <= ways[0]).all()
        and (ways[1:6] != ways[0]).any((-1, -2)).all()
    )


def test_languages_are_told_where_they_can_be():
    generator = torch.Generator().manual_seed(0)
    language = torch.arange(4).repeat_interleave(40)
    noise = torch.randn(160, 30, generator=generator)
    assert 0.05 < chapter10.told(noise, language).mean() < 0.45
    assert chapter10.told(noise + 4 * F.one_hot(language, 30), language).mean() > 0.9
    letters = torch.multinomial(torch.eye(4)[language] + 0.2, 40, replacement=True, generator=generator)
    assert chapter10.told_by_counts(letters, language, 4).mean() > 0.9


# ---------------------------------------------------------------------------------------------------- chapter 12


def test_multiplications_and_bytes_are_counted():
    a, b = torch.ones(2, 3), torch.ones(3, 4)
    assert chapter12.multiplications(lambda: a @ b) == 24
    assert chapter12.peak(lambda: torch.zeros(1000)) == 4000
    assert chapter12.peak(lambda: [torch.zeros(1000) for _ in range(3)]) == 12000


@pytest.mark.parametrize("size", (1, 7, 30, 100))
@pytest.mark.parametrize("causal", (False, True))
def test_chunks_are_exact(size, causal):
    q, k, v = chapter12.tokens(3, 30, 0, dtype=torch.float64)
    mask = torch.ones(30, 30, dtype=torch.bool).tril() if causal else None
    for scale in (1, 300):  # where exponentials overflow, too
        torch.testing.assert_close(
            chapter12.chunked(scale * q, k, v, size, causal),
            attention(scale * q, k, v, mask)[0],
            rtol=1e-9,
            atol=1e-9,
        )


def test_published_sizes_give_the_published_numbers_of_parameters():
    assert abs(chapter12.GPT3.stored / 175e9 - 1) < 0.01
    assert abs(chapter12.LLAMA_8B.stored / 8.03e9 - 1) < 0.001
    assert abs(chapter12.LLAMA_405B.stored / 405e9 - 1) < 0.01


def test_sizes_are_those_of_a_model_of_this_book():
    sizes = chapter12.Sizes("ours", 2, 12, 4, 2, 3, 48, 2, 7, True, 9)
    model = transformer.GPT(7, 9, 12, 4, 2, n_kv_heads=2, positions="alibi")
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    assert sizes.stored == matrices and sizes.kept(5) == 2 * 2 * 5 * 6
