"""Six strategies train one trial alike, and go on from each other's states; in real processes, on gloo."""

import contextlib
import copy
import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import TrialError
from harness.planning.build import build_plan
from harness.specify import respecify
from harness.suite import load_suite
from harness.testing.tiny import TINY
from harness.train.loop import Interrupted
from harness.train.progress import newest_state
from harness.train.trial import run_trial
from tests.support import batch_norm_case, tied_model
from tests.support.launched import Job, launch
from tests.support.memory_sink import MemorySink

STEPS = 4  # an epoch: 64 samples in batches of 16
SHARED = {
    "ddp": "{name: ddp, processes: 2}",
    "fsdp": "{name: fsdp, processes: 2}",
    "zero1": "{name: zero1, processes: 2}",
    "zero2": "{name: zero2, processes: 2}",
    "zero3": "{name: zero3, processes: 2}",
    "offloaded": "{name: zero3, processes: 2, offload: cpu}",
}
COMMON = ("base.train.accumulation=2", "base.train.epochs=2")
TIED = "base.model={name: 'strategies_tied_model:Tied'}"
# Adam and clipping hide a gradient of the wrong size; plain descent does not.
DESCENT = ("base.optimizer={name: sgd, lr: 0.1, momentum: 0.9}", "base.train.clip_norm=null")
# The loss is so heavy that its first gradients, scaled, overflow in float16.
FP16 = ("base.train.precision=fp16", "base.loss.mse=100")
# Relative and absolute. Sums over two shares round otherwise than sums over the whole, by 6e-8 in fp32, and
# a training hands such differences on. The values of a label are those of one picture or few.
WHOLE_SPLIT, LABEL, ABSOLUTE = 5e-5, 5e-4, 2e-5
# Chroma is the length of (a, b), whose slope near grey is that of any direction: rounding there counts twice.
NEAR_GREY = {"chroma_error": 1e-4}


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strategies")
    # A plugin of its own: one of `tests` would change with every file there.
    shutil.copy(tied_model.__file__, folder / "strategies_tied_model.py")
    sys.path.insert(0, str(folder))
    suite = folder / "tiny.yaml"
    suite.write_text(TINY)

    def spec(*overrides, **changes):
        plan = build_plan(load_suite(suite, overrides=[*COMMON, *overrides]))
        return {**copy.deepcopy(plan.trial("mse", 0).spec), **changes}

    yield folder, spec
    sys.path.remove(str(folder))


def alone(spec, folder, cache, **options):
    sink = MemorySink(folder, **options)
    with contextlib.suppress(Interrupted):
        run_trial(respecify(spec), sink, cache=cache, threads=1)
    return sink


@pytest.fixture(scope="module")
def outcomes(write, cache):
    """Everything that needs several processes, in one launch: their start costs more than the trials."""
    folder, spec = write
    specs = {name: spec(f"base.strategy={text}") for name, text in SHARED.items()}
    descents = {name: spec(f"base.strategy={text}", *DESCENT) for name, text in SHARED.items()}
    jobs = {name: Job(descents[name], folder / name) for name in SHARED}
    for name in ("ddp", "fsdp", "zero2", "zero3"):
        jobs[f"{name} undisturbed"] = Job(specs[name], folder / f"{name}-0")
        jobs[f"{name} stopped"] = Job(specs[name], folder / f"{name}-1", stop_after=STEPS + 1)
        jobs[f"{name} resumed"] = Job(specs[name], folder / f"{name}-2", resume_from=folder / f"{name}-1")
    alone(spec(), folder / "chain-1", cache, stop_after=2)
    jobs["chain ddp"] = Job(
        specs["ddp"], folder / "chain-2", resume_from=folder / "chain-1", stop_after=2, keep=("last",)
    )
    jobs["chain zero2"] = Job(
        specs["zero2"], folder / "chain-3", resume_from=folder / "chain-2", stop_after=1, keep=("last",)
    )
    for name in ("fsdp", "zero3"):
        tied = spec(TIED, f"base.strategy={SHARED[name]}")
        jobs[f"{name} tied stopped"] = Job(tied, folder / f"tied-{name}-1", stop_after=3)
        jobs[f"{name} tied"] = Job(tied, folder / f"tied-{name}-2", resume_from=folder / f"tied-{name}-1")
    average = spec("base.train.ema=0.9", f"base.strategy={SHARED['zero2']}")
    jobs["average"] = Job(average, folder / "average")
    fewer = spec("base.train.batch_size=18", "base.strategy={name: ddp, processes: 3}")
    jobs["fewer"] = Job(fewer, folder / "fewer", keep=())
    for name, overrides in {"fp16": FP16[:1], "fp16 heavy": FP16}.items():
        jobs[name] = Job(spec(*overrides, f"base.strategy={SHARED['ddp']}"), folder / name, keep=())
    jobs["poisoned"] = Job(specs["zero3"], folder / "poisoned", poisoned=True)
    jobs["batch norm"] = batch_norm_case.in_shares
    return dict(zip(jobs, launch(list(jobs.values()), processes=2, cache=cache), strict=True))


