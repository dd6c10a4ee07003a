"""One short training loop for the whole book."""

from collections.abc import Callable

import torch
from torch import nn
from tqdm import tqdm

from dynattn._checks import (
    require_callable,
    require_finite,
    require_finite_parameters,
    require_int,
    require_kind,
    require_loss,
    require_number,
    require_pair,
    require_trainable,
)


def fit(
    model: nn.Module,
    batches: Callable[[torch.Generator], tuple],
    loss: Callable,
    *,
    steps: int,
    lr: float,
    seed: int,
    weight_decay: float = 0.0,
    watch: Callable[[int], None] | None = None,
    label: str = "training",
) -> list[float]:
    """Train a model by AdamW, the learning rate rising for a tenth of the steps and then falling to 0 (one cycle).

    Args:
        model: any module; trained in place.
        batches: called once a step with a seeded generator; returns (inputs, targets).
        loss: called as ``loss(model(inputs), targets)``; returns a scalar tensor.
        steps: number of gradient steps.
        lr: the highest learning rate, above 0.
        seed: seed of the batches; the same seed gives the same training.
        weight_decay: AdamW's weight decay, at least 0.
        watch: called after each step with its number, from 1; for recording what the model is like by then.
        label: what the progress bar says.

    Returns:
        The loss of each step, ``steps`` numbers.

    Raises:
        TypeError: an argument of another kind, batches that are not a pair, or a loss that is not a tensor.
        ValueError: a number out of its range, a model without parameters to train, or a loss that is not one number
            that depends on them. Or the training went wrong: the loss or a parameter is no longer finite. The message
            names the step; nothing that is not finite is returned.

    Source: Loshchilov and Hutter 2019 (AdamW); Smith and Topin 2018 (one cycle).
    """
    require_kind("model", model, nn.Module, "a torch.nn.Module")
    require_callable("batches", batches, "a function of a generator that returns (inputs, targets)")
    require_callable("loss", loss, "a function of outputs and targets")
    require_int("steps", steps, at_least=1)
    require_number("lr", lr, above=0)
    require_int("seed", seed, at_least=-(2**63), at_most=2**64 - 1)
    require_number("weight_decay", weight_decay, at_least=0)
    if watch is not None:
        require_callable("watch", watch, "a function of a step's number, or None")
    require_kind("label", label, str, "a str")
    require_trainable(model)
    generator = torch.Generator().manual_seed(int(seed))
    # fused: one pass over all parameters, which for small models is a tenth of the whole time
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=float(lr), weight_decay=float(weight_decay), fused=True
    )
    ramp = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (step + 1) / ramp if step < ramp else (steps - step) / max(1, steps - ramp)
    )
    history = []
    for step in tqdm(range(1, steps + 1), desc=label, leave=False):
        inputs, targets = require_pair(batches(generator))
        value = loss(model(inputs), targets)
        require_loss(value, step)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        # The loss tells of most that goes wrong, one step later. This finds the rest, now and then and at the end.
        if step % 16 == 0 or step == steps:
            require_finite_parameters(model, step)
        history.append(value.item())
        if watch:
            watch(step)
    return history


def minibatches(inputs, targets, size: int) -> Callable[[torch.Generator], tuple]:
    """For :func:`fit`: draw ``size`` examples at a time, with replacement, from a fixed training set.

    Args:
        inputs, targets: tensors with the same first dimension, one entry an example.
        size: examples a batch.

    Raises:
        TypeError: inputs or targets is not a tensor of real numbers, or size is not an int.
        ValueError: the two have different numbers of examples, or none, or a number that is not finite; size below 1.
    """
    for name, examples in {"inputs": inputs, "targets": targets}.items():
        require_kind(name, examples, torch.Tensor, "a torch.Tensor")
        if examples.is_complex():
            raise TypeError(f"{name}: got dtype {examples.dtype}, expected real numbers")
        if examples.dim() == 0:
            raise ValueError(f"{name}: got shape (), expected one entry an example")
    require_finite(inputs=inputs, targets=targets)
    require_int("size", size, at_least=1)
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise ValueError(
            f"targets: got {len(targets)} examples, expected {len(inputs)}, as inputs, and at least 1"
        )

    def draw(generator: torch.Generator) -> tuple:
        index = torch.randint(len(inputs), (size,), generator=generator)
        return inputs[index], targets[index]

    return draw
