"""Items of the packages for arrays, tables and models."""

from __future__ import annotations

from tests.zoo.program import Item, Package

NUMPY = Package(
    """
    import numpy as np
    from numpy.random import default_rng
    class InfoArray(np.ndarray):
        def __new__(cls, values, info=None):
            made = np.asarray(values).view(cls)
            made.info = info
            return made
        def __array_finalize__(self, obj):
            self.info = getattr(obj, "info", None)
    """,
    {
        "dtype": Item("np.dtype('<i4')", "np.dtype('>i4')", "x.str"),
        "dtype_aligned": Item(
            "np.dtype([('a', 'i1'), ('b', 'i4')])",
            "np.dtype([('a', 'i1'), ('b', 'i4')], align=True)",
            "x.itemsize, x.isalignedstruct",
        ),
        "array": Item("np.arange(6).reshape(2, 3)", "np.arange(6).reshape(3, 2)", "x.tolist()"),
        "ufunc": Item("np.add", "np.subtract", "x(3, 1).item()"),
        "ufunc_method": Item("np.add.reduce", "np.multiply.reduce", "x([2, 3]).item()"),
        "python_ufunc": Item(
            "np.frompyfunc(lambda a: a + 1, 1, 1)",
            "np.frompyfunc(lambda a: a + 2, 1, 1)",
            "x(1)",
            may_refuse=True,
            stored=False,
        ),
        "vectorized": Item(
            "np.vectorize(lambda a: a + 1)", "np.vectorize(lambda a: a + 2)", "x([1]).tolist()", stored=False
        ),
        "polynomial": Item("np.poly1d([1, 2])", "np.poly1d([1, 3])", "x.c.tolist()"),
        "array_method": Item("np.array([1, 2]).dot", "np.array([1, 3]).dot", "x([1, 1]).item()"),
        "random_function": Item("default_rng", "np.random.SeedSequence", "x.__name__"),
        "random_method": Item("np.random.rand", "np.random.randn", "x.__name__"),
        "generator": Item("default_rng(1)", "default_rng(2)", "x.bit_generator.state"),
        "function": Item("np.convolve", "np.correlate", "x([1, 2], [0, 1]).tolist()"),
        "info_array": Item("InfoArray([1], 'metres')", "InfoArray([1], 'km')", "x.tolist(), x.info"),
        "text": Item("np.str_('a')", "np.str_('a\\0')", "len(x), str(x)"),
        "masked": Item("np.ma.masked_array([1, 2], [0, 1])", "np.ma.masked_array([1, 2], [1, 0])", "x.tolist()"),
        "moment": Item("np.datetime64('2026-01-01', 's')", "np.datetime64('2026-01-01', 'ms')", "x.dtype.str, str(x)"),
        "record": Item("np.array([(1, 2.0)], 'i4,f8')[0]", "np.array([(1, 2.0)], 'i4,f4')[0]", "x.item(), x.dtype.str"),
    },
)

