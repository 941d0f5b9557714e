"""What hits add up to: exact sums, and an estimate of their time that never falls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pcache.counters.tally import Tally


class Owner:
    pass


OWNER = Owner()


@given(st.lists(st.tuples(st.integers(0, 2**63), st.integers(0, 2**50)), max_size=60), st.integers(0, 60))
def test_costs_and_lengths_add_up(hits: list[tuple[int, int]], written: int) -> None:
    """However large, costs and lengths stay apart, and what was taken in two goes is the whole."""
    tally, taken = Tally(OWNER), {"hits": 0, "saved_ns": 0, "read_bytes": 0}
    for part in (hits[:written], hits[written:]):
        for cost_ns, length in part:
            tally.hits += 1
            tally.saved_ns += cost_ns
            tally.read_bytes += length
        for name, amount in tally.take().items():
            taken[name] += amount
    assert taken == {"hits": len(hits), "saved_ns": sum(c for c, _ in hits), "read_bytes": sum(n for _, n in hits)}
    assert tally.take() == {}


def test_the_estimate_of_what_hits_took_never_falls() -> None:
    """Of each sixteen hits one is timed; the sum that is written is no more than the highest estimate."""
    tally = Tally(OWNER)
    tally.hits, tally.timed, tally.timed_ns = 16, 1, 1000
    assert tally.take() == {"hits": 16, "hit_ns": 16000}
    tally.hits, tally.timed, tally.timed_ns = 17, 2, 1100
    assert tally.take() == {"hits": 1}
    tally.hits, tally.timed, tally.timed_ns = 40, 2, 1100
    assert tally.take() == {"hits": 23, "hit_ns": 40 * 550 - 16000}
    assert tally.take() == {}
