import subprocess
import sys

import pytest
import torch

from harness.errors import HarnessError
from harness.losses.colour import LabL1Config
from harness.losses.composite import CompositeLoss
from harness.losses.perceptual import LPIPSConfig
from harness.losses.pixel import L1Config, MSEConfig
from harness.registry import UnknownNameError


def test_total_is_the_weighted_sum_of_unweighted_terms(context):
    loss = CompositeLoss({"l1": L1Config(weight=0.5), "mse": MSEConfig(weight=3.0)}, context)
    prediction = torch.stack([torch.full((3, 2, 2), 0.5), torch.full((3, 2, 2), 2.0)])
    total, terms = loss(prediction, {"target": torch.zeros(2, 3, 2, 2)})
    assert terms["l1"].tolist() == [0.5, 2.0]
    assert terms["mse"].tolist() == [0.25, 4.0]
    assert total.tolist() == [0.5 * 0.5 + 3 * 0.25, 0.5 * 2 + 3 * 4]


def test_gradient_reaches_the_prediction_through_every_term(prediction, batch, context):
    loss = CompositeLoss({"lab_l1": LabL1Config(weight=0.3), "lpips": LPIPSConfig(weight=0.5)}, context)
    parts = {}
    for name in (None, "lab_l1", "lpips_rand"):
        leaf = prediction.clone().requires_grad_()
        total, terms = loss(leaf, batch)
        (total if name is None else terms[name]).sum().backward()
        parts[name] = leaf.grad
    torch.testing.assert_close(parts[None], 0.3 * parts["lab_l1"] + 0.5 * parts["lpips_rand"])


def test_terms_of_weight_zero_are_dropped(prediction, batch, context):
    loss = CompositeLoss({"mse": MSEConfig(weight=1.0), "l1": L1Config(weight=0.0)}, context)
    assert loss(prediction, batch)[1].keys() == {"mse"}


def test_a_term_of_weight_zero_and_an_absent_one_give_the_same_gradients(prediction, batch, context):
    gradients = []
    for terms in (
        {"mse": MSEConfig(weight=1.0), "lab_l1": LabL1Config(weight=0.3)},
        {"mse": MSEConfig(weight=1.0), "lab_l1": LabL1Config(weight=0.3), "l1": L1Config(weight=0.0)},
        {"mse": MSEConfig(weight=1.0), "lab_l1": LabL1Config(weight=0.3), "l1": L1Config(weight=0.1)},
    ):
        leaf = prediction.clone().requires_grad_()
        CompositeLoss(terms, context)(leaf, batch)[0].sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert not torch.equal(gradients[0], gradients[2])


@pytest.mark.parametrize("terms", [{}, {"mse": MSEConfig(weight=0.0)}], ids=["empty", "all zero"])
def test_a_loss_without_terms_is_refused(terms, context):
    with pytest.raises(HarnessError, match="at least one term"):
        CompositeLoss(terms, context)


def test_unknown_term_is_refused_with_a_suggestion(context):
    with pytest.raises(UnknownNameError, match="did you mean 'lpips'"):
        CompositeLoss({"lpip": MSEConfig(weight=1.0)}, context)


HEAVY = {"lpips", "kornia", "pytorch_msssim", "torchvision"}


@pytest.mark.parametrize(
    ("term", "imported"),
    [
        ("mse", set()),
        ("ssim", {"pytorch_msssim"}),
        ("lab_l1", {"kornia"}),
        ("lpips", {"lpips", "torchvision"}),
        ("tv", {"kornia"}),
    ],
)
def test_only_the_libraries_of_the_terms_in_use_are_imported(term, imported):
    script = (
        "import sys, torch\n"
        "torch.set_num_threads(1)\n"
        "from harness.losses.base import LossContext\n"
        "from harness.losses.composite import CompositeLoss\n"
        "from harness.registry import registry\n"
        "for name in registry.names('loss'): registry.load('loss', name)\n"
        f"terms = {{'{term}': registry.load('loss', '{term}').Config(weight=1.0)}}\n"
        "loss = CompositeLoss(terms, LossContext('random'))\n"
        "image = torch.rand(1, 3, 32, 32)\n"
        "loss(image, {'target': image})\n"
        f"print(*({HEAVY!r} & sys.modules.keys()))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert set(output.split()) == imported
