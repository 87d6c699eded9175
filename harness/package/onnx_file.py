"""The same model as ONNX: written, checked against torch, and run without torch.

The packages come with the extra `onnx`: pip install 'ablation-harness[onnx]'.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.package.contents import OnnxFacts, PackageConfig, PackageError, file_hash

if TYPE_CHECKING:
    import torch

OPSET = 20
PICTURES = 4  # random ones that both are compared on
TOLERANCE = 1e-3
"""Largest difference of the output, in [0, 1], that is accepted: a quarter of a level of a picture."""
EXPORTER = ("torch.onnx", "onnxscript", "onnx_ir")  # loggers
EXTRA = "pip install 'ablation-harness[onnx]'"


def write_onnx(model: torch.nn.Module, config: PackageConfig, file: Path) -> OnnxFacts:
    """Write a model as ONNX, with a free number of pictures in a batch, in fp32; return how near it comes.

    Inputs are `image` float32 [N, C, H, W] in [0, 1] and `colour` int64 [N], the output is `picture`
    float32 [N, 3, H, W].

    Raises:
        PackageError: the packages are missing, the exporter has no form for an operation of the model, or
            onnxruntime gives another picture than torch.
    """
    import torch

    for package in ("onnx", "onnxscript", "onnxruntime"):
        _require(package)
    image, colour = examples(config)
    inputs = (torch.from_numpy(image), torch.from_numpy(colour))
    batch = torch.export.Dim("batch", min=1)
    try:
        with _quiet():
            torch.onnx.export(
                model,
                inputs,
                str(file),
                dynamo=True,
                external_data=False,
                verbose=False,
                opset_version=OPSET,
                input_names=["image", "colour"],
                output_names=["picture"],
                dynamic_shapes=({0: batch}, {0: batch}),
            )
    except Exception as error:  # the exporter raises what its many passes raise
        raise PackageError(
            f"the model {config.model.get('name')} cannot be written as ONNX: {_first_line(error)}; "
            "leave --onnx out, model.safetensors needs none"
        ) from error
    with torch.no_grad():
        expected = model(*inputs).numpy()
    difference = _largest_difference(session(file), image, colour, expected)
    return OnnxFacts(opset=OPSET, largest_difference=difference, sha256=file_hash(file))


def examples(config: PackageConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return random inputs from a fixed seed: pictures [4, C, H, W] and class numbers [4]."""
    random = np.random.default_rng(0)
    image = random.random((PICTURES, config.image_channels, *config.size), dtype=np.float32)
    return image, random.integers(len(config.class_names), size=PICTURES)


def session(file: Path) -> Any:
    """Return a session of onnxruntime, on one thread of the CPU.

    Raises:
        PackageError: the packages are missing, or the file is no ONNX model that stands alone.
    """
    runtime = _require("onnxruntime")
    _require_whole(file)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a class of its own for every status
        raise PackageError(f"onnxruntime cannot run {file}: {_first_line(error)}") from error


def _require_whole(file: Path) -> None:
    """Refuse a model whose weights lie in other files: it could name any file of this machine."""
    onnx = _require("onnx")
    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # protobuf's own errors
        raise PackageError(f"{file} is no ONNX model: {_first_line(error)}") from error
    if any(onnx.external_data_helper.uses_external_data(tensor) for tensor in _tensors(model)):
        raise PackageError(f"{file} keeps weights in other files; `harness export --onnx` writes one file")


def _tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor anywhere in a message of ONNX."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _tensors(one)


def _largest_difference(run: Any, image: np.ndarray, colour: np.ndarray, expected: np.ndarray) -> float:
    if isinstance(run.get_inputs()[0].shape[0], int):
        raise PackageError(
            f"as ONNX the model takes {run.get_inputs()[0].shape[0]} pictures at once and no other number; "
            "leave --onnx out"
        )
    together = run.run(None, {"image": image, "colour": colour})[0]
    alone = run.run(None, {"image": image[:1], "colour": colour[:1]})[0]
    difference = float(max(np.abs(together - expected).max(), np.abs(alone - expected[:1]).max()))
    if not difference <= TOLERANCE:
        raise PackageError(
            f"as ONNX the model gives another picture: values differ by up to {difference:.2g}, expected "
            f"at most {TOLERANCE:g}; leave --onnx out"
        )
    return difference


def _require(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise PackageError(f"ONNX needs the package {package}: {EXTRA}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter prints and warns of its own parts away from the user."""
    loggers = [logging.getLogger(name) for name in EXPORTER]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{lines[0]:.300}" if lines else type(error).__name__
