"""What makes a class, a constant, a default or a name, as digests of the statements in its file.

A file does not say what `RATES = load()` holds. But where the statements that make it are the same, and so is all that
they use, so is the value. Comments, docstrings, annotations of functions and line breaks play no part. The bodies of
functions do not count for a name itself, since functions are parts of their own, and count for what its making uses.
"""

from __future__ import annotations

from blake3 import blake3

from pcache.startup import TYPE_CHECKING, Any, NamedTuple, pattern
from pcache.versions.sources import kind_of, names_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pcache.versions.sources import Program, Source

_LABEL = pattern(r"(?:constant|name|class|default) (class |function )?([^\s:()]+):([^\s()]+)(?:\((\w+)\))?")
_FUNCTIONS = ("FunctionDef", "AsyncFunctionDef")
_OPTIONS = frozenset(("version", "key", "ignore", "code", "depends_on"))  # of a cached function, that count
_UNWRITTEN = frozenset(("ctx", "kind", "type_comment", "returns", "lineno"))
_PLAIN_BASES = frozenset(("object", "Exception", "ValueError", "RuntimeError", "ABC"))
_MOST_STEPS = 20  # from a name to where it is defined
_MOST_USED = 2000  # names that are followed from one statement
_BYTES = 8  # of a digest


class Maker(NamedTuple):
    """What makes something: digests of its own statements and of what these use, and its value, if that stands alone.

    `is_alone` says that no other statement may change the value in place.
    """

    own: str
    used: str
    value: Any
    module: str
    is_alone: bool = True


class Place(NamedTuple):
    """Where a name is defined: in a module of the user's; a module itself has no `name`."""

    module: str
    name: str


