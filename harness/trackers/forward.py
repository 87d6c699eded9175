"""A worker's side of a tracker: hands over what happens, and never waits, fails or hangs with it."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from harness.trackers.base import Opened
from harness.trackers.messages import Answered, Begin, Finish, Log, Message, Noted, Picture
from harness.trackers.told import Told

MOST_BYTES = 64 * 2**20  # of pictures and rows that wait for a tracker; what comes then is left out
MOST_NOTE = 500  # characters
EXIT_SECONDS = 2.0  # for a process to go that has closed its end
LOOK_SECONDS = 0.02
ROW_BYTES = 64  # about what a value takes, with its name

CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from harness.trackers.process import main; main(int(sys.argv[1]))"
)
NOT_FOR_TRACKERS = re.compile(
    r"(?:LOCAL_|GROUP_|ROLE_|NODE_)?(?:RANK|WORLD_SIZE|ROLE_NAME)|MASTER_(?:ADDR|PORT)"
    r"|(?:TORCHELASTIC|ACCELERATE|PET)_.*"
    r"|MLFLOW_(?:RUN_ID|NESTED_RUN)|WANDB_(?:RUN_ID|NAME|RUN_GROUP|RESUME|SERVICE)"
)
"""Variables that would make a tracker wait for the trial's other processes, or write into another run."""
FOR_TRACKERS = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


class Forward:
    """One tracker of one attempt. No method blocks but `give_up`, for a moment, and none raises.

    Args:
        begin: what the tracker is to begin with.
        finish_seconds: how long it may take at the end of the trial.
    """

    def __init__(self, begin: Begin, finish_seconds: float) -> None:
        self.name = begin.tracker
        self.finish_seconds = finish_seconds
        self._opened: Opened | None = None
        self._note: str | None = None
        self._left_out = 0
        self._waiting: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._sizes: collections.deque[int] = collections.deque()  # of messages without an answer
        self._since = time.monotonic()  # the first of these has waited
        self._finishing = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  (closed by the thread that reads it)
        ours, theirs = Pipe()
        self._connection: Connection[Any, Any] = ours
        try:
            self._process = _start(theirs, self._words)
        except OSError as error:  # no process is to be had
            ours.close()
            self._end(f"its process did not start: {error.strerror or error}")
            return
        finally:
            theirs.close()
        self._writer = threading.Thread(target=self._write, name="tracker-writer", daemon=True)
        self._writer.start()
        threading.Thread(target=self._read, name="tracker-reader", daemon=True).start()
        self._hand_over(begin)

    def log(self, values: dict[str, float], epoch: int) -> None:
        """Hand over the rows of one epoch."""
        self._hand_over(Log(values, epoch), ROW_BYTES * len(values))

    def picture(self, name: str, png: bytes, epoch: int | None) -> None:
        """Hand over a strip of pictures."""
        self._hand_over(Picture(name, png, epoch or 0), len(png))

    def finish(self, status: str) -> None:
        """Ask the tracker to end its run."""
        self._hand_over(Finish(status))
        self._finishing = True

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self._over.is_set()

    @property
    def is_late(self) -> bool:
        """Whether one call has taken longer than the tracker may take at the end."""
        with self._lock:
            return bool(self._sizes) and time.monotonic() - self._since > self.finish_seconds

    def give_up(self, why: str) -> None:
        """End the process, and what it started in its group."""
        if self.is_over:
            return
        self._tell(why)
        self._kill()
        self._hang_up()  # a process that inherited the socket would keep it open
        self._over.wait(EXIT_SECONDS)

    def told(self) -> Told:
        """Return the tracker's run, its link, and a note where something went wrong."""
        opened = self._opened
        with self._lock:
            parts = [self._note] if self._note else []
            if self._left_out:
                parts.append(f"{self._left_out} rows or pictures were left out: it was too far behind")
        note = "; ".join(parts)[:MOST_NOTE] or None
        return Told(opened.run, opened.link, note) if opened else Told(note=note)

    def _hand_over(self, message: Message, size: int = 0) -> None:
        with self._lock:
            if self.is_over or self._finishing:
                return
            if sum(self._sizes) + size > MOST_BYTES:
                self._left_out += 1
                return
            if not self._sizes:
                self._since = time.monotonic()
            self._sizes.append(size)
        self._waiting.put(message)

    def _write(self) -> None:
        while (message := self._waiting.get()) is not None:
            try:
                self._connection.send(message)
            except OSError:  # the reader sees it too
                return

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._hear(self._connection.recv())
        how = self._reap()
        self._hang_up()
        self._waiting.put(None)
        self._writer.join()
        self._connection.close()
        with self._lock:
            is_done = self._finishing and not self._sizes
        self._end(None if is_done else how)

    def _hear(self, answer: Opened | Answered | Noted) -> None:
        match answer:
            case Opened():
                self._opened = answer
            case Noted():
                self._tell(answer.note)
            case Answered():
                with self._lock:
                    self._sizes.popleft()
                    self._since = time.monotonic()

    def _tell(self, note: str) -> None:
        """Keep the first note: what follows is most often its consequence."""
        with self._lock:
            self._note = self._note or note

    def _reap(self) -> str:
        """Wait for the end of the process, and return how it came, with its last words."""
        try:
            code = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            code = self._process.wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._words.seek(0)
        words = self._words.read()[-4 * MOST_NOTE :].decode(errors="replace").strip().splitlines()
        return f"its process {how}" + (f": {words[-1]}" if words else "")

    def _kill(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)

    def _end(self, note: str | None) -> None:
        if note is not None:
            self._tell(note)
        self._words.close()
        self._over.set()


def finish_all(forwards: Sequence[Forward], status: str, progressed: Callable[[], None]) -> None:
    """Let trackers end their runs, side by side, each for at most its `finish_seconds`.

    A call that has hung for that long already, while the trial trained, is not waited for.

    Args:
        forwards: the trackers of an attempt.
        status: how it ended.
        progressed: called meanwhile, to show that the attempt is alive.
    """
    began = time.monotonic()
    for forward in forwards:
        forward.finish(status)
    while under_way := [forward for forward in forwards if not forward.is_over]:
        for forward in under_way:
            if forward.is_late or time.monotonic() - began > forward.finish_seconds:
                forward.give_up(f"it did not finish within {forward.finish_seconds:g} s and was ended")
        progressed()
        time.sleep(LOOK_SECONDS)


def _start(theirs: Connection[Any, Any], words: Any) -> subprocess.Popen[bytes]:
    """Start the process of a tracker, in a group of its own: Ctrl-C is for the driver to answer.

    A fresh interpreter, and not a fork, which would copy threads and the state of CUDA; and not
    `multiprocessing`, which would import the main module of the worker.
    """
    environment = {name: value for name, value in os.environ.items() if not NOT_FOR_TRACKERS.fullmatch(name)}
    path = [entry or os.getcwd() for entry in sys.path]  # noqa: PTH109  (as text)
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(theirs.fileno()), json.dumps(path)],
        env=environment | FOR_TRACKERS,
        pass_fds=(theirs.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=words,
        start_new_session=True,
    )
