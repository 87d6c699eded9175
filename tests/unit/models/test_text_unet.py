import json
import pickle
import shutil

import pytest
import torch
from huggingface_hub import constants
from pydantic import ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from harness.data.palette import NAMES
from harness.errors import HarnessError
from harness.models.text_encoder import embed_prompts, encoder_facts
from harness.models.text_unet import TextUNet, TextUNetConfig
from harness.needs import weights_of_suite
from harness.planning.build import build_plan
from harness.registry import registry
from harness.specify import respecify
from harness.suite import load_suite
from harness.tasks.colorization import Colorization
from harness.testing.tiny import TINY
from harness.train.trial import run_trial
from tests.support.memory_sink import MemorySink

torch.set_num_threads(1)

SIX = NAMES[:6]
SMALL_ENCODER = {
    "vocab_size": 258,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 20,
    "bos_token_id": 256,
    "eos_token_id": 257,
}
CLIP = "openai/clip-vit-base-patch32"
COMMIT = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"


def config(**settings):
    return TextUNetConfig(**({"encoder": "random", "widths": (8, 16), "head_dim": 2} | settings))


def make(seed=0, image_channels=3, class_names=SIX, **settings):
    torch.manual_seed(seed)
    return TextUNet(config(**settings), image_channels=image_channels, class_names=class_names)


def inputs(height=16, width=16, count=6, channels=3):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, height, width, generator=generator), torch.arange(count) % 6


def byte_tokenizer():
    """A tokenizer of one token a byte, with a first and a last one."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(alphabet)} | {"<s>": 256, "</s>": 257}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 256), ("</s>", 257)]
    )
    # As published tokenizers are saved: what they do to batches must not reach a single prompt.
    tokenizer.enable_padding(length=20)
    tokenizer.enable_truncation(max_length=4)
    return tokenizer


def ids_of(prompt):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return torch.tensor([[256, *(letters.index(letter) for letter in prompt.replace(" ", "Ġ")), 257]])


@pytest.fixture
def encoder(tmp_path):
    """A folder with a small text model of CLIP and its tokenizer."""
    torch.manual_seed(7)
    folder = tmp_path / "encoder"
    CLIPTextModel(CLIPTextConfig(**SMALL_ENCODER)).save_pretrained(folder)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub" / f"models--{CLIP.replace('/', '--')}"


def into_cache(repository, name, content):
    """Put a file where the hub's client keeps it: a blob, and a link to it in the snapshot."""
    blob = repository / "blobs" / f"blob-of-{name}"
    for folder in (blob.parent, repository / "refs", repository / "snapshots" / COMMIT):
        folder.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copy(content, blob)
    (repository / "snapshots" / COMMIT / name).symlink_to(f"../../blobs/{blob.name}")


def described(hub, tmp_path, settings=None):
    """Put `config.json` and `tokenizer.json` of the published CLIP's format into the cache."""
    CLIPConfig(text_config=settings or {}).save_pretrained(tmp_path / "described")
    into_cache(hub, "config.json", tmp_path / "described" / "config.json")
    byte_tokenizer().save(str(tmp_path / "tokenizer.json"))
    into_cache(hub, "tokenizer.json", tmp_path / "tokenizer.json")


def test_is_registered():
    assert registry.load("model", "text_unet") is TextUNet


@pytest.mark.parametrize(
    ("settings", "published"),
    [
        ({}, 68_148_747),
        ({"widths": (64, 128, 256), "layers": 2}, 89_723_811),
        ({"head_dim": 8}, 68_395_939),
        ({"widths": (64, 32, 64)}, 65_212_403),
    ],
)
def test_parameters_are_the_published_ones_without_weights_of_the_encoder(settings, published, hub, tmp_path):
    described(hub, tmp_path)
    with torch.device("meta"):
        model = TextUNet(TextUNetConfig(**settings), image_channels=3, class_names=NAMES)
    assert model.frozen_elsewhere == 63_165_952
    assert sum(weight.numel() for weight in model.parameters()) + model.frozen_elsewhere == published
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("prompt", ["red", "a turquoise shape"])
def test_states_are_those_of_transformers(encoder, prompt):
    theirs = CLIPTextModel.from_pretrained(encoder).eval()
    with torch.no_grad():
        expected = theirs(input_ids=ids_of(prompt)).last_hidden_state[0]
    (states,) = embed_prompts(str(encoder), [prompt])
    torch.testing.assert_close(torch.from_numpy(states), expected)


