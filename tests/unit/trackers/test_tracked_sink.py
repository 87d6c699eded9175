"""The record and the files of trackers in a store that is elsewhere, and an attempt that goes away."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from harness.allotment import Allotment
from harness.execute.base import TrialTask
from harness.execute.sink import FollowerSink, StoreSink
from harness.execute.tracked import TrackedSink, sink_of
from harness.store.read import open_store
from harness.store.write import create_store
from harness.trackers.told import Told, from_text
from tests.support.object_store import BUCKET, object_server  # noqa: F401 (a fixture)

SHAKY = Path(__file__).parents[2] / "support" / "shaky_trackers.py"
TRACKER = "shaky:Scribe"
LINK = "trackers/shaky-Scribe/r1/mse/seed-0.jsonl"


def task_for(store, project, trackers=(TRACKER,)):
    (project / "shaky.py").write_bytes(SHAKY.read_bytes())
    return TrialTask(
        run_id="r1",
        trial_id="t1",
        attempt=1,
        variant="mse",
        levels="{}",
        seed=0,
        fold=None,
        spec={"primary_metric": "delta_e"},
        code_hash="c",
        store=str(store),
        cache="",
        allotment=Allotment(),
        project=str(project),
        trackers={name: {"name": name, "finish_seconds": 30, "pictures": True} for name in trackers},
    )


def begun(task):
    sink = TrackedSink(task, lambda event: None)
    sink.begin()
    row = {"epoch": 1, "step": 4, "split": "validation", "metric": "delta_e", "label": None, "value": 7.5}
    sink.report(1, [{**row, "count": 4, "sd": None}], [])
    return sink


def test_what_trackers_wrote_reaches_a_store_that_is_elsewhere(object_server, tmp_path):  # noqa: F811
    address = f"s3://{BUCKET}/tracked"
    sink = begun(task_for(address, tmp_path))
    sink.end("complete")
    sink.close()
    reader = create_store(address).reader()
    (attempt,) = reader.attempts_of("t1")
    assert attempt.status == "complete"
    assert from_text(attempt.trackers) == {TRACKER: Told("run mse/seed-0", LINK)}
    lines = [json.loads(line) for line in reader.files.read(LINK).decode().splitlines()]
    assert [line["call"] for line in lines] == ["start", "log", "finish"]


def test_an_attempt_that_goes_away_without_an_end_takes_its_trackers_with_it(tmp_path):
    store = create_store(tmp_path / "store")
    sink = begun(task_for(store.address, tmp_path))
    file = store.root / LINK
    deadline = time.monotonic() + 10
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    pid = json.loads(file.read_text().splitlines()[0])["pid"]
    sink.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    (attempt,) = open_store(store.address).attempts_of("t1")
    assert attempt.status == "running"  # for the driver to say what became of it


def test_a_store_without_room_for_a_tracker_is_a_note(tmp_path):
    store = create_store(tmp_path / "store")
    (store.root / "trackers").touch()  # what should be a folder
    sink = begun(task_for(store.address, tmp_path))
    sink.end("complete")
    (attempt,) = open_store(store.address).attempts_of("t1")
    assert attempt.status == "complete"
    assert "trackers" in from_text(attempt.trackers)[TRACKER].note


def test_the_first_process_alone_has_trackers_and_only_where_they_are_asked_for(tmp_path):
    store = create_store(tmp_path / "store").address
    tracked, plain = task_for(store, tmp_path), task_for(store, tmp_path, trackers=())
    found = [
        type(sink_of(task, lambda event: None, rank))
        for task, rank in ((tracked, 0), (tracked, 1), (plain, 0))
    ]
    assert found == [TrackedSink, FollowerSink, StoreSink]
