"""Folder, zip and shards hold the same pixels; image formats; several processes; truncation by class."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan_lt.commands import generate_command
from gan_lt.data import ImageSet, open_image_set
from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.sampling import (
    Encoding,
    Selection,
    image_seeds,
    parse_truncation,
    plan_per_class,
    plan_top_up,
    sample_images,
    write_synthetic_set,
)
from gan_lt.sampling.contents import contents_of_plan
from gan_lt.sampling.pipeline import units_of
from gan_lt.sampling.set_formats import WebDatasetShards, _exactly

MakeGenerator = Callable[..., Generator]
Digests = Callable[[Path], dict[str, str]]
ROOT = Path(__file__).parents[2]


def shard_contents(folder: Path) -> dict[str, dict[str, bytes]]:
    """Samples of all shards by key: their parts by extension."""
    samples: dict[str, dict[str, bytes]] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as shard:
            for member in shard:
                key, _, kind = member.name.partition(".")
                file = shard.extractfile(member)
                assert file is not None
                samples.setdefault(f"{path.name}/{key}", {})[kind] = file.read()
    return samples


def test_folder_zip_and_shards_hold_the_same_pixels(
    tmp_path: Path, make_generator: MakeGenerator, digests: Digests
) -> None:
    G = make_generator(img_channels=3)
    plan = plan_per_class(G, 50)
    for form in ("folder", "zip", "webdataset"):
        write_synthetic_set(G, plan, tmp_path / form, set_format=form, shard_images=40)  # type: ignore[arg-type]
    folder, archive = open_image_set(tmp_path / "folder"), open_image_set(tmp_path / "zip")
    assert np.array_equal(folder.images(), archive.images())
    manifest = json.loads((tmp_path / "webdataset" / "manifest.json").read_text())
    shards = shard_contents(tmp_path / "webdataset")
    assert len(list((tmp_path / "webdataset").glob("shard-*.tar"))) == 4
    assert len(shards) == 150
    for entry, expected in zip(manifest["images"], folder.images(), strict=True):
        sample = shards[entry["file"].removesuffix(".png")]
        with Image.open(io.BytesIO(sample["png"])) as image:
            assert np.array_equal(np.asarray(image).transpose(2, 0, 1), expected)
        assert G.class_names[int(sample["cls"])] == entry["class"]
        assert json.loads(sample["json"])["seed"] == entry["seed"]
    first = [sample["cls"] for key, sample in shards.items() if key.startswith("shard-000000")]
    assert set(first) == {b"0", b"1", b"2"}  # dealt out, not class by class
    write_synthetic_set(G, plan, tmp_path / "again", set_format="webdataset", shard_images=40)
    assert digests(tmp_path / "again") == digests(tmp_path / "webdataset")


def test_webdataset_reads_the_shards(tmp_path: Path, make_generator: MakeGenerator) -> None:
    webdataset = pytest.importorskip("webdataset")
    G = make_generator()
    write_synthetic_set(G, plan_per_class(G, 20), tmp_path / "out", set_format="webdataset", shard_images=25)
    urls = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    samples = list(
        webdataset.WebDataset(urls, shardshuffle=False).decode("l8").to_tuple("png", "cls", "json")
    )
    assert len(samples) == 60
    labels = np.array([label for _, label, _ in samples])
    assert np.bincount(labels).tolist() == [20, 20, 20]
    seeds = np.array([facts["seed"] for _, _, facts in samples])
    expected = sample_images(G, labels, seeds)
    assert np.array_equal(np.stack([image for image, _, _ in samples]), expected[:, 0])


@pytest.mark.parametrize(
    ("image_format", "suffix", "loss"), [("png", "png", 0), ("jpeg", "jpg", 12), ("webp", "webp", 40)]
)
def test_image_formats(
    tmp_path: Path, make_generator: MakeGenerator, image_format: Any, suffix: str, loss: int
) -> None:
    G = make_generator(img_channels=3)
    plan = plan_per_class(G, 4)
    write_synthetic_set(G, plan, tmp_path / "set", encoding=Encoding(image_format))
    expected = sample_images(G, plan.labels, image_seeds(0, plan.labels, plan.indices))
    difference = np.abs(open_image_set(tmp_path / "set").images().astype(int) - expected)
    assert difference.max() == 0 if loss == 0 else 0 < difference.mean() < loss
    files = sorted((tmp_path / "set" / "ant").iterdir())
    assert [file.name for file in files] == [f"{i:06d}.{suffix}" for i in range(4)]
    with Image.open(files[0]) as image:
        assert image.format is not None
        assert image.format.lower() == image_format


def test_quality_counts(tmp_path: Path, make_generator: MakeGenerator) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    for image_format in ("jpeg", "webp"):
        sizes = [len(Encoding(image_format, q).encode(pixels)) for q in (20, 60, 100)]  # type: ignore[arg-type]
        assert sizes[0] < sizes[1] < sizes[2]
    for arguments, value in [
        (("png", 90), "90"),
        (("jpeg", 0), "0"),
        (("webp", 101), "101"),
        (("gif", None), "'gif'"),
    ]:
        with pytest.raises(InputError, match=value):
            Encoding(*arguments)  # type: ignore[arg-type]


def test_copied_reals_come_first_and_level_the_set(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator()
    rng = np.random.default_rng(0)
    data = ImageSet.from_arrays(
        rng.integers(0, 256, (9, 1, 8, 8), dtype=np.uint8),
        np.array([2, 0, 1, 1, 0, 1, 1, 1, 0]),
        ["bee", "ant", "cow"],
        name="mine",
    )
    for form in ("folder", "zip", "webdataset"):
        write_synthetic_set(G, plan_top_up(G, data), tmp_path / form, copy_real=data, set_format=form)  # type: ignore[arg-type]
    folder = open_image_set(tmp_path / "folder")
    assert folder.counts.tolist() == [5, 5, 5]
    ants = [name for name in folder.ids if name.startswith("ant/")]
    assert [name for name in ants if "real" in name] == [f"ant/real-{i:06d}.png" for i in range(5)]
    bees = [i for i, name in enumerate(folder.ids) if name.startswith("bee/real-")]
    assert np.array_equal(folder.images(bees), data.images([1, 4, 8]))
    manifest = json.loads((tmp_path / "folder" / "manifest.json").read_text())
    assert [(c["real"], c["copied"], c["made"]) for c in manifest["classes"]] == [
        (5, 5, 0),
        (3, 3, 2),
        (1, 1, 4),
    ]
    originals = [entry["real"] for entry in manifest["images"] if "real" in entry]
    assert originals == ["2", "3", "5", "6", "7", "1", "4", "8", "0"]
    archive = open_image_set(tmp_path / "zip")
    assert sorted(archive.ids) == sorted(folder.ids)
    assert len(shard_contents(tmp_path / "webdataset")) == 15


def test_real_images_of_another_size_are_named(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator()
    names = ["ant", "bee", "cow"]
    large = ImageSet.from_arrays(np.zeros((3, 1, 16, 16), dtype=np.uint8), np.arange(3), names, name="large")
    with pytest.raises(InputError, match=r"--copy-real: large is 16x16x1, the network makes 8x8x1"):
        write_synthetic_set(G, plan_per_class(G, 1), tmp_path / "out", copy_real=large)
    choice = Selection(drop_copies=True, training=large)
    with pytest.raises(InputError, match=r"--train-data: large is 16x16x1"):
        write_synthetic_set(G, plan_per_class(G, 1), tmp_path / "out", selection=choice)
    assert not list(tmp_path.iterdir())


def test_real_images_of_a_foreign_class_are_named(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator()
    foreign = ImageSet.from_arrays(
        np.zeros((2, 1, 8, 8), dtype=np.uint8), np.arange(2), ["ant", "elk"], name="mine"
    )
    with pytest.raises(
        InputError, match=r"--copy-real: mine has the class 'elk', the network has ant, bee, cow"
    ):
        write_synthetic_set(G, plan_per_class(G, 1), tmp_path / "out", copy_real=foreign)
    assert not list(tmp_path.iterdir())


def test_shards_read_each_image_once(
    tmp_path: Path, make_generator: MakeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    class Counting(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal taken
            data = super().read(size)
            taken += len(data or b"")
            return data or b""

        def readall(self) -> bytes:
            return self.read(os.fstat(self.fileno()).st_size)

    plain = open

    def counted(file: Any, mode: str = "r", *arguments: Any, **settings: Any) -> Any:
        if mode == "rb" and Path(file).parent.name == "units":
            return Counting(file)
        return plain(file, mode, *arguments, **settings)

    monkeypatch.setattr("builtins.open", counted)
    monkeypatch.setattr("io.open", counted)
    plan = plan_per_class(make_generator(), 200)
    contents = contents_of_plan(plan, 0, np.ones(3))
    units = units_of(len(contents))
    shards = WebDatasetShards(tmp_path, contents, "png", units, shard_images=30, seed=0)
    for unit in units:
        shards.save(unit, unit, [f"{i:020d}".encode() for i in unit])
    manifest = {"images": contents.image_entries(shards.files, None)}
    shards.complete(manifest, tmp_path / "out")
    # of every image its size, 8 bytes, and its 20 bytes
    assert taken == 600 * 28
    samples = shard_contents(tmp_path / "out")
    assert len(samples) == 600
    for position, file in enumerate(shards.files):
        assert samples[file.removesuffix(".png")]["png"] == f"{position:020d}".encode()


def test_truncation_by_class(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator()
    torch.manual_seed(3)
    G.mapping.w_avg.normal_()
    plan = plan_per_class(G, 70)
    setting = parse_truncation("0.5,cow=1,bee=0")
    write_synthetic_set(G, plan, tmp_path / "set", truncation_psi=setting)
    psi = np.array([0.5, 0.0, 1.0])[plan.labels]
    seeds = image_seeds(0, plan.labels, plan.indices)
    opened = open_image_set(tmp_path / "set")
    for label, value in enumerate([0.5, 0.0, 1.0]):
        rows = plan.labels == label
        assert np.array_equal(opened.images(rows), sample_images(G, plan.labels[rows], seeds[rows], value))
    assert np.array_equal(sample_images(G, plan.labels, seeds, psi), opened.images())
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert {entry["class"]: entry["truncation_psi"] for entry in manifest["images"]} == {
        "ant": 0.5,
        "bee": 0.0,
        "cow": 1.0,
    }
    assert parse_truncation("0.7") == 0.7
    for text, value in [("x", "'x'"), ("0.5,0.6", "two values"), ("cow=", "'cow='"), ("", "''")]:
        with pytest.raises(InputError, match=value):
            parse_truncation(text)
    with pytest.raises(InputError, match="'elk'"):
        write_synthetic_set(G, plan, tmp_path / "x", truncation_psi={"elk": 0.5})


def test_hostile_class_names_write_nowhere_else(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator(class_names=["ant", "../../bee", "cow"])
    with pytest.raises(InputError, match="bee"):
        write_synthetic_set(G, plan_per_class(G, 1), tmp_path / "a" / "b" / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--format", "zip"], ["--drop-duplicates", "0.01"]])
def test_two_processes_make_the_same_bytes(
    tmp_path: Path, make_generator: MakeGenerator, digests: Digests, options: list[str]
) -> None:
    make_generator().save_pretrained(tmp_path / "network")
    common = ["--network", str(tmp_path / "network"), "--per-class", "100", *options]
    assert generate_command([*common, "--outdir", str(tmp_path / "one" / "out")]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(ROOT / "generate.py"), *common, "--outdir", str(tmp_path / "two" / "out")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for status in (0, 1) if "zip" in options else (0,):  # the second time it is finished, and all refuse
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert result.returncode == status, result.stderr
    if "zip" in options:
        assert "exists already" in result.stderr
        assert (tmp_path / "two" / "out").read_bytes() == (tmp_path / "one" / "out").read_bytes()
    assert digests(tmp_path / "two") == digests(tmp_path / "one")


class _Dribbling(io.BytesIO):
    """A file whose reads bring three bytes at most, as an unbuffered one may."""

    name = "unit"

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(3, 3 if size is None or size < 0 else size))


def test_short_reads_are_continued_and_a_short_file_is_an_error() -> None:
    assert _exactly(_Dribbling(b"0123456789"), 8) == b"01234567"
    with pytest.raises(OSError, match="too short"):
        _exactly(_Dribbling(b"0123"), 8)
