"""What a model is and what a process takes: parameters, FLOPs, device, memory, pace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"


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


def count_parameters(model: torch.nn.Module) -> tuple[int, int]:
    """Return the number of all parameters and of those that train."""
    parameters = list(model.parameters())
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return sum(parameter.numel() for parameter in parameters), trainable


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
