"""What goes to the machines of a running cluster, what they make ready, and what they must see."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.config import TrialSpec
from harness.data.cache import cache_folder
from harness.errors import HarnessError
from harness.execute.base import TrialTask
from harness.execute.ray_tune import cluster
from harness.execute.ray_tune.cluster import Node
from harness.needs import files_read_by
from harness.plan import Plan
from harness.registry import registry
from harness.specify import respecify
from harness.store.write import StoreWriter

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
ANSWER_SECONDS = 120.0  # for a node to set up its environment and answer
MARK = ".harness-project"
"""File at the top of a project that was sent, by which a worker finds it."""
MOST_BYTES = 100_000_000  # of a project; it holds the code of plugins, not data
LEFT_OUT = ("__pycache__", "node_modules", "data", "datasets", "runs", "build", "dist")
"""Folders of a project that are not sent; nor are hidden ones, environments and stores."""


@dataclass
class Luggage:
    """What every node of a cluster makes ready, those included that join later."""

    work: Callable[[], None]
    """Raises what is wrong with a node; runs there."""
    met: set[str]
    """Ids of nodes that made it ready."""
    looked: float = 0.0
    under_way: dict[str, Any] = field(default_factory=dict)

    def meet_new_nodes(self) -> None:
        """Let nodes that joined make ready; looks every two seconds at the most, and never waits."""
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        for node in cluster.living_nodes():
            if node.id not in self.met:
                self.met.add(node.id)
                self.under_way[node.host] = _begin_on(node, self.work)
        for host, answer in list(self.under_way.items()):
            if ray.wait([answer], timeout=0)[0]:
                del self.under_way[host]
                try:
                    ray.get(answer)
                except ray.exceptions.RayError as error:
                    log.warning("the node %s, which joined, is not ready for trials: %s", host, error)


def pack(plan: Plan, store: StoreWriter, address: str) -> Luggage:
    """Send what the nodes of a cluster lack, and let each make ready; connects to it anew where need be.

    Raises:
        HarnessError: the project is too large, or a node does not see the store or cannot make ready.
    """
    environment = _environment(plan)
    if environment:
        ray.shutdown()
        copy = environment.get("working_dir")
        try:
            cluster.join(address, runtime_env=environment)  # sends what it names, so that the copy can go
        finally:
            if copy is not None:
                shutil.rmtree(copy)
    nodes = cluster.living_nodes()
    _require_store_seen(nodes, store)
    work = _making_ready(plan)
    ask_all(nodes, work, "cannot make ready for trials")
    return Luggage(work, {node.id for node in nodes})


def at_home(task: TrialTask) -> TrialTask:
    """Return a task as this machine is to make it: its own cache, and the project where it was put.

    Only a worker of a running cluster asks; there is nothing to change where a task has stayed at home.
    """
    here = next((Path(entry) for entry in sys.path if (Path(entry) / MARK).is_file()), None)
    cache = str(cache_folder())
    return replace(task, cache=cache, project=str(here) if here else task.project)


def gpu_memory_bytes(nodes: Sequence[Node]) -> int | None:
    """Return the memory of one GPU, of the smallest in the cluster; none where it is not known."""

    def query() -> int | None:  # travels by value: the harness need not be there yet
        import subprocess

        command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return None
        return min((int(line) * 2**20 for line in said.split() if line.isdigit()), default=None)

    with_gpus = [node for node in nodes if node.resources.get("GPU")]
    found = [memory for _, memory in ask_all(with_gpus, query, "does not answer")]
    return None if None in found else min(found, default=None)


def _environment(plan: Plan) -> dict[str, Any]:
    """Return Ray's runtime environment: the harness where nodes have another one, the project for plugins."""
    environment: dict[str, Any] = {}
    here = Path(__file__).parents[2]
    seen = ask_all(cluster.living_nodes(), _sources_seen(), "does not answer")
    if {sources for _, sources in seen} != {_sources_seen()()}:
        environment["py_modules"] = [str(here)]
    if any(trial.spec["plugins"] for trial in plan.trials) or any(":" in name for name in plan.trackers):
        environment["working_dir"] = str(_project_copy(Path.cwd()))
    return environment


