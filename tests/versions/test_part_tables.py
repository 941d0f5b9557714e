"""Tables of parts: versions of many parts take little, and nothing of theirs is lost or shown to anybody else."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcache import Cache
from pcache.signing import seal
from pcache.signing.keyring import Keyring, make_keyring
from pcache.versions import part_tables, registry
from pcache.versions.registry import FunctionVersion, describe, find, read_all, unused_tables, write
from tests.support.processes import KEY, OTHER_RING, RING, run

MANY = {
    f"{kind} package.module{n % 20}:Class{n}.method": (f"{n * 7919:016x}", shown.format(n))
    for n in range(1000)
    for kind, shown in (("function", "/a/package/module.py"), ("constant", "value {}"), ("class", ""))
}


def version(function_id: str, parts: dict[str, tuple[str, str]], name: str = "module:f") -> FunctionVersion:
    return describe(function_id * 16, name, parts=parts)


def edited(*names: int, gone: int = 0) -> dict[str, tuple[str, str]]:
    """The parts after some edits."""
    parts = dict(list(MANY.items())[gone:])
    return parts | dict.fromkeys([list(MANY)[name] for name in names], ("e" * 16, "edited"))


def digests(facts: FunctionVersion | None, ring: Keyring = RING) -> object:
    """What is shown of a version, and its digests."""
    assert facts is not None
    return facts.digests(ring.signing.hex(), ring), {label: shown for label, (_, shown) in facts.parts.items()}


def sizes(folder: Path, ending: str) -> list[int]:
    return sorted(path.stat().st_size for path in folder.glob(f"*.{ending}"))


def test_versions_share_a_table(tmp_path: Path) -> None:
    """Later versions, and other functions, say only how they differ; each is read back as it was."""
    stored = [
        version("0", MANY),
        version("1", edited(5, 2000)),
        version("2", edited(7, gone=40) | {"name x:y": ("1" * 16, "z")}),
    ]
    for facts in stored:
        write(str(tmp_path), facts, RING)
    assert len(sizes(tmp_path, "parts")) == 1
    assert sizes(tmp_path, "json")[-1] < 6000 < sizes(tmp_path, "parts")[0] < 80_000
    found = read_all(str(tmp_path), RING)
    assert [digests(found[facts.function_id]) for facts in stored] == [digests(facts) for facts in stored]
    assert list(found["0" * 16].parts) == list(MANY)  # in their order


def test_what_differs_in_much_has_a_table_of_its_own(tmp_path: Path) -> None:
    """Two programs do not share one; both are found again, whichever was first."""
    other = {label: (digest[::-1], shown) for label, (digest, shown) in MANY.items()}
    for name, parts in (
        ("0", MANY),
        ("1", other),
        ("2", edited(1)),
        ("3", other),
        ("4", dict(list(MANY.items())[:1000])),
    ):
        write(str(tmp_path), version(name, parts), RING)
        assert digests(find(str(tmp_path), name * 16, RING)) == digests(version(name, parts))
    assert len(sizes(tmp_path, "parts")) == 3


def test_few_parts_lie_in_one_file(tmp_path: Path) -> None:
    """Small functions write what they always wrote."""
    facts = version("0", dict(list(MANY.items())[:200]))
    write(str(tmp_path), facts, RING)
    (path,) = tmp_path.iterdir()
    assert '"table"' not in path.read_text()
    assert digests(find(str(tmp_path), "0" * 16, RING)) == digests(facts)


def test_more_than_a_file_may_hold(tmp_path: Path) -> None:
    """A version of 50,000 parts, which was unreadable: a list of them takes more than 4 MiB."""
    parts = {
        f"function package.module{n % 500}:Class{n}.method": (f"{n:016x}", f"/a/{n % 500}.py") for n in range(50_000)
    }
    write(str(tmp_path), version("0", parts), RING)
    assert digests(find(str(tmp_path), "0" * 16, RING)) == digests(version("0", parts))


@pytest.mark.parametrize("damage", ["gone", "short", "flipped", "empty", "exchanged", "linked"])
def test_a_lost_table(tmp_path: Path, damage: str) -> None:
    """Its versions count as lost, and are written again by the next process that stores a result."""
    write(str(tmp_path), version("0", MANY), RING)
    write(str(tmp_path), version("1", edited(3)), RING)
    (path,) = tmp_path.glob("*.parts")
    data = path.read_bytes()
    other = part_tables.store(str(tmp_path / "other"), {f"a{n}": ("f" * 16, "") for n in range(300)}, RING)
    (exchanged,) = (tmp_path / "other").iterdir()
    match damage:
        case "gone":
            path.unlink()
        case "linked":
            os.link(path, tmp_path / "second")
        case _:
            changed = {"short": data[:-1], "empty": b"", "exchanged": exchanged.read_bytes()}
            path.write_bytes(changed.get(damage, data[:300] + bytes([data[300] ^ 1]) + data[301:]))
    assert other.table
    assert read_all(str(tmp_path), RING) == {}
    for facts in version("0", MANY), version("1", edited(3)):
        write(str(tmp_path), facts, RING)
        assert digests(find(str(tmp_path), facts.function_id, RING)) == digests(facts)


@given(st.binary(max_size=40) | st.text("a\0b", max_size=9).map(str.encode), st.booleans())
def test_any_content_is_ignored(tmp_path_factory: pytest.TempPathFactory, body: bytes, packed: bool) -> None:
    """A table that we sealed and that holds something else gives nothing, and never raises."""
    folder = str(tmp_path_factory.getbasetemp())
    path = Path(part_tables.path_of(folder, "0" * 16, KEY))
    path.write_bytes(seal.block(b"parts", zlib.compress(body) if packed else body, RING))
    assert part_tables.Tables(folder, RING).find("0" * 16, RING.signing) is None


@pytest.mark.parametrize("table", [5, None, [], "", "x", "../" * 5 + "0", "f" * 16])
@pytest.mark.parametrize("without", [5, None, [[]], "x", {}])
def test_any_reference_is_ignored(tmp_path: Path, table: object, without: object) -> None:
    """A signed file of another shape is no error; one that names no table is whole."""
    record = version("0", {})._asdict() | {"table": table, "without": without}
    del record["signed_by"]
    Path(registry._path(str(tmp_path), "0" * 16, KEY)).write_bytes(seal.to_json(b"function", record, RING))
    assert list(read_all(str(tmp_path), RING)) in ([], ["0" * 16])
    assert unused_tables(str(tmp_path), RING) == []


def test_each_key_has_its_tables(tmp_path: Path) -> None:
    """In a shared directory nobody's version rests upon a table that others cannot read."""
    write(str(tmp_path), version("0", MANY), RING)
    write(str(tmp_path), version("1", MANY), OTHER_RING)
    assert len(sizes(tmp_path, "parts")) == 2
    for path in tmp_path.glob("*.parts"):  # as if nobody had written them just now
        os.utime(path, (0, 0))
    assert list(read_all(str(tmp_path), RING)) == ["0" * 16]
    assert list(read_all(str(tmp_path), OTHER_RING)) == ["1" * 16]
    both = make_keyring([bytes([1]) * 32, KEY])  # a new key, and the one before
    write(str(tmp_path), version("2", MANY), both)
    assert len(sizes(tmp_path, "parts")) == 3
    assert set(read_all(str(tmp_path), both)) == {"0" * 16, "2" * 16}
    assert [unused_tables(str(tmp_path), ring) for ring in (RING, OTHER_RING, both, None)] == [[]] * 4


