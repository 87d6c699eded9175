"""A study whose store is a bucket: killed, gone on with, reported, asked and gated as in a folder."""

import json
import os
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.testing.tiny import TINY
from tests.support.harness_process import HarnessProcess, attempts, metric_rows
from tests.support.object_store import BUCKET, KEY_ID, SECRET_KEY, object_server  # noqa: F401 (a fixture)

pytestmark = pytest.mark.timeout(600)  # three runs, each of several processes that load torch
EPOCHS = 6
STORE = f"s3://{BUCKET}/colour"
SMALL = (
    TINY.replace("train_size: 64", "train_size: 256")
    .replace("epochs: 3", f"epochs: {EPOCHS}")
    .replace("      l1: {set: {loss.l1: 0.5}, why: sharper edges}\n", "")
    .replace("versus: l1", "versus: mse")
    .replace("seeds: 2", "seeds: 1")
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a folder with a small suite."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "small.yaml").write_text(SMALL)
    return folder


@pytest.fixture(scope="module")
def run(project, object_server):  # noqa: F811
    """Return a run in a bucket that was killed in the middle and gone on with, and what was there before."""
    options = ("--executor", "local", "--no-preflight", "--cpus", "1")
    here = Path.cwd()
    os.chdir(project)
    try:
        first = HarnessProcess(project / "small.yaml", STORE, *options, log=project / "first.log")
        first.wait_for(lambda rows: any(2 <= row["epochs_done"] < EPOCHS - 1 for row in rows))
        first.kill()
        before = attempts(STORE)
        again = HarnessProcess(project / "small.yaml", STORE, *options, log=project / "again.log")
        assert again.end() == 0, again.log.read_text()
        undisturbed = HarnessProcess(project / "small.yaml", project / "folder", *options)
        assert undisturbed.end() == 0, undisturbed.log.read_text()
    finally:
        os.chdir(here)
    return before, again


@pytest.fixture
def command(project, capsys, monkeypatch):
    """Return a function that runs a command, with the store said by the environment, and what it printed."""

    def run_command(*words):
        monkeypatch.chdir(project)
        monkeypatch.setenv("HARNESS_STORE", STORE)
        monkeypatch.setattr(sys, "argv", ["harness", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        return printed.out

    return run_command


def test_a_killed_run_goes_on_and_ends_with_the_values_of_a_folder(run, project):
    before, _ = run
    assert metric_rows(STORE) == metric_rows(project / "folder")
    after = attempts(STORE)
    assert {row["status"] for row in after} == {"complete", "lost"}
    resumed = [row for row in after if row["resumed_from"] is not None]
    assert [(row["attempt"], row["status"]) for row in resumed] == [(2, "complete")]
    assert len(before) < len(after)


def test_no_state_is_left_of_complete_trials(run, object_server):  # noqa: F811
    left = [key for key in object_server.contents() if "/state/" in key or "/claims/" in key]
    assert left == [] or all(key.endswith("/") for key in left)


def test_the_report_is_kept_in_the_store_and_can_be_opened_here(run, project, object_server):  # noqa: F811
    _, again = run
    page = next(line.split()[-1] for line in again.log.read_text().splitlines() if line.startswith("report "))
    written = (project / page).read_bytes()
    run_id = (project / page).parent.name.removeprefix("report-")
    assert object_server.contents()[f"{BUCKET}/colour/reports/{run_id}/report.html"] == written
    assert b"data:image/png" in written


def test_commands_read_the_bucket(run, command):
    count = json.loads(command("query", "select count(*) as n from trials", "--format", "json"))
    assert count == [{"n": 2}]
    assert "lab" in command("verdicts")
    command("baseline", "set", "main", "latest")
    assert "pass" in command("gate", "latest", "--against", "main")
    assert "lab" in command("compare", f"{STORE}::latest:mse", "latest:lab")


def test_the_secret_key_is_in_no_file_of_the_store_and_in_no_report(run, project, object_server):  # noqa: F811
    contents = object_server.contents()
    assert len(contents) > 20
    files = {str(path): path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert any(name.endswith("report.html") for name in files)
    for name, content in {**contents, **files}.items():
        assert SECRET_KEY.encode() not in content, name
        assert KEY_ID.encode() not in content, name
