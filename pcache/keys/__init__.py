"""What a call is: its arguments, bound and encoded, become a key."""

from __future__ import annotations


def canonical(type_name: str, content: object) -> None:
    """The callable that a reduced object's encoding names. `pcache.keys.canonical` is part of every such key, and it is
    never called.
    """
