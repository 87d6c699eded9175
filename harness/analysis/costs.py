"""What variants cost: one table of costs, their means, and comparisons as ratios over paired trials.

A cost is either exact, a property of the configuration, or measured on a machine.  The noise of
a measured one is the machine's and not that of the data, so the overlap of folds is not corrected for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from harness.analysis.effects import Kind, families_of
from harness.analysis.machines import machines_of, usual_machine
from harness.analysis.record import Record
from harness.analysis.stats import (
    ALPHA,
    MIN_VALUES,
    PairedDifference,
    benjamini_hochberg,
    holm,
    mean_interval,
    paired_difference,
)
from harness.analysis.values import (
    Pair,
    Replicate,
    ReplicateTable,
    planned_trials,
    replicate_table_of,
    whole_trials,
)
from harness.analysis.wording import MINUS, format_duration, format_significant
from harness.expectation import CostName

Cost: TypeAlias = CostName
CostVerdict = Literal["more", "less", "same", "inconclusive", "described"]
"""`same` is for exact costs alone, which are never inconclusive: they are compared without a test."""
Form = Literal["count", "bytes", "seconds", "hours", "rate"]

MIB = 1024**2


@dataclass(frozen=True)
class CostInfo:
    """What a cost means: enough to print and compare it."""

    name: Cost
    title: str
    """What a reader calls it, for instance "Training time"."""
    unit: str
    """Of the stored value."""
    direction: Literal["lower", "higher"]
    """Which way is better."""
    measured: bool
    """It depends on the machine and differs between repeats; else it is exact, a property of the
    configuration."""
    form: Form
    """How values are written, see `format_cost`."""
    description: str
    """One sentence: of what, and how it is taken."""


COST_INFOS: dict[Cost, CostInfo] = {
    info.name: info
    for info in (
        CostInfo("parameters", "Parameters", "", "lower", False, "count", "All parameters of the model."),
        CostInfo(
            "trainable_parameters",
            "Trainable parameters",
            "",
            "lower",
            False,
            "count",
            "Parameters that training changes, without frozen ones.",
        ),
        CostInfo(
            "forward_flops",
            "Forward FLOPs",
            "FLOPs",
            "lower",
            False,
            "count",
            "Operations of one forward pass over one image, a multiply-add counted as two.",
        ),
        CostInfo(
            "latency_seconds",
            "Latency",
            "s",
            "lower",
            True,
            "seconds",
            "Median time of one image alone through the trained model, on the trial's device and threads.",
        ),
        CostInfo(
            "latency_p95_seconds",
            "Latency, 95th percentile",
            "s",
            "lower",
            True,
            "seconds",
            "95th percentile of the same passes, of 20 or more; none for models slower than about 20 ms.",
        ),
        CostInfo(
            "peak_memory_bytes",
            "Peak memory",
            "bytes",
            "lower",
            True,
            "bytes",
            "Most memory of the device in a trial; on CPU that of the whole process.",
        ),
        CostInfo(
            "train_seconds",
            "Training time",
            "s",
            "lower",
            True,
            "seconds",
            "Time of the optimizer steps of a trial, without validation.",
        ),
        CostInfo(
            "gpu_hours",
            "GPU hours",
            "GPU h",
            "lower",
            True,
            "hours",
            "Wall time of a trial times the GPUs that it was allotted.",
        ),
        CostInfo(
            "cpu_hours",
            "CPU hours",
            "CPU h",
            "lower",
            True,
            "hours",
            "Wall time of a trial times its threads, over all its processes, where it ran on CPU.",
        ),
        CostInfo(
            "images_per_second",
            "Throughput",
            "images/s",
            "higher",
            True,
            "rate",
            "Images of the optimizer steps in a second.",
        ),
    )
}


@dataclass(frozen=True)
class CostMean:
    """One cost of one variant over the trials that can be compared."""

    cost: Cost
    variant: str
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    value: float | None
    """Geometric mean where the cost is measured, else the value itself; None without trials."""
    low: float | None = None
    """Lower end of the 95 % t interval of the mean, solved on logarithms; none for an exact cost."""
    high: float | None = None


@dataclass(frozen=True)
class CostRatio:
    """One cost of two variants, paired by seed and fold."""

    cost: Cost
    kind: Kind
    of: str
    versus: str
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    mean_of: float | None
    """Mean of `of` over the pairs, in the unit of the cost; geometric where it is measured."""
    ratio: float | None
    """Mean of `of` over that of `versus`, both as `mean_of`; None without pairs, or against 0."""
    low: float | None
    """Lower end of the 95 % t interval of the ratio, solved on logarithms; none for an exact cost."""
    high: float | None
    p_adjusted: float | None
    """Paired t on logarithms, over the family; None below 3 pairs and for an exact cost."""
    verdict: CostVerdict
    folds: int | None


def cost_values(record: Record, cost: Cost) -> pd.DataFrame:
    """Return a cost of the whole trials that can be compared, in the order of the plan.

    An exact cost is that of every whole trial.  Of a measured one are left out values that are
    not above 0, resumed trials, whose attempt saw a part of the training alone, and trials of
    any other machine (host, device, threads) than the one that ran the most.

    Returns:
        Columns variant, seed, fold, trial_id, value.
    """
    whole = record.trials[record.trials["trial_id"].isin(whole_trials(record)["trial_id"])]
    whole = whole.assign(value=_recorded(record, cost, whole).astype(float))
    if COST_INFOS[cost].measured:
        kept = _of_one_machine(whole[whole["resumed_from"].isna() & (whole["value"] > 0)])
    else:
        kept = whole[whole["value"].notna()]
    rows = kept[["trial_id", "value"]]
    merged = rows.merge(planned_trials(record.plan), on="trial_id").sort_values("order", ignore_index=True)
    return merged[["variant", "seed", "fold", "trial_id", "value"]]


def _recorded(record: Record, cost: Cost, trials: pd.DataFrame) -> pd.Series:
    """Return a cost of these trials, NaN where it is not recorded; index of `trials`."""
    if cost in ("latency_seconds", "latency_p95_seconds"):
        rows = record.costs[record.costs["name"] == cost] if len(record.costs) else None
        known = {} if rows is None else dict(zip(rows["trial_id"], rows["value"], strict=True))
        return trials["trial_id"].map(known)
    if cost in ("gpu_hours", "cpu_hours"):
        on_gpu = trials["device"].notna() & (trials["device"] != "cpu")
        units = _gpus(record, trials) if cost == "gpu_hours" else _cpus(trials)
        hours: pd.Series = trials["wall_seconds"].astype(float) * units / 3600
        return hours.where(on_gpu if cost == "gpu_hours" else trials["device"] == "cpu")
    return trials.get(cost, pd.Series(math.nan, index=trials.index))


def _gpus(record: Record, trials: pd.DataFrame) -> pd.Series:
    """Return the GPUs of each trial over its processes; those of the plan in records of before."""
    of_plan = record.plan.resources.gpus
    planned = pd.Series(math.nan if of_plan is None else of_plan, index=trials.index)
    return trials["gpus"].astype(float).fillna(planned) if "gpus" in trials else planned


def _cpus(trials: pd.DataFrame) -> pd.Series:
    """Return the threads of each trial over its processes, of which records of before had one."""
    threads: pd.Series = trials["threads"].astype(float)
    return threads * trials["world_size"].astype(float).fillna(1.0) if "world_size" in trials else threads


def _of_one_machine(trials: pd.DataFrame) -> pd.DataFrame:
    machines = machines_of(trials)
    usual = usual_machine(machines)
    return trials.loc[[machine == usual for machine in machines]]


def mean_costs(record: Record, cost: Cost) -> dict[str, CostMean]:
    """Return the mean cost of every variant, in the order of the plan."""
    table = cost_table_of(record, cost)
    return {variant: _mean(cost, variant, table) for variant in table.variants}


def _mean(cost: Cost, variant: str, table: ReplicateTable) -> CostMean:
    replicates, trials, values = table.of(variant)
    if not replicates:
        return CostMean(cost, variant, 0, replicates, trials, None)
    if not COST_INFOS[cost].measured:
        return CostMean(cost, variant, len(replicates), replicates, trials, float(values.mean()))
    found = mean_interval(np.log(values))
    return CostMean(
        cost,
        variant,
        len(replicates),
        replicates,
        trials,
        math.exp(found.mean),
        _exp(found.low),
        _exp(found.high),
    )


def compare_costs(record: Record, cost: Cost) -> list[CostRatio]:
    """Compare a cost of every variant with the reference, then with the step before it."""
    table = cost_table_of(record, cost)
    families = families_of(record.plan, table)
    return [ratio for kind, pairs in families.items() for ratio in judge_costs(cost, kind, pairs)]


def compare_cost_pairs(record: Record, cost: Cost) -> list[CostRatio]:
    """Compare a cost of every variant with that of every later one; all pairs are one family."""
    table = cost_table_of(record, cost)
    pairs = [table.pair(of, versus) for of, versus in combinations(table.variants, 2)]
    return judge_costs(cost, "pair", pairs)


def cost_table_of(record: Record, cost: Cost) -> ReplicateTable:
    """Return the values of `cost_values` by variant and replicate."""
    return replicate_table_of(record.plan, cost_values(record, cost))


def judge_costs(cost: Cost, kind: Kind, pairs: Sequence[Pair]) -> list[CostRatio]:
    """Compare the pairs of one family, whose values are in the unit of the cost."""
    if not COST_INFOS[cost].measured:
        return [_exact_ratio(cost, kind, pair) for pair in pairs]
    adjust = benjamini_hochberg if kind == "pair" else holm
    found = [paired_difference(np.log(pair.a), np.log(pair.b)) if pair.replicates else None for pair in pairs]
    adjusted = adjust([one.p if one and one.n >= MIN_VALUES else None for one in found])
    rows = zip(pairs, found, adjusted, strict=True)
    return [_ratio(cost, kind, *row) for row in rows]


def _ratio(
    cost: Cost, kind: Kind, pair: Pair, found: PairedDifference | None, p_adjusted: float | None
) -> CostRatio:
    verdict: CostVerdict = "described"
    if found is not None and p_adjusted is not None:
        verdict = "inconclusive" if p_adjusted >= ALPHA else "more" if found.mean > 0 else "less"
    return CostRatio(
        cost=cost,
        kind=kind,
        of=pair.of,
        versus=pair.versus,
        n=len(pair.replicates),
        replicates=pair.replicates,
        trials=pair.trials,
        mean_of=math.exp(np.log(pair.a).mean()) if found else None,
        ratio=math.exp(found.mean) if found else None,
        low=_exp(found.low) if found else None,
        high=_exp(found.high) if found else None,
        p_adjusted=p_adjusted,
        verdict=verdict,
        folds=pair.folds,
    )


def _exact_ratio(cost: Cost, kind: Kind, pair: Pair) -> CostRatio:
    """Compare without a test: one pair says all, since the cost has no noise."""
    of, versus = (float(side.mean()) if pair.replicates else None for side in (pair.a, pair.b))
    return CostRatio(
        cost=cost,
        kind=kind,
        of=pair.of,
        versus=pair.versus,
        n=len(pair.replicates),
        replicates=pair.replicates,
        trials=pair.trials,
        mean_of=of,
        ratio=of / versus if of is not None and versus else None,
        low=None,
        high=None,
        p_adjusted=None,
        verdict=_exact_verdict(pair),
        folds=pair.folds,
    )


def _exact_verdict(pair: Pair) -> CostVerdict:
    """Judge by every pair: a model whose size depends on the seed may be larger in one and not in another."""
    signs = set(np.sign(pair.a - pair.b))
    verdicts: dict[float, CostVerdict] = {1.0: "more", -1.0: "less", 0.0: "same"}
    if not signs:
        return "described"
    return verdicts[float(signs.pop())] if len(signs) == 1 else "inconclusive"


def format_cost(cost: Cost, value: float) -> str:
    """Return a value with its unit: "68.1 M", "1.34 ms", "4 min 10 s", "512 MiB", "9.60 CPU min".

    A negative value, of a difference, has a minus.
    """
    info = COST_INFOS[cost]
    sign, size = (MINUS if value < 0 else ""), abs(value)
    match info.form:
        case "count":
            text = _scaled(size)
        case "bytes":
            text = f"{_digits(size / MIB)} MiB"
        case "seconds":
            text = f"{_digits(1000 * size)} ms" if size < 0.1 else format_duration(size)
        case "hours":
            text = _hours(size, info.unit)
        case "rate":
            text = f"{_digits(size)} {info.unit}"
    return sign + text


def _scaled(size: float) -> str:
    steps = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))
    factor, prefix = next((step for step in steps if size >= step[0]), (1.0, ""))
    return f"{float(f'{size / factor:.3g}'):g}{prefix}"  # twice: 999.7 is "1000", not "1e+03"


def _hours(size: float, unit: str) -> str:
    """Return "1.20 GPU h", below an hour "12.0 GPU min", below a minute "3.50 GPU s"."""
    steps = ((1.0, "h"), (60.0, "min"), (3600.0, "s"))
    factor, name = next((step for step in steps if size * step[0] >= 1), steps[-1])
    return f"{_digits(size * factor)} {unit.removesuffix('h')}{name}"


def _digits(size: float) -> str:
    return format_significant(size) if size else "0"


def _exp(logarithm: float | None) -> float | None:
    return None if logarithm is None else math.exp(logarithm)
