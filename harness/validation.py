"""Checking plain values against a model, with messages that say the way out."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.document import Path_
from harness.errors import did_you_mean

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Mistake:
    """What is wrong at a path, before it is known where in a file that path was written."""

    path: Path_
    message: str
    of_key: bool = False
    """Whether the key itself is wrong, and not its value."""

    def below(self, prefix: Path_) -> Mistake:
        """Return the same mistake, seen from further up."""
        return Mistake(prefix + self.path, self.message, self.of_key)


class Mistakes(Exception):  # noqa: N818  (carries a list up to where positions are known; users never see it)
    """Everything that is wrong with a value."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(f"{mistake.path}: {mistake.message}" for mistake in mistakes))
        self.mistakes = mistakes


def check(model: type[Model], value: Any, path: Path_ = ()) -> Model:
    """Return `value` as `model`; no type is bent: "5" is no number and true is no 1.

    Raises:
        Mistakes: everything that is wrong, each below `path`.
    """
    try:
        return model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise Mistakes([_mistake(model, details).below(path) for details in error.errors()]) from None


def _mistake(model: type[BaseModel], details: ErrorDetails) -> Mistake:
    path = tuple(details["loc"])
    kind = details["type"]
    if kind == "extra_forbidden":
        owner = _model_at(model, path[:-1])
        known = owner.model_fields if owner else ()
        return Mistake(path, f"no such setting{did_you_mean(str(path[-1]), known)}", of_key=True)
    if kind == "missing" and isinstance(path[-1], int):
        return Mistake(path[:-1], f"needs more than {path[-1]} values")
    if kind == "missing":
        return Mistake(path[:-1], f"'{path[-1]}' is missing", of_key=True)
    if kind == "value_error":
        return Mistake(path, str(details["ctx"]["error"]))
    got = _shorten(details["input"])
    if kind == "literal_error":
        expected = details["ctx"]["expected"]
        names = [name.strip("' ") for name in expected.replace(" or ", ",").split(",")]
        suggestion = did_you_mean(details["input"], names) if isinstance(details["input"], str) else ""
        near = suggestion if "did you mean" in suggestion else ""
        return Mistake(path, f"expected {expected}, got {got}{near}")
    message = details["msg"].removeprefix("Input ")
    return Mistake(path, f"{message[0].lower()}{message[1:]}, got {got}")


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _model_at(annotation: Any, path: Path_) -> type[BaseModel] | None:
    """Return the model that stands at `path` below an annotated type."""
    arguments = [item for item in typing.get_args(annotation) if item is not types.NoneType]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return _model_at(arguments[0], path)
    if not path:
        return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(path[0]))
        return _model_at(field.annotation, path[1:]) if field else None
    if arguments:
        inner = arguments[-1] if typing.get_origin(annotation) is dict else arguments[0]
        return _model_at(inner, path[1:])
    return None
