"""Baselines: what they hold, how they grow, and what a broken file does."""

import json

import pytest

from harness.errors import HarnessError
from harness.tracking.baseline.file import (
    LARGEST_FILE,
    baseline_names,
    read_baseline,
    remove_baseline,
    write_baseline,
)
from harness.tracking.baseline.level import level_of
from harness.tracking.baseline.series import established, extended
from harness.tracking.baseline.snapshot import snapshot
from harness.tracking.baseline.summary import summary_of
from tests.support.baselines import RunShape, run_of
from tests.unit.analysis.hand_record import DELTA_E, SHARPNESS

PI_ISH = {"a": [0.1 + 0.2, 1 / 3, 2.0], "b": [1e-17, 123456789.123456789, 5.0]}


def one(name, values=None, shape=RunShape(), **rest):  # noqa: B008
    return snapshot(run_of(name, values or {"a": [1.0, 2.0, 3.0]}, shape, **rest), "main")


def test_a_file_gives_back_every_value_to_the_last_digit(tmp_path):
    before = one("r1", PI_ISH, RunShape(commit="c1", dirty=True), margins={"delta_e": 0.5})
    file = write_baseline(before, tmp_path)
    after = read_baseline("main", tmp_path)
    assert after == before
    assert dict(after.numbers("r1", "a", "delta_e")) == {"10": 0.1 + 0.2, "11": 1 / 3, "12": 2.0}
    assert (after.newest.dirty, after.margins) == (True, {"delta_e": 0.5})
    assert write_baseline(after, tmp_path).read_bytes() == file.read_bytes()


def test_every_run_variant_and_metric_is_one_line_so_that_a_difference_can_be_read(tmp_path):
    values = {"delta_e": PI_ISH, "edge_sharpness": PI_ISH}
    lines = write_baseline(one("r1", values, infos=(DELTA_E, SHARPNESS)), tmp_path).read_text().splitlines()
    rows = [line for line in lines if '"of": "delta_e"' in line or '"of": "edge_sharpness"' in line]
    assert len(rows) == 4
    longer, _ = extended(one("r1"), one("r2", {"a": [1.0, 2.0, 4.0]}))
    before = write_baseline(one("r1"), tmp_path).read_text().splitlines()
    after = write_baseline(longer, tmp_path).read_text().splitlines()
    new = {line.rstrip(",") for line in after} - {line.rstrip(",") for line in before}
    assert all('"run": "r2"' in line for line in new)


def test_folds_have_keys_of_seed_and_fold():
    found = one("r1", {"a": [1.0, 2.0, 3.0, 4.0]}, folds=2)
    assert dict(found.numbers("r1", "a", "delta_e")) == {"10/0": 1, "10/1": 2, "11/0": 3, "11/1": 4}


def test_only_complete_trials_enter_and_what_is_missing_is_counted():
    found = one("r1", {"a": [1.0, 2.0, 3.0]}, status={("a", 11): "failed"})
    assert dict(found.numbers("r1", "a", "delta_e")) == {"10": 1.0, "12": 3.0}
    assert found.newest.missing == 1


def test_a_run_without_a_complete_trial_is_refused():
    with pytest.raises(HarnessError, match="run r1 has no complete trial"):
        one("r1", {"a": [1.0]}, status={("a", 10): "failed"})


@pytest.mark.parametrize(
    ("shape", "rest", "said"),
    [
        (RunShape(suite="other"), {}, "suite is other, in the baseline hand"),
        (RunShape(device="cuda:0"), {}, "device is cuda, in the baseline cpu"),
        (
            RunShape(spec={"data": {"name": "polygons", "size": 64}}),
            {},
            "data.size is 64, in the baseline 32",
        ),
        (RunShape(), {"values": {"a": [1.0, 2.0]}}, "seeds is [10, 11], in the baseline [10, 11, 12]"),
    ],
)
def test_a_run_that_is_not_comparable_is_refused_with_the_first_difference(shape, rest, said):
    with pytest.raises(HarnessError) as caught:
        extended(one("r1"), one("r2", shape=shape, **rest))
    assert said in str(caught.value)
    assert "`harness baseline set main r2`" in str(caught.value)


def test_a_changed_learning_rate_is_comparable():
    changed = RunShape(spec={"optimizer": {"lr": 1.0}})
    assert len(extended(one("r1"), one("r2", {"a": [4.0, 2.0, 3.0]}, changed))[0].runs) == 2


def test_the_same_commit_and_code_takes_the_place_of_the_run_before():
    first = one("r1", shape=RunShape(commit="c1"))
    second = one("r2", {"a": [9.0, 2.0, 3.0]}, RunShape(commit="c1"))
    found, notes = extended(first, second)
    assert [run.run for run in found.runs] == ["r2"]
    assert notes == ["r2 takes the place of r1: the same commit and code"]
    other_code = one("r3", {"a": [9.0, 2.0, 3.0]}, RunShape(commit="c1", code="beef"))
    assert len(extended(first, other_code)[0].runs) == 2


def test_the_same_values_take_the_place_of_the_newest_run():
    found, notes = extended(one("r1"), one("r2", shape=RunShape(commit="c2", code="beef")))
    assert [run.run for run in found.runs] == ["r2"]
    assert notes == ["r2 takes the place of r1: the same values in every trial"]


def test_no_more_runs_are_kept_than_asked_for_and_the_oldest_go():
    runs = [one(f"r{index}", {"a": [index, 2.0, 3.0]}) for index in range(5)]
    found, notes = established("main", runs, keep=3)
    assert [run.run for run in found.runs] == ["r2", "r3", "r4"]
    assert {values.run for values in found.values} == {"r2", "r3", "r4"}
    assert notes == [f"r{index} leaves the baseline: 3 runs kept" for index in range(2)]


