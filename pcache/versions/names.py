"""What names mean in a program, as its files say: definitions, assignments and imports are followed, nothing is run."""

from __future__ import annotations

import builtins

from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.versions.syntax import DEFINITIONS, chains_in, digest_of_text, dotted, kind_of, written

if TYPE_CHECKING:
    from pcache.versions.sources import Program, Source

    Chain = tuple[str, ...]

_MOST_STEPS = 20  # from a name to where it is defined
_MOST_USED = 2000  # names that are followed from one statement


class Place(NamedTuple):
    """Where a name is defined: in a module of the user's. Without a `name` it is the module itself."""

    module: str
    name: str


class Names:
    """Finds out what names mean in one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._used: dict[Place, tuple[str, list[Chain]]] = {}

    def place_of(self, module: str, name: str, depth: int = 0) -> Place | str | None:
        """Where a name of a module is defined; the name of what a package has; None for builtins and unknown ones."""
        source = self.program.find(module)
        if source is None or depth > _MOST_STEPS:
            return None
        bound = source.bound.get(name, [])
        statement: Any = bound[0].statement if bound else None
        if kind_of(statement) == "Import":
            alias = next(one for one in statement.names if name in (one.asname, one.name.partition(".")[0]))
            full = alias.name if alias.asname else name
            return Place(full, "") if self.program.find(full) is not None else full
        if kind_of(statement) == "ImportFrom":
            alias = next(one for one in statement.names if name == (one.asname or one.name))
            target = absolute(module, source, statement)
            return self._taken_from(target, alias.name, depth) or f"{target}.{alias.name}"
        if bound:
            return Place(module, name)
        if source.is_package and self.program.find(f"{module}.{name}") is not None:
            return Place(f"{module}.{name}", "")
        taken = (self._taken_from(absolute(module, source, star), name, depth) for star in source.stars)
        return next((found for found in taken if found), None)

    def _taken_from(self, module: str, name: str, depth: int) -> Place | str | None:
        """What an import takes from a module of the user's."""
        found = self.place_of(module, name, depth + 1)
        if found is None and self.program.find(f"{module}.{name}") is not None:
            return Place(f"{module}.{name}", "")
        return found

    def resolve(self, module: str, chain: Chain) -> tuple[Place | str | None, Chain]:
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

    def meaning(self, module: str, chain: Chain) -> str:
        """What a dotted name means, as versions show it (`helpers:clean`, `numpy.linalg.norm`); empty if computed."""
        for _ in range(_MOST_STEPS):
            place, rest = self.resolve(module, chain)
            if place is None and len(chain) == 1 and hasattr(builtins, chain[0]):
                return f"builtins.{chain[0]}"
            if not isinstance(place, Place) or not place.name:
                return place.module if isinstance(place, Place) else place or ""
            if rest:
                return ".".join((f"{place.module}:{place.name}", *rest))
            statement = self.only_statement(place)
            if kind_of(statement) in DEFINITIONS:
                return f"{place.module}:{place.name}"
            target = dotted(statement.value) if kind_of(statement) == "Assign" else ""
            if not target:
                break
            module, chain = place.module, tuple(target.split("."))
        return ""

    def only_statement(self, place: Place) -> Any:
        """The one statement of its module that binds a name; None if several do, or under a condition."""
        source = self.program.find(place.module)
        bound = source.bound.get(place.name, []) if source is not None else []
        return bound[0].statement if len(bound) == 1 and bound[0].statement is bound[0].outer else None

    def used_by(self, module: str, nodes: list[Any]) -> str:
        """A digest of all that statements use of the user's code, bodies of functions included; empty for nothing."""
        seen: dict[Place, str] = {}
        waiting = [(module, chain) for chain in chains_in(nodes)]
        while waiting and len(seen) < _MOST_USED:
            module, chain = waiting.pop()
            place, _ = self.resolve(module, chain)
            if isinstance(place, Place) and place not in seen:
                if place not in self._used:
                    self._used[place] = self._use(place)
                seen[place], more = self._used[place]
                waiting += [(place.module, one) for one in more]
        return digest_of_text(repr(sorted(map(tuple, seen.items())))) if seen else ""

    def _use(self, place: Place) -> tuple[str, list[Chain]]:
        """One name that is used: a digest of its statements, and the names in these."""
        source = self.program.find(place.module)
        if source is None or not place.name:
            return source.digest if source is not None else "", []
        nodes = [*(one.outer for one in source.bound.get(place.name, [])), *source.changed.get(place.name, [])]
        return written(nodes, bodies=True), chains_in(nodes)


def absolute(module: str, source: Source, statement: Any) -> str:
    """The module that `from ... import` takes names from."""
    if not statement.level:
        return str(statement.module or "")
    package = module if source.is_package else module.rpartition(".")[0]
    steps = package.split(".") if package else []
    above = steps[: len(steps) - statement.level + 1]
    return ".".join([*above, *([statement.module] if statement.module else [])])
