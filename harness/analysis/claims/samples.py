"""What a record holds on one question of a claim: paired values of one variant or of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd

from harness.analysis.costs import COST_INFOS, Cost, cost_table_of
from harness.analysis.dynamics import MIN_EPOCHS, plateau_tolerance, quarters
from harness.analysis.record import Record
from harness.analysis.stats import Floats
from harness.analysis.values import (
    Replicate,
    ReplicateTable,
    by_fold,
    replicate_table,
    replicate_table_of,
    values_by_epoch,
)
from harness.config import MetricInfo

WINDOW = 5  # epochs at most that the ends of a gain are means over

Term = tuple[ReplicateTable, str]


@dataclass(frozen=True)
class Sample:
    """Values of two sides on the replicates that all of their variants have; the claim is about a - b."""

    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    """Ids of the trials of both sides, each once."""
    a: Floats
    """Sums over the variants of one side, a value per seed, or per fold where `folds` is given."""
    b: Floats
    """The same of the other side; 0 where the claim is about one variant alone."""
    same_trials: bool
    """Both sides are the same trials, so that nothing is compared."""
    folds: int | None
    """Parts of the cross-validation, whose overlap the statistics correct for; none without and for costs."""

    @property
    def n(self) -> int:
        """Values that the statistics have."""
        return int(self.a.size)


class Tables:
    """The tables that the claims of a record ask for, each made once."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._metrics: dict[tuple[str, str | None], ReplicateTable] = {}
        self._costs: dict[Cost, ReplicateTable] = {}

    def of_metric(self, metric: str, label: str | None) -> ReplicateTable:
        """Return the final values of a recorded metric."""
        key = (metric, label)
        if key not in self._metrics:
            self._metrics[key] = replicate_table(self.record, metric, label=label)
        return self._metrics[key]

    def of_cost(self, cost: Cost) -> ReplicateTable:
        """Return the values of a cost; of a measured one those that can be compared."""
        if cost not in self._costs:
            self._costs[cost] = cost_table_of(self.record, cost)
        return self._costs[cost]


def contrast(table: ReplicateTable, plus: Sequence[str], minus: Sequence[str]) -> Sample:
    """Return the sum over some variants beside the sum over others; a variant may stand there twice."""
    return _sample([(table, name) for name in plus], [(table, name) for name in minus], table.folds)


def cost_sample(table: ReplicateTable, plus: Sequence[str], minus: Sequence[str] = ()) -> Sample:
    """Return a cost of one variant, beside that of another; the noise is the machine's, so folds are not
    corrected for."""
    return _sample([(table, name) for name in plus], [(table, name) for name in minus], None)


def logarithms(sample: Sample) -> Sample:
    """Return a sample of positive values on a logarithmic scale, where a ratio is a difference."""
    return Sample(
        sample.replicates,
        sample.trials,
        np.log(sample.a),
        np.log(sample.b),
        sample.same_trials,
        sample.folds,
    )


def gain_sample(
    record: Record, info: MetricInfo, label: str | None, variant: str, by_epoch: int | None
) -> tuple[Sample, float | None]:
    """Return the late end of every curve of a variant beside an earlier one, and what counts as a plateau.

    With `by_epoch` E a trial of L > E epochs is taken over two windows of w epochs: from E on, E to
    E + w - 1, and the last ones, L - w + 1 to L; w is a quarter of the L - E epochs that follow, 1 at least
    and 5 at most.  No epoch before E counts, so that what was gained until then is not taken for a gain
    since.  Without it the windows are the last quarter of the epochs and the one before
    (`harness.analysis.dynamics`).

    Args:
        record: the run.
        info: the metric.
        label: a part of the data; none for the whole.
        variant: whose curves.
        by_epoch: epoch from which the gain is counted.

    Returns:
        a: late, b: early, a value per seed or fold; trials that are too short are left out.  And
        2 % of the change from the first to the best epoch, none where nothing changes.
    """
    rows = values_by_epoch(record, info.name, label=label)
    rows = rows[(rows["variant"] == variant) & np.isfinite(rows["value"])]
    late, early = [], []
    for _, curve in rows.groupby("trial_id", sort=False):
        ends = _ends(curve, by_epoch)
        if ends is not None:
            key = curve[["variant", "seed", "fold", "trial_id"]].iloc[0].to_dict()
            late.append({**key, "value": ends[0]})
            early.append({**key, "value": ends[1]})
    columns = ["variant", "seed", "fold", "trial_id", "value"]
    tables = [
        replicate_table_of(record.plan, pd.DataFrame(found, columns=columns)) for found in (late, early)
    ]
    sample = _sample([(tables[0], variant)], [(tables[1], variant)], record.plan.folds)
    return sample, plateau_tolerance(info, rows) if len(rows) else None


