"""Data sets of pairs of pictures from elsewhere: an outline and a colour word, and the filled outline.

What there is, is read and checked while a suite is planned. A pair that cannot be used is named; the rest
becomes part of the settings: a hash of the pictures and words, and the names of the labels. A trial reads
the pictures again only where the arrays of that hash are not in the cache, and refuses any others.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from PIL import Image
from pydantic import Field, PrivateAttr, field_validator, model_validator

from harness.canonical import canonical_json, content_hash
from harness.config import DataConfig, Size
from harness.data.arrays import ArraySplit
from harness.data.cache import write_arrays, written_once
from harness.data.drawing import (
    GREY,
    MASK_CHANNELS,
    PICTURE_CHANNELS,
    Channels,
    Drawing,
    MaskKind,
    to_grey,
)
from harness.data.regions import Regions, find_regions
from harness.errors import HarnessError, did_you_mean

log = logging.getLogger(__name__)

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")
IMAGES = ("image", "target", "mask")
LABELS = ("colour", "shape")
ALL = 10_000_000  # pictures of a split where a suite does not say
SIDES = (16, 1024)  # smallest and largest
NAMED = 5  # pairs that a message names
ARRAYS = 1  # version of what is kept of a pair
ORDER_SEED = 0  # of the order of the pairs: a small set is no beginning of a sorted list


@dataclass(frozen=True)
class Record:
    """One pair as a source lists it."""

    where: str
    """What a message calls it."""
    colour: str
    shape: str
    given: Callable[[], bytes]
    """Reads the file of the picture with the outline."""
    wanted: Callable[[], bytes]
    """Reads the file of the filled picture."""


@dataclass(frozen=True)
class Fault:
    """A pair that cannot be used."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


Listing = dict[Split, list[Record | Fault]]


@dataclass(frozen=True)
class Scan:
    """What a source holds."""

    records: dict[Split, list[Record]]
    """The pairs that can be used, in the order of the source."""
    faults: tuple[Fault, ...]
    content: str
    """Hash of the words and of the files of `records`."""

    def colours(self) -> list[str]:
        """Return the colour words, the most frequent in training first, ties in alphabetical order."""
        counts = Counter(record.colour for record in self.records["train"])
        every = {record.colour for records in self.records.values() for record in records}
        return sorted(every, key=lambda word: (-counts[word], word))


