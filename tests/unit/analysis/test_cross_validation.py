"""Cross-validation: values paired by seed and fold, and statistics that know that training sets overlap."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hand_record import DELTA_E, HandRecord, build, claim
from scipy import stats as scipy_stats

from harness.analysis.claims import judge_claims
from harness.analysis.costs import compare_costs
from harness.analysis.dynamics import describe_dynamics
from harness.analysis.effects import best_variant, compare_all, summarise, unbeaten
from harness.analysis.observations import observations
from harness.analysis.stats import (
    beyond,
    detectable_effect,
    mean_interval,
    paired_difference,
    power,
    tost,
)
from harness.analysis.values import by_label, final_values, missing, replicate_table
from tests.support.agreement import agrees

MSE = [21.0, 22.5, 20.0, 23.0, 21.5]
SSIM = [21.2, 22.4, 20.1, 23.2, 21.3]
LAB = [11.1, 12.2, 10.3, 12.9, 11.5]
FIVE_FOLDS = {"delta_e": {"mse": MSE, "ssim": SSIM, "lab": LAB}}
# Two seeds of three folds, seed by seed.
SIX = {
    "delta_e": {
        "mse": [20.0, 21.0, 22.0, 20.5, 21.4, 22.3],
        "lab": [8.0, 9.5, 10.0, 8.3, 9.6, 10.9],
    }
}


def by_hand(differences: np.ndarray, folds: int) -> tuple[float, float, float]:
    """Nadeau and Bengio (2003) as printed: p of the corrected resampled t test, and its interval."""
    n = len(differences)
    variance = np.var(differences, ddof=1)
    error = math.sqrt((1 / n + 1 / (folds - 1)) * variance)
    t = np.mean(differences) / error
    half = scipy_stats.t.ppf(0.975, n - 1) * error
    p = 2 * scipy_stats.t.sf(abs(t), n - 1)
    return float(p), float(np.mean(differences) - half), float(np.mean(differences) + half)


# --- values


def test_trials_of_several_folds_do_not_collide() -> None:
    found = final_values(build(SIX, folds=3), "delta_e")
    assert list(found.itertuples(index=False, name=None))[:4] == [
        ("mse", 10, 0, "mse-10-0", 2, 20.0),
        ("mse", 10, 1, "mse-10-1", 2, 21.0),
        ("mse", 10, 2, "mse-10-2", 2, 22.0),
        ("mse", 11, 0, "mse-11-0", 2, 20.5),
    ]
    assert len(found) == 12


def test_pairs_share_seed_and_fold() -> None:
    status = {("mse", 10, 1): "failed", ("lab", 11, 2): "lost"}
    pair = replicate_table(build(SIX, folds=3, status=status), "delta_e").pair("lab", "mse")
    assert pair.replicates == ((10, 0), (10, 2), (11, 0), (11, 1))
    assert (list(pair.a), list(pair.b)) == ([8.0, 10.0, 8.3, 9.6], [20.0, 22.0, 20.5, 21.4])
    of, versus = pair.samples
    assert list(of) == agrees([(8.0 + 8.3) / 2, 9.6, 10.0])
    assert list(versus) == agrees([(20.0 + 20.5) / 2, 21.4, 22.0])


def test_what_is_missing_names_its_fold() -> None:
    (absent,) = missing(build(SIX, folds=3, status={("mse", 11, 2): "absent"}))
    assert (absent.variant, absent.seed, absent.fold, absent.reason) == ("mse", 11, 2, "not run")


def test_labels_are_means_over_seeds_and_folds() -> None:
    labelled = {**SIX, "delta_e@colour=red": {"mse": [1.0, 2, 3, 4, 5, 6], "lab": [1.0] * 6}}
    found = by_label(build(labelled, folds=3), "delta_e")
    assert list(found.itertuples(index=False, name=None)) == [("mse", "red", 3.5, 6), ("lab", "red", 1.0, 6)]


# --- the corrected test


@pytest.mark.parametrize("folds", [3, 5, 10])
def test_interval_and_p_are_those_of_nadeau_and_bengio(folds: int) -> None:
    rng = np.random.default_rng(folds)
    a, b = rng.normal(0.8, 1, folds), rng.normal(0, 1, folds)
    found, (p, low, high) = paired_difference(a, b, folds=folds), by_hand(a - b, folds)
    assert (found.p, found.low, found.high) == pytest.approx((p, low, high), rel=1e-10)
    alone = mean_interval(a, folds=folds)
    assert (alone.low, alone.high) == pytest.approx(by_hand(a, folds)[1:], rel=1e-10)


def test_a_fold_that_failed_leaves_the_share_of_test_images_as_it_is() -> None:
    found = paired_difference(LAB[:4], MSE[:4], folds=5)
    assert found.p == pytest.approx(by_hand(np.subtract(LAB[:4], MSE[:4]), 5)[0], rel=1e-10)


def test_equivalence_and_its_opposite_use_the_same_error() -> None:
    d = np.subtract(SSIM, MSE)
    error = math.sqrt((1 / 5 + 1 / 4) * np.var(d, ddof=1))
    within = max(
        scipy_stats.t.sf((d.mean() + 0.3) / error, 4), scipy_stats.t.cdf((d.mean() - 0.3) / error, 4)
    )
    assert tost(d, 0.3, folds=5) == pytest.approx(within, rel=1e-10)
    above = min(1.0, 2 * scipy_stats.t.sf((d.mean() - 0.01) / error, 4))
    assert beyond(d, 0.01, folds=5) == pytest.approx(above, rel=1e-10)


def test_the_detectable_difference_is_found_with_eighty_per_cent_power() -> None:
    # With correlation 1/k between folds the corrected t is a noncentral t: drawn here, not computed.
    rng, k = np.random.default_rng(23), 5
    shared, own = rng.normal(size=(4000, 1)), rng.normal(size=(4000, k))
    true = detectable_effect(k, folds=k) * math.sqrt(1 - 1 / k)
    values = true + math.sqrt(1 / k) * shared + math.sqrt(1 - 1 / k) * own
    error = np.sqrt((1 / k + 1 / (k - 1)) * values.var(axis=1, ddof=1))
    hits = np.count_nonzero(np.abs(values.mean(axis=1) / error) > scipy_stats.t.isf(0.025, k - 1))
    low, high = scipy_stats.binom.interval(0.999, 4000, 0.8)
    assert low <= hits <= high
    assert power(detectable_effect(k, folds=k), k, folds=k) == pytest.approx(0.8, abs=1e-9)


def test_what_is_not_known_with_folds_is_left_out() -> None:
    found = paired_difference(LAB, MSE, folds=5)
    assert (found.p_exact, found.p_floor, found.seeds_needed) == (None, None, None)


def test_the_same_difference_in_every_fold_is_never_significant() -> None:
    found = paired_difference(np.arange(10.0), np.arange(10.0) + 1, folds=10)
    assert (found.p, found.low, found.mde) == (1.0, None, None)
    assert tost(np.zeros(10), 1.0, folds=10) == beyond(np.full(10, 3.0), 1.0, folds=10) == 1.0


# --- error rates under the null


def rejections(differences: np.ndarray, folds: int | None) -> int:
    """How often samples, shape (repeats, values), are called different."""
    zero = np.zeros(differences.shape[1])
    found = [paired_difference(row, zero, folds=folds).p for row in differences]
    return sum(p is not None and p < 0.05 for p in found)


@pytest.mark.parametrize("k", [3, 5, 10])
def test_correlated_folds_are_told_apart_as_often_as_stated(k: int) -> None:
    rng = np.random.default_rng(k)
    shared, own = rng.normal(size=(2000, 1)), rng.normal(size=(2000, k))
    null = math.sqrt(1 / k) * shared + math.sqrt(1 - 1 / k) * own
    low, high = scipy_stats.binom.interval(0.999, 2000, 0.05)
    assert low <= rejections(null, k) <= high
    # Without the correction the error is too small by this factor: 11 %, 14 % and 16 % are rejected.
    factor = math.sqrt((1 / k + 1 / (k - 1)) / (1 / k))
    rate = 2 * scipy_stats.t.sf(scipy_stats.t.isf(0.025, k - 1) / factor, k - 1)
    assert rate > 0.11
    low, high = scipy_stats.binom.interval(0.999, 2000, rate)
    assert low <= rejections(null, None) <= high


def null_difference(
    rng: np.random.Generator, k: int, seeds: int, fit: Callable[..., np.ndarray]
) -> np.ndarray:
    """Differences of two equally good learners in a real cross-validation, shape (seeds, k)."""
    x = rng.normal(size=(60, 10))
    y = x.sum(axis=1) / 3 + rng.normal(0, 0.5, 60)
    parts = np.array_split(rng.permutation(60), k)
    found = np.empty((seeds, k))
    for seed in range(seeds):
        for fold, part in enumerate(parts):
            trained = np.ones(60, bool)
            trained[part] = False
            errors = [
                np.mean((side[part] @ fit(rng, side[trained], y[trained]) - y[part]) ** 2)
                for side in (x[:, :5], x[:, 5:])
            ]
            found[seed, fold] = errors[0] - errors[1]
    return found


def least_squares(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights of a fit that every seed ends at a little elsewhere."""
    return np.linalg.solve(x.T @ x, x.T @ y) + rng.normal(0, 0.05, x.shape[1])


