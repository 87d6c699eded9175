"""Distances between images in the features of a frozen classification network.

Sources: Zhang et al., "The unreasonable effectiveness of deep features as a
perceptual metric", 2018, version 0.1 of the `lpips` library; Johnson et al.,
"Perceptual losses for real-time style transfer and super-resolution", 2016.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.weights import WeightFile, torch_hub_file

Net = Literal["alex", "vgg", "squeeze"]
Weights = Literal["published", "random"]
VGGLayer = Literal["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
VGG_LAYERS: tuple[VGGLayer, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
"""Layers of VGG-16, each the end of one of the parts that lpips cuts it into; between two lies a pooling."""

MEBIBYTE = 1 << 20  # torchvision's `_file_size` counts these
RANDOM_SEED = 0
"""Seed of the random backbones: one for all trials, whatever their own seed."""


@dataclass(frozen=True)
class Backbone:
    """Where the feature network of an LPIPS variant comes from."""

    library_class: str
    """Class in `lpips.pretrained_networks`."""
    model: str
    """Constructor in `torchvision.models`."""
    file: str
    """File of the published weights in torch hub's cache."""
    smallest_side: int
    """Smallest image side in pixels that all its poolings can work on."""


BACKBONES: dict[Net, Backbone] = {
    "alex": Backbone("alexnet", "alexnet", "alexnet-owt-7be5be79.pth", 31),
    "vgg": Backbone("vgg16", "vgg16", "vgg16-397923af.pth", 16),
    "squeeze": Backbone("squeezenet", "squeezenet1_1", "squeezenet1_1-b8a52dc0.pth", 17),
}


def published_weights(net: Net = "alex") -> WeightFile:
    """Return the file of the published weights of `net` in torch hub's cache, present or not."""
    from torchvision.models import get_model_weights

    published = get_model_weights(BACKBONES[net].model)["IMAGENET1K_V1"]
    title = f"{BACKBONES[net].model}, feature network"
    return torch_hub_file(title, published.url, megabytes=published.meta["_file_size"] * MEBIBYTE / 1e6)


