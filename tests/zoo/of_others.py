"""Items of packages of all kinds: graphs, symbols, wrappers, models of data, templates, images, requests."""

from __future__ import annotations

from tests.zoo.program import Item, Package

NETWORKX = Package(
    "import networkx as nx",
    {
        "graph": Item("nx.path_graph(3)", "nx.path_graph(4)", "sorted(x.adj[2])"),
        "directed": Item("nx.DiGraph([(1, 2)], name='a')", "nx.DiGraph([(1, 2)], name='b')", "x.graph, list(x.edges)"),
        "function": Item("nx.shortest_path", "nx.pagerank", "x.__name__"),
        "view": Item("nx.path_graph(3).edges", "nx.path_graph(4).edges", "list(x)"),
    },
)

SYMPY = Package(
    """
    import sympy
    from sympy.abc import a, b
    """,
    {
        "expression": Item("a + 2 * b", "a + 3 * b", "str(x)"),
        "symbol": Item("sympy.Symbol('a', positive=True)", "sympy.Symbol('a')", "x.is_positive"),
        "lambdified": Item("sympy.lambdify(a, a + 1)", "sympy.lambdify(a, a + 2)", "x(1)", stored=False),
        "matrix": Item("sympy.Matrix([[1, a]])", "sympy.Matrix([[2, a]])", "str(x)"),
        "function": Item("sympy.Function('f')(a)", "sympy.Function('g')(a)", "str(x)"),
    },
)

NUMBA = Package(
    """
    import numba
    def compiled(n, **options):
        return numba.njit(**options)(lambda x: x + n)
    """,
    {
        "dispatcher": Item("compiled(1)", "compiled(2)", "x(1)", stored=False),
        "signature": Item(
            "numba.njit('float64(float64)')(lambda x: x)",
            "numba.njit('int64(int64)')(lambda x: x)",
            "x(1.5)",
            stored=False,
        ),
        "options": Item(
            "compiled(1, fastmath=False)", "compiled(1, fastmath=True)", "x.targetoptions.get('fastmath')", stored=False
        ),
        "ufunc": Item(
            "numba.vectorize(['float64(float64)'])(lambda x: x + 1)",
            "numba.vectorize(['float64(float64)'])(lambda x: x + 2)",
            "float(x(1.0))",
            stored=False,
        ),
        "kind": Item("numba.float64[:]", "numba.float32[:]", "str(x)"),
    },
)

WRAPT = Package(
    """
    import wrapt
    def plus(n):
        @wrapt.decorator
        def wrapper(wrapped, instance, args, kwargs):
            return wrapped(*args, **kwargs) + n
        return wrapper(lambda x: x)
    """,
    {
        "decorated": Item("plus(1)", "plus(2)", "x(1)", may_refuse=True, stored=False),
        "proxy": Item("wrapt.ObjectProxy([1])", "wrapt.ObjectProxy([2])", "list(x)", may_refuse=True, stored=False),
        "partial": Item(
            "wrapt.PartialCallableObjectProxy(pow, 2)",
            "wrapt.PartialCallableObjectProxy(pow, 3)",
            "x(2)",
            may_refuse=True,
            stored=False,
        ),
    },
)

TOOLZ = Package(
    """
    import toolz
    def power(base, exponent):
        return base ** exponent
    """,
    {
        "curry": Item("toolz.curry(power)(2)", "toolz.curry(power)(3)", "x(2)"),
        "compose": Item("toolz.compose(abs, int)", "toolz.compose(str, int)", "x(-1.5)"),
        "juxt": Item("toolz.juxt(abs, int)", "toolz.juxt(abs, str)", "x(-1)"),
        "complement": Item("toolz.complement(bool)", "toolz.complement(callable)", "x(1)"),
    },
)

