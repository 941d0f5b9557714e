"""Values in groups: those of a group are made differently and mean the same, those of two groups differ.

A test module defines `groups()`. Run as a script with the names of such modules, this one prints the key of each group,
so that processes can be compared.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from tests.key_values import key_of

Groups = dict[str, list[Any]]


def check(groups: Groups) -> None:
    """Values of a group have one key, and no two groups the same."""
    keys = {name: [key_of(value) for value in values] for name, values in groups.items()}
    unlike = [name for name, found in keys.items() if len(set(found)) != 1]
    assert unlike == [], f"values that mean the same have different keys: {unlike}"
    owners: dict[str, list[str]] = {}
    for name, found in keys.items():
        owners.setdefault(found[0], []).append(name)
    mixed_up = [names for names in owners.values() if len(names) > 1]
    assert mixed_up == [], f"values that differ have one key: {mixed_up}"


if __name__ == "__main__":
    made = {module: importlib.import_module(module).groups() for module in sys.argv[1:]}
    json.dump(
        {f"{m}:{name}": key_of(values[0]) for m, groups in made.items() for name, values in groups.items()}, sys.stdout
    )
