"""Notebooks and other places where functions have no file: real kernels, real runs of nbconvert, IPython, REPLs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tests.support.kernels import Kernel, environment
from tests.support.running import run, write

DOUBLE = """
@cache.cached
def double(n):
    print("computing")
    return n * factor()
"""
FACTOR = "def factor():\n    return {}\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(running: Kernel, tmp_path: Path) -> Kernel:
    """The kernel with nothing in it but an empty cache, in a folder of the test's own."""
    running.run("%reset -f")
    begin(running, tmp_path)
    return running


def begin(kernel: Kernel, folder: Path) -> None:
    """Run the first cells of a notebook that lies in a folder."""
    kernel.run(f"%cd -q {folder}\nimport sys; sys.path.insert(0, '')")
    kernel.run("from pcache import Cache\ncache = Cache('cache')")


# A kernel that is restarted


def test_results_outlive_the_kernel(kernel: Kernel, tmp_path: Path) -> None:
    """After a restart a cell lies in another temporary file, and its function's results are found."""
    where = "double.__wrapped__.__code__.co_filename"
    kernel.run(FACTOR.format(2) + DOUBLE)
    first, *printed = kernel.run(f"print({where})\nprint(double(3))")
    assert printed == ["computing", "6"]
    kernel.restart()
    begin(kernel, tmp_path)
    kernel.run(FACTOR.format(2) + DOUBLE)
    second, *printed = kernel.run(f"print({where})\nprint(double(3))")
    assert printed == ["6"]
    assert first != second


POINT = """
import dataclasses
@dataclasses.dataclass
class Point:
    x: int
    def moved(self):
        return self.x + {}
@cache.cached
def made(n):
    print("computing")
    return Point(n)
@cache.cached
def used(point):
    print("computing")
    return point.moved()
"""


def test_classes_outlive_the_kernel(kernel: Kernel, tmp_path: Path) -> None:
    """Instances of a class that a cell defines are results and arguments, and count by the class' code."""
    ask = "print(made(1) == Point(1), used(Point(1)))"
    kernel.run(POINT.format(1))
    assert kernel.run(ask) == ["computing", "computing", "True 2"]
    kernel.run(POINT.format(1))
    assert kernel.run(ask) == ["True 2"]
    kernel.run(POINT.format(5))
    assert kernel.run(ask) == ["computing", "computing", "True 6"]
    kernel.restart()
    begin(kernel, tmp_path)
    kernel.run(POINT.format(1))
    assert kernel.run(ask) == ["True 2"]


# Cells that are run again


def test_a_helper_whose_cell_is_run_again(kernel: Kernel) -> None:
    """Another body is noticed at the next call; the old one's results are found when it is back."""
    kernel.run(FACTOR.format(2))
    kernel.run(DOUBLE)
    assert kernel.run("print(double(3))") == ["computing", "6"]
    kernel.run(FACTOR.format(3))
    assert kernel.run("print(double(3))") == ["computing", "9"]
    kernel.run(FACTOR.format(2))
    assert kernel.run("print(double(3))") == ["6"]


def test_a_helper_that_is_defined_later(kernel: Kernel) -> None:
    """Cells may be run in any order: a helper that was missing, or deleted, is noticed when it comes."""
    kernel.run(DOUBLE)
    kernel.run("try:\n    double(3)\nexcept NameError as error:\n    pass")
    kernel.run(FACTOR.format(2))
    assert kernel.run("print(double(3))") == ["computing", "6"]
    kernel.run("del factor")
    kernel.run(FACTOR.format(4))
    assert kernel.run("print(double(3))") == ["computing", "12"]


@pytest.mark.parametrize(
    "edited",
    [
        DOUBLE.replace("n * factor()", "n * factor()  # twice"),
        DOUBLE.replace('    print("computing")', '    """What it does."""\n\n    print("computing")'),
        "inserted = 'above'\n\n\n" + DOUBLE,
        "!true\n" + DOUBLE,
        DOUBLE + "\nsomething = 'below'",
    ],
)
def test_a_neutral_edit_of_a_cell(kernel: Kernel, edited: str) -> None:
    """Comments, docstrings, magics and other code in the cell do not count."""
    kernel.run(FACTOR.format(2))
    kernel.run(DOUBLE)
    assert kernel.run("print(double(3))") == ["computing", "6"]
    kernel.run(edited)
    assert kernel.run("print(double(3))") == ["6"]


