"""Factorials: which factors are crossed, their effects against formulas and other fits, and error rates."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.analysis.crossing import Crossing, factors_of, find_crossings
from harness.analysis.factorial import Effect, Factorial, analyse_factorial, analyse_factorials
from harness.analysis.stats import holm, paired_difference
from harness.planning.build import plan_suite
from harness.testing.tiny import TINY
from tests.support.agreement import agrees
from tests.support.crossed_table import crossing_of, name_of, plan_of, table_of
from tests.unit.analysis.hand_record import ACCURACY, DELTA_E, build

SWITCH = ("off", "on")
TWO = {"a": SWITCH, "b": SWITCH}
THREE = {"a": SWITCH, "b": SWITCH, "c": SWITCH}
MIXED = {"depth": ("d1", "d2", "d3"), "lr": ("low", "high")}


def effect(found: Factorial, *factors: str, level: str | None = None) -> Effect:
    (one,) = [
        one for one in found.effects if one.factors == factors and (level is None or level in one.levels)
    ]
    return one


def frame(crossing: Crossing, values: np.ndarray) -> pd.DataFrame:
    """The table as a formula takes it: one row for each value."""
    rows = [
        {**{f.name: f.levels[f.of[name]] for f in crossing.factors}, "seed": seed, "y": value}
        for name, row in zip(crossing.variants, values, strict=True)
        for seed, value in enumerate(row)
        if not np.isnan(value)
    ]
    return pd.DataFrame(rows)


def robust(design: np.ndarray, y: np.ndarray, groups: np.ndarray, contrast: np.ndarray) -> tuple:
    """Estimate, standard error and degrees of freedom by CR2 and Satterthwaite, written out with whole
    matrices as in Bell and McCaffrey 2002: every residual is a row of I - H."""
    inverse = np.linalg.pinv(design.T @ design)
    residual_maker = np.eye(len(y)) - design @ inverse @ design.T
    rows = []
    for group in np.unique(groups):
        own = groups == group
        sizes, vectors = np.linalg.eigh(residual_maker[np.ix_(own, own)])
        roots = np.array([size**-0.5 if size > 1e-9 else 0.0 for size in sizes])
        adjusted = vectors @ np.diag(roots) @ vectors.T
        rows.append(contrast @ inverse @ design[own].T @ adjusted @ residual_maker[own])
    products = np.array(rows) @ np.array(rows).T
    error = np.sqrt(sum((row @ y) ** 2 for row in rows))
    return contrast @ inverse @ design.T @ y, error, np.trace(products) ** 2 / (products**2).sum()


def by_hand(crossing: Crossing, values: np.ndarray, contrast: dict[str, float], *, interactions: bool = True):
    """`robust` for weights of cells, fitted with one mean for each cell, or with main effects and pairs."""
    cells, seeds = np.nonzero(~np.isnan(values))
    means = np.eye(len(crossing.variants))
    if not interactions:
        signs = np.array(
            [[1.0 if one.of[v] else -1.0 for one in crossing.factors] for v in crossing.variants]
        )
        pairs = [signs[:, i] * signs[:, j] for i in range(signs.shape[1]) for j in range(i)]
        means = np.column_stack([np.ones(len(signs)), signs, *pairs])
    design = np.hstack([means[cells], np.eye(values.shape[1])[seeds]])
    weights = np.array([contrast.get(name, 0.0) for name in crossing.variants])
    return robust(
        design, values[cells, seeds], seeds, np.concatenate([weights @ means, np.zeros(values.shape[1])])
    )


# --- which factors are crossed


def test_all_combinations_of_two_factors_are_a_factorial():
    (found,) = find_crossings(plan_of(MIXED))
    assert [(one.name, one.levels) for one in found.factors] == [
        ("depth", ("d1", "d2", "d3")),
        ("lr", ("low", "high")),
    ]
    assert len(found.variants) == found.combinations == 6
    assert found.outside == found.twins == ()


def test_one_factor_at_a_time_is_no_factorial():
    cells = [("d1", "low"), ("d2", "low"), ("d3", "low"), ("d1", "high")]
    assert find_crossings(plan_of(MIXED, cells)) == ()


def test_variants_beside_a_factorial_are_named_and_not_in_it():
    factors = {**MIXED, "batch": ("b16", "b32")}
    cells = [*product(MIXED["depth"], MIXED["lr"], ["b16"]), ("d1", "low", "b32")]
    (found,) = find_crossings(plan_of(factors, cells))
    assert [one.name for one in found.factors] == ["depth", "lr"]
    assert found.outside == ("d1,low,b32",)


def test_two_groups_are_two_factorials_that_share_the_reference():
    factors = {"a": SWITCH, "b": SWITCH, "c": SWITCH, "d": SWITCH}
    left = [(a, b, "off", "off") for a, b in product(SWITCH, SWITCH)]
    right = [("off", "off", c, d) for c, d in product(SWITCH, SWITCH)]
    found = find_crossings(plan_of(factors, list(dict.fromkeys([*left, *right]))))
    assert [tuple(one.name for one in crossing.factors) for crossing in found] == [("a", "b"), ("c", "d")]
    assert all("off,off,off,off" in crossing.variants for crossing in found)


def test_half_of_the_combinations_are_a_factorial_where_they_are_balanced():
    half = [cell for cell in product(SWITCH, SWITCH, SWITCH) if cell.count("on") % 2]
    (found,) = find_crossings(plan_of(THREE, half))
    assert [one.name for one in found.factors] == ["a", "b", "c"]
    assert (len(found.variants), found.combinations) == (4, 8)


def test_off_comes_first_even_where_the_reference_is_on():
    (found,) = find_crossings(plan_of(TWO, [("on", "on"), ("on", "off"), ("off", "on"), ("off", "off")]))
    assert [one.levels for one in found.factors] == [SWITCH, SWITCH]


def test_factors_that_change_together_are_one():
    factors = {"width": ("w1", "w2"), "batch": ("b1", "b2"), "lr": ("low", "high")}
    cells = [("w1", "b1", "low"), ("w2", "b2", "low"), ("w1", "b1", "high"), ("w2", "b2", "high")]
    (found,) = find_crossings(plan_of(factors, cells))
    assert [(one.name, one.levels) for one in found.factors] == [
        ("width with batch", ("w1 + b1", "w2 + b2")),
        ("lr", ("low", "high")),
    ]


def test_a_factor_that_only_applies_with_one_level_of_another_is_crossed_with_the_rest():
    factors = {"norm": ("batch", "group"), "groups": ("base", "g2", "g4"), "lr": ("low", "high")}
    cells = [
        (norm, groups, lr)
        for norm, groups in (("batch", "base"), ("group", "g2"), ("group", "g4"))
        for lr in ("low", "high")
    ]
    (found,) = find_crossings(plan_of(factors, cells))
    assert [(one.name, one.levels) for one in found.factors] == [
        ("groups", ("g2", "g4")),
        ("lr", ("low", "high")),
    ]
    assert found.outside == ("batch,base,low", "batch,base,high")


def test_a_combination_that_is_the_configuration_of_another_counts_once():
    plan = plan_of(TWO, seeds=3)
    trials = [
        trial.model_copy(update={"variants": ("on,off", "on,on")})
        for trial in plan.trials
        if trial.variants == ("on,off",)
    ]
    rest = [trial for trial in plan.trials if not trial.variants[0].startswith("on")]
    (found,) = find_crossings(plan.model_copy(update={"trials": (*rest, *trials)}))
    assert found.variants == ("off,off", "off,on", "on,off")
    assert found.twins == (("on,on", "on,off"),)


def test_parts_of_a_factorial_factor_are_called_by_their_own_name_where_it_is_the_only_one():
    plan = plan_of({"terms.l1": SWITCH, "terms.lab": SWITCH, "lab": ("x", "y")})
    assert [one.title for one in factors_of(plan)] == ["l1", "terms.lab", "lab"]


# --- estimates against arithmetic


def test_effects_of_a_2x2_are_the_differences_that_a_hand_computes():
    """Two seeds more than needed to judge; b alone, a alone and both have known differences."""
    crossing = crossing_of(TWO)
    values = {
        "off,off": [10.0, 12.0, 11.0, 13.0],
        "off,on": [9.0, 12.0, 10.0, 11.0],
        "on,off": [8.0, 9.0, 9.0, 12.0],
        "on,on": [5.0, 5.0, 5.0, 8.0],
    }
    found = analyse_factorial(DELTA_E, crossing, table_of(list(values), list(values.values())))
    # Cell means 11.5, 10.5, 9.5 and 5.75.
    assert effect(found, "a").estimate == agrees((9.5 + 5.75) / 2 - (11.5 + 10.5) / 2)
    assert effect(found, "b").estimate == agrees((10.5 + 5.75) / 2 - (11.5 + 9.5) / 2)
    assert effect(found, "a", "b").estimate == agrees(5.75 - 9.5 - 10.5 + 11.5)


@pytest.mark.parametrize("folds", [None, 6])
def test_in_a_balanced_2x2_an_effect_is_the_t_test_of_its_contrast_in_every_seed(folds):
    crossing = crossing_of(TWO)
    values = np.random.default_rng(4).normal(size=(4, 6)) * np.array([[1], [1], [5], [1]])
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values, folds=folds))
    none, b, a, both = values
    contrasts = {
        ("a",): (a + both - none - b) / 2,
        ("b",): (b + both - none - a) / 2,
        ("a", "b"): both - a - b + none,
    }
    wider = 1 if folds is None else np.sqrt(6 * (1 / 6 + 1 / 5))  # Nadeau and Bengio: 1 / n + 1 / (k - 1)
    for key, contrast in contrasts.items():
        one, t = effect(found, *key), stats.ttest_1samp(contrast, 0).statistic / wider
        half = stats.t.ppf(0.975, 5) * stats.sem(contrast) * wider
        assert one.estimate == agrees(contrast.mean())
        assert (one.low, one.high) == agrees((contrast.mean() - half, contrast.mean() + half))
        assert one.p == agrees(2 * stats.t.sf(abs(t), 5))
        paired = paired_difference(contrast, np.zeros(6), alpha=0.05 / 3, folds=folds)
        assert one.mde == pytest.approx(paired.mde, rel=1e-10)
        assert (one.p, one.low, one.high) == pytest.approx((paired.p, paired.low, paired.high), rel=1e-10)


def test_three_factors_do_together_what_pairs_of_them_do_not_explain():
    crossing = crossing_of(THREE)
    means = dict.fromkeys(crossing.variants, 0.0) | {"on,on,on": 8.0}
    noise = np.random.default_rng(1).normal(scale=1e-3, size=(8, 4))
    found = analyse_factorial(
        ACCURACY, crossing, table_of(crossing.variants, [[means[v]] * 4 for v in crossing.variants] + noise)
    )
    assert effect(found, "a", "b", "c").estimate == pytest.approx(8, abs=0.01)
    assert effect(found, "a", "b").estimate == pytest.approx(4, abs=0.01)  # over both levels of c
    assert effect(found, "a").estimate == pytest.approx(2, abs=0.01)


# --- against a fit by formula


def test_balanced_errors_are_those_of_statsmodels_for_clusters():
    """CR0 times G / (G - 1), with G - 1 degrees of freedom."""
    import statsmodels.formula.api as smf

    crossing = crossing_of({"a": ("a1", "a2", "a3"), "b": SWITCH, "c": SWITCH})
    values = np.random.default_rng(8).normal(size=(12, 5)) * np.arange(1, 13)[:, None] + np.arange(5)
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    data = frame(crossing, values).assign(
        is_a2=lambda rows: (rows["a"] == "a2") - 1 / 3,
        is_a3=lambda rows: (rows["a"] == "a3") - 1 / 3,
        is_b=lambda rows: (rows["b"] == "on") - 1 / 2,
        is_c=lambda rows: (rows["c"] == "on") - 1 / 2,
    )
    fit = smf.ols("y ~ (is_a2 + is_a3) * is_b * is_c + C(seed)", data).fit(
        cov_type="cluster", cov_kwds={"groups": data["seed"], "use_correction": False}
    )
    for factors, level, name in (
        (("b",), None, "is_b"),
        (("a",), "a3", "is_a3"),
        (("a", "c"), "a2", "is_a2:is_c"),
        (("b", "c"), None, "is_b:is_c"),
    ):
        one, error = effect(found, *factors, level=level), fit.bse[name] * np.sqrt(5 / 4)
        assert one.estimate == agrees(fit.params[name])
        assert (one.high - one.low) / 2 == agrees(stats.t.ppf(0.975, 4) * error)
        assert one.p == agrees(2 * stats.t.sf(abs(fit.params[name]) / error, 4))


def test_contrasts_of_unbalanced_values_are_those_of_marginal_means_with_robust_errors():
    crossing = crossing_of(MIXED)
    values = np.random.default_rng(5).normal(size=(6, 5)) + 3 * np.arange(5)
    values[1, 2] = values[4, 0] = values[4, 1] = np.nan
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    main = {"d3,low": 0.5, "d3,high": 0.5, "d1,low": -0.5, "d1,high": -0.5}
    both = {"d3,high": 1.0, "d3,low": -1.0, "d1,high": -1.0, "d1,low": 1.0}
    for one, contrast in (
        (effect(found, "depth", level="d3"), main),
        (effect(found, "depth", "lr", level="d3"), both),
    ):
        estimate, error, df = by_hand(crossing, values, contrast)
        assert 1 < df < 4  # less than five whole seeds give
        assert one.estimate == agrees(estimate)
        assert (one.high - one.low) / 2 == agrees(stats.t.ppf(0.975, df) * error)
        assert one.p == agrees(2 * stats.t.sf(abs(estimate) / error, df))
    assert found.tests[0].p == agrees(
        min(
            1.0,
            3
            * min(
                2 * stats.t.sf(abs(told[0]) / told[1], told[2])
                for of, versus in (("d2", "d1"), ("d3", "d1"), ("d3", "d2"))
                for told in [
                    by_hand(
                        crossing,
                        values,
                        {f"{of},{lr}": 0.5 for lr in MIXED["lr"]}
                        | {f"{versus},{lr}": -0.5 for lr in MIXED["lr"]},
                    )
                ]
            ),
        )
    )


def test_a_factor_of_several_levels_takes_the_smallest_p_of_its_pairs_times_their_number():
    crossing = crossing_of(MIXED)
    values = np.random.default_rng(8).normal(size=(6, 5)) + np.array([[0], [0], [0.5], [0.5], [1], [2]])
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    low, high = values[0::2], values[1::2]  # of d1, d2, d3
    pairs = ((0, 1), (0, 2), (1, 2))
    depth = min(stats.ttest_rel(low[i] + high[i], low[j] + high[j]).pvalue for i, j in pairs)
    both = min(stats.ttest_rel(high[i] - low[i], high[j] - low[j]).pvalue for i, j in pairs)
    assert [(one.factors, one.pairs) for one in found.tests] == [(("depth",), 3), (("depth", "lr"), 3)]
    assert [one.p for one in found.tests] == agrees([min(1, 3 * depth), min(1, 3 * both)])
    assert [one.p_adjusted for one in found.tests] == holm([one.p for one in found.tests])


def test_a_published_field_trial_has_the_published_effects():
    """Peas in six blocks of half the combinations of N, P and K (Yates 1937; `npk` of R, whose effects of
    `aov(yield ~ block + N * P * K)` these are); what all three do together is confounded with the blocks."""
    yields = {
        "on,on,off": {0: 62.8, 4: 52.0, 5: 59.0},
        "on,off,on": {0: 57.0, 4: 49.8, 5: 57.2},
        "off,on,on": {0: 49.5, 4: 48.8, 5: 53.2},
        "off,off,off": {0: 46.8, 4: 51.5, 5: 56.0},
        "on,off,off": {1: 59.8, 2: 69.5, 3: 62.0},
        "on,on,on": {1: 58.5, 2: 55.8, 3: 48.8},
        "off,off,on": {1: 55.5, 2: 55.0, 3: 45.5},
        "off,on,off": {1: 56.0, 2: 62.8, 3: 44.2},
    }
    crossing = crossing_of({"N": SWITCH, "P": SWITCH, "K": SWITCH})
    values = np.array([[yields[name].get(block, np.nan) for block in range(6)] for name in crossing.variants])
    found = analyse_factorial(ACCURACY, crossing, table_of(crossing.variants, values))
    told = {"".join(one.factors): one.estimate for one in found.effects}
    assert told["N"] == pytest.approx(5.617, abs=5e-4)
    assert told["K"] == pytest.approx(-3.983, abs=5e-4)
    assert told["NPK"] is None
    signs = {name: (1 if name.startswith("on") else -1) / 4 for name in crossing.variants}
    estimate, error, df = by_hand(crossing, values, signs, interactions=False)
    one = effect(found, "N")
    assert (one.estimate, (one.high - one.low) / 2) == agrees((estimate, stats.t.ppf(0.975, df) * error))
    assert one.p == agrees(2 * stats.t.sf(estimate / error, df))


def test_all_effects_are_one_family_for_holm():
    crossing = crossing_of(MIXED)
    values = np.random.default_rng(3).normal(size=(6, 5)) + np.array([[0], [0], [1], [1], [1.5], [2]])
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    assert [one.p_adjusted for one in found.effects] == holm([one.p for one in found.effects])
    assert len(found.effects) == 5


# --- verdicts


def judged(extra: float, *, info=DELTA_E, margin: float | None = None, spread: float = 0.1) -> Factorial:
    """A 2x2 in which either factor takes 2 off, and both take `extra` more."""
    crossing = crossing_of(TWO)
    means = np.array([[10.0], [8.0], [8.0], [6.0 - extra]])
    noise = np.random.default_rng(2).normal(scale=spread, size=(4, 5))
    return analyse_factorial(info, crossing, table_of(crossing.variants, means + noise), margin)


def test_a_pair_that_does_better_than_its_sum_is_a_synergy():
    assert effect(judged(1.0), "a", "b").verdict == "synergy"
    assert effect(judged(-1.0), "a", "b").verdict == "antagonism"


def test_synergy_follows_the_direction_of_the_metric():
    assert effect(judged(1.0, info=ACCURACY), "a", "b").verdict == "antagonism"
    assert effect(judged(1.0), "a").verdict == "better"
    assert effect(judged(1.0, info=ACCURACY), "a").verdict == "worse"


def test_without_a_margin_a_small_interaction_is_inconclusive():
    assert effect(judged(0.0), "a", "b").verdict == "inconclusive"


def test_within_a_margin_an_interaction_is_equivalent_to_none():
    found = judged(0.0, margin=0.5)
    one = effect(found, "a", "b")
    assert one.verdict == "equivalent"
    assert effect(found, "a").verdict == "better"
    # Two one-sided t tests, from the interval that is shown.
    error = (one.high - one.low) / 2 / stats.t.ppf(0.975, 4)
    p = max(stats.t.sf((0.5 + one.estimate) / error, 4), stats.t.cdf((one.estimate - 0.5) / error, 4))
    assert one.p_equivalence == agrees(min(1.0, 3 * p))  # the smallest of three, after Holm


def test_two_seeds_are_described():
    crossing = crossing_of(TWO)
    found = analyse_factorial(
        DELTA_E, crossing, table_of(crossing.variants, [[1, 2.1], [3, 4.3], [5, 6], [9, 8]])
    )
    assert {one.verdict for one in found.effects} == {"described"}
    assert all(one.estimate is not None and one.p is None and one.n == 2 for one in found.effects)


def test_one_seed_has_estimates_without_intervals():
    crossing = crossing_of(TWO)
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, [[1], [3], [5], [9]]))
    assert effect(found, "a", "b").estimate == agrees(9 - 5 - 3 + 1)
    assert all(one.low is None and one.p is None for one in found.effects)


def test_values_that_repeat_exactly_have_no_interval_and_the_p_of_sign_flips():
    crossing = crossing_of(TWO)
    values = np.array([[10.0], [8.0], [8.0], [5.0]]) + np.arange(6.0)
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    assert effect(found, "a", "b").estimate == agrees(-1)
    assert all(one.low is None and one.p == 2 / 2**6 for one in found.effects)
    exact = analyse_factorial(
        DELTA_E, crossing, table_of(crossing.variants, np.array([[3.0], [2], [2], [1]]) + np.arange(6.0))
    )
    assert (effect(exact, "a", "b").p, effect(exact, "a", "b").estimate) == (1, 0)


def test_an_effect_that_is_nothing_but_rounding_is_nothing():
    """Some effects repeat exactly and others vary: each has its own test."""
    crossing = crossing_of(TWO)
    noise = np.random.default_rng(1).normal(size=5)
    values = (
        np.array([[0.1], [0.2], [0.1 + 0.3], [0.2 + 0.3]]) + np.array([[0.0], [0.0], [1.0], [1.0]]) * noise
    )
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    assert (effect(found, "a", "b").estimate, effect(found, "a", "b").p) == (0, 1)
    assert effect(found, "a").p == agrees(stats.ttest_1samp(0.3 + noise, 0).pvalue)
    assert effect(found, "b").p == 2 / 2**5  # 0.1 in every seed
    assert effect(found, "b").low is effect(found, "b").mde is None


# --- values that are absent


def test_an_effect_whose_values_are_absent_says_so_and_those_it_hides_behind_are_not_judged():
    crossing = crossing_of(TWO)
    values = np.random.default_rng(6).normal(size=(4, 5)) + np.array([[0], [5], [5], [9]])
    values[3] = np.nan
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    assert found.absent == ("on,on",)
    assert (effect(found, "a", "b").estimate, effect(found, "a", "b").verdict) == (None, "described")
    for name in "ab":
        assert effect(found, name).lost == (("a", "b"),)
        assert effect(found, name).verdict == "described"
        assert effect(found, name).p is None


def test_a_lost_cell_of_three_factors_costs_only_what_all_three_do():
    crossing = crossing_of(THREE)
    values = np.random.default_rng(6).normal(scale=0.1, size=(8, 5)) + np.arange(8)[:, None]
    values[5] = np.nan
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    assert effect(found, "a", "b", "c").estimate is None
    # Seven cells hold seven parameters: what all three do together cannot be told from the rest.
    assert {one.verdict for one in found.effects} == {"described"}
    assert effect(found, "a").lost == (("a", "b", "c"),)


def test_a_missing_seed_leaves_every_effect_with_its_number_of_seeds():
    crossing = crossing_of(TWO)
    values = np.random.default_rng(6).normal(size=(4, 5))
    values[3, 0] = np.nan
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    assert [one.n for one in found.effects] == [5, 5, 4]
    assert found.values == 19
    assert all(one.p is not None for one in found.effects)


def test_a_level_without_values_leaves_the_others_to_be_compared():
    crossing = crossing_of(MIXED)
    values = np.random.default_rng(6).normal(size=(6, 5))
    values[4:] = np.nan
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    assert effect(found, "depth", level="d3").estimate is None
    assert effect(found, "depth", level="d2").p is not None
    # The family still counts the two effects that are absent.
    p_values = [one.p for one in found.effects]
    assert p_values.count(None) == 2
    assert [one.p_adjusted for one in found.effects] == holm(p_values)


def test_nothing_is_compared_with_a_first_level_that_has_no_values():
    crossing = crossing_of(MIXED)
    values = np.random.default_rng(6).normal(size=(6, 5))
    values[:2] = np.nan
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    assert [one.estimate is None for one in found.effects] == [True, True, False, True, True]


def test_a_factorial_without_any_value_has_no_numbers():
    crossing = crossing_of(TWO)
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, np.full((4, 3), np.nan)))
    assert [one.estimate for one in found.effects] == [None] * 3
    assert found.absent == crossing.variants


# --- fractions


def test_a_half_fraction_says_which_effects_it_cannot_tell_apart():
    half = [cell for cell in product(SWITCH, SWITCH, SWITCH) if cell.count("on") % 2]
    crossing = crossing_of(THREE, half)
    truth = {"a": 2.0, "b": 0.0, "c": -1.0}
    means = [sum(truth[f] * (level == "on") for f, level in zip("abc", cell, strict=True)) for cell in half]
    # b and c together add 4: the fraction takes half of the product of their signs for an effect of a.
    means = [mean + 4 * (cell[1:] == ("on", "on")) for mean, cell in zip(means, half, strict=True)]
    noise = np.random.default_rng(9).normal(scale=0.01, size=(4, 5))
    found = analyse_factorial(
        DELTA_E, crossing, table_of(crossing.variants, np.array(means)[:, None] + noise)
    )
    assert [one.factors for one in found.effects] == [("a",), ("b",), ("c",)]
    assert found.omitted == (("a", "b"), ("a", "c"), ("b", "c"))
    assert effect(found, "a").aliases == (("b", "c"),)
    # Signs of the product are those of a here: the estimate is 2 + 4 / 2.
    assert effect(found, "a").estimate == pytest.approx(4, abs=0.02)
    assert effect(found, "a").verdict == "worse"


def test_a_fraction_of_resolution_four_tells_factors_and_aliases_pairs():
    factors = dict.fromkeys("abcd", SWITCH)
    half = [cell for cell in product(*factors.values()) if cell.count("on") % 2 == 0]
    crossing = crossing_of(factors, half)
    values = np.random.default_rng(9).normal(size=(8, 5))
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    assert all(effect(found, name).aliases == () for name in "abcd")
    pairs = {one.factors: one.aliases for one in found.effects if len(one.factors) == 2}
    assert pairs == {("a", "b"): (("c", "d"),), ("a", "c"): (("b", "d"),), ("a", "d"): (("b", "c"),)}


def test_aliases_are_those_that_the_plan_announces(write_suite):
    base = TINY[: TINY.index("vary:")]
    levels = "a: {set: {loss.l1: 1}}, b: {set: {loss.ssim: 1}}, c: {set: {loss.lab_l1: 1}}, d: {set: {model.layers: 2}}"
    text = f"seeds: 1\nvary: [{{factor: parts, design: factorial, resolution: 3, levels: {{{levels}}}}}]"
    plan = plan_suite(write_suite(base + text)).plan
    assert plan.notes[0].endswith("aliased: a = b x d; b = a x d; d = a x b")
    (crossing,) = find_crossings(plan)
    values = np.random.default_rng(0).normal(size=(8, 3))
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    told = {one.factors: one.aliases for one in found.effects if one.aliases}
    a, b, d = "parts.a", "parts.b", "parts.d"
    assert told == {(a,): ((b, d),), (b,): ((a, d),), (d,): ((a, b),)}
    assert len([one for one in found.effects if len(one.factors) == 2]) == 3  # with c


def test_a_whole_factorial_has_no_aliases():
    crossing = crossing_of(dict.fromkeys("abcd", SWITCH))
    found = analyse_factorial(
        DELTA_E, crossing, table_of(crossing.variants, np.random.default_rng(0).normal(size=(16, 3)))
    )
    assert all(one.aliases == () for one in found.effects)
    assert [len(one.factors) for one in found.effects] == [1] * 4 + [2] * 6 + [3] * 4


# --- folds


def test_pairs_of_levels_are_corrected_for_folds():
    crossing = crossing_of(MIXED)
    values = np.random.default_rng(11).normal(scale=0.3, size=(6, 5)) + np.array(
        [[0], [0], [1], [1], [2], [2]]
    )
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values, folds=5))
    sums = values.reshape(3, 2, 5).sum(axis=1)
    t = max(abs(stats.ttest_rel(sums[i], sums[j]).statistic) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert found.tests[0].p == agrees(3 * 2 * stats.t.sf(t / 1.5, 4))  # 5 (1 / 5 + 1 / 4) = 1.5^2


def test_seeds_of_a_fold_are_averaged_before_they_are_compared():
    values = np.random.default_rng(12).normal(size=(4, 3, 5))  # seeds by folds
    names = [name_of(cell) for cell in product(SWITCH, SWITCH)]
    finals = {DELTA_E.name: {name: list(row.ravel()) for name, row in zip(names, values, strict=True)}}
    record = build(finals, chain=False, folds=5)
    record.plan = record.plan.model_copy(update={"variants": plan_of(TWO).variants})
    (found,) = analyse_factorials(record, DELTA_E.name)
    whole = analyse_factorial(DELTA_E, found.crossing, table_of(names, values.mean(axis=1), folds=5))
    assert [one.p for one in found.effects] == agrees([one.p for one in whole.effects])
    assert found.blocks == 5 and {one.n for one in found.effects} == {5}


# --- means


def test_means_are_over_the_other_factors_and_the_seeds_that_have_them_all():
    crossing = crossing_of(THREE)
    values = np.arange(32.0).reshape(8, 4) ** 1.5
    values[7, 3] = np.nan
    found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
    (on,) = [one for one in found.means["a", "b"] if one.levels == ("on", "on")]
    by_seed = values[6:8, :3].mean(axis=0)
    assert (on.n, on.mean) == (3, agrees(by_seed.mean()))
    half = stats.t.ppf(0.975, 2) * by_seed.std(ddof=1) / np.sqrt(3)
    assert on.high - on.mean == agrees(half)


# --- simulated truth


def test_intervals_cover_the_truth_and_nothing_is_found_where_nothing_is():
    """300 factorials, 3 x 2 and 5 seeds; other shapes and 2,000 of each in tests/calibration."""
    generator = np.random.default_rng(20)
    crossing = crossing_of(MIXED)
    covered, false = np.zeros(5), 0
    for _ in range(300):
        values = generator.normal(size=(6, 5)) + generator.normal(scale=3, size=5)
        found = analyse_factorial(DELTA_E, crossing, table_of(crossing.variants, values))
        covered += [one.low <= 0 <= one.high for one in found.effects]
        false += any(one.verdict != "inconclusive" for one in found.effects)
    low, high = stats.binom.interval(0.999, 300, 0.95)
    assert all(low <= count <= high for count in covered)
    assert false <= stats.binom.ppf(0.999, 300, 0.05)
