"""From a computed result to the bytes of its entry."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from pcache.entry import format as entry_format
from pcache.entry import mtime
from pcache.entry.compression import compress_buffer, compress_stream
from pcache.entry.main_module import flags_of
from pcache.entry.pickling import Payload, dump
from pcache.keys.argument_digests import signed
from pcache.objects.culprit import attempt
from pcache.objects.summary import summarize_result
from pcache.storage.drafts import size_of as length_of

if TYPE_CHECKING:
    from pcache.config.settings import Settings
    from pcache.runtime.flow import Job
    from pcache.signing.keyring import Keyring

_PYTHON = ".".join(map(str, sys.version_info[:3]))

__all__ = ["dump", "encode", "length_of"]


def encode(
    payload: Payload, result: object, job: Job, created_ns: int, cost_ns: int, settings: Settings, keyring: Keyring
) -> tuple[list[Any], int]:
    """Return the entry of a result as pieces, each part compressed where that pays, and its modification time."""
    ttl_ns = job.address.ttl_ns
    facts = entry_format.Facts(
        key=job.address.key,
        function_id=job.address.function_id,
        created_ns=created_ns,
        expires_ns=entry_format.NEVER if ttl_ns is None else min(created_ns + ttl_ns, entry_format.NEVER),
        cost_ns=cost_ns,
        flags=flags_of(payload.stream, job.address.home),
    )
    stream = compress_stream(payload.stream, settings.compression)
    buffers = [compress_buffer(buffer, settings.compression) for buffer in payload.buffers]
    meta, _ = attempt(_meta, result, job, keyring)  # asks objects for their shape: user code, which may fail
    mtime_ns = mtime.pack(mtime.Stamp(created_ns, cost_ns, facts.expires_ns))
    return entry_format.encode(facts, meta or b"{}", stream, buffers, keyring), mtime_ns


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
