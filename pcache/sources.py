"""Files that hold the code of modules: what is imported by a function's body may not be loaded yet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pcache.culprit import attempt
from pcache.provenance import is_user_file

if TYPE_CHECKING:
    from types import ModuleType


def files_of(module: ModuleType) -> list[tuple[str, str]]:
    """The Python files of a module, by name: its own, and for a package all below its folder."""
    own = getattr(module, "__file__", None) or ""
    if os.path.basename(own) != "__init__.py":
        return [(f"{module.__name__}.py", own)]
    top = os.path.dirname(own)
    found = [os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names if name.endswith(".py")]
    return [(f"{module.__name__}/{os.path.relpath(path, top)}", path) for path in sorted(found)]


def file_to_import(name: str) -> str:
    """The file of a module of the user's that may not be loaded yet; empty for any other."""
    from importlib.util import find_spec  # late for start-up time: imports inside of functions are rare

    spec, _ = attempt(find_spec, name)
    path = getattr(spec, "origin", None) or ""
    return path if is_user_file(path) and os.path.isfile(path) else ""


def absolute_name(name: str, level: int, package: str) -> str:
    """The full name of what an import statement names; `level` counts its leading dots."""
    if not level:
        return name
    above = package.split(".")
    return ".".join([*above[: len(above) - level + 1], *([name] if name else [])])
