"""What makes a class, a constant, a default or a name, as digests of the statements in its file.

A file does not say what `RATES = load()` holds. But where the statements that make it are the same, and so is all that
they use, so is the value. The bodies of functions do not count for a name itself, since functions are parts of their
own, and count for what its making uses.
"""

from __future__ import annotations

from pcache.startup import TYPE_CHECKING, Any, NamedTuple, pattern
from pcache.versions.names import Names, Place
from pcache.versions.syntax import (
    FUNCTIONS,
    chains_in,
    defaults_of,
    digest_of_text,
    dotted,
    in_full,
    kind_of,
    names_in,
    parameters_of,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcache.versions.sources import Program, Source

_LABEL = pattern(r"(?:constant|name|class) (class |function )?([^\s:()]+):([^\s()]+)(?:\((\w+)\))?")
_FUNCTION = pattern(r"function ([^\s:]+):(\w+)")
_NAME = pattern(r"\w+ (?:class |function )?([^\s:]+):([^\s.(]+)")
_OPTIONS = frozenset(("version", "key", "ignore", "code", "depends_on"))  # of a cached function, that count
_PLAIN_BASES = frozenset(("object", "Exception", "ValueError", "RuntimeError", "ABC"))


class Maker(NamedTuple):
    """What makes something: digests of its own statements and of what these use, and its value as they write it.

    `is_alone` says that no other statement may change the value in place; `meaning` is what a name means.
    """

    own: str
    used: str
    value: Any
    module: str
    is_alone: bool = True
    meaning: str = ""


class Makers(Names):
    """Finds what makes the parts of one version of a function, which have these labels."""

    def __init__(self, program: Program, labels: Iterable[str]) -> None:
        super().__init__(program)
        self._labels = set(labels)

    def of(self, label: str) -> Maker | None:
        """What makes the part with a label; None if that is not known, or if it is made of a class as a whole."""
        match = _LABEL.match(label)
        if match is None:
            return None
        reflected, module, path, parameter = match.groups()
        if label.startswith("name ") and not reflected and not parameter:
            chain = tuple(path.split("."))
            if meaning := self.meaning(module, chain):
                return Maker(digest_of_text(meaning), "", None, module, meaning=meaning)
        top, *steps = path.split(".")
        place = self.place_of(module, top)
        source = self.program.find(place.module) if isinstance(place, Place) and place.name else None
        if not isinstance(place, Place) or source is None or source.error:
            return None
        return self._of_path(source, place, steps, parameter or "", reflected=bool(reflected))

    def _of_path(
        self, source: Source, place: Place, steps: list[str], parameter: str, *, reflected: bool
    ) -> Maker | None:
        """What makes what a path leads to from a name: into classes, to an attribute or parameter of a function."""
        bound = source.bound.get(place.name, [])
        statements, changed = [one.statement for one in bound], source.changed.get(place.name, [])
        outer = [*(one.outer for one in bound), *changed]
        path = place.name
        while steps and len(statements) == 1 and kind_of(statements[0]) == "ClassDef":
            step, *steps = steps
            path = f"{path}.{step}"
            inside = [one for one in statements[0].body if step in names_in(one)[0]]
            if not inside and not steps:
                return self._of_late_member(place.module, path, changed)
            statements = outer = inside
            changed = []
        if not statements:
            return None
        if reflected:  # docstrings and annotations count
            return Maker(
                digest_of_text(in_full(statements)), self.used_by(place.module, statements), None, place.module
            )
        if kind_of(statements[-1]) in FUNCTIONS:
            if parameter:
                return self._of_parameter(place.module, statements[-1], parameter)
            return self._of_attribute(place.module, statements[-1], changed, steps)
        if kind_of(statements[0]) == "ClassDef" and len(statements) == 1:
            return self._of_class(place.module, path, statements[0], changed)
        return self._of_value(place.module, statements, outer, is_alone=not changed and not steps)

    def _made(self, module: str, nodes: list[Any], *, bodies: bool = False, value: Any = None) -> Maker:
        return Maker(written(nodes, bodies=bodies), self.used_by(module, nodes), value, module)

    def _of_value(self, module: str, statements: list[Any], outer: list[Any], *, is_alone: bool) -> Maker:
        """An assigned value; annotations do not count."""
        nodes = list({id(one): one for one in outer}.values())
        made = self._made(module, [one.value if kind_of(one) == "AnnAssign" else one for one in nodes])
        last = statements[-1]
        targets = getattr(last, "targets", None) or [getattr(last, "target", None)]
        is_plain = all(any(one is other for other in outer) for one in statements) and hasattr(last, "value")
        is_plain = is_plain and all(kind_of(target) == "Name" for target in targets)
        return made._replace(value=last.value if is_plain else None, is_alone=is_alone)

    def _of_parameter(self, module: str, definition: Any, parameter: str) -> Maker:
        """A default; what a decorator captured, if the function has no such parameter."""
        value = defaults_of(definition).get(parameter)
        if value is not None:
            return self._made(module, [value], value=value)
        given = [self._given(module, one, parameter) for one in definition.decorator_list if kind_of(one) == "Call"]
        value = next((one for one in given if one is not None), None)
        return self._made(module, _counting(definition), value=value)

    def _given(self, module: str, call: Any, parameter: str) -> Any:
        """What a call passes to a user's function as a parameter; None if that is not seen."""
        place, rest = self.resolve(module, tuple(dotted(call.func).split(".")))
        function = self.only_statement(place) if isinstance(place, Place) and not rest else None
        if kind_of(function) not in FUNCTIONS or any(kind_of(one) == "Starred" for one in call.args):
            return None
        given = dict(zip(parameters_of(function), call.args, strict=False))
        return (given | {one.arg: one.value for one in call.keywords}).get(parameter)

    def _of_attribute(self, module: str, definition: Any, changed: list[Any], steps: list[str]) -> Maker:
        """An attribute of a function; without steps the object that decorators made of one."""
        if not steps:
            return self._made(module, _counting(definition))
        wanted = ".".join([definition.name, *steps])
        setting = [one for one in changed if wanted in map(dotted, getattr(one, "targets", ()))]
        value = setting[0].value if len(setting) == 1 else None
        return self._made(module, [*setting, *_counting(definition)], value=value)

    def _of_late_member(self, module: str, path: str, changed: list[Any]) -> Maker | None:
        """An attribute that is set on a class; None if it is made with the class."""
        setting = [one for one in changed if path in map(dotted, getattr(one, "targets", ()))]
        return self._made(module, setting, value=setting[0].value if len(setting) == 1 else None) if setting else None

    def _of_class(self, module: str, path: str, statement: Any, changed: list[Any]) -> Maker:
        """A class by its bases, decorators and members; values that are parts of their own count by their names."""
        decorators = [*statement.decorator_list, *statement.keywords]
        head = [*decorators, *statement.bases]
        members = list(filter(None, (self._member(f"constant {module}:{path}.", one) for one in statement.body)))
        if self._is_plain(module, statement):
            members.sort()
        means = sorted(self.meaning(module, chain) for chain in chains_in(head))
        own = digest_of_text(repr((written(head), means, members)))
        late = [one for one in changed if not any(f"constant {module}:{name}" in self._labels for name in _set_by(one))]
        used = [self.used_by(module, [*decorators, *late]), *([written(late)] if late else [])]
        return Maker(own, digest_of_text(repr(used)) if any(used) else "", None, module)

    def _member(self, label: str, statement: Any) -> str:
        kind, names = kind_of(statement), sorted(names_in(statement)[0])
        if kind in FUNCTIONS:
            return f"def {statement.name} {written(_counting(statement))}"
        if kind == "Pass" or (kind == "Expr" and kind_of(statement.value) == "Constant"):
            return ""
        if kind in ("Assign", "AnnAssign") and names and all(label + name in self._labels for name in names):
            return f"{names} {written([statement.annotation])}" if kind == "AnnAssign" else str(names)
        return written([statement])

    def _is_plain(self, module: str, statement: Any) -> bool:
        """Whether the order of a class's members cannot be seen: no decorator, metaclass or base looks at it."""
        if statement.decorator_list or statement.keywords:
            return False
        for base in statement.bases:
            place, rest = self.resolve(module, tuple(dotted(base).split(".")))
            found = self.only_statement(place) if isinstance(place, Place) and not rest else None
            if kind_of(found) == "ClassDef" and found is not statement and isinstance(place, Place):
                if not self._is_plain(place.module, found):
                    return False
            elif dotted(base) not in _PLAIN_BASES:
                return False
        return True

    def of_cached(self, name: str) -> dict[str, Maker]:
        """What a cached function's results depend on beyond the parts of its version; empty if it is not found.

        These are its defaults, options and other decorators; of a method the class of the instance.
        """
        module, _, path = name.partition(":")
        definition, cls = self.definition(module, path), self._class_of(module, path)
        if definition is None:
            return {}
        defaults = {f"{name}({one})": one for one in defaults_of(definition)}
        found = {f"default {one}": self._of_parameter(module, definition, own) for one, own in defaults.items()}
        for option in _options(definition):
            found[f"option {option.arg} {name}"] = self._made(module, [option.value], value=option.value)
        found[f"decorators {name}"] = self._made(module, _below(definition))
        if cls is not None and parameters_of(definition)[:1] in (["self"], ["cls"]):
            others = [one for one in cls.body if one is not definition]
            members = sorted(written([one], bodies=True) for one in others)
            made = self._made(module, [*cls.decorator_list, *cls.bases, *others])
            found[f"instance {name}"] = made._replace(own=digest_of_text(repr(members)))
        return found

    def of_choice(self, label: str) -> Maker | None:
        """What decides which function a name of a module is, where several definitions or a condition do."""
        match = _FUNCTION.fullmatch(label)
        source = self.program.find(match[1]) if match is not None else None
        bound = source.bound.get(match[2], []) if source is not None and match is not None else []
        if match is None or (len(bound) <= 1 and all(one.statement is one.outer for one in bound)):
            return None
        return self._made(match[1], [one.outer for one in bound])

    def of_settings(self) -> dict[str, Maker]:
        """What modules set in others, which no file but theirs says: `tools.LIMIT = 5`."""
        names = {match.groups() for label in self._labels if (match := _NAME.match(label))}
        found: dict[str, list[Any]] = {}
        for module in {module for module, _ in names}:
            source = self.program.find(module)
            for name, statements in source.changed.items() if source is not None else ():
                place = self.place_of(module, name)
                if not isinstance(place, Place) or place.name:
                    continue
                for one in statements:
                    for path in _set_by(one):
                        if (place.module, path.removeprefix(f"{name}.")) in names:
                            found.setdefault(f"settings {path.replace(name, place.module, 1)} {module}", []).append(one)
        return {label: self._made(label.rpartition(" ")[2], nodes) for label, nodes in found.items()}

    def definition(self, module: str, path: str) -> Any:
        """The statement that defines a function of a module or class; None if there is none, or several."""
        top, *steps = path.split(".")
        found = self.only_statement(Place(module, top))
        for step in steps:
            inner = [one for one in found.body if step in names_in(one)[0]] if kind_of(found) == "ClassDef" else []
            found = inner[0] if len(inner) == 1 else None
        return found if kind_of(found) in FUNCTIONS else None

    def _class_of(self, module: str, path: str) -> Any:
        cls, _, _ = path.rpartition(".")
        found = self.only_statement(Place(module, cls)) if cls else None
        return found if kind_of(found) == "ClassDef" else None


def _set_by(statement: Any) -> list[str]:
    """The attributes that a statement sets, as dotted names."""
    return [dotted(target) for target in getattr(statement, "targets", ())]


def _is_cached(decorator: Any) -> bool:
    called = decorator.func if kind_of(decorator) == "Call" else decorator
    return dotted(called).rpartition(".")[2] == "cached"


def _options(definition: Any) -> list[Any]:
    """The options of the decorator that caches, as far as results depend on them."""
    given = [option for one in definition.decorator_list if _is_cached(one) for option in getattr(one, "keywords", ())]
    return [option for option in given if option.arg is None or option.arg in _OPTIONS]


def _below(definition: Any) -> list[Any]:
    """The decorators whose result is cached; all where none is seen to cache."""
    at = next((at for at, one in enumerate(definition.decorator_list) if _is_cached(one)), -1)
    return list(definition.decorator_list[at + 1 :])


def _counting(definition: Any) -> list[Any]:
    """The decorators of a function; of one that caches only the options that count."""
    return [one for one in definition.decorator_list if not _is_cached(one)] + _options(definition)
