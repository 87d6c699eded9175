"""Comparisons and verdicts on records whose answers are known by construction."""

from __future__ import annotations

import numpy as np
import pytest
from hand_record import DELTA_E, LPIPS_RAND, PSNR, SHARPNESS, HandRecord, build
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from harness.analysis.effects import (
    Comparison,
    best_variant,
    compare_all,
    compare_pairs,
    summarise,
    unbeaten,
)

# Seed by seed: ssim is mse with noise around nothing, lab is better by about 10.
MSE = [21.0, 22.5, 20.0, 23.0, 21.5]
SSIM = [21.2, 22.4, 20.1, 23.2, 21.3]
LAB = [11.1, 12.2, 10.3, 12.9, 11.5]
FINALS = {"delta_e": {"mse": MSE, "ssim": SSIM, "lab": LAB}}


def one(
    record: HandRecord, of: str, versus: str, metric: str = "delta_e", kind: str = "reference"
) -> Comparison:
    (found,) = [
        found
        for found in compare_all(record, metric)
        if (found.of, found.versus, found.kind) == (of, versus, kind)
    ]
    return found


def test_numbers_are_those_of_the_libraries() -> None:
    found = one(build(FINALS), "lab", "mse")
    reference = scipy_stats.ttest_rel(LAB, MSE)
    other = scipy_stats.ttest_rel(SSIM, MSE)
    adjusted = multipletests([other.pvalue, reference.pvalue], method="holm")[1]
    assert found.difference == pytest.approx(np.mean(LAB) - np.mean(MSE))
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval()), rel=1e-10)
    assert found.p == pytest.approx(reference.pvalue, rel=1e-10)
    assert found.p_adjusted == pytest.approx(adjusted[1], rel=1e-10)
    assert found.p_exact == found.p_floor == 2 / 32
    assert (found.n, [one.seed for one in found.replicates]) == (5, [10, 11, 12, 13, 14])


def test_what_the_run_could_have_seen_is_at_the_strictest_level_of_the_family() -> None:
    found = one(build(FINALS), "ssim", "mse")
    sd = np.std(np.subtract(SSIM, MSE), ddof=1)
    assert found.mde is not None
    reached = TTestPower().power(found.mde / sd, 5, 0.05 / 2, alternative="two-sided")
    assert reached == pytest.approx(0.8, abs=1e-9)
    assert abs(found.difference or 0) < found.mde
    assert found.dz is not None and found.seeds_needed is not None
    assert TTestPower().power(abs(found.dz), found.seeds_needed, 0.05 / 2, alternative="two-sided") >= 0.8
    assert found.seeds_needed > 5


def test_lower_is_better_where_the_metric_says_so() -> None:
    found = one(build(FINALS), "lab", "mse")
    assert found.verdict == "better"
    assert found.difference is not None and found.difference < 0
    assert found.improvement == -found.difference


def test_higher_is_better_where_the_metric_says_so() -> None:
    record = build({"edge_sharpness": FINALS["delta_e"]}, infos=[SHARPNESS])
    found = one(record, "lab", "mse", "edge_sharpness")
    assert found.verdict == "worse"
    assert found.improvement == found.difference


def test_nothing_found_is_inconclusive_without_a_margin() -> None:
    assert one(build(FINALS), "ssim", "mse").verdict == "inconclusive"


def test_equivalence_needs_a_margin_and_two_tests() -> None:
    found = one(build(FINALS, margins={"delta_e": 1.0}), "ssim", "mse")
    p_ssim, _, _ = ttost_paired(np.array(SSIM), np.array(MSE), -1, 1)
    p_lab, _, _ = ttost_paired(np.array(LAB), np.array(MSE), -1, 1)
    assert found.verdict == "equivalent"
    assert found.p_equivalence == pytest.approx(
        multipletests([p_ssim, p_lab], method="holm")[1][0], rel=1e-10
    )
    assert one(build(FINALS, margins={"delta_e": 0.2}), "ssim", "mse").verdict == "inconclusive"


