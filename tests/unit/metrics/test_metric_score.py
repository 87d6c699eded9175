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
from harness.metrics.info import COLORIZATION, metric_infos, metrics_of

PERFECT = {
    "delta_e": 0.0,
    "colour_accuracy": 1.0,
    "psnr": 100.0,
    "ssim": 1.0,
    "lpips_rand": 0.0,
    "edge_sharpness": 1.0,
    "bleed": 0.0,
    "mse": 0.0,
    "mae": 0.0,
    "ms_ssim": math.nan,  # of 40 x 44 pixels
    "gradient_similarity": 1.0,
    "edge_f1": 1.0,
    "delta_e_2000": 0.0,
    "delta_e_p95": 0.0,
    "hue_error": 0.0,
    "chroma_error": 0.0,
    "lightness_error": 0.0,
    "delta_e_border": math.nan,  # no square comes near the border
    "delta_e_inner": 0.0,
    "background_error": 0.0,
    "overlap_bleed": 0.0,
    "fill_iou": 1.0,
    "boundary_f1": 1.0,
    "under_fill": 0.0,
    "under_fill_border": math.nan,
    "over_fill": 0.0,
}
NEEDS_A_FILL = {
    "delta_e",
    "colour_accuracy",
    "edge_sharpness",
    "delta_e_2000",
    "delta_e_p95",
    "hue_error",
    "chroma_error",
    "lightness_error",
    "delta_e_inner",
    "overlap_bleed",
    "fill_iou",
    "boundary_f1",
    "under_fill",
    "over_fill",
}
NOWHERE = {name for name, value in PERFECT.items() if math.isnan(value)}


@pytest.fixture
def metrics(context):
    return build_metrics(COLORIZATION, context)


def test_metrics_come_in_order_under_their_recorded_names(metrics):
    assert list(metrics) == list(PERFECT)
    assert all(metric.info.name == name for name, metric in metrics.items())


def test_built_metrics_mean_what_the_plan_says(metrics):
    assert {name: metric.info for name, metric in metrics.items()} == metric_infos(COLORIZATION, "random")


def test_perfect_predictions_get_the_best_value_of_every_metric(metrics, batch):
    for name, values in score(metrics, batch["target"], batch).items():
        torch.testing.assert_close(values, torch.full((4,), PERFECT[name]), atol=1e-6, rtol=0, equal_nan=True)


def test_noise_is_worse_by_the_direction_of_every_metric_but_sharpness(metrics, noisy, batch):
    values = score(metrics, noisy, batch)
    for name in NOWHERE | {"edge_sharpness", "over_fill"}:  # noise has gradients too, and paints nothing
        del values[name]
    for name, of_images in values.items():
        assert metrics[name].info.improvement(float(of_images.mean()) - PERFECT[name]) < 0


def test_values_lie_in_the_range_that_the_info_gives(metrics, batch):
    generator = torch.Generator().manual_seed(8)
    for prediction in (torch.rand(batch["target"].shape, generator=generator), 1 - batch["target"]):
        for name, values in score(metrics, prediction, batch).items():
            low, high = metrics[name].info.range
            assert values.shape == (4,)
            assert values.dtype == torch.float32
            assert values.isnan().all() == (name in NOWHERE)
            values = values[~values.isnan()]
            assert (values >= (-math.inf if low is None else low)).all()
            assert (values <= (math.inf if high is None else high)).all()


def test_predictions_are_clamped_first(metrics, noisy, batch):
    assert noisy.max() > 1.2
    outside, inside = score(metrics, noisy, batch), score(metrics, noisy.clamp(0, 1), batch)
    for name in metrics:
        torch.testing.assert_close(outside[name], inside[name], rtol=0, atol=0, equal_nan=True)


def test_autocast_and_half_precision_predictions_are_scored_in_float32(metrics, noisy, batch):
    half = noisy.bfloat16()
    expected = score(metrics, half.float(), batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = score(metrics, half.requires_grad_(), batch)
    for name in metrics:
        torch.testing.assert_close(values[name], expected[name], rtol=0, atol=0, equal_nan=True)
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
    assert undefined == NEEDS_A_FILL | NOWHERE


@pytest.mark.parametrize("size", [1, 7])
def test_no_value_depends_on_the_other_images_of_a_batch(metrics, noisy, batch, size):
    """A convolution of LPIPS or SSIM rounds otherwise in a batch of another size."""
    repeated = {name: tensor.repeat(4, *[1] * (tensor.dim() - 1))[:13] for name, tensor in batch.items()}
    prediction = noisy.repeat(4, 1, 1, 1)[:13]
    whole = score(metrics, prediction, repeated)
    for start in range(0, 13, size):
        part = {name: tensor[start : start + size] for name, tensor in repeated.items()}
        for name, values in score(metrics, prediction[start : start + size], part).items():
            torch.testing.assert_close(
                values, whole[name][start : start + size], rtol=2e-6, atol=1e-6, equal_nan=True
            )


def test_pictures_too_small_for_five_scales_and_data_without_neighbours_promise_less():
    assert set(COLORIZATION) - set(metrics_of((160, 300), has_other=True)) == {"ms_ssim"}
    assert set(COLORIZATION) - set(metrics_of((161, 161), has_other=False)) == {"overlap_bleed"}
    assert metrics_of((161, 161), has_other=True) == COLORIZATION


def test_the_seven_that_a_report_shows_come_first():
    infos = metric_infos(COLORIZATION, "published")
    assert [info.detail for info in infos.values()] == [False] * 7 + [True] * 19


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
