import json
import shutil

import pytest
import torch

from harness.data.folder import Folder, FolderConfig
from harness.data.hugging_face import HuggingFace, HuggingFaceConfig
from harness.specify import specify
from harness.validation import Mistakes
from tests.support.written_pairs import SIDE, TRAINING, VALIDATION, rows_of, write_pairs

datasets = pytest.importorskip("datasets")
torch.set_num_threads(1)
BASE = {
    "model": {"name": "conditional_unet", "widths": [8, 16], "layers": 1},
    "loss": {"mse": 1.0},
    "optimizer": {"name": "adamw", "lr": 1e-3},
    "train": {"epochs": 1, "batch_size": 4},
    "perceptual_weights": "random",
}
NAMES = ["blue", "green", "red"]


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


@pytest.fixture
def root(tmp_path):
    return write_pairs(tmp_path / "pairs")


@pytest.fixture
def tables(root):
    """Return the written pairs as splits of the library, colours as labels of a class."""
    features = {
        "input": datasets.Image(),
        "target": datasets.Image(),
        "colour": datasets.ClassLabel(names=NAMES),
        "shape": datasets.Value("string"),
    }
    return datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict(
                {
                    "input": [str(root / split / "inputs" / f"{shape}.png") for shape, _ in pairs],
                    "target": [str(root / split / "outputs" / f"{c}_{shape}.png") for shape, c in pairs],
                    "colour": [NAMES.index(colour) for _, colour in pairs],
                    "shape": [shape for shape, _ in pairs],
                },
                features=datasets.Features(features),
            )
            for name, split, pairs in (
                ("train", "training", TRAINING),
                ("validation", "validation", VALIDATION),
            )
        }
    )


@pytest.fixture
def saved(tables, tmp_path):
    tables.save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def parquet(tables, tmp_path):
    folder = tmp_path / "parquet_pairs"
    folder.mkdir()
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}-00000-of-00001.parquet")
    return folder


def config(path, **settings):
    return HuggingFaceConfig(**{"path": str(path), "size": SIDE} | settings)


def refusal(path, **settings):
    data = {"name": "hugging_face", "path": str(path), "size": 32} | settings
    with pytest.raises(Mistakes) as caught:
        specify({**BASE, "data": data}, task="colorization", primary_metric="delta_e", seed=0)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["saved", "parquet"])
def test_local_files_hold_the_same_pairs_as_the_folder_that_they_were_made_of(kind, request, root, cache):
    found = config(request.getfixturevalue(kind), shape="shape")
    folder = FolderConfig(path=str(root), size=SIDE)
    assert found.content == folder.content and found.words == folder.words and found.shapes == folder.shapes
    one, other = HuggingFace(found, cache), Folder(folder, cache)
    for split, size in (("train", 9), ("validation", 2)):
        torch.testing.assert_close(
            one.split(split).batch(range(size)), other.split(split).batch(range(size)), rtol=0, atol=0
        )
    assert torch.equal(one.palette, other.palette)


def test_an_image_folder_with_columns_of_its_own_is_read(root, tmp_path):
    folder = tmp_path / "images"
    for name, split in (("train", "training"), ("validation", "validation")):
        shutil.copytree(root / split, folder / name)
        rows = [
            {
                "drawing_file_name": f"inputs/{row['input_polygon']}",
                "painting_file_name": f"outputs/{row['output_image']}",
                "word": row["colour"],
            }
            for row in rows_of(root, split)
        ]
        (folder / name / "data.json").unlink()
        (folder / name / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"input": "drawing", "target": "painting", "colour": "word"}
    found = config(folder, **columns)
    assert found.content == FolderConfig(path=str(root), size=SIDE).content
    assert found.shapes == ("diamond", "square", "triangle"), "read from the names of the files of inputs"


def test_a_data_set_of_the_hub_is_read_from_the_cache_of_this_machine(parquet, tmp_path, monkeypatch, root):
    hub = tmp_path / "hub"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(hub))
    told = refusal("somebody/parquet_pairs")
    assert (
        "no data set of this name in the cache" in told and "load_dataset('somebody/parquet_pairs')" in told
    )
    datasets.load_dataset(str(parquet), cache_dir=str(hub))
    (hub / "parquet_pairs").rename(hub / "somebody___parquet_pairs")  # as one that was fetched lies there
    found = config("somebody/parquet_pairs", shape="shape")
    assert found.content == FolderConfig(path=str(root), size=SIDE).content


def test_identity_is_the_content_and_not_where_it_lies(saved, parquet):
    def trial(path, **settings):
        data = {"name": "hugging_face", "path": str(path), "size": 32, "shape": "shape"} | settings
        return specify({**BASE, "data": data}, task="colorization", primary_metric="delta_e", seed=0)

    assert trial(saved).trial_id() == trial(parquet).trial_id()
    assert trial(saved, train_size=3).trial_id() != trial(saved).trial_id()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"training": "trian"}, "has no split 'trian'; did you mean 'train'?"),
        ({"colour": "color"}, "has no column 'color'; did you mean 'colour'?"),
        ({"input": "shape"}, "cannot be used (train row 0"),
        ({"input": "colour"}, "the column 'colour' of data set"),
    ],
)
def test_wrong_names_are_told_with_those_that_there_are(saved, settings, reason):
    assert reason in refusal(saved, **settings)


def test_a_wrong_row_is_named_and_refused_or_skipped_with_a_note(tables, tmp_path):
    table = tables["train"].cast_column("target", datasets.Image(decode=False))
    rows = table.to_list()
    rows[3]["target"], rows[5]["colour"] = {"bytes": b"no picture", "path": None}, None
    broken = datasets.Dataset.from_list(rows, features=table.features)
    datasets.DatasetDict({"train": broken, "validation": tables["validation"]}).save_to_disk(
        tmp_path / "broken"
    )
    told = refusal(tmp_path / "broken")
    assert "2 of 11 pairs" in told and "train row 3: a picture cannot be read: not a picture" in told
    assert "train row 5: the colour should be a text, got None" in told
    rest = config(tmp_path / "broken", on_error="skip")
    assert rest.train_size == 7 and "2 of 11 pairs" in rest.notes()[0]


def test_files_that_are_no_data_set_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    assert "data set" in refusal(tmp_path / "empty")
