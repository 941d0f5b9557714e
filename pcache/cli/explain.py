"""Commands on code versions: explain, adopt."""

from __future__ import annotations

import ast
import time
from typing import TYPE_CHECKING, Any

import click

from pcache.cli import options
from pcache.cli.app import PROBLEM
from pcache.cli.completion import complete_function
from pcache.cli.output import amount, clean, say, say_json, say_tree
from pcache.errors import PcacheError
from pcache.text.phrases import age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pcache.insight.records import VersionInfo
    from pcache.versions.adoption import Adoption


import_it_option = click.option(
    "--import", "import_it", is_flag=True, help="Import the function's module without asking, even if all of it runs."
)


def asking(*, import_it: bool) -> Callable[[str], None]:
    """What asks before a script without a guard runs."""

    def ask(file: str) -> None:
        options.confirm(
            f'run all of {clean(file)}, which has no `if __name__ == "__main__":`', yes=import_it, option="--import"
        )

    return ask


@click.command(short_help="Say why a call hits or misses.")
@click.argument("target", metavar="CALL", shell_complete=complete_function)
@options.cache_dir
@import_it_option
@options.as_json
@click.pass_context
def explain(ctx: click.Context, target: str, import_it: bool, as_json: bool) -> None:
    """Say whether a call would hit, if not why, and what differs from the stored calls that are most like it.

    CALL is a function with arguments that are Python literals. Its module is imported to find out which code it has; no
    result is loaded. Of a script runs what stands outside of `if __name__ == "__main__":`; one without that runs as a
    whole, so it is asked about, or needs --import. Exits with 1 for a miss.

    With a function's name alone, nothing is imported: its code versions are listed, with what was edited between them,
    which of them are no longer on disk, and whether a global differs in every process.

    \b
    pcache explain 'simulate(1000, seed=7)'
    pcache explain simulate
    """
    from dataclasses import asdict  # late for start-up time

    cache = options.open_cache()
    if "(" in target:
        from pcache.cli.loading import load_function, method_without_instance  # late for start-up time

        if why := method_without_instance(cache, target.partition("(")[0].strip()):
            raise click.UsageError(why)
    name, call = parsed(target)
    if call is None:
        from pcache.insight import listing  # late for start-up time

        found = listing.versions(cache.directory, name)
        if as_json:
            say_json([asdict(version) for version in found])
        else:
            say_tree(_version_lines(found))
        return
    from pcache.insight.explanation import explain as explain_question  # late for start-up time

    function = load_function(cache, name, asking(import_it=import_it))
    try:
        explanation = explain_question(function.question(*call)._replace(load=False))
    except PcacheError:
        raise
    except TypeError as error:  # the arguments do not fit the function
        raise click.UsageError(str(error)) from error
    if as_json:
        say_json(asdict(explanation))
    else:
        say_tree(explanation.lines())
    if not explanation.hit:
        ctx.exit(PROBLEM)


def parsed(target: str) -> tuple[str, tuple[tuple[Any, ...], dict[str, Any]] | None]:
    """The function's name, and the arguments if there are any: positional ones and those by name."""
    name, parenthesis, rest = target.partition("(")
    name = name.strip()
    if not parenthesis:
        return name, None
    try:
        tree = ast.parse(f"call({rest}", mode="eval").body
        if (
            not isinstance(tree, ast.Call)
            or not isinstance(tree.func, ast.Name)  # f(1)(2)
            or len({keyword.arg for keyword in tree.keywords} - {None}) < len(tree.keywords)  # f(**x), f(x=1, x=2)
        ):
            raise ValueError
        positional = tuple(ast.literal_eval(value) for value in tree.args)
        return name, (positional, {str(item.arg): ast.literal_eval(item.value) for item in tree.keywords})
    except SyntaxError as error:
        raise click.UsageError(f"cannot read {target!r:.80}: give one call, such as 'f(1, x=2)'") from error
    except (ValueError, TypeError, MemoryError, RecursionError) as error:
        raise click.UsageError(
            f"cannot read the arguments of {target!r:.80}: they must be Python literals, such as 3, 'text' or"
            " [1, 2]. For others call explain() in Python"
        ) from error


def _version_lines(found: list[VersionInfo]) -> Iterator[tuple[int, str]]:
    now, told = time.time(), set[str]()
    for i, version in enumerate(found):
        if i == 0 or found[i - 1].function != version.function:
            yield 0, version.function
            if version.changing_globals is not None and version.function not in told:
                told.add(version.function)
                yield 1, version.changing_globals.text
                yield 1, version.changing_globals.advice
        yield (
            1,
            f"version {version.function_id}, first seen {age(version.first_seen, now)} ago: "
            + amount(version.entries, version.bytes),
        )
        if version.superseded:
            yield 2, f"superseded: {version.superseded}"
        for adopted in version.adopted:
            yield 2, f"has adopted the results of {adopted}"
        for difference in version.differences:
            yield 2, str(difference)


def _parse_added(_ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    added = {}
    for text in values:
        name, equals, value = text.partition("=")
        try:
            if not equals:
                raise ValueError
            added[name.strip()] = ast.literal_eval(value.strip())
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
            raise click.BadParameter(
                f"{text!r:.80} is not a name, = and a Python literal, such as method='exact'", param=param
            ) from error
    return added


@click.command(short_help="Keep the results of an earlier code version.")
@click.argument("function", shell_complete=complete_function)
@options.cache_dir
@import_it_option
@click.option("--from", "earlier", metavar="ID", help="The version, as `explain` lists it; by default the latest.")
@click.option(
    "--added",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_parse_added,
    help="A new parameter, and the value that it had in effect before.",
)
@click.option("-n", "--dry-run", is_flag=True, help="List what changed, and change nothing.")
@options.yes
@options.as_json
def adopt(
    function: str,
    import_it: bool,
    earlier: str | None,
    added: dict[str, Any],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Keep the results of an earlier version of FUNCTION, after an edit that does not change them.

    Lists what was edited, and asks. The function's module is imported, as by `pcache explain`, to find out which code
    it has now. The earlier version keeps its results too.

    \b
    pcache adopt simulate --dry-run
    pcache adopt simulate --added "method='exact'"
    """
    from pcache.cli.loading import load_function  # late for start-up time

    cache = options.open_cache()
    if cache.settings.read_only and not dry_run:
        raise options.Refused(f"the cache is read-only ({cache.settings.origins['read_only']}), so nothing is adopted")

    def confirm(plan: Adoption) -> bool:
        if not as_json:
            say_tree(plan.lines())
        if dry_run:
            return False
        options.confirm(
            "keep these results", yes=yes, consequence="They will be returned as if this code had made them."
        )
        return True

    done = load_function(cache, function, asking(import_it=import_it)).adopt(earlier, added=added, confirm=confirm)
    if as_json:
        _say_adoption(done)
    elif done.done:
        say("Adopted.")
    else:
        say("\nNothing was changed.")


def _say_adoption(done: Adoption) -> None:
    from dataclasses import asdict  # late for start-up time

    say_json({**asdict(done), "added": {name: repr(value) for name, value in done.added.items()}})
