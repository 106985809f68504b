"""open_image_set on folders, zips and named sets."""

from __future__ import annotations

import io
import json
import logging
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_lt.data import ImageSet, open_image_set
from gan_lt.errors import InputError

Make = Callable[..., Path]
_SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def test_folder_classes_and_images_are_in_natural_order(make_folder: Make) -> None:
    root = make_folder({"c10": 11, "c2": 1, "c1": 2})
    (root / "manifest.json").write_text("{}")
    (root / "c1" / "notes.txt").write_text("not an image")
    (root / ".cache").mkdir()
    image_set = open_image_set(root)
    assert image_set.class_names == ("c1", "c2", "c10")
    assert image_set.counts.tolist() == [2, 1, 11]
    assert image_set.ids[:3] == ("c1/0.png", "c1/1.png", "c2/0.png")
    assert image_set.ids[-2:] == ("c10/9.png", "c10/10.png")
    assert (image_set.resolution, image_set.channels, image_set.is_in_memory) == (16, 3, True)
    expected = np.asarray(Image.open(root / "c10" / "9.png")).transpose(2, 0, 1)
    assert np.array_equal(image_set.images([12])[0], expected)


@pytest.mark.parametrize("form", ["list", "dict"])
def test_zip_with_dataset_json(make_folder: Make, make_zip: Make, form: str) -> None:
    root = make_folder({"x": 2, "y": 1})
    pairs = [["x/0.png", 1], ["x/1.png", 1], ["y/0.png", 0]]
    labels = pairs if form == "list" else dict(pairs)
    named = open_image_set(make_zip(root, {"labels": labels, "class_names": ["first", "second"]}))
    assert named.class_names == ("first", "second")
    assert named.ids == ("y/0.png", "x/0.png", "x/1.png")
    assert named.labels.tolist() == [0, 1, 1]
    assert np.array_equal(named.images(), open_image_set(root).images([2, 0, 1]))
    assert open_image_set(make_zip(root, {"labels": labels})).class_names == ("y", "x")


def test_zip_without_a_folder_a_class_has_numbered_classes(make_folder: Make, make_zip: Make) -> None:
    root = make_folder({"00000": 3})
    pairs = [["00000/0.png", 0], ["00000/1.png", 1], ["00000/2.png", 1]]
    assert open_image_set(make_zip(root, {"labels": pairs})).class_names == ("0", "1")


@pytest.mark.parametrize("prefix", ["", "wrapped/", "a/b/"])
def test_zip_of_class_folders(make_folder: Make, make_zip: Make, prefix: str) -> None:
    root = make_folder({"cat": 2, "dog": 1})
    image_set = open_image_set(make_zip(root, prefix=prefix))
    assert image_set.class_names == ("cat", "dog")
    assert image_set.labels.tolist() == [0, 0, 1]
    assert np.array_equal(image_set.images(), open_image_set(root).images())


def test_folder_with_dataset_json(make_folder: Make) -> None:
    root = make_folder({"00000": 2})
    (root / "dataset.json").write_text(json.dumps({"labels": [["00000/0.png", 1], ["00000/1.png", 0]]}))
    assert open_image_set(root).ids == ("00000/1.png", "00000/0.png")


def test_digits_split_is_fixed_and_disjoint() -> None:
    train, test = open_image_set("digits"), open_image_set("digits:test")
    assert (len(train), len(test)) == (1297, 500)
    assert test.counts.tolist() == [50] * 10
    assert not set(train.ids) & set(test.ids)
    assert train.class_names == tuple("0123456789")
    assert (train.resolution, train.channels) == (16, 1)
    assert open_image_set("digits", split="test").ids == test.ids
    # Published figures depend on which images are held out, whatever NumPy's version.
    assert test.ids[:5] == EXPECTED_HELD_OUT


EXPECTED_HELD_OUT = ("1", "5", "6", "9", "12")