def test_a_significant_difference_inside_the_margin_is_equivalent() -> None:
    close = [value - shift for value, shift in zip(MSE, [0.11, 0.10, 0.09, 0.10, 0.10], strict=True)]
    finals = {"delta_e": {"mse": MSE, "close": close}}
    assert one(build(finals), "close", "mse").verdict == "better"
    assert one(build(finals, margins={"delta_e": 1.0}), "close", "mse").verdict == "equivalent"


def test_a_difference_beyond_the_margin_is_judged_by_its_sign() -> None:
    assert one(build(FINALS, margins={"delta_e": 1.0}), "lab", "mse").verdict == "better"


def test_the_steps_of_a_chain_are_a_family_of_their_own() -> None:
    found = [(one.kind, one.of, one.versus) for one in compare_all(build(FINALS), "delta_e")]
    assert found == [
        ("reference", "ssim", "mse"),
        ("reference", "lab", "mse"),
        ("previous", "ssim", "mse"),
        ("previous", "lab", "ssim"),
    ]
    assert {one.kind for one in compare_all(build(FINALS, chain=False), "delta_e")} == {"reference"}


def test_fewer_than_three_pairs_are_described() -> None:
    finals = {"delta_e": {"mse": [20.0, 21.0], "lab": [1.0, 2.1]}}
    found = one(build(finals), "lab", "mse")
    assert found.verdict == "described"
    assert (found.n, found.p, found.p_adjusted) == (2, None, None)
    assert found.difference == pytest.approx(-18.95)


def test_a_failed_trial_leaves_its_pair_out_and_a_whole_missing_variant_is_shown() -> None:
    record = build(
        FINALS, status={("lab", 12): "failed", **{("ssim", seed): "failed" for seed in range(10, 15)}}
    )
    lab, ssim = one(record, "lab", "mse"), one(record, "ssim", "mse")
    assert [one.seed for one in lab.replicates] == [10, 11, 13, 14]
    assert (ssim.n, ssim.verdict, ssim.difference, ssim.p_exact) == (0, "described", None, None)
    kept = [0, 1, 3, 4]
    reference = scipy_stats.ttest_rel([LAB[i] for i in kept], [MSE[i] for i in kept]).pvalue
    assert lab.p_adjusted == pytest.approx(2 * reference, rel=1e-10), "the failed comparison still counts"


def test_identical_differences_are_not_significant_below_six_seeds() -> None:
    five = {"delta_e": {"mse": MSE, "lab": [value - 1 for value in MSE]}}
    found = one(build(five), "lab", "mse")
    assert (found.verdict, found.p, found.low, found.mde) == ("inconclusive", 2 / 32, None, None)
    six = {"delta_e": {"mse": [*MSE, 20.5], "lab": [value - 1 for value in [*MSE, 20.5]]}}
    assert one(build(six), "lab", "mse").verdict == "better"


def test_variants_that_share_their_trials_are_not_told_apart() -> None:
    record = build({"delta_e": {"mse": MSE, "same": [None] * 5}}, shared={"same": "mse"})
    found = one(record, "same", "mse")
    assert (found.same_trials, found.difference, found.p, found.verdict) == (True, 0.0, 1.0, "inconclusive")


def test_a_comparison_on_a_part_of_the_data() -> None:
    record = build({**FINALS, "delta_e@colour=red": {"mse": LAB, "ssim": SSIM, "lab": MSE}})
    found = next(one for one in compare_all(record, "delta_e", label="colour=red") if one.of == "lab")
    assert (found.label, found.verdict) == ("colour=red", "worse")


def test_summaries_name_their_seeds() -> None:
    found = summarise(build(FINALS, status={("ssim", 11): "failed"}), "delta_e")
    assert [(one.variant, one.n) for one in found] == [("mse", 5), ("ssim", 4), ("lab", 5)]
    assert found[0].mean == pytest.approx(21.6)
    assert [one.seed for one in found[1].replicates] == [10, 12, 13, 14]
    assert found[1].trials == ("ssim-10", "ssim-12", "ssim-13", "ssim-14")
    nothing = summarise(build(FINALS, status={("ssim", seed): "lost" for seed in range(10, 15)}), "delta_e")[
        1
    ]
    assert (nothing.n, nothing.mean, nothing.low) == (0, None, None)