def curve(metrics):
    """Return every value by what it is of."""
    return {
        (row["split"], row["epoch"], row["metric"], row["label"]): (row["value"], row["count"])
        for row in metrics
    }


def furthest(found, expected):
    """Return how far values are apart, as a share of what is allowed; what they count must be equal."""
    found, expected = curve(found), curve(expected)
    assert found.keys() == expected.keys()
    apart = []
    for key, (value, count) in expected.items():
        assert found[key][1] == count
        share = NEAR_GREY.get(key[2], WHOLE_SPLIT) if key[-1] is None else LABEL
        allowed = ABSOLUTE + share * abs(value)
        apart.append(abs(found[key][0] - value) / allowed)
    return max(apart)


def farthest_of_whole_split(found, expected):
    """Return the largest relative difference of a value over a whole split."""
    found, expected = curve(found), curve(expected)
    return max(
        abs(found[key][0] - value) / abs(value) for key, (value, _) in expected.items() if key[-1] is None
    )


@pytest.fixture(scope="module")
def single(write, cache):
    """The trial that all strategies are compared with."""
    folder, spec = write
    return alone(spec(*DESCENT), folder / "single", cache)


@pytest.mark.parametrize("name", SHARED)
def test_every_strategy_agrees_with_one_process(outcomes, single, name):
    apart = furthest(outcomes[name].metrics, single.metrics)
    print(f"{name}: {apart:.2g}, {farthest_of_whole_split(outcomes[name].metrics, single.metrics):.2g}")
    assert 0 < apart < 1
    assert outcomes[name].pictures == len(single.pictures)


ENGINES = {
    "ddp": {"class": "DistributedDataParallel", "sharded": 0},
    "fsdp": {"class": "FSDPConditionalUNet", "sharded": 18},
    "zero1": {"class": "DeepSpeedEngine", "stage": 1, "sharing": "DeepSpeedZeroOptimizer"},
    "zero2": {"class": "DeepSpeedEngine", "stage": 2, "sharing": "DeepSpeedZeroOptimizer"},
    "zero3": {"class": "DeepSpeedEngine", "stage": 3, "partitioned": 18},
    "offloaded": {"class": "DeepSpeedEngine", "stage": 3, "partitioned": 18},
}


@pytest.mark.parametrize("name", SHARED)
def test_the_table_of_images_is_that_of_one_process(outcomes, single, name):
    found, expected = outcomes[name].tables, single.tables
    assert list(found) == list(expected) == [2]
    assert found[2].keys() == expected[2].keys()
    for column, entries in expected[2].items():
        if column == "index" or column.startswith("label/"):
            assert found[2][column] == entries
        elif column in ("loss", "psnr", "delta_e"):
            assert found[2][column] == pytest.approx(entries, rel=5e-4, abs=ABSOLUTE)
    assert None not in expected[2]["found/colour"]


@pytest.mark.parametrize("name", SHARED)
def test_what_was_asked_for_is_in_force_and_recorded(outcomes, name):
    outcome = outcomes[name]
    asked = "zero3" if name == "offloaded" else name
    facts = {
        "strategy": asked,
        "world_size": 2,
        "effective_batch": 16,
        "precision": "fp32",
        "parameters": 4571,
    }
    assert facts.items() <= outcome.facts.items()
    assert (ENGINES[name] | {"optimizer": "SGD"}).items() <= outcome.engine.items()
    assert outcome.ended == "complete"


@pytest.mark.parametrize("name", SHARED)
def test_weights_are_whole_and_of_one_form(outcomes, single, name):
    for kept in ("best", "last"):
        expected, found = load_file(single.kept[kept][1]), load_file(outcomes[name].kept[kept][1])
        assert outcomes[name].kept[kept][0] == single.kept[kept][0]
        assert {key: value.shape for key, value in found.items()} == {
            key: value.shape for key, value in expected.items()
        }
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ddp", "fsdp", "zero2", "zero3"])
def test_a_stopped_trial_goes_on_bit_for_bit_in_as_many_processes(outcomes, name):
    stopped, resumed, whole = (outcomes[f"{name}{part}"] for part in (" stopped", " resumed", " undisturbed"))
    assert stopped.ended == "interrupted"
    before = [row for row in stopped.metrics if row["epoch"] == 1]
    assert before + resumed.metrics == whole.metrics
    expected, found = load_file(whole.kept["last"][1]), load_file(resumed.kept["last"][1])
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert resumed.facts["determinism"] == "strict"
    assert resumed.kept["best"][1].exists()


