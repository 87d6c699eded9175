"""A project of one's own, as `harness init` writes it: the files of `harness/template`, and a schema."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from harness.errors import HarnessError
from harness.schema import FILE, write_schema

TEMPLATE = "harness.template"
NOT_COPIED = ("__init__.py", "__pycache__")
RENAMED = {"gitignore": ".gitignore"}  # a .gitignore in the harness's own tree would hide files there
SHOWN = 5  # entries of a folder that is not empty


def create_project(folder: Path) -> list[Path]:
    """Write a project into a new or empty folder, and return its files, relative to the folder.

    Raises:
        HarnessError: the folder holds something already, or cannot be written.
    """
    _require_empty(folder)
    template = Path(str(files(TEMPLATE)))
    written = []
    try:
        for source in _sources(template):
            relative = source.relative_to(template)
            target = relative.with_name(RENAMED.get(relative.name, relative.name))
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / target)
            written.append(target)
    except OSError as error:
        raise HarnessError(f"cannot write to {folder}: {error.strerror}") from error
    write_schema(folder / "suites" / FILE)
    return sorted([*written, Path("suites", FILE)])


def next_commands(folder: Path) -> list[str]:
    """Return what to type after `harness init`."""
    return [f"cd {shlex.quote(str(folder))}", "harness run suites/example.yaml --profile smoke"]


def _sources(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name in NOT_COPIED:
            continue
        if entry.is_dir():
            yield from _sources(entry)
        else:
            yield entry


def _require_empty(folder: Path) -> None:
    if folder.is_symlink() or folder.exists():
        if not folder.is_dir():
            raise HarnessError(f"{folder} is a file; name a new folder")
        names = sorted(entry.name for entry in folder.iterdir())
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise HarnessError(
                f"{folder} is not empty: it holds {', '.join(names[:SHOWN])}{more}; "
                f"name a new folder, such as {folder / 'ablations'}"
            )
