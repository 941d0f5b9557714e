"""Whether a global has the value that is written in its file: then it differs by edits, and not by itself.

Files are parsed, never run. Only plain numbers and texts are looked for; all else is not known to be written out.
"""

from __future__ import annotations

import os

from pcache.objects.summary import summarize_value
from pcache.startup import TYPE_CHECKING
from pcache.system.interrupts import raise_if_interrupt
from pcache.versions.source_text import read_source

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator

    from pcache.versions.registry import FunctionVersion


def is_written_out(name: str, version: FunctionVersion) -> bool:
    """Whether the file of `module:NAME` says in so many words what that was in a version; False if that is unknown.

    A file that was edited since then may say something else by now.
    """
    module, _, path = name.partition(":")
    shown = version.parts.get(f"constant {name}", ("", ""))[1]
    for file in _files_of(module, version):
        texts = list(_texts(file, path))
        if texts and (shown in texts or _edited(file) > version.first_seen):
            return True
    return False


def _files_of(module: str, version: FunctionVersion) -> set[str]:
    """The files that a module of a version's program may have: that of a function in it, or one beside the others."""
    own = version.name.partition(":")[0]
    found = {shown for label, (_, shown) in version.parts.items() if label.startswith(f"function {module}:")}
    if module in (own, "__main__"):
        found.add(version.file)
    place = module.replace(".", os.sep)
    if version.file.endswith(ending := own.replace(".", os.sep) + ".py"):
        root = version.file.removesuffix(ending)
        found |= {f"{root}{place}.py", os.path.join(f"{root}{place}", "__init__.py")}
    return {file for file in found if file.endswith(".py") and os.path.isabs(file)}


def _edited(file: str) -> float:
    """When a file got its content, in seconds since 1970."""
    try:
        status = os.stat(file)
    except OSError as error:
        raise_if_interrupt(error)
        return 0.0
    return max(status.st_mtime, status.st_ctime)


def _texts(file: str, path: str) -> Iterator[str]:
    """The numbers and texts that a file gives a name of its module, or of a class in it, as people are shown them."""
    import ast  # late for start-up time

    *classes, name = path.split(".")
    body: list[ast.stmt] = _parsed(file)
    for step in classes:
        body = [one for outer in body if isinstance(outer, ast.ClassDef) and outer.name == step for one in outer.body]
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            try:
                value = ast.literal_eval(getattr(statement, "value", None) or "()")
            except (ValueError, TypeError, MemoryError, RecursionError):
                continue  # it is computed
            if isinstance(value, int | float | complex | str | bytes):
                yield summarize_value(value)


def _parsed(file: str) -> list[ast.stmt]:
    """The statements of a file; none if it cannot be read or compiled."""
    import ast  # late for start-up time

    try:
        return ast.parse(read_source(file) or b"").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # it is no Python, or that of another release
