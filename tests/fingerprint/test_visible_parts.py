"""What functions and classes that are arguments show of themselves counts, and nothing of what they only use."""

from __future__ import annotations

import importlib
import inspect
import json
import shutil
import sys
import typing
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

from pcache import Cache
from pcache.objects.lookup import state_in_c
from tests.key_values import key_of
from tests.support.running import run, write

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
import abc, dataclasses, enum, functools, inspect, typing as t
T = t.TypeVar("T")
"""
# Two texts that each define `shown`, and differ in one thing that whoever is given it can see.
DIFFER = {
    "docstring": ("def shown(x):\n 'a'", "def shown(x):\n 'b'"),
    "annotation": ("def shown(x: int): return x", "def shown(x: str): return x"),
    "text for one": ("def shown(x: 'int'): return x", "def shown(x: 'str'): return x"),
    "what comes back": ("def shown(x) -> int: return x", "def shown(x) -> str: return x"),
    "forward reference": ("def shown(x: t.List['A']): return x", "def shown(x: t.List['B']): return x"),
    "metadata": ("def shown(x: t.Annotated[int, 'a']): return x", "def shown(x: t.Annotated[int, 'b']): return x"),
    "literal": ("def shown(x: t.Literal['a']): return x", "def shown(x: t.Literal['b']): return x"),
    "new type": ("N = t.NewType('N', int)\ndef shown(x: N): 1", "N = t.NewType('N', str)\ndef shown(x: N): 1"),
    "type variable": ("def shown(x: T): 1", "T = t.TypeVar('T', bound=int)\ndef shown(x: T): 1"),
    "attribute": ("def shown(x): return x\nshown.tool = 1", "def shown(x): return x\nshown.tool = 2"),
    "name": ("def shown(x): return x", "def shown(x): return x\nshown.__name__ = 'other'"),
    "parameter": ("shown = lambda x: x", "shown = lambda y: y"),
    "signature": (
        "def shown(*a): 1\nshown.__signature__ = inspect.signature(lambda x: 1)",
        "def shown(*a): 1\nshown.__signature__ = inspect.signature(lambda y: 1)",
    ),
    "below a decorator": (
        "def g(x: int): 1\n@functools.wraps(g)\ndef shown(*a): return g(*a)",
        "def g(x: str): 1\n@functools.wraps(g)\ndef shown(*a): return g(*a)",
    ),
    "in a partial": (
        "def g(x: int): 1\nshown = functools.partial(g)",
        "def g(x: str): 1\nshown = functools.partial(g)",
    ),
    "in a cache": ("@functools.lru_cache\ndef shown(x: int): 1", "@functools.lru_cache\ndef shown(x: str): 1"),
    "docstring of a class": ("class shown:\n 'a'", "class shown:\n 'b'"),
    "field": ("class shown:\n a: int", "class shown:\n a: str"),
    "field of a base": ("class b:\n a: int\nclass shown(b): 1", "class b:\n a: str\nclass shown(b): 1"),
    "field of a field": ("class b:\n a: int\nclass shown:\n x: b", "class b:\n a: str\nclass shown:\n x: b"),
    "method": ("class shown:\n def m(self, a: int): 1", "class shown:\n def m(self, a: str): 1"),
    "docstring of one": ("class shown:\n def m(self): 'a'", "class shown:\n def m(self): 'b'"),
    "property": ("class shown:\n @property\n def m(self): 'a'", "class shown:\n @property\n def m(self): 'b'"),
    "static method": (
        "class shown:\n @staticmethod\n def m(a: int): 1",
        "class shown:\n @staticmethod\n def m(a: str): 1",
    ),
    "generic base": (
        "class b(t.Generic[T]): 1\nclass shown(b[int]): 1",
        "class b(t.Generic[T]): 1\nclass shown(b[str]): 1",
    ),
    "instance": ("class c:\n 'a'\nshown = c()", "class c:\n 'b'\nshown = c()"),
    "instance in a table": ("class c:\n 'a'\nshown = [{1: c()}]", "class c:\n 'b'\nshown = [{1: c()}]"),
    "bound method": ("class c:\n def m(self): 'a'\nshown = c().m", "class c:\n def m(self): 'b'\nshown = c().m"),
    "dataclass": (
        "@dataclasses.dataclass\nclass shown:\n a: int = 1",
        "@dataclasses.dataclass\nclass shown:\n a: str = 1",
    ),
    "named tuple": ("class shown(t.NamedTuple):\n a: int", "class shown(t.NamedTuple):\n a: str"),
    "typed dict": ("shown = t.TypedDict('R', {'a': int})", "shown = t.TypedDict('R', {'a': str})"),
    "what must be there": (
        "shown = t.TypedDict('R', {'a': int})",
        "shown = t.TypedDict('R', {'a': int}, total=False)",
    ),
    "member": ("class e(enum.Enum):\n A = 1\nshown = e.A", "class e(enum.Enum):\n 'x'\n A = 1\nshown = e.A"),
    "metaclass": (
        "class M(type):\n 'a'\nclass shown(metaclass=M): 1",
        "class M(type):\n 'b'\nclass shown(metaclass=M): 1",
    ),
    "generic function": (
        "@functools.singledispatch\ndef shown(x): return 0",
        "@functools.singledispatch\ndef shown(x): return 0\n@shown.register\ndef _(x: int): return 1",
    ),
}
LIBRARIES = {
    "attrs": ("@attrs.define\nclass shown:\n a: int", "@attrs.define\nclass shown:\n a: str"),
    "attrs field": ("shown = attrs.make_class('C', {'a': attrs.field(type=int)})",) * 1
    + ("shown = attrs.make_class('C', {'a': attrs.field(type=str)})",),
    "pydantic": ("class shown(pydantic.BaseModel):\n a: int", "class shown(pydantic.BaseModel):\n a: str"),
    "pydantic field": (
        "class shown(pydantic.BaseModel):\n a: int = pydantic.Field(gt=1, description='x')",
        "class shown(pydantic.BaseModel):\n a: int = pydantic.Field(gt=1, description='y')",
    ),
    **{
        f"msgspec {name}": (
            "shown = msgspec.defstruct('R', [('a', int, 1), ('b_c', int, 1)])",
            f"shown = msgspec.defstruct('R', {changed})",
        )
        for name, changed in {
            "default": "[('a', int, 2), ('b_c', int, 1)]",
            "type": "[('a', int, 1), ('b_c', str, 1)]",
            "order": "[('b_c', int, 1), ('a', int, 1)]",
            "rename": "[('a', int, 1), ('b_c', int, 1)], rename='camel'",
            "tag": "[('a', int, 1), ('b_c', int, 1)], tag='r'",
            "frozen": "[('a', int, 1), ('b_c', int, 1)], frozen=True",
            "limit": "[('a', t.Annotated[int, msgspec.Meta(gt=1)], 1), ('b_c', int, 1)]",
        }.items()
    },
}


def made(text: str) -> Any:
    """What a text defines as `shown`, as a program of its own would."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    libraries = [name for name in ("attrs", "pydantic", "msgspec") if f"{name}." in text]
    for name in libraries:
        namespace[name] = pytest.importorskip(name)
    exec(compile(HEAD + text, "<shown>", "exec", dont_inherit=True), namespace)
    return namespace["shown"]


