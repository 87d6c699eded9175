"""What there is to choose from, read from the code and the content: `harness list` and `harness show`.

Names and first lines come from the sources without importing them, so that a list needs no torch;
one component's page imports that component.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from harness import catalog
from harness import registry as registered
from harness.config import MetricInfo
from harness.document import read_document
from harness.errors import HarnessError, did_you_mean
from harness.grammar import Factor, Group, Suite
from harness.grammar import entries as entries_of
from harness.metrics import info
from harness.registry import registry
from harness.suite import load_suite

COMPONENTS = {
    "tasks": "task",
    "data": "data",
    "models": "model",
    "losses": "loss",
    "metrics": "metric",
    "augmentations": "augmentation",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "trackers": "tracker",
}
"""What a list calls the kinds of the registry."""
CONTENT: dict[str, catalog.Kind] = {"suites": "suites", "ablations": "ablations", "templates": "reports"}
KINDS = ("suites", "ablations", *COMPONENTS, "templates")
SINGULAR = {"suite": "suites", "ablation": "ablations", "template": "templates"} | {
    kind: plural for plural, kind in COMPONENTS.items()
}
WORDS = {"null": "none", "boolean": "true or false", "string": "text"}
"""What types of JSON Schema are called."""
PATCHES = ("set", "drop", "add", "swap", "scale")
"""Keys of a level that change settings."""


@dataclass(frozen=True)
class Entry:
    """One name that can be chosen."""

    name: str
    summary: str
    """One line; empty where nobody wrote one."""
    origin: str
    """`bundled`, `project`, or the distribution or module that brings it."""


@dataclass(frozen=True)
class Setting:
    """One setting of a component."""

    name: str
    type: str
    default: Any
    required: bool
    range: str
    """Bounds, such as `1 to 10` or `above 0`; empty where there are none."""
    meaning: str


@dataclass(frozen=True)
class Page:
    """All there is to say about one name: what `harness show` prints."""

    kind: str
    name: str
    summary: str
    origin: str
    source: str
    """File, or module and object."""
    settings: tuple[Setting, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What only pages of this kind have, in the order to show it; plain JSON values."""


def plural(kind: str) -> str:
    """Return the name of a kind as a list is called, from the singular or the plural.

    Raises:
        HarnessError: no such kind.
    """
    name = SINGULAR.get(kind, kind)
    if name not in KINDS:
        raise HarnessError(f"no kind '{kind}'{did_you_mean(kind, KINDS)}")
    return name


def entries(kind: str) -> list[Entry]:
    """Return everything of one kind, sorted by name; imports no component.

    Raises:
        HarnessError: no such kind, or a suite or ablation that is no YAML.
    """
    kind = plural(kind)
    if kind == "templates":
        return _templates()
    if kind in CONTENT:
        return [_content_entry(kind, name) for name in catalog.names(CONTENT[kind])]
    found = [_component_entry(found) for found in registry.describe() if found.kind == COMPONENTS[kind]]
    if kind == "metrics":
        known = {entry.name for entry in found}
        found += [
            Entry(name, _first_line(metric.description), "bundled")
            for name, metric in metrics().items()
            if name not in known
        ]
    return sorted(found, key=lambda entry: entry.name)


def counts() -> dict[str, int]:
    """Return how many names there are of every kind."""
    return {kind: len(entries(kind)) for kind in KINDS}


def page(kind: str, name: str) -> Page:
    """Return what there is to say about one name.

    Raises:
        HarnessError: no such kind or name, or a file that cannot be read.
    """
    kind = plural(kind)
    if kind == "suites":
        return _suite_page(name)
    if kind == "ablations":
        return _ablation_page(name)
    if kind == "templates":
        return _template_page(name)
    if kind == "metrics" and name not in registry.names("metric") and ":" not in name:
        return _metric_page(name)
    return _component_page(kind, name)


def metrics() -> dict[str, MetricInfo]:
    """Return what the metrics mean that the harness computes, by name."""
    return {value.name: value for value in vars(info).values() if isinstance(value, MetricInfo)}


def settings(config: type[BaseModel], *, skip: tuple[str, ...] = ("name",)) -> tuple[Setting, ...]:
    """Return the settings of a component, read from its Config's JSON Schema."""
    schema = config.model_json_schema()
    required = schema.get("required", ())
    return tuple(
        Setting(
            name=name,
            type=_type(part, schema),
            default=part.get("default"),
            required=name in required,
            range=_range(part),
            meaning=" ".join(part.get("description", "").split()),
        )
        for name, part in schema["properties"].items()
        if name not in skip
    )


def applies_to(setting: str) -> list[str] | None:
    """Return the components that have the setting at a dotted path such as `model.depth`, sorted.

    None where the path does not lead into a component: then it is the same for all.
    """
    kind, _, rest = setting.partition(".")
    if kind not in ("data", "model", "optimizer", "schedule") or not rest:
        return None
    return [name for name in registry.names(kind) if _has(registry.load(kind, name).Config, rest)]


def _has(config: type[BaseModel], path: str) -> bool:
    return path.partition(".")[0] in config.model_fields


