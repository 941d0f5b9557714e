"""Take the ids of the functions of one package, for `real_code.py`.

The environment says what to do, so that the command line is the same in all processes: functions may hold that, too.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import FunctionType, ModuleType

# Modules that are programs, or need a test runner, a screen or a database.
LEFT_OUT = ("test", "__main__", "conftest", "benchmarks", "sandbox", "gui", "migrations")
SECONDS = 30.0  # no function is begun after that


def modules_of(package: str, *, is_reversed: bool) -> list[ModuleType]:
    """The modules of a package that can be imported, in the order of their names."""
    folders = getattr(importlib.import_module(package), "__path__", [])
    found = [module.name for module in pkgutil.walk_packages(folders, f"{package}.", onerror=str)]
    wanted = [name for name in found if not any(step.startswith(LEFT_OUT) for step in name.split("."))]
    names = [package, *wanted]
    modules = []
    for name in reversed(names) if is_reversed else names:
        try:
            modules.append(importlib.import_module(name))
        except BaseException:  # what it needs is not installed, or it exits
            continue
    return sorted(modules, key=lambda module: module.__name__)


def functions_of(modules: list[ModuleType], limit: int) -> list[tuple[str, FunctionType]]:
    """The functions that modules define, evenly over them if there are more than the limit."""
    found = [
        (f"{module.__name__}:{name}", value)
        for module in modules
        for name, value in sorted(vars(module).items())
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    step = max(1.0, len(found) / limit)
    return [found[int(step * number)] for number in range(min(limit, len(found)))]


def main() -> None:
    package, limit = os.environ["REAL_CODE_PACKAGE"], int(os.environ["REAL_CODE_LIMIT"])
    warnings.simplefilter("ignore")
    from pcache import Cache
    from pcache.fingerprint.fingerprint import fingerprint_of

    modules = modules_of(package, is_reversed=os.environ["REAL_CODE_ORDER"] == "reversed")
    cache = Cache(tempfile.mkdtemp())
    functions, parts = {}, {}
    started = time.perf_counter()
    for name, function in functions_of(modules, limit):
        if time.perf_counter() - started > SECONDS:
            break
        before = time.process_time()
        try:
            id_, error = cache.cached(function).function_id, ""
        except Exception as problem:
            id_, error = "", f"{type(problem).__name__}: {problem}"
        functions[name] = id_, (time.process_time() - before) * 1e3, error
        if not error:
            for label, part in fingerprint_of(function).parts.items():
                parts.setdefault(label, part.digest)
    Path(os.environ["REAL_CODE_OUT"]).write_text(json.dumps([functions, parts]))
    sys.stdout.flush()
    os._exit(0)  # whatever threads the package has started


if __name__ == "__main__":
    main()
