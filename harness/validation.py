"""Checking plain values against a model, with messages that say the way out."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, Tag, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
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
        super().__init__(mistakes)
        self.mistakes = mistakes

    def __str__(self) -> str:
        return "; ".join(f"{mistake.path}: {mistake.message}" for mistake in self.mistakes)


def check(model: type[Model], value: Any, path: Path_ = ()) -> Model:
    """Return `value` as `model`; no type is bent: "5" is no number and true is no 1.

    Raises:
        Mistakes: everything that is wrong, each below `path`; one for each place.
    """
    try:
        return model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        found = [_mistake(model, value, details) for details in error.errors()]
    raise Mistakes([mistake.below(path) for mistake in _distinct(model, found)])


class _Found(NamedTuple):
    mistake: Mistake
    got: Any
    of_type: bool
    """Whether the value is of a wrong type, so that nothing else was looked at."""
    of_union: bool
    """Whether it is what one of several accepted types says."""
    owner: type[BaseModel] | None
    """The model that the last key of the path belongs to."""


def _mistake(model: type[BaseModel], value: Any, details: ErrorDetails) -> _Found:
    kind, got = details["type"], details["input"]
    path, owner, of_union = _resolve(model, details["loc"])
    message, of_key = _message(details, owner), False
    if kind == "missing":
        path = path[:-1]
        of_key = not isinstance(details["loc"][-1], int)
    else:
        path = _trim(path, value)
        of_key = kind == "extra_forbidden"
    return _Found(Mistake(path, message, of_key), got, kind.endswith("_type"), of_union, owner)


def _message(details: ErrorDetails, owner: type[BaseModel] | None) -> str:
    kind, last = details["type"], details["loc"][-1] if details["loc"] else ""
    if kind == "extra_forbidden":
        return f"no such setting{did_you_mean(str(last), _names(owner) if owner else ())}"
    if kind == "missing":
        return f"needs more than {last} values" if isinstance(last, int) else f"'{last}' is missing"
    if kind == "value_error":
        return str(details["ctx"]["error"])
    got = _shorten(details["input"])
    if kind == "literal_error":
        expected = details["ctx"]["expected"]
        return f"expected {expected}, got {got}{_near(details['input'], expected)}"
    if kind == "union_tag_not_found":
        return f"{details['ctx']['discriminator']} is missing"
    if kind == "union_tag_invalid":
        tag, expected = details["ctx"]["tag"], details["ctx"]["expected_tags"]
        return f"expected {details['ctx']['discriminator']} {expected}, got '{tag}'{_near(tag, expected)}"
    message = details["msg"].removeprefix("Input ")
    return f"{message[0].lower()}{message[1:]}, got {got}"


def _near(got: Any, expected: str) -> str:
    """Return a suggestion from names as pydantic lists them, or nothing where none is near."""
    names = [name.strip("' ") for name in expected.replace(" or ", ",").split(",")]
    suggestion = did_you_mean(got, names) if isinstance(got, str) else ""
    return suggestion if "did you mean" in suggestion else ""


def _distinct(model: type[BaseModel], found: Sequence[_Found]) -> list[Mistake]:
    """Return one mistake for each place, where every type of a union has said what it misses."""
    distinct: dict[tuple[Path_, str], Mistake] = {}
    for each in found:
        path = each.mistake.path
        others = [other for other in found if other.of_union and other is not each]
        if each.of_union and any(_says_more(other, each) for other in others):
            continue
        mistake = each.mistake
        if each.of_type and not isinstance(each.got, list | dict):
            # Below the forms of a claim the way from the top is open; from its form it is not.
            accepted = _accepted(each.owner, path[-1:]) if each.owner else _accepted(model, path)
            if len(accepted) > 1:
                mistake = Mistake(path, f"expected {' or '.join(accepted)}, got {_shorten(each.got)}")
        distinct.setdefault((path, mistake.message), mistake)
    return list(distinct.values())


def _says_more(other: _Found, each: _Found) -> bool:
    """Tell whether another type of a union fits the value better, so that its mistake is the one to show."""
    place, path = other.mistake.path, each.mistake.path
    deeper = len(place) > len(path) and place[: len(path)] == path
    return deeper or (place == path and each.of_type and not other.of_type)


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _trim(path: Path_, value: Any) -> Path_:
    """Return as much of a path as was written: one number that stands for a pair has no elements."""
    for depth, part in enumerate(path):
        there = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        if part not in there:
            return path[:depth]
        value = value[part]
    return path


def _resolve(model: type[BaseModel], location: Path_) -> tuple[Path_, type[BaseModel] | None, bool]:
    """Return a place as it was written, the model that its last key belongs to, and whether unions led there.

    Pydantic's location of a mistake has an additional part for every union: which type of it spoke.
    """
    annotation: Any = model
    owner: type[BaseModel] | None = None
    path: list[str | int] = []
    of_union = False
    for part in location:
        annotation, members = _plain(annotation)
        if members:
            annotation, of_union = _member(members, str(part)), True
            continue
        path.append(part)
        owner = annotation if _is_model(annotation) else None
        annotation = _below(annotation, part)
    return tuple(path), owner, of_union


def _plain(annotation: Any) -> tuple[Any, list[Any]]:
    """Return a type without its annotations and without none; and its members where it is a union."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, []
    members = [member for member in typing.get_args(annotation) if member is not types.NoneType]
    return _plain(members[0]) if len(members) == 1 else (annotation, members)


