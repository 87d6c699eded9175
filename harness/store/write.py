"""Writing a store: whole files only, each replaced in one step.

A reader sees either the file before or the file after, and a writer killed at any moment leaves at most
a temporary file behind, which nobody reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import StoreError
from harness.redact import redact
from harness.store.files import Files, LocalFiles, open_files
from harness.store.schema import ATTEMPT_SCHEMA, NESTED, RUN_SCHEMA, images_schema
from harness.train.progress import PROGRESS  # of a state's files the last: where it is, the state is whole

if TYPE_CHECKING:
    from harness.store.read import StoreReader


@dataclass
class Attempt:
    """One try of one trial, as its file holds it; the fields are the columns of the schema."""

    run_id: str
    trial_id: str
    attempt: int
    variant: str
    levels: str
    seed: int
    fold: int | None
    spec: str
    code_hash: str
    status: str = "running"
    failure_kind: str | None = None
    error_class: str | None = None
    error: str | None = None
    failure: str | None = None
    epochs_done: int = 0
    resumed_from: int | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    forward_flops: int | None = None
    images_per_second: float | None = None
    peak_memory_bytes: int | None = None
    wall_seconds: float = 0.0
    train_seconds: float = 0.0
    device: str | None = None
    threads: int | None = None
    strategy: str | None = None
    world_size: int | None = None
    effective_batch: int | None = None
    gpus: float | None = None
    precision: str | None = None
    determinism: str | None = None
    trackers: str | None = None
    host: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """Return the attempt that one row of an attempt file holds."""
        return cls(**{**row, **{name: list(row[name] or ()) for name in NESTED}})

    def up_to(self, epoch: int) -> dict[str, list[dict[str, Any]]]:
        """Return the nested rows of the epochs up to `epoch`, and those that belong to no epoch."""
        return {
            name: [row for row in getattr(self, name) if row["epoch"] is None or row["epoch"] <= epoch]
            for name in NESTED
        }


@dataclass
class Run:
    """One execution of a suite, as its file holds it; the fields are the columns of the schema."""

    run_id: str
    suite: str
    suite_hash: str
    profile: str | None
    plan: str
    reused: str
    notes: str
    status: str
    started: datetime
    ended: datetime | None
    executor: str
    cpus: int
    gpus: int
    command: str
    git_commit: str | None
    git_dirty: str | None
    code_hash: str
    host: str
    pid: int
    versions: str

    def ended_as(self, status: str) -> Run:
        """Return the same run, ended now."""
        return replace(self, status=status, ended=datetime.now(UTC))


class StoreLayout:
    """Where a store keeps its files: paths below it, for `files`.

    Args:
        store: a path, an address such as s3://bucket/folder, or the files themselves.
    """

    def __init__(self, store: Path | str | Files) -> None:
        self.files: Files = open_files(store) if isinstance(store, (Path, str)) else store

    @property
    def address(self) -> str:
        """An absolute path, or an address such as s3://bucket/folder."""
        return self.files.address

    @property
    def root(self) -> Path:
        """The folder of a store on this machine; other stores have none."""
        assert isinstance(self.files, LocalFiles), self.address
        return self.files.root

    def run_file(self, run_id: str) -> str:
        """Return the file of a run."""
        return f"runs/{run_id}.parquet"

    def stop_file(self, run_id: str) -> str:
        """Return the file whose existence asks the trials of a run to stop."""
        return f"runs/{run_id}.stop"

    def attempt_file(self, trial_id: str, attempt: int) -> str:
        """Return the file of an attempt."""
        return f"attempts/{trial_id}/{attempt:04d}.parquet"

    def artifact_folder(self, trial_id: str, attempt: int) -> str:
        """Return the folder of an attempt's pictures and checkpoints."""
        return f"artifacts/{trial_id}/{attempt:04d}"

    def images_file(self, trial_id: str, attempt: int) -> str:
        """Return the file of an attempt's table of images."""
        return f"{self.artifact_folder(trial_id, attempt)}/images.parquet"

    def state_folder(self, trial_id: str, attempt: int) -> str:
        """Return the folder of an attempt's states."""
        return f"{self.artifact_folder(trial_id, attempt)}/state"

    def end_file(self, trial_id: str, attempt: int) -> str:
        """Return the file that asks one attempt to end, and says why."""
        return f"{self.artifact_folder(trial_id, attempt)}/end"

    def report_folder(self, run_id: str) -> str:
        """Return the folder of a run's report."""
        return f"reports/{run_id}"

    def newest_state(self, trial_id: str, attempt: int) -> str | None:
        """Return the name of the newest whole state of an attempt, or none; names sort by their age."""
        folder = self.state_folder(trial_id, attempt)
        found = (path.split("/") for path in self.files.files_below(folder))
        return max((state for *_, state, name in found if name == PROGRESS), default=None)


