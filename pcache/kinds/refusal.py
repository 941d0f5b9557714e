"""Options that a kind of function does not have yet."""

from __future__ import annotations

from pcache.errors import ConfigError
from pcache.objects.lookup import qualname_of
from pcache.startup import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pcache.config.options import Options


def refuse(function: Callable[..., Any], kind: str, options: Options) -> None:
    """Raise `ConfigError` if a function was given options that look at results or at items."""
    given = ["over"] if options.over else []
    given += options.conditions.given() if options.conditions else []
    for name in given:
        text = f"{name}= is not for {kind} functions, and {qualname_of(function)} is one"
        raise ConfigError(text, setting=name, value=function)
