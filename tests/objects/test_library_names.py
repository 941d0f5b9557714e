"""Objects of packages count by name and version, wherever a decorator or a compiler hid them."""

from __future__ import annotations

import functools
import json
import math
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import types
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pcache.objects.library_names import instance, named
from tests.key_values import key_of
from tests.support.running import run, write

if TYPE_CHECKING:
    from collections.abc import Callable

# What people hand to functions, by the module to import. Packages that are not there are left out.
GIVEN = [
    ("numpy", "numpy.add numpy.convolve numpy.linalg.norm numpy.fft.fft numpy.random.rand numpy.random.default_rng"),
    ("numpy", "numpy.add.reduce numpy.random.Generator.normal numpy.float32 numpy.array numpy.interp"),
    ("scipy.stats", "scipy.stats.ttest_ind scipy.stats.norm.cdf scipy.stats.poisson.pmf"),
    ("scipy.special", "scipy.special.expit scipy.special.gamma scipy.special.logsumexp"),
    ("scipy.optimize", "scipy.optimize.minimize scipy.optimize.rosen"),
    ("sklearn.metrics", "sklearn.metrics.accuracy_score sklearn.metrics.f1_score sklearn.metrics.pairwise.rbf_kernel"),
    ("sklearn.feature_selection", "sklearn.feature_selection.f_classif sklearn.feature_selection.chi2"),
    ("sklearn.datasets", "sklearn.datasets.make_classification"),
    ("pandas", "pandas.DataFrame.sum pandas.DataFrame.from_dict pandas.read_csv pandas.api.types.infer_dtype"),
    ("polars", "polars.read_csv polars.col polars.DataFrame"),
    ("pyarrow.compute", "pyarrow.compute.add pyarrow.table"),
    ("PIL.Image", "PIL.Image.open PIL.Image.new"),
    ("pydantic", "pydantic.BaseModel pydantic.BaseModel.model_validate pydantic.field_validator"),
    ("networkx", "networkx.pagerank networkx.shortest_path"),
    ("sympy", "sympy.simplify sympy.sin sympy.factor"),
    ("toolz.curried", "toolz.pipe toolz.curried.map"),
    ("lxml.etree", "lxml.etree.fromstring"),
    ("shapely", "shapely.area shapely.Point"),
    ("xarray", "xarray.concat xarray.Dataset.mean"),
    ("dask.array", "dask.array.sum dask.array.from_array"),
    ("zarr", "zarr.open"),
    ("jinja2", "jinja2.Environment"),
    ("msgspec", "msgspec.json.encode msgspec.Struct"),
    ("statsmodels.api", "statsmodels.api.OLS"),
    ("numba", "numba.njit"),
    ("random", "random.randint random.random random.gauss"),
    ("pathlib", "pathlib.Path.home pathlib.Path.cwd"),
    ("fractions", "fractions.Fraction.from_float"),
    ("datetime", "datetime.datetime.now datetime.date.fromisoformat"),
    ("math", "math.floor"),
]
KEYS = """
import importlib, json, sys
from tests.key_values import key_of
found = {}
for module, names in json.loads(sys.argv[1]):
    try:
        importlib.import_module(module)
    except ImportError:
        continue
    for name in names.split():
        first, *further = name.split(".")
        value = sys.modules[first]
        for part in further:
            value = getattr(value, part)
        found[name] = key_of(value)
print(json.dumps(found))
"""


def test_what_packages_give_out_has_one_key(tmp_path: Path) -> None:
    """Functions, ufuncs, classes, methods, and what decorators made of them: in two processes, each its own."""
    script = write(tmp_path / "keys.py", KEYS)
    one, other = (
        json.loads(run(script, json.dumps(GIVEN), warnings="ignore", PYTHONHASHSEED=seed)[-1]) for seed in "12"
    )
    assert one == other
    assert len(set(one.values())) == len(one) >= 40


def test_the_version_of_its_package_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade gives what comes from a package another key, instances of its classes as well."""
    metrics = pytest.importorskip("sklearn.metrics")
    from sklearn.linear_model import LinearRegression

    from pcache.objects import user_code

    values = [metrics.accuracy_score, metrics.make_scorer(metrics.f1_score), LinearRegression, LinearRegression().fit]
    before = list(map(key_of, values))
    monkeypatch.setitem(user_code._versions, "sklearn", "99")
    assert set(before).isdisjoint(map(key_of, values))


def test_random_numbers_do_not_make_another_function() -> None:
    """The generator behind `random.randint` has drawn since; the functions of one are told apart."""
    before = key_of(random.randint)
    random.random()
    assert key_of(random.randint) == before != key_of(random.randrange)
    assert key_of(np.random.rand) != key_of(np.random.randn)


def test_own_instances_count_by_their_state() -> None:
    """A generator of the program's own, and what a package holds in a table, are values."""
    assert key_of(random.Random(1).randint) != key_of(random.Random(2).randint)
    before = key_of(os.environ.get)
    os.environ["PCACHE_TEST_NAMED"] = "1"
    try:
        assert key_of(os.environ.get) != before
    finally:
        del os.environ["PCACHE_TEST_NAMED"]


