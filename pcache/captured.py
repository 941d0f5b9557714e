"""What a function captures is part of its keys: its closure can change between two calls."""

from __future__ import annotations

import operator
import os
import sys
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from pcache.culprit import attempt
from pcache.dispatch import FILES
from pcache.errors import PcacheWarning
from pcache.files import Reading, noting
from pcache.fingerprint import captured_values
from pcache.keys import encode, module_name
from pcache.looking import look, qualname_of
from pcache.notices import warn_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.keys import LargeContents


class Captured:
    """The captured values of a function as a digest, encoded anew when another object was captured since.

    What has no key, such as a lock, counts by identity: nothing is shared with other processes, nothing mixed up.
    `itself` is the function's own name for recursion, and plays no part.
    """

    def __init__(self, function: Callable[..., Any], itself: object, label: str) -> None:
        self._function = function
        self._itself = itself
        self._label = label
        # Values come in the order of their names, which another version of the code may have changed.
        self._names = b"".join(encode(look(look(function, "__code__"), "co_freevars", ())))
        self._known: tuple[tuple[Any, ...], bytes, list[Reading]] | None = None

    def digest(self, large: LargeContents | None = None) -> bytes:
        """The digest of what is captured now; notes the files among it in `large`."""
        values = captured_values(self._function, self._itself)
        known = self._known
        if (
            known is None
            or len(values) != len(known[0])
            or not all(map(operator.is_, values, known[0]))
            or not all(reading.again() for reading in known[2])
        ):
            # The objects are kept alive, so that no other can have their identity.
            digests, files = noting(lambda: b"".join(map(self._digest_of, values)))
            known = self._known = values, blake3(self._names + digests).digest(), files
        if known[2] and large is not None:
            large[id(self), FILES] = self, known[2]
        return known[1]

    def _digest_of(self, value: object) -> bytes:
        chunks, error = attempt(encode, value)
        if error is None:
            return blake3(b"".join(chunks)).digest()
        warn_once(
            (module_name(self._function), self._label, "closure"),
            f"{self._label} captures a {qualname_of(type(value))}, which has no key: its results are found again only"
            " by this process. If it does not affect them, pass it as an argument with ignore=.",
            PcacheWarning,
        )
        return blake3(_token + id(value).to_bytes(8, "little")).digest()


# Bytes that no other process has, a forked child included. Made here and not when they are first asked for: two threads
# that ask at once would each get their own, and compute the same call twice.
_token = os.urandom(16)


def _after_fork_in_child() -> None:
    global _token  # noqa: PLW0603 - one per process
    _token = os.urandom(16)


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork_in_child)
