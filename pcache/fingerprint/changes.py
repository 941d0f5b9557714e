"""Where code on the way changes something, and reads tables: paths in code, followed to the objects that they mean."""

from __future__ import annotations

from types import FunctionType, MemberDescriptorType, MethodType, ModuleType

from pcache.fingerprint.anatomy import shown_of
from pcache.fingerprint.containers import (
    CHANGING_SLOTS,
    MISSING,
    changed_by,
    changed_in,
    changes_its_own,
    field_of,
    is_plain_below,
    item_of,
    view_of,
)
from pcache.fingerprint.dataflow import uses_of
from pcache.fingerprint.parts import BY_REFERENCE
from pcache.fingerprint.reached import (
    Classes,
    classes_in,
    default_of,
    fillers_of,
    functions_in,
    inside,
    is_implicit,
    may_be_changed,
    parameter,
)
from pcache.fingerprint.uses import (
    ANY,
    CALLED,
    SUPER,
    Path,
    is_dict,
    is_namespace,
    is_table,
    key_of,
    lead_to_values,
    owner_of,
)
from pcache.objects.lookup import (
    attributes_of,
    bases_of,
    content_of,
    is_a,
    kept,
    member,
    members_of,
    title_of,
)
from pcache.objects.user_code import is_user_code, is_user_module
from pcache.startup import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pcache.fingerprint.containers import Place

    Way = tuple[list[Place], Any]  # places of an object, and the object

