"""Measure pcache against bare files and against its peers, and write `results.md`.

    python benchmarks/run.py                  # everything, a few minutes
    python benchmarks/run.py small-hit miss   # some of it, printed and not written

Everything is a ratio within one run. Peers that are not installed are left out. The caches lie in a temporary directory
(choose its file system with TMPDIR) and are signed with a key of their own: the user's cache, settings and key play no
part.
"""

from __future__ import annotations

import base64
import datetime
import itertools
import json
import mmap
import os
import pickle
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from shutil import which
from typing import TYPE_CHECKING, Any

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [ROOT, HERE]

import child  # noqa: E402 - the checkout that this file belongs to is measured, also when another is installed
import subjects  # noqa: E402
from harness import MISSED, Check, Section, Times, duration, race, settle, table  # noqa: E402
from safety import cost_of_checks  # noqa: E402

from pcache.storage.recent import Recent  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Run = Callable[[], object]

PEERS = [name for name in ("diskcache", "joblib") if find_spec(name)]
ARGUMENTS = child.HITS_BETWEEN_LOOKS
CHEAP_CREATE = 45e-6  # seconds; ext4 needs 15 to 30 us, and 300 to 650 us for some minutes after a mass delete
CREATE_PATIENCE = 180  # seconds
CREATE_ATTEMPTS, CREATE_PAUSE = 4, 60  # without a journal ext4 avoids inodes for 60 s and more after their deletion
DISTURBED = 2  # times the fastest round: a median of bare writes beyond it is not the caches' doing
LABELS = {"bare": "bare", "pcache": "pcache", "diskcache": "diskcache.memoize", "joblib": "joblib.Memory"}


def caches(names: Iterable[str], folder: str, function: Callable[..., Any]) -> dict[str, Any]:
    """`function` cached by each of `names`, in directories of their own."""
    return {name: subjects.CACHES[name](os.path.join(folder, name))(function) for name in names}


