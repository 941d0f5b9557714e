"""The values that a function captures: part of its keys, since they can change between two calls."""

from __future__ import annotations

from blake3 import blake3

from pcache.errors import PcacheWarning, Uncached
from pcache.keys.encoder import encode
from pcache.keys.names import module_name
from pcache.keys.nesting import FILES
from pcache.objects.lookup import content_of, look, qualname_of
from pcache.startup import TYPE_CHECKING, Any, late
from pcache.system.fork import whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.fingerprint.fingerprint import Fingerprint
    from pcache.keys.encoder import LargeContents
    from pcache.system import notices
else:
    notices = late("pcache.system.notices")


class Captured:
    """The captured values of a function as a digest, computed anew when they or their dependencies changed.

    A value without a key, such as a lock, counts by identity: its results are not shared with other processes, and
    never mixed up. `itself` is the function's own name for recursion, and does not count.
    """

    def __init__(self, function: Callable[..., Any], itself: object, label: str, ignored: tuple[str, ...] = ()) -> None:
        self._function = function
        self._itself = itself
        self._label = label
        self._ignored = ignored
        # Values are in the order of their names, which may differ in another version of the code.
        self._names = b"".join(encode(look(look(function, "__code__"), "co_freevars", ())))
        self._known: tuple[bytes, Fingerprint] | None = None

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the captured values at the last check."""
        return (self._known or self._find())[1]

    def digest(self, large: LargeContents | None = None, kept: Callable[[Fingerprint], bool] | None = None) -> bytes:
        """The digest of the values captured now; notes their files in `large`.

        If something changed, `kept` may say that the function did it.
        """
        known = self._known
        if known is None or not (known[1].holds() or (kept is not None and kept(known[1]))):
            known = self._find()
        if large is not None and known[1].files:
            large[id(self), FILES] = self, list(known[1].files)
        return known[0]

    def shown(self) -> str:
        """The captured values in brief, for people, without functions and classes: `rate=2, low=0`."""
        from pcache.objects.summary import in_one_line, summarize  # late for start-up time: a hit shows nothing

        names = look(look(self._function, "__code__"), "co_freevars", ())
        cells = zip(names, map(content_of, look(self._function, "__closure__", ())), strict=False)
        values = {name: value for name, value in cells if not callable(value)}
        return in_one_line(summarize(values, values.values()))

    def _find(self) -> tuple[bytes, Fingerprint]:
        with whole:
            from pcache.fingerprint.fingerprint import fingerprint_of_captured  # late for start-up time

        found = fingerprint_of_captured(self._function, self._itself, self._ignored)
        if found.uncached:
            raise Uncached(found.uncached)
        for value in found.unknown:
            notices.warn_once(
                (module_name(self._function), self._label, "closure"),
                f"{self._label} captures a {qualname_of(type(value))}, which has no key: its results are found again"
                " only by this process. If it does not affect them, pass it as an argument with ignore=.",
                PcacheWarning,
            )
        self._known = blake3(self._names + found.digest).digest(), found
        return self._known
