"""Files that count by their content: what is noticed of them, and when a result made from them is not stored."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pcache
from pcache import Cache, ConfigError, File, UnhashableArgument, register_key
from pcache.keys.names import module_name
from pcache.system import file_content
from tests.key_values import key_of, with_captured
from tests.support.running import run, write

OLD, NEW = "content A", "content B"
LONG_AGO = 1_000_000_000


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=bytes(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with an old time of modification."""
    made = tmp_path / "data.txt"
    made.write_text(OLD)
    os.utime(made, (LONG_AGO, LONG_AGO))
    return made


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files that were just written count as old ones."""
    monkeypatch.setattr(file_content, "_SETTLED_NS", -(10**10))


# A file's place in the memo


def anew(path: Path, text: str) -> None:
    """As `cp -p`, `tar` and `rsync -t` do: mostly with the inode of the file before."""
    path.unlink()
    path.write_text(text)


def in_place(path: Path, text: str) -> None:
    """As `rsync --inplace -t` does."""
    with path.open("r+") as file:
        file.write(text)


def renamed(path: Path, text: str) -> None:
    """As careful programs do."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


CHANGES: list[Callable[[Path, str], None]] = [anew, in_place, renamed]


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_content_with_the_old_size_and_time_is_read(
    cache: Cache, path: Path, change: Any, settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sets the time of modification back, of a file of the same length, does not hide its new content."""
    if settled:
        settle(monkeypatch)
    read = cache.cached(lambda file: Path(file).read_text())
    assert read(File(path)) == OLD
    time.sleep(0.02)  # one tick of the kernel's clock for file times
    change(path, NEW)
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert read(File(path)) == NEW


def test_an_untouched_file_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has not changed for a while is not read again, by whatever name; a young one is."""
    read: list[int] = []
    original = file_content.Content
    monkeypatch.setattr(file_content, "Content", lambda: read.append(1) or original())
    link = path.with_name("link")
    link.symlink_to(path)
    file_content.content_digest(str(path))
    file_content.content_digest(str(path))
    assert len(read) == 2
    settle(monkeypatch)
    assert len({file_content.content_digest(str(name)) for name in (path, link, path)}) == 1
    assert len(read) == 3


def test_files_of_unknown_length_are_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel makes up when it is read has no length and keeps its times."""
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("there is no /proc")
    settle(monkeypatch)
    assert not file_content.read("/proc/self/stat").settled


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "missing", "link to nothing", "circle"])
def test_what_is_no_file_is_refused(cache: Cache, tmp_path: Path, kind: str) -> None:
    """A FIFO is not waited for; it, folders and devices have no content to count by."""
    odd = tmp_path / "odd"
    if kind == "fifo":
        os.mkfifo(odd)
    elif kind == "folder":
        odd.mkdir()
    elif kind in ("device", "link to nothing", "circle"):
        odd.symlink_to({"device": "/dev/zero", "circle": odd}.get(kind, "/nowhere"))
    with pytest.raises(UnhashableArgument, match="odd"):
        cache.cached(lambda file: 1)(File(odd))
    if kind != "folder":
        with pytest.raises(ConfigError, match=r"depends_on=.*odd"):
            cache.cached(depends_on=[odd])(lambda: 1)


def test_an_empty_file_is_one(cache: Cache, path: Path) -> None:
    """Nothing is content, too."""
    read = cache.cached(lambda file: Path(file).read_text())
    path.write_text("")
    assert [read(File(path)), read.exists(File(path))] == ["", True]
    path.write_text("x")
    assert read(File(path)) == "x"


# While a result is computed


@dataclass
class Job:
    """What a file may lie in."""

    file: File


class Table:
    """A class that counts by a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __pcache_key__(self) -> object:
        return File(self.path)


class Foreign:
    """A class that something is registered for."""

    def __init__(self, path: Path) -> None:
        self.path = path


register_key(Foreign, lambda foreign: [File(foreign.path)])
CARRIERS: dict[str, Callable[[Path], Any]] = {
    "File": File,
    "list": lambda path: [1, {"a": (File(path),)}],
    "set": lambda path: {File(path), 1},
    "dataclass": lambda path: Job(File(path)),
    "own key": Table,
    "registered": lambda path: {"x": Foreign(path)},
    "function": lambda path: with_captured(File(path)),
}


def back_again(path: Path) -> None:
    renamed(path, NEW)
    renamed(path, OLD)


def swapped(path: Path) -> None:
    """The file itself is there again at the end, and another one was meanwhile."""
    kept = path.with_suffix(".kept")
    path.replace(kept)
    path.write_text(NEW)
    kept.replace(path)


def retargeted(path: Path) -> None:
    kept = path.with_suffix(".kept")
    path.replace(kept)
    path.symlink_to(kept)


MEANWHILE: dict[str, Callable[[Path], Any]] = {
    "anew": lambda path: anew(path, NEW),
    "in place": lambda path: in_place(path, NEW),
    "renamed": lambda path: renamed(path, NEW),
    "longer": lambda path: path.write_text(NEW * 2),
    "removed": Path.unlink,
    "back again": back_again,
    "swapped": swapped,
    "a link": retargeted,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a fifo": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_file_that_changes_meanwhile(
    cache: Cache, path: Path, meanwhile: str, settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is returned and not stored: it may be that of another content, even if this one is there again."""
    if settled:
        settle(monkeypatch)
    changes = [MEANWHILE[meanwhile]]

    @cache.cached
    def work(file: File) -> int:
        time.sleep(0.02)  # one tick of the kernel's clock for file times
        if changes:
            changes.pop()(path)
        return 1

    assert work(File(path)) == 1
    assert cache.stats().entries == 0


@pytest.mark.parametrize("way", ["now/table", "link", "first", "up/../now/table"])
@pytest.mark.parametrize("declared", [False, True])
def test_a_link_on_the_way_that_is_set_back(cache: Cache, tmp_path: Path, way: str, declared: bool) -> None:
    """The result may be that of the file which it led to meanwhile, though both files are untouched."""
    for name, text in (("one", OLD), ("two", NEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table").write_text(text)
    (tmp_path / "up").mkdir()
    (tmp_path / "link").symlink_to("now/table")
    (tmp_path / "first").symlink_to(tmp_path / "link")

    def lead_to(name: str) -> None:
        (tmp_path / "new").symlink_to(name)
        (tmp_path / "new").replace(tmp_path / "now")

    lead_to("one")
    file = File(tmp_path / way)

    @cache.cached(code="none", depends_on=[file] if declared else [])
    def work(given: File | None, name: str) -> str:
        lead_to(name)
        found = Path(file).read_text()
        lead_to("one")
        return found

    given = None if declared else file
    assert work(given, "two") == NEW
    assert not work.exists(given, "two")


@pytest.mark.parametrize("carrier", CARRIERS)
def test_wherever_the_file_lies(cache: Cache, path: Path, carrier: str) -> None:
    """A file inside of other values counts as one that is an argument: in keys, and while results are computed."""
    runs: list[str] = []

    @cache.cached(ignore=["new"])
    def work(value: object, new: str) -> str:
        path.write_text(new or path.read_text())
        runs.append(path.read_text())
        return runs[-1]

    make = CARRIERS[carrier]
    assert [work(make(path), NEW), cache.stats().entries] == [NEW, 0]
    assert [work.refresh(make(path), "other"), cache.stats().entries] == ["other", 0]

    @cache.cached
    def quiet(value: object) -> str:
        return path.read_text()

    quiet(make(path))
    renamed(path, OLD)
    assert [quiet(make(path)), quiet(make(path)), cache.stats().entries] == [OLD, OLD, 2]


def test_it_is_said_in_the_log(cache: Cache, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Results that are not stored for the sake of a file leave a line; `put` is given its result, and stores it."""
    caplog.set_level(logging.INFO, logger="pcache")

    @cache.cached
    def work(file: File) -> None:
        path.write_text(NEW)

    work(File(path))
    assert [record.levelname for record in caplog.records if "is not stored" in record.message] == ["INFO"]
    assert work.put(None, File(path))


def test_a_captured_file(cache: Cache, path: Path) -> None:
    """A file in a closure counts by the content that it has at each call."""
    file = File(path)

    @cache.cached
    def read() -> str:
        return Path(file).read_text()

    assert read() == OLD
    path.write_text(NEW)
    assert [read(), cache.stats().entries] == [NEW, 2]


# Declared ones

PROGRAM = """
    import sys
    from pathlib import Path
    import pcache
    TABLE = pcache.File("table")
    folder, kind = sys.argv[1:]
    table = Path("table")
    table.write_text("1")
    cache = pcache.Cache(folder)
    if kind == "declared":
        @cache.cached(depends_on=[table])
        def total(change=0): return work(change)
    elif kind == "version":
        @cache.cached(version=("a", TABLE))
        def total(change=0): return work(change)
    elif kind == "key":
        def as_it_is(change, table=TABLE): return change
        @cache.cached(key={"change": as_it_is})
        def total(change=0): return work(change)
    else:
        @cache.cached
        def total(change=0): return work(change), TABLE.path
    def work(change):
        if change:
            table.write_text(str(change))
        return table.read_text()
    print(total()[0], total()[0])
    table.write_text("2")
    print(total()[0], cache.stats().entries)
    table.unlink()
    try:
        total()
    except FileNotFoundError:
        print("gone", cache.stats().entries)
    table.write_text("1")
    print(total()[0], cache.stats().entries)
    print(total(5)[0], cache.stats().entries)
"""


@pytest.mark.parametrize("kind", ["declared", "constant", "version", "key"])
def test_a_declared_file_changes_while_the_program_runs(tmp_path: Path, kind: str) -> None:
    """A `File` in `depends_on`, `version`, a `key` function or a constant of the code is looked at with each call."""
    lines = run(write(tmp_path / "program.py", PROGRAM), tmp_path / "cache", kind)
    assert lines == ["1 1", "2 2", "gone 2", "1 2", "5 2"]


@pytest.mark.parametrize(
    "make",
    [str, os.fsencode, lambda path: [str(path)], lambda path: (1, path), lambda path: {"a": [str(path)]}],
)
def test_text_that_names_a_file(cache: Cache, path: Path, make: Any) -> None:
    """Text in `depends_on` counts as text: where it names a file, that was not what was meant."""
    with pytest.raises(ConfigError, match="Path or File"):
        cache.cached(depends_on=[make(path)])(len)


# Declared folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file in it, and one below."""
    write(tmp_path / "tables" / "one.csv", OLD)
    write(tmp_path / "tables" / "more" / "two.csv", OLD)
    return tmp_path / "tables"


@pytest.mark.parametrize(
    "change",
    {
        "a file": lambda folder: (folder / "one.csv").write_text(NEW),
        "a file below": lambda folder: (folder / "more" / "two.csv").write_text(NEW),
        "another file": lambda folder: write(folder / "more" / "three.csv", OLD),
        "a name": lambda folder: (folder / "one.csv").rename(folder / "uno.csv"),
        "a file less": lambda folder: (folder / "one.csv").unlink(),
        "a link to a folder": lambda folder: (folder / "link").symlink_to(folder / "more"),
        "no folder": lambda folder: folder.rename(folder.parent / "elsewhere"),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_declared_folder_changes(cache: Cache, folder: Path, change: tuple[str, Callable[[Path], object]]) -> None:
    """A folder in `depends_on` counts by the names and contents of all files below, looked at with each call."""
    total = cache.cached(depends_on=[folder])(lambda: len(runs.append(1) or runs))
    runs: list[int] = []
    assert [total(), total()] == [1, 1]
    change[1](folder)
    assert total() == 2


def test_what_does_not_count_of_a_folder(cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where it lies, nor times, empty folders, `__pycache__`, and links that lead back into it."""
    settle(monkeypatch)
    before = file_content.read_folder(str(folder)).digest
    os.utime(folder / "one.csv", (LONG_AGO, LONG_AGO))
    (folder / "empty").mkdir()
    write(folder / "__pycache__" / "one.pyc", "x")
    (folder / "more" / "back").symlink_to(folder)
    moved = folder.rename(folder.parent / "elsewhere")
    (moved / "more" / "back").unlink()
    (moved / "more" / "back").symlink_to(moved)
    assert file_content.read_folder(str(moved)).digest == before
    (moved / "one.csv").rename(moved / "more" / "one.csv")
    assert file_content.read_folder(str(moved)).digest != before


def test_a_folder_changes_while_a_result_is_computed(cache: Cache, folder: Path) -> None:
    """The result is returned and not stored, since nobody knows what the function has read."""

    @cache.cached(depends_on=[folder])
    def total(touched: str) -> str:
        (folder / touched).write_text(OLD)
        return (folder / "one.csv").read_text()

    assert total("more/two.csv") == OLD
    assert total("more/three.csv") == OLD
    assert cache.stats().entries == 0


def test_a_folder_with_links_to_nothing_and_a_fifo(cache: Cache, folder: Path) -> None:
    """What editors and programs leave lying about has no content, and is not waited for."""
    (folder / ".#one.csv").symlink_to("somebody@host:1")
    os.mkfifo(folder / "pipe")
    total = cache.cached(depends_on=[folder])(lambda: len(runs.append(1) or runs))
    runs: list[int] = []
    assert [total(), total()] == [1, 1]


def test_a_folder_of_too_many_files(cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 10,000 files are not read at each call: the message says so. One that grows later is computed for."""
    monkeypatch.setattr(file_content, "_MOST_FILES", 3)
    total = cache.cached(depends_on=[folder])(lambda: len(runs.append(1) or runs))
    runs: list[int] = []
    assert total() == 1
    for i in range(2):
        write(folder / f"{i}.csv", OLD)
    assert [total(), total()] == [2, 3]
    with pytest.raises(ConfigError, match="more than 3 files"):
        cache.cached(depends_on=[folder])(lambda: 1)


LATER = """
    import sys
    from pathlib import Path
    import pcache
    cache = pcache.Cache(sys.argv[1])
    helper = Path("late_helper.py")
    helper.write_text("def rate(): return 1")
    @cache.cached
    def work(edit):
        if edit:
            helper.write_text(f"def rate(): return {edit}")
        import late_helper
        return late_helper.rate()
    print(work(22), cache.stats().entries)
    helper.write_text("def rate(): return 1")
    print(work(0), work(0), cache.stats().entries)
"""


def test_a_module_that_is_edited_before_it_is_imported(tmp_path: Path) -> None:
    """What a function's body imports is what the key says, or the result is not stored."""
    assert run(write(tmp_path / "program.py", LATER), tmp_path / "cache") == ["22 0", "22 22 0"]


def test_a_module_that_is_edited_once_it_is_loaded(tmp_path: Path) -> None:
    """What was loaded stays what it is: edits of its file neither count nor keep results from being stored."""
    text = LATER.replace("if edit:", "import late_helper\n        if edit:")
    assert run(write(tmp_path / "program.py", text), tmp_path / "cache")[0] == "1 0"
    text = LATER.replace("    @cache.cached", "    import late_helper\n    @cache.cached")
    assert run(write(tmp_path / "program.py", text), tmp_path / "other") == ["1 1", "1 1 2"]


def test_the_key_of_a_file_is_golden(tmp_path: Path) -> None:
    """It does not change when pcache's own modules move."""
    (tmp_path / "a").write_text("content")
    assert key_of(File(tmp_path / "a")) == "787f6216eacd5d96f9579edd5444f59effc4fb15"


def test_code_that_uses_what_pcache_gives_out_is_golden() -> None:
    """The names of the modules that the public names were first defined in stay in fingerprints, too."""
    given = [pcache.File, pcache.register_key, pcache.disabled, pcache.CachedFunction, pcache.CacheInfo, pcache.Cache]
    assert [module_name(one) for one in given] == [
        f"pcache.{name}" for name in ("files", "dispatch", "modes", "decorator", "tally", "cache")
    ]
