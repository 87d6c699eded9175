"""A trial that is stopped anywhere and goes on ends as if nothing had happened, bit for bit."""

import pytest
import torch
from safetensors.torch import load_file

from harness.train.loop import Interrupted
from harness.train.progress import newest_state, read_progress
from tests.support.memory_sink import MemorySink

STEPS = 4  # an epoch: 64 samples in batches of 16
CASES = {
    "plain": ((), {}),
    "average": (("base.train.ema=0.9", "base.train.accumulation=2"), {}),
    "balanced, turned": (("base.train.balance=colour", "base.train.augment=[rot90, hflip]"), {}),
    "fold": (("base.data.train_size=80",), {"folds": 5, "fold": 1}),
}


# So heavy a loss that the first steps overflow in float16: the scale falls, and lies in the state.
FP16 = ("base.train.precision=fp16", "base.loss.mse=100", "base.train.epochs=2")
AT_ONE_PLACE = {
    "plateau": (2 * STEPS + 1, ("base.schedule={name: plateau, patience: 0, threshold: 0.5}",)),
    "fp16": (3, FP16),
    "lion": (STEPS + 2, ("base.optimizer={name: timm, kind: lion, lr: 1e-3}",)),
    "muon": (STEPS + 2, ("base.optimizer={name: timm, kind: muon, weight_decay: 0.01}",)),
}


def train_in_two_parts(train, spec, stop_after, folder):
    first = MemorySink(folder / "1", stop_after=stop_after)
    with pytest.raises(Interrupted):
        _run(spec, first)
    state = newest_state(first.folder / "state")
    done = read_progress(state).epoch - 1
    second = MemorySink(folder / "2", resume_from=state)
    _run(spec, second)
    second.metrics = [row for row in first.metrics if row["epoch"] <= done] + second.metrics
    return first, second


def _run(spec, sink):
    from harness.train.trial import run_trial

    run_trial(spec, sink, cache=_run.cache, threads=1)


@pytest.fixture(autouse=True)
def _cache(cache):
    _run.cache = cache


@pytest.mark.parametrize("stop_after", [1, 3, STEPS, STEPS + 2, 3 * STEPS])
@pytest.mark.parametrize("case", CASES)
def test_the_end_is_the_same_wherever_it_was_stopped(train, spec_of, tmp_path, stop_after, case):
    overrides, fold = CASES[case]
    spec = spec_of(*overrides).model_copy(update=fold)
    ends_alike(train, spec, stop_after, tmp_path)


@pytest.mark.parametrize("case", AT_ONE_PLACE)
def test_what_steps_carry_on_is_in_the_state(train, spec_of, tmp_path, case):
    stop_after, overrides = AT_ONE_PLACE[case]
    ends_alike(train, spec_of(*overrides), stop_after, tmp_path)


def ends_alike(train, spec, stop_after, tmp_path):
    whole = train(spec)
    _, second = train_in_two_parts(train, spec, stop_after, tmp_path)
    assert second.metrics == whole.metrics
    for name in ("last", "best"):
        expected, actual = load_file(whole.kept[name][1]), load_file(second.kept[name][1])
        assert expected.keys() == actual.keys()
        assert all(torch.equal(expected[key], actual[key]) for key in expected)
        assert whole.kept[name][0] == second.kept[name][0]
    pictures = {key: png for key, png in whole.pictures.items() if key in second.pictures}
    assert pictures
    assert pictures == {key: second.pictures[key] for key in pictures}


def test_a_stop_in_an_epoch_keeps_the_batches_that_were_done(spec_of, tmp_path):
    sink = MemorySink(tmp_path, stop_after=STEPS + 2)
    with pytest.raises(Interrupted):
        _run(spec_of(), sink)
    progress = read_progress(newest_state(tmp_path / "state"))
    assert (progress.epoch, progress.batch, progress.step, progress.samples) == (2, 2, 6, 32)


def test_one_state_is_kept_and_it_is_whole(train, spec_of):
    sink = train(spec_of())
    states = list((sink.folder / "state").iterdir())
    assert [state.name for state in states] == [f"step-{3 * STEPS:012d}-0004"]
    assert read_progress(states[0]).finished


def test_a_state_that_was_not_finished_writing_is_not_seen(tmp_path):
    (tmp_path / ".step-00000009-0001.partial").mkdir()
    assert newest_state(tmp_path) is None
    (tmp_path / "step-00000004-0001").mkdir()
    (tmp_path / "step-00000008-0002").mkdir()
    assert newest_state(tmp_path).name == "step-00000008-0002"


def test_a_state_of_the_first_form_is_still_read(train, spec_of, tmp_path):
    """It knew the optimizer by numbers, one random state, and had the best weights beside it."""
    spec = spec_of()
    first = MemorySink(tmp_path / "1", stop_after=STEPS + 1)
    with pytest.raises(Interrupted):
        _run(spec, first)
    state = newest_state(first.folder / "state")
    whole = torch.load(state / "optimizer.pt")
    numbered = {number: whole["state"][name] for number, name in enumerate(whole["state"])}
    groups = [{**whole["groups"][0], "params": list(numbered)}]
    torch.save({"state": numbered, "param_groups": groups}, state / "optimizer.pt")
    torch.save(torch.load(state / "generators.pt")[0], state / "generators.pt")
    (state / "best.safetensors").unlink()
    second = MemorySink(tmp_path / "2", resume_from=state)
    _run(spec, second)
    undisturbed = train(spec)
    for name in ("last", "best"):
        expected, actual = load_file(undisturbed.kept[name][1]), load_file(second.kept[name][1])
        assert all(torch.equal(expected[key], actual[key]) for key in expected)


def test_a_state_is_handed_over_before_older_ones_go(spec_of, tmp_path):
    seen = []

    class Watching(MemorySink):
        def state_saved(self, state):
            seen.append((state.name, sorted(path.name for path in state.parent.glob("step-*"))))

    _run(spec_of(), Watching(tmp_path))
    names = [name for name, _ in seen]
    assert [there for _, there in seen] == [[names[0]], names[:2], names[1:]]


def test_only_the_weights_that_were_asked_for_stay(spec_of, tmp_path, cache):
    from harness.train.trial import run_trial

    sink = MemorySink(tmp_path)
    run_trial(spec_of(), sink, cache=cache, threads=1, keep=("best",))
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["best.safetensors"]
    assert list(sink.kept) == ["best"]
    assert sink.signs_of_life == 3 * (STEPS + 1)
