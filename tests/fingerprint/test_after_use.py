"""Programs whose objects change when they are used: in a process that has used them a function is the same one.

Each has an edit of what its objects start with, and that makes it another function.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tests.support.running import told_by

if TYPE_CHECKING:
    from pathlib import Path

_SERVICE = (
    "class S:\n    def __init__(self, k): self.k, self.last = k, None\n    def run(self, x):\n        self.last = x\n"
    "        return x * self.k\n"
)
# A program and an edit: `f` is cached, `use` is what else the program does with its objects.
PROGRAMS: dict[str, tuple[str, str, str]] = {
    "private attributes of a pydantic model": (
        "from pydantic import BaseModel, PrivateAttr\nclass Conf(BaseModel):\n    rate: int = 2\n"
        "    _memo: dict = PrivateAttr(default_factory=dict)\n    _n: int = PrivateAttr(default=0)\n"
        "    def get(self, x):\n        self._n += 1\n        self._memo[x] = x * self.rate\n"
        "        return self._memo[x]\nconf = Conf(rate=2)\ndef f(x): return conf.get(x)\ndef use(): conf.get(50)",
        "Conf(rate=2)", "Conf(rate=3)",
    ),
    "a private attribute of a pydantic model that is set late": (
        "from pydantic import BaseModel, PrivateAttr\nclass Conf(BaseModel):\n    rate: int = 2\n"
        "    _client: object = PrivateAttr(None)\n    def client(self):\n"
        "        if self._client is None: self._client = [self.rate]\n        return self._client\n"
        "conf = Conf(rate=2)\ndef f(x): return conf.client()[0] * x\ndef use(): conf.client()",
        "[self.rate]", "[self.rate + 1]",
    ),
    "fields of a pydantic model that are assigned": (
        "from pydantic import BaseModel\nclass Conf(BaseModel):\n    rate: int = 2\n    n: int = 0\n"
        "    def hit(self): self.n = self.n + 1\nconf = Conf()\ndef f(x):\n    conf.hit()\n    return conf.rate * x\n"
        "def use(): conf.hit()", "rate: int = 2", "rate: int = 3",
    ),
    "a memo of an attrs class": (
        "import attrs\n@attrs.define\nclass Repo:\n    path: str\n"
        "    _memo: dict = attrs.field(factory=dict, init=False, repr=False)\n    def load(self, k):\n"
        "        self._memo[k] = len(self.path) * k\n        return self._memo[k]\nrepo = Repo('abc')\n"
        "def f(x): return repo.load(x)\ndef use(): repo.load(77)", "Repo('abc')", "Repo('abcd')",
    ),
    "a cached property of an attrs class": (
        "import attrs, functools\n@attrs.define\nclass Repo:\n    path: str\n    @functools.cached_property\n"
        "    def size(self): return [len(self.path)]\nrepo = Repo('abc')\ndef f(x): return repo.size[0] * x\n"
        "def use(): repo.size", "Repo('abc')", "Repo('abcd')",
    ),
    "settings that are read late": (
        "class Settings:\n    def __init__(self, **raw): self.__dict__['_raw'] = raw\n"
        "    def __getattr__(self, name):\n        raw = self.__dict__['_raw']\n"
        "        if name not in raw: raise AttributeError(name)\n"
        "        setattr(self, name, raw[name] * 2)\n        return self.__dict__[name]\n"
        "settings = Settings(rate=2, b=5)\ndef f(x): return settings.rate * x\ndef use(): settings.b, settings.rate",
        "rate=2", "rate=3",
    ),
    "settings that are kept in their own dict": (
        "class Settings:\n    def __init__(self, **raw): self._raw = raw\n    def __getattr__(self, name):\n"
        "        if name.startswith('_'): raise AttributeError(name)\n"
        "        value = self.__dict__[name] = self._raw[name] * 2\n        return value\n"
        "settings = Settings(rate=2, b=5)\ndef f(x): return settings.rate * x\ndef use(): settings.b",
        "rate=2", "rate=3",
    ),
    "attributes that are put by update": (
        "class M:\n    def __init__(self, k): self.k = k\n    def note(self, **found): vars(self).update(found)\n"
        "m = M(2)\ndef f(x):\n    m.note(last=x)\n    return m.k * x\ndef use(): m.note(first=1)", "M(2)", "M(3)",
    ),
    "memos by computed names": (
        "class M:\n    def __init__(self, k): self.k = k\n    def get(self, name):\n        key = '_' + name\n"
        "        if not hasattr(self, key): setattr(self, key, len(name) * self.k)\n"
        "        return getattr(self, key)\nm = M(2)\ndef f(x): return m.get('abc') * x\ndef use(): m.get('q')",
        "M(2)", "M(3)",
    ),
    "token types that are made when they are named": (
        "class Kind(tuple):\n    def __init__(self, *args): self.below = set()\n    def __getattr__(self, name):\n"
        "        if not name[0].isupper(): return tuple.__getattribute__(self, name)\n"
        "        new = Kind(self + (name,))\n        setattr(self, name, new)\n        self.below.add(new)\n"
        "        return new\nAny = Kind()\nText = Any.Text\n"
        "STYLES = {Text: 'black', Any: ''}\ndef f(x): return STYLES[Any.Text], x\ndef use(): Any.Other.More",
        "'black'", "'blue'",
    ),
    "a property of the user's own that fills": (
        "class lazy:\n    def __init__(self, fn): self.fn, self.name = fn, fn.__name__\n"
        "    def __get__(self, obj, cls=None):\n        value = obj.__dict__[self.name] = self.fn(obj)\n"
        "        return value\nclass M:\n    def __init__(self, k): self.k = k\n    @lazy\n"
        "    def w(self): return [self.k]\nm = M(2)\ndef f(x): return m.w[0] * x\ndef use(): m.w", "M(2)", "M(3)",
    ),
    "a property that fills an attribute beside": (
        "class lazy:\n    def __init__(self, fn): self.fn = fn\n"
        "    def __set_name__(self, owner, name): self.at = '_lazy_' + name\n"
        "    def __get__(self, obj, cls=None):\n"
        "        if not hasattr(obj, self.at): setattr(obj, self.at, self.fn(obj))\n"
        "        return getattr(obj, self.at)\nclass M:\n    def __init__(self, k): self.k = k\n    @lazy\n"
        "    def w(self): return [self.k]\nm = M(2)\ndef f(x): return m.w[0] * x\ndef use(): m.w", "M(2)", "M(3)",
    ),
    "a frozen object that keeps its key": (
        "from dataclasses import dataclass, field\n@dataclass(frozen=True)\nclass C:\n    k: int\n"
        "    _key: object = field(default=None, init=False, repr=False, compare=False)\n    def key(self):\n"
        "        if self._key is None: object.__setattr__(self, '_key', ('k', self.k))\n        return self._key\n"
        "c = C(2)\ndef f(x): return c.key()[1] * x\ndef use(): c.key()", "C(2)", "C(3)",
    ),
    "texts that are computed when they are asked for": (
        "class Style:\n    def __init__(self, c):\n        self.c = c\n        self._codes = None\n"
        "        self._text = None\n"
        "    def codes(self):\n        if self._codes is None: self._codes = self.c * 3\n        return self._codes\n"
        "    def __str__(self):\n        if not self._text: self._text = 's%s' % self.c\n        return self._text\n"
        "class Doc:\n    def __init__(self): self.parts = [('a', Style(2))]\n"
        "    def render(self): yield from self.parts\ndoc = Doc()\n"
        "def f(x): return [style.codes() for _, style in doc.render()], x\ndef use():\n"
        "    for _, style in doc.render(): style.codes(), str(style)", "Style(2)", "Style(3)",
    ),
    "a number that is computed once": (
        "class M:\n    __slots__ = ('k', '_size')\n    def __init__(self, k): self.k = k\n    def size(self):\n"
        "        try: return self._size\n        except AttributeError: self._size = self.k * 2\n"
        "        return self._size\nALL = {'a': M(2)}\ndef f(x): return [m.k for m in ALL.values()], x\n"
        "def use(): ALL['a'].size()", "M(2)", "M(3)",
    ),
    "dicts with a default that are looked up": (
        "from collections import defaultdict\nOPEN = defaultdict(lambda: open)\nOPEN['.gz'] = len\n"
        "N = defaultdict(int, {'a': 2})\ndef f(x): return OPEN[str(x)] is open, N['a'], N[str(x)]\n"
        "def use(): OPEN['.txt'], N['b']", "{'a': 2}", "{'a': 3}",
    ),
    "what a dict has by default": (
        "from collections import defaultdict\nN = defaultdict(lambda: 2)\nN[0] = 1\ndef f(x): return N[x]\n"
        "def use(): N['b']", "lambda: 2", "lambda: 3",
    ),
    "a memo among the fields of a dataclass": (
        "from dataclasses import dataclass, fields\nfrom typing import ClassVar\n@dataclass\nclass C:\n"
        "    memo: ClassVar[dict] = {0: 2}\n    rate: int = 2\n    def go(self, x):\n        self.memo[x] = x\n"
        "        return len(fields(self)) * self.rate\nc = C()\ndef f(x): return c.go(x)\ndef use(): c.go(9)",
        "rate: int = 2", "rate: int = 3",
    ),
    "services that an expression goes through": (
        f"{_SERVICE}ALL = [S(1), S(2)]\ndef f(x): return sum(s.run(x) for s in ALL)\n"
        "def use(): [s.run(1) for s in ALL]",
        "S(2)", "S(3)",
    ),
    "services in the order of their names": (
        f"{_SERVICE}ALL = {{'a': S(1), 'b': S(2)}}\ndef f(x): return sum(s.run(x) for _, s in sorted(ALL.items()))\n"
        "def use(): [s.run(1) for s in ALL.values()]", "S(2)", "S(3)",
    ),
    "services with numbers": (
        f"{_SERVICE}ALL = [S(1), S(2)]\ndef f(x):\n    for n, s in enumerate(ALL): s.run(n)\n    return x\n"
        "def use(): ALL[0].run(1)", "S(2)", "S(3)",
    ),
    "a service that a function returns": (
        f"{_SERVICE}ALL = {{'a': S(2)}}\ndef pick(name): return ALL[name]\ndef f(x): return pick('a').run(x)\n"
        "def use(): pick('a').run(1)", "S(2)", "S(3)",
    ),
    "a service that a property returns": (
        f"{_SERVICE}class App:\n    def __init__(self): self._s = S(2)\n    @property\n"
        "    def s(self): return self._s\napp = App()\ndef f(x): return app.s.run(x)\ndef use(): app.s.run(1)",
        "S(2)", "S(3)",
    ),
    "a service that is entered": (
        f"{_SERVICE}    def __enter__(self): return self\n    def __exit__(self, *a): pass\ns = S(2)\ndef f(x):\n"
        "    with s as t: return t.run(x)\ndef use():\n    with s as t: t.run(1)", "S(2)", "S(3)",
    ),
    "a service that a base runs": (
        f"{_SERVICE}class D(S):\n    def run(self, x): return super().run(x) + 1\ns = D(2)\ndef f(x): return s.run(x)\n"
        "def use(): s.run(1)", "D(2)", "D(3)",
    ),
    "a memo in a named tuple": (
        "from typing import NamedTuple\nclass C(NamedTuple):\n    rate: int\n    memo: dict\nc = C(2, {})\ndef f(x):\n"
        "    c.memo[x] = x\n    return c.rate * x\ndef use(): c.memo.update(u=1)", "C(2", "C(3",
    ),
    "a text that is written": (
        "import io\nBUFFER = io.StringIO('a')\ndef f(x):\n    BUFFER.write('x')\n    print(x, file=BUFFER)\n"
        "    return x\ndef use(): BUFFER.write('u')", "'a'", "'b'",
    ),
    "a package that is imported late": (
        "np = None\ndef late():\n    global np\n    if np is None: import numpy as np\n    return np\n"
        "def f(x): return int(late().array([2, x]).sum())\ndef use(): late()", "[2, x]", "[3, x]",
    ),
    "one object that a metaclass keeps": (
        "class Meta(type):\n    made = {}\n    def __call__(cls, *args):\n"
        "        if cls not in cls.made: cls.made[cls] = super().__call__(*args)\n        return cls.made[cls]\n"
        "class Conf(metaclass=Meta):\n    def __init__(self): self.rate = 1\nConf().rate = 2\n"
        "def f(x): return Conf().rate * x\ndef use(): Conf()", "rate = 2", "rate = 3",
    ),
    "one object that a metaclass keeps, by a method": (
        "class Meta(type):\n    made = {}\n    def __call__(cls, *args):\n"
        "        if cls not in cls.made: cls.made[cls] = super().__call__(*args)\n        return cls.made[cls]\n"
        "class Conf(metaclass=Meta):\n    rate = 1\n    def set_rate(self, r): self.rate = r\nConf().set_rate(2)\n"
        "def f(x): return Conf().rate * x\ndef use(): Conf()", "set_rate(2)", "set_rate(3)",
    ),
    "one object that a base keeps, by another name": (
        "class One:\n    made = {}\n    def __new__(cls, *args):\n"
        "        if cls not in cls.made: cls.made[cls] = super().__new__(cls)\n        return cls.made[cls]\n"
        "class Conf(One):\n    rate = 1\nconf = Conf()\nconf.rate = 2\ndef f(x): return Conf().rate * x\n"
        "def use(): Conf()", "rate = 2", "rate = 3",
    ),
    "one object that a function returns, by a method": (
        "class C:\n    rate = 1\n    def set_rate(self, r): self.rate = r\none = None\ndef conf():\n    global one\n"
        "    if one is None: one = C()\n    return one\nconf().set_rate(2)\ndef f(x): return conf().rate * x\n"
        "def use(): conf()", "set_rate(2)", "set_rate(3)",
    ),
    "a text that is overwritten after use": (
        "text = '2'\nD = {'rate': float(text)}\ntext = '5'\ndef f(x):\n    D[x] = 1\n    return D['rate'] * x\n"
        "def use(): D[99] = 1", "'2'", "'3'",
    ),
    "a text that is deleted after use": (
        "raw = '2'\nif raw:\n    text = raw + '0'\nD = {'rate': float(text)}\ndel raw, text\ndef f(x):\n    D[x] = 1\n"
        "    return D['rate'] * x\ndef use(): D[99] = 1", "'2'", "'3'",
    ),
}  # fmt: skip

_PLACE = (
    "class C:\n    def __init__(self): self.rate = 1\n    def put(self, k): setattr(self, '_' + k, 1)\nc = C()\n"
    "def f(x):\n    c.put('a' * x)\n    return c.rate\n"
)
_LAZY = (
    "class C:\n    def __init__(self):\n        self._rate = None\n{}\nc = C()\nALL = [c]\n"
    "def f(x): return [one.rate() for one in list(ALL)[:x]]\n"
)
_FILLS = "    def rate(self):\n        if self._rate is None: self._rate = 1\n        return self._rate"
_COUNTS = "from collections import defaultdict\nW = defaultdict(int)\n"
# `main` sets something that the code on the way does not change: another value is another function.
SET_UP = {
    "an attribute beside those by computed names": f"{_PLACE}def main(): c.rate = RATE",
    "an attribute by a computed name": f"{_PLACE}def main(): setattr(c, 'ra' + 'te', RATE)",
    "an attribute that is read late, by a statement": "class C:\n    def __getattr__(self, n):\n"
    "        if n[0] == '_': raise AttributeError(n)\n        v = self.__dict__[n] = 5\n        return v\nc = C()\n"
    "c.rate = RATE\ndef f(x): return c.rate\ndef main(): pass",
    "a field of a pydantic model": "from pydantic import BaseModel, PrivateAttr\nclass C(BaseModel):\n"
    "    rate: int = 1\n    _n: int = PrivateAttr(0)\n    def go(self):\n        self._n += 1\n"
    "        return self.rate\nc = C()\ndef f(x): return c.go()\ndef main(): c.rate = RATE",
    "a private attribute of a pydantic model": "from pydantic import BaseModel, PrivateAttr\nclass C(BaseModel):\n"
    "    _rate: int = PrivateAttr(0)\n    def put(self, r): self._rate = r\nc = C()\ndef f(x): return c._rate\n"
    "def main(): c.put(RATE)",
    "an extra field of a pydantic model": "from pydantic import BaseModel\nclass C(BaseModel, extra='allow'):\n"
    "    a: int = 1\nc = C(rate=RATE)\ndef f(x): return c.rate\ndef main(): pass",
    "a private attribute that others set": f"{_LAZY.format(_FILLS)}def main(): c._rate = RATE",
    "a private attribute that is set with an argument": _LAZY.format(
        _FILLS.replace("(self)", "(self, r=None)").replace("= 1", "= r")
    )
    + "def main(): c.rate(RATE)",
    "a private attribute from the environment": _LAZY.format(_FILLS.replace("= 1", "= os.environ['RATE']"))
    + "def main(): c.rate()",
    "a private attribute of a method it calls": _LAZY.format(
        _FILLS.replace("= 1", "= self.load()") + "\n    def load(self): return os.environ['RATE']"
    )
    + "def main(): c.rate()",
    "a list that is made late": _LAZY.format(_FILLS.replace("= 1", "= []")) + "def main(): c.rate().append(RATE)",
    "a private attribute that starts otherwise": _LAZY.format(_FILLS).replace("= None\n", "= RATE\n")
    + "def main(): pass",
    "a list that is copied": "DATA = []\ndef f(x):\n    s, t = list(DATA), sorted(DATA)\n    s.append(x)\n"
    "    t[0:0] = [1]\n    return s, t\ndef main(): DATA.append(RATE)",
    "dicts that are copied": "CONF = {'a': {'rate': 1}}\ndef f(x):\n    found = []\n    for _, v in CONF.items():\n"
    "        v = dict(v)\n        v['x'] = x\n        found.append(v)\n    return found\n"
    "def main(): CONF['a']['rate'] = RATE",
    "dicts that are copied by a method": "CONF = {'a': {'rate': 1}}\ndef f(x):\n    found = []\n"
    "    for v in CONF.values():\n        v = v.copy()\n        v.update(x=x)\n        found.append(v)\n"
    "    return found\ndef main(): CONF['a']['rate'] = RATE",
    "another object of the class": "class S:\n    def __init__(self, r): self.rate = r\n    def put(self, r):\n"
    "        self.rate = r\n        return self\n    @classmethod\n    def new(cls): return cls(1)\nG = S(1)\n"
    "def make():\n    s = S(2)\n    return s\ndef f(x):\n    make().put(3).rate = 4\n    S.new().put(3)\n"
    "    return G.rate\ndef main(): G.rate = RATE",
    "a rate beside a counter of a base": "class B:\n    def __init__(self): self.rate, self.n = 1, 0\n"
    "    def run(self):\n        self.n += 1\n        return self.rate\n    def put(self, r): self.rate = r\n"
    "class D(B):\n    def run(self): return super().run()\nd = D()\ndef f(x): return d.run()\ndef main(): d.put(RATE)",
    "a rate beside a counter of what a function returns": "class S:\n    def __init__(self): self.rate, self.n = 1, 0\n"
    "    def run(self):\n        self.n += 1\n        return self.rate\none = S()\ndef get(): return one\n"
    "def f(x): return get().run()\ndef main(): get().rate = RATE",
    "a text that is only read": "import io\nB = io.StringIO()\ndef f(x): return B.getvalue()\n"
    "def main(): B.write(str(RATE))",
    "a text that starts otherwise": "import io\nB = io.StringIO(str(RATE))\ndef f(x):\n    B.seek(0)\n"
    "    return B.read()\ndef main(): pass",
    "words that are counted": f"{_COUNTS}def train(n):\n    for _ in range(int(n)): W['a'] += 1\n"
    "def f(x): return W['a']\ndef main(): train(RATE)",
    "the length of a dict with a default": f"{_COUNTS}def f(x): return W['a'], len(W)\n"
    "def main():\n    for k in range(int(RATE)): W[k] = 0",
    "a key of a dict with a default": f"{_COUNTS}def f(x): return W['a'], 'k2.0' in W\n"
    "def main(): W[f'k{RATE}'] = 0",
    "an item of a dict with a default by get": f"{_COUNTS}def f(x): return W['a'], W.get('k2.0', 1)\n"
    "def main(): W[f'k{RATE}'] = 0",
    "the default of a field": "from dataclasses import dataclass, fields\n@dataclass\nclass C:\n"
    "    rate: float = RATE\ndef f(x): return [one.default for one in fields(C)]\ndef main(): pass",
    "what a field says of itself": "from dataclasses import dataclass, field, fields\n@dataclass\nclass C:\n"
    "    rate: float = field(default=1, metadata={'unit': RATE})\n"
    "def f(x): return [one.metadata['unit'] for one in fields(C)]\ndef main(): pass",
    "an attribute of a frozen object": "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass C:\n"
    "    rate: float = 1\n    _key: object = None\n    def key(self):\n"
    "        if self._key is None: object.__setattr__(self, '_key', 'k')\n        return self._key\nc = C()\n"
    "def f(x): return c.key(), c.rate\ndef main(): object.__setattr__(c, 'rate', RATE)",
    "a text that is read and overwritten": "F = __file__ + '.txt'\n"
    "with open(F, 'w') as file: _ = file.write(str(RATE))\n"
    "with open(F) as file: text = file.read()\nD = {'rate': float(text)}\ntext = '7'\n"
    "def f(x):\n    D[x] = 1\n    return D['rate'] * x\ndef main(): pass",
}  # fmt: skip

DRIVER = """
import importlib, json, os, sys
from pcache import Cache
cache = Cache(sys.argv[1])
found = {}
for name in sys.argv[2:]:
    module = importlib.import_module(name)
    if "USED" in os.environ:
        module.f(8), module.use()
    getattr(module, "main", lambda: None)()
    cached = cache.cached(module.f)
    ids = [cached.function_id]
    cached(3), module.f(5), getattr(module, "use", lambda: None)()
    again = Cache(sys.argv[1]).cached(module.f)
    found[name] = [*ids, cached.function_id, again.function_id, again.exists(3)]
