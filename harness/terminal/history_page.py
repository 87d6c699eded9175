"""What `harness history` prints: levels, and the changes between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import Console
from rich.text import Text

from harness.terminal.console import plain_table
from harness.tracking.history.changes import MIN_POINTS
from harness.tracking.history.model import History, Series, SeriesChange
from harness.tracking.history.points import Info, Point
from harness.tracking.history.wording import (
    format_level_of,
    info_name,
    tell_bound,
    tell_change,
    tell_left_out,
    tell_runs,
    tell_state,
)

Distance = Callable[[Point, Point], int | None]
"""Commits between two points; none where git does not know them."""


def print_history(history: History, distance: Distance, console: Console) -> None:
    """Print what every variant's history says, metric by metric."""
    profile = f"{history.profile} profile" if history.profile else "no profile"
    console.print(f"{history.suite}  {profile}  {tell_runs(history)}")
    for info in history.infos:
        console.print()
        _print_metric(info, history.of(info), distance, console)


def _print_metric(info: Info, series: tuple[Series, ...], distance: Distance, console: Console) -> None:
    console.print(Text(f"{info_name(info)}, {info.direction} is better", style="bold"))
    table = plain_table()
    table.add_column("variant", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("level", justify="right", no_wrap=True)
    table.add_column("changes", overflow="fold")
    for one in series:
        level = "–" if one.level is None else format_level_of(info, one.level)
        table.add_row(one.title, _points(one), level, Text("\n").join(_lines(one, distance)))
    console.print(table)
    for line in _notes(series):
        console.print(f"  {line}", style="dim")


def _points(series: Series) -> str:
    return str(series.counted) if not series.used else f"{series.counted} of {len(series.points)}"


def _lines(series: Series, distance: Distance) -> list[Text]:
    told = [_told(series, change, distance) for change in series.changes]
    state = tell_state(series)
    return [*told, *([Text(state, style="dim")] if state else [])]


def _told(series: Series, change: SeriesChange, distance: Distance) -> Text:
    apart = distance(series.points[change.start], series.points[change.end])
    if change.shape == "accepted":
        sign, colour = "○", "dim"
    else:
        sign, colour = ("✓", "green") if change.better else ("✗", "red")
    return Text.assemble((f"{sign} ", colour), tell_change(series, change, apart))


def _notes(series: tuple[Series, ...]) -> Iterator[str]:
    """Yield what is to be known of the series; what is the same for all of them once."""
    told: dict[str, list[str]] = {}
    for one in series:
        for line in (*filter(None, [tell_bound(one)]), *_events(one), *one.notes, *tell_left_out(one)):
            told.setdefault(line, []).append(one.title)
    for line, titles in told.items():
        yield line if len(titles) == len(series) else f"{', '.join(titles)}: {line}"
    if not any(one.judged for one in series):
        yield f"a change is looked for once there are {MIN_POINTS} points"


def _events(series: Series) -> Iterator[str]:
    for event in series.events:
        yield f"at {series.points[event.at].first}: {event.text}"
