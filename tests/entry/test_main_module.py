"""One function, whether its module runs as a script, is imported or is seen by a worker: shared, and never mixed up."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache
from pcache.entry.main_module import MADE_BY_IMPORT, MADE_BY_MAIN, SHARED, flags_of, means_the_same
from pcache.keys.names import Home, home_of
from tests.key_values import Record
from tests.support.running import ROOT, run, write

SCRIPT = """
    import sys
    from pcache import Cache
    cache = Cache(sys.argv[1])
    class Point:
        def __init__(self, x):
            self.x = x
    def helper():
        return 1
    def factor():
        return 2
    @cache.cached
    def plain(n):
        print("computing")
        return [n * factor()]
    @cache.cached
    def visible(n):
        print("computing")
        return Point(n)
    @cache.cached
    def hidden(n, name="Point"):
        print("computing")
        return [globals()[name](n)]
    @cache.cached
    def returned(name):
        print("computing")
        return globals()[name]
    if __name__ == "__main__":
        exec(sys.argv[2])
"""
# Another program, with a class of the same name.
USER = """
    import sys
    import {0} as script
    class Point:
        pass
    def helper():
        return 5
    exec(sys.argv[2])
"""
PLAIN = "print({0}plain(1))"
VISIBLE = "print(isinstance({0}visible(1), {0}Point))"
HIDDEN = "print(isinstance({0}hidden(1)[0], {0}Point))"
RETURNED = "print({0}returned('Point') is {0}Point, {0}returned('helper') is {0}helper)"


class Ways:
    """A script in a package and outside of it, the ways of running it, and one cache."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "cache"
        write(folder / "pkg" / "__init__.py", "")
        write(folder / "pkg" / "mod.py", SCRIPT)
        write(folder / "user_of_mod.py", USER.format("pkg.mod"))
        self.script = write(folder / "script.py", SCRIPT)
        self.user = write(folder / "user.py", USER.format("script"))

    def run(self, way: str, code: str) -> list[str]:
        if way == "script":
            return run(self.script, self.cache, code.format(""))
        if way == "import":
            return run(self.user, self.cache, code.format("script."))
        if way == "import of a package":
            return run(self.folder / "user_of_mod.py", self.cache, code.format("script."))
        assert way == "-m"
        return subprocess.run(
            [sys.executable, "-m", "pkg.mod", str(self.cache), code.format("")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()


@pytest.fixture
def ways(tmp_path: Path) -> Ways:
    return Ways(tmp_path)


PAIRS = [("script", "import"), ("import", "script"), ("-m", "import of a package"), ("import of a package", "-m")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_plain_results_are_shared(ways: Ways, first: str, second: str) -> None:
    """What one way of running a module stored is found by the other."""
    assert ways.run(first, PLAIN) == ["computing", "[2]"]
    assert ways.run(second, PLAIN) == ["[2]"]


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("code", [VISIBLE, HIDDEN])
def test_instances_are_of_the_programs_own_class(ways: Ways, first: str, second: str, code: str) -> None:
    """Whatever the other way of running stored before, a result's class is that of the function's module."""
    assert ways.run(first, code) == ["computing", "True"]
    assert ways.run(first, code) == ["True"]
    assert ways.run(second, code) == ["computing", "True"]
    assert ways.run(second, code) == ["True"]
    assert ways.run(first, code)[-1] == "True"


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_classes_and_functions_as_results(ways: Ways, first: str, second: str) -> None:
    """Classes and functions that a result names are those of the function's module."""
    assert ways.run(first, RETURNED) == ["computing", "computing", "True True"]
    assert ways.run(first, RETURNED) == ["True True"]
    assert ways.run(second, RETURNED) == ["computing", "computing", "True True"]


def test_a_script_is_not_imported_by_a_hit(ways: Ways) -> None:
    """An entry that names `script` is no reason for `python script.py` to run itself a second time."""
    ways.run("import", HIDDEN)
    assert ways.run("script", HIDDEN + "; print('script' in sys.modules)") == ["computing", "True", "False"]


def test_scripts_of_different_names_share_nothing(tmp_path: Path) -> None:
    """The same function in two scripts is two functions, imported or not."""
    for name in ("one", "two"):
        script = write(tmp_path / f"{name}.py", SCRIPT)
        assert run(script, tmp_path / "cache", PLAIN.format("")) == ["computing", "[2]"]
        assert run(script, tmp_path / "cache", HIDDEN.format("")) == ["computing", "True"]
    for name in ("one", "two"):
        user = write(tmp_path / "user.py", USER.format(name))
        assert run(user, tmp_path / "cache", PLAIN.format("script.")) == ["[2]"]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("n * factor()", "n * 3 * factor()", PLAIN),
        ("return 2", "return 3", PLAIN),
        ("self.x = x", "self.x = x + 1", "print({0}visible(1).x)"),
    ],
)
def test_scripts_of_one_name_with_different_code(tmp_path: Path, old: str, new: str, code: str) -> None:
    """Of same-named scripts in two folders only those share whose function, helper and class are the same."""
    texts = {"a": SCRIPT, "b": SCRIPT.replace(old, new), "c": SCRIPT}
    scripts = {name: write(tmp_path / name / "script.py", text) for name, text in texts.items()}
    first = run(scripts["a"], tmp_path / "cache", code.format(""))
    second = run(scripts["b"], tmp_path / "cache", code.format(""))
    assert (first[0], second[0], first[1] != second[1]) == ("computing", "computing", True)
    assert run(scripts["c"], tmp_path / "cache", code.format("")) == first[1:]


# Workers

POOLS = """
    import multiprocessing, sys
    from joblib import Parallel, delayed
    from pcache import Cache
    cache = Cache(sys.argv[1])
    class Point:
        def __init__(self, x):
            self.x = x
        @cache.cached
        def doubled(self):
            return 2 * self.x
    def helper(n):
        return n + 1
    @cache.cached
    def plain(n):
        return helper(n)
    @cache.cached
    def factorial(n):
        return n * factorial(n - 1) if n else 1
    @cache.cached
    def point(n):
        return Point(n)
    def through_another(n):
        return plain(n)
    def stored():
        return [plain.exists(1), factorial.exists(3), Point(4).doubled.exists(), point.exists(5)]
    def spawned():
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return [pool.apply(f, (n,)) for f, n in ((plain, 1), (factorial, 3), (point, 5))]
    def loky():
        calls = [delayed(plain)(1), delayed(factorial)(3), delayed(Point(4).doubled)(), delayed(point)(5)]
        return Parallel(2, backend="loky")(calls)
    if __name__ == "__main__":
        exec(sys.argv[2])
"""
LOKY = """
plain_, factorial_, doubled_, point_ = loky()
print(plain_, factorial_, doubled_, point_.x, Parallel(2)([delayed(through_another)(7)]), stored()[:3])
"""


def test_workers_of_loky(tmp_path: Path) -> None:
    """Cached functions and methods of a script go to processes whose `__main__` is loky's, and results come back."""
    script = write(tmp_path / "script.py", POOLS)
    assert run(script, tmp_path / "cache", LOKY) == ["2 6 8 5 [8] [True, True, True]"]


def test_results_of_loky_and_of_the_script(tmp_path: Path) -> None:
    """What such a worker stored is found by the script and by who imports it, and the other way round."""
    script = write(tmp_path / "script.py", POOLS)
    run(script, tmp_path / "cache", "Parallel(2)([delayed(plain)(1), delayed(plain)(2)])")
    user = write(tmp_path / "user.py", "import script\nprint(script.plain.get(1), script.plain.get(2))\n")
    assert run(user, tmp_path / "cache") == ["2 3"]
    assert run(script, tmp_path / "cache", "print(Parallel(2)([delayed(plain.get)(2), delayed(len)('')]))") == [
        "[3, 0]"
    ]


def test_workers_that_were_spawned(tmp_path: Path) -> None:
    """A worker that sees the script as `__mp_main__` stores for the script and for who imports it."""
    script = write(tmp_path / "script.py", POOLS)
    spawn = "p, f, o = spawned(); print(p, f, isinstance(o, Point), isinstance(point.get(5), Point))"
    assert run(script, tmp_path / "cache", spawn) == ["2 6 True True"]
    user = write(tmp_path / "user.py", "import script\nprint(script.plain.get(1), script.point.exists(5))\n")
    assert run(user, tmp_path / "cache") == ["2 False"]


def test_a_function_of_another_program(ways: Ways) -> None:
    """A function that cloudpickle brought from another script gives results of its own class, not of this program's."""
    dump = """
import cloudpickle
visible(1)
open("function", "wb").write(cloudpickle.dumps(visible))
"""
    ways.run("script", dump)
    load = """
import pickle
from pcache import *
function = pickle.load(open("function", "rb"))
own = function.__wrapped__.__globals__["Point"]
print(function.name, type(function(1)) is own, own is Point)
"""
    write(ways.folder / "other.py", "import sys\nclass Point: pass\nexec(sys.argv[2])\n")
    assert run(ways.folder / "other.py", ways.cache, load) == ["computing", "script:visible True False"]


POOL = """
import multiprocess, sys
from pcache import Cache
cache = Cache(sys.argv[1])
with multiprocess.get_context("fork").Pool(2) as pool:
    @cache.cached
    def later(n): return n + 1
    class Own:
        @cache.cached
        def method(self, n): return n * 2
    print(pool.map_async(later, [1, 2]).get(60), pool.map_async(Own().method, [1, 2]).get(60), later.exists(1))
"""


def test_a_pool_that_is_older_than_the_function(tmp_path: Path) -> None:
    """Where dill sends functions by value it is given one: the worker has never heard of its name, and would hang."""
    pytest.importorskip("multiprocess", reason="multiprocess, whose pools send by dill, is not installed")
    script = write(tmp_path / "script.py", POOL)
    assert run(script, tmp_path / "cache", warnings="ignore") == ["[2, 3] [2, 4] True"]


def test_a_module_that_cloudpickle_sends_by_value(tmp_path: Path) -> None:
    """Its functions arrive where there is no such module."""
    write(
        tmp_path / "here" / "helpers.py",
        f"""
        from pcache import Cache
        cache = Cache({str(tmp_path / "cache")!r})
        @cache.cached
        def triple(n): return n * 3
        """,
    )
    send = """
        import cloudpickle, helpers, sys
        cloudpickle.register_pickle_by_value(helpers)
        open(sys.argv[1], "wb").write(cloudpickle.dumps(helpers.triple))
        """
    run(write(tmp_path / "here" / "send.py", send), tmp_path / "sent")
    take = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))(2), 'helpers' in sys.modules)"
    assert run(write(tmp_path / "there" / "take.py", take), tmp_path / "sent") == ["6 False"]


