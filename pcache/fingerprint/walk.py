"""The way from a function to all that it depends on.

Global names and module attributes that its code uses lead to the functions, classes and plain constants of the user's
own code, and these further. Installed packages count by version, the standard library by that of Python.

What is found has labels instead of a place in an order, so that an edit changes the parts that it touches and no other.
"""

from __future__ import annotations

import builtins
import os
import sys
import types
from types import FunctionType, ModuleType

from pcache.fingerprint.builders import follow_makers
from pcache.fingerprint.bytecode import REFLECTION, CodeFacts, facts_of, is_of_attrs
from pcache.fingerprint.constants import Values
from pcache.fingerprint.dataflow import uses_of
from pcache.fingerprint.findings import MISSING, Findings
from pcache.fingerprint.library_attributes import follow_library
from pcache.fingerprint.parts import BY_REFERENCE, digest_of, is_plain, name_of, shown_name
from pcache.fingerprint.reflection import OF_CLASSES, follow_mentions
from pcache.fingerprint.source_files import Source, doubted, files_of, imported
from pcache.fingerprint.state import State
from pcache.fingerprint.uses import TABLES, Path, is_table
from pcache.keys.names import module_name, type_name
from pcache.objects.lookup import (
    attributes_of,
    content_of,
    is_a,
    is_mock,
    member,
    members_of,
    module_of,
    parents_of,
    qualname_of,
    state_in_c,
    text,
    title_of,
)
from pcache.objects.summary import summarize_unnamed, summarize_value
from pcache.objects.user_code import is_user_code, is_user_module
from pcache.startup import TYPE_CHECKING, Any, late
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcache.fingerprint import tables
    from pcache.system import file_content
else:
    tables = late("pcache.fingerprint.tables")
    file_content = late("pcache.system.file_content")


# Labels say the name of a module; workers of a process pool see `__main__` under another one.
_OWN_NAME = frozenset(("__name__", "__doc__"))


def _is_of_package(held: object) -> bool:
    """Whether an object is a module of a package: code may import it when it is first needed."""
    return is_a(held, ModuleType) and not is_user_module(title_of(held))


