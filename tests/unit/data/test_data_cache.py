import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness.data.cache import write_arrays, written_once
from harness.errors import HarnessError

IDENTITY = {"name": "numbers", "size": 4}


def samples():
    for number in range(4):
        yield {"picture": np.full((2, 3), number, dtype=np.uint8), "label": np.array(10 * number)}


def write(folder):
    write_arrays(folder / "train", samples(), 4)


def test_arrays_are_read_back_by_numpy(tmp_path):
    write(tmp_path)
    pictures = np.load(tmp_path / "train" / "picture.npy", mmap_mode="r")
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures[:, 1, 2], [0, 1, 2, 3])
    np.testing.assert_array_equal(np.load(tmp_path / "train" / "label.npy"), [0, 10, 20, 30])


def test_is_written_once_and_found_again(tmp_path):
    calls = []

    def counted(folder):
        calls.append(folder)
        write(folder)

    for _ in range(3):
        written_once(tmp_path / "data", IDENTITY, counted)
    assert len(calls) == 1
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["manifest.json", "train"]


def test_concurrent_writers_wait_for_the_first(tmp_path):
    calls = []

    def slow(folder):
        calls.append(folder)
        time.sleep(0.2)
        write(folder)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: written_once(tmp_path / "data", IDENTITY, slow), range(4)))
    assert len(calls) == 1


def test_failing_writer_leaves_nothing_that_looks_finished(tmp_path):
    def failing(folder):
        write(folder)
        (folder / "stray").write_text("half")
        raise OSError("disk full")

    with pytest.raises(HarnessError, match=r"to .*data: disk full; make room, or set HARNESS_CACHE"):
        written_once(tmp_path / "data", IDENTITY, failing)
    assert not (tmp_path / "data").exists()
    written_once(tmp_path / "data", IDENTITY, write)
    assert not (tmp_path / "data" / "stray").exists()
    assert not (tmp_path / "data.partial").exists()


def test_killed_writer_is_started_over(tmp_path):
    program = (
        "import pathlib, time\n"
        "from harness.data.cache import written_once\n"
        "def write(folder):\n"
        "    (folder / 'half.npy').write_bytes(b'half')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        f"written_once(pathlib.Path({str(tmp_path / 'data')!r}), {IDENTITY!r}, write)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "writing\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert not (tmp_path / "data").exists()
    written_once(tmp_path / "data", IDENTITY, write)
    assert not (tmp_path / "data" / "half.npy").exists()


def truncate(folder):
    path = folder / "train" / "picture.npy"
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        lambda folder: (folder / "train" / "label.npy").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text('{"identity"'),
        lambda folder: (folder / "manifest.json").write_text("[]"),
    ],
    ids=["truncated", "missing", "no manifest", "half a manifest", "another manifest"],
)
def test_damage_is_refused_with_the_way_out(tmp_path, damage):
    written_once(tmp_path / "data", IDENTITY, write)
    damage(tmp_path / "data")
    with pytest.raises(HarnessError, match=r"data is damaged.*delete the folder"):
        written_once(tmp_path / "data", IDENTITY, write)


def test_folder_of_other_settings_is_refused(tmp_path):
    written_once(tmp_path / "data", IDENTITY, write)
    with pytest.raises(HarnessError, match="damaged"):
        written_once(tmp_path / "data", {"name": "numbers", "size": 5}, write)
