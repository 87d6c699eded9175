"""Two runs, or two variants, side by side: `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import (
    DEFAULT_STORE,
    JsonOption,
    StoreOption,
    no_option,
    print_json,
)

SideHelp = "A run, `latest`, a git revision, a store, STORE::RUN; any of them with :VARIANT; or a variant."


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The earlier side. {SideHelp}")],
    b: Annotated[str, typer.Argument(metavar="B", help="The later side, which is judged against A.")],
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="METRIC", help="Compare this metric alone. Repeatable."),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every metric, not the primary one and the report's alone.")
    ] = False,
    suite: Annotated[str | None, typer.Option(help="Suite whose runs `latest` and revisions mean.")] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", "-p", help="Profile whose runs `latest` and revisions mean."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=no_option, help="Write the page as Markdown, too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs, or two variants: verdict by metric and variant, costs, and what changed.

    The exit code is 0 whatever the verdicts are; `harness gate` is for scripts that decide.
    """
    from harness import evidence

    found = evidence.compare(
        a,
        b,
        store=store,
        suite=suite,
        profile=profile,
        metrics=metric or (),
        every=all_ or as_json,
    )
    if markdown is not None:
        from harness.tracking.comparison.markdown import write_comparison

        write_comparison(found, markdown)
    if as_json:
        from harness.tracking.comparison.document import comparison_document

        print_json(comparison_document(found))
    else:
        from harness.terminal.compare_page import print_comparison
        from harness.terminal.console import stdout

        print_comparison(found, stdout())
