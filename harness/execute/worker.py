"""What happens inside a worker: one attempt, and its record in the store."""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import plugins
from harness.config import TrialSpec
from harness.errors import NonFiniteLossError, TrialError
from harness.execute.base import EpochDone, Event, TrialTask
from harness.specify import plugins_of, respecify
from harness.store.read import StoreReader
from harness.store.write import Attempt, StoreWriter
from harness.train.loop import Interrupted
from harness.train.progress import newest_state, read_progress
from harness.train.trial import run_trial

STOP_POLL_SECONDS = 0.5
TRACEBACK_LINES = 12


class StoreSink:
    """Keeps the record of one attempt, and writes it whole at every report."""

    def __init__(self, task: TrialTask, emit: Callable[[Event], None]) -> None:
        self.store = StoreWriter(Path(task.store))
        self.task = task
        self.emit = emit
        self.folder = self.store.artifact_folder(task.trial_id, task.attempt)
        self.resume_from = _state_of(self.store, task)
        self.record = _begin(task, self.store, self.resume_from)
        self.began = time.monotonic()
        self.earlier_seconds = self.record.wall_seconds
        self.polled = 0.0
        self.stopping = False

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
        columns = self.store.write_artifact(self.folder / "samples" / f"{stem}.png", png)
        self._note_artifact("sample", name, epoch, columns)

    def weights(self, name: str, epoch: int, path: Path) -> None:
        """Note a file of weights; the one of that name before is gone."""
        self.record.artifacts = [
            row for row in self.record.artifacts if (row["kind"], row["name"]) != ("checkpoint", name)
        ]
        self._note_artifact("checkpoint", name, epoch, self.store.describe_artifact(path))

    def stop_requested(self) -> bool:
        """Tell whether the run was asked to stop; looks twice a second at most."""
        now = time.monotonic()
        if not self.stopping and now - self.polled > STOP_POLL_SECONDS:
            self.polled = now
            self.stopping = self.store.stop_requested(self.task.run_id)
        return self.stopping

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


def execute_attempt(task: TrialTask, emit: Callable[[Event], None]) -> str:
    """Make one attempt and return the status that it ended with.

    Whatever the trial raises ends in its record, so that other trials go on. An attempt
    that is asked to stop before it began leaves no record.

    Raises:
        StoreError: the store cannot be written.
    """
    sink = StoreSink(task, emit)
    if sink.stop_requested():
        return "interrupted"
    sink.write()
    try:
        run_trial(
            _specification(task),
            sink,
            cache=Path(task.cache),
            threads=task.threads,
            on_cpu=not task.gpus,
        )
    except Interrupted:
        sink.end("interrupted")
        return "interrupted"
    except Exception as error:
        evidence = json.dumps(error.evidence) if isinstance(error, NonFiniteLossError) else None
        sink.end("failed", error_class=type(error).__name__, error=_describe(error), failure=evidence)
        return "failed"
    sink.end("complete")
    _delete_states(sink.store, task.trial_id, task.attempt)
    return "complete"


def _specification(task: TrialTask) -> TrialSpec:
    """Return what to train, with the plugins that it was planned with.

    Raises:
        TrialError: the sources of a plugin changed since, or a name leads to another one here.
    """
    planned: dict[str, str] = task.spec["plugins"]
    if planned:
        plugins.use_project(Path(task.project))
    changed = [target for target, sources in planned.items() if plugins.source_hash(target) != sources]
    if not changed:
        spec = respecify(task.spec)
        changed = sorted(plugins_of(spec).keys() ^ planned.keys())
    if changed:
        raise TrialError(
            f"the plugin {', '.join(changed)} changed since the plan was made, or is another one on this "
            "machine; the same command plans anew, with new trials"
        )
    return spec


def _begin(task: TrialTask, store: StoreWriter, state: Path | None) -> Attempt:
    """Return the record to go on with: empty, or what the earlier attempt had up to its state."""
    record = task.new_record()
    if state is None:
        return record
    before = StoreReader(store.root).attempts_of(task.trial_id)
    earlier = next(attempt for attempt in before if attempt.attempt == task.resume_attempt)
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
    if task.resume_attempt is None:
        return None
    return newest_state(store.artifact_folder(task.trial_id, task.resume_attempt) / "state")


def _delete_states(store: StoreWriter, trial_id: str, attempt: int) -> None:
    """Free the disk that states take once a trial is complete, those of earlier attempts too."""
    for number in range(1, attempt + 1):
        shutil.rmtree(store.artifact_folder(trial_id, number) / "state", ignore_errors=True)


def _describe(error: Exception) -> str:
    lines = "".join(traceback.format_exception(error)).strip().splitlines()
    return "\n".join([f"{error}", *lines[-TRACEBACK_LINES:]])
