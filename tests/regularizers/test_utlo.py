"""UTLO: low resolutions that don't see the class, and a head that judges them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_lt.losses import ADVERSARIAL_LOSSES
from gan_lt.models import Discriminator, Generator
from gan_lt.models.low_resolution_head import LowResolutionHead
from gan_lt.regularizers import Latents, StepBatch, Utlo

LOGISTIC = ADVERSARIAL_LOSSES["logistic"]


def generator(**changes: object) -> Generator:
    torch.manual_seed(0)
    settings = {
        "z_dim": 8,
        "num_classes": 3,
        "w_dim": 8,
        "resolution": 32,
        "channel_base": 128,
        "channel_max": 8,
        "mapping_layers": 2,
        "unconditional_resolution": 8,
        **changes,
    }
    return Generator(**settings)  # type: ignore[arg-type]


def discriminator(**changes: object) -> Discriminator:
    torch.manual_seed(1)
    settings = {
        "num_classes": 3,
        "resolution": 32,
        "channel_base": 128,
        "channel_max": 8,
        "mapping_layers": 1,
        **changes,
    }
    return Discriminator(**settings)  # type: ignore[arg-type]


@pytest.fixture
def z() -> Tensor:
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(2))


def test_low_resolutions_are_the_same_for_every_class(z: Tensor) -> None:
    G = generator()
    passes = [
        G.synthesis.images(G.mapping(z, torch.full([4], k)), "const", low_resolution=8) for k in range(3)
    ]
    small = [low for _, low in passes]
    assert small[0] is not None
    assert small[0].shape == (4, 3, 8, 8)
    assert all(low is not None and torch.equal(low, small[0]) for low in small)
    assert not torch.equal(passes[0][0], passes[1][0])
    # without the method the class is seen from 4x4 on
    plain = generator(unconditional_resolution=0)
    ws = [plain.mapping(z, torch.full([4], k)) for k in (0, 1)]
    lows = [plain.synthesis.images(w, "const", low_resolution=8)[1] for w in ws]
    assert lows[0] is not None
    assert not torch.equal(lows[0], lows[1])  # type: ignore[arg-type]


def test_the_low_resolution_image_is_part_of_the_image(z: Tensor) -> None:
    """It is the sum that the higher layers add to: silence them, and the image is its upsampling."""
    from cuda_ops import upsample2d

    G = generator()
    with torch.no_grad():
        for block in list(G.synthesis.blocks)[2:]:
            block.to_image.weight.zero_()  # type: ignore[union-attr]
            block.to_image.bias.zero_()  # type: ignore[union-attr]
    images, low = G.synthesis.images(G.mapping(z, torch.zeros(4, dtype=torch.int64)), "const", 8)
    f = G.synthesis.blocks[0].resample_filter
    torch.testing.assert_close(images, upsample2d(upsample2d(low, f), f))


def test_layers_and_truncation(z: Tensor) -> None:
    G = generator()
    y = torch.tensor([0, 1, 2, 0])
    ws = G.mapping(z, y)
    assert G.mapping.unconditional_ws == 3  # one at 4x4, two at 8x8
    without = G.mapping.style_without_class(z)
    torch.testing.assert_close(ws[:, :3], without.unsqueeze(1).expand(-1, 3, -1))
    torch.testing.assert_close(ws[:, 3:], G.mapping.style(z, y).unsqueeze(1).expand(-1, ws.shape[1] - 3, -1))
    w = G.mapping.style(z, y)
    G.track_centre(z, y, w, None)
    step = 1 - G.mapping.w_avg_beta
    torch.testing.assert_close(G.mapping.w_avg_unconditional, without.mean(dim=0) * step)
    centre = G.mapping(z, y, truncation_psi=0.0)
    torch.testing.assert_close(centre[0, 0], G.mapping.w_avg_unconditional)
    torch.testing.assert_close(centre[0, -1], G.mapping.w_avg)


def test_a_pass_in_training_is_the_one_of_sampling(z: Tensor) -> None:
    G = generator(noise_inputs=False)
    y = torch.tensor([0, 1, 2, 0])
    made = G.generate(z, y, low_resolution=8)
    assert torch.equal(made.images, G(z, y))
    assert made.low_resolution is not None
    mixed = G.generate(z, y, style_mixing=1.0, low_resolution=8)
    assert mixed.images.shape == made.images.shape


def test_saved_with_its_form(tmp_path: Path, z: Tensor) -> None:
    G = generator().eval()
    G.save_pretrained(tmp_path)
    y = torch.tensor([0, 1, 2, 0])
    again = Generator.from_pretrained(tmp_path)
    assert torch.equal(again(z, y, noise_mode="const"), G(z, y, noise_mode="const"))


def batch(low: Tensor, real: Tensor | None) -> StepBatch:
    n = len(low)
    return StepBatch(
        "discriminator",
        0,
        Latents(torch.zeros(n, 2), None),
        torch.zeros(n, 2),
        torch.zeros(n, 3, 32, 32),
        torch.zeros(n),
        real=real,
        low_resolution=low,
    )


@pytest.mark.parametrize("architecture", ["resnet", "orig"])
def test_losses_are_those_of_an_unconditional_gan_on_small_images(architecture: str) -> None:
    D = discriminator(architecture=architecture)
    head = LowResolutionHead(D, 8)
    term = Utlo(head, LOGISTIC, torch.clone, 8)
    g = torch.Generator().manual_seed(3)
    low, real = torch.randn(4, 3, 8, 8, generator=g), torch.randn(4, 3, 32, 32, generator=g)
    reduced = real.view(4, 3, 8, 4, 8, 4).mean(dim=(3, 5))
    expected = LOGISTIC.discriminator(head(low), head(reduced)).mean()
    torch.testing.assert_close(term.discriminator_loss(batch(low, real)), expected)
    torch.testing.assert_close(
        term.generator_loss(batch(low, None)), LOGISTIC.generator(head(low), None).mean()
    )
    # the discriminator's blocks are shared, not copied and not the term's
    assert {name for name, _ in term.named_parameters()} == {
        "head.from_image.weight",
        "head.from_image.bias",
        "head.out.weight",
        "head.out.bias",
    }
    expected.backward()
    touched = {
        name.split(".")[0] + name.split(".")[1] for name, p in D.named_parameters() if p.grad is not None
    }
    assert "blocks2" in touched  # 8x8
    assert not touched & {"blocks0", "blocks1"}


def test_the_head_sees_augmented_images_real_and_generated() -> None:
    head = LowResolutionHead(discriminator(), 8)
    g = torch.Generator().manual_seed(3)
    low, real = torch.randn(4, 3, 8, 8, generator=g), torch.randn(4, 3, 32, 32, generator=g)
    negative = Utlo(head, LOGISTIC, torch.neg, 8).discriminator_loss(batch(low, real))
    torch.testing.assert_close(
        negative, Utlo(head, LOGISTIC, torch.clone, 8).discriminator_loss(batch(-low, -real))
    )


def test_low_resolution_loss_against_finite_differences() -> None:
    head = LowResolutionHead(discriminator(mbstd_group_size=1).double(), 8).double()
    term = Utlo(head, LOGISTIC, torch.clone, 8)
    g = torch.Generator().manual_seed(4)
    real = torch.randn(2, 3, 32, 32, generator=g, dtype=torch.float64)

    def loss(low: Tensor) -> Tensor:
        value = term.discriminator_loss(batch(low, real))
        assert value is not None
        return value

    low = torch.randn(2, 3, 8, 8, generator=g, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(loss, [low], fast_mode=True)


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(ValueError, match="unconditional_resolution=32"):
        generator(unconditional_resolution=32)
    with pytest.raises(ValueError, match="'orig'"):
        generator(architecture="orig")
    with pytest.raises(ValueError, match="num_classes=0"):
        generator(num_classes=0)
    with pytest.raises(ValueError, match="resolution=32"):
        LowResolutionHead(discriminator(), 32)
    with pytest.raises(ValueError, match="skip"):
        LowResolutionHead(discriminator(architecture="skip"), 8)
    with pytest.raises(ValueError, match="8x8, got None"):
        Utlo(torch.nn.Identity(), LOGISTIC, torch.clone).generator_loss(
            replace(batch(torch.zeros(1, 3, 8, 8), None), low_resolution=None)
        )
