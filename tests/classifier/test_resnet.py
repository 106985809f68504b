"""The ResNet for small images: folding its batch norms changes neither values nor gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan_lt.classifier.resnet import BasicBlock, CifarResNet


def one_by_one(network: CifarResNet, images: torch.Tensor) -> torch.Tensor:
    """The network's features by PyTorch's layers, as He et al. draw them."""
    x = F.relu(network.bn(F.conv2d(images, network.conv.weight, padding=1)))
    for block in network.blocks:
        assert isinstance(block, BasicBlock)
        y = F.relu(block.bn1(F.conv2d(x, block.conv1.weight, stride=block.stride, padding=1)))
        y = block.bn2(F.conv2d(y, block.conv2.weight, padding=1))
        if block.stride == 2:
            new = y.shape[1] - x.shape[1]
            x = F.pad(x[:, :, ::2, ::2], [0, 0, 0, 0, new // 2, new - new // 2])
        x = F.relu(x + y)
    return x.mean(dim=(2, 3))


@pytest.mark.parametrize(("training", "frozen"), [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize(
    ("dtype", "layout", "tolerance"),
    # in float32 some values near zero fall on the other side of a ReLU
    [(torch.float64, torch.contiguous_format, 1e-10), (torch.float32, torch.channels_last, 1e-2)],
)
def test_features_and_gradients(
    dtype: torch.dtype, layout: torch.memory_format, tolerance: float, training: bool, frozen: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    network = CifarResNet(depth=14)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in (
                (module.weight, 0.5),
                (module.bias, -0.5),
                (module.running_mean, -0.5),
                (module.running_var, 0.5),
            ):
                assert tensor is not None
                tensor.data = torch.rand(tensor.shape, generator=generator) + low
    network.train(training).to(dtype)
    images = torch.randn(16, 3, 16, 16, generator=generator).to(dtype).contiguous(memory_format=layout)
    leaves = [images.requires_grad_(), *(() if frozen else network.parameters())]
    if frozen:
        network.requires_grad_(False)
    seen: list[nn.Module] = []
    network.bn.register_forward_hook(lambda module, *_: seen.append(module))
    found = []
    for features in (network, lambda x: one_by_one(network, x)):
        value = features(images)
        found.append([value, *torch.autograd.grad(value.square().sum(), leaves)])
    assert len(seen) == (1 if frozen else 2)  # by the network, if it calls its modules, and one by one
    for actual, expected in zip(*found, strict=True):
        assert float((actual - expected).detach().norm()) <= tolerance * float(expected.detach().norm())
