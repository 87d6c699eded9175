"""What can go wrong with an attempt, and what a suite wants done about it: the one place of retry budgets."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, field_validator

from harness.config import Frozen

Answer = Literal["retry", "skip", "stop"]


class FailureKind(StrEnum):
    """Why an attempt ended without a result."""

    USER_ERROR = "user_error"
    """The trial raised: its configuration, its data or a plugin."""
    OUT_OF_MEMORY = "out_of_memory"
    """The trial itself needs more memory than it was allotted or than there is."""
    NEIGHBOUR_OUT_OF_MEMORY = "neighbour_out_of_memory"
    """The trial kept to its share; another one on the same device or node took the rest."""
    NON_FINITE = "non_finite"
    """The loss or its gradient became NaN or infinite."""
    LOST_WORKER = "lost_worker"
    """The process died without a word."""
    LOST_NODE = "lost_node"
    """The machine that it ran on went away."""
    PREEMPTED = "preempted"
    """The machine was asked to leave; the trial wrote its state first where there was time."""
    TIMED_OUT = "timed_out"
    """No step and no report for longer than `stall_minutes`."""
    STORAGE = "storage"
    """The store, or the disk below it, cannot be written or read."""

    @property
    def words(self) -> str:
        """The kind as people read it: "lost worker"."""
        return self.value.replace("_", " ")


class Rule(Frozen):
    """What is done about one kind of failure."""

    answer: Answer = Field(alias="do")
    """`retry` from the last state, `skip` the trial and go on with the others, or `stop` the run."""
    times: int = Field(default=3, ge=1, le=1000)
    """Of `retry`: how often a trial that fails so is tried again before it counts as failed."""

    model_config = Frozen.model_config | {"populate_by_name": True}


def _rule(answer: Answer, times: int = 3) -> Rule:
    return Rule(do=answer, times=times)


class FailureRules(Frozen):
    """A rule for every kind of failure, and when to give up."""

    user_error: Rule = _rule("skip")
    out_of_memory: Rule = _rule("skip")
    neighbour_out_of_memory: Rule = _rule("retry", 5)
    non_finite: Rule = _rule("skip")
    lost_worker: Rule = _rule("retry", 3)
    lost_node: Rule = _rule("retry", 10)
    preempted: Rule = _rule("retry", 100)
    timed_out: Rule = _rule("retry", 2)
    storage: Rule = _rule("stop")
    stop_after: int | None = Field(default=None, ge=1)
    """Trials that may fail for good in one way before the run stops; none for no limit."""
    stall_minutes: float = Field(default=30.0, gt=0)
    """Minutes without a step, a validated batch or a report after which an attempt is killed."""

    @field_validator("*", mode="before")
    @classmethod
    def _word_alone(cls, value: Any) -> Any:
        """Let `lost_worker: skip` stand for `lost_worker: {do: skip}`."""
        return {"do": value} if isinstance(value, str) else value

    def rule(self, kind: FailureKind) -> Rule:
        """Return what is done about a kind of failure."""
        found: Rule = getattr(self, kind.value)
        return found
