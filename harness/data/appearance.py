"""Random changes of what training pictures look like: light, colours, paper, noise.

The colour asked for has to stay what its name says, so the filled region of the target is left as it is
in all of them; everywhere else input and target change alike, and go on being equal. The region that
the input shows unfilled is paper like any other, and changes with it.
"""

from __future__ import annotations

import colorsys
import math
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from harness.config import ComponentConfig
from harness.data.augment import Batch, Draws

LUMA = (0.299, 0.587, 0.114)  # of R, G and B in the luminance (ITU-R BT.601)
PLAIN = 0.02  # largest difference of a channel from the paper that counts as paper
INK = 0.3  # greatest brightness of a channel of ink on bright paper
DARK_NOISE = 0.25  # noise on black is uniform from 0 to this
Paper = Literal["white", "pale", "noisy_black"]
PAPERS: tuple[Paper, ...] = get_args(Paper)


class ColourJitterConfig(ComponentConfig):
    """Change light and colours of everything but the region to fill."""

    name: Literal["colour_jitter"] = "colour_jitter"
    brightness: float = Field(default=0.2, ge=0, le=1)
    """Values are multiplied by a factor up to this far from 1."""
    contrast: float = Field(default=0.2, ge=0, le=1)
    """Distances from middle grey are multiplied by a factor up to this far from 1."""
    saturation: float = Field(default=0.2, ge=0, le=1)
    """Distances from the grey of the same luminance are multiplied by a factor up to this far from 1."""
    hue: float = Field(default=0.05, ge=0, le=0.5)
    """Largest turn of the hue, as a share of the whole circle, both ways."""


class BackgroundConfig(ComponentConfig):
    """Give plain paper another colour: white, a pale one, or noisy black with white lines."""

    name: Literal["background"] = "background"
    papers: tuple[Paper, ...] = Field(default=PAPERS, min_length=1)
    """Kinds of paper to choose from, each as often."""
    probability: float = Field(default=0.5, gt=0, le=1)
    """Of a picture to get another paper."""

    @field_validator("papers")
    @classmethod
    def in_fixed_order(cls, papers: tuple[Paper, ...]) -> tuple[Paper, ...]:
        """Refuse repeats and sort, so that the order in a suite does not matter."""
        if len(set(papers)) < len(papers):
            raise ValueError(f"each kind of paper once at most, got {', '.join(papers)}")
        return tuple(paper for paper in PAPERS if paper in papers)


class NoiseConfig(ComponentConfig):
    """Add normal noise to everything but the region to fill."""

    name: Literal["noise"] = "noise"
    sd: float = Field(default=0.05, gt=0, le=1)
    """Largest standard deviation, with values from 0 to 1; that of a picture is uniform up to it."""