class PairsConfig(DataConfig):
    """Settings that every data set of pairs has."""

    version: Literal[1] = 1
    """Version of how pairs are read, raised whenever a picture comes out otherwise."""
    size: Size
    """Height and width in pixels, 16 to 1024 each, or one number for a square; the pictures are resized to
    it, antialiased, and stretched where it has another shape."""
    train_size: int = Field(default=ALL, ge=1, le=ALL)
    """Pictures to train on, at most; all there are where it is left out or larger. A larger set begins with
    the smaller one."""
    validation_size: int = Field(default=ALL, ge=1, le=ALL)
    """Pictures to validate on, likewise."""
    drawing: Drawing = "outline"
    """What the input shows: the picture as it is (`outline`), or with the area to fill painted `grey`."""
    channels: Channels = "rgb"
    """Channels of the input picture: `rgb`, or `grey` for its luminance alone."""
    mask: MaskKind = "none"
    """Extra input channels, found by comparing the two pictures. `binary`: the area to fill; `rgb`: the
    area to fill, the outline at it, and what else is drawn."""
    tolerance: int = Field(default=32, ge=0, le=254)
    """Largest difference of a channel, of 255, that counts as none where pictures are compared."""
    colours: int | tuple[str, ...] | None = None
    """Colour words, in the order of their labels: a list, beside which other words are faults; or how
    many, the most frequent in training. Where it is left out, all that occur, the most frequent first;
    filled in."""
    shapes: tuple[str, ...] | None = None
    """Names of the shapes, in the order of their labels; filled in."""
    content: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Hash of the words and the files of all pairs used; filled in where it is left out, and part of the
    trial's identity. Pictures that do not have it are refused."""
    on_error: Literal["refuse", "skip"] = "refuse"
    """What a pair that cannot be used does: `refuse` the suite, or be left out with a note in the report."""

    _notes: tuple[str, ...] = PrivateAttr(default=())

    @field_validator("size")
    @classmethod
    def sides_in_range(cls, size: tuple[int, int]) -> tuple[int, int]:
        """Refuse pictures too small to show an outline, or too large to keep."""
        smallest, largest = SIDES
        if not smallest <= min(size) <= max(size) <= largest:
            raise ValueError(f"sides should be {smallest} to {largest} pixels, got {size[0]} x {size[1]}")
        return size

    @field_validator("colours")
    @classmethod
    def are_several(cls, colours: int | tuple[str, ...] | None) -> int | tuple[str, ...] | None:
        """Refuse fewer than two colours, and a word given twice."""
        count = colours if isinstance(colours, int) else len(set(colours)) if colours is not None else 2
        if count < 2:
            raise ValueError(f"should be at least 2 colours, got {count}")
        if isinstance(colours, tuple) and count < len(colours):
            raise ValueError("should name each colour once")
        return colours

    @model_validator(mode="after")
    def filled_in(self) -> Self:
        """Read what the source holds, unless the settings say it all, as those of a planned trial do."""
        if self.content is not None and self.shapes is not None and isinstance(self.colours, tuple):
            return self
        try:
            scan = self.scan()
        except HarnessError as error:
            raise ValueError(str(error)) from None
        self._fill_in(scan)
        return self

    def scan(self) -> Scan:
        """Read and check the source.

        Raises:
            HarnessError: there is no such source.
        """
        raise NotImplementedError

    def place(self) -> str:
        """Return what a message calls the source."""
        raise NotImplementedError

    def notes(self) -> tuple[str, ...]:
        """Return what was left out, and colours that training does not show."""
        return self._notes

    @property
    def words(self) -> tuple[str, ...]:
        """The colour words in the order of their labels, as filled in."""
        assert isinstance(self.colours, tuple)
        return self.colours

    def used(self, scan: Scan) -> dict[Split, list[Record]]:
        """Return the pairs whose colour has a label, in the order in which they are counted."""
        chosen: dict[Split, list[Record]] = {}
        for split, records in scan.records.items():
            order = np.random.default_rng(ORDER_SEED).permutation(len(records))
            chosen[split] = [records[place] for place in order if records[place].colour in self.words]
        return chosen

    def _fill_in(self, scan: Scan) -> None:
        named = self.colours if isinstance(self.colours, tuple) else None
        faults = [*scan.faults, *(_unknown_words(scan, named) if named is not None else ())]
        if faults and self.on_error == "refuse":
            raise ValueError(f"{self.place()}: {_told(faults, scan)}; repair them, or set on_error to skip")
        if self.content not in (None, scan.content):
            raise ValueError(
                f"{self.place()} has changed: expected content {self.content}, got {scan.content}"
            )
        found = scan.colours()
        missing = [word for word in named or () if word not in found]
        if missing:
            raise ValueError(
                f"colours: no pair has the colour '{missing[0]}'{did_you_mean(missing[0], found)}"
            )
        most = self.colours if isinstance(self.colours, int) else len(found)
        colours = named if named is not None else tuple(found[:most])
        # A frozen model is completed while it is made, as everywhere that planning fills in.
        object.__setattr__(self, "colours", colours)
        object.__setattr__(self, "content", scan.content)
        records = self.used(scan)
        for split in SPLITS:
            if not records[split]:
                raise ValueError(f"{self.place()}: no pair of the {split} split can be used")
            size = min(getattr(self, f"{split}_size"), len(records[split]))
            object.__setattr__(self, f"{split}_size", size)
        shapes = sorted({record.shape for split in SPLITS for record in records[split]})
        object.__setattr__(self, "shapes", tuple(shapes))
        self._notes = tuple(self._noted(scan, faults, records))

    def _noted(self, scan: Scan, faults: Sequence[Fault], used: dict[Split, list[Record]]) -> Iterator[str]:
        if faults:
            yield f"{self.place()}: left out, {_told(faults, scan)}"
        dropped = [word for word in scan.colours() if word not in self.words]
        if dropped and not faults:
            yield f"{self.place()}: pairs of {len(dropped)} colours are left out: {', '.join(dropped)}"
        trained = {record.colour for record in used["train"]}
        unseen = sorted({record.colour for record in used["validation"]} - trained)
        if unseen:
            message = "colours of the validation split that training does not show"
            yield f"{self.place()}: {message}: {', '.join(unseen)}"


