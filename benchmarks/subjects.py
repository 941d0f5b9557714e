"""The functions whose results are cached in the benchmarks, and the caches that compete.

Imported by children whose start-up is measured, so nothing is imported here before it is needed.
"""

from __future__ import annotations

import functools

TYPE_CHECKING = False  # typing's, without importing typing
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ARRAY_BYTES = 100_000_000
ROWS = 1_000_000
ARGUMENT_ROWS = 100_000
COLUMNS = 6
TEXT_BYTES = 1_000_000
OBJECTS = 17_500  # dicts of three items: a pickle of about 1 MB


def small(n: int) -> dict[str, Any]:
    """A result whose pickle has about 200 bytes."""
    return {
        "id": n,
        "name": f"experiment number {n}",
        "score": n * 0.37,
        "tags": ["alpha", "beta", "gamma"],
        "bounds": (n, n + 1, n + 2),
        "nested": {"mean": n / 7, "deviation": n / 11, "count": 1000 + n},
        "done": True,
        "comment": None,
    }


def keyworded(
    n: int, *, window: int = 3, options: dict[str, Any] | None = None, items: list[int] | None = None
) -> dict[str, Any]:
    """The same result for arguments with more to them."""
    return {"n": n, "window": window, "options": options, "items": items}


def text(n: int) -> str:
    """About 1 MB of words."""
    import random

    words = random.Random(n)
    vocabulary = ["".join(words.choices("etaoinshrdlu", k=words.randint(2, 9))) for _ in range(3000)]
    out = " ".join(words.choices(vocabulary, k=TEXT_BYTES // 6))
    return (out + " " * TEXT_BYTES)[:TEXT_BYTES]


def objects(n: int) -> list[dict[str, Any]]:
    """About 1 MB of small objects."""
    import random

    numbers = random.Random(n)
    return [{"id": i, "name": f"item number {i}, a small object", "value": numbers.random()} for i in range(OBJECTS)]


@functools.cache
def random_array() -> Any:
    import numpy as np

    return np.random.default_rng(1).random(ARRAY_BYTES // 8)


@functools.cache
def random_frame(rows: int, kind: str) -> Any:
    """A frame of six columns: "floats", or "mixed" with two columns of small integers among them."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(2)
    integers = 2 if kind == "mixed" else 0
    columns: dict[str, Any] = {f"x{i}": rng.random(rows) for i in range(COLUMNS - integers)}
    columns |= {f"n{i}": rng.integers(0, 1000, rows) for i in range(integers)}
    return pd.DataFrame(columns)


def array(n: int) -> Any:
    """100 MB of random floats."""
    return random_array()


def frame(n: int, kind: str) -> Any:
    return random_frame(ROWS, kind)


def of_array(values: Any) -> int:
    """A function of a large array."""
    return len(values)


def of_frame(values: Any) -> int:
    """A function of a frame."""
    return len(values)


def pcache(folder: str, **options: Any) -> Callable[[Any], Any]:
    from pcache import Cache

    return Cache(folder, **options).cached


def diskcache(folder: str) -> Callable[[Any], Any]:
    from diskcache import Cache

    decorate: Callable[[Any], Any] = Cache(folder, size_limit=1 << 36).memoize()  # by default it keeps 1 GB
    return decorate


def joblib(folder: str, **options: Any) -> Callable[[Any], Any]:
    from joblib import Memory

    decorate: Callable[[Any], Any] = Memory(folder, verbose=0, **options).cache
    return decorate


CACHES: dict[str, Callable[..., Callable[[Any], Any]]] = {"pcache": pcache, "diskcache": diskcache, "joblib": joblib}
