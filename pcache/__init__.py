"""A disk-backed function result cache: with `@cached`, a repeated call returns its stored result."""

from pcache.cache import Cache
from pcache.counters.tally import CacheInfo
from pcache.decorator import cached, default_cache
from pcache.errors import (
    ChangedArgumentWarning,
    ConfigError,
    ConfigWarning,
    DamagedEntry,
    DirectoryError,
    FileArgumentWarning,
    ForeignEntry,
    Miss,
    NothingToAdopt,
    NotRecorded,
    PcacheError,
    PcacheWarning,
    SigningKeyError,
    StoreWarning,
    UnhashableArgument,
    UnpicklableResult,
    UnpicklableResultWarning,
)
from pcache.function import CachedFunction
from pcache.keys.dispatch import register_key
from pcache.keys.file import File
from pcache.runtime.calls import Answer
from pcache.runtime.modes import disabled, max_age, refreshing

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Cache",
    "CacheInfo",
    "CachedFunction",
    "ChangedArgumentWarning",
    "ConfigError",
    "ConfigWarning",
    "DamagedEntry",
    "DirectoryError",
    "File",
    "FileArgumentWarning",
    "ForeignEntry",
    "Miss",
    "NotRecorded",
    "NothingToAdopt",
    "PcacheError",
    "PcacheWarning",
    "SigningKeyError",
    "StoreWarning",
    "UnhashableArgument",
    "UnpicklableResult",
    "UnpicklableResultWarning",
    "cached",
    "default_cache",
    "disabled",
    "max_age",
    "refreshing",
    "register_key",
]
