"""Pack a result into an entry: header, metadata, bytes."""

from __future__ import annotations

import json
import os
import sys
from functools import partial

from pcache.entry import mtime
from pcache.entry.compression import would_be_mapped
from pcache.entry.format import NEVER, Facts
from pcache.entry.main_module import flags_of
from pcache.entry.writer import encode_entry
from pcache.keys.argument_digests import signed
from pcache.objects.summary import summarize_result
from pcache.startup import TYPE_CHECKING, Any, late
from pcache.system.interrupts import try_call
from pcache.text.phrases import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pcache.entry import streams
    from pcache.entry.pickling import Payload
    from pcache.entry.streams import ChunkRow
    from pcache.runtime.job import Job
    from pcache.signing.keyring import Keyring
else:
    streams = late("pcache.entry.streams")

_PYTHON = ".".join(map(str, sys.version_info[:3]))


def pack(
    payload: Payload, result: object, job: Job, created_ns: int, cost_ns: int, compression: str | int, keyring: Keyring
) -> tuple[list[Any], int]:
    """Return the entry of a result as pieces, and its modification time in nanoseconds."""
    facts = _facts(job, created_ns, cost_ns, flags_of(payload.stream, job.address.home))
    # Summaries ask objects for their shape: user code, which may fail.
    meta, _ = try_call(_meta, type(result).__qualname__, partial(summarize_result, job.name, result), job, keyring)
    mapped = would_be_mapped(buffer.nbytes for buffer in payload.buffers)
    pieces = encode_entry(payload.stream, payload.buffers, facts, meta or b"{}", compression, keyring, mapped=mapped)
    return pieces, mtime.pack(mtime.Stamp(created_ns, job.run.own_ns, facts.expires_ns))


def pack_stream(
    rows: Sequence[ChunkRow], flags: int, job: Job, created_ns: int, cost_ns: int, keyring: Keyring
) -> tuple[bytes, bytes, int]:
    """Return what stands before and behind the chunks of a stream, and its modification time in nanoseconds."""
    facts = _facts(job, created_ns, cost_ns, flags)
    meta, _ = try_call(_meta, "generator", lambda: counted(sum(row.items for row in rows), "item"), job, keyring)
    head, footer = streams.encode(facts, meta or b"{}", rows, keyring)
    return head, footer, mtime.pack(mtime.Stamp(created_ns, job.run.own_ns, facts.expires_ns))


def _facts(job: Job, created_ns: int, cost_ns: int, flags: int) -> Facts:
    ttl_ns = job.address.ttl_ns
    return Facts(
        key=job.address.key,
        function_id=job.address.function_id,
        created_ns=created_ns,
        expires_ns=NEVER if ttl_ns is None else min(created_ns + ttl_ns, NEVER),
        cost_ns=cost_ns,
        flags=flags,
    )


def _meta(kind: str, summary: Callable[[], str], job: Job, keyring: Keyring) -> bytes:
    meta = {
        "function": job.name,
        "type": kind,
        "python": _PYTHON,
        "pid": os.getpid(),
        "digests": signed(job.digests, keyring.signing_key),
    }
    if job.summaries:
        meta["arguments"] = job.summary()
        meta["result"] = summary()
    return json.dumps(meta).encode()
