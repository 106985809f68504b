"""WebDataset shards as image sets: the same pixels, labels and names as folders and zips; hostile and torn ones refused."""

from __future__ import annotations

import gc
import io
import json
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gan_lt.commands import generate_command, train_command
from gan_lt.data import BatchLoader, ImageSet, open_image_set, sampler_for
from gan_lt.data.shards import label_shards
from gan_lt.data.tar_members import TarMembers
from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.sampling import plan_per_class, write_synthetic_set

Make = Callable[..., Path]
Files = dict[str, bytes]
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
TINY = [
    "--batch=8",
    "--kimg=0.016",
    "generator.z_dim=8",
    "generator.w_dim=8",
    "generator.channel_base=64",
    "generator.channel_max=8",
    "generator.mapping_layers=2",
    "discriminator.mapping_layers=1",
    "training.tick_kimg=0.016",
]


def png(seed: int, size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path: Path, files: Files | list[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as shard:
        for name, data in files.items() if isinstance(files, dict) else files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return path


def labelled(n: int, classes: int = 2, start: int = 0) -> Files:
    """Samples of an image and a class index each."""
    return {
        name: data
        for i in range(start, start + n)
        for name, data in ((f"{i:06d}.png", png(i)), (f"{i:06d}.cls", f"{i % classes}\n".encode()))
    }


def pixels_by_id(images: ImageSet) -> dict[str, bytes]:
    return {name: image.tobytes() for name, image in zip(images.ids, images.images(), strict=True)}


def refused(spec: Path | str, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        open_image_set(spec)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


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


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def one(**files: bytes) -> Path:
        return write_shard(tmp_path / "set.tar", {f"a.{kind}": data for kind, data in files.items()})

    refused(one(png=png(0), cls=b"cat"), "a.cls", "b'cat'", "not a class index")
    refused(one(png=png(0), cls=b"-1"), "a.cls", "not a class index")
    refused(one(png=png(0), cls=b"1" * 5000), "a.cls", "5000 bytes")
    refused(one(png=png(0), json=b'{"label": 1.5}'), "a.json", "label 1.5")
    refused(one(png=png(0), json=b"[" * 100_000), "a.json is not JSON")
    refused(one(png=png(0), json=b"{}"), "no labelled images", ".cls", "folder")
    refused(one(png=png(0)), "no labelled images")
    refused(one(txt=b"x"), "hold no images")
    both = {**labelled(3), "x.png": png(9)}
    refused(write_shard(tmp_path / "set.tar", both), "1 images have no label", "set.tar/x.png", "KEY.cls")
    twice = [*labelled(2).items(), ("000000.png", png(0))]
    refused(write_shard(tmp_path / "set.tar", twice), "'000000.png' is there twice")
    apart = [("a.png", png(0)), ("b.png", png(0)), ("a.cls", b"0"), ("b.cls", b"0")]
    refused(write_shard(tmp_path / "set.tar", apart), "side by side")


def test_sizes_and_corrupt_images_speak_as_for_zips(tmp_path: Path) -> None:
    files = {**labelled(2), "x.png": png(0, (16, 16)), "x.cls": b"1"}
    refused(
        write_shard(tmp_path / "a.tar", files), "a.tar/000000.png is 8x8", "x.png is 16x16", "--resolution N"
    )
    files["x.png"] = png(0)[:60]
    path = write_shard(tmp_path / "a.tar", files)
    refused(path, "image a.tar/x.png is corrupt", "--skip-corrupt")
    assert open_image_set(path, skip_corrupt=True).skipped == ("a.tar/x.png",)


def test_torn_shards_are_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_shard(folder / "0.tar", labelled(3))
    whole = write_shard(folder / "1.tar", labelled(3)).read_bytes()
    end = len(whole.rstrip(b"\0"))
    for length in (513, 700, 1024, end - 3, -(-end // 512) * 512):  # the last lacks the end mark alone
        (folder / "1.tar").write_bytes(whole[:length])
        refused(folder, "shard 1.tar is cut short", "download it again")
    for damaged, words in (
        (b"", "not a tar"),
        (b"x" * 5000, "not a tar"),
        (b"\x1f\x8b" + bytes(range(1, 255)) * 10, "gunzip"),
        (whole[:1024] + b"x" * 512 + whole[1536:], "header at byte 1024"),
    ):
        (folder / "1.tar").write_bytes(damaged)
        refused(folder, "shard 1.tar", words)


def test_compressed_shards_in_a_folder_are_named(tmp_path: Path) -> None:
    """Beside others they would be left out in silence."""
    write_shard(tmp_path / "set" / "0.tar", labelled(3))
    (tmp_path / "set" / "1.tar.gz").write_bytes(b"\x1f\x8b" + bytes(range(1, 255)) * 10)
    refused(tmp_path / "set", "shard 1.tar.gz", "gunzip")


def test_folders_that_tell_a_size_have_no_data(tmp_path: Path) -> None:
    """POSIX lets them tell how much room they have."""
    folder = tarfile.TarInfo("a")
    folder.type, folder.size = tarfile.DIRTYPE, 4096
    path = write_shard(tmp_path / "a.tar", {"a/0.png": png(0), "b/0.png": png(1)})
    path.write_bytes(folder.tobuf(tarfile.USTAR_FORMAT) + path.read_bytes())
    assert open_image_set(path).ids == ("a.tar/a/0.png", "a.tar/b/0.png")


def test_tars_joined_end_to_end_are_refused(tmp_path: Path) -> None:
    whole = write_shard(tmp_path / "a.tar", labelled(2)).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole + bytes(2**14))
    assert len(open_image_set(tmp_path / "a.tar")) == 2
    (tmp_path / "a.tar").write_bytes(whole * 2)
    refused(tmp_path / "a.tar", "shard a.tar goes on behind its end mark", "give both")


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    for kind, words in (
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a named pipe"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
    ):
        member = tarfile.TarInfo("link.png")
        member.type, member.linkname = kind, "/etc/passwd"
        with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as shard:
            shard.addfile(member)
        refused(tmp_path / "a.tar", "'link.png'", words, "plain files")
    for name in ("../x.png", "/etc/x.png", "a/../../x.png", "..\\x.png", "C:/x.png"):
        refused(write_shard(tmp_path / "a.tar", {name: b"x"}), "outside the shard")
    for name in ("\n.png", "\x01.png", "x" * 1100 + ".png"):
        refused(write_shard(tmp_path / "a.tar", {name: b"x"}, tarfile.PAX_FORMAT), "shard a.tar", "printed")


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    files=st.dictionaries(
        st.text(st.characters(categories=("L", "N")), min_size=1, max_size=150).map(
            lambda name: f"a/{name}.png"
        ),
        st.binary(max_size=1500),
        max_size=12,
    ),
    form=st.sampled_from((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
)
def test_members_are_those_that_tarfile_finds(
    files: Files, form: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_shard(tmp_path_factory.mktemp("tar") / "a.tar", files, form)
    with tarfile.open(path) as shard:
        expected = [(member.name, member.offset_data, member.size) for member in shard.getmembers()]
    with open(path, "rb", buffering=0) as file:
        found = list(TarMembers(file, "a"))
    assert found == expected
    data = path.read_bytes()
    assert {name: data[offset : offset + size] for name, offset, size in found} == files


@settings(deadline=None, max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    form=st.sampled_from(FORMATS),
    edits=st.lists(
        st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4
    ),
    length=st.integers(0, 8000),
    right_sum=st.booleans(),
)
def test_damaged_shards_raise_nothing_but_input_errors(
    form: int,
    edits: list[tuple[int, bytes]],
    length: int,
    right_sum: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = write_shard(tmp_path_factory.mktemp("tar") / "a.tar", labelled(2), form)
    data = bytearray(path.read_bytes())
    for at, change in edits:
        data[at : at + len(change)] = change
    if right_sum:  # so that the other fields are looked at
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data[:length] if length < 5000 else data)
    message = ""
    try:
        open_image_set(path)
    except InputError as error:
        message = str(error)
    assert "\n" not in message


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


def test_the_index_of_shards_and_zips_is_compact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name, a place and a label stay; a zip's or a tar's own directory would take three to ten times that."""
    monkeypatch.setattr("gan_lt.data.opening.IN_MEMORY_BYTES", 0)
    image, n = png(0), 4000
    for shard in range(10):
        rows = [
            (f"{i:09d}.{kind}", data)
            for i in range(shard * n // 10, (shard + 1) * n // 10)
            for kind, data in (("png", image), ("cls", b"%d" % (i % 10)), ("json", b"{}"))
        ]
        write_shard(tmp_path / "set" / f"{shard}.tar", rows)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for i in range(n):
            archive.writestr(f"{i % 10}/{i:09d}.png", image)
    for path in (tmp_path / "set", tmp_path / "set.zip"):
        tracemalloc.start()
        images = open_image_set(path)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(images) == n
        assert kept / n < 300


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
