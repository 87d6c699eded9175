"""The short form of `make chaos`: a cluster of three nodes, a suite of twelve trials, a fault of each of five kinds."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)  # some fifteen processes that import torch: minutes where other tests run beside it
def test_nothing_is_lost_or_done_twice_whatever_dies(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tests.chaos",
        "ray:folder=1",
        "--short",
        "--one-process",
        "--epochs",
        "6",
        "--seeds",
        "2",
    ]
    process = subprocess.Popen(
        [*command, "--folder", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate()
    finally:
        process.terminate()  # where the test is ended early: what it started, and its disk, go with it
        process.wait(60)
    assert process.returncode == 0, said
    assert "faults           5" in said
