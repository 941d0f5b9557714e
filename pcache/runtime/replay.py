"""Replaying: a call without a recorded result raises. Loaded by the first one.

What was missed is noted as well, since the code around a call may swallow its exception: the pytest plugin fails the
test all the same.
"""

from __future__ import annotations

from pcache.errors import NotRecorded
from pcache.startup import Any
from pcache.system.interrupts import attempt

missed: list[str] = []  # the messages, in the order of the calls


def not_recorded(function: Any, call: Any) -> NotRecorded:
    """The exception of one `Call` of a cached function; notes it."""
    explained, _ = attempt(lambda: str(function.explain(*call.args, **call.kwargs)))
    explanation = explained or function.name
    directory = function._flow.directory.location
    message = f"{directory} is replayed and has no result of this call, which is not computed:\n{explanation}"
    missed.append(message)
    return NotRecorded(message, explanation=explanation)
