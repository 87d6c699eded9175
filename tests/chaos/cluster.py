"""A Ray cluster of several nodes on this machine: a raylet each, with one CPU."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

NODES = 3
TOKEN = secrets.token_hex(32)  # one for every cluster of this process: Ray reads it once


class RayCluster:
    """A head without CPUs, which drivers connect to, and nodes that come and go."""

    def __init__(self, environment: dict[str, str]) -> None:
        os.environ.update(environment)  # raylets hand their environment on to the workers
        os.environ.update(
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN=TOKEN,
            RAY_USAGE_STATS_ENABLED="0",
            RAY_DISABLE_IMPORT_WARNING="1",
        )
        self.scratch = tempfile.TemporaryDirectory(prefix="chaos-")
        os.environ["RAY_TMPDIR"] = self.scratch.name  # else Ray notes this cluster as everybody's here
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False},
        )
        self.nodes: list[Any] = []
        for _ in range(NODES):
            self.add_node()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add_node(self) -> None:
        self.nodes.append(self.cluster.add_node(num_cpus=1))

    def kill_node(self, index: int) -> int:
        """kill -9 of a raylet; return its process id. Its workers find out by themselves."""
        node = self.nodes.pop(index)
        pid = raylet_of(node)
        node.kill_raylet(check_alive=False)
        return pid

    def close(self) -> None:
        for node in [*self.nodes, self.cluster.head_node]:
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        self.scratch.cleanup()

    def logs(self) -> Path:
        return Path(self.scratch.name)


def raylet_of(node: Any) -> int:
    """Return the process id of a node's raylet."""
    [info] = node.all_processes["raylet"]
    return int(info.process.pid)
