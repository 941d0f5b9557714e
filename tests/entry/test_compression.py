"""When parts shrink, and that nothing ever grows beyond what was declared."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcache.entry.compression import MIN_SIZE, RAW, ZSTD, Part, _zstd, compress_buffer, compress_stream, decompress
from pcache.errors import DamagedEntry
from tests.support.processes import run


def restored(part: Part) -> bytes:
    return bytes(part.data) if part.codec == RAW else decompress(part.data, part.codec, part.raw_length)


@given(
    st.builds(bytes.__mul__, st.binary(min_size=1, max_size=20), st.integers(0, 20_000)), st.sampled_from(["auto", 3])
)
def test_round_trip(data: bytes, setting: str | int) -> None:
    """Whatever is stored comes back, and is never longer than it was."""
    for part in (compress_stream(data, setting), compress_buffer(memoryview(data), setting)):
        assert restored(part) == data
        assert len(part.data) <= len(data) == part.raw_length


def mixed(size: int, noise: float) -> bytes:
    """Bytes of which a share is noise, in pieces spread evenly."""
    piece = 256
    return b"".join(os.urandom(int(piece * noise)).ljust(piece, b"\0") for _ in range(size // piece))


@pytest.mark.parametrize(
    ("size", "noise", "stream_codec", "buffer_codec"),
    [
        (MIN_SIZE - 256, 0.0, RAW, RAW),
        (MIN_SIZE, 0.0, ZSTD, ZSTD),
        (100_096, 0.3, ZSTD, ZSTD),
        (100_096, 0.65, ZSTD, RAW),
        (100_096, 0.95, RAW, RAW),
        (1_000_192, 0.3, ZSTD, ZSTD),
        (1_000_192, 0.65, ZSTD, RAW),
        (1_000_192, 1.0, RAW, RAW),
    ],
)
def test_compression_pays_or_is_left_out(size: int, noise: float, stream_codec: int, buffer_codec: int) -> None:
    """A stream is compressed when a fifth is saved, a buffer when half is, and nothing below 4 KiB."""
    data = mixed(size, noise)
    assert compress_stream(data).codec == stream_codec
    assert compress_buffer(memoryview(data)).codec == buffer_codec


def test_a_large_buffer_is_probed_all_over() -> None:
    """Zeros at the start of a noisy buffer do not deceive the probe."""
    noise = os.urandom(2 << 20)
    assert compress_buffer(memoryview(bytes(256 << 10) + noise)).codec == RAW
    assert compress_buffer(memoryview(noise[: 64 << 10] + bytes(2 << 20))).codec == ZSTD


def test_settings() -> None:
    """None turns compression off, a level is zstd's; a higher one is not larger."""
    data = " ".join(map(str, range(100_000))).encode()
    assert compress_stream(data, "none").codec == compress_buffer(memoryview(data), "none").codec == RAW
    assert len(compress_stream(data, 19).data) <= len(compress_stream(data, 1).data)


@pytest.mark.parametrize("declared", [0, 1, 9_999, 10_001, 1 << 20, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_another_length_than_declared(declared: int) -> None:
    """A frame that holds more or less than declared is damage, also for lengths that no machine has."""
    with pytest.raises(DamagedEntry):
        decompress(_zstd().compress(b"z" * 10_000), ZSTD, declared)


def test_what_is_no_single_frame() -> None:
    """Cut, followed by more, doubled, of another codec or no frame at all: damage."""
    frame = _zstd().compress(b"z" * 10_000)
    for data in (frame[:-1], frame[:4], b"", frame + b"x", frame + frame, b"x" + frame, os.urandom(50), bytes(50)):
        for declared in (10_000, 20_000):
            with pytest.raises(DamagedEntry):
                decompress(data, ZSTD, declared)
    with pytest.raises(DamagedEntry, match="codec"):
        decompress(frame, 2, 10_000)
    assert decompress(_zstd().compress(b""), ZSTD, 0) == b""


BOMB = """
import resource
from pcache.entry.compression import ZSTD, _zstd, decompress
from pcache.errors import DamagedEntry
zstd = _zstd()
packer = zstd.ZstdCompressor()
bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(400)), packer.flush()])
assert len(bomb) < 1 << 17
decompress(zstd.compress(bytes(1000)), ZSTD, 1000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for declared in (0, 10, 1 << 20, 10 << 20):
    try:
        decompress(bomb, ZSTD, declared)
    except DamagedEntry:
        say("damaged")
for declared in (1 << 30, 1 << 50):
    try:
        decompress(zstd.compress(bytes(1000)), ZSTD, declared)
    except DamagedEntry:
        say("damaged")
say((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_take_no_more_memory_than_declared(tmp_path: object) -> None:
    """400 MiB in a frame of a few KiB, or a terabyte declared for one of 1000 bytes, cost no memory to refuse."""
    *outcomes, mebibytes = run(BOMB, tmp_path)
    assert outcomes == ["damaged"] * 6
    assert int(mebibytes) < 60
