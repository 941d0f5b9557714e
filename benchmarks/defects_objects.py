"""Stories of `defects.py` about objects of real packages: as arguments, and as globals that are edited.

The packages are those of the extras `test` and `zoo`. In a global's program FACTOR is 2 and then 3.
"""

from __future__ import annotations

import textwrap

from defects_stories import STALE, Step, Story, calling, checked, edit

# What the module holds, and what `f(10)` returns of it: title, statements, expression.
GLOBALS: list[tuple[str, str, str]] = [
    ("`re.compile(...).search`", "import re\nFIND = re.compile('FACTOR').search", "n * int(FIND('2 3').group())"),
    (
        "`partial(re.compile(...).sub, '')`",
        "import re, functools\nCUT = functools.partial(re.compile('[^FACTOR]').sub, '')",
        "n * int(CUT('23'))",
    ),
    (
        "`struct.Struct(...).iter_unpack`",
        "import struct\nUNPACK = struct.Struct('FACTORB').iter_unpack",
        "n * len(next(UNPACK(bytes(6))))",
    ),
    ("`itertools.count(...)`", "import copy, itertools\nCOUNT = itertools.count(FACTOR)", "n * next(copy.copy(COUNT))"),
    (
        "`ContextVar('v', default=...)`",
        "import contextvars\nV = contextvars.ContextVar('v', default=FACTOR)",
        "n * V.get()",
    ),
    (
        "`logging.Formatter(...)`",
        "import logging\nF = logging.Formatter('FACTOR%(name)s')",
        "n * int(F.format(logging.LogRecord('', 0, '', 0, '', (), None)))",
    ),
    (
        "`argparse.ArgumentParser`, a default",
        "import argparse\nP = argparse.ArgumentParser()\nP.add_argument('-n', type=int, default=FACTOR)",
        "n * P.parse_args([]).n",
    ),
    ("`io.StringIO(...)`", "import io\nTEXT = io.StringIO('FACTOR')", "n * int(TEXT.getvalue())"),
    (
        "`urllib.request.Request(...)`",
        "import urllib.request\nR = urllib.request.Request('http://a/FACTOR')",
        "n * int(R.selector[1:])",
    ),
    ("`nullcontext(...)`", "import contextlib\nC = contextlib.nullcontext(FACTOR)", "n * C.enter_result"),
    ("a code object", "CODE = compile('FACTOR', 'code', 'eval')", "n * eval(CODE)"),
    (
        "an implementation of `singledispatch`",
        "import functools\n@functools.singledispatch\ndef scale(n):\n    return 0\n"
        "scale.register(int)(lambda n: n * FACTOR)",
        "scale(n)",
    ),
    (
        "a weak reference to a class",
        "import weakref\nclass A:\n    rate = FACTOR\nREF = weakref.ref(A)",
        "n * REF().rate",
    ),
    (
        "a connection to a database in memory",
        "import sqlite3\nD = sqlite3.connect(':memory:')\nD.execute('create table t as select FACTOR as a')",
        "n * D.execute('select a from t').fetchone()[0]",
    ),
    ("`np.frompyfunc(...)`", "import numpy as np\nU = np.frompyfunc(lambda n: n * FACTOR, 1, 1)", "U(n)"),
    ("`array.dot`", "import numpy as np\nDOT = np.array([FACTOR]).dot", "int(DOT([n]))"),
    (
        "`pandas.offsets.CustomBusinessDay(holidays=...)`",
        "import pandas as pd\nDAY = pd.offsets.CustomBusinessDay(holidays=['2026-01-0FACTOR'])",
        "n * DAY.holidays[0].astype(object).day",
    ),
    ("`scipy.stats.norm(...)`", "import scipy.stats\nD = scipy.stats.norm(FACTOR)", "int(n * D.mean())"),
    (
        "a pipeline of scikit-learn",
        "from sklearn.linear_model import Ridge\nfrom sklearn.pipeline import make_pipeline\n"
        "MODEL = make_pipeline(Ridge(alpha=FACTOR))",
        "n * MODEL[0].alpha",
    ),
    (
        "a `LazyFrame` of polars",
        "import polars as pl\nQ = pl.DataFrame({'a': [FACTOR]}).lazy()",
        "n * Q.collect().item()",
    ),
    ("an expression of pyarrow", "import pyarrow.compute as pc\nE = pc.field('a') > FACTOR", "n * int(str(E)[-2])"),
    ("`jinja2.Template(...)`", "import jinja2\nT = jinja2.Template('{{ n * FACTOR }}')", "int(T.render(n=n))"),
    (
        "a default of a pydantic model",
        "import pydantic\nclass M(pydantic.BaseModel):\n    rate: int = FACTOR",
        "n * M().rate",
    ),
    ("a default of an attrs class", "import attrs\n@attrs.define\nclass M:\n    rate: int = FACTOR", "n * M().rate"),
    (
        "a default of a msgspec `Struct`",
        "import msgspec\nclass M(msgspec.Struct):\n    rate: int = FACTOR",
        "n * M().rate",
    ),
    (
        "`OmegaConf.create(...)`",
        "from omegaconf import OmegaConf\nC = OmegaConf.create({'rate': FACTOR})",
        "n * C.rate",
    ),
    ("an expression of SQLAlchemy", "import sqlalchemy as sa\nE = sa.column('a') > FACTOR", "n * E.right.value"),
    (
        "an attribute of an edge of networkx",
        "import networkx as nx\nG = nx.Graph()\nG.add_edge(1, 2, rate=FACTOR)",
        "n * G.edges[1, 2]['rate']",
    ),
    ("`toolz.curry(...)`", "import operator, toolz\nTIMES = toolz.curry(operator.mul)(FACTOR)", "TIMES(n)"),
    (
        "a decorator made with wrapt",
        "import wrapt\ndef times(factor):\n    @wrapt.decorator\n    def wrapper(wrapped, instance, args, kwargs):\n"
        "        return wrapped(*args, **kwargs) * factor\n    return wrapper\n"
        "@times(FACTOR)\ndef same(n):\n    return n",
        "same(n)",
    ),
    ("`sympy.lambdify(...)`", "import sympy\na = sympy.Symbol('a')\nSCALE = sympy.lambdify(a, a * FACTOR)", "SCALE(n)"),
    (
        "a unit of a pint registry",
        "import pint\nU = pint.UnitRegistry()\nU.define('mine = FACTOR * meter')",
        "int(U.Quantity(n, 'mine').to('m').magnitude)",
    ),
]

