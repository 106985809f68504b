"""benchmarks.large_data on a few images: every form is written, opened undecoded and measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.large_data import FORMS, measure, write_set
from gan_lt.data import open_image_set, opening


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_measured(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_set(tmp_path, form, 1200)
    images = open_image_set(path)
    assert images.counts.tolist() == [2] * 200 + [1] * 800
    monkeypatch.setattr(opening, "IN_MEMORY_BYTES", opening.IN_MEMORY_BYTES)  # put back afterwards
    measure(path, form, epoch=True)
    found = json.loads(capsys.readouterr().out)
    assert found["form"] == form
    assert found["peak_grown_mib"] >= found["grown_mib"]
    assert 0 < found["worker_mib"] <= found["worker_mib_in_the_end"] + 1
    assert found["images_per_s"] > 0
