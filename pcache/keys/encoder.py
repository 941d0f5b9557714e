"""Canonical pickle, and the key that is its digest.

A plain pickle is no key: its memo makes the bytes depend on object identity, sets iterate in hash-seed order, arrays
drag their base buffers along. The encoding here depends on a value's types, content and order alone, so equal values
have equal keys in every process and under every hash seed, and different values have different ones.

Three passes, each tried only when the one before cannot be trusted:

1. the C pickler with its memo off (`fast`). No Python code runs for builtin types;
2. when the bytes may hold a set opcode, again with a hook that sees every object and writes sets in sorted order;
3. when the value contains itself, or repeats a part so often that spelling it out explodes, with the memo on. Keys are
   then finer than equality: two equal values that share their parts differently have different keys.

Which pass is taken depends on the value alone. Values that are not what their default pickle says (arrays, frames,
functions, classes) are written by the reducers that `dispatch` finds.
"""

from __future__ import annotations

from _pickle import Pickler  # as `pickle` has it, which takes longer to import

from blake3 import blake3

from pcache.keys import canonical
from pcache.keys.dispatch import Reduced, register_reducer, resolve, resolved
from pcache.keys.names import type_name
from pcache.keys.nesting import SPELLED_OUT_LIMIT, TooDeep
from pcache.keys.nesting import Nesting as Nesting  # noqa: PLC0414 - re-exported for callers of `encode`
from pcache.objects.copyreg_codes import numbered, numbers
from pcache.objects.recursion import RAISED, give_back, lower, recursion_limit
from pcache.startup import TYPE_CHECKING, Any, TypeVar, cast
from pcache.system.digests import SEGMENT, Content, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pickle import PickleBuffer

    from pcache.keys.nesting import LargeContents as LargeContents  # noqa: PLC0414 - the same
    from pcache.keys.writer import Writer

    T = TypeVar("T")

KEY_SIZE = 20
_LONG_CONTEXT = "pcache 2026 key of a long encoding"  # BLAKE3 key derivation: no other encoding has such a key
_PROTOCOL = 5
_EMPTY_SET, _FROZENSET = 0x8F, 0x91  # opcodes; as numbers, since `in` looks for a number ten times as fast
_SHARING_FACTOR = 8  # a memo that shortens the stream this much means repeated parts
_MAX_DEPTH = 200  # sets and functions inside each other
_MAX_IN_CYCLES = 5_000  # members of sets in cycles, which have to be written again each time
_NO_LIMIT = 1 << 62
_UNFRAMED = 64  # a chunk without a frame is the last few opcodes, or a string or bytes of 64 KiB and more
_SORTABLE: frozenset[type] = frozenset([int, str, bytes])  # exact types whose order is total and the same everywhere


class _TooLong(Exception):
    """The stream has outgrown its limit."""


