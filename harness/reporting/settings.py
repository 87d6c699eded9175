"""The settings of a variant as lines: a dotted path and the value as people write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.plan import Plan

NOT_SETTINGS = ("seed", "fold", "task", "primary_metric")


def settings_of(plan: Plan, variant: str) -> dict[str, str]:
    """Return a variant's specification as dotted path -> text; loss terms come as one line."""
    spec = next(trial.spec for trial in plan.trials if variant in trial.variants)
    terms = [f"{written(weight)} {term}" for term, weight in loss_weights(plan, variant).items()]
    extras = {f"loss.{term}": _without(config, "weight") for term, config in spec["loss"].items()}
    rest = {key: value for key, value in spec.items() if key != "loss" and key not in NOT_SETTINGS}
    flat = _flatten({**{path: value for path, value in extras.items() if value}, **rest})
    return {"loss": " + ".join(terms), **flat}


def loss_weights(plan: Plan, variant: str) -> dict[str, Any]:
    """Return a variant's loss terms with their weights, in the order of the suite; those of 0 are none."""
    loss = next(trial.spec["loss"] for trial in plan.trials if variant in trial.variants)
    weights = {term: loss[term]["weight"] for term in plan.loss_terms if term in loss}
    return {term: weight for term, weight in weights.items() if weight}


def written(value: Any) -> str:
    """Write one setting: lists with commas, nothing as "none", a component as "hflip (probability 0.5)"."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(written(item) for item in value) or "none"
    if isinstance(value, Mapping):
        return _component(value)
    return str(value)


def _component(config: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key} {written(value)}" for key, value in config.items() if key != "name")
    name = str(config.get("name", ""))
    return f"{name} ({options})" if name and options else name or options


def _without(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != key}


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = written(value)
    return flat
