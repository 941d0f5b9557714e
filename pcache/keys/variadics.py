"""What a function does with its `*args` and `**kwargs`, read from its bytecode.

Two calls that differ only in how they are written, or in the order of keywords, are one call where the function cannot
tell them apart. In doubt it can: code that is not one of the few forms below may do anything.
"""

from __future__ import annotations

import sys
from opcode import opname
from types import CodeType, FunctionType

from pcache.objects.bytecode import plain_operations
from pcache.objects.lookup import is_a, look, member
from pcache.startup import TYPE_CHECKING, Any, pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    Token = tuple[str, Any]

_VARIADIC = 0x04 | 0x08  # flags of code with `*args`, and with `**kwargs`
_SAYS_NOTHING = frozenset("PRECALL PUSH_NULL RESUME".split())
_LOCAL = pattern("(LOAD|STORE|DELETE)_FAST(_AND_CLEAR|_CHECK)?")
_SIMPLE = frozenset("LOAD_CONST LOAD_SMALL_INT LOAD_FAST LOAD_DEREF LOAD_GLOBAL".split())
_ITEM = frozenset("BINARY_SUBSCR STORE_SUBSCR DELETE_SUBSCR".split())
_TRUTH = frozenset("CONTAINS_OP TO_BOOL UNARY_NOT".split())
_BY_NAME = frozenset("get pop setdefault __contains__ __getitem__".split())
_SUBSCRIPT = 26  # from 3.14 on `a[b]` is one of the binary operators
_FRAMES = frozenset("locals vars eval exec f_locals currentframe _getframe".split())  # names that read local variables


def sees_order(code: CodeType, name: str) -> bool:
    """Whether code can see the order of `**name`: it does more with it than look names up."""
    if name in code.co_cellvars or _looks_at_frames(code):
        return True
    tokens = list(_tokens(code))
    return any(
        not _is_by_name(token, tokens[at + 1 : at + 3])
        for at, token in enumerate(tokens)
        if token[1] == name and "_FAST" in token[0]
    )


def _is_by_name(token: Token, following: list[Token]) -> bool:
    """`options["a"]`, `options.get("a")`, `"a" in options` and `if options`, and assignments of this form."""
    (kind, name), second = following[0], following[1][0] if len(following) > 1 else ""
    if token[0] != "LOAD_FAST":
        return False
    if kind == "LOAD_METHOD":
        return name in _BY_NAME
    if kind in _SIMPLE:
        return following[0] != token and second in _ITEM
    return kind in _TRUTH or kind.startswith("POP_JUMP")


def handed_on(wrapper: Any) -> Any:
    """The function that a wrapper calls with exactly its own arguments; None if it may do anything else with them.

    It was noted by `functools.wraps`, or the wrapper captures it or has it as an attribute, and `*args` and `**kwargs`
    are used only in calls `wrapped(*args, **kwargs)`. Parameters before these have to be passed on first, and may be
    used otherwise as well.
    """
    function = wrapper if is_a(wrapper, FunctionType) else member(type(wrapper), "__call__")
    if not is_a(function, FunctionType):
        return None
    code, wrapped = function.__code__, look(wrapper, "__wrapped__")
    itself = code.co_varnames[:1] if function is not wrapper else ()
    variables = code.co_varnames[len(itself) : code.co_argcount + 2]
    first = variables[:-2]
    if (
        wrapped is None
        or code.co_flags & _VARIADIC != _VARIADIC
        or code.co_posonlyargcount
        or code.co_kwonlyargcount
        or function.__defaults__
        or not {*itself, *variables}.isdisjoint(code.co_cellvars)
        or _looks_at_frames(code)
    ):
        return None
    tokens = list(_tokens(code))
    call = _call_of(variables)
    inside: set[int] = set()
    names = {*itself}  # names by which `wrapped` is reached
    for at in range(1, len(tokens)):
        if tokens[at : at + len(call)] == call and _calls(tokens[:at], wrapper, function, itself) is wrapped:
            inside.update(range(at, at + len(call)))
            names.add(tokens[at - 1][1])
    for at, (kind, name) in enumerate(tokens):
        if "_FAST" in kind and name in variables and (kind != "LOAD_FAST" or (at not in inside and name not in first)):
            return None
        if kind.startswith(("STORE", "DELETE")) and name in names:
            return None  # something else may be called then
    return wrapped if inside else None


def _calls(before: list[Token], wrapper: Any, function: Any, itself: tuple[str, ...]) -> Any:
    """The object that was loaded last: a captured value, or an attribute of the object whose method a function is."""
    kind, name = before[-1]
    if kind == "LOAD_DEREF" and name in function.__code__.co_freevars:
        cell = function.__closure__[function.__code__.co_freevars.index(name)]
        return look(cell, "cell_contents")
    if kind == "LOAD_ATTR" and before[-2:-1] == [("LOAD_FAST", *itself)]:
        return look(wrapper, name)
    return None


def _call_of(variables: tuple[str, ...]) -> list[Token]:
    """The operations after the function in `function(first, *args, **kwargs)`."""
    *first, args, kwargs = variables
    call: list[Token] = [("LOAD_FAST", name) for name in first]
    if first:
        last = ("LIST_TO_TUPLE", 0) if sys.version_info < (3, 12) else ("CALL_INTRINSIC_1", 6)
        call += [("BUILD_LIST", len(first)), ("LOAD_FAST", args), ("LIST_EXTEND", 1), last]
    else:
        call.append(("LOAD_FAST", args))
    return [*call, ("BUILD_MAP", 0), ("LOAD_FAST", kwargs), ("DICT_MERGE", 1), ("CALL_FUNCTION_EX", 1)]


def _looks_at_frames(code: CodeType) -> bool:
    nested = (value for value in code.co_consts if isinstance(value, CodeType))
    return not _FRAMES.isdisjoint(code.co_names) or any(map(_looks_at_frames, nested))


def _tokens(code: CodeType) -> Iterator[Token]:
    """The operations of code by name, each with its variable, attribute or number."""
    local = code.co_varnames
    cells = (*local, *(name for name in code.co_cellvars if name not in local), *code.co_freevars)
    for operation, argument in zip(*plain_operations(code.co_code), strict=True):
        name = opname[operation]
        if name in _SAYS_NOTHING:
            continue
        if _LOCAL.fullmatch(name):
            yield name.removesuffix("_CHECK"), cells[argument]
        elif name.endswith(("_DEREF", "_CLOSURE")):
            yield name, cells[argument]
        elif name == "LOAD_METHOD":
            yield name, code.co_names[argument]
        elif name == "LOAD_ATTR" and sys.version_info >= (3, 12):
            yield "LOAD_METHOD" if argument & 1 else name, code.co_names[argument >> 1]
        elif name == "BINARY_OP" and argument == _SUBSCRIPT:
            yield "BINARY_SUBSCR", 0
        elif name in ("LOAD_ATTR", "STORE_ATTR"):
            yield name, code.co_names[argument]
        else:
            yield name, argument
