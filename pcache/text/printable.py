"""Text that cannot do anything to a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text that cannot do anything to a terminal: control, format and unpaired characters are escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
