"""`dashboard` on a real study: what it serves, and what a person sees in a browser."""

from __future__ import annotations

import json
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from fault_parts import OVERRIDES, NewBox, StudyBox, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.slow
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1600,2400",
)  # fmt: skip


@contextmanager
def dashboard(box: StudyBox) -> Iterator[str]:
    """The address of the dashboard on a study, as long as the block lasts."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = box.start(command=("dashboard", str(box.study), "--port", str(port)))

    def answers() -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(answers, "the dashboard")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def address(oracle: StudyBox) -> Iterator[str]:
    with dashboard(oracle) as found:
        yield found


def ask(url: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as answer:
        return json.load(answer)


def studies(address: str) -> dict[str, int]:
    return {one["study_name"]: one["study_id"] for one in ask(f"{address}/api/studies")["study_summaries"]}


@pytest.mark.core
def test_it_serves_every_trial_with_parameters_and_epochs(address: str, oracle: StudyBox) -> None:
    known = studies(address)
    assert set(known) == {"small", "small/full"}
    found = ask(f"{address}/api/studies/{known['small']}?after=0")
    rows = {int(row["trial_id"]): row for row in oracle.rows()}
    trials = {trial["number"] + 1: trial for trial in found["trials"]}
    assert set(trials) == set(rows)
    states = {"completed": "Complete", "pruned": "Pruned"}
    for trial_id, trial in trials.items():
        row = rows[trial_id]
        assert trial["state"] == states[row["status"]]
        parameters = {one["name"]: float(one["param_internal_value"]) for one in trial["params"]}
        assert parameters == {"training.optimizer.lr": pytest.approx(float(row["param_training.optimizer.lr"]))}
        steps = {one["step"]: float(one["value"]) for one in trial["intermediate_values"]}
        assert sorted(steps) == list(range(1, int(row["epochs"]) + 1))
        if steps:
            assert steps[max(steps)] == pytest.approx(float(row["final_bleu"]))
        attributes = {one["key"]: one["value"] for one in trial["user_attrs"]}
        assert attributes["reason"] == row["reason"]
        assert attributes["trial_id"] == str(trial_id)
    full = ask(f"{address}/api/studies/{known['small/full']}?after=0")["trials"]
    assert [len(trial["intermediate_values"]) for trial in full] == [4]


def test_it_serves_what_the_trials_predicted(address: str) -> None:
    study_id = studies(address)["small"]
    found = ask(f"{address}/api/studies/{study_id}?after=0")
    artifacts = {trial["trial_id"]: trial["artifacts"] for trial in found["trials"] if trial["artifacts"]}
    assert artifacts
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for trial_id, (sheet,) in artifacts.items():
        assert (sheet["filename"], sheet["mimetype"]) == ("samples.png", "image/png")
        url = f"{address}/artifacts/{study_id}/{trial_id}/{sheet['artifact_id']}"
        with opener.open(url, timeout=30) as answer:
            assert answer.read(8) == b"\x89PNG\r\n\x1a\n"
    assert "leads with **BLEU" in found["note"]["body"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not (CHROMIUM and DRIVER):
        pytest.skip("Chromium or chromedriver is not installed")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    one = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield one
    one.quit()


def shown(browser: Any, url: str, words: str) -> str:
    """The page's text once it holds some words."""
    browser.get(url)

    def text() -> str:
        found: str = browser.execute_script("return document.body.innerText")
        return found if words in found else ""

    return str(wait_for(text, f"“{words}” on {url}", 60.0))


def test_a_person_sees_every_trial_with_its_epochs(address: str, browser: Any, oracle: StudyBox) -> None:
    study_id = studies(address)["small"]
    page = shown(browser, f"{address}/dashboard/studies/{study_id}/trials", "Trial 5")
    for number in range(6):
        assert f"Trial {number}" in page
    for row in oracle.rows():
        number = int(row["trial_id"]) - 1
        url = f"{address}/dashboard/studies/{study_id}/trials?numbers={number}"
        page = " ".join(shown(browser, url, f"Trial {number} (trial_id=").split())
        assert f"training.optimizer.lr {float(row['param_training.optimizer.lr']):g}" in page
        assert f"reason {row['reason']}" in page
        for line in oracle.metrics().get(f"trials/{number + 1:04d}", []):
            assert f" {line['epoch']} {line['metrics']['bleu']:.6g}"[:8] in page
    page = shown(browser, f"{address}/dashboard/studies/{study_id}", "Intermediate values")
    for number in range(5):
        assert f"trial #{number}" in page, "its curve has a name in the legend"
    assert "Params = [training.optimizer.lr:" in page


RUNNING = {
    "overrides": {**OVERRIDES, "training.epochs": 400},
    "budget": {"epochs": 15, "subset": 40},
    "search": {"pruner": "none"},
    "trials": [{"training.optimizer.lr": 0.001 * (1 + n)} for n in range(80)],
}


def test_a_person_looks_on_while_the_study_runs(box: NewBox, browser: Any) -> None:
    one = box(RUNNING, "--workers", "1")
    run = one.start()
    wait_for(lambda: one.study.joinpath("study.db").exists() and one.trial(1).joinpath("metrics.jsonl").exists(), "it")
    with dashboard(one) as address:
        study_id = wait_for(lambda: studies(address).get("small"), "the study")

        def trials() -> list[Any]:
            found: list[Any] = ask(f"{address}/api/studies/{study_id}?after=0")["trials"]
            return found

        wait_for(lambda: any(trial["artifacts"] for trial in trials()), "a picture of what a trial predicts")
        seen = {trial["number"]: len(trial["intermediate_values"]) for trial in trials()}
        page = shown(browser, f"{address}/dashboard/studies/{study_id}", "Intermediate values")
        assert "trial #0" in page
        running = max(seen)
        page = shown(browser, f"{address}/dashboard/studies/{study_id}/trials?numbers={running}", "Running")
        assert f"Trial {running} (trial_id=" in page
        assert "training.optimizer.lr" in page
        pictured = next(trial for trial in trials() if trial["artifacts"])
        page = shown(
            browser, f"{address}/dashboard/studies/{study_id}/trials?numbers={pictured['number']}", "samples.png"
        )
        name = pictured["artifacts"][0]["artifact_id"]
        wide = f"const i = document.querySelector('img[src*=\"{name}\"]'); return i && i.complete && i.naturalWidth"
        wait_for(lambda: browser.execute_script(wide), "the picture on the trial's page", 30.0)
        more = lambda: {t["number"]: len(t["intermediate_values"]) for t in trials()} != seen  # noqa: E731
        wait_for(more, "further epochs, while someone looks")
        assert run.poll() is None, "it still runs"
    run.terminate()
    one.ended(run, 143)
