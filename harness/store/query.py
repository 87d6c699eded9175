"""SQL over a store, by DuckDB."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from harness.errors import HarnessError, did_you_mean
from harness.store.read import open_store
from harness.visible import visible, visible_json

FORMATS = ("table", "csv", "json")
MOST_BYTES = 256 << 20
"""Of an answer, as Arrow counts them; as Python values it takes several times as much."""
ROWS_AT_ONCE = 10_000
SEALED = {
    "enable_external_access": "false",  # files, networks, extensions
    "python_enable_replacements": "false",  # the variables of this program are no tables
    "memory_limit": "4GB",
    "temp_directory": "",
}
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
IMAGES = re.compile(r"\bimages\b", re.IGNORECASE)
FORMULA = re.compile(r"[=+\-@\t\r]")
"""What a text begins with that a spreadsheet would compute, or run."""


@dataclass(frozen=True)
class Answer:
    """Rows of a query, as Python values."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def query_store(sql: str, store: Path | str) -> Answer:
    """Return the result of a DuckDB statement over the store's tables.

    The statement sees the tables alone: it can read and write no file, and what it computes is bounded.

    Raises:
        HarnessError: the statement is wrong, its answer too large, or there is no store.
    """
    reader = open_store(store)
    tables = reader.tables()
    if IMAGES.search(sql):  # a file a trial: read for those alone who ask for them
        tables["images"] = reader.images(tables["artifacts"])
    connection = duckdb.connect(":memory:", config=SEALED)
    with connection:
        connection.execute("set TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table)
        connection.execute("set lock_configuration = true")
        try:
            found = connection.sql(sql)
            answer = None if found is None else _answer(_bounded(found.to_arrow_reader(ROWS_AT_ONCE)))
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # of Arrow: a text of 2 GiB, for one
            names = ", ".join(dict.fromkeys([*tables, "images"]))
            raise HarnessError(f"the query failed: {error}\ntables are {names}") from None
    if answer is not None and len(set(answer.columns)) < len(answer.columns):
        raise HarnessError(f"two columns have one name: {', '.join(answer.columns)}; use AS")
    if answer is None:
        raise HarnessError("the statement gives no rows; ask with SELECT")
    return answer


def _bounded(reader: pa.RecordBatchReader) -> pa.Table:
    """Return all rows.

    Raises:
        HarnessError: they are too many.
    """
    batches, size = [], 0
    for batch in reader:
        batches.append(batch)
        size += batch.nbytes
        if size > MOST_BYTES:
            rows = sum(map(len, batches))
            raise HarnessError(
                f"the answer is larger than {MOST_BYTES >> 20} MiB, at {rows} rows; "
                "ask for less: an aggregate, WHERE, or LIMIT"
            )
    return pa.Table.from_batches(batches, reader.schema)


def _answer(table: pa.Table) -> Answer:
    """Return an Arrow table as Python values; DuckDB's own rows need pytz for moments with a time zone."""
    columns = [_values(column) for column in table.columns]
    return Answer(table.column_names, list(zip(*columns, strict=True)))


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Return a column; sums of integers, 128 bits wide in DuckDB, are integers and not decimals."""
    values: list[Any] = column.to_pylist()
    if pa.types.is_decimal(column.type) and column.type.scale == 0:
        return [None if value is None else int(value) for value in values]
    if pa.types.is_interval(column.type):
        return [None if value is None else _duration(value) for value in values]
    return values


def _duration(value: pa.MonthDayNano) -> timedelta:
    """Return an interval as DuckDB does: a month has 30 days."""
    return timedelta(days=30 * value.months + value.days, microseconds=value.nanoseconds // 1000)


def print_query(sql: str, store: Path | str, format_: str) -> None:
    """Print the result of a statement as a table, as CSV or as JSON.

    Raises:
        HarnessError: the statement or the format is wrong, or there is no store.
    """
    if format_ not in FORMATS:
        raise HarnessError(f"no format '{format_}'{did_you_mean(format_, FORMATS)}")
    answer = query_store(sql, store)
    if format_ == "json":
        records = [
            {column: _json_value(value) for column, value in zip(answer.columns, row, strict=True)}
            for row in answer.rows
        ]
        print(visible_json(json.dumps(records, indent=2, ensure_ascii=False, default=str, allow_nan=False)))
    elif format_ == "csv":
        rows = [[_csv_value(value) for value in row] for row in (answer.columns, *answer.rows)]
        csv.writer(sys.stdout).writerows(rows)
    else:
        _print_table(answer)


def _json_value(value: Any) -> Any:
    """Return a value that JSON has: NaN and the infinities become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv_value(value: Any) -> Any:
    """Return a value as CSV holds it: a text that a spreadsheet would take for a formula begins with '."""
    if not isinstance(value, str):
        return value
    text = visible(value) if sys.stdout.isatty() else value
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def _print_table(answer: Answer) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim")
    for index, column in enumerate(answer.columns):
        numeric = bool(answer.rows) and all(isinstance(row[index], (int, float)) for row in answer.rows)
        table.add_column(visible(column), justify="right" if numeric else "left", overflow="fold")
    for row in answer.rows:
        table.add_row(*(Text("" if value is None else visible(str(value))) for value in row))
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=10_000)
    console.print(table)
