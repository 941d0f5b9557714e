"""`pcache explain` and `pcache adopt`, on real scripts and modules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pcache.cli.loading import unguarded
from tests.support.changing import ADVICE, SEEN, Program
from tests.support.running import ROOT, run, write

SCRIPT = """
import helpers
from pcache import cached

class Point:
    def __init__(self, x):
        self.x = x

@cached
def simulate(n, seed=0):
    print("computing")
    return helpers.clean(n) + seed

@cached
def point(n):
    return Point(n)

def maker():
    @cached
    def local(n):
        return n
    return local

print("the script runs")
if __name__ == "__main__":
    print(simulate(1), simulate(2, seed=5), point(3).x, maker()(4))
"""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Project:
    """A folder with a script and its cache, and the program run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PCACHE_DIR": str(folder / "cache"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PYTHONPATH": str(ROOT),
        }
        write(folder / "helpers.py", "def clean(x):\n    return x + 1\n")
        write(folder / "script.py", SCRIPT)

    def run(self) -> list[str]:
        return run(self.folder / "script.py", **self.environment)

    def edit(self, file: str, before: str, after: str) -> None:
        text = (self.folder / file).read_text()
        assert before in text
        (self.folder / file).write_text(text.replace(before, after))

    def pcache(self, *arguments: str, cwd: Path | None = None) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "pcache", *arguments],
            env={**os.environ, **self.environment},
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            input="",
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.run()
    return made


# explain


def test_a_hit(project: Project) -> None:
    """A call that would hit exits with 0; what the script prints when it is imported does not get in between."""
    outcome = project.pcache("explain", "simulate(1)")
    assert (outcome.code, outcome.out.splitlines()[0]) == (0, "simulate(n=1, seed=0): hit")
    assert outcome.err == "the script runs\n"


def test_forms_of_a_call(project: Project) -> None:
    """A call may be written as in Python, with the module or without; it works from any directory."""
    for call in ("simulate(2, 5)", "script:simulate(n=2, seed=5)", " simulate ( 2 , seed = 5 )"):
        assert project.pcache("explain", call, cwd=Path("/")).code == 0


def test_a_miss(project: Project) -> None:
    """A call that would miss exits with 1 and says what differs from the nearest stored call."""
    outcome = project.pcache("explain", "simulate(2, seed=6)")
    assert outcome.code == 1
    assert outcome.out.splitlines()[0] == "simulate(n=2, seed=6): miss, absent"
    assert outcome.out.splitlines()[-1] == "    argument seed: 5 -> 6"


def test_edited_code(project: Project) -> None:
    """An edit since the call was stored is named, with the way to keep the results."""
    project.edit("helpers.py", "x + 1", "1 + x")
    lines = project.pcache("explain", "simulate(1)").out.splitlines()
    assert "    function helpers:clean was edited (helpers.py)" in lines
    assert "pcache adopt" in lines[-1]


def test_results_that_name_the_script(project: Project) -> None:
    """A stored instance of a class of the script is found as the script finds it."""
    assert project.pcache("explain", "point(3)").code == 0


def test_nothing_is_unpickled(project: Project) -> None:
    """The command line finds out that a call hits without loading its result."""
    project.edit(
        "script.py",
        "def __init__(self, x):",
        "def __setstate__(self, state):\n        print('loaded')\n        self.x = 3\n    def __init__(self, x):",
    )
    assert "loaded" not in project.run()
    assert "loaded" in project.run()
    outcome = project.pcache("explain", "point(3)")
    assert (outcome.code, outcome.err) == (0, "the script runs\n")


def test_a_damaged_entry(project: Project) -> None:
    """What a hit would check is checked, and told."""
    (path,) = [path for path in project.folder.rglob("*-*") if "point" in project.pcache("show", path.name[17:]).out]
    path.write_bytes(path.read_bytes()[:-1])
    outcome = project.pcache("explain", "point(3)")
    assert outcome.code == 1
    assert outcome.out.startswith("point(n=3): miss, damaged\n  there is an entry that cannot be used: ")


def test_explain_as_json(project: Project) -> None:
    """Programs get everything as JSON, in base units."""
    report = json.loads(project.pcache("explain", "simulate(3)", "--json").out)
    assert (report["hit"], report["reason"], report["function"]) == (False, "absent", "script:simulate")
    (difference,) = report["nearest"][0]["differences"]
    assert difference == {"kind": "argument", "name": "n", "change": "changed", "before": "1", "now": "3"}


