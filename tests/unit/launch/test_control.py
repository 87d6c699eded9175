"""Clusters of a project: the commands that each kind takes, what is kept, what is refused."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import HarnessError
from harness.launch import control, state

SUITE = "suites/mine.yaml"
PLAIN = ["name=p", "port=21000", "token_file=/run/harness/token"]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    (tmp_path / SUITE).write_text("suite: mine\n")
    return tmp_path


def known(kind, settings):
    """Put a cluster among the known ones without asking its tool."""
    step = control.up(kind, settings, dry_run=True)
    made = state.new_cluster(
        step.cluster.name,
        kind,
        step.cluster.settings,
        control.render(kind, settings),
        **step.cluster.facts,
    )
    return state.save(made)


def submitted(*options, **more):
    step = control.submit(SUITE, options, dry_run=True, **more)
    return [re.sub(r"run-\d{8}-\d{6}-[0-9a-f]{4}", "JOB", command) for command in step.commands]


def test_aws_is_made_and_ended_by_rays_launcher():
    token = Path("token")
    token.write_text("x")
    known("aws", ["name=team", f"token_file={token.absolute()}", "store=s3://bucket/runs"])
    manifest = ".harness/clusters/team/ray.yaml"
    assert control.status(dry_run=True).commands == [f"ray exec {manifest} 'ray status'"]
    assert control.down(dry_run=True).commands == [f"ray down --yes {manifest}"]
    assert submitted("--profile", "full") == [
        f"ray exec {manifest} 'mkdir -p /home/ray/projects/JOB'",
        f"ray rsync-up {manifest} ./ /home/ray/projects/JOB/",
        f"ray exec {manifest} 'ray job submit --address http://127.0.0.1:8265 --no-wait --submission-id JOB -- "
        f"bash -c '\"'\"'cd /home/ray/projects/JOB && exec harness run {SUITE} --store s3://bucket/runs "
        "--profile full --executor ray --address auto'\"'\"''",
    ]


def test_a_missing_token_is_made_readable_for_its_owner_alone(project):
    import subprocess

    token = project / "new" / "token"
    first, second = control.up("aws", [f"token_file={token}"], dry_run=True).calls
    assert str(second) == "ray up --yes .harness/clusters/harness/ray.yaml"
    subprocess.run(first.words, check=True)
    assert len(token.read_text()) == 64
    assert token.stat().st_mode & 0o777 == 0o600
    assert len(control.up("aws", [f"token_file={token}"], dry_run=True).calls) == 1


def test_kuberay_is_driven_by_kubectl():
    known("kuberay", ["name=k", "namespace=team", "store=s3://bucket/runs"])
    head = "kubectl --namespace=team exec service/k-head-svc --container=ray-head --"
    fed = "kubectl --namespace=team exec --stdin service/k-head-svc --container=ray-head --"
    packed = "--exclude=./.git --exclude=./.venv --exclude=./.harness --exclude=./runs --exclude=__pycache__"
    assert submitted("--seeds", "3") == [
        f"{head} mkdir -p /home/ray/projects/JOB",
        f"tar --create {packed} . | {fed} tar --extract --directory /home/ray/projects/JOB",
        f"{head} ray job submit --address http://127.0.0.1:8265 --no-wait --submission-id JOB -- bash -c "
        f"'cd /home/ray/projects/JOB && exec harness run {SUITE} --store s3://bucket/runs --seeds 3 "
        "--executor ray --address auto'",
    ]
    assert control.down(dry_run=True).commands == [
        "kubectl --namespace=team delete raycluster k --ignore-not-found"
    ]
    assert control.up("kuberay", ["name=other"], dry_run=True).commands == [
        "kubectl apply --filename .harness/clusters/other/raycluster.yaml",
        "kubectl --namespace=default wait raycluster/other --for=condition=HeadPodReady --timeout=900s",
    ]


def test_a_slurm_job_is_queued_with_the_options_of_run():
    known("slurm", ["name=s", "environment=/nfs/venv", "shared=/nfs", "store=/nfs/runs", "log=/nfs/logs"])
    assert submitted("--profile", "full") == [
        f"sbatch --parsable .harness/clusters/s/job.sbatch {SUITE} --store /nfs/runs --profile full"
    ]
    with pytest.raises(HarnessError, match="no job was submitted to s yet"):
        control.status()
    state.save(state.find("s"), job="17")
    assert control.logs(lines=5, dry_run=True).commands == ["tail -n 5 /nfs/logs/s-17.log"]
    assert control.down(dry_run=True).commands == [
        "scancel --state=PENDING 17",
        "scancel --batch --signal=TERM 17",
    ]


def test_plain_runs_the_suite_from_here_with_the_token_of_the_cluster():
    known("plain", PLAIN)
    assert submitted(store="runs") == [
        "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/run/harness/token "
        f"harness run {SUITE} --store runs --executor ray --address 127.0.0.1:21000"
    ]
    assert control.down(dry_run=True).commands == []  # nothing was started here


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("aws", []),
        ("kuberay", []),
        ("slurm", ["environment=/nfs/venv"]),
        ("plain", ["head=10.0.0.1"]),
        ("slurm", ["environment=/nfs/venv", "shared=/nfs"]),
        ("slurm", ["environment=/nfs/venv", "shared=/local"]),
    ],
)
@pytest.mark.parametrize("store", ["runs", "/local/../home/runs", "/home/runs", "file:///home/runs"])
def test_a_store_that_other_machines_do_not_see_is_refused(kind, settings, store):
    known(kind, settings)
    with pytest.raises(
        HarnessError, match=r"expected an object store.* or a folder below the setting `shared`"
    ):
        control.submit(SUITE, store=store, dry_run=True)


@pytest.mark.parametrize("store", ["s3://bucket/runs", "/nfs/runs", "file:///nfs/runs"])
def test_a_store_that_all_machines_see_is_accepted(store):
    known("slurm", ["environment=/nfs/venv", "shared=/nfs"])
    assert store in control.submit(SUITE, store=store, dry_run=True).commands[0]


def test_a_store_is_needed_and_carries_no_credentials():
    known("slurm", ["environment=/nfs/venv"])
    with pytest.raises(HarnessError, match="where are results kept"):
        control.submit(SUITE, dry_run=True)
    with pytest.raises(HarnessError, match="credentials do not belong"):
        control.submit(SUITE, store="s3://key:secret@bucket/runs", dry_run=True)


def test_a_suite_outside_of_the_folder_is_refused(tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "mine.yaml"
    other.write_text("suite: mine\n")
    known("plain", PLAIN)
    with pytest.raises(HarnessError, match="lies outside of this folder"):
        control.submit(str(other), store="runs", dry_run=True)
    with pytest.raises(HarnessError, match="no 'none' in suites"):
        control.submit("suites/none.yaml", store="runs", dry_run=True)


def test_what_is_kept_of_a_cluster_is_read_again_and_holds_no_token(project):
    cluster = state.save(known("plain", PLAIN), job="j", process=12)
    assert state.find("p") == cluster
    kept = "".join(file.read_text() for file in (project / ".harness").rglob("*") if file.is_file())
    assert "/run/harness/token" in kept
    assert "RAY_AUTH_TOKEN=" not in kept
    assert (project / ".harness" / ".gitignore").read_text() == "*\n"


def test_clusters_are_told_apart_by_name():
    with pytest.raises(HarnessError, match="no cluster of this project is up"):
        state.find(None)
    known("plain", PLAIN)
    assert state.find(None).name == "p"
    known("plain", ["name=q"])
    with pytest.raises(HarnessError, match="name one of p, q"):
        state.find(None)
    with pytest.raises(HarnessError, match="did you mean 'q'"):
        state.find("qq")
    with pytest.raises(HarnessError, match="a cluster 'p' is up"):
        control.up("plain", PLAIN)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"name": "p"}',
        '{"name": "p", "kind": "plain", "settings": {}, "manifests": ["../../x"], "made": ""}',
        '{"name": "q", "kind": "plain", "settings": {}, "manifests": ["head.sh"], "made": ""}',
    ],
)
def test_a_damaged_file_of_a_cluster_is_told(text):
    known("plain", PLAIN)
    (state.FOLDER / "p.json").write_text(text)
    with pytest.raises(HarnessError, match=r"p\.json"):
        state.find("p")


def test_a_manifest_changed_by_hand_is_taken_as_what_it_is(project):
    (text,) = control.render("slurm", ["name=mine", "environment=/nfs/venv", "log=/nfs/logs"]).values()
    (project / "job.sh").write_text(text.replace("--nodes=2", "--nodes=7"))
    step = control.up("job.sh", ["shared=/nfs"])
    assert (step.cluster.name, step.cluster.kind, step.cluster.facts["log"]) == ("mine", "slurm", "/nfs/logs")
    assert "--nodes=7" in step.cluster.manifest().read_text()
    assert "/nfs/runs" in control.submit(SUITE, store="/nfs/runs", dry_run=True).commands[0]
    (text,) = control.render("kuberay", ["name=k", "namespace=team"]).values()
    (project / "k.yaml").write_text(text)
    facts = control.up("k.yaml", dry_run=True).cluster.facts
    assert (facts["resource"], facts["namespace"]) == ("k", "team")
    for kind, settings in (("aws", []), ("gcp", ["project_id=x1"])):
        (text,) = control.render(kind, settings).values()
        (project / "ray.yaml").write_text(text)
        assert control.up("ray.yaml", dry_run=True).cluster.kind == kind


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Pod\n", "no manifest that `up` knows"),
        ("kind: RayCluster\nmetadata: {name: x}\nspec: {}\n", "asks for no token"),
        ("cluster_name: x\nprovider: {type: aws}\n", "copies no token"),
        ("#!/bin/bash\n#SBATCH --job-name=x\n", "RAY_AUTH_MODE=token"),
        ("a: !!python/object/apply:os.system [reboot]\n", "is no YAML|no manifest"),
        (
            "kind: RayCluster\nmetadata: {name: ../../x}\nspec: {authOptions: {mode: token}}\n",
            "name: expected",
        ),
        ("a: [", "is no YAML"),
    ],
)
def test_a_manifest_that_asks_for_no_token_or_is_none_is_refused(project, text, said):
    (project / "x").write_text(text)
    with pytest.raises(HarnessError, match=said):
        control.up("x", dry_run=True)


def test_a_missing_tool_is_named_with_where_it_comes_from(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        HarnessError, match=r"needs kubectl, which is not here; it comes with https://kubernetes\.io"
    ):
        control.up("kuberay", [])
    assert state.known() == []


def test_an_unknown_kind_is_refused_with_a_suggestion():
    result = CliRunner().invoke(app, ["cluster", "render", "kuberai"])
    assert isinstance(result.exception, HarnessError)
    assert "did you mean 'kuberay'" in str(result.exception)


def test_options_that_run_does_not_have_are_refused_before_anything_travels():
    known("plain", PLAIN)
    runner = CliRunner()
    submit = ["cluster", "submit", SUITE, "--store", "runs", "--dry-run"]
    assert runner.invoke(app, [*submit, "--profile", "full"]).exit_code == 0
    refused = runner.invoke(app, [*submit, "--profil", "full"])
    assert (refused.exit_code, "--profile" in refused.stderr) == (2, True)
    decided = runner.invoke(app, [*submit, "--address", "1.2.3.4:5"])
    assert "--address is decided by the cluster" in str(decided.exception)


def test_json_tells_kinds_settings_manifests_and_clusters():
    known("plain", PLAIN)
    runner = CliRunner()

    def answer(*words):
        return json.loads(runner.invoke(app, ["cluster", *words, "--json"]).stdout)

    assert set(answer("kinds")) == {"aws", "gcp", "onpremise", "kuberay", "kuberay-job", "slurm", "plain"}
    assert answer("kinds", "plain")[0]["name"] == "name"
    assert set(answer("render", "plain")) == {"head.sh", "worker.sh"}
    assert [one["name"] for one in answer("status")] == ["p"]


def test_manifests_are_written_where_they_are_wanted(project):
    runner = CliRunner()
    runner.invoke(app, ["cluster", "render", "aws", "--out", "there/ray.yaml"])
    runner.invoke(app, ["cluster", "render", "plain", "--out", "scripts"])
    assert "cluster_name" in (project / "there" / "ray.yaml").read_text()
    assert sorted(file.name for file in (project / "scripts").iterdir()) == ["head.sh", "worker.sh"]
