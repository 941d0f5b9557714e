"""Kinds of functions and what works for them: each cell of the table in docs/functions.md is a test."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, ConfigError, Miss, disabled, max_age, refreshing
from pcache.objects.lookup import kind_of
from tests.support.each_kind import KINDS, Kind, doors, ran, result
from tests.support.processes import KEY, ROOT, Talker


@pytest.fixture(autouse=True)
def fresh() -> None:
    ran.clear(), doors.clear()


# What each line of the table says, as a test that is true where the cell says yes


def stored(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache)
    return [result(made(3)), result(made(3))] == [3, 3] and ran == {3: 1} and bool(made.exists(3))


def once_in_threads(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache)
    doors[3] = begun, go_on = threading.Event(), threading.Event()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(lambda: result(made(3)))
        assert begun.wait(30)
        more = [threads.submit(lambda: result(made(3))) for _ in range(2)]
        if inspect.isasyncgenfunction(kind.plain):  # each of them runs
            while ran[3] < 3:
                go_on.wait(0.001)
        go_on.set()
        assert [one.result() for one in (first, *more)] == [3, 3, 3]
    return ran == {3: 1}


OTHER = """
import threading
from tests.support import each_kind
each_kind.doors[5] = begun, go_on = threading.Event(), threading.Event()
made = each_kind.KINDS[sys.argv[2]].cached(cache)
thread = threading.Thread(target=lambda: each_kind.result(made(5)))
thread.start()
begun.wait(30)
say("begun")
hear()
go_on.set()
thread.join()
say("done")
"""


def once_in_processes(kind: Kind, cache: Cache) -> bool:
    [name] = [name for name, one in KINDS.items() if one is kind]
    other = Talker(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + OTHER, cache.location, name)
    assert other.hear() == "begun"
    made = kind.cached(cache)
    with ThreadPoolExecutor(1) as thread:
        mine = thread.submit(lambda: result(made(5)))
        if name.endswith("generator function"):  # it does not wait
            assert mine.result(30) == 5
        other.say("")
        assert mine.result(30) == 5
    assert other.finish() == ["done"]
    return not ran


def single_calls(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache)
    with pytest.raises(Miss):
        made.get(3)
    items = [3] if kind_of(kind.plain).endswith("generator") else 3
    assert made.put(items, 3)
    assert made.exists(3)
    assert [result(made.get(3)), result(made.get_or(None, 3)), made.get_or(None, 4)] == [3, 3, None]
    assert made.explain(3).hit
    assert len(made.key(3)) == 40
    assert made.invalidate(3)
    return not made.exists(3) and not ran


def refreshed(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache)
    return [result(made(3)), result(made.refresh(3)), result(made(3))] == [3, 3, 3] and ran == {3: 2}


def modes(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache)
    with disabled():
        assert result(made(3)) == 3
    assert not made.exists(3)
    result(made(3))
    with refreshing():
        assert result(made(3)) == 3
    assert ran == {3: 3}
    with max_age("0s"):
        assert result(made(3)) == 3
    return ran == {3: 4}


def answers(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache)
    found = [result(made.call(3)) for _ in range(2)]
    return [(answer.value, answer.hit) for answer in found] == [(3, False), (3, True)]


def counts(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache)
    for n in (3, 3, 4):
        result(made(n))
    assert made.cache_info()[:2] == (1, 2)
    made.cache_clear()
    return not made.exists(3) and made.cache_info()[:2] == (0, 0)


def looks(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache)
    asked = inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction
    assert list(inspect.signature(made).parameters) == ["n"]
    return [ask(made) for ask in asked] == [ask(kind.plain) for ask in asked]


def pickled(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache)
    result(made(3))
    again = pickle.loads(pickle.dumps(made))
    return result(again(3)) == 3 and ran == {3: 1}


def keys(kind: Kind, cache: Cache) -> bool:
    by_size = kind.cached(cache, key={"n": abs}, version=1)
    ignoring = kind.cached(cache, ignore=["n"], version=2)
    assert [result(made(n)) for made in (by_size, ignoring) for n in (3, 4, 3)] == [3, 4, 3, 3, 3, 3]
    return ran == {3: 2, 4: 1}


def ages(kind: Kind, cache: Cache) -> bool:
    made, old = kind.cached(cache, ttl="1h", version=1), kind.cached(cache, ttl="1us", version=2)
    return [result(one(3)) for one in (made, made, old, old)] == [3] * 4 and ran == {3: 3}


def exceptions(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache, exceptions=ValueError)
    for _ in range(2):
        with pytest.raises(ValueError, match="-3"):
            result(made(-3))
    return ran == {-3: 1}


def store_if(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache, store_if=lambda value: value > 3)
    return [result(made(n)) for n in (3, 3, 4, 4)] == [3, 3, 4, 4] and ran == {3: 2, 4: 1}


def valid_if(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache, valid_if=lambda value: value > 3)
    return [result(made(n)) for n in (3, 3, 4, 4)] == [3, 3, 4, 4] and ran == {3: 2, 4: 1}


def ttl_of_result(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache, ttl=lambda value: "1h" if value > 3 else "1us")
    return [result(made(n)) for n in (3, 3, 4, 4)] == [3, 3, 4, 4] and ran == {3: 2, 4: 1}


def min_cost(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache, min_cost="1h")
    return [result(made(3)), result(made(3))] == [3, 3] and ran == {3: 2}


def _renewed(kind: Kind, cache: Cache, **options: Any) -> bool:
    made = kind.cached(cache, **options)

    async def in_a_loop() -> list[int]:
        values = [await made(3), await made(3)]
        while ran[3] < 2 or made.get_or(None, 3) != 3:
            await asyncio.sleep(0)
        return values

    if inspect.iscoroutinefunction(kind.plain):
        assert asyncio.run(in_a_loop()) == [3, 3]
    else:
        assert [made(3), made(3)] == [3, 3]
        for thread in threading.enumerate():
            if thread.name.startswith("renew "):
                thread.join()
    return ran == {3: 2}


def stale(kind: Kind, cache: Cache) -> bool:
    return _renewed(kind, cache, stale="1h", ttl="1us")


def early_refresh(kind: Kind, cache: Cache) -> bool:
    return _renewed(kind, cache, early_refresh=True, stale="1h", ttl="1us")


def check(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache, check=1.0)
    return [result(made(3)), result(made(3))] == [3, 3] and ran == {3: 2}


def mapped(kind: Kind, cache: Cache) -> bool:
    made = kind.cached(cache)
    return list(made.map([3, 4, 3])) == [3, 4, 3] and ran == {3: 1, 4: 1}


def batch(kind: Kind, cache: Cache) -> bool:
    made = kind.batch(cache)
    return [result(made([3, 4])), result(made([4, 5]))] == [[3, 4], [4, 5]] and ran == {3: 1, 4: 1, 5: 1}


FEATURES: dict[str, Callable[[Kind, Cache], bool]] = {
    "what it gives is stored": stored,
    "computed once among threads": once_in_threads,
    "computed once among processes": once_in_processes,
    "`get`, `get_or`, `exists`, `key`, `put`, `explain`, `invalidate`": single_calls,
    "`refresh`": refreshed,
    "`disabled()`, `refreshing()`, `max_age()`": modes,
    "`call`": answers,
    "`cache_info`, `cache_clear`": counts,
    "to `inspect` what it was": looks,
    "can be pickled": pickled,
    "`key=`, `ignore=`": keys,
    "`ttl=`": ages,
    "`ttl=` as a function": ttl_of_result,
    "`exceptions=`": exceptions,
    "`store_if=`": store_if,
    "`valid_if=`": valid_if,
    "`min_cost=`": min_cost,
    "`stale=`": stale,
    "`early_refresh=`": early_refresh,
    "`check=`": check,
    "`map`": mapped,
    "`batch`": batch,
}
TABLE = re.findall(r"^\| (.+?) \|(.*)\|$", (ROOT / "docs" / "functions.md").read_text().partition("\n## ")[0], re.M)
CELLS = {line: [cell.strip() for cell in cells.split("|")] for line, cells in TABLE}


def test_the_table_has_all_of_it() -> None:
    """Its lines and columns are those below."""
    assert list(CELLS) == ["works for", *FEATURES]
    assert CELLS["works for"] == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("feature", FEATURES)
def test_each_cell(tmp_path: Path, feature: str, kind: str) -> None:
    """Where a cell says yes it works; where it says no it does not, or says so at once."""
    cell = CELLS[feature][list(KINDS).index(kind)]
    assert re.match("(yes|no)$|(yes|no), ", cell), cell
    try:
        works = FEATURES[feature](KINDS[kind], Cache(tmp_path / "cache", signing_key=KEY))
    except ConfigError:
        works = False
    assert works == cell.startswith("yes")
