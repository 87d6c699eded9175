"""SQL over a store, by DuckDB."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from harness.errors import HarnessError, did_you_mean
from harness.store.read import open_store

FORMATS = ("table", "csv", "json")


def query_store(sql: str, store: Path | str) -> pa.Table:
    """Return the result of a DuckDB statement over the store's tables.

    The statement sees the tables alone: it can read and write no file.

    Raises:
        HarnessError: the statement is wrong, or there is no store.
    """
    tables = open_store(store).tables()
    connection = duckdb.connect(":memory:", config={"enable_external_access": "false"})
    with connection:
        for name, table in tables.items():
            connection.register(name, table)
        try:
            answer = connection.sql(sql)
        except duckdb.Error as error:
            raise HarnessError(f"the query failed: {error}\ntables are {', '.join(tables)}") from None
        if answer is None:
            raise HarnessError("the statement gives no rows; ask with SELECT")
        result: pa.Table = answer.to_arrow_table()
    return result


def print_query(sql: str, store: Path | str, format_: str) -> None:
    """Print the result of a statement as a table, as CSV or as JSON.

    Raises:
        HarnessError: the statement or the format is wrong, or there is no store.
    """
    if format_ not in FORMATS:
        raise HarnessError(f"no format '{format_}'{did_you_mean(format_, FORMATS)}")
    result = query_store(sql, store)
    rows = result.to_pylist()
    if format_ == "json":
        print(json.dumps(rows, indent=2, ensure_ascii=False, default=str))
    elif format_ == "csv":
        writer = csv.DictWriter(sys.stdout, fieldnames=result.column_names)
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print_table(result.column_names, rows)


def _print_table(columns: list[str], rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim")
    for column in columns:
        numeric = bool(rows) and all(isinstance(row[column], (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if row[column] is None else str(row[column])) for column in columns))
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=10_000)
    console.print(table)