def test_states_lie_in_the_model_and_the_encoder_does_not(encoder):
    model = make(encoder=str(encoder), prompt="a {colour} shape")
    tokens, keep = model.text(torch.tensor([2, 4]))
    for number, name in enumerate((SIX[2], SIX[4])):
        (states,) = embed_prompts(str(encoder), [f"a {name} shape"])
        assert int(keep[number].sum()) == len(states) == len(name) + 8 + 2
        torch.testing.assert_close(tokens[number, : len(states)], torch.from_numpy(states))
    assert {"text.tokens", "text.keep"} <= set(model.state_dict())
    assert not any("encoder." in name for name in model.state_dict())
    assert model.frozen_elsewhere == encoder_facts(str(encoder)).parameters


def test_a_model_of_text_and_pictures_is_read_from_the_cache_of_the_hub(hub, tmp_path):
    """Under the names that the published file has, which holds the network for pictures, too."""
    torch.manual_seed(3)
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    whole = CLIPModel(CLIPConfig(text_config=SMALL_ENCODER, vision_config=vision)).eval()
    described(hub, tmp_path, SMALL_ENCODER)
    published = {
        f"text_model.{name.removeprefix('text_model.')}": weight
        for name, weight in whole.text_model.state_dict().items()
    }
    published["text_model.embeddings.position_ids"] = torch.arange(20)[None]
    published["vision_model.embeddings.class_embedding"] = torch.ones(8)
    published["text_projection.weight"] = whole.text_projection.weight.detach()
    torch.save(published, tmp_path / "pytorch_model.bin")
    into_cache(hub, "pytorch_model.bin", tmp_path / "pytorch_model.bin")
    with torch.no_grad():
        expected = whole.text_model(input_ids=ids_of("navy")).last_hidden_state[0]
    (states,) = embed_prompts(CLIP, ["navy"])
    torch.testing.assert_close(torch.from_numpy(states), expected)
    assert [file.present() for file in TextUNetConfig().needed_weights()] == [True] * 3


def test_an_encoder_without_a_decoder_is_taken_from_one_with_both(tmp_path):
    settings = {"vocab_size": 258, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    folder = tmp_path / "t5"
    model = T5EncoderModel(T5Config(**settings)).eval()
    model.save_pretrained(folder)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    with torch.no_grad():
        expected = model(input_ids=ids_of("lime")).last_hidden_state[0]
    (states,) = embed_prompts(str(folder), ["lime"])
    torch.testing.assert_close(torch.from_numpy(states), expected)


def test_each_prompt_is_embedded_once_and_kept_on_disk(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "text"
    make(encoder=str(encoder), class_names=["red", "blue", "red"])
    written = {path: path.stat().st_mtime_ns for path in kept.glob("*/tokens.npy")}
    assert len(written) == 2
    make(encoder=str(encoder), class_names=["blue", "green"])
    now = {path: path.stat().st_mtime_ns for path in kept.glob("*/tokens.npy")}
    assert len(now) == 3
    assert written.items() <= now.items()


def test_weights_are_drawn_alike_whether_the_prompts_were_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    first, again, other = make(seed=4), make(seed=4), make(seed=5)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert not torch.equal(first.unet.conv_in.weight, other.unet.conv_in.weight)


def test_the_random_encoder_stays_the_same_and_tells_prompts_apart():
    states = embed_prompts("random", ["red", "tan"])
    assert [state.shape for state in states] == [(5, 64), (5, 64)]
    assert states[0][-1, :3].tolist() == pytest.approx([0.644685, -0.398106, 0.955973], abs=1e-4)
    names = embed_prompts("random", list(NAMES))
    last = nn.functional.normalize(torch.stack([torch.from_numpy(state[-1]) for state in names]), dim=1)
    assert (last @ last.T - torch.eye(24)).max() < 0.95


def test_a_trained_model_is_built_from_its_weights_where_there_is_no_encoder(encoder, tmp_path, monkeypatch):
    settings = config(encoder=str(encoder))
    model = make(encoder=str(encoder)).eval()
    written = settings.trained().model_dump_json()
    shutil.rmtree(encoder)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "nothing"))
    read = TextUNetConfig.model_validate_json(written)
    assert read.needed_weights() == ()
    rebuilt = TextUNet(read, image_channels=3, class_names=SIX).eval()
    assert rebuilt.frozen_elsewhere == model.frozen_elsewhere
    image, colour = inputs()
    assert rebuilt(image, colour).isnan().all()
    rebuilt.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(rebuilt(image, colour), model(image, colour))
    fewer = TextUNet(read, image_channels=3, class_names=SIX[:5])
    with pytest.raises(RuntimeError, match=r"size mismatch for text\.tokens"):
        fewer.load_state_dict(model.state_dict(), strict=True)


