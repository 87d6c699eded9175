"""Importance of factors: spans, shares of variance and tests, for every kind of design."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.analysis.crossing import factors_of, parts_of
from harness.analysis.effects import compare_all
from harness.analysis.importance import FactorImportance, Importance, rank, rank_factors
from harness.analysis.stats import holm, paired_difference
from harness.plan import Plan, Variant
from harness.planning.build import plan_suite
from harness.testing.tiny import TINY
from tests.support.agreement import agrees
from tests.support.crossed_table import plan_of, table_of
from tests.unit.analysis.hand_record import ACCURACY, DELTA_E, build

SWITCH = ("off", "on")
DEPTH_AND_LR = {"depth": ("d1", "d2", "d3"), "lr": ("low", "high")}
ONE_AT_A_TIME = [("d1", "low"), ("d2", "low"), ("d3", "low"), ("d1", "high")]


def ranked(plan: Plan, values, *, info=DELTA_E, folds: int | None = None) -> Importance:
    names = [variant.name for variant in plan.variants]
    return rank(info, parts_of(plan, factors_of(plan)), names, table_of(names, values, folds))


def of(found: Importance, name: str) -> FactorImportance:
    (one,) = [one for one in found.factors if one.factor.name == name]
    return one


def noisy(means: list[float], *, seeds: int = 5, scale: float = 0.1, start: int = 3) -> np.ndarray:
    generator = np.random.default_rng(start)
    return (
        np.array(means)[:, None]
        + generator.normal(scale=scale, size=(len(means), seeds))
        + generator.normal(size=seeds)
    )


def anova(plan: Plan, values: np.ndarray) -> pd.DataFrame:
    import statsmodels.formula.api as smf
    from statsmodels.stats.anova import anova_lm

    rows = [
        {**variant.levels, "seed": seed, "y": value}
        for variant, row in zip(plan.variants, values, strict=True)
        for seed, value in enumerate(row)
    ]
    formula = "y ~ " + " + ".join(f"C({name})" for name in [*plan.variants[0].levels, "seed"])
    return anova_lm(smf.ols(formula, pd.DataFrame(rows)).fit(), typ=2)


# --- one factor at a time


def test_one_factor_at_a_time_spans_are_differences_of_means():
    plan = plan_of(DEPTH_AND_LR, ONE_AT_A_TIME)
    values = noisy([10, 8, 13, 9.5])
    found = ranked(plan, values)
    means = values.mean(axis=1)
    depth = of(found, "depth")
    assert (depth.best, depth.worst) == ("d2", "d3")
    assert depth.span == agrees(means[2] - means[1])
    assert of(found, "lr").span == agrees(means[0] - means[3])
    assert [one.factor.name for one in found.factors] == ["depth", "lr"]


def test_best_follows_the_direction_of_the_metric():
    plan = plan_of(DEPTH_AND_LR, ONE_AT_A_TIME)
    depth = of(ranked(plan, noisy([10, 8, 13, 9.5]), info=ACCURACY), "depth")
    assert (depth.best, depth.worst) == ("d3", "d2")
    assert depth.span > 0


def test_the_share_is_that_of_an_analysis_of_variance():
    plan = plan_of(DEPTH_AND_LR, ONE_AT_A_TIME)
    values = noisy([10, 10.4, 11, 9.8], scale=0.5)
    found, table = ranked(plan, values), anova(plan, values)
    mean_square = table.loc["Residual", "sum_sq"] / table.loc["Residual", "df"]
    total = ((values - values.mean(axis=0)) ** 2).sum()
    for name in ("depth", "lr"):
        row = table.loc[f"C({name})"]
        one = of(found, name)
        omega = (row["sum_sq"] - row["df"] * mean_square) / (total + 5 * mean_square)  # five seeds
        assert one.share == agrees(max(0, omega))


def test_two_levels_have_the_t_test_of_their_differences_and_more_are_adjusted_for_their_pairs():
    plan = plan_of(DEPTH_AND_LR, ONE_AT_A_TIME)
    values = noisy([10, 9.8, 10.2, 9.9])
    found = ranked(plan, values)
    lr, depth = of(found, "lr"), of(found, "depth")
    difference = values[0] - values[3]
    half = stats.t.ppf(0.975, 4) * stats.sem(difference)
    assert (lr.low, lr.high) == agrees((max(0, difference.mean() - half), difference.mean() + half))
    assert lr.p == agrees(stats.ttest_1samp(difference, 0).pvalue)
    pairs = [values[0] - values[1], values[2] - values[0], values[2] - values[1]]
    halves = [stats.t.ppf(1 - 0.025 / 3, 4) * stats.sem(pair) for pair in pairs]
    assert depth.low == agrees(
        max(0, *(abs(pair.mean()) - half for pair, half in zip(pairs, halves, strict=True)))
    )
    assert depth.high == agrees(
        max(abs(pair.mean()) + half for pair, half in zip(pairs, halves, strict=True))
    )
    assert depth.p == agrees(min(1, 3 * min(stats.ttest_1samp(pair, 0).pvalue for pair in pairs)))
    assert [one.p_adjusted for one in found.factors] == holm([one.p for one in found.factors])
    assert (depth.low > 0) == (depth.p < 0.05)
    assert lr.mde == agrees(paired_difference(difference, 0 * difference, alpha=0.05 / 2).mde)
    # Two factors and three pairs: the strictest level is 0.05 / 6.
    assert depth.mde == agrees(paired_difference(pairs[2], 0 * difference, alpha=0.05 / 6).mde)


@pytest.mark.parametrize("folds", [None, 5])
def test_steps_of_a_chain_are_judged_as_their_paired_comparisons(folds):
    """Three variants that go together and one apart: a noise pooled over all would be too small."""
    generator = np.random.default_rng(22)
    values = 10 + np.array([[0.35], [0.01], [0.01], [0.01]]) * generator.normal(size=(4, 5))
    values += np.array([[0.0], [-0.4], [-0.4], [-0.5]])
    names = ["mse", "lpips", "ssim", "lab"]
    record = build({DELTA_E.name: {n: list(row) for n, row in zip(names, values, strict=True)}}, folds=folds)
    steps = {one.of: one for one in compare_all(record, DELTA_E.name) if one.kind == "previous"}
    found = rank_factors(record)
    assert {one.factor.title for one in found.factors} == set(steps)
    for one in found.factors:
        step = steps[one.factor.title]
        sign = 1 if step.difference > 0 else -1
        low, high = sorted((sign * step.low, sign * step.high))
        assert (one.span, one.low, one.high) == agrees((abs(step.difference), max(0, low), high))
        assert (one.p, one.mde) == pytest.approx((step.p, step.mde), rel=1e-9)
        assert one.p_adjusted == agrees(step.p_adjusted)  # both families have three


@pytest.mark.parametrize("folds", [None, 5])
def test_factors_of_two_levels_are_judged_as_their_variants_against_the_reference(folds):
    factors = {"lr": ("low", "high"), "depth": ("d1", "d2")}
    cells = [("low", "d1"), ("high", "d1"), ("low", "d2")]
    values = noisy([10, 9.5, 10.1], scale=0.4)
    plan = plan_of(factors, cells)
    finals = {one.name: list(row) for one, row in zip(plan.variants, values, strict=True)}
    record = build({DELTA_E.name: finals}, chain=False, folds=folds)
    record.plan = record.plan.model_copy(update={"variants": plan.variants})
    found = rank_factors(record)
    for name, versus in zip(("lr", "depth"), compare_all(record, DELTA_E.name), strict=True):
        one = of(found, name)
        assert (one.span, one.p) == pytest.approx((abs(versus.difference), versus.p), rel=1e-9)
        ends = sorted((abs(versus.low), abs(versus.high)))
        assert one.high == agrees(ends[1])


def test_three_variants_nearly_alike_do_not_make_one_apart_matter_by_noise():
    """300 chains without any effect; 2,000 of each shape in tests/calibration."""
    generator = np.random.default_rng(20)
    plan = chain(["mse", "lpips", "ssim", "lab"], {"lpips": "mse", "ssim": "lpips", "lab": "ssim"})
    scales = np.array([[0.35], [0.01], [0.01], [0.01]])
    false = sum(
        any(one.verdict == "matters" for one in ranked(plan, scales * generator.normal(size=(4, 5))).factors)
        for _ in range(300)
    )
    assert false <= stats.binom.ppf(0.999, 300, 0.05)


def test_levels_that_give_the_same_in_every_seed_have_no_interval_and_the_p_of_sign_flips():
    values = noisy([10, 10, 10, 10])
    values[1:] = values[0] + np.array([[0], [0], [0.3]])
    found = ranked(plan_of(DEPTH_AND_LR, ONE_AT_A_TIME), values)
    depth, lr = of(found, "depth"), of(found, "lr")
    assert (depth.span, depth.p, depth.low, depth.best, depth.worst) == (0, 1, None, "d2", "d1")
    assert (lr.p, lr.low, lr.mde, lr.verdict) == (2 / 2**5, None, None, "inconclusive")


def test_an_interval_does_not_fall_below_zero():
    plan = plan_of(DEPTH_AND_LR, ONE_AT_A_TIME)
    found = ranked(plan, noisy([10, 10, 10, 10], scale=1.0))
    assert all(one.low == 0 and one.verdict == "inconclusive" for one in found.factors)


def test_noise_alone_explains_no_variance():
    plan = plan_of(DEPTH_AND_LR, ONE_AT_A_TIME)
    shares = [of(ranked(plan, noisy([10] * 4, start=at)), "depth").share for at in range(40)]
    assert sum(share == 0 for share in shares) > 15  # clipped at 0
    assert np.mean(shares) < 0.08


# --- other designs


def test_in_a_crossed_design_a_factor_spans_its_marginal_means():
    plan = plan_of(DEPTH_AND_LR)
    values = noisy([10, 11, 8, 9.5, 7, 8])
    found = ranked(plan, values)
    by_depth = values.reshape(3, 2, 5).mean(axis=(1, 2))
    by_lr = values.reshape(3, 2, 5).mean(axis=(0, 2))
    assert of(found, "depth").span == agrees(np.ptp(by_depth))
    assert of(found, "lr").span == agrees(np.ptp(by_lr))
    assert {one.verdict for one in found.factors} == {"matters"}


def chain(names: list[str], previous: dict[str, str], factor: str = "terms") -> Plan:
    plan = build({DELTA_E.name: {name: [0.0] * 5 for name in names}}, chain=False).plan
    variants = tuple(
        Variant(name=name, title=name, levels={factor: name}, previous=previous.get(name)) for name in names
    )
    return plan.model_copy(update={"variants": variants})


def test_every_step_of_a_chain_is_a_factor_of_its_own():
    plan = chain(["mse", "lpips", "ssim", "lab"], {"lpips": "mse", "ssim": "lpips", "lab": "ssim"})
    values = noisy([20, 19, 18.5, 8])
    found = ranked(plan, values)
    means = values.mean(axis=1)
    assert [one.factor.title for one in found.factors] == ["lab", "lpips", "ssim"]
    assert of(found, "terms.lab").span == agrees(means[2] - means[3])
    assert of(found, "terms.lpips").span == agrees(means[0] - means[1])
    assert of(found, "terms.lab").best == "on"


def test_a_chain_whose_first_step_is_no_control_starts_at_the_reference():
    plan = chain(["base", "a", "b"], {"b": "a"})
    assert [one.name for one in parts_of(plan, factors_of(plan))] == ["terms.a", "terms.b"]


def test_levels_that_branch_stay_one_factor():
    plan = chain(["base", "a", "b", "c"], {"b": "a", "c": "a"})
    assert [one.levels for one in parts_of(plan, factors_of(plan))] == [("base", "a", "b", "c")]


def test_what_leave_one_out_takes_away_are_factors_of_their_own():
    plan = chain(["all", "no_l1", "no_lab", "no_ssim"], {})
    values = noisy([8, 8.5, 12, 7.5])
    found = ranked(plan, values)
    means = values.mean(axis=1)
    assert [one.factor.title for one in found.factors] == ["lab", "l1", "ssim"]
    assert of(found, "terms.lab").span == agrees(means[2] - means[0])
    assert (of(found, "terms.lab").best, of(found, "terms.ssim").best) == ("on", "off")


def test_factors_that_cannot_be_told_apart_say_so():
    factors = {"norm": ("batch", "group"), "groups": ("base", "g2", "g4"), "lr": ("low", "high")}
    cells = [
        ("batch", "base", "low"),
        ("group", "g2", "low"),
        ("group", "g4", "low"),
        ("batch", "base", "high"),
    ]
    found = ranked(plan_of(factors, cells), noisy([10, 11, 12, 13]))
    assert of(found, "lr").verdict == "matters"
    for name in ("norm", "groups"):
        assert (of(found, name).span, of(found, name).why_not) == (
            None,
            "no variants tell it from other factors",
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'vary: [{factor: terms, design: leave_one_out, each: "loss.*"}]',
            ["terms.l1", "terms.lab_l1", "terms.mse"],
        ),
        (
            "vary: [{factor: terms, design: factorial, levels: {a: {set: {loss.l1: 1}}, b: {set: {loss.ssim: 1}}}}]",
            ["terms.a", "terms.b"],
        ),
        (
            "vary: [{factor: terms, design: cumulative, levels: {a: {set: {loss.lab_l1: 2}}, b: {set: {loss.ssim: 1}}}}]",
            ["terms.a", "terms.b"],
        ),
        (
            "vary:\n  - {factor: lr, path: optimizer.lr, values: [1e-3, 5e-3]}\n"
            "  - {factor: terms, levels: {a: {set: {loss.lab_l1: 2}}, b: {from: a, set: {loss.ssim: 1}}}}",
            ["lr", "terms.a", "terms.b"],
        ),
    ],
)
def test_designs_of_suites_lead_to_these_factors(write_suite, text, expected):
    base = TINY[: TINY.index("vary:")].replace("loss: {mse: 1.0}", "loss: {mse: 1.0, l1: 0.5, lab_l1: 0.1}")
    plan = plan_suite(write_suite(base + "seeds: 1\n" + text)).plan
    assert sorted(one.name for one in parts_of(plan, factors_of(plan))) == expected


# --- seeds, folds and absent values


def test_two_seeds_are_described():
    found = ranked(plan_of(DEPTH_AND_LR, ONE_AT_A_TIME), noisy([10, 8, 13, 9.5], seeds=2))
    assert {(one.verdict, one.p, one.why_not) for one in found.factors} == {
        ("described", None, "fewer than 3 seeds")
    }
    assert all(one.span is not None for one in found.factors)


def test_a_level_without_values_is_left_to_the_others():
    values = noisy([10, 8, 13, 9.5])
    values[2] = values[3] = np.nan
    found = ranked(plan_of(DEPTH_AND_LR, ONE_AT_A_TIME), values)
    assert of(found, "depth").factor.levels == ("d1", "d2")
    assert of(found, "lr").why_not == "fewer than two levels have values"
    assert found.absent == ("d3,low", "d1,high")
    # A factor that cannot be tested still counts in the family.
    assert of(found, "depth").p_adjusted == agrees(2 * of(found, "depth").p)


def test_folds_widen_intervals_and_count_the_overlap_as_noise():
    plan = plan_of(DEPTH_AND_LR, ONE_AT_A_TIME)
    values = noisy([10, 8, 13, 9.5], scale=1.0)
    seeds, folds = of(ranked(plan, values), "depth"), of(ranked(plan, values, folds=5), "depth")
    t = abs(stats.ttest_rel(values[2], values[1]).statistic) / 1.5  # 5 (1 / 5 + 1 / 4) = 1.5^2
    assert folds.p == agrees(3 * 2 * stats.t.sf(t, 4))
    assert folds.high - folds.span == agrees(1.5 * (seeds.high - seeds.span))
    assert folds.share < seeds.share


def test_a_suite_of_one_factor_ranks_nothing():
    record = build({DELTA_E.name: {"a": [1.0, 2, 3], "b": [2.0, 3, 4]}}, chain=False)
    assert rank_factors(record) is None


def test_a_record_is_ranked_in_its_primary_metric():
    names = [",".join(cell) for cell in product(*DEPTH_AND_LR.values())]
    values = noisy([10, 11, 8, 9.5, 7, 8])
    record = build(
        {DELTA_E.name: {name: list(row) for name, row in zip(names, values, strict=True)}}, chain=False
    )
    record.plan = record.plan.model_copy(update={"variants": plan_of(DEPTH_AND_LR).variants})
    found = rank_factors(record)
    assert found == ranked(plan_of(DEPTH_AND_LR), values)
