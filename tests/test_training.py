"""The training loop: the same seed gives the same training, and what goes wrong is said."""

import math

import pytest
import torch
from helpers import normal, refuses
from torch import nn
from torch.nn.functional import mse_loss

from dynattn.attention import SingleHeadAttention
from dynattn.training import fit, minibatches

X = normal(40, 3, dtype=torch.float32)
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]])


def train(seed=0, init=0, model=None, **options):
    torch.manual_seed(init)
    model = model or nn.Linear(3, 1)
    defaults = dict(steps=60, lr=0.1, batches=minibatches(X, Y, 8), loss=mse_loss, seed=seed)
    return fit(model, **{**defaults, **options}), model


def test_it_learns_and_returns_the_loss_of_each_step():
    history, _ = train(steps=200)
    assert len(history) == 200 and all(type(value) is float for value in history)
    assert history[0] > 1 and max(history[-10:]) < 1e-3


def test_the_same_seed_gives_the_same_training_whatever_was_drawn_before():
    first, model = train()
    torch.manual_seed(99)
    second, again = train()
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_seed_is_that_of_the_batches():
    assert train(seed=0)[0] != train(seed=1)[0]


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    model = nn.Linear(3, 1)
    torch.manual_seed(5)
    fit(model, minibatches(X, Y, 8), mse_loss, steps=3, lr=0.1, seed=0)
    assert torch.equal(torch.rand(3), want)


def test_watch_is_called_after_each_step():
    seen, weights = [], []
    model = nn.Linear(3, 1)
    before = model.weight.detach().clone()

    def watch(step):
        seen.append(step)
        weights.append(model.weight.detach().clone())

    train(model=model, steps=4, watch=watch)
    assert seen == [1, 2, 3, 4]
    assert not torch.equal(weights[0], before) and torch.equal(weights[-1], model.weight)


def test_the_learning_rate_rises_to_lr_in_a_tenth_of_the_steps_and_falls_to_its_last_share():
    """AdamW's first steps move a parameter by about the rate itself, when its gradient keeps its sign."""
    model = nn.Linear(1, 1, bias=False)
    places = [model.weight.item()]
    one = torch.ones(1, 1)
    fit(
        model,
        lambda generator: (one, one),
        lambda output, target: -output.sum(),
        steps=100,
        lr=0.5,
        seed=0,
        watch=lambda step: places.append(model.weight.item()),
    )
    rates = [after - before for before, after in zip(places, places[1:], strict=False)]
    assert max(rates) == pytest.approx(0.5, rel=1e-3)
    assert rates[:10] == pytest.approx([0.05 * (i + 1) for i in range(10)], rel=1e-3)
    assert all(later < earlier for earlier, later in zip(rates[10:], rates[11:], strict=False))
    assert rates[-1] == pytest.approx(0.5 / 90, rel=1e-2)


def test_weight_decay_shrinks_what_has_no_gradient():
    model = nn.Linear(3, 1, bias=False)
    before = model.weight.norm().item()
    train(model=model, steps=20, weight_decay=0.5, loss=lambda output, target: 0 * output.sum())
    assert model.weight.norm() < 0.9 * before


def spoilt():
    model = nn.Linear(3, 1)
    nn.init.constant_(model.bias, math.nan)
    return model


BAD = {
    ("steps", ValueError): (0, -1),
    ("steps", TypeError): (2.0, True, None, "3"),
    ("lr", ValueError): (0, -0.1, math.nan, math.inf, 10**400),
    ("lr", TypeError): (None, "0.1", True, torch.tensor(0.1)),
    ("weight_decay", ValueError): (-0.1, math.nan, math.inf),
    ("weight_decay", TypeError): (None, "0"),
    ("seed", ValueError): (2**64, -(2**64)),
    ("seed", TypeError): (0.0, None, True),
    ("model", TypeError): (nn.Linear, len, nn.ParameterList([torch.zeros(1) + 0j])),
    ("model", ValueError): (nn.Identity(), nn.Linear(3, 1).requires_grad_(False), spoilt()),
    ("batches", TypeError): (None, (X, Y), lambda g: X, lambda g: (X, Y, Y), lambda g: None),
    ("loss", TypeError): (None, "mse", lambda output, target: 1.0),
    ("loss", ValueError): (lambda output, target: output, lambda output, target: torch.tensor(1.0)),
    ("watch", TypeError): (3,),
    ("label", TypeError): (3,),
}


