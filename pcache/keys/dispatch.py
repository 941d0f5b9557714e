"""Choose the reducer that represents an object in a key.

Asked for in this order, along the bases of the object's class, the class itself first: what `register_key` was given,
the class' own `__pcache_key__`, and then the reducers that pcache brings. Reducers for libraries are found by the names
of types and live in modules that are loaded when an object of such a library is first met.
"""

from __future__ import annotations

import sys
from functools import partial

from pcache.errors import ConfigError
from pcache.keys.file import NoFile, noting
from pcache.keys.nesting import FILES
from pcache.objects.class_memo import ByClass
from pcache.objects.lookup import (
    bases_of,
    full_name,
    is_hashable,
    is_iterator,
    member,
    members_of,
    module_of,
    qualname_of,
)
from pcache.objects.summary import summarize_value
from pcache.objects.user_code import is_user_code
from pcache.startup import TYPE_CHECKING, Any, TypeVar, late, overload
from pcache.system.fork import whole
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.keys.writer import Writer
    from pcache.objects import cached_state, culprit, extra_state, path_holders

    Reducer = Callable[[Any, Writer], object]
else:
    path_holders = late("pcache.objects.path_holders")
    cached_state = late("pcache.objects.cached_state")
    extra_state = late("pcache.objects.extra_state")
    culprit = late("pcache.objects.culprit")

T = TypeVar("T")
K = TypeVar("K")

_PROTOCOL = 5

# `resolved` remembers the outcome for each exact type, by its id.
resolved: ByClass[Reducer | None] = ByClass()
# Registered by users, latest last. Classes are keyed by id, since a class may be unhashable.
_registered: dict[int | str, tuple[type | str, Reducer]] = {}
_by_type: dict[int, tuple[type, Reducer]] = {}
_by_name: dict[str, Reducer] = {}
_by_base_name: dict[str, Reducer] = {}
_by_shape: list[tuple[Callable[[type], bool], Reducer]] = []
_libraries: dict[str, str] = {}  # top-level package: the module with its reducers


@overload
def register_key(target: type[T]) -> Callable[[Callable[[T], K]], Callable[[T], K]]: ...
@overload
def register_key(target: str) -> Callable[[Callable[[Any], K]], Callable[[Any], K]]: ...
@overload
def register_key(target: type[T], function: Callable[[T], K]) -> Callable[[T], K]: ...
@overload
def register_key(target: str, function: Callable[[Any], K]) -> Callable[[Any], K]: ...
def register_key(target: type | str, function: Callable[[Any], object] | None = None) -> Any:
    """Represent values of a class, and of its subclasses, by `function(value)` in the keys of all functions.

    For classes that are not yours; in your own, define `__pcache_key__()`. `target` is the class, or its full name, so
    that the library need not be imported for it. The function's result must have a key itself. Its code is part of the
    key, so that editing it computes anew. Without a function this is a decorator. Of two registrations for one class
    the later counts; register before the first cached call. Raises `ConfigError` for anything but a class or name, and
    a callable.

    >>> import fractions, pcache
    >>> @pcache.register_key(fractions.Fraction)
    ... def rounded(value):
    ...     return round(float(value), 6)
    >>> _ = pcache.register_key("psycopg.Connection", lambda connection: connection.info.dsn)
    """
    if not isinstance(target, (type, str)):
        raise ConfigError(
            f"register_key() takes a class, or the full name of one such as 'psycopg.Connection', not"
            f" {summarize_value(target)}",
            setting="register_key",
            value=target,
        )
    if isinstance(target, str) and not ("." in target and all(map(str.isidentifier, target.split(".")))):
        raise ConfigError(
            f"register_key({target!r}): give the full name of a class with its module, such as 'psycopg.Connection';"
            " a class of the main program is passed itself",
            setting="register_key",
            value=target,
        )
    if function is None:
        return lambda decorated: register_key(target, decorated)
    if not callable(function):
        raise ConfigError(
            f"register_key({_title(target)}): {summarize_value(function)} is not callable; pass a function of one"
            " value that returns its representation in keys",
            setting="register_key",
            value=function,
        )

    @once_a_call
    def reduce(value: Any, encoder: Writer) -> object:
        key = _said(function, (value,), value, encoder, f"the function registered for {_title(target)}")
        # The key includes the function's code: two functions that return equal values must not share keys.
        return _with_code_of(value, (function, key))

    place = target if isinstance(target, str) else id(target)
    _registered.pop(place, None)
    _registered[place] = target, reduce
    resolved.clear()
    return function


