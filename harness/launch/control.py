"""What `harness cluster` does: manifests, clusters and jobs, each through the tool of its kind."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.catalog import find_suite
from harness.errors import HarnessError
from harness.launch import state, tools
from harness.launch.job import Job, new_job, require_reachable
from harness.launch.kinds import KINDS, Kind, kind_named
from harness.launch.render import fill
from harness.launch.settings import Settings, from_values, parse
from harness.launch.state import Cluster
from harness.launch.tools import Call

COMMAND_SHOWN = "harness run SUITE --executor ray --address auto"
"""What stands for the command in the manifest of a job that is only looked at."""


@dataclass(frozen=True)
class Step:
    """What was done, or would be: the cluster and its calls."""

    cluster: Cluster
    calls: tuple[Call, ...]
    manifests: tuple[Path, ...] = ()

    @property
    def commands(self) -> list[str]:
        """The calls as they would be typed."""
        return [str(one) for one in self.calls]


def render(kind_name: str, assignments: Sequence[str]) -> dict[str, str]:
    """Return the manifests of a kind by the name of their file, filled from `key=value` texts.

    Raises:
        HarnessError: there is no such kind, or a setting is wrong.
    """
    kind = kind_named(kind_name)
    return _filled(kind, parse(kind.settings, assignments), COMMAND_SHOWN)


def write_manifests(manifests: dict[str, str], out: Path) -> list[Path]:
    """Write manifests and return their files: one manifest to a file, several into a folder.

    Raises:
        HarnessError: it cannot be written.
    """
    files = {out if len(manifests) == 1 else out / name: text for name, text in manifests.items()}
    try:
        for file, text in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    except OSError as error:
        raise HarnessError(f"cannot write to {out}: {error.strerror}") from error
    return list(files)


def up(target: str, assignments: Sequence[str] = (), *, dry_run: bool = False) -> Step:
    """Make a cluster of a kind, or from the file of a manifest.

    Raises:
        HarnessError: a setting is wrong, a tool is missing or fails, or a cluster of that name is up.
    """
    kind, settings, manifests, name, facts = _described(target, assignments)
    if state.is_known(name):
        raise HarnessError(f"a cluster '{name}' is up; `harness cluster down {name}` ends it")
    cluster = Cluster(name, kind.name, settings, tuple(manifests), "", facts=facts)
    calls = tuple(kind.tool.up(cluster))
    if dry_run:
        return Step(cluster, calls)
    tools.require(calls)
    cluster = state.new_cluster(name, kind.name, settings, manifests, **facts)
    # Known before its machines are there: `down` ends what a failed `up` leaves.
    cluster = state.save(cluster)
    for one in calls:
        if one.log is None:
            tools.make([one])
        else:
            cluster = state.save(cluster, process=tools.start(one))
    return Step(cluster, calls, tuple(cluster.manifest(file) for file in cluster.manifests))


def submit(
    suite: str,
    options: Sequence[str] = (),
    *,
    on: str | None = None,
    store: str | None = None,
    dry_run: bool = False,
) -> Step:
    """Run a suite on a cluster.

    Args:
        suite: a suite file of this project, by a path below this folder, or the name of a known suite.
        options: of `harness run`, as typed.
        on: the cluster's name; the only one by default.
        store: where results are kept; what the cluster's settings say by default.

    Raises:
        HarnessError: there is no such cluster or suite, the store cannot be reached from all machines, or
            a tool is missing or fails.
    """
    cluster = state.find(on)
    kind = kind_named(cluster.kind)
    _require_in_project(suite)
    reachable = require_reachable(
        store or cluster.settings.get("store"),
        cluster.settings.get("shared"),
        several_machines=kind.has_several_machines(cluster),
    )
    job = new_job(suite, reachable, tuple(options))
    calls = tuple(kind.tool.submit(cluster, job))
    if dry_run:
        return Step(cluster, calls)
    tools.require(calls)
    if kind.command_in_manifest:
        _refill(kind, cluster, job)
    if kind.runs_here:
        tools.make(calls)
        return Step(cluster, calls)
    if kind.job_name is None:
        cluster = state.save(cluster, job=job.name)
        tools.make(calls)
        return Step(cluster, calls)
    tools.make(calls[:-1])
    named = kind.job_name(tools.answer(calls[-1]))
    return Step(state.save(cluster, job=named), calls)


def status(name: str | None = None, *, dry_run: bool = False) -> Step:
    """Ask the tool of a cluster where it stands; what it says goes to the terminal."""
    cluster = state.find(name)
    return _made(cluster, kind_named(cluster.kind).tool.status(cluster), dry_run)


def logs(name: str | None = None, *, lines: int = 100, follow: bool = False, dry_run: bool = False) -> Step:
    """Print the end of what the newest job of a cluster printed."""
    cluster = state.find(name)
    return _made(cluster, kind_named(cluster.kind).tool.logs(cluster, lines, follow), dry_run)


def down(name: str | None = None, *, dry_run: bool = False) -> Step:
    """End a cluster and forget it."""
    cluster = state.find(name)
    step = _made(cluster, kind_named(cluster.kind).tool.down(cluster), dry_run)
    if not dry_run:
        state.forget(cluster)
    return step


def _made(cluster: Cluster, calls: Sequence[Call], dry_run: bool) -> Step:
    if not dry_run:
        tools.make(calls)
    return Step(cluster, tuple(calls))


def _described(
    target: str, assignments: Sequence[str]
) -> tuple[Kind, dict[str, Any], dict[str, str], str, dict[str, str]]:
    """Return kind, settings, manifests, name and facts of what `up` is told: a kind, or a file."""
    if target in KINDS:
        kind = KINDS[target]
        settings = parse(kind.settings, assignments)
        values, facts = settings.model_dump(mode="json"), kind.facts(settings)
        return kind, values, _filled(kind, settings), settings.name, facts
    path = Path(target)
    if not path.is_file():
        kind_named(target)  # says which there are
    return _of_file(path, parse(Settings, assignments))


def _of_file(path: Path, given: Settings) -> tuple[Kind, dict[str, Any], dict[str, str], str, dict[str, str]]:
    text = path.read_text(encoding="utf-8")
    for kind in KINDS.values():
        found = kind.recognise(text) if kind.recognise is not None else None
        if found is not None:
            name = from_values(Settings, {"name": found["resource"]}).name
            (file,) = kind.manifests
            settings = given.model_dump(mode="json", exclude_unset=True)
            return kind, settings, {file: text}, name, found
    raise HarnessError(
        f"{path} is no manifest that `up` knows: one for `ray up`, a RayCluster, or an sbatch script; "
        f"known kinds are {', '.join(KINDS)}"
    )


def _filled(kind: Kind, settings: Settings, command: str = COMMAND_SHOWN) -> dict[str, str]:
    more = {"command": command} if kind.command_in_manifest else {}
    return {file: fill(template, settings, **more) for file, template in kind.manifests.items()}


def _refill(kind: Kind, cluster: Cluster, job: Job) -> None:
    """Write the manifest of a job anew, with its command."""
    settings = from_values(kind.settings, cluster.settings)
    for file, text in _filled(kind, settings, shlex.join(job.command("auto"))).items():
        cluster.manifest(file).write_text(text)


def _require_in_project(suite: str) -> None:
    """Refuse a suite that is not there, or not in the folder that travels to the cluster."""
    find_suite(suite)
    path = Path(suite)
    if path.is_absolute() or ".." in path.parts:
        raise HarnessError(f"{suite} lies outside of this folder, which is all that a cluster gets")
