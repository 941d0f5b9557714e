"""A disk-backed function result cache: `@cached` makes a call that was made before return its stored result."""

from pcache.cache import Cache, cached, default_cache
from pcache.decorator import CachedFunction
from pcache.dispatch import register_key
from pcache.errors import (
    ChangedArgumentWarning,
    ConfigError,
    DamagedEntry,
    DirectoryError,
    ForeignEntry,
    Miss,
    PcacheError,
    PcacheWarning,
    SigningKeyError,
    StoreWarning,
    UnhashableArgument,
    UnpicklableResult,
    UnpicklableResultWarning,
)
from pcache.files import File
from pcache.modes import disabled, refreshing
from pcache.tally import CacheInfo

__version__ = "0.1.0"

__all__ = [
    "Cache",
    "CacheInfo",
    "CachedFunction",
    "ChangedArgumentWarning",
    "ConfigError",
    "DamagedEntry",
    "DirectoryError",
    "File",
    "ForeignEntry",
    "Miss",
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
    "refreshing",
    "register_key",
]
