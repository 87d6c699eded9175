"""Ending an attempt that hangs, and telling the driver that it does not."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from harness.errors import StoreError
from harness.execute.base import TrialTask
from harness.failures import FailureKind
from harness.redact import redact
from harness.store.files import Files

BACKSTOP_SECONDS = 10.0  # after which the system's own timer ends a process that holds Python's lock
START_SECONDS = 300.0  # more for the first step: libraries are imported, data is drawn, a model is made
MOST_FRAMES = 8  # of the call that hangs, innermost last
EXIT_CODE = 70


def alive_seconds(stall_seconds: float) -> float:
    """Return the seconds between two signs of life: few requests to a store, soon enough for the driver."""
    return min(300.0, max(0.5, stall_seconds / 4))


def alive_file(task: TrialTask) -> str:
    """Return the path in the store of an attempt's sign of life."""
    return f"artifacts/{task.trial_id}/{task.attempt:04d}/alive"


class Watchdog:
    """Ends this process when its attempt makes no step for too long; the first one has longer.

    A thread looks; where Python itself is stuck in foreign code that holds its lock, the timer of
    `faulthandler`, which needs no lock, ends the process a little later. Every process of an attempt has
    one; the first alone gives signs of life.

    Args:
        task: the attempt.
        files: of the store.
        is_first: whether this is the attempt's first process.
    """

    def __init__(self, task: TrialTask, files: Files, *, is_first: bool) -> None:
        self.task = task
        self.files = files
        self.is_first = is_first
        self.last = time.monotonic()
        self.has_begun = False
        self.told = -math.inf  # the first sign is due at once
        self.signs = 0
        self.ended = threading.Event()
        self.main = threading.get_ident()
        self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        faulthandler.cancel_dump_traceback_later()
        if self.signs:
            with contextlib.suppress(StoreError):
                self.files.delete(alive_file(self.task))

    def progressed(self) -> None:
        """Note a step; cheap enough for every one."""
        self.last = time.monotonic()
        self.has_begun = True

    def _watch(self) -> None:
        stall = self.task.stall_seconds
        while not self.ended.wait(min(1.0, stall / 10)):
            now = time.monotonic()
            limit = stall if self.has_begun else stall + START_SECONDS
            if now - self.last > limit:
                self._end(limit)
            faulthandler.dump_traceback_later(limit + BACKSTOP_SECONDS, exit=True)
            if self.is_first and now - self.told > alive_seconds(stall):
                self._give_sign(now)

    def _give_sign(self, now: float) -> None:
        self.told = now
        self.signs += 1
        with contextlib.suppress(StoreError):  # the results, which matter, will tell
            self.files.write(alive_file(self.task), str(self.signs).encode())

    def _end(self, limit: float) -> None:
        """Write what the attempt was doing, and end the process."""
        frame = sys._current_frames().get(self.main)
        stack = traceback.extract_stack(frame)[-MOST_FRAMES:] if frame else []
        calls = " > ".join(f"{one.name} ({Path(one.filename).name}:{one.lineno})" for one in stack)
        text = f"no step for {limit:.0f} s; was in: {calls}"
        with contextlib.suppress(StoreError):
            write_last_words(self.task, self.files, FailureKind.TIMED_OUT, "Stalled", text)
        os._exit(EXIT_CODE)


def write_last_words(task: TrialTask, files: Files, kind: FailureKind, name: str, text: str) -> None:
    """Leave why an attempt ended for the driver; of several processes that do, the first one counts.

    Raises:
        StoreError: the store cannot be written.
    """
    words = {"kind": kind.value, "class": name, "text": redact(text)}
    files.create(f"artifacts/{task.trial_id}/{task.attempt:04d}/failure.json", json.dumps(words).encode())
