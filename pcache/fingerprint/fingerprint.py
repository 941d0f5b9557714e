"""The code a function's result depends on, as a digest.

From a function, the global names and module attributes that its code uses are followed into the functions, classes and
plain constants of the user's own code, and so on. Installed packages count by version, the standard library by that of
Python. What a function captures (its closure) is part of each key instead, since it can change between two calls.

Taken from what is loaded, not from source text: the text may have changed since the import, two lambdas share a line
and a REPL has none. A fingerprint knows which names it looked at, and whether they still mean the same objects.
"""

from __future__ import annotations

import sys
from types import FunctionType

from pcache.fingerprint.bytecode import facts_of
from pcache.fingerprint.guards import Guards
from pcache.fingerprint.parts import digest_of, name_of
from pcache.fingerprint.source_files import doubted
from pcache.fingerprint.state import State
from pcache.fingerprint.walk import Walk
from pcache.keys.file import noting
from pcache.objects.class_memo import OfCode
from pcache.objects.lookup import MOCKED, content_of, is_a, look
from pcache.objects.summary import summarize_value
from pcache.startup import TYPE_CHECKING, Any, TypeVar, late
from pcache.system.garbage import uncollected
from pcache.system.interrupts import attempt, try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pcache.objects import culprit
    from pcache.system.file_content import Reading
else:
    culprit = late("pcache.objects.culprit")


W = TypeVar("W", bound=Walk)


class Fingerprint:
    """A digest, its parts by name, and its dependencies.

    `parts` lists what was found by label, for people and for `explain`: `function helpers:clean`, `class models:Model`,
    `constant helpers:LIMIT`, `package numpy`. The digest changes when the digest of a part does, and only then.
    `unknown` are values that only this process can tell from others; `uncached` says why calls have to be computed
    without the cache.
    """

    __slots__ = ("_guards", "_made_of", "_stale", "_unloaded", "digest", "files", "parts", "uncached", "unknown")

    def __init__(
        self,
        make: Callable[[State], W],
        follow: Callable[[W], bytes],
        roots: Iterable[Any] = (),
        ignored: tuple[str, ...] = (),
    ) -> None:
        functions = [root for root in roots if is_a(root, FunctionType)]
        self._made_of = make, follow, functions, ignored
        with uncollected():
            walk, (self.digest, constants) = _walked(make, follow, functions, State(ignored))
            self._guards = Guards(walk)
            walk.end()
        self.parts = walk.parts.parts
        self.files = [*walk.files, *constants]
        self.unknown = walk.unknown
        self.uncached = MOCKED if walk.meets_mock else ""
        self._unloaded = walk.unloaded
        self._stale = False

    def holds(self) -> bool:
        """Whether all dependencies that are checked in each call are unchanged."""
        if self._stale or self.uncached or not self._guards.hold():
            return False
        return not self.files or self._files_hold()

    def rest_holds(self) -> bool:
        """Whether dependencies that are too slow to check in each call are unchanged; else `holds` is false, too."""
        self._stale = self._stale or not self._guards.rest_holds()
        return not self._stale

    def absorb(self) -> bool:
        """Accept changes made by running the code itself; return whether all else is unchanged."""
        if self._stale or self.uncached or not self._guards.absorb():
            return False
        return not self.files or self._files_hold()

    def held_anew(self) -> bool:
        """Whether a new walk finds the same: another object may say the same, and classes note what was asked.

        After a run, where `absorb` is false: before a call, a new version is looked for instead.
        """
        if self._stale or self.uncached or not (not self.files or self._files_hold()):
            return False
        anew, is_made = attempt(lambda: Fingerprint(*self._made_of))
        if not is_made or anew.digest != self.digest:
            return False
        self._guards = anew._guards
        return True

    def changed_parts(self) -> list[str]:
        """The names of the parts that a new walk finds otherwise."""
        now, before = Fingerprint(*self._made_of).parts, self.parts
        return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))

    def _files_hold(self) -> bool:
        """Whether declared files have the same content; updates what is known of them."""
        for i, reading in enumerate(self.files):
            now = reading.again()
            if now is None:
                return False
            self.files[i] = now
        return True

    def imports_hold(self) -> bool:
        """Whether the modules that were loaded since then have the code that this fingerprint has.

        One that was loaded while its file changed counts as unknown from then on.
        """
        waiting = self._unloaded
        if not waiting:
            return not self._stale
        self._unloaded = [source for source in waiting if source.module not in sys.modules]
        changed = [source for source in waiting if not source.reading.is_untouched()]
        doubted.update(source.module for source in changed if source.module in sys.modules)
        self._stale = self._stale or bool(changed)
        return not self._stale


