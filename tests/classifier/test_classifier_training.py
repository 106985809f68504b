"""The classifier itself: shapes, a round trip through files, the schedule, and digits learnt in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_lt.classifier import (
    Classifier,
    ClassifierSettings,
    measure_classifier,
    predict,
    recall_report,
    train_classifier,
)
from gan_lt.classifier.command import classifier_command
from gan_lt.classifier.training import random_crop, rate_factor
from gan_lt.data import ImageSet, open_image_set, thin_to_long_tail
from gan_lt.errors import InputError


def stripes(n: int = 48, size: int = 8) -> ImageSet:
    """Vertical, horizontal and no stripes, in noise: 3 classes told apart at a glance."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    images = rng.integers(0, 60, (n, 1, size, size), dtype=np.uint8)
    images[labels == 0, :, :, ::2] += 150
    images[labels == 1, :, ::2] += 150
    return ImageSet.from_arrays(images, labels, ["down", "across", "none"])


@pytest.mark.parametrize(
    ("resolution", "channels", "backbone"), [(16, 1, "resnet32"), (64, 3, "resnet32"), (128, 1, "resnet18")]
)
def test_shapes_and_backbones(resolution: int, channels: int, backbone: str) -> None:
    torch.manual_seed(0)
    network = Classifier(7, resolution, channels).eval()
    assert network.backbone == backbone
    logits = network(torch.rand(2, channels, resolution, resolution) * 2 - 1)
    assert logits.shape == (2, 7)
    assert logits.abs().max() <= 30.001


def test_resnet_32_has_its_published_size() -> None:
    # He et al., 2016, table 6: 0.46 M parameters, with a linear layer of 10 classes
    network = Classifier(10, normalized=False)
    assert sum(p.numel() for p in network.parameters()) == 464_154
    assert sum(isinstance(m, torch.nn.Conv2d | torch.nn.Linear) for m in network.modules()) == 32


def test_input_is_normalised_inside() -> None:
    torch.manual_seed(0)
    plain = Classifier(3, 8, 1).eval()
    shifted = Classifier(3, 8, 1, mean=[0.5], std=[0.25]).eval()
    shifted.load_state_dict(plain.state_dict())
    x = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(shifted(x * 0.25 + 0.5), plain(x), rtol=1e-4, atol=1e-4)


def test_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Classifier(3, 8, 1, mean=[0.1], std=[0.4], class_names=["a", "b", "c"], class_counts=[9, 4, 1])
    network.train()(torch.randn(16, 1, 8, 8))  # so that the running statistics are not the initial ones
    network.eval().save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = Classifier.from_pretrained(tmp_path)
    assert not loaded.training
    assert (loaded.class_names, loaded.class_counts) == (["a", "b", "c"], [9, 4, 1])
    x = torch.randn(4, 1, 8, 8)
    assert torch.equal(loaded(x), network(x))


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"num_classes": 3, "backbone": "vgg"}, "'vgg'"),
        ({"num_classes": 3, "std": [0.0, 1.0, 1.0]}, r"std=\[0.0"),
        ({"num_classes": 3, "class_names": ["a"]}, "class_names has 1"),
    ],
)
def test_bad_networks_are_refused(arguments: dict[str, object], shown: str) -> None:
    with pytest.raises(InputError, match=shown):
        Classifier(**arguments)  # type: ignore[arg-type]


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(InputError, match=r"\[2, 1, 16, 16\].*\[N, 1, 8, 8\]"):
        Classifier(3, 8, 1)(torch.zeros(2, 1, 16, 16))


def test_the_schedule_is_the_papers_scaled() -> None:
    # 200 epochs of 10 steps: warm-up over 5, falls at 160 and 180
    factors = [rate_factor(step, 2000, 0.025) for step in range(2000)]
    assert factors[0] == pytest.approx(1 / 50)
    assert factors[49] == factors[1599] == 1
    assert factors[1600] == factors[1799] == pytest.approx(0.01)
    assert factors[1800] == factors[1999] == pytest.approx(0.0001)
    assert factors[:50] == sorted(factors[:50])


def test_crops_are_shifts() -> None:
    torch.manual_seed(0)
    images = torch.rand(64, 2, 5, 5)
    cropped = random_crop(images, 2)
    padded = torch.nn.functional.pad(images, [2] * 4, value=-1.0)
    shifts = set()
    for i in range(64):
        found = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if torch.equal(padded[i, :, y : y + 5, x : x + 5], cropped[i])
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 15  # of 25
    assert random_crop(images, 0) is images


@pytest.mark.parametrize("loss", ["ldam", "cross_entropy", "class_balanced", "focal", "logit_adjustment"])
def test_every_loss_learns(loss: str) -> None:
    images = stripes()
    settings = ClassifierSettings(loss=loss, epochs=8, batch=16, learning_rate=0.05, crop_padding=0)  # type: ignore[arg-type]
    network = train_classifier(images, settings)
    assert not network.training
    assert measure_classifier(network, images).accuracy > 0.9


def test_the_same_seed_gives_the_same_classifier() -> None:
    settings = ClassifierSettings(epochs=1, batch=16)
    before = torch.get_rng_state()
    first, second = (train_classifier(stripes(), settings).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), before)
    other = train_classifier(stripes(), ClassifierSettings(epochs=1, batch=16, seed=1)).state_dict()
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"loss": "mse"}, "'mse'"),
        ({"epochs": 0}, "epochs 0"),
        ({"learning_rate": -1.0}, "-1"),
        ({"warmup": 1.0}, "1.0"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], shown: str) -> None:
    with pytest.raises(InputError, match=shown):
        ClassifierSettings(**settings)  # type: ignore[arg-type]


def test_recall_report_in_closed_form() -> None:
    report = recall_report([0, 0, 0, 0, 1, 1, 3], [0, 0, 0, 1, 1, 0, 3], num_classes=4)
    assert report.accuracy == pytest.approx(5 / 7)
    assert report.per_class_recall == (0.75, 0.5, None, 1.0)
    assert report.per_class_images == (4, 2, 0, 1)
    assert report.balanced_accuracy == pytest.approx(0.75)
    assert report.worst_class_recall == 0.5
    assert report.harmonic_mean == pytest.approx(3 / (4 / 3 + 2 + 1))
    assert recall_report([0, 1], [0, 0], 2).harmonic_mean == 0
    with pytest.raises(InputError, match="prediction 2"):
        recall_report([0, 1], [0, 2], 2)


def test_long_tailed_digits() -> None:
    digits = open_image_set("digits", resolution=8)
    network = train_classifier(
        thin_to_long_tail(digits, 5), ClassifierSettings(epochs=12, batch=64, crop_padding=0)
    )
    report = measure_classifier(network, open_image_set("digits:test", resolution=8))
    assert report.balanced_accuracy > 0.85


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "classifier"
    arguments = ["train", "--data", "digits", "--resolution", "8", "--imbalance", "20", "--outdir", str(out)]
    assert classifier_command([*arguments, "--epochs", "1", "--loss", "focal"]) == 0
    shown = capsys.readouterr().out
    assert "recall on digits:test" in shown
    assert "worst-class recall" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    report = json.loads((out / "report.json").read_text())
    assert report["per_class_images"] == [50] * 10
    network = Classifier.from_pretrained(out)
    assert not network.normalized
    predicted = predict(network, open_image_set("digits:test", resolution=8))
    assert np.mean(predicted == open_image_set("digits:test", resolution=8).labels) == pytest.approx(
        report["accuracy"]
    )
    with pytest.raises(InputError, match="exists"):
        classifier_command(arguments)
