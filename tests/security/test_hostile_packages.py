"""Exported folders, lists and pictures that somebody else made: predicting from them runs none of their code,
reads nothing outside them and takes no memory that they only claim."""

from __future__ import annotations

import json
import os
import pickle
import struct
import time
import zlib
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from harness import plugins
from harness.errors import HarnessError
from harness.package.contents import CONFIG, MOST_CONFIG_BYTES, WEIGHTS, file_hash
from harness.package.predict import Predictor, predict
from tests.support.packages import MODEL, change_config, outlined_square, write_package


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_package(tmp_path / "model")
    return tmp_path / "model"


def refused(folder: Path, **options: bool) -> str:
    """Return the message that a folder is refused with."""
    with pytest.raises(HarnessError) as error:
        Predictor(folder, **options)
    return str(error.value)


class Touch:
    """Unpickled, it runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_the_folder_itself_is_sound(folder, tmp_path):
    assert predict(folder, outlined_square(tmp_path / "a.png"), "red").picture.size == (40, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": [1_000_000, 1_000_000]}, "size.0"),
        ({"size": "32"}, "size"),
        ({"format": 2}, "format"),
        ({"task": "os.system"}, "task"),
        ({"class_names": []}, "class_names"),
        ({"class_names": ["red"] * 10_001}, "class_names"),
        ({"class_names": ["red", "Red", "blue"]}, "names a colour twice"),
        ({"image_channels": 1 << 40}, "image_channels"),
        ({"image_channels": 7}, "contradicts itself"),
        ({"run": "rm -rf"}, "run"),
        ({"plugin": {"a:B": "0" * 64, "c:D": "0" * 64}}, "plugin"),
        ({"model": {"name": "no_such"}}, "no model 'no_such'"),
        ({"model": {}}, "'name' is missing"),
        ({"model": {**MODEL, "widths": [1 << 40]}}, "model.widths.0"),
        ({"model": {**MODEL, "widths": [4096] * 3}}, "weights of another model"),
        ({"model": {**MODEL, "depth": 9}}, "depth 9 leaves"),
        ({"class_names": ["red", "blue"]}, "weights of another model"),
        ({"weights_sha256": "0" * 64}, "is damaged or another one"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(folder, changes, message):
    change_config(folder, **changes)
    assert message in refused(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"[" * 200_000,
        b'{"a": ' * 200_000,
        b"\xff\xfe",
        b"NaN",
        b" " * (MOST_CONFIG_BYTES + 1),
    ],
)
def test_a_config_that_is_none_is_refused_at_once(folder, content):
    (folder / CONFIG).write_bytes(content)
    started = time.monotonic()
    assert str(folder / CONFIG) in refused(folder)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize(
    "kind", ["absent", "a folder", "a pipe", "a link that leads out", "a link to nothing"]
)
def test_a_file_that_is_no_file_of_the_folder_is_refused(folder, tmp_path, name, kind):
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if kind == "a folder":
        (folder / name).mkdir()
    elif kind == "a pipe":
        os.mkfifo(folder / name)
    elif kind == "a link that leads out":
        (tmp_path / "outside").write_bytes(content)
        (folder / name).symlink_to(tmp_path / "outside")
    elif kind == "a link to nothing":
        (folder / name).symlink_to(tmp_path / "nothing")
    expected = "leads out of its folder" if kind == "a link that leads out" else "expected a file"
    assert expected in refused(folder)


@pytest.mark.parametrize("form", ["pickle", "claims a terabyte", "cut short", "empty"])
def test_weights_are_never_unpickled_and_claim_no_memory(folder, tmp_path, form):
    mark, file = tmp_path / "owned", folder / WEIGHTS
    if form == "pickle":
        file.write_bytes(pickle.dumps(Touch(mark)))
    elif form == "claims a terabyte":
        head = json.dumps({"w": {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, 1 << 40]}}).encode()
        file.write_bytes(struct.pack("<Q", len(head)) + head)
    else:
        file.write_bytes(file.read_bytes()[:-100] if form == "cut short" else b"")
    change_config(folder, weights_sha256=file_hash(file))
    assert "cannot be read as safetensors" in refused(folder)
    assert not mark.exists()


def test_settings_that_ask_for_a_file_of_this_machine_are_refused(folder, tmp_path):
    (tmp_path / "private.pth").write_bytes(pickle.dumps(Touch(tmp_path / "owned")))
    settings = {"name": "backbone_head", "backbone": "resnet10t", "weights": str(tmp_path / "private.pth")}
    change_config(folder, model=settings)
    assert "ask for files of weights beside model.safetensors" in refused(folder)
    assert not (tmp_path / "owned").exists()


def test_weights_with_other_names_are_refused(folder):
    import numpy as np

    save_file({"x": np.zeros(3, np.float32)}, folder / WEIGHTS)
    change_config(folder, weights_sha256=file_hash(folder / WEIGHTS))
    assert "weights of another model" in refused(folder)


EVIL = """\
from pathlib import Path
Path({mark!r}).touch()
class Model:
    pass
