"""Components that lack the settings that some ablations vary."""

from typing import Literal

import torch

from harness.config import ComponentConfig, DataConfig
from harness.data.polygons import Polygons, PolygonsConfig


class PlainConfig(DataConfig):
    name: Literal["tests.support.library_parts:Plain"]


class Plain(Polygons):
    """Pictures with neither channels to choose nor masks."""

    Config = PlainConfig
    label_names = Polygons.label_names(PolygonsConfig())

    @staticmethod
    def image_channels(config):
        return 3

    picture_channels = image_channels

    @staticmethod
    def shows_other(config):
        return False


class WithoutRateConfig(ComponentConfig):
    name: Literal["tests.support.library_parts:WithoutRate"]


class WithoutRate:
    """An optimizer whose learning rate cannot be set."""

    Config = WithoutRateConfig

    @classmethod
    def build(cls, config, parameters):
        return torch.optim.Adafactor(parameters)
