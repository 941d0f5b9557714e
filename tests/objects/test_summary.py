"""Calls in one line: short, and never the text of something big or secret to its class."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcache import File
from pcache.objects.summary import NOT_SHOWN, in_full, in_one_line, is_secret, shown_part, summarize, summarize_value


class Loud:
    """Fails when anybody asks for its text."""

    def __repr__(self) -> str:
        raise RuntimeError("nobody's own text is asked for")

    __str__ = __repr__


class LoudNumber(int):
    __repr__ = Loud.__repr__


class LoudDate(date):
    __str__ = Loud.__repr__


class Inner:
    class Deep:
        pass


VALUES = [
    (3, "3"),
    (-2.5, "-2.5"),
    (None, "None"),
    (True, "True"),
    (1j, "1j"),
    ("a.csv", "'a.csv'"),
    ("line\nline", "'line\\nline'"),
    (b"\x00", "b'\\x00'"),
    ("x" * 100, "'" + "x" * 24 + "..." + "x" * 11 + "'"),
    ("/data/measurements/2026-03-01/part-17.csv", "'/data/measurements/2026-...part-17.csv'"),
    (10**12, "1000000000000"),
    (10**100, "int(...)"),
    ([1, 2], "[1, 2]"),
    ((), "()"),
    ({"a": (1, [None])}, "{'a': (1, [None])}"),
    ({"a": 1, "token": "x"}, "{'a': 1, 'token': (not shown)}"),
    ([1] * 9, "list(9)"),
    (["a long text"] * 4, "['a long text', 'a long text', 'a long text', 'a long text']"),
    (("x" * 50, "y" * 50), f"('{'x' * 22}...{'x' * 10}', '{'y' * 22}...{'y' * 10}')"),
    ([("/data/a/1.csv", n) for n in range(8)], "list(8)"),
    (dict.fromkeys(range(8), "a long text"), "dict(8)"),
    ({1, 2, 3}, "set(3)"),
    (np.zeros((3, 4)), "ndarray(3 x 4)"),
    (np.zeros(()), "ndarray()"),
    (np.float64(0.25), "float64(0.25)"),
    (np.bool_(True), "bool(True)"),
    (np.datetime64("2026-03-01"), "datetime64()"),
    (date(2026, 3, 1), "date(2026-03-01)"),
    (datetime(2026, 3, 1, 12, tzinfo=UTC), "datetime(2026-03-01 12:00:00)"),
    (Decimal("1.50"), "Decimal(1.50)"),
    (Path("data/a.csv"), "PosixPath(data/a.csv)"),
    (File("data/a.csv"), "File(data/a.csv)"),
    (LoudDate(2026, 3, 1), "LoudDate"),
    (pd.DataFrame({"a": [1, 2]}), "DataFrame(2 x 1)"),
    (len, "len"),
    (Inner.Deep, "Inner.Deep"),
    (Inner.Deep(), "Inner.Deep"),
    (Loud(), "Loud"),
    (LoudNumber(3), "LoudNumber"),
]


@pytest.mark.parametrize(("value", "text"), VALUES, ids=[text for _, text in VALUES])
def test_values(value: Any, text: str) -> None:
    """Plain values are shown as they are, others by type and size, and no `__repr__` of others is run."""
    assert summarize_value(value) == text


def test_calls() -> None:
    """A call is its arguments by name, in their order."""
    values = [3, "a.csv", np.zeros((1000, 6))]
    assert in_one_line(summarize(["n", "path", "table"], values)) == "n=3, path='a.csv', table=ndarray(1000 x 6)"
    assert in_one_line(summarize([], [])) == ""


def test_long_calls_are_cut() -> None:
    """A summary has at most 200 characters and says when it was cut."""
    text = in_one_line(summarize([f"parameter_{i}" for i in range(100)], range(100)))
    assert len(text) == 200
    assert text.startswith("parameter_0=0, parameter_1=1")
    assert text.endswith("...")


def test_big_values_take_no_time() -> None:
    """Neither a number of a million digits nor a long list, deep or in itself, is spelled out."""
    ring: list[Any] = [0] * 1_000_000
    ring[0] = ring
    started = time.perf_counter()
    assert summarize_value(1 << 4_000_000) == "int(...)"
    assert summarize_value(ring) == "list(1000000)"
    assert len(summarize_value("x" * 50_000_000)) == 40
    assert time.perf_counter() - started < 1


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers())))
def test_any_value_has_a_short_line(value: Any) -> None:
    """A value's summary is one printable line of at most 40 characters, 80 for a list."""
    text = summarize_value(value)
    assert 0 < len(text) <= (80 if isinstance(value, list) else 40)
    assert "\n" not in text


SECRET = """
key keys token tokens password passwd pwd passphrase secret credential credentials auth pin api_key apiKey APIKey APIKEY
api-key accessToken ACCESSTOKEN AWS_SECRET_ACCESS_KEY client_secret clientsecret dbpassword DbPassword user_pwd _token
__password token2 privateKey private_key PRIVATE_KEY ssh_key authHeader HTTPAuth oauth OAuth2 oauth_token csrftoken
X-Api-Key signing_key secret_santa db_creds otp jwt bearer Cookie dsn
csrf xsrf_header cvv card_cvc ssn sas_url hmac nonce passwort kennwort seed_phrase sessionId session_id connStr
connection_string
""".split()
OPEN = """
n path monkey keyboard keyword tokenizer author authors compass passage bypass spin max_tokens n_tokens num_keys
maxTokens donkey turkey cookiecutter pinned opinion hockey passed
seed session sass nonces_seen connection phrase string classname
""".split()


@pytest.mark.parametrize("name", SECRET)
def test_names_that_say_secret(name: str) -> None:
    """Words of a name decide, however it is spelled; the value is not shown, whatever it is."""
    assert is_secret(name)
    assert summarize([name, "n"], ["hunter2", 1]) == {name: NOT_SHOWN, "n": "1"}
    assert shown_part(f"constant auth:Settings.{name}", "'hunter2'") == NOT_SHOWN
    assert shown_part(f"constant m:connect({name}) (2)", "'hunter2'") == NOT_SHOWN
    assert "hunter2" not in in_full({"a": [({name: "hunter2"},)]})


@pytest.mark.parametrize("name", OPEN)
def test_names_that_only_look_like_it(name: str) -> None:
    """Longer words, and counts of things, are shown; so is what lies in a module of such a name."""
    assert not is_secret(name)
    assert shown_part(f"constant auth.tokens:{name}", "3") == "3"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2.1", "'2.1'"),
        (3, "3"),
        (("a", 1), "('a', 1)"),
        (["a"], "['a']"),
        ((1,), "(1,)"),
        ({"x": None}, "{'x': None}"),
    ],
)
def test_plain_values_in_full(value: object, text: str) -> None:
    """What `version=` is given is shown as it is written, if that is short."""
    assert in_full(value) == text
    assert len(in_full([value] * 40)) <= 80
    assert "Loud" in in_full([Loud()])
