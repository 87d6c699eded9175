"""An executor that trains nothing: how each attempt ends stands in a script, and time is a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from harness.allotment import Allotment, Machine
from harness.execute.base import Ended, Listener, Started, TrialTask, Work
from harness.failures import FailureKind
from harness.provenance import code_hash
from harness.store.write import Attempt, StoreWriter


@dataclass
class Clock:
    """Seconds that pass when somebody says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Fails:
    """The attempt writes that it failed."""

    kind: FailureKind


@dataclass(frozen=True)
class Dies:
    """The process of the attempt goes away without a word."""

    loss: FailureKind | None = FailureKind.LOST_WORKER
    said: str = "the worker process was ended by SIGKILL"


Ending = str | Fails | Dies


@dataclass
class ScriptedExecutor:
    """Ends attempts as `script` says, one a step; what it does not name is complete.

    The store's rows are real: they are written as a worker would.
    """

    store: StoreWriter
    clock: Clock
    script: Callable[[TrialTask], Ending] = lambda task: "complete"
    at_once: int = 2
    step_seconds: float = 1.0
    name: str = "scripted"
    cpus: int = 2
    gpus: int = 0
    machine: Machine = field(default_factory=lambda: Machine(cpus=2))
    begun: list[tuple[float, TrialTask]] = field(default_factory=list)
    under_way: list[TrialTask] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)

    def slots(self, allotment: Allotment) -> int:
        return self.at_once // allotment.processes

    def has_room(self, allotment: Allotment, under_way: Sequence[Allotment]) -> bool:
        return sum(one.processes for one in under_way) + allotment.processes <= self.at_once

    def run(self, work: Work, listener: Listener, *, most_steps: int = 1000) -> None:
        for _ in range(most_steps):
            if work.finished():
                return
            for task in work.tick():
                self.killed.append(task.variant)
                self.end(task, Dies(None, ""), listener)
            while (task := work.take()) is not None:
                self.begun.append((self.clock(), task))
                self.under_way.append(task)
                listener(Started(task.trial_id))
            self.clock.now += self.step_seconds
            for task in list(self.under_way):
                ending = self.script(task)
                if ending != "hangs":
                    self.end(task, ending, listener)
        raise AssertionError("the work does not come to its end")

    def end(self, task: TrialTask, ending: Ending, listener: Listener) -> None:
        self.under_way.remove(task)
        if isinstance(ending, Dies):
            listener(Ended(task.trial_id, failed=True, loss=ending.loss, said=ending.said))
            return
        record = finished(task, "failed" if isinstance(ending, Fails) else ending)
        if isinstance(ending, Fails):
            record = replace(record, failure_kind=ending.kind, error_class="ValueError", error="it broke")
        self.store.write_attempt(record)
        listener(Ended(task.trial_id, failed=record.status == "failed"))

    def close(self) -> None:
        """Nothing to end."""


def finished(task: TrialTask, status: str) -> Attempt:
    """Return a record as a worker leaves it."""
    return replace(task.new_record(), status=status, threads=1, device="cpu", code_hash=code_hash())
