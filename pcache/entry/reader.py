"""Read or map an entry's file, check it, and load its value.

Small files are read at once. A large pickle stream is read into a reused buffer, since allocating fresh pages takes
longer than reading. Large raw buffers are mapped copy-on-write: the caller gets an ordinary writable array, nothing is
copied, and changes stay in its process.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from _weakref import ref
from itertools import starmap

from pcache.entry import format as entry_format
from pcache.entry.compression import MAP_MIN, RAW
from pcache.entry.format import new_tuple
from pcache.entry.kept import NOTHING, copies_of, keep
from pcache.entry.pickling import load, load_again, load_with, loading
from pcache.errors import DamagedEntry, Miss
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, Protocol, late
from pcache.system.interrupts import is_interrupt, raise_if_interrupt, try_call
from pcache.system.ownership import OTHERS_WRITE, SAFE_FLAGS, our_uid

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable

    from pcache.entry import main_module, mtime
    from pcache.entry.format import BufferRow, Header
    from pcache.entry.kept import Kept
    from pcache.keys.names import Home
    from pcache.objects import culprit
    from pcache.signing.keyring import Keyring
else:
    main_module = late("pcache.entry.main_module")
    mtime = late("pcache.entry.mtime")
    culprit = late("pcache.objects.culprit")

OTHER_MODULE = "it names classes of its module, which is a different module here"
_READ_FLAGS = os.O_RDONLY | SAFE_FLAGS
_SMALL_FILE = 64 << 10
_KEPT_BUFFER = 4 << 20  # larger streams are rare, and their buffers would stay in memory for ever
_KEPT_BUFFERS = 4
TICK_NS = 20 * 10**6  # two ticks of a kernel's slowest clock, as file times of local file systems have
# Before 3.13 each Python mmap keeps a file descriptor; from then on the only limit is the kernel's 65,530 maps.
_MAX_MAPS = 8192 if sys.version_info >= (3, 13) else 256
_MAX_VERIFIED = 8192

_live_maps: set[ref[mmap.mmap]] = set()
_spare_buffers: list[bytearray] = []
_verified: set[tuple[int, int, int, int]] = set()  # device, inode, size, ctime_ns of files whose buffers were checked


class Address(NamedTuple):
    """Which entry to read, the key and id in it, its greatest age (None: any), and the module of the function.

    `name` is its name in every store: the function's id and the key, `<16>-<40>` hexadecimal digits. `spelling` is the
    call as this process spells it out, which is found again sooner than the key; empty if it is long.
    """

    name: str
    key: bytes
    function_id: bytes
    ttl_ns: int | None
    home: Home | None = None
    spelling: bytes = b""


class Opener(Protocol):
    """Opens an entry at a place: a descriptor, which the caller closes, and its status; raises `Miss`."""

    def __call__(self, place: str, *, any_owner: bool = False) -> tuple[int, os.stat_result]: ...


class Loaded(NamedTuple):
    """A stored result with its header and file times; `kept` if it was read, and may be held in memory.

    `identity` is the file's inode, size and ctime in nanoseconds.
    """

    value: Any
    header: Header
    mtime_ns: int
    kept: Kept | None
    identity: tuple[int, int, int]


def own_cost_of(loaded: Loaded) -> int:
    """The nanoseconds that a result took without the cached calls inside of it, which have entries of their own."""
    return mtime.unpack(loaded.mtime_ns).cost_ns or loaded.header.cost_ns


def open_entry(place: str, *, any_owner: bool = False) -> tuple[int, os.stat_result]:
    """Open an entry's file and return its descriptor and status.

    Raises `Miss` if it does not exist or is not a regular file of ours: `DamagedEntry` if it is certainly no entry, but
    not if it may be readable later.
    """
    try:
        [fd] = starmap(os.open, ((place, _READ_FLAGS),))  # as `interrupts.uninterrupted`, which is a call more
    except (FileNotFoundError, NotADirectoryError):
        raise Miss("absent") from None
    except OSError as error:  # a symbolic link, a socket; or no descriptors left, or no permission
        raise_if_interrupt(error)
        if error.errno == errno.ELOOP:  # a link, which is never an entry
            raise DamagedEntry(f"it cannot be opened: {error.strerror}") from error
        raise Miss("damaged", detail=f"it cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedEntry("it is not a regular file")
        if status.st_uid != our_uid() and not any_owner:
            raise Miss("foreign", detail=f"it belongs to another user (uid {status.st_uid})")
    except OSError as error:
        os.closerange(fd, fd + 1)
        raise_if_interrupt(error)
        raise Miss("damaged", detail=f"its status cannot be read: {error.strerror}") from error
    except BaseException:
        os.closerange(fd, fd + 1)
        raise
    return fd, status


def read_value(
    place: str,
    address: Address,
    keyring: Keyring,
    now_ns: int,
    verify: str,
    open_it: Opener = open_entry,
    to_keep: int = NOTHING,
) -> Loaded:
    """Return the value of an entry, checked in a fixed order before anything is unpickled; raises `Miss`.

    `place` is what `open_it` takes, by default the path of a file. `verify` says when the buffers of large arrays are
    checked: "once" per file and process, "always" or, for "stream", never. At most `to_keep` bytes are kept.
    """
    fd, status = open_it(place, any_owner=keyring.any_owner)
    buffer = None
    try:
        try:
            size = status.st_size
            if size <= _SMALL_FILE:
                head: Any = os.read(fd, size)
                if len(head) != size:
                    raise DamagedEntry("it was cut short while being read")
                header = entry_format.read_header(head, size)
                if header.n_buffers:
                    head = head[: header.head_length]
                entry_format.authenticate(head, header, keyring)
            else:
                header, head = read_head(fd, size, keyring, _take_buffer)
                buffer = head.obj
            entry_format.check_identity(header, address.key, address.function_id)
            entry_format.check_age(header, now_ns, address.ttl_ns)
            loader = load
            copies: tuple[bytes, ...] | None = () if to_keep >= 0 else None
            if header.n_buffers:
                rows = entry_format.table_of(head, header, size)
                buffers = _buffers(fd, status, rows, header, verify, now_ns)
                copies = copies_of(buffers, to_keep if verify != "always" else NOTHING)
                loader = load_with(buffers)
        finally:
            os.closerange(fd, fd + 1)  # before unpickling, which runs the user's code, and may close it too
        return _load(status, head, header, loader, place, address, copies, to_keep)
    except OSError as error:
        raise_if_interrupt(error)
        raise Miss("damaged", detail=f"it cannot be read: {error.strerror}") from error
    except MemoryError as error:  # a sparse file may be terabytes long
        if is_interrupt(error):
            raise
        raise DamagedEntry("it claims more memory than there is") from error
    finally:
        if buffer is not None:
            _give_back(buffer)


def renew_checked(before: tuple[int, int, int], status: os.stat_result) -> None:
    """Remember that a file's buffers were checked, after our own `utime`; `before` is its inode, size and ctime."""
    if (status.st_dev, *before) in _verified:
        _verified.add((status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns))


