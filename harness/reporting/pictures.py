"""Sample pictures: strips of tiles from the store, laid out for comparison."""

from __future__ import annotations

import io
from collections.abc import Sequence

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
GAP = 4  # pixels between tiles, transparent
FRAME = (128, 128, 128, 72)  # a thin line around every tile: white ones end somewhere on white paper


class Samples:
    """The sample strips of a run, by variant; one trial speaks for each variant."""

    def __init__(self, record: RunRecord, names: Names) -> None:
        table = record.artifacts
        self._files = record.files
        self._names = names
        samples = table[table["kind"] == "sample"]
        chosen = _one_trial_each(record.plan, samples)
        self._by_variant = {
            variant.name: samples[samples["trial_id"] == chosen[variant.name].id]
            if variant.name in chosen
            else samples.iloc[:0]
            for variant in record.plan.variants
        }
        self._folds = sorted({trial.fold for trial in chosen.values() if trial.fold is not None})

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
        rows = self._by_variant[variant]
        rows = rows[
            (rows["name"] == name) & (rows["epoch"].isna() if epoch is None else rows["epoch"] == epoch)
        ]
        if rows.empty:
            return None
        grid = self._grid(str(rows.iloc[-1]["path"]), tiles)
        return Picture(file, _png(grid), grid.width, grid.height, alt)

    def _grid(self, path: str, tiles: int | None) -> Image.Image:
        try:
            return tile_grid(self._files.read(path), tiles)
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


def tile_grid(png: bytes, tiles: int | None = None) -> Image.Image:
    """Return the first `tiles` square tiles of a strip (none: all) with gaps, at most eight in a row.

    Raises:
        ValueError: the strip has too many pixels, or not one whole tile.
        OSError: it is no PNG.
    """
    with Image.open(io.BytesIO(png), formats=["PNG"]) as strip:
        side = strip.height
        if strip.width * side > MOST_PIXELS or strip.width < side:  # before a pixel is unfolded
            raise ValueError(f"{strip.width} x {side} pixels")
        number = min(tiles or strip.width // side, strip.width // side)
        per_row = min(number, TILES_PER_ROW)
        rows = -(-number // per_row)
        pitch = side + 2 + GAP
        grid = Image.new("RGBA", (per_row * pitch - GAP, rows * pitch - GAP), (0, 0, 0, 0))
        for index in range(number):
            left, top = index % per_row * pitch, index // per_row * pitch
            grid.paste(FRAME, (left, top, left + side + 2, top + side + 2))
            grid.paste(strip.crop((index * side, 0, (index + 1) * side, side)), (left + 1, top + 1))
    return grid


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
