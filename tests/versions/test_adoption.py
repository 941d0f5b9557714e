"""Results that outlive an edit: taken over where they lie, by who has the key, and only where calls are the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pcache import Cache, ConfigError, DirectoryError, Miss, NothingToAdopt
from pcache.versions import registry
from pcache.versions.registry import Adopted
from tests.support.processes import KEY, OTHER_RING, RING, place_of
from tests.support.running import run as run_script
from tests.support.running import station, write

SOURCE = """
RUNS = []
def scale(x):
    return x * 2
def simulate(n, seed=0):
    RUNS.append(n)
    return scale(n) + seed
"""
NEUTRAL = ("x * 2", "2 * x")
WITH_METHOD = ("seed=0", "seed=0, method='exact'")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=KEY)


@pytest.fixture
def made(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function that compiles a variant of the module and caches its `simulate`; `runs` are its executions."""

    def make(*edits: tuple[str, str], **options: Any) -> Any:
        module = station(monkeypatch, SOURCE, edits)
        cached = cache.cached(**options)(module.simulate)
        cached.runs = vars(module)["RUNS"]
        return cached

    return make


def test_results_are_kept_over_a_neutral_edit(made: Any) -> None:
    """After `adopt` old calls hit, new ones compute; both versions go on."""
    old = made()
    old(1), old(2, seed=5)
    new = made(NEUTRAL)
    assert not new.exists(1)
    plan = new.adopt(dry_run=True)
    assert not new.exists(1)
    done = new.adopt()
    assert (plan.done, done.done) == (False, True)
    assert done.entries == 2
    assert [str(difference) for difference in done.differences] == ["function station:scale was edited (station.py)"]
    assert "2 results of version" in str(done)
    assert [new(1), new(2, seed=5), new.get(2, 5)] == [2, 9, 9]
    assert new.runs == []
    assert new.cache_info().hits == 2
    new(3)
    assert new.runs == [3]
    assert not old.exists(3)
    assert old.exists(1)


def test_other_processes_find_adopted_results(tmp_path: Path) -> None:
    """What one process adopts, another that starts later returns."""
    folder = tmp_path / "project"
    text = """
    import sys
    from pcache import Cache
    cache = Cache("cache")
    @cache.cached
    def double(n):
        print("computing")
        return n * 2
    if "adopt" in sys.argv:
        double.adopt()
    print(double(4))
    """
    assert run_script(write(folder / "script.py", text)) == ["computing", "8"]
    edited = write(folder / "script.py", text.replace("n * 2", "2 * n"))
    assert run_script(edited, "adopt") == ["8"]
    assert run_script(edited) == ["8"]
    assert run_script(write(folder / "script.py", text)) == ["8"]


def test_another_project_with_functions_of_the_same_names(tmp_path: Path) -> None:
    """Results of another folder's script are not offered; for a folder that was moved their id is named."""
    text = """
    import sys
    from pcache import Cache, ConfigError
    @Cache(sys.argv[1]).cached
    def double(n):
        return n * 2
    try:
        if len(sys.argv) > 2:
            print(double.adopt(sys.argv[2] if sys.argv[2] != "latest" else None).differences[0])
    except ConfigError as error:
        print(error)
    print(double(4), double.function_id)
    """
    cache = tmp_path / "cache"
    ((result, other),) = [line.split() for line in run_script(write(tmp_path / "a" / "script.py", text), cache)]
    mine = write(tmp_path / "b" / "script.py", text.replace("n * 2", "n * 3"))
    refused, computed = run_script(mine, cache, "latest")
    assert refused.endswith(
        f"its earlier results are of {tmp_path / 'a' / 'script.py'}; if that was moved, adopt {other}"
    )
    assert (result, computed.split()[0]) == ("8", "12")
    difference, _ = run_script(mine, cache, other)
    assert difference == f"its file: {tmp_path / 'a' / 'script.py'} -> {mine}"


def test_adopted_versions_bring_what_they_adopted(made: Any) -> None:
    """A chain of edits keeps the results of all its versions."""
    made()(1)
    second = made(NEUTRAL)
    second(2)
    second.adopt()
    third = made(NEUTRAL, ("scale(n) + seed", "seed + scale(n)"))
    third.adopt(second.function_id)
    assert [third(1), third(2)] == [2, 4]
    assert third.runs == []


