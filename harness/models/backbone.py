"""Feature networks of the timm library: what they are, their weights, and the pictures they take.

What has to be known of a backbone is read from one that is built on the meta device, which takes
about a tenth of a second and no memory; timm itself is imported when it is first asked for.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.errors import HarnessError, did_you_mean
from harness.models.resampling import DeterministicInterpolation
from harness.weights import WeightFile, hugging_face_file, torch_hub_file

FINEST = 4  # least stride of a map: finer ones cost more than they tell
MOST_MAPS = 4


@dataclass(frozen=True)
class BackboneFacts:
    """What is known of a backbone before its weights are drawn."""

    patch: int | None
    """Side of a patch where all maps have the stride of the patches, as in a plain vision transformer."""
    resizable: bool
    """Whether it is one of timm's that enlarge their position embeddings when asked to."""
    stages: tuple[int, ...]
    """timm's indices of the maps that are used, the finest or earliest first, four at most."""
    channels: tuple[int, ...]
    """Channels of each of these maps."""
    strides: tuple[int, ...]
    """Pixels per place of each of these maps."""


def require_backbone(name: str) -> None:
    """Check that timm has a backbone of this name, with or without a tag (`resnet18.a1_in1k`).

    Raises:
        ValueError: it has none, or it cannot give maps of features; the message suggests a name.
    """
    import timm

    architecture, _, tag = name.partition(".")
    known = timm.list_models()
    if architecture not in known:
        near = did_you_mean(architecture, known)
        shown = near if near.startswith("; did") else "; timm.list_models() names them"
        raise ValueError(f"timm {timm.__version__} has no model '{architecture}'{shown}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ValueError(f"timm has no weights '{tag}' of {architecture}{did_you_mean(tag, tags)}")
    try:
        backbone_facts(name)
    except Exception as error:  # whatever a network of the library raises when it has no maps to give
        raise ValueError(f"{name} gives no maps of features: {_first_line(error)}") from error


@functools.cache
def backbone_facts(name: str) -> BackboneFacts:
    """Return what a backbone is, from one built on the meta device."""
    import timm

    with torch.device("meta"):
        network: Any = timm.create_model(name, features_only=True)
    strides = [int(stage["reduction"]) for stage in network.feature_info.info]
    plain = len(set(strides)) == 1
    if plain:
        count = min(MOST_MAPS, len(strides))
        stages = tuple(len(strides) * (number + 1) // count - 1 for number in range(count))
    else:
        stages = tuple(index for index, stride in enumerate(strides) if stride >= FINEST)[-MOST_MAPS:]
    resizable = hasattr(getattr(network, "model", network), "dynamic_img_size")
    settings = _settings(stages, plain=plain, resizable=resizable)
    with torch.device("meta"):
        network = timm.create_model(name, features_only=True, **settings)
    return BackboneFacts(
        patch=strides[0] if plain else None,
        resizable=resizable,
        stages=stages,
        channels=tuple(network.feature_info.channels()),
        strides=tuple(network.feature_info.reduction()),
    )


def _settings(stages: tuple[int, ...], *, plain: bool, resizable: bool) -> dict[str, Any]:
    """Return what timm is asked for besides the name: maps of a plain network pass its last norm."""
    from timm.models._features import FeatureGetterNet

    settings: dict[str, Any] = {"out_indices": stages}
    if plain:
        settings["feature_cls"] = functools.partial(FeatureGetterNet, norm=True)
    if resizable:
        settings["dynamic_img_size"] = True
    return settings


@functools.cache
def size_problem(name: str, height: int, width: int) -> str | None:
    """Return why a backbone does not take pictures of `height` x `width` pixels, or none."""
    patch = backbone_facts(name).patch
    if patch is not None and (height % patch or width % patch):
        return _not_a_multiple(name, patch, height, width)
    try:
        with torch.device("meta"), torch.no_grad():
            Backbone(name, image_channels=3, maps=1).eval()(torch.empty(1, 3, height, width))
    except Exception as error:  # each network of the library has its own way to refuse a size
        return f"{name} does not take pictures of {height}x{width}: {_first_line(error)}"
    return None


def _not_a_multiple(name: str, patch: int, height: int, width: int) -> str:
    # A side that fits is not spoken of; a square has one answer for both.
    wrong = dict.fromkeys(side for side in (height, width) if side % patch)
    nearest = [
        " and ".join(str(patch * count) for count in (side // patch, side // patch + 1) if count)
        for side in wrong
    ]
    verb = "are" if " " in nearest[0] else "is"
    shown = nearest[0] if len(wrong) == 1 else f"{nearest[0]} for the height, {nearest[1]} for the width"
    return f"size {height}x{width} is not a multiple of the patch {patch} of {name}; nearest {verb} {shown}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def published_weights(name: str) -> WeightFile | None:
    """Return the file of the weights that timm publishes for a backbone, or none."""
    import timm

    published = timm.get_pretrained_cfg(name)
    title = f"backbone {name}"
    if published is None:
        return None
    if published.hf_hub_id:
        return hugging_face_file(title, published.hf_hub_id, published.hf_hub_filename or "model.safetensors")
    if published.url and not published.custom_load:
        return torch_hub_file(title, str(published.url))
    return None


class Backbone(nn.Module):
    """A timm network that gives maps of features.

    Pictures in [0, 1] are normalised with the mean and deviation that timm gives for the network.
    A picture whose sides are not multiples of the coarsest stride is continued with zeros at the
    right and at the bottom.

    Weights are drawn from torch's global generator in any case, so that what is drawn after them
    does not depend on whether they were replaced; on the meta device they never are.
    """

    def __init__(
        self, name: str, *, image_channels: int, maps: int, weights: WeightFile | None = None
    ) -> None:
        """Build it.

        Args:
            name: of a timm model.
            image_channels: of the picture. The published filters for red, green and blue are repeated
                over other numbers of channels and scaled, so that the sum stays alike (`adapt_input_conv`
                of timm); those for a single channel are the sum of the three.
            maps: how many maps, the coarsest or last ones.
            weights: file that replaces the drawn weights, .safetensors or .pth.

        Raises:
            HarnessError: the file is not on this machine, or holds no weights of this network.
        """
        super().__init__()
        facts = backbone_facts(name)
        self.channels, self.strides = facts.channels[-maps:], facts.strides[-maps:]
        self.multiple = 1 if facts.patch else max(facts.strides)
        settings = _settings(facts.stages[-maps:], plain=facts.patch is not None, resizable=facts.resizable)
        settings["in_chans"] = image_channels
        if torch.get_default_device().type == "meta":
            weights = None
        self.network = _network(name, _present(weights) if weights else None, settings)
        mean, deviation = _normalisation(self.network.pretrained_cfg, image_channels)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map a picture [N, C, H, W] in [0, 1] to maps [N, channels, H / stride, W / stride]."""
        height, width = image.shape[-2:]
        normal = (image - self.get_buffer("mean")) / self.get_buffer("deviation")
        padded = F.pad(normal, (0, -width % self.multiple, 0, -height % self.multiple))
        with DeterministicInterpolation():
            maps = self.network(padded)
        if getattr(self.network, "output_fmt", None) == "NHWC":
            maps = [features.permute(0, 3, 1, 2) for features in maps]
        return list(maps)


def _present(weights: WeightFile) -> Path:
    if not weights.present():
        raise HarnessError(
            f"{weights.title} with its weights needs {weights.path}, which is not there; "
            f"`harness weights SUITE` fetches what is published, or set model.weights to random or to a file"
        )
    return weights.path


def _network(name: str, weights: Path | None, settings: dict[str, Any]) -> Any:
    import timm

    before = torch.get_rng_state()
    drawn: Any = timm.create_model(name, features_only=True, **settings)
    if weights is None:
        return drawn
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(before)
        loaded = _loaded(name, weights, settings)
    # timm leaves out in silence, for some architectures, what it does not find in the file.
    replaced = dict(loaded.named_parameters())
    kept = [
        label
        for label, weight in drawn.named_parameters()
        if weight.ndim > 1 and weight.std() > 0 and torch.equal(weight, replaced[label])
    ]
    if kept:
        raise _wrong_file(weights, name, f"it has nothing for {len(kept)} of its weights, such as {kept[0]}")
    return loaded


def _loaded(name: str, weights: Path, settings: dict[str, Any]) -> Any:
    import timm

    state = _read(weights)
    classifier = getattr(timm.get_pretrained_cfg(name), "classifier", None) or ()
    for layer in (classifier,) if isinstance(classifier, str) else classifier:
        state.pop(f"{layer}.weight", None)
        state.pop(f"{layer}.bias", None)
    # Without a classifier in network and file timm has no reason to leave anything out: it compares all.
    overlay = {"state_dict": state, "classifier": None, "num_classes": 0}
    try:
        return timm.create_model(
            name, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay, **settings
        )
    except (RuntimeError, KeyError, AttributeError, ValueError) as error:
        raise _wrong_file(weights, name, " ".join(str(error).split())) from error


def _read(weights: Path) -> dict[str, Tensor]:
    from timm.models import load_state_dict

    try:
        state: dict[str, Tensor] = load_state_dict(str(weights), weights_only=True)  # timm once left it off
    except Exception as error:  # the readers of both formats have many ways to fail
        raise HarnessError(
            f"{weights} holds no weights that can be read ({_first_line(error)}); "
            f"expected a .safetensors file, or a .pth file of plain tensors"
        ) from error
    return state


def _wrong_file(weights: Path, name: str, reason: str) -> HarnessError:
    shown = reason if len(reason) <= 300 else f"{reason[:297]}..."
    return HarnessError(f"{weights} does not hold the weights of {name}: {shown}")


def _normalisation(published: Any, channels: int) -> tuple[Tensor, Tensor]:
    """Return mean and deviation [channels, 1, 1], repeated as timm repeats the filters."""
    both = []
    for values in (published["mean"], published["std"]):
        one = [math.fsum(values) / len(values)]
        chosen = one if channels == 1 else [values[channel % len(values)] for channel in range(channels)]
        both.append(torch.tensor(chosen)[:, None, None])
    return both[0], both[1]
