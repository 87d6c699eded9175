"""What happens to attempts, told to the driver; and attempts that are to end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from harness.execute.base import Ended, EpochDone, Event, Listener, Started, TrialTask
from harness.execute.ray_tune.feed import Parcel, parcel_of
from harness.execute.ray_tune.group import Placed
from harness.execute.ray_tune.losses import ended, error_of
from harness.execute.ray_tune.preemption import Departures
from harness.execute.ray_tune.pruner import Pruner
from harness.store.write import StoreWriter

log = logging.getLogger(__name__)


class Relay(tune.Callback):  # type: ignore[misc]  # ray is not type-checked here
    """Passes on what happens to the driver's listener.

    An exception of the listener would end the whole experiment: it is logged instead.

    Args:
        listener: the driver's.
        pruner: decides which attempts end early; none lets all of them go on.
        store: through which attempts are asked to end.
        departures: looks after attempts whose nodes leave.
    """

    def __init__(
        self, listener: Listener, pruner: Pruner | None, store: StoreWriter | None, departures: Departures
    ) -> None:
        self.listener = listener
        self.pruner = pruner
        self.store = store
        self.departures = departures
        self.every_step: list[Callable[[], None]] = []
        """Called at every step of Tune, which takes a tenth of a second at the most."""
        self.under_way: dict[str, Any] = {}
        """Name of a parcel -> trial of Tune that has begun."""
        self.actors: dict[str, Any] = {}
        """Of those, the processes; Tune forgets them before it tells of an error."""
        self.groups: dict[str, Placed] = {}
        """Of those, where the processes of an attempt with several are."""
        self.doomed: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks so that an experiment can be restored, which we never do;
        # the listener holds locks and a terminal.
        return {}

    def kill(self, task: TrialTask) -> None:
        """End the processes of an attempt, at once or as soon as it has any."""
        name = str(Parcel(task))
        self.doomed.add(name)
        if name in self.under_way:
            self._kill_if_doomed(self.under_way[name])

    def look_for_departures(self) -> None:
        """Ask attempts on nodes that leave to end."""
        self.departures.look(self.under_way, self.groups)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Do what is to be done all the time."""
        for do in self.every_step:
            do()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell that an attempt has begun."""
        self.under_way[str(parcel_of(trial))] = trial
        self.actors[str(parcel_of(trial))] = trial.temporary_state.ray_actor
        self._pass_on(Started(parcel_of(trial).task.trial_id))
        self._kill_if_doomed(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Tell of an epoch, and see whether it is to be the last one."""
        event = result.get("event")
        if isinstance(event, Placed):
            self.groups[str(parcel_of(trial))] = event
            self._kill_if_doomed(trial)
        elif isinstance(event, EpochDone):
            self._pass_on(event)
            self._prune(parcel_of(trial).task, event)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell that an attempt has ended by itself."""
        self._forget(trial)
        self.actors.pop(str(parcel_of(trial)), None)
        self._pass_on(Ended(parcel_of(trial).task.trial_id))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell that an attempt failed, or died."""
        self._forget(trial)
        if (actor := self.actors.pop(str(parcel_of(trial)), None)) is not None:
            ray.kill(actor)  # one that is only out of reach must not go on beside the next attempt
        leaving = str(parcel_of(trial)) in self.departures.asked
        self._pass_on(ended(parcel_of(trial).task.trial_id, error_of(trial), leaving=leaving))

    def _prune(self, task: TrialTask, event: EpochDone) -> None:
        if self.pruner is None or self.store is None:
            return
        worse = self.pruner.is_to_end(task.trial_id, event.epoch, event.value)
        if worse and event.epoch < task.spec["train"]["epochs"]:
            self.store.ask_to_end(task.trial_id, task.attempt, "pruned")

    def _kill_if_doomed(self, trial: Any) -> None:
        """End a doomed attempt; one of several processes by its processes, so that its trainer tidies up."""
        name = str(parcel_of(trial))
        if name not in self.doomed:
            return
        if name in self.groups:
            self.groups[name].remove()
        elif trial.temporary_state.ray_actor is not None:
            ray.kill(trial.temporary_state.ray_actor)

    def _forget(self, trial: Any) -> None:
        name = str(parcel_of(trial))
        self.under_way.pop(name, None)
        self.groups.pop(name, None)
        self.doomed.discard(name)

    def _pass_on(self, event: Event) -> None:
        try:
            self.listener(event)
        except Exception:
            log.exception("the progress display failed on %s", event)
