"""What variants are called: after their levels, with the factors where that is not enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.ablate import Configuration
from harness.planning.designs import Names, Point

BASE = "base"  # name of the reference, and of a factor's level, where no control level gives one

Key = tuple[int, Names]  # entry and labels of a point


@dataclass(frozen=True)
class Made:
    """A point with its configuration."""

    point: Point
    configuration: Configuration
    entry: int
    """Index of the top-level entry that it belongs to."""


class VariantNames:
    """The names of points, each of one variant alone.

    Args:
        made: all points.
        controls: those that are the base, one for each entry at most: they share the base's name.
        control_labels: labels that on their own change nothing; names leave them out.
    """

    def __init__(
        self, made: Sequence[Made], controls: Sequence[Made], control_labels: Collection[tuple[str, str]]
    ) -> None:
        self.control_labels = control_labels
        self.base_labels = controls[0].point.labels if controls else (("", BASE),)
        """Those of the first control; the first of them names the base."""
        self.base = self.base_labels[0][1]
        """Name of the base."""
        self.controls = {_short(found.point.labels): self.base for found in controls}
        """Name that each control would have by itself -> name of the base."""
        self.base_levels = self._levels_of_base(made, controls)
        """Factor -> its level in the base."""
        merged = {id(found) for found in controls}
        varied = [(found.entry, found.point.labels) for found in made if id(found) not in merged]
        self._told = self._told_apart(varied)
        uses = Counter([self.base, *(_short(labels) for labels in self._told.values())])
        self._names = {
            key: _short(labels) if uses[_short(labels)] == 1 else _full(labels)
            for key, labels in self._told.items()
        }

    def of(self, found: Made) -> str:
        """Return the name of a point."""
        return self._name(found.entry, found.point.labels)

    def previous(self, found: Made) -> str | None:
        """Return the name of the step before a point in a chain; none outside chains."""
        labels = found.point.previous
        return None if labels is None else self._name(found.entry, labels)

    def told_by(self, found: Made) -> Names:
        """Return the labels that a point's name is made of."""
        return self._told.get((found.entry, found.point.labels), found.point.labels)

    def _telling(self, labels: Names) -> Names:
        """Return the labels that set a point apart from the base; all where none does."""
        return tuple(label for label in labels if label not in self.control_labels) or labels

    def _name(self, entry: int, labels: Names) -> str:
        return self._names.get((entry, labels), self.base)

    def _told_apart(self, keys: Sequence[Key]) -> dict[Key, Names]:
        """Return the labels that names are made of: the telling ones, or all where those are not enough."""
        uses = Counter((entry, self._telling(labels)) for entry, labels in keys)
        return {
            (entry, labels): self._telling(labels) if uses[entry, self._telling(labels)] == 1 else labels
            for entry, labels in keys
        }

    def _levels_of_base(self, made: Sequence[Made], controls: Sequence[Made]) -> dict[str, str]:
        levels = {factor: BASE for found in made for factor, _ in found.point.levels}
        for found in made:
            levels.update({f: level for f, level in found.point.levels if (f, level) in self.control_labels})
        for found in controls:
            levels.update(dict(found.point.levels))
        return levels


def _short(labels: Names) -> str:
    return ",".join(level for _, level in labels)


def _full(labels: Names) -> str:
    return ",".join(f"{factor}={level}" for factor, level in labels)
