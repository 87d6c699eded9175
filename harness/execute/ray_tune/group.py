"""An attempt of several processes: a `TorchTrainer` that starts them, watches them and ends them together."""

from __future__ import annotations

import dataclasses
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from ray._raylet import PlacementGroupID
from ray.util.placement_group import PlacementGroup, get_current_placement_group, remove_placement_group
from ray.util.queue import Empty, Queue

from harness.errors import TrialError
from harness.execute.base import Event, TrialTask
from harness.execute.ray_tune.cluster import demand
from harness.execute.ray_tune.losses import AttemptLost, in_short, innermost, kind_of
from harness.failures import FailureKind

STARTS = 3  # tries of Ray Train to place and start the processes
LISTEN_SECONDS = 0.2

Make = Callable[[TrialTask, Callable[[Event], None], int], str]
"""Makes one process's part of an attempt, in a worker: what to do, whom to tell, its rank; its status."""


@dataclasses.dataclass(frozen=True)
class Placed:
    """The processes of an attempt have begun, in this placement group."""

    group: str

    def remove(self) -> None:
        """End the processes and free what they hold."""
        remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(self.group)))


def run_group(task: TrialTask, make: Make, emit: Callable[[Event | Placed], None]) -> None:
    """Make an attempt in as many processes as it is allotted. Runs in the function of a trial of Tune.

    Raises:
        TrialError: the trial failed; its record, or that of the rank that failed, is in the store.
        AttemptLost: one of its processes went away; the others are ended then.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig

    allotment = task.allotment
    events = Queue(actor_options={"num_cpus": 0})
    listening = threading.Event()
    listener = threading.Thread(target=_listen, args=(events, emit, listening), daemon=True)
    listener.start()
    labels = {"label_selector": allotment.node} if allotment.node else {}
    try:
        with tempfile.TemporaryDirectory(prefix="harness-train-") as scratch:
            _trainer()(
                _member(task, make, events),
                scaling_config=ScalingConfig(
                    num_workers=allotment.processes,
                    use_gpu=allotment.gpus > 0,
                    resources_per_worker=demand(allotment),
                    **labels,
                ),
                run_config=RunConfig(
                    name=f"{task.trial_id}-{task.attempt}",
                    storage_path=scratch,
                    failure_config=FailureConfig(**_no_retries(FailureConfig)),
                    worker_runtime_env={"env_vars": _environment(task)},
                ),
                torch_config=TorchConfig(backend="nccl" if allotment.gpus else "gloo"),
            ).fit()
    except TrainingFailedError as error:
        raise _cause(task, error) from error
    finally:
        listening.set()
        listener.join()
        events.shutdown(force=True)


def _trainer() -> Any:
    """Return `TorchTrainer` without its cleaner of placement groups.

    The cleaner is a further process, which asks the dashboard whether the trainer lives: where there is
    none, an attempt would end 12 s later and the cleaner outlive a killed one. A placement group ends with
    the process that made it anyway.
    """
    from ray.train.torch import TorchTrainer

    class Trainer(TorchTrainer):  # type: ignore[misc]  # ray is not type-checked here
        def _create_default_callbacks(self) -> list[Any]:
            found = super()._create_default_callbacks()
            return [one for one in found if type(one).__name__ != "PlacementGroupCleanerCallback"]

    return Trainer


def _member(task: TrialTask, make: Make, events: Queue) -> Callable[[], None]:
    """Return what every process runs."""

    def run_member() -> None:
        import ray.train

        rank = ray.train.get_context().get_world_rank()
        emit = events.put if rank == 0 else _drop
        if rank == 0:
            events.put(Placed(get_current_placement_group().id.hex()))
        if make(task, emit, rank) == "failed":
            raise TrialError(f"trial {task.trial_id} failed; its record is in the store")

    return run_member


def _drop(event: Event) -> None:
    """Say nothing: rank 0 speaks for all."""


def _listen(events: Queue, emit: Callable[[Event | Placed], None], ended: threading.Event) -> None:
    """Pass on what rank 0 says, until the attempt has ended and all of it is said."""
    while True:
        last_look = ended.is_set()
        try:
            emit(events.get(timeout=LISTEN_SECONDS))
        except Empty:
            if last_look:
                return


def _no_retries(config: type) -> dict[str, int]:
    """Return settings with which Ray Train tries nothing again: that is the driver's."""
    known = {field.name for field in dataclasses.fields(config)}
    wanted = {"max_failures": 0, "max_preemption_failures": 0, "controller_failure_limit": STARTS}
    return {name: value for name, value in wanted.items() if name in known}


def _environment(task: TrialTask) -> dict[str, str]:
    """Return variables of the processes: on the CPU, DeepSpeed must not see a GPU from the start."""
    threads = {"OMP_NUM_THREADS": str(task.allotment.cpus)}
    return threads if task.allotment.gpus else threads | {"CUDA_VISIBLE_DEVICES": ""}


def _cause(task: TrialTask, error: Exception) -> Exception:
    """Return what the end of a group means: a failure of the trial where one process failed by itself."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    causes = {rank: innermost(failure) for rank, failure in failures.items()}
    if any(isinstance(cause, TrialError) for cause in causes.values()):
        return TrialError(f"trial {task.trial_id} failed; its record is in the store")
    if type(error).__name__ == "PreemptionError":  # Ray has it from 2.56 on
        return AttemptLost(FailureKind.PREEMPTED, str(error))
    losses = [(kind, rank) for rank, cause in causes.items() if (kind := kind_of(cause)) is not None]
    if not losses:
        return AttemptLost(FailureKind.LOST_WORKER, str(error))
    # Those that lost their peers say so too: the one that knows more tells why.
    kind, rank = min(losses, key=lambda loss: loss[0] is FailureKind.LOST_WORKER)
    return AttemptLost(kind, f"rank {rank} of {task.allotment.processes}: {in_short(causes[rank])}")
