"""Slurm: each submission is one job, with a Ray cluster of its own inside."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.launch.job import Job
from harness.launch.state import Cluster
from harness.launch.tools import Call, call


def up(cluster: Cluster) -> list[Call]:
    """Nothing: each submission is a cluster of its own."""
    return []


def submit(cluster: Cluster, job: Job) -> list[Call]:
    """Queue the job; it answers its number."""
    return [call("sbatch", "--parsable", str(cluster.manifest()), *job.arguments)]


def status(cluster: Cluster) -> list[Call]:
    """Where the newest job stands in the queue."""
    columns = "JobID,State,Reason,NodeList,TimeLeft,RestartCnt"
    return [call("squeue", f"--jobs={_job(cluster)}", f"--Format={columns}")]


def logs(cluster: Cluster, lines: int, follow: bool) -> list[Call]:
    """Return the end of the newest job's log."""
    folder = cluster.facts["log"]
    file = f"{folder}/{cluster.facts['resource']}-{_job(cluster)}.log"
    return [call("tail", "-n", str(lines), *(["-F"] if follow else []), file)]


def down(cluster: Cluster) -> list[Call]:
    """Cancel the newest job: trials write their states and the job ends, without queueing again."""
    if cluster.job is None:
        return []
    # The batch script alone: it ends the run first and Ray after it.
    calls = [("--state=PENDING",), ("--batch", "--signal=TERM")]
    return [Call(("scancel", *options, cluster.job), keep_going=True) for options in calls]


def job_name(answer: str) -> str:
    """Return the number of a job from what `sbatch --parsable` says: `123` or `123;cluster`."""
    return answer.partition(";")[0]


def _job(cluster: Cluster) -> str:
    if cluster.job is None:
        raise HarnessError(f"no job was submitted to {cluster.name} yet; `harness cluster submit SUITE` does")
    return cluster.job
