"""Simulated gates: runs of one level, and how often the gate calls the next one regressed."""

from __future__ import annotations

import numpy as np

from harness.analysis.stats import holm
from harness.tracking.gate.model import ALPHA_GATE
from harness.tracking.gate.prediction import predict


def simulated(
    runs: int,
    seeds: int,
    *,
    ratio: float,
    family: int,
    gates: int,
    random: np.random.Generator,
    drop: float = 0.0,
    shared: float = 0.0,
) -> int:
    """Return how many gates call something regressed, or with a drop find the one that dropped.

    Args:
        runs: of the baseline.
        seeds: of a run.
        ratio: standard deviation of commits over that between seeds, which is 1.
        family: comparisons of one gate.
        gates: how many.
        random: where all noise comes from.
        drop: of the first comparison, in standard deviations of a run's mean from commit to commit.
        shared: share of the seeds' variance that is the same in every run.
    """
    found = 0
    for _ in range(gates):
        commits = random.normal(size=(family, runs + 1, 1)) * ratio
        noise = random.normal(size=(family, runs + 1, seeds)) * np.sqrt(1 - shared)
        values = commits + noise + random.normal(size=(family, 1, seeds)) * np.sqrt(shared)
        values[0, -1] -= drop * np.sqrt(ratio**2 + (1 - shared) / seeds)
        adjusted = holm([_p(one) for one in values])
        smallest = adjusted[0] if drop else min(p for p in adjusted if p is not None)
        found += smallest is not None and smallest < ALPHA_GATE
    return found


def _p(values: np.ndarray) -> float:
    found = predict(values[:-1], values[-1])
    assert found is not None
    return found.below(values[-1].mean())
