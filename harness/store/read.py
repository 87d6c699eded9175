"""Reading a store: runs, attempts, and the record of one run that analysis works on."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.errors import StoreError, did_you_mean
from harness.plan import Plan, PlannedTrial
from harness.provenance import available_cpus
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
READERS = min(8, 2 * available_cpus())  # threads: decoding a file is done outside the interpreter's lock

DEFAULT_STORE = Path("runs")


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

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._heads: dict[Path, Head] = {}

    @cached_property
    def runs(self) -> pa.Table:
        """The table `runs`, oldest first; `run_rows` is quicker where no plan is needed."""
        return _oldest_first(_lifted(_read_files(self._run_files()), RUN_SCHEMA, RUN_STEPS))

    def run_rows(self) -> list[dict[str, Any]]:
        """Return every column of every run but its plan, oldest first; those that hold JSON are parsed."""
        return [_parsed(row) for row in self._rows]

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        schema = RUN_SCHEMA.remove(RUN_SCHEMA.get_field_index("plan"))
        rows = _oldest_first(_lifted(_read_files(self._run_files(), schema.names), schema, RUN_STEPS))
        return list(rows.to_pylist())

    def _run_files(self) -> list[Path]:
        return sorted((self.root / "runs").glob("*.parquet"))

    @cached_property
    def attempts(self) -> pa.Table:
        """Every attempt, with its metrics, costs and artifacts nested."""
        return _by_trial(_read_files(sorted((self.root / "attempts").glob("*/*.parquet"))))

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
        ids = [str(row["run_id"]) for row in self._rows]
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

    def run(self, selector: str = "latest", *, variants: Collection[str] | None = None) -> RunRecord:
        """Return the record of one run; of the attempts, those of its trials alone are read.

        Args:
            selector: an id, a unique prefix or `latest`.
            variants: the only ones whose trials are read; the plan stays whole. None reads all.

        Raises:
            StoreError: no run, or several runs, are named so.
        """
        row = self._run_row(selector)
        run_id, plan = row["run_id"], Plan.model_validate_json(row.pop("plan"))
        wanted = [
            one for one in plan.trials if variants is None or not set(variants).isdisjoint(one.variants)
        ]
        chosen = self._attempts_of_run(wanted, run_id, row["reused"])
        return RunRecord(
            root=self.root,
            run=row,
            plan=plan,
            trials=chosen.select(TRIAL_COLUMNS).to_pandas(),
            **{name: _unnest(chosen, name).to_pandas() for name in NESTED},
        )

    def plan(self, selector: str = "latest") -> Plan:
        """Return the plan of one run alone; reads no attempt.

        Raises:
            StoreError: no run, or several runs, are named so.
        """
        return Plan.model_validate_json(self._run_row(selector)["plan"])

    def _run_row(self, selector: str) -> dict[str, Any]:
        path = self.run_file(self.find_run(selector))
        [row] = _lifted([_read_file(path)], RUN_SCHEMA, RUN_STEPS).to_pylist()
        return _parsed(row)

    def _attempts_of_run(
        self, planned: Sequence[PlannedTrial], run_id: str, reused: dict[str, int]
    ) -> pa.Table:
        """Return one attempt for every planned trial that was tried."""
        trials = sorted({trial.id for trial in planned} & self.tried)
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(lambda trial_id: self._answer(trial_id, run_id, reused.get(trial_id)), trials)
            return _by_trial([table for table in found if table is not None])

    def _answer(self, trial_id: str, run_id: str, reused: int | None) -> pa.Table | None:
        """Return the attempt that answers for a trial in a run: the run's own, else the one it reused.

        Of several that is the last complete one, else the last one. Attempts are numbered as they are
        made, and runs are most often asked for from the newest on: so the last file that is not known yet
        is read whole at once, and of those before it the heads, until the answer is found.
        """
        unfinished: Path | None = None
        paths = sorted(self._attempt_files(trial_id), reverse=True)
        likely = next((path for path in paths if path not in self._heads), None)
        for path in paths:
            head, whole = self._head(path, whole=path == likely)
            if head.run_id != run_id and head.attempt != reused:
                continue
            if head.status == "complete":
                return _read_file(path) if whole is None else whole
            unfinished = unfinished or path
        return None if unfinished is None else _read_file(unfinished)

    def _head(self, path: Path, *, whole: bool) -> tuple[Head, pa.Table | None]:
        """Return the head of an attempt, and all of it where it is read `whole` for it."""
        table = _read_file(path) if whole else None
        if path not in self._heads:
            self._heads[path] = _head_of(_read_file(path, HEAD_COLUMNS) if table is None else table)
        return self._heads[path], table

    def _attempt_files(self, trial_id: str) -> list[Path]:
        return list(self.attempt_file(trial_id, 1).parent.glob("*.parquet"))

    @cached_property
    def tried(self) -> frozenset[str]:
        """Ids of the trials that have an attempt."""
        folder = self.root / "attempts"
        return frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()

    def heads_of(self, trial_id: str) -> list[Head]:
        """Return how the attempts of one trial were made and how they ended, oldest first."""
        if trial_id not in self.tried:
            return []
        rows = [_head_of(_read_file(path, HEAD_COLUMNS)) for path in self._attempt_files(trial_id)]
        return sorted(rows, key=lambda head: head.attempt)

    def attempts_of(self, trial_id: str) -> list[Attempt]:
        """Return the attempts of one trial, oldest first; reads no other file."""
        table = _by_trial([_read_file(path) for path in self._attempt_files(trial_id)])
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


def _read_files(paths: Sequence[Path], columns: Sequence[str] | None = None) -> list[pa.Table]:
    """Return one table a file, in the order of `paths`."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda path: _read_file(path, columns), paths))


