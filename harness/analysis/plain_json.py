"""Results as JSON: one rounding, one order, one text.

The same results give the same bytes at every call and on every machine: numbers have ten
significant digits, which hides the last bits that other processors compute otherwise, and the text is
ASCII, so that no locale changes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic import BaseModel

DIGITS = 10  # significant digits of a number


def document_text(document: object) -> str:
    """Return a document as the text that is printed: indented ASCII with a line feed at the end."""
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def plain_value(value: Any) -> Any:
    """Return a value of the analysis as JSON values.

    Dataclasses, models and named tuples become objects in the order of their fields, sets become sorted
    lists, numbers are rounded to ten significant digits, and what is not a finite number is null.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, np.generic)):
        return _number(value.item() if isinstance(value, np.generic) else value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    if isinstance(value, (set, frozenset)):
        return sorted(plain_value(item) for item in value)
    fields_of = _fields(value)
    if fields_of is not None:
        return {_key(key): plain_value(item) for key, item in fields_of.items()}
    assert isinstance(value, (list, tuple, np.ndarray)), f"no JSON form for {type(value)}"
    return [plain_value(item) for item in value]


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """Return what becomes an object, by key; none for what has no keys."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        named: dict[str, Any] = value._asdict()
        return named
    return value if isinstance(value, Mapping) else None


def _key(key: Any) -> str:
    """Return a key as text; several names, such as the factors of an interaction, are joined by " x "."""
    return " x ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _number(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") + 0.0 if math.isfinite(value) else None  # + 0.0: no negative zero
