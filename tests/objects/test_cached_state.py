"""What objects remember of themselves does not count: an object has one key before and after it was used."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from pcache import Cache
from tests.key_values import key_of
from tests.support.running import run, write


@pytest.fixture(autouse=True)
def a_program_with_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """The main module of a worker of pytest's has none, and could assign to anything."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)


Uses = tuple[Callable[[], Any], Callable[[Any], object]]


# What they remember has names that no other module of these tests has in its text: one that may assign to them counts.
@dataclasses.dataclass
class Order:
    prices: tuple[int, ...] = (1, 2)
    rate: int = 3

    @functools.cached_property
    def remembered_amount(self) -> int:
        return sum(self.prices) * self.rate

    @functools.cached_property
    def notes(self) -> list[str]:
        return []

    @functools.cached_property
    def discount(self) -> int:
        return 0

    def give(self, discount: int) -> None:
        self.discount = discount


class Table(dict[str, int]):
    @functools.cached_property
    def remembered_amount(self) -> tuple[int, ...]:
        return tuple(self.values())


class Model(BaseModel):
    price: int = 1

    @functools.cached_property
    def doubled_price(self) -> int:
        return self.price * 2


class Empty:
    @functools.cached_property
    def remembered_answer(self) -> int:
        return 42


def frame() -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 1, 2], "b": [1.0, 2.0, 3.0]})


OWN: dict[str, Uses] = {
    "dataclass": (Order, lambda order: order.remembered_amount),
    "dict": (lambda: Table(a=1), lambda table: table.remembered_amount),
    "model": (Model, lambda model: model.doubled_price),
    "no other state": (Empty, lambda empty: empty.remembered_answer),
    "groups": (lambda: frame().groupby("a"), lambda groups: (groups.sum(), groups.groups, groups.indices)),
    "groups of a column": (lambda: frame().groupby("a")["b"], lambda groups: (groups.mean(), groups.ngroups)),
    "window": (lambda: frame().rolling(2), lambda window: window.sum()),
    "resampler": (
        lambda: pd.Series([1, 2], pd.date_range("2020", periods=2)).resample("D"),
        lambda groups: (groups.sum(), groups.groups),
    ),
    "index": (lambda: pd.Index([3, 1]), lambda index: (index.is_unique, index.get_loc(1))),
}


@pytest.mark.parametrize("name", OWN)
def test_use_leaves_no_trace(name: str) -> None:
    """What was asked for, and is kept, is not part of the key."""
    make, use = OWN[name]
    used = make()
    before = key_of(used)
    use(used)
    assert key_of(used) == before == key_of(make())


def graph() -> Any:
    return pytest.importorskip("networkx", reason="networkx is not installed").path_graph(4)


def recurrence() -> Any:
    dateutil = pytest.importorskip("dateutil.rrule", reason="dateutil is not installed")
    return dateutil.rrule(dateutil.DAILY, count=3, cache=True, dtstart=pd.Timestamp(2020, 1, 1).to_pydatetime())


def dask_array() -> Any:
    return pytest.importorskip("dask.array", reason="dask is not installed").from_array(np.arange(4), chunks=2) + 1


def dask_frame() -> Any:
    return pytest.importorskip("dask.dataframe", reason="dask is not installed").from_pandas(frame(), npartitions=2)


def brain() -> Any:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    return nibabel.Nifti1Image(np.full((2, 2, 2), 3.0), np.eye(4))


def xarray_groups() -> Any:
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    return xarray.Dataset({"a": ("x", [1, 2])}, {"x": [3, 4]}).groupby("x")


OTHERS: dict[str, Uses] = {
    "graph": (graph, lambda graph: (graph.adj, graph.nodes, graph.edges, graph.degree)),
    "subgraph": (lambda: graph().subgraph([0, 1]), lambda part: (part.adj, list(part.edges))),
    "recurrence": (recurrence, lambda dates: (list(dates), dates.count())),
    "dask array": (dask_array, lambda array: (array.compute(), array.numblocks)),
    "dask frame": (dask_frame, lambda frame: (frame.compute(), frame.divisions)),
    "brain image": (brain, lambda image: image.get_fdata()),
    "xarray groups": (xarray_groups, lambda groups: (groups.mean(), groups.groups)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_use_of_libraries_leaves_no_trace(name: str) -> None:
    """The same of libraries that a test need not have."""
    make, use = OTHERS[name]
    used = make()
    before = key_of(used)
    use(used)
    assert key_of(used) == before == key_of(make())


def test_what_can_have_changed_counts() -> None:
    """A list that a `cached_property` made may have been appended to, and a method may set another value."""
    first, second = Order(), Order()
    first.notes.append("a")
    second.notes.append("b")
    assert len({key_of(Order()), key_of(first), key_of(second)}) == 3
    given = Order()
    given.give(5)
    assert key_of(given) != key_of(Order())


SCRIPT = """
    import functools
    import sys
    from pcache.keys.encoder import encode
    class Order:
        price = 2
        @functools.cached_property
        def total(self): return self.price
    order = Order()
    before = encode(order)
    print(order.total, encode(order) == before)
    {statement}
    print(encode(order) == before)
"""


@pytest.mark.parametrize(
    ("statement", "counts"),
    {
        "order.total = 3": True,
        "sys.x, order.total = 1, 3": True,
        "order.total += 1": True,
        "order.total: int = 3": True,
        "setattr(order, 'total', 3)": True,
        "order.__dict__['total'] = 3": True,
        "if order.total == 3 or order.total <= 1: print(order.total, 1)": False,
        "x = order.total, 3": False,
    }.items(),
)
def test_what_is_assigned_to_counts(tmp_path: Path, statement: str, counts: bool) -> None:
    """A source of the user's that sets a `cached_property` makes an attribute of it, in doubt from the beginning."""
    lines = run(write(tmp_path / "program.py", SCRIPT.format(statement=statement)))
    assert lines == (["2 False", "False"] if counts else ["2 True", "True"])


def test_a_changed_cache_of_an_image_counts() -> None:
    """nibabel hands out the array that it remembers: what was written into it is what the next one reads."""
    image = brain()
    image = type(image)(np.full((2, 2, 2), 3, np.int16), np.eye(4))
    before = key_of(image)
    image.get_fdata()[0, 0, 0] = 7
    assert key_of(image) != before


def test_one_result_for_an_object_that_is_used_meanwhile(tmp_path: Path) -> None:
    """The function that is cached uses its argument, too."""
    cache = Cache(tmp_path, signing_key=bytes(32))
    order = Order()
    total = cache.cached(lambda order: runs.append(1) or order.remembered_amount)
    runs: list[int] = []
    for _ in range(3):
        total(order)
    assert len(runs) == 1


READS = """
    import functools
    import sys
    from pcache.keys.encoder import encode
    class Order:
        @functools.cached_property
        def total(self): return 2
    kinds = [type(f"Order{n}", (), {"size": functools.cached_property(Order.total.func)}) for n in range(20)]
    for kind in kinds:
        kind.size.__set_name__(kind, "size")
    def use(kind):
        one = kind()
        one.size
        encode(one)
    use(kinds.pop())
    opened = []
    sys.addaudithook(lambda event, arguments: event == "open" and opened.append(arguments[0]))
    for n, kind in enumerate(kinds):
        sys.modules[f"another{n}"] = type(sys)(f"another{n}")
        use(kind)
    print(opened.count(__file__))
"""


def test_sources_are_read_once(tmp_path: Path) -> None:
    """However many classes remember something, and however many modules are imported meanwhile."""
    assert run(write(tmp_path / "program.py", READS)) == ["0"]
