"""Calls of the tools that clusters are made with: shown as they would be typed, or made."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.redact import redact


class ToolError(HarnessError):
    """A tool that failed; its exit code becomes that of the command."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code if 0 < code < 256 else 2


PACKAGES = {
    "ray": 'pip install "ray[default]"',
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "sbatch": "the client of Slurm: run this on a login node of the cluster",
    "squeue": "the client of Slurm: run this on a login node of the cluster",
    "scancel": "the client of Slurm: run this on a login node of the cluster",
    "rsync": "the rsync package of the system",
    "ssh": "the openssh-client package of the system",
    "tar": "the tar package of the system",
    "tail": "the coreutils package of the system",
    "bash": "the bash package of the system",
    "kill": "the procps package of the system",
    "harness": "pip install ablation-harness",
}
"""Where each tool comes from."""
BESIDE_PYTHON = ("ray", "harness")
"""Tools of the environment that this runs in: found there also where it is not on PATH."""


@dataclass(frozen=True)
class Call:
    """One command; `fed_by` is a command whose output it reads."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    fed_by: tuple[str, ...] = ()
    keep_going: bool = False
    """Whether the next call is made where this one fails."""
    log: Path | None = None
    """Where its output goes, if it is started as a process that stays."""

    def __str__(self) -> str:
        """Return the command as it would be typed."""
        settings = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        typed = " ".join([*settings, shlex.join(self.words)])
        if self.log is not None:
            typed = f"setsid nohup {typed} >> {shlex.quote(str(self.log))} 2>&1 &"
        return redact(f"{shlex.join(self.fed_by)} | {typed}" if self.fed_by else typed)

    @property
    def tools(self) -> set[str]:
        """Names of the programs that it needs."""
        return {self.words[0], *self.fed_by[:1]}


def call(*words: str, **environment: str) -> Call:
    """Return a call of these words; what is given by name is put into its environment."""
    return Call(words, environment)


def require(calls: Sequence[Call]) -> None:
    """Refuse calls whose tools are not on this machine.

    Raises:
        HarnessError: the tools that are missing, and where each comes from.
    """
    missing = sorted({tool for one in calls for tool in one.tools if _path_of(tool) is None})
    if missing:
        raise HarnessError(
            "\n".join(f"needs {tool}, which is not here; it comes with {PACKAGES[tool]}" for tool in missing)
        )


def make(calls: Sequence[Call]) -> None:
    """Make calls one after another; what they print goes to the terminal.

    Raises:
        ToolError: one failed.
    """
    require(calls)
    for one in calls:
        code = _run(one, capture=False).returncode
        if code and not one.keep_going:
            raise ToolError(f"`{one}` failed with exit code {code}", code)


def answer(one: Call) -> str:
    """Make a call and return what it prints on standard output, without space around it.

    Raises:
        ToolError: it failed; the message has its last lines.
    """
    require([one])
    done = _run(one, capture=True)
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout or "").strip().splitlines()[-5:])
        raise ToolError(redact(f"`{one}` failed with exit code {done.returncode}: {said}"), done.returncode)
    return str(done.stdout).strip()


def start(one: Call) -> int:
    """Start a call as a process of its own session that outlives this one, and return its number."""
    require([one])
    assert one.log is not None
    with one.log.open("ab") as output:
        process = subprocess.Popen(
            _words(one.words),
            env={**os.environ, **one.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return process.pid


def _run(one: Call, *, capture: bool) -> subprocess.CompletedProcess[str]:
    pipe = subprocess.PIPE if capture else None
    environment = {**os.environ, **one.environment}
    if not one.fed_by:
        return subprocess.run(
            _words(one.words), env=environment, stdout=pipe, stderr=pipe, text=True, check=False
        )
    with subprocess.Popen(_words(one.fed_by), stdout=subprocess.PIPE) as source:
        done = subprocess.run(
            _words(one.words),
            env=environment,
            stdin=source.stdout,
            stdout=pipe,
            stderr=pipe,
            text=True,
            check=False,
        )
    if source.returncode and not done.returncode:
        done.returncode = source.returncode
    return done


def _words(words: Sequence[str]) -> list[str]:
    path = _path_of(words[0])
    assert path is not None, f"{words[0]} was asked for before"
    return [path, *words[1:]]


def _path_of(tool: str) -> str | None:
    found = shutil.which(tool)
    beside = Path(sys.executable).parent / tool
    return str(beside) if tool in BESIDE_PYTHON and beside.is_file() else found
