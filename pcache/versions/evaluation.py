"""The values that expressions have by themselves: literals, names of such, arithmetic, containers of them.

Nothing of the program runs: what it calls, compares or loops over has no value here, and results are bounded in size.
"""

from __future__ import annotations

import importlib
import operator
import sys
from importlib.util import find_spec

from pcache.objects.user_code import is_user_file
from pcache.startup import TYPE_CHECKING, Any
from pcache.versions.names import Place
from pcache.versions.syntax import dotted, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pcache.versions.makers import Makers

_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "Div": operator.truediv,
    "FloorDiv": operator.floordiv,
    "Mod": operator.mod,
    "Pow": operator.pow,
    "BitOr": operator.or_,
    "BitAnd": operator.and_,
}
_UNARY: Mapping[str, Callable[[Any], Any]] = {
    "USub": operator.neg,
    "UAdd": operator.pos,
    "Not": operator.not_,
    "Invert": operator.invert,
}
# Of Python's own, and ours: they make a value of their arguments, and do nothing else.
_CONSTRUCTORS = frozenset(
    "builtins.frozenset builtins.set builtins.tuple builtins.list builtins.dict builtins.float builtins.str"
    " re.compile fractions.Fraction decimal.Decimal pathlib.Path pathlib.PurePosixPath"
    " datetime.date datetime.datetime datetime.timedelta datetime.time uuid.UUID"
    " pcache.File".split()
)
_NUMBERS = (int, float, complex)
_LARGE = 1 << 64  # numbers that are multiplied
_LONGEST = 10_000  # items and characters
_HIGHEST = 64  # exponent
_DEEPEST = 50


class NoValue(Exception):
    """An expression whose value is not known without running it."""


def evaluate(makers: Makers, module: str, node: Any, depth: int = 0) -> Any:
    """The value of an expression of a module; raises `NoValue`, or what an operation raises."""
    kind = kind_of(node)
    if depth > _DEEPEST:
        raise NoValue

    def inner(one: Any) -> Any:
        return evaluate(makers, module, one, depth + 1)

    if kind == "Constant":
        return node.value
    if kind in ("Tuple", "List", "Set"):
        return {"Tuple": tuple, "List": list, "Set": set}[kind](map(inner, node.elts))
    if kind == "Dict" and None not in node.keys:
        return dict(zip(map(inner, node.keys), map(inner, node.values), strict=True))
    if kind == "UnaryOp":
        return _UNARY[kind_of(node.op)](inner(node.operand))
    if kind == "BinOp" and kind_of(node.op) in _ARITHMETIC:
        return _computed(kind_of(node.op), inner(node.left), inner(node.right))
    if kind == "JoinedStr":
        return "".join(_formatted(one, inner) for one in node.values)
    if kind == "Call":
        return _constructed(makers, module, node, inner)
    if kind in ("Name", "Attribute"):
        return _named(makers, module, node, depth)
    raise NoValue


def _named(makers: Makers, module: str, node: Any, depth: int) -> Any:
    """The value of a constant of the user's."""
    place, rest = makers.resolve(module, tuple(dotted(node).split(".")))
    is_constant = isinstance(place, Place) and place.name and not rest
    maker = makers.of(f"constant {place.module}:{place.name}") if isinstance(place, Place) and is_constant else None
    if maker is None or maker.value is None or not maker.is_alone:
        raise NoValue
    return evaluate(makers, maker.module, maker.value, depth + 1)


def _constructed(makers: Makers, module: str, node: Any, inner: Callable[[Any], Any]) -> Any:
    name = makers.meaning(module, tuple(dotted(node.func).split(".")))
    if name not in _CONSTRUCTORS or any(one.arg is None for one in node.keywords):
        raise NoValue
    module, _, own = name.rpartition(".")
    if module not in sys.modules and is_user_file(getattr(find_spec(module), "origin", None) or ""):
        raise NoValue  # a file of that name lies where this program looks first
    given = {one.arg: inner(one.value) for one in node.keywords}
    return getattr(importlib.import_module(module), own)(*map(inner, node.args), **given)


def _computed(name: str, left: Any, right: Any) -> Any:
    if not (isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS)):
        sizes = [one if isinstance(one, int) else len(one) for one in (left, right)]
        if name not in ("Add", "Mult", "BitOr", "BitAnd") or abs(sizes[0] * sizes[1]) > _LONGEST:
            raise NoValue
    elif max(abs(left), abs(right)) > _LARGE or (name == "Pow" and abs(right) > _HIGHEST):
        raise NoValue
    return _ARITHMETIC[name](left, right)


def _formatted(node: Any, inner: Callable[[Any], Any]) -> str:
    if kind_of(node) == "Constant":
        return str(node.value)
    value = inner(node.value) if node.format_spec is None and node.conversion == -1 else None
    if not isinstance(value, str | int | float):
        raise NoValue
    return str(value)
