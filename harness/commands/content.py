"""What there is to choose from and to install: `list`, `show`, `schema`, `doctor`, `weights`, `init`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import (
    DEFAULT_STORE,
    EXIT_BAD_INPUT,
    JsonOption,
    ProfileOption,
    SetOption,
    StoreOption,
    SuiteArgument,
    print_json,
)
from harness.errors import HarnessError


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
        print_json(counts) if as_json else print_kinds(counts, stdout())
        return
    entries = manual.entries(kind)
    print_json([asdict(entry) for entry in entries]) if as_json else print_entries(entries, stdout())


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
    print_json(asdict(page)) if as_json else print_page(page, stdout())


def schema(
    out: Annotated[Path | None, typer.Option(help="File to write, in place of standard output.")] = None,
) -> None:
    """Print the JSON Schema of a suite, which lets an editor complete and check suites."""
    from harness.schema import header, suite_schema, write_schema

    if out is None:
        print_json(suite_schema())
        return
    write_schema(out)
    typer.echo(f"wrote {out}; a suite beside it begins with\n{header(out.name)}")


def doctor(
    store: StoreOption = DEFAULT_STORE,
    deep: Annotated[bool, typer.Option("--deep", help="Also start Ray, which takes some 20 s.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at this machine and installation: what is right, what is wrong, and the way out."""
    from harness.data.cache import cache_folder
    from harness.doctor import examine
    from harness.terminal.console import stdout
    from harness.terminal.pages import print_findings

    findings = examine(store=store, cache=cache_folder(), deep=deep)
    if as_json:
        print_json([finding.to_json() for finding in findings])
    else:
        print_findings(findings, stdout())
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(EXIT_BAD_INPUT)


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
        print_json([need.to_json() for need in needed])
    else:
        print_needs(needed, stdout())
    if problems:
        raise HarnessError("\n".join(problems))


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
) -> None:
    """Write a project of your own: a suite that runs at once, an ablation and a loss to change."""
    from harness.project import create_project, next_commands

    create_project(folder)
    typer.echo("\n".join(next_commands(folder)))
