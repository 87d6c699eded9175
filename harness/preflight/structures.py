"""Structures: what of a specification changes the model, the loss or a shape."""

from __future__ import annotations

from typing import Any

from harness.canonical import canonical_json
from harness.config import TrialSpec

WITHOUT_SHAPE = ("primary_metric", "schedule", "seed", "folds", "fold")
WITHOUT_SHAPE_IN_TRAIN = ("epochs", "batch_size", "accumulation", "clip_norm", "early_stopping")


def structure_key(spec: TrialSpec) -> str:
    """Return a text that two specifications share where they have the same model, loss and shapes.

    Of the numbers in optimizer and loss terms it matters only whether they are zero: a momentum of
    0.9 keeps as much as one of 0.8.
    """
    document = spec.model_dump(mode="json", exclude=set(WITHOUT_SHAPE))
    document["data"] = {
        key: value
        for key, value in document["data"].items()
        if key not in ("train_size", "validation_size", "version")
    }
    document["train"] = {
        key: value for key, value in document["train"].items() if key not in WITHOUT_SHAPE_IN_TRAIN
    }
    document["train"]["ema"] = bool(spec.train.ema)
    document["loss"] = {
        name: {key: value for key, value in term.items() if key != "weight"}
        for name, term in document["loss"].items()
    }
    document["optimizer"] = {key: _is_set(value) for key, value in document["optimizer"].items()}
    document["micro_batches"] = micro_batches(spec)
    return canonical_json(document)


def _is_set(value: Any) -> Any:
    return bool(value) if isinstance(value, (int, float)) else value


def train_size(spec: TrialSpec) -> int:
    """Return the samples that a trial trains on: of every k folds one is left out, the largest at most."""
    return spec.data.train_size - (-(-spec.data.train_size // spec.folds) if spec.folds else 0)


def micro_batches(spec: TrialSpec) -> list[int]:
    """Return the distinct numbers of samples that forward passes of a trial see, the usual one first.

    A training set smaller than a batch is one batch, and what accumulation does not divide leaves
    a smaller last part.
    """
    batch = max(1, min(spec.train.batch_size, train_size(spec)) // spec.world_size)
    size = max(1, batch // spec.train.accumulation)
    return [size, *([batch % size] if batch % size else [])]
