"""What was read from code, remembered in this process; that of large programs is kept between processes as well.

Reading takes 0.1 to 0.5 ms for each function: a second for a program of some thousands of them. What is read depends on
nothing but the code, so it is kept by a digest of that, and by which Python and which release of pcache read it.
"""

from __future__ import annotations

import marshal
import os
from _frozen_importlib_external import MAGIC_NUMBER

from blake3 import blake3

from pcache.startup import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from types import CodeType

    ImportFrom = tuple[int, str, tuple[tuple[str, str], ...]]  # level, module, names there and here

MOST_NEW = 300  # code objects that are read in each process: 0.1 s; from there on they are kept


class Making(NamedTuple):
    """The statements of a module that make a name, as code; and its imports, from which the name may come instead."""

    code: CodeType | None
    imports: tuple[ImportFrom, ...]


class Kept(NamedTuple):
    """What is kept between processes."""

    code: dict[bytes, tuple[Any, Any]]
    modules: dict[tuple[str, bytes], tuple[bytes, list[str]]]
    makings: dict[tuple[str, bytes, str, bool], tuple[bytes, tuple[ImportFrom, ...]]]


_MOST = 1 << 16  # code objects remembered; those made anew at each call must not pile up
_PLAIN = 2  # the version of marshal that says the same of equal code, however its constants are shared

facts: dict[CodeType, Any] = {}  # by `bytecode.facts_of`
uses: dict[CodeType, Any] = {}  # by `dataflow.uses_of`
# By `source_files`: the digest of a module's code and what it imports, by its name and the digest of its file.
modules: dict[tuple[str, bytes], tuple[bytes, list[str]]] = {}
new: dict[CodeType, None] = {}  # code that was read in this process, in order
# By `builders`: what makes a name, by the file, the digest of its content, the name, and whether it is state.
makings: dict[tuple[str, bytes, str, bool], Making] = {}
_same: dict[Any, Any] = {}  # what was read, by itself
_recalled: set[bytes] = set()  # digests of code that this process has met
_kept: dict[bytes, tuple[Any, Any]] = {}  # facts and uses, either of which may be missing, by digest of the code


def note(memo: dict[CodeType, Any], code: CodeType, found: Any) -> Any:
    """Remember what was read from a code object; equal parts are one object, since there are many."""
    if len(memo) >= _MOST:
        facts.clear()
        uses.clear()
        new.clear()
        _same.clear()
    found = memo[code] = type(found)(*(_same.setdefault(one, one) for one in found))
    new[code] = None
    return found


def recall(memo: dict[CodeType, Any], code: CodeType) -> Any:
    """What another process has read from a code object; None if that is not known."""
    found = _kept.get(digest := _digest_of(code)) if _kept else None
    if found is None:
        return None
    _recalled.add(digest)
    for known, value in zip((facts, uses), found, strict=True):
        if value is not None:
            known[code] = value
    return memo.get(code)


def _digest_of(code: CodeType) -> bytes:
    """The digest of a code object; empty for one with constants that no source can have."""
    try:
        return blake3(marshal.dumps(code, _PLAIN)).digest(16)
    except ValueError:
        return b""


def take_in(kept: Kept) -> None:
    """Add what other processes have read."""
    _kept.update(kept.code)
    modules.update(kept.modules)
    for key, (code, imports) in kept.makings.items():
        makings[key] = Making(marshal.loads(code), imports)  # noqa: S302 - sealed with a key of ours


def give_out() -> Kept:
    """What this process has read, or has been given; equal parts are one object, which makes its pickle small."""
    same: dict[Any, Any] = {}
    for code in [code for code in new if code in uses]:  # of others only a digest is asked for
        _recalled.add(digest := _digest_of(code))
        _kept[digest] = _shared(facts.get(code), same), _shared(uses[code], same)
    new.clear()
    _kept.pop(b"", None)
    if len(_kept) > _MOST:  # of versions of the program that are long gone
        for digest in _kept.keys() - _recalled:
            del _kept[digest]
    plain = {key: (marshal.dumps(code, _PLAIN), imports) for key, (code, imports) in list(makings.items())}
    return Kept(dict(_kept), dict(modules), plain if len(plain) <= _MOST else {})


def _shared(value: Any, same: dict[Any, Any]) -> Any:
    """A record with paths that are the same objects where they are equal."""
    if value is None:
        return None
    sets = [
        frozenset(same.setdefault(item, item) for item in field) if type(field) is frozenset else field
        for field in value
    ]
    return type(value)(*sets)


def read_by() -> str:
    """What reads code here: this Python, and this release of pcache. What others have read does not count."""
    here = os.path.dirname(__file__)
    files: list[tuple[Any, ...]] = []
    for folder in (here, os.path.join(os.path.dirname(here), "objects")):
        try:
            with os.scandir(folder) as found:
                names = [(one.name, one.stat()) for one in found if one.name.endswith(".py")]
        except OSError:
            names = []  # in an archive
        files += sorted((name, status.st_size, status.st_mtime_ns) for name, status in names)
    return blake3(repr((MAGIC_NUMBER, files)).encode()).hexdigest(8)
