"""The directory: what is made in it, what is refused, what is listed and what is swept."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, DirectoryError, StoreWarning
from pcache.entry import mtime
from pcache.layout import shard_in
from pcache.signing import seal
from pcache.storage.claim import remove_leftover
from pcache.storage.claim_owner import owner_record
from pcache.storage.local import LocalStore
from pcache.storage.root import check_root, is_ours, make_root, require_ours
from pcache.storage.shards import entries_in
from pcache.storage.store import name_of
from pcache.system import notices
from pcache.system.directories import OpenFolder
from pcache.system.permissions import Access
from tests.support.processes import KEY, OTHER_RING, RING, Talker, address_of, claims_below, place_of, run

OWNER = owner_record("module:f", RING)


def double(n: int) -> int:
    return 2 * n


def cache_at(path: Path) -> Cache:
    return Cache(path, signing_key=KEY)


def address_in(cache: Cache, n: int = 1) -> Any:
    return address_of(cache.cached(double), n)


def path_in(cache: Cache, n: int = 1) -> str:
    return place_of(cache.cached(double), n)


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o000, 0o077])
def test_everything_is_private(tmp_path: Path, umask: int) -> None:
    """Whatever the umask, directories have mode 0700 and files 0600, and the second call hits."""
    old = os.umask(umask)
    try:
        cached = cache_at(tmp_path / "new" / "cache").cached(double)
        assert cached(1) == cached(1) == 2
    finally:
        os.umask(old)
    assert cached.cache_info()[:2] == (1, 1)
    root = tmp_path / "new" / "cache"
    for path in [root, *root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_directory_says_what_it_is(tmp_path: Path) -> None:
    """Nothing is made before the first result; then there are the tag, an ignore file and the entry."""
    cache = cache_at(tmp_path / "cache")
    cached = cache.cached(double)
    assert not cached.exists(1)
    assert not (tmp_path / "cache").exists()
    cached(1)
    path = path_in(cache)
    shard = os.path.basename(os.path.dirname(path))
    assert set(tree(tmp_path / "cache")) == {
        *("CACHEDIR.TAG", ".gitignore", "v1", "v1/entries", f"v1/entries/{shard}", "v1/functions"),
        *("v1/ledger", "v1/ledger/counters"),
        f"v1/entries/{shard}/{os.path.basename(path)}",
        f"v1/functions/{cached.function_id}.{seal.mark(b'function', cached.function_id, KEY)}.json",
    }
    text = (tmp_path / "cache" / "CACHEDIR.TAG").read_text()
    assert text.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    assert (tmp_path / "cache" / ".gitignore").read_text() == "*\n"


def a_file(path: Path) -> None:
    path.write_text("precious")


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("precious")


def a_symlink(path: Path) -> None:
    path.with_name("there").mkdir(mode=0o700)
    path.symlink_to("there")


def writable_by_others(path: Path) -> None:
    path.mkdir()
    path.chmod(0o707)


def writable_by_the_group(path: Path) -> None:
    path.mkdir()
    path.chmod(0o770)


def with_other_things(path: Path) -> None:
    path.mkdir(mode=0o700)
    (path / "thesis.tex").write_text("precious")


def with_another_tag(path: Path) -> None:
    with_other_things(path)
    (path / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# of another program\n")


ROOTS = {
    "file": (a_file, "is a file"),
    "os": (below_a_file, "is below a file"),
    "symlink": (a_symlink, "is a symbolic link"),
    "writable by others": (writable_by_others, "run: chmod 700"),
    "writable by others, the group": (writable_by_the_group, "run: chmod 700"),
    "not ours": (with_other_things, "holds other things"),
    "not ours, but tagged": (with_another_tag, "holds other things"),
}


@pytest.mark.parametrize("name", ROOTS)
def test_roots_that_are_refused(tmp_path: Path, name: str) -> None:
    """What cannot be a cache directory is refused with the path and the way out, and left as it was."""
    make, message = ROOTS[name]
    root = tmp_path / "parent" / "root"
    root.parent.mkdir(mode=0o700)
    make(root)
    before = tree(tmp_path)
    with pytest.raises(DirectoryError, match=message) as caught:
        cache_at(root)
    assert caught.value.reason == name.partition(",")[0]
    assert caught.value.path == str(root)
    assert tree(tmp_path) == before


def test_a_root_that_goes_bad_later(tmp_path: Path) -> None:
    """When the directory becomes a file, or is swapped for a link, functions work and nothing is written there."""
    notices.forget()
    cache = cache_at(tmp_path / "cache")
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "cache").symlink_to("there")
    with pytest.warns(StoreWarning, match="is a symbolic link") as caught:
        assert [cache.cached(double)(n) for n in (1, 1, 2)] == [2, 2, 4]
    assert len(caught) == 1
    assert tree(tmp_path / "there") == []


@pytest.mark.parametrize("which", ["v1", "v1/entries", "shard"])
@pytest.mark.parametrize("ask", ["call", "refresh", "put", "clear"])
def test_links_inside_are_refused(tmp_path: Path, which: str, ask: str) -> None:
    """A link in place of a directory of ours is neither read nor written nor cleared through; the function works."""
    notices.forget()
    cache = cache_at(tmp_path / "cache")
    cache.cached(double)(1)
    folder = Path(path_in(cache)).parent if which == "shard" else Path(cache.location, which)
    folder.rename(tmp_path / "there")
    folder.symlink_to(tmp_path / "there")
    before = {path: path.read_bytes() for path in (tmp_path / "there").rglob("*") if path.is_file()}
    cache = cache_at(tmp_path / "cache")  # which has looked at nothing yet
    cached = cache.cached(double)
    if ask == "clear":
        try:
            cache.clear()
        except DirectoryError:
            pass  # refusing is as good as finding nothing
    else:
        with pytest.warns(StoreWarning, match="symbolic link"):
            assert {"call": cached, "refresh": cached.refresh, "put": lambda n: cached.put(5, n) or 2}[ask](1) == 2
    assert {path: path.read_bytes() for path in (tmp_path / "there").rglob("*") if path.is_file()} == before


def test_a_shard_that_others_can_write_to_is_not_read(tmp_path: Path) -> None:
    """An open shard is refused with a message that says how to close it."""
    notices.forget()
    cache_at(tmp_path / "cache").cached(double)(1)
    cache = cache_at(tmp_path / "cache")
    os.chmod(os.path.dirname(path_in(cache)), 0o777)
    with pytest.warns(StoreWarning, match="run: chmod 700"):
        assert cache.cached(double)(1) == 2
    assert cache.cached(double).cache_info().hits == 0


CUT_TAG = """
import resource
from pcache.system import notices
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), hard))
import warnings; warnings.simplefilter("ignore")
say(cache.cached(lambda n: 2 * n)(1))
"""


@pytest.mark.parametrize("size", [0, 20])
def test_a_tag_that_was_cut_is_completed(tmp_path: Path, size: int) -> None:
    """A disk that was full when the directory was made does not leave one that can never be cleared."""
    assert run(CUT_TAG, tmp_path / "cache", size) == ["2"]
    cache = cache_at(tmp_path / "cache")
    cache.cached(double)(1)
    assert is_ours(cache.location)
    assert cache.clear().entries == 1


def test_a_completed_tag_is_that_of_a_new_directory(tmp_path: Path) -> None:
    """What a kill cut is written again from its start; whole files and those of others stay as they are."""
    texts = {}
    for name, cut in (("new", None), ("cut", 30), ("another's", "Signature: of another program\n")):
        root = tmp_path / name
        if cut is not None:
            root.mkdir(mode=0o700)
            (root / "CACHEDIR.TAG").write_text(texts["new"][:cut] if isinstance(cut, int) else cut)
        for _ in range(2):
            make_root(str(root))
        texts[name] = (root / "CACHEDIR.TAG").read_text()
        assert sorted(os.listdir(root)) == [".gitignore", "CACHEDIR.TAG"]
    assert texts["cut"] == texts["new"]
    assert texts["another's"] == "Signature: of another program\n"
    assert [is_ours(str(tmp_path / name)) for name in texts] == [True, True, False]


def test_what_makes_a_root_ours(tmp_path: Path) -> None:
    """Its tag, which is a file there and no link, whatever else lies beside it; a root of everybody is nobody's."""
    root = tmp_path / "cache"
    root.mkdir(mode=0o700)
    assert not require_ours(str(root))  # somebody may be making it just now
    make_root(str(root))
    (root / "notes").write_text("mine")
    assert check_root(str(root))
    tag = root / "CACHEDIR.TAG"
    os.utime(tag, (0, 0))
    make_root(str(root))
    assert os.stat(tag).st_mtime == 0
    (root / "v1").mkdir(mode=0o700)
    root.chmod(0o777)
    for refused in (make_root, require_ours):
        with pytest.raises(DirectoryError, match="run: chmod 700"):
            refused(str(root))
    tag.rename(tmp_path / "tag")
    tag.symlink_to(tmp_path / "tag")
    assert not is_ours(str(root))


