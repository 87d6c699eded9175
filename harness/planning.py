"""From a suite to a plan: variants, their checked configurations, trials and their ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.ablate import DESIGNS, Configuration, Patch, Step, differences
from harness.config import MetricInfo, TrialSpec
from harness.document import dotted, split_path
from harness.errors import HarnessError, Problem, SuiteError, did_you_mean
from harness.plan import Plan, PlannedTrial, Variant, recorded_name
from harness.registry import UnknownNameError, registry
from harness.specify import specify
from harness.suite import Factor, Level, LoadedSuite, Suite, load_suite, only_filter
from harness.validation import Mistake, Mistakes


@dataclass(frozen=True)
class _Candidate:
    """A variant before its configuration is known to be right."""

    variant: Variant
    configuration: Configuration
    factor: int | None
    """Index of the factor that it belongs to; none for the reference."""
    changed_by: tuple[str, ...]


def plan_suite(
    path: Path | str,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    only: Sequence[str] = (),
) -> Plan:
    """Read a suite file and plan it; the arguments are those of `load_suite` and `build_plan`.

    Raises:
        SuiteError: everything that is wrong, in the form of the file and in what it asks for.
        HarnessError: there is no such file, or `only` names no factor or level of the suite.
    """
    try:
        loaded = load_suite(path, profile=profile, overrides=overrides, seeds=seeds)
    except SuiteError as error:
        if error.rest is None:
            raise
        try:
            build_plan(error.rest)
        except SuiteError as more:
            raise SuiteError([*error.problems, *more.problems]) from None
        raise
    return build_plan(loaded, only=only)


def build_plan(loaded: LoadedSuite, *, only: Sequence[str] = ()) -> Plan:
    """Expand a suite into variants and trials, every configuration checked.

    Args:
        loaded: the suite.
        only: texts FACTOR=LEVEL; the variants of these levels and the reference are kept.

    Raises:
        SuiteError: everything that is wrong with the base, the levels and the claims.
        HarnessError: `only` names no factor or level of the suite.
    """
    suite = loaded.suite
    kept = only_filter(only, {factor.factor: factor for factor in suite.vary})
    task = _task(loaded)
    candidates = _candidates(loaded)
    specs, problems = _specify_all(loaded, candidates)
    metrics = _metrics(task, specs)
    if specs:
        problems += _metric_problems(loaded, metrics)
    problems += _claim_problems(loaded, candidates)
    if problems:
        raise SuiteError(problems)
    variants = [
        candidate.variant
        for candidate in candidates
        if candidate.factor is None or not kept or _is_kept(candidate.variant, kept)
    ]
    return _plan(loaded, variants, specs, metrics)


def _plan(
    loaded: LoadedSuite,
    variants: Sequence[Variant],
    specs: Mapping[str, TrialSpec],
    metrics: Mapping[str, MetricInfo],
) -> Plan:
    suite = loaded.suite
    names = {variant.name for variant in variants}
    claims = [claim for claim in suite.claims if {claim.expect.of, claim.expect.versus} <= names]
    left_out = len(suite.claims) - len(claims)
    primary_metric = recorded_name(metrics, suite.primary_metric)
    chosen = [
        (variant.name, specs[variant.name].model_copy(update={"primary_metric": primary_metric}))
        for variant in variants
    ]
    return Plan(
        suite=suite.suite,
        suite_hash=loaded.suite_hash,
        question=suite.question or suite.suite,
        description=suite.description,
        task=suite.task,
        profile=loaded.profile,
        primary_metric=primary_metric,
        metrics=dict(metrics),
        loss_terms=tuple(dict.fromkeys(term for _, spec in chosen for term in spec.loss)),
        reference=variants[0].name,
        variants=tuple(variants),
        seeds=suite.seeds,
        trials=tuple(_trials(chosen, suite.seeds)),
        claims=tuple(claims),
        margins={recorded_name(metrics, name): margin for name, margin in suite.margins.items()},
        resources=suite.resources,
        report=suite.report,
        notes=(f"{left_out} of {len(suite.claims)} claims name variants that --only left out",)
        if left_out
        else (),
    )


def _task(loaded: LoadedSuite) -> Any:
    try:
        return registry.load("task", loaded.suite.task)
    except UnknownNameError as error:
        raise SuiteError(loaded.problems([Mistake(("task",), str(error))])) from None


def _candidates(loaded: LoadedSuite) -> list[_Candidate]:
    """Return the reference and then the variants of every factor, in the order of the suite."""
    suite = loaded.suite
    steps: list[tuple[int, Step]] = []
    problems: list[Problem] = []
    for index, factor in enumerate(suite.vary):
        patches = {name: Patch(level.set, level.drop) for name, level in factor.levels.items()}
        try:
            steps += [(index, step) for step in DESIGNS[factor.design](suite.base, patches)]
        except HarnessError as error:
            problems += loaded.problems([Mistake(("vary", index, "levels"), str(error))])
    if problems:
        raise SuiteError(problems)
    controls = {suite.vary[index].factor: step.level for index, step in steps if _same(suite, step)}
    base_levels = {factor.factor: controls.get(factor.factor, "base") for factor in suite.vary}
    varied = [(index, step) for index, step in steps if controls.get(suite.vary[index].factor) != step.level]
    level_names = [step.level for _, step in varied]
    reference = next(iter(controls.values()), "base")
    candidates = [_reference(suite.vary, reference, controls, base_levels, suite.base)]
    for index, step in varied:
        factor = suite.vary[index]
        ambiguous = level_names.count(step.level) > 1 or step.level == reference
        candidates.append(_varied(index, factor, step, reference, ambiguous, base_levels, suite.base))
    return candidates


def _same(suite: Suite, step: Step) -> bool:
    """Tell whether a step is the base itself: a control level, whether it is empty or says the same again."""
    try:
        base, varied = (
            specify(configuration, task=suite.task, primary_metric=suite.primary_metric, seed=0)
            for configuration in (suite.base, step.configuration)
        )
    except Mistakes:  # reported with their places later
        return step.configuration == suite.base
    return base == varied


def _reference(
    factors: Sequence[Factor],
    name: str,
    controls: Mapping[str, str],
    levels: dict[str, str],
    base: Configuration,
) -> _Candidate:
    written = next((f.levels[controls[f.factor]] for f in factors if f.factor in controls), Level())
    variant = Variant(
        name=name,
        title=written.title or name,
        levels=levels,
        why=written.why,
        reported=written.reported,
        links=written.links,
    )
    return _Candidate(variant, base, None, ())


def _varied(
    index: int,
    factor: Factor,
    step: Step,
    reference: str,
    ambiguous: bool,
    base_levels: Mapping[str, str],
    base: Configuration,
) -> _Candidate:
    def name(level: str | None) -> str | None:
        if level is None or level == base_levels[factor.factor]:
            return reference if level is not None else None
        return f"{factor.factor}={level}" if ambiguous else level

    level = factor.levels[step.level]
    variant = Variant(
        name=name(step.level) or step.level,
        title=level.title or (f"+ {step.level}" if step.previous else step.level),
        levels={**base_levels, factor.factor: step.level},
        factor=factor.factor,
        previous=name(step.previous),
        changes=differences(base, step.configuration),
        why=level.why,
        reported=level.reported,
        links=level.links,
    )
    return _Candidate(variant, step.configuration, index, step.changed_by)


def _specify_all(
    loaded: LoadedSuite, candidates: Sequence[_Candidate]
) -> tuple[dict[str, TrialSpec], list[Problem]]:
    """Return the specification of every sound variant, for seed 0, and what is wrong with the others."""
    suite = loaded.suite
    specs: dict[str, TrialSpec] = {}
    problems: list[Problem] = []
    for candidate in candidates:
        try:
            specs[candidate.variant.name] = specify(
                candidate.configuration, task=suite.task, primary_metric=suite.primary_metric, seed=0
            )
        except Mistakes as found:
            problems += [_blame(loaded, candidate, mistake) for mistake in found.mistakes]
    return specs, problems


def _blame(loaded: LoadedSuite, candidate: _Candidate, mistake: Mistake) -> Problem:
    """Place a mistake where the value was written: in the level that set it, else in the base."""
    if candidate.factor is not None:
        factor = loaded.suite.vary[candidate.factor]
        for name in reversed(candidate.changed_by):
            place = ("vary", candidate.factor, "levels", name)
            for text in factor.levels[name].set:
                path = split_path(text)
                if mistake.path[: len(path)] == path or path[: len(mistake.path)] == mistake.path:
                    position = loaded.document.position((*place, "set", text), of_key=mistake.of_key)
                    return Problem(position, dotted(place), f"{dotted(mistake.path)}: {mistake.message}")
            if any(split_path(text)[:-1] == mistake.path for text in factor.levels[name].drop):
                position = loaded.document.position((*place, "drop"))
                return Problem(position, dotted(place), f"{dotted(mistake.path)}: {mistake.message}")
    path = ("base", *mistake.path)
    return Problem(loaded.document.position(path, of_key=mistake.of_key), dotted(path), mistake.message)


def _is_kept(variant: Variant, kept: Mapping[str, set[str]]) -> bool:
    factor = variant.factor
    return factor is not None and factor in kept and variant.levels[factor] in kept[factor]


def _metrics(task: Any, specs: Mapping[str, TrialSpec]) -> dict[str, MetricInfo]:
    metrics: dict[str, MetricInfo] = {}
    for spec in specs.values():
        metrics.update(task.metric_infos(spec))
    return metrics


def _metric_problems(loaded: LoadedSuite, metrics: Mapping[str, MetricInfo]) -> list[Problem]:
    suite = loaded.suite
    asked = [
        (("primary_metric",), suite.primary_metric, False),
        *((("margins", name), name, True) for name in suite.margins),
        *((("report", "metrics", index), name, False) for index, name in enumerate(suite.report.metrics)),
        *(
            (("claims", i, "expect", "metric"), claim.expect.metric, False)
            for i, claim in enumerate(suite.claims)
        ),
    ]
    return loaded.problems(
        [
            Mistake(path, f"no metric '{name}'{did_you_mean(name, metrics)}", of_key)
            for path, name, of_key in asked
            if recorded_name(metrics, name) not in metrics
        ]
    )


def _claim_problems(loaded: LoadedSuite, candidates: Sequence[_Candidate]) -> list[Problem]:
    names = [candidate.variant.name for candidate in candidates]
    mistakes: list[Mistake] = []
    for index, claim in enumerate(loaded.suite.claims):
        place = ("claims", index, "expect")
        expect = claim.expect
        for key, name in (("of", expect.of), ("versus", expect.versus)):
            if name not in names:
                mistakes.append(Mistake((*place, key), f"no variant '{name}'{did_you_mean(name, names)}"))
        if expect.of == expect.versus:
            mistakes.append(Mistake((*place, "versus"), f"'{expect.of}' is compared with itself"))
        margin = expect.margin or loaded.suite.margins.get(expect.metric)
        if expect.direction == "equivalent" and margin is None:
            message = f"'equivalent' needs a margin: here, or for {expect.metric} under `margins`"
            mistakes.append(Mistake(place, message))
    return loaded.problems(mistakes)


def _trials(specs: Sequence[tuple[str, TrialSpec]], seeds: Sequence[int]) -> Iterator[PlannedTrial]:
    """Yield the distinct trials, seed by seed."""
    for seed in seeds:
        by_id: dict[str, tuple[TrialSpec, list[str]]] = {}
        for name, spec in specs:
            seeded = spec.model_copy(update={"seed": seed})
            by_id.setdefault(seeded.trial_id(), (seeded, []))[1].append(name)
        for trial_id, (seeded, names) in by_id.items():
            yield PlannedTrial(
                id=trial_id, variants=tuple(names), seed=seed, spec=seeded.model_dump(mode="json")
            )
