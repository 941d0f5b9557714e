"""Immutable mappings and sets of `rpds`, `immutables` and `pyrsistent`: as dicts and sets without an order.

Theirs is that of hashes, which differ in each process. `jsonschema` keeps its schemas in such.
"""

from __future__ import annotations

from pcache.keys.dispatch import register_reducer
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcache.keys.writer import Writer


def _mapping(mapping: Any, encoder: Writer) -> object:
    """The items, in the order of the digests of their keys."""
    return sorted(mapping.items(), key=lambda item: encoder.nested(item[0]))


def _set(members: Any, _encoder: Writer) -> object:
    return frozenset(members)


for _name in ("rpds.HashTrieMap", "immutables._map.Map", "immutables.map.Map", "pyrsistent._pmap.PMap"):
    register_reducer(_name, _mapping)
for _name in ("rpds.HashTrieSet", "pyrsistent._pset.PSet"):
    register_reducer(_name, _set)
