"""What code on the way changes is state: a function stays the same one, until code that makes the state is edited.

What a program sets up, and the code on the way does not change, is no state: other values are another function.
"""

from __future__ import annotations

import os
import subprocess
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

from pcache.fingerprint.dataflow import uses_of
from tests.support.running import ROOT, run, told_by, write

if TYPE_CHECKING:
    from pathlib import Path

# A program, and an edit of what it starts with: `f` is cached, `work` is what the rest of the program does.
PROGRAMS: dict[str, tuple[str, str, str]] = {
    "a counter": ("N = 0\ndef f(x):\n    global N\n    N += 1\n    return x", "N = 0", "N = 1"),
    "a counter of a helper": (
        "N = 0\ndef h():\n    global N\n    N += 1\ndef f(x):\n    h()\n    return x + (N < 0)", "N = 0", "N = 1",
    ),
    "a counter in a closure": (
        "def make(n):\n    def step():\n        nonlocal n\n        n += 1\n        return n\n    return step\n"
        "step = make(0)\ndef f(x):\n    step()\n    return x", "make(0)", "make(1)",
    ),
    "a counter of a class": (
        "class T:\n    count = 0\n    def __init__(self): T.count += 1\ndef f(x):\n    T()\n    return x",
        "count = 0", "count = 1",
    ),
    "a counter by type(self)": (
        "class T:\n    count = 0\n    def go(self): type(self).count += 1\nt = T()\n"
        "def f(x):\n    t.go()\n    return x",
        "count = 0", "count = 1",
    ),
    "a counter that is assigned": (
        "class S:\n    def __init__(self, n): self.n = n\n    def hit(self): self.n = self.n + 1\ns = S(0)\n"
        "def f(x):\n    s.hit()\n    return x", "S(0)", "S(1)",
    ),
    "a memo by another name": (
        "MEMO = {}\ndef f(x):\n    memo = MEMO\n    memo[str(x)] = x\n    return memo[str(x)]",
        "MEMO = {}", "MEMO = {1: 2}",
    ),
    "a memo by a computed key": (
        "MEMO = {}\ndef key(x): return str(x)\ndef f(x):\n    MEMO[key(x)] = x\n    return x",
        "MEMO = {}", "MEMO = {1: 2}",
    ),
    "a memo of a property": (
        "class lazy(property):\n    def __init__(self, get, k):\n        super().__init__(get)\n"
        "        self.k, self.memo = k, {}\n    def __get__(self, obj, cls=None):\n"
        "        if cls not in self.memo: self.memo[cls] = self.fget(cls) * self.k\n        return self.memo[cls]\n"
        "class A:\n    v = lazy(lambda cls: 2, 3)\ndef f(x): return A.v", "2, 3", "2, 4",
    ),
    "a memo among defaults": (
        "def h(x, memo={}):\n    memo[x] = x\n    return memo[x]\ndef f(x): return h(x)", "return memo[x]", "return x",
    ),
    "a memo of an object": (
        "class M:\n    def __init__(self, k): self.k, self.memo = k, {}\n    def get(self, x):\n"
        "        self.memo[x] = x * self.k\n        return self.memo[x]\nm = M(2)\ndef f(x): return m.get(x)",
        "M(2)", "M(3)",
    ),
    "a memo of a decorator": (
        "class memo:\n    def __init__(self, fn): self.fn, self.memo = fn, {}\n    def __call__(self, x):\n"
        "        self.memo[x] = self.fn(x)\n        return self.memo[x]\n@memo\ndef h(x): return x * 2\n"
        "def f(x): return h(x)", "x * 2", "x * 3",
    ),
    "a memo inside of a table": (
        "MEMO = {'a': {}}\ndef f(x):\n    MEMO['a'][x] = x\n    return x", "{'a': {}}", "{'a': {}, 'b': {}}",
    ),
    "a memo that a helper fills": (
        "MEMO = {}\ndef fill(table, x): table[x] = x\ndef f(x):\n    fill(MEMO, x)\n    return x",
        "MEMO = {}", "MEMO = {1: 2}",
    ),
    "a queue": (
        "import heapq\nQ = [5]\ndef h(x): heapq.heappush(Q, x)\ndef f(x):\n    h(x)\n    return x",
        "Q = [5]", "Q = [6]",
    ),
    "a log in place": ("LOG = [1]\ndef f(x):\n    LOG.append(x)\n    return x", "LOG = [1]", "LOG = [2]"),
    "a model that is loaded late": (
        "class Model:\n    def __init__(self, path): self.path, self.weights = path, None\n"
        "    def load(self): self.weights = [len(self.path)]\n    def run(self, x):\n"
        "        if self.weights is None: self.load()\n        return x * self.weights[0]\nmodel = Model('w')\n"
        "def f(x): return model.run(x)", "Model('w')", "Model('wider')",
    ),
    "an attribute that is set late": (
        "class M:\n    def get(self):\n        if not hasattr(self, 'd'): self.d = 5\n        return self.d\nm = M()\n"
        "def f(x): return m.get() + x", "self.d = 5", "self.d = 6",
    ),
    "a slot that is set late": (
        "class M:\n    __slots__ = ('a', 'b')\n    def __init__(self, a): self.a = a\n    def get(self):\n"
        "        if not hasattr(self, 'b'): self.b = self.a * 2\n        return self.b\nm = M(1)\n"
        "def f(x): return m.get() + x", "M(1)", "M(2)",
    ),
    "a class attribute that is set late": (
        "class Model:\n    w = None\n    @classmethod\n    def get(cls):\n        if cls.w is None: cls.w = [1]\n"
        "        return cls.w\ndef f(x): return Model.get()[0] + x", "w = None", "w = [3]",
    ),
    "one object of a class": (
        "class One:\n    made = None\n    def __new__(cls):\n        if cls.made is None:\n"
        "            cls.made = super().__new__(cls)\n            cls.made.a = 1\n        return cls.made\n"
        "def f(x): return One().a + x", "made.a = 1", "made.a = 2",
    ),
    "a property that fills": (
        "class M:\n    def __init__(self, k): self.k, self.kept = k, None\n    @property\n    def w(self):\n"
        "        if self.kept is None: self.kept = [self.k]\n        return self.kept\nm = M(1)\n"
        "def f(x): return m.w[0] + x", "M(1)", "M(2)",
    ),
    "a method taken from an object": (
        "class Log:\n    def __init__(self, n): self.n, self.lines = n, []\n"
        "    def info(self, m): self.lines.append(m)\n"
        "log = Log(1)\ninfo = log.info\ndef f(x):\n    info('x')\n    return x",
        "Log(1)", "Log(2)",
    ),
    "a generator with a seed": (
        "from random import Random\nrng = Random(42)\ndef f(x): return rng.random() * 0 + x",
        "Random(42)", "Random(43)",
    ),
    "a generator without one": (
        "import random\nclass Sim:\n    def __init__(self): self.rng = random.Random()\n    def go(self, x):\n"
        "        return x + 0 * self.rng.random()\nSIM = Sim()\ndef f(x): return SIM.go(x)", "Random()", "Random(1)",
    ),
    "numpy's": (
        "import numpy\nrng = numpy.random.default_rng(1)\ndef f(x): return x + 0 * rng.random()",
        "default_rng(1)", "default_rng(2)",
    ),
    "a counter behind a default": (
        "class T:\n    n = 0\n    def hit(self): T.n += 1\ndef h(x, t=T()):\n    t.hit()\n    return x\n"
        "def f(x): return h(x)",
        "n = 0", "n = 1",
    ),
    "a counter by way of a static method": (
        "class T:\n    n = 0\n    def hit(self): self.n = self.n + 1\nclass S:\n    @staticmethod\n"
        "    def run(of): of.hit()\nt = T()\ndef f(x):\n    S.run(t)\n    return x",
        "n = 0", "n = 1",
    ),
    "a counter of what a class's method is given": (
        "class T:\n    n = 0\n    def hit(self): self.n = self.n + 1\nclass S:\n    def run(self, of): of.hit()\n"
        "s, t = S(), T()\ndef f(x):\n    S.run(s, t)\n    return x",
        "n = 0", "n = 1",
    ),
    "a method of a list by another name": (
        "LOG = [1]\ndef f(x):\n    add = LOG.append\n    add(x)\n    return x", "LOG = [1]", "LOG = [2]",
    ),
    "a method of a list that a module keeps": (
        "LOG = [1]\nadd = LOG.append\ndef f(x):\n    add(x)\n    return x", "LOG = [1]", "LOG = [2]",
    ),
    "a method of a queue that objects keep": (
        "from collections import deque\nclass M:\n    def __init__(self, k):\n        self.k, self.q = k, deque()\n"
        "        self.add = self.q.append\n    def put(self, x): self.add(x)\na, b = M(1), M(2)\n"
        "def f(x):\n    a.put(x)\n    b.put(x)\n    return x",
        "M(2)", "M(3)",
    ),
    "a class attribute that is missing at first": (
        "class B:\n    def go(self):\n        cls = self.__class__\n        cls.seen()\n        return cls.k\n"
        "    @classmethod\n    def seen(cls):\n        if not hasattr(cls, 'names'): cls.names = set()\n"
        "        cls.names.add(1)\nclass T(B):\n    k = 1\nt = T()\ndef f(x): return t.go() + x",
        "k = 1", "k = 2",
    ),
    "a class attribute that is missing in a class below": (
        "class B:\n    n = 0\n    @classmethod\n    def hit(cls): cls.n = cls.n + 1\nclass T(B): pass\n"
        "def f(x):\n    T.hit()\n    return x",
        "n = 0", "n = 1",
    ),
    "counters in a list": (
        "class T:\n    def __init__(self): self.n = [1]\n    def hit(self): self.n = self.n + [2]\nTS = [T(), T()]\n"
        "def f(x):\n    for t in TS: t.hit()\n    return x",
        "self.n = [1]", "self.n = [3]",
    ),
    "a memo that is unpacked": (
        "T = {'a': (1, {})}\ndef f(x):\n    n, memo = T['a']\n    memo[x] = n\n    return x", "(1, {})", "(2, {})",
    ),
    "a memo in a slot": (
        "class M:\n    __slots__ = ('n', 'c')\n    def __init__(self): self.n, self.c = 1, {}\n    def go(self, x):\n"
        "        self.c[x] = x\n        return x * self.n\nm = M()\ndef f(x): return m.go(x)", "= 1, {}", "= 2, {}",
    ),
    "a log that others write too": (
        "LOG, N = [1], 0\ndef other(y):\n    global N\n    N += 1\n    LOG.append(y)\ndef main(): other(5)\n"
        "def f(x):\n    global N\n    N = N + 1\n    LOG.append(x)\n    return x", "LOG, N = [1]", "LOG, N = [2]",
    ),
    "a cached property": (
        "from functools import cached_property\nclass M:\n    @cached_property\n    def t(self): return [1]\n"
        "m = M()\ndef f(x): return m.t[0] * x", "[1]", "[2]",
    ),
    "a cached property of what an object has": (
        "from functools import cached_property\nclass M:\n    def __init__(self, n): self.n = n\n    @cached_property\n"
        "    def t(self): return {'n': self.n}\n    def go(self, x): return x * self.t['n']\nm = M(1)\n"
        "def f(x): return m.go(x)", "M(1)", "M(2)",
    ),
    "a global that is made late": (
        "def get():\n    global V\n    try: return V\n    except NameError:\n        V = [1]\n        return V\n"
        "def f(x): return get()[0] * x", "[1]", "[2]",
    ),
    "ids as keys": (
        "class A: pass\na, b = A(), A()\nNAMES = {id(a): 'a', id(b): 'b'}\ndef f(x): return NAMES.get(id(a)), x",
        "id(b): 'b'", "id(b): 'c'",
    ),
    "a hash that is kept": (
        "class Rule:\n    def __init__(self, n): self.n, self._hash = n, hash((n, 'rule'))\nRULES = [Rule('a')]\n"
        "def f(x): return len(RULES) + x", "Rule('a')", "Rule('b')",
    ),
    "a list that is given by keyword": (
        "L = [1]\ndef push(x, *, into): into.append(x)\ndef f(x):\n    push(x, into=L)\n    return x",
        "L = [1]", "L = [2]",
    ),
    "an item of a list": ("N = [0, 1]\ndef f(x):\n    N[0] += 1\n    return x", "[0, 1]", "[0, 2]"),
    "an item of a dict": (
        "D = {'n': 0, 'rate': 1}\ndef f(x):\n    D['n'] += 1\n    return x * D['rate']", "'rate': 1", "'rate': 2",
    ),
    "an item of a dict that is set late": (
        "D = {}\ndef conf():\n    if 'a' not in D: D['a'] = 1\n    return D['a']\ndef f(x): return x * conf()",
        "D['a'] = 1", "D['a'] = 2",
    ),
    "an item of a dict among defaults": (
        "def h(x, d={'n': 0, 'rate': 1}):\n    d['n'] += 1\n    return x * d['rate']\ndef f(x): return h(x)",
        "'rate': 1", "'rate': 2",
    ),
    "an attribute of an object in a dict": (
        "class C:\n    def __init__(self, r): self.r, self.n = r, 0\nD = {'a': C(1)}\ndef f(x):\n"
        "    D['a'].n += 1\n    return D['a'].r * x", "C(1)", "C(2)",
    ),
    "a counter of a namespace": (
        "from types import SimpleNamespace\nS = SimpleNamespace(n=0, rate=1, log=[])\ndef f(x):\n    S.n += 1\n"
        "    S.log.append(x)\n    return x * S.rate", "rate=1", "rate=2",
    ),
    "a table of what a decorator took": (
        "TIMES = [0]\ndef timed(fn):\n    def go(x):\n        TIMES.append(fn)\n        return fn(x)\n    return go\n"
        "@timed\ndef h(x): return x\ndef f(x): return h(x)", "TIMES = [0]", "TIMES = [1]",
    ),
    "a memo of a class of dicts": (
        "class Memo(dict):\n    def __missing__(self, x):\n        v = self[x] = x * 2\n        return v\n"
        "M = Memo({0: 1})\ndef f(x): return M[x]", "{0: 1}", "{0: 2}",
    ),
    "a log of a class of lists": (
        "class Log(list):\n    def note(self, x): self.append(x)\nlog = Log([1])\ndef f(x):\n    log.note(x)\n"
        "    return x", "Log([1])", "Log([2])",
    ),
    "a dict of a class of its own": (
        "class Store(dict): pass\nS = Store({0: 1})\ndef f(x):\n    S[x] = 1\n    return x", "{0: 1}", "{0: 2}",
    ),
    "a list in a tuple": ("T = ([1], {})\ndef f(x):\n    T[0].append(x)\n    return x", "[1]", "[2]"),
    "a chain of dicts": (
        "from collections import ChainMap\nC = ChainMap({}, {'a': 1})\ndef f(x):\n    C[x] = x\n    return C['a']",
        "'a': 1", "'a': 2",
    ),
    "an array": (
        "import numpy\nA = numpy.full(9, 1)\ndef f(x):\n    A[x] += 1\n    return x", "full(9, 1)", "full(9, 2)",
    ),
    "an array of an object": (
        "import numpy\nclass B:\n    def __init__(self, n): self.a = numpy.zeros(n)\n"
        "    def go(self, x): self.a[x] = 1\nb = B(9)\ndef f(x):\n    b.go(x)\n    return x", "B(9)", "B(8)",
    ),
    "rows of a frame": (
        "import pandas\nF = pandas.DataFrame({'a': [1]})\ndef f(x):\n    F.loc[len(F)] = [x]\n    return x",
        "[1]", "[2]",
    ),
    "a method of a list that is passed on": (
        "L = [1]\ndef each(items, do):\n    for one in items: do(one)\ndef f(x):\n    each([x], L.append)\n"
        "    return x", "L = [1]", "L = [2]",
    ),
    "a method of a list as a global": (
        "L = [1]\nlog = L.append\ndef f(x):\n    log(x)\n    return x", "L = [1]", "L = [2]",
    ),
    "a method of a list in a partial": (
        "from functools import partial\nL = [1]\nlog = partial(L.append)\ndef f(x):\n    log(x)\n    return x",
        "L = [1]", "L = [2]",
    ),
    "listeners": (
        "class S:\n    def __init__(self): self.all = []\n    def fire(self, x):\n        for one in self.all: one(x)\n"
        "L = [1]\ns = S()\ns.all.append(L.append)\ndef f(x):\n    s.fire(x)\n    return x", "L = [1]", "L = [2]",
    ),
}  # fmt: skip

