"""The way from a function to all that it depends on.

Global names and module attributes that its code uses lead to the functions, classes and plain constants of the user's
own code, and these further. Installed packages count by version, the standard library by that of Python.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from pcache.codes import facts_of
from pcache.culprit import attempt
from pcache.files import content_digest
from pcache.keys import encode, module_name, type_name
from pcache.provenance import is_user_code, is_user_file, is_user_module, package_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SCALARS = (type(None), bool, int, float, complex, str, bytes, bytearray, type(...), slice, range)
_CONTAINERS = (tuple, list, dict, set, frozenset)
# Modules whose objects are values: they count by what they hold, where other objects count by their class alone.
_VALUE_MODULES = frozenset("builtins datetime decimal fractions ipaddress numpy pathlib re types uuid zoneinfo".split())
_MAX_ITEMS = 1000
_MAX_NESTED = 50
_MISSING = object()
# Set by the class statement or by its first use; says nothing about behaviour that the members do not say.
_INCIDENTAL = frozenset(
    "__doc__ __module__ __qualname__ __dict__ __weakref__ __firstlineno__ __static_attributes__ __annotations__"
    " __annotate__ __annotate_func__ __annotations_cache__ __type_params__ __parameters__ __orig_bases__"
    " _value_repr_ __match_args__ __slotnames__ __abstractmethods__ _abc_impl"
    # Of enums: the members say it, and combined flags add to it when they are first used.
    " _value2member_map_ _hashable_values_ _unhashable_values_ _unhashable_values_map_".split()
)


class Walk:
    """One pass over all that a function or class depends on, breadth first.

    Every function and class gets a number when it is first met; what refers to it names the number, so cycles end.
    """

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.queue: list[Any] = []
        self.contents: list[object] = []
        self.parts: dict[str, str] = {}
        self.present: dict[int, tuple[Mapping[str, Any], set[str]]] = {}
        self.absent: dict[int, tuple[Mapping[str, Any], set[str]]] = {}
        self.cells: list[tuple[CellType, object]] = []
        self.root: object = None
        self.open: list[int] = []  # ids of the containers being written

    def run(self, root: Any, depends_on: Iterable[object] = ()) -> bytes:
        """Follow a function or class, and what it was declared to depend on; return the digest of it all."""
        self.root = root
        self.number(root)
        for i, declared in enumerate(depends_on):
            self.contents.append(self.declared(declared, f"depends_on[{i}]"))
        self.follow()
        return blake3(b"".join(encode(self.contents))).digest()

    def follow(self) -> None:
        """Write what is in the queue, which grows meanwhile."""
        for found in self.queue:
            content = self.class_content(found) if isinstance(found, type) else self.function_content(found)
            digest = blake3(b"".join(encode(content))).digest()
            self.contents.append(digest)
            label = f"{module_name(found)}:{found.__qualname__}"
            self.parts[label] = digest.hex()[:16]

    def number(self, found: Any) -> tuple[str, int]:
        if id(found) not in self.numbers:
            self.numbers[id(found)] = len(self.queue)
            self.queue.append(found)
        return ("code", self.numbers[id(found)])

    def function_content(self, function: FunctionType) -> object:
        facts = facts_of(function.__code__)
        names = function.__globals__
        used: list[tuple[str, object]] = []
        for name in sorted(facts.global_names):
            value = self.look(names, name)
            if value is not _MISSING:
                used.append((name, self.reference(value, name)))
                used += self.attributes(value, name, facts.names)
        for name, level in sorted(facts.imports):
            used.append((f"import {name}", self.imported(name, level, names)))
        if function is not self.root:
            # The root's defaults are bound arguments, and what it captures is part of each key.
            for defaults in (function.__defaults__, function.__kwdefaults__):
                used.append(("defaults", defaults and self.reference(defaults, f"{function.__qualname__} defaults")))
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
                value = content_of(cell)
                self.cells.append((cell, value))
                used.append((f"captured {name}", self.reference(value, name)))
        return ("function", facts.digest, used)

    def declared(self, value: object, label: str) -> object:
        """What `depends_on=` names: code is followed, modules and files count by content, the rest by value."""
        if isinstance(value, ModuleType) and is_user_module(value.__name__):
            return (value.__name__, self.files(sources(value), label))
        if isinstance(value, os.PathLike):
            return self.files([os.fspath(value)], label)
        if callable(value) or isinstance(value, ModuleType):
            return self.reference(value, label)
        return blake3(b"".join(encode(value))).digest()

    def files(self, paths: list[str], label: str) -> list[bytes]:
        digests = [content_digest(path) for path in paths]
        self.parts[f"file {label}"] = blake3(b"".join(digests)).hexdigest()[:16]
        return digests

    def look(self, namespace: Mapping[str, Any], name: str) -> object:
        """The value of a name, with a guard; builtins count by Python's version alone."""
        table = self.present if name in namespace else self.absent
        table.setdefault(id(namespace), (namespace, set()))[1].add(name)
        return namespace.get(name, _MISSING)

    def attributes(self, value: object, path: str, names: frozenset[str]) -> list[tuple[str, object]]:
        """What the code may use of a module of the user's: all attributes whose names it mentions."""
        if not isinstance(value, ModuleType) or not is_user_module(value.__name__):
            return []
        used: list[tuple[str, object]] = []
        for name in sorted(names & vars(value).keys()):
            attribute = self.look(vars(value), name)
            used.append((f"{path}.{name}", self.reference(attribute, f"{path}.{name}")))
            if attribute is not value and f"{path}.".count(".") < 10:  # noqa: PLR2004 - modules can name each other
                used += self.attributes(attribute, f"{path}.{name}", names)
        return used

    def imported(self, name: str, level: int, names: Mapping[str, Any]) -> object:
        """A module imported by the function's body: the user's by its file, since it may not be loaded yet."""
        if level:
            package = str(names.get("__package__") or "").split(".")
            name = ".".join([*package[: len(package) - level + 1], *([name] if name else [])])
        root = name.partition(".")[0]
        if not root or root in sys.stdlib_module_names:
            return self.package(root or "builtins")
        from importlib.util import find_spec  # late for start-up time: imports inside of functions are rare

        spec, _ = attempt(find_spec, name)
        path = getattr(spec, "origin", None) or ""
        if not is_user_file(path) or not os.path.isfile(path):
            return self.package(root)
        return self.files([path], f"of import {name}")

    def class_content(self, cls: type) -> object:
        members = vars(cls)
        names = [name for name in sorted(members) if name not in _INCIDENTAL]
        for name in members:
            if name not in _INCIDENTAL:
                self.look(members, name)
        content = [
            (name, self.reference(_lasting(name, members[name]), f"{cls.__qualname__}.{name}")) for name in names
        ]
        return ("class", type_name(cls), [self.reference(base, base.__name__) for base in cls.__bases__], content)

    def package(self, module: str) -> object:
        name, version = package_of(module)
        self.parts[f"package {name}"] = version
        return ("package", name, version)

    def reference(self, value: Any, label: str) -> object:
        """How something that code uses is written: the user's code by number, packages by version, values by value."""
        cls = type(value)
        if cls is FunctionType or isinstance(value, type):
            if is_user_code(value) or not module_name(value):
                return self.number(value)
            return (self.package(module_name(value)), value.__qualname__)
        if isinstance(value, ModuleType):
            return ("module", value.__name__) if is_user_module(value.__name__) else self.package(value.__name__)
        if cls in _SCALARS:
            return self.constant(value, label)
        if cls in _CONTAINERS:
            return self.container(value, label)
        return self.wrapper(value, label)

    def container(self, value: Any, label: str) -> object:
        """A container by its items, in an order that no hash seed changes; large ones are tables, not code."""
        if id(value) in self.open or len(self.open) > _MAX_NESTED:
            return ("cycle",)
        if len(value) > _MAX_ITEMS:
            return self.constant(value, label)
        self.open.append(id(value))
        try:
            if isinstance(value, dict):
                return ("dict", [[self.reference(part, label) for part in item] for item in value.items()])
            items = [self.reference(item, label) for item in value]
        finally:
            self.open.pop()
        if isinstance(value, (set, frozenset)):
            return (type(value).__name__, sorted(b"".join(encode(item)) for item in items))
        return (type(value).__name__, items)

    def constant(self, value: object, label: str) -> object:
        chunks, error = attempt(encode, value)
        if error is not None:
            return ("object", type_name(type(value)))
        digest = blake3(b"".join(chunks)).digest(16)
        self.parts[f"value {label}"] = digest.hex()
        return ("value", digest)

    def wrapper(self, value: Any, label: str) -> object:
        """Descriptors, partials, decorated functions and other objects."""
        cls = type(value)
        if isinstance(value, (staticmethod, classmethod)):
            return (cls.__name__, self.reference(value.__func__, label))
        if isinstance(value, property):
            return ("property", [self.reference(part, label) for part in (value.fget, value.fset, value.fdel)])
        if isinstance(value, partial):
            parts = [self.reference(part, label) for part in (value.func, value.args, value.keywords)]
            return ("partial", parts)
        if isinstance(value, MethodType):
            return ("method", self.reference(value.__func__, label), self.reference(value.__self__, label))
        if isinstance(value, BuiltinFunctionType):
            return (self.package(module_name(value) or "builtins"), value.__qualname__)
        # Cached functions and functools wrappers keep the function in one attribute, cached_property in the other.
        wrapped = _attribute(value, "__wrapped__") or _attribute(value, "func")
        own = module_name(cls).partition(".")[0]
        if isinstance(wrapped, FunctionType):
            kind = _attribute(value, "options_digest") if own == "pcache" else self.reference(cls, label)
            return ("wrapper", kind, self.reference(wrapped, label))
        if own in _VALUE_MODULES:
            return self.constant(value, label)
        return (self.reference(cls, label), [self.reference(part, label) for part in _record_parts(value)])


