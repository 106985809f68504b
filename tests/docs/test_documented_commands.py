"""Every command of the README and of the documentation is run, or is named here with what it would need.

A page is a story: its commands and Python blocks run in order in a folder of their own, with small images in the places
that the text speaks of. Budgets are cut down (REDUCED); nothing else of a command is changed. A command that can't run
here is on the list SKIPPED, and its options are still checked by the command's own parser. A new command
that is on no list runs, so it can't slip through.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import re
import shlex
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import eval.arm_training
from eval.extractors import classifier
from gan_lt import cli
from gan_lt.completion import parsers
from gan_lt.data import open_image_set

_spec = importlib.util.spec_from_file_location("documented", Path(__file__).with_name("documented.py"))
assert _spec is not None
assert _spec.loader is not None
documented = importlib.util.module_from_spec(_spec)
sys.modules["documented"] = documented  # dataclasses look their module up
_spec.loader.exec_module(documented)

# (pattern of the whole command, what it would need)
SKIPPED = [
    (r"make (demo|test|coverage|mutants|lint|format|docs)$", "makes the environment that this test runs in"),
    (r"\.ci/run$", "runs this test"),
    (r"(pip|source|cd|git) ", "changes the environment"),
    (r".*python -m pytest", "runs this test"),
    (r".*python -m benchmarks\.", "minutes to hours; tests/benchmarks and benchmarks/ have their own checks"),
    (r".*\bcifar100?\b", "CIFAR, which may have to be downloaded"),
    (r".*cifar10-lt-r100-train\.zip", "a file kept outside the repository"),
    (r"python -m eval compare (with|A)\.json", "evaluations made before it; tests/eval compares some"),
    (r"torchrun ", "several processes; tests/training, tests/sampling and tests/eval start them"),
    (r"python train\.py .*--init-from network-snapshot", "a StyleGAN2-ADA file; tests/interop makes some"),
    (r".*runs/unconditional", "an unconditional run; tests/sampling makes networks of that kind"),
    (r"gan-lt app ", "serves until it is stopped; tests/app drives it"),
    (r"gan-lt import ", "a StyleGAN2-ADA file; tests/interop makes some"),
    (r".*\[--", "a synopsis, with brackets for what may be left out"),
    (r".*\bDATA\b", "a synopsis, with DATA for a name"),
]
# Python blocks that are not whole programs, by page and a text in them
PARTIAL = [
    ("docs/architecture.md", "class MyMethod(Term)", "an outline"),
    ("docs/interop.md", "network-snapshot", "a StyleGAN2-ADA file; tests/interop makes some"),
    ("docs/interop.md", "push_to_hub", "an account; tests/interop has a stand-in for the Hub"),
    ("docs/methods/", "open_image_set", "minutes of training"),
]
# budgets, cut down: option -> value
REDUCED = {
    "--kimg": "0.032",
    "--per-class": "2",
    "--num-fake": "6",
    "--to": "12",
    "--epochs": "1",
    "--batch": "8",
    "--resolution": "16",
}
CLASSIFIER_IMAGES = 64  # that the evaluation's classifiers are shown
SMALL_NETWORK = [
    "training.batch=8", "training.tick_kimg=1", "generator.channel_base=64", "generator.channel_max=8",
    "generator.mapping_layers=1", "discriminator.mapping_layers=0", "discriminator.mbstd_group_size=2",
    "generator.z_dim=8", "generator.w_dim=8",
]  # fmt: skip
UNPACK = r"python -m zipfile -e (\S+) (\S+)$"
CLASSES = {"heron": 9, "kestrel": 7, "owl": 6}
STORIES = [page for page in documented.pages() if any(documented.blocks(page))]


def skipped(command: str) -> str | None:
    return next((need for pattern, need in SKIPPED if re.match(pattern, command)), None)


def arguments(command: str) -> list[str]:
    """What `gan-lt` would be given: train.py, generate.py and -m eval are the same code."""
    command = re.sub(r"^(\.venv/bin/)?python train\.py", "gan-lt train", command)
    command = re.sub(r"^(\.venv/bin/)?python generate\.py", "gan-lt generate", command)
    command = re.sub(r"^(\.venv/bin/)?python -m eval", "gan-lt eval", command)
    words = shlex.split(command, comments=True)
    assert words[0] == "gan-lt", f"{command}: no way to run it here; put it on SKIPPED with what it needs"
    return words[1:]


def reduced(words: list[str]) -> list[str]:
    """The same command on a budget of seconds."""
    words = list(words)
    for option, value in REDUCED.items():
        # presets for 64x64 need a set of that size
        if option in words and not (option == "--resolution" and words[:2] == ["dataset", "convert"]):
            words[words.index(option) + 1] = value
    if words[0] == "train" and "--resume" not in words:
        small = [setting for setting in SMALL_NETWORK if setting.split("=")[0] not in " ".join(words)]
        words = [word for word in words if not word.startswith("generator.channel")]
        words += [*small, "training.kimg=0.032"] if "--kimg" not in words else small
    if words[:2] == ["train", "--resume"]:
        words[words.index("--kimg") + 1] = "0.048"
    if words[:2] == ["classifier", "train"] and "--epochs" not in words:
        words += ["--epochs", "1"]
    if words[0] == "eval" and "compare" not in words:
        words += ["--replicates", "0"]
    return words


def write_photos(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for shade, (name, count) in enumerate(CLASSES.items()):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(60 * shade, 60 * shade + 90, (64, 64, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on small photos, for pages that speak of one that other pages train."""
    folder = tmp_path_factory.mktemp("network")
    write_photos(folder / "photos", 0)
    with contextlib.chdir(folder):
        command = "train --data photos --resolution 64 --name photos --regularizers none"
        assert cli.main(reduced(command.split())) == 0
        command = "train --data digits --preset digits-lt --name demo --kimg 1"
        assert cli.main(reduced(command.split())) == 0
    return folder / "runs"


