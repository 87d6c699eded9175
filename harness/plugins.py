"""Components that are not the harness's own: who offers them, what makes one, what it is made of.

A plugin is named `package.module:Name`, or by the name under which an installed package offers
it as an entry point of the group `ablation_harness.<kind>`. Importing one runs its code.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from harness.canonical import content_hash
from harness.config import ComponentConfig, DataConfig, LossConfig, MetricInfo, ModelConfig, TrackerConfig
from harness.errors import HarnessError, did_you_mean

GROUP = "ablation_harness"
TARGET = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")
CONFIGS: dict[str, type[ComponentConfig] | type[LossConfig]] = {
    "data": DataConfig,
    "loss": LossConfig,
    "model": ModelConfig,
    "tracker": TrackerConfig,
}
"""Base of a component's Config, where it is more than `ComponentConfig`."""
NEEDS: dict[str, tuple[str, ...]] = {
    "loss": ("recorded_name", "forward"),
    "metric": ("info", "__call__"),
    "augmentation": ("needs_square", "__call__"),
    "data": ("label_names", "split"),
    "model": ("forward",),
    "optimizer": ("build",),
    "schedule": ("factor",),
    "tracker": ("needs", "start", "log", "picture", "finish"),
}
"""What a class of a kind has beside its Config."""
TASK_PROTOCOL = "harness.tasks.base:Task"
INSTALLED = ("site-packages", "dist-packages")

_project: Path | None = None
_hash_at_import: WeakKeyDictionary[ModuleType, str] = WeakKeyDictionary()


class PluginError(HarnessError):
    """A plugin cannot be imported, or is not what its kind asks for."""


@dataclass(frozen=True)
class Offer:
    """A component that an installed package offers by name."""

    name: str
    target: str
    distribution: str


def offers(kind: str) -> list[Offer]:
    """Return what the installed packages offer of a kind, by name; imports none of it."""
    found = [
        Offer(entry.name, entry.value, entry.dist.name if entry.dist else "an unnamed package")
        for entry in importlib.metadata.entry_points(group=f"{GROUP}.{kind}")
    ]
    return sorted(found, key=lambda offer: (offer.name, offer.distribution))


def use_project(folder: Path) -> None:
    """Take `folder` as the project, not the current directory: for workers, which may be elsewhere."""
    global _project
    _project = folder


def project() -> Path:
    """Return the folder that plugins are imported from, before any that is installed."""
    return _project or Path.cwd()


def load(kind: str, target: str) -> Any:
    """Import the component at `package.module:Name`, from the project or installed, and check that it is one.

    Raises:
        PluginError: it cannot be imported, or is no component of this kind.
    """
    module_name, name = _split(target)
    module = _import(module_name)
    imported_hash(target)
    if not hasattr(module, name):
        defined = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise PluginError(f"'{module_name}' has no '{name}'{did_you_mean(name, defined)}")
    component = getattr(module, name)
    if message := _why_not(kind, component):
        raise PluginError(f"'{target}' is no {kind}: {message}; see docs/plugins.md")
    return component


def source_hash(target: str) -> str:
    """Return a hash of the sources, as they are now, of the plugin at `package.module:Name`.

    For a module in a package these are all Python files of its top-level package, for a single
    module its file; and, unless they are installed, the modules and packages of the same folder
    that they import, and so on. Names are relative: the same sources give the same hash in
    another folder and on another machine.

    Raises:
        PluginError: there are no such sources.
    """
    files = _sources(_split(target)[0].partition(".")[0])
    return content_hash(
        {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in sorted(files.items())}
    )


def imported_hash(target: str) -> str:
    """Return `source_hash` of a plugin that this process has imported.

    Raises:
        PluginError: the sources changed since: what would run is not what would be named.
    """
    now = source_hash(target)
    top = target.partition(":")[0].partition(".")[0]
    if _hash_at_import.setdefault(sys.modules[top], now) != now:
        raise PluginError(f"the sources of '{top}' changed since this process imported it; start a new one")
    return now


def _split(target: str) -> tuple[str, str]:
    """Return module and name; refuse modules that are no plugins by their names alone."""
    match = TARGET.fullmatch(target)
    if match is None:
        raise PluginError(f"expected package.module:Name, got '{target}'")
    module, name = match["module"], match["name"]
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        raise PluginError(f"'{top}' is part of Python, not a plugin; name a module of your own")
    if top == "harness":
        raise PluginError(f"'{target}' is the harness's own; choose its components by their short names")
    if top == "__main__":
        raise PluginError(f"'{target}' is in a script, where workers cannot find it; put it in a module")
    return module, name


