"""train and generate as people type them: real runs, and bad input that leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan_lt.classifier import Classifier
from gan_lt.cli import main
from gan_lt.commands import generate_command, run_command, train_command
from gan_lt.data import open_image_set
from gan_lt.errors import InputError
from gan_lt.models import Generator, SnganGenerator
from gan_lt.sampling import loading
from gan_lt.training.run_directory import open_run

ROOT = Path(__file__).parents[1]
TINY = [
    "--batch=8",
    "--kimg=0.032",
    "generator.z_dim=8",
    "generator.w_dim=8",
    "generator.channel_base=64",
    "generator.channel_max=8",
    "generator.mapping_layers=2",
    "discriminator.mapping_layers=1",
    "training.tick_kimg=0.016",
    "training.checkpoint_ticks=1",
]


def write_images(folder: Path, counts: dict[str, int], size: tuple[int, int] = (8, 8)) -> Path:
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, size[::-1], dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", {"ant": 12, "bee": 5, "cow": 3})


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on ant, bee and cow."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_images(folder / "data", {"ant": 12, "bee": 5, "cow": 3})
    assert train_command(["--data", str(data), "--outdir", str(folder), "--name", "run", *TINY]) == 0
    return folder / "run"


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[Callable[..., int], list[Any]], str]:
    """``refused(train_command, [...])``: the one line it is refused with; nothing may have been written."""

    def run(command: Callable[..., int], arguments: list[Any]) -> str:
        before = contents(tmp_path)
        capsys.readouterr()
        assert run_command(command, [str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert contents(tmp_path) == before
        return err

    return run


Refused = Callable[[Callable[..., int], list[Any]], str]


def test_train_makes_a_run(trained: Path) -> None:
    G = Generator.from_pretrained(trained / "network")
    assert G.class_names == ("ant", "bee", "cow")
    assert G.class_counts == (12, 5, 3)
    assert (trained / "config.yaml").is_file()
    assert len((trained / "stats.jsonl").read_text().splitlines()) == 2


def test_an_sngan_is_trained_resumed_and_sampled_like_any_network(tmp_path: Path, data: Path) -> None:
    arguments = ["--data", str(data), "--outdir", str(tmp_path), "--name", "run", *TINY]
    sngan = ["backbone=sngan", "sngan.channels=2", "training.discriminator_steps=2", "--regularizers", "gsr"]
    assert train_command([*arguments, *sngan]) == 0
    assert train_command(["--resume", str(tmp_path / "run"), "--kimg", "0.064"]) == 0
    G = Generator.from_pretrained(tmp_path / "run" / "network")
    assert isinstance(G, SnganGenerator)
    assert G.class_counts == (12, 5, 3)
    for out in ("first", "second"):
        command = ["--network", str(tmp_path / "run"), "--outdir", str(tmp_path / out), "--top-up", str(data)]
        assert generate_command(command) == 0
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert len(list((tmp_path / "first").rglob("*.png"))) == 7 + 9


def test_runs_are_numbered_and_named_after_what_is_trained(tmp_path: Path, data: Path) -> None:
    arguments = ["--data", str(data), "--outdir", str(tmp_path / "runs"), *TINY]
    assert train_command(arguments) == 0
    assert train_command([*arguments, "--regularizers", "noisytwins"]) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "00000-custom",
        "00001-custom-noisytwins",
    ]


def test_digits_thinned_out(tmp_path: Path) -> None:
    arguments = ["--data", "digits", "--imbalance", "20", "--resolution", "8", "--outdir", str(tmp_path)]
    assert main(["train", *arguments, "--name", "run", "--regularizers=noisytwins", *TINY]) == 0
    counts = Generator.from_pretrained(tmp_path / "run" / "network").class_counts
    assert counts is not None
    assert counts[0] // counts[-1] == 20


def test_resume_lengthens_a_run(tmp_path: Path, data: Path, refused: Refused) -> None:
    run = tmp_path / "run"
    train_command(["--data", str(data), "--outdir", str(tmp_path), "--name", "run", *TINY])
    assert train_command(["--resume", str(run), "--kimg", "0.048"]) == 0
    assert [json.loads(line)["kimg"] for line in (run / "stats.jsonl").open()][-1] == 0.048
    assert "kimg: 0.048" in (run / "config.yaml").read_text(), "and the run is that long from now on"
    assert "training.batch" in refused(train_command, ["--resume", run, "--batch", 16])
    assert "'loss.r1_gamma=3'" in refused(train_command, ["--resume", run, "loss.r1_gamma=3"])
    assert "--preset" in refused(train_command, ["--resume", run, "--preset", "custom"])
    assert "--name" in refused(train_command, ["--data", data, "--outdir", tmp_path, "--name", "run", *TINY])
    (data / "ant" / "0.png").unlink()
    assert run_command(train_command, ["--resume", str(run), "--kimg", "0.064"]) == 2


@pytest.mark.parametrize("kind", ["list", "link", "pattern"])
def test_resume_from_another_folder(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    files = sorted(data.rglob("*.png"))
    if kind != "pattern":
        lines = [f"{file.relative_to(data).as_posix()} {'abc'.index(file.parent.name[0])}" for file in files]
        (tmp_path / "list.txt").write_text("\n".join(lines))
        options = ["--data=list.txt", f"--data-root={data.name}"]
        if kind == "link":  # its images lie beside it, not beside what it points to
            (data / "link.txt").symlink_to(tmp_path / "list.txt")
            options = [f"--data={data.name}/link.txt"]
    else:
        with tarfile.open(tmp_path / "0.tar", "w") as shard:
            for file in files:
                shard.add(file, file.relative_to(data).as_posix())
        options = ["--data={0..0}.tar"]
    monkeypatch.chdir(tmp_path)
    assert data.parent == tmp_path
    assert train_command([*options, "--outdir=.", "--name=run", *TINY]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert train_command(["--resume=../run", "--kimg=0.048"]) == 0


def test_a_classifier_and_a_reference_hold_from_another_folder(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(folder.name for folder in data.iterdir())
    Classifier(len(names), resolution=8, img_channels=1, class_names=names).save_pretrained(tmp_path / "C")
    monkeypatch.chdir(tmp_path)
    method = ["--regularizers=cbgan", "cbgan.classifier=C", "cbgan.cycle=2", f"metrics.real={data.name}"]
    assert train_command([f"--data={data.name}", "--outdir=.", "--name=run", *method, *TINY]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert train_command(["--resume=../run", "--kimg=0.048"]) == 0
    config = open_run(tmp_path / "run")
    assert config.cbgan.classifier == str(tmp_path / "C")
    assert config.metrics.real == str(data)


def test_missing_or_wrong_data(tmp_path: Path, refused: Refused) -> None:
    out = ["--outdir", tmp_path / "runs", *TINY]
    assert "--data is missing" in refused(train_command, out)
    assert "nowhere" in refused(train_command, ["--data", tmp_path / "nowhere", *out])
    (tmp_path / "file.txt").write_text("hello")
    assert "file.txt" in refused(train_command, ["--data", tmp_path / "file.txt", *out])
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(train_command, ["--data", tmp_path / "empty", *out])


def test_empty_class(tmp_path: Path, data: Path, refused: Refused) -> None:
    (data / "dog").mkdir()
    assert "dog" in refused(train_command, ["--data", data, "--outdir", tmp_path / "runs", *TINY])


def test_mixed_sizes(tmp_path: Path, data: Path, refused: Refused) -> None:
    write_images(data, {"dog": 2}, size=(16, 12))
    arguments = ["--data", str(data), "--outdir", str(tmp_path / "runs"), *TINY]
    line = refused(train_command, arguments)
    assert "16x12" in line
    assert "--resolution" in line
    assert train_command([*arguments, "--resolution", "8"]) == 0
    # what was trained on images of several sizes can be topped up with them
    run, out = tmp_path / "runs" / "00000-custom", tmp_path / "out"
    assert generate_command(["--network", str(run), "--top-up", str(data), "--outdir", str(out)]) == 0
    assert open_image_set(out).counts.tolist() == [7, 9, 10]


def test_corrupt_image_is_named_or_skipped(
    tmp_path: Path, data: Path, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (data / "ant" / "3.png").read_bytes()
    for broken in (b"", b"not an image", whole[: len(whole) // 2]):
        (data / "ant" / "3.png").write_bytes(broken)
        line = refused(train_command, ["--data", data, "--outdir", tmp_path / "runs", *TINY])
        assert "ant/3.png" in line
        assert "--skip-corrupt" in line
    arguments = ["--data", str(data), "--outdir", str(tmp_path / "runs"), *TINY, "--skip-corrupt"]
    assert train_command(arguments) == 0
    assert "ant/3.png" in capsys.readouterr().err
    network = tmp_path / "runs" / "00000-custom" / "network"
    assert Generator.from_pretrained(network).class_counts == (11, 5, 3)


def test_zip_without_labels(tmp_path: Path, data: Path, refused: Refused) -> None:
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        for path in (data / "ant").iterdir():
            archive.write(path, path.name)
    line = refused(train_command, ["--data", tmp_path / "flat.zip", "--outdir", tmp_path / "runs", *TINY])
    assert "flat.zip" in line
    assert "dataset.json" in line
    (tmp_path / "torn.zip").write_bytes((tmp_path / "flat.zip").read_bytes()[:200])
    line = refused(train_command, ["--data", tmp_path / "torn.zip", "--outdir", tmp_path / "runs", *TINY])
    assert "torn.zip" in line


def test_impossible_settings(tmp_path: Path, data: Path, refused: Refused) -> None:
    arguments = ["--data", data, "--outdir", tmp_path / "runs", *TINY]
    for more, what in [
        (["--batch", 7], "mbstd_group_size=4"),
        (["--kimg", -3], "training.kimg=-3"),
        (["training.bach=4"], "did you mean 'batch'"),
        (["--regularizers", "gsrr"], "'gsrr'"),
        (["--preset", "cifar10lt"], "'cifar10lt'"),
        (["--resolution", 20], "data.resolution=20"),
        (["--imbalance", 0.1], "data.imbalance=0.1"),
        (["--device", "abacus"], "'abacus'"),
        (["--device", "cuda:99"], "cuda:99"),
        (["loose"], "'loose'"),
    ]:
        assert what in refused(train_command, [*arguments, *more])


def test_outdir_that_cannot_be_written(tmp_path: Path, data: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "runs"):
        assert str(out) in refused(train_command, ["--data", data, "--outdir", out, *TINY])


def test_resuming_what_is_no_run(tmp_path: Path, refused: Refused) -> None:
    assert "not a run" in refused(train_command, ["--resume", tmp_path])
    (tmp_path / "config.yaml").write_text("training: {bach: 3}")
    line = refused(train_command, ["--resume", tmp_path])
    assert "config.yaml" in line
    assert "bach" in line
    (tmp_path / "config.yaml").write_text("training: [")
    assert "YAML" in refused(train_command, ["--resume", tmp_path])


def test_generate_the_same_twice(tmp_path: Path, trained: Path) -> None:
    arguments = ["--network", str(trained), "--per-class", "4", "--seed", "6", "--truncation", "0.7"]
    for name in ("a", "b"):
        assert main(["generate", *arguments, "--outdir", str(tmp_path / name)]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["network_sha256"] == loading.load_generator(trained)[1]
    assert open_image_set(tmp_path / "a").counts.tolist() == [4, 4, 4]


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


def test_gan_lt_names_unknown_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "'trian'" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "generate" in capsys.readouterr().out
    assert main([]) == 2
    assert main(["--version"]) == 0


def test_interrupted_command_has_its_own_status(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: Any) -> int:
        raise KeyboardInterrupt

    def wrong(_: Any) -> int:
        raise InputError("x: is wrong")

    assert run_command(interrupted, []) == 130
    assert run_command(wrong, []) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: x: is wrong"


def test_script_prints_one_line_and_exits_with_2(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "train.py", "--data", tmp_path / "nowhere", "--outdir", tmp_path / "runs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_script_stopped_by_sigterm_exits_with_0_and_resumes(tmp_path: Path, data: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--data", data, "--outdir", tmp_path, "--name", "run", *TINY]
    long = [*arguments, "--kimg", "1000"]
    with open(tmp_path / "stderr", "w") as stderr:
        process = subprocess.Popen([sys.executable, ROOT / "train.py", *map(str, long)], stderr=stderr)
        try:
            deadline = time.monotonic() + 240  # the first run on a machine builds the kernels
            while not (run / "network" / "model.safetensors").exists() and time.monotonic() < deadline:
                assert process.poll() is None
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(timeout=30) == 0  # what Slurm gives by default
        finally:
            process.kill()
    assert "--resume" in (tmp_path / "stderr").read_text().replace("\n", " ")
    seen = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])["kimg"]
    assert train_command(["--resume", str(run), "--kimg", str(seen + 0.016)]) == 0
    last = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])["kimg"]
    assert last == pytest.approx(seen + 0.016)
