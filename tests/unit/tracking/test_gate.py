"""The gate's verdicts on runs built by hand."""

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.tracking.baseline.series import established
from harness.tracking.baseline.snapshot import snapshot
from harness.tracking.gate.judge import judge
from harness.tracking.gate.options import GateOptions, Margin, parse_limits, parse_margins
from tests.support.baselines import RunShape, run_of
from tests.unit.analysis.hand_record import ACCURACY, DELTA_E, LPIPS_RAND, SHARPNESS

FEW = {"a": [8.0, 8.2, 8.1, 7.9, 8.0]}  # standard deviation 0.11
NOISE = np.array([-0.1, 0.1, 0.0, 0.05, -0.05])


def baseline_of(*runs, name="main"):
    return established(name, [snapshot(run, name) for run in runs])[0]


def several(count, *, seed=0, variants=("a",), **rest):
    """Runs around 8.0, which move by 0.1 from commit to commit and by 0.1 from seed to seed."""
    random = np.random.default_rng(seed)
    return [
        run_of(
            f"r{index}",
            {name: list(8 + 0.1 * random.normal() + 0.1 * random.normal(size=5)) for name in variants},
            number=index,
            **rest,
        )
        for index in range(count)
    ]


def gate(run, *runs, **options):
    return judge(run, baseline_of(*runs), GateOptions(**options))


def only(found):
    [judgement] = found.judgements
    return judgement


def test_the_same_values_in_every_seed_pass_without_a_test():
    found = gate(run_of("new", FEW, RunShape(code="beef")), run_of("r0", FEW))
    assert found.verdict == "pass"
    assert only(found).reason == "the same values in every seed as r0"
    assert only(found).drop == 0


def test_values_that_differ_by_rounding_are_the_same():
    values = {"a": [value * (1 + 1e-15) for value in FEW["a"]]}
    assert gate(run_of("new", values), run_of("r0", FEW)).verdict == "pass"


def test_a_drop_far_beyond_the_seeds_regresses_against_a_single_run():
    found = gate(run_of("new", {"a": [value + 3 for value in reversed(FEW["a"])]}), run_of("r0", FEW))
    judgement = only(found)
    assert found.verdict == "regressed"
    assert judgement.drop == pytest.approx(3)
    assert judgement.drop_low < 3 < judgement.drop_high
    assert judgement.p_adjusted < 0.01
    assert judgement.reason.startswith("ΔE 11.0, 3.0 worse [")
    assert "than 8.0 of 1 run, p " in judgement.reason


def test_the_direction_of_the_metric_decides_what_a_drop_is():
    def with_metric(name, shift):
        values = {"a": [value / 10 + shift for value in FEW["a"]]}
        return run_of(name, values, infos=(SHARPNESS,))

    assert gate(with_metric("new", -0.5), with_metric("r0", 0)).verdict == "regressed"
    better = gate(with_metric("new", 0.5), with_metric("r0", 0))
    assert (better.verdict, only(better).improved) == ("pass", True)
    assert only(better).drop == pytest.approx(-0.5)


def test_a_small_drop_against_few_runs_is_inconclusive_and_says_how_much_could_be_missed():
    found = gate(run_of("new", {"a": [value + 0.2 for value in reversed(FEW["a"])]}), run_of("r0", FEW))
    judgement = only(found)
    assert judgement.verdict == "inconclusive"
    assert "cannot be ruled out" in judgement.reason
    assert "4 more runs in the baseline" in judgement.reason
    assert judgement.alarm_from > judgement.drop_high


def test_fewer_than_three_seeds_are_not_judged_below_five_runs():
    runs = [run_of(f"r{index}", {"a": [8.0 + index / 10, 8.1]}) for index in range(5)]
    few = gate(run_of("new", {"a": [80.0, 81.0]}), *runs[:4])
    assert only(few).reason == "not judged: 3 seeds at least below 5 runs of the baseline, here 2"
    assert (few.verdict, only(few).p) == ("inconclusive", None)
    assert gate(run_of("new", {"a": [80.0, 81.0]}), *runs).verdict == "regressed"


def test_one_seed_is_judged_by_the_spread_between_five_commits():
    runs = [run_of(f"r{index}", {"a": [value]}) for index, value in enumerate([8.0, 8.1, 7.9, 8.05, 7.95])]
    assert gate(run_of("new", {"a": [8.1]}), *runs).verdict == "pass"
    assert gate(run_of("new", {"a": [9.5]}), *runs).verdict == "regressed"


