"""From a file to a value: whatever is wrong with the file is a miss with a reason, and the function is asked again."""

from __future__ import annotations

import gc
import os
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, Miss
from pcache.entry import format as entry_format
from pcache.entry import reader
from pcache.entry.compression import ZSTD, Part
from pcache.entry.inspector import inspect_file
from pcache.entry.reader import Address, read_value
from pcache.errors import without_tracebacks
from tests.support.processes import FACTS, KEY, OTHER_RING, RING, Block, entry_bytes, joined, run
from tests.support.running import count_descriptors

NOW = FACTS.created_ns
SMALL = {
    "without a buffer": {"a": 1},
    "a raw buffer": [Block(b"0123456789")],
    "two buffers, one compressed": [Block(b"raw"), Block(b"z" * 5000)],
}


def read(path: Path, verify: str = "always", ttl_ns: int | None = None, now_ns: int = NOW) -> Any:
    return read_value(str(path), Address("", FACTS.key, FACTS.function_id, ttl_ns), RING, now_ns, verify).value


def miss_of(path: Path, **options: Any) -> Miss:
    """The miss of a read. It keeps no frames: a cycle through them would keep the map of the file until it is found."""
    try:
        found = read(path, **options)
    except Miss as miss:
        return without_tracebacks(miss)
    pytest.fail(f"no miss, but {found!r:.99}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "entry"


@pytest.mark.parametrize("value", SMALL.values(), ids=SMALL)
def test_every_flipped_bit_and_truncation_is_a_miss(path: Path, value: object) -> None:
    """In the file of a small entry each single flipped bit and each truncation is the miss `damaged`."""
    data = entry_bytes(value)
    path.write_bytes(data)
    assert read(path) == value
    with open(path, "r+b", buffering=0) as file:
        for at in range(len(data)):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([data[at] ^ 1 << bit]), at)
                assert miss_of(path).reason == "damaged", (at, bit)
            os.pwrite(file.fileno(), data[at : at + 1], at)
        assert read(path) == value
        for length in reversed(range(len(data))):
            os.truncate(path, length)
            assert miss_of(path).reason == "damaged", length


@pytest.mark.parametrize("more", [b"\0", b"x" * 64, entry_bytes(1)])
def test_appended_bytes_are_a_miss(path: Path, more: bytes) -> None:
    """An entry with anything behind its end is damaged, whether it has buffers or not."""
    for value in SMALL.values():
        path.write_bytes(entry_bytes(value) + more)
        assert miss_of(path).reason == "damaged"