def test_a_linked_tag_is_not_written_through(tmp_path: Path) -> None:
    """A link in the tag's place gives way to the tag, and what it points to stays as it is."""
    (tmp_path / "precious").write_text("")
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / "CACHEDIR.TAG").symlink_to(tmp_path / "precious")
    assert cache_at(tmp_path / "cache").cached(double)(1) == 2
    assert (tmp_path / "precious").read_text() == ""
    assert not (tmp_path / "cache" / "CACHEDIR.TAG").is_symlink()


def test_looking_at_directories_leaves_no_descriptor_open(tmp_path: Path) -> None:
    """Tags are read and written, and closed again."""
    before = len(os.listdir("/proc/self/fd"))
    make_root(str(tmp_path / "cache"))
    assert check_root(str(tmp_path / "cache"))
    assert not check_root(str(tmp_path / "nothing"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_link_in_place_of_the_functions_is_not_cleared_through(tmp_path: Path) -> None:
    """What is removed lies below folders that are ours, each of which is looked at."""
    cache = cache_at(tmp_path / "cache")
    assert not require_ours(str(tmp_path / "cache"))
    cache.cached(double)(1)
    assert require_ours(cache.location)
    for folder in ("functions", "entries", ""):
        place = Path(cache.location, "v1", folder)
        place.rename(tmp_path / "there")
        place.symlink_to(tmp_path / "there")
        with pytest.raises(DirectoryError) as caught:
            require_ours(cache.location)
        assert (caught.value.reason, caught.value.path) == ("symlink", str(place))
        place.unlink()
        (tmp_path / "there").rename(place)


def test_clearing_needs_the_tag(tmp_path: Path) -> None:
    """Without our tag nothing is removed; the root and what is not ours stay in any case."""
    cache = cache_at(tmp_path / "cache")
    cache.cached(double)(1)
    shard = Path(path_in(cache)).parent
    for stranger in (shard / "notes.txt", shard / ("A" * 16 + "-" + "b" * 40), Path(cache.location, "v1", "mine")):
        stranger.write_text("precious")
    tag = Path(cache.location, "CACHEDIR.TAG")
    text = tag.read_text()
    tag.unlink()
    for remove in (cache.clear, lambda: cache.evict(max_entries=0), lambda: cache.verify(repair=True)):
        with pytest.raises(DirectoryError, match="does not carry the tag"):
            remove()
    tag.write_text(text)
    assert cache.clear().entries == 1
    assert len(list(Path(cache.location).rglob("*"))) >= 6
    assert (shard / "notes.txt").read_text() == "precious"


def leftovers(cache: Cache) -> list[Path]:
    """Claim files as killed processes leave them: empty, with a record, with half an entry, in another's shard."""
    made = []
    for number, content in enumerate((b"", b'{"host": "x"}', b"PCACHE\0\1" + os.urandom(5000))):
        path = Path(cache.flow.store.place(name_of("f" * 16, f"{number:02d}" + "a" * 38)) + ".claim")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(content)
        made.append(path)
    return made


@pytest.mark.parametrize("how", ["clear", "evict", "verify"])
def test_leftover_claims_are_swept(tmp_path: Path, how: str) -> None:
    """Claims that nobody holds go with `clear`, `evict` and `verify(repair=True)`; one held only with `clear`."""
    cache = cache_at(tmp_path / "cache")
    cache.cached(double)(1)
    leftovers(cache)
    held = cache.flow.store.claim(name_of("f" * 16, "e" * 40), OWNER)
    assert held is not None
    old = Path(cache.flow.store.place(name_of("f" * 16, "d" * 40)) + ".claim-0badcafe")
    old.parent.mkdir(mode=0o700)
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    {"clear": cache.clear, "evict": cache.evict, "verify": lambda: cache.verify(repair=True)}[how]()
    assert claims_below(cache.location) == [os.path.basename(held.path)] * (how != "clear")
    held.abandon()


def test_a_sweep_counts_what_it_removes(tmp_path: Path) -> None:
    """Claims of network file systems cannot be locked, and go after a day; what cannot be removed stops no sweep."""
    store = LocalStore(str(tmp_path / "cache"), network=True)
    assert (store.sweep(), store.shards(), store.count()) == (0, [], 0)
    now = time.time()
    for shard, age in (("aa", 25), ("bb", 23), ("cc", 0)):
        path = Path(store.place(name_of("f" * 16, shard + "0" * 38)) + ".claim-0badcafe")
        path.parent.mkdir(mode=0o700, parents=True)
        path.write_bytes(b"")
        os.utime(path, (now, now - age * 3600))
    for shard in ("aa", "cc"):
        Path(store.place(name_of("f" * 16, shard + "1" * 38)) + ".claim").write_bytes(b"")
    os.mkdir(store.place(name_of("0" * 16, "a" * 40)) + ".claim")
    held = LocalStore(store.root).claim(name_of("f" * 16, "dd" + "0" * 38), OWNER)
    assert held is not None
    for stranger in ("zz", "a", "aaa"):
        os.mkdir(os.path.join(store.entries, stranger))
    entry = store.place(name_of("f" * 16, "bb" + "2" * 38))
    Path(entry).write_bytes(b"")
    os.utime(entry, (0, 0))
    assert (store.shards(), store.count()) == (["aa", "bb", "cc", "dd"], 8)
    assert store.sweep() == 4
    assert len(claims_below(tmp_path)) == 3
    assert os.path.exists(entry)  # however old it is
    assert [shard_in(claimed.name) for claimed in store.claims(["bb", "dd", "ee"])] == ["bb", "dd"]
    held.abandon()


def test_on_a_network_no_claim_excludes_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two may compute one result there, and a lookup for what another published lists its shard first."""
    listed = []
    monkeypatch.setattr(os, "listdir", lambda path, real=os.listdir: (listed.append(path), real(path))[1])
    for network, held in ((True, 2), (False, 1)):
        store = LocalStore(str(tmp_path / f"cache {network}"), network=network)
        name = name_of("f" * 16, "a" * 40)
        assert store.network is network
        listed.clear()
        assert not store.is_there(name)
        assert listed == [os.path.dirname(store.place(name))] * network
        claims = [claim for claim in (store.claim(name, OWNER), store.claim(name, OWNER)) if claim is not None]
        assert len(claims) == held
        claims += [store.private_claim(name, OWNER)]
        for claim in claims:
            claim.abandon()
        assert claims_below(store.root) == []
    assert LocalStore(str(tmp_path / "local")).network is False


def test_verify_without_repair_touches_nothing(tmp_path: Path) -> None:
    """Looking only reports."""
    cache = cache_at(tmp_path / "cache")
    cache.cached(double)(1)
    made = leftovers(cache)
    assert cache.verify().leftovers == 0
    assert all(path.exists() for path in made)
    assert cache.verify(repair=True).leftovers == 3


def test_scan_lists_entries_only(tmp_path: Path) -> None:
    """Names that are not of the pattern, claims, links and directories are no entries."""
    cache = cache_at(tmp_path / "cache")
    cached = cache.cached(double)
    for n in range(20):
        cached(n)
    os.truncate(path_in(cache, 3), 4097)
    leftovers(cache)
    shard = Path(path_in(cache)).parent
    (shard / ("0" * 16 + "-" + "c" * 40)).mkdir()
    (shard / ("0" * 16 + "-" + "c" * 39)).write_text("")
    (shard / ("0" * 16 + "-" + "c" * 40 + "\n")).write_text("")
    Path(cache.flow.store.entries, "zz").mkdir()
    Path(cache.flow.store.entries, "file").write_text("")
    found = list(cache.flow.store.scan())
    assert {item.path for item in found} == {path_in(cache, n) for n in range(20)}
    assert all(item.length == os.path.getsize(item.path) and item.function_id == cached.function_id for item in found)
    assert all(item.path.endswith(f"/{item.key[:2]}/{item.function_id}-{item.key}") for item in found)
    shards = sorted({item.key[:2] for item in found})
    assert {item.key[:2] for item in cache.flow.store.scan(shards[:3])} == set(shards[:3])
    blocks = {item.path: item.size // 4096 for item in found if item.size % 4096 == 0}
    assert blocks == {item.path: 2 if item.length == 4097 else 1 for item in found}
    assert list(LocalStore(str(tmp_path / "nothing")).scan()) == []


def test_scan_goes_on_whatever_it_meets(tmp_path: Path) -> None:
    """Strangers, directories, links, and files that go meanwhile, among entries of one shard."""
    store = LocalStore(str(tmp_path / "cache"))
    paths = [Path(store.place(name_of("f" * 16, f"aa{number:038}"))) for number in range(18)]
    paths[0].parent.mkdir(mode=0o700, parents=True)
    for path, folder, stranger in zip(paths[:6], paths[6:12], paths[12:], strict=True):
        path.write_bytes(b"")
        folder.mkdir()
        stranger.with_name("stranger " + stranger.name).write_bytes(b"")
    assert {item.path for item in store.scan()} == set(map(str, paths[:6]))
    Path(store.entries, "cc").write_text("")
    for shard in ("bb", "cc"):  # nothing, and a file
        assert list(store.scan([shard])) == list(store.claims([shard])) == []
    paths[0].unlink()
    paths[0].symlink_to("nowhere")
    (item,) = (item for item in store.scan() if item.path == str(paths[0]))
    assert (item.length, item.key, item.function_id) == (len("nowhere"), "aa" + "0" * 38, "f" * 16)
    files = [Path(store.place(name_of("f" * 16, f"bb{number:038}"))) for number in range(6)]
    files[0].parent.mkdir(mode=0o700)
    for path in files:
        path.write_bytes(b"")

    class NotNow(OpenFolder):
        def items(self) -> list[os.DirEntry[str]]:
            found = super().items()
            for path in files[:3]:
                path.unlink()
            return found

    opened = store.access.enter(store.root, f"{store.entries}/bb")
    assert opened is not None
    assert {item.path for item in entries_in(NotNow(*opened))} == set(map(str, files[3:]))
    os.close(opened.fd)


def test_results_put_within_a_tick_of_the_clock(tmp_path: Path) -> None:
    """A result that replaced another at once is the one that is found, though inode, size and time may be the same."""
    cache = cache_at(tmp_path / "cache")
    cached, path = cache.cached(double), path_in(cache, 5)
    for _ in range(20):
        cached.put(1, 5)
        written = os.stat(path).st_mtime_ns
        assert cached.get(5) == 1
        cached.put(2, 5)
        cached.put(3, 5)
        os.utime(path, ns=(written, written))  # as with a clock of a few milliseconds, which many kernels have
        assert cached.get(5) == 3


TWO_PUTS = """
from tests_double import double
cached = cache.cached(double)
while hear().strip():
    cached.put(2, 5), cached.put(3, 5)
    say("put")
"""


def test_results_that_another_process_put_within_a_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process remembers of an entry never outlives its replacement by another one."""
    (tmp_path / "tests_double.py").write_text("def double(n):\n    return 2 * n\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import tests_double  # type: ignore[import-not-found]

    child = Talker(f"sys.path.insert(0, {str(tmp_path)!r})\n" + TWO_PUTS, tmp_path / "cache")
    cached = cache_at(tmp_path / "cache").cached(tests_double.double)
    for _ in range(300):
        cached.put(1, 5)
        assert cached.get(5) == 1
        child.say("go")
        assert child.hear() == "put"
        assert cached.get(5) == 3
    child.finish()


def test_recency_is_kept_to_the_minute(tmp_path: Path) -> None:
    """A hit touches an entry that was not used for a minute, and writes nothing to one that was."""
    cache = cache_at(tmp_path / "cache")
    cached, path = cache.cached(double), path_in(cache)
    cached(1)
    recent = os.stat(path).st_mtime_ns - 50 * 10**9
    os.utime(path, ns=(recent, recent))
    cached(1)
    assert os.stat(path).st_mtime_ns == recent
    os.utime(path, ns=(recent, recent - 15 * 10**9))
    cached(1)
    assert os.stat(path).st_mtime_ns > recent + 40 * 10**9


def test_uses_are_counted(tmp_path: Path) -> None:
    """Each touch counts one use more, with cost and end of the entry as they were."""
    cache = cache_at(tmp_path / "cache")
    cached, path = cache.cached(double), path_in(cache)
    cached(1)
    stored = mtime.unpack(os.stat(path).st_mtime_ns)
    for uses in (2, 3, 4):
        old = mtime.unpack(os.stat(path).st_mtime_ns)
        before = mtime.pack(mtime.Stamp(old.used_ns - 70 * 10**9, old.cost_ns, old.expires_ns, old.uses))
        os.utime(path, ns=(before, before))
        cached(1)
        touched = mtime.unpack(os.stat(path).st_mtime_ns)
        assert (touched.uses, touched.cost_ns, touched.expires_ns) == (uses, stored.cost_ns, stored.expires_ns)


def test_touching_what_was_swapped(tmp_path: Path) -> None:
    """An entry that became a link, or went, since it was read: nobody else's file is touched, and nothing raised."""
    cache = cache_at(tmp_path / "cache")
    cache.cached(double)(1)
    store, path = cache.flow.store, path_in(cache)
    loaded = store.read(address_in(cache), RING, "once")
    (tmp_path / "precious").write_text("")
    os.utime(tmp_path / "precious", (0, 0))
    os.unlink(path)
    store._touch(path, loaded, time.time_ns())
    os.symlink(tmp_path / "precious", path)
    store._touch(path, loaded, time.time_ns())
    assert os.stat(tmp_path / "precious").st_mtime == 0


def test_a_shard_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads or writes there again in this process does not look at the directories again."""
    cache = cache_at(tmp_path / "cache")
    cached = cache.cached(double)
    cache.flow.store.hold(0)  # each hit reads
    looked: list[str] = []
    monkeypatch.setattr(os, "lstat", lambda path, real=os.lstat: (looked.append(str(path)), real(path))[1])
    assert cached(1) == cached(1) == 2  # the first of them made it
    assert cache.flow.store.entries in looked
    for again in (cached, cached.refresh):
        looked.clear()
        again(1)
        assert [path for path in looked if os.path.isdir(path)] == []


TOUCHED = """
import time
from pcache.entry import reader
from pcache.entry.reader import _verified
from pcache.storage import recent
reader.TICK_NS = recent._COARSE_TICK_NS = 0  # the files are new, and nobody else changes them
from tests.support.processes import Block
small, large = cache.cached(lambda n: n + 1), cache.cached(lambda n: Block(os.urandom(300_000)))
small(1), large(1)
paths = {info.size > 300_000: info.path for info in cache.entries()}
opened = []
sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event == "open" else None)
for path in paths.values():
    os.utime(path, ns=(0, time.time_ns() - 70 * 10**9))
small(1), large(1)
say(opened.count(paths[False]), [time.time() - os.stat(path).st_mtime < 10 for path in paths.values()])
touched = os.stat(paths[False]).st_mtime_ns
small(1)
status = os.stat(paths[True])
say(opened.count(paths[False]), os.stat(paths[False]).st_mtime_ns == touched)
say((status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns) in _verified)
"""


def test_a_touched_entry_is_known_again(tmp_path: Path) -> None:
    """Noting the use of an entry is no reason to read a small one, or to check the buffers of a mapped one, again."""
    assert run(TOUCHED, tmp_path / "cache") == ["1 [True, True]", "1 True", "True"]


IN_FLIGHT = """
def slow(n):
    say("computing")
    hear()
    return n
cache.cached(slow)(1)
"""


def test_what_is_being_computed(tmp_path: Path) -> None:
    """While a process computes, others see what and who; when it was killed they do not."""
    child = Talker(IN_FLIGHT, tmp_path / "cache")
    child.hear()
    (flight,) = cache_at(tmp_path / "cache").stats().in_flight
    assert (flight.function, flight.pid) == ("__main__:slow", child.pid)
    child.kill()
    assert cache_at(tmp_path / "cache").stats().in_flight == ()
    assert cache_at(tmp_path / "cache").clear().entries == 0
    assert claims_below(tmp_path / "cache") == []


READ_ONLY = """
import json, logging, warnings, filelock, backports.zstd
from pcache.entry import writer, pickling
from pcache.versions import registry
from pcache.objects import summary
from pcache.system import notices
def double(n):
    return 2 * n
cached = cache.cached(double)
cached(1)
for folder, _, _ in os.walk(sys.argv[1]):
    os.chmod(folder, 0o500)
if os.getuid() == 0:
    for folder, _, files in os.walk(sys.argv[1]):
        for name in [folder, *(os.path.join(folder, name) for name in files)]:
            os.chown(name, 65534, 65534)
    os.chmod(os.path.dirname(sys.argv[1]), 0o755)
    root = os.open(sys.argv[1], os.O_RDONLY)
    os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    say(cached(1), cached(2), cached(2), cached(3), cached.put(5, 5), cached.refresh(1), cached.cache_info()[:2])
say(len(caught), caught[0].message)
"""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the script loads backports.zstd before it gives up its rights")
def test_a_read_only_directory(own_home: Path) -> None:
    """Without the right to write, stored results hit, others are computed, and one warning says so."""
    place = "/tmp" if os.getuid() == 0 else str(own_home)  # parents that an ordinary user may enter
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(dir=place)
    try:
        values, warning = run(READ_ONLY, os.path.join(folder, "cache"))
    finally:
        for path, _, _ in os.walk(folder):
            os.chmod(path, 0o700)
        shutil.rmtree(folder)
    assert values == "2 4 4 6 False 2 (1, 5)"
    assert warning.startswith("1 results cannot be stored in ")
    assert "Permission denied" in warning


def test_a_folder_in_the_place_of_the_tag(tmp_path: Path) -> None:
    """A tag that cannot be read is none: results are found and stored all the same, and nothing is cleared."""
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    cache.cached(abs)(-1)
    tag = tmp_path / "cache" / "CACHEDIR.TAG"
    tag.unlink()
    tag.mkdir()
    again = Cache(tmp_path / "cache", signing_key=KEY)
    assert again.cached(abs).get(-1) == 1
    with pytest.raises(DirectoryError):
        again.clear()


def test_a_use_to_come_is_set_right(tmp_path: Path) -> None:
    """A hit notes a use when the last one lies in the future: a clock was wrong then."""
    cache = Cache(tmp_path / "cache")
    cached = cache.cached(abs)
    cached(-1)
    path = place_of(cached, -1)
    ahead = time.time() + 3650 * 86400
    os.utime(path, (ahead, ahead))
    assert cached(-1) == 1
    assert abs(os.stat(path).st_mtime - time.time()) < 60


def interrupted(*_arguments: object, **_options: object) -> None:
    raise TimeoutError  # as a handler of a signal raises it: an `OSError` that is none of the system's


@pytest.mark.parametrize("name", ["lstat", "utime", "listdir", "stat", "open"])
def test_a_timeout_is_no_error_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What a signal handler raises in the middle of looking, touching, listing or sweeping goes on to the caller."""
    cache = cache_at(tmp_path / "cache")
    cached = cache.cached(double)
    cached(1)
    store, path = LocalStore(cache.location, network=True), place_of(cached, 1)
    Path(path + ".claim-0badcafe").write_bytes(b"")
    os.utime(path, (0, 0))
    acts: dict[str, object] = {
        "lstat": lambda: LocalStore(cache.location),
        "utime": lambda: cached.get(1),
        "listdir": lambda: store.is_there(address_of(cached, 1).name),
        "stat": store.sweep,
        "open": lambda: is_ours(cache.location),
    }
    monkeypatch.setattr(os, name, interrupted)
    with pytest.raises(TimeoutError):
        acts[name]()  # type: ignore[operator]


def test_a_timeout_while_the_root_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for a disk that has no room for what nothing rests on."""
    opened = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest: interrupted() if str(path).endswith(".gitignore") else opened(path, *rest)
    )
    with pytest.raises(TimeoutError):
        make_root(str(tmp_path / "cache"))


def test_a_root_that_cannot_be_looked_at_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store is made all the same, and who uses it looks again; what will never be a directory is refused at once."""
    lstat = os.lstat

    def failing(path: str) -> os.stat_result:
        if str(path) == str(tmp_path / "cache"):
            raise OSError(errno.EIO, "Input/output error", path)
        return lstat(path)

    monkeypatch.setattr(os, "lstat", failing)
    assert LocalStore(str(tmp_path / "cache")).root == str(tmp_path / "cache")
    with pytest.raises(DirectoryError):
        LocalStore(str(tmp_path / ("x" * 300)))


def test_the_access_of_a_store_is_that_of_its_parts(tmp_path: Path) -> None:
    """A shared store uses a directory that its group can write to, and makes what is missing for the group."""
    root = tmp_path / "cache"
    root.mkdir()
    root.chmod(0o2770)
    store = LocalStore(str(root), access=Access(shared=True))
    held = store.claim(name_of("f" * 16, "a" * 40), OWNER)
    assert held is not None
    assert stat.S_IMODE(os.stat(held.path).st_mode) == 0o660
    again = store.claim(name_of("f" * 16, "a" * 39 + "b"), OWNER)  # where the shard is there already
    assert again is not None
    assert stat.S_IMODE(os.stat(again.path).st_mode) == 0o660
    held.abandon(), again.abandon()
    assert require_ours(str(root), Access(shared=True))
    with pytest.raises(DirectoryError):
        require_ours(str(root))


def test_private_claims_stay_while_their_owners_live(tmp_path: Path) -> None:
    """A sweep knows them by what they say, and asks who says it: without the key nobody does."""
    store = LocalStore(str(tmp_path / "cache"))
    held = store.private_claim(name_of("f" * 16, "a" * 40), OWNER)
    assert (remove_leftover(held.path, RING), store.sweep(keyring=RING)) == (False, 0)
    assert remove_leftover(held.path, OTHER_RING)
    assert not held.abandon()


def test_which_shards_there_are(tmp_path: Path) -> None:
    """Folders with the names of shards, below folders that are ours; none where there are none."""
    store = LocalStore(str(tmp_path / "cache"))
    make_root(store.root)
    assert store.shards() == []
    os.makedirs(store.entries, mode=0o700)
    for name in ("ab", "0f"):
        os.mkdir(f"{store.entries}/{name}")
    Path(store.entries, "aa").write_text("")
    os.symlink(tmp_path, f"{store.entries}/bb")
    (tmp_path / f"{'f' * 16}-{'b' * 40}").write_bytes(b"precious")
    assert store.shards() == ["0f", "ab"]
    assert list(store.scan(["bb"])) == []
    for folder in (store.entries, os.path.dirname(store.entries)):
        os.chmod(folder, 0o770)
        with pytest.raises(DirectoryError):
            store.shards()
        os.chmod(folder, 0o700)


def test_a_shard_that_was_not_there_is_looked_at_when_it_is(tmp_path: Path) -> None:
    """A miss for want of a folder says nothing of the folder that somebody makes then."""
    cache = cache_at(tmp_path / "cache")
    cached = cache.cached(double)
    make_root(cache.location)
    path = Path(place_of(cached, 1))
    assert not cached.exists(1)
    path.parent.mkdir(parents=True, mode=0o700)
    path.parent.chmod(0o770)
    with pytest.raises(DirectoryError):
        cache.flow.store.claim(address_of(cached, 1).name, OWNER)


@pytest.mark.parametrize("name", ["CACHEDIR.TAG", ".gitignore"])
def test_files_of_the_root_that_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whether a directory is ours is unknown while its tag cannot be read; on the other file nothing rests."""
    opened = os.open

    def failing(path: str, *rest: int) -> int:
        if str(path).endswith(name):
            raise OSError(errno.EIO, "Input/output error", path)
        return opened(path, *rest)

    if name == "CACHEDIR.TAG":
        make_root(str(tmp_path / "cache"))
    monkeypatch.setattr(os, "open", failing)
    if name == "CACHEDIR.TAG":
        with pytest.raises(OSError, match="Input/output error"):
            is_ours(str(tmp_path / "cache"))
    else:
        make_root(str(tmp_path / "cache"))
        assert is_ours(str(tmp_path / "cache"))


def test_the_tag_is_made_once_and_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written through to the disk, and anew after a power cut that left zeros or half of it; nothing else is."""
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))))
    root, tag = str(tmp_path / "cache"), tmp_path / "cache" / "CACHEDIR.TAG"
    make_root(root)
    assert synced == ["CACHEDIR.TAG"]
    whole = tag.read_bytes()
    for left in (bytes(len(whole)), whole[:20], whole[:20] + bytes(100), b""):
        tag.write_bytes(left)
        make_root(root)
        assert tag.read_bytes() == whole
    make_root(root)
    assert synced == ["CACHEDIR.TAG"] * 5


