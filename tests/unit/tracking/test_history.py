"""Histories of a store: what is a point, what is compared, what is found, what is accepted."""

import json
import math
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from harness import evidence
from harness.analysis.plain_json import document_text
from harness.cli import main
from harness.errors import HarnessError
from harness.reporting.history import history_page
from harness.reporting.view import build_view
from harness.store.read import open_store
from harness.tracking.history.accepted import FILE, Accepted, accept, read_accepted
from harness.tracking.history.document import history_document
from harness.tracking.history.read import read_history
from tests.support.history_store import STARTED, HistoryStore, commit_of

SEEDS = np.array([-0.5, 0.0, 0.6])  # what a seed adds to every value of its trials


def scripted(generator, level):
    """Return one value a seed about a level; runs scatter by 0.17."""
    return list(level + SEEDS + generator.normal(0, 0.3, 3))


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    """30 runs with everything: a step at run 20 in mse, a creep from 8 to 24 in lab, and odd runs."""
    store = HistoryStore(tmp_path_factory.mktemp("store"))
    generator = np.random.default_rng(5)
    ids = []
    for index in range(30):
        values = {
            "mse": scripted(generator, 20 + 3.0 * (index >= 20)),
            "lab": scripted(generator, 10 + 0.25 * np.clip(index - 8, 0, 16)),
        }
        ids.append(store.add(values, dirty=index == 13, host="bench" if index < 27 else "other"))
        if index == 5:  # the same code with a fourth seed: only that one is trained
            topped = {name: [*seeds, 99.0] for name, seeds in values.items()}
            ids.append(store.add(topped, code="code005", reused=(0, 1, 2)))
        if index == 10:  # another commit, the same code: nothing is trained
            ids.append(store.add(values, code=f"code{store.count - 1:03d}", reused=(0, 1, 2)))
    return store, ids


@pytest.fixture(scope="module")
def found(scenario):
    return read_history(open_store(scenario[0].root))


@pytest.fixture(scope="module")
def stepped(tmp_path_factory):
    """24 runs of one variant that is worse from run 12 on."""
    store = HistoryStore(tmp_path_factory.mktemp("store"))
    generator = np.random.default_rng(6)
    return store, [store.add({"mse": scripted(generator, 20 + 3.0 * (index >= 12))}) for index in range(24)]


def series_of(history, variant, metric="delta_e"):
    [one] = [one for one in history.series if (one.variant, one.info.name) == (variant, metric)]
    return one


def test_a_point_is_a_run_that_trained_anew_oldest_first(scenario, found):
    _, ids = scenario
    series = series_of(found, "mse")
    assert found.runs == 32
    points = [run for position, run in enumerate(ids) if position not in (5, 12)]
    assert [point.run for point in series.points] == points
    assert [point.n for point in series.points] == [3] * 30


def test_a_run_that_adds_seeds_on_the_same_code_takes_the_place_of_the_one_before(scenario, found):
    _, ids = scenario
    series = series_of(found, "mse")
    point = series.points[5]
    assert point.runs == (ids[5], ids[6])
    assert (point.first, point.last) == (commit_of(5)[:10], commit_of(6)[:10])
    assert point.mean == pytest.approx(20, abs=1)  # the fourth seed, 99, is in no other run and not used
    assert "more seeds" in series.notes[0]
    [left_out] = [one for one in series.left_out if one.run == ids[5]]
    assert "has all of its seeds" in left_out.reason


def test_a_run_that_reuses_everything_is_no_point_but_tells_that_its_commit_changed_nothing(scenario, found):
    _, ids = scenario
    series = series_of(found, "mse")
    [left_out] = [one for one in series.left_out if one.run == ids[12]]
    assert "nothing anew" in left_out.reason
    assert [commit.id for commit in series.points[10].commits] == [commit_of(11), commit_of(12)]