FUNCTIONS = """
    import typing
    def typed(kind):
        def g(x: kind):
            return x
        return g
    @cached
    def f(function):
        ran()
        return typing.get_type_hints(function)["x"].__name__
"""
DOCUMENTED = """
    def made(text):
        def tool():
            return 1
        tool.__doc__ = text
        return tool
    @cached
    def f(tool):
        ran()
        return tool.__doc__
"""
SCORES = """
    from sklearn.metrics import accuracy_score, recall_score
    @cached
    def f(score):
        ran()
        return float(score([1, 1, 0, 0], [1, 0, 0, 0]))
"""
INFO = """
    import numpy as np
    class InfoArray(np.ndarray):
        def __new__(cls, values, info=None):
            made = np.asarray(values).view(cls)
            made.info = info
            return made
        def __array_finalize__(self, obj):
            self.info = getattr(obj, "info", None)
    @cached
    def f(values):
        ran()
        return values.info
"""
ZONES = """
    import datetime, pandas
    def at(hours):
        zone = datetime.timezone(datetime.timedelta(hours=hours), "IST")
        return pandas.Series(pandas.to_datetime(["2026-01-01"]).tz_localize(zone))
    @cached
    def f(times):
        ran()
        return times[0].utcoffset().total_seconds()
"""
CAUSES = """
    def caused(text):
        made = ValueError("outer")
        made.__cause__ = KeyError(text)
        return made
    @cached
    def f(error):
        ran()
        return error.__cause__.args
"""
CURRIES = """
    import operator, toolz
    @cached
    def f(function):
        ran()
        return function(10)
    times = toolz.curry(operator.mul)
"""
STRUCTS = """
    import msgspec
    def made(rename):
        return msgspec.defstruct("Made", [("a", int, 1)], rename=rename)
    @cached
    def f(cls):
        ran()
        return msgspec.json.encode(cls()).decode()
"""
WRAPT = """
    import wrapt
    def times(factor):
        @wrapt.decorator
        def wrapper(wrapped, instance, args, kwargs):
            return wrapped(*args, **kwargs) * factor
        def f(n):
            ran()
            return n
        return cached(wrapper(f))
"""
MATCHES = """
    import re
    @cached
    def f(match):
        ran()
        return match.groups()
"""
USED = """
    import networkx
    @cached
    def f(graph):
        ran()
        return graph.number_of_edges()
    G = networkx.path_graph(3)
    expect(f(G), 2)
    list(G.adj), list(G.edges)
    expect(f(G), 2)
"""
GROUPED = """
    import pandas
    @cached
    def f(groups):
        ran()
        return groups["b"].sum().tolist()
    G = pandas.DataFrame({"a": [1, 1], "b": [2, 3]}).groupby("a")
    expect(f(G), [5])
    expect(f(G), [5])
"""
CYTHON = """
    from numpy.random import default_rng
    @cached
    def f(n):
        ran()
        return round(float(default_rng(n).random()), 6)
"""

