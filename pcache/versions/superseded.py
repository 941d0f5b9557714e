"""Which stored code versions are still in the source files on disk.

Files are compiled, never run: a version is superseded if a function that its fingerprint covers is no longer in its
file as it was, or the file is gone from its folder. Versions that cannot be judged that way count as current: code
without a file (notebooks, prompts), code whose whole folder is gone (moved, another machine's, on a disk that is not
mounted), code of another Python, whose bytecode differs, code that pytest rewrote, and versions whose files are
unchanged but whose constants or packages are not.
"""

from __future__ import annotations

import os
import sys

from pcache.fingerprint.bytecode import facts_of
from pcache.startup import TYPE_CHECKING, pattern
from pcache.versions import registry
from pcache.versions.source_text import nested_in, read_source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcache.signing.keyring import Keyring
    from pcache.versions.registry import FunctionVersion

_FUNCTION = pattern(r"function (?!__main__:)[^\s:]*:(\S+)")  # code of `__main__` has no permanent file
_Codes = dict[str, set[str]]  # digests of the code in a file, by qualified name


def superseded(
    folder: str, keyring: Keyring | None, known: Mapping[str, FunctionVersion] | None = None
) -> dict[str, str]:
    """The ids of superseded versions in a registry, each with the reason. `known` are its versions.

    A version that a current one has adopted is not superseded.
    """
    if keyring is None:
        return {}
    known = registry.read_all(folder, keyring) if known is None else known
    files: dict[str, _Codes | None] = {}
    found = {i: why for i, version in known.items() if (why := _what_is_gone(version, files, keyring))}
    for function_id in known.keys() - found.keys():
        for adopted in registry.read_adopted(folder, function_id, keyring):
            found.pop(adopted.function_id, None)
    return found


def _what_is_gone(version: FunctionVersion, files: dict[str, _Codes | None], keyring: Keyring) -> str:
    """Why a version is no longer in the code on disk; empty if it is, or that cannot be told."""
    if version.python.split(".")[:2] != [str(part) for part in sys.version_info[:2]]:
        return ""
    for label, (digest, file) in version.parts.items():
        match = _FUNCTION.match(label)
        if match is None or not file.endswith(".py") or not os.path.isabs(file) or _is_rewritten(label, version):
            continue
        if file not in files:
            files[file] = _codes_in(file)
        codes = files[file]
        if codes is None:
            if _is_gone(file):
                return f"{file} is gone"
            continue

        def has(digests: set[str], label: str = label, digest: str = digest) -> bool:
            return any(registry.part_digest(label, one, version.signed_by, keyring) == digest for one in digests)

        if has(codes.get(match[1], set())):
            continue
        if match[1] in codes:
            return f"{match[1]} was edited in {file}"
        # A function may have been given another name than its code has; usually not the cached one.
        if label == f"function {version.name}" or not any(map(has, codes.values())):
            return f"{match[1]} is no longer in {file}"
    return ""


def _is_rewritten(label: str, version: FunctionVersion) -> bool:
    """Whether pytest rewrote the asserts of a function's module: the code that runs differs from its file."""
    module = label.removeprefix("function ").partition(":")[0]
    return f"name {module}:@pytest_ar" in version.parts


def _is_gone(file: str) -> bool:
    """Whether a file was removed. If its folder is gone too, it may only be moved, unmounted or archived."""
    there = os.path.exists(file) or os.path.exists(f"{file}c")  # `helpers.pyc` is imported without `helpers.py`
    return not there and os.path.isdir(os.path.dirname(file))


def _codes_in(file: str) -> _Codes | None:
    """The code in a file, for each optimization level; None if it cannot be read or compiled."""
    codes: _Codes = {}
    source = read_source(file, most=-1)  # what a limit cuts off would count as gone
    if source is None:
        return None
    try:
        for degree in (0, 1, 2):
            for code in nested_in(compile(source, file, "exec", dont_inherit=True, optimize=degree)):
                codes.setdefault(code.co_qualname, set()).add(facts_of(code).digest.hex()[:16])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return codes
