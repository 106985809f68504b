"""ResNets for small images (He et al., CVPR 2016, section 4.2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cuda_ops import bias_act, conv3x3, residual_block
from gan_lt.models.convolution import Conv3x3


def frozen(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    """Whether a convolution and its norm are fixed, as in a classifier that only judges; others keep to their modules' calls,
    which hooks may watch."""
    return not norm.training and not conv.weight.requires_grad


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A convolution without bias and its frozen batch norm as one: weight [O, I, 3, 3] and bias [O]. Added in one pass with a
    ReLU or a shortcut, the bias leaves of the classifier little but its convolutions."""
    assert norm.running_mean is not None  # noqa: S101  for the type checker: nobody turned them off
    assert norm.running_var is not None  # noqa: S101
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = torch.addcmul(norm.bias, norm.running_mean, scale, value=-1)
    return conv.weight * scale.view(-1, 1, 1, 1), bias


def normalized_relu(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """ReLU of batch norm of a convolution without bias."""
    if not frozen(conv, norm):
        return F.relu(norm(conv(x)), inplace=True)
    weight, bias = folded(conv, norm)
    return bias_act(conv._conv_forward(x, weight, None), bias, act="relu", gain=1.0)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut without parameters ("option A").

    Args:
        inputs, outputs: channels. stride: of the first convolution and the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: Literal[1, 2]) -> None:
        super().__init__()
        self.conv1 = Conv3x3(inputs, outputs, bias=False, stride=stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = Conv3x3(outputs, outputs, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.new_channels = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        fixed = frozen(self.conv1, self.bn1) and frozen(self.conv2, self.bn2)
        if fixed and self.stride == 1 and not self.new_channels:
            return residual_block(x, *folded(self.conv1, self.bn1), *folded(self.conv2, self.bn2))
        y = normalized_relu(self.conv1, self.bn1, x)
        if not frozen(self.conv2, self.bn2):
            return F.relu(self._shortcut(x) + self.bn2(self.conv2(y)), inplace=True)
        weight, bias = folded(self.conv2, self.bn2)
        return bias_act(self._shortcut(x) + conv3x3(y, weight), bias, act="relu", gain=1.0)

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride > 1 or self.new_channels:
            # every second pixel, and zeros for the channels that are new
            before = self.new_channels // 2
            x = F.pad(
                x[:, :, :: self.stride, :: self.stride], [0, 0, 0, 0, before, self.new_channels - before]
            )
        return x


class CifarResNet(nn.Module):
    """images [N, C, H, W] -> features [N, 4 * width]: depth 6n + 2, three stages, mean over the pixels.

    Args:
        img_channels: C.
        depth: 6n + 2: 20, 32, 44, 56, 110. width: channels of the first stage; they double twice.

    Raises:
        ValueError: a depth that is not 6n + 2.
    """

    def __init__(self, img_channels: int = 3, depth: int = 32, width: int = 16) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth={depth} must be 6n + 2, as 20 or 32")
        n = (depth - 2) // 6
        self.num_features = 4 * width
        self.conv = Conv3x3(img_channels, width, bias=False)
        self.bn = nn.BatchNorm2d(width)
        sizes = [width] * n + [2 * width] * n + [4 * width] * n
        self.blocks = nn.Sequential(
            *(
                BasicBlock(inputs, outputs, 1 if inputs == outputs else 2)
                for inputs, outputs in zip([width, *sizes[:-1]], sizes, strict=True)
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        x = normalized_relu(self.conv, self.bn, images)
        features: Tensor = self.blocks(x).mean(dim=(2, 3))
        return features


RESNET18_FEATURES = 512


def resnet18(img_channels: int = 3) -> nn.Module:
    """torchvision's ResNet-18, not pretrained, as images [N, C, H, W] -> features [N, 512]."""
    from gan_lt.torchvision_compat import import_torchvision

    import_torchvision()
    from torchvision import models

    network: nn.Module = models.resnet18(weights=None)
    if img_channels != 3:
        network.conv1 = nn.Conv2d(img_channels, 64, 7, 2, 3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out")
    network.fc = nn.Identity()
    return network
