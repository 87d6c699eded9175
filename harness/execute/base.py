"""What the driver and its executors say to each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from harness.grammar import Resources
from harness.provenance import host_name
from harness.store.write import Attempt


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
    """Absolute path of the store."""
    cache: str
    """Absolute path of the folder for data sets."""
    threads: int
    gpus: float
    """GPUs that the trial was allotted; with 0 it computes on the CPU whatever the machine has."""
    project: str = field(default_factory=lambda: str(Path.cwd()))
    """Absolute path of the project folder, where the run was started: plugins are imported from there."""
    resume_attempt: int | None = None
    """The attempt whose newest state this one goes on from; none for a fresh start."""

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


Event = Started | EpochDone | Ended
Listener = Callable[[Event], None]


class Executor(Protocol):
    """Runs attempts. How an attempt ended is read from the store, not from the executor.

    An attempt that is still `running` in the store when `run` returns, or not there at
    all, was lost with its process; whether it is tried again is for the driver to say.
    """

    name: str
    cpus: int
    """CPUs that trials can use."""
    gpus: int
    """GPUs that trials can use."""

    def slots(self, resources: Resources) -> int:
        """Return how many trials can run at once."""
        ...

    def run(self, tasks: Sequence[TrialTask], resources: Resources, listener: Listener) -> None:
        """Run the tasks, in this order as far as there is room, and return when all have ended.

        Events reach `listener` from the calling thread, one at a time. A request to stop,
        which trials read from the store, makes the ones under way end and the rest end at
        once.
        """
        ...

    def close(self) -> None:
        """End the workers."""
        ...
