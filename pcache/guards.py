"""What a code version was made of, kept to be looked at again at each call.

Names, cells, code, defaults and attributes are compared by identity; so is what small containers and instances hold.
Other objects that can change in place, such as arrays, are encoded anew: small ones at each call, larger ones before a
call is computed.

What the code changes itself while it runs (a memo it fills, a counter) is state that it keeps and no other version:
such changes are taken over. Only those that the code on the way can have made; any other is somebody else's.
"""

from __future__ import annotations

import operator
from _abc import _get_dump, get_cache_token  # type: ignore[import-not-found]  # the first is what `ABCMeta._dump_registry` prints
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from pcache.culprit import attempt
from pcache.keys import Nesting, encode
from pcache.looking import attributes_of, content_of, is_a, members_of, module_of, qualname_of
from pcache.parts import BY_REFERENCE
from pcache.provenance import is_user_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pcache.walk import Walk

    Read = Callable[[Any], tuple[Any, ...]]

_DEFAULTS = (operator.attrgetter("__defaults__"), operator.attrgetter("__kwdefaults__"))
SMALL = 16 << 10  # bytes of an encoding that are looked at in each call: 20 us
_LARGE = 1 << 62


def _pairs(table: Any) -> tuple[Any, ...]:
    return (*table, *table.values())


# What of a container is compared.
READERS: dict[type, Read] = {dict: _pairs, MappingProxyType: _pairs, list: tuple, set: tuple}


class Attributes:
    """Reads what an instance holds, without the attributes that its methods count up."""

    __slots__ = ("_without",)

    def __init__(self, without: frozenset[str]) -> None:
        self._without = without

    def __call__(self, instance: object) -> tuple[Any, ...]:
        held = attributes_of(instance)
        if not self._without.isdisjoint(held):
            held = {name: value for name, value in held.items() if name not in self._without}
        return (*held, *held.values())


class Guards:
    """What a walk has seen. `hold` says whether all of it is as it was (25 ns a name)."""

    __slots__ = (
        "_absent",
        "_abstract",
        "_cells",
        "_classes",
        "_codes",
        "_contents",
        "_defaults",
        "_mutates",
        "_names",
        "_objects",
        "_registrations",
        "_stored",
    )

    def __init__(self, walk: Walk) -> None:
        self._names = [_guard(namespace, names) for namespace, names in walk.present.values()]
        self._absent = [(namespace, name) for namespace, names in walk.absent.values() for name in names]
        self._cells = list(walk.cells)
        # Some tools, such as IPython's autoreload, put new code into old functions.
        functions = [found for found, _, _ in walk.queue if type(found) is FunctionType]
        self._codes = functions, [function.__code__ for function in functions]
        # Defaults that a function gets later do not matter: no call that there was left an argument out.
        self._defaults = [(get, *_with(get, functions)) for get in _DEFAULTS if any(map(get, functions))]
        classes = [members_of(found) for found, _, _ in walk.queue if is_a(found, type)]
        self._classes = [(members, frozenset(members)) for members in classes]
        self._contents = list(walk.watched.values())
        self._objects = list(walk.objects.values())
        self._abstract = list(walk.abstract.values())
        self._registrations = get_cache_token()  # the number of registrations in this process
        self._stored = frozenset().union(*(facts.stored for facts in walk.facts))
        self._mutates = any(facts.mutates for facts in walk.facts)

    def hold(self) -> bool:
        """Whether every name that was followed still means the same object, and these hold what they held."""
        try:
            for get, namespace, values, _ in self._names:
                if not all(map(operator.is_, get(namespace), values)):
                    return False
            functions, codes = self._codes
            if [function.__code__ for function in functions] != codes:  # equal code does the same
                return False
            for get, functions, defaults in self._defaults:
                if not all(map(operator.is_, map(get, functions), defaults)):
                    return False
            for read, value, held in self._contents:
                now = read(value)
                if len(now) != len(held) or not all(map(operator.is_, now, held)):
                    return False
        except (KeyError, RuntimeError):  # a name is gone, or a table changes this very moment
            return False
        if self._classes and any(len(members) != len(names) for members, names in self._classes):
            return False
        if self._abstract and get_cache_token() != self._registrations and not self._registrations_hold():
            return False
        if self._absent and any(name in namespace for namespace, name in self._absent):
            return False
        if self._cells and any(content_of(cell) is not value for cell, value, _ in self._cells):
            return False
        return not self._objects or self.objects_hold(SMALL)

    def _registrations_hold(self) -> bool:
        """Whether the classes that were registered lately, for which nobody asks here mostly, are none of these."""
        token = get_cache_token()
        if any(registered(cls) != known for cls, known in self._abstract):
            return False
        self._registrations = token
        return True

    def objects_hold(self, most: int = _LARGE) -> bool:
        """Whether objects whose encodings have at most so many bytes are what they were."""
        return all(size > most or encoding_of(value)[1] == held for value, size, held in self._objects)

    def absorb(self) -> bool:
        """Take over what running the code has changed, and return whether that is all that changed.

        A name, an attribute or a variable counts as changed by the code if code on the way assigns one of that name; a
        container if code on the way changes any; an object always, as any call may change it.
        """
        before = self._names, self._cells, self._contents, self._classes, self._objects
        taken, error = attempt(self._taken_over)
        if error is None and taken is not None:
            self._names, self._cells, self._contents, self._classes = taken
            self._objects = [
                (value, size, held if size > SMALL else encoding_of(value)[1]) for value, size, held in self._objects
            ]
            if self.hold():
                return True
            self._names, self._cells, self._contents, self._classes, self._objects = before
        return False

    def _taken_over(self) -> tuple[Any, Any, Any, Any] | None:
        """What is guarded as it is now; None where something changed that the code did not."""
        names = [(get, namespace, get(namespace), ordered) for get, namespace, _, ordered in self._names]
        cells = [(cell, content_of(cell), name) for cell, _, name in self._cells]
        contents = [(read, value, read(value)) for read, value, _ in self._contents]
        classes = [(members, frozenset(members)) for members, _ in self._classes]
        changed: set[str] = set()
        for (_, _, held, ordered), (_, _, now, _) in zip(self._names, names, strict=True):
            changed |= _changed(ordered, held, now)
        for (_, value, name), (_, value_now, _) in zip(self._cells, cells, strict=True):
            changed |= _changed((name,), (value,), (value_now,))
        for (_, members), (_, members_now) in zip(self._classes, classes, strict=True):
            changed |= members ^ members_now
        for (read, _, content), (_, _, content_now) in zip(self._contents, contents, strict=True):
            if len(content) == len(content_now) and all(map(operator.is_, content, content_now)):
                continue
            if type(read) is Attributes:
                changed |= {name for name, _ in set(_items(content)) ^ set(_items(content_now))}
            elif not self._mutates:
                return None
        return (names, cells, contents, classes) if changed <= self._stored else None