def test_versions(project: Project) -> None:
    """Without arguments nothing is imported: versions are listed with what was edited between them."""
    project.edit("helpers.py", "x + 1", "1 + x")
    project.run()
    project.edit("helpers.py", "1 + x", "x + 7")
    outcome = project.pcache("explain", "simulate")
    assert outcome.code == 0
    assert outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0] == "script:simulate"
    assert sum("superseded: clean was edited in " in line for line in lines) == 2
    assert sum(line == "    function helpers:clean was edited (helpers.py)" for line in lines) == 1
    found = json.loads(project.pcache("explain", "simulate", "--json").out)
    assert [version["entries"] for version in found] == [2, 2]
    assert found[0]["first_seen"] > found[1]["first_seen"]


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        ("simulate(1)(2)", 2, "must be Python literals"),
        ("simulate(n=1, n=2)", 2, "must be Python literals"),
        ("simulate(1", 2, "give one call"),
        ("simulate(n)", 2, "must be Python literals"),
        ("simulate(*[1])", 2, "must be Python literals"),
        ("simulate(**{})", 2, "must be Python literals"),
        ("simulate(1); print(2)", 2, "give one call"),
        ("simulate(__import__('os').system('x'))", 2, "must be Python literals"),
        ("simulat(1)", 1, "the nearest name is script:simulate"),
        ("simulat", 1, "the nearest name is script:simulate"),
        ("script(1)", 1, "stands for several functions: script:"),
        ("script:Point(1)", 1, "it is not a cached function"),
        ("script:nothing(1)", 1, "there is no such function"),
        ("nothing:f(1)", 1, "importing nothing failed: ModuleNotFoundError"),
        ("script:maker.<locals>.local(4)", 1, "cannot be imported by name"),
    ],
)
def test_wrong_calls(project: Project, call: str, code: int, words: str) -> None:
    """What cannot be read or found is said in one sentence, without a traceback."""
    outcome = project.pcache("explain", call)
    assert (outcome.code, outcome.out) == (code, "")
    assert words in outcome.err
    assert "Traceback" not in outcome.err


def test_wrong_arguments(project: Project) -> None:
    """Arguments that do not fit the function are said to be."""
    outcome = project.pcache("explain", "simulate(1, 2, 3)")
    assert outcome.code == 2
    assert "simulate() takes from 1 to 2 positional arguments but 3 were given" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_script_that_fails(project: Project) -> None:
    """A module that cannot be imported says why."""
    project.edit("script.py", "import helpers", "import helpers, nowhere_to_be_found")
    outcome = project.pcache("explain", "simulate(1)")
    assert outcome.code == 1
    assert "importing script failed: ModuleNotFoundError" in outcome.err


def test_a_function_of_a_notebook(project: Project) -> None:
    """What has no file cannot be imported; the call that tells is named."""
    text = "from pcache import cached\n@cached\ndef free(n):\n    return n\nfree(1)\n"
    subprocess.run(
        [sys.executable, "-c", text], env={**os.environ, **project.environment}, check=True, cwd=project.folder
    )
    outcome = project.pcache("explain", "free(1)")
    assert outcome.code == 1
    assert "it comes from a notebook or a prompt; call free.explain(...) or free.adopt() there" in outcome.err


METHODS = """
from pcache import cached

class Model:
    def __init__(self, rate):
        self.rate = rate

    @cached
    def fit(self, n):
        return self.rate * n

    @classmethod
    @cached
    def made(cls, n):
        return n

    @staticmethod
    @cached
    def plain(n):
        return n

if __name__ == "__main__":
    Model(2).fit(1), Model.made(1), Model.plain(1)
"""


def test_a_method(project: Project) -> None:
    """A call of a method needs an instance, which no text stands for: it is said, and the call that tells is named."""
    run(write(project.folder / "methods.py", METHODS), **project.environment)
    for call in ("Model.fit(model, 1)", "Model.fit(1)", "methods:Model.fit(n=1)"):
        outcome = project.pcache("explain", call)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
        assert "Model.fit is a method, and no text stands for an instance; call fit.explain(...) of one" in outcome.err
    assert "call Model.made.explain(...) in Python" in project.pcache("explain", "Model.made(1)").err
    assert project.pcache("explain", "Model.plain(1)").out.startswith("Model.plain(n=1): hit\n")


