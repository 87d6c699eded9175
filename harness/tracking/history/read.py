"""The history of a metric: one value for each run that trained anew, and the changes between them.

What is a point, and which points may be compared, is decided in points.py; what is a change, in
changes.py. docs/regression.md has the rules in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.analysis.costs import COST_INFOS
from harness.analysis.values import resolve_metric
from harness.errors import HarnessError, did_you_mean
from harness.plan import Plan
from harness.provenance import short_commit
from harness.store.read import StoreReader
from harness.tracking.history.accepted import Accepted
from harness.tracking.history.changes import MIN_POINTS, Change, Level, find_changes
from harness.tracking.history.model import History, Line, Series, SeriesChange
from harness.tracking.history.points import (
    Info,
    Observation,
    Point,
    Points,
    as_shown,
    as_tested,
    is_ratio,
    observe,
    points_of,
)

MOST_RUNS = 200  # the latest ones, that a history is read from; time grows with their square
MOST_FOR_REPORT = 60  # the same for a report, which should not take longer with every run
LEAST_FOR_REPORT = 2  # further points that a report of a run shows a history with


def runs_of(
    reader: StoreReader, suite: str | None = None, profile: str | None = None, until: str | None = None
) -> list[dict[str, Any]]:
    """Return the runs of one suite under one profile, oldest first: those of the latest run where not named.

    Args:
        reader: of the store.
        suite: its name.
        profile: its name.
        until: a run's id; later ones are left out.

    Raises:
        HarnessError: there is no such run.
    """
    rows = reader.run_rows()
    if until is not None:
        rows = rows[: [row["run_id"] for row in rows].index(until) + 1]
    found = [row for row in rows if suite in (None, row["suite"]) and profile in (None, row["profile"])]
    if not found:
        raise _no_runs(reader, rows, suite, profile)
    latest = found[-1]
    return [row for row in found if (row["suite"], row["profile"]) == (latest["suite"], latest["profile"])]


def _no_runs(
    reader: StoreReader, rows: Sequence[Mapping[str, Any]], suite: str | None, profile: str | None
) -> HarnessError:
    if not rows:
        return HarnessError(f"the store {reader.address} holds no run; `harness run SUITE` makes one")
    known = sorted({row["suite"] for row in rows})
    if suite is not None and suite not in known:
        return HarnessError(f"no run of suite '{suite}' in {reader.address}{did_you_mean(suite, known)}")
    profiles = sorted({row["profile"] or "none" for row in rows if suite in (None, row["suite"])})
    return HarnessError(
        f"no run with profile '{profile}' in {reader.address}; there are runs with {', '.join(profiles)}"
    )


def read_history(
    reader: StoreReader,
    *,
    metrics: Sequence[str] = (),
    variants: Sequence[str] = (),
    suite: str | None = None,
    profile: str | None = None,
    accepted: Sequence[Accepted] = (),
    at_least: float | None = None,
    until: str | None = None,
    most: int = MOST_RUNS,
) -> History:
    """Return the history of metrics of variants, read from the trials of these variants alone.

    Args:
        reader: of the store.
        metrics: names of metrics or costs; none takes the primary metric of the latest run.
        variants: names; none takes all of the latest run.
        suite: its name; none takes that of the latest run.
        profile: its name; none takes that of the latest run.
        accepted: changes at which the level starts anew.
        at_least: smallest change that counts, in the unit in which a metric is stored, for a measured
            cost as a share of it; none takes the margin of the suite, else one standard deviation.
        until: a run's id; later ones are left out.
        most: runs that are read, the latest ones.

    Raises:
        HarnessError: there is no such run, metric or variant.
    """
    every = runs_of(reader, suite, profile, until)
    rows = every[-most:]
    plan = reader.run(rows[-1]["run_id"], variants=()).plan
    wanted = known_variants(plan, variants)
    infos = [known_info(plan, name) for name in dict.fromkeys(metrics or [plan.primary_metric])]
    seen: dict[tuple[str, str], list[Observation]] = {
        (one.name, name): [] for one in infos for name in wanted
    }
    for row in rows:
        record = reader.run(row["run_id"], variants=wanted)
        for info in infos:
            for name, observation in observe(record, info, wanted):
                seen[info.name, name].append(observation)
    series = [
        _series(info, plan, name, points_of(info, seen[info.name, name]), accepted, at_least)
        for info in infos
        for name in wanted
    ]
    return History(plan.suite, plan.profile, len(rows), len(every) - len(rows), plan.reference, tuple(series))


def known_variants(plan: Plan, names: Sequence[str]) -> list[str]:
    """Return these variants of a plan, or all where none is named; an error names a close one."""
    known = [variant.name for variant in plan.variants]
    for name in names:
        if name not in known:
            raise HarnessError(f"the latest run has no variant '{name}'{did_you_mean(name, known)}")
    return list(dict.fromkeys(names or known))


def known_info(plan: Plan, name: str) -> Info:
    """Return what is known of a metric of a plan, or of a cost; an error names a close one."""
    for cost, info in COST_INFOS.items():
        if cost == name:
            return info
    try:
        return plan.metrics[resolve_metric(plan, name)]
    except HarnessError:
        known = [*plan.metrics, *COST_INFOS]
        raise HarnessError(
            f"the latest run records no metric and no cost '{name}'{did_you_mean(name, known)}"
        ) from None


# --- changes


def _series(
    info: Info,
    plan: Plan,
    variant: str,
    found: Points,
    accepted: Sequence[Accepted],
    at_least: float | None,
) -> Series:
    entries = [one for one in accepted if one.applies_to(plan.suite, plan.profile, info.name, variant)]
    places, notes = _accepted_places(found.points, entries)
    series = Series(
        info=info,
        variant=variant,
        title=plan.variant(variant).title,
        points=found.points,
        used=max(places, default=0),
        changes=(),
        lines=(),
        events=found.events,
        left_out=found.left_out,
        noise=None,
        bound=None,
        bound_source="",
        replicates=found.replicates,
        notes=(*found.notes, *notes),
    )
    judged = _judged(series, at_least, plan.margins.get(info.name))
    return _with_accepted(judged, places)


def _accepted_places(
    points: Sequence[Point], entries: Sequence[Accepted]
) -> tuple[dict[int, Accepted], list[str]]:
    """Return the points at which the level starts anew, and what is to be said of entries without one."""
    places: dict[int, Accepted] = {}
    notes = []
    for entry in entries:
        by_run = [index for index, point in enumerate(points) if entry.run in point.runs]
        by_commit = [
            index for index, point in enumerate(points) if entry.commit in [one.id for one in point.commits]
        ]
        found = (by_run or by_commit)[:1]
        if found:
            places[found[0]] = entry
        else:
            notes.append(
                f"the accepted change at {_name(entry)} is no point of this history, and does nothing"
            )
    return places, notes


def _name(entry: Accepted) -> str:
    return entry.run if entry.commit is None else f"{short_commit(entry.commit)} ({entry.run})"


def _judged(series: Series, at_least: float | None, margin: float | None) -> Series:
    """Return the series with its changes, where the points that count are enough."""
    if not series.judged:
        return series
    smallest, source = _bound(series.info, at_least, margin)
    found = find_changes(as_tested(series.info, series.points[series.used :]), at_least=smallest)
    share = math.expm1 if series.is_ratio else float
    return replace(
        series,
        changes=tuple(_change(series, change) for change in found.changes),
        lines=tuple(_line(series, level) for level in found.levels),
        noise=share(found.noise),
        bound=share(found.bound),
        bound_source=source,
    )


def _bound(info: Info, at_least: float | None, margin: float | None) -> tuple[float | None, str]:
    """Return the smallest change that counts, as statistics take it, and where it comes from."""
    if at_least is not None:
        return (math.log1p(at_least) if is_ratio(info) else at_least), "asked for"
    if margin is not None:
        return margin, "the margin that the suite declares"
    return None, "one standard deviation from point to point"


def _change(series: Series, found: Change) -> SeriesChange:
    low, high = (None if end is None else as_shown(series.info, end) for end in (found.low, found.high))
    start, end = series.used + found.start, series.used + found.end
    return SeriesChange(
        shape=found.shape,
        better=_is_better(series.info, found.size),
        start=start,
        end=end,
        between=_between(series, start, end),
        before=as_shown(series.info, found.before),
        after=as_shown(series.info, found.after),
        size=as_shown(series.info, found.size),
        low=low,
        high=high,
        p=found.p,
    )


def _with_accepted(series: Series, places: Mapping[int, Accepted]) -> Series:
    """Return the series with its accepted changes, each between means of up to 10 points on either side."""
    edges = [0, *sorted(places), len(series.points)]
    changes = []
    for at, entry in sorted(places.items()):
        index = edges.index(at, 1)
        left = series.points[max(edges[index - 1], at - MIN_POINTS) : at]
        right = series.points[at : min(edges[index + 1], at + MIN_POINTS)]
        if left:
            changes.append(_accepted_change(series, at, left, right, entry))
    return replace(series, changes=(*changes, *series.changes))


def _accepted_change(
    series: Series, at: int, left: Sequence[Point], right: Sequence[Point], entry: Accepted
) -> SeriesChange:
    before, after = (float(as_tested(series.info, side).mean()) for side in (left, right))
    return SeriesChange(
        shape="accepted",
        better=_is_better(series.info, after - before),
        start=at - 1,
        end=at,
        between=_between(series, at - 1, at),
        before=as_shown(series.info, before),
        after=as_shown(series.info, after),
        size=as_shown(series.info, after - before),
        low=None,
        high=None,
        p=None,
        entry=entry,
    )


def _line(series: Series, level: Level) -> Line:
    first, last = (as_shown(series.info, end) for end in (level.first, level.last))
    return Line(series.used + level.start, series.used + level.stop - 1, first, last)


def _between(series: Series, start: int, end: int) -> str:
    return f"{series.points[start].last}..{series.points[end].first}"


def _is_better(info: Info, size: float) -> bool:
    return size > 0 if info.direction == "higher" else size < 0
