"""A tracker in its own process: what it is told, and that its worker never waits for it nor fails with it."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.trackers import forward as module
from harness.trackers.base import TrackedRun, flattened, settings_of
from harness.trackers.forward import Forward, finish_all
from harness.trackers.messages import Begin
from harness.trackers.told import Told, from_text, to_text

SHAKY = Path(__file__).parents[2] / "support" / "shaky_trackers.py"
SOON = 10.0  # seconds for a process to start on a busy machine


@pytest.fixture
def project(tmp_path):
    (tmp_path / "shaky.py").write_bytes(SHAKY.read_bytes())
    return tmp_path


@pytest.fixture
def begin(project):
    """Return a function that starts a tracker of `shaky_trackers`."""
    begun = []

    def start(name, *, finish_seconds=SOON, variant="mse"):
        (project / "out").mkdir(exist_ok=True)
        run = TrackedRun("tiny", "r1", variant, "abc", 1, 0, None, str(project / "out"), previous=None)
        options = {"name": f"shaky:{name}", "finish_seconds": finish_seconds, "pictures": True}
        message = Begin(f"shaky:{name}", options, run, settings_of(run, {"seed": 0}), str(project))
        begun.append(Forward(message, finish_seconds))
        return begun[-1]

    yield start
    for forward in begun:
        forward.give_up("the test is over")
        assert forward.is_over


def calls(project):
    return [
        json.loads(line)
        for line in (project / "out" / "r1" / "mse" / "seed-0.jsonl").read_text().splitlines()
    ]


def wait_until(condition):
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def end(*forwards):
    """Finish and return the seconds that it took."""
    began = time.monotonic()
    finish_all(forwards, "complete", lambda: None)
    return time.monotonic() - began


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_everything_arrives_in_order_and_the_process_ends_by_itself(begin, project):
    forward = begin("Scribe")
    forward.picture("target", b"12345", None)
    forward.log({"train/loss": 0.5, "validation/delta_e": float("nan")}, 1)
    forward.picture("prediction", b"123", 1)
    end(forward)
    started, *told = calls(project)
    assert (started["call"], started["settings"]["variant"]) == ("start", "mse")
    assert json.dumps(told) == json.dumps(
        [
            {"call": "picture", "name": "target", "bytes": 5, "epoch": 0},
            {"call": "log", "values": {"train/loss": 0.5, "validation/delta_e": float("nan")}, "epoch": 1},
            {"call": "picture", "name": "prediction", "bytes": 3, "epoch": 1},
            {"call": "finish", "status": "complete"},
        ]
    )
    file = project / "out" / "r1" / "mse" / "seed-0.jsonl"
    assert forward.told() == Told("run mse/seed-0", str(file))
    assert is_gone(started["pid"])


def test_a_tracker_that_raises_at_its_start_is_done_with(begin):
    forward = begin("RaisesAtStart")
    wait_until(lambda: forward.is_over)
    forward.log({"train/loss": 0.5}, 1)
    assert end(forward) < 0.5
    assert forward.told() == Told(note="start: RuntimeError: no account")


def test_an_error_leaves_its_epoch_out_and_the_first_one_is_noted(begin, project):
    forward = begin("RaisesInEveryOtherLog")
    for epoch in range(1, 7):
        forward.log({"train/loss": 0.5}, epoch)
    end(forward)
    assert [call.get("epoch", call["call"]) for call in calls(project)] == ["start", 2, 4, 6, "finish"]
    assert forward.told().note == "epoch 1: ConnectionError: the server went away"


def test_three_errors_in_a_row_end_it(begin, project):
    forward = begin("RaisesInLog")
    for epoch in range(1, 6):
        forward.log({"train/loss": 0.5}, epoch)
    end(forward)
    assert [call.get("epoch", call["call"]) for call in calls(project)] == ["start", 1, 2, 3]
    assert forward.told().note == "epoch 1: ConnectionError: the server went away"


def test_a_tracker_that_hangs_costs_nothing_before_the_end_and_then_no_more_than_allowed(begin, project):
    forward = begin("HangsInLog", finish_seconds=0.5)
    began = time.monotonic()
    for epoch in range(1, 101):
        forward.log({"train/loss": 0.5}, epoch)
        forward.picture("prediction", bytes(100_000), epoch)
    assert time.monotonic() - began < 0.5
    wait_until(lambda: len(calls(project)) == 2 if (project / "out" / "r1" / "mse").exists() else False)
    assert end(forward) < 1.5
    assert forward.told().note == "it did not finish within 0.5 s and was ended"
    assert is_gone(calls(project)[0]["pid"])


def test_one_that_has_hung_for_long_already_is_not_waited_for_at_all(begin, project):
    forward = begin("HangsInLog", finish_seconds=0.3)
    forward.log({"train/loss": 0.5}, 1)
    wait_until(lambda: forward.is_late)
    assert end(forward) < 0.25


def test_a_tracker_that_hangs_at_its_end_is_ended(begin, project):
    forward = begin("HangsAtFinish", finish_seconds=1.0)
    wait_until(lambda: forward.told().run)
    assert end(forward) < 2.0
    assert forward.told().run == "run mse/seed-0"
    assert forward.told().note == "it did not finish within 1 s and was ended"
    assert [call["call"] for call in calls(project)] == ["start", "finish"]
    assert is_gone(calls(project)[0]["pid"])


def test_several_are_waited_for_side_by_side(begin):
    forwards = [begin("HangsInLog", finish_seconds=1.0, variant=name) for name in ("a", "b", "c")]
    for forward in forwards:
        forward.log({}, 1)
    assert end(*forwards) < 2.0


def test_a_tracker_that_kills_itself_is_noted(begin):
    forward = begin("KillsItself")
    forward.log({"train/loss": 0.5}, 1)
    wait_until(lambda: forward.is_over)
    assert end(forward) < 0.5
    assert forward.told().note == "its process was ended by SIGKILL"


def test_an_interpreter_that_cannot_start_is_noted_with_its_last_words(begin, monkeypatch):
    monkeypatch.setattr(module, "CHILD", "raise SystemExit('no such module')")
    forward = begin("Scribe")
    wait_until(lambda: forward.is_over)
    assert forward.told().note == "its process ended with exit code 1: no such module"


def test_no_process_to_be_had_is_noted(begin, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    forward = begin("Scribe")
    forward.log({}, 1)
    assert end(forward) < 0.5
    assert forward.told().note == "its process did not start: No such file or directory"


def test_what_a_slow_tracker_has_to_be_told_does_not_fill_the_memory(begin, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 250_000)
    forward = begin("HangsInLog", finish_seconds=0.2)
    forward.log({}, 1)
    for epoch in range(1, 11):
        forward.picture("prediction", bytes(100_000), epoch)
    end(forward)
    assert forward.told().note.endswith("8 rows or pictures were left out: it was too far behind")


def test_it_is_not_drawn_into_the_processes_of_the_trial_nor_into_another_run(begin, project, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "1")
    for name in ("MLFLOW_RUN_ID", "WANDB_RUN_ID", "WANDB_NAME"):
        monkeypatch.setenv(name, "other")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    end(begin("Scribe"))
    environment = calls(project)[0]["environment"]
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID"} & environment.keys()
    assert not {"MLFLOW_RUN_ID", "WANDB_RUN_ID", "WANDB_NAME"} & environment.keys()
    assert (environment["WANDB_MODE"], environment["CUDA_VISIBLE_DEVICES"]) == ("offline", "")


WORKER = """
import json, sys, time
from harness.trackers.base import TrackedRun
from harness.trackers.forward import Forward
from harness.trackers.messages import Begin
project, name = sys.argv[1:]
run = TrackedRun("tiny", "r1", "mse", "abc", 1, 0, None, project + "/out", previous=None)
forward = Forward(Begin(name, {"name": name}, run, {}, project), 10)
forward.log({}, 1)
time.sleep(3600)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere one that holds Python's lock outlives its worker"
)
@pytest.mark.parametrize("name", ["Scribe", "HangsInLog"])
def test_it_ends_with_its_worker(project, name):
    (project / "out").mkdir()
    with subprocess.Popen([sys.executable, "-c", WORKER, str(project), f"shaky:{name}"]) as worker:
        file = project / "out" / "r1" / "mse" / "seed-0.jsonl"
        wait_until(lambda: file.exists() and len(file.read_text().splitlines()) == 2)
        worker.send_signal(signal.SIGKILL)
    pid = calls(project)[0]["pid"]
    wait_until(lambda: is_gone(pid))


