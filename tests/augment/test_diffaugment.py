"""DiffAugment: what each policy may and may not change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_lt.augment import diff_augment
from gan_lt.augment.diffaugment import brightness, contrast, cutout, saturation, translation


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(64, 3, 16, 16) * 1.8 - 0.9


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "policy", [(), ("color",), ("translation",), ("cutout",), ("color", "translation", "cutout")]
)
def test_shape_type_and_gradient(channels: int, policy: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    images = torch.rand(4, channels, 8, 8, requires_grad=True)
    out = diff_augment(images, policy)
    assert out.shape == images.shape
    assert out.dtype == images.dtype
    out.square().sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0
    assert bool(torch.isfinite(images.grad).all())


def test_no_policy_changes_nothing(images: Tensor) -> None:
    assert torch.equal(diff_augment(images, ()), images)


def test_each_image_has_its_own_draw(images: Tensor) -> None:
    same = images[:1].repeat(64, 1, 1, 1)
    for function in (brightness, saturation, contrast, translation, cutout):
        out = function(same)
        assert len(out.flatten(1).unique(dim=0)) > 5, function.__name__


def test_translation_moves_whole_pixels_and_fills_with_grey(images: Tensor) -> None:
    out = translation(images)
    shifts = set()
    for before, after in zip(images, out, strict=True):
        found = []
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                expected = torch.zeros_like(before)
                target = expected[:, max(0, -dy) : 16 - max(0, dy), max(0, -dx) : 16 - max(0, dx)]
                target.copy_(before[:, max(0, dy) : 16 + min(0, dy), max(0, dx) : 16 + min(0, dx)])
                if torch.equal(expected, after):
                    found.append((dy, dx))
        assert len(found) == 1
        shifts.update(found)
    assert {dy for dy, _ in shifts} == {dx for _, dx in shifts} == set(range(-2, 3))


def test_cutout_area(images: Tensor) -> None:
    images = images + 2  # no pixel is 0 by itself
    out = cutout(images)
    gone = (out == 0).all(dim=1)
    assert torch.equal(out[~gone[:, None].expand_as(out)], images[~gone[:, None].expand_as(out)])
    area = gone.sum(dim=[1, 2])
    # half the size a side, at least a quarter of that square where it hangs over a corner
    assert int(area.max()) == 64
    assert int(area.min()) >= 16
    for hole in gone:
        rows, columns = hole.any(dim=1), hole.any(dim=0)
        assert int(hole.sum()) == int(rows.sum()) * int(columns.sum())


def test_brightness_adds_a_constant(images: Tensor) -> None:
    shift = (brightness(images) - images).flatten(1)
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), rtol=0, atol=1e-6)
    assert float(shift.abs().max()) <= 0.5 + 1e-6
    assert float(shift.std()) > 0.2


def test_contrast_and_saturation_keep_their_means(images: Tensor) -> None:
    out = contrast(images)
    torch.testing.assert_close(out.mean(dim=[1, 2, 3]), images.mean(dim=[1, 2, 3]), rtol=0, atol=1e-5)
    factor = out.flatten(1).std(dim=1) / images.flatten(1).std(dim=1)
    assert 0.5 <= float(factor.min()) < 0.7
    assert 1.3 < float(factor.max()) <= 1.5 + 1e-5
    out = saturation(images)
    torch.testing.assert_close(out.mean(dim=1), images.mean(dim=1), rtol=0, atol=1e-5)
    assert torch.equal(saturation(images[:, :1]), images[:, :1])


def test_seeded(images: Tensor) -> None:
    torch.manual_seed(5)
    first = diff_augment(images)
    torch.manual_seed(5)
    assert torch.equal(diff_augment(images), first)


def test_unknown_policy_is_named(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"'rotate'.*color, translation, cutout"):
        diff_augment(images, ("color", "rotate"))
