"""Predicting from an exported folder: pictures and the names of colours in, coloured pictures out."""

from __future__ import annotations

import csv
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from harness.errors import HarnessError
from harness.package.contents import (
    ONNX,
    WEIGHTS,
    PackageConfig,
    PackageError,
    member,
    read_config,
    require_hash,
)
from harness.package.pictures import picture_of, prepare, read_picture, write_picture

MOST_ROWS = 100_000  # of a list
MOST_LIST_BYTES = 64 << 20
MOST_PROBLEMS = 20  # that a message lists
COLUMNS = ("shape", "color", "out")
SPELLINGS = {"colour": "color"}

Forward = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps pictures [1, C, H, W] and class numbers [1] to pictures [1, 3, H, W]."""


@dataclass(frozen=True)
class Request:
    """One picture to be coloured."""

    shape: Path
    color: str
    out: Path


@dataclass(frozen=True)
class Prediction:
    """One coloured picture, and how long it took."""

    picture: Image.Image
    notes: tuple[str, ...]
    latencies: tuple[float, ...]
    """Seconds of each forward pass; reading, preparing and writing are not in them."""

    @property
    def latency(self) -> float:
        """Median of the forward passes, in seconds."""
        return statistics.median(self.latencies)


@dataclass(frozen=True)
class Written:
    """A prediction that was written to a file."""

    shape: Path
    color: str
    out: Path
    latencies: tuple[float, ...]
    """Seconds of each forward pass."""
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; the latency is the median, in milliseconds."""
        return {
            "shape": str(self.shape),
            "color": self.color,
            "out": str(self.out),
            "latency_ms": round(1000 * statistics.median(self.latencies), 3),
            "notes": list(self.notes),
        }


class Predictor:
    """The model of an exported folder, ready to predict.

    Every picture is computed alone, on one thread of the CPU and in the precision of the trial: it comes
    out the same, bit for bit, in whatever company it is asked for.
    """

    def __init__(self, folder: Path | str, *, onnx: bool = False) -> None:
        """Load a folder that `harness export` wrote.

        Args:
            folder: of the model.
            onnx: whether onnxruntime computes, in fp32, in place of torch.

        Raises:
            HarnessError: it is no such folder, is damaged, or its model cannot be built here.
        """
        self.folder = Path(folder)
        self.config = read_config(self.folder)
        self._forward = (_onnx_forward if onnx else _torch_forward)(self.folder, self.config)
        blank = np.zeros((1, self.config.image_channels, *self.config.size), np.float32)
        self._forward(blank, np.zeros(1, np.int64))  # the first pass of a process takes longer than the rest

    def predict(self, picture: Image.Image, color: str, *, repeat: int = 1) -> Prediction:
        """Return a picture with its shape filled.

        Args:
            picture: RGB; another size than the model's is resized, with a note.
            color: one that the model knows.
            repeat: forward passes; more than one are for their latency.

        Raises:
            PackageError: the model does not know the colour, or finds no shape in the picture.
        """
        assert repeat >= 1
        number = np.array([self.config.class_number(color)], dtype=np.int64)
        given = prepare(picture, self.config)
        latencies = []
        for _ in range(repeat):
            started = time.perf_counter()
            output = self._forward(given.array, number)
            latencies.append(time.perf_counter() - started)
        return Prediction(picture_of(output[0]), given.notes, tuple(latencies))


def predict(
    folder: Path | str,
    shape: Path | str,
    color: str,
    *,
    out: Path | str | None = None,
    repeat: int = 1,
    onnx: bool = False,
) -> Prediction:
    """Fill the shape of one picture; for many, `Predictor` loads the model once.

    Args:
        folder: that `harness export` wrote.
        shape: file of the picture.
        color: one that the model knows.
        out: PNG file to write; none writes nothing.
        repeat: forward passes, for the latency.
        onnx: whether onnxruntime computes, in place of torch.

    Raises:
        HarnessError: the folder, the picture or the colour is none.
    """
    found = Predictor(folder, onnx=onnx).predict(read_picture(Path(shape)), color, repeat=repeat)
    if out is not None:
        write_picture(found.picture, Path(out))
    return found


