"""Any TorchScript file as an extractor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval.extractors.base import FeatureArray, ImageArray
from eval.extractors.weights import hash_file
from gan_lt.errors import InputError


class TorchScriptExtractor:
    """A scripted module from float32 images [n, C, H, W] with values 0 to 255, at their own size, to [n, d].

    Resizing and normalisation belong into the module. Raises InputError for a file that can't be read or an
    output of another shape.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._module = load_torchscript(path, device)
        self._device = device
        self.name = path.name
        self.weights_hash: str | None = hash_file(path)
        self.settings: Mapping[str, Any] = {"input": "float32, 0 to 255, own size"}

    def __call__(self, images: ImageArray) -> FeatureArray:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self._device).float()
        with torch.no_grad():
            features = self._module(pixels)
        shape = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        if not isinstance(features, torch.Tensor) or features.ndim != 2 or len(features) != len(images):
            raise InputError(
                f"{self.name} returned {shape} for {len(images)} images; it must return [images, d]"
            )
        result: FeatureArray = features.float().cpu().numpy()
        return result


def load_torchscript(path: Path, device: str) -> Any:
    """The module in evaluation mode. Raises InputError if the file is missing or is not TorchScript."""
    if not path.is_file():
        raise InputError(f"the TorchScript file {path} doesn't exist")
    try:
        module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} can't be read as TorchScript ({reason}); get the file again") from None
    return module.eval()
