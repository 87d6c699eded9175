"""From a suite to a plan: variants, their checked configurations, trials and their ids."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.ablate import ABSENT
from harness.canonical import canonical_json, content_hash
from harness.catalog import search_path, template_names
from harness.config import MetricInfo, TrialSpec
from harness.document import Path_, dotted, split_path
from harness.errors import HarnessError, Problem, SuiteError, did_you_mean
from harness.grammar import Group, Suite, entries
from harness.plan import Plan, PlannedTrial, recorded_name
from harness.planning import claims as claim_checks
from harness.planning.designs import Change
from harness.planning.selection import chosen_only
from harness.planning.trackers import tracker_configs
from harness.planning.variants import Candidate, Expansion, Specify, expand
from harness.redact import REFUSED, redact, secret_settings
from harness.registry import registry
from harness.specify import Memory, specify
from harness.suite import LoadedSuite, load_suite
from harness.validation import Mistake, Mistakes

MOST_TRIALS = 100_000


@dataclass(frozen=True)
class PlannedSuite:
    """A plan, and the suite that it was made from."""

    plan: Plan
    loaded: LoadedSuite
    candidates: Mapping[str, Candidate]
    """By the name of the variant."""

    def problem(self, variant: str, mistake: Mistake, *, also_in_reference: bool) -> Problem:
        """Return a mistake in a variant's configuration, placed in the level or the base that made it."""
        return _blame(self.loaded, self.candidates[variant], mistake, also_in_reference=also_in_reference)

    def without(self, broken: Mapping[str, str]) -> PlannedSuite:
        """Return the plan without broken variants (name -> what is wrong); claims about them go, too.

        Raises:
            HarnessError: the reference is among them.
        """
        if self.plan.reference in broken:
            raise HarnessError(f"the reference is broken, so nothing is left: {broken[self.plan.reference]}")
        names = {name for name in self.candidates if name not in broken}
        notes = [f"{name} is left out: {redact(message)}" for name, message in broken.items()]
        plan = _narrowed(self.plan, names)
        return replace(self, plan=plan.model_copy(update={"notes": (*plan.notes, *notes)}))


def plan_suite(
    path: Path | str,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    only: Sequence[str] = (),
    trackers: Sequence[str] = (),
    skip_broken: bool = False,
) -> PlannedSuite:
    """Read a suite file and plan it; the arguments are those of `load_suite` and `plan_loaded`.

    Raises:
        SuiteError: everything that is wrong, in the form of the file and in what it asks for.
        HarnessError: there is no such file, or `only` names no factor or level of the suite.
    """
    try:
        loaded = load_suite(path, profile=profile, overrides=overrides, seeds=seeds, trackers=trackers)
    except SuiteError as error:
        if error.rest is None:
            raise
        try:
            plan_loaded(error.rest)
        except SuiteError as more:
            raise SuiteError([*error.problems, *more.problems]) from None
        raise
    return plan_loaded(loaded, only=only, skip_broken=skip_broken)


def build_plan(loaded: LoadedSuite, *, only: Sequence[str] = ()) -> Plan:
    """Return the plan of a loaded suite; see `plan_loaded`."""
    return plan_loaded(loaded, only=only).plan