def _member(members: Sequence[Any], label: str) -> Any:
    """Return the type of a union that pydantic names by a label: its tag, its class, a value of its name."""
    for member in members:
        tags = [item.tag for item in typing.get_args(member)[1:] if isinstance(item, Tag)]
        plain, _ = _plain(member)
        if label in (*tags, getattr(plain, "__name__", None)):
            return member
        if _is_model(plain) and any(
            label in typing.get_args(field.annotation) for field in plain.model_fields.values()
        ):
            return member
    return Any


def _below(annotation: Any, part: str | int) -> Any:
    if _is_model(annotation):
        for name, field in annotation.model_fields.items():
            if part in (name, field.alias):
                return field.annotation
        return Any
    arguments = typing.get_args(annotation)
    if not arguments:
        return Any
    if isinstance(part, int) and part < len(arguments) and arguments[-1] is not Ellipsis:
        return arguments[part]
    return arguments[-1] if typing.get_origin(annotation) is dict else arguments[0]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


NOUNS = {
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "string": ("a text", "texts"),
    "boolean": ("true or false", "of true or false"),
    "array": ("a list", "lists"),
    "object": ("a mapping", "mappings"),
}


def _accepted(model: type[BaseModel], path: Path_) -> list[str]:
    """Return in words the types accepted at a path, from the model's JSON Schema; none where that is open."""
    try:
        schema = _schema(model)
    except PydanticInvalidForJsonSchema:  # a type of a plugin that JSON Schema has no word for
        return []
    place: Mapping[str, Any] = schema
    for part in path:
        place = _followed(schema, place)
        if isinstance(part, int):
            place = place.get("items", {})
        else:
            place = place.get("properties", {}).get(part) or place.get("additionalProperties") or {}
    place = _followed(schema, place)
    words = [_in_words(schema, member) for member in place.get("anyOf", [place])]
    return list(dict.fromkeys(word for word in words if word is not None))


@lru_cache(maxsize=64)
def _schema(model: type[BaseModel]) -> Mapping[str, Any]:
    return model.model_json_schema()


def _in_words(schema: Mapping[str, Any], place: Any) -> str | None:
    """Return a noun for a type of JSON Schema, or none for what has no noun, such as null."""
    place = _followed(schema, place)
    kind = place.get("type")
    if kind == "array" and place.get("minItems") == place.get("maxItems") is not None:
        items = place.get("items") or (place.get("prefixItems") or [{}])[0]
        plural = NOUNS.get(_followed(schema, items).get("type", ""), ("", "values"))[1]
        return f"a list of {place['minItems']} {plural}"
    return NOUNS[kind][0] if kind in NOUNS else None


def _followed(schema: Mapping[str, Any], place: Any) -> Mapping[str, Any]:
    """Return a part of a schema, the definition itself where the part refers to one."""
    found: Mapping[str, Any] = place if isinstance(place, dict) else {}
    if "$ref" in found:
        return _followed(schema, schema["$defs"][found["$ref"].rpartition("/")[2]])
    return found
