"""Points of a history: what each run says of one metric of one variant, and which of that is comparable.

The rules are in words in docs/regression.md.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from harness.analysis.costs import CostInfo, cost_table_of
from harness.analysis.machines import Machine, machines_of, usual_machine
from harness.analysis.stats import Floats, Interval, mean_interval
from harness.analysis.values import Replicate, by_fold, replicate_table, whole_trials
from harness.analysis.wording import format_replicates, name_replicates
from harness.config import MetricInfo
from harness.planning.difference import configurations, setting_changes
from harness.provenance import short_commit
from harness.store.read import RunRecord

MOST_SETTINGS = 3  # changed settings that an event names

Info = MetricInfo | CostInfo


class Commit(NamedTuple):
    """The commit that a run was made from."""

    id: str
    dirty: bool
    """The work tree had changes that were not committed."""

    @property
    def short(self) -> str:
        """Its first digits, with a plus where there were changes: "abc1234+"."""
        return short_commit(self.id, dirty=self.dirty)


@dataclass(frozen=True)
class Point:
    """One value of the history."""

    run: str
    runs: tuple[str, ...]
    """This run, and those on the same code before it whose trials it takes in."""
    commits: tuple[Commit, ...]
    """Commits that this value is known to hold at, oldest first; none outside git."""
    started: datetime
    code_hash: str
    machine: str
    """That ran most of the trials, in words."""
    n: int
    """Seeds, or seeds and folds."""
    mean: float
    """Over seeds; of a measured cost the geometric mean."""
    low: float | None
    """Lower end of the 95 % t interval of the mean; none for a single value."""
    high: float | None

    @property
    def first(self) -> str:
        """The earliest commit that it is known for, short; the run where there is no commit."""
        return self.commits[0].short if self.commits else self.run

    @property
    def last(self) -> str:
        """The latest commit that it is known for, short; the run where there is no commit."""
        return self.commits[-1].short if self.commits else self.run


@dataclass(frozen=True)
class LeftOut:
    """A run that is no point of a history, and why."""

    run: str
    commit: str | None
    started: datetime
    reason: str


@dataclass(frozen=True)
class Event:
    """What else changed between a point and the one before it."""

    at: int
    """Index of the point."""
    text: str


@dataclass(frozen=True)
class Observation:
    """One metric of one variant in one run."""

    row: Mapping[str, Any]
    values: Mapping[Replicate, float]
    """As statistics take them: logarithms of a measured cost."""
    reason: str | None
    """Why there are no values."""
    anew: bool
    """The run itself trained some of them."""
    settings: Mapping[str, Any]
    """The configuration without seed and fold."""
    machine: Machine | None
    """That ran most of the trials; none without values."""
    folds: int | None


@dataclass(frozen=True)
class _Kept:
    """An observation that is a point, with the earlier runs and the commits that it stands for."""

    seen: Observation
    runs: tuple[str, ...]
    commits: tuple[Commit, ...]


@dataclass(frozen=True)
class Points:
    """The comparable points of one metric of one variant."""

    points: tuple[Point, ...]
    """Oldest first."""
    events: tuple[Event, ...]
    left_out: tuple[LeftOut, ...]
    replicates: tuple[Replicate, ...]
    """What every mean is taken over."""
    notes: tuple[str, ...]


def is_ratio(info: Info) -> bool:
    """Tell whether changes of this are ratios: measured costs."""
    return isinstance(info, CostInfo) and info.measured


def as_tested(info: Info, points: Sequence[Point]) -> Floats:
    """Return the means as statistics take them: logarithms of a measured cost."""
    means = np.array([point.mean for point in points])
    return np.log(means) if is_ratio(info) else means


def as_shown(info: Info, value: float) -> float:
    """Return a mean, or a change, in the unit that is shown: for a measured cost the exponential."""
    return math.exp(value) if is_ratio(info) else value


# --- what a run says of a variant


def observe(record: RunRecord, info: Info, variants: Collection[str]) -> Iterator[tuple[str, Observation]]:
    """Yield what one run says of one metric, by variant."""
    table = None
    if isinstance(info, CostInfo):
        table = cost_table_of(record, info.name)
    elif info.name in record.plan.metrics:
        table = replicate_table(record, info.name)
    whole = set(whole_trials(record)["trial_id"])
    ids_of_trials = record.trials["trial_id"].tolist()
    run_of = dict(zip(ids_of_trials, record.trials["run_id"].tolist(), strict=True))
    machine_of = dict(zip(ids_of_trials, machines_of(record.trials), strict=True))
    settings = configurations(record.plan)
    for name in variants:
        ids = [trial.id for trial in record.plan.trials if name in trial.variants and trial.id in whole]
        found = table.of(name) if table is not None and name in settings else ((), (), np.empty(0))
        values = np.log(found[2]) if is_ratio(info) else found[2]
        reasons = (
            (name not in settings, f"has no variant {name}"),
            (table is None, f"does not record {info.name}"),
            (not ids, "has no complete trial of it"),
            (not found[0], f"has no value of {info.name} that can be compared"),
        )
        yield (
            name,
            Observation(
                row=record.run,
                values=dict(zip(found[0], map(float, values), strict=True)),
                reason=next((reason for applies, reason in reasons if applies), None),
                anew=any(run_of[trial_id] == record.run["run_id"] for trial_id in ids),
                settings=settings.get(name, {}),
                machine=usual_machine(machine_of[trial_id] for trial_id in found[1]),
                folds=record.plan.folds,
            ),
        )


# --- which of them are points


def points_of(info: Info, seen: Sequence[Observation]) -> Points:
    """Return the points that observations of one metric of one variant, oldest first, make."""
    left_out: list[LeftOut] = []
    kept = _in_turn(info, _comparable(info, seen, left_out), left_out)
    common = _common_replicates(kept)
    enough = []
    for one in kept:
        absent = [replicate for replicate in common if replicate not in one.seen.values]
        if absent:
            left_out.append(_left_out(one.seen, f"has no value of {name_replicates(absent)}"))
        else:
            enough.append(one)
    return Points(
        points=tuple(_point(info, one, common) for one in enough),
        events=tuple(_events(enough)),
        left_out=tuple(sorted(left_out, key=lambda one: (one.started, one.run))),
        replicates=common,
        notes=_unused_notes(enough, common),
    )


def _comparable(info: Info, seen: Sequence[Observation], left_out: list[LeftOut]) -> Iterator[Observation]:
    """Yield what may be compared with the latest run that trained anew; the reason else."""
    latest = next((one for one in reversed(seen) if one.reason is None and one.anew), None)
    for one in seen:
        reason = one.reason
        if reason is None and latest is not None:
            if _data(one) != _data(latest):
                reason = f"has other data: {_changed(latest.settings, one.settings, 'data')}"
            elif is_ratio(info) and one.machine != latest.machine:
                reason = f"ran on another machine: {one.machine}"
        if reason is None:
            yield one
        else:
            left_out.append(_left_out(one, reason))


def _in_turn(info: Info, seen: Iterator[Observation], left_out: list[LeftOut]) -> list[_Kept]:
    """Return one for each draw of values in turn; a run that tops one up takes the place of the last."""
    kept: list[_Kept] = []
    for one in seen:
        alike = bool(kept) and _alike(kept[-1].seen, one)
        before = kept[-1] if kept and (alike or _repeats(info, kept[-1].seen, one)) else None
        run, commits = one.row["run_id"], _commits(one)
        if not one.anew:
            left_out.append(_left_out(one, "trains nothing anew: its trials are those of earlier runs"))
            if before is not None:
                kept[-1] = replace(before, commits=(*before.commits, *commits))
        elif before is None:
            kept.append(_Kept(one, (run,), commits))
        elif not alike and one.values.keys() <= before.seen.values.keys():
            left_out.append(_left_out(one, f"has the values of {before.runs[-1]} again: no further draw"))
            kept[-1] = replace(before, commits=(*before.commits, *commits))
        elif before.seen.values.keys() <= one.values.keys():
            same = "its code is that" if alike else "its values are among those"
            left_out.append(_left_out(before.seen, f"{same} of {run}, which has all of its seeds"))
            kept[-1] = _Kept(one, (*before.runs, run), (*before.commits, *commits))
        else:
            left_out.append(_left_out(one, f"has the code of {before.runs[-1]}, and fewer seeds"))
    return kept


def _alike(one: Observation, other: Observation) -> bool:
    """Tell whether two runs repeat the same: code and configuration."""
    return one.row["code_hash"] == other.row["code_hash"] and one.settings == other.settings


def _repeats(info: Info, one: Observation, other: Observation) -> bool:
    """Tell whether a run gives the values of another again: training that a commit did not touch.

    Of metrics alone: a parameter count has no noise that a point would have to be a draw of.
    """
    shared = one.values.keys() & other.values.keys()
    return (
        not isinstance(info, CostInfo)
        and bool(shared)
        and all(one.values[replicate] == other.values[replicate] for replicate in shared)
    )


def _common_replicates(kept: Sequence[_Kept]) -> tuple[Replicate, ...]:
    """Return the seeds (and folds) that every point is to have: those that keep the most values."""
    sets = list(dict.fromkeys(frozenset(one.seen.values) for one in reversed(kept)))
    if not sets:
        return ()
    best = max(sets, key=lambda wanted: len(wanted) * sum(wanted <= one.seen.values.keys() for one in kept))
    return tuple(sorted(best, key=lambda one: (one.seed, -1 if one.fold is None else one.fold)))


def _unused_notes(kept: Sequence[_Kept], common: Sequence[Replicate]) -> tuple[str, ...]:
    more = [one.seen.row["run_id"] for one in kept if len(one.seen.values) > len(common)]
    if not more:
        return ()
    runs = f"{len(more)} runs have" if len(more) > 1 else f"{more[0]} has"
    return (f"{runs} more seeds than the rest: means are over {format_replicates(common)} that all have",)


def _point(info: Info, kept: _Kept, common: Sequence[Replicate]) -> Point:
    seen = kept.seen
    found = _interval(seen, common)
    low, high = (None if end is None else as_shown(info, end) for end in (found.low, found.high))
    return Point(
        run=seen.row["run_id"],
        runs=kept.runs,
        commits=kept.commits,
        started=seen.row["started"],
        code_hash=seen.row["code_hash"],
        machine=str(seen.machine),
        n=len(common),
        mean=as_shown(info, found.mean),
        low=low,
        high=high,
    )


def _interval(seen: Observation, common: Sequence[Replicate]) -> Interval:
    values = np.array([seen.values[replicate] for replicate in common])
    return mean_interval(by_fold(common, values), folds=seen.folds)


def _events(kept: Sequence[_Kept]) -> Iterator[Event]:
    """Yield what changed besides the code from one point to the next."""
    for index, (before, after) in enumerate(pairwise(kept), start=1):
        changed = _changed(_without_code(before.seen), _without_code(after.seen))
        if changed:
            yield Event(index, f"configuration changed: {changed}")
        if before.seen.machine != after.seen.machine:
            yield Event(index, f"other machine: {after.seen.machine}")


def _without_code(seen: Observation) -> Mapping[str, Any]:
    """Return the configuration; what it holds of a project's own components are hashes of their code."""
    return {name: value for name, value in seen.settings.items() if name != "plugins"}


def _changed(before: Mapping[str, Any], after: Mapping[str, Any], section: str | None = None) -> str:
    """Return the settings that differ, "optimizer.lr: 0.0001 -> 0.0003", the first few of them."""
    old, new = (one if section is None else {section: one.get(section)} for one in (before, after))
    written = [f"{path}: {change}" for path, change in setting_changes(old, new).items()]
    more = f" and {len(written) - MOST_SETTINGS} more" if len(written) > MOST_SETTINGS else ""
    return ", ".join(written[:MOST_SETTINGS]) + more


def _data(seen: Observation) -> Any:
    return seen.settings.get("data")


def _commits(seen: Observation) -> tuple[Commit, ...]:
    commit = seen.row["git_commit"]
    return () if commit is None else (Commit(commit, seen.row["git_dirty"] is not None),)


def _left_out(seen: Observation, reason: str) -> LeftOut:
    return LeftOut(seen.row["run_id"], seen.row["git_commit"], seen.row["started"], reason)
