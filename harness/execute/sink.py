"""Where an attempt puts what it finds: its record and its files in the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.execute.base import EpochDone, Event, TrialTask
from harness.execute.watchdog import Watchdog
from harness.store.write import Attempt, StoreWriter
from harness.train.progress import read_progress
from harness.train.sink import DroppingSink

STOP_POLL_SECONDS = 0.5
FAR_POLL_SECONDS = 3.0  # of a store where every look is a request that takes time and money


class _Ending:
    """What every process of an attempt knows of its end."""

    store: StoreWriter

    def __init__(self) -> None:
        self.stopping = False
        self.end_reason = "stop"
        self.watchdog: Watchdog | None = None

    def progressed(self) -> None:
        """Note that the trial is alive."""
        if self.watchdog is not None:
            self.watchdog.progressed()

    def end_now(self, reason: str) -> None:
        """Let the attempt end at its next step, for a reason that is known here; safe in a signal handler."""
        if not self.stopping:
            self.end_reason, self.stopping = reason, True

    def close(self) -> None:
        """Let go of everything, however the attempt ended."""
        self.store.files.close()


class StoreSink(_Ending):
    """Keeps the record of one attempt, and writes it whole at every report."""

    def __init__(self, task: TrialTask, emit: Callable[[Event], None]) -> None:
        super().__init__()
        self.store = StoreWriter(task.store)
        self.task = task
        self.emit = emit
        self.place = self.store.artifact_folder(task.trial_id, task.attempt)
        self.folder = self.store.files.local_folder(self.place)
        self.resume_from = _state_of(self.store, task)
        self.record = _begin(task, self.store, self.resume_from)
        self.began = time.monotonic()
        self.earlier_seconds = self.record.wall_seconds
        self.poll_seconds = STOP_POLL_SECONDS if self.store.files.is_local else FAR_POLL_SECONDS
        self.polled = -self.poll_seconds  # the first look is due at once

    def begin(self) -> None:
        """Write the first record: the attempt has begun."""
        self.write()

    def describe(self, **facts: Any) -> None:
        """Take columns of `trials`."""
        self.record = replace(self.record, **facts)
        self.write()

    def report(self, epoch: int, metrics: list[dict[str, Any]], costs: list[dict[str, Any]]) -> None:
        """Take the rows of one epoch and write the whole record."""
        self.record.metrics += metrics
        self.record.costs += costs
        self.record.epochs_done = epoch
        self._sum_up()
        self.write()
        primary = self.task.spec["primary_metric"]
        value = next(r["value"] for r in metrics if r["metric"] == primary and r["label"] is None)
        self.emit(EpochDone(self.task.trial_id, epoch, value))

    def picture(self, name: str, epoch: int | None, png: bytes) -> None:
        """Write a strip of pictures."""
        stem = name if epoch is None else f"{name}-{epoch:04d}"
        columns = self.store.write_artifact(f"{self.place}/samples/{stem}.png", png)
        self._note_artifact("sample", name, epoch, columns)

    def images(self, epoch: int, columns: dict[str, list[Any]]) -> None:
        """Write the table of images."""
        path = self.store.images_file(self.task.trial_id, self.task.attempt)
        self._note_artifact("images", "validation", epoch, self.store.write_images(path, columns))

    def weights(self, name: str, epoch: int, path: Path) -> None:
        """Keep a file of weights; the one of that name before is gone."""
        self.record.artifacts = [
            row for row in self.record.artifacts if (row["kind"], row["name"]) != ("checkpoint", name)
        ]
        columns = self.store.keep_artifact(path, f"{self.place}/{path.name}")
        self._note_artifact("checkpoint", name, epoch, columns)

    def state_saved(self, state: Path) -> None:
        """Keep a whole state; older ones go from the store only then."""
        self.store.keep_state(state, self.task.trial_id, self.task.attempt)

    def stop_requested(self) -> bool:
        """Tell whether the attempt is to end, `end_reason` then says why; looks once in a while."""
        now = time.monotonic()
        if not self.stopping and now - self.polled > self.poll_seconds:
            self.polled = now
            self._look()
        return self.stopping

    def _look(self) -> None:
        if self.store.stop_requested(self.task.run_id):
            self.end_now("stop")
        elif (reason := self.store.end_asked(self.task.trial_id, self.task.attempt)) is not None:
            self.end_now(reason)

    def end(self, status: str, **facts: Any) -> None:
        """Write how the attempt ended."""
        self._sum_up()
        self.record = replace(self.record, status=status, ended=datetime.now(UTC), **facts)
        self.write()

    def write(self) -> None:
        """Write the record as it stands."""
        self.record.wall_seconds = self.earlier_seconds + time.monotonic() - self.began
        self.store.write_attempt(self.record)

    def _sum_up(self) -> None:
        costs = self.record.costs
        memory = [row["value"] for row in costs if row["name"] == "peak_memory_bytes"]
        seconds = sum(row["value"] for row in costs if row["name"] == "train_seconds")
        images = sum(
            row["count"] for row in self.record.metrics if (row["split"], row["metric"]) == ("train", "loss")
        )
        self.record.train_seconds = seconds
        self.record.images_per_second = images / seconds if seconds else None
        self.record.peak_memory_bytes = int(max(memory)) if memory else None

    def _note_artifact(self, kind: str, name: str, epoch: int | None, columns: dict[str, str]) -> None:
        self.record.artifacts.append({"kind": kind, "name": name, "epoch": epoch, **columns})


class FollowerSink(_Ending, DroppingSink):
    """The sink of a trial's processes other than the first, which alone keeps the record."""

    def __init__(self, task: TrialTask) -> None:
        _Ending.__init__(self)
        self.store = StoreWriter(task.store)
        self.task = task
        # Nothing is kept of it, but a folder of the store itself, where there is one, is the first one's.
        place = self.store.artifact_folder(task.trial_id, task.attempt)
        DroppingSink.__init__(self, self.store.files.local_folder(place), _state_of(self.store, task))

    def stop_requested(self) -> bool:
        """Tell what this process knows; the first one looks into the store for all."""
        return self.stopping


def _begin(task: TrialTask, store: StoreWriter, state: Path | None) -> Attempt:
    """Return the record to go on with: empty, or what the earlier attempt had up to its state."""
    record = task.new_record()
    if state is None:
        return record
    assert task.resume_attempt is not None
    earlier = store.reader().attempt(task.trial_id, task.resume_attempt)
    assert earlier is not None, task.resume_attempt
    epochs_done = read_progress(state).epoch - 1
    rows = earlier.up_to(epochs_done)
    return replace(
        record,
        resumed_from=task.resume_attempt,
        epochs_done=epochs_done,
        wall_seconds=earlier.wall_seconds,
        metrics=rows["metrics"],
        costs=rows["costs"],
        # The loop takes the best weights over into this attempt's folder and notes them anew.
        artifacts=[row for row in rows["artifacts"] if row["kind"] != "checkpoint"],
    )


def _state_of(store: StoreWriter, task: TrialTask) -> Path | None:
    """Return the state to go on from, on this machine; none for a fresh start."""
    if task.resume_attempt is None:
        return None
    state = store.newest_state(task.trial_id, task.resume_attempt)
    if state is None:
        return None
    return store.files.download(f"{store.state_folder(task.trial_id, task.resume_attempt)}/{state}")
