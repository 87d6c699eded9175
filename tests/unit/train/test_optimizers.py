"""Optimizers of timm: which there are, how they are built, and which update each number by itself."""

import pytest
import torch
from pydantic import ValidationError

from harness.train.optimizers import TIMM_ELEMENTWISE, Timm, TimmConfig, timm_kinds

STEPS = 8


def weights_and_gradients():
    """Return weights that norms and projections act on, and a gradient for every step.

    The gradients are at right angles to the weights, row by row, which is where AdamP and SGDP project; the
    weights are small, so that ratios of trust lie below the bound of those that have one.
    """
    generator = torch.Generator().manual_seed(1)
    weights = 0.05 * torch.randn(64, 48, generator=generator)
    gradients = []
    for step in range(STEPS):
        gradient = torch.randn(64, 48, generator=generator)
        along = (gradient * weights).sum(1, keepdim=True) / weights.square().sum(1, keepdim=True)
        gradients.append((gradient - along * weights) * 10.0 ** -(step % 3))
    return weights, gradients


def trained(kind, cut):
    """Return the numbers of one matrix after some steps, trained whole or, cut in two, as flat parts."""
    weights, gradients = weights_and_gradients()

    def parts(matrix):
        return [matrix.clone()] if cut is None else [part.clone() for part in matrix.flatten().split(cut)]

    parameters = [torch.nn.Parameter(part) for part in parts(weights)]
    optimizer = Timm.build(TimmConfig(kind=kind, lr=1e-2, weight_decay=0.05), parameters)
    for gradient in gradients:
        for parameter, part in zip(parameters, parts(gradient), strict=True):
            parameter.grad = part
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


@pytest.mark.parametrize("kind", timm_kinds())
def test_a_kind_is_elementwise_where_parts_of_a_weight_train_like_the_whole(kind):
    whole, in_parts = trained(kind, None), trained(kind, 1000)
    assert torch.isfinite(whole).all()
    alike = torch.allclose(whole, in_parts, rtol=1e-5, atol=1e-7)
    assert alike == (kind in TIMM_ELEMENTWISE) == Timm.elementwise(TimmConfig(kind=kind))


def test_elementwise_kinds_are_kinds():
    assert set(timm_kinds()) >= TIMM_ELEMENTWISE


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("rmsprop", lambda p: torch.optim.RMSprop(p, lr=1e-2, weight_decay=0.1, momentum=0.5, alpha=0.9)),
        ("nadam", lambda p: torch.optim.NAdam(p, lr=1e-2, weight_decay=0.1)),
        ("radam", lambda p: torch.optim.RAdam(p, lr=1e-2, weight_decay=0.1)),
    ],
)
def test_settings_reach_the_optimizer(kind, reference):
    found = []
    for build in (
        lambda p: Timm.build(TimmConfig(kind=kind, lr=1e-2, weight_decay=0.1, momentum=0.5), p),
        reference,
    ):
        parameters = [torch.nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))]
        optimizer = build(parameters)
        for step in range(6):
            parameters[0].grad = torch.sin(parameters[0].detach() * (step + 1))
            optimizer.step()
        found.append(parameters[0].detach())
    torch.testing.assert_close(found[0], found[1])


def test_options_reach_the_optimizer():
    config = TimmConfig(kind="lion", options={"betas": [0.5, 0.6]})
    optimizer = Timm.build(config, [torch.nn.Parameter(torch.zeros(2))])
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.6)
    whole = TimmConfig(kind="muon", options={"ns_steps": 3})
    assert whole.options["ns_steps"] == 3
    assert type(whole.options["ns_steps"]) is int


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "lionn"}, "no optimizer 'lionn' that trains here; did you mean 'lion'?"),
        ({"kind": "bnbadam"}, "no optimizer 'bnbadam' that trains here"),
        ({"kind": "adahessian"}, "no optimizer 'adahessian' that trains here"),
        (
            {"kind": "lion", "options": {"beta": 0.5}},
            "options.beta: lion has no such argument; did you mean 'betas'?",
        ),
        ({"kind": "lion", "options": {"lr": 0.5}}, "options.lr: write lr beside kind"),
        ({"kind": "lion", "options": {"betas": [2.0, 0.9]}}, "lion cannot be built with these settings: "),
    ],
)
def test_what_timm_does_not_take_is_refused_with_the_way_out(settings, words):
    with pytest.raises(ValidationError) as caught:
        TimmConfig(**settings)
    assert words in str(caught.value)


def test_a_momentum_that_a_kind_does_not_have_sets_no_two_trials_apart():
    assert TimmConfig(kind="lion", momentum=0.5).model_dump() == TimmConfig(kind="lion").model_dump()
    assert TimmConfig(kind="sgdw", momentum=0.5).model_dump() != TimmConfig(kind="sgdw").model_dump()
