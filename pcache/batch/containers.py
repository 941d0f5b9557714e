"""The containers that a batch of items comes in, and those that its results are returned in."""

from __future__ import annotations

from pcache.objects.lookup import full_name
from pcache.startup import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ITEMS = "a list, a tuple, an array or a dict"


class Container(NamedTuple):
    """What is done with a kind of container.

    `items` lists what counts as an item each. `some` makes a container of those at some places. `results` lists the
    results that one of this kind holds for such items, and `joined` makes one of the results for some items.
    """

    items: Callable[[Any], list[Any]]
    some: Callable[[Any, Sequence[int]], Any]
    results: Callable[[Any, list[Any]], list[Any]]
    joined: Callable[[list[Any], list[Any]], Any]


def kind_of(container: Any) -> str:
    """The kind of a container, one of `KINDS`; empty for any other object."""
    kind = full_name(type(container))
    return kind if kind in KINDS and getattr(container, "ndim", True) else ""


def _some_of_dict(whole: dict[Any, Any], places: Sequence[int]) -> dict[Any, Any]:
    items = list(whole.items())
    return dict([items[i] for i in places])


def _of_dict(results: dict[Any, Any], items: list[Any]) -> list[Any]:
    """The results for items, each a key with a value; raises `ValueError` if other keys have any."""
    if len(results) != len(items):
        raise ValueError
    return [results[key] for key, _ in items]


def _of_sequence(results: Any, items: list[Any]) -> list[Any]:
    if len(results) != len(items):
        raise ValueError
    return list(results)


def _array(results: list[Any], _items: list[Any]) -> Any:
    import numpy  # there were arrays

    return numpy.stack([numpy.asarray(result) for result in results])


KINDS = {
    "builtins.list": Container(
        list, lambda whole, places: [whole[i] for i in places], _of_sequence, lambda found, _: found
    ),
    "builtins.tuple": Container(
        list, lambda whole, places: tuple(whole[i] for i in places), _of_sequence, lambda found, _: tuple(found)
    ),
    "numpy.ndarray": Container(list, lambda whole, places: whole[list(places)], _of_sequence, _array),
    "builtins.dict": Container(
        lambda whole: list(whole.items()),
        _some_of_dict,
        _of_dict,
        lambda found, items: {key: result for (key, _), result in zip(items, found, strict=True)},
    ),
}
