"""The two consoles that commands print to."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console

WIDE = 160  # columns of a table in a file or a pipe, where lines do not wrap


def stdout() -> Console:
    """Return the console for results."""
    return _console(sys.stdout, stderr=False)


def stderr() -> Console:
    """Return the console for progress and messages."""
    return _console(sys.stderr, stderr=True)


def _console(stream: TextIO, *, stderr: bool) -> Console:
    is_terminal = stream.isatty()
    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        soft_wrap=not is_terminal,
        width=None if is_terminal else WIDE,
    )