MSGSPEC = Package(
    """
    import msgspec
    class Point(msgspec.Struct):
        x: int
    def struct(n, **options):
        return msgspec.defstruct("Made", [("a", int, n)], **options)
    """,
    {
        "instance": Item("Point(1)", "Point(2)", "x"),
        "default": Item("struct(1)", "struct(2)", "x().a", stored=False),
        "rename": Item("struct(1)", "struct(1, rename='upper')", "msgspec.json.encode(x())", stored=False),
        "tag": Item("struct(1, tag='a')", "struct(1, tag='b')", "msgspec.json.encode(x())", stored=False),
        "order": Item("struct(1)", "struct(1, order=True)", "x.__struct_config__.order", stored=False),
        "decoder": Item(
            "msgspec.json.Decoder(list[int])",
            "msgspec.json.Decoder(list[float])",
            "x.decode('[1]')",
            may_refuse=True,
            stored=False,
        ),
        "encoder": Item(
            "msgspec.json.Encoder()",
            "msgspec.json.Encoder(order='sorted')",
            "x.encode({'b': 1, 'a': 2})",
            may_refuse=True,
            stored=False,
        ),
        "instance_of_made": Item(
            "struct(1)(5)", "struct(1, rename='upper')(5)", "msgspec.json.encode(x)", stored=False
        ),
    },
)

ATTRS = Package(
    """
    import attrs
    @attrs.define
    class Point:
        x: int
        y: list = attrs.field(factory=list)
    def made(kind=int, **options):
        return attrs.make_class("Made", {"a": attrs.field(type=kind, **options)})
    """,
    {
        "instance": Item("Point(1)", "Point(2)", "x"),
        "default": Item("made(default=1)", "made(default=2)", "x().a", stored=False),
        "kind": Item("made(int)", "made(str)", "attrs.fields(x).a.type", stored=False),
        "converter": Item("made(converter=int)", "made(converter=float)", "x('1').a", stored=False),
        "alias": Item("made(alias='b')", "made(alias='c')", "attrs.fields(x).a.alias", stored=False),
    },
)

PYDANTIC = Package(
    """
    import pydantic
    class Point(pydantic.BaseModel):
        x: int = 0
        y: list[int] = []
    def model(kind, **options):
        return pydantic.create_model("Made", a=(kind, pydantic.Field(**options)))
    """,
    {
        "instance": Item("Point(x=1)", "Point(x=2)", "x.model_dump()"),
        "fields_set": Item("Point()", "Point(x=0)", "x.model_dump(exclude_unset=True)"),
        "default": Item("model(int, default=1)", "model(int, default=2)", "x().a", stored=False),
        "constraint": Item(
            "model(int, default=1, gt=1)",
            "model(int, default=1, gt=2)",
            "x.model_json_schema()['properties']",
            stored=False,
        ),
        "adapter": Item(
            "pydantic.TypeAdapter(list[int])",
            "pydantic.TypeAdapter(list[float])",
            "x.validate_python(['1'])",
            may_refuse=True,
            stored=False,
        ),
        "secret": Item("pydantic.SecretStr('a')", "pydantic.SecretStr('b')", "x.get_secret_value()"),
    },
)

OMEGACONF = Package(
    "from omegaconf import OmegaConf",
    {
        "config": Item(
            "OmegaConf.create({'a': {'b': 1}})", "OmegaConf.create({'a': {'b': 2}})", "OmegaConf.to_container(x)"
        ),
        "list": Item("OmegaConf.create([1, 2])", "OmegaConf.create([1, 3])", "list(x)"),
        "part": Item("OmegaConf.create({'a': {'b': 1}}).a", "OmegaConf.create({'a': {'b': 2}}).a", "dict(x)"),
        "interpolation": Item(
            "OmegaConf.create({'a': 1, 'b': '${a}'})", "OmegaConf.create({'a': 2, 'b': '${a}'})", "x.b"
        ),
    },
)

SQLALCHEMY = Package(
    """
    import sqlalchemy as sa
    def table(length):
        return sa.Table("t", sa.MetaData(), sa.Column("a", sa.String(length)))
    T = sa.table("t", sa.column("a"))
    """,
    {
        "table": Item("table(1)", "table(2)", "str(x.c.a.type)"),
        "column": Item(
            "sa.Column('a', sa.Integer, default=1)", "sa.Column('a', sa.Integer, default=2)", "x.default.arg"
        ),
        "expression": Item("T.c.a > 1", "T.c.a > 2", "str(x.compile(compile_kwargs={'literal_binds': True}))"),
        "select": Item(
            "sa.select(T).where(T.c.a == 1)",
            "sa.select(T).where(T.c.a == 2)",
            "str(x.compile(compile_kwargs={'literal_binds': True}))",
        ),
        "text": Item("sa.text('select 1')", "sa.text('select 2')", "str(x)"),
        "address": Item("sa.make_url('sqlite:///a.db')", "sa.make_url('sqlite:///b.db')", "str(x)"),
        "engine": Item(
            "sa.create_engine('sqlite:///a.db')",
            "sa.create_engine('sqlite:///b.db')",
            "str(x.url)",
            may_refuse=True,
            stored=False,
        ),
        "kind": Item("sa.Numeric(10, 2)", "sa.Numeric(10, 3)", "str(x)"),
    },
)

