"""Where code on the way changes something, and reads tables: paths in code, followed to the objects that they mean."""

from __future__ import annotations

from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from pcache.fingerprint.anatomy import shown_of
from pcache.fingerprint.containers import (
    CHANGING_SLOTS,
    MISSING,
    MOST_ITEMS,
    PLAIN,
    changed_by,
    changed_in,
    is_dict,
    is_plain_below,
    item_of,
    view_of,
)
from pcache.fingerprint.dataflow import uses_of
from pcache.fingerprint.parts import BY_REFERENCE
from pcache.fingerprint.uses import (
    TABLES,
    Path,
    is_container,
    is_namespace,
    is_table,
    key_of,
    owner_of,
)
from pcache.objects.lookup import (
    attributes_of,
    content_of,
    is_a,
    is_exactly,
    kept,
    look,
    member,
    members_of,
    title_of,
)
from pcache.objects.user_code import is_user_code, is_user_module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import CodeType

    from pcache.fingerprint.containers import Place

    _Way = tuple[list[Place], Any]

_BUILDERS = frozenset(("__init__", "__post_init__", "__setstate__", "__init_subclass__"))
# Methods that Python calls where a program sets something, or makes a class.
_SETTING_SLOTS = frozenset(
    (*CHANGING_SLOTS, "__setattr__", "__delattr__", "__set__", "__delete__", "__del__", "__setstate__")
) | {"__init_subclass__", "__set_name__"}
_OF_FUNCTIONS = frozenset(("__code__", "__globals__", "__defaults__", "__kwdefaults__", "__closure__"))


class Reading(Protocol):
    """What is told how tables are read."""

    def use(self, value: Any, step: str) -> None: ...
    def use_whole(self, value: Any) -> None: ...


