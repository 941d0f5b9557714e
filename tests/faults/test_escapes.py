"""Whatever a name contains, it has no effect on a terminal, a page, a log or a metric."""

from __future__ import annotations

import json
import logging
import os
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from click.testing import CliRunner

from pcache import Cache, DirectoryError, StoreWarning, report
from pcache.cli import main as command_line
from pcache.eviction import usage
from pcache.signing import seal
from pcache.storage import claim_owner as owners
from pcache.system.notices import log, warn_once
from pcache.versions import registry
from tests.cli.test_terminal import CODES, on_terminal
from tests.faults.attacks_program import COMMANDS
from tests.faults.hunting import rounds
from tests.support.processes import KEY, RING, address_of, append_lines, place_of

Evidence = Callable[[str, str, int, int], None]
HOSTILE = {
    "a title": "\x1b]0;owned\x07",
    "a cleared screen": "\x1b[2J\x1b[H",
    "a link": "\x1b]8;;http://127.0.0.1:9/\x1b\\here\x1b]8;;\x1b\\",
    "an 8-bit control": "\x9b2J\x9d0;owned\x9c",
    "new lines": "\r\nINJECTED line\n\x85\u2028",
    "a backspace": "\b\b\b\x7f",
    "right to left": "\u202e\u2066\u200f",
    "nothing at all": "\u200b\ufeff\u00ad\0",
    "markup": "[red][link=http://127.0.0.1:9/]x[/link][/]",
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>\"'>{{7*7}}</style>",
    "half a character": "\ud800\udfff",
    "Prometheus": 'x"} 1\n# HELP evil\nevil{a="\\',
}
NEVER = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def odd(n: object, **more: object) -> object:
    return n


def hostile_cache(folder: Path, text: str) -> tuple[Cache, Any]:
    """A cache in which everything with a name has this one: signed by us, or written by anyone."""
    odd.__qualname__ = "odd" + text.replace("\0", "")
    cache = Cache(folder / "cache", signing_key=KEY)
    cached = cache.cached(odd)
    cached(text, **{text: text})
    cache.flow.ledger.flush()
    shown = registry.describe(
        "a" * 16, f"m{text}:f{text}", module=text, file=f"/{text}.py", parts={"version": ("0" * 16, text)}
    )
    registry.write(cache.flow.directory.functions, shown, RING)
    name = text.encode("utf-8", "replace").decode().replace("\n", "").replace("\t", "")
    append_lines(cache, f"{int(time.time()) // 3600} {name}\thits 3\tmisses.{name} 2\terrors.{name} 1")
    owner = json.loads(owners.owner_record(text, RING).body + b"}")
    body = json.dumps({**owner, "host": text + owner["host"]}).encode()[:-1]
    path = place_of(cached, 5)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    Path(path + ".claim").write_bytes(owners.Record(body, RING.signing_key).sealed(path))
    return cache, cached


def output_of(cache: Cache, command: str) -> str:
    result = CliRunner().invoke(command_line, ["-C", cache.location, *command.split()])
    assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)
    return result.output


