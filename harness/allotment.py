"""What one attempt occupies while it runs, and what there is to place attempts on."""

from __future__ import annotations

import functools
import math
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.grammar import Resources
from harness.provenance import available_cpus

SAFETY = 1.25  # on expected memory: caches of the allocator, fragments, work space of kernels
CUDA_CONTEXT_BYTES = int(0.6 * 2**30)
"""GPU memory that a process takes beside its tensors. An assumption: 0.2 to 0.7 GiB are reported, by device
and by the kernels that are loaded."""
SHARES = 8  # a share of a GPU is a multiple of one over this
ROUNDING = 1e-6  # three thirds of a GPU are one
GPU_QUERY = ("nvidia-smi", "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits")
QUERY_SECONDS = 20.0
MODEL = re.compile(r"\w+ ((?:[A-Z]+ )*[A-Z]*\d[A-Z0-9]*)")
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True)
class Allotment:
    """What one attempt occupies: each of its processes takes the amounts below."""

    processes: int = 1
    cpus: int = 1
    """CPUs of one process, and threads that it computes with."""
    gpus: float = 0.0
    """GPUs of one process; a fraction shares one. With 0 it computes on the CPU whatever the machine has."""
    memory_bytes: int | None = None
    """Main memory of one process; none asks for no particular amount."""
    accelerator: str | None = None
    """Model of the GPU as Ray calls it, such as `A100`; none for any."""
    node: dict[str, str] = field(default_factory=dict)
    """Labels that the machine must have."""

    @property
    def all_cpus(self) -> int:
        """CPUs over all processes."""
        return self.processes * self.cpus

    @property
    def all_gpus(self) -> float:
        """GPUs over all processes."""
        return self.processes * self.gpus

    def __str__(self) -> str:
        """Return "2 processes of 4 CPUs, 1 GPU and 8.0 GiB"."""
        return f"{self.processes} processes of {self.of_one}" if self.processes > 1 else self.of_one

    @property
    def of_one(self) -> str:
        """What one process takes, in words."""
        parts = [_counted(self.cpus, "CPU")]
        if self.gpus:
            parts.append(_counted(self.gpus, self.accelerator or "GPU"))
        if self.memory_bytes is not None:
            parts.append(f"{self.memory_bytes / 2**30:.1f} GiB")
        parts += [f"{name}={value}" for name, value in self.node.items()]
        return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _counted(amount: float, what: str) -> str:
    return f"{amount:g} {what}" if amount == 1 or 0 < amount < 1 else f"{amount:g} {what}s"


@dataclass(frozen=True)
class Machine:
    """What attempts can be placed on: one machine, or all nodes of a cluster together."""

    cpus: int
    gpus: int = 0
    gpu_memory_bytes: int | None = None
    """Memory of one GPU, of the smallest where they differ; none where it is not known."""
    memory_bytes: int | None = None
    """Main memory, over all nodes; none where it is not known."""
    accelerators: tuple[str, ...] = ()
    """Models of the GPUs as Ray calls them, such as `A100`, each once."""


