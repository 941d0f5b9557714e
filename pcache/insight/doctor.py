"""Diagnose a cache directory, its key, settings and file system, and advise.

Looks and tries, and changes nothing: a directory that is not there is not made, nothing is unpickled or imported.
Every finding says what was seen in words for people. How they are printed is the command line's.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import stat
import sys
import time
from collections import Counter

from pcache.config.settings import describe, resolve, to_leave_free
from pcache.counters import ledger
from pcache.counters.line_format import HOUR
from pcache.entry import streams
from pcache.errors import ConfigError, DirectoryError, Miss, SigningKeyError
from pcache.eviction import usage
from pcache.insight.probes import held_locks, try_out
from pcache.insight.records import Finding
from pcache.layout import GENERATION, entries_folder, functions_folder, generation_folder, ledger_folder, locks_folder
from pcache.signing.keyring import INSIDE, ONE_KEY, WAYS_OUT
from pcache.startup import TYPE_CHECKING
from pcache.storage.directory import keys_of
from pcache.storage.local import LocalStore
from pcache.storage.root import check_root, is_laid_out, is_ours
from pcache.system.mounts import filesystem_of, is_network
from pcache.system.ownership import SAFE_FLAGS, our_uid
from pcache.system.permissions import Access
from pcache.text.units import format_duration, format_size
from pcache.versions import registry
from pcache.versions.moments import of_functions
from pcache.versions.superseded import superseded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pcache.config.settings import Settings
    from pcache.insight.records import State
    from pcache.signing.key_source import KeySource
    from pcache.signing.keyring import Keyring
    from pcache.storage.store import StoredFile

_SAMPLE = 1000  # entries whose headers are read
_SKEW, _SLOW_SYNC = 60.0, 0.2  # seconds that clocks may differ, and that a disk may take
_FEW_INODES, _GENERATION = 10_000, re.compile(r"v\d+")
_TROUBLES: dict[str, tuple[State, str, str]] = {
    "foreign": ("problem", "are signed with a key that you do not have, and are computed again", ONE_KEY),
    "damaged": ("problem", "are damaged, and are computed again", "pcache verify --repair"),
    "owner": ("problem", "belong to another user, and are computed again", "set PCACHE_SHARED=1 if that is on purpose"),
    "future": ("note", "were made or used in the future: a clock was set back", "set the clock"),
}


def diagnose(directory: str | None = None, version: str = "") -> list[Finding]:
    """Check a cache directory, by default that of the settings. Raises nothing that a broken directory could cause."""
    return [_versions(version), *_of_settings(directory)]


def _versions(version: str) -> Finding:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    parts = [f"pcache {version}".strip(), f"Python {platform.python_version()}"]
    names = ["filelock", "blake3", *(["backports.zstd"] if sys.version_info < (3, 14) else [])]
    missing = []
    for name in names:
        try:
            parts.append(f"{name} {installed(name)}")
        except PackageNotFoundError:
            missing.append(name)
    parts.append(platform.platform(terse=True))
    unknown = f"; not known: {', '.join(missing)}" if missing else ""
    return Finding("versions", "note" if missing else "ok", ", ".join(parts) + unknown)


def _of_settings(directory: str | None) -> Iterator[Finding]:
    try:
        settings = resolve(directory=directory)
    except ConfigError as error:
        yield Finding("settings", "problem", str(error), "correct it there; `pcache config` shows every setting")
        return
    origins = sorted({setting.origin for setting in describe(settings)} - {"argument", "default"})
    yield Finding("settings", "ok", f"from {', '.join(origins)}" if origins else "defaults")
    yield from (Finding("settings", "note", text) for text in settings.ignored)
    if off := settings.switched_off:
        yield Finding("settings", "note", f"the cache is switched off{off} ({settings.origins['disable']})")
    access = Access(settings.shared)
    keys, finding = _key(settings)
    yield finding
    there, findings = _directory(settings.directory, access)
    yield from findings
    yield from _disk(settings)
    if there or all(finding.state != "problem" for finding in findings):  # nothing is tried in another's directory
        yield from _place(settings)
    if there:
        yield from _contents(settings, access, keys.keyring if keys is not None else None)


def _refusal(check: str, error: Exception, otherwise: str) -> Finding:
    """An exception as a finding; what to do, at the end of its message, is the advice."""
    text, *advice = re.split("; (?:run: )?(?=chmod |set )", str(error).removesuffix(f"; {WAYS_OUT}"), maxsplit=1)
    return Finding(check, "problem", text, advice[0] if advice else otherwise)


def _key(settings: Settings) -> tuple[KeySource | None, Finding]:
    try:
        keys = keys_of(settings)
        keys.look()  # only this finds out whether the user's own key is usable
    except SigningKeyError as error:
        return None, _refusal("signing key", error, WAYS_OUT)
    where = keys.origin + (f" {keys.path}" if keys.path else "")
    if keys.keyring is None and not keys.has_place():
        text = f"there is no place for one ({keys.path or 'no home directory'}): nothing is stored or read"
        return keys, Finding("signing key", "problem", text, WAYS_OUT)
    if keys.keyring is None:
        return keys, Finding("signing key", "ok", f"none yet: the first result makes {keys.path}")
    mode = f", mode {stat.S_IMODE(os.stat(keys.path).st_mode):o}" if keys.path else ""
    reading = f", and {more} for reading" if (more := len(keys.keyring.keys) - 1) else ""
    text = f"{keys.keyring.signing.hex()} from {where}{mode}{reading}"
    if keys.path and os.path.dirname(keys.path) == settings.directory:
        return keys, Finding(
            "signing key", "note", f"{text}: {INSIDE}", "unset PCACHE_KEY_IN_DIRECTORY if that is wrong"
        )
    return keys, Finding("signing key", "ok", text)


def _directory(root: str, access: Access) -> tuple[bool, list[Finding]]:
    """Whether there is a directory that can be read, and the findings about it."""
    try:
        there = check_root(root, access)
    except DirectoryError as error:
        return False, [_refusal("directory", error, "choose another with PCACHE_DIR or -C")]
    except PermissionError as error:  # in one that was used before it was shared
        return False, [Finding("directory", "problem", f"{error.filename} is closed to you", access.remedy(root))]
    if not there:
        parent = _nearest(root)
        if not os.access(parent, os.W_OK | os.X_OK):
            text = f"{root} does not exist, and cannot be made: {parent} is not yours to write to"
            return False, [Finding("directory", "problem", text, "choose another with PCACHE_DIR or -C")]
        return False, [Finding("directory", "note", f"{root} does not exist yet: the first result makes it")]
    if not os.access(root, os.R_OK | os.X_OK):
        text = f"{root} cannot be looked into: you have no rights"
        return False, [Finding("directory", "problem", text, access.remedy(root))]
    found = [*_parts(root, access)]
    if not is_ours(root) and os.path.lexists(generation_folder(root)) and not is_laid_out(root, access):
        text = f"{root} does not carry the tag of a cache directory (CACHEDIR.TAG): nothing is removed from it"
        found.append(Finding("directory", "problem", text, "move away what is not of pcache"))
    if not found:
        who = "shared by its group" if access.shared else "yours alone"
        found.append(Finding("directory", "ok", f"{root}, {who}"))
    others = sorted(name for name in os.listdir(root) if _GENERATION.fullmatch(name) and name != GENERATION)
    for name in others:
        path = os.path.join(root, name)
        text = f"{path} was left by another release of pcache; only that release reads it"
        found.append(Finding("directory", "note", text, f"rm -r {shlex.quote(path)}"))
    return True, found


def _parts(root: str, access: Access) -> Iterator[Finding]:
    """A root and the folders below with wrong permissions: the first of them, and how many more."""
    base, entries = generation_folder(root), entries_folder(root)
    store_parts = [root, base, entries, functions_folder(root), ledger_folder(root), locks_folder(root)]
    try:
        store_parts += sorted(item.path for item in os.scandir(entries) if len(item.name) == 2)  # noqa: PLR2004 - shards
    except OSError:
        pass  # reported below, for the folder itself
    wanted = 0o2770 if access.shared else 0o700
    refused = []
    for path in store_parts:
        try:
            if access.check(path) and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                refused.append(f"{path} is not yours to read and write (mode {os.lstat(path).st_mode & 0o7777:o})")
            elif access.shared and os.path.isdir(path) and os.lstat(path).st_mode & wanted != wanted:
                refused.append(f"{path} keeps the group out (mode {os.lstat(path).st_mode & 0o7777:o})")
        except DirectoryError as error:
            refused.append(str(error).partition("; run: ")[0])
    if refused:
        more = f" (and {len(refused) - 1} more such folders)" if len(refused) > 1 else ""
        yield Finding("directory", "problem", refused[0] + more, access.remedy(root))


def _nearest(path: str) -> str:
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _disk(settings: Settings) -> Iterator[Finding]:
    try:
        disk = os.statvfs(_nearest(settings.directory))
    except (OSError, AttributeError) as error:
        yield Finding("disk", "note", f"its free space is unknown: {error}")
        return
    free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    if not size:
        yield Finding("disk", "note", "its free space is unknown")
        return
    text = f"{format_size(free)} of {format_size(size)} are free"
    spare = to_leave_free(settings.min_free, size)
    if not free:
        yield Finding(
            "disk", "problem", f"{text}: nothing can be stored", "make room, or: pcache evict --max-size 1GiB"
        )
    elif free < spare:
        advice = "make room, or: pcache evict --max-size 1GiB"
        yield Finding(
            "disk", "note", f"{text}, less than min_free = {format_size(spare)}: the cache stays small", advice
        )
    else:
        yield Finding("disk", "ok", text)
    if disk.f_files and disk.f_favail < _FEW_INODES:
        state: State = "note" if disk.f_favail else "problem"
        yield Finding("disk", state, f"{disk.f_favail:,} more files fit on it", "pcache evict --max-entries 10000")
    if settings.max_size > size - spare:
        text = f"max_size = {format_size(settings.max_size)} is more than the disk can hold, min_free limits it"
        yield Finding("limits", "note", text, "set PCACHE_MAX_SIZE to less")


def _place(settings: Settings) -> Iterator[Finding]:
    """Check the abilities of the file system."""
    root = settings.directory
    kind = filesystem_of(root) or "unknown"
    if is_network(root):
        text = f"{kind}, which is not known to be local: no locks are taken, so a result may be computed twice"
        yield Finding("file system", "note", text, "only `pcache evict` keeps limits there: run it from time to time")
    else:
        yield Finding("file system", "ok", kind)
    generation = generation_folder(root)
    place = generation if os.path.isdir(generation) else _nearest(root)
    if settings.read_only:
        yield Finding("writing", "note", f"not tried: the cache is read-only ({settings.origins['read_only']})")
        return
    try:
        found = try_out(place)
    except OSError as error:
        text = f"nothing can be written in {place}: {error.strerror}"
        yield Finding("writing", "problem", text, "set PCACHE_READ_ONLY=1 if that is on purpose")
        return
    for name, reason in found.failures.items():
        state: State = "note" if name == "times" or (name == "locks" and is_network(root)) else "problem"
        yield Finding(name, state, reason, "" if state == "note" else "choose a local disk with PCACHE_DIR")
    if not found.failures:
        yield Finding("writing", "ok", "locks between two processes, rename, mmap and times work")
    slow = found.sync > _SLOW_SYNC
    text = f"a small write reaches the disk in {format_duration(found.sync)}"
    yield Finding(
        "fsync", "note" if slow else "ok", text + (": storing what took 1 s or more takes longer" if slow else "")
    )
    if abs(found.ahead) > _SKEW:
        way = "ahead of" if found.ahead > 0 else "behind"
        text = f"the file system's clock is {format_duration(abs(found.ahead))} {way} this machine's"
        yield Finding("clock", "problem", text, "set both by a time server (timedatectl set-ntp true)")


def _contents(settings: Settings, access: Access, keyring: Keyring | None) -> Iterator[Finding]:
    try:
        store = LocalStore(settings.directory, access)
        yield from _entries(store, keyring)
        yield from _leftovers(store, keyring)
    except (DirectoryError, OSError) as error:
        yield Finding("entries", "problem", f"they cannot be listed: {error}")
        return
    folder = functions_folder(store.root)
    known = registry.read_all(folder, keyring)
    if gone := superseded(folder, keyring, known):
        count = f"{len(gone)} version" + "s" * (len(gone) > 1)
        text = f"the code of {count} of functions is not on disk any more"
        yield Finding("versions of code", "note", text, "pcache clear --superseded")
    for name, found in of_functions(known.values(), keyring, lambda: ledger.read(settings.directory, keyring)).items():
        yield Finding("versions of code", "note", f"results of {name} are not found again: {found.text}", found.advice)
    for path in held_locks(settings.directory):
        text = f"{path} is locked by a program that does nothing with it; limits are kept without it"
        yield Finding("locks", "problem", text, f"find and end it: fuser -v {shlex.quote(path)}")
    yield from _ledger(settings.directory, keyring)


def _entries(store: LocalStore, keyring: Keyring | None) -> Iterator[Finding]:
    shards = store.shards()
    shards.sort(key=lambda _: os.urandom(8))  # the program may have seeded the generator of `random`
    sample: list[StoredFile] = []
    for shard in shards:
        sample += store.scan([shard])
        if len(sample) >= _SAMPLE:
            break
    del sample[_SAMPLE:]
    known = len(sample) if len(sample) < _SAMPLE else max(usage.known_entries(store.root), len(sample))
    of = f"of {len(sample):,} entries" if known <= len(sample) else f"of {len(sample):,} entries looked at"
    now_ns = time.time_ns()
    found = Counter(_troubles(sample, keyring, store.access, now_ns))
    for name, count in found.items():
        state, text, advice = _TROUBLES[name]
        yield Finding("entries", state, f"{count:,} {of} {text}", advice)
    if not found:
        text = f"{'about ' if known > len(sample) else ''}{known:,}, as they should be"
        yield Finding("entries", "ok", text if sample else "none")


def _troubles(items: Iterable[StoredFile], keyring: Keyring | None, access: Access, now_ns: int) -> Iterator[str]:
    """The problems of entries, by the names of `_TROUBLES`; their headers are not authenticated."""
    soon_ns = now_ns + int(_SKEW * 1e9)
    for item in items:
        try:
            with open(item.path, "rb", opener=lambda path, flags: os.open(path, flags | SAFE_FLAGS)) as file:
                if not access.shared and os.fstat(file.fileno()).st_uid != our_uid():
                    yield "owner"
                    continue
                header = streams.header_of(file.read, item.length)
        except FileNotFoundError:
            continue  # evicted meanwhile
        except (OSError, Miss):
            yield "damaged"
            continue
        if keyring is not None and header.key_id not in keyring.keys:
            yield "foreign"
        if header.created_ns > soon_ns or item.used_ns > soon_ns:
            yield "future"


def _leftovers(store: LocalStore, keyring: Keyring | None) -> Iterator[Finding]:
    claims = sum(owner.is_dead() for claimed in store.claims() if (owner := store.owner(claimed, keyring)))
    files = sum(1 for _ in registry.paths(functions_folder(store.root), temporary=True))
    if claims or files:
        text = f"{claims + files} were left by processes that were killed; they do no harm"
        yield Finding("leftovers", "note", text, "pcache verify --repair")
    else:
        yield Finding("leftovers", "ok", "none")


def _ledger(root: str, keyring: Keyring | None) -> Iterator[Finding]:
    folder = ledger_folder(root)
    path = os.path.join(folder, "counters")
    if os.path.lexists(path) and not os.access(path, os.R_OK | os.W_OK):
        yield Finding("statistics", "note", f"{path} is not yours to read and write", f"chmod u+rw {shlex.quote(path)}")
        return
    reading = ledger.read(root, keyring)
    hours = {hour for hour, _, _ in reading.amounts}
    if reading.damaged:
        text = f"counts in {reading.damaged} places are damaged, or sealed with a key that is not here"
        yield Finding("statistics", "note", text, "pcache stats --zero, to start the counters again")
    elif hours and max(hours) * HOUR > time.time() + HOUR:
        yield Finding("statistics", "note", "calls were counted in the future: a clock was set back")
    else:
        text = f"{len(reading.amounts):,} numbers by hour and function" if hours else "nothing counted yet"
        yield Finding("statistics", "ok", text)
