"""Every name below the root of a cache directory.

signing-key                          the signing key, only where PCACHE_KEY_IN_DIRECTORY asks for it
CACHEDIR.TAG  .gitignore             tell backups and git to leave it out; the tag marks it as a pcache directory
v1/entries/00 ... ff/                shards of entries, with their claims and drafts
v1/functions/                        records of function versions
v1/code/                             what was read from the code of large programs
v1/ledger/                           counters, tombstones (`removed`) and usage (`occupancy`)
v1/locks/                            one lock for evicting, one for merging counters
"""

from __future__ import annotations

import os

GENERATION = "v1"  # of the layout: a new layout gets a new name
TAG_FILE = "CACHEDIR.TAG"
KEY_FILE = "signing-key"
NAME_LENGTH = 57  # characters of an entry's name: 16 digits of a function's id, a hyphen, 40 digits of a key
CLAIM_SUFFIX = ".claim"  # of an entry's name


def shard_in(name: str) -> str:
    """The shard that an entry is in, by its name: the first two digits of its key."""
    return name[17:19]


def generation_folder(root: str) -> str:
    """The folder that holds everything but the tag."""
    return os.path.join(root, GENERATION)


def entries_folder(root: str) -> str:
    """The folder of the shards."""
    return os.path.join(root, GENERATION, "entries")


def functions_folder(root: str) -> str:
    """The folder of the records of function versions."""
    return os.path.join(root, GENERATION, "functions")


def adopted_path(root: str, function_id: str) -> str:
    """The file that says which versions' results count as those of a version."""
    return os.path.join(functions_folder(root), f"{function_id}.adopted")


def code_folder(root: str) -> str:
    """The folder of what was read from code."""
    return os.path.join(root, GENERATION, "code")


def ledger_folder(root: str) -> str:
    """The folder of counters, tombstones and usage."""
    return os.path.join(root, GENERATION, "ledger")


def locks_folder(root: str) -> str:
    """The folder of the locks that do not belong to an entry."""
    return os.path.join(root, GENERATION, "locks")


def tombstones_path(root: str) -> str:
    """The file that says which entries were removed, when and why."""
    return os.path.join(ledger_folder(root), "removed")


def usage_path(root: str, function: str = "") -> str:
    """The usage file, with the size of each shard: of all entries, or of a function that has a limit of its own."""
    if not function:
        return os.path.join(ledger_folder(root), "occupancy")
    from blake3 import blake3  # late for start-up time; a function's name may hold any character

    return os.path.join(ledger_folder(root), f"occupancy-{blake3(function.encode()).hexdigest(8)}")