def test_a_changed_configuration_begins_a_new_level_for_its_variant_alone():
    slow, fast = ({"optimizer": {"lr": rate}} for rate in (1.0, 2.0))
    runs = [
        one(f"r{index}", {"a": [index, 2.0, 3.0]}, RunShape(spec=spec))
        for index, spec in enumerate((slow, slow, fast, slow, slow))
    ]
    found, _ = established("main", runs)
    assert [run.run for run in level_of(found, found.runs, "a", "delta_e").runs] == ["r3", "r4"]


def test_a_run_that_repeats_values_counts_once():
    runs = [
        one(f"r{index}", {"a": [first, 2.0, 3.0], "b": [index, 1.0, 2.0]})
        for index, first in enumerate((1.0, 1.0, 7.0, 1.0))
    ]
    found, _ = established("main", runs)
    assert [run.run for run in level_of(found, found.runs, "a", "delta_e").runs] == ["r2", "r3"]
    assert len(level_of(found, found.runs, "b", "delta_e").runs) == 4


def test_a_summary_tells_level_and_spread_between_commits():
    runs = [one(f"r{index}", {"a": [1.0 + index, 2.0 + index, 3.0 + index]}) for index in range(3)]
    [level] = summary_of(established("main", runs)[0]).levels
    assert (level.runs, level.mean, level.between_sd, level.within_sd) == (3, 3.0, 1.0, 1.0)


def broken(fields, **changes):
    return json.dumps({**fields, **changes})


def fields_of(tmp_path):
    return json.loads(write_baseline(one("r1"), tmp_path).read_text())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda fields: "{", "is no baseline: Expecting"),
        (lambda fields: "[" * 100_000, "is no baseline"),
        (lambda fields: "7" * 10_000, "is no baseline"),
        (lambda fields: "[]", "its schema is nothing, not 1"),
        (lambda fields: broken(fields, schema=2), "its schema is 2, not 1"),
        (lambda fields: broken(fields, extra=1), "extra: Extra inputs are not permitted"),
        (lambda fields: broken(fields, runs=[]), "runs: Tuple should have at least 1 item"),
        (lambda fields: broken(fields, name="../../etc"), "name: String should match"),
        (lambda fields: broken(fields, primary_metric="psnr"), "the primary metric 'psnr' is not among"),
        (lambda fields: broken(fields, runs=fields["runs"] * 2), "a run stands twice"),
        (
            lambda fields: broken(fields, values=fields["values"] * 2),
            "delta_e of a in the run r1 stands twice",
        ),
        (lambda fields: broken(fields, configurations={}), "is not there"),
        (lambda fields: broken(fields, metrics=[{**fields["metrics"][0], "decimals": 10**9}]), "decimals"),
        (lambda fields: broken(fields, titles={"a": "\x1b[31m"}), "titles.a: String should match"),
        (lambda fields: broken(fields).replace("2.0", "1e999"), "1e999 is not a finite number"),
        (lambda fields: broken(fields).replace("32", "1e999"), "1e999 is not a finite number"),
        (lambda fields: broken(fields).replace("32", "NaN"), "NaN is not a finite number"),
        (
            lambda fields: broken(fields, runs=[{**fields["runs"][0], "configurations": {}}]),
            "at least 1 item",
        ),
        (lambda fields: broken(fields, titles={"a": "\x9b31m"}), "titles.a: String should match"),
        (
            lambda fields: broken(fields, titles={"a": "drow \u202esdrawkcab"}),
            "titles.a: String should match",
        ),
        (lambda fields: broken(fields).replace("2.0", "1e200"), "less than or equal to 1000000"),
        (lambda fields: broken(fields).replace("2.0", '"2.0"'), "valid number"),
        (lambda fields: broken(fields).replace("1000.0", "-1.0"), "a cost is not above 0"),
    ],
)
def test_a_broken_or_hostile_file_gives_one_clear_line(tmp_path, damage, said):
    text = damage(fields_of(tmp_path))
    (tmp_path / "main.json").write_text(text)
    with pytest.raises(HarnessError) as caught:
        read_baseline("main", tmp_path)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert len(message) < 700


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "main.json").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(HarnessError, match="larger than 64 MiB"):
        read_baseline("main", tmp_path)


@pytest.mark.parametrize("name", ["../main", "a/b", ".hidden", "", "a b", "accepted", "x" * 101])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    for act in (read_baseline, remove_baseline):
        with pytest.raises(HarnessError, match="is no name for a baseline"):
            act(name, tmp_path)


def test_names_are_listed_and_a_wrong_one_is_told_from_them(tmp_path):
    write_baseline(one("r1"), tmp_path)
    (tmp_path / "accepted.json").write_text("{}")
    assert baseline_names(tmp_path) == ["main"]
    with pytest.raises(HarnessError, match="did you mean 'main'"):
        read_baseline("mian", tmp_path)
    remove_baseline("main", tmp_path)
    assert baseline_names(tmp_path) == []
    with pytest.raises(HarnessError, match="`harness baseline set main RUN` makes one"):
        read_baseline("main", tmp_path)


def test_a_file_under_another_name_is_refused(tmp_path):
    write_baseline(one("r1"), tmp_path).rename(tmp_path / "other.json")
    with pytest.raises(HarnessError, match="holds the baseline 'main'"):
        read_baseline("other", tmp_path)
