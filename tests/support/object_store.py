"""A real S3 server on this machine, in a process of its own: moto's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KEY_ID = "AKIAEXAMPLEEXAMPLE00"
SECRET_KEY = "never-in-a-file-of-a-store-4f1c9a7e"
BUCKET = "studies"


class ObjectServer:
    """The server and its log, one line a request."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / "requests.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(self.port)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Return what a process needs to find the server and to be let in."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def wait(self, seconds: float = 60) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + seconds
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Let it answer nobody."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def requests(self) -> int:
        """Return how many requests it answered so far."""
        return self.log.read_text().count("HTTP/1.1")

    def contents(self) -> dict[str, bytes]:
        """Return everything in the bucket, by key."""
        from pyarrow import fs

        system = fs.S3FileSystem(endpoint_override=self.endpoint, region="us-east-1")
        found = system.get_file_info(fs.FileSelector(BUCKET, recursive=True))
        return {
            info.path: system.open_input_file(info.path).read()
            for info in found
            if info.type == fs.FileType.File
        }

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def object_server(tmp_path_factory) -> Iterator[ObjectServer]:
    """An S3 server with an empty bucket, which this process and its children are told of."""
    from pyarrow import fs

    server = ObjectServer(tmp_path_factory.mktemp("object-server"))
    before = dict(os.environ)
    os.environ.update(server.environment)
    try:
        server.wait()
        fs.S3FileSystem(endpoint_override=server.endpoint, allow_bucket_creation=True).create_dir(BUCKET)
        yield server
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.close()


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store: of a folder, and of one in an object store."""
    if request.param == "folder":
        (tmp_path / "store").mkdir()
        return str(tmp_path / "store")
    request.getfixturevalue("object_server")
    return f"s3://{BUCKET}/{tmp_path.name}"
