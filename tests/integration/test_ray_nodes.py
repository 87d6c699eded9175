"""The Ray executor on a cluster of two nodes, of which one goes away."""

import tempfile
import time
from dataclasses import replace

import pytest

from harness.execute.base import Ended, EpochDone
from harness.execute.ray_tune import RayExecutor
from harness.execute.ray_tune.cluster import living_nodes
from harness.execute.ray_tune.travel import ask_all
from harness.failures import FailureKind
from harness.store.write import create_store
from tests.support.listed_work import ListedWork, task, wait_to_be_asked


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # a short name: Ray puts sockets below it
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "include_dashboard": False, "temp_dir": folder},
        )
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="module")
def executor(cluster):
    executor = RayExecutor(address=cluster.address, make=wait_to_be_asked)
    yield executor
    executor.close()


def run_two(executor, store, once_both_run):
    """Run two attempts that wait; the one that is left when the first has ended is asked to end too."""
    executor.store = store
    work = ListedWork(executor, [replace(task(name), store=store.address) for name in ("one", "two")])
    ended = []

    def listen(event):
        work.listen(event)
        if isinstance(event, EpochDone) and len(work.seen) == 2:
            once_both_run()
        if isinstance(event, Ended) and not ended:
            ended.append(event)
            (left,) = work.under_way
            store.ask_to_end(left, 1, "preempted")

    executor.run(work, listen)
    (last,) = (event for event in work.events if isinstance(event, Ended) and event != ended[0])
    return ended[0], last


def test_an_attempt_on_a_node_that_is_asked_to_leave_is_asked_to_end_in_time(cluster, executor, tmp_path):
    node = cluster.add_node(num_cpus=1)
    store = create_store(tmp_path / "store")
    first, last = run_two(executor, store, lambda: drain(cluster.address, node.node_id))
    assert (first.failed, last.failed) == (False, False)  # both ended by themselves, as they were asked
    cluster.remove_node(node)


def test_an_attempt_on_a_node_that_dies_is_lost_and_the_others_go_on(cluster, executor, tmp_path):
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    assert executor.machine.cpus == 2
    store = create_store(tmp_path / "store")
    first, last = run_two(executor, store, lambda: cluster.remove_node(node, allow_graceful=False))
    assert (first.failed, first.loss) == (True, FailureKind.LOST_NODE), first.said
    assert not last.failed
    deadline = time.monotonic() + 30  # until the cluster knows
    while executor.machine.cpus == 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_node_that_leaves_while_all_are_asked_is_left_out(cluster, executor):
    node = cluster.add_node(num_cpus=1)
    assert executor.machine.cpus == 2
    both = living_nodes()
    cluster.remove_node(node, allow_graceful=False)
    answers = ask_all(both, lambda: "here", "does not answer")
    assert answers == [(one, "here") for one in both if one.id != node.node_id]


def drain(address, node):
    """Tell a node, as a cloud does, that it goes in a minute."""
    from ray._raylet import GcsClient
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, why = GcsClient(address).drain_node(node, reason, "spot", int(time.time() * 1000) + 60_000)
    assert accepted, why
