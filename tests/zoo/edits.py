"""Kinds of objects that modules hold, each in a small program with one constant to edit: VALUE, once 1 and once 2.

What code reads by a global name is part of its version, whatever type it has and however it was made.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Kind(NamedTuple):
    """The statements of a module, what a cached function of it returns, and the text of a module OTHER besides."""

    text: str
    result: str
    before: str = "1"
    after: str = "2"
    other: str = ""


CONNECT = "import sqlite3\nD = sqlite3.connect(':memory:')\n"
READ = "D.execute('select a from t').fetchone()"

KINDS: dict[str, Kind] = {
    # Python's own types
    "regex": Kind("import re\nP = re.compile('[VALUE]')", "bool(P.match('1'))"),
    "regex method": Kind("import re\nM = re.compile('[VALUE]').match", "bool(M('1'))"),
    "regex method in a partial": Kind(
        "import functools, re\nS = functools.partial(re.compile('VALUE').sub, 'x')", "S('12')"
    ),
    "struct": Kind("import struct\nS = struct.Struct('VALUEB')", "S.size"),
    "struct method": Kind(
        "import struct\nU = struct.Struct('VALUEB').pack_into.__self__.unpack", "len(U(bytes(VALUE)))"
    ),
    "partial": Kind("import functools\nP = functools.partial(pow, VALUE)", "P(3)"),
    "cmp_to_key": Kind(
        "import functools\nK = functools.cmp_to_key(lambda a, b: (a > b) * (VALUE * 2 - 3))", "sorted([2, 1, 3], key=K)"
    ),
    "count": Kind("import itertools\nC = itertools.count(VALUE)", "repr(C)"),
    "cycle": Kind("import copy, itertools\nC = itertools.cycle([VALUE])", "next(copy.copy(C))"),
    "repeat": Kind("import itertools\nC = itertools.repeat(VALUE)", "next(C)"),
    "context variable": Kind("import contextvars\nV = contextvars.ContextVar('v', default=VALUE)", "V.get()"),
    "context variable that was set": Kind(
        "import contextvars\nV = contextvars.ContextVar('v')\nV.set(VALUE)", "V.get()"
    ),
    "formatter": Kind(
        "import logging\nF = logging.Formatter('%(message)s VALUE')",
        "F.format(logging.LogRecord('n', 20, 'p', 1, 'm', (), None))",
    ),
    "string template": Kind("import string\nT = string.Template('$a VALUE')", "T.substitute(a=1)"),
    "argument parser": Kind(
        "import argparse\nP = argparse.ArgumentParser()\nP.add_argument('-n', type=int, default=VALUE)",
        "P.parse_args([]).n",
    ),
    "sub-parser": Kind(
        "import argparse\nP = argparse.ArgumentParser()\nS = P.add_subparsers()\nQ = S.add_parser('go')\n"
        "Q.set_defaults(n=VALUE)",
        "P.parse_args(['go']).n",
    ),
    "configuration": Kind(
        "import configparser\nC = configparser.ConfigParser()\nC.read_string('[a]\\nb = VALUE')", "C['a']['b']"
    ),
    "text in memory": Kind("import io\nI = io.StringIO('VALUE')", "I.getvalue()"),
    "bytes in memory": Kind("import io\nI = io.BytesIO(b'VALUE')", "I.getvalue()"),
    "request": Kind("import urllib.request\nR = urllib.request.Request('http://a/VALUE')", "R.full_url"),
    "cookie": Kind("import http.cookies\nC = http.cookies.SimpleCookie()\nC['a'] = 'VALUE'", "C.output()"),
    "null context": Kind("import contextlib\nC = contextlib.nullcontext(VALUE)", "C.enter_result"),
    "future": Kind("import concurrent.futures\nF = concurrent.futures.Future()\nF.set_result(VALUE)", "F.result()"),
    "code": Kind("C = compile('VALUE + 1', 'c', 'eval')", "eval(C)"),
    "namespace": Kind("import types\nN = types.SimpleNamespace(a=VALUE)", "N.a"),
    "deque": Kind("import collections\nD = collections.deque([1, 2, 3], VALUE)", "list(D)"),
    "default dict": Kind("import collections\nD = collections.defaultdict(lambda: VALUE)", "D['a']"),
    "ordered dict": Kind("import collections\nD = collections.OrderedDict(a=VALUE)", "D['a']"),
    "chain map": Kind("import collections\nD = collections.ChainMap({}, {'a': VALUE})", "D['a']"),
    "mapping proxy": Kind("import types\nD = types.MappingProxyType({'a': VALUE})", "D['a']"),
    "counter": Kind("import collections\nD = collections.Counter(a=VALUE)", "D['a']"),
    "enumeration": Kind("import enum\nclass E(enum.Enum):\n    A = VALUE", "E.A.value"),
    "functional enumeration": Kind("import enum\nE = enum.Enum('E', {'A': VALUE})", "E.A.value"),
    "flag": Kind("import enum\nclass E(enum.Flag):\n    A = VALUE", "E.A.value"),
    "dataclass": Kind("import dataclasses\n@dataclasses.dataclass\nclass D:\n    a: int = VALUE\nI = D()", "I.a"),
    "made dataclass": Kind(
        "import dataclasses\nD = dataclasses.make_dataclass('D', [('a', int, dataclasses.field(default=VALUE))])",
        "D().a",
    ),
    "named tuple": Kind("import typing\nclass N(typing.NamedTuple):\n    a: int = VALUE", "N().a"),
    "collections named tuple": Kind(
        "import collections\nN = collections.namedtuple('N', 'a', defaults=[VALUE])", "N().a"
    ),
    "typed dict": Kind("import typing\nT = typing.TypedDict('T', {'aVALUE': int})", "list(T.__annotations__)"),
    "decimal context": Kind("import decimal\nC = decimal.Context(prec=VALUE)", "str(C.create_decimal('1.2345'))"),
    "decimal": Kind("import decimal\nD = decimal.Decimal('VALUE.0')", "str(D)"),
    "datetime": Kind("import datetime\nD = datetime.datetime(2026, 1, VALUE)", "D.isoformat()"),
    "time zone": Kind(
        "import datetime\nD = datetime.timezone(datetime.timedelta(hours=VALUE), 'IST')", "D.utcoffset(None)"
    ),
    "time zone of one's own": Kind(
        "import datetime\nclass Z(datetime.tzinfo):\n    def __init__(self, n):\n        self.n = n\n"
        "    def utcoffset(self, when):\n        return datetime.timedelta(hours=self.n)\nI = Z(VALUE)",
        "I.utcoffset(None)",
    ),
    "fraction": Kind("import fractions\nF = fractions.Fraction(VALUE, 3)", "str(F)"),
    "uuid": Kind("import uuid\nU = uuid.UUID(int=VALUE)", "str(U)"),
    "address": Kind("import ipaddress\nN = ipaddress.ip_network('10.0.VALUE.0/24')", "str(N)"),
    "path": Kind("import pathlib\nP = pathlib.Path('a') / 'VALUE'", "str(P)"),
    "path method": Kind("import pathlib\nJ = pathlib.PurePath('VALUE').joinpath", "str(J('a'))"),
    "weak reference": Kind("import weakref\nclass A:\n    n = VALUE\nR = weakref.ref(A)", "R().n"),
    "weak dictionary": Kind(
        "import weakref\nclass A:\n    n = 5\nD = weakref.WeakKeyDictionary()\nD[A] = VALUE", "list(D.values())"
    ),
    "item getter": Kind("import operator\nG = operator.itemgetter(VALUE)", "G([0, 1, 2])"),
    "attribute getter": Kind("import operator\nG = operator.attrgetter('VALUE')", "G(2 + 1j)", "real", "imag"),
    "method caller": Kind("import operator\nG = operator.methodcaller('split', 'VALUE')", "G('a1b2c')"),
    "text method": Kind("J = 'VALUE'.join", "J('abc')"),
    "list method": Kind("L = [5, VALUE].count", "L(2)"),
    "dict method": Kind("G = {'a': VALUE}.get", "G('a')"),
    "slice": Kind("S = slice(VALUE)", "'abc'[S]"),
    "range": Kind("R = range(VALUE)", "list(R)"),
    "memory view": Kind("M = memoryview(b'VALUE')", "M.tobytes()"),
    "array": Kind("import array\nA = array.array('i', [VALUE])", "A.tolist()"),
    "complex": Kind("C = VALUE + 1j", "C"),
    "random generator": Kind("import random\nR = random.Random(VALUE)", "R.getstate()[1][:3]"),
    "exception": Kind("E = ValueError('VALUE')", "E.args"),
    "exception with a note": Kind("E = ValueError('a')\nE.add_note('VALUE')", "E.__notes__"),
    "generic alias": Kind("import typing\nA = typing.Literal[VALUE]", "typing.get_args(A)"),
    "type variable": Kind("import typing\nT = typing.TypeVar('T', bound='VALUE')", "str(T.__bound__)", "int", "str"),
    "syntax tree": Kind("import ast\nT = ast.parse('VALUE')", "ast.unparse(T)"),
    "element": Kind("from xml.etree import ElementTree\nE = ElementTree.fromstring('<a>VALUE</a>')", "E.text"),
    "ctypes structure": Kind(
        "import ctypes\nclass S(ctypes.Structure):\n    _fields_ = [('a', ctypes.c_int)]\nI = S(VALUE)", "I.a"
    ),
    "ctypes array": Kind("import ctypes\nA = (ctypes.c_int * 2)(1, VALUE)", "list(A)"),
    "json decoder": Kind(
        "import json\nD = json.JSONDecoder(parse_int=lambda text: int(text) + VALUE)", "D.decode('1')"
    ),
    "json encoder": Kind("import json\nD = json.JSONEncoder(indent=VALUE)", "D.encode({'a': 1})"),
    "logger": Kind("import logging\nL = logging.Logger('mine', VALUE * 10)", "L.level"),
    "logging filter": Kind("import logging\nF = logging.Filter('VALUE')", "F.name"),
    "exit stack": Kind("import contextlib\nC = contextlib.ExitStack()\nC.mine = VALUE", "C.mine"),
    "thread": Kind("import threading\nT = threading.Thread(target=print, name='VALUE')", "T.name"),
    "lock beside a value": Kind(
        "import threading\nclass Pool:\n    def __init__(self, n):\n        self.lock, self.n = threading.Lock(), n\n"
        "P = Pool(VALUE)",
        "P.n",
    ),
    "queue": Kind("import queue\nQ = queue.Queue()\nQ.put(VALUE)", "list(Q.queue)"),
    "csv dialect": Kind("import csv\nclass D(csv.excel):\n    delimiter = 'VALUE'", "D.delimiter", ";", ","),
    "made module": Kind("import types\nm = types.ModuleType('m')\nm.rate = VALUE", "m.rate"),
    "list iterator": Kind("import copy\nZ = iter([VALUE])", "list(copy.copy(Z))"),
    "ring": Kind("L = [VALUE]\nL.append(L)", "L[0], L[1] is L"),
    "instance in a ring": Kind("class Node:\n    pass\nN = Node()\nN.me, N.n, N.f = N, VALUE, lambda: N", "N.f().n"),
    # Code in its wrappers
    "single dispatch": Kind(
        "import functools\n@functools.singledispatch\ndef area(x):\n    return 0\n"
        "area.register(int)(lambda x: x + VALUE)",
        "area(5)",
    ),
    "cached helper": Kind("import functools\n@functools.lru_cache\ndef helper(x):\n    return x + VALUE", "helper(1)"),
    "wrapped helper": Kind(
        "import functools\ndef plus(n):\n    def decorate(f):\n        @functools.wraps(f)\n        def inner(x):\n"
        "            return f(x) + n\n        return inner\n    return decorate\n"
        "@plus(VALUE)\ndef helper(x):\n    return x",
        "helper(1)",
    ),
    "wrapper that is an instance": Kind(
        "class Plus:\n    def __init__(self, f, n):\n        self.f, self.n = f, n\n    def __call__(self, x):\n"
        "        return self.f(x) + self.n\nhelper = Plus(abs, VALUE)",
        "helper(1)",
    ),
    "default of a helper": Kind("def helper(x, n=VALUE):\n    return x + n", "helper(1)"),
    "documented helper": Kind("def helper(x):\n    return x\nhelper.rate = VALUE", "helper.rate"),
    "class attribute": Kind("class A:\n    n = VALUE", "A.n"),
    "class attribute that is set later": Kind("class A:\n    pass\nA.n = VALUE", "A.n"),
    "attribute of a metaclass": Kind("class M(type):\n    n = VALUE\nclass A(metaclass=M):\n    pass", "A.n"),
    "made class": Kind("A = type('A', (), {'n': VALUE})", "A.n"),
    "closure": Kind("def made(n):\n    return lambda x: x + n\nF = made(VALUE)", "F(1)"),
    "bound method": Kind(
        "class A:\n    def __init__(self, n):\n        self.n = n\n    def get(self):\n"
        "        return self.n\nG = A(VALUE).get",
        "G()",
    ),
    "static method": Kind("class A:\n    @staticmethod\n    def get():\n        return VALUE\nG = A.get", "G()"),
    "class method": Kind(
        "class A:\n    n = VALUE\n    @classmethod\n    def get(cls):\n        return cls.n\nG = A.get", "G()"
    ),
    "property": Kind("class A:\n    @property\n    def n(self):\n        return VALUE\nI = A()", "I.n"),
    "cached property": Kind(
        "import functools\nclass A:\n    @functools.cached_property\n    def n(self):\n        return VALUE\nI = A()",
        "I.n",
    ),
    "partial method": Kind(
        "import functools\nclass A:\n    def get(self, n):\n        return n\n"
        "    one = functools.partialmethod(get, VALUE)\nI = A()",
        "I.one()",
    ),
    "descriptor": Kind(
        "class D:\n    def __init__(self, n):\n        self.n = n\n    def __get__(self, *_):\n"
        "        return self.n\nclass A:\n    n = D(VALUE)",
        "A.n",
    ),
    "slots": Kind("class A:\n    __slots__ = 'n'\nI = A()\nI.n = VALUE", "I.n"),
    "generator function": Kind("def g():\n    yield VALUE", "list(g())"),
    "generator": Kind("def g(n):\n    yield n\nG = g(VALUE)", "G.gi_frame.f_locals['n']"),
    "generator expression": Kind("G = lambda: (x + VALUE for x in [1])", "list(G())"),
    "function made by exec": Kind("SPACE = {}\nexec('def f():\\n    return VALUE', SPACE)\nF = SPACE['f']", "F()"),
    "function type": Kind("import types\nF = types.FunctionType(compile('VALUE', 'c', 'eval'), {})", "F()"),
    "context manager": Kind(
        "import contextlib\n@contextlib.contextmanager\ndef manager():\n    yield VALUE\n"
        "def entered():\n    with manager() as value:\n        return value",
        "entered()",
    ),
    "abstract class with registered ones": Kind(
        "import abc\nclass A(abc.ABC):\n    pass\nfor cls in [int, str][:VALUE]:\n    A.register(cls)",
        "issubclass(str, A)",
    ),
    "table of functions": Kind("T = {'a': [lambda x: x + VALUE]}", "T['a'][0](1)"),
    # What has no parts that could be looked at, made in all the ways in which programs make things
    "connection, one statement": Kind(f"{CONNECT}D.execute('create table t as select VALUE as a')", READ),
    "connection, by a constant": Kind(f"{CONNECT}N = VALUE\nD.execute(f'create table t as select {{N}} as a')", READ),
    "connection, by a function": Kind(
        f"{CONNECT}def fill(d, n):\n    d.execute(f'create table t as select {{n}} as a')\nfill(D, VALUE)", READ
    ),
    "connection, by a function's constant": Kind(
        f"{CONNECT}def fill(d):\n    d.execute('create table t as select VALUE as a')\nfill(D)", READ
    ),
    "connection, made by a function": Kind(
        "import sqlite3\ndef made(n):\n    d = sqlite3.connect(':memory:')\n"
        "    d.execute(f'create table t as select {n} as a')\n    return d\nD = made(VALUE)",
        READ,
    ),
    "connection, in a loop": Kind(
        f"{CONNECT}for n in [VALUE]:\n    D.execute(f'create table t as select {{n}} as a')", READ
    ),
    "connection, by a function that knows it": Kind(
        f"{CONNECT}def fill():\n    D.execute('create table t as select VALUE as a')\nfill()", READ
    ),
    "connection, by a class that knows it": Kind(
        f"{CONNECT}class Filled:\n    D.execute('create table t as select VALUE as a')", READ
    ),
    "connection, by a decorator": Kind(
        f"{CONNECT}def filled(f):\n    D.execute('create table t as select VALUE as a')\n    return f\n"
        "@filled\ndef helper():\n    pass",
        READ,
    ),
    "connection, by a comprehension": Kind(
        f"{CONNECT}[D.execute(f'create table t as select {{n}} as a') for n in [VALUE]]", READ
    ),
    "connection, in a loop over itself": Kind(
        f"{CONNECT}for d in [D]:\n    d.execute('create table t as select VALUE as a')", READ
    ),
    "connection, in branches": Kind(
        f"{CONNECT}if D:\n    try:\n        D.execute('create table t as select VALUE as a')\n    finally:\n"
        "        pass",
        READ,
    ),
    "connection, by another name": Kind(f"{CONNECT}E = D\nE.execute('create table t as select VALUE as a')", READ),
    "connection, by a cursor": Kind(f"{CONNECT}c = D.cursor()\nc.execute('create table t as select VALUE as a')", READ),
    "connection, in a class": Kind(
        "import sqlite3\nclass Held:\n    d = sqlite3.connect(':memory:')\n"
        "    d.execute('create table t as select VALUE as a')",
        "Held.d.execute('select a from t').fetchone()",
    ),
    "connection, in a dict": Kind(
        f"{CONNECT}T = {{'d': D}}\nT['d'].execute('create table t as select VALUE as a')",
        "T['d'].execute('select a from t').fetchone()",
    ),
    "connection, of an instance": Kind(
        "import sqlite3\nclass Store:\n    def __init__(self, n):\n        self.d = sqlite3.connect(':memory:')\n"
        "        self.d.execute(f'create table t as select {n} as a')\nS = Store(VALUE)",
        "S.d.execute('select a from t').fetchone()",
    ),
    "connection, as a default": Kind(
        f"{CONNECT}D.execute('create table t as select VALUE as a')\ndef first(d=D):\n"
        "    return d.execute('select a from t').fetchone()",
        "first()",
    ),
    "connection, of a closure": Kind(
        "import sqlite3\ndef made(n):\n    d = sqlite3.connect(':memory:')\n"
        "    d.execute(f'create table t as select {n} as a')\n"
        "    return lambda: d.execute('select a from t').fetchone()\nF = made(VALUE)",
        "F()",
    ),
    "connection, of another module": Kind(
        "from OTHER import D", READ, other=f"{CONNECT}D.execute('create table t as select VALUE as a')"
    ),
    "connection, by another module's constant": Kind(
        f"import OTHER\n{CONNECT}D.execute(f'create table t as select {{OTHER.N}} as a')", READ, other="N = VALUE"
    ),
    "connection, by another module's function": Kind(
        f"import OTHER\n{CONNECT}OTHER.fill(D)",
        READ,
        other="def fill(d):\n    d.execute('create table t as select VALUE as a')",
    ),
    # Packages
    "numpy array": Kind("import numpy as np\nA = np.array([VALUE, 3])", "A.tolist()"),
    "numpy array method": Kind("import numpy as np\nD = np.array([VALUE, 3]).dot", "D([1, 1]).item()"),
    "numpy dtype": Kind("import numpy as np\nD = np.dtype([('a', 'SVALUE')])", "D.itemsize"),
    "numpy ufunc": Kind("import numpy as np\nU = np.frompyfunc(lambda x: x + VALUE, 1, 1)", "U(1)"),
    "numpy ufunc method": Kind("import numpy as np\nU = [np.add, np.multiply][VALUE - 1].reduce", "U([2, 3]).item()"),
    "numpy vectorize": Kind("import numpy as np\nV = np.vectorize(lambda x: x + VALUE)", "V([1]).tolist()"),
    "numpy polynomial": Kind("import numpy as np\nP = np.poly1d([VALUE, 0])", "P(2).item()"),
    "numpy new polynomial": Kind("import numpy as np\nP = np.polynomial.Polynomial([0, VALUE])", "float(P(2))"),
    "numpy generator": Kind("import numpy as np\nG = np.random.default_rng(VALUE)", "G.bit_generator.state"),
    "pandas series": Kind("import pandas as pd\nS = pd.Series([VALUE])", "S.tolist()"),
    "pandas timestamp": Kind("import pandas as pd\nS = pd.Timestamp(2026, 1, VALUE)", "S.isoformat()"),
    "pandas offset": Kind(
        "import pandas as pd\nS = pd.offsets.CustomBusinessDay(holidays=['2026-01-0VALUE'])",
        "[str(day) for day in S.holidays]",
    ),
    "pandas group-by": Kind(
        "import pandas as pd\nS = pd.DataFrame({'a': [1], 'b': [VALUE]}).groupby('a')", "S['b'].sum().tolist()"
    ),
    "pandas rolling window": Kind(
        "import pandas as pd\nS = pd.Series([1, 2, 3]).rolling(VALUE)", "S.sum().fillna(0).tolist()"
    ),
    "scipy distribution": Kind("import scipy.stats\nD = scipy.stats.norm(0, VALUE)", "D.std().item()"),
    "scipy distribution method": Kind("import scipy.stats\nD = scipy.stats.norm(0, VALUE).cdf", "D(1.0).item()"),
    "scipy spline": Kind(
        "import scipy.interpolate\nS = scipy.interpolate.CubicSpline([0, 1], [0, VALUE])", "S(0.5).item()"
    ),
    "scipy operator": Kind(
        "import numpy as np, scipy.sparse.linalg\n"
        "S = scipy.sparse.linalg.LinearOperator((1, 1), matvec=lambda x: x * VALUE, dtype=float)",
        "(S @ np.ones(1)).tolist()",
    ),
    "sklearn estimator": Kind("from sklearn.linear_model import Ridge\nE = Ridge(alpha=VALUE)", "E.alpha"),
    "sklearn pipeline": Kind(
        "from sklearn.linear_model import Ridge\nfrom sklearn.pipeline import make_pipeline\n"
        "E = make_pipeline(Ridge(alpha=VALUE))",
        "E[0].alpha",
    ),
    "sklearn scorer": Kind(
        "from sklearn import metrics\nS = metrics.make_scorer(metrics.fbeta_score, beta=VALUE)", "S._kwargs"
    ),
    "sklearn splitter": Kind("from sklearn.model_selection import KFold\nS = KFold(VALUE + 1)", "S.get_n_splits()"),
    "polars expression": Kind("import polars as pl\nE = pl.col('a') + VALUE", "str(E)"),
    "polars lazy frame": Kind(
        "import polars as pl\nE = pl.DataFrame({'a': [VALUE]}).lazy()", "E.collect()['a'].to_list()"
    ),
    "polars expression with a function": Kind(
        "import polars as pl\nE = pl.col('a').map_elements(lambda x: x + VALUE, return_dtype=pl.Int64)",
        "pl.DataFrame({'a': [1]}).select(E)['a'].to_list()",
    ),
    "pyarrow schema": Kind("import pyarrow as pa\nS = pa.schema([pa.field('aVALUE', pa.int8())])", "S.names"),
    "pyarrow expression": Kind("import pyarrow.compute as pc\nE = pc.field('a') > VALUE", "str(E)"),
    "pyarrow options": Kind("import pyarrow.compute as pc\nE = pc.RoundOptions(ndigits=VALUE)", "str(E)"),
    "attrs class": Kind("import attrs\n@attrs.define\nclass A:\n    n: int = VALUE", "A().n"),
    "attrs validator": Kind(
        "import attrs\n@attrs.define\nclass A:\n    n: int = attrs.field(default=5, converter=lambda x: x + VALUE)",
        "A().n",
    ),
    "pydantic model": Kind("import pydantic\nclass A(pydantic.BaseModel):\n    n: int = VALUE", "A().n"),
    "pydantic constraint": Kind(
        "import pydantic\nclass A(pydantic.BaseModel):\n    n: int = pydantic.Field(5, multiple_of=VALUE)",
        "A.model_json_schema()['properties']['n']['multipleOf']",
    ),
    "pydantic adapter": Kind(
        "import pydantic, typing\nA = pydantic.TypeAdapter(typing.Annotated[int, pydantic.Field(multiple_of=VALUE)])",
        "A.json_schema()",
    ),
    "image": Kind("from PIL import Image\nI = Image.new('L', (1, 1), VALUE)", "I.getpixel((0, 0))"),
    "jinja2 template": Kind("import jinja2\nT = jinja2.Template('VALUE {{ x }}')", "T.render(x=1)"),
    "jinja2 environment": Kind(
        "import jinja2\nE = jinja2.Environment()\nE.globals['n'] = VALUE", "E.from_string('{{ n }}').render()"
    ),
    "jinja2 filter": Kind(
        "import jinja2\nE = jinja2.Environment()\nE.filters['f'] = lambda x: x + VALUE",
        "E.from_string('{{ 1 | f }}').render()",
    ),
    "joblib memory": Kind("import joblib\nP = joblib.delayed(pow)(VALUE, 3)", "P[0](*P[1])"),
    "wrapt decorator": Kind(
        "import wrapt\n@wrapt.decorator\ndef plus(wrapped, instance, args, kwargs):\n"
        "    return wrapped(*args, **kwargs) + VALUE\n@plus\ndef helper(x):\n    return x",
        "helper(1)",
    ),
    "wrapt proxy": Kind("import wrapt\nP = wrapt.ObjectProxy({'a': VALUE})", "P['a']"),
    "toolz curry": Kind("import toolz\n@toolz.curry\ndef power(a, b):\n    return a ** b\nP = power(VALUE)", "P(3)"),
    "toolz compose": Kind("import toolz\nP = toolz.compose(lambda x: x + VALUE, abs)", "P(-1)"),
    "cytoolz curry": Kind("import cytoolz\nP = cytoolz.curry(pow)(VALUE)", "P(3)"),
    "tenacity": Kind(
        "import tenacity\n@tenacity.retry(stop=tenacity.stop_after_attempt(VALUE))\ndef helper():\n    return 1",
        "helper.retry.stop.max_attempt_number",
    ),
    "numba": Kind("import numba\n@numba.njit\ndef helper(x):\n    return x + VALUE", "helper(1)"),
    "numba options": Kind(
        "import numba\n@numba.njit(fastmath=VALUE == 1)\ndef helper(x):\n    return x",
        "helper.targetoptions['fastmath']",
    ),
    "numba ufunc": Kind(
        "import numba\n@numba.vectorize(['int64(int64)'])\ndef helper(x):\n    return x + VALUE", "helper(1).item()"
    ),
    "sqlalchemy expression": Kind(
        "import sqlalchemy as sa\nE = sa.column('a') > VALUE", "str(E.compile(compile_kwargs={'literal_binds': True}))"
    ),
    "sqlalchemy table": Kind(
        "import sqlalchemy as sa\nT = sa.Table('t', sa.MetaData(), sa.Column('a', sa.String(VALUE)))", "str(T.c.a.type)"
    ),
    "sqlalchemy model": Kind(
        "import sqlalchemy as sa, sqlalchemy.orm\nclass Base(sa.orm.DeclarativeBase):\n    pass\n"
        "class T(Base):\n    __tablename__ = 't'\n    a = sa.Column(sa.Integer, primary_key=True, default=VALUE)",
        "T.__table__.c.a.default.arg",
    ),
    "omegaconf": Kind("from omegaconf import OmegaConf\nC = OmegaConf.create({'a': {'b': VALUE}})", "C.a.b"),
    "pint registry": Kind(
        "import pint\nU = pint.UnitRegistry(cache_folder=None)\nU.define('mine = VALUE * meter')",
        "U.Quantity(1, 'mine').to('meter').magnitude",
    ),
    "pint quantity": Kind("import pint\nU = pint.UnitRegistry()\nQ = U.Quantity(VALUE, 'm')", "Q.magnitude"),
    "sympy expression": Kind("import sympy\nE = sympy.Symbol('a') + VALUE", "str(E)"),
    "sympy lambdify": Kind("import sympy\na = sympy.Symbol('a')\nF = sympy.lambdify(a, a + VALUE)", "F(1)"),
    "networkx graph": Kind(
        "import networkx as nx\nG = nx.Graph()\nG.add_edge(1, 2, weight=VALUE)", "G.edges[1, 2]['weight']"
    ),
    "networkx view": Kind("import networkx as nx\nG = nx.path_graph(VALUE).nodes", "list(G)"),
    "msgspec struct": Kind("import msgspec\nclass S(msgspec.Struct):\n    a: int = VALUE", "S().a"),
    "msgspec options": Kind(
        "import msgspec\nclass S(msgspec.Struct, tag='VALUE'):\n    a: int = 1", "msgspec.json.encode(S())"
    ),
    "msgspec decoder": Kind("import msgspec\nD = msgspec.json.Decoder([int, float][VALUE - 1])", "D.decode('1')"),
    "xarray array": Kind("import xarray as xr\nA = xr.DataArray([1], dims='t', attrs={'n': VALUE})", "A.attrs['n']"),
    "shapely tree": Kind(
        "import shapely\nT = shapely.STRtree([shapely.Point(VALUE, 0)])", "T.query(shapely.box(0, 0, 1.5, 1)).tolist()"
    ),
    "shapely prepared": Kind(
        "import shapely.prepared\nT = shapely.prepared.prep(shapely.box(VALUE, 0, 3, 3))",
        "T.contains(shapely.Point(1.5, 1))",
    ),
    "lxml element": Kind("from lxml import etree\nE = etree.fromstring('<a>VALUE</a>')", "E.text"),
    "lxml path": Kind("from lxml import etree\nP = etree.XPath('//a[VALUE]')", "P.path"),
    "dateutil rule": Kind(
        "import datetime, dateutil.rrule\n"
        "R = dateutil.rrule.rrule(3, count=VALUE, dtstart=datetime.datetime(2026, 1, 1))",
        "len(list(R))",
    ),
    "requests session": Kind("import requests\nS = requests.Session()\nS.headers['a'] = 'VALUE'", "S.headers['a']"),
    "flask app": Kind("import flask\nA = flask.Flask('a')\nA.config['N'] = VALUE", "A.config['N']"),
    "structlog logger": Kind("import structlog\nL = structlog.get_logger().bind(n=VALUE)", "L._context['n']"),
    "marshmallow schema": Kind(
        "import marshmallow\nclass S(marshmallow.Schema):\n    a = marshmallow.fields.Int(load_default=VALUE)\nI = S()",
        "I.load({})",
    ),
    "dask array": Kind("import dask.array as da\nA = da.ones(2, chunks=1) * VALUE", "A.compute().tolist()"),
    "fsspec system": Kind(
        "import fsspec\nF = fsspec.filesystem('memory', skip_instance_cache=True)\nF.n = VALUE", "F.n"
    ),
    "httpx client": Kind("import httpx\nC = httpx.Client(headers={'a': 'VALUE'})", "C.headers['a']"),
    "yaml loader": Kind(
        "import yaml\nclass L(yaml.SafeLoader):\n    pass\nL.add_constructor('!n', lambda loader, node: VALUE)",
        "yaml.load('!n a', L)",
    ),
}

MODULE = """\
from pcache import cached
from tests.zoo.probes import ran
{text}
def look():
    return repr(({result}))
