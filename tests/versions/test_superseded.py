"""Which versions the code on disk does not have any more: told from files, without running them."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache
from pcache.signing.keyring import make_keyring
from pcache.versions import registry
from pcache.versions.superseded import superseded
from tests.support.processes import KEY, RING
from tests.support.running import ROOT, run, write

SCRIPT = """
import helpers
from pcache import Cache
cache = Cache("cache", signing_key=bytes(range(32)))
with open("ran", "a") as log:
    log.write("x")

class Model:
    def rate(self, x):
        return x * 2

@cache.cached
def simulate(n, scale=lambda x: x + 1):
    return Model().rate(helpers.clean(n)) + max(v for v in [n])

@cache.cached
def other(n):
    return n

print(simulate(1), other(1), simulate.function_id)
"""
HELPERS = """
def clean(x):
    "Clean."
    return x + 1
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a script and a helper, and the results of one run."""
    write(tmp_path / "helpers.py", HELPERS)
    run(write(tmp_path / "script.py", SCRIPT))
    return tmp_path


def cache_of(project: Path) -> Cache:
    return Cache(project / "cache", signing_key=KEY)


def superseded_in(cache: Cache) -> dict[str, str]:
    return superseded(cache.flow.directory.functions, RING)


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


EDITS: dict[str, tuple[str, str, str, set[str]]] = {
    "helper": ("helpers.py", "x + 1", "x + 2", {"simulate"}),
    "function": ("script.py", "helpers.clean(n)) + max", "helpers.clean(n)) - max", {"simulate"}),
    "method": ("script.py", "x * 2", "x * 3", {"simulate"}),
    "other": ("script.py", "def other(n):\n    return n", "def other(n):\n    return -n", {"other"}),
    "renamed": ("script.py", "def other(", "def another(", {"other"}),
    "helper gone": (
        "helpers.py",
        'def clean(x):\n    "Clean."\n    return x',
        "def cleaned(x):\n    return x *",
        {"simulate"},
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_edits(project: Path, name: str) -> None:
    """An edit supersedes the versions that used what was edited, and no others; undone, none is."""
    file, before, after, gone = EDITS[name]
    cache = cache_of(project)
    assert superseded_in(cache) == {}
    text = (project / file).read_text()
    edit(project / file, before, after)
    names = registry.read_all(cache.flow.directory.functions, RING)
    assert {names[i].name for i in superseded_in(cache)} == {f"script:{function}" for function in gone}
    (project / file).write_text(text)
    assert superseded_in(cache) == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"Clean."', '"Cleans up."'),
        ("\ndef clean", "\n# more\n\n\ndef unrelated(): pass\n\n\ndef clean"),
        ("return x + 1", "return (x\n            + 1)"),
        ("return x + 1", "return x + 1  # why"),
    ],
)
def test_neutral_edits(project: Path, before: str, after: str) -> None:
    """Comments, docstrings and layout supersede nothing."""
    edit(project / "helpers.py", before, after)
    assert superseded_in(cache_of(project)) == {}


def test_a_file_that_is_gone(project: Path) -> None:
    """Results of a script that was deleted are superseded; those of one that does not compile for now are not."""
    cache = cache_of(project)
    text = (project / "script.py").read_text()
    (project / "script.py").write_text("def (")
    assert superseded_in(cache) == {}
    (project / "script.py").unlink()
    assert len(superseded_in(cache)) == 2
    assert all(why.endswith("script.py is gone") for why in superseded_in(cache).values())
    (project / "script.py").write_text(text)
    assert superseded_in(cache) == {}


def test_a_folder_that_was_moved(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Code whose whole folder is gone was moved: its results go on to count."""
    moved = tmp_path_factory.mktemp("elsewhere") / "project"
    cache = cache_of(project)
    code = project / "code"
    code.mkdir()
    for name in ("script.py", "helpers.py"):
        (project / name).rename(code / name)
    assert len(superseded_in(cache)) == 2
    edit(code / "script.py", 'Cache("cache"', f'Cache("{project / "cache"}"')
    cache.clear()
    run(code / "script.py")
    code.rename(moved)
    assert superseded_in(cache) == {}


