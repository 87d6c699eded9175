"""`precision: fp16`: the loss is scaled, and steps whose gradient overflows are left out and counted."""

import math

import pytest
import torch

from harness.errors import NonFiniteLossError
from harness.train.loop import MOST_SKIPPED
from harness.train.progress import newest_state, read_progress
from harness.train.trial import prepare

FP16 = "base.train.precision=fp16"
HEAVY = "base.loss.mse=100"
"""Of a loss so heavy, scaled by 65,536, the gradients overflow in float16."""


def skipped(sink):
    return [row["value"] for row in sink.costs if row["name"] == "skipped_steps"]


def scale_of(sink):
    state = newest_state(sink.folder / "state")
    return torch.load(state / "optimizer.pt")["scaler"]["scale"]


def test_float16_trains_nearly_like_float32_and_skips_nothing_that_is_small(train, spec_of):
    shorter = "base.train.epochs=2"
    exact, half = train(spec_of(shorter)), train(spec_of(shorter, FP16))
    assert half.facts["precision"] == "fp16"
    assert half.curve("loss", "train") == pytest.approx(exact.curve("loss", "train"), rel=2e-3)
    assert half.curve("loss", "train") != exact.curve("loss", "train")
    assert skipped(half) == [0.0] * 2
    assert skipped(exact) == []


def test_steps_that_overflow_are_counted_and_halve_the_scale_until_training_goes_on(train, spec_of):
    sink = train(spec_of(FP16, HEAVY))
    first, *later = skipped(sink)
    assert first + sum(later) == math.log2(65536.0 / scale_of(sink)) > 0
    progress = read_progress(newest_state(sink.folder / "state"))
    assert progress.skipped_in_a_row == 0
    losses = sink.curve("loss", "train")
    assert all(map(math.isfinite, losses))
    assert losses[-1] < losses[0]


def test_a_gradient_that_never_becomes_finite_ends_the_trial_with_the_way_out(train, spec_of):
    small = ("base.data.train_size=16", "base.train.batch_size=4", "base.train.epochs=10")
    spec = spec_of(FP16, "base.loss.mse=1e38", "base.model.output=linear", *small)
    with pytest.raises(
        NonFiniteLossError, match=f"the {MOST_SKIPPED}th step in a row that fp16 leaves out"
    ) as caught:
        train(spec)
    assert "use precision bf16 or fp32" in str(caught.value)
    assert len(caught.value.evidence["batch"]) == 4


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.seen = None

    def forward(self, image):
        self.seen = self.layer(image)
        return self.norm(self.seen)


@pytest.fixture
def small(spec_of):
    """A model with statistics of its own, prepared for float16."""
    strategy = prepare(spec_of(FP16), threads=1, on_cpu=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Small()
    strategy.prepare(
        model,
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        micro_batches=1,
        example={"image": torch.zeros(1, 3, 4, 4)},
    )
    return strategy


def step(strategy, image):
    strategy.zero_grad()
    with strategy.forward(last=True):
        output = strategy.model(image)
    strategy.backward(output.square().mean())
    return output, strategy.step()


def test_the_forward_pass_is_in_float16_between_float32_weights_and_outputs(small):
    output, norm = step(small, torch.rand(2, 3, 4, 4))
    assert small.module.seen.dtype == torch.float16
    assert output.dtype == torch.float32
    assert {parameter.dtype for parameter in small.module.parameters()} == {torch.float32}
    assert {parameter.grad.dtype for parameter in small.module.parameters()} == {torch.float32}
    assert math.isfinite(norm)


def test_a_step_that_is_left_out_changes_neither_weights_nor_running_statistics(small):
    step(small, torch.rand(2, 3, 4, 4))
    before = {name: value.clone() for name, value in small.module.state_dict().items()}
    _, norm = step(small, torch.full((2, 3, 4, 4), 1e6))  # beyond 65,504, the largest float16
    assert not math.isfinite(norm)
    after = small.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert small.scaler.get_scale() == 65536.0 / 2
    _, norm = step(small, torch.rand(2, 3, 4, 4))
    assert math.isfinite(norm)
    assert not all(torch.equal(before[name], value) for name, value in small.module.state_dict().items())


def test_the_gradient_is_that_of_the_loss_and_not_of_the_scaled_one(small):
    image = torch.rand(2, 3, 4, 4)
    before = small.module.layer.weight.detach().clone()
    _, norm = step(small, image)
    moved = (small.module.layer.weight.detach() - before).norm()
    assert 0 < float(moved) <= 0.1 * min(norm, 1.0) * (1 + 1e-3)  # lr 0.1, clipped at 1
