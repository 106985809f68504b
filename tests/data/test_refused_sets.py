"""Image sets that can not be opened are refused with one line that names file and remedy."""

from __future__ import annotations

import io
import logging
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_lt.data import open_image_set
from gan_lt.errors import InputError
from tests.data.refusals import refused

Make = Callable[..., Path]


def test_bad_options_are_refused(make_folder: Make) -> None:
    root = make_folder({"a": 1})
    for resolution in (4, 48, 2048, 0, -8):
        refused(root, f"--resolution {resolution}", "power of two from 8 to 1024", resolution=resolution)
    refused(root, "channels 4", channels=4)
    refused(root, "split 'valid'", split="valid")
    refused("digits:valid", "'valid'", "digits:test")
    refused("no/such/place", "--data no/such/place", "sub-folder", "dataset.json", "cifar100")
    refused("", "--data is empty", "a folder", "digits")
    refused("", "--real is empty", option="--real")
    refused("no/such/place", "--real no/such/place", option="--real")


def test_sizes_that_do_not_fit_are_refused(make_folder: Make) -> None:
    mixed = make_folder({"a": 1}, size=(16, 16), name="mixed")
    Image.new("RGB", (32, 32)).save(mixed / "a" / "big.png")
    refused(mixed, "a/0.png is 16x16", "a/big.png is 32x32", "--resolution")
    assert open_image_set(mixed, resolution=8).images().shape == (2, 3, 8, 8)
    refused(make_folder({"a": 1}, size=(16, 8), name="wide"), "a/0.png is 16x8", "--resolution")
    odd = make_folder({"a": 1}, size=(28, 28), name="odd")
    refused(odd, "28x28", "--resolution")
    assert open_image_set(odd, any_size=True).resolution == 28


def test_folders_without_labelled_images_are_refused(make_folder: Make, tmp_path: Path) -> None:
    empty = make_folder({"cat": 1, "dog": 0})
    refused(empty, "class 'dog' has no images")
    flat = tmp_path / "flat"
    flat.mkdir()
    refused(flat, "flat", "sub-folder for every class")
    (flat / "0.bin").write_text("not a zip")
    refused(flat / "0.bin", "not a zip")


def test_a_folder_that_may_be_a_class_or_lie_around_classes_is_refused(
    make_folder: Make, make_zip: Make
) -> None:
    root = make_folder({"data": 1, "data/cat": 2, "data/dog": 1})
    for path in (root, make_zip(root)):
        refused(path, path.name, "data/", "1 images (data/0.png, ...)", "(data/cat, data/dog, ...)", "move")
    with tarfile.open(root.with_name("set.tar"), "w") as shard:
        shard.add(root, ".")
    refused(root.with_name("set.tar"), "set.tar", "data/", "1 images (data/0.png, ...)")


def test_an_empty_class_in_a_folder_around_is_refused(make_folder: Make) -> None:
    refused(make_folder({"data/cat": 1, "data/dog": 0}), "class 'dog' has no images")


def test_links_that_lead_back_are_refused(make_folder: Make) -> None:
    root = make_folder({"a": 1})
    (root / "b").symlink_to(root, target_is_directory=True)
    refused(root, "b links to", "which it lies in itself", "remove the link")
    first, second = make_folder({"": 0}, name="first"), make_folder({"": 0}, name="second")
    (first / "on").symlink_to(second, target_is_directory=True)
    (second / "on").symlink_to(first, target_is_directory=True)
    refused(first, "on links to", "remove the link")


def test_corrupt_images_are_named_or_left_out(make_folder: Make, caplog: pytest.LogCaptureFixture) -> None:
    root = make_folder({"cat": 200, "dog": 2})
    whole = (root / "cat" / "7.png").read_bytes()
    (root / "cat" / "7.png").write_bytes(whole[: len(whole) // 2])
    refused(root, "cat/7.png is corrupt", "--skip-corrupt")
    (root / "dog" / "0.png").write_bytes(b"no image at all")
    refused(root, "dog/0.png is corrupt", "--skip-corrupt")
    with caplog.at_level(logging.WARNING):
        image_set = open_image_set(root, skip_corrupt=True)
    assert image_set.skipped == ("dog/0.png", "cat/7.png")
    assert "2 corrupt images: dog/0.png, cat/7.png" in caplog.text
    assert image_set.counts.tolist() == [199, 1]
    for index in (6, 7, -1):
        expected = np.asarray(Image.open(root / image_set.ids[index])).transpose(2, 0, 1)
        assert np.array_equal(image_set.images()[index], expected)
    (root / "dog" / "1.png").write_bytes(b"")
    refused(root, "class 'dog' has no images", skip_corrupt=True)


def test_large_sets_stream_and_say_which_image_is_corrupt(
    make_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"cat": 5})
    decoded = open_image_set(root)
    monkeypatch.setattr("gan_lt.data.opening.IN_MEMORY_BYTES", 0)
    streamed = open_image_set(root)
    assert not streamed.is_in_memory
    assert np.array_equal(streamed.images([3, 1]), decoded.images([3, 1]))
    assert streamed.materialize().is_in_memory
    (root / "cat" / "3.png").write_bytes((root / "cat" / "3.png").read_bytes()[:300])
    with pytest.raises(InputError, match=r"cat/3\.png is corrupt"):
        streamed.images()
    kept = open_image_set(root, skip_corrupt=True)
    assert (kept.skipped, len(kept), kept.is_in_memory) == (("cat/3.png",), 4, False)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"labels": None}, ['no "labels"']),
        ([1], ['no "labels"']),
        ({"labels": [["a/0.png", 0]]}, ["a/1.png", "no label"]),
        ({"labels": [["a/0.png", 0], ["a/1.png", 0], ["a/2.png", 0]]}, ["not there", "a/2.png"]),
        ({"labels": [["a/0.png", 0], ["a/1.png", -1]]}, ["label -1 of a/1.png"]),
        ({"labels": [["a/0.png", 0], ["a/1.png", 1.5]]}, ["label 1.5 of a/1.png"]),
        (
            {"labels": [["a/0.png", 0], ["a/1.png", 2]], "class_names": ["x", "y"]},
            ["label 2", "the 2 classes"],
        ),
        ({"labels": [["a/0.png", 0], ["a/1.png", 10**12]]}, ["2 images for 1000000000001 classes"]),
        (
            {"labels": [["a/0.png", 1], ["a/1.png", 1]], "class_names": ["x", "y"]},
            ["class 'x' has no images"],
        ),
        ({"labels": [["a/0.png", 1], ["a/0.png", 1]]}, ["a/0.png is labelled twice"]),
        (
            {"labels": [["a/0.png", 0], ["a/1.png", 1]], "class_names": ["x", "x"]},
            ["two classes are named 'x'"],
        ),
        (
            {"labels": [["a/0.png", 0], ["a/1.png", 1]], "class_names": ["x", "../y"]},
            ["'../y'", "folder's name"],
        ),
        ({"labels": [["a/0.png", 0], ["a/1.png", 1]], "class_names": "xy"}, ["must be a list"]),
        ({"labels": [["a/0.png"], ["a/1.png", 1]]}, ["not an [image, label] pair"]),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    make_folder: Make, make_zip: Make, document: object, words: list[str]
) -> None:
    refused(make_zip(make_folder({"a": 2}), document), "set.zip", *words)


