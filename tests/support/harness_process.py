"""The real command in a real process: started, watched, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from harness.store.read import StoreReader

HARNESS = str(Path(sys.executable).parent / "harness")


class HarnessProcess:
    """`harness run` in a process group of its own."""

    def __init__(self, suite: Path, store: Path | str, *options: str, log: Path | None = None) -> None:
        self.store = store
        self.log = log or Path(store).with_name(f"{Path(store).name}.log")
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [HARNESS, "run", str(suite), "--store", str(store), *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, condition, seconds: float = 120) -> None:
        """Wait until `condition(attempts)` holds for the rows of the store's attempts."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition(attempts(self.store)):
                return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"it did not happen in {seconds} s:\n{self.log.read_text()}")

    def workers(self) -> list[psutil.Process]:
        """Return the processes that train: those that hold torch, below the driver."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if _is_worker(child)]

    def kill(self) -> None:
        """kill -9 of the driver alone, then wait until its workers have noticed."""
        workers = self.workers()
        assert workers
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + 30
        while any(_is_alive(worker) for worker in workers):
            assert time.monotonic() < deadline, "workers outlived their driver"
            time.sleep(0.1)

    def interrupt(self) -> int:
        """Send what Ctrl-C sends, to the whole process group, and return the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=120)

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        return self.process.wait(timeout=240)


def attempts(store: Path | str) -> list[dict]:
    """Return the rows of the attempts, oldest first."""
    return StoreReader(store).tables()["attempts"].to_pylist()


def metric_rows(store: Path | str) -> list[tuple]:
    """Return every metric row that a query sees, sorted, without the number of the attempt."""
    rows = StoreReader(store).tables()["metrics"].drop_columns(["attempt"]).to_pylist()
    return sorted(tuple("" if value is None else value for value in row.values()) for row in rows)


def _is_worker(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return bool(words) and (words[0].startswith("ray::ImplicitFunc") or "--multiprocessing-fork" in words)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
