"""What an executor has room for, asked as rarely as possible."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

from harness.allotment import Allotment
from harness.execute.base import Executor

T = TypeVar("T")


class Rooms:
    """What an executor has room for now, asked once for each allotment, since it may ask a cluster."""

    def __init__(self, executor: Executor, under_way: Sequence[Allotment]) -> None:
        self.executor = executor
        self.under_way = under_way
        self.known_slots: list[tuple[Allotment, int]] = []
        self.known_rooms: list[tuple[Allotment, bool]] = []

    def possible(self, options: Sequence[Allotment]) -> Allotment:
        """Return the first allotment that the machines there are can hold; the whole one where none can."""
        if len(options) == 1:
            return options[0]
        return next((one for one in options if self.slots(one) >= 1), options[0])

    def slots(self, allotment: Allotment) -> int:
        """Return how many such trials can run at once."""
        return _remembered(self.known_slots, allotment, self.executor.slots)

    def has_room(self, allotment: Allotment) -> bool:
        """Tell whether one more attempt can begin."""
        ask = functools.partial(self.executor.has_room, under_way=self.under_way)
        return _remembered(self.known_rooms, allotment, ask)


def _remembered(known: list[tuple[Allotment, T]], allotment: Allotment, ask: Callable[[Allotment], T]) -> T:
    """Return the answer for an allotment, which has a dictionary in it and so cannot be a key."""
    for one, answer in known:
        if one == allotment:
            return answer
    known.append((allotment, ask(allotment)))
    return known[-1][1]
