import hashlib

import pytest
import timm
import torch
from huggingface_hub import constants
from pydantic import ValidationError
from safetensors.torch import save_file
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from harness.data.palette import NAMES
from harness.errors import HarnessError
from harness.models.backbone import Backbone, backbone_facts
from harness.models.backbone_head import BackboneHead, BackboneHeadConfig
from harness.registry import registry

torch.set_num_threads(1)

SIX = NAMES[:6]
HEADS = ["linear", "conv", "upernet"]
BACKBONES = {"test_vit": 16, "test_convnext": 32, "test_resnet": 32}
NOT_DETERMINISTIC_ON_CUDA = (
    "upsample_bilinear",
    "upsample_bicubic",
    "adaptive_avg_pool",
    "grid_sampler",
    "reflection",
)


def config(head="conv", backbone="test_vit", **settings):
    inner = {} if head == "linear" else {"head_width": 8}
    return BackboneHeadConfig(**({"backbone": backbone, "head": head, "embedding": 5} | inner | settings))


def make(seed=0, image_channels=3, class_names=SIX, **settings):
    torch.manual_seed(seed)
    return BackboneHead(config(**settings), image_channels=image_channels, class_names=class_names)


def inputs(height=32, width=32, count=4, channels=3):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, height, width, generator=generator), torch.arange(count) % 6


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_is_registered():
    assert registry.load("model", "backbone_head") is BackboneHead


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_picture_has_the_size_of_the_input(head, backbone, size):
    image, colour = inputs(*size)
    picture = make(head=head, backbone=backbone)(image, colour)
    assert picture.shape == (4, 3, *size)
    assert picture.min() >= 0 and picture.max() <= 1


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", ["test_convnext", "test_resnet"])
@pytest.mark.parametrize("size", [(33, 70), (20, 45)])
def test_convolutional_backbones_take_every_size(head, backbone, size):
    assert config(backbone=backbone).check(*size) is None
    image, colour = inputs(*size)
    assert make(head=head, backbone=backbone)(image, colour).shape == (4, 3, *size)


@pytest.mark.parametrize("backbone", ["vit_small_patch14_dinov2", "vit_base_patch14_reg4_dinov2"])
def test_dinov2_takes_small_oblong_pictures(backbone):
    settings = config(backbone=backbone, head="upernet")
    assert settings.check(28, 42) is None
    with torch.device("meta"):
        model = BackboneHead(settings, image_channels=3, class_names=SIX)
        assert model(torch.empty(2, 3, 28, 42), torch.zeros(2, dtype=torch.int64)).shape == (2, 3, 28, 42)


