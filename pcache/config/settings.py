"""Resolve settings: argument, environment, project file, user file, default; the first that has a value counts.

One table says how each setting is called and read; everything else walks that table. Files and the environment are
read when `resolve` is called, never at import. Nothing here knows what a setting does: directories are not made or
judged, keys not read.
"""

from __future__ import annotations

import os
import stat

from pcache.config.options import FunctionSettings
from pcache.config.rules import KEY_VARIABLE, OF_FUNCTIONS, RULES, Rule, read_path, unusable
from pcache.errors import ConfigError
from pcache.startup import TYPE_CHECKING, Any, Literal, NamedTuple, late
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.userdirs import cache_folder, user_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pcache.system import notices
else:
    notices = late("pcache.system.notices")

# Searched for first: most projects have no such table, and importing tomllib takes 6 to 9 ms.
_PROJECT_MARK = b"tool.pcache"
_MOST_FREE = 10 << 30  # bytes; a twentieth of 2 TB would be 100 GB
_PREFIX = "PCACHE_"
_NEAR = 0.65  # how alike a name must be to be taken for another one: `size` is near `max_size`, `key` not to `key_file`
_MOST_IGNORED = 20  # names that are no settings, of which is told: a file could hold any number
_RECORDINGS = {"record": ("key_in_directory",), "replay": ("key_in_directory", "read_only")}  # and what they imply
_GLANCE = 1 << 20  # bytes that are read of a settings file, which could hold terabytes


class Setting(NamedTuple):
    """One setting with the place it came from, such as "argument" or "environment PCACHE_DIR"."""

    name: str
    value: Any
    origin: str


class Settings(NamedTuple):
    """All settings of a cache, checked and in base units, with their defaults.

    Immutable and picklable, so threads and processes may share it; later changes of the environment or of a file do not
    affect it. `origins` has the origin of each setting by name. `ignored` says of names that are no settings where they
    stand, each in a sentence.
    """

    directory: str  # absolute
    max_size: int = 10 << 30  # bytes
    max_entries: int | None = None
    min_free: float = 0.05  # fraction of the disk, see `to_leave_free`
    policy: Literal["value", "lru"] = "value"
    ttl: float | None = None  # seconds
    compression: str | int = "auto"  # "auto", "none" or a zstd level
    verify: str = "once"
    memory: int = 64 << 20  # bytes per process
    summaries: bool = True
    lock_timeout: float | None = None  # seconds
    ignore_globals: tuple[str, ...] = ()  # patterns of `module:NAME`
    files: Literal["silent", "warn"] = "silent"
    check: float = 0.0  # fraction of the hits
    read_only: bool = False
    shared: bool = False
    disable: bool | tuple[str, ...] = False  # or patterns of the functions
    refresh: bool = False
    log: Literal["warning", "info", "debug"] = "warning"
    key_file: str | None = None  # absolute
    key_in_directory: bool = False
    record: str | None = None  # absolute; the directory of that name keeps its key with the results
    replay: str | None = None  # absolute; the same, and it is only read: a call that misses raises
    origins: Mapping[str, str] = {}
    functions: Mapping[str, Mapping[str, Any]] = {}  # settings of single functions, by name or pattern
    ignored: tuple[str, ...] = ()

    def of_function(self, name: str) -> FunctionSettings:
        """The settings of `module:name`, in a notebook also as `__main__:name`, else of the first fitting pattern."""
        fitting = _fitting(name, self.functions)
        return FunctionSettings(**(self.functions[fitting[0]] if fitting else {}))

    @property
    def switched_off(self) -> str:
        """For whom `disable` switches the cache off, as messages go on: ` for pkg.slow:*`; empty if for nobody."""
        patterns = (self.disable or ()) if self.disable is not True else ("all functions",)
        return f" for {', '.join(patterns)}" if patterns else ""

    def disables(self, name: str) -> bool:
        """Whether calls of the function `module:qualified.name` pass the cache by."""
        patterns = self.disable if isinstance(self.disable, tuple) else ()
        return bool(_fitting(name, patterns)) or self.of_function(name).max_size == 0


def _fitting(name: str, patterns: Iterable[str]) -> list[str]:
    """The patterns that fit a name, itself first; a function of a notebook has that of `__main__` as well."""
    if not patterns:
        return []
    import fnmatch  # late for start-up time

    module, _, label = name.partition(":")
    names = (name, f"__main__:{label}") if module.endswith(".ipynb") else (name,)
    fitting = (one for one in patterns if any(fnmatch.fnmatchcase(known, one) for known in names))
    return [*(known for known in names if known in patterns), *fitting]


def to_leave_free(min_free: float, disk: int) -> int:
    """How many bytes of a disk are kept free: a part of it, and at most 10 GiB."""
    return min(int(min_free * disk), _MOST_FREE)


