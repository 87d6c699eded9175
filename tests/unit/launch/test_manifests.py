"""Filled manifests: valid under the schemas of the tools that read them, closed, and asking for a token."""

import json
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from harness.launch.control import render
from harness.launch.kinds import KINDS

KUBERAY_SCHEMA = Path(__file__).parents[2] / "data" / "kuberay" / "ray-v1.schema.json"
NEEDED = {
    "gcp": ["project_id=project-1"],
    "onpremise": ["head=10.0.0.1", "workers=10.0.0.2,10.0.0.3", "ssh_user=me"],
    "slurm": ["environment=/nfs/venv"],
}
EVERYTHING = {
    "aws": [
        "store=s3://bucket/folder?region=us-west-2",
        "shared=/mnt/efs",
        "zones=us-west-2a,us-west-2b",
        "ami=ami-0123456789",
        "instance_profile=trainer",
        "security_group=sg-0123",
        "spot=false",
        "min_workers=1",
        "package=/home/ray/ablation_harness-0.1.0-py3-none-any.whl",
    ],
    "gcp": [
        *NEEDED["gcp"],
        "gpus=0",
        "spot=false",
        "service_account=a@p.iam.gserviceaccount.com",
        "store=gs://b/c",
    ],
    "onpremise": [*NEEDED["onpremise"], "ssh_proxy=ssh -W %h:%p gateway", "package=", "shared=/nfs"],
    "kuberay": [
        "namespace=team",
        "package=ablation-harness==0.1.0",
        "store=s3://bucket/x",
        "shared=/nfs",
        "claim=results",
        "secret=s3-key",
        "token_secret=token",
        "service_account=trainer",
        "spot_label=cloud.google.com/gke-spot=true",
        "network_policy=false",
        "gpus=0",
    ],
    "slurm": [
        *NEEDED["slurm"],
        "partition=gpu",
        "account=lab",
        "qos=high",
        "constraint=a100",
        "gpus=4",
        "memory=64Gi",
        "time=1-12:00:00",
        "store=/nfs/runs",
        "log=/nfs/logs",
        "package=ablation-harness==0.1.0",
    ],
    "plain": [
        "environment=/opt/venv",
        "head=10.0.0.1",
        "cpus=4",
        "gpus=0",
        "token_file=/run/token",
        "package=x==1",
    ],
}
EVERYTHING["kuberay-job"] = [*EVERYTHING["kuberay"], "retries=1", "project_folder=/nfs/project"]
CASES = [(name, NEEDED.get(name, [])) for name in KINDS] + list(EVERYTHING.items())
IDS = [*KINDS, *(f"{name}-everything" for name in EVERYTHING)]


def cases(*names):
    chosen = [(case, label) for case, label in zip(CASES, IDS, strict=True) if case[0] in names]
    return pytest.mark.parametrize(
        ("kind", "settings"), [case for case, _ in chosen], ids=[label for _, label in chosen]
    )


def only(kind, settings):
    (text,) = render(kind, settings).values()
    return text


@pytest.fixture(scope="module")
def launcher_schema():
    import ray.autoscaler

    return json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


@cases("aws", "gcp", "onpremise")
def test_launcher_manifests_are_valid_under_rays_schema(kind, settings, launcher_schema):
    jsonschema.validate(yaml.safe_load(only(kind, settings)), launcher_schema)


@cases("kuberay", "kuberay-job")
def test_kuberay_manifests_are_valid_under_the_resource_definitions(kind, settings):
    schema = json.loads(KUBERAY_SCHEMA.read_text())
    jsonschema.validate(yaml.safe_load(only(kind, settings)), schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "headGroupSpec", "rayStartParam"), {}),
        (("spec", "authOptions", "mode"), "password"),
        (("spec", "workerGroupSpecs"), [{"groupName": "w", "replicas": "two", "rayStartParams": {}}]),
    ],
)
def test_the_copy_of_the_resource_definitions_refuses_what_the_api_server_would(path, value):
    manifest = yaml.safe_load(only("kuberay", []))
    place = manifest
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, json.loads(KUBERAY_SCHEMA.read_text()))


