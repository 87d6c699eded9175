"""Several data sets mixed by weight into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
import torch
from pydantic import Field, SerializeAsAny, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from torch import Tensor

from harness.config import DataConfig
from harness.data.augment import Draws
from harness.data.folds import Split as Samples
from harness.data.labels import LabelNames, label_names
from harness.registry import registry
from harness.specify import component
from harness.validation import Mistakes

Split = Literal["train", "validation"]
ALL = 10_000_000  # pictures of a split where a suite does not say
SOURCE = "source"


class MixtureConfig(DataConfig):
    """Several data sets mixed by weight."""

    name: Literal["mixture"] = "mixture"
    train_size: int = Field(default=ALL, ge=1, le=ALL)
    """Samples of an epoch; where it is left out, as many as the sources have together. A larger set begins
    with the smaller one, and a source that is used up begins anew."""
    validation_size: int = Field(default=ALL, ge=1, le=ALL)
    """Samples to validate on, at most; all there are where it is left out."""
    sources: tuple[SerializeAsAny[DataConfig], ...] = Field(min_length=1)
    """The data sets, each with its own settings; `size` is that of the mixture where a source does not
    say."""
    weights: tuple[float, ...] | None = None
    """How often each source is drawn, in proportion to the others; equally often where it is left out."""
    validation: Literal["all", "first"] = "all"
    """What is validated on: `all` sources, or the `first` alone."""
    seed: int = Field(default=0, ge=0)
    """Seed of the mixing, apart from the seed of training."""

    @field_validator("sources", mode="before")
    @classmethod
    def are_data_sets(cls, values: Any, info: ValidationInfo) -> Any:
        """Return the settings of every source, checked like those of a data set that stands alone."""
        if not isinstance(values, list | tuple):
            return values
        wrong: list[InitErrorDetails] = []
        found = []
        for index, value in enumerate(values):
            if isinstance(value, Mapping):
                given = {**({"size": info.data["size"]} if "size" in info.data else {}), **value}
                try:
                    value = component("data", given, ())
                except Mistakes as mistakes:
                    wrong += [
                        InitErrorDetails(
                            type=PydanticCustomError("value_error", "{error}", {"error": one.message}),
                            loc=(index, *one.path),
                            input=value,
                        )
                        for one in mistakes.mistakes
                    ]
            found.append(value)
        if wrong:
            raise ValidationError.from_exception_data("sources", wrong)
        return tuple(found)

    @model_validator(mode="after")
    def sources_fit(self) -> Self:
        """Refuse sources whose pictures differ in size or channels, and weights that are none."""
        for number, source in enumerate(self.sources, 1):
            if source.size != self.size:
                raise ValueError(f"source {number} has the size {source.size}, the mixture {self.size}")
            if (found := channels(source)) != (first := channels(self.sources[0])):
                message = (
                    f"the input of source {number} has {found[0]} channels, {found[1]} of them the picture"
                )
                raise ValueError(f"{message}; that of the first has {first[0]} and {first[1]}")
        if self.weights is not None:
            if len(self.weights) != len(self.sources):
                raise ValueError(f"{len(self.sources)} sources need as many weights, got {len(self.weights)}")
            if min(self.weights) <= 0:
                raise ValueError(
                    "weights should be greater than 0; leave out a source that is not to be drawn"
                )
        if self.train_size == ALL:
            object.__setattr__(
                self, "train_size", min(ALL, sum(source.train_size for source in self.sources))
            )
        validated = self.sources if self.validation == "all" else self.sources[:1]
        size = min(self.validation_size, sum(source.validation_size for source in validated))
        object.__setattr__(self, "validation_size", size)
        return self

    def parts(self) -> tuple[DataConfig, ...]:
        """Return the settings of the sources."""
        return self.sources

    def notes(self) -> tuple[str, ...]:
        """Return the notes of all sources."""
        return tuple(dict.fromkeys(note for source in self.sources for note in source.notes()))

    def names(self) -> tuple[str, ...]:
        """Return a name of every source: that of its data set, with a number where several have it."""
        total, seen = Counter(source.name for source in self.sources), Counter[str]()
        names = []
        for source in self.sources:
            seen[source.name] += 1
            names.append(source.name if total[source.name] == 1 else f"{source.name}_{seen[source.name]}")
        return tuple(names)


class MixedSplit:
    """The samples of one split: which source, and which sample of it, each one is."""

    def __init__(
        self,
        splits: Sequence[Samples],
        source: np.ndarray,
        place: np.ndarray,
        numbers: Mapping[str, list[Tensor]],
        shows_other: bool,
    ) -> None:
        """Take the splits of the sources.

        Args:
            splits: one of every source.
            source: of every sample, int64 [N].
            place: of every sample within its source, int64 [N].
            numbers: kind of label -> for every source the numbers that its own numbers become, int64.
            shows_other: whether batches hold `other`, zero where a source has none.
        """
        self._splits = splits
        self._source = source
        self._place = place
        self._numbers = numbers
        self._shows_other = shows_other

    def __len__(self) -> int:
        return len(self._source)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return the samples at `indices`; `index` counts them within the mixture.

        Raises:
            IndexError: an index is not in the split.
        """
        chosen = np.array(indices, dtype=np.int64)
        source, place = self._source[chosen], self._place[chosen]
        parts = {number: np.flatnonzero(source == number) for number in np.unique(source).tolist()}
        batches = {number: self._splits[number].batch(place[rows].tolist()) for number, rows in parts.items()}
        whole: dict[str, Tensor] = {}
        for number, rows in parts.items():
            for name, values in self._common(batches[number], number).items():
                if name not in whole:
                    whole[name] = torch.zeros(len(chosen), *values.shape[1:], dtype=values.dtype)
                whole[name][torch.from_numpy(rows)] = values
        if self._shows_other:  # a source may lack it: nothing else covers its pictures
            whole.setdefault("other", torch.zeros_like(whole["mask"]))
        return {**whole, SOURCE: torch.from_numpy(source), "index": torch.from_numpy(chosen)}

    def _common(self, batch: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
        """Return the pictures, and the labels that all sources have under the numbers of the mixture."""
        pictures = {name: values for name, values in batch.items() if values.dim() == 4}
        labels = {kind: numbers[number][batch[kind]] for kind, numbers in self._numbers.items()}
        return {**pictures, **labels}


class _DataSet(Protocol):
    palette: Tensor

    def split(self, name: Split) -> Samples: ...


class Mixture:
    """Samples of several data sets: sample i of training is a function of (config.seed, i), whatever the
    size.

    Which source it comes from is drawn by weight; each source gives its samples in their order, from the
    beginning again when they are used up. Labels of the kinds that all sources have are merged by their
    names; `source` is a further kind.
    """

    Config = MixtureConfig

    def __init__(self, config: MixtureConfig, cache: Path) -> None:
        """Make the sources, each of which keeps its own arrays in `cache`."""
        self.config = config
        self._sources: list[_DataSet] = [
            registry.load("data", source.name)(source, cache) for source in config.sources
        ]
        names = self.label_names(config)
        numbers = {kind: _renumbered(config, kind, names[kind]) for kind in names if kind != SOURCE}
        other = self.shows_other(config)
        training = [data.split("train") for data in self._sources]
        validation = [data.split("validation") for data in self._sources]
        drawn = training_places(config, [len(split) for split in training])
        shown = validation_places(config, [len(split) for split in validation])
        self._splits = {
            "train": MixedSplit(training, *drawn, numbers, other),
            "validation": MixedSplit(validation, *shown, numbers, other),
        }

    def split(self, name: Split) -> MixedSplit:
        """Return a split by its name, `train` or `validation`."""
        return self._splits[name]

    @staticmethod
    def label_names(config: MixtureConfig) -> dict[str, tuple[str, ...]]:
        """Return the names of the labels: of kinds that all sources have, in the order of the sources."""
        found = [_names_of(source) for source in config.sources]
        kinds = [kind for kind in found[0] if kind != SOURCE and all(kind in names for names in found)]
        merged = {
            kind: tuple(dict.fromkeys(name for names in found for name in names[kind])) for kind in kinds
        }
        return {**merged, SOURCE: config.names()}

    @staticmethod
    def picture_channels(config: MixtureConfig) -> int:
        """Return how many channels the input has without those of the mask."""
        return channels(config.sources[0])[1]

    @staticmethod
    def image_channels(config: MixtureConfig) -> int:
        """Return how many channels the input has: those of the picture and those of the mask."""
        return channels(config.sources[0])[0]

    @staticmethod
    def shows_other(config: MixtureConfig) -> bool:
        """Tell whether a source says where other shapes are."""
        asks = [getattr(registry.load("data", source.name), "shows_other", None) for source in config.sources]
        return any(ask is not None and ask(one) for ask, one in zip(asks, config.sources, strict=True))

    @property
    def palette(self) -> Tensor:
        """The colours in the order of their labels, sRGB float32 [K, 3]; each as the first source that has
        it."""
        colours: dict[str, Tensor] = {}
        for source, data in zip(self.config.sources, self._sources, strict=True):
            for name, colour in zip(_names_of(source)["colour"], data.palette, strict=True):
                colours.setdefault(name, colour)
        return torch.stack([colours[name] for name in self.label_names(self.config)["colour"]])


def training_places(config: MixtureConfig, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return source and place within it of every training sample, int64 [train_size] each.

    Args:
        config: of the mixture.
        sizes: of the training splits of the sources.
    """
    weights = np.cumsum(config.weights or [1.0] * len(sizes))
    numbers = Draws(np.arange(config.train_size), seed=config.seed, epoch=0, name="mixture").uniform()
    source = np.searchsorted(weights, numbers * weights[-1], side="right")
    place = np.zeros(config.train_size, dtype=np.int64)
    for number, size in enumerate(sizes):
        rows = np.flatnonzero(source == number)
        place[rows] = np.arange(len(rows)) % size
    return source.astype(np.int64), place


def validation_places(config: MixtureConfig, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return source and place of every validation sample: the sources in turn, in proportion to their
    sizes."""
    shown = list(sizes) if config.validation == "all" else [sizes[0]]
    source = np.repeat(np.arange(len(shown)), shown)
    place = np.concatenate([np.arange(size) for size in shown])
    share = (place + 0.5) / np.array(shown)[source]
    order = np.lexsort((source, share))[: config.validation_size]
    return source[order], place[order]


def channels(config: DataConfig) -> tuple[int, int]:
    """Return how many channels the input of a data set has, and how many of them are the picture."""
    data = registry.load("data", config.name)
    return int(data.image_channels(config)), int(data.picture_channels(config))


def _names_of(config: DataConfig) -> LabelNames:
    return label_names(registry.load("data", config.name), config)


def _renumbered(config: MixtureConfig, kind: str, merged: Sequence[str]) -> list[Tensor]:
    return [
        torch.tensor([merged.index(name) for name in _names_of(source)[kind]], dtype=torch.int64)
        for source in config.sources
    ]
