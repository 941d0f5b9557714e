"""The README on a directory for a group: its commands do what it says for two ordinary users, and so do messages."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.faults.users import PEOPLE, commons, needs_users
from tests.support.processes import run
from tests.support.running import ROOT

__all__ = ["commons"]  # a fixture

pytestmark = needs_users
SECTION = (ROOT / "README.md").read_text().partition("### A directory for a group")[2].partition("\n### ")[0]
MAKE, USE = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)

# `shell(text)` runs commands; the `pcache` in them is the one of this process, as others may not read Python's files.
SHELL = """
import subprocess
from click.testing import CliRunner
from pcache.cli import main
from pcache.insight import doctor
PLACE, MAKE, USE = sys.argv[2] + "/team", *sys.argv[3:5]
def ask(*words):
    return CliRunner().invoke(main, words).stdout
ask("key", "new", "--print"), doctor.diagnose(sys.argv[1]), doctor.diagnose(SHARED + "/none")
os.mkdir(PLACE)
os.chown(PLACE, 0, GROUP), os.chmod(PLACE, 0o2770)
for name in ("/asked", "/answer"):
    os.mkfifo(sys.argv[2] + name)
    os.chmod(sys.argv[2] + name, 0o666)
def serve():
    with open(sys.argv[2] + "/asked") as file:
        words = file.read().split()
    with open(sys.argv[2] + "/answer", "w") as file:
        file.write(ask(*words))
def shell(text):
    threading.Thread(target=serve, daemon=True).start()
    program = 'pcache() { echo "$*" > "$0/asked"; cat "$0/answer"; }\\n' + text + "env -0"
    done = subprocess.run(["sh", "-euc", program, sys.argv[2]], stdout=subprocess.PIPE, check=True, timeout=60)
    return dict(line.split("=", 1) for line in done.stdout.decode().split("\\0")[:-1])
def use(n, **given):
    names = [name for name in os.environ if name.startswith("PCACHE")]
    for name in names:
        del os.environ[name]
    os.environ.update({**shell(USE), **given})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = Cache().cached(f)(n)
        except Exception as error:
            return str(error)
    return value == [n] * len(value), [str(one.message) for one in caught]
def of_directory():
    return [item[1:] for item in doctor.diagnose() if item.check == "directory"]
"""

RECIPE = """
mask = int(sys.argv[5], 8)
become(FIRST, lambda: shell(MAKE), mask)
first = become(FIRST, lambda: use(3), mask)
second = become(SECOND, lambda: [use(3), use(4)], mask)
back = become(FIRST, lambda: [use(4), *of_directory()], mask)
say(json.dumps([first, second, back, calls()]))
"""


def in_words(place: Path) -> tuple[str, ...]:
    """The commands of the README for another folder, and a group without a name."""
    return tuple(text.replace("/srv/team", f"{place}/team").replace("chgrp team", "chgrp 4242") for text in (MAKE, USE))


def test_the_recipe(tmp_path: Path, commons: Path) -> None:
    """One member runs it; both share results then, and nothing is warned of."""
    (line,) = run(PEOPLE + SHELL + RECIPE, tmp_path / "warm", commons, *in_words(commons), "022")
    first, second, back, computed = json.loads(line)
    assert [first, *second, back[0]] == [[True, []]] * 4
    assert back[1:] == [["ok", f"{commons}/team/cache, shared by its group", ""]]
    assert computed == [[3, 5001], [4, 5002]]


REFUSED = """
become(FIRST, lambda: shell(MAKE))
def refused(key):
    return [use(5, PCACHE_SHARED="0", PCACHE_KEY_FILE=key), *of_directory()]
key = PLACE + "/key"
for user in (FIRST, SECOND):
    say(json.dumps([become(user, lambda: refused(key))[0], *become(user, lambda: refused(""))]))
os.chmod(PLACE + "/cache", 0o770)
say(json.dumps(become(FIRST, lambda: refused(""))))
"""


def test_without_the_switch(tmp_path: Path, commons: Path) -> None:
    """The messages, and the doctor, say how to share, and never only how to lock the others out."""
    program = PEOPLE + SHELL + REFUSED
    first, second, closed = map(json.loads, run(program, tmp_path / "warm", commons, *in_words(commons)))
    key, cache = f"the signing key {commons}/team/key", f"the cache directory {commons}/team/cache"
    share, alone = "set PCACHE_SHARED=1 (shared=True)", "for you alone run: chmod"
    ways = f"{share} if its group shares it, or {alone} 700 {commons}/team/cache"
    assert first == [
        f"{key} can be read or written by others (mode 640); {share} if it is the key of a directory that its group"
        f" shares, or {alone} 600 {commons}/team/key",
        f"{cache} can be written by its group (mode 2770); {ways}",
        ["problem", f"{cache} can be written by its group (mode 2770)", ways],
    ]
    ways = f"{share} if its group shares it, or choose one of your own"
    assert second == [
        f"{key} belongs to another user (uid 5001); {share} if it is the key of a directory that its group shares",
        f"{cache} belongs to another user (uid 5001); {ways}",
        ["problem", f"{cache} belongs to another user (uid 5001)", ways],
    ]
    ways = f"chmod 700 {commons}/team/cache, or {share} if its group shares it on purpose"
    text = f"{cache} can be written by its group (mode 770)"
    assert closed == [f"{text}; run: {ways}", ["problem", text, ways]]


CLOSED = """
become(FIRST, lambda: shell(MAKE))
os.chmod(PLACE + "/cache", 0o700)
become(FIRST, lambda: use(3))
(_, (said,)), (state, text, advice) = become(SECOND, lambda: [use(3), *of_directory()])
say(said), say(state), say(text), say(advice)
become(FIRST, lambda: shell(advice.partition(": ")[2] + "\\n"))
calls()
say(json.dumps(become(SECOND, lambda: [use(3), of_directory()[0][0], calls()])))
"""


def test_a_directory_that_was_private_before(tmp_path: Path, commons: Path) -> None:
    """Who is shut out is told what its owner has to run, and that lets them in."""
    results = run(PEOPLE + SHELL + CLOSED, tmp_path / "warm", commons, *in_words(commons))
    cache, lines = f"{commons}/team/cache", iter(results)
    assert "(Permission denied). Functions are computed" in next(lines)
    assert [next(lines), next(lines)] == ["problem", f"{cache}/CACHEDIR.TAG is closed to you"]
    command = f"chmod -R u=rwX,g=rwXs,o= {cache} && chgrp -R 4242 {cache}"
    assert next(lines) == f"ask its owner (uid 5001): {command}"
    assert json.loads(next(lines)) == [[True, []], "ok", []]
