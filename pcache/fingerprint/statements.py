"""The statements of a module that make a name, found in its syntax tree.

They bind the name, or do something with what it means while the module is loaded.
"""

from __future__ import annotations

from pcache.fingerprint.uses import CHANGING_METHODS
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import _ast


def that_make(body: list[Any], name: str) -> list[_ast.stmt]:
    """The statements that bind a name, or mention it when the module is loaded.

    Also those that mention another name of the same object (`cursor = CONNECTION.cursor()`), or call a function that
    mentions one. Statements that run only in the main program are left out: others that import the module have the same
    object.
    """
    names, count = {name}, 0
    body = [one for one in body if not (_is_of_the_program(one) or _is_shown(one))]
    while len(names) > count:
        count = len(names)
        for statement in body:
            kind = type(statement).__name__
            if kind == "Assign" and _root(statement.value) in names:
                names.update(target.id for target in statement.targets if type(target).__name__ == "Name")
            elif kind == "FunctionDef" and not statement.decorator_list and _mentions(statement, names, deep=True):
                names.add(statement.name)
    return [one for one in body if _mentions(one, names) and (_name_of(one) in (None, name) or _is_used(one, names))]


def that_change(body: list[Any], name: str) -> list[_ast.stmt]:
    """The statements that change what a name means, also where they get it from a function (`conf().rate = 2`).

    A class may keep its only object itself, in a base or in its metaclass, so its call is such a function, too.
    """
    getters = {name} | {one.name for one in body if _hands_out(one, name)}
    others = getters | {target for one in body for target in _names_given(one, getters)} - {name}

    def sets(statement: Any) -> bool:
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        if any(_root(one) in others and type(one).__name__ != "Name" for target in targets for one in _flat(target)):
            return True
        call: Any = getattr(statement, "value", None) if type(statement).__name__ == "Expr" else None
        return type(call).__name__ == "Call" and type(call.func).__name__ == "Attribute" and _root(call) in others

    return [one for one in body if _changes(one, name) or (sets(one) and not _is_of_the_program(one))]


def _hands_out(statement: Any, name: str) -> bool:
    """Whether a statement defines a function that mentions a name, or a class with such a base or metaclass."""
    kind = type(statement).__name__
    if kind == "ClassDef":
        return any(_mentions(one, {name}) for one in (*statement.bases, *statement.keywords))
    return kind == "FunctionDef" and _mentions(statement, {name}, deep=True)


def _names_given(statement: Any, getters: set[str]) -> list[str]:
    """The names that a statement gives to what one of some functions returns: `conf = Conf()`."""
    value: Any = getattr(statement, "value", None)
    if type(statement).__name__ != "Assign" or type(value).__name__ != "Call":
        return []
    called = getattr(value.func, "id", None)
    return [one.id for one in statement.targets if type(one).__name__ == "Name"] if called in getters else []


def with_origins(body: list[Any], found: list[_ast.stmt]) -> list[_ast.stmt]:
    """Statements with those that bind the names in them, where these mean something else later, or nothing.

    What `text` meant in `RATES = parse(text)` cannot be looked up after `del text`.
    """
    binding: dict[str, list[Any]] = {}
    for one in body:
        for name in set(_bound(one)):
            binding.setdefault(name, []).append(one)
    known = set(map(id, found))
    waiting = list(found)
    while waiting:
        statement = waiting.pop()
        again = {one for one in binding if len(binding[one]) > 1} - set(_bound(statement))
        for name in again if _mentions(statement, again) else ():
            if _mentions(statement, {name}):
                new = [one for one in binding[name] if id(one) not in known]
                known.update(map(id, new))
                waiting += new
    already = set(map(id, found))
    return [*(one for one in body if id(one) in known - already), *found]