class ColourJitter:
    """Changes brightness, contrast, saturation and hue, in this order, each by a random amount.

    Every pixel is changed by itself (contrast turns around middle grey, not around the mean of a picture,
    which the fill would move), so that input and target stay equal outside the region.
    """

    Config = ColourJitterConfig
    needs_square: ClassVar[bool] = False

    def __init__(self, config: ColourJitterConfig) -> None:
        self.config = config
        self.picture_channels = 3

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with its light and colours changed."""
        factors = {
            name: _column(1 + getattr(self.config, name) * (2 * draws.uniform(name) - 1))
            for name in ("brightness", "contrast", "saturation")
        }
        turn = _column(2 * math.pi * self.config.hue * (2 * draws.uniform("hue") - 1))

        def jittered(pictures: Tensor) -> Tensor:
            from kornia.enhance import adjust_hue, adjust_saturation_with_gray_subtraction

            light = (pictures * factors["brightness"]).clamp(0, 1)
            light = ((light - 0.5) * factors["contrast"] + 0.5).clamp(0, 1)
            if light.shape[1] == 1:
                return light
            rich: Tensor = adjust_saturation_with_gray_subtraction(light, factors["saturation"].flatten())
            turned: Tensor = adjust_hue(rich.clamp(0, 1), turn.flatten())
            return turned.clamp(0, 1)

        given = jittered(batch["image"][:, : self.picture_channels])
        return _outside_region(batch, given, jittered(batch["target"]))


class Background:
    """Gives pictures of lines on plain, bright paper another paper.

    A pixel of the input is a mixture of paper and ink, `image = s * paper + l * ink`; the paper is the
    median of the picture's border. The target is `m * fill + s' * paper + l' * ink` with m the mask and l'
    what the fill leaves of the line. Paper and ink are exchanged in both, the fill is not. Pictures whose
    border is of more than one colour, or dark, have no such paper and stay as they are. Areas of one grey,
    as in drawings with grey shapes, are neither paper nor ink and stay as well.
    """

    Config = BackgroundConfig
    needs_square: ClassVar[bool] = False

    def __init__(self, config: BackgroundConfig) -> None:
        self.config = config
        self.picture_channels = 3

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with other paper under some pictures."""
        chosen = torch.from_numpy(draws.uniform("chosen") < self.config.probability)
        paper, plain = paper_of(batch["target"])
        rows = (chosen & plain).nonzero()[:, 0]
        if len(rows) == 0:
            return dict(batch)
        height, width = batch["target"].shape[-2:]
        ground, ink = self._new_papers(rows, draws, (height, width))
        paper = paper[rows]
        image, target, mask = batch["image"][rows], batch["target"][rows], batch["mask"][rows]
        given = image[:, : self.picture_channels]
        bare, line = _paper_and_ink(given, self._as_drawn(paper))
        covered = torch.minimum(line, 1 - mask)
        uncovered = torch.minimum(bare, 1 - mask - covered)
        new_given = given + bare * (self._as_drawn(ground) - self._as_drawn(paper)) + line * ink
        new_target = target + uncovered * (ground - paper) + covered * ink
        whole = torch.cat([new_given.clamp(0, 1), image[:, self.picture_channels :]], dim=1)
        return {
            **batch,
            "image": batch["image"].index_copy(0, rows, whole),
            "target": batch["target"].index_copy(0, rows, new_target.clamp(0, 1)),
        }

    def _as_drawn(self, colours: Tensor) -> Tensor:
        return colours if self.picture_channels == 3 else _luminance(colours)

    def _new_papers(self, rows: Tensor, draws: Draws, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the paper of the samples, [M, 3, H, W], and the brightness of their ink, [M, 1, 1, 1]."""
        papers = self.config.papers
        kinds = [papers[int(len(papers) * number)] for number in draws.uniform("kind")]
        tints = np.stack([draws.uniform(name) for name in ("hue", "light", "rich")], axis=1)
        fields = draws.generators("field")
        grounds = [
            DARK_NOISE * fields[row].random((3, *size), dtype=np.float32)
            if kinds[row] == "noisy_black"
            else np.broadcast_to(_plain_colour(kinds[row], *tints[row])[:, None, None], (3, *size))
            for row in rows.tolist()
        ]
        ink = np.array([kinds[row] == "noisy_black" for row in rows.tolist()], dtype=np.float64)
        return torch.from_numpy(np.stack(grounds)), _column(ink)


class Noise:
    """Adds normal noise, its own in every channel of every pixel; a grey input gets that of its luminance."""

    Config = NoiseConfig
    needs_square: ClassVar[bool] = False

    def __init__(self, config: NoiseConfig) -> None:
        self.config = config
        self.picture_channels = 3

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with noise on it."""
        shape = batch["target"].shape[1:]
        fields = [
            generator.standard_normal(shape, dtype=np.float32) for generator in draws.generators("field")
        ]
        added = _column(self.config.sd * draws.uniform("sd")) * torch.from_numpy(np.stack(fields))
        given = batch["image"][:, : self.picture_channels]
        noisy = given + (added if self.picture_channels == 3 else _luminance(added))
        return _outside_region(batch, noisy.clamp(0, 1), (batch["target"] + added).clamp(0, 1))


def _plain_colour(kind: Paper, hue: float, light: float, rich: float) -> np.ndarray:
    """Return white, or the pale colour that three numbers in [0, 1) stand for; float32 [3]."""
    pale = colorsys.hls_to_rgb(hue, 0.84 + 0.09 * light, 0.5 + 0.4 * rich)
    return np.array((1.0, 1.0, 1.0) if kind == "white" else pale, dtype=np.float32)


def paper_of(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Return the paper that pictures lie on.

    Args:
        pictures: RGB, float32 [N, 3, H, W].

    Returns:
        Median colour of the border, [N, 3, 1, 1]; and whether at least half of the border has it and it is
        bright enough to tell black ink from it, bool [N].
    """
    rim = torch.cat(
        [pictures[..., 0, :], pictures[..., -1, :], pictures[..., 1:-1, 0], pictures[..., 1:-1, -1]], dim=-1
    )
    paper = rim.median(dim=-1, keepdim=True).values
    same = ((rim - paper).abs().amax(dim=1) <= PLAIN).float().mean(dim=-1)
    bright = paper[:, :, 0].amin(dim=1) > 2 * INK
    return paper[..., None], (same >= 0.5) & bright


def _paper_and_ink(given: Tensor, paper: Tensor) -> tuple[Tensor, Tensor]:
    """Return which share of every pixel is paper and which is black ink, each [N, 1, H, W].

    What is neither, an area of grey or of a colour, has no share of either.
    """
    bare = (given / paper).clamp(0, 1).amax(dim=1, keepdim=True)
    strange = (given - bare * paper).abs().amax(dim=1, keepdim=True) > PLAIN
    strange |= _area_of_grey(bare)
    zero = torch.zeros(())
    return torch.where(strange, zero, bare), torch.where(strange, zero, 1 - bare)


def _area_of_grey(bare: Tensor) -> Tensor:
    """Return where a middle brightness stands beside its like on most sides: an area, not the rim of a
    line."""
    middle = (bare > INK) & (bare < 1 - INK)
    level = torch.nn.functional.unfold(bare, 3, padding=1).view(len(bare), 9, *bare.shape[-2:])
    alike = ((level - bare).abs() <= PLAIN).sum(dim=1, keepdim=True)
    inner = middle & (alike >= 7)
    around: Tensor = torch.nn.functional.max_pool2d(inner.float(), 3, stride=1, padding=1) > 0
    return around & middle


def _outside_region(batch: Batch, given: Tensor, wanted: Tensor) -> Batch:
    """Return the batch with a changed input, and a target that is changed outside the filled region.

    Outside, a grey input shows the luminance of the changed target: its own channel has no colours that
    could change.
    """
    mask = batch["mask"]
    channels = given.shape[1]
    if channels == 1:
        given = mask * given + (1 - mask) * _luminance(wanted)
    return {
        **batch,
        "image": torch.cat([given, batch["image"][:, channels:]], dim=1),
        "target": mask * batch["target"] + (1 - mask) * wanted,
    }


def _luminance(colours: Tensor) -> Tensor:
    """Return the luminance of RGB, [N, 3, H, W] to [N, 1, H, W]."""
    weights = torch.tensor(LUMA, dtype=colours.dtype)[:, None, None]
    return (colours * weights).sum(dim=1, keepdim=True)


def _column(numbers: np.ndarray) -> Tensor:
    """Return a number of every sample as float32 [N, 1, 1, 1]."""
    return torch.from_numpy(numbers).float()[:, None, None, None]