@pytest.mark.parametrize("size", [(2, 2), (7, 18), (16, 16), (33, 31)])
@pytest.mark.parametrize("self_attention", [False, True])
def test_every_size_keeps_its_size(size, self_attention):
    image, colour = inputs(*size)
    assert config().check(*size) is None
    picture = make(self_attention=self_attention)(image, colour)
    assert picture.shape == (6, 3, *size)
    assert 0 <= picture.min() <= picture.max() <= 1


def test_too_small_pictures_are_refused():
    assert config(widths=(8, 16, 32)).check(16, 3) == (
        "3 widths halve a picture 2 times, and 16x3 pixels are too few for that; use size 4 at least"
    )


def test_the_class_changes_the_picture_and_linear_leaves_its_range():
    model = make(output="linear").eval()
    image, _ = inputs(count=1)
    pictures = [model(image, torch.tensor([colour])) for colour in range(6)]
    for one in range(6):
        for other in range(one):
            assert (pictures[one] - pictures[other]).abs().max() > 1e-3
    nn.init.constant_(model.unet.conv_out.bias, 3.0)
    assert model(image, torch.tensor([0])).max() > 2


@pytest.mark.parametrize("self_attention", [False, True])
def test_what_fills_up_a_short_prompt_is_never_read(self_attention):
    """`red` is painted the same whether a longer name stands beside it or not."""
    image, _ = inputs(count=1)
    label = torch.tensor([1])
    short = make(class_names=["tan", "red"], self_attention=self_attention)
    long = make(class_names=["tan", "red", "turquoise"], self_attention=self_attention)
    torch.testing.assert_close(long(image, label), short(image, label))
    long.text.tokens[1, 5:] = 100.0
    torch.testing.assert_close(long(image, label), short(image, label))
    long.text.tokens[1, 4] = 100.0
    assert (long(image, label) - short(image, label)).abs().max() > 1e-3


@pytest.mark.parametrize("self_attention", [False, True])
def test_training_repeats_and_reaches_every_parameter(self_attention):
    def gradient():
        model = make(self_attention=self_attention).to(memory_format=torch.channels_last)
        image, colour = inputs()
        picture = model(image.contiguous(memory_format=torch.channels_last), colour)
        (picture - image).square().mean().backward()
        assert all(weight.grad.abs().sum() > 0 for weight in model.parameters())
        return torch.cat([weight.grad.flatten() for weight in model.parameters()])

    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(gradient(), gradient())
    finally:
        torch.use_deterministic_algorithms(False)


