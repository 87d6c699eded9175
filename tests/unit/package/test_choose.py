"""Which trial of a store is exported."""

import pytest

from harness.errors import HarnessError
from harness.package.choose import choose
from harness.store.read import open_store
from tests.support.stored_run import store_record
from tests.support.synthetic_run import synthetic_record


def stored(root, **shape):
    record = synthetic_record(root, samples=False, labels=False, claims=False, epochs=3, **shape)
    store_record(root, record)
    return record, open_store(root)


def values(record, variant):
    """Return the last value in the primary metric of every complete trial of a variant, by seed."""
    found = {}
    for trial in record.plan.trials:
        rows = record.metrics
        mine = rows[(rows.trial_id == trial.id) & (rows.metric == "delta_e") & (rows.split == "validation")]
        whole = mine[mine.label.isna() & (mine.epoch == 3)]
        if variant in trial.variants and len(whole):
            found[trial.seed] = whole.value.item()
    return found


def test_of_a_variant_the_median_seed_is_taken_and_said(tmp_path):
    record, reader = stored(tmp_path, seeds=5)
    of_seed = values(record, "lab")
    median = sorted(of_seed, key=of_seed.get)[2]
    choice = choose("lab", reader)
    assert choice.attempt.seed == median
    assert choice.among == tuple(sorted(of_seed.items(), key=lambda item: item[1]))
    best, worst = min(of_seed.values()), max(of_seed.values())
    assert choice.sentence == (
        f"variant lab, seed {median}: ΔE {of_seed[median]:.1f}, "
        f"the median of 5 trials from {best:.1f} to {worst:.1f}"
    )


@pytest.mark.parametrize("metric", ["delta_e", "psnr"])
def test_of_two_in_the_middle_the_worse_one_is_taken(tmp_path, metric):
    record, _ = stored(tmp_path, seeds=4)
    plan = record.plan.model_copy(update={"primary_metric": metric})
    changed = type(record)(**{**vars(record), "plan": plan})
    store_record(tmp_path, changed)
    among = choose("mse", open_store(tmp_path)).among
    goodness = [value if metric == "psnr" else -value for _, value in among]
    assert goodness == sorted(goodness, reverse=True)
    assert choose("mse", open_store(tmp_path)).attempt.seed == among[2][0]


def test_a_seed_is_taken_in_place_of_the_median(tmp_path):
    _, reader = stored(tmp_path, seeds=3)
    for seed in range(3):
        assert choose("mse", reader, seed=seed).attempt.seed == seed
    with pytest.raises(HarnessError, match="no seed 7; complete are 0, 1, 2"):
        choose("mse", reader, seed=7)


def test_a_failed_trial_is_never_taken(tmp_path):
    _, reader = stored(tmp_path, seeds=2, failed=(("mse", 0),))
    assert choose("mse", reader).attempt.seed == 1
    with pytest.raises(HarnessError, match="no seed 0; complete are 1"):
        choose("mse", reader, seed=0)
    _, reader = stored(tmp_path / "all", seeds=2, failed=(("mse", 0), ("mse", 1)))
    with pytest.raises(HarnessError, match="no complete trial"):
        choose("mse", reader)


def test_the_beginning_of_an_id_names_a_trial(tmp_path):
    record, reader = stored(tmp_path, seeds=2)
    trial = record.plan.trials[0]
    choice = choose(trial.id[:8], reader)
    assert choice.attempt.trial_id == trial.id
    assert choice.suite == record.plan.suite
    assert choice.among == ()


def test_a_text_that_names_nothing_is_refused_with_the_nearest(tmp_path):
    _, reader = stored(tmp_path, seeds=1)
    with pytest.raises(HarnessError, match="did you mean 'lpips'"):
        choose("lpip", reader)


def test_the_trial_of_an_id_has_to_be_complete(tmp_path):
    record, reader = stored(tmp_path, seeds=1, failed=(("mse", 0),))
    with pytest.raises(HarnessError, match="has no complete attempt"):
        choose(record.plan.trial("mse", 0).id, reader)
