"""When the last of some trials ends, where they occupy different amounts of a machine."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Sequence

from harness.allotment import Allotment, Machine, Placement, Room


def schedule(seconds: Sequence[float], allotments: Sequence[Allotment], machine: Machine) -> float:
    """Return when the last trial ends if at any time the longest that there is room for begins.

    Trials that the machine has no room for, even when nothing else runs, count one after the other.
    """
    room = Room(machine)
    ends: list[tuple[float, int, Placement]] = []
    number = itertools.count()  # of two that end at once the first is the one that began first
    now = last = alone = 0.0
    queues = _longest_first(seconds, allotments)
    while queues:
        for queue in sorted(queues, key=lambda queue: -queue[0][0]):
            while queue and (placement := room.place(queue[0][1])) is not None:
                heapq.heappush(ends, (now + queue.popleft()[0], next(number), placement))
        queues = [queue for queue in queues if queue]
        if ends:
            now, _, placement = heapq.heappop(ends)
            room.free(placement)
        else:
            alone += sum(length for queue in queues for length, _ in queue)
            queues = []
    last = max([now, *(end for end, _, _ in ends)])
    return last + alone


def _longest_first(
    seconds: Sequence[float], allotments: Sequence[Allotment]
) -> list[deque[tuple[float, Allotment]]]:
    """Return the trials as one queue for each kind of allotment."""
    queues: dict[str, deque[tuple[float, Allotment]]] = {}
    for length, allotment in sorted(zip(seconds, allotments, strict=True), key=lambda one: -one[0]):
        queues.setdefault(str(allotment), deque()).append((length, allotment))
    return list(queues.values())