class _Output:
    """The file a pickler writes to: keeps the chunks, counts, and stops at a limit."""

    __slots__ = ("chunks", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.chunks: list[Any] = []
        self.size = 0
        self.limit = limit

    def write(self, chunk: Any) -> None:
        self.size += len(chunk)
        if self.size > self.limit:
            raise _TooLong
        self.chunks.append(chunk)


class Encoder(Pickler):
    """The first pass."""

    def __init__(self, nesting: Nesting | None = None, limit: int = SPELLED_OUT_LIMIT, *, memo: bool = False) -> None:
        self.output = _Output(limit)
        self.buffers: list[PickleBuffer] = []
        self.nesting = nesting or Nesting()
        # list.append returns None: the buffer goes out of band
        super().__init__(self.output, _PROTOCOL, buffer_callback=self.buffers.append)
        self.fast = not memo

    def reducer_override(self, obj: Any) -> Any:
        """Encode objects of registered types, and those that define `__pcache_key__`, by their reducers."""
        if obj is canonical:
            return NotImplemented
        cls = type(obj)
        try:
            reducer = resolved[id(cls)]
        except KeyError:
            reducer = resolve(cls)
        content = NotImplemented if reducer is None else reducer(obj, self)
        if content is NotImplemented and numbers and (name := numbered(obj)):
            content = name
        if content is NotImplemented or type(content) is Reduced:
            return content
        return (canonical, (type_name(cls), content))

    def nested(self, value: object) -> bytes:
        """The digest of a value that is encoded separately, inside a set or function that `part` writes."""
        try:
            return blake3(b"".join(encode(value, self.nesting))).digest()
        except RecursionError as error:
            raise TooDeep(str(error)) from None

    def part(self, owner: object, write: Callable[[], Any]) -> Any:
        """Encode a set or function; `write` builds its content from digests.

        Terminates for every value: an object reached again inside itself is written as its depth, one met again
        elsewhere is not written twice, and cycles that branch without end raise `RecursionError`.
        """
        nesting, key = self.nesting, id(owner)
        if key in nesting.contents:
            return nesting.contents[key][1]
        if key in nesting.ids:
            nesting.cycles += 1
            return ("cycle", nesting.ids.index(key))
        if key in nesting.written:
            nesting.count += len(owner) if isinstance(owner, (set, frozenset)) else 1
        nesting.written[key] = None
        if len(nesting.ids) >= _MAX_DEPTH or nesting.count > _MAX_IN_CYCLES:
            raise TooDeep("sets or functions contain each other too deeply or too often")
        before = nesting.cycles
        nesting.ids.append(key)
        nesting.sets += (is_set := isinstance(owner, (set, frozenset)))
        try:
            content = write()
        finally:
            nesting.ids.pop()
            nesting.sets -= is_set
        if nesting.cycles == before:  # it refers to no depth, so it means the same everywhere
            nesting.contents[key] = owner, content  # keeps the owner alive, so that its id is not reused
        return content

    def once(self, owner: object, compute: Callable[[], T], how: str = "content") -> T:
        """Compute something about `owner` once for all passes and encodings of a call. `how` names the computation."""
        found, known = self.nesting.found, (id(owner), how)
        if known not in found:
            found[known] = owner, compute()  # keeps the owner alive, so that its id is not reused
        return cast("T", found[known][1])

    def set_content(self, members: Any) -> Any:
        """The members of a set in an order that does not depend on the hash seed."""
        kinds = set(map(type, members))
        if len(kinds) == 1 and kinds <= _SORTABLE:
            return ("sorted", sorted(members))
        return self.part(members, lambda: ("digests", sorted(self.nested(member) for member in members)))


class _SetEncoder(Encoder):
    """The second and third pass: sees every object, and writes exact sets as persistent ids."""

    def persistent_id(self, obj: Any) -> Any:
        cls = type(obj)
        if cls is set or cls is frozenset:
            return (cls.__name__, self.set_content(obj))
        return None


_spare: list[Encoder] = []  # making a pickler costs 1 us, using one again 0.4 us; list.pop and append are atomic


def nesting_with(large: LargeContents, ignored: tuple[str, ...] = ()) -> Nesting:
    """For `encode`: reuse what an earlier encoding has hashed; leave globals out that match the patterns `ignored`."""
    nesting = Nesting()
    nesting.found, nesting.ignored = large, ignored
    return nesting


def encode_short(
    value: object, large: LargeContents, limit: int, ignored: tuple[str, ...] = ()
) -> Sequence[Any] | None:
    """As `encode`, but None if the stream exceeds `limit` bytes; `large` is what an earlier encoding has hashed."""
    nesting = nesting_with(large, ignored)
    nesting.limit = limit
    try:
        return encode(value, nesting)
    except _TooLong:
        return None


def encode(  # noqa: PLR0912 - written flat: a hit pays for calls
    value: object, nesting: Nesting | None = None, large: LargeContents | None = None
) -> Sequence[Any]:
    """Return the canonical encoding of `value` as chunks of bytes; note what it hashed on the way in `large`.

    Raises whatever the pickle hooks of `value` raise, and `RecursionError` if it is nested too deeply.
    """
    if recursion_limit() > RAISED and (excess := lower()):
        try:
            return encode(value, nesting, large)
        finally:
            give_back(excess)
    if nesting is not None and nesting.sets:
        return _encode_suspected(value, nesting)  # the first pass's encoding of nested sets depends on their order
    mark = (0, 0) if nesting is None else nesting.mark()
    try:
        encoder = Encoder(nesting, nesting.limit) if nesting is not None else _spare.pop()
    except IndexError:
        encoder = Encoder()
    if large is not None:
        encoder.nesting.found = large
    try:
        encoder.dump(value)
    except TooDeep:
        raise
    except (ValueError, RecursionError, KeyError):
        # The C pickler raises this for cyclic values and, since it miscounts frozensets, for more than 50 of those.
        if encoder.nesting.straight:
            raise
        encoder.nesting.go_back(mark)
        return _encode_suspected(value, encoder.nesting)
    except _TooLong:
        if encoder.nesting.limit < SPELLED_OUT_LIMIT:
            raise
        encoder.nesting.go_back(mark)
        return _encode_long(value, encoder.nesting)
    output = encoder.output
    chunks = output.chunks
    for chunk in chunks:
        if (_EMPTY_SET in chunk or _FROZENSET in chunk) and _may_hold_sets(chunk):
            encoder.nesting.go_back(mark)
            return _encode_with(_SetEncoder(encoder.nesting, _NO_LIMIT), value)
    if encoder.buffers:
        return _with_buffers(encoder)
    if nesting is None:
        # Only here is nothing left in the encoder that outlives the call.
        output.chunks = []
        output.size = 0
        if encoder.nesting.written:
            encoder.nesting.clear()
        else:  # as `clear`, where no set or function was met
            encoder.nesting.found = {}
        _spare.append(encoder)
    return chunks


def _may_hold_sets(chunk: Any) -> bool:
    """Whether a chunk has opcodes of sets: not in the length of a frame, nor in the content of a large string."""
    if chunk[:3] == b"\x80\x05\x95":  # protocol 5, frame
        at = 11
    elif chunk[:1] == b"\x95":
        at = 9
    else:
        at = 0 if len(chunk) < _UNFRAMED else len(chunk)
    return any(chunk.find(opcode, at) >= 0 for opcode in (_EMPTY_SET, _FROZENSET))


def _encode_with(encoder: Encoder, value: object) -> Sequence[Any]:
    encoder.dump(value)
    return _with_buffers(encoder)


def _encode_suspected(value: object, nesting: Nesting) -> Sequence[Any]:
    """Encode a value that is cyclic or deep, or looks so, or is in a set."""
    mark, encoder = nesting.mark(), _SetEncoder(nesting)
    try:
        return _encode_with(encoder, value)
    except TooDeep:
        raise
    except _TooLong:
        nesting.go_back(mark)
        return _encode_long(value, nesting)
    except (ValueError, RecursionError, KeyError):
        if nesting.straight:
            raise
        nesting.go_back(mark)
        shared = _with_memo(value, nesting)
        nesting.give_up(encoder.output.size + shared.output.size)
        return _with_buffers(shared)


def _with_memo(value: object, nesting: Nesting) -> Encoder:
    encoder = _SetEncoder(nesting, _NO_LIMIT, memo=True)
    encoder.dump(value)
    return encoder


def _encode_long(value: object, nesting: Nesting) -> Sequence[Any]:
    """Encode a value of more than 8 MiB: large indeed, or repeating its parts, so that the memo shortens it."""
    mark = nesting.mark()
    shared = _with_memo(value, nesting)
    size = shared.output.size
    nesting.go_back(mark)
    encoder = _SetEncoder(nesting, max(SPELLED_OUT_LIMIT, size * _SHARING_FACTOR))
    try:
        return _encode_with(encoder, value)
    except TooDeep:
        raise
    except (_TooLong, ValueError, RecursionError, KeyError):  # KeyError: a cycle beside large contents
        nesting.go_back(mark)
        nesting.give_up(encoder.output.size + size)
        return _with_buffers(shared)


def _with_buffers(encoder: Encoder) -> Sequence[Any]:
    """The chunks of the stream, then layout and digest of each out-of-band buffer, hashed in place."""
    chunks: list[Any] = encoder.output.chunks
    for buffer in encoder.buffers:
        raw = buffer.raw()
        with memoryview(buffer) as view:
            layout = f"{raw.nbytes} {view.format} {view.shape}"
            if view.obj is not None and memoryview(view.obj).nbytes == raw.nbytes:
                content = encoder.once(view.obj, lambda: digest_of(raw).hex(), "raw")  # noqa: B023 - called at once
            else:  # a part of something larger
                content = digest_of(raw).hex()
        chunks.append(f"{layout} {content}".encode())
    return chunks


def digest(prefix: bytes, chunks: Sequence[Any]) -> bytes:
    """Return the key of an encoded value, 20 bytes; `prefix` keeps the keys of different functions apart."""
    if len(chunks) == 1 and len(chunks[0]) <= SEGMENT:
        return blake3(prefix + chunks[0]).digest(KEY_SIZE)
    if sum(map(len, chunks)) > SEGMENT:
        content = Content()
        for chunk in chunks:
            content.update(chunk)
        return blake3(prefix + content.digest(), derive_key_context=_LONG_CONTEXT).digest(KEY_SIZE)
    hasher = blake3(prefix)
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.digest(KEY_SIZE)


def _set_subclass(obj: Any, encoder: Writer) -> object:
    """Subclasses of set reduce to a list in iteration order, unless they say otherwise."""
    cls: Any = type(obj)
    if cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ not in (set.__reduce__, frozenset.__reduce__):
        return NotImplemented
    return (cls, encoder.set_content(obj), obj.__reduce__()[2])


register_reducer(set, _set_subclass)
register_reducer(frozenset, _set_subclass)
