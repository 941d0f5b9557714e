"""What a caller can see of a function or class: its signature, docstring, annotations and attributes.

A function that gets another one, or a class, or an instance of one, may read its docstring, its annotations, its name
and its signature: a schema is made of such, or a tool for a language model. So for arguments they count, as do those of
the class' methods and bases, and of all that annotations name. What only their code uses counts as it does elsewhere.
"""

from __future__ import annotations

import operator
import re
import sys
from types import FunctionType, MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Literal

from pcache.fingerprint.bytecode import facts_of, is_of_attrs
from pcache.fingerprint.fingerprint import Fingerprint
from pcache.fingerprint.parts import digest_of
from pcache.fingerprint.reflection import OF_CLASSES, docstring_of
from pcache.fingerprint.walk import Walk
from pcache.objects.class_memo import OfCode
from pcache.objects.lookup import attributes_of, bases_of, is_a, look, member, members_of, module_of, qualname_of
from pcache.system.interrupts import attempt, try_call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pcache.fingerprint.state import State

_OF_CLASSES = ("__orig_bases__", "__parameters__", "__type_params__")
_texts = operator.attrgetter("__doc__", "__name__", "__qualname__")
_annotations = operator.attrgetter("__annotations__")
_MAX_BRACKETS = 20
_find_names = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*").findall
_LAZY = sys.version_info >= (3, 14)  # annotations are code that runs when they are first read
_OWN = frozenset(_OF_CLASSES) | frozenset(
    ("__doc__", "__annotations__", "__annotate_func__", "__annotate__", "__annotations_cache__")
)


class Shown(Walk):
    """A walk that also notes what its root shows to callers, and what all that is met in there shows."""

    def __init__(self, state: State | None = None) -> None:
        super().__init__(state)
        self.functions: list[FunctionType] = []  # whose docstrings and names count
        self.annotated: list[FunctionType] = []
        self.dicts: list[dict[str, Any]] = []  # attributes and annotations, which count with all their keys
        self._showing = True
        self._shown: set[int] = set()
        self._waiting: list[tuple[Any, str, str]] = []

    def labelled(self, found: Any, path: str) -> str:
        label = super().labelled(found, path)
        if self._showing and id(found) not in self._shown:
            self._shown.add(id(found))
            self._waiting.append((found, label, path))
        return label

    def class_part(self, cls: type, label: str, path: str) -> None:
        self._follow(super().class_part, cls, label, path)

    def function_part(self, function: FunctionType, label: str, path: str) -> None:
        self._follow(super().function_part, function, label, path)

    def _follow(self, part: Any, found: Any, label: str, path: str) -> None:
        """Follow code, which shows nothing, then note what was deferred."""
        self._showing = False
        part(found, label, path)
        self._showing = True
        while self._waiting:
            shown, name, place = self._waiting.pop()
            tell = self._class if is_a(shown, type) else self._function
            self.parts.add(f"shown {name}", digest_of(tell(shown, place)), "")
        self._showing = False

    def _function(self, function: FunctionType, path: str) -> object:
        self.functions.append(function)
        held: list[object] = [function.__name__, function.__qualname__, function.__doc__]
        held.append(self._annotations(function, path))
        held.append(self.reference(getattr(function, "__type_params__", ()), path))
        attributes = vars(function)
        self.dicts.append(attributes)
        # Its counters and memos are not part of it.
        wanted = attributes.keys() - facts_of(function.__code__).counters
        if implementations_of(function):
            wanted &= {"__wrapped__"}
        return [*held, *self._named(attributes, sorted(wanted), path)]

    def _class(self, cls: type, path: str) -> object:
        members = members_of(cls)
        self.look(members, "__doc__")
        held: list[object] = [qualname_of(cls), self.reference(docstring_of(cls), f"{path}.__doc__")]
        held.append(self._annotations(cls, path))
        held += self._named(members, [name for name in _OF_CLASSES if name in members], path)
        for name in sorted(name for name in members if type(name) is str and name not in _OWN | OF_CLASSES):
            value = members[name]
            if is_a(value, FunctionType) and is_of_attrs(value.__code__):
                continue  # as the fields say
            if is_a(value, (FunctionType, type)) or member(type(value), "__get__") is not None:
                self.reference(value, f"{path}.{name}")  # shows what it is by itself
        for base in (type(cls), *bases_of(cls)[1:]):
            self.reference(base, path)
        return held

    def _named(self, members: Mapping[str, Any], names: list[str], path: str) -> list[object]:
        return [(name, self.reference(self.look(members, name), f"{path}.{name}")) for name in names]

    def _annotations(self, found: Any, path: str) -> object:
        annotations: Any
        if is_a(found, type) and not _LAZY:
            annotations = self.look(members_of(found), "__annotations__") if _has_own(found) else None
        else:
            annotations, is_known = attempt(getattr, found, "__annotations__", None)
            if not is_known:  # a name in it is not defined yet: use the code that would evaluate it
                return self.reference(try_call(getattr, found, "__annotate__", None)[0], f"{path}.__annotations__")
        if type(annotations) is not dict:
            return None
        self.dicts.append(annotations)
        if is_a(found, FunctionType):
            self.annotated.append(found)
        texts = {text for annotation in list(annotations.values()) for text in _texts_in(annotation)}
        space = found.__globals__ if is_a(found, FunctionType) else _module_names(found)
        meant = [self._meant(name, space) for name in sorted(set(_find_names(" ".join(texts))))]
        return [*self._named(annotations, list(annotations), f"{path}.__annotations__"), *meant]

    def _meant(self, dotted: str, space: Mapping[str, Any]) -> object:
        """The object that a name in a textual annotation means, as `get_type_hints` would find it."""
        value: Any = None
        for name in dotted.split("."):
            value = self.look(space, name)
            if name not in space or not is_a(value, ModuleType):
                return (dotted, self.reference(value, dotted)) if name in space else dotted
            space = attributes_of(value)
        return (dotted, self.reference(value, dotted))