def test_a_trial_goes_on_under_another_strategy_and_in_another_number_of_processes(
    outcomes, write, cache, tmp_path
):
    folder, spec = write
    undisturbed = alone(spec(), tmp_path / "whole", cache)
    assert outcomes["chain ddp"].facts["determinism"] == "strict, random states drawn anew"
    assert outcomes["chain zero2"].facts["determinism"] == "strict"
    last = alone(spec(), tmp_path / "last", cache, resume_from=newest_state(folder / "chain-3" / "state"))
    assert furthest(outcomes["chain zero2"].metrics + last.metrics, undisturbed.metrics) < 1
    assert last.metrics[-1]["step"] == 2 * STEPS
    assert list(outcomes["chain zero2"].kept) == []


@pytest.mark.parametrize("name", ["fsdp", "zero3"])
def test_tied_frozen_and_odd_sized_weights_train_and_go_on(outcomes, write, cache, tmp_path, name):
    _, spec = write
    single = alone(spec(TIED), tmp_path, cache)
    resumed = outcomes[f"{name} tied"]
    found, expected = load_file(resumed.kept["last"][1]), load_file(single.kept["last"][1])
    assert found.keys() == expected.keys()
    assert torch.equal(found["one.weight"], found["other.weight"])
    assert torch.equal(found["frozen.weight"], expected["frozen.weight"])
    assert furthest(resumed.metrics, single.metrics) < 1


def test_an_average_is_that_of_one_process(outcomes, write, cache, tmp_path):
    _, spec = write
    single = alone(spec("base.train.ema=0.9"), tmp_path, cache)
    assert furthest(outcomes["average"].metrics, single.metrics) < 1
    assert load_file(outcomes["average"].kept["last"][1]).keys() == load_file(single.kept["last"][1]).keys()


def test_float16_in_two_processes_is_that_of_one(outcomes, write, cache, tmp_path):
    one = alone(write[1](FP16[0]), tmp_path, cache)
    losses = [
        [row["value"] for row in found.metrics if row["metric"] == "loss" and row["label"] is None]
        for found in (one, outcomes["fp16"])
    ]
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
    first, later = [row["value"] for row in outcomes["fp16 heavy"].costs if row["name"] == "skipped_steps"]
    assert first > later == 0


def test_fewer_processes_than_asked_keep_the_effective_batch(outcomes, write, cache, tmp_path):
    _, spec = write
    single = alone(spec("base.train.batch_size=18"), tmp_path, cache)  # micro-batches of 9: shares of 5 and 4
    fewer = outcomes["fewer"]
    assert (fewer.facts["world_size"], fewer.facts["effective_batch"]) == (2, 18)
    assert furthest(fewer.metrics, single.metrics) < 1
    assert fewer.kept == {}


def test_a_loss_that_is_not_finite_in_one_process_ends_all_with_the_whole_batch(outcomes):
    outcome = outcomes["poisoned"]
    assert outcome.ended == "non_finite"
    assert outcome.evidence["step"] == 2
    assert len(set(outcome.evidence["batch"])) == 16
    assert outcome.evidence["loss_sums"]["loss"] == "nan"
    assert len(outcome.evidence["largest_weight_norms"]) == 5
    assert json.dumps(outcome.evidence)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_statistics_are_those_of_the_whole_batch(outcomes, dtype):
    parts = outcomes["batch norm"][dtype]
    expected = batch_norm_case.step(*batch_norm_case.case(dtype))
    tolerance = {"rtol": 2e-5, "atol": 2e-5} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    for name in ("output", "gradient"):
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), expected[name], **tolerance)
    for name in ("weight", "bias"):  # the mean over processes is the strategy's
        torch.testing.assert_close(parts[0][name] + parts[1][name], expected[name], **tolerance)
    for name in ("mean", "variance"):
        torch.testing.assert_close(parts[0][name], expected[name], **tolerance)
        assert torch.equal(parts[0][name], parts[1][name])


def test_a_state_of_another_model_is_refused_by_name(write, cache, tmp_path):
    _, spec = write
    alone(spec(), tmp_path / "1", cache, stop_after=1)
    other = spec("base.model.widths=[8, 24]")
    with pytest.raises(TrialError, match=r"weights of another model: .* is \[.*\] there and \[.*\] here"):
        alone(other, tmp_path / "2", cache, resume_from=newest_state(tmp_path / "1" / "state"))


def test_a_state_of_another_optimizer_is_refused_by_name(write, cache, tmp_path):
    _, spec = write
    alone(spec(), tmp_path / "1", cache, stop_after=1)
    other = spec("base.optimizer={name: sgd}")
    with pytest.raises(TrialError, match="an optimizer AdamW, this trial has SGD"):
        alone(other, tmp_path / "2", cache, resume_from=newest_state(tmp_path / "1" / "state"))


def test_several_processes_need_a_place_to_meet(write, cache, tmp_path, monkeypatch):
    _, spec = write
    monkeypatch.delenv("RANK", raising=False)
    asked = respecify(spec(f"base.strategy={SHARED['ddp']}"))
    with pytest.raises(TrialError, match="2 processes needs RANK"):
        run_trial(asked, MemorySink(tmp_path), cache=cache, threads=1, processes=2)