def test_a_step_has_its_commits_its_levels_and_its_direction(scenario, found):
    series = series_of(found, "mse")
    [change] = series.changes
    assert (change.shape, change.better, change.start, change.end) == ("step", False, 19, 20)
    assert change.between == f"{commit_of(21)[:10]}..{commit_of(22)[:10]}"
    means = [point.mean for point in series.points]
    assert change.before == pytest.approx(np.mean(means[:20]))
    assert change.after == pytest.approx(np.mean(means[20:]))
    assert change.low < 3.0 < change.high
    assert series.level == pytest.approx(change.after)


def test_a_creep_has_its_commits_and_its_total_size(found):
    [change] = series_of(found, "lab").changes
    assert (change.shape, change.better) == ("creep", False)
    assert abs(change.start - 8) <= 2 and abs(change.end - 24) <= 2
    assert change.low < 4.0 < change.high


def test_the_direction_of_the_metric_decides_what_is_better(scenario):
    history = read_history(open_store(scenario[0].root), metrics=["ssim"], variants=["mse"])
    [change] = series_of(history, "mse", "ssim").changes  # ssim is 1 - delta_e / 100
    assert change.size == pytest.approx(-0.03, abs=0.003)
    assert not change.better


def test_uncommitted_changes_and_another_machine_are_marked(scenario, found):
    series = series_of(found, "mse")
    assert series.points[13].first == commit_of(15)[:10] + "+"
    [event] = series.events
    assert (event.at, event.text) == (27, "other machine: other (cpu, 1 thread)")


def test_intervals_are_t_intervals_over_seeds(tmp_path):
    store = HistoryStore(tmp_path)
    store.add({"mse": [1.0, 2.0, 3.0]})
    [series] = read_history(open_store(tmp_path)).series
    [point] = series.points
    half = 4.302652729911275 * 1.0 / math.sqrt(3)  # t quantile of 2 degrees of freedom from tables
    assert (point.mean, point.low, point.high) == pytest.approx((2.0, 2.0 - half, 2.0 + half))


def test_folds_are_averaged_before_the_interval(tmp_path):
    store = HistoryStore(tmp_path)
    store.add({"mse": [1.0, 3.0, 2.0, 4.0]}, folds=2)  # seed 0: folds 1 and 3; seed 1: 2 and 4
    [point] = read_history(open_store(tmp_path)).series[0].points
    # folds have means 1.5 and 3.5; variance 2 (1/2 + 1/(2 - 1)) by Nadeau and Bengio
    half = 12.706204736432095 * math.sqrt(2 * 1.5)
    assert (point.n, point.mean, point.high) == (4, 2.5, pytest.approx(2.5 + half))


def fresh(store, level):
    """Return three values at a level that no other run of the store has."""
    return [level + 1e-9 * store.count] * 3


def test_training_again_that_gives_the_same_values_is_no_further_point(tmp_path):
    store = HistoryStore(tmp_path)
    ids = [store.add({"mse": values}) for values in ([1.0, 2.0, 3.0],) * 3 + ([1.0, 2.0, 3.1],)]
    [series] = read_history(open_store(tmp_path)).series
    assert [point.run for point in series.points] == [ids[0], ids[3]]
    assert len(series.points[0].commits) == 3
    assert {one.reason for one in series.left_out} == {f"has the values of {ids[0]} again: no further draw"}


def test_the_same_values_and_more_seeds_take_the_place_of_the_point(tmp_path):
    store = HistoryStore(tmp_path)
    few = store.add({"mse": [1.0, 2.0, 3.0]}, failed=[("mse", 2)])
    whole = store.add({"mse": [1.0, 2.0, 3.0]})
    [series] = read_history(open_store(tmp_path)).series
    assert [(point.run, point.n) for point in series.points] == [(whole, 3)]
    assert [one.run for one in series.left_out] == [few]