def published_weights_path(net: Net = "alex") -> Path:
    """Return where torch hub keeps the published weights of `net`, present or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / BACKBONES[net].file


def published_weights_cached(net: Net = "alex") -> bool:
    """Return whether the published weights of `net` are on this machine; never asks the network."""
    return published_weights_path(net).is_file()


def require_published_weights(net: Net, term: str = "lpips") -> Path:
    """Return the file of the published weights of `net`, which `term` reads.

    Raises:
        HarnessError: it is not on this machine; the message gives the command that fetches it.
    """
    path = published_weights_path(net)
    if not path.is_file():
        fetch = f"import torchvision.models as m; m.{BACKBONES[net].model}(weights='IMAGENET1K_V1')"
        raise HarnessError(
            f"{term} with published weights needs {path}, which is not there; fetch it with\n"
            f'  python -c "{fetch}"\n'
            "or set perceptual_weights to random"
        )
    return path


class PerceptualDistance(nn.Module):
    """Frozen LPIPS network; gradients flow to the prediction alone.

    With `published` weights the distance is LPIPS version 0.1.  With `random`
    ones the backbone is drawn from `RANDOM_SEED`, and every channel has weight 1
    in place of the learned one (the library's `lpips=False`): the learned
    weights mean nothing for random features.

    Building one draws nothing from the global random state.

    Raises:
        HarnessError: published weights are asked for and not in torch hub's cache.
    """

    def __init__(self, net: Net, weights: Weights) -> None:
        super().__init__()
        import lpips

        self.net = net
        self.scaling = lpips.ScalingLayer()
        self.backbone = _backbone(net, weights, "lpips")
        channel_weights = list(_learned_channel_weights(net))
        if weights == "random":
            channel_weights = [torch.ones_like(weight) for weight in channel_weights]
        for layer, weight in enumerate(channel_weights):
            self.register_buffer(f"channel_weights_{layer}", weight)
        self.eval().requires_grad_(False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the distance of every pair, [N], at least 0.

        Args:
            prediction: float32 [N, 3, H, W], scaled as if in [0, 1], not clamped.
            target: float32 [N, 3, H, W] in [0, 1].

        Raises:
            HarnessError: the images are too small for the network.
        """
        self._require_size(prediction)
        with torch.no_grad():
            target_features = self._unit_features(target)
        total = prediction.new_zeros(len(prediction))
        for layer, features in enumerate(self._unit_features(prediction)):
            weight = self.get_buffer(f"channel_weights_{layer}")
            total = total + (features - target_features[layer]).square().mean((2, 3)) @ weight
        return total

    def _unit_features(self, image: Tensor) -> list[Tensor]:
        from lpips import normalize_tensor

        return [normalize_tensor(features) for features in self.backbone(self.scaling(2.0 * image - 1.0))]

    def _require_size(self, image: Tensor) -> None:
        height, width = image.shape[-2:]
        smallest = BACKBONES[self.net].smallest_side
        if min(height, width) < smallest:
            raise HarnessError(
                f"lpips with net '{self.net}' needs images of at least {smallest} x {smallest} pixels; "
                f"got {height} x {width}; use larger images or leave lpips out"
            )


class FeatureDistance(nn.Module):
    """Frozen VGG-16 up to the last layer that counts; gradients flow to the prediction alone.

    The distance is that of the features as they are, averaged over the channels and places of a layer, and
    summed over the layers by their weights (the feature reconstruction loss of Johnson et al.).  Images
    are normalised as torchvision's weights expect it.

    Args:
        layers: that count, with the weight of each.
        power: 1 for absolute differences, 2 for squared ones.
        weights: of the network; random ones are drawn from `RANDOM_SEED`.

    Raises:
        HarnessError: published weights are asked for and not in torch hub's cache.
    """

    def __init__(self, layers: Mapping[VGGLayer, float], power: Literal[1, 2], weights: Weights) -> None:
        super().__init__()
        import lpips

        self.power = power
        deepest = max(VGG_LAYERS.index(name) for name in layers)
        self.layers = [layers.get(name, 0.0) for name in VGG_LAYERS[: deepest + 1]]
        self.scaling = lpips.ScalingLayer()
        backbone = _backbone("vgg", weights, "perceptual")
        self.parts = nn.ModuleList(backbone.get_submodule(f"slice{part + 1}") for part in range(deepest + 1))
        self.eval().requires_grad_(False)

    @property
    def smallest_side(self) -> int:
        """Smallest image side in pixels that all its poolings can work on."""
        return int(2 ** (len(self.parts) - 1))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the distance of every pair, [N], at least 0.

        Args:
            prediction: float32 [N, 3, H, W], scaled as if in [0, 1], not clamped.
            target: float32 [N, 3, H, W] in [0, 1].

        Raises:
            HarnessError: the images are too small for the network.
        """
        height, width = prediction.shape[-2:]
        if min(height, width) < self.smallest_side:
            raise HarnessError(
                f"perceptual needs images of at least {self.smallest_side} x {self.smallest_side} pixels "
                f"for {VGG_LAYERS[len(self.parts) - 1]}; got {height} x {width}; "
                f"use larger images or earlier layers"
            )
        with torch.no_grad():
            expected = list(self._features(target))
        total = prediction.new_zeros(len(prediction))
        for weight, found, wanted in zip(self.layers, self._features(prediction), expected, strict=True):
            if weight:
                total = total + weight * (found - wanted).abs().pow(self.power).flatten(1).mean(1)
        return total

    def _features(self, image: Tensor) -> Iterator[Tensor]:
        features = self.scaling(2.0 * image - 1.0)
        for part in self.parts:
            features = part(features)
            yield features


def _backbone(net: Net, weights: Weights, term: str) -> nn.Module:
    """Return the feature layers of a network; `term` is what asks for them."""
    backbone = _empty_backbone(net)
    if weights == "published":
        _load_published(backbone, net, term)
    else:
        _draw_random(backbone)
    return backbone


def _empty_backbone(net: Net) -> nn.Module:
    """Return the feature layers with memory that nothing was written to yet."""
    from lpips import pretrained_networks

    build = getattr(pretrained_networks, BACKBONES[net].library_class)
    with warnings.catch_warnings(), torch.device("meta"):  # skips drawing weights that are replaced at once
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision.models._utils")
        backbone: nn.Module = build(pretrained=False)
    return backbone.to_empty(device="cpu")


def _draw_random(backbone: nn.Module) -> None:
    """Fill every convolution as in He et al., 2015 (uniform, no bias): signal reaches the deep layers."""
    # Uniform numbers repeat bit for bit on every CPU; PyTorch's normal ones depend on its vector width.
    generator = torch.Generator().manual_seed(RANDOM_SEED)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=generator)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def _load_published(backbone: nn.Module, net: Net, term: str) -> None:
    path = require_published_weights(net, term)
    state = torch.load(path, map_location="cpu", weights_only=True)
    # lpips groups torchvision's layers: its slice2.3.weight is torchvision's features.3.weight
    names = {name: f"features.{name.partition('.')[2]}" for name in backbone.state_dict()}
    backbone.load_state_dict({name: state[source] for name, source in names.items()})


def _learned_channel_weights(net: Net) -> Iterator[Tensor]:
    """Yield the learned weight of every channel, [C] for each layer, as the lpips library ships them."""
    import lpips

    path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    state = torch.load(path, map_location="cpu", weights_only=True)
    for layer in range(len(state)):
        yield state[f"lin{layer}.model.1.weight"].flatten()