def _look_anew() -> None:
    """Look for modules in the project first, as Python does in a script's own folder, and for new ones."""
    folder = str(project())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()


def _import(name: str) -> ModuleType:
    _look_anew()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _broken(name, error) from error
        raise PluginError(_not_found(error.name)) from None
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _not_found(module: str) -> str:
    near = did_you_mean(module, [file.stem for file in project().glob("*.py")])
    if "did you mean" in near:
        return f"no module '{module}'{near}"
    return f"no module '{module}'; expected it in the project folder {project()}, or installed"


def _broken(module: str, error: BaseException) -> PluginError:
    said = error.msg if isinstance(error, SyntaxError) else str(error)  # its text repeats the place
    text = " ".join(said.split())
    return PluginError(f"importing '{module}' raised {type(error).__name__}: {text} ({_place(error)})")


def _place(error: BaseException) -> str:
    """Return file:line where an import went wrong: the last place in the project, else the last at all."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and Path(frame.filename) != Path(__file__)
    ]
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(project())]
    frame = (ours or frames)[-1] if frames else None
    return f"{frame.filename}:{frame.lineno}" if frame else "before its first line"


def _why_not(kind: str, component: Any) -> str | None:
    """Return why something is no component of a kind, or none."""
    if not isinstance(component, type):
        return f"expected a class, got {component!r:.60}"
    if kind == "task":
        return _lacks(component, _methods_of_a_task())
    base = CONFIGS.get(kind, ComponentConfig)
    config = getattr(component, "Config", None)
    if not (isinstance(config, type) and issubclass(config, base)):
        got = "none" if config is None else f"{config!r:.60}"
        return f"expected a Config that is a subclass of {base.__module__}.{base.__name__}, got {got}"
    if kind == "model" and not hasattr(config, "check"):
        return "its Config lacks check(self, height, width), which says why pictures are too small, or None"
    if kind == "metric" and not isinstance(getattr(component, "info", None), MetricInfo):
        return "expected an `info` of the class that is a harness.config.MetricInfo"
    return _lacks(component, NEEDS.get(kind, ()))


def _lacks(component: type, names: Sequence[str]) -> str | None:
    has = dir(component)  # not hasattr: a class has the __call__ of its metaclass
    missing = [name for name in names if name not in has]
    return f"the class lacks {', '.join(missing)}" if missing else None


def _methods_of_a_task() -> list[str]:
    module, _, name = TASK_PROTOCOL.partition(":")
    protocol = getattr(importlib.import_module(module), name)
    return [key for key in vars(protocol) if not key.startswith("_")]


def _sources(top: str) -> dict[str, Path]:
    """Return the files that a top-level module or package is made of, by their relative names."""
    spec = _spec(top)
    if spec.submodule_search_locations is None:
        origin = Path(spec.origin or "")
        found = {origin.name: origin} if origin.is_file() else {}
        folders = [origin.parent]
    else:
        locations = [Path(location) for location in spec.submodule_search_locations]
        found = {f"{top}/{name}": file for place in locations for name, file in _python_files(place)}
        folders = [location.parent for location in locations]
    if not found:
        raise PluginError(f"'{top}' has no source files, so that nothing can tell its versions apart")
    waiting = list(found.values())
    while waiting:
        names = _imported(waiting.pop())
        for folder in folders:
            for name, file in _siblings(folder, names):
                if name not in found:
                    found[name] = file
                    waiting.append(file)
    return found


def _spec(top: str) -> ModuleSpec:
    _look_anew()
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module without a specification
        spec = None
    if spec is None:
        raise PluginError(_not_found(top))
    return spec


def _siblings(folder: Path, names: set[str]) -> Iterator[tuple[str, Path]]:
    """Yield the files of the modules and packages of these names in a folder, by relative name.

    What is installed beside a package is no part of it: versions of libraries are recorded with
    every run, not compared.
    """
    if folder.name in INSTALLED:
        return
    for name in names:
        package, module = folder / name, folder / f"{name}.py"
        if module.is_file() and not (package / "__init__.py").is_file():
            yield module.name, module
        elif package.is_dir():
            for below, file in _python_files(package):
                yield f"{name}/{below}", file


def _python_files(folder: Path) -> list[tuple[str, Path]]:
    return [(file.relative_to(folder).as_posix(), file) for file in sorted(folder.rglob("*.py"))]


def _imported(file: Path) -> set[str]:
    """Return the top-level names that a file imports, the harness apart, which has a hash of its own."""
    if file.suffix != ".py":
        return set()
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # a file of a package that nobody imports, such as a template
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - {"harness"}
