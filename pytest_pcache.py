"""The pytest plugin of pcache: where the results of a test run lie, and whether anything is computed.

A module of its own beside the package, as pytest loads it in every run: importing it does not import pcache. All that
it says to pcache goes through the environment, before conftest files and tests are imported, and so reaches the
processes that tests start.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

MODES = {
    "isolated": "results lie in a temporary directory of this run",
    "off": "nothing is looked up or stored",
    "record": "results are looked up and stored in the recorded directory",
    "replay": "results come from the recorded directory; a test whose call has none fails",
    "refresh": "calls are computed anew and replace what is recorded",
}
_OF_TESTS = ("off", "refresh")  # what the mark takes
_MARK = "pcache"
_DIRECTORY = ".pcache-recorded"
_RUN = "PYTEST_PCACHE_RUN"  # process id and directory of the run, for the workers of xdist
_OTHERS_WRITE, _OTHERS = stat.S_IWGRP | stat.S_IWOTH, stat.S_IRWXG | stat.S_IRWXO
_IGNORED = """# pcache: results are committed, and what this machine alone needs is not.
/v1/code/
/v1/ledger/
/v1/locks/
*.claim*
"""
_modes = pytest.StashKey[str]()
_entered = pytest.StashKey[AbstractContextManager[None]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option, and the settings of the ini file."""
    shown = "; ".join(f"{mode}: {meaning}" for mode, meaning in MODES.items())
    parser.getgroup("pcache").addoption("--pcache", metavar="MODE", help=f"{shown}. By default the ini setting pcache")
    parser.addini("pcache", f"how results of functions are cached: {', '.join(MODES)}", default="isolated")
    parser.addini("pcache_directory", "the recorded directory, below the root of the tests", default=_DIRECTORY)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Set the environment of the mode; the end of the run restores it."""
    mode = early_config.known_args_namespace.pcache or early_config.getini("pcache")
    if mode not in MODES:
        raise pytest.UsageError(f"--pcache and the ini setting pcache take {_listed(MODES)}, not {mode!r}")
    early_config.stash[_modes] = mode
    if mode in ("isolated", "off"):
        variables = _isolated(early_config)
    else:
        folder = str(early_config.rootpath / early_config.getini("pcache_directory"))
        _prepare(folder, replay=mode == "replay")
        variables = {"PCACHE_DIR": folder, "PCACHE_REPLAY" if mode == "replay" else "PCACHE_RECORD": folder}
    if mode in ("off", "refresh"):
        variables["PCACHE_DISABLE" if mode == "off" else "PCACHE_REFRESH"] = "1"
    before = {name: os.environ.get(name) for name in variables}
    early_config.add_cleanup(lambda: _set(before))
    early_config.add_cleanup(_flush)  # the last one is called first
    _set(variables)


def _isolated(config: pytest.Config) -> dict[str, str]:
    """The variables for a temporary directory of the run: a worker of xdist has that of its parent process."""
    parent, _, folder = os.environ.get(_RUN, "").partition(":")
    if "PYTEST_XDIST_WORKER" in os.environ and parent == str(os.getppid()):
        return {"PCACHE_DIR": folder}
    folder = tempfile.mkdtemp(prefix="pytest-pcache-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    return {"PCACHE_DIR": folder, _RUN: f"{os.getpid()}:{folder}"}


def _flush() -> None:
    """Write what belongs into the directory of a run: at the end of the process a removed one would come back."""
    if (at_exit := sys.modules.get("pcache.system.exit")) is not None:
        at_exit.flush_all()


def _prepare(folder: str, *, replay: bool) -> None:
    """Make a recorded directory fit for use: a checkout has the modes of its umask, and git commits no lone folder."""
    if replay and not os.path.isdir(folder):
        raise pytest.UsageError(f"--pcache=replay: nothing is recorded in {folder}; pytest --pcache=record does that")
    if not replay and not os.path.exists(folder):
        os.makedirs(folder, mode=0o700)
        with open(os.path.join(folder, ".gitignore"), "w") as file:
            file.write(_IGNORED)
    if os.path.exists(os.path.join(folder, "CACHEDIR.TAG")):  # else it is not one of pcache's, which will say so
        for path, _, _ in os.walk(folder):
            _forbid(path, _OTHERS_WRITE)
        _forbid(os.path.join(folder, "signing-key"), _OTHERS)


def _forbid(path: str, rights: int) -> None:
    """Take rights of others from a file, so that pcache accepts it; where that fails, it says what is wrong."""
    try:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        if mode & rights and not os.path.islink(path):
            os.chmod(path, mode & ~rights)
    except OSError:
        pass


def _set(variables: dict[str, Any]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _listed(words: Any) -> str:
    *others, last = map(repr, words)
    return f"{', '.join(others)} or {last}"


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the mark; look for what was missed only where that can be."""
    config.addinivalue_line("markers", f"{_MARK}(mode): cache nothing ('off') or compute anew ('refresh') in this test")
    if config.stash.get(_modes, "") == "replay":
        config.pluginmanager.register(Replay(), "pcache replay")


def pytest_report_header(config: pytest.Config) -> str:
    """The mode, and where results lie."""
    mode = config.stash.get(_modes, None)
    if mode is None:
        return "pcache: the plugin was loaded too late to say where results lie; load it with -p pytest_pcache"
    recorded = f", {config.getini('pcache_directory')}" if mode in ("record", "replay", "refresh") else ""
    return f"pcache: {mode}{recorded}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Enter the mode that a test is marked with, its fixtures included."""
    mark = item.get_closest_marker(_MARK)
    if mark is None:
        return
    mode = mark.args[0] if len(mark.args) == 1 and not mark.kwargs else None
    if mode not in _OF_TESTS:
        given = ", ".join([*map(repr, mark.args), *(f"{name}={value!r}" for name, value in mark.kwargs.items())])
        pytest.fail(f"pytest.mark.pcache takes {_listed(_OF_TESTS)}, not ({given})", pytrace=False)
    import pcache  # only here: most tests have no such mark

    block = pcache.disabled() if mode == "off" else pcache.refreshing()
    block.__enter__()
    item.stash[_entered] = block


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Leave it again."""
    block = item.stash.get(_entered, None)
    if block is not None:
        del item.stash[_entered]
        block.__exit__(None, None, None)


class Replay:
    """Fails tests in which a call was not recorded, also where the exception was swallowed."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None, Any, Any]:
        """In its fixtures."""
        return (yield from _watched())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, Any, Any]:
        """In the test itself."""
        return (yield from _watched())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, Any, Any]:
        """In its fixtures' ends."""
        return (yield from _watched())


def _watched() -> Iterator[None]:
    before = len(_missed())
    try:
        return (yield)
    finally:
        if new := _missed()[before:]:
            text = "\n".join([*new, "record it with: pytest --pcache=record"])
            raise pytest.fail.Exception(text, pytrace=False) from None  # that of the call says the same


def _missed() -> list[str]:
    """What calls missed so far; nothing while no call did, as what notes it is not loaded."""
    replay = sys.modules.get("pcache.runtime.replay")
    return list(replay.missed) if replay is not None else []