def _sources_seen() -> Callable[[], str | None]:
    """Return a function that hashes the harness that a process would import; it travels by value."""

    def sources() -> str | None:
        import hashlib
        import importlib.util
        from pathlib import Path

        spec = importlib.util.find_spec("harness")
        if spec is None or spec.origin is None:
            return None
        root = Path(spec.origin).parent
        digest = hashlib.sha256()
        for file in sorted(root.rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
        return digest.hexdigest()

    return sources


def _project_copy(project: Path) -> Path:
    """Copy what of a project plugins may need, and return where to.

    Raises:
        HarnessError: it is too large.
    """
    import tempfile

    target = Path(tempfile.mkdtemp(prefix="harness-project-"))
    left = MOST_BYTES
    for file in _files_of(project):
        left -= file.stat().st_size
        if left < 0:
            shutil.rmtree(target)
            raise HarnessError(
                f"the project {project}, which plugins are imported from, has more than "
                f"{MOST_BYTES / 1e6:.0f} MB to be sent to the cluster; put data into a folder called "
                "data, or run from a folder that holds the suite and its plugins alone"
            )
        (target / file.relative_to(project)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / file.relative_to(project))
    (target / MARK).touch()
    return target


def _files_of(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if _is_sent(here / name))
        yield from (here / name for name in sorted(names) if (here / name).is_file())


def _is_sent(folder: Path) -> bool:
    is_environment = (folder / "pyvenv.cfg").is_file()
    is_store = (folder / "attempts").is_dir() and (folder / "runs").is_dir()
    named = folder.name in LEFT_OUT or folder.name.startswith(".") or folder.name.endswith(".egg-info")
    return not (is_environment or is_store or named or folder.is_symlink())


def _require_store_seen(nodes: Sequence[Node], store: StoreWriter) -> None:
    """Refuse a store that is a folder of this machine and not of the others.

    Raises:
        HarnessError: a node does not find in the store what this process wrote.
    """
    address = store.address
    if "://" in address:
        return  # an object store; what a node lacks there, its first attempt tells
    probe = Path(address) / f".seen-{secrets.token_hex(8)}"
    probe.touch()
    path = str(probe)

    def is_seen() -> bool:
        from pathlib import Path

        return Path(path).is_file()

    try:
        seen = ask_all(nodes, is_seen, "does not answer")
    finally:
        probe.unlink(missing_ok=True)
    blind = sorted({node.host for node, sees in seen if not sees})
    if blind:
        raise HarnessError(
            f"the store {address} is not seen from {', '.join(blind)} of the cluster; "
            "put it on a disk that all its machines share, or into an object store: --store s3://BUCKET/FOLDER"
        )


def _making_ready(plan: Plan) -> Callable[[], None]:
    """Return what every node does before its first trial: make the data sets, get the files of weights."""
    specs: dict[str, dict[str, Any]] = {}
    for trial in plan.trials:
        specs.setdefault(str((trial.spec["data"], trial.variants)), trial.spec)
    wanted = list(specs.values())

    def make_ready() -> None:
        make_node_ready(wanted)

    return make_ready


def make_node_ready(specs: Sequence[dict[str, Any]]) -> None:
    """Make the data sets of trials in this machine's cache and get their files of weights, each once.

    Several processes may do so at once: data sets are made under a lock, files appear whole.

    Raises:
        HarnessError: a data set cannot be made, or a file cannot be had.
    """
    from harness import plugins

    here = next((Path(entry) for entry in sys.path if (Path(entry) / MARK).is_file()), None)
    if here is not None:
        plugins.use_project(here)
    made: list[Any] = []
    for spec in map(respecify, specs):
        if spec.data not in made:
            made.append(spec.data)
            registry.load("data", spec.data.name)(spec.data, cache_folder())
        _fetch_weights(spec)


def _fetch_weights(spec: TrialSpec) -> None:
    for file in files_read_by(spec):
        file.fetch()


def _begin_on(node: Node, function: Callable[[], Any]) -> Any:
    """Have a function run on a node, beside whatever runs there, and return the reference to its answer."""
    there = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(function).remote()


def ask_all(nodes: Sequence[Node], function: Callable[[], Any], complaint: str) -> list[tuple[Node, Any]]:
    """Have a function run on every node at once and return what each answers, in the order of the nodes.

    A node that leaves the cluster meanwhile is left out: nothing will begin there.

    Raises:
        HarnessError: a node that is still there gives no answer; it says `complaint`.
    """
    asked = [_begin_on(node, function) for node in nodes]
    answers = []
    for node, answer in zip(nodes, asked, strict=True):
        try:
            answers.append((node, ray.get(answer, timeout=ANSWER_SECONDS)))
        except (ray.exceptions.RayError, HarnessError) as error:
            if any(living.id == node.id for living in cluster.living_nodes()):
                raise HarnessError(f"the node {node.host} {complaint}: {error}") from error
    return answers
