"""What may be set of a cluster: one model for each kind; each setting has its default, unit and meaning.

Values are checked before they are put into a manifest; that they cannot break out of it is the matter of
`render`, which quotes every one of them whatever it is.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from harness import __version__
from harness.errors import HarnessError, did_you_mean

RAY_VERSION = "2.60.0"
MOST_NODES = 10_000
LONGEST = 1000
"""Characters of a value."""

NAME = r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?"
WORD = r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,127}"
PATH = r"/[\w.@%+=,~ /-]*"
ADDRESS = r"[a-z][a-z0-9+.-]{0,30}://[\w.@%+=,~/:?&-]+"
IMAGE = r"[A-Za-z0-9][\w.:/@-]{0,254}"
HOST = r"[A-Za-z0-9]([A-Za-z0-9.:_-]{0,252}[A-Za-z0-9])?"
QUANTITY = r"[1-9][0-9]{0,8}(Ki|Mi|Gi|Ti|K|M|G|T)?"
SECRET_IN_ADDRESS = re.compile(
    r"://[^/?]*@|[?&](access_key|secret_key|session_token|password)=", re.IGNORECASE
)

Settings_ = TypeVar("Settings_", bound="Settings")


def _shaped(pattern: str, what: str) -> AfterValidator:
    def check(value: str) -> str:
        if re.fullmatch(pattern, value, flags=re.ASCII) is None:
            raise ValueError(f"expected {what}")
        return value

    return AfterValidator(check)


def _without_credentials(value: str) -> str:
    if SECRET_IN_ADDRESS.search(value):
        raise ValueError("credentials do not belong into a manifest; give them to the machines themselves")
    return value


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Name = Annotated[str, _shaped(NAME, "lower-case letters, digits and -, 40 at most, such as team-a")]
Word = Annotated[str, _shaped(WORD, "letters, digits and _ . : + -, such as gpu-long")]
Folder = Annotated[str, _shaped(PATH, "an absolute path without quotes, such as /scratch/harness")]
HomePath = Annotated[
    str, _shaped(rf"(~{PATH}|{PATH})", "a path from / or ~, without quotes, such as ~/.ssh/id_ed25519")
]
Store = Annotated[
    str,
    _shaped(rf"({ADDRESS}|{PATH})", "an address such as s3://bucket/folder, or an absolute path"),
    AfterValidator(_without_credentials),
]
Image = Annotated[
    str,
    _shaped(IMAGE, "the name of an image, such as rayproject/ray:2.60.0-py311-gpu"),
    AfterValidator(_without_credentials),
]
Host = Annotated[str, _shaped(HOST, "the name or address of a machine")]
Hosts = Annotated[tuple[Host, ...], BeforeValidator(_listed)]
Words = Annotated[tuple[Word, ...], BeforeValidator(_listed)]
Quantity = Annotated[str, _shaped(QUANTITY, "an amount of memory, such as 16Gi")]
Requirement = Annotated[
    str,
    _shaped(
        r"[A-Za-z0-9][\w.-]{0,99}(\[[\w,-]+\])?(==[\w.+!-]+)?|(/[\w.@%+=,~ /-]*|[\w.@%+=,~/-]*)\.whl|",
        "a package with its version, such as ablation-harness==0.1.0, or the path of a wheel on the machines",
    ),
]
Version = Annotated[str, _shaped(r"\d+(\.\d+){1,3}", "a version, such as 3.11")]
WallTime = Annotated[
    str, _shaped(r"(\d{1,3}-)?\d{1,2}(:\d{2}){0,2}|\d{1,6}", "a time as Slurm writes it, such as 1-12:00:00")
]
Email = Annotated[str, _shaped(r"[\w.-]+@[\w.-]+", "the e-mail of a service account")]
Command = Annotated[str, _shaped(r"[^\x00-\x1f\x7f'\"`$;&|<>\\]+", "a command without signs of the shell")]
Label = Annotated[str, _shaped(r"[\w./-]+=[\w.-]+", "a label, such as node-pool=spot")]
Port = Annotated[int, Field(ge=1024, le=65535)]
Count = Annotated[int, Field(ge=0, le=MOST_NODES)]


class Settings(BaseModel):
    """What every kind of cluster may be told."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=LONGEST)

    name: Name = Field("harness", description="what the cluster is called")
    store: Store | None = Field(
        None,
        description="where results are kept: an object store, or a folder below `shared`",
    )
    shared: Folder | None = Field(
        None, description="folder that all machines see under this path, such as an NFS mount"
    )
    cache: Folder = Field(
        "/tmp/harness-cache",
        description="folder on each machine's own disk for data sets (HARNESS_CACHE) and weights",
    )
    package: Requirement = Field(
        f"ablation-harness=={__version__}",
        description="what pip installs on the machines; empty where it is there already",
    )

    @property
    def address(self) -> str:
        """What `harness run --address` is told on the head."""
        return "auto"


