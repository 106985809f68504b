"""Real images for the evaluation's tests: scikit-learn's digits, split as the toolkit splits them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from eval.extractors import ExtractorContext, build_extractor
from eval.extractors.classifier import ClassifierExtractor
from eval.sources import from_arrays
from gan_lt.data import open_image_set

Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


@pytest.fixture(scope="session")
def held_out() -> Arrays:
    """500 digits, 50 a class: the reference."""
    images = open_image_set("digits", split="test")
    return images.images(), images.labels


@pytest.fixture(scope="session")
def training() -> Arrays:
    """1,297 digits that the reference does not hold."""
    images = open_image_set("digits", split="train")
    return images.images(), images.labels


@pytest.fixture(scope="session")
def good_fake(training: Arrays) -> Arrays:
    """50 real digits a class that stand for what a perfect generator makes."""
    images, labels = training
    chosen = np.concatenate([np.flatnonzero(labels == k)[:50] for k in range(10)])
    return images[chosen], labels[chosen]


@pytest.fixture(scope="session")
def training_rest(training: Arrays) -> Arrays:
    """60 a class of the other digits: a training set that `good_fake` holds no image of."""
    images, labels = training
    chosen = np.concatenate([np.flatnonzero(labels == k)[50:110] for k in range(10)])
    return images[chosen], labels[chosen]


@pytest.fixture(scope="session")
def judge(held_out: Arrays) -> ClassifierExtractor:
    """The classifier trained on the reference: fitted once for all tests."""
    extractor = build_extractor("classifier", ExtractorContext(from_arrays(*held_out, "digits")))
    assert isinstance(extractor, ClassifierExtractor)
    return extractor