def test_nothing_is_run(project: Path) -> None:
    """Files are compiled only."""
    edit(project / "script.py", "print(simulate(1)", "print(2); print(simulate(1)")
    superseded_in(cache_of(project))
    assert (project / "ran").read_text() == "x"


def test_code_without_a_file(tmp_path: Path) -> None:
    """Functions of prompts and notebooks are never superseded."""
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    for file in ("<stdin>", "made_by_a_template.py", "/tmp/ipykernel_1/2.py", "<ipython-input-3-abc>"):
        names: dict[str, Any] = {"__name__": "templates" if "template" in file else "__main__"}
        exec(compile(f"def f(n):\n    return n, {file!r}", file, "exec"), names)
        cache.cached(names["f"])(1)
    assert superseded_in(cache) == {}


def test_versions_of_another_python(project: Path) -> None:
    """Bytecode of another Python cannot be compared, so its versions stay."""
    cache = cache_of(project)
    folder = cache.flow.directory.functions
    for path in [path for path in registry.paths(folder) if path.endswith(".json")]:
        facts = registry.read(path, RING)
        assert facts is not None
        os.unlink(path)
        registry.write(folder, facts._replace(python="3.9.1"), RING)
    edit(project / "helpers.py", "x + 1", "x + 2")
    assert superseded_in(cache) == {}


def test_versions(project: Path) -> None:
    """A cache lists its versions, those seen last first, with what was edited since the one before."""
    edit(project / "helpers.py", "x + 1", "x + 2")
    run(project / "script.py")
    new, old = cache_of(project).versions("simulate")
    assert (new.entries, old.entries) == (1, 1)
    assert [str(difference) for difference in new.differences] == ["function helpers:clean was edited (helpers.py)"]
    assert (new.superseded, old.superseded) == ("", f"clean was edited in {project / 'helpers.py'}")
    assert (old.differences, new.adopted) == ((), ())
    assert len(cache_of(project).versions()) == 3


def test_clear(project: Path) -> None:
    """`clear(superseded=True)` removes the entries and names of superseded versions, and no others."""
    cache = cache_of(project)
    assert cache.clear(superseded=True).entries == 0
    edit(project / "helpers.py", "x + 1", "x + 2")
    run(project / "script.py")
    assert cache.clear(superseded=True, dry_run=True).entries == 1
    assert cache.clear("other", superseded=True).entries == 0
    assert cache.clear("simulate", superseded=True).entries == 1
    assert sorted(info.function for info in cache.entries()) == ["script:other", "script:simulate"]
    assert len(registry.read_all(cache.flow.directory.functions, RING)) == 2
    before = (project / "ran").read_text()
    run(project / "script.py")
    assert (project / "ran").read_text() == before + "x"
    assert cache.stats().entries == 2


def test_adopted_versions_stay(project: Path) -> None:
    """What a version that is on disk has adopted is not superseded, although its own code is gone."""
    edit(project / "helpers.py", "x + 1", "1 + x")
    edit(project / "script.py", "print(simulate", "simulate.adopt()\nprint(simulate")
    run(project / "script.py")
    cache = cache_of(project)
    assert superseded_in(cache) == {}
    edit(project / "helpers.py", "1 + x", "x + 5")
    assert len(superseded_in(cache)) == 2


def test_optimized_code(project: Path) -> None:
    """Results made with `python -O` are current too, though asserts are left out of their code."""
    write(project / "helpers.py", HELPERS.replace("return", "assert x\n    return 0 +"))
    for options in ([], ["-O"]):
        subprocess.run(
            [sys.executable, *options, "script.py"],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
            check=True,
            capture_output=True,
        )
    cache = cache_of(project)
    names = registry.read_all(cache.flow.directory.functions, RING)
    assert [names[i].name for i in superseded_in(cache)] == ["script:simulate"]  # the one of the fixture
    assert len(names) == 4