@pytest.mark.parametrize(("k", "seeds"), [(3, 5), (5, 3)])
def test_learners_that_are_equally_good_are_rarely_told_apart(k: int, seeds: int) -> None:
    rng = np.random.default_rng(k)
    null = np.array([null_difference(rng, k, seeds, least_squares) for _ in range(300)])
    corrected = rejections(null.mean(axis=1), k)
    naive = rejections(null.reshape(300, -1), None)
    assert corrected <= scipy_stats.binom.interval(0.999, 300, 0.05)[1]
    assert naive > 0.2 * 300, "folds and seeds taken for independent"


# --- verdicts and sentences


def sentence(record: HandRecord, variant: str) -> str:
    return next(one.sentence for one in observations(record, variant) if one.theme == "colour")


def test_one_seed_of_five_folds_is_judged() -> None:
    record = build(FIVE_FOLDS, folds=5)
    found = next(one for one in compare_all(record, "delta_e") if (one.of, one.versus) == ("lab", "mse"))
    p, low, high = by_hand(np.subtract(LAB, MSE), 5)
    assert (found.p, found.low, found.high) == pytest.approx((p, low, high), rel=1e-10)
    assert (found.n, found.folds, found.verdict) == (5, 5, "better")
    assert found.replicates == ((10, 0), (10, 1), (10, 2), (10, 3), (10, 4))
    assert unbeaten(record, "delta_e") == {"lab"}
    best = best_variant(record)
    assert best is not None and best.ahead_of_all


