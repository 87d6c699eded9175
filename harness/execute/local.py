"""Trials in worker processes of this machine, without Ray.

The workers stay warm between trials: importing torch and its companions takes longer than
a short trial. A worker that dies, or whose trial failed, is replaced, and so is one whose trial had
several processes, which DeepSpeed leaves in a state of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from harness.allotment import Allotment, Machine, Placement, Room, this_machine
from harness.errors import StoreError
from harness.execute.base import Ended, Event, Listener, Started, TrialTask, Work
from harness.failures import FailureKind
from harness.plan import Plan
from harness.store.write import StoreWriter

CONTEXT = multiprocessing.get_context("spawn")  # fork would copy threads and CUDA state
JOIN_SECONDS = 10.0
LOOK_SECONDS = 0.5  # between two looks at the driver's side while no worker says anything
OOM_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclass(frozen=True)
class _Lost:
    """The last message of a worker whose attempt could not be recorded."""

    kind: FailureKind
    said: str


@dataclass
class _Worker:
    """A worker process; it keeps the environment that it was started with."""

    process: BaseProcess
    connection: Connection
    environment: dict[str, str]
    cpus: int
    task: TrialTask | None = None
    placement: Placement | None = None
    killed_for_memory: int = 0
    """How many processes the system had killed for memory when the attempt began."""
    leaving_since: float | None = None

    def give(self, task: TrialTask, placement: Placement) -> None:
        self.task, self.placement = task, placement
        self.killed_for_memory = _killed_for_memory()
        with contextlib.suppress(OSError):  # it died meanwhile; listening to it will tell
            self.connection.send(task)

    def dismiss(self) -> None:
        """Ask the worker to end."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.connection.close()
        self.leaving_since = time.monotonic()

    def is_gone(self, patience: float) -> bool:
        """Tell whether a dismissed worker has ended; kill it where it does not."""
        assert self.leaving_since is not None
        if self.process.is_alive() and time.monotonic() - self.leaving_since > patience:
            self.process.kill()
        if self.process.is_alive():
            return False
        self.process.join()
        self.process.close()
        return True


