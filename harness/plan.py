"""The plan: which trials a suite asks for. Plain data that can be read before anything runs.

A plan is stored with every run, so that analysis and reports need neither the
suite file nor the code of the components.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from pydantic import Field

from harness.budget import Budget
from harness.config import Frozen, MetricInfo
from harness.failures import FailureRules
from harness.grammar import Checkpoints, Claim, ReportOptions, Resources
from harness.pruning import Pruning


class Variant(Frozen):
    """One configuration of a suite, under the name that claims and reports use."""

    name: str
    title: str
    """Name for people, for instance "+ LAB" for the fourth step of a chain."""
    levels: dict[str, str]
    """Level of every factor."""
    factor: str | None = None
    """The factor that sets this variant apart; none for the reference."""
    previous: str | None = None
    """The step before it in a chain; none outside chains."""
    changes: dict[str, Any] = Field(default_factory=dict)
    """Dotted path -> value, where the configuration differs from the reference; null for removed."""
    why: str | None = None
    """Why the suite tries it."""
    reported: dict[str, float] = Field(default_factory=dict)
    """Figures that the source of the study gave, for instance {"parameters": 68148747}."""
    links: dict[str, str] = Field(default_factory=dict)
    """Title -> address of a tracker page or a published model."""


class PlannedTrial(Frozen):
    """One trial: its identity, its full specification and the variants that share it."""

    id: str
    variants: tuple[str, ...]
    seed: int
    fold: int | None = None
    """The part of the training split that it validates on; none without cross-validation."""
    spec: dict[str, Any]
    """`TrialSpec` as JSON."""


class Plan(Frozen):
    """Everything that a run is going to do and everything needed to read its results."""

    suite: str
    suite_hash: str
    question: str
    """Title of the report."""
    description: str
    task: str
    profile: str | None
    primary_metric: str
    metrics: dict[str, MetricInfo]
    """Every metric that the trials record, by name."""
    loss_terms: tuple[str, ...]
    """Every loss term that some variant has, in the order of the suite."""
    reference: str
    """The variant that all others are compared with."""
    variants: tuple[Variant, ...]
    """In the order of the suite; the reference first."""
    seeds: tuple[int, ...]
    folds: int | None = None
    """Parts of the cross-validation; none where the validation split is used."""
    trials: tuple[PlannedTrial, ...]
    """Distinct by id, seed by seed, so that an early stop leaves whole comparisons."""
    claims: tuple[Claim, ...]
    margins: dict[str, float]
    """Metric -> largest difference that counts as equivalent, where the suite declares one."""
    resources: Resources
    budget: Budget | None = None
    failures: FailureRules = FailureRules()
    pruning: Pruning | None = None
    checkpoints: Checkpoints = Checkpoints()
    report: ReportOptions
    trackers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Where trials are shown while they train: name of a tracker -> its Config as JSON."""
    questions: dict[str, str] = Field(default_factory=dict)
    """Factor -> what it is to find out, where the suite says so."""
    notes: tuple[str, ...] = ()
    """What a reader of this plan should know, for instance claims that `--only` left out."""

    def variant(self, name: str) -> Variant:
        """Return the variant of that name; `KeyError` if there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)

    def trial(self, variant: str, seed: int) -> PlannedTrial | None:
        """Return the trial of a variant and a seed, or none where the plan leaves it out."""
        for trial in self.trials:
            if trial.seed == seed and variant in trial.variants:
                return trial
        return None


STAND_IN = "_rand"
"""End of the name of a metric that rests on random features and stands in for one of published weights."""


def recorded_name(metrics: Container[str], name: str) -> str:
    """Return the name among `metrics` that a metric is recorded under: its own, else that of its stand-in."""
    return next((known for known in (name, f"{name}{STAND_IN}") if known in metrics), name)
