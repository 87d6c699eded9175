"""How histories are told: in the terminal and in reports alike."""

from __future__ import annotations

from harness.analysis.costs import CostInfo, format_cost
from harness.analysis.wording import (
    counted,
    format_difference,
    format_effect,
    format_half_width,
    format_number,
    format_p,
    format_significant,
    format_value,
    metric_name,
)
from harness.tracking.history.changes import MIN_POINTS
from harness.tracking.history.model import History, Series, SeriesChange
from harness.tracking.history.points import Info, Point


def info_name(info: Info) -> str:
    """Return what a sentence calls a metric or a cost."""
    return info.title.lower() if isinstance(info, CostInfo) else metric_name(info)


def format_level_of(info: Info, value: float) -> str:
    """Return a mean with its unit: "22.0 dB", "4.1 s"."""
    return format_cost(info.name, value) if isinstance(info, CostInfo) else format_value(info, value)


def format_point(info: Info, point: Point) -> tuple[str, str]:
    """Return the mean of a point without its unit, of a cost with it, and its interval: "22.0", "±0.4"."""
    if isinstance(info, CostInfo):
        if point.low is None or point.high is None:
            return format_cost(info.name, point.mean), ""
        ends = ", ".join(format_cost(info.name, end) for end in (point.low, point.high))
        return format_cost(info.name, point.mean), f"[{ends}]"
    half = "" if point.high is None else format_half_width(info, point.high - point.mean)
    return format_number(info, point.mean), half


def format_size(info: Info, size: float, low: float | None, high: float | None) -> str:
    """Return the size of a change with its interval: "+3.2 [+3.0, +3.3]", of a cost "×1.2 [×1.1, ×1.3]"."""
    if not isinstance(info, CostInfo):
        return format_effect(info, size, low, high)
    if not info.measured:
        return format_cost(info.name, size)
    interval = "" if low is None or high is None else f" [{_ratio(low)}, {_ratio(high)}]"
    return _ratio(size) + interval


def tell_change(series: Series, change: SeriesChange, apart: int | None = None) -> str:
    """Return one change in one line, with the word that says which way it goes.

    Args:
        series: its history.
        change: one of its changes.
        apart: commits from the last before to the first after it, where git knows.
    """
    direction = "better" if change.better else "worse"
    return f"{change.shape}: {direction}, {tell_size(series, change, apart)}"


def tell_size(series: Series, change: SeriesChange, apart: int | None = None) -> str:
    """Return levels, size and commits of a change, and p or the reason why it is accepted."""
    info = series.info
    levels = " → ".join(format_level_of(info, level) for level in (change.before, change.after))
    size = format_size(info, change.size, change.low, change.high)
    commits = "" if apart is None else f", {counted(apart, 'commit')}"
    points = f" over {change.end - change.start} points" if change.shape == "creep" else ""
    said = f"{levels} ({size}){points}, {change.between}{commits}"
    if change.entry is not None:
        return f"{said}: {change.entry.why}"
    return f"{said}, {format_p(change.p)}" if change.p is not None else said


def tell_left_out(series: Series) -> list[str]:
    """Return one line for every reason for which runs are no points."""
    runs: dict[str, list[str]] = {}
    for one in series.left_out:
        runs.setdefault(one.reason, []).append(one.run)
    return [
        f"left out: {found[-1]} {reason}"
        if len(found) == 1
        else f"left out: {len(found)} runs, the last {found[-1]}: each {reason}"
        for reason, found in runs.items()
    ]


def tell_runs(history: History) -> str:
    """Return how many runs a history is read from: "30 runs", "the latest 200 of 260 runs"."""
    every = history.runs + history.earlier
    runs = counted(every, "run")
    return f"the latest {history.runs} of {runs}" if history.earlier else runs


def tell_state(series: Series) -> str:
    """Return what a history says where no change is found; "" where one is."""
    if not series.judged:
        anew = " since the accepted change" if series.used else ""
        return f"too few points{anew}: {series.counted} of {MIN_POINTS}"
    return "" if series.alarms else f"no change found in {series.counted} points"


def tell_bound(series: Series) -> str:
    """Return the smallest change that counts and why; "" where nothing is judged."""
    if series.bound is None:
        return ""
    return f"changes below {_bound(series)} count as none ({series.bound_source})"


def _bound(series: Series) -> str:
    assert series.bound is not None, "only where something is judged"
    if series.is_ratio:
        return f"{100 * series.bound:.1f}%"
    if isinstance(series.info, CostInfo):
        return format_cost(series.info.name, series.bound)
    return format_difference(series.info, series.bound, signed=False)


def _ratio(value: float) -> str:
    return f"×{format_significant(value)}"
