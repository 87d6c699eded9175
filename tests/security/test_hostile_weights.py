"""States and weights that somebody else wrote: no file of them runs code, and none reaches out of its folder."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from harness.errors import HarnessError
from harness.planning.build import build_plan
from harness.specify import respecify
from harness.suite import load_suite
from harness.testing.tiny import TINY
from harness.train.loop import Interrupted
from harness.train.progress import newest_state
from harness.train.trial import run_trial
from tests.support.memory_sink import MemorySink


class Touch:
    """Unpickled, it runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def plain_pickle(path: Path, value: object) -> None:
    path.write_bytes(pickle.dumps(value))


def torch_file(path: Path, value: object) -> None:
    torch.save(value, path)


def torch_file_of_old(path: Path, value: object) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def torch_script(path: Path, value: object) -> None:
    """The folders of TorchScript, whose code `torch.load` would hand to its interpreter."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", pickle.dumps(value))
        file.writestr("x/constants.pkl", pickle.dumps(()))
        file.writestr("x/code/__torch__.py", "import os\n")
        file.writestr("x/version", "3\n")


FORMS = [plain_pickle, torch_file, torch_file_of_old, torch_script]


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    path = tmp_path_factory.mktemp("suites") / "tiny.yaml"
    path.write_text(TINY)
    plan = build_plan(load_suite(path, overrides=["base.train.epochs=1", "base.train.ema=0.9"]))
    return respecify(plan.trial("mse", plan.seeds[0]).spec)


@pytest.fixture(scope="module")
def half_done(spec, cache, tmp_path_factory):
    """Return the folder of an attempt that was stopped after two steps."""
    sink = MemorySink(tmp_path_factory.mktemp("attempt"), stop_after=2)
    with pytest.raises(Interrupted):
        run_trial(spec, sink, cache=cache, threads=1)
    return sink.folder


@pytest.fixture
def state(half_done, tmp_path) -> Path:
    found = newest_state(Path(shutil.copytree(half_done, tmp_path / "copy")) / "state")
    assert found is not None
    return found


def go_on(spec, cache, state: Path, folder: Path) -> MemorySink:
    sink = MemorySink(folder, resume_from=state)
    run_trial(spec, sink, cache=cache, threads=1)
    return sink


def test_the_honest_state_goes_on(spec, cache, state, tmp_path):
    sink = go_on(spec, cache, state, tmp_path / "next")
    assert max(row["epoch"] for row in sink.metrics) == spec.train.epochs


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["optimizer.pt", "generators.pt"])
def test_a_state_runs_no_code(spec, cache, state, tmp_path, name, form):
    owned = tmp_path / "owned"
    assert (state / name).is_file()
    (state / name).unlink()
    form(state / name, {"state": Touch(owned)})
    with pytest.raises(Exception, match=r"."):  # whatever it is, it becomes the record of the attempt
        go_on(spec, cache, state, tmp_path / "next")
    assert not owned.exists()


def test_the_pickles_would_run_code(tmp_path):
    """The tests around this one can fail."""
    torch_file(tmp_path / "evil.pt", Touch(tmp_path / "owned"))
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert (tmp_path / "owned").exists()


HEADERS = {
    "longer than the file": struct.pack("<Q", 1 << 60) + b"{}",
    "a hundred megabytes of it": struct.pack("<Q", 100_000_001) + b"{" + b" " * 1000,
    "no json": struct.pack("<Q", 8) + b"{{{{{{{{",
    "offsets outside": None,
    "a shape without end": None,
    "a pickle": pickle.dumps({"weight": 1}),
    "nothing": b"",
}


def header(shape: list[int], offsets: list[int]) -> bytes:
    text = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 16


@pytest.mark.parametrize("how", HEADERS)
@pytest.mark.parametrize("name", ["model.safetensors", "average.safetensors"])
def test_weights_with_an_absurd_header_are_refused(spec, cache, state, tmp_path, name, how):
    content = {
        "offsets outside": header([4], [0, 1 << 50]),
        "a shape without end": header([1 << 31, 1 << 31], [0, 16]),
    }.get(how, HEADERS[how])
    (state / name).unlink()
    (state / name).write_bytes(content or b"")
    with pytest.raises(HarnessError, match=name):
        go_on(spec, cache, state, tmp_path / "next")


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"epoch": "many"}', '{"__class__": "os"}', '{"epoch": 1e400}', "[" * 100_000]
)
def test_progress_that_is_none_ends_the_attempt(spec, cache, state, tmp_path, text):
    (state / "progress.json").write_text(text)
    with pytest.raises(Exception, match=r"."):
        go_on(spec, cache, state, tmp_path / "next")


def test_older_states_that_are_links_are_not_followed_when_they_are_deleted(spec, cache, state, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    folder = tmp_path / "next"
    (folder / "state").mkdir(parents=True)
    (folder / "state" / "step-000000000000-0000").symlink_to(precious)
    go_on(spec, cache, state, folder)
    assert (precious / "file").read_text() == "mine"


@pytest.mark.parametrize("form", FORMS)
def test_weights_that_a_suite_names_run_no_code(tmp_path, form):
    from harness.models.backbone import _read

    form(tmp_path / "weights.pth", {"state_dict": Touch(tmp_path / "owned")})
    with pytest.raises(HarnessError, match="no weights that can be read"):
        _read(tmp_path / "weights.pth")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("form", FORMS)
def test_the_perceptual_network_runs_no_code(tmp_path, monkeypatch, form):
    from harness.losses.perceptual_network import PerceptualDistance, published_weights_path

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = published_weights_path("squeeze")
    path.parent.mkdir()
    form(path, {"features.0.weight": Touch(tmp_path / "owned")})
    with pytest.raises(Exception, match=r"."):
        PerceptualDistance("squeeze", "published")
    assert not (tmp_path / "owned").exists()


def test_a_drawn_data_set_runs_no_code(tmp_path):
    import numpy as np

    from harness.data.arrays import ArraySplit
    from harness.data.polygons import IMAGES, LABELS

    for name in (*IMAGES, *LABELS):
        np.save(
            tmp_path / f"{name}.npy", np.array([Touch(tmp_path / "owned")], dtype=object), allow_pickle=True
        )
    with pytest.raises(ValueError, match="object"):
        ArraySplit(tmp_path, IMAGES, LABELS, 1)
    assert not (tmp_path / "owned").exists()
