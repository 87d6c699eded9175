"""How often verdicts are wrong, on drawn suites whose truth is known; at full size in tests/calibration."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness.analysis.effects import compare_all
from harness.analysis.stats import mean_interval, paired_difference, tost
from tests.support.simulated_suites import (
    METRIC,
    against_reference,
    all_pairs,
    any_called,
    equal_suites,
    tables,
    write_suite,
)

Pairs = list[tuple[int, int]]
REFERENCE: Pairs = [(0, other) for other in range(1, 5)]
ALL: Pairs = list(combinations(range(5), 2))


def p_values(values: np.ndarray, pairs: Pairs) -> np.ndarray:
    """p of scipy's paired t test for every suite and pair, shape (suites, pairs)."""
    return np.stack(
        [scipy_stats.ttest_rel(values[:, a], values[:, b], axis=1).pvalue for a, b in pairs], axis=1
    )


def holm_calls_some(p: np.ndarray) -> np.ndarray:
    """Holm's first step decides whether a family calls anything at all."""
    return p.min(axis=1) < 0.05 / p.shape[1]


def benjamini_hochberg_calls_some(p: np.ndarray) -> np.ndarray:
    return (np.sort(p, axis=1) < 0.05 * np.arange(1, p.shape[1] + 1) / p.shape[1]).any(axis=1)


def at_most(rate: float, n: int) -> float:
    """Count out of n that a true `rate` exceeds once in a thousand simulations."""
    return float(scipy_stats.binom.isf(0.001, n, rate))


@pytest.mark.parametrize("seed_sd", [1.0, 10.0])
def test_equal_variants_are_told_from_the_reference_in_at_most_five_per_cent_of_suites(
    seed_sd: float,
) -> None:
    values = equal_suites(np.random.default_rng(1979), 2000, seed_sd=seed_sd)
    called = np.array([any_called(against_reference(table)) for table in tables(values)])
    assert list(called) == list(holm_calls_some(p_values(values, REFERENCE)))
    assert called.sum() <= at_most(0.05, 2000)


def test_all_pairs_of_equal_variants_are_told_apart_in_at_most_five_per_cent_of_suites() -> None:
    values = equal_suites(np.random.default_rng(1995), 500)
    called = np.array([any_called(all_pairs(table)) for table in tables(values)])
    assert list(called) == list(benjamini_hochberg_calls_some(p_values(values, ALL)))
    assert called.sum() <= at_most(0.05, 500)


def test_the_rules_hold_five_per_cent_where_chance_in_the_simulation_no_longer_matters() -> None:
    """The two tests above tie the harness to these rules, suite by suite."""
    values = equal_suites(np.random.default_rng(20), 200_000)
    p = p_values(values, ALL)
    assert holm_calls_some(p[:, [ALL.index(pair) for pair in REFERENCE]]).mean() <= 0.05
    assert benjamini_hochberg_calls_some(p).mean() <= 0.05


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_the_truth_as_often_as_they_say(n: int) -> None:
    found = [mean_interval(sample) for sample in np.random.default_rng(n).normal(7, 2, (10_000, n))]
    covered = np.mean(
        [one.low is not None and one.high is not None and one.low <= 7 <= one.high for one in found]
    )
    assert 0.935 <= covered <= 0.965


@pytest.mark.parametrize(("true", "bound"), [(1.0, 0.05), (1.2, 0.01), (-1.0, 0.05)])
def test_equivalence_is_wrong_in_at_most_five_per_cent_at_the_margin_and_beyond(
    true: float, bound: float
) -> None:
    # A spread of 0.25 leaves the far end of the margin out of reach: the test has its full size there.
    differences = np.random.default_rng(1987).normal(true, 0.25, (5_000, 5))
    assert sum(tost(row, 1.0) < 0.05 for row in differences) <= at_most(bound, 5_000)


def test_a_family_at_the_margin_calls_one_equivalent_in_at_most_five_per_cent_of_suites() -> None:
    values = equal_suites(np.random.default_rng(1988), 1000) + np.array([0, 5, -5, 5, 5])[:, None]
    found = [against_reference(table, margin=5.0) for table in tables(values)]
    wrong = sum(any(one.verdict == "equivalent" for one in suite) for suite in found)
    assert wrong <= at_most(0.05, 1000)


@pytest.mark.parametrize(("n", "dz"), [(3, 2.0), (5, 1.0), (5, 2.0), (10, 0.5), (10, 1.0)])
def test_differences_are_found_as_often_as_theory_says(n: int, dz: float) -> None:
    differences = np.random.default_rng(100 * n).normal(dz, 1, (3_000, n))
    found = np.mean([(paired_difference(row, np.zeros(n)).p or 1) < 0.05 for row in differences])
    limit = scipy_stats.t.isf(0.025, n - 1)
    theory = scipy_stats.nct.sf(limit, n - 1, dz * np.sqrt(n)) + scipy_stats.nct.cdf(
        -limit, n - 1, dz * np.sqrt(n)
    )
    assert found == pytest.approx(theory, abs=0.03)


def test_verdicts_from_a_store_are_those_of_its_values(tmp_path) -> None:
    values = equal_suites(np.random.default_rng(50), 50)
    values[::5, 1] -= 5  # a better variant in every fifth, so that not all of them agree on nothing
    wrong = 0
    for index, (suite, table) in enumerate(zip(values, tables(values), strict=True)):
        found = compare_all(write_suite(tmp_path / str(index), suite), METRIC.name)
        assert [(one.of, one.p_adjusted, one.verdict) for one in found] == [
            (one.of, one.p_adjusted, one.verdict) for one in against_reference(table)
        ]
        wrong += any_called([one for one in found if one.of != "v1" or index % 5])
    assert wrong <= at_most(0.05, 50)