class Makers:
    """Finds what makes the parts of a program's versions. `labels` are those of all parts of the version."""

    def __init__(self, program: Program, labels: Iterable[str]) -> None:
        self.program = program
        self._labels = set(labels)
        self._used: dict[tuple[str, str], tuple[str, list[tuple[str, ...]]]] = {}

    def of(self, label: str) -> Maker | None:
        """What makes the part with a label; None if that is not known."""
        match = _LABEL.match(label)
        if match is None:
            return None
        mentioned, module, path, parameter = match.groups()
        top, *steps = path.split(".")
        place = self.place_of(module, top)
        if label.startswith("name ") and not mentioned:
            return self._of_name(module, path)
        source = self.program.find(place.module) if isinstance(place, Place) and place.name else None
        if not isinstance(place, Place) or source is None or source.error:
            return None
        bound = source.bound.get(place.name, [])
        statements = [one.statement for one in bound]
        scope = None
        while steps and len(statements) == 1 and kind_of(statements[0]) == "ClassDef":
            scope = statements[0]
            statements = [one for one in scope.body if steps[0] in _bound_by(one)]
            steps = steps[1:]
        if scope is not None and not statements:
            return None  # made of the class as a whole
        definition = statements[-1] if statements and kind_of(statements[-1]) in _FUNCTIONS else None
        if mentioned:
            return self._made(place.module, statements, bodies=True)
        if parameter and definition is not None:
            return self._of_parameter(place.module, definition, parameter)
        changed = [] if scope is not None else source.changed.get(place.name, [])
        if definition is not None:
            return self._of_attribute(place.module, definition, changed, steps)
        if len(statements) == 1 and kind_of(statements[0]) == "ClassDef" and not steps:
            return self._of_class(place.module, path, statements[0])
        outer = statements if scope is not None else [*(one.outer for one in bound), *changed]
        return self._of_value(place.module, statements, outer, is_alone=not changed and not steps)

    def _made(self, module: str, nodes: list[Any], *, bodies: bool = False, value: Any = None) -> Maker:
        return Maker(written(nodes, bodies=bodies), self.used_by(module, nodes), value, module)

    def _of_value(self, module: str, statements: list[Any], outer: list[Any], *, is_alone: bool) -> Maker:
        """An assigned value."""
        nodes = list({id(one): one for one in outer}.values())
        made = self._made(module, [getattr(one, "value", one) if kind_of(one) == "AnnAssign" else one for one in nodes])
        last = statements[0] if len(statements) == 1 else None
        is_plain = kind_of(last) in ("Assign", "AnnAssign") and statements[0] in outer
        targets = getattr(last, "targets", None) or [getattr(last, "target", None)]
        is_plain = is_plain and all(kind_of(target) == "Name" for target in targets)
        return made._replace(value=getattr(last, "value", None) if is_plain else None, is_alone=is_alone)

    def _of_parameter(self, module: str, definition: Any, parameter: str) -> Maker:
        """A default; what a decorator captured, if the function has no such parameter."""
        arguments = definition.args
        positional = [*arguments.posonlyargs, *arguments.args]
        named = dict(zip([one.arg for one in positional][::-1], arguments.defaults[::-1], strict=False))
        named |= {one.arg: value for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)}
        if (value := named.get(parameter)) is not None:
            return self._made(module, [value], value=value)
        return self._made(module, decorators_of(definition))

    def _of_attribute(self, module: str, definition: Any, changed: list[Any], steps: list[str]) -> Maker:
        """An attribute of a function, or the object that decorators made of one."""
        if not steps:
            return self._made(module, decorators_of(definition))
        wanted = ".".join([definition.name, *steps])
        setting = [one for one in changed if any(_dotted(target) == wanted for target in getattr(one, "targets", ()))]
        value = setting[0].value if len(setting) == 1 else None
        return self._made(module, [*setting, *decorators_of(definition)], value=value)

    def _of_class(self, module: str, path: str, statement: Any) -> Maker:
        """A class by its bases, decorators and members; values that are parts of their own count by their names."""
        head = [*statement.decorator_list, *statement.bases, *statement.keywords]
        members = [text for one in statement.body if (text := self._member(module, path, one))]
        if self._is_plain(module, statement):
            members.sort()
        means = sorted({str(self.meaning(module, chain)) for chain in chains_in(head)})
        own = _digest(repr((written(head), means, members)))
        return Maker(own, self.used_by(module, [*statement.decorator_list, *statement.keywords]), None, module)

    def _member(self, module: str, path: str, statement: Any) -> str:
        kind = kind_of(statement)
        names = sorted(_bound_by(statement))
        if kind in _FUNCTIONS:
            return f"def {statement.name} {written(decorators_of(statement))}"
        if kind == "Expr" and kind_of(statement.value) == "Constant":
            return ""
        if kind in ("Assign", "AnnAssign") and all(
            f"constant {module}:{path}.{name}" in self._labels for name in names
        ):
            return f"{names} {written([statement.annotation])}" if kind == "AnnAssign" else str(names)
        return "" if kind == "Pass" else written([statement])

    def _is_plain(self, module: str, statement: Any) -> bool:
        """Whether the order of a class's members cannot be seen: no decorator, metaclass or base looks at it."""
        if statement.decorator_list or statement.keywords:
            return False
        for base in statement.bases:
            place = self.place_of(module, base.id) if kind_of(base) == "Name" else None
            source = self.program.find(place.module) if isinstance(place, Place) else None
            bound = source.bound.get(place.name, []) if source is not None and isinstance(place, Place) else []
            if len(bound) == 1 and kind_of(bound[0].statement) == "ClassDef" and bound[0].statement is not statement:
                if not self._is_plain(module, bound[0].statement):
                    return False
            elif getattr(base, "id", "") not in _PLAIN_BASES:
                return False
        return True

    def _of_name(self, module: str, path: str) -> Maker | None:
        """What a name means, where that is said by imports and assignments alone; else by its statements."""
        chain = tuple(path.split("."))
        if (meaning := self.meaning(module, chain)) is not None:
            return Maker(_digest(meaning), "", None, module)
        place, _ = self.resolve(module, chain)
        source = self.program.find(place.module) if isinstance(place, Place) else None
        if not isinstance(place, Place) or source is None:
            return None
        return self._made(place.module, [one.outer for one in source.bound.get(place.name, [])])

    def meaning(self, module: str, chain: tuple[str, ...]) -> str | None:
        """What a dotted name means, as versions show it: `helpers:clean`, `numpy.linalg.norm`; None if it is computed."""
        for _ in range(_MOST_STEPS):
            place, rest = self.resolve(module, chain)
            if not isinstance(place, Place):
                return place
            source = self.program.find(place.module)
            if not place.name or source is None:
                return place.module
            if rest:
                return ".".join((f"{place.module}:{place.name}", *rest))
            bound = source.bound.get(place.name, [])
            statement = bound[0].statement if len(bound) == 1 and bound[0].statement is bound[0].outer else None
            if kind_of(statement) in (*_FUNCTIONS, "ClassDef"):
                return f"{place.module}:{place.name}"
            target = _dotted(getattr(statement, "value", None)) if kind_of(statement) == "Assign" else ""
            if not target:
                return None
            module, chain = place.module, tuple(target.split("."))
        return None

    def resolve(self, module: str, chain: tuple[str, ...]) -> tuple[Place | str | None, tuple[str, ...]]:
        """Where a dotted name is defined, as `place_of`, and its attributes that are looked up only when code runs."""
        place = self.place_of(module, chain[0])
        for at, step in enumerate(chain[1:], 1):
            if isinstance(place, str):
                place = f"{place}.{step}"
            elif place is None or place.name:
                return place, chain[at:]
            else:
                place = self.place_of(place.module, step)
        return place, ()

    def place_of(self, module: str, name: str, depth: int = 0) -> Place | str | None:
        """Where a name of a module is defined; the name of what a package has; None for builtins and locals."""
        source = self.program.find(module)
        if source is None or depth > _MOST_STEPS:
            return None
        bound = source.bound.get(name, [])
        statement = bound[0].statement if bound else None
        if kind_of(statement) == "Import":
            alias = next(one for one in statement.names if name in (one.asname, one.name.partition(".")[0]))
            return self._module(alias.name if alias.asname else name)
        if kind_of(statement) == "ImportFrom":
            alias = next(one for one in statement.names if name == (one.asname or one.name))
            return self._imported(module, source, statement, alias.name, depth)
        if bound:
            return Place(module, name)
        if source.is_package and self.program.find(f"{module}.{name}") is not None:
            return Place(f"{module}.{name}", "")
        found = (self._imported(module, source, star, name, depth, only=True) for star in source.stars)
        return next((place for place in found if place), None)

    def _imported(
        self, module: str, source: Source, statement: Any, name: str, depth: int, *, only: bool = False
    ) -> Place | str | None:
        target = absolute(module, source, statement)
        if self.program.find(target) is not None:
            found = self.place_of(target, name, depth + 1)
            if found is not None or only:
                return found
        if self.program.find(f"{target}.{name}") is not None:
            return Place(f"{target}.{name}", "")
        return None if only else f"{target}.{name}"

    def _module(self, name: str) -> Place | str:
        return Place(name, "") if self.program.find(name) is not None else name

    def used_by(self, module: str, nodes: list[Any]) -> str:
        """A digest of all that statements use of the user's code, bodies of functions included."""
        seen: dict[tuple[str, str], str] = {}
        waiting = [(module, chain) for chain in chains_in(nodes)]
        while waiting and len(seen) < _MOST_USED:
            module, chain = waiting.pop()
            place, _ = self.resolve(module, chain)
            if not isinstance(place, Place) or (place.module, place.name) in seen:
                continue
            if place not in self._used:
                self._used[place] = self._use(place)
            seen[place], more = self._used[place]
            waiting += [(place.module, one) for one in more]
        return _digest(repr(sorted(seen.items()))) if seen else ""

    def _use(self, place: Place) -> tuple[str, list[tuple[str, ...]]]:
        """One name that is used: a digest of its statements, and the names in these."""
        source = self.program.find(place.module)
        if source is None:
            return "", []
        if not place.name:
            return source.digest, []
        bound = [one.outer for one in source.bound.get(place.name, [])]
        nodes = [*bound, *source.changed.get(place.name, [])]
        return written(nodes, bodies=True), chains_in(nodes)

    def of_cached(self, name: str) -> dict[str, Maker]:
        """What a cached function's results depend on beyond the parts of its version: its defaults and decorators.

        Empty if its definition is not found in its file.
        """
        module, _, path = name.partition(":")
        definition = self.definition(module, path)
        if definition is None:
            return {}
        below, options = _below(definition)
        found = {
            f"default {name}({one})": self._of_parameter(module, definition, one) for one in with_defaults(definition)
        }
        for option in options:
            found[f"option {option.arg} {name}"] = self._made(module, [option.value], value=option.value)
        found[f"decorators {name}"] = self._made(module, below)
        return found

    def definition(self, module: str, path: str) -> Any:
        """The statement that defines a function of a module or class; None if there is none, or several."""
        source = self.program.find(module)
        top, *steps = path.split(".")
        found = [] if source is None else [one.statement for one in source.bound.get(top, [])]
        for step in steps:
            inner = [one for outer in found if kind_of(outer) == "ClassDef" for one in outer.body]
            found = [one for one in inner if step in _bound_by(one)]
        return found[0] if len(found) == 1 and kind_of(found[0]) in _FUNCTIONS else None


