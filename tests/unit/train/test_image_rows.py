"""The table of images and the pictures of the worst ones: what a trial keeps at its last epoch."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from skimage.color import rgb2lab

from harness.errors import TrialError
from harness.metrics.info import DELTA_E, PSNR
from harness.tasks.colorization import Colorization
from harness.train import evaluate as evaluation
from harness.train.evaluate import Evaluation, evaluate
from harness.train.images import joined, worst_places, written_out
from harness.train.trial import prepare


def columns(**values):
    kinds = {"index": torch.int64, "place": torch.int64}
    return {name: torch.tensor(of, dtype=kinds.get(name, torch.float64)) for name, of in values.items()}


def test_the_last_epoch_alone_keeps_one_row_an_image_whose_means_are_the_values_of_the_epoch(train, spec_of):
    sink = train(spec_of())
    [(epoch, table)] = sink.tables.items()
    last = {
        row["metric"]: row
        for row in sink.metrics
        if (row["epoch"], row["split"]) == (3, "validation")
        and row["label"] is None
        and "/" not in row["metric"]
    }
    assert epoch == 3
    assert table["index"] == list(range(24))
    assert {*last, "index", "label/colour", "label/shape", "found/colour"} <= table.keys()
    for metric, row in last.items():
        defined = [value for value in table[metric] if value is not None]
        assert len(defined) == row["count"]
        assert math.fsum(defined) / len(defined) == pytest.approx(row["value"], rel=1e-12)


def test_labels_are_written_by_name_and_means_of_a_label_are_those_of_its_rows(train, spec_of):
    sink = train(spec_of())
    table = sink.tables[3]
    of_labels = [
        row for row in sink.metrics if row["epoch"] == 3 and row["metric"] == "psnr" and row["label"]
    ]
    assert {row["label"].partition("=")[0] for row in of_labels} >= {"colour", "shape"}
    for row in of_labels:
        kind, _, name = row["label"].partition("=")
        mine = [v for v, label in zip(table["psnr"], table[f"label/{kind}"], strict=True) if label == name]
        assert np.mean(mine) == pytest.approx(row["value"], rel=1e-12)


def test_a_trial_that_stops_early_keeps_the_table_of_the_epoch_that_it_stopped_at(train, spec_of):
    sink = train(spec_of("base.train.early_stopping=1", "base.optimizer.lr=0.9", "base.train.epochs=9"))
    last = max(row["epoch"] for row in sink.metrics)
    assert last < 9
    assert list(sink.tables) == [last]
    assert ("worst", last) in sink.pictures


def test_the_colour_found_is_the_palette_colour_nearest_to_the_mean_of_the_filled_region(spec_of, cache):
    task = Colorization.create(spec_of(), cache=cache, device=torch.device("cpu"))
    batch = task.validation.batch(range(8))
    prediction = torch.rand(batch["target"].shape, generator=torch.Generator().manual_seed(3)) * 1.4 - 0.2
    batch["mask"][2] = 0.0
    palette = rgb2lab(task.palette.numpy()[None])[0]
    expected = []
    for image, mask in zip(prediction.clamp(0, 1).permute(0, 2, 3, 1).numpy(), batch["mask"], strict=True):
        region = rgb2lab(image)[mask[0].numpy() > 0.5]
        distance = np.linalg.norm(palette - region.mean(0), axis=1) if len(region) else None
        expected.append(-1 if distance is None else int(distance.argmin()))
    assert task.found(prediction, batch)["colour"].tolist() == expected
    assert expected[2] == -1
    assert task.found(batch["target"], batch)["colour"].tolist() == [
        -1 if number == 2 else colour for number, colour in enumerate(batch["colour"].tolist())
    ]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_neither_rows_nor_values_depend_on_the_batch_size(spec_of, cache, monkeypatch, size):
    spec = spec_of()
    accelerator = prepare(spec, threads=1, on_cpu=True).accelerator
    task = Colorization.create(spec, cache=cache, device=torch.device("cpu"))
    whole = evaluate(task, task.model, accelerator)
    monkeypatch.setattr(evaluation, "BATCH_SIZE", size)
    found = evaluate(task, task.model, accelerator)
    assert found.images.keys() == whole.images.keys()
    for name, column in whole.images.items():
        torch.testing.assert_close(found.images[name], column, rtol=1e-4, atol=2e-5, equal_nan=True)
    for name, items in whole.values.items():
        assert [(one.label, one.count) for one in found.values[name]] == [(o.label, o.count) for o in items]
        # Convolutions of the model and of LPIPS round otherwise in batches of another size.
        assert [one.value for one in found.values[name]] == pytest.approx(
            [one.value for one in items], rel=1e-4, abs=2e-5
        )


def test_parts_of_several_processes_are_sorted_by_index_and_an_empty_one_adds_nothing():
    first, second = (
        columns(index=[5, 1], place=[0, 1], psnr=[0.5, 0.1]),
        columns(index=[3], place=[2], psnr=[0.3]),
    )
    empty = columns(index=[], place=[], psnr=[])
    found = joined([first, empty, second])
    assert {name: column.tolist() for name, column in found.items()} == {
        "index": [1, 3, 5],
        "place": [1, 2, 0],
        "psnr": [0.1, 0.3, 0.5],
    }


def test_the_worst_come_first_by_the_direction_of_the_metric_ties_by_index_without_undefined_ones():
    table = columns(
        index=[2, 4, 6, 8, 9],
        place=[0, 1, 2, 3, 4],
        delta_e=[1, 7, math.nan, 7, 9],
        psnr=[5, 3, 9, 3, math.nan],
    )
    assert worst_places(table, DELTA_E, 3) == [4, 1, 3]
    assert worst_places(table, PSNR, 9) == [1, 3, 0, 2]


def test_what_is_not_there_is_written_as_none():
    table = {
        **columns(index=[0, 1], place=[0, 1], psnr=[math.nan, math.inf]),
        "found/colour": torch.tensor([-1, 1]),
    }
    assert written_out(table, {"colour": ["red", "blue"]}) == {
        "index": [0, 1],
        "psnr": [None, math.inf],
        "found/colour": [None, "blue"],
    }


def test_the_worst_pictures_are_inputs_targets_and_predictions_of_the_worst_rows(train, spec_of, cache):
    spec = spec_of()
    sink = train(spec)
    table = sink.tables[3]
    rows = [
        (-value, index)
        for value, index in zip(table["delta_e"], table["index"], strict=True)
        if value is not None
    ]
    worst = [index for _, index in sorted(rows)[:8]]
    grid = np.asarray(Image.open(io.BytesIO(sink.pictures["worst", 3])))
    assert grid.shape == (3 * 32, 8 * 32, 3)
    task = Colorization.create(spec, cache=cache, device=torch.device("cpu"))
    batch = task.validation.batch(worst)
    task.model.load_state_dict(load_file(sink.kept["last"][1]))
    with torch.no_grad():
        prediction = task.predict(task.model.eval(), batch)
    for row, pictures in enumerate((batch["image"], batch["target"], prediction)):
        expected = pictures.clamp(0, 1).mul(255).round().permute(0, 2, 3, 1).numpy()
        shown = np.stack(np.split(grid[row * 32 : (row + 1) * 32], 8, axis=1))
        assert np.abs(shown - expected).max() <= 1


def test_a_metric_that_no_image_has_is_told_by_name():
    with pytest.raises(TrialError, match="hue_error is not defined for any validation image"):
        Evaluation({"hue_error": []}, {}).value("hue_error")
