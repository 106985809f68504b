"""Any callable as an extractor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from eval.extractors.base import FeatureArray, ImageArray
from eval.feature_matrix import as_array
from gan_lt.errors import InputError


class CallableExtractor:
    """Wraps a callable from uint8 images [n, C, H, W] to features [n, d].

    A `torch.nn.Module` gets a uint8 tensor on the device, any other callable a numpy array. Its weights are
    not known, so its features are not cached.
    """

    weights_hash: str | None = None

    def __init__(self, function: Callable[[Any], Any], device: str = "cpu") -> None:
        self._function = function
        self._device = device
        self.name = str(getattr(function, "__name__", type(function).__name__)).strip("<>")
        self.settings: Mapping[str, Any] = {}

    def __call__(self, images: ImageArray) -> FeatureArray:
        if isinstance(self._function, torch.nn.Module):
            with torch.no_grad():
                returned = self._function(torch.from_numpy(np.ascontiguousarray(images)).to(self._device))
        else:
            returned = self._function(images)
        features = as_array(returned, f"what the callable {self.name!r} returned")
        if features.ndim != 2 or len(features) != len(images):
            raise InputError(
                f"the callable {self.name!r} returned shape {features.shape} for {len(images)} images; "
                f"it must return [{len(images)}, dimensions]"
            )
        return features.astype(np.float32, copy=False)
