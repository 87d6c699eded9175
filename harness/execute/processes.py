"""The processes of one attempt, on one machine: one, or several that a launcher of torch starts."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from harness.execute.base import Event, TrialTask
from harness.execute.local import ProcessLost, end_with_the_parent
from harness.failures import FailureKind

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

Emit = Callable[[Event], None]


def make_ready(task: TrialTask) -> None:
    """Import what an attempt needs in this process, which takes seconds, before it counts as begun."""
    if task.allotment.processes == 1:
        import harness.execute.worker  # noqa: F401
    else:
        import torch.distributed.launcher.api  # noqa: F401


def run_attempt(task: TrialTask, emit: Emit) -> str:
    """Make one attempt in this process, or in several below it, and return the status that it ended with.

    Args:
        task: the attempt.
        emit: told of every epoch, from another thread where there are several processes.

    Raises:
        StoreError: the store cannot be written.
        ProcessLost: one of several processes died; the others are ended.
    """
    if task.allotment.processes == 1:
        from harness.execute.worker import execute_attempt

        return execute_attempt(task, emit)
    ours, theirs = get_context("spawn").Pipe(duplex=False)
    relay = threading.Thread(target=_relay, args=(ours, emit), daemon=True)
    relay.start()
    try:
        return _launch(task, theirs)
    finally:
        theirs.close()
        relay.join()
        ours.close()


def _launch(task: TrialTask, events: Connection) -> str:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in ("torch.distributed.elastic", "torch.multiprocessing.spawn"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they tell of a failure ends in its record
    with tempfile.TemporaryDirectory(prefix="harness-ranks-") as logs, _own_signals():
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=task.allotment.processes,
            run_id=f"{task.trial_id}-{task.attempt}",
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            start_method="spawn",
            # Ctrl-C reaches every process here; the driver alone answers it.
            signals_to_handle="SIGTERM",
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            return str(elastic_launch(config, _rank)(task, events)[0])
        except ChildFailedError as error:
            raise _loss(error.failures) from error


def _rank(task: TrialTask, events: Connection) -> str:
    """Take part in an attempt. Runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    end_with_the_parent()
    from harness.execute.worker import execute_attempt

    return execute_attempt(task, events.send, rank=int(os.environ["RANK"]))


def _loss(failures: Mapping[int, ProcessFailure]) -> ProcessLost:
    """Return what to raise for the process that failed first.

    Where one is killed, the others fail because of it and may be seen first; SIGTERM is the launcher's own.
    """
    by_signal = [one for one in failures.values() if one.exitcode < 0 and -one.exitcode != signal.SIGTERM]
    first = min(by_signal or failures.values(), key=lambda one: one.timestamp)
    who = f"process {first.local_rank} of the trial"
    if first.exitcode < 0:
        name = signal.Signals(-first.exitcode).name
        return ProcessLost(FailureKind.LOST_WORKER, f"{who} was ended by {name}")
    said = f"{who} ended with exit code {first.exitcode}"
    if "StoreError" in str(first.message):  # else its last words lie in the store, for the driver
        return ProcessLost(FailureKind.STORAGE, f"{said}: {first.message}")
    return ProcessLost(FailureKind.LOST_WORKER, said)


def _relay(events: Connection, emit: Emit) -> None:
    """Pass on what the first process says until every end of the pipe is closed."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            emit(events.recv())


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Put back the handler that the launcher replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
