"""Resolve settings: argument, environment, project file, user file, default; the first that has a value counts.

One table says how each setting is called and read; everything else walks that table. Files and the environment are
read when `resolve` is called, never at import. Nothing here knows what a setting does: directories are not made or
judged, keys not read.
"""

from __future__ import annotations

import os
import stat

from pcache.config.rules import OF_FUNCTIONS, RULES, Rule, read_path, read_switch, unusable
from pcache.errors import ConfigError
from pcache.startup import TYPE_CHECKING, Any, Literal, NamedTuple, late
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.userdirs import user_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pcache.system import notices
else:
    notices = late("pcache.system.notices")

# Searched for first: most projects have no such table, and importing tomllib takes 6 to 9 ms.
_PROJECT_MARK = b"tool.pcache"
_MOST_FREE = 10 << 30  # bytes; a twentieth of 2 TB would be 100 GB
_GLANCE = 1 << 20  # bytes that are read of a settings file, which could hold terabytes


class Setting(NamedTuple):
    """One setting with the place it came from, such as "argument" or "environment PCACHE_DIR"."""

    name: str
    value: Any
    origin: str


class Settings(NamedTuple):
    """All settings of a cache, checked and in base units, with their defaults.

    Immutable and picklable, so threads and processes may share it; later changes of the environment or of a file do not
    affect it. `origins` has the origin of each setting by name.
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
    read_only: bool = False
    shared: bool = False
    disable: bool = False
    refresh: bool = False
    key_file: str | None = None  # absolute
    key_in_directory: bool = False
    origins: Mapping[str, str] = {}
    functions: Mapping[str, Mapping[str, Any]] = {}  # settings of single functions, by name or pattern

    def of_function(self, name: str) -> FunctionSettings:
        """The settings of the function `module:qualified.name`, else those of the first pattern that fits."""
        if not self.functions:
            return FunctionSettings()
        import fnmatch  # late for start-up time

        found = self.functions.get(name)
        if found is None:
            fitting = (own for pattern, own in self.functions.items() if fnmatch.fnmatchcase(name, pattern))
            found = next(fitting, {})
        return FunctionSettings(**found)


def to_leave_free(min_free: float, disk: int) -> int:
    """How many bytes of a disk are kept free: a part of it, and at most 10 GiB."""
    return min(int(min_free * disk), _MOST_FREE)


class FunctionSettings(NamedTuple):
    """The settings of one function alone; None where not set. In base units."""

    ttl: float | None = None  # seconds
    lock_timeout: float | None = None  # seconds
    max_size: int | None = None  # bytes
    max_entries: int | None = None
    summaries: bool | None = None


def resolve(**arguments: object) -> Settings:
    """Return the settings in force; an argument that is None counts as not given.

    Every value of every source is checked, even one that another overrides. Raises ConfigError.
    """
    merged: dict[str, Setting] = {}
    functions: dict[str, Mapping[str, Any]] = {}
    for layer in (_from_user_file(), _from_project(), _from_environment(), _from_arguments(arguments)):
        found = {setting.name: setting for setting in layer}
        if "functions" in found:
            own = found.pop("functions").value
            functions = {name: {**functions.get(name, {}), **own.get(name, {})} for name in (*own, *functions)}
        merged |= found
    if "directory" not in merged:
        merged["directory"] = Setting("directory", _default_directory(), "default")
    origins = {rule.name: merged[rule.name].origin if rule.name in merged else "default" for rule in RULES}
    values = {name: setting.value for name, setting in merged.items()}
    return Settings(**values, origins=origins, functions=functions)


def describe(settings: Settings) -> list[Setting]:
    """List each setting with its value and its origin, in the order of the table."""
    origins = settings.origins
    return [Setting(rule.name, getattr(settings, rule.name), origins.get(rule.name, "default")) for rule in RULES]


def _from_arguments(arguments: Mapping[str, object]) -> Iterator[Setting]:
    known = {rule.name: rule for rule in RULES}
    for name, value in arguments.items():
        if name not in known:
            raise _unknown(name, known, "argument")
        if value is not None:
            yield _checked(known[name], value, "argument", folder="")


def _from_environment() -> Iterator[Setting]:
    for rule in RULES:
        text = os.environ.get(rule.variable) if rule.variable else None
        # By convention an empty variable counts as not set; a switch that is empty is off.
        if text or (text is not None and rule.read is read_switch):
            yield _checked(rule, text, f"environment {rule.variable}", folder="")


def _from_project() -> Iterator[Setting]:
    path = _nearest_project_file()
    if path is None or not (text := _read_trusted(path, _PROJECT_MARK)):
        return
    origin = f"pyproject.toml at {path}"
    tools = _parse_toml(text, origin).get("tool")
    table = tools.get("pcache", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise _refused("tool.pcache is not a table; write settings below [tool.pcache]", origin)
    for name in table:
        if name.replace("-", "_").lower() in ("key", "key_file", "key_in_directory", "signing_key"):
            raise _refused(f"a project file may not set signing keys; put {name} into the user file", origin, name)
    for setting in _from_table(table, origin, path):
        if setting.name == "verify" and setting.value == "stream":
            raise _refused("a project file may not turn checks off; move verify to the user file", origin, "verify")
        if setting.name == "shared" and setting.value:
            raise _refused("a project file may not let others in; move shared to the user file", origin, "shared")
        yield setting


def _from_user_file() -> Iterator[Setting]:
    directory = user_folder("config")
    path = os.path.join(directory, "config.toml") if directory else ""
    if path and (text := _read_trusted(path)):
        origin = f"user file {path}"
        yield from _from_table(_parse_toml(text, origin), origin, path)


def _from_table(table: Mapping[str, object], origin: str, path: str) -> Iterator[Setting]:
    known = {rule.file_name or rule.name: rule for rule in RULES}
    seen = set()
    for spelling, value in table.items():
        name = spelling.replace("-", "_")
        if name == "functions":
            yield Setting(name, _functions(value, origin), origin)
            continue
        if name not in known:
            raise _unknown(spelling, known, origin)
        if name in seen:
            raise _refused(f"{name} is set twice, once with - and once with _; remove one", origin, name)
        seen.add(name)
        yield _checked(known[name], value, origin, folder=os.path.dirname(path))


def _functions(tables: object, origin: str) -> dict[str, dict[str, Any]]:
    """The settings of single functions, such as `[tool.pcache.functions."pkg.mod:f"]`."""
    known = {rule.name: rule for rule in RULES if rule.name in OF_FUNCTIONS}
    found: dict[str, dict[str, Any]] = {}
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise _refused('functions holds a table for each function, such as [functions."pkg.mod:f"]', origin)
    for pattern, table in tables.items():
        place = f'{origin}: functions."{pattern}"'
        found[pattern] = {}
        for spelling, value in table.items():
            name = spelling.replace("-", "_")
            if name not in known:
                raise _unknown(spelling, known, place)
            if name in found[pattern]:
                raise _refused(f"{name} is set twice, once with - and once with _; remove one", place, name)
            found[pattern][name] = _checked(known[name], value, place, folder="").value
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


def _unknown(name: str, known: Iterable[str], origin: str) -> ConfigError:
    import difflib  # late for start-up time

    meant = {rule.name: [rule.file_name] for rule in RULES if rule.file_name in known}.get(name)
    nearest = meant or difflib.get_close_matches(name.replace("-", "_"), list(known), n=1, cutoff=0.5)
    hint = f"the nearest name is {nearest[0]!r}" if nearest else f"there are {', '.join(known)}"
    return _refused(f"there is no setting {name!r:.80}; {hint}", origin, name)


def _refused(reason: str, origin: str, setting: str = "", value: object = None) -> ConfigError:
    place = "" if origin == "argument" else f"{origin}: "
    return ConfigError(f"{place}{reason}", setting=setting, value=value, origin=origin)


def _nearest_project_file() -> str | None:
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
            doubt = _doubt(os.lstat(path)) or _doubt(os.fstat(file.fileno()))
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


def _doubt(status: os.stat_result) -> str:
    """Say why another user may have written a file; empty if none could."""
    if status.st_uid not in (os.geteuid(), 0):
        return "it belongs to another user"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(status.st_mode):
        return "its group or others may write to it (chmod go-w)"
    return ""


def _parse_toml(text: bytes, origin: str) -> dict[str, Any]:
    import tomllib  # late for start-up time

    try:
        return tomllib.loads(text.decode())
    except ValueError as error:  # both that of the decoder and that of TOML, which names the line
        raise _refused(f"not valid TOML: {error}", origin) from None
    except RecursionError:
        raise _refused("not valid TOML: nested too deeply", origin) from None


def _default_directory() -> str:
    directory = user_folder("cache")
    if directory and not _is_below_a_file(directory):
        return directory
    import tempfile  # late for start-up time

    # A proposal only: whether the directory can be trusted is checked when it is opened.
    return os.path.join(tempfile.gettempdir(), f"pcache-{os.geteuid()}")


def _is_below_a_file(path: str) -> bool:
    """Whether a path leads through a file, as with `HOME=/dev/null`, set for services without a home."""
    try:
        os.lstat(path)
    except NotADirectoryError:
        return True
    except OSError as error:
        raise_if_interrupt(error)  # else it mostly does not exist yet
    return False


def _absolute(path: str, folder: str) -> str:
    try:
        return os.path.abspath(os.path.join(folder, path))
    except OSError as error:
        raise_if_interrupt(error)
        raise unusable(path, "an absolute path, as the current directory is gone") from None
