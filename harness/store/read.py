"""Reading a store: runs, attempts, and the record of one run that analysis works on."""

from __future__ import annotations

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
from harness.store.files import Files
from harness.store.images import FAR_READERS, READERS, read_images
from harness.store.migrate import ATTEMPT_STEPS, RUN_STEPS, Step, migrate
from harness.store.schema import (
    ATTEMPT_SCHEMA,
    NESTED,
    RUN_SCHEMA,
    SCHEMA_VERSION,
    TRIAL_FIELDS,
)
from harness.store.soundness import parsed_json, values_of, version_of, why_not_to_read, why_not_to_use
from harness.store.write import Attempt, StoreLayout

PARQUET = ".parquet"
JSON_COLUMNS = ("reused", "notes", "versions")
TRIAL_COLUMNS = [name for name, _ in TRIAL_FIELDS]

DEFAULT_STORE = "runs"


@dataclass(frozen=True)
class RunRecord:
    """All that a store knows of one run: the only input of analysis and reports."""

    files: Files
    """Of the store; paths of artifacts are relative to it."""
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

    def images(self) -> pd.DataFrame:
        """Return one row for every validation image of every trial that has done its last epoch.

        Columns are `trial_id`, `attempt`, `index` and those of docs/store.md; no rows where no trial
        keeps such a table. Read when first asked for.

        Raises:
            StoreError: a table is not there, cannot be read, or is none.
        """
        return self._images.copy()

    @cached_property
    def _images(self) -> pd.DataFrame:
        artifacts: list[dict[Any, Any]] = self.artifacts.to_dict("records")
        frame: pd.DataFrame = read_images(self.files, artifacts).to_pandas()
        return frame


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

    def __init__(self, store: Path | str | Files) -> None:
        super().__init__(store)
        self._heads: dict[str, Head] = {}

    @cached_property
    def runs(self) -> pa.Table:
        """The table `runs`, oldest first; `run_rows` is quicker where no plan is needed."""
        return _oldest_first(_lifted(self._read_files(self._run_files()), RUN_SCHEMA, RUN_STEPS))

    def run_rows(self) -> list[dict[str, Any]]:
        """Return every column of every run but its plan, oldest first; those that hold JSON are parsed."""
        return [_parsed(row) for row in self._rows]

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        schema = RUN_SCHEMA.remove(RUN_SCHEMA.get_field_index("plan"))
        rows = _oldest_first(_lifted(self._read_files(self._run_files(), schema.names), schema, RUN_STEPS))
        return list(rows.to_pylist())

    def _run_files(self) -> list[str]:
        return [f"runs/{name}" for name in self.files.names("runs") if name.endswith(PARQUET)]

    @cached_property
    def attempts(self) -> pa.Table:
        """Every attempt, with its metrics, costs and artifacts nested."""
        found = self.files.files_below("attempts")
        return _by_trial(self._read_files([path for path in found if path.endswith(PARQUET)]))

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

    def images(self, artifacts: pa.Table) -> pa.Table:
        """Return the tables of images among `artifacts`, one of `tables`; see `read_images`."""
        return read_images(self.files, artifacts.to_pylist())

    def find_run(self, selector: str) -> str:
        """Return the id of the run that `selector` names: an id, a unique prefix or `latest`.

        Raises:
            StoreError: no run, or several runs, are named so.
        """
        ids = [str(row["run_id"]) for row in self._rows]
        if not ids:
            raise StoreError(f"the store {self.address} holds no run; `harness run SUITE` makes one")
        if selector == "latest":
            return ids[-1]
        found = [run_id for run_id in ids if run_id.startswith(selector)]
        if selector in found:
            return selector
        if not found:
            raise StoreError(f"no run '{selector}' in {self.address}{did_you_mean(selector, ids)}")
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
        run_id, plan = row["run_id"], row.pop("plan")
        wanted = [
            one for one in plan.trials if variants is None or not set(variants).isdisjoint(one.variants)
        ]
        chosen = self._attempts_of_run(wanted, run_id, row["reused"])
        return RunRecord(
            files=self.files,
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
        found: Plan = self._run_row(selector)["plan"]
        return found

    def _run_row(self, selector: str) -> dict[str, Any]:
        path = self.run_file(self.find_run(selector))
        [row] = _lifted([self._read_file(path)], RUN_SCHEMA, RUN_STEPS).to_pylist()
        try:
            return {**_parsed(row), "plan": Plan.model_validate_json(row["plan"])}
        except (ValueError, RecursionError) as error:
            raise StoreError(f"the plan in {self.address}/{path} cannot be read: {error}") from error

    def _attempts_of_run(
        self, planned: Sequence[PlannedTrial], run_id: str, reused: dict[str, int]
    ) -> pa.Table:
        """Return one attempt for every planned trial that was tried."""
        files = self._files_of({trial.id for trial in planned})

        def answer(trial_id: str) -> pa.Table | None:
            return self._answer(files[trial_id], run_id, reused.get(trial_id))

        with ThreadPoolExecutor(self._readers) as pool:
            found = pool.map(answer, sorted(files))
            return _by_trial([table for table in found if table is not None])

    def _answer(self, files: Sequence[str], run_id: str, reused: int | None) -> pa.Table | None:
        """Return the attempt that answers for a trial in a run: the run's own, else the one it reused.

        Of several that is the last complete one, else the last one. Attempts are numbered as they are
        made, and runs are most often asked for from the newest on: so the last file that is not known yet
        is read whole at once, and of those before it the heads, until the answer is found.
        """
        unfinished: str | None = None
        paths = sorted(files, reverse=True)
        likely = next((path for path in paths if path not in self._heads), None)
        for path in paths:
            head, whole = self._head(path, whole=path == likely)
            if head.run_id != run_id and head.attempt != reused:
                continue
            if head.status == "complete":
                return self._read_file(path) if whole is None else whole
            unfinished = unfinished or path
        return None if unfinished is None else self._read_file(unfinished)

    def _head(self, path: str, *, whole: bool) -> tuple[Head, pa.Table | None]:
        """Return the head of an attempt, and all of it where it is read `whole` for it."""
        table = self._read_file(path) if whole else None
        if path not in self._heads:
            self._heads[path] = _head_of(self._read_file(path, HEAD_COLUMNS) if table is None else table)
        return self._heads[path], table

    def _attempt_files(self, trial_id: str) -> list[str]:
        folder = f"attempts/{trial_id}"
        return [f"{folder}/{name}" for name in self.files.names(folder) if name.endswith(PARQUET)]

    def _files_of(self, trial_ids: Collection[str]) -> dict[str, list[str]]:
        """Return the files of the attempts of those trials that have any, oldest first.

        On this machine every trial is a folder to look into; from afar one listing of all is quicker.
        """
        if self.files.is_local:
            return {one: self._attempt_files(one) for one in self.tried & set(trial_ids)}
        found: dict[str, list[str]] = {}
        for path in self._listed:
            trial_id = path.split("/")[1]
            if trial_id in trial_ids and path.endswith(PARQUET):
                found.setdefault(trial_id, []).append(path)
        return found

    @cached_property
    def _listed(self) -> list[str]:
        return self.files.files_below("attempts")

    @cached_property
    def tried(self) -> frozenset[str]:
        """Ids of the trials that have an attempt."""
        return frozenset(self.files.names("attempts"))

    def heads_of(self, trial_id: str) -> list[Head]:
        """Return how the attempts of one trial were made and how they ended, oldest first, as of now."""
        rows = [_head_of(self._read_file(path, HEAD_COLUMNS)) for path in self._attempt_files(trial_id)]
        return sorted(rows, key=lambda head: head.attempt)

    def heads_of_all(self, trial_ids: Collection[str]) -> dict[str, list[Head]]:
        """Return the same of many trials at once; none is left out, those that were never tried are empty."""
        files = self._files_of(set(trial_ids))
        paths = [path for of_trial in files.values() for path in of_trial]
        found: dict[str, list[Head]] = {trial_id: [] for trial_id in trial_ids}
        for path, table in zip(paths, self._read_files(paths, HEAD_COLUMNS), strict=True):
            found[path.split("/")[1]].append(_head_of(table))
        return {one: sorted(heads, key=lambda head: head.attempt) for one, heads in found.items()}

    def attempts_of(self, trial_id: str) -> list[Attempt]:
        """Return the attempts of one trial, oldest first; reads no other file."""
        table = _by_trial([self._read_file(path) for path in self._attempt_files(trial_id)])
        return [Attempt.from_row(row) for row in table.to_pylist()]

    def attempt(self, trial_id: str, number: int) -> Attempt | None:
        """Return one attempt as it stands now, none where it has no record; reads its file alone."""
        try:
            table = self._table(self.attempt_file(trial_id, number))
        except FileNotFoundError:
            return None
        [row] = _by_trial([table]).to_pylist()
        return Attempt.from_row(row)

    @property
    def _readers(self) -> int:
        return READERS if self.files.is_local else FAR_READERS

    def _read_files(self, paths: Sequence[str], columns: Sequence[str] | None = None) -> list[pa.Table]:
        """Return one table a file, in the order of `paths`."""
        with ThreadPoolExecutor(self._readers) as pool:
            return list(pool.map(lambda path: self._read_file(path, columns), paths))

    def _read_file(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return `columns` of a file, or all, in the version of the schema that it was written in.

        Raises:
            StoreError: it is not there, cannot be read, or is of another version.
        """
        try:
            return self._table(path, columns)
        except FileNotFoundError as error:
            raise StoreError(f"cannot read {self.address}/{path}: there is no such file") from error

    def _table(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            with self.files.open(path) as file:
                parquet = pq.ParquetFile(file)
                wrong = why_not_to_read(path, parquet.schema_arrow, *_claimed(parquet.metadata, columns))
                table = None if wrong else parquet.read(columns, use_threads=False)
                if table is not None:
                    table.validate(full=True)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException, MemoryError) as error:
            raise StoreError(f"cannot read {self.address}/{path}: {error}") from error
        if wrong or (wrong := why_not_to_use(path, table)):
            raise StoreError(f"{self.address}/{path} is no file that a harness wrote: {wrong}")
        if not 1 <= _version(table) <= SCHEMA_VERSION:
            raise StoreError(
                f"{self.address}/{path} has store schema {_version(table)}, this harness reads 1 to "
                f"{SCHEMA_VERSION}; use the version of the harness that wrote it"
            )
        return table


def open_store(store: Path | str) -> StoreReader:
    """Return a reader for a store: a path, or an address such as s3://bucket/folder.

    Raises:
        StoreError: there is no store, or it is out of reach.
    """
    reader = StoreReader(store)
    is_there = (reader.root / "runs").is_dir() if reader.files.is_local else reader.files.names("runs")
    if not is_there:
        raise StoreError(
            f"no store at {reader.address}; `harness run SUITE --store {reader.address}` makes one"
        )
    return reader


def _claimed(metadata: pq.FileMetaData, columns: Sequence[str] | None) -> tuple[int, int]:
    """Return the rows of a file and, where its nested columns are read too, the values in all columns."""
    if columns is not None:
        return metadata.num_rows, 0
    return metadata.num_rows, values_of(metadata)


def _version(table: pa.Table) -> int:
    return version_of(table.schema)


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
    """Return the columns of a run with those that hold JSON as values.

    Raises:
        StoreError: one of them holds something else.
    """
    try:
        return {**run, **{name: parsed_json(name, run[name]) for name in JSON_COLUMNS}}
    except ValueError as error:
        raise StoreError(f"runs/{run['run_id']}.parquet is no file that a harness wrote: {error}") from error


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
