"""Claims that two metrics agree: ranks as scipy's, seeds as the values, verdicts at the rate they promise."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hand_record import DELTA_E, PSNR, HandRecord, Values, build, claim_of
from pydantic import ValidationError
from scipy import stats as scipy_stats

from harness.analysis.claims import ClaimResult, judge_claims
from harness.analysis.stats import rank_correlation, ranks
from tests.support.agreement import agrees

PAIR = ["delta_e", "psnr"]
FIVE: Values = [5.0] * 5


def with_images(agreement: float, expect: dict[str, Any], seeds: int = 5, count: int = 40) -> HandRecord:
    """Five trials whose colour error falls as PSNR rises, by so much that ranks correlate about so far."""
    record = build(
        {"delta_e": {"mse": FIVE}, "psnr": {"mse": FIVE}},
        infos=(DELTA_E, PSNR),
        claims=[claim_of(correlate=PAIR, **expect)],
    )
    record.image_rows = images_of_agreement(np.random.default_rng(0), agreement, seeds, count)
    return record


def images_of_agreement(
    rng: np.random.Generator, agreement: float, seeds: int = 5, count: int = 40
) -> pd.DataFrame:
    both = rng.multivariate_normal([0, 0], [[1, agreement], [agreement, 1]], (seeds, count))
    return pd.DataFrame(
        {
            "trial_id": np.repeat([f"mse-{10 + seed}" for seed in range(seeds)], count),
            "attempt": 1,
            "index": np.tile(np.arange(count), seeds),
            "label/colour": "red",
            "psnr": both[..., 0].ravel(),
            "delta_e": -both[..., 1].ravel(),  # lower is better
        }
    )


def judged(record: HandRecord) -> ClaimResult:
    (found,) = judge_claims(record)
    return found


@pytest.mark.parametrize(
    ("agreement", "expect", "verdict"),
    [
        (0.9, {"at_least": 0.6}, "confirmed"),
        (0.3, {"at_least": 0.6}, "refuted"),
        (0.62, {"at_least": 0.6}, "inconclusive"),
        (-0.9, {"at_most": -0.5}, "confirmed"),
        (0.9, {"at_most": 0.2}, "refuted"),
        (0.6, {"at_least": 0.1, "at_most": 0.95}, "confirmed"),
    ],
)
def test_verdicts_over_images(agreement: float, expect: dict[str, Any], verdict: str) -> None:
    assert judged(with_images(agreement, {"of": "mse", **expect})).verdict == verdict


def test_the_number_is_the_mean_over_seeds_of_spearman_with_the_better_sides_turned_alike() -> None:
    record = with_images(0.8, {"at_least": 0.6})  # of the reference, where no variant is named
    found = judged(record)
    by_trial = [part for _, part in record.images().groupby("trial_id")]
    values = [scipy_stats.spearmanr(part["psnr"], -part["delta_e"]).statistic for part in by_trial]
    z = np.arctanh(values)
    low, high = scipy_stats.t.interval(0.95, 4, np.mean(z), scipy_stats.sem(z))
    assert (found.estimate, found.low, found.high) == agrees(tuple(np.tanh([z.mean(), low, high])))
    assert found.p == agrees(scipy_stats.ttest_1samp(z, np.arctanh(0.6)).pvalue)
    assert (found.variants, found.metric, found.n) == (("mse",), "delta_e ~ psnr", 5)
    assert found.trials == tuple(f"mse-{seed}" for seed in range(10, 15))
    assert found.reason.startswith("over images: ρ(ΔE, PSNR) 0.7")
    assert "at least 0.60, 5 seeds, p" in found.reason


def test_an_interval_ends_below_one_though_a_seed_has_a_perfect_order() -> None:
    record = with_images(0.99, {"at_least": 0.6})
    rows = record.image_rows
    record.image_rows = rows.where(rows["trial_id"] != "mse-10", rows.assign(psnr=-rows["delta_e"]))
    mixed = rows["trial_id"] == "mse-11"
    record.image_rows.loc[mixed, "psnr"] = rows.loc[mixed, "index"].astype(float)
    found = judged(record)
    assert found.high is not None and 0.9 < found.high < 1


def test_images_where_a_metric_is_not_defined_are_left_out() -> None:
    record = with_images(0.9, {"at_least": 0.6})
    rows = record.image_rows
    rows.loc[rows["index"] % 2 == 0, "psnr"] = np.nan
    part = rows[(rows["trial_id"] == "mse-10") & (rows["index"] % 2 == 1)]
    expected = scipy_stats.spearmanr(part["psnr"], -part["delta_e"]).statistic
    rows.loc[rows["trial_id"] != "mse-10", "psnr"] = np.nan
    found = judged(record)
    assert (found.estimate, found.n, found.judged) == (agrees(expected), 1, False)
    assert "mse: 4 fewer than 3 images, or all alike".upper() in found.reason.upper()


def test_without_tables_of_images_the_claim_is_not_judged_and_says_why() -> None:
    record = with_images(0.9, {"at_least": 0.6})
    record.image_rows = pd.DataFrame()
    found = judged(record)
    assert (found.verdict, found.judged, found.p) == ("inconclusive", False, None)
    assert found.reason == "not judged: over images: 0 seeds, 3 at least (MSE: 5 no table of images)"


# --- over variants

ERRORS: dict[str, Values] = {
    "mse": [9.0, 9.1, 9.2, 9.0],
    "lpips": [8.0, 8.2, 8.1, 8.0],
    "ssim": [7.0, 7.1, 7.2, 7.3],
    "lab": [6.0, 6.1, 6.3, 6.2],
}
RATIOS: dict[str, Values] = {
    "mse": [20.0, 20.1, 20.2, 20.0],
    "lpips": [21.0, 21.1, 21.3, 21.0],
    "ssim": [23.0, 23.1, 22.0, 22.3],
    "lab": [22.0, 22.1, 23.3, 23.2],
}


def over_variants(errors: dict[str, Values], ratios: dict[str, Values], **expect: Any) -> ClaimResult:
    asked = claim_of(correlate=PAIR, over="variants", **expect)
    return judged(build({"delta_e": errors, "psnr": ratios}, infos=(DELTA_E, PSNR), claims=[asked]))


def test_over_variants_each_seed_ranks_all_of_them() -> None:
    found = over_variants(ERRORS, RATIOS, at_least=0.5)
    # Of four variants two neighbours are swapped, 1 - 6 * 2 / 60; a perfect order counts as half of that.
    z = np.arctanh([0.8, 0.8, 0.9, 0.9])
    assert found.estimate == agrees(np.tanh(z.mean()))
    assert found.p == agrees(scipy_stats.ttest_1samp(z, np.arctanh(0.5)).pvalue)
    assert (found.verdict, found.variants) == ("confirmed", tuple(ERRORS))
    assert len(found.trials) == 16
    assert found.reason.startswith("over variants: ρ(ΔE, PSNR) 0.86 [0.74, 0.93], at least 0.50, 4 seeds")


def test_a_seed_with_two_variants_ranks_nothing() -> None:
    errors = {name: [*values[:3], None] for name, values in ERRORS.items()}
    errors["mse"], errors["lpips"] = ERRORS["mse"], ERRORS["lpips"]
    found = over_variants(errors, RATIOS, at_least=0.5)
    assert (found.n, found.judged) == (3, True)
    assert len(found.trials) == 12


# --- grammar, ranks and calibration


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"correlate": PAIR}, "expected `at_least`, `at_most` or both"),
        ({"correlate": ["psnr", "psnr"], "at_least": 0.5}, "'psnr' is correlated with itself"),
        ({"correlate": PAIR, "at_least": 1.5}, "less than 1"),
        ({"correlate": PAIR, "at_least": 0.5, "at_most": 0.5}, "is not below"),
        ({"correlate": PAIR, "at_least": 0.5, "over": "variants", "of": "lab"}, "`of` is for `over: images`"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        claim_of(**wrong)


def test_ranks_and_their_correlation_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        a, b = rng.integers(0, 6, 20).astype(float), rng.normal(size=20)
        assert ranks(a) == agrees(scipy_stats.rankdata(a))
        assert rank_correlation(a, b) == agrees(scipy_stats.spearmanr(a, b).statistic)
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None


@pytest.mark.parametrize("agreement", [0.6, 0.95])
def test_at_the_true_correlation_either_answer_is_given_in_at_most_five_percent(agreement: float) -> None:
    rng = np.random.default_rng(2)
    many = images_of_agreement(rng, agreement, seeds=2000, count=20)
    by_trial = many[["psnr", "delta_e"]].to_numpy().reshape(2000, 20, 2)
    z = [np.arctanh(min(rank_correlation(one[:, 0], -one[:, 1]) or 0, 0.999)) for one in by_trial]
    truth = float(np.tanh(np.mean(z)))
    record, rounds = with_images(agreement, {"at_least": truth}), 60
    counts: Counter[str] = Counter()
    for _ in range(rounds):
        record.image_rows = images_of_agreement(rng, agreement, count=20)
        counts[judged(record).verdict] += 1
    most = scipy_stats.binom.isf(0.001, rounds, 0.05)
    assert counts["confirmed"] <= most
    assert counts["refuted"] <= most
