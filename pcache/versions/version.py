"""Which code version of a function is running, and which earlier ones it continues.

A version is determined by a function's name, fingerprint, parameters and options; its id is part of every key. A
version that has adopted others finds their results too, under the ids of those versions.
"""

from __future__ import annotations

import functools
import os

from blake3 import blake3

from pcache.errors import ConfigError, Uncached
from pcache.keys.encoder import encode
from pcache.keys.file import File, why_unreadable
from pcache.keys.names import home_of, module_name, notebook_of
from pcache.keys.nesting import FILES
from pcache.objects.lookup import look, qualname_of, text
from pcache.objects.summary import in_full, shown_part
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, late
from pcache.system.fork import whole
from pcache.system.interrupts import raise_if_interrupt, try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pcache.config.options import Options
    from pcache.fingerprint.closure import Captured
    from pcache.fingerprint.fingerprint import Fingerprint
    from pcache.keys import named_files
    from pcache.keys.binder import Binder
    from pcache.keys.encoder import LargeContents
    from pcache.keys.names import Home
    from pcache.signing.keyring import Keyring
    from pcache.system import file_content
    from pcache.system.file_content import Reading
    from pcache.text import phrases
    from pcache.versions.registry import Adopted, FunctionVersion
else:
    phrases = late("pcache.text.phrases")
    file_content = late("pcache.system.file_content")
    named_files = late("pcache.keys.named_files")

_FUNCTION_ID_BYTES = 8
_FUNCTION_CONTEXT = b"pcache function 1\x00"
_KEY_CONTEXT = b"pcache key 1\x00"
PART_DIGITS = 16
_MOST_DECLARED = 10_000  # parts of a `depends_on` value that are checked; it may contain itself


class Version(NamedTuple):
    """The running code version of a function: its id, facts and fingerprint."""

    function_id: bytes
    hex_id: str
    prefix: bytes  # of the bytes that its keys are digests of
    name: str  # for people: `shown_name`
    facts: Callable[[], FunctionVersion]  # put together when they are first asked for
    fingerprint: Fingerprint
    home: Home
    continued: tuple[Continued, ...]


class Continued(NamedTuple):
    """An earlier version whose results count as those of this one.

    `added` are the positions of values that its calls did not have, each with the keyed digest of the value assumed.
    """

    function_id: bytes
    hex_id: str
    prefix: bytes
    added: tuple[tuple[int, str], ...]


def shown_name(function: Callable[..., Any], label: str) -> str:
    """`module:qualified.name`, the same however the program was started; in a notebook `fits.ipynb:qualified.name`.

    It is what people are shown. Keys have `__main__` for every notebook.
    """
    home = home_of(function)
    return f"{os.path.basename(notebook_of(home)) or home.name}:{label}"


def label_of(function: Callable[..., Any]) -> str:
    """The qualified name of a function; of another callable its name, or else its class."""
    return qualname_of(function) or text(look(function, "__name__")) or qualname_of(type(function))


def find(
    function: Callable[..., Any], label: str, options: Options, binder: Binder, captured: Captured | None = None
) -> Version:
    """Find out which code runs; once per function and process. Adopted versions are not looked up."""
    with whole:
        from pcache.fingerprint.fingerprint import of_callable  # late for start-up time: decorating needs no version

    found = of_callable(function, options.code, options.depends_on, options.ignored_globals)
    if options.named_globals:
        _check_ignored([found, *([captured.fingerprint] if captured else [])], options.named_globals, label)
    chosen, error = try_call(_digest_and_files, options)
    if type(error) is Uncached:
        raise error
    # A file was removed since decoration: use a unique digest, and try again at each call.
    options_digest, files = chosen if error is None else (os.urandom(16), [file_content.unknown("")])
    if files:
        from copy import copy  # late for start-up time: few functions depend on files

        found = copy(found)  # other functions may share it
        found.files = [*found.files, *files]
    home, shown = home_of(function), shown_name(function, label)
    content = (f"{home.name}:{label}", found.digest, binder.source, options_digest)
    function_id = blake3(_FUNCTION_CONTEXT + b"".join(encode(content))).digest(_FUNCTION_ID_BYTES)
    parts = (*found.parts.items(), *_of_options(options))

    @functools.cache
    def facts() -> FunctionVersion:
        from pcache.versions.registry import describe  # late for start-up time: a hit tells nobody of its version

        return describe(
            function_id.hex(),
            shown,
            module=module_name(function),
            file=notebook_of(home) or _absolute(text(look(look(function, "__code__"), "co_filename"))),
            parameters=binder.form,
            parts={part: (digest, shown_part(part, _absolute(told))) for part, (digest, told) in parts},
        )

    return Version(function_id, function_id.hex(), _KEY_CONTEXT + function_id, shown, facts, found, home, ())


