"""What syntax trees of source files say: the names that statements make and use, and digests of what has an effect.

Nothing is run. Comments, docstrings, annotations of functions and line breaks play no part.
"""

from __future__ import annotations

from blake3 import blake3

from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = ("FunctionDef", "AsyncFunctionDef")
DEFINITIONS = (*FUNCTIONS, "ClassDef")
IMPORTS = ("Import", "ImportFrom")
_OWN_SCOPE = (*DEFINITIONS, "Lambda")
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
_UNWRITTEN = frozenset(("ctx", "kind", "type_comment", "returns"))
_BYTES = 8  # of a digest


def kind_of(node: Any) -> str:
    return type(node).__name__


def below(node: Any) -> list[Any]:
    """The nodes right below a node, and what else its fields hold."""
    fields = [getattr(node, field, None) for field in getattr(node, "_fields", ())]
    return [one for field in fields for one in (field if isinstance(field, list) else [field])]


def all_in(node: Any) -> Iterator[Any]:
    """A node and all below it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += below(node)


def blocks_of(statement: Any) -> list[Any]:
    """The statements in a statement, and the handlers of exceptions in it."""
    return [one for field in _BLOCKS for one in getattr(statement, field, None) or ()]


def is_of_the_program(statement: Any) -> bool:
    """Whether a statement is `if __name__ == "__main__":`."""
    nodes = all_in(statement.test) if kind_of(statement) == "If" else ()
    return any(kind_of(node) == "Name" and node.id == "__name__" for node in nodes)


def dotted(node: Any) -> str:
    """`module.function` as text; empty for anything else."""
    steps: list[str] = []
    while kind_of(node) == "Attribute":
        steps.append(node.attr)
        node = node.value
    return ".".join([node.id, *steps[::-1]]) if kind_of(node) == "Name" else ""


def _root(node: Any) -> str:
    """The name at the start of attributes, items and calls."""
    while kind_of(node) in ("Attribute", "Call", "Subscript", "Await", "Starred"):
        node = node.func if kind_of(node) == "Call" else node.value
    return node.id if kind_of(node) == "Name" else ""


def _flat(target: Any) -> list[Any]:
    return [one for item in target.elts for one in _flat(item)] if hasattr(target, "elts") else [target]


def names_in(statement: Any) -> tuple[set[str], set[str]]:
    """The names that a statement binds, and those whose meaning it changes or may change; its blocks aside."""
    kind = kind_of(statement)
    if kind in DEFINITIONS:  # `@app.route(...)` may change `app`
        called = [one.func if kind_of(one) == "Call" else one for one in statement.decorator_list]
        return {statement.name}, {_root(one) for one in called if kind_of(one) != "Name"} - {""}
    if kind in IMPORTS:
        return {one.asname or one.name.partition(".")[0] for one in statement.names} - {"*"}, set()
    if kind == "Expr":
        nodes = all_in(statement.value) if _root(statement.value) != "print" else ()
        return set(), {node.id for node in nodes if kind_of(node) == "Name"}
    if kind == "AnnAssign" and statement.value is None:
        return set(), set()
    targets = [*getattr(statement, "targets", ()), getattr(statement, "target", None)]
    targets += [one.optional_vars for one in getattr(statement, "items", ())]
    flat = [one for target in targets for one in _flat(target)]
    bound = {one.id for one in flat if kind_of(one) == "Name"}
    changed = {_root(one) for one in flat if kind_of(one) != "Name"} - {""}
    return (set(), bound | changed) if kind in ("AugAssign", "Delete") else (bound, changed)


def called_on(statement: Any) -> str:
    """The name whose method makes what a statement assigns: `P` in `S = P.add_subparsers()`; empty for any other."""
    call: Any = getattr(statement, "value", None) if kind_of(statement) == "Assign" else None
    return _root(call) if kind_of(call) == "Call" and kind_of(call.func) != "Name" else ""


def chains_in(nodes: list[Any]) -> list[tuple[str, ...]]:
    """The global names in syntax trees, each with the attributes that follow it."""
    found: dict[tuple[str, ...], None] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if kind_of(node) in (*FUNCTIONS, "Lambda"):
            own = _locals_of(node)
            inner = chains_in(node.body if isinstance(node.body, list) else [node.body])
            found |= {chain: None for chain in inner if chain[0] not in own}
            waiting += [*getattr(node, "decorator_list", ()), *node.args.defaults, *node.args.kw_defaults]
        elif name := dotted(node):
            if kind_of(node.ctx) == "Load":
                found[tuple(name.split("."))] = None
        else:
            waiting += below(node)
    return list(found)


def parameters_of(function: Any) -> list[str]:
    """The parameters of a function, in order."""
    given = function.args
    listed = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return [one.arg for one in listed if one is not None]


def defaults_of(function: Any) -> dict[str, Any]:
    """The defaults of a function's parameters."""
    given = function.args
    positional = [one.arg for one in (*given.posonlyargs, *given.args)]
    found = dict(zip(positional[len(positional) - len(given.defaults) :], given.defaults, strict=True))
    named = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    return found | {one.arg: value for one, value in named if value is not None}


def _locals_of(function: Any) -> set[str]:
    """The parameters and variables of a function, but not of those inside of it."""
    own, outer = set(parameters_of(function)), set[str]()
    waiting = list(function.body) if isinstance(function.body, list) else []
    while waiting:
        node = waiting.pop()
        if kind_of(node) == "Global":
            outer.update(node.names)
        elif kind_of(node) == "Name" and kind_of(node.ctx) == "Store":
            own.add(node.id)
        elif kind_of(node) not in _OWN_SCOPE:
            waiting += below(node)
    return own - outer


def written(nodes: list[Any], *, bodies: bool = False) -> str:
    """A digest of syntax trees, without what has no effect; of functions only the name, unless `bodies` count."""
    return digest_of_text("\n".join(piece for node in nodes for piece in _pieces(node, bodies=bodies)))


def in_full(nodes: list[Any]) -> str:
    """Syntax trees as text, with docstrings and annotations."""
    return " ".join(kind_of(one) if hasattr(one, "_fields") else repr(one) for node in nodes for one in all_in(node))


def digest_of_text(text: str) -> str:
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest(_BYTES)


def _pieces(node: Any, *, bodies: bool) -> Iterator[str]:
    kind = kind_of(node)
    if isinstance(node, list):
        yield "["
        for one in node:
            if kind_of(one) != "Pass" and not (kind_of(one) == "Expr" and kind_of(one.value) == "Constant"):
                yield from _pieces(one, bodies=bodies)
        yield "]"
    elif kind in FUNCTIONS:
        yield f"{kind} {node.name}"
        for part in (node.decorator_list, *((node.args, node.body) if bodies else ())):
            yield from _pieces(part, bodies=bodies)
    elif kind == "arg":
        yield f"arg {node.arg}"
    elif kind == "Constant":
        yield f"{kind_of(node.value)} {hex(node.value) if type(node.value) is int else repr(node.value)}"
    elif hasattr(node, "_fields"):
        yield f"{kind}("
        for field in node._fields:
            if field not in _UNWRITTEN:
                yield from _pieces(getattr(node, field, None), bodies=bodies)
        yield ")"
    else:
        yield repr(node)