def with_defaults(definition: Any) -> list[str]:
    """The parameters of a function that have a default."""
    arguments = definition.args
    positional = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return [*positional[len(positional) - len(arguments.defaults) :], *(one.arg for one, value in named if value)]


def _below(definition: Any) -> tuple[list[Any], list[Any]]:
    """The decorators of a cached function whose result is cached, and the options of the one that caches."""
    for at, one in enumerate(definition.decorator_list):
        if _is_cached(one):
            options = [
                option for option in getattr(one, "keywords", ()) if option.arg is None or option.arg in _OPTIONS
            ]
            return definition.decorator_list[at + 1 :], options
    return definition.decorator_list, []


def _is_cached(decorator: Any) -> bool:
    called = decorator.func if kind_of(decorator) == "Call" else decorator
    return _dotted(called).rpartition(".")[2] == "cached"


def absolute(module: str, source: Source, statement: Any) -> str:
    """The module that `from ... import` takes names from."""
    if not statement.level:
        return str(statement.module or "")
    package = module if source.is_package else module.rpartition(".")[0]
    steps = package.split(".") if package else []
    above = steps[: len(steps) - statement.level + 1]
    return ".".join([*above, *([statement.module] if statement.module else [])])


def decorators_of(definition: Any) -> list[Any]:
    """The decorators of a function; of a cached one only the options that its results depend on."""
    found: list[Any] = []
    for one in definition.decorator_list:
        if _is_cached(one):
            found += [option for option in getattr(one, "keywords", ()) if option.arg is None or option.arg in _OPTIONS]
        else:
            found.append(one)
    return found


