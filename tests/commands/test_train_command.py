"""train as people type it: real runs, and bad input that leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from gan_lt.classifier import Classifier
from gan_lt.cli import main
from gan_lt.commands import generate_command, run_command, train_command
from gan_lt.data import open_image_set
from gan_lt.errors import InputError
from gan_lt.models import Generator, SnganGenerator
from gan_lt.regularizers import REGULARIZERS, Term, TermContext
from gan_lt.training import loop
from gan_lt.training.checkpoint import images_trained, list_checkpoints
from gan_lt.training.run_directory import open_run
from tests.commands.runs import TINY, Refused, contents, write_images


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


def test_resume_does_not_shorten_a_run(tmp_path: Path, trained: Path, refused: Refused) -> None:
    # 0.032 kimg are trained
    assert open_run(trained).training.kimg == 0.032
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    line = refused(train_command, ["--resume", run, "--kimg", 0.016])
    assert "--kimg: 0.016 is less than the 0.032 kimg" in line
    newest = list_checkpoints(run / "checkpoints")[-1]
    newest.with_name("kimg-000009.safetensors").write_bytes(b"torn")
    assert "the 0.032 kimg" in refused(train_command, ["--resume", run, "--kimg", 0.016]), (
        "as training resumes"
    )
    assert "greater than 0" in refused(train_command, ["--resume", run, "--kimg", 0])
    newest.with_name("kimg-000009.safetensors").unlink()
    assert train_command(["--resume", str(run), "--kimg", "0.032"]) == 0
    assert open_run(run).training.kimg == 0.032


def test_the_last_step_may_overshoot_the_length_that_is_asked_for_again(tmp_path: Path, data: Path) -> None:
    arguments = ["--data", str(data), "--outdir", str(tmp_path), "--name", "run", *TINY, "--kimg=0.012"]
    assert train_command(arguments) == 0
    assert images_trained(tmp_path / "run" / "checkpoints") == 16
    assert train_command(["--resume", str(tmp_path / "run"), "--kimg", "0.012"]) == 0


def test_a_method_without_a_section_is_refused_before_a_run_is_made(
    tmp_path: Path, data: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "data" is a section, "preset" is a field and none
    for name in ("mymethod", "preset"):
        monkeypatch.setitem(REGULARIZERS, name, lambda context: Term(name="mymethod", weight=1.0))
        options = ["--data", data, "--outdir", tmp_path / "runs", *TINY, "--regularizers", name]
        line = refused(train_command, options)
        assert f"{name!r} is registered, but TrainConfig has no section" in line
        assert "docs/architecture.md" in line


def test_a_method_that_can_not_be_built_leaves_no_run(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(context: TermContext) -> Term:
        raise TypeError("a programmer's mistake")

    monkeypatch.setitem(REGULARIZERS, "lecam", faulty)
    options = ["--data", str(data), "--outdir", str(tmp_path / "runs"), *TINY, "--regularizers=lecam"]
    with pytest.raises(TypeError, match="mistake"):
        train_command(options)
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("name", ["a/../../b", "a/b", "..", "", "."])
def test_a_name_that_is_no_folder_name_leaves_nothing(
    tmp_path: Path, data: Path, refused: Refused, name: str
) -> None:
    outdir = tmp_path / "runs"
    arguments = ["--data", data, "--outdir", outdir, "--name", name, *TINY]
    assert f"--name: {name!r} is not the name of a folder" in refused(train_command, arguments)
    assert not outdir.exists()


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


@pytest.mark.parametrize("said", [["--data-root=pictures"], ["data.root=pictures"]])
def test_where_a_list_starts_holds_from_another_folder(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    lines = [
        f"{path.relative_to(data)} {'ant bee cow'.split().index(path.parent.name)}"
        for path in data.glob("*/*")
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    (tmp_path / "pictures").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    assert train_command(["--data=list.txt", "--outdir=.", "--name=run", *said, *TINY]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert train_command(["--resume=../run", "--kimg=0.048"]) == 0
    assert open_run(tmp_path / "run").data.root == str(tmp_path / "pictures")


def test_networks_to_start_from_hold_from_another_folder(
    tmp_path: Path, trained: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.parent)
    arguments = [f"--data={data}", f"--outdir={tmp_path}", "--name=run", *TINY, "training.init_from=run"]
    assert train_command(arguments) == 0
    assert open_run(tmp_path / "run").training.init_from == str(trained)


def test_a_folder_of_other_things_is_no_place_for_a_run(
    tmp_path: Path, data: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "photos" / "owl").mkdir(parents=True)
    line = refused(train_command, ["--data", data, "--outdir", tmp_path / "runs", "--name=photos", *TINY])
    assert "photos exists and holds owl" in line


def test_a_run_whose_first_step_lacks_memory_stays_and_goes_on_with_less(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(*_: object) -> None:
        raise MemoryError

    arguments = ["--data", str(data), "--outdir", str(tmp_path), "--name=run", *TINY]
    with monkeypatch.context() as patched:
        patched.setattr(loop, "training_step", lacking)
        assert run_command(train_command, arguments) == 2
    config = tmp_path / "run" / "config.yaml"
    said = capsys.readouterr().err
    assert f"set training.micro_batch=4 in {config}, then --resume" in said
    assert "checkpoint" not in said
    config.write_text(config.read_text().replace("micro_batch: null", "micro_batch: 4"))
    assert train_command(["--resume", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("link", [False, True])
def test_an_empty_folder_of_ones_own_stays_after_bad_input(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    link: bool,
) -> None:
    def wrong(*_: object) -> None:
        raise InputError("that goes not together")

    (tmp_path / "mine").mkdir()
    if link:
        (tmp_path / "linked").symlink_to(tmp_path / "mine")
    monkeypatch.setattr(loop, "TrainingState", wrong)
    before = contents(tmp_path)
    name = f"--name={'linked' if link else 'mine'}"
    assert run_command(train_command, ["--data", str(data), "--outdir", str(tmp_path), name, *TINY]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: that goes not together"
    assert contents(tmp_path) == before


def test_paths_are_kept_as_links_and_dots_make_them(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other" / "deep").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "other" / "deep")
    data.rename(tmp_path / "other" / "data")
    monkeypatch.chdir(tmp_path / "work")
    assert train_command(["--data=link/../data", "--outdir=.", "--name=run", *TINY]) == 0
    monkeypatch.chdir(tmp_path)
    assert train_command(["--resume=work/run", "--kimg=0.048"]) == 0


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
