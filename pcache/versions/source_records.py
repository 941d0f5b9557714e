"""What the sources of a program said of a version when it ran: digests of what makes the parts that files do not tell.

`<function_id>.<mark>.source` lies beside the file of the version. Only `pcache status` reads it, which can tell less
without. Files that were edited since the process began say nothing of the code that runs, and are left out.
"""

from __future__ import annotations

import os
import sys

from pcache.fingerprint.builders import unchanged_text
from pcache.keys.names import import_name
from pcache.objects.lookup import attributes_of, text
from pcache.objects.user_code import is_user_file, is_user_module
from pcache.signing import seal
from pcache.startup import TYPE_CHECKING, NamedTuple
from pcache.system.interrupts import attempt
from pcache.system.permissions import PRIVATE, Access
from pcache.versions import sealed_files
from pcache.versions.makers import Makers
from pcache.versions.registry import SOURCE, part_digest, source_path
from pcache.versions.sources import Files, Program, root_of_module

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcache.signing.keyring import Keyring
    from pcache.versions.makers import Maker
    from pcache.versions.registry import FunctionVersion
    from pcache.versions.sources import Source

_MADE = ("class ", "constant ", "name ")  # labels of parts that a file may not tell
_MOST = 1000  # of these in a version: 0.1 s

_MOST_KEPT = 200_000  # bytes of files whose syntax trees are kept: 10 MB

_parsed: dict[str, Source] = {}  # files of modules that this process has loaded


class Recorded(NamedTuple):
    """The digests of makers by label, of their own statements and of what these use; and the files of modules."""

    made: Mapping[str, tuple[str, str]]
    files: Mapping[str, str]


def digests(label: str, maker: Maker, key_id: str, keyring: Keyring) -> tuple[str, str]:
    """The digests of a maker in the form that is stored."""
    used = part_digest(f"use of {label}", maker.used, key_id, keyring) if maker.used else ""
    return part_digest(f"making of {label}", maker.own, key_id, keyring), used


def write(folder: str, facts: FunctionVersion, keyring: Keyring, access: Access = PRIVATE) -> None:
    """Note what the sources say of a version that runs; raises `OSError`."""
    if sum(label.startswith(_MADE) for label in facts.parts) > _MOST:
        return
    root = root_of_module(facts.name.partition(":")[0], facts.file)
    files = Files(unchanged_text, _parsed)
    program = Program(files, _place_of, [root] if root else [])
    found = of_program(facts, program, keyring, keyring.signing.hex())
    _keep(files)
    if found.made:
        record = {"function_id": facts.function_id, **found._asdict()}
        path = source_path(folder, facts.function_id, keyring.signing_key)
        sealed_files.write(path, seal.to_json(SOURCE, record, keyring), access)


def _keep(files: Files) -> None:
    """Keep the files that were parsed for the next version, as far as they are small."""
    size = 0
    _parsed.clear()
    for path, source in files.known.items():
        size += 0 if source is None else len(source.text)
        if source is not None and size <= _MOST_KEPT:
            _parsed[path] = source


def of_program(facts: FunctionVersion, program: Program, keyring: Keyring, key_id: str) -> Recorded:
    """What the sources of a program say of a version."""
    makers = Makers(program, facts.parts)
    labels = [label for label in facts.parts if label.startswith(_MADE)]
    found = {label: maker for label in labels if (maker := attempt(makers.of, label)[0])}
    found |= {label: maker for label in facts.parts if (maker := makers.of_choice(label)) is not None}
    found |= makers.of_cached(facts.name) | makers.of_settings()
    made = {label: digests(label, maker, key_id, keyring) for label, maker in found.items()}
    return Recorded(made, program.places())


def _place_of(module: str) -> str:
    """The file of a loaded module of the user's; empty for any other."""
    loaded = sys.modules.get(module)
    main = attributes_of(sys.modules.get("__main__"))
    members = attributes_of(loaded) if loaded is not None else main if import_name(main) == module else {}
    file = text(members.get("__file__")) if is_user_module(module) else ""
    return os.path.abspath(file) if is_user_file(file) else ""


def read(folder: str, facts: FunctionVersion, keyring: Keyring) -> Recorded | None:
    """What was noted of a version; None if nothing was, or another key's owner did."""
    key_id = bytes.fromhex(facts.signed_by)
    data = sealed_files.read(
        source_path(folder, facts.function_id, keyring.keys[key_id]), keyring, SOURCE, strictly=False
    )
    found = None if data is None else seal.from_json(SOURCE, data, keyring)
    if found is None or found[1] != key_id or found[0].get("function_id") != facts.function_id:
        return None
    try:
        made = {str(label): (str(own), str(used)) for label, (own, used) in found[0]["made"].items()}
        files = {str(module): str(path) for module, path in found[0]["files"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # written by another release
    return Recorded(made, files)
