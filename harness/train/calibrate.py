"""How long a trial takes here, from a few of its own steps.

As a program it reads a specification from standard input, times it on the GPU and prints the pace:
a driver must not touch a GPU itself, since the memory would be missing to its trials.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from harness.config import TrialSpec
from harness.errors import HarnessError
from harness.registry import registry
from harness.specify import respecify
from harness.tasks.base import Task
from harness.train.evaluate import evaluate
from harness.train.isolation import undisturbed
from harness.train.loop import Loop
from harness.train.probe import Pace
from harness.train.sink import DroppingSink
from harness.train.trial import prepare

STEPS = 3  # batches of data; the first step warms up and does not count where there is another
MOST_STEPS = 12
ALONE = {"strategy": "single", "world_size": 1, "offload": "none"}
APART_SECONDS = 120.0  # the most that a process of its own may take, imports included


def measure_pace(spec: TrialSpec, *, threads: int, on_cpu: bool, seconds: float) -> Pace:
    """Time a few steps and one small validation of a trial, on a handful of its data.

    Only the data set is smaller than the trial's own: model, loss, batch and picture size
    are as they will be. Of a trial of several processes one process's share is timed, without what they
    tell each other. This process's generators, threads and Accelerate are left as they were.

    Args:
        spec: the trial.
        threads: that it computes with.
        on_cpu: whether it keeps off the GPUs that this process may see.
        seconds: no further step is begun after them; the first one always is.
    """
    batch = spec.train.batch_size // spec.world_size
    few = {
        "train_size": min(batch * STEPS * (2 if spec.folds else 1), spec.data.train_size),
        "validation_size": min(batch, 32, spec.data.validation_size),
    }
    small = spec.model_copy(
        update={
            "data": spec.data.model_copy(update=few),
            "train": spec.train.model_copy(update={"batch_size": batch}),
            **ALONE,
        }
    )
    with (
        undisturbed(),
        _accelerate_left_clean(),
        tempfile.TemporaryDirectory(prefix="harness-pace-") as cache,
    ):
        strategy = prepare(small, threads=threads, on_cpu=on_cpu)
        accelerator = strategy.accelerator
        task: Task = registry.load("task", small.task).create(
            small, cache=Path(cache), device=accelerator.device
        )
        loop = Loop(small, task, strategy, DroppingSink(Path(cache)))
        steps = _time_steps(loop, accelerator, seconds)
        started = time.perf_counter()
        evaluate(task, loop.evaluated, accelerator)
        validation_seconds = time.perf_counter() - started
        fast, median, slow = (
            statistics.quantiles(steps, n=4, method="inclusive") if len(steps) > 1 else steps * 3
        )
        return Pace(
            step_seconds=median,
            fast_step=fast,
            slow_step=slow,
            image_seconds=validation_seconds / len(task.validation) / spec.world_size,
        )


def measure_pace_on_gpu(spec: TrialSpec, *, threads: int, seconds: float) -> Pace:
    """Time a trial on a GPU as `measure_pace` does, in a process of its own.

    Raises:
        HarnessError: there is no GPU on this machine, or the process failed.
    """
    if not torch.cuda.device_count():  # counts through NVML, without touching CUDA
        raise HarnessError("this machine has no GPU to time a step on")
    document = json.dumps({"spec": spec.model_dump(mode="json"), "threads": threads, "seconds": seconds})
    try:
        result = subprocess.run(
            [sys.executable, "-m", "harness.train.calibrate"],
            input=document,
            capture_output=True,
            text=True,
            timeout=APART_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise HarnessError(f"timing on the GPU took more than {APART_SECONDS:.0f} s") from None
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise HarnessError(f"timing on the GPU failed: {reason}")
    return Pace(**json.loads(result.stdout.splitlines()[-1]))


@contextlib.contextmanager
def _accelerate_left_clean() -> Iterator[None]:
    try:
        yield
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def _time_steps(loop: Loop, accelerator: Accelerator, seconds: float) -> list[float]:
    """Return the seconds of single steps, the first one left out where there are others."""
    loop.model.train()
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    epochs = itertools.chain.from_iterable(loop.batches() for _ in range(MOST_STEPS))
    started = time.perf_counter()
    for batch in epochs:
        loop.step(batch)
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        times.append(now - started)
        started = now
        if now >= deadline or len(times) >= MOST_STEPS:
            break
    return times[1:] or times


def _main() -> None:
    asked = json.load(sys.stdin)
    pace = measure_pace(
        respecify(asked["spec"]), threads=asked["threads"], on_cpu=False, seconds=asked["seconds"]
    )
    print(json.dumps(asdict(pace)))


if __name__ == "__main__":
    _main()