print(json.dumps(found))
"""


def available(text: str) -> bool:
    return all(find_spec(name) for name in ("attrs", "pydantic") if f"import {name}" in text or f"from {name}" in text)


def ids_of(folder: Path, programs: dict[str, str], **environment: str) -> dict[str, Any]:
    """The ids of each program's function: at first, after use, and for who comes then; whether that one hits."""
    return told_by(DRIVER, folder, programs, **environment)


def test_use_makes_no_other_function(tmp_path: Path) -> None:
    """The function is the same before and after use, in a process that used its objects first too; an edit counts."""
    plain = {name: text for name, (text, _, _) in PROGRAMS.items() if available(text)}
    edited = {name: plain[name].replace(old, new) for name, (_, old, new) in PROGRAMS.items() if name in plain}
    assert [name for name in plain if plain[name] == edited[name]] == []
    first = ids_of(tmp_path / "one", plain, PYTHONHASHSEED="1")
    second = ids_of(tmp_path / "one", plain, PYTHONHASHSEED="2", USED="1")
    after = ids_of(tmp_path / "two", edited, PYTHONHASHSEED="2")
    assert {name: ids for name, ids in first.items() if len(set(ids[:3])) > 1 or not ids[3]} == {}
    assert {name: ids for name, ids in second.items() if ids != first[name]} == {}
    assert [name for name, ids in after.items() if ids[0] == first[name][0]] == []


# A list comprehension is a function of its own before Python 3.12. What it calls for each item is not seen to be
# called, so that attributes which that sets count by value. Later it is seen, as in a `for` statement: they are state,
# and count by the code that makes them, whatever else sets them.
SEEN_TO_BE_SET = {name for name, text in SET_UP.items() if "in list(ALL)" in text} - {
    "a private attribute that starts otherwise"
}


def test_what_is_set_up_counts(tmp_path: Path) -> None:
    """Another value that the code on the way does not put there is another function."""
    counting = {name: text for name, text in SET_UP.items() if sys.version_info < (3, 12) or name not in SEEN_TO_BE_SET}
    texts = {name: f"import os\nRATE = float(os.environ['RATE'])\n{text}" for name, text in counting.items()}
    programs = {name: text for name, text in texts.items() if available(text)}
    found = [ids_of(tmp_path, programs, RATE=rate) for rate in ("2", "2", "3")]
    assert [name for name in programs if found[0][name][0] != found[1][name][0]] == []
    assert [name for name in programs if found[0][name][0] == found[2][name][0]] == []
