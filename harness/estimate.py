"""How long a plan will take, and what that is based on."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from harness.canonical import canonical_json
from harness.plan import Plan, PlannedTrial
from harness.specify import respecify
from harness.store.read import StoreReader
from harness.suite import Resources

STARTUP_SECONDS = 12.0  # imports of the workers, and the report


@dataclass(frozen=True)
class Estimate:
    """Expected duration of the trials that are missing."""

    seconds: float | None
    """Wall time of the whole run; none where nothing is known."""
    trial_seconds: dict[str, float]
    """By trial id."""
    basis: str
    """Where the numbers come from, in words."""


def estimate(
    plan: Plan, missing: Sequence[PlannedTrial], *, slots: int, store: StoreReader, timing_seconds: float
) -> Estimate:
    """Estimate the duration of `missing`, run `slots` at a time.

    From complete trials of the same structure (all but the seed) in the store, and for
    the rest from a few timed steps of their own on this machine, begun within
    `timing_seconds`.
    """
    structures = {trial.id: _structure(trial) for trial in missing}
    known = _from_store(store)
    timed: dict[str, float] = {}
    untimed: dict[str, str] = {}
    deadline = time.monotonic() + timing_seconds
    for trial in missing:
        structure = structures[trial.id]
        if structure in {**known, **timed, **untimed} or time.monotonic() >= deadline:
            continue
        try:
            timed[structure] = _time(trial, plan.resources)
        except Exception as error:  # a plan is printed all the same; the trial itself will tell more
            untimed[structure] = f"{type(error).__name__}: {error}".splitlines()[0]
    needed = set(structures.values())
    seconds = {structure: time for structure, time in {**timed, **known}.items() if structure in needed}
    if missing and not seconds:
        reasons = "".join(f"; timing a step failed: {reason}" for reason in untimed.values())
        return Estimate(None, {}, f"nothing is known of trials like these{reasons}")
    typical = sum(seconds.values()) / len(seconds) if seconds else 0.0
    by_trial = {trial_id: seconds.get(structure, typical) for trial_id, structure in structures.items()}
    wall = _schedule(list(by_trial.values()), slots) + STARTUP_SECONDS
    return Estimate(
        seconds=wall if missing else 0.0,
        trial_seconds=by_trial,
        basis=_basis(needed, set(known), set(timed), list(untimed.values())),
    )


def _structure(trial: PlannedTrial) -> str:
    return canonical_json({key: value for key, value in trial.spec.items() if key != "seed"})


def _from_store(store: StoreReader) -> dict[str, float]:
    """Return structure -> mean wall seconds of its complete trials that ran in one go."""
    rows = store.attempts.select(["spec", "status", "wall_seconds", "resumed_from"]).to_pylist()
    times: dict[str, list[float]] = {}
    for row in rows:
        if row["status"] == "complete" and row["resumed_from"] is None:
            spec = json.loads(row["spec"])
            spec.pop("seed")
            times.setdefault(canonical_json(spec), []).append(row["wall_seconds"])
    return {structure: sum(values) / len(values) for structure, values in times.items()}


def _time(trial: PlannedTrial, resources: Resources) -> float:
    from harness.train.calibrate import measure_pace  # imports torch
    from harness.train.sampler import steps_per_epoch

    spec = respecify(trial.spec)
    pace = measure_pace(spec, threads=resources.cpus, on_cpu=not resources.gpus)
    steps = steps_per_epoch(spec.data.train_size, spec.train.batch_size)
    images = spec.data.validation_size
    seconds: float = spec.train.epochs * (steps * pace.step_seconds + images * pace.image_seconds)
    return seconds


def _schedule(durations: Sequence[float], slots: int) -> float:
    """Return when the last of the trials ends if each starts, in order, as soon as a slot is free."""
    ends = [0.0] * max(1, slots)
    for duration in durations:
        heapq.heappush(ends, heapq.heappop(ends) + duration)
    return max(ends)


def _basis(structures: set[str], known: set[str], timed: set[str], reasons: Sequence[str]) -> str:
    if not structures:
        return "nothing to run"
    parts = []
    if stored := len(structures & known):
        parts.append(f"{stored} of {len(structures)} variants from like trials in the store")
    if timed:
        parts.append(f"{len(timed)} of {len(structures)} variants from timed steps on this machine")
    if rest := len(structures - known - timed):
        parts.append(f"{rest} taken as the mean of the others")
    parts += [f"timing a step failed: {reason}" for reason in reasons]
    return ", ".join(parts)
