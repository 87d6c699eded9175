"""Kinds of fault: what each does, to whom, and what undoes it later."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import psutil

from tests.chaos.cluster import RayCluster
from tests.chaos.driver import Driver
from tests.chaos.processes import descendants, lives, trains
from tests.chaos.stores import BucketStore, FolderStore, Store

Undo = tuple[float, Callable[[], None]]
"""Seconds from now, and what is done then."""


@dataclass
class World:
    """All that there is to break."""

    store: Store
    cluster: RayCluster | None
    random: Random
    start_driver: Callable[[], Driver]
    drivers: list[Driver] = field(default_factory=list)
    frozen: list[psutil.Process] = field(default_factory=list)

    def living_drivers(self) -> list[Driver]:
        return [driver for driver in self.drivers if driver.is_running]

    def begun_drivers(self) -> list[Driver]:
        return [one for one in self.living_drivers() if one.has_begun(self.store.address)]

    def workers(self) -> list[psutil.Process]:
        """Return the processes that train now, the frozen ones left out."""
        return [one for one in descendants() if trains(one) and not _is_frozen(one)]

    def ranks(self) -> list[psutil.Process]:
        """Return the processes of trials that have several."""
        return [one for one in self.workers() if _is_rank(one)]


@dataclass(frozen=True)
class Done:
    """A fault that was made."""

    target: str
    undo: Undo | None = None


Fault = Callable[[World], Done | None]
"""Makes the fault; none where there is nobody to hit now."""


def kill_worker(world: World) -> Done | None:
    return _signal_one(world, world.workers(), signal.SIGKILL)


def kill_rank(world: World) -> Done | None:
    return _signal_one(world, world.ranks(), signal.SIGKILL)


def freeze_worker(world: World) -> Done | None:
    """Stop a worker for good: nothing but the stall detector ends it."""
    return _signal_one(world, world.workers(), signal.SIGSTOP)


def kill_node(world: World) -> Done | None:
    cluster = world.cluster
    if cluster is None or len(cluster.nodes) < 2 or not world.begun_drivers():
        return None
    pid = cluster.kill_node(world.random.randrange(len(cluster.nodes)))
    return Done(f"raylet {pid}", (world.random.uniform(2, 6), cluster.add_node))


def kill_driver(world: World) -> Done | None:
    return _signal_driver(world, world.begun_drivers(), signal.SIGKILL)


def interrupt_driver(world: World) -> Done | None:
    return _signal_driver(world, world.begun_drivers(), signal.SIGINT)


def terminate_driver(world: World) -> Done | None:
    return _signal_driver(world, world.begun_drivers(), signal.SIGTERM)


def warn_driver(world: World) -> Done | None:
    """Send what Slurm sends before the end of the time limit."""
    return _signal_driver(world, world.begun_drivers(), signal.SIGUSR1)


def second_driver(world: World) -> Done | None:
    """Start the same command again beside one that runs."""
    if len(world.begun_drivers()) != 1:
        return None
    return Done(f"driver {world.start_driver().number}")


def fill_disk(world: World) -> Done | None:
    store = world.store
    if not isinstance(store, FolderStore) or not store.mounted or store.away.exists():
        return None
    if not world.begun_drivers() or store.filler.exists():
        return None
    store.fill()
    seconds = world.random.uniform(2, 10)
    return Done(f"{seconds:.1f} s", (seconds, store.unfill))


def lose_store(world: World) -> Done | None:
    """Take the store away for a while: renamed, or connections refused."""
    store = world.store
    busy = store.away.exists() if isinstance(store, FolderStore) else store.relay.poll() is not None
    if busy or not world.begun_drivers():
        return None
    store.vanish()
    seconds = world.random.uniform(1, 8)
    return Done(f"{seconds:.1f} s", (seconds, store.come_back))


def stall_store(world: World) -> Done | None:
    """Let requests to the store hang for a while."""
    store = world.store
    if not isinstance(store, BucketStore) or store.relay.poll() is not None or not world.begun_drivers():
        return None
    store.stand_still()
    seconds = world.random.uniform(2, 15)
    return Done(f"{seconds:.1f} s", (seconds, store.go_on))


FAULTS: dict[str, Fault] = {
    "kill -9 of a worker": kill_worker,
    "kill -9 of one of two processes of a trial": kill_rank,
    "kill -9 of a node's raylet": kill_node,
    "kill -9 of the driver": kill_driver,
    "SIGINT to the driver": interrupt_driver,
    "SIGTERM to the driver": terminate_driver,
    "SIGUSR1 to the driver": warn_driver,
    "SIGSTOP of a worker, for good": freeze_worker,
    "full disk": fill_disk,
    "store out of reach": lose_store,
    "store hangs": stall_store,
    "second driver": second_driver,
}


def _signal_one(world: World, found: list[psutil.Process], number: signal.Signals) -> Done | None:
    if not found:
        return None
    target = world.random.choice(sorted(found, key=lambda one: one.pid))
    target.send_signal(number)
    if number == signal.SIGSTOP:
        world.frozen.append(target)
    return Done(f"process {target.pid}")


def _signal_driver(world: World, found: list[Driver], number: signal.Signals) -> Done | None:
    if not found:
        return None
    driver = world.random.choice(found)
    driver.send(number)
    return Done(f"driver {driver.number}")


def _is_frozen(process: psutil.Process) -> bool:
    return lives(process) and process.status() == psutil.STATUS_STOPPED


def _is_rank(process: psutil.Process) -> bool:
    """Tell whether a process is one of several of a trial: Ray names them, torch's launcher forks them."""
    try:
        if "RayTrainWorker" in process.cmdline()[0]:
            return True
        parent = process.parent()
        return parent is not None and trains(parent)
    except (psutil.Error, IndexError):
        return False
