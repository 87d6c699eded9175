"""One suite under faults: started again after each end of its driver, until it is complete."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from random import Random

from tests.chaos.cluster import RayCluster
from tests.chaos.driver import Driver
from tests.chaos.faults import FAULTS, World
from tests.chaos.processes import bury_orphans, descendants, words
from tests.chaos.stores import Store

TICK_SECONDS = 0.1
STARTING_SECONDS = 60.0  # that the first worker may take to start
PAUSE_SECONDS = (1.0, 6.0)
PATIENCE_SECONDS = 20.0  # that a fault waits for somebody to hit before another one goes first
HUNG_SECONDS = 240.0  # without a new file in the store a driver is hung
LOOK_SECONDS = 10.0
MOST_IDLE_STARTS = 5  # in a row that end without a fault between them


@dataclass
class Plan:
    """Faults to make, in their order; drawn once from the seed, over all episodes."""

    kinds: list[str]
    random: Random

    @classmethod
    def drawn(cls, weights: dict[str, int], faults: int, seed: int) -> Plan:
        """Spread at least so many faults over the kinds by weight, each kind at least once, and shuffle them."""
        random, whole = Random(seed), sum(weights.values())
        counts = {kind: max(1, ceil(faults * weight / whole)) for kind, weight in weights.items()}
        drawn = [kind for kind, count in counts.items() for _ in range(count)]
        random.shuffle(drawn)
        return cls(drawn, random)


@dataclass
class Log:
    """What was done to whom, as it happened."""

    path: Path
    began: float = field(default_factory=time.monotonic)
    made: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    starts: int = 0
    tracebacks: list[int] = field(default_factory=list)
    """Numbers of the drivers that showed one."""

    def write(self, what: str, **facts: object) -> None:
        row = {"at": round(time.monotonic() - self.began, 1), "what": what, **facts}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(*row.values(), flush=True)


class Episode:
    """Runs one suite into one store until it is complete, breaking things meanwhile."""

    def __init__(
        self,
        suite: Path,
        store: Store,
        cluster: RayCluster | None,
        plan: Plan,
        log: Log,
        folder: Path,
    ) -> None:
        self.suite, self.plan, self.log, self.folder = suite, plan, log, folder
        self.undo: list[tuple[float, Callable[[], None]]] = []
        self.world = World(store, cluster, plan.random, self.start)
        self.seen: frozenset[tuple[str, float]] = frozenset()
        self.idle_starts = 0
        self.moved = self.looked = time.monotonic()

    def start(self) -> Driver:
        """Start the command once more."""
        self.log.starts += 1
        self.idle_starts += 1
        assert self.idle_starts <= MOST_IDLE_STARTS, (
            f"{MOST_IDLE_STARTS} drivers in a row ended incomplete and undisturbed"
        )
        world = self.world
        command = [str(self.suite), "--store", world.store.address]
        command += ["--address", world.cluster.address] if world.cluster else ["--executor", "local"]
        driver = Driver(self.log.starts, command, self.folder / f"driver-{self.log.starts:03d}.log")
        world.drivers.append(driver)
        self.moved = time.monotonic()
        self.log.write("driver starts", number=driver.number, pid=driver.pid)
        return driver

    def run(self) -> None:
        """Return when a driver said that all is complete, and all that was broken is whole again."""
        faults = self._faults()
        complete = False
        while True:
            complete |= 0 in self._ended()
            if complete and not self.world.drivers:
                break
            if not complete and not self.world.living_drivers():
                self._undo_all()  # a user starts again when the disk has room
                self.start()
            next(faults, None)
            self._undo_due()
            self._look_for_hung()
            bury_orphans({driver.pid for driver in self.world.drivers} | set(self.world.store.processes()))
            time.sleep(TICK_SECONDS)
        self._undo_all()

    def _faults(self) -> Iterator[None]:
        """Make the faults of the plan, one at a time; yields whenever there is nothing to do now."""
        kinds, random = self.plan.kinds, self.plan.random
        while kinds:
            if not self.world.begun_drivers():
                yield from self._until_something_trains()
            yield from _pause(random.uniform(*PAUSE_SECONDS))
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not (made := self._make(kinds[0])) and time.monotonic() < deadline:
                yield
            kind = kinds.pop(0)
            if not made:
                kinds.insert(min(len(kinds), random.randrange(2, 8)), kind)

    def _until_something_trains(self) -> Iterator[None]:
        """Wait for a driver that has begun, and then for the first record since: there is something to lose."""
        while not self.world.begun_drivers():
            yield
        before, deadline = self._records(), time.monotonic() + STARTING_SECONDS
        while self._records() == before and time.monotonic() < deadline:
            yield from _pause(1.0)

    def _records(self) -> set[tuple[str, float]]:
        return {(name, at) for name, at in self.world.store.files().items() if name.startswith("attempts/")}

    def _make(self, kind: str) -> bool:
        done = FAULTS[kind](self.world)
        if done is None:
            return False
        self.idle_starts = 0
        self.log.made[kind] += 1
        self.log.write(kind, target=done.target, number=self.log.made.total())
        if done.undo is not None:
            seconds, call = done.undo
            self.undo.append((time.monotonic() + seconds, call))
        return True

    def _undo_due(self) -> None:
        for due in [one for one in self.undo if one[0] <= time.monotonic()]:
            self.undo.remove(due)
            due[1]()
            self.log.write("undone", call=due[1].__name__)

    def _undo_all(self) -> None:
        self.undo = [(0.0, call) for _, call in self.undo]
        self._undo_due()

    def _ended(self) -> list[int]:
        """Return the exit codes of the drivers that ended since the last look."""
        codes = []
        for driver in [one for one in self.world.drivers if not one.is_running]:
            self.world.drivers.remove(driver)
            codes.append(driver.end())
            self.log.codes[codes[-1]] += 1
            if "Traceback" in driver.log.read_text(errors="replace"):
                self.log.tracebacks.append(driver.number)
            self.log.write("driver ends", number=driver.number, code=codes[-1], after=round(driver.seconds))
        return codes

    def _look_for_hung(self) -> None:
        """Fail where neither the store nor the drivers have moved for long."""
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS or self.undo:
            return
        self.looked = now
        seen = frozenset(self.world.store.files().items())
        if seen != self.seen:
            self.seen, self.moved = seen, now
        if now - self.moved > HUNG_SECONDS:
            self.moved = now
            tree = [f"{one.pid} {one.status()} {' '.join(words(one))[:100]}" for one in descendants()]
            raise AssertionError(
                f"nothing has moved for {HUNG_SECONDS:.0f} s; drivers "
                f"{[driver.number for driver in self.world.living_drivers()]}\n" + "\n".join(tree)
            )


def _pause(seconds: float) -> Iterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield


def environment(folder: Path) -> None:
    """Set what the drivers and their workers are to see."""
    os.environ.update(
        OMP_NUM_THREADS="1",
        HF_HUB_OFFLINE="1",
        HARNESS_CACHE=str(folder / "cache"),
        COLUMNS="120",
    )
