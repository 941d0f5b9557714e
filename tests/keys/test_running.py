"""One key function for the whole call."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pcache import Cache, ConfigError, UnhashableArgument
from pcache.keys.binder import make_binder


def draw(session: object, n: int = 2, /, *rest: int, unit: str = "m", **options: object) -> bytes:
    return os.urandom(8)


def what_counts(session: object, n: int, *rest: int, unit: str, **options: object) -> object:
    return n, rest, unit, sorted(options)


def test_a_key_function_of_the_call_gets_the_arguments(cache: Cache) -> None:
    """It gets them as the function would, with defaults, and what it returns counts alone."""
    made = cache.cached(key=what_counts)(draw)
    assert made(object()) == made(None, 2, unit="m")
    assert made(None, 2, 3) == made("other", 2, 3) != made(None)
    assert made(None, a=1) == made(None, a=2) != made(None, b=1)
    assert made.exists("any", 2, 3)
    assert made.explain(None, 7).arguments == "call=(7, (), 'm', [])"
    secret = cache.cached(key=lambda api_token: api_token)(lambda api_token: 1)
    assert secret.explain("hunter2").arguments == "key=(not shown)"


def test_calls_that_do_not_fit(cache: Cache) -> None:
    """They raise what the function raises, and the key function does not see them."""
    made: Any = cache.cached(key=lambda *args, **kwargs: 1)(draw)
    with pytest.raises(TypeError, match="draw"):
        made()
    assert made(1) == made(2)


def test_keyword_only_parameters_with_defaults() -> None:
    """The binder passes positions as positions and names as names."""
    bind = make_binder(draw, key_functions={"": lambda *args, **kwargs: (args, kwargs)}).bind
    assert bind(1, unit="s", x=3) == (((1, 2), {"unit": "s", "x": 3}),)


def test_its_code_counts(cache: Cache) -> None:
    """Another key function makes another version, as those of parameters do."""
    ids = [
        cache.cached(key=key)(draw).function_id for key in (None, what_counts, lambda *_, **__: 1, lambda *_, **__: 2)
    ]
    assert len(set(ids)) == 4


def test_a_key_function_of_the_call_that_fails(cache: Cache) -> None:
    """The error says which function's it was and what it raised."""
    made = cache.cached(key=lambda session, n: n[0])(draw)
    with pytest.raises(UnhashableArgument, match=r"draw: the key function of the call failed: .*TypeError"):
        made(None, 1)


@pytest.mark.parametrize("option", ["ignore", "key"])
def test_single_items_are_for_a_function_of_the_call(cache: Cache, option: str) -> None:
    """Naming an item of `*args` is refused with what to write instead."""
    names: Any = {"ignore": ["rest[0]"], "key": {"rest[0]": len}}[option]
    with pytest.raises(ConfigError, match=r"'rest\[0\]' is an item of one; give key= a function of all arguments"):
        cache.cached(**{option: names})(draw)
