"""Recordings of real calls: which call, when, what it took, how large its pickled result is.

    python benchmarks/eviction_recordings.py            # read what is stored below benchmarks/recordings
    python benchmarks/eviction_recordings.py --record   # record anew: minutes, needs scikit-learn and rich

A call that comes again counts with the cost and size of its first time: the recorder keeps results, as a cache without
a limit would. What was recorded:

- history: the Python files of each commit of this repository, tokenised, parsed, compiled and their symbols listed, at
  the time of the commit: what a checker of code does that runs at every commit. Results hang on contents alone.
- survey: `examples/stdlib_survey.py` on the standard libraries of the Pythons that are installed, 3.10 to 3.13 in the
  recording that is stored. It runs twice on each, on the oldest and on the newest once more. Within a run times are
  those of the run; that runs begin a day apart is made up.
- search: fourteen rounds of a search with scikit-learn, over chains of transformers and models on the digits; each fit
  and each score is a call. Rounds come back to earlier grids. That they begin ten minutes apart is made up.
- documents: every call of a Python function with arguments that can be pickled while `pydoc` renders the pages of 80
  modules, seen by `sys.setprofile`; calls below a millisecond are left out. Costs include those of recording.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import importlib.util
import io
import itertools
import lzma
import marshal
import pickle
import subprocess
import symtable
import sys
import sysconfig
import time
import tokenize
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "recordings"
NAMES = ("history", "survey", "search", "documents")
SMALL_PICKLE = 20_000  # bytes; larger arguments are not looked at by the profiler


class Recorder:
    """Requests in their order, and each call's cost and size."""

    def __init__(self) -> None:
        self.requests: list[tuple[float, int]] = []
        self.calls: dict[object, int] = {}
        self.facts: list[tuple[float, int]] = []  # seconds, bytes
        self.results: dict[object, Any] = {}
        self.lead = 0.0
        self.began = time.perf_counter()

    def now(self) -> float:
        return self.lead + time.perf_counter() - self.began

    def note(self, call: object, at: float, cost: float, size: int) -> None:
        if call not in self.calls:
            self.calls[call] = len(self.facts)
            self.facts.append((cost, size))
        self.requests.append((at, self.calls[call]))

    def request(self, call: object, compute: Callable[[], Any], at: float | None = None) -> Any:
        """Make a call, or take the result of when it was made before."""
        if call not in self.results:
            started = time.perf_counter()
            result = compute()
            cost = time.perf_counter() - started
            self.results[call] = result
            self.note(call, self.now() if at is None else at, cost, size_of(result))
        else:
            self.note(call, self.now() if at is None else at, 0, 0)
        return self.results[call]

    def write(self, path: Path) -> None:
        with lzma.open(path, "wt", encoding="ascii", newline="") as file:
            out = csv.writer(file)
            out.writerow(("calls", len(self.facts)))
            out.writerows((f"{cost:.3g}", size) for cost, size in self.facts)
            out.writerows((f"{at:.3f}", call) for at, call in self.requests)


def read(name: str) -> tuple[list[float], list[int], list[float], list[int]]:
    """Return the times and calls of a recording's requests, and the costs and sizes of its calls."""
    with lzma.open(FOLDER / f"{name}.csv.xz", "rt", encoding="ascii", newline="") as file:
        rows = csv.reader(file)
        calls = int(next(rows)[1])
        facts = [next(rows) for _ in range(calls)]
        requests = list(rows)
    times, numbers = [float(at) for at, _ in requests], [int(call) for _, call in requests]
    return times, numbers, [float(cost) for cost, _ in facts], [int(size) for _, size in facts]


def size_of(result: Any) -> int:
    return len(pickle.dumps(result, 5))


def git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", CHECKOUT, *words], check=True, stdout=subprocess.PIPE).stdout