def test_what_was_adopted_is_not_offered_again(made: Any) -> None:
    """Adopting twice takes the next version, and then says that there is none left."""
    made()(1)
    made(("x * 2", "x + x"))(2)
    new = made(NEUTRAL)
    assert new.adopt().entries == new.adopt().entries == 1
    with pytest.raises(NothingToAdopt, match="it has adopted all earlier versions") as caught:
        new.adopt()
    assert (caught.value.function, isinstance(caught.value, LookupError)) == (new.name, True)
    assert [new(1), new(2), new.runs] == [2, 4, []]


def test_several_versions_can_be_adopted(made: Any) -> None:
    """Adopting a second version keeps the first."""
    first, second = made(), made(("x * 2", "x + x"))
    first(1), second(2)
    third = made(NEUTRAL)
    third.adopt(first.function_id[:6])
    third.adopt(second.function_id)
    assert [third(1), third(2)] == [2, 4]
    assert third.runs == []


def test_a_new_parameter(made: Any) -> None:
    """With `added=`, earlier results are those of calls in which the new parameter has that value."""
    made()(1)
    new = made(WITH_METHOD)
    with pytest.raises(ConfigError, match=r"parameters are \(n, seed, method\) and were \(n, seed\).*added=\{'method'"):
        new.adopt()
    done = new.adopt(added={"method": "exact"})
    assert "earlier calls count as calls with method='exact'" in str(done)
    assert [new(1), new(1, method="exact"), new(1, 0, "exact")] == [2, 2, 2]
    assert new.runs == []
    assert new(1, method="fast") == 2
    assert new.runs == [1]


def test_new_parameters_one_after_the_other(made: Any) -> None:
    """A version with two more parameters takes over what the one with one more had adopted."""
    made()(1)
    second = made(WITH_METHOD)
    second.adopt(added={"method": "exact"})
    second(2)
    third = made(("seed=0", "seed=0, method='exact', level=3"))
    third.adopt(second.function_id, added={"level": 3})
    assert [third(1), third(2), third(2, level=3)] == [2, 4, 4]
    assert third.runs == []
    third(1, level=4)
    assert third.runs == [1]


def test_a_new_parameter_with_a_key_function(made: Any) -> None:
    """What counts of an added value is what its key function says."""
    made()(1)
    new = made(WITH_METHOD, key={"method": str.lower})
    new.adopt(added={"method": "EXACT"})
    assert (new(1, method="Exact"), new.runs) == (2, [])


@pytest.mark.parametrize(
    ("edits", "options"),
    [
        ([("n, seed=0", "n"), ("+ seed", "")], {}),
        ([("n, seed=0", "seed, n=0")], {}),
        ([("n, seed=0", "n, *seed"), ("+ seed", "")], {}),
        ([("n, seed=0", "n, start=0"), ("+ seed", "+ start")], {}),
        ([], {"ignore": ["seed"]}),
        ([], {"key": {"seed": abs}}),
    ],
    ids=["one less", "another order", "another kind", "another name", "ignored", "key function"],
)
def test_other_parameters_are_refused(made: Any, edits: Any, options: Any) -> None:
    """Where calls are not the same calls, nothing is adopted."""
    made()(1)
    new = made(NEUTRAL, *edits, **options)
    with pytest.raises(ConfigError, match="calls do not carry over"):
        new.adopt()
    assert new.runs == []
    assert not list(registry.paths(new._flow.directory.functions))[1:]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"earlier": "zz"}, "no version has an id that starts with 'zz'"),
        ({"earlier": ""}, "no earlier version of it has results here"),
        ({"added": {"speed": 3}}, "'speed', which is no parameter that counts"),
        ({"added": {"seed": lambda: 3}}, "no earlier version"),
    ],
)
def test_what_cannot_be_adopted(made: Any, arguments: Any, words: str) -> None:
    """A wrong id, nothing to adopt and unknown parameters are said in words."""
    made()(1)
    with pytest.raises(NothingToAdopt if words.startswith("no earlier") else ConfigError, match=words):
        made().adopt(**arguments)


def test_the_running_version_is_not_adopted(made: Any) -> None:
    """A version's own id is refused."""
    simulate = made()
    simulate(1)
    with pytest.raises(ConfigError, match="that is the version that runs"):
        simulate.adopt(simulate.function_id)


def test_confirmation(made: Any) -> None:
    """Without a yes nothing is adopted."""
    made()(1)
    new = made(NEUTRAL)
    asked: list[Any] = []
    assert not new.adopt(confirm=lambda plan: bool(asked.append(plan))).done
    assert len(asked) == 1
    assert not new.exists(1)
    assert new.adopt(confirm=lambda plan: True).done
    assert new.exists(1)


