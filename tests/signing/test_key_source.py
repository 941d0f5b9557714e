"""Keys never travel: what is pickled of a cache says which keys it had, and they are found again where it is loaded."""

from __future__ import annotations

import base64
import copy
import multiprocessing
import os
import pickle
import pprint
import traceback
from pathlib import Path
from typing import Any

import pytest
from rich.pretty import pretty_repr

import pcache.decorator
from pcache import Cache, SigningKeyError
from pcache.decorator import default_cache
from pcache.errors import PcacheError
from pcache.signing.key_source import FoundAgain, Wanted
from pcache.signing.keyring import key_id, key_to_text, make_keyring, new_key, parse_key, write_key_file
from tests.support.processes import run
from tests.support.running import run as run_script
from tests.support.running import write

SECRET, OLD, OTHER = (bytes([65 + n]) * 31 + b"\xff" for n in range(3))  # others than that of `run`'s own cache


def double(n: int) -> int:
    return 2 * n


def forms(key: bytes) -> tuple[bytes, ...]:
    """What a key looks like where it lies in clear."""
    return key, base64.b64encode(key), base64.urlsafe_b64encode(key), key.hex().encode(), repr(key).encode()[2:-1]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Any:
    """Load a pickle in a process that knows no key, and return what a script says; `again` is what was pickled."""

    def load(value: object, script: str, **environment: str) -> list[str]:
        (tmp_path / "mail").write_bytes(pickle.dumps(value))
        begin = f"import pickle, warnings, os, threading; os.environ.update({environment!r})\n"
        begin += f"again = pickle.load(open({str(tmp_path / 'mail')!r}, 'rb'))\n"
        begin += "def double(n):\n    return 2 * n\n"
        return run(begin + script, tmp_path / "unused")

    return load


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_that_is_pickled_holds_a_key(tmp_path: Path, protocol: int) -> None:
    """Not that of a cache, of a function cached in it, of where its keys come from; a ring of keys is not pickled."""
    cache = Cache(tmp_path / "cache", signing_key=[SECRET, OLD])
    for value in (cache, cache.cached(double), cache.settings, cache.flow.keys, [cache.flow.keys.wanted()]):
        data = pickle.dumps(value, protocol)
        assert not [form for key in (SECRET, OLD) for form in forms(key) if form in data]
    for secret in (cache.flow.keys.keyring, SigningKeyError("", source=parse_key(SECRET, "")), new_key()):
        with pytest.raises(TypeError, match="secret"):
            pickle.dumps(secret, protocol)


def test_nothing_that_is_printed_holds_a_key(tmp_path: Path) -> None:
    """Whatever of a cache comes into a log, a traceback or a debugger by its `repr` has ids only."""
    cache = Cache(tmp_path / "cache", signing_key=[SECRET, OLD])
    keys = cache.flow.keys
    shown = repr([cache, vars(cache), vars(cache.flow), keys, vars(keys), keys.keyring, keys.wanted()])
    shown += f"{keys.keyring} {keys.keyring!s} {(keys.keyring,)} {keys.keyring.keys} {keys.keyring.signing_key}"
    shown += pprint.pformat(keys.keyring._asdict()) + pretty_repr(keys.keyring)
    assert not [form for key in (SECRET, OLD) for form in forms(key) if form.decode("latin-1") in shown]
    assert repr(key_id(SECRET)) in shown


def variables(error: BaseException | None) -> str:
    """The variables of frames of ours, as tools that log exceptions show them."""
    shown = ""
    while error is not None:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        ours = [frame for frame in frames if os.path.dirname(__file__) not in frame.f_code.co_filename]
        shown += "".join(f"{name}={value!r}" for frame in ours for name, value in frame.f_locals.items())
        error = error.__cause__ or error.__context__
    return shown