class Walk(Findings):
    """One pass over all that a function or class depends on, breadth first.

    Every function and class gets a label when it is first met; references to it name the label, so cycles end.
    """

    def __init__(self, state: State | None = None, *, strict: bool = False) -> None:
        super().__init__(state, strict=strict)
        self.values = Values(self)

    def end(self) -> None:
        """Part from what refers to the walk, so that all that it made goes with it, and leaves no cycles."""
        del self.values

    def run(self, root: Any, depends_on: Iterable[object] = ()) -> bytes:
        """Follow a function or class, or none, and its declared dependencies; return the digest of all."""
        self.root = root
        first = None if root is None else self.labelled(root, name_of(root))
        for i, declared in enumerate(depends_on):
            self.declared(declared, f"depends_on[{i}]")
        done = 0
        while True:
            for found, label, path in self.queue[done:]:
                done += 1
                self.ends.enter(found)
                if is_a(found, type):
                    self.class_part(found, label, path)
                else:
                    self.function_part(found, label, path)
            if done == len(self.queue):
                follow_mentions(self)
                follow_makers(self)
            if done == len(self.queue):
                break
        self.note_absent()
        return digest_of((first, self.parts.digest()))

    def labelled(self, found: Any, path: str) -> str:
        """The label of a function or class; one made inside a function is told apart by where it was met."""
        label = self.labels.get(id(found))
        if label is None:
            name = name_of(found)
            own = "<" not in name or path == name
            kind = "class" if is_a(found, type) else "function"
            wanted = f"{kind} {name}" if own else f"{kind} {name} ({path})"
            label = self.labels[id(found)] = self.parts.unique(wanted, path if own else "")
            self.ends.meet(found)
            self.queue.append((found, label, name if label == f"{kind} {name}" else path))
            if kind == "function":
                self.codes.add(found.__code__)
        return label

    def bind(self, namespace: Mapping[str, Any], name: str, path: str, *, partly: bool = False) -> object:
        """Look up a name and note what it means; what code on the way changes counts by the code that makes it.

        With `partly` the state knows how the code that mentions the name reads it.
        """
        held = namespace.get(name, MISSING)
        if self.state.ignores(path):
            self.parts.add(f"ignored {path}", digest_of("ignored"), "")
            return held
        is_state = self.state.is_name(namespace, name) and self.state.trusts((namespace, name))
        if is_state and (not is_a(held, BY_REFERENCE) or _is_of_package(held)):
            self.ends.add_moving(namespace, name, type(held))
            return held
        value = self.look(namespace, name)
        if not partly and is_table(value):
            self.state.use_whole(value)
        if value is not MISSING and (id(namespace), name) not in self.noted:
            self.noted.add((id(namespace), name))
            site = self.ends.site
            if "__name__" in namespace:
                self.ends.site = namespace, name
            if is_a(value, ModuleType):
                self.note_module(value, path)
            else:
                self.note(value, path, partly=is_table(value))
            self.ends.site = site
        return value

    def note(self, value: object, path: str, *, partly: bool = False) -> None:
        """Note what a name means, unless the object has that name itself."""
        token = tables.table_of(self.values, value, path) if partly else self.reference(value, path)
        if token in (f"function {path}", f"class {path}") or (isinstance(token, str) and token.endswith(f" ({path})")):
            return
        kind = "name" if is_a(value, BY_REFERENCE) else "constant"
        shown = shown_name(token) if kind == "name" else ""
        shown = shown or try_call(summarize_value, value)[0] or ""
        self.parts.add(self.parts.unique(f"{kind} {path}"), digest_of(token), shown)

    def note_module(self, module: ModuleType, path: str) -> None:
        """Note which module a name means; what is used of it is followed separately."""
        token = self.module(module)
        if not path.endswith(f":{title_of(module)}"):
            self.parts.add(self.parts.unique(f"name {path}"), digest_of(token), shown_name(token))

    def note_absent(self) -> None:
        """A deleted name whose object is still used under another name: its label does not say so."""
        for namespace, names in [found for found in self.absent.values() if "__name__" in found[0]]:
            for path in [f"{self.space(namespace)}:{name}" for name in sorted(names)]:
                if f"function {path}" in self.parts or f"class {path}" in self.parts:
                    self.parts.add(self.parts.unique(f"name {path}"), digest_of("absent"), "")

    def function_part(self, function: FunctionType, label: str, path: str) -> None:
        """A function by its own code; what its names mean, its defaults and what it captures are separate parts."""
        code, names = function.__code__, function.__globals__
        facts = facts_of(code)
        self.facts.append(facts)
        self.parts.add(label, facts.digest, code.co_filename)
        space = self.space(names)
        own = self.state.learn_own(code, names)
        self.state.learn_reading(code, names)
        is_seen = facts.names.isdisjoint(REFLECTION)
        for name in sorted((facts.global_names | own) - {"__name__"}):
            path_of_name = f"{space}:{name}"
            value = self.bind(names, name, path_of_name, partly=is_seen)
            if value is MISSING:
                follow_library(self, builtins, frozenset((name,)))
            self.attributes(value, path_of_name, name, facts, set())
            if is_a(value, ModuleType) and name in facts.handed:
                self.reference(value, path_of_name)
        if facts.imports:
            self.imports(facts.imports, text(names.get("__package__")))
        if function is self.root:
            return  # its defaults are bound arguments, and what it captures is part of each key
        defaults = function.__defaults__ or ()
        positional = code.co_varnames[: code.co_argcount]
        named = [*zip(positional[len(positional) - len(defaults) :], defaults, strict=False)]
        for name, default in (*named, *sorted((function.__kwdefaults__ or {}).items())):
            is_state = is_a(default, TABLES) and Path("local", name) in uses_of(code).changed
            is_state = is_state and self.state.trusts(self.ends.site)
            self.note(type(default) if is_state else default, f"{path}({name})")
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            if name == "__class__":
                self.reference(self.captured(cell, name), path)
            elif self.state.is_variable(cell) and self.state.trusts(self.ends.site):
                self.ends.note_moving(type(content_of(cell)))
            else:
                self.note(self.captured(cell, name), f"{path}({name})")

    def attributes(self, value: object, path: str, name: str, facts: CodeFacts, seen: set[int]) -> None:
        """What the code may use of a user's function or module: all attributes whose names it mentions."""
        if is_a(value, ModuleType) and is_user_module(title_of(value)):
            path, dot, wanted = self.space(attributes_of(value)), ":", facts.names | {"__getattr__"}
        elif is_a(value, FunctionType):
            dot, wanted = ".", facts.names - {"__wrapped__"}
        else:
            follow_library(self, value, facts.names)
            return
        if id(value) in seen:
            return
        seen.add(id(value))
        members, is_seen = attributes_of(value), facts.names.isdisjoint(REFLECTION)
        for found in sorted((wanted & members.keys()) - _OWN_NAME):
            dotted = f"{name}.{found}"
            if dotted not in facts.assigned:
                attribute = self.bind(members, found, path + dot + found, partly=is_seen)
                self.attributes(attribute, path + dot + found, dotted, facts, seen)

    def class_part(self, cls: type, label: str, path: str) -> None:
        """A class by its bases and its members; constants among them are separate parts."""
        members = members_of(cls)
        held: list[object] = [type_name(cls), self.reference(type(cls), path)]
        held += [self.reference(base, path) for base in parents_of(cls)]
        if virtual := self.registered(cls):
            held.append([self.reference(one, path) for one in virtual])
        values = {name for name, value in members.items() if not self.is_code(value)}
        fields, module = values & self.state.fields(cls, values), sys.modules.get(module_of(cls))
        if module is not None:
            fields = {name for name in fields if self.state.trusts((vars(module), f"{qualname_of(cls)}.{name}"))}
        for name in sorted(fields | self.state.late_fields(cls)) if module is not None else ():
            self.ends.add_moving(vars(module), f"{qualname_of(cls)}.{name}", type(members.get(name)))
        for name in sorted(filter(text, members.keys() - OF_CLASSES)):
            if name in fields:
                continue
            value = self.look(members, name)
            if name == "__hash__" and is_a(value, FunctionType) and is_of_attrs(value.__code__):
                continue
            if name not in values:
                held.append((name, self.reference(value, f"{path}.{name}")))
            else:
                held.append(name)
                self.note(value, f"{path}.{name}")
        in_c = state_in_c(cls)
        if in_c:  # only annotations say what its fields are
            in_c["__annotations__"] = try_call(getattr, cls, "__annotations__", None)[0]
        for name, value in in_c.items():
            held.append(name)
            self.note(value, f"{path}.{name}")
        self.parts.add(label, digest_of(held), "")

    @staticmethod
    def is_code(value: object) -> bool:
        """Whether a member of a class is code, or a descriptor that has some."""
        return is_a(value, BY_REFERENCE) or member(type(value), "__get__") is not None

    def imports(self, imports: Iterable[tuple[str, int, tuple[str, ...]]], package: str) -> None:
        """Modules imported by a function's body: the user's by their files, since they may not be loaded yet."""
        sources, others = imported(imports, package, self.finder)
        for name in others:
            self.package(name)
        for source in sources:
            self.parts.add(f"file import {source.name}", source.digest, source.path)
        self.note_unloaded(sources)

    def note_unloaded(self, sources: Iterable[Source]) -> None:
        """Note the modules whose files imports will read later."""
        self.unloaded += [source for source in sources if source.module not in sys.modules or source.module in doubted]

    def declared(self, value: object, label: str) -> None:
        """What `depends_on=` names: code is followed, modules and files count by content, the rest by value."""
        if is_a(value, ModuleType) and is_user_module(title_of(value)):
            self.parts.add(label, digest_of(title_of(value)), title_of(value))
            sources = files_of(value)
            self.note_unloaded(sources)
            for source in sources:
                if (name := f"file {source.name}") not in self.parts:
                    self.parts.add(name, source.digest, source.path)
        elif isinstance(value, os.PathLike):
            reading = file_content.read_or_miss(os.fspath(value))
            self.files.append(reading)
            self.parts.add(f"file {label}", reading.digest, reading.path)
        elif callable(value) or is_a(value, ModuleType):
            token = self.reference(value, label)
            self.parts.add(label, digest_of(token), shown_name(token) or summarize_value(value))
        else:
            self.parts.add(label, digest_of(value), summarize_unnamed(value))

    def reference(self, value: Any, path: str) -> object:
        """Represent something that code uses: labels for the user's code, values for the rest."""
        self.at = path
        if is_a(value, FunctionType):
            self.meets_mock = self.meets_mock or (bool(vars(value)) and is_mock(value))
            module = text(value.__globals__.get("__name__"))  # not by import: `colorsys.py` is not of Python
            if not module or is_user_module(module):
                return self.labelled(value, path)
            token = self.package(module, value.__qualname__)
            return ("held", token, self.values.held(value, path)) if value.__closure__ else token
        if is_a(value, type):
            # Before Python 3.12 `make_dataclass` says that its classes are of `types`.
            made_here = module_name(value) == "types" and qualname_of(value) not in vars(types)
            if made_here or is_user_code(value) or not module_name(value):
                return self.labelled(value, path)
            token = self.package(module_name(value), qualname_of(value))
            virtual = self.registered(value)
            return ("virtual", token, [self.reference(one, path) for one in virtual]) if virtual else token
        if is_a(value, ModuleType):
            if is_user_module(title_of(value)):
                self.carried[id(value)] = value
            return self.module(value)
        self.meets_mock = self.meets_mock or (not is_plain(value) and is_mock(value))
        return self.values.token(value, path)

    def module(self, module: ModuleType) -> object:
        name = title_of(module)
        return ("module", name) if is_user_module(name) else self.package(name)
