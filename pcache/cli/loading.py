"""Finding a cached function by its name, for the command line: its module is imported, as a program would.

A function of a script is found as a pool's worker finds it: the script runs with `__name__` set to `__mp_main__`, so
that what stands below `if __name__ == "__main__":` does not.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
from contextlib import redirect_stdout, suppress
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.errors import ConfigError
from pcache.function import CachedFunction
from pcache.maintenance.selection import selected_ids
from pcache.method import CachedMethod
from pcache.system.interrupts import try_call
from pcache.system.path_safety import weakness
from pcache.versions import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pcache.cache import Cache
    from pcache.versions.registry import FunctionVersion


def load_function(cache: Cache, name: str, ask: Callable[[str], None]) -> CachedFunction[..., Any]:
    """Import the function that a name or pattern stands for, as one that is cached in `cache`.

    The name of a function without stored versions must be written `module:function`. What the module prints goes to
    standard error. `ask` is called with the file of a script without a guard before it runs, and raises if it must not.
    Raises `ConfigError` for a function that cannot be found, imported, or is not cached.
    """
    known = registry.read_all(cache.directory.functions, cache.directory.keys.look())
    latest = _latest(known, name)
    full_name = name if latest is None else latest.name
    module_name, _, qualname = full_name.partition(":")
    made_elsewhere = module_name == "__main__" and latest is not None and os.path.isfile(latest.file)  # by a decorator
    if not qualname or "<" in qualname or made_elsewhere:
        raise _refusal(
            full_name, "it cannot be imported by name; call explain() or adopt() of the function where it is"
        )
    if module_name == "__main__" or module_name.endswith(".ipynb"):
        raise _refusal(
            full_name,
            f"it comes from a notebook or a prompt; call {qualname}.explain(...) or {qualname}.adopt() there",
        )
    source = _source(module_name, latest)
    file = source.script or ("" if latest is not None else _file_of(module_name))
    if file and unguarded(file, is_script=bool(source.script)):
        ask(file)
    with redirect_stdout(sys.stderr):
        module, error = try_call(_import, module_name, source)
    if isinstance(error, ConfigError):
        raise error
    if error is not None:
        raise _refusal(full_name, f"importing {module_name} failed: {type(error).__name__}: {error}") from error
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    found = found.__func__ if isinstance(found, CachedMethod) else found
    if not isinstance(found, CachedFunction):
        what = "there is no such function" if found is None else "it is not a cached function"
        raise _refusal(full_name, what)
    return found.stored_in(cache.flow)


def _latest(known: Mapping[str, FunctionVersion], name: str) -> FunctionVersion | None:
    """The version that was first seen last; None for a full name that no version has."""
    try:
        ids = selected_ids({i: version.name for i, version in known.items()}, name) or set()
    except ConfigError:
        if ":" not in name:
            raise
        return None
    versions = sorted((known[i] for i in ids), key=lambda version: version.first_seen)
    names = sorted({version.name for version in versions})
    if len(names) > 1:
        raise ConfigError(f"{name!r:.80} stands for several functions: {', '.join(names)}", setting="function")
    return versions[-1]


def method_without_instance(cache: Cache, name: str) -> str:
    """What to say of a call of a method, whose instance no text stands for; empty for any other function."""
    known = registry.read_all(cache.directory.functions, cache.directory.keys.look())
    version, error = try_call(_latest, known, name)
    if error is not None or version is None or version.parameters[:1] not in (("self",), ("cls",)):
        return ""
    qualname = version.name.partition(":")[2]
    owner, _, method = qualname.rpartition(".")
    if not owner or owner.endswith("<locals>"):
        return ""
    if version.parameters[0] == "cls":
        return f"{qualname} is a class method, and no text stands for its class; call {qualname}.explain(...) in Python"
    return f"{qualname} is a method, and no text stands for an instance; call {method}.explain(...) of one in Python"


class _Source(NamedTuple):
    """Where a function is imported from: the folders of its program, and its script, if it has one, in a package."""

    places: list[str]
    script: str = ""
    package: str = ""


def _source(name: str, version: FunctionVersion | None) -> _Source:
    """The current directory, and where the module was when its results were stored; they are added to `sys.path`."""
    file = version.file if version is not None else ""
    is_script = version is not None and version.module == "__main__"
    package = _package_of(name, file) if is_script else name.rpartition(".")[0]
    places = [os.getcwd()]
    if file.endswith(".py"):
        root = os.path.dirname(file)
        depth = len(package.split(".")) if package else 0
        for _ in range(depth + (os.path.basename(file) == "__init__.py")):
            root = os.path.dirname(root)
        places.append(root)
    for place in places:
        _refuse_others(name, place, new_names=True)
    sys.path[:0] = [place for place in places if place not in sys.path]
    if version is None or not is_script:
        return _Source(places)
    here = os.path.join(os.getcwd(), os.path.basename(file))  # for a script that was moved since
    found = next((place for place in (file, here) if os.path.isfile(place)), None)
    if found is None:
        raise _refusal(version.name, f"its script {file} is gone; if it was moved, try again from its folder")
    _refuse_others(version.name, found)
    return _Source(places, found, package)


def _file_of(name: str) -> str:
    """The file that importing a module would run; empty if it is loaded, in a package, or has no source."""
    spec = None if "." in name or name in sys.modules else PathFinder.find_spec(name)
    file = spec.origin if spec is not None and spec.has_location else None
    return file if file is not None and file.endswith(".py") else ""


def unguarded(file: str, *, is_script: bool) -> bool:
    """Whether a file does its work when it is imported, since no `if __name__ == "__main__":` keeps it from that.

    Of a script any call counts; of what may be a module, which makes loggers and tables, only what is done for its own
    sake.
    """
    try:
        with open(file, "rb") as opened:
            tree = ast.parse(opened.read())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # importing it says why it cannot be
    if any(isinstance(step, ast.If) and "__name__" in _names_in(step.test) for step in tree.body):
        return False
    return any(_works(step, is_script=is_script) for step in tree.body)


def _works(step: ast.stmt, *, is_script: bool) -> bool:
    if isinstance(step, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return False
    if isinstance(step, (ast.Assign, ast.AnnAssign)) and not is_script:
        return False
    parts = [step] if not isinstance(step, (ast.If, ast.Try)) else [*ast.iter_child_nodes(step)]
    if parts == [step]:
        return any(isinstance(node, ast.Call) for node in ast.walk(step))
    return any(_works(part, is_script=is_script) for part in parts if isinstance(part, ast.stmt))


def _names_in(expression: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


def _refuse_others(name: str, path: str, *, new_names: bool = False) -> None:
    """Refuse a file, or a folder that modules are imported from, which another user could have written."""
    if weak := weakness(path, new_names=new_names):
        where = f", which is on the way to {path}" if not weak.startswith(f"{path} ") else ""
        raise _refusal(
            name,
            f"{weak}{where}: another user could have written the code that would run. Change to a folder, and keep the"
            " code in one, that only you can write to",
        )


class _Guard:
    """While entered, refuses to import code below some folders that another user could have written."""

    def __init__(self, name: str, places: Sequence[str]) -> None:
        self._name = name
        self._places = tuple(os.path.join(place, "") for place in places)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Raise for a module that must not be imported; leave finding all others to other finders."""
        spec = PathFinder.find_spec(name, path, target)
        file = spec.origin if spec is not None and spec.has_location else None
        # The Python installation is trusted, even where it is below a project.
        pythons = tuple(os.path.join(prefix, "") for prefix in (sys.prefix, sys.base_prefix))
        if file is None or not file.startswith(self._places) or file.startswith(pythons):
            return
        _refuse_others(self._name, file)
        for folder in {os.path.dirname(file), os.path.dirname(spec.cached or file)}:  # type: ignore[union-attr]
            _refuse_others(self._name, folder, new_names=True)

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)


def _package_of(name: str, file: str) -> str:
    """The package that a script was run in with `-m`; the file's own name may hold dots."""
    return name.removesuffix(os.path.basename(file).removesuffix(".py")).removesuffix(".")


def _import(name: str, source: _Source) -> ModuleType:
    """Run a script as a pool's worker does, or import a module."""
    try:
        with _Guard(name, source.places):
            return _run_as_worker(source.package, source.script) if source.script else importlib.import_module(name)
    except SystemExit as error:
        raise _refusal(name, "it ends the program when it is imported") from error


def _run_as_worker(package: str, file: str) -> ModuleType:
    with open(file, "rb") as source:
        code = compile(source.read(), file, "exec", dont_inherit=True)
    module = ModuleType("__mp_main__")
    module.__file__ = file
    module.__package__ = package or None
    # Stored results name the classes of the script as those of `__main__`.
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    sys.argv = [file]  # pcache's own are not for the script to read
    with suppress(SystemExit):  # scripts may end so, after defining all their functions
        exec(code, vars(module))  # noqa: S102 - the script whose function was asked for
    return module


def _refusal(name: str, why: str) -> ConfigError:
    return ConfigError(f"cannot load {name}: {why}", setting="function", value=name)
