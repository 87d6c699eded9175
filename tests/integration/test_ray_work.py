"""The Ray executor against a real Ray of this machine, with attempts that train nothing."""

import itertools
import time

import pytest

from harness.allotment import Allotment
from harness.errors import TrialError
from harness.execute.base import Ended, EpochDone, Started
from harness.execute.ray_tune import RayExecutor
from harness.failures import FailureKind
from tests.support.listed_work import ListedWork, make_as_named, task


@pytest.fixture(scope="module")
def executor():
    executor = RayExecutor(cpus=2, make=make_as_named)
    yield executor
    executor.close()


def test_attempts_of_different_size_all_run_and_are_told_of_in_order(executor):
    names = ["a", "b", "c", "d"]
    work = ListedWork(executor, [task(name, cpus=1 + (name == "c")) for name in names]).run()
    for name in names:
        started, epoch, ended = work.of(name)
        assert (started, ended) == (Started(name), Ended(name))
        assert epoch.epoch == 1


def test_a_worker_stays_for_the_next_attempt_and_is_replaced_where_it_failed(executor):
    work = ListedWork(executor, [task(name, cpus=2) for name in ("one", "two", "fail", "three")]).run()
    one, two, failed, three = (work.of(name)[1].value for name in ("one", "two", "fail", "three"))
    assert one == two == failed != three


def test_why_an_attempt_ended_is_told(executor):
    work = ListedWork(executor, [task(name) for name in ("die", "fail", "unstored", "whole")]).run()
    assert work.end_of("whole") == Ended("whole")
    assert work.end_of("fail") == Ended("fail", failed=True)
    assert work.end_of("unstored") == Ended(
        "unstored", failed=True, loss=FailureKind.STORAGE, said="no space left on device"
    )
    died = work.end_of("die")
    assert (died.failed, died.loss) == (True, FailureKind.LOST_WORKER)
    assert "died" in died.said


def test_an_attempt_that_is_to_be_killed_ends_even_when_it_is_frozen(executor):
    tasks = [task("freeze"), task("whole")]
    work = ListedWork(executor, tasks, kill_after={"freeze": 0.5})
    began = time.monotonic()
    work.run()
    assert work.end_of("freeze").loss is FailureKind.LOST_WORKER
    assert work.end_of("whole") == Ended("whole")
    assert time.monotonic() - began < 60


def test_the_driver_is_asked_at_least_once_a_second_even_while_there_is_nothing_to_do(executor):
    work = ListedWork(executor, [task("late")], pause=3.0).run()
    assert work.end_of("late") == Ended("late")
    times = [work.began, *work.ticks]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 2.0


def test_room_is_what_the_nodes_have_less_what_is_under_way(executor):
    one, both = Allotment(cpus=1), Allotment(cpus=2)
    assert (executor.slots(one), executor.slots(both), executor.slots(Allotment(cpus=3))) == (2, 1, 0)
    assert executor.slots(Allotment(processes=2, cpus=1)) == 1
    assert executor.slots(Allotment(node={"zone": "nowhere"})) == 0
    assert executor.slots(Allotment(accelerator="A100")) == 0
    assert executor.slots(Allotment(memory_bytes=10**15)) == 0
    assert executor.has_room(one, [one])
    assert not executor.has_room(one, [one, one])
    assert not executor.has_room(both, [one])


def test_processes_of_an_attempt_work_together_and_one_that_dies_ends_it_soon(executor):
    work = ListedWork(executor, [task("sum-die", processes=2), task("whole")])
    told = {}

    def note_when(event):
        work.listen(event)
        told[event.trial_id, type(event)] = time.monotonic()

    executor.run(work, note_when)
    started, first, second, ended = work.of("sum-die")
    assert (started, first.epoch) == (Started("sum-die"), 1)
    assert (second.epoch, second.value) == (2, 3.0)  # 1 + 2, over both ranks
    assert ended.loss is FailureKind.LOST_WORKER
    assert told["sum-die", Ended] - told["sum-die", EpochDone] < 60
    assert work.end_of("whole") == Ended("whole")  # what they held is free


def test_a_failure_by_itself_has_no_loss():
    from harness.execute.ray_tune.losses import kind_of

    assert kind_of(TrialError("too large")) is None
    assert kind_of(None) is FailureKind.LOST_WORKER
