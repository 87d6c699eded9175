"""Rates of error of factorials and of spans over thousands of simulated suites; docs/statistics.md holds them.

Every test prints what it measured (`pytest -s`).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analysis.crossing import factors_of, parts_of
from harness.analysis.factorial import analyse_factorial
from harness.analysis.importance import rank
from harness.plan import Plan
from tests.support.crossed_table import Levels, crossing_of, plan_of, table_of
from tests.unit.analysis.hand_record import DELTA_E

SUITES = 2_000
SWITCH = ("off", "on")
SHAPES = {
    "2x2": {"a": SWITCH, "b": SWITCH},
    "3x2": {"a": ("1", "2", "3"), "b": SWITCH},
    "2x2x2": {"a": SWITCH, "b": SWITCH, "c": SWITCH},
}


def bounds(rate: float, n: int) -> tuple[float, float]:
    """Shares of n between which a true `rate` falls 99.9 times in a hundred."""
    low, high = stats.binom.interval(0.999, n, rate)
    return low / n, high / n


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("seeds", "missing"), [(3, 0), (5, 0), (5, 3)])
def test_five_per_cent_of_equal_factorials_have_a_false_effect(name: str, seeds: int, missing: int) -> None:
    generator = np.random.default_rng(1925)
    crossing = crossing_of(SHAPES[name])
    effects, interactions, covered = 0, 0, []
    for _ in range(SUITES):
        values = generator.normal(size=(crossing.combinations, seeds)) + generator.normal(scale=3, size=seeds)
        values.ravel()[generator.choice(values.size, missing, replace=False)] = np.nan
        found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
        called = [one for one in found.effects if one.verdict not in ("inconclusive", "described")]
        effects += bool(called)
        interactions += any(len(one.factors) > 1 for one in called)
        covered.append(
            [
                one.low <= 0 <= one.high
                for one in found.effects
                if one.low is not None and one.high is not None
            ]
        )
    shares = [np.mean([row[at] for row in covered]) for at in range(len(covered[0]))]
    print(
        f"{name}, {seeds} seeds, {missing} values missing: any effect {100 * effects / SUITES:.2f} %, "
        f"any interaction {100 * interactions / SUITES:.2f} %, covered {100 * min(shares):.1f} to {100 * max(shares):.1f} %"
    )
    assert interactions / SUITES <= 0.05
    assert effects / SUITES <= bounds(0.05, SUITES)[1]
    low, high = bounds(0.95, SUITES)
    assert all(low <= share for share in shares)
    assert missing or all(share <= high for share in shares)  # where values are absent they may be wider


def test_true_effects_do_not_make_absent_interactions_more_frequent() -> None:
    """Holm holds whichever of the others are true."""
    generator = np.random.default_rng(1926)
    crossing = crossing_of(SHAPES["2x2x2"])
    means = np.array(
        [5.0 * sum(factor.of[name] for factor in crossing.factors) for name in crossing.variants]
    )
    false = 0
    for _ in range(SUITES):
        found = analyse_factorial(
            DELTA_E, crossing, table_of(crossing.variants, generator.normal(size=(8, 5)) + means[:, None])
        )
        false += any(
            one.verdict in ("synergy", "antagonism") for one in found.effects if len(one.factors) > 1
        )
    print(f"2x2x2 with three true factors: any interaction {100 * false / SUITES:.2f} %")
    assert false / SUITES <= bounds(0.05, SUITES)[1]


@pytest.mark.parametrize("name", ["2x2", "3x2"])
@pytest.mark.parametrize("noise", ["spread", "tails"])
def test_neither_a_variant_of_four_times_the_spread_nor_heavy_tails_make_false_effects(
    name: str, noise: str
) -> None:
    generator = np.random.default_rng(1938)
    crossing = crossing_of(SHAPES[name])
    spreads = np.ones((crossing.combinations, 1))
    spreads[-1] = 4 if noise == "spread" else 1
    false, tested = 0, 0
    for _ in range(SUITES):
        drawn = generator.standard_t(3, size=(crossing.combinations, 5))
        values = drawn if noise == "tails" else generator.normal(size=drawn.shape) * spreads
        found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
        false += any(one.verdict != "inconclusive" for one in found.effects)
        tested += any(one.p_adjusted is not None and one.p_adjusted < 0.05 for one in found.tests)
    print(
        f"{name}, {noise}: any effect {100 * false / SUITES:.2f} %, any factor {100 * tested / SUITES:.2f} %"
    )
    assert false / SUITES <= bounds(0.05, SUITES)[1]
    assert tested / SUITES <= bounds(0.05, SUITES)[1]


def chain_of_four() -> Plan:
    """Four variants, each of which adds a step to the one before."""
    plan = plan_of({"terms": ("mse", "lpips", "ssim", "lab")})
    names = [None, *(variant.name for variant in plan.variants)]
    steps = zip(plan.variants, names, strict=False)
    variants = tuple(one.model_copy(update={"previous": before}) for one, before in steps)
    return plan.model_copy(update={"variants": variants})


@pytest.mark.parametrize("noise", ["normal", "spread", "tails"])
@pytest.mark.parametrize("apart", [1, 3])
@pytest.mark.parametrize("missing", [0, 2])
def test_a_variant_apart_from_three_that_are_nearly_alike_does_not_matter_by_noise(
    noise: str, apart: int, missing: int
) -> None:
    """Variants that share their start differ by 0.01 from one another, and one by 0.35 from them."""
    generator = np.random.default_rng(1925)
    plan = chain_of_four()
    factors, names = parts_of(plan, factors_of(plan)), [variant.name for variant in plan.variants]
    scales = np.full((4, 1), 0.01)
    scales[apart] = 0.35
    if noise == "spread":
        scales[(apart + 1) % 4] = 0.04
    false = 0
    for _ in range(SUITES):
        drawn = generator.standard_t(3, size=(4, 5)) if noise == "tails" else generator.normal(size=(4, 5))
        values = 10 + scales * drawn + generator.normal(scale=0.5, size=5)
        values.ravel()[generator.choice(values.size, missing, replace=False)] = np.nan
        found = rank(DELTA_E, factors, names, table_of(names, values))
        assert len(found.factors) == 3
        false += any(one.verdict == "matters" for one in found.factors)
    print(
        f"chain, {noise}, variant {apart} apart, {missing} missing: any factor {100 * false / SUITES:.2f} %"
    )
    assert false / SUITES <= bounds(0.05, SUITES)[1]


@pytest.mark.parametrize("folds", [3, 5, 10])
def test_folds_with_overlapping_training_sets_have_no_more_false_effects(folds: int) -> None:
    """What a variant makes of a fold is correlated by 1 / k between folds, as Nadeau and Bengio take it."""
    generator = np.random.default_rng(2003)
    crossing = crossing_of(SHAPES["2x2"])
    called, uncorrected = 0, 0
    for _ in range(SUITES):
        own = generator.normal(scale=np.sqrt(1 - 1 / folds), size=(4, folds))
        values = own + generator.normal(scale=np.sqrt(1 / folds), size=(4, 1)) + generator.normal(size=folds)
        for corrected in (folds, None):
            found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values, folds=corrected))
            is_called = any(
                one.verdict in ("better", "worse", "synergy", "antagonism") for one in found.effects
            )
            called, uncorrected = (
                called + (is_called and corrected is not None),
                uncorrected + (is_called and corrected is None),
            )
    print(f"{folds} folds: {100 * called / SUITES:.2f} %, uncorrected {100 * uncorrected / SUITES:.2f} %")
    assert called / SUITES <= bounds(0.05, SUITES)[1]


@pytest.mark.parametrize("levels", [2, 3, 5])
@pytest.mark.parametrize("apart", [0.0, 3.0])
@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_intervals_of_spans_cover_the_distance_of_the_best_level_from_the_worst(
    levels: int, apart: float, spread: float
) -> None:
    """Although both were picked because they came out best and worst, and the first level may vary more."""
    generator = np.random.default_rng(1953)
    factors: Levels = {"a": [f"a{index}" for index in range(levels)], "b": SWITCH}
    cells = [(one, "off") for one in factors["a"]] + [("a0", "on")]
    plan = plan_of(factors, cells)
    names = [variant.name for variant in plan.variants]
    means = np.array([*np.linspace(0, apart, levels), 0.0])
    covered = 0
    for _ in range(SUITES // 4):
        noise = generator.normal(size=(len(names), 5))
        noise[0] *= spread
        found = rank(DELTA_E, factors_of(plan), names, table_of(names, noise + means[:, None]))
        (one,) = [one for one in found.factors if one.factor.name == "a"]
        assert one.low is not None and one.high is not None
        covered += one.low <= apart <= one.high
    share = covered / (SUITES // 4)
    print(f"{levels} levels, {apart} apart, spread {spread}: span covered {100 * share:.1f} %")
    assert share >= bounds(0.95, SUITES // 4)[0]


def test_the_share_of_variance_is_not_inflated_by_noise() -> None:
    """Before it is clipped at 0, omega squared is about 0 on average for factors that do nothing."""
    generator = np.random.default_rng(1963)
    plan = plan_of(SHAPES["3x2"])
    names = [variant.name for variant in plan.variants]
    means = np.array([0.0, 2.0, 0.0, 2.0, 0.0, 2.0])  # b explains variance 1 of 1 + 1
    shares = []
    for _ in range(500):
        values = generator.normal(size=(6, 5)) + means[:, None]
        found = rank(DELTA_E, factors_of(plan), names, table_of(names, values))
        shares.append({one.factor.name: one.share for one in found.factors})
    told = {name: float(np.mean([one[name] for one in shares])) for name in ("a", "b")}
    print(f"share of variance: none {100 * told['a']:.1f} %, half {100 * told['b']:.1f} %")
    assert told["a"] < 0.03
    assert 0.48 < told["b"] < 0.52
