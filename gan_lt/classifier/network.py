"""The classifier: input normalisation, a ResNet, and a linear or cosine head, saved without pickle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_lt.classifier.resnet import RESNET18_FEATURES, CifarResNet, resnet18
from gan_lt.errors import InputError
from gan_lt.models.pretrained import Pretrained

Backbone = Literal["resnet32", "resnet18"]

SMALL_RESOLUTION = 64  # up to here ResNet-32 looks at all pixels; above, ResNet-18 starts by shrinking them


def default_backbone(resolution: int) -> Backbone:
    """ResNet-32 up to 64 pixels, torchvision's ResNet-18 above."""
    return "resnet32" if resolution <= SMALL_RESOLUTION else "resnet18"


class Classifier(nn.Module, Pretrained):
    """images [N, C, H, W] in [-1, 1] -> logits [N, K].

    Args:
        num_classes: K.
        resolution, img_channels: of the images.
        backbone: "resnet32" or "resnet18"; by the resolution if not given.
        normalized: cosine head, as LDAM has it: logits are `scale` times the cosine of features and class weights.
            Otherwise a linear layer with bias.
        scale: of the cosine head [30].
        mean, std: [C], of the training images in [-1, 1]; the network subtracts and divides by them itself.
        class_names, class_counts: of the training images, kept for whoever loads the network.

    Raises:
        ValueError: an unknown backbone, sizes under 1, a mean or std that doesn't fit the channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        num_classes: int,
        resolution: int = 32,
        img_channels: int = 3,
        backbone: Backbone | None = None,
        normalized: bool = True,
        scale: float = 30.0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        for name, value in (
            ("num_classes", num_classes),
            ("resolution", resolution),
            ("img_channels", img_channels),
        ):
            if value < 1:
                raise InputError(f"{name}={value} must be at least 1")
        backbone = default_backbone(resolution) if backbone is None else backbone
        if backbone not in get_args(Backbone):
            raise InputError(f"backbone={backbone!r} is not known: it must be 'resnet32' or 'resnet18'")
        mean = [0.0] * img_channels if mean is None else list(mean)
        std = [1.0] * img_channels if std is None else list(std)
        if len(mean) != img_channels or len(std) != img_channels or min(std) <= 0:
            raise InputError(f"mean={mean} and std={std} must be {img_channels} numbers, std above 0")
        for name, listed in (("class_names", class_names), ("class_counts", class_counts)):
            if listed is not None and len(listed) != num_classes:
                raise InputError(f"{name} has {len(listed)} entries, num_classes is {num_classes}")
        self.num_classes, self.resolution, self.img_channels = num_classes, resolution, img_channels
        self.backbone: Backbone = backbone
        self.normalized, self.scale = normalized, scale
        self.class_names = None if class_names is None else list(class_names)
        self.class_counts = None if class_counts is None else [int(n) for n in class_counts]
        self.config: dict[str, Any] = {
            "num_classes": num_classes,
            "resolution": resolution,
            "img_channels": img_channels,
            "backbone": backbone,
            "normalized": normalized,
            "scale": scale,
            "mean": mean,
            "std": std,
            "class_names": self.class_names,
            "class_counts": self.class_counts,
        }
        # in the configuration already, so not in the weights
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)
        if backbone == "resnet32":
            self.body: nn.Module = CifarResNet(img_channels, depth=32)
            num_features = 64
        else:
            self.body, num_features = resnet18(img_channels), RESNET18_FEATURES
        self.head = nn.Linear(num_features, num_classes, bias=not normalized)

    def features(self, images: Tensor) -> Tensor:
        """What the head sees: [N, 64] (ResNet-32) or [N, 512] (ResNet-18), not normalised.

        Raises:
            ValueError: images of another shape than the network was built for.
        """
        expected = (self.img_channels, self.resolution, self.resolution)
        if tuple(images.shape[1:]) != expected:
            raise InputError(
                f"images have shape {list(images.shape)}, the classifier was trained on [N, {', '.join(map(str, expected))}]"
            )
        features: Tensor = self.body((images - self.mean) / self.std)
        return features

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        if self.normalized:
            return self.scale * F.linear(F.normalize(features, dim=1), F.normalize(self.head.weight, dim=1))
        logits: Tensor = self.head(features)
        return logits