def test_within_what_commits_move_it_a_run_passes_without_a_margin():
    found = gate(run_of("new", {"a": list(8.05 + NOISE)}), *several(8))
    assert found.verdict == "pass"
    assert only(found).reason.endswith("of 8 runs, within what commits move it")


def test_a_declared_margin_must_be_ruled_out_for_a_pass():
    runs = several(8, margins={"delta_e": 1.0})
    wide = gate(run_of("new", {"a": list(8.2 + NOISE)}), *runs)
    assert (wide.verdict, only(wide).margin, only(wide).margin_from) == ("pass", 1.0, "suite")
    narrow = gate(run_of("new", {"a": list(8.2 + NOISE)}), *runs, margins={"delta_e": Margin(0.2)})
    assert (narrow.verdict, only(narrow).margin_from) == ("inconclusive", "option")
    assert "margin 0.2" in only(narrow).reason


def test_a_certain_drop_within_the_margin_is_no_regression():
    run = run_of("new", {"a": list(9.0 + NOISE)})
    assert gate(run, *several(8)).verdict == "regressed"
    assert gate(run, *several(8), margins={"delta_e": Margin(2.0)}).verdict == "pass"
    assert gate(run, *several(8), margins={"delta_e": Margin(0.25, relative=True)}).verdict == "pass"


def test_the_margin_of_the_baseline_counts_and_a_suite_that_loosens_it_is_told():
    run = run_of("new", {"a": list(9.0 + NOISE)}, margins={"delta_e": 5.0})
    found = gate(run, *several(8, margins={"delta_e": 0.5}))
    assert found.verdict == "regressed"
    assert "the suite's margin of delta_e is 5.0; that of the baseline counts, 0.5" in found.notes


def test_holm_adjusts_over_all_that_is_gated():
    variants = tuple("abcdefgh")
    runs = several(8, variants=variants)
    new = {name: list(8 + NOISE) for name in variants} | {"a": list(8.42 + NOISE)}
    alone = gate(run_of("new", new), *runs, variants=("a",))
    among = gate(run_of("new", new), *runs)
    assert only(alone).p == among.judgements[0].p
    assert only(alone).p_adjusted == only(alone).p
    assert among.judgements[0].p_adjusted == pytest.approx(8 * only(alone).p)


def test_missing_seeds_never_pass_but_a_regression_is_still_told():
    runs = several(8)
    failed = {("a", 10): "failed"}
    fine = gate(run_of("new", {"a": list(8 + NOISE)}, status=failed), *runs)
    assert fine.verdict == "inconclusive"
    assert "missing: seed 10 failed: ValueError" in only(fine).reason
    bad = gate(run_of("new", {"a": list(10 + NOISE)}, status=failed), *runs)
    assert bad.verdict == "regressed"
    assert "1 of 5 trials of the run gave no values" in bad.notes


def test_a_run_that_is_better_by_the_seeds_that_are_there_is_neither_improved_nor_worse_by_any_bound():
    better = {"a": [None, *(value - 5 for value in FEW["a"][1:])]}
    judgement = only(gate(run_of("new", better, status={("a", 10): "failed"}), run_of("r0", FEW)))
    assert (judgement.verdict, judgement.improved) == ("inconclusive", False)
    assert judgement.drop_high < 0
    assert "cannot be ruled out" not in judgement.reason
    assert judgement.reason.endswith("than 8.0 of 1 run; missing: seed 10 failed: ValueError")


def test_seeds_that_both_sides_have_are_compared():
    """Seed 10 is far worse in every run; a run that lacks it has not improved."""
    runs = [
        run_of(f"r{index}", {"a": [20 + shift, 8 + shift, 8.1 + shift, 7.9 + shift]})
        for index, shift in enumerate([0, 0.1, -0.1, 0.05, -0.05, 0.02])
    ]
    new = run_of("new", {"a": [20.0, 8.03, 8.0, 7.95]}, status={("a", 10): "failed"})
    judgement = only(gate(new, *runs))
    assert judgement.level == pytest.approx(8.0, abs=0.05)
    assert not judgement.improved


def test_a_baseline_run_that_lacks_a_seed_does_not_count_as_another_mean():
    runs = several(6)
    values = {"a": [0.0, 8.1, 8.0, 7.9, 8.0]}
    runs[3] = run_of("r3", values, status={("a", 10): "failed"})
    judgement = only(gate(run_of("new", {"a": list(8.05 + NOISE)}), *runs))
    assert [run.run for run in judgement.runs] == ["r0", "r1", "r2", "r4", "r5"]
    lone = gate(run_of("new", {"a": list(8 + NOISE)}), runs[3])
    assert only(lone).reason == "not judged: no run of the baseline has all of its seeds"


