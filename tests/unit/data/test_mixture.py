import json
import pickle

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from harness.data.labels import label_names
from harness.data.mixture import Mixture, MixtureConfig
from harness.registry import registry
from harness.specify import respecify, specify
from harness.train.trial import run_trial
from harness.validation import Mistakes
from tests.support.memory_sink import MemorySink
from tests.support.written_pairs import write_pairs

torch.set_num_threads(1)
BASE = {
    "model": {"name": "conditional_unet", "widths": [8, 16], "layers": 1},
    "loss": {"mse": 1.0},
    "optimizer": {"name": "adamw", "lr": 1e-3},
    "train": {"epochs": 1, "batch_size": 8},
    "perceptual_weights": "random",
}
POLYGONS = {"name": "polygons", "train_size": 40, "validation_size": 24}
PLUGIN = """\
from harness.data.polygons import Polygons, PolygonsConfig

class Config(PolygonsConfig):
    name: str = "mixture_plugin:Own"

class Own(Polygons):
    Config = Config
"""


@pytest.fixture
def root(tmp_path):
    return write_pairs(tmp_path / "pairs")


@pytest.fixture
def sources(root):
    return [POLYGONS, {"name": "folder", "path": str(root)}]


def spec(sources, **settings):
    data = {"name": "mixture", "size": 32, "sources": sources} | settings
    return specify({**BASE, "data": data}, task="colorization", primary_metric="delta_e", seed=0)


def made(cache, sources, **settings):
    config = spec(sources, **settings).data
    return Mixture(config, cache), [registry.load("data", one.name)(one, cache) for one in config.sources]


def test_every_sample_is_one_of_its_source_under_merged_labels(cache, sources):
    mixture, parts = made(cache, sources, train_size=60)
    names = label_names(mixture, mixture.config)
    assert names["source"] == ("polygons", "folder") and set(names) == {"colour", "shape", "source"}
    assert names["colour"][:2] == ("blue", "red") and len(names["colour"]) == 24
    assert names["shape"][-1] == "diamond" and len(names["shape"]) == 10
    batch = mixture.split("train").batch(range(60))
    count = [0, 0]
    for row, source in enumerate(batch["source"].tolist()):
        split = parts[source].split("train")
        own = split.batch([count[source] % len(split)])
        count[source] += 1
        for key in ("image", "target", "mask"):
            assert torch.equal(batch[key][row], own[key][0])
        for kind in ("colour", "shape"):
            own_names = label_names(parts[source], mixture.config.sources[source])[kind]
            assert names[kind][batch[kind][row]] == own_names[own[kind][0]]
        assert source == 0 or not batch["other"][row].any()
    assert min(count) > 9, "the smaller source came up more often than it has pictures"
    assert batch["index"].tolist() == list(range(60))


def test_a_sample_depends_on_its_index_and_the_seed_alone(cache, sources):
    small, large = (made(cache, sources, train_size=size)[0].split("train") for size in (50, 80))
    torch.testing.assert_close(large.batch(range(50)), small.batch(range(50)), rtol=0, atol=0)
    some, whole = large.batch([31, 4, 77]), large.batch(range(80))
    for key, value in some.items():
        assert torch.equal(value, whole[key][[31, 4, 77]]), key
    from_folder = np.flatnonzero(whole["source"].numpy() == 1)[:2]
    assert set(large.batch(from_folder)) == set(whole), "also where no sample is of a source with `other`"
    other = made(cache, sources, train_size=80, seed=1)[0].split("train").batch(range(80))
    assert not torch.equal(other["source"], whole["source"])


@pytest.mark.parametrize(("weights", "share"), [(None, 0.5), ([1, 3], 0.75), ([0.2, 0.1], 1 / 3)])
def test_sources_are_as_frequent_as_their_weights(cache, sources, weights, share):
    settings = {} if weights is None else {"weights": weights}
    source = made(cache, sources, train_size=3000, **settings)[0].split("train").batch(range(3000))["source"]
    assert binomtest(int(source.sum()), 3000, share).pvalue > 0.001


def test_sizes_are_those_of_the_sources_together_where_nothing_is_said(sources):
    data = spec(sources).data
    assert (data.train_size, data.validation_size) == (49, 26)
    assert spec(sources, train_size=49).trial_id() == spec(sources).trial_id()
    first = spec(sources, validation="first").data
    assert (first.train_size, first.validation_size) == (49, 24)


