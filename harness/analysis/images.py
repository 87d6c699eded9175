"""The images of one variant: what each of its whole trials found of every validation image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.record import Record
from harness.analysis.stats import Floats
from harness.analysis.values import LARGEST, Replicate, planned_trials, whole_trials

LABEL, FOUND = "label/", "found/"


@dataclass(frozen=True)
class Images:
    """The validation images of one variant; rows of all that follows are images, columns are trials."""

    rows: pd.DataFrame
    """One row per trial and image: columns trial_id, seed, fold, index, and those of the table of images."""
    folds: int | None

    @cached_property
    def trials(self) -> tuple[str, ...]:
        """Ids of the trials that have a table, in the order of the plan."""
        return tuple(self.rows["trial_id"].unique()) if len(self.rows) else ()

    @cached_property
    def replicates(self) -> tuple[Replicate, ...]:
        """Of the trials, in the same order."""
        first = self.rows.drop_duplicates("trial_id") if len(self.rows) else self.rows
        if first.empty:
            return ()
        return tuple(
            Replicate(int(seed), fold) for seed, fold in zip(first["seed"], first["fold"], strict=True)
        )

    @cached_property
    def index(self) -> pd.Index:
        """Every image that some trial has, ascending."""
        return pd.Index(np.unique(self.rows["index"])) if len(self.rows) else pd.Index([])

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that there are values of."""
        return tuple(str(name) for name in self.rows.columns)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of labels that images have, in the order of the table."""
        names = (str(name) for name in self.rows.columns)
        return tuple(name.removeprefix(LABEL) for name in names if name.startswith(LABEL))

    def values(self, metric: str) -> Floats:
        """Return a metric, shape (images, trials); NaN where it is not defined, or not usable."""
        table = self.rows.pivot(index="index", columns="trial_id", values=metric)
        found = table.reindex(index=self.index, columns=pd.Index(self.trials)).to_numpy(np.float64)
        return np.where(np.abs(found) <= LARGEST, found, np.nan)

    def labels(self, kind: str) -> NDArray[np.object_]:
        """Return the label of every image, shape (images,); None where it has none."""
        first = self.rows.drop_duplicates("index").set_index("index")[f"{LABEL}{kind}"]
        column = first.reindex(self.index)
        return column.astype(object).where(column.notna(), None).to_numpy(object)

    def names(self, kind: str) -> list[str]:
        """Return the labels of one kind that occur, in alphabetical order."""
        return sorted({str(name) for name in self.labels(kind) if name is not None})


def images_of(record: Record, variants: Sequence[str]) -> dict[str, Images]:
    """Return the images of variants: those of whole trials alone; no rows where no table was kept."""
    table, folds = record.images(), record.plan.folds
    if table.empty:
        return {variant: Images(pd.DataFrame(), folds) for variant in variants}
    whole = whole_trials(record)[["trial_id", "attempt"]]
    rows = table.merge(whole, on=["trial_id", "attempt"]).merge(planned_trials(record.plan), on="trial_id")
    rows = rows.sort_values(["order", "index"], kind="stable", ignore_index=True)
    rows = rows.drop(columns=["attempt", "order"])
    return {variant: Images(rows[rows["variant"] == variant], folds) for variant in variants}
