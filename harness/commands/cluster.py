"""Clusters: `cluster kinds`, `render`, `up`, `submit`, `status`, `logs`, `down`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.commands import study
from harness.commands.options import JsonOption, no_option, print_json
from harness.errors import HarnessError

KindArgument = Annotated[str, typer.Argument(metavar="KIND", help="A kind, as `cluster kinds` lists them.")]
NameArgument = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="The cluster; none is needed where one alone is up.")
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the cluster. Repeatable."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the commands that it takes, and make none.")
]
OWN_OPTIONS = ("--executor", "--address", "--cpus")
"""Options of `run` that a cluster decides."""

cluster = typer.Typer(
    help="Clusters: manifests, and the tools that they are handed to.", no_args_is_help=True
)


@cluster.command("kinds")
def kinds(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="Tell the settings of this one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the kinds of clusters, or all settings of one with default, unit and meaning."""
    from harness.launch.kinds import KINDS, kind_named
    from harness.launch.settings import described
    from harness.terminal.cluster_page import print_kinds, print_settings
    from harness.terminal.console import stdout

    if kind is None:
        titles = {one.name: one.title for one in KINDS.values()}
        print_json(titles) if as_json else print_kinds(titles, stdout())
        return
    found = described(kind_named(kind).settings)
    print_json([asdict(one) for one in found]) if as_json else print_settings(found, stdout())


@cluster.command("render")
def render(
    kind: KindArgument,
    set_: SettingOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", callback=no_option, help="File to write; a folder for several manifests."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fill the manifests of a kind with settings and print them; nothing is started."""
    from harness.launch.control import render, write_manifests
    from harness.terminal.cluster_page import print_manifests

    manifests = render(kind, set_ or ())
    if out is not None:
        for file in write_manifests(manifests, out):
            typer.echo(f"wrote {file}", err=True)
    if as_json:
        print_json(manifests)
    elif out is None:
        print_manifests(manifests)


@cluster.command("up")
def up(
    target: Annotated[str, typer.Argument(metavar="KIND|FILE", help="A kind, or the file of a manifest.")],
    set_: SettingOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Make a cluster: fill its manifest and hand it to the tool of its kind."""
    from harness.launch import control
    from harness.terminal.cluster_page import print_commands, print_up
    from harness.terminal.console import stdout

    step = control.up(target, set_ or (), dry_run=dry_run)
    print_commands(step.commands) if dry_run else print_up(step, stdout())


@cluster.command("submit", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def submit(
    context: typer.Context,
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite of this folder, or a known one.")],
    on: Annotated[
        str | None, typer.Option(metavar="NAME", help="The cluster; none is needed where one alone is up.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Where results are kept, if not where the cluster's settings say.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Run a suite on a cluster. Options of `harness run`, such as --profile and --seeds, may follow."""
    from harness.launch import control
    from harness.terminal.cluster_page import print_commands, print_submitted
    from harness.terminal.console import stdout

    _require_run_options(context.args)
    step = control.submit(suite, context.args, on=on, store=store, dry_run=dry_run)
    print_commands(step.commands) if dry_run else print_submitted(step, stdout())


@cluster.command("status")
def status(
    name: NameArgument = None,
    all_: Annotated[
        bool, typer.Option("--all", help="List the clusters of this project, asking no tool.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the tool of a cluster where it stands."""
    from harness.launch import control
    from harness.launch.state import known
    from harness.terminal.cluster_page import print_clusters, print_commands
    from harness.terminal.console import stdout

    if all_ or as_json:
        found = known()
        print_json([asdict(one) for one in found]) if as_json else print_clusters(found, stdout())
        return
    step = control.status(name, dry_run=dry_run)
    if dry_run:
        print_commands(step.commands)


@cluster.command("logs")
def logs(
    name: NameArgument = None,
    lines: Annotated[int, typer.Option(min=1, max=100_000, help="Lines from the end.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is written.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Print the end of what the newest job of a cluster printed."""
    from harness.launch import control
    from harness.terminal.cluster_page import print_commands

    step = control.logs(name, lines=lines, follow=follow, dry_run=dry_run)
    if dry_run:
        print_commands(step.commands)


@cluster.command("down")
def down(name: NameArgument = None, dry_run: DryRunOption = False) -> None:
    """End a cluster: its machines, pods or job."""
    from harness.launch import control
    from harness.terminal.cluster_page import print_commands

    step = control.down(name, dry_run=dry_run)
    print_commands(step.commands) if dry_run else typer.echo(f"{step.cluster.name} is down")


def _require_run_options(words: list[str]) -> None:
    """Refuse here what `harness run` would refuse on the cluster, minutes later.

    Raises:
        HarnessError: an option that `run` does not have, or that the cluster decides.
    """
    for word in words:
        if word.partition("=")[0] in OWN_OPTIONS:
            raise HarnessError(f"{word.partition('=')[0]} is decided by the cluster; leave it out")
    application = typer.Typer(add_completion=False)
    application.command("run")(study.run)
    typer.main.get_command(application).make_context("harness run", ["SUITE", *words])
