"""The command line: every command under its name, and the one place that catches user errors."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from harness import __version__
from harness.commands import cluster, compare, content, gate, history, package, results, study
from harness.commands.options import EXIT_BAD_INPUT, EXIT_FAILED
from harness.errors import HarnessError

app = typer.Typer(
    name="harness",
    help="Plan, run, keep and judge ablation studies.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS: dict[str, Callable[..., None]] = {
    "run": study.run,
    "plan": study.plan,
    "validate": study.validate,
    "report": results.report,
    "compare": compare.compare,
    "verdicts": results.verdicts,
    "gate": gate.gate,
    "history": history.history,
    "export": package.export,
    "predict": package.predict,
    "query": results.query,
    "list": content.list_,
    "show": content.show,
    "schema": content.schema,
    "doctor": content.doctor,
    "weights": content.weights,
    "init": content.init,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(gate.baseline, name="baseline")
app.add_typer(cluster.cluster, name="cluster")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; user errors become one message and exit code 2."""
    try:
        app()
    except HarnessError as error:
        _fail(str(error), error.exit_code)
    except ImportError as error:
        if (error.name or "").startswith("harness"):
            raise
        _fail(f"{error}; `harness doctor` tells what this installation lacks", EXIT_BAD_INPUT)
    except Exception:  # a mistake of ours, told like Python does, without the secrets in its values
        _fail(traceback.format_exc().rstrip(), EXIT_FAILED)


def _fail(message: str, code: int) -> NoReturn:
    from harness.redact import redact
    from harness.visible import visible

    print(visible(redact(message)), file=sys.stderr)
    sys.exit(code)
