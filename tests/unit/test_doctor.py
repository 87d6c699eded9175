"""What `harness doctor` finds, on this machine and where something is wrong."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from harness.doctor import Finding, probe, unmet

HARNESS = str(Path(sys.executable).parent / "harness")


def doctor(folder, *arguments, **environment):
    return subprocess.run(
        [HARNESS, "doctor", "--store", str(folder / "runs"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return one look at this machine, its findings by name, and the seconds of CPU that it took.

    Seconds of CPU do not depend on what else the machine does.
    """
    folder = tmp_path_factory.mktemp("doctor")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = doctor(folder, "--json", TORCH_HOME=str(folder), OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    findings = {found["name"]: found for found in json.loads(result.stdout)}
    assert not (folder / "runs").exists()
    return result, findings, seconds


def test_it_is_quick_and_finds_nothing_broken_here(told):
    result, findings, seconds = told
    assert [found for found in findings.values() if found["state"] == "fail"] == []
    assert result.returncode == 0
    assert seconds < 20  # about 10 s of the clock on 2 cores


def test_it_tells_what_it_found_of_everything_that_a_run_relies_on(told):
    import torch

    _, findings, _ = told
    assert {
        *("python", "torch imports", "GPUs", "NCCL", "ray imports", "torchvision fits torch", "c++", "ninja"),
        *("perceptual weights", "hub", "store", "cache", "CPUs"),
    } <= set(findings)
    assert findings["torch imports"]["found"].startswith(torch.__version__)
    assert "HF_HUB_OFFLINE" in findings["hub"]["found"]
    assert findings["deepspeed"]["group"] == "package"


def test_missing_weights_are_a_warning_with_the_command_that_gets_them(told):
    _, findings, _ = told
    found = findings["perceptual weights"]
    assert found["state"] == "warn"
    assert found["found"].startswith("alex, vgg, squeeze not in ")
    assert found["way_out"] == "harness weights SUITE --fetch"


def test_it_sees_weights_that_are_there_too_many_threads_and_a_proxy_without_its_password(tmp_path):
    from harness.losses.perceptual_network import BACKBONES

    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    for backbone in BACKBONES.values():
        (tmp_path / "hub" / "checkpoints" / backbone.file).write_bytes(b"made up")
    proxy = {"HTTPS_PROXY": "http://me:secret@proxy:8080", "HF_HUB_OFFLINE": "0"}
    result = doctor(tmp_path, TORCH_HOME=str(tmp_path), OMP_NUM_THREADS="5000", **proxy)
    assert f"all in {tmp_path}/hub/checkpoints" in result.stdout
    assert "unset OMP_NUM_THREADS" in result.stdout
    assert "through http://proxy:8080" in result.stdout
    assert "secret" not in result.stdout
    assert " within what the harness asks for" in result.stdout
    assert "segmentation-models-pytorch" not in result.stdout


def test_a_store_that_cannot_be_written_fails_with_exit_code_2(tmp_path):
    (tmp_path / "runs").write_text("a file")
    result = doctor(tmp_path)
    assert result.returncode == 2
    assert "✗ store" in result.stdout
    assert "set HARNESS_STORE to a folder that you may write" in result.stdout


def test_requirements_are_compared_with_what_is_installed():
    installed = {"there": "2.5", "old": "1.0", "pre": "2.0rc1"}
    found = list(
        unmet(
            ["there>=2,<3", "old>=2,<3", "gone[extra]>=1", "pre>=2.0rc1", 'skipped>=1; extra == "dev"'],
            installed.get,
        )
    )
    assert found == [
        Finding("there", "ok", "2.5", group="package"),
        Finding("old", "fail", "1.0, expected <3,>=2", "pip install 'old<3,>=2'", group="package"),
        Finding("gone", "fail", "not installed", "pip install 'gone>=1'", group="package"),
        Finding("pre", "ok", "2.0rc1", group="package"),
    ]


def test_a_broken_package_is_told_by_its_own_last_line():
    assert probe("import json; print(json.dumps({'a': 1}))").answer == {"a": 1}
    assert probe("raise ImportError('libcudart.so.13: cannot open')").error == (
        "ImportError: libcudart.so.13: cannot open"
    )
    assert probe("import sys; sys.exit(3)").error == "ended with 3"
    assert probe("import time; time.sleep(60)", seconds=0.5).error == "no answer within 0 s"


@pytest.mark.slow
def test_deep_starts_ray(tmp_path):
    result = doctor(tmp_path, "--deep", "--json")
    found = {found["name"]: found for found in json.loads(result.stdout)}["ray starts"]
    assert (found["state"], found["found"]) == ("ok", "a cluster with 1 CPU started and ended")
