"""Arguments and options that several commands share, exit codes, and printing of JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

T = TypeVar("T", Path | None, str | None)


def no_option(file: T) -> T:
    """Refuse an option in place of a file's name: `--json --strict` would not be strict."""
    if file is not None and str(file).startswith("--"):
        raise typer.BadParameter(f"expected the name of a file, got {file}; ./{file} is one")
    return file


SuiteArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="A suite file, or the name of a known suite.")
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a unique prefix, or `latest`.")]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="FOLDER|URI",
        envvar="HARNESS_STORE",
        help="Where results are kept: a folder, or an address such as s3://bucket/folder.",
    ),
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
BaselinesOption = Annotated[
    Path,
    typer.Option(
        "--baselines", envvar="HARNESS_BASELINES", help="Folder of baselines and accepted changes, for git."
    ),
]
DEFAULT_STORE = "runs"
DEFAULT_BASELINES = Path("baselines")

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_REGRESSED = 3
EXIT_INCONCLUSIVE = 4
EXIT_INTERRUPTED = 130


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    from harness.analysis.plain_json import document_text

    print(document_text(value), end="")
