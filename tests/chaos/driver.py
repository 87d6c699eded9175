"""`harness run`, started as often as it takes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from harness.errors import HarnessError
from harness.store.read import open_store
from tests.chaos.processes import descendants, trains

HARNESS = str(Path(sys.executable).parent / "harness")
LOOK_SECONDS = 1.0


class Driver:
    """One process of `harness run`, in a process group of its own."""

    def __init__(self, number: int, command: list[str], log: Path) -> None:
        self.number = number
        self.log = log
        self.started = time.monotonic()
        self._has_begun, self._looked = False, 0.0
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [HARNESS, "run", *command], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def has_begun(self, store: str) -> bool:
        """Tell whether its run stands in the store: there is something to lose from then on."""
        if not self._has_begun and time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            with contextlib.suppress(HarnessError):  # the store may be away
                self._has_begun = any(row["pid"] == self.pid for row in open_store(store).run_rows())
        return self._has_begun

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def workers(self) -> list[psutil.Process]:
        return [process for process in descendants(self.pid) if trains(process)]

    def end(self) -> int:
        """Return the exit code; negative for a signal."""
        return self.process.wait()
