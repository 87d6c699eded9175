"""One split of a data set as arrays on disk, mapped read-only and read in batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch


class ArraySplit:
    """The samples of one split, mapped from `<name>.npy` files; cheap to open and to pickle."""

    def __init__(self, folder: Path, images: Sequence[str], labels: Sequence[str], size: int) -> None:
        """Map the files.

        Args:
            folder: that holds them, as `harness.data.cache.write_arrays` leaves it.
            images: names of pictures, uint8 [count, C, H, W].
            labels: names of labels, int64 [count].
            size: of the split, the first samples of the files; at most their count.
        """
        self._opened_from = (folder, tuple(images), tuple(labels), size)
        # A plain view of the map: indexing the np.memmap class itself is slower.
        arrays = {
            name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))[:size]
            for name in (*images, *labels)
        }
        self._images = {name: arrays[name] for name in images}
        self._labels = {name: arrays[name] for name in labels}
        self._size = size
        assert all(len(array) == size for array in arrays.values())

    def __reduce__(self) -> tuple[type[ArraySplit], tuple[Path, tuple[str, ...], tuple[str, ...], int]]:
        return ArraySplit, self._opened_from

    def __len__(self) -> int:
        return self._size

    def batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """Return the samples at `indices` (N of them) in new memory.

        Pictures are float32 [N, C, H, W] in [0, 1]; labels and `index` are int64 [N].

        Raises:
            IndexError: an index is not in the split.
        """
        chosen = np.array(indices, dtype=np.int64)
        images = {
            name: torch.from_numpy(array[chosen]).float().div_(255) for name, array in self._images.items()
        }
        labels = {name: torch.from_numpy(array[chosen]) for name, array in self._labels.items()}
        return {**images, **labels, "index": torch.from_numpy(chosen)}
