"""Operators: what a level changes of a configuration. Pure functions; a configuration is never changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.document import Path_, element_number, split_path
from harness.errors import HarnessError, did_you_mean

Configuration = dict[str, Any]
ABSENT: Any = object()
"""Stands for a value where there is none."""
OPERATORS = ("drop", "swap", "set", "add", "scale")
"""In the order in which a patch applies them."""


class PatchError(HarnessError):
    """A patch that does not fit the configuration."""

    def __init__(self, operator: str, path: str, message: str) -> None:
        super().__init__(message)
        self.operator = operator
        self.path = path
        """The dotted path at fault."""


@dataclass(frozen=True)
class Patch:
    """What a level changes, by dotted path; `OPERATORS` gives the order.

    A part of a path names a key, or an element of a list: by its number, by the word that it is,
    or by its `name`.
    """

    drop: Sequence[str] = ()
    """What to remove."""
    swap: Mapping[str, Any] = field(default_factory=dict)
    """Path -> name of another component (or the whole of it): one that has a `name` is replaced and
    begins with its defaults, anything else, such as a loss term, is renamed and keeps its value."""
    set: Mapping[str, Any] = field(default_factory=dict)
    """Path -> value, whether there was one before or not."""
    add: Mapping[str, Any] = field(default_factory=dict)
    """Path -> value where there is none yet; values to append where there is a list."""
    scale: Mapping[str, float] = field(default_factory=dict)
    """Path -> factor of the number, or of every number of the list, that is there.
    Whole numbers are rounded to whole ones, and stay at least 1."""

    def paths(self) -> Iterator[tuple[str, str]]:
        """Yield every operator with every path that it changes."""
        for operator in OPERATORS:
            for path in getattr(self, operator):
                yield operator, path


def apply_patch(configuration: Configuration, patch: Patch) -> Configuration:
    """Return the configuration with a patch applied.

    Raises:
        PatchError: a path does not fit, for instance there is nothing to drop.
    """
    for operator, text in patch.paths():
        values = getattr(patch, operator)
        operand = values[text] if isinstance(values, Mapping) else None
        try:
            configuration = APPLY[operator](configuration, split_path(text), operand)
        except HarnessError as error:
            raise PatchError(operator, text, str(error)) from None
    return configuration


def matches(configuration: Configuration, pattern: str) -> list[Path_]:
    """Return the paths that a dotted pattern finds; `*` stands for every key or element, in order."""
    found: list[tuple[Path_, Any]] = [((), configuration)]
    for part in split_path(pattern):
        found = [
            ((*path, name), child)
            for path, value in found
            for name, child in _children(value)
            if part in ("*", name)
        ]
    return [path for path, _ in found]


def differences(base: Any, other: Any) -> dict[str, Any]:
    """Return dotted path -> value of `other` wherever the two differ; null where `other` lacks it."""
    return {written(path): None if value is ABSENT else value for path, value in differing(base, other)}


def differing(base: Any, other: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Yield path and value of `other` wherever the two differ; `ABSENT` where `other` lacks it."""
    if not isinstance(base, dict) or not isinstance(other, dict):
        if base != other:
            yield path, other
        return
    for key in [*base, *(key for key in other if key not in base)]:
        if key not in other:
            yield (*path, key), ABSENT
        elif key not in base:
            yield (*path, key), other[key]
        elif base[key] is not other[key]:
            yield from differing(base[key], other[key], (*path, key))


def written(path: Path_) -> str:
    """Return a path as a level writes it, parts with dots or quotes in quotes."""
    return ".".join(_quoted(str(part)) for part in path)


def _quoted(part: str) -> str:
    if not re.search(r"[.'\"]", part) and part:
        return part
    return f"'{part}'" if '"' in part else f'"{part}"'


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((element_name(item, index), item) for index, item in enumerate(value))


def element_name(item: Any, index: int) -> str:
    """Return what an element of a list is called in paths: the word it is, its `name`, or its number."""
    if isinstance(item, dict) and isinstance(item.get("name"), str):
        return str(item["name"])
    return item if isinstance(item, str) else str(index)


def _find(value: list[Any], part: str) -> int | None:
    names = [element_name(item, index) for index, item in enumerate(value)]
    if part in names:
        return names.index(part)
    number = element_number(part)
    return number if 0 <= number < len(value) else None


