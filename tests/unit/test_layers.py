"""Imports point one way: a module may import from those that stand before it in this list."""

import ast
from pathlib import Path

import pytest

HARNESS = Path(__file__).parents[2] / "harness"
LAYERS = [
    "errors",
    "visible",
    "redact",
    "weights",
    "canonical",
    "document",
    "validation",
    "catalog",
    "provenance",
    "config",
    "plugins",
    "registry",
    "specify",
    "ablate",
    "library",
    "compose",
    "budget",
    "expectation",
    "failures",
    "pruning",
    "grammar",
    "suite",
    "plan",
    "planning",
    "needs",
    "data",
    "models",
    "losses",
    "metrics",
    "manual",
    "schema",
    "markdown",
    "tasks",
    "train",
    "preflight",
    "store",
    "allotment",
    "cost",
    "trackers",
    "execute",
    "analysis",
    "package",
    "tracking",
    "reporting",
    "evidence",
    "api",
    "launch",
    "doctor",
    "terminal",
    "testing",
    "template",
    "project",
    "commands",
    "cli",
]


def modules():
    for path in sorted(HARNESS.rglob("*.py")):
        parts = path.relative_to(HARNESS).with_suffix("").parts
        if parts != ("__init__",):
            yield path, parts[0]


def imported_layers(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "harness" and parts[1] in LAYERS:
                yield parts[1], node.lineno


def test_every_module_has_a_layer():
    assert {layer for _, layer in modules()} == set(LAYERS)


def test_imports_point_one_way():
    wrong = [
        f"{path.relative_to(HARNESS)}:{line} imports {imported}"
        for path, layer in modules()
        for imported, line in imported_layers(path)
        if LAYERS.index(imported) > LAYERS.index(layer)
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["ray"])
def test_one_package_alone_imports_the_scheduler(package):
    importers = {
        path.relative_to(HARNESS).as_posix()
        for path, _ in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
        if name.split(".")[0] == package
    }
    assert {Path(importer).parent.as_posix() for importer in importers} == {"execute/ray_tune"}
