import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness.data.palette import NAMES
from harness.errors import NonFiniteLossError, TrialError
from harness.registry import registry
from harness.tasks.colorization import Colorization
from harness.train.evaluate import evaluate
from harness.train.probe import Latency, measure_latency
from harness.train.trial import prepare


def final(sink, metric, split="validation"):
    return sink.curve(metric, split)[-1]


def recorded_terms(sink):
    return {(row["split"], row["metric"]) for row in sink.metrics if row["metric"].startswith("loss")}


def test_without_a_term_exactly_its_rows_are_missing(train, spec_of):
    weights = {"mse": 1.0, "l1": 0.5, "huber": 0.5, "gradient": 0.2, "tv": 0.01}
    shorter = ("base.train.epochs=1", "base.data.train_size=16", "base.data.validation_size=8")

    def terms_with(**changed):
        return recorded_terms(train(spec_of(f"base.loss={weights | changed}", *shorter)))

    whole = terms_with()
    assert {name for _, name in whole} == {"loss", *(f"loss/{term}" for term in weights)}
    for term in weights:
        assert whole - terms_with(**{term: 0}) == {
            (split, f"loss/{term}") for split in ("train", "validation")
        }


def test_every_term_is_recorded_by_itself_in_training_and_validation(train, spec_of):
    sink = train(spec_of("base.loss.l1=0.5", "base.loss.lab_l1=0.25"))
    for split in ("train", "validation"):
        terms = {
            row["metric"]
            for row in sink.metrics
            if row["split"] == split and row["metric"].startswith("loss")
        }
        assert terms == {"loss", "loss/mse", "loss/l1", "loss/lab_l1"}
        total = final(sink, "loss/mse", split) + 0.5 * final(sink, "loss/l1", split)
        total += 0.25 * final(sink, "loss/lab_l1", split)
        assert final(sink, "loss", split) == pytest.approx(total, rel=1e-6)


def test_the_loss_falls(train, spec_of):
    losses = train(spec_of("base.train.epochs=6", "base.optimizer.lr=1e-2")).curve("loss", "train")
    assert len(losses) == 6
    assert losses[-1] < 0.7 * losses[0]


def test_the_same_trial_gives_the_same_numbers_and_another_seed_others(train, spec_of):
    spec = spec_of()
    first, again = train(spec), train(spec)
    assert first.metrics == again.metrics
    assert first.pictures == again.pictures
    other = train(spec.model_copy(update={"seed": 1}))
    assert other.curve("loss") != first.curve("loss")


def test_accumulation_takes_the_same_steps_without_batch_statistics(train, spec_of):
    whole = train(spec_of("base.model.norm=none"))
    parts = train(spec_of("base.model.norm=none", "base.train.accumulation=4"))
    assert parts.curve("loss", "train") == pytest.approx(whole.curve("loss", "train"), rel=1e-4)
    assert parts.metrics[-1]["step"] == whole.metrics[-1]["step"] == 12


def test_what_a_model_is_stands_in_the_record(train, spec_of):
    sink = train(spec_of())
    spec = spec_of()
    model = registry.load("model", "conditional_unet")(spec.model, image_channels=3, class_names=NAMES)
    assert sink.facts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert sink.facts["forward_flops"] > 1e6
    assert (sink.facts["strategy"], sink.facts["world_size"], sink.facts["threads"]) == ("single", 1, 1)
    assert sink.facts["determinism"] == "strict"
    names = {
        row["name"] for row in sink.costs if row["name"] != "latency_p95_seconds"
    }  # needs a quick machine
    assert names == {
        *("train_seconds", "validation_seconds", "images_per_second", "peak_memory_bytes"),
        "latency_seconds",
    }


def test_the_trained_model_alone_is_timed(train, spec_of, monkeypatch):
    monkeypatch.setattr("harness.train.probe.LATENCY_SECONDS", 60.0)
    sink = train(spec_of("base.train.epochs=9", "base.train.early_stopping=1", "base.optimizer.lr=1e-12"))
    found = {row["name"]: row for row in sink.costs if row["name"].startswith("latency")}
    assert {row["epoch"] for row in found.values()} == {len(sink.curve("delta_e"))}
    assert 0 < found["latency_seconds"]["value"] <= found["latency_p95_seconds"]["value"]
    assert sum(row["name"].startswith("latency") for row in sink.costs) == 2


def test_timing_changes_neither_values_nor_weights_nor_the_random_state(train, spec_of, monkeypatch):
    spec = spec_of("base.train.ema=0.9")
    timed, state = train(spec), torch.get_rng_state()
    calls = []

    def untimed(forward, device):
        calls.append(device)
        return Latency(1.0, None)

    monkeypatch.setattr("harness.train.loop.measure_latency", untimed)
    plain = train(spec)
    assert calls == [torch.device("cpu")]
    assert torch.equal(torch.get_rng_state(), state)
    assert plain.metrics == timed.metrics
    expected, actual = load_file(plain.kept["last"][1]), load_file(timed.kept["last"][1])
    assert all(torch.equal(expected[name], actual[name]) for name in expected)


