"""How long a trial takes here, from a few of its own steps."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from harness.config import TrialSpec
from harness.registry import registry
from harness.tasks.base import Task
from harness.train.evaluate import evaluate
from harness.train.loop import Loop
from harness.train.trial import prepare

STEPS = 3  # the first one warms up, the fastest of the others counts


@dataclass(frozen=True)
class Pace:
    """Measured on this machine."""

    step_seconds: float
    """Of one optimizer step."""
    image_seconds: float
    """Of the validation of one image."""


def measure_pace(spec: TrialSpec, *, threads: int, on_cpu: bool) -> Pace:
    """Time a few steps and one small validation of a trial, on a handful of its data.

    Only the data set is smaller than the trial's own: model, loss, batch and picture size
    are as they will be.
    """
    batch = spec.train.batch_size
    few = {
        "train_size": min(batch * STEPS, spec.data.train_size),
        "validation_size": min(batch, 32, spec.data.validation_size),
    }
    small = spec.model_copy(update={"data": spec.data.model_copy(update=few)})
    accelerator = prepare(small, threads=threads, on_cpu=on_cpu)
    with tempfile.TemporaryDirectory(prefix="harness-pace-") as cache:
        task: Task = registry.load("task", small.task).create(
            small, cache=Path(cache), device=accelerator.device
        )
        loop = Loop(small, task, accelerator, _Nowhere(Path(cache)))
        step_seconds = _fastest_step(loop, accelerator)
        started = time.perf_counter()
        evaluate(task, loop.evaluated, accelerator)
        validation_seconds = time.perf_counter() - started
        return Pace(step_seconds, validation_seconds / len(task.validation))


def _fastest_step(loop: Loop, accelerator: Accelerator) -> float:
    loop.model.train()
    times: list[float] = []
    started = time.perf_counter()
    for batch in loop.batches():
        loop.step(batch)
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        times.append(now - started)
        started = now
    return min(times[1:] or times)


class _Nowhere:
    """A sink for a trial that nobody keeps."""

    resume_from = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def describe(self, **facts: Any) -> None:
        """Drop the facts."""

    def report(self, epoch: int, metrics: list[dict[str, Any]], costs: list[dict[str, Any]]) -> None:
        """Drop the rows."""

    def picture(self, name: str, epoch: int | None, png: bytes) -> None:
        """Drop the picture."""

    def weights(self, name: str, epoch: int, path: Path) -> None:
        """Drop the note."""

    def stop_requested(self) -> bool:
        """Never."""
        return False
