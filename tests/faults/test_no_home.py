"""Users without a home, or with an invalid one: nothing from a planted cache is loaded, and all calls return.

Each form of home is tried with a cache directory from an archive, and one in a checkout, with a pickle for the very
call that is made, signed with a key that anyone can guess.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.hunting import rounds
from tests.faults.users import FIRST, PEOPLE, SECOND, needs_users
from tests.support.processes import run

pytestmark = needs_users
Evidence = Callable[[str, str, int, int], None]

# A victim, without an account, uses both caches in every way, in any order; prints what was wrong.
VICTIM = """
import glob, pickle, tempfile, tomllib
from click.testing import CliRunner
from pcache.entry import format as entry
from pcache.cli import main
from pcache.entry.compression import Part
from pcache.errors import SigningKeyError
from pcache.signing.keyring import Keyring
import tests.support.processes
from tests.support.processes import place_of
from tests.support.running import cache_of
class Evil:
    def __reduce__(self):
        return os.mkdir, (PLACE + "/victim/pwned",)
def double(n):
    return 2 * n
GUESSED = [Keyring(bytes(8), {bytes(8): bytes(32)}), tests.support.processes.OTHER_RING]
COMMANDS = ["ls", "stats", "verify", "doctor", "config", "dir", "show 0", "key show-id", "ls --json", "doctor --json",
            "stats --json", "config --json", "verify --json", "evict -y --max-entries 5", "report -o /dev/null"]
UPKEEP = ("explain", "stats", "entries", "versions", "verify", "recompress")
def plant(cached, ring):
    address, path = cached._calls.of((3,), {}).address, place_of(cached, 3)
    facts = entry.Facts(address.key, address.function_id, 10**18, entry.NEVER, 10**9, 0)
    raw = pickle.dumps(Evil(), 5)
    os.makedirs(os.path.dirname(path), 0o700)
    with open(cached._flow.directory.location + "/CACHEDIR.TAG", "w") as file:
        file.write("Signature: 8a477f597d28d172789f06886806bc55\\n# stored function results of pcache\\n")
    with open(path, "wb") as file:
        file.write(b"".join(map(bytes, entry.encode(facts, b"{}", Part(raw, len(raw), 0), [], ring))))
def files():
    return {name for name in glob.glob(PLACE + "/victim/**", recursive=True, include_hidden=True)
            if "/v1/ledger" not in name and "/v1/locks" not in name}
def operations(cached, other, chance):
    "Calls, of which none may raise; then what people ask for, which may refuse in a sentence that says what to do."
    yield "call", lambda: cached(3) == 6
    yield "again", lambda: cached(3) == 6
    yield "refresh", lambda: cached.refresh(4) == 8
    yield "exists", lambda: isinstance(cached.exists(3), bool)
    yield "put", lambda: cached.put(5, 5) == STORED
    yield "elsewhere", lambda: other(3) == 6
    yield "explain", lambda: str(cached.explain(3)) != ""
    yield "stats", lambda: cache_of(cached).stats() is not None
    yield "entries", lambda: list(cache_of(cached).entries()) is not None
    yield "versions", lambda: cache_of(cached).versions() is not None
    yield "verify", lambda: cache_of(cached).verify() is not None
    yield "pickle", lambda: pickle.loads(pickle.dumps(cache_of(cached))).cached(double)(3) == 6
    yield "recompress", lambda: cache_of(cached).recompress("none") is not None
    for command in chance.sample(COMMANDS, 3):
        yield command, lambda command=command: fine(CliRunner().invoke(main, command.split()))
    yield "doctor knows", lambda: STORED or doctor_knows(CliRunner().invoke(main, ["doctor"]))
    yield "last", lambda: cached(3) == 6
def fine(result):
    return result.exception is None or isinstance(result.exception, SystemExit)
def doctor_knows(result):
    return result.exit_code == 1 and ways(" ".join(result.output.split()))
def ways(text):
    return all(way in text for way in ("PCACHE_KEY ", "PCACHE_KEY_FILE", "HOME"))