UNGUARDED = """
from pcache import cached
@cached
def whole(n):
    return n
print("all of it runs", whole(1))
"""


@pytest.mark.parametrize("command", [("explain", "whole(1)"), ("adopt", "whole", "-n"), ("explain", "new:whole(1)")])
def test_a_script_without_a_guard(project: Project, command: tuple[str, ...]) -> None:
    """It would run as a whole to be looked into: that is asked about, or takes --import, also before it ever ran."""
    run(write(project.folder / "unguarded.py", UNGUARDED), **project.environment)
    write(project.folder / "new.py", UNGUARDED)
    outcome = project.pcache(*command)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "all of it runs" not in outcome.err
    assert 'which has no `if __name__ == "__main__":`, say --import' in outcome.err
    assert "all of it runs" in project.pcache(*command, "--import").err


@pytest.mark.parametrize(
    ("text", "as_script", "as_module"),
    [
        ("import os\nN = 3\ndef f():\n    g()\n", False, False),
        ("'What it is.'\nlog = make()\nif N:\n    import re\n", True, False),
        ("f(1)\nif __name__ == '__main__':\n    f(2)\n", False, False),
        ("try:\n    import re\nexcept ImportError:\n    re = None\n", False, False),
        ("for n in range(3):\n    f(n)\n", True, True),
        ("if True:\n    print(f(3))\n", True, True),
        ("def (:\n", False, False),
    ],
)
def test_what_has_no_guard(tmp_path: Path, text: str, as_script: bool, as_module: bool) -> None:
    """Definitions run no work, calls do; a module may make what it needs."""
    file = tmp_path / "file.py"
    file.write_text(text)
    assert (unguarded(str(file), is_script=True), unguarded(str(file), is_script=False)) == (as_script, as_module)


def test_functions_of_packages(project: Project) -> None:
    """A function of a package's module, run with -m or imported, is found with its relative imports."""
    package = project.folder / "pkg"
    write(package / "__init__.py", "")
    write(package / "base.py", "STEP = 2\n")
    write(
        package / "work.py",
        "from pcache import cached\nfrom .base import STEP\n@cached\ndef walk(n):\n    return n * STEP\n"
        "if __name__ == '__main__':\n    walk(3)\n",
    )
    environment = {**os.environ, **project.environment}
    subprocess.run([sys.executable, "-m", "pkg.work"], env=environment, check=True, cwd=project.folder)
    assert project.pcache("explain", "walk(3)", cwd=Path("/")).out.startswith("walk(n=3): hit\n")
    subprocess.run(
        [sys.executable, "-c", "import pkg.work; pkg.work.walk(4)"], env=environment, check=True, cwd=project.folder
    )
    assert project.pcache("explain", "walk(4)", cwd=Path("/")).code == 0


# adopt


def test_adopt(project: Project) -> None:
    """After a neutral edit `adopt` lists what changed, and the script computes nothing."""
    project.edit("helpers.py", "x + 1", "1 + x")
    outcome = project.pcache("adopt", "simulate", "--yes")
    assert outcome.code == 0
    assert outcome.out.splitlines()[1:] == ["  function helpers:clean was edited (helpers.py)", "Adopted."]
    assert project.run() == ["the script runs", "2 8 3 4"]


def test_nothing_is_adopted_without_a_yes(project: Project) -> None:
    """Where nobody can be asked, and with --dry-run, the list is all."""
    project.edit("helpers.py", "x + 1", "1 + x")
    outcome = project.pcache("adopt", "simulate")
    assert outcome.code == 2
    assert "say --yes" in outcome.err
    outcome = project.pcache("adopt", "simulate", "-n")
    assert outcome.code == 0
    assert "helpers:clean was edited" in outcome.out
    assert outcome.out.endswith("Nothing was changed.\n")
    assert "computing" in project.run()


def test_nothing_to_adopt(project: Project) -> None:
    """A function without earlier versions has nothing to adopt, and the exit code is 1: nothing is wrong."""
    outcome = project.pcache("adopt", "simulate")
    sentence = "script:simulate has nothing to adopt: no earlier version of it has results here"
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[1:] == [f"pcache: {sentence}"]


