"""Cached functions in programs that run other people's code again and again, or in an unusual interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.running import ROOT, run, write
from tests.support.works_with import begin, computed


def run_tool(folder: Path, *command: str, **environment: str) -> str:
    """Run `python -m command` in a folder to its end; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_pytest_xdist(tmp_path: Path) -> None:
    """Tests in two workers of pytest-xdist that need the same result compute it once."""
    pytest.importorskip("xdist")
    tests = "".join(f"def test_{n}():\n    assert draw({n % 2}).startswith('{n % 2} ')\n" for n in range(8))
    write(begin(tmp_path) / "test_drawn.py", "from drawing import draw\n" + tests)
    options = ["-p", "xdist.plugin", "-n", "2", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "-c", os.devnull]
    assert "8 passed" in run_tool(tmp_path, "pytest", *options, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert computed(tmp_path) == ["0", "1"]


STREAMLIT = """
    import os
    import streamlit
    from pcache import Cache
    from drawing import note

    cache = Cache("cache")

    @cache.cached
    def drawn(n):
        note(n)
        return os.urandom(8).hex()

    streamlit.button("again")
    streamlit.text(drawn(1))
    """

STREAMLIT_DRIVER = """
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file("app.py", default_timeout=60).run()
    first = app.text[0].value
    app.button[0].click().run()
    other = AppTest.from_file("app.py", default_timeout=60).run()
    assert not app.exception and not other.exception
    print(app.text[0].value == other.text[0].value == first)
    """


def test_streamlit(tmp_path: Path) -> None:
    """A function of a streamlit script is computed once, however often the script is run, for all sessions."""
    pytest.importorskip("streamlit")
    write(begin(tmp_path) / "app.py", STREAMLIT)
    driver = write(tmp_path / "driver.py", STREAMLIT_DRIVER)
    for _ in range(2):
        assert run(driver, warnings="default")[-1:] == ["True"]
        assert computed(tmp_path) == ["1"]


MARIMO = """
    import marimo

    app = marimo.App()

    @app.cell
    def _():
        import os
        from pcache import Cache
        from drawing import note

        factor = {factor}
        return Cache, factor, note, os

    @app.cell
    def _(Cache, factor, note, os):
        @Cache("cache").cached
        def drawn(n):
            note(n * factor)
            return os.urandom(8).hex()
        return (drawn,)

    @app.cell
    def _(drawn):
        print(drawn(1))
        return

    if __name__ == "__main__":
        app.run()
    """


def test_marimo(tmp_path: Path) -> None:
    """A notebook of marimo, run by its kernel or as a script, finds its results; a variable that changed counts."""
    pytest.importorskip("marimo")
    notebook = write(begin(tmp_path) / "notebook.py", MARIMO.format(factor=2))
    export = ["marimo", "export", "html", "notebook.py", "-o", "notebook.html", "-f"]
    run_tool(tmp_path, *export)
    (drawn,) = run(notebook, warnings="default")
    assert drawn in (tmp_path / "notebook.html").read_text()
    assert computed(tmp_path) == ["2"]
    write(notebook, MARIMO.format(factor=3))
    assert run(notebook, warnings="default") != [drawn]
    assert computed(tmp_path) == ["2", "3"]


THREADS = """
    import sys, threading
    from concurrent.futures import ThreadPoolExecutor
    from drawing import draw

    assert not sys._is_gil_enabled()
    start = threading.Barrier(8)

    def call(thread):
        start.wait(30)
        return [draw(n % 10) for n in range(200)]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(call, range(8)))
    print(all(one == results[0] for one in results), draw.cache_info().misses)
    """


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has a GIL")
def test_free_threaded_python(tmp_path: Path) -> None:
    """Eight threads without a GIL get the same results, each computed once."""
    script = write(begin(tmp_path) / "script.py", THREADS)
    assert run(script, PYTHON_GIL="0") == ["True 10"]
    assert len(computed(tmp_path)) == 10
