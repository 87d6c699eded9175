"""Histories for readers: findings in words, a chart and a table for every variant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.analysis.costs import CostInfo
from harness.analysis.effects import best_variant
from harness.analysis.wording import counted, format_replicates
from harness.reporting.model import (
    COLOURS,
    MARKS,
    Cell,
    Column,
    HistoryChart,
    HistoryLine,
    HistoryMark,
    HistoryMetric,
    HistoryPage,
    HistoryPlot,
    HistoryPoint,
    Row,
    Table,
    Verdict,
)
from harness.reporting.names import Names, slug
from harness.store.read import RunRecord
from harness.tracking.history.changes import MIN_POINTS
from harness.tracking.history.model import History, Series, SeriesChange
from harness.tracking.history.points import Info
from harness.tracking.history.read import LEAST_FOR_REPORT
from harness.tracking.history.wording import (
    format_level_of,
    format_point,
    info_name,
    tell_bound,
    tell_change,
    tell_left_out,
    tell_runs,
    tell_size,
    tell_state,
)

LEAST_POINTS = 2  # of a chart
MOST_TOLD = 3  # events that a chart tells in words
WORSE = Verdict("✕", "worse", "bad")
BETTER = Verdict("✓", "better", "good")
ACCEPTED = Verdict("○", "accepted", "plain")


def history_section(record: RunRecord, names: Names, history: History | None) -> HistoryMetric | None:
    """Return the section of a run's report: the reference and the best variant, then all others.

    None where the store has fewer than two further runs that can be compared.
    """
    if history is None or not history.series:
        return None
    if max(len(one.points) for one in history.series) <= LEAST_FOR_REPORT:
        return None
    best = best_variant(record)
    first = list(dict.fromkeys([history.reference, *([best.variant] if best else [])]))
    series = {one.variant: one for one in history.series}
    order = [*(name for name in first if name in series), *(name for name in series if name not in first)]
    plots = [_plot(series[name], names.colour(name), names.mark(name)) for name in order]
    shown = len([name for name in first if name in series])
    return _metric(history.series[0].info, list(history.series), plots, shown)


def history_page(history: History) -> HistoryPage:
    """Return a page of its own: every metric, every variant."""
    variants = list(dict.fromkeys(one.variant for one in history.series))
    metrics = []
    for info in history.infos:
        series = history.of(info)
        plots = [
            _plot(one, f"v{position % COLOURS + 1}", position // COLOURS % MARKS)
            for one in series
            for position in [variants.index(one.variant)]
        ]
        metrics.append(_metric(info, list(series), plots, len(plots)))
    profile = [f"{history.profile} profile"] if history.profile else []
    runs = tell_runs(history)
    return HistoryPage(
        title=f"History of {history.suite}",
        kicker=" · ".join([history.suite, *profile]),
        lede=(
            f"{runs[:1].upper()}{runs[1:]}, {counted(len(variants), 'variant')}. "
            "A point is the mean of a run that trained anew."
        ),
        metrics=tuple(metrics),
    )


def _metric(info: Info, series: list[Series], plots: list[HistoryPlot], shown: int) -> HistoryMetric:
    more = plots[shown:]
    arrow = "↓" if info.direction == "lower" else "↑"
    return HistoryMetric(
        title=f"{info.title} {arrow}",
        plots=tuple(plots[:shown]),
        more=tuple(more),
        more_title=f"{counted(len(more), 'further variant')}",
        notes=tuple(_metric_notes(series)),
    )


def _metric_notes(series: Sequence[Series]) -> Iterator[str]:
    replicates = next((one.replicates for one in series if one.replicates), ())
    yield (
        f"Points are means over {format_replicates(replicates)} with their 95 % interval, oldest first. "
        "Steps are found by E-divisive and creeps by the trend test of Mann and Kendall, each at the 1 % "
        f"level, from {MIN_POINTS} points on. The interval of a change takes its place as known. Runs share "
        "their seeds, so points may scatter less than their intervals are wide."
    )


def _plot(series: Series, colour: str, mark: int) -> HistoryPlot:
    return HistoryPlot(
        title=series.title,
        colour=colour,
        mark=mark,
        findings=tuple((_verdict(change), _finding(series, change)) for change in series.changes),
        state=_state(series),
        chart=_chart(series, colour) if len(series.points) >= LEAST_POINTS else None,
        table=_table(series),
        notes=tuple(_notes(series)),
    )


def _finding(series: Series, change: SeriesChange) -> str:
    """Return what stands beside the chip, which says the rest."""
    if change.shape == "accepted":
        return tell_change(series, change).removeprefix("accepted: ")
    return f"{change.shape}, {tell_size(series, change)}"


def _state(series: Series) -> str:
    state = tell_state(series)
    level = "" if series.level is None else f"Level {format_level_of(series.info, series.level)}"
    said = f"{level}; {state}" if level and state else level or state
    return f"{said}." if said else ""


def _verdict(change: SeriesChange) -> Verdict:
    if change.shape == "accepted":
        return ACCEPTED
    return BETTER if change.better else WORSE


def _notes(series: Series) -> Iterator[str]:
    if bound := tell_bound(series):
        yield f"{bound[:1].upper()}{bound[1:]}."
    for note in (*series.notes, *tell_left_out(series)):
        yield f"{note[:1].upper()}{note[1:]}."
    if len(series.events) > MOST_TOLD:
        yield f"◆ stands for {len(series.events)} changes of configuration or machine; the table names them."


# --- chart


def _chart(series: Series, colour: str) -> HistoryChart:
    return HistoryChart(
        name=f"history_{slug(series.info.name)}_{slug(series.variant)}_{colour}",
        title=f"{info_name(series.info)} of {series.title} over runs",
        description=_description(series),
        percent=not isinstance(series.info, CostInfo) and series.info.percent,
        colour=colour,
        points=tuple(
            HistoryPoint(point.first, point.mean, point.low, point.high, counts=index >= series.used)
            for index, point in enumerate(series.points)
        ),
        lines=tuple(HistoryLine(line.start, line.end, line.first, line.last) for line in series.lines),
        marks=(*(_mark(change) for change in series.changes), *_event_marks(series)),
    )


def _description(series: Series) -> str:
    told = [tell_change(series, change) for change in series.changes] or [tell_state(series)]
    return f"{series.info.title} of {series.title}, {counted(len(series.points), 'run')}: {'; '.join(told)}"


def _mark(change: SeriesChange) -> HistoryMark:
    verdict = _verdict(change)
    word = f"creeps {verdict.word}" if change.shape == "creep" else verdict.word
    tone = "muted" if verdict is ACCEPTED else verdict.tone
    return HistoryMark(change.start, change.end, change.shape, f"{verdict.sign} {word}", change.between, tone)


def _event_marks(series: Series) -> Iterator[HistoryMark]:
    """Yield what happened besides: in words where there is room for them, else as a sign alone."""
    told = len(series.events) <= MOST_TOLD
    for event in series.events:
        what = f"◆ {event.text.partition(':')[0]}" if told else "◆"
        commit = series.points[event.at].first if told else ""
        yield HistoryMark(event.at - 1, event.at, "event", what, commit, "muted")


# --- table


def _table(series: Series) -> Table:
    info = series.info
    columns = (
        Column(
            "Value",
            info.unit if not isinstance(info, CostInfo) else "",
            "↓" if info.direction == "lower" else "↑",
        ),
        Column("Seeds"),
        Column("Date", numeric=False),
        Column("Run", numeric=False),
        Column("What happened", numeric=False),
    )
    return Table(f"{info.title} of {series.title} by run", "Commit", columns, tuple(_rows(series)))


def _rows(series: Series) -> Iterator[Row]:
    happened: dict[int, list[str]] = {}
    for event in series.events:
        happened.setdefault(event.at, []).append(event.text)
    for change in series.changes:
        happened.setdefault(change.end, []).append(_what(change))
    for index, point in enumerate(series.points):
        value, half = format_point(series.info, point)
        if index < series.used:
            happened.setdefault(index, []).append("before the accepted change")
        cells = (
            Cell(value, half),
            Cell(str(point.n)),
            Cell(f"{point.started.day}\u00a0{point.started:%b}\u00a0{point.started:%Y}"),
            Cell(point.run, code=True),
            Cell("; ".join(happened.get(index, []))),
        )
        yield Row(point.first, cells)


def _what(change: SeriesChange) -> str:
    if change.entry is not None:
        return f"accepted: {change.entry.why}"
    direction = "better" if change.better else "worse"
    return f"a step {direction}" if change.shape == "step" else f"end of a creep {direction}"
