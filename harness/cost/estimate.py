"""What a plan will take, and what that is based on.

In this order: like trials in the store; steps timed on this machine; and for structures that were
not timed, those times scaled by the FLOPs that preflight counted.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from harness.budget import Budget
from harness.canonical import content_hash
from harness.config import TrialSpec
from harness.errors import StoreError
from harness.grammar import Resources
from harness.plan import Plan, PlannedTrial
from harness.provenance import code_hash, host_name, versions
from harness.specify import respecify
from harness.store.read import StoreReader
from harness.store.write import replacing

if TYPE_CHECKING:
    from harness.preflight.facts import Facts
    from harness.train.probe import Pace

STARTUP_SECONDS = 12.0  # imports of the workers, and the report
SIMILAR = 0.01  # share by which FLOPs differ at most to tell nothing about how time grows with them
Source = Literal["store", "timed", "scaled", "mean"]


@dataclass(frozen=True)
class Range:
    """An expected value, and how far it may be off."""

    expected: float
    low: float
    high: float

    def times(self, factor: float) -> Range:
        """Return the range of a multiple."""
        return Range(self.expected * factor, self.low * factor, self.high * factor)

    def plus(self, other: Range) -> Range:
        """Return the range of a sum whose parts may be off together."""
        return Range(self.expected + other.expected, self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class TrialCost:
    """What one trial takes."""

    seconds: float
    low: float
    high: float
    memory_bytes: int | None
    """Most memory that a like trial took, where one was measured; else the tensors of one step."""
    source: Source

    def share(self, part: float) -> TrialCost:
        """Return the cost of a part of the trial's epochs."""
        return replace(self, seconds=self.seconds * part, low=self.low * part, high=self.high * part)


@dataclass(frozen=True)
class Totals:
    """What all missing trials take together."""

    seconds: float
    """From the start to the end of the run."""
    gpu_hours: float
    cpu_hours: float
    money: float | None
    """In the budget's currency; none where no price is known."""


@dataclass(frozen=True)
class Estimate:
    """What the trials that are missing take."""

    trials: dict[str, TrialCost]
    """By trial id; empty where nothing is known."""
    expected: Totals | None
    """None where nothing is known, as are `low` and `high`."""
    low: Totals | None
    high: Totals | None
    slots: int
    """Trials that run at once."""
    currency: str | None
    basis: str
    """Where the numbers come from, in words."""

    @property
    def seconds(self) -> float | None:
        """Expected wall time of the whole run; none where nothing is known."""
        return None if self.expected is None else self.expected.seconds


def estimate(
    plan: Plan,
    missing: Sequence[PlannedTrial],
    *,
    slots: int,
    store: StoreReader,
    facts: Mapping[str, Facts],
    timing_seconds: float,
    paces: Path,
    budget: Budget | None = None,
    epochs_done: Mapping[str, int] = MappingProxyType({}),
) -> Estimate:
    """Estimate what `missing` takes, run `slots` at a time.

    Args:
        plan: that the trials belong to.
        missing: trials that have to run.
        slots: how many run at once.
        store: where like trials are looked for: the same but for seed and fold.
        facts: by variant, from `harness.preflight.check.check_plan`; without them nothing is scaled.
        timing_seconds: the most that timing steps may take; no further step is begun after them. With
            0 nothing is timed, and timings of before count.
        paces: folder where timings of this machine are kept, so that the next plan has them at once.
        budget: whose prices count.
        epochs_done: by the id of a trial that goes on from a state.
    """
    samples = _one_of_each(missing)
    known = _from_store(store, plan.resources) if samples else {}
    costs: dict[str, TrialCost] = {
        variant: known[structure]
        for variant, trial in samples.items()
        if (structure := _structure(trial.spec)) in known
    }
    rest = {variant: respecify(trial.spec) for variant, trial in samples.items() if variant not in costs}
    timing = _Timing(plan.resources, paces, timing_seconds)
    if rest:
        costs |= _from_steps(rest, facts, timing)
        costs |= _from_the_others([variant for variant in rest if variant not in costs], costs, facts)
    if missing and not costs:
        return Estimate(
            {},
            None,
            None,
            None,
            slots,
            None,
            "; ".join(["nothing is known of trials like these", *timing.failures]),
        )
    trials = {trial.id: costs[trial.variants[0]].share(_epochs_left(trial, epochs_done)) for trial in missing}
    low, expected, high = (
        totals(seconds, plan.resources, slots, budget)
        for seconds in (
            [cost.low for cost in trials.values()],
            [cost.seconds for cost in trials.values()],
            [cost.high for cost in trials.values()],
        )
    )
    basis = _basis(costs, timing, slots) if missing else "nothing to run"
    return Estimate(trials, expected, low, high, slots, budget.currency if budget else None, basis)


def _epochs_left(trial: PlannedTrial, epochs_done: Mapping[str, int]) -> float:
    """Return the share of a trial's epochs that it still has to train."""
    epochs = int(trial.spec["train"]["epochs"])
    return 1 - epochs_done.get(trial.id, 0) / epochs


