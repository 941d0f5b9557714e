"""The signing key is never written anywhere, except to its own file.

Programs use a cache in every way: results and arguments that contain it, workers of every kind, failures, logs, every
command. Then every file below their folder is searched, with entries and compressed files unpacked.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcache.entry import format as entry
from pcache.errors import Miss
from pcache.signing.keyring import key_to_text, make_keyring, write_key_file
from tests.faults.hunting import rounds
from tests.support.processes import ROOT, entry_bytes

Evidence = Callable[[str, str, int, int], None]

# Run as a script and imported by workers. Each function whose name begins with a capital is a program.
SCRIPT = """
import base64, copy, functools, io, json, logging, multiprocessing, os, pickle, pprint, sys, traceback, warnings
import pcache
from pcache import Cache, cached
logging.basicConfig(filename="log." + str(os.getpid()), level=logging.DEBUG)
logging.captureWarnings(True)
def secret(): # in no variable, which programs may print themselves
    return {"signing_key": [os.environ["SECRET"]]} if "SECRET" in os.environ else {}
cache = Cache("cache", **secret())
plain = Cache("plain", **secret(), compression="none")
class Model:
    def __init__(self, memory=None):
        self.memory = memory
    @plain.cached
    def fit(self, n):
        return [self, n]
    def __repr__(self):
        return f"Model({self.memory!r})"
HELD = Model(cache)
TABLE = {"cache": cache, "nested": [(plain, Model(plain))]}
@plain.cached
def double(n=1):
    return 2 * n
@plain.cached
def give(value=None, *args, **kwargs):
    return value
@plain.cached
def uses_all(n):
    return [n, HELD, TABLE, double, cache, functools.partial(double, 3), plain.cached(double.__wrapped__)]
@plain.cached(strict=True)
def unpicklable():
    return [plain, plain.flow.keys.keyring, lambda: plain]
@plain.cached
def raising(memory):
    raise ValueError(f"{memory} {memory.flow.keys} {memory.flow.keys.keyring}", memory, memory.flow.keys.keyring)
def keep(value, name):
    with open(name, "wb") as file:
        file.write(value)
def Results():
    for n in range(3):
        double(n), give([n] * 10_000), give(b"x" * 300_000), uses_all(n)
    print(uses_all(1), give.explain([1]), double.explain(7))
def Caches_as_results():
    for value in (cache, plain, [cache], {"memory": plain}, double, give, Model(plain), Model(plain).fit, HELD,
                  plain.settings, plain.flow.keys, plain.flow.keys.path, ValueError(plain), functools.partial(give)):
        give(value), give(value), plain.cached(give.__wrapped__)(value)
    print(list(plain.entries()), plain.versions(), plain.stats())
def Methods():
    print(Model(cache).fit(1), Model(plain).fit(2), HELD.fit(3), HELD.fit.explain(4))
def Pipelines():
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    import numpy
    x = numpy.arange(40.0).reshape(20, 2)
    @plain.cached
    def fit(memory):
        return Pipeline([("s", StandardScaler()), ("m", LinearRegression())], memory=memory).fit(x, x.sum(1))
    print(fit(plain), fit(cache), fit.get(cache).memory)
def Closures():
    def make(memory):
        @plain.cached
        def inner(n):
            return [n, memory]
        return inner
    print(make(plain)(1), make(cache)(1), make(Model(cache))(1), make(plain).explain(2))
def Constants_edited():
    scope = {"cache": cache, "held": HELD, "plain": plain, "__name__": "edited"}
    for n in range(2):
        exec(f"def made(x):\\n    return [x, {n}, cache, held]", scope)
        print(plain.cached(scope["made"])(1), plain.cached(scope["made"]).explain(2))
def Unpicklable():
    for value in (plain.flow, plain.flow.keys.keyring, plain.flow.saving, open):
        give(value)
    unpicklable()
def Raising():
    try:
        raising(plain)
    except ValueError:
        logging.exception("of %s", plain)
        traceback.print_exc()
    raising(cache)
def Bad_keys():
    given = os.environ.get("SECRET", "x" * 44)
    for text in (given[:-1], given + "x", [given, "?"], given[::-1] + given):
        try:
            Cache("cache", signing_key=text)
        except pcache.PcacheError as error:
            print(repr(error), error.args, vars(error), str(error))
            logging.exception("refused")
