"""Sizes and durations: what people write, what they are shown, and that the two agree."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcache.errors import ConfigError
from pcache.text.units import format_duration, format_size, parse_duration, parse_size

MINUTE, HOUR, DAY = 60, 3600, 86400
sizes = st.integers(min_value=0, max_value=2**63)
durations = st.floats(min_value=1e-6, max_value=1e9)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (812, 812),
        (1e9, 10**9),
        ("812", 812),
        (" 1_000_000 ", 10**6),
        ("1e9", 10**9),
        ("812 B", 812),
        ("500MB", 500 * 10**6),
        ("2 kb", 2000),
        ("2KiB", 2048),
        ("2 Ki", 2048),
        ("2k", 2048),
        ("2K", 2048),
        ("5 GiB", 5 << 30),
        ("5_gib", 5 << 30),
        ("1.5G", 3 << 29),
        ("1 TB", 10**12),
        ("1T", 1 << 40),
        ("3 PiB", 3 << 50),
    ],
)
def test_sizes_are_read(text: float | str, size: int) -> None:
    """Numbers are bytes, KB is 1000 bytes, KiB and the bare letter are 1024, in any case and with any gap."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "value",
    [
        *(True, -1, -0.5, float("nan"), float("inf"), 10**30, None, b"5", []),
        *("", " ", "-5", "nan", "inf", "G", "5 GG", "5 iB", "5 bits", "0x10"),
        *("1,5 GB", "5 GiB 3 MiB", "1.G", ".G", "1.5.2k", "9" * 5000, "9" * 5000 + "k"),
    ],
)
def test_other_sizes_are_refused(value: object) -> None:
    """What is not one clear size raises ConfigError, which quotes the value and shows what would do."""
    with pytest.raises(ConfigError, match=r"^cannot read .* as a size; give .* '5 GiB'") as caught:
        parse_size(value)  # type: ignore[arg-type]
    assert caught.value.value is value
    assert repr(value)[:40] in str(caught.value)


@pytest.mark.parametrize("text", ["18446744073709551615 PiB", "\u0661\u0662", "\u00b2", "1" + "_" * 100])
def test_sizes_of_no_disk_and_digits_of_other_alphabets_are_refused(text: str) -> None:
    """A unit cannot lift a number over the limit, and digits are those that units are written with."""
    with pytest.raises(ConfigError, match=r"^cannot read .* as a size; give .* '5 GiB'"):
        parse_size(text)
    with pytest.raises(ConfigError, match=r"^cannot read .* as a duration"):
        parse_duration(text.replace("PiB", "w"))


@pytest.mark.parametrize("number", [10**5000, -(10**5000)], ids=["above", "below"])
def test_numbers_that_python_does_not_write_out_are_refused(number: int) -> None:
    """The message about a number of more than 4,300 digits does without them."""
    for parse in (parse_size, parse_duration):
        with pytest.raises(ConfigError, match="thousands of digits"):
            parse(number)


def test_long_texts_are_refused_at_once() -> None:
    """Refusing a text takes the same work whatever its length; a pattern alone took the square of it."""
    for text in ("1" + "_" * 10**6 + "!", "1s" * 10**6, " " * 10**6 + "1 G"):
        with pytest.raises(ConfigError):
            parse_size(text)
        with pytest.raises(ConfigError):
            parse_duration(text)


def test_large_sizes_are_exact() -> None:
    """A size beyond the precision of a float is read to the byte."""
    assert parse_size(f"{2**53 + 1}") == 2**53 + 1
    assert parse_size("9007199254740.993 kB") == 2**53 + 1
    assert parse_size("0.333333333333333333333333333333 GB") == 10**9 // 3


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (4200, "4.1 KiB"),
        ((1 << 20) - 1, "1 MiB"),
        (10 << 30, "10 GiB"),
        (1288490189, "1.2 GiB"),
        (5000 << 50, "5000 PiB"),
        (-5000, "-4.9 KiB"),
    ],
)
def test_sizes_are_shown(size: int, text: str) -> None:
    """A size shows with at most one decimal in the largest unit it fills."""
    assert format_size(size) == text


@given(sizes)
def test_a_number_of_bytes_survives_as_text(size: int) -> None:
    """A size written as a bare number or in whole KiB is read back exactly."""
    assert parse_size(str(size)) == size
    assert parse_size(f"{size >> 10} KiB") == size >> 10 << 10