def read_head(
    fd: int, size: int, keyring: Keyring, take: Callable[[int], bytearray] = bytearray
) -> tuple[Header, memoryview]:
    """Read and check everything before an entry's buffers, into memory from `take`; raises `Miss`.

    Memory is allocated only after the header's proof, and contents are used only after the tag was checked.
    """
    start = os.pread(fd, entry_format.META_AT, 0)
    header = entry_format.read_header(start, size)
    entry_format.check_proof(start, header, keyring)
    head = memoryview(take(header.head_length))[: header.head_length]
    read_into(fd, head, 0)
    entry_format.authenticate(head, header, keyring)
    return header, head


def _load(
    status: os.stat_result,
    head: Any,
    header: Header,
    loader: Callable[..., Any],
    place: str,
    address: Address,
    copies: tuple[bytes, ...] | None,
    to_keep: int,
) -> Loaded:
    """Unpickle an authentic entry that is the one asked for; `copies` are its buffers', None to keep nothing."""
    stream = entry_format.stream_of(head, header)
    loads = place
    try:
        if header.flags and not main_module.means_the_same(header.flags, stream, address.home):
            raise Miss("unloadable", detail=OTHER_MODULE)
        loading[loads] = None
        value, error = try_call(loader, stream)
        if error is not None:
            value, error = load_again(loader, stream, error)
        kept = None if copies is None or error is not None else keep(stream, copies, head, to_keep)
    finally:
        loading.pop(loads, None)
        if isinstance(stream, memoryview):
            stream.release()  # its buffer is reused
    if error is not None:
        raise Miss("unloadable", detail=culprit.described(error)) from error
    identity = (status.st_ino, status.st_size, status.st_ctime_ns)
    return new_tuple(Loaded, (value, header, status.st_mtime_ns, kept, identity))


