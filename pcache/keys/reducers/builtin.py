"""Types of Python's own whose pickle says too much, too little, or nothing."""

from __future__ import annotations

import gc
from pickle import PickleBuffer
from types import MappingProxyType

from pcache.errors import Uncached
from pcache.keys.dispatch import register_reducer
from pcache.objects.library_names import instance
from pcache.objects.lookup import MOCKED
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.digests import digest_of
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from pcache.keys.writer import Writer


def _path(path: Any, _encoder: Writer) -> object:
    """A path by its text: from Python 3.13 on, its pickle remembers how it was put together."""
    return str(path)


def _zone(zone: Any, _encoder: Writer) -> object:
    """A time zone by its name; its pickle records whether it came from a cache.

    One that was read from a file may have any name, or none: it has no pickle, and no key.
    """
    _, error = try_call(zone.__reduce__)
    return NotImplemented if error is not None or zone.key is None else zone.key


def _memory(view: memoryview, encoder: Writer) -> object:
    """A memoryview by its elements in C order, not by the object below, which may be larger."""
    if "O" in view.format:
        raise TypeError("its elements are references to objects")

    def digest() -> str:
        return digest_of(PickleBuffer(view).raw() if view.c_contiguous else view.tobytes()).hex()

    return (view.format, view.shape, view.readonly, encoder.once(view, digest))


def _proxy(proxy: MappingProxyType[Any, Any], _encoder: Writer) -> object:
    """A read-only view of a mapping by that mapping."""
    return gc.get_referents(proxy)[0]


def _match(match: Any, _encoder: Writer) -> object:
    """A regular expression match by its pattern, its text and the positions of its groups."""
    return (match.re, match.string, match.pos, match.endpos, match.regs, match.lastindex, match.lastgroup)


def _generator(generator: Any, _encoder: Writer) -> object:
    """A generator by its state; a package's hidden one by its name, as for functions that draw from it."""
    place = instance(generator)
    return NotImplemented if place is None else place.content()


def _dict_view(view: Any, _encoder: Writer) -> object:
    """`d.keys()`, `d.values()` and `d.items()` by the dict that they view."""
    return view.mapping


def _mock(_mock: Any, _encoder: Writer) -> object:
    """Refuse a mock: it replaces something only while a test runs, and no result computed with it may outlive that."""
    raise Uncached(MOCKED)


for _name in ("pathlib.PurePath", "pathlib._local.PurePath"):
    register_reducer(_name, _path, subclasses=True)
register_reducer("zoneinfo.ZoneInfo", _zone)
register_reducer("re.Match", _match)
register_reducer("random.Random", _generator)
register_reducer("numpy.random.mtrand.RandomState", _generator)
register_reducer(memoryview, _memory)
register_reducer(MappingProxyType, _proxy)
for _name in ("dict_keys", "dict_values", "dict_items"):
    register_reducer(f"builtins.{_name}", _dict_view, subclasses=True)
for _name in ("unittest.mock", "mock.mock"):
    register_reducer(f"{_name}.NonCallableMock", _mock, subclasses=True)
    register_reducer(f"{_name}._Call", _mock, subclasses=True)
