"""Functions that are another one in each process, since a global that they use is: a time, a token, the order of a set.

Such a value cannot be told from a constant, so it counts, and results are never found again. The registry shows it:
versions of one function, one after the other, that differ in the same globals, while the code that makes these stands.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pcache.versions import registry
from pcache.versions.differences import of_versions

if TYPE_CHECKING:
    from pcache.signing.keyring import Keyring
    from pcache.versions.registry import FunctionVersion

_LATEST = 30  # files of versions that are read: 3 ms
_VERSIONS = 3  # in a row that differ in the same globals: an edit or two of one constant are no habit


def changing_globals(folder: str, facts: FunctionVersion, keyring: Keyring) -> list[str]:
    """The globals that alone tell the last versions of a function apart, as `module:NAME`; none where others do."""
    versions = [version for version in registry.latest(folder, keyring, _LATEST) if version.name == facts.name]
    versions = sorted(versions, key=lambda version: version.first_seen)[-_VERSIONS:]
    if len(versions) < _VERSIONS or versions[-1].function_id != facts.function_id:
        return []
    differences = [of_versions(before, now, keyring) for before, now in pairwise(versions)]
    if any(one.kind != "constant" or one.change != "changed" for found in differences for one in found):
        return []
    names = [{one.name for one in found} for found in differences]
    return sorted(set.intersection(*names)) if all(found == names[0] for found in names) else []
