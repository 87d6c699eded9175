"""Files of a store that another hand may have written: what is wrong with one, before it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.catalog import NAME
from harness.store.migrate import ATTEMPT_STEPS, RUN_STEPS, migrate
from harness.store.schema import ATTEMPT_SCHEMA, RUN_SCHEMA, SCHEMA_VERSION, VERSION_KEY, images_schema

MOST_VALUES = 1 << 27
"""Of one file, over all columns: a gigabyte of numbers, which may be packed into a few kilobytes."""
NEVER_NULL = {"run_id", "trial_id", "attempt"}
VERSION = re.compile(rb"[0-9]{1,4}")
JSON_KINDS: dict[str, tuple[type, type]] = {
    "reused": (dict, int),
    "notes": (list, str),
    "versions": (dict, str),
}
"""Column of `runs` -> what its JSON is, and of what."""


def version_of(schema: pa.Schema) -> int:
    """Return the version of the store's schema that a file was written in; 0 where it tells none."""
    text = (schema.metadata or {}).get(VERSION_KEY, b"0")
    return int(text) if VERSION.fullmatch(text) else 0


def why_not_to_read(path: str, schema: pa.Schema, rows: int, values: int) -> str | None:
    """Return why a file must not be read, or none.

    Args:
        path: in the store, such as runs/20261120-1.parquet.
        schema: of the file.
        rows: as the file claims.
        values: over all columns, as the file claims.
    """
    if rows != 1:
        return f"it holds {rows} rows, expected one"
    if values > MOST_VALUES:
        return f"it holds {values:,} values, expected at most {MOST_VALUES:,}"
    return _unlike(schema.remove_metadata(), version_of(schema), path.startswith("runs/"))


def why_not_images(schema: pa.Schema, values: int) -> str | None:
    """Return why a file must not be read as a table of images, or none.

    Args:
        schema: of the file.
        values: over all columns, as the file claims.
    """
    if values > MOST_VALUES:
        return f"it holds {values:,} values, expected at most {MOST_VALUES:,}"
    if not 1 <= version_of(schema) <= SCHEMA_VERSION:
        return f"it has store schema {version_of(schema)}, this harness reads 1 to {SCHEMA_VERSION}"
    if len(set(schema.names)) < len(schema.names):
        return "two columns have one name"
    if "index" not in schema.names:
        return "it lacks index"
    return _wrong_fields("images", list(schema), {field.name: field for field in images_schema(schema.names)})


def values_of(metadata: pq.FileMetaData) -> int:
    """Return how many values a file claims to hold, over all columns."""
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    return sum(group.column(index).num_values for group in groups for index in range(group.num_columns))


def why_not_to_use(path: str, table: pa.Table) -> str | None:
    """Return why what was read of a file must not be used, or none: it says that it is another file."""
    for column in NEVER_NULL.intersection(table.column_names):
        if table[column].null_count:
            return f"its {column} is null"
    *folders, name = path.removesuffix(".parquet").split("/")
    ids = [key for key in ("run_id", "trial_id", "attempt") if key in table.column_names]
    said = {key: table[key][0].as_py() for key in ids}
    if not re.fullmatch(NAME, said.get("run_id", "x")):
        return f"its run_id is {said['run_id']!r:.80}"
    if folders[0] == "runs":
        expected: dict[str, Any] = {"run_id": name}
    else:
        expected = {"trial_id": folders[-1], "attempt": int(name) if name.isdecimal() else None}
    for key, value in expected.items():
        if key in said and said[key] != value:
            return f"its {key} is {said[key]!r:.80}, and its name says {value!r:.80}"
    return None


def parsed_json(column: str, text: str | None) -> Any:
    """Return the value of a column of `runs` that holds JSON.

    Raises:
        ValueError: it is something else.
    """
    outer, inner = JSON_KINDS[column]
    try:
        value = json.loads(text or "null")
    except RecursionError:
        raise ValueError(f"its {column} is nested too deeply") from None
    below = value.values() if isinstance(value, dict) else value
    if not isinstance(value, outer) or not all(isinstance(one, inner) for one in below):
        raise ValueError(f"its {column} is no JSON {outer.__name__} of {inner.__name__}")
    return value


@lru_cache(maxsize=64)
def _unlike(schema: pa.Schema, version: int, is_run: bool) -> str | None:
    """Return how a schema differs from that of its version, or none."""
    today, steps = (RUN_SCHEMA, RUN_STEPS) if is_run else (ATTEMPT_SCHEMA, ATTEMPT_STEPS)
    if not 1 <= version <= len(steps) + 1:
        return None  # the reader says which versions it knows
    if len(set(schema.names)) < len(schema.names):
        return "two columns have one name"
    for field in schema:
        index = today.get_field_index(field.name)
        if index >= 0 and (wrong := _wrong_type(field.name, field.type, today.field(index).type)):
            return wrong
    try:
        lifted = migrate(schema.empty_table(), version, steps)
    except (pa.ArrowException, KeyError, ValueError, IndexError, AttributeError) as error:
        return f"it cannot be lifted from version {version}: {error}"
    missing = [name for name in today.names if name not in lifted.column_names]
    if missing:
        return f"it lacks {', '.join(missing)}"
    try:
        lifted.select(today.names).cast(today)
    except (pa.ArrowException, ValueError) as error:
        return str(error)
    return None


def _wrong_type(name: str, found: pa.DataType, expected: pa.DataType) -> str | None:
    if not pa.types.is_list(expected):
        return None if found.equals(expected) else f"its {name} is {found}, expected {expected}"
    if not pa.types.is_list(found) or not pa.types.is_struct(found.value_type):
        return f"its {name} is {found}, expected {expected}"
    return _wrong_fields(name, list(found.value_type), {field.name: field for field in expected.value_type})


def _wrong_fields(name: str, found: Sequence[pa.Field], expected: dict[str, pa.Field]) -> str | None:
    for field in found:
        if field.name in expected and not field.type.equals(expected[field.name].type):
            return f"its {name}.{field.name} is {field.type}, expected {expected[field.name].type}"
    return None
