"""Every setting in one table: its names, and how its value is read."""

from __future__ import annotations

import os

from pcache.errors import ConfigError
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, TypeVar, late

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.text import units
else:
    units = late("pcache.text.units")

T = TypeVar("T")
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
    if size < 1 and any(digit in "123456789" for digit in str(value)):
        raise unusable(value, "at least one byte, or 0 for nothing")
    return size


def read_duration(value: Any) -> float:
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


def read_share(value: Any) -> float:
    """A part of a whole, from 0 to 1 or in percent."""
    percent = isinstance(value, str) and value.rstrip().endswith("%")
    try:
        number = float(value.rstrip().removesuffix("%")) / 100 if percent else float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise unusable(value, "a share from 0 to 1, such as 0.01 or '1%'")
    return number


def read_option(option: str, value: Any, read: Callable[[Any], T]) -> T | None:
    """Read what a decorator's option was given, None if nothing; raises `ConfigError` that names the option."""
    try:
        return None if value is None else read(value)
    except ConfigError as error:
        raise ConfigError(f"{option}= {error}", setting=option, value=value) from error


def read_compression(value: Any) -> str | int:
    if (word := _word(value)) in ("auto", "none"):
        return word
    level = _whole_number(value)
    if level is None or not _FASTEST_LEVEL <= level <= _BEST_LEVEL:
        raise unusable(value, "'auto', 'none' or a zstd level from -7 to 22")
    return level


def _one_of(words: tuple[str, ...]) -> Callable[[Any], str]:
    """Read one of some words, in any case."""
    *others, last = map(repr, words)

    def read_word(value: Any) -> str:
        if (word := _word(value)) not in words:
            raise unusable(value, f"{', '.join(others)} or {last}")
        return word

    return read_word


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


def read_disable(value: Any) -> bool | tuple[str, ...]:
    """A switch, or patterns of the functions that are switched off."""
    names = [value] if isinstance(value, str) and ":" in value else value
    if isinstance(names, list | tuple) and names:
        if all(isinstance(name, str) and all(name.partition(":")[::2]) for name in names):
            return tuple(names)
    elif value in (0, 1) if isinstance(value, int) else isinstance(value, str) and _word(value) in _SWITCHES:
        return read_switch(value)
    raise unusable(value, "true, false or functions and patterns of them, such as 'pkg.slow:*'")


class Rule(NamedTuple):
    """The name of one setting, how its value is read, and in words what it is and when to touch it."""

    name: str
    read: Callable[[Any], object]
    about: str
    words: tuple[str, ...] = ()  # all values, where these are few
    file_name: str = ""  # where it differs from the name

    @property
    def key(self) -> str:
        """Its name in settings files, and on the command line."""
        return self.file_name or self.name

    @property
    def variable(self) -> str:
        """The variable of the environment that sets it."""
        return f"PCACHE_{self.key.upper()}"

    def given(self, text: str) -> object:
        """What a text stands for, given by a variable or on the command line: it may list several with commas."""
        lists = self.read is _globals or (self.read is read_disable and ":" in text)
        return [part.strip() for part in text.split(",") if part.strip()] if lists else text


