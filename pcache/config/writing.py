"""Write one setting into a settings file, and leave all else there as it is, comments included.

One line is changed, and what comes out is compared with what went in: only the one setting may differ. A file that is
written in another way than line by line (inline tables, dotted keys) is left alone, and the user told what to write.
"""

from __future__ import annotations

import copy
import json
import os
import tomllib
from itertools import pairwise

from pcache.config.rules import OF_FUNCTIONS, RULES, Rule, read_path
from pcache.config.settings import doubt_of, parse_toml, project_file, refuse_in_project, unknown, user_file
from pcache.errors import ConfigError
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system import output_file
from pcache.system.interrupts import attempt
from pcache.system.safefiles import read_plain
from pcache.system.userdirs import make_private

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 1 << 20  # bytes of a file whose settings count


class Place(NamedTuple):
    """Where a setting is written: a file, and the table in it by the names that lead there."""

    path: str
    table: tuple[str, ...]
    is_project: bool


def place_of(*, project: bool, function: str | None = None) -> Place:
    """The user's settings file, or that of the project around the current directory; raises `ConfigError`."""
    path = project_file() if project else user_file()
    if not path:
        text = "there is no pyproject.toml in this folder or above" if project else "there is no home for a config.toml"
        raise ConfigError(text, setting="project" if project else "home")
    table = (*(("tool", "pcache") if project else ()), *(("functions", function) if function else ()))
    return Place(path, table, project)


def rule_of(name: str, *, of_function: bool) -> Rule:
    """The setting of a name, in any spelling; raises `ConfigError`."""
    rules = {rule.key: rule for rule in RULES if not of_function or rule.name in OF_FUNCTIONS}
    spelled = name.replace("-", "_")
    found = rules.get(spelled) or next((rule for rule in rules.values() if rule.name == spelled), None)
    if found is None:
        raise ConfigError(unknown(name, rules), setting=name)
    return found


def set_in(place: Place, rule: Rule, text: str) -> str:
    """Write a setting; return the line that stands there now. Raises `ConfigError` for a value that cannot be used."""
    given = rule.given(text)
    try:
        value = rule.read(given)
    except ConfigError as error:
        raise ConfigError(f"{rule.key}: {error}", setting=rule.name, value=text) from None
    if place.is_project:
        refuse_in_project(rule.name, value, place.path)
    line = f"{rule.key} = {_as_toml(rule, given, value, place)}"
    if not attempt(line.encode)[1]:
        raise ConfigError(
            f"{rule.key}: a settings file holds only names that are text; set {rule.variable}", setting=rule.name
        )
    _write(place, rule, line)
    return line


def unset_in(place: Place, rule: Rule) -> bool:
    """Remove a setting; return whether it was there. Raises `ConfigError`."""
    return _write(place, rule, None)


def _as_toml(rule: Rule, given: Any, value: Any, place: Place) -> str:
    """A value as it stands in a file: as it was given, but for switches, whole numbers and relative paths."""
    if isinstance(value, bool):
        return str(value).lower()
    if rule.read is read_path:
        given = _path(given, place)
    elif isinstance(given, str) and given.strip().isdecimal():
        return str(int(given))
    return json.dumps(given, ensure_ascii=False)  # text and lists of it look the same in TOML


def _path(given: str, place: Place) -> str:
    """A path from the current directory, as it is read from a file: relative to it in a project, else absolute."""
    folder = os.path.dirname(place.path)
    if given.startswith("~"):
        return given
    path = os.path.abspath(given)
    inside = place.is_project and os.path.commonpath((path, folder)) == folder
    return os.path.relpath(path, folder) if inside else path


