"""LDAM-DRW training (Cao et al., NeurIPS 2019), and the other losses under the same schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan_lt.classifier.losses import (
    LOSS_NAMES,
    LossName,
    class_balanced,
    cross_entropy,
    focal,
    ldam,
    logit_adjustment,
)
from gan_lt.classifier.network import Backbone, Classifier
from gan_lt.classifier.recall import RecallReport, recall_report
from gan_lt.data import BatchLoader, ImageSet, sampler_for
from gan_lt.data.labelling import require_all_classes
from gan_lt.errors import InputError
from gan_lt.regularizers.class_weights import inverse_effective_weights

_STATISTICS_IMAGES = 5000  # enough for the mean and deviation of a channel to three digits
_REWEIGHTED = 0.8  # of the epochs: 160 of 200; the first decay comes with it, the second at 180
_DECAYS = ((0.8, 0.01), (0.9, 0.01))


@dataclass(frozen=True)
class ClassifierSettings:
    """What to train and how; the defaults are the paper's for CIFAR-10-LT, its schedule scaled to `epochs`.

    loss: "ldam" comes with deferred re-weighting (from 80% of the epochs, v_k with `beta`) and a cosine head.
    epochs: passes over the data [200]. warmup: share of the steps in which the rate rises [5 of 200 epochs].
    learning_rate, momentum, weight_decay: of SGD. The rate falls 100 times at 80% and again at 90%.
    max_margin, scale: of LDAM. beta: of the effective number. gamma: of focal. tau: of logit adjustment.
    horizontal_flips: mirror images with probability 1/2; not for digits or text.
    crop_padding: pixels by which training crops are shifted; an eighth of the resolution if None [4 of 32].
    """

    loss: LossName = "ldam"
    epochs: int = 200
    batch: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 2e-4
    warmup: float = 0.025
    max_margin: float = 0.5
    scale: float = 30.0
    beta: float = 0.9999
    gamma: float = 2.0
    tau: float = 1.0
    horizontal_flips: bool = False
    crop_padding: int | None = None
    backbone: Backbone | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in LOSS_NAMES:
            raise InputError(f"loss {self.loss!r} is not known: it must be one of {', '.join(LOSS_NAMES)}")
        for name, least in (("epochs", 1), ("batch", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} {getattr(self, name)} is not possible: it must be {least} or more")
        if self.crop_padding is not None and self.crop_padding < 0:
            raise InputError(f"crop_padding {self.crop_padding} is not possible: it must be 0 or more")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning rate {self.learning_rate:g} must be above 0 and finite")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup {self.warmup} must be in [0, 1)")


def train_classifier(
    images: ImageSet,
    settings: ClassifierSettings | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Classifier:
    """Train on all of `images`; the same seed, data and device give the same classifier.

    Args:
        progress: called with the number of images seen since the last call.

    Returns:
        The classifier, in evaluation mode, on `device`.

    Raises:
        InputError: a class without images, or a loss that stopped being finite.
    """
    settings = ClassifierSettings() if settings is None else settings
    require_all_classes(images.class_names, images.labels, images.name)
    device = torch.device(device)
    batch = min(settings.batch, len(images))
    loader = BatchLoader(
        images,
        sampler_for(images, "natural", seed=settings.seed),
        batch,
        horizontal_flips=settings.horizontal_flips,
        seed=settings.seed,
        device=device,
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        network = _new_classifier(images, settings).to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(
            network.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        total = settings.epochs * math.ceil(len(images) / batch)
        padding = images.resolution // 8 if settings.crop_padding is None else settings.crop_padding
        loss_of = _loss_function(settings, images)
        network.train()
        for step in range(total):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * rate_factor(step, total, settings.warmup)
            pixels, labels = next(loader)
            pixels = random_crop(pixels.to(torch.float32) / 127.5 - 1, padding)
            loss = loss_of(network(pixels), labels, step / total)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % 50 == 0 and not math.isfinite(loss.item()):
                raise InputError(f"the classifier's loss is {loss.item()} at step {step}: lower --lr")
            if progress is not None:
                progress(batch)
    return network.eval()


@torch.no_grad()
def predict(
    network: Classifier, images: ImageSet, batch: int = 500
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """int64 [N]: the class that the network sees in each image."""
    device = network.head.weight.device
    network.eval()
    found = []
    for start in range(0, len(images), batch):
        pixels = torch.from_numpy(images.images(np.arange(start, min(start + batch, len(images)))))
        found.append(network(pixels.to(device, torch.float32) / 127.5 - 1).argmax(dim=1).cpu())
    return torch.cat(found).numpy()


def measure_classifier(network: Classifier, images: ImageSet) -> RecallReport:
    """The recall of every class on `images`, whose labels are the network's classes."""
    return recall_report(images.labels, predict(network, images), network.num_classes)


def rate_factor(step: int, total: int, warmup: float) -> float:
    """What the learning rate is multiplied by: a linear rise, then 1, 0.01 from 80% and 0.0001 from 90%."""
    rise = warmup * total
    if step + 1 < rise:
        return (step + 1) / rise
    return math.prod(factor for start, factor in _DECAYS if step >= start * total)


def random_crop(images: Tensor, padding: int) -> Tensor:
    """Each image [N, C, H, W] shifted by up to `padding` pixels each way, black (-1) where it was not."""
    if padding == 0:
        return images
    n, _, height, width = images.shape
    padded = F.pad(images, [padding] * 4, value=-1.0)
    offset = torch.randint(0, 2 * padding + 1, [2, n, 1], device=images.device)
    rows = offset[0] + torch.arange(height, device=images.device)
    columns = offset[1] + torch.arange(width, device=images.device)
    sample = torch.arange(n, device=images.device)[:, None, None]
    # channels last, as advanced indices around a slice put it
    cropped = padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2)


def _new_classifier(images: ImageSet, settings: ClassifierSettings) -> Classifier:
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), _STATISTICS_IMAGES)).astype(np.int64))
    pixels = images.images(chosen).astype(np.float64) / 127.5 - 1
    return Classifier(
        num_classes=images.num_classes,
        resolution=images.resolution,
        img_channels=images.channels,
        backbone=settings.backbone,
        normalized=settings.loss == "ldam",
        scale=settings.scale,
        mean=pixels.mean(axis=(0, 2, 3)).tolist(),
        std=np.maximum(pixels.std(axis=(0, 2, 3)), 1e-3).tolist(),
        class_names=images.class_names,
        class_counts=images.counts.tolist(),
    )


def _loss_function(
    settings: ClassifierSettings, images: ImageSet
) -> Callable[[Tensor, Tensor, float], Tensor]:
    """(logits, labels, share of the training done) -> loss."""
    counts = torch.from_numpy(images.counts)
    v = inverse_effective_weights(counts, settings.beta)

    def loss_of(logits: Tensor, labels: Tensor, done: float) -> Tensor:
        if settings.loss == "ldam":
            weights = v if done >= _REWEIGHTED else None
            return ldam(logits, labels, counts, settings.max_margin, settings.scale, weights)
        if settings.loss == "class_balanced":
            return class_balanced(logits, labels, counts, settings.beta)
        if settings.loss == "focal":
            return focal(logits, labels, settings.gamma)
        if settings.loss == "logit_adjustment":
            return logit_adjustment(logits, labels, counts, settings.tau)
        return cross_entropy(logits, labels)

    return loss_of