def test_too_few_points_say_nothing(tmp_path):
    store = HistoryStore(tmp_path)
    for index in range(9):
        store.add({"mse": fresh(store, 1.0 + 5 * (index >= 5))})
    [series] = read_history(open_store(tmp_path)).series
    assert (series.judged, series.counted, series.changes, series.bound) == (False, 9, (), None)
    store.add({"mse": fresh(store, 6.0)})
    [series] = read_history(open_store(tmp_path)).series
    assert [change.end for change in series.changes] == [5]


def test_other_data_fewer_seeds_and_absent_variants_are_left_out_with_the_reason(tmp_path):
    store = HistoryStore(tmp_path)
    odd = {
        store.add({"mse": fresh(store, 1.0)}, data={"size": 64}): "has other data: data.size: 32 -> 64",
        store.add({"mse": fresh(store, 1.0)}, failed=[("mse", 1)]): "has no value of seed 1",
        store.add({"lab": fresh(store, 1.0)}): "has no variant mse",
        store.add(
            {"mse": fresh(store, 1.0)}, failed=[("mse", seed) for seed in range(3)]
        ): "has no complete trial of it",
    }
    kept = [store.add({"mse": fresh(store, 1.0)}) for _ in range(3)]
    [series] = read_history(open_store(tmp_path)).series
    assert [point.run for point in series.points] == kept
    assert {one.run: one.reason for one in series.left_out} == odd


def test_a_change_of_the_configuration_is_an_event_and_not_an_error(tmp_path):
    store = HistoryStore(tmp_path)
    for lr in (1e-4, 1e-4, 3e-4):
        store.add({"mse": fresh(store, 1.0)}, settings={"optimizer": {"name": "adamw", "lr": lr}})
    [series] = read_history(open_store(tmp_path)).series
    assert len(series.points) == 3
    assert [(event.at, event.text) for event in series.events] == [
        (2, "configuration changed: optimizer.lr: 0.0001 -> 0.0003")
    ]


@pytest.mark.parametrize(("runs", "words"), [(4, "◆ configuration changed"), (6, "◆")])
def test_many_events_are_signs_in_the_chart_and_words_in_the_table(tmp_path, runs, words):
    store = HistoryStore(tmp_path)
    for lr in range(1, runs + 1):
        store.add({"mse": fresh(store, 1.0)}, settings={"optimizer": {"name": "adamw", "lr": lr}})
    [metric] = history_page(read_history(open_store(tmp_path))).metrics
    plot = metric.plots[0]
    assert {mark.text for mark in plot.chart.marks} == {words}
    assert [row.cells[-1].text for row in plot.table.rows[1:]] == [
        f"configuration changed: optimizer.lr: {lr} -> {lr + 1}" for lr in range(1, runs)
    ]
    assert any("◆ stands for 5 changes" in note for note in plot.notes) == (runs == 6)


def test_new_code_of_a_component_of_the_project_is_no_change_of_the_configuration(tmp_path):
    store = HistoryStore(tmp_path)
    for digest in ("1111", "2222"):
        store.add({"mse": fresh(store, 1.0)}, settings={"plugins": {"parts:Blur": digest}})
    [series] = read_history(open_store(tmp_path)).series
    assert len(series.points) == 2
    assert series.events == ()


def test_a_measured_cost_is_compared_on_one_machine_as_a_ratio(tmp_path):
    store = HistoryStore(tmp_path)
    generator = np.random.default_rng(2)
    for index in range(26):
        seconds = 20 * (1.5 if index >= 16 else 1) * math.exp(generator.normal(0, 0.02))
        store.add({"mse": [1.0] * 3}, seconds=seconds, host="old" if index < 4 else "new")
    [series] = read_history(open_store(tmp_path), metrics=["train_seconds"]).series
    assert len(series.points) == 22
    assert {one.reason for one in series.left_out} == {"ran on another machine: old (cpu, 1 thread)"}
    [change] = series.changes
    assert (change.shape, change.end, change.better) == ("step", 12, False)
    assert change.low < 1.5 < change.high
    assert change.size == pytest.approx(change.after / change.before)
    larger = read_history(open_store(tmp_path), metrics=["train_seconds"], at_least=0.7).series[0]
    assert (larger.changes, larger.bound) == ((), pytest.approx(0.7))


