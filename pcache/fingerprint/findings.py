"""The results of a walk through code so far: shared with its helpers and with the guards."""

from __future__ import annotations

import sys
from _abc import _get_dump  # type: ignore[import-not-found]  # what `ABCMeta` is made of
from types import CellType, CodeType, FunctionType, ModuleType

from pcache.fingerprint.parts import Parts, digest_of
from pcache.fingerprint.source_files import Finder
from pcache.fingerprint.state import State
from pcache.keys.names import import_name
from pcache.objects.lookup import content_of, is_a, members_of, module_of, qualname_of
from pcache.objects.user_code import is_user_code, package_of
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.fork import process_token
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pcache.fingerprint.bytecode import CodeFacts
    from pcache.fingerprint.source_files import Source
    from pcache.system.file_content import Reading

    Namespace = Mapping[str, Any]
    Read = Callable[[Any], tuple[Any, ...]]
    Watched = tuple[Read, Any, tuple[Any, ...]]

MISSING = object()


class Ends:
    """The names whose objects were not fully read, and the name that is being followed, its `site`.

    A name is given with the namespace of its module; `found` keeps the classes of what was not fully read, each with
    whether a part of it was.
    """

    def __init__(self) -> None:
        self.found: dict[tuple[int, str], tuple[Namespace, set[tuple[str, bool]]]] = {}
        self.moving: set[tuple[int, str]] = set()  # names of what changes while the program runs
        self.site: tuple[Namespace, str] | None = None
        self._sites: dict[int, tuple[Namespace, str] | None] = {}  # where functions and classes were met first

    def meet(self, found: object) -> None:
        """Remember where a function or class was met."""
        self._sites[id(found)] = self.site

    def enter(self, found: Any) -> None:
        """Continue with what a function or class depends on: it was made under its own name, or where it was met."""
        self.site = self._sites.get(id(found))
        name = qualname_of(found)
        if name and "<" not in name:
            module = sys.modules.get(module_of(found))
            names: Any = found.__globals__ if is_a(found, FunctionType) else module and vars(module)
            self.site = self.site if names is None else (names, name)

    def note_moving(self, cls: type) -> None:
        """Note that a part of the object being followed is state, and counts by the code that makes it."""
        if self.site is not None:
            self.add_moving(*self.site, cls)

    def add_moving(self, namespace: Namespace, name: str, cls: type) -> None:
        """The same for a name."""
        self.moving.add((id(namespace), name))
        self.add(namespace, name, {(qualname_of(cls), True)})

    def note(self, cls: type, *, seen: bool) -> None:
        """Note that a part of the object being followed was not fully read."""
        if self.site is not None:
            self.add(*self.site, {(qualname_of(cls), seen)})

    def add(self, namespace: Namespace, name: str, kinds: set[tuple[str, bool]]) -> None:
        self.found.setdefault((id(namespace), name), (namespace, set()))[1].update(kinds)


class Findings:
    """The results of a walk, and what its helpers may ask of it."""

    def __init__(self, state: State | None = None, *, strict: bool = False) -> None:
        self.state = State() if state is None else state
        self.strict = strict  # a value without a key counts by identity
        self.unknown: list[object] = []  # values without a key
        self.parts = Parts()
        self.ends = Ends()
        self.labels: dict[int, str] = {}  # of functions and classes, by id
        self.queue: list[tuple[Any, str, str]] = []  # functions and classes, each with its label and path
        self.codes: set[CodeType] = set()  # of functions in the queue
        self.spaces: dict[int, str] = {}  # names of module namespaces, by id
        self.finder = Finder()  # of modules that functions import
        self.noted: set[tuple[int, str]] = set()
        self.present: dict[int, tuple[Mapping[str, Any], set[str]]] = {}
        self.absent: dict[int, tuple[Mapping[str, Any], set[str]]] = {}
        self.cells: list[tuple[CellType, object, str]] = []  # with the names of the variables
        self.watched: dict[tuple[int, type], Watched] = {}  # checked again in each call, by id and reader
        self.members: dict[int, Mapping[str, Any]] = {}  # of classes of packages, by id
        self.counters: dict[int, frozenset[str]] = {}  # attributes that methods of a class count up, by its id
        self.abstract: dict[int, tuple[type, list[type]]] = {}  # classes, with those registered as their subclasses
        self.meets_mock = False
        self.facts: list[CodeFacts] = []
        self.files: list[Reading] = []  # declared
        self.unloaded: list[Source] = []  # modules that the code imports later
        self.carried: dict[int, ModuleType] = {}  # modules of the user's that are used under names of other objects
        self.at = ""  # path of the value looked at last, for error messages
        self.root: object = None

    def space(self, namespace: Mapping[str, Any]) -> str:
        """The name of a module by its namespace."""
        known = self.spaces.get(id(namespace))
        if known is None:
            known = self.spaces[id(namespace)] = self.parts.unique(import_name(namespace))
        return known

    def look(self, namespace: Mapping[str, Any], name: str) -> object:
        """The value of a name, with a guard; builtins count by Python's version alone."""
        if name in namespace:
            self.present.setdefault(id(namespace), (namespace, set()))[1].add(name)
            return namespace[name]
        self.absent.setdefault(id(namespace), (namespace, set()))[1].add(name)
        return MISSING

    def captured(self, cell: CellType, name: str) -> object:
        value = content_of(cell)
        self.cells.append((cell, value, name))
        return value

    def watch(self, value: Any, read: Read) -> None:
        """Check what `read` returns for a value again at each call; to be called before the value is written."""
        known = id(value), type(read)
        if known not in self.watched:
            self.watched[known] = read, value, read(value)

    def registered(self, cls: type) -> list[type]:
        """The user's classes that were registered as subclasses of an abstract class, checked again later."""
        if "_abc_impl" not in members_of(cls):
            return []
        return self.abstract.setdefault(id(cls), (cls, registered_with(cls)))[1]

    def only_this(self, value: object) -> tuple[object, ...]:
        """What represents a value without a key besides its class: nothing, or in `strict` its identity."""
        if not self.strict:
            return ()
        self.unknown.append(value)
        return (process_token(), id(value))

    def package(self, module: str, name: str = "") -> object:
        """An object in an installed package, or in the standard library, whose version is that of Python."""
        package, version = package_of(module)
        label = "package " + ("python" if package in sys.stdlib_module_names else package)
        if label not in self.parts:
            self.parts.add(label, digest_of(version), version)
        return ("package", module, name)

    # Implemented by the walk itself

    def reference(self, value: Any, path: str) -> object:
        """Represent something that code uses: labels for the user's code, values for the rest."""
        raise NotImplementedError

    def bind(self, namespace: Mapping[str, Any], name: str, path: str, *, partly: bool = False) -> object:
        """Look up a name and note what it means; what code on the way changes counts by the code that makes it."""
        raise NotImplementedError

    def note(self, value: object, path: str) -> None:
        """Note what a name means, unless the object has that name itself."""
        raise NotImplementedError

    def attributes(self, value: object, path: str, name: str, facts: CodeFacts, seen: set[int]) -> None:
        """What code may use of a user's function or module: all attributes whose names it mentions."""
        raise NotImplementedError


def registered_with(cls: type) -> list[type]:
    """The classes registered as subclasses of an abstract class; of a package's class, only the user's."""
    if "_abc_impl" not in vars(cls):
        return []
    found, _ = try_call(_get_dump, cls)
    known: list[type] = [one for reference in (found or ((),))[0] if (one := reference()) is not None]
    counted = known if is_user_code(cls) else filter(is_user_code, known)
    return sorted(counted, key=lambda one: (module_of(one), qualname_of(one)))
