"""What a driver says to an executor, from a list: for tests of executors alone."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.allotment import Allotment
from harness.errors import StoreError
from harness.execute.base import Ended, EpochDone, Event, Executor, TrialTask

ONE_EPOCH = {"primary_metric": "delta_e", "train": {"epochs": 9}, "plugins": {}}


def task(name: str, **allotted: float) -> TrialTask:
    """Return an attempt of a trial of that name."""
    return TrialTask(
        run_id="run",
        trial_id=name,
        attempt=1,
        variant=name,
        levels="{}",
        seed=0,
        fold=None,
        spec=ONE_EPOCH,
        code_hash="",
        store=str(Path.cwd()),
        cache=str(Path.cwd()),
        allotment=Allotment(**allotted),
    )


@dataclass
class ListedWork:
    """Gives tasks in their order as there is room, and notes what happens."""

    executor: Executor
    waiting: list[TrialTask]
    pause: float = 0.0
    """Seconds before the first task is given."""
    kill_after: dict[str, float] = field(default_factory=dict)
    """Trial -> seconds after its first epoch at which it is to be killed."""
    under_way: dict[str, TrialTask] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    ticks: list[float] = field(default_factory=list)
    seen: dict[str, float] = field(default_factory=dict)
    """Trial -> when its first epoch was told of."""
    began: float = field(default_factory=time.monotonic)

    def tick(self) -> list[TrialTask]:
        now = time.monotonic()
        self.ticks.append(now)
        due = [name for name, wait in self.kill_after.items() if now - self.seen.get(name, now) > wait]
        for name in due:
            del self.kill_after[name]
        return [self.under_way[name] for name in due]

    def take(self) -> TrialTask | None:
        if not self.waiting or time.monotonic() - self.began < self.pause:
            return None
        beside = [one.allotment for one in self.under_way.values()]
        if not self.executor.has_room(self.waiting[0].allotment, beside):
            return None
        given = self.waiting.pop(0)
        self.under_way[given.trial_id] = given
        return given

    def finished(self) -> bool:
        return not self.waiting and not self.under_way

    def listen(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, EpochDone):
            self.seen.setdefault(event.trial_id, time.monotonic())
        if isinstance(event, Ended):
            del self.under_way[event.trial_id]

    def run(self) -> ListedWork:
        """Have it all run."""
        self.executor.run(self, self.listen)
        return self

    def of(self, name: str) -> list[Event]:
        """Return what happened to a trial."""
        return [event for event in self.events if event.trial_id == name]

    def end_of(self, name: str) -> Ended:
        """Return how a trial ended; it must have ended once."""
        (ended,) = (event for event in self.of(name) if isinstance(event, Ended))
        return ended


def make_as_named(task, emit, rank):
    """Do what the name of the trial says."""
    emit(EpochDone(task.trial_id, 1, float(os.getpid())))
    deed = task.trial_id.partition("-")[0]
    if deed == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "freeze":
        os.kill(os.getpid(), signal.SIGSTOP)
    if deed == "fail":
        return "failed"
    if deed == "unstored":
        raise StoreError("no space left on device")
    if deed == "sum":
        return sum_ranks(task, emit, rank)
    return "complete"


def sum_ranks(task, emit, rank):
    """Sum over ranks at every epoch; where the name says so, rank 1 dies before the third."""
    import torch
    import torch.distributed as dist

    for epoch in (2, 3):
        if (epoch, rank) == (3, 1) and task.trial_id.endswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        numbers = torch.tensor([rank + 1.0])
        dist.all_reduce(numbers)
        emit(EpochDone(task.trial_id, epoch, float(numbers)))
    return "complete"


def wait_to_be_asked(task, emit, rank):
    """Report an epoch, then wait until the store asks this attempt to end."""
    from harness.store.write import StoreWriter

    emit(EpochDone(task.trial_id, 1, float(os.getpid())))
    store = StoreWriter(task.store)
    for _ in range(600):
        if store.end_asked(task.trial_id, task.attempt):
            return "lost"
        time.sleep(0.1)
    return "failed"