class LauncherSettings(Settings):
    """What every cluster of Ray's cluster launcher may be told."""

    ray: Version = Field(RAY_VERSION, description="version of Ray on all machines; that of `ray up` here")
    min_workers: Count = Field(0, json_schema_extra={"unit": "machines"}, description="workers that stay")
    max_workers: Count = Field(4, json_schema_extra={"unit": "machines"}, description="workers at most")
    idle_minutes: int = Field(
        10, ge=1, le=10_000, json_schema_extra={"unit": "minutes"}, description="an idle worker is given back"
    )
    token_file: HomePath = Field(
        "~/.ray/auth_token", description="Ray's token on this machine; `up` makes it where it is missing"
    )


class CloudSettings(LauncherSettings):
    """What clusters of a cloud share: containers, spot machines, disks."""

    image: Image = Field(
        f"rayproject/ray:{RAY_VERSION}-py311-gpu",
        description="container that Ray runs in; it fixes the version of Python, which needs 3.11 or newer",
    )
    ssh_user: Word = Field("ubuntu", description="user that the machine's image lets in")
    spot: bool = Field(True, description="spot (preemptible) workers; the head never is one")
    disk: int = Field(
        200, ge=20, le=65536, json_schema_extra={"unit": "GB"}, description="disk of each machine"
    )
    shm: Quantity = Field("8G", description="shared memory of each container, for data loaders")

    @property
    def project(self) -> str:
        """Folder on the head that projects are copied to."""
        return "/home/ray/projects"


class AwsSettings(CloudSettings):
    """A cluster on AWS, through Ray's cluster launcher."""

    region: Word = Field("us-west-2", description="region of AWS")
    zones: Words = Field((), description="availability zones, separated by commas; any by default")
    head_instance: Word = Field("m5.xlarge", description="type of the head's machine")
    instance: Word = Field("g5.xlarge", description="type of the workers' machines")
    ami: Word | None = Field(None, description="machine image; Ray's choice for the region by default")
    instance_profile: Word | None = Field(
        None,
        description="IAM instance profile of all machines, for access to the store; Ray's own by default",
    )
    security_group: Word | None = Field(
        None, description="id of a security group; Ray's own by default, which opens SSH to every address"
    )


class GcpSettings(CloudSettings):
    """A cluster on Google Cloud, through Ray's cluster launcher."""

    project_id: Word = Field(description="project of Google Cloud")
    region: Word = Field("us-west1", description="region of Google Cloud")
    zone: Word = Field("us-west1-a", description="zone of that region")
    head_instance: Word = Field("n2-standard-4", description="machine type of the head")
    head_cpus: Count = Field(4, json_schema_extra={"unit": "CPUs"}, description="CPUs of that machine type")
    instance: Word = Field("n1-standard-8", description="machine type of the workers")
    cpus: Count = Field(8, json_schema_extra={"unit": "CPUs"}, description="CPUs of that machine type")
    gpus: Count = Field(1, json_schema_extra={"unit": "GPUs"}, description="GPUs of each worker")
    accelerator: Word = Field("nvidia-tesla-t4", description="type of these GPUs as Google Cloud calls it")
    source_image: Annotated[str, _shaped(r"[\w./:-]+", "the name of a machine image")] = Field(
        "projects/deeplearning-platform-release/global/images/family/common-cpu",
        description="machine image with Docker; one with NVIDIA's driver where there are GPUs",
    )
    service_account: Email | None = Field(
        None,
        description="service account of all machines, for access to the store; Ray's own by default",
    )


class OnPremiseSettings(LauncherSettings):
    """Machines of one's own, through Ray's cluster launcher over SSH."""

    head: Host = Field(description="the machine of the head")
    workers: Hosts = Field(description="the other machines, separated by commas")
    ssh_user: Word = Field(description="user on all machines")
    ssh_key: HomePath = Field("~/.ssh/id_ed25519", description="private key on this machine")
    ssh_proxy: Command | None = Field(None, description="SSH's ProxyCommand, such as `ssh -W %h:%p gateway`")
    python: Version = Field("3.11", description="version of Python that is on the machines")
    environment: Folder = Field(
        "/opt/harness", description="virtual environment on each machine, made where it is missing"
    )
    port: Port = Field(6379, description="port of the head")

    @property
    def project(self) -> str:
        """Folder on the head that projects are copied to."""
        return f"{self.environment}/projects"


