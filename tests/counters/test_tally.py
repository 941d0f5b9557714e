"""What hits add up to."""

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
    tally, taken = Tally(OWNER), {"hits": 0, "saved_ns": 0, "read_bytes": 0, "hit_ns": 0}
    for part in (hits[:written], hits[written:]):
        for cost_ns, length in part:
            tally.hits += 1
            tally.saved_ns += cost_ns
            tally.read_bytes += length
            tally.hit_ns += 1
        for name, amount in tally.take().items():
            taken[name] += amount
    lengths = sum(length for _, length in hits)
    costs = sum(cost for cost, _ in hits)
    assert taken == {"hits": len(hits), "saved_ns": costs, "read_bytes": lengths, "hit_ns": len(hits)}
    assert tally.take() == {}
