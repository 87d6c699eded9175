"""A trained model as a folder of its own, and pictures from it: `export`, `predict`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import DEFAULT_STORE, JsonOption, StoreOption, print_json


class KeptWeights(StrEnum):
    """Weights that a trial keeps."""

    LAST = "last"
    BEST = "best"


def export(
    trial: Annotated[
        str,
        typer.Argument(
            metavar="TRIAL",
            help="A variant of the run, of which the median seed is taken, or the beginning of a trial's id.",
        ),
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to write: new, or empty.")],
    store: StoreOption = DEFAULT_STORE,
    run: Annotated[str, typer.Option("--run", help="Run whose variants are meant.")] = "latest",
    seed: Annotated[int | None, typer.Option("--seed", help="Seed, in place of the median one.")] = None,
    weights: Annotated[
        KeptWeights, typer.Option("--weights", help="Of the last epoch, or of the best one.")
    ] = KeptWeights.LAST,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write the model as ONNX too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a trained model as a folder that predicts by itself, with metrics, card and licence notes."""
    from harness.package import export as package
    from harness.terminal.console import stdout
    from harness.terminal.package_page import print_exported

    written = package.export(trial, to=to, store=store, run=run, seed=seed, weights=weights.value, onnx=onnx)
    print_json(written.to_json()) if as_json else print_exported(written, stdout())


def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `harness export` wrote.")],
    shape: Annotated[
        list[Path] | None, typer.Option("--shape", metavar="IMG", help="Picture to colour. Repeatable.")
    ] = None,
    color: Annotated[
        list[str] | None,
        typer.Option("--color", "--colour", metavar="NAME", help="Colour of all pictures, or one for each."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="PNG to write, of one picture.")] = None,
    batch: Annotated[
        Path | None,
        typer.Option("--batch", metavar="LIST", help="CSV or JSON with shape, color and perhaps out."),
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Folder of many results.")] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, max=100_000, help="Forward passes of each, for the latency.")
    ] = 1,
    onnx: Annotated[bool, typer.Option("--onnx", help="Compute with onnxruntime, not torch.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fill the shapes of pictures with colours by an exported model, and say how long that took."""
    from harness.package.predict import predict_all, requests_of
    from harness.terminal.console import stderr, stdout
    from harness.terminal.package_page import predictions_document, print_predictions, print_written

    requests = requests_of(shape or [], color or [], out=out, batch=batch, to=to)
    console = stderr() if as_json else stdout()
    written = predict_all(
        folder, requests, repeat=repeat, onnx=onnx, progressed=lambda one: print_written(one, console)
    )
    print_json(predictions_document(written)) if as_json else print_predictions(written, console)
