"""Exported folders with a small model of random weights, made without any training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from harness.models.conditional_unet import ConditionalUNet, ConditionalUNetConfig
from harness.package.contents import CONFIG, WEIGHTS, PackageConfig, file_hash

COLOURS = ("red", "blue", "Sky Blue")
MODEL: dict[str, Any] = {"name": "conditional_unet", "widths": [4, 8], "layers": 1}
ORIGIN: dict[str, Any] = {
    "suite": "made_up",
    "run_id": "20261120-1",
    "trial_id": "0123456789abcdef",
    "attempt": 1,
    "variant": "plain",
    "levels": {},
    "seed": 0,
    "fold": None,
    "weights": "last",
    "epoch": 3,
    "averaged": False,
    "code_hash": "0" * 16,
    "spec": {},
}


def write_package(folder: Path, **changes: Any) -> PackageConfig:
    """Write a folder that predicts; `changes` are settings of its config.json."""
    mask = changes.pop("mask", "none")
    channels = {"none": 3, "binary": 4, "rgb": 6}[mask]
    torch.manual_seed(1)
    config = ConditionalUNetConfig(**MODEL)
    model = ConditionalUNet(config, image_channels=channels, class_names=COLOURS)
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / WEIGHTS)
    values: dict[str, Any] = {
        "harness": "0.1.0",
        "task": "colorization",
        "model": MODEL,
        "size": (32, 40),
        "image_channels": channels,
        "class_names": COLOURS,
        "palette": None,
        "label_names": {"colour": COLOURS},
        "preprocessing": {"picture": "rgb", "mask": mask},
        "precision": "fp32",
        "weights_sha256": file_hash(folder / WEIGHTS),
        "origin": ORIGIN,
        **changes,
    }
    written = PackageConfig(**values)
    (folder / CONFIG).write_text(written.model_dump_json())
    return written


def change_config(folder: Path, **changes: Any) -> None:
    """Change settings in a folder's config.json, as somebody with an editor would."""
    file = folder / CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def outlined_square(file: Path, *, size: tuple[int, int] = (32, 40), ink: int = 0, paper: int = 255) -> Path:
    """Write a picture (height, width) of a square outline; its inside is rows 9 to 22, columns 9 to 22."""
    picture = Image.new("RGB", (size[1], size[0]), (paper,) * 3)
    ImageDraw.Draw(picture).rectangle((7, 7, 24, 24), outline=(ink,) * 3, width=2)
    picture.save(file)
    return file


def pixels(file: Path) -> np.ndarray:
    """Return a picture, uint8 [H, W, 3]."""
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))
