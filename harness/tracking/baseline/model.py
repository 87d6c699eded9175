"""Baselines: stored runs that later runs are gated against, one small JSON file each, meant for git.

A file holds all that judging and printing needs, so that neither a store nor git is asked: per run
its fingerprint, configurations and the values of every metric by seed and fold at full precision.
Every run, and every (run, variant, metric), is one line, so that a difference can be read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, model_validator

from harness import catalog
from harness.analysis.costs import Cost
from harness.analysis.machines import Machine
from harness.analysis.values import Replicate
from harness.analysis.wording import MOST_DECIMALS
from harness.config import Frozen, MetricInfo
from harness.planning.difference import format_setting, setting_changes
from harness.provenance import short_commit

SCHEMA: Literal[1] = 1
COSTS: tuple[Cost, ...] = ("train_seconds", "latency_seconds", "peak_memory_bytes", "parameters")
LARGEST_VALUE = 1e100  # its square can still be summed
NOT_TEXT = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Characters that command a terminal, break a line or turn the direction of what follows."""
Text = Annotated[str, StringConstraints(max_length=1000, pattern=f"^[^{NOT_TEXT}]*$")]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=300)]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,64}$")]
Key = Annotated[str, StringConstraints(pattern=r"^\d{1,18}(/\d{1,9})?$")]
"""A seed, with cross-validation SEED/FOLD."""
Table = Literal["values", "costs"]
Number = Annotated[float, Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE)]


class BaselineMachine(Frozen):
    """What costs depend on, see `analysis.machines`."""

    host: Text
    device: Text
    threads: int | None

    def __str__(self) -> str:
        return str(Machine(self.host, self.device, self.threads))


class Fingerprint(Frozen):
    """What must be equal for the values of two runs to be comparable."""

    suite: Name
    profile: Text | None
    task: Text
    data: dict[str, JsonValue]
    """The data section of the reference, with the version of the data."""
    seeds: tuple[int, ...]
    folds: int | None
    device: Text
    """Kind of device: cpu or cuda."""

    def difference(self, other: Fingerprint) -> str | None:
        """Return in words the first thing that `other` has otherwise; none where there is nothing."""
        mine, others = self.model_dump(mode="json"), other.model_dump(mode="json")
        for path, change in setting_changes(mine, others).items():
            before, after = format_setting(change.before), format_setting(change.after)
            return f"{path} is {after}, in the baseline {before}"
        return None


class BaselineMetric(MetricInfo):
    """What a metric means, with bounds for what a file may say."""

    name: Name
    title: Text
    symbol: Text
    unit: Text = ""
    decimals: int = Field(default=3, ge=0, le=MOST_DECIMALS)
    description: Text


class BaselineRun(Frozen):
    """One run of a baseline, without its values."""

    run: Name
    commit: Text | None
    dirty: bool
    """Its work tree held changes that were not committed."""
    code: Hash
    """Of the sources of training, plugins included."""
    when: datetime
    machine: BaselineMachine
    missing: int = Field(ge=0)
    """Planned trials that gave no values."""
    fingerprint: Fingerprint
    configurations: Annotated[dict[Name, Hash], Field(min_length=1)]
    """Variant -> hash of its configuration, in the order of the plan."""

    @property
    def revision(self) -> str:
        """The commit in short, with a mark where the work tree held changes; else the run's id."""
        return short_commit(self.commit, dirty=self.dirty) if self.commit else self.run


class Values(Frozen):
    """The values of one metric, or cost, of one variant in one run."""

    run: Name
    variant: Name
    of: Name
    values: dict[Key, Number]


class Baseline(Frozen):
    """Runs of one level, oldest first, and what it takes to judge and print against them."""

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
    name: Annotated[str, StringConstraints(pattern=f"^(?:{catalog.NAME})$")]
    primary_metric: Name
    """Of the newest run, as are titles and margins."""
    titles: dict[Name, Text]
    """Variant -> name for people."""
    margins: dict[Name, Annotated[float, Field(gt=0, le=LARGEST_VALUE)]]
    """Metric -> largest difference that does not matter, where the suite declares one."""
    metrics: tuple[BaselineMetric, ...]
    configurations: dict[Hash, dict[str, JsonValue]]
    """Hash -> the configuration, without seed and fold."""
    runs: Annotated[tuple[BaselineRun, ...], Field(min_length=1)]
    values: tuple[Values, ...]
    costs: tuple[Values, ...]

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        runs = [run.run for run in self.runs]
        if len(set(runs)) < len(runs):
            raise ValueError("a run stands twice")
        hashes = {one for run in self.runs for one in run.configurations.values()}
        if absent := hashes - self.configurations.keys():
            raise ValueError(f"the configuration {min(absent)} is not there")
        for one in (*self.values, *self.costs):
            if one.run not in runs:
                raise ValueError(f"values of the run {one.run!r}, which is not there")
        for rows in (self.values, self.costs):
            keys = Counter((one.run, one.variant, one.of) for one in rows)
            if twice := next((key for key, count in keys.items() if count > 1), None):
                raise ValueError(f"{twice[2]} of {twice[1]} in the run {twice[0]} stands twice")
        if any(value <= 0 for one in self.costs for value in one.values.values()):
            raise ValueError("a cost is not above 0")
        if self.primary_metric not in self.metric_infos:
            raise ValueError(f"the primary metric {self.primary_metric!r} is not among the metrics")
        return self

    @property
    def newest(self) -> BaselineRun:
        """The run that was added last."""
        return self.runs[-1]

    @cached_property
    def metric_infos(self) -> dict[str, BaselineMetric]:
        """What every metric means, by name, in the order of the plan."""
        return {metric.name: metric for metric in self.metrics}

    @cached_property
    def _index(self) -> dict[tuple[Table, str, str, str], dict[str, float]]:
        tables: dict[Table, tuple[Values, ...]] = {"values": self.values, "costs": self.costs}
        return {
            (table, one.run, one.variant, one.of): one.values
            for table, rows in tables.items()
            for one in rows
        }

    def numbers(self, run: str, variant: str, of: str, table: Table = "values") -> Mapping[str, float]:
        """Return the values of a metric, or cost, by key (seed, or seed/fold); empty where there are none."""
        return self._index.get((table, run, variant, of), {})

    def configuration(self, run: BaselineRun, variant: str) -> Mapping[str, JsonValue]:
        """Return the configuration of a variant of a run."""
        return self.configurations[run.configurations[variant]]


def key_of(replicate: Replicate) -> str:
    """Return a seed, or seed and fold, as a file writes it: "3", "3/0"."""
    return f"{replicate.seed}" if replicate.fold is None else f"{replicate.seed}/{replicate.fold}"


def replicate_of(key: str) -> Replicate:
    """Return the replicate that a file writes so."""
    seed, _, fold = key.partition("/")
    return Replicate(int(seed), int(fold) if fold else None)


def clean(text: str) -> str:
    """Return a text in one line, without characters that are `NOT_TEXT`."""
    return re.sub(f"[{NOT_TEXT}]+", " ", text)[:1000]