def test_the_margin_of_the_suite_is_the_smallest_change_and_an_option_overrides_it(tmp_path):
    store = HistoryStore(tmp_path, margins={"delta_e": 2.0})
    generator = np.random.default_rng(3)
    for index in range(24):
        store.add({"mse": scripted(generator, 20 + 1.2 * (index >= 12))})
    reader = open_store(tmp_path)
    [series] = read_history(reader).series
    assert (series.changes, series.bound, series.bound_source) == (
        (),
        2.0,
        "the margin that the suite declares",
    )
    [series] = read_history(reader, at_least=0.5).series
    assert [change.end for change in series.changes] == [12]


def entry(run, commit=None, **fields):
    given = {
        "suite": "losses",
        "profile": "ci",
        "metric": "delta_e",
        "variant": "mse",
        "why": "meant",
        "when": STARTED,
    }
    return Accepted(run=run, commit=commit, **{**given, **fields})


def test_at_an_accepted_change_the_level_starts_anew(stepped):
    store, ids = stepped
    [series] = read_history(open_store(store.root), accepted=[entry(ids[12])]).series
    assert (series.used, series.counted, series.judged) == (12, 12, True)
    [change] = series.changes
    assert (change.shape, change.start, change.end, change.p) == ("accepted", 11, 12, None)
    assert change.entry.why == "meant"
    means = [point.mean for point in series.points]
    assert change.size == pytest.approx(np.mean(means[12:22]) - np.mean(means[2:12]))  # ten on either side
    assert series.alarms == ()
    assert all(line.start >= 12 for line in series.lines)


def test_the_points_that_are_needed_count_from_the_accepted_change(stepped):
    store, _ = stepped
    accepted = [entry("made elsewhere", commit_of(15))]  # three commits later: 9 points are left
    [series] = read_history(open_store(store.root), accepted=accepted).series
    assert (series.used, series.counted, series.judged) == (15, 9, False)


def test_an_accepted_change_holds_for_its_suite_profile_metric_and_variant_alone(stepped):
    store, ids = stepped
    others = [{"suite": "another"}, {"profile": "laptop"}, {"metric": "ssim"}, {"variant": "lab"}]
    accepted = [entry(ids[12], **fields) for fields in others]
    assert read_history(open_store(store.root), accepted=accepted).series[0].used == 0
    everything = [entry(ids[12], metric=None, variant=None)]
    history = read_history(open_store(store.root), accepted=everything, metrics=["delta_e", "ssim"])
    assert [one.used for one in history.series] == [12, 12]


def test_an_accepted_change_that_is_no_point_is_told(tmp_path):
    HistoryStore(tmp_path).add({"mse": [1.0] * 3})
    [series] = read_history(open_store(tmp_path), accepted=[entry("gone")]).series
    assert series.used == 0
    assert any("gone" in note and "no point" in note for note in series.notes)


