"""Overfitting found where it is, and not where the lowest point of noise is taken for an onset."""

from __future__ import annotations

import numpy as np
import pytest
from hand_record import curves
from scipy import stats as scipy_stats

from harness.analysis.overfitting import Overfitting, find_overfitting
from tests.support.agreement import agrees

EPOCHS = np.arange(1, 41)
FALLING = 5 * np.exp(-EPOCHS / 10)
RISES_AFTER_20 = 5 * np.exp(-EPOCHS / 4) + 0.1 * np.clip(EPOCHS - 20, 0, None)


def seeds(shape: np.ndarray, noise: float, seed: int, count: int = 5) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [list(shape + level + rng.normal(0, noise, shape.size)) for level in rng.normal(0, 1, count)]


def found(validation: list[list[float]], training: list[list[float]]) -> Overfitting:
    (one,) = find_overfitting(
        curves({"mse": validation}, losses={"mse": validation}, training={"mse": training})
    )
    return one


def test_a_loss_that_rises_while_training_falls_overfits_from_its_lowest_epoch() -> None:
    one = found(seeds(RISES_AFTER_20, 0.1, 1), seeds(FALLING, 0.02, 2))
    assert one.state == "overfits"
    assert one.onset in range(17, 24)
    assert one.low is not None and one.high is not None and one.low <= 20 <= one.high + 2
    assert one.p_adjusted is not None and one.p_adjusted < 0.001
    assert (one.n, one.trials[0]) == (5, "mse-10")


def test_the_rise_is_that_of_windows_chosen_by_the_other_seeds() -> None:
    # Two seeds are lowest at epoch 3 and one at 6 (of 8, a quarter is 2): each is cut where the mean of
    # the other two is lowest, one epoch before and at that place.
    early = np.array([9.0, 6, 1, 6, 6, 6, 7, 7])
    late = np.array([9.0, 8, 8, 7, 6, 1, 7, 7])
    calm = np.array([9.0, 5, 4, 3, 2, 1, 8, 9])
    validation = [early, late, calm]
    smooth = [np.mean([one for one in validation if one is not own], axis=0) for own in validation]
    medians = [[_running(one, place) for place in range(7)] for one in smooth]
    starts = [min(max(int(np.argmin(one)) - 1, 0), 4) for one in medians]
    rises = [
        own[-2:].mean() - own[start : start + 2].mean() for own, start in zip(validation, starts, strict=True)
    ]
    training = [np.arange(8.0, 0, -1)] * 3
    one = found([list(v) for v in validation], [list(v) for v in training])
    assert one.rise == agrees(np.mean(rises))
    low, high = scipy_stats.t.interval(0.95, 2, np.mean(rises), scipy_stats.sem(rises))
    assert (one.rise_low, one.rise_high) == agrees((low, high))


def _running(values: np.ndarray, place: int) -> float:
    reach = min(2, place, len(values) - 1 - place)
    return float(np.median(values[place - reach : place + reach + 1]))


def test_a_rise_of_both_losses_is_not_overfitting() -> None:
    one = found(seeds(RISES_AFTER_20, 0.02, 1), seeds(RISES_AFTER_20, 0.02, 2))
    assert (one.state, one.onset, one.p_adjusted) == ("not detected", None, 1.0)
    assert one.rise is not None and one.rise > 1


def test_a_loss_that_falls_to_the_end_does_not_overfit() -> None:
    assert found(seeds(FALLING, 0.02, 1), seeds(FALLING, 0.02, 2)).state == "not detected"


def test_two_seeds_are_described() -> None:
    one = found(seeds(RISES_AFTER_20, 0.02, 1, 2), seeds(FALLING, 0.02, 2, 2))
    assert (one.state, one.onset, one.p_adjusted, one.rise) == ("described", None, None, None)


def test_three_epochs_and_no_losses_are_described() -> None:
    short = [[3.0, 1, 2]] * 3
    assert found(short, short).state == "described"
    (bare,) = find_overfitting(curves({"mse": [[3.0, 2, 1, 1]] * 3}))
    assert (bare.state, bare.n, bare.trials) == ("described", 0, ())


def test_trials_of_different_length_are_compared_on_the_epochs_of_all() -> None:
    validation, training = seeds(RISES_AFTER_20, 0.02, 1), seeds(FALLING, 0.02, 2)
    validation[0], training[0] = validation[0][:32], training[0][:32]
    whole = found([one[:32] for one in validation], [one[:32] for one in training])
    assert found(validation, training) == whole


def test_variants_are_one_family() -> None:
    validation, training = seeds(RISES_AFTER_20, 0.3, 1), seeds(FALLING, 0.02, 2)
    alone = found(validation, training).p_adjusted
    flat = seeds(np.zeros(40), 1.0, 3)
    given = {"mse": validation, "lab": flat}
    both = find_overfitting(curves(given, losses=given, training={"mse": training, "lab": training}))
    assert alone is not None and both[0].p_adjusted == agrees(2 * alone)


@pytest.mark.parametrize(("kind", "rounds"), [("white", 200), ("drifting", 60)])
def test_flat_noisy_curves_are_called_overfitting_in_at_most_five_percent(kind: str, rounds: int) -> None:
    """With the lowest epoch of each seed's own curve 19 % of the white ones would be."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(rounds):
        noise = rng.normal(0, 1, (5, 20))
        validation = noise.cumsum(axis=1) if kind == "drifting" else noise
        wrong += found(validation.tolist(), seeds(FALLING[:20], 0.01, 2)).state == "overfits"
    assert wrong <= scipy_stats.binom.isf(0.001, rounds, 0.05)