def test_class_methods_of_others(tmp_path: Path) -> None:
    """They are called as often as others; also by what reduces through one."""
    assert key_of(Path.home) != key_of(Path.cwd)
    assert key_of(Fraction.from_float) != key_of(Fraction.from_decimal)
    assert key_of(dict.fromkeys) != key_of(type("Own", (dict,), {}).fromkeys)
    assert tmp_path


class ZeroCopy(bytearray):
    """The recipe of PEP 574."""

    def __reduce_ex__(self, _protocol: int) -> Any:
        return type(self)._rebuild, (bytes(self),), None

    @classmethod
    def _rebuild(cls, content: bytes) -> ZeroCopy:
        return cls(content)


def test_what_reduces_through_a_class_method() -> None:
    """Such values count by what the method is given."""
    assert key_of(ZeroCopy(b"a")) == key_of(ZeroCopy(b"a")) != key_of(ZeroCopy(b"b"))


def test_the_inside_of_a_package_counts_by_code() -> None:
    """What lies nowhere, as the function below a decorator, is no name; neither is a function of the user's there."""
    metrics = pytest.importorskip("sklearn.metrics")
    inner = metrics.accuracy_score.__wrapped__
    assert named(inner) is None
    assert key_of(inner) != key_of(metrics.f1_score.__wrapped__)


def test_a_patched_function_is_not_what_it_takes_the_place_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even under `functools.wraps`."""
    before = key_of(json.dumps)

    @functools.wraps(json.dumps)
    def patched(*_args: Any) -> str:
        return "{}"

    monkeypatch.setattr(json, "dumps", patched)
    assert named(patched) is None
    assert key_of(json.dumps) != before


def made_by_exec(text: str, **names: Any) -> Callable[..., Any]:
    namespace = dict(names)
    exec(text, namespace)
    found: Callable[..., Any] = namespace["f"]
    return found


def test_functions_made_by_exec() -> None:
    """They say that they are builtins, and count by their code."""
    one = made_by_exec("def f(x): return x + 1")
    assert key_of(one) == key_of(made_by_exec("def f(x): return x + 1"))
    assert key_of(one) != key_of(made_by_exec("def f(x): return x + 2"))


def test_classes_without_a_place() -> None:
    """Those of the interpreter by name; one that was made under a package's name by what it defines."""
    assert key_of(types.FunctionType) != key_of(types.CellType)
    one, two = (type("Row", (), {"__module__": "json", "limit": limit}) for limit in (1, 2))
    assert key_of(one) != key_of(two)


def test_partials_stay_as_they_are() -> None:
    """Looking for a name does not give an object the dict that it has not got yet."""
    made = functools.partial(int, base=2)
    assert named(math.floor) is not None
    assert instance(made) is None
    assert key_of(made) == "0e6109d1454f0064b820e10e34a82f122c86b580"


SOURCE = """
#include <Python.h>
static PyObject *rate(PyObject *self, PyObject *none) { return PyLong_FromLong(RATE); }
static PyMethodDef methods[] = {{"rate", rate, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fast", "", -1, methods};
PyMODINIT_FUNC PyInit__fast(void) { return PyModule_Create(&module); }
"""
USER = """
import sys
from pcache import Cache
from own import _fast
cache = Cache(sys.argv[1])

@cache.cached
def call(function):
    return function()

@cache.cached
def use():
    return _fast.rate()

print(call(_fast.rate), use(), cache.cached(_fast.rate)())
"""


def build(folder: Path, rate: int) -> None:
    """Compile the extension module of a package of the user's."""
    compiler = shutil.which("cc")
    include = sysconfig.get_path("include")
    if compiler is None or sys.platform == "win32" or not os.path.exists(f"{include}/Python.h"):
        pytest.skip("nothing to build an extension module with")
    source = write(folder / "_fast.c", SOURCE)
    target = folder / f"_fast{sysconfig.get_config_var('EXT_SUFFIX')}"
    command = [compiler, "-shared", "-fPIC", f"-DRATE={rate}", f"-I{include}", str(source), "-o", str(target)]
    subprocess.run(command, check=True)


def test_an_extension_module_that_is_built_again(tmp_path: Path) -> None:
    """Its functions are others then, though the package's version is what it was."""
    write(tmp_path / "own" / "__init__.py", "__version__ = '1'\n")
    user = write(tmp_path / "user.py", USER)
    for rate in (1, 2, 1):
        build(tmp_path / "own", rate)
        assert run(user, tmp_path / "cache") == [f"{rate} {rate} {rate}"]
