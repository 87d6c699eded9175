"""The two consoles that commands print to, and how tables look on them."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.table import Table

WIDE = 160  # columns of a table in a file or a pipe, where lines do not wrap


def stdout() -> Console:
    """Return the console for results."""
    return _console(sys.stdout, stderr=False)


def stderr() -> Console:
    """Return the console for progress and messages."""
    return _console(sys.stderr, stderr=True)


def plain_table() -> Table:
    """Return a table without lines."""
    return Table(box=None, pad_edge=True, padding=(0, 2), header_style="dim")


def _console(stream: TextIO, *, stderr: bool) -> Console:
    is_terminal = stream.isatty()
    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,  # `:smile:` in a title stays as it was written
        soft_wrap=not is_terminal,
        width=None if is_terminal else WIDE,
    )