def record_history(recorder: Recorder) -> None:
    def tokens(source: bytes) -> Any:
        return [tuple(token) for token in tokenize.tokenize(io.BytesIO(source).readline)]

    def symbols(source: bytes) -> Any:
        def names(table: symtable.SymbolTable) -> Any:
            return table.get_name(), sorted(table.get_identifiers()), [names(child) for child in table.get_children()]

        return names(symtable.symtable(source.decode(), "", "exec"))

    stages: dict[str, Callable[[bytes], Any]] = {
        "tokens": tokens,
        "tree": ast.parse,
        "code": lambda source: marshal.dumps(compile(source, "", "exec")),
        "symbols": symbols,
    }
    for line in git("log", "--reverse", "--format=%ct %H").decode().splitlines():
        at, _, commit = line.partition(" ")
        began = time.perf_counter()
        for entry in git("ls-tree", "-r", commit).decode().splitlines():
            facts, _, path = entry.partition("\t")
            blob = facts.split()[2]
            if not path.endswith(".py"):
                continue
            source = None
            for stage, compute in stages.items():
                if (stage, blob) not in recorder.results and source is None:
                    source = git("cat-file", "blob", blob)
                when = float(at) + time.perf_counter() - began
                recorder.request((stage, blob), lambda compute=compute, source=source: compute(source), when)
    recorder.requests.sort()


def record_survey(recorder: Recorder) -> None:
    import pcache

    class Recorded:
        def __init__(self, function: Any) -> None:
            self.__wrapped__ = function

        def __call__(self, *args: Any) -> Any:
            call = (self.__wrapped__.__name__, digest(args))
            return recorder.request(call, lambda: self.__wrapped__(*args))

        def cache_info(self) -> Any:
            return pcache.CacheInfo(0, 0, None, 0)

    plain, pcache.cached = pcache.cached, Recorded  # type: ignore[assignment]
    survey = import_file(CHECKOUT / "examples/stdlib_survey.py")
    pcache.cached = plain
    here = Path(sysconfig.get_paths()["stdlib"])
    found = {path.name: path for path in here.parents[2].glob("*/lib/python3.1[0-9]")}
    roots = [path for _, path in sorted(found.items())] or [here]
    for number, root in enumerate([*itertools.chain(*zip(roots, roots, strict=True)), roots[0], roots[-1]]):
        survey.sysconfig.get_paths = lambda root=root: {"stdlib": str(root)}
        recorder.lead, recorder.began = number * 86400.0, time.perf_counter()
        survey.conduct(None, [])
        print(root, len(recorder.requests), file=sys.stderr)