def test_a_constant_of_the_notebook(kernel: Kernel) -> None:
    """A number that the function uses counts by its value, in whichever cell it is set."""
    kernel.run("rate = 2\n" + DOUBLE.replace("factor()", "rate"))
    assert kernel.run("print(double(3))") == ["computing", "6"]
    assert kernel.run("rate = 3\nprint(double(3))") == ["computing", "9"]
    assert kernel.run("rate = 2\nprint(double(3))") == ["6"]


# Modules beside the notebook


def saved(path: Path, text: str, at: int) -> None:
    """Save a module as an editor does, at a time of its own: reloading looks at whole seconds."""
    write(path, text)
    os.utime(path, (at, at))


def test_autoreload(kernel: Kernel, tmp_path: Path) -> None:
    """`%autoreload 2` puts new code into old functions before a cell runs: it counts at once."""
    module = tmp_path / "auto_helpers.py"
    saved(module, FACTOR.format(2), 1_000_000_000)
    kernel.run("%load_ext autoreload\n%autoreload 2")
    kernel.run("import auto_helpers\nfrom auto_helpers import factor")
    kernel.run(DOUBLE)
    kernel.run(DOUBLE.replace("double", "by_module").replace("factor()", "auto_helpers.factor()"))
    ask = "print(double(3), by_module(3))"
    assert kernel.run(ask) == ["computing", "computing", "6 6"]
    saved(module, FACTOR.format(3), 1_000_000_010)
    assert kernel.run(ask) == ["computing", "computing", "9 9"]
    saved(module, FACTOR.format(2), 1_000_000_020)
    assert kernel.run(ask) == ["6 6"]
    kernel.run("%autoreload 0")


def test_autoreload_of_a_class(kernel: Kernel, tmp_path: Path) -> None:
    """A method that was put into the old class counts, for its old instances too."""
    module = tmp_path / "auto_shapes.py"
    shape = "class Shape:\n    def area(self):\n        return {}\n"
    saved(module, shape.format(2), 1_000_000_000)
    kernel.run("%load_ext autoreload\n%autoreload 2")
    kernel.run("from auto_shapes import Shape\nshape = Shape()")
    kernel.run("@cache.cached\ndef area(shape):\n    print('computing')\n    return shape.area()")
    assert kernel.run("print(area(shape))") == ["computing", "2"]
    saved(module, shape.format(3), 1_000_000_010)
    assert kernel.run("print(area(shape))") == ["computing", "3"]
    kernel.run("%autoreload 0")


def test_importlib_reload(kernel: Kernel, tmp_path: Path) -> None:
    """A module that is executed again has new functions; names that still mean the old ones give old results."""
    module = tmp_path / "reloaded_helpers.py"
    saved(module, FACTOR.format(2), 1_000_000_000)
    kernel.run("import importlib, reloaded_helpers as helpers\nfrom reloaded_helpers import factor")
    kernel.run(DOUBLE)
    kernel.run(DOUBLE.replace("double", "by_module").replace("factor()", "helpers.factor()"))
    assert kernel.run("print(double(3), by_module(3))") == ["computing", "computing", "6 6"]
    saved(module, FACTOR.format(3), 1_000_000_010)
    kernel.run("importlib.reload(helpers)")
    assert kernel.run("print(double(3), by_module(3))") == ["computing", "6 9"]
    assert kernel.run("from reloaded_helpers import factor\nprint(double(3))") == ["computing", "9"]


def test_a_patched_constant_of_a_module(kernel: Kernel, tmp_path: Path) -> None:
    """An attribute of a module that is set from outside counts, and so does setting it back."""
    write(tmp_path / "patched_helpers.py", "RATE = 2\ndef factor():\n    return RATE\n")
    kernel.run("import patched_helpers as helpers")
    kernel.run(DOUBLE.replace("factor()", "helpers.factor()"))
    assert kernel.run("print(double(3))") == ["computing", "6"]
    assert kernel.run("helpers.RATE = 3\nprint(double(3))") == ["computing", "9"]
    assert kernel.run("helpers.RATE = 2\nprint(double(3))") == ["6"]


