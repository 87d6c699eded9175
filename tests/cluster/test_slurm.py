"""The sbatch script under a real Slurm: two nodes on this machine. `make cluster-slurm`; needs root and Debian's slurm-wlm."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.store.read import StoreReader
from harness.testing.tiny import TINY

BIN = Path(sys.executable).parent
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")
LONGER = TINY.replace("train_size: 64", "train_size: 256").replace("epochs: 3", "epochs: 25")
CONFIGURATION = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=1000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=here Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def slurm():
    """Start munged, a controller and two nodes in a short folder of their own."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}")
    folder = Path(f"/tmp/hs{os.getpid()}")
    folder.mkdir(mode=0o755)
    for name in ("state", "munge"):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(host=socket.gethostname(), folder=folder, ports=free_ports(3))
    )
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    munge = [f"--{name}={folder}/munge/{name}" for name in ("pid-file", "log-file", "seed-file")]
    started = [
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.sock", *munge],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-N", "n1"],
        ["slurmd", "-D", "-N", "n2"],
    ]
    try:
        with contextlib.ExitStack() as stack:
            for number, words in enumerate(started):
                stack.enter_context(running(words, environment, folder / f"{number}-{words[0]}.out"))
            wait_for(lambda: asked(environment, "sinfo", "-h", "-o", "%D %T").startswith("2 idle"), 60)
            try:
                yield folder, environment
            finally:
                asked(environment, "scancel", "--user=root")
                wait_for(lambda: not asked(environment, "squeue", "-h"), 120)
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def running(words, environment, log):
    """Run a daemon in the foreground, and end it."""
    with log.open("w") as output:
        process = subprocess.Popen(words, env=environment, stdout=output, stderr=output)
    time.sleep(1)
    assert process.poll() is None, log.read_text()
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def asked(environment, *words):
    return subprocess.run(words, env=environment, capture_output=True, text=True).stdout.strip()


def wait_for(condition, seconds, said=lambda: ""):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in {seconds} s\n{said()}"
        time.sleep(0.2)


class Submitted:
    """A project with one suite, submitted as a job of Slurm."""

    def __init__(self, slurm, suite, *options):
        self.folder, self.environment = slurm
        self.project = Path(f"{self.folder}/project-{time.monotonic_ns()}")
        (self.project / "suites").mkdir(parents=True)
        (self.project / "suites" / "s.yaml").write_text(suite)
        self.store = self.project / "results"
        settings = {
            "name": "s",
            "environment": BIN.parent,
            "nodes": 2,
            "cpus": 1,
            "scratch": self.folder,
            "shared": self.folder,
            "store": self.store,
            "cache": self.folder / "cache",
            "log": self.project,
            **dict(options),
        }
        self.harness(
            "up", "slurm", *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))
        )
        self.harness("submit", "suites/s.yaml", "--seeds", "1", "--no-preflight")
        self.job = self.show("JobId")

    def harness(self, *words):
        done = subprocess.run(
            [BIN / "harness", "cluster", *words],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def show(self, column):
        """Return what Slurm says of the newest job, by the name that it has there."""
        words = asked(self.environment, "scontrol", "--oneliner", "show", "jobs").splitlines()[-1].split()
        return dict(word.partition("=")[::2] for word in words)[column]

    def has_ended(self):
        """Tell whether the job is over; one that queues again need not wait here as Slurm lets it."""
        if self.show("JobState") == "PENDING":
            asked(self.environment, "scontrol", "update", f"JobId={self.job}", "StartTime=now")
        return self.show("JobState") in ("COMPLETED", "FAILED")

    def attempts(self):
        return StoreReader(self.store).tables()["attempts"].to_pylist() if self.store.is_dir() else []

    def wait_for_epoch(self):
        wait_for(lambda: any(row["epochs_done"] for row in self.attempts()), 180, self.log)

    def log(self):
        return "\n".join(file.read_text() for file in self.project.glob("*.log"))


def test_a_job_trains_on_its_nodes_goes_on_after_notice_and_leaves_nothing(slurm):
    job = Submitted(slurm, LONGER)
    job.wait_for_epoch()
    subprocess.run(["scancel", "--batch", "--signal=USR1", job.job], env=job.environment, check=True)
    wait_for(lambda: job.show("Restarts") == "1", 120, job.log)
    before = {(row["trial_id"], row["attempt"]): row["status"] for row in job.attempts()}
    assert "interrupted" in before.values()
    wait_for(job.has_ended, 600, job.log)
    assert job.show("JobState") == "COMPLETED", job.log()
    trials = {row["trial_id"]: row for row in job.attempts() if row["status"] == "complete"}
    assert len(trials) == 3
    assert any(row["resumed_from"] is not None for row in trials.values())
    assert not list(job.folder.glob("ray-*"))


def test_down_ends_the_job_with_states_written_and_it_does_not_queue_again(slurm):
    job = Submitted(slurm, LONGER)
    job.wait_for_epoch()
    job.harness("down")
    wait_for(lambda: job.show("JobState") not in ("RUNNING", "COMPLETING", "PENDING"), 120, job.log)
    assert job.show("Restarts") == "0"
    assert "interrupted" in {row["status"] for row in job.attempts()}


def test_the_notice_before_the_run_is_ready_queues_the_job_again(slurm):
    job = Submitted(slurm, LONGER)
    wait_for(lambda: "Ray runtime started" in job.log(), 120, job.log)
    subprocess.run(["scancel", "--batch", "--signal=USR1", job.job], env=job.environment, check=True)
    wait_for(lambda: job.show("Restarts") == "1", 120, job.log)
    subprocess.run(["scancel", job.job], env=job.environment, check=True)
