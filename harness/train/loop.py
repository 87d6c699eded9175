"""The training loop: epochs of steps, each epoch validated, reported and saved.

It is driven by Accelerate and knows nothing of schedulers, stores or suites.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from harness.config import TrialSpec
from harness.errors import NonFiniteLossError, TrialError
from harness.registry import registry
from harness.tasks.base import Batch, Samples, Task
from harness.train.checkpoint import (
    BEST,
    TrialState,
    copy_file,
    delete_older,
    draw_anew,
    save_weights,
    writing,
)
from harness.train.ema import moving_average
from harness.train.evaluate import Evaluation, evaluate
from harness.train.images import Columns, joined, worst_places, written_out
from harness.train.probe import measure_latency, peak_memory_bytes
from harness.train.progress import Progress
from harness.train.sampler import (
    EpochBatches,
    label_counts,
    micro_batches,
    steps_per_epoch,
    training_labels,
)
from harness.train.schedule import Watched
from harness.train.sink import Row, Sink
from harness.train.strategy.base import Strategy, Weights, one_by_one

SAVE_SECONDS = 60.0  # the most work that a lost process costs, besides the step under way
MOST_SKIPPED = 25  # steps in a row that change nothing: the scale has fallen to a 2^25th, and it was not that
WORST = 8  # pictures of the images that the trained model does worst on
GO_ON, SAVE, STOP = range(3)


class Interrupted(Exception):  # noqa: N818  (not an error: the trial was asked to stop and has saved its state)
    """The trial wrote its state and ended before its last epoch."""


class Loop:
    """Trains one trial from its state to its end, as one of its processes.

    All processes take the same steps and the same decisions. Each computes with its share of every
    micro-batch; the first one reports and writes.
    """

    def __init__(
        self,
        spec: TrialSpec,
        task: Task,
        strategy: Strategy,
        sink: Sink,
        *,
        keep: Sequence[str] = ("best", "last"),
    ) -> None:
        self.spec = spec
        self.task = task
        self.strategy = strategy
        self.processes = strategy.processes
        self.accelerator = strategy.accelerator
        self.sink = sink
        self.keep = keep
        self.steps = steps_per_epoch(len(task.train), spec.train.batch_size)
        self.batch_size = min(spec.train.batch_size, len(task.train))
        self.shares = shares(self.batch_size, spec.train.accumulation, strategy)
        self.labels = training_labels(task, spec.train.balance) if spec.train.balance else None
        self._prepare()
        self.schedule = registry.load("schedule", spec.schedule.name)(
            spec.schedule, total_steps=self.steps * spec.train.epochs
        )
        self.saved_at = time.monotonic()

    def _prepare(self) -> None:
        spec, model = self.spec, self.task.model
        kind = registry.load("optimizer", spec.optimizer.name)
        if self.strategy.channels_last:
            model = model.to(memory_format=torch.channels_last)
        self.strategy.prepare(
            model,
            lambda parameters: kind.build(spec.optimizer, parameters),
            micro_batches=len(self.shares),
            example=self.task.example_inputs(),
        )
        self.model, self.optimizer = self.strategy.model, self.strategy.optimizer
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        average = moving_average(model, spec.train.ema) if spec.train.ema else None
        self.state = TrialState(self.strategy, average, Progress())
        if not self.processes.leads:
            # Dropout is to differ between the samples of one batch.
            draw_anew(spec.seed, 0, self.processes.rank)

    @property
    def evaluated(self) -> torch.nn.Module:
        """The model that is validated, shown and kept: the average where there is one."""
        average = self.state.average
        return average.module if average is not None else self.strategy.module

    def run(self) -> None:
        """Train from where the state stands to the last epoch.

        Raises:
            Interrupted: the sink asked to stop; the state is saved.
            NonFiniteLossError: the loss or its gradient became NaN or infinite.
            TrialError: the state to go on from is that of another model.
        """
        if self.sink.resume_from is not None:
            self._go_on(self.sink.resume_from)
        else:
            self._show_fixed_pictures()
        self._follow()
        progress = self.state.progress
        while not progress.finished:
            self._train_epoch()
            self._finish_epoch()
            progress = self.state.progress
        self._keep_weights("last", progress.epoch - 1)

    def _go_on(self, state: Path) -> None:
        restored = self.state.load(state)
        if not restored:
            self.sink.describe(determinism=f"{self.spec.train.determinism}, random states drawn anew")
        if self.processes.leads:
            self._adopt_best(state)

    def _train_epoch(self) -> None:
        progress = self.state.progress
        self.model.train()
        for batch in self.batches():
            started = time.perf_counter()
            sums = self.step(batch)
            progress.epoch_seconds += time.perf_counter() - started
            progress.batch += 1
            progress.step += 1
            progress.samples += self.batch_size
            if not math.isfinite(sums["loss"]):
                progress.unmeasured += self.batch_size
                sums = {}
            for name, value in sums.items():
                progress.loss_sums[name] = progress.loss_sums.get(name, 0.0) + value
            self.sink.progressed()
            self._save_if_due()

    def batches(self) -> Iterator[Batch]:
        """Yield this process's share of the batches of this epoch that are not done yet, augmented, on
        the device."""
        progress = self.state.progress
        sampler = EpochBatches(
            len(self.task.train),
            self.spec.train.batch_size,
            seed=self.spec.seed,
            epoch=progress.epoch,
            start=progress.batch,
            labels=self.labels,
            places=list(chain.from_iterable(self.shares)),
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

        Args:
            batch: this process's share of it, as `batches` gives it.

        Returns:
            Sums over the whole batch of the weighted total, "loss", and of the unweighted terms,
            "loss/<term>".

        Raises:
            NonFiniteLossError: the loss or its gradient is NaN or infinite; the weights are as before. In
                `fp16` only after many such steps in a row.
        """
        rate = self.schedule.factor(self.state.progress.step)
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * rate
        self.strategy.zero_grad()
        sums: dict[str, float] = {}
        progress = self.state.progress
        for number, micro in enumerate(_split(batch, self.shares), start=1):
            with self.strategy.forward(last=number == len(self.shares)):
                prediction = self.task.predict(self.model, micro)
            total, terms = self.task.loss(prediction, micro)
            values = {"loss": total, **{f"loss/{term}": terms[term] for term in terms}}
            own = {name: float(value.detach().double().sum()) for name, value in values.items()}
            for name, value in self.processes.sums(own).items():
                sums[name] = sums.get(name, 0.0) + value
            if not math.isfinite(sums["loss"]) and not self.strategy.scales:
                message = f"the loss is {sums['loss']} at step {progress.step} of epoch {progress.epoch}"
                raise NonFiniteLossError(message, self._evidence(batch, sums, None))
            # The mean over the processes of these gradients is that of the mean over the whole batch.
            self.strategy.backward(total.sum() * self.processes.size / self.batch_size)
        norm = self.strategy.step()
        if not math.isfinite(norm):
            self._skip(batch, sums, norm)
            return sums
        progress.skipped_in_a_row = 0
        if self.state.average is not None:
            self.state.average.update_parameters(self.strategy.module)
        return sums

    def _skip(self, batch: Batch, sums: dict[str, float], norm: float) -> None:
        """Count a step that changed nothing, where the strategy scales the loss; else it is an error."""
        progress = self.state.progress
        progress.skipped += 1
        progress.skipped_in_a_row += 1
        if self.strategy.scales and progress.skipped_in_a_row < MOST_SKIPPED:
            return
        message = f"the gradient norm is {norm} at step {progress.step} of epoch {progress.epoch}"
        if self.strategy.scales:
            message += (
                f", the {MOST_SKIPPED}th step in a row that fp16 leaves out (loss {sums['loss']}); "
                "use precision bf16 or fp32, or a lower learning rate"
            )
        raise NonFiniteLossError(message, self._evidence(batch, sums, norm))

    def _evidence(self, batch: Batch, sums: dict[str, float], norm: float | None) -> dict[str, object]:
        """Return what is needed to look into a non-finite loss; numbers as text, since JSON has no NaN."""
        indices = self.processes.gathered(batch["index"].tolist())
        weights = self.strategy.whole_weights()
        names = [name for name, _ in self.strategy.module.named_parameters() if name in weights]
        norms = {name: float(weights[name].norm()) for name in names}
        largest = dict(sorted(norms.items(), key=lambda item: -item[1])[:5])
        return {
            "epoch": self.state.progress.epoch,
            "step": self.state.progress.step,
            "batch": list(chain.from_iterable(indices)),
            "loss_sums": {name: str(value) for name, value in sums.items()},
            "gradient_norm": None if norm is None else str(norm),
            "largest_weight_norms": {name: str(value) for name, value in largest.items()},
        }

    def _save_if_due(self) -> None:
        due = self.processes.decided(self._wish() if self.processes.leads else GO_ON)
        if due != GO_ON:
            self._save()
        if due == STOP:
            raise Interrupted

    def _wish(self) -> int:
        if self.sink.stop_requested():
            return STOP
        return SAVE if time.monotonic() - self.saved_at > SAVE_SECONDS else GO_ON

    def _save(self) -> None:
        """Write the state; the ones before it go only when it is safe, so that the only copy never does."""
        best = self.sink.folder / BEST if "best" in self.keep else None
        saved = self.state.save(self.sink.folder / "state", best)
        if saved is not None:
            self.sink.state_saved(saved)
            delete_older(saved)
        self.saved_at = time.monotonic()

    def _finish_epoch(self) -> None:
        """Validate, keep the best weights, report, and save the state that the next epoch begins with."""
        progress = self.state.progress
        epoch = progress.epoch
        started = time.perf_counter()
        evaluation = evaluate(
            self.task, self.evaluated, self.accelerator, self.processes, progressed=self.sink.progressed
        )
        validation_seconds = time.perf_counter() - started
        self._note_best(evaluation)
        self._remember(evaluation)
        self._show_prediction()
        following = self._next(progress)
        if following.finished:
            self._keep_images(evaluation.images)
        costs = self._cost_rows(validation_seconds)
        if self.processes.leads:
            self.sink.report(
                epoch,
                metrics=[
                    *self._training_rows(),
                    *(self._sample_rows() if following.finished else ()),
                    *evaluation.rows(epoch, progress.step),
                ],
                costs=[*costs, *(self._latency_rows() if following.finished else ())],
            )
        self.state.progress = following
        self._save()

    def _next(self, progress: Progress) -> Progress:
        """Return the progress that the next epoch begins with."""
        patience = self.spec.train.early_stopping
        stale = progress.epoch - progress.best_epoch
        finished = progress.epoch >= self.spec.train.epochs or (patience is not None and stale >= patience)
        finished = bool(self.processes.decided(finished))
        return Progress(
            epoch=progress.epoch + 1,
            step=progress.step,
            best=progress.best,
            best_epoch=progress.best_epoch,
            past=progress.past,
            skipped_in_a_row=progress.skipped_in_a_row,
            finished=finished,
        )

    def _remember(self, evaluation: Evaluation) -> None:
        """Keep what a schedule may follow, and let it do so."""
        found = {"loss": evaluation.value("loss"), "primary": evaluation.value(self.spec.primary_metric)}
        for name, value in self.processes.told(found).items():
            self.state.progress.past.setdefault(name, []).append(value)
        self._follow()

    def _follow(self) -> None:
        follow = getattr(self.schedule, "follow", None)  # a schedule from elsewhere may have none
        if follow is None:
            return
        primary = self.task.metric_infos(self.spec)[self.spec.primary_metric]
        past = self.state.progress.past
        follow(
            {
                "loss": Watched(past.get("loss", []), "lower"),
                "primary": Watched(past.get("primary", []), primary.direction),
            }
        )

    def _note_best(self, evaluation: Evaluation) -> None:
        progress = self.state.progress
        value = evaluation.value(self.spec.primary_metric)
        info = self.task.metric_infos(self.spec)[self.spec.primary_metric]
        better = progress.best is None or info.improvement(value - progress.best) > 0
        if self.processes.decided(better):
            progress.best, progress.best_epoch = value, progress.epoch
            self._keep_weights("best", progress.epoch)

    def _keep_weights(self, name: str, epoch: int) -> None:
        if name not in self.keep:
            return
        weights = self._evaluated_weights()
        if self.processes.leads:
            path = self.sink.folder / f"{name}.safetensors"
            save_weights(weights, path)
            self.sink.weights(name, epoch, path)

    def _evaluated_weights(self) -> Weights:
        average = self.state.average
        if average is None:
            return self.strategy.whole_weights()
        return one_by_one(average.module.state_dict()) if self.processes.leads else {}

    def _adopt_best(self, state: Path) -> None:
        """Take over the best weights of the attempt that this one goes on from."""
        # The first form of states had them beside it.
        places = (state / BEST, state.parent.parent / BEST)
        before = next((path for path in places if path.exists()), None)
        target = self.sink.folder / BEST
        if before is None or "best" not in self.keep:
            return
        if before != target:
            with writing(target):
                target.unlink(missing_ok=True)
                copy_file(before, target)
        self.sink.weights("best", self.state.progress.best_epoch, target)

    def _show_fixed_pictures(self) -> None:
        for name, png in self.task.fixed_pictures().items() if self.processes.leads else ():
            self.sink.picture(name, None, png)

    def _show_prediction(self) -> None:
        """Show what the model predicts now; the leading process alone where it can without the others."""
        if not (self.processes.leads or self.strategy.gathers):
            return
        prediction, _ = self._predict(self.task.sample_indices)
        if self.processes.leads:
            self.sink.picture("prediction", self.state.progress.epoch, self.task.picture(prediction))

    def _predict(self, places: Sequence[int]) -> tuple[Tensor, Batch]:
        """Return what the model predicts now for these places of the validation split, and their batch."""
        batch = self.task.validation.batch(places)
        moved = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
        self.evaluated.eval()
        with torch.no_grad(), self.accelerator.autocast():
            return self.task.predict(self.evaluated, moved), moved

    def _keep_images(self, share: Columns) -> None:
        """Hand the table of all images over, and show those that are worst in the primary metric."""
        parts = self.processes.gathered(share)
        places: list[int] = []
        epoch = self.state.progress.epoch
        if self.processes.leads:
            columns = joined(parts)
            self.sink.images(epoch, written_out(columns, self.task.label_names))
            info = self.task.metric_infos(self.spec)[self.spec.primary_metric]
            places = worst_places(columns, info, WORST)
        places = self.processes.told(places)
        if not places or not (self.processes.leads or self.strategy.gathers):
            return
        prediction, batch = self._predict(places)
        if self.processes.leads:
            self.sink.picture("worst", epoch, self.task.comparison(prediction, batch))

    def _training_rows(self) -> list[Row]:
        """Return the means over the samples whose loss was finite; no rows where none was."""
        progress = self.state.progress
        measured = progress.samples - progress.unmeasured
        return [
            {
                "epoch": progress.epoch,
                "step": progress.step,
                "split": "train",
                "metric": name,
                "label": None,
                "value": value / measured,
                "count": measured,
                "sd": None,  # the weights change from image to image
            }
            for name, value in progress.loss_sums.items()
        ]

    def _sample_rows(self) -> list[Row]:
        """Return how many training samples have each label, for what is said of rare ones."""
        progress = self.state.progress
        return [
            {
                "epoch": progress.epoch,
                "step": progress.step,
                "split": "train",
                "metric": "samples",
                "label": label,
                "value": float(count),
                "count": count,
                "sd": None,
            }
            for label, count in label_counts(self.task).items()
        ]

    def _cost_rows(self, validation_seconds: float) -> list[Row]:
        progress = self.state.progress
        peak = peak_memory_bytes(self.accelerator.device)
        values: dict[str, Any] = {
            "train_seconds": progress.epoch_seconds,
            "validation_seconds": validation_seconds,
            "images_per_second": progress.samples / progress.epoch_seconds,
            "peak_memory_bytes": None if peak is None else self.processes.largest(peak),
            "skipped_steps": progress.skipped if self.strategy.scales else None,
        }
        return [
            {"epoch": progress.epoch, "name": name, "value": float(value)}
            for name, value in values.items()
            if value is not None
        ]

    def _latency_rows(self) -> list[Row]:
        """Time the trained model on one image, as it is validated, where one process can alone."""
        if self.strategy.gathers:
            return []
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


def shares(batch_size: int, accumulation: int, strategy: Strategy) -> list[Sequence[int]]:
    """Return the places in a batch that this process computes with, for every micro-batch.

    Raises:
        TrialError: a micro-batch has fewer samples than there are processes.
    """
    whole = micro_batches(batch_size, accumulation)
    processes = strategy.processes.size
    if len(whole[-1]) < processes:
        raise TrialError(
            f"a micro-batch of {len(whole[-1])} sample(s) does not go round {processes} processes; "
            "raise batch_size or train_size, or lower accumulation or processes"
        )
    return [strategy.processes.share(places) for places in whole]


def _split(batch: Batch, shares: Sequence[Sequence[int]]) -> Iterator[Batch]:
    start = 0
    for share in shares:
        yield {name: values[start : start + len(share)] for name, values in batch.items()}
        start += len(share)
