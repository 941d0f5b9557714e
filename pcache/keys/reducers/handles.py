"""Objects that read something later: by the files that they would read, or not at all.

Pickle takes such a handle for the path it was opened with, so that its key would stay while the file changes. Where
what pickle says names the files, these count by content beside it, and are looked at again before a result is stored.
What reads from elsewhere (databases, servers, queries) has no key, as there is no telling what it would read.

The tables say which class is which, by full names; nothing here imports a library.
"""

from __future__ import annotations

import os
import sys
from functools import partial

from pcache.keys.dispatch import Reduced, register_reducer
from pcache.keys.file import note
from pcache.keys.nesting import FILES
from pcache.objects.cached_state import memos_of, without
from pcache.objects.lookup import look
from pcache.objects.path_holders import texts_in
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.digests import digest_of
from pcache.system.file_content import Reading, glance, read_folder

if TYPE_CHECKING:
    from pcache.keys.writer import Writer

_PROTOCOL = 5
_MOST_PARTS = 100_000  # in a handle's pickle: graphs of dask's have many
_WAY_OUT = "what it reads may change while it stays the same; pass "

_LOCAL = "local"  # those that read from elsewhere, such as a server, have no key
_FOLDERS = "folders"  # the same, and the names may be those of folders
_ANY = "any"  # those that name no file hold their data
# Classes whose pickles name all that they read.
_READING: dict[str, str] = {
    "dask._task_spec.Task": _ANY,
    "dask.highlevelgraph.MaterializedLayer": _ANY,
    "fsspec.core.OpenFile": _LOCAL,
    "fsspec.implementations.local.LocalFileOpener": _LOCAL,
    "fsspec.mapping.FSMap": _FOLDERS,
    "jinja2.loaders.FileSystemLoader": _FOLDERS,
    "nibabel.arrayproxy.ArrayProxy": _ANY,
    "nibabel.ecat.EcatImageArrayProxy": _ANY,
    "nibabel.minc1.MincImageArrayProxy": _ANY,
    "nibabel.parrec.PARRECArrayProxy": _ANY,
    "partd.file.File": _FOLDERS,
    "pyarrow._dataset.FileFragment": _LOCAL,
    "xarray.backends.common.AbstractDataStore": _ANY,  # what opens its files counts, too
    "zarr.storage._fsspec.FsspecStore": _FOLDERS,
    "zarr.storage._local.LocalStore": _FOLDERS,
    "zarr.storage._zip.ZipStore": _LOCAL,
}
_FILE = "pcache.File of the file"
_ROWS = "what it returns: rows, a frame"
# Classes that have no key, and what to pass instead.
_REFUSED: dict[str, str] = {
    "_io.BufferedRandom": f"what was read, or {_FILE}",
    "_io.BufferedReader": f"what was read, or {_FILE}",
    "_io.BufferedWriter": _FILE,
    "_io.FileIO": f"what was read, or {_FILE}",
    "_io.TextIOWrapper": f"what was read, or {_FILE}",
    "dbm.dumb._Database": f"a dict of its items, or {_FILE}",
    "dbm.sqlite3._Database": f"a dict of its items, or {_FILE}",
    "fileinput.FileInput": "pcache.File of each of the files",
    "fsspec.spec.AbstractBufferedFile": "what read() returns",
    "h5py._hl.base.HLObject": f"the array, as dataset[...] has it, or {_FILE}",
    "multiprocessing.managers.BaseProxy": "what it stands for: a list, a dict",
    "nibabel.streamlines.tractogram.LazyTractogram": f"what load(lazy_load=False) returns, or {_FILE}",
    "mmap.mmap": f"its bytes, or {_FILE}",
    "netCDF4._netCDF4.Dataset": f"the array, as dataset['name'][:] has it, or {_FILE}",
    "netCDF4._netCDF4.Variable": f"the array, as variable[:] has it, or {_FILE}",
    "pyarrow._dataset.InMemoryDataset": "the table that to_table() returns",
    "pyarrow._dataset.Scanner": "the table that to_table() returns",
    "pyarrow.lib.NativeFile": f"what read() returns, or {_FILE}",
    "pyarrow.parquet.core.ParquetFile": f"the table that read() returns, or {_FILE}",
    "shelve.Shelf": "a dict of what is needed of it",
    "sqlalchemy.engine.base.Connection": _ROWS,
    "sqlalchemy.engine.base.Engine": f"{_ROWS}, or the address",
    "sqlalchemy.engine.result.Result": "the rows that all() returns",
    "sqlalchemy.ext.asyncio.base.ProxyComparable": _ROWS,
    "sqlalchemy.ext.asyncio.session.AsyncSession": _ROWS,
    "sqlalchemy.ext.asyncio.session.async_sessionmaker": _ROWS,
    "sqlalchemy.orm.query.Query": "the rows that all() returns",
    "sqlalchemy.orm.scoping.scoped_session": _ROWS,
    "sqlalchemy.orm.session.Session": _ROWS,
    "sqlalchemy.orm.session.sessionmaker": _ROWS,
    "sqlite3.Connection": f"{_ROWS}, or {_FILE}",
    "sqlite3.Cursor": "the rows that fetchall() returns",
    "tarfile.TarFile": _FILE,
    "zarr.storage._obstore.ObjectStore": "the array, as array[...] has it",
    "xml.etree.ElementTree.iterparse.<locals>.IterParseIterator": _FILE,
    "zipfile.ZipFile": _FILE,
}


def _reading(where: str) -> Any:
    def reduce(obj: Any, encoder: Writer) -> object:
        """A handle as pickle writes it, with the contents of the files and folders that it names."""
        reduced = obj.__reduce_ex__(_PROTOCOL)
        memos = memos_of(type(obj))
        filled = memos.filled(obj) if memos else {}
        parts = [list(part) if hasattr(part, "__next__") else without(part, filled) for part in reduced]
        return (type(obj), parts, _contents(obj, reduced, encoder, where))

    return reduce