def test_channels_last_gives_the_same_picture():
    model = make().eval()
    image, colour = inputs()
    expected = model(image, colour)
    model = model.to(memory_format=torch.channels_last)
    actual = model(image.contiguous(memory_format=torch.channels_last), colour)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_trains_under_bf16_autocast():
    model = make()
    image, colour = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        picture = model(image, colour)
    picture.float().square().mean().backward()
    assert (picture.float() - make()(image, colour)).abs().max() < 0.05
    assert all(weight.grad.dtype == torch.float32 for weight in model.parameters())
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


def test_learns_to_paint_the_named_colour():
    model = make(class_names=["red", "blue"], widths=(8, 8), head_dim=1)
    image, colour = torch.full((8, 3, 8, 8), 0.5), torch.arange(8) % 2
    target = torch.stack([torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9])])[colour]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        loss = (model(image, colour) - target[:, :, None, None]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": "a {color} shape"}, r"a prompt holds \{colour\}, which stands for the name of the class"),
        ({"widths": (12, 20), "groups": 8}, "groups 8 must divide every width, and does not divide 12"),
        ({"widths": (64, 8), "head_dim": 12}, "12 is more than the 8 channels .* use 8 at most"),
        ({"encoder": "./nowhere"}, "and there is no folder .*nowhere"),
        ({"encoder": "randm"}, "there is no folder .*; did you mean 'random'"),
        ({"encoder_sha256": "0" * 64}, "encoder_sha256 has no effect with 'random'"),
        ({"encoder_width": 4}, "filled in together"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        config(**settings)


@pytest.mark.parametrize(
    ("widths", "groups"), [((32, 64, 128), 32), ((64, 32, 64), 32), ((12, 20), 4), ((7,), 1)]
)
def test_groups_are_the_largest_power_of_two_up_to_32_that_divides(widths, groups):
    settings = config(widths=widths)
    assert settings.effective_groups == groups
    assert settings.model_dump()["groups"] is None
    with torch.device("meta"):
        model = TextUNet(settings, image_channels=3, class_names=SIX)
    assert model.unet.conv_norm_out.num_groups == groups


def test_a_folder_that_is_not_whole_is_refused(encoder):
    (encoder / "tokenizer.json").unlink()
    (encoder / "model.safetensors").unlink()
    with pytest.raises(ValidationError, match=r"encoder lacks tokenizer\.json and model\.safetensors"):
        config(encoder=str(encoder))


def test_weights_of_another_network_are_refused(encoder):
    wider = CLIPTextModel(CLIPTextConfig(**(SMALL_ENCODER | {"intermediate_size": 40})))
    torch.save({"something": torch.ones(2)}, encoder / "pytorch_model.bin")
    (encoder / "model.safetensors").unlink()
    with pytest.raises(HarnessError, match=r"pytorch_model\.bin does not hold the weights of CLIPTextModel"):
        make(encoder=str(encoder))
    torch.save(wider.state_dict(), encoder / "pytorch_model.bin")
    with pytest.raises(
        HarnessError, match=r"pytorch_model\.bin (cannot be read as|does not hold) the weights"
    ):
        make(encoder=str(encoder))


class Harmful:
    def __reduce__(self):
        return (print, ("executed",))


def test_code_in_a_file_of_weights_is_not_executed(encoder, capfd):
    (encoder / "model.safetensors").unlink()
    (encoder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Harmful()}))
    with pytest.raises(HarnessError, match=r"pytorch_model\.bin cannot be read as the weights"):
        make(encoder=str(encoder))
    assert "executed" not in capfd.readouterr().out


def test_a_tokenizer_that_cannot_be_read_is_refused(encoder):
    (encoder / "tokenizer.json").write_text("{}")
    with pytest.raises(HarnessError, match=r"tokenizer\.json holds no tokenizer that can be read"):
        make(encoder=str(encoder))


def test_a_config_of_no_text_model_is_refused(encoder):
    (encoder / "config.json").write_text(json.dumps({"model_type": "unheard_of"}))
    with pytest.raises(HarnessError, match=r"config\.json describes no text model that transformers has"):
        make(encoder=str(encoder))


