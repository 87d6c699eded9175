"""Files that appear whole on a disk, or not at all."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from harness.errors import StoreError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path` in one step when the block ends well.

    Raises:
        StoreError: the file cannot be written; the one before it is left as it was.
    """
    with beside(path) as temporary:
        yield temporary
        temporary.replace(path)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield a new file beside `path`, hidden, which is deleted at the end if it is still there."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
        temporary.touch(exist_ok=False)  # as open as the umask lets it be; mkstemp would close it to others
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let what goes wrong with the disk below `path` be a StoreError that names it."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