JINJA2 = Package(
    "import jinja2",
    {
        "template": Item(
            "jinja2.Template('a {{ x }}')",
            "jinja2.Template('b {{ x }}')",
            "x.render(x=1)",
            may_refuse=True,
            stored=False,
        ),
        "environment": Item(
            "jinja2.Environment(trim_blocks=False)",
            "jinja2.Environment(trim_blocks=True)",
            "x.trim_blocks",
            may_refuse=True,
            stored=False,
        ),
        "undefined": Item("jinja2.StrictUndefined", "jinja2.ChainableUndefined", "x.__name__"),
        "loader": Item("jinja2.DictLoader({'a': '1'})", "jinja2.DictLoader({'a': '2'})", "x.mapping"),
    },
)

NIBABEL = Package(
    """
    import os, nibabel, numpy as np
    def saved(n):
        if not os.path.exists(f"{n}.nii"):
            nibabel.save(nibabel.Nifti1Image(np.full((2, 2, 2), n, "i2"), np.eye(4)), f"{n}.nii")
        return f"{n}.nii"
    """,
    {
        "image": Item(
            "nibabel.Nifti1Image(np.zeros((2, 2, 2), 'i2'), np.eye(4))",
            "nibabel.Nifti1Image(np.ones((2, 2, 2), 'i2'), np.eye(4))",
            "x.get_fdata().sum().item()",
        ),
        "of_a_file": Item(
            "nibabel.load(saved(1))", "nibabel.load(saved(2))", "x.get_fdata().sum().item()", may_refuse=True
        ),
        "header": Item("nibabel.Nifti1Header()", "nibabel.Nifti2Header()", "x.sizeof_hdr"),
    },
    ("nibabel", "numpy"),
)

SHAPELY = Package(
    "import shapely, shapely.geometry, shapely.prepared",
    {
        "point": Item("shapely.Point(0, 1)", "shapely.Point(0, 2)", "x.wkt"),
        "polygon": Item("shapely.box(0, 0, 1, 1)", "shapely.box(0, 0, 1, 2)", "x.area"),
        "prepared": Item(
            "shapely.prepared.prep(shapely.box(0, 0, 1, 1))",
            "shapely.prepared.prep(shapely.box(2, 2, 3, 3))",
            "x.contains(shapely.Point(0.5, 0.5))",
            may_refuse=True,
            stored=False,
        ),
        "function": Item("shapely.area", "shapely.length", "x(shapely.box(0, 0, 1, 2))"),
        "tree": Item(
            "shapely.STRtree([shapely.Point(0, 0)])",
            "shapely.STRtree([shapely.Point(5, 5)])",
            "x.query(shapely.box(-1, -1, 1, 1)).tolist()",
        ),
    },
)

PINT = Package(
    """
    import pint
    def registry(factor):
        made = pint.UnitRegistry()
        made.define(f"mine = {factor} * meter")
        return made
    U = pint.UnitRegistry()
    pint.set_application_registry(U)
    """,
    {
        "quantity": Item("U.Quantity(1, 'm')", "U.Quantity(1, 'km')", "str(x)"),
        "unit": Item("U.meter", "U.second", "str(x)"),
        "registry": Item(
            "registry(2)", "registry(3)", "x.Quantity(1, 'mine').to('meter').magnitude", may_refuse=True, stored=False
        ),
    },
)

PILLOW = Package(
    "from PIL import Image, ImageEnhance, ImageFilter",
    {
        "image": Item(
            "Image.new('RGB', (2, 2), (1, 2, 3))", "Image.new('RGB', (2, 2), (1, 2, 4))", "x.getpixel((0, 0))"
        ),
        "filter": Item("ImageFilter.GaussianBlur(1)", "ImageFilter.GaussianBlur(2)", "x.radius"),
        "function": Item("Image.blend", "Image.composite", "x.__name__"),
        "resampling": Item("Image.Resampling.NEAREST", "Image.Resampling.BOX", "int(x)"),
        "image_method": Item("Image.new('L', (1, 1), 3).getpixel", "Image.new('L', (1, 1), 4).getpixel", "x((0, 0))"),
    },
)

