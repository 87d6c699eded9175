"""A store in an object store, by pyarrow."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from harness.errors import StoreError
from harness.store.files.protocol import checked

ATTEMPTS_OF_A_REQUEST = 11  # pauses of 25 ms, doubled each time: 51 s in all
OUTAGE = timedelta(seconds=50)  # of other object stores than S3 that is bridged
CLAIMS = "claims"
PATIENCE = 15.0  # seconds that `create` waits for others
STALE_SECONDS = 600.0  # by the store's clock, after which an unfinished `create` is left for dead
LONGEST_WAIT = 1.0  # between two looks at the claims of others
POLITE_WAIT = 0.2  # up to which it holds its own claim back for theirs
UPLOADS = 8  # files of a folder at once
CHUNK = 8 << 20  # bytes of a download that are held in memory

T = TypeVar("T")


class ObjectFiles:
    """A store in an object store, by a pyarrow file system; needs one that lists what was just written.

    S3, Google Cloud Storage and Azure do. An object appears when its upload is complete. Every file is
    handed to pyarrow in one call: a stream that is closed half-way would publish what it has, and
    pyarrow knows no way to give one up.

    Args:
        system: pyarrow's file system.
        folder: bucket and prefix, without a slash at its end.
        address: as the user wrote it.
    """

    is_local = False

    def __init__(self, system: Any, folder: str, address: str) -> None:
        self.system = system
        self.folder = folder
        self.address = address
        self._scratch: Path | None = None
        self._cleaning: Callable[[], object] | None = None
        self._making_scratch = threading.Lock()

    def read(self, path: str) -> bytes:
        """Return a file; see `Files`."""
        key = self._key(path)

        def fetch() -> bytes:
            # pyarrow asks for the size first, then for so many bytes: of a file that is replaced by a longer
            # one in between that is a part. One request for the bytes is of one version.
            while True:
                with self.system.open_input_file(key) as file:
                    content = bytes(file.read())
                if self.system.get_file_info(key).size == len(content):
                    return content

        return self._asked("read", path, fetch)

    def open(self, path: str) -> Any:
        """Return a file that was read whole: those of a store are small, and every request takes time."""
        return pa.BufferReader(self.read(path))

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file; see `Files`."""
        self._put(path, pa.py_buffer(content))

    def create(self, path: str, content: bytes) -> bool:
        """Write a file that is not there yet; see `Files`.

        pyarrow has no write on condition, so each process announces itself and then looks:

        1. It writes a claim, a key of its own below `claims/`, and lists the claims on this path.
        2. Whoever sees another's waits until it sees its own alone, or finds the file. The one whose claim
           sorts first keeps it meanwhile, the others withdraw: so somebody gets on.
        3. Whoever sees its own alone, and no file, writes the file, and has won if its claim is still there.

        Why no two of them write: each listed after it had written its claim. Of two, the one whose claim
        came later sees the other's, unless that was withdrawn: then the other either gave up, or had
        written the file before, which the later one looks for after its listing. This rests on listings
        that show every completed write and deletion, which S3, Google Cloud Storage and Azure promise.

        A claim whose process died stands in the way: until it is ten minutes old by the store's clock, all
        are told False, each after 15 seconds; then it is deleted. If its process only slept, it may write
        the file once more, but then misses its claim and is told False: still at most one is told True.

        Raises:
            StoreError: it cannot be written.
        """
        prefix, wait, end = f"{checked(path).replace('/', '!')}~", 0.02, time.monotonic() + PATIENCE
        while not self.exists(path) and time.monotonic() < end:
            if wait < POLITE_WAIT and self._claims(prefix):  # let those before it get on
                wait = self._pause(wait)
                continue
            claim = f"{prefix}{uuid.uuid4().hex}"
            self.write(f"{CLAIMS}/{claim}", b"")
            try:
                if self._gets_through(prefix, claim, end):
                    if self.exists(path):
                        return False
                    self.write(path, content)
                    return self.exists(f"{CLAIMS}/{claim}")
            finally:
                self.delete(f"{CLAIMS}/{claim}")
            wait = self._pause(wait)
        return False

    def _gets_through(self, prefix: str, claim: str, end: float) -> bool:
        """Wait until a claim is the only one; False where it is to be withdrawn."""
        wait = 0.02
        while time.monotonic() < end:
            claims = self._claims(prefix, claim)
            if claim not in claims:
                return False
            others = [other for other, stale in claims.items() if other != claim and not stale]
            if not others:
                for dead in claims.keys() - {claim}:
                    self.delete(f"{CLAIMS}/{dead}")
                return True
            if min(others) < claim:
                return False
            wait = self._pause(wait)
        return False

    def _claims(self, prefix: str, own: str = "") -> dict[str, bool]:
        """Return the claims on a path, and whether each is stale: `own`, just written, tells the time."""
        from pyarrow import fs

        selector = fs.FileSelector(self._key(CLAIMS), allow_not_found=True)
        found = self._asked("list", CLAIMS, lambda: self.system.get_file_info(selector))
        times = {info.base_name: info.mtime.timestamp() for info in found if info.is_file and info.mtime}
        now = times.get(own, max(times.values(), default=0.0))
        return {
            name: name != own and now - moment > STALE_SECONDS
            for name, moment in times.items()
            if name.startswith(prefix)
        }

    @staticmethod
    def _pause(wait: float) -> float:
        time.sleep(random.uniform(0, wait))
        return min(LONGEST_WAIT, 2 * wait)

    def exists(self, path: str) -> bool:
        """Tell whether there is such a file; one request."""
        key = self._key(path)
        try:
            self._asked("read", path, lambda: self.system.open_input_file(key).close())
        except FileNotFoundError:
            return False
        return True

    def names(self, folder: str) -> list[str]:
        """Return the names directly below a folder; one request for every thousand of them."""
        return sorted(info.base_name for info in self._list(folder, recursive=False))

    def files_below(self, folder: str) -> list[str]:
        """Return the paths of all files below a folder; one request for every thousand of them."""
        start = len(self.folder) + 1
        return sorted(info.path[start:] for info in self._list(folder, recursive=True) if info.is_file)

    def _list(self, folder: str, *, recursive: bool) -> list[Any]:
        from pyarrow import fs

        selector = fs.FileSelector(self._key(folder), allow_not_found=True, recursive=recursive)
        try:
            return list(self._asked("list", folder, lambda: self.system.get_file_info(selector)))
        except FileNotFoundError as error:
            raise StoreError(f"cannot read {self.address}: {_short(error)}") from error

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        key = self._key(path)
        with contextlib.suppress(FileNotFoundError):
            self._asked("delete", path, lambda: self.system.delete_file(key))

    def delete_folder(self, folder: str) -> None:
        """Delete a folder and all below it, if it is there."""
        key = self._key(folder)
        with contextlib.suppress(FileNotFoundError):
            self._asked("delete", folder, lambda: self.system.delete_dir(key))

    def local_folder(self, folder: str) -> Path:
        """Make and return a scratch folder of this process, as good as its own name in the store."""
        place = self._beside_store(folder)
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _beside_store(self, path: str) -> Path:
        with self._making_scratch:
            if self._scratch is None:
                self._scratch = Path(tempfile.mkdtemp(prefix="harness-store-"))
                self._cleaning = weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
            return self._scratch / checked(path)

    def upload(self, local: Path, path: str, *, last: str = "") -> None:
        """Put a file or a folder into the store; see `Files`."""
        if local.is_file():
            self._put_file(local, path)
            return
        inside = [file.relative_to(local).as_posix() for file in local.rglob("*") if file.is_file()]
        assert not last or last in inside, (local, last)
        with ThreadPoolExecutor(UPLOADS) as pool:
            list(pool.map(lambda name: self._put_file(local / name, f"{path}/{name}"), set(inside) - {last}))
        if last:
            self._put_file(local / last, f"{path}/{last}")

    def download(self, path: str) -> Path:
        """Return a copy of a file or a folder; see `Files`."""
        files = self.files_below(path) or [path]
        with ThreadPoolExecutor(UPLOADS) as pool:
            list(pool.map(self._fetch, files))
        return self._beside_store(path)

    def _fetch(self, path: str) -> None:
        target, key = self._beside_store(path), self._key(path)

        def fetch() -> None:
            with self.system.open_input_stream(key) as stream, target.open("wb") as file:
                shutil.copyfileobj(stream, file, CHUNK)

        target.parent.mkdir(parents=True, exist_ok=True)
        self._asked("read", path, fetch)

    def close(self) -> None:
        """Delete the scratch folder."""
        if self._cleaning is not None:
            self._cleaning()
            self._scratch = self._cleaning = None

    def _put_file(self, local: Path, path: str) -> None:
        if not local.stat().st_size:  # an empty file cannot be mapped
            self._put(path, pa.py_buffer(b""))
            return
        with pa.memory_map(str(local)) as file:
            self._put(path, file.read_buffer())

    def _put(self, path: str, content: Any) -> None:
        key = self._key(path)

        def put() -> None:
            stream = self.system.open_output_stream(key)
            stream.write(content)  # whole, in one call: see the class
            stream.close()

        try:
            self._asked("write", path, put)
        except FileNotFoundError as error:
            raise StoreError(f"cannot write {self.address}/{path}: {_short(error)}") from error

    def _key(self, path: str) -> str:
        return f"{self.folder}/{checked(path)}".rstrip("/")

    def _asked(self, verb: str, path: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"cannot {verb} {self.address}/{path}: {_short(error)}") from error


def object_system(scheme: str, bucket: str) -> Any:
    """Return pyarrow's file system for a scheme.

    Raises:
        StoreError: the bucket is out of reach.
    """
    from pyarrow import fs

    if scheme == "s3":
        return _s3(bucket)
    if scheme in ("gs", "gcs"):
        return fs.GcsFileSystem(retry_time_limit=OUTAGE)
    system, _ = fs.FileSystem.from_uri(f"{scheme}://{bucket}")
    return system


def _s3(bucket: str) -> Any:
    from pyarrow import fs

    environment = os.environ
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if region is None and endpoint is None:
        try:
            region = fs.resolve_s3_region(bucket)
        except OSError as error:
            raise StoreError(f"cannot reach s3://{bucket}: {_short(error)}") from error
    return fs.S3FileSystem(
        region=region or "us-east-1",
        endpoint_override=endpoint,
        allow_delayed_open=True,  # one request for a small file
        retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=ATTEMPTS_OF_A_REQUEST),
    )


def _short(error: BaseException) -> str:
    """Return what an error says, without the sentence about the key that pyarrow begins with."""
    text = str(error)
    return text.partition(": ")[2] if text.startswith("When ") else text
