"""The user's folders for caches and configuration, and making folders that only the user may write to."""

from __future__ import annotations

import os
import sys

from pcache.system.interrupts import raise_if_interrupt

_PLATFORM: str = sys.platform
# The XDG base directory specification, which platformdirs follows (a test compares the two). Importing platformdirs
# costs a process 11 ms, a third of its first hit, so on Linux it is not used.
_XDG = {"cache": ("XDG_CACHE_HOME", ".cache"), "config": ("XDG_CONFIG_HOME", ".config")}


def user_folder(kind: str) -> str | None:
    """Return pcache's folder of a kind, "cache" or "config", as an absolute path; None where there is no home."""
    if _PLATFORM == "linux":
        variable, below_home = _XDG[kind]
        given = os.environ.get(variable, "").strip()
        home = os.path.expanduser("~") if os.environ.get("HOME") != "" else ""  # Python takes an empty one for `/`
        # A missing home is not made: `HOME=/nonexistent` says that there is none, to root as well.
        base = given if os.path.isabs(given) else os.path.join(home, below_home) if os.path.isdir(home) else ""
        return os.path.join(base, "pcache") if os.path.isabs(base) else None
    import platformdirs  # late for start-up time

    find = platformdirs.user_cache_dir if kind == "cache" else platformdirs.user_config_dir
    try:
        folder = find("pcache", appauthor=False)
    except RuntimeError:  # recent releases raise it without a home, older ones return a relative "~/..."
        return None
    return folder if os.path.isabs(folder) else None


def cache_folder() -> str:
    """The folder for the user's results, or without a home one in the system's folder for temporary files."""
    folder = user_folder("cache")
    if folder and not _is_below_a_file(folder):
        return folder
    import tempfile  # late for start-up time

    # A proposal only: whether the directory can be trusted is checked when it is opened.
    return os.path.join(tempfile.gettempdir(), f"pcache-{os.geteuid()}")


def _is_below_a_file(path: str) -> bool:
    """Whether a path leads through a file, as with `HOME=/dev/null`, set for services without a home."""
    try:
        os.lstat(path)
    except NotADirectoryError:
        return True
    except OSError as error:
        raise_if_interrupt(error)  # else it mostly does not exist yet
    return False


def make_private(folder: str) -> None:
    """Make a folder and all missing ones above it, each for us alone whatever the umask; raises `OSError`.

    One by one: `os.makedirs` applies its mode to the last only, so that under a umask of 0 anyone could write to those
    above, and so replace the last. Existing folders stay as they are.
    """
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    if not os.path.lexists(above):
        make_private(above)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise
        # else another process was faster
