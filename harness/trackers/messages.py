"""What a worker and the process of a tracker say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.trackers.base import TrackedRun


@dataclass(frozen=True)
class Begin:
    """Make the tracker and let it start; the first message."""

    tracker: str
    options: Mapping[str, Any]
    """The tracker's Config as JSON."""
    run: TrackedRun
    settings: Mapping[str, Any]
    project: str
    """Folder that plugins are imported from."""


@dataclass(frozen=True)
class Log:
    """The rows of one epoch."""

    values: Mapping[str, float]
    epoch: int


@dataclass(frozen=True)
class Picture:
    """A strip of pictures."""

    name: str
    png: bytes
    epoch: int


@dataclass(frozen=True)
class Finish:
    """End the run; the last message."""

    status: str


Message = Begin | Log | Picture | Finish


@dataclass(frozen=True)
class Answered:
    """A message has been dealt with; one for each, in their order."""


@dataclass(frozen=True)
class Noted:
    """Something went wrong, in one line."""

    note: str
