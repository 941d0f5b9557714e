"""How values that pickle does not write as what they mean are written in keys: by what they hold.

A view and its copy, a table in one chunk and in ten, a frame and its reassembled twin have equal keys. One module per
library, loaded when the first object of that library is met: pcache imports none of them. Reducers see every part of a
value, must not change it, and hash what is large where it lies.
"""

from __future__ import annotations

from pcache.keys.dispatch import register_library
from pcache.keys.reducers import builtin, typed  # noqa: F401 - register those of Python's own types

for _library, _module in {
    "numpy": "arrays",
    "pandas": "frames",
    "polars": "polars",
    "pyarrow": "arrow",
    "scipy": "sparse",
    "torch": "tensors",
    "PIL": "images",
    "pydantic": "models",
    "pygments": "tokens",
    **dict.fromkeys(("numba", "_regex"), "compiled"),
    **dict.fromkeys(("rpds", "immutables", "pyrsistent"), "unordered"),
    **dict.fromkeys(
        "_io dask dbm fileinput fsspec h5py jinja2 mmap multiprocessing netCDF4 nibabel partd shelve sqlalchemy sqlite3"
        " tarfile xarray xml zarr zipfile".split(),
        "handles",
    ),
}.items():
    register_library(_library, f"{__name__}.{_module}")
