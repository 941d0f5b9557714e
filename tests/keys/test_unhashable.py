"""What is said of an argument that has no key: what it is, and what to pass instead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pcache import File, Miss, UnhashableArgument

if TYPE_CHECKING:
    from pcache import Cache


def said_of(cache: Cache, value: object) -> str:
    @cache.cached
    def take(x: Any) -> int:
        return 1

    with pytest.raises(UnhashableArgument) as caught:
        take(value)
    return str(caught.value)


def test_a_file_that_is_not_there(cache: Cache) -> None:
    """Nothing but that: there is no other way out than the right name."""
    assert said_of(cache, File("/nowhere.csv")).endswith("argument 'x' has no key: there is no file /nowhere.csv")
    assert "there is no file /nowhere.csv" in said_of(cache, [1, {"a": File("/nowhere.csv")}])


def test_an_open_file_suggests_its_path(cache: Cache, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a")
    with path.open() as text, path.open("rb") as data:
        for file in (text, data):
            assert f"or pcache.File({str(path)!r})" in said_of(cache, file)


def test_vowels(cache: Cache) -> None:
    async def numbers() -> Any:
        yield 1

    assert "x is an async_generator" in said_of(cache, numbers())


def test_a_miss_names_the_call(cache: Cache) -> None:
    """With its arguments in brief, but for secrets, and for functions whose values are not to be written down."""

    def find(n: int, config: Any = None, password: str = "") -> int:
        return n

    cache.cached(find)(1)
    with pytest.raises(Miss) as caught:
        cache.cached(find).get(5, {"lr": 0.1}, password="a secret")
    assert re.fullmatch(
        r"no stored result of \S*find\(n=5, config=\{'lr': 0.1\}, password=\(not shown\)\): absent", str(caught.value)
    )
    with pytest.raises(Miss, match=r"find\(\.\.\.\): absent"):
        cache.cached(summaries=False)(find).get(5)