LXML = Package(
    "from lxml import etree",
    {
        "element": Item(
            "etree.fromstring('<a b=\"1\"/>')",
            "etree.fromstring('<a b=\"2\"/>')",
            "x.get('b')",
            may_refuse=True,
            stored=False,
        ),
        "path": Item("etree.XPath('//a')", "etree.XPath('//b')", "x.path", may_refuse=True, stored=False),
        "function": Item("etree.fromstring", "etree.tostring", "x.__name__"),
        "parser": Item(
            "etree.XMLParser(remove_comments=False)",
            "etree.XMLParser(remove_comments=True)",
            "len(etree.fromstring('<a><!-- b --></a>', x))",
            may_refuse=True,
            stored=False,
        ),
    },
)

FSSPEC = Package(
    """
    import os, fsspec
    def written(n):
        if not os.path.exists(f"{n}.txt"):
            with open(f"{n}.txt", "w") as file:
                file.write(str(n))
        return os.path.abspath(f"{n}.txt")
    """,
    {
        "open_file": Item("fsspec.open(written(1), 'rt')", "fsspec.open(written(2), 'rt')", "x.path", may_refuse=True),
        "system": Item("fsspec.filesystem('file')", "fsspec.filesystem('memory')", "x.protocol"),
        "mapper": Item("fsspec.get_mapper('memory://a')", "fsspec.get_mapper('memory://b')", "x.root", may_refuse=True),
    },
)

DATEUTIL = Package(
    """
    import datetime as dt
    import dateutil.relativedelta, dateutil.rrule, dateutil.tz, dateutil.parser
    """,
    {
        "rule": Item(
            "dateutil.rrule.rrule(3, count=2, dtstart=dt.datetime(2026, 1, 1), cache=True)",
            "dateutil.rrule.rrule(3, count=3, dtstart=dt.datetime(2026, 1, 1), cache=True)",
            "[str(day) for day in x]",
            stored=False,
        ),
        "delta": Item(
            "dateutil.relativedelta.relativedelta(days=1)", "dateutil.relativedelta.relativedelta(days=2)", "x.days"
        ),
        "zone": Item("dateutil.tz.tzoffset('a', 3600)", "dateutil.tz.tzoffset('a', 7200)", "str(x)"),
        "named_zone": Item(
            "dateutil.tz.gettz('Europe/Berlin')",
            "dateutil.tz.gettz('America/New_York')",
            "x.utcoffset(dt.datetime(2026, 1, 1))",
        ),
    },
)

REQUESTS = Package(
    """
    import requests, requests.auth
    def session(n):
        made = requests.Session()
        made.headers["a"] = str(n)
        return made
    """,
    {
        "request": Item("requests.Request('GET', 'http://a/1')", "requests.Request('GET', 'http://a/2')", "x.url"),
        "session": Item("session(1)", "session(2)", "x.headers['a']"),
        "login": Item("requests.auth.HTTPBasicAuth('a', 'b')", "requests.auth.HTTPBasicAuth('a', 'c')", "x.password"),
        "function": Item("requests.get", "requests.post", "x.__name__"),
    },
)

STRUCTLOG = Package(
    "import structlog",
    {
        "logger": Item("structlog.get_logger(a=1)", "structlog.get_logger(a=2)", "x._initial_values", may_refuse=True),
        "processor": Item(
            "structlog.processors.TimeStamper(fmt='iso')", "structlog.processors.TimeStamper(fmt='%Y')", "x.fmt"
        ),
        "bound": Item(
            "structlog.get_logger().bind(a=1)",
            "structlog.get_logger().bind(a=2)",
            "x._context",
            may_refuse=True,
            stored=False,
        ),
    },
)

TENACITY = Package(
    """
    import tenacity
    def tried(n):
        @tenacity.retry(stop=tenacity.stop_after_attempt(n), reraise=True)
        def f():
            return 1
        return f
    """,
    {
        "decorated": Item("tried(1)", "tried(2)", "x.retry.stop.max_attempt_number", stored=False),
        "stop": Item("tenacity.stop_after_attempt(1)", "tenacity.stop_after_attempt(2)", "x.max_attempt_number"),
    },
)

FLASK = Package(
    """
    import flask
    def app(n):
        made = flask.Flask("made")
        made.config["N"] = n
        return made
    """,
    {
        "config": Item("app(1).config", "app(2).config", "x['N']"),
        "app": Item("app(1)", "app(2)", "x.config['N']", may_refuse=True, stored=False),
    },
)

