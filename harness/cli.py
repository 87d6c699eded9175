"""The command line: one thin function per command, over the functions that Python code calls too."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from harness import __version__
from harness.errors import HarnessError

app = typer.Typer(
    name="harness",
    help="Plan, run, keep and judge ablation studies.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SuiteArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="A suite file, or the name of a known suite.")
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a unique prefix, or `latest`.")]
StoreOption = Annotated[
    Path, typer.Option("--store", envvar="HARNESS_STORE", help="Folder that results are kept in.")
]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", "-p", help="A profile of the suite, such as smoke or laptop.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a setting: base.train.epochs=2. Repeatable."),
]
SeedsOption = Annotated[int | None, typer.Option("--seeds", min=1, help="Number of seeds.")]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="FACTOR=LEVEL", help="Run this level and the reference only. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
DEFAULT_STORE = Path("runs")

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run(
    suite: SuiteArgument,
    profile: ProfileOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    only: OnlyOption = None,
    store: StoreOption = DEFAULT_STORE,
    executor: Annotated[str, typer.Option(help="Where trials run: `ray` or `local`.")] = "ray",
    address: Annotated[
        str | None, typer.Option(help="Address of a running Ray cluster; none starts Ray here.")
    ] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs to use; all there are by default.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run trials again that the store holds.")] = False,
) -> None:
    """Run what is missing of a suite, then report.

    Trials that the store holds as complete are not run again. Ctrl-C writes checkpoints;
    the same command goes on where it stopped.
    """
    from harness import api
    from harness.store.read import open_store
    from harness.terminal import Board, announce, conclude, showing, stderr, stdout

    prepared = api.prepare(
        suite,
        profile=profile,
        overrides=set_ or (),
        seeds=seeds,
        only=only or (),
        store=store,
        cpus=cpus,
        fresh=fresh,
    )
    progress = stderr()
    announce(prepared, progress)
    board = Board.of(prepared)
    with showing(board, progress) as listener:
        outcome = api.execute(prepared, executor=executor, address=address, listener=listener)
    if outcome.interrupted:
        progress.print("interrupted; the same command goes on where this one stopped")
        raise typer.Exit(EXIT_INTERRUPTED)
    record = open_store(store).run(outcome.run_id)
    written = api.report(outcome.run_id, store=store)
    conclude(record, written, stdout())
    if outcome.failed:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def plan(
    suite: SuiteArgument,
    profile: ProfileOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    only: OnlyOption = None,
    store: StoreOption = DEFAULT_STORE,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs to plan for.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a suite would run: variants, seeds, what is missing, and how long it takes."""
    from harness import api
    from harness.terminal import print_plan, stdout

    prepared = api.prepare(
        suite, profile=profile, overrides=set_ or (), seeds=seeds, only=only or (), store=store, cpus=cpus
    )
    expected = prepared.estimate()
    if as_json:
        print(json.dumps(prepared.to_json(expected), indent=2, ensure_ascii=False))
    else:
        print_plan(prepared, expected, stdout())


@app.command()
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


@app.command()
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


def main() -> None:
    """Run the command line; user errors become one message and exit code 2."""
    try:
        app()
    except HarnessError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", EXIT_INTERRUPTED)


def _fail(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)
