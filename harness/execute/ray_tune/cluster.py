"""A Ray cluster: started here or joined; its nodes and their room."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import ray
from ray._private import ray_constants
from ray._private.services import get_node_ip_address
from ray._private.state import state as ray_state  # nodes that drain are in no public call
from ray._raylet import PlacementGroupID

from harness.allotment import Allotment
from harness.errors import HarnessError

CONNECT_SECONDS = 5.0
INTERRUPTED = 130
OF_AN_ACCELERATOR = 0.001  # what Ray itself asks for of a node's resource `accelerator_type:MODEL`


@dataclass(frozen=True)
class Node:
    """A living machine of a cluster."""

    id: str
    host: str
    resources: dict[str, float]
    """Whole amounts: CPU, GPU, memory (bytes), accelerator_type:MODEL."""
    labels: dict[str, str] = field(default_factory=dict)
    draining: bool = False
    """Asked to leave: nothing new begins there."""


def join(address: str, **options: Any) -> None:
    """Connect to a running cluster.

    Raises:
        HarnessError: nobody answers there, or refuses.
    """
    _require_listener(address)
    with _on_loopback() if _is_on_loopback_alone(address) else nullcontext():
        _init(address, address=address, include_dashboard=None, **options)


def start_here(cpus: int | None) -> None:
    """Start a cluster of this machine alone, that ends with this process and listens on loopback.

    Raises:
        HarnessError: Ray does not start.
    """
    with _on_loopback():
        _init("this machine", address="local", num_cpus=cpus, include_dashboard=False)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray take 127.0.0.1 for the address of this machine: its servers then listen there alone.

    It does so where it builds no clusters of several machines, on Windows and macOS; `_node_ip_address`
    is no way, since Ray puts the machine's own address in place of a local one.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _is_on_loopback_alone(address: str) -> bool:
    """Tell whether a cluster listens at 127.0.0.1 and not at this machine's own address, as ours do.

    Ray puts the machine's own address in place of a local one, and would try that for minutes.
    """
    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost"):
        return False
    try:
        socket.create_connection((get_node_ip_address(), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError:
        return True
    return False


def _ending_on_signals() -> None:
    """Have SIGTERM and SIGUSR1 end this process quietly until the driver takes them over.

    Ray puts handlers of its C++ side in place of the default ones: they print a stack, and abort.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGUSR1):
        if signal.getsignal(number) in (signal.SIG_DFL, None):
            signal.signal(number, lambda number, frame: sys.exit(INTERRUPTED))


def _init(place: str, **options: Any) -> None:
    _ending_on_signals()
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        if _is_refused(error):
            raise HarnessError(
                f"Ray at {place} refuses: its token differs, or none is here; copy the cluster's token to "
                "~/.ray/auth_token of this machine, or into RAY_AUTH_TOKEN, and set RAY_AUTH_MODE=token"
            ) from error
        raise HarnessError(f"cannot reach Ray at {place}: {error}") from error
    _ending_on_signals()


def _is_refused(error: BaseException | None) -> bool:
    """Tell whether a token that is wrong, or missing, is behind an error."""
    while error is not None:
        if type(error).__name__ == "AuthenticationError" or "AuthToken" in str(
            error
        ):  # Ray has it from 2.52 on
            return True
        error = error.__cause__ or error.__context__
    return False


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


def living_nodes() -> list[Node]:
    """Return the machines of the cluster that this process is connected to."""
    draining = leaving_nodes()
    return [
        Node(
            id=node["NodeID"],
            host=node["NodeManagerHostname"],
            resources=dict(node["Resources"]),
            labels=dict(node["Labels"]),
            draining=node["NodeID"] in draining,
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def leaving_nodes() -> set[str]:
    """Return the ids of the nodes that have been asked to leave."""
    return set(ray_state.get_draining_nodes())


def total(nodes: Sequence[Node], resource: str) -> int:
    """Return the amount of a resource over nodes."""
    return int(sum(node.resources.get(resource, 0) for node in nodes))


def accelerators(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Return the models of the nodes' GPUs, each once."""
    prefix = "accelerator_type:"
    names = [
        name.removeprefix(prefix) for node in nodes for name in node.resources if name.startswith(prefix)
    ]
    return tuple(dict.fromkeys(names))


def could_grow_to() -> dict[str, float]:
    """Return the most of each resource that the cluster's autoscaler could bring; empty without one."""
    return dict(ray_state.get_max_resources_from_cluster_config() or {})


def could_hold(most: dict[str, float], allotment: Allotment) -> bool:
    """Tell whether an autoscaler that brings so much at the most could make room for an attempt."""
    wanted = {name: amount * allotment.processes for name, amount in demand(allotment).items()}
    return bool(most) and all(most.get(name, 0.0) >= wanted.get(name, 0.0) for name in ("CPU", "GPU"))


def node_of_actor(actor: Any) -> str | None:
    """Return the node that an actor runs on, or none where it has not begun."""
    found = ray_state.actor_table(actor._actor_id.hex())
    return found.get("Address", {}).get("NodeID") or None if found else None


def nodes_of_group(group: str) -> set[str]:
    """Return the nodes that the bundles of a placement group lie on."""
    found = ray_state.placement_group_table(PlacementGroupID.from_hex(group))
    return set(found.get("bundles_to_node_id", {}).values())


def demand(allotment: Allotment) -> dict[str, float]:
    """Return what one process of an attempt takes, as Ray calls it."""
    wanted = {
        "CPU": float(allotment.cpus),
        "GPU": allotment.gpus,
        "memory": float(allotment.memory_bytes or 0),
    }
    if allotment.accelerator is not None:
        wanted[f"accelerator_type:{allotment.accelerator}"] = OF_AN_ACCELERATOR
    return {name: amount for name, amount in wanted.items() if amount}


def fits(nodes: Sequence[Node], allotments: Sequence[Allotment]) -> bool:
    """Tell whether all these attempts find room at once, the largest placed first, on empty nodes."""
    free = [dict(node.resources) for node in nodes]
    ordered = sorted(allotments, key=lambda one: (one.gpus, one.cpus, one.memory_bytes or 0), reverse=True)
    return all(_place(nodes, free, allotment) for allotment in ordered for _ in range(allotment.processes))


def how_many(nodes: Sequence[Node], allotment: Allotment) -> int:
    """Return how many such attempts find room at once on empty nodes."""
    free = [dict(node.resources) for node in nodes]
    processes = 0
    while _place(nodes, free, allotment):
        processes += 1
    return processes // allotment.processes


def _place(nodes: Sequence[Node], free: list[dict[str, float]], allotment: Allotment) -> bool:
    """Take what one process needs from the fullest node that has it; return whether there is one."""
    wanted = demand(allotment)
    able = [
        left
        for node, left in zip(nodes, free, strict=True)
        if all(node.labels.get(label) == value for label, value in allotment.node.items())
        and all(left.get(name, 0.0) >= amount - 1e-6 for name, amount in wanted.items())
    ]
    if not able:
        return False
    chosen = min(able, key=lambda left: (left.get("GPU", 0.0), left.get("CPU", 0.0)))
    for name, amount in wanted.items():
        chosen[name] -= amount
    return True
