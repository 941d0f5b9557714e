"""What pickle can carry, as argument and as result: one computes, another process hits and gets the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.running import run, write

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import pickle, sys, warnings
from pcache import Cache
from tests.support import pickled

cache = Cache(sys.argv[1])

@cache.cached
def echo(value):
    return value

@cache.cached
def make(name):
    return pickled.made(name)

for name in pickled.MADE:
    value = pickled.made(name)
    like = pickle.loads(pickle.dumps(value, 5))
    for function, argument in ((echo, value), (make, name)):
        function(argument)
        again = function(pickled.made(name) if function is echo else name)
        assert pickled.told(again) == pickled.told(like), (name, pickled.told(again), pickled.told(like))
keys = {echo.key(pickled.made(name)) for name in pickled.MADE}
print(echo.cache_info().misses, make.cache_info().misses, len(pickled.MADE), len(keys))
"""


def test_all_that_pickle_carries(tmp_path: Path) -> None:
    """Keys are the same under another hash seed, and what comes back is what pickle itself would have given."""
    script = write(tmp_path / "script.py", SCRIPT)
    first = run(script, tmp_path / "cache", PYTHONHASHSEED="1")[0].split()
    second = run(script, tmp_path / "cache", PYTHONHASHSEED="2")[0].split()
    assert first[0] == first[1] == first[2] == first[3]
    assert second == ["0", "0", *first[2:]]
