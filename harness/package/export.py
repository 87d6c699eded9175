"""A trial of a store as a folder that predicts by itself: written whole or not at all."""

from __future__ import annotations

import contextlib
import filecmp
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import __version__, plugins
from harness.analysis.plain_json import document_text, plain_value
from harness.config import MetricInfo, TrialSpec
from harness.data.cache import cache_folder
from harness.errors import HarnessError, StoreError
from harness.package.card import card
from harness.package.choose import Choice, WeightsName, choose
from harness.package.contents import (
    CARD,
    CONFIG,
    LICENCES,
    MASK_CHANNELS,
    METRICS,
    ONNX,
    WEIGHTS,
    Origin,
    PackageConfig,
    PackageError,
    Preprocessing,
    file_hash,
    plugin_of,
    read_config,
)
from harness.package.licences import licences
from harness.redact import redact
from harness.registry import registry
from harness.specify import respecify
from harness.store.read import DEFAULT_STORE, StoreReader, open_store
from harness.validation import Mistakes, check

TASK = "colorization"  # the one that `harness predict` knows
EXTRA_CHANNELS = {channels: kind for kind, channels in MASK_CHANNELS.items()}


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    files: dict[str, int]
    """Name -> bytes."""
    chosen: str
    """Which trial it is, in words."""
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "folder": str(self.folder)}


def export(
    trial: str,
    *,
    to: Path | str,
    store: Path | str = DEFAULT_STORE,
    run: str = "latest",
    seed: int | None = None,
    weights: WeightsName = "last",
    onnx: bool = False,
) -> Exported:
    """Write a trained model as a folder of its own (docs/export.md).

    Args:
        trial: a variant of the run, of which the median seed in the primary metric is taken, or the
            beginning of a trial's id.
        to: a folder that is not there yet, is empty, or holds just this.
        store: folder or address, such as s3://bucket/folder, that results are kept in.
        run: id, unique prefix or `latest`, whose variants are meant.
        seed: in place of the median one.
        weights: `last`, those that the trial is answered for by, or `best`.
        onnx: whether the model is written as ONNX too.

    Raises:
        HarnessError: no such trial or weights, a task or model that cannot be exported, or a folder that
            holds something else.
    """
    reader, folder = open_store(store), Path(to).absolute()
    try:
        choice = choose(trial, reader, run=run, seed=seed)
        spec = _specification(choice)
        file, epoch = _weights_file(reader, choice, weights)
        with _new_folder(folder) as partial:
            return _write(partial, folder, choice, spec, file, (weights, epoch), onnx=onnx)
    finally:
        reader.files.close()


def _write(
    partial: Path,
    folder: Path,
    choice: Choice,
    spec: TrialSpec,
    file: Path,
    weights: tuple[WeightsName, int],
    *,
    onnx: bool,
) -> Exported:
    from harness.package.model import load_model  # imports torch

    shutil.copyfile(file, partial / WEIGHTS)
    palette, notes = _palette(spec)
    config = _config(choice, spec, palette, weights, file_hash(partial / WEIGHTS))
    model = load_model(config, partial / WEIGHTS)  # by the settings that go into the folder: it is complete
    if onnx:
        from harness.package.onnx_file import write_onnx

        config = config.model_copy(update={"onnx": write_onnx(model, config, partial / ONNX)})
        if config.precision != "fp32":
            notes.append(f"{ONNX} computes in fp32, the trial was evaluated in {config.precision}")
    infos: Mapping[str, MetricInfo] = registry.load("task", spec.task).metric_infos(spec)
    metrics = _metrics(choice, spec, infos, weights)
    _write_text(partial / CONFIG, document_text(config.model_dump(mode="json")))
    _write_text(partial / METRICS, document_text(metrics))
    _write_text(partial / CARD, card(config, spec, choice, metrics["metrics"], infos))
    _write_text(partial / LICENCES, licences(spec))
    read_config(partial)
    files = {one.name: one.stat().st_size for one in sorted(partial.iterdir())}
    return Exported(folder, files, choice.sentence, tuple(notes))


def _write_text(file: Path, text: str) -> None:
    file.write_text(redact(text), encoding="utf-8")


def _specification(choice: Choice) -> TrialSpec:
    """Return the specification of a trial, with the plugins that it was trained with.

    Raises:
        PackageError: its task is another one, or something that it names is not here.
    """
    written = json.loads(choice.attempt.spec)
    planned: dict[str, str] = written["plugins"]
    changed = [target for target, sources in planned.items() if plugins.source_hash(target) != sources]
    if changed:
        raise PackageError(f"the plugin {', '.join(changed)} changed since the trial was trained")
    if written["task"] != TASK:
        raise PackageError(f"the task {written['task']} cannot be exported, only {TASK}")
    try:
        return respecify(written)
    except Mistakes as found:
        lines = [f"{'.'.join(map(str, one.path))}: {one.message}" for one in found.mistakes]
        raise PackageError("\n  ".join(["what the trial was made of is not here:", *lines])) from None


def _weights_file(reader: StoreReader, choice: Choice, name: WeightsName) -> tuple[Path, int]:
    """Return the file of the weights on this machine and their epoch; its hash is that of the record."""
    kept = {row["name"]: row for row in choice.attempt.artifacts if row["kind"] == "checkpoint"}
    if name not in kept:
        others = f"kept are {', '.join(sorted(kept))}; name them with --weights" if kept else "none were kept"
        raise PackageError(
            f"trial {choice.attempt.trial_id} has no weights '{name}': {others} (`checkpoints` of the suite)"
        )
    row = kept[name]
    try:
        file = reader.files.download(row["path"])
    except FileNotFoundError:
        raise StoreError(
            f"{reader.address}/{row['path']} is not there; the store was copied without it"
        ) from None
    if file_hash(file) != row["hash"]:
        raise StoreError(f"{reader.address}/{row['path']} is damaged: its SHA-256 is not the recorded one")
    return file, int(row["epoch"])


