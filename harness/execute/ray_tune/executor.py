"""The executor: the driver's work on a Ray cluster, through Tune."""

from __future__ import annotations

import logging
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray import tune

from harness.allotment import Allotment, Machine, this_machine
from harness.errors import TrialError
from harness.execute.base import EpochDone, Event, Listener, TrialTask, Work
from harness.execute.ray_tune import cluster, travel
from harness.execute.ray_tune.feed import Feed, Parcel, parcel_of, placement_of
from harness.execute.ray_tune.group import Make, Placed, run_group
from harness.execute.ray_tune.losses import AttemptLost
from harness.execute.ray_tune.preemption import Departures
from harness.execute.ray_tune.pruner import Pruner, pruner_of
from harness.execute.ray_tune.relay import Relay
from harness.failures import FailureKind
from harness.plan import Plan
from harness.store.write import StoreWriter

MOST_ATTEMPTS = 2000  # of one experiment of Tune, which keeps 40 kB of each


class RayExecutor:
    """Runs trials on a Ray cluster: the one at `address`, or one on this machine for the time of the run.

    Args:
        address: of a running cluster; none starts one here.
        cpus: CPUs of the cluster that is started here; all that this process may use when none.
        make: makes an attempt, in a worker; trains a trial when none.
    """

    name = "ray"

    def __init__(
        self, *, address: str | None = None, cpus: int | None = None, make: Make | None = None
    ) -> None:
        self.address = address
        if address:
            cluster.join(address)
            self.gpu_memory_bytes = travel.gpu_memory_bytes(cluster.living_nodes())
        else:
            cluster.start_here(cpus)
            self.gpu_memory_bytes = this_machine().gpu_memory_bytes
        self.make = make or (_train_away if address else _train)
        self.pruner: Pruner | None = None
        self.store: StoreWriter | None = None
        self.luggage: travel.Luggage | None = None

    @property
    def machine(self) -> Machine:
        """What the nodes that there are now have together."""
        nodes = cluster.living_nodes()
        return Machine(
            cpus=cluster.total(nodes, "CPU"),
            gpus=cluster.total(nodes, "GPU"),
            gpu_memory_bytes=self.gpu_memory_bytes,
            memory_bytes=cluster.total(nodes, "memory"),
            accelerators=cluster.accelerators(nodes),
        )

    @property
    def cpus(self) -> int:
        """CPUs of the nodes that there are now."""
        return cluster.total(cluster.living_nodes(), "CPU")

    @property
    def gpus(self) -> int:
        """GPUs of the nodes that there are now."""
        return cluster.total(cluster.living_nodes(), "GPU")

    def slots(self, allotment: Allotment) -> int:
        """Return how many such trials can run at once; 0 where one never will, 1 where a cluster may grow."""
        found = cluster.how_many(cluster.living_nodes(), allotment)
        return found or int(cluster.could_hold(cluster.could_grow_to(), allotment))

    def has_room(self, allotment: Allotment, under_way: Sequence[Allotment]) -> bool:
        """Tell whether one more attempt can begin beside those under way.

        Where an autoscaler could bring the room, one attempt may wait for it: that makes the cluster grow.
        """
        nodes = [node for node in cluster.living_nodes() if not node.draining]
        if cluster.fits(nodes, [*under_way, allotment]):
            return True
        return cluster.could_hold(cluster.could_grow_to(), allotment) and cluster.fits(nodes, under_way)

    def fit_out(self, plan: Plan, store: StoreWriter, *, fresh: bool = False) -> None:
        """Make ready for the trials of a plan: its pruning, and on a cluster what its nodes need.

        Args:
            plan: what is to run.
            store: where to keep it.
            fresh: whether what the store holds does not count.

        Raises:
            HarnessError: a node does not see the store, or the project is too large to be sent.
        """
        self.store = store
        self.pruner = pruner_of(plan, store, fresh=fresh)
        if self.address:
            self.luggage = travel.pack(plan, store, self.address)

    def run(self, work: Work, listener: Listener) -> None:
        """Make the attempts that `work` gives until it is finished."""
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what failed stands in the store
        while not work.finished():
            self._run_some(work, listener)

    def _run_some(self, work: Work, listener: Listener) -> None:
        """Have Tune make attempts, until there are no more or it has seen enough of them."""
        departures = Departures(self.store)
        relay = Relay(listener, self.pruner, self.store, departures)
        feed = Feed(work, relay.kill, MOST_ATTEMPTS)
        relay.every_step = [_keeping(signal.SIGUSR1), feed.tick, relay.look_for_departures]
        if self.luggage is not None:
            relay.every_step.append(self.luggage.meet_new_nodes)
        with tempfile.TemporaryDirectory(prefix="harness-tune-") as scratch:
            tune.Tuner(
                tune.with_resources(_trainable(self.make), placement_of),
                tune_config=tune.TuneConfig(
                    search_alg=feed,
                    num_samples=-1,
                    reuse_actors=True,
                    trial_name_creator=_name,
                    trial_dirname_creator=_name,
                ),
                run_config=tune.RunConfig(
                    name="attempts",
                    storage_path=scratch,
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=0),
                    callbacks=[relay],
                ),
            ).fit()

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        ray.shutdown()


def _keeping(number: signal.Signals) -> Callable[[], None]:
    """Return what gives a signal back to whom it has now: Tune takes it when it begins."""
    handler = signal.getsignal(number)

    def give_back() -> None:
        is_taken = handler is not None and signal.getsignal(number) is not handler
        if is_taken and threading.current_thread() is threading.main_thread():
            signal.signal(number, handler)

    return give_back


def _trainable(make: Make) -> Callable[[dict[str, Any]], None]:
    """Return the function that Tune runs in a worker for every attempt."""

    def attempt(config: dict[str, Any]) -> None:
        def emit(event: Event | Placed) -> None:
            if isinstance(event, (EpochDone, Placed)):
                tune.report({"event": event})

        parcel: Parcel = config["parcel"]
        if parcel.task.allotment.processes > 1:
            run_group(parcel.task, make, emit)
        elif make(parcel.task, emit, 0) == "failed":
            # The record is written; raising makes Tune replace this process, which may hold
            # memory, or a device in a broken state.
            raise TrialError(f"trial {parcel.task.trial_id} failed; its record is in the store")

    return attempt


def _train(task: TrialTask, emit: Callable[[Event], None], rank: int) -> str:
    """Make one process's part of an attempt, in a worker."""
    from harness.execute.worker import PeersLost, execute_attempt  # imports torch: not in the driver

    try:
        return execute_attempt(task, emit, rank=rank)
    except PeersLost as error:
        raise AttemptLost(FailureKind.LOST_WORKER, str(error)) from error


def _train_away(task: TrialTask, emit: Callable[[Event], None], rank: int) -> str:
    """Do the same on a machine that may be another one than the driver's."""
    return _train(travel.at_home(task), emit, rank)


def _name(trial: Any) -> str:
    return str(parcel_of(trial))
