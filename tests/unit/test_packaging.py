"""A wheel holds every package; a folder that pyproject.toml does not name would be missing from it."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTENT = ("suites", "ablations", "reports", "cluster")


def test_every_package_is_named():
    named = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    code = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "harness").rglob("__init__.py")}
    content = {
        ".".join(["harness", *folder.relative_to(ROOT).parts])
        for name in CONTENT
        for folder in [ROOT / name, *(ROOT / name).rglob("*")]
        if folder.is_dir() and folder.name != "__pycache__"
    }
    template = {
        ".".join(folder.relative_to(ROOT).parts)
        for folder in (ROOT / "harness" / "template").rglob("*")
        if folder.is_dir() and folder.name != "__pycache__"
    }
    assert named == code | content | template
