"""A model with a tied, a frozen and odd-sized parameters; a test copies it to a folder of its own."""

import torch
from torch import nn

from harness.config import ModelConfig


class Tied(nn.Module):
    """Two places share one weight, one layer never trains, and no size divides by two."""

    Config = ModelConfig

    def __init__(self, config, *, image_channels, class_names):
        super().__init__()
        self.first = nn.Conv2d(image_channels, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.one = nn.Conv2d(5, 5, 1, bias=False)
        self.other = nn.Conv2d(5, 5, 1)
        self.other.weight = self.one.weight
        self.frozen = nn.Conv2d(5, 5, 1).requires_grad_(False)
        self.last = nn.Conv2d(5, 3, 1)

    def forward(self, image, colour):
        features = torch.relu(self.norm(self.first(image)))
        features = self.frozen(torch.relu(self.other(torch.relu(self.one(features)))))
        return torch.sigmoid(self.last(features))
