"""What a feature extractor is, and what it may ask for when it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from eval.sources import ImageSource

ImageArray = npt.NDArray[np.uint8]
FeatureArray = npt.NDArray[np.float32]


@runtime_checkable
class Extractor(Protocol):
    """Maps uint8 images [n, C, H, W] to float32 features [n, d]; pure: equal images give equal features."""

    @property
    def name(self) -> str:
        """The name the report prints, for example "inception"."""

    @property
    def weights_hash(self) -> str | None:
        """Hexadecimal digest of the weights, or None if unknown (then features are not cached)."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything besides the weights that changes the features; JSON-ready."""

    def __call__(self, images: ImageArray) -> FeatureArray:
        """Features [n, d] of images [n, C, H, W]."""


@dataclass(frozen=True)
class ExtractorContext:
    """What a builder may use: the reference images, the seed, the device and a weights file if one was
    given.
    """

    reference: ImageSource
    seed: int = 0
    device: str = "cpu"
    weights: Path | None = None
    progress: bool = False


NO_FEATURES = "none"


class NoFeatures:
    """In an extractor's place where nothing is measured on features; a report names it."""

    name = NO_FEATURES
    weights_hash: str | None = None
    settings: Mapping[str, Any] = MappingProxyType({})

    def __call__(self, images: ImageArray) -> FeatureArray:
        raise RuntimeError(f"{len(images)} images were to be measured on features, and none were asked for")
