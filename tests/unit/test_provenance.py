"""What a run records of the work tree that it was started in."""

import subprocess

import pytest

from harness.provenance import git_state


@pytest.fixture
def project(tmp_path, monkeypatch):
    for key, value in {"NAME": "a", "EMAIL": "a@b"}.items():
        monkeypatch.setenv(f"GIT_AUTHOR_{key}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{key}", value)
    folder = tmp_path / "project"
    (folder / "studies").mkdir(parents=True)
    (folder / "suite.yaml").write_text("suite: a\n")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def test_outside_a_work_tree_there_is_no_commit(tmp_path):
    assert git_state(tmp_path, besides=[tmp_path / "runs"]) == (None, None)


@pytest.mark.parametrize("below", ["", "studies"])
def test_a_store_inside_the_project_is_no_change_of_it(project, below):
    store = project / "runs"
    store.mkdir()
    (store / "run.parquet").write_text("values")
    commit, difference = git_state(project / below, besides=[store])
    assert len(commit) == 40
    assert difference is None


def test_a_baseline_of_the_project_is_no_change_of_what_runs(project):
    for name in ("baselines", "runs"):
        (project / name).mkdir()
        (project / name / "main.json").write_text("{}")
    assert git_state(project, besides=[project / "runs", project / "baselines"])[1] is None
    assert git_state(project, besides=[project / "runs"])[1] is not None


def test_other_new_files_and_edits_are_changes(project):
    store = project / "runs"
    (project / "plugin.py").write_text("x = 1\n")
    _, new_file = git_state(project, besides=[store])
    (project / "suite.yaml").write_text("suite: b\n")
    _, edited = git_state(project, besides=[store])
    assert new_file and edited and new_file != edited


def test_a_change_elsewhere_in_the_repository_is_seen_from_a_folder_of_it(project):
    (project / "suite.yaml").write_text("suite: b\n")
    _, difference = git_state(project / "studies", besides=[project / "runs"])
    assert difference
