"""What must hold after the faults, read from the store alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.store.read import open_store

Row = dict[str, Any]


@dataclass(frozen=True)
class Findings:
    """What was found; the lists are empty where all is well."""

    trials: int
    complete: int
    attempts: dict[str, int]
    """How many attempts ended in which way."""
    repeated: list[str]
    """Complete trials that were tried again, or completed twice."""
    twice: list[str]
    """Rows of metrics that stand twice."""
    different: list[str]
    """Trials whose rows differ from those of the undisturbed run."""
    leases: list[str]
    """Left behind."""
    hidden: list[str]
    """Temporary files left behind."""

    @property
    def problems(self) -> list[str]:
        """Return what is wrong, in words."""
        found = [f"{self.trials - self.complete} trials are not complete"] * (self.trials != self.complete)
        found += [f"repeated: {one}" for one in self.repeated]
        found += [f"stands twice: {one}" for one in self.twice]
        found += [f"differs: {one}" for one in self.different]
        found += [f"lease left: {one}" for one in self.leases]
        return found


def look(address: str, undisturbed: str, names: Iterable[str]) -> Findings:
    """Compare a store with that of an undisturbed run; `names` are all files of the store."""
    tables, expected = open_store(address).tables(), open_store(undisturbed).tables()
    attempts = tables["attempts"].to_pylist()
    rows, wanted = _by_trial(tables["metrics"].to_pylist()), _by_trial(expected["metrics"].to_pylist())
    complete = {row["trial_id"] for row in attempts if row["status"] == "complete"}
    names = sorted(names)
    return Findings(
        trials=len(wanted),
        complete=len(complete & wanted.keys()),
        attempts=dict(Counter(_ending(row) for row in attempts)),
        repeated=_repeated(attempts),
        twice=[f"{trial} {key}" for trial, found in rows.items() for key in _twice(found)],
        different=[trial for trial in wanted if rows.get(trial) != wanted[trial]],
        leases=[name for name in names if name.startswith("leases/")],
        hidden=[name for name in names if name.rpartition("/")[2].startswith(".") or ".claims/" in name],
    )


def _repeated(attempts: list[Row]) -> list[str]:
    """Return trials of which an attempt began after one was complete."""
    found = []
    by_trial: dict[str, list[Row]] = defaultdict(list)
    for row in attempts:
        by_trial[row["trial_id"]].append(row)
    for trial, rows in by_trial.items():
        done = [row for row in rows if row["status"] == "complete"]
        found += [
            f"{trial} attempt {late['attempt']} ({late['status']}) after {first['attempt']}"
            for first in done[:1]
            for late in rows
            if late["attempt"] != first["attempt"]
            and (late["status"] == "complete" or late["started"] > first["ended"])
        ]
    return found


def _by_trial(metrics: list[Row]) -> dict[str, list[tuple[Any, ...]]]:
    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in metrics:
        key = (row["epoch"], row["split"], row["metric"], row["label"] or "")
        rows[row["trial_id"]].append((*key, row["step"], row["value"], row["count"], row["sd"]))
    return {trial: sorted(found, key=str) for trial, found in rows.items()}


def _twice(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [key for key, count in Counter(row[:4] for row in rows).items() if count > 1]


def _ending(row: Row) -> str:
    return f"{row['status']} ({row['failure_kind']})" if row["failure_kind"] else str(row["status"])
