"""Baselines of several runs: one more is added, and the oldest go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.wording import counted
from harness.errors import HarnessError
from harness.tracking.baseline.level import same_values
from harness.tracking.baseline.model import (
    Baseline,
    BaselineRun,
    Values,
)

KEEP = 20  # runs of a baseline


def extended(baseline: Baseline, run: Baseline, keep: int = KEEP) -> tuple[Baseline, list[str]]:
    """Return a baseline with one more run of the same level, and what happened in words.

    A run of the same commit and code takes the place of the one before, and so does one with the
    values of the newest run: it is no further draw of what commits do.

    Args:
        baseline: the baseline.
        run: a baseline of one run, see `snapshot`.
        keep: runs that are kept; the oldest go.

    Raises:
        HarnessError: the run cannot be compared with the baseline's newest one.
    """
    new, newest = run.newest, baseline.newest
    difference = newest.fingerprint.difference(new.fingerprint)
    if difference is not None:
        raise HarnessError(
            f"run {new.run} is not comparable with the baseline '{baseline.name}': {difference}; "
            f"`harness baseline set {baseline.name} {new.run}` begins anew"
        )
    gone = {one.run for one in baseline.runs if _same_commit(one, new) or one.run == new.run}
    same = _same_values(baseline, newest, run)
    notes = [f"{new.run} takes the place of {one}: the same commit and code" for one in sorted(gone)]
    if same and newest.run not in gone:
        notes.append(f"{new.run} takes the place of {newest.run}: the same values in every trial")
        gone.add(newest.run)
    runs = [one for one in baseline.runs if one.run not in gone] + [new]
    notes += [f"{one.run} leaves the baseline: {counted(keep, 'run')} kept" for one in runs[:-keep]]
    return _joined(baseline, run, runs[-keep:]), notes


def established(name: str, runs: Sequence[Baseline], keep: int = KEEP) -> tuple[Baseline, list[str]]:
    """Return a new baseline of these runs, in the order given, and what happened in words.

    Raises:
        HarnessError: two of the runs are not comparable.
    """
    baseline, notes = runs[0].model_copy(update={"name": name}), []
    for run in runs[1:]:
        baseline, told = extended(baseline, run, keep)
        notes += told
    return baseline, notes


def _joined(baseline: Baseline, run: Baseline, runs: Sequence[BaselineRun]) -> Baseline:
    """Return the baseline with these runs; what belongs to no run is that of the newest one."""
    kept = {one.run: position for position, one in enumerate(runs)}
    own = run.newest.run
    tables = {}
    for table in ("values", "costs"):
        rows = [one for one in getattr(baseline, table) if one.run in kept and one.run != own]
        tables[table] = tuple(sorted([*rows, *getattr(run, table)], key=lambda one: kept[one.run]))
    used = {one for each in runs for one in each.configurations.values()}
    known = {**baseline.configurations, **run.configurations}
    return run.model_copy(
        update={
            "name": baseline.name,
            "runs": tuple(runs),
            "configurations": {key: known[key] for key in known if key in used},
            **tables,
        }
    )


def _same_commit(one: BaselineRun, other: BaselineRun) -> bool:
    return one.commit is not None and (one.commit, one.code) == (other.commit, other.code)


def _same_values(baseline: Baseline, newest: BaselineRun, run: Baseline) -> bool:
    def told(values: Iterable[Values], of: str) -> dict[tuple[str, str], Mapping[str, float]]:
        return {(one.variant, one.of): one.values for one in values if one.run == of}

    before, after = told(baseline.values, newest.run), told(run.values, run.newest.run)
    return (
        newest.configurations == run.newest.configurations
        and before.keys() == after.keys()
        and all(same_values(before[key], after[key]) for key in before)
    )