def Reprs():
    for value in (cache, cache.flow, cache.flow.keys, cache.flow.keys.keyring, cache.flow.saving, cache.settings,
                  double, double._calls, cache.flow.keys.look(), cache.flow.keys.wanted(), HELD.fit):
        print(repr(value), str(value), f"{value}", "%s %r" % ((value,), [value]))
        pprint.pprint(getattr(value, "__dict__", value))
        logging.warning("%s %r", value, value)
def Warnings():
    made = Cache("in the way/cache", **secret()).cached(give.__wrapped__)
    with open("in the way", "w"):
        warnings.warn(f"{plain} {plain.flow.keys.keyring}")
        print(made(5), give(lambda: plain), give(io.StringIO()))
def Pickles():
    import cloudpickle, joblib
    values = [cache, plain, double, HELD.fit, plain.settings, plain.flow.keys, uses_all, [HELD, TABLE], lambda: plain,
              copy.deepcopy(plain), copy.copy(cache), copy.deepcopy(plain.flow.keys), pickle.loads(pickle.dumps(plain))]
    for number, value in enumerate(values):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for library in (pickle, cloudpickle):
                try:
                    keep(library.dumps(value, protocol), f"pickle.{library.__name__}.{number}.{protocol}")
                except Exception as error:
                    print(repr(error))
    joblib.dump(values[:8], "joblib"), joblib.dump(values[:8], "joblib.z", compress=3), print(joblib.hash(plain))
def Rings():
    import rich
    ring = plain.flow.keys.keyring
    print(ring._asdict(), ring.keys, ring.signing_key, f"{ring.signing_key}", "%s" % ring.signing_key, [*ring])
    rich.print(ring, vars(plain.flow.keys)), pprint.pprint(ring._asdict())
    for act in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        try:
            print(act(plain.flow.keys.keyring))
        except TypeError as error:
            print(repr(error))
def Upkeep():
    print(plain.verify(repair=True), plain.recompress(3), plain.stats(exact=True), list(plain.periods()))
    print(plain.evict(max_entries=50), plain.clear(double), list(plain.functions()), double.cache_info())
    print(double.cache_parameters(), double.put(1, 9), double.refresh(3), double.invalidate(3))
    plain.recompress("none")
def Metrics():
    import prometheus_client
    from pcache.integrations.prometheus import PrometheusCollector
    prometheus_client.REGISTRY.register(PrometheusCollector(plain))
    print(prometheus_client.generate_latest().decode())
def Adopting():
    for n in range(2):
        scope = {"__name__": "adopted", "cache": plain}
        exec(f"def kept(x):\\n    return [x, cache, {n}][:2]", scope)
        made = plain.cached(scope["kept"])
        made(n)
    print(made.adopt())
def Dumps():
    import faulthandler
    with open("stacks", "w") as file:
        faulthandler.dump_traceback(file)
def Killed():
    pid = os.fork()
    if pid == 0:
        @plain.cached
        def ends(memory):
            os.kill(os.getpid(), 9)
        ends(plain)
    os.waitpid(pid, 0)
def work(memory):
    found = [memory.cached(give.__wrapped__)([memory, n]) for n in range(2)]
    print(found, memory.flow.keys, memory.flow.keys.keyring, double(5), HELD.fit(7))
    return found
def Workers():
    from concurrent.futures import ProcessPoolExecutor
    for start in ("spawn", "fork", "forkserver"):
        with multiprocessing.get_context(start).Pool(1) as pool:
            print(pool.map(work, [plain, cache]))
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(start)) as pool:
            print(list(pool.map(double, [5, 6])), pool.submit(HELD.fit, 8).result())
def Joblib():
    from joblib import Parallel, delayed
    for backend in ("loky", "threading", "multiprocessing"):
        print(Parallel(2, backend=backend, temp_folder="joblib files")([delayed(work)(plain), delayed(double)(8)]))
def Commands():
    from click.testing import CliRunner
    from pcache.cli import main
    double(1), uses_all(1)
    commands = ["dir", "stats", "top --once", "report -o page.html", "doctor", "ls", "explain 'program:double(1)'",
                "explain 'program:double(2)'", "versions", "adopt program:double", "verify", "verify --repair",
                "config", "recompress --level 3", "key show-id", "completion bash", "evict --max-entries 30 -y",
                "--help"]
    for key in [item.key for item in plain.entries()][:2]:
        commands.append(f"show {key}")
    commands += ["key rotate --yes", "key show-id", "doctor", "key new", "clear --yes", "nonsense", "ls --nonsense"]
    for command in commands:
        for more in ("", " --json"):
            import shlex
            result = CliRunner().invoke(main, ["-C", "plain", *shlex.split(command + more)])
            print(command, result.exit_code, result.output, repr(result.exception))