# ---------------------------------------------------------------- components


def _component_entry(found: registered.Entry) -> Entry:
    module, _, attribute = found.target.partition(":")
    origin = "bundled" if found.origin == registered.BUILT_IN else found.origin
    return Entry(found.name, _docstring_in_source(module, attribute), origin)


def _component_page(kind: str, name: str) -> Page:
    component = registry.load(COMPONENTS[kind], name)
    target = registry.target(COMPONENTS[kind], name)
    config = getattr(component, "Config", None)
    facts: dict[str, Any] = {}
    metric = getattr(component, "info", None)
    if isinstance(metric, MetricInfo):
        facts |= _meaning(metric)
    elif kind == "metrics" and name in metrics():
        facts |= _meaning(metrics()[name])
    return Page(
        kind=kind,
        name=name,
        summary=_whole_docstring(component, config),
        origin=_origin(target.partition(":")[0]),
        source=target,
        settings=settings(config) if config is not None else (),
        facts=facts,
    )


def _whole_docstring(component: Any, config: type[BaseModel] | None) -> str:
    """Return the docstrings of a component and of its Config, where the latter says more than its name."""
    own = inspect.getdoc(component) or ""
    of_config = inspect.getdoc(config) if config is not None and "__doc__" in vars(config) else None
    if not of_config or of_config.startswith(("Parameters of", "Settings of")):
        return own
    return f"{own}\n\n{of_config}".strip()


def _docstring_in_source(module: str, name: str) -> str:
    """Return the first line of a class's docstring, parsed from the source and not imported."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return _first_line(ast.get_docstring(node) or "")
    return ""


def _origin(module: str) -> str:
    """Return where a module comes from: `bundled`, the distribution that installed it, or `project`."""
    package = module.partition(".")[0]
    if package == "harness":
        return "bundled"
    return next(iter(packages_distributions().get(package, ())), "project")


# ---------------------------------------------------------------- metrics


def _metric_page(name: str) -> Page:
    known = metrics()
    if name not in known:
        raise HarnessError(f"no metric '{name}'{did_you_mean(name, {*known, *registry.names('metric')})}")
    metric = known[name]
    return Page(
        kind="metrics",
        name=name,
        summary=metric.description,
        origin="bundled",
        source="harness.metrics.info",
        facts=_meaning(metric),
    )


def _meaning(metric: MetricInfo) -> dict[str, Any]:
    low, high = metric.range
    return {
        "title": metric.title,
        "symbol": metric.symbol,
        "unit": metric.unit,
        "direction": f"{metric.direction} is better",
        "range": _bounds(low, high),
        "theme": metric.theme,
    }


# ---------------------------------------------------------------- content


def _content_entry(kind: str, name: str) -> Entry:
    path = catalog.find(CONTENT[kind], name)
    value = read_document(path).value
    question = value.get("question") if isinstance(value, dict) else None
    return Entry(name, _first_line(str(question or "")), _origin_of_file(path))


def _origin_of_file(path: Path) -> str:
    return "project" if path.resolve().is_relative_to(Path.cwd()) and not _is_bundled(path) else "bundled"


def _is_bundled(path: Path) -> bool:
    """Whether a file belongs to the harness, also where its own repository is the current folder."""
    folders = {catalog.search_path(kind)[-1].resolve() for kind in CONTENT.values()}
    return any(path.resolve().is_relative_to(folder) for folder in folders)


def _templates() -> list[Entry]:
    folders = catalog.search_path("reports")
    names = catalog.template_names(folders)
    return [Entry(name, "", _origin_of_file(_template_folder(name))) for name in sorted(names)]


def _template_folder(name: str) -> Path:
    for folder in catalog.search_path("reports"):
        if (folder / name / "report.html.j2").is_file():
            return folder / name
    known = catalog.template_names(catalog.search_path("reports"))
    raise HarnessError(f"no template '{name}'{did_you_mean(name, known)}")


def _template_page(name: str) -> Page:
    folder = _template_folder(name)
    return Page(
        kind="templates",
        name=name,
        summary="",
        origin=_origin_of_file(folder),
        source=str(folder),
        facts={
            "files": sorted(file.name for file in folder.iterdir() if file.is_file()),
            "in a suite": f"report: {{template: {name}}}",
        },
    )


def _ablation_page(name: str) -> Page:
    path = catalog.find("ablations", name)
    value = read_document(path).value
    if not isinstance(value, dict):
        raise HarnessError(f"{path}: an ablation is a mapping with `levels`")
    facts: dict[str, Any] = {"applies to": _applicability(value)}
    if value.get("design"):
        facts["design"] = value["design"]
    if options := value.get("options"):
        facts["options"] = {option: _option(found) for option, found in options.items()}
    if "levels" in value:
        facts["levels"] = {level: _level(found) for level, found in value["levels"].items()}
    if isinstance(value.get("factors"), list):
        facts["factors"] = [part.get("factor") or part.get("use") for part in value["factors"]]
    facts |= {key: value[key] for key in ("each", "except", "path", "values", "scale") if key in value}
    facts["in a suite"] = f"vary:\n  - use: {name}{_with_defaults(value)}"
    return Page(
        kind="ablations",
        name=name,
        summary=str(value.get("question") or ""),
        origin=_origin_of_file(path),
        source=str(path),
        facts=facts,
    )


def _applicability(ablation: Mapping[str, Any]) -> dict[str, Any]:
    """Return setting -> names of the components that have it, for all settings that are needed."""
    needed = ablation.get("requires") or sorted(_touched(ablation))
    found = {str(setting): applies_to(str(setting)) for setting in needed}
    return {
        setting: "every suite" if names is None else names or "no registered component"
        for setting, names in found.items()
    }


def _touched(ablation: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings of components that the levels change, as dotted paths."""
    paths = {ablation["path"]} if isinstance(ablation.get("path"), str) else set()
    for level in (ablation.get("levels") or {}).values():
        for key in PATCHES if isinstance(level, dict) else ():
            paths |= set(level.get(key) or ())
    for path in paths:
        kind, _, rest = path.partition(".")
        if kind in SINGULAR and rest and rest != "name":
            yield path


