"""Represent the values that code uses: constants, containers, descriptors, partials, instances.

Functions, classes and modules in them are left to the walk.
"""

from __future__ import annotations

from _struct import Struct
from functools import partial, partialmethod
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)

from blake3 import blake3

from pcache.fingerprint.anatomy import LIKE_ADDRESSES, Anatomy, TooMuch, holds_addresses, is_of_python, shown_of
from pcache.fingerprint.builders import is_made_by_code
from pcache.fingerprint.bytecode import facts_of
from pcache.fingerprint.guards import IMMUTABLE, READERS, Attributes, Encoding
from pcache.fingerprint.parts import BY_REFERENCE, CONTAINERS, SCALARS, digest_of
from pcache.fingerprint.uses import is_namespace
from pcache.keys.encoder import Nesting, encode
from pcache.keys.file import File, note
from pcache.keys.names import module_name, type_name
from pcache.keys.nesting import PLAIN_CONTENTS
from pcache.objects.lookup import (
    attributes_of,
    class_name,
    is_a,
    is_exactly,
    kept,
    look,
    member,
    module_of,
    qualname_of,
    text,
)
from pcache.objects.user_code import is_user_code
from pcache.startup import TYPE_CHECKING, Any, late
from pcache.system.interrupts import attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.fingerprint import instances, kinds, tables
    from pcache.fingerprint.findings import Findings
    from pcache.keys.encoder import LargeContents
    from pcache.system import file_content
else:
    tables = late("pcache.fingerprint.tables")
    instances = late("pcache.fingerprint.instances")
    kinds = late("pcache.fingerprint.kinds")
    file_content = late("pcache.system.file_content")

_METHODS = frozenset((MethodType, MethodWrapperType, BuiltinFunctionType))
_DESCRIPTORS = (staticmethod, classmethod, property, partial, partialmethod)
# Modules of the standard library whose objects are values even where they contain themselves.
_VALUE_MODULES = frozenset(
    "array builtins collections configparser datetime decimal fractions functools ipaddress operator pathlib re string"
    " types typing uuid xml zoneinfo".split()
)
_MAX_ITEMS, _MAX_NESTED = 1000, 50
_TEXTS, _LONG_TEXT = (str, bytes), 64


