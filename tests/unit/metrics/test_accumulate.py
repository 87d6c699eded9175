import json
import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from harness.metrics.accumulate import LabelledMean, LabelledValue
from harness.train.processes import Processes

NAMES = {"colour": ["red", "blue", "grey"], "shape": ["star", "square"]}


@pytest.fixture(scope="module")
def data():
    """101 values over a wide range, every ninth not defined; no grey at all."""
    generator = np.random.default_rng(0)
    values = generator.lognormal(0.0, 4.0, 101).astype(np.float32)
    values[::9] = np.nan
    labels = {"colour": generator.integers(0, 2, 101), "shape": generator.integers(0, 2, 101)}
    return values, labels


def plain_means(values, labels):
    expected = [(None, values)]
    for kind, names in NAMES.items():
        expected += [(f"{kind}={name}", values[labels[kind] == i]) for i, name in enumerate(names)]
    defined = [(label, part[~np.isnan(part)].astype(np.float64)) for label, part in expected]
    return [
        (label, part.mean(), part.size, part.std(ddof=1) if part.size > 1 else None)
        for label, part in defined
        if part.size
    ]


def update(mean, data, indices):
    values, labels = data
    mean.update(
        torch.from_numpy(values[indices]),
        {kind: torch.from_numpy(of_kind[indices]) for kind, of_kind in labels.items()},
    )


def assert_equal_means(got, expected):
    assert [value.label for value in got] == [label for label, *_ in expected]
    assert [value.count for value in got] == [count for _, _, count, _ in expected]
    np.testing.assert_allclose([v.value for v in got], [mean for _, mean, _, _ in expected], rtol=1e-13)
    np.testing.assert_allclose([v.sd for v in got], [sd for *_, sd in expected], rtol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_batch_size_does_not_show(size, data):
    mean = LabelledMean(NAMES)
    for start in range(0, 101, size):
        update(mean, data, slice(start, start + size))
    assert_equal_means(mean.compute(), plain_means(*data))


def _process(rank, folder, data):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting_point", rank=rank, world_size=2)
    mean = LabelledMean(NAMES)
    shard = np.arange(101)[:70] if rank == 0 else np.arange(101)[70:]
    for part in np.array_split(shard, 3 + rank):
        update(mean, data, part)
    parts = Processes(rank, 2).stacked(mean.moments)
    (folder / f"{rank}.json").write_text(json.dumps(mean.compute(parts)))
    dist.destroy_process_group()


def test_two_processes_with_uneven_shards_agree_with_the_plain_mean(data, tmp_path):
    mp.spawn(_process, (tmp_path, data), nprocs=2)
    expected = plain_means(*data)
    assert len(expected) == 5
    for rank in (0, 1):
        rows = json.loads((tmp_path / f"{rank}.json").read_text())
        assert_equal_means([LabelledValue(*row) for row in rows], expected)


def test_known_values():
    mean = LabelledMean({"colour": ["red", "blue"]})
    mean.update(torch.tensor([1.0, 2.0, math.nan]), {"colour": torch.tensor([0, 0, 1])})
    mean.update(torch.tensor([6.0]), {"colour": torch.tensor([1])})
    assert mean.compute() == [
        LabelledValue(None, 3.0, 3, math.sqrt(7)),
        LabelledValue("colour=red", 1.5, 2, math.sqrt(0.5)),
        LabelledValue("colour=blue", 6.0, 1, None),
    ]


def test_sums_are_float64():
    mean = LabelledMean({})
    for _ in range(3000):  # a float32 sum would stand still, as 2^25 + 1 has no float32
        mean.update(torch.tensor([2.0**25, 1.0]), {})
    ((_, value, count, _),) = mean.compute()
    assert (value, count) == ((2.0**25 + 1) / 2, 6000)


@pytest.mark.parametrize("size", [1, 50])
def test_a_spread_far_from_zero_is_not_lost(size):
    """1e8 + 0, 1, 2, 0, 1, 2 ...: in a sum of squares, 1e18, the squared spread would be below rounding."""
    values = 1e8 + torch.arange(300, dtype=torch.float64) % 3
    mean = LabelledMean({})
    for part in values.split(size):
        mean.update(part, {})
    assert mean.compute()[0].sd == pytest.approx(math.sqrt(200 / 299), rel=1e-9)


def test_an_infinite_value_leaves_no_spread():
    mean = LabelledMean({})
    mean.update(torch.tensor([1.0, math.inf]), {})
    assert mean.compute() == [LabelledValue(None, math.inf, 2, None)]


def test_values_that_are_all_the_same_have_no_spread_in_any_batches():
    mean = LabelledMean({})
    for part in torch.full((10,), 0.1).split(3):
        mean.update(part, {})
    assert mean.compute()[0].sd == pytest.approx(0.0, abs=1e-9)


def test_nothing_defined_gives_no_values():
    mean = LabelledMean(NAMES)
    labels = {kind: torch.zeros(2, dtype=torch.int64) for kind in NAMES}
    mean.update(torch.tensor([math.nan, math.nan]), labels)
    assert mean.compute() == []


@pytest.mark.parametrize("index", [-1, 2])
def test_a_label_out_of_range_is_an_error(index):
    with pytest.raises((IndexError, RuntimeError)):
        LabelledMean({"colour": ["red", "blue"], "shape": ["star"]}).update(
            torch.tensor([1.0]), {"colour": torch.tensor([index]), "shape": torch.tensor([0])}
        )
