"""Numbers and names for people. A number keeps its exact value beside what is shown of it."""

from __future__ import annotations

import time
from typing import NamedTuple

from pcache.text.phrases import age, percent
from pcache.text.printable import printable
from pcache.text.units import format_duration, format_size

NOTHING = "\u2013"


class Text(NamedTuple):
    """The shown text, and the exact one, where it differs; `wide` may be broken into lines."""

    shown: str
    exact: str = ""
    number: bool = True
    wide: bool = False


def visible(text: str) -> str:
    """Return text that cannot change how its surroundings read: control, format and unpaired characters written out."""
    return "\n".join(map(printable, text.split("\n")))


def name(text: str) -> Text:
    return Text(text, number=False)


def words(text: str) -> Text:
    return Text(text, number=False, wide=True)


def number(n: int) -> Text:
    return Text(f"{n:,}", str(n))


def size(n: int) -> Text:
    return Text(format_size(n), f"{n:,} bytes")


def duration(seconds: float) -> Text:
    return Text(format_duration(seconds), f"{seconds!r} s")


def share(part: float | None) -> Text:
    """`92.3%`; what is nearly nothing or nearly all is not rounded to that."""
    if part is None:
        return Text(NOTHING, "no calls")
    return Text(percent(part), repr(part))


def lasting(start: float, now: float) -> Text:
    """The time since, in one unit; for a time in the future (the clock was set back) `0 s`."""
    return Text(age(start, now), clock(start))


def ago(moment: float, now: float) -> Text:
    if not moment:
        return Text(NOTHING, "never")
    text = lasting(moment, now)
    return text._replace(shown=f"{text.shown} ago")


def clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(moment))


def date(moment: float) -> str:
    parts = time.localtime(moment)
    return f"{parts.tm_mday} {time.strftime('%B %Y', parts)}"
