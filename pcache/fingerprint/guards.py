"""Guards: the dependencies of a code version, checked again at each call.

Names, cells, code, defaults and attributes are compared by identity; so is what containers and instances hold. Other
objects that can change in place, such as arrays, are encoded anew. What takes too long for each call, such as a large
table, is looked at before a call is computed.

Changes that the code makes itself while it runs (a memo it fills, a counter) are state, and no other version: they are
accepted. Only those that the followed code can have made; any other is a change of version.
"""

from __future__ import annotations

import operator
from _abc import get_cache_token  # type: ignore[import-not-found]  # what `ABCMeta` is made of
from collections import defaultdict, deque
from types import FunctionType, MappingProxyType

from blake3 import blake3

from pcache.fingerprint.anatomy import Anatomy, is_of_c, shown_of
from pcache.fingerprint.findings import registered_with
from pcache.fingerprint.parts import BY_REFERENCE
from pcache.fingerprint.reflection import OF_CLASSES
from pcache.keys.encoder import Nesting, encode
from pcache.keys.nesting import hashed_bytes
from pcache.objects.lookup import (
    attributes_of,
    bases_of,
    content_of,
    is_a,
    look,
    members_of,
    module_of,
    slots_of,
)
from pcache.objects.user_code import is_user_code
from pcache.startup import TYPE_CHECKING, Any, late
from pcache.system.interrupts import attempt, try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pcache.fingerprint import kinds
    from pcache.fingerprint.findings import Findings, Read, Watched
    from pcache.keys.encoder import LargeContents
    from pcache.objects import cached_state
else:
    kinds = late("pcache.fingerprint.kinds")
    cached_state = late("pcache.objects.cached_state")


_DEFAULTS = (operator.attrgetter("__defaults__"), operator.attrgetter("__kwdefaults__"))
# Objects of these modules do not change in place, except containers.
IMMUTABLE = frozenset(
    "_collections builtins datetime decimal _decimal fractions inspect ipaddress operator pathlib pathlib._local re"
    " typing uuid zoneinfo".split()
)
_EACH_CALL = 1000  # objects compared at each call, at most: 20 us
_COST_OF_ONE = 10  # of a container besides its items; encoding an object costs ten times as much
_MOST_PARTS = 500  # of an object that is taken apart again: 3 ms
_BYTES = 16  # encoded in the time that comparing an object takes


def _pairs(table: Any) -> tuple[Any, ...]:
    return (*table, *table.values())


# The content of each type of container that is compared.
READERS: dict[type, Read] = {
    dict: _pairs,
    defaultdict: lambda table: (table.default_factory, *_pairs(table)),
    MappingProxyType: _pairs,
    list: tuple,
    set: tuple,
}


class Attributes:
    """Reads the attributes and slots of an instance, without those that its methods count up.

    `filled` are those that its `cached_property` fill in when they are first read. Where code on the way sets
    attributes by computed names, only those count that its class sets by name.
    """

    __slots__ = ("_has_slots", "_named", "_without", "filled")

    def __init__(self, cls: type, without: frozenset[str] = frozenset(), named: frozenset[str] | None = None) -> None:
        memos = cached_state.memos_of(cls)
        self._has_slots = any(map(slots_of, bases_of(cls)))
        self._without = without
        self._named = named
        self.filled = memos.names if memos is not None else frozenset()

    def __call__(self, instance: object) -> tuple[Any, ...]:
        held = shown_of(instance) if self._has_slots else attributes_of(instance)
        if not self._without.isdisjoint(held):
            held = {name: value for name, value in held.items() if name not in self._without}
        if self._named is not None:
            held = {name: value for name, value in held.items() if name in self._named}
        return (*held, *held.values())


class Picked:
    """Reads some items of a dict, or some attributes of a namespace."""

    __slots__ = ("keys",)

    def __init__(self, keys: tuple[Any, ...]) -> None:
        self.keys = keys

    def __call__(self, table: Any) -> tuple[Any, ...]:
        held = table if isinstance(table, dict) else attributes_of(table)
        return (look(table, "default_factory"), *[held.get(key, self) for key in self.keys])