def test_texts_with_zero_characters(tmp_path: Path) -> None:
    """What a table cannot hold lies in the version's own file."""
    parts = MANY | {
        "constant a\0b:c": ("1" * 16, "x"),
        "constant d": ("2" * 16, "\0"),
        "constant \udc80": ("3" * 16, "\ud800"),
    }
    for name in "01":
        write(str(tmp_path), version(name, parts), RING)
        assert digests(find(str(tmp_path), name * 16, RING)) == digests(version(name, parts))


def test_values_that_are_not_to_be_shown_any_more(tmp_path: Path) -> None:
    """They leave the table as well; that of another function which shows them stays."""
    facts = version("0", MANY)
    write(str(tmp_path), facts, RING)
    (before,) = tmp_path.glob("*.parts")
    write(str(tmp_path), facts, RING, summaries=False)
    (after,) = tmp_path.glob("*.parts")
    assert before != after
    found = find(str(tmp_path), "0" * 16, RING)
    assert found is not None
    assert {shown for label, (_, shown) in found.parts.items() if label.startswith("constant")} == {""}
    write(str(tmp_path), version("1", MANY), RING)
    write(str(tmp_path), version("2", edited(3)), RING)
    write(str(tmp_path), version("2", edited(3)), RING, summaries=False)
    assert len(sizes(tmp_path, "parts")) == 2
    assert digests(find(str(tmp_path), "1" * 16, RING)) == digests(version("1", MANY))


def test_unused_tables(tmp_path: Path) -> None:
    """A table goes with the sweep after the last version that names it, and not while its version may follow."""
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    folder = Path(cache.flow.directory.functions)
    cached = cache.cached(len)
    cached("abc")
    paths = [write(str(folder), version(name, parts), RING) for name, parts in (("0", MANY), ("1", edited(1)))]
    (table,) = folder.glob("*.parts")
    os.utime(table, (0, 0))
    os.unlink(paths[0])
    cache.verify(repair=True)
    assert table.exists()
    os.unlink(paths[1])
    assert unused_tables(str(folder), RING) == [str(table)]
    os.utime(table)
    cache.verify(repair=True)
    assert table.exists()
    os.utime(table, (0, 0))
    cache.verify(repair=True)
    assert not table.exists()
    write(str(folder), version("0", MANY), RING)
    cache.clear()
    assert list(folder.iterdir()) == []


PROGRAM = """
import types

def made(step):
    module = types.ModuleType("many")
    lines = [f"def f{n}(x): return x + {n if n != 5 or not step else 7}" for n in range(400)]
    calls = " + ".join(f"f{n}(x)" for n in range(400))
    exec(compile("\\n".join([*lines, f"def total(x): return {calls}"]), "/nowhere/many.py", "exec"), vars(module))
    sys.modules["many"] = module
    return module.total

for step in (0, 1):
    total = cache.cached(made(step))
    total(1)
say(*sorted(name.rpartition(".")[2] for name in os.listdir(cache.flow.directory.functions)))
say(*cache.versions()[0].differences)
say(*total.explain(2).lines())
plan = total.adopt(dry_run=True)
say(plan.entries, *plan.differences)
"""


def test_an_edit_of_a_function_of_many_parts(tmp_path: Path) -> None:
    """Listings, explanations and adoption say what they say of small functions."""
    kinds, versions, explained, adopted = run(PROGRAM, tmp_path)
    assert kinds == "json json parts"
    assert versions == "function many:f5 was edited (many.py)"
    assert "argument x: 1 -> 2" in explained
    assert versions in explained
    assert adopted == f"1 {versions}"
