"""dynattn: what the chapters of "Attention, the layer that writes its own weights" share.

One module per idea, in the order in which the chapters need them: :mod:`dynattn.static` (weights that are
learned), :mod:`dynattn.attention` (weights that are computed), :mod:`dynattn.anatomy` (instruments for looking
into a layer), :mod:`dynattn.mixers` (what could stand in attention's place), :mod:`dynattn.transformer` (layers made
into models), :mod:`dynattn.corpora` and :mod:`dynattn.pretrained` (real text, a real model), and the leaves that every
chapter uses: tasks, training, claims, exercises, figures.
"""

import os

__version__ = "0.1.0"


def seed() -> int:
    """Return the seed of this run: the environment variable ``DYNATTN_SEED``, or 0.

    Every chapter draws all its random numbers from this one seed, and must hold for any value of it.

    Returns:
        A non-negative integer.

    Raises:
        ValueError: ``DYNATTN_SEED`` is set to something that is not a non-negative integer.
    """
    value = os.environ.get("DYNATTN_SEED", "0")
    if not value.isdecimal():
        raise ValueError(f"DYNATTN_SEED: got {value!r}, expected a non-negative integer such as 0")
    return int(value)


from dynattn.claims import claim  # noqa: E402  (these two import nothing of the package's own layers)
from dynattn.exercises import check  # noqa: E402

__all__ = ["check", "claim", "seed"]
