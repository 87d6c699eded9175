import subprocess
import sys

import lpips
import pytest
import torch
import torchvision
from torch import nn

from harness.errors import HarnessError
from harness.losses.base import LossContext
from harness.losses.perceptual import LPIPS, LPIPSConfig, Perceptual, PerceptualConfig, feature_networks
from harness.losses.perceptual_network import (
    BACKBONES,
    VGG_LAYERS,
    FeatureDistance,
    PerceptualDistance,
    published_weights_cached,
    published_weights_path,
)

NETS = tuple(BACKBONES)
deprecated_torchvision_arguments = pytest.mark.filterwarnings("ignore::UserWarning:torchvision.models._utils")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # torch.hub.set_dir could not be taken back
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def hub_with_squeezenet(hub):
    """A cache with weights in the published format; their numbers are made up."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    torch.save(state, hub / "squeezenet1_1-b8a52dc0.pth")
    return state


def library(net, backbone, learned):
    """The lpips library's own module with the weights of our backbone."""
    reference = lpips.LPIPS(pretrained=learned, net=net, lpips=learned, pnet_rand=True, verbose=False)
    reference.net.load_state_dict(backbone.state_dict())
    return reference


@deprecated_torchvision_arguments
@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_random_weights_agree_with_the_library_without_linear_layers(net, prediction, batch):
    distance = PerceptualDistance(net, "random")
    with torch.no_grad():
        expected = library(net, distance.backbone, learned=False)(prediction, batch["target"], normalize=True)
    torch.testing.assert_close(distance(prediction, batch["target"]), expected.flatten())


@deprecated_torchvision_arguments
def test_published_weights_agree_with_the_library(hub_with_squeezenet, prediction, batch):
    distance = PerceptualDistance("squeeze", "published")
    with torch.no_grad():
        expected = library("squeeze", distance.backbone, learned=True)(
            prediction, batch["target"], normalize=True
        )
    torch.testing.assert_close(distance(prediction, batch["target"]), expected.flatten())


def test_published_weights_are_those_of_the_file(hub_with_squeezenet, prediction):
    model = torchvision.models.squeezenet1_1(weights=None)
    model.load_state_dict(hub_with_squeezenet)
    backbone = PerceptualDistance("squeeze", "published").backbone
    with torch.no_grad():
        deepest = model.features(prediction)
        assert torch.equal(backbone(prediction)[-1], deepest)


@pytest.mark.parametrize("net", NETS)
def test_missing_weights_name_the_file_and_the_command_that_fetches_it(net, hub, monkeypatch):
    def no_network(*_args, **_kwargs):
        raise AssertionError("asked the network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    context = LossContext(perceptual_weights="published")
    with pytest.raises(HarnessError) as caught:
        LPIPS(LPIPSConfig(weight=1.0, net=net), context)
    message = str(caught.value)
    assert str(hub / BACKBONES[net].file) in message
    assert f"m.{BACKBONES[net].model}(weights='IMAGENET1K_V1')" in message


@pytest.mark.parametrize("net", NETS)
def test_file_is_the_one_that_the_command_fetches(net):
    weights = torchvision.models.get_model_weights(BACKBONES[net].model)["IMAGENET1K_V1"]
    assert weights.url.rpartition("/")[2] == BACKBONES[net].file


def test_cached_weights_are_seen(hub):
    assert not published_weights_cached("alex")
    published_weights_path("alex").touch()
    assert published_weights_cached("alex")
    assert not published_weights_cached("vgg")


@pytest.mark.parametrize(
    ("weights", "name"), [("random", "lpips_rand"), ("published", "lpips")], ids=["random", "published"]
)
def test_recorded_name_tells_the_weights(weights, name, hub_with_squeezenet):
    term = LPIPS(LPIPSConfig(weight=1.0, net="squeeze"), LossContext(perceptual_weights=weights))
    assert term.recorded_name == name


@pytest.mark.parametrize("net", NETS)
def test_smallest_images_work_and_smaller_ones_are_refused(net):
    distance = PerceptualDistance(net, "random")
    side = BACKBONES[net].smallest_side
    fits = torch.rand(1, 3, side, side)
    assert distance(fits, 1 - fits) > 0
    small = torch.rand(1, 3, side, side - 1)
    with pytest.raises(HarnessError, match=f"at least {side} x {side} pixels; got {side} x {side - 1}"):
        distance(small, small)
    with pytest.raises(RuntimeError):  # the bound is the network's, not ours
        distance.backbone(small)


def test_random_features_are_the_same_whatever_the_global_seed():
    torch.manual_seed(1)
    first = PerceptualDistance("alex", "random").state_dict()
    torch.manual_seed(2)
    second = PerceptualDistance("alex", "random").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_random_features_are_the_same_in_another_process(prediction, batch):
    script = (
        "import torch; torch.set_num_threads(1)\n"
        "from harness.losses.perceptual_network import PerceptualDistance\n"
        "state = PerceptualDistance('alex', 'random').state_dict()\n"
        "print(repr(sum(v.double().sum().item() for v in state.values())))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    state = PerceptualDistance("alex", "random").state_dict()
    assert float(output) == sum(value.double().sum().item() for value in state.values())


def test_random_features_rank_a_light_blur_below_a_strong_one():
    square = torch.ones(1, 3, 32, 32)
    square[:, 1:, 8:24, 8:24] = 0.0
    light = nn.functional.avg_pool2d(square, 3, stride=1, padding=1, count_include_pad=False)
    strong = nn.functional.avg_pool2d(square, 9, stride=1, padding=4, count_include_pad=False)
    distance = PerceptualDistance("alex", "random")
    assert 0 < distance(light, square) < distance(strong, square)


def test_gradient_is_finite_where_all_features_of_a_layer_are_zero(prediction, batch):
    distance = PerceptualDistance("alex", "random")
    first_convolution = distance.backbone.get_submodule("slice1.0")
    first_convolution.bias.fill_(-1000.0)
    leaf = prediction.clone().requires_grad_()
    distance(leaf, batch["target"]).sum().backward()
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))


