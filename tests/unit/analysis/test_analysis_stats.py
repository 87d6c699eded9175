"""Statistics against scipy, statsmodels, hand-computed examples and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from harness.analysis.stats import (
    benjamini_hochberg,
    beyond,
    detectable_effect,
    holm,
    mean_interval,
    paired_difference,
    paired_differences,
    pooled_sd,
    power,
    probability_above,
    seeds_needed,
    sign_flip_p,
    tost,
)

A = np.array([21.1, 20.2, 22.4, 20.9, 21.7, 23.3])
B = np.array([19.9, 20.5, 21.0, 20.1, 21.9, 21.6])

finite = st.floats(-1e3, 1e3, allow_nan=False).map(lambda value: round(value, 3))
samples = st.lists(st.tuples(finite, finite), min_size=3, max_size=9).map(np.array)


def test_interval_by_hand() -> None:
    # mean 4, sd 2; with 2 degrees of freedom the quantile is (2q - 1) sqrt(2 / (4 q (1 - q))).
    found = mean_interval([2.0, 4.0, 6.0])
    quantile = 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))
    half = quantile * 2 / math.sqrt(3)
    assert (found.n, found.mean, found.sd) == (3, 4.0, 2.0)
    assert found.low == pytest.approx(4 - half, rel=1e-12)
    assert found.high == pytest.approx(4 + half, rel=1e-12)


def test_interval_is_that_of_scipy() -> None:
    for confidence in (0.8, 0.95, 0.99):
        found = mean_interval(A, confidence)
        reference = scipy_stats.ttest_1samp(A, 0).confidence_interval(confidence)
        assert (found.low, found.high) == pytest.approx(tuple(reference), rel=1e-12)


def test_a_single_value_has_no_interval() -> None:
    found = mean_interval([3.0])
    assert (found.n, found.mean, found.sd, found.low, found.high) == (1, 3.0, None, None, None)


def test_paired_t_is_that_of_scipy() -> None:
    found, reference = paired_difference(A, B), scipy_stats.ttest_rel(A, B)
    assert found.t == pytest.approx(reference.statistic, rel=1e-12)
    assert found.p == pytest.approx(reference.pvalue, rel=1e-10)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval()), rel=1e-10)
    assert found.dz == pytest.approx(np.mean(A - B) / np.std(A - B, ddof=1), rel=1e-12)


@pytest.mark.parametrize("n", [2, 5, 8, 11])
def test_exact_p_is_that_of_scipys_permutation_test(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.6, 1, n), rng.normal(0, 1, n)
    reference = scipy_stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert sign_flip_p(a - b) == pytest.approx(reference.pvalue, abs=1e-12)


def test_exact_p_by_hand() -> None:
    # Sums of +-1 +-2 +-3: |sum| is 6, 4, 2, 0, 0, 2, 4, 6; the observed one is 4.
    assert sign_flip_p([-1.0, 2.0, 3.0]) == 0.5
    assert sign_flip_p([1.0, 2.0, 3.0]) == 0.25


def test_exact_p_counts_ties_despite_rounding() -> None:
    # 0.1 + 0.2 is not 0.3 in floating point, yet both assignments give the same sum of 0.6.
    assert sign_flip_p([0.1, 0.2, 0.3]) == 0.25
    assert sign_flip_p([0.1, 0.2, -0.3]) == 1.0


def test_exact_p_reaches_its_floor_and_no_less() -> None:
    for n in (3, 5, 8):
        found = paired_difference(np.arange(1.0, n + 1), np.zeros(n))
        assert found.p_exact == found.p_floor == 2 / 2**n


def test_drawn_sign_flips_agree_with_the_normal_limit_and_repeat() -> None:
    differences = np.random.default_rng(5).normal(0.25, 1, 60)
    p = sign_flip_p(differences)
    assert p == pytest.approx(scipy_stats.ttest_1samp(differences, 0).pvalue, abs=0.02)
    assert p == sign_flip_p(differences)
    assert paired_difference(differences + 10, np.zeros(60)).p_exact == 1 / 10_000


def test_the_exact_test_covers_twenty_pairs_quickly() -> None:
    assert sign_flip_p(np.ones(20)) == 2 / 2**20


@pytest.mark.parametrize(("n", "dz"), [(3, 2.0), (5, 1.0), (5, 0.0), (10, -0.7), (30, 0.4)])
def test_power_is_that_of_statsmodels(n: int, dz: float) -> None:
    for alpha in (0.05, 0.005):
        reference = TTestPower().power(abs(dz), n, alpha, alternative="two-sided")
        assert power(dz, n, alpha) == pytest.approx(reference, abs=1e-10)


@pytest.mark.parametrize("n", [3, 4, 5, 10, 50])
def test_detectable_effect_is_that_of_statsmodels(n: int) -> None:
    tests = TTestPower()
    solved = tests.solve_power(nobs=n, alpha=0.05, power=0.8, alternative="two-sided")
    assert detectable_effect(n) == pytest.approx(solved, rel=1e-5)  # their solver stops at that
    reached = tests.power(detectable_effect(n), n, 0.05, alternative="two-sided")
    assert reached == pytest.approx(0.8, abs=1e-10)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 7, 0.05 / 190])
def test_what_could_have_been_seen_is_always_significant(alpha: float) -> None:
    for n in range(3, 60):
        assert detectable_effect(n, alpha) * math.sqrt(n) > scipy_stats.t.isf(alpha / 2, n - 1)


def test_mde_is_in_the_unit_of_the_values() -> None:
    assert paired_difference(100 * A, 100 * B).mde == pytest.approx(
        100 * (paired_difference(A, B).mde or 0), rel=1e-9
    )


@pytest.mark.parametrize("dz", [0.2, 0.5, 1.0, 2.5, -0.5])
def test_seeds_needed_is_the_first_number_with_enough_power(dz: float) -> None:
    n = seeds_needed(dz)
    assert n is not None
    assert power(dz, n) >= 0.8 > power(dz, n - 1)


def test_no_fewer_seeds_are_advised_than_are_judged() -> None:
    assert power(50.0, 2) > 0.8, "two would do, were they judged"
    assert seeds_needed(50.0) == 3


def test_no_number_of_seeds_finds_nothing() -> None:
    assert seeds_needed(0.0) is None
    assert seeds_needed(1e-3) is None


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_identical_differences_rest_on_the_exact_test(shift: float) -> None:
    found = paired_difference(B + shift, B)
    assert found.mean == pytest.approx(shift)
    assert (found.sd, found.p, found.p_exact) == (0.0, 2 / 2**6, 2 / 2**6)
    assert (found.low, found.high, found.t, found.dz, found.mde, found.seeds_needed) == (None,) * 6


def test_no_difference_at_all_has_p_one() -> None:
    found = paired_difference(A, A)
    assert (found.mean, found.p, found.p_exact, found.low) == (0.0, 1.0, 1.0, None)


def test_rounding_is_not_taken_for_spread() -> None:
    values = np.array([0.1, 0.7, 28.3, 1.9])
    shifted = values + 0.1
    assert np.ptp(shifted - values) > 0  # what a naive test would divide by
    assert np.ptp(paired_differences(shifted, values)) == 0


def test_one_pair_gives_its_difference_alone() -> None:
    found = paired_difference([3.0], [1.0])
    assert (found.n, found.mean, found.p_exact, found.p_floor) == (1, 2.0, 1.0, 1.0)
    assert (found.sd, found.low, found.high, found.t, found.p, found.mde) == (None,) * 6


@pytest.mark.parametrize("bad", [[1.0, math.nan], [1.0, math.inf], []])
def test_values_without_meaning_are_refused(bad: list[float]) -> None:
    with pytest.raises(AssertionError):
        mean_interval(bad)
    with pytest.raises(AssertionError):
        paired_difference(bad, bad)
    with pytest.raises(AssertionError):
        tost(bad, 1.0)


def test_pairs_need_partners() -> None:
    with pytest.raises(AssertionError, match="pairs"):
        paired_difference([1.0, 2.0], [1.0])


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_is_that_of_statsmodels() -> None:
    p_values = np.random.default_rng(3).uniform(0, 0.2, 12)
    assert holm(list(p_values)) == pytest.approx(multipletests(p_values, method="holm")[1], rel=1e-12)


def test_what_could_not_be_tested_still_counts_in_the_family() -> None:
    assert holm([0.02, None, None]) == [pytest.approx(0.06), None, None]
    assert benjamini_hochberg([0.02, None, None]) == [pytest.approx(0.06), None, None]


def test_benjamini_hochberg_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.9 times 4, 2, 4/3, 1: 0.04 each, never above what follows.
    assert benjamini_hochberg([0.9, 0.01, 0.03, 0.02]) == pytest.approx([0.9, 0.04, 0.04, 0.04])
    assert benjamini_hochberg([]) == []


def test_benjamini_hochberg_is_that_of_statsmodels() -> None:
    for seed in range(20):
        p_values = np.random.default_rng(seed).beta(0.5, 2, 1 + seed)
        expected = multipletests(p_values, method="fdr_bh")[1]
        assert benjamini_hochberg(list(p_values)) == pytest.approx(expected, abs=1e-12)


# --- published examples


# Additional hours of sleep of ten patients under two drugs (Student 1908).
SLEEP = (
    np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]),
    np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]),
)
# Heights of fifteen pairs of maize plants in inches, crossed and self-fertilised (Darwin 1876).
CROSSED = [23.5, 12, 21, 22, 19.125, 21.5, 22.125, 20.375, 18.25, 21.625, 23.25, 21, 22.125, 23, 12]
SELFED = [17.375, 20.375, 20, 20, 18.375, 18.625, 18.625, 15.25, 16.5, 18, 16.25, 18, 12.75, 15.5, 18]


def test_the_sleep_data_of_student() -> None:
    found = paired_difference(*SLEEP)
    assert found.t == pytest.approx(-4.0621, abs=5e-5)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)
    assert found.mean == pytest.approx(-1.58)
    assert found.probability == 0.05, "nine of ten slept less with the first drug, one the same"


def test_the_maize_of_darwin_as_fisher_judged_it() -> None:
    found = paired_difference(CROSSED, SELFED)
    assert found.t == pytest.approx(2.148, abs=5e-4)
    assert found.p == pytest.approx(0.0497, abs=5e-5)
    # Fisher (1935, The Design of Experiments, section 21) counts 863 of 32,768 sums of 314 eighths or more.
    assert found.p_exact == 2 * 863 / 32_768
    assert found.probability == 13 / 15


def test_the_fifteen_hypotheses_of_benjamini_and_hochberg() -> None:
    # Table 1 and section 3.3 of the paper (1995): four are rejected at 5 %, of which Bonferroni finds three.
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p_values += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    adjusted = benjamini_hochberg(p_values)
    assert [p is not None and p < 0.05 for p in adjusted] == [True] * 4 + [False] * 11
    assert [p is not None and p < 0.05 for p in holm(p_values)] == [True] * 3 + [False] * 12


# --- effect sizes


def test_the_pooled_spread_by_hand() -> None:
    # Variances 4 and 16, so sqrt(10); means 4 and 8.
    assert pooled_sd([2.0, 4.0, 6.0], [4.0, 8.0, 12.0]) == pytest.approx(math.sqrt(10))
    assert paired_difference([2.0, 4.0, 6.0], [4.0, 9.0, 11.0]).d_pooled == pytest.approx(
        -4 / math.sqrt((4 + 13) / 2)
    )


def test_a_spread_of_rounding_alone_gives_no_effect_size() -> None:
    constant = np.full(5, 0.1) + np.array([0, 1, 0, -1, 0]) * 1e-17
    found = paired_difference(constant, constant + 1)
    assert (found.d_pooled, found.dz) == (None, None)


def test_the_share_of_pairs_above_is_that_of_counting() -> None:
    assert probability_above([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 4.0, 3.0]) == (1 + 0.5 + 0 + 1) / 4
    assert probability_above([0.1 + 0.2, 5.0], [0.3, 1.0]) == 0.75, "0.1 + 0.2 is 0.3 but for rounding"
    rng = np.random.default_rng(8)
    a, b = rng.normal(0.5, 1, 50), rng.normal(0, 1, 50)
    assert probability_above(a, b) == sum(x > y for x, y in zip(a, b, strict=True)) / 50
    assert probability_above(a, b) == pytest.approx(1 - probability_above(b, a))


@pytest.mark.parametrize("margin", [0.3, 1.0, 3.0])
def test_tost_is_that_of_statsmodels(margin: float) -> None:
    reference, _, _ = ttost_paired(A, B, -margin, margin)
    assert tost(A - B, margin) == pytest.approx(reference, rel=1e-10)


def test_tost_of_identical_differences_rests_on_the_exact_test() -> None:
    assert tost(np.full(5, 0.1), 1.0) == 1 / 2**5
    assert tost(np.full(5, 1.0), 1.0) == 1.0
    assert tost(np.zeros(5), 1.0) == 1 / 2**5
    assert tost(np.full(5, -3.0), 1.0) == 1.0


def test_beyond_is_two_one_sided_tests_of_scipy() -> None:
    for differences in (A - B + 2, B - A - 2, A - B):
        above = scipy_stats.ttest_1samp(differences, 1.0, alternative="greater").pvalue
        below = scipy_stats.ttest_1samp(differences, -1.0, alternative="less").pvalue
        assert beyond(differences, 1.0) == pytest.approx(min(1.0, 2 * min(above, below)), rel=1e-10)
    assert beyond(np.full(5, -3.0), 1.0) == 2 / 2**5
    assert beyond(np.full(5, 0.5), 1.0) == 1.0


@settings(deadline=None)
@given(samples)
def test_swapping_the_sides_negates_the_difference(pairs: np.ndarray) -> None:
    one, other = paired_difference(pairs[:, 0], pairs[:, 1]), paired_difference(pairs[:, 1], pairs[:, 0])
    assert one.mean == -other.mean
    assert (one.p, one.p_exact, one.mde) == pytest.approx((other.p, other.p_exact, other.mde))
    if one.low is not None and other.high is not None:
        assert one.low == pytest.approx(-other.high)


@settings(deadline=None)
@given(samples, st.floats(0.01, 100))
def test_p_does_not_depend_on_the_unit(pairs: np.ndarray, factor: float) -> None:
    assume(np.ptp(pairs[:, 0] - pairs[:, 1]) > 1e-6)
    one = paired_difference(pairs[:, 0], pairs[:, 1])
    scaled = paired_difference(factor * pairs[:, 0], factor * pairs[:, 1])
    assert (scaled.p, scaled.p_exact) == pytest.approx((one.p, one.p_exact), rel=1e-6)


@settings(deadline=None)
@given(samples)
def test_interval_and_p_agree_at_the_level(pairs: np.ndarray) -> None:
    found = paired_difference(pairs[:, 0], pairs[:, 1])
    if (
        found.low is not None
        and found.high is not None
        and found.p is not None
        and abs(found.p - 0.05) > 1e-9
    ):
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_no_effect_is_found_as_often_as_stated_and_intervals_cover() -> None:
    rng = np.random.default_rng(20)
    seeds = rng.normal(20, 3, (2000, 5))
    a, b = seeds + rng.normal(0, 1, (2000, 5)), seeds + rng.normal(0, 1, (2000, 5))
    found = [paired_difference(x, y) for x, y in zip(a, b, strict=True)]
    low, high = scipy_stats.binom.interval(0.999, 2000, 0.05)
    false_alarms = sum(one.p is not None and one.p < 0.05 for one in found)
    not_covered = sum(
        one.low is not None and one.high is not None and not one.low <= 0 <= one.high for one in found
    )
    assert low <= false_alarms <= high
    assert low <= not_covered <= high


def test_simulated_power_is_eighty_per_cent_at_the_detectable_effect() -> None:
    rng = np.random.default_rng(21)
    differences = rng.normal(detectable_effect(5), 1, (4000, 5))
    hits = np.count_nonzero(scipy_stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05)
    low, high = scipy_stats.binom.interval(0.999, 4000, 0.8)
    assert low <= hits <= high


def test_a_difference_at_the_margin_is_called_equivalent_no_more_than_stated() -> None:
    rng = np.random.default_rng(22)
    differences = rng.normal(1.0, 0.3, (2000, 5))
    false_alarms = sum(tost(row, 1.0) < 0.05 for row in differences)
    low, high = scipy_stats.binom.interval(0.999, 2000, 0.05)
    assert low <= false_alarms <= high
