"""Trials in worker processes of this machine, without Ray.

The workers stay warm between trials: importing torch and its companions takes longer than
a short trial. A worker that dies, or whose trial failed, is replaced.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from harness.errors import StoreError
from harness.execute.base import Ended, Event, Listener, Started, TrialTask
from harness.grammar import Resources
from harness.provenance import available_cpus

CONTEXT = multiprocessing.get_context("spawn")  # fork would copy threads and CUDA state
JOIN_SECONDS = 10


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    task: TrialTask | None = None

    def give(self, task: TrialTask) -> None:
        self.task = task
        with contextlib.suppress(OSError):  # it died meanwhile; listening to it will tell
            self.connection.send(task)

    def dismiss(self) -> None:
        """Ask the worker to end, and see that it does."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.connection.close()
        self.process.join(JOIN_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class LocalExecutor:
    """Runs trials in processes of this machine.

    Args:
        cpus: CPUs to use; all that this process may use when none.
        gpus: GPUs to use; all that torch sees when none.
    """

    name = "local"

    def __init__(self, *, cpus: int | None = None, gpus: int | None = None) -> None:
        self.cpus = cpus or available_cpus()
        self.gpus = _visible_gpus() if gpus is None else gpus
        self.workers: dict[int, _Worker] = {}

    def slots(self, resources: Resources) -> int:
        """Return how many trials can run at once."""
        by_cpu = self.cpus // resources.cpus
        by_gpu = int(self.gpus / resources.gpus) if resources.gpus else by_cpu
        return min(by_cpu, by_gpu)

    def run(self, tasks: Sequence[TrialTask], resources: Resources, listener: Listener) -> None:
        """Run the tasks and return when all have ended or died with their worker."""
        waiting = deque(tasks)
        slots = list(range(min(self.slots(resources), len(tasks))))
        while waiting or any(worker.task for worker in self.workers.values()):
            for slot in slots:
                worker = self.workers.get(slot)
                if waiting and (worker is None or worker.task is None):
                    worker = worker or self._start(slot, resources)
                    worker.give(waiting.popleft())
            self._listen(listener)

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers.values():
            worker.dismiss()
        self.workers.clear()

    def _listen(self, listener: Listener) -> None:
        """Pass on what the workers say, until one says or does something."""
        sources = {worker.connection: slot for slot, worker in self.workers.items()}
        for connection in wait(list(sources)):
            assert isinstance(connection, Connection)
            slot = sources[connection]
            worker = self.workers[slot]
            try:
                message: Event | str = connection.recv()
            except (EOFError, OSError):  # the process is gone; the store tells how far it came
                self._lose(slot, listener)
                continue
            if isinstance(message, str):
                self._end(slot, worker, message, listener)
            else:
                listener(message)

    def _end(self, slot: int, worker: _Worker, status: str, listener: Listener) -> None:
        assert worker.task is not None
        failed = status == "failed"
        listener(Ended(worker.task.trial_id, failed=failed))
        worker.task = None
        if failed:  # it may hold memory, or a device in a broken state
            worker.dismiss()
            del self.workers[slot]

    def _lose(self, slot: int, listener: Listener) -> None:
        worker = self.workers.pop(slot)
        worker.connection.close()
        worker.process.join()
        if worker.task is not None:
            listener(Ended(worker.task.trial_id, failed=True))

    def _start(self, slot: int, resources: Resources) -> _Worker:
        ours, theirs = CONTEXT.Pipe()
        with _environment(_worker_environment(slot, resources)):
            process = CONTEXT.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
        theirs.close()
        self.workers[slot] = _Worker(process, ours)
        return self.workers[slot]


def _serve(connection: Connection) -> None:
    """Make attempts until told to end. Runs in the worker process."""
    # Ctrl-C reaches the whole process group; the driver alone answers it, through the store.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    from harness.execute.worker import execute_attempt  # imports torch: here, not in the driver

    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):  # the driver is gone
            return
        if task is None:
            return
        connection.send(Started(task.trial_id))
        try:
            status = execute_attempt(task, connection.send)
        except StoreError as error:  # there is nowhere to record it: the driver sees that this process died
            sys.exit(f"a worker ends: {error}")
        connection.send(status)


def _end_with_the_driver() -> None:
    """End this process at once when the driver dies: its trial is another process's from then on."""
    driver = multiprocessing.parent_process()
    assert driver is not None
    driver.join()
    os._exit(1)


def _worker_environment(slot: int, resources: Resources) -> dict[str, str]:
    environment = {"OMP_NUM_THREADS": str(resources.cpus)}
    if resources.gpus:
        first = int(slot * resources.gpus)
        count = max(1, round(resources.gpus))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(index) for index in range(first + count)]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(names[first : first + count])
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


def _visible_gpus() -> int:
    import torch

    return torch.cuda.device_count()  # counts through NVML, without touching CUDA
