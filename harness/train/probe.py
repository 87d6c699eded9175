"""What a model is and what a process takes: parameters, FLOPs, device, memory, pace, latency."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"
WARM_UP_PASSES = 3
MOST_PASSES = 40
PASSES_FOR_P95 = 20  # of fewer, the highest would be the 95th percentile
LATENCY_SECONDS = 0.4  # no further pass is begun after them


@dataclass(frozen=True)
class Pace:
    """How fast a trial goes on this machine."""

    step_seconds: float
    """Of one optimizer step: the median of those timed."""
    fast_step: float
    """Lower quartile of them."""
    slow_step: float
    """Upper quartile of them."""
    image_seconds: float
    """Of the validation of one image."""


@dataclass(frozen=True)
class Latency:
    """How long one forward pass takes, over some passes, in seconds."""

    median: float
    p95: float | None
    """95th percentile; none where fewer than 20 passes fit in the time."""


def measure_latency(forward: Callable[[], object], device: torch.device) -> Latency:
    """Time a forward pass without gradients, after some that warm up.

    At most 40 passes, none begun after 0.4 seconds but for the first two; a GPU is waited for.
    torch's random state is as before.

    Args:
        forward: makes one pass.
        device: that it computes on.
    """
    on_gpu = device.type == "cuda"
    times: list[float] = []
    deadline = time.perf_counter() + LATENCY_SECONDS
    with torch.no_grad(), torch.random.fork_rng(devices=[device] if on_gpu else []):
        while len(times) < WARM_UP_PASSES + MOST_PASSES:
            started = time.perf_counter()
            if len(times) > 1 and started > deadline:
                break
            forward()
            if on_gpu:
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started)
    timed = times[min(WARM_UP_PASSES, len(times) - 1) :]
    enough = len(timed) >= PASSES_FOR_P95
    p95 = statistics.quantiles(timed, n=20, method="inclusive")[-1] if enough else None
    return Latency(statistics.median(timed), p95)


def count_parameters(model: torch.nn.Module) -> tuple[int, int]:
    """Return the number of all parameters and of those that train.

    A model that reads what another network made of its conditions, once and for all, says in
    `frozen_elsewhere` how many parameters that one has: they count among all.
    """
    parameters = list(model.parameters())
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    elsewhere = int(getattr(model, "frozen_elsewhere", 0))
    return sum(parameter.numel() for parameter in parameters) + elsewhere, trainable


def forward_flops(model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> int:
    """Return the floating-point operations of one forward pass, a multiply-add counted as two."""
    was_training = model.training
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(**inputs)
    model.train(was_training)
    return int(counter.get_total_flops())


def device_name(device: torch.device) -> str:
    """Return the name of a device as its maker calls it, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak so far: a warm process must not record that of the trial before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR_REFS.exists():
        CLEAR_REFS.write_text(RESET_PEAK)


def peak_memory_bytes(device: torch.device) -> int | None:
    """Return the most memory taken since the last reset: the device's, or the process's on CPU.

    None where the system does not tell (anything but Linux, on CPU).
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if not STATUS.exists():
        return None
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
