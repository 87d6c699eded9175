"""Changes that somebody has looked at and accepted: a file for git, one line an entry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, Field, ValidationError

from harness.config import Frozen
from harness.errors import HarnessError
from harness.provenance import short_commit
from harness.store.files import replacing
from harness.tracking.baseline.model import Text
from harness.tracking.revisions import commit_of

FILE = "accepted.json"
SCHEMA = 1
LEAST_DIGITS = 4  # of a commit, to tell it from a word


class Accepted(Frozen):
    """One accepted change: from this run, or commit, on the level starts anew."""

    suite: Text = Field(min_length=1, max_length=200)
    profile: Text | None = Field(max_length=200)
    metric: Text | None = Field(max_length=200)
    """None for every metric."""
    variant: Text | None = Field(max_length=200)
    """None for every variant."""
    commit: Text | None = Field(max_length=64)
    run: Text = Field(min_length=1, max_length=200)
    why: Text = Field(min_length=1)
    when: AwareDatetime

    def applies_to(self, suite: str, profile: str | None, metric: str, variant: str) -> bool:
        """Tell whether it speaks of a series."""
        return (
            (self.suite, self.profile) == (suite, profile)
            and self.metric in (None, metric)
            and self.variant in (None, variant)
        )


class _Document(Frozen):
    schema_: Literal[1] = Field(alias="schema")
    accepted: tuple[Accepted, ...]


@dataclass(frozen=True)
class Named:
    """The run that a user accepts."""

    run: str
    commit: str | None


def read_accepted(folder: Path) -> tuple[Accepted, ...]:
    """Return the entries of a folder's file, in its order; none where there is no file.

    Raises:
        HarnessError: the file is not what `accept` writes.
    """
    file = folder / FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"cannot read {file}: {error}") from error
    try:
        return _Document.model_validate_json(text).accepted
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise HarnessError(
            f"{file} is not a list of accepted changes: {place}: {first['msg']}; "
            f"expected schema {SCHEMA} as `harness history --accept` writes it"
        ) from None


def accept(folder: Path, entry: Accepted) -> Path:
    """Add an entry to the file of a folder, in place of one for the same series and run.

    Returns:
        the file.

    Raises:
        HarnessError: the file that is there is broken, or cannot be written.
    """
    kept = [one for one in read_accepted(folder) if _subject(one) != _subject(entry)]
    rows = [json.dumps(one.model_dump(mode="json"), ensure_ascii=False) for one in (*kept, entry)]
    text = f'{{"schema": {SCHEMA}, "accepted": [\n' + ",\n".join(rows) + "\n]}\n"
    file = folder / FILE
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return file


def find_accepted_run(text: str, rows: list[dict[str, Any]], folder: Path) -> Named:
    """Return the run that a text names among those of a suite and profile.

    Args:
        text: a run's id, a unique beginning of one, `latest`, a commit or another git revision. Of
            several runs of a commit the first is meant: there the level changed.
        rows: the runs, oldest first.
        folder: the project, whose revisions are understood.

    Raises:
        HarnessError: it names none, or several.
    """
    if text == "latest" and rows:
        return _named(rows[-1])
    found = [row for row in rows if row["run_id"].startswith(text)]
    exact = [row for row in found if row["run_id"] == text]
    if len(exact or found) == 1:
        return _named((exact or found)[0])
    if found:
        ids = ", ".join(row["run_id"] for row in found)
        raise HarnessError(f"'{text}' names {len(found)} runs: {ids}; give more of the id")
    made = [row for row in rows if _is_commit(row["git_commit"], text, folder)]
    if not made:
        raise HarnessError(
            f"'{text}' is no run and no commit with a run in this history; it has "
            + ", ".join(
                f"{row['run_id']} ({short_commit(row['git_commit'] or 'no commit')})" for row in rows[-10:]
            )
        )
    commits = {row["git_commit"] for row in made}
    if len(commits) > 1:
        raise HarnessError(f"'{text}' names {len(commits)} commits: {', '.join(sorted(commits))}")
    return _named(made[0])


def new_entry(
    named: Named,
    *,
    suite: str,
    profile: str | None,
    metric: str | None,
    variant: str | None,
    why: str,
    when: datetime,
) -> Accepted:
    """Return the entry for a run.

    Raises:
        HarnessError: no reason is given, or one too long.
    """
    try:
        return Accepted(
            suite=suite,
            profile=profile,
            metric=metric,
            variant=variant,
            commit=named.commit,
            run=named.run,
            why=" ".join(why.split()),
            when=when,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise HarnessError(f"--{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _named(row: dict[str, Any]) -> Named:
    return Named(row["run_id"], row["git_commit"])


def _is_commit(commit: str | None, text: str, folder: Path) -> bool:
    if commit is None:
        return False
    if len(text) >= LEAST_DIGITS and commit.startswith(text.lower()):
        return True
    return commit_of(text, folder) == commit


def _subject(entry: Accepted) -> tuple[str | None, ...]:
    return entry.suite, entry.profile, entry.metric, entry.variant, entry.run
