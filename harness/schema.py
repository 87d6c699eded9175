"""JSON Schema of a suite (draft 2020-12), for editors: made from the models and the registry.

It is never stricter than the harness: a setting that a profile or a parent suite may still give is not
required here, and what only the harness can tell, such as which variants a claim may name, is left to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from harness import catalog, manual
from harness.config import StrategyConfig, StrategyName, TrainConfig
from harness.errors import HarnessError
from harness.expectation import FORMS
from harness.grammar import MOST_SEEDS, WrittenSuite
from harness.registry import registry
from harness.specify import SECTIONS

DRAFT = "https://json-schema.org/draft/2020-12/schema"
FILE = "suite.schema.json"
PLUGIN = r"^[^:\s]+:[^:\s]+$"
"""`package.module:Name`, a component that no package offers by name."""
SECTION_KINDS = ("data", "model", "optimizer", "schedule")
MEANINGS = {
    "data": "Data set, by name, and its settings.",
    "model": "Model, by name, and its settings.",
    "loss": "Loss terms: name -> weight, or a mapping with `weight` and further settings.",
    "optimizer": "Optimizer, by name, and its settings.",
    "schedule": "Learning-rate schedule, by name, and its settings; constant if left out.",
    "metrics": "Metrics in addition to those of the task: names, or mappings with `name` and settings.",
    "perceptual_weights": "Weights of the feature networks in perceptual losses and metrics; `auto` takes "
    "the published ones where they are on this machine.",
    "strategy": "How one trial spreads over processes: a name, or a mapping; one process if left out.",
}


def header(schema: str = FILE) -> str:
    """Return the first line of a suite that tells editors where its schema lies."""
    return f"# yaml-language-server: $schema={schema}"


def suite_schema() -> dict[str, Any]:
    """Return the schema of a suite with every component that is registered; imports all of them."""
    configs = _configs()
    models: list[type[BaseModel]] = [WrittenSuite, TrainConfig, StrategyConfig, *configs.values()]
    references, whole = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], ref_template="#/$defs/{model}"
    )
    definitions: dict[str, Any] = whole["$defs"]
    names = {key: reference["$ref"].rpartition("/")[2] for (key, _), reference in references.items()}
    for config in configs.values():
        definitions[names[config]].pop("required", None)  # a profile or a level may give it
    components = {key: f"#/$defs/{names[config]}" for key, config in configs.items()}
    _open_shorthands(definitions[names[TrainConfig]], components)
    suite = definitions.pop(names[WrittenSuite])
    _complete_vary(suite, definitions)
    _complete_claims(definitions["Claim"]["properties"])
    properties = suite["properties"]
    own = {model: {"$ref": f"#/$defs/{names[model]}"} for model in (TrainConfig, StrategyConfig)}
    properties["base"] |= _base(components, train=own[TrainConfig], strategy=own[StrategyConfig])
    properties["seeds"] = _seeds(properties["seeds"])
    properties["task"] |= _known(registry.names("task"))
    properties["trackers"] = _trackers(properties["trackers"], components)
    properties["primary_metric"] |= _offered(entry.name for entry in manual.entries("metrics"))
    required = suite.pop("required")
    return {
        "$schema": DRAFT,
        **suite,
        "title": "suite",
        "if": {"anyOf": [{"required": ["extends"]}, {"required": ["include"]}]},
        "else": {"required": required, "properties": {"base": _whole_base()}},
        "$defs": definitions,
    }


def write_schema(path: Path) -> None:
    """Write the schema of a suite to a file.

    Raises:
        HarnessError: the file cannot be written.
    """
    text = json.dumps(suite_schema(), indent=2, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror}") from error


def _configs() -> dict[tuple[str, str], type[BaseModel]]:
    """Return (kind, name) -> Config of every registered component that has one."""
    found = {
        (kind, name): getattr(registry.load(kind, name), "Config", None)
        for kind in manual.COMPONENTS.values()
        for name in registry.names(kind)
    }
    return {key: config for key, config in found.items() if config is not None}


def _base(
    components: Mapping[tuple[str, str], str], *, train: dict[str, str], strategy: dict[str, str]
) -> dict[str, Any]:
    """Return the schema of `base`: one section after the other, each by the names of its kind."""
    sections: dict[str, Any] = {kind: _component(kind, components) for kind in SECTION_KINDS}
    sections["loss"] = _loss(components)
    sections["train"] = train
    names = {"enum": list(get_args(StrategyName))}
    sections["strategy"] = {"if": {"type": "string"}, "then": names, "else": strategy}
    sections["metrics"] = {"type": "array", "items": _component_or_name("metric", components)}
    sections["perceptual_weights"] = {"enum": ["auto", "published", "random"]}
    properties = {
        name: {"description": MEANINGS.get(name, ""), **sections.get(name, {})} for name in SECTIONS
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _whole_base() -> dict[str, Any]:
    """Return what a suite that stands on its own has to say of its base."""
    return {
        "required": ["data", "model", "loss", "optimizer", "train"],
        "properties": {kind: {"required": ["name"]} for kind in SECTION_KINDS},
    }


def _component(kind: str, components: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Return the schema of a component: its `name`, and below that the settings of that name."""
    names = registry.names(kind)
    by_name = [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": {"$ref": components[kind, name]},
        }
        for name in names
        if (kind, name) in components
    ]
    settings: dict[str, Any] = {"allOf": by_name} if by_name else {}
    name = {"description": f"Name of the {kind}.", **_known(names)}
    return {"type": "object", "properties": {"name": name}, **settings}


