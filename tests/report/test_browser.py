"""The page about a cache in a browser: what is drawn, what is loaded, on a phone, in the dark, with a keyboard.

Where there is no Chromium with its driver, there is nothing to test with.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly")
pytest.importorskip("jinja2")
pytest.importorskip("selenium")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from pcache import Cache
from tests.cli.test_ls import report as stats_of
from tests.cli.test_ls import run
from tests.support.pages import HOSTILE, count, fill, vary

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no Chromium with its driver here")
# A browser of its own, that speaks to nobody.
OPTIONS = """
--headless --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update
--disable-sync --disable-dev-shm-usage
"""
FOCUSABLE = "a[href], summary, [tabindex='0'], button, input, select"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for option in OPTIONS.split():
        options.add_argument(option)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which root cannot have
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('browser')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def filled(tmp_path: Path) -> Cache:
    """A cache with entries, a past, and a function whose name wants to be a script."""
    cache = Cache(tmp_path / "cache")
    fill(cache)
    vary(cache)

    def function(text: str) -> str:
        return text

    function.__qualname__ = HOSTILE
    cache.cached(function)(HOSTILE)
    cache.stats()
    for hours in range(2, 70, 3):
        count(cache, hours, f"{__name__}:past", {"hits": hours, "misses.absent": 3, "saved_ns": hours * 10**9})
    return cache


@pytest.fixture
def open_page(browser: Any, filled: Cache, tmp_path: Path) -> Open:
    """Make the page and show it, so wide and with such preferences."""

    def show(width: int = 1280, **preferences: str) -> Any:
        path = tmp_path / "report.html"
        assert run("report", "-C", filled.location, "-o", path).exit_code == 0
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in preferences.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        size = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for kind in ("browser", "performance"):
            browser.get_log(kind)  # forget what was before
        browser.get(path.as_uri())
        wait_for(lambda: browser.execute_script("return document.documentElement.dataset.charts"))
        return browser

    return show


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_the_page_shows(open_page: Open, filled: Cache) -> None:
    """It is what `stats --json` says; all charts are drawn, nothing is complained of, nothing loaded, no name runs."""
    page = open_page()
    texts = dict(
        page.execute_script(
            "return [...document.querySelectorAll('[data-stat]')].map(n => [n.dataset.stat, n.dataset.value])"
        )
    )
    stats = stats_of("stats", "-C", filled.location)
    embedded = json.loads(page.execute_script("return document.getElementById('stats').textContent"))
    assert {**embedded, "free": 0} == {**stats, "free": 0}  # others write to the disk meanwhile
    assert {name: json.loads(text) for name, text in texts.items()} == {name: stats[name] for name in texts}
    drawn = page.execute_script(
        "return [...document.querySelectorAll('[data-figure]')]"
        ".map(n => n.querySelectorAll('.point, .slice, .js-line').length)"
    )
    assert len(drawn) == 9
    assert all(drawn)
    assert page.get_log("browser") == []
    assert requests_of(page) == {(Path(filled.location).parent / "report.html").as_uri()}
    assert page.execute_script("return document.title").startswith("pcache: ")
    assert page.execute_script("return document.images.length") == 0


def requests_of(page: Any) -> set[str]:
    """The addresses that the browser asked for; those of the page's own data do not leave it."""
    events = [json.loads(line["message"])["message"] for line in page.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    return {address for address in asked if not address.startswith(("data:", "blob:"))}


def test_a_script_that_is_not_the_pages_own_does_not_run(open_page: Open) -> None:
    """Were a name ever taken for markup, its script would be refused."""
    page = open_page()
    page.execute_script(
        "const script = document.createElement('script'); script.textContent = 'document.title = `owned`';"
        "document.body.append(script);"
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=`owned`\">')"
    )
    assert page.execute_script("return document.title") != "owned"
    refused = page.get_log("browser")
    assert refused
    assert all("Content Security Policy" in line["message"] for line in refused)


@pytest.mark.parametrize("width", [360, 320, 768, 1280])
def test_the_page_is_as_wide_as_its_window(width: int, open_page: Open) -> None:
    """Neither it nor any table scrolls sideways, opened ones included: where columns have no room, rows are stacked."""
    page = open_page(width)
    page.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    shown, there = page.execute_script("const d = document.documentElement; return [d.clientWidth, d.scrollWidth]")
    assert there == shown
    assert shown == width or width > 400  # a phone has no bar beside the page
    wide = page.execute_script(
        "return [...document.querySelectorAll('.scroll')].filter(n => n.scrollWidth > n.clientWidth).length"
    )
    assert wide == 0


COLORS = """
const fill = (name, what) => getComputedStyle(document.querySelector(`#chart-${name} ${what}`)).fill;
const probe = document.createElement("i");
document.body.append(probe);
const value = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color };
return [fill("misses", ".point path"), value("other"), fill("calls", ".ytick text"), value("text"),
    getComputedStyle(document.body).backgroundColor, value("page")];
"""


def test_dark_and_light(open_page: Open) -> None:
    """Charts have the colours of the page, and change with it while it is open."""
    page = open_page(prefers_color_scheme="light")
    light = page.execute_script(COLORS)
    media = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    wait_for(lambda: page.execute_script(COLORS)[0] != light[0])
    dark = page.execute_script(COLORS)
    for colors in (light, dark):
        assert colors[::2] == colors[1::2]
    assert not set(light) & set(dark)
    assert page.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
    assert open_page(prefers_color_scheme="dark").execute_script(COLORS) == dark


def test_paper_is_light(open_page: Open) -> None:
    """A page in the dark is printed on white, and no chart is wider than the paper."""
    page = open_page(prefers_color_scheme="dark")
    dark = page.execute_script(COLORS)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    wait_for(lambda: page.execute_script(COLORS)[0] != dark[0])
    assert page.execute_script(COLORS)[4] == "rgb(255, 255, 255)"
    widths = page.execute_script("return [...document.querySelectorAll('.main-svg')].map(n => n.clientWidth)")
    assert max(widths) <= 660
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_nothing_moves(open_page: Open) -> None:
    """There are no animations, also for those who did not ask for their absence."""
    page = open_page(360, prefers_reduced_motion="reduce")
    assert page.execute_script("return document.getAnimations().length") == 0


def test_tab_reaches_everything(open_page: Open) -> None:
    """Every link, box and summary, in the order of the page, each with a visible outline; Enter opens a table."""
    page = open_page()
    expected = page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter(n => n.checkVisibility()).map(n => n.outerHTML)",
        FOCUSABLE,
    )
    reached = []
    for _ in expected:
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.append(page.execute_script("return document.activeElement.outerHTML"))
        assert page.execute_script("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert reached == expected
    assert len(expected) > 15
    page.execute_script("document.querySelector('summary').focus()")
    ActionChains(page).send_keys(Keys.ENTER).perform()
    assert page.execute_script("return document.querySelector('details').open")
    ActionChains(page).send_keys(Keys.TAB).perform()
    assert page.execute_script("return document.activeElement.className") == "scroll"


def test_without_a_browser_that_can_draw(browser: Any, open_page: Open) -> None:
    """Where the library cannot be unpacked, the page says where the numbers are."""
    hide = browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": "delete window.DecompressionStream"}
    )
    try:
        open_page()
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", hide)
    assert "numbers are in the table" in browser.find_element("css selector", "#chart-disk").text
