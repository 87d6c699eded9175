"""A YAML file as plain values that remember where each was written.

YAML 1.2 as ruamel.yaml resolves it: `1e-4` is a number and `on` is a word.
Only plain data is accepted: an explicit tag, a key given twice, a key that is
not a word, or aliases that grow beyond `LARGEST` values are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.errors import HarnessError, Position, Problem, SuiteError
from harness.visible import is_text

LARGEST = 200_000  # values in one file, aliases expanded
DEEPEST = 64  # levels of nesting
LONGEST = 1 << 18  # characters in one file
LARGEST_INTEGER = 2**63  # what a store can hold
PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
DATE_TAG = "tag:yaml.org,2002:timestamp"  # YAML 1.2 has no dates: what looks like one is a word

PART = r"""(?:'([^']+)'|"([^"]+)"|([^.'"]+))"""
PATH_PARTS = re.compile(PART)
PATH = re.compile(rf"{PART}(?:\.{PART})*")

Path_ = tuple[str | int, ...]


@dataclass
class _Written:
    """Where a key and its value were written, and what is below; none where nobody wrote it."""

    key: Position | None = None
    value: Position | None = None
    below: dict[str | int, _Written] = field(default_factory=dict)


class Document:
    """Plain nested values, and the position of each by its path."""

    def __init__(self, value: Any, written: _Written, problems: list[Problem]) -> None:
        self.value = value
        self.problems = problems
        """What had to be left out: keys given twice, tags, numbers that are not finite."""
        self._written = written

    def position(self, path: Path_, *, of_key: bool = False) -> Position:
        """Return where `path` was written, or the nearest place around it that was written."""
        written, nearest = self._written, self._written.value
        assert nearest is not None, "a document knows the position of its root"
        for part in path:
            if part not in written.below:
                break
            written = written.below[part]
            first, second = (written.key, written.value) if of_key else (written.value, written.key)
            nearest = first or second or nearest
        return nearest

    def set(self, path: Path_, value: Any, position: Position) -> None:
        """Put `value` at `path`, making the mappings on the way.

        Raises:
            HarnessError: the path leads through a plain value, or to an element that a list does not have.
        """
        self.place(set_path(self.value, path, value), position)

    def graft(self, path: Path_, other: Document, *, keep: Sequence[str]) -> None:
        """Put the mapping of `other` at `path`, under the keys of the mapping there that are in `keep`."""
        place = get_path(self.value, path)
        kept = {key: place[key] for key in keep}
        place.clear()
        place.update({**other.value, **kept})
        self.problems += other.problems
        theirs = {key: written for key, written in other._written.below.items() if key not in kept}
        self._at(path).below.update(theirs)

    def overlay(self, upper: Document, *, joined: Sequence[str] = ()) -> None:
        """Lay the mapping of `upper` over this one.

        Mappings are merged, but one with another `name` (another component) replaces the whole.
        Lists at the top-level keys in `joined` are put together, the ones here first; anything
        else is replaced.
        """
        self.problems += upper.problems
        _overlay(self.value, self._written, upper.value, upper._written, joined)

    def place(self, path: Path_, position: Position) -> None:
        """Note that everything at `path` and below was written at `position`."""
        written = self._at(path)
        written.key = written.value = position
        written.below.clear()

    def _at(self, path: Path_) -> _Written:
        written = self._written
        for part in path:
            written = written.below.setdefault(part, _Written())
        return written


def _overlay(
    ours: dict[str, Any], here: _Written, theirs: dict[str, Any], there: _Written, joined: Sequence[str]
) -> None:
    for key, value in theirs.items():
        known, written = ours.get(key), there.below[key]
        if isinstance(known, dict) and isinstance(value, dict) and _same_component(known, value):
            _overlay(known, here.below[key], value, written, ())
        elif key in joined and isinstance(known, list) and isinstance(value, list):
            moved: dict[str | int, _Written] = {
                int(index) + len(known): below for index, below in written.below.items()
            }
            here.below[key] = _Written(written.key, written.value, {**here.below[key].below, **moved})
            known += value
        else:
            ours[key], here.below[key] = value, written