def test_a_folder_that_is_gone(project: Path, tmp_path: Path) -> None:
    """Code that may lie elsewhere, with its folder, is not superseded: it was moved, or its disk is not mounted."""
    cache = cache_of(project)
    elsewhere = tmp_path / "elsewhere"
    run(
        write(
            tmp_path / "code" / "moved.py",
            SCRIPT.replace("import helpers", "import helpers2 as helpers").replace(
                '"cache"', repr(str(tmp_path / "cache"))
            ),
        ),
        PYTHONPATH=f"{ROOT}:{lib(tmp_path)}",
    )
    assert superseded_in(cache) == {}
    (tmp_path / "code").rename(elsewhere)
    assert superseded_in(cache) == {}


def lib(folder: Path) -> Path:
    """A folder with a helper that is there only as bytecode."""
    source = write(folder / "lib" / "helpers2.py", HELPERS)
    py_compile.compile(str(source), str(source) + "c", dfile=str(source))
    source.unlink()
    return source.parent


def test_asserts_that_pytest_rewrote(tmp_path: Path) -> None:
    """What runs under pytest is not what its file says, so nothing is told from it."""
    test = """
    from pcache import Cache
    @Cache("cache", signing_key=bytes(range(32))).cached
    def checked(n):
        assert n > 0
        return n
    def test():
        checked(1)
    """
    write(tmp_path / "test_it.py", test)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    cache = cache_of(tmp_path)
    assert len(registry.read_all(cache.flow.directory.functions, RING)) == 1
    assert superseded_in(cache) == {}


NEW_KEY = bytes(range(1, 33))


def rotated(project: Path) -> Cache:
    """The cache with a new key that signs, after a run with it; the old one still verifies."""
    keys = "signing_key=[bytes(range(1, 33)), bytes(range(32))]"
    edit(project / "script.py", "signing_key=bytes(range(32))", keys)
    run(project / "script.py")
    return Cache(project / "cache", signing_key=[NEW_KEY, KEY])


def test_another_key_supersedes_nothing(project: Path) -> None:
    """What was stored under an old key is compared under that key; under one that is not known it is none."""
    cache = rotated(project)
    keyring = cache.flow.keys.look()
    assert superseded(cache.flow.directory.functions, keyring) == {}
    assert superseded(cache.flow.directory.functions, make_keyring([NEW_KEY])) == {}
    edit(project / "helpers.py", "x + 1", "x + 2")
    gone = superseded(cache.flow.directory.functions, keyring)
    assert [*gone.values()] == [f"clean was edited in {project / 'helpers.py'}"]
    run(project / "script.py")
    assert len(superseded(cache.flow.directory.functions, keyring)) == 1


def test_versions_under_two_keys_differ_by_what_is_known(project: Path) -> None:
    """Digests of two keys are not compared: what is shown says what differs, and nothing differs wrongly."""
    cache = rotated(project)
    edit(project / "script.py", "cache = Cache", "LIMIT = 3\nTOKEN = 'a'\ncache = Cache")
    edit(project / "script.py", "Model().rate", "LIMIT + len(TOKEN) + Model().rate")
    run(project / "script.py")
    new, _ = cache.versions("simulate")
    assert {str(difference) for difference in new.differences} == {
        "constant script:LIMIT is new: 3",
        "constant script:TOKEN is new: (not shown)",
    }
    later = [bytes(range(2, 34)), NEW_KEY, KEY]
    edit(
        project / "script.py",
        "signing_key=[bytes(range(1, 33)),",
        "signing_key=[bytes(range(2, 34)), bytes(range(1, 33)),",
    )
    edit(project / "script.py", "LIMIT = 3\nTOKEN = 'a'", "LIMIT = 4\nTOKEN = 'b'")
    run(project / "script.py")
    new, *_ = Cache(project / "cache", signing_key=later).versions("simulate")
    assert [str(difference) for difference in new.differences] == ["constant script:LIMIT: 3 -> 4"]
