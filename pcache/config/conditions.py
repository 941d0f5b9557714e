"""Options that look at single results: which are stored, how long they count, and which exceptions are results."""

from __future__ import annotations

import math
import os

from pcache.config.rules import read_duration, read_option, read_share
from pcache.errors import ConfigError, Miss, PcacheWarning
from pcache.objects.culprit import described
from pcache.objects.summary import summarize_value
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import try_call
from pcache.system.notices import warn_once

if TYPE_CHECKING:
    from collections.abc import Callable


class Raised(NamedTuple):
    """An exception that is stored as the outcome of a call, and when it was raised: nanoseconds since 1970."""

    error: Exception
    when_ns: int


class Conditions(NamedTuple):
    """Options that look at results. Durations are nanoseconds; `fresh_ns` is the ttl without `stale_ns`."""

    exceptions: tuple[type[Exception], ...] = ()
    store_if: Callable[[Any], object] | None = None
    valid_if: Callable[[Any], object] | None = None
    ttl_of: Callable[[Any], object] | None = None
    fresh_ns: int | None = None
    stale_ns: int = 0
    refreshes_early: bool = False
    min_cost_ns: int = 0
    check: float | None = None  # the share of hits that are computed again and compared; None if that is left open

    def given(self) -> list[str]:
        """The options that the decorator was given, by their names there."""
        values = {
            "exceptions": self.exceptions,
            "store_if": self.store_if,
            "valid_if": self.valid_if,
            "ttl": self.ttl_of,
            "stale": self.stale_ns,
            "early_refresh": self.refreshes_early,
            "min_cost": self.min_cost_ns,
            "check": self.check,
        }
        return [name for name, value in values.items() if value]

    def checks_now(self) -> bool:
        """Whether a hit is among the share that is computed again and compared."""
        share = self.check or 0.0
        return share > 0 and _chance() < share

    def refusal(self, name: str, result: Any, cost_ns: int) -> str:
        """Why a result is not stored, as a counter's name; empty if it is."""
        if cost_ns < self.min_cost_ns:
            return "cheap"
        if self.store_if is None or type(result) is Raised:
            return ""
        wanted, error = try_call(lambda: bool(self.store_if(result)))  # type: ignore[misc]  # it is there
        if error is not None:
            _say_failed(name, "store_if=", error, "the result is not stored")
        return "" if wanted else "unwanted"

    def kept_ns(self, name: str, result: Any, usual_ns: int | None) -> tuple[int | None, bool]:
        """For how long a result is kept, None for ever; and False if the user's function for that fails."""
        if self.ttl_of is None or type(result) is Raised:
            return usual_ns, True
        ttl_ns, error = try_call(lambda: _nanoseconds(self.ttl_of(result)))  # type: ignore[misc]  # it is there
        if error is not None:
            _say_failed(name, "ttl=", error, "the result is not stored")
        return (None if ttl_ns is None else ttl_ns + self.stale_ns), error is None

    def accept(self, name: Callable[[], str], value: Any) -> None:
        """Raise `Miss` for a stored result that the user's function does not accept."""
        if self.valid_if is None or type(value) is Raised:
            return
        accepted, error = try_call(lambda: bool(self.valid_if(value)))  # type: ignore[misc]  # it is there
        if error is not None:
            _say_failed(name(), "valid_if=", error, "the result is computed again")
        if not accepted:
            raise Miss("expired", detail="valid_if= does not accept it")

    def is_late(self, created_ns: int, expires_ns: int | None, cost_ns: int, now_ns: int) -> bool:
        """Whether a stored result is to be renewed while it still serves; `expires_ns` is None for never."""
        if not self.stale_ns and not self.refreshes_early:
            return False
        ends = [] if self.fresh_ns is None else [created_ns + self.fresh_ns]
        ends += [] if expires_ns is None else [expires_ns - self.stale_ns]
        if not ends:
            return False
        return now_ns + (_lead(cost_ns) if self.refreshes_early else 0) >= min(ends)


def _lead(cost_ns: int) -> int:
    """How long before its end to renew a result: a random time, the longer the more it cost.

    Source: Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention" (2015), with beta = 1.
    """
    return int(cost_ns * -math.log(1.0 - _chance()))


def _chance() -> float:
    """A random number from 0 to below 1. The program's generator of random numbers is left alone."""
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)


def _nanoseconds(ttl: Any) -> int | None:
    if ttl is None:
        return None
    seconds = read_duration(ttl)
    return int(seconds * 1e9)


def _say_failed(name: str, option: str, error: BaseException, consequence: str) -> None:
    warn_once(
        (name, option),
        f"the function given as {option} of {name} failed with {described(error)}: {consequence}",
        PcacheWarning,
    )


def make_conditions(
    *,
    ttl: Any,
    exceptions: Any = (),
    store_if: Any = None,
    valid_if: Any = None,
    stale: Any = None,
    early_refresh: Any = False,
    min_cost: Any = None,
    check: Any = None,
) -> tuple[float | None, Conditions | None]:
    """The time for which results are kept, in seconds, and the conditions, if any; raises `ConfigError`."""
    ttl_of = ttl if callable(ttl) else None
    fresh = None if ttl_of else read_option("ttl", ttl, read_duration)
    stale_seconds = read_option("stale", stale, read_duration) or 0.0
    for option, value in (("store_if", store_if), ("valid_if", valid_if)):
        if value is not None and not callable(value):
            raise ConfigError(
                f"{option}= takes a function of the result, not {value!r:.80}", setting=option, value=value
            )
    for option, value in (("stale", stale), ("early_refresh", early_refresh)):
        if value and ttl is None:
            raise ConfigError(f"{option}= needs ttl=: without one no result expires", setting=option, value=value)
    made = Conditions(
        _kinds_of(exceptions),
        store_if,
        valid_if,
        ttl_of,
        None if fresh is None else int(fresh * 1e9),
        int(stale_seconds * 1e9),
        bool(early_refresh),
        int((read_option("min_cost", min_cost, read_duration) or 0.0) * 1e9),
        read_option("check", check, read_share),
    )
    usual = Conditions(fresh_ns=made.fresh_ns)
    return (None if fresh is None else fresh + stale_seconds), (None if made == usual else made)


def with_check(conditions: Conditions | None, share: float, ttl: float | None) -> Conditions | None:
    """The conditions of a function, with the share of hits to check that its settings say."""
    if not share:
        return conditions
    usual = Conditions(fresh_ns=None if ttl is None else int(ttl * 1e9))
    return (conditions or usual)._replace(check=share)


def _kinds_of(exceptions: Any) -> tuple[type[Exception], ...]:
    kinds = exceptions if isinstance(exceptions, (tuple, list)) else (exceptions,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise ConfigError(
                f"exceptions= takes classes of exceptions, such as ValueError, not {summarize_value(kind)}",
                setting="exceptions",
                value=kind,
            )
    return tuple(kinds)