def _items(held: tuple[Any, ...]) -> Iterator[tuple[str, int]]:
    """Names, each with the identity of what it means."""
    half = len(held) // 2
    return zip(held[:half], map(id, held[half:]), strict=True)


def _changed(names: tuple[str, ...], before: tuple[Any, ...], now: tuple[Any, ...]) -> set[str]:
    """Which of some names mean another value; one that is code is none that a program counts with."""
    changed = [one for one in zip(names, before, now, strict=True) if one[1] is not one[2]]
    if any(is_a(value, BY_REFERENCE) for _, *values in changed for value in values):
        raise KeyError(names)
    return {name for name, _, _ in changed}


def _with(get: Callable[[Any], Any], functions: list[FunctionType]) -> tuple[list[FunctionType], list[Any]]:
    """The functions that have such defaults, and these."""
    found = [function for function in functions if get(function)]
    return found, list(map(get, found))


def _guard(
    namespace: Mapping[str, Any], names: Iterable[str]
) -> tuple[Callable[..., Any], Any, tuple[Any, ...], tuple[str, ...]]:
    ordered = sorted(names)
    if len(ordered) == 1:
        ordered *= 2  # itemgetter of one name returns no tuple
    get = operator.itemgetter(*ordered)
    return get, namespace, get(namespace), tuple(ordered)


def encoding_of(value: object) -> tuple[int, bytes]:
    """How long the encoding of an object is now, and its digest; empty where it has none.

    Functions and classes in it count by identity here: they are guarded by themselves.
    """
    chunks, error = attempt(encode, value, Nesting(_by_identity, straight=True))
    if error is not None:
        return 0, b""
    encoding = b"".join(chunks)
    return len(encoding), blake3(encoding).digest(16)


def _by_identity(part: object) -> object:
    return ("object", id(part))


def registered(cls: type) -> list[type]:
    """The classes of the user's that an abstract class was told to take for its subclasses."""
    if "_abc_impl" not in vars(cls):
        return []
    found, _ = attempt(_get_dump, cls)
    known: list[type] = [one for reference in (found or ((),))[0] if (one := reference()) is not None]
    return sorted(filter(is_user_code, known), key=lambda one: (module_of(one), qualname_of(one)))