def over(function: Callable[..., Any], calls: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> Run:
    def run() -> None:
        for args, kwargs in calls:
            function(*args, **kwargs)

    return run


def flat(function: Callable[[int], Any], arguments: Iterable[int]) -> Run:
    """As `over`, for one argument: nothing but the call in the loop."""

    def run() -> None:
        for n in arguments:
            function(n)

    return run


def bare_files(folder: str, cached: Any, keys: list[str], results: Iterable[object]) -> list[tuple[str, int]]:
    """Pickles of `results` as plain files, as deep and under as long names as the entries of `keys`."""
    files = []
    for key, result in zip(keys, results, strict=True):
        path = os.path.join(folder, "bare", "v1", "entries", key[:2], f"{cached.function_id}-{key}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = pickle.dumps(result, 5)
        with open(path, "wb") as file:
            file.write(data)
        files.append((path, len(data)))
    with open(os.path.join(folder, "bare", "paths"), "w", encoding="utf-8") as file:
        file.writelines(os.path.relpath(path, os.path.join(folder, "bare")) + "\n" for path, _ in files)
    return files


def bare_reads(files: list[tuple[str, int]]) -> Run:
    """Open, read, close and unpickle each file, without a function call around it."""

    def run() -> None:
        for path, size in files:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            data = os.read(fd, size)
            os.close(fd)
            pickle.loads(data)

    return run


def bare_loads(files: list[tuple[str, int]]) -> Run:
    def run() -> None:
        for path, _ in files:
            with open(path, "rb") as file:
                pickle.load(file)

    return run


def unseen(cached: Any, arguments: Iterable[int]) -> Run:
    """As `flat`, for a process that reads each entry for the first time."""

    def run() -> None:
        cached._flow.store._recent = Recent()
        for n in arguments:
            cached(n)

    return run


# In one process


def small_hit(folder: str) -> Section:
    """Hit, int argument, 200 B result"""
    functions = caches(["pcache", *PEERS], folder, subjects.small)
    arguments = range(ARGUMENTS)
    results = [functions["pcache"](n) for n in arguments]
    keys = [functions["pcache"].key(n) for n in arguments]
    runs = {"bare": bare_reads(bare_files(folder, functions["pcache"], keys, results))}
    runs |= {name: flat(function, arguments) for name, function in functions.items()}
    runs["first"] = unseen(functions["pcache"], arguments)
    runs["key"] = flat(functions["pcache"].key, arguments)
    settle(functions["pcache"])
    times = race(runs, calls=ARGUMENTS, rounds=151, warmups=5)
    section = Section(
        small_hit.__doc__ or "",
        f"{ARGUMENTS} arguments in turn; a pickle of 200 bytes. Bare: `os.open`, `os.read`, `os.close`, `pickle.loads`"
        " of the same pickle at the same depth, inline. pcache remembers small entries that it has checked; the row"
        " below it is for entries that the process has not read before.",
    )
    section.show(times, LABELS | {"first": "pcache, first read of an entry", "key": "pcache, `f.key()` only"})
    section.at_most(3, times, "first read of an entry: at most 3x a bare read", name="first")
    section.at_most(3, times, "at most 3x a bare read")
    section.at_least(2, times, "at least 2x as fast as diskcache", than="diskcache")
    section.at_least(10, times, "at least 10x as fast as joblib", than="joblib")
    return section


def keyword_hit(folder: str) -> Section:
    """Hit, int, keyword, dict and list arguments"""
    functions = caches(["pcache", *PEERS], folder, subjects.keyworded)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((n,), {"window": 5, "options": {"method": "fast", "tolerance": 0.01, "depth": n}, "items": [1, 2, 3, n]})
        for n in range(ARGUMENTS)
    ]
    results = [functions["pcache"](*args, **kwargs) for args, kwargs in calls]
    keys = [functions["pcache"].key(*args, **kwargs) for args, kwargs in calls]
    runs = {"bare": bare_reads(bare_files(folder, functions["pcache"], keys, results))}
    runs |= {name: over(function, calls) for name, function in functions.items()}
    runs["key"] = over(functions["pcache"].key, calls)
    settle(functions["pcache"])
    times = race(runs, calls=ARGUMENTS, rounds=101, warmups=5)
    section = Section(
        keyword_hit.__doc__ or "",
        "`f(n, window=5, options={3 items}, items=[4 numbers])`. Bare: as above, without any key.",
    )
    section.show(times, LABELS | {"key": "pcache, `f.key()` only"})
    section.at_least(2, times, "at least 2x as fast as diskcache", than="diskcache")
    section.at_least(10, times, "at least 10x as fast as joblib", than="joblib")
    return section


def megabyte_hits(folder: str, function: Callable[..., Any], note: str, title: str, rounds: int) -> Section:
    functions = caches(["pcache", *PEERS], folder, function)
    functions["packed"] = subjects.pcache(os.path.join(folder, "packed"), compression=1)(function)
    arguments = range(4)
    results = [functions["pcache"](n) for n in arguments]
    keys = [functions["pcache"].key(n) for n in arguments]
    runs = {"bare": bare_loads(bare_files(folder, functions["pcache"], keys, results))}
    runs |= {name: flat(function, arguments) for name, function in functions.items()}
    times = race(runs, calls=len(arguments), rounds=rounds)
    section = Section(title, note)
    section.show(times, LABELS | {"packed": "pcache, compression=1"})
    section.no_slower_than_peers(times, PEERS)
    return section


def text_hit(folder: str) -> Section:
    """Hit, 1 MB of text"""
    note = "Bare: `pickle.load` of an open file."
    return megabyte_hits(folder, subjects.text, note, text_hit.__doc__ or "", rounds=61)


def objects_hit(folder: str) -> Section:
    """Hit, 1 MB of small objects"""
    note = f"{subjects.OBJECTS} dicts of three items. Bare: `pickle.load` of an open file. Garbage collection is on."
    return megabyte_hits(folder, subjects.objects, note, objects_hit.__doc__ or "", rounds=21)


def bare_out_of_band(folder: str, value: object) -> Run:
    """Unpickle from a stream in memory, with the buffers mapped from a file."""
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(value, 5, buffer_callback=buffers.append)
    path = os.path.join(folder, "buffers")
    spans, end = [], 0
    with open(path, "wb") as file:
        for buffer in buffers:
            raw = buffer.raw()
            file.write(raw)
            spans.append(slice(end, end + raw.nbytes))
            end += raw.nbytes

    def run() -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            view = memoryview(mmap.mmap(fd, end, access=mmap.ACCESS_COPY))
        finally:
            os.close(fd)
        pickle.loads(stream, buffers=[view[span] for span in spans])

    return run


def mapped_hits(folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Times:
    functions = caches(["pcache", *PEERS], folder, function)
    if "joblib" in PEERS:
        functions["mmap"] = subjects.joblib(os.path.join(folder, "joblib-mmap"), mmap_mode="r")(function)
    for cached in functions.values():
        cached(*arguments)
    runs = {"bare": bare_out_of_band(folder, function(*arguments))}
    runs |= {name: over(cached, [(arguments, {})]) for name, cached in functions.items()}
    return race(runs, calls=1, rounds=15, warmups=2)


MAPPED_LABELS = LABELS | {"bare": "bare `mmap` and `pickle.loads`", "mmap": 'joblib.Memory(mmap_mode="r")'}
MAPPED_PEERS = [*PEERS, "mmap"]


def frame_hit(folder: str) -> Section:
    """Hit, DataFrame of 1e6 x 6 floats"""
    times = mapped_hits(folder, subjects.frame, (1, "floats"))
    section = Section(frame_hit.__doc__ or "", "48 MB, the hits after the first, until the frame is returned.")
    section.show(times, MAPPED_LABELS)
    section.no_slower_than_peers(times, MAPPED_PEERS)
    return section


def mixed_frame_hit(folder: str) -> Section:
    """Hit, DataFrame of 1e6 x 6, 4 columns of floats and 2 of small integers"""
    times = mapped_hits(folder, subjects.frame, (1, "mixed"))
    note = "48 MB, the hits after the first. The integers are below 1000, so their 16 MB shrink a lot."
    section = Section(mixed_frame_hit.__doc__ or "", note)
    section.show(times, MAPPED_LABELS)
    section.no_slower_than_peers(times, MAPPED_PEERS)
    return section


def array_hit(folder: str) -> Section:
    """Hit, array of 100 MB"""
    times = mapped_hits(folder, subjects.array, (1,))
    section = Section(array_hit.__doc__ or "", "Random floats; the hits after the first, until the array is returned.")
    section.show(times, MAPPED_LABELS)
    median, fastest = times.median("pcache"), times.fastest("pcache")
    section.check("less than 1 ms", f"{duration(median)} (fastest {duration(fastest)})", median < 1e-3)
    section.no_slower_than_peers(times, MAPPED_PEERS)
    return section


def miss(folder: str) -> Section:
    """Miss, small result"""
    rounds, calls = 61, 25
    functions = caches(["pcache", *PEERS], folder, subjects.small)
    cached = functions["pcache"]
    for n in range(-2500, 0):  # all shards exist
        cached(n)
    bare_files(folder, cached, [f"{i:02x}" * 20 for i in range(256)], [None] * 256)
    (entry,) = [item for item in cached._flow.store.scan() if item.key == cached.key(-1)]
    content = os.urandom(entry.size)
    numbers = {name: itertools.count() for name in ("bare", *functions)}

    def bare_run() -> None:
        for _ in range(calls):
            key = f"{next(numbers['bare']) * 2654435761 % 2**32:08x}" * 5
            path = os.path.join(folder, "bare", "v1", "entries", key[:2], f"{cached.function_id}-{key}")
            fd = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.write(fd, content)
            os.close(fd)
            os.rename(path + ".tmp", path)

    def missing(name: str) -> Run:
        def run() -> None:
            for _ in range(calls):
                functions[name](next(numbers[name]))

        return run

    runs = {"bare": bare_run} | {name: missing(name) for name in functions}
    shards = os.path.join(folder, "bare", "v1", "entries")
    for attempt in range(1, CREATE_ATTEMPTS + 1):
        create = wait_for_cheap_creates(shards)
        times = race(runs, calls=calls, rounds=rounds, warmups=2)
        after = create_time(shards)
        if after <= CHEAP_CREATE and times.median("bare") < DISTURBED * times.fastest("bare"):
            disturbed = "" if attempt == 1 else f" This is attempt {attempt}: the file system was busy before."
            break
        time.sleep(CREATE_PAUSE if attempt < CREATE_ATTEMPTS else 0)
    else:
        disturbed = " **The file system was busy with earlier deletions at every attempt: do not trust these figures.**"
    section = Section(
        miss.__doc__ or "",
        f"The function takes 1 us. Bare: write {entry.size} bytes, the size of the entry, to a temporary file and"
        f" rename it, at the same depth. Creating an empty file took {duration(create)} before"
        f" and {duration(after)} after.{disturbed}",
    )
    section.show(times, LABELS | {"bare": "bare, temporary file and rename"})
    section.at_most(2, times, "at most 2x a temporary file and a rename")
    section.no_slower_than_peers(times, PEERS)
    return section


def create_time(folder: str) -> float:
    """Seconds that creating an empty file takes in the shards below `folder` at the moment, median of some."""
    times = []
    for shard in sorted(os.listdir(folder))[:64]:
        path = os.path.join(folder, shard, f"probe-{time.monotonic_ns()}")
        started = time.perf_counter()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        times.append(time.perf_counter() - started)
        os.close(fd)  # the file stays: deleting it is what makes the next ones expensive
    return statistics.median(times)


def wait_for_cheap_creates(folder: str) -> float:
    """Wait, within reason, until the file system has digested earlier deletions."""
    deadline = time.monotonic() + CREATE_PATIENCE
    while (seconds := create_time(folder)) > CHEAP_CREATE and time.monotonic() < deadline:
        time.sleep(5)
    return seconds


def store_array(folder: str) -> Section:
    """Store an array of 100 MB"""
    functions = caches(["pcache", *PEERS], folder, subjects.array)
    view = memoryview(subjects.random_array()).cast("B")
    numbers = itertools.count()
    path = os.path.join(folder, "bare")

    def bare_run() -> None:
        fd = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])
        os.close(fd)
        os.rename(path + ".tmp", path)

    def storing(function: Callable[[int], Any]) -> Run:
        return lambda: function(next(numbers))

    runs = {"bare": bare_run} | {name: storing(function) for name, function in functions.items()}
    times = race(runs, calls=1, rounds=9, after=lambda: remove_large_files(folder))
    section = Section(store_array.__doc__ or "", "Nothing waits for the disk. Bare: write the bytes and rename.")
    section.show(times, LABELS | {"bare": "bare write"})
    section.no_slower_than_peers(times, PEERS)
    return section


