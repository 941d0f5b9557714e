"""Where a setting comes from: argument, environment, project file, user file or default, the first that has it.

One table says how each setting is called and read; everything else walks that table. Files and the environment are
read when `resolve` is called, never at import. Nothing here knows what a setting does: directories are not made or
judged, keys not read.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.errors import ConfigError
from pcache.folders import user_folder
from pcache.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# Looked for before anything else: most projects have no such table, and importing tomllib takes 6 to 9 ms.
_PROJECT_MARK = b"tool.pcache"
_GLANCE = 1 << 20  # how much of an untrusted file is read to learn whether it is worth a warning
_FASTEST_LEVEL, _BEST_LEVEL = -7, 22  # of zstd
_SWITCHES = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off", ""), False)


class Setting(NamedTuple):
    """One setting with the place it came from, such as "argument" or "environment PCACHE_DIR"."""

    name: str
    value: Any
    origin: str


class Settings(NamedTuple):
    """All settings of a cache, checked and in base units, with their defaults.

    Immutable and picklable, so threads and processes may share it; later changes of the environment or of a file do
    not reach it. `origins` has the origin of each setting by name.
    """

    directory: str  # absolute
    max_size: int = 10 << 30  # bytes
    max_entries: int | None = None
    min_free: float = 0.05  # fraction of the disk
    ttl: float | None = None  # seconds
    compression: str | int = "auto"  # "auto", "none" or a zstd level
    verify: str = "once"
    summaries: bool = True
    lock_timeout: float | None = None  # seconds
    read_only: bool = False
    disable: bool = False
    refresh: bool = False
    key_file: str | None = None  # absolute
    origins: Mapping[str, str] = {}


def resolve(**arguments: object) -> Settings:
    """Return the settings in force here and now; an argument that is None counts as not given.

    Every value of every source is checked, even one that another overrides. Raises ConfigError.
    """
    merged: dict[str, Setting] = {}
    for layer in (_from_user_file(), _from_project(), _from_environment(), _from_arguments(arguments)):
        merged |= {setting.name: setting for setting in layer}
    if "directory" not in merged:
        merged["directory"] = Setting("directory", _default_directory(), "default")
    origins = {rule.name: merged[rule.name].origin if rule.name in merged else "default" for rule in _RULES}
    return Settings(**{name: setting.value for name, setting in merged.items()}, origins=origins)


def describe(settings: Settings) -> list[Setting]:
    """List each setting with its value and its origin, in the order of the table."""
    origins = settings.origins
    return [Setting(rule.name, getattr(settings, rule.name), origins.get(rule.name, "default")) for rule in _RULES]


def _from_arguments(arguments: Mapping[str, object]) -> Iterator[Setting]:
    known = {rule.name: rule for rule in _RULES}
    for name, value in arguments.items():
        if name not in known:
            raise _unknown(name, known, "argument")
        if value is not None:
            yield _checked(known[name], value, "argument", folder="")


def _from_environment() -> Iterator[Setting]:
    for rule in _RULES:
        text = os.environ.get(rule.variable) if rule.variable else None
        # By convention an empty variable is one that is not set; a switch that is set to nothing is off.
        if text or (text is not None and rule.read is _switch):
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
        if name.replace("-", "_") in ("key", "key_file"):
            raise _refused("a project file may not set signing keys; put key_file into the user file", origin, name)
    # `functions` is reserved for settings of single functions.
    for setting in _from_table({name: table[name] for name in table if name != "functions"}, origin, path):
        if setting.name == "verify" and setting.value == "stream":
            raise _refused("a project file may not turn checks off; move verify to the user file", origin, "verify")
        yield setting


def _from_user_file() -> Iterator[Setting]:
    directory = user_folder("config")
    path = os.path.join(directory, "config.toml") if directory else ""
    if path and (text := _read_trusted(path)):
        origin = f"user file {path}"
        yield from _from_table(_parse_toml(text, origin), origin, path)


def _from_table(table: Mapping[str, object], origin: str, path: str) -> Iterator[Setting]:
    known = {rule.file_name or rule.name: rule for rule in _RULES}
    seen = set()
    for spelling, value in table.items():
        name = spelling.replace("-", "_")
        if name not in known:
            raise _unknown(spelling, known, origin)
        if name in seen:
            raise _refused(f"{name} is set twice, once with - and once with _; remove one", origin, name)
        seen.add(name)
        yield _checked(known[name], value, origin, folder=os.path.dirname(path))


def _checked(rule: _Rule, given: object, origin: str, *, folder: str) -> Setting:
    """Return the setting that `given` makes; a relative path is relative to `folder`, "" being the current one."""
    try:
        value = rule.read(given)
        if rule.read is _path:
            value = _absolute(str(value), folder)
    except ConfigError as error:
        raise _refused(f"{rule.name}: {error}", origin, rule.name, given) from None
    return Setting(rule.name, value, origin)


def _unknown(name: str, known: Iterable[str], origin: str) -> ConfigError:
    import difflib  # late for start-up time

    nearest = difflib.get_close_matches(name.replace("-", "_"), known, n=1, cutoff=0.0)[0]
    return _refused(f"there is no setting {name!r:.80}; the nearest name is {nearest!r}", origin, name)


def _refused(reason: str, origin: str, setting: str = "", value: object = None) -> ConfigError:
    return ConfigError(f"{origin}: {reason}", setting=setting, value=value, origin=origin)


def _nearest_project_file() -> str | None:
    """Return the first pyproject.toml on the way up; it alone counts, as it marks where the project begins."""
    try:
        folder = os.getcwd()
    except OSError:  # the current directory was removed, or may not be searched
        return None
    while not os.path.isfile(path := os.path.join(folder, "pyproject.toml")):
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return None
    return path


def _read_trusted(path: str, mark: bytes = b"") -> bytes:
    """Return a file's bytes; nothing if it is absent, lacks `mark`, or if another user could have written it.

    Another user's file, say in /tmp, must not steer us, and neither must another user's link to a file of ours.
    """
    try:
        # Non-blocking, so that a pipe of that name cannot make us wait.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            # The open file is asked, as the name may mean another one by now.
            doubt = _doubt(os.lstat(path)) or _doubt(os.fstat(file.fileno()))
            text = file.read(_GLANCE if doubt else -1) or b""
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        doubt, text = str(error.strerror), mark
    if mark not in text:
        return b""
    if doubt:
        import logging  # late for start-up time

        logging.getLogger("pcache").warning("the settings in %s are ignored: %s", path, doubt)
    return b"" if doubt else text


def _doubt(status: os.stat_result) -> str:
    """Say why a file may hold another user's words; empty if it cannot."""
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


