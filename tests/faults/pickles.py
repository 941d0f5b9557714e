"""Malicious pickles, as an attacker who can write into a cache directory would plant them.

Each is dangerous in its own way: by what it calls, by the opcodes that it uses, or by the cost of loading it. They are
made for one canary, a path, and only write there or connect to ports where nothing listens. The unpickler itself
rejects some of them as invalid; `acts` is False for these.
"""

from __future__ import annotations

import bz2
import collections
import datetime
import gzip
import io
import lzma
import pickle
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from tests.faults.malice import Malice, Reduced, call, calls, named, protocols, stream, text, ways


def collection(canary: str) -> dict[str, Malice]:
    """All of them by name. The canary's folder must exist, and hold nothing else."""
    found: dict[str, Malice] = {}
    for group in (calls, ways, protocols, _carriers, _pollutions, _bombs, _lies):
        for name, malice in group(canary):
            assert name not in found, name
            found[name] = malice
    return found


# Where it hides


def _carriers(canary: str) -> Iterator[tuple[str, Malice]]:
    """Hidden inside of values that scientists store."""
    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LinearRegression

    bad = Reduced(eval, (f"open({canary!r}, 'w')",))
    array = np.array([bad, None], dtype=object)
    model = LinearRegression()
    model.coef_ = bad
    filed = io.BytesIO()
    joblib.dump([np.arange(3), bad], filed)
    carriers: dict[str, object] = {
        "an array of objects": array,
        "a structured array": np.array([(1, bad)], dtype=[("n", int), ("o", object)]),
        "a scalar array": np.array(bad, dtype=object),
        "a column of objects": pd.DataFrame({"x": array}),
        "an index of objects": pd.Series([1, 2], index=pd.Index(array)),
        "attributes of a frame": _attributed(pd.DataFrame({"x": [1]}), bad),
        "a fitted model": model,
        "weights of a network": collections.OrderedDict(weight=Reduced(collections.OrderedDict, (bad,))),
        "an array's state": Reduced(np.ndarray, ((0,),), (1, (1,), bad, False, b"")),
        "a dtype's state": Reduced(np.dtype, ("V8",), (3, "|", bad, None, None, -1, -1, 0)),
        "a BytesIO": Reduced(io.BytesIO, (b"",), (b"", 0, {"x": bad})),
        "a time zone": Reduced(datetime.timezone, (bad,)),
        "numpy.load": Reduced(np.load, (canary, None, True)),
        "pandas.read_csv": Reduced(pd.read_csv, (canary,)),
        "pandas.read_pickle": Reduced(pd.read_pickle, (canary,)),
        "joblib.load": Reduced(joblib.load, (canary,)),
    }
    for name, carrier in carriers.items():
        yield name, Malice(pickle.dumps(carrier, 5))
    yield "a file of joblib", Malice(filed.getvalue(), acts=False)
    for name, pack in {
        "gzip": gzip.compress,
        "bz2": bz2.compress,
        "lzma": lzma.compress,
        "zlib": zlib.compress,
    }.items():
        packed = pack(pickle.dumps(bad))
        yield f"packed by {name}", Malice(packed, acts=False)
        inner = call(named(name, "decompress"), packed)
        yield f"unpacked by {name}", Malice(stream(call(named("pickle", "loads"), inner)))


def _attributed(frame: Any, bad: object) -> Any:
    frame.attrs["x"] = bad
    return frame


def _pollutions(_canary: str) -> Iterator[tuple[str, Malice]]:
    """These call nothing, but change functions that other code calls later."""
    module = named("os", "sys")
    bodies = {
        "__dict__ of a module": module + b"}" + text("polluted") + b"Nsb",
        "slots of a module": module + b"N}" + text("polluted") + b"Ns\x86b",
        "sys.modules": named("sys", "modules") + text("polluted") + b"Ns",
        "sys.path": named("sys", "path") + text("polluted") + b"a",
        "os.environ": named("os", "environ") + text("POLLUTED") + text("1") + b"s",
        "an attribute of a class": named("os", "PathLike") + b"N}" + text("polluted") + b"Ns\x86b",
        "code of a function": named("os", "walk") + b"N}" + text("__code__") + named("os", "walk.__code__") + b"s\x86b",
        "copyreg's table": named("copyreg", "dispatch_table") + text("polluted") + b"Ns",
    }
    for name, body in bodies.items():
        yield name, Malice(stream(body))


# Excessive costs


