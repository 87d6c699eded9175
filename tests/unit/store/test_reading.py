"""Reading a run: the attempts that answer for its trials, of no other file, in no order of files, quickly."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.errors import StoreError
from harness.store.files import LocalFiles
from harness.store.read import open_store
from harness.store.write import create_store
from tests.support.large_store import Scale, large_plan, write_large_run

SMALL = Scale(variants=3, seeds=2, metrics=1, epochs=1)
HARNESS = str(Path(sys.executable).parent / "harness")
ENOUGH = 20.0  # seconds of CPU that a command may take on a slow and busy machine; 3 are meant


def attempt_of(store: Path, trial_id: str, number: int, **changed: object) -> None:
    """Write an attempt like the first one of its trial."""
    attempt = open_store(store).attempts_of(trial_id)[0]
    attempt.attempt = number
    for name, value in changed.items():
        setattr(attempt, name, value)
    create_store(store).write_attempt(attempt)


def answers(rows: list[dict], run_id: str, reused: dict[str, int]) -> set[tuple[str, int]]:
    """Say the rule once more, over all attempts of a store: a run's own, else the one that it reused;
    the last complete one, else the last one."""
    found: dict[str, list[tuple[bool, int]]] = {}
    for row in rows:
        if row["run_id"] == run_id or reused.get(row["trial_id"]) == row["attempt"]:
            found.setdefault(row["trial_id"], []).append((row["status"] == "complete", row["attempt"]))
    return {(trial_id, max(attempts)[1]) for trial_id, attempts in found.items()}


def test_the_attempt_that_answers_is_the_same_whichever_run_is_asked_for_first(tmp_path):
    store = tmp_path / "store"
    ids = [trial.id for trial in write_large_run(store, "r0", SMALL).trials]
    random = np.random.default_rng(7)
    for trial_id in ids:
        for number in range(2, int(random.integers(3, 8))):
            run_id = f"r{random.integers(0, 4)}"
            status = str(random.choice(["complete", "failed", "lost", "running"]))
            attempt_of(store, trial_id, number, run_id=run_id, status=status)
    reused = dict.fromkeys(ids[::2], 1)
    for number in (1, 2, 3):
        facts = {"reused": json.dumps(reused if number == 2 else {})}
        write_large_run(store, f"r{number}", SMALL, number=number, answered=len(ids), **facts)
    rows = open_store(store).attempts.to_pylist()
    for order in (["r0", "r1", "r2", "r3"], ["r3", "r2", "r1", "r0"]):
        reader = open_store(store)
        for run_id in order:
            trials = reader.run(run_id).trials
            got = set(zip(trials["trial_id"], trials["attempt"], strict=True))
            assert got == answers(rows, run_id, reused if run_id == "r2" else {}), (order, run_id)


def test_a_reused_attempt_that_is_gone_leaves_its_trial_out(tmp_path):
    store = tmp_path / "store"
    plan = write_large_run(store, "r0", SMALL)
    write_large_run(store, "r1", SMALL, number=1, answered=len(plan.trials))
    shutil.rmtree(store / "attempts" / plan.trials[0].id)
    assert len(open_store(store).run("r1").trials) == len(plan.trials) - 1


def test_a_run_reads_the_files_of_its_own_trials_alone(tmp_path, monkeypatch):
    store = tmp_path / "store"
    for number in range(3):
        scale = Scale(variants=3, seeds=2, metrics=1, epochs=1, salt=str(number % 2))
        write_large_run(store, f"r{number}", scale, number=number, attempt=1 + number // 2)
    opened: Counter[str] = Counter()
    real = LocalFiles.open

    def counting(files, path):
        opened[path.split("/")[0] + "/" + path.split("/")[-1]] += 1
        return real(files, path)

    monkeypatch.setattr(LocalFiles, "open", counting)
    record = open_store(store).run("latest")
    assert len(record.trials) == 6
    attempts = {name: count for name, count in opened.items() if name.startswith("attempts")}
    assert attempts == {"attempts/0002.parquet": 6}  # not 0001 of these trials, nor anything of r1


def test_the_order_in_which_files_were_made_does_not_show(tmp_path):
    write_large_run(tmp_path / "store", "r0", SMALL)
    write_large_run(tmp_path / "store", "r1", SMALL, number=1, attempt=2)
    files = list((tmp_path / "store").rglob("*.parquet"))
    for path in sorted(files, reverse=True):
        copy = tmp_path / "copy" / path.relative_to(tmp_path / "store")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for run_id in ("r0", "r1"):
        first, second = (open_store(tmp_path / name).run(run_id) for name in ("store", "copy"))
        for name in ("trials", "metrics", "costs"):
            pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))


def test_rows_of_runs_come_oldest_first_and_without_the_plan(tmp_path):
    write_large_run(tmp_path, "b", SMALL, number=0, notes='["a note"]')
    write_large_run(tmp_path, "a", SMALL, number=1, attempt=2)
    rows = open_store(tmp_path).run_rows()
    assert [row["run_id"] for row in rows] == ["b", "a"]
    assert "plan" not in rows[0]
    assert (rows[0]["notes"], rows[0]["reused"]) == (["a note"], {})
    assert rows[0]["versions"]["torch"] == "2.15.0"
    rows[0]["notes"].append("changed")
    assert open_store(tmp_path).run_rows()[0]["notes"] == ["a note"]


def test_a_plan_is_read_without_any_attempt(tmp_path):
    write_large_run(tmp_path, "r0", SMALL)
    shutil.rmtree(tmp_path / "attempts")
    assert open_store(tmp_path).plan("r0") == large_plan(SMALL)


def test_files_of_an_earlier_compression_are_read(tmp_path):
    plan = write_large_run(tmp_path, "r0", SMALL)
    before = open_store(tmp_path).run("r0")
    path = tmp_path / "attempts" / plan.trials[0].id / "0001.parquet"
    pq.write_table(pq.ParquetFile(path).read(), path, compression="zstd")
    pd.testing.assert_frame_equal(open_store(tmp_path).run("r0").metrics, before.metrics)


def test_a_file_that_is_no_parquet_is_one_message(tmp_path):
    plan = write_large_run(tmp_path, "r0", SMALL)
    path = tmp_path / "attempts" / plan.trials[0].id / "0001.parquet"
    path.write_bytes(b"half a fi")
    with pytest.raises(StoreError, match=f"cannot read {path}"):
        open_store(tmp_path).run("r0")


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """A store of a thousand trials: a run of all of them, one that tried 20 again, and two small ones."""
    store = tmp_path_factory.mktemp("thousand")
    plan = write_large_run(store, "r0-large", Scale())
    write_large_run(store, "r1-large", Scale(), number=1, attempt=2, answered=len(plan.trials) - 20)
    small = Scale(variants=4, salt="small")
    write_large_run(store, "r2-small", small, number=2)
    write_large_run(store, "r3-small", small, number=3, attempt=2)
    return store


@pytest.mark.parametrize("names", [("r0-large", "r1-large"), ("r2-small", "r3-small")])
def test_a_comparison_answers_within_seconds_on_a_thousand_trials(thousand, names, capsys):
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [HARNESS, "compare", *names, "--store", str(thousand)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - started
    seconds = after.ru_utime - before.ru_utime
    with capsys.disabled():
        print(f"\ncompare {names[0]}: {seconds:.1f} s of CPU, {wall:.1f} s", end=" ")
    assert "metric_0: Metric 0, higher is better" in printed
    assert seconds < ENOUGH