def _ends(curve: pd.DataFrame, by_epoch: int | None) -> tuple[float, float] | None:
    """Return the late and the early mean of one curve; none where it is too short or has gaps there."""
    if by_epoch is None:
        return quarters(curve["value"].to_numpy()) if len(curve) >= MIN_EPOCHS else None
    last = int(curve["last_epoch"].iloc[0])
    after = last - by_epoch
    if after < 1:
        return None
    width = min(max(after // 4, 1), WINDOW)
    epochs = curve["epoch"]
    windows = [
        curve.loc[(epochs >= start) & (epochs < start + width), "value"]
        for start in (last - width + 1, by_epoch)
    ]
    if any(len(window) < width for window in windows):
        return None
    return float(windows[0].mean()), float(windows[1].mean())


def too_short(record: Record, info: MetricInfo, variant: str, by_epoch: int | None) -> Counter[str]:
    """Return why whole trials of a variant have no gain, with their number."""
    rows = values_by_epoch(record, info.name)
    curves = rows[rows["variant"] == variant].groupby("trial_id")
    short = sum(_ends(curve, by_epoch) is None for _, curve in curves)
    why = f"fewer than {MIN_EPOCHS} epochs" if by_epoch is None else f"no epoch after {by_epoch}"
    return Counter({why: short}) if short else Counter()


def without_cost(record: Record, cost: Cost, variant: str) -> Counter[str]:
    """Return why complete trials of a variant have no cost that can be compared, with their number."""
    complete = set(record.trials.loc[record.trials["status"] == "complete", "trial_id"])
    planned = {trial.id for trial in record.plan.trials if variant in trial.variants} & complete
    table = cost_table_of(record, cost)
    found = set(table.of(variant)[1]) if variant in table.variants else set()
    measured = COST_INFOS[cost].measured
    why = "resumed, on another machine or not measured" if measured else "not recorded"
    return Counter({why: len(planned - found)}) if planned - found else Counter()


def _sample(plus: Sequence[Term], minus: Sequence[Term], folds: int | None) -> Sample:
    terms = [*plus, *minus]
    if any(name not in table.variants for table, name in terms):
        return Sample((), (), np.empty(0), np.empty(0), same_trials=False, folds=folds)
    rows = [table.values[table.variants.index(name)] for table, name in terms]
    ids = [table.trial_ids[table.variants.index(name)] for table, name in terms]
    there = ~np.isnan(np.sum(rows, axis=0))
    replicates = tuple(one for one, found in zip(terms[0][0].replicates, there, strict=True) if found)
    a, b = (
        _total([row[there] for row in side], len(replicates))
        for side in (rows[: len(plus)], rows[len(plus) :])
    )
    if folds is not None:
        a, b = by_fold(replicates, a), by_fold(replicates, b)
    named = [[str(one) for one in row[there]] for row in ids]
    return Sample(
        replicates=replicates,
        trials=tuple(dict.fromkeys(one for row in named for one in row)),
        a=a,
        b=b,
        same_trials=bool(replicates) and _same(terms, named, len(plus)),
        folds=folds,
    )


def _total(rows: Sequence[Floats], n: int) -> Floats:
    return reduce(np.add, rows, np.zeros(n))


def _same(terms: Sequence[Term], ids: Sequence[Sequence[str]], split: int) -> bool:
    """Tell whether both sides are the same values: the same trials, from the same table."""
    sides = [
        Counter((id(table), *row) for (table, _), row in zip(terms[part], ids[part], strict=True))
        for part in (slice(None, split), slice(split, None))
    ]
    return sides[0] == sides[1]
