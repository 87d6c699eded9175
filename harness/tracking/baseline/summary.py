"""What a baseline holds, in figures: its runs, and the level and spread of every variant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.analysis.plain_json import plain_value
from harness.tracking.baseline.level import Level, level_of
from harness.tracking.baseline.model import Baseline, BaselineMetric, BaselineRun


@dataclass(frozen=True)
class LevelSummary:
    """The primary metric of one variant over the newest runs that share its configuration."""

    variant: str
    title: str
    runs: int
    """Runs that differ in their values."""
    mean: float | None
    """Mean of the means of runs; none without values."""
    between_sd: float | None
    """Standard deviation between the means of runs; none below two."""
    within_sd: float | None
    """Standard deviation between the values of a run, pooled over runs; none with one value each."""


@dataclass(frozen=True)
class BaselineSummary:
    """A baseline, as `baseline list` and `baseline show` tell it."""

    name: str
    suite: str
    profile: str | None
    metric: BaselineMetric
    """The primary one."""
    runs: tuple[BaselineRun, ...]
    levels: tuple[LevelSummary, ...]

    def brief(self) -> dict[str, Any]:
        """Return the line of a list as JSON values."""
        newest = self.runs[-1]
        return {
            "name": self.name,
            "suite": self.suite,
            "profile": self.profile,
            "runs": len(self.runs),
            "newest": newest.run,
            "commit": newest.commit,
            "when": newest.when.isoformat(),
        }

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        runs = [run.model_dump(mode="json", exclude={"configurations"}) for run in self.runs]
        return {
            "schema": 1,
            **self.brief(),
            "metric": self.metric.name,
            "levels": plain_value(self.levels),
            "runs": runs,
        }


def summary_of(baseline: Baseline) -> BaselineSummary:
    """Return what a baseline holds."""
    metric = baseline.metric_infos[baseline.primary_metric]
    variants = list(dict.fromkeys(name for run in reversed(baseline.runs) for name in run.configurations))
    newest = baseline.newest.fingerprint
    levels = {name: level_of(baseline, baseline.runs, name, metric.name) for name in variants}
    return BaselineSummary(
        name=baseline.name,
        suite=newest.suite,
        profile=newest.profile,
        metric=metric,
        runs=baseline.runs,
        levels=tuple(
            _summary(name, baseline.titles.get(name, name), level) for name, level in levels.items()
        ),
    )


def _summary(variant: str, title: str, level: Level) -> LevelSummary:
    samples = [np.array(list(values.values())) for values in level.values]
    means = np.array([values.mean() for values in samples])
    freedom = sum(values.size - 1 for values in samples)
    within = sum(((values - values.mean()) ** 2).sum() for values in samples)
    return LevelSummary(
        variant=variant,
        title=title,
        runs=len(samples),
        mean=float(means.mean()) if samples else None,
        between_sd=float(means.std(ddof=1)) if len(samples) > 1 else None,
        within_sd=float(np.sqrt(within / freedom)) if freedom else None,
    )
