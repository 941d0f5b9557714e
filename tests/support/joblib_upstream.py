"""joblib's own tests of `Memory`, which its package brings, run against `pcache.joblib`: a pytest plugin.

    python -m pytest -p tests.support.joblib_upstream --pyargs joblib.test.test_memory

A test in `DIFFERENT` must fail: one that passes is no difference any more. Those in `TIMED` are not run.
"""

from __future__ import annotations

import pytest

import pcache.joblib

VERSION = "1.6."  # of joblib, whose tests the lists below are for

_FILES = "it looks at joblib's own files and at the store that keeps them"
_CAPTURED = "it counts calls in a list that an inner function captures: what was captured counts, and the list grows"
_COLLISION = "functions of one name, and versions of one function, have results of their own: nobody is warned"
_MAPS = "results of large arrays are mapped, as ordinary arrays that may be changed, and no others"
DIFFERENT = {
    "test_parallel_call_cached_function_defined_in_jupyter": _FILES,
    "test_memory_lambda": _CAPTURED,
    "test_memory_name_collision": _COLLISION,
    "test_memory_warning_lambda_collisions": _COLLISION,
    "test_memory_warning_collision_detection": _COLLISION,
    "test_memory_partial": _CAPTURED,
    "test_memory_numpy_check_mmap_mode": _MAPS,
    "test_memorized_result_forwards_mmap_mode": _MAPS,
    "test_memory_ignore_decorated": _CAPTURED,
    "test_func_dir": _FILES,
    "test_persistence": _FILES,
    "test_memory_in_memory_function_code_change": _COLLISION,
    "test_memory_func_with_kwonly_args": "a call that does not fit raises the function's own TypeError, no ValueError",
    "test__get_items": _FILES,
    "test__get_items_to_delete": _FILES,
    "test_memory_reduce_size_bytes_limit": "limits apply to the room on disk: a result of 1000 bytes takes 4 KiB",
    "test_memory_clear": "an empty cache keeps its tag and its folders",
    "test_memory_recomputes_after_an_error_while_loading_results": _FILES,
    "test_memory_default_store_backend": "another backend is a ConfigError, which is a ValueError and no TypeError",
    "test_memory_pickle_dump_load": "it compares the attributes of joblib's store, and gives it an unknown option",
    "test_info_log": "no signature of each call is logged with verbose=20",
    "test_memory_creates_gitignore": "the .gitignore lies in the folder of the results, not beside it",
}
_BUSY = "it fails where a busy machine takes a tenth of a second for a call"
TIMED = {
    "test_call_and_shelve_lazily_load_stored_result": f"{_FILES}, and skips where these have no times of reading",
    "test_memory_reduce_size_age_limit": _BUSY,
    "test_memory_only_cache_long_run": _BUSY,
    "test_memory_expires_after": _BUSY,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put pcache's classes in the place of joblib's, and mark what is different."""
    kept, timed = [], []
    for item in items:
        name = item.name.partition("[")[0]
        for cls in ("Memory", "MemorizedFunc", "MemorizedResult"):
            setattr(item.module, cls, getattr(pcache.joblib, cls))  # type: ignore[attr-defined]
        if name in DIFFERENT:
            item.add_marker(pytest.mark.xfail(reason=DIFFERENT[name], strict=True))
        (timed if name in TIMED else kept).append(item)
    unknown = (DIFFERENT.keys() | TIMED.keys()) - {item.name.partition("[")[0] for item in items}
    if unknown:
        raise pytest.UsageError(f"joblib has no such tests: {', '.join(sorted(unknown))}")
    items[:] = kept
    config.hook.pytest_deselected(items=timed)
