"""The code a function's result depends on, as a digest.

Taken from code objects, not from source text: the text may have changed since the import, two lambdas share a line and
a REPL has none. Comments, blank lines, line numbers, docstrings and file names play no part. Constants are canonical: a
set literal in a body is a frozenset whose order changes with the hash seed. What a function captures (its closure) is
part of each key instead, since it can change between two calls.

Fingerprints differ between Python versions, because bytecode does.
"""

from __future__ import annotations

import sys
from opcode import EXTENDED_ARG, hasconst
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from pcache.culprit import attempt
from pcache.keys import encode, module_name, register_reducer, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.keys import Encoder

_HAS_CONST = frozenset(hasconst)
_MEMO_SIZE = 4096  # code objects and classes remembered; those made anew at each call must not pile up
_code_digests: dict[CodeType, bytes] = {}
_class_digests: dict[type, tuple[list[tuple[type, dict[str, Any]]], bytes]] = {}
_CONSTANT_TYPES = (type(None), bool, int, float, complex, str, bytes, type(...), slice)


def code_digest(code: CodeType) -> bytes:
    """Return the digest of what `code` does, 32 bytes; nested code counts."""
    try:
        return _code_digests[code]
    except KeyError:
        if len(_code_digests) >= _MEMO_SIZE:
            _code_digests.clear()
        result = _code_digests[code] = blake3(b"".join(encode(_code_content(code)))).digest()
        return result


def _code_content(code: CodeType) -> tuple[Any, ...]:
    """What decides the behaviour of a code object, in types that have a canonical encoding."""
    return (
        _instructions(code),
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        code.co_flags & 0xFFFF,  # CO_HAS_DOCSTRING lies above
        code.co_exceptiontable,
    )


def _instructions(code: CodeType) -> list[Any]:
    """The bytecode, each constant in place of its index: a docstring takes an index and would shift the others."""
    content: list[Any] = []
    plain = bytearray()
    argument = 0
    body = code.co_code
    for at in range(0, len(body), 2):
        operation = body[at]
        argument = argument << 8 | body[at + 1]
        if operation == EXTENDED_ARG:
            continue
        if operation in _HAS_CONST:
            content += (bytes(plain), operation, _constant(code.co_consts[argument]))
            plain.clear()
        else:
            plain.append(operation)
            plain += argument.to_bytes(4, "little")
        argument = 0
    content.append(bytes(plain))
    return content


def _constant(value: object) -> object:
    if isinstance(value, CodeType):
        return ("code", _code_content(value))
    if isinstance(value, tuple):
        return ("tuple", [_constant(item) for item in value])
    return value


def of_callable(function: Callable[..., Any]) -> bytes:
    """Return the fingerprint of a function; of any other callable, the digest of its value as an argument."""
    if isinstance(function, FunctionType):
        return code_digest(function.__code__)
    return blake3(b"".join(encode(function))).digest()


def of_class(cls: type) -> bytes:
    """Return the digest of what a class of the user defines: its methods, plain attributes, bases.

    Computed anew when the class or one of its bases was changed since.
    """
    known = _class_digests.get(cls)
    if known is not None:
        snapshots, result = known
        # Comparing dicts of identical values is an identity check for each (20 ns an attribute).
        same, _ = attempt(all, (vars(base) == snapshot for base, snapshot in snapshots))
        if same:
            return result
    if len(_class_digests) >= _MEMO_SIZE:
        _class_digests.clear()
    result = blake3(b"".join(encode(_class_content(cls, ())))).digest()
    _class_digests[cls] = [(base, dict(vars(base))) for base in cls.__mro__ if is_user_code(base)], result
    return result


def _class_content(cls: type, enclosing: tuple[type, ...]) -> tuple[Any, ...]:
    members = [
        (name, _member_content(member, (*enclosing, cls)))
        for name, member in sorted(vars(cls).items())
        if name not in _INCIDENTAL and not name.startswith("_abc_")
    ]
    bases = [
        _class_content(base, (*enclosing, cls)) if is_user_code(base) and base not in enclosing else type_name(base)
        for base in cls.__bases__
    ]
    return (type_name(cls), bases, members)