ARGUMENTS: list[tuple[str, int, list[Step]]] = [
    (
        "functions that differ in an annotation, which is looked at",
        2,
        checked(FUNCTIONS, ("f(typed(int))", "'int'"), ("f(typed(str))", "'str'")),
    ),
    (
        "functions that differ in their docstring, which is looked at",
        2,
        checked(DOCUMENTED, ("f(made('one'))", "'one'"), ("f(made('two'))", "'two'")),
    ),
    (
        "`accuracy_score` and `recall_score` of scikit-learn",
        2,
        checked(SCORES, ("f(accuracy_score)", "0.75"), ("f(recall_score)", "0.5")),
    ),
    (
        "arrays of numpy's own example of a subclass, `info='metres'` and `info='km'`",
        2,
        checked(INFO, ("f(InfoArray([1], 'metres'))", "'metres'"), ("f(InfoArray([1], 'km'))", "'km'")),
    ),
    (
        "Series in two time zones that are both called IST",
        2,
        checked(ZONES, ("f(at(5.5))", "19800.0"), ("f(at(2))", "7200.0")),
    ),
    (
        "exceptions with another `__cause__`",
        2,
        checked(CAUSES, ("f(caused('a'))", "('a',)"), ("f(caused('b'))", "('b',)")),
    ),
    ("`toolz.curry(mul)(2)` and `(3)`", 2, checked(CURRIES, ("f(times(2))", "20"), ("f(times(3))", "30"))),
    (
        "msgspec classes with another `rename`",
        2,
        checked(STRUCTS, ("f(made(None))", "'{\"a\":1}'"), ("f(made('upper'))", "'{\"A\":1}'")),
    ),
    (
        "two cached functions below decorators made with wrapt",
        2,
        checked(WRAPT, ("times(2)(10)", "20"), ("times(3)(10)", "30")),
    ),
    (
        "matches of a regular expression",
        2,
        checked(MATCHES, ("f(re.match('a(.)', 'ab'))", "('b',)"), ("f(re.match('a(.)', 'ac'))", "('c',)")),
    ),
    ("a graph of networkx, looked at between two calls", 1, [Step(USED)]),
    ("a group-by of pandas, which remembers its groups", 1, [Step(GROUPED)]),
    ("a function that uses `numpy.random.default_rng`, in two processes", 1, checked(CYTHON, ("f(1)", "0.511822")) * 2),
]


def told(title: str, text: str, expression: str) -> Story:
    """The story of a global that is edited."""
    return Story(title, "globals", 2, edit(textwrap.indent(text, "    ") + calling(expression), {}), STALE)


STORIES = [
    *(Story(title, "objects", needed, steps) for title, needed, steps in ARGUMENTS),
    *(told(*row) for row in GLOBALS),
]