def test_stand_in_metrics_are_found() -> None:
    record = build({"lpips_rand": FINALS["delta_e"]}, infos=[LPIPS_RAND])
    assert {one.metric for one in compare_all(record, "lpips")} == {"lpips_rand"}


def test_unbeaten_are_those_that_no_other_is_better_than() -> None:
    assert unbeaten(build(FINALS), "delta_e") == {"lab"}
    assert unbeaten(build({"delta_e": {"mse": MSE, "ssim": SSIM}}), "delta_e") == {"mse", "ssim"}


def test_nobody_is_unbeaten_where_nothing_is_judged() -> None:
    finals = {"delta_e": {"mse": [20.0, 21.0], "lab": [1.0, 2.1]}}
    assert unbeaten(build(finals), "delta_e") == set()


def test_all_pairs_are_one_family_whose_false_discoveries_are_bounded() -> None:
    found = compare_pairs(build(FINALS), "delta_e")
    p_values = [
        scipy_stats.ttest_rel(MSE, SSIM).pvalue,
        scipy_stats.ttest_rel(MSE, LAB).pvalue,
        scipy_stats.ttest_rel(SSIM, LAB).pvalue,
    ]
    assert [one.p_adjusted for one in found] == pytest.approx(
        list(multipletests(p_values, method="fdr_bh")[1]), rel=1e-10
    )


def test_equivalence_of_all_pairs_is_adjusted_like_their_differences() -> None:
    found = compare_pairs(build(FINALS, margins={"delta_e": 1.0}), "delta_e")
    p_values = [
        ttost_paired(np.array(one), np.array(other), -1, 1)[0]
        for one, other in ((MSE, SSIM), (MSE, LAB), (SSIM, LAB))
    ]
    expected = multipletests(p_values, method="fdr_bh")[1]
    assert [one.p_equivalence for one in found] == pytest.approx(list(expected), rel=1e-10)


# --- effect sizes


def test_effect_sizes_are_those_of_their_formulas() -> None:
    found = one(build(FINALS), "ssim", "mse")
    difference = np.mean(SSIM) - np.mean(MSE)
    assert found.dz == pytest.approx(difference / np.std(np.subtract(SSIM, MSE), ddof=1), rel=1e-10)
    pooled = np.sqrt((np.var(SSIM, ddof=1) + np.var(MSE, ddof=1)) / 2)
    assert found.d_pooled == pytest.approx(difference / pooled, rel=1e-10)
    # Differences +0.2, -0.1, +0.1, +0.2, -0.2, and lower is better: two of five.
    assert found.probability_better == pytest.approx(2 / 5)


def test_the_share_of_better_pairs_follows_the_direction_of_the_metric() -> None:
    record = build({"edge_sharpness": FINALS["delta_e"]}, infos=[SHARPNESS])
    assert one(record, "ssim", "mse", "edge_sharpness").probability_better == pytest.approx(3 / 5)
    assert one(record, "lab", "mse", "edge_sharpness").probability_better == 0.0


def test_equal_pairs_count_half() -> None:
    record = build({"delta_e": {"mse": MSE, "same": [None] * 5}}, shared={"same": "mse"})
    found = one(record, "same", "mse")
    assert (found.probability_better, found.d_pooled, found.dz) == (0.5, 0.0, None)


# --- what is not there


@pytest.mark.parametrize("status", ["pruned", "interrupted", "anything to come"])
def test_a_trial_that_did_not_run_to_its_end_enters_no_verdict(status: str) -> None:
    record = build(FINALS, status={("lab", 12): status})
    found = one(record, "lab", "mse")
    kept = [0, 1, 3, 4]
    differences = np.subtract(LAB, MSE)[kept]
    assert found.n == 4
    assert found.difference == pytest.approx(differences.mean())


