"""Validation: losses and metrics over a whole split, exact under any batch size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate import Accelerator

from harness.metrics.accumulate import LabelledMean, LabelledValue
from harness.tasks.base import Task
from harness.train.sink import Row

BATCH_SIZE = 64  # of evaluation; changes memory and speed, never a value


@dataclass(frozen=True)
class Evaluation:
    """Values of one evaluation, by metric."""

    values: dict[str, list[LabelledValue]]

    def value(self, metric: str) -> float:
        """Return the value over the whole split."""
        return next(item.value for item in self.values[metric] if item.label is None)

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


def evaluate(task: Task, model: torch.nn.Module, accelerator: Accelerator) -> Evaluation:
    """Return the losses and metrics of `model` over the validation split.

    Every process takes each `num_processes`-th batch; sums and counts are added up
    over the processes, so that no sample counts twice.
    """
    model.eval()
    means: dict[str, LabelledMean] = {}
    size = len(task.validation)
    starts = range(0, size, BATCH_SIZE)[accelerator.process_index :: accelerator.num_processes]
    with torch.no_grad():
        for start in starts:
            batch = task.validation.batch(range(start, min(start + BATCH_SIZE, size)))
            batch = {name: tensor.to(accelerator.device) for name, tensor in batch.items()}
            with accelerator.autocast():
                prediction = task.predict(model, batch)
            total, terms = task.loss(prediction, batch)
            values = {"loss": total, **{f"loss/{name}": term for name, term in terms.items()}}
            values |= task.score(prediction, batch)
            labels = task.labels(batch)
            for name, value in values.items():
                mean = means.setdefault(name, LabelledMean(task.label_names).to(accelerator.device))
                mean.update(value, labels)
    return Evaluation({name: mean.compute() for name, mean in means.items()})
