"""What a user names on a command line: a run, a commit, a store, or a variant of one of these.

latest                    the newest run of the store (of a suite and profile, where given)
20261120-0930             a run's id, or a unique beginning of it
main, HEAD~3, 3f2a91c     a git revision: the newest run that was made from that commit
../other/runs             another store: its newest run
../other/runs::20261120   a run of another store
latest:lab                a variant of any of these
lab                       a variant of the newest run, where nothing else has this name
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, StoreError, did_you_mean
from harness.provenance import short_commit
from harness.store.read import RunRecord, StoreReader, open_store
from harness.tracking.revisions import commit_of

LATEST = "latest"
IN_STORE = "::"
OF_RUN = ":"  # stands in no name of a run, a branch or a variant
MOST_IDS = 10  # runs, the newest ones, that a message lists


@dataclass(frozen=True)
class Side:
    """One side of a comparison, found."""

    text: str
    """As the user typed it."""
    record: RunRecord
    variant: str | None
    """None where the whole run is meant."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how it was found."""


@dataclass(frozen=True)
class Scope:
    """What `latest` and revisions mean: a store, perhaps narrowed to a suite and a profile."""

    store: Path | str
    suite: str | None = None
    profile: str | None = None
    folder: Path = Path()
    """The project, whose git revisions are understood."""

    def admits(self, row: dict[str, Any]) -> bool:
        """Tell whether a run is of the suite and profile."""
        return self.suite in (None, row["suite"]) and self.profile in (None, row["profile"])

    @property
    def words(self) -> str:
        """The narrowing in words, "" without."""
        suite = f" of suite {self.suite}" if self.suite else ""
        return suite + (f" with profile {self.profile}" if self.profile else "")


@dataclass(frozen=True)
class _Target:
    """What a text names, before the trials of the run are read."""

    text: str
    reader: StoreReader
    run_id: str
    variant: str | None
    notes: tuple[str, ...] = ()


class _Readers:
    """One reader for every store that the sides name, so that no file is read for each of them."""

    def __init__(self) -> None:
        self._readers: dict[str, StoreReader] = {}
        self._records: dict[tuple[str, str], RunRecord] = {}

    def of(self, store: Path | str) -> StoreReader:
        reader = open_store(store)
        return self._readers.setdefault(reader.address, reader)

    def record(self, target: _Target) -> RunRecord:
        key = (target.reader.address, target.run_id)
        if key not in self._records:
            self._records[key] = target.reader.run(target.run_id)
        return self._records[key]


def select_pair(first: str, second: str, scope: Scope) -> tuple[Side, Side]:
    """Return the two sides of a comparison; where one alone names a variant, it is that of both.

    Raises:
        HarnessError: a text names nothing, or both name the same.
    """
    readers = _Readers()
    a, b = _find(first, scope, readers), _find(second, scope, readers)
    variant = a.variant or b.variant
    if variant is not None:
        a, b = _with_variant(a, variant), _with_variant(b, variant)
    if a.run_id == b.run_id and a.variant == b.variant:
        of_variant = f", variant {a.variant}" if a.variant else ""
        raise HarnessError(
            f"'{first}' and '{second}' both name run {a.run_id}{of_variant}; "
            "name two runs, or two variants as in latest:A latest:B"
        )
    if _position(a) < _position(b):  # the newest first: a reader then finds the older attempts at once
        later = _side(b, readers)
        return _side(a, readers), later
    return _side(a, readers), _side(b, readers)


def select(text: str, scope: Scope) -> Side:
    """Return what a text names.

    Raises:
        HarnessError: it names nothing, or several runs; everything that was tried is listed.
    """
    readers = _Readers()
    return _side(_find(text, scope, readers), readers)


def _find(text: str, scope: Scope, readers: _Readers) -> _Target:
    where, name, variant = _parts(text)
    reader = readers.of(where or scope.store)
    found = _run_named(name, reader, scope)
    if found is not None:
        run_id, note = found
        target = _Target(text, reader, run_id, None, (note,) if note else ())
        return target if variant is None else _with_variant(target, variant)
    newest = _newest(reader, scope)
    if newest is not None and variant is None and name in _variants(reader, newest):
        note = f"{name} is a variant of the newest run{scope.words}, {newest}"
        return _Target(text, reader, newest, name, (note,))
    tried = _tried(name, reader, scope, newest)
    raise HarnessError("\n  ".join([f"'{text}' names no run and no variant:", *tried]))


