"""Objects that read something later count by the files that they would read, or have no key."""

from __future__ import annotations

import gc
import io
import mmap
import shelve
import sqlite3
import zipfile
from collections.abc import Callable
from multiprocessing.shared_memory import ShareableList, SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from pcache import Cache, UnhashableArgument
from pcache.system import file_content
from tests.key_values import key_of
from tests.support.running import run, write

Open = Callable[[Path, int], Any]


def parquet(folder: Path, content: int) -> str:
    pyarrow.parquet.write_table(pa.table({"a": [content]}), folder / "table.parquet")
    return str(folder / "table.parquet")


def text(folder: Path, content: int) -> str:
    return str(write(folder / "data.txt", f"a\n{content}\n"))


def netcdf(folder: Path, content: int, xarray: Any) -> str:
    (folder / "data.nc").unlink(missing_ok=True)
    xarray.Dataset({"a": ("x", [content])}).to_netcdf(folder / "data.nc", engine="scipy")
    return str(folder / "data.nc")


def brain(folder: Path, content: int) -> Any:
    nibabel = need("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.full((2, 2, 2), float(content)), np.eye(4)), folder / "brain.nii")
    return nibabel.load(folder / "brain.nii")


def zarr_array(folder: Path, content: int) -> Any:
    zarr = need("zarr")
    zarr.open_group(folder / "data.zarr", mode="w")["a"] = np.full(3, content)
    return zarr.open_group(folder / "data.zarr", mode="r")["a"]


def need(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed")


def loader(folder: Path, content: int) -> Any:
    write(folder / "pages" / "page.txt", str(content))
    return need("jinja2").FileSystemLoader(folder / "pages")


def chunks(folder: Path, content: int) -> Any:
    write(folder / "map" / "0.0", str(content))
    return need("fsspec").get_mapper(str(folder / "map"))


def stack(folder: Path, content: int) -> Any:
    dask = need("dask.array")
    dask.to_npy_stack(folder / "stack", dask.from_array(np.full(4, content), chunks=2))
    return dask.from_npy_stack(folder / "stack")


def through_fsspec(folder: Path, content: int) -> Any:
    zarr_array(folder, content)
    return need("dask.array").from_zarr(str(folder / "data.zarr" / "a"))


BY_CONTENT: dict[str, Open] = {
    "dataset": lambda folder, content: pyarrow.dataset.dataset(parquet(folder, content)),
    "dataset of a folder": lambda folder, content: pyarrow.dataset.dataset(str(Path(parquet(folder, content)).parent)),
    "fragment": lambda folder, content: next(pyarrow.dataset.dataset(parquet(folder, content)).get_fragments()),
    "ParquetDataset": lambda folder, content: pyarrow.parquet.ParquetDataset(parquet(folder, content)),
    "loader of templates": loader,
    "brain image": brain,
    "proxy of a brain image": lambda folder, content: brain(folder, content).dataobj,
    "fsspec.open": lambda folder, content: need("fsspec").open(text(folder, content)),
    "fsspec.open_files": lambda folder, content: need("fsspec").open_files(text(folder, content)),
    "fsspec, mapped": chunks,
    "dask bag": lambda folder, content: need("dask.bag").read_text(text(folder, content)),
    "xarray": lambda folder, content: need("xarray").open_dataset(netcdf(folder, content, need("xarray"))),
    "zarr": zarr_array,
    "dask over zarr": through_fsspec,
    "dask over a stack": stack,
}


@pytest.mark.parametrize("name", BY_CONTENT)
def test_what_it_would_read_counts(tmp_path: Path, name: str) -> None:
    """Opened again it is the same; with another content behind it it is another one, although it says the same."""
    opened = BY_CONTENT[name]
    folder = tmp_path / "data"
    folder.mkdir()
    first = key_of(opened(folder, 1))
    assert first == key_of(opened(folder, 1))
    assert first != key_of(opened(folder, 2))


PROGRAM = """
    import sys
    import pyarrow.dataset, pyarrow.parquet
    from pcache import Cache
    cache = Cache(sys.argv[1])
    content = int(sys.argv[2])
    pyarrow.parquet.write_table(pyarrow.table({"a": [content]}), "table.parquet")
    @cache.cached
    def first(data):
        print("computes")
        return data.to_table()["a"][0].as_py()
    print(first(pyarrow.dataset.dataset("table.parquet")))
"""


def test_in_another_process(tmp_path: Path) -> None:
    """The result is found where the content is the same, and not where it is another one."""
    program = write(tmp_path / "program.py", PROGRAM)
    assert run(program, tmp_path / "cache", 1) == ["computes", "1"]
    assert run(program, tmp_path / "cache", 1) == ["1"]
    assert run(program, tmp_path / "cache", 2) == ["computes", "2"]


OPENED = """
    import sys
    import xarray
    from tests.key_values import key_of
    print(key_of(xarray.open_dataset(sys.argv[1])), key_of(xarray.open_mfdataset([sys.argv[1]])))
"""


def test_opened_in_another_process(tmp_path: Path) -> None:
    """Neither locks nor the numbers of openings count: what is opened twice is the same."""
    need("dask")
    path = netcdf(tmp_path, 1, need("xarray"))
    program = write(tmp_path / "program.py", OPENED)
    assert run(program, path, PYTHONHASHSEED="1") == run(program, path, PYTHONHASHSEED="2")


def test_words_that_are_folders_are_not_read() -> None:
    """A task's `"/"` is a word; reading what lies below would take hours."""
    delayed = need("dask").delayed
    assert key_of(delayed(len)("/", dask_key_name="x")) != key_of(delayed(len)(".", dask_key_name="x"))


def test_a_file_that_changes_while_a_result_is_computed(tmp_path: Path) -> None:
    """Nobody knows what was read: the result is returned and not stored."""
    cache = Cache(tmp_path / "cache", signing_key=bytes(32))

    @cache.cached
    def first(data: Any) -> int:
        parquet(tmp_path, 2)
        return 1

    assert first(pyarrow.dataset.dataset(parquet(tmp_path, 1))) == 1
    assert cache.stats().entries == 0


def test_large_files_are_glanced_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By path, inode, size and times, once they have settled; before that they are like no other."""
    monkeypatch.setattr(file_content, "_WHOLE", 3)
    opened = pyarrow.dataset.dataset(parquet(tmp_path, 1))
    assert key_of(opened) != key_of(opened)
    monkeypatch.setattr(file_content, "_SETTLED_NS", -(10**10))
    before = key_of(opened)
    assert key_of(opened) == before
    parquet(tmp_path, 1)
    assert key_of(opened) != before


def shelf(folder: Path) -> Any:
    return shelve.open(str(folder / "shelf"))


def mapped(folder: Path) -> Any:
    with open(text(folder, 1), "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def zipped(folder: Path) -> Any:
    with zipfile.ZipFile(folder / "a.zip", "w") as made:
        made.writestr("a", "1")
    return zipfile.ZipFile(folder / "a.zip")


def h5(folder: Path) -> Any:
    with need("h5py").File(folder / "a.h5", "w") as made:
        made["a"] = [1]
    return need("h5py").File(folder / "a.h5")["a"]


def engine(_folder: Path) -> Any:
    return need("sqlalchemy").create_engine("sqlite://")


def expired(folder: Path) -> Any:
    """A row as an object, whose columns would be read again."""
    sqlalchemy, orm = need("sqlalchemy"), need("sqlalchemy.orm")

    class Base(orm.DeclarativeBase):  # type: ignore[misc, name-defined]
        pass

    class User(Base):
        __tablename__ = "users"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)

    made = engine(folder)
    Base.metadata.create_all(made)
    User.session = orm.Session(made)
    user = User()
    User.session.add(user)
    User.session.commit()
    return user


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "sqlite": (lambda _folder: sqlite3.connect(":memory:"), "rows"),
    "sqlite, cursor": (lambda _folder: sqlite3.connect(":memory:").cursor(), "fetchall"),
    "file": (lambda folder: open(text(folder, 1)), "pcache.File"),  # noqa: SIM115 - closed by its end
    "file, buffered": (lambda folder: open(text(folder, 1), "rb"), "pcache.File"),  # noqa: SIM115
    "map": (mapped, "its bytes"),
    "shelf": (shelf, "a dict of"),
    "zip": (zipped, "pcache.File"),
    "query": (lambda _folder: pl.LazyFrame({"a": [1]}), "collect"),
    "query, grouped": (lambda _folder: pl.LazyFrame({"a": [1]}).group_by("a"), "collect"),
    "pyarrow's file": (lambda folder: pa.memory_map(text(folder, 1)), "read"),
    "ParquetFile": (lambda folder: pyarrow.parquet.ParquetFile(parquet(folder, 1)), "read"),
    "h5py": (h5, r"dataset\[...\]"),
    "engine": (engine, "rows"),
    "connection": (lambda folder: engine(folder).connect(), "rows"),
    "session": (lambda folder: need("sqlalchemy.orm").Session(engine(folder)), "rows"),
    "row of a session": (expired, "expunge"),
    "elsewhere": (lambda _folder: need("fsspec").open("memory:///etc/hostname"), "from elsewhere"),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_reads_from_elsewhere_has_no_key(tmp_path: Path, name: str) -> None:
    """The message says what to pass instead."""
    make, way_out = REFUSED[name]

    def ask() -> None:
        cached = Cache(tmp_path / "cache", signing_key=bytes(32)).cached(lambda handle: 1)
        with pytest.raises(UnhashableArgument, match=way_out):
            cached([make(tmp_path)])

    ask()
    gc.collect()  # which closes it, before somebody else is told that it was not closed


def test_shared_memory() -> None:
    """Shared memory counts by what is in it, not by its name alone."""
    memory = SharedMemory(create=True, size=8)
    numbers = ShareableList([1, 2])
    try:
        before = key_of(memory), key_of(numbers)
        assert before == (key_of(memory), key_of(numbers))
        memory.buf[0] = numbers[0] = 7
        assert key_of(memory) != before[0]
        assert key_of(numbers) != before[1]
    finally:
        for one in (memory, numbers.shm):
            one.close()
            one.unlink()


def test_what_holds_its_content_has_a_key() -> None:
    """Streams in memory are values."""
    assert key_of(io.BytesIO(b"1")) != key_of(io.BytesIO(b"2"))
    assert key_of(io.StringIO("1")) != key_of(io.StringIO("2"))