def _default_directory() -> str:
    if directory := user_folder("cache"):
        return directory
    import tempfile  # late for start-up time

    # A proposal only: whether the directory can be trusted is checked by whoever opens it.
    return os.path.join(tempfile.gettempdir(), f"pcache-{os.geteuid()}")


def _unusable(value: object, expected: str) -> ConfigError:
    return ConfigError(f"cannot use {value!r:.80}; give {expected}", value=value)


def _word(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _path(value: Any) -> str:
    try:
        path = os.path.expanduser(os.fsdecode(value))
    except TypeError:
        path = ""
    if not path or "\0" in path or path.startswith("~"):  # a ~ that is left stands for no known home
        raise _unusable(value, "a path that is not empty and, if it begins with ~, names a known home")
    return path


def _absolute(path: str, folder: str) -> str:
    try:
        return os.path.abspath(os.path.join(folder, path))
    except OSError:
        raise _unusable(path, "an absolute path, as the current directory is gone") from None


def _size(value: Any) -> int:
    size = parse_size(value)
    if size < 1:
        raise _unusable(value, "at least one byte; to store nothing, use read_only or disable")
    return size


def _age(value: Any) -> float:
    age = parse_duration(value)
    if not age:
        raise _unusable(value, "a duration above 0, or 'none' for no limit")
    return age


def _whole_number(value: Any) -> int | None:
    try:
        return None if isinstance(value, bool | float) else int(value)
    except (TypeError, ValueError):
        return None


def _count(value: Any) -> int:
    number = _whole_number(value)
    if number is None or number < 1:
        raise _unusable(value, "a whole number of at least 1, or 'none' for no limit")
    return number


def _fraction(value: Any) -> float:
    percent = isinstance(value, str) and value.rstrip().endswith("%")
    try:
        number = float(value.rstrip().removesuffix("%")) / 100 if percent else float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number < 1:
        raise _unusable(value, "a part of the disk below 1, such as 0.05 or '5%'")
    return number


def _compression(value: Any) -> str | int:
    if (word := _word(value)) in ("auto", "none"):
        return word
    level = _whole_number(value)
    if level is None or not _FASTEST_LEVEL <= level <= _BEST_LEVEL:
        raise _unusable(value, "'auto', 'none' or a zstd level from -7 to 22")
    return level


def _verify(value: Any) -> str:
    if (word := _word(value)) not in ("once", "always", "stream"):
        raise _unusable(value, "'once', 'always' or 'stream'")
    return word


def _switch(value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in _SWITCHES or not isinstance(value, int | str):
        raise _unusable(value, "1, true, yes or on, or else 0, false, no or off")
    return _SWITCHES[word]


def _or_none(read: Callable[[Any], object]) -> Callable[[Any], object]:
    """Let the word "none" lift a limit, as None itself means "not given"."""

    def read_or_none(value: Any) -> object:
        return None if _word(value) == "none" else read(value)

    return read_or_none


class _Rule(NamedTuple):
    """How one setting is called and read."""

    name: str
    read: Callable[[Any], object]
    variable: str = ""
    file_name: str = ""  # where it differs from the name


_RULES = (
    _Rule("directory", _path, "PCACHE_DIR", "dir"),
    _Rule("max_size", _size, "PCACHE_MAX_SIZE"),
    _Rule("max_entries", _or_none(_count)),
    _Rule("min_free", _fraction),
    _Rule("ttl", _or_none(_age)),
    _Rule("compression", _compression),
    _Rule("verify", _verify),
    _Rule("summaries", _switch),
    _Rule("lock_timeout", _or_none(parse_duration)),
    _Rule("read_only", _switch, "PCACHE_READ_ONLY"),
    _Rule("disable", _switch, "PCACHE_DISABLE"),
    _Rule("refresh", _switch, "PCACHE_REFRESH"),
    _Rule("key_file", _path),
)