def totals(seconds: Sequence[float], resources: Resources, slots: int, budget: Budget | None) -> Totals:
    """Return what trials of these durations take, each begun in order as soon as a slot is free."""
    hours = sum(seconds) / 3600
    gpu_hours, cpu_hours = hours * resources.gpus, hours * resources.cpus
    return Totals(
        seconds=_schedule(seconds, slots) + STARTUP_SECONDS if seconds else 0.0,
        gpu_hours=gpu_hours,
        cpu_hours=cpu_hours,
        money=budget.cost(gpu_hours=gpu_hours, cpu_hours=cpu_hours) if budget else None,
    )


def _one_of_each(trials: Iterable[PlannedTrial]) -> dict[str, PlannedTrial]:
    """Return a trial of every variant; those of one variant differ in seed and fold alone."""
    samples: dict[str, PlannedTrial] = {}
    for trial in trials:
        samples.setdefault(trial.variants[0], trial)
    return samples


def _structure(spec: Mapping[str, object]) -> str:
    rest = {key: value for key, value in spec.items() if key not in ("seed", "fold")}
    return json.dumps(rest, sort_keys=True)


def _from_store(store: StoreReader, resources: Resources) -> dict[str, TrialCost]:
    """Return what complete trials took that ran in one go on such resources, by structure."""
    columns = ["spec", "status", "wall_seconds", "resumed_from", "peak_memory_bytes", "device", "threads"]
    found: dict[str, list[tuple[float, int | None]]] = {}
    for row in store.attempts.select(columns).to_pylist():
        alike = row["threads"] == resources.cpus and (row["device"] == "cpu") == (not resources.gpus)
        if alike and row["status"] == "complete" and row["resumed_from"] is None:
            measured = (row["wall_seconds"], row["peak_memory_bytes"])
            found.setdefault(_structure(json.loads(row["spec"])), []).append(measured)
    return {structure: _measured(rows) for structure, rows in found.items()}


def _measured(rows: Sequence[tuple[float, int | None]]) -> TrialCost:
    seconds = [row[0] for row in rows]
    memory = max((row[1] for row in rows if row[1] is not None), default=None)
    return TrialCost(sum(seconds) / len(seconds), min(seconds), max(seconds), memory, "store")


class _Timing:
    """Times steps as long as it may, and keeps what it measured."""

    def __init__(self, resources: Resources, folder: Path, seconds: float) -> None:
        self.resources = resources
        self.folder = folder
        self.seconds = seconds
        self.deadline: float | None = None
        self.failures: list[str] = []

    def pace(self, spec: TrialSpec) -> Pace | None:
        """Return the pace of a trial, from an earlier timing or a new one; none where there is neither."""
        from harness.train.probe import Pace

        file = self.folder / f"{self._key(spec)}.json"
        if file.exists():
            with contextlib.suppress(ValueError, TypeError, OSError):  # cut off, or of other fields
                return Pace(**json.loads(file.read_text()))
        if not self._may_begin():
            return None
        try:
            pace = self._measure(spec)
        except Exception as error:  # a plan is printed all the same; the trial itself will tell more
            self.failures.append(f"timing a step failed: {type(error).__name__}: {error}".splitlines()[0])
            return None
        with contextlib.suppress(StoreError), replacing(file) as temporary:  # it only saves time
            temporary.write_text(json.dumps(asdict(pace)))
        return pace

    def _may_begin(self) -> bool:
        if not self.seconds:
            return False
        if self.deadline is None:
            import harness.train.calibrate  # noqa: F401  (takes seconds that are not for timing)

            self.deadline = time.monotonic() + self.seconds
        return time.monotonic() < self.deadline

    def _measure(self, spec: TrialSpec) -> Pace:
        from harness.train.calibrate import measure_pace, measure_pace_on_gpu

        threads = self.resources.cpus
        seconds = self.seconds / 4  # two structures, each with its data set and validation beside the steps
        if self.resources.gpus:
            return measure_pace_on_gpu(spec, threads=threads, seconds=seconds)
        return measure_pace(spec, threads=threads, on_cpu=True, seconds=seconds)

    def _key(self, spec: TrialSpec) -> str:
        from harness.preflight.structures import structure_key

        return content_hash(
            {
                "structure": structure_key(spec),
                "batch_size": spec.train.batch_size,
                "code": code_hash(),
                "threads": self.resources.cpus,
                "gpus": self.resources.gpus,
                "host": host_name(),
                "torch": versions().get("torch"),
            }
        )


@dataclass(frozen=True)
class _Point:
    """A pace beside the FLOPs of what it is the pace of."""

    pace: Pace
    step_flops: int
    """Of one step, all samples of it."""
    forward_flops: int
    """Of one sample."""