def _buffers(
    fd: int, status: os.stat_result, rows: list[BufferRow], header: Header, verify: str, now_ns: int
) -> list[Any]:
    """The buffers of an entry, each a writable view: mapped where that pays, read and unpacked elsewhere."""
    # A map shows later writes to the file, even after its check: only files that no one else can write to are mapped.
    is_ours = status.st_uid == our_uid() and not status.st_mode & OTHERS_WRITE
    mappable = [is_ours and row.codec == RAW for row in rows]
    raw = sum(row.length for row, is_raw in zip(rows, mappable, strict=True) if is_raw)
    mapped = _map(fd, status.st_size) if raw >= MAP_MIN else None
    whole = memoryview(mapped) if mapped is not None else None
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)
    known = verify == "stream" or (verify == "once" and identity in _verified)
    if not known:
        check_paddings(fd, header, rows)
    buffers: list[Any] = []
    for row, in_map in zip(rows, mappable, strict=True):
        if in_map and whole is not None:
            view = whole[row.offset : row.offset + row.length]
            if not known:
                entry_format.check_buffer(row, view)
            buffers.append(entry_format.unpack_buffer(row, view))
        else:
            buffers.append(read_buffer(fd, row))
    if mapped is not None and not known:
        _drop_pages(mapped)
        if now_ns - status.st_ctime_ns >= TICK_NS:  # so any later change changes its ctime
            if len(_verified) >= _MAX_VERIFIED:
                _verified.clear()
            _verified.add(identity)
    return buffers


def check_paddings(fd: int, header: Header, rows: list[BufferRow]) -> None:
    """Check the padding between the parts of an entry; raises `DamagedEntry`."""
    for start, end in entry_format.paddings(header, rows):
        entry_format.check_padding(os.pread(fd, end - start, start))


def read_buffer(fd: int, row: BufferRow) -> bytearray:
    """Read one buffer into memory of its own; always checks it."""
    stored = bytearray(row.length)
    read_into(fd, memoryview(stored), row.offset)
    entry_format.check_buffer(row, stored)
    raw = entry_format.unpack_buffer(row, stored)
    return raw if isinstance(raw, bytearray) else bytearray(raw)


def _map(fd: int, size: int) -> mmap.mmap | None:
    """Map a file copy-on-write; None if too many maps are alive, or the system has no more."""
    import mmap  # late for start-up time: few entries are large

    if len(_live_maps) >= _MAX_MAPS:
        return None
    try:
        if sys.version_info >= (3, 13):
            mapped = mmap.mmap(fd, size, access=mmap.ACCESS_COPY, trackfd=False)
        else:
            mapped = mmap.mmap(fd, size, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise_if_interrupt(error)
        return None  # no maps, descriptors or address space left: the buffers are read instead
    except ValueError:
        return None  # the file was truncated since its status was read
    _live_maps.add(ref(mapped, _live_maps.discard))
    return mapped


def _drop_pages(mapped: mmap.mmap) -> None:
    """Release the memory that checking the digests touched; pages are read from the file again when needed."""
    import mmap  # late for start-up time

    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def read_into(fd: int, view: memoryview, offset: int) -> None:
    done = 0
    while done < len(view):
        count = os.preadv(fd, [view[done:]], offset + done)
        if count <= 0:
            raise DamagedEntry("it was cut short while being read")
        done += count


def _take_buffer(size: int) -> bytearray:
    """A buffer of at least `size` bytes for exclusive use; unpickling may read another entry meanwhile."""
    try:
        buffer = _spare_buffers.pop()
    except IndexError:
        return bytearray(size)
    return buffer if len(buffer) >= size else bytearray(size)


def _give_back(buffer: bytearray) -> None:
    if len(buffer) <= _KEPT_BUFFER and len(_spare_buffers) < _KEPT_BUFFERS:
        _spare_buffers.append(buffer)
