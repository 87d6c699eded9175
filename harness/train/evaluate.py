"""Validation: losses and metrics over a whole split, exact under any batch size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from harness.errors import TrialError
from harness.metrics.accumulate import LabelledMean, LabelledValue
from harness.tasks.base import Task
from harness.train.images import Columns, columns_of, joined
from harness.train.processes import ALONE, Processes
from harness.train.sink import Row

BATCH_SIZE = 64  # of evaluation; changes memory and speed, never a value


@dataclass(frozen=True)
class Evaluation:
    """Values of one evaluation, by metric."""

    values: dict[str, list[LabelledValue]]
    images: Columns
    """What was found of each image of this process's share."""

    def value(self, metric: str) -> float:
        """Return the value over the whole split.

        Raises:
            TrialError: the metric is defined for none of its images.
        """
        for item in self.values[metric]:
            if item.label is None:
                return item.value
        raise TrialError(
            f"{metric} is not defined for any validation image; see docs/metrics.md for what it needs"
        )

    def rows(self, epoch: int, step: int) -> list[Row]:
        """Return the rows of the store's table `metrics`."""
        return [
            {
                "epoch": epoch,
                "step": step,
                "split": "validation",
                "metric": metric,
                "label": item.label,
                "value": item.value,
                "count": item.count,
                "sd": item.sd,
            }
            for metric, items in self.values.items()
            for item in items
        ]


def evaluate(
    task: Task,
    model: torch.nn.Module,
    accelerator: Accelerator,
    processes: Processes = ALONE,
    *,
    progressed: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Return the losses and metrics of `model` over the validation split.

    The processes share every batch, and all of them make as many forward passes: one that has no
    sample of a batch passes its first one, which counts nowhere. Sums and counts are added up over
    the processes, so that no sample counts twice.

    Args:
        task: whose validation split it is.
        model: that predicts.
        accelerator: that drives the trial.
        processes: that take part; all of them call this.
        progressed: called after every batch.
    """
    model.eval()
    means: dict[str, LabelledMean] = {}
    images: list[Columns] = []
    size = len(task.validation)
    with torch.no_grad():
        for start in range(0, size, BATCH_SIZE):
            whole = range(start, min(start + BATCH_SIZE, size))
            share = processes.share(whole)
            batch = task.validation.batch(share or whole[:1])
            batch = {name: tensor.to(accelerator.device) for name, tensor in batch.items()}
            with accelerator.autocast():
                prediction = task.predict(model, batch)
            total, terms = task.loss(prediction, batch)
            values = {"loss": total, **{f"loss/{name}": term for name, term in terms.items()}}
            values |= task.score(prediction, batch)
            labels = {kind: numbers[: len(share)] for kind, numbers in task.labels(batch).items()}
            for name, value in values.items():
                mean = means.setdefault(name, LabelledMean(task.label_names, accelerator.device))
                mean.update(value[: len(share)], labels)
            found = task.found(prediction, batch)
            images.append(columns_of(share, batch["index"], labels, found, values))
            progressed()
    found_means = {name: mean.compute(processes.stacked(mean.moments)) for name, mean in means.items()}
    return Evaluation(found_means, joined(images))
