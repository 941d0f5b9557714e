"""The options of a decorator, checked and converted to base units."""

from __future__ import annotations

from pcache.config.rules import FILES, read_duration, read_option, read_switch
from pcache.errors import ConfigError
from pcache.objects.summary import summarize_value
from pcache.startup import TYPE_CHECKING, Any, Literal, NamedTuple, late

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta

    from pcache.config import conditions, other_caches
    from pcache.config.conditions import Conditions
else:
    conditions = late("pcache.config.conditions")
    other_caches = late("pcache.config.other_caches")


if TYPE_CHECKING:
    from typing import TypedDict

    class CachedOptions(TypedDict, total=False):
        """What `cached` takes by name, as type checkers see it; its signature has the same, for people."""

        ttl: float | str | timedelta | Callable[[Any], float | str | timedelta | None] | None
        version: object
        ignore: Iterable[str]
        key: Mapping[str, Callable[[Any], object]] | Callable[..., object] | None
        depends_on: Iterable[object]
        strict: bool
        lock_timeout: float | str | timedelta | None
        code: Literal["deep", "own", "none"]
        summaries: bool | None
        unhashable: Literal["raise", "compute"]
        files: Literal["silent", "warn"] | None
        exceptions: type[Exception] | Iterable[type[Exception]]
        store_if: Callable[[Any], object] | None
        valid_if: Callable[[Any], object] | None
        stale: float | str | timedelta | None
        early_refresh: bool
        min_cost: float | str | timedelta | None
        check: float | str | None


class FunctionSettings(NamedTuple):
    """The settings of one function alone; None where not set. In base units."""

    ttl: float | None = None  # seconds
    lock_timeout: float | None = None  # seconds
    max_size: int | None = None  # bytes
    max_entries: int | None = None
    summaries: bool | None = None
    files: Literal["silent", "warn"] | None = None
    check: float | None = None  # fraction of the hits


WHOLE_CALL = ""  # what stands in `key` for all arguments


class Options(NamedTuple):
    """The options given to the decorator; durations in seconds."""

    ttl: float | None = None
    version: object = None
    ignore: tuple[str, ...] = ()
    key: Mapping[str, Callable[[Any], object]] = {}
    depends_on: tuple[object, ...] = ()
    strict: bool = False
    lock_timeout: float | None = None
    code: str = "deep"
    summaries: bool | None = None
    unhashable: str = "raise"
    files: str | None = None
    ignore_globals: tuple[str, ...] = ()  # those of the settings, not of the decorator
    conditions: Conditions | None = None  # those that look at single results
    over: str = ""  # the parameter of a batch whose items have entries of their own

    @property
    def ignored_parameters(self) -> tuple[str, ...]:
        return tuple(name for name in self.ignore if ":" not in name)

    @property
    def named_globals(self) -> tuple[str, ...]:
        """Patterns of `module:NAME` that the decorator was given: each has to fit a global that the function uses."""
        return tuple(name for name in self.ignore if ":" in name)

    @property
    def ignored_globals(self) -> tuple[str, ...]:
        """All patterns of `module:NAME`; those of the settings are for many functions, and need not fit any global."""
        return (*self.named_globals, *self.ignore_globals)

    def completed(self, own: Any, settings: Any, *, has_result: bool = True) -> Options:
        """What the decorator leaves open is for the settings of the function, and then for those of all.

        The settings' share of hits to check is for functions that have one result, and not a stream of items.
        """
        defaults: dict[str, Any] = {"ignore_globals": settings.ignore_globals}
        for name in ("ttl", "lock_timeout", "summaries", "files"):
            if getattr(self, name) is None:
                default = getattr(own, name)
                defaults[name] = getattr(settings, name) if default is None else default
        share = settings.check if own.check is None else own.check
        made = self._replace(**defaults)
        if share and has_result and (made.conditions is None or made.conditions.check is None):
            made = made._replace(conditions=conditions.with_check(made.conditions, share, made.ttl))
        return made


CONDITIONS = ("exceptions", "store_if", "valid_if", "stale", "early_refresh", "min_cost", "check")
_NOT_GIVEN = ("ignore_globals", "conditions", "over")
GIVEN = (*(name for name in Options._fields if name not in _NOT_GIVEN), *CONDITIONS)  # what the decorator takes


def make_options(
    *,
    ttl: Any = None,
    version: object = None,
    ignore: Iterable[str] = (),
    key: Mapping[str, Callable[[Any], object]] | Callable[..., object] | None = None,
    depends_on: Iterable[object] = (),
    strict: bool = False,
    lock_timeout: Any = None,
    code: str = "deep",
    summaries: Any = None,
    unhashable: str = "raise",
    files: str | None = None,
    **more: Any,
) -> Options:
    """Return the decorator's options in base units; raises `ConfigError`."""
    asked = {name: more.pop(name) for name in CONDITIONS if name in more}
    for name, value in more.items():
        told = other_caches.advice(name) or f"it has {', '.join(GIVEN)}"
        raise ConfigError(f"cached has no option {name!r}; {told}", setting=name, value=value)
    if isinstance(ignore, str):
        ignore = (ignore,)
    for option, value, kind in (("ignore", ignore, "names"), ("depends_on", depends_on, "things")):
        if not hasattr(value, "__iter__") or isinstance(value, type):
            raise ConfigError(f"{option}= takes a list of {kind}, not {value!r:.80}", setting=option, value=value)
    ignore = tuple(ignore)
    if callable(key):
        key = {WHOLE_CALL: key}
    elif key is not None and not hasattr(key, "items"):
        text = f"key= takes a function of all arguments, or a dict of parameter names and functions, not {key!r:.80}"
        raise ConfigError(text, setting="key", value=key)
    key = dict(key or {})
    for option, names in (("ignore", ignore), ("key", key)):
        for name in names:
            if not isinstance(name, str):
                raise ConfigError(
                    f"{option}= names parameters by text, not by {summarize_value(name)}", setting=option, value=name
                )
    for option, value, words in (
        ("code", code, ("deep", "own", "none")),
        ("unhashable", unhashable, ("raise", "compute")),
        ("files", "silent" if files is None else files, FILES),
    ):
        if not isinstance(value, str) or value not in words:
            *others, last = map(repr, words)
            takes = f"{', '.join(others)} or {last}"
            raise ConfigError(f"{option}= takes {takes}, not {summarize_value(value)}", setting=option, value=value)
    kept, made = None, None
    if (
        callable(ttl)
        or asked.get("check") is not None
        or any(value not in (None, (), False) for value in asked.values())
    ):
        kept, made = conditions.make_conditions(ttl=ttl, **asked)
    return Options(
        read_option("ttl", ttl, read_duration) if made is None else kept,
        version,
        ignore,
        key,
        tuple(depends_on),
        strict,
        read_option("lock_timeout", lock_timeout, read_duration),
        code,
        read_option("summaries", summaries, read_switch),
        unhashable,
        files,
        conditions=made,
    )