# `main` sets the program up from the environment, by code that is not on the way of `f`.
SETTINGS = {
    "a method": "class C:\n    def __init__(self): self.rate = 1\n    def set_rate(self, r): self.rate = r\nc = C()\n"
    "def f(x): return c.rate\ndef main(): c.set_rate(RATE)",
    "a method whose name is used elsewhere": "import threading\nclass C:\n    def __init__(self): self.rate = 1\n"
    "    def set(self, r): self.rate = r\nc = C()\ndef f(x):\n    e = threading.Event()\n    e.set()\n"
    "    return c.rate\ndef main(): c.set(RATE)",
    "a method of the same name": "class T:\n    def reset(self, r=0): self.t = r\nclass C:\n"
    "    def __init__(self): self.rate = 1\n    def reset(self, r=1): self.rate = r\nt, c = T(), C()\n"
    "def f(x):\n    t.reset()\n    return c.rate\ndef main(): c.reset(RATE)",
    "a setter": "class C:\n    _rate = 1\n    @property\n    def rate(self): return self._rate\n    @rate.setter\n"
    "    def rate(self, v): self._rate = v\nc = C()\ndef f(x): return c.rate\ndef main(): c.rate = RATE",
    "an item": "class C:\n    def __init__(self): self.d = {}\n    def __setitem__(self, k, v): self.d[k] = v\n"
    "    def __getitem__(self, k): return self.d[k]\nc = C()\ndef f(x): return c['rate']\ndef main(): c['rate'] = RATE",
    "an update": "class C:\n    def __init__(self): self.d = {}\n    def update(self, **k): self.d.update(k)\nc = C()\n"
    "def f(x):\n    t = {}\n    t.update(a=1)\n    return c.d['rate']\ndef main(): c.update(rate=RATE)",
    "a method of the base": "class B:\n    def configure(self, r): self.rate = r\nclass C(B):\n"
    "    def __init__(self): self.rate = 1\n    def get(self): return self.rate\nc = C()\ndef f(x): return c.get()\n"
    "def main(): c.configure(RATE)",
    "a global": "R = 1\ndef set_rate(r):\n    global R\n    R = r\ndef f(x): return R\ndef main(): set_rate(RATE)",
    "an attribute beside a counter": "class M:\n    def __init__(self): self.rate, self.n = 1, 0\n    def run(self):\n"
    "        self.n += 1\n        return self.rate\nm = M()\ndef f(x): return m.run()\ndef main(): m.rate = RATE",
    "a table beside a memo": "T, MEMO = {}, {}\ndef f(x):\n    MEMO[x] = T['r']\n    return MEMO[x]\n"
    "def main(): T['r'] = RATE",
    "a variable beside a counter": "def make(r):\n    n = 0\n    def g():\n        nonlocal n\n        n += 1\n"
    "        return r\n    return g\ng = make(RATE)\ndef f(x): return g()\ndef main(): pass",
    "a default beside a memo": "def h(x, r=RATE, memo={}):\n    memo[x] = 1\n    return r\ndef f(x): return h(x)\n"
    "def main(): pass",
    "the path of a model that is loaded late": "class M:\n    def __init__(self, p): self.p, self.w = p, None\n"
    "    def load(self): self.w = self.p\n    def run(self):\n        if self.w is None: self.load()\n"
    "        return self.w\nm = M(RATE)\ndef f(x): return m.run()\ndef main(): pass",
    "an item that is added to by another name": "D, L, N = {'rate': 1}, [1], {'a': {'b': 1}}\n"
    "def f(x):\n    r, s, t = D['rate'], L[0], N['a']['b']\n    r += 1\n    s *= 2\n    t -= 1\n    return r, s, t\n"
    "def main(): D['rate'], L[0], N['a']['b'] = RATE, RATE, RATE",
    "an item of a list": "L = [1]\ndef f(x):\n    s = L[0]\n    s += 1\n    return s\ndef main(): L[0] = RATE",
    "numbers that are looked at one by one": "from decimal import Decimal\nL = [1, None, 'a', Decimal(1)]\n"
    "def f(x):\n    n = 0\n    for r in L:\n        if r: r += r\n        n = (n, r)\n    return n\n"
    "def main(): L[0] = RATE",
    "numbers that are unpacked": "L = [1, [2]]\ndef f(x):\n    r, _ = L\n    r += 1\n    return r\n"
    "def main(): L[0] = RATE",
    "a cached property that main sets": "from functools import cached_property\nclass M:\n    @cached_property\n"
    "    def t(self): return [0]\nm = M()\ndef conf(rate): m.t = [rate]\ndef f(x): return m.t[0]\n"
    "def main(): conf(RATE)",
    "a global made late that main sets": "def get():\n    global V\n    try: return V\n    except NameError:\n"
    "        V = [0]\n        return V\ndef conf(rate):\n    global V\n    V = [rate]\ndef f(x): return get()[0]\n"
    "def main(): conf(RATE)",
    "an attribute of a namespace": "import argparse\nargs = argparse.Namespace(rate=RATE, jobs=1)\n"
    "def f(x): return args.rate",
    "a namespace that is passed on": "import argparse\nargs = argparse.Namespace(rate=RATE, jobs=1)\n"
    "def g(a): return a.rate\ndef f(x): return args.jobs * g(args)",
    "a namespace by another name": "import argparse\nargs = argparse.Namespace(rate=RATE, jobs=1)\nopts = args\n"
    "def g(): return opts.rate\ndef f(x): return args.jobs * g()",
    "a namespace in an object": "import argparse\nargs = argparse.Namespace(rate=RATE, jobs=1)\nclass M:\n"
    "    def __init__(self, a): self.a = a\n    def go(self): return self.a.rate\nm = M(args)\n"
    "def f(x): return args.jobs * m.go()",
    "a computed attribute": "import argparse\nargs = argparse.Namespace(rate=RATE, jobs=1)\n"
    "def f(x): return args.jobs * getattr(args, 'ra' + str('te'))",
    "vars": "import argparse\nargs = argparse.Namespace(rate=RATE, jobs=1)\n"
    "def f(x): return args.jobs * vars(args)['rate']",
    "an item of a dict": "D = {'rate': RATE, 'n': 1}\ndef f(x): return D['rate']",
    "an item by get": "D = {'rate': RATE, 'n': 1}\ndef f(x): return D.get('rate', 5)",
    "an item by a computed key": "D = {'rate': RATE, 'n': 1}\ndef f(x): return D['n'] * D['rate'.strip()]",
    "an item by an equal key": "D = {True: RATE}\ndef f(x): return D[1]",
    "all items": "D = {'rate': RATE, 'n': 1}\ndef f(x): return D['n'] * max(D.values())",
    "items one by one": "D = {'rate': RATE, 'n': 1}\ndef f(x): return D['n'] * max(D[k] for k in D)",
    "a dict as arguments": "D = {'rate': RATE, 'n': 1}\ndef g(rate, n): return rate\ndef f(x): return D['n'] * g(**D)",
    "a dict in a match": "D = {'rate': RATE, 'n': 1}\ndef f(x):\n    n = D['n']\n    match D:\n"
    "        case {'rate': r}: return r * n",
    "a dict by globals": "D = {'rate': RATE, 'n': 1}\ndef f(x): return D['n'] * globals()['D']['rate']",
    "a dict in evaluated code": "D = {'rate': RATE, 'n': 1}\nCODE = compile(\"D['rate']\", 'x', 'eval')\n"
    "def f(x): return D['n'] * eval(CODE)",
    "the order of a dict": "D = {'a': 2.0, 'b': 3.0} if RATE == 2 else {'b': 3.0, 'a': 2.0}\n"
    "def f(x): return D['a'] * 0 + next(iter(D.values()))",
    "the length of a dict": "D = {i: 1 for i in range(int(RATE))}\ndef f(x): return len(D) + D.get('z', 0)",
    "a key that is there": "D = {f'k{RATE}': 1, 'n': 1}\ndef f(x): return D['n'] * ('k2.0' in D)",
    "a dict that a helper returns": "D = {'rate': RATE, 'n': 1}\ndef conf(): return D\n"
    "def f(x): return D['n'] * conf()['rate']",
    "the default of a dict": "from collections import defaultdict\nD = defaultdict(lambda: RATE)\n"
    "def f(x): return D.get(x, 0) + len(D)",
    "a dict in a dict": "D = {'a': {'rate': RATE}, 'n': 1}\ndef f(x): return D['n'] * D['a']['rate']",
    "an item beside a counter": "D = {'rate': RATE, 'n': 0}\ndef f(x):\n    D['n'] += 1\n    return D['rate']",
    "an item beside a counter, set later": "D = {'n': 0}\ndef f(x):\n    D['n'] += 1\n    return D['rate']\n"
    "def main(): D.update(rate=RATE)",
    "an item beside a counter of an inner dict": "D = {'s': {'n': 0}, 'c': {}}\ndef f(x):\n    D['s']['n'] += 1\n"
    "    return D['c']['rate']\ndef main(): D['c']['rate'] = RATE",
    "an item beside a counter of a class": "class C:\n    d = {'n': 0}\n    def go(self):\n        self.d['n'] += 1\n"
    "        return self.d['rate']\nC.d['rate'] = RATE\nc = C()\ndef f(x): return c.go()\ndef main(): pass",
    "an item beside a counter in a closure": "def make(r):\n    d = {'rate': r, 'n': 0}\n    def g():\n"
    "        d['n'] += 1\n        return d['rate']\n    return g\ng = make(RATE)\ndef f(x): return g()",
    "an item beside a counter among defaults": "def g(d={'rate': RATE, 'n': 0}):\n    d['n'] += 1\n"
    "    return d['rate']\ndef f(x): return g()",
    "an attribute beside a counter of objects in a dict": "class C:\n    def __init__(self, r): self.r, self.n = r, 0\n"
    "D = {'a': C(RATE)}\ndef f(x):\n    D['a'].n += 1\n    return D['a'].r",
    "a member of an enum": "import enum\nclass E(enum.Enum):\n    A = 1\ndef f(x): return E.A.rate\n"
    "def main(): E.A.rate = RATE",
    "an attribute of a thread": "import threading\nL = threading.local()\nL.rate = RATE\ndef f(x): return L.rate",
    "what a table starts with": "D = {'rate': float(os.environ['RATE'])}\ndef f(x):\n    D[x] = 1\n"
    "    return D['rate']",
    "what a helper starts a table with": "def load(): return [float(os.environ['RATE'])]\nL = load()\n"
    "def f(x):\n    L.append(x)\n    return L[0]",
    "what an object starts with": "class C:\n    def __init__(self): self.r = float(os.environ['RATE'])\n"
    "    def go(self):\n        r, self.r = self.r, self.r\n        return r\nc = C()\ndef f(x): return c.go()",
    "what a generator starts with": "def make(r):\n    while True: yield r\nG = make(float(os.environ['RATE']))\n"
    "def f(x): return next(G)",
    "a table that is read from a file": "F = __file__ + '.txt'\nwith open(F, 'w') as file: _ = file.write(str(RATE))\n"
    "D = {'rate': float(open(F).read())}\ndef f(x):\n    D[x] = 1\n    return D['rate']",
    "a global with a default that is set late": "R = None\ndef rate():\n    global R\n    if R is None: R = 1.0\n"
    "    return R\ndef f(x): return rate()\ndef main():\n    global R\n    R = float(os.environ['RATE'])",
    "a global with a default that another function sets": "R = None\ndef rate():\n    global R\n"
    "    if R is None: R = 1.0\n    return R\ndef f(x): return rate()\ndef use(r):\n    global R\n    R = r\n"
    "def main(): use(RATE)",
    "an attribute of one object by a function": "class C:\n    def __init__(self): self.rate = 1\none = None\n"
    "def get():\n    global one\n    if one is None: one = C()\n    return one\n"
    "get().rate = float(os.environ['RATE'])\ndef f(x): return get().rate",
    "an attribute of a namespace beside a counter": "from types import SimpleNamespace\n"
    "S = SimpleNamespace(n=0, rate=1)\ndef f(x):\n    S.n += 1\n    return S.rate\ndef main(): S.rate = RATE",
    "an attribute of a class of dicts": "class S(dict): pass\ns = S()\ndef f(x):\n    s[x] = 1\n    return s.rate\n"
    "def main(): s.rate = RATE",
    "a class of dicts that does not set items": "class S(dict):\n    def __setitem__(self, k, v): pass\ns = S()\n"
    "def f(x):\n    s[x] = 1\n    return s['rate']\ndef main(): dict.__setitem__(s, 'rate', RATE)",
    "what a class of dicts starts with": "class S(dict): pass\ns = S(rate=float(os.environ['RATE']))\ndef f(x):\n"
    "    s[x] = 1\n    return s['rate']",
    "an array that is only read": "import numpy\nA = numpy.zeros(3)\ndef f(x): return float(A[0])\n"
    "def main(): A[0] = RATE",
    "what an array starts with": "import numpy\nA = numpy.full(9, RATE)\ndef f(x):\n    A[x] += 1\n"
    "    return float(A[0])",
    "a frame that is added to another": "import pandas\nF = pandas.DataFrame({'a': [1]})\n"
    "def f(x): return float(F.add(1)['a'][0])\ndef main(): F.loc[0] = [RATE]",
    "what main puts into an array": "import numpy\nA = numpy.zeros(9)\ndef f(x):\n    A[x] += 1\n"
    "    return float(A[0])\ndef main(): A[0] = float(os.environ['RATE'])",
    "a method that is called by a computed name": "D = {'rate': RATE, 'n': 1}\nclass V:\n"
    "    def visit_a(self): return D['rate']\n    def go(self, n): return getattr(self, 'visit_' + n)()\nv = V()\n"
    "def f(x): return D['n'] * v.go('a')",
}

