"""A digest of each argument of a call, stored with its result, so that `explain` can tell which one differs.

After the function has run they tell as well which argument it changed.

The digests that entries hold are made with the signing key: anyone who has only the entries cannot test which
password gives one.
"""

from __future__ import annotations

import time
from types import BuiltinFunctionType, FunctionType, ModuleType

from blake3 import blake3

from pcache.errors import ChangedArgumentWarning
from pcache.keys.encoder import encode, encode_short, nesting_with
from pcache.keys.nesting import size_of
from pcache.objects.lookup import is_exactly
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import try_call
from pcache.system.notices import warn_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pcache.keys.binder import Binder
    from pcache.keys.encoder import LargeContents

_LIMIT = 256 << 10  # bytes of stream
_CONTEXT = b"pcache argument\x00"
_SHOWN_DIGITS = 16
_PLAIN = frozenset((bool, int, float, type(None)))
# Types that a call cannot change, or whose changes show in the code's fingerprint.
_FIXED = _PLAIN | {complex, str, bytes, range, type, FunctionType, BuiltinFunctionType, ModuleType}
_MANY = 1000  # members of a tuple, or options, that are checked one by one
_SMALL = 64 << 10  # bytes that are hashed again however short the run was; more if that takes a small part of it
_ALWAYS = 3  # checks that are made in any case
_SHARE = 32  # later checks may take 1/32 of the time of the run and the miss
_MISS_NS = 200_000


def digests_of(
    arguments: Iterable[tuple[str, Any]], large: LargeContents, ignored: tuple[str, ...] = ()
) -> dict[str, bytes]:
    """Digest each named value that has a key. What was hashed for the key, in `large`, is not hashed again.

    Text and other values that would need it, with an encoding of more than 256 KiB, get empty bytes.
    """
    return {name: _digest(value, large, ignored) for name, value in arguments}


def _digest(value: Any, large: LargeContents, ignored: tuple[str, ...]) -> bytes:
    cls = type(value)
    # Faster, with the same result.
    if is_exactly(value, _PLAIN) or ((cls is str or cls is bytes) and len(value) < _LIMIT):
        chunks: Sequence[Any] | None = encode(value)
    else:
        chunks = encode_short(value, large, _LIMIT, ignored)
    return b"" if chunks is None else blake3(b"".join(chunks)).digest()


def signed(digests: Mapping[str, bytes], key: bytes) -> dict[str, str]:
    """The digests as an entry stores them: keyed with its signing key, 16 hexadecimal digits each."""
    return {
        name: blake3(_CONTEXT + digest, key=key).hexdigest()[:_SHOWN_DIGITS] if digest else ""
        for name, digest in digests.items()
    }


class Watch:
    """Checks whether a function changes its arguments, as one that draws from a generator or fits a model does.

    The result is correct for the values before the call. But a hit leaves the argument unchanged, and after a run the
    same object is another value. A check takes as long as encoding the argument for the key. Functions of packages are
    not checked: code that caches them, such as scikit-learn's pipelines, allows for this.
    """

    def __init__(self, name: str, binder: Binder, ignored: tuple[str, ...] = (), *, is_users: bool) -> None:
        self._is_users = is_users
        self._ignored = ignored
        self._name = name
        self._names = binder.names
        self._collected = [form.startswith("**") for form in binder.form]
        self._looks = self._took_ns = 0

    def look(self, values: Sequence[Any], digests: Mapping[str, bytes], large: LargeContents, cost_ns: int) -> bool:
        """Compare arguments with their digests from before the run, which took `cost_ns`; warn if they differ.

        Returns whether any was encoded, which may run code of its class.
        """
        if not self._is_users or (self._looks >= _ALWAYS and self._took_ns * _SHARE > cost_ns + _MISS_NS):
            return False
        started, encoded = time.perf_counter_ns(), False
        limit = max(_SMALL, cost_ns // _SHARE)  # hashing takes less than a nanosecond a byte
        for name, value, collected in zip(self._names, values, self._collected, strict=True):
            if digests[name] and _may_change(tuple(value) if collected else value):
                encoded = True
                now, error = try_call(_digest_again, value, large, limit, self._ignored)
                if error is None and now != digests[name]:
                    self._say(name, value)
        self._took_ns = time.perf_counter_ns() - started
        self._looks += 1
        return encoded

    def _say(self, name: str, value: Any) -> None:
        warn_once(
            (self._name, "changed", name),
            f"{self._name} changes its argument {name!r}, a {type(value).__qualname__}: the next run sees other values,"
            " and a hit changes nothing. Change a copy of it, or pass what it is made of, such as a seed.",
            ChangedArgumentWarning,
        )


def _may_change(value: Any) -> bool:
    """Whether a call can change a value: false for numbers, text, code, and tuples of these."""
    cls = type(value)
    if cls is tuple or cls is frozenset:
        return len(value) <= _MANY and any(map(_may_change, value))
    return cls not in _FIXED


def _digest_again(value: Any, before: LargeContents, limit: int, ignored: tuple[str, ...]) -> bytes:
    """The current digest of a value; raises for one that would take long to hash."""
    nesting = nesting_with(_Again(before, limit), ignored)
    nesting.limit, nesting.straight = limit, True
    return blake3(b"".join(encode(value, nesting))).digest()


class _Large(Exception):
    """A value is too large to be hashed again."""


class _Again(dict[tuple[int, str], tuple[object, Any]]):
    """Replaces the memo `before`: contents in it are hashed again, and those above the limit raise `_Large`."""

    def __init__(self, before: LargeContents, limit: int) -> None:
        super().__init__()
        self._before, self._limit = before, limit

    def __contains__(self, known: object) -> bool:
        if super().__contains__(known):
            return True
        if known in self._before:
            size = size_of(self._before[known][0])
            if size is None or size > self._limit:
                raise _Large
        return False
