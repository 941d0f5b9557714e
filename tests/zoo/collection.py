"""All packages of the zoo, by the name that they are imported by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.zoo import of_arrays, of_others, of_pickle, of_python

if TYPE_CHECKING:
    from tests.zoo.program import Package

PACKAGES: dict[str, Package] = {
    "python": of_python.PYTHON,
    "pickle": of_pickle.PICKLE,
    "numpy": of_arrays.NUMPY,
    "pandas": of_arrays.PANDAS,
    "scipy": of_arrays.SCIPY,
    "sklearn": of_arrays.SKLEARN,
    "pyarrow": of_arrays.PYARROW,
    "polars": of_arrays.POLARS,
    "xarray": of_arrays.XARRAY,
    "h5py": of_arrays.H5PY,
    "zarr": of_arrays.ZARR,
    "dask": of_arrays.DASK,
    "statsmodels": of_arrays.STATSMODELS,
    "torch": of_arrays.TORCH,
    "networkx": of_others.NETWORKX,
    "sympy": of_others.SYMPY,
    "regex": of_others.REGEX,
    "pygments": of_others.PYGMENTS,
    "unordered": of_others.UNORDERED,
    "numba": of_others.NUMBA,
    "wrapt": of_others.WRAPT,
    "toolz": of_others.TOOLZ,
    "msgspec": of_others.MSGSPEC,
    "attrs": of_others.ATTRS,
    "pydantic": of_others.PYDANTIC,
    "omegaconf": of_others.OMEGACONF,
    "sqlalchemy": of_others.SQLALCHEMY,
    "jinja2": of_others.JINJA2,
    "nibabel": of_others.NIBABEL,
    "shapely": of_others.SHAPELY,
    "pint": of_others.PINT,
    "PIL": of_others.PILLOW,
    "lxml": of_others.LXML,
    "fsspec": of_others.FSSPEC,
    "dateutil": of_others.DATEUTIL,
    "requests": of_others.REQUESTS,
    "structlog": of_others.STRUCTLOG,
    "tenacity": of_others.TENACITY,
    "flask": of_others.FLASK,
    "upath": of_others.UPATH,
    "cloudpickle": of_others.CLOUDPICKLE,
    "marshmallow": of_others.MARSHMALLOW,
    "httpx": of_others.HTTPX,
    "yaml": of_others.YAML,
}
