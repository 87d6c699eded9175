"""One trial from its specification to its end; knows nothing of Ray, stores or suites."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator
from accelerate.state import AcceleratorState

from harness.config import TrialSpec
from harness.errors import TrialError
from harness.registry import registry
from harness.tasks.base import Task
from harness.train.determinism import make_deterministic
from harness.train.loop import Loop
from harness.train.probe import count_parameters, device_name, forward_flops, reset_peak_memory
from harness.train.sink import Sink

MIXED_PRECISION = {"fp32": "no", "bf16": "bf16"}


def run_trial(spec: TrialSpec, sink: Sink, *, cache: Path, threads: int, on_cpu: bool = True) -> None:
    """Train a trial to its end, from the state that the sink names or from the start.

    Args:
        spec: what to train.
        sink: takes the results.
        cache: folder that data sets are kept in, shared by all trials of a machine.
        threads: that the trial computes with.
        on_cpu: whether it keeps off the GPUs that this process may see.

    Raises:
        Interrupted: the sink asked to stop; the state is saved.
        TrialError: the trial cannot go on.
    """
    accelerator = prepare(spec, threads=threads, on_cpu=on_cpu)
    task: Task = registry.load("task", spec.task).create(spec, cache=cache, device=accelerator.device)
    parameters, trainable = count_parameters(task.model)
    sink.describe(
        parameters=parameters,
        trainable_parameters=trainable,
        forward_flops=forward_flops(task.model, task.example_inputs()),
        device=device_name(accelerator.device),
        threads=threads,
        strategy="single",
        world_size=accelerator.num_processes,
        precision=spec.train.precision,
        determinism=spec.train.determinism,
    )
    Loop(spec, task, accelerator, sink).run()


def prepare(spec: TrialSpec, *, threads: int, on_cpu: bool) -> Accelerator:
    """Set up this process for a trial, from a clean state, and return what drives it.

    Raises:
        TrialError: what is in force is not what the trial asks for.
    """
    # Accelerate keeps its state per process; a warm worker must not inherit that of the trial before.
    AcceleratorState._reset_state(reset_partial_state=True)
    make_deterministic(spec.train.determinism, seed=spec.seed, threads=threads)
    accelerator = Accelerator(cpu=on_cpu, mixed_precision=MIXED_PRECISION[spec.train.precision])
    _assert_in_force(spec, accelerator)
    reset_peak_memory(accelerator.device)
    return accelerator


def _assert_in_force(spec: TrialSpec, accelerator: Accelerator) -> None:
    """Refuse to train otherwise than asked: a silent fall-back would be judged as the thing itself."""
    if accelerator.num_processes != spec.world_size:
        raise TrialError(
            f"expected {spec.world_size} process(es), Accelerate has {accelerator.num_processes}; "
            "unset WORLD_SIZE and RANK, or start the trial with the strategy that it names"
        )
    asked = MIXED_PRECISION[spec.train.precision]
    if accelerator.mixed_precision != asked:
        raise TrialError(f"expected precision {asked}, Accelerate uses {accelerator.mixed_precision}")