"""


@pytest.mark.parametrize("where", ["in the folder", "in the project"])
def test_a_plugin_that_a_folder_names_is_not_imported_unless_its_sources_are_those_that_trained(
    folder, tmp_path, monkeypatch, where
):
    project, mark = tmp_path / "project", tmp_path / "owned"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    place = folder if where == "in the folder" else project
    (place / "evil_model.py").write_text(EVIL.format(mark=str(mark)))
    change_config(folder, model={"name": "evil_model:Model"}, plugin={"evil_model:Model": "0" * 64})
    message = refused(folder)
    assert ("no module 'evil_model'" if where == "in the folder" else "is another one here") in message
    assert not mark.exists()


def test_a_plugin_without_a_hash_is_not_imported(folder, tmp_path, monkeypatch):
    project, mark = tmp_path / "project", tmp_path / "owned"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    (project / "other_model.py").write_text(EVIL.format(mark=str(mark)))
    change_config(folder, model={"name": "other_model:Model"}, plugin={})
    assert "is another one here" in refused(folder)
    assert not mark.exists()
    assert plugins.source_hash("other_model:Model")  # it would have been found


def test_onnx_with_weights_in_other_files_is_refused(folder, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    (tmp_path / "private").write_bytes(b"\0" * 400)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[100])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../private"
    inside = helper.make_graph(
        [helper.make_node("Constant", [], ["picture"], value=tensor)],
        "inner",
        [],
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [100])],
    )
    condition = helper.make_node("If", ["c"], ["picture"], then_branch=inside, else_branch=inside)
    graph = helper.make_graph(
        [condition],
        "outer",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [100])],
    )
    (folder / "model.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    assert onnx.load(str(folder / "model.onnx"), load_external_data=False)
    facts = {"opset": 20, "largest_difference": 0.0, "sha256": file_hash(folder / "model.onnx")}
    change_config(folder, onnx=facts)
    assert "keeps weights in other files" in refused(folder, onnx=True)


@pytest.mark.parametrize("content", [b"", b"\x08" * 1000, b"not a model"])
def test_onnx_that_is_none_is_refused(folder, content):
    (folder / "model.onnx").write_bytes(content)
    facts = {"opset": 20, "largest_difference": 0.0, "sha256": file_hash(folder / "model.onnx")}
    change_config(folder, onnx=facts)
    message = refused(folder, onnx=True)
    assert "is no ONNX model" in message or "onnxruntime cannot run" in message


def png(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0" * 10_000)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", png(100_000, 100_000), "pixels"),
        ("a.png", png(9_000, 9_000), "expected at most 64,000,000 in all"),
        ("a.png", png(300, 300), "cannot be read as a picture"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "is no picture"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nquit\n", "is no picture"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no picture"),
    ],
)
def test_a_picture_that_claims_too_much_or_is_a_program_is_refused(folder, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HarnessError) as error:
        predict(folder, tmp_path / name, "red")
    assert message in str(error.value)