# What differs in each process and is not read: the function stays the same one.
NOT_READ = {
    "another attribute": "import argparse\nargs = argparse.Namespace(rate=1, jobs=RATE)\ndef f(x): return args.rate",
    "another item": "D = {'rate': 1, 'n': RATE}\ndef f(x): return D['rate']",
    "another item that a helper reads": "D = {'a': 1, 'b': 2, 'n': RATE}\ndef g(): return D.get('b')\n"
    "def f(x): return D['a'] + g()",
    "the order of handlers": "H = {}\ndef register(name): return lambda h: H.setdefault(name, h)\n"
    "for name in 'ab' if RATE == 2 else 'ba': register(name)(abs if name == 'a' else len)\ndef f(x): return H['a'](x)",
    "the order of keys": "D = {k: 1 for k in ('ab' if RATE == 2 else 'ba')}\n"
    "def f(x): return D[str(x)[:0] or 'a'] + len(D)",
    "the order of a dict with a default": "from collections import defaultdict\nD = defaultdict(set)\n"
    "for k in 'ab' if RATE == 2 else 'ba': D[k].add(1)\ndef f(x): return len(D) + x",
    "a loop's order of another table": "A, B = {'a': 1}, {'n': RATE, 'm': 2}\ndef f(x): return [*A], B['m']",
}

