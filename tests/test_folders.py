"""The user's folders, as the platform has them."""

from __future__ import annotations

import platformdirs
import pytest

from pcache.folders import user_folder


@pytest.mark.parametrize("given", [None, "/somewhere/else", "", "relative"])
def test_what_platformdirs_says(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our two lines for Linux and platformdirs name the same folders, whatever XDG's variables hold."""
    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        if given is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, given)
    expected = platformdirs.user_cache_dir("pcache", appauthor=False)
    if given != "relative":  # the specification says to ignore those; releases of platformdirs differ
        assert user_folder("cache") == expected
        assert user_folder("config") == platformdirs.user_config_dir("pcache", appauthor=False)
    else:
        assert (user_folder("cache") or "").startswith("/")


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home there is no folder."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "relative")
    assert user_folder("cache") is None
