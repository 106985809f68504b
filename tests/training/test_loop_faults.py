"""What a run meets: damaged checkpoints, changed data, steps that are not finite, full disks, a second run."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from gan_lt.config import TrainConfig
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.training import loop, train
from gan_lt.training.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from gan_lt.training.failures import TrainingDivergedError
from gan_lt.training.monitor import Averages
from gan_lt.training.run_directory import exclusive
from gan_lt.training.state import TrainingState
from tests.training.runs import differences, kept, last_state, new_run, said

CPU = torch.device("cpu")
MakeConfig = Callable[..., TrainConfig]


def test_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, make_config: MakeConfig, images: ImageSet, console: Console
) -> None:
    whole, run = new_run(tmp_path, "whole"), new_run(tmp_path, "run")
    config = make_config({"training": {"batch": 1000, "kimg": 3, "tick_kimg": 1}})
    train(config, images, whole, console, CPU)
    first, last = list_checkpoints(whole / "checkpoints")
    assert [first.name, last.name] == ["kimg-000002.safetensors", "kimg-000003.safetensors"]
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / first.name).write_bytes(first.read_bytes())
    (run / "checkpoints" / last.name).write_bytes(last.read_bytes()[:-100])
    train(config, images, run, console, CPU)
    line = next(line for line in said(tmp_path).splitlines() if "trying the one before" in line)
    assert last.name in line
    assert "resumed from kimg-000002.safetensors at 2.0 kimg" in said(tmp_path)
    assert not differences(last_state(whole), last_state(run))


def test_changed_images_are_refused(
    tmp_path: Path, make_config: MakeConfig, images: ImageSet, console: Console
) -> None:
    run = new_run(tmp_path, "run")
    train(make_config({"training": {"kimg": 0.024}}), images, run, console, CPU)
    pixels = images.images().copy()
    pixels[7, 0, 3, 3] ^= 1
    changed = ImageSet.from_arrays(pixels, images.labels, images.class_names)
    before = kept(run)
    with pytest.raises(InputError, match="training images have changed"):
        train(make_config(), changed, run, console, CPU)
    assert before == kept(run)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"generator": {"w_dim": 16}},
            r"generator\.w_dim was 8, is 16; G's .* is \[.*\] in it and \[.*\] here",
        ),
        (
            {"generator": {"mapping_layers": 3}},
            r"generator\.mapping_layers was 2, is 3; .*mapping\.layers\.2",
        ),
        (
            {"discriminator": {"architecture": "orig"}},
            r"discriminator\.architecture was resnet, is orig; .* of D",
        ),
        ({"augment": {"name": "ada"}}, r"augment\.name was diffaugment, is ada; augment's p is not in it"),
        ({"regularizers": ["lecam"]}, r"regularizers was \[\], is \['lecam'\]; it has no 'lecam'"),
    ],
)
def test_a_checkpoint_that_does_not_fit_an_edited_config_is_one_line(
    tmp_path: Path,
    make_config: MakeConfig,
    images: ImageSet,
    console: Console,
    changes: dict[str, Any],
    named: str,
) -> None:
    run = new_run(tmp_path, "run")
    train(make_config({"training": {"kimg": 0.024}}), images, run, console, CPU)
    before = kept(run)
    top = {name: value for name, value in changes.items() if not isinstance(value, dict)}
    sections = {name: value for name, value in changes.items() if isinstance(value, dict)}
    with pytest.raises(InputError, match=f"config.yaml does not fit.*{named}.*restore config.yaml") as caught:
        train(make_config(sections, **top), images, run, console, CPU)
    assert "\n" not in str(caught.value)
    assert before == kept(run)


def test_a_misfit_is_said_of_a_checkpoint_without_settings_too(
    make_config: MakeConfig, images: ImageSet
) -> None:
    old = TrainingState(make_config(), images, CPU).state_dict()
    del old["settings"]
    state = TrainingState(make_config({"generator": {"z_dim": 16}}), images, CPU)
    with pytest.raises(InputError, match=r"of 0\.0 kimg \(G's mapping"):
        state.load_state_dict(old)
    TrainingState(make_config(), images, CPU).load_state_dict(old)


def test_frozen_layers_that_were_changed_are_a_misfit(make_config: MakeConfig, images: ImageSet) -> None:
    saved = TrainingState(make_config(), images, CPU).state_dict()
    frozen = make_config({"training": {"init_from": "x", "freeze_discriminator_layers": 1}})
    with pytest.raises(
        InputError, match=r"freeze_discriminator_layers was 0, is 1.*optimizer_d trains \d+ tensors"
    ):
        TrainingState(frozen, images, CPU).load_state_dict(saved)


def test_ada_that_was_taken_away_is_a_misfit(make_config: MakeConfig, images: ImageSet) -> None:
    saved = TrainingState(make_config({"augment": {"name": "ada"}}), images, CPU).state_dict()
    state = TrainingState(make_config(), images, CPU)
    before = {name: value.clone() for name, value in state.D.state_dict().items()}
    with pytest.raises(InputError, match=r"augment\.name was ada, is diffaugment; its p of augment"):
        state.load_state_dict(saved)
    assert not differences(before, dict(state.D.state_dict()))


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: an illegal memory access"), TypeError("a defect")]
)
def test_what_is_no_misfit_is_not_called_one(
    make_config: MakeConfig, images: ImageSet, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    state = TrainingState(make_config(), images, CPU)
    saved = state.state_dict()

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(state.loader, "load_state_dict", fail)
    with pytest.raises(type(error), match=str(error)):
        state.load_state_dict(saved)


def test_what_was_just_written_stays_beside_later_damaged_checkpoints(tmp_path: Path) -> None:
    for images_seen in (98_000, 99_000):
        save_checkpoint(tmp_path, {"x": torch.zeros(3)}, images_seen, keep=2)
    for kimg in (100, 101):
        (tmp_path / f"kimg-{kimg:06d}.safetensors").write_bytes(b"torn")
    path = save_checkpoint(tmp_path, {"x": torch.ones(3)}, 99_500, keep=2)
    assert torch.equal(load_checkpoint(path)["x"], torch.ones(3))
    assert [found.stem[-3:] for found in list_checkpoints(tmp_path)] == ["098", "099", "100", "101"]


def test_a_step_that_is_not_finite_is_skipped_and_counted(
    tmp_path: Path,
    make_config: MakeConfig,
    images: ImageSet,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = new_run(tmp_path, "run")
    step, weights = loop.training_step, {}

    def poisoned(state: TrainingState, averages: Averages) -> None:
        if state.step == 1:
            weights.update({key: value.clone() for key, value in state.D.named_parameters()})
            real = state.next_real
            state.next_real = lambda: (real()[0] * float("inf"), real()[1])  # type: ignore[method-assign]
        step(state, averages)
        if state.step == 2:
            state.next_real = real  # type: ignore[method-assign]
            for key, value in state.D.named_parameters():
                assert torch.equal(value, weights[key]), f"the skipped step moved {key}"

    monkeypatch.setattr(loop, "training_step", poisoned)
    assert train(make_config(regularizers=["lecam"]), images, run, console, CPU)
    first, second = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert first["D/skipped_steps"] == 1
    assert "D/skipped_steps" not in second
    assert all(map(math.isfinite, [*first.values(), *second.values()]))
    for name, value in last_state(run)["terms"]["lecam"].items():
        assert bool(torch.isfinite(value).all()), name


def test_divergence_is_said_and_keeps_the_last_checkpoint(
    tmp_path: Path,
    make_config: MakeConfig,
    images: ImageSet,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = new_run(tmp_path, "run")
    step = loop.training_step

    def poisoned(state: TrainingState, averages: Averages) -> None:
        if state.step == 4:
            with torch.no_grad():
                next(state.D.parameters()).fill_(float("nan"))
        step(state, averages)

    monkeypatch.setattr(loop, "training_step", poisoned)
    config = make_config({"training": {"kimg": 0.4, "tick_kimg": 0.024}})
    with pytest.raises(TrainingDivergedError, match=r"the last 2\d steps .* D/adversarial") as caught:
        train(config, images, run, console, CPU)
    assert "\n" not in str(caught.value)
    assert last_state(run)["step"] == 3


def test_two_runs_in_one_folder_are_refused(
    tmp_path: Path, make_config: MakeConfig, images: ImageSet, console: Console
) -> None:
    run = new_run(tmp_path, "run")
    with exclusive(run), pytest.raises(InputError, match=r"run: another process trains in this folder"):
        train(make_config(), images, run, console, CPU)
    assert not (run / "stats.jsonl").exists()
    assert train(make_config(), images, run, console, CPU), "the lock is gone with its holder"


def test_a_full_disk_is_one_line_and_keeps_earlier_checkpoints(
    tmp_path: Path,
    make_config: MakeConfig,
    images: ImageSet,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from safetensors import SafetensorError

    from gan_lt.training import checkpoint

    run = new_run(tmp_path, "run")
    train(make_config({"training": {"kimg": 0.024}}), images, run, console, CPU)
    before = kept(run)

    def full(*arguments: Any, **more: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match="No space left") as caught:
        train(make_config(), images, run, console, CPU)
    assert str(run) in str(caught.value)
    assert before == kept(run)


def test_what_a_kill_behind_the_last_checkpoint_left_undone_is_done_on_resuming(
    tmp_path: Path, make_config: MakeConfig, images: ImageSet, console: Console
) -> None:
    run, config = new_run(tmp_path, "run"), make_config()
    train(config, images, run, console, CPU)
    checkpoints = run / "checkpoints"
    (last,) = list_checkpoints(checkpoints)
    network = (run / "network" / "model.safetensors").read_bytes()
    assert config.training.keep_checkpoints == 2
    for name in ("kimg-000098.safetensors", "kimg-000099.safetensors"):
        shutil.copy(last, checkpoints / name)
    (checkpoints / "kimg-000100.safetensors").write_bytes(network[:100])  # torn: it counts for nothing
    (run / "network" / "model.safetensors").write_bytes(b"")
    assert train(config, images, run, console, CPU)
    assert [path.stem for path in list_checkpoints(checkpoints)] == [
        "kimg-000098",
        "kimg-000099",
        "kimg-000100",
    ]
    assert (run / "network" / "model.safetensors").read_bytes() == network
