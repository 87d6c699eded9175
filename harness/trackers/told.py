"""What the record of an attempt keeps of its trackers: where each showed it, and what went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Told:
    """What one tracker said of one attempt."""

    run: str | None = None
    """Its id of the run; none where it did not begin one."""
    link: str | None = None
    """Address, or path: relative to the store where it lies there, else absolute."""
    note: str | None = None
    """What went wrong, in one line; none where nothing did."""


def to_text(told: Mapping[str, Told]) -> str:
    """Return the column `trackers` of an attempt: JSON, name of a tracker -> what it said."""
    return json.dumps({name: asdict(one) for name, one in told.items()})


def from_text(text: object) -> dict[str, Told]:
    """Return what a column `trackers` holds; empty for none, and for what no harness wrote."""
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: _told(one) for name, one in found.items() if isinstance(one, dict)}


def _told(values: Mapping[str, object]) -> Told:
    said = {key: value for key in ("run", "link", "note") if isinstance(value := values.get(key), str)}
    return Told(**said)
