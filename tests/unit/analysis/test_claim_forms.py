"""Every form of a claim, on records whose answers are known by construction; scipy gives the p-values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hand_record import ACCURACY, DELTA_E, PSNR, Values, build, claim_of, curves
from scipy import stats as scipy_stats
from statsmodels.stats.power import TTestPower

from harness.analysis.claims import ClaimResult, judge_claims
from harness.analysis.costs import COST_INFOS
from harness.expectation import COST_NAMES, EXACT_COSTS
from harness.grammar import Claim
from tests.support.agreement import agrees

# A chain by ΔE, lower is better: lpips changes little, ssim gains about 2, lab about 9.
MSE = [21.0, 22.5, 20.0, 23.0, 21.5]
LPIPS = [21.1, 22.4, 20.2, 22.9, 21.4]
SSIM = [19.2, 20.4, 18.1, 21.2, 19.3]
LAB = [10.1, 11.2, 9.3, 11.9, 10.5]
CHAIN: dict[str, Values] = {"mse": MSE, "lpips": LPIPS, "ssim": SSIM, "lab": LAB}
PSNRS: dict[str, Values] = {
    "mse": [20.0, 20.5, 19.5, 20.2, 20.1],
    "lpips": [20.1, 20.4, 19.6, 20.3, 20.0],
    "ssim": [22.1, 22.4, 21.6, 22.3, 22.0],
    "lab": [20.2, 20.3, 19.7, 20.1, 20.0],
}


def judge(**expect: Any) -> ClaimResult:
    """Judge one claim alone about the chain."""
    record = build({"delta_e": CHAIN, "psnr": PSNRS}, infos=[DELTA_E, PSNR], claims=[claim_of(**expect)])
    (found,) = judge_claims(record)
    return found


def one_sided(sample: Any, popmean: float, alternative: str) -> float:
    return float(scipy_stats.ttest_1samp(sample, popmean, alternative=alternative).pvalue)


def two_sided(sample: Any, popmean: float) -> float:
    return float(scipy_stats.ttest_1samp(sample, popmean).pvalue)


def difference(of: Values, versus: Values) -> Any:
    return np.subtract(of, versus)


@pytest.mark.parametrize(
    ("expect", "verdict"),
    [
        ({"of": "lab", "at_most": 15}, "confirmed"),
        ({"of": "lab", "at_most": 5}, "refuted"),
        ({"of": "lab", "at_most": 11}, "inconclusive"),
        ({"of": "mse", "at_least": 15}, "confirmed"),
        ({"of": "mse", "at_least": 30}, "refuted"),
        ({"of": "mse", "at_least": 21}, "inconclusive"),
        ({"of": "mse", "at_least": 15, "at_most": 30}, "confirmed"),
        ({"of": "mse", "at_least": 30, "at_most": 40}, "refuted"),
        ({"of": "mse", "at_least": 21, "at_most": 40}, "inconclusive"),
        ({"of": "lab", "reported": 10, "tolerance": 5}, "confirmed"),
        ({"of": "lab", "reported": 10, "tolerance": "50%"}, "confirmed"),
        ({"of": "lab", "reported": 10, "tolerance": 0.2}, "inconclusive"),
        ({"of": "lab", "reported": 20, "tolerance": "5%"}, "refuted"),
        ({"ranked": ["lab", "ssim", "mse"]}, "confirmed"),
        ({"ranked": ["lab", "ssim", "mse"], "by": 1.0}, "confirmed"),
        ({"ranked": ["lab", "ssim", "mse"], "by": 5.0}, "refuted"),
        ({"ranked": ["ssim", "lab", "mse"]}, "refuted"),
        ({"ranked": ["lab", "ssim", "lpips", "mse"]}, "inconclusive"),
        ({"best": "lab"}, "confirmed"),
        ({"best": "ssim"}, "refuted"),
        ({"best": "mse", "among": ["lpips"]}, "inconclusive"),
        ({"best": "ssim", "among": ["lpips", "mse"]}, "confirmed"),
        ({"largest_gain": "lab"}, "confirmed"),
        ({"largest_gain": "ssim"}, "refuted"),
        ({"largest_gain": "ssim", "among": ["lpips"]}, "confirmed"),
        ({"interaction": ["lpips", "ssim"], "together": "lab", "direction": "better"}, "confirmed"),
        ({"interaction": ["lpips", "ssim"], "together": "lab", "direction": "worse"}, "refuted"),
        ({"interaction": ["lpips", "ssim"], "together": "lab", "direction": "better", "by": 20}, "refuted"),
        ({"interaction": ["lab", "ssim"], "together": "lpips", "direction": "better"}, "refuted"),
        (
            {"interaction": ["lpips", "ssim"], "together": "lab", "direction": "equivalent", "margin": 1},
            "refuted",
        ),
        (
            {"interaction": ["lpips", "ssim"], "together": "lab", "direction": "equivalent", "margin": 20},
            "confirmed",
        ),
        (
            {"interaction": ["lpips", "ssim"], "together": "lab", "direction": "equivalent", "margin": 9},
            "inconclusive",
        ),
    ],
)
def test_verdicts(expect: dict[str, Any], verdict: str) -> None:
    found = judge(metric="delta_e", **expect)
    assert (found.verdict, found.judged) == (verdict, True), found.reason


def test_a_mean_against_one_bound_is_a_two_sided_t_test_of_one_sample() -> None:
    found = judge(metric="delta_e", of="lab", at_most=11)
    assert found.p == pytest.approx(two_sided(LAB, 11), rel=1e-10)
    assert (found.estimate, found.difference, found.variants) == (agrees(10.6), None, ("lab",))
    low, high = scipy_stats.ttest_1samp(LAB, 0).confidence_interval()
    assert (found.low, found.high) == (agrees(low), agrees(high))


def test_a_mean_between_two_bounds_is_two_one_sided_tests_and_beyond_them_two_doubled() -> None:
    within = judge(metric="delta_e", of="mse", at_least=20, at_most=40)
    assert within.p == agrees(max(one_sided(MSE, 20, "greater"), one_sided(MSE, 40, "less")))
    beyond = judge(metric="delta_e", of="mse", at_least=24, at_most=40)
    assert beyond.p == agrees(2 * one_sided(MSE, 24, "less"))


def test_a_reported_figure_is_an_equivalence_of_one_sample() -> None:
    found = judge(metric="delta_e", of="lab", reported=10, tolerance="20%")
    assert found.p == agrees(max(one_sided(LAB, 8, "greater"), one_sided(LAB, 12, "less")))


def test_an_order_has_the_largest_p_of_its_steps_where_it_holds() -> None:
    found = judge(metric="delta_e", ranked=["lab", "ssim", "mse"])
    steps = [two_sided(difference(LAB, SSIM), 0), two_sided(difference(SSIM, MSE), 0)]
    assert [part.p_confirm for part in found.parts] == agrees(steps)
    assert found.p == agrees(max(steps))
    assert found.difference == agrees(np.mean(difference(SSIM, MSE)))
    assert found.reason.startswith("least certain of 2: SSIM against MSE: ΔE −2.0 [")


def test_an_order_that_fails_has_the_smallest_p_times_the_steps_and_names_the_first_pair() -> None:
    found = judge(metric="delta_e", ranked=["lpips", "lab", "mse", "ssim"])
    wrong = [two_sided(difference(LPIPS, LAB), 0), two_sided(difference(MSE, SSIM), 0)]
    assert found.p == agrees(3 * min(wrong))
    assert found.reason.startswith("LPIPS against LAB: ΔE +11.0 [")
    assert ": worse, 5 seeds" in found.reason


def test_the_best_names_the_strongest_rival() -> None:
    found = judge(metric="delta_e", best="lpips")
    against = [two_sided(difference(LPIPS, other), 0) for other in (SSIM, LAB)]
    assert found.p == agrees(3 * min(against))
    assert found.variants == ("lpips", "mse", "ssim", "lab")
    assert found.reason.startswith(("LPIPS against LAB", "LPIPS against SSIM"))


def test_the_largest_gain_is_a_gain_and_a_contrast_of_steps() -> None:
    found = judge(metric="delta_e", largest_gain="ssim", among=["lpips"])
    gain = difference(LPIPS, SSIM)  # lower is better
    contrast = gain - difference(MSE, LPIPS)
    assert [part.p_confirm for part in found.parts] == pytest.approx(
        [two_sided(gain, 0), two_sided(contrast, 0)]
    )
    assert [part.improvement for part in found.parts] == agrees([np.mean(gain), np.mean(contrast)])
    assert found.parts[1].about == "step of SSIM less that of LPIPS"
    assert set(found.variants) == {"ssim", "lpips", "mse"}


def test_a_loss_that_is_smaller_than_the_others_is_no_largest_gain() -> None:
    worse = {"a": [1.0, 1.2, 0.9, 1.1], "b": [2.0, 2.1, 1.95, 2.2], "c": [9.0, 9.1, 8.9, 9.3]}
    (found,) = judge_claims(build({"delta_e": worse}, claims=[claim_of(metric="delta_e", largest_gain="b")]))
    assert found.verdict == "refuted"
    assert found.reason.startswith("step of B: ΔE +1.0")


def test_the_largest_gain_is_that_of_one_chain() -> None:
    record = build({"delta_e": CHAIN}, claims=[claim_of(metric="delta_e", largest_gain="ssim")])
    variants = [
        one.model_copy(update={"previous": "mse" if one.name == "lab" else one.previous})
        for one in record.plan.variants
    ]
    record.plan = record.plan.model_copy(update={"variants": tuple(variants)})
    (found,) = judge_claims(record)
    assert (found.verdict, set(found.variants)) == ("confirmed", {"mse", "lpips", "ssim"})


def test_an_interaction_is_the_whole_less_both_parts_plus_neither() -> None:
    found = judge(metric="delta_e", interaction=["lpips", "ssim"], together="lab", direction="better")
    contrast = np.array(LAB) - np.array(LPIPS) - np.array(SSIM) + np.array(MSE)
    assert found.p == agrees(two_sided(contrast, 0))
    assert found.difference == agrees(contrast.mean())
    assert found.reason.startswith("LPIPS and SSIM together, against their sum: ΔE −")
    assert set(found.variants) == {"lab", "lpips", "ssim", "mse"}


def test_neither_may_be_another_variant_than_the_reference() -> None:
    found = judge(
        metric="delta_e", interaction=["mse", "ssim"], together="lab", neither="lpips", direction="better"
    )
    contrast = np.array(LAB) - np.array(MSE) - np.array(SSIM) + np.array(LPIPS)
    assert found.difference == agrees(contrast.mean())


def test_of_several_metrics_the_claim_holds_for_each() -> None:
    both = judge(metric=["delta_e", "psnr"], of="ssim", versus="mse", direction="better")
    p_values = [two_sided(difference(SSIM, MSE), 0), two_sided(difference(PSNRS["ssim"], PSNRS["mse"]), 0)]
    assert (both.verdict, both.p) == ("confirmed", agrees(max(p_values)))
    one = judge(metric=["delta_e", "psnr"], of="lab", versus="ssim", direction="better")
    wrong = two_sided(difference(PSNRS["lab"], PSNRS["ssim"]), 0)
    assert (one.verdict, one.metric, one.p) == ("refuted", "psnr", agrees(2 * wrong))


def test_of_several_labels_the_claim_holds_for_each() -> None:
    labelled = {
        "delta_e": CHAIN,
        "delta_e@colour=red": CHAIN,
        "delta_e@colour=blue": dict.fromkeys(CHAIN, MSE),
    }
    expect = {"metric": "delta_e", "of": "lab", "versus": "mse", "direction": "better"}
    claims = [
        claim_of(**expect, label=["colour=red", "colour=blue"]),
        claim_of(**expect, label=["colour=red"]),
    ]
    both, red = judge_claims(build(labelled, claims=claims))
    assert (both.verdict, red.verdict) == ("inconclusive", "confirmed")
    assert [part.label for part in both.parts] == ["colour=red", "colour=blue"]
    assert both.reason.startswith("ΔE (colour=blue) 0.0 in every seed")


def test_a_part_without_values_leaves_a_claim_open_and_another_may_refute_it() -> None:
    values = {**CHAIN, "lab": [None] * 5}
    claims = [
        claim_of(metric="delta_e", ranked=["ssim", "mse", "lab"]),
        claim_of(metric="delta_e", ranked=["mse", "ssim", "lab"]),
    ]
    open_, refuted = judge_claims(build({"delta_e": values}, claims=claims))
    assert (open_.verdict, open_.judged) == ("inconclusive", False)
    assert open_.reason == (
        "not judged: MSE against LAB: 0 paired seeds, 3 at least (LAB: 5 no value at the last epoch)"
    )
    assert (refuted.verdict, refuted.judged) == ("refuted", True)
    assert refuted.p == agrees(2 * two_sided(difference(MSE, SSIM), 0))


@pytest.mark.parametrize(
    "expect",
    [
        {"metric": "delta_e", "of": "lab", "at_most": 15},
        {"metric": "delta_e", "of": "lab", "at_least": 1, "at_most": 15},
        {"metric": "delta_e", "of": "lab", "reported": 10, "tolerance": 5},
        {"metric": "delta_e", "ranked": ["lab", "ssim"]},
        {"metric": "delta_e", "best": "lab"},
        {"metric": "delta_e", "largest_gain": "lab"},
        {"metric": "delta_e", "interaction": ["lpips", "ssim"], "together": "lab", "direction": "better"},
        {"cost": "train_seconds", "of": "lab", "versus": "mse", "direction": "more"},
        {"metric": "train_seconds", "of": "lab", "at_most": 15},
    ],
)
def test_two_seeds_judge_nothing_and_what_is_absent_is_said(expect: dict[str, Any]) -> None:
    status = {("lab", 10): "failed", ("lab", 11): "failed", ("lab", 12): "failed"}
    seconds = {name: [10.0, 11.0, 12.0, 11.0, 10.5] for name in CHAIN}
    record = build({"delta_e": CHAIN}, claims=[claim_of(**expect)], status=status, train_seconds=seconds)
    (found,) = judge_claims(record)
    assert (found.verdict, found.judged, found.p) == ("inconclusive", False, None) or len(found.parts) > 1
    assert not found.judged
    assert "not judged: " in found.reason
    assert "seeds, 3 at least (LAB: 3 failed: ValueError)" in found.reason


def test_all_tested_claims_are_one_family() -> None:
    claims = [
        claim_of(metric="delta_e", of="lab", at_most=11),
        claim_of(metric="delta_e", best="lab"),
        claim_of(metric="parameters", of="lab", reported=1000),
    ]
    first, second, exact = judge_claims(build({"delta_e": CHAIN}, claims=claims))
    p_first = two_sided(LAB, 11)
    assert first.p_adjusted == agrees(p_first)
    assert second.p_adjusted == agrees(2 * (second.p or 0))
    assert (exact.verdict, exact.p, exact.p_adjusted) == ("confirmed", None, None)


# --- costs


SECONDS: dict[str, Values] = {
    "mse": [10.0, 10.5, 9.8, 10.2, 10.1],
    "lpips": [10.1, 10.3, 9.9, 10.0, 10.3],
    "ssim": [10.5, 11.0, 10.1, 10.9, 10.4],
    "lab": [14.0, 14.2, 13.5, 14.0, 13.9],
}


def judge_cost(**expect: Any) -> ClaimResult:
    record = build({"delta_e": CHAIN}, claims=[claim_of(**expect)], train_seconds=SECONDS)
    (found,) = judge_claims(record)
    return found


@pytest.mark.parametrize(
    ("expect", "verdict"),
    [
        ({"of": "lab", "versus": "mse", "direction": "more"}, "confirmed"),
        ({"of": "lab", "versus": "mse", "direction": "more", "by": 1.3}, "confirmed"),
        ({"of": "lab", "versus": "mse", "direction": "more", "by": 2}, "refuted"),
        ({"of": "lab", "versus": "mse", "direction": "less"}, "refuted"),
        ({"of": "mse", "versus": "lab", "direction": "less", "by": 1.3}, "confirmed"),
        ({"of": "mse", "versus": "lab", "direction": "less", "by": 2}, "refuted"),
        ({"of": "lpips", "versus": "mse", "direction": "more"}, "inconclusive"),
    ],
)
def test_verdicts_on_costs(expect: dict[str, Any], verdict: str) -> None:
    assert judge_cost(cost="train_seconds", **expect).verdict == verdict


def test_a_cost_is_a_ratio_with_a_paired_t_on_logarithms() -> None:
    found = judge_cost(cost="train_seconds", of="lab", versus="mse", direction="more", by=1.3)
    ratios = np.log(SECONDS["lab"]) - np.log(SECONDS["mse"])
    assert found.p == agrees(two_sided(ratios, np.log(1.3)))
    low, high = scipy_stats.ttest_1samp(ratios, 0).confidence_interval()
    assert (found.estimate, found.low, found.high) == agrees(tuple(np.exp([ratios.mean(), low, high])))
    assert found.reason.startswith(
        "Training time 1.38 [1.35, 1.40] times as much, more than 1.30 times, 5 seeds"
    )


def test_the_mean_cost_of_one_variant_is_tested_like_a_metric() -> None:
    found = judge_cost(metric="train_seconds", of="mse", at_most=11)
    assert (found.verdict, found.p) == ("confirmed", agrees(two_sided(SECONDS["mse"], 11)))
    assert found.reason.startswith("Training time 10.1 s [9.80 s, 10.4 s], at most 11.0 s")


def exact(values: dict[str, Values], *claims: Claim) -> list[ClaimResult]:
    return judge_claims(build({"delta_e": CHAIN}, claims=claims, costs={"parameters": values}))


def test_exact_costs_are_compared_without_a_test_and_with_one_trial() -> None:
    one: list[float | None] = [1_000_000, None, None, None, None]
    other: list[float | None] = [1_250_000, None, None, None, None]
    found = exact(
        {"mse": one, "lpips": one, "ssim": one, "lab": other},
        claim_of(cost="parameters", of="lab", versus="mse", direction="more", by=1.25),
        claim_of(cost="parameters", of="lab", versus="mse", direction="more", by=1.26),
        claim_of(cost="parameters", of="lpips", versus="mse", direction="less"),
        claim_of(metric="parameters", of="lab", reported=1_250_000),
        claim_of(metric="parameters", of="lab", reported=1_250_001),
        claim_of(metric="parameters", of="lab", reported=1_250_001, tolerance="1%"),
        claim_of(metric="parameters", of="lab", at_most=1_250_000),
    )
    assert [one.verdict for one in found] == [
        "confirmed",
        "refuted",
        "refuted",
        "confirmed",
        "refuted",
        "confirmed",
        "confirmed",
    ]
    assert {one.judged for one in found} == {True}
    assert {one.p for one in found} == {None}
    assert [one.reason for one in found[:5]] == [
        "Parameters 1.25 times as much, 1,250,000 against 1,000,000, at least 1.25 times",
        "Parameters 1.25 times as much, 1,250,000 against 1,000,000: less than 1.26 times",
        "Parameters 1.00 times as much, 1,000,000 against 1,000,000: not less",
        "Parameters 1,250,000, as reported",
        "Parameters 1,250,000: not the reported 1,250,001",
    ]


def test_an_exact_cost_that_differs_between_seeds_is_open() -> None:
    (found,) = exact(
        {**{name: [10] * 5 for name in CHAIN}, "lab": [10, 12, 10, 12, 12]},
        claim_of(metric="parameters", of="lab", reported=12),
    )
    assert found.verdict == "inconclusive"
    assert found.reason == "Parameters 10 and 12: as claimed in 3 of 5 trials"


def test_an_exact_cost_of_nothing_is_not_judged() -> None:
    status = {("lab", seed): "failed" for seed in range(10, 15)}
    claims = [claim_of(metric="parameters", of="lab", reported=12)]
    (found,) = judge_claims(build({"delta_e": CHAIN}, claims=claims, status=status))
    assert not found.judged
    assert found.reason == "not judged: 0 seeds, 1 at least (LAB: 5 failed: ValueError)"


def test_claims_know_the_costs_of_the_analysis() -> None:
    assert set(COST_NAMES) == set(COST_INFOS)
    assert set(EXACT_COSTS) == {name for name, info in COST_INFOS.items() if not info.measured}


# --- curves


def plateau(kink: int, *, epochs: int = 40, gain: float = 0.0, wobble: float = 0.01) -> list[list[float]]:
    """Five falling curves (lower is better) that are flat from epoch `kink` on, but for `gain` an epoch."""
    rng = np.random.default_rng(5)
    epoch = np.arange(1, epochs + 1)
    falling = 30 - np.minimum(epoch, kink) * 0.5 - gain * np.maximum(epoch - kink, 0)
    return [list(falling + seed + rng.normal(0, wobble, epochs)) for seed in range(5)]


def judge_curve(values: list[list[float]], **expect: Any) -> ClaimResult:
    claim = claim_of(metric="delta_e", of="a", **expect)
    (found,) = judge_claims(curves({"a": values}, claims=[claim]))
    return found


@pytest.mark.parametrize(
    ("values", "expect", "verdict"),
    [
        (plateau(20), {"curve": "plateaued", "by_epoch": 30}, "confirmed"),
        (plateau(30), {"curve": "plateaued", "by_epoch": 30}, "confirmed"),
        (plateau(36), {"curve": "plateaued", "by_epoch": 30}, "refuted"),
        (plateau(40), {"curve": "plateaued", "by_epoch": 5}, "refuted"),
        (plateau(40), {"curve": "plateaued", "by_epoch": 38, "tolerance": 2}, "confirmed"),
        (plateau(20, wobble=3), {"curve": "plateaued", "by_epoch": 30, "tolerance": 0.5}, "inconclusive"),
        (plateau(20), {"curve": "plateaued"}, "confirmed"),
        (plateau(40), {"curve": "plateaued"}, "refuted"),
        (plateau(40), {"curve": "improving", "by_epoch": 30}, "confirmed"),
        (plateau(40), {"curve": "improving", "by_epoch": 30, "tolerance": 50}, "refuted"),
        (plateau(20, gain=-0.2), {"curve": "improving", "by_epoch": 30}, "refuted"),
        (plateau(20, gain=-0.2), {"curve": "worsening", "by_epoch": 30}, "confirmed"),
        (plateau(20, gain=-0.2), {"curve": "worsening"}, "confirmed"),
        (plateau(20, wobble=1), {"curve": "improving", "by_epoch": 30}, "inconclusive"),
    ],
)
def test_verdicts_on_curves(values: list[list[float]], expect: dict[str, Any], verdict: str) -> None:
    found = judge_curve(values, **expect)
    assert (found.verdict, found.judged) == (verdict, True), found.reason


@pytest.mark.parametrize(
    ("by_epoch", "width"),
    [(38, 1), (28, 3), (20, 5), (2, 5)],  # of 2, 12, 20 and 38 epochs that follow; five at most
)
def test_the_windows_are_a_quarter_of_what_follows_the_epoch(by_epoch: int, width: int) -> None:
    values = plateau(40)
    found = judge_curve(values, curve="improving", by_epoch=by_epoch)
    early = slice(by_epoch - 1, by_epoch - 1 + width)  # epochs count from 1
    gains = [np.mean(curve[40 - width :]) - np.mean(curve[early]) for curve in values]
    assert found.p == agrees(two_sided(gains, 0))
    assert found.difference == agrees(np.mean(gains))
    assert found.reason.startswith(f"after epoch {by_epoch}: ΔE −")


def test_without_an_epoch_the_last_quarter_is_held_against_the_one_before() -> None:
    values = plateau(40)
    found = judge_curve(values, curve="improving")
    gains = [np.mean(curve[30:40]) - np.mean(curve[20:30]) for curve in values]
    assert found.p == agrees(two_sided(gains, 0))


def test_what_was_gained_before_the_epoch_does_not_count() -> None:
    """A steep fall that ends at the epoch named is a plateau from there on."""
    found = judge_curve(plateau(30, wobble=0.0), curve="improving", by_epoch=30)
    assert found.difference == 0.0


def test_curves_that_end_before_the_epoch_are_named() -> None:
    found = judge_curve([*plateau(20)[:2], *plateau(20, epochs=30)[2:]], curve="improving", by_epoch=30)
    assert not found.judged
    assert found.reason.startswith(
        "not judged: after epoch 30: 2 seeds, 3 at least (A: 3 no epoch after 30); ΔE"
    )


def test_a_curve_that_is_best_at_first_has_no_tolerance_of_its_own() -> None:
    found = judge_curve([list(np.linspace(10, 20 + seed, 40)) for seed in range(5)], curve="plateaued")
    assert not found.judged
    assert "no epoch is better than the first, so a plateau needs a tolerance" in found.reason


# --- sentences


def test_reasons_name_the_numbers_and_stop() -> None:
    # LAB: mean 10.6, sd 1.0; statsmodels' TTestPower gives 1.68 for 5 seeds, and 51.01 seeds for 0.4.
    assert judge(metric="delta_e", of="lab", at_most=15).reason == (
        "ΔE 10.6 [9.4, 11.8], at most 15.0, 5 seeds, p = 0.0006 (Holm)"
    )
    assert judge(metric="delta_e", of="lab", at_most=5).reason.startswith("ΔE 10.6 [9.4, 11.8]: above 5.0, ")
    assert judge(metric="delta_e", of="lab", at_most=11).reason == (
        "ΔE 10.6 [9.4, 11.8]; claimed at most 11.0, this run could have told 1.7 from it; "
        "about 52 seeds would settle it"
    )
    between = judge(metric="delta_e", of="mse", at_least=15, at_most=30.125)
    assert ", between 15.0 and 30.125, 5 seeds, p = " in between.reason
    reported = judge(metric="delta_e", of="lab", reported=10.25, tolerance="50%")
    assert ", within ±5.125 of the reported 10.25, 5 seeds, p = " in reported.reason


def test_a_percentage_is_reported_with_points_of_tolerance() -> None:
    record = build(
        {"colour_accuracy": {"a": [0.51, 0.52, 0.53]}},
        infos=[ACCURACY],
        claims=[claim_of(metric="colour_accuracy", of="a", reported=0.525, tolerance=0.05)],
    )
    (found,) = judge_claims(record)
    assert found.reason.startswith(
        "Right colour 52 [50, 54]%, within ±5 points of the reported 52.5%, 3 seeds"
    )


def test_folds_are_corrected_for_in_every_contrast() -> None:
    values = {name: [*found, *found] for name, found in CHAIN.items()}
    record = build(
        {"delta_e": values},
        claims=[
            claim_of(metric="delta_e", of="lab", at_most=15),
            claim_of(metric="delta_e", interaction=["lpips", "ssim"], together="lab", direction="better"),
        ],
        folds=5,
    )
    for found, sample, bound in zip(
        judge_claims(record),
        (np.array(LAB), np.array(LAB) - np.array(LPIPS) - np.array(SSIM) + np.array(MSE)),
        (15, 0),
        strict=True,
    ):
        # Nadeau and Bengio (2003): variance s2 (1/n + 1/(k - 1)), with n = k = 5.
        t = (sample.mean() - bound) / (sample.std(ddof=1) * np.sqrt(1 / 5 + 1 / 4))
        assert found.p == agrees(2 * scipy_stats.t.sf(abs(t), 4))
        assert (found.p_exact, found.seeds_needed) == (None, None)


def test_what_an_order_could_have_told_is_at_the_level_that_refutes_a_part() -> None:
    """Three parts are refuted at a third of 5 % each; else a step beyond "could have seen" might be open."""
    found = judge(metric="delta_e", ranked=["lab", "ssim", "lpips", "mse"])
    assert (found.verdict, found.n) == ("inconclusive", 5)
    sd = float(np.std(difference(LPIPS, MSE), ddof=1))
    assert found.mde is not None
    power = TTestPower().power(found.mde / sd, 5, 0.05 / 3, alternative="two-sided")
    assert power == pytest.approx(0.8, abs=1e-6)