def test_zips_without_labels_are_refused(make_folder: Make, make_zip: Make, tmp_path: Path) -> None:
    flat = make_folder({"": 2})
    refused(make_zip(flat), "set.zip", "no labelled images", "dataset.json")
    broken = make_zip(flat)
    with zipfile.ZipFile(broken, "a") as archive:
        archive.writestr("dataset.json", "{")
    refused(broken, "dataset.json is not JSON")
    with zipfile.ZipFile(tmp_path / "empty_class.zip", "w") as archive:
        archive.write(flat / "0.png", "cat/0.png")
        archive.mkdir("dog")
    refused(tmp_path / "empty_class.zip", "class 'dog' has no images")


@pytest.mark.parametrize(
    "name", ["../x.png", "/etc/x.png", "a/../../x.png", "..\\x.png", "C:/x.png", "c:\\x.png"]
)
def test_zip_names_that_escape_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    refused(tmp_path / "bad.zip", "outside the zip")


def test_zip_names_that_mean_the_same_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a/0.png", b"x")
        archive.writestr("./a/0.png", b"y")
    refused(tmp_path / "twice.zip", "'./a/0.png' is there twice")


def test_zip_bombs_and_huge_images_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", bytes(4 * 2**20))
    refused(tmp_path / "bomb.zip", "a/0.png", "more than 1000 times")
    header = io.BytesIO()
    Image.new("1", (8, 8)).save(header, "PNG")
    data = bytearray(header.getvalue())
    data[16:24] = (40000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with zipfile.ZipFile(tmp_path / "huge.zip", "w") as archive:
        archive.writestr("a/0.png", bytes(data))
    refused(tmp_path / "huge.zip", "a/0.png", "pixels", resolution=8)


def test_a_damaged_zip_entry_is_a_corrupt_image(make_folder: Make, make_zip: Make) -> None:
    path = make_zip(make_folder({"a": 2}))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("a/1.png").header_offset
    data[offset + 200] ^= 0xFF
    path.write_bytes(bytes(data))
    refused(path, "a/1.png is corrupt", "CRC", "--skip-corrupt")
    assert open_image_set(path, skip_corrupt=True).skipped == ("a/1.png",)


def test_zips_are_read_however_they_are_compressed(make_folder: Make, tmp_path: Path) -> None:
    folder = make_folder({"a": 3, "b": 2})
    expected = open_image_set(folder).images()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = tmp_path / f"{method}.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for file in sorted(folder.rglob("*.png")):
                archive.write(file, file.relative_to(folder).as_posix())
        assert np.array_equal(open_image_set(path).images(), expected)
    data = bytearray(path.read_bytes())
    begin = 30 + len("a/0.png") + 4  # the properties: then what the dictionary takes
    data[begin + 1 : begin + 5] = b"\xff" * 4
    path.write_bytes(data)
    refused(path, "image a/0.png is corrupt (Memory usage limit exceeded)")


def test_zips_of_unknown_compression_are_refused_at_once(make_folder: Make, make_zip: Make) -> None:
    whole = make_zip(make_folder({"a": 2})).read_bytes()
    last = whole.rindex(b"PK\x01\x02")
    for method, called in ((93, "Zstandard"), (34560, "the unknown method 34560")):
        path = make_zip(make_folder({"a": 2}, name=f"set{method}"))
        path.write_bytes(whole[: last + 10] + method.to_bytes(2, "little") + whole[last + 12 :])
        refused(path, f"is compressed by {called}: make the zip again with deflate or stored")
    path.write_bytes(whole[: last + 8] + b"\x01" + whole[last + 9 :])
    refused(path, "is encrypted: make the zip again without a password")
