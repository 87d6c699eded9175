"""TensorBoard, Weights & Biases and MLflow as they are, offline: what they are told is read back from them."""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.registry import registry
from harness.trackers.base import TrackedRun, settings_of
from harness.trackers.forward import Forward, finish_all
from harness.trackers.messages import Begin

VALUES = {
    "train/loss": 0.5,
    "train/loss/mse": 0.25,
    "validation/delta_e": 7.5,
    "validation/delta_e/colour=red": math.nan,
    "cost/train_seconds": 1.5,
}
PICTURE = Image.fromarray(np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3))


def png():
    buffer = io.BytesIO()
    PICTURE.save(buffer, "PNG")
    return buffer.getvalue()


def track(tracker, folder, status="complete", **options):
    """Show two epochs of an attempt, and return what the record would say."""
    folder.mkdir(exist_ok=True)
    config = registry.load("tracker", tracker).Config(name=tracker, finish_seconds=60, **options)
    run = TrackedRun("tiny", "r1", "mse", "abc", 2, 0, None, str(folder), previous="the one before")
    settings = settings_of(run, {"train": {"epochs": 2, "clip_norm": None}, "model": {"widths": [8, 16]}})
    forward = Forward(Begin(tracker, config.model_dump(mode="json"), run, settings, str(folder)), 60)
    for epoch in (1, 2):
        forward.picture("prediction", png(), epoch)
        forward.log({name: value * epoch for name, value in VALUES.items()}, epoch)
    finish_all([forward], status, lambda: None)
    return asdict(forward.told())


@pytest.mark.parametrize("writer", ["tensorboard", "tensorboardX"])
def test_tensorboard_reads_back_what_was_logged(tmp_path, writer, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))  # as in a trial of two processes, which it must not wait for
    if writer == "tensorboardX":  # as where tensorboard itself is not installed
        (tmp_path / "hidden").mkdir()
        (tmp_path / "hidden" / "tensorboard.py").write_text("raise ModuleNotFoundError('no tensorboard')")
        monkeypatch.syspath_prepend(str(tmp_path / "hidden"))
    told = track("tensorboard", tmp_path / "logs")
    name = "r1/mse/seed-0-attempt-2"
    assert told == {"run": name, "link": str(tmp_path / "logs" / name), "note": None}
    assert [path.name for path in (tmp_path / "logs").rglob("*") if path.is_dir()] == [
        "r1",
        "mse",
        "seed-0-attempt-2",
    ]
    events = EventAccumulator(told["link"]).Reload()
    scalars = {
        tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }
    values = (
        VALUES if writer == "tensorboard" else {tag.replace("=", "_"): value for tag, value in VALUES.items()}
    )
    assert scalars.keys() == values.keys()
    for tag, value in values.items():
        assert scalars[tag] == [
            (1, pytest.approx(value, nan_ok=True)),
            (2, pytest.approx(2 * value, nan_ok=True)),
        ]
    shown = events.Images("sample/prediction")
    assert [one.step for one in shown] == [1, 2]
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(shown[0].encoded_image_string))), np.asarray(PICTURE)
    )
    assert events.Tensors("status/text_summary")[0].tensor_proto.string_val == [b"complete"]
    raw = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = plugin_data_pb2.HParamsPluginData.FromString(raw).session_start_info.hparams
    assert found["train.epochs"].number_value == 2
    assert found["train.clip_norm"].string_value == "none"
    assert found["model.widths"].string_value == "[8, 16]"
    assert found["continues"].string_value == "the one before"


def test_mlflow_reads_back_what_was_logged_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    told = track("mlflow", tmp_path / "mlflow", status="failed")
    assert told["note"] is None
    assert Path(told["link"]).is_dir()
    assert Path(told["link"]).name == told["run"]
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient((tmp_path / "mlflow").as_uri())
    run = client.get_run(told["run"])
    assert (run.info.run_name, run.info.status) == ("mse/seed-0-attempt-2", "FAILED")
    assert client.get_experiment(run.info.experiment_id).name == "tiny"
    assert (run.data.tags["run"], run.data.tags["status"]) == ("r1", "failed")
    assert run.data.params["train.epochs"] == "2"
    assert run.data.params["continues"] == "the one before"
    loss = client.get_metric_history(told["run"], "train/loss.mse")
    assert [(one.step, one.value) for one in loss] == [(1, 0.25), (2, 0.5)]
    assert math.isnan(run.data.metrics["validation/delta_e.colour:red"])
    assert len(run.data.metrics) == len(VALUES)
    kept = client.list_artifacts(told["run"], "samples")
    assert [one.path for one in kept] == ["samples/prediction-0001.png", "samples/prediction-0002.png"]


def test_wandb_offline_keeps_what_was_logged(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    told = track("wandb", tmp_path / "wandb", tags=["nightly"])
    assert told["note"] is None
    (file,) = Path(told["link"]).glob("run-*.wandb")
    assert told["run"] in file.name
    records = list(_records(file))
    (run,) = [one.run for one in records if one.HasField("run")]
    assert (run.project, run.display_name, run.run_group) == ("tiny", "mse/seed-0-attempt-2", "r1")
    assert list(run.tags) == ["nightly"]
    rows = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in one.history.item}
        for one in records
        if one.HasField("history")
    ]
    assert [row["_step"] for row in rows] == [1, 2]
    assert [row["train/loss/mse"] for row in rows] == [0.25, 0.5]
    assert rows[0]["sample/prediction/_type"] == "images/separated"
    assert [one.exit.exit_code for one in records if one.HasField("exit")] == [0]
    config = {
        item.key: json.loads(item.value_json)
        for one in records
        if one.HasField("config")
        for item in one.config.update
    }
    assert config["train.epochs"] == 2
    assert config["continues"] == "the one before"


def _records(file):
    """Yield the records of an offline run: a log of LevelDB, in blocks of 32 KiB, after 7 bytes of header."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # no room for a header: the block is filled up
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def test_wandb_without_an_account_is_a_note(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    told = track("wandb", tmp_path / "wandb")
    assert told["run"] is None
    assert told["note"].startswith("start: UsageError: No API key configured")
