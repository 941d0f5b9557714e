"""Why a call hits or misses: the sentence must name what differs, and nothing else."""

from __future__ import annotations

import os
import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blake3
import numpy as np
import pandas as pd
import polars
import pyarrow
import pytest
import scipy.sparse

import pcache
from pcache import Cache, UnhashableArgument
from pcache.keys import encoder
from pcache.storage.claim_owner import owner_record
from pcache.system import digests
from pcache.versions import registry
from tests.support.changing import ADVICE, Program
from tests.support.processes import KEY, OTHER_RING, RING, address_of, place_of
from tests.support.running import run, station, write

SOURCE = """
LIMIT = 3
def clean(x):
    return x + LIMIT
class Model:
    rate = 2
    def run(self, x):
        return x * self.rate
def simulate(n, *, seed=0, data=None):
    return Model().run(clean(n)) + seed
"""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=KEY)


@pytest.fixture
def made(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function that compiles a variant of the module and caches its `simulate`."""

    def make(*edits: tuple[str, str], **options: Any) -> Any:
        module = station(monkeypatch, SOURCE, edits)
        return cache.cached(**options)(module.simulate)

    return make


def told(explanation: Any) -> list[str]:
    """The differences from the nearest stored call."""
    return [str(difference) for difference in explanation.nearest[0].differences]


def test_a_hit(made: Any) -> None:
    """A hit says so, with when it was made and what it cost."""
    simulate = made()
    before = time.time()
    simulate(1)
    explanation = simulate.explain(1)
    assert (explanation.hit, explanation.reason, explanation.detail) == (True, "hit", "")
    assert explanation.key == simulate.key(1)
    assert before <= explanation.created <= time.time()
    assert explanation.cost >= 0
    assert explanation.nearest == ()
    first, second = str(explanation).splitlines()
    assert first == "simulate(n=1, seed=0, data=None): hit"
    assert re.fullmatch(r"  made \d{4}-\d\d-\d\d \d\d:\d\d:\d\d in [\d.]+ .?s", second)


def test_nothing_stored(made: Any) -> None:
    """The first call of a function has nothing to be compared with."""
    explanation = made().explain(1)
    assert (explanation.hit, explanation.reason) == (False, "absent")
    assert explanation.detail == "no call of this function is stored"
    assert explanation.nearest == ()


def test_another_argument(made: Any) -> None:
    """The nearest stored call comes first, with each argument that differs and its old and new value."""
    simulate = made()
    simulate(1, seed=5)
    simulate(2, seed=6)
    explanation = simulate.explain(2, seed=5, data=[1])
    assert told(explanation) in (
        ["argument n: 1 -> 2", "argument data: None -> [1]"],
        ["argument seed: 6 -> 5", "argument data: None -> [1]"],
    )
    assert len(explanation.nearest) == 2
    assert explanation.detail == "this call was not stored before"
    assert explanation.advice == ""


def test_arguments_that_look_alike(made: Any) -> None:
    """Two arrays of one shape look the same to people, and are told to differ."""
    simulate = made()
    simulate(1, data=np.zeros(3))
    assert told(simulate.explain(1, data=np.ones(3))) == ["argument data: ndarray(3), with other content"]
    assert simulate.explain(1, data=np.zeros(3)).hit


def test_long_text_is_not_compared(made: Any) -> None:
    """Text of megabytes would have to be hashed again: it is said to be unknown, unless it looks different."""
    simulate = made()
    simulate(1, data="x" * 1_000_000)
    (difference,) = simulate.explain(1, data="x" * 1_000_001).nearest[0].differences
    assert (difference.name, difference.change) == ("data", "unknown")
    (difference,) = simulate.explain(1, data="y" * 1_000_000).nearest[0].differences
    assert (difference.name, difference.change) == ("data", "changed")


EDITS = {
    "helper": (("x + LIMIT", "LIMIT + x"), "function station:clean was edited (station.py)"),
    "the function": (("+ seed", "- seed"), "function station:simulate was edited (station.py)"),
    "constant": (("LIMIT = 3", "LIMIT = 4"), "constant station:LIMIT: 3 -> 4"),
    "method": (("x * self.rate", "self.rate * x"), "function station:Model.run was edited (station.py)"),
    "class attribute": (("rate = 2", "rate = 5"), "constant station:Model.rate: 2 -> 5"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_code(made: Any, edit: str) -> None:
    """The same call under other code names just what was edited."""
    change, sentence = EDITS[edit]
    made()(1)
    explanation = made(change).explain(1)
    assert told(explanation) == [sentence]
    assert "adopt" in explanation.advice


def test_other_options(made: Any) -> None:
    """`version=`, a key function, what `depends_on` names and new parameters are told apart."""
    made()(1)
    assert told(made(version=2).explain(1)) == ["version= is new: 2"]
    assert told(made(key={"data": len}).explain(1, data=())) == [
        "argument data: None -> 0",
        "parameters: (n, seed, data) -> (n, seed, key(data))",
        "the key function of data is used now",
    ]
    (declared,) = told(made(depends_on=["tables of 2024"]).explain(1))
    assert declared.startswith("what depends_on= names, [0] is new")
    added = told(made(("seed=0", "seed=0, fast=False")).explain(1))
    assert "parameters: (n, seed, data) -> (n, seed, fast, data)" in added
    assert "argument fast is new: False" in added


def test_a_new_parameter_is_a_matter_of_the_code(made: Any) -> None:
    """A parameter that was added does not make calls differ; the way to keep their results is named."""
    made()(1)
    explanation = made(("seed=0", "seed=0, fast=False")).explain(1)
    assert explanation.advice.endswith("adopt(added={'fast': ...})")
    assert made(("seed=0", "seed=0, fast=False")).explain(2).advice == ""


def test_another_version_of_a_package(tmp_path: Path) -> None:
    """A package counts by its version, which is named when it changes."""
    package = write(tmp_path / "site-packages" / "numbers_of_others.py", "__version__ = '1.4'\ndef one(): return 1\n")
    script = write(
        tmp_path / "script.py",
        """
        import sys
        sys.path.append("site-packages")
        import numbers_of_others
        from pcache import Cache
        @Cache("cache").cached
        def f(n):
            return n + numbers_of_others.one()
        print(*f.explain(1).nearest[0].differences if len(sys.argv) > 1 else [f(1)], sep="; ")
        """,
    )
    assert run(script) == ["2"]
    package.write_text("__version__ = '2.0'\ndef one(): return 2\n")
    assert run(script, "explain") == ["package numbers_of_others: 1.4 -> 2.0"]


def test_another_python(made: Any, cache: Cache) -> None:
    """Under another Python all bytecode differs, so only Python itself is named."""
    simulate = made()
    simulate(1)
    folder = cache.flow.directory.functions
    (facts,) = registry.read_all(folder, RING).values()
    (path,) = registry.paths(folder)
    os.unlink(path)
    parts = {label: ("0" * 16, shown) for label, (_, shown) in facts.parts.items() if label.startswith("function")}
    registry.write(folder, facts._replace(python="3.10.2", parts=parts), RING)
    differences = [str(difference) for difference in made(version=3).explain(1).nearest[0].differences]
    assert any(text.startswith("Python: 3.10.2 -> ") for text in differences)
    assert not any(text.startswith("function") for text in differences)


def test_expired(cache: Cache) -> None:
    """An expired entry says how long it lived and since when it is dead."""
    cached = cache.cached(ttl="1 h")(len)
    cached("abc")
    path = place_of(cached, "abc")
    younger = cache.cached(ttl=1e-9)(len)
    explanation = younger.explain("abc")
    assert os.path.exists(path)
    assert explanation.reason == "expired"
    assert explanation.detail.startswith("it expired ")
    assert explanation.created is not None
    assert explanation.expires is not None


def test_damaged(made: Any) -> None:
    """A damaged entry says which check failed."""
    simulate = made()
    simulate(1)
    path = Path(place_of(simulate, 1))
    path.write_bytes(path.read_bytes()[:-1])
    explanation = simulate.explain(1)
    assert explanation.reason == "damaged"
    assert explanation.detail.startswith("there is an entry that cannot be used: ")
    assert explanation.created is None


def test_foreign(made: Any, cache: Cache) -> None:
    """An entry of another signing key is foreign."""
    made()(1)
    other = Cache(cache.location, signing_key=bytes(32)).cached(made().__wrapped__)
    assert other.explain(1).reason == "foreign"


@pytest.mark.parametrize(
    ("remove", "word"),
    [
        (lambda cache, f: cache.evict(max_entries=0), "evicted"),
        (lambda cache, f: cache.clear(), "cleared"),
        (lambda cache, f: f.invalidate(1), "invalidated"),
    ],
    ids=["evict", "clear", "invalidate"],
)
def test_removed(made: Any, cache: Cache, remove: Any, word: str) -> None:
    """What was evicted, cleared or invalidated is said to be."""
    simulate = made()
    simulate(1)
    remove(cache, simulate)
    assert simulate.explain(1).detail.startswith(f"it was {word} ")
    assert simulate.explain(2).detail == "no call of this function is stored"


def test_being_computed(made: Any) -> None:
    """A call that somebody is computing says who."""
    simulate = made()
    simulate(1)
    address = address_of(simulate, 2)
    claim = simulate._flow.store.claim(address.name, owner_record(simulate.name, RING))
    assert simulate.explain(2).detail.startswith(f"it is being computed now, by process {os.getpid()} on ")
    claim.abandon()


def test_switched_off(made: Any) -> None:
    """Where the cache is not asked, that is the reason."""
    simulate = made()
    simulate(1)
    with pcache.disabled():
        assert (simulate.explain(1).hit, simulate.explain(1).reason) == (False, "disabled")
    with pcache.refreshing():
        assert simulate.explain(1).reason == "refreshing"
    assert simulate.explain(1).hit


def test_captured_values(cache: Cache) -> None:
    """Another captured value is told as such."""

    def maker(k: int) -> Any:
        def scaled(n: int) -> int:
            return n * k

        return cache.cached(scaled)

    maker(2)(1)
    assert told(maker(3).explain(1)) == ["captured values: k=2 -> k=3"]


class Box:
    def __init__(self, size: int) -> None:
        self.size = size

    def volume(self, height: int) -> int:
        return self.size**2 * height


def test_methods(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method's explanation is that of the call with its instance."""
    monkeypatch.setattr(Box, "volume", cache.cached(Box.__dict__["volume"]))
    Box(2).volume(3)  # type: ignore[call-arg]
    assert Box(2).volume.explain(3).hit  # type: ignore[attr-defined]
    assert told(Box(2).volume.explain(4)) == ["argument height: 3 -> 4"]  # type: ignore[attr-defined]
    assert told(Box(4).volume.explain(3)) == ["argument self: Box, with other content"]  # type: ignore[attr-defined]


def test_no_key(made: Any) -> None:
    """An argument without a key is refused as in a call."""
    with pytest.raises(UnhashableArgument, match="data"):
        made().explain(1, data=(n for n in "ab"))


def test_nothing_is_executed_or_written(made: Any, cache: Cache) -> None:
    """Explaining neither runs the function nor changes a file."""
    simulate = made()
    simulate(1)
    before = {path: path.stat().st_mtime_ns for path in Path(cache.location).rglob("*")}
    simulate.explain(1)
    simulate.explain(2)
    assert {path: path.stat().st_mtime_ns for path in Path(cache.location).rglob("*")} == before
    assert simulate.cache_info().misses == 1


def test_without_summaries(tmp_path: Path, made: Any) -> None:
    """With `summaries=False` it is told what differs, and no value is shown or stored."""
    cache = Cache(tmp_path / "secret", signing_key=KEY, summaries=False)
    simulate = cache.cached(made().__wrapped__)
    simulate(1, data="a secret word")
    edited = cache.cached(made(("LIMIT = 3", "LIMIT = 98765")).__wrapped__)
    edited(1, data="a secret word")
    text = str(simulate.explain(2, data="another")) + str(edited.explain(2))
    assert "argument n" in text
    stored = b"".join(path.read_bytes() for path in Path(cache.location).rglob("*") if path.is_file())
    assert b"secret word" not in stored
    assert b"98765" not in stored.replace(b" ", b"")


def test_the_digests_of_arguments_are_signed(made: Any, cache: Cache) -> None:
    """Whoever reads entries cannot try out arguments: their digests differ under another key."""
    from pcache.keys.argument_digests import digests_of, signed

    digests = digests_of([("password", "1234")], {})
    assert signed(digests, RING.signing_key) != signed(digests, OTHER_RING.signing_key)
    assert len(signed(digests, RING.signing_key)["password"]) == 16


class Counting:
    """BLAKE3 that counts the bytes of what is not small."""

    bytes = 0

    def __init__(self, data: Any = b"", **options: Any) -> None:
        self._hasher = blake3.blake3(**options)
        self.update(data)

    def update(self, data: Any) -> Counting:
        size = memoryview(data).nbytes
        Counting.bytes += size if size > 10_000 else 0
        self._hasher.update(data)
        return self

    def digest(self, *size: int) -> bytes:
        return self._hasher.digest(*size)

    def hexdigest(self) -> str:
        return self._hasher.hexdigest()


NUMBERS = np.arange(100_000.0)
LARGE: dict[str, Callable[[], object]] = {
    "array": lambda: NUMBERS,
    "transposed": lambda: NUMBERS.reshape(100, 1000).T,
    "structured": lambda: np.zeros(50_000, "i8, f8"),
    "masked": lambda: np.ma.masked_less(NUMBERS, 5),
    "list of arrays": lambda: [NUMBERS, {"a": NUMBERS + 1}],
    "frame": lambda: pd.DataFrame({"a": NUMBERS, "b": NUMBERS.astype(int), "c": pd.array(NUMBERS, "Float64")}),
    "series": lambda: pd.Series(NUMBERS, index=NUMBERS),
    "polars": lambda: polars.DataFrame({"a": NUMBERS, "b": ["text"] * 100_000}),
    "arrow": lambda: pyarrow.table({"a": NUMBERS, "b": ["text"] * 100_000}),
    "sparse": lambda: scipy.sparse.csr_matrix(NUMBERS.reshape(100, 1000)),
    "memoryview": lambda: memoryview(NUMBERS),
    "buffer": lambda: pickle.PickleBuffer(bytearray(800_000)),
    "object with its own key": lambda: Keyed(NUMBERS),
}


class Keyed:
    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers

    def __pcache_key__(self) -> Any:
        return self.numbers * 2


@pytest.mark.parametrize("kind", LARGE)
def test_large_contents_are_hashed_once(made: Any, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A miss hashes what is large for its key, and not again to tell which argument differs."""
    encoder._spare.clear()
    for module in (encoder, digests):
        monkeypatch.setattr(module, "blake3", Counting)
    simulate = made()
    simulate.key(0)
    monkeypatch.setattr(Counting, "bytes", 0)
    simulate.key(1, data=LARGE[kind]())
    for_the_key = Counting.bytes
    assert for_the_key >= 400_000
    simulate.__wrapped__(1)
    Counting.bytes = 0
    call = simulate._calls.of((1,), {"data": LARGE[kind]()})
    simulate._calls.job(call)
    assert Counting.bytes == for_the_key


def test_what_is_never_stored(cache: Cache) -> None:
    """Calls of generators that are sent something always compute, and are said to."""
    with pytest.warns(pcache.PcacheWarning, match="sends to it"):

        @cache.cached
        def generator(n: int) -> Any:
            n = yield n

    with pytest.warns(pcache.PcacheWarning, match="sends to it"):

        @cache.cached
        async def both(n: int) -> Any:
            n = yield n

    for function in (generator, both):
        explanation = function.explain(1)
        assert (explanation.hit, explanation.reason) == (False, "uncached")
        assert "every call computes" in explanation.detail


def test_no_advice_to_adopt_what_cannot_be(made: Any) -> None:
    """A version whose parameters went, or changed places, cannot be adopted, and adopting it is not advised."""
    made()(1)
    for edit in (("seed=0, data", "start=0, data"), ("n, *, seed=0", "seed=0, n=1")):
        new = made(edit, ("+ seed", "+ 0"))
        with pytest.raises(pcache.ConfigError):
            new.adopt()
        assert new.explain(n=1).advice == ""
    assert made(ignore=["seed"]).explain(1).advice == ""


def test_adopted_results_that_are_gone(made: Any, cache: Cache) -> None:
    """What became of an adopted result is told like that of an own one."""
    made()(1), made()(2)
    new = made(("clean(n)) + seed", "clean(n)) - -seed"))
    new.adopt()
    assert new.invalidate(1)
    assert new.explain(1).detail.startswith("it was invalidated ")
    path = next(item.path for item in cache.flow.store.scan())
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")
    explanation = new.explain(2)
    assert explanation.reason == "absent"
    assert re.match("the result of version [0-9a-f]{16}, which was adopted, cannot be used: ", explanation.detail)


def test_a_function_that_is_another_one_in_each_process(tmp_path: Path) -> None:
    """The third process is told of the global before it computes, and of nothing once it has stored the result."""
    program = Program(tmp_path / "project")
    told = "import job; found = job.simulate.explain(1); print(found.changing_globals and found.changing_globals.names)"
    again = f"{told}; print(found.advice); job.main(); print(job.simulate.explain(1))"
    out = [program.run("-W", "ignore", "-c", again).out.splitlines() for _ in range(3)]
    assert [lines[0] for lines in out] == ["None", "None", "('job:RUN_ID',)"]
    assert "pcache adopt" in out[1][1]
    assert out[2][1] == ADVICE
    assert [lines[2] for lines in out] == ["simulate(n=1): hit"] * 3


def test_what_differs_inside_of_a_dict(made: Any) -> None:
    """Of short dicts the items that differ are shown, but for secrets, by their old and new value."""
    simulate = made()
    simulate(1, data={"lr": 0.1, "n": 3, "old": None})
    assert told(simulate.explain(1, data={"lr": 0.2, "n": 3, "new": "x"})) == [
        "argument data['lr']: 0.1 -> 0.2",
        "argument data['old'] is gone; it was None",
        "argument data['new'] is new: 'x'",
    ]
    simulate(2, data={"password": "a", "n": 3})
    [said] = [text for text in told(simulate.explain(2, data={"password": "b", "n": 3})) if "data" in text]
    assert "'a'" not in said
    assert "'b'" not in said