@pytest.mark.parametrize(
    "name, kind, value", [(*key, value) for key, values in BAD.items() for value in values]
)
def test_wrong_arguments_are_refused_by_name(name, kind, value):
    refuses(lambda: train(**{name: value}), kind, name)


class Hidden(nn.Module):
    """A parameter that the loss never shows, whose gradient is NaN all the same from some call on."""

    def __init__(self, fails_at: int):
        super().__init__()
        self.seen, self.hidden, self.calls, self.fails_at = (
            nn.Linear(3, 1),
            nn.Parameter(torch.ones(1)),
            0,
            fails_at,
        )
        self.hidden.register_hook(
            lambda gradient: gradient * (math.nan if self.calls >= self.fails_at else 1)
        )

    def forward(self, x):
        self.calls += 1
        return self.seen(x) + 0 * self.hidden.nan_to_num()


@pytest.mark.parametrize("fails_at, said", [(1, 16), (17, 32), (40, 40)])
def test_a_model_that_is_not_finite_is_never_returned(fails_at, said):
    message = refuses(lambda: train(model=Hidden(fails_at), steps=40), ValueError, "model")
    assert message == f"model: got hidden that is not finite after step {said}, expected finite numbers"


def test_a_nan_in_the_last_gradient_is_noticed():
    model, calls = nn.Linear(3, 1), []

    def poison(gradient):
        calls.append(1)
        return gradient * math.nan if len(calls) == 5 else gradient

    model.weight.register_hook(poison)
    assert "after step 5" in refuses(lambda: train(model=model, steps=5), ValueError, "model")


def test_a_loss_that_is_no_longer_finite_stops_at_its_step():
    calls = []

    def loss(output, target):
        calls.append(1)
        return mse_loss(output, target) * (math.nan if len(calls) == 3 else 1)

    assert "got nan at step 3, expected" in refuses(lambda: train(loss=loss), ValueError, "loss")


def test_an_attention_layer_that_diverges_does_not_go_on_in_silence():
    x = normal(10, 4, 3, dtype=torch.float32)
    model = SingleHeadAttention(3, 3)
    with pytest.raises(ValueError, match="finite|overflow"):
        fit(model, minibatches(x, x, 4), mse_loss, steps=100, lr=1e30, seed=0)


def test_minibatches_pair_inputs_with_their_targets():
    inputs = torch.arange(50.0)
    draw = minibatches(inputs, 2 * inputs, 200)
    x, y = draw(torch.Generator().manual_seed(0))
    assert x.shape == (200,) and torch.equal(y, 2 * x)
    assert x.unique().numel() > 40
    assert torch.equal(x, draw(torch.Generator().manual_seed(0))[0])


@pytest.mark.parametrize(
    "arguments, kind, name",
    [
        ((X, Y[:3], 4), ValueError, "targets"),
        ((X[:0], Y[:0], 4), ValueError, "targets"),
        ((X, Y, 0), ValueError, "size"),
        ((X, Y, 2.0), TypeError, "size"),
        ((X, Y, True), TypeError, "size"),
        ((X.numpy(), Y, 4), TypeError, "inputs"),
        ((X, Y.tolist(), 4), TypeError, "targets"),
        ((X, Y + 0j, 4), TypeError, "targets"),
        ((X, Y[0, 0], 4), ValueError, "targets"),
        ((X * math.nan, Y, 4), ValueError, "inputs"),
    ],
)
def test_minibatches_refuse_what_makes_no_batch(arguments, kind, name):
    refuses(lambda: minibatches(*arguments), kind, name)