def test_a_forward_pass_that_draws_is_timed_without_moving_the_generator():
    before = torch.get_rng_state()
    measure_latency(lambda: torch.rand(3), torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def passes(monkeypatch):
    """Return a function: seconds of each pass, by a clock of its own -> what was measured, passes made."""

    def measure(seconds):
        now, made = [0.0], []
        monkeypatch.setattr("harness.train.probe.time", SimpleNamespace(perf_counter=lambda: now[0]))

        def forward():
            assert not torch.is_grad_enabled()
            made.append(seconds(len(made)))
            now[0] += made[-1]

        return measure_latency(forward, torch.device("cpu")), len(made)

    return measure


def test_a_slow_forward_pass_is_timed_for_a_bounded_time_and_has_no_95th_percentile(passes):
    found, made = passes(lambda index: 0.06 if index < 3 else 0.03)
    assert found.median == pytest.approx(0.03)
    assert found.p95 is None
    assert made == 11  # 3 that take 0.18 s, and 8 begun before 0.4 s


def test_a_very_slow_forward_pass_is_made_twice_and_the_second_counts(passes):
    found, made = passes(lambda index: 5.0 - index)
    assert (found.median, found.p95, made) == (4.0, None, 2)


def test_a_fast_forward_pass_warms_up_and_has_a_95th_percentile(passes):
    found, made = passes(lambda index: 0.05 if index < 3 else 0.001 if index % 10 else 0.002)
    assert made == 43
    assert found.median == pytest.approx(0.001)
    assert found.p95 == pytest.approx(0.002)  # 4 of 40 take twice as long


def test_the_spread_over_images_is_that_of_the_single_images(spec_of, cache):
    spec = spec_of("base.data.validation_size=70")  # 64 and 6 in a batch
    accelerator = prepare(spec, threads=1, on_cpu=True).accelerator
    task = Colorization.create(spec, cache=cache, device=torch.device("cpu"))
    rows = evaluate(task, task.model, accelerator).rows(1, 4)
    batch = task.validation.batch(range(70))
    task.model.eval()
    with torch.no_grad():
        prediction = task.predict(task.model, batch)
        values = task.score(prediction, batch) | {"loss": task.loss(prediction, batch)[0]}
    whole = {row["metric"]: row for row in rows if row["label"] is None}
    for metric, by_image in values.items():
        defined = by_image[~by_image.isnan()].double().numpy()
        assert whole[metric]["count"] == len(defined)
        assert whole[metric]["sd"] == pytest.approx(np.std(defined, ddof=1), rel=1e-4)
    colour = next(row for row in rows if row["metric"] == "delta_e" and "colour=" in (row["label"] or ""))
    name = colour["label"].removeprefix("colour=")
    of_colour = values["delta_e"][batch["colour"] == list(task.label_names["colour"]).index(name)]
    of_colour = of_colour[~of_colour.isnan()].double().numpy()
    expected = pytest.approx(np.std(of_colour, ddof=1), rel=1e-4) if len(of_colour) > 1 else None
    assert (colour["count"], colour["sd"]) == (len(of_colour), expected)


def test_the_training_loss_has_no_spread(train, spec_of):
    rows = train(spec_of()).metrics
    assert {row["sd"] for row in rows if row["split"] == "train"} == {None}
    assert all(row["sd"] > 0 for row in rows if row["metric"] == "delta_e" and row["label"] is None)


def test_the_last_epoch_tells_how_many_training_samples_have_each_label(train, spec_of, tmp_path):
    spec = spec_of()
    told = [row for row in train(spec).metrics if row["metric"] == "samples"]
    task = Colorization.create(spec, cache=tmp_path, device=torch.device("cpu"))
    labels = task.labels(task.train.batch(range(len(task.train))))
    expected = {
        f"{kind}={name}": int((labels[kind] == number).sum())
        for kind, names in task.label_names.items()
        for number, name in enumerate(names)
    }
    assert {row["label"]: row["count"] for row in told} == {k: n for k, n in expected.items() if n}
    assert {(row["epoch"], row["split"]) for row in told} == {(spec.train.epochs, "train")}
    assert all(row["value"] == row["count"] for row in told)


def test_pictures_show_the_same_samples_in_every_epoch(train, spec_of):
    sink = train(spec_of())
    predictions = {("prediction", epoch) for epoch in (1, 2, 3)}
    assert set(sink.pictures) == {("input", None), ("target", None), ("worst", 3), *predictions}
    assert all(png.startswith(b"\x89PNG") for png in sink.pictures.values())


def test_the_average_is_what_is_validated_and_kept(train, spec_of):
    plain, averaged = train(spec_of()), train(spec_of("base.train.ema=0.9"))
    assert averaged.curve("loss", "train") == plain.curve("loss", "train")
    assert averaged.curve("loss") != plain.curve("loss")
    weights = load_file(averaged.kept["last"][1])
    assert weights.keys() == load_file(plain.kept["last"][1]).keys()
    assert any(
        not torch.equal(weights[name], other) for name, other in load_file(plain.kept["last"][1]).items()
    )


def test_bf16_trains_in_fp32_weights(train, spec_of):
    sink = train(spec_of("base.train.precision=bf16", "base.train.ema=0.9"))
    assert sink.facts["precision"] == "bf16"
    assert {w.dtype for w in load_file(sink.kept["last"][1]).values()} == {torch.float32, torch.int64}
    assert final(sink, "loss", "train") < sink.curve("loss", "train")[0]


def test_training_stops_early_when_nothing_gets_better(train, spec_of):
    sink = train(spec_of("base.train.epochs=9", "base.train.early_stopping=2", "base.optimizer.lr=1e-12"))
    values = sink.curve("delta_e")
    best = values.index(min(values))
    assert len(values) == best + 3 < 9
    assert sink.kept["best"][0] == best + 1


def test_the_best_weights_are_those_of_the_best_epoch(train, spec_of):
    sink = train(spec_of("base.train.epochs=5", "base.optimizer.lr=3e-2", "base.schedule.name=constant"))
    values = sink.curve("delta_e")
    assert sink.kept["best"][0] == values.index(min(values)) + 1


def test_a_loss_that_is_not_finite_ends_the_trial_with_its_evidence(train, spec_of):
    with pytest.raises(NonFiniteLossError, match="at step") as caught:
        train(spec_of("base.optimizer.name=sgd", "base.optimizer.lr=1e30", "base.model.output=linear"))
    evidence = caught.value.evidence
    assert len(evidence["batch"]) == 16
    assert not math.isfinite(float(evidence["loss_sums"]["loss"])) or not math.isfinite(
        float(evidence["gradient_norm"])
    )
    assert set(evidence["loss_sums"]) == {"loss", "loss/mse"}


def test_an_environment_does_not_change_the_asked_precision(train, spec_of, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    whole = train(spec_of())
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION")
    assert whole.metrics == train(spec_of()).metrics


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [("mixed_precision", "fp16", "expected precision no"), ("num_processes", 2, "expected 1 process")],
)
def test_what_is_in_force_is_asserted_against_what_was_asked(
    train, spec_of, monkeypatch, attribute, value, message
):
    monkeypatch.setattr(f"accelerate.Accelerator.{attribute}", property(lambda self: value))
    with pytest.raises(TrialError, match=message):
        train(spec_of())


def test_the_last_weights_are_those_of_the_epoch_that_training_stopped_at(train, spec_of):
    sink = train(spec_of("base.train.epochs=9", "base.train.early_stopping=1", "base.optimizer.lr=1e-12"))
    assert sink.kept["last"][0] == len(sink.curve("delta_e")) < 9


def test_balanced_training_shows_rare_colours_more_often(train, spec_of, monkeypatch):
    seen = {}

    def counted(self, batch, *, epoch):
        seen.setdefault(self.spec.train.balance, []).extend(batch["colour"].tolist())
        return batch

    monkeypatch.setattr(Colorization, "augment", counted)
    train(spec_of("base.data.train_size=256"))
    train(spec_of("base.data.train_size=256", "base.train.balance=colour"))
    assert len(seen[None]) == len(seen["colour"]) == 3 * 256
    assert len(set(seen[None])) == len(set(seen["colour"]))
    counts = torch.bincount(torch.tensor(seen["colour"]))
    counts = counts[counts > 0]
    most_frequent = max(seen[None].count(colour) for colour in set(seen[None]))
    assert most_frequent > 3 * counts.max()
    assert counts.min() > 3 * 256 / len(counts) / 2


def test_pictures_that_are_not_square_train_in_every_kind_of_input(train, spec_of):
    sink = train(spec_of("base.data.size=[32, 48]", "base.data.channels=grey", "base.data.mask=binary"))
    assert len(sink.curve("delta_e")) == 3


def test_a_fold_trains_on_fewer_samples_and_validates_on_the_rest(train, spec_of):
    sink = train(spec_of("base.data.train_size=96").model_copy(update={"folds": 3, "fold": 2}))
    counts = {
        (row["split"], row["count"]) for row in sink.metrics if row["metric"] == "loss" and not row["label"]
    }
    assert counts == {("train", 64), ("validation", 32)}
    assert sink.metrics[-1]["step"] == 12
