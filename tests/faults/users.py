"""Several users of one machine in one test: processes with other user and group ids, in a folder that all can reach.

Other users may not be able to read Python's files, so a process first does everything once, and only then becomes
another user in a forked child.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

GROUP = 4242
FIRST, SECOND = 5001, 5002
STRANGER = 5003  # not in the group

# The head of scripts. `become(uid, work)` runs `work` in a child and returns its result, converted by JSON.
PEOPLE = """
import json, random, select, signal, threading, warnings
from tests.support.processes import Block
GROUP, FIRST, SECOND, STRANGER = 4242, 5001, 5002, 5003
KEY = bytes(range(32))
SHARED, LOG = sys.argv[2] + "/cache", sys.argv[2] + "/log"
def f(n):
    if os.getuid() != 0:
        fd = os.open(LOG, os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"%d %d\\n" % (n, os.getuid()))
        os.close(fd)
    return [n] * (60_000 if n % 7 == 0 else 5)
def blocks(n):
    return Block(random.Random(n).randbytes(300_000))  # not to be compressed, so that it could be mapped
def calls():
    "Which calls were computed, and by whom, since this was asked last."
    with open(LOG, "r+") as file:
        lines = file.read().split("\\n")[:-1]
        file.truncate(0)
    return [[int(word) for word in line.split()] for line in lines]
def warm_up():
    cached, others = cache.cached(f), cache.cached(blocks)
    for n in (1, 2, 2, 7):
        cached(n), others(n)
    cached.refresh(1), cached.invalidate(2), cached.explain(1)
    cache.evict(max_entries=1), cache.verify(repair=True), cache.stats(), list(cache.entries()), cache.versions()
    cache.recompress("none"), cache.clear()
    cached(1), cache.flow.ledger.flush(), cache.flow.saving.limiter.flush()
def start(uid, work, mask=0o022, groups=(GROUP,)):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.umask(mask)
            os.setgroups(list(groups))
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.environ.update(HOME="/nonexistent", XDG_CONFIG_HOME="/nonexistent", XDG_CACHE_HOME="/nonexistent")
            os.write(writing, json.dumps(work()).encode())
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writing)
    return pid, reading
def end(child):
    pid, reading = child
    with open(reading) as file:
        text = file.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "the child failed"
    return json.loads(text)
def become(uid, work, mask=0o022, groups=(GROUP,)):
    return end(start(uid, work, mask, groups))
def commons(**options):
    return Cache(SHARED, shared=True, signing_key=KEY, **options)
warm_up()
"""

needs_users = pytest.mark.skipif(
    not hasattr(os, "setresuid") or os.getuid() != 0, reason="only root can become several users"
)


@pytest.fixture
def commons() -> Iterator[Path]:
    """A folder that all users can reach, with `cache`, which belongs to the group, and `log`, to which all write."""
    folder = Path(tempfile.mkdtemp(prefix="pcache-commons-"))
    folder.chmod(0o711)
    (folder / "log").touch()
    (folder / "log").chmod(0o666)
    (folder / "cache").mkdir()
    os.chown(folder / "cache", FIRST, GROUP)
    (folder / "cache").chmod(0o2770)
    yield folder
    shutil.rmtree(folder)
