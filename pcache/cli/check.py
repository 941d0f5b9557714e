"""The command that computes a call again and compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pcache.cli import options
from pcache.cli.app import PROBLEM
from pcache.cli.completion import complete_function
from pcache.cli.explain import asking, import_it_option, parsed
from pcache.cli.output import clean, say, say_json
from pcache.errors import Miss, PcacheError
from pcache.objects.lookup import kind_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pcache.function import CachedFunction


@click.command(short_help="Compute a call again, and compare.")
@click.argument("target", metavar="CALL", shell_complete=complete_function)
@options.cache_dir
@import_it_option
@options.as_json
@click.pass_context
def check(ctx: click.Context, target: str, import_it: bool, as_json: bool) -> None:
    """Compute a call again, with all cached calls inside of it, and say whether the result is the one that is stored.

    CALL is a function with arguments that are Python literals; its module is imported as for `explain`. Where nothing
    is stored the call is computed twice. Nothing is stored or removed. Exits with 1 if the results differ: they depend
    on something that pcache does not know, such as chance, time, a file or the order of threads.

    \b
    pcache check 'simulate(1000, seed=7)'
    """
    from pcache.cli.loading import load_function
    from pcache.runtime.checking import difference  # late for start-up time

    cache = options.open_cache()
    name, call = parsed(target)
    if call is None:
        raise click.UsageError(f"give a call to compute, such as '{clean(name)}(1, x=2)'")
    function = load_function(cache, name, asking(import_it=import_it))
    before, is_stored = _before(function, *call)
    path = difference(before, _computed(function, *call))
    if as_json:
        say_json({"equal": path is None, "differs": path, "compared_with": "stored" if is_stored else "computed"})
    else:
        compared = "the stored one" if is_stored else "that of a second run, as none is stored"
        say(f"the result equals {compared}" if path is None else f"{path} differs from {compared}")
    if path is not None:
        ctx.exit(PROBLEM)


def _before(function: CachedFunction[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, bool]:
    """The result to compare with, and whether it was stored."""
    try:
        return _whole(function, function.get(*args, **kwargs), is_stored=True), True
    except Miss:
        return _computed(function, args, kwargs), False
    except PcacheError:
        raise
    except TypeError as error:  # the arguments do not fit the function
        raise click.UsageError(str(error)) from error


def _computed(function: CachedFunction[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a call that is computed, with all cached calls inside of it."""
    from pcache.runtime.modes import disabled  # late for start-up time

    with disabled():
        return _whole(function, function(*args, **kwargs))


def _whole(function: CachedFunction[..., Any], made: Any, *, is_stored: bool = False) -> Any:
    """What a call gave, to its end: the result of a coroutine, or all items of a generator and what it returned."""
    import asyncio  # late for start-up time

    kind = kind_of(function.__wrapped__)
    if kind == "coroutine" and not is_stored:
        return asyncio.run(made)
    if kind == "asynchronous generator":
        return asyncio.run(_items(made))
    if kind == "generator":
        items: list[Any] = []
        while True:
            try:
                items.append(next(made))
            except StopIteration as stop:
                return items, stop.value
    return made


async def _items(made: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in made]