def work(form, stored, links, seed):
    global STORED
    STORED, chance, wrong, said = stored, random.Random(seed), [], []
    warnings.showwarning = lambda message, *_, **__: said.append(str(message))
    warnings.simplefilter("always")
    os.environ.pop("XDG_CONFIG_HOME"), os.environ.pop("XDG_CACHE_HOME"), os.environ.pop("HOME")
    os.environ.update({name: value for name, value in form.items() if value is not None})
    if not links:
        os.link = no_links
    victim = PLACE + "/victim"
    os.chdir(victim + "/checkout")
    caches = [Cache(victim + "/archive"), Cache()]
    other = Cache(victim + "/other").cached(double)
    for cache in caches:
        plant(cache.cached(double), chance.choice(GUESSED))
    before = files()
    for cache in caches:
        os.environ["PCACHE_DIR"] = cache.location
        some = list(operations(cache.cached(double), other, chance))
        some[1:-1] = chance.sample(some[1:-1], len(some) - 2)
        for name, act in some:
            try:
                if not act():
                    wrong.append(f"{name} in {cache.location}")
            except Exception as error:
                if name in UPKEEP and isinstance(error, SigningKeyError) and ways(str(error)):
                    continue
                wrong.append(f"{name} in {cache.location}: {type(error).__name__}: {error}")
    if not stored and files() != before:
        wrong.append(f"written: {files() - before}")
    if stored and not cache.cached(double).exists(3):
        wrong.append("not stored")
    if os.path.exists(victim + "/pwned"):
        wrong.append("executed")
    foreign = [text for text in said if "was signed with the key" in text]  # what was planted, once for each cache
    others = [text for text in said if text not in foreign]
    if stored != (not others) or len(others) > 1 or (others and not ways(others[0])) or len(foreign) > len(caches):
        wrong.append(f"said: {said}")
    return wrong
def no_links(*_):
    raise PermissionError(1, "Operation not permitted")
def all_commands():
    for command in COMMANDS:
        CliRunner().invoke(main, ["-C", sys.argv[1], *command.split()])
cache.cached(f)(1), all_commands(), cache.cached(f).explain(1), pickle.loads(pickle.dumps(cache))
found = {}
for PLACE, *form in json.loads(sys.argv[3]):
    found[PLACE] = become(FIRST, lambda: work(*form), groups=())
