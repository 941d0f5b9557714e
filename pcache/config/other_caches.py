"""What stands here for the options that other caches have, for the error of who gives one of them to `cached`.

Loaded by that error only. The options are those of `functools.lru_cache`, joblib, diskcache, cachier and checkpointer.
"""

from __future__ import annotations

_LIMITS = (
    'the directory keeps to the setting max_size, and max_entries below [tool.pcache.functions."module:function"] '
    "limits one function"
)
_AGE = "ttl='7d' limits the age of results"
_FOLDER = "cached(cache=Cache('folder')) stores there"
_KEY = "key={'parameter': function} says what counts of an argument"
_LOG = "logging.getLogger('pcache') has each miss at level DEBUG"
_VERSION = "version= with code='none' leaves only what you say"

_INSTEAD = {
    "maxsize": _LIMITS,
    "size_limit": _LIMITS,
    "entry_size_limit": "a result may take a tenth of the setting max_size",
    "typed": "it is always so: f(1), f(1.0) and f(True) are three calls",
    "expire": _AGE,
    "expiry": _AGE,
    "stale_after": _AGE,
    "expires_after": _AGE,
    "name": "results go by the function's module and name",
    "tag": "cache.clear('module:*') removes results by functions' names",
    "cache_validation_callback": "valid_if=function looks at a stored result; ttl='7d' limits its age",
    "next_time": "stale='30d' returns what is older than ttl= at once, while it is computed anew",
    "hash_func": _KEY,
    "hash_params": _KEY,
    "directory": _FOLDER,
    "location": _FOLDER,
    "cache_dir": _FOLDER,
    "backend": "results are files in a directory",
    "storage": "results are files in a directory",
    "separate_files": "each result is a file",
    "pickle_reload": "what another process stored is always seen",
    "mmap_mode": "large arrays are always mapped",
    "compress": "the setting compression, which is 'auto'",
    "verbose": _LOG,
    "verbosity": _LOG,
    "wait_for_calc_timeout": "lock_timeout='10m' limits how long others are waited for",
    "allow_none": "None is stored as well: it is always so",
    "capture": "globals and captured variables count: it is always so",
    "fn_hash_from": _VERSION,
    "when": "PCACHE_DISABLE=1 in the environment, or `with disabled():`, calls functions themselves",
}


def advice(option: str) -> str:
    """What to use here instead, or nothing for an option of no cache that is known."""
    return _INSTEAD.get(option, "")
