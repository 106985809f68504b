"""bfloat16 layers: close to float32, gradients in float32, and a training that goes on."""

from __future__ import annotations

import pytest
import torch

from gan_lt.errors import InputError
from gan_lt.models import Discriminator, Generator
from gan_lt.models.precision import compute_dtype, set_compute_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize("architecture", ["skip", "resnet"])
def test_bfloat16_is_close_and_weights_stay_float32(architecture: str) -> None:
    torch.manual_seed(0)
    shape = {"num_classes": 3, "resolution": 16, "channel_base": 256, "channel_max": 16}
    G = Generator(z_dim=16, w_dim=16, architecture=architecture, **shape).to(
        memory_format=torch.channels_last
    )
    D = Discriminator(**shape).to(memory_format=torch.channels_last)
    z, y = torch.randn(8, 16), torch.arange(8) % 3
    exact = G(z, y, noise_mode="const")
    logits = D(exact, y)
    for network in (G, D):
        set_compute_dtype(network, torch.bfloat16)
    images = G(z, y, noise_mode="const")
    assert images.dtype == torch.float32
    error = (images - exact).square().mean().sqrt() / exact.std()
    assert 1e-4 < float(error) < 0.03, "bfloat16 has 8 bits: neither exact nor far off"
    assert D(images, y).dtype == torch.float32
    torch.testing.assert_close(D(exact.detach(), y), logits, rtol=0.1, atol=0.05)
    D(images, y).sum().backward()
    for name, weight in [*G.named_parameters(), *D.named_parameters()]:
        assert weight.dtype == torch.float32
        if weight.grad is not None:
            assert weight.grad.dtype == torch.float32, name
            assert bool(torch.isfinite(weight.grad).all()), name
    set_compute_dtype(G, None)
    assert torch.equal(G(z, y, noise_mode="const"), exact), "and back"


def test_the_gradient_penalty_goes_through_bfloat16() -> None:
    torch.manual_seed(0)
    D = Discriminator(num_classes=0, resolution=8, img_channels=1, channel_base=64, channel_max=8)
    images = torch.randn(4, 1, 8, 8, requires_grad=True)
    gradients = []
    for dtype in (None, torch.bfloat16):
        set_compute_dtype(D, dtype)
        D.zero_grad()
        (gradient,) = torch.autograd.grad(D(images).sum(), images, create_graph=True)
        gradient.square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in D.parameters() if p.grad is not None]))
    exact, rough = gradients
    assert float((rough - exact).norm() / exact.norm()) < 0.1


def test_the_choice_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compute_dtype("fp32", CPU) is None
    assert compute_dtype("bf16", CPU) == torch.bfloat16
    for amx, pairs, expected in [
        (True, True, torch.bfloat16),
        (False, True, torch.bfloat16),
        (False, False, None),
    ]:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda pairs=pairs: pairs)
        assert compute_dtype("auto", CPU) == expected
    with pytest.raises(InputError, match="'fp8' is not known"):
        compute_dtype("fp8", CPU)
