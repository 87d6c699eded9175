"""Runs against those before them: `baseline`, `gate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import (
    DEFAULT_BASELINES,
    DEFAULT_STORE,
    EXIT_INCONCLUSIVE,
    EXIT_REGRESSED,
    BaselinesOption,
    JsonOption,
    RunArgument,
    StoreOption,
    no_option,
    print_json,
)

baseline = typer.Typer(
    help="Stored runs that later runs are gated against.", no_args_is_help=True, rich_markup_mode=None
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the baseline.")]
KeepOption = Annotated[int, typer.Option("--keep", min=1, max=1000, help="Runs that are kept.")]


@baseline.command("set")
def set_(
    name: NameArgument,
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, the oldest first.")],
    store: StoreOption = DEFAULT_STORE,
    baselines: BaselinesOption = DEFAULT_BASELINES,
    keep: KeepOption = 20,
) -> None:
    """Make runs the baseline, in place of what it was: after a change that is accepted."""
    from harness import evidence
    from harness.terminal.console import stdout
    from harness.terminal.gate_page import print_change

    print_change(evidence.set_baseline(name, runs, store=store, baselines=baselines, keep=keep), stdout())


@baseline.command("add")
def add(
    name: NameArgument,
    run_id: RunArgument = "latest",
    store: StoreOption = DEFAULT_STORE,
    baselines: BaselinesOption = DEFAULT_BASELINES,
    keep: KeepOption = 20,
) -> None:
    """Add a run to the baseline: one more commit of the same level."""
    from harness import evidence
    from harness.terminal.console import stdout
    from harness.terminal.gate_page import print_change

    print_change(
        evidence.add_to_baseline(name, run_id, store=store, baselines=baselines, keep=keep), stdout()
    )


@baseline.command("list")
def list_(baselines: BaselinesOption = DEFAULT_BASELINES, as_json: JsonOption = False) -> None:
    """List the baselines of a folder."""
    from harness.terminal.console import stdout
    from harness.terminal.gate_page import print_baselines
    from harness.tracking.baseline.file import baseline_names, read_baseline
    from harness.tracking.baseline.summary import summary_of

    found = [summary_of(read_baseline(name, baselines)) for name in baseline_names(baselines)]
    print_json([one.brief() for one in found]) if as_json else print_baselines(found, stdout())


@baseline.command("show")
def show(
    name: NameArgument, baselines: BaselinesOption = DEFAULT_BASELINES, as_json: JsonOption = False
) -> None:
    """Show the runs of a baseline, and per variant the level and the spread between commits."""
    from harness.terminal.console import stdout
    from harness.terminal.gate_page import print_baseline
    from harness.tracking.baseline.file import read_baseline
    from harness.tracking.baseline.summary import summary_of

    found = summary_of(read_baseline(name, baselines))
    print_json(found.to_json()) if as_json else print_baseline(found, stdout())


@baseline.command("remove")
def remove(name: NameArgument, baselines: BaselinesOption = DEFAULT_BASELINES) -> None:
    """Remove a baseline's file."""
    from harness.tracking.baseline.file import remove_baseline

    typer.echo(f"removed {remove_baseline(name, baselines)}")


def gate(
    run_id: RunArgument = "latest",
    against: Annotated[str, typer.Option(metavar="NAME", help="The baseline.")] = "main",
    store: StoreOption = DEFAULT_STORE,
    baselines: BaselinesOption = DEFAULT_BASELINES,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="M", help="Gate this metric, in place of the primary one. Repeatable."),
    ] = None,
    variant: Annotated[
        list[str] | None, typer.Option(metavar="V", help="Gate this variant alone. Repeatable.")
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(metavar="M=X", help="A drop that does not matter: delta_e=0.5, or 2%. Repeatable."),
    ] = None,
    gate_cost: Annotated[
        list[str] | None,
        typer.Option(metavar="C=R", help="Gate a cost, too: train_seconds=1.2. Repeatable."),
    ] = None,
    costs: Annotated[bool, typer.Option("--costs", help="Show costs.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Show all other metrics.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on what is inconclusive, too.")] = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=no_option, help="Write JUnit XML.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=no_option, help="Write Markdown.")
    ] = None,
    json_: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE",
            callback=no_option,
            help="Write JSON; - prints it in place of the table.",
        ),
    ] = None,
) -> None:
    """Judge a run against a baseline: exit code 0 passes, 3 is a regression.

    4 is inconclusive under --strict, 2 bad input.
    """
    from harness import evidence
    from harness.terminal.console import stdout
    from harness.terminal.gate_page import print_gate
    from harness.tracking.gate.documents import gate_document, write_documents

    found = evidence.gate(
        run_id,
        against=against,
        store=store,
        baselines=baselines,
        metrics=metric or (),
        variants=variant or (),
        margins=margin or (),
        cost_limits=gate_cost or (),
        costs=costs,
        all_metrics=all_,
    )
    as_file = None if json_ in (None, "-") else Path(json_)
    write_documents(found, strict=strict, junit=junit, markdown=markdown, json_=as_file)
    if json_ == "-":
        print_json(gate_document(found))
    else:
        print_gate(found, stdout(), strict=strict)
    if found.verdict == "regressed":
        raise typer.Exit(EXIT_REGRESSED)
    if found.verdict == "inconclusive" and strict:
        raise typer.Exit(EXIT_INCONCLUSIVE)
