"""The files of a git revision, read from the repository: the user's working tree is not touched."""

from __future__ import annotations

import os
import subprocess

from pcache.errors import ConfigError
from pcache.system.interrupts import raise_if_interrupt
from pcache.versions.source_text import read_source

_PLAIN = ("100644", "100755")  # modes of files that are neither links nor submodules
# Nothing is fetched that a partial clone lacks, and no file of the repository is refreshed.
_QUIETLY = {"GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


class Revision:
    """A revision of the repository that a folder lies in; raises `ConfigError` if there is none of that name."""

    def __init__(self, folder: str, name: str) -> None:
        self._top = folder
        self._top = os.fsdecode(self._git("rev-parse", "--show-toplevel")).rstrip("\n")
        commit = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", of=name)
        self._commit = os.fsdecode(commit).strip()
        listed = os.fsdecode(self._git("ls-tree", "-r", "-z", "--full-tree", self._commit)).split("\0")
        found = (line.partition("\t") for line in listed if line)
        self._names = {name for facts, _, name in found if facts.split(" ")[0] in _PLAIN}

    def read(self, path: str) -> bytes | None:
        """The content of a file in the revision, by its path in the working tree; that of one outside is on disk."""
        folder, name = os.path.split(path)
        place = os.path.relpath(os.path.join(os.path.realpath(folder), name), os.path.realpath(self._top))
        if place.startswith(os.pardir + os.sep):
            return read_source(path)
        place = place.replace(os.sep, "/")
        return self._git("cat-file", "blob", f"{self._commit}:{place}") if place in self._names else None

    def _git(self, *arguments: str, of: str = "") -> bytes:
        command = ["git", "-C", self._top, *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - git, with a name that it is told to take for a revision
                command, capture_output=True, check=False, env={**os.environ, **_QUIETLY}
            )
        except OSError as error:
            raise_if_interrupt(error)
            raise ConfigError(f"--since needs git, which cannot be run ({error.strerror})", setting="since") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().partition("\n")[0].removeprefix("fatal: ")
            raise ConfigError(f"--since: {said or f'git knows no revision {of!r:.80}'}", setting="since", value=of)
        return done.stdout