def test_all_trials_of_a_variant_failed_is_said_and_does_not_pass():
    new = {"a": list(8 + NOISE), "b": list(8 + NOISE)}
    status = {("b", seed): "failed" for seed in range(10, 15)}
    found = gate(run_of("new", new, status=status), *several(8, variants=("a", "b")))
    assert [one.verdict for one in found.judgements] == ["pass", "inconclusive"]
    assert found.judgements[1].reason.startswith("not judged: all of its trials are missing: seeds 10, 11")


def test_a_variant_that_the_run_lacks_is_inconclusive_and_a_new_one_is_named():
    found = gate(run_of("new", {"a": list(8 + NOISE), "c": [1.0] * 5}), *several(8, variants=("a", "b")))
    assert [(one.variant, one.verdict) for one in found.judgements] == [("a", "pass"), ("b", "inconclusive")]
    assert found.judgements[1].reason == "not judged: the run does not have this variant"
    assert "not in the baseline, not judged: c" in found.notes


def test_a_stand_in_is_another_metric():
    lpips = LPIPS_RAND.model_copy(update={"name": "lpips"})
    before = run_of("r0", FEW, infos=(lpips,))
    found = gate(run_of("new", FEW, infos=(LPIPS_RAND,)), before)
    assert only(found).verdict == "inconclusive"
    assert "the run does not record lpips but lpips_rand, which is another figure" in only(found).reason


def test_a_metric_and_its_margin_may_be_asked_for_by_the_name_that_a_stand_in_stands_for():
    before, after = (
        run_of(name, {"a": [x] * 3}, infos=(LPIPS_RAND,)) for name, x in (("r0", 1.0), ("new", 1.5))
    )
    found = only(gate(after, before, metrics=("lpips",), margins={"lpips": Margin(0.7)}))
    assert (found.info.name, found.margin, found.margin_from) == ("lpips_rand", 0.7, "option")


def test_a_changed_setting_is_gated_and_told():
    slow, fast = (RunShape(spec={"optimizer": {"lr": rate}}) for rate in (1e-4, 3e-4))
    found = gate(run_of("new", {"a": [20.0, 21, 22, 20, 21]}, fast), run_of("r0", FEW, slow))
    assert found.verdict == "regressed"
    [change] = found.changes
    assert (change.path, change.before, change.after, change.variants) == ("optimizer.lr", 1e-4, 3e-4, ("a",))


def test_runs_with_another_fingerprint_are_left_out_and_said():
    other = RunShape(spec={"data": {"name": "polygons", "size": 64}})
    base = baseline_of(run_of("r0", FEW))
    foreign = baseline_of(run_of("r1", FEW, other))
    mixed = base.model_copy(
        update={
            "runs": (*foreign.runs, *base.runs),
            "values": (*foreign.values, *base.values),
            "configurations": {**foreign.configurations, **base.configurations},
        }
    )
    found = judge(run_of("new", FEW), mixed)
    assert [run.run for run in found.against] == ["r0"]
    assert "left out of the baseline: r1, data.size is 32, in the baseline 64" in found.notes
    with pytest.raises(HarnessError, match=r"data.size is 64, in the baseline 32; `harness baseline set"):
        judge(run_of("new", FEW, other), base)


def test_values_that_never_vary_are_judged_exactly():
    base = [run_of("r0", {"a": [1.0] * 5}, infos=(ACCURACY,))]
    assert gate(run_of("new", {"a": [0.9] * 5}, infos=(ACCURACY,)), *base).verdict == "regressed"
    three = run_of("r0", {"a": [1.0] * 3}, infos=(ACCURACY,))
    few = gate(run_of("new", {"a": [0.9] * 3}, infos=(ACCURACY,)), three)
    assert only(few).p == pytest.approx(1 / 20)
    assert few.verdict == "inconclusive"


def test_seeds_that_change_nothing_wait_for_five_runs():
    runs = [run_of(f"r{index}", {"a": [8 + index / 10] * 3}) for index in range(5)]
    few = gate(run_of("new", {"a": [9.0] * 3}), *runs[:2])
    assert "the seeds do not differ within a run; 3 more runs" in only(few).reason
    assert gate(run_of("new", {"a": [20.0] * 3}), *runs).verdict == "regressed"


