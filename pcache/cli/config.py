"""The command config: each setting with its origin, and setting one in a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from pcache.cli import options
from pcache.cli.app import PROBLEM
from pcache.cli.output import NO_PLACE, clean, hint, say, say_json
from pcache.cli.tables import Column, say_table
from pcache.config.rules import OF_FUNCTIONS, RULES
from pcache.config.settings import describe, project_file, resolve, user_file
from pcache.errors import ConfigError, SigningKeyError
from pcache.text.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.config.settings import Setting, Settings
    from pcache.config.writing import Place


_WIDE = max(len(rule.name) for rule in RULES)  # the first column of settings


class _OneOf(click.Group):
    """A group that does something of its own without a command, and takes its commands in their order."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        return list(self.commands)


@click.group(cls=_OneOf, invoke_without_command=True, short_help="Show each setting and where it comes from; set one.")
@options.cache_dir
@options.as_json
@click.pass_context
def config(ctx: click.Context, as_json: bool) -> None:
    """Show each setting with its value and where that comes from.

    The signing key is shown by its id. Exits with 1 when it cannot be used.

    \b
    pcache config
    PCACHE_MAX_SIZE=5GiB pcache config --json
    pcache config set max_size '20 GiB'
    """
    if ctx.invoked_subcommand is not None:
        return
    found = options.settings()
    settings = [
        setting._replace(origin="--cache-dir") if setting.origin == "argument" else setting
        for setting in describe(found)
    ]
    key_id, origin, problem = _signing_key(found)
    files = {"user_file": user_file(), "project_file": project_file() or ""}
    if as_json:
        report: dict[str, object] = {
            setting.name: {"value": setting.value, "origin": setting.origin} for setting in settings
        }
        places = {name: {"value": path or None, "origin": _presence(path)} for name, path in files.items()}
        say_json({**report, "signing_key": {"value": key_id, "origin": origin, "problem": problem}, **places})
    else:
        rows = [(setting.name, readable(setting), setting.origin) for setting in settings]
        rows.append(("signing_key", problem or key_id or "none yet: the first result makes it", origin))
        say_table([Column("Setting"), Column("Value", cut="middle"), Column("Origin", cut="middle")], rows)
        for name, path in files.items():  # in full on any terminal: for copying
            say(f"{name:<{_WIDE}}  {clean(path) or 'none'}  ({_presence(path)})")
    for text in found.ignored:
        hint(f"pcache: {clean(text)}")
    if problem:
        ctx.exit(PROBLEM)


def _presence(path: str) -> str:
    if not path:
        return "there is no place for one" if path == user_file() else "no pyproject.toml in this folder or above"
    return "is there" if os.path.lexists(path) else "is not there; `pcache config set` makes it"


def _signing_key(found: Settings) -> tuple[str | None, str, str]:
    """The id of the signing key, where the key comes from, and what is wrong with it."""
    from pcache.storage.directory import keys_of  # late for start-up time

    try:
        keys = keys_of(found)
        keys.look()  # only this finds out whether the user's own key is usable
    except SigningKeyError as error:
        return None, "", str(error)
    if keys.keyring is None and not keys.has_place():
        return None, "", f"none, {NO_PLACE}"
    origin = keys.origin + (f" {keys.path}" if keys.path else "")
    return keys.keyring.signing.hex() if keys.keyring else None, origin, ""


def readable(setting: Setting) -> str:
    """A setting's value as it would be written in a settings file."""
    value = setting.value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if setting.name in ("max_size", "memory"):
        return format_size(value)
    if setting.name == "min_free":
        return f"{100 * value:g}%"
    return format_duration(value) if setting.name in ("ttl", "lock_timeout") else str(value)


def _complete_name(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of settings; shells that show descriptions get what each is."""
    rules = [rule for rule in RULES if not ctx.params.get("function") or rule.name in OF_FUNCTIONS]
    spelled = incomplete.replace("-", "_")
    return [
        CompletionItem(rule.key, help=rule.about.partition(".")[0].replace("`", ""))
        for rule in rules
        if rule.key.startswith(spelled)
    ]


def _complete_value(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The values of a setting that has few."""
    name = str(ctx.params.get("name") or "").replace("-", "_")
    words = next((rule.words for rule in RULES if rule.key == name), ())
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _places(command: Callable[..., None]) -> Callable[..., Any]:
    """The options that say where a setting is written."""
    project = click.option(
        "--project", is_flag=True, help="In [tool.pcache] of the nearest pyproject.toml, for all who work on it."
    )
    function = click.option(
        "--function", metavar="PATTERN", help="For one function, 'pkg.mod:f', or those that a pattern fits."
    )
    return project(function(command))


@config.command("set", short_help="Set one in your config.toml.", context_settings={"ignore_unknown_options": True})
@click.argument("name", shell_complete=_complete_name)
@click.argument("value", shell_complete=_complete_value)
@_places
def set_one(name: str, value: str, project: bool, function: str | None) -> None:
    """Set a setting in your own config.toml, which is made if it is not there; comments in it stay.

    NAME and VALUE are as in the file; the value is checked first. `pcache config` shows what is in force: a variable,
    or a project's file, goes before yours.

    \b
    pcache config set max_size '20 GiB'
    pcache config set ttl 7d --function 'pkg.rates:*'
    pcache config set ignore_globals '*:RUN_ID, jobs:STARTED' --project
    """
    from pcache.config import writing  # late for start-up time

    rule = writing.rule_of(name, of_function=function is not None)
    place = writing.place_of(project=project, function=function)
    line = writing.set_in(place, rule, value)
    say(clean(f"{place.path}: {line}"))
    _say_what_counts(rule.name, place)


@config.command("unset", short_help="Remove one from your config.toml.")
@click.argument("name", shell_complete=_complete_name)
@_places
@click.pass_context
def unset_one(ctx: click.Context, name: str, project: bool, function: str | None) -> None:
    """Remove a setting from your own config.toml; exits with 1 if it is not in there.

    \b
    pcache config unset max_size
    """
    from pcache.config import writing  # late for start-up time

    rule = writing.rule_of(name, of_function=function is not None)
    place = writing.place_of(project=project, function=function)
    if not writing.unset_in(place, rule):
        say(clean(f"{rule.key} is not set in {place.path}."), err=True)
        ctx.exit(PROBLEM)
    say(clean(f"{place.path}: {rule.key} is not set any more"))
    _say_what_counts(rule.name, place)


def _say_what_counts(name: str, place: Place) -> None:
    """Say which other source goes before the file that was written, or what else is wrong with the settings."""
    try:
        found = resolve()
    except ConfigError as error:
        hint(f"pcache: {clean(str(error))}")
        return
    origin = found.origins[name]
    if "functions" not in place.table and origin != "default" and not origin.endswith(f" {place.path}"):
        shown = next(readable(setting) for setting in describe(found) if setting.name == name)
        hint(clean(f"In force is {shown}, from {origin}."))