def _bound_by(statement: Any) -> set[str]:
    return names_in(statement)[0]


def _dotted(node: Any) -> str:
    """`module.function` as text; empty for anything else."""
    steps: list[str] = []
    while kind_of(node) == "Attribute":
        steps.append(node.attr)
        node = node.value
    return ".".join([node.id, *steps[::-1]]) if kind_of(node) == "Name" else ""


def chains_in(nodes: list[Any]) -> list[tuple[str, ...]]:
    """The global names in syntax trees, each with the attributes that follow it."""
    found: dict[tuple[str, ...], None] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if kind_of(node) in (*_FUNCTIONS, "Lambda"):
            own = _locals_of(node)
            inner = node.body if isinstance(node.body, list) else [node.body]
            found |= {chain: None for chain in chains_in(inner) if chain[0] not in own}
            waiting += [*getattr(node, "decorator_list", ()), *node.args.defaults, *node.args.kw_defaults]
        elif dotted := _dotted(node):
            if kind_of(node.ctx) == "Load":
                found[tuple(dotted.split("."))] = None
        else:
            for field in getattr(node, "_fields", ()):
                value = getattr(node, field, None)
                waiting += value if isinstance(value, list) else [value]
    return list(found)


def _locals_of(function: Any) -> set[str]:
    """The parameters and variables of a function, but not of those inside of it."""
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    own = {one.arg for one in given if one is not None}
    outer: set[str] = set()
    waiting = list(function.body) if isinstance(function.body, list) else []
    while waiting:
        node = waiting.pop()
        kind = kind_of(node)
        if kind == "Global":
            outer.update(node.names)
        elif kind == "Name" and kind_of(node.ctx) == "Store":
            own.add(node.id)
        elif kind not in (*_FUNCTIONS, "Lambda", "ClassDef"):
            for field in getattr(node, "_fields", ()):
                value = getattr(node, field, None)
                waiting += value if isinstance(value, list) else [value]
    return own - outer


def written(nodes: list[Any], *, bodies: bool = False) -> str:
    """A digest of syntax trees, without what has no effect; of functions only the name, unless `bodies` count."""
    return _digest("\n".join(piece for node in nodes for piece in _pieces(node, bodies=bodies)))


def _digest(text: str) -> str:
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest(_BYTES)


def _pieces(node: Any, *, bodies: bool) -> Iterator[str]:
    kind = kind_of(node)
    if isinstance(node, list):
        yield "["
        for one in node:
            if kind_of(one) != "Pass" and not (kind_of(one) == "Expr" and kind_of(one.value) == "Constant"):
                yield from _pieces(one, bodies=bodies)
        yield "]"
    elif kind in _FUNCTIONS:
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
