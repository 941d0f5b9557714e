"""Objects of real packages as arguments, as globals and as results, in three processes with three hash seeds.

What is observed is right, equal objects have one key in every process, different ones have two, nothing raises. Of a
package that is not installed the items are skipped; `make zoo` installs all that can be.
"""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.zoo.collection import PACKAGES
from tests.zoo.program import files_of

if TYPE_CHECKING:
    from tests.zoo.conftest import Played

ITEMS = [(package, item) for package in PACKAGES for item in PACKAGES[package].items]


@pytest.mark.parametrize(("package", "item"), ITEMS, ids=[f"{package}-{item}" for package, item in ITEMS])
def test_item(played: Played, package: str, item: str) -> None:
    """It counts by what it is, wherever it stands."""
    missing = [name for name in PACKAGES[package].needs or (package,) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed; `make zoo` installs it")
    assert played(package, PACKAGES[package].items, partial(files_of, PACKAGES[package]))[item] == []


def test_the_zoo_is_large() -> None:
    """Some 150 items of 30 packages, all of whose names say what they are of."""
    assert len(PACKAGES) >= 30
    assert len(ITEMS) >= 150
