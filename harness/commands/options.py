"""Arguments and options that several commands share, exit codes, and printing of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

SuiteArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="A suite file, or the name of a known suite.")
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a unique prefix, or `latest`.")]
StoreOption = Annotated[
    Path, typer.Option("--store", envvar="HARNESS_STORE", help="Folder that results are kept in.")
]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", "-p", help="A profile of the suite, such as smoke or laptop.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a setting: base.train.epochs=2. Repeatable."),
]
SeedsOption = Annotated[int | None, typer.Option("--seeds", min=1, help="Number of seeds.")]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="FACTOR=LEVEL", help="Run this level and the reference only. Repeatable."),
]
SkipBrokenOption = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out variants that are wrong, in place of refusing.")
]
PreflightOption = Annotated[
    bool, typer.Option("--preflight/--no-preflight", help="Build and try every distinct model first.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
DEFAULT_STORE = Path("runs")

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