def test_a_metric_that_one_variant_lacks_is_compared_for_the_others() -> None:
    finals = {**FINALS, "psnr": {"mse": LAB, "ssim": [None] * 5, "lab": MSE}}
    record = build(finals, infos=[DELTA_E, PSNR])
    lab, ssim = one(record, "lab", "mse", "psnr"), one(record, "ssim", "mse", "psnr")
    assert (ssim.n, ssim.verdict, ssim.difference, ssim.probability_better) == (0, "described", None, None)
    reference = scipy_stats.ttest_rel(MSE, LAB).pvalue
    assert lab.p_adjusted == pytest.approx(2 * reference, rel=1e-10), "the absent comparison still counts"
    assert one(record, "ssim", "mse").n == 5, "other metrics are untouched"


def test_values_that_are_not_numbers_leave_their_pairs_out() -> None:
    finals = {"delta_e": {"mse": MSE, "lab": [LAB[0], float("nan"), *LAB[2:4], float("inf")]}}
    found = one(build(finals), "lab", "mse")
    assert [replicate.seed for replicate in found.replicates] == [10, 12, 13]
    assert found.verdict == "better"


def test_a_variant_with_one_seed_is_described_without_spread() -> None:
    finals = {"delta_e": {"mse": MSE, "lab": [LAB[0], None, None, None, None]}}
    found = one(build(finals), "lab", "mse")
    assert (found.n, found.verdict, found.difference) == (1, "described", pytest.approx(LAB[0] - MSE[0]))
    assert (found.low, found.p, found.dz, found.d_pooled, found.mde) == (None,) * 5
    summary = summarise(build(finals), "delta_e")[1]
    assert (summary.n, summary.mean, summary.sd, summary.low) == (1, LAB[0], None, None)


def test_the_best_variant_is_ahead_of_all() -> None:
    found = best_variant(build(FINALS))
    assert found is not None
    assert (found.variant, found.ahead_of_all, found.not_separable) == ("lab", True, ())


def test_the_best_mean_names_those_it_cannot_be_told_from() -> None:
    found = best_variant(
        build({"delta_e": {"mse": MSE, "ssim": SSIM, "bad": [value + 20 + value / 50 for value in MSE]}})
    )
    assert found is not None
    assert (found.variant, found.ahead_of_all, found.not_separable) == ("mse", False, ("ssim",))


def test_one_lucky_seed_does_not_make_the_best_variant() -> None:
    record = build({"delta_e": {"mse": MSE, "ssim": SSIM, "lucky": [1.0, None, None, None, None]}})
    found = best_variant(record)
    assert found is not None
    assert (found.variant, found.judged, found.ahead_of_all) == ("mse", False, False)
    assert found.not_separable == ("ssim", "lucky")


def test_easy_seeds_do_not_make_the_best_variant_of_one_that_is_beaten() -> None:
    """On the seeds that both have, good is ahead by 1; its mean is worse, for the seeds that easy lacks."""
    easy, good = [5.0, 5.1, 4.9, None, None], [4.0, 4.15, 3.95, 9.0, 9.2]
    record = build({"delta_e": {"bad": [12.0, 12.1, 11.8, 16.0, 16.3], "easy": easy, "good": good}})
    assert one(record, "good", "easy", kind="previous").verdict == "better"
    found = best_variant(record)
    assert found is not None
    assert (found.variant, found.ahead_of_all, found.passed_over) == ("good", True, ("easy",))
    assert found.variant in unbeaten(record, "delta_e")


def test_there_is_no_best_variant_without_values() -> None:
    record = build(FINALS)
    record.trials = record.trials.assign(status="running")
    assert best_variant(record) is None


def test_shuffled_stores_give_identical_results() -> None:
    record, shuffled = build(FINALS, infos=[DELTA_E]), build(FINALS, infos=[DELTA_E])
    shuffled.metrics = shuffled.metrics.sample(frac=1, random_state=3)
    assert compare_all(record, "delta_e") == compare_all(shuffled, "delta_e")
