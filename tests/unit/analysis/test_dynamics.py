"""Late gains on curves of known shape."""

from __future__ import annotations

import numpy as np
import pytest
from hand_record import DELTA_E, SHARPNESS, curves
from scipy import stats as scipy_stats

from harness.analysis.dynamics import Dynamics, describe_dynamics
from tests.support.agreement import agrees

EPOCHS = np.arange(1, 13)


def seeds(shape: np.ndarray, count: int = 5, noise: float = 0.02) -> list[list[float]]:
    """Curves of one shape around their own level, with a little noise."""
    rng = np.random.default_rng(7)
    return [list(shape + level + rng.normal(0, noise, shape.size)) for level in rng.normal(0, 2, count)]


def describe(shape: np.ndarray, **rest: float) -> Dynamics:
    (found,) = describe_dynamics(curves({"mse": seeds(shape, **rest)}))  # type: ignore[arg-type]
    return found


def test_a_curve_that_still_falls_is_improving() -> None:
    found = describe(30.0 - EPOCHS)
    assert found.state == "improving"
    assert found.gain == pytest.approx(3.0, abs=0.05)  # a quarter is 3 epochs of 1 each
    assert (found.best_epoch, found.last_epoch, found.n) == (12, 12, 5)


def test_a_curve_that_rises_again_is_worsening_and_names_its_best_epoch() -> None:
    found = describe(np.abs(EPOCHS - 5.0) + 10)
    assert (found.state, found.best_epoch) == ("worsening", 5)


def test_a_flat_end_is_a_plateau_by_the_change_before_it() -> None:
    found = describe(10 + 20 * np.exp(-1.5 * EPOCHS.astype(float)))
    assert found.state == "plateaued"
    assert found.tolerance == pytest.approx(0.02 * 20 * np.exp(-1.5), rel=0.1)


def test_noise_is_neither_plateau_nor_improvement() -> None:
    assert describe(10.0 - 0.01 * EPOCHS, noise=1.0).state == "inconclusive"


def test_the_gain_is_that_of_a_paired_t_test_on_quarters() -> None:
    made = np.array(seeds(30.0 - EPOCHS))
    (found,) = describe_dynamics(curves({"mse": made.tolist()}))
    reference = scipy_stats.ttest_rel(made[:, 6:9].mean(axis=1), made[:, 9:].mean(axis=1))
    assert found.gain == agrees(np.mean(made[:, 6:9] - made[:, 9:]))
    assert found.p_adjusted == pytest.approx(reference.pvalue, rel=1e-10)


def test_higher_is_better_turns_the_sign() -> None:
    (found,) = describe_dynamics(curves({"mse": seeds(30.0 - EPOCHS)}, SHARPNESS))
    assert (found.state, found.best_epoch) == ("worsening", 1)


def test_short_or_few_curves_are_described() -> None:
    short, few = describe(np.array([3.0, 2.0, 1.0])), describe(30.0 - EPOCHS, count=2)
    assert (short.state, short.gain, short.best_epoch) == ("described", None, 3)
    assert (few.state, few.p_adjusted, few.n) == ("described", None, 2)


def test_trials_that_stopped_early_use_their_own_last_quarter() -> None:
    made = seeds(30.0 - EPOCHS)
    made[0] = made[0][:8]  # quarters of 2 epochs: gain 2 instead of 3
    (found,) = describe_dynamics(curves({"mse": made}))
    assert found.gain == pytest.approx((4 * 3 + 2) / 5, abs=0.05)
    assert (found.best_epoch, found.last_epoch) == (8, 12)


def test_a_variant_without_curves_is_still_listed() -> None:
    record = curves({"mse": seeds(30.0 - EPOCHS), "lab": []})
    empty = describe_dynamics(record)[1]
    assert (empty.variant, empty.n, empty.state, empty.best_epoch) == ("lab", 0, "described", None)


def test_variants_are_one_family() -> None:
    alone = describe_dynamics(curves({"mse": seeds(30.0 - EPOCHS)}))[0].p_adjusted
    flat = seeds(np.full(12, 10.0), noise=1.0)
    both = describe_dynamics(curves({"mse": seeds(30.0 - EPOCHS), "lab": flat}, DELTA_E))[0].p_adjusted
    assert alone is not None and both == agrees(2 * alone)