@pytest.fixture
def short_classifiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluation's classifiers train for two steps instead of half a minute."""
    original = classifier.train_classifier

    def train(*args: Any, **options: Any) -> classifier.SmallConvNet:
        return original(*args, **{**options, "images_seen": CLASSIFIER_IMAGES})

    for module in (classifier, eval.arm_training):
        monkeypatch.setattr(module, "train_classifier", train)


@pytest.fixture
def place(tmp_path: Path, network: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the texts take for granted: photos, held-out, runs/photos, runs/demo, lists of images."""
    monkeypatch.chdir(tmp_path)
    text = (documented.ROOT / page).read_text()
    if "photos.zip photos" not in text:  # a page that makes its own
        write_photos(tmp_path / "photos", 0)
    write_photos(tmp_path / "held-out", 1)
    for run in network.iterdir():
        if f"--name {run.name}\n" not in text and f"--name {run.name} " not in text:
            shutil.copytree(run, tmp_path / "runs" / run.name)
    if "ImageNet_LT" in text:
        shutil.copytree("photos", "imagenet")
        shutil.copytree("photos", "inat2019")
        files = [path.relative_to("photos").as_posix() for path in sorted(Path("photos").rglob("*.png"))]
        for index, file in enumerate(files):
            # names in the real lists differ across classes
            Path("imagenet", file).rename(Path("imagenet", f"{index}.png"))
            Path("inat2019", file).rename(Path("inat2019", f"{index}.png"))
        label = {name: k for k, name in enumerate(CLASSES)}
        lines = [f"{index}.png {label[file.split('/')[0]]}" for index, file in enumerate(files)]
        Path("ImageNet_LT_train.txt").write_text("\n".join(lines))
        images = [f'{{"id": {i}, "file_name": "{i}.png"}}' for i in range(len(files))]
        notes = [
            f'{{"image_id": {i}, "category_id": {int(line.split()[1])}}}' for i, line in enumerate(lines)
        ]
        Path("train2019.json").write_text(
            f'{{"images": [{",".join(images)}], "annotations": [{",".join(notes)}]}}'
        )
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("short_classifiers")
@pytest.mark.parametrize("page", STORIES)
def test_the_commands_of_a_page_run(page: str, place: Path) -> None:
    names: dict[str, object] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for block in documented.blocks(page):
            if block.language == "python" and not any(
                page.startswith(where) and text in block.body for where, text, _ in PARTIAL
            ):
                torch.manual_seed(0)
                exec(compile(block.body, page, "exec"), names)  # noqa: S102 - our own text
            for command in block.commands:
                if skipped(command) is None:
                    run(command)
    finally:
        torch.set_num_threads(threads)


def run(command: str) -> None:
    if unpacked := re.match(UNPACK, command):
        zipfile.ZipFile(unpacked[1]).extractall(unpacked[2])
        return
    said = io.StringIO()
    words = reduced(arguments(command))
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = cli.main(words)
        except SystemExit as stop:
            status = int(stop.code or 0)
    assert status == 0, f"{command}\nas {shlex.join(words)}\n{said.getvalue()[-2000:]}"


@pytest.mark.parametrize("page", STORIES)
def test_options_parse(page: str) -> None:
    """The parsers know every option of every command of gan-lt, also of those that can't run here."""
    known = parsers()
    for block in documented.blocks(page):
        for command in block.commands:
            need = skipped(command)
            if need is not None and (
                "synopsis" in need or not re.match(r"gan-lt |python (train|gen|-m eval)", command)
            ):
                continue
            if re.match(UNPACK, command):
                continue
            words = arguments(command)
            if words[0] == "--version" or words[:2] == ["eval", "compare"]:
                continue
            assert words[0] in known, f"{page}: {command}"
            parser: argparse.ArgumentParser = known[words[0]](f"gan-lt {words[0]}")
            try:
                if words[0] == "train":
                    parser.parse_intermixed_args(words[1:])
                else:
                    parser.parse_args(words[1:])
            except SystemExit:
                pytest.fail(f"{page}: {command}: its parser refuses it")


def test_no_skip_is_out_of_date() -> None:
    commands = [
        command for page in STORIES for block in documented.blocks(page) for command in block.commands
    ]
    assert len(commands) > 50
    for pattern, need in SKIPPED:
        assert [c for c in commands if re.match(pattern, c)], f"no command needs {pattern} ({need}) any more"


def test_the_photos_of_the_stories_are_a_long_tail(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 0)
    assert open_image_set(tmp_path / "photos").counts.tolist() == list(CLASSES.values())
