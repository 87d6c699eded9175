"""`harness cluster` with plain `ray start`: a head and a second node on this machine, a token, a run, the end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.store.read import StoreReader
from harness.testing.tiny import TINY

BIN = Path(sys.executable).parent


@pytest.fixture
def folder():
    """Return a project in a short folder: sockets of Ray lie below it."""
    path = Path(f"/tmp/hp{os.getpid()}")
    (path / "suites").mkdir(parents=True)
    (path / "suites" / "tiny.yaml").write_text(TINY)
    yield path
    for state in path.glob(".harness/clusters/*.json"):
        cluster(path, "down", state.stem)
    shutil.rmtree(path, ignore_errors=True)


def cluster(folder, *words):
    environment = {**os.environ, "HARNESS_CACHE": str(folder / "cache")}
    return subprocess.run(
        [BIN / "harness", "cluster", *words], cwd=folder, env=environment, capture_output=True, text=True
    )


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def is_listening(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in {seconds} s"
        time.sleep(0.5)


def processes_of(folder):
    """Return the processes that hold the folder on their command line."""
    return [
        one for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or ())
    ]


@pytest.mark.long  # tests/chaos runs on such a cluster, too
def test_a_suite_runs_on_two_nodes_that_ask_for_a_token(folder):
    port = free_port()
    settings = [
        f"port={port}",
        f"scratch={folder}/r",
        f"token_file={folder}/token/auth",
        f"environment={BIN.parent}",
        "cpus=1",
        f"cache={folder}/cache",
    ]
    made = cluster(folder, "up", "plain", *(word for text in settings for word in ("--set", text)))
    assert made.returncode == 0, made.stderr
    wait_for(lambda: is_listening(port))
    token = folder / "token" / "auth"
    assert token.stat().st_mode & 0o777 == 0o600

    worker = subprocess.Popen(
        ["bash", folder / ".harness" / "clusters" / "harness" / "worker.sh"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: "0.0/2.0 CPU" in cluster(folder, "status").stdout)
        stranger = subprocess.run(
            [BIN / "ray", "status", f"--address=127.0.0.1:{port}"],
            env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "guessed"},
            capture_output=True,
            text=True,
        )
        assert stranger.returncode != 0
        assert "InvalidAuthToken" in stranger.stderr

        ran = cluster(
            folder, "submit", "suites/tiny.yaml", "--store", "results", "--seeds", "1", "--no-preflight"
        )
        assert ran.returncode == 0, ran.stderr
        rows = StoreReader(folder / "results").tables()["attempts"].to_pylist()
        assert [row["status"] for row in rows] == ["complete"] * 3

    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(timeout=60)
    assert cluster(folder, "down").returncode == 0
    wait_for(lambda: not processes_of(folder))
    assert not list(folder.glob(".harness/clusters/*.json"))
