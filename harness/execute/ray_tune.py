"""Trials in Ray, scheduled by Ray Tune. The only module that imports ray.

Tune is the scheduler and nothing else: which trials there are, what is kept of them, how
they go on and whether they are tried again is decided by the driver and read from the
store. One Tune trial is one attempt, in a worker process that stays warm between trials
(`reuse_actors`) and that Tune replaces when an attempt raises.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Set before ray is imported: it reads them then.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # the driver answers Ctrl-C, through the store
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # results are kept in the store
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the worker hides GPUs itself
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints tables whatever the verbosity

if (Path.home() / ".ray" / "auth_token").is_file():
    # From 2.59 on Ray starts clusters with this token, but offers it to a running one only when asked to.
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray import tune

from harness.errors import HarnessError, TrialError
from harness.execute.base import Ended, EpochDone, Event, Listener, Started, TrialTask
from harness.grammar import Resources

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0


class RayExecutor:
    """Runs trials on a Ray cluster: the one at `address`, or one on this machine for the time of the run.

    Args:
        address: of a running cluster; none starts one here.
        cpus: CPUs of the cluster that is started here; all that this process may use when none.
    """

    name = "ray"

    def __init__(self, *, address: str | None = None, cpus: int | None = None) -> None:
        if address:
            _require_listener(address)
        options: dict[str, Any] = {"address": address} if address else {"num_cpus": cpus, "address": "local"}
        try:
            ray.init(
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise HarnessError(f"cannot reach Ray at {address or 'this machine'}: {error}") from error
        total = ray.cluster_resources()
        self.cpus = int(total.get("CPU", 0))
        self.gpus = int(total.get("GPU", 0))

    def slots(self, resources: Resources) -> int:
        """Return how many trials can run at once."""
        by_cpu = self.cpus // resources.cpus
        by_gpu = int(self.gpus / resources.gpus) if resources.gpus else by_cpu
        return min(by_cpu, by_gpu)

    def run(self, tasks: Sequence[TrialTask], resources: Resources, listener: Listener) -> None:
        """Run the tasks and return when all have ended or died with their worker."""
        with tempfile.TemporaryDirectory(prefix="harness-tune-") as scratch:
            tune.Tuner(
                tune.with_resources(_attempt, {"cpu": resources.cpus, "gpu": resources.gpus}),
                param_space={"task": tune.grid_search([asdict(task) for task in tasks])},
                tune_config=tune.TuneConfig(
                    reuse_actors=True,
                    trial_name_creator=_trial_name,
                    trial_dirname_creator=_trial_name,
                ),
                run_config=tune.RunConfig(
                    name="attempts",
                    storage_path=scratch,
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=0),
                    callbacks=[_Relay(listener)],
                ),
            ).fit()

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        ray.shutdown()


def _attempt(config: dict[str, Any]) -> None:
    """Make one attempt. Runs in a worker of Ray."""
    from harness.execute.worker import execute_attempt  # imports torch: here, not in the driver

    def emit(event: Event) -> None:
        if isinstance(event, EpochDone):
            tune.report({"epoch": event.epoch, "value": event.value})

    task = TrialTask(**config["task"])
    if execute_attempt(task, emit) == "failed":
        # The record is written; raising makes Tune replace this process, which may hold
        # memory, or a device in a broken state.
        raise TrialError(f"trial {task.trial_id} failed; its record is in the store")


def _require_listener(address: str) -> None:
    """Refuse an address of the form HOST:PORT where nobody listens; Ray itself would try for minutes.

    Raises:
        HarnessError: nobody listens there.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise HarnessError(f"cannot reach Ray at {address}: {error.strerror or error}") from error


class _Relay(tune.Callback):  # type: ignore[misc]  # ray is not type-checked here
    """Passes on what happens to the driver's listener.

    An exception in a callback would end the whole experiment: it is logged instead.
    """

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks so that an experiment can be restored, which we never do;
        # the listener holds locks and a terminal.
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._pass_on(Started(_trial_id(trial)))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "epoch" in result:
            self._pass_on(EpochDone(_trial_id(trial), result["epoch"], result["value"]))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._pass_on(Ended(_trial_id(trial)))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._pass_on(Ended(_trial_id(trial), failed=True))

    def _pass_on(self, event: Event) -> None:
        try:
            self.listener(event)
        except Exception:
            log.exception("the progress display failed on %s", event)


def _trial_id(trial: Any) -> str:
    return str(trial.config["task"]["trial_id"])


def _trial_name(trial: Any) -> str:
    return f"{_trial_id(trial)}-{trial.config['task']['attempt']}"
