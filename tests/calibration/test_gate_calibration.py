"""False alarms and power of the gate, by runs of the baseline, seeds and noise between commits."""

import numpy as np
import pytest

from tests.support.gate_simulation import simulated

RATIOS = (0.25, 0.5, 1.0)
"""Standard deviation between commits over that between seeds."""


@pytest.mark.parametrize("runs", [1, 3, 5, 7, 10, 20])
@pytest.mark.parametrize("seeds", [3, 5])
def test_false_alarms_are_at_most_two_percent(runs, seeds):
    random = np.random.default_rng(100 * runs + seeds)
    for ratio in RATIOS:
        for family, gates in ((1, 10_000), (8, 5_000)):
            alarms = simulated(runs, seeds, ratio=ratio, family=family, gates=gates, random=random)
            print(f"{runs} runs, {seeds} seeds, ratio {ratio}, family {family}: {100 * alarms / gates:.2f} %")
            assert alarms / gates <= 0.02


@pytest.mark.parametrize("runs", [5, 10, 20])
@pytest.mark.parametrize("shared", [0.5, 0.8])
def test_seeds_that_share_their_noise_between_runs_raise_no_more_false_alarms(runs, shared):
    random = np.random.default_rng(runs)
    for ratio in RATIOS:
        alarms = simulated(runs, 3, ratio=ratio, family=1, gates=5_000, random=random, shared=shared)
        print(f"{runs} runs, shared {shared}, ratio {ratio}: {alarms / 50:.2f} %")
        assert alarms / 5_000 <= 0.025  # beyond the range that is promised: commits move more than the noise


@pytest.mark.parametrize("runs", [1, 3, 5, 7, 10, 20])
@pytest.mark.parametrize("seeds", [3, 5])
def test_a_drop_of_four_sigma_is_found(runs, seeds):
    random = np.random.default_rng(1000 * runs + seeds)
    for ratio in RATIOS:
        found = simulated(runs, seeds, ratio=ratio, family=1, gates=6_000, random=random, drop=4.0)
        print(f"{runs} runs, {seeds} seeds, ratio {ratio}: {found / 60:.1f} % found")
        assert runs < 20 or found / 6_000 >= 0.9
