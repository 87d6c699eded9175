"""Claims where claim and contrary meet are confirmed, and refuted, in at most 5 % of drawn suites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from scipy import stats as scipy_stats

from tests.support.simulated_claims import (
    CASES,
    COST_CASES,
    CURVE_CASES,
    cost_verdicts,
    curve_verdicts,
    metric_verdicts,
    wrong_answers,
)

SUITES = 400
CURVES = 40


def held(verdicts: Iterable[str], count: int) -> None:
    """Both errors stay below the count that a rate of 5 % exceeds once in a thousand."""
    counts = Counter(verdicts)
    most = scipy_stats.binom.isf(0.001, count, 0.05)
    assert counts["confirmed"] <= most
    assert counts["refuted"] <= most
    assert counts.total() == count


@pytest.mark.parametrize(("name", "expect", "means"), CASES)
def test_claims_about_metrics(name: str, expect: dict[str, Any], means: list[float]) -> None:
    held(metric_verdicts(expect, means, SUITES, seed=1), SUITES)


@pytest.mark.parametrize(("name", "expect", "means"), COST_CASES)
def test_claims_about_costs(name: str, expect: dict[str, Any], means: list[float]) -> None:
    held(cost_verdicts(expect, means, SUITES, seed=2), SUITES)


@pytest.mark.parametrize(("name", "expect", "gain"), CURVE_CASES)
def test_claims_about_curves(name: str, expect: dict[str, Any], gain: float) -> None:
    held(curve_verdicts(expect, gain, CURVES, seed=3), CURVES)


def test_a_family_of_claims_has_one_error_rate() -> None:
    assert wrong_answers(SUITES, seed=4) <= scipy_stats.binom.isf(0.001, SUITES, 0.05)


@pytest.mark.parametrize(("name", "expect", "means"), CASES[:3] + CASES[7:8] + CASES[10:11])
def test_a_truth_far_on_the_side_of_the_claim_is_confirmed(
    name: str, expect: dict[str, Any], means: list[float]
) -> None:
    """The rates above say nothing of a test that never confirms."""
    clear = {
        "better": [10, 20],
        "worse": [10, 20],
        "equivalent": [10, 10],
        "ranked": [0, 10, 20],
        "largest gain": [0, 1, 2, 11],
    }
    verdicts = Counter(metric_verdicts(expect, clear[name], 50, seed=4))
    assert verdicts["confirmed"] >= 45
