"""Seeds -> latents -> images: the same whatever stands beside them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gan_lt.models import Generator
from gan_lt.sampling import image_seeds, latents_from_seeds, sample_images
from gan_lt.sampling.grid import class_grid
from gan_lt.sampling.images import CHUNK, to_uint8

MakeGenerator = Callable[..., Generator]


def test_latents_are_standard_normal() -> None:
    z = latents_from_seeds(np.arange(20_000), 32).astype(np.float64)
    n = z.size
    assert z.shape == (20_000, 32)
    assert abs(z.mean()) < 5 / n**0.5
    assert abs(z.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((z**3).mean()) < 5 * (15 / n) ** 0.5
    assert abs((z**4).mean() - 3) < 5 * (96 / n) ** 0.5
    correlation = np.corrcoef(z, rowvar=False) - np.eye(32)
    assert np.abs(correlation).max() < 5 / 20_000**0.5
    neighbours = (z[:-1] * z[1:]).mean()  # seeds s and s + 1
    assert abs(neighbours) < 5 / n**0.5


def test_each_latent_depends_on_its_own_seed() -> None:
    seeds = np.array([5, 2**62, 0, 5, 123456789])
    z = latents_from_seeds(seeds, 7)
    assert z.dtype == np.float32
    assert np.array_equal(z[0], z[3])
    assert len(np.unique(z, axis=0)) == 4
    for row, seed in zip(z, seeds, strict=True):
        assert np.array_equal(latents_from_seeds([seed], 7)[0], row)
    assert latents_from_seeds(np.array([], dtype=int), 7).shape == (0, 7)


@pytest.mark.parametrize(("seeds", "value"), [([-4], "-4"), ([0.5], "float64"), ([[1, 2]], r"\[1, 2\]")])
def test_bad_seeds_are_named(seeds: list[float], value: str) -> None:
    with pytest.raises(ValueError, match=value):
        latents_from_seeds(seeds, 4)


def test_seeds_of_images_differ_and_do_not_move() -> None:
    labels, indices = np.repeat(np.arange(4), 50), np.tile(np.arange(50), 4)
    seeds = np.concatenate([image_seeds(seed, labels, indices) for seed in (0, 1, 2**18 - 1)])
    assert len(np.unique(seeds)) == 600
    assert seeds.min() >= 0
    assert image_seeds(3, np.array([2]), np.array([7]))[0] == 3 * 2**45 + 2 * 2**28 + 7
    for seed in (-1, 2**18):
        with pytest.raises(ValueError, match=f"--seed: {seed}"):
            image_seeds(seed, labels, indices)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_images_do_not_depend_on_their_neighbours(architecture: str, make_generator: MakeGenerator) -> None:
    G = make_generator(architecture=architecture, img_channels=3)
    rng = np.random.default_rng(0)
    labels, seeds = rng.integers(0, 3, CHUNK + 9), rng.integers(0, 2**60, CHUNK + 9)
    images = sample_images(G, labels, seeds, truncation_psi=0.8)
    assert images.shape == (CHUNK + 9, 3, 8, 8)
    assert images.dtype == np.uint8
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)
    order = rng.permutation(len(labels))
    assert np.array_equal(sample_images(G, labels[order], seeds[order], 0.8), images[order])
    for part in (slice(0, 1), slice(3, 10), slice(CHUNK - 2, CHUNK + 5)):
        assert np.array_equal(sample_images(G, labels[part], seeds[part], 0.8), images[part])


def test_global_random_state_plays_no_part(make_generator: MakeGenerator) -> None:
    G = make_generator()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = sample_images(G, [0, 1], [7, 8])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002
    assert np.array_equal(sample_images(G, [0, 1], [7, 8]), first)


def test_bad_requests_are_named(make_generator: MakeGenerator) -> None:
    G = make_generator()
    for arguments, value in [
        (([0, 1], [5]), r"\[2\] and seeds \[1\]"),
        (([0, 3], [5, 6]), "class 3"),
        (([-1], [5]), "class -1"),
        (([1.9], [5]), "labels are float64"),
        ((["c"], [5]), "labels are <U1"),
        (([0, 0], [1, 2], np.array([0.5, np.nan])), r"truncation_psi\[1\]=nan must be finite"),
        (([0], [5], float("inf")), "truncation_psi=inf must be finite"),
        (([0], [5], 1.0, "random"), "'random'"),
        (([0], [5], 1.0, "const", 0), "batch_size=0"),
    ]:
        with pytest.raises(ValueError, match=value):
            sample_images(G, *arguments)


def test_to_uint8_rounds_and_clips() -> None:
    values = torch.tensor([-3.0, -1.0, 0.0, 1.0, 9.0, 0.2 / 127.5 - 1, 0.8 / 127.5 - 1])
    assert to_uint8(values).tolist() == [0, 0, 128, 255, 255, 0, 1]
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(every.float() / 127.5 - 1), every)


def test_grid() -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 2), dtype=np.uint8)
    grid = class_grid(images, columns=3)
    assert grid.shape == (4, 6, 3)
    assert grid[::2, ::2, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert class_grid(images[:, :1], columns=2).shape == (6, 4)
    with pytest.raises(ValueError, match=r"6 images .* rows of 4"):
        class_grid(images, columns=4)
