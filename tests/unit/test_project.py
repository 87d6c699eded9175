"""`harness init` writes a project that runs at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.project import create_project

HARNESS = str(Path(sys.executable).parent / "harness")


def harness(*arguments, cwd):
    return subprocess.run([HARNESS, *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a project, written by the command."""
    folder = tmp_path_factory.mktemp("home") / "my studies"
    result = harness("init", str(folder), cwd=folder.parent)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"cd '{folder}'",
        "harness run suites/example.yaml --profile smoke",
    ]
    return folder


def test_it_holds_a_suite_an_ablation_a_part_and_what_explains_them(project):
    files = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    assert files == {
        ".gitignore",
        "README.md",
        "ablations/capacity.yaml",
        "my_parts.py",
        "suites/example.yaml",
        "suites/suite.schema.json",
    }
    assert "runs/" in (project / ".gitignore").read_text().splitlines()


@pytest.mark.slow
def test_its_suite_runs_as_it_is(project):
    result = harness("run", "suites/example.yaml", "--profile", "smoke", "--executor", "local", cwd=project)
    assert result.returncode == 0, result.stderr
    *_, last = result.stdout.splitlines()
    assert last.startswith("report  runs/reports/")
    assert (project / last.removeprefix("report  ")).is_file()
    answer = harness(
        "query", "select count(*) as n from trials where status = 'complete'", "--format", "csv", cwd=project
    )
    assert answer.stdout.split() == ["n", "10"]  # 5 variants x 2 seeds


def test_its_commands_for_the_laptop_are_planned(project):
    result = harness("plan", "suites/example.yaml", "--profile", "laptop", cwd=project)
    assert result.returncode == 0, result.stderr
    assert "5 variants x 5 seeds = 25 trials" in result.stdout


def test_its_own_ablation_and_loss_are_listed_and_shown(project):
    assert "capacity" in harness("list", "ablations", cwd=project).stdout
    assert "epsilon" in harness("show", "loss", "my_parts:Charbonnier", cwd=project).stdout


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    result = harness("init", str(tmp_path), cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == (
        f"{tmp_path} is not empty: it holds thesis.tex; name a new folder, such as {tmp_path}/ablations\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_long_folder_is_not_listed_whole(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(HarnessError, match=r"holds 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more"):
        create_project(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(HarnessError, match="is a file; name a new folder"):
        create_project(tmp_path / "a")
    with pytest.raises(HarnessError, match="cannot write to"):
        create_project(tmp_path / "a" / "b")
