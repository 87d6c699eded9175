"""What a tracker is: a component that shows one attempt somewhere. It runs in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.config import TrackerConfig


@dataclass(frozen=True)
class TrackedRun:
    """One attempt, as a tracker is to call it."""

    suite: str
    run_id: str
    """Of the execution of the suite: the runs of a tracker are grouped by it."""
    variant: str
    trial_id: str
    attempt: int
    seed: int
    fold: int | None
    folder: str
    """Where the tracker may write on this machine; in a store that is a folder, a part of it."""
    previous: str | None = None
    """The tracker's run of the attempt that this one goes on from."""

    @property
    def name(self) -> str:
        """What the run is called, and its path below a folder: `lab/seed-0-fold-1-attempt-2`."""
        fold = "" if self.fold is None else f"-fold-{self.fold}"
        attempt = f"-attempt-{self.attempt}" if self.attempt > 1 else ""
        return f"{self.variant}/seed-{self.seed}{fold}{attempt}"


@dataclass(frozen=True)
class Opened:
    """Where a tracker shows an attempt."""

    run: str
    """Its id of the run."""
    link: str
    """Address, or absolute path on this machine."""


class Tracker:
    """Shows one attempt; a tracker of one's own is a subclass.

    All calls come from one thread of a process that has no other task, in the order of the training. What a
    call raises becomes a note in the record of the trial. Nothing waits for a call but the next one, and the
    end of the trial for at most `finish_seconds`.

    Args:
        config: what the suite sets.
        run: the attempt.
    """

    Config: ClassVar[type[TrackerConfig]] = TrackerConfig
    needs: ClassVar[tuple[str, ...]] = ()
    """Packages that it imports and that do not come with the harness, by the names that pip knows."""

    def __init__(self, config: Any, run: TrackedRun) -> None:
        self.config = config
        self.run = run

    def start(self, settings: Mapping[str, Any]) -> Opened:
        """Begin a run.

        Args:
            settings: dotted path -> number, text, bool or none; see `flattened`.
        """
        raise NotImplementedError

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Take the rows of one epoch.

        Args:
            values: `<split>/<metric>`, `<split>/<metric>/<label>` or `cost/<name>` -> value; may be NaN.
            epoch: counts from 1.
        """
        raise NotImplementedError

    def picture(self, name: str, png: bytes, epoch: int) -> None:
        """Take a strip of pictures; `epoch` is 0 where it belongs to none."""
        raise NotImplementedError

    def finish(self, status: str) -> None:
        """End the run: `complete`, `failed`, `interrupted`, `pruned` or `lost` (the machine had to leave)."""
        raise NotImplementedError


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested plain values by dotted path; a list is written as JSON."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, (list, tuple)) else value
    return found


def settings_of(run: TrackedRun, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is logged as the configuration of an attempt: its `TrialSpec`, and which attempt it is."""
    facts = {
        "suite": run.suite,
        "run": run.run_id,
        "variant": run.variant,
        "trial": run.trial_id,
        "attempt": run.attempt,
    }
    earlier = {} if run.previous is None else {"continues": run.previous}
    return {**flattened(spec), **facts, **earlier}
