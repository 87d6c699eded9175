"""The sink of an attempt that trackers show: the record as ever, and beside it what they are told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.execute.base import Event, TrialTask
from harness.execute.sink import FollowerSink, StoreSink
from harness.trackers.base import TrackedRun, settings_of
from harness.trackers.forward import Forward, finish_all
from harness.trackers.messages import Begin
from harness.trackers.told import Told, from_text, to_text


def sink_of(task: TrialTask, emit: Callable[[Event], None], rank: int) -> StoreSink | FollowerSink:
    """Return the sink of one process of an attempt; trackers hear of the first one alone."""
    if rank:
        return FollowerSink(task)
    return TrackedSink(task, emit) if task.trackers else StoreSink(task, emit)


class TrackedSink(StoreSink):
    """Keeps the record of one attempt, and tells trackers of it; what becomes of them is a part of it.

    The record is written first, and whatever a tracker does changes none of its numbers.
    """

    def __init__(self, task: TrialTask, emit: Callable[[Event], None]) -> None:
        super().__init__(task, emit)
        self.forwards: dict[str, Forward] = {}
        self.folders: dict[str, Path] = {}
        self.not_begun: dict[str, str] = {}
        """Name of a tracker -> why the store has no folder for it."""

    def begin(self) -> None:
        """Start the trackers, and write the first record."""
        previous = self._previous()
        for name, options in self.task.trackers.items():
            try:
                self.folders[name] = self.store.files.local_folder(_place(name))
            except StoreError as error:
                self.not_begun[name] = str(error)
            else:
                self.forwards[name] = self._start(name, options, previous.get(name))
        super().begin()

    def write(self) -> None:
        """Write the record as it stands, with what the trackers have said so far."""
        self.record.trackers = self._trackers()
        super().write()

    def report(self, epoch: int, metrics: list[dict[str, Any]], costs: list[dict[str, Any]]) -> None:
        """Take the rows of one epoch."""
        super().report(epoch, metrics, costs)
        values = {_metric_key(row): row["value"] for row in metrics}
        values |= {f"cost/{row['name']}": row["value"] for row in costs}
        for forward in self.forwards.values():
            forward.log(values, epoch)

    def picture(self, name: str, epoch: int | None, png: bytes) -> None:
        """Take a strip of pictures."""
        super().picture(name, epoch, png)
        for tracker, forward in self.forwards.items():
            if self.task.trackers[tracker]["pictures"]:
                forward.picture(name, png, epoch)

    def end(self, status: str, **facts: Any) -> None:
        """Write how the attempt ended; then let the trackers end, and write what they say.

        The wait is bounded; that what they say cannot be written does not matter to the trial.
        """
        super().end(status, **facts)
        finish_all(list(self.forwards.values()), status, self.progressed)
        with contextlib.suppress(StoreError):
            self._keep_files()
            self.record.trackers = self._trackers()
            self.store.write_attempt(self.record)  # not `write`: the time is that of the trial

    def close(self) -> None:
        """End trackers that are still there: the attempt went away without an end."""
        for forward in self.forwards.values():
            forward.give_up("the attempt ended without a word")
        super().close()

    def _start(self, name: str, options: dict[str, Any], previous: str | None) -> Forward:
        task = self.task
        run = TrackedRun(
            suite=task.suite,
            run_id=task.run_id,
            variant=task.variant,
            trial_id=task.trial_id,
            attempt=task.attempt,
            seed=task.seed,
            fold=task.fold,
            folder=str(self.folders[name]),
            previous=previous,
        )
        begin = Begin(name, options, run, settings_of(run, task.spec), task.project)
        return Forward(begin, options["finish_seconds"])

    def _previous(self) -> dict[str, str | None]:
        """Return the runs that trackers made of the attempt which this one goes on from."""
        if self.record.resumed_from is None:
            return {}
        earlier = self.store.reader().attempt(self.task.trial_id, self.record.resumed_from)
        told = from_text(earlier.trackers) if earlier is not None else {}
        return {name: one.run for name, one in told.items()}

    def _trackers(self) -> str:
        """Return what the trackers have said so far, as the record keeps it."""
        return to_text({name: self._told(name) for name in self.task.trackers})

    def _told(self, name: str) -> Told:
        """Return what a tracker said; a link below its folder is written relative to the store."""
        if name not in self.forwards:
            return Told(note=self.not_begun.get(name))
        told, folder = self.forwards[name].told(), self.folders[name]
        if told.link is None or not Path(told.link).is_relative_to(folder):
            return told
        return replace(told, link=f"{_place(name)}/{Path(told.link).relative_to(folder).as_posix()}")

    def _keep_files(self) -> None:
        """Put what trackers wrote into a store that is elsewhere."""
        if not self.store.files.is_local:
            for name, folder in self.folders.items():
                self.store.files.upload(folder, _place(name))


def _place(tracker: str) -> str:
    return f"trackers/{tracker.replace(':', '-')}"


def _metric_key(row: dict[str, Any]) -> str:
    label = "" if row["label"] is None else f"/{row['label']}"
    return f"{row['split']}/{row['metric']}{label}"
