"""The page of data in a real browser: it opens from a file without a network, and its texts run in their direction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from trainer.run.data_page import Sheet, data_page
from trainer.task.pictures import DataPicture, Marked

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium or chromedriver is not installed")
def test_the_page_opens_alone_with_its_pictures_and_boxes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    large = np.random.default_rng(0).integers(0, 255, (400, 600, 3), dtype=np.uint8)
    marked = [Marked((0.25, 0.5, 0.75, 1.0), "猫"), Marked((0.0, 0.0, 0.5, 0.5), "<img src=x onerror=alert(1)>")]
    pictures = [DataPicture(pixels, ["كلب أسود"], marked), DataPicture(large, ["一只黑色的狗", "word" * 100])]
    page = tmp_path / "data.html"
    page.write_text(data_page("x", {"Data": "2 images"}, {"a": (1, 2)}, ["!"], [Sheet("s", pictures, [])]), "utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'chromium'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        size = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get_log("performance")
        browser.get(page.as_uri())
        assert browser.get_log("browser") == []
        messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
        sides = browser.execute_script("return [...document.images].map(i => [i.naturalWidth, i.naturalHeight])")
        assert sides == [[60, 40], [320, 213]]
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        directions = "return [...document.querySelectorAll('figcaption p')].map(p => getComputedStyle(p).direction)"
        assert browser.execute_script(directions) == ["rtl", "ltr", "ltr"]
        place = (
            "const of = name => document.querySelector(name).getBoundingClientRect();"
            "const [box, image] = [of('.box'), of('.frame img')];"
            "return [(box.left - image.left) / image.width, (box.top - image.top) / image.height,"
            " box.width / image.width, box.height / image.height]"
        )
        assert browser.execute_script(place) == pytest.approx([0.25, 0.5, 0.5, 0.5], abs=0.01)
    finally:
        browser.quit()
