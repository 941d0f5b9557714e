"""Kinds of objects that programs keep under a global name, each as a module that defines `OBJECT`.

`VALUE` in a text is the number that is edited. Run as a script in the folder that holds the modules, this one prints
the fingerprint of a function that uses the object.
"""

from __future__ import annotations

import importlib
import json
import sys

_LINES = r"""
argparse: parser | import argparse | argparse.ArgumentParser("x", epilog="VALUE")
argparse: action | import argparse; p = argparse.ArgumentParser(); p.add_argument("-n", type=int, default=VALUE) | p
argparse: below | import argparse; p = argparse.ArgumentParser(); q = p.add_subparsers().add_parser("a"); q.add_argument("-n", default=VALUE) | p
array: method | import array | array.array("i", [VALUE]).index
asyncio: semaphore | import asyncio | asyncio.Semaphore(VALUE)
attrs: default | import attrs; A = attrs.make_class("A", {"a": attrs.field(default=VALUE)}) | A
attrs: type | import attrs; A = attrs.make_class("A", {"a": attrs.field(type=(int, str)[VALUE - 1])}) | A
builtins: code | C = compile("x + VALUE", "<x>", "eval") | C
builtins: generator | | (x for x in [VALUE])
builtins: list in itself | items = [VALUE]; items.append(items) | items
builtins: map | | map(str, [VALUE])
builtins: memoryview | | memoryview(b"VALUE")
builtins: property of another class | class lazy(property):\n    pass\nclass A:\n    a = lazy(lambda self: VALUE) | A
builtins: set of objects | class N:\n    def __init__(self, v): self.v = v | {N(VALUE), N(3), N(4)}
click: command | import click\n@click.command()\n@click.option("--n", default=VALUE)\ndef c(n): return n | c
concurrent: future | import concurrent.futures; F = concurrent.futures.Future(); F.set_result(VALUE) | F
contextlib: exit stack | import contextlib; E = contextlib.ExitStack(); E.callback(print, VALUE) | E
contextlib: nullcontext | import contextlib | contextlib.nullcontext(VALUE)
contextlib: suppress | import contextlib | contextlib.suppress((ValueError, KeyError)[VALUE - 1])
contextvars: default | import contextvars | contextvars.ContextVar("v", default=VALUE)
contextvars: in a class | import contextvars\nclass A:\n    v = contextvars.ContextVar("v", default=VALUE) | A
contextvars: in a closure | import contextvars\ndef mk(v):\n    def h(): return v\n    return h | mk(contextvars.ContextVar("v", default=VALUE))
contextvars: in a default | import contextvars\ndef h(x, v=contextvars.ContextVar("v", default=VALUE)): return v | h
contextvars: in a table | import contextvars | {"a": [contextvars.ContextVar("v", default=VALUE)]}
flask: app | import flask; app = flask.Flask("x"); app.config["RATE"] = VALUE | app
flask: config | import flask; app = flask.Flask("x"); app.config.from_mapping(RATE=VALUE) | app.config
functools: cmp_to_key | import functools | functools.cmp_to_key(lambda a, b: VALUE * (a - b))
functools: partial of a method | import functools, re | functools.partial(re.compile("aVALUE").sub, "")
functools: partial of another class | import functools\nclass P(functools.partial):\n    pass\np = P(int); p.x = VALUE | p
functools: singledispatch | import functools\n@functools.singledispatch\ndef t(x): return x\n@t.register\ndef _(x: int): return VALUE | t
http: cookie | import http.cookies; c = http.cookies.SimpleCookie(); c["a"] = "VALUE" | c
io: bytes | import io | io.BytesIO(b"VALUE")
io: text | import io | io.StringIO("a VALUE")
itertools: chain | import itertools | itertools.chain([VALUE], [3])
itertools: count | import itertools | itertools.count(VALUE)
itertools: next number | import itertools | itertools.count(VALUE).__next__
itertools: repeat | import itertools | itertools.repeat(VALUE)
jinja2: environment | import jinja2; e = jinja2.Environment(trim_blocks=True); e.globals["v"] = VALUE | e
jinja2: template | import jinja2 | jinja2.Template("x {{ a }} VALUE")
logging: formatter | import logging | logging.Formatter("%(message)s VALUE")
lxml: element | import lxml.etree | lxml.etree.fromstring("<a>VALUE</a>")
msgspec: decoder | import msgspec | msgspec.json.Decoder((int, str)[VALUE - 1])
msgspec: encoder | import msgspec | msgspec.json.Encoder(decimal_format=("string", "number")[VALUE - 1])
msgspec: struct | import msgspec | msgspec.defstruct("Row", [("a", int, VALUE)], module=__name__)
msgspec: struct's names | import msgspec | msgspec.defstruct("Row", [("a_b", int)], module=__name__, rename=("lower", "camel")[VALUE - 1])
msgspec: struct's options | import msgspec | msgspec.defstruct("Row", [("a", int)], module=__name__, forbid_unknown_fields=VALUE == 1)
msgspec: struct's tag | import msgspec | msgspec.defstruct("Row", [("a", int)], module=__name__, tag="VALUE")
msgspec: struct's types | import msgspec\nK = (int, str)[VALUE - 1]\nclass Row(msgspec.Struct):\n    a: K | Row
numba: callback | import numba\n@numba.cfunc("float64(float64)")\ndef t(x): return x / VALUE | t
numba: options | import numba\n@numba.njit(fastmath=VALUE == 1)\ndef t(x): return x / 3 | t
numba: signature | import numba\n@numba.njit("float32(float32)" if VALUE == 1 else "float64(float64)")\ndef t(x): return x / 3 | t
numba: ufunc | import numba\n@numba.vectorize(["float64(float64)"])\ndef t(x): return x / VALUE | t
numpy: method | import numpy | numpy.array([VALUE]).dot
numpy: ufunc of a function | import numpy | numpy.frompyfunc(lambda a: a + VALUE, 1, 1)
omegaconf: dict | import omegaconf | omegaconf.OmegaConf.create({"a": {"b": [VALUE, 2]}})
pint: quantity | import pint; u = pint.UnitRegistry() | u.Quantity(VALUE, "m")
pint: registry | import pint; u = pint.UnitRegistry(); u.define("smoot = VALUE * meter") | u
polars: lazy frame | import polars | polars.LazyFrame({"a": [1]}).filter(polars.col("a") > VALUE)
pydantic: type adapter | import pydantic | pydantic.TypeAdapter((int, str)[VALUE - 1])
queue: queue | import queue; q = queue.Queue(); q.put(VALUE) | q
re: method | import re | re.compile("aVALUE").match
requests: session | import requests; s = requests.Session(); s.headers["X"] = "VALUE" | s
rich: console | import rich.console | rich.console.Console(width=7VALUE)
sqlalchemy: expression | import sqlalchemy as sa | sa.column("a") == VALUE
sqlalchemy: metadata | import sqlalchemy as sa; m = sa.MetaData(schema="sVALUE"); sa.Table("t", m, sa.Column("id", sa.Integer, sa.ForeignKey("u.id")), sa.UniqueConstraint("id")) | m
sqlalchemy: select | import sqlalchemy as sa | sa.select(sa.column("a")).where(sa.column("b") > VALUE)
sqlalchemy: table | import sqlalchemy as sa | sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("c", sa.String(VALUE)))
structlog: logger | import structlog | structlog.get_logger(a=VALUE)
struct: method | import struct | struct.Struct("<VALUEi").unpack
tenacity: options | import tenacity\n@tenacity.retry(stop=tenacity.stop_after_attempt(VALUE))\ndef t(x): return x | t
threading: lock beside a value | import threading\nclass A:\n    def __init__(self, v): self.v, self.lock = v, threading.RLock() | A(VALUE)
threading: semaphore | import threading | threading.Semaphore(VALUE)
toolz: curry | import toolz | toolz.curry(lambda a, b: a + b, VALUE)
toolz: curry by name | import toolz\ndef add(a, b, c): return a + b | toolz.curry(add)(c=VALUE)
toolz: compose | import toolz | toolz.compose(str, lambda x: x + VALUE)
unittest: mock | import unittest.mock | unittest.mock.Mock(return_value=VALUE)
urllib: request | import urllib.request | urllib.request.Request("http://h/VALUE")
wrapt: decorator | import wrapt\ndef plus(n):\n    @wrapt.decorator\n    def w(f, i, a, k): return f(*a, **k) + n\n    return w\n@plus(VALUE)\ndef h(x): return x | h
wrapt: proxy | import wrapt | wrapt.ObjectProxy([VALUE])
wrapt: proxy of the user's | import wrapt\nclass P(wrapt.ObjectProxy):\n    pass | P({"a": VALUE})
"""  # noqa: E501 - a line a kind


def _modules() -> dict[str, str]:
    found = {}
    for line in _LINES.strip().splitlines():
        name, _, text = line.replace("\\n", "\n").partition(" | ")
        setup, _, expression = text.rpartition("| ")
        found[name] = f"{setup.strip()}\nOBJECT = {expression}\ndef it(): return OBJECT\n"
    return found


KINDS = _modules()


def module_of(name: str) -> str:
    return "kind_" + "".join(char if char.isalnum() else "_" for char in name)


if __name__ == "__main__":
    from pcache.fingerprint.fingerprint import fingerprint_of

    said = {}
    for kind in json.loads(sys.argv[1]):
        try:
            found = fingerprint_of(importlib.import_module(module_of(kind)).it)
        except ModuleNotFoundError as error:
            said[kind] = ("", f"{error.name} is not installed")
            continue
        said[kind] = (found.digest.hex(), "")
    json.dump(said, sys.stdout)
