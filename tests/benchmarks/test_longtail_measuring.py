"""Effective rank, copies and mixtures against what they must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.longtail_measuring import (
    draw_copies,
    effective_rank,
    effective_ranks,
    prdc_of_equal_numbers,
    spread,
)
from eval import prdc
from eval.manifold import expected_coverage
from gan_lt.data import ImageSet
from gan_lt.models import Generator


def test_effective_rank_counts_equal_directions() -> None:
    directions = torch.eye(8, dtype=torch.float64)[:3]
    w = torch.cat([directions, -directions])[None].repeat(2, 1, 1)
    w[1] = 5.0  # a collapsed class
    rank = effective_rank(w + torch.tensor(7.0))
    assert rank.tolist() == pytest.approx([3.0, 0.0], abs=1e-9)


def test_effective_rank_is_the_entropy_of_the_singular_values() -> None:
    rng = np.random.default_rng(0)
    w = rng.normal(size=(50, 6)) * np.arange(1, 7)
    values = np.linalg.svd(w - w.mean(0), compute_uv=False)
    p = values / values.sum()
    expected = np.exp(-(p * np.log(p)).sum())
    assert float(effective_rank(torch.from_numpy(w)[None])[0]) == pytest.approx(expected, rel=1e-12)


def test_effective_ranks_are_those_of_each_class() -> None:
    torch.manual_seed(0)
    sizes = {"z_dim": 4, "w_dim": 4, "resolution": 8, "channel_max": 4, "mapping_layers": 1}
    generator = Generator(num_classes=3, **sizes).eval()
    with torch.no_grad():
        generator.mapping.layers[0].weight[:, :4] = 0  # z has no way into w any more
    assert effective_ranks(generator, samples=16).tolist() == [0.0, 0.0, 0.0]


def test_copies_are_training_images_and_mixtures_lie_between_them() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    train = ImageSet.from_arrays(images, np.repeat([0, 1], [10, 2]))
    copies, labels = draw_copies(train, 30, mix=False, seed=1)
    known = {image.tobytes(): int(label) for image, label in zip(images, train.labels, strict=True)}
    assert [known[image.tobytes()] for image in copies] == labels.tolist() == [0] * 30 + [1] * 30
    mixed, _ = draw_copies(train, 30, mix=True, seed=1)
    rare = images[10:].astype(int)
    assert (mixed[30:] >= rare.min(axis=0)).all()
    assert (mixed[30:] <= rare.max(axis=0)).all()
    assert len({image.tobytes() for image in mixed[30:]}) > 10


def test_equal_numbers_take_every_part_of_the_larger_side() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(20, 3)), rng.normal(size=(45, 3))
    found = prdc_of_equal_numbers(real, fake, k=3)
    parts = [prdc(real, fake[:20], k=3), prdc(real, fake[20:40], k=3)]
    assert found == {name: pytest.approx(np.mean([part[name] for part in parts])) for name in found}
    other_way = prdc_of_equal_numbers(fake, real, k=3)
    assert other_way["coverage"] == pytest.approx(
        np.mean([prdc(part, real, k=3)["coverage"] for part in (fake[:20], fake[20:40])])
    )


def test_coverage_by_equal_numbers_is_that_of_equal_distributions() -> None:
    rng = np.random.default_rng(1)
    found = [
        prdc_of_equal_numbers(rng.normal(size=(50, 4)), rng.normal(size=(200, 4)))["coverage"]
        for _ in range(40)
    ]
    assert np.mean(found) == pytest.approx(expected_coverage(50, 50), abs=0.01)


def test_spread_is_the_mean_distance() -> None:
    features = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]) + 100
    assert spread(features) == pytest.approx((5 + 5 + 0) / 3)
