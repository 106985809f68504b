"""Measures during training: the curves, the best network, and that they change nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from eval.sources import source_of_set
from gan_lt.config import TrainConfig, build_config
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.training import measuring, train
from gan_lt.training.checkpoint import list_checkpoints, load_checkpoint
from gan_lt.training.measuring import Measuring
from tests.conftest import TINY

CPU = torch.device("cpu")
MakeConfig = Callable[..., TrainConfig]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def digit_images() -> ImageSet:
    """Twelve images of each of three random patterns, 8x8."""
    rng = np.random.default_rng(1)
    patterns = rng.integers(40, 216, (3, 1, 8, 8))
    labels = np.repeat([0, 1, 2], 12)
    noisy = patterns[labels] + rng.integers(-30, 30, (36, 1, 8, 8))
    return ImageSet.from_arrays(noisy.clip(0, 255).astype(np.uint8), labels, ["a", "b", "c"])


METRICS: dict[str, Any] = {"names": ["fid", "ifid", "prdc"], "ticks": 1, "per_class": 8}


def stats(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def test_curves_best_network_and_nothing_else_changes(
    tmp_path: Path, make_config: MakeConfig, digit_images: ImageSet
) -> None:
    runs = {}
    for name, changes in {"measured": {"metrics": METRICS}, "plain": {}}.items():
        runs[name] = tmp_path / name
        runs[name].mkdir()
        assert train(make_config(changes), digit_images, runs[name], QUIET, CPU)
    lines = stats(runs["measured"])
    for line in lines:
        assert {
            "metrics/fid_classifier",
            "metrics/ifid_classifier",
            "metrics/recall",
            "metrics/coverage",
        } <= line.keys()
        assert set(line["per_class"]) == {"a", "b", "c"}
        assert {"ifid", "recall"} <= line["per_class"]["a"].keys()
        assert line["metrics/ifid_classifier"] == pytest.approx(
            np.mean([entry["ifid"] for entry in line["per_class"].values()]), rel=1e-9
        )
    record = json.loads((runs["measured"] / "best" / "metrics.json").read_text())
    best = min(lines, key=lambda line: float(line["metrics/ifid_classifier"]))
    assert record["by"] == "ifid"
    assert record["kimg"] == best["kimg"]
    assert record["metrics"]["ifid"] == best["metrics/ifid_classifier"]
    Generator.from_pretrained(runs["measured"] / "best")

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(runs["measured"]))
    events.Reload()
    assert [point.value for point in events.Scalars("metrics/ifid_classifier")] == pytest.approx(
        [line["metrics/ifid_classifier"] for line in lines], rel=1e-6
    )

    states = [load_checkpoint(list_checkpoints(run / "checkpoints")[-1]) for run in runs.values()]
    for name, weight in states[0]["G"].items():
        assert torch.equal(weight, states[1]["G"][name]), f"measuring changed {name}"
    assert torch.equal(states[0]["rng"], states[1]["rng"])


def test_best_is_replaced_by_better_only(
    tmp_path: Path, make_config: MakeConfig, digit_images: ImageSet
) -> None:
    config = make_config({"metrics": {**METRICS, "best": "coverage"}})
    measuring = Measuring(config, digit_images, tmp_path, CPU)
    G = Generator(z_dim=4, num_classes=3, w_dim=4, resolution=8, img_channels=1, channel_base=32)
    assert measuring.keep_best(G, {"coverage": 0.5}, 1000)
    assert not measuring.keep_best(G, {"coverage": 0.5}, 2000)
    assert not measuring.keep_best(G, {"coverage": float("nan")}, 2000)
    assert measuring.keep_best(G, {"coverage": 0.6}, 3000)
    assert json.loads((tmp_path / "best" / "metrics.json").read_text())["kimg"] == 3
    measuring.description += " of another set"  # figures against other images are other figures
    assert measuring.keep_best(G, {"coverage": 0.4}, 4000)
    assert not measuring.keep_best(G, {"coverage": 0.3}, 5000)


def test_lines_behind_the_checkpoint_are_dropped_on_resume(
    tmp_path: Path, make_config: MakeConfig, digit_images: ImageSet
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert train(make_config(), digit_images, run, QUIET, CPU)
    before = stats(run)
    with open(run / "stats.jsonl", "a") as file:
        file.write(json.dumps({**before[-1], "kimg": 0.072}) + '\n{"kimg": 0.0')
    assert train(make_config({"training": {"kimg": 0.096}}), digit_images, run, QUIET, CPU)
    after = stats(run)
    assert [line["kimg"] for line in after] == [0.024, 0.048, 0.072, 0.096]
    assert after[:2] == before


def test_classes_are_matched_by_name(
    tmp_path: Path, make_config: MakeConfig, digit_images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = digit_images.images(np.arange(36))
    moved = ImageSet.from_arrays(pixels, np.asarray([1, 2, 0])[digit_images.labels], ["c", "a", "b"])

    def real_ones(G: Generator, labels: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        return pixels[np.concatenate([np.flatnonzero(digit_images.labels == y)[:8] for y in range(3)])]

    monkeypatch.setattr("gan_lt.training.measuring.sample_images", real_ones)
    G = Generator(z_dim=4, num_classes=3, w_dim=4, resolution=8, img_channels=1, channel_base=32)
    config = make_config({"metrics": METRICS})
    same = Measuring(config, digit_images, tmp_path, CPU).measure(G)[1]
    monkeypatch.setattr(
        "gan_lt.training.measuring.reference_images", lambda *_: source_of_set(moved, "moved")
    )
    other = Measuring(config, digit_images, tmp_path, CPU).measure(G)[1]
    for name in "abc":
        assert same[name]["recall"] == other[name]["recall"] > 0.5
        assert other[name]["ifid"] < 10 * same[name]["ifid"] + 1e-3


def test_impossible_settings_are_named(make_config: MakeConfig) -> None:
    with pytest.raises(InputError, match="best=kid is not measured"):
        make_config({"metrics": {**METRICS, "best": "kid"}})
    with pytest.raises(InputError, match="ifid needs classes"):
        make_config({"metrics": METRICS, "generator": {**TINY["generator"], "conditional": False}})
    with pytest.raises(InputError, match=r"metrics\.names"):
        build_config("custom", {"metrics.names": ["utility"]})


@pytest.mark.parametrize(
    ("path", "real", "opened", "root", "split"),
    [
        ("LIST", "cifar10:test", "cifar10:test", None, "test"),
        ("cifar10:train", "cifar10", "cifar10", "ROOT", "test"),
        ("cifar10:train", None, "cifar10", "ROOT", "test"),
        ("cifar10:test", None, "cifar10", "ROOT", "train"),
        ("cifar10", "LIST", "LIST", None, "test"),
        ("LIST", "OTHER", "OTHER", "ROOT", "test"),
    ],
)
def test_the_reference_is_held_out_and_the_folder_of_a_list_is_not_that_of_a_named_set(
    make_config: MakeConfig,
    images: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    real: str | None,
    opened: str,
    root: str | None,
    split: str,
) -> None:
    seen: list[tuple[str, Path | None, str]] = []
    monkeypatch.setattr(
        measuring, "open_source", lambda spec, options: seen.append((spec, options.data_root, options.split))
    )
    config = make_config({"data": {"path": path, "root": "ROOT"}, "metrics": {"real": real}})
    measuring.reference_images(config, images)
    assert seen == [(opened, None if root is None else Path(root), split)]