def test_a_new_parameter(project: Project) -> None:
    """`--added` says what a new parameter stands for in earlier calls; without it adopting is refused."""
    project.edit("script.py", "seed=0)", "seed=0, method='exact')")
    outcome = project.pcache("adopt", "simulate", "-y")
    assert outcome.code == 2
    assert "added={'method': ...} or --added method=..." in outcome.err
    for wrong in ("method", "method=exact", "=3"):
        assert project.pcache("adopt", "simulate", "-y", "--added", wrong).code == 2
    outcome = project.pcache("adopt", "simulate", "-y", "--added", "method='exact'", "--json")
    report = json.loads(outcome.out)
    assert (report["done"], report["entries"], report["added"]) == (True, 2, {"method": "'exact'"})
    assert project.run() == ["the script runs", "2 8 3 4"]


def test_a_chosen_version(project: Project) -> None:
    """`--from` takes the beginning of an id that `explain` lists."""
    (first,) = json.loads(project.pcache("explain", "simulate", "--json").out)
    project.edit("helpers.py", "x + 1", "x + 100")
    project.run()
    project.edit("helpers.py", "x + 100", "1 + x")
    assert project.pcache("adopt", "simulate", "-y", "--from", "zz").code == 2
    assert project.pcache("adopt", "simulate", "-y", "--from", first["function_id"][:8]).code == 0
    assert project.run() == ["the script runs", "2 8 3 4"]
    assert first["function_id"] in project.pcache("explain", "simulate").out


def test_adopt_in_a_read_only_cache(project: Project) -> None:
    """A read-only cache is not changed."""
    project.edit("helpers.py", "x + 1", "1 + x")
    project.environment["PCACHE_READ_ONLY"] = "1"
    outcome = project.pcache("adopt", "simulate", "-y")
    assert outcome.code == 2
    assert "read-only" in outcome.err


def test_clear_superseded(project: Project) -> None:
    """`clear --superseded` asks, and removes what the code on disk does not have any more."""
    assert project.pcache("clear", "--superseded").out == "There was nothing to clear.\n"
    project.edit("helpers.py", "x + 1", "x + 2")
    dry = project.pcache("clear", "--superseded", "-n").out.splitlines()
    assert [line.split()[:3] for line in dry[:2]] == [["Function", "Entries", "Size"], ["script:simulate", "2", "8"]]
    assert "Would remove 2 entries, 8 KiB. Nothing was removed." in dry
    assert project.pcache("clear", "--superseded").code == 2
    assert project.pcache("clear", "--superseded", "-y").out.startswith("Removed 2 entries")
    assert json.loads(project.pcache("stats", "--json").out)["entries"] == 2


def test_a_script_that_ends_itself(project: Project) -> None:
    """A script without a guard may end in `sys.exit()`; a module that does so is refused."""
    text = "import sys\nfrom pcache import cached\n@cached\ndef ending(n):\n    return n\nending(1)\nsys.exit(3)\n"
    script = write(project.folder / "ending.py", text.replace("(3)", "(0)"))
    run(script, **project.environment)
    script.write_text(text)
    found = project.pcache("explain", "ending(1)", "--import")
    assert (found.code, found.out.splitlines()[0]) == (0, "ending(n=1): hit")
    write(project.folder / "module.py", text)
    found = project.pcache("explain", "module:ending(1)", "--import")
    assert (found.code, found.out) == (1, "")
    assert "cannot load module" in found.err
    assert "ends the program" in found.err


def test_a_script_that_was_moved(project: Project) -> None:
    """It is found in the current folder, and said to be gone elsewhere."""
    project.run()
    moved = project.folder / "moved"
    moved.mkdir()
    (project.folder / "script.py").rename(moved / "script.py")
    (project.folder / "helpers.py").rename(moved / "helpers.py")
    assert project.pcache("explain", "simulate(1)", cwd=moved).code == 0
    found = project.pcache("explain", "simulate(1)")
    assert found.code == 1
    assert "script.py is gone" in found.err


