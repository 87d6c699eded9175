"""What a user names on the command line, in real stores and a real git repository."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from harness import evidence
from harness.cli import main
from harness.errors import HarnessError
from harness.tracking.revisions import FileChange, commit_of, history_between, matters
from harness.tracking.selection import Scope, select, select_pair
from tests.support.large_store import Scale, write_large_run

SMALL = Scale(variants=2, seeds=3, metrics=2, epochs=1)


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A git repository of four commits, and a store with runs of some of them."""
    folder = tmp_path_factory.mktemp("project")
    git(folder, "init", "-q", "-b", "trunk")
    commits = []
    for number in range(4):
        (folder / "parts.py").write_text(f"SIZE = {number}\n")
        (folder / "suites").mkdir(exist_ok=True)
        (folder / "suites" / "mine.yaml").write_text(f"# {number}\n" * (number + 1))
        (folder / "notes.md").write_text(f"{number}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"number {number}")
        commits.append(git(folder, "rev-parse", "HEAD"))
    git(folder, "tag", "v1", commits[1])
    git(folder, "branch", "v001", commits[0])  # the name of a variant, and of a commit without a run
    store = folder / "runs"
    plans = [
        ("20261101-a", {"git_commit": commits[1]}),
        ("20261101-b", {"git_commit": commits[1]}),
        ("20261102-c", {"git_commit": commits[1], "git_dirty": "12ab"}),
        ("20261103-d", {"git_commit": commits[2], "git_dirty": "34cd"}),
        ("20261104-e", {"git_commit": commits[3], "profile": "laptop", "suite": "other"}),
        ("20261105-f", {"git_commit": commits[3], "status": "interrupted"}),
    ]
    for number, (run_id, facts) in enumerate(plans):
        write_large_run(store, run_id, SMALL, number=number, attempt=number + 1, **facts)
    elsewhere = folder / "elsewhere"
    write_large_run(elsewhere, "20270101-z", SMALL)
    return folder


@pytest.fixture
def scope(project, monkeypatch):
    monkeypatch.chdir(project)
    return Scope(project / "runs", folder=project)


def named(text, scope):
    side = select(text, scope)
    return side.record.run["run_id"], side.variant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest", ("20261105-f", None)),
        ("20261103-d", ("20261103-d", None)),
        ("20261102", ("20261102-c", None)),
        ("latest:v001", ("20261105-f", "v001")),
        (":v001", ("20261105-f", "v001")),
        ("20261103:v000", ("20261103-d", "v000")),
        ("HEAD", ("20261105-f", None)),
        ("trunk~2:v001", ("20261101-b", "v001")),
        ("elsewhere", ("20270101-z", None)),
        ("elsewhere:v000", ("20270101-z", "v000")),
        ("elsewhere::20270101", ("20270101-z", None)),
        ("elsewhere::latest:v001", ("20270101-z", "v001")),
        ("elsewhere::", ("20270101-z", None)),
        ("v000", ("20261105-f", "v000")),
    ],
)
def test_a_side_is_a_run_a_commit_a_store_or_a_variant_of_one(text, expected, scope):
    assert named(text, scope) == expected


def test_a_commit_is_its_newest_run_from_a_clean_work_tree(scope):
    side = select("v1", scope)
    assert side.record.run["run_id"] == "20261101-b"  # the newer one was made with uncommitted changes
    assert "run 20261101-b" in side.notes[0]
    short = git(scope.folder, "rev-parse", "--short=8", "v1")
    assert named(short, scope) == ("20261101-b", None)


def test_a_commit_with_no_clean_run_is_its_newest_run_and_says_so(scope):
    side = select("HEAD~1", scope)
    assert side.record.run["run_id"] == "20261103-d"
    assert "was made with uncommitted changes" in side.notes[0]


def test_a_run_that_is_not_complete_is_noted(scope):
    assert "run 20261105-f is interrupted, not complete" in select("latest", scope).notes


def test_a_branch_without_a_run_does_not_hide_a_variant_of_its_name(scope):
    side = select("v001", scope)
    assert (side.record.run["run_id"], side.variant) == ("20261105-f", "v001")
    assert side.notes[0] == "v001 is a variant of the newest run, 20261105-f"


def test_suite_and_profile_narrow_what_latest_and_revisions_mean(project):
    other = Scope(project / "runs", suite="other", profile="laptop", folder=project)
    assert named("latest", other) == ("20261104-e", None)
    assert named("HEAD", other) == ("20261104-e", None)
    assert named("20261103-d", other) == ("20261103-d", None)  # an id means what it says
    nothing = Scope(project / "runs", suite="othr", folder=project)
    with pytest.raises(HarnessError, match=r"no run of suite othr in .*; it holds runs of large, other"):
        select("latest", nothing)


def test_what_names_nothing_is_answered_with_all_that_was_tried(scope):
    with pytest.raises(HarnessError) as caught:
        select("v0O0", scope)
    lines = str(caught.value).splitlines()
    assert lines[0] == "'v0O0' names no run and no variant:"
    assert lines[1].startswith("  no run in ")
    assert lines[2:4] == ["  no folder that is a store", "  no revision that git knows here"]
    assert re.fullmatch(r"  no variant of the newest run, 20261105-f; did you mean 'v00[01]'\?", lines[4])


