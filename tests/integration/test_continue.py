"""What is killed goes on, and ends as if nothing had happened."""

import os
import random
import signal
import time

import pytest

from tests.support.harness_process import HarnessProcess, attempts, metric_rows

TRIALS = 4
EPOCHS = 8
# Drivers and workers of Ray that are killed or asked to end are what the chaos test has, too.
EXECUTORS = ["local", pytest.param("ray", marks=pytest.mark.long)]


def in_the_middle(rows):
    """Tell whether a trial is complete and another is half done."""
    complete = any(row["status"] == "complete" for row in rows)
    return complete and any(
        row["status"] == "running" and 2 <= row["epochs_done"] < EPOCHS - 2 for row in rows
    )


def epochs_done(rows):
    furthest = {}
    for row in rows:
        furthest[row["trial_id"]] = max(row["epochs_done"], furthest.get(row["trial_id"], 0))
    return sum(furthest.values())


def assert_as_if_nothing_had_happened(store, undisturbed):
    rows = metric_rows(store)
    assert rows == metric_rows(undisturbed)
    assert len({row[:1] + row[1:6] for row in rows}) == len(rows)
    complete = [row["trial_id"] for row in attempts(store) if row["status"] == "complete"]
    assert len(complete) == len(set(complete)) == TRIALS


def test_ray_gives_the_ids_and_values_of_local_processes(suite, undisturbed, tmp_path):
    run = HarnessProcess(suite, tmp_path / "store", "--executor", "ray")
    assert run.end() == 0, run.log.read_text()
    assert_as_if_nothing_had_happened(tmp_path / "store", undisturbed)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_killed_driver_goes_on_where_it_stopped(executor, suite, undisturbed, tmp_path):
    store = tmp_path / "store"
    run = HarnessProcess(suite, store, "--executor", executor)
    run.wait_for(in_the_middle)
    run.kill()
    before = attempts(store)
    again = HarnessProcess(suite, store, "--executor", executor)
    assert again.end() == 0, again.log.read_text()
    assert_as_if_nothing_had_happened(store, undisturbed)
    after = attempts(store)
    done = {row["trial_id"] for row in before if row["status"] == "complete"}
    assert done
    assert [row for row in after if row["trial_id"] in done] == [
        row for row in before if row["trial_id"] in done
    ]
    resumed = [row for row in after if row["resumed_from"] is not None]
    assert resumed
    assert {row["status"] for row in after} == {"complete", "lost"}
    assert all(row["attempt"] == 2 for row in resumed)


@pytest.mark.long  # with one suite of one trial it is a case of every executor
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_killed_worker_is_replaced_and_its_trial_goes_on(executor, suite, undisturbed, tmp_path):
    store = tmp_path / "store"
    run = HarnessProcess(suite, store, "--executor", executor)
    run.wait_for(in_the_middle)
    os.kill(run.workers()[0].pid, signal.SIGKILL)
    assert run.end() == 0, run.log.read_text()
    assert_as_if_nothing_had_happened(store, undisturbed)
    lost = [row for row in attempts(store) if row["status"] == "lost"]
    assert [row["error_class"] for row in lost] == ["WorkerLost"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_ctrl_c_writes_checkpoints_and_exits_130(executor, suite, undisturbed, tmp_path):
    store = tmp_path / "store"
    run = HarnessProcess(suite, store, "--executor", executor)
    run.wait_for(in_the_middle)
    assert run.interrupt() == 130, run.log.read_text()
    assert {row["status"] for row in attempts(store)} == {"complete", "interrupted"}
    assert "Traceback" not in run.log.read_text()
    again = HarnessProcess(suite, store, "--executor", executor)
    assert again.end() == 0, again.log.read_text()
    assert_as_if_nothing_had_happened(store, undisturbed)


@pytest.mark.long
def test_killed_again_and_again_at_any_moment(suite, undisturbed, tmp_path):
    store = tmp_path / "store"
    moments = random.Random(20)
    for epochs in (4, 11, 18):  # of 32
        run = HarnessProcess(suite, store, "--executor", "local")
        run.wait_for(lambda rows, least=epochs: epochs_done(rows) >= least)
        time.sleep(moments.uniform(0.0, 0.3))  # in a step, a validation or a write
        run.kill()
    last = HarnessProcess(suite, store, "--executor", "local")
    assert last.end() == 0, last.log.read_text()
    assert_as_if_nothing_had_happened(store, undisturbed)
    assert sum(row["error_class"] == "DriverLost" for row in attempts(store)) >= 3


def test_two_drivers_on_one_store_share_the_trials(suite, undisturbed, tmp_path):
    store = tmp_path / "store"
    both = [HarnessProcess(suite, store, "--executor", "local", "--cpus", "1") for _ in range(2)]
    assert [run.end() for run in both] == [0, 0], both[0].log.read_text()
    assert metric_rows(store) == metric_rows(undisturbed)
    assert [(row["attempt"], row["status"]) for row in attempts(store)] == [(1, "complete")] * TRIALS
    assert list((store / "leases").iterdir()) == list((store / "heartbeats").iterdir()) == []


def test_the_notice_of_a_time_limit_writes_checkpoints_and_says_how_it_goes_on(suite, tmp_path):
    store = tmp_path / "store"
    run = HarnessProcess(suite, store, "--executor", "local")
    run.wait_for(in_the_middle)
    os.kill(run.process.pid, signal.SIGUSR1)
    assert run.end() == 130, run.log.read_text()
    assert "SIGUSR1" in run.log.read_text()
    assert {row["status"] for row in attempts(store)} == {"complete", "interrupted"}
