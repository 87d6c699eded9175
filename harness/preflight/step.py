"""One small real step of a structure: data, augmentation, loss, gradient, optimizer, metrics."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.config import TrialSpec
from harness.document import Path_
from harness.preflight.facts import autocast
from harness.preflight.wording import batch_norm_message, blaming, refuse
from harness.registry import registry
from harness.tasks.base import Batch, Task
from harness.train.determinism import make_deterministic
from harness.train.ema import moving_average
from harness.train.isolation import undisturbed


def read_a_little(spec: TrialSpec, task: Task, samples: int) -> Batch:
    """Return a few augmented training samples.

    Raises:
        Mistakes: the first thing that is wrong with them.
    """
    with blaming(("data",), "the data cannot be read"):
        batch = task.train.batch(range(samples))
    _require_labels(task, batch)
    _require_shapes(("data",), type(task).example_batch(spec, samples), batch, "the data gives")
    with blaming(("train", "augment"), "augmentation fails"):
        augmented = task.augment(batch, epoch=1)
    _require_shapes(("train", "augment"), batch, augmented, "augmentation gives")
    return augmented


def train_a_little(spec: TrialSpec, task: Task, augmented: Batch, samples: int) -> None:
    """Take one optimizer step on real samples, and score it.

    Raises:
        Mistakes: the first thing that is wrong.
    """
    with undisturbed():
        make_deterministic(spec.train.determinism, seed=spec.seed, threads=1)
        model = task.model.train()
        with blaming(("optimizer",), "the optimizer cannot be built"):
            optimizer = registry.load("optimizer", spec.optimizer.name).build(
                spec.optimizer, model.parameters()
            )
        batch_norm = batch_norm_message(spec, samples)
        with blaming(("model",), "the model fails", batch_norm=batch_norm), autocast(spec):
            prediction = task.predict(model, augmented)
        _require_finite(("model",), "the output of the untrained model", prediction)
        with blaming(("loss",), "the loss fails"):
            total, terms = task.loss(prediction, augmented)
            for name, values in {"total": total, **terms}.items():
                _require_one_per_sample(("loss",), name, values, samples)
                _require_finite(("loss",), f"the loss '{name}' of the untrained model", values)
            (total.sum() / samples).backward()  # type: ignore[no-untyped-call]
        with blaming(("optimizer",), "a step of the optimizer fails"):
            optimizer.step()
        if spec.train.ema:
            moving_average(model, spec.train.ema).update_parameters(model)
        with blaming(("metrics",), "a metric fails"), torch.no_grad():
            for name, values in task.score(prediction.detach(), augmented).items():
                _require_one_per_sample(("metrics",), name, values, samples)


def _require_labels(task: Task, batch: Batch) -> None:
    for kind, values in task.labels(batch).items():
        known = len(task.label_names[kind])
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= known:
            wrong = low if low < 0 else high
            refuse(("data",), f"a sample has the {kind} {wrong}, there are {known}: 0 to {known - 1}")


def _require_shapes(path: Path_, expected: Batch, got: Batch, what: str) -> None:
    for name, tensor in expected.items():
        shape, found = tuple(tensor.shape), tuple(got[name].shape)
        if shape != found:
            refuse(path, f"{what} '{name}' the shape {found}, expected {shape}")


def _require_one_per_sample(path: Path_, name: str, values: Tensor, samples: int) -> None:
    if values.shape != (samples,):
        got = tuple(values.shape)
        refuse(path, f"'{name}' gives shape {got} for {samples} samples, expected ({samples},)")


def _require_finite(path: Path_, what: str, values: Tensor) -> None:
    if not bool(values.detach().isfinite().all()):
        refuse(path, f"{what} is not finite on real samples")
