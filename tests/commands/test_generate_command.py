"""generate as people type it: real sets, and bad input that leaves nothing behind."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from gan_lt.cli import main
from gan_lt.commands import generate_command, train_command
from gan_lt.data import open_image_set
from gan_lt.models import Generator
from gan_lt.sampling import loading
from tests.commands.runs import TINY, Refused, contents, write_images


def test_generate_the_same_twice(tmp_path: Path, trained: Path) -> None:
    arguments = ["--network", str(trained), "--per-class", "4", "--seed", "6", "--truncation", "0.7"]
    for name in ("a", "b"):
        assert main(["generate", *arguments, "--outdir", str(tmp_path / name)]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["network_sha256"] == loading.load_generator(trained)[1]
    assert open_image_set(tmp_path / "a").counts.tolist() == [4, 4, 4]


def test_generate_in_bfloat16_makes_nearly_the_same_images(tmp_path: Path, trained: Path) -> None:
    pixels = {}
    for precision in ("fp32", "bf16"):
        out = tmp_path / precision
        arguments = ["--network", str(trained), "--per-class", "4", "--outdir", str(out)]
        assert generate_command([*arguments, "--precision", precision]) == 0
        assert json.loads((out / "manifest.json").read_text())["precision"] == precision
        images = open_image_set(out)
        pixels[precision] = images.images().astype(float)
    difference = np.abs(pixels["fp32"] - pixels["bf16"])
    assert difference.any()
    assert difference.mean() < 3


def test_generate_tops_up_and_counts(tmp_path: Path, trained: Path, data: Path) -> None:
    network = ["--network", str(trained / "network")]
    arguments = [*network, "--top-up", str(data), "--outdir", str(tmp_path / "top")]
    assert generate_command(arguments) == 0
    manifest = json.loads((tmp_path / "top" / "manifest.json").read_text())
    assert [(c["real"], c["made"]) for c in manifest["classes"]] == [(12, 0), (5, 7), (3, 9)]
    (tmp_path / "counts.json").write_text('{"cow": 2}')
    arguments = [*network, "--counts", str(tmp_path / "counts.json"), "--outdir", str(tmp_path / "c.zip")]
    assert generate_command([*arguments, "--format", "zip"]) == 0
    assert open_image_set(tmp_path / "c.zip").class_names == ("cow",)


def test_the_name_of_a_zip_says_what_to_write(tmp_path: Path, trained: Path, refused: Refused) -> None:
    arguments = ["--network", trained, "--per-class", "1", "--outdir"]
    for name, extra in (
        ("o.zip", []),
        ("O.ZIP", []),
        ("named.zip", ["--format", "zip"]),
        ("o", ["--format", "zip"]),
    ):
        assert generate_command([*map(str, arguments), str(tmp_path / name), *extra]) == 0
        assert zipfile.is_zipfile(tmp_path / name)
    assert (tmp_path / "o.zip").read_bytes() == (tmp_path / "named.zip").read_bytes()
    for form in ("folder", "webdataset"):
        line = refused(generate_command, [*arguments, tmp_path / "other.zip", "--format", form])
        assert f"--format: {form} makes a folder" in line
        assert "other.zip is called as a zip" in line
    assert generate_command([*map(str, arguments), str(tmp_path / "plain")]) == 0
    assert (tmp_path / "plain").is_dir()


def test_generate_tops_up_from_a_list_over_images_elsewhere(
    tmp_path: Path, trained: Path, data: Path, refused: Refused
) -> None:
    file = tmp_path / "lists" / "train.json"
    file.parent.mkdir()
    names = [path.relative_to(data).as_posix() for path in sorted(data.rglob("*.png"))]
    classes = sorted({name.partition("/")[0] for name in names})
    document = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"image_id": i, "category_id": classes.index(name.partition("/")[0])}
            for i, name in enumerate(names)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes)],
    }
    file.write_text(json.dumps(document))
    arguments = ["--network", trained, "--top-up", file, "--outdir", tmp_path / "top"]
    assert "--data-root" in refused(generate_command, arguments)
    arguments = [*arguments, "--data-root", data, "--drop-copies", "--train-data", file]
    assert generate_command([str(argument) for argument in arguments]) == 0
    assert open_image_set(tmp_path / "top").counts.tolist() == [7, 9]


def test_generate_refuses(tmp_path: Path, trained: Path, refused: Refused) -> None:
    other = write_images(tmp_path / "other", {"ant": 2, "elk": 2})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("x")
    (tmp_path / "file").write_text("x")
    out = ["--outdir", tmp_path / "out"]
    made = ["--network", trained]
    for arguments, what in [
        (["--network", tmp_path / "gone", "--per-class", 1, *out], "gone"),
        (["--network", other, "--per-class", 1, *out], "no saved network"),
        ([*made, "--per-class", 0, *out], "--per-class: 0"),
        ([*made, "--per-class", 1, "--classes", "ant,elk", *out], "'elk'"),
        ([*made, "--per-class", 1, "--classes", ",", *out], "--classes: ',' names no class"),
        ([*made, "--top-up", other, *out], "is in the"),
        ([*made, "--top-up", tmp_path / "gone", *out], "--top-up"),
        ([*made, "--counts", tmp_path / "gone.json", *out], "gone.json"),
        ([*made, "--per-class", 1, "--to", 5, *out], "--to"),
        ([*made, "--counts", tmp_path / "file", "--classes", "ant", *out], "--classes"),
        ([*made, "--per-class", 1, "--seed", -1, *out], "--seed: -1"),
        ([*made, "--per-class", 1, "--truncation", 3, *out], "--truncation: 3"),
        ([*made, "--per-class", 1, "--device", "abacus", *out], "'abacus'"),
        ([*made, "--per-class", 1, "--truncation", "0.5,elk=1", *out], "'elk'"),
        ([*made, "--per-class", 1, "--copy-real", *out], "--copy-real"),
        ([*made, "--per-class", 1, "--data-root", tmp_path, *out], "--data-root"),
        ([*made, "--per-class", 1, "--quality", 90, *out], "--quality: 90"),
        ([*made, "--per-class", 1, "--shard-images", 9, *out], "--shard-images: 9"),
        ([*made, "--per-class", 1, "--keep-best", 0.5, *out], "--score"),
        ([*made, "--per-class", 1, "--keep-best", 0.5, "--score", "classifier", *out], "--classifier"),
        ([*made, "--per-class", 1, "--score", "discriminator", *out], "--keep-best"),
        ([*made, "--per-class", 1, "--drop-copies", *out], "--train-data"),
        ([*made, "--per-class", 1, "--drop-duplicates", "x", *out], "'x'"),
        ([*made, "--per-class", 1, "--train-data", other, *out], "--train-data"),
        ([*made, "--per-class", 1, "--outdir", tmp_path / "mine"], "exists already"),
        ([*made, "--per-class", 1, "--outdir", tmp_path / "file" / "out"], "can't be written"),
    ]:
        assert what in refused(generate_command, arguments)


def test_generate_keeps_what_the_discriminator_likes(tmp_path: Path, trained: Path, refused: Refused) -> None:
    out = ["--outdir", str(tmp_path / "out")]
    best = ["--per-class", "6", "--keep-best", "0.25", "--score", "discriminator", "--drop-copies"]
    selected = [*best, "--train-data", str(trained.parent / "data"), *out]
    assert generate_command(["--network", str(trained), *selected]) == 0
    document = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [entry["made"] for entry in document["classes"]] == [6, 6, 6]
    assert [entry["refused_because"]["score"] for entry in document["classes"]] == [18, 18, 18]
    assert len(document["selection"]["discriminator_sha256"]) == 64
    lone = tmp_path / "lone"
    Generator.from_pretrained(trained / "network").save_pretrained(lone)
    arguments = ["--network", lone, *best[:-1], "--outdir", tmp_path / "other"]
    assert "is no run" in refused(generate_command, arguments)


def test_generate_from_a_damaged_network(tmp_path: Path, trained: Path, refused: Refused) -> None:
    network = tmp_path / "network"
    network.mkdir()
    for name in ("config.json", "model.safetensors"):
        (network / name).write_bytes((trained / "network" / name).read_bytes())
    (network / "model.safetensors").write_bytes((network / "model.safetensors").read_bytes()[:-9])
    arguments = ["--network", network, "--per-class", 1, "--outdir", tmp_path / "out"]
    assert "model.safetensors" in refused(generate_command, arguments)


def test_unconditional_run_cannot_be_asked_for_classes(tmp_path: Path, data: Path, refused: Refused) -> None:
    arguments = ["--data", str(data), "--outdir", str(tmp_path), "--name", "u", *TINY]
    assert train_command([*arguments, "generator.conditional=false"]) == 0
    line = refused(
        generate_command, ["--network", tmp_path / "u", "--per-class", 3, "--outdir", tmp_path / "o"]
    )
    assert "unconditional" in line