class KubeRaySettings(Settings):
    """A RayCluster of the KubeRay operator (1.6 or newer, for token authentication)."""

    package: Requirement = Field(
        "", description="what pip installs when a pod starts; empty, as by default, where the image holds it"
    )
    namespace: Name = Field("default", description="namespace of Kubernetes")
    image: Image = Field(
        f"rayproject/ray:{RAY_VERSION}-py311-gpu", description="image of all pods, with Python 3.11 or newer"
    )
    ray: Version = Field(RAY_VERSION, description="version of Ray in the image; 2.52 or newer")
    head_cpus: Annotated[int, Field(ge=1, le=MOST_NODES)] = Field(
        2, json_schema_extra={"unit": "CPUs"}, description="CPUs of the head, on which no trial runs"
    )
    head_memory: Quantity = Field("8Gi", description="memory of the head")
    cpus: Annotated[int, Field(ge=1, le=MOST_NODES)] = Field(
        8, json_schema_extra={"unit": "CPUs"}, description="CPUs of each worker"
    )
    memory: Quantity = Field("32Gi", description="memory of each worker, shared memory included")
    gpus: Count = Field(1, json_schema_extra={"unit": "GPUs"}, description="GPUs of each worker")
    shm: Quantity = Field("8Gi", description="shared memory (/dev/shm) of each pod, for data loaders")
    min_workers: Count = Field(0, json_schema_extra={"unit": "pods"}, description="workers that stay")
    max_workers: Count = Field(4, json_schema_extra={"unit": "pods"}, description="workers at most")
    idle_seconds: int = Field(
        300, ge=1, le=10**6, json_schema_extra={"unit": "seconds"}, description="an idle worker is given back"
    )
    spot_label: Label | None = Field(
        None, description="label of the nodes for workers, such as those of a spot pool; tainted alike or not"
    )
    secret: Name | None = Field(
        None, description="Secret whose entries become environment variables: the store's credentials"
    )
    token_secret: Name | None = Field(
        None, description="Secret with Ray's token under auth_token; the operator makes one by default"
    )
    service_account: Name | None = Field(None, description="service account of all pods")
    claim: Name | None = Field(
        None, description="PersistentVolumeClaim (ReadWriteMany) that is mounted at `shared`"
    )
    network_policy: bool = Field(
        True, description="let in only pods of the cluster and the operator (KubeRay 1.7 or newer)"
    )

    @model_validator(mode="after")
    def _claim_has_a_place(self) -> Self:
        if self.claim is not None and self.shared is None:
            raise ValueError("the claim needs a place: give `shared` the folder that it is mounted at")
        return self

    @property
    def project(self) -> str:
        """Folder on the head that projects are copied to."""
        return "/home/ray/projects"


class KubeRayJobSettings(KubeRaySettings):
    """A RayJob: a cluster for one suite, gone when the suite is done."""

    project_folder: Folder = Field(
        "/home/ray/project", description="folder of the project in the image or below `shared`"
    )
    keep_seconds: int = Field(
        600,
        ge=0,
        le=10**7,
        json_schema_extra={"unit": "seconds"},
        description="the cluster stays after its suite",
    )
    retries: int = Field(
        3,
        ge=0,
        le=100,
        json_schema_extra={"unit": "times"},
        description="started anew when it fails, as when its head is lost",
    )


class SlurmSettings(Settings):
    """A Slurm job: a cluster for one suite, requeued before its time limit."""

    package: Requirement = Field(
        "", description="what pip installs into `environment` as the job starts; empty where it is there"
    )
    environment: Folder = Field(description="virtual environment with the harness, on a shared file system")
    partition: Word | None = Field(None, description="partition; the default one where none is given")
    account: Word | None = Field(None, description="account that is charged")
    qos: Word | None = Field(None, description="quality of service")
    constraint: Word | None = Field(None, description="feature that the nodes must have")
    nodes: Annotated[int, Field(ge=1, le=MOST_NODES)] = Field(
        2, json_schema_extra={"unit": "nodes"}, description="nodes, that of the head included"
    )
    cpus: Annotated[int, Field(ge=1, le=4096)] = Field(
        8, json_schema_extra={"unit": "CPUs"}, description="CPUs of each node"
    )
    gpus: Annotated[int, Field(ge=0, le=64)] = Field(
        0, json_schema_extra={"unit": "GPUs"}, description="GPUs of each node"
    )
    memory: Quantity | None = Field(None, description="memory of each node; the partition's default")
    time: WallTime = Field("24:00:00", description="time limit; the job goes on after it, requeued")
    notice: int = Field(
        120,
        ge=30,
        le=3600,
        json_schema_extra={"unit": "seconds"},
        description="USR1 comes this long before it",
    )
    scratch: Annotated[Folder, Field(max_length=50)] = Field(
        "/tmp", description="folder on each node's own disk for Ray's files; short, as sockets lie in it"
    )
    log: Folder | None = Field(
        None, description="folder of the log, on a shared file system; the folder of `sbatch` where none"
    )


