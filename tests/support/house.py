"""The house: which package may import which, drawn from the imports themselves.

    python tests/support/house.py            print rooms, floors, arrows, circles; exit 1 if the rule is broken
    python tests/support/house.py --write    write the rooms and the drawing into docs/design.md

The rule is in docs/design.md: a line of rooms, each before `<` those that may import it. A room is a package or a
module below `pcache/`. Late imports count, and imports for types only.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "pcache"
DESIGN = ROOT / "docs" / "design.md"
_BEGIN, _END = "<!-- drawn by tests/support/house.py -->", "<!-- end of the drawing -->"


def order() -> dict[str, int]:
    """The rooms by name, each with its floor: the lowest imports nothing."""
    text = re.search(r"```\n(startup .*?)```", DESIGN.read_text(), re.DOTALL)
    assert text is not None, "docs/design.md does not say the order of the rooms"
    return {room: floor for floor, names in enumerate(text[1].split("<")) for room in names.split()}


def modules() -> dict[str, Path]:
    """The files of the package by module name below it: `keys.encoder`, `keys`, `cache`, `__init__`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        *folders, name = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(folders if name == "__init__" and folders else [*folders, name])] = path
    return found


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file names in import statements, wherever they stand."""
    return {found for node in ast.walk(ast.parse(path.read_text())) for found in _imported(node, known)}


def _imported(node: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.partition(".")[0] == "pcache":
                yield alias.name.partition(".")[2] or "__init__"
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "an import is relative"
        package, _, below = (node.module or "").partition(".")
        if package == "pcache":
            for alias in node.names:
                whole = f"{below}.{alias.name}".removeprefix(".")
                yield whole if whole in known else below or "__init__"


def room_of(module: str) -> str:
    return module.partition(".")[0]


def graph() -> dict[str, set[str]]:
    """What each module imports."""
    known = modules()
    return {module: imports_of(path, known) - {module} for module, path in known.items()}


def wrong_arrows(imports: dict[str, set[str]]) -> list[str]:
    """Imports that do not go to a lower floor, or out of a room that the order does not name."""
    floors = order()
    return [
        f"{module} imports {target}"
        for module, targets in imports.items()
        for target in sorted(targets)
        if room_of(module) != room_of(target) and not floors[room_of(target)] < floors[room_of(module)]
    ]


def circles(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import each other, directly or not: one circle for each module that closes one."""
    found: list[str] = []
    done: set[str] = set()

    def enter(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            found.append(" -> ".join((*way[way.index(module) :], module)))
        elif module not in done:
            for target in sorted(imports[module]):
                enter(target, (*way, module))
            done.add(module)

    for module in imports:
        enter(module, ())
    return found


def arrows(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Which rooms each room imports."""
    found: dict[str, set[str]] = {room_of(module): set() for module in imports}
    for module, targets in imports.items():
        found[room_of(module)] |= set(map(room_of, targets)) - {room_of(module)}
    return found


def drawing(imports: dict[str, set[str]]) -> str:
    """The rooms with their files, and which imports which, as Markdown."""
    floors, known = order(), modules()
    lines = ["```"]
    for room in sorted((set(map(room_of, known)) - {"__init__", "__main__"}), key=lambda room: (floors[room], room)):
        if PACKAGE.joinpath(f"{room}.py").exists():
            lines.append(f"{room}.py".ljust(26) + first_line(known[room]))
            continue
        lines.append(f"{room}/".ljust(26) + first_line(known[room]))
        below = [module for module in known if module.startswith(f"{room}.")]
        for module in below:
            depth = module.count(".")
            is_package = known[module].name == "__init__.py"
            name = "  " * depth + module.rpartition(".")[2] + ("/" if is_package else ".py")
            lines.append(name.ljust(26) + first_line(known[module]))
    lines += ["```", "", "An arrow that follows from others is left out.", "", "```mermaid", "flowchart BT"]
    rests_on = {room: targets for room, targets in arrows(imports).items() if not room.startswith("__")}
    for room in sorted(rests_on, key=lambda room: (floors[room], room)):
        below = {target for target in rests_on[room] if not target.startswith("__")}
        implied = {further for target in below for further in _reached(target, rests_on)}
        lines += [f"    {room} --> {target}" for target in sorted(below - implied)]
    return "\n".join([*lines, "```"])


def _reached(room: str, rests_on: dict[str, set[str]]) -> set[str]:
    """All rooms that a room imports, directly or not."""
    found: set[str] = set()
    waiting = [room]
    for one in waiting:  # grows meanwhile
        new = rests_on.get(one, set()) - found
        found |= new
        waiting += new
    return found


def first_line(path: Path) -> str:
    """The first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.partition("\n")[0].removesuffix(".")


def text_with(drawn: str) -> str:
    """docs/design.md with another drawing in it."""
    before, _, rest = DESIGN.read_text().partition(_BEGIN)
    return f"{before}{_BEGIN}\n{drawn}\n{_END}{rest.partition(_END)[2]}"


def main() -> int:
    imports = graph()
    if "--write" in sys.argv:
        DESIGN.write_text(text_with(drawing(imports)))
    wrong, rings = wrong_arrows(imports), circles(imports)
    count = sum(map(len, arrows(imports).values()))
    rooms = set(map(room_of, imports)) - {"__init__", "__main__"}
    floors = len(set(order().values()))
    print(  # noqa: T201 - the figures
        f"{len(rooms)} rooms, {floors} floors, {count} arrows, {len(wrong)} not downwards, {len(rings)} circles"
    )
    for line in (*wrong, *rings):
        print(f"  {line}")  # noqa: T201 - the same
    return 1 if wrong or rings else 0


if __name__ == "__main__":
    sys.exit(main())
