"""Which samples make up which batch: a function of (seed, epoch) alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from harness.tasks.base import Task

CHUNK = 256  # samples read at a time


class EpochBatches(Sampler[list[int]]):
    """The batches of one epoch, from `start` on.

    The order is drawn from (seed, epoch), so that every variant of a suite sees the same samples
    in the same order, and a trial that goes on in the middle of an epoch sees the rest of it. A
    last, smaller batch is left out, unless it is the only one: steps of equal size keep batch
    statistics and weights of samples comparable.

    Without labels the order is a permutation: every sample once. With labels, int64 [size], an
    epoch is as long, but its samples are drawn with replacement, `class_balanced`. Of every batch it
    gives the samples at `places`, those that one of several processes computes with; none for all.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        labels: np.ndarray | None = None,
        places: Sequence[int] | None = None,
    ) -> None:
        assert labels is None or len(labels) == size
        self.size = size
        self.batch_size = min(batch_size, size)
        self.seed = seed
        self.epoch = epoch
        self.start = start
        self.labels = labels
        self.places = range(self.batch_size) if places is None else places

    def __len__(self) -> int:
        return steps_per_epoch(self.size, self.batch_size) - self.start

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        if self.labels is None:
            order = generator.permutation(self.size)
        else:
            order = class_balanced(self.labels, self.size, generator)
        for batch in range(self.start, self.start + len(self)):
            whole = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield whole[list(self.places)].tolist()


def class_balanced(labels: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw `count` indices into `labels`, int64, with replacement, every value equally often.

    Class-balanced sampling in the words of Kang et al., "Decoupling Representation and Classifier
    for Long-Tailed Recognition", ICLR 2020: first a value, uniformly among those that occur, then
    a sample, uniformly among those that have it. A sample of a rare value comes up often.
    """
    values, counts = np.unique(labels, return_counts=True)
    by_value = np.argsort(labels, kind="stable")
    first = np.cumsum(counts) - counts
    chosen = generator.integers(len(values), size=count)
    drawn: np.ndarray = by_value[first[chosen] + generator.integers(counts[chosen])]
    return drawn


def training_labels(task: Task, kind: str) -> np.ndarray:
    """Return the label of every training sample, int64 [N]; reads the whole split once."""
    size = len(task.train)
    batches = (task.train.batch(range(at, min(at + CHUNK, size))) for at in range(0, size, CHUNK))
    return np.concatenate([task.labels(batch)[kind].cpu().numpy() for batch in batches])


def label_counts(task: Task) -> dict[str, int]:
    """Return label such as "colour=red" -> training samples that have it; reads the whole split once."""
    size, counts = len(task.train), Counter[str]()
    for at in range(0, size, CHUNK):
        labels = task.labels(task.train.batch(range(at, min(at + CHUNK, size))))
        for kind, numbers in labels.items():
            counts.update(f"{kind}={task.label_names[kind][number]}" for number in numbers.tolist())
    return dict(counts)


def micro_batches(batch_size: int, accumulation: int) -> list[range]:
    """Return the places in a batch of every micro-batch, in order.

    All are of one size, but for a smaller last one where `accumulation` does not divide the batch.
    """
    size = max(1, batch_size // accumulation)
    return [range(start, min(start + size, batch_size)) for start in range(0, batch_size, size)]


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Return the number of optimizer steps that one pass over `size` samples takes."""
    return max(1, size // batch_size)