class PlainSettings(Settings):
    """`ray start` by hand: one script for the head, one for each other machine."""

    environment: Folder | None = Field(
        None, description="virtual environment with the harness on every machine; PATH where none"
    )
    package: Requirement = Field(
        "", description="what pip installs as the scripts start; empty where the environment holds it already"
    )
    head: Host = Field(
        "127.0.0.1", description="address of the head for the others; 127.0.0.1 where there are none"
    )
    port: Port = Field(6379, description="port of the head")
    cpus: Annotated[int, Field(ge=0, le=4096)] | None = Field(
        None, json_schema_extra={"unit": "CPUs"}, description="CPUs of each machine; all where none"
    )
    gpus: Annotated[int, Field(ge=0, le=64)] | None = Field(
        None, json_schema_extra={"unit": "GPUs"}, description="GPUs of each machine; all where none"
    )
    scratch: Annotated[Folder, Field(max_length=60)] = Field(
        "/tmp/ray", description="folder for Ray's files; short, as sockets lie in it"
    )
    token_file: HomePath = Field(
        "~/.ray/auth_token", description="Ray's token, the same on every machine; made where it is missing"
    )

    @property
    def address(self) -> str:
        """What `harness run --address` is told: host and port of the head."""
        return f"{self.head}:{self.port}"


@dataclass(frozen=True)
class Setting:
    """One setting as it is told to people."""

    name: str
    default: str | int | bool | None
    required: bool
    unit: str | None
    meaning: str


def parse(model: type[Settings_], assignments: Sequence[str]) -> Settings_:
    """Return settings from texts of the form `key=value`; a later one overrides an earlier one.

    Raises:
        HarnessError: everything that is wrong with them, a line each.
    """
    values: dict[str, str] = {}
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator:
            raise HarnessError(f"expected key=value, got {text[:LONGEST]!r}")
        values[key.strip()] = value.strip()
    return from_values(model, values)


def from_values(model: type[Settings_], values: dict[str, Any]) -> Settings_:
    """Return settings from values by name; texts are read as the type of their setting.

    Raises:
        HarnessError: everything that is wrong with them, a line each.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_told(model, one["loc"], one["type"], one["msg"], one["input"]) for one in error.errors()]
    raise HarnessError("\n".join(lines))


def _told(model: type[Settings], location: tuple[int | str, ...], kind: str, message: str, got: Any) -> str:
    name = str(location[0]) if location else ""
    if kind == "extra_forbidden":
        return f"no such setting '{name[:100]}'{did_you_mean(name, model.model_fields)}"
    if kind == "missing":
        return f"{name} is missing: {model.model_fields[name].description}; give it by --set {name}=..."
    said = message.removeprefix("Value error, ")
    if not name:
        return said
    return f"{name}: {said[0].lower()}{said[1:]}, got {str(got)[:100]!r}"


def described(model: type[Settings]) -> list[Setting]:
    """Return all settings of a kind, the required ones first."""
    found = [_setting(name, model) for name in model.model_fields]
    return sorted(found, key=lambda one: not one.required)


def _setting(name: str, model: type[Settings]) -> Setting:
    field = model.model_fields[name]
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    default = None if field.is_required() else field.default
    return Setting(
        name=name,
        default=",".join(default) if isinstance(default, tuple) else default,
        required=field.is_required(),
        unit=str(extra["unit"]) if "unit" in extra else _kind_of(field.annotation),
        meaning=field.description or "",
    )


def _kind_of(annotation: Any) -> str | None:
    is_union = typing.get_origin(annotation) is types.UnionType
    members = typing.get_args(annotation) if is_union else (annotation,)
    return "true or false" if bool in members else None