if __name__ == "__main__":
    for name in sys.argv[1:]:
        try:
            globals()[name]()
        except Exception:
            traceback.print_exc()
"""
PROGRAMS = re.findall(r"^def ([A-Z]\w+)", SCRIPT, re.MULTILINE)
WAYS = ("argument", "environment", "file")  # ways of giving a key
KEPT = "home/.config/pcache/key"


def forms(key: bytes) -> tuple[bytes, ...]:
    """The forms in which a key may be written: raw, in base64, in digits, as Python and JSON write it."""
    text, safe = base64.b64encode(key).rstrip(b"="), base64.urlsafe_b64encode(key).rstrip(b"=")
    shown = repr(key).encode()[2:-1], json.dumps(key.decode("latin-1")).encode()[1:-1]
    return key, key[::-1], text, text.replace(b"/", rb"\/"), safe, key.hex().encode(), *shown


def unpacked(data: bytes, key: bytes) -> Iterator[bytes]:
    """The content of a file, and what is packed in it: in an entry, by zlib or gzip, also within base64."""
    yield data
    try:
        _, meta, stream, buffers = entry.decode(data, make_keyring([key]))
        yield from (repr(meta).encode(), bytes(stream), *map(bytes, buffers))
    except Miss:
        pass  # no entry
    texts = [base64.b64decode(run + b"===") for run in re.findall(rb"[A-Za-z0-9+/]{200,}", data)]
    for packed in (data, *texts):
        try:
            yield zlib.decompressobj(47).decompress(packed)
        except zlib.error:
            pass  # not packed


def found_below(folder: Path, key: bytes) -> tuple[int, list[str]]:
    """The number of files, and those that contain a key."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).as_posix() != KEPT]
    guilty = [
        path.relative_to(folder).as_posix()
        for path in files
        if any(form.lower() in text.lower() for text in unpacked(path.read_bytes(), key) for form in forms(key))
    ]
    return len(files), sorted(guilty)


def environment_of(folder: Path, where: str, key: bytes) -> dict[str, str]:
    """The environment of a program whose key is given in one of the ways."""
    text = key_to_text(key)
    if where == "file":
        write_key_file(str(folder / KEPT), [key])
    own = {"argument": {"SECRET": text}, "environment": {"PCACHE_KEY": text}, "file": {}}[where]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PCACHE_", "XDG_"))}
    return {**clean, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(ROOT), **own}


def test_the_search_finds(tmp_path: Path) -> None:
    """The control: a key is found raw, as text, as digits, and packed in an entry, in any surroundings."""
    key, folder = os.urandom(32), tmp_path / "folder"
    folder.mkdir()
    facts = entry.Facts(bytes(20), bytes(8), 0, entry.NEVER, 0)
    texts = [b"x" + key, b"a" + key_to_text(key).encode(), key.hex().upper().encode(), repr([key]).encode()]
    texts.append(base64.b64encode(zlib.compress(os.urandom(400) + key)))
    texts.append(entry_bytes([key] * 1000, facts, make_keyring([key]), setting="19"))
    for number, text in enumerate(texts):
        (folder / str(number)).write_bytes(text)
    (folder / "innocent").write_bytes(os.urandom(100))
    assert found_below(folder, key) == (7, [str(number) for number in range(6)])


def test_no_secret_in_any_byte(tmp_path: Path, evidence: Evidence) -> None:
    """After some thirty programs no file below their folder contains the key, except for its own."""
    for library in ("sklearn", "joblib", "cloudpickle", "prometheus_client", "plotly"):
        pytest.importorskip(library)
    count, guilty, failed = rounds(1, 30), [], []
    for number in range(count):
        key, folder = os.urandom(32), tmp_path / f"{number}"
        (folder / "tmp").mkdir(parents=True)
        (folder / "home").mkdir()
        (folder / "program.py").write_text(SCRIPT)
        surroundings = environment_of(folder, WAYS[number % len(WAYS)], key)
        with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as errors:
            command = [sys.executable, "program.py", *PROGRAMS]
            done = subprocess.run(command, env=surroundings, cwd=folder, stdout=out, stderr=errors, check=False)
        if done.returncode:
            failed.append((folder / "stderr").read_text()[-2000:])
        files, found = found_below(folder, key)
        assert files > 100
        guilty += found
    what = "the signing key sought in every byte that programs write"
    evidence("never executes what it did not write", what, count * len(PROGRAMS), len(guilty))
    assert (guilty, failed) == ([], [])
