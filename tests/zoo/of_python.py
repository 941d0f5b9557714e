"""Items of Python itself: what programs keep in globals, hand around and return."""

from __future__ import annotations

from tests.zoo.program import Item, Package

PYTHON = Package(
    """
    import argparse, array, ast, collections, concurrent.futures, configparser, contextvars, copyreg, dataclasses
    import datetime as dt, decimal, email.message, enum, fractions, functools, http.cookies, io, ipaddress, itertools
    import json, logging, math, operator, pathlib, random, re, statistics, string, struct, textwrap, time, types
    import typing, unittest.mock, urllib.request, uuid, weakref, zoneinfo
    from xml.etree import ElementTree
    def by_size(n):
        return functools.cmp_to_key(lambda a, b: (a > b) * n)
    def plus(n):
        def decorate(f):
            @functools.wraps(f)
            def wrapper(*args):
                return f(*args) + n
            return wrapper
        return decorate
    def shape(n):
        @functools.singledispatch
        def area(x):
            return n
        area.register(str)(len)
        return area
    def ranked(n):
        class Rank(enum.IntEnum):
            LOW = 1
            HIGH = n
        return Rank
    class Price(decimal.Decimal):
        pass
    def priced(unit):
        made = Price("1.5")
        made.unit = unit
        return made
    class Span(dt.timedelta):
        pass
    def noted(note):
        made = Span(1)
        made.note = note
        return made
    class Fields(collections.defaultdict):
        pass
    def extra(n):
        made = Fields(list, a=[1])
        made.extra = n
        return made
    def caused(n):
        try:
            raise ValueError("outer") from KeyError(n)
        except ValueError as error:
            return error.with_traceback(None)
    def parser(n):
        made = argparse.ArgumentParser()
        made.add_argument("-n", type=int, default=n)
        return made
    def documented(text):
        def f():
            return 1
        f.__doc__ = text
        return f
    def typed(kind):
        def f(x: kind):
            return 1
        return f
    def ring(n):
        made = [n]
        made.append(made)
        return made
    @dataclasses.dataclass
    class Point:
        x: int
        tags: list = dataclasses.field(default_factory=list)
    class Slots:
        __slots__ = ("a", "b")
        def __init__(self, a):
            self.a = a
    class Server:
        def __init__(self, port):
            self.port = port
        def address(self):
            return self.port
        @classmethod
        def named(cls):
            return cls.__name__
    """,
    {
        "pattern": Item("re.compile('a+')", "re.compile('a+', re.I)", "x.pattern, x.flags"),
        "pattern_method": Item("re.compile('[a-z]+').match", "re.compile('[0-9]+').match", "bool(x('abc'))"),
        "pattern_sub": Item(
            "functools.partial(re.compile('a').sub, '')", "functools.partial(re.compile('b').sub, '')", "x('aabb')"
        ),
        "match": Item(
            "re.match('a(.)', 'abc')", "re.match('a(.)', 'abd')", "x.groups(), x.span(), x.string", stored=False
        ),
        "struct_method": Item(
            "struct.Struct('<I').unpack",
            "struct.Struct('>I').unpack",
            "x(bytes([0, 0, 0, 1]))",
            may_refuse=True,
            stored=False,
        ),
        "cmp_to_key": Item("by_size(1)", "by_size(-1)", "sorted([2, 1, 3], key=x)", may_refuse=True, stored=False),
        "count": Item("itertools.count(3)", "itertools.count(4)", "repr(x)", may_refuse=True),
        "context_variable": Item(
            "contextvars.ContextVar('v', default=1)",
            "contextvars.ContextVar('v', default=2)",
            "x.get()",
            may_refuse=True,
            stored=False,
        ),
        "formatter": Item(
            "logging.Formatter('%(message)s')",
            "logging.Formatter('* %(message)s')",
            "x.format(logging.LogRecord('n', 20, 'p', 1, 'text', (), None))",
        ),
        "template": Item("string.Template('$a')", "string.Template('$a!')", "x.substitute(a=1)"),
        "parser": Item("parser(1)", "parser(2)", "x.parse_args([]).n", stored=False),
        "string_io": Item("io.StringIO('one')", "io.StringIO('two')", "x.getvalue()"),
        "request": Item(
            "urllib.request.Request('http://a/x', headers={'A': '1'})",
            "urllib.request.Request('http://a/x', headers={'A': '2'})",
            "x.full_url, x.headers",
        ),
        "cookie": Item("http.cookies.SimpleCookie('a=1')", "http.cookies.SimpleCookie('a=2')", "x['a'].value"),
        "future": Item(
            "concurrent.futures.Future()",
            "concurrent.futures.ThreadPoolExecutor(1)",
            "1",
            may_refuse=True,
            stored=False,
        ),
        "code": Item(
            "compile('1 + 1', 'a', 'eval')", "compile('1 + 2', 'a', 'eval')", "eval(x)", may_refuse=True, stored=False
        ),
        "wrapped": Item("plus(1)(math.floor)", "plus(2)(math.floor)", "x(1.5)", stored=False),
        "single_dispatch": Item("shape(1)", "shape(2)", "x(5), x('abc')", stored=False),
        "lru_cache": Item(
            "functools.lru_cache(lambda x: x + 1)", "functools.lru_cache(lambda x: x + 2)", "x(1)", stored=False
        ),
        "method_caller": Item(
            "operator.methodcaller('split', 'a')", "operator.methodcaller('split', 'b')", "x('1a2b3')"
        ),
        "enumeration": Item("ranked(2)", "ranked(3)", "list(x.__members__.items())", stored=False),
        "subclass_of_decimal": Item("priced('EUR')", "priced('USD')", "x, x.unit"),
        "subclass_of_timedelta": Item("noted('a')", "noted('b')", "x, x.note"),
        "subclass_of_defaultdict": Item("extra(1)", "extra(2)", "dict(x), x.extra"),
        "cause": Item("caused('a')", "caused('b')", "x.args, x.__cause__ and x.__cause__.args"),
        "docstring": Item("documented('a')", "documented('b')", "x.__doc__", stored=False),
        "annotations": Item("typed(int)", "typed(str)", "str(typing.get_type_hints(x))", stored=False),
        "ring": Item("ring(1)", "ring(2)", "x[0], x[1] is x"),
        "generator": Item("random.Random(1)", "random.Random(2)", "x.getstate()[1][:3]"),
        "random_method": Item("random.randint", "random.randrange", "x.__name__"),
        "bound_method": Item("Server(1).address", "Server(2).address", "x()"),
        "class_method": Item("pathlib.PurePosixPath.__subclasshook__", "dt.date.fromtimestamp", "x.__name__"),
        "class_method_of_fraction": Item(
            "fractions.Fraction.from_float", "fractions.Fraction.from_decimal", "x.__name__"
        ),
        "own_class_method": Item("Server.named", "Point", "x.__qualname__"),
        "time_zone": Item(
            "dt.timezone(dt.timedelta(hours=5.5), 'IST')",
            "dt.timezone(dt.timedelta(hours=2), 'IST')",
            "x.utcoffset(None)",
        ),
        "named_zone": Item("zoneinfo.ZoneInfo('Europe/Berlin')", "zoneinfo.ZoneInfo('Europe/Paris')", "x.key"),
        "moment": Item(
            "dt.datetime(2026, 10, 25, 2, 30, fold=0)",
            "dt.datetime(2026, 10, 25, 2, 30, fold=1)",
            "x.isoformat(), x.fold",
        ),
        "mapping_proxy": Item(
            "types.MappingProxyType({'a': 1})", "types.MappingProxyType({'a': 2})", "dict(x)", stored=False
        ),
        "chain_map": Item(
            "collections.ChainMap({'a': 1}, {'a': 2})", "collections.ChainMap({'a': 2}, {'a': 1})", "x.maps"
        ),
        "deque": Item("collections.deque([1, 2], 2)", "collections.deque([1, 2], 3)", "x, x.maxlen"),
        "namespace": Item("types.SimpleNamespace(a=1)", "types.SimpleNamespace(a=1.0)", "vars(x)"),
        "dataclass": Item("Point(1, ['a'])", "Point(1, ['b'])", "x"),
        "slots": Item("Slots(1)", "Slots(2)", "x.a, hasattr(x, 'b')"),
        "decimal_context": Item("decimal.Context(prec=5)", "decimal.Context(prec=6)", "x.prec"),
        "config_parser": Item(
            "configparser.ConfigParser({'a': '1'})", "configparser.ConfigParser({'a': '2'})", "x.defaults()['a']"
        ),
        "tree": Item("ast.parse('1')", "ast.parse('2')", "ast.dump(x)"),
        "element": Item("ElementTree.fromstring('<a b=\"1\"/>')", "ElementTree.fromstring('<a b=\"2\"/>')", "x.attrib"),
        "message": Item("email.message.EmailMessage()", "email.message.Message()", "x.items()"),
        "alias": Item("dict[str, list[int]]", "dict[str, list[float]]", "x"),
        "union": Item("int | str", "int | bytes", "x"),
        "lambda_closure": Item("(lambda n: lambda: n)(1)", "(lambda n: lambda: n)(2)", "x()", stored=False),
        "weak_reference": Item(
            "weakref.ref(Server)", "weakref.ref(Point)", "x().__name__", may_refuse=True, stored=False
        ),
        "file": Item("pathlib.Path('a.txt')", "pathlib.Path('b.txt')", "x.name"),
        "mapped_range": Item("[range(3), slice(1, 2), ..., NotImplemented]", "[range(4), slice(1, 2), ..., None]", "x"),
    },
    ("sys",),
)