def test_validation_is_of_all_sources_in_turn_or_of_the_first(cache, sources):
    mixture, parts = made(cache, sources)
    batch = mixture.split("validation").batch(range(26))
    assert batch["source"].tolist().count(1) == 2
    assert 1 in batch["source"][:13].tolist() and 1 in batch["source"][13:].tolist()
    first = made(cache, sources, validation="first")[0].split("validation")
    own = parts[0].split("validation").batch(range(24))
    assert torch.equal(first.batch(range(24))["target"], own["target"]) and len(first) == 24


def test_colours_are_those_of_the_first_source_that_has_them(cache, sources):
    mixture, parts = made(cache, sources)
    assert torch.equal(mixture.palette, parts[0].palette)
    turned, _ = made(cache, sources[::-1])
    assert (turned.palette[:3] * 255).tolist() == [[0, 0, 255], [0, 255, 0], [255, 0, 0]]
    assert len(turned.palette) == 24


def test_splits_are_carried_to_other_processes(cache, sources):
    split = made(cache, sources)[0].split("train")
    again = pickle.loads(pickle.dumps(split))
    torch.testing.assert_close(again.batch(range(20)), split.batch(range(20)), rtol=0, atol=0)


def test_a_specification_comes_back_from_what_a_plan_keeps(cache, sources, root):
    planned = spec(sources, weights=[2, 1])
    again = respecify(json.loads(planned.model_dump_json()))
    assert again.trial_id() == planned.trial_id() and again.data.sources[1].path == str(root)
    assert "path" not in planned.identity()["data"]["sources"][1]
    assert spec(sources, weights=[2, 2]).trial_id() != planned.trial_id()


@pytest.mark.parametrize(
    ("sources", "settings", "path", "message"),
    [
        ([{"name": "polygon"}], {}, ("data", "sources", 0, "name"), "did you mean 'polygons'"),
        (
            [POLYGONS, {"name": "polygons", "overlap": 2}],
            {},
            ("data", "sources", 1, "overlap"),
            "less than or",
        ),
        ([{"name": "polygons", "train_siz": 3}], {}, ("data", "sources", 0, "train_siz"), "'train_size'"),
        ([{"size": 32}], {}, ("data", "sources", 0), "'name' is missing"),
        ([POLYGONS | {"size": 64}], {}, ("data",), "source 1 has the size (64, 64), the mixture (32, 32)"),
        ([POLYGONS, POLYGONS | {"mask": "rgb"}], {}, ("data",), "source 2 has 6 channels"),
        ([POLYGONS, POLYGONS], {"weights": [1]}, ("data",), "2 sources need as many weights, got 1"),
        ([POLYGONS, POLYGONS], {"weights": [1, 0]}, ("data",), "should be greater than 0"),
    ],
)
def test_what_is_wrong_with_a_source_is_told_at_its_place(sources, settings, path, message):
    with pytest.raises(Mistakes) as caught:
        spec(sources, **settings)
    assert [mistake.path for mistake in caught.value.mistakes] == [path]
    assert message in caught.value.mistakes[0].message


def test_two_sources_of_a_kind_have_names_of_their_own():
    config = MixtureConfig(size=32, sources=[POLYGONS, POLYGONS | {"seed": 1}])
    assert config.names() == ("polygons_1", "polygons_2")


def test_notes_of_the_sources_are_those_of_the_mixture(root, sources):
    (root / "training/outputs/red_square.png").unlink()
    notes = spec([sources[0], sources[1] | {"on_error": "skip"}]).data.notes()
    assert len(notes) == 1 and "1 of 11 pairs" in notes[0]


def test_a_source_of_ones_own_is_part_of_the_identity(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mixture_plugin.py").write_text(PLUGIN)
    found = spec([POLYGONS, {"name": "mixture_plugin:Own", "train_size": 8, "validation_size": 8}])
    assert list(found.plugins) == ["mixture_plugin:Own"]


def test_a_trial_trains_on_a_mixture(cache, sources, tmp_path):
    sink = MemorySink(tmp_path)
    run_trial(spec(sources), sink, cache=cache, threads=1)
    labels = {row["label"] for row in sink.metrics if row["metric"] == "delta_e"}
    assert {"source=polygons", "source=folder", "colour=red"} <= labels
    assert np.isfinite([row["value"] for row in sink.metrics if row["metric"] == "delta_e"]).all()
