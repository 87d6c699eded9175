"""The training loop: epochs of steps, each epoch validated, reported and saved.

It is driven by Accelerate and knows nothing of schedulers, stores or suites.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from harness.config import TrialSpec
from harness.errors import NonFiniteLossError
from harness.registry import registry
from harness.tasks.base import Batch, Samples, Task
from harness.train.checkpoint import TrialState, load_weights, save_weights
from harness.train.ema import moving_average
from harness.train.evaluate import Evaluation, evaluate
from harness.train.probe import measure_latency, peak_memory_bytes
from harness.train.progress import Progress
from harness.train.sampler import EpochBatches, steps_per_epoch, training_labels
from harness.train.sink import Row, Sink

SAVE_SECONDS = 60.0  # the most work that a lost process costs, besides the step under way


class Interrupted(Exception):  # noqa: N818  (not an error: the trial was asked to stop and has saved its state)
    """The trial wrote its state and ended before its last epoch."""


class Loop:
    """Trains one trial from its state to its end."""

    def __init__(self, spec: TrialSpec, task: Task, accelerator: Accelerator, sink: Sink) -> None:
        self.spec = spec
        self.task = task
        self.accelerator = accelerator
        self.sink = sink
        self.steps = steps_per_epoch(len(task.train), spec.train.batch_size)
        self.labels = training_labels(task, spec.train.balance) if spec.train.balance else None
        model = task.model.to(memory_format=torch.channels_last)
        optimizer = registry.load("optimizer", spec.optimizer.name).build(spec.optimizer, model.parameters())
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.schedule = registry.load("schedule", spec.schedule.name)(
            spec.schedule, total_steps=self.steps * spec.train.epochs
        )
        average = moving_average(model, spec.train.ema) if spec.train.ema else None
        self.state = TrialState(model, optimizer, average, Progress())
        self.saved_at = time.monotonic()

    @property
    def evaluated(self) -> torch.nn.Module:
        """The model that is validated, shown and kept: the average where there is one."""
        average = self.state.average
        return average.module if average is not None else self.state.model

    def run(self) -> None:
        """Train from where the state stands to the last epoch.

        Raises:
            Interrupted: the sink asked to stop; the state is saved.
            NonFiniteLossError: the loss or its gradient became NaN or infinite.
        """
        if self.sink.resume_from is not None:
            self.state.load(self.sink.resume_from)
            self._adopt_best(self.sink.resume_from)
        else:
            self._show_fixed_pictures()
        progress = self.state.progress
        while not progress.finished:
            self._train_epoch()
            self._finish_epoch()
            progress = self.state.progress
        self._keep_weights("last", progress.epoch - 1)

    def _train_epoch(self) -> None:
        progress = self.state.progress
        self.model.train()
        for batch in self.batches():
            started = time.perf_counter()
            sums = self.step(batch)
            progress.epoch_seconds += time.perf_counter() - started
            progress.batch += 1
            progress.step += 1
            progress.samples += len(batch["index"])
            for name, value in sums.items():
                progress.loss_sums[name] = progress.loss_sums.get(name, 0.0) + value
            self._save_if_due()

    def batches(self) -> Iterator[Batch]:
        """Yield the batches of this epoch that are not done yet, augmented, on the device."""
        progress = self.state.progress
        sampler = EpochBatches(
            len(self.task.train),
            self.spec.train.batch_size,
            seed=self.spec.seed,
            epoch=progress.epoch,
            start=progress.batch,
            labels=self.labels,
        )
        # An own generator: the loader would draw from the global one, and so change what follows.
        loader: DataLoader[Batch] = DataLoader(
            _Batched(self.task.train), sampler=sampler, batch_size=None, generator=torch.Generator()
        )
        for batch in loader:
            augmented = self.task.augment(batch, epoch=progress.epoch)
            yield {name: tensor.to(self.accelerator.device) for name, tensor in augmented.items()}

    def step(self, batch: Batch) -> dict[str, float]:
        """Take one optimizer step on a batch, in as many micro-batches as the trial accumulates.

        Returns:
            Sums over the batch of the weighted total, "loss", and of the unweighted terms, "loss/<term>".

        Raises:
            NonFiniteLossError: the loss or its gradient is NaN or infinite; the weights are as before.
        """
        rate = self.schedule.factor(self.state.progress.step)
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * rate
        self.optimizer.zero_grad()
        size = len(batch["index"])
        sums: dict[str, float] = {}
        progress = self.state.progress
        for micro in _split(batch, self.spec.train.accumulation):
            with self.accelerator.autocast():
                prediction = self.task.predict(self.model, micro)
            total, terms = self.task.loss(prediction, micro)
            for name, values in {"loss": total, **{f"loss/{term}": terms[term] for term in terms}}.items():
                sums[name] = sums.get(name, 0.0) + float(values.detach().double().sum())
            if not math.isfinite(sums["loss"]):
                message = f"the loss is {sums['loss']} at step {progress.step} of epoch {progress.epoch}"
                raise NonFiniteLossError(message, self._evidence(batch, sums, None))
            self.accelerator.backward(total.sum() / size)
        norm = float(
            self.accelerator.clip_grad_norm_(
                self.model.parameters(), self.spec.train.clip_norm or float("inf")
            )
        )
        if not math.isfinite(norm):
            message = f"the gradient norm is {norm} at step {progress.step} of epoch {progress.epoch}"
            raise NonFiniteLossError(message, self._evidence(batch, sums, norm))
        self.optimizer.step()
        if self.state.average is not None:
            self.state.average.update_parameters(self.state.model)
        return sums

    def _evidence(self, batch: Batch, sums: dict[str, float], norm: float | None) -> dict[str, object]:
        """Return what is needed to look into a non-finite loss; numbers as text, since JSON has no NaN."""
        norms = {
            name: float(parameter.detach().norm()) for name, parameter in self.state.model.named_parameters()
        }
        largest = dict(sorted(norms.items(), key=lambda item: -item[1])[:5])
        return {
            "epoch": self.state.progress.epoch,
            "step": self.state.progress.step,
            "batch": batch["index"].tolist(),
            "loss_sums": {name: str(value) for name, value in sums.items()},
            "gradient_norm": None if norm is None else str(norm),
            "largest_weight_norms": {name: str(value) for name, value in largest.items()},
        }

    def _save_if_due(self) -> None:
        if self.sink.stop_requested():
            self._save()
            raise Interrupted
        if time.monotonic() - self.saved_at > SAVE_SECONDS:
            self._save()

    def _save(self) -> None:
        self.state.save(self.sink.folder / "state")
        self.saved_at = time.monotonic()

    def _finish_epoch(self) -> None:
        """Validate, keep the best weights, report, and save the state that the next epoch begins with."""
        progress = self.state.progress
        epoch = progress.epoch
        started = time.perf_counter()
        evaluation = evaluate(self.task, self.evaluated, self.accelerator)
        validation_seconds = time.perf_counter() - started
        self._note_best(evaluation)
        self.sink.picture("prediction", epoch, self._picture())
        following = self._next(progress)
        self.sink.report(
            epoch,
            metrics=[*self._training_rows(), *evaluation.rows(epoch, progress.step)],
            costs=[
                *self._cost_rows(validation_seconds),
                *(self._latency_rows() if following.finished else ()),
            ],
        )
        self.state.progress = following
        self._save()

    def _next(self, progress: Progress) -> Progress:
        """Return the progress that the next epoch begins with."""
        patience = self.spec.train.early_stopping
        stale = progress.epoch - progress.best_epoch
        finished = progress.epoch >= self.spec.train.epochs or (patience is not None and stale >= patience)
        return Progress(
            epoch=progress.epoch + 1,
            step=progress.step,
            best=progress.best,
            best_epoch=progress.best_epoch,
            finished=finished,
        )

    def _note_best(self, evaluation: Evaluation) -> None:
        progress = self.state.progress
        value = evaluation.value(self.spec.primary_metric)
        info = self.task.metric_infos(self.spec)[self.spec.primary_metric]
        if progress.best is None or info.improvement(value - progress.best) > 0:
            progress.best, progress.best_epoch = value, progress.epoch
            self._keep_weights("best", progress.epoch)

    def _keep_weights(self, name: str, epoch: int) -> None:
        path = self.sink.folder / f"{name}.safetensors"
        partial = path.with_suffix(".partial")
        self.sink.folder.mkdir(parents=True, exist_ok=True)
        save_weights(self.evaluated, partial)
        partial.replace(path)
        self.sink.weights(name, epoch, path)

    def _adopt_best(self, state: Path) -> None:
        """Take over the best weights of the attempt that this one goes on from."""
        before = state.parent.parent / "best.safetensors"
        if before.exists() and before.parent != self.sink.folder:
            kept = {name: tensor.clone() for name, tensor in self.evaluated.state_dict().items()}
            load_weights(self.evaluated, before, self.accelerator.device)
            self._keep_weights("best", self.state.progress.best_epoch)
            self.evaluated.load_state_dict(kept)

    def _show_fixed_pictures(self) -> None:
        for name, png in self.task.fixed_pictures().items():
            self.sink.picture(name, None, png)

    def _picture(self) -> bytes:
        batch = self.task.validation.batch(self.task.sample_indices)
        moved = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
        self.evaluated.eval()
        with torch.no_grad(), self.accelerator.autocast():
            return self.task.picture(self.task.predict(self.evaluated, moved))

    def _training_rows(self) -> list[Row]:
        progress = self.state.progress
        return [
            {
                "epoch": progress.epoch,
                "step": progress.step,
                "split": "train",
                "metric": name,
                "label": None,
                "value": value / progress.samples,
                "count": progress.samples,
                "sd": None,  # the weights change from image to image
            }
            for name, value in progress.loss_sums.items()
        ]

    def _cost_rows(self, validation_seconds: float) -> list[Row]:
        progress = self.state.progress
        values: dict[str, Any] = {
            "train_seconds": progress.epoch_seconds,
            "validation_seconds": validation_seconds,
            "images_per_second": progress.samples / progress.epoch_seconds,
            "peak_memory_bytes": peak_memory_bytes(self.accelerator.device),
        }
        return [
            {"epoch": progress.epoch, "name": name, "value": float(value)}
            for name, value in values.items()
            if value is not None
        ]

    def _latency_rows(self) -> list[Row]:
        """Time the trained model on one image, as it is validated."""
        device = self.accelerator.device
        one = {name: tensor.to(device) for name, tensor in self.task.validation.batch([0]).items()}
        self.evaluated.eval()

        def forward() -> None:
            with self.accelerator.autocast():
                self.task.predict(self.evaluated, one)

        latency = measure_latency(forward, device)
        values = {"latency_seconds": latency.median, "latency_p95_seconds": latency.p95}
        epoch = self.state.progress.epoch
        return [
            {"epoch": epoch, "name": name, "value": value}
            for name, value in values.items()
            if value is not None
        ]


class _Batched(torch.utils.data.Dataset[Batch]):
    """Lets a DataLoader ask for a whole batch at once."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, indices: Any) -> Batch:
        return self.samples.batch(indices)


def _split(batch: Batch, parts: int) -> Iterator[Batch]:
    size = max(1, len(batch["index"]) // parts)
    for start in range(0, len(batch["index"]), size):
        yield {name: values[start : start + size] for name, values in batch.items()}
