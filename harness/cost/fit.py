"""Whether there is what trials need: room for what they are to occupy, and memory for what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.allotment import CUDA_CONTEXT_BYTES, Allotment, ExpectedMemory, Machine, Room

if TYPE_CHECKING:
    from harness.preflight.facts import Facts

GIB = 2**30
MOST_NAMES = 6


def misfits(
    allotments: Mapping[str, Allotment],
    memory: Mapping[str, ExpectedMemory],
    facts: Mapping[str, Facts],
    machine: Machine,
) -> Iterator[str]:
    """Yield in words what the machine is too small for; all mappings are by variant."""
    homeless = [name for name, allotment in allotments.items() if Room(machine).place(allotment) is None]
    for text in dict.fromkeys(str(allotments[name]) for name in homeless):
        names = [name for name in homeless if str(allotments[name]) == text]
        yield f"no room here for {text}, asked for by {_listing(names)}; there {_what_there_is(machine)}"
    on_gpu = {name: need.gpu for name, need in memory.items() if allotments[name].gpus and need.gpu}
    if machine.gpu_memory_bytes is not None:
        room = machine.gpu_memory_bytes - CUDA_CONTEXT_BYTES
        yield from _too_much(on_gpu, room, f"a GPU here has {_gib(machine.gpu_memory_bytes)}")
    if machine.memory_bytes is not None:
        on_cpu = {
            name: need.main or facts[name].memory_bytes
            for name, need in memory.items()
            if not allotments[name].gpus and (need.main or name in facts)
        }
        yield from _too_much(on_cpu, machine.memory_bytes, f"there are {_gib(machine.memory_bytes)}")


def _too_much(needs: Mapping[str, int], room: int, there_is: str) -> Iterator[str]:
    over = [name for name, need in needs.items() if need > room]
    if over:
        most = max(needs[name] for name in over)
        yield f"{_listing(over)}: up to {_gib(most)} of memory expected in one process, {there_is}"


def _what_there_is(machine: Machine) -> str:
    parts = [f"{machine.cpus} CPUs", f"{machine.gpus} GPUs"]
    if machine.memory_bytes is not None:
        parts.append(_gib(machine.memory_bytes))
    return f"are {', '.join(parts)}"


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _gib(amount: int) -> str:
    return f"{amount / GIB:.1f} GiB"


def packing(allotments: Mapping[str, Allotment]) -> Iterator[str]:
    """Yield how many trials share a GPU, in words, the largest shares first; `allotments` are by variant."""
    shares: dict[float, list[str]] = {}
    for name, allotment in allotments.items():
        if 0 < allotment.gpus < 1:
            shares.setdefault(allotment.gpus, []).append(name)
    for share, names in sorted(shares.items(), reverse=True):
        count = int(1 / share + 1e-6)
        of = "" if len(names) == len(allotments) else f" of {_listing(names)}"
        yield f"{count} trials{of} share a GPU" if count > 1 else f"trials{of} have {share:g} of a GPU each"
