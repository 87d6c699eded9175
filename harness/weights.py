"""Files of published weights that trials read: which they are, whether they are here, and getting them.

A trial never fetches anything by itself. A Config that reads such files says which (`NeedsWeights`);
`harness weights` lists them for a suite before a machine without network needs them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.errors import HarnessError

HASH_IN_NAME = re.compile(r"-([a-f0-9]{6,64})\.[^.]+$")
"""Torch hub's rule: the end of a file's name is the beginning of its SHA-256."""


class FetchError(HarnessError):
    """A file of weights that could not be fetched; the message says how to get it elsewhere."""


@dataclass(frozen=True)
class WeightFile:
    """One file of weights: where it lies, or would, and where it comes from.

    With a `url` it belongs to torch hub's cache, with a `repo` to that of the Hugging Face hub,
    with neither it is the user's own file.
    """

    title: str
    """What it holds, for people."""
    path: Path
    """Where it lies, or would lie."""
    url: str | None = None
    repo: str | None = None
    """Repository on the Hugging Face hub; the file there is called like `path`."""
    megabytes: float | None = None
    """Size where it is known without asking the network; that of the file itself once it is here."""
    otherwise: str | None = None
    """Name of the file that stands for it in a repository of the hub that has none called like `path`."""

    def present(self) -> bool:
        """Return whether the file is on this machine; never asks the network."""
        return self.path.is_file()

    @property
    def size(self) -> float | None:
        """Size in megabytes (10^6 bytes): measured where it is here, else as published, else none."""
        return self.path.stat().st_size / 1e6 if self.present() else self.megabytes

    @property
    def way(self) -> str:
        """How to get the file where this machine has no network."""
        if self.url is not None:
            return f"elsewhere: curl -LO {self.url}; then copy it to {self.path}"
        if self.repo is not None:
            other = f" (or {self.otherwise})" if self.otherwise else ""
            return (
                f"elsewhere: hf download {self.repo} {self.path.name}{other}; then copy its folder of the "
                f"cache (~/.cache/huggingface/hub/{_cache_folder(self.repo)}) to {_hub_cache()}"
            )
        return f"copy your own file to {self.path}, or change its path in the suite"

    def fetch(self) -> None:
        """Get the file, if it is not here, from where it was published.

        Raises:
            FetchError: it cannot be had from here; nothing half is left behind.
        """
        if self.present():
            return
        if self.url is not None:
            _fetch_url(self, self.url)
        elif self.repo is not None:
            _fetch_from_hub(self, self.repo)
        else:
            raise FetchError(f"{self.path} is not there; {self.way}")


@runtime_checkable
class NeedsWeights(Protocol):
    """A Config whose component reads files of published weights; also a task class, for its metrics."""

    def needed_weights(self) -> Sequence[WeightFile]:
        """Return the files that the component reads when built; asks no network, reads none of them."""
        ...


def torch_hub_file(title: str, url: str, *, megabytes: float | None = None) -> WeightFile:
    """Return a file of torch hub's cache, which is named as in its address."""
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    return WeightFile(title, path, url=url, megabytes=megabytes)


def hugging_face_file(
    title: str, repo: str, filename: str = "model.safetensors", *, otherwise: str | None = None
) -> WeightFile:
    """Return a file of a repository on the Hugging Face hub, in that hub's cache.

    Args:
        title: what it holds, for people.
        repo: owner and name.
        filename: what it is called there.
        otherwise: what it is called in repositories that have no `filename`.
    """
    from huggingface_hub import try_to_load_from_cache

    for name in (filename, otherwise):
        found = try_to_load_from_cache(repo, name) if name else None
        if isinstance(found, str):
            return WeightFile(title, Path(found), repo=repo)
    expected = _hub_cache() / _cache_folder(repo) / "snapshots" / "main" / filename
    return WeightFile(title, expected, repo=repo, otherwise=otherwise)


def _fetch_url(file: WeightFile, url: str) -> None:
    import torch

    expected = HASH_IN_NAME.search(file.path.name)
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            url, str(file.path), hash_prefix=expected[1] if expected else None, progress=False
        )
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # a wrong hash is a RuntimeError
        raise FetchError(f"{file.path.name} could not be fetched ({error}); {file.way}") from error


def _fetch_from_hub(file: WeightFile, repo: str) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        try:
            hf_hub_download(repo, file.path.name)
        except EntryNotFoundError as missing:
            # Without a network the first error is of the same kind: only the hub says that there is none.
            if file.otherwise is None or isinstance(missing, LocalEntryNotFoundError):
                raise
            hf_hub_download(repo, file.otherwise)
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise FetchError(f"{repo}/{file.path.name} could not be fetched ({reason}); {file.way}") from error


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _cache_folder(repo: str) -> str:
    from huggingface_hub.file_download import repo_folder_name

    return str(repo_folder_name(repo_id=repo, repo_type="model"))