def test_a_commit_without_a_run_is_told_with_the_way_out(scope):
    with pytest.raises(HarnessError, match="of which the store holds no run; check it out and `harness run"):
        select("HEAD~3", scope)


def test_a_beginning_that_several_runs_share_is_refused(scope):
    with pytest.raises(HarnessError, match="'20261101' names 2 runs: 20261101-a, 20261101-b"):
        select("20261101", scope)


def test_an_unknown_variant_is_answered_with_the_nearest(scope):
    with pytest.raises(HarnessError, match="run 20261105-f has no variant 'v01'; did you mean 'v001'"):
        select("latest:v01", scope)


@pytest.mark.parametrize(
    "text", ["--output=/tmp/x", "-h", "a\0b", "x" * 5000, "HEAD:parts.py", "v1^{tree}", " "]
)
def test_hostile_texts_are_one_message(text, scope):
    with pytest.raises(HarnessError):
        select(text, scope)


def test_outside_a_work_tree_revisions_are_unknown(tmp_path, scope):
    assert commit_of("HEAD", tmp_path / "nowhere") is None
    with pytest.raises(HarnessError, match="no revision that git knows here"):
        select("HEAD", Scope(scope.store, folder=tmp_path / "nowhere"))


def test_one_variant_of_a_pair_is_meant_on_both_sides(scope):
    a, b = select_pair("20261103", "latest:v001", scope)
    assert (a.variant, b.variant) == ("v001", "v001")
    a, b = select_pair("v000", "v001", scope)
    assert a.record is b.record
    assert (a.variant, b.variant) == ("v000", "v001")


@pytest.mark.parametrize("second", ["latest", "HEAD", "20261105-f"])
def test_a_run_is_not_compared_with_itself(second, scope):
    with pytest.raises(HarnessError, match="both name run 20261105-f"):
        select_pair("latest", second, scope)


def test_what_lies_between_two_commits_is_told_as_far_as_results_depend_on_it(project):
    found = history_between("v1", "HEAD", project)
    assert (found.ahead, found.behind) == (2, 0)
    assert found.files == (FileChange("parts.py", 1, 1), FileChange("suites/mine.yaml", 4, 2))
    assert history_between("HEAD", "v1", project).behind == 2
    assert history_between("v1", "0" * 40, project) is None
    assert history_between("v1", None, project) is None


def test_of_the_harness_itself_the_training_sources_matter():
    paths = {
        "harness/train/loop.py": True,
        "harness/config.py": True,
        "harness/reporting/view.py": False,
        "harness/analysis/stats.py": False,
        "tests/unit/test_cost.py": False,
        "suites/my.yaml": True,
        "ablations/capacity.yaml": True,
        "docs/suites.md": False,
        "src/my_loss.py": True,
    }
    assert {path: matters(path) for path in paths} == paths


def harness(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    try:
        main()
    except SystemExit as ended:
        code = ended.code or 0
    else:
        code = 0
    return code, capsys.readouterr()


def test_the_command_compares_two_revisions(scope, capsys, monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    code, printed = harness(capsys, monkeypatch, "compare", "v1", "HEAD", "--markdown", str(page))
    assert code == 0
    lines = printed.out.splitlines()
    assert lines[0].startswith("A  20261101-b  large, commit ")
    assert lines[1].startswith("B  20261105-f  large, commit ")
    assert any(line.startswith("metric_0: Metric 0, higher is better") for line in lines)
    assert "  also recorded: metric_1; --all shows them" in lines
    assert any("2 commits later" in line for line in lines)
    assert page.read_text(encoding="utf-8").startswith("# Comparison\n")
    code, printed = harness(capsys, monkeypatch, "compare", "v1", "HEAD", "--json")
    document = json.loads(printed.out)
    assert [row["metric"]["name"] for row in document["metrics"]] == ["metric_0", "metric_1"]
    assert document["code"]["history"]["ahead"] == 2


def test_the_command_ends_with_2_and_one_message_on_bad_input(scope, capsys, monkeypatch):
    code, printed = harness(capsys, monkeypatch, "compare", "v1", "nothing-of-this-name")
    assert (code, printed.out) == (2, "")
    assert printed.err.startswith("'nothing-of-this-name' names no run and no variant:")
    code, printed = harness(capsys, monkeypatch, "compare", "v1", "HEAD", "--metric", "psnr")
    assert (code, printed.err.splitlines()) == (
        2,
        ["run 20261101-b records no metric 'psnr'; known are metric_0, metric_1"],
    )


def test_python_code_compares_as_the_command_does(scope):
    found = evidence.compare("latest:v000", "latest:v001", store=scope.store)
    assert (found.versus.variant, found.of.variant) == ("v000", "v001")
    assert [one.info.name for one in found.metrics] == ["metric_0", "metric_1"]


def test_a_copy_of_a_store_shares_its_trials(scope, tmp_path):
    shutil.copytree(scope.store, tmp_path / "copy")
    found = evidence.compare("20261103", f"{tmp_path / 'copy'}::20261105", store=scope.store)
    assert {row.outcome for row in found.metrics[0].variants} == {"inconclusive"}
    with pytest.raises(HarnessError, match="both name run"):
        evidence.compare("20261103", f"{tmp_path / 'copy'}::20261103", store=scope.store)
