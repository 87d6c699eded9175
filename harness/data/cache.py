"""Data sets drawn once and mapped by every process: a folder of .npy files, whole or not there.

The first process that needs a folder writes it under a lock into `<folder>.partial` and renames
it when whole, so that a killed writer leaves nothing that looks finished.  The manifest, written
last, holds the size of every file, so that damage is found before the first read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from harness.canonical import canonical_json
from harness.errors import HarnessError

MANIFEST = "manifest.json"


def cache_folder() -> Path:
    """Return the folder that generated data is kept in: below HARNESS_CACHE, else the user's cache."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "ablation-harness"
    return Path(os.environ.get("HARNESS_CACHE", default)).expanduser().resolve() / "data"


def written_once(
    folder: Path, identity: dict[str, Any], write: Callable[[Path], None], *, what: str = "the data set"
) -> None:
    """Make sure that `folder` holds the whole output of `write`, called at most once by all processes.

    `identity` is kept in the manifest and must be that of a folder found; messages call it `what`.

    Raises:
        HarnessError: the folder cannot be written, is damaged or holds something else.
    """
    if not folder.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if not folder.exists():
                    write_whole(folder, identity, write)
        except OSError as error:
            raise HarnessError(
                f"{what} cannot be written to {folder}: {error.strerror or error}; make room, "
                "or set HARNESS_CACHE to a folder that you may write"
            ) from error
    require_whole(folder, identity, what)


def write_whole(folder: Path, identity: dict[str, Any], write: Callable[[Path], None]) -> None:
    """Write into `<folder>.partial`, then rename; the caller holds the lock."""
    partial = folder.with_name(f"{folder.name}.partial")
    if partial.exists():  # of a writer that was killed: the lock is ours
        shutil.rmtree(partial)
    partial.mkdir()
    write(partial)
    manifest = {"identity": identity, "bytes": file_sizes(partial)}
    with (partial / MANIFEST).open("wb") as file:
        file.write(canonical_json(manifest).encode())
        sync(file)
    partial.rename(folder)


def require_whole(folder: Path, identity: dict[str, Any], what: str = "the data set") -> None:
    """Compare the folder with its manifest.

    Raises:
        HarnessError: a file is missing, has another size, or belongs to other settings.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        matches = manifest["identity"] == identity and manifest["bytes"] == file_sizes(folder)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        matches = False
    if not matches:
        raise HarnessError(
            f"{what} in {folder} is damaged: its files are not those of its {MANIFEST}; "
            "delete the folder and run again, it is then made anew"
        )


def file_sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of every file but the manifest, by its path within `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def write_arrays(folder: Path, samples: Iterable[dict[str, np.ndarray]], count: int) -> None:
    """Write `count` samples as one `<key>.npy` per key, [count, ...], a sample at a time.

    Written through files rather than a memory map: a full disk is then an `OSError`, not a
    killed process.
    """
    folder.mkdir()
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for sample in samples:
            for key, value in sample.items():
                if key not in files:
                    files[key] = stack.enter_context((folder / f"{key}.npy").open("wb"))
                    write_header(files[key], value, count)
                files[key].write(value.tobytes())
        for file in files.values():
            sync(file)


def write_header(file: BinaryIO, first: np.ndarray, count: int) -> None:
    """Write the header of an .npy file of `count` arrays like `first`."""
    description = {
        "descr": np.lib.format.dtype_to_descr(first.dtype),
        "fortran_order": False,
        "shape": (count, *first.shape),
    }
    np.lib.format.write_array_header_1_0(file, description)


def sync(file: BinaryIO) -> None:
    """Bring the file to the disk, so that the rename never overtakes its content."""
    file.flush()
    os.fsync(file.fileno())
