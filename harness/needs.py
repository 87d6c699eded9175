"""What a suite needs on this machine before it can run: files of published weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import TrialSpec
from harness.plan import Plan
from harness.planning.build import plan_suite
from harness.registry import registry
from harness.specify import respecify
from harness.suite import load_suite
from harness.weights import FetchError, NeedsWeights, WeightFile


@dataclass(frozen=True)
class Need:
    """A file of weights, and what of a suite reads it."""

    file: WeightFile
    used_by: tuple[str, ...]
    """Such as `loss.lpips`, or `metrics`."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "title": self.file.title,
            "used_by": list(self.used_by),
            "present": self.file.present(),
            "path": str(self.file.path),
            "megabytes": self.file.size,
            "url": self.file.url,
            "repo": self.file.repo,
        }


def weights_of_suite(
    path: Path | str, *, profile: str | None = None, overrides: Sequence[str] = ()
) -> list[Need]:
    """Return the files of weights that the variants of a suite need, each once, in the order of use.

    Files behind perceptual losses and metrics count where the suite asks for published weights or
    leaves the choice (`perceptual_weights: auto`, which takes them where they are).

    Raises:
        HarnessError: there is no such suite, or it is wrong.
    """
    suite = load_suite(path, profile=profile, overrides=overrides).suite
    perceptual = suite.base.get("perceptual_weights", "auto") != "random"
    # Planned with random ones: planning refuses published weights that are missing, which is what is asked.
    plan = plan_suite(path, profile=profile, overrides=[*overrides, "base.perceptual_weights=random"]).plan
    needs: dict[WeightFile, dict[str, None]] = {}
    for spec in _one_of_each_variant(plan):
        for use, file in _needed(spec, perceptual=perceptual):
            needs.setdefault(file, {})[use] = None
    return [Need(file, tuple(uses)) for file, uses in needs.items()]


def fetch(needs: Sequence[Need]) -> list[str]:
    """Fetch what is missing, and return one message for each file that could not be had."""
    problems = []
    for need in needs:
        try:
            need.file.fetch()
        except FetchError as error:
            problems.append(str(error))
    return problems


def files_read_by(spec: TrialSpec) -> list[WeightFile]:
    """Return the files of weights that a planned trial reads, each once."""
    found = _needed(spec, perceptual=spec.perceptual_weights == "published")
    return list(dict.fromkeys(file for _, file in found))


def _one_of_each_variant(plan: Plan) -> Iterator[TrialSpec]:
    """Yield the specification of one trial of every variant: seeds and folds need the same files."""
    seen: set[tuple[str, ...]] = set()
    for trial in plan.trials:
        if trial.variants not in seen:
            seen.add(trial.variants)
            yield respecify(trial.spec)


def _needed(spec: TrialSpec, *, perceptual: bool) -> Iterator[tuple[str, WeightFile]]:
    parts: dict[str, Any] = {"model": spec.model, "data": spec.data}
    if perceptual:
        parts |= {f"loss.{name}": term for name, term in spec.loss.items()}
        parts |= {f"metrics.{metric.name}": metric for metric in spec.metrics}
        parts |= {"metrics": registry.load("task", spec.task)}
    for use, part in parts.items():
        if isinstance(part, NeedsWeights):
            for file in part.needed_weights():
                yield use, file
