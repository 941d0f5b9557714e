"""The code a function's result depends on, as a digest.

From a function, the global names and module attributes that its code uses are followed into the functions, classes and
plain constants of the user's own code, and so on. Installed packages count by version, the standard library by that of
Python. What a function captures (its closure) is part of each key instead, since it can change between two calls.

Taken from what is loaded, not from source text: the text may have changed since the import, two lambdas share a line
and a REPL has none. A fingerprint knows which names it looked at, and whether they still mean the same objects.
"""

from __future__ import annotations

import operator
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any

from pcache.codes import facts_of
from pcache.files import noting
from pcache.looking import is_a
from pcache.parts import digest_of, name_of
from pcache.sources import doubted
from pcache.summary import summarize_value
from pcache.walk import Walk, content_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


_MEMO_SIZE = 4096  # functions and classes remembered; those made anew at each call must not pile up


_DEFAULTS = (operator.attrgetter("__defaults__"), operator.attrgetter("__kwdefaults__"))


class Fingerprint:
    """A digest, its parts by name, and the names that it rests on.

    `parts` says for people and for `explain` what was found, by label: `function helpers:clean`, `class models:Model`,
    `constant helpers:LIMIT`, `package numpy`. The digest changes when the digest of a part does, and only then.
    """

    __slots__ = (
        "_absent",
        "_cells",
        "_codes",
        "_defaults",
        "_guards",
        "_sized",
        "_stale",
        "_unloaded",
        "digest",
        "files",
        "parts",
    )

    def __init__(self, walk: Walk, code: FunctionType | type | None, depends_on: tuple[object, ...]) -> None:
        self.digest, constants = noting(walk.run, code, depends_on)
        self.parts = walk.parts.parts
        self.files = [*walk.files, *constants]
        self._unloaded = walk.unloaded
        self._stale = False
        self._guards = [_guard(namespace, names) for namespace, names in walk.present.values()]
        self._absent = [(namespace, name) for namespace, names in walk.absent.values() for name in names]
        self._cells = walk.cells
        # Some tools, such as IPython's autoreload, put new code into old functions.
        functions = [found for found, _, _ in walk.queue if isinstance(found, FunctionType)]
        self._codes = functions, [function.__code__ for function in functions]
        # Defaults that a function gets later do not matter: no call that there was left an argument out.
        self._defaults = [(get, *_with(get, functions)) for get in _DEFAULTS if any(map(get, functions))]
        classes = [vars(found) for found, _, _ in walk.queue if isinstance(found, type)]
        self._sized = [(members, len(members)) for members in (*classes, *walk.sized)]

    def holds(self) -> bool:
        """Whether every name that was followed still means the same object (25 ns a name)."""
        try:
            for get, namespace, values in self._guards:
                if not all(map(operator.is_, get(namespace), values)):
                    return False
            functions, codes = self._codes
            if [function.__code__ for function in functions] != codes:  # equal code does the same
                return False
            for get, functions, defaults in self._defaults:
                if not all(map(operator.is_, map(get, functions), defaults)):
                    return False
        except KeyError:
            return False
        if self._stale or (self.files and not self._files_hold()):
            return False
        if self._sized and any(len(members) != count for members, count in self._sized):
            return False
        return not (self._absent and any(name in namespace for namespace, name in self._absent)) and not (
            self._cells and any(content_of(cell) is not value for cell, value in self._cells)
        )

    def _files_hold(self) -> bool:
        """Whether declared files have the same content. What is known of them now takes the place of what was."""
        for i, reading in enumerate(self.files):
            now = reading.again()
            if now is None:
                return False
            self.files[i] = now
        return True

    def imports_hold(self) -> bool:
        """Whether modules that were not loaded yet had the code that this fingerprint has, if they are by now.

        One that was loaded while its file changed counts as unknown from then on.
        """
        waiting = self._unloaded
        self._unloaded = [source for source in waiting if source.module not in sys.modules]
        changed = [source for source in waiting if not source.reading.is_untouched()]
        doubted.update(source.module for source in changed if source.module in sys.modules)
        self._stale = self._stale or bool(changed)
        return not self._stale


def _with(get: Callable[[Any], Any], functions: list[FunctionType]) -> tuple[list[FunctionType], list[Any]]:
    """The functions that have such defaults, and these."""
    found = [function for function in functions if get(function)]
    return found, list(map(get, found))


def _guard(namespace: Mapping[str, Any], names: Iterable[str]) -> tuple[Callable[..., Any], Any, tuple[Any, ...]]:
    ordered = sorted(names)
    if len(ordered) == 1:
        ordered *= 2  # itemgetter of one name returns no tuple
    get = operator.itemgetter(*ordered)
    return get, namespace, get(namespace)


_known: dict[int, tuple[object, Fingerprint]] = {}


def fingerprint_of(code: FunctionType | type) -> Fingerprint:
    """The fingerprint of a function or class, computed anew when a name that it rests on was rebound."""
    known = _known.get(id(code))
    if known is not None and known[0] is code and known[1].holds():
        return known[1]
    if len(_known) >= _MEMO_SIZE:
        _known.clear()
    found = _follow(code)
    _known[id(code)] = code, found
    return found


def _follow(code: FunctionType | type, depends_on: tuple[object, ...] = ()) -> Fingerprint:
    return Fingerprint(Walk(), code, depends_on)


def of_callable(function: Callable[..., Any], code: str, depends_on: tuple[object, ...]) -> Fingerprint:
    """The fingerprint of what a decorator is given, and of what it was told that results depend on.

    `code` is "deep"; "own" stops at the function itself, and "none" leaves the code out. Anything but a function counts
    by its value as an argument. Raises whatever the pickle hooks in `depends_on` raise, and `OSError` for its files.
    """
    if code == "deep" and is_a(function, FunctionType):
        own: Any = function
        return _follow(own, depends_on) if depends_on else fingerprint_of(own)
    walk = Walk()
    if code == "none":
        pass
    elif is_a(function, FunctionType):
        walk.parts.add(
            f"function {name_of(function)}", facts_of(function.__code__).digest, function.__code__.co_filename
        )
    else:
        walk.parts.add("callable", digest_of(walk.reference(function, "callable")), summarize_value(function))
    return Fingerprint(walk, None, depends_on)


def captured_values(function: Callable[..., Any], itself: object) -> tuple[Any, ...]:
    """What the closure of `function` holds now, without the function's own name for recursion (`itself`)."""
    cells = getattr(function, "__closure__", None) or ()
    return tuple(value for cell in cells if (value := content_of(cell)) is not itself)