def _with_variant(target: _Target, variant: str) -> _Target:
    """Return the target with a variant, unless it has one already."""
    if target.variant is not None:
        return target
    known = _variants(target.reader, target.run_id)
    if variant not in known:
        raise HarnessError(f"run {target.run_id} has no variant '{variant}'{did_you_mean(variant, known)}")
    return replace(target, variant=variant)


def _position(target: _Target) -> int:
    """Return how many runs of its store are older than the target's."""
    return [row["run_id"] for row in target.reader.run_rows()].index(target.run_id)


def _side(target: _Target, readers: _Readers) -> Side:
    record = readers.record(target)
    status = record.run["status"]
    unfinished = () if status == "complete" else (f"run {target.run_id} is {status}, not complete",)
    return Side(target.text, record, target.variant, (*target.notes, *unfinished))


def _parts(text: str) -> tuple[str | None, str, str | None]:
    """Return the store that a text names (none for the usual one), the run in it, and the variant."""
    if IN_STORE in text:
        where, _, rest = text.rpartition(IN_STORE)
        name, variant = _run_and_variant(rest)
        return where, name or LATEST, variant
    if "://" in text or _is_store(Path(text)):
        return text, LATEST, None
    name, variant = _run_and_variant(text)
    return (name, LATEST, variant) if _is_store(Path(name)) else (None, name, variant)


def _run_and_variant(text: str) -> tuple[str, str | None]:
    name, colon, variant = text.partition(OF_RUN)
    return (name or LATEST, variant) if colon else (text, None)


def _is_store(folder: Path) -> bool:
    try:
        return (folder / "runs").is_dir() and (folder / "attempts").is_dir()
    except (OSError, ValueError):  # a name too long, or with a null byte, is no folder
        return False


def _run_named(name: str, reader: StoreReader, scope: Scope) -> tuple[str, str] | None:
    """Return the run that an id, the beginning of one, `latest` or a revision names, and a note or ""."""
    if name == LATEST:
        newest = _newest(reader, scope)
        if newest is None:
            raise StoreError(f"no run{scope.words} in {reader.address}{_known_suites(reader)}")
        return newest, ""
    if any(row["run_id"].startswith(name) for row in reader.run_rows()):
        return reader.find_run(name), ""
    commit = commit_of(name, scope.folder)
    return None if commit is None else _run_of_commit(name, commit, reader, scope)


def _run_of_commit(name: str, commit: str, reader: StoreReader, scope: Scope) -> tuple[str, str] | None:
    """Return the newest run of a commit, one from a clean work tree if there is any, and a note."""
    rows = [row for row in reader.run_rows() if row["git_commit"] == commit and scope.admits(row)]
    clean = [row for row in rows if row["git_dirty"] is None]
    if not rows:
        return None
    run_id, short = (clean or rows)[-1]["run_id"], short_commit(commit)
    if clean:
        return run_id, f"{name} is commit {short}, run {run_id}"
    return run_id, f"{name} is commit {short}; its run {run_id} was made with uncommitted changes"


def _newest(reader: StoreReader, scope: Scope) -> str | None:
    ids: list[str] = [row["run_id"] for row in reader.run_rows() if scope.admits(row)]
    return ids[-1] if ids else None


def _variants(reader: StoreReader, run_id: str) -> list[str]:
    return [variant.name for variant in reader.plan(run_id).variants]


def _tried(name: str, reader: StoreReader, scope: Scope, newest: str | None) -> list[str]:
    """Return a line for everything that a name could have been."""
    ids = [str(row["run_id"]) for row in reader.run_rows()]
    commit = commit_of(name, scope.folder)
    revision = (
        "no revision that git knows here"
        if commit is None
        else f"commit {short_commit(commit)}, of which the store holds no run{scope.words}; "
        "check it out and `harness run SUITE`"
    )
    lines = [
        f"no run in {reader.address}{did_you_mean(name, ids[-MOST_IDS:])}",
        "no folder that is a store",
        revision,
    ]
    if newest is not None:
        known = did_you_mean(name, _variants(reader, newest))
        lines.append(f"no variant of the newest run{scope.words}, {newest}{known}")
    return lines


def _known_suites(reader: StoreReader) -> str:
    known = {
        f"{row['suite']} ({row['profile']})" if row["profile"] else row["suite"] for row in reader.run_rows()
    }
    return f"; it holds runs of {', '.join(sorted(known))}" if known else "; `harness run SUITE` makes one"
