"""Small data sets in the layout of the published pairs, with pictures drawn here."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

PUBLISHED = Path(__file__).parents[3] / "shared/data/published_polygons"
RGB = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 255, 0), "purple": (128, 0, 128)}
CORNERS = {
    "square": [(12, 12), (36, 12), (36, 36), (12, 36)],
    "triangle": [(24, 8), (40, 38), (8, 38)],
    "diamond": [(24, 6), (42, 24), (24, 42), (6, 24)],
}
SIDE = 48
TRAINING = [(shape, colour) for colour in ("red", "blue", "green") for shape in CORNERS]
VALIDATION = [("square", "blue"), ("triangle", "red")]


def outline(shape, size=SIDE):
    """Return a black outline on white."""
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    ImageDraw.Draw(picture).polygon(CORNERS[shape], outline="black", width=2)
    return picture.resize((size, size))


def filled(shape, colour, size=SIDE):
    """Return the shape filled, its outline painted over, as in the published pictures."""
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    ImageDraw.Draw(picture).polygon(CORNERS[shape], fill=RGB[colour], outline=RGB[colour], width=2)
    return picture.resize((size, size))


def write_pairs(root, training=TRAINING, validation=VALIDATION, key="colour", suffix=".png"):
    """Write both splits below `root`; the names of inputs are those of shapes."""
    for split, pairs in {"training": training, "validation": validation}.items():
        folder = root / split
        for part in ("inputs", "outputs"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        rows = []
        for shape, colour in pairs:
            given, wanted = f"{shape}{suffix}", f"{colour}_{shape}{suffix}"
            outline(shape).save(folder / "inputs" / given)
            filled(shape, colour).save(folder / "outputs" / wanted)
            rows.append({"input_polygon": given, key: colour, "output_image": wanted})
        (folder / "data.json").write_text(json.dumps(rows))
    return root


def rows_of(root, split="training"):
    return json.loads((root / split / "data.json").read_text())


def rewrite(root, change, split="training"):
    """Change the list of a split with `change(rows)`."""
    rows = rows_of(root, split)
    change(rows)
    (root / split / "data.json").write_text(json.dumps(rows))


def region(shape):
    """Return where a written pair is filled, bool [SIDE, SIDE], from how it was drawn."""
    return (np.asarray(filled(shape, "red")) != 255).any(axis=2)
