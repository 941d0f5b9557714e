"""What stands in the files of a cache: no value whose name says secret, and no digest that can be tried out."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from click.testing import CliRunner

from pcache import Cache, ConfigError
from pcache.cli import main
from pcache.entry.compression import compress_stream
from pcache.entry.format import META_AT, Facts, encode
from pcache.fingerprint.parts import digest_of
from pcache.keys.encoder import encode as encode_key
from pcache.versions import registry
from tests.support.processes import KEY, RING, address_of, place_of

API_TOKEN = "sk-live-constant"
LIMIT = 4711


class Settings:
    password = "pw-attribute"
    retries = 3


def helper(url: str, api_key: str = "key-default", *, timeout: int = 5, secret: str = "kw-default") -> str:
    return url + api_key[:0]


def make_reader(passphrase: str) -> Any:
    def read(n: int) -> int:
        return n + len(passphrase) * 0

    return read


reader = make_reader("pp-captured")


def fetch(url: str, token: str = "token-default", extra: object = None) -> tuple[str, int]:
    return helper(url), len(API_TOKEN) + Settings.retries + len(Settings.password) + reader(LIMIT)


def get_token(n: int) -> str:
    return f"token-result-{n}"


SECRETS = """
sk-live-constant pw-attribute key-default kw-default pp-captured token-default token-given version-secret
declared-secret token-result ignored-secret
""".split()


def everything(root: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


def fill(cache: Cache) -> Any:
    cached = cache.cached(version={"v": 2, "api_key": "version-secret"}, depends_on=["declared-secret"])(fetch)
    cached("here"), cached("here", "token-given"), cached("there", token="token-given", extra={"token": "token-given"})
    cache.cached(ignore=["token"])(fetch)("there", token="ignored-secret")
    cache.cached(get_token)(1)
    cache.flow.ledger.flush()
    return cached


def test_no_secret_by_name_is_written(tmp_path: Path) -> None:
    """Arguments, defaults, constants, captured values, options and results whose names say secret are in no file."""
    cache = Cache(tmp_path / "cache", signing_key=KEY, compression="none")
    fill(cache)
    written = everything(tmp_path / "cache")
    # The result of `get_token` itself is stored, as results are; what is said about it is not.
    found = [text for text in SECRETS if text.encode() in written.replace(b"token-result-1", b"", 1)]
    assert found == []
    assert b'"5"' in written  # other defaults are shown


def test_commands_show_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither listings nor explanations say what such a value is."""
    monkeypatch.setenv("PCACHE_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    cached = fill(Cache(tmp_path / "cache", signing_key=KEY))
    texts = [str(cached.explain("here", "token-given", 5)), str(cached.adopt.__doc__)]
    commands = ("ls", "ls --json", "report -o -", "stats --json", "verify")
    texts += [
        CliRunner().invoke(main, [*command.split(), "-C", cached._flow.directory.location]).output
        for command in commands
    ]
    assert [text for text in SECRETS if text in "\n".join(texts)] == []
    assert "token=(not shown)" in texts[0]


def test_digests_cannot_be_tried_out(tmp_path: Path) -> None:
    """Who knows the code, and guesses a constant, finds its digest in no file: they are made with the signing key."""
    cache = Cache(tmp_path / "cache", signing_key=KEY, summaries=False)
    fill(cache)
    written = everything(tmp_path / "cache")
    for guess in (LIMIT, API_TOKEN, "pw-attribute", "key-default", "declared-secret", "here", "token-given"):
        plain = blake3(b"".join(encode_key(guess)))
        for digest in (digest_of(("value", plain.digest(16))), digest_of(guess), plain.digest()):
            assert digest[:8] not in written
            assert digest.hex()[:16].encode() not in written
    for version in registry.read_all(cache.flow.directory.functions, RING).values():
        values = [shown for label, (_, shown) in version.parts.items() if label.startswith(("constant", "version"))]
        assert not any(values)


def test_the_fingerprint_of_a_version_is_not_written(tmp_path: Path) -> None:
    """The digest of all parts together is in no file, nor are those of single ones as the program has them."""
    cached = fill(Cache(tmp_path / "cache", signing_key=KEY))
    written, version = everything(tmp_path / "cache"), cached._calls.version
    assert version.fingerprint.digest.hex()[:16].encode() not in written
    assert [label for label, part in version.fingerprint.parts.items() if part.digest.encode() in written] == []


def test_adopted_values_are_keyed(tmp_path: Path) -> None:
    """What an added parameter stands for lies in an adoption as a digest of its key; another key's is not compared."""
    names: dict[str, Any] = {"__name__": "station"}
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    exec("def f(n):\n    return n + 1", names)
    cache.cached(names["f"])(1)
    exec("def f(n, pin=4711):\n    return n + 1", names)
    cached = cache.cached(names["f"])
    assert "4711" not in str(cached.adopt(added={"pin": 4711}))
    digest = blake3(b"".join(encode_key(4711))).hexdigest()
    assert digest[:16].encode() not in everything(tmp_path / "cache")
    fresh = Cache(tmp_path / "cache", signing_key=[bytes(32), KEY]).cached(names["f"])
    assert (fresh.exists(1), fresh.exists(1, pin=4712)) == (True, False)
    ((adopted,),) = (registry.read_adopted(cache.flow.directory.functions, cached.function_id, RING),)
    assert not registry.is_of(adopted.added["pin"], digest, fresh._flow.keys.look()._replace(keys={}))  # type: ignore[union-attr]


# Summaries of single functions


def shown(cache: Cache) -> dict[str, str]:
    return {info.function.partition(":")[2]: info.arguments + info.result for info in cache.entries()}


def double(n: int) -> int:
    return 2 * n


def treble(n: int) -> int:
    return 3 * n


def test_summaries_of_one_function(tmp_path: Path) -> None:
    """`summaries=` of a decorator counts for what it decorates, in entries and among names, whatever the cache says."""
    for whole in (True, False):
        cache = Cache(tmp_path / f"cache{whole}", signing_key=KEY, summaries=whole)
        cache.cached(summaries=not whole)(double)(1)
        cache.cached(treble)(1)
        assert shown(cache) == {"double": "" if whole else "n=12", "treble": "n=13" if whole else ""}
    with pytest.raises(ConfigError, match="summaries="):
        cache.cached(summaries="perhaps")(double)  # type: ignore[call-overload]


def test_summaries_of_functions_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's table says it for functions by name or pattern; the decorator counts more."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.pcache.functions."{__name__}:*"]\nsummaries = false')
    monkeypatch.chdir(tmp_path)
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    cache.cached(double)(1)
    cache.cached(summaries=True)(treble)(1)
    assert shown(cache) == {"double": "", "treble": "n=13"}


