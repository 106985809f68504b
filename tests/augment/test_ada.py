"""ADA: every transform's identity and distribution, derivatives of second order, and the controller of p."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_lt.augment import AdaptiveAugmentation, ada_augment
from gan_lt.augment.blitting import blit, reflect
from gan_lt.augment.color import color_map
from gan_lt.augment.corruption import add_noise, cut_out
from gan_lt.augment.draws import Draws
from gan_lt.augment.filtering import band_gains, filter_bands
from gan_lt.augment.geometry import inverse_map
from gan_lt.augment.pipeline import GROUPS, TRANSFORMS, named_transforms
from gan_lt.augment.resampling import affine_warp, grid_sample
from gan_lt.augment.wavelets import SYM2, SYM6, octave_filters


def batch(n: int = 32, channels: int = 3, size: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def draws(n: int = 20000, p: float = 1.0, seed: int = 0) -> Draws:
    return Draws(torch.empty(n, dtype=torch.float64), p, torch.Generator().manual_seed(seed))


def smooth(size: int = 32) -> Tensor:
    """An image without high frequencies, so that resampling hardly blurs it."""
    line = torch.linspace(-1, 1, size, dtype=torch.float64)
    return (torch.sin(3 * line)[:, None] * torch.cos(2 * line + 0.5)[None, :] + 0.3 * line)[None, None]


@pytest.mark.parametrize("transforms", [*GROUPS, *TRANSFORMS])
@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_changes_at_p_0_and_something_at_p_1(transforms: str, channels: int) -> None:
    images = batch(channels=channels)
    assert torch.equal(ada_augment(images, 0.0, (transforms,)), images)
    assert torch.equal(ada_augment(images, torch.tensor(0.0), (transforms,)), images)
    out = ada_augment(images, 1.0, (transforms,), torch.Generator().manual_seed(1))
    assert out.shape == images.shape
    assert out.dtype == images.dtype
    assert bool(torch.isfinite(out).all())
    # hue and saturation have nothing to change in grey
    only_color = set(named_transforms([transforms])) <= {"hue", "saturation"}
    if channels == 1 and only_color:
        torch.testing.assert_close(out, images, rtol=0, atol=1e-5)
    else:
        assert not torch.equal(out, images)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_each_image_is_transformed_with_probability_p(p: float) -> None:
    images = batch(4000, 1, 8)
    for transform, share in [("contrast", p), ("rotate", p), ("xflip", p / 2), ("noise", p), ("cutout", p)]:
        out = ada_augment(images, p, (transform,), torch.Generator().manual_seed(0))
        changed = (out != images).flatten(1).any(dim=1).double().mean()
        assert float(changed) == pytest.approx(share, abs=0.03), transform


def test_the_generator_decides_everything() -> None:
    images = batch()
    first, same, other = (
        ada_augment(images, 0.7, ("bgcfnc",), torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_an_image_is_the_same_alone_and_among_changed_ones() -> None:
    """Rows that drew nothing are copied, whatever their neighbours draw."""
    images = batch(500, 1, 8)
    out = ada_augment(images, 0.05, ("bgc",), torch.Generator().manual_seed(0))
    same = (out == images).flatten(1).all(dim=1).double().mean()
    assert 0.5 < float(same) < 0.9


@pytest.mark.parametrize("transforms", ["blit", "geom", "color", "filter", "noise", "cutout", "bgcfnc"])
def test_second_derivatives(transforms: str) -> None:
    images = batch(2, 1, 8).double().requires_grad_()

    def augmented(x: Tensor) -> Tensor:
        # squared, so that there is a second derivative to get wrong
        return ada_augment(x, 1.0, (transforms,), torch.Generator().manual_seed(5))[:, :, ::3, ::3].square()

    assert torch.autograd.gradcheck(augmented, [images], fast_mode=True)
    assert torch.autograd.gradgradcheck(augmented, [images], fast_mode=True)


def test_grid_sampling_is_pytorchs_with_derivatives_of_any_order() -> None:
    g = torch.Generator().manual_seed(0)
    images = torch.randn(2, 2, 5, 5, dtype=torch.float64, generator=g).requires_grad_()
    grid = torch.rand(2, 4, 3, 2, dtype=torch.float64, generator=g) * 2.4 - 1.2
    expected = torch.nn.functional.grid_sample(images, grid, align_corners=True)
    assert torch.equal(grid_sample(images, grid), expected)
    assert torch.autograd.gradgradcheck(lambda x: grid_sample(x, grid).square(), [images])


# ---- wavelets ----


@pytest.mark.parametrize("taps", [SYM2, SYM6])
def test_symlets_are_orthogonal_with_as_many_vanishing_moments_as_they_can_have(
    taps: tuple[float, ...],
) -> None:
    h = np.array(taps)
    assert h.sum() == pytest.approx(math.sqrt(2), abs=1e-10)
    products = [float((h[: len(h) - 2 * k] * h[2 * k :]).sum()) for k in range(len(h) // 2)]
    assert products == pytest.approx([1] + [0] * (len(h) // 2 - 1), abs=1e-10)
    n = np.arange(len(h))
    moments = [float(((-1.0) ** n * (n / len(h)) ** k * h).sum()) for k in range(len(h) // 2)]
    assert moments == pytest.approx([0] * (len(h) // 2), abs=1e-9)


def test_octaves_add_up_to_the_identity_and_lie_in_their_octaves() -> None:
    bank = octave_filters(4)
    identity = np.zeros(bank.shape[1])
    identity[bank.shape[1] // 2] = 1
    np.testing.assert_allclose(bank.sum(axis=0), identity, atol=1e-15)
    np.testing.assert_allclose(bank, bank[:, ::-1], atol=1e-15)
    spectrum = np.abs(np.fft.rfft(bank, 1024, axis=1))
    frequency = np.linspace(0, np.pi, spectrum.shape[1])
    edges = [0, np.pi / 8, np.pi / 4, np.pi / 2, np.pi]
    for band in range(4):
        middle = (edges[band] + edges[band + 1]) / 2
        assert spectrum[:, np.argmin(np.abs(frequency - middle))].argmax() == band
    assert spectrum[0, 0] == pytest.approx(1)
    assert spectrum[3, -1] == pytest.approx(1)


# ---- blitting and geometry ----


def test_blits_are_the_eight_symmetries() -> None:
    image = batch(1, 2, 8)
    out = blit(image.repeat(400, 1, 1, 1), draws(400), ("xflip", "rotate90"))
    turned = [torch.rot90(base, k, (2, 3)) for base in (image, image.flip(3)) for k in range(4)]
    symmetries = {bytes(one.contiguous().numpy().tobytes()) for one in turned}
    found = [bytes(one.contiguous().numpy().tobytes()) for one in out]
    assert set(found) == symmetries
    counts = [found.count(one) for one in symmetries]
    assert 25 < min(counts)
    assert max(counts) < 75


def test_whole_pixel_shifts_reach_an_eighth_and_bring_in_the_reflection() -> None:
    image = batch(1, 1, 16)
    out = blit(image.repeat(300, 1, 1, 1), draws(300), ("xint",))
    padded = torch.nn.functional.pad(image, [2] * 4, mode="reflect")[0]
    seen = set()
    for one in out:
        shifts = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if torch.equal(one, padded[:, 2 - dy : 18 - dy, 2 - dx : 18 - dx])
        ]
        assert len(shifts) == 1
        seen.update(shifts)
    assert {dy for dy, _ in seen} == {dx for _, dx in seen} == {-2, -1, 0, 1, 2}


def test_reflection() -> None:
    assert reflect(torch.arange(-5, 10), 4).tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert reflect(torch.tensor([-0.25, 3.5]), 4).tolist() == [0.25, 2.5]


def test_the_identity_gives_the_image_back() -> None:
    for size in (8, 16, 64):
        images = batch(3, 3, size).double()
        identity = torch.eye(2, 3, dtype=torch.float64).repeat(3, 1, 1)
        torch.testing.assert_close(affine_warp(images, identity), images, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("inverse", "expected"),
    [
        ([[-1.0, 0, 0], [0, -1, 0]], lambda x: x.flip(2, 3)),
        ([[0.0, 1, 0], [-1, 0, 0]], lambda x: torch.rot90(x, -1, (2, 3))),
        ([[1.0, 0, 3], [0, 1, 0]], lambda x: torch.roll(x, -3, 3)),
        ([[1.0, 0, 0], [0, 1, -2]], lambda x: torch.roll(x, 2, 2)),
    ],
    ids=["half turn", "quarter turn", "left", "down"],
)
def test_warps_of_a_smooth_image_go_where_they_should(inverse: list[list[float]], expected: object) -> None:
    image = smooth()
    out = affine_warp(image, torch.tensor([inverse], dtype=torch.float64))
    error = (out - expected(image)).abs()[:, :, 5:-5, 5:-5]  # type: ignore[operator]
    assert float(error.max()) < 0.01


def test_magnifying_twice_by_the_warp_samples_the_function_between_its_pixels() -> None:
    size = 32
    out = affine_warp(smooth(size), torch.tensor([[[0.5, 0, 0], [0, 0.5, 0]]], dtype=torch.float64))
    line = torch.linspace(-0.5, 0.5, size, dtype=torch.float64)
    expected = torch.sin(3 * line)[:, None] * torch.cos(2 * line + 0.5)[None, :] + 0.3 * line
    assert float((out[0, 0] - expected).abs().max()) < 0.01


def test_geometric_distributions() -> None:
    octaves = -torch.log2(inverse_map(draws(), ("scale",), 32)[:, 0, 0])
    assert float(octaves.std()) == pytest.approx(0.2, rel=0.03)
    stretched = inverse_map(draws(), ("aniso",), 32)
    torch.testing.assert_close(
        stretched[:, 0, 0] * stretched[:, 1, 1], torch.ones(20000, dtype=torch.float64)
    )
    assert float(torch.log2(stretched[:, 1, 1]).std()) == pytest.approx(0.2, rel=0.03)
    turned = inverse_map(draws(p=0.3), ("rotate",), 32)
    torch.testing.assert_close(torch.linalg.det(turned[:, :, :2]), torch.ones(20000, dtype=torch.float64))
    assert float((turned[:, 0, 0] != 1).double().mean()) == pytest.approx(0.3, abs=0.015)
    moved = inverse_map(draws(), ("xfrac",), 32)[:, :, 2]
    assert float(moved.std()) == pytest.approx(0.125 * 32, rel=0.03)
    assert float(moved.mean().abs()) < 0.1


# ---- color ----


def test_color_maps_keep_what_they_should() -> None:
    grey = torch.ones(3, 1, dtype=torch.float64)
    for name in ("hue", "saturation"):
        matrix, offset = color_map(draws(50), (name,))
        torch.testing.assert_close(matrix @ grey, grey.expand(50, 3, 1))
        assert not bool(offset.any())
    hue, _ = color_map(draws(50), ("hue",))
    torch.testing.assert_close(hue @ hue.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(hue), torch.ones(50, dtype=torch.float64))
    flip, _ = color_map(draws(400), ("lumaflip",))
    torch.testing.assert_close(flip @ flip, torch.eye(3, dtype=torch.float64).expand(400, 3, 3))
    sign = (flip @ grey)[:, 0, 0]
    assert 150 < int((sign < 0).sum()) < 250
    torch.testing.assert_close(sign.abs(), torch.ones_like(sign))


def test_color_distributions() -> None:
    _, offset = color_map(draws(), ("brightness",))
    assert float(offset[:, 0].std()) == pytest.approx(0.2, rel=0.03)
    assert torch.equal(offset[:, 0], offset[:, 2])
    matrix, _ = color_map(draws(), ("contrast",))
    assert float(torch.log2(matrix[:, 0, 0]).std()) == pytest.approx(0.5, rel=0.03)
    assert not bool(matrix[:, 0, 1].any())
    matrix, _ = color_map(draws(), ("saturation",))
    pure = torch.tensor([1.0, -1, 0], dtype=torch.float64)  # no luma
    assert float(torch.log2((matrix @ pure)[:, 0]).std()) == pytest.approx(1.0, rel=0.03)


def test_grey_images_are_treated_as_grey_colors() -> None:
    grey = batch(64, 1, 8)
    out = ada_augment(grey, 0.8, ("color",), torch.Generator().manual_seed(0))
    rgb = ada_augment(grey.repeat(1, 3, 1, 1), 0.8, ("color",), torch.Generator().manual_seed(0))
    torch.testing.assert_close(rgb, out.repeat(1, 3, 1, 1), rtol=1e-4, atol=1e-5)


# ---- filtering and corruption ----


def test_filtering_keeps_the_expected_power_and_a_constant_image() -> None:
    gains = band_gains(draws(2000))
    power = gains.square() @ torch.tensor([10, 1, 1, 1], dtype=torch.float64) / 13
    assert float(power.log().mean().abs()) < 1  # each band's rescaling keeps it near 1
    only = band_gains(draws(4000, p=0.1))
    one_band = (only != 1).any(dim=1)
    assert float(one_band.double().mean()) == pytest.approx(1 - 0.9**4, abs=0.03)
    constant = torch.full([50, 1, 8, 8], 0.25, dtype=torch.float64)
    out = filter_bands(constant, Draws(constant, 1.0, torch.Generator().manual_seed(0)))
    # the lowest band's gain, along both axes, is all that a constant image sees
    lowest = band_gains(Draws(constant, 1.0, torch.Generator().manual_seed(0)))[:, 0]
    expected = (0.25 * lowest.square()).view(-1, 1, 1, 1)
    torch.testing.assert_close(out, expected.expand_as(out))


def test_corruptions() -> None:
    images = torch.zeros(4000, 1, 8, 8, dtype=torch.float64)
    noise = add_noise(images, Draws(images, 1.0, torch.Generator().manual_seed(0)))
    assert float(noise.std()) == pytest.approx(0.1, rel=0.05)
    ones = images + 1
    cut = cut_out(ones, Draws(ones, 1.0, torch.Generator().manual_seed(0)))
    area = (cut == 0).flatten(1).sum(dim=1)
    assert int(area.max()) <= 16
    assert int(area.min()) >= 4
    # half of each side, less the part that lies outside: 1/2 - 2 * (1/4)^2 / 2
    assert float(area.double().mean()) == pytest.approx(64 * 0.4375**2, rel=0.03)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((batch(), 0.5, ("rotate", "twist")), "'twist'"),
        ((batch(), 1.5), "p=1.5"),
        ((batch(size=4), 0.5), r"\[32, 3, 4, 4\]"),
        ((batch(channels=2), 0.5, ("color",)), "got 2"),
    ],
)
def test_bad_input_is_named(arguments: tuple[object, ...], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ada_augment(*arguments)  # type: ignore[arg-type]


# ---- the controller ----


def run(ada: AdaptiveAugmentation, sign: float, steps: int, images: int = 100) -> list[float]:
    path = []
    for step in range(1, steps + 1):
        share = int(images * (1 + sign) / 2)
        ada.observe(torch.cat([torch.ones(share), -torch.ones(images - share)]))
        ada.step(step)
        path.append(float(ada.p))
    return path


def test_p_rises_while_the_discriminator_overfits_and_falls_while_it_does_not() -> None:
    ada = AdaptiveAugmentation(speed_kimg=10)
    rising = run(ada, sign=0.9, steps=40)
    assert rising == sorted(rising)
    # 4,000 images of the 10,000 that take p from 0 to 1
    assert rising[-1] == pytest.approx(0.4, rel=1e-5)
    assert len(set(rising)) == 11  # every fourth step
    falling = run(ada, sign=0.2, steps=400)
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == 0
    assert run(AdaptiveAugmentation(speed_kimg=1), sign=1.0, steps=100)[-1] == 1
    assert ada.statistics()["overfitting"] == pytest.approx(0.2)


def test_a_fixed_p_stays() -> None:
    assert set(run(AdaptiveAugmentation(p=0.25, target=None, speed_kimg=1), 1.0, 20)) == {0.25}


def test_the_controller_is_saved_between_adjustments() -> None:
    first, second = AdaptiveAugmentation(speed_kimg=10), AdaptiveAugmentation(speed_kimg=10)
    run(first, 0.9, 6)
    second.load_state_dict(first.state_dict())
    for ada in (first, second):
        for step in (7, 8):
            ada.observe(torch.ones(10))
            ada.step(step)
    assert torch.equal(first.p, second.p)
    assert float(first.p) > 0.04


@pytest.mark.parametrize(
    "settings", [{"p": 1.5}, {"target": 1.0}, {"speed_kimg": 0.0}, {"interval": 0}, {"transforms": ("spin",)}]
)
def test_bad_settings_are_named(settings: dict[str, object]) -> None:
    value = next(iter(settings.values()))
    with pytest.raises(ValueError, match="spin" if isinstance(value, tuple) else str(value)):
        AdaptiveAugmentation(**settings)  # type: ignore[arg-type]