DRIVER = """
import importlib, json, sys
from pcache import Cache
cache = Cache(sys.argv[1])
found = {}
for name in sys.argv[2:]:
    module = importlib.import_module(name)
    getattr(module, "main", lambda: None)()
    cached = cache.cached(module.f)
    ids = [cached.function_id]
    cached(3), cached(4), module.f(5)
    again = Cache(sys.argv[1]).cached(module.f)
    again(6)
    found[name] = [*ids, cached.function_id, again.function_id, again.exists(3)]
print(json.dumps(found))
"""


def ids_of(folder: Path, programs: dict[str, str], **environment: str) -> dict[str, Any]:
    """The ids of each program's function: before it runs, after that, and for who comes then; whether that one hits."""
    return told_by(DRIVER, folder, programs, **environment)


def test_state_is_found_again(tmp_path: Path) -> None:
    """The function is the same while it runs and in a process with another hash seed, and another after an edit."""
    plain = {name: text for name, (text, _, _) in PROGRAMS.items()}
    edited = {name: text.replace(old, new) for name, (text, old, new) in PROGRAMS.items()}
    assert [name for name in plain if plain[name] == edited[name]] == []
    first = ids_of(tmp_path / "one", plain, PYTHONHASHSEED="1")
    second = ids_of(tmp_path / "one", plain, PYTHONHASHSEED="2")
    after = ids_of(tmp_path / "two", edited, PYTHONHASHSEED="2")
    assert {name: ids for name, ids in first.items() if len(set(ids[:3])) > 1 or not ids[3]} == {}
    assert {name: ids for name, ids in second.items() if ids != first[name]} == {}
    assert [name for name, ids in after.items() if ids[0] == first[name][0]] == []


