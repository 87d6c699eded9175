"""Ray's cluster launcher: `ray up` for AWS, Google Cloud and machines of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path

from harness.launch.job import Job
from harness.launch.render import home_path, shell
from harness.launch.state import Cluster
from harness.launch.tools import Call, call

DASHBOARD = "http://127.0.0.1:8265"
"""Address of Ray's jobs on the head itself; no other machine reaches it."""


def up(cluster: Cluster) -> list[Call]:
    """Make Ray's token where it is missing, then the machines."""
    return [*_make_token(cluster), call("ray", "up", "--yes", str(cluster.manifest()))]


def submit(cluster: Cluster, job: Job) -> list[Call]:
    """Copy the project to the head and start the run there, as a job of Ray."""
    folder = f"{cluster.facts['project']}/{job.name}"
    run = shell("cd {} && exec ", folder) + shlex.join(job.command("auto"))
    start = shlex.join(
        ["ray", "job", "submit", "--address", DASHBOARD, "--no-wait", "--submission-id", job.name]
    )
    return [
        _on_head(cluster, shell("mkdir -p {}", folder)),
        call("ray", "rsync-up", str(cluster.manifest()), "./", f"{folder}/"),
        _on_head(cluster, f"{start} -- {shell('bash -c {}', run)}"),
    ]


def status(cluster: Cluster) -> list[Call]:
    """Nodes and what they are asked for; the newest job."""
    calls = [_on_head(cluster, "ray status")]
    if cluster.job:
        calls.append(_on_head(cluster, shell("ray job status --address {} {}", DASHBOARD, cluster.job)))
    return calls


def logs(cluster: Cluster, lines: int, follow: bool) -> list[Call]:
    """Return what the newest job printed; the autoscaler's log where there is none."""
    if not cluster.job:
        command = f"tail -n {lines} {'-f ' if follow else ''}/tmp/ray/session_latest/logs/monitor.log"
    elif follow:
        command = shell("ray job logs --follow --address {} {}", DASHBOARD, cluster.job)
    else:
        command = shell("ray job logs --address {} {}", DASHBOARD, cluster.job) + f" | tail -n {lines}"
    return [_on_head(cluster, command)]


def down(cluster: Cluster) -> list[Call]:
    """End Ray on the head, then the machines, which are one's own no longer."""
    gone = call("ray", "down", "--yes", str(cluster.manifest()))
    if cluster.kind != "onpremise":
        return [gone]
    # `ray down` asks the head for a `ray` on PATH, which one in an environment is not.
    ended = _on_head(cluster, "ray stop")
    return [Call(ended.words, keep_going=True), gone]


def _on_head(cluster: Cluster, command: str) -> Call:
    prefix = cluster.facts.get("activate", "")
    return call("ray", "exec", str(cluster.manifest()), prefix + command)


def _make_token(cluster: Cluster) -> list[Call]:
    token = cluster.facts["token_file"]
    if Path(token).expanduser().is_file():
        return []
    word = home_path(token)
    # A file that only this user may read, from the moment it is there.
    made = 'od -An -N32 -tx1 /dev/urandom | tr -d " \\n"'
    return [call("bash", "-c", f'umask 077 && mkdir -p "$(dirname {word})" && {made} > {word}')]
