"""What a plan will take, and what that is based on.

In this order: like trials in the store; steps timed on this machine; and for structures that were
not timed, those times scaled by the FLOPs that preflight counted.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from harness.allotment import (
    Allotment,
    ExpectedMemory,
    Machine,
    allot,
    at_once,
    largest_that_fits,
    on_gpu,
    smaller,
)
from harness.budget import Budget
from harness.canonical import content_hash
from harness.config import TrialSpec
from harness.cost.fit import misfits
from harness.cost.schedule import schedule
from harness.errors import StoreError
from harness.grammar import Resources
from harness.plan import Plan, PlannedTrial
from harness.provenance import code_hash, host_name, versions
from harness.specify import respecify
from harness.store.files import replacing
from harness.store.read import StoreReader

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
    machine: Machine
    """What they are to run on."""
    currency: str | None
    basis: str
    """Where the numbers come from, in words."""
    allotments: dict[str, Allotment] = field(default_factory=dict)
    """What each trial occupies, by its id."""
    memory: dict[str, ExpectedMemory] = field(default_factory=dict)
    """What one process of each trial is expected to need, by its id."""
    lengths: dict[str, float] = field(default_factory=dict)
    """What each trial takes beside the others, by its id: seconds where some are known, else FLOPs; trials
    that nothing is known of are left out."""
    warnings: tuple[str, ...] = ()
    """What the machine is too small for."""

    @property
    def seconds(self) -> float | None:
        """Expected wall time of the whole run; none where nothing is known."""
        return None if self.expected is None else self.expected.seconds


def estimate(
    plan: Plan,
    missing: Sequence[PlannedTrial],
    *,
    machine: Machine,
    store: StoreReader,
    facts: Mapping[str, Facts],
    timing_seconds: float,
    paces: Path,
    budget: Budget | None = None,
    epochs_done: Mapping[str, int] = MappingProxyType({}),
) -> Estimate:
    """Estimate what `missing` takes on a machine: memory first, then what each trial occupies, then time.

    Args:
        plan: that the trials belong to.
        missing: trials that have to run.
        machine: what there is to run them on.
        store: where like trials are looked for: the same but for seed and fold.
        facts: by variant, from `harness.preflight.check.check_plan`; without them nothing is scaled.
        timing_seconds: the most that timing steps may take; no further step is begun after them. With
            0 nothing is timed, and timings of before count.
        paces: folder where timings of this machine are kept, so that the next plan has them at once.
        budget: whose prices count.
        epochs_done: by the id of a trial that goes on from a state.

    Raises:
        HarnessError: the suite's resources do not fit a trial.
    """
    samples = _one_of_each(missing)
    on_gpus = on_gpu(plan.resources, machine)
    measured = _from_store(store, plan.resources.cpus) if samples else {}
    rows = {variant: measured.get(_structure(trial.spec), ()) for variant, trial in samples.items()}
    memory = {variant: _memory(rows[variant], facts.get(variant), on_gpus) for variant in samples}
    allotments = {
        variant: _allotment(plan.resources, trial, machine, memory[variant])
        for variant, trial in samples.items()
    }
    costs: dict[str, TrialCost] = {
        variant: _measured(alike)
        for variant in samples
        if (alike := _alike(rows[variant], allotments[variant]))
    }
    rest = {variant: respecify(trial.spec) for variant, trial in samples.items() if variant not in costs}
    timing = _Timing(plan.resources.cpus, on_gpus, paces, timing_seconds)
    if rest:
        costs |= _from_steps(rest, facts, timing)
    lengths = _lengths(samples, costs, facts)
    costs |= _from_the_others([variant for variant in rest if variant not in costs], costs, facts)
    left = {trial.id: (trial.variants[0], _epochs_left(trial, epochs_done)) for trial in missing}
    placed = {trial_id: allotments[variant] for trial_id, (variant, _) in left.items()}
    known = Estimate(
        trials={},
        expected=None,
        low=None,
        high=None,
        slots=at_once(list(placed.values()), machine),
        machine=machine,
        currency=None,
        basis="; ".join(["nothing is known of trials like these", *timing.failures]),
        allotments=placed,
        memory={trial_id: memory[variant] for trial_id, (variant, _) in left.items()},
        lengths={
            trial_id: lengths[variant] * part
            for trial_id, (variant, part) in left.items()
            if variant in lengths
        },
        warnings=tuple(misfits(allotments, memory, facts, machine)),
    )
    if missing and not costs:
        return known
    trials = {trial_id: costs[variant].share(part) for trial_id, (variant, part) in left.items()}
    low, expected, high = (
        totals(seconds, list(placed.values()), machine, budget)
        for seconds in (
            [cost.low for cost in trials.values()],
            [cost.seconds for cost in trials.values()],
            [cost.high for cost in trials.values()],
        )
    )
    return replace(
        known,
        trials=trials,
        expected=expected,
        low=low,
        high=high,
        currency=budget.currency if budget else None,
        basis=_basis(costs, timing, known) if missing else "nothing to run",
    )


def _allotment(
    resources: Resources, trial: PlannedTrial, machine: Machine, memory: ExpectedMemory
) -> Allotment:
    """Return what a trial occupies here: with fewer processes where the machine cannot hold all of them."""
    whole = allot(resources, trial.spec, machine, memory)
    return largest_that_fits(smaller(whole, trial.spec, resources.fewest_processes), machine)


def _epochs_left(trial: PlannedTrial, epochs_done: Mapping[str, int]) -> float:
    """Return the share of a trial's epochs that it still has to train."""
    epochs = int(trial.spec["train"]["epochs"])
    return 1 - epochs_done.get(trial.id, 0) / epochs


