"""The ledger's numbers by function and over time."""

from __future__ import annotations

from collections import defaultdict

from pcache.counters.line_format import HOUR
from pcache.insight.records import Activity, Period
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcache.counters.ledger import Reading

Amounts = dict[str, int]  # by counter


def by_function(reading: Reading, since: float) -> dict[str, Activity]:
    """The activity of each function, and under "" that of none."""
    return {function: activity(amounts) for function, amounts in _by_function(reading, since).items()}


def of_all(reading: Reading, since: float) -> Activity:
    """The activity of all functions together."""
    return activity(_total(_by_function(reading, since).values()))


def over_time(reading: Reading, since: float) -> tuple[Period, ...]:
    """The periods in which anything was counted, the earliest first."""
    found: dict[int, dict[str, Amounts]] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    for (hour, function, counter), amount in reading.amounts.items():
        if _is_within(hour, since):
            found[hour][function][counter] += amount
    return tuple(_period(hour, found[hour]) for hour in sorted(found))


def activity(amounts: Mapping[str, int]) -> Activity:
    """The activity that counters describe; unknown counters are left out."""
    return Activity(**_fields(amounts))


def _by_function(reading: Reading, since: float) -> dict[str, Amounts]:
    found: dict[str, Amounts] = defaultdict(lambda: defaultdict(int))
    for (hour, function, counter), amount in reading.amounts.items():
        if _is_within(hour, since):
            found[function][counter] += amount
    return found


def _total(amounts: Iterable[Mapping[str, int]]) -> Amounts:
    added: Amounts = defaultdict(int)
    for part in amounts:
        for counter, amount in part.items():
            added[counter] += amount
    return added


def _is_within(hour: int, since: float) -> bool:
    return (hour + 1) * HOUR > since


def _period(hour: int, functions: Mapping[str, Amounts]) -> Period:
    named = {function: activity(amounts) for function, amounts in functions.items() if function}
    return Period(start=float(hour * HOUR), functions=named, **_fields(_total(functions.values())))


def _fields(amounts: Mapping[str, int]) -> dict[str, Any]:
    misses, errors = _below(amounts, "misses."), _below(amounts, "errors.")
    counts = {
        name: amounts.get(name, 0)
        for name in ("hits", "waited", "stored", "read_bytes", "written_bytes", "evicted", "evicted_bytes")
    }
    return {
        **counts,
        "misses": sum(misses.values()),
        "saved_seconds": (amounts.get("saved_ns", 0) - amounts.get("hit_ns", 0)) / 1e9,
        "computed_seconds": amounts.get("computed_ns", 0) / 1e9,
        "hit_seconds": amounts.get("hit_ns", 0) / 1e9,
        "store_seconds": amounts.get("store_ns", 0) / 1e9,
        "evicted_seconds": amounts.get("evicted_ns", 0) / 1e9,
        "misses_by_reason": misses,
        "errors_by_kind": errors,
    }


def _below(amounts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): amount for name, amount in sorted(amounts.items()) if name.startswith(prefix)}
