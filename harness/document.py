"""A YAML file as plain values that remember where each was written.

YAML 1.2 as ruamel.yaml resolves it: `1e-4` is a number and `on` is a word.
Only plain data is accepted: an explicit tag, a key given twice, a key that is
not a word, or aliases that grow beyond `LARGEST` values are refused.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.errors import HarnessError, Position, Problem, SuiteError

LARGEST = 200_000  # values in one file, aliases expanded
DEEPEST = 64  # levels of nesting
LONGEST = 1 << 18  # characters in one file
LARGEST_INTEGER = 2**63  # what a store can hold
PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
DATE_TAG = "tag:yaml.org,2002:timestamp"  # YAML 1.2 has no dates: what looks like one is a word

Path_ = tuple[str | int, ...]


class Document:
    """Plain nested values, and the position of each by its path."""

    def __init__(
        self,
        value: Any,
        keys: dict[Path_, Position],
        values: dict[Path_, Position],
        problems: list[Problem],
    ) -> None:
        self.value = value
        self.problems = problems
        """What had to be left out: keys given twice, tags, numbers that are not finite."""
        self._keys = keys
        self._values = values

    def position(self, path: Path_, *, of_key: bool = False) -> Position:
        """Return where `path` was written, or the nearest place around it that was written."""
        for length in range(len(path), -1, -1):
            first, second = (self._keys, self._values) if of_key else (self._values, self._keys)
            position = first.get(path[:length]) or second.get(path[:length])
            if position is not None:
                return position
        raise AssertionError("a document knows the position of its root")

    def set(self, path: Path_, value: Any, position: Position) -> None:
        """Put `value` at `path`, making the mappings on the way.

        Raises:
            HarnessError: the path leads through something that is not a mapping.
        """
        set_path(self.value, path, value)
        for positions in (self._keys, self._values):
            for known in [known for known in positions if known[: len(path)] == path]:
                del positions[known]
        self._keys[path] = self._values[path] = position

    def graft(self, path: Path_, other: Document, *, keep: Sequence[str]) -> None:
        """Put the mapping of `other` at `path`, under the keys of the mapping there that are in `keep`."""
        place = get_path(self.value, path)
        kept = {key: place[key] for key in keep}
        place.clear()
        place.update({**other.value, **kept})
        self.problems += other.problems
        for ours, theirs in ((self._keys, other._keys), (self._values, other._values)):
            for below, position in theirs.items():
                if below and below[0] not in kept:
                    ours[(*path, *below)] = position


def get_path(value: Any, path: Path_) -> Any:
    """Return what stands at `path`; `KeyError` or `IndexError` if nothing does."""
    for key in path:
        value = value[key]
    return value


def set_path(value: Any, path: Path_, new: Any) -> None:
    """Put `new` at `path` below the mapping `value`, making the mappings on the way.

    Raises:
        HarnessError: the path leads through something that is not a mapping.
    """
    for depth, key in enumerate(path):
        if not isinstance(value, dict):
            raise HarnessError(f"{dotted(path[:depth])} is not a mapping, so it has no '{key}'")
        if depth == len(path) - 1:
            value[key] = new
        else:
            value = value.setdefault(key, {})


def dotted(path: Path_) -> str:
    """Return a path as people write it: vary[0].levels.deep."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def split_path(text: str) -> Path_:
    """Return the path that a dotted text names.

    Raises:
        HarnessError: it is deeper than a document may be.
    """
    parts = text.split(".")
    if len(parts) > DEEPEST:
        raise HarnessError(f"a path of {len(parts)} parts is too deep")
    return tuple(parts)


def read_document(path: Path, name: str | None = None) -> Document:
    """Read a YAML file.

    Raises:
        HarnessError: there is no such file, or it is no text.
        SuiteError: it is not YAML, or more than plain data.
    """
    try:
        text = path.read_text(encoding="utf-8")
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
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(name, mark.line + 1, mark.column + 1) if mark else Position(name, 1, 1)
        raise SuiteError([Problem(position, "", f"not YAML: {error.problem or error.context}")]) from error
    except (YAMLError, ValueError, RecursionError) as error:
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
    document = parse_document(text, text)
    if document.problems:
        raise SuiteError(document.problems)
    return document.value


class _Reader:
    """Turns composed nodes into plain values; collects every mistake before it raises."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys: dict[Path_, Position] = {}
        self.values: dict[Path_, Position] = {}
        self.problems: list[Problem] = []
        self.scalars = YAML(typ="safe", pure=True).constructor
        self.count = 0

    def read(self, node: Node) -> Document:
        value = self.convert(node, ())
        return Document(value, self.keys, self.values, self.problems)

    def convert(self, node: Node, path: Path_) -> Any:
        self.count += 1
        self.values[path] = self.at(node)
        if self.count > LARGEST or len(path) > DEEPEST:
            self.problems.append(Problem(self.at(node), dotted(path), "too large or nested too deeply"))
            raise SuiteError(self.problems)
        if str(node.tag) == DATE_TAG and isinstance(node, ScalarNode):
            return str(node.value)
        if str(node.tag) not in PLAIN_TAGS:
            return self.refuse(node, path, f"the tag {node.tag} is not allowed; write plain values")
        if isinstance(node, MappingNode):
            return dict(self.entries(node, path))
        if isinstance(node, SequenceNode):
            return [self.convert(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return self.scalar(node, path)

    def entries(self, node: MappingNode, path: Path_) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.refuse(key_node, path, "a key must be a word")
                continue
            key = str(key_node.value)
            if not _is_text(key):
                self.refuse(key_node, path, "a key must be a word")
                continue
            if key in seen:
                self.refuse(key_node, (*path, key), f"the key '{key}' stands here twice")
                continue
            seen.add(key)
            self.keys[(*path, key)] = self.at(key_node)
            yield key, self.convert(value_node, (*path, key))

    def scalar(self, node: ScalarNode, path: Path_) -> Any:
        try:
            value = self.scalars.construct_object(node)
        except (ConstructorError, ValueError, OverflowError) as error:
            return self.refuse(node, path, f"'{node.value}' cannot be read: {error}")
        if isinstance(value, float) and not math.isfinite(value):
            return self.refuse(node, path, f"'{node.value}' is not a finite number")
        if isinstance(value, int) and not -LARGEST_INTEGER <= value < LARGEST_INTEGER:
            return self.refuse(node, path, "the number has more than 64 bits")
        if isinstance(value, str) and not _is_text(value):
            return self.refuse(node, path, "control characters and halves of surrogate pairs are not text")
        return value

    def refuse(self, node: Node, path: Path_, message: str) -> None:
        self.problems.append(Problem(self.at(node), dotted(path), message))

    def at(self, node: Node) -> Position:
        return Position(self.name, node.start_mark.line + 1, node.start_mark.column + 1)


def _is_text(value: str) -> bool:
    return all(sign in "\n\t" or unicodedata.category(sign) not in ("Cc", "Cs") for sign in value)
