"""Memory of a trial: kept to its share of a GPU, and told whose fault it was where there is too little."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.allotment import CUDA_CONTEXT_BYTES, Allotment, main_memory_bytes
from harness.failures import FailureKind

FULL_BYTES = 256 * 2**20  # with less than that free a device is full: libraries need such work space
ROUNDED = 0.01  # by which sizes in messages are off, which have two decimals
UNITS = {unit: 1024**power for power, unit in enumerate(("bytes", "kib", "mib", "gib", "tib", "pib", "eib"))}
REQUEST = re.compile(
    r"(?:tried to allocate|unable to allocate|requested size:) +([\d.]+) +([kmgtpe]ib|bytes)", re.IGNORECASE
)
SIGNS = (
    "out of memory",  # torch on a GPU, CUDA itself, HIP
    "can't allocate memory",  # torch on the CPU
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)
BEYOND_SHARE = "would exceed per_process_memory_fraction limit"
MEMINFO = Path("/proc/meminfo")


def keep_to_share(allotment: Allotment) -> None:
    """Let this process take no more of its GPU than it was allotted, so that its neighbours keep theirs.

    Call it before every attempt, since a process stays for the next one. What CUDA takes for itself
    counts as a part of the share, though nothing holds it to that.
    """
    if not allotment.gpus:
        return
    import torch

    if torch.cuda.is_available():
        total = torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction(tensor_share(allotment.gpus, total))


def tensor_share(gpus: float, total_bytes: int) -> float:
    """Return the part of a GPU that is left for the tensors of a trial that was allotted `gpus` of it."""
    return 1.0 if gpus >= 1 else max(0.0, gpus - CUDA_CONTEXT_BYTES / total_bytes)


def is_memory_error(error: BaseException) -> bool:
    """Tell whether an exception says that memory was short, on a GPU or on the CPU."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def requested_bytes(message: str) -> int | None:
    """Return the bytes that could not be had, as a message names them; none where it does not."""
    found = REQUEST.search(message)
    return round(float(found[1]) * UNITS[found[2].lower()]) if found else None


def classify_memory_error(
    error: BaseException, *, allotted_bytes: int, own_bytes: int, free_bytes: int, total_bytes: int
) -> FailureKind:
    """Tell whether a trial ran out of its own memory, or others took what was meant for it.

    It is the trial's own fault where what it held and what it asked for is more than its share. It
    is a neighbour's where the trial kept to its share and the device was full all the same. Where
    there was room, too, memory was in pieces: its own fault again.

    Args:
        error: that was raised.
        allotted_bytes: share of the trial's process.
        own_bytes: what the process held then.
        free_bytes: what was free on the device then.
        total_bytes: of the device.
    """
    request = requested_bytes(str(error)) or 0
    share = min(allotted_bytes, total_bytes)
    if BEYOND_SHARE in str(error) or own_bytes + request > share * (1 - ROUNDED):
        return FailureKind.OUT_OF_MEMORY
    if free_bytes < max(request, FULL_BYTES):
        return FailureKind.NEIGHBOUR_OUT_OF_MEMORY
    return FailureKind.OUT_OF_MEMORY


def memory_failure(error: BaseException, allotment: Allotment) -> FailureKind | None:
    """Return what kind of failure an exception of this process is; none where it is not about memory.

    To be called in the process that raised it, before what it holds is freed.
    """
    if not is_memory_error(error):
        return None
    amounts = _of_gpu(allotment) if allotment.gpus else None
    if amounts is None or isinstance(error, MemoryError) or "CPU" in str(error):
        amounts = _of_main_memory(allotment)
    return classify_memory_error(error, **amounts)


def _of_gpu(allotment: Allotment) -> dict[str, int] | None:
    """Return the amounts on the GPU of this process; none where none can be told."""
    import torch

    if not torch.cuda.is_available():
        return None
    try:
        free, total = torch.cuda.mem_get_info()
        own = torch.cuda.memory_reserved() + CUDA_CONTEXT_BYTES
    except RuntimeError:  # so full that not even the question can be asked
        return None
    allotted = round(min(allotment.gpus, 1.0) * total)
    return {"allotted_bytes": allotted, "own_bytes": own, "free_bytes": free, "total_bytes": total}


def _of_main_memory(allotment: Allotment) -> dict[str, int]:
    total = main_memory_bytes()
    return {
        "allotted_bytes": allotment.memory_bytes or total,
        "own_bytes": _resident_bytes(),
        "free_bytes": _available_bytes(total),
        "total_bytes": total,
    }


def _resident_bytes() -> int:
    if sys.platform != "linux":
        return 0
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _available_bytes(total: int) -> int:
    """Return the main memory that could still be had; that of the machine where its system does not tell."""
    if not MEMINFO.exists():
        return total
    line = next(line for line in MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
    return min(total, int(line.split()[1]) * 1024)


def memory_advice(spec: Mapping[str, Any], allotment: Allotment) -> str:
    """Return what makes a trial need less memory, or gives it more, in one sentence part.

    Args:
        spec: the trial, `TrialSpec` as JSON.
        allotment: what it occupied.
    """
    return "it would need less with " + ", ".join(_knobs(spec, allotment))


def _knobs(spec: Mapping[str, Any], allotment: Allotment) -> Iterator[str]:
    train = spec["train"]
    batch, accumulation = int(train["batch_size"]), int(train["accumulation"])
    finer = next(
        (parts for parts in range(accumulation + 1, batch + 1) if batch % (parts * allotment.processes) == 0),
        None,
    )
    if finer is not None:
        yield f"train.accumulation {finer} (now {accumulation})"
    yield f"a smaller data.size (now {_size(spec['data']['size'])})"
    if train["precision"] == "fp32":
        yield "train.precision bf16" + " or fp16" * (spec["strategy"] in ("single", "ddp"))
    if spec["strategy"] in ("single", "ddp"):
        yield "a strategy that spreads it over processes (zero2, zero3, fsdp)"
    if 0 < allotment.gpus < 1:
        yield f"or a larger share of its GPU: resources.gpus (now {allotment.gpus:g})"
    elif not allotment.gpus:
        yield "or fewer trials at once: resources.memory, --cpus"


def _size(size: Any) -> str:
    return f"{size[0]}x{size[1]}" if isinstance(size, list | tuple) else f"{size}"