def _write(place: Place, rule: Rule, line: str | None) -> bool:
    """Have a line of a setting in a file, or with None no line; return whether anything changed."""
    path = os.path.realpath(place.path)  # of a link, which may be kept elsewhere, the target is written
    before = _read(path)
    data = parse_toml(before, path)
    wanted, is_table = attempt(_with, data, place.table, rule, line)
    if line is None and wanted == data:
        return False
    text, _ = attempt(_edited, before.decode(), place.table, rule, line)
    outcome, is_toml = attempt(tomllib.loads, text)
    if not is_table or not is_toml or outcome != wanted:
        todo = f"write {line} there" if line else f"remove {rule.key} there"
        raise ConfigError(f"{path} is not written line by line, so it stays as it is; {todo} yourself", setting="file")
    make_private(os.path.dirname(path))
    output_file.write(path, text.encode())
    return True


def _read(path: str) -> bytes:
    """What a file holds; nothing if it is not there. Raises `ConfigError` if settings in it are not believed."""
    try:
        if doubt := doubt_of(os.stat(path)):
            raise ConfigError(f"the settings in {path} are ignored: {doubt}", setting="file", value=path)
        return read_plain(path, _LARGEST, linked=True)
    except FileNotFoundError:
        return b""


def _with(data: dict[str, Any], table: Sequence[str], rule: Rule, line: str | None) -> dict[str, Any]:
    """What a file is to hold afterwards."""
    wanted = inner = copy.deepcopy(data)
    for step in table:
        if step not in inner and line is None:
            return wanted
        inner = inner.setdefault(step, {})
    for spelling in [name for name in inner if name.replace("-", "_") == rule.key]:
        del inner[spelling]
    return wanted if line is None else (inner.update(tomllib.loads(line)) or wanted)


def _edited(text: str, table: Sequence[str], rule: Rule, line: str | None) -> str:
    """The text of a file with a line in a table, in the place of the one that was there, if any."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.removesuffix(newline).split(newline) if text else []
    begin, end = _section(lines, tuple(table))
    at = next((at for at in range(begin, end) if _sets(lines[at], rule)), None)
    if at is not None:
        last = next(last for last in range(at, end) if attempt(tomllib.loads, "\n".join(lines[at : last + 1]))[1])
        comment = _comment(lines[at]) if last == at else ""
        lines[at : last + 1] = [f"{line}{comment}"] if line else []
    elif begin > len(lines):  # there is no such table yet
        lines += [*([""] if lines else []), f"[{'.'.join(map(_as_key, table))}]", str(line)]
    else:
        at = end
        while at > begin and at < len(lines) and lines[at - 1].lstrip().startswith("#"):
            at -= 1  # what is said of the next table stays above that
        while at > begin and not lines[at - 1].strip():
            at -= 1
        lines.insert(at, str(line))
    return newline.join([*lines, ""])


def _as_key(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else json.dumps(name, ensure_ascii=False)


def _section(lines: Sequence[str], table: tuple[str, ...]) -> tuple[int, int]:
    """The lines of a table, without its header; beyond the end where there is no such table."""
    headers = [at for at, line in enumerate(lines) if line.lstrip().startswith("[")]
    if not table:
        return 0, (headers or [len(lines)])[0]
    for at, end in pairwise([*headers, len(lines)]):
        header, found = attempt(tomllib.loads, lines[at])
        inner, way = header, []
        while found and isinstance(inner, dict) and len(inner) == 1:
            ((name, inner),) = inner.items()
            way.append(name)
        if tuple(way) == table:
            return at + 1, end
    return len(lines) + 1, len(lines) + 1


def _sets(line: str, rule: Rule) -> bool:
    """Whether a line begins to set a setting."""
    name, equals, _ = line.partition("=")
    return bool(equals) and name.strip().strip("\"'").replace("-", "_") == rule.key


def _comment(line: str) -> str:
    """The comment at the end of a line, with the blanks before it."""
    for at in (at for at, character in enumerate(line) if character == "#"):
        before, found = attempt(tomllib.loads, line[:at])
        if found and before == tomllib.loads(line):
            return line[len(line[:at].rstrip()) :]
    return ""
