"""The way from a function to all that it depends on.

Global names and module attributes that its code uses lead to the functions, classes and plain constants of the user's
own code, and these further. Installed packages count by version, the standard library by that of Python.

What is found has labels instead of a place in an order, so that an edit changes the parts that it touches and no other.
"""

from __future__ import annotations

import os
import sys
from types import BuiltinFunctionType, CellType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from pcache.codes import facts_of
from pcache.culprit import attempt
from pcache.files import content_digest
from pcache.home import import_name
from pcache.keys import module_name, type_name
from pcache.parts import Parts, digest_of, name_of, shown_name
from pcache.provenance import is_user_code, is_user_module, package_of
from pcache.sources import absolute_name, file_to_import, files_of
from pcache.summary import summarize_value
from pcache.values import SCALARS, Values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BY_REFERENCE = (FunctionType, type, ModuleType, BuiltinFunctionType)
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

    Every function and class gets a label when it is first met; what refers to it names the label, so cycles end.
    """

    def __init__(self) -> None:
        self.parts = Parts()
        self.values = Values(self.reference)
        self.labels: dict[int, str] = {}  # of functions and classes, by id
        self.queue: list[tuple[Any, str, str]] = []  # functions and classes, each with its label and path
        self.spaces: dict[int, str] = {}  # names of module namespaces, by id
        self.noted: set[tuple[int, str, bool]] = set()
        self.present: dict[int, tuple[Mapping[str, Any], set[str]]] = {}
        self.absent: dict[int, tuple[Mapping[str, Any], set[str]]] = {}
        self.cells: list[tuple[CellType, object]] = []
        self.root: object = None

    def run(self, root: Any, depends_on: Iterable[object] = ()) -> bytes:
        """Follow a function or class, or none, and what it was declared to depend on; return the digest of it all."""
        self.root = root
        first = None if root is None else self.labelled(root, name_of(root))
        for i, declared in enumerate(depends_on):
            self.declared(declared, f"depends_on[{i}]")
        for found, label, path in self.queue:  # grows meanwhile
            if isinstance(found, type):
                self.class_part(found, label, path)
            else:
                self.function_part(found, label, path)
        self.note_absent()
        return digest_of((first, self.parts.digest()))

    def labelled(self, found: Any, path: str) -> str:
        """The label of a function or class; what was made inside of a function is told apart by where it was met."""
        label = self.labels.get(id(found))
        if label is None:
            name = name_of(found)
            local = "<" in name and path != name
            kind = "class" if isinstance(found, type) else "function"
            label = self.labels[id(found)] = self.parts.unique(f"{kind} {name} ({path})" if local else f"{kind} {name}")
            self.queue.append((found, label, path if local else name))
        return label

    def space(self, namespace: Mapping[str, Any]) -> str:
        """The name of a module by its namespace."""
        known = self.spaces.get(id(namespace))
        if known is None:
            known = self.spaces[id(namespace)] = self.parts.unique(import_name(namespace))
        return known

    def look(self, namespace: Mapping[str, Any], name: str) -> object:
        """The value of a name, with a guard; builtins count by Python's version alone."""
        table = self.present if name in namespace else self.absent
        table.setdefault(id(namespace), (namespace, set()))[1].add(name)
        return namespace.get(name, _MISSING)

    def bind(self, namespace: Mapping[str, Any], name: str, path: str, *, changed: bool = False) -> object:
        """Look up a name and note what it means; the content of what the code itself changes is no constant."""
        value = self.look(namespace, name)
        changed = changed and type(value) not in SCALARS and not isinstance(value, _BY_REFERENCE)
        if value is not _MISSING and (id(namespace), name, changed) not in self.noted:
            self.noted.add((id(namespace), name, changed))
            self.note(type(value) if changed else value, path)
        return value

    def note(self, value: object, path: str) -> None:
        """Note what a name means, unless that bears the name itself."""
        token = self.reference(value, path)
        if token in (f"function {path}", f"class {path}") or (isinstance(token, str) and token.endswith(f" ({path})")):
            return
        if isinstance(value, ModuleType) and path.endswith(f":{value.__name__}"):
            return
        kind = "name" if isinstance(value, _BY_REFERENCE) else "constant"
        shown = shown_name(token) if kind == "name" else attempt(summarize_value, value)[0] or ""
        self.parts.add(self.parts.unique(f"{kind} {path}"), digest_of(token), shown)

    def note_absent(self) -> None:
        """A name that is gone, where what it meant is still used by another name: its label does not say so."""
        for namespace, names in self.absent.values():
            for path in [f"{self.space(namespace)}:{name}" for name in sorted(names)]:
                if f"function {path}" in self.parts or f"class {path}" in self.parts:
                    self.parts.add(self.parts.unique(f"name {path}"), digest_of("absent"), "")

    def function_part(self, function: FunctionType, label: str, path: str) -> None:
        """A function by its own code; what its names mean, its defaults and what it captures are parts of their own."""
        code, names = function.__code__, function.__globals__
        facts = facts_of(code)
        self.parts.add(label, facts.digest, code.co_filename)
        space = self.space(names)
        for name in sorted(facts.global_names):
            value = self.bind(names, name, f"{space}:{name}")
            self.attributes(value, facts.names, set())
        for name, level in sorted(facts.imports):
            self.imported(name, level, names)
        if function is self.root:
            return  # its defaults are bound arguments, and what it captures is part of each key
        defaults = function.__defaults__ or ()
        positional = code.co_varnames[: code.co_argcount]
        for name, default in zip(positional[len(positional) - len(defaults) :], defaults, strict=False):
            self.note(default, f"{path}({name})")
        for name, default in sorted((function.__kwdefaults__ or {}).items()):
            self.note(default, f"{path}({name})")
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            if name == "__class__":
                self.reference(self.captured(cell), path)
            else:
                self.note(self.captured(cell), f"{path}({name})")

    def captured(self, cell: CellType) -> object:
        value = content_of(cell)
        self.cells.append((cell, value))
        return value

    def attributes(self, value: object, names: frozenset[str], seen: set[int]) -> None:
        """What the code may use of a module of the user's: all attributes whose names it mentions."""
        if not isinstance(value, ModuleType) or not is_user_module(value.__name__) or id(value) in seen:
            return
        seen.add(id(value))
        namespace = vars(value)
        space = self.space(namespace)
        for name in sorted(names & namespace.keys()):
            self.attributes(self.bind(namespace, name, f"{space}:{name}"), names, seen)

    def class_part(self, cls: type, label: str, path: str) -> None:
        """A class by its bases and what its members are; constants among them are parts of their own."""
        members = vars(cls)
        held: list[object] = [type_name(cls), self.reference(type(cls), path)]
        held += [self.reference(base, path) for base in cls.__bases__]
        for name in sorted(members.keys() - _INCIDENTAL):
            value = self.look(members, name)
            if isinstance(value, _BY_REFERENCE) or hasattr(type(value), "__get__"):
                held.append((name, self.reference(value, f"{path}.{name}")))
            else:
                held.append(name)
                self.note(value, f"{path}.{name}")
        self.parts.add(label, digest_of(held), "")

    def package(self, module: str, name: str = "") -> object:
        """Something in an installed package, or in the standard library, whose version is that of Python."""
        package, version = package_of(module)
        label = "package " + ("python" if package in sys.stdlib_module_names else package)
        if label not in self.parts:
            self.parts.add(label, digest_of(version), version)
        return ("package", module, name)

    def imported(self, name: str, level: int, names: Mapping[str, Any]) -> None:
        """A module imported by the function's body: the user's by its file, since it may not be loaded yet."""
        name = absolute_name(name, level, str(names.get("__package__") or ""))
        root = name.partition(".")[0]
        path = "" if not root or root in sys.stdlib_module_names else file_to_import(name)
        if path:
            self.file(f"import {name}", path)
        else:
            self.package(root or "builtins")

    def file(self, name: str, path: str) -> None:
        if (label := f"file {name}") not in self.parts:
            self.parts.add(label, content_digest(path), path)

    def declared(self, value: object, label: str) -> None:
        """What `depends_on=` names: code is followed, modules and files count by content, the rest by value."""
        if isinstance(value, ModuleType) and is_user_module(value.__name__):
            self.parts.add(label, digest_of(value.__name__), value.__name__)
            for name, path in files_of(value):
                self.file(name, path)
        elif isinstance(value, os.PathLike):
            self.file(label, os.fspath(value))
        elif callable(value) or isinstance(value, ModuleType):
            token = self.reference(value, label)
            self.parts.add(label, digest_of(token), shown_name(token) or summarize_value(value))
        else:
            self.parts.add(label, digest_of(value), summarize_value(value))

    def reference(self, value: Any, path: str) -> object:
        """What stands for something that code uses: labels for the user's code, values for the rest."""
        cls = type(value)
        if cls is FunctionType or isinstance(value, type):
            if is_user_code(value) or not module_name(value):
                return self.labelled(value, path)
            return self.package(module_name(value), value.__qualname__)
        if isinstance(value, ModuleType):
            return ("module", value.__name__) if is_user_module(value.__name__) else self.package(value.__name__)
        if isinstance(value, BuiltinFunctionType):
            return self.package(module_name(value) or "builtins", value.__qualname__)
        return self.values.token(value, path)


def content_of(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return ("empty cell",)