class StoreWriter(StoreLayout):
    """Writes runs and attempts. Several processes may write to one store at once.

    An attempt is written by the process that trains it, and once that has died by a driver;
    a run is written by its driver, and once that has died by the next one.
    """

    def write_run(self, run: Run) -> None:
        """Write or replace the file of a run.

        Raises:
            StoreError: the store cannot be written.
        """
        row = _redacted(asdict(run), ("command", "notes"))
        self._write_table(self.run_file(run.run_id), row, RUN_SCHEMA)

    def write_attempt(self, attempt: Attempt) -> None:
        """Write or replace the file of an attempt.

        Raises:
            StoreError: the store cannot be written.
        """
        row = _redacted(asdict(attempt), ("error", "failure", "trackers"))
        self._write_table(self.attempt_file(attempt.trial_id, attempt.attempt), row, ATTEMPT_SCHEMA)

    def claim_attempt(self, trial_id: str, after: int) -> int:
        """Return the number of a new attempt, the first above `after` that nobody else has claimed.

        Raises:
            StoreError: the store cannot be written.
        """
        number = after + 1
        while not self.files.create(f"{self.artifact_folder(trial_id, number)}/claim", b""):
            number += 1
        return number

    def write_artifact(self, path: str, content: bytes) -> dict[str, str]:
        """Write a file of the store and return its `path` and `hash` columns."""
        self.files.write(path, content)
        return {"path": path, "hash": hashlib.sha256(content).hexdigest()}

    def write_images(self, path: str, columns: dict[str, list[Any]]) -> dict[str, str]:
        """Write a table of images and return its `path` and `hash` columns.

        Args:
            path: as from `images_file`.
            columns: name -> one entry an image, see `harness.store.schema.images_schema`.
        """
        table = pa.table(columns, schema=images_schema(list(columns)))
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd", write_statistics=False)
        return self.write_artifact(path, buffer.getvalue().to_pybytes())

    def keep_artifact(self, local: Path, path: str) -> dict[str, str]:
        """Put a file from `files.local_folder` into the store and return its `path` and `hash` columns."""
        self.files.upload(local, path)
        with local.open("rb") as file:
            return {"path": path, "hash": hashlib.file_digest(file, "sha256").hexdigest()}

    def keep_state(self, local: Path, trial_id: str, attempt: int) -> None:
        """Put a whole state into the store, and delete the attempt's older ones only then.

        Raises:
            StoreError: the store cannot be written; the states before are as they were.
        """
        folder = self.state_folder(trial_id, attempt)
        self.files.upload(local, f"{folder}/{local.name}", last=PROGRESS)
        if self.files.is_local:
            return  # it lies in the store itself: the loop deletes older ones
        for older in set(self.files.names(folder)) - {local.name}:
            self.files.delete_folder(f"{folder}/{older}")  # nobody goes on from it: the new one is there

    def delete_states(self, trial_id: str, attempt: int) -> None:
        """Free the room that states take once a trial is complete: of this attempt and of those before."""
        for number in range(1, attempt + 1):
            self.files.delete_folder(self.state_folder(trial_id, number))

    def request_stop(self, run_id: str) -> None:
        """Ask the trials of a run to write a checkpoint and end."""
        self.files.write(self.stop_file(run_id), b"")

    def withdraw_stop(self, run_id: str) -> None:
        """Take the request to stop back, once every trial has ended."""
        self.files.delete(self.stop_file(run_id))

    def stop_requested(self, run_id: str) -> bool:
        """Tell whether the trials of a run have been asked to stop."""
        return self.files.exists(self.stop_file(run_id))

    def ask_to_end(self, trial_id: str, attempt: int, reason: str) -> None:
        """Ask one attempt to write its state and end.

        Args:
            trial_id: of the trial.
            attempt: its number.
            reason: "pruned" or "preempted".
        """
        assert reason in ("pruned", "preempted"), reason
        self.files.write(self.end_file(trial_id, attempt), reason.encode())

    def end_asked(self, trial_id: str, attempt: int) -> str | None:
        """Return why an attempt has been asked to end, none where it has not."""
        try:
            return self.files.read(self.end_file(trial_id, attempt)).decode()
        except FileNotFoundError:
            return None

    def reader(self) -> StoreReader:
        """Return a reader of the same store as it is now."""
        from harness.store.read import StoreReader

        return StoreReader(self.files)

    def _write_table(self, path: str, row: dict[str, Any], schema: pa.Schema) -> None:
        table = pa.Table.from_pylist([row], schema=schema)
        buffer = pa.BufferOutputStream()
        # Of one row: zstd would take as long again to read, and statistics would be half of the file.
        pq.write_table(table, buffer, compression="snappy", write_statistics=False)
        self.files.write(path, buffer.getvalue())


def create_store(store: Path | str) -> StoreWriter:
    """Return a writer for a store; a folder is made if need be, a bucket has to be there.

    Raises:
        StoreError: the folder cannot be made or written, or the bucket is out of reach.
    """
    writer = StoreWriter(store)
    if not isinstance(writer.files, LocalFiles):
        writer.files.names("runs")
        return writer
    try:
        for folder in ("runs", "attempts", "artifacts", "reports"):
            (writer.root / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the store {writer.root} cannot be written: {error.strerror or error}") from error
    return writer


def _redacted(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Return a row without the secrets in the texts that people and libraries wrote."""
    return {**row, **{name: redact(row[name]) for name in columns if row[name] is not None}}
