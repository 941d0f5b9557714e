"""What code that makes state takes from outside of the program.

Code alone does not say what `STATS = {"rate": float(sys.argv[1])}` starts with. The program's arguments count by value,
and so do the variables of the environment that such code names; what is read from files is not known, so that the
object counts by what it holds. So does one that other functions of its module set to what they are given.
"""

from __future__ import annotations

import os
import sys
from types import CodeType, FunctionType, ModuleType

from pcache.fingerprint.bytecode import facts_of
from pcache.fingerprint.dataflow import uses_of
from pcache.objects.lookup import attributes_of, bases_of, is_a, members_of, title_of
from pcache.objects.user_code import is_user_code, is_user_module
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

BUILDERS = frozenset(("__init__", "__new__", "__post_init__"))  # methods that build an instance
_ENVIRONMENT = frozenset(("environ", "getenv"))
_ARGUMENTS = frozenset(("argv", "parse_args", "parse_known_args"))
_READING = frozenset("open input stdin load fromfile loadtxt genfromtxt imread fetchall fetchone urlopen".split())
_MOST = 200  # functions that are looked at


T = TypeVar("T")


class Once(Protocol):
    """A memory of what was found, by any key."""

    def __call__(self, key: object, look: Callable[[], T]) -> T: ...


class Inputs(NamedTuple):
    """Values by the names under which `ignore=` knows them, and whether anything is read that is not known."""

    values: dict[str, Any]
    reads: bool


def inputs_of(code: CodeType, namespace: Mapping[str, Any], once: Once) -> Inputs:
    """What code, and the user's functions that it calls, take from outside.

    With `once` what was found before is not looked for again.
    """
    return once((code, id(namespace)), lambda: _inputs_of(code, namespace, once))


def _inputs_of(code: CodeType, namespace: Mapping[str, Any], once: Once) -> Inputs:
    names: set[str] = set()
    texts: set[str] = set()
    own: set[str] = set()  # names of the user's functions, whose code says what they do
    waiting: list[tuple[CodeType, Mapping[str, Any]]] = [(code, namespace)]
    seen: set[CodeType] = set()
    while waiting and len(seen) < _MOST:
        code, namespace = waiting.pop()
        if code not in seen:
            seen.add(code)
            names |= facts_of(code).names
            texts.update(_texts(code))
            for name, function in _called_by(code, namespace, once):
                own.add(name)
                waiting.append((function.__code__, function.__globals__))
    values: dict[str, Any] = {"sys:argv": getattr(sys, "argv", [])[1:]} if names & _ARGUMENTS else {}
    if names & _ENVIRONMENT:
        values |= {f"os:environ[{text}]": os.environ[text] for text in sorted(texts & os.environ.keys())}
    reads = any(name in _READING or name.startswith("read") for name in names - own)
    return Inputs(values, reads)


def set_elsewhere(namespace: Mapping[str, Any], name: str, known: Container[CodeType], once: Once) -> Inputs:
    """What functions of a module put into a global object, other than those whose code is on the way."""
    values: dict[str, Any] = {}
    reads = False
    for function in [one for one in list(namespace.values()) if type(one) is FunctionType]:
        code = function.__code__
        if function.__globals__ is namespace and _sets(code, name) and not _holds(code, known):
            inputs = inputs_of(code, namespace, once)
            values |= inputs.values
            takes = inputs.reads or bool(code.co_argcount + code.co_kwonlyargcount)
            reads = reads or (takes and _sets_anew(code, name))
    return Inputs(values, reads)


def _holds(code: CodeType, known: Container[CodeType]) -> bool:
    """Whether code is known, or makes a function that is: a decorator does what its wrapper does."""
    return code in known or any(_holds(one, known) for one in code.co_consts if isinstance(one, CodeType))


def _sets(code: CodeType, name: str) -> bool:
    """Whether code binds a global name, or changes what it means; code that does not mention it is not read."""
    if not _mentions(code, name):
        return False
    uses = uses_of(code)
    return any(path[:2] == ("global", name) for paths in (uses.bound, uses.changed, uses.filled) for path in paths)


def _sets_anew(code: CodeType, name: str) -> bool:
    """Whether code sets a global name, or something of what it means, otherwise than to count it up."""
    uses = uses_of(code)
    return any(path[:2] == ("global", name) and path not in uses.read for path in uses.bound | uses.filled)


def _mentions(code: CodeType, name: str) -> bool:
    return name in code.co_names or any(_mentions(one, name) for one in code.co_consts if isinstance(one, CodeType))


def _called_by(code: CodeType, namespace: Mapping[str, Any], once: Once) -> list[tuple[str, FunctionType]]:
    return once(("called", code, id(namespace)), lambda: list(_functions_of(code, namespace)))


def _functions_of(code: CodeType, namespace: Mapping[str, Any]) -> Iterator[tuple[str, FunctionType]]:
    """The user's functions that code may call, by name; of classes those that build an instance."""
    facts = facts_of(code)
    found = [(name, namespace[name]) for name in sorted(facts.global_names) if name in namespace]
    for _, module in list(found):
        if is_a(module, ModuleType) and is_user_module(title_of(module)):
            members = attributes_of(module)
            found += [(name, members[name]) for name in sorted(facts.names & members.keys())]
    for name, value in found:
        if is_a(value, FunctionType) and is_user_module(str(value.__globals__.get("__name__"))):
            yield name, value
        elif is_a(value, type) and is_user_code(value):
            yield from _methods_of(value)


def _methods_of(cls: type) -> Iterator[tuple[str, FunctionType]]:
    """The methods that build an instance of a user's class, and those whose names these mention."""
    members = {
        name: value for base in bases_of(cls)[::-1] if is_user_code(base) for name, value in members_of(base).items()
    }
    waiting, seen = list(BUILDERS & members.keys()), set(BUILDERS)
    while waiting:
        name = waiting.pop()
        if is_a(function := members[name], FunctionType):
            yield name, function
            more = facts_of(function.__code__).names & members.keys() - seen
            seen |= more
            waiting += more


def _texts(code: CodeType) -> Iterator[str]:
    for one in code.co_consts:
        if isinstance(one, str):
            yield one
        elif isinstance(one, CodeType):
            yield from _texts(one)
