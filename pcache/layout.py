"""Every name below the root of a cache directory.

CACHEDIR.TAG  .gitignore             what tells backups and git to leave it out, and us that it is ours
v1/entries/00 ... ff/                shards of entries, with their claims and drafts
v1/functions/                        what is known of function versions
v1/ledger/                           counters, tombstones (`removed`) and usage (`occupancy`)
v1/locks/                            one lock for those who evict, one for those who merge counters
"""

from __future__ import annotations

import os

GENERATION = "v1"  # of the layout: another one would have another name
TAG_FILE = "CACHEDIR.TAG"


def generation_folder(root: str) -> str:
    """The folder that holds all that is ours, but for the tag."""
    return os.path.join(root, GENERATION)


def entries_folder(root: str) -> str:
    """The folder of the shards."""
    return os.path.join(root, GENERATION, "entries")


def functions_folder(root: str) -> str:
    """The folder of the records of function versions."""
    return os.path.join(root, GENERATION, "functions")


def ledger_folder(root: str) -> str:
    """The folder of what was counted."""
    return os.path.join(root, GENERATION, "ledger")


def locks_folder(root: str) -> str:
    """The folder of the locks that are of no entry."""
    return os.path.join(root, GENERATION, "locks")


def tombstones_path(root: str) -> str:
    """The file that says which entries were removed, when and why."""
    return os.path.join(ledger_folder(root), "removed")


def usage_path(root: str, function: str = "") -> str:
    """The file that says how much lies in each shard: of all entries, or of a function that has a limit of its own."""
    if not function:
        return os.path.join(ledger_folder(root), "occupancy")
    from blake3 import blake3  # late for start-up time; the name of a function may hold anything

    return os.path.join(ledger_folder(root), f"occupancy-{blake3(function.encode()).hexdigest(8)}")
