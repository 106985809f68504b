"""The layer to image channels: a modulated 1x1 convolution, however its input lies in memory."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_lt.models.modulation import ToImage

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def layer_and_inputs(layout: torch.memory_format) -> tuple[ToImage, Tensor, Tensor]:
    torch.manual_seed(0)
    layer = ToImage(8, 3, 6).double()
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64).contiguous(memory_format=layout)
    return layer, x.requires_grad_(), torch.randn(2, 6, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scaled_channels_then_a_shared_convolution(layout: torch.memory_format) -> None:
    layer, x, w = layer_and_inputs(layout)
    torch.nn.init.normal_(layer.bias)
    style = layer.affine(w) / 8**0.5
    expected = F.conv2d(x * style[:, :, None, None], layer.weight, layer.bias)
    image = layer(x, w)
    torch.testing.assert_close(image, expected, rtol=1e-12, atol=1e-12)
    assert image.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_its_derivatives(layout: torch.memory_format) -> None:
    layer, x, w = layer_and_inputs(layout)
    assert torch.autograd.gradcheck(layer, (x, w))
    assert torch.autograd.gradgradcheck(layer, (x, w))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_images(layout: torch.memory_format) -> None:
    layer, x, w = layer_and_inputs(layout)
    assert layer(x[:0], w[:0]).shape == (0, 3, 3, 5)


@pytest.mark.parametrize("shape", [(2, 8, 3, 5), (2, 8, 1, 1)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_activations_with_float32_weights(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    layer, x, w = ToImage(8, 3, 6), torch.randn(shape).contiguous(memory_format=layout), torch.randn(2, 6)
    expected = layer(x, w)
    image = layer(x.bfloat16(), w)
    assert image.dtype == torch.bfloat16
    torch.testing.assert_close(image.float(), expected, rtol=2e-2, atol=2e-2)


def test_a_part_of_larger_images() -> None:
    layer, x, w = layer_and_inputs(torch.channels_last)
    part = x[:, :, 1:, 1:]
    torch.testing.assert_close(layer(part, w), layer(part.contiguous(), w), rtol=1e-12, atol=1e-12)
