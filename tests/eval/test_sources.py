"""Sources: arrays of every layout, folders, zips; and classes matched by name."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.alignment import align, counts_by_class
from eval.sources import SourceOptions, from_arrays, open_source
from gan_lt.errors import InputError

REAL, FAKE = SourceOptions("--real"), SourceOptions("--fake")


def images(n: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, 8, 8), dtype=np.uint8)


def folder(path: Path, classes: dict[str, int], channels: int = 3) -> Path:
    for name, count in classes.items():
        (path / name).mkdir(parents=True)
        for index, image in enumerate(images(count, channels)):
            pixels = image[0] if channels == 1 else image.transpose(1, 2, 0)
            Image.fromarray(pixels).save(path / name / f"{index}.png")
    return path


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_layouts_are_read_alike(layout: str, channels: int) -> None:
    given = images(6, channels)
    shown = given if layout == "nchw" else given.transpose(0, 2, 3, 1)
    source = from_arrays(shown, np.array([0, 0, 1, 1, 2, 2]), "given")
    np.testing.assert_array_equal(source.read(np.arange(6)), given)
    assert (source.channels, source.resolution, source.num_classes) == (channels, 8, 3)


def test_gray_without_a_channel_axis() -> None:
    given = images(4, 1)
    source = from_arrays(given[:, 0], [0, 0, 1, 1], "given")
    np.testing.assert_array_equal(source.read(np.arange(4)), given)


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (np.zeros((2, 3, 8, 8)), [0, 1], "dtype float64"),
        (images(2)[:, :, :, :4], [0, 1], "8x4"),
        (np.zeros((2, 2, 8, 8), np.uint8), [0, 1], "number of channels"),
        (images(2), [0], "2 integers"),
        (images(2), [0.0, 1.0], "dtype float64"),
        (images(2), [0, -1], "label -1"),
        (images(0), np.zeros(0, int), "0 images"),
    ],
)
def test_bad_arrays_are_named(pixels: np.ndarray, labels: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_arrays(pixels, labels, "given")


def test_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="--real is of type int"):
        open_source(3, REAL)
    with pytest.raises(InputError, match=r"--real .*nowhere"):
        open_source("nowhere", REAL)


def test_folder_and_zip_hold_the_same_images(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", {"cat": 3, "dog": 2})
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        labels = []
        for index, file in enumerate(sorted(root.glob("*/*.png"))):
            archive.write(file, f"{index}.png")
            labels.append([f"{index}.png", 0 if file.parent.name == "cat" else 1])
        archive.writestr("dataset.json", json.dumps({"labels": labels, "class_names": ["cat", "dog"]}))
    a, b = open_source(root, REAL), open_source(tmp_path / "set.zip", FAKE)
    assert a.class_names == b.class_names == ("cat", "dog")
    np.testing.assert_array_equal(a.read(np.arange(5)), b.read(np.arange(5)))


def test_classes_match_by_name_not_by_order(tmp_path: Path) -> None:
    real = open_source(folder(tmp_path / "real", {"cat": 2, "dog": 3}), REAL)
    with zipfile.ZipFile(tmp_path / "fake.zip", "w") as archive:
        labels = []
        for index, file in enumerate(sorted((tmp_path / "real").glob("*/*.png"))):
            archive.write(file, f"{index}.png")
            labels.append([f"{index}.png", 1 if file.parent.name == "cat" else 0])
        archive.writestr("dataset.json", json.dumps({"labels": labels, "class_names": ["dog", "cat"]}))
    sides = align(real, open_source(tmp_path / "fake.zip", FAKE))
    assert sides.class_names == ("cat", "dog")
    assert sides.fake.counts.tolist() == [2, 3]
    cats = sides.fake.read(sides.fake.of_class(0))
    np.testing.assert_array_equal(cats, real.read(real.of_class(0)))


def test_a_class_on_one_side_only_is_named(tmp_path: Path) -> None:
    real = open_source(folder(tmp_path / "real", {"cat": 2, "dog": 3}), REAL)
    fake = open_source(folder(tmp_path / "fake", {"cat": 2, "emu": 3}), FAKE)
    with pytest.raises(InputError, match=r"fake has no images of 'dog'; .*real has no images of 'emu'"):
        align(real, fake)
    sides = align(real, fake, allow_missing=True)
    assert sides.missing == ("dog",)
    assert sides.extra == ("emu",)
    assert len(sides.fake) == 2
    assert sides.fake.read(np.arange(2)).shape == (2, 3, 8, 8)


def test_names_from_a_mac_are_the_same_classes(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    real = open_source(folder(tmp_path / "real", {composed: 3, "dog": 2}), REAL)
    root = folder(tmp_path / "fake", {decomposed: 2, "dog": 2})
    classes = [{"name": decomposed, "real": 7, "made": 2}, {"name": "dog", "real": 9, "made": 2}]
    (root / "manifest.json").write_text(json.dumps({"classes": classes}))
    fake = open_source(root, FAKE)
    # a network keeps the names of the images it was trained on
    network = replace(fake, class_names=(decomposed, "dog"), train_counts={decomposed: 7, "dog": 9})
    for source in (fake, network):
        sides = align(real, source)
        assert sides.class_names == sides.fake.class_names == (composed, "dog")
        assert counts_by_class(None, sides.class_names, sides.fake) == [7, 9]
    assert counts_by_class({decomposed: 1, "dog": 2}, (composed, "dog")) == [1, 2]
    with pytest.raises(InputError, match="twice, in two Unicode forms"):
        align(real, replace(fake, class_names=(decomposed, composed)))


def test_labels_of_arrays_index_the_other_sides_classes(tmp_path: Path) -> None:
    real = open_source(folder(tmp_path / "real", {"10": 2, "20": 3}), REAL)
    sides = align(real, from_arrays(images(4), [0, 0, 1, 1], "given"))
    assert sides.fake.class_names == ("10", "20")
    with pytest.raises(InputError, match="label 2 is outside the 2 classes"):
        align(real, from_arrays(images(4), [0, 0, 2, 2], "given"))


def test_two_pairs_of_arrays_have_the_classes_their_labels_name() -> None:
    a = from_arrays(images(4), [2, 2, 7, 7], "a")
    sides = align(a, from_arrays(images(6), [7, 7, 2, 2, 2, 2], "b"))
    assert sides.class_names == ("2", "7")
    assert sides.fake.counts.tolist() == [4, 2]
    with pytest.raises(InputError, match="b has no images of '7'"):
        align(a, from_arrays(images(2), [2, 2], "b"))
    with pytest.raises(InputError, match="a has no images of '9'"):
        align(a, from_arrays(images(6), [2, 2, 7, 7, 9, 9], "b"))


def test_too_few_images_and_other_channels_are_refused() -> None:
    a = from_arrays(images(4), [0, 0, 1, 1], "a")
    with pytest.raises(InputError, match="b has 1 image of class '1'"):
        align(a, from_arrays(images(3), [0, 0, 1], "b"))
    with pytest.raises(InputError, match="3 channels and b has 1"):
        align(a, from_arrays(images(4, 1), [0, 0, 1, 1], "b"))


def test_training_counts_by_order_by_name_and_from_the_manifest(tmp_path: Path) -> None:
    names = ("cat", "dog")
    assert counts_by_class([5, 2], names) == [5, 2]
    assert counts_by_class({"dog": 2, "cat": 5, "emu": 1}, names) == [5, 2]
    assert counts_by_class(None, names) is None
    root = folder(tmp_path / "fake", {"cat": 2, "dog": 2})
    classes = [{"name": "dog", "real": 7, "made": 2}, {"name": "cat", "real": 9, "made": 2}]
    (root / "manifest.json").write_text(json.dumps({"classes": classes}))
    assert counts_by_class(None, names, open_source(root, FAKE)) == [9, 7]
    with pytest.raises(InputError, match="3 entries for 2 classes"):
        counts_by_class([1, 2, 3], names)
    with pytest.raises(InputError, match="no entry for 'dog'"):
        counts_by_class({"cat": 1}, names)
    with pytest.raises(InputError, match="-1 for class 'cat'"):
        counts_by_class([-1, 2], names)


def test_fingerprint_follows_the_images() -> None:
    a, labels = images(4), [0, 0, 1, 1]
    same, other = from_arrays(a.copy(), labels, "b"), from_arrays(images(4, seed=1), labels, "c")
    assert from_arrays(a, labels, "a").fingerprint() == same.fingerprint() != other.fingerprint()
    assert same.subset(np.array([0, 1])).fingerprint() != same.subset(np.array([0, 2])).fingerprint()