def test_other_metrics_are_information_and_decide_nothing():
    def run(name, sharpness):
        values = {"delta_e": {"a": list(8 + NOISE)}, "edge_sharpness": {"a": list(sharpness + NOISE)}}
        return run_of(name, values, infos=(DELTA_E, SHARPNESS))

    found = gate(run("new", -5.0), run("r0", 0.5), all_metrics=True)
    assert [(one.info.name, one.gated, one.verdict) for one in found.judgements] == [
        ("delta_e", True, "pass"),
        ("edge_sharpness", False, "regressed"),
    ]
    assert found.verdict == "pass"
    assert gate(run("new", -5.0), run("r0", 0.5), metrics=("edge_sharpness",)).verdict == "regressed"


def test_with_folds_the_overlap_is_corrected_for():
    def verdict(shift, folds):
        values = {"a": list(8.0 + 0.1 * np.arange(5))}
        new = {"a": list(8.0 + shift + 0.1 * np.arange(5)[::-1])}
        return only(gate(run_of("new", new, folds=folds), run_of("r0", values, folds=folds)))

    assert verdict(1.5, 5).p > verdict(1.5, None).p


def costly(name, seconds, **shape):
    values = {"a": list(8 + NOISE + 0.01 * len(name))}
    return run_of(name, values, RunShape(**shape), train_seconds={"a": seconds})


def test_costs_are_ratios_and_decide_only_with_a_limit():
    slow, base = costly("new", [20.0, 21, 19, 20, 20]), costly("r0", [10.0, 10.5, 9.5, 10, 10])
    shown = gate(slow, base, costs=True)
    [seconds] = [one for one in shown.costs if one.cost == "train_seconds"]
    assert seconds.ratio == pytest.approx(2.0, rel=0.01)
    assert (seconds.gated, seconds.verdict) == (False, None)
    limited = gate(slow, base, cost_limits={"train_seconds": 1.2})
    assert [one.verdict for one in limited.costs] == ["regressed"]
    assert limited.verdict == "regressed"
    assert gate(slow, base, cost_limits={"train_seconds": 10.0}).costs[0].verdict == "pass"


def test_a_cost_that_never_varies_is_judged_by_its_ratio():
    found = gate(costly("new", [10.0] * 5), costly("r0", [10.0] * 5), cost_limits={"parameters": 1.0})
    assert (found.costs[0].verdict, found.costs[0].ratio) == ("pass", 1.0)


def test_times_of_another_machine_are_not_compared():
    found = gate(
        costly("new", [20.0] * 5, host="two"), costly("r0", [10.0] * 5), cost_limits={"train_seconds": 1.2}
    )
    assert found.costs[0].verdict == "inconclusive"
    assert (
        found.costs[0].reason
        == "not compared: other machine, two (cpu, 1 thread) and not one (cpu, 1 thread)"
    )


def test_margins_are_read_by_metric_and_as_a_share():
    assert parse_margins(["0.5"], ["delta_e"]) == {"delta_e": Margin(0.5)}
    assert parse_margins(["psnr=2%"], ["delta_e"]) == {"psnr": Margin(0.02, relative=True)}


@pytest.mark.parametrize(
    "text", ["x", "delta_e=", "delta_e=-1", "nan", "inf", "1e999", "9" * 400, "٣", "delta_e=%"]
)
def test_a_margin_that_is_no_number_is_refused(text):
    with pytest.raises(HarnessError, match="a number was expected"):
        parse_margins([text], ["delta_e"])


def test_a_bare_margin_for_several_metrics_is_refused():
    with pytest.raises(HarnessError, match="names no metric, and 2 are gated"):
        parse_margins(["0.5"], ["delta_e", "psnr"])


@pytest.mark.parametrize("text", ["train_seconds=0.5", "train_seconds", "train_seconds=x", "colour=2"])
def test_a_limit_that_is_no_ratio_is_refused(text):
    with pytest.raises(HarnessError):
        parse_limits([text])


@pytest.mark.parametrize(
    "options", [{"metrics": ("psnr",)}, {"variants": ("z",)}, {"margins": {"x": Margin(1)}}]
)
def test_what_the_baseline_does_not_have_cannot_be_asked_for(options):
    with pytest.raises(HarnessError, match="the baseline has no"):
        gate(run_of("new", FEW), run_of("r0", FEW), **options)
