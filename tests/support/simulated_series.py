"""Series of 30 commits with known changes and Gaussian noise of standard deviation 1."""

import numpy as np

LENGTH = 30


def flat_series(generator: np.random.Generator, length: int = LENGTH) -> np.ndarray:
    """Return noise alone."""
    return generator.normal(size=length)


def step_series(generator: np.random.Generator, *, size: float, at: int) -> np.ndarray:
    """Return noise with another level from index `at` on."""
    return flat_series(generator) + size * (np.arange(LENGTH) >= at)


def ramp_series(generator: np.random.Generator, *, total: float, start: int, width: int) -> np.ndarray:
    """Return noise on a level that moves by `total` between `start` and `start + width`."""
    return flat_series(generator) + total * np.clip((np.arange(LENGTH) - start) / width, 0, 1)


def autocorrelated_series(generator: np.random.Generator, *, correlation: float) -> np.ndarray:
    """Return flat noise in which each value resembles the one before (autoregression of order 1)."""
    values = flat_series(generator)
    for index in range(1, LENGTH):
        values[index] = correlation * values[index - 1] + np.sqrt(1 - correlation**2) * values[index]
    return values