UPATH = Package(
    "import upath",
    {
        "memory": Item(
            "upath.UPath('memory://b/x', endpoint='a')",
            "upath.UPath('memory://b/x', endpoint='b')",
            "str(x), x.storage_options",
        ),
        "local": Item("upath.UPath('a.txt')", "upath.UPath('b.txt')", "x.name"),
    },
    ("upath", "fsspec"),
)

CLOUDPICKLE = Package(
    """
    import cloudpickle
    def sent(n):
        return cloudpickle.loads(cloudpickle.dumps(lambda x: x + n))
    """,
    {
        "loaded": Item("sent(1)", "sent(2)", "x(1)", stored=False),
        "packed": Item("cloudpickle.dumps([1])", "cloudpickle.dumps([2])", "len(x), x[-4:]"),
    },
)

MARSHMALLOW = Package(
    """
    import marshmallow
    def schema(key):
        return marshmallow.Schema.from_dict({"a": marshmallow.fields.Int(data_key=key)})()
    """,
    {
        "schema": Item("schema('b')", "schema('c')", "x.dump({'a': 1})", may_refuse=True, stored=False),
        "field": Item("marshmallow.fields.Int(data_key='b')", "marshmallow.fields.Int(data_key='c')", "x.data_key"),
    },
)

HTTPX = Package(
    "import httpx",
    {
        "address": Item("httpx.URL('http://a/1')", "httpx.URL('http://a/2')", "str(x)"),
        "headers": Item("httpx.Headers({'a': '1'})", "httpx.Headers({'a': '2'})", "x.raw"),
        "request": Item("httpx.Request('GET', 'http://a/1')", "httpx.Request('GET', 'http://a/2')", "str(x.url)"),
        "timeout": Item("httpx.Timeout(1)", "httpx.Timeout(2)", "x.read"),
    },
)

YAML = Package(
    "import yaml",
    {
        "loader": Item("yaml.SafeLoader", "yaml.FullLoader", "x.__name__"),
        "document": Item("yaml.safe_load('a: 1')", "yaml.safe_load('a: 2')", "x"),
        "node": Item("yaml.compose('a: 1')", "yaml.compose('a: 2')", "yaml.serialize(x)"),
    },
)

REGEX = Package(
    "import regex",
    {
        "pattern": Item("regex.compile('(a| {})x')", "regex.compile('(a| {})y')", "x.pattern"),
        "flags": Item("regex.compile('a', regex.I)", "regex.compile('a')", "bool(x.match('A'))"),
        "words": Item(
            r"regex.compile(r'\L<words>', words=['one', 'two', 'three'])",
            r"regex.compile(r'\L<words>', words=['one', 'two', 'four'])",
            "bool(x.match('three'))",
        ),
        "bytes": Item("regex.compile(b'(a| {})x')", "regex.compile('(a| {})x')", "type(x.pattern).__name__"),
    },
)

_LETTERS = "zip('abcdefgh', range(8))"
UNORDERED = Package(
    "import immutables, jsonschema, pyrsistent, rpds",
    {
        "trie": Item(f"rpds.HashTrieMap({_LETTERS})", "rpds.HashTrieMap(a=1)", "sorted(x.items())"),
        "members": Item("rpds.HashTrieSet('abcdefgh')", "rpds.HashTrieSet('abc')", "sorted(x)"),
        "mapping": Item(f"immutables.Map({_LETTERS})", "immutables.Map(a=1)", "sorted(x.items())"),
        "record": Item(f"pyrsistent.pmap({_LETTERS})", "pyrsistent.pmap({'a': 1})", "sorted(x.items())"),
        "names": Item("pyrsistent.pset('abcdefgh')", "pyrsistent.pset('abc')", "sorted(x)"),
        "schema": Item(
            "jsonschema.Draft7Validator({'type': 'number'})",
            "jsonschema.Draft7Validator({'type': 'string'})",
            "x.is_valid(1)",
            stored=False,
        ),
    },
    ("rpds", "immutables", "pyrsistent", "jsonschema"),
)

PYGMENTS = Package(
    "from pygments.token import Token",
    {
        "kind": Item("Token.Name", "Token.Number", "str(x), str(x.Odd)"),
        "root": Item("Token", "Token.Text", "str(x), str(x.Odd)"),
    },
)
