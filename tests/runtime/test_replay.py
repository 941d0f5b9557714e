"""A recorded directory that is only replayed: what was recorded is returned, and all else raises."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import pcache
from pcache import Cache, NotRecorded
from pcache.runtime import replay
from pcache.signing.keyring import key_to_text
from pcache.system import exit

ran: list[int] = []


def square(n: int) -> int:
    ran.append(n)
    return n * n


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the square of 3, which brings its key; replayed from now on."""
    monkeypatch.setenv("PCACHE_RECORD", str(tmp_path / "recorded"))
    assert Cache(tmp_path / "recorded").cached(square)(3) == 9
    assert (tmp_path / "recorded" / "signing-key").exists()
    exit.flush_all()  # as at the end of the process that recorded it
    monkeypatch.delenv("PCACHE_RECORD")
    monkeypatch.setenv("PCACHE_REPLAY", str(tmp_path / "recorded"))
    ran.clear()
    return tmp_path / "recorded"


def test_what_is_recorded_is_returned(recorded: Path, own_home: Path) -> None:
    """Without a key of one's own; nothing is written, and nothing is computed."""
    before = sorted(recorded.rglob("*"))
    function = Cache(recorded).cached(square)
    assert (function(3), function(n=3), function.get(3), ran) == (9, 9, 9, [])
    assert (function.put(16, 4), function.exists(4), function.invalidate(3)) == (False, False, False)
    assert sorted(recorded.rglob("*")) == before
    assert not (own_home / "config").exists()


def test_what_is_not_recorded_raises(recorded: Path) -> None:
    """With the text of `explain`; from threads and in other ways of calling, too. It is noted."""
    function = Cache(recorded).cached(square)
    noted = len(replay.missed)
    with pytest.raises(NotRecorded, match="which is not computed") as raised:
        function(4)
    assert str(function.explain(4)) == raised.value.explanation
    assert "argument n: 3 -> 4" in raised.value.explanation
    caught: list[Any] = []

    def call() -> None:
        try:
            function(5)
        except NotRecorded as error:
            caught.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    with pytest.raises(NotRecorded), pcache.refreshing():
        function(3)
    with pytest.raises(NotRecorded):
        function.refresh(3)
    assert replay.missed[noted : noted + 2] == [str(raised.value), *caught]
    assert (len(replay.missed) - noted, ran) == (4, [])


def test_other_calls_go_on(recorded: Path, tmp_path: Path) -> None:
    """In other directories, where the cache is turned off, and where a call has no key."""
    assert Cache(tmp_path / "other").cached(square)(4) == 16
    with pcache.disabled():
        assert Cache(recorded).cached(square)(5) == 25
    with pytest.warns(pcache.PcacheWarning, match="no key"):
        assert Cache(recorded).cached(unhashable="compute")(len_of)([threading.Lock()]) == 1
    assert ran == [4, 5]


def len_of(items: list[Any]) -> int:
    return len(items)


def test_a_key_that_is_not_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment signs what is recorded, and is not kept with it."""
    monkeypatch.setenv("PCACHE_RECORD", str(tmp_path / "recorded"))
    monkeypatch.setenv("PCACHE_REPLAY", str(tmp_path / "recorded"))
    monkeypatch.setenv("PCACHE_KEY", key_to_text(bytes(range(32))))
    with monkeypatch.context() as patched:
        patched.delenv("PCACHE_REPLAY")
        assert Cache(tmp_path / "recorded").cached(square)(3) == 9
    assert not (tmp_path / "recorded" / "signing-key").exists()
    assert Cache(tmp_path / "recorded").cached(square)(3) == 9
    monkeypatch.delenv("PCACHE_KEY")
    with pytest.raises(NotRecorded):
        Cache(tmp_path / "recorded").cached(square)(3)


def test_a_directory_that_is_not_there(recorded: Path) -> None:
    """It has no results, and is not made."""
    recorded.rename(recorded.with_name("moved"))
    with pytest.raises(NotRecorded, match="miss, absent"):
        Cache(recorded).cached(square)(3)
    assert not recorded.exists()
