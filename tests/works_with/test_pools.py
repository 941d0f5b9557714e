"""Cached functions in the pools and task queues of other packages: workers and callers share results."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.running import ROOT, run, write
from tests.support.works_with import begin, computed

# Each defines `each(function, items)`, which calls a function in workers, and `end()`.
POOLS = {
    "loky": """
        import loky
        pool = loky.get_reusable_executor(2)
        each, end = lambda function, items: list(pool.map(function, items)), pool.shutdown
        """,
    "joblib": """
        from joblib import Parallel, delayed
        parallel = Parallel(2)
        each, end = lambda function, items: parallel(delayed(function)(n) for n in items), lambda: None
        """,
    "distributed": """
        from dask.distributed import Client, LocalCluster
        cluster = LocalCluster(n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address=None)
        client = Client(cluster)
        each = lambda function, items: client.gather([client.submit(function, n, pure=False) for n in items])
        def end():
            client.close()
            cluster.close()
        """,
    "ray": """
        import ray
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        call = ray.remote(lambda function, n: function(n))  # ray.remote takes functions and classes only
        each, end = lambda function, items: ray.get([call.remote(function, n) for n in items]), ray.shutdown
        """,
}

PROGRAM = """
import os
from drawing import Model, cache, draw, note

@cache.cached
def here(n):
    note(f"here {{n}}")
    return n, os.urandom(8)

def main():
{pool}
    for function in (draw, here, Model(3).fit):
        first, again = each(function, [1, 2, 1, 2]), each(function, [2, 1])
        assert first == [function(n) for n in (1, 2, 1, 2)], (function, first)
        assert again == first[1::-1], (function, again)
        print(*function.cache_info()[:2])
    end()

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("package", POOLS)
def test_pools(tmp_path: Path, package: str) -> None:
    """Functions of a module, of the script and of an instance are computed once by workers; the caller hits."""
    pytest.importorskip(package)
    pool = textwrap.indent(textwrap.dedent(POOLS[package]), "    ")
    script = write(begin(tmp_path) / "script.py", PROGRAM.format(pool=pool))
    quiet = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    assert run(script, warnings="default", **quiet) == ["4 0"] * 3
    assert computed(tmp_path) == ["1", "2", "3/1", "3/2", "here 1", "here 2"]


CELERY = """
import sys
from celery import Celery
import drawing

app = Celery("tasks", broker="filesystem://", backend="file://results")
app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"}
app.conf.broker_connection_retry_on_startup = True
draw = app.task(name="draw")(drawing.draw)

if __name__ == "__main__":
    waiting = [draw.delay(n) for n in (1, 2, 1, 2)]
    results = [one.get(timeout=60, interval=0.05) for one in waiting]
    assert results == [drawing.draw(n) for n in (1, 2, 1, 2)]
    print(*drawing.draw.cache_info()[:2])
    app.control.shutdown()
"""


def test_celery_prefork(tmp_path: Path) -> None:
    """Two forked workers of celery, whose task is a cached function, compute each call once; the caller hits."""
    pytest.importorskip("celery")
    script = write(begin(tmp_path) / "tasks.py", CELERY)
    for name in ("queue", "results", "control"):
        (tmp_path / name).mkdir()
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-P", "prefork", "-c", "2", *alone],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert run(script, warnings="default") == ["4 0"]
    finally:
        worker.terminate()
        printed = worker.communicate(timeout=60)[0]
    assert computed(tmp_path) == ["1", "2"], printed
