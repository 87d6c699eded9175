"""User errors: one base, caught in one place (`harness.cli`).

A message says what was expected, what was found and the way out.  Broken
invariants of our own are `assert`s, never these.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

MOST_LINES = 100  # mistakes of a suite that are printed
MOST_NAMES = 30  # known names that a message lists
MOST_COMPARED = 1000  # names that a wrong one is compared with
LONGEST_NAME = 200  # characters of it
LONGEST_LINE = 1000  # characters of a mistake


class HarnessError(Exception):
    """Something the user can put right; printed without a traceback."""

    exit_code = 2


@dataclass(frozen=True, order=True)
class Position:
    """A place in a file that a user wrote; lines and columns count from 1.

    `line` 0 stands for a place without lines, such as a command-line option.
    """

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class Problem:
    """One mistake in a suite: where it was written, which setting, what is wrong."""

    position: Position
    path: str
    message: str

    def __str__(self) -> str:
        text = f"{self.position}  {self.path}{': ' if self.path else ''}{self.message}"
        return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} ..."


class SuiteError(HarnessError):
    """Every mistake found in a suite, in the order of the file."""

    def __init__(self, problems: Iterable[Problem], *, rest: Any = None) -> None:
        self.rest = rest
        """What could be read all the same (a `LoadedSuite`), so that all mistakes are found at once."""
        distinct = list(dict.fromkeys(problems))
        self.problems = sorted(distinct, key=lambda problem: problem.position)
        count = len(self.problems)
        lines = [str(problem) for problem in self.problems[:MOST_LINES]]
        if count > MOST_LINES:
            lines.append(f"and {count - MOST_LINES} more")
        lines.append(f"{count} error{'s' if count != 1 else ''}, nothing was started")
        super().__init__("\n".join(lines))


class StoreError(HarnessError):
    """A store that cannot be read or written."""


class TrialError(HarnessError):
    """A trial that cannot go on; the message becomes part of its record."""


class NonFiniteLossError(TrialError):
    """The loss, or its gradient, became NaN or infinite."""

    def __init__(self, message: str, evidence: dict[str, object]) -> None:
        super().__init__(message)
        self.evidence = evidence
        """What is needed to look into it: the batch, the loss terms, the norms; plain JSON values."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a suggestion to append to a message, or the first known names when none is near."""
    names: Sequence[str] = sorted(known)
    # Among very many names those that begin alike are compared: each comparison takes its time.
    alike = names if len(names) <= MOST_COMPARED else [one for one in names if one[:2] == name[:2]]
    near = difflib.get_close_matches(name[:LONGEST_NAME], alike[:MOST_COMPARED], n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"; known are {', '.join(names[:MOST_NAMES])}{more}" if names else ""