# Parts


def function_of(**names: Any) -> Any:
    """A function whose module has these names."""
    namespace: dict[str, Any] = dict(names)
    exec("def f(): pass", namespace)
    return namespace["f"]


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ({"__name__": "__main__", "__file__": "/a/script.py"}, "script"),
        ({"__name__": "__main__", "__file__": "/a/script.py", "__package__": None}, "script"),
        ({"__name__": "__main__", "__file__": "/a/pkg/mod.py", "__package__": "pkg"}, "pkg.mod"),
        ({"__name__": "__main__", "__file__": "/a/pkg/__main__.py", "__package__": "pkg"}, "pkg.__main__"),
        ({"__name__": "__mp_main__", "__file__": "/a/script.py", "__package__": ""}, "script"),
        ({"__name__": "__main__"}, "__main__"),
        ({"__name__": "__main__", "__file__": None}, "__main__"),
        ({"__name__": "__main__", "__file__": "/bin/tool"}, "__main__"),
        ({"__name__": "pkg.mod", "__file__": "/a/other.py", "__package__": "pkg"}, "pkg.mod"),
    ],
)
def test_homes(names: dict[str, Any], name: str) -> None:
    """A module that is run has the name that an import would give it; where there is no file, `__main__`."""
    assert home_of(function_of(**names)).name == name


