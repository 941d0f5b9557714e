"""The functions of real packages as if a user had written them: are their ids the same in every process?

    python benchmarks/real_code.py [--limit 40] [--installed] [--write] [PACKAGE[==VERSION][:IMPORT_NAME] ...]

Each package is downloaded and unpacked without its metadata, so that pcache takes its code for the user's and follows
it. The ids of its functions are taken in three processes: another hash seed, another working directory, modules
imported in reverse. An id that differs means that no result of that function is ever found again. `--installed` uses
the packages of this interpreter for what the code imports; else all that is needed is installed first. All goes into
build/real-code. `--write` writes the table into docs/keys.md. Exits with 1 when a function raises, or has another id in
each process and `BECAUSE` does not say why.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from defects_bench import CHECKOUT, environment, write_between_marks

PAGE = CHECKOUT / "docs" / "keys.md"
BEGIN, END = "<!-- real code: begin -->", "<!-- real code: end -->"
FOLDER = CHECKOUT / "build" / "real-code"
CHILD = Path(__file__).with_name("real_code_child.py")
TIMEOUT = 300.0
RUNS = (("1", "as they are", CHECKOUT), ("2", "as they are", Path("/")), ("1", "reversed", CHECKOUT))

PACKAGES = """
attrs==26.1.0:attr babel==2.19.0 beautifulsoup4==4.15.0:bs4 boltons==26.2.0 cattrs==26.2.1 click==8.5.1 dask==2026.8.0
docutils==0.23 fastapi==0.165.0 flask==3.1.3 fonttools==4.68.0:fontTools fsspec==2026.9.0 geopandas==1.2.0
httpx==0.28.1 hypothesis==6.170.17 ipython==9.18.1:IPython jedi==0.20.1 jinja2==3.1.6 joblib==1.6.0 jsonschema==4.26.0
lark==1.3.1 luigi==3.8.1 markdown-it-py==4.3.0:markdown_it marshmallow==4.4.0 mistune==3.4.0
more-itertools==11.2.1:more_itertools mpmath==1.4.1 narwhals==2.29.0 networkx==3.6.1 nibabel==5.4.2 nltk==3.10.4
packaging==26.4 parso==0.8.7 patsy==1.0.3 pint==0.25.3 plotly==7.1.0 pooch==1.9.0 prompt_toolkit==3.0.53
pydantic==2.14.4 pygments==2.21.0 pyparsing==3.3.3 python-dateutil==4.0.0:dateutil requests==2.34.2 rich==15.0.0
seaborn==0.13.2 shapely==2.2.0 sphinx==9.0.4 starlette==1.10.0 statsmodels==0.15.0 structlog==26.1.0 tenacity==9.2.1
textblob==0.20.1 toolz==1.2.0 tornado==6.6.1 traitlets==5.16.1 trio==0.35.0 typer==0.29.2 urllib3==2.8.0
werkzeug==3.1.9 wrapt==2.5.2 xarray==2026.9.0 zarr==3.1.6 altair==6.3.0 nilearn==0.14.1 black==26.10.1
SQLAlchemy==2.1.9:sqlalchemy mne==1.13.2 bokeh==3.9.2 anyio==4.16.0 referencing==0.37.0
""".split()

# Why functions are not the same in every process, by package.
BECAUSE = {
    "babel": "a regular expression made of a set, in the order of its hashes",
    "boltons": "a random number and the time of import",
    "fastapi": "a key with a random number",
    "fsspec": "the number of the process, taken at import",
    "hypothesis": "the time of import; objects that other modules fill in when they are imported",
    "jedi": "the time of import",
    "luigi": "a text made of a set, in the order of its hashes",
    "pooch": "a table in the order of a set, `hashlib.algorithms_available`",
    "pydantic": "a table in the order of a set",
    "sympy": "tables in the order of sets; symbols with a random number",
    "sqlalchemy": "addresses of objects, taken at import",
    "textblob": "a regular expression made of a set, in the order of its hashes",
    "trio": "a table that modules fill in when they are imported",
    "xarray": "locks with a random name",
    "zarr": "locks with a random name",
}


class Found(NamedTuple):
    """What came out for one package."""

    name: str
    version: str
    functions: int
    exceptions: list[str]
    unstable: list[str]
    milliseconds: list[float]
    parts: list[str]  # what differed in the unstable ones


def pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *words], check=True, stdout=sys.stderr)


def unpacked(requirement: str) -> tuple[Path, str]:
    """The folder with the code of a package, and its version."""
    folder = FOLDER / requirement
    if not (folder / "version").exists():
        with tempfile.TemporaryDirectory() as wheels:
            pip("download", "--no-deps", "--only-binary=:all:", "-d", wheels, requirement)
            (wheel,) = Path(wheels).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if ".dist-info/" not in name and ".data/" not in name]
                archive.extractall(folder, names)
            (folder / "version").write_text(wheel.name.split("-")[1])
    return folder, (folder / "version").read_text()


def installed(requirements: list[str]) -> Path:
    """A folder with all that packages import."""
    folder = FOLDER / "site-packages"  # what lies below such a name is no code of the user's
    if not folder.exists():
        pip("install", "--target", str(folder), *requirements)
    return folder


def observe(package: str, limit: int, needs: Path | None) -> Found | None:
    """Take the ids of a package's functions in three processes; None if one of these dies."""
    requirement, _, name = package.partition(":")
    name = name or requirement.partition("==")[0].replace("-", "_")
    folder, version = unpacked(requirement)
    runs: list[Any] = []
    with tempfile.TemporaryDirectory() as home:
        for seed, order, place in RUNS:
            env = environment(Path(home))
            env["PYTHONPATH"] = os.pathsep.join(map(str, filter(None, [folder, CHECKOUT, needs])))
            env |= {"REAL_CODE_PACKAGE": name, "REAL_CODE_LIMIT": str(limit), "REAL_CODE_ORDER": order}
            env |= {"REAL_CODE_OUT": f"{home}/{len(runs)}", "PYTHONHASHSEED": seed, "MPLBACKEND": "Agg"}
            try:
                done = subprocess.run(
                    [sys.executable, str(CHILD)], env=env, cwd=place, capture_output=True, text=True, timeout=TIMEOUT
                )
                runs.append(json.loads(Path(env["REAL_CODE_OUT"]).read_text()))
            except subprocess.TimeoutExpired:
                print(f"{name}: nothing after {TIMEOUT:.0f} s", file=sys.stderr)
                return None
            except FileNotFoundError:
                print(f"{name} did not run: {done.stderr[-500:]}", file=sys.stderr)
                return None
    return compared(name, version, runs)


