"""A cached generator function: what `@cached` makes of a function with `yield`."""

from __future__ import annotations

from pcache.errors import ConfigError
from pcache.function import CachedFunction
from pcache.keys.dispatch import register_reducer
from pcache.objects.lookup import qualname_of
from pcache.runtime.streaming import Streaming
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcache.config.options import Options
    from pcache.runtime.flow import Flow


class CachedGenerator(Streaming, CachedFunction[Any, Any]):
    """A generator function whose items are stored on disk, as they come.

    A call returns a fresh iterator. Its items are stored when the last one was taken; what is not taken to its end is
    not stored. A hit reads them a chunk at a time. Safe for threads, processes and forks, as `CachedFunction`.
    """

    __slots__ = ()


def make(function: Any, flow: Flow, options: Options) -> CachedGenerator:
    """Cache a generator function; raises `ConfigError` for options that are for functions with one result."""
    for name, value in (("over", options.over), *(options.conditions._asdict().items() if options.conditions else ())):
        if value not in (None, (), 0, "") and name != "fresh_ns":
            said = name.removesuffix("_ns").replace("refreshes_early", "early_refresh").replace("ttl_of", "ttl")
            text = f"{said}= is not for generator functions, and {qualname_of(function)} is one"
            raise ConfigError(text, setting=said, value=function)
    return CachedGenerator(function, flow, options)


register_reducer(CachedGenerator, lambda function, _encoder: function.__wrapped__)