def predict_all(
    folder: Path | str,
    requests: Sequence[Request],
    *,
    repeat: int = 1,
    onnx: bool = False,
    progressed: Callable[[Written], None] = lambda written: None,
) -> list[Written]:
    """Predict and write pictures; all requests are checked before the first is computed.

    Args:
        folder: that `harness export` wrote.
        requests: pictures, colours and files to write.
        repeat: forward passes of every picture, for its latency.
        onnx: whether onnxruntime computes, in place of torch.
        progressed: told of every picture that was written.

    Raises:
        HarnessError: the folder is none, or requests are wrong: every mistake, and nothing was written.
    """
    predictor = Predictor(folder, onnx=onnx)
    _require_sound(predictor.config, requests)
    written = []
    for request in requests:
        found = predictor.predict(read_picture(request.shape), request.color, repeat=repeat)
        write_picture(found.picture, request.out)
        done = Written(request.shape, request.color, request.out, found.latencies, found.notes)
        progressed(done)
        written.append(done)
    return written


def percentile(written: Sequence[Written], share: float) -> float:
    """Return the latency, in seconds, that a share of all forward passes stays within."""
    return float(np.quantile([seconds for one in written for seconds in one.latencies], share))


def requests_of(
    shapes: Sequence[Path],
    colors: Sequence[str],
    *,
    out: Path | None = None,
    batch: Path | None = None,
    to: Path | None = None,
) -> list[Request]:
    """Return what a command line asks for: one picture and `out`, several and `to`, or a list and `to`.

    Raises:
        PackageError: it is none of these.
    """
    if batch is not None and not (shapes or colors or out) and to is not None:
        return read_requests(batch, to)
    if batch is None and shapes and colors and (out is None) != (to is None):
        if to is not None:
            return named_requests(shapes, colors, to)
        if len(shapes) == len(colors) == 1 and out is not None:
            return [Request(shapes[0], colors[0], out)]
    raise PackageError(
        "expected one of\n"
        "  --shape IMG --color NAME -o OUT.png\n"
        "  --shape IMG --shape IMG ... --color NAME --to FOLDER\n"
        "  --batch LIST.csv --to FOLDER"
    )


def read_requests(file: Path, to: Path) -> list[Request]:
    """Return what a list asks for: CSV with the columns `shape`, `color` and perhaps `out`, or JSON, a list
    of objects with these keys.

    Pictures are looked for beside the list, results go below `to`.

    Raises:
        PackageError: it cannot be read, or is no such list.
    """
    if not file.is_file():
        raise PackageError(f"no list {file}")
    if file.stat().st_size > MOST_LIST_BYTES:
        raise PackageError(f"{file} has {file.stat().st_size:,} bytes, expected at most {MOST_LIST_BYTES:,}")
    rows = _json_rows(file) if file.suffix.lower() == ".json" else _csv_rows(file)
    if not 0 < len(rows) <= MOST_ROWS:
        raise PackageError(f"{file} holds {len(rows):,} rows, expected 1 to {MOST_ROWS:,}")
    requests = [_request(f"{file}, row {number}", row, file.parent, to) for number, row in enumerate(rows, 1)]
    return _with_own_files(requests)


def named_requests(shapes: Sequence[Path], colors: Sequence[str], to: Path) -> list[Request]:
    """Return the requests of pictures that are named one by one, results below `to`.

    Args:
        shapes: pictures.
        colors: one for all of them, or one for each.
        to: folder of the results.

    Raises:
        PackageError: there are neither one nor as many colours as pictures.
    """
    if len(colors) not in (1, len(shapes)):
        raise PackageError(
            f"got {len(shapes)} pictures and {len(colors)} colours; give one colour for all, or one for each"
        )
    named = list(colors) * (len(shapes) if len(colors) == 1 else 1)
    requests = [
        Request(shape, color, to / _name(shape, color)) for shape, color in zip(shapes, named, strict=True)
    ]
    return _with_own_files(requests)


