"""Sizes and durations, to and from people.

A size is a whole number of bytes, a duration a float of seconds. Texts are read generously (case, spaces and
underscores do not matter) but never guessed at: what has no single meaning is refused. Nothing here knows which setting
a text belongs to; config/settings.py adds that to the error.
"""

from __future__ import annotations

from pcache.errors import ConfigError
from pcache.startup import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from typing import TypeGuard

_TOO_LARGE = 2**64  # neither a disk nor a wait reaches it; nan and the infinities fail the same comparison

_LONGEST = 100  # characters of a text that a person wrote

_STEP = 1024  # between two units of a size

# As in coreutils: KB is 1000 bytes, KiB is 1024, and the bare letter is the power of 1024 too.
_SIZE_UNITS: dict[str, int] = {"": 1, "b": 1} | {
    letter + suffix: base**power
    for power, letter in enumerate("kmgtp", start=1)
    for suffix, base in (("b", 1000), ("ib", 1024), ("i", 1024), ("", 1024))
}

_DURATION_UNITS = {
    spelling: seconds
    for spellings, seconds in (
        ("us \u00b5s \u03bcs", 1e-6),  # the micro sign and the Greek letter
        ("ms", 1e-3),
        ("s sec secs second seconds", 1.0),
        ("m min mins minute minutes", 60.0),
        ("h hr hrs hour hours", 3600.0),
        ("d day days", 86400.0),
        ("w week weeks", 604800.0),
    )
    for spelling in spellings.split()
}

_SIZE = pattern(r"(?a)(\d[\d_]*)(?:\.(\d+))?[\s_]*([a-z]*)")
_DURATION_PART = pattern(r"(?a)(\d+(?:\.\d+)?)[\s_]*([a-z\u00b5\u03bc]+)[\s_]*")
_DURATION = pattern(r"(?a)(?:\d+(?:\.\d+)?[\s_]*[a-z\u00b5\u03bc]+[\s_]*)+")

_A_SIZE = "a size", "a number of bytes or a text such as '5 GiB', '500MB' or '1.5G'"


def parse_size(text: float | str) -> int:
    """Return the number of bytes that a number or a text such as `5 GiB`, `500MB` or `1.5G` stands for.

    Bare numbers are bytes, KB to PB powers of 1000, KiB to PiB and the single letters K to P powers of 1024. A fraction
    of a byte is cut off. Raises ConfigError.
    """
    number = _bare_number(text)
    if number is not None:
        return int(number)
    match = _SIZE.fullmatch(text.strip().lower()) if _is_short(text) else None
    whole = _bare_number(match[1].replace("_", "")) if match else None
    unit = _SIZE_UNITS.get(match[3]) if match else None
    if match is None or whole is None or unit is None:
        raise _unreadable(text, *_A_SIZE)
    # In whole numbers, as a float would round large sizes. Digits after the 18th are a fraction of a byte in any unit.
    fraction = (match[2] or "0")[:18]
    scale: int = 10 ** len(fraction)
    size = int(whole) * unit + int(fraction) * unit // scale
    if size >= _TOO_LARGE:
        raise _unreadable(text, *_A_SIZE)
    return size


def format_size(n: int) -> str:
    """Return a size for people, in powers of 1024: `812 B`, `4.1 KiB`, `1.2 GiB`."""
    if abs(n) < _STEP:
        return f"{n} B"
    size, units = n / _STEP, ["PiB", "TiB", "GiB", "MiB", "KiB"]
    # Rounded before the comparison, so that one byte less than 1 MiB does not show as 1024 KiB.
    while abs(round(size, 1)) >= _STEP and len(units) > 1:
        size /= _STEP
        units.pop()
    return f"{size:.1f}".removesuffix(".0") + f" {units[-1]}"


def parse_duration(value: float | str | timedelta) -> float:
    """Return the seconds that a number, a `timedelta` or a text such as `2h30m`, `7d` or `500 ms` stands for.

    Bare numbers are seconds; units run from us to w (weeks) and come largest first: `30m2h` is refused, and so is
    `2h30`, whose last number has no unit. Raises ConfigError.
    """
    # Recognised by its method, as importing datetime costs Python's start more than all of this module.
    total_seconds = getattr(value, "total_seconds", None)
    seconds = _bare_number(total_seconds() if total_seconds else value)
    if seconds is None and _is_short(value):
        seconds = _bare_number(_sum_of_parts(value.strip().lower()))
    if seconds is None:
        raise _unreadable(value, "a duration", "seconds, a timedelta or a text such as '90 s', '2h30m' or '7d'")
    return float(seconds)


def format_duration(seconds: float) -> str:
    """Return a duration for people, in one or two units: `12 us`, `4.2 s`, `3 min 20 s`, `7 d 3 h`."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds in (0.0, float("inf")) or seconds != seconds:  # noqa: PLR0124 - nan alone differs from itself
        return f"{seconds:g} s"
    # Each number is rounded before its unit is chosen, so that 59.97 s shows as 1 min and not as 60 s.
    for unit, size, limit in (("us", 1e-6, 1000), ("ms", 1e-3, 1000), ("s", 1.0, 60)):
        amount = round(seconds / size, 1)
        if amount >= 10:  # noqa: PLR2004 - two digits say enough
            amount = round(seconds / size)
        if amount < limit:
            return f"{amount:g} {unit}"
    for unit, part, size, parts, limit in (("min", "s", 1, 60, 60), ("h", "min", 60, 60, 24)):
        whole, rest = divmod(round(seconds / size), parts)
        if whole < limit:
            return _two_units(whole, unit, rest, part)
    whole, rest = divmod(round(seconds / 3600), 24)
    return _two_units(whole, "d", rest, "h")


def _bare_number(value: object) -> int | float | None:
    """Return a number, or the number a text consists of, or None if it is anything else or out of range."""
    if isinstance(value, str):
        if not _is_short(value) or not value.isascii():  # Python would read other alphabets' digits too
            return None
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < _TOO_LARGE else None


def _is_short(value: object) -> TypeGuard[str]:
    """Whether a value is a text short enough to parse: a pattern takes the square of a long one's length."""
    return isinstance(value, str) and len(value) <= _LONGEST


def _sum_of_parts(text: str) -> float | None:
    """Return the seconds of a text such as `2h30m`, None if it is not one."""
    if not _DURATION.fullmatch(text):
        return None
    total, smallest = 0.0, float("inf")
    for amount, spelling in _DURATION_PART.findall(text):
        unit = _DURATION_UNITS.get(spelling)
        if unit is None or unit >= smallest:
            return None
        total, smallest = total + float(amount) * unit, unit
    return total


def _two_units(whole: int, unit: str, rest: int, part: str) -> str:
    return f"{whole} {unit} {rest} {part}" if rest else f"{whole} {unit}"


def shown(value: object) -> str:
    """A value as messages show it: at most 80 characters."""
    try:
        return f"{value!r:.80}"
    except ValueError:  # a whole number of more digits than Python writes
        return "a number of thousands of digits"


def _unreadable(value: object, kind: str, examples: str) -> ConfigError:
    return ConfigError(f"cannot read {shown(value)} as {kind}; give {examples}", value=value)
