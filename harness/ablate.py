"""Operators and designs: pure functions from a base configuration to variants."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.document import set_path, split_path
from harness.errors import HarnessError

Configuration = dict[str, Any]


class PatchError(HarnessError):
    """A patch that does not fit the configuration."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path
        """The dotted path at fault."""


@dataclass(frozen=True)
class Patch:
    """What a level changes: first the drops, then the settings, by dotted path."""

    set: Mapping[str, Any] = field(default_factory=dict)
    drop: Sequence[str] = ()


@dataclass(frozen=True)
class Step:
    """One variant of one factor, before factors are put together."""

    level: str
    configuration: Configuration
    previous: str | None
    """Level of the step before in a chain; none outside chains."""
    changed_by: tuple[str, ...]
    """Levels whose patches made the configuration, in the order applied."""


def apply_patch(configuration: Configuration, patch: Patch) -> Configuration:
    """Return the configuration with a patch applied; the one given stays as it was.

    Raises:
        PatchError: a path to drop is not there, or a path leads through a plain value.
    """
    patched = copy.deepcopy(configuration)
    for path in patch.drop:
        _drop(patched, path)
    for path, value in patch.set.items():
        try:
            set_path(patched, split_path(path), copy.deepcopy(value))
        except HarnessError as error:
            raise PatchError(path, str(error)) from None
    return patched


def one_at_a_time(base: Configuration, levels: Mapping[str, Patch]) -> list[Step]:
    """Return every level on its own, each on top of the base."""
    return [
        Step(level, apply_patch(base, patch), previous=None, changed_by=(level,))
        for level, patch in levels.items()
    ]


def cumulative(base: Configuration, levels: Mapping[str, Patch]) -> list[Step]:
    """Return a chain: each level on top of the one before."""
    steps: list[Step] = []
    configuration = base
    for level, patch in levels.items():
        configuration = apply_patch(configuration, patch)
        previous = steps[-1].level if steps else None
        before = steps[-1].changed_by if steps else ()
        steps.append(Step(level, configuration, previous, (*before, level)))
    return steps


DESIGNS: dict[str, Callable[[Configuration, Mapping[str, Patch]], list[Step]]] = {
    "one_at_a_time": one_at_a_time,
    "cumulative": cumulative,
}


def differences(base: Any, other: Any, prefix: str = "") -> dict[str, Any]:
    """Return dotted path -> value of `other` wherever the two differ; null where `other` lacks it."""
    if not isinstance(base, dict) or not isinstance(other, dict):
        return {} if base == other else {prefix: other}
    found: dict[str, Any] = {}
    for key in [*base, *(key for key in other if key not in base)]:
        path = f"{prefix}.{key}" if prefix else key
        if key not in other:
            found[path] = None
        elif key not in base:
            found[path] = other[key]
        else:
            found.update(differences(base[key], other[key], path))
    return found


def _drop(configuration: Configuration, path: str) -> None:
    *parents, last = path.split(".")
    place: Any = configuration
    for key in parents:
        place = place.get(key) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        raise PatchError(path, f"nothing to drop at {path}")
    del place[last]
