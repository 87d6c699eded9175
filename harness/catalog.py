"""Content by name: the user's project first, then what is bundled with the harness.

A project is a folder of the harness's own shape: `suites/`, `ablations/`, `reports/`, `baselines/`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from harness.errors import HarnessError, did_you_mean

Kind = Literal["suites", "ablations", "reports", "cluster"]
NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}"
"""What may be part of a file name and of a command line."""


def search_path(kind: Kind) -> list[Path]:
    """Return the folders that hold content of one kind, the first to look in first."""
    bundled = Path(str(files(f"harness.{kind}")))
    return [folder for folder in (Path(kind), bundled) if folder.is_dir()]


def baselines_folder(folder: Path | str | None = None) -> Path:
    """Return the folder of baselines: as given, else that of HARNESS_BASELINES, else `baselines`."""
    return Path(folder if folder is not None else os.environ.get("HARNESS_BASELINES", "baselines"))


def names(kind: Kind) -> list[str]:
    """Return the names of the YAML files of one kind, sorted."""
    return sorted({file.stem for folder in search_path(kind) for file in folder.glob("*.yaml")})


def find(kind: Kind, name: str) -> Path:
    """Return the YAML file of that name.

    Raises:
        HarnessError: there is none; the message suggests the nearest.
    """
    if re.fullmatch(NAME, name):
        for folder in search_path(kind):
            file = folder / f"{name}.yaml"
            if file.is_file():
                return file
    raise HarnessError(f"no '{name}' in {kind}{did_you_mean(name, names(kind))}")


def template_names(folders: Iterable[Path | Traversable]) -> set[str]:
    """Return the names of the report templates in folders: those of the folders that hold a page."""
    return {
        entry.name
        for folder in folders
        if folder.is_dir()
        for entry in folder.iterdir()
        if entry.is_dir() and entry.joinpath("report.html.j2").is_file()
    }


def find_suite(text: str) -> Path:
    """Return the suite file that a user names: a path, or the name of a known suite.

    `suites/NAME.yaml` finds the bundled suite where the folder has no such file,
    so that the same command works inside and outside the repository.
    """
    path = Path(text)
    try:
        if path.is_file():
            return path
    except OSError as error:  # for instance a name that is too long
        raise HarnessError(f"cannot look for {text}: {error.strerror}") from None
    if path.suffix in ("", ".yaml") and path.parent in (Path(), Path("suites")):
        return find("suites", path.stem)
    raise HarnessError(f"no suite file {text}; known suites are {', '.join(names('suites'))}")
