"""`ray start` by hand: the head here, a script for each other machine."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from harness.launch.job import Job
from harness.launch.state import Cluster
from harness.launch.tools import Call, call

LOG = "head.log"


def up(cluster: Cluster) -> list[Call]:
    """Start the head as a process that stays."""
    return [replace(call("bash", str(cluster.manifest("head.sh"))), log=cluster.folder / LOG)]


def submit(cluster: Cluster, job: Job) -> list[Call]:
    """Run the suite from here, in the foreground: Ctrl-C writes states and ends it."""
    return [_with_token(cluster, *job.command(cluster.facts["address"]))]


def status(cluster: Cluster) -> list[Call]:
    """Nodes and what is in use."""
    return [_with_token(cluster, "ray", "status", f"--address={cluster.facts['address']}")]


def logs(cluster: Cluster, lines: int, follow: bool) -> list[Call]:
    """Return the end of the head's log."""
    return [call("tail", "-n", str(lines), *(["-F"] if follow else []), str(cluster.folder / LOG))]


def down(cluster: Cluster) -> list[Call]:
    """End the head that was started here, and nothing else; workers end when they miss it."""
    if cluster.process is None or not _is_head(cluster):
        return []
    return [call("kill", "-TERM", str(cluster.process))]


def _is_head(cluster: Cluster) -> bool:
    """Tell whether the process is still that head: another one may have got its number."""
    done = subprocess.run(
        ["ps", "-ww", "-p", str(cluster.process), "-o", "args="], capture_output=True, text=True, check=False
    )
    port = cluster.facts["address"].rpartition(":")[2]
    return "start --head" in done.stdout and f"--port={port}" in done.stdout


def _with_token(cluster: Cluster, *words: str) -> Call:
    token = Path(cluster.facts["token_file"]).expanduser()
    return call(*words, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