class Encoding:
    """Reads the encoding of an object: the same bytes object as long as it is unchanged.

    Functions and classes in it count by identity here: they have guards of their own. `hashed` notes what the first
    reading hashes, so that it need not be hashed again at once.
    """

    __slots__ = ("_digest", "_hashed", "size")

    def __init__(self, hashed: LargeContents | None = None) -> None:
        self._digest = b""
        self._hashed = hashed
        self.size = 0  # in bytes, with what was hashed

    def __call__(self, value: object) -> tuple[Any, ...]:
        nesting = Nesting(_by_identity, straight=True)
        if self._hashed is not None:
            nesting.found, self._hashed = self._hashed, None
        chunks, is_done = attempt(encode, value, nesting)
        if not is_done:
            chunks, is_done = attempt(_parts_of, value)
        encoding = b"".join(chunks) if is_done else b""
        self.size = len(encoding) + hashed_bytes(nesting.found)
        digest = blake3(encoding).digest(16)
        if digest != self._digest:
            self._digest = digest
        return (self._digest,)


# The content that is compared in instances of subclasses of these, however the subclasses iterate.
_ITEMS: dict[type, Read] = {
    dict: lambda table: (*dict.keys(table), *dict.values(table)),
    list: lambda items: tuple(list.__iter__(items)),
    set: lambda members: tuple(set.__iter__(members)),
    deque: lambda items: tuple(deque.__iter__(items)),
}


def items_reader(cls: type) -> Read | None:
    """The reader of what instances of a user's class hold besides attributes and slots; None for nothing."""
    foreign = next(base for base in bases_of(cls) if not is_user_code(base))
    for base, read in _ITEMS.items():
        if issubclass(foreign, base):
            return read
    return Encoding() if module_of(foreign) not in IMMUTABLE and is_of_c(foreign) else None


def _parts_of(value: object) -> Sequence[Any]:
    """The encoded parts of an object without an encoding; raises if there are many."""
    return encode(Anatomy(kinds.is_known, _code_by_identity, most=_MOST_PARTS).take_apart(value))


def _cost(watched: Watched) -> int:
    """The cost of checking something again, in comparisons of an object."""
    read, _, held = watched
    if type(read) is Encoding:
        return 10 * _COST_OF_ONE + read.size // _BYTES
    return _COST_OF_ONE + len(held)


def _names_of(members: Any, left: frozenset[str]) -> tuple[Any, frozenset[str], frozenset[str], int]:
    """The members of a class, their names without those that are left out, these, and how many members there are."""
    return members, frozenset(members) - left, left, len(members)


def _same(now: tuple[Any, ...], held: tuple[Any, ...]) -> bool:
    return len(now) == len(held) and all(map(operator.is_, now, held))


