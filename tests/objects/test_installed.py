"""Which version counts of an installed package, and what finding it out reads."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import DistributionFinder
from typing import TYPE_CHECKING

import pytest

from pcache import Cache
from pcache.objects.user_code import package_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution
    from pathlib import Path


class Site:
    """A folder of installed packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times = 0

    def install(self, name: str, version: str, *files: str, declared: str = "", listed: bool = True) -> None:
        """Write a distribution's files, and its metadata as an installer does."""
        for file in files:
            path = self.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"made = {version!r}")
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText.")
        lines = [f"{file},sha256=0,1" for file in [*files, f"{info.name}/METADATA"]]
        self.times += 1
        os.utime(self.folder, (self.times, self.times))  # two changes within a tick of the clock have one time
        (info / "RECORD").write_text("\n".join([*(lines if listed else ()), f"../../bin/{name},,", ""]))
        if declared:
            (info / "top_level.txt").write_text(declared)

    def upgrade(self, name: str, before: str, version: str, *files: str) -> None:
        info = self.folder / f"{name.replace('-', '_')}-{before}.dist-info"
        for path in info.iterdir():
            path.unlink()
        info.rmdir()
        self.install(name, version, *files)


class Counting(DistributionFinder):
    """Finds no distribution, and counts how often all of them are asked for."""

    scans = 0

    def find_distributions(
        self,
        context: DistributionFinder.Context = DistributionFinder.Context(),  # noqa: B008  # as in the base class
    ) -> Iterator[Distribution]:
        self.scans += context.name is None
        return iter(())

    def find_spec(self, *_: object) -> None:
        return None


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, counting])
    return counting


def test_what_is_not_installed_is_not_looked_for(cache: Cache, counting: Counting) -> None:
    """A function that tries an import which fails reads no distribution's metadata."""

    @cache.cached
    def total(x: int) -> int:
        try:
            import pctest_absent  # type: ignore[import-not-found]
        except ImportError:
            return x + 1
        return pctest_absent.total(x)  # type: ignore[no-any-return]

    assert (total(1), total(1)) == (2, 2)
    assert (package_of("pctest_absent"), counting.scans) == (("pctest_absent", ""), 0)


def test_one_scan_for_all(site: Site, counting: Counting) -> None:
    """Distributions are read once for all packages, whatever these are called, and again after an installation."""
    site.install("pctest-a", "1", "pctest_a/__init__.py")
    site.install("PCTestB", "2", "pctest_b/__init__.py", "pctest_b/inner.py")
    site.install("pctest.compiled", "3", "pctest_c.abi3.so")
    assert [package_of(name)[1] for name in ("pctest_a", "pctest_b.inner", "pctest_c", "pctest_b")] == [
        "1",
        "2",
        "3",
        "2",
    ]
    assert counting.scans == 1
    site.install("PCTestD", "4", "pctest_d.py")
    assert (package_of("pctest_d"), counting.scans) == (("pctest_d", "4"), 2)


@pytest.mark.parametrize("declared", ["", "pctest_e\n"])
def test_a_distribution_of_another_name(site: Site, declared: str) -> None:
    """As PyYAML, scikit-learn and pillow: before the package is loaded, and then."""
    site.install("Py-E", "1.0", "pctest_e/__init__.py", declared=declared)
    assert package_of("pctest_e") == ("pctest_e", "1.0")
    importlib.import_module("pctest_e")
    assert package_of("pctest_e") == ("pctest_e", "1.0")


def test_what_several_distributions_hold(site: Site) -> None:
    """A namespace package has the versions of all; so have packages that two distributions bring."""
    site.install("pctest-n-storage", "1.1", "pctest_n/storage/__init__.py")
    site.install("pctest-n-auth", "2.0", "pctest_n/auth/__init__.py")
    assert package_of("pctest_n.storage") == ("pctest_n", "pctest-n-auth 2.0, pctest-n-storage 1.1")
    site.upgrade("pctest-n-auth", "2.0", "2.1", "pctest_n/auth/__init__.py")
    assert package_of("pctest_n")[1] == "pctest-n-auth 2.1, pctest-n-storage 1.1"
    site.install("pctest-run", "1", "pctest_run/__init__.py")
    site.install("pctest-run-gpu", "2", "pctest_run/__init__.py")
    assert package_of("pctest_run")[1] == "pctest-run 1, pctest-run-gpu 2"


def test_an_editable_install(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its list of files has none of the package's: the distribution is found by its name."""
    (tmp_path / "source" / "pctest_edit" / "inner").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "source")
    site.install("pctest.edit", "0.1", "_pctest_edit.pth")
    assert package_of("pctest_edit") == ("pctest_edit", "0.1")


def test_without_metadata(site: Site) -> None:
    """A folder that was copied there counts by its file, alike before and after it is loaded."""
    path = site.folder / "pctest_vendored" / "__init__.py"
    path.parent.mkdir()
    path.write_text("made = 1")
    _, before = package_of("pctest_vendored")
    importlib.import_module("pctest_vendored")
    assert package_of("pctest_vendored") == ("pctest_vendored", before)
    other = site.folder / "pctest_other.py"
    other.write_text("made = 2")
    assert before not in ("", package_of("pctest_other")[1])


def test_broken_metadata(site: Site) -> None:
    """What one distribution broke does not hide another one."""
    site.install("pctest-broken", "1", "pctest_broken/__init__.py")
    (site.folder / "pctest_broken-1.dist-info" / "RECORD").write_bytes(b"\xff\xfe")
    (site.folder / "pctest_bare-1.dist-info").mkdir()
    site.install("pctest-f", "2", "pctest_f/__init__.py")
    assert [package_of(f"pctest_{name}")[1] for name in ("broken", "f", "bare")] == ["1", "2", ""]


def test_upgrades_while_running(site: Site) -> None:
    """What is not loaded has the version that is installed now, and what is loaded the one that was."""
    site.install("pctest-g", "1", "pctest_g/__init__.py")
    assert package_of("pctest_g")[1] == "1"
    site.upgrade("pctest-g", "1", "2", "pctest_g/__init__.py")
    assert package_of("pctest_g")[1] == "2"
    importlib.import_module("pctest_g")
    assert package_of("pctest_g")[1] == "2"
    site.upgrade("pctest-g", "2", "3", "pctest_g/__init__.py")
    assert package_of("pctest_g")[1] == "2"


def test_an_upgrade_around_an_import(site: Site) -> None:
    """Whether it was loaded before or after the upgrade is unknown, so it is neither version."""
    site.install("pctest-h", "1", "pctest_h/__init__.py")
    assert package_of("pctest_h")[1] == "1"
    importlib.import_module("pctest_h")
    site.upgrade("pctest-h", "1", "2", "pctest_h/__init__.py")
    assert [package_of("pctest_h")[1] for _ in range(2)] == ["1 or 2"] * 2


def test_installed_while_running(site: Site) -> None:
    """What was missing has its version once it is there."""
    assert package_of("pctest_late")[1] == ""
    site.install("pctest-late", "1", "pctest_late.py")
    assert package_of("pctest_late")[1] == "1"
    importlib.import_module("pctest_late")
    assert package_of("pctest_late")[1] == "1"