# What somebody who has the key may have written


DEEP = [
    b"[" * 100_000,
    b'{"function":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b'{"arguments":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
    b'{"function": {"a": [1]}, "arguments": [1], "digests": 5, "result": {}, "type": [[]]}',
    b'{"arguments": {"n": {"x": [1]}}, "digests": {"n": [1]}}',
    b'{"arguments": "' + b"[" * 1000 + b'", "digests": []}',
    b'"' + b"\\\\" * 1000,
    b"9" * 100_000,
]


@pytest.mark.parametrize("meta", DEEP, ids=range(len(DEEP)))
def test_what_an_entry_says_of_itself_stops_no_command(
    tmp_path: Path, meta: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meta parts that are nested deeply, long or of another shape are told as damage or left out; calls go on."""
    monkeypatch.setenv("PCACHE_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    cached = cache.cached(double)
    cached(1), cached(2)
    address = address_of(cached, 1)
    facts = Facts(address.key, address.function_id, 10**18, (1 << 63) - 1, 5)
    Path(place_of(cached, 1)).write_bytes(
        b"".join(encode(facts, meta, compress_stream(pickle.dumps(2, 5), "none"), [], RING))
    )
    assert cached(1) == 2
    str(cached.explain(3))
    for command in ("ls", "ls --json", f"show {cached.key(1)}", "verify", "report -o -", "stats", "clear --dry-run"):
        result = CliRunner().invoke(main, [*command.split(), "-C", cache.location])
        assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)


def test_meta_parts_are_where_they_were(tmp_path: Path) -> None:
    """An entry's meta part is JSON, with digests of arguments that were made with the key."""
    cached = Cache(tmp_path / "cache", signing_key=KEY).cached(double)
    cached(1)
    data = Path(place_of(cached, 1)).read_bytes()
    meta = json.JSONDecoder().raw_decode(data[META_AT:].decode("latin1"))[0]
    assert (meta["arguments"], meta["result"]) == ({"n": "1"}, "2")
    assert os.path.basename(meta["digests"]["n"]) == meta["digests"]["n"]