@pytest.mark.parametrize("name", [*DIFFER, *LIBRARIES])
def test_what_is_shown_counts(name: str) -> None:
    """Whatever a function can see of its argument makes another key, and the same text the same one."""
    one, other = {**DIFFER, **LIBRARIES}[name]
    value = made(one)
    assert key_of(value) == key_of(value) == key_of(made(one)) != key_of(made(other))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of Python 3.12")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def shown[T: int](x: T): 1", "def shown[T: str](x: T): 1"),
        ("class shown[T: int]: 1", "class shown[T: str]: 1"),
        ("type A = int\ndef shown(x: A): 1", "type A = str\ndef shown(x: A): 1"),
        ("type A = int | list[A]\ndef shown(x: A): 1", "type A = str | list[A]\ndef shown(x: A): 1"),
    ],
)
def test_type_parameters_count(one: str, other: str) -> None:
    """Bounds and aliases are evaluated when somebody asks for them; one may name itself."""
    assert key_of(made(one)) == key_of(made(one)) != key_of(made(other))


def test_what_helpers_show_does_not_count() -> None:
    """Nobody is given them: the docstring of a function that an argument calls is not seen."""
    texts = [f"def g(x):\n '{word}'\n return x\ndef shown(x): return g(x)" for word in ("one", "two")]
    assert key_of(made(texts[0])) == key_of(made(texts[1]))


