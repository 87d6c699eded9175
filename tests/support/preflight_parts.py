"""Components with known costs and known faults, chosen in suites as `tests.support.preflight_parts:Name`."""

import torch
from torch import nn

from harness.config import LossConfig, ModelConfig
from harness.data.polygons import Polygons, PolygonsConfig
from harness.losses.base import LossTerm


class OneConv(nn.Module):
    """One 1x1 convolution without bias: every cost can be counted by hand."""

    Config = ModelConfig

    def __init__(self, config, *, image_channels, class_names):
        super().__init__()
        self.conv = nn.Conv2d(image_channels, 3, 1, bias=False)

    def forward(self, image, colour):
        return self.conv(image)


class ReadsValues(OneConv):
    """Does what depends on values, which shapes alone do not tell."""

    def forward(self, image, colour):
        return self.conv(image) * (2.0 if image.max() > 0.5 else 1.0)


class WrongChannels(OneConv):
    """Expects two more channels than there are."""

    def __init__(self, config, *, image_channels, class_names):
        super().__init__(config, image_channels=image_channels + 2, class_names=class_names)


class PooledNorm(OneConv):
    """Normalizes a map of one value per channel, as pyramid pooling does."""

    def __init__(self, config, *, image_channels, class_names):
        super().__init__(config, image_channels=image_channels, class_names=class_names)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3))

    def forward(self, image, colour):
        features = self.conv(image)
        return features + self.pool(features)


class TermConfig(LossConfig):
    pass


class Infinite(LossTerm):
    Config = TermConfig
    recorded_name = "infinite"

    def __init__(self, config, context):
        super().__init__()

    def compare(self, prediction, batch):
        return prediction.flatten(1).mean(1) / torch.zeros(len(prediction))


class OneForAll(Infinite):
    recorded_name = "one_for_all"

    def compare(self, prediction, batch):
        return prediction.mean()


class WrongColoursConfig(PolygonsConfig):
    name: str


class WrongColours(Polygons):
    """Names colours that are not there."""

    Config = WrongColoursConfig

    def split(self, name):
        samples = super().split(name)
        batch = samples.batch
        samples.batch = lambda indices: {**(got := batch(indices)), "colour": got["colour"] + 100}
        return samples


class Cropped(WrongColours):
    """Gives smaller pictures than it says."""

    def split(self, name):
        samples = Polygons.split(self, name)
        batch = samples.batch
        samples.batch = lambda indices: {**(got := batch(indices)), "image": got["image"][..., 1:, :]}
        return samples