def compared(name: str, version: str, runs: list[Any]) -> Found:
    """What three processes found, side by side."""
    (first, parts), *others = runs
    raised = [f"{function}: {error}" for function, (_, _, error) in first.items() if error]
    unstable = [
        function
        for function, (id_, _, _) in first.items()
        if any(function in other and other[function][0] != id_ for other, _ in others)
    ]
    differ = {label for _, other in others for label in parts.keys() & other.keys() if parts[label] != other[label]}
    times = sorted(milliseconds for _, milliseconds, _ in first.values()) or [0.0]
    return Found(name, version, len(first), raised, unstable, times, sorted(differ) if unstable else [])


def line(found: Found) -> str:
    """One row of the table."""
    why = BECAUSE.get(found.name, ", ".join(f"`{label}`" for label in found.parts[:3])) if found.unstable else ""
    numbers = (found.functions, len(found.exceptions), len(found.unstable))
    times = f"{statistics.median(found.milliseconds):.1f} | {found.milliseconds[-1]:.0f}"
    return f"| {found.name} | {found.version} | {' | '.join(map(str, numbers))} | {times} | {why} |"


def table(found: list[Found]) -> str:
    head = "| package | version | functions | exceptions | unstable | median ms | longest ms | what is unstable |"
    rows = sorted(map(line, found), key=str.lower)
    functions, unstable = sum(one.functions for one in found), sum(len(one.unstable) for one in found)
    raised = sum(len(one.exceptions) for one in found)
    total = f"{functions} functions of {len(found)} packages: {raised} exceptions, {unstable} unstable."
    return "\n".join([head, "|---|---|--:|--:|--:|--:|--:|---|", *rows, "", total])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--limit", type=int, default=40, help="functions of a package, at most")
    parser.add_argument("--installed", action="store_true", help="use the packages of this interpreter")
    parser.add_argument("--write", action="store_true", help="write the table into docs/keys.md")
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    options = parser.parse_args()
    needs = None if options.installed else installed([one.partition(":")[0] for one in options.packages])
    found, dead = [], 0
    for package in options.packages:
        one = observe(package, options.limit, needs)
        if one is None:
            dead += 1
            continue
        found.append(one)
        print(line(one), flush=True)
        for text in (*one.exceptions, *one.unstable, *one.parts):
            print(f"    {text}", file=sys.stderr)
    print(table(found).rpartition("\n")[2])
    if options.write:
        made = f"Made by `python benchmarks/real_code.py --limit {options.limit} --write`."
        write_between_marks(PAGE, (BEGIN, END), f"{made} CPython {platform.python_version()}.\n\n{table(found)}\n")
    unexplained = any(one.exceptions or (one.unstable and one.name not in BECAUSE) for one in found)
    sys.exit(bool(dead or unexplained))


if __name__ == "__main__":
    main()