PANDAS = Package(
    """
    import datetime as dt
    import numpy as np, pandas as pd
    def zone(hours):
        return dt.timezone(dt.timedelta(hours=hours), "IST")
    """,
    {
        "frame": Item("pd.DataFrame({'a': [1, 2]})", "pd.DataFrame({'a': [1, 3]})", "x.to_dict()"),
        "series_zone": Item(
            "pd.Series(pd.to_datetime(['2026-01-01']).tz_localize(zone(5.5)))",
            "pd.Series(pd.to_datetime(['2026-01-01']).tz_localize(zone(2)))",
            "x[0].isoformat()",
        ),
        "timestamp_fold": Item(
            "pd.Timestamp(2026, 10, 25, 2, 30, tz='dateutil/Europe/Berlin', fold=0)",
            "pd.Timestamp(2026, 10, 25, 2, 30, tz='dateutil/Europe/Berlin', fold=1)",
            "x.fold, x.isoformat()",
        ),
        "offset": Item(
            "pd.offsets.CustomBusinessDay(holidays=['2026-01-01'])",
            "pd.offsets.CustomBusinessDay(holidays=['2026-01-02'])",
            "[str(day) for day in x.holidays]",
        ),
        "range_of_custom_days": Item(
            "pd.date_range('2026-02-01', periods=2, freq=pd.offsets.CustomBusinessDay(holidays=['2026-01-01']))",
            "pd.date_range('2026-02-01', periods=2, freq=pd.offsets.CustomBusinessDay(holidays=['2026-01-02']))",
            "[str(day) for day in x.freq.holidays]",
        ),
        "interval": Item("pd.Interval(0, 1)", "pd.Interval(0, 1, closed='left')", "str(x)"),
        "categories": Item(
            "pd.CategoricalDtype(['a', 'b'])",
            "pd.CategoricalDtype(['a', 'b'], ordered=True)",
            "list(x.categories), x.ordered",
        ),
        "group_by": Item(
            "pd.DataFrame({'a': [1, 1], 'b': [2, 3]}).groupby('a')",
            "pd.DataFrame({'a': [1, 1], 'b': [2, 4]}).groupby('a')",
            "x['b'].sum().tolist()",
        ),
        "rolling": Item(
            "pd.Series([1, 2, 3]).rolling(2)", "pd.Series([1, 2, 3]).rolling(1)", "x.sum().fillna(0).tolist()"
        ),
        "series_method": Item("pd.Series([1]).sum", "pd.Series([2]).sum", "x().item()"),
        "function": Item("pd.to_numeric", "pd.to_datetime", "x.__name__"),
        "extension_array": Item("pd.array([1, None], dtype='Int64')", "pd.array([1, 2], dtype='Int64')", "str(x)"),
        "multi_index": Item(
            "pd.MultiIndex.from_tuples([(1, 'a')])", "pd.MultiIndex.from_tuples([(1, 'b')])", "x.tolist()"
        ),
        "named_agg": Item("pd.NamedAgg('a', 'sum')", "pd.NamedAgg('a', 'mean')", "tuple(x)"),
    },
)

SCIPY = Package(
    """
    import numpy as np
    import scipy, scipy.interpolate, scipy.optimize, scipy.sparse, scipy.stats
    """,
    {
        "frozen": Item("scipy.stats.norm(0, 1)", "scipy.stats.norm(0, 2)", "round(x.std(), 6)"),
        "method": Item("scipy.stats.norm.cdf", "scipy.stats.norm.sf", "round(float(x(1.0)), 6)"),
        "frozen_method": Item("scipy.stats.norm(0, 1).cdf", "scipy.stats.norm(0, 2).cdf", "round(float(x(1.0)), 6)"),
        "test": Item("scipy.stats.ttest_ind", "scipy.stats.ttest_rel", "x.__name__"),
        "sparse": Item(
            "scipy.sparse.eye(3, format='csr')", "scipy.sparse.eye(3, format='csc')", "x.format, x.toarray().tolist()"
        ),
        "spline": Item(
            "scipy.interpolate.CubicSpline([0, 1, 2], [0, 1, 4])",
            "scipy.interpolate.CubicSpline([0, 1, 2], [0, 1, 5])",
            "round(float(x(1.5)), 6)",
        ),
        "bounds": Item("scipy.optimize.Bounds(0, 1)", "scipy.optimize.Bounds(0, 2)", "str(x.ub)"),
        "special": Item("scipy.special.gamma", "scipy.special.loggamma", "round(float(x(5)), 6)"),
    },
)

