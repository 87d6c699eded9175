"""Time and throughput of variants, as ratios of geometric means over paired trials.

Their noise is the machine's and not that of the data, so the overlap of folds is not corrected for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from harness.analysis.effects import MIN_VALUES, Kind, families_of
from harness.analysis.record import Record
from harness.analysis.stats import ALPHA, PairedDifference, holm, paired_difference
from harness.analysis.values import Pair, Replicate, ReplicateTable, planned_trials, replicate_table_of

Cost = Literal["train_seconds", "images_per_second"]
CostVerdict = Literal["more", "less", "inconclusive", "described"]

MACHINE = ["host", "device", "threads"]


@dataclass(frozen=True)
class CostMean:
    """One cost of one variant over the trials that can be compared."""

    cost: Cost
    variant: str
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    value: float | None
    """Geometric mean, in the unit of the cost; None without trials."""


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
    """Geometric mean of `of` over the pairs, in the unit of the cost."""
    ratio: float | None
    """Geometric mean of of / versus."""
    low: float | None
    """Lower end of the 95 % t interval of the ratio, solved on logarithms."""
    high: float | None
    p_adjusted: float | None
    """Paired t on logarithms, Holm over the family; None below 3 pairs."""
    verdict: CostVerdict
    folds: int | None


def cost_values(record: Record, cost: Cost) -> pd.DataFrame:
    """Return a cost of the complete trials that can be compared, in the order of the plan.

    Left out are resumed trials, whose attempt saw a part of the training alone, and trials
    of any other machine (host, device, threads) than the one that ran the most.

    Returns:
        Columns variant, seed, fold, trial_id, value.
    """
    trials = record.trials
    whole = trials[(trials["status"] == "complete") & trials["resumed_from"].isna() & (trials[cost] > 0)]
    machines = pd.Series([*zip(*(whole[name].astype(str) for name in MACHINE), strict=True)], whole.index)
    usual = whole[machines == min(machines.mode())] if len(whole) else whole
    rows = usual[["trial_id"]].assign(value=usual[cost].astype(float))
    merged = rows.merge(planned_trials(record.plan), on="trial_id").sort_values("order", ignore_index=True)
    return merged[["variant", "seed", "fold", "trial_id", "value"]]


def mean_costs(record: Record, cost: Cost) -> dict[str, CostMean]:
    """Return the mean cost of every variant, in the order of the plan."""
    table = _log_table(record, cost)
    means = {}
    for variant in table.variants:
        replicates, trials, logarithms = table.of(variant)
        value = math.exp(logarithms.mean()) if replicates else None
        means[variant] = CostMean(cost, variant, len(replicates), replicates, trials, value)
    return means


def compare_costs(record: Record, cost: Cost) -> list[CostRatio]:
    """Compare a cost of every variant with the reference, then with the step before it."""
    table = _log_table(record, cost)
    families = families_of(record.plan, table)
    return [ratio for kind, pairs in families.items() for ratio in _judge(cost, kind, pairs)]


def _log_table(record: Record, cost: Cost) -> ReplicateTable:
    frame = cost_values(record, cost)
    return replicate_table_of(record.plan, frame.assign(value=np.log(frame["value"])))


def _judge(cost: Cost, kind: Kind, pairs: Sequence[Pair]) -> list[CostRatio]:
    found = [paired_difference(pair.a, pair.b) if pair.replicates else None for pair in pairs]
    adjusted = holm([one.p if one and one.n >= MIN_VALUES else None for one in found])
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
        mean_of=math.exp(pair.a.mean()) if found else None,
        ratio=math.exp(found.mean) if found else None,
        low=_exp(found.low) if found else None,
        high=_exp(found.high) if found else None,
        p_adjusted=p_adjusted,
        verdict=verdict,
        folds=pair.folds,
    )


def _exp(logarithm: float | None) -> float | None:
    return None if logarithm is None else math.exp(logarithm)
