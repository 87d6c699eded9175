"""A history as one JSON document: the same bytes for the same store, wherever it lies."""

from __future__ import annotations

from typing import Any

from harness.analysis.plain_json import plain_value
from harness.tracking.history.changes import MIN_POINTS
from harness.tracking.history.model import History, Series, SeriesChange
from harness.tracking.history.points import Point

SCHEMA = 1


def history_document(history: History) -> dict[str, Any]:
    """Return the history as plain values, floats with 10 significant digits."""
    document: dict[str, Any] = plain_value(
        {
            "schema": SCHEMA,
            "suite": history.suite,
            "profile": history.profile,
            "runs": history.runs,
            "earlier_runs_not_read": history.earlier,
            "points_needed": MIN_POINTS,
            "series": [_series(series) for series in history.series],
        }
    )
    return document


def _series(series: Series) -> dict[str, Any]:
    return {
        "metric": series.info.name,
        "variant": series.variant,
        "direction": series.info.direction,
        "changes_are": "ratios" if series.is_ratio else "differences",
        "judged": series.judged,
        "points_counted": series.counted,
        "level": series.level,
        "noise": series.noise,
        "smallest_change": series.bound,
        "smallest_change_is": series.bound_source or None,
        "replicates": series.replicates,
        "changes": [_change(series, change) for change in series.changes],
        "levels": series.lines,
        "points": [_point(point, counts=index >= series.used) for index, point in enumerate(series.points)],
        "events": series.events,
        "left_out": series.left_out,
        "notes": series.notes,
    }


def _change(series: Series, change: SeriesChange) -> dict[str, Any]:
    before, after = series.points[change.start], series.points[change.end]
    return {
        "shape": change.shape,
        "better": change.better,
        "between": change.between,
        "last_before": {"point": change.start, "run": before.run, "commit": _commit(before, -1)},
        "first_after": {"point": change.end, "run": after.runs[0], "commit": _commit(after, 0)},
        "before": change.before,
        "after": change.after,
        "size": change.size,
        "low": change.low,
        "high": change.high,
        "p": change.p,
        "accepted": change.entry,
    }


def _commit(point: Point, index: int) -> str | None:
    return point.commits[index].id if point.commits else None


def _point(point: Point, *, counts: bool) -> dict[str, Any]:
    return {
        "run": point.run,
        "runs": point.runs,
        "commits": point.commits,
        "started": point.started,
        "code_hash": point.code_hash,
        "machine": point.machine,
        "counts": counts,
        "n": point.n,
        "mean": point.mean,
        "low": point.low,
        "high": point.high,
    }
