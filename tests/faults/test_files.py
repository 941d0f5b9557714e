"""Files that are replaced all the time while results are made from them: none is stored under other content's key."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from pcache import Cache, File
from tests.faults.hunting import rounds

Evidence = Callable[[str, str, int, int], None]
VERSIONS = 50


def test_files_that_are_replaced_meanwhile(tmp_path: Path, evidence: Evidence) -> None:
    """Four threads read a file, an argument or a declared one, which a fifth thread replaces every half millisecond."""
    path, calls = tmp_path / "data", rounds(60, 20_000)
    cache = Cache(tmp_path / "cache", signing_key=bytes(32))

    def put(number: int) -> str:
        text = f"version {number:03}"
        path.with_suffix(".new").write_text(text)
        os.replace(path.with_suffix(".new"), path)
        return text

    put(0)
    read = cache.cached(lambda file: Path(file).read_text())
    declared = cache.cached(depends_on=[path])(lambda: path.read_text())
    done = threading.Event()

    def replace() -> None:
        number = 0
        while not done.wait(0.0005):
            number = (number + 1) % VERSIONS
            put(number)

    def work() -> None:
        for _ in range(calls):
            read(File(path)), declared()

    threads = [threading.Thread(target=work) for _ in range(4)]
    writer = threading.Thread(target=replace)
    for thread in (writer, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    writer.join()
    wrong = []
    for number in range(VERSIONS):
        text = put(number)
        wrong += [found for found in (read(File(path)), declared()) if found != text]
    evidence("never wrong", "calls on files that are replaced meanwhile", 8 * calls, len(wrong))
    assert wrong == []