class Pairs:
    """A data set of pairs, read once into arrays and mapped from there."""

    Config: ClassVar[type[PairsConfig]] = PairsConfig

    def __init__(self, config: PairsConfig, cache: Path) -> None:
        """Map the arrays from `cache`, reading the pictures first where they are not there yet.

        Raises:
            HarnessError: the pictures are not there any more or have changed, or the cached files are
                damaged.
        """
        self.config = config
        kept = ("content", "size", "drawing", "channels", "mask", "tolerance", "colours", "shapes", "version")
        identity = {"pairs": ARRAYS, **config.model_dump(mode="json", include=set(kept))}
        self._folder = cache / content_hash(identity)
        written_once(self._folder, identity, self._write)
        sizes = {"train": config.train_size, "validation": config.validation_size}
        self._splits = {name: ArraySplit(self._folder / name, IMAGES, LABELS, sizes[name]) for name in SPLITS}

    def split(self, name: Split) -> ArraySplit:
        """Return a split by its name, `train` or `validation`.

        Its batches hold `image` [N, C, H, W], `target` [N, 3, H, W] and `mask` [N, 1, H, W] (share of a pixel
        that is filled), float32 in [0, 1], and the labels, int64 [N].
        """
        return self._splits[name]

    @staticmethod
    def label_names(config: PairsConfig) -> dict[str, tuple[str, ...]]:
        """Return the names of the values of every label, in the order of their numbers."""
        assert config.shapes is not None
        return {"colour": config.words, "shape": config.shapes}

    @staticmethod
    def picture_channels(config: PairsConfig) -> int:
        """Return how many channels the input has without those of the mask: the first ones, 1 or 3."""
        return PICTURE_CHANNELS[config.channels]

    @staticmethod
    def image_channels(config: PairsConfig) -> int:
        """Return how many channels the input has: those of the picture and those of the mask."""
        return PICTURE_CHANNELS[config.channels] + MASK_CHANNELS[config.mask]

    @property
    def palette(self) -> torch.Tensor:
        """The colours as the filled pictures show them, in the order of their labels, sRGB float32 [K, 3].

        Each is the median over the training pictures that have it (the validation pictures where none
        has it) of the median colour of the filled area.
        """
        return torch.from_numpy(np.load(self._folder / "palette.npy")).float() / 255

    def _write(self, folder: Path) -> None:
        config = self.config
        scan = config.scan()
        if scan.content != config.content:
            raise HarnessError(
                f"{config.place()} has changed since the suite was planned: "
                f"expected content {config.content}, got {scan.content}; plan anew"
            )
        used = config.used(scan)
        fills: dict[Split, list[np.ndarray]] = {}
        for split, records in used.items():
            log.info("reading %d pairs of the %s split of %s", len(records), split, config.place())
            fills[split] = []
            write_arrays(folder / split, _samples(config, records, fills[split]), len(records))
        np.save(folder / "palette.npy", _palette(config, used, fills))


def scan_listing(listing: Listing, tolerance: int) -> Scan:
    """Read every pair of a source and return those that can be used, and what is wrong with the others."""
    sound: dict[Split, list[Record]] = {"train": [], "validation": []}
    faults: list[Fault] = []
    words: list[tuple[str, ...]] = []
    for split in SPLITS:
        for record in listing[split]:
            found = record if isinstance(record, Fault) else _checked(record, tolerance)
            if isinstance(found, Fault):
                faults.append(found)
                continue
            assert isinstance(record, Record)
            sound[split].append(record)
            words.append((split, record.colour, record.shape, *found))
    content = hashlib.sha256(canonical_json(words).encode()).hexdigest()
    return Scan(sound, tuple(faults), content)


def shape_name(file: str) -> str:
    """Return the name of a shape from that of its file: `octagon` of `inputs/octagon_07.png`."""
    return re.sub(r"[\W_]*\d*$", "", Path(file).stem) or Path(file).stem or "unnamed"


def _checked(record: Record, tolerance: int) -> tuple[str, str] | Fault:
    """Return the hashes of both files, or what is wrong with the pair."""
    try:
        files = record.given(), record.wanted()
        given, wanted = (decoded(file) for file in files)
    except HarnessError as error:
        return Fault(record.where, str(error))
    if given.shape != wanted.shape:
        sizes = [f"{picture.shape[1]} x {picture.shape[0]}" for picture in (given, wanted)]
        return Fault(record.where, f"the input has {sizes[0]} pixels, the output {sizes[1]}")
    if not find_regions(given, wanted, tolerance).filled.any():
        return Fault(record.where, "input and output are the same picture: nothing is filled")
    first, second = (hashlib.sha256(file).hexdigest() for file in files)
    return first, second


