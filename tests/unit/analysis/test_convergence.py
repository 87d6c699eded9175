"""Plateaus, smoothness and times to a quality on curves of known shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hand_record import DELTA_E, PSNR, curves
from scipy import stats as scipy_stats

from harness.analysis.convergence import (
    Convergence,
    backtracking,
    describe_convergence,
    plateau_epoch,
    turning_share,
)
from harness.analysis.curves import Curve, moment, noise_of, running_median
from harness.analysis.time_to_quality import TimeToQuality, time_to_quality
from harness.analysis.values import Replicate
from harness.errors import HarnessError
from tests.support.agreement import agrees

EPOCHS = np.arange(1, 31)


def curve(values: np.ndarray) -> Curve:
    return Curve(Replicate(0), "one", np.arange(1, len(values) + 1), np.asarray(values, float))


def described(*made: np.ndarray, training: np.ndarray | None = None) -> Convergence:
    losses = {"mse": [list(one if training is None else training) for one in made]}
    (found,) = describe_convergence(curves({"mse": [list(one) for one in made]}, training=losses))
    return found


# --- the plateau


@pytest.mark.parametrize("shrink", [0.5, 0.7, 0.8])
def test_the_plateau_of_an_exponential_is_where_two_percent_of_its_change_are_left(shrink: float) -> None:
    # What is left at epoch e is q^e - q^L, the whole change q - q^L: solved for e by hand.
    last = shrink ** EPOCHS[-1]
    exact = math.log(0.02 * (shrink - last) + last) / math.log(shrink)
    assert plateau_epoch(curve(10 + 20 * shrink**EPOCHS), -1.0) == math.ceil(exact)


def test_the_plateau_of_a_ramp_that_stops_is_where_it_stops() -> None:
    assert plateau_epoch(curve(np.minimum(EPOCHS, 12.0)), 1.0) == 12
    assert plateau_epoch(curve(np.minimum(EPOCHS, 12.0)), -1.0) == 1  # it only ever gets worse


def test_a_curve_that_gains_to_the_end_has_no_plateau() -> None:
    assert plateau_epoch(curve(-1.0 * EPOCHS), -1.0) is None
    assert plateau_epoch(curve(np.minimum(EPOCHS, 24.0)), 1.0) is None  # 6 epochs follow, a quarter is 7
    assert plateau_epoch(curve(np.minimum(EPOCHS, 23.0)), 1.0) == 23


def test_what_gets_worse_after_the_best_epoch_is_no_gain() -> None:
    found = plateau_epoch(curve(np.abs(EPOCHS - 10.0)), -1.0)
    assert found == 9  # the running median flattens the point at 10 to its neighbours


def test_three_epochs_have_no_plateau() -> None:
    assert plateau_epoch(curve(np.array([3.0, 1.0, 1.0])), -1.0) is None


def test_one_wild_epoch_does_not_move_the_plateau() -> None:
    calm = np.minimum(EPOCHS, 12.0)
    wild = calm.copy()
    wild[20] += 50
    assert plateau_epoch(curve(wild), 1.0) in (11, 12)


def test_noise_moves_the_plateau_by_a_few_epochs_and_hides_it_seldom() -> None:
    rng = np.random.default_rng(1)
    truth = np.minimum(EPOCHS, 12.0)
    found = [plateau_epoch(curve(truth + rng.normal(0, 0.5, EPOCHS.size)), 1.0) for _ in range(500)]
    there = [one for one in found if one is not None]
    assert len(there) > 470
    assert 11 <= np.mean(there) <= 15


def test_a_noisy_ramp_that_never_stops_has_no_plateau() -> None:
    rng = np.random.default_rng(2)
    found = [plateau_epoch(curve(EPOCHS + rng.normal(0, 1.0, EPOCHS.size)), 1.0) for _ in range(500)]
    assert sum(one is not None for one in found) < 10


def test_noise_is_measured_and_a_smooth_curve_has_none() -> None:
    rng = np.random.default_rng(3)
    assert noise_of(rng.normal(0, 2.0, 20_000)) == pytest.approx(2.0, rel=0.02)
    assert noise_of(10 * 0.8**EPOCHS) == 0
    assert noise_of(np.array([1.0, 5.0])) == 0


def test_a_running_median_leaves_gains_that_shrink_and_drops_two_wild_points() -> None:
    falling = 0.8 ** EPOCHS.astype(float)
    assert running_median(falling) == agrees(falling)
    assert running_median(np.array([0.0, 0, 9, 9, 0, 0, 0])) == agrees(np.zeros(7))
    assert running_median(np.array([0.0, 0, 0, 0, 7])) == agrees(np.zeros(5))  # a wild last epoch


def test_plateau_and_best_epoch_are_told_over_seeds() -> None:
    ends = (10, 12, 15)
    found = described(*(40 - np.minimum(EPOCHS, end) for end in ends))
    assert found.plateau.at == ends
    assert (found.plateau.reached, found.plateau.median) == (3, 12)
    low, high = scipy_stats.t.interval(0.95, 2, np.mean(ends), scipy_stats.sem(ends))
    assert (found.plateau.mean, found.plateau.low, found.plateau.high) == agrees((np.mean(ends), low, high))
    assert found.best.at == ends
    assert (found.trials, found.last_epoch) == (("mse-10", "mse-11", "mse-12"), 30)


def test_a_seed_without_a_plateau_counts_as_later_than_all_and_leaves_no_mean() -> None:
    found = described(*(40 - np.minimum(EPOCHS, end) for end in (10, 12, 30))).plateau
    assert (found.at, found.reached, found.median, found.mean, found.low) == (
        (10, 12, None),
        2,
        12,
        None,
        None,
    )
    most = described(*(40 - np.minimum(EPOCHS, end) for end in (10, 30, 30))).plateau
    assert (most.reached, most.median) == (1, None)


def test_the_same_epoch_in_every_seed_has_no_interval() -> None:
    found = moment([5, 5, 5], [Replicate(seed) for seed in range(3)], None)
    assert (found.median, found.mean, found.low, found.high) == (5, 5, None, None)


def test_folds_are_averaged_over_seeds_and_corrected() -> None:
    replicates = [Replicate(seed, fold) for seed in (0, 1) for fold in range(3)]
    found = moment([4, 6, 8, 6, 8, 10], replicates, 3)
    half = scipy_stats.t.ppf(0.975, 2) * 2 * math.sqrt(1 / 3 + 1 / 2)  # Nadeau and Bengio: folds 5, 7, 9
    assert (found.mean, found.low, found.high) == agrees((7, 7 - half, 7 + half))


def test_the_validation_loss_has_a_plateau_too() -> None:
    record = curves({"mse": [[1.0] * 30]}, PSNR, losses={"mse": [list(40 - np.minimum(EPOCHS, 11.0))]})
    (found,) = describe_convergence(record, "loss")
    assert (found.metric, found.plateau.at) == ("loss", (11,))
    with pytest.raises(HarnessError, match="no metric 'psmr'"):
        describe_convergence(record, "psmr")


def test_a_variant_without_curves_is_listed_with_nothing() -> None:
    found = describe_convergence(curves({"mse": [[2.0, 1.0]], "lab": []}))[1]
    assert (found.variant, found.n, found.last_epoch) == ("lab", 0, None)
    assert (found.plateau.n, found.plateau.median, found.oscillation.backtracking) == (0, None, None)


# --- smoothness


def test_backtracking_is_the_share_of_movement_that_goes_up() -> None:
    assert backtracking(np.array([5.0, 4, 3])) == 0
    assert backtracking(np.array([5.0, 3, 4, 1])) == agrees(1 / 6)
    assert backtracking(np.array([1.0, 2, 1])) == 0.5
    assert backtracking(np.array([1.0, 2, 3])) == 1


def test_turning_points_are_counted() -> None:
    assert turning_share(np.array([5.0, 4, 3, 2])) == 0
    assert turning_share(np.array([5.0, 1, 3, 2])) == 1
    noise = np.random.default_rng(4).normal(size=100_000)
    assert turning_share(noise) == pytest.approx(2 / 3, abs=0.01)


def test_the_smoothness_is_that_of_the_training_loss_over_seeds() -> None:
    flat = np.ones(4)
    losses = {"mse": [[5.0, 3, 4, 1], [5.0, 4, 3, 2], [2.0, 2, 2, 2]]}  # the last never moves
    (found,) = describe_convergence(curves({"mse": [list(flat)] * 3}, training=losses))
    assert found.oscillation.n == 2
    assert found.oscillation.backtracking == agrees(1 / 12)
    assert found.oscillation.turning_share == agrees(0.5)
    assert found.oscillation.low == 0  # the interval ends where the measure does


# --- time to a quality


def timed(by_variant: dict[str, list[list[float]]], **rest: object) -> list[TimeToQuality]:
    return time_to_quality(curves(by_variant, DELTA_E, epoch_seconds=(2.0, 3.0, 4.0)), **rest)  # type: ignore[arg-type]


def test_the_target_is_the_final_mean_of_the_reference() -> None:
    falling = [[9.0, 6.0, 4.0], [9.0, 5.0, 3.0], [9.0, 7.0, 5.0]]
    quicker = [[4.0, 4.0, 4.0], [9.0, 4.0, 9.0], [9.0, 4.5, 3.0]]
    reference, other = timed({"mse": falling, "lab": quicker})
    assert (reference.target, reference.target_of) == (4.0, "mse")
    assert (reference.epochs.at, reference.reached, reference.epochs.median) == ((3, 3, None), 2, 3)
    assert other.epochs.at == (1, 2, 3)
    assert other.seconds.at == (2, 6, 12)  # 2, 3 and 4 seconds an epoch
    assert (other.n, other.seconds.median, other.seconds.mean) == (3, 6, agrees(20 / 3))


def test_a_target_may_be_given_and_is_reached_by_equality() -> None:
    (found,) = timed({"mse": [[9.0, 5.0], [9.0, 5.5], [9.0, 8.0]]}, target=5.0)
    assert (found.target, found.target_of, found.epochs.at) == (5.0, None, (2, None, None))
    assert (found.reached, found.epochs.median, found.seconds.reached) == (1, None, 1)


def test_where_higher_is_better_the_curve_has_to_rise_to_it() -> None:
    record = curves({"mse": [[10.0, 20.0, 30.0]]}, PSNR, epoch_seconds=(2.0,))
    (found,) = time_to_quality(record, target=15.0)
    assert (found.epochs.at, found.seconds.at) == ((2,), (4,))


def test_times_of_resumed_trials_are_left_out_and_their_epochs_kept() -> None:
    record = curves({"mse": [[9.0, 1.0], [9.0, 1.0]]}, epoch_seconds=(2.0, 3.0))
    record.trials.loc[1, "resumed_from"] = 1
    (found,) = time_to_quality(record, target=1.0)
    assert (found.epochs.at, found.seconds.at) == ((2, 2), (4,))


def test_without_recorded_times_there_are_epochs_alone() -> None:
    (found,) = time_to_quality(curves({"mse": [[9.0, 1.0]]}), target=1.0)
    assert (found.epochs.at, found.seconds.n, found.seconds.median) == ((2,), 0, None)


def test_a_reference_without_values_gives_no_target() -> None:
    reference, other = time_to_quality(curves({"mse": [], "lab": [[2.0, 1.0]]}))
    assert (reference.target, other.target, other.epochs.at, other.reached) == (None, None, (None,), 0)
