"""The report in a real browser: it opens from a file without a network, sorts, filters, darkens and fits a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.build import SECTIONS, build_report
from reports.record import StudyRecord

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium or chromedriver is not installed"),
]

KINDS = ("captioning", "ladder", "classification", "diffusion", "hostile", "empty", "running")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(records: dict[str, StudyRecord], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    paths = {kind: folder / f"{kind}.html" for kind in KINDS}
    for kind, path in paths.items():
        path.write_text(build_report(records[kind]), encoding="utf-8")
    return paths


def show(browser: Any, path: Path, width: int = 1280, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    colours(browser, scheme)
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(path.as_uri())
    WebDriverWait(browser, 30).until(lambda b: b.execute_script("return document.documentElement.dataset.ready"))


def colours(browser: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def column(browser: Any, place: int) -> list[str]:
    script = (
        "return [...document.querySelectorAll('#trials-table tbody tr')].filter(row => !row.hidden)"
        ".map(row => row.cells[arguments[0]].textContent)"
    )
    cells: list[str] = browser.execute_script(script, place)
    return cells


@pytest.mark.parametrize("kind", KINDS)
def test_it_opens_alone(browser: Any, pages: dict[str, Path], kind: str) -> None:
    show(browser, pages[kind])
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [pages[kind].as_uri()]
    assert browser.execute_script("return document.querySelectorAll('script:not([type]), img[src=x]').length") <= 2


def test_every_section_and_plot_is_there(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["ladder"])
    names = browser.execute_script("return [...document.querySelectorAll('main > section')].map(s => s.id)")
    assert names == list(SECTIONS)
    lines = (
        "return [...document.querySelectorAll('.canvas')]"
        ".map(canvas => canvas.querySelectorAll('path.js-line, path.point, .point path, .sankey-node').length)"
    )
    assert all(count > 2 for count in browser.execute_script(lines))
    assert len(browser.execute_script("return document.querySelectorAll('.canvas .legendtext')")) >= 6
    images = "return [...document.images].every(image => image.complete && image.naturalWidth > 0)"
    assert browser.execute_script(images)


def test_plotly_draws_strangers_names_as_text(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["hostile"])
    title = browser.execute_script("return document.querySelector('#plot-history .ytitle').textContent")
    assert title.startswith('<script>alert("x")</script>')


@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize("kind", ["ladder", "classification", "diffusion", "hostile"])
def test_the_page_never_scrolls_sideways(browser: Any, pages: dict[str, Path], kind: str, width: int) -> None:
    show(browser, pages[kind], width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_header_sorts_by_click_and_by_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["captioning"])
    heads = browser.find_elements("css selector", "#trials-table thead th")
    bleu = [head.text.strip() for head in heads].index("BLEU")
    button = heads[bleu].find_element("tag name", "button")
    assert heads[bleu].get_attribute("aria-sort") == "none"
    browser.execute_script("arguments[0].click()", button)
    up = column(browser, bleu)
    assert heads[bleu].get_attribute("aria-sort") == "ascending"
    assert up[-1] == "–"
    assert [float(cell) for cell in up[:-1]] == sorted(float(cell) for cell in up[:-1])
    button.send_keys(Keys.ENTER)
    down = column(browser, bleu)
    assert heads[bleu].get_attribute("aria-sort") == "descending"
    assert [float(cell) for cell in down[:-1]] == sorted((float(cell) for cell in up[:-1]), reverse=True)
    assert down[-1] == "–"
    heads[1].find_element("tag name", "button").send_keys(Keys.SPACE)
    assert column(browser, 1) == sorted(column(browser, 1))
    assert heads[bleu].get_attribute("aria-sort") == "none"


def test_the_filter_keeps_rows_with_all_words(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["captioning"])
    count, field = len(column(browser, 0)), browser.find_element("id", "trials-filter")
    field.send_keys("PRUNED adamw")
    kept = column(browser, 1)
    assert 0 < len(kept) < count
    assert set(kept) == {"pruned"}
    assert browser.find_element("css selector", ".filter output").text == f"{len(kept)} of {count} trials"
    field.send_keys(Keys.CONTROL, "a", Keys.DELETE)
    assert len(column(browser, 0)) == count


def test_the_curves_change_their_colours(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["ladder"])
    names = "return [...document.querySelectorAll('#plot-curves .legendtext')].map(text => text.textContent)"
    assert {"completed", "paused", "failed", "promoted"} == set(browser.execute_script(names))
    buttons = browser.find_elements("css selector", "#plot-curves .updatemenu-button")
    assert [button.text for button in buttons] == ["by status", "by rung"]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", buttons[1])
    ActionChains(browser).move_to_element(buttons[1]).click().perform()
    WebDriverWait(browser, 10).until(lambda b: "rung 1" in b.execute_script(names))
    assert set(browser.execute_script(names)) == {"rung 1", "rung 2", "rung 3", "promoted"}


def test_a_trial_leads_to_its_samples(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["ladder"])
    link = browser.find_element("css selector", "#trials-table a[href^='#samples-of-']")
    target = link.get_attribute("href").rpartition("#")[2]
    browser.execute_script("document.documentElement.style.scrollBehavior = 'auto'; arguments[0].click()", link)
    place = "return document.getElementById(arguments[0]).getBoundingClientRect().top"
    WebDriverWait(browser, 10).until(lambda b: 0 <= b.execute_script(place, target) < 900)


def test_dark_mode_reaches_page_and_plots(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["captioning"])
    seen = (
        "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
        " document.querySelector('#plot-curves .xtitle').style.fill]"
    )
    light = browser.execute_script(seen)
    colours(browser, "dark")
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(seen)[2] != light[2])
    page, ink, title = browser.execute_script(seen)
    assert page != light[0]
    assert title == ink != light[1]


def test_print_shows_all_in_light_colours(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["captioning"], scheme="dark")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(printed["data"]) > 10_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
