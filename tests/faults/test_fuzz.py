"""Arbitrary input wherever pcache reads: entries, settings, names, records, options. Only declared errors are raised.

Bytes are mutated both unsigned, as anyone could write them, and signed anew, since earlier checks hide the mistakes of
later ones. Memory is bounded by a limit of the process that reads.
"""

from __future__ import annotations

import functools
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcache import Cache, ConfigError, Miss, PcacheError
from pcache.cli import main
from pcache.config import settings as config
from pcache.entry.format import HEADER, HEADER_AT, META_AT, TABLE_ROW, Header, decode
from pcache.entry.inspector import inspect_file
from pcache.entry.reader import Address, read_value
from pcache.layout import TAG_FILE
from pcache.signing import seal
from pcache.storage import claim_owner as owners
from pcache.system.interrupts import try_call
from pcache.text import units
from pcache.versions import registry
from tests.faults.hunting import rounds
from tests.support.processes import FACTS, KEY, RING, ROOT, Block, entry_bytes

Evidence = Callable[[str, str, int, int], None]
EXAMPLES = settings(
    max_examples=rounds(60, 5000),
    deadline=None,
    derandomize=False,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
tried: Counter[str] = Counter()
broken: Counter[str] = Counter()


def noted(what: str) -> Callable[[Any], Any]:
    """Count the examples of a test, and those that failed, for the table."""

    def wrap(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def counted(*arguments: Any, **named: Any) -> None:
            tried[what] += 1
            try:
                test(*arguments, **named)
            except Exception:
                broken[what] += 1
                raise

        return counted

    return wrap


@pytest.fixture(autouse=True)
def _evidence_of_examples(evidence: Evidence) -> Iterator[None]:
    tried.clear()
    yield
    for what, count in tried.items():
        evidence("never in the way", what, count, broken[what])


VALUES = [7, "text " * 2000, {"a": [1, 2]}, [Block(b"0123456789" * 9), Block(b"z" * 9000)], os.urandom(70_000)]
ENTRIES = [entry_bytes(value, meta=b'{"function": "m:f"}') for value in VALUES]
NAMES = [rule.name for rule in config.RULES]
NUMBERS = (0, 1, 2, 63, 64, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**47, 2**48, 2**63 - 1, 2**63, 2**64 - 1)


def signed(data: bytes, header: Header) -> bytes:
    """An entry with a header of any content, but valid proof, check and tag."""
    packed = HEADER.pack(*header[:-2], b"", b"")[:-12]
    packed += blake3(packed, key=KEY).digest(8)
    packed += blake3(packed).digest(4)
    rest = data[META_AT:]
    head = (packed + rest)[: max(header.head_length - HEADER_AT, 0)]
    return data[:8] + blake3(head, key=KEY).digest() + packed + rest


def head_of(data: bytes) -> Header:
    return Header(*HEADER.unpack_from(data, HEADER_AT))


WIDTHS = {"kind": 8, "codec": 8, "flags": 16, "meta_length": 32, "n_buffers": 32}


def mutated_header(data: bytes, chance: random.Random) -> bytes:
    """Change some fields of the header slightly, or to the ends of their range."""
    header = head_of(data)
    fields = ("created_ns", "expires_ns", "cost_ns", "kind", "codec", "flags", *Header._fields[9:13])
    for name in chance.sample(fields, chance.choice((1, 1, 2))):
        number = chance.choice((getattr(header, name) + chance.randrange(-9, 10), chance.choice(NUMBERS)))
        bits = WIDTHS.get(name, 64)
        if name.endswith("_ns"):
            number = max(-(2**63), min(number, 2**63 - 1))
        header = header._replace(**{name: number if name.endswith("_ns") else number % 2**bits})
    return signed(data, header)


def mutated_table(data: bytes, chance: random.Random) -> bytes:
    """Change a row of the table, sometimes with a valid digest of what it points to."""
    header = head_of(data)
    if not header.n_buffers:
        return mutated_header(data, chance)
    at = header.head_length - TABLE_ROW.size * chance.randint(1, header.n_buffers)
    offset, length, raw_length, codec, in_segments, digest = TABLE_ROW.unpack_from(data, at)
    numbers = [offset, length, raw_length]
    which = chance.randrange(3)
    numbers[which] = chance.choice(((numbers[which] + chance.randrange(-70, 70)) % 2**64, chance.choice(NUMBERS)))
    if chance.random() < 0.5:
        digest = blake3(data[numbers[0] : numbers[0] + numbers[1]]).digest()
    row = TABLE_ROW.pack(*numbers, chance.choice((codec, 0, 1, 7)), chance.choice((in_segments, 0, 1, 2)), digest)
    return signed(data[:at] + row + data[at + TABLE_ROW.size :], header)


def mutated_parts(data: bytes, chance: random.Random) -> bytes:
    """Change bytes of meta and stream: of JSON, of zstd frames, of pickles."""
    header = head_of(data)
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = META_AT + chance.randrange(header.meta_length + header.stream_length)
        changed[at] = chance.choice((changed[at] ^ 1 << chance.randrange(8), 0, 255, chance.randrange(256)))
    return signed(bytes(changed), header)


def unsigned(data: bytes, chance: random.Random) -> bytes:
    """Change, cut, double or move bytes, as anyone could."""
    first, second = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return chance.choice(
        (
            data[:first] + chance.randbytes(second - first) + data[second:],
            data[:first] + data[second:],
            data[:second] + data[first:],
            data[:8] + chance.randbytes(second),
            data[second:] + data[:second],
        )
    )


MUTATIONS = (mutated_header, mutated_table, mutated_parts, unsigned)

# Reads files in a process that may allocate 500 MB more than it has, each within 20 s.
BOUNDED = """
import os, resource, signal, sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from backports import zstd
import pcache.entry.pickle_imports
from pcache import Miss
from pcache.entry import format as entry
from tests.faults.test_fuzz import read_all_ways
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (size + 500_000_000,) * 2)
for name in sorted(os.listdir(sys.argv[2])):
    signal.alarm(20)
    print(name, read_all_ways(os.path.join(sys.argv[2], name)), flush=True)
"""


def read_all_ways(path: str) -> str:
    """Read, inspect and decode one file; return the outcome in a word."""
    address = Address("", FACTS.key, FACTS.function_id, None)
    outcomes = []
    for read in (
        lambda: read_value(path, address, RING, FACTS.created_ns, "always"),
        lambda: inspect_file(path, RING, buffers=True),
        lambda: inspect_file(path, RING, buffers=True, stream=False),
        lambda: decode(Path(path).read_bytes(), RING),
    ):
        try:
            read()
            outcomes.append("read")
        except Miss as miss:
            outcomes.append(miss.reason)
    return "/".join(outcomes)


def test_entries_in_front_of_and_behind_the_tag(tmp_path: Path, evidence: Evidence) -> None:
    """Mutated entries, most of them signed anew, are read or missed without an error, in bounded time and memory."""
    chance, count = random.Random(), rounds(1200, 100_000)
    for number in range(count):
        data = MUTATIONS[number % 4](ENTRIES[number // 4 % len(ENTRIES)], chance)
        (tmp_path / f"{number:06d}").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BOUNDED, str(ROOT), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    lines = done.stdout.splitlines()
    outcomes = [line.split()[1] for line in lines]
    evidence("never in the way", "mutated entries, most of them signed anew", len(lines), int(done.returncode != 0))
    assert done.returncode == 0, (lines[-1:], done.stderr)
    assert len(lines) == count
    for ways in outcomes:
        read, looked, glanced, decoded = ways.split("/")
        assert looked == glanced == decoded, ways
        # A hit checks key and age too, but not the metadata.
        assert read in (looked, "read", "expired", "unloadable", "damaged"), ways
    assert {"read", "unloadable", "expired"} <= {ways.partition("/")[0] for ways in outcomes}


TEXTS = st.one_of(
    st.text(max_size=30),
    st.from_regex(r"\A[-+]?[0-9]{1,25}[._]?[0-9]{0,5}(e[0-9]{1,4})?[ _]{0,3}[a-zA-Z%]{0,4}\Z"),
    st.builds(
        lambda text, n: text * n, st.text("0123456789_ .ekKmGiBshd\u0663\u00b2-", max_size=8), st.integers(0, 5000)
    ),
    st.sampled_from(
        ["nan", "inf", "-inf", "1e400", "1e-400", "0x10", "1__0", "\u0663", "9" * 5000, "none", "~", "~\0"]
    ),
)
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    TEXTS,
    st.integers(),
    st.floats(),
    st.booleans(),
    st.binary(max_size=9),
    st.sampled_from([10**5000, -(10**5000), None, [], {}, object(), float("nan"), "\ud800", b"\xff\0"]),
    st.dates(),
    st.timedeltas(),
)


@EXAMPLES
@given(ANYTHING)
@noted("anything as a size or a duration")
def test_sizes_and_durations(value: Any) -> None:
    """A parser returns a number in its range or raises ConfigError, whatever it is given."""
    for parse in (units.parse_size, units.parse_duration):
        number, error = try_call(parse, value)
        assert 0 <= number < 2**64 if error is None else len(str(error)) < 400
        assert error is None or isinstance(error, ConfigError), error


@EXAMPLES
@given(st.sampled_from(NAMES), ANYTHING)
@noted("anything as the value of a setting")
def test_settings_by_argument(name: str, value: Any) -> None:
    """Any value of any setting resolves, or is a ConfigError that names it."""
    _, error = try_call(lambda: config.describe(config.resolve(**{name: value})))
    assert error is None or (isinstance(error, ConfigError) and error.setting == name), error


TOML_VALUES = st.one_of(
    TEXTS.map(json.dumps),
    st.sampled_from(["nan", "inf", "9" * 5000, "1979-05-27", "07:32:00", "[]", "{}", "[" * 2000, "1e400", "0xff", "'"]),
    st.integers().map(str),
)


@EXAMPLES
@given(
    st.lists(st.tuples(st.sampled_from([rule.name for rule in config.RULES] + ["dir", "x"]), TOML_VALUES)), st.data()
)
@noted("anything in project files and variables")
def test_settings_by_files_and_environment(tmp_path: Path, rows: list[tuple[str, str]], data: st.DataObject) -> None:
    """Any project or user file, and any variable, resolves or is a ConfigError that names its origin."""
    text = "\n".join(["[tool.pcache]", *(f"{name} = {value}" for name, value in rows)])
    if data.draw(st.booleans()):
        text += '\n[tool.pcache.functions."a:b"]\n' + "\n".join(f"{name} = {value}" for name, value in rows[:2])
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8", errors="replace")
    variable = data.draw(st.sampled_from([rule.variable for rule in config.RULES if rule.variable]))
    value = data.draw(TEXTS).replace("\0", "").encode("utf-8", "replace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        os.environb[os.fsencode(variable)] = value
        _, error = try_call(lambda: config.describe(config.resolve()))
        del os.environ[variable]
    assert error is None or isinstance(error, ConfigError), error
    assert error is None or error.origin.startswith(("pyproject.toml", "environment"))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just(10**400)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
VERSION = registry.describe("00" * 8, "m:f")._asdict()
ADOPTED = {"function_id": "00" * 8, "adopted": [{"function_id": "11" * 8, "added": {"n": "ab"}}]}


def with_changes(body: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """A record in which some members are changed or removed."""
    body = json.loads(json.dumps(body))
    for name in data.draw(st.lists(st.sampled_from([*body, "more"]), min_size=1, max_size=2)):
        body.pop(name, None)
        if data.draw(st.booleans()):
            body[name] = data.draw(JSON)
    return body


@EXAMPLES
@given(st.data())
@noted("signed registry files of any shape")
def test_registry_files_behind_their_tag(tmp_path: Path, data: st.DataObject) -> None:
    """Records of any shape, signed with our key as another release may sign them, are read or ignored."""
    path = Path(registry._path(str(tmp_path), "00" * 8, RING.signing_key))
    path.write_bytes(seal.to_json(b"function", with_changes(VERSION, data), RING))
    (tmp_path / f"{'00' * 8}.adopted").write_bytes(seal.to_json(b"adopted", with_changes(ADOPTED, data), RING))
    found = registry.read_all(str(tmp_path), RING)
    assert all(isinstance(version.name, str) and version.first_seen >= 0 for version in found.values())
    for adopted in registry.read_adopted(str(tmp_path), "00" * 8, RING):
        assert len(bytes.fromhex(adopted.function_id)) == 8
        assert all(isinstance(digest, str) for digest in adopted.added.values())


@EXAMPLES
@given(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=300), st.data()))
@noted("claims with any content")
def test_owner_records(tmp_path: Path, given_bytes: Any) -> None:
    """Any content of a claim is read as an owner, or as none."""
    if not isinstance(given_bytes, bytes):
        own = json.loads(owners.owner_record("m:f", RING).body + b"}")
        # Tagged: another release may write something else.
        body = json.dumps(with_changes(own, given_bytes)).encode()[:-1]
        given_bytes = owners.Record(body, RING.signing_key).sealed("x")
    (tmp_path / "x.claim").write_bytes(given_bytes)
    owner = owners.read_owner(str(tmp_path / "x"), RING)
    assert owner is None or owner.is_dead() in (True, False)
    owner = owners.owner_of(str(tmp_path / "x.claim"), RING)
    assert owner is None or owner.is_dead() in (True, False)


@EXAMPLES
@given(st.binary(max_size=200), st.sampled_from(["file", "folder", "link", "pipe"]))
@noted("anything in the place of CACHEDIR.TAG")
def test_the_tag_of_a_directory(tmp_path_factory: pytest.TempPathFactory, content: bytes, kind: str) -> None:
    """Whatever has the name of the tag, a cache is made and works, or is refused by a PcacheError."""
    root = tmp_path_factory.mktemp("root", numbered=True) / "cache"
    cache = Cache(root, signing_key=KEY)
    cache.cached(code="none")(abs)(-1)
    tag = root / TAG_FILE
    tag.unlink()
    makers: dict[str, Callable[[], object]] = {
        "file": lambda: tag.write_bytes(content),
        "folder": tag.mkdir,
        "link": lambda: tag.symlink_to(root / "nowhere"),
        "pipe": lambda: os.mkfifo(tag),
    }
    makers[kind]()
    again = Cache(root, signing_key=KEY)
    assert [again.cached(code="none")(abs)(n) for n in (-1, -2)] == [1, 2]
    try:
        again.clear()
    except PcacheError:
        assert len(list(again.flow.store.scan())) >= 1


@EXAMPLES
@given(st.data())
@noted("any text as an option of the command line")
def test_options_of_the_command_line(tmp_path: Path, data: st.DataObject) -> None:
    """Any text for a key, a time, a size or a name ends with exit code 0, 1 or 2 and a sentence."""
    cache = Cache(tmp_path / "cache")
    cache.cached(code="none")(abs)(-1)
    text = data.draw(TEXTS).replace("\0", "")  # a program's arguments cannot contain it
    words = data.draw(
        st.sampled_from(
            [
                ("show", text),
                ("stats", "--since", text),
                ("report", "-o", os.devnull, "--since", text),
                ("ls", text),
                ("ls", "--limit", text),
                ("evict", "-n", "--max-size", text),
                ("evict", "-n", "--max-age", text),
                ("clear", "-n", "--larger-than", text),
                ("clear", "-n", text),
                ("recompress", "-n", "--level", text),
                ("explain", text),
            ]
        )
    )
    found = CliRunner().invoke(main, ["-C", cache.location, *words])
    assert found.exception is None or isinstance(found.exception, SystemExit), (words, found.exception)
    assert found.exit_code in (0, 1, 2), words
    assert len(found.output) < 5000 + 10 * len(text)  # a message may repeat the text, but no more than that
