"""The command line: one thin function per command, over the functions that Python code calls too."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
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
SkipBrokenOption = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out variants that are wrong, in place of refusing.")
]
PreflightOption = Annotated[
    bool, typer.Option("--preflight/--no-preflight", help="Build and try every distinct model first.")
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
    preflight: PreflightOption = True,
    skip_broken: SkipBrokenOption = False,
) -> None:
    """Run what is missing of a suite, then report.

    Trials that the store holds as complete are not run again. Ctrl-C writes checkpoints;
    the same command goes on where it stopped.
    """
    from harness import api
    from harness.store.read import open_store
    from harness.terminal.board import Board, announce, conclude, showing
    from harness.terminal.console import stderr, stdout

    prepared = api.prepare(
        suite,
        profile=profile,
        overrides=set_ or (),
        seeds=seeds,
        only=only or (),
        store=store,
        cpus=cpus,
        fresh=fresh,
        skip_broken=skip_broken,
    )
    if preflight:
        prepared = prepared.checked(skip_broken=skip_broken)
    prepared = prepared.within_budget()
    progress = stderr()
    announce(prepared, progress)
    board = Board.of(prepared)
    with showing(board, progress) as listener:
        outcome = api.execute(prepared, executor=executor, address=address, listener=listener)
    if outcome.over_budget:
        progress.print(
            f"stopped by the budget: {outcome.over_budget}; the same command goes on from here, "
            "if what is left fits into the budget"
        )
        raise typer.Exit(EXIT_FAILED)
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
    preflight: Annotated[
        bool | None,
        typer.Option(
            "--preflight/--no-preflight",
            help="Try models and time steps; done by default unless the plan is large.",
        ),
    ] = None,
    skip_broken: SkipBrokenOption = False,
    diff: Annotated[
        str | None,
        typer.Option(metavar="OTHER", help="Show what changes from a suite, a plan as JSON, or a run."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a suite would run: variants, seeds, what is missing, and what it takes.

    Models are tried, and steps timed, for a second or two, and not at all where there are more
    than a thousand trials; `validate` and `run` try every distinct model.
    """
    from harness import api
    from harness.planning.difference import compare_plans
    from harness.terminal.console import stdout
    from harness.terminal.plan_page import print_difference, print_plan

    prepared = api.prepare(
        suite,
        profile=profile,
        overrides=set_ or (),
        seeds=seeds,
        only=only or (),
        store=store,
        cpus=cpus,
        skip_broken=skip_broken,
    )
    if diff is not None:
        found = compare_plans(api.other_plan(diff, profile=profile, store=store), prepared.plan)
        _print_json(asdict(found)) if as_json else print_difference(found, stdout())
        return
    if preflight is None:
        preflight = len(prepared.plan.trials) <= api.LARGE
    if preflight:
        prepared = prepared.checked(seconds=api.PLAN_SECONDS, skip_broken=skip_broken)
    timing = api.TIMING_SECONDS if preflight else 0.0
    refusal: HarnessError | None = None
    try:
        prepared = prepared.within_budget(timing_seconds=timing)
    except HarnessError as error:  # told when it is seen what takes how much
        refusal = error
    expected = prepared.estimate(timing_seconds=timing)
    if as_json:
        _print_json(prepared.to_json(expected))
    else:
        print_plan(prepared, expected, stdout())
    if refusal is not None:
        raise refusal


@app.command()
def validate(
    suites: Annotated[list[str], typer.Argument(metavar="SUITE...", help="Suite files, or names of suites.")],
    profile: ProfileOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find everything that is wrong with suites; nothing runs but one small step of each distinct model.

    Without --profile a suite is checked as it stands and under each of its profiles.
    """
    from harness import api
    from harness.terminal.console import stdout
    from harness.terminal.plan_page import print_validation

    found = [one for name in suites for one in api.validate(name, profile=profile, overrides=set_ or ())]
    _print_json([asdict(one) for one in found]) if as_json else print_validation(found, stdout())
    if any(one.problems for one in found):
        raise typer.Exit(EXIT_BAD_INPUT)


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


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help="Such as losses or ablations; none tells the kinds."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List what there is to choose from: suites, ablations, components, metrics, templates."""
    from harness import manual
    from harness.terminal.console import stdout
    from harness.terminal.pages import print_entries, print_kinds

    if kind is None:
        counts = manual.counts()
        _print_json(counts) if as_json else print_kinds(counts, stdout())
        return
    entries = manual.entries(kind)
    _print_json([asdict(entry) for entry in entries]) if as_json else print_entries(entries, stdout())


@app.command()
def show(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Such as model, ablation or metric.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `harness list`, or module:Name.")],
    as_json: JsonOption = False,
) -> None:
    """Show all about one name: settings with defaults and ranges, levels, claims, what it is for."""
    from harness import manual
    from harness.terminal.console import stdout
    from harness.terminal.pages import print_page

    page = manual.page(kind, name)
    _print_json(asdict(page)) if as_json else print_page(page, stdout())


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="File to write, in place of standard output.")] = None,
) -> None:
    """Print the JSON Schema of a suite, which lets an editor complete and check suites."""
    from harness.schema import header, suite_schema, write_schema

    if out is None:
        _print_json(suite_schema())
        return
    write_schema(out)
    typer.echo(f"wrote {out}; a suite beside it begins with\n{header(out.name)}")


@app.command()
def doctor(
    store: StoreOption = DEFAULT_STORE,
    deep: Annotated[bool, typer.Option("--deep", help="Also start Ray, which takes some 20 s.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at this machine and installation: what is right, what is wrong, and the way out."""
    from harness.api import cache_folder
    from harness.doctor import examine
    from harness.terminal.console import stdout
    from harness.terminal.pages import print_findings

    findings = examine(store=store.expanduser().resolve(), cache=cache_folder(), deep=deep)
    if as_json:
        _print_json([finding.to_json() for finding in findings])
    else:
        print_findings(findings, stdout())
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(EXIT_BAD_INPUT)


@app.command()
def weights(
    suite: SuiteArgument,
    profile: ProfileOption = None,
    set_: SetOption = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Get the files that are missing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the files of published weights that a suite reads, and whether they are here."""
    from harness import needs
    from harness.terminal.console import stdout
    from harness.terminal.pages import print_needs

    needed = needs.weights_of_suite(suite, profile=profile, overrides=set_ or ())
    problems = needs.fetch(needed) if fetch else []
    if as_json:
        _print_json([need.to_json() for need in needed])
    else:
        print_needs(needed, stdout())
    if problems:
        raise HarnessError("\n".join(problems))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
) -> None:
    """Write a project of your own: a suite that runs at once, an ablation and a loss to change."""
    from harness.project import create_project, next_commands

    create_project(folder)
    typer.echo("\n".join(next_commands(folder)))


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def main() -> None:
    """Run the command line; user errors become one message and exit code 2."""
    try:
        app()
    except HarnessError as error:
        _fail(str(error), error.exit_code)
    except ImportError as error:
        if (error.name or "").startswith("harness"):
            raise
        _fail(f"{error}; `harness doctor` tells what this installation lacks", EXIT_BAD_INPUT)


def _fail(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)
