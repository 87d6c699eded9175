"""The distribution of one more run's mean, against formulas written out with matrices and against scipy."""

import numpy as np
import pytest
from scipy import integrate, stats

from harness.tracking.gate.prediction import MEASURED, predict, weigh
from tests.support.gate_simulation import simulated

RANDOM = np.random.default_rng(20261120)


def by_matrices(runs, own):
    """P(mean of one more run <= that of own): restricted likelihood and generalised least squares."""
    m, n = runs.shape
    measured = m >= MEASURED
    values = runs.ravel() if measured else np.concatenate([runs.ravel(), own])
    run = np.repeat(np.arange(m), n)
    design = np.eye(n)[np.tile(np.arange(n), m)] if measured else np.ones((m * n, 1))
    point = np.full(n, 1 / n) if measured else np.array([1.0])
    block = (run[:, None] == run[None, :]).astype(float)
    if not measured:  # the run to judge has a mean of its own, and tells of the noise alone
        design = np.block([[design, np.zeros((m * n, 1))], [np.zeros((n, 1)), np.ones((n, 1))]])
        point = np.array([1.0, 0.0])
        block = np.pad(block, (0, n))
    prior = stats.halfcauchy(scale=0.7) if measured else stats.halfnorm(scale=1)
    df = len(values) - design.shape[1]

    def at(ratio):
        covariance = np.eye(len(values)) + ratio**2 * block
        inverse = np.linalg.inv(covariance)
        information = design.T @ inverse @ design
        estimate = np.linalg.solve(information, design.T @ inverse @ values)
        rest = values - design @ estimate
        squares = rest @ inverse @ rest
        log = (
            -(np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1] + df * np.log(squares)) / 2
        )
        error = np.sqrt(squares / df * (point @ np.linalg.solve(information, point) + ratio**2 + 1 / n))
        return log, stats.t.cdf((own.mean() - point @ estimate) / error, df)

    top = at(0.5)[0]

    def integral(what):
        def integrand(log_ratio):
            ratio = np.exp(log_ratio)
            log, tail = at(ratio)
            return np.exp(log - top) * prior.pdf(ratio) * ratio * (tail if what == "tail" else 1.0)

        return integrate.quad(integrand, np.log(1e-4), np.log(1e3), limit=200, epsabs=0, epsrel=1e-7)[0]

    return integral("tail") / integral("all")


@pytest.mark.parametrize("shape", [(1, 3), (2, 4), (4, 3), (5, 2), (6, 3)])
def test_the_distribution_is_that_of_the_model_written_with_matrices(shape):
    values = RANDOM.normal(size=(shape[0] + 1, shape[1])) + RANDOM.normal(size=(shape[0] + 1, 1)) * 0.5
    runs, own = values[:-1], values[-1]
    assert predict(runs, own).below(own.mean()) == pytest.approx(by_matrices(runs, own), rel=1e-3)


def test_one_value_a_run_gives_the_prediction_interval_of_the_t_distribution():
    means = RANDOM.normal(size=8)
    found = predict(means[:, None], np.array([0.0]))
    half = stats.t.ppf(0.99, 7) * means.std(ddof=1) * np.sqrt(1 + 1 / 8)
    assert found.level == pytest.approx(means.mean())
    assert found.reach(0.01) == pytest.approx(half, rel=1e-8)


def test_seeds_that_change_nothing_leave_the_spread_between_runs():
    means = RANDOM.normal(size=6)
    alone = predict(means[:, None], np.zeros(1))
    assert predict(np.repeat(means[:, None], 3, axis=1), np.zeros(3)).reach(0.01) == alone.reach(0.01)


def test_what_a_seed_has_in_common_in_all_runs_does_not_widen_a_measured_prediction():
    runs, own = RANDOM.normal(size=(6, 3)), RANDOM.normal(size=3)
    seeds = np.array([-50.0, 0.0, 50.0])
    plain, shifted = predict(runs, own), predict(runs + seeds, own + seeds)
    assert shifted.reach(0.01) == pytest.approx(plain.reach(0.01))
    few = predict(runs[:2] + seeds, own + seeds)
    assert few.reach(0.01) > predict(runs[:2], own).reach(0.01) + 50


def test_commits_that_move_far_more_than_seeds_widen_the_prediction():
    runs = RANDOM.normal(size=(8, 3)) + 100 * RANDOM.normal(size=(8, 1))
    half = stats.t.ppf(0.99, 7) * runs.mean(axis=1).std(ddof=1) * np.sqrt(1 + 1 / 8)
    found = predict(runs, runs[0])
    assert found.reach(0.01) == pytest.approx(half, rel=0.1)


def test_nothing_is_predicted_where_no_noise_can_be_known():
    assert predict(np.ones((1, 3)), np.ones(3)) is None
    assert predict(np.ones((5, 3)), np.zeros(3)) is None
    assert predict(np.array([[1.0, 1.0], [2.0, 2.0]]), np.ones(2)) is None  # two runs tell no spread


def test_where_nothing_varies_the_exact_probability_of_the_lowest_places_stands_in():
    found = weigh(np.full((1, 5), 2.0), np.full(5, 1.0))
    assert (found.p_worse, found.p_better) == (pytest.approx(1 / 252), 1.0)
    assert (found.drop, found.low, found.high) == (1.0, None, None)
    assert weigh(np.full((5, 1), 2.0), np.full(1, 3.0)).p_better == pytest.approx(1 / 6)


def test_bounds_are_where_one_run_of_twenty_lies_beyond():
    runs, own = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=3)
    found = weigh(runs, own, levels=[0.01])
    assert found.low < found.drop < found.high
    centred = own - own.mean() + runs.mean()
    assert weigh(runs, centred - (found.high - found.drop)).p_worse == pytest.approx(0.05)
    assert weigh(runs, centred + (found.drop - found.low)).p_better == pytest.approx(0.05)
    assert weigh(runs, centred - found.alarm[0.01]).p_worse == pytest.approx(0.01)


def test_overlapping_folds_widen_the_prediction():
    runs, own = RANDOM.normal(size=(2, 5)), RANDOM.normal(size=5)
    assert predict(runs, own, folds=5).reach(0.01) > predict(runs, own).reach(0.01)


@pytest.mark.parametrize("runs", [1, 3, 5, 10, 20])
@pytest.mark.parametrize("seeds", [3, 5])
def test_false_alarms_stay_below_two_percent(runs, seeds):
    """Full size in tests/calibration; commits move means by as much as seeds differ, the worst of the range."""
    single = simulated(runs, seeds, ratio=1.0, family=1, gates=600, random=RANDOM)
    of_eight = simulated(runs, seeds, ratio=1.0, family=8, gates=150, random=RANDOM)
    for alarms, gates in ((single, 600), (of_eight, 150)):
        assert alarms <= stats.binom.ppf(0.9999, gates, 0.02)


def test_a_drop_of_four_sigma_is_found_nine_times_of_ten_with_twenty_runs():
    found = simulated(20, 3, ratio=0.5, family=1, gates=800, random=RANDOM, drop=4.0)
    assert found >= stats.binom.ppf(0.0001, 800, 0.9)
