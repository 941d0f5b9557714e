"""What a cached function shows of the function that it wraps; what frameworks make of it is in `tests/integrations`."""

from __future__ import annotations

import functools
import operator

import pytest

from pcache import Cache

ATTRIBUTES = ("__code__", "__defaults__", "__kwdefaults__", "__globals__", "__closure__")


def test_attributes_are_those_of_the_function(cache: Cache) -> None:
    """They are looked up when asked for, below other cached functions as well."""

    def scale(n: int = 3, *, times: int = 2) -> int:
        return n * times

    made = cache.cached(cache.cached(scale))
    scale.__defaults__ = (4,)
    assert [getattr(made, name) for name in ATTRIBUTES] == [getattr(scale, name) for name in ATTRIBUTES]


def test_what_is_no_function_has_none(cache: Cache) -> None:
    """Frameworks that ask whether there is code get the answer that the wrapped object gives."""
    made = cache.cached(functools.partial(operator.add, 1))
    assert not any(hasattr(made, name) for name in ATTRIBUTES)
    assert made(2) == made(2) == 3


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_they_cannot_be_set(cache: Cache, name: str) -> None:
    """A change would not reach what binds the arguments, so it is refused, and the function stays as it was."""
    made = cache.cached(lambda n=1: n)
    with pytest.raises(AttributeError):
        setattr(made, name, None)
    assert made() == made() == 1


def test_wrappers_take_over_what_is_the_functions(cache: Cache) -> None:
    """`functools.wraps` copies the attributes of the function, and nothing of the cache."""

    def scale(n: int) -> int:
        return n * 2

    scale.unit = "m"  # type: ignore[attr-defined]
    wrapper = functools.wraps(cache.cached(scale))(lambda n: n)
    assert vars(wrapper).keys() == {"unit", "__wrapped__", *functools.WRAPPER_ASSIGNMENTS} & vars(wrapper).keys()
    assert wrapper.unit == "m"