def _component_or_name(kind: str, components: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    name, settings = _known(registry.names(kind)), _component(kind, components)
    return {"if": {"type": "string"}, "then": name, "else": settings}


def _trackers(section: dict[str, Any], components: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Return the schema of `trackers`: a list of names, or the settings of each by its name."""
    names = registry.names("tracker")
    by_name: dict[str, Any] = {
        name: {"anyOf": [{"type": "null"}, {"$ref": components["tracker", name]}]} for name in names
    }
    mapping = {"type": "object", "properties": by_name, "patternProperties": {PLUGIN: {}}}
    listed = {"type": "array", "items": _known(names), "uniqueItems": True}
    return {
        "description": section["description"],
        "anyOf": [listed, {**mapping, "additionalProperties": False}],
    }


def _loss(components: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Return the schema of a loss: a weight or the settings for every term, by its name."""
    weight = {"type": "number", "minimum": 0}
    names = {name: name for name in registry.names("loss")} | registry.aliases("loss")
    terms = {
        written: {"description": _first_line("loss", name), "if": {"type": "number"}, "then": weight}
        | {"else": {"$ref": components["loss", name]}}
        for written, name in names.items()
    }
    plugin = {"if": {"type": "number"}, "then": weight, "else": {"type": "object"}}
    return {
        "type": "object",
        "properties": terms,
        "patternProperties": {PLUGIN: plugin},
        "additionalProperties": False,
        "minProperties": 1,
    }


def _first_line(kind: str, name: str) -> str:
    entries = {entry.name: entry.summary for entry in manual.entries(kind)}
    return entries[name]


def _open_shorthands(train: dict[str, Any], components: Mapping[tuple[str, str], str]) -> None:
    """Say what a suite may write for the random changes: names, or mappings with settings."""
    train.pop("required", None)
    augment = train["properties"]["augment"]
    augment["items"] = _component_or_name("augmentation", components)


def _seeds(seeds: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of seeds: their number, or the seeds themselves."""
    texts: dict[str, Any] = {key: seeds.pop(key) for key in ("description", "title") if key in seeds}
    count = {"type": "integer", "minimum": 1, "maximum": MOST_SEEDS}
    return {**texts, "default": len(seeds.pop("default")), "anyOf": [count, seeds]}


def _complete_vary(suite: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Let groups hold ablations by name, as `vary` does, and let `use` offer the known ones."""
    definitions["Group"]["properties"]["factors"]["items"] = suite["properties"]["vary"]["items"]
    use = definitions["Use"]
    use["properties"]["use"] |= _offered(catalog.names("ablations"))
    beside = definitions["Factor"]["properties"] | definitions["Group"]["properties"]
    for key, value in beside.items():
        use["properties"].setdefault(key, value if key != "design" else {"type": "string"})
    use["additionalProperties"] = False


def _complete_claims(claim: dict[str, Any]) -> None:
    """Tell the forms of a claim apart by their keys, so that a mistake is marked where it is."""
    keys = {key: model.__name__ for of_form, model in FORMS.values() for key in of_form}
    forms: list[dict[str, Any]] = [
        {"if": {"required": [key]}, "then": {"$ref": f"#/$defs/{name}"}} for key, name in keys.items()
    ]
    forms[0]["if"]["not"] = {"required": ["cost"]}  # a cost has a `versus`, too
    for form in forms:
        if form["then"]["$ref"].endswith("/Bounds"):  # a correlation has its ends, too
            form["if"]["not"] = {"required": ["correlate"]}
    claim["expect"] = {
        "description": claim["expect"]["description"],
        "type": "object",
        "anyOf": [{"required": [key]} for key in keys],
        "allOf": forms,
    }


def _known(names: Iterable[str]) -> dict[str, Any]:
    """Return one of these names, or `package.module:Name` of a plugin."""
    plugin = {"type": "string", "pattern": PLUGIN}
    return {"anyOf": [{"enum": found}, plugin]} if (found := list(names)) else plugin


def _offered(names: Iterable[str]) -> dict[str, Any]:
    """Return a text that editors complete with these names, and that may be any other one."""
    return {"anyOf": [{"enum": list(names)}, {"type": "string"}]}
