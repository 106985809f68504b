"""The page in headless Chromium: no errors, no requests, sorting by click and by keyboard, nothing wider than
a phone.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval import EvaluationOptions, evaluate
from eval.comparison import compare
from eval.page import render_comparison, render_page

Arrays = tuple[np.ndarray, np.ndarray]
COUNTS = [124, 88, 63, 45, 32, 23, 16, 12, 8, 6]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "<script>window.evil=1</script>"


@pytest.fixture(scope="module")
def pages(
    tmp_path_factory: pytest.TempPathFactory,
    held_out: Arrays,
    good_fake: Arrays,
    training_rest: Arrays,
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")

    def flat(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), 8, 2, 8, 2).mean((2, 4)).reshape(len(images), 64)

    report = evaluate(
        held_out,
        good_fake,
        flat,
        "fid,kid,prdc,ifid,memorization",
        COUNTS,
        train=training_rest,
        options=EvaluationOptions(replicates=50),
        json=folder / "a.json",
        report=folder / "report.html",
    )
    arm = {
        "n_train": 10,
        "balanced_accuracy": 0.5,
        "worst_recall": 0.1,
        "harmonic_recall": 0.3,
        "per_class": {str(k): k / 10 for k in range(10)},
        "intervals": {name: [0.1, 0.6] for name in ("balanced_accuracy", "worst_recall", "harmonic_recall")},
    }
    difference = {"balanced_accuracy": {"value": 0.1, "interval": [0.05, 0.15]}}
    report.utility = {
        "arms": {name: {**arm, "title": name} for name in ("real", "augmented", "topped_up", "synthetic")},
        "differences": {name: difference for name in ("real", "topped_up", "synthetic")},
        "settings": {"seeds": 3, "n_test": 500, "images_seen": 1000, "flips": False},
        "top_up": {},
    }
    (folder / "utility.html").write_text(render_page(report))
    rows = [{**row, "name": EVIL if row["name"] == "3" else row["name"]} for row in report.per_class]
    evil = dataclasses.replace(report, per_class=rows, warnings=[EVIL], utility=None)
    (folder / "evil.html").write_text(render_page(evil))
    (folder / "comparison.html").write_text(render_comparison(compare(folder / "a.json", folder / "a.json")))
    return {path.stem: path for path in folder.glob("*.html")}


def test_pages_name_nothing_to_fetch(pages: dict[str, Path]) -> None:
    for path in pages.values():
        text = path.read_text()
        assert "http://" not in text
        assert "https://" not in text
        assert "default-src 'none'" in text
        assert "<script>window" not in text


def test_the_page_shows_what_the_terminal_shows(pages: dict[str, Path]) -> None:
    text = pages["report"].read_text()
    for words in (
        "FD (flat)",
        "intra FD (flat)",
        "few-shot",
        "not FID",
        "Real beside generated",
        "memorized",
    ):
        assert words in text, words
    assert text.count("data:image/png;base64,") == 20 + 40, "20 strips and 20 pairs"
    order = [text.index(f"<strong>{k}</strong>") for k in range(10)]
    assert order == sorted(order), "rarest class last"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield instance
        instance.close()


def visit(browser: Any, path: Path, width: int = 1200, scheme: str = "light") -> tuple[Any, list[str]]:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))

    def asked(request: Any) -> None:
        if not request.url.startswith("data:") and request.url != path.as_uri():
            trouble.append(f"request: {request.url}")

    page.on("request", asked)
    page.goto(path.as_uri())
    return page, trouble


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report", "utility", "comparison", "evil"])
@pytest.mark.parametrize(
    ("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light"), (390, "dark")]
)
def test_renders_without_errors_requests_or_overflow(
    browser: Any, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    page, trouble = visit(browser, pages[name], width, scheme)
    assert trouble == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length")
    assert broken == 0
    assert page.evaluate("window.evil") is None
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, background[4:-1].split(","))) > 3 * 128
    assert light == (scheme == "light")
    page.context.close()


@pytest.mark.slow
def test_sorting_by_click_and_by_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    page, trouble = visit(browser, pages["report"])
    names = "[...document.querySelectorAll('#per-class tbody th')].map((cell) => cell.textContent)"
    values = "[...document.querySelectorAll('#per-class tbody tr')].map((row) => +row.cells[2].dataset.sort)"
    assert page.evaluate(names) == [str(k) for k in range(10)]
    train = page.get_by_role("button", name="train", exact=True)
    train.click()
    assert page.evaluate(values) == sorted(COUNTS)
    assert page.evaluate("document.querySelector('[aria-sort=ascending]').textContent").strip() == "train"
    train.focus()
    page.keyboard.press("Enter")
    assert page.evaluate(values) == sorted(COUNTS, reverse=True)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert page.evaluate(names) == [str(k) for k in range(10)]
    assert page.evaluate("document.querySelectorAll('th[aria-sort=ascending]').length") == 1
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert trouble == []
    page.context.close()
