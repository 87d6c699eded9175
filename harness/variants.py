"""From the factors of a suite to its variants: which configurations there are and what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.ablate import DESIGNS, Configuration, Patch, PatchError, Step, differences
from harness.plan import Variant
from harness.specify import specify
from harness.suite import Factor, Level, Suite
from harness.validation import Mistake, Mistakes

BASE = "base"  # name of the reference, and of a factor's level, where no control level gives one


@dataclass(frozen=True)
class Candidate:
    """A variant before its configuration is known to be right."""

    variant: Variant
    configuration: Configuration
    factor: int | None
    """Index of the factor that it belongs to; none for the reference."""
    changed_by: tuple[str, ...]
    """Levels of that factor whose patches made the configuration, in the order applied."""


def expand(suite: Suite) -> tuple[list[Candidate], list[Mistake]]:
    """Return the reference and the variants of every factor, in the order of the suite, and what is wrong."""
    steps: list[list[Step]] = []
    mistakes: list[Mistake] = []
    for index, factor in enumerate(suite.vary):
        patches = {name: Patch(level.set, level.drop) for name, level in factor.levels.items()}
        try:
            steps.append(DESIGNS[factor.design](suite.base, patches))
        except PatchError as error:
            steps.append([])
            mistakes.append(Mistake(_place_of(index, factor, error.path), str(error)))
    controls = [next((step.level for step in chain if _is_base(suite, step)), None) for chain in steps]
    names = _Names(suite, steps, controls)
    candidates = [_reference(suite, names, controls)]
    for index, chain in enumerate(steps):
        candidates += [_varied(suite, index, step, names) for step in chain if step.level != controls[index]]
    return candidates, mistakes


class _Names:
    """What levels and variants are called: a level's own name, with its factor where that is not enough."""

    def __init__(self, suite: Suite, steps: list[list[Step]], controls: list[str | None]) -> None:
        self.factors = [factor.factor for factor in suite.vary]
        self.controls = controls
        self.reference = next((level for level in controls if level is not None), BASE)
        varied = (
            step.level
            for chain, control in zip(steps, controls, strict=True)
            for step in chain
            if step.level != control
        )
        self.uses = Counter([self.reference, *varied])

    def variant(self, factor: int, level: str) -> str:
        """Return the name of the variant that a level of a factor leads to."""
        if level == self.controls[factor]:
            return self.reference
        return level if self.uses[level] == 1 else f"{self.factors[factor]}={level}"

    def base_levels(self) -> dict[str, str]:
        """Return the level of every factor in the reference."""
        return {name: level or BASE for name, level in zip(self.factors, self.controls, strict=True)}


def _is_base(suite: Suite, step: Step) -> bool:
    """Tell whether a step is the base itself: a control level, whether it is empty or says the same again."""
    try:
        base, varied = (
            specify(configuration, task=suite.task, primary_metric=suite.primary_metric, seed=0)
            for configuration in (suite.base, step.configuration)
        )
    except Mistakes:  # told of with their places when the variants are specified
        return step.configuration == suite.base
    return base == varied


def _reference(suite: Suite, names: _Names, controls: list[str | None]) -> Candidate:
    pairs: Iterator[tuple[Factor, str | None]] = zip(suite.vary, controls, strict=True)
    level = next((factor.levels[control] for factor, control in pairs if control is not None), Level())
    variant = _variant(
        level, name=names.reference, title=level.title or names.reference, levels=names.base_levels()
    )
    return Candidate(variant, suite.base, None, ())


def _varied(suite: Suite, index: int, step: Step, names: _Names) -> Candidate:
    factor = suite.vary[index]
    level = factor.levels[step.level]
    variant = _variant(
        level,
        name=names.variant(index, step.level),
        title=level.title or (f"+ {step.level}" if step.previous else step.level),
        levels={**names.base_levels(), factor.factor: step.level},
    ).model_copy(
        update={
            "factor": factor.factor,
            "previous": names.variant(index, step.previous) if step.previous else None,
            "changes": differences(suite.base, step.configuration),
        }
    )
    return Candidate(variant, step.configuration, index, step.changed_by)


def _variant(level: Level, *, name: str, title: str, levels: Mapping[str, str]) -> Variant:
    return Variant(
        name=name, title=title, levels=dict(levels), why=level.why, reported=level.reported, links=level.links
    )


def _place_of(index: int, factor: Factor, path: str) -> tuple[str | int, ...]:
    """Return where in the suite a level drops or sets `path`."""
    for name, level in factor.levels.items():
        if path in level.drop:
            return ("vary", index, "levels", name, "drop", level.drop.index(path))
        if path in level.set:
            return ("vary", index, "levels", name, "set", path)
    raise AssertionError(f"no level of {factor.factor} has the path {path}")