def test_several_seeds_are_averaged_by_fold_before_they_are_judged() -> None:
    found = compare_all(build(SIX, folds=3), "delta_e")[0]
    d = np.reshape(SIX["delta_e"]["lab"], (2, 3)) - np.reshape(SIX["delta_e"]["mse"], (2, 3))
    p, low, high = by_hand(d.mean(axis=0), 3)
    assert (found.p, found.low, found.high) == pytest.approx((p, low, high), rel=1e-10)
    assert found.n == 6
    assert found.difference == agrees(d.mean())
    assert found.mean_of == agrees(np.mean(SIX["delta_e"]["lab"]))


def test_two_folds_are_described_however_many_seeds() -> None:
    record = build({"delta_e": {"mse": MSE[:4] * 2, "lab": LAB[:4] * 2}}, folds=2)
    found = compare_all(record, "delta_e")[0]
    assert (found.n, found.verdict) == (8, "described")
    assert sentence(record, "lab").endswith("against MSE: 2 paired folds, described and not judged.")


def test_a_corrected_interval_is_wider_than_that_of_as_many_seeds() -> None:
    folds, seeds = (summarise(build(FIVE_FOLDS, folds=k), "delta_e")[0] for k in (5, None))
    assert folds.mean == seeds.mean
    assert folds.high is not None and seeds.high is not None and folds.mean is not None
    # sqrt((1/5 + 1/4) / (1/5)) = 1.5
    assert folds.high - folds.mean == agrees(1.5 * (seeds.high - seeds.mean))


