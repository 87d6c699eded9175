"""What the driver and its executors say to each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from harness.allotment import Allotment, Machine
from harness.failures import FailureKind
from harness.plan import Plan
from harness.provenance import host_name
from harness.store.write import Attempt, StoreWriter


@dataclass(frozen=True)
class TrialTask:
    """One attempt to make: all that a worker needs, as plain values that travel between machines."""

    run_id: str
    trial_id: str
    attempt: int
    variant: str
    levels: str
    seed: int
    fold: int | None
    spec: dict[str, Any]
    code_hash: str
    store: str
    """Where the store lies: an absolute path or an address such as s3://bucket/folder."""
    cache: str
    """Absolute path of the folder for data sets."""
    allotment: Allotment
    project: str = field(default_factory=lambda: str(Path.cwd()))
    """Absolute path of the project folder, where the run was started: plugins are imported from there."""
    resume_attempt: int | None = None
    """The attempt whose newest state this one goes on from; none for a fresh start."""
    stall_seconds: float = 1800.0
    """Without progress for that long the attempt ends itself."""
    keep: tuple[str, ...] = ("best", "last")
    """Files of weights that stay."""
    suite: str = ""
    """Name of the suite, for trackers."""
    trackers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Where the attempt is shown while it trains: name of a tracker -> its Config as JSON."""

    def new_record(self) -> Attempt:
        """Return the record of an attempt that begins now."""
        return Attempt(
            run_id=self.run_id,
            trial_id=self.trial_id,
            attempt=self.attempt,
            variant=self.variant,
            levels=self.levels,
            seed=self.seed,
            fold=self.fold,
            spec=json.dumps(self.spec),
            code_hash=self.code_hash,
            host=host_name(),
            gpus=self.allotment.all_gpus,
            started=datetime.now(UTC),
        )


@dataclass(frozen=True)
class Started:
    """A worker has begun with a trial."""

    trial_id: str


@dataclass(frozen=True)
class EpochDone:
    """A trial has reported an epoch."""

    trial_id: str
    epoch: int
    value: float
    """Of the primary metric, on the validation split."""


@dataclass(frozen=True)
class Ended:
    """A worker is done with a trial; how exactly it ended stands in the store."""

    trial_id: str
    failed: bool = False
    """Whether the trial failed, or its process died."""
    loss: FailureKind | None = None
    """What took the process away, where the executor knows: `lost_worker`, `lost_node`, `preempted`,
    `out_of_memory`, or `storage` where the attempt raised a StoreError. None where it ended by itself."""
    said: str = ""
    """What is known of the loss, in words."""
    again: bool = False
    """Whether the trial is tried again; filled in by the driver."""


@dataclass(frozen=True)
class Reused:
    """Another run has completed a trial that this one was waiting for. Comes from the driver."""

    trial_id: str


@dataclass(frozen=True)
class Notice:
    """Something that who watches a run should know. Comes from the driver."""

    trial_id: str
    text: str


Event = Started | EpochDone | Ended | Reused | Notice
Listener = Callable[[Event], None]


class Work(Protocol):
    """What there is to do, as an executor sees it; the driver's side is `harness.execute.queue`.

    All calls come from the thread that called `Executor.run`.
    """

    def tick(self) -> Sequence[TrialTask]:
        """Let the driver look after things; called at least once a second.

        Returns:
            Attempts under way whose processes are to be killed. After the kill the executor tells of
            their end as of any other: `Ended(failed=True)`.
        """
        ...

    def take(self) -> TrialTask | None:
        """Return the next attempt to begin, or none for now: no room, or nothing that may begin yet.

        The executor begins what it took at once, or as soon as its scheduler finds the room.
        """
        ...

    def finished(self) -> bool:
        """Tell whether nothing is under way and nothing will come any more."""
        ...


class Executor(Protocol):
    """Runs attempts. How an attempt ended is read from the store, not from the executor.

    An attempt that is still `running` in the store when it has ended, or not there at all, was
    lost with its process; whether it is tried again is for the driver to say.
    """

    name: str

    @property
    def cpus(self) -> int:
        """CPUs that trials can use, as far as is known now; a cluster may grow."""
        ...

    @property
    def gpus(self) -> int:
        """GPUs that trials can use."""
        ...

    @property
    def machine(self) -> Machine:
        """What trials can be placed on, over all nodes, as far as is known now."""
        ...

    def slots(self, allotment: Allotment) -> int:
        """Return how many such trials can run at once; 0 where one never will."""
        ...

    def has_room(self, allotment: Allotment, under_way: Sequence[Allotment]) -> bool:
        """Tell whether one more attempt can begin beside those under way."""
        ...

    def fit_out(self, plan: Plan, store: StoreWriter, *, fresh: bool = False) -> None:
        """Make ready for the trials of a plan, once, before `run`.

        Args:
            plan: what is to run.
            store: where to keep it.
            fresh: whether what the store holds does not count.

        Raises:
            HarnessError: trials could not run here.
        """
        ...

    def run(self, work: Work, listener: Listener) -> None:
        """Make the attempts that `work` gives until it is finished.

        Events reach `listener` from the calling thread, one at a time, in their order: `Started`,
        `EpochDone`, then exactly one `Ended` for every attempt that was taken. A request to stop,
        which trials read from the store, makes the ones under way end; `work` then gives no more.
        """
        ...

    def close(self) -> None:
        """End the workers."""
        ...
