"""Random turns, scales and shifts of training pictures, by any amount."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from harness.config import ComponentConfig
from harness.data.augment import Batch, Draws


class AffineConfig(ComponentConfig):
    """Turn, scale and shift; what comes into view repeats the border of the picture."""

    name: Literal["affine"] = "affine"
    degrees: float = Field(default=15.0, ge=0, le=180)
    """Largest turn; the angle is uniform between minus and plus this."""
    scale: tuple[float, float] = (0.8, 1.25)
    """Smallest and largest factor of the size; its logarithm is uniform, so that halving is as
    frequent as doubling."""
    shift: float = Field(default=0.1, ge=0, le=1)
    """Largest shift as a share of the height and of the width; each is uniform up to it, both ways."""
    probability: float = Field(default=1.0, gt=0, le=1)
    """Of a picture to be changed."""

    @field_validator("scale")
    @classmethod
    def rises_from_above_zero(cls, scale: tuple[float, float]) -> tuple[float, float]:
        """Refuse factors that are no sizes, and a range the wrong way round."""
        if not 0.1 <= scale[0] <= scale[1] <= 10:
            raise ValueError(f"should rise within 0.1 and 10, got {scale[0]:g} to {scale[1]:g}")
        return scale


class Affine:
    """Turns, scales and shifts pictures around their centre, all channels of a sample alike.

    Pixels are interpolated linearly between their four neighbours, so a mask stays the share of a
    pixel that it covers. Beyond the border the nearest pixel of the border is repeated: plain paper
    goes on, and a shape that the border cuts goes on straight.
    """

    Config = AffineConfig
    needs_square: ClassVar[bool] = False

    def __init__(self, config: AffineConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with its pictures moved."""
        rows = torch.from_numpy(draws.uniform("chosen") < self.config.probability).nonzero()[:, 0]
        if len(rows) == 0:
            return dict(batch)
        turn, scale, across, down = (part[rows] for part in self._parameters(draws))

        def moved(pictures: Tensor) -> Tensor:
            from kornia.geometry.transform import get_affine_matrix2d, warp_affine

            height, width = pictures.shape[-2:]
            centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float32)
            matrix = get_affine_matrix2d(
                translations=torch.stack([across * width, down * height], dim=1),
                center=centre.expand(len(rows), 2),
                scale=scale[:, None].expand(-1, 2),
                angle=turn,
            )
            warped: Tensor = warp_affine(
                pictures, matrix[:, :2], (height, width), padding_mode="border", align_corners=True
            )
            return warped.clamp(0, 1)  # rounding leaves the range by a few millionths

        return {
            key: value.index_copy(0, rows, moved(value[rows])) if value.dim() == 4 else value
            for key, value in batch.items()
        }

    def _parameters(self, draws: Draws) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return of every sample the turn in degrees, the factor, and the shifts as shares; float32 [N]."""

        def between(low: float, high: float, purpose: str) -> Tensor:
            return torch.from_numpy(low + (high - low) * draws.uniform(purpose)).float()

        config = self.config
        low, high = torch.tensor(config.scale, dtype=torch.float64).log().tolist()
        return (
            between(-config.degrees, config.degrees, "turn"),
            between(low, high, "scale").exp(),
            between(-config.shift, config.shift, "across"),
            between(-config.shift, config.shift, "down"),
        )
