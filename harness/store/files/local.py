"""A store in a folder of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.errors import StoreError
from harness.store.files.protocol import checked
from harness.store.files.whole import beside, replacing, writing


class LocalFiles:
    """A store that is a folder of this machine, or one that several machines mount.

    Of a shared folder it asks that a rename replaces a file in one step, that a hard link to a name that
    is taken fails, and that a file which was closed is seen whole by who opens it then: NFS does so.
    """

    is_local = True

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self.address = str(self.root)
        self.was_there = self.root.is_dir()

    def read(self, path: str) -> bytes:
        """Return a file; see `Files`. A link that leads out of the store is refused."""
        with self._reading(path):
            return _regular(self._inside(path)).read_bytes()

    def open(self, path: str) -> Any:
        """Return a file for random access; see `Files`."""
        place = self._place(path)
        with self._reading(path):
            return pa.OSFile(str(_regular(place)))

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file; see `Files`."""
        with replacing(self._ready(path)) as temporary:
            temporary.write_bytes(content)

    def create(self, path: str, content: bytes) -> bool:
        """Write a file that is not there yet; see `Files`.

        It is written under another name and linked to its own, which fails where that is taken. The
        answer to a link may be lost on its way from an NFS server, and the second asking then fails: the
        number of links tells what happened.
        """
        place = self._ready(path)
        with beside(place) as temporary:
            temporary.write_bytes(content)
            try:
                os.link(temporary, place)
            except FileExistsError:
                return temporary.stat().st_nlink == 2
            return True

    def exists(self, path: str) -> bool:
        """Tell whether there is such a file."""
        return self._place(path).exists()

    def names(self, folder: str) -> list[str]:
        """Return the names directly below a folder, without those of half-written files."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._reading(folder):
            return sorted(name for name in os.listdir(self._place(folder)) if not name.startswith("."))  # noqa: PTH208 (half the time of iterdir)
        return []

    def files_below(self, folder: str) -> list[str]:
        """Return the paths of all files below a folder."""
        with self._reading(folder):
            found = []
            self._require_root()
            for parent, folders, names in os.walk(self._place(folder)):
                folders[:] = [name for name in folders if not name.startswith(".")]
                found += [Path(parent, name) for name in names if not name.startswith(".")]
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        place = self._inside(path)
        with writing(place):
            place.unlink(missing_ok=True)

    def delete_folder(self, folder: str) -> None:
        """Delete a folder and all below it, if it is there."""
        place = self._inside(folder)
        with writing(place), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(place)

    def local_folder(self, folder: str) -> Path:
        """Make and return the folder itself."""
        place = self._ready(folder)
        with writing(place):
            place.mkdir(exist_ok=True)
        return place

    def upload(self, local: Path, path: str, *, last: str = "") -> None:
        """Copy what does not lie in the store already; see `Files`."""
        place = self._ready(path)
        if local.resolve() == place.resolve():
            return
        if local.is_file():
            with replacing(place) as temporary:
                shutil.copyfile(local, temporary)
            return
        whole = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
        with writing(place):
            shutil.copytree(local, whole)
            shutil.rmtree(place, ignore_errors=True)
            whole.rename(place)

    def download(self, path: str) -> Path:
        """Return a file or a folder of the store, where it is."""
        place = self._inside(path)
        if not place.exists():
            raise FileNotFoundError(f"no {path} in {self.address}")
        return place

    def close(self) -> None:
        """Nothing lies beside the store."""

    def _place(self, path: str) -> Path:
        return self.root / checked(path)

    def _ready(self, path: str) -> Path:
        """Return where something is to be written, with the folders above it; never makes the store itself.

        Raises:
            StoreError: the store is gone: a share that is not mounted must not be begun anew, since what is
                written there would be hidden once it is back.
        """
        place = self._inside(path)
        missing = []
        for parent in place.parents:
            if parent.is_dir():
                break
            if parent == self.root:
                raise self._gone()
            missing.append(parent)
        self.was_there = True
        with writing(place):
            for parent in reversed(missing):
                parent.mkdir(exist_ok=True)
        return place

    def _inside(self, path: str) -> Path:
        place = self._place(path)
        if not place.resolve().is_relative_to(self.root):
            raise StoreError(f"{place} leads out of the store; a store holds what it names")
        return place

    @contextlib.contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            self._require_root()  # else a store that is gone would look like one that holds nothing
            raise
        except OSError as error:
            raise StoreError(f"cannot read {self.root / path}: {error.strerror or error}") from error

    def _require_root(self) -> None:
        self.was_there = self.was_there or self.root.is_dir()
        if self.was_there and not self.root.is_dir():
            raise self._gone()

    def _gone(self) -> StoreError:
        return StoreError(f"the store {self.root} is gone; is it a share that is no longer mounted?")


def _regular(place: Path) -> Path:
    if not place.is_file() and place.exists():  # opening a pipe would wait for its other end
        raise StoreError(f"{place} is no regular file; a store holds nothing else")
    return place
