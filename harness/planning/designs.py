"""Designs: how levels combine to points, before anything is known of configurations.

A point is one combination of levels. A design makes the points of one factor from its levels, or
the points of a group from those of its members; groups may hold groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.ablate import Patch
from harness.document import Path_
from harness.errors import HarnessError

MOST_POINTS = 10_000
MOST_STEPS = 300  # levels that build on each other, or that are left out in turn
MOST_PARTS = 48  # factors of a fraction
ALL = "all"  # level of a leave_one_out factor that leaves nothing out
WITHOUT = "no_"  # prefix of the levels that leave one out
ON, OFF = "on", "off"  # levels of the parts of a factorial factor
NOTHING = "none"  # level of a factorial factor with every part off

Names = tuple[tuple[str, str], ...]


class DesignError(HarnessError):
    """Levels that a design cannot combine."""


@dataclass(frozen=True)
class Change:
    """A level's patch, and where in the suite it was written."""

    factor: str
    level: str
    patch: Patch
    place: Path_
    when: Mapping[str, Any] = field(default_factory=dict)
    """Path of the configuration -> value, or list of values, with which the level applies."""
    paths_are_written: bool = True
    """Whether `place` holds the operators with their paths, or is where they were generated from."""

    def place_of(self, operator: str, path: str) -> Path_:
        """Return where in the suite the patch names `path`."""
        if not self.paths_are_written:
            return self.place
        if operator == "drop":
            return (*self.place, operator, list(self.patch.drop).index(path))
        return (*self.place, operator, path)


@dataclass(frozen=True)
class Point:
    """One combination of levels."""

    labels: Names
    """Factor -> level, as variants are named after; a list group stands for its members."""
    levels: Names
    """Factor -> level for every factor that takes part."""
    changes: tuple[Change, ...] = ()
    """On top of the base, in this order."""
    left_out: frozenset[tuple[str, str]] = frozenset()
    """(factor, level) of leave_one_out factors whose change is taken out of the base."""
    previous: Names | None = None
    """Labels of the step before in a chain."""


def one_at_a_time(levels: Sequence[Change], start: Mapping[str, str]) -> list[Point]:
    """Return every level on its own, or on top of the level that `start` names for it.

    Raises:
        DesignError: a level starts from itself, or from one that starts from it.
    """
    by_name = {change.level: change for change in levels}
    return [
        replace(
            _point(change, *_chain(change.level, by_name, start)),
            previous=((change.factor, start[change.level]),) if change.level in start else None,
        )
        for change in levels
    ]


def cumulative(levels: Sequence[Change]) -> list[Point]:
    """Return a chain: each level on top of those before it.

    Raises:
        DesignError: the chain is too long.
    """
    _require_few_steps(len(levels))
    return [
        replace(
            _point(change, *levels[: index + 1]),
            previous=((change.factor, levels[index - 1].level),) if index else None,
        )
        for index, change in enumerate(levels)
    ]


def leave_one_out(levels: Sequence[Change]) -> list[Point]:
    """Return the whole, and the whole without each level in turn: k + 1 points for k levels.

    The levels are part of the base that these points start from.

    Raises:
        DesignError: there are too many levels.
    """
    _require_few_steps(len(levels))
    factor = levels[0].factor
    rest = []
    for change in levels:
        name = ((factor, f"{WITHOUT}{change.level}"),)
        rest.append(Point(name, name, left_out=frozenset({(factor, change.level)})))
    return [whole(factor), *rest]


def whole(factor: str) -> Point:
    """Return the point of a leave_one_out factor that leaves nothing out."""
    return Point(((factor, ALL),), ((factor, ALL),))


def on_and_off(levels: Sequence[Change]) -> list[list[Point]]:
    """Return two points for every level of a factor, without it and with it: the parts of a factorial."""
    return [
        [
            Point(((change.factor, NOTHING),), ((f"{change.factor}.{change.level}", OFF),)),
            replace(_point(change, change), levels=((f"{change.factor}.{change.level}", ON),)),
        ]
        for change in levels
    ]


def joined_labels(points: Sequence[Point]) -> list[Point]:
    """Return the points of a factorial of `on_and_off` with one label each: the parts that are on."""
    joined = []
    for point in points:
        factor = point.labels[0][0]
        parts = [label for _, label in point.labels if label != NOTHING]
        joined.append(replace(point, labels=((factor, "+".join(parts) or NOTHING),)))
    return joined


