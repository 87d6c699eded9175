"""What a run was made with: code, commit, versions, machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

SHORT_COMMIT = 10  # digits that tell a commit from others for people; documents have all
TRAINING_SOURCES = ("config.py", "data", "models", "losses", "metrics", "tasks", "train")
RECORDED = (
    "ablation-harness",
    "torch",
    "torchvision",
    "accelerate",
    "ray",
    "numpy",
    "lpips",
    "kornia",
    "pytorch-msssim",
    "timm",
    "diffusers",
    "transformers",
    "pyarrow",
)


@cache
def code_hash() -> str:
    """Return a hash of the sources that a trial's numbers come from.

    Trials are reused between runs only where it is the same. It reads the sources and
    not a commit, so that it also holds for an installed wheel and for uncommitted
    changes, and so that a change to a report or a text makes no trial run again.
    """
    root = Path(str(files("harness")))
    digest = hashlib.sha256()
    for source in TRAINING_SOURCES:
        path = root / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0")
            digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def git_state(folder: Path, *, besides: Sequence[Path]) -> tuple[str | None, str | None]:
    """Return the commit of the work tree around `folder`, and a hash of what is not committed.

    The first is none outside a work tree, the second where everything is committed but for what lies
    below `besides`: a store or a baseline inside a project is no change of what runs.
    """
    commit = git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None, None
    top = Path(git(folder, "rev-parse", "--show-toplevel") or folder)
    here = [".", *(f":(exclude){one.relative_to(top)}" for one in besides if top in one.parents)]
    changes = git(top, "status", "--porcelain", "--", *here) or ""
    difference = git(top, "diff", "HEAD", "--", *here) or ""
    text = changes + difference
    return commit, hashlib.sha256(text.encode()).hexdigest()[:16] if text else None


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python, the system and the packages that results depend on."""
    found = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    for package in RECORDED:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # an executor without Ray is a supported installation
    return found


def short_commit(commit: str, *, dirty: bool = False) -> str:
    """Return the first digits of a commit, with a plus where the work tree held changes: "3f2a91c0d5+"."""
    return commit[:SHORT_COMMIT] + "+" * dirty


def host_name() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def available_cpus() -> int:
    """Return the CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints in `folder`; none where git, or a work tree, is absent or git refuses."""
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
