"""`f.map(...)`: the results of many calls, in the order of their arguments.

Without workers the caller computes what nobody else does, and only then waits for what others compute. With workers it
answers hits itself and hands out what is missing in chunks (`batch/spreading.py`). Each result is stored as soon as it
is computed, so an interrupt loses no more than what is under way. Never more than a bounded number of results is held.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from operator import length_hint

from pcache.batch.calls import one_by_one
from pcache.errors import ConfigError
from pcache.objects.lookup import kind_of
from pcache.objects.summary import summarize_value
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pcache.batch.calls import Cached, Outcome


def map_calls(
    function: Cached,
    inputs: tuple[Iterable[Any], ...],
    common: Mapping[str, Any],
    *,
    executor: Any = None,
    chunk: int | None = None,
    ordered: bool = True,
    on_error: str = "raise",
    progress: Callable[[int, int | None], object] | bool | None = None,
) -> Iterator[Any]:
    """The results of calls with an item of each input, as `map` makes them; raises `ConfigError` for odd options."""
    _check(chunk, on_error, progress)
    if (kind := kind_of(function.__wrapped__)) != "function":
        text = f"map makes calls that return results, and this is {'an' if kind[0] in 'aeiou' else 'a'} {kind} function"
        text += "; await asyncio.gather(*map(f, items))" if kind == "coroutine" else "; call it for each item"
        raise ConfigError(text, setting="map", value=function)
    total = min((hint for one in inputs if (hint := length_hint(one, -1)) >= 0), default=None)
    arguments = zip(*inputs, strict=False)
    if executor is None:
        outcomes = one_by_one(function, arguments, common, ordered=ordered)
    else:
        from pcache.batch.spreading import spread  # late: few maps have workers

        outcomes = spread(function, arguments, common, executor, chunk, ordered=ordered)
    return _results(function.name, outcomes, total, on_error == "return", progress)


def _check(chunk: Any, on_error: Any, progress: Any) -> None:
    if on_error not in ("raise", "return"):
        raise ConfigError(
            f"on_error= takes 'raise' or 'return', not {summarize_value(on_error)}", setting="on_error", value=on_error
        )
    if chunk is not None and (type(chunk) is not int or chunk < 1):
        raise ConfigError(
            f"chunk= takes a number of calls, at least 1, not {summarize_value(chunk)}", setting="chunk", value=chunk
        )
    if progress not in (True, False, None) and not callable(progress):
        raise ConfigError(
            f"progress= takes True, False or a function of what is done and the total, not {summarize_value(progress)}",
            setting="progress",
            value=progress,
        )


def _results(
    name: str,
    outcomes: Iterator[Outcome],
    total: int | None,
    returns_errors: bool,
    progress: Callable[[int, int | None], object] | bool | None,
) -> Iterator[Any]:
    """Turn outcomes into results, and tell how many there were."""
    done = 0
    with _told(name, progress) as tell:
        for outcome in outcomes:
            done += 1
            tell(done, total)
            if outcome.error is None:
                yield outcome.value
            elif returns_errors:
                yield outcome.error
            else:
                raise outcome.error


def _told(name: str, progress: Any) -> Any:
    """Whom to tell of each result, in a `with`: a bar on a terminal, the user's function, or nobody."""
    if progress in (None, True) and sys.stderr.isatty():
        from pcache.text.progress import Progress  # late for start-up time

        return Progress(name, at_once=progress is True)
    return nullcontext(progress if callable(progress) else _nobody)


def _nobody(_done: int, _total: int | None) -> None:
    """Tell nobody."""