def plan_loaded(loaded: LoadedSuite, *, only: Sequence[str] = (), skip_broken: bool = False) -> PlannedSuite:
    """Expand a suite into variants and trials, every configuration checked.

    Args:
        loaded: the suite.
        only: texts FACTOR=LEVEL; the variants of these levels and the reference are kept.
        skip_broken: leave out variants whose configuration is wrong, with a note, in place of refusing.

    Raises:
        SuiteError: everything that is wrong with the base, the levels and the claims.
        HarnessError: `only` names no factor or level of the suite.
    """
    suite = loaded.suite
    task = _task(loaded)
    specify_one = partial(
        specify,
        task=suite.task,
        primary_metric=suite.primary_metric,
        seed=0,
        folds=suite.folds,
        fold=None if suite.folds is None else 0,
        memory=Memory(),
    )
    expansion = expand(suite, specify_one)
    candidates = {candidate.variant.name: candidate for candidate in expansion.candidates}
    variants = [candidate.variant for candidate in expansion.candidates]
    suite = claim_checks.with_base_named(suite, candidates, expansion.controls)
    loaded = replace(loaded, suite=suite)
    specs, wrong = _specify_all(specify_one, expansion.candidates)
    metrics = _metrics(task, specs)
    unmet = list(_unmet_requirements(suite, specs.get(expansion.candidates[0].variant.name)))
    late = list(claim_checks.late_epochs(suite, specs))
    trackers, wrong_trackers = tracker_configs(suite)
    mistakes = [
        *expansion.mistakes,
        *(late if loaded.profile is None else ()),
        *(mistake for _, mistake in unmet),
        *_too_many_trials(suite, len(specs)),
        *_report_mistakes(suite),
        *wrong_trackers,
        *_metric_mistakes(suite, metrics),
        *(() if expansion.mistakes else claim_checks.name_mistakes(suite, variants)),
        *claim_checks.metric_mistakes(suite, metrics),
        *claim_checks.label_mistakes(suite, task, specs),
    ]
    problems = loaded.problems(mistakes)
    unfit = {factor for factor, _ in unmet}  # their levels are wrong for the same reason
    reference = expansion.candidates[0].variant.name
    general = frozenset(wrong.get(reference, ()))
    blamed = {
        name: _blame_all(loaded, candidates[name], found, general, is_reference=name == reference)
        for name, found in wrong.items()
        if not unfit & {change.factor for change in candidates[name].changes}
    }
    if not skip_broken or problems:
        problems += [problem for found in blamed.values() for problem in found]
    if problems:
        raise SuiteError(problems)
    notes = [f"{suite.claims[int(one.path[1])].id} is not judged here: {one.message}" for one in late]
    notes += dict.fromkeys(note for spec in specs.values() for note in spec.data.notes())
    _refuse_secrets(specs)
    planned = PlannedSuite(
        _plan(loaded, task, expansion, specs, metrics, trackers, notes), loaded, candidates
    )
    if blamed:
        planned = planned.without({name: str(found[0]) for name, found in blamed.items()})
    if not only:
        return planned
    kept = {variant.name for variant in chosen_only(planned.plan.variants, only)}
    return replace(planned, plan=_narrowed(planned.plan, kept, reason="that --only left out"))


def _refuse_secrets(specs: Mapping[str, TrialSpec]) -> None:
    """Refuse secrets that a plugin's Config took in by itself, such as a default from the environment.

    Raises:
        HarnessError: a specification, which is kept with every trial, holds one.
    """
    for name, spec in specs.items():
        if spec.plugins:
            found = next(secret_settings(spec.model_dump(mode="json")), None)
            if found is not None:
                raise HarnessError(f"the configuration of {name} at {dotted(found)}: {REFUSED}")


def _plan(
    loaded: LoadedSuite,
    task: Any,
    expansion: Expansion,
    specs: Mapping[str, TrialSpec],
    metrics: Mapping[str, MetricInfo],
    trackers: dict[str, dict[str, Any]],
    notes: Sequence[str],
) -> Plan:
    suite = loaded.suite
    own = _metrics_by_kind(task, specs)  # a variant on random features records lpips_rand, another lpips
    chosen = [
        (
            name,
            spec.model_copy(update={"primary_metric": recorded_name(own[_kind(spec)], suite.primary_metric)}),
        )
        for name, spec in specs.items()
    ]
    variants = [candidate.variant for candidate in expansion.candidates]
    return Plan(
        suite=suite.suite,
        suite_hash=loaded.suite_hash,
        question=suite.question or suite.suite,
        description=suite.description,
        task=suite.task,
        profile=loaded.profile,
        primary_metric=recorded_name(metrics, suite.primary_metric),
        metrics=dict(metrics),
        loss_terms=tuple(dict.fromkeys(term for _, spec in chosen for term in spec.loss)),
        reference=variants[0].name,
        variants=tuple(variants),
        seeds=suite.seeds,
        folds=suite.folds,
        trials=tuple(_trials(chosen, suite.seeds, suite.folds)),
        claims=suite.claims,
        margins={recorded_name(metrics, name): margin for name, margin in suite.margins.items()},
        resources=suite.resources,
        budget=suite.budget,
        failures=suite.failures,
        pruning=suite.pruning,
        checkpoints=suite.checkpoints,
        report=suite.report,
        trackers=trackers,
        questions={
            entry.group if isinstance(entry, Group) else entry.factor: entry.question
            for _, entry in entries(suite)
            if entry.question
        },
        notes=(*expansion.notes, *notes, *([suite.pruning.note] if suite.pruning else ())),
    )