def factorial(members: Sequence[Sequence[Point]], resolution: int | None = None) -> tuple[list[Point], str]:
    """Return every combination of one point of each member, the last member varying fastest.

    With a `resolution` only a regular fraction of them, that keeps at least this resolution, and
    how effects are aliased in it, in words; else an empty text. The first points of all members
    always are one of the combinations.

    Raises:
        DesignError: there are too many combinations; for a fraction, a member that does not have
            two points, or a resolution that no design has.
    """
    if resolution is None:
        count = 1
        for member in members:
            count *= len(member)
            if count > MOST_POINTS:
                raise DesignError(f"expected {MOST_POINTS} combinations at most, these are {count} or more")
        return [_together(chosen) for chosen in itertools.product(*members)], ""
    if odd := next((member for member in members if len(member) != 2), None):
        raise DesignError(
            f"a fraction needs two levels of every factor, {odd[0].labels[0][0]} has {len(odd)}"
        )
    if len(members) > MOST_PARTS:
        raise DesignError(f"a fraction has {MOST_PARTS} factors at most, this one {len(members)}")
    names = [_name_of(member[1]) for member in members]
    signs = _fraction(len(members), resolution)
    if len(signs) > MOST_POINTS:
        raise DesignError(f"expected {MOST_POINTS} combinations at most, these are {len(signs)}")
    rows = ((signs + 1) // 2).astype(int)
    points = [
        _together([member[choice] for member, choice in zip(members, row, strict=True)]) for row in rows
    ]
    text = f"{len(rows)} of {2 ** len(members)} combinations, resolution {_roman(resolution)} or better"
    return points, f"{text}; aliased: {_aliases(signs, names)}"


def paired(members: Sequence[Sequence[Point]]) -> list[Point]:
    """Return the first points of all members together, then the second ones, and so on.

    Raises:
        DesignError: the members do not have equally many points.
    """
    counts = {member[0].labels[0][0]: len(member) for member in members}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise DesignError(f"paired factors need equally many levels: {told}")
    return [_together(chosen) for chosen in zip(*members, strict=True)]


def chosen(group: str, name: str, picked: Sequence[Point]) -> Point:
    """Return picked points as the one that a list group calls `name`."""
    return replace(_together(picked), labels=((group, name),), previous=None)


def _point(change: Change, *changes: Change) -> Point:
    name = ((change.factor, change.level),)
    return Point(name, name, changes=changes)


def _chain(level: str, by_name: Mapping[str, Change], start: Mapping[str, str]) -> list[Change]:
    names = {level: None}  # the last one first
    while (before := start.get(next(reversed(names)))) is not None:
        if before in names:
            raise DesignError(f"level '{level}' starts from itself, by way of '{before}'")
        names[before] = None
        _require_few_steps(len(names))
    return [by_name[name] for name in reversed(names)]


def _require_few_steps(count: int) -> None:
    if count > MOST_STEPS:
        raise DesignError(f"expected {MOST_STEPS} levels at most that go together, these are {count} or more")


def _together(points: Sequence[Point]) -> Point:
    """Return points of different factors as one; its predecessor is that of the only chain among them."""
    chains = [index for index, point in enumerate(points) if point.previous is not None]
    previous: Names | None = None
    if len(chains) == 1:
        labels = [
            point.previous if index == chains[0] else point.labels for index, point in enumerate(points)
        ]
        previous = tuple(name for names in labels for name in names or ())
    return Point(
        labels=tuple(name for point in points for name in point.labels),
        levels=tuple(name for point in points for name in point.levels),
        changes=tuple(change for point in points for change in point.changes),
        left_out=frozenset().union(*(point.left_out for point in points)),
        previous=previous,
    )


def _fraction(factors: int, resolution: int) -> NDArray[np.float64]:
    """Return the rows of a regular two-level fraction, -1 for low and 1 for high, the first row all low."""
    from pydoe import fracfact_by_res

    try:
        signs = np.asarray(fracfact_by_res(factors, resolution), dtype=np.float64)
    except ValueError as error:
        raise DesignError(f"no fraction of {factors} factors has resolution {resolution}: {error}") from None
    turned: NDArray[np.float64] = signs * -signs[0]
    return turned  # turning columns changes no word of the defining relation


def _aliases(signs: NDArray[np.float64], names: Sequence[str]) -> str:
    """Return which effects of one and of two factors the rows cannot tell apart, in words."""
    effects = [(name,) for name in names] + list(itertools.combinations(names, 2))
    columns = {name: signs[:, index] for index, name in enumerate(names)}
    alike: dict[tuple[float, ...], list[str]] = {}
    for effect in effects:
        column = np.prod([columns[name] for name in effect], axis=0)
        alike.setdefault(tuple(column * column[0]), []).append(" x ".join(effect))
    chains = [" = ".join(chain) for chain in alike.values() if len(chain) > 1]
    return "; ".join(chains) or "no effects of one or two factors"


def _name_of(point: Point) -> str:
    factor, _, level = point.levels[0][0].partition(".")
    return level or factor


def _roman(number: int) -> str:
    return {3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII"}.get(number, str(number))