def test_accepting_writes_one_line_an_entry_and_replaces_its_own(stepped, tmp_path):
    store, ids = stepped
    where = {"store": store.root, "baselines": tmp_path}
    evidence.accept_change(commit_of(12)[:8], "first thought", metrics=["delta_e"], variants=["mse"], **where)
    evidence.accept_change(ids[12], "a better\n reason", metrics=["delta_e"], variants=["mse"], **where)
    evidence.accept_change("latest", "all of it", **where)
    lines = (tmp_path / FILE).read_text().splitlines()
    assert len(lines) == 4
    first, second = read_accepted(tmp_path)
    assert (first.run, first.commit, first.why) == (ids[12], commit_of(12), "a better reason")
    assert (second.run, second.metric, second.variant) == (ids[-1], None, None)
    assert evidence.history(**where).series[0].used == 23


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not a list of accepted changes"),
        ('{"schema": 2, "accepted": []}', "schema"),
        ('{"schema": 1, "accepted": [{"run": "x"}]}', "accepted.0.suite"),
        ('{"schema": 1, "accepted": [], "more": 1}', "more"),
        ('{"schema": 1, "accepted": [{"suite": "\\u001b[2J"}]}', "accepted.0.suite: String should match"),
    ],
)
def test_a_broken_file_of_accepted_changes_is_told_in_one_line(tmp_path, content, said):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(HarnessError) as error:
        read_accepted(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(HarnessError):
        accept(tmp_path, entry("x"))
    assert (tmp_path / FILE).read_text() == content


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"metrics": ["delta"]}, "delta_e"),
        ({"variants": ["mze"]}, "mse"),
        ({"suite": "loses"}, "losses"),
        ({"profile": "laptop"}, "there are runs with ci"),
        ({"at_least": -1.0}, "above 0"),
    ],
)
def test_names_that_there_are_not_are_told_with_close_ones(stepped, arguments, said):
    with pytest.raises(HarnessError, match=said):
        evidence.history(store=stepped[0].root, **arguments)


def test_accepting_what_is_not_there_is_refused(stepped, tmp_path):
    with pytest.raises(HarnessError, match="no run and no commit"):
        evidence.accept_change("ffff", "why not", store=stepped[0].root, baselines=tmp_path)
    with pytest.raises(HarnessError, match="names 24 runs"):
        evidence.accept_change("2026", "why not", store=stepped[0].root, baselines=tmp_path)
    with pytest.raises(HarnessError, match="why"):
        evidence.accept_change("latest", "  ", store=stepped[0].root, baselines=tmp_path)
    assert not (tmp_path / FILE).exists()


def test_suites_and_profiles_are_histories_of_their_own(tmp_path):
    store = HistoryStore(tmp_path)
    for _ in range(3):
        store.add({"mse": [1.0] * 3}, profile="ci")
    store.add({"mse": [1.0] * 3}, profile="laptop")
    store.suite = "other"
    store.add({"mse": [1.0] * 3}, profile=None)
    reader = open_store(tmp_path)
    found = [
        (h.suite, h.profile, h.runs) for h in (read_history(reader), read_history(reader, suite="losses"))
    ]
    assert found == [("other", None, 1), ("losses", "laptop", 1)]
    assert read_history(reader, suite="losses", profile="ci").runs == 3


def test_the_latest_runs_alone_are_read_where_there_are_very_many(stepped):
    store, ids = stepped
    history = read_history(open_store(store.root), most=11)
    assert (history.runs, history.earlier) == (11, 13)
    assert [point.run for point in history.series[0].points] == ids[-11:]
    assert history_page(history).lede.startswith("The latest 11 of 24 runs, 1 variant.")


def test_runs_outside_git_are_named_by_their_ids(tmp_path):
    store = HistoryStore(tmp_path)
    ids = [store.add({"mse": fresh(store, 1.0 + 5 * (index >= 6))}, git=False) for index in range(12)]
    [change] = read_history(open_store(tmp_path)).series[0].changes
    assert change.between == f"{ids[5]}..{ids[6]}"


def test_only_the_trials_of_the_variants_asked_for_are_read(scenario, tmp_path):
    root = shutil.copytree(scenario[0].root, tmp_path / "store")
    plan = open_store(root).run("latest", variants=()).plan
    for trial in plan.trials:
        if trial.variants == ("lab",):
            for file in (root / "attempts" / trial.id).iterdir():
                file.write_bytes(b"not Parquet")
    assert len(read_history(open_store(root), variants=["mse"]).series[0].points) == 30


