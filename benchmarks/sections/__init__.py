"""What `run.py` measures: each module has one kind of work. A section gets a folder and returns what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sections.arguments import array_key, frame_key
from sections.batches import long_map, map_hits
from sections.calls import system_calls
from sections.checks import cost_of_checks
from sections.coroutines import coroutine_hit, loop_stalls
from sections.jobs import embeddings_job, frames_job
from sections.mapped import array_hit, first_array_hit, frame_hit, mixed_frame_hit, packable_array_hit
from sections.megabytes import objects_hit, text_hit
from sections.misses import miss
from sections.processes import start_up, two_processes
from sections.small import fresh_hit, keyword_hit, small_hit
from sections.stores import store_array, store_frame
from sections.streams import awaited_stream, stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from verdicts import Section

SECTIONS: dict[str, Callable[[str], Section | list[Section]]] = {
    "small-hit": small_hit,
    "fresh-hit": fresh_hit,
    "keyword-hit": keyword_hit,
    "text-hit": text_hit,
    "objects-hit": objects_hit,
    "array-hit": array_hit,
    "packable-array-hit": packable_array_hit,
    "frame-hit": frame_hit,
    "mixed-frame-hit": mixed_frame_hit,
    "store-frame": store_frame,
    "array-key": array_key,
    "frame-key": frame_key,
    "stream": stream,
    "awaited-stream": awaited_stream,
    "miss": miss,
    "store-array": store_array,
    "start-up": start_up,
    "two-processes": two_processes,
    "frames-job": frames_job,
    "embeddings-job": embeddings_job,
    "first-array-hit": first_array_hit,
    "checks": cost_of_checks,
    "system-calls": system_calls,
    "coroutine-hit": coroutine_hit,
    "loop-stalls": loop_stalls,
    "map-hits": map_hits,
    "long-map": long_map,
}
# Others delete what they made, which makes creating files expensive for a while.
EARLY = ("small-hit", "keyword-hit", "checks", "miss", "fresh-hit", "embeddings-job")
