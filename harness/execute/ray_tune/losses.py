"""Why an attempt died, from what Ray says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle

from harness.errors import StoreError, TrialError
from harness.execute.base import Ended
from harness.failures import FailureKind
from harness.redact import redact

MEMORY_MONITOR = "running low on memory"  # what Ray's memory monitor says of those that it kills
NODE_GONE = ("node was terminated", "node died", "node is dead", "marked dead", "node has been drained")
LONGEST = 500  # characters of what Ray says


class AttemptLost(Exception):  # noqa: N818  # nobody's error
    """An attempt lost a process, or its store, to something outside; raised in a worker, read here."""

    def __init__(self, kind: str, said: str) -> None:
        super().__init__(kind, said)
        self.kind = FailureKind(kind)
        self.said = said


def ended(trial_id: str, error: BaseException | None, *, leaving: bool = False) -> Ended:
    """Return the event of an attempt that Tune gave up.

    Args:
        trial_id: of the attempt.
        error: what Ray raised for it; none where that is unknown.
        leaving: whether its machine had been asked to leave.
    """
    kind = kind_of(error)
    if leaving and kind in (FailureKind.LOST_WORKER, FailureKind.LOST_NODE):
        kind = FailureKind.PREEMPTED
    own_failure = isinstance(innermost(error), TrialError)
    return Ended(trial_id, failed=True, loss=kind, said="" if own_failure else in_short(error))


def kind_of(error: BaseException | None) -> FailureKind | None:
    """Return what took an attempt's process away, or none where the attempt raised by itself."""
    cause = innermost(error)
    if isinstance(cause, AttemptLost):
        return cause.kind
    if isinstance(cause, StoreError):
        return FailureKind.STORAGE
    if isinstance(cause, ray.exceptions.OutOfMemoryError):
        return FailureKind.OUT_OF_MEMORY
    if isinstance(cause, (ray.exceptions.NodeDiedError, ray.exceptions.ActorUnavailableError)):
        return FailureKind.LOST_NODE  # a worker that dies on a living node is reported by that node
    if isinstance(cause, ray.exceptions.RayActorError):
        return _kind_of_death(cause)
    lost = cause is None or isinstance(
        cause, (ray.exceptions.WorkerCrashedError, ray.exceptions.ObjectLostError)
    )
    return FailureKind.LOST_WORKER if lost else None


def _kind_of_death(error: ray.exceptions.RayActorError) -> FailureKind:
    if error.preempted:
        return FailureKind.PREEMPTED
    said = str(error)
    if MEMORY_MONITOR in said:
        return FailureKind.OUT_OF_MEMORY
    gone = any(words in said.lower() for words in NODE_GONE)
    return FailureKind.LOST_NODE if gone else FailureKind.LOST_WORKER


def innermost(error: BaseException | None) -> BaseException | None:
    """Return what a process raised, below what Ray and Ray Train wrap around it."""
    while True:
        if isinstance(error, ray.exceptions.RayTaskError):
            wrapped = error.cause
        else:
            wrapped = getattr(error, "_base_exc", None) or getattr(error, "health_check_failure", None)
        if not isinstance(wrapped, BaseException):
            return error
        error = wrapped


def error_of(trial: Any) -> BaseException | None:
    """Return what ended a trial of Tune, which keeps it in a file of this machine."""
    if trial.local_path is None or trial.pickled_error_file is None:
        return None
    file = Path(trial.pickled_error_file)
    if not file.is_file():
        return None
    found: BaseException = cloudpickle.loads(file.read_bytes())
    return found


def in_short(error: BaseException | None) -> str:
    """Return what an error says, on one line, without secrets."""
    cause = innermost(error)
    said = cause.said if isinstance(cause, AttemptLost) else str(cause or "")
    return redact(" ".join(said.split()))[:LONGEST]
