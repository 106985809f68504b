"""A small classifier trained on the reference images: features without a download, and the judge of labels.

It knows only the reference, so its distances compare generators on one reference and nothing else; they
are reported as "classifier", never as FID.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from eval.extractors.base import ExtractorContext, FeatureArray, ImageArray
from eval.sources import ImageSource
from gan_lt.errors import InputError

FEATURE_DIM = 64
MAX_RESOLUTION = (
    32  # larger images are area-averaged down: classes are told apart at this size, at a CPU's price
)
_BATCH = 64


class SmallConvNet(nn.Module):
    """Four convolutions and global average pooling: images [n, C, s, s] in [-1, 1] to features [n, 64].

    The first halves the resolution (to 8x8 up to 16 pixels, 16x16 above), so that training takes seconds on a
    CPU.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
            convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=1, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

        self.body = nn.Sequential(
            block(channels, 32, 4, 2), block(32, 48, 3, 1), block(48, 64, 3, 2), block(64, FEATURE_DIM, 3, 1)
        )
        self.head = nn.Linear(FEATURE_DIM, num_classes)
        self.body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.body(images.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))
        return pooled

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits


class ClassifierExtractor:
    """Penultimate features (64-d) of a SmallConvNet trained on a reference, with its class probabilities."""

    name = "classifier"

    def __init__(self, network: SmallConvNet, resolution: int, seed: int, device: str) -> None:
        self._network = network.eval()
        self._resolution = resolution
        self._device = device
        self.weights_hash: str | None = hash_state(network)
        self.settings: Mapping[str, Any] = {
            "resolution": resolution,
            "seed": seed,
            "trained_on": "reference",
        }

    @classmethod
    def fit(cls, context: ExtractorContext) -> ClassifierExtractor:
        """Train on context.reference; equal reference and seed give equal weights on one machine.

        Raises InputError if the reference has fewer than two classes.
        """
        reference = context.reference
        if reference.num_classes < 2:
            raise InputError(
                f"features 'classifier' needs at least 2 classes to tell apart; {reference.name} has "
                f"{reference.num_classes}. Use --features inception"
            )
        resolution = min(reference.resolution, MAX_RESOLUTION)
        images = read_resized(reference, resolution)
        network = train_classifier(
            images, reference.labels, reference.num_classes, seed=context.seed, device=context.device
        )
        return cls(network, resolution, context.seed, context.device)

    def __call__(self, images: ImageArray) -> FeatureArray:
        return self._run(images, logits=False)

    def probabilities(self, images: ImageArray) -> FeatureArray:
        """Class probabilities [n, K], rows sum to 1."""
        return self._run(images, logits=True)

    def _run(self, images: ImageArray, *, logits: bool) -> FeatureArray:
        parts = []
        with torch.no_grad():
            for start in range(0, len(images), 512):
                batch = to_unit(resize_area(images[start : start + 512], self._resolution)).to(self._device)
                result = self._network(batch).softmax(dim=1) if logits else self._network.features(batch)
                parts.append(result.float().cpu().numpy())
        stacked: FeatureArray = np.concatenate(parts)
        return stacked


def jitter(images: Tensor, rng: torch.Generator) -> Tensor:
    """Random shift (up to 1/10 of the side), rotation (10 degrees) and scaling (10 %), edges repeated."""
    n = len(images)
    angle, scale, shift_x, shift_y = (torch.rand(4, n, generator=rng) * 2 - 1).unbind()
    angle = angle * (np.pi / 18)
    zoom = 1 + 0.1 * scale
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = torch.stack(
        [torch.stack([cos, -sin, 0.2 * shift_x], 1), torch.stack([sin, cos, 0.2 * shift_y], 1)], 1
    )
    grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def train_classifier(
    images: Tensor,
    labels: npt.NDArray[np.int64],
    num_classes: int,
    *,
    seed: int,
    device: str = "cpu",
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = jitter,
    balanced: bool = True,
    images_seen: int | None = None,
) -> SmallConvNet:
    """Train a SmallConvNet on uint8 images [n, C, s, s]; equal arguments give equal weights on one machine.

    balanced draws classes equally often, otherwise images. images_seen None: 24 passes, within bounds. The
    default augmentation is small shifts, rotations and scalings without flips, because a mirrored digit is
    another character. AdamW with one cycle of the learning rate.
    """
    if images_seen is None:
        images_seen = int(np.clip(24 * len(images), 12_000, max(60_000, 4 * len(images))))
    steps = max(1, images_seen // _BATCH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SmallConvNet(images.shape[1], num_classes).to(device).train()
    rng = torch.Generator().manual_seed(seed)
    targets = torch.from_numpy(labels)
    chance = 1.0 / np.bincount(labels, minlength=num_classes)[labels] if balanced else np.ones(len(labels))
    order = np.random.default_rng(seed).choice(len(labels), (steps, _BATCH), p=chance / chance.sum())
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=5e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps, pct_start=0.2)
    for chosen in torch.from_numpy(order):
        batch = to_unit(images[chosen])
        batch = (batch if augment is None else augment(batch, rng)).to(device)
        loss = functional.cross_entropy(network(batch), targets[chosen].to(device), label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval()


def read_resized(source: ImageSource, resolution: int, batch: int = 1024) -> Tensor:
    """All images of a source as one uint8 tensor [n, C, resolution, resolution]."""
    parts = [
        torch.from_numpy(
            resize_area(source.read(np.arange(start, min(start + batch, len(source)))), resolution)
        )
        for start in range(0, len(source), batch)
    ]
    return torch.cat(parts)


def resize_area(images: ImageArray, resolution: int) -> ImageArray:
    """uint8 images [n, C, H, W] at another size: antialiased bilinear, rounded. Same size: unchanged."""
    if images.shape[-2:] == (resolution, resolution):
        return images
    tensor = torch.from_numpy(np.ascontiguousarray(images)).float()
    resized = functional.interpolate(
        tensor, size=(resolution, resolution), mode="bilinear", align_corners=False, antialias=True
    )
    rounded: ImageArray = resized.round_().clamp_(0, 255).to(torch.uint8).numpy()
    return rounded


def to_unit(images: ImageArray | Tensor) -> Tensor:
    """uint8 [0, 255] to float32 [-1, 1]."""
    tensor = images if isinstance(images, Tensor) else torch.from_numpy(np.ascontiguousarray(images))
    return tensor.float().div_(127.5).sub_(1.0)


def hash_state(network: nn.Module) -> str:
    """SHA-256 of the parameters and buffers, names included."""
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