def register_reducer(target: type | str, reducer: Reducer, *, subclasses: bool = False) -> None:
    """Represent objects of `target` in keys by what `reducer(obj, encoder)` returns.

    A type covers its subclasses, a name such as `"numpy.ndarray"` only that very class unless `subclasses` is set. A
    reducer returns any value that has a key, or NotImplemented to encode the object as pickle does.
    """
    if isinstance(target, str):
        (_by_base_name if subclasses else _by_name)[target] = reducer
    else:
        _by_type[id(target)] = target, reducer
    resolved.clear()


def register_shape(has_shape: Callable[[type], bool], reducer: Reducer) -> None:
    """Ask `reducer` first for objects of all classes that `has_shape` accepts, unless users registered a key for them.

    If it returns NotImplemented, the object is encoded as if it were not registered.
    """
    _by_shape.append((has_shape, reducer))
    resolved.clear()


def once_a_call(reducer: Reducer) -> Reducer:
    """Call a reducer once per object for all encodings of a call, since it makes arrays of its own, or takes long."""

    def reduce(obj: Any, encoder: Writer) -> object:
        return encoder.once(obj, lambda: reducer(obj, encoder), "reduced")

    return reduce


def register_library(package: str, module: str) -> None:
    """Load `module`, which registers reducers, when a class from `package`, or with "" any, is first met."""
    _libraries[package] = module


def resolve(cls: type) -> Reducer | None:
    """The reducer for objects of exactly this class, or None to encode as pickle does; remembered in `resolved`."""
    reducer = declared = _declared(cls)
    if declared is None:
        reducer = _shaped(cls, _brought(cls))
    return resolved.keep(cls, reducer)


def _shaped(cls: type, reducer: Reducer | None) -> Reducer | None:
    """A reducer that first asks those of all shapes that a class has."""
    for has_shape, first in _by_shape:
        if has_shape(cls):
            reducer = partial(in_turn, first, reducer)
    return reducer


def in_turn(first: Reducer, second: Reducer | None, obj: Any, encoder: Writer) -> object:
    """The result of one reducer, or of the second where the first returns NotImplemented."""
    content = first(obj, encoder)
    return second(obj, encoder) if content is NotImplemented and second is not None else content


def _brought(cls: type) -> Reducer | None:
    """The reducer that pcache itself has for a class."""
    reducer: Reducer | None = None
    with whole:
        __import__(_libraries[""])  # it registers the packages that have reducers
        for package in {module_of(base).partition(".")[0] for base in bases_of(cls)} & _libraries.keys():
            __import__(_libraries[package])
    if exact := _by_name.get(full_name(cls)):
        reducer = _extended(exact, cls, cls)
    for base in bases_of(cls):
        if reducer is None and id(base) in _by_type:
            reducer = _by_type[id(base)][1]
        if reducer is None and (of_base := _by_base_name.get(full_name(base))):
            reducer = _extended(of_base, cls, cls if extra_state.is_same_author(base, cls) else base)
    if reducer is None and any("__next__" in members_of(base) and is_iterator(base) for base in bases_of(cls)):
        reducer = _refuse_iterator
    if reducer is None and (extra_state.author_of(cls) is not None or not is_hashable(cls)):
        reducer = _as_pickled
    if reducer in (None, _as_pickled) and cached_state.memos_of(cls) is not None:
        reducer = _without_memos
    if reducer is None and extra_state.party_of(cls) not in ("", "python"):
        reducer = _first_look
    return reducer


class Reduced(tuple[Any, ...]):
    """What pickle writes in place of an object, with the state that it would leave out."""

    __slots__ = ()


def _as_pickled(obj: Any, _encoder: Writer) -> object:
    """An object as its base class pickles it, with all that its own class adds, and the class itself."""
    cls = type(obj)
    author = extra_state.author_of(cls)
    if extra_state.is_in_table(cls):
        return NotImplemented
    if author is None:
        reduced = obj.__reduce_ex__(_PROTOCOL)
        return Reduced(reduced) if type(reduced) is tuple else NotImplemented
    reduced, found, is_named = extra_state.reduced_with(obj, author, _PROTOCOL)
    if not isinstance(reduced, tuple):
        return (cls, reduced, found) if found else NotImplemented
    if not found and (is_named or author.base is cls):
        return Reduced(reduced)
    make, arguments, state, *rest = (*reduced, None)[: max(len(reduced), 3)]
    return Reduced((make, arguments, (cls, state, found), *rest))


