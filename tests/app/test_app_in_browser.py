"""The page of `gan-lt app` in headless Chromium: it shows samples and real images, reacts, and asks nobody else."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan_lt.app.gallery import Gallery
from gan_lt.data import ImageSet
from gan_lt.models import Generator

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PICTURES = os.environ.get("GAN_LT_TEST_PICTURES")  # a folder to keep screenshots in, to look at

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="Gradio is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="Playwright is not installed"),
]


@pytest.fixture
def address() -> Iterator[str]:
    from gan_lt.app.page import serve

    torch.manual_seed(0)
    generator = Generator(
        z_dim=8, num_classes=3, w_dim=8, resolution=8, img_channels=1, channel_max=8, mapping_layers=2,
        class_names=["ant", "bee", "cow"], class_counts=[9, 5, 2],
    ).eval()  # fmt: skip
    labels = np.repeat([0, 1, 2], [9, 5, 2])
    images = np.broadcast_to(labels[:, None, None, None] * 80, (16, 1, 8, 8)).astype(np.uint8)
    real = ImageSet.from_arrays(images, labels, ["ant", "bee", "cow"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = serve(Gallery(generator, real), "insects", host="127.0.0.1", port=port, share=False, block=False)
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    yield f"http://127.0.0.1:{port}"
    page.close()


def test_choosing_a_class_and_a_seed_changes_the_samples(address: str) -> None:
    from playwright.sync_api import expect, sync_playwright

    asked: set[str] = set()
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("request", lambda request: asked.add(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        # nothing but this machine can be reached: the page must do without
        page.route(lambda url: not url.startswith(address), lambda route: route.abort())
        page.goto(address)

        def pictures() -> list[Any]:
            return [
                image.get_attribute("src") for image in page.locator("button img, .image-frame img").all()
            ]

        expect(page.get_by_role("heading", name="insects")).to_be_visible(timeout=60_000)
        page.wait_for_function("document.querySelectorAll('.image-frame img').length >= 2", timeout=60_000)
        expect(page.get_by_label("Class, most common first")).to_have_value("cow (2 images)")
        before = pictures()
        page.get_by_label("number input for Seed").fill("5")
        page.get_by_label("number input for Seed").press("Enter")
        page.wait_for_function(
            "old => document.querySelectorAll('.image-frame img')[0].src !== old",
            arg=before[0],
            timeout=60_000,
        )
        after = pictures()
        page.get_by_label("Class, most common first").click()
        page.get_by_role("option", name="ant (9 images)").click()
        page.wait_for_function(
            "old => document.querySelectorAll('.image-frame img')[0].src !== old",
            arg=after[0],
            timeout=60_000,
        )
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / "app.png")
        page.get_by_role("tab", name="All classes").click()
        expect(page.get_by_text("A row a class, the most common first")).to_be_visible()
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / "app-rows.png")
        browser.close()
    assert not errors
    assert not {url for url in asked if not url.startswith((address, "data:", "blob:"))}