SKLEARN = Package(
    """
    import numpy as np
    from sklearn import datasets, feature_selection, linear_model, metrics, pipeline, preprocessing, tree
    """,
    {
        "score": Item("metrics.accuracy_score", "metrics.f1_score", "x.__name__"),
        "scorer": Item(
            "metrics.make_scorer(metrics.fbeta_score, beta=1)",
            "metrics.make_scorer(metrics.fbeta_score, beta=2)",
            "x._kwargs",
        ),
        "selection": Item("feature_selection.f_classif", "feature_selection.chi2", "x.__name__"),
        "maker": Item("datasets.make_classification", "datasets.make_blobs", "x.__name__"),
        "estimator": Item("linear_model.Ridge(alpha=1.0)", "linear_model.Ridge(alpha=2.0)", "x.get_params()['alpha']"),
        "fitted": Item(
            "linear_model.LinearRegression().fit([[0], [1]], [0, 1])",
            "linear_model.LinearRegression().fit([[0], [1]], [0, 2])",
            "x.coef_.round(6).tolist()",
        ),
        "tree": Item(
            "tree.DecisionTreeClassifier(random_state=0).fit([[0], [1]], [0, 1])",
            "tree.DecisionTreeClassifier(random_state=0).fit([[0], [1]], [1, 0])",
            "x.predict([[0]]).tolist()",
        ),
        "pipeline": Item(
            "pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge())",
            "pipeline.make_pipeline(preprocessing.MinMaxScaler(), linear_model.Ridge())",
            "[name for name, _ in x.steps]",
        ),
        "bound": Item(
            "linear_model.LinearRegression().fit([[0], [1]], [0, 1]).predict",
            "linear_model.LinearRegression().fit([[0], [1]], [0, 2]).predict",
            "x([[1]]).round(6).tolist()",
        ),
        "function_transformer": Item(
            "preprocessing.FunctionTransformer(np.log1p)",
            "preprocessing.FunctionTransformer(np.expm1)",
            "x.func.__name__",
        ),
    },
)

PYARROW = Package(
    """
    import os
    import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq, pyarrow.dataset as ds
    def written(n):
        if not os.path.exists(f"{n}.parquet"):
            pq.write_table(pa.table({"a": [n]}), f"{n}.parquet")
        return f"{n}.parquet"
    """,
    {
        "table": Item("pa.table({'a': [1, None]})", "pa.table({'a': [1, 2]})", "x.to_pylist()"),
        "schema": Item("pa.schema([('a', pa.int32())])", "pa.schema([('a', pa.int64())])", "str(x)"),
        "schema_metadata": Item(
            "pa.schema([('a', pa.int32())], metadata={'k': '1'})",
            "pa.schema([('a', pa.int32())], metadata={'k': '2'})",
            "x.metadata",
        ),
        "kind": Item("pa.timestamp('us', 'UTC')", "pa.timestamp('us')", "str(x)"),
        "field": Item("pa.field('a', pa.int8(), nullable=True)", "pa.field('a', pa.int8(), nullable=False)", "str(x)"),
        "scalar": Item("pa.scalar(1)", "pa.scalar(2)", "x.as_py()"),
        "expression": Item("pc.field('a') > 1", "pc.field('a') > 2", "str(x)"),
        "function": Item("pc.sum", "pc.mean", "x([1, 3]).as_py()"),
        "dataset": Item(
            "ds.dataset(written(1))", "ds.dataset(written(2))", "x.to_table().to_pylist()", may_refuse=True
        ),
        "options": Item(
            "pc.CountOptions(mode='all')", "pc.CountOptions(mode='only_null')", "str(x)", may_refuse=True, stored=False
        ),
    },
)

POLARS = Package(
    """
    import datetime as dt
    import polars as pl
    """,
    {
        "frame": Item("pl.DataFrame({'a': [1, None]})", "pl.DataFrame({'a': [1, 2]})", "x.to_dict(as_series=False)"),
        "expression": Item("pl.col('a') + 1", "pl.col('a') + 2", "str(x)"),
        "kind": Item("pl.Datetime('us', 'UTC')", "pl.Datetime('ms', 'UTC')", "str(x)"),
        "enumeration": Item("pl.Enum(['a', 'b'])", "pl.Enum(['b', 'a'])", "x.categories.to_list()"),
        "lazy": Item(
            "pl.DataFrame({'a': [1]}).lazy()",
            "pl.DataFrame({'a': [2]}).lazy()",
            "x.collect().to_dict(as_series=False)",
            may_refuse=True,
        ),
        "schema": Item("pl.Schema({'a': pl.Int8})", "pl.Schema({'a': pl.Int16})", "str(x)"),
        "function": Item("pl.read_csv", "pl.scan_csv", "x.__name__"),
        "group_by": Item(
            "pl.DataFrame({'a': [1], 'b': [2]}).group_by('a')",
            "pl.DataFrame({'a': [1], 'b': [3]}).group_by('a')",
            "x.agg(pl.col('b').sum()).to_dict(as_series=False)",
        ),
        "series": Item("pl.Series('s', [1.0])", "pl.Series('t', [1.0])", "x.name, x.to_list()"),
    },
)

