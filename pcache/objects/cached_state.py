"""State that an object fills in when it is used, such as a cached property: it must not change the object's key.

A graph keeps the views that were asked for, a recurrence how many dates it has, an instance what its `cached_property`
computed. What is remembered follows from the rest, which counts; an object has one key before and after it was used.

That holds for what a library remembers, whose author says so by the descriptor, and for the tables below. Of the user's
own classes only values that cannot have been changed since are left out: a `cached_property` is also how a list is made
when it is first needed, and what was appended to it counts. So does one that any source of the user's assigns to.
"""

from __future__ import annotations

import functools
import os
import sys
from types import GetSetDescriptorType, MemberDescriptorType

from pcache.objects.class_memo import ByClass
from pcache.objects.lookup import bases_of, class_name, full_name, is_a, look, member, members_of
from pcache.objects.user_code import is_user_code, is_user_module
from pcache.startup import Any, pattern
from pcache.system.interrupts import try_call

# Types of descriptors that store the computed value among the attributes, under their own name.
_REMEMBERING = frozenset(
    "cached_property cachedproperty memoized_property memoized_attribute lazy_property lazyproperty reify"
    " OneTimeProperty".split()
)
# Those that store it in a separate dict: pandas and statsmodels.
_KEEPING = {"CachedProperty": "_cache", "CachedAttribute": "_cache", "CachedWritableAttribute": "_cache"}
# Other attributes that library classes fill in: by the name of the class that does.
_FILLED: dict[str, tuple[str, ...]] = {
    "dateutil.rrule.rrulebase": ("_cache", "_cache_complete", "_cache_gen", "_cache_lock", "_len"),
    "sqlalchemy.util.langhelpers.HasMemoized": ("_memoized_keys",),
    "dask.highlevelgraph.HighLevelGraph": ("_to_dict", "_all_external_keys", "key_dependencies", "_keys"),
    "dask.blockwise.Blockwise": ("_cached_dict", "_dims"),
    "scipy.spatial._qhull.Delaunay": ("_transform", "_vertex_to_simplex", "_vertex_neighbor_vertices"),
    "scipy.stats._distribution_infrastructure.UnivariateDistribution": (
        *("_moment_raw_cache", "_moment_central_cache", "_moment_standardized_cache"),
        *("_moment_methods", "_method_cache", "_support_cache"),
    ),
    "statsmodels.base.model.Results": ("_cache", "_summary_cache"),
    "xarray.core.groupby.GroupBy": ("_groups", "_dims", "_sizes"),
}
# Attributes that mean the same empty as missing.
_EMPTY_OR_NONE: dict[str, tuple[str, ...]] = {
    "xarray.core.variable.Variable": ("_attrs", "_encoding"),
    "xarray.core.dataset.Dataset": ("_attrs", "_encoding"),
    "xarray.core.dataarray.DataArray": ("_attrs", "_encoding"),
}
_UNCHANGEABLE = frozenset(
    "builtins.NoneType builtins.bool builtins.int builtins.float builtins.complex builtins.str builtins.bytes"
    " builtins.range datetime.date datetime.datetime datetime.time datetime.timedelta decimal.Decimal"
    " fractions.Fraction".split()
)
_MOST_CLASSES = 4096  # classes with such descriptors, which keep them alive
_DEEP = 5  # nested tuples that are searched


class Memos:
    """The names under which objects of a class cache values.

    Whatever the value, only if it cannot change, or only if it is empty.
    """

    __slots__ = ("_any_value", "_dict", "_empty", "_slots", "_unchangeable", "names")

    def __init__(self, cls: type, any_value: set[str], unchangeable: set[str], empty: set[str]) -> None:
        self._any_value, self._unchangeable, self._empty = any_value, unchangeable, empty
        self.names = frozenset(any_value | unchangeable | empty)
        self._dict = next(
            (members_of(base)["__dict__"] for base in bases_of(cls) if "__dict__" in members_of(base)), None
        )
        found = ((name, member(cls, name)) for name in sorted(self.names))
        self._slots = [(name, slot) for name, slot in found if type(slot) is MemberDescriptorType]

    def filled(self, obj: object) -> dict[str, Any]:
        """The cached values of an object that do not count, by name."""
        attributes = self._dict.__get__(obj) if type(self._dict) is GetSetDescriptorType else {}
        found: dict[str, Any] = {}
        if not self.names.isdisjoint(attributes):
            found = {name: attributes[name] for name in self.names & attributes.keys()}
        for name, slot in self._slots:
            try:
                found[name] = slot.__get__(obj)
            except AttributeError:  # not set
                continue
        return {name: value for name, value in found.items() if self._is_filled(name, value)} if found else found

    def _is_filled(self, name: str, value: object) -> bool:
        if name in self._any_value:
            return True
        if name in self._empty:
            return value is None or value == {}
        return _is_unchangeable(value) and (assigned := _assigned_in_sources()) is not None and name not in assigned


