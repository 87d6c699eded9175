"""Rates of error of comparisons over thousands of simulated suites; docs/statistics.md holds the figures.

Every test prints what it measured (`pytest -s`).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness.analysis.effects import Comparison, compare_all
from harness.analysis.stats import mean_interval, paired_difference, tost
from tests.support.simulated_suites import (
    METRIC,
    Noise,
    against_reference,
    all_pairs,
    any_called,
    equal_suites,
    heavy_tails,
    normal,
    skewed,
    tables,
    unequal_spreads,
    write_suite,
)

SUITES = 20_000

pytestmark = pytest.mark.timeout(1200)


def at_most(rate: float, n: int) -> float:
    """Share of n that a true `rate` exceeds once in a thousand simulations."""
    return float(scipy_stats.binom.isf(0.001, n, rate)) / n


@pytest.mark.parametrize(
    ("noise", "seed_sd"),
    [(normal, 1.0), (normal, 10.0), (heavy_tails, 1.0), (skewed, 1.0), (unequal_spreads, 1.0)],
)
def test_equal_variants_are_told_from_the_reference_in_at_most_five_per_cent_of_suites(
    noise: Noise, seed_sd: float
) -> None:
    values = equal_suites(np.random.default_rng(1979), SUITES, seed_sd=seed_sd, noise=noise)
    rate = np.mean([any_called(against_reference(table)) for table in tables(values)])
    print(f"reference, {noise.__name__}, seed sd {seed_sd}: {100 * rate:.2f} %")
    assert rate <= 0.05


@pytest.mark.parametrize("noise", [normal, heavy_tails, skewed, unequal_spreads])
def test_all_pairs_of_equal_variants_are_told_apart_in_at_most_five_per_cent_of_suites(noise: Noise) -> None:
    values = equal_suites(np.random.default_rng(1995), SUITES, noise=noise)
    pairs = np.array([any_called(all_pairs(table)) for table in tables(values)])
    either = pairs | [any_called(against_reference(table)) for table in tables(values)]
    print(
        f"all pairs, {noise.__name__}: {100 * pairs.mean():.2f} %, or reference: {100 * either.mean():.2f} %"
    )
    assert pairs.mean() <= 0.05
    assert either.mean() <= 0.10, "two families, each with its own 5 %"


def wrong(found: Comparison, means: dict[str, float]) -> bool:
    """Whether a comparison is called, and not in favour of the one that is better: lower."""
    if found.verdict not in ("better", "worse"):
        return False
    true = means[found.of] - means[found.versus]
    return true >= 0 if found.verdict == "better" else true <= 0


def test_errors_stay_bounded_where_some_variants_differ() -> None:
    means = np.array([0.0, 0.0, 4.0, 4.0, 0.0])
    by_name = {f"v{index}": mean for index, mean in enumerate(means)}
    values = equal_suites(np.random.default_rng(1980), 5_000) + means[:, None]
    family, shares = [], []
    for table in tables(values):
        family.append(any(wrong(one, by_name) for one in against_reference(table)))
        called = [one for one in all_pairs(table) if one.verdict in ("better", "worse")]
        shares.append(sum(wrong(one, by_name) for one in called) / max(1, len(called)))
    print(
        f"some differ: family-wise {100 * np.mean(family):.2f} %, false discoveries {100 * np.mean(shares):.2f} %"
    )
    assert np.mean(family) <= 0.05
    assert np.mean(shares) <= 0.05


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_the_truth_as_often_as_they_say(n: int) -> None:
    rng = np.random.default_rng(n)
    seeds = rng.normal(20, 3, (10_000, n))
    a, b = seeds + rng.normal(0, 1, seeds.shape), seeds + rng.normal(0, 1, seeds.shape)
    found = [paired_difference(x, y) for x, y in zip(a, b, strict=True)]
    alone = [mean_interval(x) for x in a]
    covered = np.mean(
        [one.low is not None and one.high is not None and one.low <= 0 <= one.high for one in found]
    )
    of_mean = np.mean(
        [one.low is not None and one.high is not None and one.low <= 20 <= one.high for one in alone]
    )
    print(f"coverage with {n} seeds: difference {100 * covered:.2f} %, mean {100 * of_mean:.2f} %")
    assert 0.935 <= covered <= 0.965
    assert 0.935 <= of_mean <= 0.965


@pytest.mark.parametrize(("true", "sd"), [(1.0, 0.25), (1.0, 1.0), (1.2, 0.25), (1.2, 1.0), (3.0, 1.0)])
def test_equivalence_is_wrong_in_at_most_five_per_cent_at_the_margin_and_beyond(
    true: float, sd: float
) -> None:
    differences = np.random.default_rng(1987).normal(true, sd, (20_000, 5))
    rate = np.mean([tost(row, 1.0) < 0.05 for row in differences])
    print(f"equivalent within 1.0 at a difference of {true}, sd {sd}: {100 * rate:.2f} %")
    assert rate <= at_most(0.05, 20_000)


def test_a_family_at_the_margin_calls_one_equivalent_in_at_most_five_per_cent_of_suites() -> None:
    values = equal_suites(np.random.default_rng(1988), SUITES) + np.array([0, 5, -5, 5, 5])[:, None]
    found = [against_reference(table, margin=5.0) for table in tables(values)]
    rate = np.mean([any(one.verdict == "equivalent" for one in suite) for suite in found])
    print(f"family of four at the margin, one equivalent: {100 * rate:.2f} %")
    assert rate <= 0.05


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("dz", [0.5, 1.0, 1.5, 2.0])
def test_differences_are_found_as_often_as_theory_says(n: int, dz: float) -> None:
    differences = np.random.default_rng(100 * n).normal(dz, 1, (10_000, n))
    found = np.mean([(paired_difference(row, np.zeros(n)).p or 1) < 0.05 for row in differences])
    limit, shift = scipy_stats.t.isf(0.025, n - 1), dz * np.sqrt(n)
    theory = scipy_stats.nct.sf(limit, n - 1, shift) + scipy_stats.nct.cdf(-limit, n - 1, shift)
    print(f"power with {n} seeds at dz {dz}: {100 * found:.1f} %, theory {100 * theory:.1f} %")
    assert found == pytest.approx(theory, abs=0.03)


@pytest.mark.parametrize("part", range(8))
def test_equal_variants_of_a_real_store_are_rarely_told_apart(part: int, tmp_path) -> None:
    """Eight parts of 250 suites: 2,000 stores, written and read back."""
    values = equal_suites(np.random.default_rng([2000, part]), 250)
    called = 0
    for index, (suite, table) in enumerate(zip(values, tables(values), strict=True)):
        found = compare_all(write_suite(tmp_path / str(index), suite), METRIC.name)
        assert [one.p_adjusted for one in found] == [one.p_adjusted for one in against_reference(table)]
        called += any_called(found)
    print(f"stores, part {part}: {called} of 250")
    assert called / 250 <= at_most(0.05, 250)
