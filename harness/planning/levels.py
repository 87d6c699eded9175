"""The levels of a factor: as written, or made from a pattern, from values or from factors of scale."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.ablate import Configuration, matches, written
from harness.document import Path_, split_path
from harness.errors import HarnessError, did_you_mean
from harness.grammar import Factor, Level
from harness.planning.designs import MOST_STEPS, WITHOUT, Change
from harness.validation import Mistake


@dataclass(frozen=True)
class NamedLevel:
    """A level, what people said about it, and the change that it makes."""

    level: Level
    change: Change


def levels_of_factor(
    factor: Factor, base: Configuration, place: Path_
) -> tuple[list[NamedLevel], list[Mistake]]:
    """Return the levels of a factor that stands at `place`, and what is wrong with how they are made."""
    mistakes: list[Mistake] = []
    found = [
        NamedLevel(
            level,
            Change(
                factor=factor.factor,
                level=name,
                patch=level.patch,
                place=where,
                when={**factor.when, **level.when},
                paths_are_written=factor.levels is not None,
            ),
        )
        for name, level, where in _named(factor, base, place, mistakes)
    ]
    return found, mistakes


def _named(
    factor: Factor, base: Configuration, place: Path_, mistakes: list[Mistake]
) -> Iterator[tuple[str, Level, Path_]]:
    if factor.levels is not None:
        for name, level in factor.levels.items():
            yield name, level, (*place, "levels", name)
        return
    origin = "each" if factor.each is not None else "path"
    try:
        if factor.each is not None:
            yield from _one_for_each(factor, factor.each, base, place, mistakes)
        elif factor.path is not None:
            yield from _one_for_each_value(factor, factor.path, place)
    except HarnessError as error:  # no path
        mistakes.append(Mistake((*place, origin), str(error)))


def _one_for_each(
    factor: Factor, pattern: str, base: Configuration, place: Path_, mistakes: list[Mistake]
) -> Iterator[tuple[str, Level, Path_]]:
    """Yield a level for every path that the pattern finds, which drops it."""
    found = matches(base, pattern)
    if len(found) > MOST_STEPS:
        message = f"{pattern} finds {len(found)} settings; expected {MOST_STEPS} at most"
        mistakes.append(Mistake((*place, "each"), message))
        return
    names = [str(path[-1]) for path in found]
    for index, name in enumerate(factor.except_):
        if name not in names:
            message = f"{pattern} finds no '{name}'{did_you_mean(name, names)}"
            mistakes.append(Mistake((*place, "except", index), message))
    kept = [path for path in found if str(path[-1]) not in factor.except_]
    if not kept:
        mistakes.append(Mistake((*place, "each"), f"nothing in the base is at {pattern}"))
    taken: Counter[str] = Counter()
    for path in kept:
        name = _distinct(f"{WITHOUT}{_word(str(path[-1]))}", taken)
        yield name, Level(drop=(written(path),), title=f"without {path[-1]}"), (*place, "each")


def _one_for_each_value(factor: Factor, path: str, place: Path_) -> Iterator[tuple[str, Level, Path_]]:
    """Yield a level for every value, or for every factor of scale, at `path`."""
    last = str(split_path(path)[-1])
    taken: Counter[str] = Counter()
    scales = factor.scale is not None
    given: Sequence[Any] = factor.scale or factor.values or ()
    for index, value in enumerate(given):
        brief = _brief(value)
        name = _distinct(f"{_word(last)}_{'x' * scales}{_word(brief)}", taken)
        title = f"{last} x {brief}" if scales else f"{last} {brief}"
        level = Level(scale={path: value} if scales else {}, set={} if scales else {path: value}, title=title)
        yield name, level, (*place, "scale" if scales else "values", index)


def _distinct(name: str, taken: Counter[str]) -> str:
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}_{taken[name]}"


def _brief(value: Any) -> str:
    """Return a value in a few signs."""
    if isinstance(value, dict):
        return str(value.get("name", "-".join(map(str, value))))
    if isinstance(value, list):
        return "-".join(_brief(item) for item in value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _word(text: str) -> str:
    """Return a text as a part of a name."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", text)[:60] or "_"
