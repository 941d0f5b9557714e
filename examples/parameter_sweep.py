"""A sweep over parameters in a pool of processes: an epidemic is simulated for each pair of rates.

    python examples/parameter_sweep.py
    python examples/parameter_sweep.py --size 4 --rounds 1

The workers share the cache: two that need the same result compute it once, and a sweep that was interrupted goes on
where it was. A finer grid later computes only the points that are new.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from side_by_side import side_by_side

from pcache import cached


@cached
def peak(infect: float, recover: float, *, people: int = 20_000, days: int = 300, runs: int = 20) -> float:
    """The greatest share of people who are ill at once, the mean of some random runs."""
    random = np.random.default_rng(7)
    peaks = []
    for _ in range(runs):
        healthy, ill, most = people - 20, 20, 20
        for _ in range(days):
            newly = random.binomial(healthy, 1 - np.exp(-infect * ill / people))
            healthy, ill = healthy - newly, ill + newly - random.binomial(ill, recover)
            most = max(most, ill)
        peaks.append(most / people)
    return float(np.mean(peaks))


def job(_folder: Path, size: int) -> str:
    """Simulate a grid of so many rates each way."""
    grid = list(itertools.product(np.linspace(0.1, 0.9, size).tolist(), np.linspace(0.05, 0.5, size).tolist()))
    with ProcessPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        peaks = list(pool.map(peak, *zip(*grid, strict=True), chunksize=4))
    return f"{len(peaks)} points, highest {max(peaks):.4f}"


if __name__ == "__main__":
    side_by_side(job, size=12)