@pytest.mark.parametrize("kind", HOSTILE)
def test_commands_print_nothing_raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """All commands, in a pipe: no control or direction characters, no second line; markup and escapes are text."""
    monkeypatch.setenv("PCACHE_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    cache, _ = hostile_cache(tmp_path, HOSTILE[kind])
    keys = [item.key for item in cache.flow.store.scan()]
    commands = [command for command in COMMANDS if not command.startswith("report")]
    for command in [*commands, *(f"show {key}" for key in keys)]:
        output = output_of(cache, command)
        assert NEVER.search(output) is None, (command, output)
        assert "\nINJECTED" not in output


@pytest.mark.parametrize("kind", list(HOSTILE)[:: rounds(4, 1)])
def test_a_terminal_gets_nothing_raw(tmp_path: Path, kind: str) -> None:
    """On a terminal, which supports styles: only our own are printed."""
    cache, _ = hostile_cache(tmp_path, HOSTILE[kind])
    for command in ("ls", "stats", "top --once", "clear -n", "verify"):
        words = ["-m", "pcache", "-C", cache.location, *command.split()]
        _, output = on_terminal(words, PCACHE_KEY="AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        assert NEVER.search(CODES.sub("", output).replace("\r\n", "\n")) is None, (command, output)


@pytest.mark.parametrize("kind", HOSTILE)
def test_objects_say_nothing_raw(tmp_path: Path, kind: str, recwarn: pytest.WarningsRecorder) -> None:
    """Printed explanations, warnings and log lines have no effect either."""
    text = HOSTILE[kind]
    cache, cached = hostile_cache(tmp_path, text)
    said = [cached.explain(n).detail + cached.explain(n).arguments for n in (5, 6, text)]
    said += [item.function + item.host for item in cache.stats().in_flight]
    said += [item.name for item in cache.stats().functions if not item.entries]
    said += [nearby.arguments for nearby in cached.explain(7, **{text: 1}).nearest]
    assert not any(map(NEVER.search, said)), said
    assert len(said) >= 5
    warn_once(("test", text), f"warned of {text}", StoreWarning)
    assert not any(NEVER.search(str(warning.message)) for warning in recwarn)


def test_log_lines_are_lines(caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in a log line cannot begin a new line, and neither can a folder whose settings are ignored."""
    with caplog.at_level(logging.DEBUG, "pcache"):
        for text in HOSTILE.values():
            log("of %s", text)
        folder = tmp_path / "new\nINJECTED\x1b[2J"
        folder.mkdir()
        (folder / "pyproject.toml").write_text("[tool.pcache]\n")
        (folder / "pyproject.toml").chmod(0o666)
        monkeypatch.chdir(folder)
        Cache(tmp_path / "cache")
    assert len(caplog.messages) > len(HOSTILE)
    assert not any(NEVER.search(line) or "\n" in line for line in caplog.messages)


@pytest.mark.parametrize("kind", HOSTILE)
def test_metrics_are_well_formed(tmp_path: Path, kind: str) -> None:
    """A scrape with hostile names can be parsed, and each label is read back unchanged."""
    exposition = pytest.importorskip("prometheus_client.exposition")
    from prometheus_client import CollectorRegistry
    from prometheus_client.parser import text_string_to_metric_families

    from pcache.integrations.prometheus import PrometheusCollector

    cache, _ = hostile_cache(tmp_path, HOSTILE[kind])
    collectors = CollectorRegistry()
    collectors.register(PrometheusCollector(cache))
    families = list(text_string_to_metric_families(exposition.generate_latest(collectors).decode()))
    assert {family.name.partition("_")[0] for family in families} == {"pcache"}


def test_the_page_holds_no_markup_of_names(tmp_path: Path) -> None:
    """The HTML report: names are text, in tables, in charts and in the data that scripts read."""
    cache, _ = hostile_cache(tmp_path, "".join(HOSTILE.values()))
    page = report.make(cache, 0.0)
    for never in ("<script>alert", "<img src=x", "\u202e", "\x1b", "</style>\"'", "49</style>"):
        assert never not in page, never
    assert "alert(1)" in page  # the name is shown as text


def test_a_file_name_in_an_error(tmp_path: Path) -> None:
    """A file's name in the error of a refused directory is escaped."""
    (tmp_path / "here").mkdir(mode=0o700)
    (tmp_path / "here" / "a\x1b[2J\n").touch()
    with pytest.raises(DirectoryError) as caught:
        Cache(tmp_path / "here")
    assert NEVER.search(str(caught.value)) is None


# Impossible numbers, with a valid checksum


HUGE = (10**18, 10**30, 10**62, -1, -(10**18), 1 << 63)


def test_no_number_stops_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Evidence) -> None:
    """Counters, times and sizes beyond all limits only spoil statistics; calls and commands work."""
    monkeypatch.setenv("PCACHE_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    failures = []
    for number in HUGE:
        cache = Cache(tmp_path / f"cache{number}", signing_key=KEY)
        cached = cache.cached(double)
        cached(1)
        cache.flow.ledger.flush()
        folder = Path(cache.location) / "v1" / "ledger"
        append_lines(cache, f"{number} f\thits 1")
        append_lines(cache, f"{int(time.time()) // 3600} f\thits {number}\tsaved_ns {number}\tmisses.x {number}")
        heading = f"{number}\tcounters.0123456789abcdef\t\n"
        (folder / "totals").write_bytes(seal.block(b"totals", heading.encode(), RING))
        when = max(min(number, (1 << 63) - 1), -(1 << 63))
        address = address_of(cached, 2)
        record = struct.pack("<8s20sqB3x", address.function_id, address.key, when, 255)
        (folder / "removed").write_bytes(seal.block(b"removed", record, RING))
        rows = struct.pack("<512q", *[when] * 512)
        body = usage._MAGIC + rows
        (folder / "occupancy").write_bytes(body + struct.pack("<I", crc32(body)))
        path = Path(place_of(cached, 1))
        os.utime(path, ns=(0, max(min(number, 1 << 62), 0)))
        other = Cache(cache.location, signing_key=KEY, max_entries=4096, max_size="1 MiB")
        failures += [f"{number}: {n}" for n in range(4) if other.cached(double)(n) != 2 * n]
        other.cached(double).explain(2)
        for command in COMMANDS:
            result = CliRunner().invoke(command_line, ["-C", cache.location, *command.split()])
            if not (result.exception is None or isinstance(result.exception, SystemExit)):
                failures.append(f"{number}: {command}: {result.exception!r}")
    evidence("never in the way", "counters, times and rooms that cannot be", len(HUGE), len(failures))
    assert failures == []


def double(n: int) -> int:
    return 2 * n