pickle.loads(pickle.dumps(Evil()))  # the control
found["control"] = not os.path.isdir(PLACE + "/victim/pwned")
say(json.dumps({place: wrong for place, wrong in found.items() if wrong}))
"""


@pytest.fixture
def apart() -> Iterator[Path]:
    """A folder below which and above which only root may write: a private place."""
    for place in ("/srv", "/opt", "/var/lib"):
        if all(parent.is_dir() and not parent.stat().st_mode & 0o022 for parent in (Path(place), Path("/"))):
            folder = Path(tempfile.mkdtemp(prefix="pcache-test-", dir=place))
            folder.chmod(0o755)
            yield folder
            shutil.rmtree(folder)
            return
    pytest.skip("no place that only root can write to")


def a_home(folder: Path, mode: int = 0o700, owner: int = FIRST) -> Path:
    home = folder / "home"
    home.mkdir()
    os.chown(home, owner, owner)
    home.chmod(mode)
    return home


def roots_config(folder: Path, mode: int) -> str:
    home = a_home(folder)
    (home / ".config").mkdir(mode=mode)
    return str(home)


def mounted(folder: Path, stack: ExitStack, *options: str) -> str:
    home = a_home(folder)
    for command in (["mount", *options, str(home)], ["mount", "-o", "remount,bind,ro", str(home)])[: len(options)]:
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("only root can mount, where that is permitted")
        if command[1] != "-o":
            stack.callback(subprocess.run, ["umount", "-l", str(home)], check=True)
    return str(home)


def read_only(folder: Path, stack: ExitStack) -> str:
    (folder / "source").mkdir()
    os.chown(folder / "source", FIRST, FIRST)
    return mounted(folder, stack, "--bind", str(folder / "source"))


def full(folder: Path, stack: ExitStack) -> str:
    home = a_home(folder)
    options = f"size=64k,nr_inodes=2,uid={FIRST},gid={FIRST},mode=0700"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home)], check=False).returncode:
        pytest.skip("only root can mount, where that is permitted")
    stack.callback(subprocess.run, ["umount", "-l", str(home)], check=True)
    (home / "last").touch()
    return str(home)


def with_key(folder: Path, make: Callable[[Path], object], owner: int = FIRST) -> str:
    home = a_home(folder)
    (home / ".config" / "pcache").mkdir(parents=True)
    make(home / ".config" / "pcache" / "key")
    for path in (home / ".config", home / ".config" / "pcache", home / ".config" / "pcache" / "key"):
        os.chown(path, FIRST if path.name != "key" else owner, -1, follow_symlinks=False)
    return str(home)


def guessed(path: Path, mode: int) -> None:
    path.write_text("A" * 43 + "=\n")  # 32 zero bytes, with which an entry is signed
    path.chmod(mode)


Form = Callable[[Path, ExitStack], dict[str, str | None]]
FORMS: dict[str, Form] = {
    "that does not exist": lambda folder, _: {"HOME": "/nonexistent"},
    "unset, without an account": lambda folder, _: {"HOME": None},
    "empty": lambda folder, _: {"HOME": ""},
    "relative": lambda folder, _: {"HOME": "here"},
    "a device": lambda folder, _: {"HOME": "/dev/null"},
    "a file": lambda folder, _: {"HOME": "/etc/passwd"},
    "of root": lambda folder, _: {"HOME": str(a_home(folder, 0o700, 0))},
    "of root, to look at": lambda folder, _: {"HOME": str(a_home(folder, 0o755, 0))},
    "without rights": lambda folder, _: {"HOME": str(a_home(folder, 0o500))},
    "on a read-only disk": lambda folder, stack: {"HOME": read_only(folder, stack)},
    "on a full disk": lambda folder, stack: {"HOME": full(folder, stack)},
    "with root's ~/.config": lambda folder, _: {"HOME": roots_config(folder, 0o755)},
    "with root's ~/.config, closed": lambda folder, _: {"HOME": roots_config(folder, 0o700)},
    "with relative XDG": lambda folder, _: {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "here", "XDG_CACHE_HOME": ".."},
    "with XDG of root": lambda folder, _: {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/etc"},
    "with a link to nothing": lambda folder, _: {"HOME": with_key(folder, lambda key: key.symlink_to("nothing"))},
    "with a folder as key": lambda folder, _: {"HOME": with_key(folder, lambda key: key.mkdir(mode=0o700))},
    "with another user's key": lambda folder, _: {"HOME": with_key(folder, lambda key: guessed(key, 0o600), SECOND)},
    "with another user's open key": lambda folder, _: {
        "HOME": with_key(folder, lambda key: guessed(key, 0o644), SECOND)
    },
    "without second names": lambda folder, _: {"HOME": str(a_home(folder))},
    "that is one": lambda folder, _: {"HOME": str(a_home(folder))},
}
NO_LINKS = "without second names"
KEPT = (NO_LINKS, "that is one")  # where a key can be made


def victim(folder: Path) -> None:
    """The files of a user who unpacked an archive and made a checkout."""
    folder.mkdir()
    (folder / "checkout").mkdir()
    (folder / "checkout" / "pyproject.toml").write_text('[tool.pcache]\ndir = ".cache/pcache"\n')
    for path in (folder, folder / "checkout", folder / "checkout" / "pyproject.toml"):
        os.chown(path, FIRST, FIRST)


def test_homes_that_are_none(tmp_path: Path, apart: Path, evidence: Evidence) -> None:
    """Nothing planted runs, nothing is written, nothing raises; one warning and `doctor` name the solutions."""
    count, found = rounds(1, 20), {}
    for number in range(count):
        with ExitStack() as stack:
            forms = []
            for name, make in FORMS.items():
                folder = apart / f"{number} {name.replace('/', ' ')}"
                folder.mkdir()
                victim(folder / "victim")
                form = make(folder, stack)
                forms.append((str(folder), form, name in KEPT, name != NO_LINKS, random.randrange(10**9)))
            (apart / "log").touch()
            (line,) = run(PEOPLE + VICTIM, tmp_path / f"{number}", apart, json.dumps(forms))
        found |= json.loads(line)
    what = f"{len(FORMS)} forms of a home, with planted caches in an archive and in a checkout"
    evidence("never executes what it did not write", what, count * len(FORMS), len(found))
    assert found == {}