def record_search(recorder: Recorder) -> None:
    from sklearn.datasets import load_digits
    from sklearn.decomposition import NMF, PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_selection import SelectKBest
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import KBinsDiscretizer, MinMaxScaler, PolynomialFeatures

    images, labels = load_digits(return_X_y=True)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(images, labels))

    def fitted(steps: tuple[Any, ...], fold: int) -> Any:
        """Fit and apply a chain of transformers; each prefix is a cached call of its own."""
        if not steps:
            return images[folds[fold][0]], images[folds[fold][1]]
        train, test = fitted(steps[:-1], fold)

        def compute() -> Any:
            step = eval(repr(steps[-1]), names).fit(train, labels[folds[fold][0]])
            return step.transform(train), step.transform(test)

        return recorder.request(("fit", repr(steps), fold), compute)

    def score(steps: tuple[Any, ...], model: Any, fold: int) -> Any:
        train, test = fitted(steps, fold)

        def compute() -> Any:
            learnt = eval(repr(model), names).fit(train, labels[folds[fold][0]])
            return learnt.score(test, labels[folds[fold][1]]), learnt

        return recorder.request(("score", repr(steps), repr(model), fold), compute)

    names = dict(locals())
    scaled = MinMaxScaler()
    chains: list[list[tuple[Any, ...]]] = [
        [(scaled, PCA(n, random_state=0)) for n in (4, 8, 16, 32)],
        [(scaled, PCA(n, random_state=0)) for n in (12, 16, 20, 24)]
        + [(scaled, NMF(n, max_iter=300, random_state=0, tol=1e-3)) for n in (8, 16)],
        [
            (scaled, KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"), SelectKBest(k=k))
            for k in (10, 20, 30)
        ],
        [(scaled, PCA(n, random_state=0), PolynomialFeatures(2)) for n in (12, 16, 20)],
    ]
    models: list[list[Any]] = [
        [KNeighborsClassifier(k) for k in (1, 3, 5)]
        + [RandomForestClassifier(50, max_depth=d, random_state=0) for d in (4, 8)],
        [RandomForestClassifier(n, random_state=0) for n in (50, 150)] + [KNeighborsClassifier(3)],
        [LogisticRegression(C=c, max_iter=300) for c in (0.1, 1.0, 10.0)]
        + [RandomForestClassifier(50, random_state=0)],
        [LogisticRegression(C=c, max_iter=300) for c in (0.1, 1.0)] + [KNeighborsClassifier(k) for k in (1, 3)],
    ]
    rounds = [
        (0, 0),
        (0, 1),
        (1, 1),
        (1, 0),
        (2, 2),
        (1, 2),
        (3, 3),
        (0, 0),
        (1, 1),
        (3, 2),
        (2, 3),
        (1, 3),
        (3, 3),
        (1, 1),
    ]
    for number, (chain, model) in enumerate(rounds):
        recorder.lead, recorder.began = number * 600.0, time.perf_counter()
        for steps, estimator in itertools.product(chains[chain], models[model]):
            for fold in range(len(folds)):
                score(steps, estimator, fold)
        print(number, len(recorder.requests), file=sys.stderr)


def record_documents(recorder: Recorder) -> None:
    """Profile `pydoc`; a call's arguments are pickled as it begins, its result as it ends."""
    import pydoc

    names = """abc argparse ast asyncio base64 bdb calendar cmd code codecs collections colorsys compileall configparser
        contextlib copy csv ctypes dataclasses datetime decimal difflib dis doctest email enum fileinput fnmatch
        fractions functools getopt gettext glob gzip hashlib heapq html http imaplib inspect io ipaddress json linecache
        locale logging mailbox mimetypes netrc numbers operator optparse os pathlib pdb pickle pprint queue random re
        shelve shlex statistics string subprocess tarfile tempfile textwrap threading timeit tokenize traceback types
        typing unittest urllib uuid warnings weakref zipfile""".split()
    stack: list[tuple[Any, float] | None] = []

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            code = frame.f_code
            try:
                inputs = [
                    frame.f_locals[name] for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
                ]
                pickled = pickle.dumps(inputs, 5)
            except Exception:
                stack.append(None)  # no cache could key it
                return
            call = (code.co_filename, code.co_qualname, digest(pickled)) if len(pickled) <= SMALL_PICKLE else None
            stack.append(call and (call, time.perf_counter()))
        elif event == "return" and stack:
            begun = stack.pop()
            if begun is not None:
                call, started = begun
                cost = time.perf_counter() - started
                try:
                    recorder.note(call, recorder.now(), cost, size_of(_))
                except Exception:
                    return

    modules = [importlib.import_module(name) for name in names]
    text = pydoc.plaintext
    for module in modules:
        sys.setprofile(watch)
        try:
            pydoc.render_doc(module, renderer=text)
        finally:
            sys.setprofile(None)
            stack.clear()
        print(module.__name__, len(recorder.requests), file=sys.stderr)
    keep_worthwhile(recorder)


def keep_worthwhile(recorder: Recorder, least: float = 1e-3) -> None:
    """Drop the calls that nobody would cache: those below a millisecond."""
    numbers = {old: new for new, old in enumerate(i for i, (cost, _) in enumerate(recorder.facts) if cost >= least)}
    recorder.requests = [(at, numbers[call]) for at, call in recorder.requests if call in numbers]
    recorder.facts = [recorder.facts[old] for old in numbers]


def digest(value: Any) -> str:
    raw = value if isinstance(value, bytes) else pickle.dumps(value, 5)
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def import_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


RECORDINGS: dict[str, Callable[[Recorder], None]] = {
    "history": record_history,
    "survey": record_survey,
    "search": record_search,
    "documents": record_documents,
}


def main(words: list[str]) -> None:
    sys.path.insert(0, str(CHECKOUT))
    names = [word for word in words if word in RECORDINGS] or list(RECORDINGS)
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        if "--record" in words:
            recorder = Recorder()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                RECORDINGS[name](recorder)
            recorder.write(FOLDER / f"{name}.csv.xz")
        times, calls, costs, sizes = read(name)
        total = sum(costs[call] for call in calls)
        print(f"{name}: {len(calls)} requests of {len(costs)} calls in {times[-1] - times[0]:.0f} s,", end=" ")
        print(f"{total:.0f} s if all are computed, {sum(costs):.0f} s if each once, {sum(sizes) / 2**20:.0f} MiB")


if __name__ == "__main__":
    main(sys.argv[1:])
