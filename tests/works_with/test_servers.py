"""Cached functions in web servers: processes forked before and after the import, threads, event loops, greenlets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pcache import Cache
from tests.support.running import run, write
from tests.support.serving import Server
from tests.support.works_with import begin, computed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sockets in folders, and forks")

PATHS = ["/draw/1", "/draw/2"] * 4


def check(folder: Path, server: Server, *before: str) -> None:
    """Ask the same of a server many times at once: each call is computed once, and all get its result."""
    answers = server.get_at_once(*PATHS)
    assert answers == answers[:2] * 4
    assert computed(folder) == [*before, "1", "2"]


WSGI = """
    from drawing import draw

    draw(0)

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [draw(int(environ["PATH_INFO"].rpartition("/")[2])).encode()]
    """


@pytest.mark.parametrize("preload", [False, True])
def test_gunicorn(tmp_path: Path, preload: bool) -> None:
    """Two workers of gunicorn, forked before the application was imported or, with --preload, after it computed."""
    pytest.importorskip("gunicorn")
    write(begin(tmp_path) / "app.py", WSGI if preload else WSGI.replace("draw(0)", ""))
    options = ["--workers", "2", "--threads", "2", "--bind", "unix:{socket}", *["--preload"] * preload]
    with Server(tmp_path, "Booting worker", "-m", "gunicorn", *options, "app:app") as server:
        check(tmp_path, server, *["0"] * preload)
        server.stop()
    stats = Cache(tmp_path / "cache").stats()  # all calls of all workers were counted
    assert (stats.hits, stats.misses, len(stats.in_flight)) == (6, 2 + preload, 0)


FASTAPI = """
    import asyncio, os
    from fastapi import FastAPI
    from drawing import cache, draw, note

    app = FastAPI()

    @app.get("/draw/{n}")
    def drawn(n: int) -> str:
        return draw(n)

    @app.get("/direct/{n}")
    @cache.cached
    def direct(n: int, times: int = 2) -> str:
        note(f"direct {n}")
        return str(n * times)

    @cache.cached
    async def fetch(n):
        note(f"fetch {n}")
        await asyncio.sleep(0)
        return f"{n} {os.urandom(8).hex()}"

    @app.get("/fetched/{n}")
    async def fetched(n: int) -> str:
        return await fetch(n)
    """


def test_uvicorn_with_fastapi(tmp_path: Path) -> None:
    """Endpoints that call a cached function, in threads or in the loop, and one that is a cached function itself."""
    pytest.importorskip("uvicorn")
    pytest.importorskip("fastapi")
    write(begin(tmp_path) / "app.py", FASTAPI)
    with Server(tmp_path, "Uvicorn running", "-m", "uvicorn", "app:app", "--uds", "{socket}") as server:
        check(tmp_path, server)
        assert [server.get("/direct/3?times=4") for _ in range(2)] == ['"12"'] * 2
        assert len(set(server.get_at_once(*["/fetched/4"] * 4))) == 1
        assert computed(tmp_path) == ["1", "2", "direct 3", "fetch 4"]


FLASK = """
    from flask import Flask
    from drawing import draw

    app = Flask(__name__)
    app.get("/draw/<int:n>")(draw)
    """


def test_flask_threaded(tmp_path: Path) -> None:
    """Flask's server, with a thread for each request, and a cached function as the view."""
    pytest.importorskip("flask")
    write(begin(tmp_path) / "app.py", FLASK)
    with Server(tmp_path, "Running on", "-m", "flask", "--app", "app", "run", "-h", "unix://{socket}") as server:
        check(tmp_path, server)


GEVENT = """
    {first}
    import gevent, os
    from gevent.event import Event

    from drawing import cache, note

    entered, go, other = Event(), Event(), []

    @cache.cached(ignore=["entered", "go"])
    def slow(n, entered, go):
        note(n)
        entered.set()
        go.wait(30)  # other greenlets run meanwhile
        return n, os.urandom(8).hex()

    asking = [gevent.spawn(slow, 1, entered, go) for _ in range(3)]
    entered.wait(30)
    gevent.spawn(lambda: other.append("ran")).join()
    go.set()
    gevent.joinall(asking, timeout=60, raise_error=True)
    print(len({{one.value for one in asking}}), *other, slow(1, entered, go) == asking[0].value)
    """


PATCH = "from gevent import monkey; monkey.patch_all()"
ORDERS = {"patched": PATCH, "patched after the import": f"import pcache.runtime.misses, pcache.system.clock; {PATCH}"}


@pytest.mark.parametrize("first", ORDERS.values(), ids=ORDERS)
def test_gevent(tmp_path: Path, first: str) -> None:
    """Greenlets that need the same result get one computation's, and others run while it computes."""
    pytest.importorskip("gevent")
    script = write(begin(tmp_path) / "script.py", GEVENT.format(first=first))
    assert run(script, warnings="default") == ["1 ran True"]
    assert computed(tmp_path) == ["1"]


OTHER_PROCESS = """
    {first}
    import gevent, os, subprocess, sys

    owner = "from waiting import slow; slow(1)"
    process = subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE)
    process.stdout.readline()  # it computes

    from waiting import slow

    def release():
        open("go", "w").close()

    asking = [gevent.spawn(slow, 1) for _ in range(2)]
    gevent.sleep(0)  # both wait for the other process
    gevent.spawn(release)
    gevent.joinall(asking, timeout=60, raise_error=True)
    print(*(one.value == process.pid for one in asking), slow.cache_info().hits, process.wait())
    """

WAITING = """
    import os, time
    from drawing import cache

    @cache.cached
    def slow(n):
        os.write(1, b"\\n")
        while not os.path.exists("go"):
            time.sleep(0.01)
        return os.getpid()
    """


@pytest.mark.parametrize("first", ORDERS.values(), ids=ORDERS)
def test_gevent_waits_for_another_process(tmp_path: Path, first: str) -> None:
    """Greenlets that wait for another process let that one run on which it depends."""
    pytest.importorskip("gevent")
    write(begin(tmp_path) / "waiting.py", WAITING)
    script = write(tmp_path / "script.py", OTHER_PROCESS.format(first=first))
    assert run(script, warnings="default") == ["True True 0 0"]
