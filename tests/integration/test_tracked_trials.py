"""Trials that trackers show: with good ones and with broken ones their numbers are the same, bit for bit."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from harness.data.cache import cache_folder
from harness.execute.base import Ended, EpochDone
from harness.execute.driver import assess, run_plan
from harness.execute.local import LocalExecutor
from harness.execute.ray_tune import RayExecutor
from harness.planning.build import build_plan
from harness.store.read import StoreReader
from harness.store.write import create_store
from harness.suite import load_suite
from harness.testing.tiny import TINY

SHAKY = Path(__file__).parents[1] / "support" / "shaky_trackers.py"
BROKEN = ("RaisesAtStart", "RaisesInLog", "HangsInLog", "HangsAtFinish", "KillsItself", "TellsASecret")
SECRET = "a1b2c3d4e5f6"


@pytest.fixture(scope="module")
def local():
    executor = LocalExecutor(cpus=2)
    yield executor
    executor.close()


@pytest.fixture(scope="module", autouse=True)
def secret():
    """Give workers, which keep the environment that they started with, a secret to tell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAKY_API_KEY", SECRET)
        yield


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "shaky.py").write_bytes(SHAKY.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(project, executor, store, trackers, *, overrides=(), listener=lambda event: None):
    """Train one trial of a second or so, and return its run's record."""
    path = project / "suite.yaml"
    lines = [f"  '{name}': {json.dumps(options)}\n" for name, options in trackers.items()]
    path.write_text(TINY + ("trackers:\n" + "".join(lines) if trackers else ""))
    plan = build_plan(load_suite(path, seeds=1, overrides=overrides), only=["loss_terms=mse"])
    writer = create_store(project / store)
    assessment = assess(plan, StoreReader(writer.root))
    outcome = run_plan(plan, writer, executor, assessment=assessment, listener=listener, cache=cache_folder())
    return StoreReader(writer.root).run(outcome.run_id)


def trial(record):
    (row,) = record.trials.to_dict("records")
    return row, json.loads(row["trackers"]) if isinstance(row["trackers"], str) else {}


def bits(record):
    """Return every metric row, with the very bits of its numbers."""
    rows = record.metrics.drop(columns=["trial_id", "attempt"]).to_dict("records")
    return [
        {key: value.hex() if isinstance(value, float) else value for key, value in row.items()}
        for row in rows
    ]


def scribbled(store, record, name="mse/seed-0"):
    file = store / "trackers" / "shaky-Scribe" / record.run["run_id"] / f"{name}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_broken_trackers_change_no_number_and_cost_no_more_time_than_allowed(local, project):
    alone = run(project, local, "alone", {})
    assert trial(alone)[1] == {}
    trackers = {f"shaky:{name}": {"finish_seconds": 6} for name in (*BROKEN, "Scribe")}
    shown = run(project, local, "shown", trackers)
    row, told = trial(shown)
    assert (row["status"], row["attempt"], row["trial_id"]) == ("complete", 1, trial(alone)[0]["trial_id"])
    assert bits(shown) == bits(alone)
    assert {name.removeprefix("shaky:"): one["note"] for name, one in told.items()} == {
        "RaisesAtStart": "start: RuntimeError: no account",
        "RaisesInLog": "epoch 1: ConnectionError: the server went away",
        "HangsInLog": "it did not finish within 6 s and was ended",
        "HangsAtFinish": "it did not finish within 6 s and was ended",
        "KillsItself": "its process was ended by SIGKILL",
        "TellsASecret": "finish: ValueError: refused: key ***",
        "Scribe": None,
    }
    ran = shown.run["ended"] - shown.run["started"]
    assert ran.total_seconds() - row["wall_seconds"] < 6 + 10  # the worker's imports are in it, too


def test_secrets_that_a_tracker_tells_are_not_kept(local, project):
    record = run(project, local, "store", {"shaky:TellsASecret": {}})
    _, told = trial(record)
    assert told["shaky:TellsASecret"]["link"] == "https://***@tracker.example/1"
    kept = [path for path in (project / "store").rglob("*") if path.is_file() and path.suffix != ".jsonl"]
    assert all(SECRET.encode() not in path.read_bytes() for path in kept)


def test_every_row_picture_and_setting_reaches_the_tracker(local, project):
    record = run(project, local, "store", {"shaky:Scribe": {}})
    row, told = trial(record)
    link = f"trackers/shaky-Scribe/{record.run['run_id']}/mse/seed-0.jsonl"
    assert told == {"shaky:Scribe": {"run": "run mse/seed-0", "link": link, "note": None}}
    start, *calls, end = scribbled(project / "store", record)
    assert start["settings"]["train.epochs"] == 3
    assert start["settings"]["trial"] == row["trial_id"]
    assert end == {"call": "finish", "status": "complete"}
    logged = {
        (call["epoch"], key): value
        for call in calls
        if call["call"] == "log"
        for key, value in call["values"].items()
    }
    expected = {}
    for one in record.metrics.to_dict("records"):
        label = f"/{one['label']}" if isinstance(one["label"], str) else ""
        expected[one["epoch"], f"{one['split']}/{one['metric']}{label}"] = one["value"]
    for one in record.costs.to_dict("records"):
        expected[one["epoch"], f"cost/{one['name']}"] = one["value"]
    assert logged.keys() == expected.keys()
    assert all(logged[key] == value or math.isnan(value) for key, value in expected.items())
    pictures = {(call["name"], call["epoch"]) for call in calls if call["call"] == "picture"}
    samples = record.artifacts[record.artifacts["kind"] == "sample"]
    assert pictures == {
        (one["name"], int(one["epoch"]) if one["epoch"] > 0 else 0) for one in samples.to_dict("records")
    }


def test_pictures_can_be_left_out(local, project):
    record = run(project, local, "store", {"shaky:Scribe": {"pictures": False}})
    assert {call["call"] for call in scribbled(project / "store", record)} == {"start", "log", "finish"}


def test_an_attempt_that_goes_on_is_a_run_of_its_own_that_names_the_one_before(local, project):
    overrides = ["base.train.epochs=12", "base.data.train_size=256"]

    def stop_at_the_first_epoch(event):
        if isinstance(event, EpochDone):
            store = create_store(project / "store")
            for run_id in StoreReader(store.root).runs["run_id"].to_pylist():
                store.request_stop(run_id)

    first = run(
        project, local, "store", {"shaky:Scribe": {}}, overrides=overrides, listener=stop_at_the_first_epoch
    )
    assert trial(first)[0]["status"] == "interrupted"
    assert scribbled(project / "store", first)[-1] == {"call": "finish", "status": "interrupted"}
    second = run(project, local, "store", {"shaky:Scribe": {}}, overrides=overrides)
    row, told = trial(second)
    assert (row["status"], row["resumed_from"]) == ("complete", 1)
    assert told["shaky:Scribe"]["run"] == "run mse/seed-0-attempt-2"
    start, *calls = scribbled(project / "store", second, "mse/seed-0-attempt-2")
    assert start["settings"]["continues"] == "run mse/seed-0"
    done = [call["epoch"] for call in scribbled(project / "store", first) if call["call"] == "log"]
    assert done + [call["epoch"] for call in calls if call["call"] == "log"] == list(range(1, 13))


def test_a_trial_that_fails_says_so_to_its_tracker(local, project):
    overrides = ["base.optimizer.lr=1e30", "base.model.output=linear"]
    record = run(project, local, "store", {"shaky:Scribe": {}}, overrides=overrides)
    assert trial(record)[0]["status"] == "failed"
    assert scribbled(project / "store", record)[-1] == {"call": "finish", "status": "failed"}


@pytest.mark.long  # tests/unit/trackers/test_forward.py covers what is told to a process, and to whom
def test_of_several_processes_the_first_one_alone_is_shown(local, project):
    overrides = ["base.strategy={name: ddp, processes: 2}"]
    record = run(project, local, "store", {"shaky:Scribe": {}, "tensorboard": {}}, overrides=overrides)
    row, told = trial(record)
    assert (row["status"], row["world_size"]) == ("complete", 2)
    assert [one["note"] for one in told.values()] == [None, None]
    calls = [call["call"] for call in scribbled(project / "store", record)]
    assert (calls.count("start"), calls.count("log"), calls.count("finish")) == (1, 3, 1)
    (events,) = (project / "store" / told["tensorboard"]["link"]).iterdir()
    assert "tfevents" in events.name


def test_the_workers_of_ray_have_trackers_too(project):
    executor = RayExecutor(cpus=1)
    try:
        alone = run(project, executor, "alone", {})
        trackers = {"shaky:Scribe": {}, "shaky:HangsAtFinish": {"finish_seconds": 5}, "tensorboard": {}}
        events = []
        shown = run(project, executor, "shown", trackers, listener=events.append)
    finally:
        executor.close()
    assert bits(shown) == bits(alone)
    assert [event.failed for event in events if isinstance(event, Ended)] == [False]
    _, told = trial(shown)
    assert told["shaky:Scribe"]["note"] is None
    assert told["shaky:HangsAtFinish"]["note"] == "it did not finish within 5 s and was ended"
    assert (project / "shown" / told["tensorboard"]["link"]).is_dir()
    calls = scribbled(project / "shown", shown)
    assert [call["call"] for call in calls if call["call"] != "picture"] == [
        "start",
        "log",
        "log",
        "log",
        "finish",
    ]
    with pytest.raises(ProcessLookupError):
        os.kill(calls[0]["pid"], 0)