def test_what_a_program_sets_up_counts(tmp_path: Path) -> None:
    """Another value is another function, whatever sets it, as long as the code on the way does not."""
    programs = {name: f"import os\nRATE = float(os.environ['RATE'])\n{text}" for name, text in SETTINGS.items()}
    found = [ids_of(tmp_path, programs, RATE=rate) for rate in ("2", "2", "3")]
    assert [name for name in programs if found[0][name][0] != found[1][name][0]] == []
    assert [name for name in programs if found[0][name][0] == found[2][name][0]] == []


def test_what_is_not_read_does_not_count(tmp_path: Path) -> None:
    """Items and attributes that no code on the way reads, and the order where nothing looks at it."""
    programs = {
        name: f"import os\nRATE = float(os.environ['RATE'])\n{text}\ndef main(): pass"
        for name, text in NOT_READ.items()
    }
    found = [ids_of(tmp_path, programs, RATE=rate) for rate in ("2", "3")]
    assert {name: ids for name, ids in found[1].items() if ids != found[0][name]} == {}


RUN_ID = """
import sys, uuid
from pcache import Cache
RUN_ID = str(uuid.uuid4())
def f(x):
    return x, bool(RUN_ID)
cached = Cache(sys.argv[1]).cached(IGNORE)(f) if IGNORE is None else Cache(sys.argv[1]).cached(ignore=IGNORE)(f)
print(cached(1) and cached.cache_info().hits)
"""


