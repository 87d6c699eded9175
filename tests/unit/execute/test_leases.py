"""Leases on trials: held by one run, taken over from the dead."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.store.lease import Leases, Liveness, is_process, process_started
from harness.store.write import create_store
from tests.support.scripted_executor import Clock


@pytest.fixture
def files(tmp_path):
    return create_store(tmp_path / "store").files


def lease_of_another_machine(files, run_id, trial_id):
    """Leave what a driver on another machine leaves: a heartbeat, and a lease."""
    beat = {"run": run_id, "host": "other", "machine": "other", "pid": 1, "process_started": 1, "beat": 0}
    files.write(f"heartbeats/{run_id}", json.dumps(beat).encode())
    files.write(f"leases/{trial_id}.1", json.dumps({"run": run_id, "host": "other", "pid": 1}).encode())
    return beat


def test_a_lease_is_held_by_one_run_until_it_gives_it_back(files):
    with Leases(files, "a") as a, Leases(files, "b") as b:
        assert a.acquire("trial") is None
        assert a.acquire("trial") is None
        assert b.acquire("trial") == "a"
        a.release("trial")
        assert b.acquire("trial") is None
        assert a.acquire("trial") == "b"


def test_the_end_of_a_run_leaves_no_lease_and_no_heartbeat(files):
    with Leases(files, "a") as a:
        a.acquire("one")
        a.acquire("two")
        assert len(files.names("leases")) == 2
        assert files.names("heartbeats") == ["a"]
    assert files.names("leases") == files.names("heartbeats") == []


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once(files):
    program = (
        "import os, sys; from harness.store.lease import Leases; from harness.store.write import create_store; \n"
        "leases = Leases(create_store(sys.argv[1]).files, 'dead').__enter__()\n"
        "leases.acquire('trial'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, files.address], check=False)
    assert files.names("heartbeats") == ["dead"]
    with Leases(files, "b") as b:
        assert b.acquire("trial") is None
        assert len(files.names("leases")) == 1


def test_a_process_of_the_same_number_that_began_later_is_another(files):
    assert is_process(os.getpid(), process_started(os.getpid()))
    assert not is_process(os.getpid(), process_started(os.getpid()) - 1)


def test_a_run_elsewhere_is_dead_once_its_heartbeat_has_stood_still_for_a_minute(files):
    beat = lease_of_another_machine(files, "far", "trial")
    clock = Clock()
    with Leases(files, "b", clock=clock) as b:
        assert b.acquire("trial") == "far"
        clock.now += 59
        assert b.acquire("trial") == "far"
        files.write("heartbeats/far", json.dumps({**beat, "beat": 1}).encode())
        clock.now += 59  # it has beaten meanwhile
        assert b.acquire("trial") == "far"
        clock.now += 61
        assert b.acquire("trial") is None


def test_a_run_that_has_ended_holds_nothing(files):
    lease_of_another_machine(files, "far", "trial")
    files.delete("heartbeats/far")
    with Leases(files, "b") as b:
        assert b.acquire("trial") is None


def test_one_that_was_taken_for_dead_does_not_give_back_what_is_anothers_now(files):
    clock = Clock()
    with Leases(files, "slow") as slow:
        slow.acquire("trial")
        slow.heartbeat = slow.heartbeat.__class__(**{**slow.heartbeat.__dict__, "machine": "other"})
        slow._write_heartbeat()
        with Leases(files, "b", clock=clock) as b:
            assert b.acquire("trial") == "slow"
            clock.now += 61
            assert b.acquire("trial") is None
            slow.release("trial")
            assert len(files.names("leases")) == 1
            with Leases(files, "c") as c:
                assert c.acquire("trial") == "b"


def test_of_many_that_take_over_a_dead_lease_at_once_one_wins(files):
    """Every round a dead lease, and eight runs that go for it at the same time."""
    for number in range(20):
        trial = f"trial{number}"
        lease_of_another_machine(files, "far", trial)
        files.delete("heartbeats/far")
        runs = [Leases(files, f"run{index}") for index in range(8)]
        for run in runs:
            run._write_heartbeat()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda run, trial=trial: run.acquire(trial), runs))
        assert answers.count(None) == 1, answers


def test_the_heartbeat_goes_on_by_itself(files):
    with Leases(files, "a", beat_seconds=0.02):
        liveness = Liveness(files)
        first = liveness.heartbeat("a").beat
        deadline = time.monotonic() + 5
        while liveness.heartbeat("a").beat < first + 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
