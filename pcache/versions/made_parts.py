"""Compare classes, constants and names with the files that make them."""

from __future__ import annotations

import os
from ast import literal_eval

from pcache.fingerprint.builders import making_in
from pcache.fingerprint.bytecode import facts_of
from pcache.keys.file import File
from pcache.objects.summary import summarize_value
from pcache.startup import TYPE_CHECKING, pattern
from pcache.system.interrupts import attempt
from pcache.versions.evaluation import evaluate
from pcache.versions.static_values import digests_of_value

if TYPE_CHECKING:
    from pcache.versions.comparison import Comparing
    from pcache.versions.makers import Maker
    from pcache.versions.sources import Source

_PLACE = pattern(r"\w+ (?:class |function )?([^\s:]+):([^\s(]+)")
_ENVIRONMENT = "constant os:environ["
_UNCHANGING = (int, float, complex, str, bytes, tuple, frozenset, type(None))


def compare_made(one: Comparing, label: str, digest: str, shown: str) -> None:
    """Compare a class, a constant or what a name means."""
    if label.startswith(_ENVIRONMENT):
        _compare_variable(one, label, digest)
        return
    match = _PLACE.match(label)
    module, path = match.groups() if match is not None else ("", "")
    source = one.program.find(module)
    if source is None:
        if one.recorded is not None and module in one.recorded.files:
            one.edit(label, change="removed")
        return  # else of a package, or made by hand
    if one.usable(module) is None:
        return
    maker = attempt(one.makers.of, label)[0]
    if maker is None:
        is_made_otherwise = one.recorded is not None and one.made_before(label) is None
        if not is_made_otherwise and not _is_of_a_class(one, module, path):
            one.edit(label, change="removed", sure=one.recorded is not None)
    elif not _is_value(one, label, digest, shown, maker) and one.made_before(label) != one.made_now(label, maker):
        _compare_makers(one, label, shown, maker, source)


def _compare_variable(one: Comparing, label: str, digest: str) -> None:
    """A variable of the environment, which the next run need not have as it is here."""
    value = os.environ.get(label.removeprefix(_ENVIRONMENT).removesuffix("]"))
    if value is None or not one.is_token(label, value, digest):
        one.edit(label, sure=False)


def _compare_makers(one: Comparing, label: str, shown: str, maker: Maker, source: Source) -> None:
    """By the statements that make it, and what these use, which are others than recorded, or were not recorded."""
    before, now = one.made_before(label), one.made_now(label, maker)
    kind = label.partition(" ")[0]
    if kind == "name" and maker.meaning:
        if maker.meaning != shown and not shown.endswith(f"({maker.meaning})"):
            one.edit(label, maker.meaning, sure=before is not None)
    elif before is None:
        if not one.is_unedited():
            one.edit(label, sure=False)
    else:  # a class is what its statements say
        one.edit(label, source.path if kind == "class" else "", sure=kind == "class" and before[0] != now[0])


def _is_value(one: Comparing, label: str, digest: str, shown: str, maker: Maker) -> bool:
    """Whether a value is written in the file, so that it was decided by that."""
    is_made_as_before = one.made_before(label) == one.made_now(label, maker)
    value, is_known = attempt(evaluate, one.makers, maker.module, maker.value) if maker.value else (None, False)
    is_file = isinstance(value, File)  # its content may be another one
    if not is_known or (is_made_as_before and not is_file):
        return is_made_as_before
    if not (maker.is_alone or isinstance(value, _UNCHANGING)):
        return False
    name = label.rpartition(":")[2].rpartition(".")[2]
    possible, is_possible = attempt(lambda: list(digests_of_value(value, name, [code for _, code in one.codes])))
    if is_possible and any(one.is_digest(label, found, digest) for found in possible):
        return True
    is_recorded = one.made_before(label) is not None
    if not is_recorded and not is_file and one.is_unedited():
        return True  # it is changed in other ways while the program is loaded
    now = summarize_value(value)
    was_written_out = attempt(literal_eval, shown)[1]
    is_sure = is_possible and (is_recorded or (was_written_out and shown != now))
    one.edit(label, now if was_written_out or not shown else shown, sure=is_sure)
    return True


def _is_of_a_class(one: Comparing, module: str, path: str) -> bool:
    """Whether a part is made with its class: the class itself is a part, too."""
    steps = path.split(".")
    names = (".".join(steps[:count]) for count in range(1, len(steps)))
    return any(f"class {module}:{name}" in one.version.parts for name in names)


def compare_making(one: Comparing, label: str, digest: str) -> None:
    """Compare the statements that make what changes while a program runs, or does not say what it holds."""
    module, _, path = label.partition(" ")[2].partition(":")
    if any(one.is_token(label, told, digest) for told in ("imported", "unknown")):
        return
    source = one.usable(module)
    if source is None:
        return
    for is_moving in (True, False):
        code = making_in(source.tree, source.path, path, is_moving=is_moving).code
        if code is not None and one.is_digest(label, facts_of(code).digest.hex(), digest):
            return
    one.edit(label, source.path)
