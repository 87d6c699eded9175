"""Which samples make up which batch: a function of (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochBatches(Sampler[list[int]]):
    """The batches of one epoch, from `start` on.

    The order is a permutation drawn from (seed, epoch), so that every variant of a
    suite sees the same samples in the same order, and a trial that goes on in the
    middle of an epoch sees the rest of it. A last, smaller batch is left out, unless
    it is the only one: steps of equal size keep batch statistics and weights of
    samples comparable.
    """

    def __init__(self, size: int, batch_size: int, *, seed: int, epoch: int, start: int = 0) -> None:
        self.size = size
        self.batch_size = min(batch_size, size)
        self.seed = seed
        self.epoch = epoch
        self.start = start

    def __len__(self) -> int:
        return steps_per_epoch(self.size, self.batch_size) - self.start

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(self.size)
        for batch in range(self.start, self.start + len(self)):
            yield order[batch * self.batch_size : (batch + 1) * self.batch_size].tolist()


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Return the number of optimizer steps that one pass over `size` samples takes."""
    return max(1, size // batch_size)
