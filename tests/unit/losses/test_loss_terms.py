"""What holds for every loss term."""

import pytest
import torch

from harness.config import LossConfig
from harness.registry import registry

LOSSES = registry.names("loss")
OF_THE_PAIR = [name for name in LOSSES if name != "tv"]
"""Terms that compare prediction and target; the total variation is of the prediction alone."""
SETTINGS = {"ms_ssim": {"levels": 2}, "perceptual": {"layers": {"relu2_2": 1.0, "relu3_3": 0.5}}}
"""What lets a term work on the small pictures here, and soon."""
EDGE_CASES = {
    "black": torch.zeros(3),
    "white": torch.ones(3),
    "red": torch.tensor([1.0, 0.0, 0.0]),
    "green": torch.tensor([0.0, 1.0, 0.0]),
    "blue": torch.tensor([0.0, 0.0, 1.0]),
    "slightly below 0": torch.full((3,), -0.02),
    "slightly above 1": torch.full((3,), 1.02),
}


def build(name, context):
    term = registry.load("loss", name)
    return term(term.Config(weight=1.0, **SETTINGS.get(name, {})), context)


@pytest.mark.parametrize("name", LOSSES)
def test_config_is_frozen_and_refuses_unknown_keys(name):
    config = registry.load("loss", name).Config
    assert issubclass(config, LossConfig)
    with pytest.raises(ValueError, match="frozen"):
        config(weight=1.0).weight = 2.0
    with pytest.raises(ValueError, match="Extra inputs"):
        config(weight=1.0, wieght=2.0)


@pytest.mark.parametrize("name", LOSSES)
def test_one_nonnegative_float32_value_for_every_sample(name, context, prediction, batch):
    values = build(name, context)(prediction, batch)
    assert values.shape == (4,)
    assert values.dtype == torch.float32
    assert (values > 0).all()


@pytest.mark.parametrize("name", OF_THE_PAIR)
def test_equal_images_have_no_loss(name, context, batch):
    values = build(name, context)(batch["target"].clone(), batch)
    assert (values >= 0).all()
    torch.testing.assert_close(values, torch.zeros(4), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_a_sample_does_not_depend_on_its_neighbours(name, context, prediction, batch):
    term = build(name, context)
    together = term(prediction, batch)
    alone = [term(prediction[i : i + 1], {"target": batch["target"][i : i + 1]}) for i in range(4)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_and_half_precision_predictions_are_computed_in_float32(name, context, prediction, batch):
    term = build(name, context)
    half = prediction.bfloat16()
    expected = term(half.float(), batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = term(half, batch)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, expected, rtol=0, atol=0)


@pytest.mark.parametrize("colour", EDGE_CASES.values(), ids=EDGE_CASES.keys())
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_finite_on_flat_colours(name, colour, context, batch):
    # A flat picture has no variation, and one that is darker than black is nowhere similar.
    stands_still = name == "tv" or (name == "ms_ssim" and colour.min() < 0)
    prediction = colour[None, :, None, None].repeat(4, 1, 36, 40).requires_grad_()
    build(name, context)(prediction, batch).mean().backward()
    assert prediction.grad.isfinite().all()
    assert (prediction.grad.abs().sum() > 0) == (not stands_still)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_finite_where_prediction_and_target_are_equal(name, context):
    black = torch.zeros(2, 3, 36, 40)
    prediction = black.clone().requires_grad_()
    build(name, context)(prediction, {"target": black}).mean().backward()
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_against_the_gradient_lowers_the_loss_from_outside_the_range(name, context, batch):
    term = build(name, context)
    prediction = (batch["target"] * 1.6 - 0.3).requires_grad_()
    assert prediction.min() < -0.1
    assert prediction.max() > 1.1
    before = term(prediction, batch)
    (gradient,) = torch.autograd.grad(before.sum(), prediction)
    step = 1e-2 * gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    after = term(prediction.detach() - step, batch)
    assert (after < before).all()


@pytest.mark.parametrize("name", LOSSES)
def test_building_leaves_the_global_random_state_alone(name, context):
    before = torch.get_rng_state()
    build(name, context)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_in_a_loss_is_trained(name, context):
    assert not any(parameter.requires_grad for parameter in build(name, context).parameters())
