"""The kinds of clusters: settings, manifests and tool of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, cast

from harness.errors import HarnessError, did_you_mean
from harness.launch import kuberay, plain, ray_launcher, slurm
from harness.launch.job import Job
from harness.launch.render import shell
from harness.launch.settings import (
    AwsSettings,
    CloudSettings,
    GcpSettings,
    KubeRayJobSettings,
    KubeRaySettings,
    OnPremiseSettings,
    PlainSettings,
    Settings,
    SlurmSettings,
)
from harness.launch.state import Cluster
from harness.launch.tools import Call

ACTIVATE = ". {}/bin/activate && export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={}/auth_token && "
"""What commands need first on machines of one's own: the environment and the token in its folder."""


class Tool(Protocol):
    """What a kind is driven by: each function returns the calls that it takes, and makes none."""

    def up(self, cluster: Cluster) -> list[Call]:
        """Make the cluster."""
        ...

    def submit(self, cluster: Cluster, job: Job) -> list[Call]:
        """Run a suite on it."""
        ...

    def status(self, cluster: Cluster) -> list[Call]:
        """Show where it stands."""
        ...

    def logs(self, cluster: Cluster, lines: int, follow: bool) -> list[Call]:
        """Show the end of what the newest job printed."""
        ...

    def down(self, cluster: Cluster) -> list[Call]:
        """End it."""
        ...


@dataclass(frozen=True)
class _JobTool:
    """A RayJob's functions under the names of a tool."""

    up = staticmethod(kuberay.job_up)
    submit = staticmethod(kuberay.job_submit)
    status = staticmethod(kuberay.job_status)
    logs = staticmethod(kuberay.job_logs)
    down = staticmethod(kuberay.job_down)


@dataclass(frozen=True)
class Kind:
    """One kind of cluster."""

    name: str
    title: str
    settings: type[Settings]
    manifests: Mapping[str, str]
    """Template by the name of the file that it becomes; the first one is the cluster itself."""
    tool: Tool
    facts: Callable[[Any], dict[str, str]]
    """What its commands need to know of its settings."""
    recognise: Callable[[str], dict[str, str] | None] | None = None
    """Facts of a manifest that was written or changed by hand; none where it is of another kind."""
    job_name: Callable[[str], str] | None = None
    """Name of a job from what the last call of `submit` answers; none where the name is ours."""
    command_in_manifest: bool = False
    """Whether the command of a job is part of the manifest, which is then filled anew for each."""
    runs_here: bool = False
    """Whether `submit` is the run itself, in the foreground, and no job is left to look at."""
    one_job: bool = False
    """Whether each submission is a cluster of its own, so that `up` starts nothing."""

    def has_several_machines(self, cluster: Cluster) -> bool:
        """Tell whether the machines of a cluster share no disk by themselves."""
        return not cluster.facts.get("address", "").startswith("127.")


def kind_named(name: str) -> Kind:
    """Return a kind.

    Raises:
        HarnessError: there is none of that name.
    """
    if name not in KINDS:
        raise HarnessError(f"no kind of cluster '{name[:100]}'{did_you_mean(name, KINDS)}")
    return KINDS[name]


def _tool(module: ModuleType) -> Tool:
    return cast(Tool, module)


def _cloud_facts(settings: CloudSettings) -> dict[str, str]:
    return {"resource": settings.name, "project": settings.project, "token_file": settings.token_file}


def _onpremise_facts(settings: OnPremiseSettings) -> dict[str, str]:
    activate = shell(
        ACTIVATE + "export RAY_ADDRESS={} && ",
        settings.environment,
        settings.environment,
        f"{settings.head}:{settings.port}",
    )
    return {
        "resource": settings.name,
        "project": settings.project,
        "token_file": settings.token_file,
        "activate": activate,
    }


def _kuberay_facts(settings: KubeRaySettings) -> dict[str, str]:
    return {"resource": settings.name, "namespace": settings.namespace, "project": settings.project}


def _slurm_facts(settings: SlurmSettings) -> dict[str, str]:
    return {"resource": settings.name, "log": settings.log or "."}


def _plain_facts(settings: PlainSettings) -> dict[str, str]:
    return {"resource": settings.name, "address": settings.address, "token_file": settings.token_file}