def test_a_tag_that_was_taken_is_made_again(tmp_path: Path) -> None:
    """What removes old files may take the tag; a directory of nothing but ours is cleared, and has it again."""
    cache = cache_at(tmp_path / "cache")
    tag = Path(cache.location, "CACHEDIR.TAG")
    for act in (lambda: cache.clear().entries, lambda: cache.evict(max_entries=0).entries):
        cache_at(tmp_path / "cache").cached(double)(1)
        text = tag.read_bytes()
        tag.unlink()
        assert cache.clear(dry_run=True).entries == 1
        assert not tag.exists()
        assert act() == 1
        assert tag.read_bytes() == text
    tag.unlink()
    assert cache.clear().entries == 0  # nothing but empty folders is left
    tag.unlink()
    cache_at(tmp_path / "cache").cached(double)(2)  # the first result of a process
    assert tag.read_bytes() == text


@pytest.mark.parametrize("age", [0, 3600, 23 * 3600, 25 * 3600, 90 * 86400, -2 * 86400])
def test_the_tag_looks_used(tmp_path: Path, age: float) -> None:
    """A process that stores touches it, where that was a day ago: so it is not taken for an old file."""
    cache_at(tmp_path / "cache").cached(double)(1)
    tag, now = tmp_path / "cache" / "CACHEDIR.TAG", time.time()
    os.utime(tag, (now - age, now - age))
    cached = cache_at(tmp_path / "cache").cached(double)
    cached(1)  # a hit writes nothing
    assert os.stat(tag).st_mtime == pytest.approx(now - age, abs=1)
    cached(2)
    assert os.stat(tag).st_mtime == pytest.approx(now if abs(age) > 86400 else now - age, abs=10)