def remove_large_files(folder: str) -> None:
    """Drop what was stored, before the system starts writing it to the disk under the next contestant."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if os.path.getsize(path) >= subjects.ARRAY_BYTES:
                os.unlink(path)


def argument_keys(folder: str, function: Callable[..., Any], value: object, bare: Run, rounds: int) -> Times:
    """The digest of an argument, its key, and hits with it: diskcache's key is the whole argument, found by SQLite."""
    functions = caches(["pcache", *PEERS], folder, function)
    for cached in functions.values():
        cached(value)
    runs: dict[str, Run] = {"bare": bare, "key": lambda: functions["pcache"].key(value)}
    runs |= {name: over(cached, [((value,), {})]) for name, cached in functions.items()}
    return race(runs, calls=1, rounds=rounds)


KEY_NOTE = "The result is an int. Peers are compared by whole hits, which is mostly making and finding the key."
KEY_LABELS = {"bare": "bare BLAKE3, one thread", "key": "pcache, `f.key()` only"}
KEY_LABELS |= {name: f"{LABELS[name]}, hit" for name in ("pcache", "diskcache", "joblib")}


def array_key(folder: str) -> Section:
    """Key of an array argument of 100 MB"""
    from blake3 import blake3

    values = subjects.random_array()
    times = argument_keys(folder, subjects.of_array, values, lambda: blake3(values.view("u1")).digest(), rounds=9)
    section = Section(array_key.__doc__ or "", "Random floats. " + KEY_NOTE)
    section.show(times, KEY_LABELS)
    section.at_most(1.3, times, "key at most 1.3x BLAKE3", name="key")
    section.no_slower_than_peers(times, PEERS)
    return section