OTHERS = {
    "the current folder": (".", 0o755, 4301),
    "a current folder that others may write to": (".", 0o777, 0),
    "a current folder as /tmp is": (".", 0o1777, 0),
    "the script": ("script.py", 0o644, 4301),
    "a script that others may write to": ("script.py", 0o666, 0),
    "a module that it imports": ("helpers.py", 0o644, 4301),
    "a module that others may write to": ("helpers.py", 0o646, 0),
    "compiled modules": ("__pycache__", 0o777, 0),
}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize(
    "command", [("explain", "simulate(1)"), ("adopt", "simulate", "-y"), ("explain", "--import", "m:f(1)")]
)
def test_no_code_of_others_runs(project: Project, what: str, command: tuple[str, ...]) -> None:
    """What another user owns or could have written is refused in a sentence that names it, and does not run."""
    name, mode, owner = OTHERS[what]
    path = project.folder / name
    if command[-1] == "m:f(1)":  # a module that nothing is stored of
        write(project.folder / "m.py", "import helpers\nprint('the module runs')")
        path = project.folder / name.replace("script", "m")
    (project.folder / "__pycache__").mkdir(exist_ok=True)
    path.chmod(mode)
    os.chown(path, owner, owner)
    outcome = project.pcache(*command)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert "the script runs" not in outcome.err
    assert "the module runs" not in outcome.err
    assert f"{path.resolve()} " in outcome.err
    assert "that only you can write to" in outcome.err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_moved_script_of_another_user(project: Project, tmp_path: Path) -> None:
    """A script that was moved is looked for in the current folder: not in one of another user, whoever wrote it."""
    (project.folder / "script.py").unlink()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    write(theirs / "script.py", SCRIPT.replace("import helpers", "print('planted')"))
    os.chown(theirs, 4301, 4301)
    outcome = project.pcache("explain", "simulate(1)", cwd=theirs)
    assert outcome.code == 1
    assert "planted" not in outcome.out + outcome.err
    assert f"{theirs} belongs to another user" in outcome.err


def test_a_decorated_function_of_a_script(project: Project) -> None:
    """What a decorator of another module made has no module to be imported from."""
    write(
        project.folder / "tools.py",
        "from functools import wraps\ndef traced(f):\n    @wraps(f)\n    def g(*a): return f(*a)\n    return g\n",
    )
    text = (
        "from pcache import cached\nfrom tools import traced\n@cached\n@traced\ndef clean(n):\n    return n\nclean(1)\n"
    )
    run(write(project.folder / "decorated.py", text), **project.environment)
    found = project.pcache("explain", "clean(1)")
    assert found.code == 1
    assert "cannot be imported by name" in found.err


def test_a_script_with_dots_in_its_name(project: Project) -> None:
    """They are no packages."""
    text = "from pcache import cached\n@cached\ndef dotted(n):\n    return n\n"
    text += "if __name__ == '__main__':\n    dotted(1)\n"
    run(write(project.folder / "my-script.v2.py", text), **project.environment)
    assert project.pcache("explain", "dotted(1)", cwd=Path("/")).out.startswith("dotted(n=1): hit\n")


def test_a_script_that_reads_its_arguments(project: Project) -> None:
    """It does not get those of pcache."""
    text = "import sys\nfrom pcache import cached\nWORDS = sys.argv[1:]\n@cached\ndef listed(n):\n    return WORDS\n"
    run(
        write(project.folder / "listing.py", text + "if __name__ == '__main__':\n    listed(1)\n"),
        **project.environment,
    )
    assert project.pcache("explain", "listed(1)").out.startswith("listed(n=1): hit\n")


def test_a_function_that_is_another_one_in_each_process(tmp_path: Path) -> None:
    """The miss and the list of versions say so, with what to do; `adopt` is not advised, as it would not help."""
    program = Program(tmp_path / "project")
    for _ in range(2):
        assert program.run().code == 0
    outcome = program.pcache("explain", "job:simulate(1)")  # the third process
    lines = outcome.out.splitlines()
    assert (outcome.code, lines[0]) == (1, "simulate(n=1): miss, absent")
    assert lines[-2].startswith(f"  {SEEN}. Since ")
    assert lines[-2].endswith(" to compute")
    assert ", 4 calls took " in lines[-2]
    assert lines[-1] == f"  {ADVICE}"
    assert "adopt" not in outcome.out
    found = json.loads(program.pcache("explain", "job:simulate(1)", "--json").out)
    assert found["changing_globals"]["names"] == ["job:RUN_ID"]
    assert found["advice"] == found["changing_globals"]["advice"] == ADVICE
    assert program.run().code == 0
    listed = program.pcache("explain", "simulate").out.splitlines()
    assert [line for line in listed if line.startswith("  ") and "version " not in line and line[2] != " "] == listed[
        1:3
    ]
    assert listed[1].startswith(f"  {SEEN}. Since ")
    assert listed[2] == f"  {ADVICE}"
    versions = json.loads(program.pcache("explain", "simulate", "--json").out)
    assert [version["changing_globals"]["versions"] for version in versions] == [3, 3, 3]
