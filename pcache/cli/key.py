"""Commands for the signing key: key show-id, new, rotate, export, import."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import click

from pcache.cli import options
from pcache.cli.app import PROBLEM, Commands
from pcache.cli.output import NO_PLACE, clean, say, say_json
from pcache.errors import ConfigError, PcacheError, SigningKeyError
from pcache.signing import keyring
from pcache.storage.directory import key_inside, keys_of
from pcache.system import output_file
from pcache.text.phrases import counted

if TYPE_CHECKING:
    from typing import TextIO

    from pcache.signing.key_source import KeySource


@click.group(cls=Commands)
def key() -> None:
    """Make, show and move the signing key.

    Entries are signed with a key, and only what was signed with it is ever loaded. It lies outside of the cache
    directory: in the file that PCACHE_KEY_FILE or the setting key_file names, or in your configuration directory.
    PCACHE_KEY overrides the file. The first key of a file signs, the others are for reading what they signed.
    """


@key.command("show-id", short_help="Print the ids of the keys in use.")
@options.as_json
def show_id(as_json: bool) -> None:
    """Print the id of the key that signs, and those of keys for reading only.

    An id is public: it says nothing about its key.

    \b
    pcache key show-id
    """
    keys = _keys()
    if keys.keyring is None:
        _no_key(keys)
    signing = keys.keyring.signing.hex()
    others = [other.hex() for other in keys.keyring.keys if other != keys.keyring.signing]
    if as_json:
        say_json({"signing": signing, "reading": others, "origin": keys.origin, "path": keys.path})
        return
    say(signing)
    for other in others:
        say(f"{other} (for reading only)")


@key.command()
@click.option("--print", "to_stdout", is_flag=True, help="Print the key in base64, for PCACHE_KEY, and write no file.")
@options.yes
def new(to_stdout: bool, yes: bool) -> None:
    """Make a key; otherwise storing the first result makes one.

    \b
    pcache key new
    PCACHE_KEY_FILE=/srv/team/key pcache key new
    """
    if to_stdout:
        _print_keys([keyring.new_key()])
        return
    _write([keyring.new_key()], yes=yes)


@key.command(short_help="Sign with a new key, go on reading with the old.")
@options.yes
def rotate(yes: bool) -> None:
    """Make a new key that signs; the old ones go on reading what they signed.

    Running programs sign with the old key until they are started again. Other users of the cache who have their own
    copy of the key need the new one too.

    \b
    pcache key rotate
    """
    _refuse_environment()
    path = _key_path()
    _refuse_place(path)
    shared = options.settings().shared
    old = keyring.read_key_file(path, shared=shared)
    if not old:
        raise ConfigError(f"there is no key in {path} to rotate; `pcache key new` makes one")
    options.confirm(f"sign with a new key in {clean(path)}", yes=yes, consequence="The old ones stay for reading.")
    keyring.write_key_file(path, [keyring.new_key(), *old], replace=True, shared=shared)
    say(f"The key {_id_in(path)} in {clean(path)} signs now; {counted(len(old), 'older key')} kept for reading.")


@key.command("export", short_help="Print the key in base64.")
def export_keys() -> None:
    """Print the key in base64, as PCACHE_KEY and `pcache key import` take it. It is a secret.

    \b
    pcache key export | ssh server pcache key import
    """
    keys = _keys()
    if keys.keyring is None:
        _no_key(keys)
    ring = keys.keyring
    others = [ring.keys[other] for other in ring.keys if other != ring.signing]
    _print_keys([ring.signing_key, *others])


@key.command("import", short_help="Take over a key from a file or standard input.")
@click.argument("file", type=click.File("r"), default="-")
@options.yes
def import_keys(file: TextIO, yes: bool) -> None:
    """Take over the keys in FILE, or on standard input: base64, one a line or with commas between them.

    \b
    pcache key import key.txt
    ssh server pcache key export | pcache key import
    """
    if file.isatty():
        say("Reading a key from the terminal; end it with Ctrl-D on a line of its own.", err=True)
    source = f"the text in {file.name}"
    try:
        texts = file.read(_MOST).replace(",", "\n").split()
    except UnicodeDecodeError:
        texts = []
    _write(keyring.parse_keys(texts, source), yes=yes)


_MOST = 64 << 10  # characters that are read as keys


def _write(keys: list[bytes], *, yes: bool) -> None:
    """Write a key file; replace an existing one only if confirmed."""
    path = _key_path()
    _refuse_place(path)
    if os.environ.get("PCACHE_KEY"):
        say("pcache: PCACHE_KEY is set and overrides the key file.", err=True)
    if os.path.lexists(path):
        if _holds(path, keys):
            say(f"{clean(path)} holds this key already.")
            return
        lost = (
            f"Entries that it signed{_known_to_be()} will never be read again; `pcache key rotate` would keep it for"
            " reading."
        )
        options.confirm(f"replace the key in {clean(path)}", yes=yes, consequence=lost)
        keyring.write_key_file(path, keys, replace=True, shared=options.settings().shared)
    elif not keyring.write_key_file(path, keys):
        raise ConfigError(f"another process made {path} at the same moment; nothing was overwritten")
    say(f"The key {keyring.key_id(keys[0]).hex()} in {clean(path)} signs now.")


def _known_to_be() -> str:
    """How much the results are that a key may have signed: those of the directory in force, if they can be listed."""
    from pcache.cache import Cache  # late for start-up time
    from pcache.maintenance import cleanup

    try:
        lost = cleanup.clear(Cache(options.settings().directory).directory, dry_run=True)
    except (PcacheError, OSError):
        return ""
    return f" ({options.said_to_be(lost)})" if lost.entries else ""


def _holds(path: str, keys: list[bytes]) -> bool:
    try:
        return keyring.read_key_file(path, shared=options.settings().shared) == keys
    except SigningKeyError:
        return False  # not a usable key: it can be replaced all the same


def _keys() -> KeySource:
    settings = options.settings()
    keys = keys_of(settings)
    keys.look()  # raises if the user's own key cannot be used
    return keys


def _key_path() -> str:
    settings = options.settings()
    named = os.environ.get("PCACHE_KEY_FILE") or settings.key_file
    path = named or key_inside(settings) or keyring.default_key_path()
    if path is None:
        raise ConfigError(
            "there is no home directory to keep a key in; name a file with PCACHE_KEY_FILE, or set PCACHE_KEY to what"
            " `pcache key new --print` prints"
        )
    return os.path.abspath(path)


def _id_in(path: str) -> str:
    keys = keyring.read_key_file(path, shared=options.settings().shared)
    return keyring.key_id(keys[0]).hex() if keys else "?"


def _refuse_environment() -> None:
    if os.environ.get("PCACHE_KEY"):
        raise ConfigError(
            "the key comes from PCACHE_KEY; put a new one in front of it there, with a comma between them"
        )


def _refuse_place(path: str) -> None:
    if why := output_file.refusal(path):
        raise ConfigError(f"the key is not written: {why}", setting="key_file", value=path)


def _no_key(keys: KeySource) -> NoReturn:
    yet = f"yet in {clean(keys.path or '')}; the first result makes one, or `pcache key new`"
    yet = yet if keys.has_place() else NO_PLACE
    say(f"pcache: there is no signing key {yet}.", err=True)
    click.get_current_context().exit(PROBLEM)


def _print_keys(keys: list[bytes]) -> None:
    say("pcache: this is a secret: anyone who has it can make pcache load what they wrote.", err=True)
    click.echo(",".join(map(keyring.key_to_text, keys)))
