"""What the commands promise about time and about what they import."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.testing.tiny import TINY

HARNESS = str(Path(sys.executable).parent / "harness")
IMPORTED = """
import sys
from harness.cli import main
sys.argv = ["harness", *sys.argv[1:]]
try:
    main()
finally:
    heavy = sorted({"torch", "ray"} & set(sys.modules))
    print("imported:", *heavy, file=sys.stderr)
"""


def imported_by(*arguments):
    result = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments], capture_output=True, text=True, timeout=120
    )
    return result.stderr.strip().splitlines()[-1].removeprefix("imported:").split()


def test_help_answers_at_once():
    def seconds():
        started = time.perf_counter()
        subprocess.run([HARNESS, "--help"], check=True, capture_output=True)
        return time.perf_counter() - started

    assert min(seconds() for _ in range(5)) < 0.3


def test_help_imports_neither_torch_nor_ray():
    assert imported_by("--help") == []


def test_plan_does_not_import_ray(write_suite, tmp_path):
    assert imported_by("plan", str(write_suite(TINY)), "--store", str(tmp_path / "s")) == ["torch"]


def test_plan_prints_one_json_document(write_suite, tmp_path):
    result = subprocess.run(
        [HARNESS, "plan", str(write_suite(TINY)), "--store", str(tmp_path / "s"), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(result.stdout)
    assert len(document["trials"]) == len(document["missing"]) == 6
    assert document["estimate"]["expected"]["seconds"] > 0
    assert not (tmp_path / "s").exists()


def test_plan_names_what_differs_the_count_and_the_time(write_suite, tmp_path):
    result = subprocess.run(
        [HARNESS, "plan", str(write_suite(TINY)), "--store", str(tmp_path / "s")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "3 variants x 2 seeds = 6 trials, 6 to run, about" in result.stdout
    assert "loss.l1 = 0.5" in result.stdout
    assert "timed steps on this machine" in result.stdout


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_wrong_suite_is_refused_with_every_mistake_and_no_traceback(command, write_suite, tmp_path):
    text = TINY.replace("conditional_unet", "conditional_unnet").replace("epochs: 3", "epochs: x")
    path = write_suite(text.replace("seeds: 2", "sedes: 2"))
    result = subprocess.run(
        [HARNESS, command, str(path), "--store", str(tmp_path / "s")], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{path}:7:17  base.model.name: no model 'conditional_unnet'; did you mean 'conditional_unet'?",
        f'{path}:11:19  base.train.epochs: should be a valid integer, got "x"',
        f"{path}:19:1  sedes: no such setting; did you mean 'seeds'?",
        "3 errors, nothing was started",
    ]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "no 'nowhere' in suites"),
        (["run", "a" * 300], "File name too long"),
        (["report", "--store", "nowhere"], "no store at"),
        (["query", "select 1", "--store", "nowhere"], "no store at"),
        (["run", "colorization_losses", "-p", "smoke", "--executor", "slurm"], "no executor 'slurm'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path):
    result = subprocess.run([HARNESS, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