SCRIPT = """
    from pcache import Cache
    cache = Cache('cache')
    class Point:
        def __init__(self, x):
            self.x = x
    @cache.cached
    def double(n):
        print("computing")
        return 2 * n
    @cache.cached
    def made(n):
        print("computing")
        return Point(n)
    double(3), made(3)
"""


def test_a_script_run_in_the_notebook(kernel: Kernel, tmp_path: Path) -> None:
    """`%run` finds what `python script.py` stored, and leaves functions behind that go on finding it."""
    script = write(tmp_path / "script.py", SCRIPT)
    home = kernel.run("import os; print(os.environ['HOME'])")[0]
    assert run(script, HOME=home, XDG_CONFIG_HOME=f"{home}/.config") == ["computing", "computing"]
    assert kernel.run("%run script.py") == []
    assert kernel.run("print(double.name, double(3), isinstance(made(3), Point))") == ["script:double 6 True"]
    write(script, SCRIPT.replace("2 * n", "4 * n"))
    assert kernel.run("%run script.py\nprint(double(3))") == ["computing", "12"]


def test_a_class_of_the_notebook_that_hides_that_of_a_script(kernel: Kernel, tmp_path: Path) -> None:
    """A result of the script's class never comes back as an instance of the notebook's class of that name."""
    write(tmp_path / "hidden_script.py", SCRIPT)
    assert kernel.run("%run hidden_script.py\nTheirs = Point") == ["computing", "computing"]
    kernel.run("class Point:\n    pass")
    assert kernel.run("value = made(3)\nprint(type(value) is Theirs, type(value) is Point)") == [
        "computing",
        "True False",
    ]


# Processes


def test_forked_workers_of_a_notebook(kernel: Kernel) -> None:
    """A pool that was forked from the kernel uses the notebook's functions, and the kernel finds their results."""
    kernel.run(FACTOR.format(2) + DOUBLE.replace('    print("computing")\n', ""))
    pool = "from multiprocessing import get_context\nwith get_context('fork').Pool(2) as pool:\n    "
    assert kernel.run(f"{pool}print(pool.map(double, range(4)))") == ["[0, 2, 4, 6]"]
    assert kernel.run("print([double.get(n) for n in range(4)])") == ["[0, 2, 4, 6]"]


def test_workers_of_loky_in_a_notebook(kernel: Kernel) -> None:
    """joblib's workers, whose `__main__` is another program, share results with the notebook."""
    kernel.run(FACTOR.format(2) + DOUBLE.replace('    print("computing")\n', ""))
    kernel.run("double(0)\nfrom joblib import Parallel, delayed")
    assert kernel.run("print(Parallel(2)(delayed(double)(n) for n in range(3)))") == ["[0, 2, 4]"]
    assert kernel.run("print([double.get(n) for n in range(3)])") == ["[0, 2, 4]"]


# Whole notebooks


