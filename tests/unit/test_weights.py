"""Which files of weights a suite needs, and getting them: from servers of the test's own."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.losses.perceptual_network import published_weights
from harness.needs import weights_of_suite
from harness.weights import FetchError, NeedsWeights, WeightFile, torch_hub_file

HARNESS = str(Path(sys.executable).parent / "harness")
CONTENT = b"made-up weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SUITE = """
suite: small
task: colorization
primary_metric: delta_e
base:
  data: {name: polygons, size: 32, train_size: 16, validation_size: 24}
  model: {name: conditional_unet, widths: [4]}
  loss: {"mse": 1.0}
  optimizer: {name: adamw}
  train: {epochs: 1, batch_size: 4}
"""
OWN_LOSS = '''
import os
from harness.config import LossConfig
from harness.losses.base import LossTerm
from harness.weights import torch_hub_file


class OwnConfig(LossConfig):
    """Parameters of `Own`."""

    def needed_weights(self):
        return (torch_hub_file("made up", os.environ["OWN_ADDRESS"]),)


class Own(LossTerm):
    """A loss in the features of a made-up network."""

    Config = OwnConfig
    recorded_name = "own"

    def compare(self, prediction, batch):
        return prediction.flatten(1).mean(1)
'''


class Hub(BaseHTTPRequestHandler):
    """Serves one made-up file, the way that torch's hub and the Hugging Face hub do."""

    def do_GET(self):
        self.answer(CONTENT)

    def do_HEAD(self):
        self.answer(b"")

    def answer(self, body):
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("ETag", f'"{DIGEST}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def hub():
    """Return the address of a hub on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch"


def weights(*arguments):
    """Return what the command tells."""
    result = CliRunner().invoke(app, ["weights", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_suite_that_leaves_the_choice_needs_the_published_weights_of_its_metrics(write_suite, torch_home):
    (need,) = weights_of_suite(write_suite(SUITE))
    assert need.used_by == ("metrics",)
    assert need.file.path == torch_home / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    assert need.file.url == "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
    assert need.file.size == pytest.approx(244.4, abs=0.1)  # as published there: 244,408,911 bytes
    assert not need.file.present()


def test_each_file_is_named_once_with_all_that_reads_it(write_suite, torch_home):
    overrides = ["base.perceptual_weights=published", "base.loss.lpips.net=vgg", "base.loss.lpips.weight=0.5"]
    needs = weights_of_suite(write_suite(SUITE), overrides=overrides)
    assert {need.file.path.name: need.used_by for need in needs} == {
        "vgg16-397923af.pth": ("loss.lpips",),
        "alexnet-owt-7be5be79.pth": ("metrics",),
    }
    needs = weights_of_suite(write_suite(SUITE), overrides=[*overrides, "base.loss.lpips.net=alex"])
    assert [need.used_by for need in needs] == [("loss.lpips", "metrics")]


def test_random_features_need_no_files(write_suite):
    assert weights_of_suite(write_suite(SUITE), overrides=["base.perceptual_weights=random"]) == []


def test_the_command_tells_what_is_missing_and_how_to_get_it_elsewhere(write_suite, torch_home):
    suite = str(write_suite(SUITE))
    place = torch_home / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    told = weights(suite)
    assert "missing  alexnet, feature network, for metrics, 244 MB\n" in told
    address = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
    assert f"elsewhere: curl -LO {address}; then copy it to {place}\n" in told
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    (told,) = json.loads(weights(suite, "--json"))
    assert (told["present"], told["path"]) == (True, str(place))
    assert told["megabytes"] == len(CONTENT) / 1e6


def test_without_a_network_each_file_gets_a_line_and_the_exit_code_is_2(write_suite, tmp_path):
    closed = {"https_proxy": "http://127.0.0.1:9", "TORCH_HOME": str(tmp_path)}
    result = subprocess.run(
        [HARNESS, "weights", str(write_suite(SUITE)), "--fetch"],
        capture_output=True,
        text=True,
        env={**os.environ, **closed},
    )
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("alexnet-owt-7be5be79.pth could not be fetched (")
    assert "elsewhere: curl -LO https://download.pytorch.org/" in line
    assert list(tmp_path.rglob("*.pth*")) == []


def test_fetch_gets_what_a_loss_of_ones_own_needs(write_suite, torch_home, tmp_path, hub, monkeypatch):
    (tmp_path / "own_parts_of_a_test.py").write_text(OWN_LOSS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OWN_ADDRESS", f"{hub}/made-up-{DIGEST[:8]}.pth")
    place = torch_home / "hub" / "checkpoints"
    place.mkdir(parents=True)
    (place / "alexnet-owt-7be5be79.pth").write_bytes(CONTENT)  # so that the other alone is missing
    suite = str(write_suite(SUITE.replace("mse", "own_parts_of_a_test:Own")))
    assert "missing  made up, for loss.own_parts_of_a_test:Own" in weights(suite)
    told = weights(suite, "--fetch")
    assert "present  made up" in told
    assert "missing" not in told
    assert (place / f"made-up-{DIGEST[:8]}.pth").read_bytes() == CONTENT


def test_a_file_that_is_not_what_its_name_says_is_not_kept(torch_home, hub):
    file = torch_hub_file("made up", f"{hub}/made-up-00000000.pth")
    with pytest.raises(FetchError, match="invalid hash value"):
        file.fetch()
    assert list(file.path.parent.iterdir()) == []


def test_an_address_without_a_file_is_told(torch_home, hub):
    with pytest.raises(FetchError, match=r"could not be fetched .HTTP Error 404"):
        torch_hub_file("gone", f"{hub}/missing-00000000.pth").fetch()


def test_a_file_that_is_there_is_not_asked_for(torch_home):
    file = torch_hub_file("made up", "http://127.0.0.1:9/made-up.pth")
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(CONTENT)
    file.fetch()
    assert file.path.read_bytes() == CONTENT


HUGGING_FACE = """
from harness.weights import FetchError, hugging_face_file
file = hugging_face_file("tiny", "people/tiny")
print(file.present(), file.path.parts[-4:])
try:
    file.fetch()
except FetchError as error:
    print(error)
file = hugging_face_file("tiny", "people/tiny")
print(file.present(), file.path.parts[-4:])
"""


def hugging_face(tmp_path, **environment):
    result = subprocess.run(
        [sys.executable, "-c", HUGGING_FACE],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1", **environment},
    )
    return result.stdout.splitlines()


def test_a_file_of_the_hugging_face_hub_is_found_where_that_hub_keeps_it(tmp_path, hub):
    before, after = hugging_face(tmp_path, HF_ENDPOINT=hub, HF_HUB_OFFLINE="0")
    assert before == "False ('models--people--tiny', 'snapshots', 'main', 'model.safetensors')"
    assert after == f"True ('models--people--tiny', 'snapshots', '{'0' * 40}', 'model.safetensors')"


def test_offline_a_file_of_the_hugging_face_hub_is_told_how_to_get(tmp_path, hub):
    _, told, after = hugging_face(tmp_path, HF_ENDPOINT=hub, HF_HUB_OFFLINE="1")
    assert told.startswith("people/tiny/model.safetensors could not be fetched (")
    assert "elsewhere: hf download people/tiny model.safetensors; then copy" in told
    assert after.startswith("False")


def test_a_file_of_ones_own_is_told_to_be_copied(tmp_path):
    file = WeightFile("mine", tmp_path / "mine.safetensors")
    with pytest.raises(FetchError, match="copy your own file to"):
        file.fetch()


def test_what_needs_weights_is_told_by_one_method():
    from harness.losses.perceptual import LPIPSConfig
    from harness.losses.pixel import MSEConfig

    config = LPIPSConfig(weight=1.0, net="squeeze")
    assert isinstance(config, NeedsWeights)
    assert config.needed_weights() == (published_weights("squeeze"),)
    assert not isinstance(MSEConfig(weight=1.0), NeedsWeights)
