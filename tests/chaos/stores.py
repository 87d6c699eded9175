"""The stores that are disturbed: a folder on a small disk of its own, and a bucket of a local S3 server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DISK_MIB = 192
REGION = "us-east-1"


class FolderStore:
    """A folder on a tmpfs where this process may mount one, else a plain folder."""

    def __init__(self, folder: Path) -> None:
        self.disk = folder / "disk"
        self.disk.mkdir(parents=True)
        self.mounted = _mount(self.disk)
        self.address = str(self.disk / "store")
        self.environment: dict[str, str] = {}
        self.filler = self.disk / "filler"
        self.away = self.disk / "away"

    def fill(self) -> None:
        """Leave not one byte of the disk."""
        with self.filler.open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(1 << 16))

    def unfill(self) -> None:
        self.filler.unlink(missing_ok=True)

    def vanish(self) -> None:
        """Take the store away, as a share does that is not mounted any more."""
        Path(self.address).rename(self.away)

    def come_back(self) -> None:
        assert not Path(self.address).exists(), "somebody made the store anew while it was away"
        self.away.rename(self.address)

    def files(self) -> dict[str, float]:
        """Return the paths of all files below the store, and when each was written."""
        root, found = Path(self.address), {}
        for path in root.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                if path.is_file():
                    found[path.relative_to(root).as_posix()] = path.stat().st_mtime
        return found

    def processes(self) -> list[int]:
        return []

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.disk)], check=True)


class BucketStore:
    """A bucket of moto's server behind a relay that can be cut or stood still.

    The relay is a process of its own, so that the data outlive it.
    """

    mounted = False

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.server_port, self.port = free_port(), free_port()
        self.log = folder / "moto.log"
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "chaos",
            "AWS_SECRET_ACCESS_KEY": "chaos-secret",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        os.environ.update(self.environment)  # this process reads the store as well
        with self.log.open("w") as log:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.server_port)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for_port(self.server_port)
        self.relay = self._start_relay()
        self._client().create_dir("chaos")
        self.address = "s3://chaos/store"

    def vanish(self) -> None:
        """Refuse connections, and break those that there are."""
        self.relay.kill()
        self.relay.wait()

    def come_back(self) -> None:
        self.relay = self._start_relay()

    def stand_still(self) -> None:
        """Let connections hang."""
        self.relay.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.relay.send_signal(signal.SIGCONT)

    def files(self) -> dict[str, float]:
        """Return the keys of all objects below the store, and when each was written."""
        from pyarrow.fs import FileSelector, FileType

        found = self._client().get_file_info(
            FileSelector("chaos/store", recursive=True, allow_not_found=True)
        )
        return {
            one.path.removeprefix("chaos/store/"): one.mtime.timestamp()
            for one in found
            if one.type == FileType.File
        }

    def processes(self) -> list[int]:
        return [self.server.pid, self.relay.pid]

    def close(self) -> None:
        for process in (self.relay, self.server):
            process.kill()
            process.wait()

    def _start_relay(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.chaos.relay", str(self.port), str(self.server_port)]
        relay = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        wait_for_port(self.port)
        return relay

    def _client(self) -> Any:
        from pyarrow.fs import S3FileSystem

        endpoint = self.environment["AWS_ENDPOINT_URL"]
        return S3FileSystem(endpoint_override=endpoint, region=REGION, allow_bucket_creation=True)


Store = FolderStore | BucketStore


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for_port(port: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _mount(folder: Path) -> bool:
    """Mount a small disk; False where this process may not."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "chaos", str(folder)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