def test_dinov2_computes_what_timm_does():
    """Also where its position embeddings are resized, which the backbone does in its own way."""
    torch.manual_seed(0)
    ours = Backbone("vit_small_patch14_dinov2", image_channels=3, maps=1).eval()
    torch.manual_seed(0)
    theirs = timm.create_model("vit_small_patch14_dinov2", num_classes=0, dynamic_img_size=True).eval()
    image, _ = inputs(28, 42, count=1)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        tokens = theirs.forward_features((image - mean[:, None, None]) / deviation[:, None, None])[:, 1:]
        actual = ours(image)[-1]
    torch.testing.assert_close(actual, tokens.transpose(1, 2).reshape(1, 384, 2, 3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("backbone", "patch", "strides"),
    [
        ("vit_small_patch14_dinov2", 14, (14, 14, 14, 14)),
        ("test_vit", 16, (16, 16, 16, 16)),
        ("resnet18", None, (4, 8, 16, 32)),
        ("convnext_tiny", None, (4, 8, 16, 32)),
    ],
)
def test_facts_of_a_backbone(backbone, patch, strides):
    facts = backbone_facts(backbone)
    assert (facts.patch, facts.strides) == (patch, strides)


def test_a_plain_transformer_gives_maps_from_evenly_spaced_blocks():
    assert backbone_facts("vit_small_patch14_dinov2").stages == (2, 5, 8, 11)


# One linear map from 64 channels to the pixels of a 16 x 16 patch; FiLM of 64 channels; class vectors.
PAINT = {"linear": 64 * 768 + 768, "conv": 8 * 768 + 768, "upernet": 8 * 768 + 768}
FILM = 6 * 5 + (5 + 1) * 2 * 64


@pytest.mark.parametrize(
    ("head", "settings", "count"),
    [
        ("linear", {}, 0),
        ("conv", {}, (64 * 8 * 9 + 16) + (8 * 8 * 9 + 16)),
        ("conv", {"norm": "group", "groups": 2}, (64 * 8 * 9 + 16) + (8 * 8 * 9 + 16)),
        ("conv", {"head_width": 4}, (64 * 4 * 9 + 8) + (4 * 4 * 9 + 8)),
        (
            "upernet",
            {},
            # Four pooled, their fusion, three lateral and three smoothing layers, the fusion of four.
            4 * (64 * 8 + 16)
            + ((64 + 4 * 8) * 8 * 9 + 16)
            + 3 * (64 * 8 + 16)
            + 3 * (8 * 8 * 9 + 16)
            + (4 * 8 * 8 * 9 + 16),
        ),
    ],
)
def test_parameters_are_those_counted_by_hand(head, settings, count):
    model = make(head=head, **settings)
    assert parameters(model.head) == count
    assert parameters(model.condition) == (FILM if head != "upernet" else 30 + 4 * (FILM - 30))
    width = settings.get("head_width", 8)
    assert parameters(model.paint) == (PAINT["linear"] if head == "linear" else width * 768 + 768)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext"])
def test_gradient_reaches_every_parameter(head, norm, backbone):
    if head == "linear":
        norm = None
    model = make(head=head, norm=norm, backbone=backbone)
    image, colour = inputs(64, 64, count=6)
    (model(image, colour) - image).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_frozen_backbone_has_no_gradient_and_stays_in_evaluation(backbone):
    model = make(backbone=backbone, frozen=True, head="upernet").train()
    assert model.head.training and not any(module.training for module in model.backbone.modules())
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    image, colour = inputs(64, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    (model(image, colour) - image).square().mean().backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        of_backbone = name.startswith("backbone.")
        assert parameter.requires_grad is not of_backbone, name
        assert (parameter.grad is None) is of_backbone, name
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not model.eval().head.training


def test_a_backbone_that_is_not_frozen_trains_with_the_rest():
    model = make(backbone="test_resnet").train()
    assert all(module.training for module in model.modules())
    statistics = model.backbone.network.bn1.running_mean.clone()
    model(*inputs(64, 64))
    assert not torch.equal(model.backbone.network.bn1.running_mean, statistics)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("frozen", [True, False])
def test_class_changes_the_picture(head, frozen):
    model = make(head=head, frozen=frozen).eval()
    image, _ = inputs(count=1)
    pictures = [model(image, torch.tensor([colour])) for colour in range(6)]
    for one in range(6):
        for other in range(one):
            assert (pictures[one] - pictures[other]).abs().max() > 1e-4


@pytest.mark.parametrize("backbone", BACKBONES)
def test_picture_depends_on_the_place_below_it(backbone):
    """Every place of the map paints its own pixels: a change at the lower right shows there most."""
    model = make(backbone=backbone, head="linear").eval()
    image, colour = inputs(64, 128, count=1)
    changed = image.clone()
    changed[..., 32:, 96:] = 0
    difference = (model(image, colour) - model(changed, colour)).abs().mean(dim=(0, 1))
    assert difference[32:, 96:].mean() > 2 * difference[:32, :32].mean()


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_batch_norm_over_a_single_value_fails_with_torchs_own_error(device):
    with torch.device(device):
        model = make(head="upernet", norm="batch").train()
        image, colour = torch.zeros(1, 3, 64, 64), torch.zeros(1, dtype=torch.int64)
        with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
            model(image, colour)
        assert model.eval()(image, colour).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("width", [2, 8, 12, 128])
def test_group_norm_takes_a_single_sample(width):
    model = make(head="upernet", norm="group", head_width=width).train()
    image, colour = inputs(64, 64, count=1)
    assert model(image, colour).isfinite().all()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_trains_without_operations_that_do_not_repeat_on_cuda(head, backbone):
    """The vision transformer is run at another size than its own, so that it resizes its positions."""

    class Recorder(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.seen = set()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen.add(func.name())
            return func(*args, **(kwargs or {}))

    model = make(head=head, backbone=backbone)
    image, colour = inputs(64, 96)
    with Recorder() as recorder:
        model(image, colour).square().mean().backward()
    assert any("convolution_backward" in name for name in recorder.seen)
    # The matrices of resizing are computed by PyTorch's own functions, of which no gradient is asked.
    found = [
        name
        for name in recorder.seen
        if "backward" in name and any(bad in name for bad in NOT_DETERMINISTIC_ON_CUDA)
    ]
    assert found == []


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_runs_on_the_meta_device_without_drawing_from_the_generator(head, backbone):
    settings = config(head=head, backbone=backbone)
    before = torch.get_rng_state()
    with torch.device("meta"):
        model = BackboneHead(settings, image_channels=4, class_names=NAMES).train()
        picture = model(torch.empty(2, 4, 64, 96), torch.zeros(2, dtype=torch.int64))
        picture.square().mean().backward()
    assert picture.shape == (2, 3, 64, 96)
    assert all(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    assert torch.equal(torch.get_rng_state(), before)


def test_runs_with_fake_tensors():
    model = make(head="upernet")
    with FakeTensorMode(allow_non_fake_inputs=True):
        image, colour = torch.zeros(2, 3, 32, 48), torch.zeros(2, dtype=torch.int64)
        picture = model(image, colour)
        picture.mean().backward()
    assert picture.shape == (2, 3, 32, 48)


@pytest.mark.parametrize("head", HEADS)
def test_trains_under_bf16_autocast(head):
    model, reference = make(head=head).eval(), make(head=head).eval()
    image, colour = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        picture = model(image, colour)
    assert (picture.float() - reference(image, colour)).abs().max() < 0.1
    picture.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_channels_last_gives_the_same_picture():
    model = make(head="upernet", backbone="test_resnet").eval()
    image, colour = inputs(64, 64)
    expected = model(image, colour)
    actual = model.to(memory_format=torch.channels_last)(image, colour)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_same_seed_gives_the_same_weights_and_another_seed_others():
    one, same, other = (make(seed=seed, head="upernet") for seed in (4, 4, 5))
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, same.state_dict()[name]), name
    assert not torch.equal(one.paint.weight, other.paint.weight)


def test_output_is_bounded_only_by_the_sigmoid():
    image, colour = inputs()
    bounded, free = make(), make(output="linear")
    torch.testing.assert_close(free(image, colour).sigmoid(), bounded(image, colour))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            (224, 100),
            "size 224x100 is not a multiple of the patch 14 of vit_small_patch14_dinov2; nearest are 98 and 112",
        ),
        (
            (100, 100),
            "size 100x100 is not a multiple of the patch 14 of vit_small_patch14_dinov2; nearest are 98 and 112",
        ),
        ((10, 28), "size 10x28 is not a multiple of the patch 14 of vit_small_patch14_dinov2; nearest is 14"),
        (
            (50, 60),
            "size 50x60 is not a multiple of the patch 14 of vit_small_patch14_dinov2; "
            "nearest are 42 and 56 for the height, 56 and 70 for the width",
        ),
        ((28, 42), None),
        ((518, 518), None),
    ],
)
def test_check_names_the_nearest_multiples_of_the_patch(size, message):
    assert BackboneHeadConfig(backbone="vit_small_patch14_dinov2").check(*size) == message


