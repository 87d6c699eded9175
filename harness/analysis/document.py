"""Everything that the analysis says of one run, as one JSON document (docs/comparing.md).

The same store gives the same bytes at every call and on every machine (`plain_json`): the document
holds nothing of the machine that asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.analysis.claims import judge_claims
from harness.analysis.convergence import describe_convergence
from harness.analysis.costs import COST_INFOS, compare_costs, mean_costs
from harness.analysis.dynamics import describe_dynamics
from harness.analysis.effects import best_variant, compare_all, compare_pairs, summarise, unbeaten
from harness.analysis.factorial import analyse_factorials
from harness.analysis.failure_modes import failure_modes_of
from harness.analysis.importance import rank_factors
from harness.analysis.overfitting import find_overfitting
from harness.analysis.plain_json import plain_value
from harness.analysis.precision import image_precision
from harness.analysis.time_to_quality import time_to_quality
from harness.analysis.tradeoffs import trade_offs
from harness.analysis.values import missing
from harness.store.read import RunRecord

SCHEMA = 1  # raised when a key changes its meaning or goes; new keys are no change
PAIRS_UP_TO = 40  # variants of a plan whose pairs are told for every metric; of more, for the primary one
MOST_PAIRED = 200  # variants of a plan whose pairs are told at all

Section = Callable[[RunRecord], object]


def verdicts_document(record: RunRecord) -> dict[str, Any]:
    """Return what the analysis says of a run as JSON values, ready for `document_text`."""
    document = {"schema": SCHEMA, "run": plain_value(_run(record)), "plan": plain_value(_plan(record))}
    for key, section in SECTIONS:
        document[key] = plain_value(section(record))
    return document


def _run(record: RunRecord) -> dict[str, Any]:
    names = ("run_id", "status", "started", "git_commit", "code_hash", "notes")
    return {**{name: record.run[name] for name in names}, "git_clean": record.run["git_dirty"] is None}


def _plan(record: RunRecord) -> dict[str, Any]:
    names = ("suite", "suite_hash", "profile", "task", "primary_metric", "metrics", "reference")
    plan = record.plan
    return {
        **{name: getattr(plan, name) for name in names},
        "variants": [
            {"name": one.name, "title": one.title, "levels": one.levels, "changes": one.changes}
            for one in plan.variants
        ],
        **{name: getattr(plan, name) for name in ("seeds", "folds", "margins")},
        "trials": len(plan.trials),
    }


# --- sections: each gives dataclasses, or lists and mappings of them


def _by_metric(about: Callable[[RunRecord, str], object]) -> Section:
    """Return a section that tells the same of every metric of the plan."""
    return lambda record: {metric: about(record, metric) for metric in record.plan.metrics}


def _by_cost(about: Callable[[RunRecord, Any], object]) -> Section:
    return lambda record: {cost: about(record, cost) for cost in COST_INFOS}


def _pairs(record: RunRecord) -> dict[str, object]:
    """Return all pairs of every metric; of a large plan those of the primary metric, or none."""
    plan = record.plan
    if len(plan.variants) > MOST_PAIRED:
        return {}
    names = list(plan.metrics) if len(plan.variants) <= PAIRS_UP_TO else [plan.primary_metric]
    return {name: compare_pairs(record, name) for name in names}


def _failure_modes(record: RunRecord) -> dict[str, object]:
    """Return the failure modes of every variant; of a large plan those of the reference and of the best."""
    names = [variant.name for variant in record.plan.variants]
    if len(names) > PAIRS_UP_TO:
        best = best_variant(record)
        names = list(dict.fromkeys([record.plan.reference, *([best.variant] if best else [])]))
    return dict(failure_modes_of(record, names))


SECTIONS: tuple[tuple[str, Section], ...] = (
    ("claims", judge_claims),
    ("values", _by_metric(summarise)),
    ("effects", _by_metric(compare_all)),
    ("pairs", _pairs),
    ("unbeaten", lambda record: {name: unbeaten(record, name) for name in _pairs(record)}),
    ("best", best_variant),
    ("dynamics", describe_dynamics),
    ("convergence", describe_convergence),
    ("overfitting", find_overfitting),
    ("time_to_quality", time_to_quality),
    ("failure_modes", _failure_modes),
    ("costs", _by_cost(lambda record, cost: list(mean_costs(record, cost).values()))),
    ("cost_ratios", _by_cost(compare_costs)),
    ("factorials", _by_metric(analyse_factorials)),
    ("importance", _by_metric(rank_factors)),
    ("trade_offs", trade_offs),
    ("image_precision", _by_metric(image_precision)),
    ("missing", missing),
)
"""The sections of a document, in its order: key and what gives it."""
