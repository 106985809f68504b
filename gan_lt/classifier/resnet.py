"""ResNets for small images (He et al., CVPR 2016, section 4.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut without parameters ("option A").

    Args:
        inputs, outputs: channels. stride: of the first convolution and the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.new_channels = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.stride > 1 or self.new_channels:
            # every second pixel, and zeros for the channels that are new
            before = self.new_channels // 2
            x = F.pad(
                x[:, :, :: self.stride, :: self.stride], [0, 0, 0, 0, before, self.new_channels - before]
            )
        return F.relu(x + y, inplace=True)


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
        self.conv = nn.Conv2d(img_channels, width, 3, 1, 1, bias=False)
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
        x = F.relu(self.bn(self.conv(images)), inplace=True)
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
