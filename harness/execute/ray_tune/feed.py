"""The attempts that Tune is to begin, asked of the driver one by one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from harness.execute.base import TrialTask, Work
from harness.execute.ray_tune.cluster import demand

TICK_SECONDS = 0.5


@dataclass(frozen=True)
class Parcel:
    """A task on its way through Tune, which puts the text of whatever it carries into names and tags."""

    task: TrialTask

    def __str__(self) -> str:
        return f"{self.task.trial_id}-{self.task.attempt}"

    __repr__ = __str__

    def __deepcopy__(self, memory: dict[int, Any]) -> Parcel:
        return self  # Tune copies the configuration of a trial again and again


class Feed(Searcher):  # type: ignore[misc]  # ray is not type-checked here
    """Tells Tune what to begin next, and the driver that time goes by.

    Args:
        work: the driver's side.
        kill: ends the processes of an attempt.
        most: attempts after which Tune is told that there are no more.
    """

    def __init__(self, work: Work, kill: Callable[[TrialTask], None], most: int) -> None:
        super().__init__()
        self.work = work
        self.kill = kill
        self.left = most
        self.ticked = 0.0

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher so that an experiment can be restored, which we never do.
        return {}

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of the next trial, none for now, or that there are no more."""
        self.tick()
        if self.left == 0 or self.work.finished():
            return Searcher.FINISHED
        task = self.work.take()
        if task is None:
            return None
        self.left -= 1
        return {"parcel": Parcel(task)}

    def tick(self) -> None:
        """Let the driver look after things, and kill what it wants killed."""
        now = time.monotonic()
        if now - self.ticked >= TICK_SECONDS:
            self.ticked = now
            for task in self.work.tick():
                self.kill(task)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Take note of nothing: how an attempt ended is read from the store."""

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: an experiment of Tune is never restored."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


def parcel_of(trial: Any) -> Parcel:
    """Return what a trial of Tune carries."""
    parcel: Parcel = trial.config["parcel"]
    return parcel


def placement_of(config: dict[str, Any]) -> Any:
    """Return the resources that Tune is to find for a trial.

    An attempt of several processes finds them itself: its trial of Tune waits for them and takes nothing.
    """
    allotment = config["parcel"].task.allotment
    if allotment.processes > 1:
        return tune.PlacementGroupFactory([{"memory": 1}])  # a byte: Tune refuses to take nothing
    labels = {"bundle_label_selector": [allotment.node]} if allotment.node else {}
    return tune.PlacementGroupFactory([demand(allotment)], **labels)
