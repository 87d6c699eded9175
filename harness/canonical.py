"""Canonical JSON and content hashes: the identity of trials, suites and data.

`IDENTITY_VERSION` is part of every hash.  Raise it whenever the same settings
would no longer give the same results; a golden test holds today's ids.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

IDENTITY_VERSION = 2
NESTING = (dict, list, tuple)
HASH_LENGTH = 16  # hexadecimal digits, 64 bits: no collision to expect below a billion trials


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys, no spaces and no NaN.

    Raises:
        TypeError: `value` holds something that is not JSON.
        ValueError: `value` holds NaN or an infinity.
    """
    _require_string_keys(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def content_hash(value: Any) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of `value`'s canonical JSON."""
    text = canonical_json({"identity_version": IDENTITY_VERSION, "value": value})
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def _require_string_keys(value: Any) -> None:
    """Refuse keys that `json.dumps` would turn into strings: {1: x} and {"1": x} must not collide."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key must be a string, got {key!r}")
            if isinstance(item, NESTING):
                _require_string_keys(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            if isinstance(item, NESTING):
                _require_string_keys(item)
