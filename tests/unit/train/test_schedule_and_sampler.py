import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import chisquare
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, ReduceLROnPlateau, SequentialLR

from harness.train.optimizers import SGD, AdamW, AdamWConfig, SGDConfig
from harness.train.sampler import EpochBatches, steps_per_epoch
from harness.train.schedule import (
    Constant,
    ConstantConfig,
    Cosine,
    CosineConfig,
    Linear,
    LinearConfig,
    Plateau,
    PlateauConfig,
    Step,
    StepConfig,
    WarmupCosine,
    WarmupCosineConfig,
    Watched,
)


def test_warm_up_is_linear_and_the_cosine_falls_to_its_end():
    schedule = WarmupCosine(WarmupCosineConfig(warmup=0.1, final=0.0), total_steps=100)
    assert [schedule.factor(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert schedule.factor(10) == 1.0
    assert schedule.factor(55) == pytest.approx(0.5)
    assert schedule.factor(99) == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))


def test_the_cosine_agrees_with_torch():
    schedule = WarmupCosine(WarmupCosineConfig(warmup=0.0), total_steps=20)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert schedule.factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        reference.step()


@pytest.mark.parametrize("final", [0.0, 0.25])
def test_the_cosine_without_warm_up_agrees_with_torch(final):
    schedule = Cosine(CosineConfig(final=final), total_steps=20)
    expected = rates(20, lambda optimizer: CosineAnnealingLR(optimizer, T_max=20, eta_min=final))
    assert [schedule.factor(step) for step in range(20)] == pytest.approx(expected, abs=1e-12)
    assert schedule.factor(0) == 1.0


PLATEAUS = [
    {"patience": 0},
    {"patience": 2, "factor": 0.5, "threshold": 0.05},
    {"patience": 1, "factor": 0.3, "cooldown": 2, "final": 0.1},
    {"patience": 1, "factor": 0.5, "watch": "primary"},
]


@pytest.mark.parametrize("settings", PLATEAUS)
@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_the_plateau_agrees_with_torch_on_random_curves_wherever_it_is_taken_up(settings, direction):
    config = PlateauConfig(**settings)
    curves = {
        name: np.random.default_rng(7).normal(size=(40, 2)).cumsum(0)[:, column] ** 2
        for column, name in enumerate(("loss", "primary"))
    }
    watched_direction = direction if config.watch == "primary" else "lower"
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = ReduceLROnPlateau(
        optimizer,
        mode={"lower": "min", "higher": "max"}[watched_direction],
        factor=config.factor,
        patience=config.patience,
        threshold=config.threshold,
        cooldown=config.cooldown,
        min_lr=config.final,
        eps=0.0,
    )
    known = Plateau(config, total_steps=400)
    seen = set()
    for epoch in range(41):
        past = {
            "loss": Watched(list(curves["loss"][:epoch]), "lower"),
            "primary": Watched(list(curves["primary"][:epoch]), direction),
        }
        known.follow(past)
        taken_up = Plateau(config, total_steps=400)
        taken_up.follow(past)
        assert known.factor(10 * epoch) == taken_up.factor(10 * epoch) == optimizer.param_groups[0]["lr"]
        seen.add(known.factor(0))
        if epoch < 40:
            reference.step(curves[config.watch][epoch])
    assert len(seen) > 2


def test_a_plateau_is_at_its_full_height_before_the_first_validation():
    schedule = Plateau(PlateauConfig(patience=0), total_steps=4)
    schedule.follow({"loss": Watched([], "lower"), "primary": Watched([], "higher")})
    assert schedule.factor(0) == 1.0


def test_without_warm_up_and_constant():
    assert WarmupCosine(WarmupCosineConfig(warmup=0.0, final=0.1), total_steps=1).factor(0) == 1.0
    assert Constant(ConstantConfig(), total_steps=5).factor(3) == 1.0