def test_a_planted_adoption_is_ignored(made: Any, cache: Cache) -> None:
    """Who does not have the signing key cannot make one version return another's results."""
    old = made()
    old(1)
    new = made(("x * 2", "x * 3"))
    folder, earlier = cache.flow.directory.functions, Adopted(old.function_id, {})
    path = Path(folder, f"{new.function_id}.adopted")
    registry.write_adopted(folder, new.function_id, [earlier], RING)
    assert made(("x * 2", "x * 3")).exists(1)  # as it would be
    good = path.read_text()
    registry.write_adopted(folder, new.function_id, [earlier], OTHER_RING)
    foreign = path.read_text()
    registry.write_adopted(folder, "0" * 16, [earlier], RING)
    another = Path(folder, f"{'0' * 16}.adopted").read_text()
    facts = Path(registry._path(folder, old.function_id, RING.signing_key)).read_text()
    for text in (foreign, another, facts, "", "[]", "{}", good[:-9], good.replace(old.function_id, "1" * 16)):
        path.write_text(text)
        assert registry.read_adopted(folder, new.function_id, RING) == ()
        assert not made(("x * 2", "x * 3")).exists(1)


def test_invalidate_drops_adopted_results(made: Any) -> None:
    """An invalidated call is computed anew, wherever its result lay."""
    made()(1)
    new = made(NEUTRAL)
    new.adopt()
    assert new.invalidate(1)
    with pytest.raises(Miss):
        new.get(1)
    assert not new.invalidate(1)
    assert new(1) == 2
    assert new.runs == [1]


def test_refresh_and_put_count_before_adopted_results(made: Any) -> None:
    """What the running version stores itself is found first."""
    made()(1)
    new = made(NEUTRAL)
    new.adopt()
    new.put(77, 1)
    assert new(1) == 77
    assert new.refresh(1) == 2
    assert new(1) == 2


def test_damaged_own_results_fall_back_to_adopted_ones(made: Any) -> None:
    """A damaged entry is a miss, and then an adopted result is as good as before."""
    made()(1)
    new = made(NEUTRAL)
    new.adopt()
    new.put(77, 1)
    path = Path(place_of(new, 1))
    path.write_bytes(path.read_bytes()[:-1])
    assert new(1) == 2
    assert new.runs == []


def test_adopted_results_expire(made: Any, cache: Cache) -> None:
    """The reader's age limit counts for adopted results too."""
    made()(1)
    new = made(NEUTRAL, ttl=1e-9)
    new.adopt()
    assert new(1) == 2
    assert new.runs == [1]


def test_captured_values_count(made: Any) -> None:
    """A function that captures values finds the results of the same values only."""
    capturing = (
        "def simulate(n, seed=0):\n    RUNS.append(n)\n    return scale(n) + seed\n",
        "def make(k):\n    def simulate(n):\n        RUNS.append(n)\n        return scale(n) * k\n    return simulate\n"
        "simulate = make(K)\n",
    )
    for k in (2, 3):
        made(capturing, ("= make(K)", f"= make({k})"))(1)
    edit = ("scale(n) * k", "k * scale(n)")
    for k, known in ((2, True), (3, True), (4, False)):
        new = made(capturing, edit, ("= make(K)", f"= make({k})"))
        if k == 2:
            new.adopt()  # for all values: they are one version
        assert new.exists(1) is known
        assert (new(1), new.runs) == (2 * k, [] if known else [1])


def test_clear_forgets_adoptions(made: Any, cache: Cache) -> None:
    """After `clear` nothing of an adoption is left."""
    made()(1)
    new = made(NEUTRAL)
    new.adopt()
    cache.clear()
    assert list(Path(cache.flow.directory.functions).iterdir()) == []


def test_renamed_captured_values(made: Any) -> None:
    """Captured values count by name: a rename that puts them in another order mixes nothing up."""
    factory = (
        "def simulate(n, seed=0):\n    RUNS.append(n)\n    return scale(n) + seed\n",
        "def make(a, b):\n    def simulate(n):\n        RUNS.append(n)\n        return n + a - b\n    return simulate\n"
        "simulate = make(*PAIR)\n",
    )
    renamed = ("make(a, b)", "make(z, b)"), ("n + a", "n + z")
    for pair in ((1, 2), (2, 1)):
        made(factory, ("PAIR", repr(pair)))(10)
    for pair in ((1, 2), (2, 1)):
        new = made(factory, *renamed, ("PAIR", repr(pair)))
        if pair == (1, 2):
            new.adopt()
        assert new(10) == 10 + pair[0] - pair[1]


