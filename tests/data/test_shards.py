"""WebDataset shards as image sets: the same pixels, labels and names as folders and zips, and little memory."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan_lt.commands import generate_command, train_command
from gan_lt.data import BatchLoader, ImageSet, open_image_set, sampler_for
from gan_lt.data.shards import label_shards
from gan_lt.data.tar_members import TarMembers
from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.sampling import plan_per_class, write_synthetic_set
from tests.conftest import TINY_NETWORKS
from tests.data.refusals import refused
from tests.data.shard_files import labelled, png, write_shard

Make = Callable[..., Path]
TINY = ["--batch=8", "--kimg=0.016", *TINY_NETWORKS, "training.tick_kimg=0.016"]


def pixels_by_id(images: ImageSet) -> dict[str, bytes]:
    return {name: image.tobytes() for name, image in zip(images.ids, images.images(), strict=True)}


@pytest.fixture
def generator() -> Generator:
    return Generator(
        z_dim=8,
        num_classes=3,
        w_dim=8,
        resolution=8,
        img_channels=3,
        channel_base=64,
        channel_max=8,
        mapping_layers=2,
        class_names=["ant", "bee", "cow"],
    ).eval()


def test_folder_zip_and_shards_hold_the_same(generator: Generator, tmp_path: Path) -> None:
    plan = plan_per_class(generator, 7, ["ant", "cow"])  # bee has no image
    folder, archive, shards = tmp_path / "folder", tmp_path / "zip.zip", tmp_path / "shards"
    write_synthetic_set(generator, plan, folder)
    write_synthetic_set(generator, plan, archive, set_format="zip")
    write_synthetic_set(generator, plan, shards, set_format="webdataset", shard_images=4)
    a, b, c = (open_image_set(path) for path in (folder, archive, shards))
    assert len(list(shards.glob("*.tar"))) == 4
    assert a.class_names == b.class_names == c.class_names == ("ant", "cow")
    assert a.counts.tolist() == b.counts.tolist() == c.counts.tolist() == [7, 7]
    assert np.array_equal(a.images(), b.images())
    # the manifest lists the shards' images in the folder's order
    place = {name: position for position, name in enumerate(c.ids)}
    order = [place[image["file"]] for image in json.loads((shards / "manifest.json").read_text())["images"]]
    assert np.array_equal(c.labels[order], a.labels)
    assert np.array_equal(c.images(order), a.images())
    assert len(set(map(bytes, a.images()))) == 14


def test_class_names_come_from_the_manifest_else_json_else_numbers(tmp_path: Path) -> None:
    write_shard(tmp_path / "a" / "0.tar", labelled(4, classes=3))
    assert open_image_set(tmp_path / "a").class_names == ("0", "1", "2")
    assert open_image_set(tmp_path / "a").labels.tolist() == [0, 0, 1, 2]
    manifest = {"classes": [{"name": name} for name in ("x", "y", "z")], "images": [{"file": "f"}]}
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(manifest))
    assert open_image_set(tmp_path / "a").class_names == ("x", "y", "z")
    assert open_image_set(tmp_path / "a" / "0.tar").class_names == ("x", "y", "z")
    manifest["classes"] = [{"name": "x"}]
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(manifest))
    refused(tmp_path / "a", "label 2 is outside the 1 classes of its manifest.json")
    (tmp_path / "a" / "manifest.json").write_text("{")
    refused(tmp_path / "a", "manifest.json can't be read")

    facts = [{"label": 7, "class_name": "owl"}, {"label": 2, "class_name": "elk"}]
    files = {
        f"{i}.{kind}": data
        for i in range(2)
        for kind, data in (("json", json.dumps(facts[i]).encode()), ("png", png(i)))
    }
    images = open_image_set(write_shard(tmp_path / "b.tar", files))
    assert (images.class_names, images.ids) == (("elk", "owl"), ("b.tar/1.png", "b.tar/0.png"))


@pytest.mark.parametrize("around", ["", "./", "photos/"])
def test_a_tar_of_class_folders_is_the_folder(make_folder: Make, tmp_path: Path, around: str) -> None:
    root = make_folder({"c10": 11, "c2": 1})
    with tarfile.open(tmp_path / "set.tar", "w") as shard:
        for file in sorted(root.rglob("*.png"), reverse=True):
            shard.add(file, around + file.relative_to(root).as_posix())
        shard.add(root / "c2" / "0.png", f"{around}c2/._hidden.png")
    folder, shards = open_image_set(root), open_image_set(tmp_path / "set.tar")
    assert shards.class_names == folder.class_names == ("c2", "c10")
    assert np.array_equal(shards.labels, folder.labels)
    assert np.array_equal(shards.images(), folder.images())


def test_patterns_choose_shards(tmp_path: Path) -> None:
    for shard in range(12):
        write_shard(tmp_path / "set" / f"train-{shard:03d}.tar", labelled(2, start=2 * shard))
    images = open_image_set(tmp_path / "set" / "train-{000..002}.tar")
    assert sorted(images.ids)[-1] == "train-002.tar/000005.png"
    assert len(images) == 6
    assert len(open_image_set(f"{tmp_path}/set/train-0?1.tar")) == 4
    assert len(open_image_set(tmp_path / "set" / "train-{000,011}.tar")) == 4
    assert len(open_image_set(tmp_path / "s*" / "train-*.tar")) == 24
    refused(tmp_path / "set" / "train-{010..012}.tar", "train-012.tar is not there")
    refused(tmp_path / "set" / "test-*.tar", "no shard has such a name")
    refused(tmp_path / "set" / "train-{0..999999}.tar", "up to 100,000 shards")
    refused(tmp_path / "set" / "train-{}.tar", "neither")
    refused(tmp_path / "set" / "train.tar", "no such file")
    refused(f"~nobody-here/{'x' * 300}.tar", "no such file")
    every = ",".join(f"train-{shard:03d}" for shard in range(12))
    every += "," + ",".join([every] * 3)  # a name longer than a file's may be
    assert len(open_image_set(f"{tmp_path}/set/{{{every}}}.tar")) == 24


def test_brackets_in_the_name_of_a_folder_or_shard_are_letters(tmp_path: Path) -> None:
    for shard in range(2):
        write_shard(tmp_path / "d[1]" / f"t-{shard}.tar", labelled(2, start=2 * shard))
        write_shard(tmp_path / "d1" / f"x[{shard}].tar", labelled(3, start=3 * shard))
        write_shard(tmp_path / "d1" / f"y{shard}.tar", labelled(1, start=shard))
    assert len(open_image_set(tmp_path / "d[1]" / "t-{0..1}.tar")) == 4
    assert len(open_image_set(tmp_path / "d[1]" / "t-*.tar")) == 4
    assert len(open_image_set(tmp_path / "d1" / "x[{0,1}].tar")) == 6
    assert len(open_image_set(tmp_path / "d1" / "y[01].tar")) == 2
    assert len(open_image_set(tmp_path / "d[0-9]" / "y*.tar")) == 2
    refused(tmp_path / "d[1]" / "t-{0..2}.tar", "t-2.tar is not there")


def test_several_images_in_a_sample(tmp_path: Path) -> None:
    files = {"a.jpg.txt": b"", "a.png": png(1), "a.seg.png": png(2), "a.cls": b"0", "a.npy": b"x"}
    images = open_image_set(write_shard(tmp_path / "a.tar", files))
    assert images.ids == ("a.tar/a.png",)
    refused(
        write_shard(tmp_path / "b.tar", {"a.png": png(1), "a.jpg": png(1), "a.cls": b"0"}), "'a'", "2 images"
    )
    refused(
        write_shard(tmp_path / "c.tar", {"a.npy": b"x", "a.cls": b"0"}), "'a'", "0 images", ".npy", ".png"
    )


def test_training_and_topping_up_from_shards(tmp_path: Path) -> None:
    for shard in range(3):
        write_shard(tmp_path / "set" / f"{shard}.tar", labelled(4, classes=3, start=4 * shard + shard // 2))
    counts = open_image_set(tmp_path / "set").counts
    assert len(set(counts.tolist())) > 1
    assert (
        train_command(["--data", str(tmp_path / "set"), "--outdir", str(tmp_path), "--name", "run", *TINY])
        == 0
    )
    run, out = str(tmp_path / "run"), tmp_path / "out"
    arguments = ["--network", run, "--top-up", str(tmp_path / "set"), "--copy-real", "--outdir", str(out)]
    assert generate_command([*arguments, "--format", "webdataset"]) == 0
    level = open_image_set(out)
    assert level.counts.tolist() == [counts.max()] * 3
    real = set(pixels_by_id(open_image_set(tmp_path / "set")).values())
    assert len(real & set(pixels_by_id(level).values())) == counts.sum()


@pytest.mark.parametrize("workers", [0, 2])
def test_large_sets_are_read_from_the_shards(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = {"big.png": png(0, (256, 256)), "big.cls": b"1"}  # more than is read for a header alone
    path = write_shard(tmp_path / "a.tar", {"0.png": png(1, (256, 256)), "0.cls": b"0", **large})
    decoded = open_image_set(path)
    monkeypatch.setattr("gan_lt.data.opening.IN_MEMORY_BYTES", 0)
    images = open_image_set(path)
    assert not images.is_in_memory
    assert images.fingerprint() == decoded.fingerprint()
    loader = BatchLoader(images, sampler_for(images, "balanced"), 8, num_workers=workers)
    batch, labels = next(loader)
    loader.close()
    assert np.array_equal(batch.numpy(), decoded.images()[labels.numpy()])
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(InputError, match=r"a\.tar/big\.png is corrupt"):
        images.images([1])


def test_only_headers_and_labels_are_read_to_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_shard(
        tmp_path / "a.tar", {"0.png": bytes(2**22), "0.cls": b"0", "1.png": bytes(2**22), "1.cls": b"1"}
    )
    read = 0
    original = TarMembers._bytes

    def counted(self: TarMembers, offset: int, size: int) -> bytes:
        nonlocal read
        data = original(self, offset, size)
        read += len(self._window)
        return data

    monkeypatch.setattr(TarMembers, "_bytes", counted)
    _, names = label_shards((path,), "--data a.tar")
    assert names.labels.tolist() == [0, 1]
    assert read < 2**17