def rates(steps, make_reference):
    """Return the learning rate of every step under a scheduler of torch, from the rate 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = make_reference(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    return found


@pytest.mark.parametrize("final", [0.0, 0.2])
def test_the_linear_schedule_agrees_with_torch(final):
    def reference(optimizer):
        rise = LinearLR(optimizer, start_factor=1 / 10, total_iters=9)
        fall = LinearLR(optimizer, start_factor=1.0, end_factor=final, total_iters=30)
        return SequentialLR(optimizer, [rise, fall], milestones=[10])

    schedule = Linear(LinearConfig(warmup=0.25, final=final), total_steps=40)
    found = [schedule.factor(step) for step in range(40)]
    assert found == pytest.approx(rates(40, reference), abs=1e-12)
    assert max(found) == 1.0


def test_the_linear_schedule_without_warm_up_starts_at_the_full_height():
    schedule = Linear(LinearConfig(warmup=0.0), total_steps=4)
    assert [schedule.factor(step) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("at", "milestones"), [((0.5, 0.75), [10, 15]), ((0.3,), [6]), ((0.9, 0.1, 0.12), [18, 2, 2])]
)
def test_the_step_schedule_agrees_with_torch(at, milestones):
    schedule = Step(StepConfig(at=at, gamma=0.3), total_steps=20)
    expected = rates(20, lambda optimizer: MultiStepLR(optimizer, milestones, gamma=0.3))
    assert [schedule.factor(step) for step in range(20)] == pytest.approx(expected, abs=1e-12)


def test_the_order_of_falls_does_not_matter_and_repeats_are_refused():
    assert StepConfig(at=(0.8, 0.4)) == StepConfig(at=(0.4, 0.8))
    for at in ((), (0.5, 0.5), (0.0,), (1.0,)):
        with pytest.raises(ValidationError):
            StepConfig(at=at)


def test_an_epoch_holds_every_sample_once_in_an_order_of_its_own():
    first = [index for batch in EpochBatches(20, 5, seed=0, epoch=1) for index in batch]
    second = [index for batch in EpochBatches(20, 5, seed=0, epoch=2) for index in batch]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first != [index for batch in EpochBatches(20, 5, seed=1, epoch=1) for index in batch]


def test_a_start_leaves_out_the_batches_that_were_done():
    whole = list(EpochBatches(20, 5, seed=3, epoch=2))
    assert list(EpochBatches(20, 5, seed=3, epoch=2, start=3)) == whole[3:]
    assert len(EpochBatches(20, 5, seed=3, epoch=2, start=3)) == 1


def test_the_last_smaller_batch_is_left_out_unless_it_is_the_only_one():
    assert [len(batch) for batch in EpochBatches(23, 5, seed=0, epoch=1)] == [5, 5, 5, 5]
    assert [len(batch) for batch in EpochBatches(3, 5, seed=0, epoch=1)] == [3]
    assert (steps_per_epoch(23, 5), steps_per_epoch(3, 5)) == (4, 1)


def test_the_order_without_labels_has_not_changed():
    """If this fails, every stored trial saw its samples in another order."""
    assert list(EpochBatches(10, 3, seed=4, epoch=2)) == [[8, 9, 4], [0, 2, 5], [3, 1, 6]]


skewed = np.array([7] * 90 + [2] * 9 + [5])  # value 2 is rare, value 5 has one sample


def balanced(**changes):
    settings = {"seed": 0, "epoch": 1, "labels": skewed} | changes
    return list(EpochBatches(100, 10, **settings))


def test_a_balanced_epoch_is_as_long_and_draws_every_value_equally_often():
    epochs = [balanced(epoch=epoch) for epoch in range(1, 41)]
    assert {len(batches) for batches in epochs} == {10}
    drawn = np.array(epochs).ravel()
    assert chisquare(np.unique(skewed[drawn], return_counts=True)[1]).pvalue > 0.001
    for value in (7, 2):
        members = np.flatnonzero(skewed == value)
        assert chisquare(np.bincount(drawn, minlength=100)[members]).pvalue > 0.001


def test_a_balanced_epoch_depends_on_seed_and_epoch_and_goes_on_in_its_middle():
    assert balanced() == balanced()
    assert balanced() != balanced(epoch=2)
    assert balanced() != balanced(seed=1)
    assert balanced(start=4) == balanced()[4:]


def test_equal_frequencies_stay_equal_and_values_that_do_not_occur_are_not_drawn():
    drawn = np.concatenate(balanced(labels=np.arange(100) % 4 + 20))
    assert drawn.min() >= 0 and drawn.max() < 100
    assert (np.bincount(np.asarray(drawn) % 4) > 10).all()


def test_optimizers_take_their_settings():
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    adamw = AdamW.build(AdamWConfig(lr=0.1, weight_decay=0.3), parameters)
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.defaults["weight_decay"] == 0.3
    sgd = SGD.build(SGDConfig(lr=0.1, momentum=0.9, nesterov=True), parameters)
    assert sgd.defaults["nesterov"] is True
