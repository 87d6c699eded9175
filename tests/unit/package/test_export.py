"""A trained trial as a folder: what is in it, and that it predicts what the stored model does."""

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file

import harness
from harness import cli
from harness.errors import HarnessError
from harness.registry import registry
from harness.specify import respecify
from harness.store.read import open_store
from tests.support.packages import outlined_square, pixels

SUITE = """\
suite: tiny
question: Does this work?
task: colorization
primary_metric: delta_e
base:
  data: {name: polygons, size: 32, train_size: 32, validation_size: 24, backgrounds: [white], overlap: 0, edge: 0}
  model: {name: conditional_unet, widths: [8, 16], layers: 1}
  loss: {mse: 1.0}
  optimizer: {name: adamw, lr: 2e-3}
  train: {epochs: 2, batch_size: 16}
vary:
  - factor: kind
    levels:
      plain: {}
      masked: {set: {data.mask: rgb, data.channels: grey, train.ema: 0.5}}
      half: {set: {train.precision: bf16}}
seeds: 1
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory, cache):
    """Return a store with three trained trials."""
    folder = tmp_path_factory.mktemp("store")
    suite = folder / "tiny.yaml"
    suite.write_text(SUITE)
    outcome = harness.run(suite, executor="local", store=folder / "runs", cpus=1)
    assert outcome.failed == 0
    return folder / "runs"


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory):
    """Return the folders of the three variants, the plain one as ONNX too."""
    root = tmp_path_factory.mktemp("exported")
    for variant in ("plain", "masked", "half"):
        harness.export(variant, store=store, to=root / variant, onnx=variant == "plain")
    return root


def attempt_of(store, variant):
    reader = open_store(store)
    [trial] = [trial for trial in reader.plan().trials if variant in trial.variants]
    return reader.attempts_of(trial.id)[-1]


def stored_model(store, variant, weights="last"):
    """Return specification and model of a stored trial, without the code under test."""
    attempt = attempt_of(store, variant)
    spec = respecify(json.loads(attempt.spec))
    [row] = [row for row in attempt.artifacts if (row["kind"], row["name"]) == ("checkpoint", weights)]
    model = registry.load("task", spec.task).make_model(spec)
    model.load_state_dict(load_file(store / row["path"]))
    return spec, model.eval().to(memory_format=torch.channels_last)


def sample(spec, cache, index):
    """Return a sample of the validation split, as the trial saw it."""
    return registry.load("data", spec.data.name)(spec.data, cache / "data").split("validation").batch([index])


def picture_file(batch, file):
    levels = (batch["image"][0, :3] * 255).round().byte()
    Image.fromarray(levels.permute(1, 2, 0).numpy()).save(file)
    return file


def painted(spec, model, batch):
    """Return what a stored model paints in the precision of its trial, uint8 [H, W, 3]."""
    half = spec.train.precision == "bf16"
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = model(batch["image"], batch["colour"]).float()
    return (output[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def test_a_copy_predicts_in_a_new_process_what_the_stored_model_does_bit_for_bit(
    store, exported, cache, tmp_path
):
    spec, model = stored_model(store, "plain")
    batch = sample(spec, cache, 5)
    name = spec_names(spec)[int(batch["colour"])]
    shape = picture_file(batch, tmp_path / "shape.png")
    expected = painted(spec, model, batch)
    copy = shutil.copytree(exported / "plain", tmp_path / "far" / "away")
    shutil.move(shape, tmp_path / "far" / "shape.png")
    program = [sys.executable, "-c", "from harness.cli import main; main()"]
    words = ["predict", copy, "--shape", "shape.png", "--color", name, "-o", "out.png"]
    done = subprocess.run(
        [*program, *words], cwd=tmp_path / "far", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"out.png  {name}  ")
    assert (pixels(tmp_path / "far" / "out.png") == expected).all()


def test_a_model_of_bf16_predicts_what_it_did_when_it_was_evaluated(store, exported, cache, tmp_path):
    spec, model = stored_model(store, "half")
    for index in range(4):
        batch = sample(spec, cache, index)
        shape = picture_file(batch, tmp_path / "shape.png")
        found = harness.predict(exported / "half", shape, spec_names(spec)[int(batch["colour"])])
        assert (np.asarray(found.picture) == painted(spec, model, batch)).all()


def spec_names(spec):
    return registry.load("task", spec.task).labels_of(spec)["colour"]


def test_it_predicts_what_the_trial_itself_showed_after_its_last_epoch(store, exported, cache, tmp_path):
    attempt = attempt_of(store, "plain")
    spec, _ = stored_model(store, "plain")
    [shown] = [row for row in attempt.artifacts if (row["name"], row["epoch"]) == ("prediction", 2)]
    strip = pixels(store / shown["path"])
    for index in range(3):
        batch = sample(spec, cache, index)
        shape = picture_file(batch, tmp_path / "shape.png")
        found = harness.predict(exported / "plain", shape, spec_names(spec)[int(batch["colour"])])
        tile = strip[:, 32 * index : 32 * (index + 1)].astype(int)
        assert np.abs(np.asarray(found.picture) - tile).max() <= 1  # eight pictures at once round otherwise


def test_masks_luminance_and_the_average_of_the_weights_come_back(store, exported, cache, tmp_path):
    spec, model = stored_model(store, "masked")
    assert json.loads((exported / "masked" / "config.json").read_text())["origin"]["averaged"]
    colours, _ = stored_model(store, "plain")  # the same scenes in RGB
    differences = []
    for index in range(8):
        batch = sample(spec, cache, index)
        shape = picture_file(sample(colours, cache, index), tmp_path / "shape.png")
        found = harness.predict(exported / "masked", shape, spec_names(spec)[int(batch["colour"])])
        with torch.no_grad():
            output = model(batch["image"], batch["colour"])[0].clamp(0, 1) * 255
        differences.append(np.abs(np.asarray(found.picture) - output.permute(1, 2, 0).numpy()).mean())
    assert np.median(differences) < 1  # levels of 255; the mask is derived, not drawn


def test_onnx_gives_the_same_picture_and_says_how_near_it_comes(store, exported, cache, tmp_path):
    spec, _ = stored_model(store, "plain")
    facts = json.loads((exported / "plain" / "config.json").read_text())["onnx"]
    assert 0 <= facts["largest_difference"] < 1e-5
    shape = picture_file(sample(spec, cache, 3), tmp_path / "shape.png")
    one, other = (
        np.asarray(harness.predict(exported / "plain", shape, "red", onnx=onnx).picture).astype(int)
        for onnx in (False, True)
    )
    assert np.abs(one - other).max() <= 1
    with pytest.raises(HarnessError, match=r"has no model\.onnx; `harness export --onnx` writes it"):
        harness.predict(exported / "half", shape, "red", onnx=True)


def test_onnx_is_computed_without_torch(exported, tmp_path):
    shape = outlined_square(tmp_path / "shape.png", size=(32, 32))
    program = (
        "import sys, harness; "
        f"harness.predict({str(exported / 'plain')!r}, {str(shape)!r}, 'red', onnx=True); "
        "print([name for name in ('torch', 'pandas', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_metrics_are_those_of_the_epoch_of_the_weights(store, exported):
    attempt = attempt_of(store, "plain")
    document = json.loads((exported / "plain" / "metrics.json").read_text())
    rows = [row for row in attempt.metrics if row["split"] == "validation" and row["epoch"] == 2]
    whole = {row["metric"]: row for row in rows if row["label"] is None}
    assert (document["weights"], document["epoch"], document["images"]) == ("last", 2, 24)
    assert document["metrics"].keys() == whole.keys()
    for name, row in whole.items():
        value = document["metrics"][name]["value"]
        expected = row["value"] if math.isfinite(row["value"]) else None
        assert value == (expected if expected is None else pytest.approx(expected, rel=1e-9))
        assert document["metrics"][name]["count"] == row["count"]
    red = next(row for row in rows if (row["metric"], row["label"]) == ("delta_e", "colour=red"))
    assert document["by_label"]["delta_e"]["colour=red"]["value"] == pytest.approx(red["value"])


def test_the_best_weights_come_with_the_metrics_of_their_epoch_and_a_warning(store, tmp_path):
    harness.export("masked", store=store, to=tmp_path / "best", weights="best")
    attempt = attempt_of(store, "masked")
    [row] = [row for row in attempt.artifacts if (row["kind"], row["name"]) == ("checkpoint", "best")]
    document = json.loads((tmp_path / "best" / "metrics.json").read_text())
    assert (document["weights"], document["epoch"]) == ("best", row["epoch"])
    assert "they flatter" in (tmp_path / "best" / "README.md").read_text()
    assert (tmp_path / "best" / "model.safetensors").read_bytes() == (store / row["path"]).read_bytes()


def test_the_card_is_one_that_the_hub_reads_with_every_metric(store, exported):
    card = ModelCard((exported / "plain" / "README.md").read_text())
    document = json.loads((exported / "plain" / "metrics.json").read_text())
    found = {result.metric_type: result for result in card.data.eval_results}
    expected = {
        name: item["value"]
        for name, item in document["metrics"].items()
        if "title" in item and item["value"] is not None
    }
    assert {name: result.metric_value for name, result in found.items()} == expected
    assert {result.dataset_type for result in found.values()} == {"polygons"}
    assert {result.dataset_split for result in found.values()} == {"validation"}
    assert card.data.license_link == "LICENSES.md"
    assert card.data.model_name == "tiny: plain, seed 0"
    assert attempt_of(store, "plain").trial_id in card.text


def test_licences_say_what_the_weights_rest_on(exported):
    text = (exported / "plain" / "LICENSES.md").read_text()
    assert "Trained from random weights on generated data." in text
    assert "The harness that trained and runs them: Apache-2.0." in text
    assert f"| torch | {torch.__version__.partition('+')[0]}" in text


def test_the_folder_holds_what_it_should_and_nothing_of_this_machine(store, exported):
    names = {"LICENSES.md", "README.md", "config.json", "metrics.json", "model.safetensors"}
    assert {file.name for file in (exported / "half").iterdir()} == names
    assert {file.name for file in (exported / "plain").iterdir()} == names | {"model.onnx"}
    texts = [file.read_text() for file in exported.glob("*/*") if file.suffix in (".md", ".json")]
    assert not any(str(store) in text or str(exported) in text for text in texts)
    config = json.loads((exported / "plain" / "config.json").read_text())
    assert config["palette"]["red"] == [220, 30, 40]
    assert (config["origin"]["weights"], config["origin"]["epoch"]) == ("last", 2)
    assert config["class_names"][:3] == ["blue", "red", "green"]
    assert config["origin"]["spec"] == json.loads(attempt_of(store, "plain").spec)


def test_the_same_export_twice_is_one_and_another_one_is_refused(store, tmp_path):
    harness.export("half", store=store, to=tmp_path / "here")
    before = {file.name: file.read_bytes() for file in (tmp_path / "here").iterdir()}
    harness.export("half", store=store, to=tmp_path / "here")
    with pytest.raises(HarnessError, match="holds something else; name a folder that is not there yet"):
        harness.export("plain", store=store, to=tmp_path / "here")
    assert {file.name: file.read_bytes() for file in (tmp_path / "here").iterdir()} == before
    assert [file.name for file in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("kind", ["a file", "a folder with a file"])
def test_what_lies_there_is_left_alone(store, tmp_path, kind):
    place = tmp_path / "here"
    if kind == "a file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine").write_text("mine")
    with pytest.raises(HarnessError, match=r"is no folder|holds something else"):
        harness.export("half", store=store, to=place)
    mine = place if kind == "a file" else place / "mine"
    assert mine.read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["here"]


def test_an_empty_folder_is_taken(store, tmp_path):
    (tmp_path / "here").mkdir()
    harness.export("half", store=store, to=tmp_path / "here")
    assert (tmp_path / "here" / "config.json").is_file()


def test_weights_that_are_damaged_in_the_store_are_refused(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "runs")
    [row] = [row for row in attempt_of(copy, "plain").artifacts if row["name"] == "last"]
    file = copy / row["path"]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()  # it may share its content with another file
    file.write_bytes(content)
    with pytest.raises(HarnessError, match="is damaged: its SHA-256 is not the recorded one"):
        harness.export("plain", store=copy, to=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_which_trial_it_took(store, tmp_path, capsys, monkeypatch):
    trial = attempt_of(store, "half").trial_id
    words = ["export", trial[:10], "--store", str(store), "--to", str(tmp_path / "out"), "--json"]
    monkeypatch.setattr("sys.argv", ["harness", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    document = json.loads(capsys.readouterr().out)
    assert document["chosen"] == f"trial {trial}: variant half, seed 0"
    assert document["files"]["model.safetensors"] == (tmp_path / "out" / "model.safetensors").stat().st_size