def frame_key(folder: str) -> Section:
    """Key of a DataFrame argument of 1e5 rows"""
    from blake3 import blake3

    frame = subjects.random_frame(subjects.ARGUMENT_ROWS, "mixed")
    columns = [frame.iloc[:, i].to_numpy().copy().view("u1") for i in range(frame.shape[1])]

    def digests() -> list[bytes]:
        return [blake3(column).digest() for column in columns]

    times = argument_keys(folder, subjects.of_frame, frame, digests, rounds=31)
    section = Section(frame_key.__doc__ or "", f"Six columns of numbers, 4.8 MB. {KEY_NOTE}")
    section.show(times, KEY_LABELS)
    section.no_slower_than_peers(times, PEERS)
    return section


# In processes of their own


def child_environment(folder: str) -> dict[str, str]:
    """For children: bytecode comes from a cache of their own, as it does for everybody who starts a program twice."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return environment | {
        "PYTHONPATH": os.pathsep.join((ROOT, HERE)),
        "PYTHONPYCACHEPREFIX": os.path.join(folder, "bytecode"),
    }


def spawn(folder: str, code: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=child_environment(folder), text=True, **options
    )


def in_child(folder: str, code: str) -> str:
    with spawn(folder, code, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        output = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"a child failed: {code}")
    return output


def warm(folder: str, function: Callable[..., Any], arguments: Iterable[Any]) -> None:
    """Have every cache below `folder` hold the results of a function."""
    for cached in caches(["pcache", *PEERS], folder, function).values():
        for n in arguments:
            cached(n)


def start_up(folder: str) -> Section:
    """Start of a process: import, and first hit"""
    warm(folder, subjects.small, [7])
    codes = {"python": "pass", "import": "import pcache"}
    for name in ("pcache", *PEERS):
        place = os.path.join(folder, name)
        codes[name] = f"import child; child.first_hit({name!r}, {place!r})"

    def start(code: str) -> Run:
        return lambda: in_child(folder, code)

    times = race({name: start(code) for name, code in codes.items()}, calls=1, rounds=21, warmups=2)
    extra = times.over("python")
    section = Section(
        start_up.__doc__ or "",
        "Processes in turn, times over the median of a bare Python"
        f" ({duration(times.median('python'))}); bytecode comes from a cache that was filled before.",
    )
    labels = LABELS | {"import": "`import pcache`"}
    labels |= {name: f"{LABELS[name]}, import and first hit" for name in ("pcache", *PEERS)}
    section.show(extra, labels)
    median, fastest = extra.median("import"), extra.fastest("import")
    measured = f"{duration(median)} (fastest rounds: {duration(fastest)})"
    section.check("`import pcache` at most 30 ms over bare Python", measured, median <= 0.030)
    section.no_slower_than_peers(extra, PEERS)
    section.checks[-1].target = "first hit " + section.checks[-1].target
    return section


def first_array_hit(folder: str) -> Section:
    """First hit of a process on an array of 100 MB, and memory"""
    warm(folder, subjects.array, [1])
    variants = {name: f"{name!r}, {os.path.join(folder, name)!r}" for name in ("pcache", *PEERS)}
    if "joblib" in PEERS:
        variants["mmap"] = variants["joblib"] + ", 'r'"
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for _ in range(5):
        for name, arguments in variants.items():
            seen[name].append(json.loads(in_child(folder, f"import child; child.large_hit({arguments})")))
    section = Section(
        first_array_hit.__doc__ or "",
        "Medians of five processes in turn. Memory: what the process has resident (`smaps_rollup`) more than before the"
        " first hit. pcache checks the digest of all bytes at the first hit; joblib and diskcache have none.",
        ("", "first hit", "second hit", "memory after the first", "after the second", "when all was read"),
    )

    def median(name: str, figure: str) -> float:
        return statistics.median(result[figure] for result in seen[name])

    for name in variants:
        memory = (f"{median(name, what) / 1e6:.1f} MB" for what in ("after_first", "after_again", "touched"))
        row = (duration(median(name, "first")), duration(median(name, "again")), *memory)
        section.rows.append((MAPPED_LABELS[name], *row))
    untouched = max(median("pcache", "after_first"), median("pcache", "after_again"))
    section.check("no array memory until it is touched", f"{untouched / 1e6:.1f} MB", untouched < 5e6)
    ratio = statistics.median(result["first"] / result["digest"] for result in seen["pcache"])
    note = f"{ratio:.2f}x BLAKE3 of the array in memory ({duration(median('pcache', 'digest'))})"
    section.checks.append(Check("first, verified hit", note, "no target"))
    return section


def two_processes(folder: str) -> Section:
    """Hits of two processes together"""
    arguments = range(ARGUMENTS)
    warm(folder, subjects.small, arguments)
    cached = caches(["pcache"], folder, subjects.small)["pcache"]
    bare_files(folder, cached, [cached.key(n) for n in arguments], [cached(n) for n in arguments])
    settle(cached)
    names = ["bare", "pcache", *PEERS]
    rounds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(3):
        for name in names:
            rounds[name].append(1 / hits_per_second(folder, name))
    times = Times(rounds)
    section = Section(two_processes.__doc__ or "", "Three rounds of 2 s; as the small hit above.")
    section.head = ("", "hits a second, median", "best", "share of bare")
    for name in names:
        rates = (f"{1 / times.median(name):,.0f}", f"{1 / times.fastest(name):,.0f}")
        section.rows.append((LABELS[name], *rates, f"{1 / times.ratio(name, 'bare')[0]:.2f}"))
    section.at_most(3, times, "at least a third of bare reads: bare is at most 3x")
    section.at_least(2, times, "at least 2x diskcache", than="diskcache")
    section.at_least(10, times, "at least 10x joblib", than="joblib")
    return section


def hits_per_second(folder: str, name: str) -> float:
    code = f"import child; child.rate({name!r}, {os.path.join(folder, name)!r}, 2.0)"
    processes = [spawn(folder, code, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    pipes = [(process.stdin, process.stdout) for process in processes]
    for _, out in pipes:
        assert out is not None
        out.readline()
    for into, _ in pipes:
        assert into is not None
        into.write("go\n")
        into.flush()
    total = sum(float(out.readline()) for _, out in pipes if out is not None)
    for process in processes:
        process.communicate()
    return total


def system_calls(folder: str) -> Section:
    """System calls of a warm hit"""
    section = Section(system_calls.__doc__ or "", "Traced with `strace -f`, per hit, over 1000 hits between two marks.")
    if which("strace") is None:
        section.note = "strace is not installed."
        return section
    warm(folder, subjects.small, range(ARGUMENTS))
    counts = {name: traced(folder, name, 1000 if name == "pcache" else 200) for name in ("pcache", *PEERS)}
    calls = sorted(
        {call for count in counts.values() for call in count}, key=lambda call: -counts["pcache"].get(call, 0)
    )
    section.head = ("", *(LABELS[name] for name in counts))
    section.rows = [(f"`{call}`", *(f"{count.get(call, 0):.3g}" for count in counts.values())) for call in calls]
    ours = {"newfstatat" if call == "fstat" else call: count for call, count in counts["pcache"].items()}
    expected = dict.fromkeys(("openat", "newfstatat", "read", "close_range"), 1.0)
    listed = ", ".join(f"{call} {count:g}" for call, count in counts["pcache"].items())
    section.check("one openat, fstat, read and close a hit, and nothing else", listed, ours == expected)
    forbidden = re.compile(r"p?write.*|.*lock.*|fcntl|futex|utimensat|rename.*|unlink.*|mkdir.*|f(data)?sync")
    found = {call: count for call, count in counts["pcache"].items() if forbidden.fullmatch(call)}
    # Every few seconds a process appends what it counted.
    bad = {call: count for call, count in found.items() if call != "write" or count > 0.01}
    listed = ", ".join(f"{call} {count:g}" for call, count in found.items()) or "none"
    section.check("no lock, and no write but of counts every few seconds", listed, not bad)
    return section


def traced(folder: str, name: str, count: int) -> dict[str, float]:
    """System calls per hit."""
    log = os.path.join(folder, "trace")
    code = f"import child; child.warm_hits({name!r}, {os.path.join(folder, name)!r}, {count})"
    command = ["strace", "-f", "-o", log, sys.executable, "-c", code]
    subprocess.run(command, check=True, cwd=folder, env=child_environment(folder))
    found: Counter[str] = Counter()
    counting = False
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if child.BEGIN in line or child.END in line:
                counting = child.BEGIN in line
            elif counting and (match := re.match(r"(?:\d+ +)?(\w+)\(", line)):
                found[match[1]] += 1
    return {call: number / count for call, number in found.items()}


# The report

SECTIONS: dict[str, Callable[[str], Section]] = {
    "small-hit": small_hit,
    "checks": cost_of_checks,
    "keyword-hit": keyword_hit,
    "miss": miss,  # early: later sections delete what they made, which makes creating files expensive for a while
    "text-hit": text_hit,
    "objects-hit": objects_hit,
    "array-hit": array_hit,
    "frame-hit": frame_hit,
    "mixed-frame-hit": mixed_frame_hit,
    "array-key": array_key,
    "frame-key": frame_key,
    "start-up": start_up,
    "two-processes": two_processes,
    "first-array-hit": first_array_hit,
    "store-array": store_array,
    "system-calls": system_calls,
}


def file_system(path: str) -> str:
    """The type of the file system that `path` is on, as the kernel names it."""
    real = os.path.realpath(path)
    kind, longest = "unknown", -1
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                left, _, right = line.partition(" - ")
                point = left.split()[4]
                if (point in ("/", real) or real.startswith(point + "/")) and len(point) >= longest:
                    kind, longest = right.split()[0], len(point)
    except OSError:
        pass  # no such table on this platform
    return kind


def versions() -> str:
    found = []
    for name in ("pcache", "blake3", "numpy", "pandas", *PEERS):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} (this checkout)" if name == "pcache" else f"{name} not installed")
    return ", ".join(found)


def report(sections: list[Section], folder: str, seconds: float) -> str:
    checks = [(section.title, check) for section in sections for check in section.checks]
    rows = [(title, check.target, check.measured, check.verdict) for title, check in checks]
    absent = [name for name in ("diskcache", "joblib") if name not in PEERS]
    today = datetime.datetime.now(tz=datetime.UTC).date()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, {file_system(folder)}"
    lines = [
        "# Measured\n",
        "Made by `python benchmarks/run.py`. Ratios are medians of the rounds' ratios, contestants taking turns within"
        " one run; in brackets stands the ratio of the fastest rounds.\n",
        f"{today}; {python}, {machine}; {versions()}. The run took {seconds / 60:.1f} minutes.\n",
        *([f"Not installed, so left out: {', '.join(absent)}.\n"] if absent else []),
        "## Targets\n",
        table(("", "target", "measured", ""), rows).replace("|--:|--:|--:|", "|---|---|---|"),
    ]
    missed = sum(check.verdict == MISSED for _, check in checks)
    lines.append(f"{missed} of {len(checks)} missed.\n")
    return "\n".join(lines) + "\n" + "\n".join(section.markdown() for section in sections)


def isolate(folder: str) -> None:
    """Keep the user's key, settings and cache out of it."""
    for name in [name for name in os.environ if name.startswith("PCACHE_")]:
        del os.environ[name]
    os.environ["PCACHE_KEY"] = base64.b64encode(os.urandom(32)).decode()
    os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CACHE_HOME"] = os.path.join(folder, "home")
    os.chdir(folder)  # away from any project file


def main() -> None:
    chosen = sys.argv[1:] or list(SECTIONS)
    if unknown := sorted(set(chosen) - set(SECTIONS)):
        sys.exit(f"no such measurement: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    started = time.monotonic()
    sections = []
    came_from = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="pcache-benchmark-") as folder:
        isolate(folder)
        for name in chosen:
            begun = time.monotonic()
            place = os.path.join(folder, name)
            os.mkdir(place, 0o700)
            sections.append(SECTIONS[name](place))
            print(sections[-1].markdown(), flush=True)
            print(f"({name}: {time.monotonic() - begun:.0f} s)\n", file=sys.stderr)
        text = report(sections, folder, time.monotonic() - started)
        os.chdir(came_from)
    if len(chosen) == len(SECTIONS):
        with open(os.path.join(HERE, "results.md"), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
