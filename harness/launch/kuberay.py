"""Kubernetes, through `kubectl` and the KubeRay operator: a RayCluster that stays, a RayJob for one suite."""

from __future__ import annotations

import shlex

from harness.launch.job import Job
from harness.launch.render import shell
from harness.launch.state import Cluster
from harness.launch.tools import Call, call

DASHBOARD = "http://127.0.0.1:8265"
LEFT_OUT = ("./.git", "./.venv", "./.harness", "./runs", "__pycache__")
"""What is not copied of a project: history, environments, results."""
READY_SECONDS = 900


def up(cluster: Cluster) -> list[Call]:
    """Apply the manifest and wait for the head."""
    return [
        call("kubectl", "apply", "--filename", str(cluster.manifest())),
        _kubectl(
            cluster,
            "wait",
            f"raycluster/{_resource(cluster)}",
            "--for=condition=HeadPodReady",
            f"--timeout={READY_SECONDS}s",
        ),
    ]


def submit(cluster: Cluster, job: Job) -> list[Call]:
    """Copy the project to the head and start the run there, as a job of Ray."""
    folder = f"{cluster.facts['project']}/{job.name}"
    run = shell("cd {} && exec ", folder) + shlex.join(job.command("auto"))
    unpack = _on_head(cluster, "tar", "--extract", "--directory", folder, is_fed=True)
    pack = ("tar", "--create", *(f"--exclude={name}" for name in LEFT_OUT), ".")
    start = ("ray", "job", "submit", "--address", DASHBOARD, "--no-wait", "--submission-id", job.name)
    return [
        _on_head(cluster, "mkdir", "-p", folder),
        Call(unpack.words, fed_by=pack),
        _on_head(cluster, *start, "--", "bash", "-c", run),
    ]


def status(cluster: Cluster) -> list[Call]:
    """The resource, its pods, Ray's own view, the newest job."""
    name = _resource(cluster)
    calls = [
        _kubectl(cluster, "get", "raycluster", name),
        _kubectl(cluster, "get", "pods", f"--selector=ray.io/cluster={name}"),
        _on_head(cluster, "ray", "status"),
    ]
    if cluster.job:
        calls.append(_on_head(cluster, "ray", "job", "status", "--address", DASHBOARD, cluster.job))
    return calls


def logs(cluster: Cluster, lines: int, follow: bool) -> list[Call]:
    """Return what the newest job printed; the head's log where there is none."""
    if not cluster.job:
        words = ["logs", f"service/{_resource(cluster)}-head-svc", "--container=ray-head", f"--tail={lines}"]
        return [_kubectl(cluster, *words, *(["--follow"] if follow else []))]
    words = ["ray", "job", "logs", "--address", DASHBOARD, *(["--follow"] if follow else []), cluster.job]
    return [_on_head(cluster, *words)]


def down(cluster: Cluster) -> list[Call]:
    """Delete the cluster; the operator ends its pods."""
    return [_kubectl(cluster, "delete", "raycluster", _resource(cluster), "--ignore-not-found")]


def job_up(cluster: Cluster) -> list[Call]:
    """Nothing: each submission is a cluster of its own."""
    return []


def job_submit(cluster: Cluster, job: Job) -> list[Call]:
    """Create a RayJob; it answers its name."""
    return [call("kubectl", "create", "--filename", str(cluster.manifest()), "--output=name")]


def job_status(cluster: Cluster) -> list[Call]:
    """The RayJobs of this cluster, newest last, and their pods."""
    selector = f"--selector=harness-cluster={cluster.name}"
    return [_kubectl(cluster, "get", "rayjob", selector, "--sort-by=.metadata.creationTimestamp")]


def job_logs(cluster: Cluster, lines: int, follow: bool) -> list[Call]:
    """Return what the newest RayJob printed, from the pod that submitted it."""
    words = ["logs", f"job/{cluster.job}", f"--tail={lines}", *(["--follow"] if follow else [])]
    return [_kubectl(cluster, *words)]


def job_down(cluster: Cluster) -> list[Call]:
    """Delete the RayJobs of this cluster, with their pods."""
    selector = f"--selector=harness-cluster={cluster.name}"
    return [_kubectl(cluster, "delete", "rayjob", selector, "--ignore-not-found")]


def job_name(answer: str) -> str:
    """Return the name of a RayJob from what `kubectl create --output=name` says."""
    return answer.rpartition("/")[2]


def _resource(cluster: Cluster) -> str:
    return cluster.facts["resource"]


def _kubectl(cluster: Cluster, *words: str) -> Call:
    return call("kubectl", f"--namespace={cluster.facts['namespace']}", *words)


def _on_head(cluster: Cluster, *words: str, is_fed: bool = False) -> Call:
    service = f"service/{_resource(cluster)}-head-svc"
    stdin = ["--stdin"] if is_fed else []
    return _kubectl(cluster, "exec", *stdin, service, "--container=ray-head", "--", *words)