def _narrowed(plan: Plan, names: AbstractSet[str], reason: str = "that are left out") -> Plan:
    """Return a plan with some of its variants, and with the trials and claims that they leave."""
    # A step whose predecessor is left out is compared with the reference alone.
    variants = [
        variant if variant.previous in names else variant.model_copy(update={"previous": None})
        for variant in plan.variants
        if variant.name in names
    ]
    trials = [
        trial.model_copy(update={"variants": tuple(name for name in trial.variants if name in names)})
        for trial in plan.trials
        if names & set(trial.variants)
    ]
    claims = [
        claim
        for claim in plan.claims
        if names >= set(claim_checks.variants_of(claim.expect, plan.variants, plan.reference))
    ]
    left_out = len(plan.claims) - len(claims)
    notes = [f"{left_out} of {len(plan.claims)} claims name variants {reason}"] if left_out else []
    return plan.model_copy(
        update={
            "variants": tuple(variants),
            "trials": tuple(trials),
            "claims": tuple(claims),
            "loss_terms": tuple(
                term for term in plan.loss_terms if any(term in trial.spec["loss"] for trial in trials)
            ),
            "notes": (*plan.notes, *notes),
        }
    )


def _task(loaded: LoadedSuite) -> Any:
    try:
        return registry.load("task", loaded.suite.task)
    except HarnessError as error:  # unknown, or a plugin that cannot be imported
        raise SuiteError(loaded.problems([Mistake(("task",), str(error))])) from None


def _specify_all(
    specify: Specify, candidates: Sequence[Candidate]
) -> tuple[dict[str, TrialSpec], dict[str, list[Mistake]]]:
    """Return the specification of every sound variant, for one seed, and what is wrong with the others."""
    specs: dict[str, TrialSpec] = {}
    wrong: dict[str, list[Mistake]] = {}
    for candidate in candidates:
        try:
            specs[candidate.variant.name] = specify(candidate.configuration)
        except Mistakes as found:
            wrong[candidate.variant.name] = found.mistakes
    return _with_one_kind_of_weights(candidates, specs), wrong


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


def _blame_all(
    loaded: LoadedSuite,
    candidate: Candidate,
    mistakes: Sequence[Mistake],
    general: AbstractSet[Mistake],
    *,
    is_reference: bool,
) -> list[Problem]:
    """Return the mistakes of a variant with their places; of `general`, those of the reference, one stands
    for all that the variant's levels do not touch: the reference tells of them."""
    ways = list(_ways(candidate))
    problems = [
        _blame(loaded, candidate, mistake, also_in_reference=mistake in general, ways=ways)
        for mistake in mistakes
        if is_reference or mistake not in general or any(_meet(mistake.path, path) for _, _, _, path in ways)
    ]
    if len(problems) < len(mistakes):
        shared = next(mistake for mistake in mistakes if mistake in general)
        problems.append(_blame(loaded, candidate, shared, also_in_reference=True, ways=()))
    return problems


def _ways(candidate: Candidate) -> Iterator[tuple[Change, str, str, Path_]]:
    """Yield change, operator, written path, and the path that is touched, the last change first."""
    for change in reversed(candidate.changes):
        for operator, text in change.patch.paths():
            path = split_path(text)
            yield change, operator, text, path[:-1] if operator == "drop" else path


def _meet(first: Path_, second: Path_) -> bool:
    length = min(len(first), len(second))
    return first[:length] == second[:length]


def _blame(
    loaded: LoadedSuite,
    candidate: Candidate,
    mistake: Mistake,
    *,
    also_in_reference: bool,
    ways: Sequence[tuple[Change, str, str, Path_]] | None = None,
) -> Problem:
    """Place a mistake where the value was written: in the level that set it, else in the base.

    Parts may fit on their own and not together: what only this variant has wrong is its level's
    fault, even where the level did not write the setting that is named.
    """
    message = f"{dotted(mistake.path)}: {mistake.message}" if mistake.path else mistake.message
    for change, operator, text, touched in _ways(candidate) if ways is None else ways:
        if _meet(mistake.path, touched):
            of_key = mistake.of_key and change.paths_are_written
            position = loaded.document.position(change.place_of(operator, text), of_key=of_key)
            return Problem(position, level_name(change), message)
    if candidate.changes and not also_in_reference:
        change = candidate.changes[-1]
        return Problem(loaded.document.position(change.place), level_name(change), message)
    path = ("base", *mistake.path)
    return Problem(loaded.document.position(path, of_key=mistake.of_key), dotted(path), mistake.message)