def test_a_global_that_is_ignored(tmp_path: Path) -> None:
    """By its name or a pattern it does not count, and `explain` says so; without that a warning says what to do."""
    script = tmp_path / "job.py"
    hits = []
    for ignore in (["job:RUN_ID"], ["job:RUN_ID"], ["*:RUN_ID"]):
        hits += run(write(script, f"IGNORE = {ignore}\n{RUN_ID}"), tmp_path / "cache")
    assert hits == ["0", "1", "1"]
    plain = write(script, f"IGNORE = []\n{RUN_ID}")
    warned = []
    for _ in range(4):
        hits = run(plain, tmp_path / "cache", warnings="always")
        assert hits == ["0"]
        done = subprocess.run(
            [sys.executable, "-W", "always", str(plain), str(tmp_path / "cache")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        warned.append("job:RUN_ID differs in every process" in done.stderr and "ignore=['job:RUN_ID']" in done.stderr)
    assert warned[-1]
    assert not warned[0]


ELSEWHERE = """
import sys, uuid
from pcache import Cache
cache = Cache(sys.argv[1], ignore_globals=IGNORE)
RUN_ID = str(uuid.uuid4())
class Model:
    def __init__(self, size):
        self.size = size
    def run(self, x):
        return self.size * x, bool(RUN_ID)
def report(x):
    return x, bool(RUN_ID)
def main():
    @cache.cached(ignore=OWN)
    def captures(x):
        return report_here(x)
    def report_here(x):
        return x, bool(RUN_ID)
    return captures
@cache.cached
def takes(x, what):
    return what.run(x) if isinstance(what, Model) else what(x)
captures = main()
for call in (lambda: captures(1), lambda: takes(1, Model(2)), lambda: takes(1, report), lambda: takes(1, Model(3).run)):
    call()
print(captures.cache_info().hits + takes.cache_info().hits)
"""


@pytest.mark.parametrize(
    ("ignored", "own", "hits"), [(["job:RUN_ID"], [], 4), ([], ["job:RUN_ID"], 1), (["*:RUN_*"], [], 4), ([], [], 0)]
)
def test_an_ignored_global_of_what_is_captured_or_passed(
    tmp_path: Path, ignored: list[str], own: list[str], hits: int
) -> None:
    """It does not count in helpers that a function captures, nor in the classes and functions of its arguments."""
    script = write(tmp_path / "job.py", f"IGNORE = {ignored}; OWN = {own}\n{ELSEWHERE}")
    assert [run(script, tmp_path / "cache") for _ in range(2)] == [["0"], [str(hits)]]


def test_a_global_that_nothing_uses(tmp_path: Path) -> None:
    """Naming one is an error of the first call, which lists what there is."""
    script = write(
        tmp_path / "job.py",
        """
        import sys
        from pcache import Cache, ConfigError
        RUN_ID = 5
        @Cache(sys.argv[1]).cached(ignore=["job:RUN_IDS"])
        def f(x):
            return x + RUN_ID
        try:
            f(1)
        except ConfigError as error:
            print(error)
        """,
    )
    assert run(script, tmp_path / "cache") == ["ignore= of f: it uses no global job:RUN_IDS; it uses job:RUN_ID"]


def test_what_code_does_with_objects() -> None:
    """Names that stand for others, branches, nested code and calls are read alike on each Python."""

    def changing(x: Any, given: Any) -> Any:
        memo = CACHE if x else OTHER  # type: ignore[name-defined]  # noqa: F821
        memo[str(x)] = TABLE.get("a")  # type: ignore[name-defined]  # noqa: F821
        given.items.append(x)

        def inner() -> None:
            memo["inner"] = LATE["b"][x]  # type: ignore[name-defined]  # noqa: F821
            setattr(HOLDER, "field", x)  # type: ignore[name-defined]  # noqa: B010, F821

        fill(HANDED, inner)  # type: ignore[name-defined]  # noqa: F821
        return memo

    uses = uses_of(changing.__code__)
    assert {"".join((path.name, *path.steps)) for path in uses.bound} == {"HOLDER.field"}
    assert {"".join((path.name, *path.steps)) for path in uses.changed} == {"CACHE", "OTHER", "given.items"}
    assert {("".join((of.name, *of.steps)), at, path.name) for of, at, path in uses.given} >= {("fill", 0, "HANDED")}
    read = {"".join((path.name, *path.steps)) for path in uses.read}
    assert {path.steps for path in uses.called} >= {(".get",)}
    assert {"TABLE['a", "LATE['b", "LATE['b[]", "CACHE", "OTHER"} <= read
    assert "HANDED" in {path.name for path in uses.handed}


@pytest.mark.parametrize("module", ["json.decoder", "argparse", "dataclasses", "typing", "asyncio.tasks", "ast"])
def test_all_code_can_be_read(module: str) -> None:
    """Every function of large modules: the stack never runs empty in a way that raises."""
    __import__(module)
    names = vars(sys.modules[module])
    classes = [found for found in names.values() if isinstance(found, type)]
    found = [*names.values(), *(member for cls in classes for member in vars(cls).values())]
    codes = [one.__code__ for one in found if isinstance(one, FunctionType)]
    assert len(codes) > 3
    assert all(uses_of(code) is uses_of(code) for code in codes)


TEN_TIMES = """
import sys
from random import randint
from pcache import Cache
cache = Cache(sys.argv[1])
MEMO = {}
class Counter:
    calls = 0
class Model:
    def __init__(self):
        self.weights = None
    def predict(self, x):
        if self.weights is None:
            self.weights = [randint(1, 9) for _ in range(3)]
        return x + len(self.weights)
model = Model()
computed = []
@cache.cached
def simulate(x):
    computed.append(x)
    Counter.calls += 1
    if x not in MEMO:
        MEMO[x] = model.predict(x)
    return MEMO[x]
for x in (1, 2, 1):
    simulate(x)
Counter.calls += 1
model.predict(9)
simulate(2)
print(len(computed))
"""


def test_a_program_that_runs_ten_times(tmp_path: Path) -> None:
    """With a counter, a memo, a model that is loaded late and random numbers: computed once, and one version."""
    script = write(tmp_path / "job.py", TEN_TIMES)
    computed = [run(script, tmp_path / "cache", PYTHONHASHSEED=str(number)) for number in range(10)]
    assert computed == [["2"], *[["0"]] * 9]
    assert len(list((tmp_path / "cache" / "v1" / "functions").glob("*.json"))) == 1