class Changes:
    """The places that some functions, and methods of some classes that these call, change."""

    def __init__(self, code: Iterable[FunctionType | type], instances: Mapping[int, list[Any]]) -> None:
        found = list({id(one): one for one in code}.values())
        self._instances = instances
        self._owners: dict[int, list[type]] = {}  # the classes of methods, by the id of the function
        for cls in (one for one in found if is_a(one, type)):
            for value in members_of(cls).values():
                for function in _functions_in(value):
                    self._owners.setdefault(id(function), []).append(cls)
        # What parameters may be, by the id of the function and by name: the places of an object, and the object.
        self._passed: dict[tuple[int, str], dict[object, _Way]] = {}
        self._found: dict[tuple[int, Path], list[list[_Way]]] = {}  # by function and path
        functions = self._all = [one for one in found if is_a(one, FunctionType)]
        self.functions = self._on_the_way(functions)

    def _on_the_way(self, functions: list[FunctionType]) -> list[FunctionType]:
        """Functions that are no methods, methods that Python itself calls, and those that these are seen to call.

        What a function is given is followed from there on as soon as it is known, in functions that are on the way.
        """
        reached = {id(one): one for one in functions if id(one) not in self._owners or _is_implicit(one)}
        waiting = dict(reached)
        while waiting:
            _, function = waiting.popitem()
            for given in self._given_more(function):
                if id(given) in reached:
                    waiting[id(given)] = given
            for called in self._called_by(function):
                if id(called) in self._owners and id(called) not in reached:
                    reached[id(called)] = waiting[id(called)] = called
        return list(reached.values())

    def _given_more(self, function: FunctionType) -> Iterator[FunctionType]:
        """The functions to which one passes something that they are not known to be given."""
        for of, position, path in uses_of(function.__code__).given:
            ways = [way[-1] for way in self._ways(function, path) if _may_be_changed(way[-1][1])]
            for target in self._meant(function, of) if ways else ():
                is_method = id(target) in self._owners and bool(of.steps)
                if parameter := _parameter(target.__code__, position, is_method=is_method):
                    passed = self._passed.setdefault((id(target), parameter), {})
                    before = len(passed)
                    for places, value in ways:
                        passed.setdefault(value if type(value) is _Classes else id(value), (places, value))
                    if len(passed) > before:
                        yield target

    def _called_by(self, function: FunctionType) -> Iterator[FunctionType]:
        """The methods that a function may call."""
        if not self._owners:
            return
        uses = uses_of(function.__code__)
        for path in uses.read | uses.called:
            yield from self._meant(function, path)
        for path in uses.bound:
            yield from self._meant(function, path, setting=True)
        for path in uses.changed | set(map(owner_of, uses.filled)):
            for _, value in (way[-1] for way in self._ways(function, path)):
                classes = value if type(value) is _Classes else (type(value),)
                for name in CHANGING_SLOTS:
                    yield from (one for cls in classes for one in _functions_in(member(cls, name)))

    def _meant(self, function: FunctionType, path: Path, *, setting: bool = False) -> Iterator[FunctionType]:
        """The functions that a path means, or with `setting` those that setting such an attribute calls."""
        for way in self._ways(function, path):
            value = way[-1][1]
            if is_a(value, property):
                yield from _functions_in(kept(value, "fset" if setting else "fget"))
            elif not setting:
                yield from _functions_in(value)

    def places(self, keep: list[object]) -> Iterator[Place]:
        """All places that are changed; objects that they belong to are kept alive."""
        for function in self.functions:
            yield from self._by_methods(function, keep)
            uses = uses_of(function.__code__)
            builds = function.__code__.co_name in _BUILDERS
            for path in uses.bound:
                if builds and self._is_own(function, path) and len(path.steps) == 1:
                    continue
                for way in self._ways(function, path, known=False):
                    yield from way[-1][0]
                    keep += [value for _, value in way]
            for path in uses.changed | uses.filled:
                is_set = path in uses.filled
                if self._is_own(function, path) and _inside(path) <= builds:
                    if path.steps[is_set:] == ():
                        classes = filter(is_plain_below, self._owners[id(function)])
                        yield from (("field", id(cls), "[]") for cls in classes)
                    continue
                for way, is_item in self._changed_ways(function, path, is_set=is_set):
                    yield from way[-1][0] if is_item else changed_in(*way[-1])
                    keep += [value for _, value in way]

    def _changed_ways(self, function: FunctionType, path: Path, *, is_set: bool) -> Iterator[tuple[list[_Way], bool]]:
        """The ways to an object that code changes, or to what holds it; each with whether that is an item it sets."""
        ways = list(self._ways(function, path, known=False))
        if is_set:
            ways = [way for way in ways if is_dict(way[-2][1])]
        yield from ((way, is_set) for way in ways)
        while not ways and path.steps and path.steps[-1].startswith("["):
            path = owner_of(path)
            ways = list(self._ways(function, path, known=False))
            yield from ((way, False) for way in ways)

    def _by_methods(self, function: FunctionType, keep: list[object]) -> Iterator[Place]:
        """The containers whose methods code has: whoever has `LOG.append` may call it."""
        for path in uses_of(function.__code__).read:
            for _, value in (way[-1] for way in self._ways(function, path)):
                for owner in changed_by(value):
                    keep.append(owner)
                    yield ("object", id(owner))

    def note_reading(self, state: Reading) -> None:
        """Note how all code reads the tables that it reaches by name."""
        for function in self._all:
            uses = uses_of(function.__code__)
            for path in uses.handed:
                for way in self._ways(function, path):
                    if is_table(way[-1][1]):
                        state.use_whole(way[-1][1])
            for path in uses.read:
                for way in self._ways(function, Path(path.root, path.name, path.steps[:-1])) if path.steps else ():
                    if is_table(way[-1][1]):
                        state.use(way[-1][1], path.steps[-1])

    def _is_own(self, function: FunctionType, path: Path) -> bool:
        """Whether a path begins at the object of a method, or at its class."""
        code = function.__code__
        first = code.co_varnames[:1] if code.co_argcount else ()
        return path.root == "local" and id(function) in self._owners and (path.name,) == first

    def _ways(self, function: FunctionType, path: Path, *, known: bool = True) -> Iterator[list[_Way]]:
        """The places that a path may lead through, each with its value; only such as lead to the end of it.

        With `known` that has to have a value.
        """
        key = (id(function), path)
        ways = self._found.get(key)
        if ways is None:
            ways = [way for way in self._beginnings(function, path) if self._follow(way, path.steps)]
            if path.root != "local" or self._is_own(function, path):  # of others more may become known
                self._found[key] = ways
        return (way for way in ways if way[-1][1] is not MISSING or not known)

    def _follow(self, way: list[_Way], steps: tuple[str, ...]) -> bool:
        """Add the places that steps lead to; return whether they are known to the end."""
        for step in steps:
            found = self._step(way[-1][1], step)
            if found is None:
                return False
            way.append(found)
        return True

    def _beginnings(self, function: FunctionType, path: Path) -> Iterator[list[_Way]]:
        if path.root == "global":
            namespace = function.__globals__
            yield [([("name", id(namespace), path.name)], namespace.get(path.name, MISSING))]
        elif path.root == "variable":
            cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
            if path.name in cells:
                yield [([("variable", id(cells[path.name]))], content_of(cells[path.name]))]
        elif self._is_own(function, path):
            yield [([], _Classes(self._owners[id(function)]))]
        else:
            yield from ([way] for way in list(self._passed.get((id(function), path.name), {}).values()))
            if is_a(default := _defaults_of(function).get(path.name), TABLES):
                yield [([], default)]

    def _step(self, value: Any, step: str) -> _Way | None:
        """The places of an attribute or item, and what is there; None where that cannot be told."""
        name = step[1:]
        if name in _OF_FUNCTIONS and not is_a(value, FunctionType):
            return None  # it may be a function where this is used
        if type(value) is _Classes and not step.startswith("["):
            return [("field", id(cls), name) for cls in value], self._of_classes(value, name)
        if step.startswith("[") and step != "[]" and (known := item_of(value, key_of(step))):
            return known
        if step.startswith("["):
            items = list(value.values() if type(value) is dict else value) if is_exactly(value, PLAIN) else []
            classes = _Classes(type(item) for item in items[:MOST_ITEMS] if is_user_code(type(item)))
            return ([], classes) if classes else None
        if is_a(value, ModuleType):
            members = attributes_of(value) if is_user_module(title_of(value)) else {}
            return ([("name", id(members), name)], members[name]) if name in members else None
        if is_a(value, FunctionType):
            return [("name", id(vars(value)), name)], vars(value).get(name, MISSING)
        if is_namespace(value):
            return [("attribute", id(value), name)], attributes_of(value).get(name, MISSING)
        cls = value if is_a(value, type) else type(value)
        if not is_user_code(cls):
            return None if (view := view_of(value, name)) is None else ([], view)
        own = {} if cls is value else shown_of(value)
        return [("field", id(cls), name)], own[name] if name in own else member(cls, name, MISSING)

    def _of_classes(self, classes: _Classes, name: str) -> Any:
        """What an attribute of instances of some classes is: that of the class, or of an instance that was met."""
        for cls in classes:
            if (found := member(cls, name, MISSING)) is not MISSING:
                return found
        for instance in (one for cls in classes for one in self._instances.get(id(cls), ())):
            if (found := shown_of(instance).get(name, MISSING)) is not MISSING:
                return found
        return MISSING