def _config(
    choice: Choice,
    spec: TrialSpec,
    palette: dict[str, tuple[int, int, int]] | None,
    weights: tuple[WeightsName, int],
    weights_sha256: str,
) -> PackageConfig:
    task = registry.load("task", spec.task)
    labels = {kind: tuple(names) for kind, names in task.labels_of(spec).items()}
    channels = int(registry.load("data", spec.data.name).image_channels(spec.data))
    attempt = choice.attempt
    values = {
        "harness": __version__,
        "task": spec.task,
        "model": _without_folders(spec.model.trained().model_dump(mode="json")),
        "plugin": plugin_of(spec.model.name),
        "size": list(spec.data.size),
        "image_channels": channels,
        "class_names": labels["colour"],
        "palette": palette,
        "label_names": labels,
        "preprocessing": _preprocessing(spec, channels).model_dump(),
        "precision": spec.train.precision,
        "weights_sha256": weights_sha256,
        "origin": Origin(
            suite=choice.suite,
            run_id=attempt.run_id,
            trial_id=attempt.trial_id,
            attempt=attempt.attempt,
            variant=choice.variant,
            levels=json.loads(attempt.levels),
            seed=attempt.seed,
            fold=attempt.fold,
            weights=weights[0],
            epoch=weights[1],
            averaged=spec.train.ema is not None,
            code_hash=attempt.code_hash,
            spec=_without_folders(json.loads(attempt.spec)),
        ).model_dump(),
    }
    try:
        return check(PackageConfig, values)
    except Mistakes as found:
        raise PackageError(f"the trial cannot be exported: {found}") from None


def _preprocessing(spec: TrialSpec, channels: int) -> Preprocessing:
    """Return how a picture becomes the input; refuse channels whose meaning nobody can derive."""
    shown = int(registry.load("data", spec.data.name).picture_channels(spec.data))
    extra = channels - shown
    if extra not in EXTRA_CHANNELS or (extra and not registry.is_builtin("data", spec.data.name)):
        raise PackageError(
            f"the data set {spec.data.name} gives {extra} channels beside the picture, and `harness predict` "
            "cannot derive them from a picture"
        )
    return Preprocessing(picture="rgb" if shown == 3 else "grey", mask=EXTRA_CHANNELS[extra])


def _palette(spec: TrialSpec) -> tuple[dict[str, tuple[int, int, int]] | None, list[str]]:
    """Return the colours as the data set has them; none, and a note, where its files are not here."""
    names = registry.load("task", spec.task).labels_of(spec)["colour"]
    try:
        data = registry.load("data", spec.data.name)(spec.data, cache_folder())
    except HarnessError as error:
        return None, [f"the palette is left out, since the data is not here: {error}"]
    levels = data.palette.mul(255).round().int().tolist()
    return {name: tuple(level) for name, level in zip(names, levels, strict=True)}, []


def _without_folders(value: Any) -> Any:
    """Return JSON values with every absolute path cut to its last part: folders tell who trained where."""
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value


def _metrics(
    choice: Choice, spec: TrialSpec, infos: Mapping[str, MetricInfo], weights: tuple[WeightsName, int]
) -> dict[str, Any]:
    """Return `metrics.json`: what these weights reached on the validation split, whole and by label."""
    name, epoch = weights
    rows = [row for row in choice.attempt.metrics if (row["split"], row["epoch"]) == ("validation", epoch)]
    whole = {row["metric"]: _value(row, infos) for row in rows if row["label"] is None}
    by_label: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["label"] is not None:
            by_label.setdefault(row["metric"], {})[row["label"]] = _value(row, {})
    return {
        "split": "validation",
        "fold": None if spec.folds is None else {"number": spec.fold, "of": spec.folds},
        "weights": name,
        "epoch": epoch,
        "primary_metric": spec.primary_metric,
        "images": whole[spec.primary_metric]["count"],
        "metrics": whole,
        "by_label": by_label,
        "parameters": choice.attempt.parameters,
        "forward_flops": choice.attempt.forward_flops,
        "variant": [{"seed": seed, spec.primary_metric: plain_value(value)} for seed, value in choice.among],
    }


def _value(row: Mapping[str, Any], infos: Mapping[str, MetricInfo]) -> dict[str, Any]:
    found = {key: plain_value(row[key]) for key in ("value", "sd", "count")}
    info = infos.get(row["metric"])
    if info is None:
        return found
    return {**found, "title": info.title, "unit": info.unit, "direction": info.direction}


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `folder` that takes its place when the block ends well.

    Raises:
        PackageError: `folder` holds something else.
        StoreError: it cannot be written.
    """
    partial = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        try:
            yield partial
            _put_in_place(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror or error}") from error


def _put_in_place(partial: Path, folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise PackageError(f"{folder} is no folder; name one that is not there yet")
    if folder.is_dir() and any(folder.iterdir()):
        if not _holds_the_same(partial, folder):
            raise PackageError(f"{folder} holds something else; name a folder that is not there yet")
        return
    partial.rename(folder)


def _holds_the_same(a: Path, b: Path) -> bool:
    names = sorted(one.name for one in a.iterdir())
    if names != sorted(one.name for one in b.iterdir()):
        return False
    return filecmp.cmpfiles(a, b, names, shallow=False)[0] == names