# Set by the class statement or by its first use; says nothing about behaviour that the members do not say.
_INCIDENTAL = frozenset(
    "__doc__ __module__ __qualname__ __dict__ __weakref__ __firstlineno__ __static_attributes__ __annotations__"
    " __annotate__ __annotate_func__ __annotations_cache__ __type_params__ __parameters__ __orig_bases__"
    " _value_repr_ __match_args__ __slotnames__".split()
)


def _member_content(member: object, enclosing: tuple[type, ...]) -> object:
    """What one attribute of a class contributes; of values that are neither code nor plain, their type alone."""
    if isinstance(member, (staticmethod, classmethod)):
        return (type(member).__name__, _member_content(member.__func__, enclosing))
    if isinstance(member, property):
        return ("property", [_member_content(part, enclosing) for part in (member.fget, member.fset, member.fdel)])
    if isinstance(member, FunctionType):
        return ("function", code_digest(member.__code__), _plain(member.__defaults__), _plain(member.__kwdefaults__))
    if isinstance(member, type):
        return (
            _class_content(member, enclosing) if is_user_code(member) and member not in enclosing else member.__name__
        )
    # Cached functions and functools wrappers keep the function in one attribute, cached_property in the other.
    wrapped = getattr(member, "__wrapped__", None) or getattr(member, "func", None)
    if isinstance(wrapped, FunctionType):
        return ("wrapped", type_name(type(member)), _member_content(wrapped, enclosing))
    return _plain(member)


def _plain(value: object) -> object:
    if isinstance(value, (tuple, frozenset)):
        parts = [_plain(part) for part in value]
        return (type(value).__name__, parts if isinstance(value, tuple) else sorted(map(repr, parts)))
    if isinstance(value, dict) and type(value) is dict:
        return ("dict", [(_plain(key), _plain(item)) for key, item in value.items()])
    return value if type(value) in _CONSTANT_TYPES else ("a", type_name(type(value)))


def _reduce_function(function: FunctionType, encoder: Encoder) -> object:
    """A function as an argument: the user's by name, code, defaults and captured values, any other by name."""
    if function.__closure__ is None and not is_user_code(function) and "<" not in function.__qualname__:
        return NotImplemented
    if (depth := encoder.depth_of(function)) is not None:
        return ("cycle", depth)
    captured = [_content_of(cell) for cell in function.__closure__ or ()]
    return (
        module_name(function),
        function.__qualname__,
        code_digest(function.__code__),
        encoder.nested((function.__defaults__, function.__kwdefaults__, captured), function),
    )


def captured_values(function: Callable[..., Any], itself: object) -> tuple[Any, ...]:
    """What the closure of `function` holds now, without the function's own name for recursion (`itself`)."""
    cells = getattr(function, "__closure__", None) or ()
    return tuple(value for cell in cells if (value := _content_of(cell)) is not itself)


def _content_of(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return ("empty cell",)


def _reduce_class(cls: type, _encoder: Encoder) -> object:
    """A class, as an argument or as that of an instance: the user's by name and what it defines, others by name."""
    if not is_user_code(cls) and "<" not in cls.__qualname__:
        return NotImplemented
    return (type_name(cls), of_class(cls))


_user_modules: dict[str, bool] = {}


def is_user_code(obj: Any) -> bool:
    """Whether a function or class lies outside the standard library and outside installed packages."""
    name = getattr(obj, "__module__", None)
    if not isinstance(name, str):
        return False
    try:
        return _user_modules[name]
    except KeyError:
        verdict = _user_modules[name] = _is_user_module(name)
        return verdict


def _is_user_module(name: str) -> bool:
    root = name.partition(".")[0]
    if root in ("__main__", "__mp_main__"):
        return True
    if root in sys.stdlib_module_names or root == "pcache":
        return False
    path = getattr(sys.modules.get(name), "__file__", None) or ""
    # Extension modules and modules without a file have no Python code of the user's.
    return "site-packages" not in path and "dist-packages" not in path and path.endswith((".py", ".pyc"))


register_reducer(FunctionType, _reduce_function)
register_reducer(type, _reduce_class)