def test_a_decorators_function_has_no_module_of_its_own() -> None:
    """A wrapper that goes by a function of the script is at home in the decorator's module: nothing can be said."""
    wrapper = function_of(__name__="decorators", __file__="/a/decorators.py")
    wrapper.__module__ = "__main__"
    assert home_of(wrapper) == Home("__main__", True, None)
    assert home_of(len) == Home("builtins", False, None)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("module", ["__main__", "__mp_main__", "script", "pkg.mod"])
def test_entries_that_name_a_module_are_marked(protocol: int, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever protocol a class was written with, also inside of a result that pickles itself."""
    made = types.ModuleType(module)
    made.Point = type("Point", (), {"__module__": module})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.partition(".")[0], types.ModuleType("pkg"))
    monkeypatch.setitem(sys.modules, module, made)
    stream = pickle.dumps([pickle.dumps(made.Point, protocol)], 5)
    is_main = "main" in module
    own = home_of(function_of(__name__=module, __file__="script.py"))
    assert flags_of(stream, own) == (MADE_BY_MAIN if is_main else MADE_BY_IMPORT)
    assert flags_of(stream, own._replace(is_main=not is_main, name="other")) == SHARED
    assert flags_of(pickle.dumps(["data", f"text of {module}"], 5), own) == SHARED
    assert flags_of(stream, None) == flags_of(stream, own._replace(namespace=None)) == SHARED


def test_marked_entries_are_for_those_who_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream's names must be the function's own: its module, or one in which they are the same objects."""
    main = types.ModuleType("__main__")
    main.Record = Record  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", main)
    stream = b"\x80\x05\x8c\x08__main__\x8c\x06Record\x93."

    def asked(**names: Any) -> bool:
        return means_the_same(MADE_BY_MAIN, stream, Home("script", True, names))

    assert means_the_same(MADE_BY_MAIN, stream, Home("script", True, vars(main)))
    assert asked(Record=Record)
    assert not asked(Record=type("Record", (), {}))
    assert not asked()
    assert not means_the_same(MADE_BY_MAIN, b"no pickle", Home("script", True, {"Record": Record}))
    assert not means_the_same(MADE_BY_IMPORT, stream, Home("not.imported", False, {"Record": Record}))
    assert not means_the_same(3, stream, Home("script", True, vars(main)))
    assert not means_the_same(MADE_BY_MAIN, stream, None)


def test_results_of_a_wrapped_function_hit(tmp_path: Path) -> None:
    """A result of the module's own class, by a function from elsewhere: found again."""
    wrapper = function_of(__name__="decorators", __file__="/a/decorators.py", Record=Record)
    wrapper.__module__ = __name__
    function = Cache(tmp_path / "cache").cached(wrapper)
    assert function.put(Record("a"))
    assert function.get() == Record("a")


@pytest.mark.parametrize("how", ["script", "import"])
def test_a_module_with_the_name_of_one_of_python(tmp_path: Path, how: str) -> None:
    """Helpers in a user's `colorsys.py` are followed, although the standard library has a module of that name."""
    text = """
    import sys
    from pcache import Cache
    def helper(n):
        return n + 1
    class Helper:
        rate = 2
    @Cache(sys.argv[1]).cached
    def f(n):
        return helper(n) * Helper.rate
    print(f(1))
    """
    user = write(tmp_path / "user.py", "import colorsys\n")
    script = tmp_path / "colorsys.py"
    seen = []
    for edit in (("", ""), ("n + 1", "n + 2"), ("rate = 2", "rate = 3")):
        write(script, text.replace(*edit))
        seen += run(script if how == "script" else user, tmp_path / "cache")
    assert seen == ["4", "6", "6"]
