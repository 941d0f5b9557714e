"""Kinds of tokens of pygments: by their names. Each holds the kinds below it that any lexer has asked for so far."""

from __future__ import annotations

from pcache.keys.dispatch import register_reducer
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcache.keys.writer import Writer


def _kind(kind: Any, _encoder: Writer) -> object:
    return tuple(kind)


register_reducer("pygments.token._TokenType", _kind)
