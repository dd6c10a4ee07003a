"""The seed of a run, from which every chapter draws all its random numbers."""

import os


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