FILES = ("silent", "warn")
_LEVELS = ("warning", "info", "debug")
_POLICIES, _CHECKS, _ON_OFF = ("value", "lru"), ("once", "always", "stream"), ("true", "false")
RULES = (
    Rule(
        "directory",
        read_path,
        "Where results are kept. Set it when your home is small, slow, on a network or thrown away.",
        file_name="dir",
    ),
    Rule(
        "max_size",
        _size,
        "How much room the directory may take, as bytes or such as `20 GiB`; with 0 nothing is looked up nor stored."
        " Raise it when `pcache stats` shows that results were evicted and computed again.",
    ),
    Rule(
        "max_entries",
        _or_none(_count),
        "How many results it may hold; `none` for any number. Set it where the file system has few inodes, or a backup"
        " goes through every file.",
    ),
    Rule(
        "min_free",
        _fraction,
        "The part of the disk that stays free, 10 GiB at most: below that the cache does not grow. Raise it on a disk"
        " that others need as well.",
    ),
    Rule(
        "policy",
        _one_of(_POLICIES),
        "What goes first when a limit is reached: what is cheap to compute for its size (`value`), or what was not used"
        " for longest (`lru`). Seldom worth a change.",
        _POLICIES,
    ),
    Rule(
        "ttl",
        _or_none(_age),
        "How old results may get, as seconds or such as `7d`; `none` for any age. Better set for single functions:"
        " those that ask a service or a database.",
    ),
    Rule(
        "compression",
        read_compression,
        "`auto`, `none` or a zstd level from -7 to 22. `auto` weighs what a result took to compute; force a level when"
        " room matters more than time, `none` when it is the other way round.",
        ("auto", "none"),
    ),
    Rule(
        "verify",
        _one_of(_CHECKS),
        "When large contents are checked against their digest: once a process (`once`), at each read (`always`), or"
        " only what is unpickled (`stream`). `always` is for disks that you do not trust. A project file may not say"
        " `stream`.",
        _CHECKS,
    ),
    Rule(
        "memory",
        _size,
        "How much of what it has read and stored a process holds in memory. Raise it for a hot loop over results that"
        " take more, set 0 for many processes with little memory.",
    ),
    Rule(
        "summaries",
        read_switch,
        "Whether arguments and results are stored in brief as text, for `pcache ls` and `explain`. Switch it off where"
        " they must not be written down.",
        _ON_OFF,
    ),
    Rule(
        "lock_timeout",
        _or_none(read_duration),
        "How long a call waits for another process that computes the same, before it computes for itself; `none` for no"
        " limit. Set it where a late answer is worse than computing twice.",
    ),
    Rule(
        "ignore_globals",
        _globals,
        "Globals that affect the results of no function, as `module:NAME` or patterns such as `*:RUN_ID`; a list, in a"
        " variable with commas. Set it when a warning, or `pcache explain`, names a global that is another one in each"
        " process.",
    ),
    Rule(
        "files",
        _one_of(FILES),
        "With `warn`, a call whose argument names a file by text or `Path` says once that the file's content does not"
        " count, and `pcache.File` would make it count. Set it for a project whose functions read files.",
        FILES,
    ),
    Rule(
        "check",
        read_share,
        "The share of hits that are computed again and compared with what is stored, such as `0.01`; a function that"
        " returned something else is named once. Set it in a nightly run, to find functions that should not be cached.",
    ),
    Rule(
        "read_only",
        read_switch,
        "Use what is stored, and store nothing. For jobs that share a prepared directory.",
        _ON_OFF,
    ),
    Rule(
        "shared",
        read_switch,
        "The directory belongs to a group, whose members share a signing key. A project file may not switch it on.",
        _ON_OFF,
    ),
    Rule(
        "disable",
        read_disable,
        "Compute everything, and neither look up nor store: all functions (`true`), or those that patterns of"
        " `module:name` fit, such as `pkg.slow:*`; a list, in a variable with commas. For finding out whether the cache"
        " is at fault; for a part of a program there is `with pcache.disabled():`.",
        _ON_OFF,
    ),
    Rule(
        "refresh",
        read_switch,
        "Compute everything anew and replace what is stored. For one run, after a change that no analysis sees; for a"
        " part of a program there is `with pcache.refreshing():`.",
        _ON_OFF,
    ),
    Rule(
        "log",
        _one_of(_LEVELS),
        "With `info`, a line for each call that is computed, with its arguments and how long it took; with `debug`, for"
        " hits as well. They go to the logger `pcache`, and to standard error where the program handles no log lines."
        " Set it for one run, to see what is cached.",
        _LEVELS,
    ),
    Rule(
        "key_file",
        read_path,
        "The file of the signing key, where it is not the one in your configuration directory. For machines, containers"
        " and groups that share results. A project file may not set it.",
    ),
    Rule(
        "key_in_directory",
        read_switch,
        "Keep the signing key with the results, for a volume whose every writer is trusted. A project file may not set"
        " it.",
        _ON_OFF,
    ),
    Rule(
        "record",
        read_path,
        "A directory that is committed with its signing key, for others to replay: `pytest --pcache=record` sets it. A"
        " project file may not.",
    ),
    Rule(
        "replay",
        read_path,
        "A directory that is only read, with the key that lies in it: a call without a result there raises"
        " `NotRecorded`. `pytest --pcache=replay` sets it. A project file may not.",
    ),
)
# These can be set for single functions too.
OF_FUNCTIONS = ("ttl", "lock_timeout", "max_size", "max_entries", "summaries", "files", "check")
KEY_VARIABLE = "PCACHE_KEY"  # the signing key itself, which is no setting: no file holds it, and nothing shows it