def test_the_document_is_the_same_for_a_copy_of_the_store(stepped, tmp_path):
    root = shutil.copytree(stepped[0].root, tmp_path / "elsewhere")
    here = document_text(history_document(evidence.history(store=stepped[0].root, baselines=tmp_path)))
    there = subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()", "history", "--json", "--store", root],
        cwd=root,
        env={"PATH": "", "PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout == here
    document = json.loads(here)
    assert document["schema"] == 1
    [change] = document["series"][0]["changes"]
    assert change["last_before"]["commit"] == commit_of(11)
    assert change["first_after"]["commit"] == commit_of(12)
    assert change["size"] == float(f"{change['size']:.10g}")


def test_the_document_holds_what_was_accepted_and_which_points_count(stepped):
    store, ids = stepped
    history = read_history(open_store(store.root), accepted=[entry(ids[12])])
    [series] = history_document(history)["series"]
    assert series["changes"][0]["accepted"]["why"] == "meant"
    assert [point["counts"] for point in series["points"]] == [False] * 12 + [True] * 12
    json.dumps(series)


# --- the report and the page


def test_a_report_shows_the_history_up_to_its_run(scenario):
    store, ids = scenario
    reader = open_store(store.root)
    until = ids[25]
    view = build_view(reader.run(until), read_history(reader, until=until))
    assert [plot.title for plot in view.history.plots] == ["MSE", "+ LAB"]  # the reference, and the best
    assert len(view.history.plots[0].table.rows) == 24
    [(verdict, text)] = view.history.plots[0].findings
    assert verdict.word == "worse"
    assert f"{commit_of(21)[:10]}..{commit_of(22)[:10]}" in text
    assert "History" in [section.title for section in view.sections]


def test_a_report_without_two_further_runs_has_no_history(tmp_path):
    store = HistoryStore(tmp_path)
    for _ in range(3):
        run = store.add({"mse": fresh(store, 1.0), "lab": fresh(store, 2.0)})
        reader = open_store(tmp_path)
        view = build_view(reader.run(run), read_history(reader, until=run))
        assert (view.history is not None) == (store.count == 3)


def test_every_number_of_the_chart_is_in_the_table(found):
    [metric] = history_page(found).metrics
    plot = metric.plots[0]
    assert [point.label for point in plot.chart.points] == [row.label for row in plot.table.rows]
    assert [f"{point.mean:.1f}" for point in plot.chart.points] == [
        row.cells[0].text for row in plot.table.rows
    ]
    assert any("a step worse" in row.cells[-1].text for row in plot.table.rows)


def test_the_page_needs_no_script_and_no_other_file(stepped, tmp_path):
    store, ids = stepped
    accept(tmp_path, entry(ids[12], why="<script>alert(1)</script>"))
    file = tmp_path / "deep" / "history.html"
    evidence.history(store=store.root, baselines=tmp_path, metrics=["delta_e", "ssim"], html=file)
    page = file.read_text()
    assert "<script" not in page
    assert "src=" not in page
    assert page.count('class="wide"') == 2  # two metrics of one variant
    assert "&lt;script&gt;" in page
    assert 'id="metric-2"' in page


# --- the command


def run_command(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["harness", "history", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code or 0


def test_the_command_tells_levels_changes_and_what_is_lacking(stepped, tmp_path, capsys):
    store, ids = stepped
    where = ["--store", store.root, "--baselines", tmp_path]
    assert run_command(*where) == 0
    said = capsys.readouterr().out
    assert "losses  ci profile  24 runs" in said
    assert re.search(r"✗ step: worse, 20\.\d → 23\.\d \(\+\d\.\d \[", said)
    assert f"{commit_of(11)[:10]}..{commit_of(12)[:10]}" in said
    assert run_command(*where, "--accept", ids[20], "--why", "meant") == 0
    assert "too few points since the accepted change: 4 of 10" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--accept", "latest"], "--accept RUN and --why TEXT go together"),
        (["--metric", "delta"], "did you mean"),
        (["--at-least", "0"], "above 0"),
    ],
)
def test_bad_input_ends_with_one_line_and_exit_code_2(stepped, tmp_path, capsys, arguments, said):
    assert run_command("--store", stepped[0].root, "--baselines", tmp_path, *arguments) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""
