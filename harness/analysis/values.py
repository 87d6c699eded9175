"""Values that analysis may use: whole trials alone, at their last epoch, by variant and replicate."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from harness.analysis.record import Record
from harness.analysis.stats import Floats
from harness.errors import HarnessError, did_you_mean
from harness.plan import Plan, PlannedTrial, recorded_name

LARGEST = 1e100
"""Size of a value beyond which squares and their sums overflow; no metric comes near it."""


class Replicate(NamedTuple):
    """What is repeated with every variant, and paired: a seed, and with cross-validation a fold of it."""

    seed: int
    fold: int | None = None


@dataclass(frozen=True)
class Missing:
    """A value that the plan promises and the record lacks."""

    variant: str
    seed: int
    fold: int | None
    trial_id: str
    metric: str | None
    """None where the whole trial is absent."""
    reason: str


@dataclass(frozen=True)
class Absence:
    """Values of one variant that are absent for one reason."""

    variant: str
    replicates: tuple[Replicate, ...]
    metrics: tuple[str, ...]
    """In the order of the plan; empty where the whole trials are absent."""
    reason: str


@dataclass(frozen=True)
class Pair:
    """Values of two variants on the replicates that both have."""

    of: str
    versus: str
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    """Ids of the trials of both sides, each once."""
    a: Floats
    """Values of `of`, shape (len(replicates),)."""
    b: Floats
    """Values of `versus`, in the same order."""
    same_trials: bool
    """Both variants are one configuration and share their trials."""
    folds: int | None
    """Parts of the cross-validation, whose overlap the statistics correct for; none without."""

    @property
    def samples(self) -> tuple[Floats, Floats]:
        """Both sides as the statistics take them, see `by_fold`."""
        return by_fold(self.replicates, self.a), by_fold(self.replicates, self.b)


@dataclass(frozen=True)
class ReplicateTable:
    """One value per variant and replicate, in the order of the plan."""

    variants: tuple[str, ...]
    replicates: tuple[Replicate, ...]
    values: Floats
    """Shape (variants, replicates); NaN where there is none."""
    trial_ids: NDArray[np.object_]
    """Shape (variants, replicates)."""
    folds: int | None
    """Parts of the cross-validation; none without."""

    def of(self, variant: str) -> tuple[tuple[Replicate, ...], tuple[str, ...], Floats]:
        """Return the replicates that a variant has, their trials and their values."""
        index = self.variants.index(variant)
        found = ~np.isnan(self.values[index])
        return self._replicates(found), tuple(self.trial_ids[index][found]), self.values[index][found]

    def pair(self, of: str, versus: str) -> Pair:
        """Return the paired values of two variants; no pairs where the plan lacks one of them."""
        if of not in self.variants or versus not in self.variants:
            nothing = np.empty(0)
            return Pair(of, versus, (), (), nothing, nothing, same_trials=False, folds=self.folds)
        first, second = self.variants.index(of), self.variants.index(versus)
        both = ~np.isnan(self.values[first] + self.values[second])
        ids, other_ids = self.trial_ids[first][both], self.trial_ids[second][both]
        return Pair(
            of=of,
            versus=versus,
            replicates=self._replicates(both),
            trials=tuple(dict.fromkeys([*ids, *other_ids])),
            a=self.values[first][both],
            b=self.values[second][both],
            same_trials=bool(both.any()) and list(ids) == list(other_ids),
            folds=self.folds,
        )

    def _replicates(self, chosen: NDArray[np.bool_]) -> tuple[Replicate, ...]:
        return tuple(one for one, is_chosen in zip(self.replicates, chosen, strict=True) if is_chosen)


def replicates_of(plan: Plan) -> tuple[Replicate, ...]:
    """Return the replicates of a plan: its seeds, each with every fold."""
    folds = [None] if plan.folds is None else range(plan.folds)
    return tuple(Replicate(seed, fold) for seed in plan.seeds for fold in folds)


def by_fold(replicates: Sequence[Replicate], values: Floats) -> Floats:
    """Return the mean of every fold over its seeds, in the order of folds; values of seeds as they are.

    Every seed uses the same parts, so its folds tell nothing new about the data: what varies
    between data sets is seen between folds alone.

    Args:
        replicates: where the values come from.
        values: shape (len(replicates),).
    """
    if all(replicate.fold is None for replicate in replicates):
        return values
    folds = np.array([replicate.fold for replicate in replicates])
    return np.array([values[folds == fold].mean() for fold in np.unique(folds)])


def value_count(replicates: Sequence[Replicate]) -> int:
    """Return how many values the statistics have of these replicates: seeds, or folds."""
    folds = {replicate.fold for replicate in replicates}
    return len(replicates) if folds <= {None} else len(folds)


def shown_metrics(plan: Plan) -> list[str]:
    """Return the metrics that are shown to whoever names none: all but details, in the order of the plan."""
    return [name for name, info in plan.metrics.items() if not info.detail]


def resolve_metric(plan: Plan, name: str) -> str:
    """Return the name under which the run records a metric: its own, or that of its stand-in.

    Raises:
        HarnessError: the run records neither.
    """
    found = recorded_name(plan.metrics, name)
    if found not in plan.metrics:
        raise HarnessError(f"the run records no metric '{name}'{did_you_mean(name, plan.metrics)}")
    return found


def values_by_epoch(
    record: Record, metric: str, *, split: str = "validation", label: str | None = None
) -> pd.DataFrame:
    """Return the values of a metric in whole trials, in the order of the plan and of epochs.

    A trial that several variants share stands once under each.

    Args:
        record: the run.
        metric: name as recorded, for instance "lpips_rand" or "loss/mse".
        split: "train" or "validation".
        label: a part of the data such as "colour=red"; None for the whole.

    Returns:
        Columns variant, seed, fold, trial_id, label, epoch, value, last_epoch (of the trial).
    """
    rows = _recorded(record, metric, split)
    return _in_whole_trials(record, rows[rows["label"].isna() if label is None else rows["label"] == label])


def final_values(
    record: Record, metric: str, *, split: str = "validation", label: str | None = None
) -> pd.DataFrame:
    """Return the value of a metric at the last epoch of every whole trial.

    Trials of any other status than complete, and those cut short, are left out, and so are
    values that are not finite; `missing` names them all.  Arguments are those of `values_by_epoch`.

    Returns:
        Columns variant, seed, fold, trial_id, epoch, value; in the order of the plan.
    """
    rows = _at_last_epoch(values_by_epoch(record, metric, split=split, label=label))
    columns = ["variant", "seed", "fold", "trial_id", "epoch", "value"]
    return _finite(rows)[columns].reset_index(drop=True)


def by_label(record: Record, metric: str, kind: str = "colour") -> pd.DataFrame:
    """Return the mean over replicates for every part of the data of one kind, at the last epoch.

    Returns:
        Columns variant, label ("red" for "colour=red"), mean, n (replicates); variants in the
        order of the plan, labels in alphabetical order.
    """
    prefix = f"{kind}="
    rows = _recorded(record, resolve_metric(record.plan, metric), "validation").dropna(subset="label")
    rows = rows[rows["label"].astype(str).str.startswith(prefix)]
    rows = _finite(_at_last_epoch(_in_whole_trials(record, rows)))
    order = [variant.name for variant in record.plan.variants]
    rows = rows.assign(
        label=rows["label"].astype(str).str.removeprefix(prefix),
        variant=pd.Categorical(rows["variant"], categories=order),
    )
    values = rows.groupby(["variant", "label"], observed=True)["value"]
    means = pd.DataFrame({"mean": values.mean(), "n": values.size()}).reset_index()
    return means.astype({"variant": "str"})


def replicate_table(record: Record, metric: str, *, label: str | None = None) -> ReplicateTable:
    """Return the final validation values of a recorded metric as a table of variants and replicates."""
    return replicate_table_of(record.plan, final_values(record, metric, label=label))


def replicate_table_of(plan: Plan, frame: pd.DataFrame) -> ReplicateTable:
    """Return the rows of `frame` (variant, seed, fold, trial_id, value) by variant and replicate."""
    assert not frame.duplicated(["variant", "seed", "fold"]).any(), "one value per variant and replicate"
    variants, replicates = tuple(variant.name for variant in plan.variants), replicates_of(plan)
    position = {replicate: index for index, replicate in enumerate(replicates)}
    rows = pd.Index(variants).get_indexer(pd.Index(frame["variant"]))
    columns = [position[Replicate(*key)] for key in zip(frame["seed"], frame["fold"], strict=True)]
    values = np.full((len(variants), len(replicates)), np.nan)
    trial_ids = np.full(values.shape, None, dtype=object)
    values[rows, columns] = frame["value"].to_numpy(np.float64)
    trial_ids[rows, columns] = frame["trial_id"].to_numpy(object)
    return ReplicateTable(variants, replicates, values, trial_ids, plan.folds)


def missing(record: Record) -> list[Missing]:
    """Return what the plan promises and the record lacks, in the order of the plan.

    A trial that is not whole (see `whole_trials`) is named once; a whole one is named for every
    metric of the plan that has no finite value for all of the data at its last epoch.
    """
    why = _why_not_whole(record)
    found = _last_whole_values(record)
    absent: list[Missing] = []
    for variant, seed, fold, trial_id in _planned_rows(record.plan):
        if trial_id in why:
            absent.append(Missing(variant, seed, fold, trial_id, None, why[trial_id]))
            continue
        for metric in record.plan.metrics:
            value = found.get((metric, trial_id))
            if value is None:
                reason = "no value at the last epoch"
                absent.append(Missing(variant, seed, fold, trial_id, metric, reason))
            elif not is_usable(value):
                absent.append(Missing(variant, seed, fold, trial_id, metric, f"the value is {value}"))
    return absent


def absences(record: Record) -> list[Absence]:
    """Return what is missing, the replicates and metrics of one variant and reason together."""
    replicates: dict[tuple[str, str, str | None], list[Replicate]] = {}
    for one in missing(record):
        key = (one.variant, one.reason, one.metric)
        replicates.setdefault(key, []).append(Replicate(one.seed, one.fold))
    metrics: dict[tuple[str, str, tuple[Replicate, ...]], list[str]] = {}
    for (variant, reason, metric), affected in replicates.items():
        named = metrics.setdefault((variant, reason, tuple(affected)), [])
        named += [] if metric is None else [metric]
    return [
        Absence(variant, affected, tuple(named), reason)
        for (variant, reason, affected), named in metrics.items()
    ]


def whole_trials(record: Record) -> pd.DataFrame:
    """Return the trials whose values count: complete, and trained for all epochs that the plan asks for.

    A trial that stopped early as its configuration has it is whole.

    Returns:
        Columns trial_id, attempt, last_epoch.
    """
    ids = {trial.id for trial in record.plan.trials} - _why_not_whole(record).keys()
    columns = record.trials[["trial_id", "attempt", "epochs_done"]]
    is_whole = [trial_id in ids for trial_id in columns["trial_id"].tolist()]
    return columns.loc[is_whole].rename(columns={"epochs_done": "last_epoch"})


def why_absent(trial: PlannedTrial, row: Mapping[Hashable, Any] | None) -> str | None:
    """Return why a trial gives no values, for instance "failed: ValueError"; none where it is whole.

    Args:
        trial: as planned.
        row: status, error_class and epochs_done of the attempt that answers for it, and failure_kind and
            error where they are to be named; none without one.
    """
    if row is None:
        return "not run"
    status = str(row["status"])
    if status == "failed" and isinstance(row["error_class"], str):
        return f"failed{_kind_of_failure(row)}: {row['error_class']}{_way_out(row)}"
    if status == "pruned":
        return f"pruned at epoch {int(row['epochs_done'])}"
    if status != "complete":
        return status
    epochs = _planned_epochs(trial)
    if epochs is not None and row["epochs_done"] < epochs:
        return f"cut short: {int(row['epochs_done'])} of {epochs} epochs"
    return None


def _kind_of_failure(row: Mapping[Hashable, Any]) -> str:
    """Return how a trial failed where its class does not say it: ", out of memory"."""
    kind = row.get("failure_kind")
    if not isinstance(kind, str) or kind in ("user_error", "non_finite"):
        return ""
    return f", {kind.replace('_', ' ')}"


def _way_out(row: Mapping[Hashable, Any]) -> str:
    """Return what would help a trial that needs too much memory, as its record says: "; it would ..."."""
    error = row.get("error")
    if row.get("failure_kind") != "out_of_memory" or not isinstance(error, str):
        return ""
    advice = error.partition("\n")[0].rpartition("; ")[2]
    return f"; {advice}"


def _why_not_whole(record: Record) -> dict[str, str]:
    """Return the reason for every planned trial that has no whole attempt."""
    names = ("status", "error_class", "epochs_done", "failure_kind", "error")
    rows = zip(
        *(record.trials[name].tolist() for name in names), strict=True
    )  # to_dict takes ten times as long
    states = (dict(zip(names, row, strict=True)) for row in rows)
    tried = dict(zip(record.trials["trial_id"].tolist(), states, strict=True))
    reasons = {trial.id: why_absent(trial, tried.get(trial.id)) for trial in record.plan.trials}
    return {trial_id: reason for trial_id, reason in reasons.items() if reason is not None}


def _planned_epochs(trial: PlannedTrial) -> int | None:
    """Return the epochs that a trial must reach; none where it may stop early, or its plan does not say."""
    train = trial.spec.get("train", {})
    return None if train.get("early_stopping") is not None else train.get("epochs")


def _last_whole_values(record: Record) -> dict[tuple[str, str], float]:
    """Return the value of every metric and trial over the whole of the data, at the last epoch."""
    rows = record.metrics.loc[(record.metrics["split"] == "validation") & record.metrics["label"].isna()]
    last = _at_last_epoch(rows.merge(whole_trials(record), on=["trial_id", "attempt"]))
    keys = zip(last["metric"].tolist(), last["trial_id"].tolist(), strict=True)
    return dict(zip(keys, last["value"].tolist(), strict=True))


def _recorded(record: Record, metric: str, split: str) -> pd.DataFrame:
    rows = record.metrics
    return rows.loc[(rows["metric"] == metric) & (rows["split"] == split)]


def _in_whole_trials(record: Record, rows: pd.DataFrame) -> pd.DataFrame:
    merged = (
        rows[["trial_id", "attempt", "label", "epoch", "value"]]
        .merge(whole_trials(record), on=["trial_id", "attempt"])
        .merge(planned_trials(record.plan), on="trial_id")
        .sort_values(["order", "epoch"], kind="stable", ignore_index=True)
    )
    return merged[["variant", "seed", "fold", "trial_id", "label", "epoch", "value", "last_epoch"]]


def _at_last_epoch(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["epoch"] == rows["last_epoch"]]


def is_usable(values: ArrayLike) -> NDArray[np.bool_]:
    """Tell of each value whether statistics can be computed with it: its square is far from overflow."""
    usable: NDArray[np.bool_] = np.abs(np.asarray(values, np.float64)) <= LARGEST  # NaN is not
    return usable


def _finite(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.loc[is_usable(rows["value"])]


def planned_trials(plan: Plan) -> pd.DataFrame:
    """Return the trials of the plan by variant, then seed and fold.

    Returns:
        Columns variant, seed, fold (None without folds), trial_id, order.
    """
    frame = pd.DataFrame(_planned_rows(plan), columns=["variant", "seed", "fold", "trial_id"])
    return frame.assign(order=range(len(frame)))


def _planned_rows(plan: Plan) -> list[tuple[str, int, int | None, str]]:
    position = {variant.name: index for index, variant in enumerate(plan.variants)}
    rank = {replicate: index for index, replicate in enumerate(replicates_of(plan))}
    rows = [(name, trial.seed, trial.fold, trial.id) for trial in plan.trials for name in trial.variants]
    return sorted(rows, key=lambda row: (position[row[0]], rank[Replicate(row[1], row[2])]))
