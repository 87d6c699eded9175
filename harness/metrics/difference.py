"""Differences between two colours in CIELAB, in parts and by CIEDE2000."""

from __future__ import annotations

import torch
from torch import Tensor


def chroma(lab: Tensor) -> Tensor:
    """Return the chroma of CIELAB colours, distance from grey, [...] from [..., 3]."""
    return lab[..., 1:].square().sum(-1).sqrt()


def hue_angle(first: Tensor, second: Tensor) -> Tensor:
    """Return the angle between the hues of CIELAB colours in degrees, 0 to 180, [...] from [..., 3].

    A grey has no hue; the angle to one is that of its rounding.
    """
    cross = first[..., 1] * second[..., 2] - first[..., 2] * second[..., 1]
    along = (first[..., 1:] * second[..., 1:]).sum(-1)
    return torch.atan2(cross.abs(), along).rad2deg()


def ciede2000(first: Tensor, second: Tensor) -> Tensor:
    """Return the CIEDE2000 difference of CIELAB colours, with all three weights 1; [...] from [..., 3].

    Source: Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes,
    supplementary test data, and mathematical observations", 2005, equations 2 to 22.
    """
    (l1, a1, b1), (l2, a2, b2) = first.unbind(-1), second.unbind(-1)
    stretch = 1.5 - 0.5 * _seventh((chroma(first) + chroma(second)) / 2.0)
    a1, a2 = stretch * a1, stretch * a2
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = (torch.atan2(b, a).rad2deg() % 360.0 for a, b in ((a1, b1), (a2, b2)))
    grey = c1 * c2 == 0.0
    turn = h2 - h1
    far = turn.abs() > 180.0
    turn = (turn - 360.0 * turn.sign() * far).where(~grey, 0.0)
    total = h1 + h2
    hue = (total + 360.0 * far * torch.where(total < 360.0, 1.0, -1.0)) / 2.0
    hue = hue.where(~grey, total)
    lightness, mean_chroma = (l1 + l2) / 2.0 - 50.0, (c1 + c2) / 2.0
    in_lightness = (l2 - l1) / (1.0 + 0.015 * lightness.square() / (20.0 + lightness.square()).sqrt())
    in_chroma = (c2 - c1) / (1.0 + 0.045 * mean_chroma)
    in_hue = 2.0 * (c1 * c2).sqrt() * _sine(turn / 2.0) / (1.0 + 0.015 * mean_chroma * _hue_weight(hue))
    bend = (-((hue - 275.0) / 25.0).square()).exp()
    rotation = -2.0 * _seventh(mean_chroma) * _sine(60.0 * bend)
    squares = in_lightness.square() + in_chroma.square() + in_hue.square()
    return (squares + rotation * in_chroma * in_hue).clamp_min(0.0).sqrt()


def _seventh(value: Tensor) -> Tensor:
    """Return sqrt(C⁷ / (C⁷ + 25⁷)), by C / 25 so that float32 holds it."""
    power = (value / 25.0) ** 7
    return (power / (power + 1.0)).sqrt()


def _hue_weight(hue: Tensor) -> Tensor:
    return (
        1.0
        - 0.17 * _cosine(hue - 30.0)
        + 0.24 * _cosine(2.0 * hue)
        + 0.32 * _cosine(3.0 * hue + 6.0)
        - 0.20 * _cosine(4.0 * hue - 63.0)
    )


def _sine(degrees: Tensor) -> Tensor:
    return degrees.deg2rad().sin()


def _cosine(degrees: Tensor) -> Tensor:
    return degrees.deg2rad().cos()