def _walked(
    make: Callable[[State], W], follow: Callable[[W], bytes], roots: list[FunctionType], state: State
) -> tuple[W, tuple[bytes, list[Reading]]]:
    """A walk that knows what the code which it finds changes, its digest, and the files that it read."""
    while True:
        walk = make(state)
        found, error = try_call(noting, follow, walk)
        if error is not None:
            culprit.say_where(error, walk.at)
            raise error
        if not state.learn([*(code for code, _, _ in walk.queue), *roots]):
            return walk, found
        walk.end()


_known: OfCode[Fingerprint] = OfCode()


def fingerprint_of(code: FunctionType | type) -> Fingerprint:
    """The fingerprint of a function or class, computed anew when a name that it depends on was rebound."""
    known = _known.get(code)
    return known if known is not None and known.holds() else _known.keep(code, _follow(code))


def _follow(
    code: FunctionType | type | None, depends_on: tuple[object, ...] = (), ignored: tuple[str, ...] = ()
) -> Fingerprint:
    return Fingerprint(Walk, lambda walk: walk.run(code, depends_on), ignored=ignored)


def of_callable(
    function: Callable[..., Any], code: str, depends_on: tuple[object, ...], ignored: tuple[str, ...] = ()
) -> Fingerprint:
    """The fingerprint of a decorated object, and of its declared dependencies.

    `code` is "deep"; "own" stops at the function itself, and "none" leaves the code out. Anything but a function counts
    by its contents. Globals whose `module:NAME` matches a pattern in `ignored` are left out. Raises whatever the pickle
    hooks in `depends_on` raise, and `OSError` for its files.
    """
    if code == "deep" and is_a(function, FunctionType):
        return _follow(function, depends_on, ignored) if depends_on or ignored else fingerprint_of(function)

    def follow(walk: Walk) -> bytes:
        if code == "own" and is_a(function, FunctionType):
            own = function.__code__
            walk.parts.add(f"function {name_of(function)}", facts_of(own).digest, own.co_filename)
        elif code != "none":
            token = walk.reference(function, "callable")
            walk.parts.add("callable", digest_of(token), summarize_value(function))
        return walk.run(None, depends_on)

    return Fingerprint(_strict, follow, [function], ignored)


def fingerprint_of_captured(function: Callable[..., Any], itself: object, ignored: tuple[str, ...] = ()) -> Fingerprint:
    """The fingerprint of a function's captured values, without its own name for recursion (`itself`)."""
    code = look(function, "__code__")
    cells = list(zip(look(code, "co_freevars", ()), look(function, "__closure__") or (), strict=False))

    def follow(walk: Walk) -> bytes:
        walk.facts.append(facts_of(code))  # a function with a closure has code
        tokens = [
            walk.reference(walk.captured(cell, name), name)
            for name, cell in cells
            if content_of(cell) is not itself and not walk.state.is_variable(cell)
        ]
        return digest_of((tokens, walk.run(None)))

    return Fingerprint(_strict, follow, [function], ignored)


def _strict(state: State) -> Walk:
    return Walk(state, strict=True)
