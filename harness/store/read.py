"""Reading a store: runs, attempts, and the record of one run that analysis works on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.errors import StoreError, did_you_mean
from harness.plan import Plan
from harness.store.migrate import ATTEMPT_STEPS, RUN_STEPS, Step, migrate
from harness.store.schema import (
    ATTEMPT_SCHEMA,
    NESTED,
    RUN_SCHEMA,
    SCHEMA_VERSION,
    TRIAL_FIELDS,
    VERSION_KEY,
)
from harness.store.write import Attempt, StoreLayout

JSON_COLUMNS = ("reused", "notes", "versions")
TRIAL_COLUMNS = [name for name, _ in TRIAL_FIELDS]


@dataclass(frozen=True)
class RunRecord:
    """All that a store knows of one run: the only input of analysis and reports."""

    root: Path
    """Folder of the store; paths of artifacts are relative to it."""
    run: dict[str, Any]
    """Columns of `runs`; those that hold JSON are parsed, `plan` is left out."""
    plan: Plan
    trials: pd.DataFrame
    """One row per planned trial that was tried, by this run or by the one it was reused from."""
    metrics: pd.DataFrame
    costs: pd.DataFrame
    artifacts: pd.DataFrame

    @property
    def notes(self) -> list[str]:
        """Lines that the run left for its reader."""
        return list(self.run["notes"])


@dataclass(frozen=True)
class Head:
    """What tells whether an attempt answers for its trial, without its rows."""

    attempt: int
    run_id: str
    status: str
    code_hash: str
    threads: int | None
    device: str | None
    epochs_done: int


HEAD_COLUMNS = [column.name for column in fields(Head)]  # the same in every version of the schema


class StoreReader(StoreLayout):
    """Reads a store as it was when first asked; open it again to see what came since."""

    @cached_property
    def runs(self) -> pa.Table:
        """The table `runs`, oldest first."""
        table = _read_all((self.root / "runs").glob("*.parquet"), RUN_SCHEMA, RUN_STEPS)
        return table.sort_by([("started", "ascending"), ("run_id", "ascending")])

    @cached_property
    def attempts(self) -> pa.Table:
        """Every attempt, with its metrics, costs and artifacts nested."""
        table = _read_all((self.root / "attempts").glob("*/*.parquet"), ATTEMPT_SCHEMA, ATTEMPT_STEPS)
        return table.sort_by([("trial_id", "ascending"), ("attempt", "ascending")])

    def tables(self) -> dict[str, pa.Table]:
        """Return what `harness query` sees.

        `runs` and `attempts` are whole; `trials`, `metrics`, `costs` and `artifacts`
        hold the one attempt that answers for each trial, so that no value stands twice.
        """
        authoritative = self.attempts.filter(pa.array(_authoritative(self.attempts), pa.bool_()))
        tables = {"runs": self.runs, "attempts": self.attempts.select(TRIAL_COLUMNS)}
        tables["trials"] = authoritative.select(TRIAL_COLUMNS)
        for name in NESTED:
            tables[name] = _unnest(authoritative, name)
        return tables

    def find_run(self, selector: str) -> str:
        """Return the id of the run that `selector` names: an id, a unique prefix or `latest`.

        Raises:
            StoreError: no run, or several runs, are named so.
        """
        ids: list[str] = self.runs["run_id"].to_pylist()
        if not ids:
            raise StoreError(f"the store {self.root} holds no run; `harness run SUITE` makes one")
        if selector == "latest":
            return ids[-1]
        found = [run_id for run_id in ids if run_id.startswith(selector)]
        if selector in found:
            return selector
        if not found:
            raise StoreError(f"no run '{selector}' in {self.root}{did_you_mean(selector, ids)}")
        if len(found) > 1:
            raise StoreError(f"'{selector}' names {len(found)} runs: {', '.join(found)}; give more of the id")
        return found[0]

    def run(self, selector: str = "latest") -> RunRecord:
        """Return the record of one run.

        Raises:
            StoreError: no run, or several runs, are named so.
        """
        run_id = self.find_run(selector)
        row = self.runs.filter(pc.field("run_id") == run_id).to_pylist()[0]
        plan = Plan.model_validate_json(row.pop("plan"))
        row.update({name: json.loads(row[name]) for name in JSON_COLUMNS})
        chosen = _attempts_of_run(self.attempts, plan, run_id, row["reused"])
        return RunRecord(
            root=self.root,
            run=row,
            plan=plan,
            trials=chosen.select(TRIAL_COLUMNS).to_pandas(),
            **{name: _unnest(chosen, name).to_pandas() for name in NESTED},
        )

    @cached_property
    def tried(self) -> frozenset[str]:
        """Ids of the trials that have an attempt."""
        folder = self.root / "attempts"
        return frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()

    def heads_of(self, trial_id: str) -> list[Head]:
        """Return how the attempts of one trial were made and how they ended, oldest first."""
        if trial_id not in self.tried:
            return []
        folder = self.attempt_file(trial_id, 1).parent
        rows = [_read_head(path) for path in folder.glob("*.parquet")]
        return sorted(rows, key=lambda head: head.attempt)

    def attempts_of(self, trial_id: str) -> list[Attempt]:
        """Return the attempts of one trial, oldest first; reads no other file."""
        folder = self.attempt_file(trial_id, 1).parent
        table = _read_all(sorted(folder.glob("*.parquet")), ATTEMPT_SCHEMA, ATTEMPT_STEPS)
        return [Attempt.from_row(row) for row in table.to_pylist()]


def open_store(root: Path | str) -> StoreReader:
    """Return a reader for the store at `root`.

    Raises:
        StoreError: there is no store.
    """
    root = Path(root).expanduser().resolve()
    if not (root / "runs").is_dir():
        raise StoreError(f"no store at {root}; `harness run SUITE --store {root}` makes one")
    return StoreReader(root)


def _read_all(paths: Iterable[Path], schema: pa.Schema, steps: Sequence[Step]) -> pa.Table:
    tables = [_read_file(path, schema, steps) for path in paths]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _read_head(path: Path) -> Head:
    try:
        row = pq.ParquetFile(path).read(HEAD_COLUMNS).to_pylist()[0]
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    return Head(**row)


def _read_file(path: Path, schema: pa.Schema, steps: Sequence[Step]) -> pa.Table:
    try:
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    version = int((table.schema.metadata or {}).get(VERSION_KEY, b"0"))
    if not 1 <= version <= SCHEMA_VERSION:
        raise StoreError(
            f"{path} has store schema {version}, this harness reads 1 to {SCHEMA_VERSION}; "
            "use the version of the harness that wrote it"
        )
    return migrate(table, version, steps).select(schema.names).cast(schema)


def _authoritative(attempts: pa.Table) -> list[bool]:
    """Mark the attempt that answers for each trial: the last complete one, else the last one."""
    rows = attempts.select(["trial_id", "attempt", "status"]).to_pylist()
    answer: dict[str, tuple[bool, int]] = {}
    for row in rows:
        rank = (row["status"] == "complete", row["attempt"])
        answer[row["trial_id"]] = max(rank, answer.get(row["trial_id"], rank))
    return [answer[row["trial_id"]][1] == row["attempt"] for row in rows]


def _attempts_of_run(attempts: pa.Table, plan: Plan, run_id: str, reused: dict[str, int]) -> pa.Table:
    """Return one attempt per planned trial: the run's own, else the one that it reused."""
    planned = {trial.id for trial in plan.trials}
    keys = attempts.select(["trial_id", "attempt", "run_id", "status"]).to_pylist()
    answer: dict[str, tuple[bool, int, int]] = {}
    for position, key in enumerate(keys):
        trial_id, attempt = key["trial_id"], key["attempt"]
        ours = key["run_id"] == run_id
        if trial_id in planned and (ours or reused.get(trial_id) == attempt):
            rank = (key["status"] == "complete", attempt, position)
            answer[trial_id] = max(rank, answer.get(trial_id, rank))
    return attempts.take(pa.array([position for _, _, position in answer.values()], pa.int64()))


def _unnest(attempts: pa.Table, name: str) -> pa.Table:
    """Return one nested table flat, with the trial and the attempt that each row belongs to."""
    fields = NESTED[name]
    lists = attempts[name].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):  # a table without rows has no chunks to combine
        lists = pa.array([], attempts.schema.field(name).type)
    parents = pc.list_parent_indices(lists)
    structs = pc.list_flatten(lists)
    columns = {
        "trial_id": attempts["trial_id"].take(parents),
        "attempt": attempts["attempt"].take(parents),
        **{field: pc.struct_field(structs, field) for field, _ in fields},
    }
    return pa.table(columns)