class LocalExecutor:
    """Runs trials in processes of this machine.

    Args:
        cpus: CPUs to use; all that this process may use when none.
        machine: what to use of this machine, in place of `cpus`.
    """

    name = "local"

    def __init__(self, *, cpus: int | None = None, machine: Machine | None = None) -> None:
        self.machine = machine or this_machine(cpus)
        self.cpus, self.gpus = self.machine.cpus, self.machine.gpus
        self.room = Room(self.machine)
        self.workers: list[_Worker] = []
        self.leaving: list[_Worker] = []

    def slots(self, allotment: Allotment) -> int:
        """Return how many such trials can run at once; 0 where one never will."""
        if not self._is_here(allotment):
            return 0
        room, count = Room(self.machine), 0
        while room.place(allotment) is not None:
            count += 1
        return count

    def has_room(self, allotment: Allotment, under_way: Sequence[Allotment]) -> bool:
        """Tell whether one more attempt can begin beside those under way."""
        room = self.room
        if not any(worker.task for worker in self.workers):  # nothing has its place yet
            room = Room(self.machine)
            if any(room.place(one) is None for one in under_way):
                return False
        placement = room.place(allotment) if self._is_here(allotment) else None
        if placement is not None:
            room.free(placement)
        return placement is not None

    def fit_out(self, plan: Plan, store: StoreWriter, *, fresh: bool = False) -> None:
        """Need nothing: workers are here."""

    def run(self, work: Work, listener: Listener) -> None:
        """Make the attempts that `work` gives until it is finished."""
        while not work.finished():
            for doomed in work.tick():
                self._kill(doomed)
            while (task := work.take()) is not None:
                self._begin(task)
            self._listen(listener)
            self.leaving = [worker for worker in self.leaving if not worker.is_gone(JOIN_SECONDS)]

    def close(self) -> None:
        """End the workers; those that still train are killed."""
        for worker in list(self.workers):
            if worker.task is not None:
                worker.process.kill()
            self._dismiss(worker)
        while self.leaving:
            self.leaving = [worker for worker in self.leaving if not worker.is_gone(JOIN_SECONDS)]
            time.sleep(0.01)

    def _is_here(self, allotment: Allotment) -> bool:
        """Tell whether this machine is of the kind that is asked for; it has no labels."""
        return not allotment.node and allotment.accelerator in (None, *self.machine.accelerators)

    def _begin(self, task: TrialTask) -> None:
        placement = self.room.place(task.allotment)
        assert placement is not None, "the driver asks for room before it gives a task"
        environment = _environment_of(placement)
        idle = [worker for worker in self.workers if worker.task is None]
        fitting = [worker for worker in idle if worker.environment == environment]
        worker = fitting[0] if fitting else self._start(environment, task.allotment.all_cpus)
        worker.give(task, placement)

    def _start(self, environment: dict[str, str], cpus: int) -> _Worker:
        for idle in [worker for worker in self.workers if worker.task is None]:
            if sum(worker.cpus for worker in self.workers) + cpus > self.cpus:
                self._dismiss(idle)  # a warm one holds memory, and nobody asked for its kind
        ours, theirs = CONTEXT.Pipe()
        with _environment(environment):
            process = CONTEXT.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
        theirs.close()
        self.workers.append(_Worker(process, ours, environment, cpus))
        return self.workers[-1]

    def _dismiss(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.dismiss()
        self.leaving.append(worker)

    def _kill(self, task: TrialTask) -> None:
        for worker in self.workers:
            if worker.task is not None and worker.task.trial_id == task.trial_id:
                worker.process.kill()  # its end is heard of like any other

    def _listen(self, listener: Listener) -> None:
        """Pass on what the workers say, until one says or does something, or for a moment."""
        sources = {worker.connection: worker for worker in self.workers}
        if not sources:
            time.sleep(LOOK_SECONDS)
        for connection in wait(list(sources), LOOK_SECONDS) if sources else ():
            assert isinstance(connection, Connection)
            worker = sources[connection]
            try:
                message: Event | _Lost | str = connection.recv()
            except (EOFError, OSError):  # the process is gone; the store tells how far it came
                self._lose(worker, listener)
                continue
            if isinstance(message, _Lost):
                self._end(worker, listener, Ended("", True, message.kind, message.said))
            elif isinstance(message, str):
                self._end(worker, listener, Ended("", failed=message in ("failed", "lost")))
            else:
                listener(message)

    def _end(self, worker: _Worker, listener: Listener, ended: Ended) -> None:
        """Set free what an attempt occupied, and tell of its end."""
        assert worker.task is not None and worker.placement is not None
        task, worker.task = worker.task, None
        self.room.free(worker.placement)
        if ended.failed or task.allotment.processes > 1:  # it may hold memory, or a device in a broken state
            self._dismiss(worker)
        listener(replace(ended, trial_id=task.trial_id))

    def _lose(self, worker: _Worker, listener: Listener) -> None:
        worker.process.join()
        if worker.task is not None:
            kind, said = _cause_of_death(worker)
            self._end(worker, listener, Ended("", failed=True, loss=kind, said=said))
        else:
            self._dismiss(worker)


def _cause_of_death(worker: _Worker) -> tuple[FailureKind, str]:
    """Return what took a process away, and that in words."""
    code = worker.process.exitcode or 0
    if code == -signal.SIGKILL and _killed_for_memory() > worker.killed_for_memory:
        return FailureKind.OUT_OF_MEMORY, "the system killed the worker process because memory ran out"
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return FailureKind.LOST_WORKER, f"the worker process {how}"


def _killed_for_memory() -> int:
    """Return how many processes the system has killed for memory, in this container where it tells."""
    for file in OOM_COUNTERS:
        with contextlib.suppress(OSError):
            counts = dict(line.split()[:2] for line in file.read_text().splitlines())
            return int(counts.get("oom_kill", 0))
    return 0


def _serve(connection: Connection) -> None:
    """Make attempts until told to end. Runs in the worker process."""
    multiprocessing.current_process().daemon = False  # a daemon may have no processes below it
    # Ctrl-C reaches the whole process group; the driver alone answers it, through the store.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # of a cluster's scheduler, likewise for the driver
    end_with_the_parent()
    from harness.execute.processes import make_ready, run_attempt

    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):  # the driver is gone
            return
        if task is None:
            return
        make_ready(task)
        connection.send(Started(task.trial_id))
        message: str | _Lost
        try:
            message = run_attempt(task, connection.send)
        except StoreError as error:
            message = _Lost(FailureKind.STORAGE, str(error))
        except ProcessLost as error:
            message = _Lost(error.kind, str(error))
        connection.send(message)


class ProcessLost(Exception):  # noqa: N818  (an end, not an error of this process)
    """A process of the attempt is gone, and with it the attempt."""

    def __init__(self, kind: FailureKind, said: str) -> None:
        super().__init__(said)
        self.kind = kind


def end_with_the_parent() -> None:
    """End this process at once when its parent dies: its trial is another process's from then on.

    Linux sees to that, also for a process that is stopped; elsewhere a thread does.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
    threading.Thread(target=_follow_the_parent, daemon=True).start()


def _follow_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _environment_of(placement: Placement) -> dict[str, str]:
    """Return what a worker's environment must say for an attempt in this place."""
    environment = {"OMP_NUM_THREADS": str(placement.allotment.cpus), "CUDA_VISIBLE_DEVICES": ""}
    if placement.gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else None
        devices = dict.fromkeys(device for process in placement.gpus for device in process)
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(
            names[device] if names else str(device) for device in devices
        )
    return environment


@contextlib.contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    """Change the environment that a process is started with."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
