"""Cost, uses and expiry of an entry, packed into the modification time of its file: eviction needs one `stat`.

The time itself is when the entry was last used. Its last 19 bits, in microseconds, are a code: the cost of the result,
its remaining lifetime, and how often its use was noted. That makes the time inexact by half a second. Only the order of
eviction depends on it, so it is not signed: a file system that keeps whole seconds, or a copy that does, only makes an
entry's cost unknown. Pure: no files, no clock.
"""

from __future__ import annotations

import math

from pcache.entry.format import NEVER, new_tuple
from pcache.startup import NamedTuple

MAX_USES = 31
_USES_BITS, _LIFE_BITS, _COST_BITS = 5, 7, 7
_CODE_BITS = _USES_BITS + _LIFE_BITS + _COST_BITS
_CODE = (1 << _CODE_BITS) - 1
_LIFE_MAX, _COST_MAX = (1 << _LIFE_BITS) - 1, (1 << _COST_BITS) - 1
_MICROSECOND = 1000
BLUR_NS = (_CODE + 1) * _MICROSECOND  # a time reads at most this much earlier than it was
_COST_STEPS = 3  # per doubling, from 1 us on: 127 of them end at 51 days
_LIFE_STEPS = 4  # per doubling, from 1 s on: 127 of them end at 96 years


class Stamp(NamedTuple):
    """Times are nanoseconds since 1970. `cost_ns` is 0 if it is not known, `uses` counts from 1.

    `expires_ns` is the time of expiry; unpacked, it is late by up to a fifth of the lifetime left when it was packed.
    """

    used_ns: int
    cost_ns: int = 0
    expires_ns: int = NEVER
    uses: int = 1


def pack(stamp: Stamp) -> int:
    """Encode a stamp as a modification time in nanoseconds."""
    life = 0
    if stamp.expires_ns != NEVER:
        seconds = max(1.0, (stamp.expires_ns - stamp.used_ns) / 1e9)
        life = 1 + math.ceil(_LIFE_STEPS * math.log2(seconds))
        life = life if life <= _LIFE_MAX else 0
    cost = 0
    if stamp.cost_ns > 0:
        cost = 1 + round(_COST_STEPS * math.log2(max(1.0, stamp.cost_ns / _MICROSECOND)))
    uses = min(max(stamp.uses, 1), MAX_USES)
    code = (min(cost, _COST_MAX) << _LIFE_BITS | life) << _USES_BITS | uses
    return ((stamp.used_ns // _MICROSECOND & ~_CODE) | code) * _MICROSECOND


def unpack(mtime_ns: int) -> Stamp:
    """Decode a modification time. One that was not packed, such as whole seconds, gives only the time of use."""
    time, rest = divmod(mtime_ns, _MICROSECOND)
    code = time & _CODE
    uses = code & MAX_USES
    if rest or not uses:
        return new_tuple(Stamp, (mtime_ns, 0, NEVER, 1))
    used_ns = (time - code) * _MICROSECOND
    life = code >> _USES_BITS & _LIFE_MAX
    cost_ns = _COSTS[code >> _USES_BITS + _LIFE_BITS]
    return new_tuple(Stamp, (used_ns, cost_ns, used_ns + _LIVES[life] if life else NEVER, uses))


def is_unused(mtime_ns: int) -> bool:
    """Whether an entry's modification time says that it was not used since it was stored."""
    stamp = unpack(mtime_ns)
    return stamp.uses == 1 and stamp.cost_ns > 0


_COSTS = [0, *(round(_MICROSECOND * 2 ** (step / _COST_STEPS)) for step in range(_COST_MAX))]
_LIVES = [0, *(round(1e9 * 2 ** (step / _LIFE_STEPS)) for step in range(_LIFE_MAX))]
