"""The feature cache: found again, keyed by all that matters, and a corrupt file is computed anew and said."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.cache import FeatureCache
from eval.extraction import extract_features
from eval.sources import ImageSource, from_arrays


class Counting:
    """An extractor that counts the images it is shown."""

    name = "counting"

    def __init__(self, weights_hash: str | None = "abc") -> None:
        self.weights_hash = weights_hash
        self.settings: dict = {}
        self.seen = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.seen += len(images)
        return images.reshape(len(images), -1)[:, :5].astype(np.float32)


def source(seed: int = 0, n: int = 40) -> ImageSource:
    images = np.random.default_rng(seed).integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
    return from_arrays(images, np.arange(n) % 2, "given")


@pytest.mark.skipif(sys.platform == "win32", reason="modes are Unix's")
def test_a_shared_cache_can_be_read_by_all(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        extract_features(source(), Counting(), cache=FeatureCache(tmp_path / "cache"))
    finally:
        os.umask(before)
    (file,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_features_are_computed_once(tmp_path: Path) -> None:
    extractor, cache = Counting(), FeatureCache(tmp_path / "cache")
    first = extract_features(source(), extractor, batch_size=7, cache=cache)
    second = extract_features(source(), extractor, batch_size=9, cache=cache)
    assert extractor.seen == 40
    np.testing.assert_array_equal(first, second)
    assert isinstance(second, np.memmap)
    assert len(list(tmp_path.glob("cache/*.npy"))) == 1
    assert not list(tmp_path.glob("cache/.partial*"))


@pytest.mark.parametrize("change", ["images", "weights", "settings"])
def test_another_input_is_another_entry(change: str, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    extract_features(source(), Counting(), cache=cache)
    extractor = Counting("def" if change == "weights" else "abc")
    if change == "settings":
        extractor.settings["size"] = 3
    extract_features(source(1 if change == "images" else 0), extractor, cache=cache)
    assert extractor.seen == 40


def test_unknown_weights_are_not_cached(tmp_path: Path) -> None:
    extract_features(source(), Counting(None), cache=FeatureCache(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_corrupt_file_is_computed_again_and_said(damage: str, tmp_path: Path) -> None:
    extractor, cache = Counting(), FeatureCache(tmp_path)
    good = np.array(extract_features(source(), extractor, cache=cache))
    (file,) = tmp_path.glob("*.npy")
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[-3] ^= 1
    file.write_bytes({"flip": bytes(content), "cut": bytes(content[:-50]), "empty": b""}[damage])
    notes: list[str] = []
    again = extract_features(source(), extractor, cache=cache, warnings=notes)
    np.testing.assert_array_equal(again, good)
    assert extractor.seen == 80
    assert len(notes) == 1
    assert "corrupt" in notes[0]
    assert extract_features(source(), extractor, cache=cache, warnings=notes) is not None
    assert extractor.seen == 80


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    class Failing(Counting):
        def __call__(self, images: np.ndarray) -> np.ndarray:
            if self.seen:
                raise KeyboardInterrupt
            return super().__call__(images)

    with pytest.raises(KeyboardInterrupt):
        extract_features(source(), Failing(), batch_size=10, cache=FeatureCache(tmp_path))
    assert not list(tmp_path.iterdir())