def _same_component(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return "name" not in second or first.get("name") == second["name"]


def get_path(value: Any, path: Path_) -> Any:
    """Return what stands at `path`; `KeyError` or `IndexError` if nothing does."""
    for key in path:
        value = value[key]
    return value


def set_path(value: Any, path: Path_, new: Any) -> Path_:
    """Put `new` at `path` below the mapping `value`, making the mappings on the way.

    A number names an element of a list that is there. Returns the path with such numbers as integers.

    Raises:
        HarnessError: the path leads through a plain value, or to an element that a list does not have.
    """
    places: list[str | int] = []
    for depth, key in enumerate(path):
        where: Any = key
        if isinstance(value, list):
            where = element_number(str(key))
            if not 0 <= where < len(value):
                raise HarnessError(f"{dotted(path[:depth])} is a list of {len(value)}, so it has no '{key}'")
        elif not isinstance(value, dict):
            raise HarnessError(f"{dotted(path[:depth])} is not a mapping, so it has no '{key}'")
        places.append(where)
        if depth == len(path) - 1:
            value[where] = new
        else:
            value = value[where] if isinstance(value, list) else value.setdefault(key, {})
    return tuple(places)


def element_number(text: str) -> int:
    """Return the number of an element that a part of a path names, or -1 where it is no number."""
    return int(text) if text.isdecimal() and len(text) <= len(str(LARGEST)) else -1


def dotted(path: Path_) -> str:
    """Return a path as people write it: vary[0].levels.deep."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def split_path(text: str) -> Path_:
    """Return the path that a dotted text names; quotes hold a part together: loss."my.parts:Blur".weight.

    Raises:
        HarnessError: it is empty somewhere, or deeper than a document may be.
    """
    parts = tuple(quoted or double or plain for quoted, double, plain in PATH_PARTS.findall(text))
    if not PATH.fullmatch(text):
        raise HarnessError(f"'{text}' is no path; write parts with dots between them, such as loss.lpips")
    if len(parts) > DEEPEST:
        raise HarnessError(f"a path of {len(parts)} parts is too deep")
    return parts


def read_document(path: Path, name: str | None = None) -> Document:
    """Read a YAML file.

    Raises:
        HarnessError: there is no such file, or it is no text.
        SuiteError: it is not YAML, or more than plain data.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
    except FileNotFoundError:
        raise HarnessError(f"no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"cannot read {path}: {error}") from error
    return parse_document(text, name or str(path))


def parse_document(text: str, name: str) -> Document:
    """Return the YAML `text` as a document; `name` stands for the file in messages.

    What is more than plain data is left out and told of in the document's `problems`.

    Raises:
        SuiteError: it is not YAML, or too large.
    """
    if len(text) > LONGEST:
        raise SuiteError([Problem(Position(name, 1, 1), "", f"longer than {LONGEST} characters")])
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False  # YAML lets an anchor be given anew
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(name, mark.line + 1, mark.column + 1) if mark else Position(name, 1, 1)
        raise SuiteError([Problem(position, "", f"not YAML: {error.problem or error.context}")]) from error
    except RecursionError as error:
        raise SuiteError([Problem(Position(name, 1, 1), "", "nested too deeply")]) from error
    except (YAMLError, ValueError) as error:
        raise SuiteError([Problem(Position(name, 1, 1), "", f"not YAML: {error}")]) from error
    if node is None:
        raise SuiteError([Problem(Position(name, 1, 1), "", "the file is empty")])
    return _Reader(name).read(node)


def parse_value(text: str) -> Any:
    """Return a YAML value given on the command line.

    Raises:
        SuiteError: it is not YAML, or more than plain data.
    """
    if not text.strip():
        return None
    document = parse_document(text, shown(text))
    if document.problems:
        raise SuiteError(document.problems)
    return document.value


class _Reader:
    """Turns composed nodes into plain values; collects every mistake before it raises."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.scalars = YAML(typ="safe", pure=True).constructor
        self.count = 0

    def read(self, node: Node) -> Document:
        written = _Written()
        value = self.convert(node, (), written)
        return Document(value, written, self.problems)

    def convert(self, node: Node, path: Path_, written: _Written) -> Any:
        self.count += 1
        written.value = self.at(node)
        if self.count > LARGEST or len(path) > DEEPEST:
            self.problems.append(Problem(self.at(node), dotted(path), "too large or nested too deeply"))
            raise SuiteError(self.problems)
        if str(node.tag) == DATE_TAG and isinstance(node, ScalarNode):
            return str(node.value)
        if str(node.tag) not in PLAIN_TAGS:
            return self.refuse(node, path, f"the tag {node.tag} is not allowed; write plain values")
        if isinstance(node, MappingNode):
            return dict(self.entries(node, path, written))
        if isinstance(node, SequenceNode):
            return [
                self.convert(item, (*path, index), written.below.setdefault(index, _Written()))
                for index, item in enumerate(node.value)
            ]
        assert isinstance(node, ScalarNode)
        return self.scalar(node, path)

    def entries(self, node: MappingNode, path: Path_, written: _Written) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.refuse(key_node, path, "a key must be a word")
                continue
            key = str(key_node.value)
            if not is_text(key):
                self.refuse(key_node, path, "a key must be a word")
                continue
            if key in seen:
                self.refuse(key_node, (*path, key), f"the key '{key}' stands here twice")
                continue
            seen.add(key)
            below = written.below[key] = _Written(self.at(key_node))
            yield key, self.convert(value_node, (*path, key), below)

    def scalar(self, node: ScalarNode, path: Path_) -> Any:
        try:
            value = self.scalars.construct_object(node)
        except (ConstructorError, ValueError, OverflowError, LookupError) as error:
            return self.refuse(node, path, f"'{node.value}' cannot be read: {error}")
        if isinstance(value, float) and not math.isfinite(value):
            return self.refuse(node, path, f"'{node.value}' is not a finite number")
        if isinstance(value, int) and not -LARGEST_INTEGER <= value < LARGEST_INTEGER:
            return self.refuse(node, path, "the number has more than 64 bits")
        if isinstance(value, str) and not is_text(value):
            return self.refuse(node, path, "control characters and halves of surrogate pairs are not text")
        return value

    def refuse(self, node: Node, path: Path_, message: str) -> None:
        self.problems.append(Problem(self.at(node), dotted(path), message))

    def at(self, node: Node) -> Position:
        return Position(self.name, node.start_mark.line + 1, node.start_mark.column + 1)


def shown(text: str) -> str:
    """Return a text from the command line as a message can show it: what is no text as escapes."""
    return text if is_text(text) and "\n" not in text else ascii(text)[1:-1]