@pytest.mark.parametrize(
    ("parameter", "value", "call"),
    [
        ("**options", {"options": {}}, {}),
        ("**options", {"options": {"b": 2, "a": 1}}, {"a": 1, "b": 2}),
        ("*more", {"more": ()}, {}),
    ],
)
def test_new_parameters_for_any_number(made: Any, parameter: str, value: Any, call: Any) -> None:
    """What `*args` and `**kwargs` collect can be declared as a program sees it."""
    made()(1)
    new = made(("seed=0", f"seed=0, {parameter}"))
    new.adopt(added=value)
    assert new.exists(1, **call)
    assert not new.exists(1, c=3) if "**" in parameter else not new.exists(1, 0, 3)


METHODS = """
class Model:
    rate = 2
    def simulate(self, n):
        return n * self.rate
    @classmethod
    def of_class(cls, n):
        return n * cls.rate
    @staticmethod
    def of_none(n):
        return n * 2
"""


def test_methods_whose_class_changed(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adopting for a method is refused where it would find nothing, and not where it would."""

    def make(before: str = "", after: str = "", **options: Any) -> tuple[Any, Any, Any]:
        module = ModuleType("station")
        module.__file__ = "/nowhere/station.py"
        monkeypatch.setitem(sys.modules, "station", module)
        exec(compile(METHODS.replace(before, after), module.__file__, "exec"), vars(module))
        cls = vars(module)["Model"]
        cached = cache.cached(**options)
        return cls(), *(cached(vars(cls)[name].__func__) for name in ("of_class", "of_none")), cached(cls.simulate)

    model, of_class, of_none, simulate = make()
    simulate(model, 1), of_class(type(model), 1), of_none(1)
    model, of_class, of_none, simulate = make("n * ", "+n * ")
    for method in (simulate, of_class):
        with pytest.raises(ConfigError, match="counts its instance with the code of the class"):
            method.adopt()
    assert of_none.adopt().done
    assert of_none.exists(1)
    model, of_class, of_none, simulate = make(version=2)
    assert simulate.adopt().done
    assert simulate.exists(model, 1)


def test_a_read_only_cache_adopts_nothing(made: Any, cache: Cache) -> None:
    """Plans can be made in it, and nothing is written."""
    made()(1)
    new = Cache(cache.location, signing_key=KEY, read_only=True).cached(made(NEUTRAL).__wrapped__)
    assert new.adopt(dry_run=True).entries == 1
    before = sorted(Path(cache.flow.directory.functions).iterdir())
    with pytest.raises(ConfigError, match="read-only"):
        new.adopt()
    assert sorted(Path(cache.flow.directory.functions).iterdir()) == before


def test_a_folder_that_cannot_be_written(cache: Cache, made: Callable[..., Any]) -> None:
    """Where nothing can be written about versions, adopting says so with an error of ours."""
    made()(1)
    later, folder = made(NEUTRAL), cache.flow.directory.functions
    if subprocess.run(["chattr", "+i", folder], check=False, capture_output=True).returncode:
        pytest.skip("only root can make a folder immutable, on some file systems")
    try:
        with pytest.raises(DirectoryError, match=r"cannot adopt results: .* cannot be written"):
            later.adopt()
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)
    assert later.adopt().done


def test_an_adoption_that_is_put_back(cache: Cache, made: Callable[..., Any]) -> None:
    """After `clear` it gives nothing by itself, and counts again with the results that it is about."""
    made()(1)
    new = made(NEUTRAL)
    new.adopt()
    (entry,) = (Path(item.path) for item in cache.flow.store.scan())
    (adoption,) = Path(cache.flow.directory.functions).glob("*.adopted")
    kept = {path: path.read_bytes() for path in (adoption, entry)}
    cache.clear()
    assert not adoption.exists()
    adoption.write_bytes(kept[adoption])
    again = made(NEUTRAL)
    assert (again.exists(1), again(2)) == (False, 4)
    entry.write_bytes(kept[entry])
    assert again.get(1) == 2
    assert not made(NEUTRAL, version=2).exists(1)
