"""Settings of every test: one thread, a cache of their own, no network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep generated data away from the user's cache, and share it between tests."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["HARNESS_CACHE"] = str(folder)
    return folder


@pytest.fixture
def write_suite(tmp_path: Path):
    """Return a function that writes a suite's text to a file."""

    def write(text: str, name: str = "my.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write
