"""The processes that one trial spreads over: their shares of the work, and what they tell each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from harness.errors import TrialError

T = TypeVar("T")
CPU = torch.device("cpu")
ALONE_IN_ENVIRONMENT = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}


@dataclass(frozen=True)
class Processes:
    """All processes of a trial, as one of them sees them. Alone, nothing is sent anywhere.

    Every process calls each method but `share` at the same place: a call waits for all of them.
    """

    rank: int = 0
    """Of this process, from 0."""
    size: int = 1
    device: torch.device = CPU
    """That this process computes on, and that what is sent lies on."""

    @property
    def leads(self) -> bool:
        """Whether this process is the one that reports and writes."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's part of a sequence: in turn, one longer at most than another's."""
        quotient, rest = divmod(len(items), self.size)
        start = self.rank * quotient + min(self.rank, rest)
        return items[start : start + quotient + (self.rank < rest)]

    def sums(self, values: dict[str, float]) -> dict[str, float]:
        """Return the sum over the processes of each value, added up in float64."""
        if self.size == 1:
            return values
        total = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return dict(zip(values, total.tolist(), strict=True))

    def stacked(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all processes by rank, [size, ...]; they have one shape and type."""
        if self.size == 1:
            return tensor[None]
        tensors = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(tensors, tensor)
        return torch.stack(tensors)

    def largest(self, value: float) -> float:
        """Return the largest of the values of all processes."""
        if self.size == 1:
            return value
        most = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return float(most)

    def decided(self, value: int) -> int:
        """Return the value of the leading process, whatever this one's is."""
        if self.size == 1:
            return value
        decision = torch.tensor(value, dtype=torch.int64, device=self.device)
        dist.broadcast(decision, src=0)
        return int(decision)

    def told(self, value: T) -> T:
        """Return the value of the leading process, of any kind, whatever this one's is."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, device=self.device)
        return values[0]

    def gathered(self, value: T) -> list[T]:
        """Return the values of all processes by rank in the leading process, and none in the others."""
        if self.size == 1:
            return [value]
        values: list[T] | None = [value] * self.size if self.leads else None
        dist.gather_object(value, values, dst=0)
        return values or []

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.size > 1:
            dist.barrier()


ALONE = Processes()


@contextlib.contextmanager
def process_group(processes: int, *, on_cpu: bool, always: bool = False) -> Iterator[None]:
    """Let the processes of a trial meet, and part at the end.

    A group that is there already, as under Ray's TorchTrainer, is used and left.

    Args:
        processes: of the trial.
        on_cpu: whether they compute on the CPU (gloo) or each on a GPU (NCCL).
        always: whether a process on its own needs a group, too.

    Raises:
        TrialError: the environment does not say where to meet, or there is a group of another size.
    """
    if dist.is_initialized() or (processes == 1 and not always):
        if dist.is_initialized() and dist.get_world_size() != processes:
            raise TrialError(f"expected a group of {processes} process(es), found {dist.get_world_size()}")
        yield
        return
    backend = "gloo" if on_cpu else "nccl"
    before = dict(os.environ)
    if processes == 1:
        os.environ.update(ALONE_IN_ENVIRONMENT)  # DeepSpeed asks for it
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    else:
        _require_meeting_point(processes)
        dist.init_process_group(backend)
    try:
        yield
    finally:
        dist.destroy_process_group()
        for name in ALONE_IN_ENVIRONMENT.keys() - before.keys():
            os.environ.pop(name)


def _require_meeting_point(processes: int) -> None:
    needed = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in needed if name not in os.environ]
    if missing:
        raise TrialError(
            f"a trial of {processes} processes needs {', '.join(missing)} in the environment, "
            "as torchrun and both executors set it"
        )
    if int(os.environ["WORLD_SIZE"]) != processes:
        raise TrialError(f"expected {processes} processes, WORLD_SIZE says {os.environ['WORLD_SIZE']}")
