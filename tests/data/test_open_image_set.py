"""open_image_set on folders, zips and named sets."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("prefix", ["", "wrapped/", "a/b/"])
@pytest.mark.parametrize("stray", [False, True])
def test_a_folder_around_the_classes_is_passed_over(
    make_folder: Make, make_zip: Make, prefix: str, stray: bool
) -> None:
    """In folders as in zips, and whatever image lies beside it."""
    root = make_folder({f"{prefix}cat": 2, f"{prefix}dog": 1})
    if stray:
        shutil.copy(root / prefix / "cat" / "0.png", root / "preview.png")
    folder, archive = open_image_set(root), open_image_set(make_zip(root))
    assert folder.class_names == archive.class_names == ("cat", "dog")
    assert folder.ids == archive.ids == (f"{prefix}cat/0.png", f"{prefix}cat/1.png", f"{prefix}dog/0.png")
    assert np.array_equal(folder.images(), archive.images())


def test_one_class_with_images_at_two_depths_stays_one(make_folder: Make, make_zip: Make) -> None:
    root = make_folder({"cat": 2, "cat/more": 1})
    for path in (root, make_zip(root)):
        assert open_image_set(path).class_names == ("cat",)
        assert len(open_image_set(path)) == 3


@pytest.mark.parametrize("around", ["", "set/"])
def test_dataset_json_in_the_folder_around_all_images(make_folder: Make, make_zip: Make, around: str) -> None:
    root = make_folder({f"{around}00000": 2})
    shutil.copy(root / around / "00000" / "0.png", root / "preview.png")
    labels = {"00000/0.png": 1, "./00000/1.png": 0} | ({} if around else {"preview.png": 0})
    (root / around / "dataset.json").write_text(json.dumps({"labels": labels}))
    archive = make_zip(root)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.write(root / around / "dataset.json", f"{around}dataset.json")
    for path in (root, archive):
        image_set = open_image_set(path)
        assert image_set.class_names == ("0", "1")
        assert image_set.ids[-1] == f"{around}00000/0.png"


def test_zip_names_may_begin_with_a_dot_and_slash(make_folder: Make, make_zip: Make) -> None:
    root = make_folder({"cat": 2, "dog": 1})
    with_dots = open_image_set(make_zip(root, prefix="./"))
    assert with_dots.ids == open_image_set(root).ids == ("cat/0.png", "cat/1.png", "dog/0.png")
    assert np.array_equal(with_dots.images(), open_image_set(root).images())
    pairs = [["./cat/0.png", 1], ["./cat/1.png", 0], ["./dog/0.png", 1]]
    assert open_image_set(make_zip(root, {"labels": pairs}, prefix="./")).labels.tolist() == [0, 1, 1]


def test_class_folders_may_be_links(make_folder: Make) -> None:
    elsewhere = make_folder({"b": 2}, name="elsewhere")
    root = make_folder({"a": 1})
    (root / "b").symlink_to(elsewhere / "b", target_is_directory=True)
    assert open_image_set(root).counts.tolist() == [1, 2]
    around = root.with_name("around")
    around.mkdir()
    (around / "data").symlink_to(root, target_is_directory=True)
    assert open_image_set(around).ids == ("data/a/0.png", "data/b/0.png", "data/b/1.png")
    (root / "a" / "again").symlink_to(root, target_is_directory=True)  # inside a class: not followed
    assert len(open_image_set(root)) == 3
    sole = make_folder({"c": 1}, name="sole")
    (sole / "c" / "more").symlink_to(elsewhere / "b", target_is_directory=True)  # nor inside the only one
    assert open_image_set(sole).ids == ("c/0.png",)


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_a_path_is_a_path_whatever_it_is_called(
    make_folder: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_folder({"cat": 2}, name=name).parent)
    for spec in (Path(f"./{name}"), f"./{name}"):
        assert open_image_set(spec).class_names == ("cat",)


def test_names_with_very_long_numbers_are_sorted(make_folder: Make, make_zip: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 1})
    with zipfile.ZipFile(tmp_path / "long.zip", "w") as archive:
        for name in ("9" * 5000, "1" + "0" * 5000, "007", "8"):
            archive.write(root / "a" / "0.png", f"a/{name}.png")
    lengths = [len(name) for name in open_image_set(tmp_path / "long.zip").ids]
    assert lengths == [9, 7, 5006, 5007]


@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8])
def test_sizes_may_be_integers_of_numpy(make_folder: Make, integer: type[np.integer[Any]]) -> None:
    root = make_folder({"a": 1})
    image_set = open_image_set(root, resolution=integer(8), channels=integer(1))
    assert image_set.fingerprint() == open_image_set(root, resolution=8, channels=1).fingerprint()


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
    with pytest.raises(InputError, match=r"cifar10 is not in .*cifar-10-python\.tar\.gz.*data_root=FOLDER"):
        open_image_set("cifar10", data_root=tmp_path)
    with pytest.raises(InputError, match=r"data_root .*nowhere is not a folder"):
        open_image_set("cifar10", data_root=tmp_path / "nowhere")


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


def test_messages_name_arguments_where_python_calls_and_options_where_a_command_does(
    make_folder: Make, tmp_path: Path
) -> None:
    wide = make_folder({"a": 1}, size=(16, 8))
    file = tmp_path / "list.txt"
    file.write_text("a/9.png 0")
    for spec, given, python, command in (
        (wide, {}, "resolution=N", "--resolution N"),
        (wide, {"resolution": 48}, "resolution 48", "--resolution 48"),
        (file, {}, "data_root", "--data-root"),
        (file, {"data_root": tmp_path / "no"}, "data_root", "--data-root"),
        ("cifar10", {"data_root": tmp_path / "no"}, "data_root", "--data-root"),
        ("", {}, "spec is empty", "--real is empty"),
        ("digits:valid", {}, "digits:valid", "--real digits:valid"),
    ):
        with pytest.raises(InputError) as caught:
            open_image_set(spec, **given)
        assert python in str(caught.value)
        assert "--" not in str(caught.value)
        with pytest.raises(InputError) as caught:
            open_image_set(spec, **given, option="--real")
        assert command in str(caught.value)