def read_file(file: Path, name: str) -> bytes:
    """Return the bytes of a picture.

    Raises:
        HarnessError: it is not there or cannot be read.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise HarnessError(f"{name} is not there") from None
    except OSError as error:
        raise HarnessError(f"{name} cannot be read: {error.strerror or error}") from None


def decoded(file: bytes) -> np.ndarray:
    """Return a picture as RGB, uint8 [H, W, 3]; transparent pixels are laid on white.

    Raises:
        HarnessError: the bytes are no whole picture.
    """
    try:
        with Image.open(io.BytesIO(file)) as image:
            layer = image.convert("RGBA")
    except Image.DecompressionBombError:
        raise HarnessError("the picture is too large to be one of a pair") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        reason = "not a picture" if "identify" in str(error) else str(error)
        raise HarnessError(f"a picture cannot be read: {reason}") from None
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, layer).convert("RGB"))


def _unknown_words(scan: Scan, named: Sequence[str]) -> Iterator[Fault]:
    for records in scan.records.values():
        for record in records:
            if record.colour not in named:
                reason = f"'{record.colour}' is none of the colours{did_you_mean(record.colour, named)}"
                yield Fault(record.where, reason)


def _told(faults: Sequence[Fault], scan: Scan) -> str:
    """Return how many pairs are wrong, and which."""
    total = sum(map(len, scan.records.values())) + len(scan.faults)
    shown = "; ".join(str(fault) for fault in faults[:NAMED])
    more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    return f"{len(faults)} of {total} pairs cannot be used ({shown}{more})"


def _samples(
    config: PairsConfig, records: Sequence[Record], fills: list[np.ndarray]
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays of every pair, and put the median colour of its fill into `fills`."""
    assert config.shapes is not None
    for record in records:
        given, wanted = decoded(record.given()), decoded(record.wanted())
        regions = find_regions(given, wanted, config.tolerance)
        fills.append(np.median(wanted[regions.filled], axis=0))
        yield {
            **_pictures(config, given, wanted, regions),
            "colour": np.array(config.words.index(record.colour)),
            "shape": np.array(config.shapes.index(record.shape)),
        }


def _pictures(
    config: PairsConfig, given: np.ndarray, wanted: np.ndarray, regions: Regions
) -> dict[str, np.ndarray]:
    """Return input, target and mask of a pair in the size asked for, uint8, channels first."""
    if config.drawing == "grey":
        inside = regions.filled & ~regions.outline
        given = np.where(inside[..., None], np.uint8(GREY[0]), given)
    areas = np.stack([regions.filled, regions.outline, regions.other], axis=2)
    extra = resized(areas[..., : MASK_CHANNELS[config.mask]] * np.uint8(255), config.size)
    picture = resized(given, config.size)
    shown = to_grey(picture) if config.channels == "grey" else picture
    return {
        "image": np.concatenate([shown, extra]),
        "target": resized(wanted, config.size),
        "mask": resized(areas[..., :1] * np.uint8(255), config.size),
    }


def resized(picture: np.ndarray, size: Size) -> np.ndarray:
    """Return a picture in another size, uint8 [H, W, C] to uint8 [C, *size]; antialiased where it shrinks."""
    height, width = size
    planes = [
        Image.fromarray(np.ascontiguousarray(picture[..., channel])).resize(
            (width, height), Image.Resampling.BILINEAR
        )
        for channel in range(picture.shape[2])
    ]
    empty = np.zeros((0, height, width), dtype=np.uint8)
    return np.stack([np.asarray(plane) for plane in planes]) if planes else empty


def _palette(
    config: PairsConfig, used: dict[Split, list[Record]], fills: dict[Split, list[np.ndarray]]
) -> np.ndarray:
    """Return the colour that each word stands for, uint8 [K, 3]."""
    measured = []
    for word in config.words:
        by_split = [
            [fill for record, fill in zip(used[split], fills[split], strict=True) if record.colour == word]
            for split in SPLITS
        ]
        measured.append(np.median(by_split[0] or by_split[1], axis=0))
    colours: np.ndarray = np.rint(np.array(measured)).astype(np.uint8)
    return colours