def _without_memos(obj: Any, encoder: Writer) -> object:
    """An object as pickle writes it, without the values that it has cached in itself."""
    cls = type(obj)
    memos = cached_state.memos_of(cls)
    filled = memos.filled(obj) if memos else {}
    content = NotImplemented if extra_state.author_of(cls) is None else _as_pickled(obj, encoder)
    if not filled:
        return content
    reduced: Any = obj.__reduce_ex__(_PROTOCOL) if content is NotImplemented else content
    if type(reduced) not in (tuple, Reduced):
        return content
    make, *parts = reduced
    return Reduced((make, *(cached_state.without(part, filled) if i < 2 else part for i, part in enumerate(parts))))  # noqa: PLR2004


def _first_look(obj: Any, _encoder: Writer) -> object:
    """Encode the first object of a library class as pickle does, but warn if it reads a file later."""
    resolved.keep(type(obj), _shaped(type(obj), None))
    try_call(path_holders.tell_of_files, obj)
    return NotImplemented


AS_PICKLED = frozenset((_as_pickled, _without_memos, _first_look))  # reducers that encode as pickle does


def _extended(reducer: Reducer, cls: type, base: type) -> Reducer | None:
    """The reducer of a base whose author does not know the class, with all that the class adds, and the class itself.

    None for a class that defines its own reduction.
    """
    beyond = cls.__mro__[: cls.__mro__.index(base)]
    if any("__reduce__" in vars(one) or "__reduce_ex__" in vars(one) for one in beyond):
        return None
    if base is cls and (not extra_state.takes_attributes(cls) or extra_state.party_of(cls) == "python"):
        return reducer
    author = extra_state.author_beyond(cls, base)

    def reduce(obj: Any, encoder: Writer) -> object:
        content = reducer(obj, encoder)
        if content is NotImplemented:
            return _as_pickled(obj, encoder)
        found = extra_state.added(obj, author)
        if not found and not is_user_code(type(obj)):
            return content
        return _with_code_of(obj, (content, found) if found else (content,))

    return reduce


def _refuse_iterator(_iterator: object, _encoder: Writer) -> object:
    raise TypeError("reading an iterator uses it up, which a hit would not do; pass a list or tuple of its items")


def is_replaced(value: object) -> bool:
    """Whether a value is encoded as something other than its pickle, so that its attributes do not count."""
    reducer = _declared(type(value)) or _brought(type(value))
    return (
        reducer is not None
        and reducer not in AS_PICKLED
        and reducer.__module__.startswith((__name__, f"{__package__}.reducers"))
    )


def _declared(cls: type) -> Reducer | None:
    """The reducer that users declared for a class or its nearest base."""
    own = member(cls, "__pcache_key__")
    own = callable(own) or type(own) is classmethod
    for base in bases_of(cls):
        for target, reducer in reversed(_registered.values()):
            if target is base or (type(target) is str and (target == full_name(base) or _found(target) is base)):
                return reducer
        if own and "__pcache_key__" in members_of(base):
            return _own_key
    return None


@once_a_call
def _own_key(obj: Any, encoder: Writer) -> object:
    return _with_code_of(obj, (_said(obj.__pcache_key__, (), obj, encoder, "its __pcache_key__"),))


def _said(function: Callable[..., Any], args: tuple[object, ...], value: object, encoder: Writer, what: str) -> object:
    """Call a user's function for a value; note the files that it read, so that they are checked again."""
    found, error = try_call(noting, function, *args)
    if isinstance(error, NoFile):
        raise error
    if error is not None:
        raise TypeError(f"{what} raised {culprit.described(error)}") from error
    key, files = found
    if files:
        encoder.once(value, lambda: files, FILES)
    return key


def _with_code_of(value: object, content: tuple[object, ...]) -> object:
    """The content given for a value, with the value's class if it is the user's: a function may call its methods."""
    cls = type(value)
    return (cls, *content) if is_user_code(cls) or "<" in qualname_of(cls) else content


def _title(target: type | str) -> str:
    return repr(target) if isinstance(target, str) else qualname_of(target)


def _found(name: str) -> object:
    """The object that a full name means in loaded modules: classes are often defined elsewhere than documented."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:count]))
        if found is not None:
            for part in parts[count:]:
                found, _ = try_call(getattr, found, part, None)  # a package may look it up only when asked
            return found
    return None
