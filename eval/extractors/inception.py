"""Inception-V3 pool features as clean-fid computes them (Parmar et al., CVPR 2022): the only ones called FID."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from eval.extractors.base import ExtractorContext, FeatureArray, ImageArray
from gan_lt.errors import InputError

WEIGHTS_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt"
WEIGHTS_NAME = "inception-2015-12-05.pt"
INPUT_SIZE = 299


class InceptionExtractor:
    """Pool features [n, 2048]: antialiased bicubic resize to 299 in float, clipped to [0, 255], (x - 128) / 128."""

    name = "inception"

    def __init__(self, path: Path, device: str = "cpu") -> None:
        try:
            module = torch.jit.load(str(path), map_location=device).eval()
        except (RuntimeError, OSError) as error:
            raise InputError(
                f"the Inception weights {path} can't be read ({str(error).splitlines()[0]}); delete the file and "
                f"download it again from {WEIGHTS_URL}"
            ) from None
        # `layers` skips the module's own resizing: the images come resized
        self._layers = getattr(module, "layers", module)
        self._device = device
        self.weights_hash: str | None = hash_file(path)
        self.settings: Mapping[str, Any] = {"resize": "bicubic, antialiased, 299", "quantisation": "clean-fid"}

    @classmethod
    def load(cls, context: ExtractorContext) -> InceptionExtractor:
        """The weights from context.weights, $GAN_LT_INCEPTION, clean-fid's or our own cache, else downloaded."""
        return cls(find_weights(context.weights), context.device)

    def __call__(self, images: ImageArray) -> FeatureArray:
        resized = torch.from_numpy(resize_clean(images)).to(self._device)
        with torch.no_grad():
            features = self._layers((resized - 128) / 128).reshape(len(images), -1)
        result: FeatureArray = features.float().cpu().numpy()
        return result


def resize_clean(images: ImageArray, size: int = INPUT_SIZE) -> FeatureArray:
    """clean-fid's resize: each channel in float32 with Pillow's antialiased bicubic filter, clipped, not rounded.

    images: uint8 [n, C, H, W], C of 1 or 3; gives float32 [n, 3, size, size] in [0, 255].
    """
    n, channels = images.shape[:2]
    result = np.empty((n, 3, size, size), np.float32)
    for index in range(n):
        for channel in range(channels):
            plane = Image.fromarray(images[index, channel].astype(np.float32))
            np.clip(plane.resize((size, size), Image.Resampling.BICUBIC), 0, 255, out=result[index, channel])
    if channels == 1:
        result[:, 1:] = result[:, :1]
    return result


def find_weights(given: Path | None = None) -> Path:
    """Path of the weights file; downloads it to ~/.cache/gan_lt when it is nowhere. Raises InputError when it can't."""
    named = given or (Path(os.environ["GAN_LT_INCEPTION"]) if os.environ.get("GAN_LT_INCEPTION") else None)
    if named is not None:
        if not named.is_file():
            raise InputError(f"the Inception weights {named} don't exist; download them from {WEIGHTS_URL}")
        return named
    own = Path.home() / ".cache" / "gan_lt" / WEIGHTS_NAME
    for place in (own, Path("/tmp") / WEIGHTS_NAME):  # noqa: S108 - where clean-fid keeps it
        if place.is_file():
            return place
    return _download(own)


def _download(target: Path) -> Path:
    partial = target.with_suffix(f".{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(WEIGHTS_URL, timeout=30) as answer, partial.open("wb") as file:  # noqa: S310
            while piece := answer.read(1 << 20):
                file.write(piece)
        partial.replace(target)
    except (urllib.error.URLError, OSError) as error:
        partial.unlink(missing_ok=True)
        reason = getattr(error, "reason", error)
        raise InputError(
            f"features 'inception' needs {WEIGHTS_NAME} (91 MB), which can't be downloaded ({reason}); fetch {WEIGHTS_URL} "
            f"elsewhere and give it with --weights FILE or put it at {target}, or use --features classifier"
        ) from None
    return target


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
