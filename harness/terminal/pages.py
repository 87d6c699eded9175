"""What `list`, `show`, `doctor` and `weights` print."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.doctor import Finding
from harness.manual import Entry, Page, Setting
from harness.needs import Need

SLIMMEST = 30  # characters of a column of text, on however narrow a terminal
STATES = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def print_kinds(counts: Mapping[str, int], console: Console) -> None:
    """Print the kinds, and how many names each has."""
    _print_rows([(kind, str(count)) for kind, count in counts.items()], console)
    console.print("\nharness list KIND tells the names, harness show KIND NAME what stands behind one")


def print_entries(entries: Sequence[Entry], console: Console) -> None:
    """Print one line a name, and where it comes from unless that is the harness."""
    rows = [
        (entry.name, entry.summary + (f" ({entry.origin})" if entry.origin != "bundled" else ""))
        for entry in entries
    ]
    _print_rows(rows, console)


def print_page(page: Page, console: Console) -> None:
    """Print all there is to say about one name."""
    console.print(Text(f"{page.name}  ({page.kind}, {page.origin})", style="bold"))
    if page.summary:
        console.print(Text(page.summary))
    console.print(Text(page.source, style="dim"))
    for title, fact in page.facts.items():
        if fact not in ("", [], {}, None):
            console.print(Text(f"\n{title}", style="bold"))
            _print_fact(fact, console)
    if page.settings:
        console.print(Text("\nsettings", style="bold"))
        rows = [(setting.name, f"{_form(setting)}\n{setting.meaning}") for setting in page.settings]
        _print_rows(rows, console, indent=2)


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print one line a finding; packages that fit take one line together."""
    fitting = [found for found in findings if found.group == "package" and found.state == "ok"]
    told = [found for found in findings if found not in fitting]
    if fitting:
        told.append(Finding("packages", "ok", f"{len(fitting)} within what the harness asks for"))
    width = max(len(found.name) for found in told)
    for found in told:
        sign, colour = STATES[found.state]
        line = Text.assemble((f"{sign} ", colour), f"{found.name:<{width}}  ", found.found)
        if found.way_out:
            line.append(f"\n{'':{width + 4}}{found.way_out}", style="dim" if found.state == "ok" else "")
        console.print(line)


def print_needs(needs: Sequence[Need], console: Console) -> None:
    """Print one line a file of weights, and for a missing one how to get it."""
    if not needs:
        console.print("no files of weights are needed")
    for need in needs:
        sign, colour = STATES["ok" if need.file.present() else "warn"]
        state = "present" if need.file.present() else "missing"
        size = "" if need.file.size is None else f", {need.file.size:.0f} MB"
        title = f"{need.file.title}, for {', '.join(need.used_by)}{size}"
        console.print(Text.assemble((f"{sign} {state}  ", colour), title))
        console.print(Text(f"           {need.file.path}", style="dim"))
        if not need.file.present():
            console.print(Text(f"           {need.file.way}"))
    if any(not need.file.present() for need in needs):
        console.print("harness weights SUITE --fetch gets what is missing, where there is a network")


def _form(setting: Setting) -> str:
    """Return what a value may be, in one line."""
    bounds = f", {setting.range}" if setting.range else ""
    default = "required" if setting.required else f"default {_plain(setting.default)}"
    return f"{setting.type}{bounds}; {default}"


def _print_fact(fact: Any, console: Console) -> None:
    """Print a fact: mappings as one row a name, lists with commas, texts as they are."""
    if isinstance(fact, Mapping):
        _print_rows([(str(name), _listed(value)) for name, value in fact.items()], console, indent=2)
    else:
        for line in _listed(fact).split("\n"):
            _print_rows([("", line)], console, indent=2)


def _listed(value: Any) -> str:
    """Return the value of a row: a mapping with one line a name, a list with commas."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value)
    return _plain(value)


def _plain(value: Any) -> str:
    """Return a value as a suite would have it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_plain(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_plain(item) for item in value)}]"
    return f"{value}"


def _print_rows(rows: Sequence[tuple[str, str]], console: Console, indent: int = 0) -> None:
    """Print names and what is said of them, side by side; only a terminal's lines are broken."""
    column = indent + max((len(name) + 2 if name else 0 for name, _ in rows), default=0)
    for name, text in rows:
        lines = text.split("\n")
        if console.is_terminal:
            width = max(console.width - column, SLIMMEST)
            lines = [part for line in lines for part in textwrap.wrap(line, width) or [""]]
        head = f"{'':{indent}}{name}"
        for line in lines:
            console.print(Text(f"{head:<{column}}{line}".rstrip()))
            head = ""
