"""Pickle a value into a stream and out-of-band buffers, and load it again.

Loading runs code that the pickle names, so only bytes whose tag was checked are ever loaded.
"""

from __future__ import annotations

import copyreg
import functools
import io
import operator
import sys
from _pickle import Pickler, PicklingError, dumps, loads  # as `pickle` has it, which takes longer to import

from pcache.objects.copyreg_codes import by_name, numbered, numbers
from pcache.objects.lookup import bases_of, full_name, is_exactly
from pcache.objects.recursion import RAISED, give_back, lower, recursion_limit
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, late, pattern
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable
    from pickle import PickleBuffer

    from pcache.entry import out_of_band
    from pcache.objects import culprit, extra_state
else:
    out_of_band = late("pcache.entry.out_of_band")
    extra_state = late("pcache.objects.extra_state")
    culprit = late("pcache.objects.culprit")

PROTOCOL = 5
# Bytes of buffers that stay in the stream: a buffer of its own takes 10 us to read and check, copying these takes 1 us.
_IN_STREAM = 16 << 10
_PLAIN = frozenset((int, float, str, bytes, bool, type(None)))  # types that nothing can be registered for
_NAMED = pattern(rb"[\x82-\x84\x93]")  # opcodes that name what is called
_HARMLESS = pattern(  # those that name functions which call no others
    rb"\x8c(?:\x08builtins\x94?\x8c.(?:complex|bytearray|range|slice)|\x08datetime\x94?\x8c.\w+"
    rb"|\x07decimal\x94?\x8c\x07Decimal)\x94?\x93"
)

loading: dict[str, None] = {}  # paths of entries that some thread is loading
_LOADERS = ("pcache.entry.reader", "pcache.entry.streams", "pcache.storage.recent")  # modules that load entries


class Payload(NamedTuple):
    """A pickled value; the buffers are still in the value's own memory."""

    stream: bytes
    buffers: list[memoryview]


def dump(value: object, *, in_one: bool = False) -> Payload:
    """Pickle `value`; raises whatever its pickle hooks raise.

    Buffers that are not contiguous in memory stay in the stream, and so do the first few KiB of others; or all of them,
    with `in_one`.
    """
    buffers: list[memoryview] = []
    room = _IN_STREAM

    def take(buffer: PickleBuffer) -> bool:
        nonlocal room
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous: true means "in band"
            return True
        if raw.nbytes <= room:
            room -= raw.nbytes
            return True
        buffers.append(raw)
        return False

    stream = io.BytesIO()
    make = _Unnumbered if numbers else Pickler
    pickler = make(stream, PROTOCOL, buffer_callback=None if in_one else take)
    pickler.dispatch_table = _Reducers()
    excess = lower() if recursion_limit() > RAISED else 0
    try:
        pickler.dump(value)
    finally:
        give_back(excess)
    return Payload(stream.getvalue(), buffers)


def dump_whole(value: object) -> bytes:
    """Pickle `value` with all its buffers in the stream; raises whatever its pickle hooks raise."""
    return dumps(value, PROTOCOL) if is_exactly(value, _PLAIN) else dump(value, in_one=True).stream


class _Unnumbered(Pickler):
    """Writes names in place of copyreg codes, which are only valid in this process; seldom needed, and slow."""

    def reducer_override(self, obj: Any) -> Any:
        name = numbered(obj)
        return NotImplemented if name is None else (by_name, name)


class _Reducers(dict[type, Any]):
    """The reducers of the classes in a value, for the pickler, which looks up each class once.

    A hook that sees every object takes as long as pickling it; this is a dict lookup.
    """

    def __missing__(self, cls: type) -> Any:
        found = copyreg.dispatch_table.get(cls)
        if found is None:
            if issubclass(cls, type):
                raise KeyError(cls)  # by name, as pickle does it
            names = {full_name(base) for base in bases_of(cls)}
            lossy = next((reduce for name, reduce in _LOSSY.items() if name in names), None)
            found = lossy or extra_state.exactly(cls) or (_as_it_says if extra_state.author_of(cls) is None else _whole)
            found = out_of_band.kept_apart(cls, found)
        self[cls] = found
        return found


_as_it_says = operator.methodcaller("__reduce_ex__", PROTOCOL)


def _whole(obj: Any) -> Any:
    """Reduce an object with the state that its class's own pickles leave out."""
    return extra_state.whole(obj, PROTOCOL) or obj.__reduce_ex__(PROTOCOL)


def _tensor(tensor: Any) -> Any:
    """Reduce a tensor of torch; refuse one that was computed from others, as its pickle loses its gradients."""
    if tensor.grad_fn is not None:
        raise PicklingError("its pickle loses the history that gradients need; return x.detach()")
    return tensor.__reduce_ex__(PROTOCOL)


# Reducers for objects whose own pickle may load as something else, by the name of their class or a base.
_LOSSY = {"torch.Tensor": _tensor}

# Call it through `try_call` with an authenticated stream: it raises whatever the pickle hooks of the value raise.
load: Callable[[Any], Any] = loads


def load_with(buffers: list[Any]) -> Callable[[Any], Any]:
    """`load` for a stream whose buffers are out of band."""
    return functools.partial(loads, buffers=buffers)


def names(stream: bytes) -> bool:
    """Whether a pickle that `dump` made may name what loading it would import."""
    return _NAMED.search(stream) is not None


def calls(stream: bytes) -> bool:
    """Whether loading a stream may call Python functions, which may look up the same result again."""
    if b"\x93" not in stream and b"\x82" not in stream and b"\x83" not in stream and b"\x84" not in stream:
        return False  # the usual case: no opcode names what is called
    return len(_NAMED.findall(stream)) != len(_HARMLESS.findall(stream))


def is_loaded_here(path: str) -> bool:
    """Whether this thread, and not only another one, is loading an entry that is among `loading`.

    A frame that loads one has its path in a variable `loads`: registering the thread would slow down hits.
    """
    frame = sys._getframe(1).f_back
    while frame is not None:
        if frame.f_globals.get("__name__") in _LOADERS and frame.f_locals.get("loads") == path:
            return True
        frame = frame.f_back
    return False


def load_again(loader: Callable[[Any], Any], stream: Any, error: BaseException) -> tuple[Any, BaseException | None]:
    """Try a failed load once more if its cause can be fixed.

    A spawned worker process sees `__main__` as `__mp_main__` and writes that into the pickles of its classes. `import
    multiprocessing` makes the alias, but a plain script may never import it.
    """
    if not (isinstance(error, ModuleNotFoundError) and error.name == "__mp_main__") or "__mp_main__" in sys.modules:
        return None, error
    sys.modules["__mp_main__"] = sys.modules["__main__"]
    return try_call(loader, stream)


def culprit_of(value: object, error: BaseException) -> culprit.Culprit:
    """Which part of a result cannot be pickled; paths start with "result"."""
    if isinstance(error, RecursionError):  # every part fails, and none of them is the cause
        return culprit.Culprit("result", type(value).__qualname__, "it is nested too deeply")
    found, _ = try_call(culprit.find_culprit, value, "result", dump, error)  # may run code of the value
    return found or culprit.Culprit("result", type(value).__qualname__, culprit.first_line(error))
