"""A cached generator function: what `@cached` makes of a function with `yield`."""

from __future__ import annotations

from pcache.function import CachedFunction
from pcache.keys.dispatch import register_reducer
from pcache.kinds.refusal import refuse
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
    refuse(function, "generator", options)
    return CachedGenerator(function, flow, options)


register_reducer(CachedGenerator, lambda function, _encoder: function.__wrapped__)