def test_check_refuses_another_size_than_that_of_a_network_of_fixed_size():
    settings = BackboneHeadConfig(backbone="swin_tiny_patch4_window7_224")
    assert settings.check(224, 224) is None
    assert settings.check(64, 224).startswith(
        "swin_tiny_patch4_window7_224 does not take pictures of 64x224: "
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet17"}, "timm .* has no model 'resnet17'; did you mean 'resnet18'"),
        ({"backbone": "vit_small_patch14_dino2"}, "did you mean 'vit_small_patch14_dinov2'"),
        ({"backbone": "qqqqqqqq"}, "has no model 'qqqqqqqq'; timm.list_models"),
        ({"backbone": "resnet18.a1_in2k"}, "no weights 'a1_in2k' of resnet18; did you mean 'a1_in1k'"),
        ({"weights": "publised"}, "no file .*publised; did you mean 'published'"),
        ({"weights": "/nowhere/vit.safetensors"}, "no file /nowhere/vit.safetensors"),
        ({"weights_sha256": "0" * 64}, "weights_sha256 has no effect with weights 'random'"),
        ({"norm": "group", "groups": 3}, "groups 3 must divide the head width 8"),
        ({"head": "upernet", "norm": "group", "groups": 8}, "one channel in each group.*use 4 at most"),
        ({"head": "unet"}, "head"),
        ({"depth": 3}, "depth"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        config(**settings)


@pytest.mark.parametrize(
    "settings",
    [{"head": "linear", "head_width": 8, "norm": "group", "groups": 3}, {"head": "conv", "groups": 3}],
)
def test_settings_without_effect_set_no_two_trials_apart(settings):
    plain = config(head=settings["head"], head_width=settings.get("head_width", 8))
    assert config(**settings).model_dump() == plain.model_dump()


@pytest.mark.parametrize(("width", "groups"), [(128, 8), (12, 4), (8, 4), (6, 2), (2, 1), (5, 1)])
def test_groups_leave_two_channels_each_where_they_are_not_set(width, groups):
    assert config(norm="group", head_width=width).effective_groups == groups


def saved(folder, backbone, suffix=".safetensors", **settings):
    """Save another draw of a backbone, with its classifier, and return the file and its tensors."""
    torch.manual_seed(99)
    state = timm.create_model(backbone, **settings).state_dict()
    file = folder / f"{backbone}{suffix}"
    if suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file)
    return file, state


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("classifier", [{}, {"num_classes": 0}])
@pytest.mark.parametrize(
    ("backbone", "layer"),
    [("test_vit", "patch_embed.proj"), ("test_resnet", "conv1.0"), ("test_efficientnet", "conv_stem")],
)
def test_a_file_of_weights_replaces_those_of_the_backbone_alone(
    tmp_path, backbone, layer, suffix, classifier
):
    file, state = saved(tmp_path, backbone, suffix, **classifier)
    loaded, drawn = make(backbone=backbone, weights=str(file)), make(backbone=backbone)
    network = getattr(loaded.backbone.network, "model", loaded.backbone.network)
    assert torch.equal(network.get_submodule(layer).weight, state[f"{layer}.weight"])
    for part in ("condition", "head", "paint"):
        for name, weight in getattr(drawn, part).state_dict().items():
            assert torch.equal(weight, getattr(loaded, part).state_dict()[name]), (part, name)


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_filters_of_a_file_are_repeated_over_other_channels(tmp_path, channels):
    file, state = saved(tmp_path, "test_vit")
    model = make(weights=str(file), image_channels=channels)
    original = state["patch_embed.proj.weight"]
    expected = {
        1: original.sum(dim=1, keepdim=True),
        4: original[:, [0, 1, 2, 0]] * 3 / 4,
        6: original[:, [0, 1, 2, 0, 1, 2]] / 2,
    }[channels]
    torch.testing.assert_close(model.backbone.network.model.patch_embed.proj.weight.data, expected)
    assert model.backbone.mean.flatten().tolist() == pytest.approx([0.5] * channels)
    image, colour = inputs(channels=channels)
    assert model(image, colour).shape == (4, 3, 32, 32)


def test_a_file_of_another_network_is_refused(tmp_path):
    for other in ("test_resnet", "test_vit2", "test_efficientnet"):
        file, _ = saved(tmp_path, other)
        for backbone in {"test_vit", "test_efficientnet"} - {other}:
            with pytest.raises(HarnessError, match=f"{file} does not hold the weights of {backbone}: "):
                make(backbone=backbone, weights=str(file))


def test_a_file_that_is_no_weights_is_refused(tmp_path):
    for name in ("notes.pth", "notes.safetensors"):
        file = tmp_path / name
        file.write_text("no weights")
        with pytest.raises(
            HarnessError, match=f"{name} holds no weights that can be read .*expected a .safetensors"
        ):
            make(weights=str(file))


def test_a_file_is_named_by_its_content(tmp_path, monkeypatch):
    file, _ = saved(tmp_path, "test_vit")
    monkeypatch.chdir(tmp_path)
    settings = config(weights="test_vit.safetensors")
    assert settings.weights == str(file)
    assert settings.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert BackboneHeadConfig(**settings.model_dump()) == settings
    saved(tmp_path, "test_vit", num_classes=3)
    with pytest.raises(ValidationError, match="has changed: expected SHA-256"):
        BackboneHeadConfig(**settings.model_dump())


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_published_weights_that_are_missing_are_named_with_the_way_to_get_them(hub_cache):
    settings = config(weights="published")
    (needed,) = settings.needed_weights()
    assert needed.repo == "timm/test_vit.r160_in1k" and not needed.present()
    assert str(needed.path).startswith(f"{hub_cache}/models--timm--test_vit.r160_in1k/")
    with pytest.raises(HarnessError, match=r"model.safetensors, which is not there; `harness weights SUITE`"):
        make(weights="published")
    with torch.device("meta"):
        assert parameters(make(weights="published")) == parameters(make())


def test_published_weights_come_from_the_cache_of_the_hub(hub_cache, tmp_path):
    file, state = saved(tmp_path, "test_vit")
    repository = hub_cache / "models--timm--test_vit.r160_in1k"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    file.rename(snapshot / "model.safetensors")
    model = make(weights="published")
    assert torch.equal(model.backbone.network.model.cls_token, state["cls_token"])


def test_a_backbone_without_published_weights_cannot_have_them():
    with pytest.raises(ValidationError, match="timm publishes no weights of vit_base_patch32_plus_256"):
        config(backbone="vit_base_patch32_plus_256", weights="published")


def test_random_weights_need_no_file():
    assert config().needed_weights() == ()


def test_learns_to_paint_the_named_colour():
    """With a frozen random backbone: class, condition and head alone bring the colour."""
    model = make(class_names=SIX[:2], frozen=True)
    image, colour = torch.full((8, 3, 16, 16), 0.5), torch.arange(8) % 2
    target = torch.stack([torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9])])[colour]
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.03)
    for _ in range(60):
        loss = (model(image, colour) - target[:, :, None, None]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01