def _bombs(_canary: str) -> Iterator[tuple[str, Malice]]:
    """Small pickles that never finish loading: `endless` ones take time, the others memory."""
    huge = 10**11
    count = call(named("itertools", "count"))
    laughs = b"K\0" + b"2\x86" * 60  # pairs of pairs of pairs, the same twice
    hungry = {
        "bytes": call(named("builtins", "bytes"), huge),
        "a bytearray": call(named("builtins", "bytearray"), huge),
        "an array": call(named("operator", "mul"), call(named("array", "array"), "d", [0.0]), huge),
        "a list": call(named("operator", "mul"), [0], huge),
        "a text": call(named("operator", "mul"), "a", huge),
        "a padded text": call(named("builtins", "str.ljust"), "a", huge),
        "a formatted number": call(named("builtins", "format"), 1, f"{huge}d"),
        "a shifted number": call(named("operator", "lshift"), 1, huge),
        "a tuple without an end": call(named("builtins", "tuple"), count),
        "a sorted list without an end": call(named("builtins", "sorted"), count),
        "zeros": call(named("numpy", "ones"), huge),
        "BYTEARRAY8": b"\x96" + struct.pack("<Q", 1 << 40),
        "LONG_BINPUT": b"Nr\xff\xff\xff\x7f",
        "a zlib bomb": call(named("zlib", "decompress"), zlib.compress(bytes(1 << 20)), 15, 1 << 40),
        "a BytesIO": call(named("io", "BytesIO.truncate"), call(named("io", "BytesIO")), huge)
        + b"0"
        + call(named("builtins", "bytes"), huge),
    }
    slow = {
        "billion laughs": b"(" + laughs + b"\x91",
        "a number of a hundred million digits": call(named("operator", "pow"), 7, 10**8),
        "a factorial": call(named("math", "factorial"), 10**7),
        "a pathological pattern": call(named("re", "match"), "(a+)+$", "a" * 60 + "b"),
        "a sum": call(named("builtins", "sum"), call(named("builtins", "range"), huge)),
        "a maximum without an end": call(named("builtins", "max"), count),
        "a sleep": call(named("time", "sleep"), 1000),
        "a select": call(named("select", "select"), [], [], []),
        "a lock": call(named("threading", "Semaphore.acquire"), call(named("threading", "Semaphore"), 0)),
        "an empty queue": call(named("queue", "Queue.get"), call(named("queue", "Queue"))),
        "a sleeping signal": call(named("signal", "pause")),
    }
    for name, body in hungry.items():
        yield f"too much: {name}", Malice(stream(body), acts=name != "LONG_BINPUT")
    for name, body in slow.items():
        yield f"too long: {name}", Malice(stream(body), endless=True)


# Invalid pickles


def _lies(canary: str) -> Iterator[tuple[str, Malice]]:
    """Inconsistent streams; the unpickler rejects most of them, but only after they have acted."""
    acting = call(named("builtins", "eval"), f"open({canary!r}, 'w')")
    lengths = {"BINBYTES8": b"\x8e", "BINUNICODE8": b"\x8d"}
    turned_away = {name: opcode + struct.pack("<Q", (1 << 63) - 1) for name, opcode in lengths.items()}
    turned_away |= {
        "LONG4": b"\x8b\xff\xff\xff\x7f",
        "BINBYTES": b"B\xff\xff\xff\xff",
        "LONG of many digits": b"L" + b"9" * 10**6 + b"L\n",
        "INT of many digits": b"I" + b"9" * 10**6 + b"\n",
        "marks": b"(" * 10**5,
        "nothing on the stack": b"0" * 100,
        "PERSID": b"Psystem\n",
        "BINPERSID": text("os.system") + b"Q",
        "NEXT_BUFFER": b"\x97",
        "many NEXT_BUFFER": b"\x97\x98" * 10**5,
        "READONLY_BUFFER": b"K\1\x98",
        "a memo that is not there": b"h\xff",
        "an extension that is not there": b"\x84\xff\xff\xff\x7f",
        "protocol 255": b"\x80\xff",
        "a name without a module": named("nowhere_at_all", "evil"),
        "a name with escapes": named("\x1b]0;owned\x07", "\u202e\ud800[red]"),
        "a library that is not there": named("torch_of_nowhere._utils", "_rebuild_tensor_v2"),
        "a frame that is too long": b"\x95" + struct.pack("<Q", 1 << 62),
    }
    for name, body in turned_away.items():
        yield f"a lie: {name}", Malice(b"\x80\x05" + body + b".", acts=False)
    for name in ("PERSID", "NEXT_BUFFER", "LONG4", "a memo that is not there", "protocol 255", "a name with escapes"):
        yield f"an act before: {name}", Malice(b"\x80\x05" + acting + turned_away[name] + b".")
    yield "no end", Malice(b"\x80\x05" + acting)
    yield "something after the end", Malice(stream(acting) + b"PCACHE" * 10)
    yield "deep nesting", Malice(b"\x80\x05" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".", acts=False)