def _read_file(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return `columns` of a file, or all, in the version of the schema that it was written in."""
    try:
        table = pq.ParquetFile(path).read(columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    if not 1 <= _version(table) <= SCHEMA_VERSION:
        raise StoreError(
            f"{path} has store schema {_version(table)}, this harness reads 1 to {SCHEMA_VERSION}; "
            "use the version of the harness that wrote it"
        )
    return table


def _version(table: pa.Table) -> int:
    return int((table.schema.metadata or {}).get(VERSION_KEY, b"0"))


def _lifted(tables: Sequence[pa.Table], schema: pa.Schema, steps: Sequence[Step]) -> pa.Table:
    """Return tables of any versions as one of today's; those of a version together, which is quicker."""
    by_version: dict[int, list[pa.Table]] = {}
    for table in tables:
        by_version.setdefault(_version(table), []).append(table)
    lifted = [
        migrate(pa.concat_tables(alike), version, steps).select(schema.names).cast(schema)
        for version, alike in by_version.items()
    ]
    return pa.concat_tables(lifted) if lifted else schema.empty_table()


def _by_trial(attempts: Sequence[pa.Table]) -> pa.Table:
    """Return attempts as one table, in an order that does not depend on that of the files."""
    table = _lifted(attempts, ATTEMPT_SCHEMA, ATTEMPT_STEPS)
    return table.sort_by([("trial_id", "ascending"), ("attempt", "ascending")])


def _oldest_first(runs: pa.Table) -> pa.Table:
    return runs.sort_by([("started", "ascending"), ("run_id", "ascending")])


def _parsed(run: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a run with those that hold JSON as values."""
    return {**run, **{name: json.loads(run[name]) for name in JSON_COLUMNS}}


def _head_of(table: pa.Table) -> Head:
    return Head(**table.select(HEAD_COLUMNS).to_pylist()[0])


def _authoritative(attempts: pa.Table) -> list[bool]:
    """Mark the attempt that answers for each trial: the last complete one, else the last one."""
    rows = attempts.select(["trial_id", "attempt", "status"]).to_pylist()
    answer: dict[str, tuple[bool, int]] = {}
    for row in rows:
        rank = (row["status"] == "complete", row["attempt"])
        answer[row["trial_id"]] = max(rank, answer.get(row["trial_id"], rank))
    return [answer[row["trial_id"]][1] == row["attempt"] for row in rows]


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
