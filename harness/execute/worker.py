"""What happens inside a worker: one attempt, and its record in the store."""

from __future__ import annotations

import contextlib
import errno
import json
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import plugins
from harness.config import TrialSpec
from harness.errors import NonFiniteLossError, StoreError, TrialError
from harness.execute.base import Event, TrialTask
from harness.execute.memory import keep_to_share, memory_advice, memory_failure
from harness.execute.sink import FollowerSink, StoreSink
from harness.execute.tracked import sink_of
from harness.execute.watchdog import Watchdog, write_last_words
from harness.failures import FailureKind
from harness.specify import plugins_of, respecify
from harness.train.loop import Interrupted
from harness.train.trial import run_trial

TRACEBACK_LINES = 12
NO_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS)
STATUS_OF_REASON = {"stop": "interrupted", "pruned": "pruned", "preempted": "lost"}


class PeersLost(TrialError):  # noqa: N818  (the error is another process's)
    """Another process of the attempt went away; who it was, and why, its own end tells."""


def execute_attempt(task: TrialTask, emit: Callable[[Event], None], *, rank: int = 0) -> str:
    """Make one attempt and return the status that it ended with.

    Whatever the trial raises ends in its record, so that other trials go on. An attempt of one process
    that is asked to stop before it began leaves no record. Of several processes every one calls this: the
    first keeps the record, another one that fails leaves the reason beside it.

    Args:
        task: the attempt.
        emit: told of every epoch, in the first process.
        rank: of this process.

    Raises:
        StoreError: the store cannot be written.
        PeersLost: another process of the attempt went away.
        TrialError: in a process other than the first: it failed.
    """
    sink = sink_of(task, emit, rank)
    with contextlib.closing(sink):
        if task.allotment.processes == 1 and sink.stop_requested():
            return "interrupted"
        if isinstance(sink, StoreSink):
            sink.begin()
        with Watchdog(task, sink.store.files, is_first=rank == 0) as sink.watchdog, _preemptible(sink):
            return _train(task, sink)


def _train(task: TrialTask, sink: StoreSink | FollowerSink) -> str:
    try:
        keep_to_share(task.allotment)
        run_trial(
            _specification(task),
            sink,
            cache=Path(task.cache),
            threads=task.allotment.cpus,
            on_cpu=not task.allotment.gpus,
            processes=task.allotment.processes,
            keep=task.keep,
        )
    except Interrupted:
        return _end_as_asked(sink)
    except Exception as error:
        if task.allotment.processes > 1 and _is_of_peers(error):
            raise PeersLost(f"another process of trial {task.trial_id} went away: {error}") from error
        if isinstance(sink, StoreSink):
            _end_failed(task, sink, error)
            return "failed"
        kind = failure_kind(error, task)
        write_last_words(task, sink.store.files, kind, type(error).__name__, str(error))
        raise TrialError(f"a process of trial {task.trial_id} failed: {error}") from error
    if isinstance(sink, StoreSink):
        sink.end("complete")
        sink.store.delete_states(task.trial_id, task.attempt)
    return "complete"


def _end_as_asked(sink: StoreSink | FollowerSink) -> str:
    status = STATUS_OF_REASON[sink.end_reason]
    if isinstance(sink, StoreSink):
        facts = {}
        if sink.end_reason == "preempted":
            said = "the machine was asked to leave; the state was written first"
            facts = {"failure_kind": FailureKind.PREEMPTED, "error_class": "Preempted", "error": said}
        sink.end(status, **facts)
    return status


def _end_failed(task: TrialTask, sink: StoreSink, error: Exception) -> None:
    evidence = json.dumps(error.evidence) if isinstance(error, NonFiniteLossError) else None
    kind = failure_kind(error, task)
    said = _describe(error)
    if kind is FailureKind.OUT_OF_MEMORY:
        first, _, rest = said.partition("\n")
        said = f"{first.rstrip('.')}; {memory_advice(task.spec, task.allotment)}\n{rest}"
    try:
        sink.end("failed", failure_kind=kind, error_class=type(error).__name__, error=said, failure=evidence)
    except StoreError as second:
        raise (error if isinstance(error, StoreError) else second) from error


def failure_kind(error: BaseException, task: TrialTask) -> FailureKind:
    """Return which kind of failure it is that a trial raised."""
    if isinstance(error, NonFiniteLossError):
        return FailureKind.NON_FINITE
    if (found := memory_failure(error, task.allotment)) is not None:
        return found
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StoreError) or (isinstance(cause, OSError) and cause.errno in NO_STORAGE):
            return FailureKind.STORAGE
        cause = cause.__cause__
    return FailureKind.USER_ERROR


def _is_of_peers(error: BaseException) -> bool:
    """Tell whether a collective failed because another process was gone."""
    import torch.distributed

    words = ("gloo", "nccl", "connection closed by peer", "connection reset by peer")
    return isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
    )


@contextlib.contextmanager
def _preemptible(sink: StoreSink | FollowerSink) -> Iterator[None]:
    """Let SIGTERM make the attempt write its state and end; only a main thread can hear it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sink.end_now("preempted"))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _specification(task: TrialTask) -> TrialSpec:
    """Return what to train, with the plugins that it was planned with.

    Raises:
        TrialError: the sources of a plugin changed since, or a name leads to another one here.
    """
    planned: dict[str, str] = task.spec["plugins"]
    if planned:
        plugins.use_project(Path(task.project))
    changed = [target for target, sources in planned.items() if plugins.source_hash(target) != sources]
    if not changed:
        spec = respecify(task.spec)
        changed = sorted(plugins_of(spec).keys() ^ planned.keys())
    if changed:
        raise TrialError(
            f"the plugin {', '.join(changed)} changed since the plan was made, or is another one on this "
            "machine; the same command plans anew, with new trials"
        )
    return spec


def _describe(error: Exception) -> str:
    lines = "".join(traceback.format_exception(error)).strip().splitlines()
    return "\n".join([f"{error}", *lines[-TRACEBACK_LINES:]])