def _has_own(cls: type) -> bool:
    return "__annotations__" in members_of(cls)


def _module_names(cls: type) -> Mapping[str, Any]:
    """The namespace of a class's module; empty if there is none."""
    return attributes_of(sys.modules.get(module_of(cls)))


def _texts_in(annotation: Any, depth: int = 0) -> Iterator[str]:
    """The texts in an annotation: itself, forward references, and those in brackets."""
    if type(annotation) is str:
        yield annotation
    elif type(text := look(annotation, "__forward_arg__")) is str:
        yield text
    elif look(annotation, "__origin__") is not Literal and depth < _MAX_BRACKETS:
        arguments = look(annotation, "__args__")
        for argument in arguments if type(arguments) is tuple else ():
            yield from _texts_in(argument, depth + 1)


def implementations_of(function: FunctionType) -> Mapping[type, Any] | None:
    """The implementations of a `singledispatch` function, by class, without its cache of lookups."""
    registry = vars(function).get("registry")
    made_there = function.__globals__.get("__name__") == "functools"
    return registry if made_there and isinstance(registry, MappingProxyType) else None


class ShownFingerprint(Fingerprint):
    """The fingerprint of an argument's code with its visible parts."""

    __slots__ = ("_annotated", "_dicts", "_functions")

    def __init__(self, code: FunctionType | type, ignored: tuple[str, ...] = ()) -> None:
        walks: list[Shown] = []  # of which the last one counts

        def make(state: State) -> Shown:
            walks.append(Shown(state))
            return walks[-1]

        super().__init__(make, lambda walk: walk.run(code), ignored=ignored)
        walk = walks[-1]
        self._functions = walk.functions, list(map(_texts, walk.functions))
        self._annotated = walk.annotated, list(map(_annotations, walk.annotated))
        self._dicts = walk.dicts, list(map(len, walk.dicts))

    def holds(self) -> bool:
        """Whether all that was read is unchanged (about 150 ns a function)."""
        functions, texts = self._functions
        annotated, annotations = self._annotated
        dicts, sizes = self._dicts
        return (
            list(map(_texts, functions)) == texts
            and all(map(operator.is_, map(_annotations, annotated), annotations))
            and list(map(len, dicts)) == sizes
            and super().holds()
        )


_known: dict[tuple[str, ...], OfCode[ShownFingerprint]] = {}  # by the patterns of globals that do not count


def shown_by(code: FunctionType | type, ignored: tuple[str, ...] = ()) -> ShownFingerprint:
    """The fingerprint of a function or class that is an argument, computed anew when a dependency changed."""
    memo = _known.get(ignored) or _known.setdefault(ignored, OfCode())
    known = memo.get(code)
    return known if known is not None and known.holds() else memo.keep(code, ShownFingerprint(code, ignored))
