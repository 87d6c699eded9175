"""The process of one tracker of one attempt: makes the calls, and says how they went."""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness import plugins
from harness.registry import registry
from harness.trackers.base import Tracker
from harness.trackers.messages import Answered, Begin, Finish, Log, Message, Noted, Picture
from harness.validation import check

DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
NICENESS = 10  # the trial goes first
MOST_IN_A_ROW = 3  # calls that fail, after which no more are made


def main(handle: int) -> None:
    """Serve the worker at the other end of a socket until it says `Finish`, or is gone.

    Args:
        handle: number of the open socket.
    """
    os.set_inheritable(handle, False)
    if sys.platform == "linux":  # also where a tracker holds Python's lock
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
    os.nice(NICENESS)
    connection: Connection[Any, Any] = Connection(handle)
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, inbox), daemon=True).start()
    _serve(inbox, connection)


def _receive(connection: Connection[Any, Any], inbox: queue.SimpleQueue[Message]) -> None:
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):  # the worker is gone, or waits no longer
        os._exit(1)


def _serve(inbox: queue.SimpleQueue[Message], connection: Connection[Any, Any]) -> None:
    tracker: Tracker | None = None
    failures = 0
    message: Message | None = None
    while not isinstance(message, Finish):
        message = inbox.get()
        try:
            if isinstance(message, Begin):
                tracker = _make(message)
                connection.send(tracker.start(message.settings))
            else:
                assert tracker is not None, "the first message begins"
                _pass_on(tracker, message)
            failures = 0
        except (Exception, SystemExit) as error:
            failures += 1
            connection.send(Noted(f"{_doing(message)}: {_in_a_line(error)}"))
            if tracker is None or isinstance(message, Begin) or failures == MOST_IN_A_ROW:
                return
        connection.send(Answered())


def _make(begin: Begin) -> Tracker:
    plugins.use_project(Path(begin.project))
    made = registry.load("tracker", begin.tracker)
    tracker: Tracker = made(check(made.Config, dict(begin.options)), begin.run)
    return tracker


def _pass_on(tracker: Tracker, message: Message) -> None:
    match message:
        case Log():
            tracker.log(message.values, message.epoch)
        case Picture():
            tracker.picture(message.name, message.png, message.epoch)
        case Finish():
            tracker.finish(message.status)


def _doing(message: Message) -> str:
    match message:
        case Begin():
            return "start"
        case Log():
            return f"epoch {message.epoch}"
        case Picture():
            return f"picture {message.name} of epoch {message.epoch}"
    return "finish"


def _in_a_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
