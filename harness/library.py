"""Ablations by name: `use` under `vary` becomes the content of a file, with its options filled in."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness import catalog
from harness.document import LARGEST, Document, Path_, dotted, get_path, read_document
from harness.errors import HarnessError, Position, Problem, SuiteError, did_you_mean
from harness.validation import Mistake

MOST_USES = 1000  # of ablations in one suite, those that ablations use among them
OPTION = re.compile(r"\$\{([A-Za-z0-9_]+)\}")


def put_ablations(document: Document) -> list[Mistake]:
    """Put the content of ablations in the place of every `use`, also within groups and ablations.

    Returns:
        What is wrong with the suite's own lines; what is wrong in the files goes to the document's problems.
    """
    mistakes: list[Mistake] = []
    waiting: list[tuple[Path_, tuple[str, ...]]] = [
        (place, ()) for place in _uses(document.value.get("vary"), ("vary",))
    ]
    for count, (place, above) in enumerate(waiting):
        name = get_path(document.value, place)["use"]
        if name in above or count >= MOST_USES:
            message = f"'{name}' leads back to itself" if name in above else f"more than {MOST_USES} of them"
            mistakes.append(Mistake((*place, "use"), message))
            _stand_in(document, place)
            continue
        mistakes += _put_ablation(document, place, name)
        factors = get_path(document.value, place).get("factors")
        waiting += [(below, (*above, name)) for below in _uses(factors, (*place, "factors"))]
    return mistakes


def _uses(entries: Any, place: Path_) -> Iterator[Path_]:
    """Yield the place of every entry that takes an ablation, also within groups."""
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict) and "use" in entry:
            yield (*place, index)
        elif isinstance(entry, dict):
            yield from _uses(entry.get("factors"), (*place, index, "factors"))


def _put_ablation(document: Document, place: Path_, name: Any) -> Iterator[Mistake]:
    """Put the content of an ablation in the place of its `use`; other keys there win."""
    entry = get_path(document.value, place)
    given = entry.get("with", {})
    try:
        included = read_document(catalog.find("ablations", name if isinstance(name, str) else "?"))
        if not isinstance(included.value, dict):
            message = "an ablation is a mapping with `levels`"
            raise SuiteError([Problem(included.position(()), "", message)])
    except SuiteError as error:  # of the file
        document.problems += error.problems
        _stand_in(document, place)
        return
    except HarnessError as error:
        yield Mistake((*place, "use"), str(error))
        _stand_in(document, place)
        return
    options = included.value.pop("options", {})
    known = {key: about.get("default") for key, about in options.items()} if _are_options(options) else {}
    if not isinstance(given, dict):
        yield Mistake((*place, "with"), "expected a mapping of options")
        given = {}
    for key in given:
        if key not in known:
            message = f"the ablation has no option '{key}'{did_you_mean(key, known)}"
            yield Mistake((*place, "with", key), message, of_key=True)
    positions = {key: document.position((*place, "with", key)) for key in given if key in known}
    _fill_in(included, {**known, **{key: given[key] for key in positions}}, positions)
    document.graft(place, included, keep=[key for key in entry if key not in ("use", "with")])


def _stand_in(document: Document, place: Path_) -> None:
    """Put a factor where an ablation could not be had, so that the rest of the suite is looked through."""
    entry = get_path(document.value, place)
    entry.clear()
    entry.update({"factor": f"unknown_{'_'.join(map(str, place))}", "levels": {"unknown": {}}})


def _are_options(options: Any) -> bool:
    return isinstance(options, dict) and all(isinstance(about, dict) for about in options.values())


def _fill_in(document: Document, options: Mapping[str, Any], positions: Mapping[str, Position]) -> None:
    """Put the values of options in the place of `${NAME}`.

    A word that is nothing else becomes the value itself, at the position where it was given; within
    a longer text stands what it looks like.

    Raises:
        SuiteError: what comes out has more values than a file may have.
    """
    sizes = {name: _size(value) for name, value in options.items()}
    size = 0

    def filled(value: Any, path: Path_) -> Any:
        nonlocal size
        if isinstance(value, dict):
            return {key: filled(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item, (*path, index)) for index, item in enumerate(value)]
        names = OPTION.findall(value) if isinstance(value, str) else []
        unknown = next((name for name in names if name not in options), None)
        if not names:
            return value
        if unknown is not None:
            message = f"the ablation has no option '{unknown}'{did_you_mean(unknown, options)}"
            document.problems.append(Problem(document.position(path), dotted(path), message))
            return value
        size += sum(sizes[name] for name in names)
        if size > LARGEST:
            raise SuiteError([Problem(document.position(path), dotted(path), "options make it too large")])
        if OPTION.fullmatch(value) is None:
            return OPTION.sub(lambda found: str(options[found[1]]), value)
        if names[0] in positions:
            document.place(path, positions[names[0]])
        return copy.deepcopy(options[names[0]])

    document.value = filled(document.value, ())


def _size(value: Any) -> int:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, below))
