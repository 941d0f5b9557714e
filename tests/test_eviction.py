"""Which entries go: laws of a pure function."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pcache.eviction import Limits, plan
from pcache.store import StoredFile

NOW = 10**15
HOUR = 3600 * 10**9

files = st.lists(
    st.builds(
        StoredFile,
        function_id=st.sampled_from(["a" * 16, "b" * 16]),
        key=st.text("0123456789abcdef", min_size=40, max_size=40),
        size=st.integers(0, 100),
        used_ns=st.integers(NOW - 50, NOW) | st.integers(0, 2 * NOW),
        path=st.just(""),
    ),
    max_size=20,
    unique_by=lambda item: item.key,
)
limits_of_any_kind = st.builds(
    Limits,
    st.none() | st.integers(0, 1000),
    st.none() | st.integers(0, 20),
    st.none() | st.floats(0, 1e6),
)


def fits(kept: list[StoredFile], limits: Limits) -> bool:
    return (
        (limits.max_size is None or sum(item.size for item in kept) <= limits.max_size)
        and (limits.max_entries is None or len(kept) <= limits.max_entries)
        and (limits.max_age is None or all(NOW - item.used_ns <= limits.max_age * 1e9 for item in kept))
    )


def remaining(entries: list[StoredFile], victims: list[StoredFile]) -> list[StoredFile]:
    return [item for item in entries if item not in victims]


@given(files, limits_of_any_kind)
def test_the_limits_are_met(entries: list[StoredFile], limits: Limits) -> None:
    """What is left meets every limit, and what goes was there, once."""
    victims = plan(entries, limits, NOW)
    assert fits(remaining(entries, victims), limits)
    assert len(set(victims)) == len(victims)
    assert set(victims) <= set(entries)


@given(files, limits_of_any_kind)
def test_the_longest_unused_go_first(entries: list[StoredFile], limits: Limits) -> None:
    """Nothing that stays was used before anything that goes, and victims come in that order."""
    victims = plan(entries, limits, NOW)
    used = [item.used_ns for item in victims]
    assert used == sorted(used)
    assert all(item.used_ns >= max(used, default=0) for item in remaining(entries, victims))


@given(files, limits_of_any_kind)
def test_nothing_goes_needlessly(entries: list[StoredFile], limits: Limits) -> None:
    """Had the last victim stayed, a limit would be exceeded; without limits all stay."""
    victims = plan(entries, limits, NOW)
    if victims:
        assert not fits([*remaining(entries, victims), victims[-1]], limits)
    assert plan(entries, Limits(), NOW) == []


@given(files, limits_of_any_kind, st.randoms())
def test_the_order_of_the_listing_does_not_matter(entries: list[StoredFile], limits: Limits, random: object) -> None:
    """Two processes that list the same files choose the same victims."""
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan(shuffled, limits, NOW) == plan(iter(entries), limits, NOW)


@given(files, limits_of_any_kind)
def test_a_second_look_finds_nothing(entries: list[StoredFile], limits: Limits) -> None:
    """After an eviction there is nothing left to evict, and it is never less for a stricter limit."""
    victims = plan(entries, limits, NOW)
    assert plan(remaining(entries, victims), limits, NOW) == []
    if limits.max_entries:
        assert len(plan(entries, limits._replace(max_entries=limits.max_entries - 1), NOW)) >= len(victims)


def test_twelve_days_by_the_clock_that_is_passed_in() -> None:
    """An entry used daily outlives those that are not, day by day, without waiting for one."""
    day = 24 * HOUR
    stored: dict[str, StoredFile] = {}
    for today in range(12):
        now = NOW + today * day
        stored["daily"] = StoredFile("f", "daily", 10, now, "")
        stored[f"day {today}"] = StoredFile("f", f"day {today}", 10, now, "")
        for victim in plan(stored.values(), Limits(max_age=3 * 86400), now):
            del stored[victim.key]
    assert list(stored) == ["daily", "day 8", "day 9", "day 10", "day 11"]


def test_a_clock_that_was_set_back() -> None:
    """Entries used in the future are not too old, and are the last to go."""
    entries = [StoredFile("f", "future", 1, 2 * NOW, ""), StoredFile("f", "past", 1, 1, "")]
    assert [item.key for item in plan(entries, Limits(max_age=1), NOW)] == ["past"]
    assert [item.key for item in plan(entries, Limits(max_entries=1), NOW)] == ["past"]
