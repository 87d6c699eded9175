"""Over time: `history`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.options import (
    DEFAULT_BASELINES,
    DEFAULT_STORE,
    BaselinesOption,
    JsonOption,
    StoreOption,
    no_option,
    print_json,
)
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.tracking.history.points import Point


def history(
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", "-m", metavar="M", help="A metric or a cost, the primary one by default. Repeatable."
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="V", help="A variant; all by default. Repeatable."),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option("--suite", metavar="S", help="Runs of this suite; of the latest run's by default."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", "-p", metavar="P", help="Runs with this profile; with the latest run's by default."
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    at_least: Annotated[
        float | None,
        typer.Option("--at-least", metavar="X", help="Smallest change that counts, in the metric's unit."),
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(
            "--accept", metavar="RUN", help="Accept the change at this run or commit: the level starts anew."
        ),
    ] = None,
    why: Annotated[str | None, typer.Option("--why", metavar="TEXT", help="Why it is accepted.")] = None,
    baselines: BaselinesOption = DEFAULT_BASELINES,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", callback=no_option, help="Write a page with charts."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how metrics changed over runs: steps, creeps and the commits between which they lie."""
    from harness import evidence
    from harness.terminal.console import stderr, stdout
    from harness.terminal.history_page import print_history
    from harness.tracking.history.document import history_document

    if (accept is None) != (why is None):
        raise HarnessError("--accept RUN and --why TEXT go together: say which change, and why it is meant")
    metrics, variants = tuple(metric or ()), tuple(variant or ())
    if accept is not None and why is not None:
        accepted = evidence.accept_change(
            accept,
            why,
            metrics=metrics,
            variants=variants,
            suite=suite,
            profile=profile,
            store=store,
            baselines=baselines,
        )
        for entry in accepted:
            subject = f"{entry.metric or 'all metrics'}, {entry.variant or 'all variants'}"
            stderr().print(f"accepted {entry.run} ({subject})")
    found = evidence.history(
        metrics=metrics,
        variants=variants,
        suite=suite,
        profile=profile,
        store=store,
        baselines=baselines,
        at_least=at_least,
        html=html,
    )
    if as_json:
        print_json(history_document(found))
        return
    print_history(found, _apart, stdout())
    if html is not None:
        stderr().print(str(html))


def _apart(before: Point, after: Point) -> int | None:
    """Return the commits between two points, as git in the current folder tells."""
    from harness.tracking.revisions import history_between

    if not before.commits or not after.commits:
        return None
    found = history_between(before.commits[-1].id, after.commits[0].id, Path.cwd())
    return found.ahead if found is not None and found.behind == 0 else None
