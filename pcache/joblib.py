"""joblib's `Memory` with pcache's keys and files, under the name that programs import."""

from pcache.integrations.joblib_memory import MemorizedFunc, MemorizedResult, Memory, expires_after

__all__ = ["MemorizedFunc", "MemorizedResult", "Memory", "expires_after"]