def _changed(
    value: Any, path: Path_, change: Callable[[Any, str], Any], *, make: bool, done: str = ""
) -> Any:
    """Return a copy of `value` in which `change` was applied to the container of the path's last part.

    `change` gets a copy of that container and the key within it, and returns the container.
    """
    key = str(path[0])
    where = f"{done}.{key}" if done else key
    if isinstance(value, list):
        index = _find(value, key)
        if len(path) > 1 and index is None:
            raise HarnessError(f"there is no '{key}' in the list {done}")
        if len(path) == 1:
            return change(list(value), key)
        assert index is not None
        inner = _changed(value[index], path[1:], change, make=make, done=where)
        return [*value[:index], inner, *value[index + 1 :]]
    if not isinstance(value, dict):
        raise HarnessError(f"{done} is not a mapping, so it has no '{key}'")
    if len(path) == 1:
        return change(dict(value), key)
    if key not in value and not make:
        raise HarnessError(f"there is no {where}{did_you_mean(key, value)}")
    return {**value, key: _changed(value.get(key, {}), path[1:], change, make=make, done=where)}


def _key(container: Any, part: str, path: Path_, verb: str, way_out: str = "") -> Any:
    """Return the key or index of `part` in `container`, which must be there."""
    key = _find(container, part) if isinstance(container, list) else part if part in container else None
    if key is None:
        known = [name for name, _ in _children(container)]
        hint = way_out or did_you_mean(part, known)
        raise HarnessError(f"nothing to {verb} at {'.'.join(map(str, path))}{hint}")
    return key


def _drop(configuration: Configuration, path: Path_, _: None) -> Configuration:
    def change(container: Any, part: str) -> Any:
        del container[_key(container, part, path, "drop")]
        return container

    return _apply(configuration, path, change)


def _set(configuration: Configuration, path: Path_, value: Any) -> Configuration:
    def change(container: Any, part: str) -> Any:
        key = _key(container, part, path, "set") if isinstance(container, list) else part
        container[key] = value
        return container

    return _apply(configuration, path, change, make=True)


def _add(configuration: Configuration, path: Path_, value: Any) -> Configuration:
    def change(container: Any, part: str) -> Any:
        known = container.get(part) if isinstance(container, dict) else None
        if isinstance(known, list):
            container[part] = [*known, *(value if isinstance(value, list) else [value])]
        elif not isinstance(container, dict) or part in container:
            raise HarnessError(f"{'.'.join(map(str, path))} is there already; change it with `set`")
        else:
            container[part] = value
        return container

    return _apply(configuration, path, change, make=True)


def _swap(configuration: Configuration, path: Path_, other: Any) -> Configuration:
    def change(container: Any, part: str) -> Any:
        key = _key(container, part, path, "swap")
        known = container[key]
        if isinstance(known, dict) and "name" in known:
            container[key] = {"name": other} if isinstance(other, str) else other
            return container
        if isinstance(container, list):
            container[key] = other
            return container
        if not isinstance(other, str):
            raise HarnessError(
                f"{'.'.join(map(str, path))} has no `name`: give the name that takes its place"
            )
        if other != key and other in container:
            raise HarnessError(f"there is a '{other}' already, beside {'.'.join(map(str, path))}")
        return {(other if name == key else name): value for name, value in container.items()}

    return _apply(configuration, path, change)


def _scale(configuration: Configuration, path: Path_, factor: float) -> Configuration:
    def change(container: Any, part: str) -> Any:
        key = _key(container, part, path, "scale", way_out="; give the number under `base`")
        container[key] = _scaled(container[key], factor, path)
        return container

    return _apply(configuration, path, change)


def _scaled(value: Any, factor: float, path: Path_) -> Any:
    if isinstance(value, list) and value:
        return [_scaled(item, factor, path) for item in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise HarnessError(f"{'.'.join(map(str, path))} is no number, so it cannot be scaled")
    return max(1, round(value * factor)) if isinstance(value, int) else value * factor


def _apply(
    configuration: Configuration, path: Path_, change: Callable[[Any, str], Any], *, make: bool = False
) -> Configuration:
    changed: Configuration = _changed(configuration, path, change, make=make)
    return changed


APPLY: dict[str, Callable[[Configuration, Path_, Any], Configuration]] = {
    "drop": _drop,
    "swap": _swap,
    "set": _set,
    "add": _add,
    "scale": _scale,
}
assert tuple(APPLY) == OPERATORS
