"""Metrics at the gate: one verdict for each metric of each variant. The rule stands in `_verdict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.analysis.stats import MIN_VALUES, holm
from harness.analysis.values import absences
from harness.analysis.wording import (
    counted,
    format_difference,
    format_interval,
    format_p,
    format_value,
    metric_name,
    name_replicates,
    replicate_noun,
)
from harness.config import MetricInfo
from harness.plan import STAND_IN, recorded_name
from harness.tracking.baseline.level import Level, level_of, same_values
from harness.tracking.baseline.model import BaselineRun, key_of, replicate_of
from harness.tracking.gate.model import ALPHA_GATE, Case, Judgement, MarginFrom, Verdict
from harness.tracking.gate.prediction import MEASURED, Evidence, weigh


@dataclass(frozen=True)
class _Found:
    """What there is on one metric of one variant, before the others are taken into account."""

    variant: str
    info: MetricInfo
    level: Level
    own: Mapping[str, float]
    obstacle: str | None
    """Why it cannot be judged."""
    missing: str | None
    """What the run lacks of it."""
    same_as: BaselineRun | None
    """The run of the baseline that has the same values."""
    evidence: Evidence | None


def judge_metrics(
    case: Case, variants: Sequence[str], metrics: Sequence[str], *, gated: bool
) -> list[Judgement]:
    """Judge all metrics of all variants; they are one family for Holm."""
    size = len(variants) * len(metrics)
    infos = [case.baseline.metric_infos[name] for name in metrics]
    found = [_find(case, variant, info, ALPHA_GATE / size) for variant in variants for info in infos]
    worse = holm([_p(one, "p_worse") for one in found])
    better = holm([_p(one, "p_better") for one in found])
    rows = zip(found, worse, better, strict=True)
    return [_judgement(case, *row, gated=gated, step=ALPHA_GATE / size) for row in rows]


def _p(found: _Found, side: Literal["p_worse", "p_better"]) -> float | None:
    if found.same_as is not None:
        return 1.0
    return getattr(found.evidence, side) if found.evidence else None


def _find(case: Case, variant: str, info: MetricInfo, step: float) -> _Found:
    level = level_of(case.baseline, case.against, variant, info.name)
    own = case.run.numbers(case.run.newest.run, variant, info.name)
    missing = _missing(case, variant, info, own)
    obstacle = _obstacle(case, variant, info, level, own)
    if obstacle is not None:
        return _Found(variant, info, level, own, missing or obstacle, missing, None, None)
    level = level.with_all(own)
    if not level.runs:
        obstacle = f"no run of the baseline has all of its {replicate_noun(case.folds)}s"
        return _Found(variant, info, level, own, obstacle, missing, None, None)
    same_as = next((run for run, values in level.newest_first() if same_values(own, values)), None)
    if same_as is not None:
        return _Found(variant, info, level, own, None, missing, same_as, None)
    runs, sample = np.stack([case.sample(info, one) for one in level.values]), case.sample(info, own)
    if len(runs) < MEASURED and sample.size < MIN_VALUES:
        noun = replicate_noun(case.folds)
        obstacle = f"{MIN_VALUES} {noun}s at least below {MEASURED} runs of the baseline, here {sample.size}"
        return _Found(variant, info, level, own, obstacle, missing, None, None)
    evidence = weigh(runs, sample, folds=case.folds, levels=[step])
    if evidence is None:
        obstacle = f"the {replicate_noun(case.folds)}s do not differ within a run; {_more_runs(level)}"
    return _Found(variant, info, level, own, obstacle, missing, None, evidence)


def _obstacle(
    case: Case, variant: str, info: MetricInfo, level: Level, own: Mapping[str, float]
) -> str | None:
    if variant not in case.run.newest.configurations:
        return "the run does not have this variant"
    if info.name not in case.plan.metrics:
        stand_in = recorded_name(case.plan.metrics, info.name.removesuffix(STAND_IN))
        instead = f" but {stand_in}, which is another figure" if stand_in in case.plan.metrics else ""
        return f"the run does not record {info.name}{instead}"
    if not own:
        return "the run has no value of it"
    if not level.runs:
        return "the baseline has no value of it"
    data = case.baseline.configuration(level.runs[-1], variant).get("data")
    if data != case.run.configuration(case.run.newest, variant).get("data"):
        return "its data are others than in the baseline"
    return None


def _missing(case: Case, variant: str, info: MetricInfo, own: Mapping[str, float]) -> str | None:
    """Return what the run promises of a metric of a variant and lacks, with the reasons; none if nothing."""
    if variant not in case.run.newest.configurations or info.name not in case.plan.metrics:
        return None
    planned = {
        key_of(replicate)
        for trial in case.plan.trials
        if variant in trial.variants
        for replicate in [replicate_of(f"{trial.seed}" + ("" if trial.fold is None else f"/{trial.fold}"))]
    }
    if planned <= own.keys():
        return None
    reasons = [
        f"{name_replicates(one.replicates)} {one.reason}"
        for one in absences(case.record)
        if one.variant == variant and (not one.metrics or info.name in one.metrics)
    ]
    whole = "all of its trials are missing" if not own else "missing"
    return f"{whole}: {', '.join(reasons)}"


def _judgement(
    case: Case, found: _Found, worse: float | None, better: float | None, *, gated: bool, step: float
) -> Judgement:
    info, evidence = found.info, found.evidence
    margin, margin_from = _margin_of(case, found)
    verdict, improved = _verdict(found, worse, better, margin)
    level, mean = _mean(case, info, found.level.values), _mean(case, info, [found.own])
    if evidence is not None:
        level = info.improvement(evidence.level)
    alarm = evidence.alarm.get(step) if evidence else None
    return Judgement(
        variant=found.variant,
        title=case.title(found.variant),
        info=info,
        gated=gated,
        verdict=verdict,
        improved=improved,
        reason=_reason(case, found, verdict, worse, margin),
        level=level,
        mean=mean,
        drop=None if level is None or mean is None else info.improvement(level - mean),
        drop_low=evidence.low if evidence else None,
        drop_high=evidence.high if evidence else None,
        p=_p(found, "p_worse"),
        p_adjusted=worse,
        margin=margin,
        margin_from=margin_from,
        alarm_from=None if alarm is None else max(alarm, margin or 0.0),
        runs=found.level.runs,
        n=case.sample(info, found.own).size,
    )


def _verdict(
    found: _Found, worse: float | None, better: float | None, margin: float | None
) -> tuple[Verdict, bool]:
    """Judge one metric of one variant; the second says whether it is better than noise explains."""
    evidence, complete = found.evidence, found.missing is None
    if found.same_as is not None:
        return ("pass" if complete else "inconclusive"), False
    if evidence is None or worse is None or better is None:
        return "inconclusive", False
    if worse < ALPHA_GATE and evidence.drop > (margin or 0.0):
        return "regressed", False
    if complete and _shown_to_hold(found, evidence, margin):
        return "pass", better < ALPHA_GATE
    return "inconclusive", False


def _shown_to_hold(found: _Found, evidence: Evidence, margin: float | None) -> bool:
    """Return whether a drop beyond the margin is ruled out; where none is declared, one beyond the noise."""
    most = evidence.drop if evidence.high is None else evidence.high
    if most <= (margin or 0.0):
        return True
    measured = len(found.level.runs) >= MEASURED
    return margin is None and measured and evidence.high is not None and evidence.p_worse >= ALPHA_GATE


def _margin_of(case: Case, found: _Found) -> tuple[float | None, MarginFrom | None]:
    info = found.info
    if info.name in case.margins:
        margin, level = case.margins[info.name], _mean(case, info, found.level.values)
        return (None if level is None else margin.at(level)), "option"
    declared = case.baseline.margins.get(info.name)
    return declared, None if declared is None else "suite"


def _mean(case: Case, info: MetricInfo, runs: Sequence[Mapping[str, float]]) -> float | None:
    """Return the mean of the means of runs, in the metric's unit; none without values."""
    means = [float(case.sample(info, values).mean()) for values in runs if values]
    return info.improvement(float(np.mean(means))) if means else None


