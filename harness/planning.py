"""From a suite to a plan: variants, their checked configurations, trials and their ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.catalog import search_path, template_names
from harness.config import MetricInfo, TrialSpec
from harness.document import Path_, dotted, split_path
from harness.errors import Problem, SuiteError, did_you_mean
from harness.plan import Plan, PlannedTrial, Variant, recorded_name
from harness.registry import UnknownNameError, registry
from harness.specify import specify
from harness.suite import LoadedSuite, Suite, load_suite, only_filter
from harness.validation import Mistake, Mistakes
from harness.variants import Candidate, expand


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
    candidates, mistakes = expand(suite)
    specs, problems = _specify_all(loaded, candidates)
    metrics = _metrics(task, specs)
    mistakes += [
        *_report_mistakes(suite),
        *_metric_mistakes(suite, metrics),
        *(() if mistakes else _claim_mistakes(suite, [found.variant.name for found in candidates])),
        *_label_mistakes(suite, task, specs),
    ]
    problems += loaded.problems(mistakes)
    if problems:
        raise SuiteError(problems)
    variants = [
        candidate.variant
        for candidate in candidates
        if candidate.factor is None or not kept or _is_kept(candidate.variant, kept)
    ]
    return _plan(loaded, task, variants, specs, metrics)


def _plan(
    loaded: LoadedSuite,
    task: Any,
    variants: Sequence[Variant],
    specs: Mapping[str, TrialSpec],
    metrics: Mapping[str, MetricInfo],
) -> Plan:
    suite = loaded.suite
    names = {variant.name for variant in variants}
    # A step whose predecessor --only left out is compared with the reference alone.
    variants = [
        variant if variant.previous in names else variant.model_copy(update={"previous": None})
        for variant in variants
    ]
    claims = [claim for claim in suite.claims if {claim.expect.of, claim.expect.versus} <= names]
    left_out = len(suite.claims) - len(claims)
    primary_metric = recorded_name(metrics, suite.primary_metric)
    chosen = [
        (
            variant.name,
            spec.model_copy(
                update={"primary_metric": recorded_name(task.metric_infos(spec), suite.primary_metric)}
            ),
        )
        for variant in variants
        for spec in (specs[variant.name],)
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
        questions={factor.factor: factor.question for factor in suite.vary if factor.question},
        notes=(f"{left_out} of {len(suite.claims)} claims name variants that --only left out",)
        if left_out
        else (),
    )


def _task(loaded: LoadedSuite) -> Any:
    try:
        return registry.load("task", loaded.suite.task)
    except UnknownNameError as error:
        raise SuiteError(loaded.problems([Mistake(("task",), str(error))])) from None


def _specify_all(
    loaded: LoadedSuite, candidates: Sequence[Candidate]
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
    return _with_one_kind_of_weights(candidates, specs), problems


def _with_one_kind_of_weights(
    candidates: Sequence[Candidate], specs: dict[str, TrialSpec]
) -> dict[str, TrialSpec]:
    """Let `auto` mean `random` for all variants where the published weights of one are missing.

    Otherwise one variant would record lpips and another lpips_rand, and nothing could be compared.
    """
    if len({spec.perceptual_weights for spec in specs.values()}) < 2:
        return specs
    automatic = {
        candidate.variant.name
        for candidate in candidates
        if candidate.configuration.get("perceptual_weights", "auto") == "auto"
    }
    return {
        name: spec.model_copy(update={"perceptual_weights": "random"}) if name in automatic else spec
        for name, spec in specs.items()
    }


def _blame(loaded: LoadedSuite, candidate: Candidate, mistake: Mistake) -> Problem:
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


def _report_mistakes(suite: Suite) -> Iterator[Mistake]:
    """Yield a template that nobody has: a run must not train first and fail then."""
    templates = template_names(search_path("reports"))
    name = suite.report.template
    if name not in templates:
        yield Mistake(("report", "template"), f"no template '{name}'{did_you_mean(name, templates)}")


def _metric_mistakes(suite: Suite, metrics: Mapping[str, MetricInfo]) -> Iterator[Mistake]:
    asked: list[tuple[Path_, str, bool]] = [
        (("primary_metric",), suite.primary_metric, False),
        *((("margins", name), name, True) for name in suite.margins),
        *((("report", "metrics", index), name, False) for index, name in enumerate(suite.report.metrics)),
        *(
            (("claims", index, "expect", "metric"), claim.expect.metric, False)
            for index, claim in enumerate(suite.claims)
        ),
    ]
    for path, name, of_key in asked if metrics else ():
        if name and recorded_name(metrics, name) not in metrics:
            yield Mistake(path, f"no metric '{name}'{did_you_mean(name, metrics)}", of_key)


def _claim_mistakes(suite: Suite, names: Sequence[str]) -> Iterator[Mistake]:
    for index, claim in enumerate(suite.claims):
        place: Path_ = ("claims", index, "expect")
        expect = claim.expect
        for key, name in (("of", expect.of), ("versus", expect.versus)):
            if name not in names:
                yield Mistake((*place, key), f"no variant '{name}'{did_you_mean(name, names)}")
        if expect.of == expect.versus:
            yield Mistake((*place, "versus"), f"'{expect.of}' is compared with itself")
        if expect.direction == "equivalent" and not (expect.margin or suite.margins.get(expect.metric)):
            message = f"'equivalent' needs a margin: here, or for {expect.metric} under `margins`"
            yield Mistake(place, message)


def _label_mistakes(suite: Suite, task: Any, specs: Mapping[str, TrialSpec]) -> Iterator[Mistake]:
    labels = {
        f"{kind}={name}"
        for spec in specs.values()
        for kind, names in task.labels_of(spec).items()
        for name in names
    }
    for index, claim in enumerate(suite.claims if labels else ()):
        label = claim.expect.label
        if label is not None and label not in labels:
            message = f"the data has no label '{label}'{did_you_mean(label, labels)}"
            yield Mistake(("claims", index, "expect", "label"), message)


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