def _bound(statement: Any) -> list[str]:
    """The names that a statement binds or deletes; definitions and imports say themselves what they mean."""
    if _is_of_the_program(statement) or type(statement).__name__ in ("FunctionDef", "AsyncFunctionDef", "ClassDef"):
        return []
    targets = [*getattr(statement, "targets", ()), getattr(statement, "target", None)]
    targets += [one.optional_vars for one in getattr(statement, "items", ())]
    names = [one.id for target in targets for one in _flat(target) if type(one).__name__ == "Name"]
    return names + [name for one in _inner(statement) for name in _bound(one)]


def _inner(statement: Any) -> list[Any]:
    """The statements in a statement."""
    inner = [one for field in ("body", "orelse", "finalbody") for one in getattr(statement, field, ())]
    return inner + [one for handler in getattr(statement, "handlers", ()) for one in handler.body]


def _changes(statement: Any, name: str) -> bool:
    """Whether a statement binds a name, or changes what it means: sets an item or attribute, or calls a method.

    In loops, which a program runs for its results, only methods that change containers are taken for a change.
    """
    if _is_of_the_program(statement):
        return False
    kind = type(statement).__name__
    if kind in ("FunctionDef", "AsyncFunctionDef", "ClassDef"):
        return bool(statement.name == name)
    if kind in ("Import", "ImportFrom"):
        return any((one.asname or one.name.partition(".")[0]) in (name, "*") for one in statement.names)
    if kind == "Expr":
        return type(statement.value).__name__ == "Call" and _root(statement.value) == name
    targets = [*getattr(statement, "targets", ()), getattr(statement, "target", None)]
    if any(name in map(_root, _flat(target)) for target in targets):
        return True
    loops = kind in ("For", "AsyncFor", "While")
    return any(_changes(one, name) and not (loops and _only_asks(one)) for one in _inner(statement))


def _flat(target: Any) -> list[Any]:
    """The targets in a target that is unpacked."""
    return [one for item in target.elts for one in _flat(item)] if hasattr(target, "elts") else [target]


def _only_asks(statement: Any) -> bool:
    """Whether a statement calls a method that is not known to change anything."""
    return type(statement).__name__ == "Expr" and getattr(statement.value.func, "attr", "") not in CHANGING_METHODS


def _name_of(statement: Any) -> str | None:
    """The name of the function that a statement defines."""
    return statement.name if type(statement).__name__ in ("FunctionDef", "AsyncFunctionDef") else None


def _is_used(statement: Any, names: set[str]) -> bool:
    """Whether a function's decorators or defaults mention one of the names."""
    return any(_mentions(one, names) for one in (*statement.decorator_list, statement.args))


def _root(node: Any) -> str:
    """The name at the start of attributes, items and method calls."""
    while type(node).__name__ in ("Attribute", "Call", "Subscript", "Await"):
        node = node.func if type(node).__name__ == "Call" else node.value
    return getattr(node, "id", "")


def _is_of_the_program(statement: Any) -> bool:
    """Whether a statement is `if __name__ == "__main__":`."""
    return type(statement).__name__ == "If" and _mentions(statement.test, {"__name__"})


def _is_shown(statement: Any) -> bool:
    """Whether a statement is a call of `print`."""
    call = getattr(statement, "value", None)
    return type(statement).__name__ == "Expr" and getattr(getattr(call, "func", None), "id", None) == "print"


def _mentions(node: Any, names: set[str], *, deep: bool = False) -> bool:
    """Whether code mentions one of the names, except in the bodies of functions, which run later."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        kind = type(node).__name__
        if kind == "Name" and node.id in names:
            return True
        if kind in ("FunctionDef", "AsyncFunctionDef", "ClassDef") and node.name in names:
            return True
        if kind == "alias" and (node.asname or node.name.partition(".")[0]) in names:
            return True
        later = () if deep or kind not in ("FunctionDef", "AsyncFunctionDef", "Lambda") else ("body",)
        for field in getattr(node, "_fields", ()):
            if field not in later:
                value = getattr(node, field, None)
                waiting += value if isinstance(value, list) else [value]
    return False