def test_sentences_say_folds_and_seeds() -> None:
    record = build(FIVE_FOLDS, folds=5, claims=[claim("delta_e", "lab", "mse", "better")])
    assert sentence(record, "mse").endswith("], 5 folds x 1 seed.")
    (answer,) = judge_claims(record)
    # Differences of mean -10 and sd sqrt(0.05): half width 2.776 * sqrt(0.45 * 0.05) = 0.416.
    assert answer.reason == "ΔE −10.0 [−10.4, −9.6], 5 folds x 1 seed, p < 0.0001 (Holm)"
    assert (answer.n, answer.verdict) == (5, "confirmed")


def test_a_grid_with_holes_says_how_many_trials_there_are() -> None:
    record = build(
        SIX,
        folds=3,
        status={("lab", 10, 1): "failed"},
        claims=[claim("delta_e", "lab", "mse", "better")],
    )
    (answer,) = judge_claims(record)
    assert ", 5 folds over 2 seeds, " in answer.reason


def test_an_open_claim_with_folds_names_no_number_of_seeds() -> None:
    record = build(FIVE_FOLDS, folds=5, claims=[claim("delta_e", "ssim", "mse", "better")])
    (answer,) = judge_claims(record)
    assert (answer.verdict, answer.seeds_needed) == ("inconclusive", None)
    assert "could have seen" in answer.reason and "would settle it" not in answer.reason


def test_too_few_folds_say_so() -> None:
    record = build(
        {"delta_e": {"mse": MSE[:2], "lab": LAB[:2]}},
        folds=2,
        claims=[claim("delta_e", "lab", "mse", "better")],
    )
    assert judge_claims(record)[0].reason.startswith("not judged: 2 paired folds, 3 at least")


def test_one_configuration_under_two_names_is_not_told_apart_in_folds() -> None:
    record = build({"delta_e": {"mse": MSE, "same": [None] * 5}}, folds=5, shared={"same": "mse"})
    found = compare_all(record, "delta_e")[0]
    assert (found.same_trials, found.difference, found.verdict) == (True, 0.0, "inconclusive")


def test_costs_of_folds_are_not_corrected() -> None:
    seconds = {"mse": [38.0, 39, 38, 37, 40], "lab": [76.0, 79, 75, 75, 80]}
    finals = {"delta_e": {"mse": MSE, "lab": LAB}}
    folds, seeds = (
        compare_costs(build(finals, folds=k, train_seconds=seconds), "train_seconds")[0] for k in (5, None)
    )
    assert (folds.ratio, folds.low, folds.p_adjusted) == (seeds.ratio, seeds.low, seeds.p_adjusted)


def test_late_gains_of_folds_are_corrected() -> None:
    record = build(FIVE_FOLDS, folds=5, infos=[DELTA_E])
    rng = np.random.default_rng(1)
    curves = {f"mse-10-{fold}": 30 - np.arange(8.0) + rng.normal(0, 1, 8) for fold in range(5)}
    first = record.metrics.iloc[0].to_dict()
    rows = [
        first | {"trial_id": trial, "epoch": epoch, "value": value}
        for trial, curve in curves.items()
        for epoch, value in enumerate(curve, 1)
    ]
    record.metrics = pd.DataFrame(rows)
    record.trials = record.trials.assign(epochs_done=8)
    found = describe_dynamics(record)[0]
    gains = np.array([curve[4:6].mean() - curve[6:].mean() for curve in curves.values()])
    _, low, high = by_hand(gains, 5)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-10)
