"""One document from several files: `extends`, `include`, and the ablations that it uses.

Every value keeps the position where it was written, whichever file that was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import catalog
from harness.document import Document, Path_, read_document
from harness.errors import HarnessError, Problem, SuiteError
from harness.library import put_ablations
from harness.validation import Mistake

DEEPEST = 10  # files that extend or include each other
MOST_FILES = 200  # that one suite is put together from
JOINED = ("vary", "claims", "exclude")  # lists that an include adds to


@dataclass(frozen=True)
class Composed:
    """The document of a suite, and what is wrong with how it was put together."""

    document: Document
    mistakes: list[Mistake]


def compose(path: Path) -> Composed:
    """Read a suite file and everything that it names.

    Raises:
        SuiteError: one of the files is no YAML, or no mapping.
        HarnessError: the file itself cannot be read.
    """
    files = _Files()
    document = _with_parents(path, (path.resolve(),), files)
    return Composed(document, put_ablations(document))


@dataclass
class _Files:
    """Counts the files that are read: those that include several can be more than anyone has written."""

    count: int = 0

    def next(self) -> None:
        self.count += 1
        if self.count > MOST_FILES:
            raise HarnessError(f"more than {MOST_FILES} files that extend or include each other")


def _with_parents(path: Path, chain: tuple[Path, ...], files: _Files) -> Document:
    """Return the document of a file with what it includes, laid over what it extends."""
    own = read_document(path)
    if not isinstance(own.value, dict):
        message = "a suite is a mapping that begins like `suite: my_study`"
        raise SuiteError([Problem(own.position(()), "", message)])
    parents = list(_others(own, "extends", path, chain, files))
    parts = list(_others(own, "include", path, chain, files))
    whole = own
    if parts:
        whole = parts[0]
        for part in [*parts[1:], own]:
            whole.overlay(part, joined=JOINED)
    if parents:
        parents[0].overlay(whole)
        whole = parents[0]
    return whole


def _others(
    document: Document, key: str, path: Path, chain: tuple[Path, ...], files: _Files
) -> Iterator[Document]:
    """Yield the documents that `key` names; what is wrong with the names goes to the problems."""
    value = document.value.pop(key, None)
    names = value if isinstance(value, list) and key == "include" else [] if value is None else [value]
    for index, name in enumerate(names):
        place: Path_ = (key, index) if isinstance(value, list) else (key,)
        try:
            files.next()
            found = _find(name, path, chain)
        except HarnessError as error:
            document.problems.append(Problem(document.position(place), key, str(error)))
            continue
        try:
            yield _with_parents(found, (*chain, found.resolve()), files)
        except SuiteError as error:  # the other file is no YAML; this one is looked through all the same
            document.problems += error.problems


def _find(name: Any, path: Path, chain: tuple[Path, ...]) -> Path:
    """Return the file that a suite calls `name`: beside it, else a suite known by name."""
    if not isinstance(name, str) or not name:
        raise HarnessError("expected the name or the path of a suite")
    beside = path.parent / name
    try:
        found = beside if beside.is_file() else catalog.find_suite(name)
    except (OSError, ValueError) as error:  # for instance a name that is too long
        raise HarnessError(f"cannot look for {name[:60]}: {error}") from None
    if found.resolve() in chain:
        raise HarnessError(f"{name} leads back to itself")
    if len(chain) >= DEEPEST:
        raise HarnessError(f"more than {DEEPEST} files that extend or include each other")
    return found
