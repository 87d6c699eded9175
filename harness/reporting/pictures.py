"""Sample pictures: strips of tiles from the store, laid out for comparison."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import pandas as pd
from PIL import Image

from harness.analysis.wording import counted
from harness.errors import StoreError
from harness.plan import Plan, PlannedTrial
from harness.reporting.model import Overview, Picture, PictureRow
from harness.reporting.names import Names
from harness.store.read import RunRecord

MOST_PIXELS = 1 << 25  # of a strip
MOST_EPOCHS = 12  # per variant
OVERVIEW_EPOCHS = 4
OVERVIEW_TILES = 2
TILES_PER_ROW = 8
GRID_ROWS = 3  # input, target, prediction
GAP = 4  # pixels between tiles, transparent
FRAME = (128, 128, 128, 72)  # a thin line around every tile: white ones end somewhere on white paper

Drawn = TypeVar("Drawn")


class Samples:
    """The sample strips of a run, by variant; one trial speaks for each variant."""

    def __init__(self, record: RunRecord, names: Names) -> None:
        table = record.artifacts
        self._files = record.files
        self._names = names
        samples = table[table["kind"] == "sample"]
        self._chosen = chosen = _one_trial_each(record.plan, samples)
        self._by_variant = {
            variant.name: samples[samples["trial_id"] == chosen[variant.name].id]
            if variant.name in chosen
            else samples.iloc[:0]
            for variant in record.plan.variants
        }
        self._folds = sorted({trial.fold for trial in chosen.values() if trial.fold is not None})

    def trial(self, variant: str) -> PlannedTrial | None:
        """Return the trial that speaks for a variant; none where it has no pictures."""
        return self._chosen.get(variant)

    def column(self, variant: str, name: str, epoch: int | None, tiles: int) -> Picture | None:
        """Return the first few tiles of a strip below each other, or none where there is no such strip.

        Args:
            variant: name of the variant.
            name: "input", "target" or "prediction".
            epoch: of a prediction.
            tiles: how many at most.
        """
        rows = self._strips(variant, name, epoch)
        if rows.empty:
            return None
        grid = self._drawn(str(rows.iloc[-1]["path"]), partial(tile_grid, tiles=tiles, per_row=1))
        moment = "" if epoch is None else f" after epoch {epoch}"
        file = f"trend_{self._names.file(variant)}_{name}{'' if epoch is None else f'_{epoch:03d}'}"
        return Picture(
            file, _png(grid), grid.width, grid.height, f"{self._names.title(variant)}: {name}{moment}"
        )

    def worst(self, variant: str) -> tuple[int, list[Picture]] | None:
        """Return the epoch and the worst images of a variant's trial, worst first.

        Each picture is input, target and prediction below each other; none where the trial kept none.
        """
        rows = self._strips(variant, "worst", None, any_epoch=True)
        if rows.empty:
            return None
        last = rows.sort_values("epoch").iloc[-1]
        stem, title = f"worst_{self._names.file(variant)}", self._names.title(variant)
        columns = self._drawn(str(last["path"]), grid_columns)
        return int(last["epoch"]), [
            Picture(
                f"{stem}_{place}",
                _png(column),
                column.width,
                column.height,
                f"{title}, worst image {place}: input, target, prediction",
            )
            for place, column in enumerate(columns, start=1)
        ]

    def epochs(self, variant: str) -> list[int]:
        """Return the epochs that have a picture."""
        rows = self._by_variant[variant]
        return sorted(int(epoch) for epoch in rows[rows["name"] == "prediction"]["epoch"])

    def overview(self) -> Overview | None:
        """Return variants by epochs with the same few images, input above and target below."""
        last = [epochs[-1] for variant in self._by_variant if (epochs := self.epochs(variant))]
        if not last:
            return None
        shown = overview_epochs(last)
        first = next(variant for variant in self._by_variant if self.epochs(variant))
        rows = [self._fixed_row(first, "input", len(shown))]
        rows += [self._overview_row(variant, shown) for variant in self._by_variant if self.epochs(variant)]
        rows.append(self._fixed_row(first, "target", len(shown)))
        return Overview(
            columns=tuple(f"epoch {epoch}" for epoch in shown),
            rows=tuple(row for row in rows if any(row.pictures)),
            caption=self._caption(),
        )

    def _caption(self) -> str:
        """Say whose images these are: every fold validates on images of its own."""
        same = "The same validation images in every row and column"
        if not self._folds:
            return f"{same}."
        if len(self._folds) == 1:
            return f"{same}: those of fold {self._folds[0]}."
        return (
            f"Validation images of folds {', '.join(map(str, self._folds))}: the same in every column, not "
            "in every row, since no fold has pictures of every variant."
        )

    def rows(self, variant: str) -> tuple[tuple[PictureRow, ...], str]:
        """Return a variant's pictures (input, target, then epochs) and what was left out."""
        epochs = self.epochs(variant)
        if not epochs:
            return (), ""
        shown = evenly_spaced(epochs, MOST_EPOCHS)
        title, stem = self._names.title(variant), f"{self._names.file(variant)}_epoch"
        rows = [
            PictureRow(
                name, (self._picture(variant, name, None, f"{self._names.file(variant)}_{name}", name),)
            )
            for name in ("input", "target")
        ]
        rows += [
            PictureRow(
                f"epoch {epoch}",
                (
                    self._picture(
                        variant, "prediction", epoch, f"{stem}_{epoch:03d}", f"{title} after epoch {epoch}"
                    ),
                ),
            )
            for epoch in shown
        ]
        left_out = len(epochs) - len(shown)
        note = f"{counted(left_out, 'epoch')} of {len(epochs)} left out, evenly spaced." if left_out else ""
        return tuple(row for row in rows if any(row.pictures)), note

    def _fixed_row(self, variant: str, name: str, width: int) -> PictureRow:
        picture = self._picture(variant, name, None, f"overview_{name}", name, tiles=OVERVIEW_TILES)
        return PictureRow(name, (picture, *[None] * (width - 1)))

    def _overview_row(self, variant: str, shown: Sequence[int]) -> PictureRow:
        title = self._names.title(variant)
        stem = f"overview_{self._names.file(variant)}"
        pictures = [
            self._picture(
                variant,
                "prediction",
                epoch,
                f"{stem}_{epoch:03d}",
                f"{title} after epoch {epoch}",
                tiles=OVERVIEW_TILES,
            )
            for epoch in shown
        ]
        return PictureRow(title, tuple(pictures), self._names.colour(variant), self._names.mark(variant))

    def _picture(
        self, variant: str, name: str, epoch: int | None, file: str, alt: str, tiles: int | None = None
    ) -> Picture | None:
        rows = self._strips(variant, name, epoch)
        if rows.empty:
            return None
        grid = self._drawn(str(rows.iloc[-1]["path"]), partial(tile_grid, tiles=tiles))
        return Picture(file, _png(grid), grid.width, grid.height, alt)

    def _strips(self, variant: str, name: str, epoch: int | None, *, any_epoch: bool = False) -> pd.DataFrame:
        """Return the artifacts of a name that a variant has, of one epoch or, for none, of no epoch."""
        rows = self._by_variant[variant]
        at = rows["epoch"].isna() if epoch is None else rows["epoch"] == epoch
        return rows[(rows["name"] == name) & (at | any_epoch)]

    def _drawn(self, path: str, draw: Callable[[bytes], Drawn]) -> Drawn:
        """Return what is drawn from a stored picture.

        Raises:
            StoreError: it is not there, or cannot be read.
        """
        try:
            return draw(self._files.read(path))
        except FileNotFoundError:
            raise StoreError(f"the picture {path} is not in the store {self._files.address}") from None
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise StoreError(f"the picture {path} in {self._files.address} cannot be read: {error}") from None