class _Classes(tuple[type, ...]):
    """Classes of which some object is an instance, or that it is itself."""

    __slots__ = ()


def _parameter(code: CodeType, position: int | str, *, is_method: bool) -> str:
    """The parameter that gets an argument; empty if none does, or one for many."""
    if type(position) is str:
        return position if position in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] else ""
    at = int(position) + is_method
    return code.co_varnames[at] if at < code.co_argcount else ""


def _inside(path: Path) -> int:
    """How many steps there are before the first item."""
    return next((at for at, step in enumerate(path.steps) if step.startswith("[")), len(path.steps))


def _defaults_of(function: FunctionType) -> dict[str, Any]:
    """The defaults of a function by parameter."""
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    return {**dict(zip(names, defaults, strict=False)), **(function.__kwdefaults__ or {})}


def _may_be_changed(value: Any) -> bool:
    """Whether an object, or what its attributes and items are, may be changed by code that is given it."""
    known = type(value) is _Classes or is_a(value, (*TABLES, *BY_REFERENCE, MethodType)) or is_namespace(value)
    return known or is_container(value) or is_user_code(type(value))


def _is_implicit(function: FunctionType) -> bool:
    """Whether Python calls a method by itself where an object is used, and not where one is changed."""
    name = function.__code__.co_name
    return name.startswith("__") and name.endswith("__") and name not in _SETTING_SLOTS


def _functions_in(value: Any) -> Iterator[FunctionType]:
    """The functions that an object consists of: those of descriptors and bound methods."""
    if is_a(value, FunctionType):
        yield value
        yield from _functions_in(vars(value).get("__wrapped__"))
    elif is_a(value, (staticmethod, classmethod)) or type(value) is MethodType:
        yield from _functions_in(kept(value, "__func__"))
    elif is_a(value, property):
        for name in ("fget", "fset", "fdel"):
            yield from _functions_in(kept(value, name))
    elif member(type(value), "__get__") is not None:  # such as `cached_property`
        yield from _functions_in(look(value, "func"))
