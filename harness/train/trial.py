"""One trial from its specification to its end; knows nothing of Ray, stores or suites."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.config import ZERO, TrialSpec
from harness.registry import registry
from harness.tasks.base import Task
from harness.train.determinism import make_deterministic
from harness.train.loop import Loop
from harness.train.probe import count_parameters, device_name, forward_flops, reset_peak_memory
from harness.train.processes import process_group
from harness.train.sink import Sink
from harness.train.strategy.base import Strategy
from harness.train.strategy.make import make_strategy


def run_trial(
    spec: TrialSpec,
    sink: Sink,
    *,
    cache: Path,
    threads: int,
    on_cpu: bool = True,
    processes: int = 1,
    keep: Sequence[str] = ("best", "last"),
) -> None:
    """Train a trial to its end, from the state that the sink names or from the start.

    With several processes each of them calls this, with RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and
    MASTER_PORT in the environment.

    Args:
        spec: what to train.
        sink: takes the results.
        cache: folder that data sets are kept in, shared by all trials of a machine.
        threads: that the trial computes with, in this process.
        on_cpu: whether it keeps off the GPUs that this process may see.
        processes: that take part, at most as many as the trial asks for; the effective batch stays.
        keep: which weights stay, of `best` and `last`.

    Raises:
        Interrupted: the sink asked to stop; the state is saved.
        TrialError: the trial cannot go on.
    """
    assert processes <= spec.world_size
    with process_group(processes, on_cpu=on_cpu, always=spec.strategy in ZERO):
        strategy = prepare(spec, threads=threads, on_cpu=on_cpu, processes=processes)
        device = strategy.accelerator.device
        task: Task = registry.load("task", spec.task).create(spec, cache=cache, device=device)
        parameters, trainable = count_parameters(task.model)
        flops = forward_flops(task.model, task.example_inputs())
        loop = Loop(spec, task, strategy, sink, keep=keep)
        sink.describe(
            parameters=parameters,
            trainable_parameters=trainable,
            forward_flops=flops,
            device=device_name(device),
            threads=threads,
            strategy=strategy.name,
            world_size=strategy.processes.size,
            effective_batch=loop.batch_size,
            precision=spec.train.precision,
            determinism=spec.train.determinism,
        )
        loop.run()


def prepare(spec: TrialSpec, *, threads: int, on_cpu: bool, processes: int = 1) -> Strategy:
    """Set up this process for a trial, from a clean state, and return what drives it.

    Raises:
        TrialError: what is in force is not what the trial asks for.
    """
    make_deterministic(spec.train.determinism, seed=spec.seed, threads=threads)
    strategy = make_strategy(spec, processes, on_cpu=on_cpu)
    reset_peak_memory(strategy.accelerator.device)
    return strategy