@pytest.fixture
def hub_with_vgg(hub):
    """A cache with weights of VGG-16 in the published format; their numbers are made up."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        model = torchvision.models.vgg16(weights=None)
    state = {name: value for name, value in model.state_dict().items() if name.startswith("features.")}
    torch.save(state, hub / BACKBONES["vgg"].file)
    return model.features.eval()


AT = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22}  # places in torchvision's `features`


@pytest.mark.parametrize(
    ("layers", "distance"),
    [
        ({"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0, "relu4_3": 1.0}, "l2"),
        ({"relu2_2": 0.5, "relu3_3": 2.0}, "l1"),
    ],
)
def test_perceptual_is_the_difference_of_torchvisions_features(
    hub_with_vgg, prediction, batch, layers, distance
):
    from torchvision.transforms.functional import normalize

    def features(image):
        image = normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        return {name: hub_with_vgg[: AT[name] + 1](image) for name in layers}

    with torch.no_grad():
        found, wanted = features(prediction), features(batch["target"])
    power = {"l1": torch.abs, "l2": torch.square}[distance]
    expected = sum(
        weight * power(found[name] - wanted[name]).mean((1, 2, 3)) for name, weight in layers.items()
    )
    config = PerceptualConfig(weight=1.0, layers=layers, distance=distance)
    term = Perceptual(config, LossContext(perceptual_weights="published"))
    torch.testing.assert_close(term(prediction, batch), expected, rtol=1e-4, atol=1e-7)
    assert term.recorded_name == "perceptual"


def test_random_features_of_perceptual_are_those_of_lpips_with_vgg(context):
    term = Perceptual(PerceptualConfig(weight=1.0), context)
    assert term.recorded_name == "perceptual_rand"
    lpips_backbone = PerceptualDistance("vgg", "random").backbone.state_dict()
    own = {name: value for name, value in term.distance.parts.state_dict().items() if "weight" in name}
    assert len(own) == 10  # convolutions up to relu4_3
    for name, value in own.items():
        part, _, rest = name.partition(".")
        assert torch.equal(value, lpips_backbone[f"slice{int(part) + 1}.{rest}"])


@pytest.mark.parametrize("layer", VGG_LAYERS)
def test_the_smallest_images_of_perceptual_work_and_smaller_ones_are_refused(layer):
    distance = FeatureDistance({layer: 1.0}, 2, "random")
    side = distance.smallest_side
    fits = torch.rand(1, 3, side, side)
    assert distance(fits, 1 - fits) > 0
    if side > 1:
        with pytest.raises(
            HarnessError, match=f"{side} x {side} pixels for {layer}; got {side} x {side - 1}"
        ):
            distance(fits[..., :-1], fits[..., :-1])
        with pytest.raises(RuntimeError):  # the bound is the network's, not ours
            list(distance._features(fits[..., :-1]))


def test_missing_weights_of_perceptual_name_it(hub):
    with pytest.raises(HarnessError, match=r"^perceptual with published weights needs .*vgg16-397923af\.pth"):
        Perceptual(PerceptualConfig(weight=1.0), LossContext(perceptual_weights="published"))


def test_the_files_that_terms_need_are_told(hub):
    config = PerceptualConfig(weight=1.0)
    assert [file.path.name for file in config.needed_weights()] == ["vgg16-397923af.pth"]
    loss = {"lpips": LPIPSConfig(weight=1.0, net="squeeze"), "perceptual": config}
    assert feature_networks(loss) == {"lpips": "squeeze", "perceptual": "vgg"}


def test_perceptual_needs_a_layer():
    with pytest.raises(ValueError, match="at least 1 item"):
        PerceptualConfig(weight=1.0, layers={})