def totals(
    seconds: Sequence[float], allotments: Sequence[Allotment], machine: Machine, budget: Budget | None
) -> Totals:
    """Return what trials of these durations take that occupy this, each begun as soon as there is room."""
    hours = [one / 3600 for one in seconds]
    gpu_hours = sum(one * allotment.all_gpus for one, allotment in zip(hours, allotments, strict=True))
    cpu_hours = sum(one * allotment.all_cpus for one, allotment in zip(hours, allotments, strict=True))
    return Totals(
        seconds=schedule(seconds, allotments, machine) + STARTUP_SECONDS if seconds else 0.0,
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


@dataclass(frozen=True)
class _Measured:
    """What one complete trial took that ran in one go."""

    seconds: float
    peak_bytes: int | None
    on_gpu: bool
    processes: int
    gpus: float | None
    """Over all its processes; none in records of before."""


def _from_store(store: StoreReader, threads: int) -> dict[str, list[_Measured]]:
    """Return what trials took that computed with as many threads, by structure."""
    columns = ["spec", "status", "wall_seconds", "resumed_from", "peak_memory_bytes", "device", "threads"]
    found: dict[str, list[_Measured]] = {}
    for row in store.attempts.select([*columns, "world_size", "gpus"]).to_pylist():
        if row["threads"] == threads and row["status"] == "complete" and row["resumed_from"] is None:
            measured = _Measured(
                seconds=row["wall_seconds"],
                peak_bytes=row["peak_memory_bytes"],
                on_gpu=row["device"] != "cpu",
                processes=row["world_size"] or 1,
                gpus=row["gpus"],
            )
            found.setdefault(_structure(json.loads(row["spec"])), []).append(measured)
    return found


def _memory(rows: Sequence[_Measured], facts: Facts | None, on_gpus: bool) -> ExpectedMemory:
    """Return what a trial needs: the highest peak of like ones, on the GPU else the tensors of one step."""
    peaks = [row.peak_bytes for row in rows if row.peak_bytes is not None and row.on_gpu == on_gpus]
    if not on_gpus:
        return ExpectedMemory(main=max(peaks, default=None))
    return ExpectedMemory(gpu=max(peaks, default=facts.memory_bytes if facts else None))


def _alike(rows: Sequence[_Measured], allotment: Allotment) -> list[_Measured]:
    """Return those that ran in as many processes on the same kind of device.

    Among those on GPUs, where some had the same share, only these: a part of a GPU is slower than all of it.
    """
    found = [
        row for row in rows if row.on_gpu == (allotment.gpus > 0) and row.processes == allotment.processes
    ]
    same_share = [row for row in found if row.on_gpu and row.gpus == allotment.all_gpus]
    return same_share or found


def _measured(rows: Sequence[_Measured]) -> TrialCost:
    seconds = [row.seconds for row in rows]
    memory = max((row.peak_bytes for row in rows if row.peak_bytes is not None), default=None)
    return TrialCost(sum(seconds) / len(seconds), min(seconds), max(seconds), memory, "store")


class _Timing:
    """Times steps as long as it may, and keeps what it measured."""

    def __init__(self, threads: int, on_gpu: bool, folder: Path, seconds: float) -> None:
        self.threads = threads
        self.on_gpu = on_gpu
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

        seconds = self.seconds / 4  # two structures, each with its data set and validation beside the steps
        if self.on_gpu:
            return measure_pace_on_gpu(spec, threads=self.threads, seconds=seconds)
        return measure_pace(spec, threads=self.threads, on_cpu=True, seconds=seconds)

    def _key(self, spec: TrialSpec) -> str:
        from harness.preflight.structures import structure_key

        return content_hash(
            {
                "structure": structure_key(spec),
                "batch_size": spec.train.batch_size,
                "code": code_hash(),
                "threads": self.threads,
                "on_gpu": self.on_gpu,
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
    steps, images = _steps_and_images(spec)
    whole = step.times(steps).plus(image.times(images)).times(spec.train.epochs)
    return TrialCost(whole.expected, whole.low, whole.high, facts.memory_bytes if facts else None, source)


def _steps_and_images(spec: TrialSpec) -> tuple[int, int]:
    """Return the optimizer steps of an epoch, and the images that it validates."""
    from harness.preflight.structures import train_size
    from harness.train.sampler import steps_per_epoch

    steps = steps_per_epoch(train_size(spec), spec.train.batch_size)
    images = -(-spec.data.train_size // spec.folds) if spec.folds else spec.data.validation_size
    return steps, images


def _lengths(
    samples: Mapping[str, PlannedTrial], costs: Mapping[str, TrialCost], facts: Mapping[str, Facts]
) -> dict[str, float]:
    """Return how long variants take beside each other, in seconds where some are known, else in FLOPs.

    The order of trials is chosen by it, for which relative lengths do: nothing has to be timed.
    """
    work = {
        variant: _flops(respecify(samples[variant].spec), facts[variant])
        for variant in samples
        if variant in facts
    }
    known = {variant: cost.seconds for variant, cost in costs.items()}
    paces = [known[variant] / work[variant] for variant in known if work.get(variant)]
    if not known:
        return work
    if not paces:
        return known
    pace = statistics.median(paces)
    return {variant: pace * flops for variant, flops in work.items()} | known


def _flops(spec: TrialSpec, facts: Facts) -> float:
    """Return the operations of a whole trial, spread over its processes."""
    steps, images = _steps_and_images(spec)
    an_epoch = steps * spec.train.batch_size * facts.step_flops + images * facts.forward_flops
    return spec.train.epochs * an_epoch / spec.world_size


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


def _basis(costs: Mapping[str, TrialCost], timing: _Timing, known: Estimate) -> str:
    words = {
        "store": "from like trials in the store",
        "timed": "from timed steps on this machine",
        "scaled": "from these, scaled by FLOPs",
        "mean": "taken as the mean of the others",
    }
    counts = {source: sum(cost.source == source for cost in costs.values()) for source in words}
    parts = [f"{count} of {len(costs)} variants {words[source]}" for source, count in counts.items() if count]
    text = ", ".join(parts)
    if known.slots > 1 and counts["timed"]:
        text += f"; steps were timed one at a time, {known.slots} at once may be slower"
    text += f"; {STARTUP_SECONDS:.0f} s of it for starting and the report"
    return "; ".join([text, *dict.fromkeys(timing.failures)])