class Values:
    """Writes values; `reference(value, path)` represents any object.

    `path` is where a value was met; a function without a name of its own is called after it.
    """

    def __init__(self, walk: Findings) -> None:
        self.reference = walk.reference
        self.walk = walk
        self._open: list[int] = []  # ids of the containers being written
        self._encoding: list[int] = []  # ids of the values being encoded
        # Objects, their representations, and the classes of contents that were not fully read.
        self._written: dict[tuple[int, str], tuple[object, object, frozenset[tuple[type, bool]]]] = {}
        self._ends: set[tuple[type, bool]] = set()  # the same for the container being written

    def token(self, value: Any, path: str) -> object:
        """Represent anything but functions, classes and modules."""
        if is_exactly(value, SCALARS):
            if type(value) is bytearray:
                self.walk.watch(value, Encoding())
            elif type(value) not in _TEXTS or len(value) < _LONG_TEXT:
                return ("value", value)  # as short as a digest
            return ("value", blake3(b"".join(encode(value))).digest(16))
        if is_exactly(value, CONTAINERS):
            return self.container(value, path)
        return self.wrapper(value, path)

    def container(self, value: Any, path: str) -> object:
        """A container by its items, in an order that no hash seed changes; large ones are tables, not code."""
        if self.walk.state.is_object(value) and self.walk.state.trusts(self.walk.ends.site):
            return self.moving(value)
        if len(value) > _MAX_ITEMS or self.is_deep():
            return self.constant(value, path)
        if type(value) in READERS:
            self.walk.watch(value, READERS[type(value)])
        if isinstance(value, (tuple, list)) and all(is_exactly(item, SCALARS) for item in value):
            return ("value", blake3(b"".join(encode(value))).digest(16))

        def write() -> object:
            # Copies: another thread may change it meanwhile.
            if isinstance(value, dict):
                return tables.pairs_of(self, value, path)
            items = [self.reference(item, path) for item in list(value)]
            return sorted(map(digest_of, items)) if isinstance(value, (set, frozenset)) else items

        return self.nested(value, write)

    def moving(self, value: object) -> object:
        """A container that code on the way changes."""
        self.walk.ends.note_moving(type(value))
        return ("state", class_name(value))

    def nested(self, value: object, write: Callable[[], object]) -> object:
        """Represent an object that may contain itself, or be met often."""
        if id(value) in self._open:
            return ("cycle", self._open.index(id(value)))
        return self.once(value, lambda: (class_name(value), digest_of(write())), self._open)

    def once(self, value: object, write: Callable[[], object], opened: list[int], how: str = "") -> object:
        """What represents an object, found out when it is met first; meanwhile it stands among those `opened`."""
        key = id(value), how
        if key not in self._written:
            if id(value) in opened:
                raise RecursionError("it contains itself")
            around, self._ends = self._ends, set()
            opened.append(id(value))
            try:
                self._written[key] = value, write(), frozenset(self._ends)
            finally:
                opened.pop()
                self._ends |= around
        for cls, seen in self._written[key][2]:
            self.end(cls, seen=seen)
        return self._written[key][1]

    def end(self, cls: type, *, seen: bool = False) -> None:
        """Note that an object was not fully read, and whether a part of it was."""
        self._ends.add((cls, seen))
        self.walk.ends.note(cls, seen=seen)

    def constant(self, value: object, path: str, *, straight: bool = False) -> object:
        """A value as if it were an argument; by its parts if it has no key, or is met again inside of itself."""
        if id(value) in self._open:
            return self.in_parts(value, path)
        return self.once(value, lambda: self.encoded(value, path, straight=straight), self._encoding, "encoded")

    def encoded(self, value: object, path: str, *, straight: bool) -> object:
        """The digest of a value's encoding."""
        hashed: LargeContents = {}
        if type(value) in READERS or module_name(type(value)) not in IMMUTABLE:
            self.walk.watch(value, Encoding(hashed))
        nesting = Nesting(lambda part: self.reference(part, path), straight=straight)
        nesting.found = {known: item for known, item in hashed.items() if known[1] in PLAIN_CONTENTS}
        chunks, is_done = attempt(encode, value, nesting)
        if is_done:
            encoding = b"".join(chunks)
            if (
                not is_exactly(value, CONTAINERS)
                and LIKE_ADDRESSES.search(encoding)
                and holds_addresses(value, kinds.is_known)
            ):
                return self.in_parts(value, path)
            return ("value", blake3(encoding).digest(16))
        if kinds.kind_of(value) in (kinds.BY_CLASS, kinds.BY_MAKING) or member(type(value), "__next__") is not None:
            return self.machinery(value, path)
        return self.in_parts(value, path)

    def unknown(self, value: object, path: str) -> object:
        """A value without a key: its class, and where no other object may stand for it, its identity."""
        own = self.walk.only_this(value)
        return ("object", self.reference(type(value), path), *own)

    def in_parts(self, value: object, path: str) -> object:
        """An object by its parts."""
        return ("object", self.reference(type(value), path), self.nested(value, lambda: self.taken_apart(value, path)))

    def taken_apart(self, value: object, path: str) -> object:
        """The parts of an object, unless there are too many."""
        anatomy = Anatomy(kinds.is_known, lambda part: self.known(part, path))
        try:
            found = anatomy.take_apart(value)
        except TooMuch:
            self.end(type(value))
            return list(self.walk.only_this(value))
        for cls, seen in anatomy.unseen.items():
            self.end(cls, seen=seen)
        return [*found, *(self.walk.only_this(value) if anatomy.unseen else ())]

    def known(self, part: Any, path: str) -> object:
        """Represent a part that is not taken apart."""
        kind = kinds.kind_of(part)
        if kind == kinds.BY_CLASS:
            return ("object", self.reference(type(part), path))
        if kind == kinds.BY_MAKING:
            return self.machinery(part, path)
        if class_name(part) in kinds.CYTHON and module_of(part):
            return self.walk.package(module_of(part), qualname_of(part))
        if (known := kinds.name_in_package(part)) and not is_a(part, BY_REFERENCE):
            return self.walk.package(*known)
        return self.reference(part, path)

    def machinery(self, value: object, path: str) -> object:
        """An object that changes while a program runs: by its class, and by the code that makes it if that is known."""
        if kinds.kind_of(value) != kinds.BY_CLASS:
            self.end(type(value))
        return self.unknown(value, path)

    def is_deep(self) -> bool:
        """Whether so many containers are open that others in them are not written part by part."""
        return len(self._open) > _MAX_NESTED

    def wrapper(self, value: Any, path: str) -> object:
        """Descriptors, partials, decorated functions and other objects."""
        cls = type(value)
        if is_a(value, _DESCRIPTORS):
            return self.of_functions(value, path)
        if is_exactly(value, _METHODS):
            return self.of_method(value, path)
        if cls is CodeType:
            return self.code(value)
        if cls is MappingProxyType:
            self.walk.watch(value, READERS[MappingProxyType])
            return ("proxy", self.nested(value, lambda: self.reference(dict(value), path)))
        if is_a(value, File):
            return ("file", note(file_content.read_or_miss(value.path)).digest)
        if is_user_code(cls) and is_of_python(cls):  # C code may give its classes to a module that is not there
            return instances.instance_of(self, value, path)
        if self.walk.state.is_object(value) and self.walk.state.trusts(self.walk.ends.site):
            self.walk.ends.note_moving(cls)
            return ("state", class_name(value))
        own = module_name(cls).partition(".")[0]
        if own in ("pcache", "functools") and (wrapper := self.of_functools(value, path)):
            return wrapper
        if own == "pcache":
            return ("object", self.reference(cls, path))
        return self.constant(value, path) if self.walk.strict else self.foreign(value, path)

    def foreign(self, value: Any, path: str) -> object:
        """An object of a package, or of Python's own library."""
        cls = type(value)
        kind = kinds.kind_of(value)
        if self.walk.state.is_object(value):  # such as a deque
            return self.moving(value)
        if kinds.is_generator(value) and is_made_by_code(self.walk):
            self.walk.ends.note_moving(cls)
            return self.unknown(value, path)
        if kind in (kinds.BY_CLASS, kinds.BY_MAKING):
            return self.machinery(value, path)
        if is_namespace(value):
            moving = tables.moving_in(self, value)
            self.walk.watch(value, Attributes(cls, moving))
            held = [(name, item) for name, item in attributes_of(value).items() if name not in moving]
            kept = sorted(held, key=lambda pair: text(pair[0]))
            return ("object", self.reference(cls, path), self.nested(value, lambda: self.reference(kept, path)))
        if class_name(value) == "Field" and module_of(cls) == "dataclasses":  # its default may be state
            parts = sorted(shown_of(value).items())
            return ("object", self.reference(cls, path), self.nested(value, lambda: self.reference(parts, path)))
        if cls is Struct:  # has no key
            return ("object", self.reference(cls, path), value.format)
        if kind == kinds.IN_PARTS:
            return self.in_parts(value, path)
        # An object that contains itself is part of a framework: it may be large, and is taken apart within bounds.
        return self.constant(value, path, straight=module_name(cls).partition(".")[0] not in _VALUE_MODULES)

    def of_functions(self, value: Any, path: str) -> object:
        """Descriptors and partials by the functions in them, and by what a subclass adds."""
        beyond = self.beyond(value, path)
        if is_a(value, (staticmethod, classmethod)):
            return (class_name(value), self.reference(kept(value, "__func__"), path), *beyond)
        if is_a(value, property):
            places = {"fget": "", "fset": ".setter", "fdel": ".deleter"}
            parts = [self.reference(kept(value, name), path + places[name]) for name in places]
            return (class_name(value), parts, *beyond)
        parts = [self.reference(kept(value, name), path) for name in ("func", "args", "keywords")]
        return (class_name(value), parts, *beyond)

    def of_method(self, value: Any, path: str) -> object:
        """A bound method by its function and its object; one of a package's own object by name."""
        if known := kinds.known_as(value):
            return self.walk.package(*known)
        own = value.__self__
        if type(value) is MethodType:
            return ("method", self.reference(value.__func__, path), self.reference(own, path))
        if type(value) is MethodWrapperType:
            return ("method", value.__name__, self.reference(own, path))
        token = self.walk.package(module_name(value) or "builtins", qualname_of(value))
        return token if own is None or is_a(own, ModuleType) else ("held", token, self.reference(own, path))

    def code(self, code: CodeType) -> object:
        """Code that `eval` or `exec` runs, with the meanings of its names."""
        facts = facts_of(code)
        if self.walk.ends.site is not None:
            namespace = self.walk.ends.site[0]
            for name in sorted(facts.global_names & namespace.keys()):
                self.walk.bind(namespace, name, f"{self.walk.space(namespace)}:{name}")
        return ("code", facts.digest, code.co_name)

    def held(self, function: FunctionType, path: str) -> object:
        """The contents of a package's function, such as those that `contextmanager` and `singledispatch` return."""
        registry = vars(function).get("registry")
        if type(registry) is not MappingProxyType:
            cells = list(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
            return self.nested(
                function,
                lambda: [
                    self.reference(self.walk.captured(cell, name), path)
                    for name, cell in cells
                    if not (self.walk.state.is_variable(cell) and self.walk.state.trusts(self.walk.ends.site))
                ],
            )
        self.walk.watch(registry, READERS[MappingProxyType])
        implementations = sorted(registry.items(), key=lambda item: type_name(item[0]))
        return [
            (self.reference(cls, path), self.reference(found, path if cls is object else f"{path}[{qualname_of(cls)}]"))
            for cls, found in implementations
        ]

    def beyond(self, value: Any, path: str) -> tuple[object, ...]:
        """The attributes that an object of a subclass has beyond those of Python's own class, but for its state."""
        cls = type(value)
        return () if cls in _DESCRIPTORS else (self.reference(cls, path), instances.added_to(self, value, path))

    def of_functools(self, value: Any, path: str) -> object:
        """Cached functions and wrappers of functools by the function in them; None for anything else."""
        wrapped = look(value, "__wrapped__")
        wrapped = look(value, "func") if type(wrapped) is not FunctionType else wrapped
        if type(wrapped) is not FunctionType:
            return None
        cls = type(value)
        kind = look(value, "options_digest") if module_name(cls).startswith("pcache") else self.reference(cls, path)
        return ("wrapper", kind, self.reference(wrapped, path), self.reference(look(value, "dispatcher"), path))