def test_what_trackers_said_is_read_back_and_what_is_no_such_thing_is_nothing():
    told = {"wandb": Told("1", "https://x.example/1"), "mlflow": Told(note="no account")}
    assert from_text(to_text(told)) == told
    for text in (None, math.nan, "", "{", "[1]", "[" * 100_000):
        assert from_text(text) == {}
    assert from_text('{"a": {"run": 1, "link": ["x"], "more": 2}, "b": 3}') == {"a": Told()}


def test_settings_are_flat_and_name_what_they_belong_to():
    spec = {"train": {"epochs": 3, "clip_norm": None, "augment": [{"name": "hflip"}]}, "seed": 4}
    assert flattened(spec) == {
        "train.epochs": 3,
        "train.clip_norm": None,
        "train.augment": '[{"name": "hflip"}]',
        "seed": 4,
    }
    run = TrackedRun("tiny", "r2", "lab", "abc", 2, 4, 1, "/x", previous="run 7")
    settings = settings_of(run, {"seed": 4})
    assert settings == {
        "seed": 4,
        "suite": "tiny",
        "run": "r2",
        "variant": "lab",
        "trial": "abc",
        "attempt": 2,
        "continues": "run 7",
    }
    assert run.name == "lab/seed-4-fold-1-attempt-2"
