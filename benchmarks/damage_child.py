"""What `damage.py` runs in processes of their own: storing a result, and reading it from a damaged file.

Reads happen in forks of a process that has imported all that is needed and has seen nothing of the files.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from defects_bench import DECORATORS

if TYPE_CHECKING:
    from collections.abc import Callable

OUTCOMES = ("computed", "unharmed", "wrong", "exception", "hang or crash")
SECONDS = 60  # after which a read hangs
BLOCK = 512
ran: list[int] = []


def small_dict(n: int) -> Any:
    """A result whose pickle has about 200 bytes."""
    ran.append(n)
    return {
        "id": n,
        "name": f"experiment number {n}",
        "tags": ["alpha", "beta"],
        "means": [n / i for i in range(1, 9)],
    }


def text(n: int) -> Any:
    """1 MB of words."""
    ran.append(n)
    chance = random.Random(n)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(3000)]
    return " ".join(chance.choices(words, k=200_000))[:1_000_000]


def array(n: int) -> Any:
    """8 MB of random floats."""
    import numpy as np

    ran.append(n)
    return np.random.default_rng(n).random(1_000_000)


def frame(n: int) -> Any:
    """A frame of 2 MB: random floats, small integers and text."""
    import numpy as np
    import pandas as pd

    ran.append(n)
    rng = np.random.default_rng(n)
    count = 100_000
    columns = {"x": rng.random(count), "n": rng.integers(0, 99, count), "t": [f"row {i % 99}" for i in range(count)]}
    return pd.DataFrame(columns)


FUNCTIONS: dict[str, Callable[[int], Any]] = {"small dict": small_dict, "text": text, "array": array, "frame": frame}


class Case(NamedTuple):
    """A kind of damage, with a place in the extent where a value lies (0 to 1) and a bit."""

    kind: str
    place: float
    bit: int


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if hasattr(left, "equals"):
        return bool(left.equals(right))
    if hasattr(left, "dtype"):
        return left.dtype == right.dtype and left.shape == right.shape and bool((left == right).all())
    return bool(left == right)


def decorator(tool: str, folder: str) -> Callable[..., Any]:
    names: dict[str, Any] = {"FOLDER": folder}
    exec(textwrap.dedent(DECORATORS[tool]), names)
    return names["cached"]  # type: ignore[no-any-return]


def store(tool: str, folder: str, value: str, n: int) -> None:
    """Have a cache store one result, and check that it finds it again."""
    cached = decorator(tool, folder)(FUNCTIONS[value])
    cached(n)
    cached(n)
    assert ran == [n], "the intact result is not found"


def damage(data: bytearray, case: Case, extent: tuple[int, int], other: bytes) -> bytearray:
    """Return what a damage makes of a file; `extent` is where the value lies."""
    first, end = extent
    at = min(first + int(case.place * (end - first)), end - 1)
    block = max(at // BLOCK * BLOCK, 0)
    behind = (block + BLOCK) % max(len(data) // BLOCK * BLOCK, 1)
    if case.kind == "a bit flipped":
        data[at] ^= 1 << case.bit
    elif case.kind == "cut short":
        del data[at:]
    elif case.kind == "bytes appended":
        data += bytes(1 + at % BLOCK)
    elif case.kind == "a block zeroed":
        data[block : block + BLOCK] = bytes(len(data[block : block + BLOCK]))
    elif case.kind == "two blocks swapped":
        mine, theirs = data[block : block + BLOCK], data[behind : behind + BLOCK]
        data[block : block + len(theirs)], data[behind : behind + len(mine)] = theirs, mine
    elif case.kind == "a block of another result":
        data[block : block + BLOCK] = other[block : block + BLOCK]
    elif case.kind == "an empty file":
        data = bytearray()
    elif case.kind == "zeros":
        data = bytearray(len(data))
    return data


def read(tool: str, folder: str, value: str, right: Any) -> int:
    """Read a result as a program would; return the number of the outcome."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    signal.alarm(SECONDS)
    try:
        found = decorator(tool, folder)(FUNCTIONS[value])(1)
    except Exception:  # which one does not matter to whoever wanted a result
        return OUTCOMES.index("exception")
    if not same(found, right):
        return OUTCOMES.index("wrong")
    return OUTCOMES.index("computed" if ran else "unharmed")


def observe(tool: str, folder: str, value: str, order: str) -> None:
    """Damage one file in each way of `order`, read after each, and print the outcomes as JSON.

    Where nothing would change, as in zeros that are zeroed, there is no outcome.
    """
    asked = json.loads(order)
    name, extent = asked["name"], tuple(asked["extent"])
    with open(asked["other"], "rb") as file:
        other = file.read()
    decorator(tool, folder + "-elsewhere")  # imports
    right = FUNCTIONS[value](1)
    ran.clear()
    pristine = folder + "-pristine"
    shutil.move(folder, pristine)
    with open(os.path.join(pristine, name), "rb") as file:
        intact = file.read()
    outcomes: list[str | None] = []
    for case in [None, *(Case(*case) for case in asked["cases"])]:
        shutil.copytree(pristine, folder)
        if case is not None:
            changed = damage(bytearray(intact), case, extent, other)
            if changed == intact:
                outcomes.append(None)
                shutil.rmtree(folder)
                continue
            with open(os.path.join(folder, name), "r+b") as file:
                file.write(changed)
                file.truncate()
        pid = os.fork()
        if not pid:
            os._exit(read(tool, folder, value, right))
        status = os.waitpid(pid, 0)[1]
        code = os.waitstatus_to_exitcode(status)
        outcomes.append(OUTCOMES[code] if 0 <= code < len(OUTCOMES) else "hang or crash")
        shutil.rmtree(folder)
    assert outcomes[0] == "unharmed", f"the intact result was not read: {outcomes[0]}"
    print(json.dumps(outcomes[1:]))


if __name__ == "__main__":
    # As a module, whose functions caches can name; a script's they would call those of `__main__`.
    import damage_child

    action, *words = sys.argv[1:]
    if action == "store":
        damage_child.store(*words[:3], int(words[3]))
    else:
        damage_child.observe(*words[:4])
