"""Is an edit of real code ever missed? Edits of what functions of packages reach, each seen by a process of its own.

    python benchmarks/stale.py [--edits N] [--functions N] [--seed TEXT] PACKAGE[=FOLDER] ...

Each package is copied from where it is installed, or from FOLDER, which contains it, so that it counts as the user's
code. Edits are spread evenly over the packages: of constants, operators, defaults, returned values, and of what state
begins with. It prints those after which the function's id is the same, and exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from tests.support.package_edits import copied, hunt  # noqa: E402


def source_of(package: str, folder: str) -> Path:
    """Where a package or module lies."""
    if folder:
        path = Path(folder) / package
        return path if path.is_dir() else path.with_suffix(".py")
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.origin is not None, f"{package} has no file"
    return Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)


def main() -> int:
    """Hunt in each package, and say what was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="+")
    parser.add_argument("--edits", type=int, default=300)
    parser.add_argument("--functions", type=int, default=12, help="of each package, chosen at random")
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    missed = 0
    for i, wanted in enumerate(options.packages):
        package, _, folder = wanted.partition("=")
        share = options.edits * (i + 1) // len(options.packages) - options.edits * i // len(options.packages)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="pcache-stale-") as place:
            source = copied(package, source_of(package, folder), Path(place) / "copy")
            found = hunt(source, package, share, seed=options.seed, functions=options.functions)
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(found.seen.items()))
        took = time.perf_counter() - began
        print(f"{package:16s} {sum(found.seen.values())} seen ({kinds}), {len(found.missed)} missed, {took:.0f} s")
        for edit in found.missed:
            print(f"    {edit.function}: {edit.label}: {edit.title}", flush=True)
        missed += len(found.missed)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
