"""Every setting in one table: its names, and how its value is read."""

from __future__ import annotations

import os

from pcache.errors import ConfigError
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, late

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.text import units
else:
    units = late("pcache.text.units")

_FASTEST_LEVEL, _BEST_LEVEL = -7, 22  # of zstd
_TOO_MANY = 2**63  # limit of any count
_SWITCHES = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off", ""), False)


def unusable(value: object, expected: str) -> ConfigError:
    return ConfigError(f"cannot use {units.shown(value)}; give {expected}", value=value)


def _word(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def read_path(value: Any) -> str:
    try:
        path = os.fsdecode(value)
        os.fsencode(path)  # an unpaired surrogate cannot be part of a name
        path = "" if "\0" in path else os.path.expanduser(path)
    except (TypeError, ValueError):
        path = ""
    if not path or path.startswith("~"):  # a remaining ~ names no known home
        raise unusable(value, "a path that is not empty and, if it begins with ~, names a known home")
    return path


def _size(value: Any) -> int:
    size = units.parse_size(value)
    if size < 1:
        raise unusable(value, "at least one byte; to store nothing, use read_only or disable")
    return size


def _memory(value: Any) -> int:
    return units.parse_size(value)


def _duration(value: Any) -> float | None:
    return units.parse_duration(value)


def _age(value: Any) -> float:
    age = units.parse_duration(value)
    if not age:
        raise unusable(value, "a duration above 0, or 'none' for no limit")
    return age


def _whole_number(value: Any) -> int | None:
    try:
        number = None if isinstance(value, bool | float) else int(value)
    except (TypeError, ValueError):
        return None
    return number if number is not None and abs(number) < _TOO_MANY else None


def _count(value: Any) -> int:
    number = _whole_number(value)
    if number is None or number < 1:
        raise unusable(value, "a whole number of at least 1, or 'none' for no limit")
    return number


def _fraction(value: Any) -> float:
    percent = isinstance(value, str) and value.rstrip().endswith("%")
    try:
        number = float(value.rstrip().removesuffix("%")) / 100 if percent else float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number < 1:
        raise unusable(value, "a part of the disk below 1, such as 0.05 or '5%'")
    return number


def read_compression(value: Any) -> str | int:
    if (word := _word(value)) in ("auto", "none"):
        return word
    level = _whole_number(value)
    if level is None or not _FASTEST_LEVEL <= level <= _BEST_LEVEL:
        raise unusable(value, "'auto', 'none' or a zstd level from -7 to 22")
    return level


def _policy(value: Any) -> str:
    if (word := _word(value)) not in ("value", "lru"):
        raise unusable(value, "'value' or 'lru'")
    return word


def _verify(value: Any) -> str:
    if (word := _word(value)) not in ("once", "always", "stream"):
        raise unusable(value, "'once', 'always' or 'stream'")
    return word


def read_switch(value: Any) -> bool:
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if not isinstance(value, str) or _word(value) not in _SWITCHES:
        raise unusable(value, "1, true, yes or on, or else 0, false, no or off")
    return _SWITCHES[_word(value)]


def _globals(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list | tuple) else (None,)
    if not all(isinstance(name, str) and all(name.partition(":")[::2]) for name in names):
        raise unusable(value, "a list of globals or patterns of them, such as ['module:NAME', '*:NAME']")
    return tuple(names)


def _or_none(read: Callable[[Any], object]) -> Callable[[Any], object]:
    """Let the word "none" lift a limit, since None itself means "not given"."""

    def read_or_none(value: Any) -> object:
        return None if _word(value) == "none" else read(value)

    return read_or_none


class Rule(NamedTuple):
    """The names of one setting, and how its value is read."""

    name: str
    read: Callable[[Any], object]
    variable: str = ""
    file_name: str = ""  # where it differs from the name


RULES = (
    Rule("directory", read_path, "PCACHE_DIR", "dir"),
    Rule("max_size", _size, "PCACHE_MAX_SIZE"),
    Rule("max_entries", _or_none(_count)),
    Rule("min_free", _fraction),
    Rule("policy", _policy),
    Rule("ttl", _or_none(_age)),
    Rule("compression", read_compression),
    Rule("verify", _verify),
    Rule("memory", _memory, "PCACHE_MEMORY"),
    Rule("summaries", read_switch),
    Rule("lock_timeout", _or_none(_duration)),
    Rule("ignore_globals", _globals),
    Rule("read_only", read_switch, "PCACHE_READ_ONLY"),
    Rule("shared", read_switch, "PCACHE_SHARED"),
    Rule("disable", read_switch, "PCACHE_DISABLE"),
    Rule("refresh", read_switch, "PCACHE_REFRESH"),
    Rule("key_file", read_path),
    Rule("key_in_directory", read_switch, "PCACHE_KEY_IN_DIRECTORY"),
)
OF_FUNCTIONS = ("ttl", "lock_timeout", "max_size", "max_entries", "summaries")  # can be set for single functions too