def _one_trial_each(plan: Plan, samples: pd.DataFrame) -> dict[str, PlannedTrial]:
    """Return the trial that speaks for each variant that has pictures.

    It is the variant's first, in the order of seeds; with folds that of the fold that has pictures of
    most variants, if it can be.
    """
    shown = set(samples.loc[samples["name"] == "prediction", "trial_id"])
    trials = [trial for trial in plan.trials if trial.id in shown]
    covered: dict[int | None, set[str]] = {}
    for trial in trials:
        covered.setdefault(trial.fold, set()).update(trial.variants)
    trials.sort(key=lambda trial: (-len(covered[trial.fold]), trial.fold or 0, plan.seeds.index(trial.seed)))
    return {name: trial for trial in reversed(trials) for name in trial.variants}


def evenly_spaced(values: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the values, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    picked = np.linspace(0, len(values) - 1, most).round().astype(int)
    return [values[index] for index in picked]


def overview_epochs(last: Sequence[int]) -> list[int]:
    """Return the columns of the overview: the first epoch, every variant's last one, and some between."""
    longest = max(last)
    return sorted({1, *last} | set(evenly_spaced(range(1, longest + 1), OVERVIEW_EPOCHS)))


def tile_grid(png: bytes, tiles: int | None = None, per_row: int = TILES_PER_ROW) -> Image.Image:
    """Return the first `tiles` square tiles of a strip (none: all) with gaps, at most `per_row` in a row.

    Raises:
        ValueError: the strip has too many pixels, or not one whole tile.
        OSError: it is no PNG.
    """
    with Image.open(io.BytesIO(png), formats=["PNG"]) as strip:
        side = strip.height
        if strip.width * side > MOST_PIXELS or strip.width < side:  # before a pixel is unfolded
            raise ValueError(f"{strip.width} x {side} pixels")
        number = min(tiles or strip.width // side, strip.width // side)
        per_row = min(number, per_row)
        rows = -(-number // per_row)
        pitch = side + 2 + GAP
        grid = Image.new("RGBA", (per_row * pitch - GAP, rows * pitch - GAP), (0, 0, 0, 0))
        for index in range(number):
            left, top = index % per_row * pitch, index // per_row * pitch
            grid.paste(FRAME, (left, top, left + side + 2, top + side + 2))
            grid.paste(strip.crop((index * side, 0, (index + 1) * side, side)), (left + 1, top + 1))
    return grid


def grid_columns(png: bytes) -> list[Image.Image]:
    """Return the columns of a grid of square tiles in three rows, each with gaps, left to right.

    Raises:
        ValueError: the grid has too many pixels, or not one whole column.
        OSError: it is no PNG.
    """
    with Image.open(io.BytesIO(png), formats=["PNG"]) as grid:
        side = grid.height // GRID_ROWS
        if grid.width * grid.height > MOST_PIXELS or not 0 < side <= grid.width:  # before a pixel is unfolded
            raise ValueError(f"{grid.width} x {grid.height} pixels")
        return [_column(grid, left, side) for left in range(0, grid.width - side + 1, side)]


def _column(grid: Image.Image, left: int, side: int) -> Image.Image:
    pitch = side + 2 + GAP
    column = Image.new("RGBA", (side + 2, GRID_ROWS * pitch - GAP), (0, 0, 0, 0))
    for row in range(GRID_ROWS):
        column.paste(FRAME, (0, row * pitch, side + 2, row * pitch + side + 2))
        tile = grid.crop((left, row * side, left + side, (row + 1) * side))
        column.paste(tile, (1, row * pitch + 1))
    return column


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