def _reason(
    case: Case, found: _Found, verdict: Verdict, p_adjusted: float | None, margin: float | None
) -> str:
    """Return the numbers of a judgement in one sentence, without a full stop."""
    noun = replicate_noun(case.folds)
    if found.same_as is not None:
        lack = f"; {found.missing}" if found.missing else ""
        return f"the same values in every {noun} as {found.same_as.revision}{lack}"
    if found.evidence is None:
        return f"not judged: {found.obstacle or found.missing}"
    assert p_adjusted is not None
    size, evidence, p = _size(found), found.evidence, format_p(p_adjusted, ALPHA_GATE)
    allowed = "" if margin is None else f", margin {format_difference(found.info, margin, signed=False)}"
    if verdict == "regressed":
        return f"{size}, {p} (Holm){allowed}{f'; {found.missing}' * bool(found.missing)}"
    if verdict == "pass":
        return f"{size}{_what_holds(found, margin)}"
    missing = f"; {found.missing}" if found.missing else ""
    if _shown_to_hold(found, evidence, margin):  # by the seeds that are there; only the others are wanting
        return f"{size}{_what_holds(found, margin)}{missing}"
    if evidence.high is None:
        return f"{size}, the same in every {noun}, {p} (Holm){allowed}{missing}"
    return (
        f"{size}; up to {_worse(found, evidence.high)} cannot be ruled out{allowed}{missing}{_way_out(found)}"
    )


def _size(found: _Found) -> str:
    """Return a drop in words: "ΔE 9.60, 1.2 worse [0.9, 1.5] than 8.40 of 5 runs"."""
    info, evidence = found.info, found.evidence
    assert evidence is not None
    mean, level = (format_value(info, info.improvement(one)) for one in (evidence.mean, evidence.level))
    runs = counted(len(found.level.runs), "run")
    bounds = ""
    if evidence.low is not None and evidence.high is not None:
        sign = -1 if evidence.drop < 0 else 1
        ends = sorted((sign * evidence.low, sign * evidence.high))
        bounds = f" {format_interval(info, *ends, signed=False)}"
    resolution = None if evidence.high is None else abs(evidence.high - evidence.drop)
    apart = _worse(found, evidence.drop, resolution)
    return f"{metric_name(info)} {mean}, {apart}{bounds} than {level} of {runs}"


def _worse(found: _Found, drop: float, resolution: float | None = None) -> str:
    word = "worse" if drop >= 0 else "better"
    return f"{format_difference(found.info, abs(drop), signed=False, resolution=resolution)} {word}"


def _what_holds(found: _Found, margin: float | None) -> str:
    evidence = found.evidence
    assert evidence is not None
    if margin is not None:
        return f", within the margin of {format_difference(found.info, margin, signed=False)}"
    return "" if evidence.p_better < ALPHA_GATE else ", within what commits move it"


def _way_out(found: _Found) -> str:
    return f"; {_more_runs(found.level)}" if len(found.level.runs) < MEASURED else ""


def _more_runs(level: Level) -> str:
    more = MEASURED - len(level.runs)
    return f"{counted(more, 'more run')} in the baseline would tell how far commits move it"
