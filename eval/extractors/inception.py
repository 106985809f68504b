"""Inception-V3 pool features as clean-fid computes them (Parmar et al., CVPR 2022): what FID is measured
on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from eval.extractors.base import ExtractorContext, FeatureArray, ImageArray
from eval.extractors.clean_resize import CleanResizer
from eval.extractors.torchscript import load_torchscript
from eval.extractors.weights import WeightsFile, find_weights, hash_file

INPUT_SIZE = 299
WEIGHTS = WeightsFile(
    features="inception",
    name="inception-2015-12-05.pt",
    url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
    megabytes=91,
    variable="GAN_LT_INCEPTION",
    elsewhere=(Path("/tmp/inception-2015-12-05.pt"),),  # noqa: S108 - where clean-fid keeps it
)


class InceptionExtractor:
    """Pool features [n, 2048]: antialiased bicubic resize to 299 in float, clipped, (x - 128) / 128."""

    name = "inception"

    def __init__(self, path: Path, device: str = "cpu") -> None:
        module = load_torchscript(path, device)
        # `layers` is the network without its own resizing: the images come resized
        self._layers = getattr(module, "layers", module)
        self._device = device
        self._resize = CleanResizer(INPUT_SIZE)
        self.weights_hash: str | None = hash_file(path)
        self.settings: Mapping[str, Any] = {
            "resize": "bicubic, antialiased, 299",
            "quantisation": "clean-fid",
        }

    @classmethod
    def load(cls, context: ExtractorContext) -> InceptionExtractor:
        """The weights from context.weights, $GAN_LT_INCEPTION, our cache or clean-fid's, else downloaded.

        Raises InputError when they can't be had.
        """
        return cls(find_weights(WEIGHTS, context.weights), context.device)

    def __call__(self, images: ImageArray) -> FeatureArray:
        resized = self._resize(images).to(self._device)
        with torch.no_grad():
            features = self._layers((resized - 128) / 128).reshape(len(images), -1)
        result: FeatureArray = features.float().cpu().numpy()
        return result
