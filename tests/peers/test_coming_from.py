"""What people who come from other caches meet: pages that name all options, and errors that say what to use."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, ConfigError, UnhashableArgument, cached
from pcache.config import options, other_caches
from tests.support.running import ROOT, run, write


def _of_lru_cache(functools: Any) -> set[str]:
    return set(inspect.signature(functools.lru_cache).parameters) | {"cache_info", "cache_clear", "cache_parameters"}


def _of_diskcache(diskcache: Any) -> set[str]:
    return set(inspect.signature(diskcache.Cache.memoize).parameters) - {"self"}


def _of_cachier(cachier: Any) -> set[str]:
    return set(inspect.signature(cachier.cachier).parameters) - {"kwargs"}


def _of_checkpointer(checkpointer: Any) -> set[str]:
    given = importlib.import_module("checkpointer.checkpoint").CheckpointerOpts.__annotations__
    methods = {name for name in vars(checkpointer.CachedFunction) if not name.startswith("_")}
    return {*given, *methods} - {"is_expired"}


NAMES: dict[str, tuple[str, Callable[[Any], set[str]]]] = {
    "from_lru_cache.md": ("functools", _of_lru_cache),
    "from_diskcache.md": ("diskcache", _of_diskcache),
    "from_cachier.md": ("cachier", _of_cachier),
    "from_checkpointer.md": ("checkpointer", _of_checkpointer),
}


@pytest.mark.parametrize("page", NAMES)
def test_each_option_has_a_row(page: str) -> None:
    """What the other cache takes, and what its functions have, stands in the page's table."""
    package, names_of = NAMES[page]
    module = pytest.importorskip(package, reason=f"{package} is not installed")
    if not (ROOT / "docs" / page).exists():
        pytest.skip("there is no such page")
    rows = re.findall(r"^\| (.+) \| .+ \|$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    words = set(re.findall(r"\w+", " ".join(rows)))
    assert names_of(module) - words == set()


@pytest.mark.parametrize("option", ["maxsize", "typed", "expire", "hash_func", "verbosity"])
def test_an_option_of_another_cache_is_an_error_that_says_what_to_use(option: str) -> None:
    """It is not accepted in silence; at decoration, with the name of the option."""
    with pytest.raises(ConfigError, match=f"cached has no option '{option}'; ") as caught:
        cached(**{option: 128})(len)  # type: ignore[call-overload]
    assert other_caches.advice(option) in str(caught.value)
    assert caught.value.setting == option


def test_what_errors_recommend_exists() -> None:
    """Options that they name are options of ours, and none that is ours is taken for another cache's."""
    ours = {*options.GIVEN, "cache"}
    assert {word for text in other_caches._INSTEAD.values() for word in re.findall(r"(\w+)=(?!\d)", text)} <= ours
    assert not ours & other_caches._INSTEAD.keys()


def test_a_size_without_a_name_is_an_error(cache: Cache) -> None:
    """`lru_cache(128)` has no like; `lru_cache(None)` is `cached(None)`, without a limit."""
    with pytest.raises(ConfigError, match="cached takes a function, not 128"):
        cache.cached(128)  # type: ignore[call-overload]
    assert cache.cached(None)(abs)(-1) == 1  # type: ignore[call-overload]


def test_an_argument_without_a_key_is_a_type_error(cache: Cache) -> None:
    """Code that catches the TypeError of lru_cache catches ours as well."""
    import threading

    @cache.cached
    def describe(thing: object) -> str:
        return type(thing).__name__

    with pytest.raises(TypeError, match="argument 'thing' has no key") as caught:
        describe(threading.Lock())
    assert type(caught.value) is UnhashableArgument
    assert describe([]) == "list"


def test_lru_cache_outside(cache: Cache) -> None:
    """One object in this process, stored on disk; to clear the outer one computes nothing again."""

    @functools.lru_cache
    @cache.cached
    def table(size: int) -> dict[int, int]:
        return dict.fromkeys(range(size), 0)

    first = table(3)
    assert table(3) is first
    table.cache_clear()
    assert table(3) == first
    assert table(3) is not first
    assert table.__wrapped__.cache_info()[:2] == (1, 1)


@pytest.mark.parametrize(("name", "printed"), [("account", ["computing", "3"]), ("fallback", ["list lock 1"])])
def test_the_other_examples_of_the_page(tmp_path: Path, name: str, printed: list[str]) -> None:
    """A class with an `__eq__` of its own, and a function that catches `TypeError`."""
    page = (ROOT / "docs" / "from_lru_cache.md").read_text()
    [text] = re.findall(rf"```python\n# {name}\.py\n(.*?)```", page, re.DOTALL)
    assert run(write(tmp_path / f"{name}.py", text)) == printed