def this_machine(cpus: int | None = None) -> Machine:
    """Return what this process may use here; GPUs are those of Nvidia that CUDA_VISIBLE_DEVICES leaves.

    torch is not imported and no GPU is touched.

    Args:
        cpus: CPUs to use; all that this process may use when none.
    """
    gpus = _visible(_installed_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    known = [gpu.memory_bytes for gpu in gpus if gpu.memory_bytes is not None]
    return Machine(
        cpus=cpus or available_cpus(),
        gpus=len(gpus),
        gpu_memory_bytes=min(known) if known and len(known) == len(gpus) else None,
        memory_bytes=main_memory_bytes(),
        accelerators=tuple(dict.fromkeys(model_of(gpu.name) for gpu in gpus)),
    )


def main_memory_bytes() -> int:
    """Return the main memory that this process may use: that of the machine, or what its cgroup allows."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([installed, *_cgroup_limits()])


def _cgroup_limits() -> Iterator[int]:
    for file in CGROUP_LIMITS:
        if file.exists() and (text := file.read_text().strip()).isdigit():  # "max" for no limit
            yield int(text)


@dataclass(frozen=True)
class _Gpu:
    index: str
    uuid: str
    name: str
    memory_bytes: int | None


@functools.cache
def _installed_gpus() -> tuple[_Gpu, ...]:
    """Return the GPUs of Nvidia in this machine; none where its driver is not there or does not answer."""
    try:
        result = subprocess.run(GPU_QUERY, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(parse_gpus(result.stdout)) if result.returncode == 0 else ()


def parse_gpus(printed: str) -> list[_Gpu]:
    """Return what `nvidia-smi` says of the GPUs: index, identity, name, MiB of memory, one line each."""
    rows = [[part.strip() for part in line.split(",")] for line in printed.splitlines() if line.strip()]
    return [
        _Gpu(index, uuid, name, int(memory) * 2**20 if memory.isdigit() else None)  # "[N/A]" where shared
        for index, uuid, name, memory in rows
    ]


def _visible(gpus: Sequence[_Gpu], wanted: str | None) -> list[_Gpu]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names: CUDA stops at the first name that leads nowhere."""
    if wanted is None:
        return list(gpus)
    found: list[_Gpu] = []
    for name in (part.strip() for part in wanted.split(",")):
        if name.startswith("MIG-") and gpus:  # a part of a GPU, whose memory is not told here
            found.append(_Gpu(name, name, "MIG", None))
            continue
        named = [gpu for gpu in gpus if gpu.index == name or (name and gpu.uuid.startswith(name))]
        if not named:
            break
        found.append(named[0])
    return found


def model_of(name: str) -> str:
    """Return the model of a GPU as Ray calls it: "A100" of "NVIDIA A100-SXM4-80GB"."""
    found = MODEL.match(name)
    return (found[1] if found else name.removeprefix("NVIDIA ")).replace(" ", "-")


def on_gpu(resources: Resources, machine: Machine) -> bool:
    """Tell whether trials compute on GPUs: as the suite says, else where there are any."""
    return machine.gpus > 0 if resources.gpus is None else resources.gpus > 0


@dataclass(frozen=True)
class ExpectedMemory:
    """What one process of a trial is expected to need, in bytes; none where nothing is known."""

    gpu: int | None = None
    """On its GPU: the highest peak of like trials, else the tensors of one step."""
    main: int | None = None
    """In main memory, from like trials that ran on the CPU."""


def allot(
    resources: Resources, spec: Mapping[str, Any], machine: Machine, memory: ExpectedMemory
) -> Allotment:
    """Return what one trial is to occupy: what the suite gives, and by its expected memory what it does not.

    Args:
        resources: as the suite has them.
        spec: the trial, `TrialSpec` as JSON.
        machine: what there is.
        memory: of one process of the trial.

    Raises:
        HarnessError: several processes would have to share a GPU, or `fewest_processes` does not divide
            the micro-batch.
    """
    processes = int(spec["world_size"])
    _require_even(resources.fewest_processes, processes, spec)
    gpus = resources.gpus
    if gpus is None:
        gpus = _gpus_for(processes, machine, memory.gpu)
    elif processes > 1 and 0 < gpus < 1:
        raise HarnessError(
            f"resources.gpus: {gpus:g} is not for trials of {processes} processes, each of which needs a GPU "
            "of its own; give 1, or nothing"
        )
    main: int | None = resources.memory
    if main is None and memory.main is not None:
        # What ran here before fits, whatever is added for safety.
        main = min(math.ceil(memory.main * SAFETY), machine.memory_bytes or memory.main)
    return Allotment(
        processes=processes,
        cpus=resources.cpus,
        gpus=gpus,
        memory_bytes=main,
        accelerator=resources.accelerator,
        node=dict(resources.node),
    )


def _gpus_for(processes: int, machine: Machine, expected: int | None) -> float:
    if not machine.gpus:
        return 0.0
    if processes > 1 or expected is None or machine.gpu_memory_bytes is None:
        return 1.0
    return gpu_share(expected, machine.gpu_memory_bytes)


def gpu_share(expected: int, gpu_memory: int) -> float:
    """Return the part of a GPU that a trial needs: its memory with some safety, rounded up to an eighth.

    Args:
        expected: bytes of its tensors at the peak.
        gpu_memory: bytes of the GPU.
    """
    needed = (expected * SAFETY + CUDA_CONTEXT_BYTES) / gpu_memory
    return min(1.0, math.ceil(needed * SHARES) / SHARES)


def _micro_batch(spec: Mapping[str, Any]) -> int:
    """Return the samples of one forward pass, over all processes."""
    return int(spec["train"]["batch_size"]) // int(spec["train"]["accumulation"])


def _require_even(fewest: int | None, processes: int, spec: Mapping[str, Any]) -> None:
    samples = _micro_batch(spec)
    if fewest is not None and fewest < processes and samples % fewest:
        raise HarnessError(
            f"resources.fewest_processes: {fewest} processes do not split {samples} samples evenly "
            f"(batch_size over accumulation); use a divisor of {samples}"
        )


def smaller(
    allotment: Allotment, spec: Mapping[str, Any], fewest_processes: int | None
) -> tuple[Allotment, ...]:
    """Return an allotment, then the same with fewer and fewer processes, as far as an elastic trial may go.

    Only numbers of processes that split the micro-batch evenly are taken.
    """
    if fewest_processes is None:
        return (allotment,)
    micro_batch = _micro_batch(spec)
    fewer = range(allotment.processes - 1, fewest_processes - 1, -1)
    return (
        allotment,
        *(replace(allotment, processes=count) for count in fewer if micro_batch % count == 0),
    )


@dataclass(frozen=True)
class Placement:
    """Where one attempt has its place."""

    allotment: Allotment
    gpus: tuple[tuple[int, ...], ...] = ()
    """For each process the indices of its GPUs, counted from 0; empty on the CPU."""


class Room:
    """What is still free of one machine. A GPU is never given away beyond the whole of it."""

    def __init__(self, machine: Machine) -> None:
        self.cpus = machine.cpus
        self.memory_bytes = machine.memory_bytes
        self.gpus = [1.0] * machine.gpus
        """Free part of each GPU."""

    def place(self, allotment: Allotment) -> Placement | None:
        """Occupy what an attempt needs; none, and nothing changed, where there is no room for it."""
        memory = allotment.processes * (allotment.memory_bytes or 0)
        if allotment.all_cpus > self.cpus:
            return None
        if self.memory_bytes is not None and memory > self.memory_bytes:
            return None
        free = list(self.gpus)
        taken: list[tuple[int, ...]] = []
        for _ in range(allotment.processes if allotment.gpus else 0):
            devices = _devices(free, allotment.gpus)
            if devices is None:
                return None
            taken.append(devices)
        self.gpus = free
        self.cpus -= allotment.all_cpus
        if self.memory_bytes is not None:
            self.memory_bytes -= memory
        return Placement(allotment, tuple(taken))

    def free(self, placement: Placement) -> None:
        """Give back what an attempt occupied."""
        allotment = placement.allotment
        self.cpus += allotment.all_cpus
        if self.memory_bytes is not None:
            self.memory_bytes += allotment.processes * (allotment.memory_bytes or 0)
        for devices in placement.gpus:
            for device in devices:
                self.gpus[device] += min(allotment.gpus, 1.0)


def _devices(free: list[float], gpus: float) -> tuple[int, ...] | None:
    """Take the GPUs of one process out of what is free; a share goes to the fullest one that has it."""
    chosen: tuple[int, ...]
    if gpus < 1:
        fitting = [index for index, left in enumerate(free) if left >= gpus - ROUNDING]
        if not fitting:
            return None
        chosen = (min(fitting, key=lambda index: (free[index], index)),)
    else:
        whole = [index for index, left in enumerate(free) if left >= 1 - ROUNDING]
        chosen = tuple(whole[: round(gpus)])
        if len(chosen) < gpus:
            return None
    for index in chosen:
        free[index] -= min(gpus, 1.0)
    return chosen


def largest_that_fits(options: Sequence[Allotment], machine: Machine) -> Allotment:
    """Return the first of them that an empty machine has room for, or the first where it has for none."""
    return next((one for one in options if Room(machine).place(one) is not None), options[0])


def at_once(allotments: Sequence[Allotment], machine: Machine) -> int:
    """Return how many of these trials run at once, begun in this order and over again; at least one."""
    room = Room(machine)
    count = 0
    while allotments and room.place(allotments[count % len(allotments)]) is not None:
        count += 1
    return max(1, count)