LARGE = {
    "a large stream": os.urandom(200_000),
    "a mapped buffer": [Block(os.urandom(300 << 10)), "x"],
    "mapped, read and compressed ones": [Block(os.urandom(300 << 10)), Block(b"r" * 10), Block(b"z" * 90_000)],
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("verify", ["always", "once"])
def test_damage_in_a_large_file_is_a_miss(path: Path, value: object, verify: str) -> None:
    """Each byte of head and padding, and 300 others, are checked in files that are mapped or read in parts."""
    data = entry_bytes(value)
    path.write_bytes(data)
    assert read(path, verify) == value
    header = entry_format.read_header(data, len(data))
    table_at = header.head_length - 64 * header.n_buffers
    near = [*range(entry_format.META_AT + 40), *range(table_at - 20, header.head_length + 70), len(data) - 1]
    places = [at for at in near if at < len(data)] + random.sample(range(len(data)), 300)
    with open(path, "r+b", buffering=0) as file:
        for number, at in enumerate(places):
            os.pwrite(file.fileno(), bytes([data[at] ^ 1 << number % 8]), at)
            os.utime(file.fileno(), ns=(NOW, NOW + number))  # two writes within a tick of the clock look like one
            assert miss_of(path, verify=verify).reason == "damaged", at
            os.pwrite(file.fileno(), data[at : at + 1], at)
        os.utime(file.fileno(), ns=(NOW, NOW - 1))
        assert read(path, verify) == value


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_truncations_of_a_large_file_are_misses(path: Path, value: object) -> None:
    """A large entry cut anywhere is damaged, with every `verify=`, and so is one with a byte behind its end."""
    data = entry_bytes(value)
    for length in [*random.sample(range(len(data)), 40), len(data) - 1, 0, entry_format.META_AT, 65536, 65537]:
        path.write_bytes(data[:length])
        assert miss_of(path, verify="stream").reason == "damaged", length
    path.write_bytes(data + b"\0")
    assert miss_of(path, verify="stream").reason == "damaged"


def test_a_call_repairs_every_damaged_byte(tmp_path: Path) -> None:
    """Through a cached function each damaged byte of its entry costs one computation, and the value is always right."""
    calls = []
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    cached = cache.cached(ignore=["calls"])(square)
    assert cached(3, calls) == 9
    (item,) = cache.flow.store.scan()
    for at in range(item.length):
        data = bytearray(Path(item.path).read_bytes())
        data[at] ^= 1 << at % 8
        Path(item.path).write_bytes(data)
        os.utime(item.path, ns=(0, time.time_ns() + at))  # two writes within a tick of the clock look like one
        with pytest.raises(Miss, match="damaged"):
            cached.get(3, calls)
        assert cached(3, calls) == cached(3, calls) == 9
        assert len(calls) == at + 2


def square(n: int, calls: list[int]) -> int:
    calls.append(n)
    return n * n


def test_reasons(path: Path) -> None:
    """Absent, foreign, expired and damaged are told apart, each with the evidence."""
    assert miss_of(path).reason == miss_of(path / "below").reason == "absent"
    path.write_bytes(b"")
    assert miss_of(path).detail == "too short for a header"
    path.write_bytes(entry_bytes(1, ring=OTHER_RING))
    assert miss_of(path).reason == "foreign"
    path.write_bytes(entry_bytes(1, FACTS._replace(expires_ns=NOW + 5)))
    assert miss_of(path, now_ns=NOW + 5).reason == miss_of(path, ttl_ns=3, now_ns=NOW + 3).reason == "expired"
    assert read(path, now_ns=NOW + 4) == 1
    path.write_bytes(entry_bytes(1, FACTS._replace(key=bytes(20))))
    assert (miss_of(path).reason, miss_of(path).detail) == ("damaged", "it is the entry of another call")


def test_an_expired_entry_is_never_unpickled(path: Path) -> None:
    """Age and identity are checked before the stream is looked at: this one could not even be decompressed."""
    path.write_bytes(joined(FACTS._replace(expires_ns=NOW), b"", Part(b"no frame", 10, ZSTD), []))
    assert miss_of(path).reason == "expired"
    path.write_bytes(joined(FACTS, b"", Part(b"no frame", 10, ZSTD), []))
    assert miss_of(path).reason == "damaged"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_foreign(path: Path) -> None:
    """An authentic entry that belongs to another user is not read."""
    path.write_bytes(entry_bytes(1))
    os.chown(path, 65534, -1)
    miss = miss_of(path)
    assert (miss.reason, miss.detail) == ("foreign", "it belongs to another user (uid 65534)")


def test_a_huge_sparse_file_is_a_miss(path: Path) -> None:
    """A header that claims terabytes, in a file that has them as holes, is damaged and takes no memory."""
    lengths = (0, 8 << 40, 8 << 40, 0)
    header = entry_format.HEADER.pack(*FACTS[:2], RING.signing, *FACTS[2:5], 0, 0, 0, *lengths, b"12345678", b"abcd")
    path.write_bytes(entry_format.MAGIC + bytes(32) + header)
    try:
        os.truncate(path, entry_format.META_AT + (8 << 40))
    except OSError as error:
        pytest.skip(f"no sparse file of 8 TiB here: {error}")
    assert miss_of(path).reason == "damaged"
    with pytest.raises(Miss, match="damaged"):
        inspect_file(str(path), RING)


def test_a_huge_sparse_file_takes_no_memory(path: Path) -> None:
    """A forged header of one gigabyte is refused before that gigabyte is asked for."""
    lengths = (0, 1 << 30, 1 << 30, 0)
    header = entry_format.HEADER.pack(*FACTS[:2], RING.signing, *FACTS[2:5], 0, 0, 0, *lengths, b"12345678", b"abcd")
    path.write_bytes(entry_format.MAGIC + bytes(32) + header)
    os.truncate(path, entry_format.META_AT + (1 << 30))
    tracemalloc.start()
    try:
        assert miss_of(path).detail == "the header's proof does not match"
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_says_so(path: Path, make: Callable[[Path], None]) -> None:
    """A FIFO or a directory in an entry's place is a miss before anything is read of it."""
    make(path)
    assert miss_of(path).detail == "it is not a regular file"


def test_a_value_that_cannot_be_loaded_is_a_miss(path: Path) -> None:
    """An authentic pickle whose class is gone is the miss `unloadable`, with the error of its hooks."""
    path.write_bytes(entry_bytes(Gone()))
    hold = Gone
    del globals()["Gone"]
    try:
        miss = miss_of(path)
    finally:
        globals()["Gone"] = hold
    assert miss.reason == "unloadable"
    assert "AttributeError" in miss.detail
    assert isinstance(read(path), Gone)


class Gone:
    """A class that one test takes away."""


def test_mapped_arrays_are_writable_and_private(path: Path) -> None:
    """A large array can be changed, the change stays in this object, and the file stays as it was."""
    np = pytest.importorskip("numpy")
    path.write_bytes(entry_bytes(np.arange(100_000.0), setting="none"))
    before = path.read_bytes()
    first, second = read(path), read(path)
    first[:] = -1
    assert second[7] == read(path)[7] == 7.0
    assert path.read_bytes() == before
    os.unlink(path)
    gc.collect()
    assert second.sum() == sum(range(100_000))


def test_verify_once_checks_a_mapped_file_again_when_it_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map's digest is checked once for a file, and again after any change, also one that hides in its times."""
    monkeypatch.setattr(reader, "TICK_NS", -(10**18))  # the file is new
    monkeypatch.setattr(reader, "_live_maps", set())  # however many other tests have left
    monkeypatch.setattr(reader, "_verified", set())
    data = bytearray(entry_bytes([Block(os.urandom(300 << 10))]))
    path.write_bytes(data)
    read(path, "once")
    status = os.stat(path)
    checked = set(reader._verified)
    assert checked
    read(path, "once")
    assert reader._verified == checked
    with open(path, "r+b") as file:
        while os.stat(path).st_ctime_ns == status.st_ctime_ns:  # until the clock of the file system ticks
            os.pwrite(file.fileno(), bytes([data[-1] ^ 1]), len(data) - 1)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert os.stat(path).st_mtime_ns == status.st_mtime_ns
    assert miss_of(path, verify="once").reason == "damaged"
    assert miss_of(path, verify="always").reason == "damaged"
    assert read(path, "stream") is not None


def test_a_file_that_changed_just_now_is_checked_at_each_read(path: Path) -> None:
    """Within a tick of its file system's clock a changed file can look like the one before: it is read as new."""
    path.write_bytes(entry_bytes([Block(os.urandom(300 << 10))]))
    changed_ns = os.stat(path).st_ctime_ns
    before = set(reader._verified)
    read(path, "once", now_ns=changed_ns + 10**7)
    assert reader._verified == before
    read(path, "once", now_ns=changed_ns + 10**8)
    assert len(reader._verified - before) == 1


def test_more_maps_than_allowed_are_copied(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the cap of live maps buffers are read, with the same values, and dropped maps are counted off."""
    np = pytest.importorskip("numpy")
    path.write_bytes(entry_bytes(np.arange(50_000.0), setting="none"))
    gc.collect()
    monkeypatch.setattr(reader, "_MAX_MAPS", len(reader._live_maps) + 3)
    arrays = [read(path) for _ in range(8)]
    assert len(reader._live_maps) == reader._MAX_MAPS
    assert all((array == np.arange(50_000.0)).all() for array in arrays)
    del arrays
    gc.collect()
    assert len(reader._live_maps) == reader._MAX_MAPS - 3


def test_no_descriptor_leaks(path: Path) -> None:
    """Hits and misses of every kind leave no descriptor open."""
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("no /proc")
    before = count_descriptors()
    good = entry_bytes([Block(b"x" * 100_000), b"y"])
    for data in (good, good[:-1], good + b"x", b"", b"\0" * 99, entry_bytes(1, ring=OTHER_RING)):
        path.write_bytes(data)
        for operation in (read, lambda path: inspect_file(str(path), RING, buffers=True)):
            try:
                operation(path)
            except Miss:
                continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_reused_buffer_never_shows_through(path: Path) -> None:
    """Values of large streams stay what they are when the next stream is read into the same memory."""
    texts = [os.urandom(100_000) for _ in range(5)]
    values = []
    for text in texts:
        path.write_bytes(entry_bytes([text, bytearray(text)]))
        values.append(read(path))
    assert values == [[text, bytearray(text)] for text in texts]


def test_a_stream_that_reads_another_entry(path: Path) -> None:
    """Unpickling may itself call cached functions: each level has a buffer of its own."""
    inner = path.with_name("inner")
    inner.write_bytes(entry_bytes([os.urandom(100_000), "inner"]))
    noise = os.urandom(100_000)
    path.write_bytes(entry_bytes([Reading(inner), noise, "outer"]))
    value = read(path)
    assert value[0][1:] == ["inner"]
    assert value[1:] == [noise, "outer"]


class Reading:
    """Pickled as a call that reads another entry."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return read, (self.path,)


NEW_PROCESS = """
from pcache.entry.format import NEVER
from pcache.entry.reader import Address, read_value
from pcache.errors import without_tracebacks
from pcache.signing.keyring import make_keyring
address = Address("", bytes(range(20)), bytes(range(8)), None)
say(read_value(sys.argv[2], address, make_keyring([bytes(range(32))]), 0, "once").value)
say(*sorted({"filelock", "backports.zstd", "json", "logging", "numpy"} & set(sys.modules)))
"""


def test_a_new_process_reads_it_without_extra_modules(path: Path) -> None:
    """Reading a small entry loads neither locks nor compression nor anything else that a miss needs."""
    path.write_bytes(entry_bytes(7))
    assert run(NEW_PROCESS, path.parent / "cache", path) == ["7", ""]
