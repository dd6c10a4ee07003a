"""One short training loop for the whole book."""

from collections.abc import Callable

import torch
from torch import nn
from tqdm import tqdm


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
        lr: the highest learning rate.
        seed: seed of the batches; the same seed gives the same training.
        weight_decay: AdamW's weight decay.
        watch: called after each step with its number, from 1; for recording what the model is like by then.
        label: what the progress bar says.

    Returns:
        The loss of each step, ``steps`` numbers.

    Raises:
        ValueError: steps below 1, or lr not above 0.
        FloatingPointError: the loss is no longer finite; the message names the step.

    Source: Loshchilov and Hutter 2019 (AdamW); Smith and Topin 2018 (one cycle).
    """
    if steps < 1:
        raise ValueError(f"steps: got {steps}, expected at least 1")
    if not lr > 0:
        raise ValueError(f"lr: got {lr}, expected a number above 0")
    generator = torch.Generator().manual_seed(seed)
    # fused: one pass over all parameters, which for small models is a tenth of the whole time
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    ramp = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (step + 1) / ramp if step < ramp else (steps - step) / max(1, steps - ramp)
    )
    history = []
    for step in tqdm(range(1, steps + 1), desc=label, leave=False):
        inputs, targets = batches(generator)
        value = loss(model(inputs), targets)
        if not torch.isfinite(value):
            raise FloatingPointError(f"loss: got {value.item()} at step {step}, expected a finite number")
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
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
        ValueError: the two have different numbers of examples, or none.
    """
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise ValueError(
            f"targets: got {len(targets)} examples, expected {len(inputs)}, as inputs, and at least 1"
        )

    def draw(generator: torch.Generator) -> tuple:
        index = torch.randint(len(inputs), (size,), generator=generator)
        return inputs[index], targets[index]

    return draw
