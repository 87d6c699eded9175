"""Claims and their reasons, on records whose answers are known by construction."""

from __future__ import annotations

import numpy as np
import pytest
from hand_record import ACCURACY, DELTA_E, LPIPS_RAND, SHARPNESS, Values, build, claim
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from harness.analysis.claims import ClaimResult, judge_claims
from harness.errors import HarnessError
from tests.support.agreement import agrees

MSE = [21.0, 22.5, 20.0, 23.0, 21.5]
SSIM = [21.2, 22.4, 20.1, 23.2, 21.3]
LAB = [11.1, 12.2, 10.3, 12.9, 11.5]
FINALS: dict[str, dict[str, Values]] = {"delta_e": {"mse": MSE, "ssim": SSIM, "lab": LAB}}


def judge(*expectations: tuple[str, str, str, dict[str, object]], **rest: object) -> list[ClaimResult]:
    """Judge claims (of, direction, versus, the rest) on delta_e."""
    claims = [claim("delta_e", of, versus, direction, **more) for of, direction, versus, more in expectations]
    return judge_claims(build(FINALS, claims=claims, **rest))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of", "direction", "versus", "more", "verdict"),
    [
        ("lab", "better", "mse", {}, "confirmed"),
        ("mse", "better", "lab", {}, "refuted"),
        ("mse", "worse", "lab", {}, "confirmed"),
        ("lab", "worse", "mse", {}, "refuted"),
        ("ssim", "better", "mse", {}, "inconclusive"),
        ("ssim", "worse", "mse", {}, "inconclusive"),
        ("lab", "better", "mse", {"by": 5.0}, "confirmed"),
        ("lab", "better", "mse", {"by": 15.0}, "refuted"),
        ("lab", "better", "mse", {"by": 10.0}, "inconclusive"),
        ("mse", "worse", "lab", {"by": 5.0}, "confirmed"),
        ("mse", "worse", "lab", {"by": 15.0}, "refuted"),
        ("ssim", "better", "mse", {"by": 5.0}, "refuted"),
        ("ssim", "equivalent", "mse", {"margin": 1.0}, "confirmed"),
        ("lab", "equivalent", "mse", {"margin": 1.0}, "refuted"),
        ("mse", "equivalent", "lab", {"margin": 1.0}, "refuted"),
        ("lab", "equivalent", "mse", {"margin": 10.0}, "inconclusive"),
        ("ssim", "equivalent", "mse", {"margin": 0.1}, "inconclusive"),
    ],
)
def test_verdicts(of: str, direction: str, versus: str, more: dict[str, object], verdict: str) -> None:
    (found,) = judge((of, direction, versus, more))
    assert found.verdict == verdict
    assert found.judged


def test_a_metric_where_higher_is_better() -> None:
    record = build(
        {"edge_sharpness": {"mse": LAB, "ssim": MSE}},
        infos=[SHARPNESS],
        claims=[
            claim("edge_sharpness", "ssim", "mse", "better", by=5.0),
            claim("edge_sharpness", "ssim", "mse", "worse"),
        ],
    )
    assert [found.verdict for found in judge_claims(record)] == ["confirmed", "refuted"]


def test_p_is_that_of_a_t_test_against_what_is_claimed() -> None:
    by_nine, none, equivalent = judge(
        ("lab", "better", "mse", {"by": 9.9}),
        ("ssim", "better", "mse", {}),
        ("lab", "equivalent", "mse", {"margin": 9.5}),
    )
    differences = np.subtract(LAB, MSE)
    p_values = [
        scipy_stats.ttest_1samp(differences, -9.9).pvalue,
        scipy_stats.ttest_rel(SSIM, MSE).pvalue,
        2 * scipy_stats.ttest_1samp(differences, -9.5, alternative="less").pvalue,
    ]
    assert [by_nine.p, none.p, equivalent.p] == pytest.approx(p_values, rel=1e-10)
    adjusted = multipletests(p_values, method="holm")[1]
    assert [by_nine.p_adjusted, none.p_adjusted, equivalent.p_adjusted] == pytest.approx(
        list(adjusted), rel=1e-10
    )


def test_more_claims_ask_for_stronger_evidence() -> None:
    alone = [10.0, 10.6, 9.8, 10.5, 10.3]
    other = [10.5, 10.8, 10.1, 10.6, 10.9]
    finals = {"delta_e": {"a": other, "b": alone}}
    (single,) = judge_claims(build(finals, claims=[claim("delta_e", "b", "a", "better")]))
    many = judge_claims(build(finals, claims=[claim("delta_e", "b", "a", "better")] * 5))
    assert single.p == many[0].p == agrees(scipy_stats.ttest_rel(alone, other).pvalue)
    assert (single.verdict, many[0].verdict) == ("confirmed", "inconclusive")


def test_a_claim_that_cannot_be_judged_still_counts_and_says_why() -> None:
    status = {("lab", 10): "failed", ("lab", 11): "failed", ("lab", 12): "running"}
    open_claim, other = judge(
        ("lab", "better", "mse", {}), ("ssim", "equivalent", "mse", {"margin": 1}), status=status
    )
    assert (open_claim.verdict, open_claim.judged, open_claim.p) == ("inconclusive", False, None)
    assert open_claim.reason.startswith(
        "not judged: 2 paired seeds, 3 at least (LAB: 2 failed: ValueError; LAB: 1 running); ΔE −10.1"
    )
    assert other.p_adjusted == agrees(2 * (other.p or 0))