_BUILDERS = frozenset(("__init__", "__post_init__", "__setstate__", "__init_subclass__"))
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
        self._static: set[int] = set()  # methods that are given no object
        self._given_class: set[int] = set()  # methods that are given their class instead of an object
        for cls in (one for one in found if is_a(one, type)):
            for value in members_of(cls).values():
                for function in functions_in(value):
                    self._owners.setdefault(id(function), []).append(cls)
                    if is_a(value, classmethod) or function.__code__.co_name == "__new__":
                        self._given_class.add(id(function))
                    elif is_a(value, staticmethod):
                        self._static.add(id(function))
        # What parameters may be, by the id of the function and by name: the places of an object, and the object.
        self._passed: dict[tuple[int, str], dict[object, Way]] = {}
        self._open: list[FunctionType] = []  # whose results are being followed
        self._results: dict[object, Way | None] = {}  # of functions and properties, with their objects
        self._found: dict[tuple[int, Path], list[list[Way]]] = {}  # by function and path
        for cls in (one for one in found if is_a(one, type)):
            for getter, name in fillers_of(cls):
                self._passed.setdefault((id(getter), name), {}).setdefault(one := Classes((cls,)), ([], one))
        functions = self._all = [one for one in found if is_a(one, FunctionType)]
        self.functions = self._on_the_way(functions)

    def _on_the_way(self, functions: list[FunctionType]) -> list[FunctionType]:
        """Functions that are no methods, methods that Python itself calls, and those that these are seen to call.

        What a function is given is followed from there on as soon as it is known, in functions that are on the way.
        """
        reached = {id(one): one for one in functions if id(one) not in self._owners or is_implicit(one)}
        waiting = dict(reached)
        while waiting:  # in turns, so that what many pass to one function is followed from there at once
            turn, waiting = waiting, {}
            for function in turn.values():
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
            ways = [way[-1] for way in self._ways(function, path) if may_be_changed(way[-1][1])]
            for target, is_bound in self._called_as(function, of) if ways else ():
                if name := parameter(target.__code__, position, is_method=is_bound):
                    passed = self._passed.setdefault((id(target), name), {})
                    before = len(passed)
                    for places, value in ways:
                        passed.setdefault(value if type(value) is Classes else id(value), (places, value))
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
                classes = value if type(value) is Classes else (type(value),)
                for name in CHANGING_SLOTS:
                    yield from (one for cls in classes for one in functions_in(member(cls, name)))

    def _meant(self, function: FunctionType, path: Path, *, setting: bool = False) -> Iterator[FunctionType]:
        """The functions that a path means, or with `setting` those that setting such an attribute calls."""
        for way in self._ways(function, path):
            value = way[-1][1]
            if is_a(value, property):
                yield from functions_in(kept(value, "fset" if setting else "fget"))
            elif not setting:
                yield from functions_in(value)

    def _called_as(self, function: FunctionType, path: Path) -> Iterator[tuple[FunctionType, bool]]:
        """The functions that a path means, each with whether it is given its object first."""
        for way in self._ways(function, path):
            value, holder = way[-1][1], way[-2][1] if len(way) > 1 else None
            is_bound = is_a(value, (classmethod, MethodType)) or (path.steps != () and not is_a(holder, BY_REFERENCE))
            for target in () if is_a(value, property) else functions_in(value):
                yield target, is_bound and id(target) in self._owners and id(target) not in self._static

    def places(self, keep: list[object]) -> Iterator[Place]:
        """All places that are changed; objects that they belong to are kept alive."""
        for function in self.functions:
            uses = uses_of(function.__code__)
            builds = function.__code__.co_name in _BUILDERS
            for path in uses.bound:
                if builds and self._is_own(function, path) and len(path.steps) == 1:
                    continue
                for way in self._ways(function, path, known=False):
                    if path.steps[-1:] == (f".{ANY}",) and self._is_of_class(function, path, way):
                        continue  # code that builds a class by computed names
                    yield from way[-1][0]
                    if self._is_of_class(function, path, way):
                        yield from (("late", *place[1:]) for place in way[-1][0])
                    keep += [value for _, value in way]
            for path in uses.changed | uses.filled:
                is_set = path in uses.filled
                if self._is_own(function, path) and inside(path) <= builds:
                    if path.steps[is_set:] == ():
                        classes = filter(is_plain_below, self._owners[id(function)])
                        yield from (("field", id(cls), "[]") for cls in classes)
                    continue
                for way, is_item in self._changed_ways(function, path, is_set=is_set):
                    yield from way[-1][0] if is_item else changed_in(*way[-1])
                    keep += [value for _, value in way]
            for path in uses.read | uses.called:
                for way in self._ways(function, path):
                    yield from self._of_kept_method(way, path)
                    keep.append(way[-1][1])

    def _of_kept_method(self, way: list[Way], path: Path) -> Iterator[Place]:
        """The places of containers whose methods code has: whoever has `self._add = self.items.append` may call it."""
        value, holder = way[-1][1], way[-2][1] if len(way) > 1 else None
        yield from (("object", id(owner)) for owner in changed_by(value))
        if not changes_its_own(value):
            return
        for cls in holder if type(holder) is Classes else (type(holder),):
            for instance in self._instances.get(id(cls), ()):
                shown = shown_of(instance)
                method: Any = shown.get(path.steps[-1][1:])
                if changes_its_own(method):
                    yield ("object", id(method.__self__))
                    yield from (("field", id(cls), name) for name, held in shown.items() if held is method.__self__)

    def _changed_ways(self, function: FunctionType, path: Path, *, is_set: bool) -> Iterator[tuple[list[Way], bool]]:
        """The ways to an object that code changes, or to what holds it; each with whether that is an item it sets."""
        ways = list(self._ways(function, path, known=False))
        if is_set:
            ways = [way for way in ways if is_dict(way[-2][1])]
        yield from ((way, is_set) for way in ways)
        inner: tuple[str, ...] = ()
        while not ways and path.steps and path.steps[-1].startswith("["):
            path, inner = owner_of(path), (path.steps[-1], *inner)
            ways = list(self._ways(function, path, known=False))
            yield from ((way, False) for way in ways if is_set or not lead_to_values(way[-1][1], inner))

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
        is_method = id(function) in self._owners and id(function) not in self._static
        return path.root == "local" and is_method and (path.name,) == first

    def _is_of_class(self, function: FunctionType, path: Path, way: list[Way]) -> bool:
        """Whether what a path binds is an attribute of a class itself."""
        if path.steps and is_a(way[-2][1], type):
            return True
        return len(path.steps) == 1 and id(function) in self._given_class and self._is_own(function, path)

    def _ways(self, function: FunctionType, path: Path, *, known: bool = True) -> Iterator[list[Way]]:
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

    def _follow(self, way: list[Way], steps: tuple[str, ...]) -> bool:
        """Add the places that steps lead to; return whether they are known to the end."""
        for step in steps:
            if is_a(way[-1][1], property) and (returned := self._returned(way)) is not None:
                way.append(returned)
            found = self._returned(way) if step == CALLED else self._step(way[-1][1], step)
            if found is None:
                return False
            way.append(found)
        return True

    def _returned(self, way: list[Way]) -> Way | None:
        """What the function or property at the end of a way returns: something of its object, or of its module."""
        value, holder = way[-1][1], way[-2][1] if len(way) > 1 else None
        key = tuple(one if type(one) is Classes else id(one) for one in (value, holder))
        if key not in self._results:
            self._results[key] = self._result(value, holder)
        return self._results[key]

    def _result(self, value: Any, holder: Any) -> Way | None:
        for function in functions_in(kept(value, "fget") if is_a(value, property) else value):
            if function in self._open or not is_user_module(str(function.__globals__.get("__name__"))):
                continue
            self._open.append(function)
            for path in sorted(uses_of(function.__code__).returned):
                own = path.root == "local" and path.name == parameter(function.__code__, 0, is_method=False)
                known = own and holder is not None and not is_a(holder, BY_REFERENCE)
                begun: Iterable[list[Way]] = [[([], holder)]] if known else self._beginnings(function, path)
                for one in begun:
                    if self._follow(one, path.steps) and one[-1][1] is not MISSING:
                        self._open.pop()
                        return one[-1]
            self._open.pop()
        return None

    def _beginnings(self, function: FunctionType, path: Path) -> Iterator[list[Way]]:
        if path.root == "global":
            namespace = function.__globals__
            yield [([("name", id(namespace), path.name)], namespace.get(path.name, MISSING))]
        elif path.root == "variable":
            cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
            if path.name in cells:
                yield [([("variable", id(cells[path.name]))], content_of(cells[path.name]))]
        elif self._is_own(function, path):
            yield [([], Classes(self._owners[id(function)]))]
        else:
            yield from ([way] for way in list(self._passed.get((id(function), path.name), {}).values()))
            for default in default_of(function, path.name):
                yield [([], default)]

    def _step(self, value: Any, step: str) -> Way | None:
        """The places of an attribute or item, and what is there; None where that cannot be told."""
        name = step[1:]
        if step == SUPER:
            return ([], Classes(bases_of(cls)[1] for cls in value)) if type(value) is Classes else None
        if name in _OF_FUNCTIONS and not is_a(value, FunctionType):
            return None  # it may be a function where this is used
        if type(value) is Classes and not step.startswith("["):
            return [("field", id(cls), name) for cls in value], self._of_classes(value, name)
        if step.startswith("[") and step != "[]" and (known := item_of(value, key_of(step))):
            return known
        if step.startswith("["):
            classes = classes_in(value)
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
        found = own[name] if name in own else member(cls, name, MISSING)
        return [("field", id(cls), name)], found if cls is value else field_of(value, found)

    def _of_classes(self, classes: Classes, name: str) -> Any:
        """What an attribute of instances of some classes is: that of the class, or of an instance that was met."""
        for cls in classes:
            found = member(cls, name, MISSING)
            if found is not MISSING and type(found) is not MemberDescriptorType:  # of a slot, which instances fill
                return found
        for instance in (one for cls in classes for one in self._instances.get(id(cls), ())):
            if (found := shown_of(instance).get(name, MISSING)) is not MISSING:
                return found
        return MISSING
