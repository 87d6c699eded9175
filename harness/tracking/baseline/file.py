"""The files of baselines: reading, checking and writing them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness import catalog
from harness.errors import HarnessError, did_you_mean
from harness.planning.difference import format_setting
from harness.store.files import replacing
from harness.tracking.baseline.model import SCHEMA, Baseline, clean

RESERVED = ("accepted",)  # the file of accepted changes lies in the same folder
LARGEST_FILE = 64 * 1024**2  # bytes
LONGEST_LINE = 300  # characters of a message about a broken file


def read_baseline(name: str, folder: Path) -> Baseline:
    """Return a baseline.

    Raises:
        HarnessError: there is none of that name, or its file is broken.
    """
    file = _file(name, folder)
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise HarnessError(f"{file} is larger than {LARGEST_FILE // 1024**2} MiB and no baseline")
        content = file.read_bytes()
    except FileNotFoundError:
        known = did_you_mean(name, baseline_names(folder))
        way = known or f"; `harness baseline set {name} RUN` makes one"
        raise HarnessError(f"no baseline '{name}' in {folder}{way}") from None
    except OSError as error:
        raise HarnessError(f"cannot read {file}: {error.strerror or error}") from error
    found = _parsed(content, file)
    if found.name != name:
        raise HarnessError(f"{file} holds the baseline '{found.name}'; call it {found.name}.json")
    return found


def write_baseline(baseline: Baseline, folder: Path) -> Path:
    """Write a baseline in one step, and return its file.

    Raises:
        HarnessError: the folder cannot be written.
    """
    file = _file(baseline.name, folder)
    with replacing(file) as temporary:
        temporary.write_text(_written(baseline), encoding="utf-8")
    return file


def remove_baseline(name: str, folder: Path) -> Path:
    """Remove a baseline's file, and return where it was.

    Raises:
        HarnessError: there is none of that name.
    """
    file = _file(name, folder)
    try:
        file.unlink()
    except FileNotFoundError:
        raise HarnessError(
            f"no baseline '{name}' in {folder}{did_you_mean(name, baseline_names(folder))}"
        ) from None
    except OSError as error:
        raise HarnessError(f"cannot remove {file}: {error.strerror or error}") from error
    return file


def baseline_names(folder: Path) -> list[str]:
    """Return the names of the baselines in a folder, sorted."""
    names = {file.stem for file in folder.glob("*.json")} - set(RESERVED)
    return sorted(name for name in names if re.fullmatch(catalog.NAME, name))


def check_name(name: str) -> None:
    """Refuse what is no name of a baseline.

    Raises:
        HarnessError: it has other signs than letters, digits and `_ . + -`, or is reserved.
    """
    if not re.fullmatch(catalog.NAME, name):
        raise HarnessError(
            f"'{name}' is no name for a baseline: letters, digits and _ . + - only, a letter or digit first"
        )
    if name in RESERVED:
        raise HarnessError(f"'{name}' is no name for a baseline: {name}.json is another file of the harness")


def _file(name: str, folder: Path) -> Path:
    check_name(name)
    return folder / f"{name}.json"


def _parsed(content: bytes, file: Path) -> Baseline:
    try:
        fields = json.loads(content, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{file} is no baseline: {_line(f'{error}')}") from None
    version = fields.get("schema") if isinstance(fields, dict) else None
    if version != SCHEMA:
        raise HarnessError(
            f"{file} is no baseline that this harness reads: "
            f"its schema is {format_setting(version)}, not {SCHEMA}; "
            "use the harness that wrote it, or `harness baseline set`"
        )
    try:
        return Baseline.model_validate_json(content, strict=True)
    except ValidationError as error:
        [first, *rest] = error.errors(include_url=False, include_input=False)
        place = ".".join(map(str, first["loc"]))
        message = _line(f"{place}: {first['msg']}" if place else first["msg"])
        more = f" (and {len(rest)} more)" if rest else ""
        raise HarnessError(f"{file} is broken: {message}{more}") from None


def _finite(text: str) -> float:
    """Return a number of a file; what JSON cannot write again, such as 1e999 or NaN, is refused."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number


def _written(baseline: Baseline) -> str:
    """Return JSON with one line for every element of a list or mapping; the same baseline, the same text."""
    fields = baseline.model_dump(mode="json", by_alias=True)
    return "{\n" + ",\n".join(f"{_json(name)}: {_block(value)}" for name, value in fields.items()) + "\n}\n"


def _block(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(map(_json, value)) + "\n]"
    if isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f"{_json(key)}: {_json(item)}" for key, item in value.items()) + "\n}"
    return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _line(text: str) -> str:
    one_line = clean(text)
    return one_line if len(one_line) <= LONGEST_LINE else f"{one_line[:LONGEST_LINE]} ..."
