"""What a store holds: `report`, `verdicts`, `query`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import (
    DEFAULT_STORE,
    JsonOption,
    RunArgument,
    StoreOption,
    print_json,
)


def report(
    run_id: RunArgument = "latest",
    store: StoreOption = DEFAULT_STORE,
    template: Annotated[str | None, typer.Option(help="Template, in place of the suite's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to, in place of the store's.")] = None,
) -> None:
    """Write the report of a run: one HTML file, and Markdown with its pictures."""
    from harness import api

    written = api.report(run_id, store=store, template=template, out=out)
    typer.echo(written.html)
    typer.echo(written.markdown)


def verdicts(
    run_id: RunArgument = "latest",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Print what the analysis says of a run, without a report: claims, and effects on the primary metric.

    With --json all of it; the same store gives the same bytes on every machine.
    """
    from harness import evidence
    from harness.store.read import open_store
    from harness.terminal.console import stdout
    from harness.terminal.verdicts_page import print_verdicts

    if as_json:
        print_json(evidence.verdicts(run_id, store=store))
    else:
        print_verdicts(open_store(store).run(run_id), stdout())


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A statement in DuckDB's SQL.")],
    store: StoreOption = DEFAULT_STORE,
    format_: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Ask the store: tables runs, trials, metrics, costs, artifacts and attempts.

    A trial that was tried several times stands once in all but `attempts`.
    """
    from harness.store.query import print_query

    print_query(sql, store, format_)