def sources(module: ModuleType) -> list[str]:
    """The Python files of a module: its own, and for a package all below its folder. A path may be empty."""
    own = getattr(module, "__file__", None) or ""
    if os.path.basename(own) != "__init__.py":
        return [own]
    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(os.path.dirname(own))
        for name in names
        if name.endswith(".py")
    )


def _record_parts(value: Any) -> list[object]:
    """What enum members, named tuples and frozen dataclasses hold: that is what they are. Nothing for other objects."""
    cls = type(value)
    if hasattr(cls, "_member_map_"):
        return [_attribute(value, "_name_"), _attribute(value, "_value_")]
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        return list(value)
    if _attribute(_attribute(cls, "__dataclass_params__"), "frozen"):
        return [_attribute(value, name) for name in cls.__dataclass_fields__]
    return []


def _lasting(name: str, member: Any) -> Any:
    """A member of a class without what other packages leave in it that no second process would.

    attrs writes a hash of a text into the `__hash__` that it makes, pydantic addresses of classes into its schemas.
    """
    if name == "__hash__" and isinstance(member, FunctionType) and member.__code__.co_filename.startswith("<attrs"):
        return name
    return _without_addresses(member) if name == "__pydantic_core_schema__" else member


def _without_addresses(schema: Any) -> Any:
    """References to classes, such as `module.Model:94039`, by their names."""
    if type(schema) is list:
        return [_without_addresses(part) for part in schema]
    if type(schema) is not dict:
        return schema
    import re  # late for start-up time: few programs have pydantic's models

    parts = {key: _without_addresses(part) for key, part in schema.items()}
    for key in ("ref", "schema_ref"):
        if isinstance(parts.get(key), str):
            parts[key] = re.sub(r":\d+", "", parts[key])
    return parts


def _attribute(value: Any, name: str) -> Any:
    """An attribute of an object that may compute, or refuse, any of them."""
    return attempt(getattr, value, name, None)[0]


def content_of(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return ("empty cell",)