def resolve(**arguments: object) -> Settings:
    """Return the settings in force; an argument that is None counts as not given.

    Every value of every source is checked, even one that another overrides. Raises ConfigError. Names in files and in
    the environment that are no settings are left aside: they may be those of a newer release, which others use.
    """
    merged: dict[str, Setting] = {}
    functions: dict[str, Mapping[str, Any]] = {}
    ignored: list[str] = []
    layers = (_from_user_file(ignored), _from_project(ignored), _from_environment(ignored), _from_arguments(arguments))
    for layer in layers:
        found = {setting.name: setting for setting in layer}
        if "functions" in found:
            own = found.pop("functions").value
            functions = {name: {**functions.get(name, {}), **own.get(name, {})} for name in (*own, *functions)}
        merged |= found
    if "directory" not in merged:
        merged["directory"] = Setting("directory", cache_folder(), "default")
    for mode, implied in _RECORDINGS.items():
        if mode in merged and merged[mode].value == merged["directory"].value:
            merged |= {name: Setting(name, True, merged[mode].origin) for name in implied}
    origins = {rule.name: merged[rule.name].origin if rule.name in merged else "default" for rule in RULES}
    values = {name: setting.value for name, setting in merged.items()}
    return Settings(**values, origins=origins, functions=functions, ignored=tuple(ignored))


def describe(settings: Settings) -> list[Setting]:
    """List each setting with its value and its origin, in the order of the table."""
    origins = settings.origins
    return [Setting(rule.name, getattr(settings, rule.name), origins.get(rule.name, "default")) for rule in RULES]


def _from_arguments(arguments: Mapping[str, object]) -> Iterator[Setting]:
    known = {rule.name: rule for rule in RULES}
    for name, value in arguments.items():
        if name not in known:
            raise _refused(unknown(name, known), "argument", name)
        if value is not None:
            yield _checked(known[name], value, "argument", folder="")


def _from_environment(ignored: list[str]) -> Iterator[Setting]:
    known = {rule.variable: rule for rule in RULES}
    for name in sorted(name for name in os.environ if name.startswith(_PREFIX) and name != KEY_VARIABLE):
        text, rule = os.environ.get(name, ""), known.get(name)
        if rule is None:
            meant = _nearest(name.removeprefix(_PREFIX).lower(), [rule.key for rule in RULES])
            hint = f"the nearest is {_PREFIX}{meant.upper()}" if meant else "`pcache config` lists all settings"
            ignored.append(f"the variable {name:.80} is no setting and has no effect; {hint}")
        # By convention an empty variable counts as not set; a switch that is empty is off.
        elif text or "false" in rule.words:
            yield _checked(rule, rule.given(text), f"environment {name}", folder="")