def _from_steps(
    specs: Mapping[str, TrialSpec], facts: Mapping[str, Facts], timing: _Timing
) -> dict[str, TrialCost]:
    """Return what variants take, from the paces of the smallest and the largest of them.

    A variant without facts cannot be scaled, and is timed itself.
    """
    step_flops = {
        variant: facts[variant].step_flops * spec.train.batch_size
        for variant, spec in specs.items()
        if variant in facts
    }
    order = sorted(step_flops, key=lambda variant: step_flops[variant])
    timed = dict.fromkeys([*order[:1], *order[-1:], *(name for name in specs if name not in facts)])
    paces = {variant: pace for variant in timed if (pace := timing.pace(specs[variant])) is not None}
    costs = {variant: _cost(specs[variant], pace, facts.get(variant)) for variant, pace in paces.items()}
    points = [
        _Point(paces[variant], step_flops[variant], facts[variant].forward_flops)
        for variant in paces
        if variant in facts
    ]
    if points:
        for variant in order:
            if variant not in costs:
                costs[variant] = _scaled_cost(specs[variant], points, step_flops[variant], facts[variant])
    return costs


def _cost(spec: TrialSpec, pace: Pace, facts: Facts | None) -> TrialCost:
    step = Range(pace.step_seconds, pace.fast_step, pace.slow_step)
    image = Range(pace.image_seconds, pace.image_seconds, pace.image_seconds)
    return _of_training(spec, step, image, facts, "timed")


def _scaled_cost(spec: TrialSpec, points: Sequence[_Point], step_flops: int, facts: Facts) -> TrialCost:
    step = scaled([(point.step_flops, point.pace.step_seconds) for point in points], step_flops)
    image = scaled([(point.forward_flops, point.pace.image_seconds) for point in points], facts.forward_flops)
    fast = min(point.pace.fast_step / point.pace.step_seconds for point in points)
    slow = max(point.pace.slow_step / point.pace.step_seconds for point in points)
    step = Range(step.expected, step.low * fast, step.high * slow)
    return _of_training(spec, step, image, facts, "scaled")


def _of_training(
    spec: TrialSpec, step: Range, image: Range, facts: Facts | None, source: Source
) -> TrialCost:
    """Return the cost of a whole trial from that of a step and of the validation of an image."""
    from harness.preflight.structures import train_size
    from harness.train.sampler import steps_per_epoch

    steps = steps_per_epoch(train_size(spec), spec.train.batch_size)
    images = -(-spec.data.train_size // spec.folds) if spec.folds else spec.data.validation_size
    whole = step.times(steps).plus(image.times(images)).times(spec.train.epochs)
    return TrialCost(whole.expected, whole.low, whole.high, facts.memory_bytes if facts else None, source)


def scaled(points: Sequence[tuple[float, float]], flops: float) -> Range:
    """Return the seconds that `flops` take, from one or two `(flops, seconds)`.

    Between two points it is the straight line; from one, and where the two have like FLOPs, time
    grows in proportion. The range reaches over what each point says by itself: in proportion to
    FLOPs, for a single one also no change at all, and between two nothing beyond them.
    """
    (first_flops, first), (last_flops, last) = points[0], points[-1]
    in_proportion = [seconds * flops / known for known, seconds in points]
    if last_flops - first_flops > SIMILAR * last_flops:
        slope = (last - first) / (last_flops - first_flops)
        expected = first + slope * (flops - first_flops)
        low = max(min(in_proportion), min(first, last))
        high = min(max(in_proportion), max(first, last))
        return Range(expected, min(expected, low), max(expected, high))
    expected = sum(in_proportion) / len(in_proportion)
    alone = [*in_proportion, *(seconds for _, seconds in points)]
    return Range(expected, min(alone), max(alone))


def _from_the_others(
    variants: Sequence[str], costs: Mapping[str, TrialCost], facts: Mapping[str, Facts]
) -> dict[str, TrialCost]:
    """Take variants that nothing is known of as the mean of the others."""
    if not costs:
        return {}
    mean = sum(cost.seconds for cost in costs.values()) / len(costs)
    low, high = min(cost.low for cost in costs.values()), max(cost.high for cost in costs.values())
    return {
        variant: TrialCost(mean, low, high, facts[variant].memory_bytes if variant in facts else None, "mean")
        for variant in variants
    }


def _schedule(durations: Sequence[float], slots: int) -> float:
    """Return when the last of the trials ends if each starts, in order, as soon as a slot is free."""
    ends = [0.0] * max(1, slots)
    for duration in durations:
        heapq.heappush(ends, heapq.heappop(ends) + duration)
    return max(ends)


def _basis(costs: Mapping[str, TrialCost], timing: _Timing, slots: int) -> str:
    words = {
        "store": "from like trials in the store",
        "timed": "from timed steps on this machine",
        "scaled": "from these, scaled by FLOPs",
        "mean": "taken as the mean of the others",
    }
    counts = {source: sum(cost.source == source for cost in costs.values()) for source in words}
    parts = [f"{count} of {len(costs)} variants {words[source]}" for source, count in counts.items() if count]
    text = ", ".join(parts)
    if slots > 1 and counts["timed"]:
        text += f"; steps were timed one at a time, {slots} at once may be slower"
    text += f"; {STARTUP_SECONDS:.0f} s of it for starting and the report"
    return "; ".join([text, *dict.fromkeys(timing.failures)])
