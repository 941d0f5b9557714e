"""What the code on the way changes: state, which is no constant and counts by the code that makes it.

A counter, a memo, a lazily loaded model: a module's name, a captured variable, an attribute of a class and of its
instances, a default value. Which these are is only known once the code is, and the code only once the values are that
lead to it. So a walk is made anew, knowing what the one before has found, as long as that is more.

Only code on the way counts: of a class that is met, the methods that code on the way is seen to call. An object that a
program sets up by a method which the function never calls counts by what it holds.
"""

from __future__ import annotations

from pcache.fingerprint.changes import Changes
from pcache.fingerprint.dataflow import uses_of
from pcache.fingerprint.uses import is_container, is_table, lead_to_values
from pcache.objects.lookup import bases_of
from pcache.startup import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import CodeType, FunctionType

    from pcache.fingerprint.containers import Place

_MOST_INSTANCES = 5  # of a class

T = TypeVar("T")


class State:
    """Places that code on the way changes. A walk asks for them, and says which it meets with a value in them."""

    def __init__(self, ignored: tuple[str, ...] = ()) -> None:
        self._ignored = ignored  # patterns of `module:NAME`: globals that do not affect results
        self._places: set[Place] = set()
        self._fields: dict[int, set[str]] = {}  # those of classes and their instances, by the id of the class
        self._late_fields: dict[int, set[str]] = {}  # those of classes that these may not have yet
        self._items: dict[int, set[Any]] = {}  # of dicts and namespaces, by id
        self._distrusted: set[Place] = set()  # names whose objects start with something that is not known
        self._met: set[Place] = set()
        self._is_late = False  # whether a place was met with its value, and is known to be state since then
        self._whole: set[int] = set()  # tables that code on the way uses otherwise than item by item, by id
        self._steps: dict[int, set[str]] = {}  # items and attributes by which it reads tables
        self._written: dict[int, tuple[Any, frozenset[str] | None]] = {}  # tables, and what was thought to be read
        self._kept: list[object] = []  # alive, so that no id is reused
        self._instances: dict[int, list[Any]] = {}  # some that were met, by the id of their class
        self._looks: dict[object, Any] = {}
        self._learnt: tuple[set[int], int] = set(), 0  # the code, and how many instances, that all is known of

    def once(self, key: object, look: Callable[[], T]) -> T:
        """What a look at something finds that stays as it is from one walk to the next."""
        if key not in self._looks:
            self._looks[key] = look()
        found: T = self._looks[key]
        return found

    def learn_own(self, code: CodeType, namespace: Mapping[str, Any]) -> set[str]:
        """Take in the names of its module that code binds, or whose containers it changes; return them.

        Known before they are followed, they need no other walk.
        """
        uses, names = uses_of(code), set()
        for path in uses.bound | uses.changed:
            if path.root != "global" or not set(path.steps) <= {"[]"}:
                continue
            if path.name not in namespace:
                names |= {path.name} if path in uses.bound and not path.steps else set()
                continue
            value = namespace[path.name]
            if not lead_to_values(value, path.steps) and (path in uses.bound or is_container(value)):
                names.add(path.name)
        self._take_in({("name", id(namespace), name) for name in names})
        self._kept.append(namespace)
        return names

    def _take_in(self, places: set[Place]) -> None:
        new = places - self._places
        self._places |= new
        for place in new:
            if place[0] == "field":
                self._fields.setdefault(place[1], set()).add(place[2])
            elif place[0] == "late":
                self._late_fields.setdefault(place[1], set()).add(place[2])
            elif place[0] in ("item", "attribute"):
                self._items.setdefault(place[1], set()).add(place[2])
            wholly = (("fields", place[1]), ("items", place[1]), place[:2], place)
            self._is_late = self._is_late or any(asked in self._met for asked in wholly)

    def ignores(self, path: str) -> bool:
        """Whether a global was said not to matter."""
        if not self._ignored:
            return False
        from fnmatch import fnmatchcase  # late for start-up time

        return any(fnmatchcase(path, pattern) for pattern in self._ignored)

    def distrust(self, namespace: Any, name: str) -> None:
        """Note that a name's object does not start as code says: it counts by what it holds."""
        place = ("name", id(namespace), name)
        self._is_late |= place not in self._distrusted
        self._distrusted.add(place)
        self._kept.append(namespace)

    def trusts(self, site: tuple[Any, str] | None) -> bool:
        """Whether code says what the object of a name starts with."""
        return site is None or ("name", id(site[0]), site[1]) not in self._distrusted

    def is_name(self, namespace: Any, name: str) -> bool:
        """Whether a name of a module, or an attribute of a function, is state."""
        return self._is(("name", id(namespace), name))

    def is_variable(self, cell: object) -> bool:
        """Whether a captured variable is state."""
        return self._is(("variable", id(cell)))

    def is_object(self, value: object) -> bool:
        """Whether a container is state, by whatever name it is reached."""
        return self._is(("object", id(value)))

    def items(self, table: object) -> frozenset[Any]:
        """The keys of a dict whose items are state, or the names of a namespace."""
        self._met |= {("items", id(table)), ("attributes", id(table))}
        return frozenset(self._items.get(id(table), ()))

    def meet(self, instance: Any) -> None:
        """Remember an instance of a user's class, for what its attributes are."""
        known = self._instances.setdefault(id(type(instance)), [])
        if len(known) < _MOST_INSTANCES and not any(one is instance for one in known):
            known.append(instance)

    def fields(self, cls: type, among: Iterable[str] | None = None) -> frozenset[str]:
        """The attributes of a class and its instances that are state; those `among` others if only these matter."""
        classes = set(map(id, bases_of(cls)))
        if among is None:
            self._met |= {("fields", known) for known in classes}
        else:
            self._met |= {("field", known, name) for known in classes for name in among}
        return frozenset().union(*(self._fields.get(known, ()) for known in classes))

    def late_fields(self, cls: type) -> frozenset[str]:
        """The attributes of a class itself that code on the way sets, and that it need not have yet."""
        classes = set(map(id, bases_of(cls)))
        self._met |= {("late", known) for known in classes}
        return frozenset().union(*(self._late_fields.get(known, ()) for known in classes))

    def _is(self, place: Place) -> bool:
        self._met.add(place)
        return place in self._places

    def reads(self, value: Any) -> frozenset[str] | None:
        """The items or attributes of a table that code on the way reads, `[]` for any; None for all, in their order."""
        is_whole = id(value) in self._whole or id(value) not in self._steps
        steps = None if is_whole else frozenset(self._steps[id(value)])
        self._written[id(value)] = value, steps
        return steps

    def use_whole(self, value: Any) -> None:
        """Note that a table is used otherwise than item by item, or where that is not seen."""
        self._whole.add(id(value))
        self._kept.append(value)

    def use(self, value: Any, step: str) -> None:
        """Note that an item or attribute of a table is read; what looks at all of it says so by another name."""
        if step.startswith("[") == isinstance(value, dict) and not step.startswith(".__"):
            self._steps.setdefault(id(value), set()).add(step)
            self._kept.append(value)
        else:
            self.use_whole(value)

    def learn_reading(self, code: CodeType, namespace: Mapping[str, Any]) -> None:
        """Note how code reads the tables of its module; known before they are followed, this needs no other walk."""
        uses = uses_of(code)
        for path in uses.handed | uses.read:
            if path.root == "global" and is_table(value := namespace.get(path.name)):
                if path.steps:
                    self.use(value, path.steps[0])
                elif path in uses.handed:
                    self.use_whole(value)

    def learn(self, code: Iterable[FunctionType | type]) -> bool:
        """Take in what the code that a walk found changes and reads; return whether that walk thought otherwise."""
        found = list(code)
        known, instances = {id(one) for one in found}, sum(map(len, self._instances.values()))
        if instances > self._learnt[1] or not known <= self._learnt[0]:
            self._learnt = known, instances
            changes = Changes(found, self._instances)
            self._take_in(set(changes.places(self._kept)))
            changes.note_reading(self)
        is_late, self._is_late = self._is_late, False
        written, self._written = self._written, {}
        self._met.clear()
        return is_late or any(steps != self.reads(value) for value, steps in written.values())
