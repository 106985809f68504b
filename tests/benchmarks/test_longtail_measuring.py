"""Effective rank, copies and mixtures against what they must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.longtail_measuring import draw_copies, effective_rank, effective_ranks
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