def test_a_prompt_that_is_too_long_is_refused(encoder):
    with pytest.raises(HarnessError, match=r"has 22 tokens, and the text encoder .* takes 20 at most"):
        make(encoder=str(encoder), prompt="the colour of {colour}", class_names=["teal!!"])


def test_what_is_missing_of_a_published_encoder_is_told_with_the_way_to_it(hub):
    with pytest.raises(HarnessError) as raised:
        make(encoder=CLIP)
    expected = hub / "snapshots" / "main" / "config.json"
    assert f"text encoder {CLIP} needs {expected}, which is not there; `harness weights SUITE" in str(
        raised.value
    )
    assert f"hf download {CLIP} config.json" in str(raised.value)


def suite_of(write_suite, model, *overrides):
    path = write_suite(TINY)
    return load_suite(path, overrides=[f"base.model={model}", "base.perceptual_weights=random", *overrides])


def spec_of(write_suite, model, *overrides):
    plan = build_plan(suite_of(write_suite, model, *overrides))
    return respecify(plan.trial("mse", 0).spec)


def test_the_files_of_a_published_encoder_are_needed_weights(write_suite, hub, tmp_path):
    overrides = ["base.model={name: text_unet}", "base.perceptual_weights=random"]
    needs = weights_of_suite(write_suite(TINY), overrides=overrides)
    names = ["config.json", "tokenizer.json", "model.safetensors"]
    assert [need.file.path.name for need in needs] == names
    assert {need.used_by for need in needs} == {("model",)}
    assert (
        "hf download openai/clip-vit-base-patch32 model.safetensors (or pytorch_model.bin);"
        in needs[2].file.way
    )
    described(hub, tmp_path)
    assert [need.file.present() for need in weights_of_suite(write_suite(TINY), overrides=overrides)] == [
        *(True, True, False)
    ]


def test_identity_names_the_files_of_a_folder_and_not_its_place(write_suite, encoder, tmp_path):
    def planned(folder):
        return spec_of(write_suite, f"{{name: text_unet, widths: [8], head_dim: 2, encoder: {folder}}}")

    here = planned(encoder)
    moved = shutil.copytree(encoder, tmp_path / "moved")
    assert planned(moved).trial_id() == here.trial_id()
    assert planned(moved).model.encoder == str(moved)
    tokenizer = moved / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    assert planned(moved).trial_id() != here.trial_id()
    with pytest.raises(ValidationError, match="has changed: expected"):
        TextUNetConfig(**here.model.model_dump() | {"encoder": str(moved)})


def test_a_trial_trains_and_counts_the_encoder_among_its_parameters(write_suite, cache, tmp_path):
    model = "{name: text_unet, encoder: random, widths: [8, 16], head_dim: 2}"
    spec = spec_of(write_suite, model, "base.train.epochs=2", "base.train.ema=0.9")
    sink = MemorySink(tmp_path / "attempt")
    run_trial(spec, sink, cache=cache, threads=1)
    trainable = sum(weight.numel() for weight in make().parameters())
    assert sink.facts["trainable_parameters"] == trainable
    assert sink.facts["parameters"] == trainable + encoder_facts("random").parameters
    assert sink.curve("loss", "train")[-1] < sink.curve("loss", "train")[0]


@pytest.mark.parametrize(
    "model", ["{name: text_unet, encoder: random, widths: [8]}", "{name: conditional_unet}"]
)
@pytest.mark.parametrize(("mask", "channels"), [("binary", 4), ("rgb", 6)])
def test_the_first_convolution_reads_picture_and_mask(write_suite, model, mask, channels):
    model = model.replace("widths: [8]", "widths: [8], head_dim: 2")
    spec = spec_of(write_suite, model, f"base.data.mask={mask}")
    with torch.device("meta"):
        made = Colorization.make_model(spec)
    first = next(layer for layer in made.modules() if isinstance(layer, nn.Conv2d))
    assert first.in_channels == channels