def _check_ignored(found: Iterable[Fingerprint], patterns: tuple[str, ...], label: str) -> None:
    """Raise `ConfigError` for a global in `ignore=` that nothing on the way uses."""
    names = [name.partition(" ") for fingerprint in found for name in fingerprint.parts]
    ignored = [name for kind, _, name in names if kind == "ignored"]
    for pattern in patterns:
        from fnmatch import fnmatchcase  # late for start-up time: few decorators ignore globals

        if not any(fnmatchcase(name, pattern) for name in ignored):
            import difflib  # late for start-up time

            known = sorted({name for kind, _, name in names if kind in ("constant", "making", "name")})
            near = difflib.get_close_matches(pattern, known, n=3, cutoff=0.4) or known[:5]
            hint = f"; it uses {', '.join(near)}" if near else ""
            raise ConfigError(f"ignore= of {label}: it uses no global {pattern}{hint}", setting="ignore", value=pattern)


def _of_options(options: Options) -> Iterator[tuple[str, tuple[str, str]]]:
    """The parts of a version that come from its options."""
    if options.version is not None:
        yield "version", (value_digest(options.version)[:PART_DIGITS], in_full(options.version))
    for name, value in options.key.items():
        yield f"key {name or 'of the call'}", (value_digest(value)[:PART_DIGITS], "")
    if options.over:
        yield "batch", (value_digest(options.over)[:PART_DIGITS], options.over)


def continued(adopted: Sequence[Adopted], binder: Binder) -> Iterator[Continued]:
    """The adopted versions as keys need them, without those that do not fit the parameters."""
    for version in adopted:
        if set(version.added) <= set(binder.names):
            function_id = bytes.fromhex(version.function_id)
            added = tuple((binder.names.index(name), digest) for name, digest in version.added.items())
            yield Continued(function_id, version.function_id, _KEY_CONTEXT + function_id, added)


def values_before(values: tuple[Any, ...], version: Continued, keyring: Keyring) -> tuple[Any, ...] | None:
    """The values of a call for an earlier version; None if that version had no such call."""
    from pcache.versions.registry import is_of  # late for start-up time

    if not all(is_of(digest, value_digest(values[at]), keyring) for at, digest in version.added):
        return None
    added = {at for at, _ in version.added}
    return tuple(value for at, value in enumerate(values) if at not in added)


def value_digest(value: object) -> str:
    """The digest of a plain value in hexadecimal; raises whatever its pickle hooks raise."""
    return blake3(b"".join(encode(value))).hexdigest()


def digest_of_options(options: Options, label: str) -> bytes:
    """Digest the options that affect results: `version` and the code of the `key` functions; checks `depends_on` too.

    The first call digests `depends_on`, when it finds out which code runs. Raises `ConfigError`.
    """
    found, error = try_call(_digest_and_files, options)
    if type(error) is Uncached:
        return b""  # each call reports it
    if error is not None:
        raise ConfigError(f"version= and key= of {label}: {error}", setting="version") from error
    for i, value in enumerate(options.depends_on):
        _, error = try_call(_try_declared, value)
        if error is not None:
            kind = phrases.a_thing(qualname_of(type(value)))
            raise ConfigError(
                f"depends_on= of {label}: item {i} is {kind} that cannot be digested"
                f" ({error}); it takes functions, classes, modules, paths of files and folders, and plain values",
                setting="depends_on",
                value=value,
            ) from error
    return found[0]  # type: ignore[no-any-return]


def _digest_and_files(options: Options) -> tuple[bytes, list[Reading]]:
    """A digest of `version` and the code of the `key` functions, and the files that these refer to."""
    large: LargeContents = {}
    chosen = (options.version, sorted(options.key.items()), *([options.over] if options.over else ()))
    if options.conditions is not None and options.conditions.exceptions:
        chosen += ("exceptions",)  # whoever does not raise them must not find them
    digest = blake3(b"".join(encode(chosen, None, large))).digest()
    return digest, [file for (_, how), (_, files) in large.items() if how == FILES for file in files]


def _try_declared(value: object) -> None:
    """Raise the error of digesting a `depends_on` value, and `ValueError` for text that is meant as a path."""
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        try:
            file_content.read_any(path)
        except OSError as error:
            raise_if_interrupt(error)
            raise ValueError(why_unreadable(path, error)) from None
    for part in named_files.parts_of(value, _MOST_DECLARED):
        if isinstance(part, (str, bytes)) and os.path.isfile(part):
            raise ValueError("text counts as text, and not as the file of that name; pass it as pathlib.Path or File")
        if isinstance(part, os.PathLike) and part is not value and not isinstance(part, File):
            raise ValueError("a path in it counts as text; list each Path or File by itself")
    with whole:
        from pcache.fingerprint.fingerprint import of_callable  # late for start-up time

    of_callable(len, "none", (value,))


def _absolute(file: str) -> str:
    """The absolute path of a code's file, which Python may give relative; names such as `<stdin>` stay."""
    is_relative = file.endswith(".py") and not os.path.isabs(file) and os.path.exists(file)
    return os.path.abspath(file) if is_relative else file
