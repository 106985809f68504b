"""Synthetic images in Python: the iterator, the Dataset, the over-sampler, and pictures of a network."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

import gan_lt
from gan_lt.cli import main
from gan_lt.data import open_image_set
from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.sampling import (
    GANOverSampler,
    SyntheticDataset,
    class_pictures,
    interpolation_pictures,
    plan_per_class,
    sample_balanced,
    truncation_pictures,
    write_synthetic_set,
)
from gan_lt.sampling.images import CHUNK
from gan_lt.sampling.pictures import spherical_interpolation

MakeGenerator = Callable[..., Generator]


def test_exported_at_the_top() -> None:
    assert gan_lt.sample_balanced is sample_balanced
    assert gan_lt.SyntheticDataset is SyntheticDataset
    assert gan_lt.GANOverSampler is GANOverSampler
    with pytest.raises(AttributeError, match="'nothing'"):
        gan_lt.nothing  # noqa: B018


def test_the_iterator_takes_classes_in_turn(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator()
    made = list(sample_balanced(G, per_class=30, seed=2))
    assert [label for _, label in made] == [0, 1, 2] * 30
    assert made[0][0].dtype == torch.uint8
    write_synthetic_set(G, plan_per_class(G, 30), tmp_path / "set", seed=2)
    files = open_image_set(tmp_path / "set")
    for label in range(3):
        mine = torch.stack([image for image, k in made if k == label]).numpy()
        assert np.array_equal(mine, files.images(files.labels == label))
    endless = list(islice(sample_balanced(G, seed=2), 100))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(endless, made, strict=False))
    uneven = [label for _, label in sample_balanced(G, per_class={"cow": 3, 0: 1})]
    assert uneven == [0, 2, 2, 2]


def test_items_of_the_dataset_are_their_own(make_generator: MakeGenerator) -> None:
    G = make_generator()
    data = SyntheticDataset(G, per_class={"ant": 50, "cow": 60}, seed=1, truncation_psi={"cow": 0.6})
    assert len(data) == 110
    assert data.labels.tolist() == [0] * 50 + [2] * 60
    alone = SyntheticDataset(
        G, per_class={"ant": 50, "cow": 60}, seed=1, truncation_psi={"cow": 0.6}, memory=0
    )
    for index in (109, 0, 63, 64, -1):
        assert torch.equal(data[index][0], alone[index][0])
        assert data[index][1] == data.labels[index]
    assert data[-1][1] == 2
    data[3][0].zero_()
    assert torch.equal(data[3][0], alone[3][0])
    with pytest.raises(IndexError, match="110"):
        data[110]


def test_every_image_is_made_once(make_generator: MakeGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    G = make_generator()
    calls: list[int] = []
    forward = G.synthesis.forward
    monkeypatch.setattr(G.synthesis, "forward", lambda ws, **k: calls.append(len(ws)) or forward(ws, **k))
    data = SyntheticDataset(G, per_class=CHUNK)
    for index in np.random.default_rng(0).permutation(len(data)).tolist():
        data[index]
    assert calls == [CHUNK] * 3


@pytest.mark.parametrize("workers", [0, 2])
def test_with_real_images_in_a_loader(make_generator: MakeGenerator, workers: int) -> None:
    G = make_generator()
    real = TensorDataset(torch.zeros(5, 1, 8, 8), torch.tensor([0, 0, 1, 1, 2]))
    synthetic = SyntheticDataset(
        G, {"cow": 6}, transform=lambda image: image.float() / 255, target_transform=torch.tensor
    )
    images, labels = zip(*DataLoader(ConcatDataset([real, synthetic]), 4, num_workers=workers), strict=True)
    assert torch.cat(images).shape == (11, 1, 8, 8)
    assert torch.cat(labels).tolist() == [0, 0, 1, 1, 2] + [2] * 6
    expected = torch.stack([synthetic[i][0] for i in range(6)])
    assert torch.equal(torch.cat(images)[5:], expected)


def test_a_copied_dataset_leaves_its_images_behind(make_generator: MakeGenerator) -> None:
    data = SyntheticDataset(make_generator(), 500)
    data[700]
    copied = pickle.loads(pickle.dumps(data))  # noqa: S301, TID251 - our own object, as a spawned worker gets it
    assert torch.equal(copied[700][0], data[700][0])


@pytest.mark.parametrize(
    ("per_class", "value"),
    [
        ({"elk": 2}, "'elk'"),
        ({3: 2}, "3"),
        ({"ant": -1}, "-1"),
        (2.5, "2.5"),
        (0, "no image"),
        ({}, "no image"),
    ],
)
def test_bad_numbers_are_named(make_generator: MakeGenerator, per_class: Any, value: str) -> None:
    for make in (sample_balanced, SyntheticDataset):
        with pytest.raises(InputError, match=value):
            make(make_generator(), per_class)
    with pytest.raises(InputError, match="unconditional"):
        sample_balanced(make_generator(num_classes=0))


@pytest.fixture
def real() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (9, 8, 8, 1), dtype=np.uint8), np.array([2, 0, 0, 1, 0, 0, 1, 0, 2])


def test_over_sampling_keeps_the_originals_first(
    make_generator: MakeGenerator, real: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
) -> None:
    G, (X, y) = make_generator(), real
    sampler = GANOverSampler(G, random_state=4)
    more, labels = sampler.fit_resample(X, y)
    assert np.array_equal(more[:9], X)
    assert labels.tolist() == [*y.tolist(), 1, 1, 1, 2, 2, 2]
    assert sampler.sampling_strategy_ == {1: 3, 2: 3}
    expected = [image for image, k in sample_balanced(G, {1: 3, 2: 3}, seed=4) if k == 1]
    assert np.array_equal(more[9:12, :, :, 0], torch.cat(expected).numpy())
    flat, flat_labels = GANOverSampler(G, random_state=4, image_shape=(8, 8)).fit_resample(
        X.reshape(9, 64), y
    )
    assert np.array_equal(flat, more.reshape(-1, 64))
    assert np.array_equal(flat_labels, labels)
    floats, _ = sampler.fit_resample(X.astype(np.float32) / 255, y)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats * 255, more, atol=1e-3)
    named, words = sampler.fit_resample(X[..., 0], np.array(["ant", "bee", "cow"])[y])
    assert named.shape == (15, 8, 8)
    assert words.tolist() == [G.class_names[k] for k in labels]


@pytest.mark.parametrize(
    ("strategy", "counts"),
    [
        ("auto", [5, 5, 5]),
        ("not majority", [5, 5, 5]),
        ("all", [5, 5, 5]),
        ("minority", [5, 5, 2]),
        ("not minority", [5, 2, 5]),
        ({0: 7, 2: 3}, [7, 2, 3]),
    ],
)
def test_strategies(
    make_generator: MakeGenerator,
    real: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
    strategy: Any,
    counts: list[int],
) -> None:
    _, labels = GANOverSampler(make_generator(), sampling_strategy=strategy).fit_resample(*real)
    assert np.bincount(labels).tolist() == counts


def test_bad_input_of_the_over_sampler_is_named(
    make_generator: MakeGenerator, real: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
) -> None:
    G, (X, y) = make_generator(), real
    for sampler, images, labels, value in [
        (GANOverSampler(G), X[:, :4], y, r"\[4, 8, 1\]"),
        (GANOverSampler(G), X.reshape(9, 64), y, "image_shape"),
        (GANOverSampler(G, image_shape=(4, 4)), X.reshape(9, 64), y, "16 numbers"),
        (GANOverSampler(G), X.astype(np.float64), y, "give uint8"),
        (GANOverSampler(G), X.astype(np.int64), y, "int64"),
        (GANOverSampler(G), X, y[:4], r"y has shape \[4\]"),
        (GANOverSampler(G), X, y + 1, "y holds 3"),
        (GANOverSampler(G, classes=[5, 6]), X, y, "classes has 2"),
        (GANOverSampler(G, sampling_strategy="most"), X, y, "'most'"),
        (GANOverSampler(G, sampling_strategy={0: 1}), X, y, "1 images of 0, which has 5"),
        (GANOverSampler(G, sampling_strategy={9: 10}), X, y, "9 is no class"),
        (GANOverSampler(make_generator(num_classes=0)), X, y, "unconditional"),
    ]:
        with pytest.raises(InputError, match=value):
            sampler.fit_resample(images, labels)
    with pytest.raises(InputError, match="'colour'"):
        GANOverSampler(G).set_params(colour=3)


def test_without_a_random_state_images_differ_each_time(
    make_generator: MakeGenerator, real: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
) -> None:
    sampler = GANOverSampler(make_generator(), random_state=None)
    (first, labels), (second, again) = (sampler.fit_resample(*real) for _ in range(2))
    assert labels.tolist() == again.tolist()
    assert np.array_equal(first[:9], second[:9])
    assert not np.array_equal(first, second)
    assert sampler.get_params()["random_state"] is None


def test_scikit_learn_can_clone_it(make_generator: MakeGenerator) -> None:
    sampler = GANOverSampler(make_generator(), sampling_strategy={1: 4}, random_state=7)
    copied = clone(sampler)
    assert copied.get_params()["random_state"] == 7
    assert copied.get_params()["sampling_strategy"] == {1: 4}
    assert copied.generator is not sampler.generator


def test_spherical_interpolation() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5, 16))
    path = spherical_interpolation(a, b, 9)
    np.testing.assert_allclose(path[:, 0], a, atol=1e-12)
    np.testing.assert_allclose(path[:, -1], b, atol=1e-12)
    unit = path / np.linalg.norm(path, axis=2, keepdims=True)
    steps = np.arccos((unit[:, 1:] * unit[:, :-1]).sum(axis=2))
    np.testing.assert_allclose(steps, np.repeat(steps[:, :1], 8, axis=1), rtol=1e-6)
    np.testing.assert_allclose(spherical_interpolation(a, a, 3), np.repeat(a[:, None], 3, axis=1), atol=1e-9)


def test_pictures(make_generator: MakeGenerator) -> None:
    G = make_generator(img_channels=3)
    samples = class_pictures(G, columns=4, seed=1)
    assert samples.shape == (24, 32, 3)
    first = {label: image.permute(1, 2, 0).numpy() for image, label in sample_balanced(G, 1, seed=1)}
    second = {
        label: image.permute(1, 2, 0).numpy() for image, label in list(sample_balanced(G, 2, seed=1))[3:]
    }
    for row, label in enumerate(range(3)):
        part = slice(8 * row, 8 * row + 8)
        assert np.array_equal(samples[part, :8], first[label])
        between = interpolation_pictures(G, columns=5, seed=1)
        assert np.abs(between[part, :8].astype(int) - first[label]).max() <= 1
        assert np.abs(between[part, -8:].astype(int) - second[label]).max() <= 1
        sweep = truncation_pictures(G, columns=3, seed=1)
        assert np.array_equal(sweep[part, -8:], first[label])
    mean = truncation_pictures(G, columns=2, seed=1)[:, :8]
    assert np.array_equal(mean[:8], truncation_pictures(G, columns=2, seed=9)[:8, :8])
    assert class_pictures(make_generator(num_classes=0), columns=2).shape == (64, 16)
    assert class_pictures(G, 2, classes=["cow"]).shape == (8, 16, 3)


def test_the_grid_command(
    tmp_path: Path, make_generator: MakeGenerator, capsys: pytest.CaptureFixture[str]
) -> None:
    make_generator().save_pretrained(tmp_path / "network")
    common = ["grid", "--network", str(tmp_path / "network"), "--columns", "3", "--scale", "2"]
    for kind in ("classes", "interpolation", "truncation"):
        out = tmp_path / "new" / f"{kind}.png"
        assert main([*common, "--kind", kind, "--out", str(out)]) == 0
        with Image.open(out) as picture:
            assert picture.size == (48, 48)
    capsys.readouterr()
    for arguments, value in [
        (["--out", str(tmp_path / "x.gif")], "x.gif"),
        (["--out", str(tmp_path / "x.png"), "--classes", "elk"], "'elk'"),
        (["--out", str(tmp_path / "x.png"), "--truncation", "3"], "--truncation: 3"),
        (["--out", str(tmp_path / "x.png"), "--columns", "0"], "--columns: 0"),
    ]:
        assert main([*common, *arguments]) == 2
        assert value in capsys.readouterr().err
    assert not list(tmp_path.glob("x.*"))
