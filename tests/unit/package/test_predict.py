"""Predicting from an exported folder: input, output, lists, latency."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import harness
from harness import cli
from harness.errors import HarnessError
from harness.models.conditional_unet import ConditionalUNet, ConditionalUNetConfig
from harness.package.pictures import picture_of
from harness.package.predict import Request, predict_all, read_requests
from tests.support.packages import COLOURS, MODEL, outlined_square, pixels, write_package


@pytest.fixture
def folder(tmp_path):
    write_package(tmp_path / "model")
    return tmp_path / "model"


def by_hand(folder, image, number):
    """Return what the model of a folder paints, uint8 [H, W, 3], without the code under test."""
    model = ConditionalUNet(
        ConditionalUNetConfig(**MODEL), image_channels=image.shape[1], class_names=COLOURS
    )
    model.load_state_dict(load_file(folder / "model.safetensors"))
    with torch.no_grad():
        output = model.eval()(torch.from_numpy(image), torch.tensor([number]))
    return (output[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def test_a_picture_is_scaled_to_1_and_painted_in_the_colour_asked_for(folder, tmp_path):
    shape = outlined_square(tmp_path / "shape.png")
    image = pixels(shape).transpose(2, 0, 1)[None].astype(np.float32) / 255
    for number, colour in enumerate(COLOURS):
        out = tmp_path / "out" / f"{number}.png"
        found = harness.predict(folder, shape, colour, out=out)
        expected = by_hand(folder, image, number)
        assert np.abs(pixels(out).astype(int) - expected).max() <= 1  # rounding of a last digit
        assert (np.asarray(found.picture) == pixels(out)).all()
    assert (pixels(tmp_path / "out" / "0.png") != pixels(tmp_path / "out" / "1.png")).any()


def test_mask_channels_are_derived_and_follow_the_picture(tmp_path):
    write_package(tmp_path / "model", mask="rgb")
    shape = outlined_square(tmp_path / "shape.png")
    image = np.zeros((1, 6, 32, 40), np.float32)
    image[0, :3] = pixels(shape).transpose(2, 0, 1) / 255
    image[0, 3, 9:23, 9:23] = 1
    image[0, 4, 7:25, 7:25] = 1
    image[0, 4, 9:23, 9:23] = 0
    found = harness.predict(tmp_path / "model", shape, "red")
    expected = by_hand(tmp_path / "model", image, 0)
    assert np.abs(np.asarray(found.picture).astype(int) - expected).max() <= 1


def test_a_grey_model_is_given_the_luminance(tmp_path):
    write_package(tmp_path / "model", image_channels=1, preprocessing={"picture": "grey", "mask": "none"})
    torch.manual_seed(1)
    model = ConditionalUNet(ConditionalUNetConfig(**MODEL), image_channels=1, class_names=COLOURS)
    from safetensors.torch import save_file

    from harness.package.contents import file_hash
    from tests.support.packages import change_config

    save_file(model.state_dict(), tmp_path / "model" / "model.safetensors")
    change_config(tmp_path / "model", weights_sha256=file_hash(tmp_path / "model" / "model.safetensors"))
    shape = tmp_path / "shape.png"
    Image.new("RGB", (40, 32), (10, 200, 90)).save(shape)
    level = round(0.299 * 10 + 0.587 * 200 + 0.114 * 90) / 255
    found = harness.predict(tmp_path / "model", shape, "blue")
    expected = by_hand(tmp_path / "model", np.full((1, 1, 32, 40), level, np.float32), 1)
    assert np.abs(np.asarray(found.picture).astype(int) - expected).max() <= 1


def test_the_same_picture_comes_out_alone_in_company_and_on_any_number_of_threads(folder, tmp_path):
    shapes = [outlined_square(tmp_path / f"{level}.png", paper=level) for level in (255, 200, 160)]
    alone = np.asarray(harness.predict(folder, shapes[1], "red").picture)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        predict_all(folder, [Request(one, "red", tmp_path / "o" / one.name) for one in shapes])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert (pixels(tmp_path / "o" / shapes[1].name) == alone).all()


def test_another_size_is_resized_and_said(folder, tmp_path):
    shape = outlined_square(tmp_path / "shape.png", size=(96, 60))
    found = harness.predict(folder, shape, "red")
    assert found.picture.size == (40, 32)
    assert found.notes == ("resized from 96x60 to 32x40 (height x width)",)


def test_capitals_and_spaces_around_a_colour_do_not_count(folder, tmp_path):
    shape = outlined_square(tmp_path / "shape.png")
    one, other = (harness.predict(folder, shape, name).picture for name in ("Sky Blue", " sky blue "))
    assert (np.asarray(one) == np.asarray(other)).all()


def test_transparency_is_laid_on_white(folder, tmp_path):
    solid = outlined_square(tmp_path / "solid.png")
    clear = Image.open(solid).convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(pixels(solid).min(axis=2) == 255, 0, 255).astype(np.uint8)))
    clear.save(tmp_path / "clear.png")
    one, other = (
        harness.predict(folder, tmp_path / name, "red").picture for name in ("solid.png", "clear.png")
    )
    assert (np.asarray(one) == np.asarray(other)).all()


def test_every_pass_that_is_asked_for_is_timed(folder, tmp_path):
    found = harness.predict(folder, outlined_square(tmp_path / "a.png"), "red", repeat=7)
    assert len(found.latencies) == 7
    assert 0 < found.latency < 5
    assert found.latency == sorted(found.latencies)[3]


def test_a_model_of_bf16_computes_in_bf16(tmp_path):
    write_package(tmp_path / "fp32")
    write_package(tmp_path / "bf16", precision="bf16")
    shape = outlined_square(tmp_path / "a.png")
    one, other = (
        np.asarray(harness.predict(tmp_path / name, shape, "red").picture).astype(int)
        for name in ("fp32", "bf16")
    )
    assert 0 < np.abs(one - other).max() < 8


# requests


def test_everything_that_is_wrong_is_told_at_once_and_nothing_is_written(folder, tmp_path):
    good = outlined_square(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("no picture")
    requests = [
        Request(good, "red", tmp_path / "out" / "1.png"),
        Request(good, "bleu", tmp_path / "out" / "2.png"),
        Request(tmp_path / "absent.png", "red", tmp_path / "out" / "3.png"),
        Request(tmp_path / "text.png", "red", tmp_path / "out" / "4.png"),
    ]
    with pytest.raises(HarnessError) as error:
        predict_all(folder, requests)
    assert str(error.value).splitlines() == [
        "the model does not know the colour 'bleu'; did you mean 'blue'?",
        f"no picture {tmp_path / 'absent.png'}",
        f"{tmp_path / 'text.png'} is no picture; expected PNG, JPEG, WEBP, BMP, TIFF, GIF",
        "nothing was predicted",
    ]
    assert not (tmp_path / "out").exists()


def test_a_list_is_read_from_csv_and_from_json_alike(tmp_path):
    csv, listed = tmp_path / "a.csv", tmp_path / "a.json"
    csv.write_text("shape,color,out\na.png,red,\nb/c.png,Sky Blue,deep/d.png\n")
    listed.write_text(
        json.dumps(
            [
                {"shape": "a.png", "colour": "red"},
                {"shape": "b/c.png", "color": "Sky Blue", "out": "deep/d.png"},
            ]
        )
    )
    to = tmp_path / "out"
    expected = [
        Request(tmp_path / "a.png", "red", to / "a-red.png"),
        Request(tmp_path / "b" / "c.png", "Sky Blue", to / "deep" / "d.png"),
    ]
    assert read_requests(csv, to) == expected
    assert read_requests(listed, to) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "shape,color,size\na.png,red,3\n", "row 1: no column 'size'; known are shape, color, out"),
        ("a.csv", "shape,color\na.png,\n", "row 1: 'color' is missing"),
        ("a.csv", "shape,color,out\na.png,red,../x.png\n", "row 1: 'out' is '../x.png'"),
        ("a.csv", "shape,color,out\na.png,red,/tmp/x.png\n", "row 1: 'out' is '/tmp/x.png'"),
        ("a.csv", "shape,color,out\na.png,red,x.sh\n", "expected a name that ends in .png"),
        ("a.csv", "shape,color\na.png,red\nb/a.png,red\n", "would both be written to"),
        ("a.csv", "shape,color\n", "holds 0 rows, expected 1 to 100,000"),
        ("a.csv", "shape,color\n\x00\xff", "is no CSV in UTF-8"),
        ("a.json", "{}", "holds no list; expected objects with the keys shape, color, out"),
        ("a.json", "[3]", "row 1: expected an object"),
        ("a.json", "[" * 100_000, "is no JSON"),
    ],
)
def test_a_wrong_list_is_refused_with_its_row(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(HarnessError) as error:
        read_requests(tmp_path / name, tmp_path / "out")
    assert message in str(error.value)


# the command


def command(capsys, monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["harness", *map(str, words)])
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    return code, capsys.readouterr()


def test_the_command_prints_one_json_document_with_latencies(folder, tmp_path, capsys, monkeypatch):
    shapes = [outlined_square(tmp_path / f"{name}.png") for name in "ab"]
    words = ["--shape", shapes[0], "--shape", shapes[1], "--color", "red", "--to", tmp_path / "out"]
    code, said = command(capsys, monkeypatch, "predict", folder, *words, "--repeat", 3, "--json")
    document = json.loads(said.out)
    assert code == 0
    assert [one["out"] for one in document["pictures"]] == [
        str(tmp_path / "out" / f"{name}-red.png") for name in "ab"
    ]
    assert document["latency_ms"]["passes"] == 6
    assert 0 < document["latency_ms"]["p50"] <= document["latency_ms"]["p95"]
    assert all((tmp_path / "out" / f"{name}-red.png").is_file() for name in "ab")


@pytest.mark.parametrize(
    "words",
    [
        ["--shape", "a.png"],
        ["--shape", "a.png", "--color", "red"],
        ["--shape", "a.png", "--color", "red", "-o", "b.png", "--to", "x"],
        ["--shape", "a.png", "--shape", "b.png", "--color", "red", "-o", "b.png"],
        ["--batch", "a.csv"],
        ["--batch", "a.csv", "--to", "x", "--color", "red"],
    ],
)
def test_a_command_that_is_half_or_double_tells_the_three_forms(folder, capsys, monkeypatch, words):
    code, said = command(capsys, monkeypatch, "predict", folder, *words)
    assert code == 2
    assert "--shape IMG --color NAME -o OUT.png" in said.err


def test_values_beyond_black_and_white_are_cut_off():
    output = np.broadcast_to(np.array([7.0, -7.0, 0.5])[:, None, None], (3, 2, 2))
    assert np.asarray(picture_of(output))[0, 0].tolist() == [255, 0, 128]