@cached
def read():
    ran()
    return look()
"""

MAIN = """\
import importlib, os, sys
from tests.zoo.probes import Item
def edit(*modules):
    for module in modules:
        os.replace(f"{{module.__file__}}.edited", module.__file__)
        importlib.reload(module)
for name, file in {files!r}:
    item = Item(name)
    try:
        module, other = importlib.import_module(file), importlib.import_module(file + "_other")
    except ModuleNotFoundError as error:
        item.faults.append(f"missing: {{error.name}}")
    else:
        item.as_global(module.read, module.look())
        if item.run == "reloaded":
            item.reloaded(module, lambda: edit(other, module))
    item.say()
"""
RUNS = (("first", "1"), ("again", "2"), ("edited", "3"), ("reloaded", "4"), ("restored", "5"))


def files_of(*, edited: bool) -> dict[str, str]:
    """A module for each kind, how it reads once it is edited, and a program that imports all of them."""
    names = {name: "kind_" + re.sub(r"\W+", "_", name) for name in KINDS}
    files = {"program.py": MAIN.format(files=list(names.items()))}
    for name, kind in KINDS.items():
        texts = {names[name]: MODULE.format(text=kind.text, result=kind.result), f"{names[name]}_other": kind.other}
        for file, text in texts.items():
            text = text.replace("OTHER", f"{names[name]}_other")
            before, after = (text.replace("VALUE", value) for value in (kind.before, kind.after))
            files[f"{file}.py"] = after if edited else before
            files[f"{file}.py.edited"] = after
    return files