def _launcher_manifest(provider: str) -> Callable[[str], dict[str, str] | None]:
    def recognise(text: str) -> dict[str, str] | None:
        values = _mapping(text)
        if values.get("provider", {}).get("type") != provider or "cluster_name" not in values:
            return None
        mounts = values.get("file_mounts") or {}
        tokens = [local for remote, local in mounts.items() if remote.endswith("/auth_token")]
        if not tokens:
            raise HarnessError("the manifest copies no token: file_mounts has no .../auth_token")
        project = AwsSettings().project
        facts = {"resource": values["cluster_name"], "project": project, "token_file": tokens[0]}
        if provider == "local":
            folder = next(remote for remote in mounts if remote.endswith("/auth_token")).rpartition("/")[0]
            facts["project"] = f"{folder}/projects"
            facts["activate"] = shell(ACTIVATE, folder, folder)
        return facts

    return recognise


def _raycluster_manifest(text: str) -> dict[str, str] | None:
    values = _mapping(text)
    if values.get("kind") != "RayCluster":
        return None
    place = values["metadata"]
    if values["spec"].get("authOptions", {}).get("mode") != "token":
        raise HarnessError("the manifest asks for no token: spec.authOptions.mode is not `token`")
    return {
        "resource": place["name"],
        "namespace": place.get("namespace", "default"),
        "project": KubeRaySettings().project,
    }


def _sbatch_manifest(text: str) -> dict[str, str] | None:
    if not text.startswith("#!") or "#SBATCH" not in text:
        return None
    name = re.search(r"^#SBATCH --job-name=(\S+)$", text, flags=re.MULTILINE)
    output = re.search(r"^#SBATCH --output=(.*/)?\S+-%j\.log$", text, flags=re.MULTILINE)
    if name is None or output is None or "RAY_AUTH_MODE=token" not in text:
        raise HarnessError("the sbatch script lacks --job-name, --output=NAME-%j.log or RAY_AUTH_MODE=token")
    return {"resource": name[1], "log": (output[1] or "./").rstrip("/")}


def _mapping(text: str) -> dict[str, Any]:
    """Return a manifest's values, or nothing where it is no YAML; only plain values are read."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if text.startswith("#!"):
        return {}
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise HarnessError(f"the manifest is no YAML: {error}") from error
    return values if isinstance(values, dict) else {}


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "aws",
            "machines of AWS, by Ray's cluster launcher",
            AwsSettings,
            {"ray.yaml": "aws.yaml.j2"},
            _tool(ray_launcher),
            _cloud_facts,
            _launcher_manifest("aws"),
        ),
        Kind(
            "gcp",
            "machines of Google Cloud, by Ray's cluster launcher",
            GcpSettings,
            {"ray.yaml": "gcp.yaml.j2"},
            _tool(ray_launcher),
            _cloud_facts,
            _launcher_manifest("gcp"),
        ),
        Kind(
            "onpremise",
            "machines of your own over SSH, by Ray's cluster launcher",
            OnPremiseSettings,
            {"ray.yaml": "onpremise.yaml.j2"},
            _tool(ray_launcher),
            _onpremise_facts,
            _launcher_manifest("local"),
        ),
        Kind(
            "kuberay",
            "a RayCluster on Kubernetes, by the KubeRay operator",
            KubeRaySettings,
            {"raycluster.yaml": "kuberay.yaml.j2"},
            _tool(kuberay),
            _kuberay_facts,
            _raycluster_manifest,
        ),
        Kind(
            "kuberay-job",
            "a RayJob on Kubernetes: a cluster for one suite",
            KubeRayJobSettings,
            {"rayjob.yaml": "kuberay-job.yaml.j2"},
            cast(Tool, _JobTool()),
            _kuberay_facts,
            job_name=kuberay.job_name,
            command_in_manifest=True,
            one_job=True,
        ),
        Kind(
            "slurm",
            "a job of Slurm: a cluster for one suite, requeued before its time limit",
            SlurmSettings,
            {"job.sbatch": "slurm.sbatch.j2"},
            _tool(slurm),
            _slurm_facts,
            _sbatch_manifest,
            job_name=slurm.job_name,
            one_job=True,
        ),
        Kind(
            "plain",
            "`ray start` by hand: the head here, a script for each other machine",
            PlainSettings,
            {"head.sh": "plain-head.sh.j2", "worker.sh": "plain-worker.sh.j2"},
            _tool(plain),
            _plain_facts,
            runs_here=True,
        ),
    )
}
