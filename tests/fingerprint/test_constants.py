"""Objects that code reads by a global name: what they hold is part of the fingerprint, whatever their type."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from pcache.fingerprint.fingerprint import fingerprint_of
from tests.fingerprint.test_fingerprint import made, print_of

SETUP = """
import argparse, array, ast, collections, configparser, ctypes, dataclasses, decimal, functools, http, json, operator
import random, statistics, string, struct, textwrap, threading, time, types, urllib.parse, xml.etree.ElementTree
import numpy, pandas
class Settings:
    def __init__(self, rate):
        self.rate = rate
class Slotted:
    __slots__ = ("rate",)
    def __init__(self, rate):
        self.rate = rate
class Locked(Settings):
    lock = threading.Lock()
    def __init__(self, rate):
        self.rate, self.own = rate, threading.Lock()
class Table(dict): pass
@dataclasses.dataclass
class Record:
    rate: object
class Built:
    def __init__(self, rate):
        self.rate = rate
        self.rate += 1
Pair = collections.namedtuple("Pair", "one other")
class Price(decimal.Decimal): pass
def priced(rate):
    made = Price("1.5")
    made.rate = rate
    return made
def parsed(text):
    parser = configparser.ConfigParser()
    parser.read_string(text)
    return parser
"""
USED = "\ndef it(): return CONSTANT\nCONSTANT = {}"


@pytest.mark.parametrize(
    "constant",
    [
        "{'a': [VALUE]}",
        "collections.OrderedDict(a=VALUE)",
        "collections.Counter(a=VALUE)",
        "collections.defaultdict(int, a=VALUE)",
        "collections.deque([VALUE])",
        "collections.ChainMap({'a': VALUE})",
        "types.MappingProxyType({'a': VALUE})",
        "types.SimpleNamespace(a=VALUE)",
        "array.array('i', [VALUE])",
        "operator.itemgetter(VALUE)",
        "operator.methodcaller('m', VALUE)",
        "functools.partial(int, VALUE)",
        "numpy.array([VALUE])",
        "pandas.DataFrame({'a': [VALUE]})",
        "pandas.Series([VALUE])",
        "Settings(VALUE)",
        "Settings([Settings(VALUE)])",
        "Slotted(VALUE)",
        "Locked(VALUE)",
        "Table(a=VALUE)",
        "Record(VALUE)",
        "Pair(1, Record(VALUE))",
        "Settings(lambda: VALUE)",
        "Settings(functools.partial(Settings, VALUE))",
        "Built(VALUE)",
        "priced(VALUE)",
        "[priced(VALUE)]",
        "argparse.Namespace(rate=VALUE, log=threading.Lock())",
        "ast.parse('VALUE')",
        "ctypes.c_int(VALUE)",
        "http.HTTPStatus(200 + VALUE)",
        "json.JSONEncoder(indent=VALUE)",
        "parsed('[a]\\nb = VALUE')",
        "random.Random(VALUE)",
        "statistics.NormalDist(VALUE)",
        "string.Template('$x VALUE')",
        "struct.Struct('VALUEi')",
        "textwrap.TextWrapper(VALUE)",
        "time.strptime('200VALUE', '%Y')",
        "urllib.parse.urlparse('http://host/VALUE')",
        "xml.etree.ElementTree.fromstring('<a>VALUE</a>')",
    ],
)
def test_what_a_constant_holds_counts(constant: str) -> None:
    """Equal constants are the same code, wherever they were made; another value in one is other code."""
    prints = [print_of(SETUP + USED.format(constant.replace("VALUE", value))) for value in ("1", "1", "2")]
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


@pytest.mark.parametrize("constant", ["threading.Lock()", "[threading.Lock()]", "Settings(threading.Condition())"])
def test_what_cannot_be_pickled_counts_by_its_class(constant: str) -> None:
    """A lock is no constant: it has nothing that another process could compare."""
    assert print_of(SETUP + USED.format(constant)) == print_of(SETUP + USED.format(constant))


@pytest.mark.parametrize(
    "constant",
    [
        "Settings(1)\nCONSTANT.rate = CONSTANT",
        "Settings([])\nCONSTANT.rate.append(CONSTANT)",
        "collections.deque()\nCONSTANT.append(CONSTANT)",
        "Settings(it)",
        "{'handlers': Settings([it, lambda: CONSTANT])}",
    ],
)
def test_constants_that_lead_back_to_themselves_end(constant: str) -> None:
    """Objects may contain themselves, and functions that use them."""
    assert print_of(SETUP + USED.format(constant)) == print_of(SETUP + USED.format(constant))


@pytest.mark.parametrize("change", ["STATE.count = 5", "STATE.count += 1", "STATE.count -= x"])
def test_an_object_that_the_code_sets_something_in(change: str) -> None:
    """It counts by what it holds all the same: its other attributes may be settings."""
    source = SETUP + f"STATE = Settings({{}})\ndef it(x):\n    {change}\n    return x * STATE.rate"
    assert print_of(source.format(1)) == print_of(source.format(1))
    assert print_of(source.format(1)) != print_of(source.format(2))


@pytest.mark.parametrize(
    "text", ["getattr(helpers, 'rate')", "getattr(helpers, 'rate', None)", "[getattr(helpers, n) for n in ('rate',)]"]
)
def test_attributes_that_are_named_by_a_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`getattr` of a module with a text in the code reads what `.` would read."""
    helpers: Any = types.ModuleType("helpers_of_a_test")
    helpers.__file__ = __file__
    monkeypatch.setitem(sys.modules, helpers.__name__, helpers)
    function = made(f"import helpers_of_a_test as helpers\ndef it(): return {text}")
    prints = []
    for helpers.rate in (1, 2, 1):
        prints.append(fingerprint_of(function).digest)
    assert prints[0] == prints[2] != prints[1]


def test_globals_that_are_named_by_a_text() -> None:
    """So does `globals()` with one; without it, a text is only a text."""
    source = "def helper(): return {}\ndef it(): return {}"
    for text in ("globals()['helper']()", "globals().get('helper')()", "(lambda: globals())()['helper']()"):
        assert print_of(source.format(1, text)) != print_of(source.format(2, text))
    assert print_of(source.format(1, "'helper'")) == print_of(source.format(2, "'helper'"))