def test_digits_at_8_are_the_originals() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = open_image_set("digits", resolution=8)
    originals = digits.images[[int(index) for index in small.ids]]
    assert np.array_equal(small.images()[:, 0], np.rint(originals * 255 / 16).astype(np.uint8))
    assert np.array_equal(small.labels, digits.target[[int(index) for index in small.ids]])
    assert open_image_set("digits", channels=3, resolution=32).images().shape == (1297, 3, 32, 32)


def test_resolution_crops_the_centre_and_averages(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    pixels = np.zeros((32, 48), dtype=np.uint8)
    pixels[:, 8:40] = 200  # the centred square alone is bright
    Image.fromarray(pixels).save(tmp_path / "a" / "0.png")
    image_set = open_image_set(tmp_path, resolution=8)
    assert image_set.images().shape == (1, 1, 8, 8)
    assert (image_set.images() == 200).all()
    checks = np.indices((32, 32)).sum(axis=0) % 2 * 255
    Image.fromarray(checks.astype(np.uint8)).save(tmp_path / "a" / "0.png")
    # An antialiased filter sees gray in the finest chequers; picking pixels would see black or white.
    assert np.abs(open_image_set(tmp_path, resolution=8).images().astype(int) - 127).max() <= 16


def test_modes_become_gray_or_rgb(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(gray).save(tmp_path / "a" / "0.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "a" / "1.png")
    Image.fromarray(gray).convert("P").save(tmp_path / "a" / "2.png")
    Image.merge("LA", [Image.fromarray(gray), Image.new("L", (8, 8), 255)]).save(tmp_path / "a" / "3.png")
    Image.new("LA", (8, 8), (0, 0)).save(tmp_path / "a" / "4.png")
    image_set = open_image_set(tmp_path)
    assert image_set.channels == 1
    assert np.array_equal(image_set.images()[:4, 0], np.stack([gray] * 4))
    assert (image_set.images()[4] == 255).all()  # transparent over white
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "a" / "5.png")
    coloured = open_image_set(tmp_path)
    assert coloured.channels == 3
    assert coloured.images()[5, :, 0, 0].tolist() == [255, 0, 0]
    assert np.array_equal(coloured.images()[0], np.stack([gray] * 3))
    assert open_image_set(tmp_path, channels=1).images()[5, 0, 0, 0] == 76  # 0.299 of 255


def test_exif_orientation_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    pixels = np.zeros((16, 16), dtype=np.uint8)
    pixels[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    Image.fromarray(pixels).save(tmp_path / "a" / "0.jpg", exif=exif, quality=95)
    image = open_image_set(tmp_path).images()[0, 0]
    assert image[:8].max() < 10
    assert image[8:].min() > 245


def _cifar_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A tiny CIFAR-10 in its own file format, with the checksums torchvision looks for."""
    import hashlib
    import pickle

    from gan_lt.torchvision_compat import import_torchvision

    import_torchvision()
    from torchvision.datasets import CIFAR10

    base = folder / CIFAR10.base_folder
    base.mkdir(parents=True)
    data = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)

    def write(name: str, content: object) -> list[str]:
        (base / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((base / name).read_bytes()).hexdigest()]  # noqa: S324

    train = write("data_batch_1", {"data": data[:10], "labels": list(range(10))})
    test = write("test_batch", {"data": data[10:], "labels": list(range(10))})
    meta = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "train_list", [train])
    monkeypatch.setattr(CIFAR10, "test_list", [test])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar.tar.gz")
    return data.reshape(20, 3, 32, 32)


def test_cifar_from_a_copy_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _cifar_root(tmp_path, monkeypatch)
    train = open_image_set("cifar10", data_root=tmp_path)
    assert np.array_equal(train.images(), images[:10])
    assert train.class_names == tuple("abcdefghij")
    test = open_image_set("cifar10:test", data_root=tmp_path / "cifar-10-batches-py")
    assert np.array_equal(test.images(), images[10:])
    assert open_image_set("cifar10", data_root=tmp_path, resolution=16, channels=1).images().shape[1:] == (
        1,
        16,
        16,
    )


def test_cifar_that_can_not_be_had_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _cifar_root(tmp_path / "elsewhere", monkeypatch)
    with pytest.raises(InputError, match=r"cifar10 is not in .*cifar-10-python\.tar\.gz.*--data-root FOLDER"):
        open_image_set("cifar10", data_root=tmp_path)
    with pytest.raises(InputError, match=r"--data-root .*nowhere is not a folder"):
        open_image_set("cifar10", data_root=tmp_path / "nowhere")


def _refused(spec: Path | str, *words: str, **options: object) -> None:
    with pytest.raises(InputError) as caught:
        open_image_set(spec, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_bad_options_are_refused(make_folder: Make) -> None:
    root = make_folder({"a": 1})
    for resolution in (4, 48, 2048, 0, -8):
        _refused(root, f"--resolution {resolution}", "power of two from 8 to 1024", resolution=resolution)
    _refused(root, "channels 4", channels=4)
    _refused(root, "split 'valid'", split="valid")
    _refused("digits:valid", "'valid'", "digits:test")
    _refused("no/such/place", "--data no/such/place", "sub-folder", "dataset.json", "cifar100")
    _refused("no/such/place", "--real no/such/place", option="--real")


def test_sizes_that_do_not_fit_are_refused(make_folder: Make) -> None:
    mixed = make_folder({"a": 1}, size=(16, 16), name="mixed")
    Image.new("RGB", (32, 32)).save(mixed / "a" / "big.png")
    _refused(mixed, "a/0.png is 16x16", "a/big.png is 32x32", "--resolution")
    assert open_image_set(mixed, resolution=8).images().shape == (2, 3, 8, 8)
    _refused(make_folder({"a": 1}, size=(16, 8), name="wide"), "a/0.png is 16x8", "--resolution")
    odd = make_folder({"a": 1}, size=(28, 28), name="odd")
    _refused(odd, "28x28", "--resolution")
    assert open_image_set(odd, any_size=True).resolution == 28


def test_folders_without_labelled_images_are_refused(make_folder: Make, tmp_path: Path) -> None:
    empty = make_folder({"cat": 1, "dog": 0})
    _refused(empty, "class 'dog' has no images")
    flat = tmp_path / "flat"
    flat.mkdir()
    _refused(flat, "flat", "sub-folder for every class")
    (flat / "0.bin").write_text("not a zip")
    _refused(flat / "0.bin", "not a zip")


def test_corrupt_images_are_named_or_left_out(make_folder: Make, caplog: pytest.LogCaptureFixture) -> None:
    root = make_folder({"cat": 200, "dog": 2})
    whole = (root / "cat" / "7.png").read_bytes()
    (root / "cat" / "7.png").write_bytes(whole[: len(whole) // 2])
    _refused(root, "cat/7.png is corrupt", "--skip-corrupt")
    (root / "dog" / "0.png").write_bytes(b"no image at all")
    _refused(root, "dog/0.png is corrupt", "--skip-corrupt")
    with caplog.at_level(logging.WARNING):
        image_set = open_image_set(root, skip_corrupt=True)
    assert image_set.skipped == ("dog/0.png", "cat/7.png")
    assert "2 corrupt images: dog/0.png, cat/7.png" in caplog.text
    assert image_set.counts.tolist() == [199, 1]
    for index in (6, 7, -1):
        expected = np.asarray(Image.open(root / image_set.ids[index])).transpose(2, 0, 1)
        assert np.array_equal(image_set.images()[index], expected)
    (root / "dog" / "1.png").write_bytes(b"")
    _refused(root, "class 'dog' has no images", skip_corrupt=True)


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
    _refused(make_zip(make_folder({"a": 2}), document), "set.zip", *words)


def test_zips_without_labels_are_refused(make_folder: Make, make_zip: Make, tmp_path: Path) -> None:
    flat = make_folder({"": 2})
    _refused(make_zip(flat), "set.zip", "no labelled images", "dataset.json")
    broken = make_zip(flat)
    with zipfile.ZipFile(broken, "a") as archive:
        archive.writestr("dataset.json", "{")
    _refused(broken, "dataset.json is not JSON")
    with zipfile.ZipFile(tmp_path / "empty_class.zip", "w") as archive:
        archive.write(flat / "0.png", "cat/0.png")
        archive.mkdir("dog")
    _refused(tmp_path / "empty_class.zip", "class 'dog' has no images")


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "..\\x.png", "C:/x.png"])
def test_zip_names_that_escape_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    _refused(tmp_path / "bad.zip", "outside the zip")


def test_zip_bombs_and_huge_images_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", bytes(4 * 2**20))
    _refused(tmp_path / "bomb.zip", "a/0.png", "more than 1000 times")
    header = io.BytesIO()
    Image.new("1", (8, 8)).save(header, "PNG")
    data = bytearray(header.getvalue())
    data[16:24] = (40000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with zipfile.ZipFile(tmp_path / "huge.zip", "w") as archive:
        archive.writestr("a/0.png", bytes(data))
    _refused(tmp_path / "huge.zip", "a/0.png", "pixels", resolution=8)


def test_a_damaged_zip_entry_is_a_corrupt_image(make_folder: Make, make_zip: Make) -> None:
    path = make_zip(make_folder({"a": 2}))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("a/1.png").header_offset
    data[offset + 200] ^= 0xFF
    path.write_bytes(bytes(data))
    _refused(path, "a/1.png is corrupt", "CRC", "--skip-corrupt")
    assert open_image_set(path, skip_corrupt=True).skipped == ("a/1.png",)


def test_fingerprint_follows_what_matters(make_folder: Make) -> None:
    root = make_folder({"cat": 3, "dog": 2})
    first = open_image_set(root)
    copy = root.with_name("copy")
    shutil.copytree(root, copy)
    assert open_image_set(copy).fingerprint() == first.fingerprint()
    lazy = ImageSet(**{**vars(first), "pixels": first.pixels.origin})
    assert lazy.fingerprint() == first.fingerprint() == lazy.materialize().fingerprint()
    others = {
        first.fingerprint(),
        first.subset([0, 1, 3]).fingerprint(),
        open_image_set(root, resolution=8).fingerprint(),
        open_image_set(root, channels=1).fingerprint(),
    }
    Image.new("RGB", (16, 16)).save(copy / "cat" / "0.png")
    others.add(open_image_set(copy).fingerprint())
    (root / "cat").rename(root / "bat")
    others.add(open_image_set(root).fingerprint())
    assert len(others) == 6


@pytest.mark.slow
@pytest.mark.skipif(not _SHARED.is_dir(), reason="shared/data with the CIFAR-10-LT zip is absent")
def test_cifar10_lt_zip() -> None:
    image_set = open_image_set(_SHARED / "cifar10-lt-r100-train.zip")
    assert image_set.counts.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert image_set.class_names[0] == "airplane"
    assert image_set.images().shape == (12406, 3, 32, 32)


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
    _refused(path, "image a/0.png is corrupt (Memory usage limit exceeded)")


def test_zips_of_unknown_compression_are_refused_at_once(make_folder: Make, make_zip: Make) -> None:
    whole = make_zip(make_folder({"a": 2})).read_bytes()
    last = whole.rindex(b"PK\x01\x02")
    for method, called in ((93, "Zstandard"), (34560, "the unknown method 34560")):
        path = make_zip(make_folder({"a": 2}, name=f"set{method}"))
        path.write_bytes(whole[: last + 10] + method.to_bytes(2, "little") + whole[last + 12 :])
        _refused(path, f"is compressed by {called}: make the zip again with deflate or stored")
    path.write_bytes(whole[: last + 8] + b"\x01" + whole[last + 9 :])
    _refused(path, "is encrypted: make the zip again without a password")
