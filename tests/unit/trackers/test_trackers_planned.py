"""What a suite and the command line say of trackers: checked while planning, and no part of any identity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from harness.errors import SuiteError
from harness.planning.build import plan_suite
from harness.reporting.trackers import tracker_cell
from harness.schema import suite_schema
from harness.testing.tiny import TINY
from harness.trackers.told import Told, to_text

SHAKY = Path(__file__).parents[2] / "support" / "shaky_trackers.py"
DEFAULTS = {"name": "tensorboard", "finish_seconds": 30.0, "pictures": True}


def plan(write_suite, trackers="", names=()):
    return plan_suite(write_suite(f"{TINY}{trackers}\n"), trackers=names).plan


@pytest.mark.parametrize("written", ["[tensorboard]", "{tensorboard: {}}", "{tensorboard: null}"])
def test_a_list_and_a_mapping_say_the_same(write_suite, written):
    assert plan(write_suite, f"trackers: {written}").trackers == {"tensorboard": DEFAULTS}


def test_none_is_used_unless_asked_for(write_suite):
    assert plan(write_suite).trackers == {}


@pytest.mark.parametrize("written", ["", "trackers: [mlflow]", "trackers: {mlflow: {experiment: mine}}"])
def test_the_command_adds_to_those_of_the_suite(write_suite, written):
    found = plan(write_suite, written, names=["tensorboard", "mlflow", "tensorboard"]).trackers
    assert found.keys() == {"tensorboard", "mlflow"}
    assert found["mlflow"]["experiment"] == ("mine" if "mine" in written else None)


def test_they_are_no_part_of_the_identity_of_trials_and_suite(write_suite):
    without, shown = plan(write_suite), plan(write_suite, "trackers: [tensorboard, wandb]")
    assert [trial.id for trial in shown.trials] == [trial.id for trial in without.trials]
    assert shown.suite_hash == without.suite_hash


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("[tensorbord]", "trackers.tensorbord: no tracker 'tensorbord'; did you mean 'tensorboard'?"),
        ("{tensorboard: {pictures: 3}}", "trackers.tensorboard.pictures"),
        ("{wandb: {projekt: x}}", "trackers.wandb.projekt"),
        ("{wandb: {finish_seconds: 0}}", "trackers.wandb.finish_seconds"),
        ("[tensorboard, tensorboard]", "trackers: expected distinct names"),
        (
            "{wandb: {project: sk-abcdefghijklmnopqrstuvwx}}",
            "trackers.wandb.project: this is, or is named as, a secret",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(write_suite, written, message):
    with pytest.raises(SuiteError) as error:
        plan(write_suite, f"trackers: {written}")
    (problem,) = error.value.problems
    assert message in str(problem)
    assert problem.position.line == len(TINY.splitlines()) + 1


def test_one_of_the_command_that_is_not_known_is_told_of_as_such(write_suite):
    with pytest.raises(SuiteError, match=r"--tracker tensorbord.*did you mean 'tensorboard'"):
        plan(write_suite, names=["tensorbord"])


def test_one_that_is_not_installed_is_refused_with_what_installs_it(write_suite, tmp_path, monkeypatch):
    module = "class FarTracker(Tracker):\n    '''Shows it far away.'''\n    needs = ('far-away', 'numpy')\n"
    (tmp_path / "far_tracker.py").write_text(f"from harness.trackers.base import Tracker\n{module}")
    (tmp_path / "far_away").mkdir()  # a folder that a tool left behind is not the tool
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SuiteError, match=r"far-away not installed; pip install far-away\n"):
        plan(write_suite, "trackers: ['far_tracker:FarTracker']")


def test_a_class_that_is_no_tracker_is_refused(write_suite, tmp_path, monkeypatch):
    (tmp_path / "no_tracker_of_a_test.py").write_text("class No:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SuiteError, match=r"is no tracker: expected a Config that is a subclass of .*TrackerConfig"
    ):
        plan(write_suite, "trackers: ['no_tracker_of_a_test:No']")


@pytest.fixture(scope="module")
def validator():
    return Draft202012Validator(suite_schema()["properties"]["trackers"] | {"$defs": suite_schema()["$defs"]})


@pytest.mark.parametrize(
    ("written", "is_right"),
    [
        (["tensorboard", "my.parts:Text"], True),
        ({"wandb": {"project": "x"}, "mlflow": None, "my.parts:Text": {"prefix": "-"}}, True),
        (["tensorbord"], False),
        ({"wandb": {"projekt": "x"}}, False),
        ({"other": {}}, False),
    ],
)
def test_editors_know_the_section(validator, written, is_right):
    assert validator.is_valid(written) == is_right


def test_the_report_shows_addresses_as_links_and_paths_as_text():
    told = {
        "wandb": Told("1", "https://wandb.ai/1"),
        "tensorboard": Told("2", "trackers/tensorboard/r1/mse/seed-0"),
        "evil": Told("3", "javascript:alert(1)"),
        "mlflow": Told(note="start: no server"),
    }
    cell = tracker_cell(to_text(told))
    assert [(link.title, link.url) for link in cell.links] == [
        ("wandb", "https://wandb.ai/1"),
        ("evil", None),
    ]
    assert cell.text == "tensorboard: trackers/tensorboard/r1/mse/seed-0"
    assert cell.note == " mlflow: start: no server"
    assert tracker_cell(None).text == "–"
    assert tracker_cell(json.dumps(["no", "tracker"])).text == "–"
