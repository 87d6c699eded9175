"""What a store asks of its files holds in a folder and in an object store alike."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from harness.errors import StoreError
from harness.store.files import objects, open_files
from harness.store.write import StoreWriter, create_store
from tests.support.object_store import BUCKET, SECRET_KEY, address, object_server  # noqa: F401 (fixtures)

PART = 6 << 20  # bytes: two of them are uploaded in several parts


@pytest.fixture
def files(address):  # noqa: F811
    opened = open_files(address)
    yield opened
    opened.close()


def test_what_was_written_is_read_and_replaced(files):
    files.write("a/b/c", b"one")
    files.write("a/b/c", b"two")
    assert files.read("a/b/c") == b"two"
    assert files.open("a/b/c").read() == b"two"
    files.write("a/empty", b"")
    assert files.read("a/empty") == b""


def test_what_is_not_there_is_said_to_be_missing(files):
    assert not files.exists("a/b")
    assert files.names("a") == []
    assert files.files_below("a") == []
    for ask in (files.read, files.open, files.download):
        with pytest.raises(FileNotFoundError):
            ask("a/b")
    files.delete("a/b")
    files.delete_folder("a")


def test_names_are_those_directly_below_and_files_all_below(files):
    for path in ("a/2", "a/1", "a/deep/er/3", "ab/4"):
        files.write(path, b"x")
    assert files.names("a") == ["1", "2", "deep"]
    assert files.files_below("a") == ["a/1", "a/2", "a/deep/er/3"]


def test_what_was_deleted_is_gone_and_its_neighbours_stay(files):
    for path in ("a/1", "a/2", "a/deep/3", "ab/4"):
        files.write(path, b"x")
    files.delete("a/1")
    assert files.names("a") == ["2", "deep"]
    files.delete_folder("a/deep")
    assert files.files_below("a") == ["a/2"]
    files.delete_folder("a")
    assert files.files_below("a") == []
    assert files.read("ab/4") == b"x"


@pytest.mark.parametrize("path", ["../out", "a/../../out", "/etc/passwd"])
def test_a_path_that_leaves_the_store_is_refused(files, path):
    for ask in (files.read, files.exists, files.names, files.delete, files.local_folder):
        with pytest.raises(StoreError, match="leads out of the store"):
            ask(path)


def test_a_folder_is_uploaded_and_downloaded_whole(files, tmp_path):
    local = files.local_folder("states/s1")
    (local / "deep").mkdir(parents=True)
    (local / "deep" / "model").write_bytes(os.urandom(2 * PART))
    (local / "empty").touch()
    (local / "progress.json").write_text("{}")
    expected = {path.name: path.read_bytes() for path in local.rglob("*") if path.is_file()}
    files.upload(local, "states/s1", last="progress.json")
    other = open_files(files.address)
    there = other.download("states/s1")
    assert {path.name: path.read_bytes() for path in there.rglob("*") if path.is_file()} == expected
    other.close()
    assert there.exists() == files.is_local


def _create(address: str, number: int, rounds: int) -> list[bool]:  # noqa: F811
    found = open_files(address)
    return [found.create(f"leases/{turn}", f"{number}".encode()) for turn in range(rounds)]


def test_of_many_processes_that_create_a_file_one_alone_succeeds(address):  # noqa: F811
    processes, rounds = 4, 5
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        tries = [pool.submit(_create, address, number, rounds) for number in range(processes)]
        won = [tried.result() for tried in tries]
    for turn in range(rounds):
        winners = [number for number in range(processes) if won[number][turn]]
        assert len(winners) == 1
        assert open_files(address).read(f"leases/{turn}") == f"{winners[0]}".encode()
    assert open_files(address).names("claims") == []


def test_a_name_that_is_free_again_can_be_taken_again(files):
    assert files.create("lease", b"1")
    assert not files.create("lease", b"2")
    files.delete("lease")
    assert files.create("lease", b"3")
    assert files.read("lease") == b"3"


@pytest.mark.parametrize("address", ["s3"], indirect=True)
def test_a_dead_claim_is_waited_for_and_then_taken_over(files, monkeypatch):
    files.write("claims/lease~000", b"")  # whoever wrote it died before it could write `lease`
    monkeypatch.setattr(objects, "PATIENCE", 2.0)
    assert not files.create("lease", b"1")
    time.sleep(2.1)  # the store's clock ticks in seconds
    monkeypatch.setattr(objects, "STALE_SECONDS", 1.0)
    assert files.create("lease", b"2")
    assert files.names("claims") == []


@pytest.mark.parametrize("address", ["s3"], indirect=True)
def test_whose_claim_was_taken_over_while_it_slept_is_told_no(files, monkeypatch):
    slept = []
    write = files.write

    def sleep_before(path, content):
        if path == "lease" and not slept:
            slept.append(True)
            for name in files.names("claims"):  # as another one does that finds it stale
                files.delete(f"claims/{name}")
            assert open_files(files.address).create("lease", b"other")
        write(path, content)

    monkeypatch.setattr(files, "write", sleep_before)
    assert not files.create("lease", b"own")
    assert slept


WRITER = """
import sys
from harness.store.files import open_files
files = open_files(sys.argv[1])
files.write("file", b"A" * int(sys.argv[2]))
print("ready", flush=True)
while True:
    for letter in (b"A", b"B"):
        files.write("file", letter * int(sys.argv[2]))
