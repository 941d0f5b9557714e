"""The ledger's hours and days in as many bars as one can read. Pure, but for the time zone of the machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcache.insight.records import Period

_HOUR, _DAY = 3600, 86400
_WIDTHS = (_HOUR, 6 * _HOUR, _DAY, 7 * _DAY, 28 * _DAY, 364 * _DAY)  # seconds
_MOST = 48  # bars: more cannot be told apart on a phone


class Stretch(NamedTuple):
    """The counts of one stretch of time from `start` (seconds since 1970) on; `gains` are net seconds by function."""

    start: float
    hits: int = 0
    misses: int = 0
    saved: float = 0.0
    computed: float = 0.0
    gains: Mapping[str, float] = {}

    @property
    def hit_rate(self) -> float | None:
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else None


class Timeline(NamedTuple):
    """Stretches of `width` seconds without a gap between them; empty if nothing was counted."""

    width: int
    stretches: tuple[Stretch, ...]

    def name(self, stretch: Stretch) -> str:
        """When a stretch was, in local time."""
        form = {_HOUR: "%a %d %b, %H:%M", 6 * _HOUR: "%a %d %b, %H:%M", _DAY: "%a %d %b %Y"}
        begin = time.strftime(form.get(self.width, "%d %b %Y"), time.localtime(stretch.start))
        if self.width < _DAY:
            return f"{begin}\u2013{time.strftime('%H:%M', time.localtime(stretch.start + self.width))}"
        return begin if self.width == _DAY else f"{self.width // _DAY} days from {begin}"

    @property
    def is_long(self) -> bool:
        """Whether there are two stretches or more: less is no course of time."""
        return bool(self.stretches[1:])

    @property
    def unit(self) -> str:
        """The name for a stretch of that length."""
        if self.width <= _DAY:
            return {_HOUR: "hour", _DAY: "day"}.get(self.width, "6 hours")
        return f"{self.width // _DAY} days"


def timeline(periods: Sequence[Period], now: float) -> Timeline:
    """Add up periods, the earliest first, into stretches until now, 48 at most.

    They begin at whole hours or days of local time. Days of long ago are those of UTC, and count where they begin.
    """
    if not periods:
        return Timeline(_HOUR, ())
    offset = time.localtime(now).tm_gmtoff  # the offset of now for all: daylight saving time does not move a bar
    first, last = periods[0].start + offset, max(now, periods[-1].start) + offset
    width = next((width for width in _WIDTHS if last // width - first // width < _MOST), _WIDTHS[-1])
    end = int(last // width)
    begin = int(first // width)
    found = [Stretch(float(place * width - offset)) for place in range(begin, end + 1)]
    for period in periods:
        place = int((period.start + offset) // width) - begin
        before = found[place]
        gains = {name: before.gains.get(name, 0.0) + item.net_seconds for name, item in period.functions.items()}
        found[place] = before._replace(
            hits=before.hits + period.hits,
            misses=before.misses + period.misses,
            saved=before.saved + period.saved_seconds,
            computed=before.computed + period.computed_seconds,
            gains={**before.gains, **gains},
        )
    return Timeline(width, tuple(found))
