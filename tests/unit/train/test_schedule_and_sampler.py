import math

import pytest
import torch

from harness.train.optimizers import SGD, AdamW, AdamWConfig, SGDConfig
from harness.train.sampler import EpochBatches, steps_per_epoch
from harness.train.schedule import Constant, ConstantConfig, WarmupCosine, WarmupCosineConfig


def test_warm_up_is_linear_and_the_cosine_falls_to_its_end():
    schedule = WarmupCosine(WarmupCosineConfig(warmup=0.1, final=0.0), total_steps=100)
    assert [schedule.factor(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert schedule.factor(10) == 1.0
    assert schedule.factor(55) == pytest.approx(0.5)
    assert schedule.factor(99) == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))


def test_the_cosine_agrees_with_torch():
    schedule = WarmupCosine(WarmupCosineConfig(warmup=0.0), total_steps=20)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert schedule.factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        reference.step()


def test_without_warm_up_and_constant():
    assert WarmupCosine(WarmupCosineConfig(warmup=0.0, final=0.1), total_steps=1).factor(0) == 1.0
    assert Constant(ConstantConfig(), total_steps=5).factor(3) == 1.0


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


def test_optimizers_take_their_settings():
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    adamw = AdamW.build(AdamWConfig(lr=0.1, weight_decay=0.3), parameters)
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.defaults["weight_decay"] == 0.3
    sgd = SGD.build(SGDConfig(lr=0.1, momentum=0.9, nesterov=True), parameters)
    assert sgd.defaults["nesterov"] is True
