"""Short descriptions of calls and values for people: never a large repr, and no `__repr__` of other classes runs.

Whatever is stored for people to read is made here, and values whose names say that they are secret are not.
"""

from __future__ import annotations

import functools
import os
import sys
from itertools import islice

from pcache.objects.lookup import bases_of, class_name, is_exactly, members_of, module_of, qualname_of
from pcache.startup import TYPE_CHECKING, Any, late, pattern
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pcache.text import printable
else:
    printable = late("pcache.text.printable")

_LINE = 200  # characters of a summary
_VALUE = 40  # characters of one value
_FEW = 8  # items of a container whose items are shown
_ITEMS = 80  # characters of all of them
_LEAST = 12  # characters of one of them
_MOST = 50  # values of a call
_AXES, _LONG = 64, 1 << 62  # of an array whose shape is shown
# Packages whose `shape` may be read: that of another object may be computed, or fetched from a server.
_SHAPED = frozenset("cupy jax jaxlib numpy pandas polars pyarrow scipy tensorflow torch xarray".split())
_NESTED = frozenset((list, tuple, dict))
_SIZED = frozenset((list, tuple, dict, set, frozenset))
_PLAIN = frozenset((bool, int, float, complex, type(None)))
_FULL = 80  # characters of a value that is shown in full
_DEPTH = 4
NOT_SHOWN = "(not shown)"
CAPTURED = "captured values"  # their name among the arguments of a call
# Values of these very types tell calls apart by their text. A time zone is left out of it: it may run a user's code.
_TEXTS: Mapping[str, Callable[[Any], str]] = {
    **dict.fromkeys(("datetime.date", "datetime.timedelta", "decimal.Decimal", "fractions.Fraction", "uuid.UUID"), str),
    **dict.fromkeys(("datetime.datetime", "datetime.time"), lambda value: str(value.replace(tzinfo=None))),
    **dict.fromkeys(
        (f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath")), str
    ),
    "pcache.keys.file.File": os.fspath,
}

# Words of names: `api_key`, `apiKey`, `APIKey` and `api-key` have two. A name hidden by mistake costs a listing little.
_WORDS = pattern(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[^\W\d_]+")
_SECRET = frozenset(
    "key keys token tokens auth authorization authentication secret secrets password passwords passwd pwd pw pass"
    " passphrase passcode pin otp totp mfa cred creds credential credentials bearer jwt cookie cookies dsn salt pepper"
    " mnemonic csrf xsrf cvv cvc ssn sas hmac nonce passwort kennwort".split()
)
# Within longer words, as in `dbpassword`, `APITOKEN` and `clientsecret`; not in `tokenizer` and `monkey`.
_PARTS = pattern(
    r"passw(or)?d|passphrase|passcode|secret|credential|(api|access|auth|private|secret|signing|encryption|master|ssh)key"
    r"|oauth|token$|seedphrase|sessionid|connectionstring|connstr"
)
_COUNTS = frozenset("n num number max min count total limit".split())  # `max_tokens` is a number of tokens


def summarize(names: Iterable[str], values: Iterable[Any]) -> dict[str, str]:
    """The arguments of a call, each in at most 80 characters; the first 50 of them."""
    return {
        name: NOT_SHOWN if is_secret(name) else summarize_value(value)
        for name, value in islice(zip(names, values, strict=False), _MOST)
    }


@functools.lru_cache(1024)
def is_secret(name: str) -> bool:
    """Whether a name says that its value is secret."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if _PARTS.search("".join(words)):
        return True
    found = _SECRET.intersection(words)
    return bool(found) and not (found <= {"tokens", "keys"} and _COUNTS.intersection(words))


def shown_as(name: str, text: str) -> str:
    """The text that is shown of a value, unless its name says that it is secret."""
    return NOT_SHOWN if text and is_secret(name) else text


def shown_part(label: str, text: str) -> str:
    """The same for a part of a fingerprint, `constant settings:Api.token`; what a name means is shown."""
    kind, _, name = label.partition(" ")
    return shown_as(name.partition(":")[2], text) if kind == "constant" else text


def summarize_result(function: str, value: Any) -> str:
    """A result in brief, unless the name of its function, `module:get_token`, says that it is secret."""
    return shown_as(function.partition(":")[2], summarize_value(value))


def summarize_unnamed(value: Any) -> str:
    """A value without a name, which could say that it is secret: of text only its length."""
    cls = type(value)
    has_text = cls is str or cls is bytes or is_exactly(value, _SIZED)
    return f"{cls.__name__}({len(value)})" if has_text else summarize_value(value)


def in_full(value: Any) -> str:
    """Plain values, and those in plain containers, in at most 80 characters; secrets by name are left out."""
    return _cut(_in_full(value, 0), _FULL)


def _in_full(value: Any, depth: int) -> str:
    cls = type(value)
    if not is_exactly(value, _NESTED):
        return summarize_value(value)
    if depth == _DEPTH or len(value) > _MOST:
        return f"{cls.__name__}({len(value)})"
    if cls is dict:
        pairs = ((summarize_value(key), _in_full(item, depth + 1)) for key, item in value.items())
        return "{" + ", ".join(f"{key}: {shown_as(key, text)}" for key, text in pairs) + "}"
    items = ", ".join(_in_full(item, depth + 1) for item in value)
    return f"[{items}]" if cls is list else f"({items}{',' * (len(value) == 1)})"


def in_one_line(arguments: Mapping[str, str]) -> str:
    """`n=3, path='a.csv', table=DataFrame(1000 x 6), captured rate=2`, at most 200 characters."""
    parts = (f"captured {text}" if name == CAPTURED else f"{name}={text}" for name, text in arguments.items())
    return _cut(printable.printable(", ".join(parts)), _LINE)


def arguments_of(meta: Mapping[str, Any]) -> str:
    """The arguments of a stored call in one line, from its entry's metadata; empty where they are missing."""
    arguments = meta.get("arguments", "")
    return in_one_line(arguments) if isinstance(arguments, dict) else printable.printable(str(arguments))


def summarize_value(value: Any) -> str:
    """A value in at most 40 characters, or 80 for a short container; what is neither plain nor that by type and size.

    Of long texts both ends are shown, since paths of one folder differ at the end.
    """
    cls = type(value)
    if is_exactly(value, _PLAIN):
        # An int of a million digits takes seconds to print.
        return _cut(repr(value), _VALUE) if cls is not int or value.bit_length() < 4 * _VALUE else "int(...)"
    if cls is str or cls is bytes:
        ends = value[:_VALUE] + value[-_VALUE:] if len(value) > 2 * _VALUE else value
        return _without_middle(repr(ends), _VALUE)
    if is_exactly(value, _SIZED):
        short = _items_of(value) if len(value) <= _FEW and is_exactly(value, _NESTED) else ""
        return short if 0 < len(short) <= _ITEMS else f"{cls.__name__}({len(value)})"
    if _has_shape(cls):
        shape, _ = try_call(_shape_of, value)
        if shape is not None:
            return _cut(f"{class_name(value)}({shape or _number_of(value)})", _LINE)
    name = f"{module_of(cls)}.{qualname_of(cls)}"
    if name in _TEXTS and getattr(sys.modules.get(module_of(cls)), qualname_of(cls), None) is cls:
        text, _ = try_call(_TEXTS[name], value)
        if text is not None:
            return f"{qualname_of(cls)}({_without_middle(text, _VALUE)})"
    return _cut((qualname_of(value) if callable(value) else "") or qualname_of(cls), _LINE)


def _has_shape(cls: type) -> bool:
    """Whether a library that is known defines, by code, the shape of a class's objects."""
    for base in bases_of(cls):
        if "shape" in members_of(base):
            return module_of(base).partition(".")[0] in _SHAPED
    return False


def _shape_of(value: Any) -> str | None:
    """The shape of an array or table."""
    shape = value.shape
    if not isinstance(shape, tuple) or len(shape) > _AXES or any(abs(n) > _LONG for n in map(int, shape)):
        return None
    return " x ".join(map(str, map(int, shape)))


def _number_of(value: Any) -> str:
    """The number that a scalar of numpy is."""
    cls = type(value)
    is_number = module_of(cls) == "numpy" and any(qualname_of(base) == "generic" for base in bases_of(cls))
    item = try_call(value.item)[0] if is_number else None
    return "" if item is None or not is_exactly(item, _PLAIN) else summarize_value(item)


def _items_of(value: Any) -> str:
    """The items of a list, tuple or dict; those of a list or tuple are shortened if they are too long together.

    Empty if they would be too short then.
    """
    text = _in_full(value, 0)
    if len(text) <= _ITEMS or type(value) is dict:
        return text
    room = (_ITEMS - 2) // len(value) - 2  # but for the brackets, and a comma and a space each
    if room < _LEAST:
        return ""
    items = ", ".join(_without_middle(_in_full(item, 1), room) for item in value)
    return f"[{items}]" if type(value) is list else f"({items}{',' * (len(value) == 1)})"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def _without_middle(text: str, length: int) -> str:
    """A text of which both ends are shown if it is too long."""
    if len(text) <= length:
        return text
    tail = (length - 3) // 3
    return f"{text[: length - 3 - tail]}...{text[len(text) - tail :]}"
