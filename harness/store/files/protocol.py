"""What a store asks of its files, wherever they lie."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from harness.errors import StoreError


class Files(Protocol):
    """Whole files by relative path, such as "runs/20261120-1.parquet"; `/` separates folders.

    Safe for several processes and machines at once. A file is written whole or not at all; what one
    process wrote, every other one sees from then on. Paths that leave the store are refused.
    """

    address: str
    """An absolute path or an address such as s3://bucket/folder; never with credentials."""
    is_local: bool
    """Whether the store is a folder of this machine, perhaps a shared one."""

    def read(self, path: str) -> bytes:
        """Return a file; `FileNotFoundError` where there is none."""
        ...

    def open(self, path: str) -> Any:
        """Return a file for random access, as pyarrow reads it; `FileNotFoundError` where there is none."""
        ...

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file.

        Raises:
            StoreError: it cannot be written; the one before it is left as it was.
        """
        ...

    def create(self, path: str, content: bytes) -> bool:
        """Write a file that is not there yet; of several that try, at most one is told True.

        Raises:
            StoreError: it cannot be written.
        """
        ...

    def exists(self, path: str) -> bool:
        """Tell whether there is such a file."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names directly below a folder, sorted; none where there is no such folder."""
        ...

    def files_below(self, folder: str) -> list[str]:
        """Return the paths of all files below a folder, sorted: one listing, however deep they lie."""
        ...

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        ...

    def delete_folder(self, folder: str) -> None:
        """Delete a folder and all below it, if it is there."""
        ...

    def local_folder(self, folder: str) -> Path:
        """Make and return a folder to write into before `upload`: the store's own where it is here."""
        ...

    def upload(self, local: Path, path: str, *, last: str = "") -> None:
        """Put what lies in `local_folder` into the store; nothing to do where it is there already.

        Args:
            local: a file or a folder.
            path: of it in the store.
            last: of a folder, the file that comes after all others: where it is, the folder is whole.

        Raises:
            StoreError: it cannot be written.
        """
        ...

    def download(self, path: str) -> Path:
        """Return a file or a folder of the store on this machine: the store's own where it is there.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def close(self) -> None:
        """Delete what `local_folder` and `download` took beside the store."""
        ...


def checked(path: str) -> str:
    """Return a path that stays in the store.

    Raises:
        StoreError: it does not.
    """
    parts = path.split("/")
    if path and (PurePosixPath(path).is_absolute() or ".." in parts or "\\" in path or "\0" in path):
        raise StoreError(f"the path {path!r} leads out of the store")
    return path
