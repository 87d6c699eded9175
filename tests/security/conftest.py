"""A small honest store, and copies of it that an attacker has changed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import cli
from tests.support.stored_run import store_record
from tests.support.synthetic_run import synthetic_record

RUN = "20261120-093000-1a2b3c"


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with one run of six trials, pictures among them."""
    root = tmp_path_factory.mktemp("honest") / "store"
    record = synthetic_record(root, steps=2, seeds=3, epochs=2, labels=False, claims=False)
    store_record(root, record)
    return root


@pytest.fixture
def store(honest: Path, tmp_path: Path) -> Path:
    """Return a copy of the honest store, to be spoilt."""
    return Path(shutil.copytree(honest, tmp_path / "project" / "store"))


@pytest.fixture
def attempt_files(store: Path) -> list[Path]:
    return sorted((store / "attempts").glob("*/*.parquet"))


@pytest.fixture
def run_file(store: Path) -> Path:
    return store / "runs" / f"{RUN}.parquet"


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the one row of a file, as somebody with a text editor for Parquet would."""
    table = pq.read_table(path)
    [row] = table.to_pylist()
    change(row)
    pq.write_table(pa.Table.from_pylist([row], schema=table.schema), path)


def rewrite_plan(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the plan that a run's file holds."""

    def changed(row: dict[str, Any]) -> None:
        plan = json.loads(row["plan"])
        change(plan)
        row["plan"] = json.dumps(plan)

    rewrite(path, changed)


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Return a function that runs a command as the shell would, in this process."""

    def run(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["harness", *words])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run
