"""What `harness cluster` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from harness.launch.control import Step
from harness.launch.kinds import KINDS
from harness.launch.settings import Setting
from harness.launch.state import Cluster
from harness.redact import redact
from harness.terminal.console import plain_table


def print_kinds(titles: Mapping[str, str], console: Console) -> None:
    """Print one line a kind."""
    table = plain_table()
    table.add_column("kind", no_wrap=True)
    table.add_column("what it is")
    for name, title in titles.items():
        table.add_row(name, title)
    console.print(table)
    console.print("  `harness cluster kinds KIND` tells what may be set", style="dim")


def print_settings(settings: Sequence[Setting], console: Console) -> None:
    """Print one line a setting."""
    table = plain_table()
    for title in ("setting", "default", "unit", "meaning"):
        table.add_column(title, no_wrap=title == "setting")
    for one in settings:
        default = Text("needed", style="bold") if one.required else Text(_default_text(one.default))
        table.add_row(one.name, default, one.unit or "", one.meaning)
    console.print(table)


def print_manifests(manifests: Mapping[str, str]) -> None:
    """Print manifests as they are; several are told apart by their names."""
    for name, text in manifests.items():
        if len(manifests) > 1:
            print(f"# ---- {name} ----")
        print(text, end="" if text.endswith("\n") else "\n")


def print_commands(commands: Sequence[str]) -> None:
    """Print commands as they would be typed, one a line."""
    for command in commands:
        print(command)
    if not commands:
        print("# nothing to do")


def print_up(step: Step, console: Console) -> None:
    """Print what is there now, and what to type next."""
    for file in step.manifests:
        console.print(f"wrote {file}")
    kind = KINDS[step.cluster.kind]
    ready = "is ready; each submission is a cluster of its own" if kind.one_job else "is up"
    console.print(f"{step.cluster.name} {ready}")
    if step.cluster.kind == "plain":
        console.print(f"on each other machine: bash {step.cluster.manifest('worker.sh').name}")
    console.print("`harness cluster submit SUITE` runs a suite on it", style="dim")


def print_submitted(step: Step, console: Console) -> None:
    """Print the job and how to look at it; nothing where the run itself was here."""
    cluster = step.cluster
    if KINDS[cluster.kind].runs_here:
        return
    console.print(f"{cluster.job} on {cluster.name}; `harness cluster logs {cluster.name}` shows it")


def print_clusters(clusters: Sequence[Cluster], console: Console) -> None:
    """Print one line a cluster."""
    if not clusters:
        console.print("no cluster of this project is up; `harness cluster up KIND` makes one")
        return
    table = plain_table()
    for title in ("name", "kind", "made", "newest job", "store"):
        table.add_column(title, no_wrap=True)
    for one in clusters:
        store = redact(str(one.settings.get("store") or ""))
        table.add_row(one.name, one.kind, one.made, one.job or "", store)
    console.print(table)


def _default_text(default: str | int | bool | None) -> str:
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