class Guards:
    """The dependencies that a walk has seen. `hold` says whether all are unchanged (25 ns a name)."""

    __slots__ = (
        "_absent",
        "_abstract",
        "_cells",
        "_classes",
        "_codes",
        "_defaults",
        "_mutates",
        "_names",
        "_often",
        "_registrations",
        "_seldom",
        "_stored",
    )

    def __init__(self, walk: Findings) -> None:
        self._names = [_guard(namespace, names) for namespace, names in walk.present.values()]
        self._absent = [(namespace, frozenset(names)) for namespace, names in walk.absent.values()]
        self._cells = list(walk.cells)
        # Some tools, such as IPython's autoreload, put new code into old functions.
        functions = [found for found, _, _ in walk.queue if type(found) is FunctionType]
        self._codes = functions, [function.__code__ for function in functions]
        # Defaults that a function gets later do not matter: no earlier call omitted an argument.
        self._defaults = [(get, *_with(get, functions)) for get in _DEFAULTS if any(map(get, functions))]
        classes = [found for found, _, _ in walk.queue if is_a(found, type)]
        # Attributes that code on the way sets come and go, and Python sets some when an instance is first pickled.
        self._classes = [_names_of(members_of(found), walk.state.fields(found) | OF_CLASSES) for found in classes]
        self._often, self._seldom = _by_cost(walk.watched.values())
        self._abstract = list(walk.abstract.values())
        self._registrations = get_cache_token()  # the number of registrations in this process
        self._stored = frozenset().union(*(facts.stored for facts in walk.facts))
        self._mutates = any(facts.mutates for facts in walk.facts)

    def hold(self) -> bool:
        """Whether every name that was followed still means the same object, with the same contents."""
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
            for read, value, held in self._often:
                if not _same(read(value), held):
                    return False
        except (KeyError, RuntimeError):  # a name was deleted, or another thread is changing a table
            return False
        if self._classes and any(
            len(members) != count and _names_of(members, left)[1] != names
            for members, names, left, count in self._classes
        ):
            return False
        if self._abstract and get_cache_token() != self._registrations and not self._registrations_hold():
            return False
        if self._absent and not all(namespace.keys().isdisjoint(names) for namespace, names in self._absent):
            return False
        return not (self._cells and any(content_of(cell) is not value for cell, value, _ in self._cells))

    def _registrations_hold(self) -> bool:
        """Whether the latest registrations with abstract classes, mostly unrelated, concern none of these classes."""
        token = get_cache_token()
        if any(registered_with(cls) != known for cls, known in self._abstract):
            return False
        self._registrations = token
        return True

    def rest_holds(self) -> bool:
        """Whether dependencies that take too long to check in each call are unchanged."""
        return all(_same(try_call(read, value)[0] or (), held) for read, value, held in self._seldom)

    def absorb(self) -> bool:
        """Accept what running the code has changed, and return whether that is all that changed.

        A name, an attribute or a variable counts as changed by the code if the followed code assigns one of that name;
        a container if the followed code changes any; another object always, as any call may change it.
        """
        containers = (one for one in self._seldom if type(one[0]) is not Encoding)
        if self.hold() and all(_same(read(value), held) for read, value, held in containers):
            return True
        before = self._names, self._cells, self._classes, self._often, self._seldom
        taken, _ = attempt(self._taken_over)
        if taken is not None:
            self._names, self._cells, self._classes, watched = taken
            self._often, self._seldom = _by_cost(watched)
            if self.hold():
                return True
            self._names, self._cells, self._classes, self._often, self._seldom = before
        return False

    def _taken_over(self) -> tuple[Any, Any, Any, list[Watched]] | None:
        """The guarded values as they are now; None if the code cannot have made a change."""
        names = [(get, namespace, get(namespace), ordered) for get, namespace, _, ordered in self._names]
        cells = [(cell, content_of(cell), name) for cell, _, name in self._cells]
        often = [(read, value, read(value)) for read, value, _ in self._often]
        seldom = [(read, value, held if type(read) is Encoding else read(value)) for read, value, held in self._seldom]
        classes = [_names_of(members, left) for members, _, left, _ in self._classes]
        changed: set[str] = set()
        for (_, _, held, ordered), (_, _, now, _) in zip(self._names, names, strict=True):
            changed |= _changed(ordered, held, now)
        for (_, value, name), (_, value_now, _) in zip(self._cells, cells, strict=True):
            changed |= _changed((name,), (value,), (value_now,))
        for (_, names_before, *_), (_, names_now, *_) in zip(self._classes, classes, strict=True):
            changed |= names_before ^ names_now
        for (read, _, content), (_, _, content_now) in zip(self._often + self._seldom, often + seldom, strict=True):
            if type(read) is Attributes:
                changed |= {name for name, _ in set(_items(content)) ^ set(_items(content_now))} - read.filled
            elif type(read) is not Encoding and not self._mutates and not _same(content, content_now):
                return None
        return (names, cells, classes, often + seldom) if changed <= self._stored else None


def _by_cost(watched: Iterable[Watched]) -> tuple[list[Watched], list[Watched]]:
    """Separate what is checked in each call from what is checked only before one is computed."""
    ordered = sorted(watched, key=_cost)
    spent = 0
    for i, one in enumerate(ordered):
        spent += _cost(one)
        if spent > _EACH_CALL:
            return ordered[:i], ordered[i:]
    return ordered, []


def _items(held: tuple[Any, ...]) -> Iterator[tuple[str, int]]:
    """Names, each with the identity of what it means."""
    half = len(held) // 2
    return zip(held[:half], map(id, held[half:]), strict=True)


def _changed(names: tuple[str, ...], before: tuple[Any, ...], now: tuple[Any, ...]) -> set[str]:
    """The names that mean another value; raises if a value is code, which is not state of a program."""
    changed = [one for one in zip(names, before, now, strict=True) if one[1] is not one[2]]
    if any(is_a(value, BY_REFERENCE) for _, *values in changed for value in values):
        raise KeyError(names)
    return {name for name, _, _ in changed}


def _with(get: Callable[[Any], Any], functions: list[FunctionType]) -> tuple[list[FunctionType], list[Any]]:
    """The functions that have such defaults, and the defaults."""
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


def _by_identity(part: object) -> object:
    return ("object", id(part))


def _code_by_identity(part: object) -> object:
    """Other objects by their class: their pickles may be made anew each time."""
    return _by_identity(part if is_a(part, BY_REFERENCE) else type(part))
