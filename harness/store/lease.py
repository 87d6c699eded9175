"""Who trains what: leases on trials, and the heartbeats of the runs that hold them.

A run holds a lease on every trial that it trains, so that several runs on one store share the work.
A lease is the file `leases/<trial_id>.<number>`; the highest number counts. To take a dead one over
is to create the next number, which at most one run is told that it did. A run that is alive renews
`heartbeats/<run_id>`, and deletes it once it has ended.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Self

from harness.errors import StoreError
from harness.provenance import host_name
from harness.store.files import Files

BEAT_SECONDS = 10.0  # between two heartbeats
DEAD_SECONDS = 60.0  # of the observer's own clock that a heartbeat may stand still
HEARTBEATS = "heartbeats"
LEASES = "leases"


@dataclass(frozen=True)
class Heartbeat:
    """What a run says of its driver; a changed `beat` says that it is alive."""

    run: str
    host: str
    machine: str
    """Tells machines and containers apart: a process id means something on this one alone."""
    pid: int
    process_started: int | None
    """When the process began, as the system counts; tells it from a later one of the same number."""
    beat: int = 0


class Liveness:
    """Tells living runs from dead ones. Clocks of two machines are never compared."""

    def __init__(
        self, files: Files, *, clock: Callable[[], float] = time.monotonic, dead_seconds: float = DEAD_SECONDS
    ) -> None:
        self.files = files
        self.clock = clock
        self.dead_seconds = dead_seconds
        self.seen: dict[str, tuple[int, float]] = {}

    def heartbeat(self, run_id: str) -> Heartbeat | None:
        """Return the last heartbeat of a run; none where it has ended, or never gave any."""
        try:
            return Heartbeat(**json.loads(self.files.read(f"{HEARTBEATS}/{run_id}")))
        except FileNotFoundError:
            self.seen.pop(run_id, None)
            return None

    def forget(self, run_id: str) -> None:
        """Delete the heartbeat of a run that is known to be dead."""
        self.files.delete(f"{HEARTBEATS}/{run_id}")
        self.seen.pop(run_id, None)

    def lives(self, run_id: str) -> bool:
        """Tell whether a run is alive, as far as is known now.

        On this machine the process tells at once. A run elsewhere counts as alive until its heartbeat
        has stood still for a minute, counted from the first time that it was asked for here.
        """
        found = self.heartbeat(run_id)
        if found is None:
            return False
        if found.machine == this_machine() and not is_process(found.pid, found.process_started):
            return False
        beat, since = self.seen.get(run_id, (-1, 0.0))
        if beat != found.beat:
            since = self.clock()
            self.seen[run_id] = (found.beat, since)
        return self.clock() - since < self.dead_seconds


class Leases:
    """The leases of one run, and its heartbeat from `with` on to the end of the block.

    Args:
        files: of the store.
        run_id: the run that holds the leases.
        clock: in seconds; for tests.
        beat_seconds: between two heartbeats.
    """

    def __init__(
        self,
        files: Files,
        run_id: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self.files = files
        self.run_id = run_id
        self.liveness = Liveness(files, clock=clock)
        self.beat_seconds = beat_seconds
        self.held: dict[str, str] = {}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        pid = os.getpid()
        self.heartbeat = Heartbeat(run_id, host_name(), this_machine(), pid, process_started(pid))

    def __enter__(self) -> Self:
        self._write_heartbeat()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        try:
            for trial_id in list(self.held):
                self.release(trial_id)
            self.files.delete(f"{HEARTBEATS}/{self.run_id}")
        except StoreError:
            pass  # the store is out of reach: the heartbeat stands still, which says the same

    def acquire(self, trial_id: str) -> str | None:
        """Take the lease on a trial, from a dead run too; held until `release`.

        Returns:
            None where this run holds it now, else the id of the living run that does.

        Raises:
            StoreError: the store cannot be written.
        """
        if trial_id in self.held:
            return None
        found = self._leases(trial_id)
        if found:
            holder = self._holder(found[max(found)])
            if holder is not None and holder != self.run_id and self.liveness.lives(holder):
                return holder
        number = max(found, default=0) + 1
        name = f"{trial_id}.{number}"
        if not self.files.create(f"{LEASES}/{name}", self._lease()):
            return self._holder(name) or "another run"
        # Who looked before a lease came and went may create a lower number than one that is held.
        above = self._leases(trial_id)
        if max(above) > number:
            self.files.delete(f"{LEASES}/{name}")
            return self._holder(above[max(above)]) or "another run"
        for lower in above.keys() - {number}:
            self.files.delete(f"{LEASES}/{above[lower]}")
        self.held[trial_id] = name
        return None

    def release(self, trial_id: str) -> None:
        """Give the lease on a trial back, if it is still held; one that was taken over is another's."""
        name = self.held.pop(trial_id, None)
        if name is not None and self._holder(name) == self.run_id:
            self.files.delete(f"{LEASES}/{name}")

    def _leases(self, trial_id: str) -> Mapping[int, str]:
        """Return the leases on a trial by number; all but the highest are left over."""
        names = [name for name in self.files.names(LEASES) if name.rpartition(".")[0] == trial_id]
        return {int(number): name for name in names if (number := name.rpartition(".")[2]).isdigit()}

    def _holder(self, name: str) -> str | None:
        """Return the run that a lease names; none where it was given back meanwhile."""
        try:
            return str(json.loads(self.files.read(f"{LEASES}/{name}"))["run"])
        except FileNotFoundError:
            return None

    def _lease(self) -> bytes:
        return json.dumps({"run": self.run_id, "host": host_name(), "pid": os.getpid()}).encode()

    def _write_heartbeat(self) -> None:
        self.files.write(f"{HEARTBEATS}/{self.run_id}", json.dumps(asdict(self.heartbeat)).encode())

    def _beat(self) -> None:
        while not self.ended.wait(self.beat_seconds):
            self.heartbeat = replace(self.heartbeat, beat=self.heartbeat.beat + 1)
            try:
                self._write_heartbeat()
            except StoreError:
                continue  # who writes results will tell


@cache
def this_machine() -> str:
    """Return what tells this machine, its boot and its container from others.

    Host names do not: two containers of one image may share one, each with processes of its own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{host_name()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return host_name()


def process_started(pid: int) -> int | None:
    """Return when a process began, in ticks since the boot; none where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(status.rpartition(")")[2].split()[19])  # field 22; the name before may hold spaces


def is_process(pid: int, started: int | None) -> bool:
    """Tell whether a process of this machine is there, and is the one that began at `started`."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # there, and another user's
    return started is None or process_started(pid) in (started, None)
