"""What an exported folder holds: the names of its files, and `config.json`, which says how to predict.

A folder may come from anybody. Everything in it is bounded and checked before it is used, no file leads
out of it, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.config import Frozen
from harness.errors import HarnessError, did_you_mean
from harness.registry import registry
from harness.validation import Mistakes, check

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
METRICS = "metrics.json"
CARD = "README.md"
LICENCES = "LICENSES.md"
ONNX = "model.onnx"

MOST_CONFIG_BYTES = 8 << 20
MOST_SIDE = 4096  # pixels of a picture that a model of a folder may ask for
MOST_CLASSES = 10_000

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Side = Annotated[int, Field(ge=1, le=MOST_SIDE)]
Level = Annotated[int, Field(ge=0, le=255)]
Word = Annotated[str, Field(min_length=1, max_length=200)]
MaskKind = Literal["none", "binary", "rgb"]
MASK_CHANNELS: dict[MaskKind, int] = {"none": 0, "binary": 1, "rgb": 3}


class PackageError(HarnessError):
    """A folder that is no exported model, or that cannot be used here."""


class Preprocessing(Frozen):
    """How a picture becomes the input of the model: float32 in [0, 1], [1, C, H, W]."""

    picture: Literal["rgb", "grey"]
    """The first channels: R, G and B, or the luminance of ITU-R BT.601."""
    mask: MaskKind
    """The channels after them, derived from the picture: none; `binary`, the area to fill; `rgb`, the area
    to fill, its outline and the other closed areas."""
    resize: Literal["bilinear, antialiased"] = "bilinear, antialiased"
    """How a picture of another size is brought to the size of the model."""

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return (3 if self.picture == "rgb" else 1) + MASK_CHANNELS[self.mask]


class OnnxFacts(Frozen):
    """The same model as ONNX, and how far its output lay from that of torch when it was exported."""

    opset: int = Field(ge=1)
    largest_difference: float = Field(ge=0)
    """Largest absolute difference of a value of the output, which lies in [0, 1], over random pictures."""
    sha256: Sha256


class Origin(Frozen):
    """Where the weights come from; nothing of it is needed to predict."""

    suite: str | None
    run_id: str
    trial_id: str
    attempt: int
    variant: str
    levels: dict[str, str]
    seed: int
    fold: int | None
    weights: Literal["best", "last"]
    epoch: int
    """The epoch that the weights are of."""
    averaged: bool
    """Whether they are the moving average of the weights."""
    code_hash: str
    """Of the sources that trained it."""
    spec: dict[str, Any]
    """The whole `TrialSpec` as JSON; absolute paths are cut to their last part."""


class PackageConfig(Frozen):
    """`config.json` of an exported folder."""

    format: Literal[1] = 1
    """Version of the folder's form."""
    harness: str
    """Version of the harness that wrote it."""
    task: Literal["colorization"]
    model: dict[str, Any]
    """Settings of the model, checked by its own Config; they ask for no file."""
    plugin: dict[str, Word] = Field(default_factory=dict, max_length=1)
    """`module:Name` of a model that is not the harness's own -> hash of its sources."""
    size: tuple[Side, Side]
    """Height and width of the pictures."""
    image_channels: int = Field(ge=1, le=64)
    class_names: tuple[Word, ...] = Field(min_length=1, max_length=MOST_CLASSES)
    """Colours that can be asked for, in the order of their numbers."""
    palette: dict[str, tuple[Level, Level, Level]] | None
    """sRGB, 0 to 255, of every colour as the data has it; none where the data was not here."""
    label_names: dict[str, tuple[str, ...]]
    preprocessing: Preprocessing
    output: Literal["rgb in 0 to 1, cut off beyond"] = "rgb in 0 to 1, cut off beyond"
    precision: Literal["fp32", "bf16", "fp16"]
    """Arithmetic of the forward pass, as in the trial."""
    weights_sha256: Sha256
    onnx: OnnxFacts | None = None
    origin: Origin

    def class_number(self, colour: str) -> int:
        """Return the number of a colour; capitals and spaces around it do not count.

        Raises:
            PackageError: the model does not know it; the message names the nearest.
        """
        numbers = {name.casefold(): number for number, name in enumerate(self.class_names)}
        number = numbers.get(colour.strip().casefold())
        if number is None:
            near = did_you_mean(colour.strip().casefold(), self.class_names)
            raise PackageError(f"the model does not know the colour {colour!r:.80}{near}")
        return number


def read_config(folder: Path) -> PackageConfig:
    """Return the checked `config.json` of an exported folder.

    Raises:
        PackageError: there is none, or it is not one that `harness export` wrote.
    """
    if not folder.is_dir():
        raise PackageError(f"no folder {folder}; `harness export TRIAL --to {folder}` writes one")
    file = member(folder, CONFIG, most_bytes=MOST_CONFIG_BYTES)
    try:
        config = check(PackageConfig, json.loads(file.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{file} is no JSON that can be read: {error}") from error
    except Mistakes as found:
        lines = [f"{'.'.join(map(str, one.path))}: {one.message}" for one in found.mistakes[:10]]
        raise PackageError("\n  ".join([f"{file} is not what `harness export` writes:", *lines])) from None
    _require_consistent(file, config)
    return config


def _require_consistent(file: Path, config: PackageConfig) -> None:
    channels = config.preprocessing.channels
    if config.image_channels != channels:
        raise PackageError(
            f"{file} contradicts itself: image_channels is {config.image_channels}, "
            f"preprocessing gives {channels}"
        )
    if len({name.casefold() for name in config.class_names}) < len(config.class_names):
        raise PackageError(f"{file} names a colour twice")


def member(folder: Path, name: str, *, most_bytes: int | None = None) -> Path:
    """Return a regular file of an exported folder.

    Raises:
        PackageError: it is not there, too large, or a link that leads out of the folder.
    """
    file = folder / name
    if not file.is_file():
        there = "something else" if file.exists() else "nothing"
        raise PackageError(f"expected a file {file}, found {there}; `harness export` writes it")
    if not file.resolve().is_relative_to(folder.resolve()):
        raise PackageError(f"{file} leads out of its folder; copy the files themselves, as cp -rL does")
    size = file.stat().st_size
    if most_bytes is not None and size > most_bytes:
        raise PackageError(f"{file} has {size:,} bytes, expected at most {most_bytes:,}")
    return file


def require_hash(file: Path, expected: str) -> None:
    """Refuse a file that is not the one that was exported.

    Raises:
        PackageError: it is another one, or damaged.
    """
    found = file_hash(file)
    if found != expected:
        raise PackageError(
            f"{file} is damaged or another one: its SHA-256 is {found[:12]}..., expected {expected[:12]}...; "
            "copy the folder again"
        )


def file_hash(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def plugin_of(model: str) -> dict[str, str]:
    """Return `module:Name` of a model that is not the harness's own -> hash of its sources; else nothing."""
    from harness import plugins

    if registry.is_builtin("model", model):
        return {}
    target = registry.target("model", model)
    return {target: plugins.source_hash(target)}
