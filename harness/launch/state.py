"""Which clusters a project has: one small file for each, without secrets, and its manifests beside it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, did_you_mean
from harness.launch.settings import NAME

FOLDER = Path(".harness", "clusters")
IGNORED = ".gitignore"


@dataclass(frozen=True)
class Cluster:
    """A cluster that `up` made: what it was made from, and what its tool answered."""

    name: str
    kind: str
    settings: dict[str, Any]
    """By name, as `parse` read them; empty where the manifest was given as a file."""
    manifests: tuple[str, ...]
    """Names of the files in its folder."""
    made: str
    """When, in UTC, as ISO 8601."""
    job: str | None = None
    """The newest job: a number of Slurm, a name of Kubernetes, a submission of Ray."""
    process: int | None = None
    """Process of a head that was started here."""
    facts: dict[str, str] = field(default_factory=dict)
    """What else its commands need to know, such as a namespace."""

    @property
    def folder(self) -> Path:
        """Folder of its manifests and logs."""
        return FOLDER / self.name

    def manifest(self, name: str | None = None) -> Path:
        """Return the file of a manifest; the first one by default."""
        return self.folder / (name or self.manifests[0])


def new_cluster(
    name: str, kind: str, settings: dict[str, Any], manifests: dict[str, str], **facts: str
) -> Cluster:
    """Write the manifests of a cluster into its folder and return it; `save` makes it known."""
    cluster = Cluster(
        name, kind, settings, tuple(manifests), datetime.now(UTC).isoformat(timespec="seconds"), facts=facts
    )
    try:
        cluster.folder.mkdir(parents=True, exist_ok=True)
        (FOLDER.parent / IGNORED).write_text("*\n")  # a manifest names hosts and buckets: not for git
        for file, text in manifests.items():
            cluster.manifest(file).write_text(text)
    except OSError as error:
        raise HarnessError(f"cannot write to {cluster.folder}: {error.strerror}") from error
    return cluster


def save(cluster: Cluster, **changes: Any) -> Cluster:
    """Write the file of a cluster in one step, with changes, and return it as changed."""
    changed = replace(cluster, **changes)
    file = _file(changed.name)
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(changed), indent=2) + "\n")
    temporary.replace(file)
    return changed


def forget(cluster: Cluster) -> None:
    """Remove the file of a cluster, and its folder."""
    _file(cluster.name).unlink(missing_ok=True)
    shutil.rmtree(cluster.folder, ignore_errors=True)


def known() -> list[Cluster]:
    """Return the clusters of the project, by name."""
    return [_read(file) for file in sorted(FOLDER.glob("*.json"))]


def find(name: str | None) -> Cluster:
    """Return the cluster of that name; the only one where no name is given.

    Raises:
        HarnessError: there is none, or several and no name.
    """
    names = sorted(file.stem for file in FOLDER.glob("*.json"))
    if not names:
        raise HarnessError("no cluster of this project is up; `harness cluster up KIND` makes one")
    if name is None and len(names) > 1:
        raise HarnessError(f"several clusters are up; name one of {', '.join(names)}")
    chosen = name if name is not None else names[0]
    if chosen not in names:
        raise HarnessError(f"no cluster '{chosen[:100]}' is up{did_you_mean(chosen, names)}")
    return _read(_file(chosen))


def is_known(name: str) -> bool:
    """Tell whether the project has a cluster of that name."""
    return _file(name).is_file()


def _file(name: str) -> Path:
    assert re.fullmatch(NAME, name), name
    return FOLDER / f"{name}.json"


def _read(file: Path) -> Cluster:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        cluster = Cluster(**{**values, "manifests": tuple(values["manifests"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise HarnessError(f"{file} cannot be read ({error}); remove it to forget the cluster") from error
    inside = all(re.fullmatch(r"[\w][\w.-]*", name) for name in cluster.manifests)
    if cluster.name != file.stem or not inside or not cluster.manifests:
        raise HarnessError(f"{file} does not describe the cluster {file.stem}; remove it")
    return cluster
