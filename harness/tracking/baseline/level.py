"""The level of a baseline: its newest runs of one configuration, each draw of noise once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.stats import ROUNDING
from harness.tracking.baseline.model import (
    Baseline,
    BaselineRun,
    Table,
)


@dataclass(frozen=True)
class Level:
    """The runs of a baseline that one variant is judged by, oldest first, and its values in them."""

    runs: tuple[BaselineRun, ...]
    values: tuple[Mapping[str, float], ...]
    """By key, one mapping a run."""

    def with_all(self, keys: Collection[str]) -> Level:
        """Return the runs that have all these seeds and folds, and of their values those alone.

        A mean over other seeds is another figure: what a seed has in common in all runs would count
        as a change.
        """
        rows = [
            (run, {key: values[key] for key in keys})
            for run, values in zip(self.runs, self.values, strict=True)
            if values.keys() >= set(keys)
        ]
        return Level(tuple(run for run, _ in rows), tuple(values for _, values in rows))

    def newest_first(self) -> list[tuple[BaselineRun, Mapping[str, float]]]:
        """Return every run and its values, the newest first."""
        return list(zip(reversed(self.runs), reversed(self.values), strict=True))


def level_of(
    baseline: Baseline, runs: Sequence[BaselineRun], variant: str, of: str, table: Table = "values"
) -> Level:
    """Return the level of a metric or cost of a variant: the newest runs that share its configuration.

    A change of the configuration that was added to the baseline begins a new level. A run with the
    same values as one after it is the same draw of noise and counts once, as the newer run: a commit
    that changes nothing says nothing about how far commits move a result.

    Args:
        baseline: the baseline.
        runs: those of its runs that may be used, oldest first.
        variant: name of the variant.
        of: name of the metric or cost.
        table: where its values are.
    """
    newest = next((run for run in reversed(runs) if variant in run.configurations), None)
    if newest is None:
        return Level((), ())
    kept: list[tuple[BaselineRun, Mapping[str, float]]] = []
    for run in reversed(runs):
        if run.configurations.get(variant, newest.configurations[variant]) != newest.configurations[variant]:
            break
        found = baseline.numbers(run.run, variant, of, table)
        if found and not any(same_values(found, values) for _, values in kept):
            kept.insert(0, (run, found))
    return Level(tuple(run for run, _ in kept), tuple(values for _, values in kept))


def same_values(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    """Return whether two runs gave the same values for the same seeds and folds, up to rounding."""
    return a.keys() == b.keys() and all(
        abs(a[key] - b[key]) <= ROUNDING * max(abs(a[key]), abs(b[key])) for key in a
    )
