"""Files are as open as the umask lets them be, their temporary names cannot be known, and caches are checked."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from harness.errors import HarnessError, StoreError
from harness.store.write import create_store
from tests.security.test_redaction import written


@pytest.fixture(params=[0o077, 0o027, 0o022, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_no_file_of_a_store_is_more_open_than_the_umask_says(umask, tmp_path):
    store = create_store(tmp_path / "store")
    store.write_attempt(written())
    store.files.write("artifacts/a/1/x", b"x")
    assert store.files.create("artifacts/a/1/y", b"y")
    found = list((tmp_path / "store").rglob("*"))
    assert any(path.is_file() for path in found)
    assert [path for path in found if stat.S_IMODE(path.stat().st_mode) & umask] == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_file()} == {0o666 & ~umask}


def test_what_lies_under_a_guessed_temporary_name_is_not_written_through(tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    store = create_store(tmp_path / "store")
    folder = tmp_path / "store" / "attempts" / "aa"
    folder.mkdir(parents=True)
    for name in (".0001.parquet", ".0001.parquet.tmp", "0001.parquet.tmp"):
        (folder / name).symlink_to(precious)
    store.write_attempt(written())
    assert precious.read_bytes() == b"mine"
    assert not (folder / "0001.parquet").is_symlink()


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a\\..\\..\\x", "a/\0"])
def test_no_path_leads_out_of_a_store(tmp_path, path):
    files = create_store(tmp_path / "store").files
    for call in (
        files.read,
        files.open,
        files.exists,
        files.names,
        files.delete,
        files.delete_folder,
        files.download,
    ):
        with pytest.raises(StoreError):
            call(path)
    with pytest.raises(StoreError):
        files.write(path, b"")
    with pytest.raises(StoreError):
        files.create(path, b"")


def test_nothing_is_written_or_deleted_through_a_link_that_leads_out(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "state").mkdir(parents=True)
    (elsewhere / "file").write_bytes(b"mine")
    files = create_store(tmp_path / "store").files
    (tmp_path / "store" / "artifacts" / "aa").symlink_to(elsewhere)
    for act in (
        lambda: files.write("artifacts/aa/file", b"theirs"),
        lambda: files.create("artifacts/aa/new", b"theirs"),
        lambda: files.delete("artifacts/aa/file"),
        lambda: files.delete_folder("artifacts/aa/state"),
        lambda: files.local_folder("artifacts/aa/state"),
    ):
        with pytest.raises(StoreError, match="store"):
            act()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["file", "state"]
    assert (elsewhere / "file").read_bytes() == b"mine"


def test_a_pipe_among_the_artifacts_does_not_hang(tmp_path):
    files = create_store(tmp_path / "store").files
    pipe = tmp_path / "store" / "artifacts" / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(StoreError, match="regular"):
        files.read("artifacts/pipe.png")


def test_a_data_set_of_the_cache_that_is_not_what_it_says_is_refused(tmp_path):
    from harness.data.cache import MANIFEST, written_once

    folder = tmp_path / "data"

    def write(place: Path) -> None:
        (place / "x.npy").write_bytes(b"honest")

    written_once(folder, {"size": 1}, write)
    (folder / "x.npy").write_bytes(b"longer than it was")
    with pytest.raises(HarnessError, match="damaged"):
        written_once(folder, {"size": 1}, write)
    (folder / MANIFEST).write_text('{"identity": {"size": 2}, "bytes": {}}')
    with pytest.raises(HarnessError, match="damaged"):
        written_once(folder, {"size": 1}, write)