@cases("slurm", "plain")
def test_scripts_are_bash(kind, settings, tmp_path):
    for name, text in render(kind, settings).items():
        script = tmp_path / name
        script.write_text(text)
        assert subprocess.run(["bash", "-n", str(script)], capture_output=True).returncode == 0
        if shutil.which("shellcheck"):
            found = subprocess.run(
                ["shellcheck", "--severity=warning", script], capture_output=True, text=True
            )
            assert found.stdout == ""


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=IDS)
def test_every_kind_turns_the_token_on_and_holds_none(kind, settings):
    for text in render(kind, settings).values():
        assert "RAY_AUTH_MODE=token" in text or "mode: token" in text
        assert "RAY_AUTH_TOKEN=" not in text.replace("RAY_AUTH_TOKEN=$(", "")


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=IDS)
def test_no_kind_opens_the_dashboard_to_other_machines(kind, settings):
    for text in render(kind, settings).values():
        assert "0.0.0.0" not in text
        for line in text.splitlines():
            if "ray start --head" in line:
                assert "--dashboard-host=127.0.0.1" in text or "--include-dashboard=false" in text


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=IDS)
def test_every_kind_says_where_caches_lie(kind, settings):
    for text in render(kind, [*settings, "cache=/local/cache"]).values():
        assert "HARNESS_CACHE" in text
        assert "/local/cache" in text


def test_aws_values_land_where_they_belong():
    values = yaml.safe_load(only("aws", EVERYTHING["aws"]))
    worker = values["available_node_types"]["worker"]
    assert (values["provider"]["availability_zone"], values["max_workers"]) == ("us-west-2a,us-west-2b", 4)
    assert worker["node_config"]["InstanceType"] == "g5.xlarge"
    assert worker["node_config"]["SecurityGroupIds"] == ["sg-0123"]
    assert worker["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
    assert "InstanceMarketOptions" not in worker["node_config"]
    spot = yaml.safe_load(only("aws", []))["available_node_types"]
    assert spot["worker"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in spot["head"]["node_config"]
    assert spot["head"]["resources"]["CPU"] == 0


def test_a_pod_has_shared_memory_a_gpu_and_the_claim():
    values = yaml.safe_load(only("kuberay", ["shm=2Gi", "gpus=2", "shared=/nfs", "claim=results"]))
    pod = values["spec"]["workerGroupSpecs"][0]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert mounts == {"shared-memory": "/dev/shm", "cache": "/tmp/harness-cache", "shared": "/nfs"}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert values["spec"]["workerGroupSpecs"][0]["maxReplicas"] == 4
    head = values["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert "nvidia.com/gpu" not in head["resources"]["limits"]


def test_a_claim_without_a_place_to_mount_it_is_refused():
    from harness.errors import HarnessError

    with pytest.raises(HarnessError, match="shared"):
        render("kuberay", ["claim=results"])


def test_slurm_asks_for_notice_and_a_place_in_the_queue():
    text = only("slurm", [*NEEDED["slurm"], "nodes=3", "gpus=2", "notice=300", "memory=64Gi"])
    for line in ("--nodes=3", "--gpus-per-node=2", "--signal=B:USR1@300", "--requeue", "--mem=64G"):
        assert f"#SBATCH {line}\n" in text


def test_a_project_has_manifests_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "plain-head.sh.j2").write_text("echo {{ name }}\n")
    files = render("plain", ["name=mine"])
    assert files["head.sh"] == "echo mine\n"
    assert "ray start" in files["worker.sh"]


def test_a_mistake_in_a_manifest_of_ones_own_is_told(tmp_path, monkeypatch):
    from harness.errors import HarnessError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "plain-head.sh.j2").write_text("echo {{ nmae }}\n")
    with pytest.raises(HarnessError, match=r"plain-head\.sh\.j2 is wrong: 'nmae' is undefined"):
        render("plain", [])


def test_a_manifest_of_ones_own_reaches_no_python_objects(tmp_path, monkeypatch):
    from harness.errors import HarnessError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "plain-head.sh.j2").write_text("{{ shell.__globals__ }}\n")
    with pytest.raises(HarnessError, match="unsafe"):
        render("plain", [])
