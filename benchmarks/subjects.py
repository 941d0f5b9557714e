"""The functions whose results are cached in the benchmarks, and the caches that compete.

Imported by children whose start-up is measured, so nothing is imported here before it is needed.
"""

from __future__ import annotations

import functools
import os

TYPE_CHECKING = False  # typing's, without importing typing
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

QUICK = bool(os.environ.get("BENCHMARK_QUICK"))  # everything small and seldom: to see that it runs, not to measure
SCALE = 100 if QUICK else 1
ARRAY_BYTES = 100_000_000 // SCALE
ROWS = 1_000_000 // SCALE
ARGUMENT_ROWS = 100_000 // SCALE
COLUMNS = 6
TEXT_BYTES = 1_000_000
OBJECTS = 17_500 // SCALE  # dicts of three items: a pickle of about 1 MB
JOB_ROWS = 1_500_000 // SCALE
STATIONS = 400
STREAM = 200_000 // SCALE
EMBEDDINGS = 20_000 // SCALE
DIMENSIONS = 384


def numbers(n: int) -> Iterator[int]:
    """Small items, one after the other."""
    yield from range(n)


async def numbers_awaited(n: int) -> AsyncIterator[int]:
    """The same, awaited."""
    for i in range(n):
        yield i


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
def rounded_array() -> Any:
    """100 MB of readings with one decimal: zstd makes a fifth of them."""
    import numpy as np

    return np.random.default_rng(3).integers(0, 400, ARRAY_BYTES // 8) / 10


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


def packable_array(n: int) -> Any:
    """100 MB of floats that compress well."""
    return rounded_array()


def frame(n: int, kind: str) -> Any:
    return random_frame(ROWS, kind)


def of_array(values: Any) -> int:
    """A function of a large array."""
    return len(values)


def of_frame(values: Any) -> int:
    """A function of a frame."""
    return len(values)


def embedding(sentence: str) -> Any:
    """What a model would return for a sentence."""
    import numpy as np

    return np.random.default_rng(int(sentence.rpartition(" ")[2])).random(DIMENSIONS, dtype=np.float32)


def stages(cached: Callable[[Any], Any]) -> Callable[[int], list[Any]]:
    """A job of four stages of frames, each of which asks for the one before; it returns all of them."""
    import numpy as np
    import pandas as pd

    def readings(n: int) -> Any:
        rng = np.random.default_rng(n)
        station = rng.integers(0, STATIONS, JOB_ROWS)
        hour = np.arange(JOB_ROWS) // STATIONS
        temperature = rng.normal(12, 8, JOB_ROWS)
        rain = np.where(rng.random(JOB_ROWS) < 0.9, 0.0, rng.random(JOB_ROWS))
        return pd.DataFrame({"station": station, "hour": hour, "temperature": temperature, "rain": rain})

    def cleaned(n: int) -> Any:
        frame = readings(n)
        return frame[frame["temperature"].between(-20, 40)].reset_index(drop=True)

    def enriched(n: int) -> Any:
        frame = cleaned(n)
        mean = frame.groupby("station")["temperature"].transform("mean")
        return frame.assign(deviation=frame["temperature"] - mean, day=frame["hour"] // 24)

    def summary(n: int) -> Any:
        frame = enriched(n)
        return frame.groupby(["station", "day"]).agg({"deviation": "mean", "rain": "sum"}).reset_index()

    readings, cleaned, enriched, summary = map(cached, (readings, cleaned, enriched, summary))

    def job(n: int) -> list[Any]:
        return [readings(n), cleaned(n), enriched(n), summary(n)]

    return job


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


def memory(folder: str) -> Callable[[Any], Any]:
    from pcache.joblib import Memory

    decorate: Callable[[Any], Any] = Memory(folder, verbose=0).cache
    return decorate


def joblib_mapped(folder: str) -> Callable[[Any], Any]:
    return joblib(folder, mmap_mode="r")


def checkpointer(folder: str) -> Callable[[Any], Any]:
    from checkpointer import Checkpointer

    decorate: Callable[[Any], Any] = Checkpointer(directory=folder, verbosity=0)
    return decorate


def cachier(folder: str) -> Callable[[Any], Any]:
    from cachier import cachier as decorator

    # A file a result: by default each call reads, and each store rewrites, the results of all calls.
    decorate: Callable[[Any], Any] = decorator(cache_dir=folder, backend="pickle", separate_files=True)
    return decorate


CACHES: dict[str, Callable[..., Callable[[Any], Any]]] = {
    "pcache": pcache,
    "diskcache": diskcache,
    "joblib": joblib,
    "checkpointer": checkpointer,
    "cachier": cachier,
}
# For results that can be mapped; and pcache in the place of joblib.
MAPPING = CACHES | {"joblib mmap": joblib_mapped, "memory": memory}
