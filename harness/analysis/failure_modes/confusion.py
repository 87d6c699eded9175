"""Confusion: what predictions show of a label kind, against what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.images import FOUND, LABEL, Images
from harness.analysis.stats import Floats, mean_interval
from harness.analysis.values import Replicate, by_fold
from harness.analysis.wording import format_replicates

MOST_PAIRS = 10  # confused pairs that are told one by one
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class ConfusedPair:
    """One label that predictions show as another."""

    label: str
    found: str
    count: int
    """Images, summed over trials."""
    of: int
    """Images of the label that show anything, summed over trials."""
    share: float
    """Mean over seeds, or folds, of the share of the label's images."""
    low: float | None
    """Lower end of the 95 % t interval of the share over seeds, cut at 0 and 1."""
    high: float | None
    sentence: str


@dataclass(frozen=True)
class Confusion:
    """Counts of what was found for every label of one kind, over all trials of a variant."""

    kind: str
    labels: tuple[str, ...]
    """Rows: what was asked for, in alphabetical order."""
    found: tuple[str, ...]
    """Columns: the labels, then what else was found."""
    counts: Mapping[str, Mapping[str, int]]
    """Label -> what was found -> images, summed over trials; without zeros."""
    shares: Mapping[str, Mapping[str, float]]
    """The same over the sum of the row."""
    undefined: Mapping[str, int]
    """Label -> images of which nothing can be said, summed over trials; they are in no count."""
    right: float | None
    """Share of the images that show their label: mean over trials; None where nothing is defined."""
    right_low: float | None
    """Lower end of its 95 % t interval over seeds, cut at 0 and 1."""
    right_high: float | None
    pairs: tuple[ConfusedPair, ...]
    """The pairs that are confused most often, ten at most."""
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    images: int
    """Images that show anything, each once."""


def confusions(images: Images) -> tuple[Confusion, ...]:
    """Return the confusion of every kind of label that predictions are read for."""
    return tuple(_confusion(images, kind) for kind in images.kinds if f"{FOUND}{kind}" in images.rows)


def _confusion(images: Images, kind: str) -> Confusion:
    rows = images.rows[images.rows[f"{LABEL}{kind}"].notna()]
    shown = rows[rows[f"{FOUND}{kind}"].notna()]
    labels = images.names(kind)
    found = [*labels, *sorted(set(map(str, shown[f"{FOUND}{kind}"])) - set(labels))]
    counts = np.array([_counts(part, kind, labels, found) for part in _by_trial(shown, images.trials)])
    total: NDArray[np.int64] = counts.sum(axis=0)
    right = _over_seeds(images, np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2)))
    absent = rows[rows[f"{FOUND}{kind}"].isna()][f"{LABEL}{kind}"].value_counts()
    return Confusion(
        kind=kind,
        labels=tuple(labels),
        found=tuple(found),
        counts=_named(labels, found, total, int),
        shares=_named(labels, found, total / np.maximum(total.sum(axis=1, keepdims=True), 1), float),
        undefined={label: int(absent.get(label, 0)) for label in labels},
        right=right[0],
        right_low=right[1],
        right_high=right[2],
        pairs=_pairs(images, labels, found, counts),
        n=len(images.replicates),
        replicates=images.replicates,
        trials=images.trials,
        images=int(shown["index"].nunique()),
    )


def _named(
    labels: Sequence[str], found: Sequence[str], table: NDArray[Any], convert: Callable[[Any], Number]
) -> dict[str, dict[str, Number]]:
    return {
        label: {name: convert(value) for name, value in zip(found, row, strict=True) if value}
        for label, row in zip(labels, table, strict=True)
    }


def _by_trial(rows: pd.DataFrame, trials: Sequence[str]) -> list[pd.DataFrame]:
    return [rows[rows["trial_id"] == trial] for trial in trials]


def _counts(rows: pd.DataFrame, kind: str, labels: Sequence[str], found: Sequence[str]) -> NDArray[np.int64]:
    """Return the counts of one trial, shape (labels, found)."""
    table = np.zeros((len(labels), len(found)), dtype=np.int64)
    asked, shown = (pd.Index(rows[f"{side}{kind}"]) for side in (LABEL, FOUND))
    np.add.at(table, (pd.Index(labels).get_indexer(asked), pd.Index(found).get_indexer(shown)), 1)
    return table


def _pairs(
    images: Images, labels: Sequence[str], found: Sequence[str], counts: NDArray[np.int64]
) -> tuple[ConfusedPair, ...]:
    total = counts.sum(axis=0)
    wrong = [(row, column) for row, column in np.argwhere(total) if labels[row] != found[column]]
    wrong.sort(key=lambda place: -total[place])
    return tuple(
        _pair(images, labels[row], found[column], counts, row, column) for row, column in wrong[:MOST_PAIRS]
    )


def _pair(
    images: Images, label: str, found: str, counts: NDArray[np.int64], row: int, column: int
) -> ConfusedPair:
    shown = counts[:, row].sum(axis=1)
    share, low, high = _over_seeds(images, counts[:, row, column], shown)
    assert share is not None, "a pair that was counted has a share"
    count, of = int(counts[:, row, column].sum()), int(shown.sum())
    interval = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    seeds = format_replicates([one for one, size in zip(images.replicates, shown, strict=True) if size])
    of_them = f"{count} of {of} images: {100 * share:.0f}{interval}%"
    return ConfusedPair(
        label=label,
        found=found,
        count=count,
        of=of,
        share=share,
        low=low,
        high=high,
        sentence=f"{label} is shown as {found} in {of_them}, {seeds}",
    )


def _over_seeds(
    images: Images, part: NDArray[np.int64], whole: NDArray[np.int64]
) -> tuple[float | None, float | None, float | None]:
    """Return the mean of part / whole over the trials that have any, and its t interval within 0 and 1."""
    there = whole > 0
    if not there.any():
        return None, None, None
    shares: Floats = part[there] / whole[there]
    replicates = [one for one, is_there in zip(images.replicates, there, strict=True) if is_there]
    found = mean_interval(by_fold(replicates, shares), folds=images.folds)
    if found.low is None or found.high is None or not found.sd:
        return found.mean, None, None
    return found.mean, max(0.0, found.low), min(1.0, found.high)