def test_a_second_name_of_a_file_is_not_touched_as_the_tag(tmp_path: Path) -> None:
    """A hard link in its place gives way, and the file keeps its time."""
    cache_at(tmp_path / "cache").cached(double)(1)
    tag, precious = tmp_path / "cache" / "CACHEDIR.TAG", tmp_path / "precious"
    tag.rename(precious)
    os.utime(precious, (1, 1))
    os.link(precious, tag)
    cache_at(tmp_path / "cache").cached(double)(2)
    assert os.stat(precious).st_mtime == 1
    assert os.stat(precious).st_nlink == os.stat(tag).st_nlink == 1


FOREIGN = {
    "a file beside our folders": "v1/notes.txt",
    "a folder beside our folders": "v1/mine/notes.txt",
    "a file beside the shards": "v1/entries/notes.txt",
    "a folder beside the shards": "v1/entries/photos/notes.txt",
    "only files of another kind": "v1/entries/ab/notes.txt",
    "a name of ours in another's shard": f"v1/entries/ab/{'0' * 16}-cd{'0' * 38}",
    "a file beside the registry": "v1/functions/notes.json",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_folder_is_never_cleared(tmp_path: Path, what: str) -> None:
    """Without our tag, a folder that holds anything of another layout stays as it is."""
    root = tmp_path / "cache"
    path = root / FOREIGN[what]
    path.parent.mkdir(parents=True)
    for folder in (root, *root.rglob("*")):
        folder.chmod(0o700)
    path.write_text("precious")
    cache = cache_at(root)
    for remove in (cache.clear, lambda: cache.evict(max_entries=0), lambda: cache.verify(repair=True)):
        with pytest.raises(DirectoryError, match="does not carry the tag"):
            remove()
    assert [found for found in root.rglob("*") if found.is_file()] == [path]
