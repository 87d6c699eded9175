"""Pairs of pictures in a data set of the Hugging Face library `datasets`: local files, or its cache."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness import plugins
from harness.data.cache import cache_folder
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
from harness.errors import HarnessError, did_you_mean

SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves
Columns = tuple[str, str, str, str | None]
Splits = tuple[tuple[Split, str], ...]
Signature = tuple[tuple[str, int, int], ...]


class HuggingFaceConfig(PairsConfig):
    """Pairs of pictures in a data set of the library `datasets`; never fetched from the network."""

    name: Literal["hugging_face"] = "hugging_face"
    path: str = Field(min_length=1)
    """A folder (below the project where it is not absolute) that `save_to_disk` wrote, or with files that
    the library knows, such as parquet or an image folder; else the name of a data set of the hub that lies
    in the cache of this machine."""
    subset: str | None = None
    """Configuration of a data set of the hub, where it has several."""
    training: str = "train"
    """Name of the training split."""
    validation: str = "validation"
    """Name of the validation split."""
    input: str = "input"
    """Column of the pictures with outlines."""
    target: str = "target"
    """Column of the filled pictures."""
    colour: str = "colour"
    """Column of the colour words: texts, or labels of a class."""
    shape: str | None = None
    """Column of the names of shapes; where it is left out, the shape is read from the name of the input's
    file."""

    def whereabouts(self) -> tuple[str, ...]:
        """Return the settings that say where the pictures lie, not what they show."""
        where = ("path", "subset", "training", "validation")
        return (*where, "input", "target", "colour", "shape", "on_error")

    def place(self) -> str:
        """Return the data set."""
        return f"data set {self.path}"

    def scan(self) -> Scan:
        """Read and check the data set; local files anew only where one of them has changed."""
        folder = plugins.project() / Path(self.path).expanduser()
        source = str(folder.resolve()) if folder.exists() else self.path
        splits: Splits = (("train", self.training), ("validation", self.validation))
        columns = (self.input, self.target, self.colour, self.shape)
        return _scan(source, self.subset, splits, columns, self.tolerance, _signature(folder))


class HuggingFace(Pairs):
    """Pairs of a data set of the library `datasets`, with its columns as the settings name them."""

    Config: ClassVar[type[HuggingFaceConfig]] = HuggingFaceConfig


def _signature(folder: Path) -> Signature:
    """Return name, size and time of change of every file below a folder; nothing for a data set of the
    hub."""
    stats = ((str(file), file.stat()) for file in sorted(folder.rglob("*")) if file.is_file())
    return tuple((name, found.st_size, found.st_mtime_ns) for name, found in stats)


@lru_cache(maxsize=16)
def _scan(
    source: str, subset: str | None, splits: Splits, columns: Columns, tolerance: int, signature: Signature
) -> Scan:
    """Read and check a data set; `signature` stands for what its files held."""
    data = _loaded(source, subset, local=bool(signature))
    listing: Listing = {split: _listed(data, name, columns, source) for split, name in splits}
    return scan_listing(listing, tolerance)


def _loaded(source: str, subset: str | None, *, local: bool) -> Any:
    """Return the splits by name.

    Raises:
        HarnessError: the library cannot make a data set of it, or it is not on this machine.
    """
    import datasets

    with _quiet_and_offline():
        try:
            if any((Path(source) / name).is_file() for name in SAVED):
                data = datasets.load_from_disk(source)
            else:
                # What the library unpacks of local files lies beside our own arrays.
                unpacked = str(cache_folder() / "hugging_face") if local else None
                data = datasets.load_dataset(source, subset, cache_dir=unpacked)
        except Exception as error:  # of any library that reads a format
            raise HarnessError(_why_not(source, error, local=local)) from error
    if not isinstance(data, dict):
        raise HarnessError(
            f"data set {source} has no splits; save a DatasetDict with one for training and validation"
        )
    return data


@contextlib.contextmanager
def _quiet_and_offline() -> Iterator[None]:
    """Keep the library off the network and its progress bars off the terminal."""
    import datasets

    offline, bars = datasets.config.HF_HUB_OFFLINE, datasets.are_progress_bars_disabled()
    datasets.config.HF_HUB_OFFLINE = True
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
        if not bars:
            datasets.enable_progress_bars()


def _why_not(source: str, error: Exception, *, local: bool) -> str:
    if local:
        return f"data set {source} cannot be read: {' '.join(str(error).split())}"
    return (
        f"there is no folder {source}, and no data set of this name in the cache of this machine; "
        f"where there is a network: python -c \"import datasets; datasets.load_dataset('{source}')\""
    )


def _listed(data: Any, name: str, columns: Columns, source: str) -> list[Record | Fault]:
    """Return the pairs of one split."""
    import datasets

    if name not in data:
        raise HarnessError(f"data set {source} has no split '{name}'{did_you_mean(name, list(data))}")
    table = data[name]
    for column in columns:
        if column is not None and column not in table.column_names:
            raise HarnessError(
                f"data set {source} has no column '{column}'{did_you_mean(column, table.column_names)}"
            )
    given, wanted, colour, shape = columns
    for column in (given, wanted):
        try:
            table = table.cast_column(column, datasets.Image(decode=False))
        except (TypeError, ValueError, NotImplementedError) as error:
            raise HarnessError(
                f"the column '{column}' of data set {source} holds no pictures: {error}"
            ) from None
    words = _words(table, colour)
    shapes = _words(table, shape) if shape is not None else [_shape_of_file(cell) for cell in table[given]]
    return [
        _record(f"{name} row {row}", words[row], shapes[row], table, row, (given, wanted))
        for row in range(len(table))
    ]


def _words(table: Any, column: str) -> list[Any]:
    """Return the values of a column; the names of those that are labels of a class."""
    feature, values = table.features[column], table[column]
    return [
        feature.int2str(value) if hasattr(feature, "int2str") and value is not None else value
        for value in values
    ]


def _shape_of_file(cell: Any) -> str:
    path = (cell or {}).get("path")
    return shape_name(path) if path else "unnamed"


def _record(
    where: str, colour: Any, shape: Any, table: Any, row: int, pictures: tuple[str, str]
) -> Record | Fault:
    for what, value in (("colour", colour), ("shape", shape)):
        if not isinstance(value, str) or not value.strip():
            return Fault(where, f"the {what} should be a text, got {value!r}")
    given, wanted = (partial(_bytes, table, row, column) for column in pictures)
    return Record(where, colour.strip().lower(), shape.strip(), given, wanted)


def _bytes(table: Any, row: int, column: str) -> bytes:
    """Return the file of a picture, which lies in the table or beside it.

    Raises:
        HarnessError: there is none.
    """
    cell = table[row][column] or {}
    if cell.get("bytes") is not None:
        return bytes(cell["bytes"])
    if not cell.get("path"):
        raise HarnessError(f"'{column}' is missing")
    return read_file(Path(cell["path"]), cell["path"])