def _torch_forward(folder: Path, config: PackageConfig) -> Forward:
    import torch

    from harness.package.model import arithmetic, load_model, one_thread

    weights = member(folder, WEIGHTS)
    require_hash(weights, config.weights_sha256)
    model = load_model(config, weights)

    def forward(image: np.ndarray, number: np.ndarray) -> np.ndarray:
        with one_thread(), arithmetic(config.precision):
            output = model(torch.from_numpy(image), torch.from_numpy(number))
        found: np.ndarray = output.float().numpy()
        return found

    return forward


def _onnx_forward(folder: Path, config: PackageConfig) -> Forward:
    from harness.package.onnx_file import session

    if config.onnx is None:
        raise PackageError(f"{folder} has no {ONNX}; `harness export --onnx` writes it")
    file = member(folder, ONNX)
    require_hash(file, config.onnx.sha256)
    run = session(file)

    def forward(image: np.ndarray, number: np.ndarray) -> np.ndarray:
        found: np.ndarray = run.run(["picture"], {"image": image, "colour": number})[0]
        return found

    return forward


def _require_sound(config: PackageConfig, requests: Sequence[Request]) -> None:
    """Raise PackageError with everything that is wrong with requests."""
    problems: dict[str, None] = {}
    for request in requests:
        for look in (lambda one: config.class_number(one.color), lambda one: _require_picture(one.shape)):
            try:
                look(request)
            except HarnessError as error:
                problems[str(error)] = None
    if not problems:
        return
    more = [f"and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
    if len(problems) == 1:
        raise PackageError(next(iter(problems)))
    raise PackageError("\n".join([*list(problems)[:MOST_PROBLEMS], *more, "nothing was predicted"]))


def _require_picture(file: Path) -> None:
    read_picture(file)


def _json_rows(file: Path) -> list[Any]:
    try:
        rows = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{file} is no JSON: {error}") from None
    if not isinstance(rows, list):
        raise PackageError(f"{file} holds no list; expected objects with the keys {', '.join(COLUMNS)}")
    return rows


def _csv_rows(file: Path) -> list[Any]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            return list(csv.DictReader(stream, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise PackageError(f"{file} is no CSV in UTF-8: {error}") from None


def _request(place: str, row: Any, folder: Path, to: Path) -> Request:
    if not isinstance(row, Mapping):
        raise PackageError(f"{place}: expected an object with the keys {', '.join(COLUMNS)}, got {row!r:.60}")
    texts = {
        SPELLINGS.get(str(key), str(key)): value for key, value in row.items() if value not in (None, "")
    }
    if unknown := texts.keys() - set(COLUMNS):
        raise PackageError(f"{place}: no column {min(unknown)!r:.60}; known are {', '.join(COLUMNS)}")
    for name in ("shape", "color"):
        if not isinstance(texts.get(name), str):
            raise PackageError(f"{place}: '{name}' is missing")
    shape, color = folder / texts["shape"], texts["color"]
    return Request(shape, color, to / _below(place, texts.get("out", _name(shape, color))))


def _below(place: str, out: Any) -> str:
    """Return the name of a result; it stays in the folder of the results."""
    path = PurePosixPath(out) if isinstance(out, str) else PurePosixPath("/")
    if path.is_absolute() or ".." in path.parts or "\\" in str(out) or "\0" in str(out):
        raise PackageError(f"{place}: 'out' is {out!r:.80}, expected a name below the folder of the results")
    if path.suffix.lower() != ".png":
        raise PackageError(f"{place}: 'out' is {out!r:.80}, expected a name that ends in .png")
    return str(path)


def _name(shape: Path, color: str) -> str:
    """Return the name of a result: that of its picture, and its colour as far as it may be part of a name."""
    word = "".join(sign if sign.isalnum() else "-" for sign in color.strip().lower())
    return f"{shape.stem}-{word}.png"


def _with_own_files(requests: Sequence[Request]) -> list[Request]:
    """Return the requests, each with a file of its own.

    Raises:
        PackageError: two of them would write one file.
    """
    seen: dict[Path, Request] = {}
    for request in requests:
        other = seen.setdefault(request.out, request)
        if other is not request:
            raise PackageError(
                f"{other.shape} and {request.shape} would both be written to {request.out}; "
                "name the results in a list, with a column `out`"
            )
    return list(requests)