TEXTS = """
from __future__ import annotations
from dataclasses import dataclass
from typing import List
import helpers
@dataclass
class Inner:
    n: KIND
class Node:
    inner: List[Inner]
    other: helpers.Other
    last: Node
def shown(x: Node) -> int: ...
"""


def test_annotations_that_are_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What their names mean is what `get_type_hints` says, also where that is a class further on."""
    keys = set()
    for kind, other in (("int", "int"), ("str", "int"), ("int", "str")):
        monkeypatch.syspath_prepend(tmp_path)
        write(tmp_path / "helpers.py", f"class Other:\n    m: {other}\n")
        write(tmp_path / "texts.py", TEXTS.replace("KIND", kind))
        importlib.invalidate_caches()
        for name in ("helpers", "texts"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        keys.add(key_of(importlib.import_module("texts").shown))
    assert len(keys) == 3


def test_classes_that_name_themselves() -> None:
    """Annotations may lead back to where they stand."""
    text = "class shown:\n def m(self) -> t.Optional['shown']: 1\nshown.__annotations__ = {'next': shown}"
    assert key_of(made(text)) == key_of(made(text)) != key_of(made(text.replace("next", "last")))


def test_it_may_change_while_the_program_runs() -> None:
    """A docstring, a name, an annotation or an attribute that is set later counts from then on."""
    value, keys = made("def shown(x: int): return x"), set()
    keys.add(key_of(value))
    value.__doc__ = "new"
    keys.add(key_of(value))
    value.__annotations__["x"] = str
    keys.add(key_of(value))
    value.__annotations__["return"] = str
    keys.add(key_of(value))
    value.__name__ = "other"
    keys.add(key_of(value))
    value.tool = True
    keys.add(key_of(value))
    assert len(keys) == 6
    cls = made("class shown:\n a: int")
    before = key_of(cls())
    cls.__doc__ = "new"
    assert key_of(cls()) != before


def test_how_often_a_function_ran_does_not_count() -> None:
    """A counter that a decorator keeps on its function is not what the function is."""
    text = "def shown(x):\n shown.calls += 1\n return x\nshown.calls = 0"
    value = made(text)
    before = key_of(value)
    value(1)
    assert key_of(value) == before


def test_calls_tell_what_they_are_given(cache: Cache) -> None:
    """Schemas and signatures are those of the argument, and not of another that does the same."""

    @cache.cached
    def schema(cls: Any) -> list[str]:
        return [kind.__name__ for kind in get_type_hints(cls).values()]

    @cache.cached
    def signature(function: Any) -> str:
        return str(inspect.signature(function))

    rows: list[Any] = [typing.TypedDict("Row", {"a": int}), typing.TypedDict("Row", {"a": str})]  # type: ignore[misc]
    assert list(map(schema, rows)) == [["int"], ["str"]]
    functions = [made("def shown(x: int): return x"), made("def shown(x: str): return x")]
    assert list(map(signature, functions)) == ["(x: int)", "(x: str)"]


def test_keys_of_what_is_shown_in_two_processes(tmp_path: Path) -> None:
    """Typing's objects have no address in them, and sets no order."""
    script = write(
        tmp_path / "keys.py",
        """
        import json
        from tests.key_values import key_of
        from tests.fingerprint.test_visible_parts import DIFFER, made
        print(json.dumps([key_of(made(text)) for pair in DIFFER.values() for text in pair]))
        """,
    )
    one, other = (run(script, PYTHONHASHSEED=seed) for seed in "12")
    assert one == other
    assert len(json.loads(one[0])) == 2 * len(DIFFER)


def test_what_c_keeps_is_read_without_asking() -> None:
    """Only what a type of C has beside any other type's; a property is not asked."""

    class Meta(type):
        @property
        def secret(cls) -> int:
            raise AssertionError("asked")

    assert state_in_c(Meta("Own", (), {})) == {}
    assert state_in_c(1)["real"] == 1