@given(sizes)
def test_a_shown_size_can_be_read_again(size: int) -> None:
    """Reading a shown size loses only what rounding took, and showing it again changes nothing."""
    shown = format_size(size)
    assert abs(parse_size(shown) - size) <= 0.05 * size
    assert format_size(parse_size(shown)) == shown


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (90, 90),
        (0.25, 0.25),
        ("90", 90),
        ("1e3", 1000),
        ("90 s", 90),
        ("500ms", 0.5),
        ("12 us", 12e-6),
        ("12 \u00b5s", 12e-6),
        ("12 \u03bcs", 12e-6),
        ("1.5h", 1.5 * HOUR),
        ("2h30m", 2.5 * HOUR),
        ("1h 30m", 1.5 * HOUR),
        ("2 H 5 MIN", 2 * HOUR + 5 * MINUTE),
        ("1 hour 1 minute 1 second", HOUR + MINUTE + 1),
        ("7d", 7 * DAY),
        ("2_weeks", 14 * DAY),
        ("1w 2d", 9 * DAY),
        (timedelta(hours=2, milliseconds=500), 2 * HOUR + 0.5),
    ],
)
def test_durations_are_read(value: float | str | timedelta, seconds: float) -> None:
    """Numbers are seconds, texts one or more numbers with units, and a timedelta is itself."""
    found = parse_duration(value)
    assert isinstance(found, float)
    assert found == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        *(False, -1, float("nan"), float("inf"), 10**400, timedelta(-1), None, []),
        *("", "-5s", "nan", "inf", "h", "5 y", "2h30", "30m2h", "1h1h", "1h,5m", "1h-5m", "9" * 400 + "w"),
    ],
)
def test_other_durations_are_refused(value: object) -> None:
    """What is not one clear duration raises ConfigError, which quotes the value and shows what would do."""
    with pytest.raises(ConfigError, match=r"^cannot read .* as a duration; give .* '2h30m'") as caught:
        parse_duration(value)  # type: ignore[arg-type]
    assert caught.value.value is value
    assert repr(value)[:40] in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (3e-7, "0.3 us"),
        (12e-6, "12 us"),
        (0.0009996, "1 ms"),
        (0.35, "350 ms"),
        (0.9996, "1 s"),
        (4.2, "4.2 s"),
        (9.97, "10 s"),
        (59.97, "1 min"),
        (200, "3 min 20 s"),
        (3599.7, "1 h"),
        (2 * HOUR + 5 * MINUTE, "2 h 5 min"),
        (DAY - 1, "1 d"),
        (7 * DAY + 3 * HOUR, "7 d 3 h"),
        (400 * DAY, "400 d"),
        (-200, "-3 min 20 s"),
        (float("inf"), "inf s"),
        (float("-inf"), "-inf s"),
        (float("nan"), "nan s"),
    ],
)
def test_durations_are_shown(seconds: float, text: str) -> None:
    """A duration shows in one unit below a minute and in two from there, rounded before the unit is chosen."""
    assert format_duration(seconds) == text


@given(durations)
def test_a_number_of_seconds_survives_as_text(seconds: float) -> None:
    """A duration written as a bare number, with or without a unit, is read back exactly."""
    assert parse_duration(repr(seconds)) == seconds
    assert parse_duration(f"{seconds:.9f} s") == float(f"{seconds:.9f}")


@given(durations)
def test_a_shown_duration_can_be_read_again(seconds: float) -> None:
    """Reading a shown duration loses only what rounding took, and showing it again changes nothing."""
    shown = format_duration(seconds)
    assert parse_duration(shown) == pytest.approx(seconds, rel=0.05)
    assert format_duration(parse_duration(shown)) == shown


@given(st.timedeltas(min_value=timedelta(0)))
def test_a_timedelta_is_its_seconds(value: timedelta) -> None:
    """Every timedelta that is not negative means its total seconds."""
    assert parse_duration(value) == value.total_seconds()


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text raises anything but ConfigError, and what is read is a usable number."""
    for parse in (parse_size, parse_duration):
        try:
            found = parse(text)
        except ConfigError:
            continue
        assert 0 <= found < float("inf")


def test_importing_units_brings_no_datetime() -> None:
    """Start-up stays cheap: datetime is recognised when it is passed, never imported."""
    script = "import sys; before = set(sys.modules); import pcache.text.units; print(*set(sys.modules) - before)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "pcache.text.units" in done.stdout.split()
    assert not {"datetime", "decimal", "fractions"} & set(done.stdout.split())
