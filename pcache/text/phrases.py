"""Numbers and durations in short phrases, the same on the command line and in reports."""

from __future__ import annotations

import time

from pcache.text.units import format_duration

_LEAST = 0.001  # the smallest share that is shown


def counted(number: int, thing: str) -> str:
    """`1 entry`, `1,234 entries`, `2 misses`."""
    if number != 1:
        thing = thing[:-1] + "ies" if thing.endswith("ry") else thing + ("es" if thing.endswith("s") else "s")
    return f"{number:,} {thing}"


def a_thing(name: str) -> str:
    """`a lock`, `an async_generator`."""
    return f"an {name}" if name[:1].lower() in tuple("aeio") else f"a {name}"


def brief(seconds: float) -> str:
    """A duration in one unit: `3 d`, `12 ms`."""
    return " ".join(format_duration(seconds).split(" ")[:2])


def percent(share: float) -> str:
    """`92.3%`; what is nearly nothing or nearly all is not rounded to that."""
    if 0 < share < _LEAST or 1 - _LEAST < share < 1:
        return f"<{_LEAST:.1%}" if share < _LEAST else f">{1 - _LEAST:.1%}"
    return f"{share:.1%}".replace(".0%", "%")


def clock(seconds: float) -> str:
    """A time (seconds since 1970) to the minute: `2026-03-01 10:00`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def age(since: float, now: float) -> str:
    """How long ago a time was, in one unit: `3 d`, `5 s`; a time in the future (the clock was set back) is `0 s`."""
    return brief(float(max(0, round(now - since))))
