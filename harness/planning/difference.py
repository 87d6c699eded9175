"""What sets one plan apart from another: variants, settings, seeds, claims, and the trials they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.ablate import differences
from harness.plan import Plan

IDENTITY = ("seed", "fold")  # of a trial within its variant
GENERAL = ("primary_metric", "reference", "seeds", "folds", "margins", "resources", "budget")


@dataclass(frozen=True)
class Change:
    """One setting before and after; null where it was not, or is not, there."""

    before: Any
    after: Any


@dataclass(frozen=True)
class PlanDifference:
    """From one plan, `before`, to another, `after`."""

    before: str
    """Suite and profile."""
    after: str
    general: dict[str, Change]
    """Seeds, margins and other settings of the whole."""
    added: tuple[str, ...]
    """Variants that are new."""
    removed: tuple[str, ...]
    changed: dict[str, dict[str, Change]]
    """Variant -> dotted path -> change of its configuration, defaults included."""
    claims_added: tuple[str, ...]
    claims_removed: tuple[str, ...]
    claims_changed: tuple[str, ...]
    trials_shared: int
    """Trials of `after` that `before` has, too: the same identity, whatever the variant is called."""
    trials_new: int
    trials_gone: int


def compare_plans(before: Plan, after: Plan) -> PlanDifference:
    """Return what changes from one plan to another."""
    first, second = _specs(before), _specs(after)
    ids, new_ids = ({trial.id for trial in plan.trials} for plan in (before, after))
    claims, new_claims = ({claim.id: claim for claim in plan.claims} for plan in (before, after))
    changed = {name: _changes(first[name], second[name]) for name in second if name in first}
    return PlanDifference(
        before=_title(before),
        after=_title(after),
        general=_changes(_general(before), _general(after)),
        added=tuple(name for name in second if name not in first),
        removed=tuple(name for name in first if name not in second),
        changed={name: found for name, found in changed.items() if found},
        claims_added=tuple(claim for claim in new_claims if claim not in claims),
        claims_removed=tuple(claim for claim in claims if claim not in new_claims),
        claims_changed=tuple(
            name for name, claim in new_claims.items() if name in claims and claims[name] != claim
        ),
        trials_shared=len(ids & new_ids),
        trials_new=len(new_ids - ids),
        trials_gone=len(ids - new_ids),
    )


def _title(plan: Plan) -> str:
    return f"{plan.suite} ({plan.profile})" if plan.profile else plan.suite


def _specs(plan: Plan) -> dict[str, Mapping[str, Any]]:
    """Return variant -> its configuration with every default, without seed and fold."""
    specs: dict[str, Mapping[str, Any]] = {variant.name: {} for variant in plan.variants}
    for trial in plan.trials:
        for name in trial.variants:
            if not specs[name]:
                specs[name] = {key: value for key, value in trial.spec.items() if key not in IDENTITY}
    return specs


def _general(plan: Plan) -> dict[str, Any]:
    settings = plan.model_dump(mode="json", include=set(GENERAL))
    return {name: settings[name] for name in GENERAL}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    forth = differences(dict(before), dict(after))
    back = differences(dict(after), dict(before))
    return {path: Change(before=back.get(path), after=forth.get(path)) for path in {**forth, **back}}
