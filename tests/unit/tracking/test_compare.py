"""Two runs side by side: verdicts against scipy and statsmodels, and everything that is not judged."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.errors import HarnessError
from harness.planning.difference import Change
from harness.store.files import LocalFiles
from harness.tracking.comparison.compare import compare
from harness.tracking.comparison.document import comparison_document
from harness.tracking.comparison.markdown import comparison_markdown, write_comparison
from harness.tracking.comparison.wording import (
    changed_lines,
    cost_notes,
    metric_rows,
    missing_lines,
    side_line,
)
from harness.tracking.revisions import CodeHistory, FileChange
from tests.unit.analysis.hand_record import (
    ACCURACY,
    DELTA_E,
    LPIPS_RAND,
    PSNR,
    SHARPNESS,
    build,
)
from tests.unit.tracking.two_runs import delta_e_run, run_of

BEFORE = {"mse": [21.0, 20.0, 22.5, 21.4, 20.2], "lab": [9.0, 8.1, 9.9, 8.7, 8.4]}
AFTER = {"mse": [21.2, 19.9, 22.4, 21.6, 20.1], "lab": [7.9, 7.2, 8.7, 7.7, 7.2]}


def outcomes(found, metric="delta_e"):
    return {row.comparison.of: row.outcome for row in found.metric(metric).variants}


def row_of(found, variant, metric="delta_e"):
    return next(row for row in found.metric(metric).variants if row.comparison.of == variant)


def test_the_later_side_is_judged_variant_by_variant_with_holm_over_them():
    found = compare(delta_e_run("r1", BEFORE), delta_e_run("r2", AFTER))
    p = [stats.ttest_rel(AFTER[name], BEFORE[name]).pvalue for name in BEFORE]
    _, adjusted, *_ = multipletests(p, method="holm")
    for name, expected in zip(BEFORE, adjusted, strict=True):
        comparison = row_of(found, name).comparison
        assert comparison.p_adjusted == pytest.approx(expected, rel=1e-9)
        assert comparison.difference == pytest.approx(np.mean(AFTER[name]) - np.mean(BEFORE[name]))
        assert comparison.kind == "run"
    assert outcomes(found) == {"mse": "inconclusive", "lab": "better"}  # a lower colour error is better
    assert outcomes(compare(delta_e_run("r2", AFTER), delta_e_run("r1", BEFORE)))["lab"] == "worse"


def test_a_declared_margin_of_the_later_run_makes_equivalence():
    later = run_of("r2", build({"delta_e": AFTER}, margins={"delta_e": 1.0}))
    found = compare(delta_e_run("r1", BEFORE), later)
    assert outcomes(found) == {"mse": "equivalent", "lab": "better"}


def test_the_same_values_to_the_last_bit_are_unchanged_and_have_no_p():
    values = {**AFTER, "mse": BEFORE["mse"]}
    row = row_of(compare(delta_e_run("r1", BEFORE), delta_e_run("r2", values)), "mse")
    assert row.outcome == "unchanged"
    assert (row.comparison.n, row.comparison.difference) == (5, 0.0)
    assert [row.comparison.p, row.comparison.p_adjusted, row.comparison.p_exact] == [None, None, None]
    nearly = {**BEFORE, "mse": [value + 1e-14 for value in BEFORE["mse"]]}
    assert outcomes(compare(delta_e_run("r1", BEFORE), delta_e_run("r2", nearly)))["mse"] == "inconclusive"


def test_an_unchanged_variant_still_counts_in_the_family():
    values = {**AFTER, "mse": BEFORE["mse"]}
    row = row_of(compare(delta_e_run("r1", BEFORE), delta_e_run("r2", values)), "lab")
    assert row.comparison.p_adjusted == pytest.approx(2 * stats.ttest_rel(AFTER["lab"], BEFORE["lab"]).pvalue)


def test_attempts_of_one_trial_are_not_one_trial_and_a_reused_attempt_is():
    first = delta_e_run("r1", BEFORE)
    again = delta_e_run("r2", BEFORE)  # the same ids and values, from attempts of its own
    reused = delta_e_run("r2", BEFORE, trials={"run_id": "r1"})
    assert outcomes(compare(first, again)) == {"mse": "unchanged", "lab": "unchanged"}
    assert outcomes(compare(first, reused)) == {"mse": "shared", "lab": "shared"}
    assert (
        outcomes(compare(first, replace(reused, files=LocalFiles(first.files.root / "copy"))))["mse"]
        == "shared"
    )
    other_attempt = delta_e_run("r2", BEFORE, trials={"run_id": "r1", "attempt": 2})
    other_attempt = replace(other_attempt, metrics=other_attempt.metrics.assign(attempt=2))
    assert outcomes(compare(first, other_attempt))["mse"] == "unchanged"


def test_shared_trials_are_left_out_of_the_pairs_and_said():
    later = delta_e_run("r2", {**AFTER, "lab": [BEFORE["lab"][0], *AFTER["lab"][1:]]})
    later.trials.loc[later.trials["trial_id"] == "lab-10", "run_id"] = "r1"
    found = compare(delta_e_run("r1", BEFORE), later)
    row = row_of(found, "lab")
    assert [one.seed for one in row.comparison.replicates] == [11, 12, 13, 14]
    assert [one.seed for one in row.shared] == [10]
    expected = stats.ttest_rel(AFTER["lab"][1:], BEFORE["lab"][1:]).pvalue
    assert row.comparison.p == pytest.approx(expected, rel=1e-9)
    assert metric_rows(found.metrics[0])[1][-1] == "4 seeds, 1 shared, left out"


def test_seeds_of_one_side_and_trials_that_are_missing_are_told():
    fewer = {name: values[:4] for name, values in BEFORE.items()}
    later = run_of("r2", build({"delta_e": AFTER}, status={("lab", 11): "failed"}))
    found = compare(delta_e_run("r1", fewer), later)
    row = row_of(found, "lab")
    assert [one.seed for one in row.comparison.replicates] == [10, 12, 13]
    assert [one.seed for one in row.only_of] == [14]
    assert [one.seed for one in row.only_versus] == [11]
    assert missing_lines(found) == ["B lacks lab, seed 11: failed: ValueError"]
    assert found.configuration.general["seeds"] == Change([10, 11, 12, 13], [10, 11, 12, 13, 14])
    assert (found.versus.whole, found.versus.planned, found.of.whole, found.of.planned) == (8, 8, 9, 10)


def test_below_three_pairs_nothing_is_judged():
    a, b = ({name: values[:2] for name, values in side.items()} for side in (BEFORE, AFTER))
    found = compare(delta_e_run("r1", a), delta_e_run("r2", b))
    assert outcomes(found) == {"mse": "described", "lab": "described"}
    assert row_of(found, "lab").comparison.difference == pytest.approx(-1.0)


def test_variants_and_metrics_of_one_side_alone_are_named():
    first = build({"delta_e": BEFORE, "psnr": BEFORE}, infos=(DELTA_E, PSNR))
    second = build({"delta_e": {"lab": AFTER["lab"], "l1": AFTER["mse"]}})
    found = compare(run_of("r1", first), run_of("r2", second))
    assert outcomes(found) == {"lab": "better"}
    assert (found.variants_only_versus, found.variants_only_of) == (("mse",), ("l1",))
    assert (found.metrics_only_versus, found.metrics_only_of) == (("psnr",), ())
    assert "variants of A alone: mse" in changed_lines(found)["configuration"]


def test_runs_without_a_common_variant_are_not_judged():
    found = compare(delta_e_run("r1", {"a": [1.0, 2.0, 3.0]}), delta_e_run("r2", {"b": [1.0, 2.0, 3.0]}))
    assert found.metric("delta_e").variants == ()
    assert "the runs have no variant of the same name" in found.warnings


@pytest.mark.parametrize("path", ["size", "version", "validation_size", "name"])
def test_values_of_other_data_are_shown_and_not_judged(path):
    data = {"name": "polygons", "size": 32, "version": 1, "train_size": 512, "validation_size": 96}
    a = delta_e_run("r1", BEFORE, spec={"data": data})
    b = delta_e_run("r2", AFTER, spec={"data": {**data, path: 7}})
    found = compare(a, b)
    row = row_of(found, "lab")
    assert (row.outcome, row.comparison.p_adjusted) == ("described", None)
    assert row.incomparable == f"other data: data.{path}: {data[path]} -> 7"
    assert found.warnings == (f"not comparable: {row.incomparable}",)
    assert metric_rows(found.metrics[0])[1][4] == "not comparable"
    assert "> **not comparable: other data" in comparison_markdown(found)


def test_more_to_train_on_is_a_change_that_can_be_judged():
    a = delta_e_run("r1", BEFORE, spec={"data": {"name": "polygons", "train_size": 512}})
    b = delta_e_run("r2", AFTER, spec={"data": {"name": "polygons", "train_size": 1024}})
    found = compare(a, b)
    assert (outcomes(found)["lab"], found.warnings) == ("better", ())
    assert changed_lines(found)["configuration"] == ["data.train_size: 512 -> 1024"]


def test_a_variant_of_other_data_is_in_no_family():
    a, b = delta_e_run("r1", BEFORE), delta_e_run("r2", AFTER)
    trials = tuple(
        trial.model_copy(update={"spec": {"data": {"size": 64}}}) if "mse" in trial.variants else trial
        for trial in b.plan.trials
    )
    found = compare(a, replace(b, plan=b.plan.model_copy(update={"trials": trials})))
    assert outcomes(found) == {"mse": "described", "lab": "better"}
    assert row_of(found, "lab").comparison.p_adjusted == row_of(found, "lab").comparison.p
    assert found.warnings == ('not comparable (mse): other data: data: nothing -> {"size": 64}',)


def test_a_stand_in_of_another_metric_is_never_taken_for_it():
    published = LPIPS_RAND.model_copy(update={"name": "lpips"})
    a = run_of("r1", build({"delta_e": BEFORE, "lpips": BEFORE}, infos=(DELTA_E, published)))
    b = run_of("r2", build({"delta_e": AFTER, "lpips_rand": AFTER}, infos=(DELTA_E, LPIPS_RAND)))
    found = compare(a, b)
    assert [one.info.name for one in found.metrics] == ["delta_e"]
    assert found.warnings == (
        "not comparable: lpips of published features in one run, lpips_rand in the other",
    )
    with pytest.raises(HarnessError, match="records lpips and run r2 lpips_rand"):
        compare(a, b, metrics=["lpips"])


def test_a_metric_with_another_direction_is_not_judged():
    turned = DELTA_E.model_copy(update={"direction": "higher"})
    found = compare(delta_e_run("r1", BEFORE), run_of("r2", build({"delta_e": AFTER}, infos=(turned,))))
    assert row_of(found, "lab").incomparable == "delta_e has another direction, unit or range"


def test_folds_are_paired_and_corrected_and_other_folds_are_not_paired():
    values = {name: [*side, 10.0] for name, side in BEFORE.items()}
    later = {name: [*side, 10.5] for name, side in AFTER.items()}
    a = run_of("r1", build({"delta_e": values}, folds=3))
    found = compare(a, run_of("r2", build({"delta_e": later}, folds=3)))
    row = row_of(found, "lab")
    assert (len(row.comparison.replicates), row.comparison.folds) == (6, 3)
    by_fold = np.subtract(later["lab"], values["lab"]).reshape(2, 3).mean(axis=0)
    t = by_fold.mean() / (by_fold.std(ddof=1) * np.sqrt(1 / 3 + 1 / 2))  # Nadeau and Bengio 2003
    assert row.comparison.p == pytest.approx(2 * stats.t.sf(abs(t), 2))
    other = compare(a, run_of("r2", build({"delta_e": later}, folds=2)))
    assert (row_of(other, "lab").outcome, row_of(other, "lab").comparison.n) == ("described", 0)
    assert "not comparable, not paired: cross-validation in 3 and 2 parts" in other.warnings


def test_the_primary_metric_comes_first_and_the_report_says_which_are_shown():
    infos = (DELTA_E, PSNR, SHARPNESS, ACCURACY)
    plain = build({info.name: BEFORE for info in infos}, infos=infos)
    later = build({info.name: AFTER for info in infos}, infos=infos)
    report = later.plan.report.model_copy(update={"metrics": ("edge_sharpness",)})
    later.plan = later.plan.model_copy(update={"primary_metric": "psnr", "report": report})
    a, b = run_of("r1", plain), run_of("r2", later)

    def names(**asked):
        return [one.info.name for one in compare(a, b, **asked).metrics]

    assert names() == ["psnr", "edge_sharpness", "delta_e", "colour_accuracy"]
    assert names(every=False) == ["psnr", "edge_sharpness"]
    assert names(metrics=["colour_accuracy"]) == ["colour_accuracy"]
    assert compare(a, b, every=False).metrics_left_out == ("delta_e", "colour_accuracy")
    assert "not the same primary metric: delta_e and psnr" in compare(a, b).warnings
    with pytest.raises(HarnessError, match="run r1 records no metric 'psmr'; did you mean 'psnr'"):
        compare(a, b, metrics=["psmr"])


def test_two_variants_of_one_run_are_compared_by_their_own_names():
    a = delta_e_run("r1", BEFORE)
    found = compare(a, a, variants=("mse", "lab"))
    [row] = found.metric("delta_e").variants
    assert (row.outcome, row.comparison.of, row.comparison.versus) == ("better", "lab", "mse")
    assert row.comparison.p_adjusted == pytest.approx(stats.ttest_rel(BEFORE["lab"], BEFORE["mse"]).pvalue)
    assert metric_rows(found.metrics[0])[0][0] == "lab against mse"
    assert (found.variants_only_of, found.variants_only_versus) == ((), ())


def test_the_settings_of_two_variants_are_told_apart():
    hand = build({"delta_e": BEFORE})
    a = run_of("r1", hand)
    weights = {"mse": {"mse": 1.0}, "lab": {"mse": 1.0, "lab_l1": 0.5}}
    trials = tuple(
        trial.model_copy(update={"spec": {"loss": weights[trial.variants[0]], "seed": trial.seed}})
        for trial in a.plan.trials
    )
    a = replace(a, plan=a.plan.model_copy(update={"trials": trials}))
    found = compare(a, a, variants=("mse", "lab"))
    assert found.configuration.changed == {"lab": {"loss.lab_l1": Change(None, 0.5)}}
    assert changed_lines(found)["configuration"] == ["loss.lab_l1: nothing -> 0.5"]


def test_costs_are_ratios_of_geometric_means_on_the_same_machine_alone():
    slow = [10.0, 11.0, 12.0, 10.5, 11.5]
    fast = [8.0, 8.5, 9.4, 8.6, 9.1]
    seconds = {"mse": slow, "lab": slow}
    a = run_of("r1", build({"delta_e": BEFORE}, train_seconds=seconds))
    hand = build({"delta_e": AFTER}, train_seconds={"mse": fast, "lab": slow})
    found = compare(a, run_of("r2", hand))
    ratios = {one.of: one for cost in found.costs if cost.cost == "train_seconds" for one in cost.ratios}
    logarithms = np.log(fast) - np.log(slow)
    assert ratios["mse"].ratio == pytest.approx(np.exp(logarithms.mean()))
    low, high = stats.t.interval(0.95, 4, logarithms.mean(), stats.sem(logarithms))
    assert (ratios["mse"].low, ratios["mse"].high) == pytest.approx((np.exp(low), np.exp(high)))
    assert ratios["mse"].verdict == "less"
    elsewhere = compare(a, run_of("r2", hand, trials={"host": "two"}))
    assert {one.cost for one in elsewhere.costs} == {"parameters", "forward_flops"}
    assert elsewhere.costs_left_out == (
        "measured on other machines: one (cpu, 1 thread) and two (cpu, 1 thread)"
    )
    assert cost_notes(elsewhere)[0] == "the same for every variant: Parameters, Forward FLOPs"


def test_what_changed_of_code_and_environment_is_told():
    a = delta_e_run("r1", BEFORE, git_commit="a" * 40, trials={"code_hash": "one"}, code_hash="one")
    b = delta_e_run(
        "r2",
        AFTER,
        git_commit="b" * 40,
        git_dirty="1234",
        code_hash="two",
        versions={"torch": "2.16.0", "ray": "2.60.0"},
        trials={"code_hash": "two", "threads": 4},
        executor="ray",
    )
    files = (FileChange("harness/train/loop.py", 3, 1), FileChange("suites/my.yaml", None, None))
    found = compare(a, b, history=CodeHistory(ahead=2, behind=1, files=files))
    assert found.environment == {
        "torch": Change("2.15.0", "2.16.0"),
        "ray": Change(None, "2.60.0"),
        "executor": Change("local", "ray"),
        "threads": Change("1", "4"),
    }
    assert changed_lines(found)["code"] == [
        "the sources of training changed: one -> two",
        "commit aaaaaaaaaa -> bbbbbbbbbb, 2 commits later and 1 that B lacks",
        "run r2 was made with uncommitted changes, which no commit tells",
        "changed files that results may depend on:",
        "  harness/train/loop.py  +3 −1",
        "  suites/my.yaml  binary binary",
    ]
    assert side_line(found.of) == (
        "r2  hand, commit bbbbbbbbbb with uncommitted changes, complete, 10 of 10 trials"
    )


def test_a_change_of_all_variants_is_told_once():
    names = {f"v{index}": [1.0, 2.0, 3.0] for index in range(30)}
    a = delta_e_run("r1", names, spec={"train": {"lr": 0.1}})
    b = delta_e_run("r2", names, spec={"train": {"lr": 0.2}})
    assert changed_lines(compare(a, b))["configuration"] == ["train.lr: 0.1 -> 0.2"]


def test_the_document_is_json_and_says_unchanged_where_the_page_does():
    found = compare(delta_e_run("r1", BEFORE), delta_e_run("r2", {**AFTER, "mse": BEFORE["mse"]}))
    document = json.loads(json.dumps(comparison_document(found), allow_nan=False))
    [metric] = document["metrics"]
    assert (document["schema"], metric["metric"]["name"]) == (1, "delta_e")
    assert {row["of"]: row["verdict"] for row in metric["variants"]} == {"mse": "unchanged", "lab": "better"}
    assert document["versus"]["run_id"] == "r1"


def test_markdown_shows_names_as_they_are(tmp_path):
    values = {"a|b": BEFORE["mse"], "<i>*c*": BEFORE["lab"]}
    page = comparison_markdown(compare(delta_e_run("r1", values), delta_e_run("r2", values)))
    rows = [line for line in page.splitlines() if line.startswith(("| a", "| &lt;"))]
    assert [row.split(" | ")[0] for row in rows] == ["| a\\|b", "| &lt;i&gt;\\*c\\*"]
    found = compare(delta_e_run("r1", values), delta_e_run("r2", values))
    write_comparison(found, tmp_path / "deep" / "page.md")
    assert (tmp_path / "deep" / "page.md").read_text(encoding="utf-8") == page
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot write"):
        write_comparison(found, tmp_path / "file" / "page.md")