@pytest.mark.parametrize("place", ["argument", "several", "bytes", "environment", "file", "setting", "directory"])
def test_the_variables_of_a_traceback_hold_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """A key beside one that is none, or beside a setting that is refused, is not among them, nor most of a key."""
    text, most = key_to_text(SECRET), key_to_text(SECRET)[:-2]
    (tmp_path / "key").write_text(f"{text}\n{most}\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "file").touch()
    given: Any = {"argument": most, "several": (key for key in (text, most)), "bytes": SECRET[:31], "setting": text}
    given |= {"directory": text}
    if place == "environment":
        monkeypatch.setenv("PCACHE_KEY", f"{text},{most}")
    if place == "file":
        monkeypatch.setenv("PCACHE_KEY_FILE", str(tmp_path / "key"))
    options: Any = {"verify": "never"} if place == "setting" else {}
    where = tmp_path / ("file/cache" if place == "directory" else "cache")
    with pytest.raises(PcacheError) as caught:
        Cache(where, signing_key=given.get(place), **options).clear()
    shown = variables(caught.value)
    assert shown
    assert not [form for form in (*forms(SECRET), most.encode()) if form.decode("latin-1") in shown]


def test_the_default_cache_shows_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept by the environment that it was made in, and a setting is refused where that is at hand."""
    monkeypatch.setenv("PCACHE_KEY", key_to_text(SECRET))
    monkeypatch.setenv("PCACHE_DIR", str(tmp_path / "cache"))
    default_cache()
    assert not [form for form in forms(SECRET) if form.decode("latin-1") in repr(vars(pcache.decorator))]
    monkeypatch.setenv("PCACHE_MAX_SIZE", "never")
    with pytest.raises(PcacheError) as caught:
        default_cache()
    assert not [form for form in forms(SECRET) if form.decode("latin-1") in variables(caught.value)]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda cache: pickle.loads(pickle.dumps(cache))])
def test_a_copy_has_the_same_keys(tmp_path: Path, copied: Any) -> None:
    """Within a process a key that was given is known, the first as the one that signs."""
    cache = Cache(tmp_path / "cache", signing_key=[SECRET, OLD], shared=True)
    again = copied(cache)
    assert again.flow.keys.keyring == cache.flow.keys.keyring == make_keyring([SECRET, OLD], any_owner=True)
    assert again.settings == cache.settings
    assert cache.cached(double)(1) == again.cached(double).get(1) == 2


USED = """
warnings.simplefilter("error")
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    cached = again.cached(double)
    say([cached(1), cached(1), cached.exists(1)], len(said), *{item.category.__name__ for item in said})
    again.flow.keys.keyring and say(again.flow.keys.keyring.signing.hex(), len(again.flow.keys.keyring.keys))
"""


@pytest.mark.parametrize("shared", [False, True])
def test_a_key_that_is_not_known(tmp_path: Path, elsewhere: Any, shared: bool) -> None:
    """A cache whose key is nowhere computes, says so once, and stores nothing; another key is never taken instead."""
    cache = Cache(tmp_path / "cache", signing_key=SECRET, shared=shared)
    assert elsewhere(cache, USED) == ["[2, 2, False] 1 StoreWarning"]
    assert elsewhere(cache, USED, PCACHE_KEY=key_to_text(OTHER)) == ["[2, 2, False] 1 StoreWarning"]
    assert elsewhere(cache, USED, PCACHE_KEY="none at all") == ["[2, 2, False] 1 StoreWarning"]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("shared", [False, True])
def test_where_a_key_is_found(tmp_path: Path, own_home: Path, elsewhere: Any, shared: bool) -> None:
    """In PCACHE_KEY, in the file that PCACHE_KEY_FILE names, in the user's own; also behind another one there."""
    cache = Cache(tmp_path / "cache", signing_key=[SECRET, OLD], shared=shared)
    mode, file = ["[2, 2, True] 0"], str(tmp_path / "key")
    one, both = f"{key_id(SECRET).hex()} 1", f"{key_id(SECRET).hex()} 2"
    assert elsewhere(cache, USED, PCACHE_KEY=key_to_text(SECRET)) == [*mode, one]
    text = ",".join(map(key_to_text, (OTHER, OLD, SECRET)))
    assert elsewhere(cache, USED, PCACHE_KEY=text) == [*mode, both]
    write_key_file(file, [OTHER, SECRET])
    assert elsewhere(cache, USED, PCACHE_KEY_FILE=file, PCACHE_KEY=key_to_text(OLD)) == [*mode, both]
    write_key_file(str(own_home / "config" / "pcache" / "key"), [OTHER, SECRET])
    assert elsewhere(cache, USED) == [*mode, one]


def test_the_file_that_a_key_came_from(tmp_path: Path, elsewhere: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not have the variable reads the same file; after a rotation it signs as its parent does."""
    file = str(tmp_path / "key")
    write_key_file(file, [SECRET])
    monkeypatch.setenv("PCACHE_KEY_FILE", file)
    cache = Cache(tmp_path / "cache")
    monkeypatch.delenv("PCACHE_KEY_FILE")
    assert elsewhere(cache, USED) == ["[2, 2, True] 0", f"{key_id(SECRET).hex()} 1"]
    write_key_file(file, [OTHER, SECRET], replace=True)
    assert elsewhere(cache, USED) == ["[2, 2, True] 0", f"{key_id(SECRET).hex()} 1"]


def test_a_key_that_becomes_known_later(tmp_path: Path, elsewhere: Any) -> None:
    """A worker that gets its mail before it makes the cache itself reads and stores from then on, without a pause."""
    cache = Cache(tmp_path / "cache", signing_key=SECRET)
    later = f"""
warnings.simplefilter("ignore")
cached = again.cached(double)
say(cached(1), cached.exists(1))
Cache(sys.argv[1], signing_key={SECRET!r})
say(cached(2), cached.exists(2))
"""
    assert elsewhere(cache, later) == ["2 False", "4 True"]


def test_a_cache_without_a_key_yet(tmp_path: Path, own_home: Path, elsewhere: Any) -> None:
    """It makes the user's own where it is loaded, as it would have done here."""
    cache = Cache(tmp_path / "cache")
    assert cache.flow.keys.wanted().ids == ()
    stored, made = elsewhere(cache, USED)
    assert stored == "[2, 2, True] 0"
    assert cache.flow.keys.wanted().ids == (cache.flow.keys.ensure().signing,)
    assert made == f"{cache.flow.keys.ensure().signing.hex()} 1"


def test_mail_is_passed_on(tmp_path: Path) -> None:
    """Who does not know the keys passes on which they are."""
    wanted = Wanted((key_id(b"?" * 32), key_id(OLD)), "argument", None)
    keys = FoundAgain(wanted, None)
    assert (keys.look(), pickle.loads(pickle.dumps(keys)).wanted()) == (None, wanted)
    with pytest.raises(SigningKeyError, match=f"signing key {wanted.ids[0].hex()} .*PCACHE_KEY_FILE") as caught:
        keys.ensure()
    assert caught.value.source == "argument"


def test_what_is_there_is_not_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and variables that hold no key, or are not ours to read, are passed over while one is sought."""
    (tmp_path / "bad").write_text("no key")
    write_key_file(str(tmp_path / "good"), [b"g" * 32])
    monkeypatch.setenv("PCACHE_KEY_FILE", str(tmp_path / "bad"))
    wanted = Wanted((key_id(b"g" * 32),), "key file", str(tmp_path / "nowhere"))
    assert FoundAgain(wanted, str(tmp_path / "good")).keyring == make_keyring([b"g" * 32])


def test_the_key_of_a_call_with_a_cache(tmp_path: Path, own_home: Path) -> None:
    """A cache among the arguments counts by what it was made with: not by its keys, of which there may be none yet."""
    cache = Cache(tmp_path / "cache", ttl=5)
    keyed = Cache(tmp_path / "other", signing_key=SECRET).cached(repr)
    before = keyed.key(cache)
    cache.cached(double)(1)
    assert keyed.key(cache) == before == keyed.key(Cache(tmp_path / "cache", ttl=5, signing_key=OTHER))
    assert keyed.key(Cache(tmp_path / "cache")) != before


def test_a_result_that_holds_its_cache(tmp_path: Path) -> None:
    """scikit-learn's pipelines keep the cache that they are given: their entries hold no key, and load with it."""
    pipeline = pytest.importorskip("sklearn.pipeline")
    scaler = pytest.importorskip("sklearn.preprocessing").StandardScaler
    cache = Cache(tmp_path / "cache", signing_key=SECRET, compression="none")

    @cache.cached
    def fit(n: int) -> Any:
        steps = [("first", scaler()), ("second", scaler())]
        return pipeline.Pipeline(steps, memory=cache).fit([[float(n)], [2.0]])

    fit(1)
    for path in (tmp_path / "cache").rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not [form for form in forms(SECRET) if form in data], path
    assert fit.get(1).memory.flow.keys.keyring == make_keyring([SECRET])


WORKERS = """
import multiprocessing, os, sys, warnings
from pcache import Cache
given = {"signing_key": b"m" * 32}
if __name__ == "__main__" or sys.argv[2] == "module":
    cache = Cache(sys.argv[1], shared=True, **given)
else:
    cache = None
def double(n):
    return 2 * n
def work(cache):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = cache.cached(double)
        return made(1), made.exists(1), len(said)
if __name__ == "__main__":
    if sys.argv[3] == "loky":
        from joblib import Parallel, delayed
        (found,) = Parallel(2, backend="loky")([delayed(work)(cache)])
    else:
        with multiprocessing.get_context(sys.argv[3]).Pool(1) as pool:
            (found,) = pool.map(work, [cache])
    print(*found)
"""


@pytest.mark.parametrize(
    ("where", "start", "stored"),
    [
        ("module", "spawn", True),
        ("module", "forkserver", True),
        ("main", "fork", True),
        ("main", "spawn", False),
        ("main", "loky", False),
    ],
)
def test_workers(tmp_path: Path, where: str, start: str, stored: bool) -> None:
    """Workers know a key that the main module gives where it is imported, and by the environment; else they compute."""
    if start not in (*multiprocessing.get_all_start_methods(), "loky") or (start == "loky" and not _has_joblib()):
        pytest.skip(f"no {start} here")
    script = write(tmp_path / "script.py", WORKERS)
    found = run_script(script, tmp_path / "cache", where, start, warnings="ignore")
    assert found == [f"2 {stored} {int(not stored)}"]
    if not stored:
        key = key_to_text(b"m" * 32)
        assert run_script(script, tmp_path / "cache", where, start, warnings="ignore", PCACHE_KEY=key) == ["2 True 0"]


def _has_joblib() -> bool:
    from importlib.util import find_spec

    return find_spec("joblib") is not None
