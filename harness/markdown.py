"""Plain text as Markdown that shows just that, wherever it comes from: names, messages, commits."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

NO_MENTION = "@\u200b"  # a space of no width keeps a name from being told of a comment


def markdown_text(text: str) -> str:
    """Return a text as one line without markup, HTML, links to issues or mentions."""
    marked = re.sub(r"([\\`*_{}\[\]|~#])", r"\\\1", " ".join(text.split()))
    safe = html.escape(marked, quote=False).replace("@", NO_MENTION)
    return re.sub(r"^([-+]|\d+[.)])(?=\s)", _escape_start, safe)


def _escape_start(match: re.Match[str]) -> str:
    """Keep a sign or a number at the start from opening a list."""
    start = match.group(1)
    return f"{start[:-1]}\\{start[-1]}"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of plain texts, its head included."""
    head = [list(columns), *([list(row) for row in rows])]
    lines = [f"| {' | '.join(map(markdown_text, cells))} |" for cells in head]
    return "\n".join([lines[0], f"|{' --- |' * len(columns)}", *lines[1:]])


def markdown_list(lines: Iterable[str]) -> str:
    """Return a list of plain texts; "" for none."""
    return "\n".join(f"- {markdown_text(line)}" for line in lines)