def _option(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        return {"default": found}
    return {key: found[key] for key in ("default", "help") if key in found}


def _with_defaults(ablation: Mapping[str, Any]) -> str:
    """Return the line that gives an ablation its options, with their defaults; empty without options."""
    options = [
        f"{name}: {json.dumps(_option(found).get('default'), ensure_ascii=False)}"
        for name, found in (ablation.get("options") or {}).items()
    ]
    return f"\n    with: {{{', '.join(options)}}}" if options else ""


def _level(found: Any) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "links"} if isinstance(found, dict) else {}


def _suite_page(name: str) -> Page:
    path = catalog.find_suite(name)
    suite = load_suite(path).suite
    profiles = {
        profile: [f"{setting} = {value}" for setting, value in changes.items()]
        for profile, changes in suite.profiles.items()
    }
    return Page(
        kind="suites",
        name=suite.suite,
        summary=suite.question or "",
        origin=_origin_of_file(path),
        source=str(path),
        facts={
            "description": suite.description.strip(),
            "task": suite.task,
            "primary metric": suite.primary_metric,
            "factors": _factors(suite),
            "seeds": list(suite.seeds),
            "profiles": profiles,
            "claims": {claim.id: claim.says for claim in suite.claims},
        },
    )


def _factors(suite: Suite) -> dict[str, Any]:
    """Return name -> what a suite says of every factor and group, ablations in their place."""
    return {
        entry.group if isinstance(entry, Group) else entry.factor: _factor(entry)
        for _, entry in entries_of(suite)
    }


def _factor(entry: Factor | Group) -> dict[str, Any]:
    said = {"design": entry.design, "question": entry.question}
    if isinstance(entry, Group):
        members = [part.group if isinstance(part, Group) else part.factor for part in entry.factors]
        return _given({**said, "factors": members})
    levels = list(entry.levels) if entry.levels else None
    made = {"each": entry.each, "path": entry.path, "values": entry.values, "scale": entry.scale}
    return _given({**said, "levels": levels, **made})


def _given(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in facts.items() if value}


# ---------------------------------------------------------------- words


def _first_line(text: str) -> str:
    """Return the first paragraph of a text in one line."""
    return " ".join(text.strip().partition("\n\n")[0].split())


def _type(part: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return the type that a part of a JSON Schema describes, in words."""
    if "$ref" in part:
        return _type(schema["$defs"][part["$ref"].rpartition("/")[2]], schema)
    if "const" in part:
        return f"{part['const']}"
    if "enum" in part:
        return " | ".join(str(value) for value in part["enum"])
    if choices := part.get("anyOf") or part.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(choice, schema) for choice in choices))
    if part.get("type") == "array":
        return _array(part, schema)
    if part.get("type") == "object":
        return "mapping"
    return WORDS.get(kind := str(part.get("type", "anything")), kind)


def _array(part: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "prefixItems" in part:
        return f"[{', '.join(_type(item, schema) for item in part['prefixItems'])}]"
    item = part.get("items")
    return f"list of {_type(item, schema)}" if isinstance(item, Mapping) and item else "list"


def _range(part: Mapping[str, Any]) -> str:
    """Return the bounds of a number, or of the members of a list."""
    for choice in (part, *part.get("anyOf", ()), *part.get("prefixItems", ())[:1], part.get("items", {})):
        if not isinstance(choice, Mapping):
            continue
        low, high = choice.get("minimum"), choice.get("maximum")
        above, below = choice.get("exclusiveMinimum"), choice.get("exclusiveMaximum")
        if above is not None or below is not None:
            parts = (("above", above), ("at least", low), ("below", below), ("at most", high))
            return " and ".join(f"{word} {_number(value)}" for word, value in parts if value is not None)
        if low is not None or high is not None:
            return _bounds(low, high)
    return ""


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{_number(low)} to {_number(high)}"
    if low is not None:
        return f"at least {_number(low)}"
    return "no bounds" if high is None else f"at most {_number(high)}"


def _number(value: float) -> str:
    """Return a number as a suite would have it: 0.5, 10000000, 1e-12."""
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
