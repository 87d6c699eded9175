"""The two consoles that commands print to, and how tables look on them."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table

from harness.visible import visible

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
    console = Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,  # `:smile:` in a title stays as it was written
        soft_wrap=not is_terminal,
        width=None if is_terminal else WIDE,
    )
    console.push_render_hook(_Guard())
    return console


class _Guard(RenderHook):
    """Keeps texts from a store or a suite from commanding the terminal; rich strips only some signs."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Guarded(one) for one in renderables]


class _Guarded:
    """Something to print, whose texts are made visible; what rich itself commands stays."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self.inner, options):
            yield Segment(text if control else visible(text), style, control)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.inner)
