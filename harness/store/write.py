"""Writing a store: whole files only, each replaced in one step.

A reader sees either the file before or the file after, and a writer killed at
any moment leaves at most a temporary file behind, which nobody reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import StoreError
from harness.store.schema import ATTEMPT_SCHEMA, NESTED, RUN_SCHEMA


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
    precision: str | None = None
    determinism: str | None = None
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
    """Where a store keeps its files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run_file(self, run_id: str) -> Path:
        """Return the file of a run."""
        return self.root / "runs" / f"{run_id}.parquet"

    def stop_file(self, run_id: str) -> Path:
        """Return the file whose existence asks the trials of a run to stop."""
        return self.root / "runs" / f"{run_id}.stop"

    def attempt_file(self, trial_id: str, attempt: int) -> Path:
        """Return the file of an attempt."""
        return self.root / "attempts" / trial_id / f"{attempt:04d}.parquet"

    def artifact_folder(self, trial_id: str, attempt: int) -> Path:
        """Return the folder of an attempt's pictures and checkpoints."""
        return self.root / "artifacts" / trial_id / f"{attempt:04d}"

    def report_folder(self, run_id: str) -> Path:
        """Return the folder of a run's report."""
        return self.root / "reports" / run_id


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
        _write_table(self.run_file(run.run_id), asdict(run), RUN_SCHEMA)

    def write_attempt(self, attempt: Attempt) -> None:
        """Write or replace the file of an attempt.

        Raises:
            StoreError: the store cannot be written.
        """
        _write_table(self.attempt_file(attempt.trial_id, attempt.attempt), asdict(attempt), ATTEMPT_SCHEMA)

    def claim_attempt(self, trial_id: str, after: int) -> int:
        """Return the number of a new attempt, the first above `after` that nobody else has claimed.

        The folder of its artifacts is the claim: making it succeeds for one process alone.

        Raises:
            StoreError: the store cannot be written.
        """
        number = after + 1
        while True:
            folder = self.artifact_folder(trial_id, number)
            try:
                folder.mkdir(parents=True)
                return number
            except FileExistsError:
                number += 1
            except OSError as error:
                raise StoreError(f"cannot write {folder}: {error.strerror or error}") from error

    def write_artifact(self, path: Path, content: bytes) -> dict[str, str]:
        """Write a file below the store and return its `path` and `hash` columns."""
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        return self.describe_artifact(path)

    def describe_artifact(self, path: Path) -> dict[str, str]:
        """Return the `path` and `hash` columns of a file that lies below the store."""
        return {
            "path": path.relative_to(self.root).as_posix(),
            "hash": hashlib.sha256(path.read_bytes()).hexdigest(),
        }

    def request_stop(self, run_id: str) -> None:
        """Ask the trials of a run to write a checkpoint and end."""
        self.stop_file(run_id).touch()

    def withdraw_stop(self, run_id: str) -> None:
        """Take the request to stop back, once every trial has ended."""
        self.stop_file(run_id).unlink(missing_ok=True)

    def stop_requested(self, run_id: str) -> bool:
        """Tell whether the trials of a run have been asked to stop."""
        return self.stop_file(run_id).exists()


def create_store(root: Path) -> StoreWriter:
    """Return a writer for the store at `root`, whose folder is made if need be.

    Raises:
        StoreError: the folder cannot be made or written.
    """
    root = root.expanduser().resolve()
    try:
        for folder in ("runs", "attempts", "artifacts", "reports"):
            (root / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the store {root} cannot be written: {error.strerror or error}") from error
    return StoreWriter(root)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path` in one step when the block ends well.

    Raises:
        StoreError: the file cannot be written; the one before it is left as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp makes private files; a store is shared
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_table(path: Path, row: dict[str, Any], schema: pa.Schema) -> None:
    table = pa.Table.from_pylist([row], schema=schema)
    with replacing(path) as temporary:
        # Of one row: zstd would take as long again to read, and statistics would be half of the file.
        pq.write_table(table, temporary, compression="snappy", write_statistics=False)