def test_a_claim_about_nothing_recorded() -> None:
    found = judge_claims(
        build(
            {**FINALS, "colour_accuracy": dict.fromkeys(FINALS["delta_e"], [None] * 5)},
            infos=[DELTA_E, ACCURACY],
            claims=[
                claim("colour_accuracy", "lab", "mse", "better"),
                claim("delta_e", "lab", "mse", "better", label="colour=red"),
                claim("delta_e", "deep", "mse", "better"),
            ],
        )
    )
    assert [one.reason for one in found] == [
        "not judged: 0 paired seeds, 3 at least "
        "(MSE: 5 no value at the last epoch; LAB: 5 no value at the last epoch)",
        "not judged: 0 paired seeds with colour=red, 3 at least",
        "not judged: deep is not in this run",
    ]
    assert {one.verdict for one in found} == {"inconclusive"}


def test_an_unknown_metric_is_an_error() -> None:
    with pytest.raises(HarnessError, match="no metric 'speed'"):
        judge_claims(build(FINALS, claims=[claim("speed", "lab", "mse", "better")]))


def test_a_label_is_judged_on_its_own_values() -> None:
    record = build(
        {**FINALS, "delta_e@colour=red": {"mse": LAB, "ssim": SSIM, "lab": MSE}},
        claims=[claim("delta_e", "lab", "mse", "better", label="colour=red")],
    )
    (found,) = judge_claims(record)
    assert found.verdict == "refuted"
    assert found.reason.startswith("ΔE (colour=red) +10.0 [")


def test_stand_in_metric_and_declared_margin() -> None:
    record = build(
        {"lpips_rand": {"mse": MSE, "ssim": SSIM}},
        infos=[LPIPS_RAND],
        margins={"lpips_rand": 1.0},
        claims=[claim("lpips", "ssim", "mse", "equivalent")],
    )
    (found,) = judge_claims(record)
    assert (found.metric, found.verdict) == ("lpips_rand", "confirmed")


def test_reasons_name_the_numbers_and_stop() -> None:
    reasons = [
        found.reason
        for found in judge(
            ("lab", "better", "mse", {}),
            ("lab", "worse", "mse", {}),
            ("lab", "better", "mse", {"by": 5.0}),
            ("lab", "better", "mse", {"by": 15.0}),
            ("ssim", "equivalent", "mse", {"margin": 1.0}),
            ("lab", "equivalent", "mse", {"margin": 1.0}),
            ("lab", "equivalent", "mse", {"margin": 10.0}),
        )
    ]
    # Differences of lab: -9.9, -10.3, -9.7, -10.1, -10.0: mean -10, sd sqrt(0.05), half width 0.278.
    effect = "ΔE −10.0 [−10.3, −9.7]"
    assert reasons == [
        f"{effect}, 5 seeds, p < 0.0001 (Holm)",
        f"{effect}: better, 5 seeds, p < 0.0001 (Holm)",
        f"{effect}, more than 5.0 better, 5 seeds, p < 0.0001 (Holm)",
        f"{effect}: less than 15.0 better, 5 seeds, p < 0.0001 (Holm)",
        "ΔE 0.0 [−0.2, +0.3], within ±1.0, 5 seeds, p = 0.0003 (Holm)",
        f"{effect}: beyond ±1.0, 5 seeds, p < 0.0001 (Holm)",
        f"{effect}, not told whether within ±10.0, 5 seeds, p = 0.50 (Holm)",
    ]


def test_an_open_claim_says_what_would_settle_it() -> None:
    record = build(
        {"delta_e": {"mse": [10.0, 10.0, 10.0, 10.0], "lab": [8.0, 11.0, 9.0, 10.0]}},
        claims=[claim("delta_e", "lab", "mse", "better")],
    )
    (found,) = judge_claims(record)
    # Mean -0.5, sd 1.29; statsmodels' TTestPower gives 2.747 for 4 pairs, and 54.3 pairs for 0.5.
    assert (
        found.reason == "ΔE −0.5 [−2.6, +1.6]; this run could have seen −2.7; about 55 seeds would settle it"
    )


def test_an_open_claim_about_a_size_says_what_it_was_held_against() -> None:
    (found,) = judge(("ssim", "better", "mse", {"by": 0.1}))
    assert found.verdict == "inconclusive"
    assert "; claimed 0.1 better, this run could have told 0." in found.reason


def test_the_same_difference_in_every_seed_has_no_interval() -> None:
    record = build(
        {"delta_e": {"mse": MSE, "lab": [value - 1 for value in MSE]}},
        claims=[claim("delta_e", "lab", "mse", "better")],
    )
    (found,) = judge_claims(record)
    assert (found.verdict, found.p) == ("inconclusive", 2 / 32)
    assert found.reason == "ΔE −1.0 in every seed, 5 seeds, p = 0.062 (Holm)"


def test_a_claim_about_two_names_of_one_configuration() -> None:
    record = build(
        {"delta_e": {"mse": MSE, "same": [None] * 5}},
        shared={"same": "mse"},
        claims=[claim("delta_e", "same", "mse", "better")],
    )
    (found,) = judge_claims(record)
    assert (found.verdict, found.difference) == ("inconclusive", 0.0)
    assert found.reason == "both variants are the same configuration and share their trials"


def test_no_claims_no_answers() -> None:
    assert judge_claims(build(FINALS)) == []
