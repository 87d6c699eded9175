"""What git knows of the commits that runs were made from; silent outside a work tree."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.provenance import TRAINING_SOURCES, git

HARNESS = "harness/"
CONTENT = ("suites/", "ablations/")


@dataclass(frozen=True)
class FileChange:
    """One file between two commits; the counts of lines are none for what is not text."""

    path: str
    """Relative to the project."""
    added: int | None
    removed: int | None


@dataclass(frozen=True)
class CodeHistory:
    """What lies between two commits."""

    ahead: int
    """Commits that the later side has and the earlier has not."""
    behind: int
    """Commits that the earlier side has and the later has not: more than 0 on diverged branches."""
    files: tuple[FileChange, ...]
    """Changed files that results may depend on, see `matters`."""


def commit_of(text: str, folder: Path) -> str | None:
    """Return the commit that a revision names in the work tree around `folder`, as 40 or 64 hex digits.

    Args:
        text: a branch, a tag, `HEAD~3`, a hash or the beginning of one.
        folder: the project; none is found outside a work tree.
    """
    if not text or text.startswith("-") or "\0" in text:
        return None
    found = git(folder, "rev-parse", "--verify", "--quiet", f"{text}^{{commit}}")
    return found if found and re.fullmatch(r"[0-9a-f]{40,64}", found) else None


def history_between(before: str | None, after: str | None, folder: Path) -> CodeHistory | None:
    """Return what lies between two commits; none where either is unknown in `folder`."""
    if before is None or after is None:
        return None
    first, second = commit_of(before, folder), commit_of(after, folder)
    if first is None or second is None:
        return None
    counts = git(folder, "rev-list", "--left-right", "--count", f"{first}...{second}")
    listing = git(
        folder, "-c", "core.quotepath=off", "diff", "--numstat", "--no-renames", "--relative", first, second
    )
    if counts is None or listing is None:
        return None
    behind, ahead = map(int, counts.split())
    changes = [_file_change(line) for line in listing.splitlines()]
    return CodeHistory(ahead, behind, tuple(change for change in changes if matters(change.path)))


def matters(path: str) -> bool:
    """Tell whether results may depend on a file of a project.

    Those are the training sources of the harness itself, where the project is the harness; else
    Python files but tests, since any may hold a component; and suites and ablations in either.
    """
    if path.startswith(HARNESS):
        parts = PurePosixPath(path).parts
        return len(parts) > 1 and parts[1] in TRAINING_SOURCES
    return path.startswith(CONTENT) or (path.endswith(".py") and not path.startswith("tests/"))


def _file_change(line: str) -> FileChange:
    """Read a line of `git diff --numstat`: added, removed, path; dashes for what is not text."""
    added, removed, path = line.split("\t", 2)
    return FileChange(path, *(None if count == "-" else int(count) for count in (added, removed)))