def _from_project(ignored: list[str]) -> Iterator[Setting]:
    path = project_file()
    if path is None or not (text := _read_trusted(path, _PROJECT_MARK)):
        return
    origin = f"pyproject.toml at {path}"
    tools = parse_toml(text, origin).get("tool")
    table = tools.get("pcache", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise _refused("tool.pcache is not a table; write settings below [tool.pcache]", origin)
    for name in table:
        refuse_in_project(name, None, origin)
    for setting in _from_table(table, origin, path, ignored):
        refuse_in_project(setting.name, setting.value, origin)
        yield setting


def refuse_in_project(name: str, value: object, origin: str) -> None:
    """Raise `ConfigError` for what whoever writes a project's files must not decide."""
    own = user_file() or "your own config.toml"
    if name.replace("-", "_").lower() in ("key", "key_file", "key_in_directory", "signing_key"):
        raise _refused(f"a project file may not set signing keys; put {name} into {own}", origin, name)
    if name == "verify" and value == "stream":
        raise _refused(f"a project file may not turn checks off; move verify to {own}", origin, name)
    if name in _RECORDINGS:
        raise _refused(f"a project file may not name results that bring their own key; unset {name}", origin, name)
    if name == "shared" and value:
        raise _refused(f"a project file may not let others in; move shared to {own}", origin, name)


def user_file() -> str:
    """The user's own settings file, whether it is there or not; empty where there is no place for one."""
    directory = user_folder("config")
    return os.path.join(directory, "config.toml") if directory else ""


def _from_user_file(ignored: list[str]) -> Iterator[Setting]:
    path = user_file()
    if path and (text := _read_trusted(path)):
        origin = f"user file {path}"
        yield from _from_table(parse_toml(text, origin), origin, path, ignored)


def _from_table(table: Mapping[str, object], origin: str, path: str, ignored: list[str]) -> Iterator[Setting]:
    if "functions" in table:
        yield Setting("functions", _functions(table["functions"], origin, ignored), origin)
    known = {rule.key: rule for rule in RULES}
    for name, value in _known_in(table, known, origin, ignored, {"functions"}):
        yield _checked(known[name], value, origin, folder=os.path.dirname(path))


def _known_in(
    table: Mapping[str, object], known: Iterable[str], origin: str, ignored: list[str], others: Iterable[str] = ()
) -> Iterator[tuple[str, object]]:
    """The settings of a table by name, whichever way these are spelled; what is none is added to `ignored`."""
    seen = set()
    for spelling, value in table.items():
        name = spelling.replace("-", "_")
        if name in others:
            continue
        if name not in known:
            ignored += [f"{origin}: {unknown(spelling, known)}"] if len(ignored) < _MOST_IGNORED else []
            continue
        if name in seen:
            raise _refused(f"{name} is set twice, once with - and once with _; remove one", origin, name)
        seen.add(name)
        yield name, value


def _functions(tables: object, origin: str, ignored: list[str]) -> dict[str, dict[str, Any]]:
    """The settings of single functions, such as `[tool.pcache.functions."pkg.mod:f"]`."""
    known = {rule.name: rule for rule in RULES if rule.name in OF_FUNCTIONS}
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise _refused('functions holds a table for each function, such as [functions."pkg.mod:f"]', origin)
    found: dict[str, dict[str, Any]] = {}
    for pattern, table in tables.items():
        place = f'{origin}: functions."{pattern}"'
        given = _known_in(table, known, place, ignored)
        found[pattern] = {name: _checked(known[name], value, place, folder="").value for name, value in given}
    return found


def _checked(rule: Rule, given: object, origin: str, *, folder: str) -> Setting:
    """Return the setting that `given` makes; a relative path is relative to `folder`, "" being the current one."""
    try:
        value = rule.read(given)
        if rule.read is read_path:
            value = _absolute(str(value), folder)
    except ConfigError as error:
        raise _refused(f"{rule.name}: {error}", origin, rule.name, given) from None
    return Setting(rule.name, value, origin)


def unknown(name: str, known: Iterable[str]) -> str:
    """That there is no such setting, with the nearest name where one is near, and else with all."""
    meant = _nearest(name, known)
    hint = f"the nearest name is {meant!r}" if meant else f"there are {', '.join(known)}"
    return f"there is no setting {name!r:.80}; {hint}"


def _nearest(name: str, known: Iterable[str]) -> str:
    import difflib  # late for start-up time

    name = name.replace("-", "_")
    meant = [rule.file_name for rule in RULES if rule.file_name in known and rule.name == name]
    return (meant or difflib.get_close_matches(name, list(known), n=1, cutoff=_NEAR) or [""])[0]


def _refused(reason: str, origin: str, setting: str = "", value: object = None) -> ConfigError:
    place = "" if origin == "argument" else f"{origin}: "
    return ConfigError(f"{place}{reason}", setting=setting, value=value, origin=origin)


def project_file() -> str | None:
    """Return the nearest pyproject.toml in or above the current directory; only it counts: the project begins there."""
    try:
        folder = os.getcwd()
    except OSError as error:
        raise_if_interrupt(error)  # else the current directory was removed, or may not be searched
        return None
    while not os.path.isfile(path := os.path.join(folder, "pyproject.toml")):
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return None
    return path


def _read_trusted(path: str, mark: bytes = b"") -> bytes:
    """Return a file's bytes; nothing if it is absent, lacks `mark`, or if another user could have written it.

    Another user's file, say in /tmp, must not control us, and neither must another user's link to our file.
    """
    try:
        # Non-blocking, so that a FIFO of that name cannot make us wait.
        with open(path, "rb", opener=lambda name, flags: uninterrupted(os.open, name, flags | os.O_NONBLOCK)) as file:
            # The open file is checked, as the name may mean another one by now.
            doubt = doubt_of(os.lstat(path)) or doubt_of(os.fstat(file.fileno()))
            text = file.read(_GLANCE) or b""
            if not doubt and len(text) == _GLANCE:
                doubt = "it is larger than 1 MiB"
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise_if_interrupt(error)
        doubt, text = str(error.strerror), mark
    if mark not in text:
        return b""
    if doubt:
        notices.log("the settings in %s are ignored: %s", path, doubt)
    return b"" if doubt else text


def doubt_of(status: os.stat_result) -> str:
    """Say why another user may have written a file; empty if none could."""
    if status.st_uid not in (os.geteuid(), 0):
        return "it belongs to another user"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(status.st_mode):
        return "its group or others may write to it (chmod go-w)"
    return ""


def parse_toml(text: bytes, origin: str) -> dict[str, Any]:
    """What a settings file holds; raises `ConfigError` that names it, and the line."""
    import tomllib  # late for start-up time

    try:
        return tomllib.loads(text.decode())
    except ValueError as error:  # both that of the decoder and that of TOML, which names the line
        raise _refused(f"not valid TOML: {error}", origin) from None
    except RecursionError:
        raise _refused("not valid TOML: nested too deeply", origin) from None


def _absolute(path: str, folder: str) -> str:
    try:
        return os.path.abspath(os.path.join(folder, path))
    except OSError as error:
        raise_if_interrupt(error)
        raise unusable(path, "an absolute path, as the current directory is gone") from None