_known: ByClass[Memos | None] = ByClass()
# Statements that set an attribute, up to the sign; attributes in them; names that are texts.
_SETTING = pattern(r"(?m)(?:^|;)[ \t]*([\w.,\[\] ]*\.\w[\w.,\[\] ]*(?::[^=\n]*|\*\*|//|<<|>>|[-+*/%&|^@])?)=(?!=)")
_ATTRIBUTE, _WORD = pattern(r"\.(\w+)"), pattern(r"[\"'](\w+)(?=[\"'])")
_State = tuple[int, ...]
_NOTHING: tuple[_State, frozenset[str]] = ((), frozenset())
_in_file: dict[str, tuple[_State, frozenset[str]]] = {}  # what sources assign to, by file
_assigned: tuple[int, frozenset[str] | None] = (0, None)  # what all do, with the number of modules


def memos_of(cls: type) -> Memos | None:
    """The names that objects of a class cache values under; None if there are none. Found out once per class."""
    try:
        return _known[id(cls)]
    except KeyError:
        if len(_known) >= _MOST_CLASSES:
            _known.clear()
        return _known.keep(cls, _find(cls))


def _find(cls: type) -> Memos | None:
    of_libraries: set[str] = set()
    of_users: set[str] = set()
    empty: set[str] = set()
    for base in bases_of(cls):
        for name, value in members_of(base).items():
            kind = class_name(value)
            if kind in _KEEPING:
                of_libraries.add(_KEEPING[kind])
            elif kind in _REMEMBERING or is_a(value, functools.cached_property):
                (of_users if is_user_code(base) else of_libraries).add(name)
        of_libraries.update(_FILLED.get(full_name(base), ()))
        empty.update(_EMPTY_OR_NONE.get(full_name(base), ()))
    return Memos(cls, of_libraries, of_users, empty) if of_libraries or of_users or empty else None


def without(state: Any, filled: dict[str, Any], depth: int = 0) -> Any:
    """Remove an object's cached values from its pickled state, that is, from its dicts of attributes.

    As if they had never been there: where nothing else is left, there is no state.
    """
    if type(state) is dict:
        kept = {name: value for name, value in state.items() if filled.get(name, filled) is not value}
        if type(attributes := kept.get("__dict__")) is dict:  # as pydantic's models have it
            kept["__dict__"] = without(attributes, filled) or {}
        return kept or (None if state else state)
    if type(state) is tuple and depth < _DEEP:
        parts = tuple(without(part, filled, depth + 1) for part in state)
        if len(parts) == 2 and parts[1] is None and state[1]:  # noqa: PLR2004 - attributes, and slots that are all gone
            return parts[0]
        return parts
    return state


def _assigned_in_sources() -> frozenset[str] | None:
    """The attributes that the sources of the user's modules may assign to; None, for all, where one has no source."""
    global _assigned  # noqa: PLW0603 - the same for all classes
    count = len(sys.modules)
    if _assigned[0] != count:
        found: set[str] = set()
        for name, module in list(sys.modules.items()):
            if is_user_module(name) and (names := _assigned_in(module)) is not None:
                found |= names
            elif name == "__main__":
                break
        else:
            _assigned = count, frozenset(found)
            return _assigned[1]
        _assigned = count, None
    return _assigned[1]


def _assigned_in(module: object) -> frozenset[str] | None:
    """The attributes that the source of a module may assign to; of a file that is unchanged, as it was read before.

    Searched as text, since a module's code is not kept after it ran: a statement that sets the name, or the name as a
    text, as in `setattr` and mocks. Takes some milliseconds for a long module.
    """
    path = look(module, "__file__")
    state = None
    if type(path) is str:
        found = try_call(os.stat, path)[0]
        state = found and (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if state is not None and _in_file.get(path, _NOTHING)[0] == state:
            return _in_file[path][1]
    text = _source_of(module)
    if text is None:
        return None
    targets = " ".join(_SETTING.findall(text))
    names = frozenset((*_ATTRIBUTE.findall(targets), *_WORD.findall(text)))
    if state is not None:
        _in_file[path] = state, names
    return names


def _source_of(module: object) -> str | None:
    """The source of a module, or the cells of a notebook; None for what was typed in or has no source."""
    path = look(module, "__file__")
    if type(path) is str:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None
    cells = look(sys.modules.get("linecache"), "cache") or {}
    texts = ["".join(cells[name][2]) for name in list(cells) if "ipython" in name or "ipykernel" in name]
    return "\n".join(texts) if texts else None


def _is_unchangeable(value: object, depth: int = 0) -> bool:
    if full_name(type(value)) in _UNCHANGEABLE:
        return True
    inner: Any = value if type(value) in (tuple, frozenset) and depth < _DEEP else None
    return inner is not None and all(_is_unchangeable(part, depth + 1) for part in inner)
