"""From a computed result to the bytes of its entry."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from pcache import entry, stamp
from pcache.arguments import signed
from pcache.compression import compress_buffer, compress_stream
from pcache.culprit import attempt
from pcache.drafts import size_of as length_of
from pcache.home import flags_of
from pcache.payload import Payload, dump
from pcache.summary import summarize_result

if TYPE_CHECKING:
    from pcache.config import Settings
    from pcache.flow import Job
    from pcache.trust import Keyring

_PYTHON = ".".join(map(str, sys.version_info[:3]))

__all__ = ["dump", "encode", "length_of"]


def encode(
    payload: Payload, result: object, job: Job, created_ns: int, cost_ns: int, settings: Settings, keyring: Keyring
) -> tuple[list[Any], int]:
    """Return the entry of a result as pieces, each part compressed where that pays, and its modification time."""
    ttl_ns = job.address.ttl_ns
    facts = entry.Facts(
        key=job.address.key,
        function_id=job.address.function_id,
        created_ns=created_ns,
        expires_ns=entry.NEVER if ttl_ns is None else min(created_ns + ttl_ns, entry.NEVER),
        cost_ns=cost_ns,
        flags=flags_of(payload.stream, job.address.home),
    )
    stream = compress_stream(payload.stream, settings.compression)
    buffers = [compress_buffer(buffer, settings.compression) for buffer in payload.buffers]
    meta, _ = attempt(_meta, result, job, keyring)  # asks objects for their shape: user code, which may fail
    mtime_ns = stamp.pack(stamp.Stamp(created_ns, cost_ns, facts.expires_ns))
    return entry.encode(facts, meta or b"{}", stream, buffers, keyring), mtime_ns


def _meta(result: object, job: Job, keyring: Keyring) -> bytes:
    meta = {
        "function": job.name,
        "type": type(result).__qualname__,
        "python": _PYTHON,
        "pid": os.getpid(),
        "digests": signed(job.digests, keyring.signing_key),
    }
    if job.summaries:
        meta["arguments"] = job.summary()
        meta["result"] = summarize_result(job.name, result)
    return json.dumps(meta).encode()
