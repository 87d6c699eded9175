"""What is right and wrong with this machine and installation, each with the way out: `harness doctor`.

Nothing heavy is imported here: what needs torch or Ray is asked in processes of their own, so that a
broken installation is a line of the answer, and so that no driver is touched by the one who asks.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from harness.allotment import this_machine
from harness.errors import HarnessError, StoreError
from harness.planning.trackers import not_installed
from harness.provenance import available_cpus
from harness.registry import registry
from harness.store.files import open_files

State = Literal["ok", "warn", "fail"]
DISTRIBUTION = "ablation-harness"
PROBE_SECONDS = 60
DEEP_SECONDS = 180
LOW_DISK = 5e9
"""Free bytes below which a disk is called nearly full: a few checkpoints and data sets."""
LOW_SHARED_MEMORY = 1 << 30
"""Bytes of /dev/shm below which Ray keeps its objects on disk; containers often have 64 MiB."""

TORCH = """
import json, torch
from harness.losses.perceptual_network import BACKBONES, published_weights
files = {net: published_weights(net) for net in BACKBONES}
gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps({
    "version": torch.__version__,
    "built_for": torch.version.cuda or torch.version.hip,
    "cuda": torch.cuda.is_available(),
    "gpus": [[gpu.name, gpu.total_memory] for gpu in gpus],
    "nccl": ".".join(map(str, torch.cuda.nccl.version())) if torch.distributed.is_nccl_available() else None,
    "weights": {net: [str(file.path), file.present()] for net, file in files.items()},
}))
"""
RAY = "import json, ray; print(json.dumps({'version': ray.__version__}))"
RAY_STARTS = """
import json
from harness.execute.ray_tune import RayExecutor
executor = RayExecutor(cpus=1)
print(json.dumps({"cpus": executor.cpus}))
executor.close()
"""


@dataclass(frozen=True)
class Finding:
    """One line of the answer."""

    name: str
    state: State
    found: str
    way_out: str = ""
    """What to do about it; empty where all is well."""
    group: Literal["machine", "package"] = "machine"
    """`package` for a version within, or outside, what the harness asks for."""

    def to_json(self) -> dict[str, str]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Probe:
    """What another Python process printed, or why it could not."""

    answer: dict[str, Any] | None
    error: str = ""


def examine(*, store: Path | str, cache: Path, deep: bool = False) -> list[Finding]:
    """Look at everything that a run relies on; changes nothing.

    Args:
        store: folder or address of results; need not exist.
        cache: folder of generated data; need not exist.
        deep: also start Ray, which takes some 20 s.
    """
    with ThreadPoolExecutor() as pool:  # both take seconds, and wait for other processes
        torch, ray = pool.submit(probe, TORCH), pool.submit(probe, RAY)
        findings = [_python(), *_versions(), *_compilers(), *_hub(), *_trackers()]
        findings += [_store(store), _folder("cache", cache), *_shared_memory(), _threads()]
        findings[1:1] = [*_torch(torch.result()), *_ray(ray.result())]
    if deep:
        findings.append(_ray_starts(probe(RAY_STARTS, seconds=DEEP_SECONDS)))
    return findings


def probe(code: str, *, seconds: float = PROBE_SECONDS) -> Probe:
    """Run Python code in a process of its own; it prints one line of JSON last."""
    try:
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Probe(None, f"no answer within {seconds:.0f} s")
    lines = result.stdout.strip().splitlines()
    if result.returncode == 0 and lines:
        return Probe(json.loads(lines[-1]))
    told = result.stderr.strip().splitlines()
    return Probe(None, told[-1] if told else f"ended with {result.returncode}")


def unmet(requirements: Sequence[str], version_of: Callable[[str], str | None]) -> Iterator[Finding]:
    """Yield a finding for every requirement, those of extras left out.

    Args:
        requirements: texts such as "torch>=2.9,<2.16", as in a distribution's metadata.
        version_of: the installed version of a distribution, or none.
    """
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = version_of(requirement.name)
        state: State = "ok"
        found, way_out = version or "not installed", ""
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            state, way_out = "fail", f"pip install '{requirement.name}{requirement.specifier}'"
            found += f", expected {requirement.specifier}" if version else ""
        yield Finding(requirement.name, state, found, way_out, group="package")


def _python() -> Finding:
    wanted = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"]
    version = platform.python_version()
    if SpecifierSet(wanted).contains(version):
        return Finding("python", "ok", f"{version}, {sys.executable}")
    return Finding("python", "fail", version, f"make a virtual environment with Python {wanted}")


def _torch(probed: Probe) -> Iterator[Finding]:
    told = probed.answer
    if told is None:
        yield Finding("torch imports", "fail", probed.error, "pip install --force-reinstall torch")
        return
    yield Finding("torch imports", "ok", f"{told['version']}, built for {told['built_for'] or 'CPU'}")
    if told["gpus"]:
        yield _gpus(told["gpus"])
    elif _has_nvidia_device():
        yield Finding(
            "GPUs",
            "warn",
            "the driver sees one, torch does not",
            "install the build of torch for this driver: see pytorch.org/get-started",
        )
    else:
        yield Finding("GPUs", "ok", "none; trials run on the CPU")
    yield _nccl(told)
    yield from _perceptual_weights(told["weights"])


def _gpus(seen: Sequence[tuple[str, int]]) -> Finding:
    """Return the GPUs that torch sees, and whether trials are placed on them, which goes by `nvidia-smi`."""
    memory = ", ".join(f"{name} {bytes_ / 2**30:.0f} GiB" for name, bytes_ in seen)
    if this_machine().gpus:
        return Finding("GPUs", "ok", memory)
    way_out = "put nvidia-smi on the PATH; without it trials run on the CPU"
    return Finding("GPUs", "warn", f"{memory}; nvidia-smi tells of none", way_out)


def _nccl(told: dict[str, Any]) -> Finding:
    if told["nccl"] is not None:
        return Finding("NCCL", "ok", told["nccl"])
    way_out = "install a build of torch with NCCL, or run every trial on one GPU"
    return Finding("NCCL", "warn" if len(told["gpus"]) > 1 else "ok", "not in this build", way_out)


def _has_nvidia_device() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _perceptual_weights(weights: dict[str, list[Any]]) -> Iterator[Finding]:
    missing = [net for net, (_, present) in weights.items() if not present]
    folder = Path(next(iter(weights.values()))[0]).parent
    if not missing:
        yield Finding("perceptual weights", "ok", f"all in {folder}")
    else:
        yield Finding(
            "perceptual weights",
            "warn" if "alex" in missing else "ok",
            f"{', '.join(missing)} not in {folder}; lpips of these rests on random features",
            "harness weights SUITE --fetch",
        )


def _ray(probed: Probe) -> Iterator[Finding]:
    if probed.answer is not None:
        yield Finding("ray imports", "ok", probed.answer["version"])
    else:
        yield Finding(
            "ray imports", "fail", probed.error, "pip install 'ray[tune,train]'; until then --executor local"
        )


def _ray_starts(probed: Probe) -> Finding:
    if probed.answer is not None:
        return Finding("ray starts", "ok", f"a cluster with {probed.answer['cpus']} CPU started and ended")
    return Finding("ray starts", "fail", probed.error, "see /tmp/ray/session_latest/logs")


def _versions() -> Iterator[Finding]:
    yield from unmet(importlib.metadata.requires(DISTRIBUTION) or (), _installed)
    yield from _pair("torchvision", "torch")


def _pair(dependent: str, needed: str) -> Iterator[Finding]:
    """Yield whether a package fits the release of another that it was built for."""
    for text in importlib.metadata.requires(dependent) or () if _installed(dependent) else ():
        requirement = Requirement(text)
        version = _installed(requirement.name)
        if canonicalize_name(requirement.name) != needed or version is None:
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        found = f"{dependent} {_installed(dependent)} is built for {needed}{requirement.specifier}"
        way_out = "" if fits else f"pip install --upgrade {needed} {dependent}, which takes a pair"
        yield Finding(f"{dependent} fits {needed}", "ok" if fits else "fail", found, way_out)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _compilers() -> Iterator[Finding]:
    for name, way_out in (
        ("c++", "install a C++ compiler, such as g++; DeepSpeed compiles its operations with it"),
        ("ninja", "pip install ninja; DeepSpeed compiles its operations with it"),
    ):
        # pip puts ninja beside python, where a virtual environment that is not activated does not look
        path = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
        yield Finding(name, "ok" if path else "warn", path or "not found", "" if path else way_out)


def _trackers() -> Iterator[Finding]:
    """Yield which trackers a suite may ask for; one that is missing is refused only where it is asked for."""
    for name in registry.names("tracker"):
        try:
            needs = registry.load("tracker", name).needs
        except HarnessError as error:
            yield Finding(f"tracker {name}", "warn", str(error), "mend or uninstall it")
            continue
        lacking = not_installed(needs)
        way_out = f"pip install {' '.join(lacking)}, if it is wanted" if lacking else ""
        found = "not installed" if lacking else "installed"
        yield Finding(f"tracker {name}", "ok", found, way_out)


def _hub() -> Iterator[Finding]:
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if offline:
        found = "HF_HUB_OFFLINE is set: files of weights are never fetched"
        yield Finding("hub", "ok", found, "unset HF_HUB_OFFLINE for `harness weights --fetch`")
    else:
        # An address may hold a password.
        through = f" through {re.sub(r'//[^@/]*@', '//', proxy)}" if proxy else ""
        yield Finding("hub", "ok", f"{endpoint}{through}; asked by `harness weights --fetch` alone")


def _store(store: Path | str) -> Finding:
    """Return whether the folder of a store can be written, or its bucket be listed."""
    try:
        files = open_files(store)
        if files.is_local:
            return _folder("store", Path(files.address))
        files.names("runs")
    except StoreError as error:
        return Finding("store", "fail", str(error), "check the address, the credentials and the endpoint")
    return Finding("store", "ok", f"{files.address}, can be listed")


def _folder(name: str, folder: Path) -> Finding:
    """Return whether a folder, or the nearest one above it, can be written, and how much room there is."""
    variable = f"HARNESS_{name.upper()}"
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        found = f"{there} is no folder that can be written"
        return Finding(name, "fail", found, f"set {variable} to a folder that you may write")
    free = shutil.disk_usage(there).free
    found = f"{folder}, {free / 1e9:.0f} GB free"
    if free < LOW_DISK:
        return Finding(name, "warn", found, f"make room, or set {variable} to a folder on another disk")
    return Finding(name, "ok", found)


def _shared_memory() -> Iterator[Finding]:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return  # not Linux: Ray keeps objects elsewhere
    total = shutil.disk_usage(folder).total
    found = f"{total / 2**30:.1f} GiB"
    if total < LOW_SHARED_MEMORY:
        way_out = "start the container with --shm-size=2g; Ray is slower without"
        yield Finding("/dev/shm", "warn", found, way_out)
    else:
        yield Finding("/dev/shm", "ok", found)


def _threads() -> Finding:
    cpus = available_cpus()
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is None:
        return Finding("CPUs", "ok", f"{cpus}; every trial computes with as many threads as it has CPUs")
    found = f"{cpus}, OMP_NUM_THREADS={threads}"
    if threads.isdigit() and 1 <= int(threads) <= cpus:
        return Finding("CPUs", "ok", found)
    return Finding("CPUs", "warn", found, f"unset OMP_NUM_THREADS, or set it to a number from 1 to {cpus}")
