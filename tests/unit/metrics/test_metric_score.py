"""What holds for every metric, through the door that a task uses."""

import math
import subprocess
import sys

import pytest
import torch

from harness.errors import HarnessError, TrialError
from harness.metrics import base
from harness.metrics.base import score
from harness.metrics.build import build_metrics
from harness.metrics.info import COLORIZATION, metric_infos

PERFECT = {
    "delta_e": 0.0,
    "colour_accuracy": 1.0,
    "psnr": 100.0,
    "ssim": 1.0,
    "lpips_rand": 0.0,
    "edge_sharpness": 1.0,
    "bleed": 0.0,
}


@pytest.fixture
def metrics(context):
    return build_metrics(COLORIZATION, context)


def test_metrics_come_in_order_under_their_recorded_names(metrics):
    assert list(metrics) == [
        "delta_e",
        "colour_accuracy",
        "psnr",
        "ssim",
        "lpips_rand",
        "edge_sharpness",
        "bleed",
    ]
    assert all(metric.info.name == name for name, metric in metrics.items())


def test_built_metrics_mean_what_the_plan_says(metrics):
    assert {name: metric.info for name, metric in metrics.items()} == metric_infos(COLORIZATION, "random")


def test_perfect_predictions_get_the_best_value_of_every_metric(metrics, batch):
    for name, values in score(metrics, batch["target"], batch).items():
        torch.testing.assert_close(values, torch.full((4,), PERFECT[name]), atol=1e-6, rtol=0)


def test_noise_is_worse_by_the_direction_of_every_metric_but_sharpness(metrics, noisy, batch):
    values = score(metrics, noisy, batch)
    del values["edge_sharpness"]  # noise has gradients too
    for name, of_images in values.items():
        assert metrics[name].info.improvement(float(of_images.mean()) - PERFECT[name]) < 0


def test_values_lie_in_the_range_that_the_info_gives(metrics, batch):
    generator = torch.Generator().manual_seed(8)
    for prediction in (torch.rand(batch["target"].shape, generator=generator), 1 - batch["target"]):
        for name, values in score(metrics, prediction, batch).items():
            low, high = metrics[name].info.range
            assert values.shape == (4,)
            assert values.dtype == torch.float32
            assert (values >= (-math.inf if low is None else low)).all()
            assert (values <= (math.inf if high is None else high)).all()


def test_predictions_are_clamped_first(metrics, noisy, batch):
    assert noisy.max() > 1.2
    outside, inside = score(metrics, noisy, batch), score(metrics, noisy.clamp(0, 1), batch)
    for name in metrics:
        assert torch.equal(outside[name], inside[name])


def test_autocast_and_half_precision_predictions_are_scored_in_float32(metrics, noisy, batch):
    half = noisy.bfloat16()
    expected = score(metrics, half.float(), batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = score(metrics, half.requires_grad_(), batch)
    for name in metrics:
        assert torch.equal(values[name], expected[name])
        assert not values[name].requires_grad


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_prediction_that_is_not_finite_stops_the_trial(value, metrics, batch):
    prediction = batch["target"].clone()
    prediction[1, 0, 0, 0] = value
    with pytest.raises(TrialError, match="1 of 4 predictions hold NaN or infinite values"):
        score(metrics, prediction, batch)


def test_what_needs_a_filled_region_is_nan_without_one(metrics, batch):
    batch["mask"][2] = 0.0
    undefined = {
        name for name, values in score(metrics, batch["target"], batch).items() if bool(values[2].isnan())
    }
    assert undefined == {"delta_e", "colour_accuracy", "edge_sharpness"}


def test_each_image_is_converted_to_lab_once(metrics, noisy, batch, monkeypatch):
    calls = []
    convert = base.rgb_to_lab
    monkeypatch.setattr(base, "rgb_to_lab", lambda image: calls.append(image) or convert(image))
    score(metrics, noisy, batch)
    assert len(calls) == 2


def test_building_leaves_the_global_random_state_alone(context):
    before = torch.get_rng_state()
    build_metrics(COLORIZATION, context)
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_metric_is_refused_with_a_suggestion(context):
    with pytest.raises(HarnessError, match="no metric 'sim'; did you mean 'ssim'"):
        build_metrics(["sim"], context)


def test_random_features_carry_another_name_and_say_so():
    assert list(metric_infos(["lpips", "psnr"], "published")) == ["lpips", "psnr"]
    random = metric_infos(["lpips"], "random")
    assert "random features, not comparable with published values" in random["lpips_rand"].title


def test_infos_need_no_torch():
    script = (
        "import sys\n"
        "from harness.metrics.info import COLORIZATION, metric_infos\n"
        "metric_infos(COLORIZATION, 'published')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
