"""The trainings of the utility study: what an arm trains on, and what its classifier says of the test images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eval.cache import FeatureCache
from eval.extractors.classifier import SmallConvNet, resize_area, to_unit, train_classifier
from eval.sources import ImageSource

_RECIPE = 1  # in the cache's keys: raise it when network, optimizer or augmentation change


@dataclass(frozen=True)
class ArmPlan:
    """What an arm trains on, and how."""

    images: Tensor
    labels: npt.NDArray[np.int64]
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    balanced: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the images and labels."""
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(np.ascontiguousarray(self.images.numpy()).data)
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class ArmTraining:
    """One classifier of an arm, and what it says of the test images."""

    plan: ArmPlan
    num_classes: int
    seed: int
    images_seen: int
    device: str
    flips: bool

    def predictions(
        self, test: ImageSource, resolution: int, cache: FeatureCache | None, warnings: list[str] | None
    ) -> npt.NDArray[np.int64]:
        """Predicted classes [n_test], from the cache if they are there."""
        if cache is None:
            return _predict(self._train(), test, resolution, self.device)
        key = self._key(cache, test, resolution)
        known, said = cache.load(key, len(test))
        if said is not None and warnings is not None:
            warnings.append(said)
        if known is not None:
            return known[:, 0].astype(np.int64)
        predicted = _predict(self._train(), test, resolution, self.device)
        kept, partial = cache.scratch(len(test), 1)
        kept[:, 0] = predicted  # classes are far below 2^24, where float32 stops telling integers apart
        kept.flush()
        cache.commit(key, partial)
        return predicted

    def _train(self) -> SmallConvNet:
        return train_classifier(
            self.plan.images,
            self.plan.labels,
            self.num_classes,
            seed=self.seed,
            device=self.device,
            augment=self.plan.augment,
            balanced=self.plan.balanced,
            images_seen=self.images_seen,
        )

    def _key(self, cache: FeatureCache, test: ImageSource, resolution: int) -> str:
        return cache.key(
            test.fingerprint(),
            "utility",
            self.plan.fingerprint,
            {
                "test_labels": hashlib.sha256(test.labels.astype("<i8").tobytes()).hexdigest(),
                "resolution": resolution,
                "num_classes": self.num_classes,
                "augmented": self.plan.augment is not None,
                "flips": self.flips and self.plan.augment is not None,
                "balanced": self.plan.balanced,
                "seed": self.seed,
                "images_seen": self.images_seen,
                "device": self.device,
                "recipe": _RECIPE,
                "torch": torch.__version__,
            },
        )


def crops_and_flips(flips: bool) -> Callable[[Tensor, torch.Generator], Tensor]:
    def augment(images: Tensor, rng: torch.Generator) -> Tensor:
        """Crops after padding by an eighth, edges repeated, and flips: the usual augmentation of small
        images.
        """
        n, _, side, _ = images.shape
        reach = max(1, side // 8)
        padded = torch.nn.functional.pad(images, [reach] * 4, mode="replicate")
        offsets = torch.randint(0, 2 * reach + 1, (2, n, 1), generator=rng)
        rows = (offsets[0] + torch.arange(side))[:, None, :, None]
        columns = (offsets[1] + torch.arange(side))[:, None, None, :]
        image = torch.arange(n)[:, None, None, None]
        channel = torch.arange(images.shape[1])[:, None, None]
        cropped = padded[image, channel, rows, columns]
        if flips:
            mirrored = torch.rand(n, generator=rng) < 0.5
            cropped = torch.where(mirrored[:, None, None, None], cropped.flip(-1), cropped)
        return cropped

    return augment


def _predict(network: SmallConvNet, test: ImageSource, resolution: int, device: str) -> npt.NDArray[np.int64]:
    parts = []
    with torch.no_grad():
        for start in range(0, len(test), 512):
            images = test.read(np.arange(start, min(start + 512, len(test))))
            logits = network(to_unit(resize_area(images, resolution)).to(device))
            parts.append(logits.argmax(dim=1).cpu().numpy())
    return np.concatenate(parts).astype(np.int64)
