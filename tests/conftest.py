"""Every test has a home of its own: no settings, keys or caches of whoever runs the tests."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from pcache import Cache
from pcache.keys import dispatch
from pcache.system import notices

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a job in the background, and in all that it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point home, configuration and caches to fresh folders, and drop the settings of the environment."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "caches"))
    for name in [name for name in os.environ if name.startswith("PCACHE_")]:
        monkeypatch.delenv(name)
    return home


@pytest.fixture
def registrations() -> Iterator[None]:
    """Leave what was said of keys as it was."""
    dispatch.resolve(object)  # loads what registers reducers for all classes
    for module in dispatch._libraries.values():  # what they register stays
        importlib.import_module(module)
    tables: tuple[dict[Any, Any], ...] = (dispatch._registered, dispatch._by_type, dispatch._by_name)
    saved = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, saved, strict=True):
        table.clear()
        table.update(content)
    dispatch.resolved.clear()


@pytest.fixture(autouse=True)
def _warnings_again() -> None:
    """Have warnings that are given once be given again."""
    notices.forget()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache of the test's own."""
    return Cache(tmp_path / "cache")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small file system, where that is permitted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