"""
STATES = """
import sys
from harness.store.write import StoreWriter
store = StoreWriter(sys.argv[1])
step = 0
while True:
    step += 1
    name = f"step-{step:012d}-0001"
    folder = store.files.local_folder(store.state_folder("t", 1))
    partial = folder / f".{name}.partial"
    partial.mkdir(parents=True)
    for part in ("model", "optimizer", "progress.json"):
        (partial / part).write_text(name)
    partial.rename(folder / name)
    store.keep_state(folder / name, "t", 1)
    if step == 2:
        print("ready", flush=True)
"""


def killed(code: str, *arguments: object, seconds: float) -> None:
    """Run Python code until it is ready and then some seconds more, and kill it."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)


def test_a_killed_writer_leaves_the_file_before_or_the_file_after(address):  # noqa: F811
    random.seed(1)
    for _ in range(3):
        killed(WRITER, address, 2 * PART, seconds=random.uniform(0.2, 0.6))
        content = open_files(address).read("file")
        assert content in (b"A" * 2 * PART, b"B" * 2 * PART)
    assert open_files(address).names("") == ["file"]


def test_a_killed_trial_leaves_a_whole_state(address):  # noqa: F811
    random.seed(2)
    for turn in range(3):
        store = create_store(f"{address}/{turn}")
        killed(STATES, store.address, seconds=random.uniform(0.0, 0.2))
        state = store.newest_state("t", 1)
        assert state is not None
        there = store.files.download(f"{store.state_folder('t', 1)}/{state}")
        assert {path.name: path.read_text() for path in there.iterdir()} == dict.fromkeys(
            ("model", "optimizer", "progress.json"), state
        )
        store.files.close()


def test_a_state_without_its_last_file_is_none(address):  # noqa: F811
    store = StoreWriter(address)
    store.files.write("artifacts/t/0001/state/step-000000000009-0001/model", b"x")
    assert store.newest_state("t", 1) is None


def test_an_attempt_is_claimed_once(address):  # noqa: F811
    store = create_store(address)
    assert store.claim_attempt("t", after=0) == 1
    assert create_store(address).claim_attempt("t", after=0) == 2


def test_requests_to_end_reach_the_attempt_that_is_meant(address):  # noqa: F811
    store = create_store(address)
    store.ask_to_end("t", 1, "pruned")
    assert StoreWriter(address).end_asked("t", 1) == "pruned"
    assert StoreWriter(address).end_asked("t", 2) is None


def test_an_outage_of_seconds_is_bridged(object_server):  # noqa: F811
    files = open_files(f"s3://{BUCKET}/outage")
    files.write("before", b"x")
    with object_server.outage():
        late = threading.Thread(target=files.write, args=("during", b"y"))
        late.start()
        time.sleep(4)
        assert late.is_alive()
    late.join(60)
    assert files.read("during") == b"y"


def test_a_store_out_of_reach_is_said_to_be(object_server, monkeypatch):  # noqa: F811
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(objects, "ATTEMPTS_OF_A_REQUEST", 1)
    with pytest.raises(StoreError, match=r"cannot write s3://studies/far/file: .*connect"):
        open_files("s3://studies/far").write("file", b"x")
    with pytest.raises(StoreError, match=r"cannot list s3://studies/far/runs"):
        create_store("s3://studies/far")


def test_a_bucket_that_is_not_there_is_named(object_server):  # noqa: F811
    with pytest.raises(StoreError, match="s3://no-such-bucket"):
        create_store("s3://no-such-bucket/runs").request_stop("r")


@pytest.mark.parametrize(
    "wrong",
    [
        f"s3://AKIA:{SECRET_KEY}@bucket/runs",
        f"s3://bucket/runs?secret_key={SECRET_KEY}",
        f"gs://{SECRET_KEY}@bucket",
        f"abfss://box:{SECRET_KEY}@account.dfs.core.windows.net/runs",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(wrong):
    with pytest.raises(StoreError, match=r"credentials come from [A-Z]") as error:
        open_files(wrong)
    assert SECRET_KEY not in str(error.value)


@pytest.mark.parametrize(("wrong", "said"), [("ftp://a/b", "no store at ftp://"), ("s3:///x", "no bucket")])
def test_an_address_that_holds_no_store_is_refused(wrong, said):
    with pytest.raises(StoreError, match=said):
        open_files(wrong)


def test_a_folder_that_went_away_is_not_begun_anew(tmp_path):
    store = create_store(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "away")
    for ask in (lambda: store.request_stop("r"), lambda: store.claim_attempt("t", after=0)):
        with pytest.raises(StoreError, match=r"the store .*/store is gone"):
            ask()
    assert not (tmp_path / "store").exists()


def test_a_file_that_is_replaced_again_and_again_is_read_whole(files):
    """Each version is longer or shorter than the one before; a reader sees one of them, never a part."""
    versions = [bytes([number]) * (1000 + 700 * (number % 5)) for number in range(40)]
    files.write("x/one", versions[0])
    ended = threading.Event()

    def replace_again_and_again():
        for version in versions * 3:
            files.write("x/one", version)
        ended.set()

    writer = threading.Thread(target=replace_again_and_again)
    writer.start()
    seen = []
    while not ended.is_set():
        seen.append(files.read("x/one"))
    writer.join()
    assert seen
    assert all(content in versions for content in seen)
