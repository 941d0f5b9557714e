"""The values that expressions have by themselves: literals, names of such, arithmetic and containers of them.

Nothing of the program runs: what calls, compares or loops has no value here, and results are bounded in size.
"""

from __future__ import annotations

import operator

from pcache.startup import TYPE_CHECKING, Any
from pcache.versions.makers import Place
from pcache.versions.sources import kind_of

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
_MAKERS: Mapping[str, Callable[..., Any]] = {
    "frozenset": frozenset,
    "set": set,
    "tuple": tuple,
    "list": list,
    "dict": dict,
}
_NUMBERS = (int, float, complex)
_LARGE = 1 << 64  # numbers that are multiplied
_MOST_ITEMS = 10_000
_HIGHEST = 64  # exponent
_DEEPEST = 50


class NoValue(Exception):
    """An expression whose value is not known without running it."""


def evaluate(makers: Makers, module: str, node: Any, depth: int = 0) -> Any:
    """The value of an expression of a module; raises `NoValue`."""
    kind = kind_of(node)
    if depth > _DEEPEST:
        raise NoValue

    def inner(one: Any) -> Any:
        return evaluate(makers, module, one, depth + 1)

    if kind == "Constant":
        return node.value
    if kind in ("Tuple", "List", "Set"):
        items = [inner(one) for one in node.elts]
        return _tried({"Tuple": tuple, "List": list, "Set": set}[kind], items)
    if kind == "Dict" and None not in node.keys:
        return _tried(dict, [(inner(key), inner(value)) for key, value in zip(node.keys, node.values, strict=True)])
    if kind == "UnaryOp":
        return _tried(_UNARY[kind_of(node.op)], inner(node.operand))
    if kind == "BinOp" and kind_of(node.op) in _ARITHMETIC:
        return _computed(kind_of(node.op), inner(node.left), inner(node.right))
    if kind == "JoinedStr":
        return "".join(_formatted(one, inner) for one in node.values)
    if kind == "Call" and kind_of(node.func) == "Name" and node.func.id in _MAKERS and not node.keywords:
        if makers.place_of(module, node.func.id) is None:
            return _tried(_MAKERS[node.func.id], *map(inner, node.args))
    if kind in ("Name", "Attribute"):
        return _named(makers, module, node, depth)
    raise NoValue


def _named(makers: Makers, module: str, node: Any, depth: int) -> Any:
    """The value of a constant of the user's."""
    steps: list[str] = []
    while kind_of(node) == "Attribute":
        steps.append(node.attr)
        node = node.value
    place, rest = makers.resolve(module, (node.id, *steps[::-1])) if kind_of(node) == "Name" else (None, ())
    is_constant = isinstance(place, Place) and place.name and not rest
    maker = makers.of(f"constant {place.module}:{place.name}") if is_constant else None
    if maker is None or maker.value is None or not maker.is_alone:
        raise NoValue
    return evaluate(makers, maker.module, maker.value, depth + 1)


def _computed(name: str, left: Any, right: Any) -> Any:
    numbers = isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS)
    if numbers and max(abs(left), abs(right)) > _LARGE:
        raise NoValue
    if name == "Pow" and not (numbers and abs(right) <= _HIGHEST):
        raise NoValue
    if name == "Mod" and not numbers:
        raise NoValue
    if name == "Mult" and not numbers:
        sizes = [
            one if isinstance(one, int) else len(one) if hasattr(one, "__len__") else _LARGE for one in (left, right)
        ]
        if abs(sizes[0] * sizes[1]) > _MOST_ITEMS:
            raise NoValue
    return _tried(_ARITHMETIC[name], left, right)


def _formatted(node: Any, inner: Callable[[Any], Any]) -> str:
    if kind_of(node) == "Constant":
        return str(node.value)
    value = inner(node.value) if node.format_spec is None and node.conversion == -1 else None
    if not isinstance(value, str | int | float):
        raise NoValue
    return str(value)


def _tried(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise NoValue from error
