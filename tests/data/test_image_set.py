"""ImageSet itself: selection and what it refuses to be."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lt.data import ImageSet
from gan_lt.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)
LABELS = [0, 0, 0, 1, 1, 2]


def test_counts_images_and_subsets() -> None:
    image_set = ImageSet.from_arrays(IMAGES, LABELS, class_names=["a", "b", "c"])
    assert len(image_set) == 6
    assert image_set.num_classes == 3
    assert image_set.counts.tolist() == [3, 2, 1]
    assert image_set.counts.dtype == np.int64
    part = image_set.subset([5, 0])
    assert part.labels.tolist() == [2, 0]
    assert part.ids == ("5", "0")
    assert part.class_names == ("a", "b", "c")
    assert np.array_equal(part.images(), IMAGES[[5, 0]])
    masked = image_set.subset(image_set.labels == 1)
    assert np.array_equal(masked.images([1]), IMAGES[[4]])
    assert len(image_set.subset([])) == 0
    assert image_set.materialize() is image_set


def test_indices_outside_are_refused() -> None:
    image_set = ImageSet.from_arrays(IMAGES, LABELS)
    for indices, word in (([6], "index 6"), ([0, -1], "index -1"), ([0.5], "float64"), ([[0]], "shape")):
        with pytest.raises(InputError, match=word):
            image_set.images(indices)


def test_arrays_that_are_no_image_set_are_refused() -> None:
    with pytest.raises(InputError, match="float64"):
        ImageSet.from_arrays(IMAGES / 255, LABELS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\(6, 3, 8, 4\)"):
        ImageSet.from_arrays(IMAGES[..., :4], LABELS)
    with pytest.raises(InputError, match="2 channels"):
        ImageSet.from_arrays(IMAGES[:, :2], LABELS)
    with pytest.raises(InputError, match="label 2 is outside its 2 classes"):
        ImageSet.from_arrays(IMAGES, LABELS, class_names=["a", "b"])
    with pytest.raises(InputError, match=r"shape \(5,\)"):
        ImageSet.from_arrays(IMAGES, LABELS[:5])


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "a\\b", "/a", "a\n", "a\0", "C:"])
def test_class_names_that_are_no_folder_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="class name"):
        ImageSet.from_arrays(IMAGES, LABELS, class_names=["a", "b", name])


@pytest.mark.parametrize("name", [".x", "__MACOSX", "c:"])
def test_class_names_that_readers_pass_over_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"class name .*opened again: rename the class"):
        ImageSet.from_arrays(IMAGES, LABELS, class_names=["a", "b", name])


def test_labels_that_can_not_be_counted_are_refused() -> None:
    with pytest.raises(InputError, match=r"label 100000000000 is not a class index below"):
        ImageSet.from_arrays(IMAGES, [0, 0, 0, 1, 1, 10**11])
