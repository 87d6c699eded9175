"""Pairs of pictures in a folder: `inputs/`, `outputs/` and a `data.json` for every split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness import plugins
from harness.data.pairs import (
    Fault,
    Listing,
    Pairs,
    PairsConfig,
    Record,
    Scan,
    Split,
    read_file,
    scan_listing,
    shape_name,
)
from harness.errors import HarnessError

LIST = "data.json"
COLOUR_KEYS = ("colour", "color")
Signature = tuple[tuple[str, int, int], ...]


class FolderConfig(PairsConfig):
    """Pairs of pictures in a folder, in the layout of the published colorization data."""

    name: Literal["folder"] = "folder"
    path: str = Field(min_length=1)
    """Folder that holds the splits; one that is not absolute lies below the project."""
    training: str = "training"
    """Folder of the training split within `path`."""
    validation: str = "validation"
    """Folder of the validation split within `path`."""
    inputs: str = "inputs"
    """Folder of the pictures with outlines within a split."""
    outputs: str = "outputs"
    """Folder of the filled pictures within a split."""

    def whereabouts(self) -> tuple[str, ...]:
        """Return the settings that say where the pictures lie, not what they show."""
        return ("path", "training", "validation", "inputs", "outputs", "on_error")

    def place(self) -> str:
        """Return the folder."""
        return f"folder {self.root()}"

    def root(self) -> Path:
        """Return the folder, as a whole path."""
        return (plugins.project() / Path(self.path).expanduser()).resolve()

    def scan(self) -> Scan:
        """Read and check the folder; anew only where a file in it has changed."""
        root = self.root()
        folders = {split: root / name for split, name in self._folders().items()}
        for folder in folders.values():
            if not folder.is_dir():
                raise HarnessError(
                    f"there is no folder {folder}; set path, training and validation to what is there"
                )
        below = (self.inputs, self.outputs)
        return _scan(
            root, tuple(self._folders().items()), below, self.tolerance, _signature(root, below, folders)
        )

    def _folders(self) -> dict[Split, str]:
        return {"train": self.training, "validation": self.validation}


class Folder(Pairs):
    """Pairs of a folder. A `data.json` lists them: `input_polygon`, `colour` (or `color`), `output_image`."""

    Config: ClassVar[type[FolderConfig]] = FolderConfig


def _signature(root: Path, below: tuple[str, str], folders: Mapping[Split, Path]) -> Signature:
    """Return name, size and time of change of every file that a scan reads."""
    files = [
        file
        for folder in folders.values()
        for part in (folder, *(folder / name for name in below))
        if part.is_dir()
        for file in part.iterdir()
        if file.is_file()
    ]
    stats = ((str(file), file.stat()) for file in sorted(files))
    return tuple((name, found.st_size, found.st_mtime_ns) for name, found in stats)


@lru_cache(maxsize=16)
def _scan(
    root: Path,
    folders: tuple[tuple[Split, str], ...],
    below: tuple[str, str],
    tolerance: int,
    signature: Signature,
) -> Scan:
    """Read and check a folder; `signature` stands for what its files held."""
    listing: Listing = {split: _listed(root / name, name, below) for split, name in folders}
    return scan_listing(listing, tolerance)


def _listed(folder: Path, name: str, below: tuple[str, str]) -> list[Record | Fault]:
    file = folder / LIST
    try:
        rows = json.loads(read_file(file, str(file)))
    except ValueError as error:
        raise HarnessError(f"{file} is no JSON: {error}") from None
    if not isinstance(rows, list):
        raise HarnessError(f"{file} should be a list of pairs, got {type(rows).__name__}")
    return [
        _record(folder, f"{name}/{LIST} entry {number}", row, below) for number, row in enumerate(rows, 1)
    ]


def _record(folder: Path, where: str, row: Any, below: tuple[str, str]) -> Record | Fault:
    if not isinstance(row, dict):
        return Fault(where, "should be a mapping")
    words = {
        "input_polygon": row.get("input_polygon"),
        "colour": next((row[key] for key in COLOUR_KEYS if key in row), None),
        "output_image": row.get("output_image"),
    }
    for key, value in words.items():
        if not isinstance(value, str) or not value.strip():
            return Fault(where, f"'{key}' is missing" if value is None else f"'{key}' should be a text")
    given, colour, wanted = (str(value).strip() for value in words.values())
    for name in (given, wanted):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return Fault(where, f"{name} leads out of the folder")
    return Record(
        f"{where} ({wanted})",
        colour.lower(),
        shape_name(given),
        partial(read_file, folder / below[0] / given, f"{below[0]}/{given}"),
        partial(read_file, folder / below[1] / wanted, f"{below[1]}/{wanted}"),
    )