XARRAY = Package(
    "import numpy as np, xarray as xr",
    {
        "array": Item(
            "xr.DataArray([1, 2], dims='t', attrs={'u': 'm'})",
            "xr.DataArray([1, 2], dims='t', attrs={'u': 'km'})",
            "x.to_dict()",
        ),
        "dataset": Item(
            "xr.Dataset({'a': ('t', [1, 2])}, coords={'t': [0, 1]})",
            "xr.Dataset({'a': ('t', [1, 2])}, coords={'t': [0, 2]})",
            "x.to_dict()",
        ),
        "group_by": Item(
            "xr.DataArray([1, 2], dims='t', coords={'t': [0, 0]}).groupby('t')",
            "xr.DataArray([1, 3], dims='t', coords={'t': [0, 0]}).groupby('t')",
            "x.sum().values.tolist()",
        ),
        "function": Item("xr.concat", "xr.merge", "x.__name__"),
        "accessor_method": Item("xr.DataArray([1, 2]).sum", "xr.DataArray([1, 3]).sum", "x().item()"),
    },
)

H5PY = Package(
    """
    import os, h5py
    def opened(n):
        if not os.path.exists(f"{n}.h5"):
            with h5py.File(f"{n}.h5", "w") as file:
                file["a"] = [n]
        return h5py.File(f"{n}.h5", "r")
    """,
    {
        "file": Item("opened(1)", "opened(2)", "x['a'][:].tolist()", may_refuse=True, stored=False),
        "dataset": Item("opened(1)['a']", "opened(2)['a']", "x[:].tolist()", may_refuse=True, stored=False),
        "kind": Item("h5py.string_dtype('utf-8')", "h5py.string_dtype('ascii')", "str(h5py.check_string_dtype(x))"),
    },
)

ZARR = Package(
    "import numpy as np, zarr",
    {
        "array": Item("zarr.array(np.arange(3))", "zarr.array(np.arange(4))", "x[:].tolist()", may_refuse=True),
        "codec": Item("zarr.codecs.GzipCodec(level=1)", "zarr.codecs.GzipCodec(level=2)", "x.level"),
    },
)

DASK = Package(
    "import dask, dask.array as da",
    {
        "array": Item("da.ones(4, chunks=2) + 1", "da.ones(4, chunks=2) + 2", "x.compute().tolist()", may_refuse=True),
        "delayed": Item(
            "dask.delayed(int, pure=True)('1')", "dask.delayed(int, pure=True)('2')", "x.compute()", may_refuse=True
        ),
    },
    ("dask", "numpy"),
)

STATSMODELS = Package(
    "import numpy as np, statsmodels.api as sm",
    {
        "fitted": Item(
            "sm.OLS([1.0, 2.0, 4.0], [[1.0], [2.0], [3.0]]).fit()",
            "sm.OLS([1.0, 2.0, 5.0], [[1.0], [2.0], [3.0]]).fit()",
            "x.params.round(6).tolist()",
        ),
        "family": Item("sm.families.Poisson()", "sm.families.Gaussian()", "type(x.link).__name__"),
    },
)

TORCH = Package(
    "import torch",
    {
        "tensor": Item("torch.tensor([1.0])", "torch.tensor([2.0])", "x.tolist()"),
        "module": Item("torch.nn.Linear(1, 1, bias=False).requires_grad_(False).eval()", "torch.nn.ReLU()", "str(x)"),
        "kind": Item("torch.float32", "torch.float16", "str(x)"),
    },
)
