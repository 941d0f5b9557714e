"""Pickle a value into a stream and out-of-band buffers, and load it again.

Loading runs code that the pickle names, so only bytes whose tag was checked are ever loaded.
"""

from __future__ import annotations

import copyreg
import functools
import io
import operator
import pickle
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.entry.out_of_band import kept_apart
from pcache.objects.copyreg_codes import by_name, numbered, numbers
from pcache.objects.culprit import Culprit, find_culprit, first_line
from pcache.objects.extra_state import author_of, exactly, whole
from pcache.objects.lookup import bases_of, full_name
from pcache.objects.recursion import RAISED, give_back, lower, recursion_limit
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOL = 5
_NAMED = re.compile(rb"[\x82-\x84\x93]").findall  # opcodes that name what is called
_HARMLESS = re.compile(  # those that name functions which call no others
    rb"\x8c(?:\x08builtins\x94?\x8c.(?:complex|bytearray|range|slice)|\x08datetime\x94?\x8c.\w+"
    rb"|\x07decimal\x94?\x8c\x07Decimal)\x94?\x93"
).findall

loading: dict[str, None] = {}  # paths of entries that some thread is loading
_LOADERS = ("pcache.entry.reader", "pcache.storage.recent")  # modules that load entries


class Payload(NamedTuple):
    """A pickled value; the buffers are still in the value's own memory."""

    stream: bytes
    buffers: list[memoryview]


def dump(value: object) -> Payload:
    """Pickle `value`; raises whatever its pickle hooks raise.

    Buffers that are not contiguous in memory stay in the stream.
    """
    buffers: list[memoryview] = []

    def take(buffer: pickle.PickleBuffer) -> bool:
        try:
            buffers.append(buffer.raw())
        except BufferError:  # not contiguous: true means "in band"
            return True
        return False

    stream = io.BytesIO()
    make = _Unnumbered if numbers else pickle.Pickler
    pickler = make(stream, PROTOCOL, buffer_callback=take)
    pickler.dispatch_table = _Reducers()
    excess = lower() if recursion_limit() > RAISED else 0
    try:
        pickler.dump(value)
    finally:
        give_back(excess)
    return Payload(stream.getvalue(), buffers)


class _Unnumbered(pickle.Pickler):
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
            found = lossy or exactly(cls) or (_as_it_says if author_of(cls) is None else _whole)
            found = kept_apart(cls, found)
        self[cls] = found
        return found


_as_it_says = operator.methodcaller("__reduce_ex__", PROTOCOL)


def _whole(obj: Any) -> Any:
    """Reduce an object with the state that its class's own pickles leave out."""
    return whole(obj, PROTOCOL) or obj.__reduce_ex__(PROTOCOL)


def _tensor(tensor: Any) -> Any:
    """Reduce a tensor of torch; refuse one that was computed from others, as its pickle loses its gradients."""
    if tensor.grad_fn is not None:
        raise pickle.PicklingError("its pickle loses the history that gradients need; return x.detach()")
    return tensor.__reduce_ex__(PROTOCOL)


# Reducers for objects whose own pickle may load as something else, by the name of their class or a base.
_LOSSY = {"torch.Tensor": _tensor}

# Call it through `try_call` with an authenticated stream: it raises whatever the pickle hooks of the value raise.
load: Callable[[Any], Any] = pickle.loads


def load_with(buffers: list[Any]) -> Callable[[Any], Any]:
    """`load` for a stream whose buffers are out of band."""
    return functools.partial(pickle.loads, buffers=buffers)


def calls(stream: bytes) -> bool:
    """Whether loading a stream may call Python functions, which may look up the same result again."""
    named = _NAMED(stream)
    return bool(named) and len(named) != len(_HARMLESS(stream))


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


def culprit_of(value: object, error: BaseException) -> Culprit:
    """Which part of a result cannot be pickled; paths start with "result"."""
    if isinstance(error, RecursionError):  # every part fails, and none of them is the cause
        return Culprit("result", type(value).__qualname__, "it is nested too deeply")
    found, _ = try_call(find_culprit, value, "result", dump, error)  # may run code of the value
    return found or Culprit("result", type(value).__qualname__, first_line(error))
