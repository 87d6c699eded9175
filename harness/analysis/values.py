"""Values that analysis may use: complete trials alone, at their last epoch, by variant and seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.record import Record
from harness.analysis.stats import Floats
from harness.errors import HarnessError, did_you_mean
from harness.plan import Plan, recorded_name


@dataclass(frozen=True)
class Missing:
    """A value that the plan promises and the record lacks."""

    variant: str
    seed: int
    trial_id: str
    metric: str | None
    """None where the whole trial is absent."""
    reason: str


@dataclass(frozen=True)
class Pair:
    """Values of two variants on the seeds that both have."""

    of: str
    versus: str
    seeds: tuple[int, ...]
    trials: tuple[str, ...]
    """Ids of the trials of both sides, each once."""
    a: Floats
    """Values of `of`, shape (len(seeds),)."""
    b: Floats
    """Values of `versus`, in the same order."""
    same_trials: bool
    """Both variants are one configuration and share their trials."""


@dataclass(frozen=True)
class SeedTable:
    """One value per variant and seed, in the order of the plan."""

    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Floats
    """Shape (variants, seeds); NaN where there is none."""
    trial_ids: NDArray[np.object_]
    """Shape (variants, seeds)."""

    def of(self, variant: str) -> tuple[tuple[int, ...], tuple[str, ...], Floats]:
        """Return the seeds that a variant has, their trials and their values."""
        index = self.variants.index(variant)
        found = ~np.isnan(self.values[index])
        return self._seeds(found), tuple(self.trial_ids[index][found]), self.values[index][found]

    def pair(self, of: str, versus: str) -> Pair:
        """Return the paired values of two variants; no pairs where the plan lacks one of them."""
        if of not in self.variants or versus not in self.variants:
            nothing = np.empty(0)
            return Pair(of, versus, (), (), nothing, nothing, same_trials=False)
        first, second = self.variants.index(of), self.variants.index(versus)
        both = ~np.isnan(self.values[first] + self.values[second])
        ids, other_ids = self.trial_ids[first][both], self.trial_ids[second][both]
        return Pair(
            of=of,
            versus=versus,
            seeds=self._seeds(both),
            trials=tuple(dict.fromkeys([*ids, *other_ids])),
            a=self.values[first][both],
            b=self.values[second][both],
            same_trials=bool(both.any()) and list(ids) == list(other_ids),
        )

    def _seeds(self, chosen: NDArray[np.bool_]) -> tuple[int, ...]:
        return tuple(seed for seed, is_chosen in zip(self.seeds, chosen, strict=True) if is_chosen)


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
    """Return the values of a metric in complete trials, in the order of the plan and of epochs.

    A trial that several variants share stands once under each.

    Args:
        record: the run.
        metric: name as recorded, for instance "lpips_rand" or "loss/mse".
        split: "train" or "validation".
        label: a part of the data such as "colour=red"; None for the whole.

    Returns:
        Columns variant, seed, trial_id, label, epoch, value, last_epoch (of the trial).
    """
    rows = _recorded(record, metric, split)
    return _in_complete_trials(
        record, rows[rows["label"].isna() if label is None else rows["label"] == label]
    )


def final_values(
    record: Record, metric: str, *, split: str = "validation", label: str | None = None
) -> pd.DataFrame:
    """Return the value of a metric at the last epoch of every complete trial.

    Failed, interrupted, running and lost trials are left out, and so are values that
    are not finite; `missing` names both.  Arguments are those of `values_by_epoch`.

    Returns:
        Columns variant, seed, trial_id, epoch, value; in the order of the plan.
    """
    rows = _at_last_epoch(values_by_epoch(record, metric, split=split, label=label))
    return _finite(rows)[["variant", "seed", "trial_id", "epoch", "value"]].reset_index(drop=True)


def by_label(record: Record, metric: str, kind: str = "colour") -> pd.DataFrame:
    """Return the mean over seeds for every part of the data of one kind, at the last epoch.

    Returns:
        Columns variant, label ("red" for "colour=red"), mean, n (seeds); variants in the
        order of the plan, labels in alphabetical order.
    """
    prefix = f"{kind}="
    rows = _recorded(record, resolve_metric(record.plan, metric), "validation").dropna(subset="label")
    rows = rows[rows["label"].astype(str).str.startswith(prefix)]
    rows = _finite(_at_last_epoch(_in_complete_trials(record, rows)))
    order = [variant.name for variant in record.plan.variants]
    rows = rows.assign(
        label=rows["label"].astype(str).str.removeprefix(prefix),
        variant=pd.Categorical(rows["variant"], categories=order),
    )
    values = rows.groupby(["variant", "label"], observed=True)["value"]
    means = pd.DataFrame({"mean": values.mean(), "n": values.size()}).reset_index()
    return means.astype({"variant": "str"})


def seed_table(record: Record, metric: str, *, label: str | None = None) -> SeedTable:
    """Return the final validation values of a recorded metric as a table of variants and seeds."""
    return seed_table_of(record.plan, final_values(record, metric, label=label))


def seed_table_of(plan: Plan, frame: pd.DataFrame) -> SeedTable:
    """Return the rows of `frame` (variant, seed, trial_id, value) as a table of variants and seeds."""
    assert not frame.duplicated(["variant", "seed"]).any(), "one value per variant and seed"
    variants = tuple(variant.name for variant in plan.variants)
    rows = pd.Index(variants).get_indexer(pd.Index(frame["variant"]))
    columns = pd.Index(plan.seeds).get_indexer(pd.Index(frame["seed"]))
    values = np.full((len(variants), len(plan.seeds)), np.nan)
    trial_ids = np.full(values.shape, None, dtype=object)
    values[rows, columns] = frame["value"].to_numpy(np.float64)
    trial_ids[rows, columns] = frame["trial_id"].to_numpy(object)
    return SeedTable(variants, plan.seeds, values, trial_ids)


def missing(record: Record) -> list[Missing]:
    """Return what the plan promises and the record lacks, in the order of the plan.

    A trial without a complete attempt is named once; a complete one is named for every
    metric of the plan that has no finite value for the whole at its last epoch.
    """
    tried = record.trials.set_index("trial_id")
    status = {str(trial_id): str(value) for trial_id, value in tried["status"].items()}
    error = {str(trial_id): value for trial_id, value in tried["error_class"].items()}
    found = {metric: _last_whole_values(record, metric) for metric in record.plan.metrics}
    absent: list[Missing] = []
    for variant, seed, trial_id in _planned_rows(record.plan):
        if status.get(trial_id) != "complete":
            reason = _why_absent(status.get(trial_id), error.get(trial_id))
            absent.append(Missing(variant, seed, trial_id, None, reason))
            continue
        for metric, values in found.items():
            value = values.get(trial_id)
            if value is None:
                absent.append(Missing(variant, seed, trial_id, metric, "no value at the last epoch"))
            elif not np.isfinite(value):
                absent.append(Missing(variant, seed, trial_id, metric, f"the value is {value}"))
    return absent


def _why_absent(status: str | None, error_class: object) -> str:
    if status is None:
        return "not run"
    return f"failed: {error_class}" if status == "failed" and isinstance(error_class, str) else status


def _last_whole_values(record: Record, metric: str) -> dict[str, float]:
    rows = _at_last_epoch(values_by_epoch(record, metric))
    return {str(trial): float(value) for trial, value in zip(rows["trial_id"], rows["value"], strict=True)}


def _recorded(record: Record, metric: str, split: str) -> pd.DataFrame:
    rows = record.metrics
    return rows.loc[(rows["metric"] == metric) & (rows["split"] == split)]


def _in_complete_trials(record: Record, rows: pd.DataFrame) -> pd.DataFrame:
    merged = (
        rows[["trial_id", "attempt", "label", "epoch", "value"]]
        .merge(_complete_trials(record), on=["trial_id", "attempt"])
        .merge(planned_trials(record.plan), on="trial_id")
        .sort_values(["order", "epoch"], kind="stable", ignore_index=True)
    )
    return merged[["variant", "seed", "trial_id", "label", "epoch", "value", "last_epoch"]]


def _at_last_epoch(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["epoch"] == rows["last_epoch"]]


def _finite(rows: pd.DataFrame) -> pd.DataFrame:
    mask: NDArray[np.bool_] = np.isfinite(rows["value"].to_numpy(np.float64))
    return rows.loc[mask]


def _complete_trials(record: Record) -> pd.DataFrame:
    complete = record.trials.loc[record.trials["status"] == "complete"]
    return complete[["trial_id", "attempt", "epochs_done"]].rename(columns={"epochs_done": "last_epoch"})


def planned_trials(plan: Plan) -> pd.DataFrame:
    """Return the trials of the plan by variant, then seed: columns variant, seed, trial_id, order."""
    frame = pd.DataFrame(_planned_rows(plan), columns=["variant", "seed", "trial_id"])
    return frame.assign(order=range(len(frame)))


def _planned_rows(plan: Plan) -> list[tuple[str, int, str]]:
    position = {variant.name: index for index, variant in enumerate(plan.variants)}
    rank = {seed: index for index, seed in enumerate(plan.seeds)}
    rows = [(name, trial.seed, trial.id) for trial in plan.trials for name in trial.variants]
    return sorted(rows, key=lambda row: (position[row[0]], rank[row[1]]))