def level_name(change: Change) -> str:
    """Return what a level is called in messages, such as `vary[0].levels.deep` or `vary[0] (depth_2)`."""
    if change.paths_are_written:
        return dotted(change.place)
    entry = change.place[:-1] if change.place[-1] == "each" else change.place[:-2]
    return f"{dotted(entry)} ({change.level})"


def _metrics(task: Any, specs: Mapping[str, TrialSpec]) -> dict[str, MetricInfo]:
    """Return every metric that a variant records; what they depend on is asked for once.

    Where no variant is sound, it is those of the task alone, so that wrong names are found all the same.
    """
    if not specs:
        known: dict[str, Any] = {"perceptual_weights": "random", "metrics": ()}
        bare = TrialSpec.model_construct(**known)
        with contextlib.suppress(AttributeError):  # a task whose metrics depend on more
            return dict(task.metric_infos(bare))
        return {}
    return {name: info for infos in _metrics_by_kind(task, specs).values() for name, info in infos.items()}


def _kind(spec: TrialSpec) -> tuple[Any, ...]:
    """Return what of a specification its metrics depend on."""
    return spec.perceptual_weights, spec.metrics, id(spec.data)  # equal sections are one object


def _metrics_by_kind(
    task: Any, specs: Mapping[str, TrialSpec]
) -> dict[tuple[Any, ...], dict[str, MetricInfo]]:
    kinds = {_kind(spec): spec for spec in specs.values()}
    return {kind: task.metric_infos(spec) for kind, spec in kinds.items()}


def _too_many_trials(suite: Suite, variants: int) -> Iterator[Mistake]:
    trials = variants * len(suite.seeds) * (suite.folds or 1)
    if trials > MOST_TRIALS:
        yield Mistake(("seeds",), f"expected {MOST_TRIALS} trials at most, this asks for {trials}")


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
    ]
    for path, name, of_key in asked if metrics else ():
        if name and recorded_name(metrics, name) not in metrics:
            yield Mistake(path, f"no metric '{name}'{did_you_mean(name, metrics)}", of_key)


def _unmet_requirements(suite: Suite, base: TrialSpec | None) -> Iterator[tuple[str, Mistake]]:
    """Yield factors that ask for a setting which the components of the base do not have, and say so."""
    if base is None:
        return
    settings = base.model_dump(mode="json")
    for place, entry in entries(suite):
        if isinstance(entry, Group):
            continue
        for path in entry.requires:
            section, *below = split_path(path)
            value: Any = settings.get(str(section))
            for part in below:
                value = value.get(part, ABSENT) if isinstance(value, dict) else ABSENT
            if value is ABSENT:
                chosen = settings.get(str(section))
                name = chosen.get("name", "this one") if isinstance(chosen, dict) else "this one"
                owners = components_with(str(section), ".".join(map(str, below)))
                others = f"; those that have it: {', '.join(owners)}" if owners else ""
                message = f"varies {path}, a setting that the {section} '{name}' does not have{others}"
                yield entry.factor, Mistake((*place, "use"), message)


def components_with(kind: str, setting: str) -> list[str]:
    """Return the registered components of a kind whose parameters include a setting."""
    return [
        name
        for name in registry.names(kind)
        if setting in getattr(registry.load(kind, name), "Config", TrialSpec).model_fields
    ]


def _trials(
    specs: Sequence[tuple[str, TrialSpec]], seeds: Sequence[int], folds: int | None
) -> Iterator[PlannedTrial]:
    """Yield the distinct trials, seed by seed, and within a seed fold by fold."""
    distinct: dict[str, tuple[TrialSpec, list[str]]] = {}
    for name, spec in specs:
        distinct.setdefault(canonical_json(spec.identity()), (spec, []))[1].append(name)
    shared = [(spec.identity(), spec.model_dump(mode="json"), names) for spec, names in distinct.values()]
    for seed in seeds:
        for fold in range(folds) if folds else (None,):
            own = {"seed": seed, "fold": fold}
            for identity, settings, names in shared:
                trial_id = content_hash({**identity, **own})
                yield PlannedTrial(id=trial_id, variants=tuple(names), spec={**settings, **own}, **own)
