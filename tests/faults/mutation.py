"""Single edits of pcache's own source: each must make a test fail, or is listed with a reason.

A mutant is a module with one part of its syntax tree replaced: a comparison reversed or moved by one, a condition made
constant, an operator swapped, a number, string or flag changed, an argument, statement, lock or exception type left
out. Type annotations, docstrings and texts for users are not changed. `benchmarks/mutants.py` runs the mutants.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

LEFT = Path(__file__).with_name("mutants_left.txt")

TURNED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
OPPOSITES = {"any": "all", "all": "any", "min": "max", "max": "min"}
TEXT = re.compile(r"[a-z](,|:| \()? [a-z]|[a-z] $|^ [a-z]")  # words for people
# Says nothing at run time, or only on another platform, or would send signals to whatever process has that number.
UNTOUCHED = re.compile(r"(cast|TypeVar|getattr\(os, |os\.kill)")
# Nothing at all works without the call.
NEEDED = re.compile(r"(len|range|iter|re\.compile|Struct|make_keyring|_?[A-Z]\w*(Entry|Error|Miss|Long|Deep))$")
BODIES = ("body", "orelse", "finalbody", "handlers", "cases")


class Mutant(NamedTuple):
    """One edit: of which function, the line before and after it, and the text of the whole module with it."""

    where: str
    before: str
    after: str
    text: str

    @property
    def name(self) -> tuple[str, str, str]:
        """An id that is unique within the module and does not depend on line numbers."""
        return self.where, self.before, self.after


class Listed(NamedTuple):
    """A mutant in a list, and a note: why no test needs to notice it, or which test has to."""

    where: str
    before: str
    after: str
    note: str


def mutants(module: str, source: str, only: str = "") -> list[Mutant]:
    """All mutants of a module, each once, or those that have a text in their place or lines."""
    tree = ast.parse(source)
    found: dict[str, Mutant] = {ast.unparse(tree): Mutant(f"{module}:", "", "", source)}
    for where, statement, holder, field, index, new in _edits(tree, f"{module}:"):
        place = getattr(holder, field)
        old = place if index is None else place[index]
        before = _line(statement)
        _put(holder, field, index, new)
        after = _line(new if old is statement else statement)
        if only in f"{where}\n{before}\n{after}":  # the text of the module takes longer than all the rest
            text = ast.unparse(ast.fix_missing_locations(tree))
            found.setdefault(text, Mutant(where, before, after, text))
        _put(holder, field, index, old)
    return list(found.values())[1:]


def read_edits(path: Path) -> list[Listed]:
    """A list of mutants: place, line before, line after and note, with a blank line between; "#" begins a comment."""
    found = []
    for block in re.split(r"\n\n+", re.sub(r"(?m)^#.*\n", "", path.read_text()).strip()):
        where, before, after, *note = block.splitlines() or ["", "- ", "+ "]
        if not before.startswith("- ") or not after.startswith("+ "):
            raise ValueError(f"not a mutant: {block}")
        found.append(Listed(where, before[2:], after[2:], " ".join(note)))
    return [edit for edit in found if edit.where]


def _put(holder: ast.AST, field: str, index: int | None, value: Any) -> None:
    if index is None:
        setattr(holder, field, value)
    else:
        getattr(holder, field)[index] = value


def _line(node: ast.AST) -> str:
    """A statement without what is below it, as one line."""
    bare: Any = copy.copy(node)
    for field in BODIES:
        if getattr(bare, field, None):
            setattr(bare, field, [ast.Expr(ast.Constant(...))] if field == "body" else [])
    text = ast.unparse(bare)
    return re.sub(r"\s*\n\s*", " ", text).removesuffix(" ...").removesuffix(":")


Edit = tuple[str, ast.AST, ast.AST, str, int | None, ast.AST]


def _edits(node: ast.AST, where: str, statement: ast.AST | None = None) -> Iterator[Edit]:
    """Every replacement of one node below `node`: its statement, its place in the tree, and the new node."""
    for field, index, child in _children(node):
        if _is_untouched(node, field, child):
            continue
        named = isinstance(child, (ast.FunctionDef, ast.ClassDef))
        inside = f"{where}.{child.name}".replace(":.", ":") if named else where
        line = child if isinstance(child, (ast.stmt, ast.excepthandler)) else statement
        for new in _replacements(node, field, child):
            yield inside, line or child, node, field, index, new
        if not _is_number(child):
            yield from _edits(child, inside, line)


def _children(node: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield field, None, value
        elif isinstance(value, list):
            yield from ((field, index, item) for index, item in enumerate(value) if isinstance(item, ast.AST))


def _is_untouched(node: ast.AST, field: str, child: ast.AST) -> bool:
    """Whether a part is for type checkers or readers, or too dangerous to change."""
    if field in ("annotation", "returns", "ctx", "op", "ops", "keywords") and not isinstance(child, ast.keyword):
        return True
    if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
        return True
    if isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) == "__slots__":
        return True
    if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
        return True  # a docstring
    if isinstance(child, ast.IfExp) and ast.unparse(child.test).startswith("hasattr(os, "):
        return True  # for another platform
    if isinstance(child, ast.JoinedStr):
        return any(_is_text(part) for part in child.values)
    return _is_text(child) or (isinstance(child, ast.Call) and bool(UNTOUCHED.match(ast.unparse(child))))


def _is_number(node: ast.AST) -> bool:
    """Whether this is a number that is written as a sum, a product or a power of numbers."""
    return isinstance(node, ast.BinOp) and all(
        isinstance(side, ast.Constant) or _is_number(side) for side in (node.left, node.right)
    )


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(TEXT.search(node.value))


def _replacements(parent: ast.AST, field: str, node: ast.AST) -> Iterator[ast.AST]:
    """The replacements of a node."""
    match node:
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete() | ast.Return(None):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
    match node:
        case ast.Continue() | ast.Break():
            yield ast.Pass()
            yield ast.Break() if isinstance(node, ast.Continue) else ast.Continue()
        case ast.With():
            yield ast.If(ast.Constant(True), node.body, [])
        case ast.Return(value) if value is not None and not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.AugAssign(target, op, value):
            yield ast.AugAssign(target, SWAPPED[type(op)](), value)
        case ast.ExceptHandler(ast.Tuple(kinds), name, body):
            for kind in kinds:
                rest = ast.Tuple([other for other in kinds if other is not kind], ast.Load())
                yield ast.ExceptHandler(rest, name, body)
        case ast.ExceptHandler(kind, name, body) if kind is not None:
            yield ast.ExceptHandler(ast.Tuple([], ast.Load()), name, body)
            if ast.unparse(kind) == "BaseException":
                yield ast.ExceptHandler(ast.Name("Exception", ast.Load()), name, body)
        case ast.FunctionDef(decorator_list=[decorator, *_]) if ast.unparse(decorator) != "property":
            bare = copy.copy(node)
            bare.decorator_list = []
            yield bare
        case ast.expr():
            yield from _expressions(parent, field, node)


def _expressions(parent: ast.AST, field: str, node: ast.expr) -> Iterator[ast.expr]:
    if field == "test" or (isinstance(parent, ast.comprehension) and field == "ifs"):
        yield from (ast.Constant(value) for value in (True, False))
    match node:
        case ast.Compare(left, operators, rest):
            for at, operator in enumerate(operators):
                for new in TURNED[type(operator)]:
                    yield ast.Compare(left, [*operators[:at], new(), *operators[at + 1 :]], rest)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
            for value in values:
                rest = [other for other in values if other is not value]
                yield ast.BoolOp(operator, rest) if len(rest) > 1 else rest[0]
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.BinOp() if _is_number(node):  # twice or half as much; one more of it is no limit of another kind
            yield from (ast.BinOp(node, operator, ast.Constant(2)) for operator in (ast.Mult(), ast.FloorDiv()))
        case ast.BinOp(left, operator, right):
            yield ast.BinOp(left, SWAPPED[type(operator)](), right)
            if isinstance(operator, (ast.BitOr, ast.BitAnd)):
                yield from (left, right)
        case ast.Constant(value):
            yield from map(ast.Constant, _constants(value))
        case ast.IfExp(_, body, otherwise):
            yield from (body, otherwise)
        case ast.Subscript(value, ast.Slice(lower, upper)) if isinstance(node.ctx, ast.Load):
            if lower is not None:
                yield ast.Subscript(value, ast.Slice(None, upper), ast.Load())
            if upper is not None:
                yield ast.Subscript(value, ast.Slice(lower, None), ast.Load())
        case ast.Tuple(items) if isinstance(parent, (ast.Call, ast.Compare)) and len(items) > 1:
            for item in items:
                yield ast.Tuple([other for other in items if other is not item], ast.Load())
        case ast.Name(name) if name in OPPOSITES:
            yield ast.Name(OPPOSITES[name], ast.Load())
        case ast.Lambda(arguments):
            yield ast.Lambda(arguments, ast.Constant(None))
        case ast.Call(function, arguments, keywords):
            yield from _calls(function, arguments, keywords)


def _calls(function: ast.expr, arguments: list[ast.expr], keywords: list[ast.keyword]) -> Iterator[ast.expr]:
    """A call with one argument removed, or the object that a method is called on."""
    for keyword in keywords:
        yield ast.Call(function, arguments, [other for other in keywords if other is not keyword])
    if len(arguments) > 1:
        yield ast.Call(function, arguments[:-1], keywords)
    if len(arguments) == 1 and not keywords and not NEEDED.match(ast.unparse(function)):
        yield arguments[0]
    if isinstance(function, ast.Attribute) and not arguments and not keywords and hasattr(str, function.attr):
        yield function.value  # text.strip() without strip


def _constants(value: object) -> list[Any]:
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, value - 1]
        case str():
            return [f"{value}X", ""] if value else ["X"]
        case bytes():
            return [value + b"X", b""] if value else [b"X"]
    return []