def execute(path: Path, *cells: str) -> list[str]:
    """Write a notebook, have nbconvert execute it, and return what it printed."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells])
    nbformat.write(notebook, path)
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--inplace", path.name],
        cwd=path.parent,
        env=environment(path.parent),
        check=True,
        capture_output=True,
    )
    outputs = [output for cell in nbformat.read(path, 4).cells for output in cell.outputs]
    return "".join(output.text for output in outputs if output.get("name") == "stdout").splitlines()


def test_notebooks_that_are_executed(tmp_path: Path) -> None:
    """A notebook executed twice computes once; another one with a function of the same name has its own results."""
    cells = ("from pcache import Cache\ncache = Cache('cache')", FACTOR.format(2), DOUBLE, "print(double(3))")
    assert execute(tmp_path / "one.ipynb", *cells) == ["computing", "6"]
    assert execute(tmp_path / "one.ipynb", "'inserted'", *cells) == ["6"]
    other = [cell.replace("n * factor()", "n + factor()") for cell in cells]
    assert execute(tmp_path / "two.ipynb", *other) == ["computing", "5"]


@pytest.mark.parametrize("told", ["__vsc_ipynb_file__", "__session__", "JPY_SESSION_NAME"])
def test_a_function_is_named_by_its_notebook(kernel: Kernel, tmp_path: Path, told: str) -> None:
    """Where the front end says which notebook it is, people are told; keys are those of every notebook."""
    kernel.run(FACTOR.format(2) + DOUBLE)
    assert kernel.run("print(double(3), double.name)") == ["computing", "6 __main__:double"]
    key = kernel.run("print(double.key(3))")[0]
    for notebook in ("fits", "trial"):
        file = str(tmp_path / f"{notebook}.ipynb")
        kernel.run(f"import os\nos.environ[{told!r}] = {file!r}" if told.isupper() else f"{told} = {file!r}")
        kernel.run(DOUBLE)
        assert kernel.run("print(double(3), double.key(3), double.name)") == [f"6 {key} {notebook}.ipynb:double"]
        kernel.run(DOUBLE.replace("double", notebook))
        kernel.run(f"{notebook}(3)")
    kernel.run("import os\nos.environ.pop('JPY_SESSION_NAME', None)")
    names = kernel.run("for name in sorted(one.function for one in cache.entries()):\n    print(name)")
    assert names == ["__main__:double", "fits.ipynb:fits", "trial.ipynb:trial"]


def test_notebooks_are_told_apart(kernel: Kernel, tmp_path: Path) -> None:
    """Functions of one name are two in listings and counts, and are adopted by their own notebook only."""
    for notebook, factor in (("fits", 2), ("trial", 3)):
        kernel.run(f"__session__ = {str(tmp_path / notebook)!r} + '.ipynb'")
        kernel.run(DOUBLE.replace("factor()", str(factor)))
        assert kernel.run("print(double(3), double.name)") == ["computing", f"{3 * factor} {notebook}.ipynb:double"]
    assert kernel.run("print([one.name for one in cache.functions()])") == [
        "['fits.ipynb:double', 'trial.ipynb:double']"
    ]
    kernel.run(DOUBLE.replace("n * factor()", "3 * n"))
    assert kernel.run("print(double.adopt().entries, double(3))") == ["1 9"]
    assert kernel.run("print(cache.clear('trial.ipynb').entries, cache.stats().entries)") == ["1 1"]


# Without a file

INTERACTIVE = f"from pcache import Cache\ncache = Cache('cache')\n{FACTOR.format(2)}\n{DOUBLE}\nprint(double(3))\n"


@pytest.mark.parametrize(
    "command",
    [
        ["-i", "-q"],
        ["-"],
        ["-c", INTERACTIVE],
        ["-c", f"import code\nshell = code.InteractiveConsole()\nshell.runcode({INTERACTIVE!r})"],
        ["-c", f"exec({INTERACTIVE!r}, {{'__name__': '__main__'}})"],
        ["-m", "IPython", "--quick", "--no-banner", "-c", INTERACTIVE],
    ],
    ids=["-i", "stdin", "-c", "console", "exec", "IPython"],
)
def test_functions_without_a_file(tmp_path: Path, command: list[str]) -> None:
    """A function that was typed, piped or executed as text is the same function the next time."""

    def session() -> list[str]:
        done = subprocess.run(
            [sys.executable, *command],
            input=INTERACTIVE,
            cwd=tmp_path,
            env=environment(tmp_path),
            text=True,
            capture_output=True,
            check=True,
        )
        return done.stdout.splitlines()

    assert session() == ["computing", "6"]
    assert session() == ["6"]


def test_functions_of_a_doctest(tmp_path: Path) -> None:
    """Examples in a docstring run in a copy of their module's names: a function defined there is found again."""
    examples = "\n".join(
        [
            *(f"{'...' if line[:1] in ' ' else '>>>'} {line}" for line in FACTOR.format(2).splitlines()),
            ">>> @cache.cached",
            *(f"... {line}" for line in DOUBLE.splitlines()[2:]),
            ">>> double(3)",
            "computing",
            "6",
            ">>> double(3)",
            "6",
        ]
    )
    text = f'"""\n{examples}\n"""\nfrom pcache import Cache\ncache = Cache("cache")\n'
    text += "import doctest\nif __name__ == '__main__':\n    print(doctest.testmod())\n"
    script = write(tmp_path / "documented.py", text)
    assert run(script) == ["TestResults(failed=0, attempted=4)"]
    assert run(script)[-1] == "TestResults(failed=1, attempted=4)"  # it does not compute again