def _contents(obj: Any, reduced: Any, encoder: Writer, where: str) -> list[bytes]:
    """The digests of all files and folders that an object's pickle names; they are noted."""
    names = [text.removeprefix("file://") for text in dict.fromkeys(texts_in(reduced, _MOST_PARTS))]
    paths = [name for name in names if os.sep in name or "." in name]

    def read() -> list[Reading]:
        here = paths if _is_local(reduced) else []
        readings = [glance(path) for path in here if os.path.isfile(path)]
        if where == _FOLDERS:
            readings += [read_folder(path, glance) for path in here if os.path.isdir(path)]
        return readings

    readings = encoder.once(obj, read, FILES)
    if where != _ANY and paths and not readings:
        raise TypeError(f"it reads from elsewhere, or from a file that is not there; {_WAY_OUT}what it reads")
    return [note(reading).digest for reading in readings]


def _is_local(reduced: Any) -> bool:
    """Whether an object's pickle names only the file system of this machine."""
    values = [*reduced[1], *(reduced[2].values() if len(reduced) > 2 and type(reduced[2]) is dict else ())]  # noqa: PLR2004
    systems = [look(value, "sync_fs", value) for value in values]  # inside fsspec's wrapper
    names = [type(system).__name__ for system in systems]
    return all(name == "LocalFileSystem" for name in names if "FileSystem" in name)


def _parquet(fragment: Any, encoder: Writer) -> object:
    """A file of a dataset. Its pickle names no row groups before it is read, and all of them afterwards."""
    reduced = fragment.__reduce_ex__(_PROTOCOL)
    make, (*parts, groups) = reduced[:2]
    if groups is not None and len(groups) == fragment.metadata.num_row_groups:
        groups = None
    return (type(fragment), [make, parts, groups], _contents(fragment, reduced, encoder, _LOCAL))


def _refuse(way_out: str) -> Any:
    def reduce(obj: object, _encoder: Writer) -> object:
        name = look(obj, "name")
        known = type(name) is str and os.path.isfile(name)
        raise TypeError(_WAY_OUT + (way_out.replace(_FILE, f"pcache.File({name!r})") if known else way_out))

    return reduce


def _shared_memory(memory: Any, encoder: Writer) -> object:
    """Shared memory by its current content; its name only says where it lies."""
    return (memory.name, memory.size, encoder.once(memory, lambda: digest_of(memory.buf).hex()))


def _shared_list(shared: Any, _encoder: Writer) -> object:
    return (shared.shm.name, list(shared))


def _row(state: Any, _encoder: Writer) -> object:
    """The state of a SQLAlchemy object; one that would still query the database has no key."""
    if state.session_id is not None and (state.expired or state.unloaded):
        raise TypeError(
            "some of its attributes would be read from the database when they are asked for; load them all,"
            " and expunge() it from its session, or pass the values that matter"
        )
    return NotImplemented


def _file_manager(manager: Any, encoder: Writer) -> object:
    """xarray's file opener: by how it opens, and by the files, not by the number that each opening gets."""
    args = [os.fspath(part) if isinstance(part, os.PathLike) else part for part in manager._args]
    contents = _contents(manager, (None, args), encoder, _LOCAL)
    return (manager._opener, args, manager._mode, manager._kwargs, contents)


def _brain_image(image: Any, encoder: Writer) -> object:
    """A nibabel image without its cached array, where reading the file again would give the same."""
    make, arguments, state, *rest = image.__reduce_ex__(_PROTOCOL)
    state = dict(state)
    for name in ("_data_cache", "_fdata_cache"):
        cache = state.get(name)
        if cache is not None and encoder.once(image, partial(_is_unchanged, image, cache), name):
            state[name] = None
    if state.get("_dtype_alias", ...) is None:
        del state["_dtype_alias"]  # set by writing the image
    return Reduced((make, arguments, state, *rest))


def _is_unchanged(image: Any, cache: Any) -> bool:
    from pcache.keys.reducers.arrays import content_digest  # late: this module serves libraries that do without numpy

    data = image._dataobj
    if cache is data:
        return True
    numpy: Any = sys.modules["numpy"]
    fresh = numpy.asanyarray(data, dtype=cache.dtype)
    return fresh.shape == cache.shape and content_digest(fresh) == content_digest(cache)


def _known(_obj: object, _encoder: Writer) -> object:
    return NotImplemented


def _lock(_lock: object, _encoder: Writer) -> object:
    """A lock that pickle identifies by a number of its own: it decides when something is read, and not what."""
    return ()


for _name, _where in _READING.items():
    register_reducer(_name, _reading(_where), subclasses=True)
for _name, _words in _REFUSED.items():
    register_reducer(_name, _refuse(_words), subclasses=True)
register_reducer("xarray.backends.file_manager.CachingFileManager", _file_manager, subclasses=True)
register_reducer("multiprocessing.shared_memory.SharedMemory", _shared_memory)
register_reducer("multiprocessing.shared_memory.ShareableList", _shared_list)
register_reducer("nibabel.dataobj_images.DataobjImage", _brain_image, subclasses=True)
for _name in ("nibabel.fileholders.FileHolder", "xarray.core.datatree.DataTree"):
    register_reducer(_name, _known)  # what they name is counted elsewhere in them
for _name in ("dask.utils.SerializableLock", "xarray.backends.locks.SerializableLock"):
    register_reducer(_name, _lock)
register_reducer("sqlalchemy.orm.state.InstanceState", _row)
register_reducer("pyarrow._dataset_parquet.ParquetFileFragment", _parquet)
