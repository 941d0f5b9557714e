"""joblib's own tests of `Memory` pass against ours, but for a list of differences."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("joblib")

import joblib

from tests.support import joblib_upstream
from tests.support.running import ROOT


@pytest.mark.skipif(
    not joblib.__version__.startswith(joblib_upstream.VERSION),
    reason=f"the list of differences is for joblib {joblib_upstream.VERSION}x",
)
def test_joblibs_own_tests(tmp_path: Path) -> None:
    """Those that are not listed pass, and those that are listed as different fail."""
    pytest.importorskip("joblib.test.test_memory", reason="this joblib comes without its tests")
    command = ["-m", "pytest", "-p", "tests.support.joblib_upstream", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(
        [sys.executable, *command, "--rootdir", tmp_path, "-c", os.devnull, "--pyargs", "joblib.test.test_memory"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [passed] = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= 40
