"""Rates of error of claims of every form over thousands of drawn suites; docs/statistics.md holds the figures.

Every test prints what it measured (`pytest -s`).
"""

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

SUITES = 5_000
CURVES = 2_000


def held(name: str, verdicts: Iterable[str], count: int) -> None:
    counts = Counter(verdicts)
    most = scipy_stats.binom.isf(0.001, count, 0.05)
    for verdict in ("confirmed", "refuted"):
        print(f"{name}: {verdict} {100 * counts[verdict] / count:.2f} %")
        assert counts[verdict] <= most


@pytest.mark.parametrize(("name", "expect", "means"), CASES)
def test_claims_about_metrics(name: str, expect: dict[str, Any], means: list[float]) -> None:
    held(name, metric_verdicts(expect, means, SUITES, seed=11), SUITES)


@pytest.mark.parametrize(("name", "expect", "means"), COST_CASES)
def test_claims_about_costs(name: str, expect: dict[str, Any], means: list[float]) -> None:
    held(name, cost_verdicts(expect, means, SUITES, seed=12), SUITES)


@pytest.mark.parametrize(("name", "expect", "gain"), CURVE_CASES)
def test_claims_about_curves(name: str, expect: dict[str, Any], gain: float) -> None:
    held(name, curve_verdicts(expect, gain, CURVES, seed=13), CURVES)


def test_a_family_of_claims_has_one_error_rate() -> None:
    wrong = wrong_answers(SUITES, seed=14)
    print(f"any wrong answer of six claims: {100 * wrong / SUITES:.2f} %")
    assert wrong <= scipy_stats.binom.isf(0.001, SUITES, 0.05)
