"""The exceptions and warnings of pcache, each carrying its evidence.

A message says what happened, to what, and what to do about it. The evidence is kept as attributes too, so that
programs and tests never parse a message. Nothing here knows how an error comes about.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    MissReason = Literal["absent", "expired", "damaged", "foreign", "unloadable", "refreshed", "uncached"]


class PcacheError(Exception):
    """The base of every exception that pcache raises."""


class ConfigError(PcacheError, ValueError):
    """A setting or a decorator option cannot be used.

    `setting` is its name, `value` what was given, `origin` where it came from ("argument", an environment variable, a
    file).
    """

    def __init__(self, message: str, *, setting: str = "", value: object = None, origin: str = "argument") -> None:
        super().__init__(message)
        self.setting = setting
        self.value = value
        self.origin = origin


class DirectoryError(PcacheError, OSError):
    """A cache directory is refused. `path` is the offending path, `reason` a short word for it."""

    def __init__(self, message: str, *, path: str, reason: str) -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])


class SigningKeyError(PcacheError, ValueError):
    """A signing key cannot be read or is malformed. `source` says where it came from; never the key itself."""

    def __init__(self, message: str, *, source: str) -> None:
        super().__init__(message)
        self.source = source


class NothingToAdopt(PcacheError, LookupError):
    """No earlier version of a function has results that it could adopt. `function` is its name."""

    def __init__(self, message: str, *, function: str) -> None:
        super().__init__(message)
        self.function = function


class UnhashableArgument(PcacheError, TypeError):
    """An argument has no key, so the call can be neither looked up nor stored.

    The only exception that a cached call adds to those of the function itself. `function` and `parameter` are names,
    `type_name` the type of the object that has no key and `path` where it sits, such as `config.db.lock`.
    """

    def __init__(self, message: str, *, function: str, parameter: str, type_name: str, path: str) -> None:
        super().__init__(message)
        self.function = function
        self.parameter = parameter
        self.type_name = type_name
        self.path = path


class UnpicklableResult(PcacheError, TypeError):
    """A result cannot be pickled and the function was declared `strict=True`. `path` names the part at fault."""

    def __init__(self, message: str, *, function: str, path: str, type_name: str) -> None:
        super().__init__(message)
        self.function = function
        self.path = path
        self.type_name = type_name


class NotRecorded(PcacheError, LookupError):
    """A call has no result in a directory that is only replayed (`PCACHE_REPLAY`). `explanation` says why."""

    def __init__(self, message: str, *, explanation: str = "") -> None:
        super().__init__(message)
        self.explanation = explanation


class Miss(PcacheError, LookupError):
    """There is no usable stored result. `reason` is one of the words of `MissReason`, `detail` the evidence.

    `call` is the function and its arguments in brief, where it is known.
    """

    def __init__(self, reason: MissReason, *, key: str = "", detail: str = "") -> None:
        super().__init__(reason)
        self.reason: MissReason = reason
        self.key = key
        self.detail = detail
        self.call = ""

    def __str__(self) -> str:
        call, detail = self.call and f" of {self.call}", self.detail and f" ({self.detail})"
        return f"no stored result{call}: {self.reason}{detail}"


class DamagedEntry(Miss):
    """The bytes differ from those that were written: some check of length, tag, digest or identity failed."""

    def __init__(self, detail: str) -> None:
        super().__init__("damaged", detail=detail)


class ForeignEntry(Miss):
    """The header is intact, but signed with a key that is not ours."""

    def __init__(self, detail: str) -> None:
        super().__init__("foreign", detail=detail)


class ExpiredEntry(Miss):
    """The entry is intact, but too old."""

    def __init__(self, detail: str) -> None:
        super().__init__("expired", detail=detail)


class LoadingItself(Miss):
    """A result is asked for while this thread is loading it: its call is computed."""


class Uncached(Miss):
    """A call that bypasses the cache: it is neither looked up nor stored. `detail` says why.

    Making a key or a version may raise it; the call is then computed. If the reason is an argument without a key,
    `parameter` is its name, and users are warned; otherwise it is logged.
    """

    def __init__(self, detail: str, *, parameter: str = "") -> None:
        super().__init__("uncached", detail=detail)
        self.parameter = parameter


def without_tracebacks(miss: Miss) -> Miss:
    """Remove the tracebacks of a miss and its cause: frames keep arguments, descriptors and maps alive.

    Only our own exceptions are changed; one that a pickle hook raised, or the caller is handling, is unlinked.
    """
    cause = miss.__cause__
    ours = isinstance(cause, (PcacheError, OSError)) and miss.reason != "unloadable"
    miss.__cause__ = cause if ours else None
    for error in (miss, cause) if ours else (miss,):
        error.__traceback__ = error.__context__ = None  # type: ignore[union-attr]  # those that are ours are there
    return miss


class NotNow(Exception):
    """A call was not computed: it would have had to wait for others, or was only to be looked up.

    `name` is that of its entry.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def alone(self) -> NotNow:
        """Itself, without the frames that it came through, which keep arguments alive."""
        self.__traceback__ = self.__context__ = None
        return self


class PcacheWarning(UserWarning):
    """The base of every warning that pcache gives."""


class ConfigWarning(PcacheWarning):
    """A name in a settings file or in the environment is no setting, and has no effect. Given once per name."""


class FileArgumentWarning(PcacheWarning):
    """An argument names a file, whose content does not count. Given once per function and parameter if asked for."""


class UnpicklableResultWarning(PcacheWarning):
    """A result cannot be stored because it cannot be pickled. Given once per function."""


class ChangedArgumentWarning(PcacheWarning):
    """A function changed one of its arguments while it ran. Given once per function and parameter."""


class StoreWarning(PcacheWarning):
    """Results cannot be written for now (full disk, no rights, ...). Given once per cause."""
