"""What sets one plan apart from another: variants, settings, seeds, claims, and the trials they share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.ablate import differences
from harness.plan import Plan

LONGEST_SETTING = 60  # characters of a value in a message
IDENTITY = ("seed", "fold")  # of a trial within its variant
GENERAL = ("primary_metric", "reference", "seeds", "folds", "margins", "resources", "budget")


@dataclass(frozen=True)
class Change:
    """One setting before and after; null where it was not, or is not, there."""

    before: Any
    after: Any

    def __str__(self) -> str:
        """Return "0.0001 -> 0.0003"."""
        return f"{format_setting(self.before)} -> {format_setting(self.after)}"


def format_setting(value: Any) -> str:
    """Return the value of a setting: "nothing" for null, a text as it is, all else as JSON; long ones cut."""
    if value is None:
        return "nothing"
    plain = isinstance(value, str) and value.isprintable()
    text = value if plain else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SETTING else f"{text[:LONGEST_SETTING]} ..."


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
    first, second = configurations(before), configurations(after)
    ids, new_ids = ({trial.id for trial in plan.trials} for plan in (before, after))
    claims, new_claims = ({claim.id: claim for claim in plan.claims} for plan in (before, after))
    changed = {name: setting_changes(first[name], second[name]) for name in second if name in first}
    return PlanDifference(
        before=_title(before),
        after=_title(after),
        general=setting_changes(_general(before), _general(after)),
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


def configurations(plan: Plan) -> dict[str, Mapping[str, Any]]:
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


def setting_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    """Return dotted path -> change, of every setting that two configurations do not have alike."""
    forth = differences(dict(before), dict(after))
    back = differences(dict(after), dict(before))
    return {path: Change(before=back.get(path), after=forth.get(path)) for path in {**forth, **back}}
