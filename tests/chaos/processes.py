"""Processes below this one, dead parents or not."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Collection

import psutil

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TRAINING = ("ray::ImplicitFunc", "ray::RayTrainWorker", "ray::_RayTrainWorker")


def adopt_orphans() -> None:
    """Let processes whose parent dies become children of this one, so that none is lost sight of."""
    _control(PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """Have SIGTERM sent to this process when the one that started it dies: it cleans up then."""
    _control(PR_SET_PDEATHSIG, signal.SIGTERM)


def _control(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def bury_orphans(known: Collection[int]) -> None:
    """Take note of adopted processes that ended; those in `known` are somebody's to wait for."""
    for child in psutil.Process().children():
        if child.pid not in known and not lives(child):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, os.WNOHANG)


def descendants(of: int | None = None) -> list[psutil.Process]:
    """Return the living processes below one, or below this one."""
    try:
        below = psutil.Process(of).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in below if lives(process)]


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def words(process: psutil.Process) -> list[str]:
    """Return the command line; empty where the process is gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def trains(process: psutil.Process) -> bool:
    """Tell whether a process was started to train."""
    command = words(process)
    if not command:
        return False
    return command[0].startswith(TRAINING) or "--multiprocessing-fork" in command


def wait_until_gone(processes: Collection[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return those that still live after some seconds."""
    deadline = time.monotonic() + seconds
    while (left := [one for one in processes if lives(one)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def end_all(seconds: float = 10.0) -> None:
    """Kill whatever lives below this process."""
    deadline = time.monotonic() + seconds
    while (left := descendants()) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        bury_orphans(())
        time.sleep(0.1)
