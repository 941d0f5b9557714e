"""The standard library's own tests of `functools.lru_cache`, which Python brings, pass against us but for a list.

They are imported where they are installed, not copied. A test in `DIFFERENT` has to fail: one that passes is no
difference any more.
"""

from __future__ import annotations

import functools
import sys
import types
import unittest
from typing import Any

import pytest

from pcache import Cache, CacheInfo

if sys.version_info >= (3, 14):
    pytest.skip("the list of differences is for Python 3.11 to 3.13", allow_module_level=True)
upstream = pytest.importorskip("test.test_functools", reason="this Python comes without its tests")

_LIMIT = "the directory has limits, a function has none: maxsize= is no option, and cache_info() has None for it"
_CONTENT = "arguments count by their types and contents, also inside of containers"
DIFFERENT = {
    "test_common_signatures": "cache_info() and cache_clear() say what they return",
    "test_lru": _LIMIT,
    "test_lru_bug_35780": _LIMIT,
    "test_lru_cache_parameters": "cache_parameters() returns our options, and where results lie",
    "test_lru_cache_threaded2": f"{_LIMIT}; and threads that ask the same at once wait for one of them",
    "test_lru_cache_typed_is_not_recursive": f"{_CONTENT}: (1,), (True,) and (1.0,) are three calls",
    "test_lru_hash_only_once": "keys do not call __hash__, and what meets a mock is neither looked up nor stored",
    "test_lru_method": "an instance counts by its state: one that counts its computations is another one each time",
    "test_lru_no_args": _LIMIT,
    "test_lru_type_error": f"{_CONTENT}: a list is an argument like others, and no TypeError",
    "test_lru_with_maxsize_negative": _LIMIT,
    "test_lru_with_types": "f(3) and f(x=3) are one call",
}
NOT_RUN = {
    "test_lru_reentrancy_with_len": "it caches `len` itself for the whole process, and thereby what we call: minutes",
}
TESTS = sorted(name for name in dir(upstream.TestLRU) if name.startswith("test") and name not in NOT_RUN)


def cached_func(x: int, y: int) -> int:
    return 3 * x + y


class Ours(upstream.TestLRU, unittest.TestCase):  # type: ignore[misc]  # it comes without types
    __test__ = False  # run by the test below, one at a time

    def cached_meth(self, x: int, y: int) -> int:
        return 3 * x + y

    @staticmethod
    def cached_staticmeth(x: int, y: int) -> int:
        return 3 * x + y


@pytest.fixture
def ours(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> type[Ours]:
    """The class of tests with a module that has `lru_cache`, whose options are dropped, and three cached functions."""

    def lru_cache(maxsize: Any = None, typed: bool = False) -> Any:
        return cache.cached(maxsize) if callable(maxsize) else cache.cached

    def info(hits: int, misses: int, maxsize: object, currsize: int) -> CacheInfo:
        return CacheInfo(hits, misses, None, currsize)

    module = types.SimpleNamespace(
        lru_cache=lru_cache,
        _CacheInfo=info,
        partial=functools.partial,
        WRAPPER_ASSIGNMENTS=functools.WRAPPER_ASSIGNMENTS,
    )
    monkeypatch.setattr(sys.modules[__name__], "cached_func", cache.cached(cached_func))
    monkeypatch.setattr(Ours, "module", module, raising=False)
    monkeypatch.setattr(Ours, "cached_func", (sys.modules[__name__].cached_func,), raising=False)
    monkeypatch.setattr(Ours, "cached_meth", cache.cached(Ours.cached_meth))
    monkeypatch.setattr(Ours, "cached_staticmeth", staticmethod(cache.cached(Ours.cached_staticmeth)))
    return Ours


@pytest.mark.filterwarnings("ignore:.*mock:UserWarning")
@pytest.mark.parametrize("name", TESTS)
def test_the_standard_librarys_own_tests(ours: type[Ours], name: str) -> None:
    """Those that are not listed pass, and those that are listed as different fail."""
    result = unittest.TestResult()
    ours(name).run(result)
    said = "\n".join(text for _, text in (*result.failures, *result.errors))
    if result.skipped:
        pytest.skip(result.skipped[0][1])
    assert result.wasSuccessful() == (name not in DIFFERENT), said or f"no difference any more: {DIFFERENT[name]}"


def test_the_list_is_of_tests_that_exist() -> None:
    """Each is a test of this Python, or of a later one."""
    unknown = {name for name in (*DIFFERENT, *NOT_RUN) if not hasattr(upstream.TestLRU, name)}
    assert unknown == ({"test_common_signatures"} if sys.version_info < (3, 12) else set())
