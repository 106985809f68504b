"""The documentation site: builds without a warning, asks nobody else for anything, fits a phone."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PICTURES = os.environ.get("GAN_LT_TEST_PICTURES")  # a folder to keep screenshots in, to look at
PAGES = ["index", "tutorials/practitioner", "howto/evaluation", "reference/cuda_ops", "faq"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="mkdocs-material is missing"),
    pytest.mark.skipif(importlib.util.find_spec("mkdocstrings") is None, reason="mkdocstrings is missing"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_reference_has_every_public_function_and_class(site: Path) -> None:
    import cuda_ops
    import eval as evaluation
    import gan_lt.data
    import gan_lt.models
    import gan_lt.regularizers
    import gan_lt.sampling

    text = "".join(path.read_text() for path in (site / "reference").rglob("*.html"))
    for package in (cuda_ops, evaluation, gan_lt.regularizers, gan_lt.sampling, gan_lt.data):
        for name in package.__all__:
            if not callable(getattr(package, name)):
                continue  # a table: what is in it is documented under its own name
            assert f">{name}<" in text or f'.{name}"' in text, f"{package.__name__}.{name}"


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="Playwright is not installed")
def test_pages_in_a_browser(address: str) -> None:
    from playwright.sync_api import sync_playwright

    asked: set[str] = set()
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        for width, scheme in [(1280, "light"), (1280, "dark"), (390, "light")]:
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
            page.on("request", lambda request: asked.add(request.url))
            page.on("pageerror", lambda error: errors.append(str(error)))
            for name in PAGES:
                page.goto(f"{address}/{name}.html")
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{name} is {wide} pixels wide on a screen of {width}"
                assert page.locator("h1").count() == 1
                broken = page.evaluate(
                    "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
                )
                assert not broken
                if PICTURES:
                    picture = f"{name.replace('/', '-')}-{width}-{scheme}.png"
                    page.screenshot(path=Path(PICTURES) / picture, full_page=width == 390)
            page.close()
        browser.close()
    assert not errors
    assert not {url for url in asked if not url.startswith((address, "data:", "blob:"))}
